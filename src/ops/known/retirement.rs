//! The conditions of tokens that are to be ended: former ones, and those that a person revoked.

use jiff::{SignedDuration, Timestamp};

use rotation::event::EventName;
use rotation::record::Record;
use rotation::retiring::Retiring;

use super::super::condition::Condition;
use super::super::secret::next_step;
use super::{Known, PATIENCE};

/// A leaked token should be dead within this.
const REVOCATION: SignedDuration = SignedDuration::from_mins(1);

/// When a revocation that is ordered at this time is late.
pub(super) fn revocation_deadline(ordered: Timestamp) -> Timestamp {
    ordered.checked_add(REVOCATION).unwrap_or(Timestamp::MAX)
}

impl Known<'_> {
    /// A leaked token is alive although a person ordered its end.
    pub(super) fn revocation_waits(&self, record: &Record) -> Option<Condition> {
        let order = record.revoking.as_ref()?;
        if self.now < revocation_deadline(order.at) {
            return None;
        }
        let entry = record.retiring(&order.token);
        let entry = entry.and_then(|entry| Some(&entry.failure.as_ref()?.message));
        let rotation = record
            .health
            .failure
            .as_ref()
            .map(|failure| &failure.message);
        let run = self.failing.map(|failing| &failing.error.what);
        let error = entry.or(rotation).or(run);
        let id = &order.token;
        let holder = format!(
            "another secret holds it (`dtrotate status {id}` shows which), or another process is working on it"
        );
        let error = error.unwrap_or(&holder);
        let message = format!(
            "{id} was revoked by {} at {:.0} and is not ended yet: {error}. Remove the cause; or `dtrotate revoke {id} --without-replacement` ends \
             it now and locks its consumers out",
            order.by, order.at
        );
        let condition = Condition::new(EventName::RetirementBlocked, message, order.at)
            .reason("revocation")
            .subject(id.as_str())
            .error(error.as_str());
        Some(self.about_secret(condition))
    }

    /// Old tokens that cannot be retired, are late or still in use, and consumers that were cut off.
    pub(super) fn retirements(&self, record: &Record, all: &mut Vec<Condition>) {
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
                all.push(self.about_secret(condition));
            }
            if let Some(since) = entry.held_since() {
                let from = entry.usage.used_from.as_deref();
                let end = match record.coordinates.kind.can_be_disabled() {
                    true => "stays enabled; at `max_grace` it is disabled",
                    false => "stays; at `max_grace` it is left or deleted, as `at_max_grace` says",
                };
                let message = format!(
                    "{} is still in use (last from {}), so it {end}",
                    entry.id,
                    from.unwrap_or("an unknown address")
                );
                let condition = Condition::new(EventName::RetirementHeld, message, since)
                    .subject(entry.id.as_str());
                all.push(self.about_secret(condition.warning()));
            }
            if let Some(shared) = entry.shared() {
                let condition =
                    Condition::new(EventName::RetirementHeld, &shared.message, shared.since)
                        .reason(shared.reason.as_str())
                        .subject(entry.id.as_str());
                all.push(self.about_secret(condition.warning()));
            }
            all.extend(self.retirement_overdue(record, entry));
        }
        all.extend(self.left_elsewhere(record));
    }

    /// A retirement that is due and not done, whatever the cause, unless that is reported otherwise.
    fn retirement_overdue(&self, record: &Record, entry: &Retiring) -> Option<Condition> {
        let failure = entry.failure.as_ref();
        let reported = failure.is_some_and(|failure| failure.reason.needs_human())
            || entry.shared().is_some()
            || entry.base_url != record.coordinates.base_url;
        let rests = (!self.enabled || self.pause().is_some()) && !entry.is_revoked_alive();
        let nothing_begins = entry.is_newer() || self.configured && rests;
        let (since, attempts, error) = match failure {
            Some(failure) => (failure.since, failure.attempts, failure.message.as_str()),
            None => (self.due(record, entry), 0, "nothing was tried"),
        };
        if reported || nothing_begins || since.duration_until(self.now) < PATIENCE {
            return None;
        }
        let message = format!(
            "{} should have been {} since {since:.0} and is not after {attempts} attempts: {error}",
            entry.id,
            next_step(&entry.state, record.coordinates.kind.can_be_disabled())
        );
        let condition = Condition::new(EventName::RetirementBlocked, message, since)
            .reason("overdue")
            .subject(entry.id.as_str())
            .tried(attempts, error, Some(entry.due));
        Some(self.about_secret(condition))
    }

    /// When the next step of a retirement is due and can be done; after Vault was restored from a backup none is, for a while.
    pub(super) fn due(&self, record: &Record, entry: &Retiring) -> Timestamp {
        let hold = record.health.hold_until.unwrap_or(entry.due);
        let resumed = record.resumed_at.unwrap_or(entry.due);
        entry.due.max(hold).max(resumed).max(self.able_since)
    }
}
