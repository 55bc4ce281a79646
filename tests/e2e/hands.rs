//! Someone else's hand, and time as evidence: what a person or a wrong clock does to a secret, and that the outcome is the
//! documented one: never a lost token, never an overwritten value. What a person does to the current token itself is in `troubles`.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Value, json};
use simulator::{Action, Operation, Rule, Seed};

use crate::life::{Life, aged};
use crate::world::{LONG, Site, World, note, now, until};

async fn rotate(world: &World, number: usize) {
    let name = world.secrets[number].clone();
    until("the command to get the claim", async || {
        let (code, results) = world.command(&["rotate", &name]).await;
        assert!(matches!(code, Some(0 | 75)), "{code:?}: {results}");
        code == Some(0)
    })
    .await;
}

/// A token that a person made.
fn theirs(world: &World) -> String {
    let seed = Seed::new("by hand").scopes(&["metrics.read"]);
    world.dynatrace.seed(seed).value
}

#[tokio::test]
async fn p3_nothing_is_disabled_while_clocks_differ() {
    let mut world = World::new(1).await;
    world.set("defaults.schedule", "*/2 * * * * *");
    world.set("defaults.grace", "1s");
    let name = world.secrets[0].clone();
    for hours in [24, -24] {
        // Something is to be retired.
        world.simulator.set_date_offset(SignedDuration::ZERO);
        assert_eq!(world.command(&["rotate", &name]).await.0, Some(0));
        let value = world.value(0).await;
        world
            .simulator
            .set_date_offset(SignedDuration::from_hours(hours));
        let mut daemon = world.start("e2e");
        until("the clocks to be compared", async || {
            daemon.events("clock_skew") == 1
        })
        .await;
        let began = now();
        until("the grace and several due times to be over", async || {
            now() > began + Duration::from_secs(6)
        })
        .await;
        let (code, text) = world.command(&["rotate", &name]).await;
        assert!(code == Some(1) && text.contains("clocks"), "{text}");
        assert!(world.value(0).await == value, "nothing is rotated");
        assert_eq!(daemon.events("token_disabled"), 0);
        assert_eq!(daemon.events("rotation_succeeded"), 0);
        assert_eq!(daemon.events("clock_skew"), 1, "reported once");
        daemon.kill();
    }
    let replaced = world.replaced(0).await;
    world.simulator.set_date_offset(SignedDuration::ZERO);
    let errors = world.errors().len();
    let daemon = world.start("e2e");
    until("retirement to go on", async || {
        daemon.events("token_deleted") > 0
    })
    .await;
    assert_eq!(world.errors().len(), errors);
    assert!(world.replaced(0).await > replaced);
    world.assert_valid().await;
}

#[tokio::test]
async fn p4_a_value_written_during_a_rotation_stands_and_another_field_is_kept() {
    let site = Site::new().await;
    let hold = |world: &World| {
        let rule = Rule::on(Operation::WriteSecret).about(&world.secrets[0]);
        // Not the journal document, whose path holds the same name.
        let path = format!("secret/{}", world.secrets[0]);
        let rule = rule.matching(move |call| call.subject.as_ref() == Some(&path));
        world.gate.fault(rule.then(Action::Hold))
    };
    // Our field: the person's value stands, and the new token is given up.
    let world = aged(&site, "ours").await;
    let held = hold(&world);
    let daemon = world.start("e2e");
    assert!(held.wait_held(1, LONG).await);
    let value = theirs(&world);
    world.put(0, &value).await;
    held.release();
    until("the rotation to end", async || {
        daemon.events("secret_changed_elsewhere") > 0
    })
    .await;
    until("the new token to be gone", async || {
        let record = world.record(0).await;
        record["claim"].is_null() && record["open"].as_array().is_some_and(Vec::is_empty)
    })
    .await;
    assert_eq!(world.value(0).await, value);
    let made = |token: &simulator::TokenInfo| token.name.contains("[dtrotate:");
    assert!(!world.dynatrace.tokens().iter().any(made));
    drop(daemon);
    assert!(world.errors().is_empty());
    world.assert_holds().await;

    // Another field: theirs is kept, and the rotation continues.
    let world = aged(&site, "other").await;
    let held = hold(&world);
    let daemon = world.start("e2e");
    assert!(held.wait_held(1, LONG).await);
    let data = json!({ "token": world.value(0).await, "note": note(0), "more": 1 });
    world.root.put("secret", &world.secrets[0], data).await;
    held.release();
    until("the whole life", async || Life::Token.is_over(&world).await).await;
    drop(daemon);
    let secret = world.root.secret("secret", &world.secrets[0]).await;
    assert_eq!(secret.expect("the secret").data["more"], 1);
    assert_eq!(world.replaced(0).await, 1);
    assert!(world.errors().is_empty());
    world.assert_holds().await;
}

#[tokio::test]
async fn p1_p4_a_value_put_back_during_grace_or_quarantine_works_again() {
    let mut world = World::new(2).await;
    world.set("defaults.grace", "3s");
    world.set("defaults.quarantine", "60s");
    let olds = [world.value(0).await, world.value(1).await];
    let ids = [world.current_id(0).await, world.current_id(1).await];
    let daemon = world.start("e2e");
    until("both to be known", async || {
        daemon.events("secret_adopted") == 2
    })
    .await;
    rotate(&world, 0).await;
    rotate(&world, 1).await;
    // The first during its grace, the second when it stands disabled.
    world.put(0, &olds[0]).await;
    let enabled = |id: &str| world.dynatrace.token(id).is_some_and(|token| token.enabled);
    until("the second to be disabled", async || !enabled(&ids[1])).await;
    world.put(1, &olds[1]).await;
    until("both to be current again", async || {
        for (number, id) in ids.iter().enumerate() {
            let record = world.record(number).await;
            if record["current"]["id"] != *id || !record["claim"].is_null() {
                return false;
            }
        }
        enabled(&ids[1])
    })
    .await;
    until("the newer ones to stand disabled", async || {
        let tokens = world.dynatrace.tokens();
        let newer = tokens
            .iter()
            .filter(|token| token.name.contains("[dtrotate:"));
        newer.filter(|token| !token.enabled).count() == 2
    })
    .await;
    world.assert_valid().await;
    assert_eq!([world.value(0).await, world.value(1).await], olds);
}

#[tokio::test]
async fn p2_a_token_that_a_person_renamed_retires_as_any_other() {
    let mut world = World::new(1).await;
    world.set("defaults.grace", "2s");
    let daemon = world.start("e2e");
    until("it to be known", async || {
        daemon.events("secret_adopted") == 1
    })
    .await;
    let first = world.current_id(0).await;
    rotate(&world, 0).await;
    // One that retires, and the current one, which loses its marker by that.
    assert!(world.dynatrace.rename(&first, "a former one"));
    assert!(
        world
            .dynatrace
            .rename(&world.current_id(0).await, "for the reports")
    );
    rotate(&world, 0).await;
    until("both to be gone", async || {
        world.tokens() == 1 && world.is_quiet().await
    })
    .await;
    drop(daemon);
    let current = world.dynatrace.token(&world.current_id(0).await);
    let name = current.expect("the current token").name;
    assert!(name.starts_with("for the reports [dtrotate:"), "{name}");
    assert!(world.errors().is_empty());
    world.assert_holds().await;
}

#[tokio::test]
async fn p2_a_deleted_or_damaged_document_loses_no_token() {
    let world = World::new(2).await;
    let mut daemon = world.start("e2e");
    until("both to be known", async || {
        daemon.events("secret_adopted") == 2
    })
    .await;
    for number in 0..2 {
        rotate(&world, number).await;
    }
    daemon.kill();
    let root = &world.root;
    let before = root.secret("secret", &world.document(1)).await;
    root.delete_metadata("secret", &world.document(0)).await;
    root.put("secret", &world.document(1), json!({ "schema": "x" }))
        .await;
    rotate(&world, 0).await;
    let mut daemon = world.start("e2e");
    until("the damage to be reported", async || {
        daemon.events("journal_unreadable") == 1
    })
    .await;
    root.put(
        "secret",
        &world.document(1),
        before.expect("a document").data,
    )
    .await;
    // It is looked at again at the next start, or after a minute.
    daemon.kill();
    let daemon = world.start("e2e");
    // What was retiring when the document was lost, and bears no marker, can no longer be known.
    until("all other tokens to retire", async || {
        world.is_quiet().await && world.tokens() <= 3
    })
    .await;
    drop(daemon);
    let mut errors = world.errors();
    errors.retain(|line| line["event"] != "journal_unreadable");
    assert!(errors.is_empty(), "P8: {errors:?}");
    world.assert_holds().await;
}

#[tokio::test]
async fn p2_a_secret_deleted_destroyed_or_made_again_is_stuck_until_it_is_back() {
    let world = World::new(3).await;
    let daemon = world.start("e2e");
    until("all to be known", async || {
        daemon.events("secret_adopted") == 3
    })
    .await;
    for number in 0..3 {
        rotate(&world, number).await;
    }
    let values = [
        world.value(0).await,
        world.value(1).await,
        world.value(2).await,
    ];
    let root = &world.root;
    root.delete("secret", &world.secrets[0]).await;
    root.destroy("secret", &world.secrets[1], &[2]).await;
    root.delete_metadata("secret", &world.secrets[2]).await;
    for name in world.secrets.clone() {
        let (code, results) = world.command(&["rotate", &name]).await;
        assert_eq!(code, Some(1), "{results}");
        assert!(results.contains("secret_missing"), "{results}");
    }
    root.undelete("secret", &world.secrets[0], &[2]).await;
    world.put(1, &values[1]).await;
    // Its versions count from 1 again.
    assert_eq!(world.put(2, &values[2]).await, 1);
    for number in 0..3 {
        rotate(&world, number).await;
    }
    until("all former tokens to retire", async || {
        world.tokens() == 3 && world.is_quiet().await
    })
    .await;
    drop(daemon);
    world.assert_valid().await;
}

#[tokio::test]
async fn p2_a_retirement_is_never_carried_out_against_another_url() {
    let mut world = World::new(1).await;
    world.set("defaults.max_grace", "10s");
    world.set("defaults.grace", "5s");
    let daemon = world.start("e2e");
    until("it to be known", async || {
        daemon.events("secret_adopted") == 1
    })
    .await;
    rotate(&world, 0).await;
    drop(daemon);
    let url = world.dynatrace.url().replace("127.0.0.1", "localhost");
    world.set("dynatrace.prod.url", url.as_str());
    let daemon = world.start("e2e");
    let due = |record: &Value| record["retiring"][0]["due"].as_str().map(str::to_owned);
    let due: jiff::Timestamp = due(&world.record(0).await)
        .expect("a due")
        .parse()
        .expect("a time");
    until("its grace to be over", async || {
        now() > due + SignedDuration::from_secs(3)
    })
    .await;
    assert_eq!(daemon.events("token_disabled"), 0);
    drop(daemon);
    world.set("dynatrace.prod.url", world.dynatrace.url().to_owned());
    let daemon = world.start("e2e");
    until("it to retire at its own URL", async || {
        world.tokens() == 1 && world.is_quiet().await
    })
    .await;
    drop(daemon);
    world.assert_valid().await;
}

#[tokio::test]
async fn p1_two_installations_on_one_secret_cut_nothing_off() {
    let site = Site::new().await;
    let mut one = World::on(Arc::clone(&site), "one", 1).await;
    one.set("defaults.schedule", "*/4 * * * * *");
    one.set("defaults.max_grace", "8s");
    let journal = [("DTROTATE_JOURNAL__PATH", "dtrotate/journal/two")];
    let daemons = [one.start("a"), one.start_with("b", &journal)];
    // At each due time one of them stores first, which is for the most part the same one; the other gives way.
    until("both to rotate or to give way", async || {
        one.assert_valid().await;
        let met = |daemon: &crate::world::Daemon| {
            daemon.events("rotation_succeeded") + daemon.events("secret_changed_elsewhere")
        };
        daemons.iter().all(|daemon| met(daemon) >= 6)
    })
    .await;
    drop(daemons);
    let broken = one.broken().await;
    let early = |line: &&String| line.starts_with("P1") || line.starts_with("P3");
    let early: Vec<_> = broken.iter().filter(early).collect();
    assert!(early.is_empty(), "{early:?}");
}

#[tokio::test]
async fn p3_a_token_that_another_secret_holds_is_left_alone() {
    let world = World::new(2).await;
    let shared = world.value(0).await;
    world.put(1, &shared).await;
    let daemon = world.start("e2e");
    until("both to be known", async || {
        daemon.events("secret_adopted") == 2
    })
    .await;
    rotate(&world, 0).await;
    until("it to be reported", async || {
        daemon.events("token_shared") > 0
    })
    .await;
    assert_eq!(world.value(1).await, shared);
    world.assert_valid().await;
    // When the other one has a token of its own, too, it retires.
    rotate(&world, 1).await;
    until("the shared one to be gone", async || {
        world.dynatrace.token_by_value(&shared).is_none()
    })
    .await;
    world.assert_valid().await;
}

#[tokio::test]
async fn p1_nothing_retires_while_it_is_not_known_what_another_secret_holds() {
    let world = World::new(2).await;
    let shared = world.value(0).await;
    world.put(1, &shared).await;
    let mut daemon = world.start("e2e");
    until("both to be known", async || {
        daemon.events("secret_adopted") == 2
    })
    .await;
    rotate(&world, 0).await;
    daemon.kill();
    let due = |record: &Value| record["retiring"][0]["due"].as_str().map(str::to_owned);
    let due: jiff::Timestamp = due(&world.record(0).await)
        .expect("a due")
        .parse()
        .expect("a time");
    let document = world.document(1);
    let before = world.root.secret("secret", &document).await;
    let damaged = json!({ "schema": "x" });
    world.root.put("secret", &document, damaged).await;
    // Whoever starts now cannot know that the second secret holds the same token.
    let mut daemon = world.start("e2e");
    until("the damage to be reported", async || {
        daemon.events("journal_unreadable") == 1
    })
    .await;
    until("its grace to be long over", async || {
        now() > due + SignedDuration::from_secs(3)
    })
    .await;
    assert_eq!(daemon.events("token_disabled"), 0);
    assert_eq!(world.value(1).await, shared);
    world.assert_valid().await;
    daemon.kill();
    let before = before.expect("a document").data;
    world.root.put("secret", &document, before).await;
    let daemon = world.start("e2e");
    until("it to be reported", async || {
        daemon.events("token_shared") > 0
    })
    .await;
    rotate(&world, 1).await;
    until("the shared one to be gone", async || {
        world.dynatrace.token_by_value(&shared).is_none()
    })
    .await;
    drop(daemon);
    world.assert_valid().await;
}
