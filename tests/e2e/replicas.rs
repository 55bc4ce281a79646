//! Several daemons on one configuration, and a person's command beside them: every due rotation exactly once, whatever happens between one
//! of them and Vault. What one leaves when it dies or freezes at a step is tested in `crash`.

use std::time::Duration;

use simulator::{Action, Answer, Operation, Rule};

use crate::gate::gate;
use crate::world::{Daemon, World, until};

/// Several secrets that rotate every two seconds.
async fn busy() -> World {
    let mut world = World::new(4).await;
    for (key, value) in [
        ("defaults.schedule", "*/2 * * * * *"),
        ("journal.claim_timeout", "3s"),
        ("vault.timeout", "2s"),
    ] {
        world.set(key, value);
    }
    world
}

/// No due time was served twice, and each was reported once.
async fn assert_once(world: &World) {
    for number in 0..world.secrets.len() {
        let served = world.served(number).await;
        assert!(served.len() >= 3, "P6: secret {number} rotates");
        assert!(
            served.windows(2).all(|pair| pair[0] < pair[1]),
            "P6: a due time was served twice: {served:?}"
        );
    }
}

/// Everything becomes idle: no more rotations, what retires is gone.
async fn assert_rests(world: &mut World) {
    world.set("defaults.schedule", "0 0 1 1 *");
    let daemon = world.start("rest");
    until("everything to retire", async || {
        world.tokens() == world.secrets.len() && world.is_quiet().await
    })
    .await;
    drop(daemon);
    world.assert_holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p6_three_daemons_do_each_due_rotation_once_and_say_nothing_of_lost_claims() {
    let mut world = busy().await;
    let daemons = ["a", "b", "c"].map(|name| world.start(name));
    until("many rotations", async || {
        world.assert_valid().await;
        daemons
            .iter()
            .map(|one| one.events("rotation_succeeded"))
            .sum::<usize>()
            >= 24
    })
    .await;
    drop(daemons);
    assert_rests(&mut world).await;
    assert_once(&world).await;
    let loud = |line: &serde_json::Value| line["level"] == "WARN" || line["level"] == "ERROR";
    let loud: Vec<_> = world.lines().into_iter().filter(loud).collect();
    assert!(loud.is_empty(), "P8: a lost claim is no warning: {loud:?}");
}

/// The calls that only one who rotates makes: its own to Dynatrace and its writes to Vault, without those of the history. Those who come later
/// read, more often where a rotation takes long; `make bench` counts that.
fn calls_for_rotations(world: &World) -> usize {
    let vault = world.gate.calls();
    let vault = vault.iter().filter(|call| {
        let subject = call.subject.as_deref().unwrap_or_default();
        call.operation == Some(Operation::WriteSecret) && !subject.contains("_history")
    });
    let dynatrace = world.dynatrace.calls();
    let dynatrace = dynatrace.iter().filter(|call| call.operation.is_some());
    vault.count() + dynatrace.count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p6_three_replicas_cost_few_more_calls_than_one_and_a_dead_ones_secrets_are_taken_up() {
    let mut world = World::new(8).await;
    for (key, value) in [
        ("defaults.schedule", "*/3 * * * * *"),
        ("defaults.grace", "2m"),
        ("defaults.max_grace", "3m"),
        ("daemon.sweep", "1h"),
        ("journal.claim_timeout", "3s"),
    ] {
        world.set(key, value);
    }
    let mut daemons = ["a", "b", "c"].map(|name| world.start(name));
    let rotations = |daemons: &[Daemon]| -> usize {
        let all = daemons.iter().map(|one| one.events("rotation_succeeded"));
        all.sum()
    };
    until("the replicas to know each other", async || {
        rotations(&daemons) >= 16
    })
    .await;
    let (before, called) = (rotations(&daemons), calls_for_rotations(&world));
    until("many rotations", async || {
        rotations(&daemons) >= before + 32
    })
    .await;
    let done = rotations(&daemons) - before;
    let calls = calls_for_rotations(&world) - called;
    let mean = calls as f64 / done as f64;
    // Look up, mint, verify; claim, store, commit. Where all three begin at once it is two look-ups and two claims more.
    assert!(mean <= 7.0, "{calls} calls for {done} rotations: {mean:.1}");
    daemons[0].kill();
    let before: Vec<usize> = served(&world).await;
    until("each secret to be rotated by the others", async || {
        let now = served(&world).await;
        now.iter()
            .zip(&before)
            .all(|(now, before)| *now >= before + 2)
    })
    .await;
    drop(daemons);
    world.assert_valid().await;
}

/// How many due times of each secret were served.
async fn served(world: &World) -> Vec<usize> {
    let all = (0..world.secrets.len()).map(|number| world.served(number));
    let all = futures_util::future::join_all(all).await;
    all.iter().map(Vec::len).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k15_two_daemons_with_one_name_say_so_and_take_nothing_from_each_other() {
    let mut world = busy().await;
    let first = world.start_with("a", &[("DTROTATE_INSTANCE", "same")]);
    until("the first rotation", async || {
        first.events("rotation_succeeded") > 0
    })
    .await;
    let second = world.start_with("b", &[("DTROTATE_INSTANCE", "same")]);
    let daemons = [&first, &second];
    until("both to say so", async || {
        world.assert_valid().await;
        let says = |daemon: &&Daemon| daemon.events("instance_name_conflict") > 0;
        daemons.iter().all(says)
    })
    .await;
    let recovered: usize = daemons
        .iter()
        .map(|one| one.events("rotation_recovered"))
        .sum();
    // What the first one held when the second one began looked like a predecessor's.
    assert!(recovered <= world.secrets.len(), "{recovered}");
    drop(first);
    until("the end of it", async || {
        let lines = second.lines();
        lines
            .iter()
            .any(|line| line["event"] == "instance_name_conflict" && line["level"] == "INFO")
    })
    .await;
    drop(second);
    assert_rests(&mut world).await;
    assert_once(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p6_trouble_between_one_replica_and_vault_stops_nobody() {
    let mut world = busy().await;
    let lonely = gate(&world.site.vault.address, world.site.vault.client()).await;
    let a = world.start_with("a", &[("DTROTATE_VAULT__ADDRESS", &lonely.url())]);
    let others = ["b", "c"].map(|name| world.start(name));
    let rotations = || {
        others
            .iter()
            .map(|one| one.events("rotation_succeeded"))
            .sum::<usize>()
    };
    let write = || Rule::on(Operation::WriteSecret);
    for round in 1..=6 {
        // Its claims land and it never learns of it; its writes come too late; it is cut off.
        let faults = match round % 3 {
            0 => vec![lonely.fault(write().always().then(Action::LoseAnswer))],
            1 => vec![lonely.fault(write().always().then(Action::Delay(Duration::from_secs(3))))],
            _ => vec![
                lonely.fault(
                    Rule::any()
                        .always()
                        .then(Action::Refuse(Answer::proxy(502))),
                ),
            ],
        };
        let before = rotations();
        until("the others to go on", async || {
            world.assert_valid().await;
            rotations() >= before + 4
        })
        .await;
        faults.iter().for_each(simulator::Fault::remove);
        if round == 3 {
            lonely.shut().await;
            let before = rotations();
            until("the others to go on", async || rotations() >= before + 4).await;
            lonely.open().await.expect("the same port");
        }
    }
    drop((a, others));
    assert_rests(&mut world).await;
    assert_once(&world).await;
    let mut errors = world.errors();
    errors.retain(|line| line["event"] != "vault_unavailable" || line["instance"] != "a");
    assert!(errors.is_empty(), "P8: {errors:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p6_a_person_rotates_beside_the_daemons() {
    let mut world = busy().await;
    let daemons = ["a", "b"].map(|name| world.start(name));
    let rotations = || {
        daemons
            .iter()
            .map(|one| one.events("rotation_succeeded"))
            .sum::<usize>()
    };
    until("the first rotations", async || rotations() >= 4).await;
    let (mut done, mut busy) = (0, 0);
    while done < 8 {
        let name = world.secrets[done % 4].clone();
        let (code, results) = world.command(&["rotate", &name]).await;
        match code {
            Some(0) => done += 1,
            Some(75) => busy += 1,
            other => panic!("{other:?}: {results}"),
        }
        assert!(busy < 200, "the command never gets the claim");
        world.assert_valid().await;
    }
    until("the daemons to go on", async || rotations() >= 20).await;
    drop(daemons);
    assert_rests(&mut world).await;
    let errors = world.errors();
    assert!(errors.is_empty(), "P8: {errors:?}");
}
