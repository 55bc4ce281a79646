//! The scenarios, and the rules that must show when they are switched off.

use super::mutation::Mutation;
use super::search::{Hand, Scenario, explore};
use super::world::{Budget, Setting};

/// A search of more states than this was meant to be smaller.
const LIMIT: usize = 5_000_000;

/// A budget of nothing, to change in a scenario.
const NONE: Budget = Budget {
    runs: 5,
    crash: 0,
    steal: 0,
    lose: 0,
    late: 0,
    fail: 0,
    stale: 0,
    hide: 0,
    hand: 0,
};

const BASE: Scenario = Scenario {
    name: "",
    daemons: 1,
    undo: false,
    dues: &[0],
    ticks: 3,
    budget: NONE,
    hands: &[],
    at_rest: false,
    manages: false,
};

impl Scenario {
    /// The same with the least that still means something: one mishap of each kind, and time for one retirement.
    fn small(mut self) -> Scenario {
        let budget = &mut self.budget;
        budget.runs = budget.runs.min(3);
        budget.crash = budget.crash.min(1);
        budget.lose = budget.lose.min(1);
        budget.late = budget.late.min(1);
        budget.fail = budget.fail.min(1);
        let most = match (self.daemons, self.undo || self.at_rest) {
            (1, true) => 2,
            (1, false) => 1,
            // Two at work at the same time are a multitude as it is.
            _ => 0,
        };
        self.ticks = self.ticks.min(most);
        self
    }
}

/// Every scenario with its full budget.
fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "one daemon, undisturbed",
            ..BASE
        },
        Scenario {
            name: "a daemon that dies",
            budget: Budget { crash: 3, ..NONE },
            ..BASE
        },
        Scenario {
            name: "two daemons",
            daemons: 2,
            ticks: 2,
            ..BASE
        },
        Scenario {
            name: "a claim taken over",
            daemons: 2,
            ticks: 2,
            budget: Budget { steal: 1, ..NONE },
            ..BASE
        },
        Scenario {
            name: "answers lost",
            budget: Budget { lose: 2, ..NONE },
            ..BASE
        },
        Scenario {
            name: "effects that come late",
            budget: Budget { late: 2, ..NONE },
            ..BASE
        },
        Scenario {
            name: "calls that fail",
            budget: Budget { fail: 2, ..NONE },
            ..BASE
        },
        Scenario {
            name: "lost answers and deaths",
            budget: Budget {
                crash: 1,
                lose: 1,
                ..NONE
            },
            ..BASE
        },
        Scenario {
            name: "late effects and deaths",
            budget: Budget {
                crash: 1,
                late: 1,
                ..NONE
            },
            ..BASE
        },
        Scenario {
            name: "a token that is listed late",
            budget: Budget {
                crash: 1,
                hide: 1,
                fail: 1,
                ..NONE
            },
            ..BASE
        },
        Scenario {
            name: "take-over with a lost answer",
            daemons: 2,
            ticks: 2,
            budget: Budget {
                steal: 1,
                lose: 1,
                ..NONE
            },
            ..BASE
        },
        Scenario {
            name: "take-over with a late effect",
            daemons: 2,
            ticks: 2,
            budget: Budget {
                steal: 1,
                late: 1,
                ..NONE
            },
            ..BASE
        },
        Scenario {
            name: "take-over with a stale read",
            daemons: 2,
            ticks: 2,
            budget: Budget {
                steal: 1,
                stale: 1,
                ..NONE
            },
            ..BASE
        },
        Scenario {
            name: "two due instants",
            dues: &[0, 1],
            budget: Budget {
                crash: 1,
                lose: 1,
                ..NONE
            },
            ..BASE
        },
        Scenario {
            name: "a person writes",
            budget: Budget {
                hand: 1,
                crash: 1,
                ..NONE
            },
            hands: &[Hand::Write],
            ..BASE
        },
        Scenario {
            name: "a person writes, an answer is lost",
            budget: Budget {
                hand: 1,
                lose: 1,
                ..NONE
            },
            hands: &[Hand::Write],
            ..BASE
        },
        Scenario {
            name: "a person writes during a take-over",
            daemons: 2,
            ticks: 2,
            budget: Budget {
                hand: 1,
                steal: 1,
                ..NONE
            },
            hands: &[Hand::Write],
            ..BASE
        },
        Scenario {
            name: "a person puts a token back",
            ticks: 4,
            budget: Budget {
                hand: 1,
                crash: 1,
                ..NONE
            },
            hands: &[Hand::PutBack],
            at_rest: true,
            ..BASE
        },
        Scenario {
            name: "a person deletes the version",
            budget: Budget { hand: 1, ..NONE },
            hands: &[Hand::DeleteVersion],
            ..BASE
        },
        Scenario {
            name: "a person disables, enables or deletes a token",
            ticks: 4,
            budget: Budget { hand: 2, ..NONE },
            hands: &[Hand::DisableToken, Hand::EnableToken, Hand::DeleteToken],
            ..BASE
        },
        Scenario {
            name: "a person deletes the journal",
            budget: Budget {
                hand: 1,
                crash: 1,
                ..NONE
            },
            hands: &[Hand::DeleteJournal],
            ..BASE
        },
        Scenario {
            name: "the management token",
            manages: true,
            budget: Budget {
                crash: 1,
                lose: 1,
                ..NONE
            },
            ..BASE
        },
        Scenario {
            name: "the management token, taken over",
            manages: true,
            daemons: 2,
            ticks: 2,
            budget: Budget { steal: 1, ..NONE },
            ..BASE
        },
        Scenario {
            name: "the management token, an effect comes late",
            manages: true,
            budget: Budget {
                late: 1,
                fail: 1,
                ..NONE
            },
            ..BASE
        },
        Scenario {
            name: "the management token is put back",
            manages: true,
            ticks: 4,
            budget: Budget { hand: 1, ..NONE },
            hands: &[Hand::PutBack],
            at_rest: true,
            ..BASE
        },
        Scenario {
            name: "undo of the management token",
            manages: true,
            undo: true,
            budget: Budget { crash: 1, ..NONE },
            ..BASE
        },
        Scenario {
            name: "undo",
            undo: true,
            ticks: 4,
            ..BASE
        },
        Scenario {
            name: "undo, and deaths",
            undo: true,
            ticks: 3,
            budget: Budget { crash: 1, ..NONE },
            ..BASE
        },
        Scenario {
            name: "undo, an answer is lost",
            undo: true,
            ticks: 3,
            budget: Budget { lose: 1, ..NONE },
            ..BASE
        },
        Scenario {
            name: "undo, an effect comes late",
            undo: true,
            ticks: 3,
            budget: Budget { late: 1, ..NONE },
            ..BASE
        },
        Scenario {
            name: "undo is taken over",
            undo: true,
            ticks: 3,
            budget: Budget { steal: 1, ..NONE },
            ..BASE
        },
        Scenario {
            name: "undo while a person writes",
            undo: true,
            ticks: 3,
            budget: Budget { hand: 1, ..NONE },
            hands: &[Hand::Write],
            ..BASE
        },
    ]
}

/// Searches beyond the usual size are asked for by `make explore`.
fn is_full() -> bool {
    std::env::var_os("EXPLORE_FULL").is_some()
}

#[test]
fn every_state_of_every_scenario_keeps_the_promises() {
    let only = std::env::var("EXPLORE_ONLY").unwrap_or_default();
    let mut failures = vec![];
    for scenario in scenarios() {
        let scenario = if is_full() {
            scenario
        } else {
            scenario.small()
        };
        if !scenario.name.contains(&only) {
            continue;
        }
        let setting = Setting::new(scenario.dues, scenario.manages, None);
        let found = explore(&scenario, &setting, LIMIT);
        println!("{:<60} {:>9} states", scenario.name, found.states);
        if let Some((wrong, trace)) = found.violation {
            failures.push(format!(
                "{}: {wrong}\n  {}",
                scenario.name,
                trace.join("\n  ")
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// Each rule of the protocol with a scenario in which its absence shows.
fn rules() -> Vec<(Mutation, Scenario)> {
    let find = |name: &str| {
        let all = scenarios();
        all.into_iter()
            .map(Scenario::small)
            .find(|scenario| scenario.name == name)
            .expect("a scenario")
    };
    vec![
        (Mutation::NoFence, find("a claim taken over")),
        (Mutation::NoBase, find("a person writes")),
        (Mutation::NoNewMark, find("a claim taken over")),
        (Mutation::NoOpen, find("a daemon that dies")),
        (Mutation::NoPrefix, find("a claim taken over")),
        (Mutation::NoHistory, find("a person puts a token back")),
        (
            Mutation::NoVersionPlusOne,
            find("a person writes, an answer is lost"),
        ),
        (Mutation::NoDue, find("two daemons")),
        (Mutation::NoRetireClaim, find("undo")),
        (Mutation::NoCheckBefore, find("a person puts a token back")),
        (Mutation::NoCheckAfter, find("a person puts a token back")),
        (
            Mutation::NoQuarantineCheck,
            find("a person disables, enables or deletes a token"),
        ),
        (Mutation::Gone, find("a token that is listed late")),
        (Mutation::NoGrace, find("one daemon, undisturbed")),
        (Mutation::NoCheckAndSet, find("a person writes")),
        (Mutation::NoJournalCheckAndSet, find("two daemons")),
        (Mutation::NoTaint, find("undo, an effect comes late")),
    ]
}

#[test]
fn a_rule_that_is_switched_off_shows() {
    let only = std::env::var("EXPLORE_ONLY").unwrap_or_default();
    let mut silent = vec![];
    for (mutation, scenario) in rules() {
        if !format!("{mutation:?}").contains(&only) {
            continue;
        }
        let setting = Setting::new(scenario.dues, scenario.manages, Some(mutation));
        let found = explore(&scenario, &setting, LIMIT);
        match found.violation {
            Some((wrong, trace)) => println!(
                "{mutation:?} in {:?}: {wrong}, after {} steps",
                scenario.name,
                trace.len() - 1
            ),
            None => silent.push(format!(
                "{mutation:?} in {:?}: {} states",
                scenario.name, found.states
            )),
        }
    }
    assert!(silent.is_empty(), "no violation shows: {silent:#?}");
}
