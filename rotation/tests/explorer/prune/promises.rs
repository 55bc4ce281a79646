//! What must hold: with every call, and at rest.

use rotation::marker::NameDigest;
use rotation::prune::{PruneCommand, PrunedState, PrunedToken, marked_at};

use super::world::{Budget, Case, INSTALLATION, Late, PruneWorld, Role, TARGET, Token, id_of};

/// Whether a call may take effect on a token.
pub fn judge(case: &Case, world: &mut PruneWorld, call: &Late) {
    let token = world.tokens[call.token].clone();
    let wrong = match call.command {
        PruneCommand::Delete => deleted(case, world, call, &token),
        PruneCommand::SetState { enabled: true, .. } => enabled(call, &token),
        _ => disabled(world, call),
    };
    if let (
        PruneCommand::SetState {
            enabled: false,
            name,
        },
        Role::Prune,
    ) = (&call.command, call.role)
    {
        let entry = world.document.find(&id_of(call.token));
        let mark = name.as_ref().map(|name| NameDigest::of(name));
        let is_own = |entry: &PrunedToken| mark.is_none() || entry.digest == mark;
        let ordered =
            entry.is_some_and(|entry| entry.state == PrunedState::Ordered && is_own(entry));
        world.overtaken = world.ordered && !ordered;
    }
    world.broken = world.broken.or(wrong);
}

fn deleted(case: &Case, world: &PruneWorld, call: &Late, token: &Token) -> Option<&'static str> {
    let marked = marked_at(&token.name, INSTALLATION);
    let quiet = token.disabled_at.is_some_and(|at| world.tick > at);
    let used = token
        .last_used
        .is_some_and(|used| marked.is_some_and(|marked| used > marked));
    if call.token != TARGET {
        return Some("P9: a foreign token was deleted");
    }
    if world.told.restored {
        return Some("P3: a token that was brought back was deleted");
    }
    if world.told.kept && !world.touched {
        return Some("P3: a token that was said to be left alone was deleted");
    }
    // A person acted after the last look: nothing can prevent that.
    if call.unseen {
        return None;
    }
    if case.scenario.rename && marked.is_none() {
        return Some("P9: a token without the mark was deleted");
    }
    if !case.scenario.rename && call.role != Role::Confirm {
        return Some("P9: a token was deleted that nobody confirmed");
    }
    if token.enabled {
        return Some("P4: an enabled token was deleted");
    }
    if used {
        return Some("P4: a token that was used after it was pruned was deleted");
    }
    // Where tokens bear no mark, the document alone says since when, and the person who confirms.
    let dated = case.scenario.rename || !world.touched;
    (!quiet && dated).then_some("P3: deleted without its quarantine")
}

fn enabled(call: &Late, token: &Token) -> Option<&'static str> {
    // A person who names a token may have it enabled.
    let asked = call.role == Role::Undo || call.unseen || token.enabled;
    // What bears the mark was disabled for a person.
    let marked = marked_at(&token.name, INSTALLATION).is_some();
    (!asked && !token.by_us && !marked).then_some("P4: a token that a person disabled was enabled")
}

fn disabled(world: &PruneWorld, call: &Late) -> Option<&'static str> {
    if call.token != TARGET {
        return Some("P9: a foreign token was disabled");
    }
    let used = world.tokens[TARGET].last_used > call.planned_use;
    (used && !call.unseen)
        .then_some("P4: a token that was used after the plan was made was disabled")
}

/// Nobody is at work. Left alone with one healthy daemon, the system must become idle in a good state.
pub fn come_to_rest(
    case: &Case,
    world: &PruneWorld,
    fresh: &mut dyn FnMut(&PruneWorld) -> bool,
) -> Option<String> {
    let mut world = world.clone();
    world.budget = Budget::default();
    world.land_all(case);
    for _ in 0..8 {
        // What follows is determined: from a state that was seen here before it need not be searched again.
        if !fresh(&world) {
            return None;
        }
        world.settle(case);
        if let Some(broken) = world.broken {
            return Some(format!("{broken}, left alone"));
        }
        world.tick += 1;
    }
    let problem = rest_problem(case, &world);
    problem.map(|what| format!("{what}, at rest: {}", describe(&world)))
}

fn rest_problem(case: &Case, world: &PruneWorld) -> Option<&'static str> {
    let token = &world.tokens[TARGET];
    let entry = world.document.find(&id_of(TARGET));
    let lost = token.exists && !token.enabled && token.by_us && entry.is_none();
    if lost && !world.stranded && !world.touched {
        return Some("P2: a token is left disabled, and nothing knows of it");
    }
    // What bears the mark of another order is left alone and reported.
    let info = world.info(TARGET);
    let served = |entry: &PrunedToken| entry.is_marked(&info, INSTALLATION);
    let waits = entry.is_some_and(served) && !world.touched;
    if waits && case.scenario.rename {
        return Some("P10: a token waits, and nothing happens to it");
    }
    if world.touched || world.stranded {
        return None;
    }
    let is_back = token.exists && token.enabled && &*token.name == "job";
    if world.told.restored && !world.told.disabled && !is_back {
        return Some("P3: a token that was brought back is not as it was");
    }
    if world.told.kept && !world.told.disabled && !is_back {
        return Some("P3: a token that was said to be left alone is not as it was");
    }
    let undone = world
        .actors
        .iter()
        .any(|it| it.role == Role::Undo && it.asked);
    if world.told.disabled && !undone && token.exists && case.scenario.rename {
        return Some("P10: a token was said to be disabled, and is not deleted");
    }
    None
}

/// The state as text.
pub fn describe(world: &PruneWorld) -> String {
    format!(
        "tick {}; token {:?}; document {:?}; late {:?}; told {:?}",
        world.tick, world.tokens[TARGET], world.document.tokens, world.late, world.told
    )
}
