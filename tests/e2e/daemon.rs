//! The daemon as a child process, on a real OpenBao with the shipped policy and on the simulator.

use serde_json::json;
use simulator::Seed;

use crate::commands::flat;
use crate::world::{World, note, until};

/// A world whose secrets rotate every two seconds.
async fn busy(secrets: usize) -> World {
    let mut world = World::new(secrets).await;
    world.set("defaults.schedule", "*/2 * * * * *");
    world
}

#[tokio::test]
async fn p1_p2_tokens_rotate_survive_kills_and_leave_nothing_behind() {
    let mut world = busy(4).await;
    for round in 1..=3 {
        let mut daemon = world.start("e2e");
        until("rotations", async || {
            world.assert_valid().await;
            daemon.events("rotation_succeeded") >= 6 + round
        })
        .await;
        daemon.kill();
        world.assert_valid().await;
    }
    // No more rotations: whatever was left is settled, retired and gone.
    world.set("defaults.schedule", "0 0 1 1 *");
    let mut daemon = world.start("e2e");
    until("only the current tokens to be left", async || {
        world.assert_valid().await;
        world.tokens() == world.secrets.len() && world.is_quiet().await
    })
    .await;
    daemon.signal("-TERM");
    assert_eq!(daemon.exit_code(), Some(0));
    let errors = world.errors();
    assert!(errors.is_empty(), "P8: nothing needed a human: {errors:?}");
    let last = daemon.lines().pop().expect("a line");
    assert_eq!(last["event"], "shutdown_finished");
    world.assert_holds().await;
}

#[tokio::test]
async fn p5_no_value_is_ever_written_at_any_level() {
    let world = busy(2).await;
    let mut daemon = world.start("e2e");
    until("a whole life of a token", async || {
        daemon.events("token_deleted") > 0
    })
    .await;
    daemon.signal("-TERM");
    assert_eq!(daemon.exit_code(), Some(0));
    let shown: Vec<_> = world.broken().await;
    let shown = shown.iter().filter(|sentence| sentence.starts_with("P5"));
    assert_eq!(shown.count(), 0, "P5: a value was written");
    assert!(world.dynatrace.issued().len() > 3);
}

#[tokio::test]
async fn p8_one_bad_secret_is_one_error_and_disturbs_nobody() {
    let world = busy(3).await;
    world
        .root
        .put("secret", "dynatrace/s0", json!({ "note": note(0) }))
        .await;
    let daemon = world.start("e2e");
    until("the others to rotate", async || {
        daemon.events("rotation_succeeded") >= 4
    })
    .await;
    let stuck = world.errors();
    assert_eq!(stuck[0]["event"], "rotation_stuck");
    assert_eq!(stuck[0]["reason"], "field_missing");
    assert!(stuck.iter().all(|line| line["secret"] == "dynatrace/s0"));
    assert_eq!(stuck.len(), 1, "told once: {stuck:?}");
    // The cause is gone: it heals without a human.
    let seed = Seed::new("healed").scopes(&["metrics.read"]);
    let value = world.dynatrace.seed(seed).value;
    world.put(0, &value).await;
    until("the healed secret to rotate", async || {
        let mut lines = daemon.lines().into_iter();
        lines.any(|line| line["event"] == "rotation_succeeded" && line["secret"] == "dynatrace/s0")
    })
    .await;
}

#[tokio::test]
async fn a_person_rotates_now_and_can_ask_first() {
    let world = World::new(1).await;
    let version = async || {
        let secret = world.root.secret("secret", "dynatrace/s0").await;
        secret.expect("the secret").version
    };
    let before = version().await;
    let (code, text) = world
        .command(&["rotate", "dynatrace/s0", "--dry-run"])
        .await;
    assert_eq!(code, Some(0));
    assert!(text.contains("would record dt0c01."), "{text}");
    assert_eq!(
        (version().await, world.tokens()),
        (before, 1),
        "P7: asking changes nothing"
    );
    let (code, text) = world.command(&["rotate", "--all"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with("dynatrace/s0: rotated\n"), "{text}");
    assert_eq!((version().await, world.tokens()), (before + 1, 2));
    world.assert_valid().await;
    // What was due when it was asked for is served by it.
    let served = world.record(0).await["last_due"].clone();
    assert!(served.is_string(), "{served}");
    assert_eq!(world.command(&["rotate", "nosuch"]).await.0, Some(2));
    world.dynatrace.disable(&world.current_id(0).await);
    let (code, text) = world.command(&["rotate", "dynatrace/s0"]).await;
    assert_eq!(code, Some(1));
    assert!(
        text.starts_with("dynatrace/s0: failed\n") && flat(&text).contains("enable it"),
        "{text}"
    );
}

#[tokio::test]
async fn p7_to_rotate_what_is_not_there_is_wrong_usage() {
    let mut world = World::new(2).await;
    let url = world.dynatrace.url().to_owned();
    world.set("dynatrace.other.url", url);
    world.set("dynatrace.other.auth.path", world.master.clone());
    world.set("defaults.environment", "prod");
    let mut other = toml::Table::new();
    other.insert("path".to_owned(), "dynatrace/s1".into());
    other.insert("environment".to_owned(), "other".into());
    let mut prod = toml::Table::new();
    prod.insert("path".to_owned(), "dynatrace/s0".into());
    world.set("secret", vec![prod, other]);
    let nosuch = "no secret of the configuration has the environment nosuch\n";
    for (arguments, sentence) in [
        (&["nosuch"][..], "nosuch is not in the configuration\n"),
        (&["dynatrace/s0", "--environment", "nosuch"], nosuch),
        (&["--all", "--environment", "nosuch"], nosuch),
        (
            &["dynatrace/s0", "dynatrace/s1", "--environment", "prod"],
            "dynatrace/s1 is not in the configuration for the environment prod; did you mean \"dynatrace/s0\"?\n",
        ),
    ] {
        let arguments = [&["rotate"], arguments].concat();
        assert_eq!(
            world.command_and_stderr(&arguments).await,
            (Some(2), String::new(), sentence.to_owned()),
            "{arguments:?}"
        );
    }
    assert_eq!(world.tokens(), 2, "nothing was rotated");
    let (code, text) = world
        .command(&["rotate", "--all", "--environment", "other"])
        .await;
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.starts_with("dynatrace/s1: rotated\n") && !text.contains("s0"),
        "{text}"
    );
}
