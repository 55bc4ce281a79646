//! The Vault client against a real OpenBao: the two KV engines, the journal, logins, and what goes wrong.

use std::time::{Duration, Instant};

use dtrotate::http::{self, Trust};
use dtrotate::vault::{
    Credential, Down, Engine, Health, KvJournal, KvSecrets, Login, Vault, VaultOptions,
};
use reqwest::Method;
use rotation::error::{CallError, ErrorKind};
use rotation::marker::Epoch;
use rotation::plan::{Coordinates, Kind, Place};
use rotation::ports::{Journal, JournalRead, SecretData, SecretPath, SecretRead, SecretStore};
use rotation::record::Record;
use rotation::size;
use rotation::token::TokenValue;
use serde_json::{Map, Value, json};

use crate::openbao::{Api, OpenBao};

pub fn options(bao: &OpenBao, token: &str) -> VaultOptions {
    VaultOptions {
        addresses: vec![bao.address.parse().expect("an address")],
        namespace: None,
        http: http::Options {
            trust: Trust {
                only: bao.ca_file.clone(),
                extra: None,
            },
            timeout: Duration::from_secs(10),
            ..http::Options::default()
        },
        login: Login::Token(Credential::variable("VAULT_TOKEN", token)),
    }
}

pub fn connect(options: VaultOptions) -> Vault {
    Vault::new(options).expect("options that fit")
}

/// A token with these rules alone, and with what every daemon's policy has.
async fn token(root: &Api, rules: &str) -> String {
    let own = r#"path "auth/token/lookup-self" { capabilities = ["read"] }"#;
    root.write_policy("test", &format!("{rules}\n{own}")).await;
    root.periodic_token(&["test"], "60s").await
}

/// A token that may do everything below these mounts.
async fn free_token(root: &Api, mounts: &[&str]) -> String {
    let rule = |mount: &&str| {
        format!(r#"path "{mount}/*" {{ capabilities = ["create", "read", "update", "list"] }}"#)
    };
    let rules: Vec<String> = mounts.iter().map(rule).collect();
    token(root, &rules.join("\n")).await
}

pub fn at(mount: &str, path: &str) -> SecretPath {
    SecretPath {
        mount: mount.to_owned(),
        path: path.to_owned(),
    }
}

fn data(value: Value) -> SecretData {
    match value {
        Value::Object(map) => SecretData(map),
        other => panic!("no object: {other}"),
    }
}

/// What is there: its version and content.
async fn there(store: &KvSecrets, at: &SecretPath) -> (u64, Value) {
    match store.read(at).await.expect("a read") {
        SecretRead::Present { version, data } => (version, Value::Object(data.0.clone())),
        SecretRead::Deleted { version } => panic!("version {version} is deleted"),
        SecretRead::Absent => panic!("absent"),
    }
}

pub fn kind<T>(result: Result<T, CallError>) -> ErrorKind {
    result.err().expect("an error").kind
}

/// Waits until `done`, at most as long as a slow machine may need.
pub async fn eventually(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn kv2_versions_are_read_and_written_with_check_and_set() {
    let bao = OpenBao::dev().await;
    let root = bao.root();
    let token = free_token(&root, &["secret"]).await;
    let store = KvSecrets::new(connect(options(&bao, &token)));
    let app = at("secret", "team x/app#1");
    assert_eq!(store.has_history(&app).await, Ok(true));
    assert!(matches!(store.read(&app).await, Ok(SecretRead::Absent)));
    assert_eq!(
        kind(store.write(&app, 1, &data(json!({"a": "1"}))).await),
        ErrorKind::Conflict
    );

    let others = json!({"token": "old", "n": 7, "b": true, "nil": null, "list": [1, {"x": "y"}], "ä": "ö\n\""});
    assert_eq!(store.write(&app, 0, &data(others.clone())).await, Ok(1));
    let (version, found) = there(&store, &app).await;
    assert_eq!((version, &found), (1, &others));
    let mut changed = data(found);
    changed.set(&["token".to_owned()], &TokenValue::new("new"));
    assert_eq!(store.write(&app, 1, &changed).await, Ok(2));
    let mut expected = others.clone();
    expected["token"] = json!("new");
    let kept = root.secret("secret", "team%20x/app%231").await.expect("it");
    assert_eq!((kept.version, &kept.data), (2, &expected));

    assert_eq!(
        kind(store.write(&app, 1, &changed).await),
        ErrorKind::Conflict
    );
    assert_eq!(
        kind(store.write(&app, 0, &changed).await),
        ErrorKind::Conflict
    );
    match store.read_version(&app, 1).await {
        Ok(SecretRead::Present { version: 1, data }) => {
            assert_eq!(Value::Object(data.0.clone()), others);
        }
        _ => panic!("version 1 is not there"),
    }
    for absent in [0, 99] {
        let read = store.read_version(&app, absent).await;
        assert!(matches!(read, Ok(SecretRead::Absent)), "{absent}");
    }
}

#[tokio::test]
async fn kv2_deleted_versions_tell_where_the_counter_stands() {
    let bao = OpenBao::dev().await;
    let root = bao.root();
    let token = free_token(&root, &["secret"]).await;
    let store = KvSecrets::new(connect(options(&bao, &token)));
    let app = at("secret", "app");
    root.put("secret", "app", json!({"token": "1"})).await;
    root.put("secret", "app", json!({"token": "2"})).await;
    root.delete("secret", "app").await;
    root.destroy("secret", "app", &[1]).await;
    let deleted = store.read(&app).await;
    assert!(matches!(deleted, Ok(SecretRead::Deleted { version: 2 })));
    let destroyed = store.read_version(&app, 1).await;
    assert!(matches!(destroyed, Ok(SecretRead::Deleted { version: 1 })));
    let again = data(json!({"token": "3"}));
    assert_eq!(
        kind(store.write(&app, 0, &again).await),
        ErrorKind::Conflict
    );
    assert_eq!(store.write(&app, 2, &again).await, Ok(3));

    let null = json!({ "data": null });
    root.ok(Method::POST, "secret/data/null", null).await;
    assert_eq!(there(&store, &at("secret", "null")).await, (1, json!({})));
}

#[tokio::test]
async fn kv1_is_compared_by_its_content() {
    let bao = OpenBao::dev().await;
    let root = bao.root();
    let mount = json!({"type": "kv", "options": {"version": "1"}});
    root.ok(Method::POST, "sys/mounts/old", mount).await;
    let token = free_token(&root, &["old"]).await;
    let vault = connect(options(&bao, &token));
    assert_eq!(vault.engine("old").await, Ok(Engine::V1));
    let store = KvSecrets::new(vault);
    let app = at("old", "team/app");
    assert_eq!(store.has_history(&app).await, Ok(false));
    assert!(matches!(store.read(&app).await, Ok(SecretRead::Absent)));

    let others = json!({"token": "old", "n": 7, "deep": {"x": ["y"]}});
    root.put_v1("old", "team/app", others.clone()).await;
    let (first, found) = there(&store, &app).await;
    assert_eq!(found, others);
    let mut changed = data(found);
    changed.set(&["token".to_owned()], &TokenValue::new("new"));
    let second = store.write(&app, first, &changed).await.expect("a write");
    assert_ne!(first, second);
    let mut expected = others;
    expected["token"] = json!("new");
    assert_eq!(root.secret_v1("old", "team/app").await, Some(expected));
    assert_eq!(there(&store, &app).await.0, second);

    assert_eq!(
        kind(store.write(&app, first, &changed).await),
        ErrorKind::Conflict
    );
    assert_eq!(
        kind(store.write(&app, 0, &changed).await),
        ErrorKind::Conflict
    );
    let known = store.read_version(&app, second).await;
    assert!(matches!(known, Ok(SecretRead::Present { .. })));
    let past = store.read_version(&app, first).await;
    assert!(matches!(past, Ok(SecretRead::Absent)));
}

#[tokio::test]
async fn a_mount_that_is_not_what_the_configuration_says_is_refused_with_the_reason() {
    let bao = OpenBao::dev().await;
    let root = bao.root();
    let kv2 = json!({"type": "kv", "options": {"version": "2"}});
    root.ok(Method::POST, "sys/mounts/team/kv", kv2).await;
    let token = token(
        &root,
        r#"path "team/kv/*" { capabilities = ["read"] } path "sys/*" { capabilities = ["read"] }"#,
    )
    .await;
    let vault = connect(options(&bao, &token));
    assert_eq!(vault.engine("team/kv").await, Ok(Engine::V2));
    for (mount, reason) in [
        ("team/kv/sub", "write mount = \"team/kv\""),
        ("nosuch", "no such mount"),
        ("secret", "no right to any path below secret/"),
        ("sys", "not kv"),
    ] {
        let error = vault.engine(mount).await.expect_err(mount);
        assert_eq!(error.kind, ErrorKind::Refused, "{error}");
        assert!(error.what.contains(reason), "{mount}: {error}");
    }
}

#[tokio::test]
async fn what_the_policy_denies_is_refused_by_path_and_told_by_capabilities() {
    let bao = OpenBao::dev().await;
    let root = bao.root();
    root.put("secret", "mine", json!({"token": "1"})).await;
    let token = token(
        &root,
        r#"path "secret/data/mine" { capabilities = ["read"] }
           path "sys/capabilities-self" { capabilities = ["update"] }"#,
    )
    .await;
    let vault = connect(options(&bao, &token));
    let store = KvSecrets::new(vault.clone());
    let mine = at("secret", "mine");
    assert!(store.read(&mine).await.is_ok());
    let write = store
        .write(&mine, 1, &data(json!({})))
        .await
        .expect_err("403");
    assert_eq!(write.kind, ErrorKind::Refused);
    let line = r#"path "secret/data/mine" { capabilities = ["create", "update"] }"#;
    assert!(write.what.contains(line), "{write}");
    let read = store
        .read(&at("secret", "theirs"))
        .await
        .err()
        .expect("403");
    assert!(read.what.contains("secret/data/theirs"), "{read}");
    assert_eq!(*vault.health().borrow(), Health::Available);

    let paths = [Engine::V2.data_path(&mine), "secret/data/theirs".to_owned()];
    let rights = vault.capabilities(&paths).await.expect("capabilities");
    assert_eq!(rights[&paths[0]], ["read"]);
    assert_eq!(rights[&paths[1]], ["deny"]);
}

#[tokio::test]
async fn a_namespace_is_a_world_of_its_own() {
    let bao = OpenBao::dev().await;
    let root = bao.root();
    root.create_namespace("team1").await;
    let inside = root.in_namespace("team1");
    let kv2 = json!({"type": "kv", "options": {"version": "2"}});
    inside.ok(Method::POST, "sys/mounts/kv", kv2).await;
    let token = free_token(&inside, &["kv"]).await;
    let with = |namespace: &str| VaultOptions {
        namespace: Some(namespace.to_owned()),
        ..options(&bao, &token)
    };
    let vault = connect(with("team1"));
    assert_eq!(vault.probe().await, Health::Available);
    let store = KvSecrets::new(vault);
    let app = at("kv", "app");
    eventually("the new mount is ready", async || {
        store.write(&app, 0, &data(json!({"a": "1"}))).await == Ok(1)
    })
    .await;
    assert!(inside.secret("kv", "app").await.is_some());

    let wrong = KvSecrets::new(connect(with("nosuch")));
    let error = wrong.read(&app).await.err().expect("no such namespace");
    assert_eq!(error.kind, ErrorKind::Unauthorized);
    assert!(error.what.contains("namespace"), "{error}");
}

#[tokio::test]
async fn a_wrong_token_is_unauthorized_and_told() {
    let bao = OpenBao::dev().await;
    let vault = connect(options(&bao, "hvs.nobody-knows-this-token"));
    let error = KvSecrets::new(vault.clone()).read(&at("secret", "a")).await;
    let error = error.err().expect("403");
    assert_eq!(error.kind, ErrorKind::Unauthorized);
    assert!(!error.what.contains("nobody-knows"), "{error}");
    match vault.probe().await {
        Health::Unavailable { reason, .. } => assert_eq!(reason, Down::TokenRefused),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn sealed_and_gone_are_transient_and_heal_by_themselves() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bao = OpenBao::raft_tls(folder.path()).await;
    let root = bao.root();
    let kv2 = json!({"type": "kv", "options": {"version": "2"}});
    root.ok(Method::POST, "sys/mounts/kv", kv2).await;
    let token = free_token(&root, &["kv"]).await;
    let vault = connect(options(&bao, &token));
    let store = KvSecrets::new(vault.clone());
    let app = at("kv", "app");
    let one = data(json!({"token": "1"}));
    eventually("the first write", async || {
        store.write(&app, 0, &one).await == Ok(1)
    })
    .await;

    let reason = async || match vault.probe().await {
        Health::Unavailable { reason, .. } => Some(reason),
        _ => None,
    };
    bao.seal().await;
    eventually("it is sealed", async || {
        kind(store.read(&app).await) == ErrorKind::Transient && reason().await == Some(Down::Sealed)
    })
    .await;
    assert_eq!(kind(store.write(&app, 1, &one).await), ErrorKind::Transient);
    bao.kill();
    assert_eq!(reason().await, Some(Down::Unreachable));
    assert_eq!(kind(store.write(&app, 1, &one).await), ErrorKind::Transient);
    bao.start_again().await;
    bao.unseal().await;
    eventually("it heals", async || reason().await.is_none()).await;
    assert_eq!(store.write(&app, 1, &one).await, Ok(2));
    assert_eq!(there(&store, &app).await.0, 2);

    // Nobody trusts the server's CA without `ca_file`.
    let strangers = connect(VaultOptions {
        http: http::Options {
            section: "[vault]".to_owned(),
            trust: Trust::default(),
            ..options(&bao, &token).http
        },
        ..options(&bao, &token)
    });
    let error = KvSecrets::new(strangers)
        .read(&app)
        .await
        .err()
        .expect("TLS");
    assert_eq!(error.kind, ErrorKind::Transient);
    assert!(error.what.contains("certificate"), "{error}");
    assert!(error.what.contains("set ca_file in [vault]"), "{error}");
}

fn coordinates() -> Coordinates {
    Place {
        mount: "secret".into(),
        fields: vec!["token".into()],
        environment: "prod".into(),
        base_url: "https://abc12345.live.dynatrace.com".into(),
        kind: Kind::Api,
    }
    .at("dynatrace/app")
}

fn record(name: &str) -> Record {
    let mut unknown = Map::new();
    unknown.insert("of_a_newer_version".into(), json!({"x": [1, "y"]}));
    let epoch = Epoch {
        installation: "k3v9aa".into(),
        secret: "a7q2".into(),
    };
    let adopted = "2026-11-24T00:00:00Z".parse().expect("a time");
    let mut record = Record::blank(name, epoch, coordinates(), adopted);
    record.write_id = "w1".into();
    record.attempts.attempt = u64::MAX - 1;
    record.unknown = unknown;
    record
}

#[tokio::test]
async fn the_journal_keeps_records_under_the_shipped_policy() {
    let bao = OpenBao::dev().await;
    let root = bao.root();
    root.write_shipped_policy().await;
    let token = root.periodic_token(&["dtrotate"], "60s").await;
    let vault = connect(options(&bao, &token));
    let journal = KvJournal::new(vault.clone(), "secret", "dtrotate/journal");
    assert_eq!(journal.list().await, Ok(Vec::new()));

    let others = (0..8).map(|_| {
        let vault = connect(options(&bao, &token));
        let journal = KvJournal::new(vault, "secret", "dtrotate/journal");
        async move { journal.installation().await }
    });
    let ids = futures_util::future::join_all(others).await;
    let id = journal.installation().await.expect("an id");
    assert!(
        id.len() == 6
            && id
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    );
    assert!(ids.iter().all(|other| other.as_ref() == Ok(&id)), "{ids:?}");

    let name = "dynatrace/a b#ü";
    let absent = journal.read(name).await.expect("a read");
    assert!(matches!(absent, JournalRead::Absent { cas: 0 }));
    let mut written = record(name);
    assert_eq!(journal.write(name, 0, &written).await, Ok(1));
    assert_eq!(
        kind(journal.write(name, 0, &written).await),
        ErrorKind::Conflict
    );
    written.write_id = "w2".into();
    assert_eq!(journal.write(name, 1, &written).await, Ok(2));
    match journal.read(name).await.expect("a read") {
        JournalRead::Present { version: 2, record } => assert_eq!(*record, written),
        other => panic!("{other:?}"),
    }
    journal.write("plain", 0, &written).await.expect("a write");
    let mut names = journal.list().await.expect("a listing");
    names.sort();
    assert_eq!(names, [name, "plain"]);

    let place = journal.at("plain");
    assert_eq!(place.path, "dtrotate/journal/plain");
    root.delete("secret", &place.path).await;
    let deleted = journal.read("plain").await.expect("a read");
    assert!(matches!(deleted, JournalRead::Absent { cas: 1 }));
    root.put("secret", &place.path, json!({"schema": 99})).await;
    match journal.read("plain").await.expect("a read") {
        JournalRead::Unreadable { why } => assert!(why.contains("99"), "{why}"),
        other => panic!("{other:?}"),
    }
}

/// The bound that the writer keeps is one that a server with raft storage accepts, however much of the document it escapes.
#[tokio::test]
async fn k7_the_largest_document_is_accepted_by_raft_storage() {
    let folder = tempfile::tempdir().expect("a folder");
    let bao = OpenBao::raft_tls(folder.path()).await;
    let root = bao.root();
    root.mount_kv("secret", 2).await;
    root.write_shipped_policy().await;
    let token = root.periodic_token(&["dtrotate"], "60s").await;
    let vault = connect(options(&bao, &token));
    let journal = KvJournal::new(vault, "secret", "dtrotate/journal");
    let bytes = |record: &Record| size::stored(&serde_json::to_string(record).expect("a record"));

    // A token of 10,000 scopes.
    let mut wide = record("wide");
    let current = json!({"id": "dt0c01.A", "name_base": "n", "version": 7, "marked": true,
        "scopes": (0..10_000).map(|n| format!("scope.number{n}.read")).collect::<Vec<_>>()});
    wide.current = serde_json::from_value(current).expect("a token");
    assert_eq!(journal.write("wide", 0, &wide).await, Ok(1));

    for (number, filler) in ["x", "\"", "<", "ä"].into_iter().enumerate() {
        let name = format!("large{number}");
        let filled = |length: usize| {
            let mut record = record(&name);
            let filler = Value::from(filler.repeat(length));
            record.unknown.insert("of_a_newer_version".into(), filler);
            record
        };
        let each = bytes(&filled(2)) - bytes(&filled(1));
        let most = (size::LARGEST - bytes(&filled(0))) / each;
        assert_eq!(
            journal.write(&name, 0, &filled(most)).await,
            Ok(1),
            "{filler}"
        );
        let more = journal.write(&name, 1, &filled(most + 1)).await;
        let error = more.expect_err("too large");
        assert_eq!(error.kind, ErrorKind::Refused);
        assert!(error.what.contains("at most 1000000"), "{error}");
    }
}
