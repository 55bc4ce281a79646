//! Undo: the previous token becomes the current value again.

use rotation::command::{Command, Outcome, RunResult, TokenAction};
use rotation::error::ErrorKind;
use rotation::event::EventName;
use rotation::record::{Current, Origin, Record, RetiringState};
use rotation::request::{Goal, JournalSnapshot, RunRequest};

use crate::builders::{at, epoch, id, minted, record, request, retiring, vault};
use crate::world::World;

/// CUR is the value in version 2, and OLD, which was it in version 1, is in its quarantine.
pub fn before() -> Record {
    let mut before = record();
    let mut old = retiring(&minted("OLD", 2), RetiringState::Quarantine, 0, 500);
    old.origin = Origin::Version(1);
    before.retiring = vec![old];
    before
}

pub fn world() -> World {
    let mut world = World::new(before());
    world.token("OLD").enabled = false;
    world
}

pub fn undo() -> RunRequest {
    let mut request = request(Goal::Undo(None));
    request.holder.is_daemon = false;
    request.holder.instance = "cli".into();
    request
}

#[test]
fn p3_an_undo_enables_verifies_and_stores_the_previous_token_and_the_newer_one_retires() {
    let mut world = world();
    let ended = world.run_at(100, undo());
    assert_eq!(ended.result, RunResult::Done { wake: None });
    assert_eq!(ended.events(), [EventName::UndoSucceeded]);
    assert_eq!(world.shown(3).id(), Some(&id("OLD")));
    assert!(world.token("OLD").enabled);
    let document = world.document();
    assert!(document.is_current(&id("OLD")) && document.claim.is_none());
    assert_eq!(document.retiring.len(), 1);
    let newer = world.entry("CUR");
    assert_eq!(
        (newer.state.clone(), newer.due),
        (RetiringState::Grace, at(200))
    );
    let order = |what: &dyn Fn(&Command) -> bool| ended.commands.iter().position(what).unwrap();
    let enable = order(&|it| matches!(it, Command::Change(TokenAction::Enable, _)));
    let verify = order(&|it| matches!(it, Command::Verify(_)));
    let store = order(&|it| matches!(it, Command::Store { .. }));
    assert!(enable < verify && verify < store);
}

#[test]
fn p4_an_undo_keeps_a_change_of_another_field_that_happens_during_it() {
    let mut world = world();
    let mut changed = false;
    world.fault(move |world, command| {
        if let Command::Store { .. } = command
            && !std::mem::replace(&mut changed, true)
        {
            let same = world.versions.last().cloned().unwrap();
            world.versions.push(same);
        }
        None
    });
    let ended = world.run_at(100, undo());
    assert_eq!(ended.result, RunResult::Done { wake: None });
    assert_eq!(ended.count(|it| matches!(it, Command::Store { .. })), 2);
    assert_eq!(world.shown(4).id(), Some(&id("OLD")));
}

#[test]
fn p4_an_undo_gives_up_when_someone_stores_another_value_and_the_entry_is_fenced_by_its_base() {
    let mut world = world();
    world.add(minted("HAND", 0));
    world.fault(|world, command| {
        if let Command::Store { .. } = command {
            world.put(crate::builders::value("HAND"));
        }
        None
    });
    let ended = world.run_at(100, undo());
    assert!(matches!(&ended.result, RunResult::Refused(why) if why.contains("version 3")));
    assert_eq!(ended.events(), [EventName::UndoFailed]);
    let entry = world.entry("OLD");
    assert_eq!((entry.state.clone(), entry.base), (RetiringState::Grace, 2));
    assert_eq!(world.document().claim, None);
}

/// Carries an undo out up to its commit, which another holder forestalled: it finds `settled`. Its result.
fn forestalled(settled: Record) -> RunResult {
    let mut world = world();
    world.fault(move |world, command| {
        let Command::WriteJournal { record, .. } = command else {
            return None;
        };
        if record.claim.is_some() || world.versions.len() == 2 {
            return None;
        }
        world.journal = Some(settled.clone());
        world.cas = 20;
        Some(Outcome::Written(Err(vault(ErrorKind::Conflict))))
    });
    let ended = world.run_at(100, undo());
    assert_eq!(ended.count(|it| matches!(it, Command::Store { .. })), 1);
    ended.result
}

#[test]
fn p6_an_undo_that_lost_its_claim_does_not_reverse_itself() {
    // The other holder found the value and recorded it: what was asked for is done.
    let mut done = before();
    done.current = Some(Current::new(&minted("OLD", 2), 3, &epoch()));
    let mut newer = retiring(&minted("CUR", 3), RetiringState::Grace, 90, 190);
    newer.origin = Origin::Version(2);
    newer.base = 2;
    done.retiring = vec![newer];
    assert_eq!(forestalled(done), RunResult::Done { wake: None });

    // The other holder has not come so far.
    let mut given_up = before();
    given_up.retiring[0].state = RetiringState::Grace;
    given_up.retiring[0].due = at(200);
    let RunResult::Refused(why) = forestalled(given_up) else {
        panic!("the result is not known yet");
    };
    assert!(why.contains("dtrotate status"), "{why}");
}

/// Its claim was written although the answer said otherwise: the candidate is lost.
#[test]
fn a5_an_undo_that_meets_its_own_claim_without_its_candidate_is_given_up() {
    let mut world = world();
    let mut lied = false;
    world.fault(move |world, command| match command {
        Command::WriteJournal { .. } if !std::mem::replace(&mut lied, true) => {
            let _ = world.perform(command);
            Some(Outcome::Written(Err(vault(ErrorKind::Conflict))))
        }
        _ => None,
    });
    let ended = world.run_at(100, undo());
    assert!(matches!(&ended.result, RunResult::Refused(why) if why.contains("run it again")));
    assert_eq!(ended.effects(), Vec::<&Command>::new());
    assert_eq!(world.document().claim, None);
    assert_eq!(world.entry("OLD").state, RetiringState::Grace);
}

#[test]
fn p4_an_undo_is_refused_where_it_cannot_be_done_and_says_why() {
    let refused = |world: &mut World, words: &str| {
        let before = world.document().clone();
        let ended = world.run_at(100, undo());
        let RunResult::Refused(why) = &ended.result else {
            panic!("{words}: {:?}", ended.result);
        };
        assert!(why.contains(words), "{why}");
        assert!(ended.effects().is_empty() && *world.document() == before);
    };
    let mut nothing = world();
    nothing.edit().retiring.clear();
    refused(&mut nothing, "a was never rotated");
    nothing.edit().health.last_success = Some(at(50));
    refused(&mut nothing, "no previous token left");

    let mut deleting = world();
    deleting.edit().retiring[0].state = RetiringState::Deleting;
    refused(&mut deleting, "being deleted");

    let mut unconfirmed = world();
    unconfirmed.edit().retiring[0].disable_unconfirmed_since = Some(at(95));
    refused(&mut unconfirmed, "may still take effect");

    let mut gone = world();
    gone.tokens.remove(&id("OLD"));
    refused(&mut gone, "gone at Dynatrace");

    let mut pruned = world();
    pruned.versions[0] = crate::world::Version::Pruned;
    refused(&mut pruned, "can no longer be read");

    let mut changed = world();
    changed.add(minted("HAND", 0));
    changed.put(crate::builders::value("HAND"));
    refused(&mut changed, "someone changed the secret");
}

#[test]
fn p6_a_stale_document_of_an_undo_is_rejected_by_the_check_and_set_and_read_again() {
    let mut world = world();
    let mut request = undo();
    request.known.journal = Some(JournalSnapshot {
        cas: world.cas - 1,
        record: Some(Box::new(before())),
    });
    world.second = 100;
    let ended = world.run(request);
    assert_eq!(ended.result, RunResult::Done { wake: None });
    assert_eq!(ended.count(|it| *it == Command::ReadJournal), 1);
}

/// An id in a version is public: only the value that is accepted, or the marker, proves whose token it is.
#[test]
fn p9_an_undo_enables_only_a_token_that_is_proven_to_be_this_secrets_own() {
    let mut world = world();
    world.edit().retiring[0].id = id("STRANGER");
    world.add(crate::builders::plain("STRANGER", "payments"));
    world.token("STRANGER").enabled = false;
    world.versions[0] = crate::world::Version::Holds("dt0c01.STRANGER.junk".into());
    let ended = world.run_at(100, undo());
    assert!(matches!(&ended.result, RunResult::Refused(why) if why.contains("nothing proves")));
    assert_eq!(ended.effects(), Vec::<&Command>::new());
    // A first token without a marker is proven by its value.
    let mut world = crate::undo::world();
    world.token("OLD").name = "by hand".into();
    world.edit().retiring[0].digest = None;
    let ended = world.run_at(100, undo());
    assert_eq!(ended.result, RunResult::Done { wake: None });
}

/// An undo of this token, or of the previous one.
fn undo_to(token: Option<&str>) -> RunRequest {
    RunRequest {
        goal: Goal::Undo(token.map(id)),
        ..undo()
    }
}

#[test]
fn p4_an_undo_is_not_undone_unless_a_person_names_the_token() {
    let mut world = world();
    assert_eq!(
        world.run_at(100, undo()).result,
        RunResult::Done { wake: None }
    );
    let before = world.document().clone();
    let ended = world.run_at(101, undo());
    let RunResult::Refused(why) = &ended.result else {
        panic!("{:?}", ended.result);
    };
    assert!(why.contains("--token dt0c01.CUR"), "{why}");
    assert!(ended.effects().is_empty() && *world.document() == before);
    let ended = world.run_at(102, undo_to(Some("CUR")));
    assert_eq!(ended.result, RunResult::Done { wake: None });
    assert!(world.document().is_current(&id("CUR")));
    // That was a step back in time, too, whoever names it.
    let ended = world.run_at(103, undo());
    assert!(matches!(&ended.result, RunResult::Refused(why) if why.contains("--token dt0c01.OLD")));
}

#[test]
fn p4_a_value_that_a_person_put_back_by_hand_is_not_undone_either() {
    let mut world = world();
    world.put(crate::builders::value("OLD"));
    let mut look = request(Goal::Settle);
    look.hints.reread_secret = true;
    let ended = world.run_at(100, look);
    assert!(
        world.document().is_current(&id("OLD")),
        "{:?}",
        ended.result
    );
    let ended = world.run_at(101, undo());
    assert!(matches!(&ended.result, RunResult::Refused(why) if why.contains("--token dt0c01.CUR")));
}

#[test]
fn p7_only_a_retiring_token_of_this_secret_can_be_named() {
    let mut world = world();
    let before = world.document().clone();
    let ended = world.run_at(100, undo_to(Some("OTHER")));
    assert!(
        matches!(&ended.result, RunResult::Refused(why) if why.contains("dt0c01.OTHER is not a retiring token"))
    );
    assert!(ended.effects().is_empty() && *world.document() == before);
}

#[test]
fn p7_a_dry_run_of_an_undo_names_both_tokens_and_changes_nothing() {
    let mut world = world();
    let before = world.document().clone();
    let dry = |request: RunRequest| RunRequest {
        dry_run: true,
        ..request
    };
    let ended = world.run_at(100, dry(undo()));
    let RunResult::DryRun(text) = &ended.result else {
        panic!("{:?}", ended.result);
    };
    let both = text.contains("make dt0c01.OLD the current value again")
        && text.contains("dt0c01.CUR would retire");
    assert!(both, "{text}");
    assert!(ended.effects().is_empty() && *world.document() == before);
    world.tokens.remove(&id("OLD"));
    let ended = world.run_at(101, dry(undo()));
    assert!(matches!(&ended.result, RunResult::Refused(why) if why.contains("gone at Dynatrace")));
    world.journal = None;
    let ended = world.run_at(102, dry(undo()));
    assert!(matches!(&ended.result, RunResult::Refused(why) if why.contains("never rotated")));
}
