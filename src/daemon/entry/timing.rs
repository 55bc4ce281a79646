//! When a secret is worked on next, and what for.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::schedule::due::{self, Input, Next};
use rotation::record::{Current, Record, Trigger};
use rotation::request::RotationRequest;

use super::{Entry, Planned};

impl Entry {
    /// The due time is not known, or a later one has passed.
    pub fn stale(&self, now: Timestamp) -> bool {
        self.due.is_none() || self.is_overtaken(now)
    }

    /// The next due time has come, which ends a retry.
    pub(super) fn is_overtaken(&self, now: Timestamp) -> bool {
        let (Some(instant), Some(settings)) = (self.retrying, &self.settings) else {
            return false;
        };
        let last = settings.schedule.previous_at_or_before(now);
        last.is_some_and(|last| last > instant)
    }

    /// Recomputes when it is due; returns a due time that was just found to be skipped. Not for a run that waits for a retry: it keeps
    /// its instant until the next due time.
    pub fn plan_next(&mut self, now: Timestamp, able_since: Timestamp) -> Option<Timestamp> {
        if self.is_overtaken(now) {
            self.retrying = None;
            self.not_before = None;
        }
        if let Some(pause) = self.paused(now) {
            self.because = pause.to_string().into();
            self.due = None;
            self.retrying = None;
            self.not_before = None;
            return None;
        }
        if self.retrying.is_some() {
            return None;
        }
        let record = self.record();
        let input = record.as_deref();
        let input = input.and_then(|record| self.input(record, now, able_since));
        let next = input.map(|input| (due::skipped(&input), due::next_due(&input)));
        drop(record);
        let Some((skipped, next)) = next else {
            self.due = None;
            return None;
        };
        let skipped = skipped.filter(|instant| self.skipped != Some(*instant));
        let because;
        (self.due, because) = match next {
            Next::Due(due) => {
                let (at, instant, trigger) = (due.at, due.instant, due.trigger);
                let planned = Planned {
                    at,
                    instant,
                    trigger,
                };
                (Some(planned), due.because)
            }
            Next::Never { because } => (None, because),
        };
        self.because = because.into();
        self.skipped = skipped.or(self.skipped);
        skipped
    }

    /// What its due times depend on; none = nothing is ever due.
    pub(super) fn input<'a>(
        &'a self,
        record: &'a Record,
        now: Timestamp,
        able_since: Timestamp,
    ) -> Option<Input<'a>> {
        let settings = self.settings.as_ref()?;
        let current = record.current.as_ref();
        Some(Input {
            secret: &self.plan.name,
            enabled: settings.enabled && record.paused(now).is_none(),
            schedule: &settings.schedule,
            jitter: signed(settings.jitter),
            blackouts: &settings.blackouts,
            missed: settings.missed,
            adopted_at: record
                .adopted_at
                .max(self.on_since.unwrap_or(record.adopted_at)),
            last_due: record.last_due,
            created: current.and_then(Current::began),
            expires: current.and_then(|current| current.expires),
            value_ends: current.and_then(|current| self.value_ends(current.version)),
            grace: signed(self.plan.grace),
            expiry_guard: settings.expiry_guard,
            able_since: able_since.max(record.resumed_at.unwrap_or(able_since)),
            catch_up_spread: settings.catch_up_spread,
            now,
        })
    }

    /// When it wants to be looked at next, without a tick of the engine: for a clean-up, a retry, an expiry, a missed run, or a due time
    /// whose jitter is running.
    pub fn alarm(&self, now: Timestamp) -> Option<Timestamp> {
        let due = self.due.as_ref().filter(|due| {
            // The engine reports a future firing.
            due.trigger != due::Trigger::Schedule || due.instant <= now
        });
        let pause = self.paused(now);
        let resumed = pause.and_then(|pause| pause.until);
        let due = due.filter(|_| pause.is_none());
        let starts = due.map(|due| self.starts_at(due, now));
        let nudged = self.nudged && pause.is_none();
        let nudged = nudged.then(|| self.blackout_ends(now).unwrap_or(now));
        let first = starts
            .into_iter()
            .chain(self.wake)
            .chain(resumed)
            .chain(nudged)
            .min();
        let first = if self.looked { first } else { Some(now) };
        Some(first?.max(self.not_before.unwrap_or(Timestamp::MIN)))
    }

    /// When what is due starts; also a retry waits for the end of a blackout. The expiry guard knows itself what a blackout means to it.
    pub(super) fn starts_at(&self, due: &Planned, now: Timestamp) -> Timestamp {
        match self.blackout_ends(now) {
            Some(end) if due.trigger != due::Trigger::Expiry => due.at.max(end),
            _ => due.at,
        }
    }

    /// The end of the blackout of now, if there is one.
    pub fn blackout_ends(&self, now: Timestamp) -> Option<Timestamp> {
        self.settings.as_ref()?.blackouts.end(now)
    }

    /// Clean-up, retirement or another look is due, whatever the schedule says.
    pub fn is_woken(&self, now: Timestamp) -> bool {
        self.wake.is_some_and(|wake| wake <= now)
    }

    /// The instant of the rotation that is due by its schedule or expiry, not for a retry.
    pub fn due_rotation(&self, now: Timestamp) -> Option<Timestamp> {
        let due = self.due.as_ref().filter(|due| due.at <= now)?;
        let is_first_try = !self.nudged && self.retrying != Some(due.instant);
        (is_first_try && self.settings.is_some()).then_some(due.instant)
    }

    /// The rotation that is wanted now, if one is.
    pub fn wish(&mut self, now: Timestamp) -> Option<RotationRequest> {
        if self.paused(now).is_some() {
            return None;
        }
        let nudged = self.nudged && self.blackout_ends(now).is_none();
        let settings = self.settings.as_ref()?;
        let due = self.due;
        // However many due times have passed meanwhile, one run serves them all.
        let last = settings.schedule.previous_at_or_before(now);
        let served = |instant| last.map_or(instant, |last| last.max(instant));
        if nudged && settings.enabled {
            self.nudged = false;
            let instant = due.map(|due| due.instant).filter(|it| *it <= now);
            return Some(RotationRequest {
                due: instant.map(served),
                trigger: Trigger::Retry,
                accept_recorded_rights: false,
            });
        }
        let due = due.filter(|due| self.starts_at(due, now) <= now)?;
        let trigger = match due.trigger {
            _ if self.retrying == Some(due.instant) => Trigger::Retry,
            due::Trigger::Schedule => Trigger::Schedule,
            due::Trigger::Missed => Trigger::Missed,
            due::Trigger::Expiry => Trigger::Expiry,
        };
        Some(RotationRequest {
            due: Some(served(due.instant)),
            trigger,
            accept_recorded_rights: false,
        })
    }
}

fn signed(length: Duration) -> SignedDuration {
    SignedDuration::try_from(length).unwrap_or(SignedDuration::MAX)
}
