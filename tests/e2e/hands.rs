//! Someone else's hand, and time as evidence: what a person, a restored Vault or a wrong clock does to a secret, and that the outcome is the
//! documented one.

use jiff::SignedDuration;

use crate::world::{World, until};

#[tokio::test]
async fn p3_nothing_is_disabled_while_clocks_differ() {
    let mut world = World::new(1).await;
    world.set("defaults.schedule", "*/2 * * * * *");
    for hours in [24, -24] {
        world
            .simulator
            .set_date_offset(SignedDuration::from_hours(hours));
        let mut daemon = world.start("e2e");
        until("a grace to be long over", async || {
            daemon.events("rotation_succeeded") >= 4
        })
        .await;
        assert_eq!(daemon.events("token_disabled"), 0);
        assert_eq!(daemon.events("clock_skew"), 1, "told once");
        daemon.kill();
    }
    world.simulator.set_date_offset(SignedDuration::ZERO);
    let errors = world.errors().len();
    let daemon = world.start("e2e");
    until("retirement to go on", async || {
        daemon.events("token_deleted") > 0
    })
    .await;
    assert_eq!(world.errors().len(), errors);
    assert!(world.replaced(0).await >= 8);
    world.assert_valid().await;
}
