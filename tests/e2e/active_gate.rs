//! ActiveGate tokens: made or taken over by name, cloned with type and seed, ended by deletion alone, by whichever API answers. Crashes and faults
//! at every call are in `crash` and `faults`.

use std::net::IpAddr;

use jiff::SignedDuration;
use serde_json::Value;
use simulator::{
    Action, ActiveGate, Change, Operation, PlatformSeed, Rule, Seed, TokenChange, TokenInfo,
};

use crate::commands::flat;
use crate::task_pages::followed;
use crate::world::{Kind, Site, World, now, until};

const FLEET: &str = "/platform/fleet-management/v1/activegate/tokens";

async fn world() -> World {
    World::of(Kind::ActiveGate, Site::new().await, "", 1).await
}

/// What a command wrote, without its line breaks.
/// The token with this id, if it is there.
fn there(world: &World, id: &str) -> Option<TokenInfo> {
    let all = world.dynatrace.active_gate_tokens();
    all.into_iter().find(|token| token.id == id)
}

fn used_now(world: &World, id: &str) {
    let from: IpAddr = "192.0.2.7".parse().expect("an address");
    assert!(world.dynatrace.touch_active_gate(id, from, now()));
}

/// A world whose first token dtrotate has made, and its second; the id of the first.
async fn rotated(world: &World) -> String {
    assert_eq!(world.command(&["run", "--once"]).await.0, Some(0));
    let first = world.current_id(0).await;
    let (code, text) = world.command(&["rotate", "--all"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert_ne!(world.current_id(0).await, first);
    first
}

fn deletions(world: &World) -> Vec<TokenChange> {
    let mut history = world.dynatrace.active_gate_history();
    history.retain(|change| change.change == Change::Deleted);
    history
}

#[tokio::test]
async fn p1_to_p3_a_token_is_made_rotated_and_deleted_after_its_grace() {
    let mut world = world().await;
    world.set("defaults.grace", "15s");
    world.set("defaults.max_grace", "30s");
    let (code, text) = world.command(&["check"]).await;
    assert_eq!(code, Some(0), "{text}");
    let daemon = world.start("e2e");
    until("the first token", async || {
        world.record(0).await["current"].is_object()
    })
    .await;
    let first = world.current_id(0).await;
    let made = there(&world, &first).expect("it is there");
    assert!(made.name.contains(" [dtrotate:"), "{}", made.name);
    // It has an end, even if nobody ever ends it.
    let life = made.expires.expect("an end").duration_since(made.created);
    assert!(life > SignedDuration::from_hours(728 * 24), "{life}");
    assert_eq!(world.command(&["rotate", "--all"]).await.0, Some(0));
    let second = world.current_id(0).await;
    assert_ne!(second, first);
    let (code, text) = world.command(&["upcoming", "--json"]).await;
    assert_eq!(code, Some(0), "{text}");
    let what: Vec<&str> = ["\"disable\"", "\"delete\""]
        .into_iter()
        .filter(|word| text.contains(word))
        .collect();
    assert_eq!(what, ["\"delete\""], "{text}");
    until("the old one to be deleted", async || {
        let is_gone = there(&world, &first).is_none() && world.is_quiet().await;
        is_gone && daemon.events("token_deleted") == 1
    })
    .await;
    assert_eq!(daemon.events("token_disabled"), 0);
    assert_eq!(daemon.events("token_unproven"), 0);
    drop(daemon);
    world.assert_holds().await;
    assert!(world.errors().is_empty(), "{:?}", world.errors());
    let (_, status) = world.command(&["status", "--json"]).await;
    let status: Value = serde_json::from_str(&status).expect("JSON");
    assert_eq!(status["secrets"][0]["state"], "healthy", "{status}");
}

/// Rule A9: the id in a value is public, and no call shows more. And rule A11: what cannot be marked is left and reported.
#[tokio::test]
async fn a9_a_token_that_a_person_made_is_taken_over_by_name_and_cloned_with_type_and_seed() {
    let world = world().await;
    let value = world.issuer.seed(0);
    world.put(0, &value).await;
    let old = world.current_id(0).await;
    let (code, text) = world.command(&["rotate", "--all"]).await;
    assert_eq!(code, Some(1), "{text}");
    let adopt = format!("dtrotate adopt {} --token {old}", world.secrets[0]);
    assert!(flat(&text).contains(&adopt), "{text}");
    assert!(!text.contains("verify"), "{text}");
    let (_, text) = world.command(&["check"]).await;
    assert!(flat(&text).contains(&adopt), "{text}");
    assert!(world.issuer.creates().is_empty());
    let [printed] = &followed("activegate-adopt")[..] else {
        panic!("one command");
    };
    let adopt: Vec<&str> = printed[1..]
        .iter()
        .map(|word| match word.as_str() {
            "dynatrace/activegate" => &world.secrets[0],
            "dt0g02.ABCDEFGH" => old.as_str(),
            word => word,
        })
        .collect();
    assert_eq!(world.command(&adopt).await.0, Some(0));
    let (code, text) = world.command(&["rotate", "--all"]).await;
    assert_eq!(code, Some(0), "{text}");
    let new = there(&world, &world.current_id(0).await).expect("it is there");
    let gate = new.active_gate.expect("an ActiveGate token");
    assert_eq!((gate.kind.as_deref(), gate.seed), (Some("CLUSTER"), true));
    let daemon = world.start("e2e");
    until("it to be reported", async || {
        daemon.events("retirement_blocked") > 0
    })
    .await;
    assert!(there(&world, &old).is_some());
    drop(daemon);
    // A person names it, which is proof enough.
    let revoke = ["revoke", &old, "--yes"];
    let (code, text) = world.command(&revoke).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(there(&world, &old).is_none());
    world.assert_valid().await;
}

/// Its use is asked immediately before it is deleted, and a deletion is final: it is left.
#[tokio::test]
async fn p3_a_token_in_use_is_held_and_then_left_and_reported_until_it_is_unused() {
    let mut world = world().await;
    world.set("defaults.grace", "5s");
    world.set("defaults.max_grace", "6s");
    let old = rotated(&world).await;
    used_now(&world, &old);
    let daemon = world.start("e2e");
    until("it to be held", async || {
        used_now(&world, &old);
        daemon.events("retirement_held") > 0
    })
    .await;
    until("it to be reported", async || {
        used_now(&world, &old);
        daemon.events("retirement_blocked") > 0
    })
    .await;
    assert!(deletions(&world).is_empty());
    until("status to name it", async || {
        used_now(&world, &old);
        let (_, status) = world.command(&["status"]).await;
        flat(&status).contains("still in use")
    })
    .await;
    until("it to be deleted", async || there(&world, &old).is_none()).await;
    drop(daemon);
    world.assert_holds().await;
}

#[tokio::test]
async fn p3_a_token_in_use_is_deleted_at_max_grace_where_that_is_wanted() {
    let mut world = world().await;
    world.set("defaults.at_max_grace", "delete");
    let old = rotated(&world).await;
    let daemon = world.start("e2e");
    until("it to be deleted", async || match there(&world, &old) {
        Some(_) => {
            let from = "192.0.2.7".parse().expect("an address");
            world.dynatrace.touch_active_gate(&old, from, now());
            false
        }
        None => true,
    })
    .await;
    until("it to be reported", async || {
        daemon.events("token_deleted") > 0
    })
    .await;
    let lines = daemon.lines();
    let mut told = lines
        .iter()
        .filter(|line| line["event"] == "consumer_cut_off");
    let told = told.next().expect("the consumer")["message"].to_string();
    assert!(
        told.contains("is being deleted") && !told.contains("undo"),
        "{told}"
    );
    drop(daemon);
    world.assert_holds().await;
}

#[tokio::test]
async fn p3_an_undo_brings_the_old_token_back_in_its_grace() {
    let mut world = world().await;
    world.set("defaults.grace", "600s");
    world.set("defaults.max_grace", "600s");
    let old = rotated(&world).await;
    let newer = world.current_id(0).await;
    let (code, text) = world.command(&["undo", &world.secrets[0]]).await;
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(world.current_id(0).await, old);
    let record = world.record(0).await;
    assert_eq!(record["retiring"][0]["id"], newer.as_str(), "{record}");
    world.assert_valid().await;
}

/// The create that nobody heard of is found by its marker and deleted.
#[tokio::test]
async fn p2_the_token_of_a_lost_answer_is_found_and_deleted() {
    let world = world().await;
    world
        .dynatrace
        .fault(Rule::on(Operation::CreateToken).then(Action::LoseAnswer));
    let daemon = world.start("e2e");
    until("one token to be left", async || {
        world.issuer.creates().len() == 2 && world.tokens() == 1 && world.is_quiet().await
    })
    .await;
    until("it to be reported", async || {
        daemon.events("orphan_deleted") == 1
    })
    .await;
    drop(daemon);
    world.assert_holds().await;
}

/// A person deleted it: the answer counts because the listing shows that the environment answers.
#[tokio::test]
async fn p2_an_old_token_that_a_person_deleted_is_gone() {
    let world = world().await;
    let old = rotated(&world).await;
    world.dynatrace.delete_active_gate(&old);
    let daemon = world.start("e2e");
    until("its entry to be gone", async || world.is_quiet().await).await;
    drop(daemon);
    world.assert_holds().await;
    assert!(world.errors().is_empty(), "{:?}", world.errors());
}

/// The API is gone: an answer "not found" says nothing of a token.
#[tokio::test]
async fn p9_nothing_is_believed_to_be_gone_where_the_api_is_gone() {
    let mut world = world().await;
    world.set("defaults.grace", "3s");
    world.set("defaults.max_grace", "3s");
    let old = rotated(&world).await;
    world
        .dynatrace
        .configure(|settings| settings.classic_active_gates = false);
    let daemon = world.start("e2e");
    until("it to be reported", async || {
        daemon.events("dynatrace_unavailable") > 0
    })
    .await;
    let errors = world.errors();
    assert_eq!(errors.len(), 1, "{errors:?}");
    let message = errors[0]["message"].as_str().unwrap_or_default();
    assert!(
        message.contains("fleet-management:activegate.tokens:write"),
        "{message}"
    );
    let record = world.record(0).await;
    assert_eq!(record["retiring"][0]["id"], old.as_str(), "{record}");
    // A platform token in the place of the management token finds the other API.
    put_platform_token(&world).await;
    until("it to be back", async || {
        daemon.events("dynatrace_available") > 0
    })
    .await;
    let (code, text) = world.command(&["rotate", "--all"]).await;
    assert_eq!(code, Some(0), "{text}");
    let created = world.issuer.creates().pop().expect("a create");
    assert_eq!((created.path.as_str(), created.status), (FLEET, Some(201)));
    drop(daemon);
    world.assert_valid().await;
}

async fn put_platform_token(world: &World) {
    let account = world.simulator.account().expect("an account");
    let seed = PlatformSeed::new("gates", &account.seed_user()).environment("abc12345");
    let scopes = ["read", "create", "write"]
        .map(|action| format!("fleet-management:activegate.tokens:{action}"));
    let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
    let value = account.seed(seed.scopes(&scopes)).value;
    let fields = serde_json::json!({ "token": value });
    world.root.put("secret", &world.master, fields).await;
}

#[tokio::test]
async fn a_platform_token_manages_them_by_the_api_that_answers() {
    for classic in [true, false] {
        let world = world().await;
        put_platform_token(&world).await;
        world
            .dynatrace
            .configure(|settings| settings.classic_active_gates = classic);
        let old = rotated(&world).await;
        let created = world.issuer.creates().pop().expect("a create");
        assert_eq!(created.path == FLEET, !classic, "{}", created.path);
        let daemon = world.start("e2e");
        until("the old one to be deleted", async || {
            there(&world, &old).is_none() && world.is_quiet().await
        })
        .await;
        drop(daemon);
        assert!(world.errors().is_empty(), "{:?}", world.errors());
        let (code, text) = world.command(&["check"]).await;
        assert_eq!(code, Some(0), "{text}");
    }
}

#[tokio::test]
async fn check_names_the_scope_that_the_management_token_lacks() {
    let world = world().await;
    for (scopes, missing) in [
        (
            vec!["activeGateTokenManagement.read"],
            "lacks the scope activeGateTokenManagement.write",
        ),
        (
            vec!["metrics.read"],
            "lacks the scopes activeGateTokenManagement.read and activeGateTokenManagement.write",
        ),
    ] {
        let weak = world.dynatrace.seed(Seed::new("weak").scopes(&scopes));
        let fields = serde_json::json!({ "token": weak.value });
        world.root.put("secret", &world.master, fields).await;
        let (code, text) = world.command(&["check"]).await;
        assert_eq!(code, Some(1), "{text}");
        assert!(flat(&text).contains(missing), "{text}");
    }
}

#[tokio::test]
async fn a_value_of_another_kind_is_refused_before_any_call() {
    let world = world().await;
    let api = world.dynatrace.seed(Seed::new("api")).value;
    let kind = Some("ENVIRONMENT".to_owned());
    let gate = ActiveGate { kind, seed: false };
    let own = world.dynatrace.seed_active_gate(Seed::new("gate"), gate);
    let other = World::new(1).await;
    for (world, value, advice) in [
        (&world, api.as_str(), "kind = \"api\""),
        (&world, "dt0s16.ABCDEFGH.SECRET", "kind = \"platform\""),
        (&other, own.value.as_str(), "kind = \"activegate\""),
    ] {
        world.put(0, value).await;
        world.dynatrace.reset_calls();
        let (code, text) = world.command(&["rotate", "--all"]).await;
        assert_eq!(code, Some(1), "{text}");
        assert!(flat(&text).contains(advice), "{text}");
        let calls = world.dynatrace.calls();
        let changes = |call: &simulator::Call| {
            let created = call.operation == Some(Operation::CreateToken);
            created || matches!(call.method.as_str(), "PUT" | "DELETE")
        };
        assert!(!calls.iter().any(changes), "{calls:?}");
    }
}

/// A token of nobody, and what is listed beside others.
#[tokio::test]
async fn a_leaked_token_of_no_secret_is_deleted_and_the_audit_lists_them() {
    let world = world().await;
    assert_eq!(world.command(&["run", "--once"]).await.0, Some(0));
    let kind = Some("ENVIRONMENT".to_owned());
    let gate = ActiveGate { kind, seed: false };
    let leaked = world.dynatrace.seed_active_gate(Seed::new("leaked"), gate);
    let audit = [
        "audit",
        "--environment",
        "prod",
        "--format",
        "csv",
        "--fail-on",
        "never",
    ];
    let (code, text) = world.command(&audit).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(&leaked.id), "{text}");
    assert!(text.contains(&world.current_id(0).await), "{text}");
    let revoke = ["revoke", &leaked.id, "--environment", "prod", "--yes"];
    let (code, text) = world.command(&revoke).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("deleted"), "{text}");
    assert!(there(&world, &leaked.id).is_none());
}

/// An environment may no longer take a type: the refusal is definite, and the order is sent without it.
#[tokio::test]
async fn an_api_that_takes_no_type_any_longer_is_served() {
    let world = world().await;
    world
        .dynatrace
        .configure(|settings| settings.active_gate_type_removed = true);
    rotated(&world).await;
    let statuses: Vec<_> = world.issuer.creates().iter().map(|it| it.status).collect();
    assert_eq!(statuses, [Some(400), Some(201), Some(400), Some(201)]);
    world.assert_valid().await;
}

/// The secret left the configuration: what it had still to end is ended.
#[tokio::test]
async fn p2_a_secret_that_leaves_the_configuration_is_released() {
    let mut world = world().await;
    world.set("defaults.grace", "3s");
    let old = rotated(&world).await;
    world.config.remove("secret");
    world.save();
    let daemon = world.start("e2e");
    until("its release", async || daemon.events("secret_released") > 0).await;
    assert!(there(&world, &old).is_none());
    assert!(there(&world, &world.current_id(0).await).is_some());
    drop(daemon);
    let errors = world.errors();
    assert!(
        errors.iter().all(|line| line["secret"].is_null()),
        "{errors:?}"
    );
}
