//! Vault automatically deletes what is written (`delete_version_after`): journal documents must not vanish unnoticed.

use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{Daemon, World, until};

const POLICY: &str = include_str!("../../config/vault-policy.hcl");

/// Sets the limit of a mount (`secret/config`) or of a key (`secret/metadata/PATH`).
async fn delete_after(world: &World, path: &str, length: &str) {
    let limit = json!({ "delete_version_after": length });
    world.root.ok(Method::POST, path, limit).await;
}

/// Whether the current version of a journal document will be deleted.
async fn ends(world: &World, document: &str) -> bool {
    let versions = world.root.versions("secret", document).await;
    let current = versions.into_values().next_back();
    current.expect("a version")["deletion_time"] != ""
}

async fn is_told(world: &World, part: &str) {
    until("the error", async || !world.errors().is_empty()).await;
    let told = world.errors().remove(0);
    assert_eq!(told["event"], "journal_expiring");
    let message = told["message"].as_str().expect("a sentence");
    assert!(message.contains(part), "{message}");
}

async fn is_over(world: &World, daemon: &Daemon) {
    let over = |line: &Value| line["event"] == "journal_expiring" && line["level"] == "INFO";
    until("its end", async || daemon.lines().iter().any(over)).await;
    let errors = world.errors();
    assert_eq!(errors.len(), 1, "told once: {errors:?}");
}

#[tokio::test]
async fn k17_a_mount_that_deletes_journal_documents_is_an_error_until_they_are_safe() {
    let world = World::new(2).await;
    delete_after(&world, "secret/config", "1h").await;
    let daemon = world.start("e2e");
    is_told(
        &world,
        "the mount secret deletes journal documents 1h after",
    )
    .await;
    until("all to be recorded", async || {
        daemon.events("secret_adopted") == 2
    })
    .await;
    let installation = format!("{}/_installation", world.journal);
    let documents = [world.document(0), world.document(1), installation];
    for document in &documents {
        assert!(ends(&world, document).await, "{document}");
    }
    delete_after(&world, "secret/config", "0s").await;
    is_over(&world, &daemon).await;
    for document in &documents {
        assert!(!ends(&world, document).await, "{document}");
    }
}

/// Without the right to read the mount's configuration the documents themselves tell.
#[tokio::test]
async fn k17_a_journal_document_with_a_limit_of_its_own_is_an_error_until_it_is_safe() {
    let world = World::new(1).await;
    let blind = POLICY.replace("\"secret/config\"", "\"nosuch/config\"");
    world.root.write_policy("dtrotate", &blind).await;
    let daemon = world.start("e2e");
    until("it to be recorded", async || {
        daemon.events("secret_adopted") == 1
    })
    .await;
    let document = world.document(0);
    let key = format!("secret/metadata/{document}");
    delete_after(&world, &key, "1h").await;
    let (code, text) = world.command(&["rotate", &world.secrets[0]]).await;
    assert_eq!(code, Some(0), "{text}");
    is_told(
        &world,
        &format!("1 of the journal documents, first secret/{document} at"),
    )
    .await;
    delete_after(&world, &key, "0s").await;
    is_over(&world, &daemon).await;
    assert!(!ends(&world, &document).await);
}
