//! Kubernetes: Vault asks the cluster's API about the service account's token. A stand-in answers for that API.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;

use super::certificates::Authority;
use super::signed::Signer;
use super::*;

/// The TokenReview API: it takes every token that was signed for the service account, and echoes the audiences, as the real one does
/// for a token that has them.
struct Cluster {
    url: String,
    /// It is there; else it answers 500 to everything.
    up: Arc<AtomicBool>,
}

impl Cluster {
    async fn start(token: &str) -> Cluster {
        let up = Arc::new(AtomicBool::new(true));
        let (there, good) = (up.clone(), token.to_owned());
        let review = move |review: String| async move {
            if !there.load(Ordering::SeqCst) {
                return (StatusCode::INTERNAL_SERVER_ERROR, String::new());
            }
            let review: Value = serde_json::from_str(&review).expect("a review");
            let spec = &review["spec"];
            let known = spec["token"] == good.as_str();
            let user = json!({
                "username": "system:serviceaccount:ops:dtrotate",
                "uid": "4d1b1e5a-2a4c-4f6d-9f8e-0c0a0e1b2c3d",
                "groups": ["system:serviceaccounts", "system:authenticated"]
            });
            let status = match known {
                true => {
                    json!({"authenticated": true, "user": user, "audiences": spec["audiences"]})
                }
                false => json!({"authenticated": false, "error": "unknown token"}),
            };
            let answer = json!({
                "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
                "spec": spec, "status": status
            });
            (StatusCode::CREATED, answer.to_string())
        };
        let router =
            Router::new().route("/apis/authentication.k8s.io/v1/tokenreviews", post(review));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Cluster { url, up }
    }
}

#[tokio::test]
async fn kubernetes_logs_in_and_heals_by_itself_when_the_cluster_was_away() {
    let bao = OpenBao::dev().await;
    let root = bao.root();
    prepare(&root, "kubernetes").await;
    let signer = Signer::new();
    let claims = |account: &str| {
        json!({
            "iss": "https://kubernetes.default.svc", "aud": ["vault"],
            "sub": format!("system:serviceaccount:ops:{account}"),
            "kubernetes.io": {"namespace": "ops", "serviceaccount": {
                "name": account, "uid": "4d1b1e5a-2a4c-4f6d-9f8e-0c0a0e1b2c3d"}}
        })
    };
    let good = signer.sign(claims("dtrotate"), 600);
    let cluster = Cluster::start(&good).await;
    let config = json!({
        "kubernetes_host": cluster.url, "token_reviewer_jwt": good,
        "disable_local_ca_jwt": true, "kubernetes_ca_cert": Authority::new().pem()
    });
    root.ok(Method::POST, "auth/kubernetes/config", config)
        .await;
    let role = json!({
        "bound_service_account_names": ["dtrotate"], "bound_service_account_namespaces": ["ops"],
        "audience": "vault", "token_policies": ["dtrotate"], "token_ttl": "1h",
        "token_no_default_policy": true
    });
    root.ok(Method::POST, "auth/kubernetes/role/r", role).await;
    let folder = tempfile::tempdir().expect("a folder");
    let kept = Kept::start(VaultOptions {
        login: Login::Kubernetes {
            mount: "kubernetes".into(),
            role: "r".into(),
            jwt: Credential::File(folder.path().join("token")),
        },
        ..options(&bao, "")
    });
    let trouble = kept.trouble().await.expect("no file");
    assert!(trouble.contains("service account's token"), "{trouble}");
    write(
        folder.path(),
        "token",
        &signer.sign(claims("dtrotate"), 500),
    );
    assert!(
        kept.trouble().await.is_some(),
        "the cluster does not know it"
    );
    write(folder.path(), "token", &good);
    assert!(kept.works().await);

    // The token is revoked while the cluster's API is away: Vault says 403, and that passes.
    cluster.up.store(false, Ordering::SeqCst);
    revoke_all(&root, "kubernetes").await;
    let trouble = kept.trouble().await.expect("the cluster is away");
    assert!(
        trouble.contains("403") && trouble.contains("Kubernetes API"),
        "{trouble}"
    );
    cluster.up.store(true, Ordering::SeqCst);
    eventually("it heals without a human", async || {
        kept.complaint().await.is_none()
    })
    .await;
    assert!(kept.works().await);
    kept.end().await;
    assert!(tokens(&root, "kubernetes").await.is_empty());
}
