//! Answers that belong to other requests (P9): a share of what Dynatrace answers to create, look-up and read-by-id is swapped among concurrent
//! requests of one environment. `make lies` does it for 10,000 rotations.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use simulator::{Action, Actor, Operation, Rule, Seed};

use crate::soak::variable;
use crate::world::{World, until, within};

/// The share of answers that are swapped.
const SHARE: f64 = 0.05;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p9_swapped_answers_touch_no_foreign_token_and_store_no_foreign_value() {
    let wanted = variable("LIES_ROTATIONS").map_or(120, |text| text.parse().expect("a number"));
    let mut world = World::new(if wanted > 1000 { 40 } else { 12 }).await;
    world.set("defaults.schedule", "* * * * * *");
    // Tokens of people, with the rights of the secrets and with others.
    let strangers: Vec<String> = (0..20)
        .map(|number| {
            let scopes: &[&str] = match number % 2 {
                0 => &["metrics.read", "logs.ingest"],
                _ => &["metrics.ingest"],
            };
            let seed = Seed::new(&format!("person {number}")).scopes(scopes);
            world.dynatrace.seed(seed).id
        })
        .collect();
    let daemon = world.start("e2e");
    until("all secrets to be recorded", async || {
        daemon.events("secret_adopted") == world.secrets.len()
    })
    .await;
    let operations = [
        Operation::CreateToken,
        Operation::LookupToken,
        Operation::GetToken,
    ];
    let swapped: Vec<_> = operations
        .into_iter()
        .zip(1..)
        .map(|(operation, seed)| {
            let swap = Action::SwapAnswer(Duration::from_millis(20));
            world
                .dynatrace
                .fault(Rule::on(operation).share(SHARE, seed).then(swap))
        })
        .collect();
    let end =
        Instant::now() + Duration::from_secs(120).max(Duration::from_millis(100 * wanted as u64));
    let left = end.saturating_duration_since(Instant::now());
    let reached = within(left, async || versions(&world).await >= wanted).await;
    assert!(reached, "too few rotations in the time");
    for fault in &swapped {
        assert!(fault.fired() > 0, "no answer was swapped");
        fault.remove();
    }
    world.set("defaults.schedule", "0 0 1 1 *");
    daemon.signal("-HUP");
    let quiet = within(Duration::from_secs(60), async || world.is_quiet().await).await;
    assert!(
        quiet,
        "it does not become idle: {}",
        unfinished(&world).await
    );
    drop(daemon);
    eprintln!(
        "lies: {} swapped answers, {} mismatches found",
        swapped.iter().map(|fault| fault.fired()).sum::<usize>(),
        world
            .lines()
            .iter()
            .filter(|line| line["event"] == "mint_answer_mismatch")
            .count()
    );

    // No foreign token was touched, and none was stored.
    for change in world.dynatrace.history() {
        let touched = strangers.contains(&change.token_id) && matches!(change.by, Actor::Token(_));
        assert!(!touched, "{change:?}");
    }
    let mut holders: BTreeMap<String, usize> = BTreeMap::new();
    for number in 0..world.secrets.len() {
        let path = &world.secrets[number];
        for version in world.root.versions("secret", path).await.into_keys() {
            let read = world.root.secret_version("secret", path, version).await;
            let value = read.expect("a version").data["token"]
                .as_str()
                .expect("a value")
                .to_owned();
            let (id, _) = value.rsplit_once('.').expect("a dotted value");
            assert!(
                !strangers.contains(&id.to_owned()),
                "{path} held a stranger's value"
            );
            let first = *holders.entry(id.to_owned()).or_insert(number);
            assert_eq!(first, number, "{id} was in {path} and in another secret");
        }
    }
    world.assert_holds().await;
}

/// How many versions the secrets have in all, beyond their first ones.
async fn versions(world: &World) -> usize {
    let mut versions = 0;
    for path in &world.secrets {
        let secret = world.root.secret("secret", path).await.expect("the secret");
        versions += secret.version as usize - 1;
    }
    versions
}

/// What the documents still have to do, and the problems that are open.
async fn unfinished(world: &World) -> String {
    let mut text = String::new();
    for number in 0..world.secrets.len() {
        let record = world.record(number).await;
        for part in ["claim", "open", "retiring"] {
            text += &format!("{} {part} {}\n", world.secrets[number], record[part]);
        }
    }
    for line in world.errors() {
        text += &format!("{line}\n");
    }
    text
}
