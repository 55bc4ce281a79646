//! The scenarios, and the rules that must show when they are switched off.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::mutation::Mutation;
use super::search::{Found, Hand, Scenario, explore};
use super::world::{Budget, Setting};

/// A search ends after so many states, which takes minutes, and tells how many steps it saw whole; a small one must end by itself.
const LIMIT: usize = 3_000_000;

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
    /// Too much for a build without optimisation, even when it is small.
    fn is_big(&self) -> bool {
        let budget = &self.budget;
        let other = budget.lose + budget.late + budget.hand;
        let crowd = budget.steal > 0 && other > 0;
        let long = self.undo && budget.crash + other > 0;
        let three = budget.crash > 0 && budget.late > 0 && budget.fail > 0;
        crowd || long || three
    }

    /// The same with the least that still means something: one mishap of each kind, and time for one retirement.
    fn small(mut self) -> Scenario {
        let budget = &mut self.budget;
        budget.runs = budget.runs.min(if budget.steal > 0 { 2 } else { 3 });
        budget.crash = budget.crash.min(2);
        budget.lose = budget.lose.min(1);
        budget.late = budget.late.min(1);
        budget.fail = budget.fail.min(1);
        let most = match (self.daemons, self.undo || self.at_rest) {
            (1, true) if !self.undo => 2,
            (1, _) => 1,
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
            name: "a daemon that dies twice",
            budget: Budget { crash: 2, ..NONE },
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
            name: "a late effect, a death and a call that fails",
            budget: Budget {
                crash: 1,
                late: 1,
                fail: 1,
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
            name: "take-over and a call that fails",
            daemons: 2,
            ticks: 2,
            budget: Budget {
                steal: 1,
                fail: 1,
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
            name: "a person writes, a token is listed late",
            budget: Budget {
                hand: 1,
                hide: 1,
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
            name: "undo beside two daemons",
            daemons: 2,
            undo: true,
            ticks: 2,
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

/// What the search is asked for: `EXPLORE_FULL=1` for the full budgets, `EXPLORE_ONLY=...` for what has this in its name.
#[expect(
    clippy::disallowed_methods,
    reason = "a test is asked for by its environment"
)]
fn asked(what: &str) -> String {
    std::env::var(what).unwrap_or_default()
}

/// Searches one after the other on each core.
fn search<T: Sync>(
    work: &[T],
    of: impl Fn(&T) -> (Scenario, &'static [Mutation]) + Sync,
    done: impl Fn(&T, Found) + Sync,
) {
    let next = AtomicUsize::new(0);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some(one) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (scenario, off) = of(one);
                    let setting = Setting::new(scenario.dues, scenario.manages, off);
                    done(one, explore(&scenario, &setting, LIMIT));
                }
            });
        }
    });
}

#[test]
fn every_state_of_every_scenario_keeps_the_promises() {
    let (only, full) = (asked("EXPLORE_ONLY"), asked("EXPLORE_FULL") == "1");
    let mut scenarios = scenarios();
    scenarios.retain(|scenario| scenario.name.contains(&only) && (full || !scenario.is_big()));
    // The small budgets are searched to the end in any case.
    let small = scenarios.iter().cloned().map(|it| (it.small(), "small"));
    let mut work: Vec<_> = small.collect();
    if full {
        work.extend(scenarios.into_iter().map(|scenario| (scenario, "full")));
    }
    let failures = Mutex::new(vec![]);
    let of = |(scenario, _): &(Scenario, _)| (scenario.clone(), &[][..]);
    search(&work, of, |(scenario, budget), found| {
        let (name, states) = (scenario.name, found.states);
        match found.cut {
            Some(steps) => {
                println!("{name:<50} {budget:<5} {states:>9} states, all within {steps} steps")
            }
            None => println!("{name:<50} {budget:<5} {states:>9} states, all"),
        }
        let wrong = match found.violation {
            Some((wrong, trace)) => format!("{name}: {wrong}\n  {}", trace.join("\n  ")),
            None if found.cut.is_some() && *budget == "small" => format!("{name}: too much"),
            None => return,
        };
        failures.lock().expect("no panic").push(wrong);
    });
    let failures = failures.into_inner().expect("no panic");
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// Each rule of the protocol with a scenario in which its absence shows. Where two are named, each covers the other, and only both together
/// show. The look at the secret after a disable is missing here: without it the next look takes the token back, so that nothing shows at rest.
fn rules() -> Vec<(&'static [Mutation], &'static str)> {
    use Mutation::*;
    vec![
        (&[NoFence], "a late effect, a death and a call that fails"),
        (&[NoBase], "a person writes"),
        (&[NoNewMark, NoPrefix], "a daemon that dies twice"),
        (&[NoOpen, NoPrefix], "a daemon that dies"),
        (&[NoHistory], "a person puts a token back"),
        (&[NoVersionPlusOne], "a person writes, an answer is lost"),
        (&[NoDue], "two daemons"),
        (&[NoRetireClaim], "undo"),
        (&[NoCheckBefore], "a person puts a token back"),
        (
            &[NoQuarantineCheck],
            "a person disables, enables or deletes a token",
        ),
        (&[Gone, NoPrefix], "a person writes, a token is listed late"),
        (&[NoGrace], "a daemon that dies"),
        (&[NoCheckAndSet], "a person writes"),
        (&[NoJournalCheckAndSet], "two daemons"),
        (&[NoTaint], "undo, an effect comes late"),
    ]
}

#[test]
fn a_rule_that_is_switched_off_shows() {
    let only = asked("EXPLORE_ONLY");
    let mut work = rules();
    work.retain(|(off, _)| format!("{off:?}").contains(&only));
    let silent = Mutex::new(vec![]);
    let of = |(off, name): &(&'static [Mutation], &str)| {
        let scenario = scenarios().into_iter().find(|one| one.name == *name);
        (scenario.expect("a scenario of that name").small(), *off)
    };
    search(&work, of, |(off, name), found| match found.violation {
        Some((wrong, trace)) => {
            let steps = trace.len() - 1;
            println!("{off:?} in {name:?}: {wrong}, after {steps} steps");
        }
        None => {
            let states = found.states;
            let text = format!("{off:?} in {name:?}: {states} states");
            silent.lock().expect("no panic").push(text);
        }
    });
    let silent = silent.into_inner().expect("no panic");
    assert!(silent.is_empty(), "no violation shows: {silent:#?}");
}
