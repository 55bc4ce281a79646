//! K13: one token that cannot be ended does not keep the others.

use rotation::command::{Command, Outcome, RunResult, TokenAction};
use rotation::error::ErrorKind::{self, Refused, Transient, Unclear};
use rotation::event::EventName;
use rotation::record::{EntryReason, Retiring, RetiringState};
use rotation::token::TokenId;

use crate::builders::{at, dynatrace, id, minted, retiring, settle};
use crate::world::World;

const NAMES: [&str; 4] = ["A", "B", "C", "D"];

/// Four tokens whose next step is due, A first.
fn world(state: &RetiringState) -> World {
    let entries = (0..).zip(NAMES).map(|(n, name)| Retiring {
        ..retiring(&minted(name, 2), state.clone(), -1000, -100 + n)
    });
    let mut world = World::with_retiring(entries.collect());
    for name in NAMES {
        world.add(minted(name, 2));
        world.token(name).enabled = *state == RetiringState::Grace;
    }
    world
}

/// Every call that `matches` about token A fails.
fn failing(world: &mut World, kind: ErrorKind, matches: fn(&Command, &TokenId) -> bool) {
    world.fault(move |_, command| {
        let hit = matches(command, &id("A"));
        hit.then(|| match command {
            Command::LookUp(_) => Outcome::Token(Err(dynatrace(kind))),
            _ => Outcome::Changed(Err(dynatrace(kind))),
        })
    });
}

fn ended(world: &World, state: &RetiringState, name: &str) -> bool {
    match state {
        RetiringState::Grace => !world.tokens[&id(name)].enabled,
        _ => !world.tokens.contains_key(&id(name)),
    }
}

/// Runs a few times: B, C and D are ended although A is not, and the failure is A's.
fn the_others_are_ended(
    kind: ErrorKind,
    matches: fn(&Command, &TokenId) -> bool,
) -> Vec<EventName> {
    let mut errors = vec![];
    for state in &[RetiringState::Grace, RetiringState::Quarantine] {
        errors.clear();
        let mut world = world(state);
        failing(&mut world, kind, matches);
        for second in 0..3 {
            errors.extend(world.run_at(second, settle()).errors());
        }
        for name in ["B", "C", "D"] {
            assert!(ended(&world, state, name), "{kind:?} {state:?} {name}");
        }
        assert!(!ended(&world, state, "A"));
        let failure = world.entry("A").failure.clone().unwrap();
        let reason = match kind {
            Refused => EntryReason::Refused,
            _ => EntryReason::Unavailable,
        };
        assert_eq!(failure.reason, reason);
        assert_eq!(
            world.document().health.failure,
            None,
            "the secret itself is well"
        );
        assert_eq!(world.document().claim, None);
        // When the cause is resolved it is ended as well, and its failure is gone.
        world.fault = None;
        world.run_at(4000, settle());
        assert!(ended(&world, state, "A"), "{kind:?} {state:?}");
        let left = world.document().retiring(&id("A"));
        assert!(left.is_none_or(|entry| entry.failure.is_none()));
    }
    errors
}

fn change(command: &Command, id: &TokenId) -> bool {
    matches!(command, Command::Change(_, other) if other == id)
}

fn look_up(command: &Command, id: &TokenId) -> bool {
    matches!(command, Command::LookUp(other) if other == id)
}

#[test]
fn k13_a_refused_disable_or_delete_does_not_block_the_next_and_is_one_error() {
    assert_eq!(
        the_others_are_ended(Refused, change),
        [EventName::RetirementBlocked]
    );
}

#[test]
fn k13_a_failing_disable_or_delete_does_not_block_the_next_and_is_no_error() {
    assert_eq!(the_others_are_ended(Transient, change), []);
}

#[test]
fn k13_a_disable_or_delete_without_a_clear_answer_does_not_block_the_next() {
    assert_eq!(the_others_are_ended(Unclear, change), []);
}

#[test]
fn k13_a_refused_look_up_does_not_block_the_next_and_is_one_error() {
    assert_eq!(
        the_others_are_ended(Refused, look_up),
        [EventName::RetirementBlocked]
    );
}

#[test]
fn k13_a_failing_look_up_does_not_block_the_next_and_is_no_error() {
    assert_eq!(the_others_are_ended(Transient, look_up), []);
}

/// A disable without a clear answer may still take effect: an undo waits for it.
#[test]
fn p1_a_disable_without_a_clear_answer_is_remembered() {
    let mut world = world(&RetiringState::Grace);
    failing(&mut world, Unclear, change);
    world.run_at(0, settle());
    assert_eq!(world.entry("A").disable_unconfirmed_since, Some(at(0)));
    assert_eq!(world.entry("B").disable_unconfirmed_since, None);
}

/// What cannot be used at all concerns the service and is not written into each entry.
#[test]
fn p10_an_environment_that_refuses_our_own_token_ends_the_run() {
    let mut world = world(&RetiringState::Grace);
    world.fault(|_, command| match command {
        Command::LookUp(_) => Some(Outcome::Token(Err(dynatrace(ErrorKind::Unauthorized)))),
        _ => None,
    });
    let before = world.document().clone();
    let ended = world.run_at(0, settle());
    assert!(
        matches!(ended.result, RunResult::Retry(_)),
        "{:?}",
        ended.result
    );
    assert_eq!(world.document(), &before);
}

/// A token that cannot be proven waits alone.
#[test]
fn k13_an_unproven_token_does_not_block_the_next() {
    let mut world = world(&RetiringState::Grace);
    world.token("A").name = "renamed by somebody".into();
    let done = world.run_at(0, settle());
    assert_eq!(done.errors(), [EventName::RetirementBlocked]);
    assert!(done.did(TokenAction::Disable, "B") && done.did(TokenAction::Disable, "D"));
    assert!(world.token("A").enabled);
}

/// One odd answer must not cost an hour, and what stays as it is must not be asked all the time.
#[test]
fn an_unproven_token_is_examined_again_soon_and_then_less_and_less_often() {
    let mut world = world(&RetiringState::Grace);
    world.token("A").name = "renamed by somebody".into();
    let mut waits = vec![];
    let mut second = 0;
    for _ in 0..20 {
        world.run_at(second, settle());
        let wait = at(second).duration_until(world.entry("A").due).as_secs();
        waits.push(wait);
        second += wait + 1;
    }
    assert!(waits[0] <= 2, "{waits:?}");
    assert!(waits.iter().all(|wait| *wait <= 3600), "{waits:?}");
    assert!(waits[15] >= 360, "{waits:?}");
    world.token("A").name = minted("A", 2).name;
    world.run_at(second, settle());
    assert!(!world.token("A").enabled, "it is proven again");
}

/// The token of an interrupted attempt cannot be deleted: it retires like any other, and the others retire meanwhile.
#[test]
fn k13_a_refused_deletion_of_an_orphan_does_not_block_the_retirements() {
    let mut world = World::with_retiring(vec![retiring(
        &minted("OLD", 2),
        RetiringState::Grace,
        -1000,
        -10,
    )]);
    let attempt = rotation::record::Attempt {
        n: 4,
        base: 1,
        old: Some(id("OLD")),
        digest: Some(rotation::marker::NameDigest::of(&minted("A", 4).name)),
        begin: Default::default(),
    };
    world.edit().attempts.attempt = 4;
    world.edit().open = vec![attempt.opened(None, at(-100))];
    world.add(minted("A", 4));
    failing(&mut world, Refused, change);
    let mut errors = vec![];
    for second in [0, 1, 100, 102, 110] {
        let request = crate::identity::sweep(&world, second);
        errors.extend(world.run_at(second, request).errors());
    }
    assert!(!world.token("OLD").enabled);
    assert_eq!(errors, [EventName::RetirementBlocked]);
    assert_eq!(world.document().open, []);
    assert_eq!(
        world.entry("A").failure.as_ref().unwrap().reason,
        EntryReason::Refused
    );
    world.fault = None;
    for second in [5000, 5200] {
        world.run_at(second, settle());
    }
    assert!(!world.tokens.contains_key(&id("A")));
}
