//! `dtrotate undo`: the previous token back, or a clear no.

use simulator::Seed;

use crate::commands::flat;
use crate::world::{World, until};

/// One secret that was rotated once, with long times so that nothing is retired meanwhile; its first and its second token.
async fn rotated(grace: &str) -> (World, String, String) {
    let mut world = World::new(1).await;
    world.set("defaults.grace", grace);
    world.set("defaults.max_grace", "1h");
    world.set("defaults.quarantine", "1h");
    let first = world.current_id(0).await;
    let (code, text) = world.command(&["rotate", "dynatrace/s0"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with("dynatrace/s0: rotated\n"), "{text}");
    let second = world.current_id(0).await;
    (world, first, second)
}

#[tokio::test]
async fn p3_the_previous_token_comes_back_and_the_newer_one_retires() {
    let (world, first, second) = rotated("1h").await;
    let (code, text) = world.command(&["undo", "dynatrace/s0"]).await;
    assert_eq!(code, Some(0), "{text}");
    let done = format!("dynatrace/s0: restored\n  from      {second}\n  to        {first}\n");
    assert!(text.starts_with(&done), "{text}");
    assert_eq!(world.current_id(0).await, first);
    world.assert_valid().await;
    let record = world.record(0).await;
    assert_eq!(record["current"]["id"], first);
    assert_eq!(record["retiring"][0]["id"], second);
    assert_eq!(record["retiring"].as_array().map(Vec::len), Some(1));
    // And forth again, which a person must want: the newer one is the previous one now.
    let (code, text) = world.command(&["undo", "dynatrace/s0"]).await;
    assert_eq!(code, Some(1), "{text}");
    assert_eq!(world.current_id(0).await, first);
    let forth = ["undo", "dynatrace/s0", "--token", &second];
    assert_eq!(world.command(&forth).await.0, Some(0));
    assert_eq!(world.current_id(0).await, second);
    world.assert_valid().await;
}

#[tokio::test]
async fn p3_a_token_that_stands_disabled_is_enabled_first() {
    let (world, first, _) = rotated("1s").await;
    let mut daemon = world.start("e2e");
    until("the first token to be disabled", async || {
        world.record(0).await["retiring"][0]["state"] == "quarantine"
    })
    .await;
    daemon.kill();
    let disabled = world.dynatrace.token(&first);
    assert!(disabled.is_some_and(|token| !token.enabled));
    assert_eq!(world.command(&["undo", "dynatrace/s0"]).await.0, Some(0));
    assert_eq!(world.current_id(0).await, first);
    world.assert_valid().await;
}

#[tokio::test]
async fn p7_what_cannot_be_undone_is_refused_and_stays_as_it_was() {
    let (world, first, second) = rotated("1h").await;
    let refuses = async |why: &str| {
        let before = world.value(0).await;
        let (code, text) = world.command(&["undo", "dynatrace/s0"]).await;
        assert_eq!(code, Some(1), "{text}");
        assert!(flat(&text).contains(why), "{text}");
        assert!(world.value(0).await == before, "it stays as it was");
    };
    let tokens = world.dynatrace.tokens();
    let second_value = tokens.iter().find(|token| token.id == second);
    let second_value = second_value.expect("the second token").value.clone();
    // A person's own token is not overwritten.
    let own = world
        .dynatrace
        .seed(Seed::new("own").scopes(&["metrics.read"]));
    world.put(0, &own.value).await;
    refuses("someone changed the secret").await;
    world.put(0, &second_value).await;
    // The previous token is gone.
    world.dynatrace.delete(&first);
    refuses("gone at Dynatrace").await;
    assert_eq!(world.command(&["undo", "nosuch"]).await.0, Some(2));
}

#[tokio::test]
async fn p7_a_secret_that_was_never_rotated_has_nothing_to_go_back_to() {
    let world = World::new(1).await;
    let (code, text) = world.command(&["undo", "dynatrace/s0"]).await;
    assert_eq!(code, Some(1));
    assert!(flat(&text).contains("there is no previous token"), "{text}");
    world.assert_valid().await;
}
