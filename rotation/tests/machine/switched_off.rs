//! K2: `enabled = false` means that nothing of the secret is begun, in the foreground or in the background.

use rotation::command::{Command, RunResult};
use rotation::event::EventName;
use rotation::record::{Claim, Record, RetiringState, Work};
use rotation::request::{Goal, RunRequest};

use crate::builders::{
    abandoned_rotation, at, by_command, by_schedule, id, minted, plain, record, request, retiring,
    value,
};
use crate::identity::sweep;
use crate::world::{Version, World};

fn off(mut request: RunRequest) -> RunRequest {
    request.env.enabled = false;
    request
}

fn in_grace() -> Record {
    let mut before = record();
    before.retiring = vec![retiring(
        &minted("OLD", 2),
        RetiringState::Grace,
        -1000,
        -10,
    )];
    before
}

#[test]
fn k2_nothing_is_retired_or_adopted_in_the_background() {
    let mut world = World::new(in_grace());
    // A person stored another token and disabled it.
    world.add(plain("HAND", "by hand"));
    world.put(value("HAND"));
    world.token("HAND").enabled = false;
    world.add(minted("UNKNOWN", 9));
    let before = world.document().clone();
    for second in [0, 500, 5000] {
        let request = off(sweep(&world, second));
        let ended = world.run_at(second, request);
        assert_eq!(ended.effects(), Vec::<&Command>::new());
        assert_eq!(ended.result, RunResult::Done { wake: None });
    }
    assert_eq!(world.document().retiring, before.retiring);
    assert_eq!(world.document().current, before.current);
    // Switched on again, it continues where it was.
    world.versions.pop();
    world.tokens.remove(&id("UNKNOWN"));
    let request = sweep(&world, 5001);
    world.run_at(5001, request);
    assert_eq!(world.entry("OLD").state, RetiringState::Quarantine);
}

#[test]
fn k2_open_attempts_wait() {
    let mut before = record();
    before.attempts.attempt = 4;
    let claim = abandoned_rotation(4, 1);
    before.open = vec![claim.attempt().unwrap().opened(None, at(-100))];
    let mut world = World::new(before.clone());
    world.add(minted("ORPHAN", 4));
    let request = off(sweep(&world, 0));
    let ended = world.run_at(0, request);
    assert_eq!(
        (ended.effects().len(), &world.document().open),
        (0, &before.open)
    );
}

#[test]
fn k2_a_rotation_and_an_undo_are_refused() {
    for goal in [by_command(), by_schedule(-1), Goal::Undo(None)] {
        let mut world = World::new(in_grace());
        let ended = world.run_at(0, off(request(goal)));
        let RunResult::Refused(why) = &ended.result else {
            panic!("{:?}", ended.result);
        };
        assert!(why.contains("enabled = false"), "{why}");
        assert_eq!(ended.effects(), Vec::<&Command>::new());
        assert_eq!(world.document().claim, None);
    }
}

/// The claim of this very run: it is finished, whatever the settings say by then.
#[test]
fn k2_a_claim_that_is_held_is_finished() {
    let mut before = record();
    before.attempts.attempt = 3;
    before.claim = Some(Claim {
        // The id of the run that begins now.
        nonce: "run-1".into(),
        work: Work::Rotate {
            due: Some(at(-1)),
            trigger: rotation::record::Trigger::Schedule,
            attempt: None,
        },
        ..abandoned_rotation(4, 2)
    });
    let mut world = World::new(before);
    let ended = world.run_at(0, off(request(Goal::Settle)));
    assert_eq!(ended.events(), [EventName::RotationSucceeded]);
    assert!(world.document().is_current(&id("NEW1")) && world.document().claim.is_none());
}

#[test]
fn k2_a_current_token_that_does_not_work_is_reported_and_not_replaced() {
    let mut before = record();
    before.health.went_back_at = Some(at(-5));
    let mut world = World::new(before);
    world.tokens.remove(&id("CUR"));
    let mut request = off(sweep(&world, 0));
    request.hints.recheck_token = true;
    let ended = world.run_at(0, request);
    assert_eq!(
        (ended.mints(), ended.errors()),
        (0, vec![EventName::CurrentInvalid])
    );
}

#[test]
fn k2_a_secret_that_is_seen_for_the_first_time_is_recorded_and_nothing_else() {
    let mut world = World::new(record());
    world.journal = None;
    let ended = world.run_at(0, off(request(Goal::Settle)));
    assert_eq!(ended.events(), [EventName::SecretAdopted]);
    assert_eq!(ended.effects(), Vec::<&Command>::new());
    assert_eq!(world.document().retiring, []);
}

/// What a dead process left behind waits: nothing is minted, stored or brought back for it.
#[test]
fn k2_an_interrupted_rotation_or_undo_is_not_begun_again() {
    let undo = Work::Undo {
        id: id("OLD"),
        base: 2,
        from: 1,
    };
    for (work, open) in [(abandoned_rotation(4, 2).work, 1), (undo, 0)] {
        let mut before = in_grace();
        before.attempts.attempt = 4;
        before.claim = Some(Claim {
            work,
            ..abandoned_rotation(4, 2)
        });
        let mut world = World::new(before);
        for second in [0, 500] {
            let ended = world.run_at(second, off(request(Goal::Settle)));
            assert_eq!(ended.effects(), Vec::<&Command>::new());
        }
        let document = world.document();
        assert_eq!((&document.claim, document.open.len()), (&None, open));
        // Switched on again, what is left of it is cleaned up.
        for second in [5000, 5100] {
            let request = sweep(&world, second);
            world.run_at(second, request);
        }
        assert!(world.document().open.is_empty());
    }
}

#[test]
fn k2_a_persons_value_and_a_token_that_was_put_back_wait_as_well() {
    for put in ["HAND", "OLD"] {
        let mut before = in_grace();
        before.retiring[0].state = RetiringState::Quarantine;
        let mut world = World::new(before.clone());
        world.add(plain("HAND", "by hand"));
        world.token("OLD").enabled = false;
        world.put(value(put));
        let request = off(sweep(&world, 0));
        let ended = world.run_at(0, request);
        assert_eq!(ended.effects(), Vec::<&Command>::new());
        let document = world.document();
        assert_eq!(
            (&document.current, &document.retiring),
            (&before.current, &before.retiring)
        );
    }
}

#[test]
fn k2_a_token_that_retires_without_our_marker_is_not_renamed() {
    let mut before = in_grace();
    before.retiring[0].digest = None;
    before.retiring[0].origin = rotation::record::Origin::Version(1);
    let mut world = World::new(before);
    world.token("OLD").name = "by hand".into();
    let ended = world.run_at(0, off(request(Goal::Settle)));
    assert_eq!(ended.effects(), Vec::<&Command>::new());
}

#[test]
fn p7_a_dry_run_is_refused_where_the_rotation_would_fail() {
    let dry = || RunRequest {
        dry_run: true,
        ..request(by_command())
    };
    for (world, request, words) in [
        (World::new(record()), off(dry()), "a is switched off"),
        (empty(), dry(), "a: stuck: secret/"),
        (World::new(record()), dry(), ""),
    ] {
        let mut world = world;
        let before = world.document().clone();
        let ended = world.run_at(0, request);
        match &ended.result {
            RunResult::Refused(why) => {
                assert!(!words.is_empty() && why.starts_with(words), "{why}")
            }
            RunResult::DryRun(text) => assert!(words.is_empty(), "{text}"),
            other => panic!("{other:?}"),
        }
        assert!(ended.effects().is_empty() && *world.document() == before);
    }
}

/// The latest version has no token in our field.
fn empty() -> World {
    let mut world = World::new(record());
    world.versions.push(Version::Empty);
    world
}
