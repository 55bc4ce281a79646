//! Every message names its place, its cause and its cure: what people wrote, and what they read. Messages of connections are in
//! `src/http/tests/causes.rs`, those of the calendar in `src/schedule/calendar/tests.rs`.

use std::process::{Command, Output};

use dtrotate::config::Options;

use super::{Files, PROD, SECRET, VAULT, daemon, daemon_with};

/// The one problem of a configuration.
#[track_caller]
fn problem(text: &str, options: &Options) -> String {
    let problems = Files::new(text).with("t", "token").problems(options);
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems.concat()
}

/// The one warning of a configuration.
#[track_caller]
fn warning(text: &str, options: &Options) -> String {
    let warnings = Files::new(text).settings(options).warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    warnings.concat()
}

#[track_caller]
fn says(message: &str, parts: [&str; 3]) {
    for part in parts {
        assert!(message.contains(part), "{part}: {message}");
    }
}

fn with_secret(keys: &str) -> String {
    format!("{VAULT}{PROD}[[secret]]\n{keys}\n")
}

#[test]
fn a_path_as_the_api_or_the_command_of_vault_has_it() {
    let schedule = "schedule = \"@daily\"";
    says(
        &problem(
            &with_secret(&format!("path = \"secret/data/x\"\n{schedule}")),
            &daemon(),
        ),
        [
            "main.toml:10:8",
            "below the mount \"secret\"",
            "write \"x\"",
        ],
    );
    says(
        &warning(
            &with_secret(&format!("path = \"secret/x\"\n{schedule}")),
            &daemon(),
        ),
        [
            "main.toml:10",
            "repeats the mount \"secret\"",
            "write \"x\"",
        ],
    );
    says(
        &warning(
            &with_secret(&format!("path = \"apps/*\"\n{schedule}")),
            &daemon(),
        ),
        ["main.toml:10", "is taken literally", "set discover"],
    );
    says(
        &problem(
            &with_secret(&format!("path = \"a\u{200b}b\"\n{schedule}")),
            &daemon(),
        ),
        [
            "main.toml:10:8",
            "the invisible character U+200B",
            "delete it",
        ],
    );
}

/// Each key that holds a path in Vault, where its value begins.
fn with_path(path: &str) -> [(String, &'static str); 6] {
    let schedule = "schedule = \"@daily\"";
    let account = "[account.main]\nuuid = \"0f5c7a6e-1f2b-4c3d-8e9f-0a1b2c3d4e5f\"";
    [
        (
            with_secret(&format!("path = \"{path}\"\n{schedule}")),
            "main.toml:10:8",
        ),
        (
            with_secret(&format!("paths = [\"a\", \"{path}\"]\n{schedule}")),
            "main.toml:10:15",
        ),
        (
            with_secret(&format!("discover = \"{path}/\"\n{schedule}")),
            "main.toml:10:12",
        ),
        (
            format!("{VAULT}{}{SECRET}", PROD.replace("dt/master", path)),
            "main.toml:8:13",
        ),
        (
            format!("{VAULT}{PROD}{SECRET}{account}\nauth.path = \"{path}\"\n"),
            "main.toml:14:13",
        ),
        (
            format!("{VAULT}{PROD}{SECRET}[journal]\npath = \"{path}\"\n"),
            "main.toml:13:8",
        ),
    ]
}

/// `vault kv put` prints `secret/data/x` as the path, which suggests `data/x` below the mount.
#[test]
fn what_the_api_puts_in_front_of_a_path_is_found_in_every_key() {
    for (text, place) in with_path("secret/data/x") {
        says(
            &problem(&text, &daemon()),
            [place, "below the mount \"secret\"", "write \"x\""],
        );
    }
    for (text, place) in with_path("data/x") {
        let line = place.rsplit_once(':').expect("a column").0;
        says(
            &warning(&text, &daemon()),
            [line, "begins with \"data/\"", "write \"x\""],
        );
    }
}

#[test]
fn a_mount_with_what_the_api_puts_behind_it() {
    let secret = with_secret("path = \"a\"\nschedule = \"@daily\"\nmount = \"secret/data\"");
    let after = |table: &str| format!("{VAULT}{PROD}{SECRET}{table}\nmount = \"secret/data\"\n");
    for (text, line) in [
        (secret, "main.toml:12"),
        (after("[defaults]"), "main.toml:13"),
        (after("[journal]"), "main.toml:13"),
        (
            format!("{VAULT}{PROD}auth.mount = \"secret/data\"\n{SECRET}"),
            "main.toml:9",
        ),
    ] {
        says(
            &warning(&text, &daemon()),
            [line, "ends with \"/data\"", "write \"secret\""],
        );
    }
}

#[test]
fn an_address_with_a_path_of_the_api() {
    let vault = VAULT.replace("vault:8200", "vault:8200/v1/secret/data/");
    says(
        &problem(&format!("{vault}{PROD}{SECRET}"), &daemon()),
        [
            "main.toml:2:11",
            "a path of the API",
            "write \"https://vault:8200\"",
        ],
    );
}

#[test]
fn an_address_of_the_web_interface() {
    let prod = PROD.replace(".live.", ".apps.");
    says(
        &warning(&format!("{VAULT}{prod}{SECRET}"), &daemon()),
        [
            "main.toml:7",
            "abc.apps.dynatrace.com is the web interface",
            "the API at https://abc.live.dynatrace.com is used instead",
        ],
    );
}

#[test]
fn a_credential_file_that_holds_more_than_the_credential() {
    let online = Options {
        daemon: true,
        ..Options::default()
    };
    for (content, cause, cure) in [
        ("\u{feff}canary", "a byte order mark", "without one"),
        ("\"canary\"", "quotes around the credential", "remove them"),
        ("'canary'\n", "quotes around the credential", "remove them"),
        ("VAULT_TOKEN=canary", "an assignment", "only the credential"),
        (
            "export BAO_TOKEN=canary",
            "an assignment",
            "only the credential",
        ),
        (
            "{\"token\":\"canary\"}",
            "holds JSON",
            "only the credential",
        ),
        ("canary\ncanary\n", "one value on one line", "nothing else"),
        (
            "can\u{200b}ary",
            "an invisible character",
            "copy the credential again",
        ),
        ("", "is empty", ""),
    ] {
        let files = Files::new(&format!("{VAULT}{PROD}{SECRET}")).with("t", content);
        let problems = files.problems(&online);
        assert_eq!(problems.len(), 1, "{problems:?}");
        says(
            &problems[0],
            ["main.toml:5:14: the credential file t", cause, cure],
        );
        assert!(!problems[0].contains("canary"), "{problems:?}");
    }
}

/// As an expired token they would be refused by Vault, with the same words.
#[test]
fn a_variable_that_holds_more_than_the_credential() {
    for (name, value, cause, cure) in [
        (
            "VAULT_TOKEN",
            "\"canary\"",
            "quotes around the credential",
            "remove them",
        ),
        ("BAO_TOKEN", "Bearer canary", "\"Bearer \"", "delete it"),
        (
            "VAULT_TOKEN",
            "VAULT_TOKEN=canary",
            "an assignment",
            "only the credential",
        ),
    ] {
        let options = Options {
            environment: [(name.to_owned(), value.to_owned())].into(),
            ..Options::default()
        };
        let message = problem(&format!("{VAULT}{PROD}{SECRET}"), &options);
        let place = format!("${name}: the environment variable {name} ");
        says(&message, [&place, cause, cure]);
        assert!(!message.contains("canary"), "{message}");
        // The daemon has a login of its own.
        let daemon = Options {
            daemon: true,
            ..options
        };
        let files = Files::new(&format!("{VAULT}{PROD}{SECRET}")).with("t", "token");
        assert_eq!(files.problems(&daemon), [""; 0]);
    }
}

#[test]
fn a_proxy_without_a_scheme_or_with_a_password() {
    let with = |proxy: &str| format!("{VAULT}{PROD}proxy = \"{proxy}\"\n{SECRET}");
    says(
        &problem(&with("host:3128"), &daemon()),
        [
            "main.toml:9:9",
            "has no scheme",
            "write \"http://\" in front",
        ],
    );
    let message = problem(&with("http://me:canary@host:3128"), &daemon());
    says(
        &message,
        [
            "main.toml:9:9",
            "a user name or password in it",
            "set proxy_auth_file",
        ],
    );
    assert!(!message.contains("canary"), "{message}");
    let message = problem(&with("me:canary@host:3128"), &daemon());
    assert!(!message.contains("canary"), "{message}");
}

#[test]
fn a_service_of_kubernetes_that_is_named_dtrotate() {
    let variables = [
        ("DTROTATE_PORT", "tcp://10.0.0.1:9780"),
        ("DTROTATE_SERVICE_HOST", "10.0.0.1"),
        ("DTROTATE_PORT_8080_TCP_ADDR", "10.0.0.1"),
    ];
    says(
        &warning(&format!("{VAULT}{PROD}{SECRET}"), &daemon_with(&variables)),
        [
            "3 environment variables such as DTROTATE_PORT",
            "Kubernetes sets them for a Service",
            "enableServiceLinks: false",
        ],
    );
}

#[test]
fn a_range_of_weekdays_that_runs_backwards() {
    says(
        &problem(
            &with_secret("path = \"a\"\nschedule = \"0 0 * * 7-3\""),
            &daemon(),
        ),
        ["main.toml:11:21", "runs backwards", "write `0-3`"],
    );
}

#[test]
fn a_variable_against_verification() {
    says(
        &problem(
            &format!("{VAULT}{PROD}{SECRET}"),
            &daemon_with(&[("BAO_SKIP_VERIFY", "1")]),
        ),
        [
            "$BAO_SKIP_VERIFY",
            "tokens are sent to it",
            "set ca_file in [vault]",
        ],
    );
}

/// What a command prints, on a terminal or not.
fn printed(files: &Files, arguments: &str, on_terminal: bool) -> String {
    let program = env!("CARGO_BIN_EXE_dtrotate");
    let line = format!(
        "{program} --config {} {arguments}",
        files.path("main.toml").display()
    );
    let mut command = Command::new(if on_terminal { "script" } else { "sh" });
    match on_terminal {
        true => command.args(["-qec", &line, "/dev/null"]),
        false => command.args(["-c", &line]),
    };
    let path = std::env::join_paths(["/bin", "/usr/bin"]).expect("a path");
    let Output { stdout, stderr, .. } = command
        .env_clear()
        .env("PATH", path)
        .output()
        .expect("the command");
    String::from_utf8([stdout, stderr].concat()).expect("text")
}

#[test]
fn run_prints_each_problem_once() {
    let files = Files::new(&format!(
        "{VAULT}{PROD}{SECRET}mised = \"run\"\ngrace = 5\n"
    ));
    for on_terminal in [true, false] {
        let printed = printed(&files, "run", on_terminal);
        for words in ["unknown key", "has no unit"] {
            assert_eq!(printed.matches(words).count(), 1, "{printed}");
        }
    }
}

#[test]
fn check_says_that_nothing_is_configured_to_be_rotated() {
    let files = Files::new(&format!("{VAULT}{PROD}"));
    let printed = printed(&files, "check --offline", false);
    let line = printed.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(line.contains("no secret is configured"), "{printed}");
    assert!(line.contains("add a [[secret]]"), "{printed}");
}
