//! One secret as the outside sees it, and its open conditions: both are pure functions of what is known of it.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use rotation::error::{CallError, ErrorKind, Service as Called};
use rotation::event::EventName;
use rotation::plan::Coordinates;
use rotation::record::{Reason, Record, RetiringState};
use rotation::retiring::{Problem, Retiring as Entry};
use rotation::token::TokenId;

use super::condition::Condition;

/// A rotation, a retirement or a reading that is not done this long after it was due is reported.
pub const PATIENCE: SignedDuration = SignedDuration::from_mins(5);
/// The same while other work of the environment makes progress.
pub const QUEUE_PATIENCE: SignedDuration = SignedDuration::from_hours(1);

/// One secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Secret {
    /// Its name.
    pub name: String,
    /// Its environment.
    pub environment: String,
    /// Where its value is: `MOUNT/PATH#FIELD,FIELD`.
    pub place: String,
    /// How it is.
    pub state: State,
    /// The token that is the current value.
    pub current: Option<Token>,
    /// When the last rotation succeeded.
    pub last_success: Option<Timestamp>,
    /// When it is rotated next.
    pub next: Option<Timestamp>,
    /// Why then, or why never.
    pub because: String,
    /// Former tokens on their way out.
    pub retiring: Vec<Retiring>,
    /// The failure that lasts.
    pub failure: Option<Failure>,
    /// What is wrong with the current value, if it does not work at Dynatrace.
    pub invalid: Option<Invalid>,
    /// Another process that works on it now.
    pub holder: Option<String>,
}

/// How a secret is: of those that apply the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The value in Vault does not work at Dynatrace: consumers are locked out.
    CurrentInvalid,
    /// Its journal document cannot be read.
    Unreadable,
    /// It cannot be rotated without a human.
    Stuck,
    /// It left the configuration; what it left is retired.
    Removed,
    /// `enabled = false`.
    SwitchedOff,
    /// Vault or its environment is unavailable, or the clocks disagree.
    Waiting,
    /// It should have been rotated by now.
    Overdue,
    /// The last try failed; it is retried automatically.
    Retrying,
    /// Its document was not read since the start.
    Unknown,
    /// There is no journal document of it yet.
    NeverSeen,
    /// It rotates by its schedule.
    Healthy,
}

impl State {
    /// All of them, the worst first.
    pub const ALL: [State; 11] = [
        State::CurrentInvalid,
        State::Unreadable,
        State::Stuck,
        State::Removed,
        State::SwitchedOff,
        State::Waiting,
        State::Overdue,
        State::Retrying,
        State::Unknown,
        State::NeverSeen,
        State::Healthy,
    ];

    /// For machines.
    pub fn as_str(self) -> &'static str {
        match self {
            State::CurrentInvalid => "current_invalid",
            State::Unreadable => "unreadable",
            State::Stuck => "stuck",
            State::Removed => "removed",
            State::SwitchedOff => "switched_off",
            State::Waiting => "waiting",
            State::Overdue => "overdue",
            State::Retrying => "retrying",
            State::Unknown => "unknown",
            State::NeverSeen => "never_seen",
            State::Healthy => "healthy",
        }
    }

    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            State::CurrentInvalid => "invalid",
            State::SwitchedOff => "switched off",
            State::NeverSeen => "never seen",
            other => other.as_str(),
        }
    }

    /// How serious it is, for colours.
    pub fn mood(self) -> Mood {
        match self {
            State::CurrentInvalid | State::Unreadable | State::Stuck | State::Overdue => Mood::Bad,
            State::Waiting | State::Retrying | State::Unknown | State::NeverSeen => Mood::Uneasy,
            State::Healthy => Mood::Good,
            State::Removed | State::SwitchedOff => Mood::Off,
        }
    }
}

/// How serious a state is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// A human is needed.
    Bad,
    /// Nothing is wrong yet.
    Uneasy,
    /// All is well.
    Good,
    /// Nothing is done for it.
    Off,
}

/// The token that is the current value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Token {
    /// Its id.
    pub id: TokenId,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// When it expires; none = never.
    pub expires: Option<Timestamp>,
}

/// A former token on its way out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retiring {
    /// Its id.
    pub id: TokenId,
    /// How far it is.
    pub state: RetiringState,
    /// When the next step is due.
    pub due: Timestamp,
    /// It is still used, so its grace is extended since then.
    pub held_since: Option<Timestamp>,
    /// Who still uses it.
    pub used_from: Option<String>,
    /// What a person must do about it.
    #[serde(default)]
    pub problems: Vec<Problem>,
}

impl Retiring {
    /// The retiring tokens of a secret.
    pub fn all(record: &Record) -> Vec<Retiring> {
        let entries = record.retiring.iter().map(|entry| Retiring {
            id: entry.id.clone(),
            state: entry.state.clone(),
            due: entry.due,
            held_since: entry.usage.held_since,
            used_from: entry.usage.used_from.clone(),
            problems: entry.problems(&record.name),
        });
        entries.collect()
    }

    /// What is next, for people: `disabled`, `deleted`.
    pub fn next_step(&self) -> &'static str {
        next_step(&self.state)
    }
}

/// When the next step of a retirement is due; after Vault was restored from a backup no step is, for a while.
fn due(record: &Record, entry: &Entry) -> Timestamp {
    entry.due.max(record.health.hold_until.unwrap_or(entry.due))
}

fn next_step(state: &RetiringState) -> &'static str {
    match state {
        RetiringState::Grace | RetiringState::Disabling => "disabled",
        RetiringState::Quarantine | RetiringState::Deleting => "deleted",
        RetiringState::Newer(_) => "retired further",
    }
}

/// A failure that lasts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// The stable code: its page in the runbook.
    pub reason: String,
    /// What happened and what to do.
    pub message: String,
    /// Since when.
    pub since: Timestamp,
    /// How many times in a row.
    pub count: u32,
    /// When it is retried automatically; none = stuck.
    pub retry_at: Option<Timestamp>,
}

/// The current value does not work at Dynatrace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Invalid {
    /// What is wrong and what to do.
    pub message: String,
    /// Since when that is known.
    pub since: Timestamp,
}

/// Why a document cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// `journal_unreadable` or `journal_implausible`.
    pub event: EventName,
    /// The sentence.
    pub why: String,
    /// Since when.
    pub since: Timestamp,
}

/// Runs that fail without being able to record that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// Since when.
    pub since: Timestamp,
    /// How many in a row.
    pub attempts: u32,
    /// The last error.
    pub error: CallError,
}

impl Failing {
    /// A person must change something.
    fn is_refused(&self) -> bool {
        self.error.kind == ErrorKind::Refused
    }
}

/// What is known of one secret.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// Its name.
    pub name: &'a str,
    /// Where it is.
    pub coordinates: &'a Coordinates,
    /// It is in the configuration.
    pub configured: bool,
    /// It is switched on there.
    pub enabled: bool,
    /// Its document was read, or it is known that there is none.
    pub read: bool,
    /// Its journal document.
    pub record: Option<&'a Record>,
    /// Why its document cannot be used.
    pub unusable: Option<&'a Unusable>,
    /// Its runs fail.
    pub failing: Option<&'a Failing>,
    /// The rotation that is due and not done is so since then; jitter, outages and what is skipped do not count.
    pub unserved_since: Option<Timestamp>,
    /// Other work of its environment makes progress.
    pub progress: bool,
    /// Vault or its environment is unavailable, or the clocks disagree: nothing can be expected of it.
    pub waiting: bool,
    /// When it is rotated next.
    pub next: Option<Timestamp>,
    /// No run before this.
    pub next_try: Option<Timestamp>,
    /// Why then, or why never.
    pub because: &'a str,
    /// Who asks: its own claims are not worth a word.
    pub instance: &'a str,
    /// The time.
    pub now: Timestamp,
}

impl Known<'_> {
    /// What is open about it.
    pub fn conditions(&self) -> Vec<Condition> {
        let mut all = vec![];
        all.extend(self.unusable.map(|unusable| {
            let condition = Condition::new(unusable.event, &unusable.why, unusable.since);
            self.mine(condition)
        }));
        all.extend(self.runs_fail());
        let Some(record) = self.record.filter(|record| record.closed_at.is_none()) else {
            return all;
        };
        all.extend(self.value_invalid(record));
        all.extend(self.rotation_fails(record));
        all.extend(self.overdue(record));
        self.retirements(record, &mut all);
        all
    }

    fn mine(&self, condition: Condition) -> Condition {
        condition.secret(self.name, &self.coordinates.environment)
    }

    /// A refusal is reported at once; anything else when it has lasted.
    fn runs_fail(&self) -> Option<Condition> {
        let failing = self.failing?;
        let error = &failing.error;
        let condition = if failing.is_refused() {
            let reason = match error.service {
                Called::Vault => Reason::VaultRefused,
                Called::Dynatrace => Reason::DynatraceRefused,
            };
            Condition::new(EventName::RotationStuck, &error.what, failing.since)
                .reason(reason.as_str())
        } else if self.waiting || failing.since.duration_until(self.now) < PATIENCE {
            return None;
        } else {
            let message = format!(
                "this secret could not be worked on since {:.0}: {}",
                failing.since, error.what
            );
            Condition::new(EventName::SecretFailing, message, failing.since)
        };
        let condition = condition.tried(failing.attempts, &error.what, self.next_try);
        Some(self.mine(condition))
    }

    fn value_invalid(&self, record: &Record) -> Option<Condition> {
        let invalid = record.health.invalid.as_ref()?;
        let condition = Condition::new(EventName::CurrentInvalid, &invalid.message, invalid.since);
        Some(self.mine(condition))
    }

    fn rotation_fails(&self, record: &Record) -> Option<Condition> {
        let failure = record.health.failure.as_ref()?;
        let (event, stuck) = match failure.retry_at {
            None => (EventName::RotationStuck, true),
            Some(_) => (EventName::RotationFailed, false),
        };
        let mut condition = Condition::new(event, &failure.message, failure.since)
            .reason(failure.reason.as_str())
            .tried(failure.count, &failure.message, failure.retry_at);
        if !stuck {
            condition = condition.warning();
        }
        Some(self.mine(condition))
    }

    fn overdue(&self, record: &Record) -> Option<Condition> {
        let refused = self.failing.is_some_and(Failing::is_refused);
        let reported = refused || record.stuck().is_some();
        let since = self.unserved_since.filter(|_| !self.waiting && !reported)?;
        let patience = if self.progress {
            QUEUE_PATIENCE
        } else {
            PATIENCE
        };
        if since.duration_until(self.now) < patience {
            return None;
        }
        let failure = record.health.failure.as_ref();
        let (attempts, error) = match (self.failing, failure) {
            (Some(failing), _) => (failing.attempts, failing.error.what.clone()),
            (None, Some(failure)) => (failure.count, failure.message.clone()),
            (None, None) => (0, self.because.to_owned()),
        };
        let message = format!(
            "the rotation that was due at {since:.0} is not done after {attempts} attempts: {error}"
        );
        let condition = Condition::new(EventName::RotationOverdue, message, since);
        Some(self.mine(condition.tried(attempts, &error, self.next_try)))
    }

    /// Old tokens that cannot be retired, are late or still in use, and consumers that were cut off.
    fn retirements(&self, record: &Record, all: &mut Vec<Condition>) {
        for entry in &record.retiring {
            for problem in entry.problems(self.name) {
                let Some(event) = EventName::from_word(&problem.event) else {
                    continue;
                };
                let mut condition = Condition::new(event, problem.message, problem.since)
                    .subject(entry.id.as_str());
                if let (EventName::RetirementBlocked, Some(failure)) = (event, &entry.failure) {
                    condition = condition.reason(failure.reason.as_str()).tried(
                        failure.attempts,
                        &failure.message,
                        Some(entry.due),
                    );
                }
                all.push(self.mine(condition));
            }
            if let Some(since) = entry.usage.held_since {
                let from = entry.usage.used_from.as_deref();
                let message = format!(
                    "{} is still in use (last from {}), so it stays enabled; at `max_grace` it is disabled",
                    entry.id,
                    from.unwrap_or("an unknown address")
                );
                let condition = Condition::new(EventName::RetirementHeld, message, since)
                    .subject(entry.id.as_str());
                all.push(self.mine(condition.warning()));
            }
            all.extend(self.retirement_overdue(record, entry));
        }
        all.extend(self.left_elsewhere(record));
    }

    /// A retirement that is due and not done, whatever the cause, unless that is reported otherwise.
    fn retirement_overdue(&self, record: &Record, entry: &Entry) -> Option<Condition> {
        let failure = entry.failure.as_ref();
        let reported = failure.is_some_and(|failure| failure.reason.needs_human())
            || entry.base_url != record.coordinates.base_url;
        let nothing_begins = self.waiting || entry.is_newer() || self.configured && !self.enabled;
        let (since, attempts, error) = match failure {
            Some(failure) => (failure.since, failure.attempts, failure.message.as_str()),
            None => (due(record, entry), 0, "nothing was tried"),
        };
        if reported || nothing_begins || since.duration_until(self.now) < PATIENCE {
            return None;
        }
        let message = format!(
            "{} should have been {} since {since:.0} and is not after {attempts} attempts: {error}",
            entry.id,
            next_step(&entry.state)
        );
        let condition = Condition::new(EventName::RetirementBlocked, message, since)
            .reason("overdue")
            .subject(entry.id.as_str())
            .tried(attempts, error, Some(entry.due));
        Some(self.mine(condition))
    }

    /// Old tokens that belong to another URL than the secret has now.
    fn left_elsewhere(&self, record: &Record) -> Option<Condition> {
        let here = &record.coordinates.base_url;
        let left = record.retiring.iter().filter(|it| it.base_url != *here);
        let left: Vec<_> = left.collect();
        let since = left.iter().map(|entry| entry.since).min()?;
        let ids: Vec<String> = left
            .iter()
            .map(|entry| format!("{} at {}", entry.id, entry.base_url))
            .collect();
        let message = format!(
            "these old tokens belong to a different environment URL and will not be retired from here: [{}]. Restore the old URL until they are \
             gone, or delete them there by hand and run `dtrotate forget` for each",
            ids.join(", ")
        );
        let condition = Condition::new(EventName::RetirementBlocked, message, since);
        Some(self.mine(condition.subject("another URL")))
    }

    /// When one of its conditions may begin by the passing of time alone.
    pub fn judged_again_at(&self) -> Option<Timestamp> {
        let record = self.record.filter(|record| record.closed_at.is_none());
        let dues = record.into_iter().flat_map(|record| {
            let since = |entry: &Entry| match &entry.failure {
                Some(failure) => failure.since,
                None => due(record, entry),
            };
            record.retiring.iter().map(since)
        });
        let failing = self.failing.map(|failing| failing.since);
        let rotation = self.unserved_since.or(self.next);
        let all = dues.chain(failing).chain(rotation);
        all.filter_map(|since| since.checked_add(PATIENCE).ok())
            .min()
    }

    fn state(&self, conditions: &[Condition]) -> State {
        let is = |event: EventName| {
            let mut conditions = conditions.iter();
            conditions.any(|condition| condition.kind == event.as_str())
        };
        if is(EventName::CurrentInvalid) {
            State::CurrentInvalid
        } else if self.unusable.is_some() {
            State::Unreadable
        } else if is(EventName::RotationStuck) {
            State::Stuck
        } else if !self.configured {
            State::Removed
        } else if !self.enabled {
            State::SwitchedOff
        } else if is(EventName::RotationOverdue) {
            State::Overdue
        } else if self.failing.is_some() || is(EventName::RotationFailed) {
            State::Retrying
        } else if !self.read {
            State::Unknown
        } else if self.record.is_none_or(|record| record.current.is_none()) {
            State::NeverSeen
        } else {
            State::Healthy
        }
    }
}

impl Secret {
    /// Puts together what is known, with what is open about it.
    pub fn of(known: &Known<'_>, conditions: &[Condition]) -> Secret {
        let record = known.record;
        let failure = record.and_then(|record| record.health.failure.as_ref());
        let current = record.and_then(|record| record.current.as_ref());
        let retry_at = failure.and_then(|failure| failure.retry_at);
        let at = known.coordinates;
        let claim = record.and_then(|record| record.claim.as_ref());
        Secret {
            name: known.name.to_owned(),
            environment: at.environment.clone(),
            place: format!("{}/{}#{}", at.mount, at.path, at.fields.join(",")),
            state: known.state(conditions),
            current: current.map(|current| Token {
                id: current.id.clone(),
                created: current.created,
                expires: current.expires,
            }),
            last_success: record.and_then(|record| record.health.last_success),
            next: retry_at.or(known.next.max(known.next.and(known.next_try))),
            because: match (known.unusable, retry_at, known.failing) {
                (Some(unusable), ..) => unusable.why.clone(),
                (_, Some(_), _) => "retried after a failure".to_owned(),
                (_, _, Some(failing)) => format!("retried after: {}", failing.error.what),
                _ => known.because.to_owned(),
            },
            retiring: record.map(Retiring::all).unwrap_or_default(),
            failure: failure.map(|failure| Failure {
                reason: failure.reason.as_str().to_owned(),
                message: failure.message.clone(),
                since: failure.since,
                count: failure.count,
                retry_at: failure.retry_at,
            }),
            invalid: record
                .and_then(|record| record.health.invalid.as_ref())
                .map(|invalid| Invalid {
                    message: invalid.message.clone(),
                    since: invalid.since,
                }),
            holder: claim
                .map(|claim| claim.holder.clone())
                .filter(|holder| holder != known.instance),
        }
    }

    /// The same while what it depends on is unavailable: a rotation that is due by now is not going to begin.
    pub fn wait_for(&mut self, what: &str, now: Timestamp) {
        if self.state > State::Waiting {
            self.state = State::Waiting;
            self.because = format!("waiting for {what}");
            self.next = self.next.filter(|next| *next > now);
        }
    }

    /// This is the id of its current token or of one that retires.
    pub fn has_token(&self, id: &str) -> bool {
        // A whole value that somebody pasted is cut to its id.
        let id = TokenId::new(id);
        let current = self.current.iter().map(|token| &token.id);
        let mut ids = current.chain(self.retiring.iter().map(|entry| &entry.id));
        ids.any(|known| *known == id)
    }
}

#[cfg(test)]
mod tests;
