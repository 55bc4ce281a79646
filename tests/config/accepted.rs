//! What a valid configuration says: defaults, inheritance, drop-in files, overrides and their order.

use std::sync::Arc;
use std::time::Duration;

use dtrotate::config::{LogFormat, Options, Settings, load};
use dtrotate::credential::Credential;
use dtrotate::dynatrace::Api;
use dtrotate::http::Trust;
use dtrotate::ops::listener::Details;
use dtrotate::schedule::due::Missed;
use dtrotate::vault::{Login, SecretId};
use rotation::plan::{Lifetime, StillUsed};

use super::{Files, PROD, SECRET, VAULT, daemon, daemon_with, shipped};

const HOUR: Duration = Duration::from_secs(3600);

fn addresses(settings: &Settings) -> Vec<&str> {
    let addresses = settings.vault.addresses.iter();
    addresses.map(|url| url.as_str()).collect()
}

fn base_url(settings: &Settings) -> &str {
    settings.environments["prod"].client.base_url.as_str()
}

fn names(settings: &Settings) -> Vec<&str> {
    settings
        .secrets
        .iter()
        .map(|secret| secret.plan.name.as_str())
        .collect()
}

#[test]
fn the_least_has_all_defaults() {
    let settings = Files::new(&format!("{VAULT}{PROD}{SECRET}")).settings(&daemon());
    assert_eq!(addresses(&settings), ["https://vault:8200/"]);
    assert_eq!(settings.vault.namespace, None);
    assert_eq!(settings.vault.http.timeout, Duration::from_secs(10));
    assert!(settings.vault.http.https_only);
    assert_eq!(
        (
            settings.journal.mount.as_str(),
            settings.journal.path.as_str(),
            settings.journal.claim_timeout
        ),
        ("secret", "dtrotate/journal", Duration::from_secs(60))
    );
    let prod = &settings.environments["prod"];
    assert_eq!(
        prod.client.base_url.as_str(),
        "https://abc.live.dynatrace.com"
    );
    assert_eq!(
        (prod.client.api, prod.client.http.timeout, prod.settle),
        (Api::V2, Duration::from_secs(10), HOUR / 4)
    );
    let http = &prod.client.http;
    assert!(http.trust == Trust::default() && http.proxy.is_none() && http.https_only);
    assert_eq!(
        (
            prod.auth.as_ref().unwrap().mount.as_str(),
            prod.auth.as_ref().unwrap().path.as_str(),
            prod.auth.as_ref().unwrap().field.as_str()
        ),
        ("secret", "dt/master", "token")
    );
    assert_eq!(settings.limits.concurrency, 8);
    assert_eq!(
        (settings.daemon.shutdown_timeout, settings.daemon.sweep),
        (Duration::from_secs(25), HOUR / 6)
    );
    assert_eq!(
        (settings.log.format, settings.log.level),
        (LogFormat::Auto, None)
    );
    assert_eq!(settings.ops.listen, Some("127.0.0.1:9780".parse().unwrap()));
    assert_eq!(settings.ops.details, Details::Loopback);

    let secret = &settings.secrets[0];
    let plan = &secret.plan;
    assert_eq!(plan.name, "a");
    assert_eq!(plan.coordinates.mount, "secret");
    assert_eq!(plan.coordinates.fields, ["token"]);
    assert_eq!(plan.coordinates.environment, "prod");
    assert_eq!(plan.coordinates.base_url, "https://abc.live.dynatrace.com");
    assert_eq!(
        (plan.grace, plan.max_grace, plan.quarantine),
        (24 * HOUR, 168 * HOUR, 168 * HOUR)
    );
    assert_eq!(
        (plan.still_used.clone(), plan.lifetime),
        (StillUsed::Hold, Lifetime::Inherit)
    );
    assert_eq!((plan.settle, plan.claim_timeout), (HOUR / 4, HOUR / 60));
    assert!(!plan.manages_tokens);
    assert_eq!(
        (secret.schedule_text.as_str(), secret.zone_name.as_str()),
        ("@daily", "UTC")
    );
    assert_eq!(
        (secret.jitter, secret.missed),
        (Duration::ZERO, Missed::Run)
    );
    assert!(secret.expiry_guard && secret.enabled);
}

#[test]
fn routes_of_all_files_match_by_label_environment_and_kind() {
    let base = format!("{VAULT}{PROD}{SECRET}labels = {{ team = \"checkout\", tier = \"1\" }}\n");
    let routes = "[[notify.route]]\n[[notify.route]]\nurl_file = \"u\"\nevents = [\"rotated\"]\n\
                  match = { team = \"checkout\", environment = \"prod\", kind = \"api\" }\n";
    let team = "[[notify.route]]\nurl_file = \"u\"\nmatch = { team = \"search\" }\nevents = [\"condition\", \"rotated\"]\n\
                [[notify.route]]\nurl_file = \"u\"\nmatch = { kind = \"rotation_stuck\" }\n";
    let files = Files::new(&format!("{base}{routes}")).with("conf.d/team.toml", team);
    let settings = files.settings(&daemon());
    let routes = &settings.notify.routes;
    assert_eq!(routes.len(), 3, "one without a file is off");
    let unused = "[[notify.route]] number 3: no secret has the label team=search, so nothing is posted there";
    assert_eq!(settings.warnings, [unused]);
    let secret = &settings.secrets[0];
    assert!(secret.plan.announces);
    let told: Vec<bool> = routes.iter().map(|route| route.announces(secret)).collect();
    assert_eq!(told, [true, false, false]);
    let tells = |kind: &str| {
        let tells = |route: &dtrotate::config::NotifyRoute| {
            route.tells(kind, "prod", &secret.labels, Some("api"))
        };
        routes.iter().map(tells).collect::<Vec<_>>()
    };
    assert_eq!(tells("rotation_stuck"), [false, false, true]);
    assert_eq!(tells("current_invalid"), [false, false, false]);
    // What concerns no secret has no labels.
    let labels = Default::default();
    assert!(routes[2].tells("rotation_stuck", "", &labels, None));
    assert!(!routes[1].tells("vault_unavailable", "", &labels, None));
    let silent = Files::new(&format!("{base}{team}")).settings(&daemon());
    assert!(!silent.secrets[0].plan.announces);
}

#[test]
fn people_are_told_by_the_ways_whose_files_are_named() {
    let base = format!("{VAULT}{PROD}{SECRET}");
    let none = Files::new(&format!("{base}[notify.dynatrace]\n[notify.webhook]\n"));
    let none = none.settings(&daemon()).notify;
    assert!(none.dynatrace.is_none() && none.webhook.is_none());
    let both =
        "[notify.dynatrace]\ntoken_file = \"t\"\n[notify.webhook]\nproxy = \"http://p:3128\"\n";
    let variables = [("DTROTATE_NOTIFY__WEBHOOK__URL_FILE", "/etc/u")];
    let both = Files::new(&format!("{base}{both}"))
        .settings(&daemon_with(&variables))
        .notify;
    let dynatrace = both.dynatrace.expect("on");
    assert_eq!(dynatrace.environment.client.name, "prod");
    assert!(dynatrace.token.origin().ends_with("/t"));
    let webhook = both.webhook.expect("on");
    assert_eq!(webhook.url.origin(), "/etc/u");
    let proxy = webhook.http.proxy.expect("a proxy");
    assert_eq!(proxy.url.as_str(), "http://p:3128/");
    assert_eq!(webhook.http.timeout, Duration::from_secs(10));
    assert!(!webhook.allow_http && webhook.http.trust == Trust::default());
}

#[test]
fn a_secret_wins_over_its_defaults() {
    let text = format!(
        "{VAULT}{PROD}{SECRET}grace = \"1h\"\nenabled = false\nlifetime = \"never\"\n\
         [defaults]\ngrace = \"2h\"\nschedule = \"@weekly\"\ntimezone = \"europe/vienna\"\nmissed = \"skip\"\nlifetime = \"30d\"\n\
         [[secret]]\npath = \"b\"\n"
    );
    let settings = Files::new(&text).settings(&daemon());
    let [a, b] = &settings.secrets[..] else {
        panic!("two");
    };
    assert_eq!((a.plan.grace, b.plan.grace), (HOUR, 2 * HOUR));
    assert_eq!((a.enabled, b.enabled), (false, true));
    assert_eq!(
        (a.schedule_text.as_str(), b.schedule_text.as_str()),
        ("@daily", "@weekly")
    );
    assert_eq!(
        (a.zone_name.as_str(), b.zone_name.as_str()),
        ("Europe/Vienna", "Europe/Vienna")
    );
    assert_eq!((a.missed, b.missed), (Missed::Skip, Missed::Skip));
    assert_eq!(
        (a.plan.lifetime, b.plan.lifetime),
        (Lifetime::Never, Lifetime::For(720 * HOUR))
    );
}

#[test]
fn names_come_from_name_path_or_the_whole_place() {
    let secret = |keys: &str| format!("[[secret]]\nschedule = \"@daily\"\n{keys}\n");
    let text = [
        VAULT.to_owned(),
        PROD.to_owned(),
        secret("path = \"a\""),
        secret("path = \"a\"\nname = \"n\"\nfield = \"f\""),
        secret("path = \"a\"\nfield = [\"x\", \"y\"]"),
        secret("path = \"a\"\nmount = \"kv\""),
    ]
    .concat();
    assert_eq!(
        names(&Files::new(&text).settings(&daemon())),
        ["a", "n", "secret/a#x", "kv/a#token"]
    );
    let defaults = "[defaults]\nmount = \"kv\"\nfield = \"x\"\n";
    let text = [
        VAULT,
        PROD,
        defaults,
        &secret("path = \"a\""),
        &secret("path = \"a\"\nfield = \"token\""),
    ]
    .concat();
    let settings = Files::new(&text).settings(&daemon());
    assert_eq!(names(&settings), ["a", "kv/a#token"]);
    assert_eq!(
        settings.environments["prod"].auth.as_ref().unwrap().mount,
        "kv"
    );
    assert_eq!(
        settings.environments["prod"].auth.as_ref().unwrap().field,
        "token"
    );
}

#[test]
fn the_management_token_is_known_as_such() {
    let text = format!(
        "{VAULT}{PROD}{SECRET}[[secret]]\npath = \"dt/master\"\nfield = [\"old\", \"token\"]\nschedule = \"@daily\"\n"
    );
    let settings = Files::new(&text).settings(&daemon());
    let manages: Vec<bool> = settings
        .secrets
        .iter()
        .map(|s| s.plan.manages_tokens)
        .collect();
    assert_eq!(manages, [false, true]);
}

#[test]
fn drop_in_files_add_secrets_environments_and_defaults_of_their_own() {
    let files = Files::new(&format!("{VAULT}{PROD}{SECRET}[defaults]\nenvironment = \"prod\"\ngrace = \"1h\"\n"))
        .with("conf.d/20-b.toml", "[[secret]]\npath = \"c\"\nschedule = \"@daily\"\n")
        .with(
            "conf.d/10-a.toml",
            "[dynatrace.stage]\nurl = \"https://dt.example.com/e/1\"\nauth.path = \"dt/stage\"\n\
             [defaults]\nenvironment = \"stage\"\nschedule = \"@weekly\"\n[[secret]]\npath = \"b\"\n",
        )
        .with("conf.d/.hidden.toml", "nonsense")
        .with("conf.d/readme.txt", "nonsense");
    let settings = files.settings(&daemon());
    assert_eq!(names(&settings), ["a", "b", "c"]);
    let of = |n: usize| &settings.secrets[n];
    let environments: Vec<&str> = (0..3)
        .map(|n| of(n).plan.coordinates.environment.as_str())
        .collect();
    assert_eq!(environments, ["prod", "stage", "prod"]);
    assert_eq!(of(1).schedule_text, "@weekly");
    assert_eq!(of(1).plan.grace, HOUR);
    let read: Vec<_> = settings
        .files
        .iter()
        .map(|file| file.strip_prefix(files.path("")).unwrap().to_owned())
        .collect();
    assert_eq!(
        read,
        ["main.toml", "conf.d/10-a.toml", "conf.d/20-b.toml"].map(std::path::PathBuf::from)
    );

    let elsewhere = Files::new(&format!("{VAULT}{PROD}")).with("x/a.toml", SECRET);
    let options = Options {
        config_dir: Some(elsewhere.path("x")),
        ..daemon()
    };
    assert_eq!(names(&elsewhere.settings(&options)), ["a"]);
}

#[test]
fn no_secret_is_a_warning() {
    let settings = Files::new(&format!("{VAULT}{PROD}")).settings(&daemon());
    assert!(settings.secrets.is_empty());
    assert_eq!(
        settings.warnings,
        ["no secret is configured, so nothing is rotated: add a [[secret]]"]
    );
    let settings = Files::new(&format!("{VAULT}{PROD}{SECRET}")).settings(&daemon());
    assert_eq!(settings.warnings, [""; 0]);
}

#[test]
fn keys_of_another_kind_of_token_are_a_warning() {
    for (keys, why) in [
        (
            "verify = \"user\"",
            "verify has no effect on kind = \"api\": it is for platform tokens; remove it, or set kind = \"platform\"",
        ),
        (
            "at_max_grace = \"delete\"",
            "at_max_grace has no effect on kind = \"api\": it is for ActiveGate tokens; remove it, or set kind = \"activegate\"",
        ),
        (
            "kind = \"activegate\"\ngrace = \"7d\"\nverify = \"listed\"",
            "verify has no effect on kind = \"activegate\": it is for platform tokens; remove it, or set kind = \"platform\"",
        ),
    ] {
        let text = format!("{VAULT}{PROD}{SECRET}{keys}\n");
        let warnings = Files::new(&text).settings(&daemon()).warnings;
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].ends_with(why), "{warnings:?}");
    }
    // The defaults are for all kinds.
    let defaults =
        format!("{VAULT}{PROD}[defaults]\nverify = \"user\"\nat_max_grace = \"delete\"\n{SECRET}");
    let settings = Files::new(&defaults).settings(&daemon());
    assert_eq!(settings.warnings, [""; 0]);
}

#[test]
fn a_credential_file_that_every_user_can_read_is_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    // Not in /tmp, which may be a tmpfs.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let files = Files(folder)
        .with("main.toml", &format!("{VAULT}{PROD}{SECRET}"))
        .with("t", "token");
    let warnings = |mode| {
        std::fs::set_permissions(files.path("t"), PermissionsExt::from_mode(mode)).unwrap();
        let options = Options {
            daemon: true,
            ..Options::default()
        };
        files.settings(&options).warnings
    };
    assert_eq!(warnings(0o640), [""; 0]);
    let exposed = warnings(0o644);
    assert_eq!(exposed.len(), 1, "{exposed:?}");
    assert!(exposed[0].contains("chmod o-rwx"), "{exposed:?}");
}

#[test]
fn variables_that_kubernetes_sets_for_a_service_are_a_warning() {
    let links = [
        ("DTROTATE_PORT", "tcp://10.0.0.1:9780"),
        ("DTROTATE_PORT_9780_TCP", "tcp://10.0.0.1:9780"),
        ("DTROTATE_PORT_9780_TCP_ADDR", "10.0.0.1"),
        ("DTROTATE_PORT_9780_TCP_PORT", "9780"),
        ("DTROTATE_PORT_9780_TCP_PROTO", "tcp"),
        ("DTROTATE_SERVICE_HOST", "10.0.0.1"),
        ("DTROTATE_SERVICE_PORT", "9780"),
        ("DTROTATE_SERVICE_PORT_OPS", "9780"),
        ("DTROTATE_METRICS_SERVICE_HOST", "10.0.0.2"),
        ("DTROTATE_METRICS_PORT", "tcp://10.0.0.2:80"),
    ];
    let files = Files::new(&format!("{VAULT}{PROD}{SECRET}"));
    let settings = files.settings(&daemon_with(&links));
    let [warning] = &settings.warnings[..] else {
        panic!("{:?}", settings.warnings);
    };
    for words in [
        "10 environment variables",
        "Kubernetes",
        "enableServiceLinks: false",
    ] {
        assert!(warning.contains(words), "{warning}");
    }
}

#[test]
fn overrides_win_over_files_and_files_over_standard_variables() {
    let files = Files::new(&format!(
        "{VAULT}{PROD}[dynatrace.stage-eu]\nurl = \"https://x\"\nauth.path = \"p\"\n[defaults]\nenvironment = \"prod\"\ngrace = \"1h\"\n{SECRET}"
    ));
    let standard = [
        ("VAULT_ADDR", "https://vault-env"),
        ("BAO_ADDR", "https://bao-env"),
        ("VAULT_NAMESPACE", "ns/"),
        ("BAO_NAMESPACE", ""),
    ];
    let settings = files.settings(&daemon_with(&standard));
    assert_eq!(addresses(&settings), ["https://vault:8200/"]);
    assert_eq!(settings.vault.namespace.as_deref(), Some("ns"));

    let overrides = [
        ("DTROTATE_VAULT__ADDRESS", "https://over/"),
        ("DTROTATE_VAULT__ALLOW_HTTP", "true"),
        ("DTROTATE_VAULT__AUTH__TOKEN_FILE", "/run/t"),
        ("DTROTATE_DYNATRACE__PROD__URL", "http://dt.test/e/9/"),
        ("DTROTATE_DYNATRACE__PROD__ALLOW_HTTP", "true"),
        ("DTROTATE_DYNATRACE__STAGE_EU__AUTH__FIELD", "master"),
        ("DTROTATE_DEFAULTS__GRACE", "2h"),
        ("DTROTATE_LIMITS__CONCURRENCY", "64"),
        ("DTROTATE_OPS__LISTEN", ""),
        ("DTROTATE_OPS__DETAILS", "always"),
        ("DTROTATE_LOG__LEVEL", "debug"),
        ("DTROTATE_CONFIG", "/nowhere"),
        ("DTROTATE_INSTANCE", "me"),
        ("OTHER", "x"),
    ];
    let settings = files.settings(&daemon_with(&overrides));
    assert_eq!(addresses(&settings), ["https://over/"]);
    assert!(
        matches!(&settings.vault.login, Login::Token(Credential::File(path)) if path.to_str() == Some("/run/t"))
    );
    assert_eq!(base_url(&settings), "http://dt.test/e/9");
    assert_eq!(
        settings.environments["stage-eu"]
            .auth
            .as_ref()
            .unwrap()
            .field,
        "master"
    );
    assert_eq!(settings.secrets[0].plan.grace, 2 * HOUR);
    assert_eq!(settings.limits.concurrency, 64);
    assert_eq!(settings.ops.listen, None);
    assert_eq!(settings.ops.details, Details::Always);
    assert_eq!(settings.log.level, Some("debug"));
}

#[test]
fn everything_but_secrets_can_come_from_variables() {
    let settings = Files::new(SECRET).settings(&daemon_with(&[
        ("BAO_ADDR", "https://bao:8200"),
        ("VAULT_ADDR", "https://not-this"),
        ("BAO_CACERT", "/ca.pem"),
        ("VAULT_TOKEN", " tok\n"),
        (
            "DTROTATE_DYNATRACE__PROD__URL",
            "https://abc.apps.dynatrace.com",
        ),
        ("DTROTATE_DYNATRACE__PROD__AUTH__PATH", "m"),
    ]));
    assert_eq!(addresses(&settings), ["https://bao:8200/"]);
    assert_eq!(
        settings.vault.http.trust.only.as_deref(),
        Some(std::path::Path::new("/ca.pem"))
    );
    assert_eq!(base_url(&settings), "https://abc.live.dynatrace.com");
    let Login::Token(token) = &settings.vault.login else {
        panic!("no token");
    };
    assert!(token.read().is_ok_and(|value| value.expose() == "tok"));
}

#[test]
fn a_token_in_the_environment_wins_everywhere_but_in_run() {
    let approle = "[vault]\naddress = \"https://v\"\n[vault.auth]\nmethod = \"approle\"\nmount = \"ar\"\nrole_id_file = \"r\"\nsecret_id_file = \"/s\"\n";
    let files = Files::new(&format!("{approle}{PROD}{SECRET}"));
    let mut options = daemon_with(&[("BAO_TOKEN", "human")]);
    let Login::AppRole {
        mount,
        role_id,
        secret_id,
    } = files.settings(&options).vault.login
    else {
        panic!("no role");
    };
    assert_eq!(mount, "ar");
    assert_eq!(role_id.origin(), files.path("r").display().to_string());
    let SecretId::Plain(secret_id) = secret_id else {
        panic!("wrapped");
    };
    assert_eq!(secret_id.origin(), "/s");
    options.daemon = false;
    options.offline = false;
    let Login::Token(token) = files.settings(&options).vault.login else {
        panic!("no token");
    };
    assert!(token.read().is_ok_and(|value| value.expose() == "human"));
    assert!(
        files
            .settings(&Options {
                daemon: true,
                ..daemon_with(&[])
            })
            .vault
            .login
            != Login::Token(token)
    );
}

#[test]
fn every_login_method_with_its_files_and_defaults() {
    let certificate = std::cell::RefCell::new(None);
    let auth = |keys: &str, daemon_reads: bool| {
        let text =
            format!("[vault]\naddress = \"https://v\"\n[vault.auth]\n{keys}\n{PROD}{SECRET}");
        let files = Files::new(&text);
        let options = Options {
            daemon: daemon_reads,
            ..daemon()
        };
        let vault = files.settings(&options).vault;
        certificate.replace(vault.http.client_certificate);
        (vault.login, files.path("x"))
    };
    let (found, x) = auth(
        "method = \"approle\"\nrole_id_file = \"r\"\nwrapped_secret_id_file = \"x\"",
        true,
    );
    let wrapped = |ours| SecretId::Wrapped {
        file: x.clone(),
        ours,
    };
    assert!(matches!(found, Login::AppRole { secret_id, .. } if secret_id == wrapped(true)));
    let (found, x) = auth(
        "method = \"approle\"\nrole_id_file = \"r\"\nwrapped_secret_id_file = \"x\"",
        false,
    );
    let not_ours = SecretId::Wrapped {
        file: x,
        ours: false,
    };
    assert!(
        matches!(found, Login::AppRole { secret_id, .. } if secret_id == not_ours),
        "a person's command must not use the daemon's wrapping token up"
    );
    let (found, _) = auth("method = \"kubernetes\"\nrole = \"dtrotate\"", true);
    let Login::Kubernetes { mount, role, jwt } = found else {
        panic!("not kubernetes");
    };
    let token = "/var/run/secrets/kubernetes.io/serviceaccount/token";
    assert_eq!(
        (mount.as_str(), role.as_str(), jwt.origin().as_str()),
        ("kubernetes", "dtrotate", token)
    );
    let (found, x) = auth(
        "method = \"jwt\"\nmount = \"ci/jwt\"\njwt_file = \"x\"",
        true,
    );
    let Login::Jwt { mount, role, jwt } = found else {
        panic!("not jwt");
    };
    assert_eq!((mount.as_str(), role), ("ci/jwt", None));
    assert_eq!(jwt.origin(), x.display().to_string());
    let (found, x) = auth(
        "method = \"cert\"\nrole = \"r\"\ncert_file = \"x\"\nkey_file = \"/k\"",
        true,
    );
    let Login::Cert { mount, role } = found else {
        panic!("not cert");
    };
    assert_eq!((mount.as_str(), role.as_deref()), ("cert", Some("r")));
    let files = certificate.take().expect("a certificate");
    assert_eq!((files.cert, files.key), (x, "/k".into()));
}

#[test]
fn a_credential_of_the_service_manager_wins_over_the_folder() {
    let files = Files::new(&format!("{VAULT}{PROD}{SECRET}"))
        .with("t", "from folder")
        .with("credentials/t", "token\n");
    let credentials = files.path("credentials").display().to_string();
    let origin = |options: &Options| match files.settings(options).vault.login {
        Login::Token(token) => token.origin(),
        _ => panic!("no token"),
    };
    let mut options = daemon_with(&[("CREDENTIALS_DIRECTORY", &credentials)]);
    options.offline = false;
    assert_eq!(
        origin(&options),
        files.path("credentials/t").display().to_string()
    );
    // The unit gives a line end for what is not there.
    std::fs::write(files.path("credentials/t"), "\n").unwrap();
    options.offline = true;
    assert_eq!(origin(&options), files.path("t").display().to_string());
    std::fs::remove_file(files.path("credentials/t")).unwrap();
    assert_eq!(origin(&options), files.path("t").display().to_string());
}

#[test]
fn a_thousand_secrets_share_their_schedules() {
    let secrets: String = (0..1000)
        .map(|n| {
            format!(
                "[[secret]]\npath = \"s/{n}\"\nschedule = \"0 {} * * *\"\n",
                n % 4
            )
        })
        .collect();
    let settings = Files::new(&format!(
        "{VAULT}{PROD}[defaults]\ntimezone = \"America/New_York\"\n{secrets}"
    ))
    .settings(&daemon());
    assert_eq!(settings.secrets.len(), 1000);
    for (n, secret) in settings.secrets.iter().enumerate() {
        assert!(Arc::ptr_eq(
            &secret.schedule,
            &settings.secrets[n % 4].schedule
        ));
    }
    assert!(!Arc::ptr_eq(
        &settings.secrets[0].schedule,
        &settings.secrets[1].schedule
    ));
}

#[test]
fn what_secrets_have_in_common_is_in_memory_once() {
    let text = format!(
        "{VAULT}{PROD}{SECRET}[[secret]]\npath = \"other\"\nschedule = \"@daily\"\n\
         [[secret]]\npath = \"third\"\nschedule = \"@daily\"\ngrace = \"1h\"\n"
    );
    let settings = Files::new(&text).settings(&daemon());
    let [first, other, third] = &settings.secrets[..] else {
        panic!("three secrets");
    };
    assert!(Arc::ptr_eq(&first.shared, &other.shared));
    assert!(Arc::ptr_eq(&first.plan.terms, &other.plan.terms));
    assert!(Arc::ptr_eq(
        &first.plan.coordinates.place,
        &other.plan.coordinates.place
    ));
    assert!(!Arc::ptr_eq(&first.plan.terms, &third.plan.terms));
}

#[test]
fn a_secret_is_the_same_when_only_its_line_moved() {
    let load = |text: String| Files::new(&text).settings(&daemon()).secrets.remove(0);
    let first = load(format!("{VAULT}{PROD}{SECRET}"));
    let mut moved = load(format!("# a line\n{VAULT}{PROD}{SECRET}"));
    assert!(first == moved);
    Arc::make_mut(&mut moved).jitter = HOUR;
    assert!(first != moved);
    assert!(first != load(format!("{VAULT}{PROD}{SECRET}grace = \"1h\"\n")));
    assert!(
        first
            != load(format!(
                "{VAULT}{PROD}{SECRET}timezone = \"Europe/Vienna\"\n"
            ))
    );
}

#[test]
fn the_shipped_files_load() {
    for (file, secrets) in [("dtrotate.toml", 2), ("minimal.toml", 1)] {
        match load(&shipped(file), &daemon()) {
            Ok(settings) => assert_eq!(settings.secrets.len(), secrets),
            Err(problems) => panic!("{problems}"),
        }
    }
}

/// The reference shows every key as `key = default` behind a "#"; with all of them switched on nothing changes but what has no
/// default.
#[test]
fn the_defaults_in_the_reference_are_the_defaults() {
    let text = std::fs::read_to_string(shipped("dtrotate.toml")).unwrap();
    let text = text
        .replace("# url_file =", "url_file =")
        .replace("# token_file = \"notify", "token_file = \"notify");
    let is_key = |line: &str| {
        line.split_once(" = ")
            .is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
    };
    // Examples, and what belongs to another login method.
    let no_default = [
        "token_file",
        "wrapped_secret_id_file",
        "role =",
        "jwt_file",
        "cert_file",
        "key_file",
        "client_cert_file",
        "client_key_file",
        "proxy_auth_file",
        "renamed_from",
        "paths =",
        "discover =",
        "exclude =",
        "labels =",
        "match =",
        "blackout =",
        "scopes =",
        "allowed_scopes =",
        "token_name =",
        "account =",
        "environment_id",
        "apps_url",
    ];
    let switched_on: String = text
        .lines()
        .map(
            |line| match line.strip_prefix("# ").filter(|rest| is_key(rest)) {
                Some(rest) if !no_default.iter().any(|key| rest.starts_with(key)) => {
                    format!("{rest}\n")
                }
                _ => format!("{line}\n"),
            },
        )
        .collect();
    assert!(
        switched_on
            .lines()
            .filter(|line| !line.starts_with('#'))
            .count()
            > 40
    );
    let as_shipped = Files::new(&text).settings(&daemon());
    let mut on = Files::new(&switched_on).settings(&daemon());
    assert_eq!(on.log.level, Some("info"));
    on.log.level = None;
    assert!(on.environments == as_shipped.environments && on.journal == as_shipped.journal);
    assert!(on.secrets == as_shipped.secrets);
    let told = |settings: &Settings| {
        let dynatrace = settings.notify.dynatrace.clone().expect("on");
        let it = settings.notify.webhook.clone().expect("on");
        let webhook = (it.allow_http, it.http);
        (dynatrace.environment, webhook)
    };
    assert_eq!(told(&on), told(&as_shipped));
    assert!(on.limits == as_shipped.limits && on.daemon == as_shipped.daemon);
    assert!(on.log == as_shipped.log && on.ops == as_shipped.ops);
    let vault = |settings: &Settings| {
        (
            settings.vault.addresses.clone(),
            settings.vault.namespace.clone(),
            settings.vault.http.clone(),
        )
    };
    assert!(vault(&on) == vault(&as_shipped));
}

#[test]
fn platform_tokens_need_no_management_token() {
    let text = format!(
        "{VAULT}[account.main]\nuuid = \"0F5C7A6E-1F2B-4C3D-8E9F-0A1B2C3D4E5F\"\nauth.path = \"dt/oauth-client\"\ntokens_per_user = 80\n\
         [dynatrace.prod]\nurl = \"https://abc.live.dynatrace.com\"\n\
         [defaults]\nkind = \"platform\"\nlifetime = \"90d\"\n{SECRET}verify = \"GET /platform/document/v1/documents\"\n"
    );
    let settings = Files::new(&text).settings(&daemon());
    let prod = &settings.environments["prod"];
    assert_eq!(prod.auth, None);
    assert_eq!(prod.account.as_deref(), Some("main"));
    assert_eq!(prod.environment_id.as_deref(), Some("abc"));
    let apps = prod.apps_url.as_ref().map(|url| url.as_str());
    assert_eq!(apps, Some("https://abc.apps.dynatrace.com"));
    let account = &settings.accounts["main"];
    assert_eq!(account.client.limit, 80);
    let plan = &settings.secrets[0].plan;
    assert_eq!(plan.coordinates.kind, rotation::plan::Kind::Platform);
    assert_eq!(plan.service, "account main");
    assert_eq!(
        plan.coordinates.base_url,
        "https://api.dynatrace.com/iam/v1/accounts/0f5c7a6e-1f2b-4c3d-8e9f-0a1b2c3d4e5f"
    );
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
}
