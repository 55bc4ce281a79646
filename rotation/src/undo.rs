//! Undo: the previous token becomes the current value again, as long as it exists. Enable it, try it, store its value with check-and-set, look
//! at it once more, and let the newer one retire by the same rules.
//!
//! It begins only where no claim stands and from an entry in grace or quarantine. What is given up half-way goes back into grace with the
//! undo's own base, so that a store of it that still lands is fenced like any other.

use std::time::Duration;

use super::deliver::{STORES, VERIFY_WINDOW, pause};
use super::error::{CallError, ErrorKind, Service};
use super::event::{EventName, Report};
use super::facts::{Act, Command, Looked, Now, Seen, Verdict};
use super::machine::{Run, Then};
use super::record::{Current, Proof, Record, Retiring, RetiringState, Work};
use super::token::{TokenId, TokenInfo};

/// How far an undo has come under its claim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Back {
    /// This run had the claim to bring this token back: what it sent may have come true.
    begun: Option<TokenId>,
    enabled: bool,
    works: Option<TokenInfo>,
    since: Option<Duration>,
    tries: u32,
    pause: Option<Duration>,
    sends: u32,
    unclear: bool,
    rejected: bool,
    stored: Option<u64>,
}

impl Run {
    /// Nobody has a claim, and a person wants the previous token back: may it be done?
    pub(super) fn undo(&mut self, now: Now) -> Command {
        if let Some(id) = self.back.begun.clone() {
            return self.forestalled(&id);
        }
        let entry = match self.previous(now) {
            Ok(entry) => entry,
            Err(command) => return command,
        };
        match &self.probe {
            Some((id, Looked::Known(_))) if *id == entry.id => {}
            Some((id, Looked::Gone)) if *id == entry.id => {
                if !self.witnessed {
                    return Command::Witness;
                }
                return self.refuse(format!("it is too late: {} is gone at Dynatrace", entry.id));
            }
            _ => return Command::LookUp(entry.id),
        }
        let from = match self.version_of(&entry) {
            Ok(Some(from)) => from,
            Ok(None) => {
                return self.refuse(format!(
                    "the value of {} cannot be read any more: its version was deleted or pruned",
                    entry.id
                ));
            }
            Err(command) => return command,
        };
        let mut record = self.draft();
        record.claim = Some(self.claim(
            Work::Undo {
                id: entry.id,
                base: self.seen.as_ref().map_or(0, Seen::version),
                from,
            },
            now,
        ));
        self.back = Back::default();
        self.write(record, vec![], Then::Go, now)
    }

    /// The claim of this undo is gone: another holder settled what it had begun. It does not begin anew, since the previous token may be
    /// the newer one by now.
    fn forestalled(&mut self, id: &TokenId) -> Command {
        let current = self.record().and_then(|record| record.current.as_ref());
        if current.is_some_and(|current| current.id == *id) {
            return self.finish(Verdict::Settled { wake: None });
        }
        self.refuse(format!(
            "another process took this undo over before {id} was the current value; `dtrotate status` shows what came of it"
        ))
    }

    /// The token to go back to, if nothing speaks against it.
    fn previous(&mut self, now: Now) -> Result<Retiring, Command> {
        if !self.errand.history {
            let why = "KV version 1 keeps no older values, so there is nothing to go back to";
            return Err(self.refuse(why.into()));
        }
        if self.is_moved() {
            let why =
                "its place in the configuration changed; `dtrotate rotate` accepts that first";
            return Err(self.refuse(why.into()));
        }
        let held = self.held()?;
        let current = self.record().and_then(|record| record.current.as_ref());
        let known = current.is_some_and(|current| held.as_ref() == Some(&current.id));
        if !known {
            let there = held.map_or("no value".into(), |id| id.to_string());
            return Err(self.refuse(format!(
                "{} is in Vault, which is not what the journal recorded: a person's change stands, and a running daemon takes note of it",
                there
            )));
        }
        let entries = self.record().map_or(&[][..], |record| &record.retiring);
        let former = entries
            .iter()
            .filter(|entry| matches!(entry.proof, Proof::Version(_)) && self.belongs_here(entry))
            .max_by_key(|entry| (entry.base, entry.since));
        let Some(entry) = former.cloned() else {
            return Err(self.refuse("there is no previous token any more".into()));
        };
        let settled = entry
            .tainted
            .and_then(|since| since.checked_add(self.errand.plan.settle).ok());
        if entry.state == RetiringState::Deleting {
            return Err(self.refuse(format!("it is too late: {} is being deleted", entry.id)));
        }
        if let Some(until) = settled.filter(|until| now.wall < *until) {
            return Err(self.refuse(format!(
                "a call to disable {} may still take effect; try again after {until}",
                entry.id
            )));
        }
        Ok(entry)
    }

    /// The id of the value in Vault; none = there is no value. A legacy value must be looked up to tell.
    fn held(&self) -> Result<Option<TokenId>, Command> {
        let Some(seen) = &self.seen else {
            return Err(Command::ReadSecret);
        };
        let Some(holds) = seen.holds() else {
            return Ok(None);
        };
        match (&holds.id, &self.looked) {
            (Some(id), _) => Ok(Some(id.clone())),
            (None, None) => Err(Command::LookUpValue),
            (None, Some(Looked::Known(info))) => Ok(Some(info.id.clone())),
            (None, Some(Looked::Gone)) => Ok(None),
        }
    }

    /// A version from which the token's value can be read: the last one that it stood in, or the one in which it was recorded.
    fn version_of(&self, entry: &Retiring) -> Result<Option<u64>, Command> {
        let Proof::Version(recorded) = entry.proof else {
            return Ok(None);
        };
        for version in [entry.base, recorded] {
            let Some(past) = self.past.get(&version) else {
                return Err(Command::ReadVersion(version));
            };
            let Some(holds) = past.holds() else { continue };
            // A legacy value does not show whose it is: the journal says so, and it is tried before it is stored.
            let same = holds
                .id
                .as_ref()
                .map_or(version == recorded, |id| *id == entry.id);
            if same {
                return Ok(Some(version));
            }
        }
        Ok(None)
    }

    fn refuse(&mut self, why: String) -> Command {
        self.finish(Verdict::Refused(why))
    }

    /// Under the claim of an undo.
    pub(super) fn bring_back(&mut self, id: &TokenId, base: u64, from: u64, now: Now) -> Command {
        self.back.begun.get_or_insert_with(|| id.clone());
        if let Some(pause) = self.back.pause.take() {
            return Command::Wait(pause);
        }
        if let Some(version) = self.back.stored {
            return self.look_again(id, version, now);
        }
        if !self.back.enabled {
            return match self.acted.take() {
                None => Command::Act(Act::Enable, id.clone()),
                Some((_, Ok(()))) => {
                    self.back.enabled = true;
                    self.bring_back(id, base, from, now)
                }
                Some((_, Err(error))) => self.abort_undo(error.what, now),
            };
        }
        if self.back.works.is_none() {
            return Command::TryVersion(from);
        }
        if self.back.rejected {
            return self.settle_restore(id, base, from, now);
        }
        Command::Restore { base, from }
    }

    /// A disable that was sent before may land late: it is looked at once more, and enabled again if need be.
    fn look_again(&mut self, id: &TokenId, version: u64, now: Now) -> Command {
        match self.acted.take() {
            Some((_, Ok(()))) => self.probe = None,
            Some((_, Err(error))) => return self.give_up(error, now),
            None => {}
        }
        match &self.probe {
            Some((probed, Looked::Known(info))) if probed == id && !info.enabled => {
                Command::Act(Act::Enable, id.clone())
            }
            Some((probed, _)) if probed == id => self.undone(version, now),
            _ => Command::LookUp(id.clone()),
        }
    }

    fn undone(&mut self, version: u64, now: Now) -> Command {
        let Some(info) = self.back.works.clone() else {
            return Command::ReadSecret;
        };
        let mut record = self.draft();
        record.retiring.retain(|entry| entry.id != info.id);
        let current = Current::new(&info, version, &record.epoch);
        let former = record.current.replace(current);
        let mut message = format!("{} is the current value again", info.id);
        let mut report = Report::new(EventName::UndoSucceeded, "").token(&info.id);
        if let Some(former) = former {
            self.retire_former(&mut record, &former, version, now);
            message += &format!("; {} retires", former.id);
            report = report.old(&former.id);
        }
        report.message = message;
        record.claim = None;
        record.invalid = None;
        let end = Then::Finish(Verdict::Settled { wake: None });
        self.write(record, vec![report], end, now)
    }

    /// It is given up: the token goes back into grace, fenced by the base of this undo.
    pub(super) fn abort_undo(&mut self, why: String, now: Now) -> Command {
        let mut record = self.draft();
        if let Some(Work::Undo { id, base, .. }) = record.claim.take().map(|claim| claim.work) {
            self.back_into_grace(&mut record, &id, base, now);
        }
        let message = format!("the previous token was not brought back: {why}");
        let report = Report::new(EventName::RotationFailed, message.clone());
        let end = Then::Finish(Verdict::Refused(message));
        self.write(record, vec![report], end, now)
    }

    /// What an undo may have enabled, and may still store, retires anew.
    pub(super) fn back_into_grace(&self, record: &mut Record, id: &TokenId, base: u64, now: Now) {
        let due = now
            .wall
            .checked_add(self.errand.plan.grace)
            .unwrap_or(now.wall);
        for entry in record.retiring.iter_mut().filter(|entry| entry.id == *id) {
            entry.state = RetiringState::Grace;
            entry.base = entry.base.max(base);
            entry.due = due;
        }
    }

    /// What came of trying the old value.
    pub(super) fn tried(&mut self, info: Result<TokenInfo, CallError>, now: Now) {
        let since = *self.back.since.get_or_insert(now.mono);
        match info {
            Ok(info) => self.back.works = Some(info),
            Err(error)
                if error.kind != ErrorKind::Refused
                    && now.mono.saturating_sub(since) <= VERIFY_WINDOW =>
            {
                self.back.tries += 1;
                self.back.pause = Some(pause(self.back.tries, error.retry_after));
            }
            Err(error) => {
                let what = format!("its value does not work: {}", error.what);
                self.trouble = Some(CallError::new(Service::Dynatrace, ErrorKind::Refused, what));
            }
        }
    }

    /// What came of storing it.
    pub(super) fn restored(&mut self, stored: Result<u64, CallError>) {
        self.forget_secret();
        self.back.sends += 1;
        let error = match stored {
            Ok(version) => {
                self.back.stored = Some(version);
                return;
            }
            Err(error) => error,
        };
        match error.kind {
            ErrorKind::Conflict => self.back.rejected = true,
            ErrorKind::Refused | ErrorKind::Gone if self.back.unclear => self.back.rejected = true,
            ErrorKind::Refused | ErrorKind::Gone => self.trouble = Some(error),
            kind => {
                self.back.unclear |= kind == ErrorKind::Unclear;
                if self.back.sends < STORES {
                    self.back.pause = Some(pause(self.back.sends, error.retry_after));
                } else {
                    self.trouble = Some(error);
                }
            }
        }
    }

    /// The check-and-set was refused: is it ours that stands in the place, or somebody else's?
    fn settle_restore(&mut self, id: &TokenId, base: u64, from: u64, now: Now) -> Command {
        let Some(seen) = self.seen.clone() else {
            return Command::ReadSecret;
        };
        let (version, next) = (seen.version(), base + 1);
        if version == base && self.back.sends < STORES {
            // A node that lags behind refused it; nothing was written since.
            self.back.rejected = false;
            self.back.pause = Some(pause(1, None));
            return self.bring_back(id, base, from, now);
        }
        let place = match version == next {
            true => seen,
            false if version < next => Seen::Absent,
            false => match self.past.get(&next) {
                Some(past) => past.clone(),
                None => return Command::ReadVersion(next),
            },
        };
        let wanted = self.past.get(&from).and_then(Seen::holds).map(|h| h.mark);
        let ours = place.holds().is_some_and(|h| Some(h.mark) == wanted);
        if ours && version == next {
            self.back.stored = Some(next);
            return self.bring_back(id, base, from, now);
        }
        self.abort_undo(
            format!("somebody wrote version {version} of {}", self.place()),
            now,
        )
    }
}

#[cfg(test)]
mod tests;
