//! `create`, `token_name`, `scopes` and `allowed_scopes`.

use super::refused::{refuses, refuses_in_secret};
use super::{Files, PROD, VAULT, daemon};

fn secret(keys: &str) -> String {
    format!("[[secret]]\npath = \"a\"\nschedule = \"@daily\"\n{keys}\n")
}

#[test]
fn the_first_token_has_the_rights_and_the_name_of_the_configuration() {
    let text = [
        VAULT,
        PROD,
        "allowed_scopes = [\"metrics.ingest\", \"logs.ingest\"]\n",
        &secret("create = true\ntoken_name = \"new service\"\nscopes = [\"metrics.ingest\", \"logs.ingest\"]"),
        "[[secret]]\npath = \"b\"\nschedule = \"@daily\"\n",
    ]
    .concat();
    let settings = Files::new(&text).settings(&daemon());
    let desired = &settings.secrets[0].plan.desired;
    assert!(desired.create);
    assert_eq!(desired.name.as_deref(), Some("new service"));
    let scopes = desired.scopes.as_deref().unwrap_or_default();
    assert_eq!(scopes, ["metrics.ingest", "logs.ingest"]);
    let other = &settings.secrets[1].plan.desired;
    assert!(!other.create && other.name.is_none() && other.scopes.is_none());
    assert_eq!(settings.warnings, [""; 0]);
}

#[test]
fn p7_rights_that_must_not_or_cannot_be_given_are_refused() {
    refuses_in_secret(
        "create = «true",
        "create requires `scopes`, the rights of the first token",
    );
    refuses_in_secret(
        "scopes = [\"metrics.read\", «\"apiTokens.write\"]",
        "\"apiTokens.write\" is a right to manage tokens, which is given to an environment's management token alone",
    );
    refuses_in_secret(
        "scopes = [\"metrics.read\", «\"metrics.read\"]",
        "\"metrics.read\" is listed twice",
    );
    refuses_in_secret("scopes = «[]", "this list is empty");
    refuses_in_secret(
        "scopes = «\"metrics.read logs.read\"",
        "\"metrics.read logs.read\" has white space in it; each scope is a separate item",
    );
    let name = "a".repeat(51);
    refuses_in_secret(
        &format!("token_name = «\"{name}\""),
        &format!(
            "\"{name}\" is longer than 50 characters, and the marker of dtrotate would not fit behind it"
        ),
    );
    refuses_in_secret(
        "token_name = «\"a [dtrotate:x.y.1]\"",
        "\"a [dtrotate:x.y.1]\" has a marker of dtrotate in it, which is added automatically",
    );
    let allowed = "allowed_scopes = [\"metrics.ingest\"]\n";
    refuses(
        &[
            VAULT,
            PROD,
            allowed,
            &secret("scopes = [«\"metrics.ingst\"]"),
        ]
        .concat(),
        "\"metrics.ingst\" is not among the allowed_scopes of [dynatrace.prod]; did you mean \"metrics.ingest\"?",
    );
    refuses(
        &[VAULT, PROD, allowed, &secret("scopes = [«\"logs.read\"]")].concat(),
        "\"logs.read\" is not among the allowed_scopes of [dynatrace.prod]; add it there, or leave it out here",
    );
    let master = |keys: &str| {
        let table = "[[secret]]\npath = \"dt/master\"\nschedule = \"@daily\"\n";
        [VAULT, PROD, table, keys, "\n"].concat()
    };
    refuses(
        &master("scopes = «[\"metrics.read\"]"),
        "without a right to manage tokens this would no longer be the management token of its environment; add \"apiTokens.read\" and \
         \"apiTokens.write\"",
    );
    refuses(
        &master("create = «true\nscopes = [\"apiTokens.read\", \"apiTokens.write\"]"),
        "the management token itself cannot be created, because it creates all others. Put the first one there by hand",
    );
}

#[test]
fn an_unknown_scope_is_a_warning_with_the_one_that_was_probably_meant() {
    let text = [
        VAULT,
        PROD,
        "[defaults]\nscopes = [\"metrics.ingst\", \"brand.new\"]\n",
        &secret(""),
        "[[secret]]\npath = \"b\"\nschedule = \"@daily\"\n",
    ]
    .concat();
    let warnings = Files::new(&text).settings(&daemon()).warnings;
    let [typo, new] = &warnings[..] else {
        panic!("once for both secrets: {warnings:?}")
    };
    assert!(
        typo.ends_with("main.toml:10: \"metrics.ingst\" is not a known scope of a token; did you mean \"metrics.ingest\"?"),
        "{typo}"
    );
    assert!(
        new.ends_with(": \"brand.new\" is not a known scope of a token"),
        "{new}"
    );
}
