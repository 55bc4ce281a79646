//! `pause` and `resume`: respected by daemons, commands and background work, shown with who, why and until when.

use serde_json::{Value, json};
use simulator::{Action, Operation, Rule};

use crate::commands::flat;
use crate::world::{LONG, World, until};

async fn status(world: &World, name: &str) -> Value {
    let (_, text) = world.command(&["status", name, "--json"]).await;
    let status: Value = serde_json::from_str(&text).expect("a status");
    status["secrets"][0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p4_nothing_of_a_paused_secret_is_begun_by_anybody_until_it_is_resumed() {
    let mut world = World::new(2).await;
    let name = world.secrets[0].clone();
    assert_eq!(world.command(&["rotate", &name]).await.0, Some(0));
    let retiring = world.record(0).await["retiring"].clone();
    let (code, text) = world
        .command(&["pause", &name, "--for", "1h", "--reason", "release 7.4"])
        .await;
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.starts_with(&format!("{name}: paused\n")) && flat(&text).contains("release 7.4"),
        "{text}"
    );
    world.set("defaults.schedule", "* * * * * *");
    let daemon = world.start("e2e");
    until("the other secret to rotate", async || {
        world.replaced(1).await >= 4
    })
    .await;
    // Its old token is past grace and quarantine by now, and is as it was.
    assert_eq!(world.replaced(0).await, 1);
    assert_eq!(
        world.record(0).await["retiring"][0]["state"],
        retiring[0]["state"]
    );
    for command in [&["rotate", &name][..], &["undo", &name]] {
        let (code, text) = world.command(command).await;
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("paused by token"), "{text}");
    }
    let secret = status(&world, &name).await;
    assert_eq!(secret["state"], "paused");
    assert_eq!(secret["paused"]["reason"], "release 7.4");
    assert_eq!(secret["paused"]["by"], "token");
    assert!(
        secret["because"]
            .as_str()
            .is_some_and(|because| because.starts_with("paused by token until 2")),
        "{secret}"
    );
    assert_eq!(world.errors(), Vec::<Value>::new());
    // A pass respects it as well.
    assert_eq!(world.command(&["run", "--once"]).await.0, Some(0));
    assert_eq!(world.replaced(0).await, 1);
    let (code, text) = world.command(&["resume", "--all"]).await;
    assert_eq!(code, Some(0), "{text}");
    let other = format!("{}: not paused\n", world.secrets[1]);
    assert!(text.contains(&other), "{text}");
    until("it to rotate again", async || world.replaced(0).await >= 3).await;
    assert_eq!(status(&world, &name).await["paused"], json!(null));
    assert_eq!(daemon.events("rotation_overdue"), 0);
    world.set("defaults.schedule", "0 0 1 1 *");
    daemon.signal("-HUP");
    until("everything to be settled", async || world.is_quiet().await).await;
    world.assert_holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a14_a_rotation_under_way_is_finished_and_a_dead_one_waits_for_the_end_of_the_pause() {
    let mut world = World::new(2).await;
    world.set("journal.claim_timeout", "2s");
    let rule = Rule::on(Operation::CreateToken).then(Action::HoldAnswer);
    let held = world.dynatrace.fault(rule.times(2));
    let mut living = world.start_command("living", &["rotate", &world.secrets[0]]);
    let mut dead = world.start_command("dead", &["rotate", &world.secrets[1]]);
    assert!(held.wait_performed(2, LONG).await);
    let (code, text) = world.command(&["pause", "--all"]).await;
    assert_eq!(code, Some(0), "{text}");
    dead.kill();
    held.release();
    assert_eq!(living.exit_code(), Some(0));
    let record = world.record(0).await;
    assert!(
        record["claim"].is_null() && !record["pause"].is_null(),
        "{record}"
    );
    assert_eq!(record["open"].as_array().map(Vec::len), Some(0), "{record}");
    assert_eq!(world.replaced(0).await, 1);
    let claimed = world.record(1).await["claim"].clone();
    assert!(!claimed.is_null());
    // A daemon comes, and leaves both alone.
    let daemon = world.start("e2e");
    until("the start to be over", async || {
        daemon.events("daemon_ready") == 1
    })
    .await;
    for _ in 0..3 {
        let (code, text) = world.command(&["rotate", &world.secrets[1]]).await;
        assert!(matches!(code, Some(1 | 75)), "{text}");
    }
    assert_eq!(world.record(1).await["claim"], claimed);
    assert_eq!(world.command(&["resume", "--all"]).await.0, Some(0));
    until("everything to be settled", async || world.is_quiet().await).await;
    assert_eq!(world.tokens(), 2);
    world.assert_holds().await;
}

#[tokio::test]
async fn a_pause_that_ends_by_its_time_ends_once_and_wrong_ones_are_refused() {
    let mut world = World::new(1).await;
    let name = world.secrets[0].clone();
    assert_eq!(world.command(&["rotate", &name]).await.0, Some(0));
    for wrong in [
        &["pause", &name, "--until", "2020-01-01T00:00:00Z"][..],
        &[
            "pause",
            &name,
            "--for",
            "1h",
            "--until",
            "2099-01-01T00:00:00Z",
        ],
        &["pause", &name, "--for", "soon"],
        &["pause"],
        &["resume"],
        &["pause", &name, "--reason", &"x".repeat(301)],
    ] {
        let (code, text) = world.command(wrong).await;
        assert_eq!((code, text.as_str()), (Some(2), ""), "{wrong:?}");
    }
    let first = ["pause", &name, "--for", "1h", "--reason", "change freeze"];
    assert_eq!(world.command(&first).await.0, Some(0));
    let (code, text) = world.command(&["pause", "--all", "--for", "5s"]).await;
    assert_eq!(code, Some(0));
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        text.contains("; this replaces the pause until 2")
            && text.contains("(by token, reason: change freeze), which would have ended later"),
        "{text}"
    );
    world.set("defaults.schedule", "* * * * * *");
    let one = world.start("one");
    let other = world.start("other");
    until("it to rotate again", async || world.replaced(0).await >= 2).await;
    until("the end of the pause to be said", async || {
        one.events("secret_resumed") + other.events("secret_resumed") == 1
    })
    .await;
}
