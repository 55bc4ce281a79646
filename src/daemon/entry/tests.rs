use std::time::Duration;

use super::*;
use crate::config::SharedSettings;
use crate::schedule::calendar::{Cron, Schedule, zone};
use crate::schedule::due::Missed;
use rotation::command::RunResult;
use rotation::error::{CallError, ErrorKind, Service};
use rotation::marker::Epoch;
use rotation::plan::{Kind, Lifetime, Place, StillUsed, Terms};
use rotation::record::{Current, Failure, Reason, Trigger};

fn at(text: &str) -> Timestamp {
    format!("2027-01-{text}:00Z").parse().unwrap()
}

fn settings(missed: Missed) -> SecretSettings {
    let cron = Cron::parse("0 3 * * *").unwrap();
    let place = Place {
        mount: "secret".into(),
        fields: vec!["token".into()],
        environment: "prod".into(),
        base_url: "https://e".into(),
        kind: Kind::Api,
    };
    let terms = Terms {
        grace: Duration::from_secs(3600),
        max_grace: Duration::from_secs(3600),
        quarantine: Duration::from_secs(3600),
        still_used: StillUsed::Hold,
        lifetime: Lifetime::Inherit,
        settle: Duration::from_secs(60),
        claim_timeout: Duration::from_secs(60),
        desired: Default::default(),
        manages_tokens: false,
        verify: Default::default(),
        at_max_grace: Default::default(),
        announces: false,
        service: "prod".into(),
    };
    let shared = SharedSettings {
        schedule: Arc::new(Schedule::new(cron, zone("UTC").unwrap())),
        shortest_gap: Duration::from_secs(86_400),
        schedule_text: "0 3 * * *".into(),
        zone_name: "UTC".into(),
        jitter: Duration::ZERO,
        catch_up_spread: due::CATCH_UP_SPREAD,
        missed,
        expiry_guard: true,
        enabled: true,
        blackouts: Arc::default(),
        is_discovered: false,
        labels: crate::labels::Labels::default(),
        renamed_from: None,
    };
    let plan = Plan {
        name: "a".into(),
        coordinates: place.at("a"),
        terms: Arc::new(terms),
    };
    SecretSettings {
        plan: Arc::new(plan),
        shared: Arc::new(shared),
    }
}

fn known(change: impl FnOnce(&mut Record)) -> Option<JournalSnapshot> {
    let plan = settings(Missed::Run).plan;
    let epoch = Epoch {
        installation: "i".into(),
        secret: "s".into(),
    };
    let mut record = Record::blank("a", epoch, plan.coordinates.clone(), at("01T00:00"));
    record.last_due = Some(at("10T03:00"));
    change(&mut record);
    Some(JournalSnapshot {
        cas: 1,
        record: Some(Box::new(record)),
    })
}

fn entry(missed: Missed) -> Entry {
    let settings = settings(missed);
    let mut entry = Entry::new(settings.plan.clone(), Some(Arc::new(settings)));
    entry.ended(
        &RunResult::Done { wake: None },
        known(|_| {}),
        at("10T12:00"),
    );
    entry
}

fn unavailable() -> RunResult {
    RunResult::Retry(CallError::new(
        Service::Dynatrace,
        ErrorKind::Transient,
        "503",
    ))
}

fn wished(entry: &mut Entry, now: &str) -> Option<(Option<Timestamp>, Trigger)> {
    let wish = entry.wish(at(now))?;
    Some((wish.due, wish.trigger))
}

#[test]
fn a_retry_keeps_its_due_time_until_the_next_one_comes() {
    let mut entry = entry(Missed::Skip);
    let start = at("01T00:00");
    entry.plan_next(at("11T03:00"), start);
    let due = Some(at("11T03:00"));
    assert_eq!(
        wished(&mut entry, "11T03:00"),
        Some((due, Trigger::Schedule))
    );
    entry.ended(&unavailable(), known(|_| {}), at("11T03:00"));
    // Long after: neither missed nor skipped, because it was begun in time.
    assert_eq!(entry.plan_next(at("11T20:00"), start), None);
    assert_eq!(wished(&mut entry, "11T20:00"), Some((due, Trigger::Retry)));
    assert!(!entry.stale(at("12T02:59")));
    assert!(entry.stale(at("12T03:00")));
    entry.plan_next(at("12T03:00"), start);
    let next = Some(at("12T03:00"));
    assert_eq!(
        wished(&mut entry, "12T03:00"),
        Some((next, Trigger::Schedule))
    );
    assert!(
        entry.alarm(at("12T03:00")).unwrap() <= at("12T03:00"),
        "no wait is left"
    );
}

#[test]
fn a_skipped_due_time_is_told_once() {
    let mut entry = entry(Missed::Skip);
    let (start, skipped) = (at("01T00:00"), Some(at("11T03:00")));
    assert_eq!(entry.plan_next(at("11T09:00"), start), skipped);
    assert_eq!(entry.plan_next(at("11T10:00"), start), None);
    assert_eq!(wished(&mut entry, "11T10:00"), None);
    assert_eq!(entry.plan_next(at("12T09:00"), start), Some(at("12T03:00")));
}

#[test]
fn a_run_that_makes_up_waits_its_turn_after_an_outage() {
    let mut entry = entry(Missed::Run);
    // Vault came back at nine.
    entry.plan_next(at("11T09:00"), at("11T09:00"));
    let due = entry.due.unwrap();
    assert_eq!(
        (due.instant, due.trigger),
        (at("11T03:00"), due::Trigger::Missed)
    );
    assert!(
        due.at > at("11T09:00") && due.at < at("11T09:01"),
        "spread: {}",
        due.at
    );
}

#[test]
fn a_rotation_that_a_command_began_is_retried_at_its_time_and_not_when_the_next_one_is_due() {
    let (now, retry_at) = (at("11T04:00"), at("11T04:01"));
    let failed = |record: &mut Record| {
        record.health.failure = Some(Failure {
            reason: Reason::Unavailable,
            message: String::new(),
            since: now,
            at: now,
            count: 1,
            retry_at: Some(retry_at),
        });
        record.last_due = Some(at("11T03:00"));
    };
    let mut entry = entry(Missed::Run);
    entry.ended(&RunResult::Done { wake: None }, known(failed), now);
    entry.plan_next(now, now);
    let verdict = RunResult::Failed {
        reason: Reason::Unavailable,
        retry_at: Some(retry_at),
    };
    entry.ended(&verdict, known(failed), now);
    let around = Surroundings {
        able_since: now,
        progress: false,
        instance: "i",
        now,
    };
    let record = entry.record();
    let facts = entry.facts("a", record.as_deref(), &around);
    assert_eq!(facts.next, Some(at("12T03:00")));
    assert_eq!(facts.next_try, Some(retry_at));
}

#[test]
fn p6_a_retry_after_another_run_serves_the_due_time_that_failed() {
    let failed = |record: &mut Record| {
        record.health.failure = Some(Failure {
            reason: Reason::TokenLimitReached,
            message: String::new(),
            since: at("11T03:00"),
            at: at("11T03:00"),
            count: 1,
            retry_at: Some(at("11T03:10")),
        });
    };
    let (start, now) = (at("01T00:00"), at("11T03:05"));
    let mut entry = entry(Missed::Run);
    entry.plan_next(at("11T03:00"), start);
    let verdict = RunResult::Failed {
        reason: Reason::TokenLimitReached,
        retry_at: Some(at("11T03:10")),
    };
    entry.ended(&verdict, known(failed), at("11T03:00"));
    // An old token was deleted meanwhile.
    entry.ended(&RunResult::Done { wake: None }, known(failed), now);
    entry.plan_next(now, start);
    assert_eq!(entry.alarm(now), Some(at("11T03:10")));
    let due = Some(at("11T03:00"));
    assert_eq!(wished(&mut entry, "11T03:10"), Some((due, Trigger::Retry)));
}

#[test]
fn changed_settings_let_a_stuck_secret_try_again_once() {
    let stuck = |record: &mut Record| {
        record.health.failure = Some(Failure {
            reason: Reason::TokenDisabled,
            message: String::new(),
            since: at("11T03:00"),
            at: at("11T03:00"),
            count: 1,
            retry_at: None,
        });
        record.last_due = Some(at("11T03:00"));
    };
    let settled = RunResult::Done { wake: None };
    let mut entry = entry(Missed::Run);
    let now = at("11T04:00");
    // It was not known here: another replica found it stuck.
    entry.change(Arc::new(settings(Missed::Run)), now);
    assert!(entry.known.is_none(), "its document is read");
    assert_eq!(wished(&mut entry, "11T04:00"), None);
    entry.ended(&settled, known(stuck), now);
    assert_eq!(entry.alarm(now), Some(now));
    assert_eq!(wished(&mut entry, "11T04:00"), Some((None, Trigger::Retry)));
    let verdict = RunResult::Failed {
        reason: Reason::TokenDisabled,
        retry_at: None,
    };
    entry.ended(&verdict, known(stuck), now);
    assert_eq!(wished(&mut entry, "11T04:00"), None);
    // One that is not stuck is only looked at.
    entry.change(Arc::new(settings(Missed::Run)), now);
    entry.ended(&settled, known(|_| {}), now);
    assert_eq!(wished(&mut entry, "11T02:00"), None);
}

#[test]
fn a_leaver_is_over_when_its_document_is_closed_or_gone() {
    let mut entry = entry(Missed::Run);
    entry.set_document(known(|record| record.closed_at = Some(at("11T00:00"))).map(Document::from));
    assert!(!entry.is_finished(), "it is configured");
    entry.settings = None;
    assert!(entry.is_finished());
    entry.set_document(known(|_| {}).map(Document::from));
    assert!(!entry.is_finished());
    entry.set_document(None);
    assert!(!entry.is_finished(), "nobody has looked");
    let absent = JournalSnapshot {
        cas: 0,
        record: None,
    };
    entry.set_document(Some(absent.into()));
    assert!(entry.is_finished());
}

#[test]
fn p1_what_a_secret_holds_outlives_a_document_that_is_not_known_for_a_while() {
    let now = at("11T04:00");
    let with = settings(Missed::Run);
    let mut entry = Entry::new(with.plan.clone(), Some(Arc::new(with.clone())));
    assert_eq!(entry.held(), None, "nobody has looked");
    let later = unavailable();
    entry.ended(&later, None, now);
    assert_eq!(entry.held(), None, "a look without an answer tells nothing");
    let current = Current {
        id: TokenId::new("dt0c01.A"),
        name_base: "job".into(),
        scopes: vec![],
        owner: None,
        created: None,
        expires: None,
        version: 1,
        marked: true,
        digest: None,
        traits: Default::default(),
        lifetime: None,
        unproven: false,
        named: false,
        unknown: Default::default(),
    };
    entry.ended(
        &RunResult::Done { wake: None },
        known(|record| record.current = Some(current.clone())),
        now,
    );
    let held = Some(Some(&current.id));
    entry.ended(&later, None, now);
    assert_eq!(entry.held(), held, "its document could not be read");
    entry.change(Arc::new(with.clone()), now);
    assert_eq!(entry.held(), held, "its settings changed");
    let mut moved = with;
    Arc::make_mut(&mut moved.plan).coordinates.path = "elsewhere".into();
    entry.change(Arc::new(moved), now);
    assert_eq!(entry.held(), None, "another place holds another token");
}

#[test]
fn what_passed_while_a_secret_was_switched_off_is_not_made_up_for() {
    let mut off = settings(Missed::Run);
    off.enabled = false;
    let mut entry = Entry::new(off.plan.clone(), Some(Arc::new(off)));
    let settled = RunResult::Done { wake: None };
    entry.ended(&settled, known(|_| {}), at("11T02:00"));
    entry.change(Arc::new(settings(Missed::Run)), at("11T04:00"));
    entry.ended(&settled, known(|_| {}), at("11T04:00"));
    entry.plan_next(at("11T04:01"), at("10T00:00"));
    assert_eq!(entry.due.map(|due| due.instant), Some(at("12T03:00")));
}

#[test]
fn settings_that_change_under_a_run_are_tried_after_it() {
    let stuck = |record: &mut Record| {
        record.health.failure = Some(Failure {
            reason: Reason::TokenDisabled,
            message: String::new(),
            since: at("11T04:02"),
            at: at("11T04:02"),
            count: 1,
            retry_at: None,
        });
    };
    let verdict = RunResult::Failed {
        reason: Reason::TokenDisabled,
        retry_at: None,
    };
    for (began, again) in [("11T04:00", true), ("11T04:01", false)] {
        let mut entry = entry(Missed::Run);
        entry.started = Some(at(began));
        entry.change(Arc::new(settings(Missed::Run)), at("11T04:01"));
        entry.ended(&verdict, known(stuck), at("11T04:03"));
        let tried = wished(&mut entry, "11T02:00").is_some();
        assert_eq!(tried, again, "it began at {began}");
    }
}

#[test]
fn k15_a_run_that_waited_serves_every_due_time_that_passed_meanwhile() {
    let mut entry = entry(Missed::Run);
    entry.plan_next(at("10T12:00"), at("10T00:00"));
    let wish = entry
        .wish(at("14T04:00"))
        .expect("it is due since the 11th");
    assert_eq!(wish.due, Some(at("14T03:00")));
    assert_eq!(wish.trigger, Trigger::Schedule);
}

#[test]
fn p3_a_secret_that_never_got_a_record_holds_the_token_whose_value_it_has() {
    let (now, id) = (at("10T12:00"), TokenId::new("dt0c01.A"));
    let done = RunResult::Done { wake: None };
    let mut entry = entry(Missed::Run);
    assert_eq!(entry.held(), Some(None));
    entry.note_unrecorded(Ok(Some(id.clone())), now);
    assert_eq!(entry.held(), Some(Some(&id)));
    // The document is read again, and knows no more than before; what is current for `status` stays.
    entry.ended(&done, known(|_| {}), now);
    assert_eq!(entry.held(), Some(Some(&id)));
    assert_eq!(entry.current(), None);
    // Not knowing is not the same as holding nothing, and does not last.
    let error = CallError::new(Service::Vault, ErrorKind::Transient, "sealed");
    entry.note_unrecorded(Err(error), now);
    assert_eq!(entry.held(), None);
    assert!(entry.wake.is_some_and(|wake| wake > now));
    entry.ended(&done, known(|_| {}), now);
    entry.note_unrecorded(Ok(None), now);
    assert_eq!(entry.held(), Some(None));
}
