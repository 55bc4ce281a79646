//! Rule A1 (a minted value is the ordered token, or it is not stored) and rule A4 (numbers and names of attempts).

use rotation::command::{Command, Outcome, RunResult, TokenAction};
use rotation::error::ErrorKind;
use rotation::event::{EventName, Level};
use rotation::listing_needs_work;
use rotation::marker::{Marker, NameDigest};
use rotation::record::{Attempt, Begin, Reason, RetiringState};
use rotation::request::RunRequest;
use rotation::token::{TokenInfo, Trial};

use crate::builders::{
    at, by_command, by_schedule, dynatrace, epoch, id, marked, minted, plain, record, request,
    settle, value,
};
use crate::world::{Ended, World};

/// A run that is given a listing, as a sweep starts it.
pub fn sweep(world: &World, second: i64) -> RunRequest {
    let mut request = settle();
    request.hints.reread_secret = true;
    request.known.listing = Some(rotation::request::Listing {
        at: at(second),
        ..world.listing()
    });
    request
}

/// The first `lies` answers to a mint hold the value of the token FOREIGN.
fn lying(world: &mut World, mut lies: u32) {
    world.fault(move |world, command| match command {
        Command::Mint(order) if lies > 0 => {
            lies -= 1;
            world.mint(order);
            Some(Outcome::Minted(Ok(world.hand_out("FOREIGN"))))
        }
        _ => None,
    });
}

fn foreign(scopes: &[&str], name: &str) -> TokenInfo {
    TokenInfo {
        scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
        ..plain("FOREIGN", name)
    }
}

fn left_alone(world: &World, ended: &Ended, token: &TokenInfo) {
    assert_eq!(world.tokens.get(&token.id), Some(token));
    let touched = |command: &&Command| matches!(command, Command::Change(_, id) if *id == token.id);
    assert_eq!(ended.effects().iter().find(|it| touched(it)), None);
    assert!(
        !world
            .versions
            .contains(&crate::world::Version::Holds(value("FOREIGN")))
    );
}

#[test]
fn a1_another_requests_token_is_neither_stored_nor_deleted_whatever_its_rights_and_name() {
    let others = Marker {
        epoch: rotation::marker::Epoch {
            secret: "other".into(),
            ..epoch()
        },
        attempt: 4,
    };
    for token in [
        foreign(&["logs.read"], "somebody's"),
        foreign(&["metrics.read"], "somebody's"),
        foreign(&["metrics.read"], &others.name("job", 100)),
        // Another attempt of this secret.
        foreign(&["metrics.read"], &marked("job", 3)),
        foreign(&["logs.read"], &marked("job", 40)),
    ] {
        let mut world = World::new(record());
        world.add(token.clone());
        lying(&mut world, 1);
        let ended = world.run_at(0, request(by_schedule(-1)));
        left_alone(&world, &ended, &token);
        let mismatches = ended.of(EventName::MintAnswerMismatch);
        assert_eq!(mismatches.len(), 1, "{token:?}");
        assert_eq!(mismatches[0].level, Level::Error);
        // The second mint is answered rightly; the first token is found by its marker and deleted.
        assert_eq!(world.shown(3).id(), Some(&id("NEW2")), "{token:?}");
        assert!(world.document().is_current(&id("NEW2")));
        assert!(ended.did(TokenAction::Delete, "NEW1"));
        assert_eq!(ended.of(EventName::OrphanDeleted).len(), 1);
        assert!(world.document().open.is_empty());
    }
}

#[test]
fn a1_a_run_mints_at_most_three_times_and_each_lost_token_stays_findable() {
    let mut world = World::new(record());
    world.add(foreign(&["metrics.read"], "somebody's"));
    lying(&mut world, 100);
    let ended = world.run_at(0, request(by_schedule(-1)));
    assert_eq!(ended.mints(), 3);
    let failed = world.document().health.failure.clone().unwrap();
    assert_eq!(failed.reason, Reason::Unavailable);
    assert!(failed.retry_at.is_some());
    let open: Vec<_> = world.document().open.iter().map(|it| it.attempt).collect();
    assert_eq!((open, world.versions.len()), (vec![4, 5, 6], 2));
    // Unclear answers count alike.
    let mut world = World::new(record());
    world.fault(|world, command| match command {
        Command::Mint(order) => {
            world.mint(order);
            Some(Outcome::Minted(Err(dynatrace(ErrorKind::Unclear))))
        }
        _ => None,
    });
    let ended = world.run_at(0, request(by_schedule(-1)));
    assert_eq!((ended.mints(), world.document().open.len()), (3, 3));
    world.fault = None;
    let mut listing = sweep(&world, 20);
    listing.goal = by_schedule(-1);
    let ended = world.run_at(20, listing);
    assert_eq!(ended.mints(), 1);
    for orphan in ["NEW1", "NEW2", "NEW3"] {
        assert!(ended.did(TokenAction::Delete, orphan));
    }
    assert_eq!((world.document().open.len(), world.tokens.len()), (0, 3));
}

#[test]
fn a1_an_environment_that_drops_the_marker_gets_no_further_mint_by_schedule() {
    let cut = |world: &mut World| {
        world.fault(|world, command| {
            if let Command::Verify(_) = command {
                let last = world.tokens.keys().next_back().unwrap().clone();
                let newest = ["NEW3", "NEW2", "NEW1"].map(id).into_iter();
                let newest = newest.into_iter().find(|it| world.tokens.contains_key(it));
                let token = world.tokens.get_mut(&newest.unwrap_or(last)).unwrap();
                token.name = Marker::split(&token.name).0;
            }
            None
        });
    };
    let mut world = World::new(record());
    cut(&mut world);
    let ended = world.run_at(0, request(by_schedule(-1)));
    assert_eq!(ended.mints(), 1);
    assert_eq!(ended.errors(), [EventName::RotationStuck]);
    assert_eq!(
        ended.of(EventName::RotationStuck)[0].reason,
        Some(Reason::NameNotKept)
    );
    assert_eq!(world.versions.len(), 2, "nothing is stored");
    assert!(
        world.tokens.contains_key(&id("NEW1")),
        "nothing is deleted by an unproven id"
    );
    for due in 1..5 {
        let ended = world.run_at(due * 100, request(by_schedule(due * 100 - 1)));
        assert_eq!((ended.mints(), ended.errors().len()), (0, 0), "{due}");
        assert_eq!(world.document().last_due, Some(at(due * 100 - 1)));
    }
    // A person asks: once more.
    let ended = world.run_at(1000, request(by_command()));
    assert_eq!(ended.mints(), 1);
    world.fault = None;
    let ended = world.run_at(1100, request(by_command()));
    assert_eq!(ended.mints(), 1);
    assert_eq!(world.document().health.failure, None);
    assert!(world.document().is_current(&id("NEW3")));
}

#[test]
fn a1_a_base_that_comes_back_changed_is_still_the_ordered_token() {
    let mut world = World::new(record());
    world.fault(|world, command| {
        if let Command::Verify(_) = command {
            let token = world.token("NEW1");
            token.name = token.name.replace("job", "JOB (team x)");
        }
        None
    });
    let ended = world.run_at(0, request(by_schedule(-1)));
    assert_eq!(ended.events(), [EventName::RotationSucceeded]);
    // What a copy is compared with later is the name as it came back.
    let name = world.token("NEW1").name.clone();
    let ledger = &world.document().attempts.ledger;
    assert_eq!(ledger.digest(4), Some(&NameDigest::of(&name)));
}

#[test]
fn a1_a_name_that_is_too_long_is_cut_before_its_marker() {
    let mut world = World::new(record());
    world.token("CUR").name = marked(&"x".repeat(200), 3);
    let ended = world.run_at(0, request(by_schedule(-1)));
    assert_eq!(ended.events(), [EventName::RotationSucceeded]);
    let name = &world.token("NEW1").name;
    assert_eq!(name.chars().count(), 100);
    assert_eq!(Marker::of(name, &epoch()).unwrap().attempt, 4);
}

#[test]
fn a1_a_minted_token_that_lacks_rights_or_is_disabled_is_deleted_because_it_is_proven() {
    for (scopes, enabled) in [(vec![], true), (vec!["metrics.read".to_owned()], false)] {
        let mut world = World::new(record());
        world.fault(move |world, command| match command {
            Command::Verify(_) => {
                let token = world.token("NEW1");
                (token.scopes, token.enabled) = (scopes.clone(), enabled);
                Some(Outcome::Verified(Ok(Trial {
                    token: token.clone(),
                    proven: true,
                })))
            }
            _ => None,
        });
        let ended = world.run_at(0, request(by_schedule(-1)));
        assert!(ended.did(TokenAction::Delete, "NEW1"));
        assert_eq!(
            world.document().health.failure.as_ref().unwrap().reason,
            Reason::VerifyFailed
        );
        assert_eq!((world.versions.len(), world.document().open.len()), (2, 0));
    }
}

// ------------------------------------------------------------------------------------------------------------------ numbers ---

/// A sweep over a world with these further tokens: what it did, and the world after it.
fn swept(tokens: &[TokenInfo]) -> (World, Ended) {
    let mut world = World::new(record());
    world.tokens.remove(&id("OLD"));
    for token in tokens {
        world.add(token.clone());
    }
    let request = sweep(&world, 0);
    let ended = world.run_at(0, request);
    (world, ended)
}

/// An adopted token was renamed, retired and deleted by another replica, and this one has a listing from before.
#[test]
fn p8_a_token_that_is_gone_since_the_listing_is_not_taken_for_a_copy() {
    let mut world = World::new(record());
    world.tokens.remove(&id("OLD"));
    world.add(minted("ADOPTED", 0));
    let request = sweep(&world, 0);
    world.tokens.remove(&id("ADOPTED"));
    let ended = world.run_at(0, request);
    assert_eq!(ended.reports.len(), 0, "{:?}", ended.reports);
    assert_eq!(world.document().attempts.left_alone, []);
}

#[test]
fn a4_a_number_at_the_end_of_its_range_or_far_above_is_nobodys_and_changes_no_counter() {
    for n in [u64::MAX, u64::MAX - 1, 3 + 100_001] {
        let (mut world, ended) = swept(&[minted("PLANTED", n)]);
        assert_eq!(ended.events(), [EventName::OrphanFound], "{n}");
        assert_eq!(ended.reports[0].level, Level::Warn);
        let document = world.document();
        assert_eq!(
            (document.attempts.attempt, document.retiring.len()),
            (3, 0),
            "{n}"
        );
        assert_eq!(document.health.hold_until, None);
        // Reported once, and left alone.
        assert!(!listing_needs_work(document, &world.listing().tokens));
        let again = sweep(&world, 50);
        assert_eq!(world.run_at(50, again).reports.len(), 0);
        world.run_at(60, request(by_schedule(59)));
        assert_eq!(world.document().attempts.attempt, 4, "{n}");
        for second in [200, 1000, 5000] {
            let request = sweep(&world, second);
            world.run_at(second, request);
        }
        assert!(world.token("PLANTED").enabled, "{n}");
    }
}

#[test]
fn a4_a_number_that_a_restored_vault_does_not_know_yet_is_believed_and_holds_retirements() {
    let (world, ended) = swept(&[minted("LATER", 9)]);
    assert_eq!(
        ended.events(),
        [EventName::VaultWentBack, EventName::OrphanFound]
    );
    let document = world.document();
    assert_eq!(document.attempts.attempt, 9);
    assert_eq!(document.health.hold_until, Some(at(10)));
    let entry = world.entry("LATER");
    assert_eq!(
        (entry.state.clone(), entry.base, entry.due),
        (RetiringState::Grace, 2, at(100))
    );
}

#[test]
fn a4_the_highest_number_of_a_document_is_not_increased_beyond_its_range() {
    let mut before = record();
    before.attempts.attempt = u64::MAX;
    let mut world = World::new(before);
    let ended = world.run_at(0, request(by_schedule(-1)));
    assert!(matches!(&ended.result, RunResult::JournalImplausible(why) if why.contains("maximum")));
    assert!(ended.effects().is_empty());
    // 1 below: the last number there is, and it is never wrapped.
    let mut before = record();
    before.attempts.attempt = u64::MAX - 1;
    let mut world = World::new(before);
    let ended = world.run_at(0, request(by_schedule(-1)));
    let numbers: Vec<_> = ended
        .written()
        .iter()
        .map(|it| it.attempts.attempt)
        .collect();
    assert!(numbers.iter().all(|n| *n >= u64::MAX - 1), "{numbers:?}");
}

#[test]
fn a4_a_copy_of_a_marked_name_is_left_alone_wherever_its_original_is() {
    for n in [1, 2, 3] {
        let copy = plain("COPY", &format!("Duplicate of: {}", marked("job", n)));
        let (mut world, ended) = swept(&[copy]);
        assert_eq!(ended.events(), [EventName::OrphanFound], "{n}");
        assert_eq!(ended.reports[0].level, Level::Warn);
        assert_eq!(world.document().attempts.left_alone, [id("COPY")]);
        for second in [100, 400, 5000] {
            let request = sweep(&world, second);
            let ended = world.run_at(second, request);
            assert_eq!((ended.effects().len(), ended.reports.len()), (0, 0));
        }
    }
}

#[test]
fn a4_a_copy_of_an_open_attempts_name_is_not_deleted_with_it() {
    let mut world = World::new(record());
    let attempt = Attempt {
        n: 4,
        base: 1,
        old: Some(id("OLD")),
        digest: Some(NameDigest::of(&marked("job", 4))),
        begin: Begin::default(),
    };
    let document = world.edit();
    document.attempts.attempt = 4;
    document.open = vec![attempt.opened(None, at(-100))];
    world.tokens.remove(&id("OLD"));
    // The request was sent twice: two tokens with one name. And one is a copy by hand.
    world.add(minted("FIRST", 4));
    world.add(minted("SECOND", 4));
    world.add(plain(
        "COPY",
        &format!("Duplicate of: {}", marked("job", 4)),
    ));
    let request = sweep(&world, 0);
    let ended = world.run_at(0, request);
    assert!(ended.did(TokenAction::Delete, "FIRST") && ended.did(TokenAction::Delete, "SECOND"));
    assert!(world.tokens.contains_key(&id("COPY")));
    assert!(world.document().open.is_empty());
    assert_eq!(world.document().attempts.left_alone, [id("COPY")]);
    assert_eq!(world.document().retiring, []);
}

#[test]
fn a4_a_copy_in_vault_is_a_persons_value_and_not_an_interrupted_store_of_ours() {
    let mut world = World::new(record());
    world.add(plain(
        "COPY",
        &format!("Duplicate of: {}", marked("job", 3)),
    ));
    world.put(value("COPY"));
    let request = sweep(&world, 0);
    let ended = world.run_at(0, request);
    assert_eq!(ended.of(EventName::RotationRecovered).len(), 0);
    assert_eq!(ended.of(EventName::SecretChangedElsewhere).len(), 1);
    assert!(world.document().is_current(&id("COPY")));
}
