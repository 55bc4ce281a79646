//! The simulator's KV stand-in keeps to what the real OpenBao does: the same calls are made to both, and their answers must be the same,
//! but for what differs between any two servers (times, ids). What the stand-in cannot do is not asked here.

use reqwest::Method;
use serde_json::{Value, json};
use simulator::{AppRole, KvOptions, Options, PolicyRule, Simulator};

use crate::openbao::{Api, OpenBao, client};

/// Both servers, in the same state.
struct Both {
    vault: OpenBao,
    simulator: Simulator,
    real: Api,
    stand_in: Api,
}

/// A role with some rights, for logging in.
const ROLE_RIGHTS: [(&str, &[&str]); 4] = [
    ("secret/data/team/*", &["create", "read", "update"]),
    ("secret/metadata/team/*", &["list", "read"]),
    ("auth/token/lookup-self", &["read"]),
    ("sys/capabilities-self", &["update"]),
];

impl Both {
    async fn new() -> Both {
        let vault = OpenBao::dev().await;
        let rules = ROLE_RIGHTS.map(|(path, rights)| PolicyRule::new(path, rights));
        let options = Options {
            kv: KvOptions {
                app_role: AppRole {
                    policy: rules.to_vec(),
                    ..AppRole::default()
                },
                ..KvOptions::default()
            },
            ..Options::default()
        };
        let simulator = Simulator::start(options).await.expect("the simulator");
        let kv = simulator.kv();
        let real = vault.root();
        real.mount_kv("dtrotate", 2).await;
        Both {
            stand_in: Api::new(client(None), kv.url(), &kv.root_token()),
            real,
            vault,
            simulator,
        }
    }

    /// Tokens of a role with the same rights on both sides.
    async fn log_in(&self) -> (Api, Api) {
        self.real.enable_approle().await;
        let rules = ROLE_RIGHTS.map(|(path, rights)| {
            format!("path \"{path}\" {{ capabilities = {} }}\n", json!(rights))
        });
        self.real.write_policy("team", &rules.concat()).await;
        let role_id = self.real.approle_role("team", &["team"], "1h").await;
        let secret_id = self.real.approle_secret_id("team").await;
        let real = json!({ "role_id": role_id, "secret_id": secret_id });
        let kv = self.simulator.kv();
        let stand_in = json!({ "role_id": kv.role_id(), "secret_id": kv.secret_id() });
        let log_in = async |api: &Api, body: Value| {
            let reply = api.ok(Method::POST, "auth/approle/login", body).await;
            let token = reply["auth"]["client_token"].as_str().expect("a token");
            api.with_token(token)
        };
        (
            log_in(&self.real, real).await,
            log_in(&self.stand_in, stand_in).await,
        )
    }
}

/// Makes the calls and tells what came of each.
async fn talk(api: &Api, calls: &[(&str, &str, Value)]) -> Vec<String> {
    let mut told = Vec::new();
    for (method, path, body) in calls {
        let reply = api
            .raw(method.parse().expect("a method"), path, body.clone())
            .await;
        told.push(format!(
            "{method} {path} {body}: {} {}",
            reply.status,
            essence(&reply.body)
        ));
    }
    told
}

/// What a client looks at: errors, warnings and data, without what differs from server to server.
fn essence(body: &Value) -> Value {
    let mut essence =
        json!({ "errors": body["errors"], "warnings": body["warnings"], "data": body["data"] });
    mask(&mut essence);
    essence
}

fn mask(value: &mut Value) {
    // Fields that OpenBao has and HashiCorp's Vault has not, and others that nobody here reads.
    const IGNORED: [&str; 9] = [
        "accessor",
        "config",
        "current_metadata_version",
        "deprecation_status",
        "description",
        "metadata_cas_required",
        "plugin_version",
        "running_plugin_version",
        "running_sha256",
    ];
    match value {
        Value::Object(map) => {
            map.retain(|key, _| !IGNORED.contains(&key.as_str()) && key != "uuid");
            for (key, inner) in map.iter_mut() {
                let time =
                    key.ends_with("_time") && inner.as_str().is_some_and(|text| !text.is_empty());
                if time {
                    *inner = json!("a time");
                }
                mask(inner);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask),
        _ => {}
    }
}

#[track_caller]
fn assert_same(real: &[String], stand_in: &[String]) {
    let pairs = real.iter().zip(stand_in);
    let differ: Vec<String> = pairs
        .filter(|(real, stand_in)| real != stand_in)
        .map(|(real, stand_in)| format!("OpenBao:  {real}\nstand-in: {stand_in}\n"))
        .collect();
    assert!(differ.is_empty(), "{}", differ.join("\n"));
    assert_eq!(real.len(), stand_in.len());
}

#[tokio::test]
async fn the_stand_in_answers_as_openbao_does() {
    let both = Both::new().await;
    let cas = |cas: Value, data: Value| json!({ "options": { "cas": cas }, "data": data });
    let write = |path: &'static str, at: Value| {
        (
            "POST",
            path,
            cas(at, json!({ "token": "t", "n": { "m": [1] } })),
        )
    };
    let get = |path: &'static str| ("GET", path, Value::Null);
    let versions = |list: &[u64]| json!({ "versions": list });
    let none = Value::Null;
    let calls = [
        get("secret/data/a"),
        get("secret/metadata/a"),
        write("secret/data/a", json!(1)),
        write("secret/data/a", json!(0)),
        write("secret/data/a", json!(0)),
        write("secret/data/a", json!("1")),
        write("secret/data/a", json!(-1)),
        write("secret/data/a", json!("x")),
        write("secret/data/a", json!(1.5)),
        write("secret/data/a", none.clone()),
        ("POST", "secret/data/a", json!({ "cas": 0, "data": {} })),
        ("POST", "secret/data/a", json!({})),
        ("POST", "secret/data/a", json!({ "data": "text" })),
        ("POST", "secret/data/a", json!({ "data": null })),
        get("secret/data/a"),
        (
            "PUT",
            "secret/data/a",
            json!({ "data": { "big": 12_345_678_901_234_567_890_u64 } }),
        ),
        get("secret/data/a"),
        get("secret/data/a?version=1"),
        get("secret/data/a?version=0"),
        get("secret/data/a?version=-1"),
        get("secret/data/a?version=99"),
        get("secret/data/a?version=abc"),
        ("DELETE", "secret/data/a", none.clone()),
        get("secret/data/a"),
        write("secret/data/a", json!(0)),
        ("POST", "secret/undelete/a", versions(&[5])),
        get("secret/data/a"),
        ("POST", "secret/delete/a", versions(&[1, 2])),
        ("PUT", "secret/destroy/a", versions(&[2])),
        get("secret/data/a?version=1"),
        get("secret/data/a?version=2"),
        get("secret/metadata/a"),
        ("DELETE", "secret/data/nosuch", none.clone()),
        ("POST", "secret/metadata/a", json!({ "max_versions": 2 })),
        write("secret/data/a", json!(5)),
        get("secret/data/a?version=1"),
        get("secret/metadata/a"),
        ("POST", "secret/metadata/a", json!({ "cas_required": true })),
        ("POST", "secret/data/a", json!({ "data": {} })),
        ("DELETE", "secret/metadata/a", none.clone()),
        get("secret/data/a"),
        write("secret/data/a", json!(0)),
        write("secret/data/deep/er/x%20y", json!(0)),
        get("secret/data/deep/er/x%20y"),
        get("secret/metadata?list=true"),
        get("secret/metadata/deep?list=true"),
        get("secret/metadata/nosuch?list=true"),
        ("LIST", "secret/metadata/deep", none.clone()),
        write("dtrotate/data/journal/_x", json!(0)),
        get("dtrotate/data/journal/_x"),
        get("nosuch/data/a"),
        get("secret/a"),
        get("sys/internal/ui/mounts/secret"),
        get("sys/internal/ui/mounts/nosuch"),
        (
            "POST",
            "sys/capabilities-self",
            json!({ "paths": ["secret/data/a"] }),
        ),
        ("POST", "sys/capabilities-self", json!({ "paths": [] })),
    ];
    assert_same(
        &talk(&both.real, &calls).await,
        &talk(&both.stand_in, &calls).await,
    );
    let (real, stand_in) = both.log_in().await;
    let calls = [
        get("secret/data/team/a"),
        write("secret/data/team/a", json!(0)),
        get("secret/data/team/a"),
        get("secret/metadata/team/a"),
        get("secret/metadata/team?list=true"),
        ("DELETE", "secret/data/team/a", none.clone()),
        ("POST", "secret/destroy/team/a", versions(&[1])),
        get("secret/data/a"),
        write("secret/data/a", json!(1)),
        get("secret/metadata?list=true"),
        get("nosuch/data/a"),
        get("sys/internal/ui/mounts/secret"),
        get("sys/internal/ui/mounts/dtrotate"),
        (
            "POST",
            "sys/capabilities-self",
            json!({ "paths": ["secret/data/team/a", "secret/metadata/team/", "secret/metadata/team", "secret/data/a"] }),
        ),
        ("POST", "auth/token/renew-self", json!({})),
        ("POST", "auth/token/revoke-self", json!({})),
    ];
    assert_same(&talk(&real, &calls).await, &talk(&stand_in, &calls).await);
    for token in ["", "s.nonsense"] {
        let calls = [get("secret/data/a"), get("auth/token/lookup-self")];
        assert_same(
            &talk(&both.real.with_token(token), &calls).await,
            &talk(&both.stand_in.with_token(token), &calls).await,
        );
    }
    let wrong = [
        (
            "POST",
            "auth/approle/login",
            json!({ "role_id": "x", "secret_id": "y" }),
        ),
        ("POST", "auth/approle/login", json!({ "role_id": "x" })),
        (
            "POST",
            "auth/nosuch/login",
            json!({ "role_id": "x", "secret_id": "y" }),
        ),
    ];
    let nobody = [both.real.with_token(""), both.stand_in.with_token("")];
    assert_same(
        &talk(&nobody[0], &wrong).await,
        &talk(&nobody[1], &wrong).await,
    );
    both.vault.seal().await;
    both.simulator.kv().set_sealed(true);
    let calls = [get("secret/data/a")];
    assert_same(
        &talk(&both.real, &calls).await,
        &talk(&both.stand_in, &calls).await,
    );
    assert_eq!(both.real.health().await, both.stand_in.health().await);
}
