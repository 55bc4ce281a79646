//! What happens to a secret between two rotations: outages, releases, moves, renames, and a current token that does not work.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use rotation::command::{Command, Outcome, RunResult};
use rotation::event::{EventName, Level};
use rotation::plan::RetirementPolicy;
use rotation::record::{Reason, Record, RetiringState, Trigger, Work};
use rotation::request::{Clock, Goal, Outage, RunRequest};
use rotation::token::TokenInfo;
use rotation::token_suspect;

use crate::builders::{
    abandoned_rotation, at, by_command, by_schedule, epoch, id, minted, plain, plan, plan_with,
    record, request, retiring, settle, stuck, value,
};
use crate::world::{Ended, World};

fn dues(world: &World) -> Vec<Timestamp> {
    world.document().retiring.iter().map(|it| it.due).collect()
}

#[test]
fn p3_an_outage_extends_the_graces_that_ran_in_it_and_counts_once() {
    use RetiringState::{Grace, Quarantine};
    let entry = |text: &str, state, since, due| retiring(&minted(text, 2), state, since, due);
    let mut world = World::with_retiring(vec![
        entry("RAN", Grace, 0, 100),
        entry("BEGAN", Grace, 60, 160),
        entry("OVER", Grace, -200, 40),
        entry("LATER", Grace, 95, 195),
        entry("OFF", Quarantine, 0, 300),
    ]);
    // Vault was unavailable from 50 to 90.
    let mut extend = |since: i64, until: i64| {
        let mut request = settle();
        // So that nothing is retired here.
        request.env.clock = Clock::Unknown;
        request.env.outage = Some(Outage {
            since: Some(at(since)),
            until: at(until),
        });
        let ended = world.run_at(95, request);
        assert!(ended.effects().is_empty());
        dues(&world)
    };
    let expected = [140, 190, 40, 195, 300].map(at);
    assert_eq!(extend(50, 90), expected);
    // Another replica observed it slightly differently: only what is new counts.
    assert_eq!(extend(45, 88), expected);
    assert_eq!(extend(48, 92)[..2], [at(142), at(192)]);
}

#[test]
fn p3_an_outage_of_unknown_beginning_restarts_the_graces() {
    use RetiringState::Grace;
    let mut world = World::with_retiring(vec![
        retiring(&minted("OLD", 2), Grace, -300, -200),
        retiring(&minted("HELD", 2), Grace, -300, 900),
    ]);
    world.add(minted("HELD", 2));
    let mut request = settle();
    request.env.outage = Some(Outage {
        since: None,
        until: at(90),
    });
    let ended = world.run_at(95, request);
    assert_eq!(dues(&world), [at(190), at(900)]);
    assert!(ended.effects().is_empty(), "nothing is disabled");
}

#[test]
fn p2_a_released_secret_finishes_its_retirements_by_its_last_settings_and_is_closed() {
    let mut before = record();
    before.health.failure = Some(stuck(Reason::Moved));
    let mut world = World::new(before);
    let ended = world.run_at(0, request(Goal::Release));
    assert_eq!(world.document().closed_at, Some(at(0)));
    assert_eq!(world.document().health.failure, None);
    assert_eq!(ended.result, RunResult::Done { wake: None });
    assert_eq!(ended.events(), [EventName::SecretReleased]);
    // Once.
    let ended = world.run_at(5, request(Goal::Release));
    assert_eq!((ended.reports.len(), ended.commands.len()), (0, 0));

    let mut waiting = record();
    waiting.policy = Some(RetirementPolicy::of(&plan()));
    waiting.retiring = vec![retiring(&minted("OLD", 2), RetiringState::Grace, 0, 50)];
    let mut world = World::new(waiting);
    let ended = world.run_at(0, request(Goal::Release));
    assert_eq!(world.document().closed_at, None);
    assert_eq!(ended.result, RunResult::Done { wake: Some(at(50)) });
    let (settle, timeout) = (plan().settle, plan().claim_timeout);
    let own = world
        .document()
        .release_plan("new-name", "new-name", settle, timeout);
    assert_eq!(
        (own.grace, own.quarantine),
        (plan().grace, plan().quarantine)
    );
    assert_eq!(own.coordinates.environment, "new-name");

    let release = || RunRequest {
        plan: Arc::new(own.clone()),
        ..request(Goal::Release)
    };
    world.run_at(50, release());
    assert_eq!(world.entry("OLD").due, at(250));
    let ended = world.run_at(250, release());
    assert!(!world.tokens.contains_key(&id("OLD")));
    assert!(world.tokens.contains_key(&id("CUR")));
    assert_eq!(world.document().closed_at, Some(at(250)));
    assert_eq!(
        ended.events(),
        [EventName::TokenDeleted, EventName::SecretReleased]
    );
}

fn moved(path: &str, url: &str, goal: Goal) -> RunRequest {
    let mut request = request(goal);
    let mut plan = plan();
    plan.coordinates.path = path.into();
    plan.coordinates.base_url = url.into();
    request.plan = Arc::new(plan);
    request
}

#[test]
fn p2_p8_a_move_is_reported_once_its_end_too_and_no_token_is_taken_to_another_url() {
    let here = plan().coordinates;
    let mut world = World::new(record());
    let ended = world.run_at(0, moved("elsewhere", &here.base_url, Goal::Settle));
    let failed = RunResult::Failed {
        reason: Reason::Moved,
        retry_at: None,
    };
    assert_eq!(
        (ended.result, ended.reports[0].event),
        (failed, EventName::RotationStuck)
    );
    let reported = world.document().clone();
    let ended = world.run_at(0, moved("elsewhere", &here.base_url, Goal::Settle));
    assert_eq!((world.document(), ended.reports.len()), (&reported, 0));
    // Moved back: a run that has not read the document itself may have the older settings.
    world.run_at(0, settle());
    assert_eq!(world.document(), &reported);
    let ended = world.run(settle());
    assert_eq!(ended.commands[0], Command::ReadJournal);
    assert_eq!(world.document().health.failure, None);
    assert_eq!(ended.reports[0].level, Level::Info);
    assert!(ended.reports[0].message.starts_with("resolved"));
    // To another path its token is taken along, to another URL it is not. The run stops before its first effect.
    let accept = |path: &str, url: &str| {
        let mut world = World::new(reported.clone());
        world.fault(|_, command| match command {
            Command::ReadSecret => Some(Outcome::Secret(Err(crate::builders::vault(
                rotation::error::ErrorKind::Transient,
            )))),
            _ => None,
        });
        world.run_at(0, moved(path, url, by_command()));
        world.document().clone()
    };
    let after = accept("elsewhere", &here.base_url);
    assert!(after.current.is_some() && after.retiring.is_empty());
    let after = accept(&here.path, "https://other");
    assert_eq!(after.current, None);
    assert_eq!(after.retiring[0].id, id("CUR"));
    assert_eq!(after.retiring[0].base_url, here.base_url);
}

#[test]
fn p2_nothing_is_minted_for_a_released_secret_whose_rotation_was_interrupted() {
    let mut before = record();
    before.attempts.attempt = 4;
    before.claim = Some(abandoned_rotation(4, 2));
    let mut world = World::new(before);
    let ended = world.run_at(0, request(Goal::Release));
    assert!(ended.effects().is_empty(), "{:?}", ended.commands);
    let after = world.document();
    assert_eq!(
        (&after.claim, after.open.len(), after.closed_at),
        (&None, 1, None)
    );
}

#[test]
fn a_closed_document_is_reopened_as_if_the_secret_was_seen_for_the_first_time() {
    let mut before = record();
    before.closed_at = Some(at(-100));
    before.coordinates.path = "elsewhere".into();
    let mut world = World::new(before);
    world.add(plain("NEW", "by hand"));
    world.put(value("NEW"));
    let ended = world.run_at(0, settle());
    let after = world.document();
    assert_eq!(after.closed_at, None);
    assert_eq!(after.adopted_at, at(0), "no due time was missed");
    assert!(after.is_current(&id("NEW")));
    assert_eq!(
        (after.attempts.attempt, &after.coordinates),
        (3, &plan().coordinates)
    );
    assert_eq!(ended.events(), [EventName::SecretAdopted]);
}

#[test]
fn p2_a_document_that_continues_under_another_name_is_left_alone() {
    let closed = record().closed_for("b", at(-100));
    let mut world = World::new(closed.clone());
    let ended = world.run_at(0, settle());
    assert_eq!(world.document(), &closed);
    assert!(
        matches!(ended.result, RunResult::JournalUnreadable(why) if why.contains("renamed to b"))
    );
    let successor = closed.carried_over("b");
    assert_eq!(
        (
            successor.name.as_str(),
            successor.closed_at,
            &successor.renamed_to
        ),
        ("b", None, &None)
    );
    assert_eq!(
        (successor.epoch, successor.attempts.attempt),
        (epoch(), 3),
        "one history"
    );
}

fn recheck(goal: Goal) -> RunRequest {
    let mut request = request(goal);
    request.hints.recheck_token = true;
    request
}

fn disabled(world: &mut World) {
    world.token("CUR").enabled = false;
}

#[test]
fn p8_a_current_token_that_does_not_work_is_one_error_and_its_end_is_reported() {
    let mut world = World::new(record());
    disabled(&mut world);
    let ended = world.run_at(0, recheck(Goal::Settle));
    assert_eq!(ended.errors(), [EventName::CurrentInvalid]);
    assert_eq!(ended.reports.len(), 1);
    assert!(world.document().health.invalid.as_ref().unwrap().by_hand);
    // It lasts: no further event. Being stuck for the same reason is none either.
    let invalid = world.document().clone();
    let ended = world.run_at(5, recheck(Goal::Settle));
    assert_eq!((world.document(), ended.reports.len()), (&invalid, 0));
    let ended = world.run_at(5, request(by_schedule(1)));
    let failed = world.document().clone();
    assert_eq!(
        failed.health.failure.as_ref().unwrap().reason,
        Reason::TokenDisabled
    );
    assert!(
        ended.reports.iter().all(|it| it.level < Level::Warn),
        "{:?}",
        ended.reports
    );
    assert_eq!(ended.mints(), 0);
    assert_eq!(
        failed.health.invalid, invalid.health.invalid,
        "it is still dead"
    );
    // A person enables it.
    for record in [invalid, failed] {
        let mut world = World::new(record);
        let ended = world.run_at(9, recheck(Goal::Settle));
        let health = &world.document().health;
        assert_eq!((&health.invalid, &health.failure), (&None, &None));
        assert_eq!(
            (ended.reports.len(), ended.reports[0].level),
            (1, Level::Info)
        );
        assert_eq!(ended.reports[0].event, EventName::CurrentInvalid);
    }
}

#[test]
fn a_suspicion_that_is_not_confirmed_and_a_failure_of_another_kind_change_nothing() {
    let mut other = record();
    other.health.failure = Some(stuck(Reason::MintRefused));
    for before in [record(), other] {
        let mut world = World::new(before.clone());
        let ended = world.run_at(0, recheck(Goal::Settle));
        assert_eq!((world.document(), ended.reports.len()), (&before, 0));
    }
}

/// A document after `vault_went_back` in a world where the current token is gone, and a proven former one says what its rights were.
fn went_back() -> World {
    let mut back = record();
    back.health.hold_until = Some(at(10));
    back.health.went_back_at = Some(at(-5));
    back.retiring = vec![retiring(&minted("OLD", 2), RetiringState::Grace, 0, 900)];
    let mut world = World::new(back);
    world.tokens.remove(&id("CUR"));
    world
}

#[test]
fn p1_a_dead_value_after_vault_went_back_is_replaced_once() {
    let mut world = went_back();
    let ended = world.run_at(0, recheck(Goal::Settle));
    assert_eq!(ended.mints(), 1, "{:?}", ended.commands);
    let claimed = ended.written()[0].claim.clone().unwrap();
    assert!(matches!(
        claimed.work,
        Work::Rotate {
            trigger: Trigger::Sweep,
            ..
        }
    ));
    assert!(world.document().is_current(&id("NEW1")));
    assert_eq!(world.document().health.went_back_at, None);
    // From now on it is a person's matter.
    world.tokens.remove(&id("NEW1"));
    let ended = world.run_at(20, recheck(Goal::Settle));
    assert_eq!(
        (ended.mints(), ended.errors()),
        (0, vec![EventName::CurrentInvalid])
    );
}

#[test]
fn k2_a_token_that_a_person_disabled_is_not_replaced_after_vault_went_back() {
    let mut world = went_back();
    world.add(TokenInfo {
        enabled: false,
        ..minted("CUR", 3)
    });
    for second in [0, 50, 5000] {
        let ended = world.run_at(second, recheck(Goal::Settle));
        assert_eq!(ended.mints(), 0);
    }
    assert!(world.document().health.invalid.is_some());
    let ended = world.run_at(6000, recheck(by_schedule(5999)));
    assert_eq!(ended.mints(), 0);
    assert!(world.document().is_current(&id("CUR")));
    assert!(!world.token("CUR").enabled);
}

#[test]
fn a_sweep_suspects_a_token_that_is_missing_disabled_or_expired_and_a_stuck_secret() {
    let record = record();
    let suspect = |listed: Option<&TokenInfo>| token_suspect(&record, listed, at(0));
    let current = minted("CUR", 3);
    assert!(!suspect(Some(&current)));
    assert!(suspect(None));
    let off = TokenInfo {
        enabled: false,
        ..current.clone()
    };
    let expires = |end| TokenInfo {
        expires: Some(end),
        ..current.clone()
    };
    assert!(suspect(Some(&off)) && suspect(Some(&expires(at(0)))));
    assert!(!suspect(Some(&expires(
        at(0) + SignedDuration::from_secs(1)
    ))));
    let mut stuck_one = record.clone();
    stuck_one.health.failure = Some(stuck(Reason::FieldMissing));
    assert!(token_suspect(&stuck_one, Some(&current), at(0)));
    stuck_one.health.failure = Some(stuck(Reason::Moved));
    assert!(!token_suspect(&stuck_one, Some(&current), at(0)));
}

/// The normal path of a rotation, with every call in its order.
#[test]
fn p1_a_rotation_reads_claims_mints_verifies_stores_and_commits_in_seven_calls() {
    let mut world = World::new(record());
    let ended = world.run_at(0, request(by_schedule(-1)));
    let word = |command: &Command| match command {
        Command::ReadSecret => "read",
        Command::LookUpValue => "look_up",
        Command::WriteJournal { .. } => "journal",
        Command::Mint(_) => "mint",
        Command::Verify(_) => "verify",
        Command::Store { .. } => "store",
        _ => "other",
    };
    let calls: Vec<_> = ended.commands.iter().take(7).map(word).collect();
    let expected = [
        "read", "look_up", "journal", "mint", "verify", "store", "journal",
    ];
    assert_eq!(calls, expected);
    let after = world.document();
    assert!(after.is_current(&id("NEW1")) && after.claim.is_none());
    assert_eq!((after.last_due, after.attempts.attempt), (Some(at(-1)), 4));
    let entry = world.entry("CUR");
    assert_eq!(
        (entry.state.clone(), entry.due),
        (RetiringState::Grace, at(100))
    );
    assert_eq!(ended.events(), [EventName::RotationSucceeded]);
    // A due instant is served once.
    assert_eq!(world.run_at(5, request(by_schedule(-1))).mints(), 0);
}

/// A command has no predecessor and retries nothing, so it writes no retry time.
#[test]
fn k12_only_a_daemon_writes_a_retry_time() {
    let run = |is_daemon: bool| -> (Record, Ended) {
        let mut world = World::new(record());
        world.fault(|_, command| {
            let transient = rotation::error::ErrorKind::Transient;
            matches!(command, Command::Mint(_))
                .then(|| Outcome::Minted(Err(crate::builders::dynatrace(transient))))
        });
        let mut request = request(by_command());
        request.holder.is_daemon = is_daemon;
        let ended = world.run_at(0, request);
        (world.document().clone(), ended)
    };
    let (after, ended) = run(true);
    let failure = after.health.failure.unwrap();
    assert!(failure.retry_at.is_some_and(|it| it > at(0)) && after.claim.is_none());
    assert!(matches!(
        ended.result,
        RunResult::Failed {
            retry_at: Some(_),
            ..
        }
    ));
    let (after, ended) = run(false);
    assert_eq!((after.health.failure, after.claim), (None, None));
    assert!(
        matches!(ended.result, RunResult::Retry(_)),
        "{:?}",
        ended.result
    );
}

/// A long verification renews its claim, so that another replica does not take it over.
#[test]
fn p6_a_claim_is_renewed_before_a_call_that_has_an_effect() {
    let mut world = World::new(record());
    let mut tries = 0;
    world.fault(move |_, command| {
        let gone = rotation::error::ErrorKind::Gone;
        tries += u32::from(matches!(command, Command::Verify(_)));
        (matches!(command, Command::Verify(_)) && tries < 12)
            .then(|| Outcome::Verified(Err(crate::builders::dynatrace(gone))))
    });
    let mut patient = request(by_schedule(-1));
    patient.plan = Arc::new(plan_with(|plan| plan.settle = Duration::from_secs(300)));
    let ended = world.run_at(0, patient);
    let renewed = ended
        .written()
        .iter()
        .filter_map(|it| Some(it.claim.as_ref()?.renewed))
        .max();
    assert!(renewed.is_some_and(|times| times > 1), "{renewed:?}");
    assert!(world.document().is_current(&id("NEW1")));
    let waited: Duration = ended
        .commands
        .iter()
        .filter_map(|it| match it {
            Command::Wait(length) => Some(*length),
            _ => None,
        })
        .sum();
    assert!(waited > plan().claim_timeout);
}

/// Whoever has no successor of its name gives its claim back when it is stopped; its token is found by the next one.
#[test]
fn p2_a_process_that_is_stopped_while_it_waits_gives_its_claim_back() {
    let gone = || {
        Outcome::Verified(Err(crate::builders::dynatrace(
            rotation::error::ErrorKind::Gone,
        )))
    };
    let mut world = World::new(record());
    world.fault(move |_, command| match command {
        Command::Verify(_) => Some(gone()),
        Command::Wait(_) => Some(Outcome::Stopped),
        _ => None,
    });
    let mut asked = request(by_command());
    asked.holder.is_daemon = false;
    let ended = world.run_at(0, asked);
    assert!(
        matches!(&ended.result, RunResult::Retry(error) if error.what.contains("stopped")),
        "{:?}",
        ended.result
    );
    let after = world.document();
    assert_eq!((&after.claim, after.open.len()), (&None, 1));
    assert!(after.is_current(&id("CUR")));
}

/// A rotation that a person asked for serves what was due when they asked, also when its process died after the store.
#[test]
fn p6_an_interrupted_rotation_by_command_serves_what_was_due_before_it() {
    let mut before = record();
    before.attempts.attempt = 4;
    let mut claim = abandoned_rotation(4, 2);
    if let Work::Rotate { due, trigger, .. } = &mut claim.work {
        (*due, *trigger) = (None, Trigger::Command);
    }
    before.claim = Some(claim);
    let mut world = World::new(before);
    world.add(minted("NEW", 4));
    world.put(value("NEW"));
    world.run_at(0, settle());
    assert!(world.document().is_current(&id("NEW")));
    let ended = world.run_at(1, request(by_schedule(-10)));
    assert_eq!(ended.mints(), 0);
}

/// Two daemons with one name do not take each other's work: a claim that is newer than this process is not a predecessor's.
#[test]
fn k15_only_a_claim_from_before_this_process_began_is_a_predecessors() {
    let run = |since: i64| {
        let mut before = record();
        let mut claim = abandoned_rotation(1, 1);
        claim.since = at(since);
        before.claim = Some(claim);
        World::new(before).run_at(5, request(by_schedule(-1)))
    };
    let taken_over = run(-1);
    assert!(taken_over.events().contains(&EventName::RotationRecovered));
    let waits = run(1);
    assert!(
        matches!(waits.result, RunResult::ClaimedElsewhere { .. }),
        "{:?}",
        waits.result
    );
    assert_eq!(waits.mints(), 0);
}

#[test]
fn a_pass_is_not_recorded_as_a_daemon() {
    for is_pass in [false, true] {
        let mut world = World::new(record());
        let mut rotate = request(by_schedule(-1));
        rotate.holder.is_pass = is_pass;
        world.run_at(0, rotate);
        let writer = world.document().writer.as_ref().expect("who wrote it");
        assert_eq!(writer.daemon, !is_pass);
    }
}
