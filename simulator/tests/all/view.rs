//! Everything at once: tokens, history, calls and faults of all kinds.

use serde_json::json;
use simulator::{
    Action, ActiveGate, Answer, Change, EnvironmentOptions, Operation, Options, PlatformSeed, Rule,
    Seed, TokenKind,
};

use crate::account::{ACCOUNT, MANAGE};
use crate::client::{World, world_with};

async fn all_kinds() -> World {
    let options = Options {
        account: Some("acc".to_owned()),
        environments: vec![
            EnvironmentOptions::managed("one"),
            EnvironmentOptions::managed("two"),
            EnvironmentOptions::cluster(),
        ],
        ..Options::default()
    };
    world_with(options).await
}

#[tokio::test]
async fn tokens_of_all_kinds_are_seen_together() {
    let world = all_kinds().await;
    let simulator = &world.simulator;
    let account = simulator.account().expect("an account");
    let user = account.seed_service_user();
    let client = account.seed_client(&user, &[MANAGE]);
    let gate = ActiveGate {
        kind: None,
        seed: false,
    };
    let environments = simulator.environments();
    let seeded = [
        (TokenKind::Api, world.management.clone()),
        (
            TokenKind::ActiveGate,
            environments[1].seed_active_gate(Seed::new("gate"), gate),
        ),
        (
            TokenKind::Cluster,
            environments[2].seed(Seed::cluster_management("cluster")),
        ),
        (
            TokenKind::Platform,
            account.seed(PlatformSeed::new("platform", &user)),
        ),
    ];
    let tokens = simulator.tokens();
    for (token, (kind, seeded)) in tokens.iter().zip(&seeded) {
        assert_eq!((token.kind, &token.id), (*kind, &seeded.id));
        assert!(simulator.is_valid(&seeded.value), "{kind:?}");
        assert!(simulator.issued().contains(&seeded.value), "{kind:?}");
        assert!(!format!("{token:?}").contains(&seeded.value));
    }
    assert_eq!(tokens.len(), seeded.len());
    account.set_enabled(&seeded[3].1.id, false);
    environments[1].delete_active_gate(&seeded[1].1.id);
    assert!(!simulator.is_valid(&seeded[3].1.value));
    assert!(!simulator.is_valid(&seeded[1].1.value));
    let history = simulator.history();
    let changes: Vec<&Change> = history.iter().map(|one| &one.change).collect();
    assert_eq!(changes[4..], [&Change::Disabled, &Change::Deleted]);
    assert!(history.iter().all(|change| !change.by.is_call()));

    let access = world
        .form(&[
            ("grant_type", "client_credentials"),
            ("client_id", &client.id),
            ("client_secret", &client.value),
            ("scope", MANAGE),
            ("resource", "urn:dtaccount:acc"),
        ])
        .await
        .json();
    let secrets = simulator.secrets();
    assert!(secrets.contains(&client.value));
    let access = access["access_token"].as_str().expect("text").to_owned();
    assert!(secrets.contains(&access));
}

#[tokio::test]
async fn one_rule_counts_requests_wherever_they_go() {
    let world = all_kinds().await;
    let rule = Rule::on(Operation::ListTokens).nth(2);
    let refused = Answer::dynatrace(503, "no");
    let fault = world.simulator.fault(rule.then(Action::Refuse(refused)));
    let classic = async || world.call("GET", "/api/v2/apiTokens", None).await.status;
    let account = async || world.bearer("x", "GET", ACCOUNT, None).await.status;
    assert_eq!(classic().await, 200);
    assert_eq!(account().await, 503);
    assert_eq!((classic().await, account().await), (200, 401));
    assert_eq!(fault.fired(), 1);
    let paths: Vec<String> = world
        .simulator
        .calls()
        .into_iter()
        .map(|call| call.path)
        .collect();
    let one = "/e/one/api/v2/apiTokens";
    let iam = ACCOUNT;
    assert_eq!(paths, [one, iam, one, iam]);
    world.simulator.fault(Rule::any().always());
    world.simulator.clear_faults();
    world.simulator.reset_calls();
    assert_eq!(classic().await, 200);
    assert_eq!(world.simulator.calls().len(), 1);
}

#[tokio::test]
async fn two_environments_of_one_account_take_only_tokens_made_for_them() {
    let world = all_kinds().await;
    let account = world.simulator.account().expect("an account");
    let user = account.seed_user();
    let one = account.seed(PlatformSeed::new("a", &user).environment("one"));
    let both = PlatformSeed::new("b", &user).environment("one");
    let both = account.seed(both.environment("two"));
    let path = "/platform/management/v1/environment";
    for (value, statuses) in [(&one.value, [200, 403]), (&both.value, [200, 200])] {
        for (environment, status) in world.simulator.environments().iter().zip(statuses) {
            let url = format!("{}{path}", environment.apps_url().expect("apps"));
            let answer = world.at("GET", &url).bearer_auth(value).send().await;
            let answer = crate::client::read(answer.expect("an answer")).await;
            assert_eq!(answer.status, status);
            if status == 200 {
                assert_eq!(answer.json(), json!({ "environmentId": environment.id() }));
            }
        }
    }
    assert!(world.simulator.environments()[2].apps_url().is_none());
}
