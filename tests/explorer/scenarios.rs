//! The scenarios, and the rules that must show when they are switched off.

use super::search::{Hand, Scenario, explore};
use super::world::{Budget, Setting};

/// A budget of nothing, to change in a scenario.
const NONE: Budget = Budget {
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

#[test]
fn every_state_of_every_scenario_keeps_the_promises() {
    let only = std::env::var("EXPLORE_ONLY").ok();
    let mut failures = vec![];
    for scenario in scenarios() {
        if only
            .as_deref()
            .is_some_and(|only| !scenario.name.contains(only))
        {
            continue;
        }
        let setting = Setting::new(scenario.dues, scenario.manages, None);
        let began = std::time::Instant::now();
        let found = explore(&scenario, &setting, 5_000_000);
        eprintln!(
            "{:<50} {:>9} states  {:>7.1} s",
            scenario.name,
            found.states,
            began.elapsed().as_secs_f32()
        );
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
