//! One test for each thing that is refused: the exact place and the words. `«` in a text marks the place; it is taken out.

use super::{Files, PROD, SECRET, VAULT, daemon, daemon_with};

/// Takes the mark out of a text and says where it was.
fn marked(text: &str) -> (String, String) {
    let before = text.split('«').next().unwrap();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap().chars().count() + 1;
    (
        text.replacen('«', "", 1),
        format!("main.toml:{line}:{column}: "),
    )
}

/// The text is refused with exactly one problem, at the mark.
#[track_caller]
pub fn refuses(text: &str, message: &str) {
    let (plain, place) = marked(text);
    let problems = Files::new(&plain).problems(&daemon());
    assert_eq!(problems, [format!("{place}{message}")], "{plain}");
}

/// The same for keys of a `[[secret]]` that is fine otherwise.
#[track_caller]
pub fn refuses_in_secret(keys: &str, message: &str) {
    let schedule = match keys.contains("schedule =") {
        true => "",
        false => "schedule = \"@daily\"\n",
    };
    let path = match keys.contains("path =") {
        true => "",
        false => "path = \"a\"\n",
    };
    refuses(
        &format!("{VAULT}{PROD}[[secret]]\n{path}{schedule}{keys}\n"),
        message,
    );
}

/// The same for a table of its own.
#[track_caller]
pub fn refuses_table(table: &str, message: &str) {
    refuses(&format!("{VAULT}{PROD}{SECRET}{table}\n"), message);
}

#[test]
fn syntax() {
    refuses(
        &format!("{VAULT}{PROD}{SECRET}missed = «run\n"),
        "this is not TOML: string values must be quoted, expected literal string",
    );
}

/// They look right, and stand on many lines.
#[test]
fn typographic_quotes_are_named_once() {
    refuses_in_secret(
        "missed = «”run”",
        "this is not TOML: ” is a typographic quote; write \" in place of each",
    );
    refuses_in_secret(
        "missed = «“run”\ngrace = “1h”\njitter = ”1m”",
        "this is not TOML: “ or ” is a typographic quote; write \" in place of each, also on 2 further lines",
    );
    // Within a string they are text.
    refuses_in_secret(
        "name = \"Bob’s\"\nmissed = «run # “run”",
        "this is not TOML: string values must be quoted, expected literal string",
    );
}

#[test]
fn a_key_twice_in_a_table() {
    refuses_in_secret(
        "grace = \"1h\"\n«grace = \"2h\"",
        "this key is given twice in one table",
    );
}

#[test]
fn unknown_keys() {
    refuses_in_secret(
        "«shedule2 = \"\"",
        "unknown key \"shedule2\" in [[secret]]; did you mean \"schedule\"?",
    );
    refuses_table(
        "[limits]\n«concurency = 3",
        "unknown key \"concurency\" in [limits]; did you mean \"concurrency\"?",
    );
    refuses_table(
        "[«loging]",
        "unknown key \"loging\" at the top of the file; known keys: vault, journal, dynatrace, account, defaults, secret, notify, limits, daemon, log, ops",
    );
    refuses_table(
        "[daemon]\n«xyz = 3",
        "unknown key \"xyz\" in [daemon]; known keys: shutdown_timeout, sweep",
    );
}

#[test]
fn what_is_written_in_another_form_is_refused_with_the_form() {
    refuses_in_secret(
        "path = «[\"a\", \"b\"]",
        "this must be a string, not a list; for several secrets with the same settings write paths = [...]",
    );
    for key in ["SECRETS", "secrets", "Secret"] {
        refuses(
            &format!("«{key} = [\"a\"]\n{VAULT}{PROD}"),
            &format!(
                "unknown key \"{key}\" at the top of the file; did you mean [[secret]]? Each is a table of its own, with two brackets"
            ),
        );
    }
    for (text, header) in [
        (
            format!("vault = «\"http://vault:8200\"\n{PROD}{SECRET}"),
            "[vault] on a line of its own, and below it its keys, such as address = \"https://vault.example.com:8200\"",
        ),
        (
            format!("dynatrace.prod = «\"https://abc\"\n{VAULT}{SECRET}"),
            "[dynatrace.prod] on a line of its own, and below it its keys, such as url = \"https://abc12345.live.dynatrace.com\"",
        ),
        (
            format!("dynatrace = «\"https://abc\"\n{VAULT}{SECRET}"),
            "[dynatrace.NAME] on a line of its own, and below it its keys, such as url = \"https://abc12345.live.dynatrace.com\"",
        ),
        (
            format!("journal = «\"kv\"\n{VAULT}{PROD}{SECRET}"),
            "[journal] on a line of its own, and below it its keys, such as mount = \"secret\"",
        ),
    ] {
        refuses(
            &text,
            &format!("this must be a table, not a string; write {header}"),
        );
    }
}

#[test]
fn wrong_types() {
    refuses_in_secret("missed = «true", "this must be a string, not a boolean");
    refuses_in_secret(
        "expiry_guard = «\"yes\"",
        "this must be true or false, not a string",
    );
    refuses_in_secret("field = «3", "this must be a string, not a number");
    refuses_in_secret("field = [\"a\", «3]", "this must be a string, not a number");
    refuses_in_secret("field = «[]", "this list is empty");
    refuses_table(
        "[limits]\nconcurrency = «1.5",
        "this must be a whole number, not a number with a fraction",
    );
    refuses_table(
        "[limits]\nconcurrency = «0",
        "\"0\" is not a number between 1 and 1024",
    );
}

#[test]
fn a_secret_in_single_brackets() {
    let message = "each secret is a separate table under [[secret]], with two brackets";
    refuses(&format!("{VAULT}{PROD}[«secret]\npath = \"a\"\n"), message);
}

#[test]
fn lengths_of_time() {
    refuses_in_secret(
        "grace = «90",
        "\"90\" has no unit; write \"90s\", \"90m\", \"90h\" or \"90d\"",
    );
    refuses_in_secret(
        "grace = «\"5 bananas\"",
        "\"5 bananas\" is not a length; write it like \"90d\", \"15m\" or \"1h30m\" (units w d h m s ms)",
    );
    refuses_in_secret(
        "grace = «\"1y\"",
        "\"1y\" has the unknown unit \"y\" (units are w d h m s ms)",
    );
    refuses_table(
        "[daemon]\nsweep = «\"0s\"",
        "\"0s\" must be longer than zero",
    );
    refuses_in_secret(
        "lifetime = «\"forever\"",
        "\"forever\" is not a lifetime; expected \"inherit\", \"never\" or a length such as \"90d\"",
    );
}

#[test]
fn words() {
    refuses_in_secret(
        "missed = «\"rum\"",
        "\"rum\" is invalid (expected \"run\" or \"skip\"); did you mean \"run\"?",
    );
    refuses_table(
        "[log]\nlevel = «\"loud\"",
        "\"loud\" is invalid (expected \"error\", \"warn\", \"info\", \"debug\" or \"trace\")",
    );
}

/// The words are the calendar's; the caret stands under the part.
#[test]
fn bad_cron() {
    for (keys, words) in [
        ("schedule = \"0 «25 * * *\"", "25"),
        ("schedule = '«@reboot'", "@reboot"),
        ("schedule = \"\"\"0 0 «30 2 *\"\"\"", "never"),
        ("schedule = «\"0\\t25 * * *\"", "25"),
    ] {
        let (plain, place) = marked(&format!("{VAULT}{PROD}[[secret]]\npath = \"a\"\n{keys}\n"));
        let problems = Files::new(&plain).problems(&daemon());
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(
            problems[0].starts_with(&place) && problems[0].contains(words),
            "{place} {words}: {problems:?}"
        );
    }
}

#[test]
fn unknown_zone() {
    refuses_in_secret(
        "timezone = «\"Europe/Viena\"",
        "`Europe/Viena` is not a known time zone; did you mean `Europe/Vienna`?",
    );
}

#[test]
fn unknown_environment() {
    refuses_in_secret(
        "environment = «\"prd\"",
        "the environment \"prd\" is not configured; did you mean \"prod\"?",
    );
    let two = PROD.replace("prod", "stage");
    refuses(
        &format!("{VAULT}{PROD}{two}«[[secret]]\npath = \"a\"\nschedule = \"@daily\"\n"),
        "this secret names no environment, and there are several: prod, stage",
    );
}

#[test]
fn two_secrets_of_one_field() {
    let first = 10;
    refuses(
        &format!(
            "{VAULT}{PROD}{SECRET}[[secret]]\nname = \"b\"\npath = «\"a\"\nfield = [\"x\", \"token\"]\nschedule = \"@daily\"\n"
        ),
        &format!(
            "field \"token\" of secret/a is configured by two secrets (first given here: main.toml:{first}:8)"
        ),
    );
}

#[test]
fn two_secrets_of_one_name() {
    refuses(
        &format!(
            "{VAULT}{PROD}{SECRET}[[secret]]\nname = «\"a\"\npath = \"b\"\nschedule = \"@daily\"\n"
        ),
        "two secrets have the name \"a\"; give one of them another name (first given here: main.toml:10:8)",
    );
}

#[test]
fn a_key_twice_across_files() {
    let files = Files::new(&format!("{VAULT}{PROD}{SECRET}"))
        .with(
            "conf.d/10.toml",
            "[dynatrace.prod]\nurl = \"https://x.live.dynatrace.com\"\n",
        )
        .with("conf.d/20.toml", "[vault]\ntimeout = \"1s\"\n");
    assert_eq!(
        files.problems(&daemon()),
        ["conf.d/10.toml:2:1: \"url\" is given twice (first given here: main.toml:7:1)"]
    );
}

#[test]
fn too_many_retiring_tokens() {
    refuses_in_secret(
        "schedule = «\"@hourly\"",
        "too many retiring tokens: (grace 1d + quarantine 7d) / shortest gap 1h = 192, and 50 is the most; \
         rotate less often, or shorten grace or quarantine",
    );
    let fits = format!(
        "{VAULT}{PROD}[[secret]]\npath = \"a\"\nschedule = \"@hourly\"\ngrace = \"1h\"\nquarantine = \"49h\"\n"
    );
    assert_eq!(Files::new(&fits).problems(&daemon()), [""; 0]);
}

/// Its own keys are a consequence of the table that is there twice.
#[test]
fn two_secrets_with_one_bracket_are_one_problem() {
    let text = format!(
        "{VAULT}{PROD}[secret]\npath = \"a\"\nschedule = \"@daily\"\n[«secret]\npath = \"b\"\nschedule = \"@daily\"\n"
    );
    refuses(
        &text,
        "there are two tables [secret]: write [[secret]], with two brackets, for each",
    );
    // What is wrong behind it is its own problem.
    let more = format!(
        "{}[limits]\nconcurrency = 1\nconcurrency = 2\n",
        text.replace('«', "")
    );
    let problems = Files::new(&more).problems(&daemon());
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(
        problems[1].ends_with("this key is given twice in one table"),
        "{problems:?}"
    );
}

#[test]
fn lengths_that_contradict_each_other() {
    refuses_in_secret(
        "max_grace = «\"1h\"",
        "max_grace (1h) is below grace (1d, the default); raise max_grace or shorten grace",
    );
    refuses_in_secret(
        "grace = «\"8d\"",
        "max_grace (7d, the default) is below grace (8d); raise max_grace or shorten grace",
    );
    refuses_in_secret(
        "lifetime = «\"48h\"",
        "lifetime (2d) must exceed twice the grace (1d, the default)",
    );
    refuses_in_secret(
        "jitter = «\"1d\"",
        "jitter (1d) must be below the shortest gap of the schedule \"@daily\" (1d)",
    );
}

#[test]
fn a_default_that_is_wrong_for_many_is_told_once() {
    let secrets: String = (0..5)
        .map(|n| format!("[[secret]]\npath = \"{n}\"\n"))
        .collect();
    refuses(
        &format!("{VAULT}{PROD}[defaults]\nschedule = «\"@hourly\"\n{secrets}"),
        "too many retiring tokens: (grace 1d + quarantine 7d) / shortest gap 1h = 192, and 50 is the most; \
         rotate less often, or shorten grace or quarantine",
    );
    refuses(
        &format!("{VAULT}{PROD}{SECRET}[defaults]\nschedule = \"@daily\"\ntimezone = «\"X/Y\"\n"),
        "`X/Y` is not a known time zone; write an IANA name such as `Europe/Vienna`, or `UTC`",
    );
}

#[test]
fn plain_http() {
    let message = "\"http://vault:8200\" is plain http to a host that is not loopback: tokens would travel unencrypted; \
                   use https, or set allow_http = true in [vault]";
    let vault = VAULT.replace("\"https://", "«\"http://");
    refuses(&format!("{vault}{PROD}{SECRET}"), message);
    let prod = PROD.replace("\"https://", "«\"http://");
    refuses(
        &format!("{VAULT}{prod}{SECRET}"),
        "\"http://abc.live.dynatrace.com\" is plain http to a host that is not loopback: tokens would travel unencrypted; \
         use https, or set allow_http = true in [dynatrace.prod]",
    );
}

#[test]
fn paths() {
    for (path, why) in [
        ("a/../b", "has the part \"..\"; write the path in full"),
        ("/a", "begins or ends with \"/\"; write \"a\""),
        ("a/", "begins or ends with \"/\"; write \"a\""),
        ("a//b", "has an empty part (\"//\")"),
    ] {
        refuses_in_secret(&format!("path = «\"{path}\""), &format!("\"{path}\" {why}"));
    }
    refuses_in_secret(
        "mount = «\"kv/\"",
        "\"kv/\" begins or ends with \"/\"; write \"kv\"",
    );
    refuses_table(
        "[journal]\npath = «\"../x\"",
        "\"../x\" has the part \"..\"; write the path in full",
    );
    refuses_in_secret(
        "path = «\"dtrotate/journal/x\"",
        "this path is inside the journal (secret/dtrotate/journal); choose another",
    );
}

#[test]
fn what_is_missing() {
    refuses_with_whole(
        "",
        &format!("{PROD}{SECRET}"),
        &[
            "main.toml: Vault's address is missing: set address in [vault], BAO_ADDR or VAULT_ADDR",
            "main.toml: no login to Vault is configured: set method in [vault.auth], BAO_TOKEN or VAULT_TOKEN",
        ],
    );
    refuses_with_whole(
        VAULT,
        SECRET,
        &[
            "main.toml: no Dynatrace environment is configured: add a table such as [dynatrace.prod]",
        ],
    );
    refuses(
        &format!("{VAULT}[dynatrace.«prod]\nauth.path = \"x\"\n{SECRET}"),
        "[dynatrace.prod] has no url",
    );
    refuses(
        &format!("{VAULT}[dynatrace.«prod]\nurl = \"https://x.live.dynatrace.com\"\n{SECRET}"),
        "[dynatrace.prod.auth] has no path: where in Vault is the token that may manage tokens?",
    );
    refuses(
        &format!("{VAULT}{PROD}«[[secret]]\nschedule = \"@daily\"\n"),
        "this secret has no path: where in Vault is the token to rotate?",
    );
    refuses(
        &format!("{VAULT}{PROD}«[[secret]]\npath = \"a\"\n"),
        "this secret has no schedule, and [defaults] has none either",
    );
}

#[track_caller]
fn refuses_with_whole(vault: &str, rest: &str, messages: &[&str]) {
    assert_eq!(
        Files::new(&format!("{vault}{rest}")).problems(&daemon()),
        messages
    );
}

#[test]
fn notify() {
    let refuses = refuses_table;
    refuses(
        "[notify]\n«slack = 1",
        "unknown key \"slack\" in [notify]; known keys: dynatrace, webhook, route",
    );
    refuses(
        "[notify.webhook]\n«url_fil = \"u\"\nurl_file = \"u\"",
        "unknown key \"url_fil\" in [notify.webhook]; did you mean \"url_file\"?",
    );
    refuses(
        "[notify.«webhook]\ntimeout = \"5s\"",
        "[notify.webhook] has no effect without url_file",
    );
    refuses(
        "[notify.dynatrace]\ntoken_file = \"t\"\nenvironment = «\"prd\"",
        "the environment \"prd\" is not configured; did you mean \"prod\"?",
    );
    refuses(
        "[notify.«dynatrace]\ntoken_file = \"t\"\n[dynatrace.b]\nurl = \"https://b\"\nauth.path = \"m\"\n[[secret]]\nenabled = false\npath = \"x\"\nschedule = \"@daily\"\nenvironment = \"b\"\n[defaults]\nenvironment = \"prod\"",
        "[notify.dynatrace] names no environment, and there are several: b, prod",
    );
    refuses(
        "[notify.webhook]\nurl_file = «\"https://hooks.example.com/x\"",
        "this is a web address; write it to a file and name that",
    );
    refuses(
        "[notify.dynatrace]\ntoken_file = \"t\"\n«token = \"x\"",
        "\"token\" must not be in the configuration, which never holds credentials; write it to a file and set token_file to the file's name; \
         replace a credential that others could have read",
    );
    refuses(
        "[notify.webhook]\nurl_file = \"u\"\nproxy = «\"proxy:3128\"",
        "\"proxy:3128\" has no scheme; write \"http://\" in front",
    );
}

#[test]
fn routes() {
    let refuses = |keys: &str, message: &str| {
        refuses_table(
            &format!("[[notify.route]]\nurl_file = \"u\"\n{keys}"),
            message,
        );
    };
    refuses(
        "«matsch = { team = \"a\" }",
        "unknown key \"matsch\" in [[notify.route]]; did you mean \"match\"?",
    );
    refuses(
        "match = «{ environment = \"prd\" }",
        "the environment \"prd\" is not configured; did you mean \"prod\"?",
    );
    refuses(
        "match = «{ kind = \"platfrom\" }",
        "\"platfrom\" is neither a kind of token nor of condition; did you mean \"platform\"?",
    );
    refuses(
        "events = [\"condition\", «\"rotate\"]",
        "\"rotate\" is invalid (expected \"condition\" or \"rotated\"); did you mean \"rotated\"?",
    );
    refuses_table(
        "«[[notify.route]]\nevents = \"rotated\"",
        "[[notify.route]] has no effect without url_file",
    );
    refuses_table(
        "[notify.«route]\nurl_file = \"u\"",
        "this is a separate table under [[notify.route]], with two brackets",
    );
}

#[test]
fn a_webhook_file_is_looked_into() {
    let text =
        |keys: &str| format!("{VAULT}{PROD}{SECRET}[notify.webhook]\nurl_file = \"u\"\n{keys}");
    let problems = |url: &str, keys: &str| {
        let files = Files::new(&text(keys)).with("t", "x").with("u", url);
        files.problems(&dtrotate::config::Options {
            daemon: true,
            ..Default::default()
        })
    };
    for (url, keys, why) in [
        ("https://hooks.example.com/canary?sig=canary", "", None),
        ("http://127.0.0.1/canary", "", None),
        ("http://hooks.example.com/canary", "allow_http = true", None),
        (
            "http://hooks.example.com/canary",
            "",
            Some("plain http to a host that is not loopback"),
        ),
        (
            "hooks.example.com/canary",
            "",
            Some("not hold a web address"),
        ),
        ("canary: canary", "", Some("one value on one line")),
        ("", "", Some("is empty")),
    ] {
        let problems = problems(url, keys);
        assert_eq!(
            problems.len(),
            usize::from(why.is_some()),
            "{url}: {problems:?}"
        );
        if let Some(why) = why {
            assert!(problems[0].starts_with("main.toml:13:12: "), "{problems:?}");
            assert!(
                problems[0].contains(why) && !problems[0].contains("canary"),
                "{problems:?}"
            );
        }
    }
}

#[test]
fn login() {
    let vault = |auth: &str| {
        format!("[vault]\naddress = \"https://v\"\n[vault.auth]\n{auth}\n{PROD}{SECRET}")
    };
    refuses(
        &vault(
            "method = \"approle\"\nrole_id_file = \"r\"\nsecret_id_file = \"s\"\ntoken_file = «\"t\"",
        ),
        "token_file does not belong to the login method \"approle\"",
    );
    refuses(
        &vault("method = \"token\"\ntoken_file = \"t\"\nmount = «\"x\""),
        "mount does not belong to the login method \"token\"",
    );
    refuses(
        &vault("method = \"token\"\ntoken_file = «\"\""),
        "this must not be empty: it is the name of a file",
    );
    refuses(
        &vault("method = \"approle\"\nrole_id_file = \"r\"")
            .replace("[vault.auth]", "[vault.«auth]"),
        "the login method \"approle\" needs secret_id_file",
    );
    refuses(
        &vault("method = \"cert\"\ncert_file = \"c\"").replace("[vault.auth]", "[vault.«auth]"),
        "the login method \"cert\" needs key_file",
    );
    refuses(
        &vault("method = \"kubernetes\"").replace("[vault.auth]", "[vault.«auth]"),
        "the login method \"kubernetes\" needs role",
    );
    refuses(
        &vault("method = \"jwt\"").replace("[vault.auth]", "[vault.«auth]"),
        "the login method \"jwt\" needs jwt_file",
    );
    refuses(
        &vault("method = \"approle\"\nrole_id_file = \"r\"\nrole = «\"r\"\nsecret_id_file = \"s\""),
        "role does not belong to the login method \"approle\"",
    );
    refuses(
        &vault(
            "method = \"approle\"\nrole_id_file = \"r\"\nsecret_id_file = «\"s\"\nwrapped_secret_id_file = \"w\"",
        ),
        "set either secret_id_file or wrapped_secret_id_file, not both",
    );
    refuses(
        &vault("method = \"token\"").replace("[vault.auth]", "[vault.«auth]"),
        "the login method \"token\" needs token_file, BAO_TOKEN or VAULT_TOKEN",
    );
}

#[test]
fn other_addresses() {
    refuses_table(
        "[ops]\nlisten = «\":9780\"",
        "\":9780\" is not an address to listen on; write IP:PORT such as \"127.0.0.1:9780\" or \"[::]:9780\", or \"\" for none",
    );
    refuses_table(
        "[ops]\ndetails = «\"allways\"",
        "\"allways\" is invalid (expected \"loopback\", \"always\" or \"never\"); did you mean \"always\"?",
    );
    refuses(
        &format!("{VAULT}{PROD}proxy = «\"socks5://p:1\"\n{SECRET}"),
        "\"socks5://p:1\" has the scheme \"socks5\"; only https and http are understood",
    );
}

#[test]
fn the_management_token_of_another_environment() {
    let stage = PROD
        .replace("prod", "stage")
        .replace("dt/master", "dt/stage");
    refuses(
        &format!(
            "{VAULT}{PROD}{stage}[[secret]]\nenvironment = \"prod\"\npath = «\"dt/stage\"\nschedule = \"@daily\"\n"
        ),
        "this is the management token of the environment \"stage\", but the secret belongs to \"prod\"",
    );
}

#[test]
fn former_names() {
    refuses_in_secret(
        "renamed_from = «\"a\"",
        "\"a\" is still the name of a secret (it is given here: main.toml:10:8)",
    );
}

#[test]
fn overrides_name_the_variable() {
    let files = Files::new(&format!("{VAULT}{PROD}{SECRET}"));
    for (name, value, message) in [
        (
            "DTROTATE_VAULT__ADRESS",
            "x",
            "this environment variable does not match any configuration key; did you mean \"DTROTATE_VAULT__ADDRESS\"?",
        ),
        (
            "DTROTATE_VAULT_ADDRESS",
            "x",
            "this environment variable does not match any configuration key; did you mean \"DTROTATE_VAULT__ADDRESS\"?",
        ),
        (
            "DTROTATE_DYNATRACE__PRODD__URL",
            "x",
            "this environment variable does not match any configuration key; did you mean \"DTROTATE_DYNATRACE__PROD__URL\"?",
        ),
        (
            "DTROTATE_VAULT",
            "x",
            "this environment variable does not match any configuration key; the form is DTROTATE_SECTION__KEY, such as DTROTATE_VAULT__ADDRESS",
        ),
        (
            "DTROTATE_VAULT__ADDRESS",
            "vault",
            "\"vault\" has no scheme; write \"https://\" in front",
        ),
        (
            "DTROTATE_DEFAULTS__GRACE",
            "90",
            "\"90\" has no unit; write \"90s\", \"90m\", \"90h\" or \"90d\"",
        ),
        (
            "DTROTATE_LIMITS__CONCURRENCY",
            "many",
            "\"many\" is not a number between 1 and 1024",
        ),
        (
            "DTROTATE_DEFAULTS__ENABLED",
            "yes",
            "\"yes\" is not true or false",
        ),
        (
            "DTROTATE_SECRET__GRACE",
            "1h",
            "a [[secret]] cannot be overridden",
        ),
    ] {
        let problems = files.problems(&daemon_with(&[(name, value)]));
        assert_eq!(problems, [format!("${name}: {message}")]);
    }
}

#[test]
fn standard_variables_are_checked_too() {
    let files = Files::new(&format!("{PROD}{SECRET}"));
    let problems = files.problems(&daemon_with(&[
        ("VAULT_ADDR", "http://vault:8200"),
        ("BAO_TOKEN", "x"),
    ]));
    assert_eq!(problems.len(), 1);
    assert!(
        problems[0].starts_with("$VAULT_ADDR: \"http://vault:8200\" is plain http"),
        "{problems:?}"
    );
}

#[test]
fn files_that_cannot_be_read() {
    let files = Files::new("");
    std::fs::remove_file(files.path("main.toml")).unwrap();
    let problems = files.problems(&daemon());
    assert_eq!(problems.len(), 1);
    assert!(
        problems[0].starts_with(
            "main.toml: there is no such file; name the configuration with `--config FILE`"
        ),
        "{problems:?}"
    );

    let files = Files::new(&format!("{VAULT}{PROD}{SECRET}"));
    std::fs::create_dir(files.path("conf.d")).unwrap();
    std::fs::write(files.path("conf.d/a.toml"), b"\xff").unwrap();
    assert_eq!(
        files.problems(&daemon()),
        ["conf.d/a.toml: this file is not text in UTF-8"]
    );

    let mut options = daemon();
    options.config_dir = Some(files.path("nowhere"));
    let problems = files.problems(&options);
    assert!(
        problems[0].starts_with("nowhere: cannot read this folder: "),
        "{problems:?}"
    );
}

#[test]
fn credential_files_are_looked_at_online_only() {
    let files = Files::new(&format!("{VAULT}{PROD}ca_file = \"nope.pem\"\n{SECRET}"));
    assert_eq!(files.problems(&daemon()), [""; 0]);
    let online = dtrotate::config::Options {
        daemon: true,
        ..Default::default()
    };
    let problems = files.problems(&online);
    assert_eq!(
        problems,
        [
            "main.toml:5:14: cannot read the credential file t: not found; create it, or correct the path",
            "main.toml:9:11: cannot read nope.pem: not found; create it, or correct the path",
        ]
    );
}

#[test]
fn a_control_character_stays_on_its_line() {
    refuses_in_secret(
        "environment = «\"a\\nb\\u001b[31m\"",
        "the environment \"a\\nb\\u{1b}[31m\" is not configured; environments: prod",
    );
}

#[test]
fn all_problems_of_all_files_in_one_go() {
    let files = Files::new(&format!(
        "{VAULT}{PROD}[[secret]]\npath = \"a//b\"\nschedule = \"x\"\ngrace = 3\nmised = \"run\"\n[limits]\nconcurrency = 0\n"
    ))
    .with("conf.d/1.toml", "= broken\n")
    .with("conf.d/2.toml", "[[secret]]\npath = \"/z\"\n");
    let places: Vec<String> = files
        .problems(&daemon())
        .iter()
        .map(|line| line.split(": ").next().unwrap().to_owned())
        .collect();
    assert_eq!(
        places,
        [
            "main.toml:10:8",
            "main.toml:11:13",
            "main.toml:12:9",
            "main.toml:13:1",
            "main.toml:15:15",
            "conf.d/1.toml:1:1",
            "conf.d/2.toml:2:8",
        ]
    );
}

#[test]
fn the_picture_shows_line_and_caret() {
    let files = Files::new(&format!(
        "{VAULT}{PROD}[[secret]]\npath = \"a\"\nschedule = \"@daily\"\nmissed = \"rum\"\n"
    ));
    let Err(problems) = files.load(&daemon()) else {
        panic!("accepted");
    };
    let plain = problems
        .to_string()
        .replace(&files.path("main.toml").display().to_string(), "main.toml");
    assert_eq!(
        plain,
        "\
error: \"rum\" is invalid (expected \"run\" or \"skip\"); did you mean \"run\"?
  --> main.toml:12:10
   |
12 | missed = \"rum\"
   |          ^^^^^

1 problem in the configuration"
    );
    assert!(problems.render(true).contains("\u{1b}["));
    assert!(!plain.contains('\u{1b}'));
}

/// A misspelt required key is unknown, and not missing as well.
#[test]
fn a_misspelt_required_key_is_one_problem() {
    let adress = VAULT.replace("address", "«adress");
    refuses(
        &format!("{adress}{PROD}{SECRET}"),
        "unknown key \"adress\" in [vault]; did you mean \"address\"?",
    );
    let method = VAULT.replace("method", "«metod");
    refuses(
        &format!("{method}{PROD}{SECRET}"),
        "unknown key \"metod\" in [vault.auth]; did you mean \"method\"?",
    );
    let vault = VAULT
        .replace("[vault]", "[«vaul]")
        .replace("[vault.auth]", "[vaul.auth]");
    refuses(
        &format!("{vault}{PROD}{SECRET}"),
        "unknown key \"vaul\" at the top of the file; did you mean \"vault\"?",
    );
    refuses(
        &format!(
            "{VAULT}{}{SECRET}",
            PROD.replace("[dynatrace", "[«dynatrac")
        ),
        "unknown key \"dynatrac\" at the top of the file; did you mean \"dynatrace\"?",
    );
    refuses(
        &format!("{VAULT}{}{SECRET}", PROD.replace("auth.path", "«auht.path")),
        "unknown key \"auht\" in [dynatrace.prod]; did you mean \"auth\"?",
    );
    refuses(
        &format!("{VAULT}{}{SECRET}", PROD.replace("url", "«urll")),
        "unknown key \"urll\" in [dynatrace.prod]; did you mean \"url\"?",
    );
    for (right, wrong) in [("path", "«pth"), ("schedule", "«shedule")] {
        refuses(
            &format!("{VAULT}{PROD}{}", SECRET.replace(right, wrong)),
            &format!(
                "unknown key \"{}\" in [[secret]]; did you mean \"{right}\"?",
                &wrong[2..]
            ),
        );
    }
    refuses(
        &format!("{VAULT}{PROD}[[secret]]\npath = \"a\"\n[defaults]\n«schedul = \"@daily\"\n"),
        "unknown key \"schedul\" in [defaults]; did you mean \"schedule\"?",
    );
    let token_file = VAULT.replace("token_file", "«token");
    refuses(
        &format!("{token_file}{PROD}{SECRET}"),
        "\"token\" must not be in the configuration, which never holds credentials; write it to a file and set token_file to the \
         file's name; replace a credential that others could have read",
    );
}

#[test]
fn a_file_that_is_not_regular_or_too_large_is_refused_at_once() {
    let files = Files::new(&format!("{VAULT}{PROD}{SECRET}"));
    let fifo = files.path("conf.d/fifo.toml");
    std::fs::create_dir(files.path("conf.d")).unwrap();
    let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, kind, mode, 0).unwrap();
    std::os::unix::fs::symlink("/dev/zero", files.path("conf.d/zero.toml")).unwrap();
    let large = std::fs::File::create(files.path("conf.d/large.toml")).unwrap();
    large.set_len(17 * 1024 * 1024).unwrap();
    assert_eq!(
        files.problems(&daemon()),
        [
            "conf.d/fifo.toml: cannot read this file: it is not a regular file",
            "conf.d/large.toml: cannot read this file: it is larger than 16777216 bytes",
            "conf.d/zero.toml: cannot read this file: it is not a regular file",
        ]
    );
}

#[test]
fn addresses_and_paths_as_the_api_of_vault_has_them() {
    refuses_in_secret(
        "path = «\"secret/data/dynatrace/x\"",
        "the path is below the mount \"secret\"; write \"dynatrace/x\"",
    );
    let vault = VAULT.replace(
        "\"https://vault:8200",
        "«\"https://vault:8200/v1/secret/data/",
    );
    refuses(
        &format!("{vault}{PROD}{SECRET}"),
        "\"https://vault:8200/v1/secret/data/\" has a path of the API behind the address of the server; write \"https://vault:8200\"",
    );
    let files = Files::new(&format!(
        "{VAULT}{PROD}[[secret]]\npath = \"secret/x\"\nschedule = \"@daily\"\n"
    ));
    let warnings = files.settings(&daemon()).warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].contains("main.toml:10: the path \"secret/x\" repeats the mount"),
        "{warnings:?}"
    );
    assert!(warnings[0].ends_with("write \"x\""), "{warnings:?}");
}

#[test]
fn certificates_are_always_verified() {
    let files = Files::new(&format!("{VAULT}{PROD}{SECRET}"));
    let problems = |value| files.problems(&daemon_with(&[("VAULT_SKIP_VERIFY", value)]));
    for value in ["", "0", "false"] {
        assert_eq!(problems(value), [""; 0], "{value}");
    }
    assert_eq!(
        problems("true"),
        [
            "$VAULT_SKIP_VERIFY: the certificate of Vault is always verified, because tokens are sent to it; unset the variable; for a private CA \
             set ca_file in [vault], for a certificate of another name tls_server_name"
        ]
    );
}

const UUID: &str = "0f5c7a6e-1f2b-4c3d-8e9f-0a1b2c3d4e5f";

fn account() -> String {
    format!("[account.main]\nuuid = \"{UUID}\"\nauth.path = \"dt/oauth-client\"\n")
}

/// What a platform token needs, and what it cannot have.
#[test]
fn platform_tokens() {
    refuses_in_secret(
        "kind = «\"platform\"",
        "platform tokens are managed in an account: add a table such as [account.main]",
    );
    let secret = |keys: &str| {
        format!("[[secret]]\npath = \"a\"\nschedule = \"@daily\"\nkind = \"platform\"\n{keys}\n")
    };
    let saas = |keys: &str| format!("{VAULT}{}{PROD}{}", account(), secret(keys));
    for (keys, message) in [
        (
            "lifetime = «\"never\"",
            "platform tokens always expire; set lifetime to a length such as \"90d\"",
        ),
        (
            "lifetime = «\"10d\"",
            "lifetime (10d) must exceed gap + max_grace + quarantine + settle (15d15m)",
        ),
        (
            "verify = «\"enviroment\"",
            "\"enviroment\" is not a way to verify a token (expected \"auto\", \"listed\", \"environment\", \"documents\", \"workflows\", \"settings\", \
             \"permissions\", \"user\" or a call such as \"GET /platform/document/v1/documents\"); did you mean \"environment\"?",
        ),
    ] {
        refuses(&saas(keys), message);
    }
    let managed = "[dynatrace.prod]\nurl = \"https://dt.example.com\"\nauth.path = \"dt/master\"\n";
    let text = format!(
        "{VAULT}{}{managed}{}",
        account(),
        secret("verify = \"listed\"")
    );
    refuses(
        &text.replace("[[secret]]", "«[[secret]]"),
        "the id of the environment \"prod\" does not show in its url; set environment_id in [dynatrace.prod]",
    );
    let managed = managed.replace("auth.path", "environment_id = \"abc\"\nauth.path");
    let text = format!("{VAULT}{}{managed}{}", account(), secret(""));
    refuses(
        &text.replace("[[secret]]", "«[[secret]]"),
        "where to try platform tokens of the environment \"prod\" is not known; set apps_url in [dynatrace.prod], or verify = \"listed\"",
    );
    let bare = "[dynatrace.prod]\nurl = \"https://abc.live.dynatrace.com\"\n";
    refuses(
        &format!("{VAULT}{}{bare}«{SECRET}", account()),
        "the environment \"prod\" has no management token, which API tokens need: add [dynatrace.prod.auth], or set kind = \"platform\"",
    );
    refuses(
        &format!(
            "{VAULT}{}{bare}account = «\"other\"\n{}",
            account(),
            secret("")
        ),
        "there is no [account.other]",
    );
    let twice = account() + &account().replace("main", "second");
    refuses(
        &format!(
            "{VAULT}{twice}{bare}{}",
            secret("").replace("\"platform\"", "«\"platform\"")
        ),
        "there are several accounts; set account in [dynatrace.prod]",
    );
}

#[test]
fn accounts() {
    refuses_table(
        "[account.«main]\nauth.path = \"x\"",
        "[account.main] has no uuid",
    );
    refuses_table(
        &format!("[account.«main]\nuuid = \"{UUID}\""),
        "[account.main.auth] has no path: where in Vault are the credentials of the OAuth client?",
    );
    refuses_table(
        "[account.main]\nuuid = «\"abc\"\nauth.path = \"x\"",
        "\"abc\" is not the UUID of an account: 32 hexadecimal digits and four dashes, as Account Management shows it",
    );
    refuses_table(
        &format!(
            "[account.main]\nuuid = \"{UUID}\"\nauth.path = \"x\"\napi_url = «\"https://api.dynatrace.com/iam\""
        ),
        "\"https://api.dynatrace.com/iam\" has the path \"/iam\"; the address ends after the host",
    );
    refuses_table(
        &format!(
            "[account.main]\nuuid = \"{UUID}\"\nauth.path = \"x\"\nsso_url = «\"http://sso.example.com\""
        ),
        "\"http://sso.example.com\" is plain http to a host that is not loopback: tokens would travel unencrypted; use https, or set \
         allow_http = true in [account.main]",
    );
}
