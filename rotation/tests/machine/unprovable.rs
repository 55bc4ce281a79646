//! The scenarios of a kind whose values nothing proves, and whose tokens cannot be disabled: deletion is the only end, and it is final.

use std::sync::Arc;
use std::time::Duration;

use rotation::command::{Command, RunResult, TokenAction};
use rotation::event::{EventName, Level};
use rotation::plan::{AtMaxGrace, Desired, Lifetime, Plan, StillUsed};
use rotation::record::{EntryReason, Reason, RetiringState};
use rotation::request::{Goal, RunRequest};
use rotation::retiring::Usage;
use rotation::token::TokenInfo;

use crate::builders::{at, by_schedule, id, minted, plain, plan, record, request, value};
use crate::capabilities::{UNPROVABLE, in_grace, of, within};
use crate::revoke::revoking;
use crate::world::World;

fn asked(goal: Goal) -> RunRequest {
    of(UNPROVABLE, request(goal))
}

fn with(goal: Goal, change: impl FnOnce(&mut Plan)) -> RunRequest {
    let mut request = asked(goal);
    let mut plan = plan();
    change(&mut plan);
    request.plan = Arc::new(plan);
    request
}

/// A secret whose token a person made, and no call can show that its value is right.
fn by_hand(expires: Option<i64>) -> World {
    let mut before = record();
    before.current = None;
    let mut world = World::new(before);
    world.proves = false;
    world.add(TokenInfo {
        expires: expires.map(at),
        ..plain("CUR", "by hand")
    });
    world.tokens.remove(&id("OLD"));
    world
}

/// Rule A9: an id in a value is public.
#[test]
fn a9_the_value_of_a_person_is_recorded_only_by_name_and_nothing_is_tried() {
    let mut world = by_hand(None);
    let ended = world.run_at(0, asked(Goal::Settle));
    within(UNPROVABLE, &ended);
    assert_eq!(ended.result, RunResult::stuck(Reason::TokenUnproven));
    let failure = world.document().health.failure.clone().unwrap();
    assert!(failure.message.contains("dtrotate adopt a --token"));
    assert!(!failure.message.contains("verify"), "{}", failure.message);
    let ended = world.run_at(1, asked(Goal::Adopt(id("CUR"))));
    within(UNPROVABLE, &ended);
    let current = world.document().current.clone().unwrap();
    assert!(current.named && current.id == id("CUR"));
    assert_eq!(world.document().health.failure, None);
}

/// It is reported when it is seen, not when the next rotation is due; and it ends when the former value is put back.
#[test]
fn p10_a_value_of_a_person_beside_a_recorded_one_is_reported_at_once() {
    let mut world = World::new(record());
    world.tokens.remove(&id("OLD"));
    world.add(plain("HAND", "by hand"));
    world.put(value("HAND"));
    let look = || {
        let mut request = asked(Goal::Settle);
        request.hints.reread_secret = true;
        request.hints.recheck_token = true;
        request
    };
    let ended = world.run_at(0, look());
    assert_eq!(ended.errors(), [EventName::RotationStuck]);
    assert_eq!(ended.result, RunResult::stuck(Reason::TokenUnproven));
    let ended = world.run_at(1, look());
    assert_eq!(ended.events(), [], "once");
    world.put(value("CUR"));
    world.run_at(2, look());
    assert_eq!(world.document().health.failure, None);
    assert!(world.document().is_current(&id("CUR")));
}

/// As much was proven as there is to prove: that is no warning.
#[test]
fn a_new_token_that_is_there_as_ordered_is_verified() {
    let mut world = World::new(record());
    world.proves = false;
    let ended = world.run_at(0, asked(by_schedule(-1)));
    within(UNPROVABLE, &ended);
    assert_eq!(ended.of(EventName::TokenUnproven).len(), 0);
    assert_eq!(ended.of(EventName::TokenVerified).len(), 1);
    assert!(!world.document().current.as_ref().unwrap().unproven);
}

/// Rule A11: it is left to expire and reported, and its end is no one's work.
#[test]
fn p9_an_unmarked_former_token_is_left_until_it_expires() {
    let mut world = by_hand(Some(5000));
    world.run_at(0, asked(Goal::Adopt(id("CUR"))));
    world.run_at(1, asked(by_schedule(0)));
    let ended = world.run_at(101, asked(Goal::Settle));
    within(UNPROVABLE, &ended);
    assert_eq!(ended.effects(), Vec::<&Command>::new());
    assert_eq!(ended.errors(), [EventName::RetirementBlocked]);
    let failure = world.entry("CUR").failure.clone().unwrap();
    assert_eq!(failure.reason, EntryReason::Unproven);
    // Asked again every hour, and reported once.
    let ended = world.run_at(101 + 3600, asked(Goal::Settle));
    assert_eq!((ended.errors(), ended.effects()), (vec![], vec![]));
    let ended = world.run_at(101 + 7200, asked(Goal::Settle));
    assert_eq!(ended.events(), [EventName::RetirementBlocked]);
    assert_eq!(ended.reports[0].level, Level::Info);
    assert!(world.tokens.contains_key(&id("CUR")));
    assert_eq!(world.document().retiring, []);
}

/// A person who names it in a command ends it: that is proof enough, and it is deleted.
#[test]
fn a_revoked_token_is_deleted_at_once() {
    for marked in [true, false] {
        let mut world = match marked {
            true => World::new(record()),
            false => by_hand(None),
        };
        world.tokens.remove(&id("OLD"));
        world.run_at(0, asked(Goal::Adopt(id("CUR"))));
        let ended = world.run_at(1, of(UNPROVABLE, revoking("CUR")));
        within(UNPROVABLE, &ended);
        assert!(ended.did(TokenAction::Delete, "CUR"), "{:?}", ended.reports);
        assert!(ended.events().contains(&EventName::TokenRevoked));
        assert_eq!(ended.of(EventName::ConsumerCutOff).len(), 0);
        assert!(world.document().is_current(&id("NEW1")));
        assert_eq!(world.document().retiring, []);
    }
}

/// Nothing brings it back, so the sentence does not say so.
#[test]
fn k2_a_consumer_that_is_cut_off_for_good_is_told_the_truth() {
    let mut world = World::new(in_grace(1000));
    world.token("OLD").last_used = Some(at(990));
    let hold = with(Goal::Settle, |plan| plan.still_used = StillUsed::Hold);
    let ended = world.run_at(1000, of(UNPROVABLE, hold));
    let told = &ended.of(EventName::ConsumerCutOff)[0].message;
    assert!(told.contains("is being deleted"), "{told}");
    assert!(!told.contains("undo"), "{told}");
}

/// An expired one has no quarantine either: it is dead, and takes nothing away.
#[test]
fn p2_a_former_token_that_expired_is_deleted_without_a_quarantine() {
    for state in [RetiringState::Grace, RetiringState::Deleting] {
        let mut world = World::new(in_grace(100));
        world.edit().retiring[0].state = state;
        world.token("OLD").expires = Some(at(50));
        world.token("OLD").last_used = Some(at(45));
        let leave = with(Goal::Settle, |plan| plan.at_max_grace = AtMaxGrace::Leave);
        let ended = world.run_at(100, leave);
        within(UNPROVABLE, &ended);
        assert_eq!(ended.events(), [EventName::TokenDeleted]);
        assert_eq!(world.document().retiring, []);
    }
}

/// Left because it was in use; then it expired, and what was reported ends.
#[test]
fn k2_a_token_that_was_left_in_use_goes_when_it_expires() {
    let mut world = World::new(in_grace(1000));
    let leave = || {
        with(Goal::Settle, |plan| {
            plan.still_used = StillUsed::Hold;
            plan.at_max_grace = AtMaxGrace::Leave;
        })
    };
    let used = |world: &mut World, second| world.token("OLD").last_used = Some(at(second));
    world.token("OLD").expires = Some(at(1150));
    used(&mut world, 990);
    let ended = world.run_at(1000, leave());
    assert_eq!(ended.errors(), [EventName::RetirementBlocked]);
    used(&mut world, 1085);
    let ended = world.run_at(1090, leave());
    assert_eq!((ended.errors(), ended.effects()), (vec![], vec![]));
    assert_eq!(
        world.entry("OLD").usage.cut_off_at,
        Usage::default().cut_off_at
    );
    used(&mut world, 1149);
    let ended = world.run_at(1185, leave());
    assert_eq!(ended.events(), [EventName::TokenDeleted]);
}

/// The end at the service is the only one of a token that is left behind, so a token for which nothing was chosen gets the longest.
#[test]
fn a_token_lives_as_long_as_its_kind_allows_at_the_most() {
    let lives = |lifetime, of_old: Option<i64>| {
        let mut world = World::new(record());
        let old = TokenInfo {
            expires: of_old.map(at),
            created: Some(at(0)),
            ..minted("CUR", 3)
        };
        world.add(old);
        world.run_at(0, with(by_schedule(-1), |plan| plan.lifetime = lifetime));
        world.token("NEW1").expires
    };
    assert_eq!(lives(Lifetime::Inherit, None), Some(at(90_000)));
    assert_eq!(lives(Lifetime::Inherit, Some(50_000)), Some(at(50_000)));
    let long = Lifetime::For(Duration::from_secs(100_000));
    assert_eq!(lives(long, None), Some(at(90_000)));
    assert_eq!(lives(Lifetime::Never, None), None);
}

/// The first token is dtrotate's own: it bears the marker, so it needs nobody who names it.
#[test]
fn a16_the_first_token_is_made_and_retires_like_any_other() {
    let create = |goal| {
        with(goal, |plan| {
            plan.desired = Desired {
                scopes: Some(vec![]),
                create: true,
                ..Desired::default()
            };
            plan.lifetime = Lifetime::Inherit;
        })
    };
    let mut world = World::new(record());
    (world.journal, world.cas) = (None, 0);
    world.versions.clear();
    world.tokens.clear();
    let ended = world.run_at(0, create(Goal::Settle));
    within(UNPROVABLE, &ended);
    assert_eq!(ended.events(), [EventName::SecretCreated]);
    assert_eq!(world.token("NEW1").expires, Some(at(90_000)));
    world.run_at(10, create(by_schedule(5)));
    let ended = world.run_at(110, create(Goal::Settle));
    assert!(
        ended.did(TokenAction::Delete, "NEW1"),
        "{:?}",
        ended.reports
    );
}
