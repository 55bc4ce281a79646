//! A command that gets a signal: what is in flight is finished or given back, nothing more is begun, and it says what was not done.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use simulator::{Action, Answer, Operation, Rule};

use crate::world::{Daemon, LONG, World, until, within};

/// What it wrote to standard error.
fn stderr(command: &Daemon) -> String {
    fs::read_to_string(&command.log).unwrap_or_default()
}

async fn stops(command: &Daemon) {
    until("the stop to begin", async || {
        stderr(command).contains("stopping")
    })
    .await;
}

async fn ends(command: &mut Daemon) -> Option<i32> {
    until("the command to end", async || command.has_ended()).await;
    command.exit_code()
}

async fn patient(secrets: usize) -> World {
    let mut world = World::new(secrets).await;
    world.set("defaults.grace", "1h");
    world.set("defaults.max_grace", "2h");
    world.set("limits.concurrency", 1);
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_lets_what_is_in_flight_end_and_begins_nothing_more() {
    for signal in ["-TERM", "-INT", "-HUP"] {
        let world = patient(3).await;
        let held = world
            .dynatrace
            .fault(Rule::on(Operation::CreateToken).then(Action::Hold));
        let mut command = world.start_command("rotate", &["rotate", "--all", "--json"]);
        assert!(held.wait_held(1, LONG).await);
        command.signal(signal);
        stops(&command).await;
        assert_eq!(held.release(), 1);
        assert_eq!(ends(&mut command).await, Some(1), "{signal}");
        let log = stderr(&command);
        let [first, second, third] = [0, 1, 2].map(|number| world.secrets[number].as_str());
        let sentence = format!("stopped: 1 of 3 secrets ended; not begun: {second}, {third}");
        assert!(log.contains(&sentence), "{log}");
        let results = fs::read_to_string(world.folder.path().join("rotate.command.out"));
        let outcome: Value = serde_json::from_str(&results.expect("results")).expect("one");
        assert_eq!(
            (&outcome["secret"], &outcome["result"]),
            (&json!(first), &json!("rotated"))
        );
        assert_eq!(world.record(1).await, Value::Null);
        assert_eq!(world.command(&["rotate", "--all"]).await.0, Some(0));
        world.assert_valid().await;
    }
}

/// Half as many secrets again as there may be calls to an environment are worked on; those that wait for their first call do not make it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_waits_for_its_first_call_ends_without_one() {
    let mut world = patient(3).await;
    world.set("limits.concurrency", 2);
    let mut current = vec![];
    for number in 0..3 {
        current.push(world.current_id(number).await);
    }
    let first = Rule::on(Operation::LookupToken).always();
    let first =
        first.matching(move |call| call.subject.as_ref().is_some_and(|it| current.contains(it)));
    let held = world.dynatrace.fault(first.then(Action::Hold));
    let mut command = world.start_command("rotate", &["rotate", "--all", "--json"]);
    assert!(held.wait_held(2, LONG).await);
    command.signal("-TERM");
    stops(&command).await;
    held.remove();
    held.release();
    assert_eq!(ends(&mut command).await, Some(1));
    let results = fs::read_to_string(world.folder.path().join("rotate.command.out"));
    let results = results.expect("results");
    let count = |result: &str| results.matches(&format!("\"result\":\"{result}\"")).count();
    assert_eq!((count("rotated"), count("failed")), (2, 1), "{results}");
    assert_eq!(world.tokens(), 5, "the third secret has its old one");
    assert_eq!(world.command(&["rotate", "--all"]).await.0, Some(0));
    world.assert_valid().await;
}

/// No other process has the name of a command or of a pass, so that nobody would continue what it claimed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_ends_a_wait_and_the_claim_is_given_back() {
    gives_its_claim_back(&["rotate", "--all"]).await;
    gives_its_claim_back(&["run", "--once"]).await;
}

async fn gives_its_claim_back(arguments: &[&str]) {
    let mut world = World::new(1).await;
    assert_eq!(world.command(&["run", "--once"]).await.0, Some(0));
    // A pass rotates what is due.
    world.set("defaults.schedule", "* * * * * *");
    // A new token may take long until it is accepted everywhere.
    world.set("dynatrace.prod.settle", "5m");
    let (name, old) = (world.secrets[0].clone(), world.current_id(0).await);
    let current = old.clone();
    let rule = Rule::on(Operation::LookupToken)
        .matching(move |call| call.subject.as_ref() != Some(&current))
        .always();
    let unknown = Answer::dynatrace(401, "Token Authentication failed");
    let fault = world.dynatrace.fault(rule.then(Action::Refuse(unknown)));
    let mut command = world.start_command("stopped", arguments);
    assert!(fault.wait_fired(2, LONG).await, "{}", stderr(&command));
    assert!(world.record(0).await["claim"].is_object());
    command.signal("-TERM");
    assert_eq!(ends(&mut command).await, Some(1));
    let results = fs::read_to_string(world.folder.path().join("stopped.command.out"));
    let said = results.expect("results") + &stderr(&command);
    assert!(said.contains("it was stopped before it was done"), "{said}");
    let record = world.record(0).await;
    assert_eq!(
        (&record["claim"], record["open"].as_array().map(Vec::len)),
        (&Value::Null, Some(1))
    );
    assert_eq!(world.current_id(0).await, old);
    fault.remove();
    assert_eq!(world.command(&["rotate", &name]).await.0, Some(0));
    world.assert_valid().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_it_at_once_and_the_journal_continues() {
    let mut world = patient(1).await;
    world.set("journal.claim_timeout", "2s");
    let name = world.secrets[0].clone();
    let held = world
        .dynatrace
        .fault(Rule::on(Operation::CreateToken).then(Action::Hold));
    let mut command = world.start_command("rotate", &["rotate", &name]);
    assert!(held.wait_held(1, LONG).await);
    command.signal("-TERM");
    stops(&command).await;
    command.signal("-TERM");
    let soon = within(Duration::from_secs(5), async || command.has_ended()).await;
    assert!(soon && command.exit_code() == Some(1));
    held.drop_held();
    until("its claim to be taken over", async || {
        world.command(&["rotate", &name]).await.0 == Some(0)
    })
    .await;
    world.assert_valid().await;
}
