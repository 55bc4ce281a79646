//! Everything that can happen next in a state.

use rotation::command::Command;

use super::scenario::Scenario;
use super::search;
use super::world::{Fault, Role, Setting, Start, World};

type Visit<'a> = search::Visit<'a, World>;

/// Everything that can happen next.
pub fn successors(scenario: &Scenario, setting: &Setting, world: &World, visit: Visit<'_>) {
    for number in 0..world.actors.len() {
        if world.actors[number].run.is_some() {
            proceed(setting, world, number, visit);
        } else {
            begin(setting, world, number, visit);
        }
    }
    for late in &world.late {
        for lands in [true, false] {
            let mut next = world.clone();
            next.late.retain(|other| other != late);
            if lands {
                next.land(setting, late);
            }
            let what = if lands { "comes late" } else { "is lost" };
            visit(&|| format!("{late:?} {what}"), next);
        }
    }
    for token in 0..world.tokens.len() {
        if !world.tokens[token].visible {
            let mut next = world.clone();
            next.tokens[token].visible = true;
            visit(&|| format!("T{token} becomes visible"), next);
        }
    }
    if world.is_held {
        let mut next = world.clone();
        next.is_held = false;
        visit(&|| "the other secret gets another token".into(), next);
    }
    if world.tick < scenario.ticks && is_calm(world) {
        let mut next = world.clone();
        next.tick += 1;
        next.note_current();
        visit(&|| format!("tick {}", world.tick + 1), next);
    }
    if world.budget.person > 0 {
        for what in scenario.interventions {
            world.intervene(setting, *what, &mut |label, next| {
                visit(&|| format!("a person {label}"), next);
            });
        }
    }
}

/// `settle` has passed: nothing is under way, and everything is visible.
fn is_calm(world: &World) -> bool {
    world.late.is_empty() && world.tokens.iter().all(|token| token.visible)
}

/// The next command of a run, with each fault that it can have; or its process dies.
fn proceed(setting: &Setting, world: &World, number: usize, visit: Visit<'_>) {
    let mut base = world.clone();
    let command = base.decide(setting, number);
    let mut faults = vec![Fault::None];
    faults.extend(base.faults(setting, &command));
    for fault in faults {
        let mut next = base.clone();
        next.carry_out(setting, number, &command, fault);
        next.skip_silent_steps(setting, number);
        visit(&|| format!("d{number} {} {fault:?}", show(&command)), next);
    }
    if world.budget.crash > 0 {
        let mut next = world.clone();
        next.budget.crash -= 1;
        next.crash(number);
        visit(&|| format!("d{number} dies"), next);
    }
}

/// A process without a run starts one, if there is something to do.
fn begin(setting: &Setting, world: &World, number: usize, visit: Visit<'_>) {
    if world.budget.runs == 0 {
        return;
    }
    let actor = &world.actors[number];
    let claim = world.journal.as_ref().and_then(|it| it.claim.as_ref());
    let foreign = claim.is_some_and(|claim| claim.holder != format!("d{number}"));
    let steal = foreign && world.budget.steal > 0;
    let mut goals = vec![];
    if actor.role != Role::Daemon {
        goals.extend((!actor.asked).then_some((None, false)));
    } else {
        let due = world.unserved(setting, number);
        goals.extend(due.map(|due| (Some(due), false)));
        goals.extend(world.has_work(number).then_some((None, true)));
    }
    let patience = [Some(false), steal.then_some(true)];
    let knowledge = [Some(true), setting.shared.then_some(false)];
    for (serve, sweeps) in goals {
        for is_impatient in patience.into_iter().flatten() {
            for knows_others in knowledge.into_iter().flatten() {
                let start = Start {
                    sweeps,
                    is_impatient,
                    knows_others,
                };
                let mut next = world.clone();
                next.budget.runs -= 1;
                next.budget.steal -= u8::from(is_impatient);
                next.actors[number].asked = actor.role != Role::Daemon;
                next.begin(setting, number, serve, start);
                next.skip_silent_steps(setting, number);
                visit(
                    &|| format!("d{number} begins (serves {serve:?}, {start:?})"),
                    next,
                );
            }
        }
    }
}

fn show(command: &Command) -> String {
    match command {
        Command::WriteJournal { cas, record } => format!(
            "writes the journal (cas {cas}, claim {:?}, open {:?}, retiring {:?}, failure {:?})",
            record.claim.as_ref().map(|claim| &claim.work),
            record
                .open
                .iter()
                .map(|open| open.attempt)
                .collect::<Vec<_>>(),
            record
                .retiring
                .iter()
                .map(|r| (r.id.as_str(), &r.state, r.base))
                .collect::<Vec<_>>(),
            record
                .health
                .failure
                .as_ref()
                .map(|failure| &failure.reason),
        ),
        Command::Mint(order) => format!("mints {}", order.name),
        other => format!("{other:?}"),
    }
}
