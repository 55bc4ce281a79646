//! The mark of a pruned token is no secret's marker: nothing of a secret follows from it.

use rotation::command::{Command, RunResult, TokenAction};
use rotation::event::EventName;
use rotation::marker::{Epoch, Marker};
use rotation::prune;
use rotation::record::RetiringState;
use rotation::token::TokenInfo;

use crate::builders::{at, by_schedule, plain, record, request, settle};
use crate::identity::sweep;
use crate::world::World;

/// A token that `dtrotate prune` disabled and marked, and that a person enabled again.
fn pruned(text: &str, base: &str, second: i64) -> TokenInfo {
    plain(text, &prune::mark("inst", at(second)).name(base, 100))
}

/// A secret that is seen for the first time, whose value is such a token, beside one of somebody else.
fn adopted() -> World {
    let mut world = World::new(record());
    (world.journal, world.cas) = (None, 0);
    world.tokens.clear();
    world.add(pruned("CUR", "job", -900));
    world.add(pruned("THEIRS", "payments", -900));
    world.add(pruned("LATER", "checkout", -800));
    let request = sweep(&world, 0);
    let ended = world.run_at(0, request);
    assert_eq!(ended.events(), [EventName::SecretAdopted]);
    world
}

#[test]
fn p9_the_mark_of_a_pruned_token_is_not_taken_for_a_secrets_identity() {
    let mut world = adopted();
    let document = world.document();
    assert_eq!(document.epoch.secret, "fresh");
    assert_eq!((document.attempts.attempt, document.retiring.len()), (0, 0));
    assert!(!document.current.as_ref().unwrap().marked);
    for second in [10, 200, 5000] {
        let request = sweep(&world, second);
        let ended = world.run_at(second, request);
        assert_eq!(ended.effects(), Vec::<&Command>::new());
        assert_eq!(ended.reports.len(), 0, "{:?}", ended.reports);
    }
}

#[test]
fn p3_a_pruned_token_that_became_a_value_is_rotated_and_retires_like_any_other() {
    let mut world = adopted();
    let ended = world.run_at(1, request(by_schedule(0)));
    assert_eq!(ended.events(), [EventName::RotationSucceeded]);
    // The mark is no part of the name.
    assert_eq!(world.token("NEW1").name, "job [dtrotate:inst.fresh.1]");
    assert_eq!(world.token("CUR").name, "job [dtrotate:inst.fresh.0]");
    let ended = world.run_at(101, settle());
    assert!(ended.did(TokenAction::Disable, "CUR"));
    assert_eq!(world.entry("CUR").state, RetiringState::Quarantine);
    for theirs in ["THEIRS", "LATER"] {
        assert!(world.token(theirs).enabled);
    }
}

/// A document of a version that took the mark for an identity.
#[test]
fn p9_a_document_with_the_identity_of_pruned_tokens_is_not_worked_by() {
    let mut before = record();
    before.epoch = Epoch::pruned("inst");
    let mut world = World::new(before);
    world.add(pruned("THEIRS", "payments", -900));
    let request = sweep(&world, 0);
    let ended = world.run_at(0, request);
    assert!(
        matches!(&ended.result, RunResult::JournalImplausible(why) if why.contains("pruned")),
        "{:?}",
        ended.result
    );
    assert_eq!(ended.effects(), Vec::<&Command>::new());
    let name = &world.token("THEIRS").name;
    assert_eq!(Marker::of(name, &Epoch::pruned("inst")), None);
}
