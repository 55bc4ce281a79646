//! P5: whatever is wrong, and whatever people wrote where it does not belong, no secret shows in what is said about it.

use super::{Files, PROD, SECRET, VAULT, daemon, daemon_with};
use dtrotate::config::Options;

/// Everything that a refusal can print.
fn everything(files: &Files, options: &Options) -> String {
    match files.load(options) {
        Ok(_) => String::new(),
        Err(problems) => [
            problems.to_string(),
            problems.render(true),
            problems.lines().join("\n"),
            format!("{problems:?} {problems:#?}"),
        ]
        .concat(),
    }
}

#[track_caller]
fn hidden(text: &str, canary: &str) -> String {
    let said = everything(&Files::new(text), &daemon());
    assert!(!said.is_empty(), "accepted: {text}");
    assert!(!said.contains(canary), "{said}");
    said
}

#[test]
fn a_token_value_anywhere_is_refused_and_masked() {
    const TOKENS: [&str; 4] = [
        "dt0c01.PUBLIC.CANARYSECRET",
        "dt0s16.PUBLIC.CANARY",
        "hvs.CANARYCANARYCANARYCANARY",
        "s.CANARYCANARYCANARYCANARY",
    ];
    for token in TOKENS {
        for text in [
            format!("{VAULT}{PROD}{SECRET}# {token}\n"),
            format!("{VAULT}{PROD}{SECRET}value = \"{token}\"\n"),
            format!("{VAULT}{PROD}{SECRET}grace = \"{token}\"\n"),
            format!("{VAULT}{PROD}{SECRET}missed = \"{token}\"\n"),
            format!("{VAULT}{PROD}{SECRET}timezone = \"{token}\"\n"),
            format!("{VAULT}{PROD}{SECRET}environment = \"{token}\"\n"),
            format!(
                "{VAULT}{PROD}{SECRET}name = \"/{token}\"\n[[secret]]\nname = \"/{token}\"\npath = \"b\"\nschedule = \"@daily\"\n"
            ),
            format!("{VAULT}{PROD}[[secret]]\npath = \"a/../{token}\"\nschedule = \"{token}\"\n"),
            format!("{VAULT}{PROD}{SECRET}[ops]\nlisten = \"{token}\"\n"),
            format!("{VAULT}{PROD}{SECRET}[\"{token}\"]\nx = 1\n"),
            format!("{VAULT}{PROD}{SECRET}\"{token}\" = 1\n"),
            format!("{VAULT}{PROD}{SECRET}token = {token}\n"),
            format!("{VAULT}{PROD}{SECRET}broken {token}\n"),
            format!("{VAULT}{PROD}{SECRET}x = \"{token}\n"),
        ] {
            let said = hidden(&text, "CANARY");
            assert!(
                said.contains("token is written into the file"),
                "{text}\n{said}"
            );
        }
    }
}

#[test]
fn a_token_value_is_refused_at_its_place() {
    let problems =
        Files::new(&format!("{VAULT}{PROD}{SECRET}# dt0c01.CANARY.CANARY\n")).problems(&daemon());
    assert_eq!(
        problems,
        [
            "main.toml:12:3: a Dynatrace token is written into the file; secrets come from a file, a systemd credential or the \
          environment; whoever could read this file knows the value now, so revoke it"
        ]
    );
}

#[test]
fn credentials_of_no_known_shape_are_masked_by_their_key() {
    const OPAQUE: &str = "fsjhkeiu3483_kfjskdf2";
    for auth in [
        format!("secret_id = \"{OPAQUE}\""),
        format!("token = \"{OPAQUE}\""),
        format!("role_id = \"{OPAQUE}\""),
        format!("secretid = \"{OPAQUE}\""),
        format!("password = \"{OPAQUE}\""),
        format!("secret_id = \"{OPAQUE}"),
        format!("secret_id = {OPAQUE}"),
        format!("secret_id = \"\"\"\n{OPAQUE}\n"),
        format!("'secret_id' = '{OPAQUE}'"),
    ] {
        hidden(&approle(&auth), OPAQUE);
    }
    let inline = format!("[vault]\nauth = {{ method = \"approle\", secret_id = \"{OPAQUE}\" }}\n");
    hidden(&format!("{inline}{PROD}{SECRET}"), OPAQUE);
    hidden(
        &format!("{VAULT}{PROD}auth.token = \"{OPAQUE}\"\n{SECRET}"),
        OPAQUE,
    );
    hidden(
        &format!("{VAULT}{PROD}api_token = \"{OPAQUE}\"\n{SECRET}"),
        OPAQUE,
    );
}

#[test]
fn a_credential_in_the_place_of_its_file_name_is_masked() {
    const UUID: &str = "0c0ffee0-aaaa-bbbb-cccc-0123456789ab";
    for key in ["secret_id_file", "token_file", "role_id_file"] {
        let said = hidden(&approle(&format!("{key} = \"{UUID}\"")), UUID);
        assert!(said.contains("is a credential itself"), "{said}");
    }
}

#[test]
fn the_url_of_a_webhook_is_masked_wherever_somebody_put_it() {
    const URL: &str = "https://hooks.example.com/services/T0/CANARY";
    for text in [
        format!("[notify.webhook]\nurl = \"{URL}\""),
        format!("[notify.webhook]\nurl_file = \"{URL}\""),
        format!("[notify.webhook]\nur_fil = \"{URL}\""),
        format!("[notify]\nwebhook = \"{URL}\""),
        format!("[notify]\nwebhook = {{ url = \"{URL}\" }}"),
        format!("[notify.webhook]\nurl = {URL}"),
    ] {
        hidden(&format!("{VAULT}{PROD}{SECRET}{text}\n"), "CANARY");
    }
    let dotted = format!("notify.webhook.url = \"{URL}\"\n{VAULT}{PROD}{SECRET}");
    hidden(&dotted, "CANARY");
}

#[test]
fn users_in_addresses_are_masked() {
    let proxy = "proxy = \"http://me:canary@proxy\"";
    hidden(&format!("{VAULT}{PROD}{proxy}\n{SECRET}"), "canary");
    let url = PROD.replace("https://abc", "https://me:canary@abc");
    hidden(&format!("{VAULT}{url}{SECRET}"), "canary");
}

/// A file that logs in with an AppRole, with some keys of `[vault.auth]`.
fn approle(keys: &str) -> String {
    let vault = "[vault]\naddress = \"https://v\"\n[vault.auth]\nmethod = \"approle\"\n";
    format!("{vault}{keys}\n{PROD}{SECRET}")
}

#[test]
fn the_inline_secret_is_named_with_its_remedy() {
    let vault = "[vault]\naddress = \"https://v\"\n[vault.auth]\nmethod = \"approle\"\nrole_id_file = \"r\"\nsecret_id = \"x\"\nsecret_id_file = \"s\"\n";
    let problems = Files::new(&format!("{vault}{PROD}{SECRET}")).problems(&daemon());
    assert_eq!(
        problems,
        [
            "main.toml:6:1: \"secret_id\" must not be in the configuration, which never holds credentials; write it to a file and set \
          secret_id_file to the file's name; replace a credential that others could have read"
        ]
    );
}

#[test]
fn variables_are_named_and_their_values_kept() {
    let files = Files::new(&format!("{VAULT}{PROD}{SECRET}"));
    for name in [
        "DTROTATE_VAULT__AUTH__TOKEN",
        "DTROTATE_VAULT__AUTH__SECRET_ID",
        "DTROTATE_VAULT__AUTH__SECRET_ID_FILE",
        "DTROTATE_TOKEN",
        "DTROTATE_SECRET__TOKEN",
        "DTROTATE_DYNATRACE__PROD__TOKEN",
    ] {
        let said = everything(
            &files,
            &daemon_with(&[(name, "0c0ffee0-aaaa-bbbb-cccc-0123456789ab")]),
        );
        assert!(said.contains(name), "{name}: {said}");
        assert!(!said.contains("0c0ffee0"), "{said}");
    }
}
