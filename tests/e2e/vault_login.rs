//! The login methods against a real OpenBao: how each one gets a token, keeps it alive, replaces it, and what it says when it cannot.

mod certificates;
mod kubernetes;
mod signed;
mod wrapping;

pub use certificates::Authority;
pub use signed::Issuer;

use std::path::Path;
use std::time::Duration;

use dtrotate::vault::{Credential, Health, KvSecrets, Login, SecretId, Vault, VaultOptions};
use reqwest::Method;
use rotation::ports::SecretStore;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::openbao::{Api, OpenBao};
use crate::vault_client::{at, connect, eventually, options};

/// A client with its keeper beside it, as in a daemon.
struct Kept {
    vault: Vault,
    store: KvSecrets,
    stop: CancellationToken,
    keeper: JoinHandle<()>,
}

impl Kept {
    fn start(options: VaultOptions) -> Kept {
        let vault = connect(options);
        let stop = CancellationToken::new();
        let keeper = tokio::spawn({
            let (vault, stop) = (vault.clone(), stop.clone());
            async move { vault.run(stop).await }
        });
        Kept {
            store: KvSecrets::new(vault.clone()),
            vault,
            stop,
            keeper,
        }
    }

    /// The error of a read of the secret that every policy allows; none = it was read.
    async fn trouble(&self) -> Option<String> {
        let read = self.store.read(&at("secret", "dynatrace/app")).await;
        read.err().map(|error| error.what)
    }

    /// It works.
    async fn works(&self) -> bool {
        self.trouble().await.is_none()
    }

    /// What a human would read; none = all is well.
    async fn complaint(&self) -> Option<String> {
        match self.vault.probe().await {
            Health::Unavailable { what, .. } => Some(what),
            _ => None,
        }
    }

    /// As at the end of a daemon.
    async fn end(self) {
        self.stop.cancel();
        self.keeper.await.expect("the keeper ends");
        self.vault.log_out().await;
    }
}

/// The shipped policy, the secret that is read under it, and an auth method.
async fn prepare(root: &Api, method: &str) {
    root.write_shipped_policy().await;
    root.put("secret", "dynatrace/app", json!({"token": "1"}))
        .await;
    root.ok(
        Method::POST,
        &format!("sys/auth/{method}"),
        json!({ "type": method }),
    )
    .await;
}

/// Revokes all tokens of a mount, as somebody does who is in doubt.
async fn revoke_all(root: &Api, mount: &str) {
    for accessor in tokens(root, mount).await {
        let body = json!({ "accessor": accessor });
        root.ok(Method::POST, "auth/token/revoke-accessor", body)
            .await;
    }
}

fn write(folder: &Path, name: &str, content: &str) {
    // As an agent does it: never half a file.
    let part = folder.join("part");
    std::fs::write(&part, content).expect("a file");
    std::fs::rename(part, folder.join(name)).expect("a file");
}

/// An AppRole with the shipped policy, and its credentials in files of `folder`.
async fn approle(root: &Api, folder: &Path, ttl: &str) -> Login {
    root.write_shipped_policy().await;
    root.enable_approle().await;
    let role_id = root.approle_role("r", &["dtrotate"], ttl).await;
    std::fs::write(folder.join("role-id"), role_id + "\n").expect("a file");
    let secret_id = root.approle_secret_id("r").await;
    std::fs::write(folder.join("secret-id"), secret_id + "\n").expect("a file");
    Login::AppRole {
        mount: "approle".into(),
        role_id: Credential::File(folder.join("role-id")),
        secret_id: SecretId::Plain(Credential::File(folder.join("secret-id"))),
    }
}

/// The accessors of all tokens that logins at a mount made.
async fn tokens(root: &Api, mount: &str) -> Vec<String> {
    let mut found = Vec::new();
    let list = root
        .ok(Method::GET, "auth/token/accessors?list=true", Value::Null)
        .await;
    for accessor in list["data"]["keys"].as_array().expect("accessors") {
        let body = json!({ "accessor": accessor });
        let reply = root
            .raw(Method::POST, "auth/token/lookup-accessor", body)
            .await;
        if reply.body["data"]["path"] == format!("auth/{mount}/login") {
            found.push(accessor.as_str().expect("an accessor").to_owned());
        }
    }
    found
}

#[tokio::test]
async fn approle_logs_in_renews_logs_in_again_after_a_revocation_and_out_at_the_end() {
    let bao = OpenBao::dev().await;
    let root = bao.root();
    let folder = tempfile::tempdir().expect("a folder");
    let login = approle(&root, folder.path(), "3s").await;
    root.put("secret", "dynatrace/app", json!({"token": "1"}))
        .await;
    let vault = connect(VaultOptions {
        login,
        ..options(&bao, "")
    });
    let store = KvSecrets::new(vault.clone());
    let app = at("secret", "dynatrace/app");
    let stop = CancellationToken::new();
    let keeper = tokio::spawn({
        let (vault, stop) = (vault.clone(), stop.clone());
        async move { vault.run(stop).await }
    });

    eventually("a login", async || {
        tokens(&root, "approle").await.len() == 1
    })
    .await;
    let first = tokens(&root, "approle").await;
    // Renewed: older than its first lease, and still the same.
    let body = json!({ "accessor": first[0] });
    eventually("a renewal", async || {
        let reply = root
            .raw(Method::POST, "auth/token/lookup-accessor", body.clone())
            .await;
        reply.body["data"]["last_renewal"].is_string()
            || reply.body["data"]["last_renewal"].is_number()
    })
    .await;
    assert!(store.read(&app).await.is_ok());
    assert_eq!(tokens(&root, "approle").await, first);

    root.ok(Method::POST, "auth/token/revoke-accessor", body)
        .await;
    assert!(store.read(&app).await.is_ok());
    let second = tokens(&root, "approle").await;
    assert!(second.len() == 1 && second != first);

    stop.cancel();
    keeper.await.expect("the keeper ends");
    vault.log_out().await;
    assert!(tokens(&root, "approle").await.is_empty());
}

#[tokio::test]
async fn a_periodic_token_lives_as_long_as_the_daemon_and_is_not_revoked_by_it() {
    let bao = OpenBao::dev().await;
    let root = bao.root();
    root.write_shipped_policy().await;
    let token = root.periodic_token(&["dtrotate"], "3s").await;
    let vault = connect(options(&bao, &token));
    let stop = CancellationToken::new();
    let keeper = tokio::spawn({
        let (vault, stop) = (vault.clone(), stop.clone());
        async move { vault.run(stop).await }
    });
    let body = json!({ "token": token });
    let look_up = async || {
        root.raw(Method::POST, "auth/token/lookup", body.clone())
            .await
    };
    eventually("it outlives two periods", async || {
        let reply = look_up().await;
        assert_eq!(reply.status, 200, "the token died");
        let [made, renewed] = ["creation_time", "last_renewal_time"]
            .map(|field| reply.body["data"][field].as_u64().unwrap_or_default());
        renewed > made + 6
    })
    .await;
    stop.cancel();
    keeper.await.expect("the keeper ends");
    vault.log_out().await;
    assert_eq!(look_up().await.status, 200, "it is not ours to revoke");
}

#[tokio::test]
async fn approle_near_the_end_of_a_token_logs_in_while_the_old_one_works() {
    let bao = OpenBao::dev().await;
    let root = bao.root();
    let folder = tempfile::tempdir().expect("a folder");
    let login = approle(&root, folder.path(), "2s").await;
    let most = json!({ "token_max_ttl": "3s" });
    root.ok(Method::POST, "auth/approle/role/r", most).await;
    let vault = connect(VaultOptions {
        login,
        ..options(&bao, "")
    });
    let stop = CancellationToken::new();
    let keeper = tokio::spawn({
        let (vault, stop) = (vault.clone(), stop.clone());
        async move { vault.run(stop).await }
    });
    let mut seen = std::collections::BTreeSet::new();
    let mut health = vault.health();
    eventually("three tokens", async || {
        seen.extend(tokens(&root, "approle").await);
        seen.len() >= 3
    })
    .await;
    assert_eq!(*health.borrow_and_update(), Health::Available);

    // A secret id that is refused: told in the log while the old token works, healed by a new one in the file.
    std::fs::write(folder.path().join("secret-id"), "wrong").expect("a file");
    eventually("no token is left", async || {
        tokens(&root, "approle").await.is_empty()
    })
    .await;
    let down = async || matches!(vault.probe().await, Health::Unavailable { .. });
    eventually("it is reported", down).await;
    let good = root.approle_secret_id("r").await;
    std::fs::write(folder.path().join("secret-id"), good).expect("a file");
    assert_eq!(vault.probe().await, Health::Available);
    stop.cancel();
    keeper.await.expect("the keeper ends");
}
