//! Each strictness of the ingest of events v2.

use serde_json::{Value, json};
use simulator::{Operation, Seed};

use crate::client::world;

const INGEST: &str = "/api/v2/events/ingest";

fn event() -> Value {
    json!({
        "eventType": "ERROR_EVENT",
        "title": "a job failed",
        "timeout": 15,
        "properties": { "job": "backup" },
    })
}

#[tokio::test]
async fn an_event_is_taken_with_its_scope_and_the_reply_tells_its_status() {
    let world = world().await;
    let teller = world
        .dynatrace
        .seed(Seed::new("teller").scopes(&["events.ingest"]));
    let other = world.call("POST", INGEST, Some(event())).await;
    assert_eq!(other.status, 403);
    assert!(other.text.contains("events.ingest"), "{}", other.text);
    assert_eq!(world.call_as("x", "POST", INGEST, None).await.status, 401);
    let get = world.call_as(&teller.value, "GET", INGEST, None).await;
    assert_eq!(get.status, 405);

    let send = async || {
        let sent = world.call_as(&teller.value, "POST", INGEST, Some(event()));
        let answer = sent.await;
        assert_eq!(answer.status, 201);
        let results = answer.json()["eventIngestResults"].clone();
        results[0]["status"].as_str().expect("a status").to_owned()
    };
    assert_eq!(send().await, "OK");
    let taken = world.dynatrace.events();
    assert_eq!((taken.len(), &taken[0].by), (1, &teller.id));
    assert_eq!(taken[0].body, event());
    world.dynatrace.set_event_status(Some("INVALID_METADATA"));
    assert_eq!(send().await, "INVALID_METADATA");
    assert_eq!(world.dynatrace.events().len(), 1);
    world.dynatrace.set_event_status(None);
    assert_eq!(send().await, "OK");
    assert_eq!(world.dynatrace.count(Operation::IngestEvent), 5);
}

#[tokio::test]
async fn an_event_is_refused_for_each_thing_the_api_does_not_take() {
    let world = world().await;
    let teller = world
        .dynatrace
        .seed(Seed::new("teller").scopes(&["events.ingest"]));
    let many: serde_json::Map<String, Value> =
        (0..101).map(|n| (n.to_string(), json!("x"))).collect();
    for (key, value) in [
        ("eventType", json!("ERROR")),
        ("eventType", Value::Null),
        ("title", json!(" ")),
        ("title", Value::Null),
        ("timeout", json!(0)),
        ("timeout", json!("15")),
        ("startTime", json!("now")),
        ("properties", json!({ "a": 1 })),
        ("properties", json!({ "a": "x".repeat(4097) })),
        ("properties", json!({ "k".repeat(101): "x" })),
        ("properties", Value::Object(many)),
        ("properties", json!([])),
        ("entitySelector", json!("HOST")),
        ("entitySelector", json!("entityName(\"x\")")),
        ("entitySelector", json!("type(\"HOST\"")),
    ] {
        let mut event = event();
        match &value {
            Value::Null => event.as_object_mut().expect("an event").remove(key),
            _ => event
                .as_object_mut()
                .expect("an event")
                .insert(key.to_owned(), value.clone()),
        };
        let sent = world.call_as(&teller.value, "POST", INGEST, Some(event));
        let answer = sent.await;
        assert_eq!(answer.status, 400, "{key} {value}: {}", answer.text);
        assert!(answer.text.contains(key), "{key}: {}", answer.text);
    }
    assert!(world.dynatrace.events().is_empty());
}

#[tokio::test]
async fn a_long_timeout_is_capped_and_unknown_fields_are_ignored() {
    let world = world().await;
    let teller = world
        .dynatrace
        .seed(Seed::new("teller").scopes(&["events.ingest"]));
    for (key, value) in [
        ("timeout", json!(400)),
        ("timeout", Value::Null),
        ("severity", json!("high")),
        (
            "entitySelector",
            json!("type(\"HOST\"),entityName(\"a,(b\")"),
        ),
        ("entitySelector", json!("entityId(\"HOST-1\",\"HOST-2\")")),
    ] {
        let mut event = event();
        event[key] = value.clone();
        let sent = world.call_as(&teller.value, "POST", INGEST, Some(event));
        let answer = sent.await;
        assert_eq!(answer.status, 201, "{key} {value}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_time_out_of_range_is_reported_in_the_status_of_the_result() {
    let world = world().await;
    let teller = world
        .dynatrace
        .seed(Seed::new("teller").scopes(&["events.ingest"]));
    let now = world.simulator.now().as_millisecond();
    let minutes = |count: i64| now + count * 60_000;
    for (start, end, kind, status) in [
        (Some(-5 * 60), None, "ERROR_EVENT", "OK"),
        (Some(-7 * 60), None, "ERROR_EVENT", "INVALID_TIMESTAMPS"),
        (Some(-7 * 60), None, "CUSTOM_INFO", "OK"),
        (Some(4), None, "ERROR_EVENT", "OK"),
        (Some(6), None, "ERROR_EVENT", "INVALID_TIMESTAMPS"),
        (Some(0), Some(-1), "CUSTOM_INFO", "INVALID_TIMESTAMPS"),
        (Some(-1), Some(0), "CUSTOM_INFO", "OK"),
    ] {
        let mut event = event();
        event["eventType"] = json!(kind);
        event["startTime"] = json!(start.map(minutes));
        event["endTime"] = json!(end.map(minutes));
        let sent = world.call_as(&teller.value, "POST", INGEST, Some(event));
        let answer = sent.await;
        assert_eq!(answer.status, 201);
        let result = &answer.json()["eventIngestResults"][0];
        assert_eq!(result["status"], status, "{kind} {start:?} {end:?}");
    }
    assert_eq!(world.dynatrace.events().len(), 4);
}
