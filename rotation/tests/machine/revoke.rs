//! A revoked token: the secret gets another one first, then it is ended at once, whoever has the claim, and it is never brought back.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use rotation::command::{Command, Outcome, RunResult, TokenAction};
use rotation::error::ErrorKind;
use rotation::event::EventName;
use rotation::pause::Pause;
use rotation::plan::Lifetime;
use rotation::record::{Record, RetiringState, Revocation, Revoked, Trigger};
use rotation::request::{
    ClaimObservation, CurrentTokens, Goal, RevokeRequest, RotationRequest, RunRequest,
};

use crate::builders::{
    abandoned_rotation, at, by_command, by_schedule, dynatrace, id, minted, plain, plan_with,
    record, request, retiring, settle, value,
};
use crate::identity::sweep;
use crate::world::{Ended, Version, World};

fn order(token: &str) -> Revocation {
    Revocation {
        token: id(token),
        at: at(0),
        by: "alice".into(),
        delete: false,
        without_replacement: false,
        unknown: Default::default(),
    }
}

fn revoke(revocation: Revocation) -> RunRequest {
    let mut request = request(Goal::Revoke(RevokeRequest {
        revocation,
        accept_recorded_rights: false,
        overrides: true,
    }));
    request.holder.is_daemon = false;
    request.holder.instance = "command".into();
    request
}

/// A command that revokes this token.
pub fn revoking(token: &str) -> RunRequest {
    revoke(order(token))
}

fn in_grace() -> Record {
    let mut before = record();
    before.retiring = vec![retiring(&minted("OLD", 2), RetiringState::Grace, -10, 900)];
    before
}

fn effects(ended: &Ended) -> Vec<&'static str> {
    ended.effects().iter().map(|it| it.as_str()).collect()
}

#[test]
fn the_current_token_is_replaced_first_and_then_ended_at_once() {
    let mut world = World::new(record());
    world.token("CUR").last_used = Some(at(-1));
    let ended = world.run_at(0, revoke(order("CUR")));
    assert_eq!(effects(&ended), ["mint", "store", "disable"]);
    assert_eq!(
        ended.events(),
        [EventName::RotationSucceeded, EventName::TokenRevoked]
    );
    assert_eq!(ended.result, RunResult::Done { wake: None });
    let document = world.document();
    assert!(document.is_current(&id("NEW1")) && document.revoking.is_none());
    let entry = world.entry("CUR");
    assert_eq!(entry.state, RetiringState::Quarantine);
    let by = Revoked {
        at: at(0),
        by: "alice".into(),
    };
    assert_eq!(entry.revoked, Some(by));
}

#[test]
fn a_retiring_token_is_disabled_or_deleted_without_a_new_one() {
    for (delete, expected) in [(false, &["disable"][..]), (true, &["disable", "delete"])] {
        let mut world = World::new(in_grace());
        let ended = world.run_at(
            0,
            revoke(Revocation {
                delete,
                ..order("OLD")
            }),
        );
        assert_eq!(effects(&ended), expected);
        assert_eq!(ended.events(), [EventName::TokenRevoked]);
        assert_eq!(world.document().retiring.is_empty(), delete);
        assert!(world.document().revoking.is_none() && world.document().claim.is_none());
    }
}

#[test]
fn it_works_although_a_person_disabled_or_deleted_the_token() {
    let mut world = World::new(record());
    world.token("CUR").enabled = false;
    let ended = world.run_at(0, revoke(order("CUR")));
    assert_eq!(effects(&ended), ["mint", "store"]);
    assert_eq!(world.entry("CUR").state, RetiringState::Quarantine);

    let mut world = World::new(record());
    world.tokens.remove(&id("CUR"));
    let ended = world.run_at(0, revoke(order("CUR")));
    // The rights are in the journal only: they are shown, and need a yes (rule A3).
    let failure = world.document().health.failure.as_ref().unwrap();
    assert!(
        failure.message.contains("metrics.read"),
        "{ended:?}",
        ended = ended.result
    );
    let mut request = revoke(order("CUR"));
    if let Goal::Revoke(revoke) = &mut request.goal {
        revoke.accept_recorded_rights = true;
    }
    let ended = world.run_at(10, request);
    assert_eq!(effects(&ended), ["mint", "store"]);
    assert_eq!(
        ended.events(),
        [EventName::RotationSucceeded, EventName::TokenRevoked]
    );
    let document = world.document();
    assert!(document.is_current(&id("NEW1")) && document.retiring.is_empty());
    assert!(document.revoking.is_none() && document.health.failure.is_none());
}

#[test]
fn a_pause_a_switch_a_wrong_clock_and_the_claim_of_another_do_not_keep_it() {
    let mut before = record();
    before.pause = Some(Pause {
        since: at(-5),
        until: None,
        by: "bob".into(),
        reason: None,
        unknown: Default::default(),
    });
    before.attempts.attempt = 4;
    before.claim = Some(abandoned_rotation(4, 2));
    let mut world = World::new(before);
    let mut request = revoke(order("CUR"));
    request.env.enabled = false;
    request.env.clock = rotation::request::Clock::Disagrees;
    let ended = world.run_at(0, request);
    assert_eq!(effects(&ended), ["mint", "store", "disable"]);
    let document = world.document();
    assert!(document.pause.is_some() && document.claim.is_none());
    assert_eq!(document.open.len(), 1, "the other one's attempt");
}

#[test]
fn without_a_yes_a_paused_or_switched_off_secret_is_left_as_it_is() {
    let mut world = World::new(record());
    let mut request = revoke(order("CUR"));
    request.env.enabled = false;
    if let Goal::Revoke(revoke) = &mut request.goal {
        revoke.overrides = false;
    }
    let ended = world.run_at(0, request);
    let RunResult::Refused(why) = &ended.result else {
        panic!("{:?}", ended.result);
    };
    assert!(why.contains("--yes"), "{why}");
    assert_eq!((ended.written().len(), effects(&ended).len()), (0, 0));
}

/// After any number of steps the process dies; a daemon finishes it, although the secret is paused.
#[test]
fn p2_whoever_comes_after_a_crash_finishes_it() {
    let whole = World::new(record())
        .run_at(0, revoke(order("CUR")))
        .commands
        .len();
    for steps in 1..whole {
        let mut world = World::new(record());
        let count = Rc::new(Cell::new(0));
        let seen = count.clone();
        world.fault(move |_, command| {
            seen.set(seen.get() + 1);
            let dead = seen.get() > steps;
            dead.then(|| fail(command))
        });
        world.run_at(0, revoke(order("CUR")));
        world.fault = None;
        let ordered = world.document().revoking.is_some();
        let done = world.document().is_revoked(&id("CUR")) && !ordered;
        world.edit().pause = Some(Pause {
            since: at(1),
            until: None,
            by: "bob".into(),
            reason: None,
            unknown: Default::default(),
        });
        for second in [200, 400] {
            let mut request = sweep(&world, second);
            // The claim of the dead command has stood long enough.
            request.known.observation = Some(ClaimObservation {
                version: world.cas,
                since: Duration::ZERO,
            });
            world.run_at(second, request);
        }
        assert_eq!(world.document().revoking, None, "{steps}");
        if ordered || done {
            assert!(!world.token("CUR").enabled, "{steps}");
            assert!(!world.document().is_current(&id("CUR")), "{steps}");
        } else {
            assert!(world.document().is_current(&id("CUR")), "{steps}");
        }
    }
}

/// What a dead network makes of a command.
fn fail(command: &Command) -> Outcome {
    let vault = || crate::builders::vault(ErrorKind::Transient);
    match command {
        Command::ReadJournal => Outcome::Journal(Err(vault())),
        Command::WriteJournal { .. } => Outcome::Written(Err(vault())),
        Command::ReadSecret => Outcome::Secret(Err(vault())),
        Command::ConfirmSecret => Outcome::Confirmed(Err(vault())),
        Command::ReadVersion(_) => Outcome::Version(Err(vault())),
        Command::LookUpValue => Outcome::Value(Err(dynatrace(ErrorKind::Transient))),
        Command::LookUpVersion(_) => Outcome::VersionValue(Err(dynatrace(ErrorKind::Transient))),
        Command::LookUp(_) => Outcome::Token(Err(dynatrace(ErrorKind::Transient))),
        Command::Mint(_) => Outcome::Minted(Err(dynatrace(ErrorKind::Transient))),
        Command::Verify(_) => Outcome::Verified(Err(dynatrace(ErrorKind::Transient))),
        Command::Store { .. } => Outcome::Stored(Err(vault())),
        Command::Change(..) => Outcome::Changed(Err(dynatrace(ErrorKind::Transient))),
        Command::List => Outcome::Listed(Err(dynatrace(ErrorKind::Transient))),
        _ => Outcome::Waited,
    }
}

#[test]
fn a12_a_revoked_token_that_is_put_back_is_replaced_at_once_and_never_enabled() {
    let mut world = World::new(record());
    world.run_at(0, revoke(order("CUR")));
    // A deploy script rolls Vault back.
    world.put(value("CUR"));
    let mut request = settle();
    request.hints.reread_secret = true;
    let ended = world.run_at(50, request);
    assert_eq!(effects(&ended), ["mint", "store"]);
    assert!(!ended.did(TokenAction::Enable, "CUR"));
    let document = world.document();
    assert!(document.is_current(&id("NEW2")));
    assert_eq!(document.retiring.len(), 2, "NEW1 retires, too");
    assert!(world.entry("CUR").revoked.is_some());
    assert!(world.entry("NEW1").revoked.is_none());
}

#[test]
fn a12_undo_brings_it_back_only_when_a_person_says_so_twice() {
    for goal in [Goal::Undo(None), Goal::Undo(Some(id("CUR")))] {
        let mut world = World::new(record());
        world.run_at(0, revoke(order("CUR")));
        let ended = world.run_at(10, request(goal));
        let RunResult::Refused(why) = ended.result else {
            panic!("{:?}", ended.result);
        };
        assert!(why.contains("--token dt0c01.CUR --yes"), "{why}");
        assert!(!world.token("CUR").enabled);
        let ended = world.run_at(20, request(Goal::Unrevoke(id("CUR"))));
        assert_eq!(ended.events(), [EventName::UndoSucceeded]);
        assert!(world.token("CUR").enabled && world.document().is_current(&id("CUR")));
    }
}

#[test]
fn a_person_who_enables_it_in_its_quarantine_does_not_bring_it_back() {
    let mut world = World::new(record());
    world.run_at(0, revoke(order("CUR")));
    world.token("CUR").enabled = true;
    let ended = world.run_at(300, settle());
    assert_eq!(effects(&ended), ["disable"]);
    assert_eq!(world.entry("CUR").state, RetiringState::Quarantine);
    assert!(!world.token("CUR").enabled);
}

#[test]
fn a_token_that_another_secret_holds_waits_for_that_one() {
    let mut world = World::new(record());
    let mut request = revoke(order("CUR"));
    let mut held = rotation::request::CurrentTokens::default();
    held.insert(id("CUR"), vec!["a".into(), "b".into()]);
    request.env.current_tokens = held.into();
    let ended = world.run_at(0, request);
    assert_eq!(effects(&ended), ["mint", "store"]);
    assert!(world.document().revoking.is_some());
    let ended = world.run_at(100, settle());
    assert_eq!(effects(&ended), ["disable"]);
}

/// A revoked token that another secret still holds, so that its end waits.
fn waiting_for_another(by: &str) -> World {
    let mut world = World::new(record());
    let mut request = revoke(order("CUR"));
    request.env.current_tokens = held_by(by).into();
    let ended = world.run_at(0, request);
    assert_eq!(effects(&ended), ["mint", "store"]);
    assert!(world.document().revoking.is_some());
    world
}

fn held_by(other: &str) -> CurrentTokens {
    CurrentTokens::from_iter([(id("CUR"), vec![other.into()])])
}

#[test]
fn p1_while_it_is_not_known_which_tokens_other_secrets_hold_it_is_not_ended() {
    for goal in [Goal::Settle, Goal::Undo(None), by_command()] {
        let mut world = waiting_for_another("b");
        let mut request = request(goal);
        request.env.may_retire = false;
        world.run_at(100, request);
        assert!(world.token("CUR").enabled);
    }
}

#[test]
fn while_it_waits_for_another_secret_its_own_secret_rotates_by_schedule_and_by_command() {
    for (number, goal) in [by_schedule(90), by_command()].into_iter().enumerate() {
        let mut world = waiting_for_another("b");
        let mut due = request(goal);
        due.env.current_tokens = held_by("b").into();
        let ended = world.run_at(100, due);
        assert_eq!(effects(&ended), ["mint", "store"], "{number}");
        assert_eq!(ended.of(EventName::TokenShared).len(), 0);
        assert!(world.token("CUR").enabled && world.document().revoking.is_some());
        let RunResult::Done { wake: Some(wake) } = ended.result else {
            panic!("{:?}", ended.result);
        };
        assert!(
            wake > at(100) && wake <= at(140),
            "it is examined again: {wake}"
        );
        world.run_at(200, settle());
        assert!(!world.token("CUR").enabled && world.document().revoking.is_none());
    }
}

#[test]
fn an_undo_while_it_waits_says_what_it_did() {
    let mut world = waiting_for_another("b");
    let mut undo = request(Goal::Undo(None));
    undo.env.current_tokens = held_by("b").into();
    let ended = world.run_at(100, undo);
    let RunResult::Refused(why) = &ended.result else {
        panic!("{:?}", ended.result);
    };
    assert!(why.contains("--token"), "{why}");
}

#[test]
fn a_second_order_for_a_token_that_is_disabled_is_carried_out_at_once() {
    for delete in [false, true] {
        let mut world = World::new(record());
        world.run_at(0, revoke(order("CUR")));
        let again = Revocation {
            delete,
            ..order("CUR")
        };
        let ended = world.run_at(100, revoke(again));
        let expected = if delete { &["delete"][..] } else { &[] };
        assert_eq!(effects(&ended), expected);
        assert_eq!(world.document().revoking, None);
        assert_eq!(world.document().retiring.is_empty(), delete);
    }
}

#[test]
fn a_later_leak_does_not_wait_for_an_order_that_waits() {
    let mut world = waiting_for_another("b");
    let mut request = revoke(order("NEW1"));
    request.env.current_tokens = held_by("b").into();
    let ended = world.run_at(100, request);
    assert_eq!(effects(&ended), ["mint", "store", "disable"]);
    assert!(!world.token("NEW1").enabled && world.token("CUR").enabled);
    let ended = world.run_at(200, settle());
    assert_eq!(
        effects(&ended),
        ["disable"],
        "the first one, when it can be"
    );
    assert!(!world.token("CUR").enabled);
}

#[test]
fn without_a_replacement_it_is_ended_although_the_secret_holds_it() {
    let mut world = World::new(record());
    let revocation = Revocation {
        without_replacement: true,
        ..order("CUR")
    };
    let ended = world.run_at(0, revoke(revocation));
    assert_eq!(effects(&ended), ["disable"]);
    assert_eq!(ended.events(), [EventName::TokenRevoked]);
    assert!(
        world.document().health.invalid.is_some(),
        "P8: consumers are locked out"
    );
    // Whoever can mint again replaces it.
    let ended = world.run_at(10, settle());
    assert_eq!(effects(&ended), ["mint", "store"]);
    assert!(world.document().is_current(&id("NEW1")));
    assert!(world.document().health.invalid.is_none());
    assert!(!world.token("CUR").enabled);
}

#[test]
fn without_a_replacement_the_next_token_gets_the_rights_of_the_deleted_one() {
    let mut world = World::new(record());
    let revocation = Revocation {
        without_replacement: true,
        delete: true,
        ..order("CUR")
    };
    let ended = world.run_at(0, revoke(revocation));
    assert_eq!(effects(&ended), ["disable", "delete"]);
    let ended = world.run_at(10, request(by_schedule(5)));
    assert_eq!(
        effects(&ended),
        [""; 0],
        "its rights are known to nobody else"
    );
    let failure = world.document().health.failure.clone().unwrap();
    assert!(failure.message.contains("dtrotate rotate a"), "{failure:?}");
    world.run_at(20, request(by_command()));
    assert_eq!(world.document().current, None);
    let confirmed = Goal::Rotate(RotationRequest {
        due: None,
        trigger: Trigger::Command,
        accept_recorded_rights: true,
    });
    let ended = world.run_at(30, request(confirmed));
    assert_eq!(effects(&ended), ["mint", "store"]);
    assert!(world.document().is_current(&id("NEW1")));
    assert_eq!(world.document().unreplaced, None);
}

/// `--yes` says that nobody needs to be asked, not that a value of somebody else may be overwritten.
#[test]
fn p4_a_revocation_leaves_a_value_that_nobody_knows() {
    let mut world = World::new(record());
    world.put(value("ELSEWHERE"));
    let mut request = revoke(order("CUR"));
    if let Goal::Revoke(revocation) = &mut request.goal {
        revocation.accept_recorded_rights = true;
    }
    let ended = world.run_at(0, request);
    assert_eq!(effects(&ended), ["disable"]);
    assert!(!world.token("CUR").enabled);
}

#[test]
fn a_mint_that_is_refused_leaves_the_order_and_the_token() {
    let mut world = World::new(record());
    world.fault(|_, command| {
        matches!(command, Command::Mint(_))
            .then(|| Outcome::Minted(Err(dynatrace(ErrorKind::Refused))))
    });
    let ended = world.run_at(0, revoke(order("CUR")));
    assert!(matches!(ended.result, RunResult::Failed { .. }));
    assert!(world.document().revoking.is_some() && world.token("CUR").enabled);
}

#[test]
fn what_is_no_token_of_the_secret_is_refused_and_forgotten() {
    let mut world = World::new(record());
    world.add(plain("ELSE", "dashboard"));
    let ended = world.run_at(0, revoke(order("ELSE")));
    assert!(matches!(ended.result, RunResult::Refused(_)));
    assert!(world.document().revoking.is_none() && world.token("ELSE").enabled);
}

#[test]
fn a_secret_that_was_deleted_in_vault_is_no_reason_to_let_it_live() {
    let mut world = World::new(record());
    world.versions.push(Version::Deleted);
    let ended = world.run_at(0, revoke(order("CUR")));
    assert_eq!(effects(&ended), ["disable"]);
    assert_eq!(ended.events(), [EventName::TokenRevoked]);
}

#[test]
fn p1_a_secret_that_nobody_has_recorded_is_recorded_before_its_token_is_revoked() {
    let mut world = World::new(record());
    world.add(plain("CUR", "by hand"));
    world.journal = None;
    let ended = world.run_at(0, revoking("CUR"));
    let done = effects(&ended);
    let at = |what: &str| done.iter().position(|it| *it == what);
    assert!(
        at("store").is_some() && at("store") < at("disable"),
        "{done:?}"
    );
    assert_eq!(
        ended.events(),
        [
            EventName::SecretAdopted,
            EventName::RotationSucceeded,
            EventName::TokenRevoked
        ]
    );
    assert!(world.document().is_current(&id("NEW1")));
    assert!(world.entry("CUR").revoked.is_some());
}

#[test]
fn a_secret_that_nobody_has_recorded_and_that_is_switched_off_is_asked_about() {
    let mut world = World::new(record());
    world.add(plain("CUR", "by hand"));
    world.journal = None;
    let mut request = revoking("CUR");
    request.env.enabled = false;
    if let Goal::Revoke(revocation) = &mut request.goal {
        revocation.overrides = false;
    }
    let ended = world.run_at(0, request);
    assert!(
        matches!(ended.result, RunResult::Refused(_)),
        "{:?}",
        ended.result
    );
    assert_eq!((effects(&ended).len(), world.journal.is_none()), (0, true));
}

#[test]
fn p1_a_secret_that_moves_while_it_waits_is_accepted_by_a_person_alone() {
    for goal in [Goal::Settle, by_schedule(90)] {
        let mut world = waiting_for_another("b");
        let mut moved = request(goal);
        moved.plan = plan_with(|plan| plan.coordinates.path = "elsewhere".into()).into();
        moved.env.current_tokens = held_by("b").into();
        let ended = world.run_at(100, moved);
        assert_eq!(ended.of(EventName::SecretMoved).len(), 0);
        let failure = world.document().health.failure.as_ref();
        assert_eq!(
            failure.map(|failure| failure.reason.as_str()),
            Some("moved")
        );
    }
}

#[test]
fn p4_a_pause_and_a_switch_keep_everything_but_the_revoked_token() {
    for enabled in [true, false] {
        let mut world = waiting_for_another("b");
        let mut rotate = request(by_command());
        rotate.env.current_tokens = held_by("b").into();
        world.run_at(100, rotate);
        if enabled {
            world.edit().pause = Some(Pause {
                since: at(100),
                until: None,
                by: "bob".into(),
                reason: None,
                unknown: Default::default(),
            });
        }
        let mut later = settle();
        later.env.enabled = enabled;
        later.env.current_tokens = held_by("b").into();
        let ended = world.run_at(100_000, later.clone());
        assert_eq!(effects(&ended), [""; 0], "{enabled}");
        later.env.current_tokens = CurrentTokens::default().into();
        let ended = world.run_at(200_000, later);
        assert_eq!(effects(&ended), ["disable"]);
        assert!(!world.token("CUR").enabled && world.token("NEW1").enabled);
    }
}

#[test]
fn p2_an_order_that_a_later_leak_replaced_is_carried_out_during_a_pause_too() {
    let mut world = waiting_for_another("b");
    world.edit().pause = Some(Pause {
        since: at(50),
        until: None,
        by: "bob".into(),
        reason: None,
        unknown: Default::default(),
    });
    let mut leak = revoke(order("NEW1"));
    leak.env.current_tokens = held_by("b").into();
    let ended = world.run_at(100, leak);
    assert_eq!(effects(&ended), ["mint", "store", "disable"]);
    let ended = world.run_at(200, settle());
    assert_eq!(effects(&ended), ["disable"]);
    assert!(!world.token("CUR").enabled);
}

#[test]
fn an_undo_of_the_revoked_token_takes_the_order_back() {
    let mut world = waiting_for_another("b");
    let mut undo = request(Goal::Unrevoke(id("CUR")));
    undo.env.current_tokens = held_by("b").into();
    let ended = world.run_at(100, undo);
    assert_eq!(ended.events(), [EventName::UndoSucceeded]);
    assert!(world.document().is_current(&id("CUR")) && world.document().revoking.is_none());
    let ended = world.run_at(200, settle());
    assert!(
        world.document().is_current(&id("CUR")),
        "{:?}",
        ended.events()
    );
}

#[test]
fn a_command_whose_order_waits_does_nothing_else() {
    let mut world = waiting_for_another("b");
    let mut again = revoke(order("CUR"));
    again.env.current_tokens = held_by("b").into();
    again.env.clock = rotation::request::Clock::Disagrees;
    let ended = world.run_at(100, again);
    assert!(matches!(ended.result, RunResult::Done { wake: Some(_) }));
    assert_eq!(effects(&ended), [""; 0]);
}

#[test]
fn a_rotation_that_is_stuck_while_it_waits_serves_its_due_time() {
    let mut world = waiting_for_another("b");
    // A successor would live no longer than its grace, which is seen before the claim.
    let current = world.token("NEW1");
    (current.created, current.expires) = (Some(at(0)), Some(at(180)));
    let mut due = request(by_schedule(90));
    due.plan = plan_with(|plan| {
        plan.lifetime = Lifetime::Inherit;
        plan.grace = Duration::from_secs(900);
    })
    .into();
    due.env.current_tokens = held_by("b").into();
    let ended = world.run_at(100, due);
    assert_eq!(effects(&ended), [""; 0]);
    let failure = world.document().health.failure.as_ref();
    assert_eq!(
        failure.map(|failure| failure.reason.as_str()),
        Some("lifetime_too_short")
    );
    assert!(world.document().last_due >= Some(at(90)));
}
