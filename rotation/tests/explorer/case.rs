//! The world of one secret, as something to search.

use super::mutation::Mutation;
use super::promises;
use super::scenario::Scenario;
use super::search::{Searchable, Visit};
use super::successors;
use super::world::{Setting, World};

/// A scenario, and what does not change in it.
pub struct Case {
    scenario: Scenario,
    setting: Setting,
}

impl Case {
    /// The scenario without these rules.
    pub fn new(scenario: Scenario, off: &'static [Mutation]) -> Self {
        let setting = Setting::new(&scenario, off);
        Case { scenario, setting }
    }
}

impl Searchable for World {
    type Case = Case;

    fn root(case: &Case) -> Self {
        World::new(&case.setting, &case.scenario)
    }

    fn successors(&self, case: &Case, visit: Visit<'_, Self>) {
        successors::successors(&case.scenario, &case.setting, self, visit);
    }

    fn violation(&self, case: &Case) -> Option<String> {
        promises::violation(&case.scenario, self)
    }

    fn is_idle(&self) -> bool {
        self.actors.iter().all(|actor| actor.run.is_none())
    }

    fn wrong_at_rest(&self, case: &Case, fresh: &mut dyn FnMut(&Self) -> bool) -> Option<String> {
        promises::come_to_rest(&case.setting, self, fresh)
    }

    fn describe(&self) -> String {
        promises::describe(self)
    }
}
