//! All secrets of a world are due in the same second.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dtrotate::clock;
use jiff::SignedDuration;
use simulator::{Call, Operation};

use crate::Outcome;
use crate::process::Daemon;
use crate::world::World;

/// No rotation has ended for so long: none will.
const PATIENCE: SignedDuration = SignedDuration::from_secs(90);

/// What was seen of it.
pub struct Seen {
    /// From the due instant to the last rotation, seconds.
    pub took: f64,
    /// From the due instant to the first rotation, seconds.
    pub first: f64,
    /// Seconds of CPU of all daemons, until they idle again.
    pub cpu: f64,
    /// The most resident memory of the first daemon, megabytes.
    pub peak: f64,
    /// Calls per rotation up to the commit.
    pub calls: f64,
    /// Those of them that go to Dynatrace, which is where the latency is.
    pub dynatrace_calls: f64,
    /// All calls per rotation.
    pub all_calls: f64,
}

/// Lets all secrets be due in one second and waits until all of them have rotated, exactly once, and the daemons idle.
pub fn at_once(world: &World, daemons: &[Daemon], latency: Duration) -> Outcome<Seen> {
    let (environment, kv) = (world.simulator.dynatrace(), world.simulator.kv());
    let before = world.versions()?;
    let tokens = environment.tokens().len();
    environment.set_latency(Duration::ZERO);
    environment.reset_calls();
    kv.reset_calls();
    // Each daemon looks at every document again after a reload, which is no part of a rotation.
    let ahead = 10 + i64::try_from(world.secrets * daemons.len())? / 150;
    let second = SignedDuration::from_secs(1);
    let due = (clock::now() + second * i32::try_from(ahead)?).round(jiff::Unit::Second)?;
    world.configure(&due.strftime("%S %M %H * * *").to_string())?;
    for daemon in daemons {
        daemon.forget()?;
        daemon.signal("-HUP")?;
    }
    for daemon in daemons {
        daemon.until("config_reloaded", 1)?;
    }
    calls_end(world);
    if clock::now() > due - second {
        return Err("this machine is too busy: the new configuration came too late".into());
    }
    environment.set_latency(latency);
    environment.reset_calls();
    kv.reset_calls();
    daemons[0].forget_peak()?;
    let mut cpu = 0.0;
    for daemon in daemons {
        daemon.forget()?;
        cpu -= daemon.cpu()?;
    }
    let (mut done, mut progress) = (0, due);
    while done < world.secrets {
        std::thread::sleep(Duration::from_millis(100));
        let counts = daemons
            .iter()
            .map(|daemon| daemon.count("rotation_succeeded"));
        let now: usize = counts.collect::<Outcome<Vec<_>>>()?.iter().sum();
        if std::mem::replace(&mut done, now) < now {
            progress = clock::now();
        }
        if clock::now() > progress + PATIENCE {
            return Err(format!("{done} of {} have rotated", world.secrets).into());
        }
    }
    for daemon in daemons {
        daemon.quiet()?;
        cpu += daemon.cpu()?;
    }
    let worked = daemons
        .iter()
        .filter_map(|it| it.times("rotation_succeeded").ok());
    let (first, last): (Vec<_>, Vec<_>) = worked.unzip();
    let since =
        |at: Option<jiff::Timestamp>| at.map_or(0.0, |at| at.duration_since(due).as_secs_f64());
    let rotations = world.secrets as f64;
    let (dynatrace, vault) = (environment.calls(), kv.calls());
    let to_dynatrace = dynatrace
        .iter()
        .filter(|call| is_of_a_rotation(call))
        .count() as f64;
    show(&dynatrace, rotations);
    show(&vault, rotations);
    let seen = Seen {
        took: since(last.into_iter().max()),
        first: since(first.into_iter().min()),
        cpu,
        peak: daemons[0].peak()?,
        calls: (to_dynatrace + up_to_the_commit(&vault) as f64) / rotations,
        dynatrace_calls: to_dynatrace / rotations,
        all_calls: (dynatrace.len() + vault.len()) as f64 / rotations,
    };
    let after = world.versions()?;
    if before
        .iter()
        .zip(&after)
        .any(|(before, after)| before + 1 != *after)
    {
        return Err("a secret did not rotate exactly once".into());
    }
    if environment.tokens().len() != tokens + world.secrets {
        return Err("a token was lost or made twice".into());
    }
    Ok(seen)
}

/// Waits until the servers hear no more than what a daemon that idles asks for: it reads each document again now and then.
fn calls_end(world: &World) {
    let (environment, kv) = (world.simulator.dynatrace(), world.simulator.kv());
    let few = 2 + world.secrets / 100;
    let mut more = few + 1;
    while more > few {
        let before = environment.calls().len() + kv.calls().len();
        std::thread::sleep(Duration::from_secs(2));
        more = environment.calls().len() + kv.calls().len() - before;
    }
}

/// Shows the calls of a rotation by their paths.
fn show(calls: &[Call], rotations: f64) {
    let mut counts = BTreeMap::<(&str, &str, bool), usize>::new();
    for call in calls {
        let subject = call.subject.as_deref().unwrap_or_default();
        let is_document = subject.contains("dtrotate/journal/");
        let key = (call.method.as_str(), call.path.as_str(), is_document);
        *counts.entry(key).or_default() += 1;
    }
    for ((method, path, is_document), count) in counts {
        let of = if is_document { " of the journal" } else { "" };
        eprintln!("  {:.2} {method} {path}{of}", count as f64 / rotations);
    }
}

fn is_of_a_rotation(call: &Call) -> bool {
    matches!(
        call.operation,
        Some(Operation::LookupToken | Operation::GetToken | Operation::CreateToken)
    )
}

/// The calls to Vault without what follows a commit: the look at the replaced version, which is a read of a secret after its own store, and
/// the history. A document is read by whoever wants to claim it, also after another replica has written it.
fn up_to_the_commit(calls: &[Call]) -> usize {
    let mut stored = BTreeSet::new();
    let counts = |call: &&Call| {
        let Some(subject) = call.subject.as_deref() else {
            return false;
        };
        let is_document = subject.contains("/journal/");
        match call.operation {
            _ if subject.contains("/_history/") => false,
            Some(Operation::ReadSecret) => is_document || !stored.contains(subject),
            Some(Operation::WriteSecret) => {
                stored.insert(subject.to_owned());
                true
            }
            _ => false,
        }
    };
    calls.iter().filter(counts).count()
}
