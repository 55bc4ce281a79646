//! Retirement: disable at the end of the grace, delete at the end of the quarantine. Each under a claim of its own, each with a fresh
//! look at the secret and at the token before, and at the secret again after a disable.

use jiff::{SignedDuration, Timestamp};

use super::error::ErrorKind;
use super::event::{EventName, Level, Report};
use super::facts::{Act, Command, Looked, Now, Seen};
use super::machine::{Run, Then};
use super::plan::StillUsed;
use super::record::{Retiring, RetiringState, Work};
use super::token::{TokenId, TokenInfo};

/// The fresh look at the secret, before anything is done to a retiring token.
enum Look {
    /// First this.
    Ask(Command),
    /// It is the current value, again or still.
    InVault,
    /// It was current since its grace began, or that cannot be ruled out: the grace begins anew.
    WasCurrent(u64),
    /// The secret has not moved past its base: somebody's store of it could still be accepted.
    Unfenced,
    /// It is out of use, and stays so.
    Clear,
}

impl Run {
    /// The retirement concerns the environment that this run talks to.
    pub(super) fn belongs_here(&self, entry: &Retiring) -> bool {
        entry.base_url == self.errand.plan.coordinates.base_url
    }

    /// The next command of a retirement that is due; none = none is due, or the time is not to be trusted.
    pub(super) fn retire(&mut self, now: Now) -> Option<Command> {
        let record = self.record()?;
        if !self.errand.clock_ok || record.hold_until.is_some_and(|until| now.wall < until) {
            return None;
        }
        let entry = record
            .retiring
            .iter()
            .find(|entry| entry.due <= now.wall && self.belongs_here(entry))?
            .clone();
        Some(match self.look(&entry, now) {
            Look::Ask(command) => command,
            Look::InVault => match self.reconcile(now) {
                Some(command) => command,
                // It is in Vault and in no state to be taken back: leave it for a grace.
                None => self.postpone(&entry, now, |entry, later| entry.due = later),
            },
            Look::WasCurrent(version) => self.postpone(&entry, now, |entry, later| {
                entry.state = RetiringState::Grace;
                entry.base = version;
                entry.due = later;
            }),
            Look::Unfenced if self.unfenced(now).is_some() => self.claim_tidy(now),
            // A deleted secret cannot be written unchanged, and a counter that went back proves nothing.
            Look::Unfenced => {
                let version = self.seen.as_ref().map_or(0, Seen::version);
                self.postpone(&entry, now, |entry, later| {
                    entry.base = entry.base.min(version);
                    entry.due = later;
                })
            }
            Look::Clear => self.retire_next(&entry, now),
        })
    }

    /// Where does the token stand in the secret?
    fn look(&self, entry: &Retiring, now: Now) -> Look {
        let Some(seen) = &self.seen else {
            return Look::Ask(Command::ReadSecret);
        };
        if let Some(holds) = seen.holds() {
            match (&holds.id, &self.looked) {
                (Some(id), _) if *id == entry.id => return Look::InVault,
                (Some(_), _) => {}
                // A legacy value does not show whose it is.
                (None, None) => return Look::Ask(Command::LookUpValue),
                (None, Some(Looked::Known(info))) if info.id == entry.id => return Look::InVault,
                (None, Some(_)) => {}
            }
        }
        if !self.errand.history {
            return Look::Clear;
        }
        let version = seen.version();
        if version <= entry.base {
            return Look::Unfenced;
        }
        // Versions that cannot be read prove nothing, but they do not hold a token for ever.
        let lenient = entry
            .since
            .checked_add(self.errand.plan.max_grace.max(self.errand.plan.grace))
            .is_ok_and(|end| now.wall >= end);
        for number in entry.base + 1..version {
            let Some(past) = self.past.get(&number) else {
                return Look::Ask(Command::ReadVersion(number));
            };
            let suspicious = match past {
                Seen::Present {
                    holds: Some(holds), ..
                } => holds.id.as_ref().is_none_or(|id| *id == entry.id),
                Seen::Present { holds: None, .. } => false,
                Seen::Deleted { .. } | Seen::Absent => !lenient,
            };
            if suspicious {
                return Look::WasCurrent(version - 1);
            }
        }
        Look::Clear
    }

    /// A retirement is due whose token could still be stored by somebody: the version to write unchanged, so that it no longer can.
    pub(super) fn unfenced(&self, now: Now) -> Option<u64> {
        let seen = self.seen.as_ref()?;
        let version = seen.version();
        let waits = self.record()?.retiring.iter().any(|entry| {
            entry.due <= now.wall && self.belongs_here(entry) && entry.base == version
        });
        let can = self.errand.history && matches!(seen, Seen::Present { .. });
        (waits && can).then_some(version)
    }

    /// The token is out of use: what is the next step?
    fn retire_next(&mut self, entry: &Retiring, now: Now) -> Command {
        let own = &self.errand.plan.name;
        let holders = self.errand.holders.get(&entry.id);
        if let Some(name) = holders.and_then(|names| names.iter().find(|name| *name != own)) {
            let message = format!(
                "{} should retire, but it is the current value of {name}, too; it is left alone. Give each secret a token of its own",
                entry.id
            );
            let report = Report::new(EventName::TokenShared, message).token(&entry.id);
            return self.put_off(entry, report, now, |entry, later| entry.due = later);
        }
        let info = match &self.probe {
            Some((id, looked)) if *id == entry.id => match looked {
                Looked::Known(info) => info.clone(),
                Looked::Gone if !self.witnessed => return Command::Witness,
                Looked::Gone => {
                    return self.gone(&entry.id, "was deleted elsewhere or expired", now);
                }
            },
            _ => return Command::LookUp(entry.id.clone()),
        };
        match entry.state {
            RetiringState::Grace | RetiringState::Disabling => self.end_grace(entry, &info, now),
            RetiringState::Quarantine if info.enabled && self.errand.abilities.disable => {
                let message = format!(
                    "{} was enabled again by somebody; its grace begins anew",
                    entry.id
                );
                let report = Report::new(EventName::RetirementHeld, message)
                    .token(&entry.id)
                    .at(Level::Warn);
                self.put_off(entry, report, now, |entry, later| {
                    entry.state = RetiringState::Grace;
                    entry.due = later;
                })
            }
            RetiringState::Quarantine | RetiringState::Deleting => {
                let mut record = self.draft();
                for other in &mut record.retiring {
                    if other.id == entry.id {
                        other.state = RetiringState::Deleting;
                    }
                }
                record.claim = Some(self.claim(
                    Work::Delete {
                        id: entry.id.clone(),
                    },
                    now,
                ));
                self.write(record, vec![], Then::Go, now)
            }
        }
    }

    fn end_grace(&mut self, entry: &Retiring, info: &TokenInfo, now: Now) -> Command {
        if !info.enabled || !self.errand.abilities.disable {
            let message = if info.enabled {
                format!(
                    "the grace of {} is over; tokens of this kind cannot be disabled, it is deleted later",
                    entry.id
                )
            } else {
                format!("{} stands disabled", entry.id)
            };
            return self.quarantine(&entry.id, message, Level::Info, now);
        }
        if let Some(until) = self.still_used(entry, info, now) {
            let from = info.last_used_ip.as_deref().unwrap_or("an unknown address");
            let last = entry.since.checked_add(self.errand.plan.max_grace);
            let message = format!(
                "{} was still used from {from} after its successor was stored; it works on until it has been quiet for a grace, at the latest \
                 until {}",
                entry.id,
                last.unwrap_or(until)
            );
            let report = Report::new(EventName::RetirementHeld, message).token(&entry.id);
            let first = entry.held_since.is_none();
            let mut record = self.draft();
            for other in &mut record.retiring {
                if other.id == entry.id {
                    other.due = until;
                    other.held_since.get_or_insert(now.wall);
                    other.used_from.clone_from(&info.last_used_ip);
                }
            }
            // Told once; the entry shows it for as long as it lasts.
            let reports = if first { vec![report] } else { vec![] };
            return self.write(record, reports, Then::Go, now);
        }
        let mut record = self.draft();
        for other in &mut record.retiring {
            if other.id == entry.id {
                other.state = RetiringState::Disabling;
            }
        }
        let id = entry.id.clone();
        record.claim = Some(self.claim(Work::Disable { id }, now));
        let mut reports = vec![];
        if self.is_noisy(entry, info, now) {
            let from = info.last_used_ip.as_deref().unwrap_or("an unknown address");
            let message = format!(
                "{} is being disabled although it was still used from {from}: that consumer has not picked up the new value",
                entry.id
            );
            reports.push(
                Report::new(EventName::RetirementHeld, message)
                    .token(&entry.id)
                    .at(Level::Warn),
            );
        }
        self.write(record, reports, Then::Go, now)
    }

    /// Until when the grace is extended since the token is still used; none = its time has come.
    fn still_used(&self, entry: &Retiring, info: &TokenInfo, now: Now) -> Option<Timestamp> {
        let plan = &self.errand.plan;
        if plan.still_used == StillUsed::Warn || !used_since(entry, info) {
            return None;
        }
        let quiet = info.last_used?.checked_add(plan.grace).ok()?;
        let last = entry.since.checked_add(plan.max_grace).ok()?;
        let until = quiet.min(last);
        (until > now.wall).then_some(until)
    }

    /// It is used to the last: a consumer will notice.
    fn is_noisy(&self, entry: &Retiring, info: &TokenInfo, now: Now) -> bool {
        let quiet = info
            .last_used
            .and_then(|used| used.checked_add(self.errand.plan.grace).ok());
        used_since(entry, info) && quiet.is_some_and(|quiet| quiet > now.wall)
    }

    /// Under the claim to disable.
    pub(super) fn disable(&mut self, id: &TokenId, now: Now) -> Command {
        match self.acted.clone() {
            None => Command::Act(Act::Disable, id.clone()),
            Some((Act::Enable, Ok(()))) => {
                // Back among the living; what it is to the secret now is for the next look.
                self.release_entry(id, now, |entry, now| {
                    entry.state = RetiringState::Grace;
                    entry.due = now;
                })
            }
            Some((Act::Disable, Ok(()))) => {
                let Some(seen) = &self.seen else {
                    return Command::ReadSecret;
                };
                let back = seen
                    .holds()
                    .is_some_and(|holds| holds.id.as_ref() == Some(id));
                if back {
                    // A person put it back between our look and our disable.
                    return Command::Act(Act::Enable, id.clone());
                }
                let message = format!(
                    "disabled {id}; it is deleted later, until then it can be enabled again"
                );
                self.quarantine(id, message, Level::Info, now)
            }
            Some((_, Err(error))) if error.kind == ErrorKind::Gone => {
                if !self.witnessed {
                    return Command::Witness;
                }
                self.gone(id, "was deleted elsewhere or expired", now)
            }
            Some((_, Err(error))) if error.kind == ErrorKind::Unclear => {
                let mut record = self.draft();
                for entry in &mut record.retiring {
                    if entry.id == *id {
                        entry.tainted = Some(now.wall);
                    }
                }
                record.claim = None;
                self.write(
                    record,
                    vec![],
                    Then::Finish(super::facts::Verdict::Later(error)),
                    now,
                )
            }
            Some((_, Err(error))) => self.give_up(error, now),
            Some((Act::Delete, Ok(()))) => self.gone(id, "is deleted", now),
        }
    }

    /// Under the claim to delete.
    pub(super) fn delete(&mut self, id: &TokenId, now: Now) -> Command {
        match self.acted.clone() {
            None => Command::Act(Act::Delete, id.clone()),
            Some((_, Ok(()))) => self.gone(id, "is deleted", now),
            Some((_, Err(error))) if error.kind == ErrorKind::Gone => {
                if !self.witnessed {
                    return Command::Witness;
                }
                self.gone(id, "was deleted elsewhere or expired", now)
            }
            Some((_, Err(error))) => self.give_up(error, now),
        }
    }

    fn quarantine(&mut self, id: &TokenId, message: String, level: Level, now: Now) -> Command {
        let mut record = self.draft();
        let due = now
            .wall
            .checked_add(self.errand.plan.quarantine)
            .unwrap_or(now.wall);
        for entry in &mut record.retiring {
            if entry.id == *id {
                entry.state = RetiringState::Quarantine;
                entry.due = due;
                entry.held_since = None;
            }
        }
        record.claim = None;
        let report = Report::new(EventName::TokenDisabled, message)
            .token(id)
            .at(level);
        self.write(record, vec![report], Then::Go, now)
    }

    fn gone(&mut self, id: &TokenId, how: &str, now: Now) -> Command {
        let mut record = self.draft();
        record.retiring.retain(|entry| entry.id != *id);
        record.claim = None;
        self.forget_listed(id);
        let report = Report::new(EventName::TokenDeleted, format!("{id} {how}")).token(id);
        self.write(record, vec![report], Then::Go, now)
    }

    fn release_entry(
        &mut self,
        id: &TokenId,
        now: Now,
        change: impl Fn(&mut Retiring, Timestamp),
    ) -> Command {
        let mut record = self.draft();
        for entry in &mut record.retiring {
            if entry.id == *id {
                change(entry, now.wall);
            }
        }
        record.claim = None;
        self.write(record, vec![], Then::Go, now)
    }

    /// Looks at the entry again after another grace.
    fn postpone(
        &mut self,
        entry: &Retiring,
        now: Now,
        change: impl Fn(&mut Retiring, Timestamp),
    ) -> Command {
        let grace = self
            .errand
            .plan
            .grace
            .max(std::time::Duration::from_secs(1));
        let later = now.wall.checked_add(grace).unwrap_or(now.wall);
        self.release_entry(&entry.id, now, |entry, _| change(entry, later))
    }

    fn put_off(
        &mut self,
        entry: &Retiring,
        report: Report,
        now: Now,
        change: impl Fn(&mut Retiring, Timestamp),
    ) -> Command {
        self.tell(report);
        self.postpone(entry, now, change)
    }
}

/// It was used after its successor was stored. The last use is coarse, so the first seconds of a grace do not count.
fn used_since(entry: &Retiring, info: &TokenInfo) -> bool {
    info.last_used
        .is_some_and(|used| used.duration_since(entry.since) > SignedDuration::ZERO)
}

#[cfg(test)]
mod tests;
