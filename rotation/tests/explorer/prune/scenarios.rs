//! The scenarios of pruning.

use super::people::Intervention::{self, *};
use super::world::{Budget, ENABLED, HELD, MANAGEMENT, MANAGING, PERSONAL, Role};

/// A small world, and what may happen in it.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub daemons: usize,
    pub commands: &'static [Role],
    /// How many ticks pass at the most.
    pub ticks: u8,
    pub budget: Budget,
    pub interventions: &'static [Intervention],
    /// Tokens of this kind can be renamed.
    pub rename: bool,
    /// Too much for `make test`, even when it is small.
    pub is_big: bool,
}

/// A budget of nothing, to change in a scenario.
const NONE: Budget = Budget {
    runs: 6,
    crash: 0,
    lose: 0,
    late: 0,
    fail: 0,
    hold: 0,
    lie: 0,
    person: 0,
};

/// A token is pruned beside two daemons.
const BASE: Scenario = Scenario {
    name: "",
    daemons: 2,
    commands: &[Role::Prune],
    ticks: 4,
    budget: NONE,
    interventions: &[],
    rename: true,
    is_big: false,
};

const UNDONE: &[Role] = &[Role::Prune, Role::Undo];
const HANDS: &[Intervention] = &[Enable, Disable, Rename, Use, Delete];
const FOREIGN: &[Intervention] = &[
    Name(HELD),
    Name(MANAGEMENT),
    Name(MANAGING),
    Name(PERSONAL),
    Name(ENABLED),
];

impl Scenario {
    /// The same with the least that still means something.
    pub fn small(&self) -> Scenario {
        let mut small = self.clone();
        let budget = &mut small.budget;
        budget.runs = 2;
        budget.crash = budget.crash.min(1);
        budget.lose = budget.lose.min(1);
        budget.late = budget.late.min(1);
        budget.hold = budget.hold.min(1);
        budget.person = budget.person.min(1);
        // One kind of mishap at a time.
        let other = budget.lose + budget.late + budget.hold + budget.lie + budget.person;
        if other > 0 {
            (budget.crash, budget.fail) = (0, 0);
        }
        if budget.person + budget.late > 0 {
            budget.hold = 0;
        }
        // With a person or another command, one daemon already gives many states.
        if budget.person > 0 || small.commands.len() > 1 {
            small.daemons = 1;
        }
        if small.commands.len() > 2 {
            budget.runs = 1;
        }
        small.ticks = small.ticks.min(2);
        small
    }
}

pub fn scenarios() -> Vec<Scenario> {
    let budget = |change: fn(&mut Budget)| {
        let mut budget = NONE;
        change(&mut budget);
        budget
    };
    vec![
        Scenario {
            name: "pruned, processes die",
            budget: budget(|it| it.crash = 3),
            ..BASE
        },
        Scenario {
            name: "pruned, answers are lost",
            budget: budget(|it| (it.lose, it.fail, it.crash) = (2, 1, 1)),
            ..BASE
        },
        Scenario {
            name: "pruned, effects come late",
            budget: budget(|it| (it.late, it.fail, it.crash) = (2, 1, 1)),
            ..BASE
        },
        Scenario {
            name: "pruned, a process is held up",
            budget: budget(|it| (it.hold, it.crash, it.lose) = (2, 1, 1)),
            ..BASE
        },
        Scenario {
            name: "pruned and undone",
            commands: UNDONE,
            budget: budget(|it| (it.crash, it.fail, it.lose) = (2, 1, 1)),
            ..BASE
        },
        Scenario {
            name: "pruned and undone, effects come late",
            commands: UNDONE,
            budget: budget(|it| (it.late, it.crash) = (2, 1)),
            ..BASE
        },
        Scenario {
            name: "pruned and undone, a process is held up",
            commands: UNDONE,
            budget: budget(|it| (it.hold, it.crash) = (2, 1)),
            ..BASE
        },
        Scenario {
            name: "pruned, undone and pruned again",
            commands: &[Role::Prune, Role::Undo, Role::Prune],
            budget: budget(|it| it.lose = 2),
            // None of the three is held up for longer than `settle` (docs/rotation.md, what cannot be promised).
            ticks: 0,
            is_big: true,
            ..BASE
        },
        Scenario {
            name: "pruned, a person acts",
            budget: budget(|it| (it.person, it.crash) = (3, 1)),
            interventions: HANDS,
            ..BASE
        },
        Scenario {
            name: "pruned and undone, a person acts",
            commands: UNDONE,
            budget: budget(|it| (it.person, it.crash) = (2, 1)),
            interventions: HANDS,
            is_big: true,
            ..BASE
        },
        Scenario {
            name: "pruned, a person acts, effects come late",
            budget: budget(|it| (it.person, it.late, it.hold) = (2, 1, 1)),
            interventions: HANDS,
            ..BASE
        },
        Scenario {
            name: "pruned, not found although it is there",
            budget: budget(|it| (it.lie, it.crash) = (1, 1)),
            ..BASE
        },
        Scenario {
            name: "the document names other tokens",
            commands: &[],
            budget: budget(|it| (it.person, it.crash) = (2, 1)),
            interventions: FOREIGN,
            ..BASE
        },
        Scenario {
            name: "the document is edited",
            budget: budget(|it| (it.person, it.crash) = (2, 1)),
            interventions: &[Backdate, Advance, Erase],
            ..BASE
        },
        Scenario {
            name: "a kind without names, a person confirms",
            commands: &[Role::Prune, Role::Confirm, Role::Undo],
            budget: budget(|it| (it.crash, it.late) = (1, 1)),
            rename: false,
            ..BASE
        },
        Scenario {
            name: "a kind without names, edited and used",
            commands: &[Role::Prune, Role::Confirm],
            budget: budget(|it| it.person = 2),
            interventions: &[Enable, Rename, Use, Advance],
            rename: false,
            ..BASE
        },
        Scenario {
            name: "a kind without names, the document names other tokens",
            commands: &[],
            budget: budget(|it| (it.person, it.crash) = (2, 1)),
            interventions: &[Name(HELD), Name(PERSONAL)],
            rename: false,
            ..BASE
        },
    ]
}
