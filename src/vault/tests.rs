//! What the client makes of servers that misbehave. What real ones do is tested against OpenBao in `tests/e2e`.

mod attack;
mod fuzz;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::response::Response;
use reqwest::Url;
use serde_json::{Map, json};
use tokio_util::sync::CancellationToken;

use crate::http;
use crate::http::fake::{Fake, Seen, endless, nobody, reply, with};
use rotation::error::{CallError, ErrorKind};
use rotation::ports::{Journal, JournalRead, SecretData, SecretPath, SecretRead, SecretStore};
use rotation::token::TokenValue;

use super::{Credential, Down, Health, KvJournal, KvSecrets, Login, SecretId, Vault, VaultOptions};

/// The token of every test; it must not show anywhere.
const CANARY: &str = "hvs.canarycanarycanary";
/// The value that is written; it must not show either.
const VALUE: &str = "dt0c01.PUBLIC.SECRETCANARYSECRET";
/// The secret that the tests read and write.
const DATA: &str = "/v1/secret/data/team/app";

fn options(addresses: &[&Url]) -> VaultOptions {
    VaultOptions {
        addresses: addresses.iter().map(|&url| url.clone()).collect(),
        namespace: None,
        http: http::Options {
            timeout: Duration::from_secs(5),
            usual_port: Some(8200),
            ..http::Options::default()
        },
        login: Login::Token(Credential::variable("VAULT_TOKEN", CANARY)),
    }
}

fn store(addresses: &[&Url]) -> KvSecrets {
    KvSecrets::new(Vault::new(options(addresses)).unwrap())
}

fn app() -> SecretPath {
    SecretPath {
        mount: "secret".into(),
        path: "team/app".into(),
    }
}

fn value() -> SecretData {
    let mut data = SecretData(Map::new());
    data.set(&["token".to_owned()], &TokenValue::new(VALUE));
    data
}

/// The answers of a healthy Vault to everything but the secret itself.
fn healthy(seen: &Seen) -> Option<Response> {
    let body = match seen.path.as_str() {
        "/v1/auth/token/lookup-self" => json!({"data": {"ttl": 0}}),
        "/v1/sys/internal/ui/mounts/secret" => {
            json!({"data": {"path": "secret/", "type": "kv", "options": {"version": "2"}}})
        }
        "/v1/sys/internal/ui/mounts/old" => {
            json!({"data": {"path": "old/", "type": "kv", "options": null}})
        }
        _ => return None,
    };
    Some(reply(200, body.to_string()))
}

/// A Vault that answers for the secret what `answer` makes.
async fn vault(answer: impl Fn(&Seen) -> Response + Clone + Send + Sync + 'static) -> Fake {
    Fake::new(move |seen| healthy(seen).unwrap_or_else(|| answer(seen))).await
}

fn error<T>(result: Result<T, CallError>) -> CallError {
    let error = result.err().unwrap();
    let text = format!("{error} {error:?}");
    for canary in [CANARY, "SECRETCANARY"] {
        assert!(!text.contains(canary), "{text}");
    }
    error
}

/// How a status and body to a read and to a write are understood.
async fn kinds(status: u16, body: &'static str) -> (CallError, CallError) {
    let fake = vault(move |_| reply(status, body)).await;
    let store = store(&[&fake.url]);
    let read = error(store.read(&app()).await);
    let write = error(store.write(&app(), 1, &value()).await);
    assert_eq!(fake.count("POST", DATA), 1, "a write is sent once");
    (read, write)
}

#[tokio::test]
async fn answers_are_sorted_by_what_the_caller_can_do() {
    use ErrorKind::{Conflict, Refused, Transient, Unclear};
    let cas = r#"{"errors":["check-and-set parameter did not match the current version"]}"#;
    let table = [
        (200, "<html>Welcome</html>", Transient, Unclear),
        (200, r#"{"data":"#, Transient, Unclear),
        (200, r#"{"data":{"unknown":1}}"#, Transient, Unclear),
        (200, r#"["a"]"#, Transient, Unclear),
        (301, "", Refused, Refused),
        (307, "", Transient, Unclear),
        (400, cas, Refused, Conflict),
        (400, r#"{"errors":["no data provided"]}"#, Refused, Refused),
        (
            400,
            r#"{"errors":["Upgrading from non-versioned to versioned data. This backend will be unavailable"]}"#,
            Transient,
            Transient,
        ),
        (
            400,
            "Client sent an HTTP request to an HTTPS server.\n",
            Refused,
            Refused,
        ),
        (403, "<html>blocked</html>", Transient, Unclear),
        (403, r#"{"errors":["permission denied"]}"#, Refused, Refused),
        (404, "not found", Transient, Unclear),
        (404, r#"{"message":"no such route"}"#, Transient, Unclear),
        (403, r#"{"message":"blocked"}"#, Transient, Unclear),
        (
            404,
            r#"{"errors":["namespace not found"]}"#,
            Refused,
            Refused,
        ),
        (
            405,
            r#"{"errors":["unsupported operation"]}"#,
            Refused,
            Refused,
        ),
        (409, r#"{"errors":["conflict"]}"#, Refused, Conflict),
        (
            412,
            r#"{"errors":["missing \"X-Vault-Request\" header"]}"#,
            Refused,
            Refused,
        ),
        (
            413,
            r#"{"errors":["http: request body too large"]}"#,
            Refused,
            Refused,
        ),
        (
            500,
            r#"{"errors":["local node not active but active cluster node not found"]}"#,
            Transient,
            Unclear,
        ),
        (
            500,
            r#"{"errors":["put failed due to value being too large"]}"#,
            Refused,
            Refused,
        ),
        (502, "<html>Bad Gateway</html>", Transient, Unclear),
        (
            503,
            r#"{"errors":["Vault is sealed"]}"#,
            Transient,
            Transient,
        ),
        (503, "no upstream", Transient, Unclear),
    ];
    for (status, body, read, write) in table {
        let (by_read, by_write) = kinds(status, body).await;
        assert_eq!(by_read.kind, read, "reading: {status} {body}: {by_read}");
        assert_eq!(by_write.kind, write, "writing: {status} {body}: {by_write}");
        assert!(!by_read.what.contains("<html>"), "{by_read}");
    }
}

#[tokio::test]
async fn a_404_is_absent_or_deleted_only_in_vaults_own_words() {
    let fake = vault(|seen| match seen.query.as_str() {
        "" => reply(404, r#"{"errors":[]}"#),
        _ => reply(
            404,
            r#"{"data":{"data":null,"metadata":{"version":3,"destroyed":true}},"warnings":null}"#,
        ),
    })
    .await;
    let store = store(&[&fake.url]);
    assert!(matches!(store.read(&app()).await, Ok(SecretRead::Absent)));
    let deleted = store.read_version(&app(), 3).await;
    assert!(matches!(deleted, Ok(SecretRead::Deleted { version: 3 })));
    assert_eq!(fake.seen().last().unwrap().query, "version=3");
}

#[tokio::test]
async fn a_version_with_null_data_is_there_and_empty() {
    let body = r#"{"data":{"data":null,"metadata":{"version":2}}}"#;
    let fake = vault(move |_| reply(200, body)).await;
    match store(&[&fake.url]).read(&app()).await {
        Ok(SecretRead::Present { version: 2, data }) => assert!(data.0.is_empty()),
        _ => panic!("not there"),
    }
}

#[tokio::test]
async fn a_list_whose_data_is_no_object_is_an_odd_answer() {
    for body in [
        r#"{"data":"x"}"#,
        r#"{"data":[1]}"#,
        r#"{"data":7}"#,
        r#"{"data":{"keys":7}}"#,
    ] {
        let fake = vault(move |_| reply(200, body)).await;
        let client = Vault::new(options(&[&fake.url])).unwrap();
        let error = error(
            KvJournal::new(client, "secret", "dtrotate/journal")
                .list()
                .await,
        );
        assert_eq!(error.kind, ErrorKind::Transient, "{body}");
    }
}

#[tokio::test]
async fn p4_a_warning_on_a_write_is_no_success() {
    let body = r#"{"data":{"version":2},"warnings":["Endpoint ignored these unrecognized parameters: [options]"]}"#;
    let fake = vault(move |_| reply(200, body)).await;
    let error = error(store(&[&fake.url]).write(&app(), 1, &value()).await);
    assert_eq!(error.kind, ErrorKind::Unclear);
    assert!(error.what.contains("ignored"), "{error}");
}

#[tokio::test]
async fn lost_answers_are_unclear_for_a_write_and_transient_for_a_read() {
    let short = |fake: &Fake| {
        let mut options = options(&[&fake.url]);
        options.http.timeout = Duration::from_millis(400);
        KvSecrets::new(Vault::new(options).unwrap())
    };
    let endless =
        vault(|_| reply(200, endless(r#"{"data":{},"a":"aaaaaaaaaaaaaaaaa"#, true))).await;
    let reset = vault(|_| with(reply(200, "{}"), "content-length", "100")).await;
    for fake in [&endless, &reset] {
        let store = short(fake);
        assert_eq!(error(store.read(&app()).await).kind, ErrorKind::Transient);
        let write = store.write(&app(), 1, &value()).await;
        assert_eq!(error(write).kind, ErrorKind::Unclear);
        assert_eq!(fake.count("POST", DATA), 1);
    }
}

#[tokio::test]
async fn an_error_with_a_wish_to_wait_carries_it() {
    let fake = vault(|_| {
        let body = r#"{"errors":["rate limit quota exceeded"]}"#;
        with(reply(429, body), "retry-after", "4")
    })
    .await;
    let error = error(store(&[&fake.url]).read(&app()).await);
    assert_eq!(error.kind, ErrorKind::RateLimited);
    let wait = error.retry_after.expect("the wait").as_millis();
    assert!((3_000..=4_000).contains(&wait), "{wait}");
}

#[tokio::test]
async fn a_call_that_is_rate_limited_is_made_again_in_its_turn() {
    let left = Arc::new(AtomicUsize::new(2));
    let fake = vault(move |_| {
        let is_limited = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(1)
        });
        match is_limited {
            Ok(_) => reply(429, r#"{"errors":["rate limit quota exceeded"]}"#),
            Err(_) => reply(200, r#"{"data":{"version":2}}"#),
        }
    })
    .await;
    let written = store(&[&fake.url]).write(&app(), 1, &value()).await;
    assert_eq!(written.unwrap(), 2);
    assert_eq!(
        fake.count("POST", DATA),
        3,
        "nothing was done by the first two"
    );
}

#[tokio::test]
async fn p5_a_server_that_echoes_the_request_does_not_put_it_into_the_error() {
    let fake = Fake::new(|seen| {
        if let Some(answer) = healthy(seen) {
            return answer;
        }
        let echo =
            json!({"errors": [format!("bad: {} {}", seen.header("x-vault-token"), seen.body)]});
        reply(400, echo.to_string())
    })
    .await;
    let store = store(&[&fake.url]);
    assert!(error(store.read(&app()).await).what.contains("[hidden]"));
    error(store.write(&app(), 1, &value()).await);
}

fn present(seen: &Seen) -> Response {
    match seen.method.as_str() {
        "GET" => reply(
            200,
            r#"{"data":{"data":{"a":"1"},"metadata":{"version":1}}}"#,
        ),
        _ => reply(200, r#"{"data":{"version":2},"warnings":null}"#),
    }
}

#[tokio::test]
async fn another_node_is_asked_when_one_certainly_did_nothing() {
    let good = vault(present).await;
    let dead = nobody().await;
    let pointing = vault(|_| with(reply(307, ""), "location", "http://127.0.0.1:1/v1/x")).await;
    let sealed = Fake::new(|_| reply(503, r#"{"errors":["Vault is sealed"]}"#)).await;
    for first in [&dead, &pointing.url, &sealed.url] {
        let store = store(&[first, &good.url]);
        assert_eq!(store.write(&app(), 1, &value()).await, Ok(2), "{first}");
        assert!(store.read(&app()).await.is_ok());
    }
    assert_eq!(good.count("POST", DATA), 3);
}

#[tokio::test]
async fn a_conflict_after_a_standby_lost_the_leader_may_be_with_ourselves() {
    let pointing = vault(|_| with(reply(307, ""), "location", "http://127.0.0.1:1/v1/x")).await;
    let body = r#"{"errors":["check-and-set parameter did not match the current version"]}"#;
    let ahead = vault(move |_| reply(400, body)).await;
    let sealed = vault(|_| reply(503, r#"{"errors":["Vault is sealed"]}"#)).await;
    for second in [&ahead, &sealed] {
        let store = store(&[&pointing.url, &second.url]);
        let write = store.write(&app(), 1, &value()).await;
        assert_eq!(error(write).kind, ErrorKind::Unclear);
        assert_eq!(second.count("POST", DATA), 1);
    }
    let alone = store(&[&ahead.url]).write(&app(), 1, &value()).await;
    assert_eq!(error(alone).kind, ErrorKind::Conflict);
}

#[tokio::test]
async fn a_node_that_hangs_is_not_the_first_to_be_asked_again() {
    let hanging = vault(|seen| match seen.method.as_str() {
        "POST" => reply(200, endless("{", true)),
        _ => present(seen),
    })
    .await;
    let good = vault(present).await;
    let mut options = options(&[&hanging.url, &good.url]);
    options.http.timeout = Duration::from_millis(400);
    let store = KvSecrets::new(Vault::new(options).unwrap());
    let write = store.write(&app(), 1, &value()).await;
    assert_eq!(error(write).kind, ErrorKind::Unclear);
    assert_eq!(store.write(&app(), 1, &value()).await, Ok(2));
    assert_eq!(hanging.count("POST", DATA), 1);
}

#[tokio::test]
async fn a_write_that_may_have_happened_is_not_sent_to_another_node() {
    let first = vault(|_| reply(500, r#"{"errors":["internal error"]}"#)).await;
    let second = vault(present).await;
    let store = store(&[&first.url, &second.url]);
    let write = store.write(&app(), 1, &value()).await;
    assert_eq!(error(write).kind, ErrorKind::Unclear);
    assert_eq!(second.count("POST", DATA), 0);
    // A read may be asked anywhere.
    assert!(store.read(&app()).await.is_ok());
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_the_token_stays() {
    let target = vault(present).await;
    let location = target.url.join(DATA).unwrap().to_string();
    let fake = vault(move |_| with(reply(307, ""), "location", &location)).await;
    let error = error(store(&[&fake.url]).read(&app()).await);
    assert_eq!(error.kind, ErrorKind::Transient);
    assert!(target.seen().is_empty());
}

#[tokio::test]
async fn the_index_of_answers_is_sent_back_with_the_wish_to_forward() {
    let fake = vault(|seen| with(present(seen), "x-vault-index", "opaque-7")).await;
    let store = store(&[&fake.url]);
    store.write(&app(), 1, &value()).await.unwrap();
    store.read(&app()).await.unwrap();
    let seen = fake.seen();
    assert_eq!(seen[0].header("x-vault-index"), "");
    let last = seen.last().unwrap();
    assert_eq!(last.header("x-vault-index"), "opaque-7");
    assert_eq!(last.header("x-vault-inconsistent"), "forward-active-node");
    assert_eq!(last.header("x-vault-request"), "true");
}

#[tokio::test]
async fn a_lagging_node_is_asked_again() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let fake = vault(move |seen| match count.fetch_add(1, Ordering::SeqCst) {
        0 => with(reply(429, r#"{"errors":[]}"#), "retry-after", "1"),
        1 => reply(412, r#"{"errors":["required index state not present"]}"#),
        _ => present(seen),
    })
    .await;
    let written = store(&[&fake.url]).write(&app(), 1, &value()).await;
    assert_eq!((written, asked.load(Ordering::SeqCst)), (Ok(2), 3));
}

#[tokio::test]
async fn an_index_that_the_server_cannot_read_is_dropped() {
    let fake = vault(|seen| match seen.header("x-vault-index") {
        "" => with(present(seen), "x-vault-index", "strange"),
        _ => reply(400, r#"{"errors":["failed to decode \"X-Vault-Index\""]}"#),
    })
    .await;
    let store = store(&[&fake.url]);
    store.read(&app()).await.unwrap();
    assert!(store.read(&app()).await.is_ok());
}

/// A Vault that gives out `hvs.number-N` at AppRole logins and takes only the token whose number is `alive`.
async fn with_approle(alive: Arc<AtomicU64>, logins: Arc<AtomicU64>) -> Fake {
    Fake::new(move |seen| {
        if seen.path == "/v1/auth/approle/login" {
            let number = logins.fetch_add(1, Ordering::SeqCst) + 1;
            let auth = json!({"client_token": format!("hvs.number-{number}"), "lease_duration": 3600, "renewable": true});
            return reply(200, json!({"auth": auth}).to_string());
        }
        let good = format!("hvs.number-{}", alive.load(Ordering::SeqCst));
        if seen.header("x-vault-token") != good {
            return reply(403, r#"{"errors":["permission denied"]}"#);
        }
        healthy(seen).unwrap_or_else(|| present(seen))
    })
    .await
}

fn approle(url: &Url) -> VaultOptions {
    let value = |text: &str| Credential::variable("VAULT_TOKEN", text);
    VaultOptions {
        login: Login::AppRole {
            mount: "approle".into(),
            role_id: value("role-canary-canary"),
            secret_id: SecretId::Plain(value(CANARY)),
        },
        ..options(&[url])
    }
}

#[tokio::test]
async fn many_calls_with_a_dead_token_make_one_login() {
    let (alive, logins) = (Arc::new(AtomicU64::new(1)), Arc::default());
    let fake = with_approle(alive.clone(), Arc::clone(&logins)).await;
    let store = KvSecrets::new(Vault::new(approle(&fake.url)).unwrap());
    store.read(&app()).await.unwrap();
    assert_eq!(logins.load(Ordering::SeqCst), 1);
    alive.store(2, Ordering::SeqCst);
    let place = app();
    let reads = (0..50).map(|_| store.read(&place));
    for result in futures_util::future::join_all(reads).await {
        assert!(matches!(result, Ok(SecretRead::Present { .. })));
    }
    assert_eq!(logins.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_refused_login_is_tried_once_for_all_and_told_once() {
    let fake = Fake::new(|seen| {
        reply(
            400,
            json!({"errors": [format!("invalid role or secret ID {}", seen.body)]}).to_string(),
        )
    })
    .await;
    let vault = Vault::new(approle(&fake.url)).unwrap();
    let mut health = vault.health();
    health.mark_unchanged();
    let store = KvSecrets::new(vault);
    let place = app();
    let reads = (0..50).map(|_| store.read(&place));
    for result in futures_util::future::join_all(reads).await {
        let error = error(result);
        assert_eq!(error.kind, ErrorKind::Unauthorized);
        assert!(error.what.contains("invalid role or secret ID"), "{error}");
    }
    assert_eq!(fake.seen().len(), 1);
    let reason = match &*health.borrow_and_update() {
        Health::Unavailable { reason, .. } => *reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(reason, Down::TokenRefused);
}

#[tokio::test]
async fn a_dead_static_token_is_unauthorized_and_a_new_one_in_the_file_heals_it() {
    let fake = Fake::new(|seen| match seen.header("x-vault-token") {
        "hvs.good-token-here" => healthy(seen).unwrap_or_else(|| present(seen)),
        _ => reply(403, r#"{"errors":["permission denied"]}"#),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let options = VaultOptions {
        login: Login::Token(Credential::File(path.clone())),
        ..options(&[&fake.url])
    };
    let vault = Vault::new(options).unwrap();
    let store = KvSecrets::new(vault.clone());
    let missing = error(store.read(&app()).await);
    assert_eq!(missing.kind, ErrorKind::Transient, "it may come");
    assert!(missing.what.contains("token"), "{missing}");
    std::fs::write(&path, CANARY).unwrap();
    let dead = error(store.read(&app()).await);
    assert_eq!(dead.kind, ErrorKind::Unauthorized);
    std::fs::write(&path, "hvs.good-token-here\n").unwrap();
    assert!(store.read(&app()).await.is_ok());
    assert_eq!(*vault.health().borrow(), Health::Available);
}

/// Vault refuses each of them with the same words.
#[tokio::test]
async fn p7_a_refused_credential_is_named_by_where_it_comes_from() {
    let fake = Fake::new(|_| reply(403, r#"{"errors":["permission denied"]}"#)).await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, CANARY).unwrap();
        Credential::File(path)
    };
    let variable = Credential::variable("BAO_TOKEN", CANARY);
    let role = Login::AppRole {
        mount: "approle".into(),
        role_id: file("role-id"),
        secret_id: SecretId::Plain(file("secret-id")),
    };
    for (login, origins) in [
        (Login::Token(file("token")), vec!["/token is wrong"]),
        (
            Login::Token(variable),
            vec!["the token from the environment variable BAO_TOKEN is wrong"],
        ),
        (role, vec!["/role-id or", "/secret-id is wrong"]),
    ] {
        let options = VaultOptions {
            login,
            ..options(&[&fake.url])
        };
        let store = KvSecrets::new(Vault::new(options).unwrap());
        let refused = error(store.read(&app()).await);
        assert_eq!(refused.kind, ErrorKind::Unauthorized);
        for origin in origins {
            assert!(refused.what.contains(origin), "{refused}");
        }
    }
}

#[tokio::test]
async fn a_token_file_is_followed_while_the_old_token_still_works() {
    let fake = Fake::new(|seen| healthy(seen).unwrap_or_else(|| present(seen))).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "hvs.first-token").unwrap();
    let options = VaultOptions {
        login: Login::Token(Credential::File(path.clone())),
        ..options(&[&fake.url])
    };
    let vault = Vault::new(options).unwrap();
    let stop = CancellationToken::new();
    let keeper = tokio::spawn({
        let stop = stop.clone();
        async move { vault.run(stop).await }
    });
    let used = |token: &str| {
        let fits = |seen: &Seen| seen.header("x-vault-token") == token;
        fake.seen().iter().any(fits)
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while !used("hvs.second-token") {
        assert!(Instant::now() < deadline, "the new token is not used");
        if used("hvs.first-token") {
            std::fs::write(&path, "hvs.second-token\n").unwrap();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.cancel();
    keeper.await.unwrap();
}

#[tokio::test]
async fn a_policy_that_denies_is_refused_with_the_line_to_add() {
    let fake = vault(|_| {
        reply(
            403,
            r#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#,
        )
    })
    .await;
    let vault = Vault::new(options(&[&fake.url])).unwrap();
    let store = KvSecrets::new(vault.clone());
    let read = error(store.read(&app()).await);
    assert!(
        read.what
            .contains(r#"path "secret/data/team/app" { capabilities = ["read"] }"#),
        "{read}"
    );
    let write = error(store.write(&app(), 1, &value()).await);
    assert!(write.what.contains(r#"["create", "update"]"#), "{write}");
    assert_eq!(*vault.health().borrow(), Health::Available);
}

#[tokio::test]
async fn the_probe_tells_what_is_wrong() {
    let sealed = Fake::new(|_| reply(503, r#"{"sealed":true}"#)).await;
    let refusing = Fake::new(|seen| match seen.path.as_str() {
        "/v1/sys/health" => reply(200, r#"{"sealed":false}"#),
        _ => reply(403, r#"{"errors":["permission denied"]}"#),
    })
    .await;
    let good = Fake::new(|seen| healthy(seen).unwrap_or_else(|| reply(200, "{}"))).await;
    let dead = nobody().await;
    for (url, expected) in [
        (&dead, Some(Down::Unreachable)),
        (&sealed.url, Some(Down::Sealed)),
        (&refusing.url, Some(Down::TokenRefused)),
        (&good.url, None),
    ] {
        let vault = Vault::new(options(&[url])).unwrap();
        match (vault.probe().await, expected) {
            (Health::Unavailable { reason, .. }, Some(expected)) => assert_eq!(reason, expected),
            (Health::Available, None) => {}
            (health, _) => panic!("{url} {health:?}"),
        }
    }
}

#[tokio::test]
async fn a_mount_that_became_another_engine_is_noticed() {
    // A KV v1 engine stores the request of version 2 literally and answers 204.
    let fake = vault(|_| reply(204, "")).await;
    let store = store(&[&fake.url]);
    let write = store.write(&app(), 1, &value()).await;
    assert_eq!(error(write).kind, ErrorKind::Unclear);
    assert_eq!(fake.count("GET", "/v1/sys/internal/ui/mounts/secret"), 1);
    let _ = store.write(&app(), 1, &value()).await;
    assert_eq!(fake.count("GET", "/v1/sys/internal/ui/mounts/secret"), 2);
}

#[tokio::test]
async fn paths_are_encoded_and_bad_ones_refused() {
    let fake = vault(present).await;
    let store = store(&[&fake.url]);
    let mut at = app();
    at.path = "team x/a#b?c".into();
    store.read(&at).await.unwrap();
    assert_eq!(fake.count("GET", "/v1/secret/data/team%20x/a%23b%3Fc"), 1);
    at.path = "team/../../sys/seal".into();
    let before = fake.seen().len();
    assert_eq!(error(store.read(&at).await).kind, ErrorKind::Refused);
    assert_eq!(fake.seen().len(), before);
}

#[tokio::test]
async fn the_journal_needs_versions_and_does_not_quote_what_it_cannot_read() {
    let fake = vault(|_| {
        let data = json!({"schema": 1, "write_id": 5, "epoch": "SECRETCANARY"});
        reply(
            200,
            json!({"data": {"data": data, "metadata": {"version": 4}}}).to_string(),
        )
    })
    .await;
    let vault = Vault::new(options(&[&fake.url])).unwrap();
    let journal = KvJournal::new(vault.clone(), "secret", "dtrotate/journal");
    match journal.read("app").await.unwrap() {
        JournalRead::Unreadable { why } => assert!(!why.contains("SECRETCANARY"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(error(journal.installation().await).kind, ErrorKind::Refused);
    let journal = KvJournal::new(vault, "old", "dtrotate/journal");
    let refused = error(journal.read("app").await);
    assert_eq!(refused.kind, ErrorKind::Refused);
    assert!(refused.what.contains("version 1"), "{refused}");
}

#[tokio::test]
async fn the_namespace_goes_with_every_call_but_health() {
    let fake = Fake::new(|seen| healthy(seen).unwrap_or_else(|| reply(200, "{}"))).await;
    let options = VaultOptions {
        namespace: Some("team1".into()),
        ..options(&[&fake.url])
    };
    Vault::new(options).unwrap().probe().await;
    let seen = fake.seen();
    assert_eq!(seen[0].header("x-vault-namespace"), "");
    assert!(
        seen[1..]
            .iter()
            .all(|s| s.header("x-vault-namespace") == "team1")
    );
    assert!(seen.len() > 1);
}
