//! A pause: nothing is begun, what is held is finished, and a claim survives its being written (rule A14).

use std::cell::Cell;
use std::rc::Rc;

use rotation::command::{Command, RunResult};
use rotation::event::{EventName, Level};
use rotation::pause::Pause;
use rotation::record::{Record, RetiringState};
use rotation::request::Goal;

use crate::builders::{
    abandoned_rotation, at, by_command, by_schedule, id, minted, record, request, retiring, settle,
};
use crate::identity::sweep;
use crate::world::World;

fn pause(until: Option<i64>) -> Pause {
    Pause {
        since: at(0),
        until: until.map(at),
        by: "alice".into(),
        reason: Some("change freeze".into()),
        unknown: Default::default(),
    }
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

fn paused(until: Option<i64>) -> World {
    let mut before = in_grace();
    before.pause = Some(pause(until));
    World::new(before)
}

#[test]
fn a_pause_is_written_with_who_why_and_until_when_and_ended_by_a_command() {
    let mut world = World::new(in_grace());
    let ended = world.run_at(0, request(Goal::Pause(pause(Some(500)))));
    assert_eq!(ended.events(), [EventName::SecretPaused]);
    let message = &ended.reports[0].message;
    assert!(
        message.starts_with("a is paused until 20")
            && message.ends_with(" (by alice, reason: change freeze)"),
        "{message}"
    );
    assert_eq!(world.document().pause, Some(pause(Some(500))));
    let ended = world.run_at(10, request(Goal::Resume));
    assert_eq!(ended.events(), [EventName::SecretResumed]);
    assert_eq!(
        (&world.document().pause, world.document().resumed_at),
        (&None, Some(at(10)))
    );
    // A second one finds nothing to end.
    let ended = world.run_at(11, request(Goal::Resume));
    assert_eq!((ended.events(), ended.written().len()), (vec![], 0));
}

/// Whoever paused it first counts on it, and its reason would be gone without a word.
#[test]
fn a_pause_that_is_replaced_is_named_and_a_shorter_one_is_warned_about() {
    for (before, after, is_shorter) in [
        (Some(500), Some(400), true),
        (None, Some(400), true),
        (Some(300), Some(400), false),
        (Some(300), None, false),
    ] {
        let mut world = paused(before);
        let new = Pause {
            by: "bob".into(),
            reason: Some("incident 7".into()),
            ..pause(after)
        };
        let ended = world.run_at(10, request(Goal::Pause(new)));
        let report = &ended.reports[0];
        let end = |until: Option<i64>| match until {
            Some(until) => format!("until {:.0}", at(until)),
            None => "without an end".to_owned(),
        };
        let later = if is_shorter {
            ", which would have ended later"
        } else {
            ""
        };
        let message = format!(
            "a is paused {} (by bob, reason: incident 7); this replaces the pause {} (by alice, reason: change freeze){later}",
            end(after),
            end(before)
        );
        assert_eq!(report.message, message);
        assert_eq!(report.level == Level::Warn, is_shorter);
    }
}

#[test]
fn a_pause_that_outlives_the_token_is_warned_about() {
    for (until, level) in [
        (None, Level::Warn),
        (Some(1001), Level::Warn),
        (Some(999), Level::Info),
    ] {
        let mut before = record();
        before.current.as_mut().unwrap().expires = Some(at(1000));
        let mut world = World::new(before);
        let ended = world.run_at(0, request(Goal::Pause(pause(until))));
        assert_eq!(ended.reports[0].level, level, "{until:?}");
        let warns = ended.reports[0].message.contains("expires at");
        assert_eq!(warns, level == Level::Warn);
    }
}

#[test]
fn p4_nothing_of_a_paused_secret_is_begun_by_commands_or_in_the_background() {
    for goal in [by_command(), by_schedule(-1), Goal::Undo(None)] {
        let mut world = paused(None);
        let ended = world.run_at(0, request(goal));
        let RunResult::Refused(why) = &ended.result else {
            panic!("{:?}", ended.result);
        };
        assert!(
            why.contains("paused by alice") && why.contains("dtrotate resume a"),
            "{why}"
        );
        assert_eq!(ended.effects(), Vec::<&Command>::new());
    }
    let mut world = paused(Some(500));
    world.add(minted("UNKNOWN", 9));
    let request = sweep(&world, 100);
    let ended = world.run_at(100, request);
    assert_eq!(ended.effects(), Vec::<&Command>::new());
    assert_eq!(
        ended.result,
        RunResult::Done {
            wake: Some(at(500))
        }
    );
    // Its time is up: whoever looks next says so, and the work continues.
    let ended = world.run_at(500, settle());
    assert_eq!(
        ended.events(),
        [EventName::SecretResumed, EventName::TokenDisabled]
    );
    assert_eq!(world.document().resumed_at, Some(at(500)));
}

#[test]
fn a14_the_work_of_a_dead_holder_waits_for_the_end_of_the_pause() {
    let mut world = paused(Some(500));
    world.edit().attempts.attempt = 4;
    world.edit().claim = Some(abandoned_rotation(4, 2));
    let ended = world.run_at(100, settle());
    assert_eq!(
        ended.result,
        RunResult::Done {
            wake: Some(at(500))
        }
    );
    assert_eq!(ended.written().len(), 0);
    let ended = world.run_at(501, settle());
    assert_eq!(ended.mints(), 1, "{:?}", ended.events());
    assert!(world.document().is_current(&id("NEW1")));
}

#[test]
fn a14_a_pause_preserves_the_claim_of_a_living_holder_who_finishes() {
    // Between any two journal writes of a rotation.
    for write in 1..=2 {
        let mut world = World::new(record());
        let writes = Rc::new(Cell::new(0));
        let seen = writes.clone();
        world.fault(move |world, command| {
            if let Command::WriteJournal { .. } = command {
                seen.set(seen.get() + 1);
                if seen.get() == write {
                    world.edit().pause = Some(pause(None));
                }
            }
            None
        });
        let ended = world.run_at(0, request(by_schedule(-1)));
        let document = world.document();
        assert_eq!(document.pause, Some(pause(None)), "{write}");
        assert_eq!(document.claim, None, "{write}");
        match write {
            // The claim was not taken yet.
            1 => assert_eq!((ended.mints(), ended.effects().len()), (0, 0)),
            _ => {
                assert!(document.is_current(&id("NEW1")), "{write}");
                assert_eq!((ended.mints(), document.open.len()), (1, 0));
            }
        }
    }
}

#[test]
fn a14_a_change_that_is_more_than_a_pause_takes_the_claim_away() {
    let mut world = World::new(record());
    let writes = Rc::new(Cell::new(0));
    world.fault(move |world, command| {
        if let Command::WriteJournal { .. } = command {
            writes.set(writes.get() + 1);
            if writes.get() == 2 {
                let record = world.edit();
                record.pause = Some(pause(None));
                record.claim = None;
            }
        }
        None
    });
    world.run_at(0, request(by_schedule(-1)));
    let document = world.document();
    assert!(document.is_current(&id("CUR")) && document.claim.is_none());
}
