//! Response-wrapped secret ids: used once, kept in memory, and a theft is noticed.

use super::*;

/// Wraps what a call of root answers.
async fn wrap(bao: &OpenBao, path: &str, body: Value) -> String {
    let reply = bao.root().wrapped(path, body, "60s").await;
    reply["wrap_info"]["token"]
        .as_str()
        .expect("a wrapping token")
        .to_owned()
}

async fn unwrap(bao: &OpenBao, token: &str) -> Value {
    let thief = bao.with_token(token);
    thief
        .ok(Method::POST, "sys/wrapping/unwrap", json!({}))
        .await
}

const SECRET_ID: &str = "auth/approle/role/r/secret-id";

/// An OpenBao with the role, and options to log in with `wrapped` in a folder.
async fn role(folder: &Path) -> (OpenBao, VaultOptions) {
    let bao = OpenBao::dev().await;
    let root = bao.root();
    prepare(&root, "approle").await;
    let role_id = root.approle_role("r", &["dtrotate"], "1h").await;
    write(folder, "role-id", &role_id);
    let login = Login::AppRole {
        mount: "approle".into(),
        role_id: Credential::File(folder.join("role-id")),
        secret_id: SecretId::Wrapped {
            file: folder.join("wrapped"),
            ours: true,
        },
    };
    let options = VaultOptions {
        login,
        ..options(&bao, "")
    };
    (bao, options)
}

#[tokio::test]
async fn a_wrapped_secret_id_is_unwrapped_once_and_then_kept_in_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let (bao, options) = role(folder.path()).await;
    let root = bao.root();
    let token = wrap(&bao, SECRET_ID, json!({})).await;
    write(folder.path(), "wrapped", &(token.clone() + "\n"));
    let kept = Kept::start(options.clone());
    assert!(kept.works().await);
    let used = bao
        .with_token(&token)
        .raw(Method::POST, "sys/wrapping/unwrap", json!({}))
        .await;
    assert_eq!(used.status, 400, "it was used up");
    assert_eq!(tokens(&root, "approle").await.len(), 1);

    // A new login needs no unwrapping, not even the file; and neither does a new client of this process, after a reload.
    std::fs::remove_file(folder.path().join("wrapped")).expect("the file");
    revoke_all(&root, "approle").await;
    assert!(kept.works().await);
    let reloaded = connect(options);
    assert_eq!(reloaded.probe().await, Health::Available);
    reloaded.log_out().await;

    // A new one is unwrapped when it appears, since it does not wait.
    let next = wrap(&bao, SECRET_ID, json!({})).await;
    write(folder.path(), "wrapped", &next);
    let accessor = bao.root();
    eventually("it is unwrapped", async || {
        let body = json!({ "token": next });
        let look = accessor
            .raw(Method::POST, "sys/wrapping/lookup", body)
            .await;
        look.status == 400
    })
    .await;
    assert!(kept.works().await);

    // One that does not work does no harm: the last one that did is at hand for a new login.
    let used = wrap(&bao, SECRET_ID, json!({})).await;
    unwrap(&bao, &used).await;
    write(folder.path(), "wrapped", &used);
    eventually("it is reported", async || {
        suspected(folder.path()).is_some_and(|what| what.contains("treat the secret id as stolen"))
    })
    .await;
    assert!(kept.works().await);
    revoke_all(&root, "approle").await;
    write(folder.path(), "wrapped", &next);
    eventually("the condition is resolved", async || {
        suspected(folder.path()).is_none()
    })
    .await;
    assert!(kept.works().await);
    kept.end().await;
}

/// What is reported of the wrapping token in this folder.
fn suspected(folder: &Path) -> Option<String> {
    let all = dtrotate::vault::suspicions().into_iter();
    all.into_iter()
        .find_map(|(path, what)| path.starts_with(folder).then_some(what))
}

#[tokio::test]
async fn a_first_unwrapping_that_is_refused_is_told_as_a_possible_theft() {
    let folder = tempfile::tempdir().expect("a folder");
    let (bao, options) = role(folder.path()).await;
    let stolen = wrap(&bao, SECRET_ID, json!({})).await;
    let loot = unwrap(&bao, &stolen).await["data"]["secret_id"].clone();
    write(folder.path(), "wrapped", &stolen);
    let kept = Kept::start(options);
    let complaint = kept.complaint().await.expect("it is stolen");
    assert!(
        complaint.contains("treat the secret id as stolen"),
        "{complaint}"
    );

    // The thief wraps what was taken, so that nobody notices: it is not even unwrapped.
    let again = wrap(&bao, "sys/wrapping/wrap", json!({ "secret_id": loot })).await;
    write(folder.path(), "wrapped", &again);
    let complaint = kept.complaint().await.expect("it was wrapped by somebody");
    assert!(
        complaint.contains("made at sys/wrapping/wrap"),
        "{complaint}"
    );
    assert_eq!(unwrap(&bao, &again).await["data"]["secret_id"], loot);

    let good = wrap(&bao, SECRET_ID, json!({})).await;
    write(folder.path(), "wrapped", &good);
    assert_eq!(kept.complaint().await, None);
    assert!(kept.works().await);
    kept.end().await;
}

#[tokio::test]
async fn refused_logins_do_not_lock_the_role_against_the_good_secret_id() {
    let folder = tempfile::tempdir().expect("a folder");
    let bao = OpenBao::dev().await;
    let root = bao.root();
    prepare(&root, "approle").await;
    let role_id = root.approle_role("r", &["dtrotate"], "1h").await;
    write(folder.path(), "role-id", &role_id);
    write(folder.path(), "secret-id", "wrong");
    let kept = Kept::start(VaultOptions {
        login: Login::AppRole {
            mount: "approle".into(),
            role_id: Credential::File(folder.path().join("role-id")),
            secret_id: SecretId::Plain(Credential::File(folder.path().join("secret-id"))),
        },
        ..options(&bao, "")
    });
    // Longer than five logins with a growing wait would take.
    let until = std::time::Instant::now() + Duration::from_secs(9);
    eventually("time passes", async || {
        assert!(!kept.works().await);
        std::time::Instant::now() > until
    })
    .await;
    let good = root.approle_secret_id("r").await;
    write(folder.path(), "secret-id", &good);
    assert_eq!(kept.trouble().await, None);
    kept.end().await;
}
