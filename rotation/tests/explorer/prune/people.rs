//! What people do to the token, and an adversary to the document.

use jiff::Timestamp;

use rotation::marker::{Marker, NameDigest};
use rotation::prune::{PruneRecord, PrunedState, PrunedToken};

use super::super::cached::Cached;
use super::super::search::Visit;
use super::world::{PruneWorld, TARGET, id_of, moment, old_mark};

/// A kind of intervention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intervention {
    Enable,
    Disable,
    Rename,
    /// Somebody works with the token.
    Use,
    Delete,
    /// The document names this token, in every state.
    Name(usize),
    /// The document says that the token was disabled long ago.
    Backdate,
    /// The document says that the token is being deleted.
    Advance,
    /// The document is deleted.
    Erase,
}

pub fn intervene(world: &PruneWorld, what: Intervention, visit: Visit<'_, PruneWorld>) {
    let token = &world.tokens[TARGET];
    let mut with = |label: String, change: &dyn Fn(&mut PruneWorld)| {
        let mut next = world.clone();
        next.budget.person -= 1;
        next.touched = true;
        let at_work = next.actors.iter_mut().filter(|actor| actor.run.is_some());
        at_work.for_each(|actor| actor.unseen = true);
        next.late.iter_mut().for_each(|late| late.unseen = true);
        change(&mut next);
        visit(&|| format!("a person {label}"), next);
    };
    match what {
        Intervention::Enable if token.exists && !token.enabled => with("enables it".into(), &|w| {
            let token = &mut w.tokens[TARGET];
            token.disabled_before = token.disabled_before.or(token.disabled_at);
            (token.enabled, token.disabled_at, token.by_us) = (true, None, false);
        }),
        Intervention::Disable if token.exists && token.enabled => {
            with("disables it".into(), &|w| {
                let tick = w.tick;
                let token = &mut w.tokens[TARGET];
                // Where nobody noted that it was enabled, nothing shows it any longer.
                let since = token.disabled_before.unwrap_or(tick);
                (token.enabled, token.disabled_at, token.by_us) = (false, Some(since), false);
            });
        }
        Intervention::Rename if token.exists => with("renames it".into(), &|w| {
            w.tokens[TARGET].name = "theirs".into();
        }),
        Intervention::Use if token.exists && token.enabled => with("uses it".into(), &|w| {
            w.tokens[TARGET].last_used = Some(moment(w.tick));
        }),
        Intervention::Delete if token.exists => with("deletes it".into(), &|w| {
            w.tokens[TARGET].exists = false;
        }),
        Intervention::Name(number) if world.document.find(&id_of(number)).is_none() => {
            let states = [
                PrunedState::Ordered,
                PrunedState::Quarantine,
                PrunedState::Deleting,
                PrunedState::Restoring,
            ];
            for state in states {
                for marked in [true, false] {
                    with(
                        format!("writes T{number} as {state:?}, marked {marked}"),
                        &|w| {
                            let entry = forged(w, number, state, marked);
                            w.document.make_mut().tokens.push(entry);
                        },
                    );
                }
            }
        }
        Intervention::Backdate => edit(world, &mut with, "backdates it", |entry| {
            (entry.at, entry.since) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
        }),
        Intervention::Advance => edit(world, &mut with, "has it deleted", |entry| {
            entry.state = PrunedState::Deleting;
            (entry.at, entry.since) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
        }),
        Intervention::Erase if !world.document.tokens.is_empty() => {
            with("deletes the document".into(), &|w| {
                w.document = Cached::new(PruneRecord::default());
            });
        }
        _ => {}
    }
}

type With<'a> = &'a mut dyn FnMut(String, &dyn Fn(&mut PruneWorld));

fn edit(world: &PruneWorld, with: With<'_>, what: &str, change: fn(&mut PrunedToken)) {
    if world.document.find(&id_of(TARGET)).is_some() {
        with(format!("{what} in the document"), &|w| {
            let id = id_of(TARGET);
            let mut tokens = w.document.make_mut().tokens.iter_mut();
            let entry = tokens.find(|entry| entry.id == id);
            entry.into_iter().for_each(change);
        });
    }
}

/// An entry that fits the token in everything but what protects it. Without a digest it is as for a kind that cannot be renamed.
fn forged(world: &PruneWorld, number: usize, state: PrunedState, marked: bool) -> PrunedToken {
    let name = Marker::split(&world.tokens[number].name).0;
    PrunedToken {
        id: id_of(number),
        service: "prod".into(),
        base_url: "https://prod".into(),
        digest: marked.then(|| NameDigest::of(&old_mark(&name))),
        name,
        enabled: true,
        by: "mallory".into(),
        at: Timestamp::UNIX_EPOCH,
        state,
        since: Timestamp::UNIX_EPOCH,
        missing_since: None,
        unknown: Default::default(),
    }
}
