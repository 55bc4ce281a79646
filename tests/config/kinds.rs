//! ActiveGate and cluster tokens: what each needs, and what it cannot have.

use rotation::plan::{AtMaxGrace, Kind};

use super::refused::{refuses, refuses_in_secret};
use super::{Files, PROD, SECRET, VAULT, daemon};

const CLUSTER: &str = "[dynatrace.one]\nurl = \"https://dt.example.com\"\napi = \"cluster\"\nauth.path = \"dt/master\"\n";

#[test]
fn an_activegate_token_is_issued_at_a_place_of_its_own() {
    let keys = "kind = \"activegate\"\ngrace = \"7d\"\nmax_grace = \"30d\"\nat_max_grace = \"delete\"\ncreate = true\n";
    let settings = Files::new(&format!("{VAULT}{PROD}{SECRET}{keys}")).settings(&daemon());
    let plan = &settings.secrets[0].plan;
    assert_eq!(plan.coordinates.kind, Kind::ActiveGate);
    assert_eq!(plan.service, "activegate prod");
    let environment = settings.environments["prod"].client.base_url.to_string();
    assert_eq!(
        plan.coordinates.base_url,
        format!("{environment}/api/v2/activeGateTokens")
    );
    assert_eq!(plan.at_max_grace, AtMaxGrace::Delete);
    assert!(plan.desired.create && plan.desired.scopes.as_deref() == Some(&[]));
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
    // Nothing else uses the management token, so nothing else is asked with it.
    let used = settings.issuers_in_use().into_iter();
    let used: Vec<String> = used.map(|issuer| issuer.service).collect();
    assert_eq!(used, ["activegate prod"]);
    let all = settings.issuers().into_iter();
    let all: Vec<String> = all.map(|issuer| issuer.service).collect();
    assert_eq!(all, ["prod", "activegate prod"]);
    let both =
        format!("{VAULT}{PROD}{SECRET}[[secret]]\npath = \"b\"\nschedule = \"@daily\"\n{keys}");
    let both = Files::new(&both).settings(&daemon()).issuers_in_use();
    assert_eq!(both.len(), 2);
    let none = Files::new(&format!("{VAULT}{PROD}")).settings(&daemon());
    assert_eq!(none.issuers_in_use()[0].service, "prod");
}

#[test]
fn a_grace_that_is_shorter_than_the_time_between_restarts_is_worth_a_warning() {
    for (grace, warned) in [
        ("", true),
        ("grace = \"6d\"\n", true),
        ("grace = \"7d\"\n", false),
    ] {
        let text = format!("{VAULT}{PROD}{SECRET}kind = \"activegate\"\n{grace}");
        let settings = Files::new(&text).settings(&daemon());
        assert_eq!(settings.warnings.len(), usize::from(warned), "{grace}");
    }
}

#[test]
fn what_an_activegate_token_cannot_have() {
    for (keys, message) in [
        (
            "lifetime = «\"731d\"",
            "ActiveGate tokens live two years at most",
        ),
        (
            "lifetime = «\"8d\"",
            "lifetime (8d) must exceed gap + max_grace (8d)",
        ),
        (
            "scopes = «[\"metrics.ingest\"]",
            "ActiveGate tokens have no scopes; remove this",
        ),
        (
            "at_max_grace = «\"keep\"",
            "\"keep\" is invalid (expected \"leave\" or \"delete\")",
        ),
    ] {
        refuses_in_secret(&format!("kind = \"activegate\"\n{keys}"), message);
    }
    let bare = format!(
        "{VAULT}[account.main]\nuuid = \"0f5c7a6e-1f2b-4c3d-8e9f-0a1b2c3d4e5f\"\nauth.path = \"x\"\n[dynatrace.prod]\nurl = \
         \"https://abc.live.dynatrace.com\"\n{SECRET}kind = «\"activegate\"\n"
    );
    refuses(
        &bare,
        "the environment \"prod\" has no management token, which ActiveGate tokens need: add [dynatrace.prod.auth]",
    );
}

#[test]
fn a_cluster_token_is_issued_by_a_cluster() {
    let scopes = "scopes = [\"ControlManagement\"]\n";
    let text = format!("{VAULT}{CLUSTER}{SECRET}kind = \"cluster\"\n{scopes}");
    let settings = Files::new(&text).settings(&daemon());
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
    let plan = &settings.secrets[0].plan;
    assert_eq!(plan.coordinates.kind, Kind::Cluster);
    assert_eq!(plan.coordinates.base_url, "https://dt.example.com");
    let master = format!(
        "{VAULT}{CLUSTER}[[secret]]\npath = \"dt/master\"\nschedule = \"@daily\"\nkind = \"cluster\"\n"
    );
    let settings = Files::new(&master).settings(&daemon());
    assert!(settings.secrets[0].plan.manages_tokens);
}

#[test]
fn what_is_no_cluster_and_what_a_cluster_has_not() {
    refuses_in_secret(
        "kind = «\"cluster\"",
        "cluster tokens are those of a Managed cluster, and \"prod\" is an environment; set api = \"cluster\" in [dynatrace.prod], with the \
         address of the cluster",
    );
    for (kind, tokens) in [("api", "API tokens"), ("activegate", "ActiveGate tokens")] {
        refuses(
            &format!("{VAULT}{CLUSTER}{SECRET}kind = «\"{kind}\"\n"),
            &format!(
                "\"one\" is a Managed cluster, which has no {tokens}; set kind = \"cluster\", or name an environment of it"
            ),
        );
    }
    let secret = format!("{SECRET}kind = \"cluster\"\n");
    let environment = CLUSTER.replace(
        "\"https://dt.example.com",
        "«\"https://dt.example.com/e/one",
    );
    refuses(
        &format!("{VAULT}{environment}{secret}"),
        "with api = \"cluster\" this is the address of the cluster, without an environment; write https://HOST",
    );
    refuses(
        &format!("{VAULT}{CLUSTER}{secret}[notify.«dynatrace]\ntoken_file = \"t\"\n"),
        "a problem is opened in an environment, and \"one\" is a Managed cluster; name one of its environments",
    );
    refuses(
        &format!("{VAULT}{CLUSTER}{secret}scopes = [«\"ServiceProviderAPI\"]\n"),
        "\"ServiceProviderAPI\" is a right to manage tokens, which is given to an environment's management token alone",
    );
}

#[test]
fn the_first_platform_token_has_an_owner_that_only_a_person_can_choose() {
    let text = format!(
        "{VAULT}[account.main]\nuuid = \"0f5c7a6e-1f2b-4c3d-8e9f-0a1b2c3d4e5f\"\nauth.path = \"x\"\n{PROD}{SECRET}kind = \"platform\"\n\
         lifetime = \"90d\"\ncreate = «true\nscopes = [\"storage:logs:write\"]\n"
    );
    refuses(
        &text,
        "the first platform token cannot be created: its owner and where it may be used are those of the token that is replaced. Put one there by \
         hand",
    );
}
