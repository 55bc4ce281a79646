//! How services are reached: whose certificates count, which name they must have, which proxy is used, and what Vault's own variables say.

use std::path::{Path, PathBuf};

use dtrotate::config::{Options, Settings};
use dtrotate::http::{CertificateFiles, Trust};
use dtrotate::vault::Login;

use super::{Files, PROD, SECRET, VAULT, daemon, daemon_with};

fn only(path: &str) -> Trust {
    Trust {
        only: Some(path.into()),
        extra: None,
    }
}

/// The settings of a file with these keys in `[vault]`.
fn with(keys: &str, variables: &[(&str, &str)]) -> Settings {
    let vault = VAULT.replace("[vault]\n", &format!("[vault]\n{keys}\n"));
    Files::new(&format!("{vault}{PROD}{SECRET}")).settings(&daemon_with(variables))
}

#[test]
fn vaults_authorities_replace_those_of_the_system_as_for_vaults_own_client() {
    let trust = |keys: &str, variables: &[(&str, &str)]| with(keys, variables).vault.http.trust;
    assert_eq!(trust("", &[]), Trust::default());
    assert_eq!(trust("ca_file = \"/ca.pem\"", &[]), only("/ca.pem"));
    for (variables, path) in [
        (&[("VAULT_CACERT", "/v.pem")][..], "/v.pem"),
        (
            &[("VAULT_CACERT", "/v.pem"), ("BAO_CACERT", "/b.pem")],
            "/b.pem",
        ),
        (&[("VAULT_CAPATH", "/v.d")], "/v.d"),
        (&[("VAULT_CAPATH", "/v.d"), ("BAO_CAPATH", "/b.d")], "/b.d"),
        (
            &[("BAO_CAPATH", "/b.d"), ("VAULT_CACERT", "/v.pem")],
            "/v.pem",
        ),
    ] {
        assert_eq!(trust("", variables), only(path), "{variables:?}");
        assert_eq!(trust("ca_file = \"/ca.pem\"", variables), only("/ca.pem"));
        assert_eq!(trust("ca_file = \"\"", variables), Trust::default());
    }
    let both = trust("ca_file = \"/a\"\nca_extra_file = \"/b\"", &[]);
    assert_eq!(
        (both.only, both.extra),
        (Some("/a".into()), Some("/b".into()))
    );
}

#[test]
fn the_authorities_of_an_environment_add_to_those_of_the_system() {
    let text = format!(
        "{VAULT}{PROD}ca_file = \"/dt.pem\"\n{SECRET}[notify.webhook]\nurl_file = \"u\"\nca_file = \"/hook.pem\"\n"
    );
    let settings = Files::new(&text).settings(&daemon());
    let extra = |path: &str| Trust {
        only: None,
        extra: Some(path.into()),
    };
    assert_eq!(
        settings.environments["prod"].client.http.trust,
        extra("/dt.pem")
    );
    assert_eq!(
        settings.notify.webhook.expect("on").http.trust,
        extra("/hook.pem")
    );
}

#[test]
fn the_name_of_the_certificate_comes_from_the_key_or_vaults_variable() {
    let name = |keys: &str, variables: &[(&str, &str)]| {
        let name = with(keys, variables).vault.http.tls_server_name;
        name.map(|name| name.to_str().into_owned())
    };
    let variables = [("VAULT_TLS_SERVER_NAME", "v.example.com")];
    assert_eq!(name("", &[]), None);
    assert_eq!(name("", &variables).as_deref(), Some("v.example.com"));
    assert_eq!(
        name("tls_server_name = \"k.example.com\"", &variables).as_deref(),
        Some("k.example.com")
    );
    assert_eq!(name("tls_server_name = \"\"", &variables), None);
    let files = Files::new(&format!("{VAULT}{PROD}{SECRET}"));
    let problems = files.problems(&daemon_with(&[("BAO_TLS_SERVER_NAME", "a b")]));
    assert_eq!(
        problems,
        ["$BAO_TLS_SERVER_NAME: \"a b\" is not a host name or an IP address"]
    );
}

#[test]
fn a_client_certificate_is_shown_whatever_the_login_is() {
    let files = |cert: &str, key: &str| {
        Some(CertificateFiles {
            cert: cert.into(),
            key: key.into(),
        })
    };
    let shown = |settings: Settings| settings.vault.http.client_certificate;
    let variables = [("VAULT_CLIENT_CERT", "/c"), ("VAULT_CLIENT_KEY", "/k")];
    assert_eq!(shown(with("", &[])), None);
    assert_eq!(shown(with("", &variables)), files("/c", "/k"));
    let keys = "client_cert_file = \"/a\"\nclient_key_file = \"/b\"";
    assert_eq!(shown(with(keys, &variables)), files("/a", "/b"));

    // The login by certificate uses it, unless it names files of its own.
    let cert = |keys: &str| {
        let text = format!(
            "[vault]\naddress = \"https://v\"\n[vault.auth]\nmethod = \"cert\"\n{keys}\n{PROD}{SECRET}"
        );
        let settings = Files::new(&text).settings(&daemon_with(&variables));
        assert!(matches!(settings.vault.login, Login::Cert { .. }));
        shown(settings)
    };
    assert_eq!(cert(""), files("/c", "/k"));
    assert_eq!(
        cert("cert_file = \"/x\"\nkey_file = \"/y\""),
        files("/x", "/y")
    );

    let half = Files::new(&format!("{VAULT}{PROD}{SECRET}"));
    assert_eq!(
        half.problems(&daemon_with(&variables[..1])),
        [
            "$VAULT_CLIENT_CERT: a client certificate is two files; set client_key_file in [vault] as well"
        ]
    );
}

#[test]
fn a_proxy_has_its_login_in_a_file() {
    let keys = "proxy = \"http://proxy.example.com:3128\"\nproxy_auth_file = \"login\"";
    let vault = VAULT.replace("[vault]\n", &format!("[vault]\n{keys}\n"));
    let text = format!("{vault}{PROD}{keys}\n{SECRET}[notify.webhook]\nurl_file = \"u\"\n{keys}\n");
    let files = Files::new(&text);
    let settings = files.settings(&daemon());
    let webhook = settings.notify.webhook.expect("on");
    // Its address is in a file, and may be plain http to this machine.
    assert!(!webhook.http.https_only && settings.vault.http.https_only);
    for http in [
        &settings.vault.http,
        &settings.environments["prod"].client.http,
        &webhook.http,
    ] {
        let proxy = http.proxy.as_ref().expect("a proxy");
        assert_eq!(proxy.url.as_str(), "http://proxy.example.com:3128/");
        assert_eq!(proxy.auth_file, Some(files.path("login")));
    }
}

#[test]
fn the_login_of_a_proxy_is_looked_into() {
    let vault = VAULT.replace(
        "[vault]\n",
        "[vault]\nproxy = \"http://p:3128\"\nproxy_auth_file = \"login\"\n",
    );
    let online = Options {
        daemon: true,
        ..Options::default()
    };
    let problems = |content: &str| {
        let files = Files::new(&format!("{vault}{PROD}{SECRET}"));
        let files = files.with("t", "token").with("login", content);
        files.problems(&online)
    };
    assert_eq!(problems("me:canary\n"), [""; 0]);
    for (content, why) in [
        ("canary", "must hold a user and a password: USER:PASSWORD"),
        ("", "is empty"),
        ("me: canary", "one value on one line"),
    ] {
        let problems = problems(content);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(
            problems[0].starts_with("main.toml:3:19: the credential file login ")
                && problems[0].contains(why)
                && !problems[0].contains("canary"),
            "{problems:?}"
        );
    }
    let alone = VAULT.replace("[vault]\n", "[vault]\nproxy_auth_file = \"login\"\n");
    let files = Files::new(&format!("{alone}{PROD}{SECRET}"));
    assert_eq!(
        files.problems(&daemon()),
        ["main.toml:2:19: proxy_auth_file has no effect without proxy"]
    );
}

/// `$CARGO_TARGET_TMPDIR` is on a disk, where /tmp may be a tmpfs.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

#[test]
fn a_file_of_authorities_without_a_certificate_is_refused_at_its_place() {
    let vault = VAULT.replace("[vault]\n", "[vault]\nca_file = \"ca.pem\"\n");
    let files = Files::new(&format!("{vault}{PROD}{SECRET}"))
        .with("t", "token")
        .with("ca.pem", "no certificate");
    let online = Options {
        daemon: true,
        ..Options::default()
    };
    assert_eq!(
        files.problems(&online),
        ["main.toml:2:11: ca.pem holds no certificate in PEM form"]
    );
}

#[test]
fn a_private_key_that_every_user_can_read_is_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder("exposed-key");
    let key = folder.join("key");
    let own = rcgen::generate_simple_self_signed(["client".to_owned()]).expect("a certificate");
    std::fs::write(folder.join("cert"), own.cert.pem()).expect("a file");
    std::fs::write(&key, own.signing_key.serialize_pem()).expect("a file");
    let path = key.display().to_string();
    let cert = folder.join("cert").display().to_string();
    let warnings = |mode| {
        std::fs::set_permissions(&key, PermissionsExt::from_mode(mode)).expect("a mode");
        let files = Files::new(&format!("{VAULT}{PROD}{SECRET}")).with("t", "token");
        let options = daemon_with(&[("VAULT_CLIENT_CERT", &cert), ("VAULT_CLIENT_KEY", &path)]);
        let options = Options {
            offline: false,
            ..options
        };
        let warnings = files.settings(&options).warnings;
        let about = |warning: &String| warning.contains(&path);
        warnings.into_iter().filter(about).count()
    };
    assert_eq!(warnings(0o600), 0);
    assert_eq!(warnings(0o644), 1);
    // Nobody else comes through to the file.
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o700)).expect("a mode");
    assert_eq!(warnings(0o644), 0);
}
