//! `dtrotate run --once`: one complete pass, beside daemons and other passes, under faults and kills.

use std::fs;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use simulator::{Action, Answer, Operation, Rule};

use crate::world::{LONG, World, now, until};

const PASS: &[&str] = &["run", "--once"];

/// A world in which a pass finds something due whenever a second has passed since the last one.
async fn due(secrets: usize) -> World {
    let mut world = World::new(secrets).await;
    world.set("journal.claim_timeout", "2s");
    let (code, _, log) = world.command_and_stderr(PASS).await;
    assert_eq!(code, Some(0), "{log}");
    world.set("defaults.schedule", "* * * * * *");
    let recorded = now();
    until("a due time", async || {
        now() > recorded + Duration::from_secs(1)
    })
    .await;
    world
}

/// Everything that passes began comes to its end by passes alone.
async fn settled_by_passes(world: &mut World) {
    world.set("defaults.schedule", "0 0 1 1 *");
    until("passes to settle everything", async || {
        let (code, _, log) = world.command_and_stderr(PASS).await;
        assert_eq!(code, Some(0), "{log}");
        world.is_quiet().await
    })
    .await;
    world.assert_holds().await;
}

/// No pass lives long enough to see the moment at which a daemon renews.
#[tokio::test]
async fn a_pass_renews_a_vault_token_that_has_used_up_most_of_its_time() {
    let world = World::new(1).await;
    let made = json!({ "policies": ["dtrotate"], "ttl": "10h", "no_parent": true });
    let made = world.root.ok(Method::POST, "auth/token/create", made).await;
    let token = made["auth"]["client_token"].as_str().expect("a token");
    let renewed = async || {
        let body = json!({ "token": token });
        let seen = world.root.ok(Method::POST, "auth/token/lookup", body).await;
        seen["data"]["last_renewal_time"].as_u64()
    };
    let shorter = json!({ "token": token, "increment": "600s" });
    world
        .root
        .ok(Method::POST, "auth/token/renew", shorter)
        .await;
    let before = renewed().await;
    assert!(before.is_some());
    fs::write(world.folder.path().join("vault-token"), token).expect("the token file");
    until("a pass to renew the token", async || {
        let (code, _, log) = world.command_and_stderr(PASS).await;
        assert_eq!(code, Some(0), "{log}");
        renewed().await > before
    })
    .await;
}

#[tokio::test]
async fn a_pass_serves_what_was_missed_since_the_last_one_and_retires_what_is_due() {
    let mut world = due(2).await;
    // What a daemon would skip, since it was down, is what a pass is for.
    world.set("defaults.missed", "skip");
    world.set("defaults.jitter", "0s");
    let metrics = world.folder.path().join("dtrotate.prom");
    let file = metrics.to_str().expect("text");
    let (code, text, log) = world
        .command_and_stderr(&["run", "--once", "--metrics-file", file])
        .await;
    assert_eq!((code, text.as_str()), (Some(0), ""), "{log}");
    for number in 0..2 {
        assert!(world.replaced(number).await >= 1, "{log}");
    }
    let line = log.lines().find(|line| line.contains("\"pass_completed\""));
    let line = line.expect("the last word of a pass");
    assert!(line.contains("the pass over 2 secrets took"), "{line}");
    let written = fs::read_to_string(&metrics).expect("the metrics");
    assert!(
        written.contains("dtrotate_events_total") && written.ends_with('\n'),
        "{written}"
    );
    // No draft is left beside it.
    let beside = fs::read_dir(world.folder.path()).expect("the folder");
    let drafts = beside.filter(|file| {
        let name = file.as_ref().expect("a file").file_name();
        name.to_string_lossy().starts_with("dtrotate.prom.")
    });
    assert_eq!(drafts.count(), 0);
    settled_by_passes(&mut world).await;
    assert_eq!(world.tokens(), 2, "old tokens are gone without a daemon");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p6_passes_and_a_daemon_side_by_side_serve_each_due_time_once() {
    let mut world = due(3).await;
    world.set("defaults.schedule", "*/5 * * * * *");
    let daemon = world.start("daemon");
    for _ in 0..3 {
        let (one, other) = tokio::join!(world.command(PASS), world.command(PASS));
        assert_eq!((one.0, other.0), (Some(0), Some(0)));
    }
    for number in 0..3 {
        let mut served = world.served(number).await;
        let all = served.len();
        served.dedup();
        assert_eq!(served.len(), all, "{served:?}");
    }
    drop(daemon);
    settled_by_passes(&mut world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_what_a_killed_pass_left_is_taken_over_by_the_age_of_its_claim_at_vault() {
    for operation in [Operation::CreateToken, Operation::UpdateToken] {
        let mut world = due(1).await;
        if operation == Operation::UpdateToken {
            // The next pass disables the old token.
            world.set("defaults.grace", "0s");
        }
        let rule = Rule::on(operation).then(Action::HoldAnswer);
        let held = world.dynatrace.fault(rule);
        let mut killed = world.start_command("killed", PASS);
        assert!(held.wait_performed(1, LONG).await, "{operation:?}");
        killed.kill();
        held.drop_held();
        settled_by_passes(&mut world).await;
        world.assert_valid().await;
        assert_eq!(world.tokens(), 1, "{operation:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_living_process_holds_is_left_to_it() {
    let mut world = due(2).await;
    world.set("journal.claim_timeout", "60s");
    let rule = Rule::on(Operation::CreateToken).then(Action::Hold);
    let held = world.dynatrace.fault(rule);
    let mut command = world.start_command("command", &["rotate", "dynatrace/s0"]);
    assert!(held.wait_held(1, LONG).await);
    let claimed = world.record(0).await["claim"].clone();
    let pass = world.command_and_stderr(PASS);
    let holder = async {
        until("the other secret to be rotated", async || {
            world.replaced(1).await >= 1
        })
        .await;
        assert_eq!(world.record(0).await["claim"], claimed);
        held.release();
    };
    let ((code, _, log), ()) = tokio::join!(pass, holder);
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(command.exit_code(), Some(0));
    settled_by_passes(&mut world).await;
}

#[tokio::test]
async fn p10_the_exit_status_says_what_was_not_served() {
    let mut world = due(2).await;
    // Dynatrace is down: whatever waits for it is left to the next pass.
    let down = Rule::any()
        .always()
        .then(Action::Refuse(Answer::status(503)));
    let fault = world.dynatrace.fault(down);
    let (code, _, log) = world.command_and_stderr(PASS).await;
    assert_eq!(code, Some(69), "{log}");
    assert!(log.contains("pass_completed"), "{log}");
    fault.remove();
    // A sealed Vault.
    world.site.vault.seal().await;
    let (code, _, log) = world.command_and_stderr(PASS).await;
    assert_eq!(code, Some(69), "{log}");
    world.site.vault.unseal().await;
    // A secret that needs a human does not keep the other one from its turn.
    let id = world.current_id(0).await;
    assert!(world.dynatrace.disable(&id));
    let before = world.replaced(1).await;
    let (code, _, log) = world.command_and_stderr(PASS).await;
    assert_eq!(code, Some(1), "{log}");
    assert!(world.replaced(1).await > before);
    assert!(world.dynatrace.enable(&id));
    // It is caught up at its next due time.
    let (code, _, log) = world.command_and_stderr(PASS).await;
    assert_eq!(code, Some(0), "{log}");
    // A time that is up, with a rotation in flight.
    let rule = Rule::on(Operation::CreateToken).then(Action::HoldAnswer);
    let held = world.dynatrace.fault(rule);
    let (code, _, log) = world
        .command_and_stderr(&["run", "--once", "--timeout", "3s"])
        .await;
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("--timeout"), "{log}");
    held.drop_held();
    settled_by_passes(&mut world).await;
    // No directory for the metrics: everything was served, and that is said.
    let (code, _, log) = world
        .command_and_stderr(&["run", "--once", "--metrics-file", "/nosuch/dtrotate.prom"])
        .await;
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("cannot write /nosuch/dtrotate.prom"), "{log}");
    world.set("defaults.schedule", "61 * * * *");
    assert_eq!(world.command(PASS).await.0, Some(78));
    assert_eq!(world.command(&["run", "--timeout", "1m"]).await.0, Some(2));
}
