//! Vault cannot be used for a while, and consumers had that much less time to pick up a new value: graces are longer by it.

use jiff::{SignedDuration, Timestamp};
use simulator::Change;

use crate::world::{World, now, until};

/// A world in which a grace of `dynatrace/s0` is running, with the token and the end of its grace.
async fn running() -> (World, String, Timestamp) {
    let mut world = World::new(1).await;
    world.set("defaults.max_grace", "60s");
    world.set("defaults.grace", "8s");
    let former = world.current_id(0).await;
    let mut daemon = world.start("a");
    until("the secret to be recorded", async || {
        !world.record(0).await["current"].is_null()
    })
    .await;
    let name = world.secrets[0].clone();
    assert_eq!(world.command(&["rotate", &name]).await.0, Some(0));
    daemon.kill();
    let due = world.record(0).await["retiring"][0]["due"].clone();
    let due = due.as_str().expect("a time").parse().expect("a time");
    (world, former, due)
}

async fn disabled_at(world: &World, token: &str) -> Timestamp {
    let mut at = None;
    until("the former token to be disabled", async || {
        let history = world.dynatrace.history();
        let change = history
            .iter()
            .find(|change| change.token_id == token && change.change == Change::Disabled);
        at = change.map(|change| change.at);
        at.is_some()
    })
    .await;
    at.expect("a time")
}

#[tokio::test]
async fn p3_an_outage_of_vault_lengthens_a_running_grace_by_its_length() {
    let (world, former, due) = running().await;
    let daemon = world.start("a");
    let other = world.start("b");
    until("both to be ready", async || {
        daemon.events("daemon_ready") + other.events("daemon_ready") == 2
    })
    .await;
    let from = now();
    assert!(from < due, "the machine is too slow for this test");
    world.site.vault.seal().await;
    until(
        "the outage to be reported, after the end of the grace",
        async || {
            daemon.events("vault_unavailable") + other.events("vault_unavailable") == 2
                && now() > due
        },
    )
    .await;
    let until_then = now();
    world.site.vault.unseal().await;
    until("its end to be reported", async || {
        daemon.events("vault_available") + other.events("vault_available") == 2
    })
    .await;
    let length = from.duration_until(until_then);
    let disabled = disabled_at(&world, &former).await;
    let least = due + length;
    assert!(disabled >= least, "{disabled} is before {least}");
    // It counts once, however many saw it; both noticed beginning and end within some seconds.
    let most = least + SignedDuration::from_secs(45);
    assert!(disabled < most, "{disabled} is after {most}");
    world.assert_valid().await;
}

#[tokio::test]
async fn p3_vault_was_down_before_the_start_nobody_knows_since_when_and_graces_begin_again() {
    let (world, former, due) = running().await;
    world.site.vault.seal().await;
    let daemon = world.start("a");
    until(
        "the outage to be reported, after the end of the grace",
        async || daemon.events("vault_unavailable") == 1 && now() > due,
    )
    .await;
    let back = now();
    world.site.vault.unseal().await;
    let disabled = disabled_at(&world, &former).await;
    let least = back + SignedDuration::from_secs(8);
    assert!(disabled >= least, "{disabled} is before {least}");
    assert_eq!(daemon.events("vault_available"), 1);
    world.assert_valid().await;
}
