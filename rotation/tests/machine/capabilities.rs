//! The scenarios of verification, retirement, clean-up and undo for kinds of tokens that can do less.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use rotation::capabilities::{Absence, Capabilities, Expiry, Proof};
use rotation::command::{Command, Outcome, RunResult, TokenAction};
use rotation::error::ErrorKind;
use rotation::event::EventName;
use rotation::plan::{AtMaxGrace, Lifetime, StillUsed};
use rotation::record::{EntryReason, Origin, Reason, Record, Retiring, RetiringState};
use rotation::request::{Goal, RunRequest};
use rotation::retiring::Backstop;
use rotation::token::{TokenId, TokenInfo, Traits};

use crate::builders::{
    abandoned_rotation, at, by_schedule, dynatrace, id, minted, plain, plan_with, record, request,
    retiring, settle, value,
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
/// What ActiveGate tokens can do: read by id, created and deleted, and no call shows whose a value is.
pub const UNPROVABLE: Capabilities = Capabilities {
    disable: false,
    rename: false,
    proof: Proof::Listed,
    expiry: Expiry::AtMost(Duration::from_secs(90_000)),
    ..Capabilities::API
};
const KINDS: [Capabilities; 6] = [
    Capabilities::API,
    NO_DISABLE,
    NO_READ_BY_ID,
    LISTED,
    LEAST,
    UNPROVABLE,
];

pub fn of(kind: Capabilities, mut request: RunRequest) -> RunRequest {
    request.env.capabilities = kind;
    request
}

/// No command that this kind cannot do.
pub fn within(kind: Capabilities, ended: &Ended) {
    for command in &ended.commands {
        let possible = match command {
            Command::LookUp(_) => kind.read_by_id,
            Command::Change(TokenAction::Disable | TokenAction::Enable, _) => kind.disable,
            Command::Change(TokenAction::Rename(_), _) => kind.rename,
            Command::TryValue | Command::LookUpVersion(_) => kind.proof != Proof::Listed,
            _ => true,
        };
        assert!(possible, "{kind:?}: {command:?}");
    }
    if !kind.disable {
        assert_eq!(ended.of(EventName::TokenDisabled).len(), 0);
    }
}

pub fn in_grace(due: i64) -> Record {
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
    for kind in [NO_DISABLE, LEAST, UNPROVABLE] {
        let mut world = World::new(in_grace(100));
        let used = |at_second| TokenInfo {
            last_used: Some(at(at_second)),
            last_used_ip: Some("192.0.2.7".into()),
            ..minted("OLD", 2)
        };
        let hold = || {
            let mut request = of(kind, settle());
            request.plan = Arc::new(plan_with(|plan| plan.still_used = StillUsed::Hold));
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
        request.plan = Arc::new(plan_with(|plan| plan.still_used = StillUsed::Hold));
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
        request.plan = Arc::new(plan_with(|plan| plan.still_used = StillUsed::Hold));
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

/// What platform tokens can do: listed only, proven by a trial, re-dated.
pub const REDATED: Capabilities = Capabilities {
    rename: false,
    redate: true,
    read_by_id: false,
    proof: Proof::Probe,
    absence: Absence::Listing,
    expiry: Expiry::Required,
    ..Capabilities::API
};

fn redated(goal: Goal) -> RunRequest {
    let mut request = of(REDATED, request(goal));
    request.plan = Arc::new(plan_with(|plan| {
        plan.lifetime = Lifetime::For(Duration::from_secs(100_000))
    }));
    request
}

fn expiring(text: &str, n: u64, end: i64) -> TokenInfo {
    TokenInfo {
        expires: Some(at(end)),
        created: None,
        ..minted(text, n)
    }
}

fn redates(ended: &Ended) -> Vec<(TokenId, Timestamp)> {
    let changes = ended.commands.iter().filter_map(|command| match command {
        Command::Change(TokenAction::Redate(until), id) => Some((id.clone(), *until)),
        _ => None,
    });
    changes.collect()
}

/// It ends even if dtrotate never runs again: later than any regular end, never later than before.
#[test]
fn p2_a_former_token_gets_a_backstop_after_the_commit() {
    for (end, expected) in [(50_000, Some(1210)), (1200, None)] {
        let mut world = World::new(record());
        world.add(expiring("CUR", 3, end));
        world.tokens.remove(&id("OLD"));
        let ended = world.run_at(0, redated(by_schedule(-1)));
        let moved: Vec<_> = expected
            .map(|end| (id("CUR"), at(end)))
            .into_iter()
            .collect();
        assert_eq!(redates(&ended), moved, "{end}");
        let backstop = world.entry("CUR").backstop.clone().unwrap();
        assert!(backstop.confirmed);
        assert_eq!(backstop.original, Some(at(end)));
        let ended = world.run_at(1, redated(Goal::Settle));
        assert_eq!(redates(&ended), vec![], "once");
        assert_eq!(
            world.token("CUR").expires,
            Some(at(expected.unwrap_or(end)))
        );
    }
}

#[test]
fn p4_an_expiry_that_a_person_moved_stays_as_it_is() {
    let mut world = World::new(record());
    world.add(expiring("CUR", 3, 50_000));
    world.tokens.remove(&id("OLD"));
    world.run_at(0, redated(by_schedule(-1)));
    world.token("CUR").expires = Some(at(700));
    world.edit().retiring[0].due = at(2000);
    let ended = world.run_at(10, redated(Goal::Settle));
    assert_eq!(redates(&ended), vec![]);
    world.run_at(20, redated(Goal::Undo(None)));
    assert_eq!(world.token("CUR").expires, Some(at(700)));
    assert!(world.document().is_current(&id("CUR")));
}

#[test]
fn a15_an_undo_restores_the_expiry_first() {
    let mut world = World::new(record());
    world.add(expiring("CUR", 3, 50_000));
    world.tokens.remove(&id("OLD"));
    world.run_at(0, redated(by_schedule(-1)));
    assert_eq!(world.token("CUR").expires, Some(at(1210)));
    let ended = world.run_at(20, redated(Goal::Undo(None)));
    assert_eq!(ended.result, RunResult::Done { wake: None });
    assert_eq!(redates(&ended), [(id("CUR"), at(50_000))]);
    let order = |wanted: &dyn Fn(&Command) -> bool| ended.commands.iter().position(wanted);
    let restored = order(&|it| matches!(it, Command::Change(TokenAction::Redate(_), _)));
    let stored = order(&|it| matches!(it, Command::Store { .. }));
    assert!(restored < stored);
}

#[test]
fn a15_a_rollback_by_hand_restores_the_expiry() {
    let mut world = World::new(record());
    world.add(expiring("CUR", 3, 50_000));
    world.tokens.remove(&id("OLD"));
    world.run_at(0, redated(by_schedule(-1)));
    world.put(value("CUR"));
    let mut request = redated(Goal::Settle);
    request.hints.reread_secret = true;
    world.run_at(20, request);
    assert!(world.document().is_current(&id("CUR")));
    assert_eq!(world.token("CUR").expires, Some(at(50_000)));
}

#[test]
fn a15_a_longer_grace_moves_the_backstop_first() {
    let mut world = World::new(record());
    world.add(expiring("CUR", 3, 50_000));
    world.tokens.remove(&id("OLD"));
    world.run_at(0, redated(by_schedule(-1)));
    world.edit().retiring[0].due = at(5000);
    let ended = world.run_at(30, redated(Goal::Settle));
    assert_eq!(redates(&ended), [(id("CUR"), at(5220))]);
}

/// A first token without our marker is proven by its value before it is disabled, and by its backstop from then on.
#[test]
fn p9_an_unmarked_token_is_proven_by_a_trial_and_then_by_its_backstop() {
    let mut before = record();
    before.current = None;
    let mut world = World::new(before);
    world.add(TokenInfo {
        expires: Some(at(50_000)),
        created: None,
        ..plain("CUR", "by hand")
    });
    world.tokens.remove(&id("OLD"));
    let ended = world.run_at(0, redated(Goal::Settle));
    assert_eq!(ended.events(), [EventName::SecretAdopted]);
    assert_eq!(ended.count(|it| *it == Command::TryValue), 1);
    let ended = world.run_at(1, redated(by_schedule(0)));
    assert_eq!(redates(&ended), vec![], "a trial would look like a use");
    let ended = world.run_at(101, redated(Goal::Settle));
    assert_eq!(redates(&ended).len(), 1);
    assert!(ended.did(TokenAction::Disable, "CUR"));
    // Its value no longer works, so nothing can be proven by it.
    world.proves = false;
    world.fault(|_, command| match command {
        Command::LookUpVersion(_) => {
            Some(Outcome::VersionValue(Err(dynatrace(ErrorKind::Refused))))
        }
        _ => None,
    });
    let ended = world.run_at(301, redated(Goal::Settle));
    assert!(ended.did(TokenAction::Delete, "CUR"), "{:?}", ended.reports);
    assert_eq!(world.document().retiring, []);
}

/// What dtrotate tried itself, in this run or in one that died, is no consumer.
#[test]
fn p8_a_trial_of_our_own_is_no_use_of_a_token() {
    for tried in [true, false] {
        let mut before = record();
        before.current = None;
        let mut world = World::new(before);
        world.add(TokenInfo {
            expires: Some(at(50_000)),
            created: None,
            ..plain("CUR", "by hand")
        });
        world.tokens.remove(&id("OLD"));
        world.run_at(0, redated(Goal::Settle));
        world.run_at(1, redated(by_schedule(0)));
        world.token("CUR").last_used = Some(at(100));
        world.edit().retiring[0].usage.tried_at = tried.then_some(at(100));
        let mut request = redated(Goal::Settle);
        Arc::make_mut(&mut request.plan).still_used = StillUsed::Hold;
        let ended = world.run_at(101, request);
        assert_eq!(ended.did(TokenAction::Disable, "CUR"), tried);
        let held = ended.events().contains(&EventName::RetirementHeld);
        assert_eq!(held, !tried);
    }
}

/// It expired between the look and the call.
#[test]
fn p8_a_token_that_expired_meanwhile_is_not_blocked() {
    for (second, blocked) in [(1209, false), (30, true)] {
        let mut world = World::new(record());
        world.add(expiring("CUR", 3, 50_000));
        world.tokens.remove(&id("OLD"));
        world.run_at(0, redated(by_schedule(-1)));
        world.edit().retiring[0].due = at(5000);
        world.fault(|_, command| match command {
            Command::Change(TokenAction::Redate(_), _) => {
                Some(Outcome::Changed(Err(dynatrace(ErrorKind::Refused))))
            }
            _ => None,
        });
        let ended = world.run_at(second, redated(Goal::Settle));
        assert_eq!(redates(&ended).len(), 1);
        let told = ended.events().contains(&EventName::RetirementBlocked);
        assert_eq!(told, blocked, "{second}");
    }
}

/// A value that shows somebody else's id is not taken for their token (rule A9); a person may name it.
#[test]
fn a9_a_value_that_nothing_proves_is_adopted_only_by_name() {
    let mut before = record();
    before.current = None;
    let mut world = World::new(before);
    world.add(TokenInfo {
        expires: Some(at(50_000)),
        created: None,
        ..plain("CUR", "by hand")
    });
    world.tokens.remove(&id("OLD"));
    world.proves = false;
    world.fault(|_, command| match command {
        Command::LookUpVersion(_) => {
            Some(Outcome::VersionValue(Err(dynatrace(ErrorKind::Refused))))
        }
        _ => None,
    });
    let ended = world.run_at(0, redated(Goal::Settle));
    assert_eq!(ended.result, RunResult::stuck(Reason::TokenUnproven));
    assert_eq!(world.document().current, None);
    let other = world.run_at(1, redated(Goal::Adopt(id("OTHER"))));
    assert!(matches!(other.result, RunResult::Refused(_)));
    world.run_at(2, redated(Goal::Adopt(id("CUR"))));
    assert!(world.document().current.as_ref().unwrap().named);
    let ended = world.run_at(3, redated(by_schedule(0)));
    assert_eq!(ended.of(EventName::TokenUnproven).len(), 1);
    // It ends by its backstop, and is deleted then.
    assert_eq!(redates(&ended), [(id("CUR"), at(1213))]);
    let ended = world.run_at(104, redated(Goal::Settle));
    assert_eq!((ended.errors(), ended.effects()), (vec![], vec![]));
    for second in [1214, 1500] {
        world.run_at(second, redated(Goal::Settle));
    }
    assert!(!world.tokens.contains_key(&id("CUR")));
    assert_eq!(world.document().retiring, []);
}

/// The document may be edited: only a version of the secret that shows the id makes it this secret's.
#[test]
fn p9_an_entry_that_says_how_a_token_was_proven_proves_nothing() {
    let own_expiry = Backstop {
        confirmed: true,
        ..Backstop::new(at(900), Some(at(900)))
    };
    let moved = Backstop {
        confirmed: true,
        ..Backstop::new(at(900), Some(at(9000)))
    };
    for (state, backstop, named, enabled) in [
        (RetiringState::Grace, None, true, true),
        (RetiringState::Quarantine, Some(own_expiry), true, false),
        (RetiringState::Quarantine, Some(moved), false, false),
    ] {
        let strangers = TokenInfo {
            enabled,
            created: None,
            expires: Some(at(900)),
            ..plain("STRANGERS", "dashboard")
        };
        let mut before = record();
        before.retiring = vec![Retiring {
            named,
            origin: Origin::Version(1),
            backstop,
            ..retiring(&strangers, state, -500, -400)
        }];
        let mut world = World::new(before);
        world.add(strangers);
        for second in [0, 100] {
            let ended = world.run_at(second, redated(Goal::Settle));
            assert_eq!(ended.effects(), Vec::<&Command>::new(), "at {second}");
        }
        // One that is alive and was named ends by its expiry in any case.
        let failure = world.entry("STRANGERS").failure.clone();
        let reason = failure.map(|failure| failure.reason);
        assert_eq!(reason, (!enabled).then_some(EntryReason::Unproven));
        // It expires, and nothing is left to end.
        let ended = world.run_at(5000, redated(Goal::Settle));
        assert_eq!(ended.effects(), Vec::<&Command>::new());
        assert_eq!(world.document().retiring, []);
    }
}

/// Without older versions nothing but the document says how it ended: it is left to expire, and reported.
#[test]
fn p9_without_older_versions_a_backstop_in_a_document_proves_nothing() {
    let moved = Backstop {
        confirmed: true,
        ..Backstop::new(at(900), Some(at(9000)))
    };
    let parked = TokenInfo {
        enabled: false,
        created: None,
        expires: Some(at(900)),
        ..plain("STRANGERS", "dashboard")
    };
    let mut before = record();
    before.retiring = vec![Retiring {
        backstop: Some(moved),
        ..retiring(&parked, RetiringState::Quarantine, -500, -400)
    }];
    let mut world = World::new(before);
    world.add(parked);
    let without = || {
        let mut request = redated(Goal::Settle);
        request.env.history = false;
        request
    };
    let ended = world.run_at(0, without());
    assert_eq!(ended.errors(), [EventName::RetirementBlocked]);
    assert_eq!(ended.effects(), Vec::<&Command>::new());
    // It expires by its own expiry, and what was reported ends.
    let ended = world.run_at(4000, without());
    assert_eq!(ended.effects(), Vec::<&Command>::new());
    assert_eq!(ended.events(), [EventName::RetirementBlocked]);
    assert_eq!(world.document().retiring, []);
    assert!(world.tokens.contains_key(&id("STRANGERS")));
}

/// Owner, resource and tags are cloned, and a token that came back with others is not stored.
#[test]
fn a3_traits_are_cloned_and_compared() {
    let traits = |owner: &str| Traits([("owner".to_owned(), vec![owner.to_owned()])].into());
    for answered in ["me", "somebody"] {
        let mut world = World::new(record());
        world.add(TokenInfo {
            traits: traits("me"),
            ..expiring("CUR", 3, 50_000)
        });
        world.fault(move |world, command| match command {
            Command::Verify(_) => {
                world.token("NEW1").traits = traits(answered);
                None
            }
            _ => None,
        });
        let ended = world.run_at(0, redated(by_schedule(-1)));
        let order = ended.commands.iter().find_map(|command| match command {
            Command::Mint(order) => Some(order.clone()),
            _ => None,
        });
        assert_eq!(order.unwrap().traits, traits("me"));
        let stored = world.document().is_current(&id("NEW1"));
        assert_eq!(stored, answered == "me");
    }
}

/// What is left of a life would become less with each rotation.
#[test]
fn the_life_that_was_minted_is_the_life_of_the_next_one() {
    let inherit = |goal| {
        let mut request = redated(goal);
        request.plan = Arc::new(plan_with(|plan| plan.lifetime = Lifetime::Inherit));
        request
    };
    let mut world = World::new(record());
    world.add(expiring("CUR", 3, 50_000));
    let ended = world.run_at(0, inherit(by_schedule(-1)));
    assert_eq!(ended.result, RunResult::stuck(Reason::LifetimeTooShort));
    world.run_at(1, redated(by_schedule(0)));
    world.run_at(50_000, inherit(by_schedule(49_000)));
    assert_eq!(world.token("NEW2").expires, Some(at(150_000)));
}

#[test]
fn k2_a_token_in_use_that_cannot_be_disabled_is_left_where_that_is_wanted() {
    let mut world = World::new(in_grace(100));
    let leave = || {
        let mut request = of(NO_DISABLE, settle());
        request.plan = Arc::new(plan_with(|plan| {
            plan.still_used = StillUsed::Hold;
            plan.at_max_grace = AtMaxGrace::Leave;
            plan.announces = false;
        }));
        request
    };
    world.edit().retiring[0].due = at(1000);
    world.token("OLD").last_used = Some(at(990));
    let ended = world.run_at(1000, leave());
    assert_eq!(ended.errors(), [EventName::RetirementBlocked]);
    assert_eq!(world.entry("OLD").due, at(1090));
    let ended = world.run_at(1090, leave());
    assert_eq!(ended.events(), [EventName::TokenDeleted]);
}

#[test]
fn a_full_owner_is_a_reason_of_its_own_and_is_retried() {
    let mut world = World::new(record());
    world.fault(|_, command| match command {
        Command::Mint(_) => Some(Outcome::Minted(Err(dynatrace(ErrorKind::Exhausted)))),
        _ => None,
    });
    let ended = world.run_at(0, redated(by_schedule(-1)));
    assert_eq!(ended.errors(), [EventName::TokenLimitReached]);
    let failure = world.document().health.failure.clone().unwrap();
    assert_eq!(failure.reason, Reason::TokenLimitReached);
    assert!(failure.retry_at.is_some());
    assert_eq!(world.document().open, []);
}
