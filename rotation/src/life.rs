//! What happens to a secret between two rotations: its document is closed or taken up again, an outage lengthens its graces, and its
//! current token is found not to work.

use jiff::{SignedDuration, Timestamp};

use super::event::{EventName, Level, Report};
use super::facts::{Command, Looked, Now, Seen, Verdict, Wish};
use super::machine::{Run, Then};
use super::plan::{Coordinates, Lifetime, Plan};
use super::record::{Invalid, Reason, Record, RetiringState, Trigger};
use super::standing::Standing;
use super::token::TokenInfo;

impl Run {
    /// A document that was closed, and its secret is in the configuration (again).
    pub(super) fn reopen(&mut self, now: Now) -> Command {
        let mut record = self.draft();
        if let Some(other) = &record.renamed_to {
            // Two documents must never be at work on one secret.
            let why = format!(
                "this secret goes on under the name {other}, which a newer configuration gave it; give it that name here, too, or set \
                 `renamed_from = \"{other}\"` to take it back"
            );
            return self.finish(Verdict::Unreadable(why));
        }
        // While it was away nobody looked: what is there now is recorded as at first sight, and no due time was missed.
        record.closed_at = None;
        record.adopted_at = now.wall;
        record.coordinates = self.errand.plan.coordinates.clone();
        record.current = None;
        record.failure = None;
        record.invalid = None;
        self.write(record, vec![], Then::Refresh, now)
    }

    /// The secret is not in the configuration any more, and nothing is left to be finished.
    pub(super) fn close_document(&mut self, now: Now) -> Option<Command> {
        let record = self.record()?;
        if !self.errand.leaving || !record.is_finished() {
            return None;
        }
        let mut record = self.draft();
        record.closed_at = Some(now.wall);
        record.failure = None;
        record.invalid = None;
        let message = match &record.current {
            Some(current) => format!(
                "{} is not in the configuration any more and its former tokens are gone; {} stays as it is and is rotated no more",
                self.errand.plan.name, current.id
            ),
            None => format!(
                "{} is not in the configuration any more, and nothing of it is left to be finished",
                self.errand.plan.name
            ),
        };
        let mut report = Report::new(EventName::SecretReleased, message);
        report.token_id = record.current.as_ref().map(|current| current.id.clone());
        let end = Then::Finish(Verdict::Settled { wake: None });
        Some(self.write(record, vec![report], end, now))
    }

    /// Consumers could not read the new value while Vault could not be used: graces that were running then are longer by that. When it is
    /// not known how long it was, they begin anew. Every replica may do this; an outage counts once.
    pub(super) fn lengthen(&mut self, now: Now) -> Option<Command> {
        let outage = self.errand.outage?;
        let mut record = self.draft();
        let grace = SignedDuration::try_from(self.errand.plan.grace).unwrap_or_default();
        let mut longer = 0;
        for entry in &mut record.retiring {
            let counted = entry.extended_to.unwrap_or(entry.since);
            let ran = entry.state == RetiringState::Grace && counted < outage.until;
            let due = match outage.since {
                _ if !ran => continue,
                Some(since) if entry.due <= since => continue,
                Some(since) => entry
                    .due
                    .checked_add(since.max(counted).duration_until(outage.until)),
                None => outage.until.checked_add(grace),
            };
            entry.due = due.unwrap_or(entry.due).max(entry.due);
            entry.extended_to = Some(outage.until);
            longer += 1;
        }
        if longer == 0 {
            return None;
        }
        let message = format!(
            "Vault could not be used until {}, so consumers had less time to pick up a new value: {longer} former tokens work on for longer",
            outage.until
        );
        // As many lines as secrets; the end of the outage itself is told once.
        let report = Report::new(EventName::RetirementHeld, message).at(Level::Debug);
        Some(self.write(record, vec![report], Then::Go, now))
    }

    /// There is a doubt about the current value, or it was not usable and may be so again: look.
    pub(super) fn examine(&mut self, now: Now) -> Option<Command> {
        if !self.errand.doubt || self.errand.leaving || self.is_moved() {
            return None;
        }
        let standing = match self.standing() {
            Ok(standing) => standing,
            Err(command) => return Some(command),
        };
        self.errand.doubt = false;
        let record = self.record()?;
        let failure = record.failure.as_ref().filter(|f| f.retry_at.is_none());
        let Some(wrong) = self.wrong_with(&standing, now) else {
            let over = failure.is_some_and(|failure| failure.reason.is_of_the_value())
                && !matches!(standing, Standing::Stuck(..));
            return (over || record.invalid.is_some()).then(|| self.works_again(over, now));
        };
        if record
            .hold_until
            .is_some_and(|until| record.last_success.is_none_or(|last| last < until))
        {
            // Vault went back, and what it holds is dead: this once it is replaced at once.
            self.errand.wish = Some(Wish {
                due: None,
                trigger: Trigger::Sweep,
            });
            return Some(self.rotate(now));
        }
        if record.invalid.is_some()
            || failure.is_some_and(|failure| failure.reason.is_of_the_value())
        {
            return None;
        }
        let mut record = self.draft();
        let mut report = Report::new(EventName::CurrentInvalid, wrong.clone());
        report.token_id = record.current.as_ref().map(|current| current.id.clone());
        record.invalid = Some(Invalid {
            since: now.wall,
            message: wrong,
        });
        Some(self.write(record, vec![report], Then::Go, now))
    }

    /// Why the value in Vault does not work, as a sentence; none = it works, or that is not known.
    fn wrong_with(&self, standing: &Standing, now: Now) -> Option<String> {
        if let Standing::Stuck(Reason::TokenUnknown | Reason::TokenDisabled, message) = standing {
            return Some(message.clone());
        }
        match &self.looked {
            Some(Looked::Known(info)) if is_expired(info, now.wall) => Some(format!(
                "{} in {} expired at {}; it is replaced at its next due time, or now by `dtrotate rotate {}`",
                info.id,
                self.place(),
                info.expires.unwrap_or_default(),
                self.errand.plan.name
            )),
            _ => None,
        }
    }

    fn works_again(&mut self, unstuck: bool, now: Now) -> Command {
        let mut record = self.draft();
        let event = if unstuck {
            EventName::RotationStuck
        } else {
            EventName::CurrentInvalid
        };
        let message = format!(
            "it is over: the value in {} can be used again; it is rotated at its next due time",
            self.place()
        );
        let mut report = Report::new(event, message).at(Level::Info);
        report.token_id = self
            .seen
            .as_ref()
            .and_then(Seen::holds)
            .and_then(|h| h.id.clone());
        record.invalid = None;
        if unstuck {
            record.failure = None;
        }
        self.write(record, vec![report], Then::Go, now)
    }
}

fn is_expired(info: &TokenInfo, now: Timestamp) -> bool {
    info.expires.is_some_and(|end| end <= now)
}

/// Does a sweep cast a doubt on this secret's current token, or is it stuck for a reason that may be over? `listed` are the tokens that the
/// environment told, the current ones among them whether they bear a marker or not. A list is no proof: [`Run`] looks.
pub fn doubtful(record: &Record, listed: &[TokenInfo], now: Timestamp) -> bool {
    let stuck = record.failure.as_ref();
    if record.invalid.is_some()
        || stuck
            .is_some_and(|failure| failure.retry_at.is_none() && failure.reason.is_of_the_value())
    {
        return true;
    }
    let Some(current) = &record.current else {
        return false;
    };
    match listed.iter().find(|token| token.id == current.id) {
        Some(token) => !token.enabled || is_expired(token, now),
        None => true,
    }
}

impl Plan {
    /// What a secret that left the configuration is finished by: its document, and the environment's own times.
    pub fn of_document(
        record: &Record,
        environment: &str,
        settle: std::time::Duration,
        claim_timeout: std::time::Duration,
    ) -> Self {
        let terms = record.terms.unwrap_or_default();
        let length = |signed| std::time::Duration::try_from(signed).unwrap_or_default();
        Plan {
            name: record.name.clone(),
            coordinates: Coordinates {
                environment: environment.to_owned(),
                ..record.coordinates.clone()
            },
            grace: length(terms.grace),
            max_grace: length(terms.max_grace),
            quarantine: length(terms.quarantine),
            still_used: terms.still_used,
            lifetime: Lifetime::Inherit,
            settle,
            claim_timeout,
            manages_tokens: false,
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
