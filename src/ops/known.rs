//! What is known of one secret, and the conditions and the state that follow from it. Pure: the time is an argument.

mod retirement;

use jiff::{SignedDuration, Timestamp};

use rotation::error::{CallError, ErrorKind, Service};
use rotation::event::EventName;
use rotation::pause::Pause;
use rotation::plan::{Coordinates, Desired};
use rotation::record::{Origin, Reason, Record};
use rotation::retiring::Retiring;
use rotation::size;

use crate::labels::Labels;

use super::condition::Condition;
use super::secret::State;
use retirement::revocation_deadline;

/// A rotation, a retirement or a reading that is not done this long after it was due is reported.
pub const PATIENCE: SignedDuration = SignedDuration::from_mins(5);
/// The same while other work of the environment makes progress.
pub const QUEUE_PATIENCE: SignedDuration = SignedDuration::from_hours(1);

/// A former value that is put back twice within this time is put back by something that will do it again.
const REVERTS: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What to do about a value that `rotate` does not replace.
const BY_HAND: &str = "Consumers are locked out now: enable the token in Dynatrace or put a working one into Vault, as the message says. \
    `dtrotate rotate` does not replace what a person disabled or put there.";
/// What to do about a refusal that is tried again.
const RETRIED: &str = "Remove the cause that the message names. It is retried automatically, less and less often (at most an hour apart).";

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
    /// Its labels; none = it is not in the configuration.
    pub labels: Option<&'a Labels>,
    /// What the configuration says of its token.
    pub desired: Option<&'a Desired>,
    /// The IANA name of the time zone of its schedule; none = it is not in the configuration.
    pub zone: Option<&'a str>,
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
    /// Since when its work can be done: the start of the process, or the end of the last outage.
    pub able_since: Timestamp,
    /// When it is rotated next.
    pub next: Option<Timestamp>,
    /// No run before this.
    pub next_try: Option<Timestamp>,
    /// Why then, or why never.
    pub because: &'a str,
    /// Who asks: its own claims are not worth a word.
    pub instance: &'a str,
    /// When its document was last read or written.
    pub as_of: Option<Timestamp>,
    /// A digest of its settings.
    pub settings: Option<u32>,
    /// Up to when a delay counts: now; the beginning of an outage, or when the clocks last agreed, while there is one or they do not.
    pub now: Timestamp,
}

impl<'a> Known<'a> {
    /// A configured secret of which nothing is known but where it is.
    pub fn nothing(name: &'a str, coordinates: &'a Coordinates, instance: &'a str) -> Self {
        Known {
            name,
            coordinates,
            labels: None,
            desired: None,
            zone: None,
            configured: true,
            enabled: true,
            read: false,
            record: None,
            unusable: None,
            failing: None,
            unserved_since: None,
            progress: false,
            able_since: Timestamp::MIN,
            next: None,
            next_try: None,
            because: "",
            instance,
            as_of: None,
            settings: None,
            now: Timestamp::MAX,
        }
    }

    /// What is open about it.
    pub fn conditions(&self) -> Vec<Condition> {
        let mut all = vec![];
        all.extend(self.unusable.map(|unusable| {
            let condition = Condition::new(unusable.event, &unusable.why, unusable.since);
            self.about_secret(condition)
        }));
        all.extend(self.runs_fail());
        let Some(record) = self.record.filter(|record| record.closed_at.is_none()) else {
            return all;
        };
        all.extend(self.value_invalid(record));
        all.extend(self.value_reverted(record));
        all.extend(self.went_back(record));
        all.extend(self.rotation_fails(record));
        all.extend(self.overdue(record));
        all.extend(self.unannounced(record));
        all.extend(self.revocation_waits(record));
        self.retirements(record, &mut all);
        all
    }

    fn about_secret(&self, condition: Condition) -> Condition {
        condition.secret(self.name, &self.coordinates.environment)
    }

    /// A refusal is reported at once; anything else when it has lasted.
    fn runs_fail(&self) -> Option<Condition> {
        let failing = self.failing?;
        let error = &failing.error;
        let vault = error.service == Service::Vault;
        let condition = if failing.is_refused() && vault && self.record.is_some_and(size::is_full) {
            let message = format!(
                "{}; run `dtrotate forget {} --token ID` for retiring tokens that you have ended by hand",
                error.what, self.name
            );
            Condition::new(EventName::JournalTooLarge, message, failing.since)
        } else if failing.is_refused() {
            let reason = match error.service {
                Service::Vault => Reason::VaultRefused,
                Service::Dynatrace => Reason::DynatraceRefused,
            };
            Condition::new(EventName::RotationStuck, &error.what, failing.since)
                .reason(reason.as_str())
        } else if failing.since.duration_until(self.now) < PATIENCE {
            return None;
        } else {
            let message = format!(
                "every run over this secret has failed since {:.0}: {}",
                failing.since, error.what
            );
            Condition::new(EventName::SecretFailing, message, failing.since)
        };
        let is_stuck = condition.kind == EventName::RotationStuck.as_str();
        let condition = condition.tried(failing.attempts, &error.what, self.next_try);
        let condition = self.about_secret(condition);
        Some(match is_stuck {
            // Nothing of it could be recorded, so it does not wait for the next due time.
            true => condition.advise(RETRIED),
            false => condition,
        })
    }

    /// A route was to get the last rotation, and did not in time.
    fn unannounced(&self, record: &Record) -> Option<Condition> {
        let announcement = record.announcement.as_ref().filter(|_| self.configured)?;
        let message = format!(
            "the rotation of {:.0} to {} could not be announced: a route of [[notify.route]] does not accept the post",
            announcement.at, announcement.token
        );
        let condition = Condition::new(
            EventName::NotificationUndelivered,
            message,
            announcement.until,
        );
        (announcement.until <= self.now).then(|| self.about_secret(condition))
    }

    /// Vault was restored from a backup, and nothing was stored since.
    fn went_back(&self, record: &Record) -> Option<Condition> {
        let found = record.health.went_back_at?;
        let hold = record.health.hold_until.unwrap_or(found);
        // Found by their marker since then: a consumer may have got one of them before the restore.
        let found_by_marker =
            |entry: &&Retiring| entry.origin == Origin::Marker && entry.since >= found;
        let newer = record.retiring.iter().filter(found_by_marker);
        let newer: Vec<_> = newer.map(|entry| entry.id.as_str()).collect();
        let newer = match newer.as_slice() {
            [] => String::new(),
            [first, rest @ ..] => {
                let further = match rest.len() {
                    0 => String::new(),
                    number => format!(" and {number} more"),
                };
                format!(
                    ", and none of the tokens that were made later and retire now: {first}{further}"
                )
            }
        };
        let message = format!(
            "Vault was restored from a backup, or the journal document was lost (found at {found:.0}). Nothing is disabled before {hold:.0}. Check \
             that consumers use the value that is in Vault now{newer}; `dtrotate rotate {}` replaces it, also where its token is disabled, and \
             resolves this",
            self.name
        );
        let condition = Condition::new(EventName::VaultWentBack, message, found);
        Some(self.about_secret(condition))
    }

    fn value_invalid(&self, record: &Record) -> Option<Condition> {
        let invalid = record.health.invalid.as_ref()?;
        let condition = Condition::new(EventName::CurrentInvalid, &invalid.message, invalid.since);
        let condition = self.about_secret(condition);
        Some(match invalid.by_hand {
            true => condition.advise(BY_HAND),
            false => condition,
        })
    }

    /// A former value was put back twice within [`REVERTS`].
    fn value_reverted(&self, record: &Record) -> Option<Condition> {
        let [first, last] = record.health.reverts.as_slice() else {
            return None;
        };
        let ends = first.at.checked_add(REVERTS).ok()?;
        if last.at > ends || ends <= self.now {
            return None;
        }
        let place = &record.coordinates;
        let message = format!(
            "something other than dtrotate put a former value back into {place} twice within 7 days: {} as version {} (found at {:.0}) and {} as \
             version {} (found at {:.0}); each time it was kept. Find what writes this field and stop it",
            first.id, first.version, first.at, last.id, last.version, last.at
        );
        let condition = Condition::new(EventName::ValueReverted, message, last.at);
        Some(self.about_secret(condition))
    }

    fn rotation_fails(&self, record: &Record) -> Option<Condition> {
        let failure = record.health.failure.as_ref()?;
        let is_stuck = failure.retry_at.is_none();
        if is_stuck && failure.reason.is_of_the_value() && record.health.invalid.is_some() {
            // That the value does not work, and what keeps it from being rotated, are one condition where the cause is the same.
            return None;
        }
        let (event, needs_human) = match (failure.retry_at, &failure.reason) {
            (_, Reason::TokenLimitReached) => (EventName::TokenLimitReached, true),
            (None, _) => (EventName::RotationStuck, true),
            (Some(_), _) => (EventName::RotationFailed, false),
        };
        let mut condition = Condition::new(event, &failure.message, failure.since)
            .reason(failure.reason.as_str())
            .tried(failure.count, &failure.message, failure.retry_at);
        if !needs_human {
            condition = condition.warning();
        }
        Some(self.about_secret(condition))
    }

    fn overdue(&self, record: &Record) -> Option<Condition> {
        let refused = self.failing.is_some_and(Failing::is_refused);
        let reported = refused || record.stuck().is_some();
        let since = self.unserved_since.filter(|_| !reported)?;
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
        Some(self.about_secret(condition.tried(attempts, &error, self.next_try)))
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
        Some(self.about_secret(condition.subject("another URL")))
    }

    /// The pause that keeps anything of it from being begun.
    pub fn pause(&self) -> Option<&'a Pause> {
        let record = self.record.filter(|_| self.configured);
        record.and_then(|record| record.paused(self.now))
    }

    /// When one of its conditions may begin or end by the passing of time alone.
    pub fn next_evaluation(&self) -> Option<Timestamp> {
        let record = self.record.filter(|record| record.closed_at.is_none());
        let dues = record.into_iter().flat_map(|record| {
            let since = |entry: &Retiring| match &entry.failure {
                Some(failure) => failure.since,
                None => self.due(record, entry),
            };
            record.retiring.iter().map(since)
        });
        let failing = self.failing.map(|failing| failing.since);
        let rotation = self.unserved_since.or(self.next);
        let all = dues.chain(failing).chain(rotation);
        let late = all.filter_map(|since| since.checked_add(PATIENCE).ok());
        let reverts = record.and_then(|record| record.health.reverts.first());
        let ends = reverts.and_then(|first| first.at.checked_add(REVERTS).ok());
        let announcement = record.and_then(|record| record.announcement.as_ref());
        let deadline = announcement.map(|it| it.until);
        let order = record.and_then(|record| record.revoking.as_ref());
        let revoked = order.map(|order| revocation_deadline(order.at));
        let ends = ends.into_iter().chain(deadline).chain(revoked);
        late.chain(ends.filter(|ends| *ends > self.now)).min()
    }

    /// How it is, with these conditions open.
    pub fn state(&self, conditions: &[Condition]) -> State {
        let is = |event: EventName| {
            let mut conditions = conditions.iter();
            conditions.any(|condition| condition.kind == event.as_str())
        };
        let held = self.record.filter(|record| record.current.is_some());
        let stuck = held.and_then(Record::stuck);
        if is(EventName::CurrentInvalid) || stuck.is_some_and(|it| it.reason.locks_consumers_out())
        {
            State::CurrentInvalid
        } else if self.unusable.is_some() {
            State::Unreadable
        } else if is(EventName::RotationStuck) {
            State::Stuck
        } else if self.pause().is_some() {
            State::Paused
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

#[cfg(test)]
mod tests;
