//! `dtrotate demo`, and that the Vault inside it answers as OpenBao does to the calls that the daemon makes.

use std::process::Stdio;

use reqwest::Method;
use serde_json::{Value, json};
use simulator::{Options, Simulator};

use crate::openbao::{Api, OpenBao, client};
use crate::world::until;

/// What the daemon asks for in the demo, with the refusals that it relies on.
fn calls() -> Vec<(Method, &'static str, Value)> {
    let get = |path| (Method::GET, path, Value::Null);
    let write = |path, cas: u64| {
        let data = json!({ "token": "t", "n": { "m": [1] } });
        (
            Method::POST,
            path,
            json!({ "options": { "cas": cas }, "data": data }),
        )
    };
    vec![
        get("secret/data/a"),
        get("secret/metadata/a"),
        write("secret/data/a", 1),
        write("secret/data/a", 0),
        write("secret/data/a", 0),
        write("secret/data/a", 1),
        (Method::POST, "secret/data/a", json!({})),
        get("secret/data/a"),
        get("secret/data/a?version=1"),
        get("secret/data/a?version=99"),
        get("secret/metadata/a"),
        write("secret/data/deep/er/x%20y", 0),
        get("secret/data/deep/er/x%20y"),
        get("secret/metadata?list=true"),
        get("secret/metadata/deep?list=true"),
        get("secret/metadata/nosuch?list=true"),
        write("dtrotate/data/journal/_x", 0),
        get("dtrotate/data/journal/_x"),
        get("nosuch/data/a"),
        get("sys/internal/ui/mounts/secret"),
        get("sys/internal/ui/mounts/nosuch"),
        get("auth/token/lookup-self"),
        get("secret/config"),
        (
            Method::POST,
            "sys/capabilities-self",
            json!({ "paths": ["secret/data/a", "secret/config"] }),
        ),
    ]
}

/// The status, the errors and those data that the stand-in has, too; times and warnings differ between any two servers.
async fn answers(api: &Api, like: Option<&[Value]>) -> Vec<Value> {
    let mut answers = vec![];
    for (number, (method, path, body)) in calls().into_iter().enumerate() {
        let reply = api.raw(method.clone(), path, body).await;
        let mut data = reply.body["data"].clone();
        if let Some(like) = like {
            keep_what_is_in(&mut data, &like[number]["data"]);
        }
        mask_times(&mut data);
        let errors = &reply.body["errors"];
        let call = format!("{method} {path}");
        answers
            .push(json!({ "call": call, "status": reply.status, "errors": errors, "data": data }));
    }
    answers
}

fn keep_what_is_in(value: &mut Value, like: &Value) {
    if let (Value::Object(map), Value::Object(like)) = (value, like) {
        map.retain(|key, _| like.contains_key(key));
        for (key, inner) in map.iter_mut() {
            keep_what_is_in(inner, &like[key]);
        }
    }
}

fn mask_times(value: &mut Value) {
    if let Value::Object(map) = value {
        for (key, inner) in map.iter_mut() {
            if key == "created_time" {
                *inner = json!("a time");
            }
            mask_times(inner);
        }
    }
}

#[tokio::test]
async fn the_vault_of_the_demo_answers_as_openbao_does() {
    let simulator = Simulator::start(Options::default()).await;
    let simulator = simulator.expect("the simulator");
    let kv = simulator.kv();
    let stand_in = Api::new(client(None), kv.url(), kv.root_token());
    let vault = OpenBao::dev().await;
    let real = vault.root();
    real.mount_kv("dtrotate", 2).await;
    let shown = answers(&stand_in, None).await;
    for (real, shown) in answers(&real, Some(&shown)).await.iter().zip(&shown) {
        assert_eq!(real, shown);
    }
    assert_eq!(stand_in.health().await, Some(200));
    for token in ["", "s.nonsense"] {
        for api in [real.with_token(token), stand_in.with_token(token)] {
            let reply = api.raw(Method::GET, "secret/data/a", Value::Null).await;
            let said = (reply.status, &reply.body["errors"][0]);
            assert_eq!(said, (403, &json!("permission denied")));
        }
    }
}

#[cfg(feature = "demo")]
#[tokio::test]
async fn the_demo_shows_its_tour_without_anything_installed() {
    let folder = tempfile::tempdir().expect("a folder");
    let shown = folder.path().join("shown");
    let child = std::process::Command::new(env!("CARGO_BIN_EXE_dtrotate"))
        .arg("demo")
        .env_clear()
        .env("TMPDIR", folder.path())
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&shown).expect("a file"))
        .spawn()
        .expect("dtrotate");
    let mut demo = crate::world::Daemon::watch(child, shown.clone());
    let text = || std::fs::read_to_string(&shown).expect("what it shows");
    until("the tour to end", async || {
        text().contains("That was the tour")
    })
    .await;
    until("an old token to be deleted", async || {
        text().contains(" deleted\n")
    })
    .await;
    demo.signal("-INT");
    assert_eq!(demo.exit_code(), Some(0));
    let text = text();
    assert!(text.starts_with("Status page: http://127.0.0.1:"), "{text}");
    for word in [
        "killed (SIGKILL)",
        "is gone, and the rotation is done",
        "it stays enabled",
    ] {
        assert!(text.contains(word), "no {word} in\n{text}");
    }
    assert!(!text.contains("ended early"), "{text}");
}
