//! The first token of a secret, and rights and name that the configuration asks for.

use serde_json::{Value, json};

use crate::commands::flat;
use crate::ops::{get, listening_world, metric, ready};
use crate::world::{Daemon, World, note, until};

fn table(text: &str) -> toml::Value {
    let table: toml::Table = text.parse().expect("a table");
    table.into()
}

/// Nothing is due; s0 does not exist, s1 has only the field of somebody else, and of both the first token is wanted.
async fn vacant_world() -> World {
    let mut world = listening_world(2).await;
    world.set("defaults.schedule", "0 0 1 1 *");
    world.set("defaults.scopes", vec!["metrics.ingest", "logs.ingest"]);
    let root = &world.root;
    root.delete_metadata("secret", &world.secrets[0]).await;
    root.delete_metadata("secret", &world.secrets[1]).await;
    let data = json!({ "note": note(1) });
    root.put("secret", &world.secrets[1], data).await;
    let secret =
        |path: &str, more: &str| table(&format!("path = \"{path}\"\ncreate = true\n{more}"));
    let secrets = vec![
        secret(&world.secrets[0], ""),
        secret(&world.secrets[1], "token_name = \"my service\""),
    ];
    world.set("secret", secrets);
    world
}

async fn created(world: &World, daemon: &Daemon) {
    until("both to be created", async || {
        daemon.events("secret_created") == 2 && world.is_quiet().await
    })
    .await;
}

async fn status(world: &World, number: usize) -> Value {
    let (_, json) = world
        .command(&["status", "--json", &world.secrets[number]])
        .await;
    let status: Value = serde_json::from_str(&json).expect("JSON");
    status["secrets"][0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_token_is_created_once_and_drift_is_shown_until_the_next_rotation() {
    let mut world = vacant_world().await;
    // `check` says what will happen, and is content.
    let (code, text) = world.command(&["check", &world.secrets[0]]).await;
    assert_eq!(code, Some(0), "{text}");
    let sentence = "creates the first token with the rights metrics.ingest, logs.ingest";
    assert!(flat(&text).contains(sentence), "{text}");
    let (code, text) = world
        .command(&["rotate", "--dry-run", &world.secrets[0]])
        .await;
    assert!(
        code == Some(0) && flat(&text).contains("would create the first token"),
        "{text}"
    );

    let daemon = world.start("e2e");
    ready(&world).await;
    created(&world, &daemon).await;
    for number in 0..2 {
        let value = world.value(number).await;
        let token = world.dynatrace.token_by_value(&value).expect("a token");
        assert_eq!(token.scopes, ["metrics.ingest", "logs.ingest"]);
        let base = ["dynatrace/s0", "my service"][number];
        assert!(
            token.name.starts_with(&format!("{base} [dtrotate:")),
            "{}",
            token.name
        );
    }
    let second = world.root.secret("secret", &world.secrets[1]).await;
    assert_eq!(second.expect("the secret").data["note"], note(1), "P4");
    assert_eq!(status(&world, 0).await["drift"], Value::Null);
    assert_eq!(world.tokens(), 4, "two were seeded, and each is made once");

    // Other rights are wanted: shown everywhere, and applied by the next rotation.
    world.set("defaults.scopes", vec!["metrics.ingest", "metrics.read"]);
    daemon.signal("-HUP");
    let series = format!("dtrotate_secret_drift{{secret=\"{}\"", world.secrets[0]);
    until("the drift", async || {
        metric(&world, &series).await == Some(1.0)
    })
    .await;
    let drift = status(&world, 0).await["drift"].clone();
    assert_eq!(drift["missing"], json!(["metrics.read"]));
    assert_eq!(drift["surplus"], json!(["logs.ingest"]));
    let (code, text) = world.command(&["check", &world.secrets[0]]).await;
    assert_eq!(code, Some(0), "a difference is no error: {text}");
    assert!(
        flat(&text).contains("it lacks metrics.read; it has logs.ingest in addition"),
        "{text}"
    );
    assert!(get(&world, "/").await.1.contains("it lacks metrics.read"));
    let (code, text) = world.command(&["rotate", &world.secrets[0]]).await;
    assert_eq!(code, Some(0), "{text}");
    until("no drift", async || {
        metric(&world, &series).await == Some(0.0)
    })
    .await;
    let token = world.dynatrace.token_by_value(&world.value(0).await);
    assert_eq!(
        token.expect("a token").scopes,
        ["metrics.ingest", "metrics.read"]
    );
    assert_eq!(world.errors(), Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p4_what_a_person_deleted_is_not_created_again() {
    let world = vacant_world().await;
    let daemon = world.start("e2e");
    created(&world, &daemon).await;
    let tokens = world.tokens();
    // The whole secret, and only the field.
    world
        .root
        .delete_metadata("secret", &world.secrets[0])
        .await;
    let data = json!({ "note": note(1) });
    world.root.put("secret", &world.secrets[1], data).await;
    for number in 0..2 {
        let (code, text) = world.command(&["rotate", &world.secrets[number]]).await;
        assert_eq!(code, Some(1), "{text}");
    }
    assert_eq!(world.tokens(), tokens);
    assert!(
        world
            .root
            .secret("secret", &world.secrets[0])
            .await
            .is_none()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_creates_the_first_token_too() {
    let world = vacant_world().await;
    let (code, json) = world
        .command(&["rotate", "--json", &world.secrets[0]])
        .await;
    assert_eq!(code, Some(0), "{json}");
    let result: Value = serde_json::from_str(json.trim()).expect("JSON");
    assert_eq!(result["result"], "created");
    assert_eq!(
        (&result["from"], &result["version"]),
        (&Value::Null, &json!(1))
    );
    assert!(world.dynatrace.is_valid(&world.value(0).await));
}
