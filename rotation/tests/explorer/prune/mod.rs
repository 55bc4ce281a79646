//! The search over a token that no secret manages and that a person prunes: commands and two daemons that die or are held up at any call, answers
//! that are lost, effects that come late, people who change or use the token, and an adversary who edits the document. It drives the machine of
//! pruning (`rotation::prune`), and the document is changed by its own edits.

mod guards;
mod people;
mod promises;
mod scenarios;
mod successors;
mod world;

use self::guards::Guard;
use self::world::{Case, PruneWorld};
use super::{asked, assert_kept, assert_shown};

#[test]
fn every_state_of_a_pruned_token_keeps_the_promises() {
    let (only, full) = (asked("EXPLORE_ONLY"), asked("EXPLORE_FULL") == "1");
    let mut all = scenarios::scenarios();
    all.retain(|scenario| scenario.name.contains(&only) && (full || !scenario.is_big));
    let small = all.iter().map(|scenario| (scenario.small(), "small"));
    let mut work: Vec<_> = small.collect();
    if full {
        work.extend(all.iter().map(|scenario| (scenario.clone(), "full")));
    }
    assert_kept::<PruneWorld, _>(
        &work,
        |(scenario, _)| Case::new(scenario.clone(), &[]),
        |(scenario, budget)| (scenario.name, *budget),
    );
}

#[test]
fn a_guard_of_pruning_that_is_switched_off_shows() {
    let only = asked("EXPLORE_ONLY");
    let mut work = guards::all();
    work.retain(|(off, _)| format!("{off:?}").contains(&only));
    let of = |(off, name): &(&'static [Guard], &str)| {
        let all = scenarios::scenarios();
        let scenario = all.iter().find(|one| one.name == *name);
        Case::new(scenario.expect("a scenario of that name").small(), off)
    };
    assert_shown::<PruneWorld, _>(&work, of, |(off, name)| format!("{off:?} in {name:?}"));
}
