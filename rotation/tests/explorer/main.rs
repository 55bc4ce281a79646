//! The explorer: an exhaustive search that drives the shipped machine for one secret in a small world of processes that die, are suspended and
//! wake up at any step, answers that are lost or belong to another request, effects that come late, stale reads, late listings, people who
//! change things by hand, and an adversary who edits documents and names.
//!
//! It is the specification made to run: every state that can be reached within a scenario's budget of faults is visited once, the promises
//! are checked in each, and from every state in which nobody is at work the system must become idle. A violation is printed with a
//! shortest trace. A rule of the protocol that is switched off (`mutation`) must show.
//!
//! `make test` runs every scenario with a small budget, `make explore` with the full one.

mod cached;
mod case;
mod hostile;
mod mutation;
mod promises;
mod prune;
mod rules;
mod scenario;
mod scenarios;
mod search;
mod successors;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use self::case::Case;
use self::mutation::Mutation;
use self::scenario::Scenario;
use self::search::{Found, Searchable, explore};
use self::world::World;

/// Most of a search is copies of states: with the allocator of the program it takes a third less time.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A search ends after so many states, which takes minutes, and reports how many steps it saw whole; a small one must end before.
const LIMIT: usize = 3_000_000;

/// What the search is asked for: `EXPLORE_FULL=1` for the full budgets, `EXPLORE_ONLY=...` for what has this in its name.
#[expect(
    clippy::disallowed_methods,
    reason = "a test is asked for by its environment"
)]
fn asked(what: &str) -> String {
    std::env::var(what).unwrap_or_default()
}

/// Every scenario with its full budget.
fn all() -> Vec<Scenario> {
    let mut all = scenarios::scenarios();
    all.extend(hostile::scenarios());
    all
}

/// Searches one after the other on each core.
fn search<W: Searchable, T: Sync>(
    work: &[T],
    of: impl Fn(&T) -> W::Case + Sync,
    done: impl Fn(&T, Found) + Sync,
) {
    let next = AtomicUsize::new(0);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some(one) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    done(one, explore::<W>(&of(one), LIMIT));
                }
            });
        }
    });
}

#[test]
fn every_state_of_every_scenario_keeps_the_promises() {
    let (only, full) = (asked("EXPLORE_ONLY"), asked("EXPLORE_FULL") == "1");
    let mut scenarios = all();
    scenarios.retain(|scenario| scenario.name.contains(&only) && (full || !scenario.is_big()));
    // The small budgets are searched to the end in any case.
    let small = scenarios.iter().cloned().map(|it| (it.small(), "small"));
    let mut work: Vec<_> = small.collect();
    if full {
        work.extend(scenarios.into_iter().map(|scenario| (scenario, "full")));
    }
    let of = |(scenario, _): &(Scenario, _)| Case::new(scenario.clone(), &[]);
    let name = |(scenario, budget): &(Scenario, &'static str)| (scenario.name, *budget);
    assert_kept::<World, _>(&work, of, name);
}

#[test]
fn a_rule_that_is_switched_off_shows() {
    let only = asked("EXPLORE_ONLY");
    let mut work = rules::rules();
    work.retain(|(off, _)| format!("{off:?}").contains(&only));
    let of = |(off, name): &(&'static [Mutation], &str)| {
        let scenario = all().into_iter().find(|one| one.name == *name);
        Case::new(scenario.expect("a scenario of that name").small(), off)
    };
    assert_shown::<World, _>(&work, of, |(off, name)| format!("{off:?} in {name:?}"));
}

/// Each of these keeps the promises in every state. `name` = its name, and "small" if it must be searched to the end.
fn assert_kept<W: Searchable, T: Sync>(
    work: &[T],
    of: impl Fn(&T) -> W::Case + Sync,
    name: impl Fn(&T) -> (&'static str, &'static str) + Sync,
) {
    let failures = Mutex::new(vec![]);
    search::<W, _>(work, of, |one, found| {
        let ((name, budget), states) = (name(one), found.states);
        match found.cut {
            Some(steps) => {
                println!("{name:<50} {budget:<5} {states:>9} states, all within {steps} steps")
            }
            None => println!("{name:<50} {budget:<5} {states:>9} states, all"),
        }
        let wrong = match found.violation {
            Some((wrong, trace)) => format!("{name}: {wrong}\n  {}", trace.join("\n  ")),
            None if found.cut.is_some() && budget == "small" => format!("{name}: too much"),
            None => return,
        };
        failures.lock().expect("no panic").push(wrong);
    });
    let failures = failures.into_inner().expect("no panic");
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// Each of these, in which a rule is switched off, has a violation.
fn assert_shown<W: Searchable, T: Sync>(
    work: &[T],
    of: impl Fn(&T) -> W::Case + Sync,
    name: impl Fn(&T) -> String + Sync,
) {
    let silent = Mutex::new(vec![]);
    search::<W, _>(work, of, |one, found| match found.violation {
        Some((wrong, trace)) => {
            let steps = trace.len() - 1;
            // What it looks like at rest would fill pages.
            let wrong = wrong.split(": tick").next().unwrap_or_default();
            println!("{}: {wrong}, after {steps} steps", name(one));
        }
        None => {
            let text = format!("{}: {} states", name(one), found.states);
            silent.lock().expect("no panic").push(text);
        }
    });
    let silent = silent.into_inner().expect("no panic");
    assert!(silent.is_empty(), "no violation shows: {silent:#?}");
}
