//! The KV stand-in, with the statuses and texts seen on OpenBao 2.7.2.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Value, json};
use simulator::{AppRole, KvChangeKind, KvOptions, Operation, Options, PolicyRule};

use crate::client::{Answer, World, world, world_with};

const MISMATCH: &str = "check-and-set parameter did not match the current version";

async fn root(world: &World, method: &str, path: &str, body: Option<Value>) -> Answer {
    world
        .vault(&world.kv.root_token(), method, path, body)
        .await
}

fn errors(answer: &Answer) -> Vec<String> {
    serde_json::from_value(answer.json()["errors"].clone()).expect("errors")
}

async fn login(world: &World) -> Answer {
    let body = json!({ "role_id": world.kv.role_id(), "secret_id": world.kv.secret_id() });
    world
        .vault("", "POST", "auth/approle/login", Some(body))
        .await
}

#[tokio::test]
async fn check_and_set_guards_a_write() {
    let world = world().await;
    let write = async |body: Value| root(&world, "POST", "secret/data/x", Some(body)).await;
    let with = |cas: Value| json!({ "options": { "cas": cas }, "data": { "a": "b" } });
    assert_eq!(errors(&write(with(json!(1))).await), [MISMATCH]);
    let first = write(with(json!(0))).await;
    assert_eq!(
        (first.status, &first.json()["data"]["version"]),
        (200, &json!(1))
    );
    assert_eq!(first.json()["data"]["deletion_time"], "");
    for bad in [json!(0), json!(-1), Value::Null, json!(2)] {
        let answer = write(with(bad)).await;
        assert_eq!(
            (answer.status, errors(&answer)),
            (400, vec![MISMATCH.to_owned()])
        );
    }
    for bad in [json!(1.0), json!("x"), json!(true)] {
        let answer = write(with(bad)).await;
        assert_eq!(
            (answer.status, errors(&answer)),
            (
                400,
                vec!["error parsing check-and-set parameter".to_owned()]
            )
        );
    }
    assert_eq!(write(with(json!("1"))).await.status, 200);
    let lost = write(json!({ "cas": 0, "zeta": 1, "data": {} })).await;
    let warning = "Endpoint ignored these unrecognized parameters: [cas zeta]";
    assert_eq!(
        (lost.status, &lost.json()["warnings"]),
        (200, &json!([warning]))
    );
    assert_eq!(
        write(json!({ "options": { "CAS": 0 }, "data": {} }))
            .await
            .json()["warnings"],
        Value::Null
    );
    assert_eq!(errors(&write(json!({})).await), ["no data provided"]);
    assert_eq!(write(json!({ "data": "text" })).await.status, 400);
    assert_eq!(write(json!({ "data": null })).await.status, 200);
    let null = root(&world, "GET", "secret/data/x", None).await;
    assert_eq!(
        (null.status, &null.json()["data"]["data"]),
        (200, &Value::Null)
    );
}

#[tokio::test]
async fn versions_are_read_deleted_and_brought_back() {
    let world = world().await;
    for number in ["1", "2"] {
        world
            .kv
            .put("secret", "x", json!({ "n": number }))
            .expect("a mount");
    }
    let read =
        async |query: &str| root(&world, "GET", &format!("secret/data/x{query}"), None).await;
    assert_eq!(read("").await.json()["data"]["data"]["n"], "2");
    assert_eq!(read("?version=1").await.json()["data"]["data"]["n"], "1");
    for latest in ["?version=0", "?version=-1"] {
        assert_eq!(read(latest).await.json()["data"]["metadata"]["version"], 2);
    }
    assert_eq!(read("?version=9").await.text, "{\"errors\":[]}");
    assert_eq!(read("?version=abc").await.status, 400);

    assert_eq!(
        root(&world, "DELETE", "secret/data/x", None).await.status,
        204
    );
    let gone = read("").await;
    assert_eq!(
        (gone.status, &gone.json()["data"]["data"]),
        (404, &Value::Null)
    );
    assert_eq!(gone.json()["data"]["metadata"]["version"], 2);
    assert_ne!(gone.json()["data"]["metadata"]["deletion_time"], "");
    let again = json!({ "options": { "cas": 0 }, "data": {} });
    assert_eq!(
        root(&world, "POST", "secret/data/x", Some(again))
            .await
            .status,
        400
    );
    let two = json!({ "versions": [2] });
    assert_eq!(
        root(&world, "PUT", "secret/undelete/x", Some(two.clone()))
            .await
            .status,
        204
    );
    assert_eq!(read("").await.status, 200);
    assert_eq!(
        root(
            &world,
            "POST",
            "secret/delete/x",
            Some(json!({ "versions": ["1"] }))
        )
        .await
        .status,
        204
    );
    assert_eq!(read("?version=1").await.status, 404);
    assert_eq!(
        root(&world, "POST", "secret/destroy/x", Some(two))
            .await
            .status,
        204
    );
    let destroyed = read("").await;
    assert_eq!(
        (
            destroyed.status,
            &destroyed.json()["data"]["metadata"]["destroyed"]
        ),
        (404, &json!(true))
    );
    for kind in ["delete", "undelete", "destroy"] {
        let path = format!("secret/{kind}/absent");
        assert_eq!(
            root(&world, "POST", &path, Some(json!({ "versions": [1] })))
                .await
                .status,
            204
        );
        assert_eq!(
            errors(&root(&world, "POST", &path, Some(json!({}))).await),
            ["No version number provided"]
        );
    }
    let kinds: Vec<KvChangeKind> = world
        .kv
        .history()
        .into_iter()
        .skip(2)
        .map(|change| change.kind)
        .collect();
    let (one, two) = (vec![1], vec![2]);
    assert_eq!(
        kinds,
        [
            KvChangeKind::Deleted {
                versions: two.clone()
            },
            KvChangeKind::Undeleted {
                versions: two.clone()
            },
            KvChangeKind::Deleted { versions: one },
            KvChangeKind::Destroyed { versions: two },
        ]
    );
}

#[tokio::test]
async fn metadata_limits_versions_and_demands_check_and_set() {
    let world = world().await;
    let body = json!({ "cas_required": true, "max_versions": 2 });
    assert_eq!(
        root(&world, "POST", "secret/metadata/y/z", Some(body))
            .await
            .status,
        204
    );
    assert_eq!(
        root(&world, "GET", "secret/data/y/z", None).await.text,
        "{\"errors\":[]}"
    );
    let bare = root(
        &world,
        "POST",
        "secret/data/y/z",
        Some(json!({ "data": {} })),
    )
    .await;
    assert_eq!(
        errors(&bare),
        ["check-and-set parameter required for this call"]
    );
    for cas in 0..3 {
        let body = json!({ "options": { "cas": cas }, "data": {} });
        assert_eq!(
            root(&world, "POST", "secret/data/y/z", Some(body))
                .await
                .status,
            200
        );
    }
    assert_eq!(
        root(&world, "GET", "secret/data/y/z?version=1", None)
            .await
            .status,
        404
    );
    let data = root(&world, "GET", "secret/metadata/y/z", None)
        .await
        .json()["data"]
        .clone();
    assert_eq!(
        (&data["current_version"], &data["oldest_version"]),
        (&json!(3), &json!(2))
    );
    assert_eq!(data["versions"].as_object().expect("a map").len(), 2);
    assert_eq!(
        root(&world, "DELETE", "secret/metadata/y/z", None)
            .await
            .status,
        204
    );
    assert_eq!(
        root(&world, "GET", "secret/metadata/y/z", None)
            .await
            .status,
        404
    );
    let anew = json!({ "options": { "cas": 0 }, "data": {} });
    assert_eq!(
        root(&world, "POST", "secret/data/y/z", Some(anew))
            .await
            .json()["data"]["version"],
        1
    );
}

#[tokio::test]
async fn keys_are_listed_by_folder() {
    let world = world().await;
    for path in ["x", "y/z", "y/a/b", "y"] {
        world.kv.put("dtrotate", path, json!({})).expect("a mount");
    }
    for (method, path, keys) in [
        ("LIST", "dtrotate/metadata", json!(["x", "y", "y/"])),
        ("LIST", "dtrotate/metadata/", json!(["x", "y", "y/"])),
        ("GET", "dtrotate/metadata/y?list=true", json!(["a/", "z"])),
    ] {
        assert_eq!(
            root(&world, method, path, None).await.json()["data"]["keys"],
            keys,
            "{path}"
        );
    }
    let none = root(&world, "LIST", "dtrotate/metadata/none", None).await;
    assert_eq!((none.status, none.text.as_str()), (404, "{\"errors\":[]}"));
}

#[tokio::test]
async fn wrong_paths_and_methods_are_refused_as_on_the_real_one() {
    let world = world().await;
    let v1_style = root(&world, "GET", "secret/foo", None).await;
    assert_eq!(v1_style.status, 404);
    assert!(
        v1_style.json()["warnings"][0]
            .as_str()
            .expect("text")
            .starts_with("Invalid path for a versioned")
    );
    let no_mount = root(&world, "GET", "nosuch/data/x", None).await;
    assert_eq!(
        errors(&no_mount),
        ["no handler for route \"nosuch/data/x\". route entry not found."]
    );
    for (method, path, status) in [
        ("POST", "secret/data/t/", 400),
        ("GET", "secret/data/", 404),
        ("GET", "secret/undelete/x", 405),
        ("PATCH", "secret/undelete/x", 405),
        ("HEAD", "secret/data/x", 405),
        ("OPTIONS", "secret/data/x", 400),
        ("COPY", "secret/data/x", 405),
        ("POST", "sys/health", 405),
        ("GET", "sys/capabilities-self", 405),
        ("GET", "sys/nosuch", 404),
        ("GET", "secret/data//x", 307),
        ("GET", "auth/userpass/login/x", 404),
    ] {
        assert_eq!(
            root(&world, method, path, Some(json!({}))).await.status,
            status,
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn only_a_known_token_gets_in() {
    let world = world().await;
    for token in ["", "bad"] {
        for path in ["secret/data/x", "nosuch/x", "auth/token/lookup-self"] {
            let answer = world.vault(token, "GET", path, None).await;
            assert_eq!(
                (answer.status, errors(&answer)),
                (403, vec!["permission denied".to_owned()])
            );
        }
        for path in ["sys/health", "sys/leader", "sys/seal-status"] {
            assert_eq!(
                world.vault(token, "GET", path, None).await.status,
                200,
                "{path}"
            );
        }
    }
    let own = root(&world, "GET", "auth/token/lookup-self", None)
        .await
        .json()["data"]
        .clone();
    assert_eq!(
        (&own["ttl"], &own["expire_time"], &own["renewable"]),
        (&json!(0), &Value::Null, &json!(false))
    );
    let renewed = root(&world, "POST", "auth/token/renew-self", Some(json!({}))).await;
    assert_eq!(
        (renewed.status, errors(&renewed)),
        (400, vec!["lease is not renewable".to_owned()])
    );
}

#[tokio::test]
async fn a_role_logs_in_renews_and_ends() {
    let mut options = Options::default();
    options.kv.app_role.ttl = Duration::from_secs(60);
    options.kv.app_role.max_ttl = Duration::from_secs(120);
    let world = world_with(options).await;
    for (body, text) in [
        (
            json!({ "role_id": "a", "secret_id": "b" }),
            "invalid role or secret ID",
        ),
        (
            json!({ "role_id": world.kv.role_id(), "secret_id": "b" }),
            "invalid role or secret ID",
        ),
        (
            json!({ "role_id": world.kv.role_id() }),
            "missing secret_id",
        ),
    ] {
        let answer = world
            .vault("", "POST", "auth/approle/login", Some(body))
            .await;
        assert_eq!(
            (answer.status, errors(&answer)),
            (400, vec![text.to_owned()])
        );
    }
    let auth = login(&world).await.json()["auth"].clone();
    assert_eq!(
        (&auth["lease_duration"], &auth["renewable"]),
        (&json!(60), &json!(true))
    );
    let token = auth["client_token"].as_str().expect("text");
    let lookup = async || {
        world
            .vault(token, "GET", "auth/token/lookup-self", None)
            .await
    };
    assert!(
        lookup().await.json()["data"]["ttl"]
            .as_i64()
            .expect("a number")
            > 50
    );
    let renew = async |body: Value| {
        let answer = world
            .vault(token, "POST", "auth/token/renew-self", Some(body))
            .await
            .json();
        (
            answer["auth"]["lease_duration"].as_i64(),
            !answer["warnings"].is_null(),
        )
    };
    assert_eq!(renew(json!({})).await, (Some(60), false));
    assert_eq!(renew(json!({ "increment": 30 })).await, (Some(30), false));
    assert_eq!(
        renew(json!({ "increment": "600s" })).await,
        (Some(120), true)
    );
    world
        .simulator
        .set_clock_offset(SignedDuration::from_secs(121));
    assert_eq!(lookup().await.status, 403);
    world.simulator.set_clock_offset(SignedDuration::ZERO);
    let second = login(&world).await.json();
    let second = second["auth"]["client_token"].as_str().expect("text");
    world.kv.revoke_tokens();
    assert_eq!(
        world
            .vault(second, "GET", "secret/data/x", None)
            .await
            .status,
        403
    );
    assert_eq!(world.kv.count(Operation::Login), 5);
}

#[tokio::test]
async fn a_policy_limits_a_role() {
    let policy = vec![
        PolicyRule::new("secret/data/*", &["read", "update", "create"]),
        PolicyRule::new("secret/data/closed", &["deny"]),
        PolicyRule::new("secret/data/fixed", &["read", "update"]),
        PolicyRule::new("sys/capabilities-self", &["update"]),
    ];
    let options = Options {
        kv: KvOptions {
            app_role: AppRole {
                policy,
                ..AppRole::default()
            },
            ..KvOptions::default()
        },
        ..Options::default()
    };
    let world = world_with(options).await;
    let auth = login(&world).await.json()["auth"].clone();
    let token = auth["client_token"].as_str().expect("text");
    let denied = "1 error occurred:\n\t* permission denied\n\n";
    let data = || Some(json!({ "data": {} }));
    for (method, path, body) in [
        ("GET", "secret/metadata/x", None),
        ("LIST", "secret/metadata/", None),
        ("DELETE", "secret/data/x", None),
        ("GET", "secret/data/closed", None),
        ("POST", "secret/data/fixed", data()),
        ("GET", "dtrotate/data/x", None),
        ("GET", "nosuch/x", None),
    ] {
        let answer = world.vault(token, method, path, body).await;
        assert_eq!(
            (answer.status, errors(&answer)),
            (403, vec![denied.to_owned()]),
            "{method} {path}"
        );
    }
    assert_eq!(
        world
            .vault(token, "POST", "secret/data/x", data())
            .await
            .status,
        200
    );
    world.kv.put("secret", "fixed", json!({})).expect("a mount");
    assert_eq!(
        world
            .vault(token, "POST", "secret/data/fixed", data())
            .await
            .status,
        200
    );

    let paths = json!({ "paths": ["secret/data/x", "secret/metadata/x"] });
    let answer = world
        .vault(token, "POST", "sys/capabilities-self", Some(paths))
        .await
        .json();
    assert_eq!(answer["secret/data/x"], json!(["create", "read", "update"]));
    assert_eq!(answer["data"]["secret/metadata/x"], json!(["deny"]));
    let info = async |path: &str| {
        world
            .vault(
                token,
                "GET",
                &format!("sys/internal/ui/mounts/{path}"),
                None,
            )
            .await
    };
    let mount = info("secret/a/b").await.json()["data"].clone();
    assert_eq!(
        (&mount["path"], &mount["options"]["version"]),
        (&json!("secret/"), &json!("2"))
    );
    for path in ["nosuch/a", "dtrotate/a"] {
        let refused = info(path).await;
        let text = format!(
            "preflight capability check returned 403, please ensure client's policies grant access to path \"{path}/\""
        );
        assert_eq!((refused.status, errors(&refused)), (403, vec![text]));
    }
}

#[tokio::test]
async fn sealed_it_says_so_everywhere() {
    let world = world().await;
    world.kv.set_sealed(true);
    for path in [
        "secret/data/x",
        "auth/token/lookup-self",
        "sys/internal/ui/mounts/secret",
    ] {
        let answer = root(&world, "GET", path, None).await;
        assert_eq!(
            (answer.status, errors(&answer)),
            (503, vec!["Vault is sealed".to_owned()])
        );
    }
    let health = root(&world, "GET", "sys/health", None).await;
    assert_eq!(
        (health.status, &health.json()["sealed"]),
        (503, &json!(true))
    );
    assert_eq!(
        root(&world, "GET", "sys/seal-status", None).await.json()["sealed"],
        json!(true)
    );
    world.kv.set_sealed(false);
    assert_eq!(root(&world, "GET", "secret/data/x", None).await.status, 404);
}

#[tokio::test]
async fn one_sequence_orders_tokens_and_secrets() {
    let world = world().await;
    world.kv.put("secret", "x", json!({})).expect("a mount");
    let id = world.management.id.clone();
    world.dynatrace.disable(&id);
    let tokens: Vec<u64> = world
        .dynatrace
        .history()
        .iter()
        .map(|change| change.sequence)
        .collect();
    let secret = world.kv.history()[0].sequence;
    assert!(tokens[0] < secret && secret < tokens[1]);
}
