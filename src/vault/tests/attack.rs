//! Every call against every fault: what the caller gets, that nothing secret shows, that a write is sent once, and that all is well
//! again when the fault is gone. A call that is not in the table turns `the_table_knows_every_call` red.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use axum::body::Body;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream;

use super::super::SecretId;
use super::*;

/// What a failure of a call means to its caller.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Nature {
    Read,
    Write,
    /// It stands between a call and its token: the call itself was not sent.
    Login,
    /// It tells nobody when it fails; it must only do no harm.
    Quiet,
}

struct Row {
    /// The file of `src/vault` that makes the call.
    file: &'static str,
    method: &'static str,
    path: &'static str,
    nature: Nature,
    login: fn(&Path) -> Login,
    run: fn(Vault) -> BoxFuture<'static, Result<(), CallError>>,
}

fn by_token(_: &Path) -> Login {
    Login::Token(Credential::variable("VAULT_TOKEN", CANARY))
}

fn by_role(_: &Path) -> Login {
    let value = |text: &str| Credential::variable("VAULT_TOKEN", text);
    Login::AppRole {
        mount: "approle".into(),
        role_id: value("role-canary-canary"),
        secret_id: SecretId::Plain(value(CANARY)),
    }
}

fn by_wrapped(folder: &Path) -> Login {
    let file = folder.join("wrapped");
    std::fs::write(&file, CANARY).unwrap();
    Login::AppRole {
        mount: "approle".into(),
        role_id: Credential::variable("ROLE_ID", "role-canary-canary"),
        secret_id: SecretId::Wrapped { file, ours: true },
    }
}

fn old() -> SecretPath {
    SecretPath {
        mount: "old".into(),
        path: "app".into(),
    }
}

async fn read(vault: Vault) -> Result<(), CallError> {
    KvSecrets::new(vault).read(&app()).await.map(drop)
}

const ROWS: [Row; 16] = [
    Row {
        file: "login.rs",
        method: "GET",
        path: "/v1/auth/token/lookup-self",
        nature: Nature::Login,
        login: by_token,
        run: |vault| Box::pin(read(vault)),
    },
    Row {
        file: "login.rs",
        method: "POST",
        path: "/v1/auth/approle/login",
        nature: Nature::Login,
        login: by_role,
        run: |vault| Box::pin(read(vault)),
    },
    Row {
        file: "wrapped.rs",
        method: "POST",
        path: "/v1/sys/wrapping/lookup",
        nature: Nature::Login,
        login: by_wrapped,
        run: |vault| Box::pin(read(vault)),
    },
    Row {
        file: "wrapped.rs",
        method: "POST",
        path: UNWRAP,
        nature: Nature::Login,
        login: by_wrapped,
        run: |vault| Box::pin(read(vault)),
    },
    Row {
        file: "session.rs",
        method: "POST",
        path: "/v1/auth/token/revoke-self",
        nature: Nature::Quiet,
        login: by_role,
        run: |vault| {
            Box::pin(async move {
                read(vault.clone()).await?;
                vault.log_out().await;
                Ok(())
            })
        },
    },
    Row {
        file: "keeper.rs",
        method: "POST",
        path: "/v1/auth/token/renew-self",
        nature: Nature::Quiet,
        login: by_token,
        run: |vault| {
            Box::pin(async move {
                let (wire, session) = vault.parts();
                let token = session.token(wire).await?;
                session.extend(wire, &token).await;
                let held = session.held().map(|held| held.generation);
                assert_eq!(held, Some(token.generation), "a token that works is kept");
                read(vault).await
            })
        },
    },
    Row {
        file: "client.rs",
        method: "POST",
        path: "/v1/sys/capabilities-self",
        nature: Nature::Read,
        login: by_token,
        run: |vault| {
            Box::pin(async move {
                let paths = ["secret/data/team/app".to_owned()];
                vault.capabilities(&paths).await.map(drop)
            })
        },
    },
    Row {
        file: "mounts.rs",
        method: "GET",
        path: "/v1/sys/internal/ui/mounts/secret",
        nature: Nature::Read,
        login: by_token,
        run: |vault| Box::pin(async move { vault.engine("secret").await.map(drop) }),
    },
    Row {
        file: "kv2.rs",
        method: "GET",
        path: DATA,
        nature: Nature::Read,
        login: by_token,
        run: |vault| Box::pin(read(vault)),
    },
    Row {
        file: "kv2.rs",
        method: "POST",
        path: DATA,
        nature: Nature::Write,
        login: by_token,
        run: |vault| {
            Box::pin(async move {
                let store = KvSecrets::new(vault);
                store.write(&app(), 1, &value()).await.map(drop)
            })
        },
    },
    Row {
        file: "kv2.rs",
        method: "GET",
        path: "/v1/secret/metadata/dtrotate/journal",
        nature: Nature::Read,
        login: by_token,
        run: |vault| {
            Box::pin(async move {
                let journal = KvJournal::new(vault, "secret", "dtrotate/journal");
                journal.list().await.map(drop)
            })
        },
    },
    Row {
        file: "retention.rs",
        method: "GET",
        path: LIMITS,
        nature: Nature::Read,
        login: by_token,
        run: |vault| Box::pin(async move { KvSecrets::new(vault).key(&app()).await.map(drop) }),
    },
    Row {
        file: "retention.rs",
        method: "GET",
        path: MOUNT_LIMITS,
        nature: Nature::Read,
        login: by_token,
        run: |vault| {
            Box::pin(async move {
                let store = KvSecrets::new(vault);
                store.mount_limits("secret").await.map(drop)
            })
        },
    },
    Row {
        file: "secrets.rs",
        method: "GET",
        path: OLD,
        nature: Nature::Read,
        login: by_token,
        run: |vault| {
            Box::pin(async move {
                let store = KvSecrets::new(vault);
                store.read(&old()).await.map(drop)
            })
        },
    },
    Row {
        file: "secrets.rs",
        method: "POST",
        path: OLD,
        nature: Nature::Write,
        login: by_token,
        run: |vault| {
            Box::pin(async move {
                let store = KvSecrets::new(vault);
                let (version, data) = match store.read(&old()).await? {
                    SecretRead::Present { version, data } => (version, data),
                    _ => panic!("it is there"),
                };
                store.write(&old(), version, &data).await.map(drop)
            })
        },
    },
    Row {
        file: "wire.rs",
        method: "GET",
        path: "/v1/sys/health",
        nature: Nature::Quiet,
        login: by_token,
        run: |vault| {
            Box::pin(async move {
                vault.probe().await;
                read(vault).await
            })
        },
    },
];

const UNWRAP: &str = "/v1/sys/wrapping/unwrap";
const LIMITS: &str = "/v1/secret/metadata/team/app";
const MOUNT_LIMITS: &str = "/v1/secret/config";
const OLD: &str = "/v1/old/app";

/// The answers of a Vault that has all that the rows ask for.
fn good(seen: &Seen) -> Response {
    let auth = json!({"client_token": CANARY, "lease_duration": 3600, "renewable": true});
    let body = match (seen.method.as_str(), seen.path.as_str()) {
        (_, "/v1/auth/token/lookup-self") => json!({"data": {"ttl": 3600, "renewable": true}}),
        (_, "/v1/auth/approle/login" | "/v1/auth/token/renew-self") => json!({ "auth": auth }),
        (_, "/v1/sys/wrapping/lookup") => {
            json!({"data": {"creation_path": "auth/approle/role/r/secret-id"}})
        }
        (_, UNWRAP) => json!({"data": {"secret_id": CANARY}}),
        (_, "/v1/auth/token/revoke-self") => return reply(204, ""),
        (_, "/v1/sys/capabilities-self") => json!({"data": {"secret/data/team/app": ["read"]}}),
        (_, "/v1/secret/metadata/dtrotate/journal") => json!({"data": {"keys": ["a"]}}),
        (_, "/v1/sys/health") => json!({"sealed": false}),
        (_, LIMITS) => json!({"data": {"current_version": u64::MAX, "oldest_version": 2}}),
        (_, MOUNT_LIMITS) => json!({"data": {"delete_version_after": "1h0m0s"}}),
        ("GET", OLD) => json!({"data": {"token": VALUE}}),
        ("POST", OLD) => return reply(204, ""),
        _ => return healthy(seen).unwrap_or_else(|| present(seen)),
    };
    reply(200, body.to_string())
}

/// What a fault makes of a read, of a write and of a login; `None` = it depends on the call.
type Kinds = [Option<ErrorKind>; 3];

struct Fault {
    name: &'static str,
    answer: fn() -> Response,
    kinds: Kinds,
}

use ErrorKind::{Conflict, RateLimited, Refused, Transient, Unauthorized, Unclear};

/// Nobody knows whether it was carried out.
const LOST: Kinds = [Some(Transient), Some(Unclear), Some(Transient)];
/// It certainly was not, and may be the next time.
const LATER: Kinds = [Some(Transient); 3];
const LIMITED: Kinds = [Some(RateLimited); 3];
/// A human must act.
const NEVER: Kinds = [Some(Refused), Some(Refused), Some(Unauthorized)];

fn refusal(status: u16, words: &str) -> Response {
    reply(status, json!({ "errors": [words] }).to_string())
}

fn page(status: u16) -> Response {
    reply(status, format!("<html>{CANARY} {VALUE}</html>"))
}

fn reset() -> Response {
    let chunks = [Ok("{\"data\":"), Err(std::io::Error::other("reset"))];
    reply(200, Body::from_stream(stream::iter(chunks)))
}

const FAULTS: [Fault; 29] = [
    Fault {
        name: "silence",
        answer: || reply(200, endless("{", true)),
        kinds: LOST,
    },
    Fault {
        name: "a body without end",
        answer: || reply(200, endless("{         ", false)),
        kinds: LOST,
    },
    Fault {
        name: "10 MB",
        answer: || reply(200, " ".repeat(10 << 20)),
        kinds: LOST,
    },
    Fault {
        name: "a reset after the effect",
        answer: reset,
        kinds: LOST,
    },
    Fault {
        name: "an answer cut short",
        answer: || with(reply(200, "{}"), "content-length", "100"),
        kinds: LOST,
    },
    Fault {
        name: "429 with a wish",
        answer: || {
            with(
                refusal(429, "rate limit quota exceeded"),
                "retry-after",
                "1",
            )
        },
        kinds: LIMITED,
    },
    Fault {
        name: "429 with an endless wish",
        answer: || with(refusal(429, "quota"), "retry-after", "18446744073709551615"),
        kinds: LIMITED,
    },
    Fault {
        name: "429 without a wish",
        answer: || refusal(429, "rate limit quota exceeded"),
        kinds: LIMITED,
    },
    Fault {
        name: "429 of a node that lags",
        answer: || with(reply(429, r#"{"errors":[]}"#), "retry-after", "1"),
        kinds: LATER,
    },
    Fault {
        name: "412 of a node that lags",
        answer: || refusal(412, "required index state not present"),
        kinds: LATER,
    },
    Fault {
        name: "500",
        answer: || refusal(500, "internal error"),
        kinds: LOST,
    },
    Fault {
        name: "500 without a leader",
        answer: || {
            refusal(
                500,
                "local node not active but active cluster node not found",
            )
        },
        kinds: LOST,
    },
    Fault {
        name: "502 after the effect",
        answer: || page(502),
        kinds: LOST,
    },
    Fault {
        name: "503 sealed",
        answer: || refusal(503, "Vault is sealed"),
        kinds: LATER,
    },
    Fault {
        name: "503 of a proxy",
        answer: || page(503),
        kinds: LOST,
    },
    Fault {
        name: "400 while it upgrades",
        answer: || {
            refusal(
                400,
                "Waiting for the primary to upgrade from non-versioned to versioned data.",
            )
        },
        kinds: LATER,
    },
    Fault {
        name: "403",
        answer: || refusal(403, "permission denied"),
        kinds: NEVER,
    },
    Fault {
        name: "404",
        answer: || reply(404, r#"{"errors":[]}"#),
        kinds: [None, Some(Refused), None],
    },
    Fault {
        name: "404 to everything",
        answer: || page(404),
        kinds: LOST,
    },
    Fault {
        name: "405",
        answer: || refusal(405, "unsupported operation"),
        kinds: [Some(Refused), Some(Refused), None],
    },
    Fault {
        name: "a check-and-set that did not match",
        answer: || {
            refusal(
                400,
                "check-and-set parameter did not match the current version",
            )
        },
        kinds: [Some(Refused), Some(Conflict), None],
    },
    Fault {
        name: "307 to a dead node",
        answer: || with(reply(307, ""), "location", "http://127.0.0.1:1/v1/x"),
        kinds: LOST,
    },
    Fault {
        name: "301",
        answer: || with(reply(301, ""), "location", "http://127.0.0.1:1/"),
        kinds: [Some(Refused), Some(Refused), Some(Transient)],
    },
    Fault {
        name: "200 with a page",
        answer: || page(200),
        kinds: LOST,
    },
    Fault {
        name: "200 with half of JSON",
        answer: || reply(200, r#"{"data":{"data":{"#),
        kinds: LOST,
    },
    Fault {
        name: "200 with a list",
        answer: || {
            reply(
                200,
                r#"[null,null,{"data":{},"metadata":{"version":1}},null]"#,
            )
        },
        kinds: LOST,
    },
    Fault {
        name: "200 with deep JSON",
        answer: || reply(200, "[".repeat(100_000)),
        kinds: LOST,
    },
    Fault {
        name: "errors that are no list",
        answer: || reply(400, r#"{"errors":"no"}"#),
        kinds: LOST,
    },
    Fault {
        name: "nothing where something is due",
        answer: || reply(200, "{}"),
        kinds: [Some(Transient), None, Some(Transient)],
    },
];

#[tokio::test]
async fn every_call_survives_every_fault_and_heals() {
    let cases = FAULTS
        .iter()
        .flat_map(|fault| ROWS.iter().map(move |row| (fault, row)));
    let cases: Vec<_> = cases.collect();
    stream::iter(cases)
        .for_each_concurrent(16, |(fault, row)| attack(fault, row))
        .await;
}

async fn attack(fault: &'static Fault, row: &'static Row) {
    let case = format!("{} at {} {}", fault.name, row.method, row.path);
    let broken = Arc::new(AtomicBool::new(true));
    let switch = broken.clone();
    let fake = Fake::new(move |seen| {
        let here = (seen.method.as_str(), seen.path.as_str()) == (row.method, row.path);
        match here && switch.load(Ordering::SeqCst) {
            true => (fault.answer)(),
            false => good(seen),
        }
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let options = VaultOptions {
        login: (row.login)(folder.path()),
        http: http::Options {
            timeout: Duration::from_secs(4),
            ..http::Options::default()
        },
        ..options(&[&fake.url])
    };
    // Reading the system's roots takes long enough to make the other cases late.
    let built = tokio::task::spawn_blocking(|| Vault::new(options)).await;
    let vault = built.unwrap().unwrap();
    let mut result = (row.run)(vault.clone()).await;
    // On a busy machine a call before it may have been late.
    let late = Instant::now() + Duration::from_secs(60);
    while fake.count(row.method, row.path) == 0 && Instant::now() < late {
        tokio::time::sleep(Duration::from_millis(100)).await;
        result = (row.run)(vault.clone()).await;
    }
    let lags = fault.name.ends_with("that lags");
    let writes = row.nature == Nature::Write || row.path == UNWRAP;
    assert!(
        fake.count(row.method, row.path) > 0,
        "{case}: it was never asked"
    );
    // Nothing was done by a call that was rate limited.
    let limited = fault.name.starts_with("429");
    if writes && !lags && !limited {
        assert_eq!(fake.count(row.method, row.path), 1, "{case}: sent once");
    }
    let [by_read, by_write, by_login] = fault.kinds;
    let expected = match row.nature {
        Nature::Read => by_read,
        Nature::Write => by_write,
        Nature::Login => by_login,
        Nature::Quiet => None,
    };
    let mut human = false;
    match (result, expected) {
        (Err(failed), expected) => {
            let failed = error::<()>(Err(failed));
            assert!(failed.what.len() < 1000, "{case}: {failed}");
            assert!(
                failed
                    .retry_after
                    .is_none_or(|wait| wait <= Duration::from_secs(300)),
                "{case}"
            );
            assert!(
                expected.is_none_or(|kind| kind == failed.kind),
                "{case}: {:?} {failed}",
                failed.kind
            );
            // What was lost on its way out cannot be unwrapped again.
            human = failed.kind == Unauthorized || row.path == UNWRAP;
            // A wish is respected, and a test has no time for the longest.
            human |= failed.retry_after > Some(Duration::from_secs(30));
        }
        (Ok(()), Some(kind)) => panic!("{case}: it succeeded, where {kind:?} is due"),
        (Ok(()), None) => {}
    }
    broken.store(false, Ordering::SeqCst);
    let deadline = Instant::now() + Duration::from_secs(60);
    if human {
        return;
    }
    loop {
        match (row.run)(vault.clone()).await {
            Ok(()) => return,
            Err(failed) => assert!(
                Instant::now() < deadline,
                "{case}: it does not heal: {failed}"
            ),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_refused_connection_is_transient_for_every_call() {
    let dead = nobody().await;
    for row in &ROWS {
        let folder = tempfile::tempdir().unwrap();
        let vault = Vault::new(VaultOptions {
            login: (row.login)(folder.path()),
            ..options(&[&dead])
        });
        let failed = error((row.run)(vault.unwrap()).await);
        assert_eq!(
            failed.kind, Transient,
            "{} {}: {failed}",
            row.method, row.path
        );
    }
}

#[tokio::test]
async fn a_lease_of_any_length_is_no_panic() {
    for (path, body) in [
        (
            "/v1/auth/token/lookup-self",
            json!({"data": {"ttl": u64::MAX, "renewable": true}}),
        ),
        (
            "/v1/auth/approle/login",
            json!({"auth": {"client_token": CANARY, "lease_duration": u64::MAX, "renewable": true}}),
        ),
    ] {
        let fake = Fake::new(move |seen| match seen.path == path {
            true => reply(200, body.to_string()),
            false => good(seen),
        })
        .await;
        let login = if path.contains("approle") {
            by_role
        } else {
            by_token
        };
        let options = VaultOptions {
            login: login(Path::new("")),
            ..options(&[&fake.url])
        };
        read(Vault::new(options).unwrap()).await.unwrap();
    }
}

#[test]
fn the_table_knows_every_call() {
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    for row in &ROWS {
        *known.entry(row.file.to_owned()).or_default() += 1;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/vault");
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        // `wire.rs` defines the constructors, and asks for health on its own.
        if !name.ends_with(".rs") || name == "wire.rs" || name == "tests.rs" {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let made = ["Call::get(", "Call::post(", "Call::form("];
        let made: usize = made.iter().map(|word| text.matches(word).count()).sum();
        let rows = known.get(&name).copied().unwrap_or_default();
        assert_eq!(
            made, rows,
            "{name} makes {made} calls, and the table of faults has {rows}"
        );
    }
}
