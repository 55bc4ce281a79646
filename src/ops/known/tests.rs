//! What is known of a secret, and the conditions and the state that follow from it.

use rotation::marker::Epoch;
use rotation::plan::{Kind, Place};
use rotation::record::{
    Current, EntryFailure, EntryReason, Failure, Invalid, Origin, RetiringState, Revocation,
    Revoked,
};
use rotation::token::TokenId;
use serde_json::Map;

use super::super::condition::Severity;
use super::super::secret::Secret;
use super::*;

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + minute * 60).unwrap()
}

fn coordinates() -> Coordinates {
    Place {
        mount: "secret".into(),
        fields: vec!["token".into()],
        environment: "prod".into(),
        base_url: "https://e".into(),
        kind: Kind::Api,
    }
    .at("a")
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
        traits: Default::default(),
        lifetime: None,
        unproven: false,
        named: false,
        unknown: Map::new(),
    });
    record
}

fn retiring(due: Timestamp) -> Retiring {
    Retiring {
        id: TokenId::new("dt0c01.OLD"),
        state: RetiringState::Grace,
        base: 1,
        undone: false,
        revoked: None,
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
        backstop: None,
        named: false,
        failure: None,
        unknown: Map::new(),
    }
}

fn failing(since: Timestamp, kind: ErrorKind) -> Failing {
    Failing {
        since,
        attempts: 7,
        error: CallError::new(Service::Vault, kind, "500 on reading secret/a"),
    }
}

/// A healthy secret, at minute 0.
fn known(record: &Record) -> Known<'_> {
    Known {
        read: true,
        record: Some(record),
        next: Some(at(60)),
        now: at(0),
        ..Known::nothing(&record.name, &record.coordinates, "i")
    }
}

fn evaluate(known: &Known<'_>) -> (Vec<Condition>, Secret) {
    let conditions = known.conditions();
    let secret = Secret::of(known, known.state(&conditions));
    (conditions, secret)
}

fn kinds(conditions: &[Condition]) -> Vec<&str> {
    conditions.iter().map(|one| one.kind.as_str()).collect()
}

#[test]
fn a_healthy_secret_has_no_condition() {
    let (conditions, secret) = evaluate(&known(&record()));
    assert_eq!(conditions, []);
    assert_eq!((secret.state, secret.next), (State::Healthy, Some(at(60))));
}

#[test]
fn p10_a_rotation_that_is_not_done_is_reported_after_five_minutes_whatever_the_cause() {
    let record = record();
    for (minutes, state) in [(-4, State::Healthy), (-5, State::Overdue)] {
        let (conditions, secret) = evaluate(&Known {
            unserved_since: Some(at(minutes)),
            ..known(&record)
        });
        assert_eq!(secret.state, state, "{conditions:?}");
    }
    let (conditions, _) = evaluate(&Known {
        unserved_since: Some(at(-6)),
        failing: Some(&failing(at(-2), ErrorKind::RateLimited)),
        next_try: Some(at(1)),
        ..known(&record)
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
    let record = record();
    for (minutes, count) in [(-59, 0), (-60, 1)] {
        let (conditions, _) = evaluate(&Known {
            unserved_since: Some(at(minutes)),
            progress: true,
            ..known(&record)
        });
        assert_eq!(conditions.len(), count, "{minutes}");
    }
}

#[test]
fn an_outage_is_one_condition_of_the_service_and_its_secrets_wait() {
    let mut late = record();
    late.retiring = vec![retiring(at(-50))];
    // The outage began at minute -102.
    let (conditions, mut secret) = evaluate(&Known {
        unserved_since: Some(at(-100)),
        failing: Some(&failing(at(-100), ErrorKind::Transient)),
        next: Some(at(-100)),
        now: at(-102),
        ..known(&late)
    });
    assert_eq!(conditions, []);
    secret.wait_for("Vault since then: sealed", at(0));
    assert_eq!((secret.state, secret.next), (State::Waiting, None));
    assert_eq!(secret.because, "waiting for Vault since then: sealed");
}

#[test]
fn p10_what_was_overdue_before_an_outage_stays_open_in_it() {
    let record = record();
    let (conditions, _) = evaluate(&Known {
        unserved_since: Some(at(-100)),
        now: at(-10),
        ..known(&record)
    });
    assert_eq!(kinds(&conditions), ["rotation_overdue"]);
}

#[test]
fn what_is_worse_than_an_outage_or_not_concerned_stays_in_front_of_it() {
    let mut invalid = record();
    invalid.health.invalid = Some(Invalid {
        since: at(-1),
        message: "it is dead".into(),
        by_hand: false,
    });
    let (_, mut secret) = evaluate(&known(&invalid));
    secret.wait_for("Vault", at(0));
    assert_eq!(secret.state, State::CurrentInvalid);
    // The next due time finds the same: one condition, and the worse one.
    let mut failed = record();
    failed.health.failure = Some(Failure {
        reason: Reason::TokenDisabled,
        message: "a person disabled it".into(),
        at: at(0),
        since: at(0),
        count: 1,
        retry_at: None,
    });
    invalid.health.failure = failed.health.failure.clone();
    let (conditions, secret) = evaluate(&known(&invalid));
    assert_eq!(kinds(&conditions), ["current_invalid"]);
    assert_eq!(secret.state, State::CurrentInvalid);
    // Found by a rotation, it is as dead.
    let (conditions, secret) = evaluate(&known(&failed));
    assert_eq!(kinds(&conditions), ["rotation_stuck"]);
    assert_eq!(secret.state, State::CurrentInvalid);
    let record = record();
    let (_, mut off) = evaluate(&Known {
        enabled: false,
        ..known(&record)
    });
    off.wait_for("Vault", at(0));
    assert_eq!(off.state, State::SwitchedOff);
}

#[test]
fn p10_a_secret_that_cannot_be_worked_on_is_reported_although_nothing_is_due() {
    let record = record();
    for (minutes, expected) in [(-4, vec![]), (-5, vec!["secret_failing"])] {
        let (conditions, secret) = evaluate(&Known {
            failing: Some(&failing(at(minutes), ErrorKind::Transient)),
            ..known(&record)
        });
        assert_eq!(kinds(&conditions), expected);
        assert_eq!(secret.state, State::Retrying);
    }
    let (conditions, secret) = evaluate(&Known {
        failing: Some(&failing(at(0), ErrorKind::Refused)),
        unserved_since: Some(at(-60)),
        ..known(&record)
    });
    assert_eq!(kinds(&conditions), ["rotation_stuck"]);
    assert_eq!(conditions[0].reason.as_deref(), Some("vault_refused"));
    assert_eq!(secret.state, State::Stuck);
}

#[test]
fn p10_a_retirement_that_is_not_done_is_reported_after_five_minutes() {
    let mut late = record();
    late.retiring = vec![retiring(at(-4))];
    assert_eq!(evaluate(&known(&late)).0, []);
    late.retiring = vec![retiring(at(-5))];
    let (conditions, _) = evaluate(&known(&late));
    assert_eq!(kinds(&conditions), ["retirement_blocked"]);
    assert_eq!(conditions[0].reason.as_deref(), Some("overdue"));
    assert_eq!(conditions[0].subject.as_deref(), Some("dt0c01.OLD"));
    let off = Known {
        enabled: false,
        ..known(&late)
    };
    assert_eq!(evaluate(&off).0, []);
    let removed = Known {
        configured: false,
        ..known(&late)
    };
    assert_eq!(evaluate(&removed).0.len(), 1);
    // Retried again and again: since the first failure, although the next try lies ahead.
    late.retiring[0].due = at(10);
    late.retiring[0].failure = Some(EntryFailure {
        reason: EntryReason::Unavailable,
        message: "503".into(),
        since: at(-30),
        attempts: 4,
    });
    let (conditions, _) = evaluate(&known(&late));
    assert_eq!(conditions[0].reason.as_deref(), Some("overdue"));
    assert_eq!(conditions[0].next_try, Some(at(10)));
    // Another secret holds it as well: that is a warning, for as long as it lasts.
    late.retiring[0].failure.as_mut().unwrap().reason = EntryReason::Shared;
    let (conditions, _) = evaluate(&known(&late));
    assert_eq!(kinds(&conditions), ["retirement_held"]);
    assert_eq!(conditions[0].severity, Severity::Warning);
    assert_eq!(conditions[0].reason.as_deref(), Some("shared"));
    assert_eq!(conditions[0].since, at(-30));
    // Vault was restored from a backup: nothing is retired for a while.
    late.retiring[0] = retiring(at(-30));
    late.health.hold_until = Some(at(5));
    assert_eq!(evaluate(&known(&late)).0, []);
}

#[test]
fn p8_of_a_secret_that_is_switched_off_only_a_revoked_token_that_is_alive_is_overdue() {
    for (state, expected) in [
        (RetiringState::Grace, &["retirement_blocked"][..]),
        (RetiringState::Quarantine, &[]),
    ] {
        let mut late = record();
        late.retiring = vec![retiring(at(-10))];
        late.retiring[0].state = state;
        late.retiring[0].revoked = Some(Revoked {
            at: at(-20),
            by: "alice".into(),
        });
        let off = Known {
            enabled: false,
            ..known(&late)
        };
        assert_eq!(kinds(&evaluate(&off).0), expected);
    }
}

#[test]
fn what_became_due_while_nothing_could_be_done_is_not_overdue_at_once() {
    let mut late = record();
    late.retiring = vec![retiring(at(-600))];
    for (minutes, count) in [(-4, 0), (-5, 1)] {
        // The process was started so long ago.
        let (conditions, _) = evaluate(&Known {
            able_since: at(minutes),
            ..known(&late)
        });
        assert_eq!(conditions.len(), count, "{minutes}");
    }
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
    let (conditions, secret) = evaluate(&known(&failed));
    assert_eq!(kinds(&conditions), ["rotation_failed"]);
    assert!(!conditions[0].needs_human());
    assert_eq!((secret.state, secret.next), (State::Retrying, Some(at(1))));
    failed.health.failure.as_mut().unwrap().retry_at = None;
    let (conditions, secret) = evaluate(&known(&failed));
    assert!(conditions[0].needs_human() && secret.state == State::Stuck);
}

#[test]
fn a_secret_that_was_not_read_yet_is_unknown_and_one_without_a_document_never_seen() {
    let coordinates = coordinates();
    let unknown = Known::nothing("a", &coordinates, "i");
    assert_eq!(evaluate(&unknown).1.state, State::Unknown);
    let without = Known {
        read: true,
        ..unknown
    };
    assert_eq!(evaluate(&without).1.state, State::NeverSeen);
}

#[test]
fn a_condition_that_time_alone_opens_is_looked_for_in_time() {
    let mut late = record();
    late.retiring = vec![retiring(at(20))];
    let due = Known {
        unserved_since: Some(at(0)),
        ..known(&late)
    };
    assert_eq!(due.next_evaluation(), Some(at(5)));
    assert_eq!(known(&late).next_evaluation(), Some(at(25)));
    late.retiring.clear();
    assert_eq!(known(&late).next_evaluation(), Some(at(65)));
}

#[test]
fn p4_a_former_value_that_is_put_back_twice_within_seven_days_is_reported_until_the_first_is_older()
{
    let revert = |version, minute| rotation::record::Revert {
        id: TokenId::new("dt0c01.OLD"),
        version,
        at: at(minute),
    };
    let week = 7 * 24 * 60;
    let mut record = record();
    record.health.reverts = vec![revert(3, -100)];
    assert_eq!(evaluate(&known(&record)).0, []);
    record.health.reverts.push(revert(5, -10));
    let (conditions, secret) = evaluate(&known(&record));
    assert_eq!(kinds(&conditions), ["value_reverted"]);
    assert_eq!(secret.state, State::Healthy);
    let message = &conditions[0].message;
    assert!(
        message.contains("version 3") && message.contains("version 5"),
        "{message}"
    );
    let later = Known {
        now: at(week - 100),
        next: None,
        ..known(&record)
    };
    assert_eq!(later.conditions(), []);
    let before = Known {
        next: None,
        ..known(&record)
    };
    assert_eq!(before.next_evaluation(), Some(at(week - 100)));
    record.health.reverts[0].at = at(-week - 11);
    assert_eq!(known(&record).conditions(), []);
}

#[test]
fn p8_a_revocation_that_is_not_carried_out_is_an_error_after_a_minute() {
    let mut record = record();
    record.revoking = Some(Revocation {
        token: TokenId::new("dt0c01.CURRENT"),
        at: at(-2),
        by: "alice".into(),
        delete: false,
        without_replacement: false,
        unknown: Map::new(),
    });
    record.health.failure = Some(Failure {
        reason: Reason::Unavailable,
        message: "503".into(),
        since: at(-2),
        count: 3,
        retry_at: Some(at(1)),
        at: at(-2),
    });
    let now = Known {
        now: at(-2),
        ..known(&record)
    };
    assert_eq!(kinds(&now.conditions()), ["rotation_failed"]);
    assert_eq!(now.next_evaluation(), Some(at(-1)));
    let (conditions, _) = evaluate(&known(&record));
    assert_eq!(
        kinds(&conditions),
        ["rotation_failed", "retirement_blocked"]
    );
    let waits = &conditions[1];
    assert_eq!((waits.severity, waits.since), (Severity::Error, at(-2)));
    assert_eq!(waits.reason.as_deref(), Some("revocation"));
    assert_eq!(waits.subject.as_deref(), Some("dt0c01.CURRENT"));
    for part in ["alice", "503", "--without-replacement"] {
        assert!(waits.message.contains(part), "{}", waits.message);
    }
}

#[test]
fn a_token_that_is_cut_off_is_no_longer_held_and_may_be_brought_back_until_its_quarantine_ends() {
    let mut record = record();
    record.retiring = vec![retiring(at(0))];
    record.retiring[0].usage.held_since = Some(at(-10));
    assert_eq!(kinds(&known(&record).conditions()), ["retirement_held"]);
    record.retiring[0].usage.cut_off_at = Some(at(0));
    record.retiring[0].state = RetiringState::Disabling;
    let (conditions, secret) = evaluate(&known(&record));
    assert_eq!(kinds(&conditions), ["consumer_cut_off"]);
    let message = &conditions[0].message;
    assert!(
        message.contains("is being disabled") && message.contains("until its quarantine is over"),
        "{message}"
    );
    assert!(!message.contains(&format!("{:.0}", at(0))), "{message}");
    assert!(!secret.is_held());
    record.retiring[0].state = RetiringState::Quarantine;
    record.retiring[0].due = at(60);
    let conditions = known(&record).conditions();
    let message = &conditions[0].message;
    let until = format!(
        "was disabled although it was still in use (last from an unknown address); `dtrotate undo a` brings it back until {:.0}",
        at(60)
    );
    assert!(message.contains(&until), "{message}");
}

#[test]
fn the_advice_about_a_dead_value_and_about_a_refusal_follows_the_cause() {
    let mut record = record();
    for (by_hand, advice) in [
        (false, "`dtrotate rotate a` creates a new token"),
        (true, "enable the token in Dynatrace"),
    ] {
        record.health.invalid = Some(Invalid {
            since: at(-1),
            message: "it is dead".into(),
            by_hand,
        });
        let conditions = known(&record).conditions();
        let text = &conditions[0].what_to_do;
        assert!(text.contains(advice), "{text}");
        assert_eq!(text.contains("creates a new token"), !by_hand, "{text}");
    }
    record.health.invalid = None;
    let conditions = Known {
        failing: Some(&failing(at(-1), ErrorKind::Refused)),
        next_try: Some(at(1)),
        ..known(&record)
    }
    .conditions();
    assert_eq!(kinds(&conditions), ["rotation_stuck"]);
    assert_eq!(conditions[0].next_try, Some(at(1)));
    let text = &conditions[0].what_to_do;
    assert!(
        text.contains("retried automatically") && !text.contains("next due time"),
        "{text}"
    );
}

#[test]
fn nothing_that_follows_from_a_document_that_cannot_be_used_is_shown_as_known() {
    let unusable = Unusable {
        event: EventName::JournalImplausible,
        why: "it is of the year 9999".to_owned(),
        since: at(-1),
    };
    let (_, secret) = evaluate(&Known {
        unusable: Some(&unusable),
        next: Some(Timestamp::MAX),
        ..known(&record())
    });
    assert_eq!(secret.next, None);
}
