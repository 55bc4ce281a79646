//! A scenario: a small world, and what may happen in it.

use rotation::capabilities::Capabilities;

use super::world::{Budget, Intervention};

/// A small world, and what may happen in it.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub daemons: usize,
    pub undo: bool,
    /// A person revokes the token that is the current one then.
    pub revoke: bool,
    /// From which tick on each due instant is due.
    pub dues: &'static [u8],
    /// How many ticks pass at the most.
    pub ticks: u8,
    pub budget: Budget,
    pub interventions: &'static [Intervention],
    /// A person who rolls back during a disable breaks P1 for a moment, which nothing can prevent: look at rest only.
    pub at_rest: bool,
    /// The secret is the management token.
    pub manages: bool,
    /// There are tokens of another secret and of strangers.
    pub strangers: bool,
    /// Another secret holds the token at the start, too, until it is rotated; a process that has just started does not know it.
    pub shared: bool,
    /// Nothing is there at the start, and the configuration asks for the first token.
    pub create: bool,
    /// A person confirmed the rights that only the journal knows.
    pub accept_rights: bool,
    /// The server keeps this many versions of the secret.
    pub max_versions: u64,
    pub capabilities: Capabilities,
}

/// A budget of nothing, to change in a scenario.
pub const NONE: Budget = Budget {
    runs: 5,
    crash: 0,
    steal: 0,
    lose: 0,
    late: 0,
    fail: 0,
    stale: 0,
    hide: 0,
    conflict: 0,
    swap: 0,
    partial: 0,
    stop: 0,
    person: 0,
};

/// One daemon and one due instant.
pub const BASE: Scenario = Scenario {
    name: "",
    daemons: 1,
    undo: false,
    revoke: false,
    dues: &[0],
    ticks: 3,
    budget: NONE,
    interventions: &[],
    at_rest: false,
    manages: false,
    strangers: false,
    shared: false,
    create: false,
    accept_rights: false,
    max_versions: 100,
    capabilities: Capabilities::API,
};

impl Scenario {
    /// Too much for `make test`, even when it is small.
    pub fn is_big(&self) -> bool {
        let budget = &self.budget;
        let other = budget.lose + budget.late + budget.person + u8::from(self.shared);
        let crowd = budget.steal > 0 && other > 0;
        let long = (self.undo || self.revoke) && budget.crash + other > 0;
        let three = budget.crash > 0 && budget.late > 0 && budget.fail > 0;
        crowd || long || three
    }

    /// The same with the least that still means something: one fault of each kind, and time for one retirement.
    pub fn small(mut self) -> Scenario {
        let budget = &mut self.budget;
        let most = match (self.revoke, budget.steal) {
            // What comes late or is lost, and a pause while the token is shared, meet every step of the next run.
            (true, _) if budget.late + budget.lose > 0 || (self.shared && budget.person > 0) => 1,
            (false, 0) => 3,
            _ => 2,
        };
        budget.runs = budget.runs.min(most);
        budget.crash = budget.crash.min(2);
        budget.lose = budget.lose.min(1);
        budget.late = budget.late.min(1);
        budget.fail = budget.fail.min(1);
        budget.conflict = budget.conflict.min(1);
        budget.swap = budget.swap.min(1);
        if self.at_rest {
            budget.person = budget.person.min(1);
        }
        let most = match (self.daemons, self.undo || self.at_rest) {
            // A revocation takes claims over, as often as it is asked.
            _ if self.revoke => 0,
            (1, true) if !self.undo => 2,
            (1, _) => 1,
            // Two at the same time already give many states.
            _ => 0,
        };
        self.ticks = self.ticks.min(most);
        self
    }
}
