//! Usage-aware retirement: a former token that a consumer still uses is held until it is quiet, and not indefinitely.

use std::net::IpAddr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use simulator::Change;

use crate::world::{World, now, until};

const USED_FROM: [u8; 4] = [192, 0, 2, 7];

/// What a machine that is busy may add to a due time.
const ALLOWANCE: SignedDuration = SignedDuration::from_secs(20);

/// When `id` was disabled.
fn disabled_at(world: &World, id: &str) -> Option<Timestamp> {
    let history = world.dynatrace.history();
    let mut changes = history.iter().filter(|change| change.token_id == id);
    let change = changes.find(|change| change.change == Change::Disabled)?;
    Some(change.at)
}

/// When the grace of the former token of a secret began.
async fn since(world: &World, number: usize) -> Timestamp {
    let record = world.record(number).await;
    let since = record["retiring"][0]["since"].as_str();
    since.expect("a former token").parse().expect("a time")
}

/// The lines of `event` about `id`.
fn lines_about(world: &World, id: &str, event: &str) -> Vec<Value> {
    let mut lines = world.lines();
    lines.retain(|line| line["event"] == event && line["token_id"] == id);
    lines
}

/// The first secret's old token is used all the time, the second's once after the switch, the third's never.
#[tokio::test]
async fn p3_an_old_token_in_use_is_held_told_once_and_goes_at_max_grace_at_the_latest() {
    let mut world = World::new(3).await;
    let (grace, max_grace) = (SignedDuration::from_secs(3), SignedDuration::from_secs(9));
    world.set("defaults.grace", "3s");
    world.set("defaults.max_grace", "9s");
    world.set("defaults.quarantine", "600s");
    let mut old = vec![];
    for number in 0..3 {
        old.push(world.current_id(number).await);
    }
    assert_eq!(world.command(&["rotate", "--all"]).await.0, Some(0));
    let began = [
        since(&world, 0).await,
        since(&world, 1).await,
        since(&world, 2).await,
    ];
    let from = IpAddr::from(USED_FROM);
    let once = began[1] + Duration::from_secs(1);
    world.dynatrace.touch(&old[1], from, once);
    let use_first = || world.dynatrace.touch(&old[0], from, now());
    use_first();
    let daemon = world.start("e2e");

    until("the first to be held", async || {
        use_first();
        world.record(0).await["retiring"][0]["held_since"].is_string()
    })
    .await;
    let (code, text) = world.command(&["status", "--json"]).await;
    assert_eq!(
        code,
        Some(0),
        "nobody needs to do anything at dtrotate: {text}"
    );
    let status: Value = serde_json::from_str(&text).expect("JSON");
    let shown = &status["secrets"][0]["retiring"][0];
    assert_eq!(shown["id"], old[0]);
    assert_eq!(shown["state"], "grace");
    assert_eq!(shown["used_from"], "192.0.2.7");
    assert!(shown["held_since"].is_string(), "{shown}");

    until("all to be disabled", async || {
        use_first();
        old.iter().all(|id| disabled_at(&world, id).is_some())
    })
    .await;
    // When each of them had to be.
    for (number, due, what) in [
        (0, began[0] + max_grace, "in use: at max_grace"),
        // Dynatrace returns some times in whole seconds.
        (
            1,
            once + grace - Duration::from_secs(1),
            "used once: when it was quiet for a grace",
        ),
        (2, began[2] + grace, "unused: at the end of its grace"),
    ] {
        let at = disabled_at(&world, &old[number]).expect("disabled");
        assert!(at >= due, "{what}: {at}, before {due}");
        assert!(at <= due + ALLOWANCE, "{what}: {at}, long after {due}");
    }
    until("the journal to know it", async || {
        world.record(0).await["retiring"][0]["state"] == "quarantine"
    })
    .await;
    // It stays an open condition until its quarantine ends.
    let (code, text) = world.command(&["status", "--json"]).await;
    assert_eq!(code, Some(1), "{text}");
    let status: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(status["troubles"][0]["event"], "consumer_cut_off", "{text}");
    drop(daemon);

    // Reported once when it begins, and as an ERROR when it is disabled all the same; each time the address is named.
    for (event, level) in [("retirement_held", "INFO"), ("consumer_cut_off", "ERROR")] {
        let lines = lines_about(&world, &old[0], event);
        assert_eq!(lines.len(), 1, "{event}: {lines:?}");
        assert_eq!(lines[0]["level"], level);
        let message = lines[0]["message"].as_str().unwrap_or_default();
        assert!(message.contains("from 192.0.2.7"), "{message}");
    }
    assert_eq!(lines_about(&world, &old[1], "consumer_cut_off").len(), 0);
    assert_eq!(lines_about(&world, &old[2], "retirement_held").len(), 0);
    assert_eq!(world.errors().len(), 1, "{:?}", world.errors());
    world.assert_holds().await;
}
