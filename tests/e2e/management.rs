//! The management token is a secret like any other, but for what it must prove.

use simulator::{Action, Answer, Change, Operation, Rule};

use crate::world::{Site, World, until};

/// Two daemons, the management token listed as a secret, everything due every two seconds.
async fn managed() -> World {
    // Its own path, since the shipped policy keeps `dynatrace/master` from being written.
    let mut world = World::on(Site::new().await, "own", 1).await;
    world.set("defaults.schedule", "*/2 * * * * *");
    let mut listed = toml::Table::new();
    listed.insert("path".into(), world.master.clone().into());
    let secrets = world.config["secret"].as_array_mut().expect("the secrets");
    secrets.push(listed.into());
    world.save();
    world
}

#[tokio::test]
async fn the_management_token_rotates_itself_under_two_daemons_and_a_kill() {
    let world = managed().await;
    let mut one = world.start("one");
    let two = world.start("two");
    let deleted = || {
        let history = world.dynatrace.history();
        let master = |name: &str| name.starts_with("management");
        history
            .iter()
            .filter(|change| matches!(change.change, Change::Deleted))
            .filter(|change| master(&change.name))
            .count()
    };
    until(
        "a management token to have lived its whole life",
        async || {
            world.assert_valid().await;
            deleted() >= 1
        },
    )
    .await;
    one.kill();
    until("the other one to go on", async || {
        world.assert_valid().await;
        deleted() >= 2
    })
    .await;
    let before = two.events("rotation_succeeded");
    until(
        "the other secret to rotate with the new token",
        async || two.events("rotation_succeeded") >= before + 2,
    )
    .await;
    let errors = world.errors();
    assert!(errors.is_empty(), "P8: nothing needed a human: {errors:?}");
}

#[tokio::test]
async fn p1_a_new_management_token_that_cannot_manage_is_not_stored() {
    let world = managed().await;
    let answer = Answer::dynatrace(403, "Token is missing required scope");
    world.dynatrace.fault(
        Rule::on(Operation::UpdateToken)
            .always()
            .then(Action::Refuse(answer)),
    );
    let before = world.root.secret("secret", &world.master).await;
    let daemon = world.start("one");
    until("the rotation of the management token to fail", async || {
        let name = world.master.clone();
        daemon.lines().iter().any(|line| {
            line["secret"] == name.as_str()
                && (line["step"] == "prove" || line["event"] == "rotation_failed")
        })
    })
    .await;
    let after = world.root.secret("secret", &world.master).await;
    assert_eq!(
        before.map(|secret| secret.version),
        after.map(|secret| secret.version)
    );
    world.assert_valid().await;
}
