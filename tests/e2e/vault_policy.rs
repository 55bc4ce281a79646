//! `config/vault-policy.hcl`, the very file that is shipped: what it allows is enough for a rotation, and no more.
//! The token has this policy alone, without `default`, so that no right comes from elsewhere.

use reqwest::Method;
use serde_json::{Value, json};

use crate::openbao::{Api, OpenBao};

/// A server with two secrets, the management token and a journal document; the root's API and the daemon's.
async fn prepared() -> (OpenBao, Api, Api) {
    let bao = OpenBao::dev().await;
    let root = bao.root();
    root.write_shipped_policy().await;
    root.put(
        "secret",
        "dynatrace/app",
        json!({"token": "t1", "owner": "team"}),
    )
    .await;
    root.put("secret", "dynatrace/team/app", json!({"token": "t1"}))
        .await;
    root.put("secret", "dynatrace/master", json!({"token": "m"}))
        .await;
    root.put(
        "secret",
        "dynatrace/oauth-client",
        json!({"client_id": "c", "client_secret": "s"}),
    )
    .await;
    root.put("secret", "other/app", json!({"password": "p"}))
        .await;
    let token = root.periodic_token(&["dtrotate"], "60s").await;
    let daemon = bao.with_token(&token);
    (bao, root, daemon)
}

async fn assert_refused(api: &Api, method: &str, path: &str, body: Value) {
    let method: Method = method.parse().expect("a method");
    let reply = api.raw(method.clone(), path, body).await;
    assert_eq!(
        reply.status, 403,
        "{method} {path} should be refused: {reply:?}"
    );
}

#[tokio::test]
async fn allows_what_a_rotation_does() {
    let (_bao, root, daemon) = prepared().await;

    assert!(daemon.get("secret/data/dynatrace/master").await);
    assert!(daemon.get("secret/data/dynatrace/oauth-client").await);
    for path in ["dynatrace/app", "dynatrace/team/app"] {
        let old = daemon.secret("secret", path).await.expect("the secret");
        let stored = daemon
            .put_cas("secret", path, json!({"token": "t2"}), old.version)
            .await;
        assert_eq!(stored.status, 200, "{stored:?}");
        assert_eq!(
            daemon.secret_version("secret", path, 1).await,
            Some(old),
            "the version before"
        );
        assert_eq!(daemon.versions("secret", path).await.len(), 2);
    }

    for document in ["app", "team/app"] {
        let path = format!("dtrotate/journal/{document}");
        assert_eq!(
            daemon
                .put_cas("secret", &path, json!({"n": "1"}), 0)
                .await
                .status,
            200
        );
        assert_eq!(
            daemon
                .put_cas("secret", &path, json!({"n": "2"}), 1)
                .await
                .status,
            200
        );
        assert_eq!(
            daemon.secret("secret", &path).await.map(|s| s.version),
            Some(2)
        );
        assert_eq!(daemon.versions("secret", &path).await.len(), 2);
    }
    assert_eq!(
        daemon.list("secret", "dtrotate/journal").await,
        ["app", "team/"]
    );
    assert_eq!(
        daemon.list("secret", "dtrotate/journal/").await,
        ["app", "team/"]
    );
    assert_eq!(
        daemon.list("secret", "dtrotate/journal/team").await,
        ["app"]
    );

    daemon
        .ok(Method::GET, "auth/token/lookup-self", Value::Null)
        .await;
    daemon
        .ok(Method::POST, "auth/token/renew-self", json!({}))
        .await;
    let asked = json!({"paths": ["secret/data/dynatrace/app", "secret/data/dynatrace/master", "secret/data/other/app"]});
    let may = daemon
        .ok(Method::POST, "sys/capabilities-self", asked)
        .await;
    assert_eq!(
        may["data"]["secret/data/dynatrace/app"],
        json!(["create", "read", "update"])
    );
    assert_eq!(may["data"]["secret/data/dynatrace/master"], json!(["read"]));
    assert_eq!(may["data"]["secret/data/other/app"], json!(["deny"]));
    let mount = daemon
        .ok(
            Method::GET,
            "sys/internal/ui/mounts/secret/dynatrace/app",
            Value::Null,
        )
        .await;
    assert_eq!(mount["data"]["options"]["version"], "2");

    assert!(daemon.get("secret/config").await, "the limits of the mount");
    let document = "secret/metadata/dtrotate/journal/app";
    assert!(daemon.get(document).await, "the limits of a document");

    root.delete_metadata("secret", "dynatrace/app").await;
    let vanished = daemon
        .put_cas("secret", "dynatrace/app", json!({"token": "t3"}), 2)
        .await;
    assert_eq!(
        vanished.status, 400,
        "a secret that vanished is a conflict, not a missing right: {vanished:?}"
    );
    assert_eq!(
        root.secret("secret", "dynatrace/app").await,
        None,
        "nothing was created"
    );

    daemon
        .ok(Method::POST, "auth/token/revoke-self", json!({}))
        .await;
    assert!(!daemon.get("auth/token/lookup-self").await);
}

#[tokio::test]
async fn refuses_everything_else() {
    let (_bao, root, daemon) = prepared().await;
    let value = json!({"data": {"token": "stolen"}});
    let versions = json!({"versions": [1]});

    for path in ["dynatrace/app", "dtrotate/journal/app"] {
        root.put("secret", path, json!({"token": "t2"})).await;
        assert_refused(
            &daemon,
            "DELETE",
            &format!("secret/data/{path}"),
            Value::Null,
        )
        .await;
        assert_refused(
            &daemon,
            "DELETE",
            &format!("secret/metadata/{path}"),
            Value::Null,
        )
        .await;
        assert_refused(
            &daemon,
            "POST",
            &format!("secret/metadata/{path}"),
            json!({"max_versions": 1}),
        )
        .await;
        assert_refused(
            &daemon,
            "POST",
            &format!("secret/delete/{path}"),
            versions.clone(),
        )
        .await;
        assert_refused(
            &daemon,
            "POST",
            &format!("secret/undelete/{path}"),
            versions.clone(),
        )
        .await;
        assert_refused(
            &daemon,
            "PUT",
            &format!("secret/destroy/{path}"),
            versions.clone(),
        )
        .await;
        let value_before = root.secret_version("secret", path, 1).await;
        assert!(value_before.is_some(), "{path} lost a version");
    }
    for path in ["dynatrace/master", "dynatrace/oauth-client"] {
        let path = format!("secret/data/{path}");
        assert_refused(&daemon, "POST", &path, value.clone()).await;
    }
    assert_refused(
        &daemon,
        "GET",
        "secret/metadata/dynatrace?list=true",
        Value::Null,
    )
    .await;
    assert_refused(
        &daemon,
        "GET",
        "secret/metadata/dtrotate?list=true",
        Value::Null,
    )
    .await;
    assert_refused(&daemon, "GET", "secret/metadata?list=true", Value::Null).await;

    assert_refused(&daemon, "GET", "secret/data/other/app", Value::Null).await;
    assert_refused(&daemon, "POST", "secret/data/other/app", value.clone()).await;
    assert_refused(&daemon, "POST", "secret/data/dtrotate/other", value.clone()).await;
    assert_refused(&daemon, "POST", "secret/config", json!({"max_versions": 1})).await;
    assert_refused(&daemon, "GET", "sys/mounts", Value::Null).await;
    assert_refused(
        &daemon,
        "PUT",
        "sys/policies/acl/dtrotate",
        json!({"policy": ""}),
    )
    .await;
    assert_refused(&daemon, "POST", "auth/token/create", json!({})).await;
    assert_eq!(
        root.secret("secret", "other/app").await.map(|s| s.version),
        Some(1)
    );
}
