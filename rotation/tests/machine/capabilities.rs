//! The scenarios of verification, retirement, clean-up and undo for kinds of tokens that can do less.

use std::sync::Arc;

use rotation::capabilities::{Absence, Capabilities};
use rotation::command::{Command, Outcome, RunResult, TokenAction};
use rotation::error::ErrorKind;
use rotation::event::EventName;
use rotation::plan::{Plan, StillUsed};
use rotation::record::{Record, RetiringState};
use rotation::request::{Goal, RunRequest};
use rotation::token::TokenInfo;

use crate::builders::{
    abandoned_rotation, at, by_schedule, dynatrace, id, minted, plan, record, request, retiring,
    settle, value,
};
use crate::identity::sweep;
use crate::world::{Ended, World};

const NO_DISABLE: Capabilities = Capabilities {
    disable: false,
    ..Capabilities::API
};
const NO_READ_BY_ID: Capabilities = Capabilities {
    read_by_id: false,
    ..Capabilities::API
};
const LISTED: Capabilities = Capabilities {
    absence: Absence::Listing,
    ..Capabilities::API
};
const LEAST: Capabilities = Capabilities {
    disable: false,
    rename: false,
    read_by_id: false,
    absence: Absence::Listing,
    ..Capabilities::API
};
const KINDS: [Capabilities; 5] = [Capabilities::API, NO_DISABLE, NO_READ_BY_ID, LISTED, LEAST];

fn of(kind: Capabilities, mut request: RunRequest) -> RunRequest {
    request.env.capabilities = kind;
    request
}

/// No command that this kind cannot do.
fn within(kind: Capabilities, ended: &Ended) {
    for command in &ended.commands {
        let possible = match command {
            Command::LookUp(_) => kind.read_by_id,
            Command::Change(TokenAction::Disable | TokenAction::Enable, _) => kind.disable,
            Command::Change(TokenAction::Rename(_), _) => kind.rename,
            _ => true,
        };
        assert!(possible, "{kind:?}: {command:?}");
    }
    if !kind.disable {
        assert_eq!(ended.of(EventName::TokenDisabled).len(), 0);
    }
}

fn in_grace(due: i64) -> Record {
    let mut before = record();
    let mut old = retiring(&minted("OLD", 2), RetiringState::Grace, 0, due);
    old.origin = rotation::record::Origin::Version(1);
    before.retiring = vec![old];
    before
}

#[test]
fn p1_every_kind_is_rotated() {
    for kind in KINDS {
        let mut world = World::new(record());
        let ended = world.run_at(0, of(kind, request(by_schedule(-1))));
        within(kind, &ended);
        assert_eq!(ended.events(), [EventName::RotationSucceeded], "{kind:?}");
        assert!(world.document().is_current(&id("NEW1")));
    }
}

#[test]
fn p3_every_kind_retires_after_its_grace() {
    for kind in KINDS {
        let mut world = World::new(in_grace(100));
        let before = world.run_at(99, of(kind, settle()));
        assert_eq!(before.effects(), Vec::<&Command>::new(), "{kind:?}");
        let ended = world.run_at(100, of(kind, settle()));
        within(kind, &ended);
        if kind.disable {
            assert_eq!(ended.events(), [EventName::TokenDisabled]);
            assert_eq!(world.entry("OLD").due, at(300));
            let ended = world.run_at(300, of(kind, settle()));
            within(kind, &ended);
            assert_eq!(ended.events(), [EventName::TokenDeleted]);
        } else {
            assert_eq!(ended.events(), [EventName::TokenDeleted], "{kind:?}");
        }
        assert!(!world.tokens.contains_key(&id("OLD")), "{kind:?}");
        assert_eq!(world.document().retiring, []);
    }
}

/// Where a token cannot be disabled, its use is asked for immediately before it is deleted.
#[test]
fn k2_a_token_in_use_that_cannot_be_disabled_is_held_like_any_other() {
    for kind in [NO_DISABLE, LEAST] {
        let mut world = World::new(in_grace(100));
        let used = |at_second| TokenInfo {
            last_used: Some(at(at_second)),
            last_used_ip: Some("192.0.2.7".into()),
            ..minted("OLD", 2)
        };
        let hold = || {
            let mut request = of(kind, settle());
            request.plan = Arc::new(Plan {
                still_used: StillUsed::Hold,
                ..plan()
            });
            request
        };
        world.add(used(90));
        let ended = world.run_at(100, hold());
        assert_eq!(ended.effects(), Vec::<&Command>::new());
        assert_eq!(ended.events(), [EventName::RetirementHeld]);
        assert_eq!(world.entry("OLD").due, at(190));
        // To the last.
        world.add(used(990));
        world.edit().retiring[0].due = at(1000);
        let ended = world.run_at(1000, hold());
        assert_eq!(
            ended.events(),
            [EventName::ConsumerCutOff, EventName::TokenDeleted]
        );
    }
}

/// A refused deletion of a token that cannot be disabled: it may be used again by the time it is tried again.
#[test]
fn k2_use_is_asked_again_before_a_deletion_is_repeated() {
    let mut world = World::new(in_grace(100));
    world.fault(|_, command| match command {
        Command::Change(TokenAction::Delete, _) => {
            Some(Outcome::Changed(Err(dynatrace(ErrorKind::Refused))))
        }
        _ => None,
    });
    let hold = || {
        let mut request = of(NO_DISABLE, settle());
        request.plan = Arc::new(Plan {
            still_used: StillUsed::Hold,
            ..plan()
        });
        request
    };
    world.run_at(100, hold());
    world.fault = None;
    world.token("OLD").last_used = Some(at(140));
    let ended = world.run_at(150, hold());
    assert_eq!(ended.effects(), Vec::<&Command>::new());
    assert_eq!(world.entry("OLD").due, at(240));
}

#[test]
fn p2_every_kinds_orphan_of_an_interrupted_attempt_is_deleted() {
    for kind in KINDS {
        let mut before = record();
        before.attempts.attempt = 4;
        before.claim = Some(abandoned_rotation(4, 2));
        let mut world = World::new(before);
        world.tokens.remove(&id("OLD"));
        world.add(minted("ORPHAN", 4));
        let ended = world.run_at(0, of(kind, settle()));
        within(kind, &ended);
        assert!(ended.did(TokenAction::Delete, "ORPHAN"), "{kind:?}");
        assert!(world.document().is_current(&id("NEW1")));
        assert_eq!(world.document().open, []);
    }
}

#[test]
fn p2_every_kinds_unknown_token_retires_with_full_grace() {
    for kind in KINDS {
        let mut world = World::new(record());
        world.tokens.remove(&id("OLD"));
        world.add(minted("UNKNOWN", 9));
        let request = of(kind, sweep(&world, 0));
        let ended = world.run_at(0, request);
        within(kind, &ended);
        assert_eq!(world.entry("UNKNOWN").due, at(100), "{kind:?}");
    }
}

#[test]
fn p3_every_kind_is_undone_in_its_grace() {
    for kind in KINDS {
        let mut world = World::new(in_grace(100));
        let ended = world.run_at(50, of(kind, request(Goal::Undo(None))));
        within(kind, &ended);
        assert_eq!(ended.result, RunResult::Done { wake: None }, "{kind:?}");
        assert!(world.document().is_current(&id("OLD")));
        assert_eq!(world.shown(3).id(), Some(&id("OLD")));
    }
}

#[test]
fn p1_every_kind_that_is_put_back_is_current_again() {
    for kind in KINDS {
        let mut world = World::new(in_grace(100));
        world.put(value("OLD"));
        let request = of(kind, sweep(&world, 50));
        let ended = world.run_at(50, request);
        within(kind, &ended);
        assert!(world.document().is_current(&id("OLD")), "{kind:?}");
    }
}

#[test]
fn p2_a_404_of_a_retiring_token_counts_when_it_is_said_twice() {
    let mut world = World::new(in_grace(100));
    world.tokens.remove(&id("OLD"));
    let ended = world.run_at(100, settle());
    assert_eq!(ended.count(|it| *it == Command::ProveReachable), 1);
    assert_eq!(ended.count(|it| *it == Command::LookUp(id("OLD"))), 2);
    assert_eq!(world.document().retiring, []);
}

#[test]
fn a17_absence_in_a_listing_counts_when_it_is_said_twice_apart_by_settle() {
    for kind in [LISTED, LEAST] {
        let mut world = World::new(in_grace(100));
        world.tokens.remove(&id("OLD"));
        let ended = world.run_at(100, of(kind, settle()));
        assert_eq!(world.entry("OLD").missed, Some(at(100)), "{kind:?}");
        assert_eq!(
            ended.result,
            RunResult::Done {
                wake: Some(at(110))
            }
        );
        // Examined early, whatever the reason: the second listing must be `settle` later.
        world.edit().retiring[0].due = at(105);
        let ended = world.run_at(109, of(kind, settle()));
        assert_eq!(
            (ended.events().len(), world.document().retiring.len()),
            (0, 1)
        );
        let ended = world.run_at(111, of(kind, settle()));
        assert_eq!(ended.events(), [EventName::TokenDeleted]);
        assert_eq!(world.document().retiring, []);
    }
}

/// The first listing missed it, and the next one showed it: that absence is void.
#[test]
fn a17_a_token_that_was_seen_again_must_be_missed_twice_again() {
    let mut world = World::new(in_grace(100));
    let old = world.tokens.remove(&id("OLD")).unwrap();
    world.run_at(100, of(LEAST, settle()));
    assert_eq!(world.entry("OLD").missed, Some(at(100)));
    world.add(TokenInfo {
        last_used: Some(at(105)),
        ..old
    });
    let hold = || {
        let mut request = of(LEAST, settle());
        request.plan = Arc::new(Plan {
            still_used: StillUsed::Hold,
            ..plan()
        });
        request
    };
    world.run_at(110, hold());
    assert_eq!(
        (world.entry("OLD").missed, world.entry("OLD").due),
        (None, at(205))
    );
    world.tokens.remove(&id("OLD"));
    world.run_at(205, hold());
    assert_eq!(world.document().retiring.len(), 1, "missed once");
}

/// A listing without the current token is not complete, so it proves nothing.
#[test]
fn a17_an_incomplete_listing_proves_no_absence() {
    let mut world = World::new(in_grace(100));
    world.tokens.remove(&id("OLD"));
    world.fault(|world, command| match command {
        Command::List => {
            let mut listing = world.listing();
            Arc::make_mut(&mut listing.tokens).retain(|token| token.id != id("CUR"));
            Some(Outcome::Listed(Ok(listing)))
        }
        _ => None,
    });
    for second in [100, 200, 300, 400] {
        let ended = world.run_at(second, of(LISTED, settle()));
        assert_eq!(ended.events(), []);
    }
    assert_eq!(world.document().retiring.len(), 1);
}
