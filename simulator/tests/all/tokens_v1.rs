//! Each strictness of tokens v1, which works on the same table.

use serde_json::{Value, json};
use simulator::{Operation, Seed};

use crate::client::{read, world};

const TOKENS: &str = "/api/v1/tokens";

fn create(name: &str) -> Value {
    json!({ "name": name, "scopes": ["metrics.ingest"] })
}

#[tokio::test]
async fn a_create_gives_the_secret_and_no_id() {
    let world = world().await;
    let answer = world.call("POST", TOKENS, Some(create("a"))).await;
    assert_eq!(answer.status, 201);
    let body = answer.json();
    assert_eq!(body.as_object().expect("an object").len(), 1);
    let token = world
        .dynatrace
        .token_by_value(body["token"].as_str().expect("text"))
        .expect("there");
    assert_eq!((token.name.as_str(), token.owner.as_str()), ("a", "boss"));
    let call = world.dynatrace.calls().pop().expect("a call");
    assert_eq!(
        (call.operation, call.v1),
        (Some(Operation::CreateToken), true)
    );
    assert_eq!(call.path, "/api/v1/tokens");
}

#[tokio::test]
async fn legacy_tokens_are_opaque() {
    let world = world().await;
    world.dynatrace.set_legacy_format(true);
    let body = world.call("POST", TOKENS, Some(create("a"))).await.json();
    let value = body["token"].as_str().expect("text").to_owned();
    assert_eq!(value.len(), 21);
    assert!(!value.contains('.'));
    let looked = world
        .call_as(
            &value,
            "POST",
            &format!("{TOKENS}/lookup"),
            Some(json!({ "token": value })),
        )
        .await;
    assert_eq!(looked.status, 200);
    let id = looked.json()["id"].as_str().expect("text").to_owned();
    assert_eq!((id.len(), id.matches('-').count()), (36, 4));
    assert_eq!(
        world
            .call("DELETE", &format!("{TOKENS}/{value}"), None)
            .await
            .status,
        204
    );
    assert_eq!(
        world
            .call("DELETE", &format!("{TOKENS}/{value}"), None)
            .await
            .status,
        404
    );
    assert!(!format!("{:?}", world.dynatrace.calls()).contains(&value));
}

#[tokio::test]
async fn a_lifetime_without_a_unit_is_in_milliseconds() {
    let world = world().await;
    let lasts = async |expires_in: Value| {
        let mut body = create("a");
        body["expiresIn"] = expires_in;
        let answer = world.call("POST", TOKENS, Some(body)).await;
        if answer.status != 201 {
            return Err(answer.status);
        }
        let body = answer.json();
        let token = world
            .dynatrace
            .token_by_value(body["token"].as_str().expect("text"))
            .expect("there");
        Ok(token
            .expires
            .expect("an expiry")
            .duration_since(token.created)
            .as_millis())
    };
    assert_eq!(lasts(json!({ "value": 90_000 })).await, Ok(90_000));
    assert_eq!(
        lasts(json!({ "value": 2, "unit": "DAYS" })).await,
        Ok(2 * 86_400_000)
    );
    for bad in [
        json!({ "value": 2, "unit": "WEEKS" }),
        json!({ "value": 0 }),
        json!({ "unit": "DAYS" }),
        json!(5),
    ] {
        assert_eq!(lasts(bad).await, Err(400));
    }
}

#[tokio::test]
async fn metadata_shows_both_forms_of_time_and_revoked() {
    let world = world().await;
    let token = world.dynatrace.seed(Seed::new("a").disabled());
    let path = format!("{TOKENS}/{}", token.id);
    let mut numbers = 0;
    for _ in 0..16 {
        let shown = world.call("GET", &path, None).await.json();
        assert_eq!(
            (&shown["revoked"], &shown["userId"]),
            (&json!(true), &json!("admin"))
        );
        assert!(shown.get("expires").is_none() && shown.get("enabled").is_none());
        numbers += usize::from(shown["created"].is_i64());
    }
    assert!((1..16).contains(&numbers), "{numbers}");
}

#[tokio::test]
async fn revoking_is_the_other_generations_disabling() {
    let world = world().await;
    let token = world.dynatrace.seed(Seed::new("a"));
    let path = format!("{TOKENS}/{}", token.id);
    assert_eq!(
        world
            .call("PUT", &path, Some(json!({ "revoked": true })))
            .await
            .status,
        204
    );
    let shown = world
        .call("GET", &format!("/api/v2/apiTokens/{}", token.id), None)
        .await
        .json();
    assert_eq!(shown["enabled"], json!(false));
    assert_eq!(
        world
            .call("PUT", &path, Some(json!({ "revoked": false, "name": "b" })))
            .await
            .status,
        204
    );
    let token = world.dynatrace.token(&token.id).expect("there");
    assert_eq!((token.enabled, token.name.as_str()), (true, "b"));
    assert_eq!(
        world
            .call(
                "PUT",
                &path,
                Some(json!({ "enabled": false, "revoked": null }))
            )
            .await
            .status,
        204
    );
    assert!(world.dynatrace.is_valid(&token.value));
}

#[tokio::test]
async fn a_token_can_not_change_itself_at_all() {
    let world = world().await;
    let own = format!("{TOKENS}/{}", world.management.id);
    assert_eq!(
        world
            .call("PUT", &own, Some(json!({ "name": "b" })))
            .await
            .status,
        400
    );
    assert_eq!(world.call("DELETE", &own, None).await.status, 400);
}

#[tokio::test]
async fn the_list_has_ids_and_names_only() {
    let world = world().await;
    let token = world
        .dynatrace
        .seed(Seed::new("a").scopes(&["logs.read", "logs.ingest"]));
    world.dynatrace.seed(Seed::new("b").scopes(&["logs.read"]));
    let list = world
        .call(
            "GET",
            &format!("{TOKENS}?permissions=logs.read&permissions=logs.ingest"),
            None,
        )
        .await
        .json();
    assert_eq!(list, json!({ "values": [{ "id": token.id, "name": "a" }] }));
    let limited = world
        .call("GET", &format!("{TOKENS}?limit=1"), None)
        .await
        .json();
    assert_eq!(limited["values"].as_array().expect("a list").len(), 1);
    for query in ["?limit=0", "?pageSize=100", "?from=now-1d"] {
        assert_eq!(
            world
                .call("GET", &format!("{TOKENS}{query}"), None)
                .await
                .status,
            400,
            "{query}"
        );
    }
}

#[tokio::test]
async fn the_scope_is_another_one_and_lookup_needs_none() {
    let world = world().await;
    let v2_only = world
        .dynatrace
        .seed(Seed::new("v2").scopes(&["apiTokens.read", "apiTokens.write"]));
    let one = format!("{TOKENS}/{}", v2_only.id);
    for (method, path, body) in [
        ("GET", TOKENS, None),
        ("POST", TOKENS, Some(create("a"))),
        ("GET", one.as_str(), None),
        ("PUT", one.as_str(), Some(json!({ "revoked": true }))),
        ("DELETE", one.as_str(), None),
    ] {
        let answer = world.call_as(&v2_only.value, method, path, body).await;
        assert_eq!(answer.status, 403, "{method} {path}");
    }
    let lookup = Some(json!({ "token": v2_only.value }));
    assert_eq!(
        world
            .call_as(&v2_only.value, "POST", &format!("{TOKENS}/lookup"), lookup)
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn a_client_that_accepts_text_only_gets_text() {
    let world = world().await;
    let request = world
        .request(&world.management.value, "POST", TOKENS)
        .header("accept", "text/plain")
        .json(&create("a"));
    let answer = read(request.send().await.expect("an answer")).await;
    assert_eq!(answer.status, 201);
    assert!(world.dynatrace.token_by_value(&answer.text).is_some());
}
