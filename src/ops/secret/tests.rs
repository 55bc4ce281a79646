//! What is known of a secret, and the conditions and the state that follow from it.

use rotation::marker::Epoch;
use rotation::plan::Kind;
use rotation::record::{Current, EntryFailure, EntryReason, Failure, Invalid, Origin};
use serde_json::Map;

use super::*;

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + minute * 60).unwrap()
}

fn coordinates() -> Coordinates {
    Coordinates {
        mount: "secret".into(),
        path: "a".into(),
        fields: vec!["token".into()],
        environment: "prod".into(),
        base_url: "https://e".into(),
        kind: Kind::Api,
    }
}

fn record() -> Record {
    let epoch = Epoch {
        installation: "i".into(),
        secret: "s".into(),
    };
    let mut record = Record::blank("a", epoch, coordinates(), at(-1000));
    record.current = Some(Current {
        id: TokenId::new("dt0c01.CURRENT"),
        name_base: "a".into(),
        scopes: vec![],
        owner: None,
        created: None,
        expires: None,
        version: 1,
        marked: true,
        digest: None,
        unknown: Map::new(),
    });
    record
}

fn retiring(due: Timestamp) -> Entry {
    Entry {
        id: TokenId::new("dt0c01.OLD"),
        state: RetiringState::Grace,
        base: 1,
        undone: false,
        clean_through: 1,
        since: at(-60),
        due,
        disable_unconfirmed_since: None,
        origin: Origin::Marker,
        digest: None,
        base_url: "https://e".into(),
        usage: Default::default(),
        outage_counted_until: None,
        missed: None,
        failure: None,
        unknown: Map::new(),
    }
}

fn failing(since: Timestamp, kind: ErrorKind) -> Failing {
    Failing {
        since,
        attempts: 7,
        error: CallError::new(Called::Vault, kind, "500 on reading secret/a"),
    }
}

/// Judges what `change` made of a healthy secret, at minute 0.
fn judge(record: &Record, change: impl for<'a> FnOnce(&mut Known<'a>)) -> (Vec<Condition>, Secret) {
    let coordinates = coordinates();
    let mut known = Known {
        name: "a",
        coordinates: &coordinates,
        configured: true,
        enabled: true,
        read: true,
        record: Some(record),
        unusable: None,
        failing: None,
        unserved_since: None,
        progress: false,
        waiting: false,
        next: Some(at(60)),
        next_try: None,
        because: "next by schedule",
        instance: "i",
        now: at(0),
    };
    change(&mut known);
    let conditions = known.conditions();
    let secret = Secret::of(&known, &conditions);
    (conditions, secret)
}

fn kinds(conditions: &[Condition]) -> Vec<&str> {
    conditions.iter().map(|one| one.kind.as_str()).collect()
}

#[test]
fn a_healthy_secret_has_no_condition() {
    let (conditions, secret) = judge(&record(), |_| {});
    assert_eq!(conditions, []);
    assert_eq!((secret.state, secret.next), (State::Healthy, Some(at(60))));
}

#[test]
fn p10_a_rotation_that_is_not_done_is_reported_after_five_minutes_whatever_the_cause() {
    for (minutes, state) in [(-4, State::Healthy), (-5, State::Overdue)] {
        let (conditions, secret) = judge(&record(), |known| {
            known.unserved_since = Some(at(minutes));
        });
        assert_eq!(secret.state, state, "{conditions:?}");
    }
    let fails = failing(at(-2), ErrorKind::RateLimited);
    let (conditions, _) = judge(&record(), |known| {
        known.unserved_since = Some(at(-6));
        known.failing = Some(Box::leak(Box::new(fails)));
        known.next_try = Some(at(1));
    });
    assert_eq!(kinds(&conditions), ["rotation_overdue"]);
    let overdue = &conditions[0];
    assert_eq!((overdue.attempts, overdue.next_try), (Some(7), Some(at(1))));
    assert_eq!(overdue.since, at(-6));
    assert!(
        overdue.message.contains("500 on reading secret/a"),
        "{overdue:?}"
    );
}

#[test]
fn p10_a_rotation_in_a_queue_that_makes_progress_is_reported_after_an_hour() {
    for (minutes, count) in [(-59, 0), (-60, 1)] {
        let (conditions, _) = judge(&record(), |known| {
            known.unserved_since = Some(at(minutes));
            known.progress = true;
        });
        assert_eq!(conditions.len(), count, "{minutes}");
    }
}

#[test]
fn an_outage_is_one_condition_of_the_service_and_its_secrets_wait() {
    let fails = failing(at(-100), ErrorKind::Transient);
    let (conditions, mut secret) = judge(&record(), |known| {
        known.unserved_since = Some(at(-100));
        known.failing = Some(Box::leak(Box::new(fails)));
        known.next = Some(at(-100));
        known.waiting = true;
    });
    assert_eq!(conditions, []);
    secret.wait_for("Vault since then: sealed", at(0));
    assert_eq!((secret.state, secret.next), (State::Waiting, None));
    assert_eq!(secret.because, "waiting for Vault since then: sealed");
}

#[test]
fn what_is_worse_than_an_outage_or_not_concerned_stays_in_front_of_it() {
    let mut invalid = record();
    invalid.health.invalid = Some(Invalid {
        since: at(-1),
        message: "it is dead".into(),
    });
    let (_, mut secret) = judge(&invalid, |_| {});
    secret.wait_for("Vault", at(0));
    assert_eq!(secret.state, State::CurrentInvalid);
    let (_, mut off) = judge(&record(), |known| known.enabled = false);
    off.wait_for("Vault", at(0));
    assert_eq!(off.state, State::SwitchedOff);
}

#[test]
fn p10_a_secret_that_cannot_be_worked_on_is_reported_although_nothing_is_due() {
    for (minutes, expected) in [(-4, vec![]), (-5, vec!["secret_failing"])] {
        let fails = failing(at(minutes), ErrorKind::Transient);
        let (conditions, secret) = judge(&record(), |known| {
            known.failing = Some(Box::leak(Box::new(fails)));
        });
        assert_eq!(kinds(&conditions), expected);
        assert_eq!(secret.state, State::Retrying);
    }
    let refused = failing(at(0), ErrorKind::Refused);
    let (conditions, secret) = judge(&record(), |known| {
        known.failing = Some(Box::leak(Box::new(refused)));
        known.unserved_since = Some(at(-60));
    });
    assert_eq!(kinds(&conditions), ["rotation_stuck"]);
    assert_eq!(conditions[0].reason.as_deref(), Some("vault_refused"));
    assert_eq!(secret.state, State::Stuck);
}

#[test]
fn p10_a_retirement_that_is_not_done_is_reported_after_five_minutes() {
    let mut late = record();
    late.retiring = vec![retiring(at(-4))];
    assert_eq!(judge(&late, |_| {}).0, []);
    late.retiring = vec![retiring(at(-5))];
    let (conditions, _) = judge(&late, |_| {});
    assert_eq!(kinds(&conditions), ["retirement_blocked"]);
    assert_eq!(conditions[0].reason.as_deref(), Some("overdue"));
    assert_eq!(conditions[0].subject.as_deref(), Some("dt0c01.OLD"));
    for change in [
        (|known| known.enabled = false) as fn(&mut Known<'_>),
        |known| known.waiting = true,
    ] {
        assert_eq!(judge(&late, change).0, []);
    }
    assert_eq!(judge(&late, |known| known.configured = false).0.len(), 1);
    // Retried again and again: since the first failure, although the next try lies ahead.
    late.retiring[0].due = at(10);
    late.retiring[0].failure = Some(EntryFailure {
        reason: EntryReason::Unavailable,
        message: "503".into(),
        since: at(-30),
        attempts: 4,
    });
    let (conditions, _) = judge(&late, |_| {});
    assert_eq!(conditions[0].reason.as_deref(), Some("overdue"));
    assert_eq!(conditions[0].next_try, Some(at(10)));
    // Vault was restored from a backup: nothing is retired for a while.
    late.retiring[0] = retiring(at(-30));
    late.health.hold_until = Some(at(5));
    assert_eq!(judge(&late, |_| {}).0, []);
}

#[test]
fn p8_a_failure_that_is_retried_is_a_warning_and_a_stuck_one_an_error() {
    let mut failed = record();
    failed.health.failure = Some(Failure {
        reason: Reason::Unavailable,
        message: "503".into(),
        since: at(-3),
        at: at(-1),
        count: 2,
        retry_at: Some(at(1)),
    });
    let (conditions, secret) = judge(&failed, |_| {});
    assert_eq!(kinds(&conditions), ["rotation_failed"]);
    assert!(!conditions[0].needs_human());
    assert_eq!((secret.state, secret.next), (State::Retrying, Some(at(1))));
    failed.health.failure.as_mut().unwrap().retry_at = None;
    let (conditions, secret) = judge(&failed, |_| {});
    assert!(conditions[0].needs_human() && secret.state == State::Stuck);
}

#[test]
fn a_secret_that_was_not_read_yet_is_unknown_and_one_without_a_document_never_seen() {
    let (_, secret) = judge(&record(), |known| {
        (known.read, known.record) = (false, None);
    });
    assert_eq!(secret.state, State::Unknown);
    let (_, secret) = judge(&record(), |known| known.record = None);
    assert_eq!(secret.state, State::NeverSeen);
}

#[test]
fn a_condition_that_time_alone_opens_is_looked_for_in_time() {
    let mut late = record();
    late.retiring = vec![retiring(at(20))];
    let coordinates = coordinates();
    let known = Known {
        name: "a",
        coordinates: &coordinates,
        configured: true,
        enabled: true,
        read: true,
        record: Some(&late),
        unusable: None,
        failing: None,
        unserved_since: Some(at(0)),
        progress: false,
        waiting: false,
        next: None,
        next_try: None,
        because: "",
        instance: "i",
        now: at(0),
    };
    assert_eq!(known.judged_again_at(), Some(at(5)));
    let idle = Known {
        unserved_since: None,
        ..known
    };
    assert_eq!(idle.judged_again_at(), Some(at(25)));
}
