//! A value is not believed for the id that it shows: ids are public, and a value that was cut short or mistyped shows its id still.

use std::sync::Arc;
use std::time::Duration;

use rotation::capabilities::Capabilities;
use rotation::command::{Command, Outcome, RunResult};
use rotation::event::EventName;
use rotation::plan::Lifetime;
use rotation::record::{Reason, RetiringState};
use rotation::request::{Goal, RotationRequest, RunRequest};

use crate::builders::{by_command, by_schedule, id, minted, plan_with, request, value};
use crate::capabilities::{REDATED, UNPROVABLE, in_grace, of, within};
use crate::identity::sweep;
use crate::world::{Ended, Version, World};

/// Kinds whose look-up by value shows no more than the id.
const BY_ID: [Capabilities; 2] = [REDATED, UNPROVABLE];

/// OLD retires, CUR is current, and a value is looked up by the id that it shows.
fn by_id(state: RetiringState) -> World {
    let mut before = in_grace(500);
    before.retiring[0].state = state.clone();
    let mut world = World::new(before);
    world.token("OLD").enabled = state == RetiringState::Grace;
    world.fault(|world, command| match command {
        Command::LookUpValue => {
            let latest = world.shown(world.versions.len() as u64);
            Some(Outcome::Value(world.look_up(latest.id()?)))
        }
        _ => None,
    });
    world
}

fn asked(kind: Capabilities, goal: Goal) -> RunRequest {
    let mut request = of(kind, request(goal));
    request.plan = Arc::new(plan_with(|plan| {
        plan.lifetime = Lifetime::For(Duration::from_secs(50_000));
    }));
    request
}

/// As after a read that found another version than the recorded one.
fn look(world: &mut World, kind: Capabilities, second: i64) -> Ended {
    let mut request = asked(kind, Goal::Settle);
    request.hints.reread_secret = true;
    request.hints.recheck_token = true;
    let ended = world.run_at(second, request);
    within(kind, &ended);
    ended
}

fn with_recorded_rights() -> Goal {
    match by_command() {
        Goal::Rotate(request) => Goal::Rotate(RotationRequest {
            accept_recorded_rights: true,
            ..request
        }),
        other => other,
    }
}

#[test]
fn p1_a_value_cut_short_is_not_a_former_token_that_was_put_back() {
    for (kind, state) in [
        (REDATED, RetiringState::Grace),
        (REDATED, RetiringState::Quarantine),
        (UNPROVABLE, RetiringState::Grace),
    ] {
        let mut world = by_id(state.clone());
        world.put("dt0c01.OLD.AAAA");
        let ended = look(&mut world, kind, 50);
        assert_eq!(ended.effects(), Vec::<&Command>::new(), "{kind:?}");
        assert_eq!(ended.events(), [EventName::CurrentInvalid], "{kind:?}");
        assert!(world.document().is_current(&id("CUR")));
        assert_eq!(world.entry("OLD").state, state);
        let told = world.document().health.invalid.clone().unwrap();
        assert!(told.by_hand && told.message.contains("version 1 of the secret"));
        // It stays as it is for as long as the value does.
        let ended = look(&mut world, kind, 2000);
        assert_eq!(ended.effects(), Vec::<&Command>::new(), "{kind:?}");
        world.put(value("CUR"));
        look(&mut world, kind, 2001);
        assert_eq!(world.document().health.invalid, None);
    }
}

/// It cannot be tried where it is disabled, and it is the very value that it was.
#[test]
fn p1_a_former_value_that_is_whole_is_accepted_whether_it_can_be_tried_or_not() {
    for (kind, state) in [
        (REDATED, RetiringState::Grace),
        (REDATED, RetiringState::Quarantine),
        (UNPROVABLE, RetiringState::Grace),
    ] {
        let mut world = by_id(state);
        world.put(value("OLD"));
        look(&mut world, kind, 50);
        assert!(world.document().is_current(&id("OLD")), "{kind:?}");
        assert!(world.token("OLD").enabled);
    }
}

/// Nothing is left to compare it with.
#[test]
fn p9_a_disabled_token_whose_version_is_gone_is_enabled_only_by_a_persons_word() {
    let mut world = by_id(RetiringState::Quarantine);
    world.versions[0] = Version::Pruned;
    world.put(value("OLD"));
    let ended = look(&mut world, REDATED, 50);
    assert_eq!(ended.effects(), Vec::<&Command>::new());
    assert_eq!(ended.result, RunResult::stuck(Reason::TokenUnproven));
    let told = world.document().health.failure.clone().unwrap().message;
    assert!(
        told.contains("dtrotate adopt a --token dt0c01.OLD"),
        "{told}"
    );
    let ended = world.run_at(60, asked(REDATED, Goal::Adopt(id("OLD"))));
    assert!(matches!(ended.result, RunResult::Done { .. }));
    assert!(world.token("OLD").enabled && world.document().is_current(&id("OLD")));
    // One that is enabled is tried.
    let mut world = by_id(RetiringState::Grace);
    world.versions[0] = Version::Pruned;
    world.put(value("OLD"));
    look(&mut world, REDATED, 50);
    assert!(world.document().is_current(&id("OLD")));
}

#[test]
fn p8_a_current_value_cut_short_is_invalid_and_is_replaced_by_a_persons_word() {
    for kind in BY_ID {
        let mut world = by_id(RetiringState::Grace);
        world.put("dt0c01.CUR.AAAA");
        let ended = look(&mut world, kind, 50);
        assert_eq!(ended.events(), [EventName::CurrentInvalid], "{kind:?}");
        assert!(world.document().health.invalid.clone().unwrap().by_hand);
        let ended = world.run_at(60, asked(kind, by_schedule(55)));
        assert_eq!(ended.mints(), 0, "{kind:?}");
        let ended = world.run_at(70, asked(kind, by_command()));
        assert_eq!(ended.result, RunResult::stuck(Reason::TokenUnknown));
        let ended = world.run_at(80, asked(kind, with_recorded_rights()));
        assert_eq!(ended.mints(), 1, "{kind:?}");
        assert!(world.document().is_current(&id("NEW1")));
        assert_eq!(world.document().health.invalid, None);
        // Its token lives, and retires.
        assert_eq!(world.entry("CUR").state, RetiringState::Grace, "{kind:?}");
    }
}

/// Somebody wrote another field: the value is as it was.
#[test]
fn p8_a_further_version_with_the_same_value_is_the_same_value() {
    for (kind, pruned, tried) in [
        (REDATED, false, 0),
        (REDATED, true, 1),
        (UNPROVABLE, false, 0),
        (UNPROVABLE, true, 0),
    ] {
        let mut world = by_id(RetiringState::Grace);
        world.put(value("CUR"));
        if pruned {
            world.versions[1] = Version::Pruned;
        }
        let ended = look(&mut world, kind, 50);
        assert_eq!(ended.reports.len(), 0, "{:?}", ended.reports);
        assert_eq!(ended.count(|it| *it == Command::TryValue), tried);
        let ended = world.run_at(60, asked(kind, by_schedule(55)));
        assert_eq!(ended.events()[0], EventName::RotationSucceeded);
    }
}

/// A token of a time that the journal does not know: people may have had its value, and put a part of it there.
#[test]
fn p9_a_value_cut_short_of_a_later_token_is_not_an_interrupted_store() {
    for (put, believed) in [(value("LATER"), true), ("dt0c01.LATER.AAAA".into(), false)] {
        let mut world = by_id(RetiringState::Grace);
        world.add(minted("LATER", 7));
        world.put(put);
        let mut request = sweep(&world, 50);
        request.plan = asked(REDATED, Goal::Settle).plan;
        let ended = world.run_at(50, of(REDATED, request));
        let is_current = world.document().is_current(&id("LATER"));
        assert_eq!(is_current, believed, "{:?}", ended.reports);
        assert_eq!(world.document().is_current(&id("CUR")), !believed);
    }
}

/// What is revoked is replaced, whatever the rest of the value is.
#[test]
fn p9_a_revocation_needs_no_proof_of_the_value() {
    let mut world = by_id(RetiringState::Grace);
    world.put("dt0c01.CUR.AAAA");
    let mut request = of(REDATED, crate::revoke::revoking("CUR"));
    request.plan = asked(REDATED, Goal::Settle).plan;
    world.run_at(50, request);
    assert!(world.document().is_current(&id("NEW1")));
}
