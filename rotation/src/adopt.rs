//! Values that came into Vault without a commit: a store whose sender died, a person's token, a token that a person put back. And how the
//! former token goes out of use.

use super::event::{EventName, Level, Report};
use super::facts::{Act, Command, Looked, Now};
use super::machine::{Run, Then};
use super::record::{Current, Proof, Record, Retiring, RetiringState, Work};
use super::rotate::claimed_due;
use super::token::{Marker, TokenId};

impl Run {
    /// A person's value becomes the current one; the former retires if dtrotate may end it.
    pub(super) fn replace_current(
        &self,
        record: &mut Record,
        new: &Current,
        now: Now,
    ) -> Option<Report> {
        let former = record.current.replace(new.clone())?;
        let message = format!(
            "somebody put {} in the place of {}; their token is taken as it is, and the former one retires",
            new.id, former.id
        );
        self.retire_former(record, &former, new.version, now);
        Some(
            Report::new(EventName::SecretChangedElsewhere, message)
                .token(&new.id)
                .old(&former.id),
        )
    }

    /// `former` is no longer the value of the secret since `version`.
    pub(super) fn retire_former(
        &self,
        record: &mut Record,
        former: &Current,
        version: u64,
        now: Now,
    ) {
        let proof = Proof::Version(former.version);
        self.put_into_grace(record, &former.id, version.saturating_sub(1), proof, now);
    }

    /// `id` is on its way out: it works on for the grace time.
    pub(super) fn put_into_grace(
        &self,
        record: &mut Record,
        id: &TokenId,
        base: u64,
        proof: Proof,
        now: Now,
    ) {
        record.retiring.retain(|entry| entry.id != *id);
        record.retiring.push(Retiring {
            id: id.clone(),
            state: RetiringState::Grace,
            // Without history versions are fingerprints, and nothing can be fenced.
            base: if self.errand.history { base } else { 0 },
            since: now.wall,
            due: now
                .wall
                .checked_add(self.errand.plan.grace)
                .unwrap_or(now.wall),
            tainted: None,
            proof,
            base_url: record.coordinates.base_url.clone(),
            held_since: None,
            extended_to: None,
            used_from: None,
            unknown: Default::default(),
        });
    }

    /// A store whose sender died is committed by whoever finds it.
    pub(super) fn adopt(&mut self, now: Now) -> Command {
        let (Some(Looked::Known(info)), Some(seen)) = (self.looked.clone(), self.seen.clone())
        else {
            return Command::ReadSecret;
        };
        let mut record = self.draft();
        let mut due = claimed_due(&record);
        let current = Current::new(&info, seen.version(), &record.epoch);
        let (_, marker) = Marker::split(&info.name);
        let mut reports = vec![];
        if let Some(marker) = marker {
            let mut open = record.open.iter();
            let open = open.find(|open| open.attempt == marker.attempt);
            due = due.max(open.and_then(|open| open.due));
            record.open.retain(|open| open.attempt != marker.attempt);
            if marker.attempt > record.attempt {
                reports.push(went_back(&record, marker.attempt));
                record.attempt = marker.attempt;
            }
        }
        let mut message = format!(
            "{} was stored by a holder that did not come to say so; it is the current value",
            info.id
        );
        let former = record.current.replace(current);
        let mut report = Report::new(EventName::RotationRecovered, "").token(&info.id);
        if let Some(former) = former {
            self.retire_former(&mut record, &former, seen.version(), now);
            message += &format!(", and {} retires", former.id);
            report = report.old(&former.id);
        }
        report.message = message;
        record.claim = None;
        record.last_due = record.last_due.max(due);
        record.last_success = Some(now.wall);
        record.failure = None;
        record.invalid = None;
        if self.errand.history && seen.version() > 0 {
            self.postcheck = Some(seen.version() - 1);
        }
        reports.push(report);
        self.write(record, reports, Then::Served, now)
    }

    /// A person put a token of their own there, and nobody is rotating: it becomes the current one, and the former one retires.
    pub(super) fn take_foreign(&mut self, now: Now) -> Command {
        let (Some(Looked::Known(info)), Some(seen)) = (self.looked.clone(), self.seen.clone())
        else {
            return Command::ReadSecret;
        };
        let mut record = self.draft();
        let current = Current::new(&info, seen.version(), &record.epoch);
        let report = self.replace_current(&mut record, &current, now);
        record.failure = None;
        record.invalid = None;
        self.write(record, report.into_iter().collect(), Then::Go, now)
    }

    /// A person put a retiring token back: it is the current one again, enabled if we had disabled it, and the other one retires.
    pub(super) fn take_back(&mut self, now: Now) -> Command {
        let (Some(Looked::Known(info)), Some(seen)) = (self.looked.clone(), self.seen.clone())
        else {
            return Command::ReadSecret;
        };
        if !info.enabled {
            match self.acted.take() {
                None => return Command::Act(Act::Enable, info.id),
                Some((_, Ok(()))) => {}
                Some((_, Err(error))) => return self.give_up(error, now),
            }
        }
        let mut record = self.draft();
        record.retiring.retain(|entry| entry.id != info.id);
        let current = Current::new(&info, seen.version(), &record.epoch);
        let former = record.current.replace(current);
        let mut message = format!(
            "somebody put {} back; it is the current value again",
            info.id
        );
        let mut report = Report::new(EventName::SecretChangedElsewhere, "").token(&info.id);
        if let Some(former) = former.filter(|former| former.id != info.id) {
            self.retire_former(&mut record, &former, seen.version(), now);
            message += &format!(", and {} retires", former.id);
            report = report.old(&former.id);
        }
        report.message = message;
        report.level = Level::Warn;
        // Cleaning claims end with this; a rotation goes on with the value as it is now.
        if record
            .claim
            .as_ref()
            .is_some_and(|claim| !matches!(claim.work, Work::Rotate { .. }))
        {
            record.claim = None;
        }
        self.looked = None;
        self.write(record, vec![report], Then::Go, now)
    }
}

/// Dynatrace has seen a later attempt than the journal.
pub(super) fn went_back(record: &Record, seen: u64) -> Report {
    let until = record.hold_until.map_or(String::new(), |until| {
        format!(" Nothing is disabled before {until}.")
    });
    Report::new(
        EventName::VaultWentBack,
        format!(
            "Dynatrace knows attempt {seen} of this secret, but the journal only {}: Vault was restored from a backup, or the document was \
             lost.{until} Check that consumers use the value that is in Vault now",
            record.attempt
        ),
    )
}
