//! The end of classic tokens in an environment.

use serde_json::{Value, json};
use simulator::{EnvironmentSettings, Seed};

use crate::account::{ACCOUNT, managed};

#[tokio::test]
async fn where_classic_creation_is_closed_the_rest_goes_on() {
    let managed = managed().await;
    let world = &managed.world;
    let body = || Some(json!({ "name": "x", "scopes": ["metrics.ingest"] }));
    world
        .dynatrace
        .configure(|settings| settings.creation_closed = true);
    for path in ["/api/v2/apiTokens", "/api/v1/tokens"] {
        let answer = world.call("POST", path, body()).await;
        let message = "Creation of new tokens is now only available in Account Management.";
        assert_eq!(
            (answer.status, &answer.json()["error"]["message"]),
            (400, &message.into())
        );
        assert_eq!(world.call("GET", path, None).await.status, 200);
        world
            .dynatrace
            .configure(|settings| settings.listing_closed = true);
        assert_eq!(world.call("GET", path, None).await.status, 400);
        world
            .dynatrace
            .configure(|settings| settings.listing_closed = false);
    }
    world
        .dynatrace
        .configure(|settings| settings.creation_closed = false);
    assert_eq!(
        world.call("POST", "/api/v2/apiTokens", body()).await.status,
        201
    );
}

#[tokio::test]
async fn the_opt_in_closes_creation_listing_and_look_up_of_classic_tokens() {
    let managed = managed().await;
    let world = &managed.world;
    let token = world.dynatrace.seed(Seed::new("old"));
    let answers = async |path: &str| {
        let one = format!("{path}/{}", token.id);
        let lookup = format!("{path}/lookup");
        let create = Some(json!({ "name": "x", "scopes": ["metrics.ingest"] }));
        let rename = Some(json!({ "name": "y" }));
        let value = Some(json!({ "token": token.value }));
        [
            world.call("POST", path, create).await.status,
            world.call("GET", path, None).await.status,
            world.call("POST", &lookup, value).await.status,
            world.call("GET", &one, None).await.status,
            world.call("PUT", &one, rename).await.status,
        ]
    };
    let open = [201, 200, 200, 200, 204];
    let settings = |change: fn(&mut EnvironmentSettings)| world.dynatrace.configure(change);
    for path in ["/api/v2/apiTokens", "/api/v1/tokens"] {
        assert_eq!(answers(path).await, open, "{path}");
    }
    settings(EnvironmentSettings::retire_classic_tokens);
    for path in ["/api/v2/apiTokens", "/api/v1/tokens"] {
        assert_eq!(answers(path).await, [400, 400, 400, 400, 204], "{path}");
    }
    // What an existing token may still do is undocumented.
    settings(|settings| {
        settings.closed_status = 404;
        settings.changes_closed = true;
    });
    assert_eq!(answers("/api/v2/apiTokens").await, [404; 5]);
    assert!(world.dynatrace.is_valid(&token.value));
    // The other kinds are as they were.
    assert_eq!(managed.call("GET", ACCOUNT, None).await.status, 200);
}

#[tokio::test]
async fn scopes_that_are_not_known_can_be_left_out_of_a_create() {
    let managed = managed().await;
    let world = &managed.world;
    world
        .dynatrace
        .configure(|settings| settings.drops_unknown_scopes = true);
    let create = async |scopes: Value| {
        let body = json!({ "name": "x", "scopes": scopes });
        world.call("POST", "/api/v2/apiTokens", Some(body)).await
    };
    let created = create(json!(["metrics.ingest", "gone.read"])).await;
    assert_eq!(created.status, 201);
    let created = created.json();
    let value = created["token"].as_str().expect("text");
    let token = world.dynatrace.token_by_value(value).expect("there");
    assert_eq!(token.scopes, ["metrics.ingest"]);
    assert_eq!(create(json!(["gone.read"])).await.status, 400);
}
