//! The values in Vault are looked at between rotations: one that does not work is found without waiting for a due time.

use serde_json::json;
use simulator::Seed;

use crate::world::{Daemon, World, note, until};

/// Nothing is due, and every value is looked at each few seconds.
async fn idle(secrets: usize) -> (World, Daemon) {
    let mut world = World::new(secrets).await;
    world.set("daemon.sweep", "1s");
    let daemon = world.start("e2e");
    until("the start", async || daemon.events("daemon_ready") > 0).await;
    (world, daemon)
}

/// The secrets whose value was found not to work, and those that work again.
fn found(daemon: &Daemon, level: &str) -> Vec<String> {
    let mut lines = daemon.lines();
    lines.retain(|line| line["event"] == "current_invalid" && line["level"] == level);
    let names = lines.iter().map(|line| line["secret"].as_str());
    let mut names: Vec<String> = names.flatten().map(str::to_owned).collect();
    names.sort();
    names.dedup();
    names
}

#[tokio::test]
async fn p8_a_value_that_is_gone_or_dead_is_found_before_the_next_due_time() {
    let (world, daemon) = idle(6).await;
    let path = |number: usize| world.secrets[number].as_str();
    world.root.delete("secret", path(0)).await;
    world.root.destroy("secret", path(1), &[1]).await;
    world.put(2, "").await;
    world.put(3, "garbled").await;
    let dead = format!("dt0c01.{}.{}", "A".repeat(24), "B".repeat(64));
    world.put(4, &dead).await;
    let data = json!({ "token": world.value(5).await, "note": note(5), "other": 1 });
    world.root.put("secret", path(5), data).await;
    until("all that is wrong to be found", async || {
        found(&daemon, "ERROR") == world.secrets[..5]
    })
    .await;
    for number in 0..5 {
        let seed = Seed::new("repaired").scopes(&["metrics.read"]);
        let value = world.dynatrace.seed(seed).value;
        world.put(number, &value).await;
    }
    until("the repairs to be found", async || {
        found(&daemon, "INFO") == world.secrets[..5]
    })
    .await;
    for number in 0..5 {
        let id = world.current_id(number).await;
        let recorded = world.record(number).await["current"]["id"].clone();
        assert_eq!(recorded, id, "it is taken over");
    }
    assert_eq!(found(&daemon, "ERROR").len(), 5);
    world.assert_valid().await;
}

#[tokio::test]
async fn p4_a_former_value_that_is_put_back_twice_is_kept_and_reported() {
    let (mut world, daemon) = idle(1).await;
    world.set("defaults.grace", "1h");
    world.set("defaults.max_grace", "2h");
    daemon.signal("-HUP");
    let name = world.secrets[0].clone();
    let former = world.value(0).await;
    let current = former.rsplit_once('.').expect("a dotted value").0;
    for round in 1..=2 {
        let (code, results) = world.command(&["rotate", &name]).await;
        assert_eq!(code, Some(0), "{results}");
        assert_eq!(daemon.events("value_reverted"), 0, "round {round}");
        world.put(0, &former).await;
        until("it to be taken over", async || {
            world.record(0).await["current"]["id"] == current
        })
        .await;
    }
    until("it to be reported", async || {
        daemon.events("value_reverted") == 1
    })
    .await;
    let lines = daemon.lines();
    let line = lines.iter().find(|line| line["event"] == "value_reverted");
    let message = line.expect("the line")["message"]
        .as_str()
        .unwrap_or_default();
    assert!(
        message.contains("as version 3") && message.contains("as version 5"),
        "{message}"
    );
    world.assert_valid().await;
}
