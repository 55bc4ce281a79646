//! The tokens of a Managed cluster: the shapes of API v1, every call with the right to manage tokens, opaque values among them. Crashes and faults at
//! every call are in `crash` and `faults`.

use serde_json::json;
use simulator::{Action, Operation, Rule, Seed};

use crate::commands::flat;
use crate::world::{Kind, Site, World, until};

async fn world(secrets: usize) -> World {
    World::of(Kind::Cluster, Site::new().await, "", secrets).await
}

/// What a command wrote, without its line breaks.
#[tokio::test]
async fn p1_to_p3_a_token_is_rotated_and_retired() {
    let world = world(1).await;
    let (code, text) = world.command(&["check", "--all"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(flat(&text).contains("has ClusterTokenManagement"), "{text}");
    let old = world.current_id(0).await;
    let daemon = world.start("e2e");
    until("the token to be known", async || {
        world.record(0).await["current"]["id"] == old.as_str()
    })
    .await;
    assert_eq!(world.command(&["rotate", "--all"]).await.0, Some(0));
    let new = world.dynatrace.token(&world.current_id(0).await);
    let new = new.expect("it is there");
    assert!(new.name.starts_with("job 0 [dtrotate:"), "{}", new.name);
    assert_eq!(new.scopes, world.issuer.scopes());
    until("the old one to be gone", async || {
        world.tokens() == 1 && world.is_quiet().await
    })
    .await;
    assert_eq!(daemon.events("token_disabled"), 1);
    drop(daemon);
    world.assert_holds().await;
    assert!(world.errors().is_empty(), "{:?}", world.errors());
    // The new value may not look itself up.
    let lookups = world.dynatrace.calls();
    let mut lookups = lookups
        .iter()
        .filter(|call| call.operation == Some(Operation::LookupToken));
    assert!(lookups.all(|call| call.status == Some(200)));
}

/// Values from before the dotted format: only a look-up says whose they are.
#[tokio::test]
async fn p1_to_p3_opaque_values_are_rotated_undone_and_retired() {
    let world = world(1).await;
    world.dynatrace.set_legacy_format(true);
    let value = world.issuer.seed(0);
    world.put(0, &value).await;
    assert!(!value.contains('.'), "an opaque value");
    assert_eq!(world.command(&["run", "--once"]).await.0, Some(0));
    for _ in 0..2 {
        let (code, text) = world.command(&["rotate", "--all"]).await;
        assert_eq!(code, Some(0), "{text}");
    }
    let newest = world.value(0).await;
    let (code, text) = world.command(&["undo", &world.secrets[0]]).await;
    assert_eq!(code, Some(0), "{text}");
    assert_ne!(world.value(0).await, newest);
    world.assert_valid().await;
    let daemon = world.start("e2e");
    until("the others to be gone", async || {
        // What a person had put there before is theirs to end.
        world.tokens() == 2 && world.is_quiet().await
    })
    .await;
    drop(daemon);
    world.assert_valid().await;
    assert!(world.errors().is_empty(), "{:?}", world.errors());
}

#[tokio::test]
async fn the_management_token_of_a_cluster_rotates_itself() {
    // The shipped policy keeps `dynatrace/master` from being written.
    let mut world = World::of(Kind::Cluster, Site::new().await, "own", 1).await;
    let mut listed = toml::Table::new();
    listed.insert("path".to_owned(), world.master.clone().into());
    let mut secrets = world.config["secret"].as_array().expect("a list").clone();
    secrets.push(toml::Value::Table(listed));
    world.set("secret", secrets);
    let master = world.master.clone();
    let manager = async || {
        let secret = world.root.secret("secret", &master).await.expect("it");
        let value = secret.data["token"].as_str().expect("a value").to_owned();
        world.dynatrace.token_by_value(&value).expect("a token")
    };
    let old = manager().await;
    let daemon = world.start("e2e");
    until("both to be known", async || {
        daemon.events("secret_adopted") == 2
    })
    .await;
    let (code, text) = world.command(&["rotate", &master]).await;
    assert_eq!(code, Some(0), "{text}");
    let new = manager().await;
    assert!(new.id != old.id && new.scopes == old.scopes);
    until("the old one to be gone", async || {
        world.dynatrace.token(&old.id).is_none()
    })
    .await;
    assert_eq!(
        world.command(&["rotate", &world.secrets[0]]).await.0,
        Some(0)
    );
    drop(daemon);
    world.assert_valid().await;
    assert!(world.errors().is_empty(), "{:?}", world.errors());
}

#[tokio::test]
async fn check_names_the_scope_that_the_management_token_lacks() {
    let world = world(1).await;
    let weak = world
        .dynatrace
        .seed(Seed::new("weak").scopes(&["ControlManagement"]));
    let fields = json!({ "token": weak.value });
    world.root.put("secret", &world.master, fields).await;
    let (code, text) = world.command(&["check"]).await;
    assert_eq!(code, Some(1), "{text}");
    let text = flat(&text);
    assert!(
        text.contains("needs the scope ClusterTokenManagement"),
        "{text}"
    );
}

/// Rights to manage tokens, in the words of a cluster, are cloned for the management token alone.
#[tokio::test]
async fn rights_to_manage_tokens_are_not_cloned() {
    let world = world(1).await;
    for scope in [
        "ClusterTokenManagement",
        "EnvironmentTokenManagement",
        "ServiceProviderAPI",
    ] {
        let strong = world.dynatrace.seed(Seed::new("strong").scopes(&[scope]));
        world.put(0, &strong.value).await;
        let (code, text) = world.command(&["rotate", "--all"]).await;
        assert_eq!(code, Some(1), "{text}");
        assert!(flat(&text).contains("can manage tokens"), "{text}");
    }
    assert!(world.issuer.creates().is_empty());
}

/// The create that nobody heard of is found by its marker and deleted.
#[tokio::test]
async fn p2_the_token_of_a_lost_answer_is_found_and_deleted() {
    let world = world(1).await;
    world
        .dynatrace
        .fault(Rule::on(Operation::CreateToken).then(Action::LoseAnswer));
    assert_eq!(world.command(&["rotate", "--all"]).await.0, Some(0));
    assert_eq!(world.issuer.creates().len(), 2);
    let daemon = world.start("e2e");
    until("all of it to be gone", async || {
        world.tokens() == 1 && world.is_quiet().await
    })
    .await;
    drop(daemon);
    world.assert_holds().await;
}

#[tokio::test]
async fn a_leaked_token_is_revoked_and_the_audit_lists_all() {
    let world = world(1).await;
    assert_eq!(world.command(&["run", "--once"]).await.0, Some(0));
    let old = world.current_id(0).await;
    let (code, text) = world.command(&["revoke", &old, "--yes"]).await;
    assert_eq!(code, Some(0), "{text}");
    let token = world.dynatrace.token(&old).expect("in quarantine");
    assert!(!token.enabled);
    assert_ne!(world.current_id(0).await, old);
    let audit = ["audit", "--format", "csv", "--fail-on", "never"];
    let (code, text) = world.command(&audit).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(&old), "{text}");
    world.assert_valid().await;
}
