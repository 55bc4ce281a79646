//! `history` and `upcoming`: what happened to secrets and who did it, and what will happen.

use serde_json::{Value, json};

use crate::world::{World, now};

async fn document_of(world: &World, arguments: &[&str]) -> Vec<Value> {
    let (code, text) = world.command(&[arguments, &["--json"]].concat()).await;
    assert_eq!(code, Some(0), "{text}");
    let document: Value = serde_json::from_str(&text).expect("a document");
    document["events"].as_array().expect("events").clone()
}

#[tokio::test]
async fn the_history_says_what_happened_and_who_did_it_newest_last() {
    let world = World::new(2).await;
    let (first, name) = (world.current_id(0).await, world.secrets[0].clone());
    assert_eq!(world.command(&["rotate", "--all"]).await.0, Some(0));
    assert_eq!(
        world
            .command(&["pause", &name, "--for", "1h", "--reason", "why"])
            .await
            .0,
        Some(0)
    );
    let second = world.current_id(0).await;
    let events = document_of(&world, &["history", &name]).await;
    let words: Vec<&str> = events
        .iter()
        .filter_map(|it| it["event"].as_str())
        .collect();
    assert_eq!(
        words,
        ["secret_adopted", "rotation_succeeded", "secret_paused"]
    );
    let rotated = &events[1];
    assert_eq!(rotated["old_token_id"], json!(first));
    assert_eq!(rotated["token_id"], json!(second));
    // As Vault knows them, not as the shell claims.
    let by = rotated["by"].as_str().expect("who");
    assert!(
        by.starts_with("token (") && by.contains("/command-"),
        "{by}"
    );
    let all = document_of(&world, &["history"]).await;
    let times: Vec<&str> = all.iter().filter_map(|it| it["at"].as_str()).collect();
    assert!(all.len() == 5 && times.is_sorted(), "{all:?}");
    assert_eq!(
        document_of(&world, &["history", "--since", "1ms"]).await,
        Vec::<Value>::new()
    );
    let (code, text) = world.command(&["history", &name]).await;
    assert_eq!(code, Some(0));
    assert!(
        text.contains(&format!("  from  {first} to {second}\n")) && text.contains("secret_paused"),
        "{text}"
    );
    assert_eq!(world.command(&["history", "nosuch"]).await.0, Some(2));
}

/// As earlier versions wrote it: 200 events and nothing else.
#[tokio::test]
async fn a_full_history_of_events_goes_on_and_keeps_the_lives_of_its_tokens() {
    let world = World::new(1).await;
    let name = world.secrets[0].clone();
    let id = |number: usize| format!("dt0c01.{number:0>24}");
    let events = (0..200).map(|number| {
        let at = now() - std::time::Duration::from_secs(3600 * (200 - number as u64));
        json!({
            "at": at, "event": "rotation_succeeded", "token_id": id(number + 1), "old_token_id": id(number),
            "detail": format!("rotation {number}"), "by": "an-instance",
        })
    });
    let document = json!({ "schema": 2, "events": events.collect::<Vec<_>>() }).to_string();
    let key = format!("{}/_history/{}", world.journal, name.replace('/', "~2F"));
    let data = json!({ "schema": 2, "name": name, "document": document });
    world.root.put("secret", &key, data).await;
    for _ in 0..2 {
        assert_eq!(world.command(&["rotate", &name]).await.0, Some(0));
    }
    let events = document_of(&world, &["history", &name]).await;
    assert!(events.len() > 202, "{}", events.len());
    let first = &events[0];
    assert_eq!(
        (
            &first["event"],
            &first["token_id"],
            &first["old_token_id"],
            &first["by"]
        ),
        (
            &json!("rotation_succeeded"),
            &json!(id(1)),
            &json!(id(0)),
            &json!("an-instance")
        )
    );
    assert_eq!(events[199]["detail"], "rotation 199");
    let (_, text) = world.command(&["history", &name]).await;
    assert!(
        text.contains(&format!(
            "  from  {} to {}\n  by    an-instance\n",
            id(0),
            id(1)
        )),
        "{text}"
    );
}

#[tokio::test]
async fn upcoming_is_what_journal_and_schedules_say_in_order() {
    let mut world = World::new(2).await;
    world.set("defaults.schedule", "0 3 * * *");
    world.set("defaults.grace", "1h");
    world.set("defaults.max_grace", "2h");
    world.set("defaults.quarantine", "10h");
    let name = world.secrets[0].clone();
    assert_eq!(world.command(&["rotate", "--all"]).await.0, Some(0));
    let old = world.record(0).await["retiring"][0]["id"].clone();
    let events = document_of(&world, &["upcoming", &name, "--within", "3d"]).await;
    let of =
        |word: &str| -> Vec<&Value> { events.iter().filter(|it| it["event"] == word).collect() };
    assert_eq!(of("rotate").len(), 3, "{events:?}");
    let (disable, delete) = (of("disable")[0], of("delete")[0]);
    assert_eq!((&disable["token"], &delete["token"]), (&old, &old));
    let times: Vec<&str> = events.iter().filter_map(|it| it["at"].as_str()).collect();
    assert!(times.is_sorted(), "{events:?}");
    // What is paused waits for the end of the pause.
    let end = now() + std::time::Duration::from_secs(40 * 3600);
    let until = end.to_string();
    assert_eq!(
        world.command(&["pause", &name, "--until", &until]).await.0,
        Some(0)
    );
    let events = document_of(&world, &["upcoming", &name, "--within", "3d"]).await;
    assert_eq!(events[0]["event"], "resume", "{events:?}");
    for event in &events {
        let at: jiff::Timestamp = event["at"]
            .as_str()
            .expect("a time")
            .parse()
            .expect("a time");
        assert!(at >= end, "{event}");
    }
    let (code, text) = world.command(&["upcoming"]).await;
    assert_eq!(code, Some(0));
    assert!(
        text.contains("  rotate  ") && text.contains("schedule `0 3 * * *` UTC"),
        "{text}"
    );
    // For people on the clocks of the secret's zone, as in the status; for machines in UTC.
    world.set("defaults.timezone", "Asia/Tokyo");
    let (_, text) = world.command(&["upcoming", &name, "--within", "3d"]).await;
    assert!(text.contains(" 03:00:00 JST  rotate  "), "{text}");
    let (_, text) = world.command(&["history", &name]).await;
    assert!(text.contains(&format!(" JST  {name}  ")), "{text}");
    let events = document_of(&world, &["history", &name]).await;
    assert!(
        events
            .iter()
            .all(|it| it["at"].as_str().is_some_and(|at| at.ends_with('Z')))
    );
}
