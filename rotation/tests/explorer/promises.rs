//! What must hold: in every state, and at rest.

use rotation::record::{EntryReason, Reason};

use super::scenario::Scenario;
use super::world::{Budget, EARLY, Late, Setting, Start, World, due, id_of};

/// What is wrong in this state.
pub fn violation(scenario: &Scenario, world: &World) -> Option<String> {
    // A person who puts a token back in the moment of its disable acts after the last check: it must be enabled again at once.
    let unavoidable = scenario.at_rest && world.broken == Some(EARLY);
    if let Some(broken) = world.broken.filter(|_| !unavoidable) {
        return Some(broken.into());
    }
    if !scenario.at_rest
        && let Some(dead) = dead_value(world)
    {
        return Some(dead);
    }
    if !world.forgot && world.served.iter().any(|&times| times > 1) {
        return Some("P6: a due instant was served twice".into());
    }
    None
}

fn dead_value(world: &World) -> Option<String> {
    let Some(current) = world.current() else {
        return ended_by_a_mistake(world);
    };
    let token = &world.tokens[usize::from(current)];
    (!world.works(current) && !token.spoiled).then(|| format!("P1: T{current} in Vault is dead"))
}

/// A value that was cut short is nobody's: consumers have the one before it, and nothing is concluded from the id that is left.
fn ended_by_a_mistake(world: &World) -> Option<String> {
    let last = world.versions.last()?;
    let whole = world.versions.iter().rev().find(|it| !it.forged)?;
    let token = &world.tokens[usize::from(whole.token)];
    let ended = last.forged && !whole.deleted && !(token.exists && token.enabled);
    (ended && !token.spoiled).then(|| {
        format!(
            "P1: T{} was ended for a value that was cut short",
            whole.token
        )
    })
}

/// Nobody is at work. Left alone with one healthy daemon, the system must become idle in a good state.
pub fn come_to_rest(
    setting: &Setting,
    world: &World,
    fresh: &mut dyn FnMut(&World) -> bool,
) -> Option<String> {
    let mut world = world.clone();
    world.broken = None;
    world.is_held = false;
    world.budget = Budget::default();
    if world.is_paused() {
        world.set_pause(false);
    }
    for late in std::mem::take(&mut world.late) {
        if !matches!(late, Late::Store { .. }) {
            world.land(setting, &late);
        }
    }
    world
        .tokens
        .iter_mut()
        .for_each(|token| token.visible = true);
    for _ in 0..16 {
        // What follows is determined: from a state that was seen here before it need not be searched again.
        if !fresh(&world) {
            return None;
        }
        // The first run recovers, the second one serves what is due; both with a fresh listing, as the sweep does it.
        for _ in 0..2 {
            let serve = world.unserved(setting, 0);
            world.refresh(0);
            world.begin(setting, 0, serve, Start::LEFT_ALONE);
            world.run_to_end(setting, 0);
            if let Some(broken) = world.broken {
                return Some(format!("{broken}, left alone"));
            }
            if let Some(dead) = dead_value(&world) {
                return Some(format!("{dead}, left alone"));
            }
        }
        world.tick += 1;
        world.note_current();
    }
    let problem = (!world.implausible).then(|| rest_problem(setting, &world));
    problem
        .flatten()
        .map(|what| format!("{what}, at rest: {}", describe(&world)))
}

fn rest_problem(setting: &Setting, world: &World) -> Option<String> {
    let Some(record) = &world.journal else {
        return Some("P2: there is no journal document".into());
    };
    let human =
        record.health.failure.as_ref().is_some_and(|failure| {
            failure.retry_at.is_none() && failure.reason != Reason::Unavailable
        });
    if setting.create && world.versions.is_empty() && !human {
        return Some("P10: the first token was not created".into());
    }
    // A person put a token there that is gone for good: nothing continues without them.
    let readable = world.current().is_some_and(|token| world.works(token));
    if record.claim.is_some() {
        return Some("P2: a claim is left".into());
    }
    if human
        && record
            .stuck()
            .is_some_and(|failure| failure.reason == Reason::TokenUnproven)
    {
        // A person put a value there that nothing proves, and has not named its token yet: nothing is ended meanwhile.
        return None;
    }
    // A secret that a person deleted cannot be fenced: what is left waits for them.
    if readable && !record.open.is_empty() {
        return Some("P2: an attempt stays open".into());
    }
    if let Some(token) = world.revoked.filter(|token| world.works(*token))
        && record.is_revoked(&id_of(token))
        && !human
    {
        return Some(format!("P2: T{token} was revoked and is alive"));
    }
    for token in 0..world.tokens.len() as u8 {
        let known = record.is_current(&id_of(token));
        let waits = record.retiring(&id_of(token)).is_some();
        let gone = !world.tokens[usize::from(token)].exists;
        let there = world.current() == Some(token);
        if was_reported(setting, world, token) {
            continue;
        }
        if world.is_ours(token) && !gone && !there && (readable || !(known || waits)) {
            return Some(format!("P2: T{token} is left behind"));
        }
    }
    if world.undeleted {
        return Some("P4: a person's deletion was undone, and nobody said so".into());
    }
    if readable && !human {
        let current = world.current()?;
        if !record.is_current(&id_of(current)) {
            return Some(format!("P2: the journal does not know T{current}"));
        }
        let last = record.last_due;
        let unserved = (0..setting.dues.len())
            .any(|n| world.served[n] == 0 && last.is_none_or(|at| at < due(n)));
        if unserved {
            return Some("P6: a due instant was never served".into());
        }
    }
    None
}

/// A token that dtrotate can no longer prove to be its own is left alone and reported: its number was erased from the document by an edit, or
/// it could be renamed, and what proved it was pruned before its name was written down (documented: older versions must be readable).
fn was_reported(setting: &Setting, world: &World, token: u8) -> bool {
    let Some(record) = &world.journal else {
        return false;
    };
    let id = id_of(token);
    let failure = record
        .retiring(&id)
        .and_then(|entry| entry.failure.as_ref());
    let blocked = failure.is_some_and(|failure| failure.reason == EntryReason::Unproven);
    let pruned = setting.max_versions < world.versions.len() as u64;
    (world.edited && record.attempts.left_alone.contains(&id)) || (pruned && blocked)
}

/// The state as text.
pub fn describe(world: &World) -> String {
    let versions: Vec<String> = world
        .versions
        .iter()
        .map(|v| format!("T{}{}", v.token, if v.deleted { " deleted" } else { "" }))
        .collect();
    let tokens: Vec<String> = world
        .tokens
        .iter()
        .enumerate()
        .map(|(n, t)| {
            let state = match (t.exists, t.enabled) {
                (false, _) => "gone",
                (true, true) => "enabled",
                (true, false) => "disabled",
            };
            format!("T{n} {state} ({})", t.name)
        })
        .collect();
    let journal = world.journal.as_ref().map(|record| {
        (
            record.current.as_ref().map(|c| c.id.to_string()),
            &record.claim,
            &record.open,
            &record.retiring,
            &record.health.failure,
            record.last_due,
            record.attempts.attempt,
        )
    });
    format!(
        "tick {}; versions {versions:?}; tokens {tokens:?}; journal {journal:?}; late {:?}; served {:?}",
        world.tick, world.late, world.served
    )
}
