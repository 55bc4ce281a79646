//! Rules A5, A7, A8 and K7: lost memory, implausible documents, and documents that stay small.

use std::sync::Arc;

use rotation::command::{Command, Outcome, RunResult};
use rotation::error::{CallError, ErrorKind, Service};
use rotation::event::EventName;
use rotation::machine::Run;
use rotation::marker::{Epoch, NameDigest};
use rotation::record::{
    Attempt, Claim, EntryFailure, EntryReason, Record, Retiring, RetiringState, Work,
};
use rotation::request::{Clock, Epochs, Goal, RunRequest};
use rotation::size;

use crate::builders::{
    at, by_command, by_schedule, epoch, id, marked, minted, now_at, plain, plan, plan_with, record,
    request, retiring, settle, vault,
};
use crate::identity::sweep;
use crate::world::{Ended, World};

/// A journal write that landed is answered with a conflict: the first time, or every time.
fn lying_journal(world: &mut World, mut lies: u32) {
    world.fault(move |world, command| match command {
        Command::WriteJournal { .. } if lies > 0 => {
            lies -= 1;
            let _ = world.perform(command);
            Some(Outcome::Written(Err(vault(ErrorKind::Conflict))))
        }
        _ => None,
    });
}

#[test]
fn a5_a_run_that_meets_its_own_claim_without_its_memory_opens_the_attempt_and_begins_again() {
    let mut world = World::new(record());
    lying_journal(&mut world, 1);
    let ended = world.run_at(0, request(by_schedule(-1)));
    assert_eq!(ended.mints(), 1);
    let released = ended.written()[1];
    assert_eq!((&released.claim, released.open[0].attempt), (&None, 4));
    assert_eq!(
        released.open[0].digest,
        Some(NameDigest::of(&marked("job", 4)))
    );
    assert_eq!(world.token("NEW1").name, marked("job", 5));
    assert!(world.document().is_current(&id("NEW1")));
}

#[test]
fn k12_a_journal_that_always_answers_conflict_ends_the_run_and_mints_nothing() {
    let mut world = World::new(record());
    lying_journal(&mut world, u32::MAX);
    let ended = world.run_at(0, request(by_schedule(-1)));
    assert!(
        matches!(ended.result, RunResult::Retry(_)),
        "{:?}",
        ended.result
    );
    assert_eq!(ended.mints(), 0);
    assert!(world.document().open.len() < 10);
}

/// The commit landed although its answer said otherwise: nothing is minted or stored a second time.
#[test]
fn a5_a_commit_whose_answer_was_wrong_is_not_repeated() {
    let mut world = World::new(record());
    let mut writes = 0;
    world.fault(move |world, command| match command {
        Command::WriteJournal { .. } => {
            writes += 1;
            let landed = world.perform(command);
            Some(match writes {
                2 => Outcome::Written(Err(vault(ErrorKind::Conflict))),
                _ => landed,
            })
        }
        _ => None,
    });
    let ended = world.run_at(0, request(by_schedule(-1)));
    assert_eq!((ended.mints(), world.versions.len()), (1, 3));
    assert!(world.document().is_current(&id("NEW1")));
    assert!(world.document().open.is_empty() && world.document().claim.is_none());
}

#[test]
fn a5_an_own_claim_of_every_kind_without_memory_is_released_or_finished() {
    let entry = |state| retiring(&minted("OLD", 2), state, -1000, 500);
    for (work, state) in [
        (Work::Cleanup, RetiringState::Grace),
        (Work::Disable { id: id("OLD") }, RetiringState::Disabling),
        (Work::Delete { id: id("OLD") }, RetiringState::Deleting),
    ] {
        let mut world = World::with_retiring(vec![entry(state)]);
        world.edit().claim = Some(Claim {
            work,
            holder: "i".into(),
            boot: "b".into(),
            // The id of the run that begins now.
            nonce: "run-1".into(),
            since: at(0),
            renewed: 0,
        });
        let ended = world.run_at(0, settle());
        assert!(
            matches!(ended.result, RunResult::Done { .. }),
            "{:?}",
            ended.result
        );
        assert_eq!(ended.effects(), Vec::<&Command>::new());
        assert_eq!(world.document().claim, None);
    }
}

/// A server that refuses every fence although nothing was written in between: the secret is left for later.
#[test]
fn a_fence_that_is_refused_again_and_again_ends_the_run() {
    let mut world = World::new(record());
    let attempt = Attempt {
        n: 4,
        base: 2,
        old: Some(id("CUR")),
        digest: Some(NameDigest::of(&marked("job", 4))),
        begin: Default::default(),
    };
    let document = world.edit();
    document.attempts.attempt = 4;
    document.open = vec![attempt.opened(None, at(-100))];
    world.add(minted("ORPHAN", 4));
    world.fault(|_, command| match command {
        Command::Fence { .. } => Some(Outcome::Fenced(Err(vault(ErrorKind::Conflict)))),
        _ => None,
    });
    let request = sweep(&world, 0);
    let ended = world.run_at(0, request);
    assert!(
        matches!(ended.result, RunResult::Retry(_)),
        "{:?}",
        ended.result
    );
    assert_eq!(ended.count(|it| matches!(it, Command::Fence { .. })), 3);
    assert!(world.tokens.contains_key(&id("ORPHAN")));
}

/// A runner that never answers what was asked: the run does not end.
#[test]
fn k12_a_run_that_does_not_come_to_rest_is_an_internal_error() {
    let mut request = settle();
    request.known.journal = None;
    let mut run = Run::new(request);
    let result = loop {
        let command = run.step(now_at(0));
        match &command {
            Command::Finish(result) => break result.clone(),
            command => run.learn(command, Outcome::Waited, now_at(0)),
        }
    };
    assert!(
        matches!(&result, RunResult::InternalError(what) if what.contains("did not end within"))
    );
    let events: Vec<_> = run
        .take_reports()
        .into_iter()
        .map(|report| report.event)
        .collect();
    assert_eq!(events, [EventName::InternalError]);
}

// ------------------------------------------------------------------------------------------------------------ implausible ---

fn is_implausible(ended: &Ended, words: &str) {
    let RunResult::JournalImplausible(why) = &ended.result else {
        panic!("{words}: {:?}", ended.result);
    };
    assert!(why.contains(words), "{why}");
    let sent = ended.count(|it| !matches!(it, Command::ReadJournal));
    assert_eq!(
        sent, 0,
        "nothing is done for its secret: {:?}",
        ended.commands
    );
}

fn served(last_due: i64) -> World {
    let mut before = record();
    before.last_due = Some(at(last_due));
    World::new(before)
}

#[test]
fn k5_a_last_due_in_the_future_is_reported_instead_of_waiting_for_it() {
    let year = 365 * 24 * 3600;
    for last_due in [301, 2 * 3600, year, 200 * year] {
        for goal in [
            Goal::Settle,
            by_schedule(-1),
            Goal::Undo(None),
            Goal::Release,
        ] {
            let ended = served(last_due).run_at(0, request(goal));
            is_implausible(&ended, "`last_due`");
            is_implausible(&ended, "dtrotate rotate a");
        }
    }
    // Within the tolerance.
    let ended = served(300).run_at(0, settle());
    assert!(matches!(ended.result, RunResult::Done { .. }));
}

#[test]
fn a7_a_rotation_by_command_resets_a_last_due_in_the_future() {
    let mut world = served(1_000_000);
    let ended = world.run_at(0, request(by_command()));
    assert_eq!(ended.events(), [EventName::RotationSucceeded]);
    assert_eq!(world.document().last_due, Some(at(0)));
    assert_eq!(world.run_at(60, request(by_schedule(59))).mints(), 1);
}

#[test]
fn k5_times_are_not_judged_by_a_clock_that_is_not_trusted() {
    let mut world = served(1_000_000);
    let mut request = settle();
    request.env.clock = Clock::Unknown;
    let ended = world.run_at(0, request.clone());
    assert!(
        matches!(ended.result, RunResult::Done { .. }),
        "{:?}",
        ended.result
    );
    // A wrong one begins nothing at all.
    request.env.clock = Clock::Disagrees;
    let ended = world.run_at(0, request);
    assert!(
        matches!(ended.result, RunResult::Retry(_)),
        "{:?}",
        ended.result
    );
    assert_eq!(ended.effects(), Vec::<&Command>::new());
}

#[test]
fn k5_nothing_is_due_by_a_clock_that_disagrees_and_nothing_is_ended_by_one_that_is_not_trusted() {
    for clock in [Clock::Unknown, Clock::Disagrees] {
        let mut world = World::with_retiring(vec![retiring(
            &minted("OLD", 2),
            RetiringState::Grace,
            -1000,
            -10,
        )]);
        let mut request = request(by_schedule(-1));
        request.env.clock = clock;
        let ended = world.run_at(0, request);
        assert_eq!(ended.mints(), usize::from(clock == Clock::Unknown));
        assert!(world.token("OLD").enabled);
    }
}

#[test]
fn k5_a_grace_that_began_in_the_future_is_reported_and_forget_is_its_cure() {
    let mut world = World::with_retiring(vec![retiring(
        &minted("OLD", 2),
        RetiringState::Grace,
        9000,
        9100,
    )]);
    let ended = world.run_at(0, settle());
    is_implausible(&ended, "dtrotate forget a --token dt0c01.OLD");
    let ended = world.run_at(0, request(Goal::Forget(id("OLD"))));
    assert_eq!(ended.result, RunResult::Done { wake: None });
    let ended = world.run_at(0, settle());
    assert!(matches!(ended.result, RunResult::Done { .. }));
}

/// A due time further ahead than any length that is configured, and a hold longer than `settle`, were written by a wrong clock or by hand:
/// the token would live until then, and nothing would say so.
#[test]
fn k5_a_retirement_that_waits_for_a_far_time_is_reported() {
    let old = |due| retiring(&minted("OLD", 2), RetiringState::Grace, -1000, due);
    for (due, implausible) in [(3600, false), (300 * 86_400, false), (400 * 86_400, true)] {
        let ended = World::with_retiring(vec![old(due)]).run_at(0, settle());
        match implausible {
            true => is_implausible(&ended, "dtrotate forget a --token dt0c01.OLD"),
            false => assert!(
                matches!(ended.result, RunResult::Done { .. }),
                "{:?}",
                ended.result
            ),
        }
    }
    let mut world = World::with_retiring(vec![old(50)]);
    world.edit().health.hold_until = Some(at(2 * 86_400));
    is_implausible(&world.run_at(0, settle()), "`hold_until`");
    world.edit().health.hold_until = Some(at(3600));
    assert!(matches!(
        world.run_at(0, settle()).result,
        RunResult::Done { .. }
    ));
}

#[test]
fn a8_an_epoch_of_another_installation_is_not_worked_by() {
    let mut before = record();
    before.epoch.installation = "elsewhere".into();
    let ended = World::new(before).run_at(0, request(by_schedule(-1)));
    is_implausible(&ended, "installation elsewhere");
}

/// The documents of two secrets with one identity: each would retire the other's tokens.
#[test]
fn a8_an_epoch_that_another_secret_has_is_not_worked_by() {
    let mut other = plan();
    other.name = "b".into();
    other.coordinates.path = "b".into();
    let mut epochs = Epochs::default();
    epochs.insert(epoch(), vec![Arc::new(plan()), Arc::new(other)]);
    let shared = |goal| RunRequest {
        env: rotation::request::RunEnv {
            epochs: Some(Arc::new(epochs.clone())),
            ..settle().env
        },
        ..request(goal)
    };
    let ended = World::new(record()).run_at(0, shared(by_schedule(-1)));
    is_implausible(&ended, "same identity as that of b");
    // Known from before: it is read afresh before it is judged.
    assert_eq!(ended.commands, [Command::ReadJournal]);
    let alone = Epochs::from_iter([(epoch(), vec![Arc::new(plan())])]);
    let mut request = settle();
    request.env.epochs = Some(Arc::new(alone));
    let ended = World::new(record()).run_at(0, request);
    assert!(matches!(ended.result, RunResult::Done { .. }));
}

#[test]
fn a8_a_copied_document_is_not_worked_by() {
    let mut before = record();
    before.name = "b".into();
    let ended = World::new(before).run_at(0, request(by_schedule(-1)));
    is_implausible(&ended, "it is the document of b, copied");
}

#[test]
fn a8_a_document_that_contradicts_itself_is_not_worked_by() {
    let old = || retiring(&minted("OLD", 2), RetiringState::Grace, -1000, -10);
    let check = |edit: &dyn Fn(&mut Record), words: &str| {
        let mut before = record();
        edit(&mut before);
        is_implausible(&World::new(before).run_at(0, settle()), words);
    };
    check(
        &|it| it.retiring = vec![old(), old()],
        "in `retiring` twice",
    );
    let current = retiring(&minted("CUR", 3), RetiringState::Grace, -1000, -10);
    check(
        &|it| it.retiring = vec![current.clone()],
        "in `current` and in `retiring`",
    );
    let attempt = Attempt {
        n: 9,
        base: 1,
        old: Some(id("OLD")),
        digest: None,
        begin: Default::default(),
    };
    check(
        &|it| it.open = vec![attempt.opened(None, at(-5))],
        "higher number than `attempt`",
    );
}

// ------------------------------------------------------------------------------------------------------- a lost document ---

/// A document that a person deleted comes back with the identity that the current token's name shows.
#[test]
fn a8_a_lost_document_resumes_the_epoch_of_the_current_token_unless_another_document_has_it() {
    let lost = || {
        let mut world = World::new(record());
        world.journal = None;
        world
    };
    let mut world = lost();
    world.run_at(0, settle());
    let resumed = world.document();
    assert_eq!((&resumed.epoch, resumed.attempts.attempt), (&epoch(), 3));
    assert_eq!(resumed.attempts.unaccounted_through, 3);
    // What else bears the marker retires with full grace.
    let old = world.entry("OLD");
    assert_eq!(
        (old.state.clone(), old.due, old.base),
        (RetiringState::Grace, at(100), 2)
    );

    let mut other = plan();
    other.name = "b".into();
    other.coordinates.path = "b".into();
    let mut request = settle();
    request.env.epochs = Some(Arc::new(Epochs::from_iter([(
        epoch(),
        vec![Arc::new(other)],
    )])));
    let mut world = lost();
    world.run_at(0, request.clone());
    assert_eq!(world.document().epoch, request.env.fresh_epoch);
    assert_eq!(world.document().retiring, []);

    // Another installation's marker is nothing to go by.
    let mut request = settle();
    request.env.fresh_epoch = Epoch {
        installation: "new".into(),
        secret: "fresh".into(),
    };
    let mut world = lost();
    world.run_at(0, request.clone());
    assert_eq!(world.document().epoch, request.env.fresh_epoch);
    assert_eq!(world.document().attempts.attempt, 0);
}

// ------------------------------------------------------------------------------------------------------------------ size ---

#[test]
fn k7_thousands_of_unknown_marked_tokens_enter_in_slices_and_the_run_ends() {
    let mut before = record();
    before.attempts.unaccounted_through = 3;
    let mut world = World::new(before);
    for n in 0..12_000 {
        world.add(rotation::token::TokenInfo {
            name: marked("job", 1 + n % 3),
            ..minted(&format!("U{n}"), 1)
        });
    }
    let request = sweep(&world, 0);
    let ended = world.run_at(0, request);
    assert!(
        matches!(ended.result, RunResult::Done { .. }),
        "{:?}",
        ended.result
    );
    let sizes: Vec<_> = ended.written().iter().map(|it| it.retiring.len()).collect();
    let growth = sizes.windows(2).map(|pair| pair[1] - pair[0]).max();
    assert!(
        sizes[0] <= 100 && growth.is_none_or(|most| most <= 100),
        "{sizes:?}"
    );
    assert!(ended.errors().is_empty());
    // The document stays within what the server accepts, and the retirements of a schedule that `check` accepts fit into it as well.
    let most = size::most_retiring(world.document());
    assert_eq!(sizes.last(), Some(&most));
    assert!(bytes(world.document()) < size::LARGEST / 2);
    // What is gone makes room for what waits.
    let gone: Vec<_> = world.edit().retiring.drain(..40).collect();
    for entry in gone {
        world.tokens.remove(&entry.id);
    }
    let request = sweep(&world, 5);
    world.run_at(5, request);
    assert_eq!(world.document().retiring.len(), most);
}

/// The bytes of a document as a server stores it.
fn bytes(record: &Record) -> usize {
    size::stored(&serde_json::to_string(record).unwrap())
}

/// Recovery never needs a larger write than the one that failed: neither a token of 10,000 scopes nor words of a service make the document
/// larger than the server accepts, however many retirements fail.
#[test]
fn k7_a_document_full_of_retirements_that_all_fail_is_accepted() {
    let mut before = record();
    before.current.as_mut().unwrap().scopes = (0..10_000)
        .map(|n| format!("scope.number{n}.read"))
        .collect();
    let most = size::most_retiring(&before);
    assert!(most > 150, "{most}");
    let words = "a \"quoted\" <answer> ".repeat(500);
    // All but the last ones have failed before.
    before.retiring = (0..2 * most)
        .map(|n| Retiring {
            failure: (n >= 5).then(|| EntryFailure {
                reason: EntryReason::Refused,
                message: size::cut(&words),
                since: at(-50),
                attempts: 1,
            }),
            ..retiring(
                &minted(&format!("OLD{n:0>21}"), 2),
                RetiringState::Grace,
                -1000,
                if n < 5 { -10 } else { 50 },
            )
        })
        .collect();
    let mut world = World::new(before);
    world.fault(move |_, command| match command {
        Command::LookUp(_) => Some(Outcome::Token(Err(CallError::new(
            Service::Dynatrace,
            ErrorKind::Refused,
            &words,
        )))),
        _ => None,
    });
    let ended = world.run_at(0, settle());
    assert_eq!(ended.of(EventName::RetirementBlocked).len(), 5);
    let mut failed = world.document().retiring.iter();
    assert!(failed.all(|entry| entry.failure.is_some()));
    let bytes = bytes(world.document());
    assert!(
        bytes < size::LARGEST && bytes > size::LARGEST / 2,
        "{bytes}"
    );
}

/// Each token stays for its longest grace, its quarantine and `settle`: 100 or 1000 s, 200 s and 10 s.
#[test]
fn k7_a_schedule_says_how_many_tokens_retire_at_one_time() {
    use rotation::plan::StillUsed;
    let seconds = std::time::Duration::from_secs;
    for (still_used, gap, most) in [
        (StillUsed::Warn, 310, 1),
        (StillUsed::Warn, 309, 2),
        (StillUsed::Warn, 10, 31),
        (StillUsed::Hold, 10, 121),
        (StillUsed::Hold, 86_400, 1),
    ] {
        let plan = plan_with(|plan| plan.still_used = still_used);
        assert_eq!(size::retiring_at_once(&plan, seconds(gap)), most, "{gap}");
    }
}

/// The numbers of tokens that still wait to enter the document are given out as well.
#[test]
fn a4_the_highest_number_of_many_unknown_tokens_counts_at_once() {
    let mut world = World::new(record());
    for n in 4..=1500 {
        world.add(minted(&format!("U{n:04}"), n));
    }
    let request = sweep(&world, 0);
    let ended = world.run_at(0, request);
    assert_eq!(ended.of(EventName::VaultWentBack).len(), 1);
    assert_eq!(ended.written()[0].attempts.attempt, 1500);
    let most = size::most_retiring(world.document());
    assert!(most < 1400, "not all of them have entered: {most}");
    assert_eq!(world.document().retiring.len(), most);
}

#[test]
fn k7_more_copies_than_a_document_notes_are_left_alone_and_the_run_ends() {
    let mut world = World::new(record());
    for n in 0..250 {
        let name = format!("Duplicate {n} of: {}", marked("job", 3));
        world.add(plain(&format!("C{n}"), &name));
    }
    let request = sweep(&world, 0);
    let ended = world.run_at(0, request);
    assert!(
        matches!(ended.result, RunResult::Done { .. }),
        "{:?}",
        ended.result
    );
    assert_eq!(ended.of(EventName::OrphanFound).len(), 100);
    assert_eq!(world.document().retiring, []);
    // A person's word is kept, however many copies there are.
    let old = retiring(&minted("OLD", 2), RetiringState::Grace, -10, 500);
    world.edit().retiring = vec![old];
    world.run_at(1, crate::builders::request(Goal::Forget(id("OLD"))));
    let request = sweep(&world, 2);
    let ended = world.run_at(2, request);
    assert_eq!(
        (ended.reports.len(), world.document().retiring.len()),
        (0, 0)
    );
}

/// What the server bounds: bytes and the number of strings of a request.
fn strings(record: &Record) -> (usize, usize) {
    let value = serde_json::to_value(record).unwrap();
    fn count(value: &serde_json::Value) -> usize {
        match value {
            serde_json::Value::String(_) => 1,
            serde_json::Value::Array(items) => items.iter().map(count).sum(),
            serde_json::Value::Object(map) => map.values().map(|it| 1 + count(it)).sum(),
            _ => 0,
        }
    }
    (value.to_string().len(), count(&value))
}

#[test]
fn k7_fifty_retiring_tokens_of_many_scopes_stay_a_small_document() {
    let mut before = record();
    let scopes: Vec<String> = (0..150).map(|n| format!("scope.number{n}.read")).collect();
    let mut world = World::new(before.clone());
    world.token("CUR").scopes.clone_from(&scopes);
    let mut dues = 0;
    for round in 0..50 {
        dues += 1;
        let mut request = request(by_schedule(dues));
        request.plan = Arc::new(plan_with(|plan| {
            plan.grace = std::time::Duration::from_secs(1_000_000);
            plan.max_grace = std::time::Duration::from_secs(1_000_000);
        }));
        let ended = world.run_at(dues + 1, request);
        assert_eq!(ended.events(), [EventName::RotationSucceeded], "{round}");
    }
    assert_eq!(world.document().retiring.len(), 50);
    let (bytes, strings_in_all) = strings(world.document());
    before.current.as_mut().unwrap().scopes = scopes;
    let (empty, strings_of_empty) = strings(&before);
    assert!(
        bytes - empty < 50 * 400,
        "{bytes} bytes, {empty} without the entries"
    );
    println!(
        "{bytes} bytes, {} strings more",
        strings_in_all - strings_of_empty
    );
}
