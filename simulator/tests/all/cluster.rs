//! Each strictness of the cluster tokens of a Managed installation.

use serde_json::json;
use simulator::{EnvironmentOptions, Options, Seed};

use crate::client::{World, world_with};

const TOKENS: &str = "/api/cluster/v2/tokens";

async fn cluster() -> (World, String) {
    let options = Options {
        environments: vec![
            EnvironmentOptions::cluster(),
            EnvironmentOptions::managed("one"),
        ],
        ..Options::default()
    };
    let world = world_with(options).await;
    let manager = world
        .dynatrace
        .seed(Seed::cluster_management("manager"))
        .value;
    (world, manager)
}

#[tokio::test]
async fn it_has_the_shapes_of_v1_and_scopes_of_its_own() {
    let (world, manager) = cluster().await;
    assert!(!world.dynatrace.url().contains("/api"));
    let create = async |scope: &str| {
        let body = json!({ "name": "a", "scopes": [scope], "expiresIn": { "value": 90_000 } });
        world.call_as(&manager, "POST", TOKENS, Some(body)).await
    };
    let created = create("ControlManagement").await;
    assert_eq!(created.status, 201, "{}", created.text);
    let body = created.json();
    assert_eq!(body.as_object().expect("an object").len(), 1, "no id");
    let value = body["token"].as_str().expect("text");
    let token = world.dynatrace.token_by_value(value).expect("there");
    let life = token
        .expires
        .expect("an expiry")
        .duration_since(token.created);
    assert_eq!(life.as_millis(), 90_000);
    assert_eq!(create("metrics.ingest").await.status, 400);

    let one = format!("{TOKENS}/{}", token.id);
    let revoke = Some(json!({ "revoked": true }));
    assert_eq!(
        world.call_as(&manager, "PUT", &one, revoke).await.status,
        204
    );
    let shown = world.call_as(&manager, "GET", &one, None).await.json();
    assert_eq!(
        (&shown["revoked"], &shown["name"]),
        (&json!(true), &json!("a"))
    );
    let list = world.call_as(&manager, "GET", TOKENS, None).await.json();
    assert_eq!(list["values"][0], json!({ "id": token.id, "name": "a" }));
    assert_eq!(
        world.call_as(&manager, "DELETE", &one, None).await.status,
        204
    );
    let gone = world.call_as(&manager, "GET", &one, None).await;
    assert_eq!(
        (gone.status, &gone.json()["error"]["code"]),
        (404, &json!(404))
    );
    let call = world.dynatrace.calls().pop().expect("a call");
    assert_eq!(call.path, format!("{TOKENS}/{{id}}"));
}

#[tokio::test]
async fn a_token_neither_changes_nor_deletes_itself() {
    let (world, manager) = cluster().await;
    let own = world.dynatrace.token_by_value(&manager).expect("there");
    let one = format!("{TOKENS}/{}", own.id);
    for (method, body) in [
        ("PUT", Some(json!({ "name": "b" }))),
        ("PUT", Some(json!({ "revoked": true }))),
        ("DELETE", None),
    ] {
        let answer = world.call_as(&manager, method, &one, body).await;
        assert_eq!(
            (answer.status, &answer.json()["error"]["code"]),
            (400, &json!(400))
        );
    }
    assert!(world.dynatrace.is_valid(&manager));
    for (query, length) in [("?limit=1", 1), ("?limit=1000000", 2)] {
        let list = world
            .call_as(&manager, "GET", &format!("{TOKENS}{query}"), None)
            .await
            .json();
        assert_eq!(list["values"].as_array().expect("a list").len(), length);
    }
    let many = format!("{TOKENS}?limit=1000001");
    let many = world.call_as(&manager, "GET", &many, None).await;
    assert_eq!(many.status, 400);
}

#[tokio::test]
async fn every_call_needs_the_one_scope_lookup_too() {
    let (world, manager) = cluster().await;
    let weak = world
        .dynatrace
        .seed(Seed::new("weak").scopes(&["ControlManagement"]));
    let lookup = format!("{TOKENS}/lookup");
    let own = || Some(json!({ "token": weak.value }));
    assert_eq!(
        world
            .call_as(&weak.value, "POST", &lookup, own())
            .await
            .status,
        403
    );
    assert_eq!(
        world.call_as(&manager, "POST", &lookup, own()).await.status,
        200
    );
    assert_eq!(
        world.call_as(&weak.value, "GET", TOKENS, None).await.status,
        403
    );
    // Neither is the other's API.
    let environment = &world.simulator.environments()[1];
    let foreign = environment.seed(Seed::management("m")).value;
    assert_eq!(
        world.call_as(&foreign, "GET", TOKENS, None).await.status,
        401
    );
    let path = "/e/one/api/v1/tokens";
    assert_eq!(world.call_as(&foreign, "GET", path, None).await.status, 200);
    assert_eq!(
        world
            .call_as(&manager, "GET", "/api/v1/tokens", None)
            .await
            .status,
        404
    );
}
