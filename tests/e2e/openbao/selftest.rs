//! The harness itself: a test that relies on it must not pass because the harness did nothing.

use std::{fs, time::Instant};

use reqwest::Method;
use serde_json::{Value, json};

use super::{OpenBao, START, Secret, pause};

#[tokio::test]
async fn dev_server_serves_kv_of_both_versions() {
    let bao = OpenBao::dev().await;
    let root = bao.root();

    assert_eq!(root.put("secret", "a/b", json!({"token": "one"})).await, 1);
    assert_eq!(
        root.put_cas("secret", "a/b", json!({"token": "two"}), 1)
            .await
            .status,
        200
    );
    let conflict = root
        .put_cas("secret", "a/b", json!({"token": "three"}), 1)
        .await;
    assert_eq!(conflict.status, 400);
    assert_eq!(
        conflict.body["errors"][0],
        "check-and-set parameter did not match the current version"
    );
    let two = Some(Secret {
        version: 2,
        data: json!({"token": "two"}),
    });
    assert_eq!(root.secret("secret", "a/b").await, two);
    assert_eq!(
        root.secret_version("secret", "a/b", 1)
            .await
            .map(|s| s.data),
        Some(json!({"token": "one"}))
    );
    assert_eq!(root.list("secret", "a").await, ["b"]);

    root.delete("secret", "a/b").await;
    assert_eq!(root.secret("secret", "a/b").await, None);
    root.undelete("secret", "a/b", &[2]).await;
    assert_eq!(root.secret("secret", "a/b").await, two);
    root.destroy("secret", "a/b", &[1]).await;
    assert_eq!(root.versions("secret", "a/b").await[&1]["destroyed"], true);
    root.delete_metadata("secret", "a/b").await;
    assert_eq!(root.list("secret", "a").await, Vec::<String>::new());

    root.mount_kv("own/journal", 2).await;
    assert_eq!(root.put("own/journal", "x", json!({"n": "1"})).await, 1);
    root.mount_kv("old", 1).await;
    root.put_v1("old", "x", json!({"token": "v1"})).await;
    assert_eq!(
        root.secret_v1("old", "x").await,
        Some(json!({"token": "v1"}))
    );
    assert_eq!(root.secret_v1("old", "y").await, None);
}

#[tokio::test]
async fn tokens_roles_and_namespaces() {
    let bao = OpenBao::dev().await;
    let root = bao.root();
    root.write_policy(
        "reader",
        r#"path "secret/data/*" { capabilities = ["read"] }"#,
    )
    .await;
    root.put("secret", "x", json!({"token": "one"})).await;

    let token = root.periodic_token(&["reader"], "60s").await;
    let reader = bao.with_token(&token);
    assert!(reader.get("secret/data/x").await);
    assert_eq!(
        reader.put_cas("secret", "x", json!({}), 1).await.status,
        403
    );
    root.revoke_token(&token).await;
    assert!(!reader.get("secret/data/x").await);

    root.enable_approle().await;
    let role_id = root.approle_role("daemon", &["reader"], "60s").await;
    let secret_id = root.approle_secret_id("daemon").await;
    let login = json!({"role_id": role_id, "secret_id": secret_id});
    let reply = bao
        .with_token("")
        .ok(Method::POST, "auth/approle/login", login)
        .await;
    let token = reply["auth"]["client_token"].as_str().expect("a token");
    assert!(bao.with_token(token).get("secret/data/x").await);

    root.create_namespace("platform").await;
    let inside = root.in_namespace("platform");
    inside.mount_kv("secret", 2).await;
    assert_eq!(
        inside.secret("secret", "x").await,
        None,
        "a namespace has secrets of its own"
    );
    inside.put("secret", "x", json!({"token": "inside"})).await;
    assert_eq!(
        inside.secret("secret", "x").await.map(|s| s.data),
        Some(json!({"token": "inside"}))
    );
    assert_eq!(
        root.secret("secret", "x").await.map(|s| s.data),
        Some(json!({"token": "one"}))
    );
}

#[tokio::test]
async fn dev_server_can_be_sealed_and_dies_with_its_owner() {
    let bao = OpenBao::dev().await;
    let root = bao.root();
    root.put("secret", "x", json!({"token": "one"})).await;
    bao.seal().await;
    let sealed = root.raw(Method::GET, "secret/data/x", Value::Null).await;
    assert_eq!(sealed.status, 503, "{sealed:?}");
    bao.unseal().await;
    assert!(root.get("secret/data/x").await);

    drop(bao);
    assert_eq!(
        root.health().await,
        None,
        "it still answers after it was dropped"
    );
}

#[tokio::test]
async fn raft_server_keeps_data_and_address_over_a_kill() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut bao = OpenBao::raft_tls(dir.path()).await;
    let root = bao.root();
    assert!(bao.address.starts_with("https://"));
    assert!(bao.ca_file.as_ref().is_some_and(|file| file.is_file()));
    root.mount_kv("secret", 2).await;
    root.put("secret", "x", json!({"token": "one"})).await;

    bao.kill();
    assert_eq!(root.health().await, None);
    bao.start_again().await;
    assert_eq!(
        root.health().await,
        Some(503),
        "a restarted server is sealed"
    );
    bao.unseal().await;
    let deadline = Instant::now() + START;
    while !root.get("secret/config").await {
        assert!(Instant::now() < deadline, "the mount does not come back");
        pause().await;
    }
    assert_eq!(root.secret("secret", "x").await.map(|s| s.version), Some(1));
    assert!(
        fs::read_to_string(&bao.log_file)
            .expect("the log")
            .contains("core: vault is unsealed")
    );
}
