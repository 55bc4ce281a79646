//! Everything that can happen next in the world of pruning.

use rotation::prune::PruneOutcome;

use super::super::search::{Searchable, Visit};
use super::world::{Case, PruneWorld, Role};
use super::{people, promises};

impl Searchable for PruneWorld {
    type Case = Case;

    fn root(case: &Case) -> Self {
        PruneWorld::new(&case.scenario)
    }

    fn successors(&self, case: &Case, visit: Visit<'_, Self>) {
        for actor in 0..self.actors.len() {
            if self.actors[actor].run.is_some() {
                proceed(self, case, actor, visit);
                continue;
            }
            let is_daemon = self.actors[actor].role == Role::Daemon;
            if is_daemon && self.budget.runs == 0 {
                continue;
            }
            for token in self.work_of(actor) {
                let mut next = self.clone();
                next.budget.runs -= u8::from(is_daemon);
                next.begin(case, actor, token);
                let role = self.actors[actor].role;
                visit(
                    &|| format!("p{actor} ({role:?}) begins with T{token}"),
                    next,
                );
            }
        }
        for number in 0..self.late.len() {
            for lands in [true, false] {
                let mut next = self.clone();
                let late = next.late.remove(number);
                if lands {
                    let _ = next.act(case, &late);
                }
                let what = if lands { "comes late" } else { "is lost" };
                visit(&|| format!("{:?} {what}", late.command), next);
            }
        }
        if self.tick < case.scenario.ticks && self.late.is_empty() {
            let mut next = self.clone();
            next.tick += 1;
            visit(&|| format!("tick {}", self.tick + 1), next);
        }
        if self.budget.person > 0 {
            for what in case.scenario.interventions {
                people::intervene(self, *what, visit);
            }
        }
    }

    fn violation(&self, _: &Case) -> Option<String> {
        self.broken.map(str::to_owned)
    }

    fn is_idle(&self) -> bool {
        self.actors.iter().all(|actor| actor.run.is_none())
    }

    fn wrong_at_rest(&self, case: &Case, fresh: &mut dyn FnMut(&Self) -> bool) -> Option<String> {
        promises::come_to_rest(case, self, fresh)
    }

    fn describe(&self) -> String {
        promises::describe(self)
    }
}

/// The next call of a process, with each fault that it can have; or the process dies.
fn proceed(world: &PruneWorld, case: &Case, actor: usize, visit: Visit<'_, PruneWorld>) {
    let mut base = world.clone();
    let who = &world.actors[actor];
    if let Some(held) = &who.held {
        let late = world.call(actor, held);
        base.actors[actor].held = None;
        let called = base.act(case, &late);
        base.hand(case, actor, PruneOutcome::Called(called));
        base.finish_at_once(case, actor);
        visit(&|| format!("p{actor} is held up no longer: {held:?}"), base);
    } else {
        let command = base.decide(case, actor);
        for fault in base.faults(&command) {
            let mut next = base.clone();
            next.carry_out(case, actor, &command, fault);
            next.finish_at_once(case, actor);
            visit(&|| format!("p{actor} {command:?} {fault:?}"), next);
        }
    }
    if world.budget.crash > 0 {
        let mut next = world.clone();
        next.budget.crash -= 1;
        next.crash(actor);
        visit(&|| format!("p{actor} dies"), next);
    }
}
