//! The rotation itself: look, claim with the attempt, mint, verify, store, commit. The rows of the protocol's table in the order in
//! which a good rotation meets them.
//!
//! The normal path reads the secret and looks its token up first, and claims with the attempt in one check-and-set on the journal
//! version that was known before: a stale base is refused by the store. Everything odd claims first and looks again under the claim.

use std::time::Duration;

use super::error::{CallError, ErrorKind, Service};
use super::event::{EventName, Level, Report};
use super::facts::{Act, Command, Holds, Looked, Now, Seen, Verdict};
use super::fitness;
use super::machine::{Run, Then};
use super::record::{
    Attempt, Current, OpenAttempt, Proof, Reason, Record, Retiring, RetiringState, Trigger, Work,
};
use super::token::{Marker, MintOrder, TokenId, TokenInfo};

/// How long a new token may take to be accepted everywhere. No figure is published; disabling is said to take up to five minutes.
const VERIFY_WINDOW: Duration = Duration::from_secs(300);
/// More mints than this with an unclear outcome in one run: the environment is in trouble.
const UNCLEAR_MINTS: u32 = 3;
/// Sends of one store, the same check-and-set every time, before the run leaves it to the journal. With the waits in between about a minute,
/// longer than a Vault cluster takes to elect a leader.
const STORES: u32 = 10;

/// What the new token is to be like, taken from the one that it replaces.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Template {
    name_base: String,
    scopes: Vec<String>,
    lifetime: Option<Duration>,
    /// The mark of the value that it replaces, to see whether our field changed.
    old_mark: u64,
    /// The old token was still there when it was looked up.
    old_known: bool,
}

/// The token of the attempt under way, as far as this run has it. A run that dies loses it: the attempt becomes open.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Hand {
    /// The mint has not been sent.
    Empty,
    /// The mint was sent and its outcome is unclear.
    Unclear,
    /// The environment refused to mint: nothing was made.
    Refused,
    /// The minted token was deleted again: nothing is left of the attempt.
    Gone,
    /// Minted.
    Minted(Box<Minted>),
}

/// A minted token in hand.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Minted {
    holds: Holds,
    since: Duration,
    tries: u32,
    pause: Option<Duration>,
    verified: Option<TokenInfo>,
    sends: u32,
    unclear: bool,
    rejected: bool,
    stored: Option<u64>,
    /// It will not be stored: why, and whether to try again.
    discard: Option<Discard>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Discard {
    Failed(Reason, String, Option<CallError>),
    Superseded(u64),
}

/// What the value in Vault is to us.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Standing {
    /// The recorded current token.
    Current,
    /// Recorded and gone, and a person said to go on: the journal's record is the template.
    Template,
    /// Ours by its marker, but nobody committed it: a store whose sender died.
    Adoptable,
    /// On its way out, and put back by a person.
    Returned,
    /// Somebody put another token.
    Foreign,
    /// Nothing can be done without a human.
    Stuck(Reason, String),
}

impl Run {
    /// The next command of a rotation, claimed or not.
    pub(super) fn rotate(&mut self, now: Now) -> Command {
        if self.is_moved() {
            return self.move_house(now);
        }
        let attempt = match self.record().and_then(|record| record.claim.as_ref()) {
            Some(claim) => match &claim.work {
                Work::Rotate { attempt, .. } => attempt.clone(),
                _ => None,
            },
            None => None,
        };
        match (attempt, self.hand.clone()) {
            (None, _) => self.prepare(now),
            (Some(attempt), Hand::Empty) => self.mint(&attempt, now),
            (Some(attempt), Hand::Unclear) => self.mint_anew(&attempt, now),
            (Some(attempt), Hand::Minted(minted)) => self.bring_home(&attempt, *minted, now),
            (Some(_), Hand::Refused | Hand::Gone) => self.fail(
                Reason::Unavailable,
                "the attempt came to nothing; nothing was left behind".into(),
                Some(lost()),
                now,
            ),
        }
    }

    /// Before the attempt: what stands in Vault, and what is it to us?
    fn prepare(&mut self, now: Now) -> Command {
        let standing = match self.standing() {
            Ok(standing) => standing,
            Err(command) => return command,
        };
        if self.errand.dry {
            return self.say(standing);
        }
        let claimed = self.record().is_some_and(|record| record.claim.is_some());
        if !claimed && standing != Standing::Current {
            return self.claim_to_look_again(now);
        }
        match standing {
            Standing::Current | Standing::Foreign | Standing::Template => {
                self.write_attempt(&standing, now)
            }
            Standing::Adoptable => self.adopt(now),
            Standing::Returned => self.take_back(now),
            Standing::Stuck(reason, message) => self.fail(reason, message, None, now),
        }
    }

    fn claim_to_look_again(&mut self, now: Now) -> Command {
        let mut record = self.draft();
        let (due, trigger) = self.wished();
        record.claim = Some(self.claim(
            Work::Rotate {
                due,
                trigger,
                attempt: None,
            },
            now,
        ));
        self.write(record, vec![], Then::Refresh, now)
    }

    fn wished(&self) -> (Option<jiff::Timestamp>, Trigger) {
        match &self.errand.wish {
            Some(wish) => (wish.due, wish.trigger),
            None => (None, Trigger::Recovery),
        }
    }

    /// Judges the value in Vault, or names the command that is needed first.
    pub(super) fn standing(&self) -> Result<Standing, Command> {
        let Some(seen) = &self.seen else {
            return Err(Command::ReadSecret);
        };
        let holds = match fitness::holding(seen, self.place(), &self.plan().name) {
            Ok(holds) => holds,
            Err((reason, message)) => return Ok(Standing::Stuck(reason, message)),
        };
        let Some(looked) = &self.looked else {
            return Err(Command::LookUpValue);
        };
        let info = match looked {
            Looked::Known(info) => info,
            Looked::Gone if !self.witnessed => return Err(Command::Witness),
            Looked::Gone => return Ok(self.unknown_value(holds)),
        };
        let Some(record) = self.record() else {
            return Ok(self.usable(info).unwrap_or(Standing::Foreign));
        };
        if let Some(entry) = record.retiring(&info.id)
            && (info.enabled || entry.state != RetiringState::Grace)
        {
            return Ok(Standing::Returned);
        }
        if let Some(stuck) = self.usable(info) {
            return Ok(stuck);
        }
        if record.is_current(&info.id) {
            return Ok(Standing::Current);
        }
        let (_, marker) = Marker::split(&info.name);
        match marker {
            Some(marker) if marker.epoch == record.epoch => Ok(Standing::Adoptable),
            _ => Ok(Standing::Foreign),
        }
    }

    /// The environment does not know the value.
    fn unknown_value(&self, holds: &Holds) -> Standing {
        let recorded = self.record().and_then(|record| record.current.as_ref());
        let same = match (&holds.id, recorded) {
            (Some(id), Some(current)) => *id == current.id,
            _ => false,
        };
        let asked = matches!(self.wished().1, Trigger::Command | Trigger::Sweep);
        if same && asked {
            return Standing::Template;
        }
        let name = &self.errand.plan.name;
        let shown = holds.id.as_ref().map_or("(legacy format)", TokenId::as_str);
        let advice = if same {
            format!(
                "it was there before, so somebody deleted it or it expired more than a week ago: run `dtrotate rotate {name}` to replace it"
            )
        } else {
            "is it a token of another environment? Put a token of this environment there".to_owned()
        };
        Standing::Stuck(
            Reason::TokenUnknown,
            format!(
                "Dynatrace does not know the token {shown} in {}; {advice}",
                self.place()
            ),
        )
    }

    /// Why a token that the environment knows cannot be rotated.
    fn usable(&self, info: &TokenInfo) -> Option<Standing> {
        let (reason, message) = fitness::unfit(info, self.place(), self.plan().manages_tokens)?;
        // What the sweep wants replaced does not work, and need not.
        if reason == Reason::TokenDisabled && self.wished().1 == Trigger::Sweep {
            return None;
        }
        Some(Standing::Stuck(reason, message))
    }

    /// Writes claim and attempt before the mint. A foreign value becomes the current one first, and the former one retires.
    fn write_attempt(&mut self, standing: &Standing, now: Now) -> Command {
        let mut record = self.draft();
        let version = self.seen.as_ref().map_or(0, Seen::version);
        let mut reports = vec![];
        let known = match &self.looked {
            Some(Looked::Known(info)) => Some(Current::new(info, version, &record.epoch)),
            _ => None,
        };
        let Some(old) = known.clone().or_else(|| record.current.clone()) else {
            return Command::ReadSecret;
        };
        let lifetime =
            match fitness::lifetime(self.plan(), &old.id, old.created, old.expires, now.wall) {
                Ok(lifetime) => lifetime,
                Err(message) => return self.fail(Reason::LifetimeTooShort, message, None, now),
            };
        if *standing == Standing::Foreign {
            reports.extend(self.replace_current(&mut record, &old, now));
        }
        self.template = Some(Template {
            name_base: old.name_base.clone(),
            scopes: old.scopes.clone(),
            lifetime,
            old_mark: self.mark(),
            old_known: known.is_some(),
        });
        self.hand = Hand::Empty;
        let (due, trigger) = match record.claim.as_ref().map(|claim| &claim.work) {
            Some(Work::Rotate { due, trigger, .. }) => (*due, *trigger),
            _ => self.wished(),
        };
        record.attempt += 1;
        let attempt = Attempt {
            n: record.attempt,
            base: version,
            old: old.id.clone(),
        };
        let mut report = Report::new(
            EventName::RotationStarted,
            format!(
                "rotating {} in {} (attempt {})",
                old.id, record.coordinates, attempt.n
            ),
        )
        .old(&old.id);
        report.trigger = Some(trigger);
        report.attempt = Some(attempt.n);
        reports.push(report);
        record.current = Some(old);
        record.claim = Some(self.claim(
            Work::Rotate {
                due,
                trigger,
                attempt: Some(attempt),
            },
            now,
        ));
        self.write(record, reports, Then::Go, now)
    }

    fn mark(&self) -> u64 {
        self.seen
            .as_ref()
            .and_then(Seen::holds)
            .map_or(0, |holds| holds.mark)
    }

    /// A person's value becomes the current one; the former retires if dtrotate may end it.
    fn replace_current(&self, record: &mut Record, new: &Current, now: Now) -> Option<Report> {
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
        });
    }

    fn mint(&mut self, attempt: &Attempt, now: Now) -> Command {
        let (Some(template), Some(record)) = (&self.template, self.record()) else {
            // The attempt was written by a run that is no more.
            self.hand = Hand::Unclear;
            return self.mint_anew(attempt, now);
        };
        let marker = Marker {
            epoch: record.epoch.clone(),
            attempt: attempt.n,
        };
        Command::Mint(MintOrder {
            name: marker.name(&template.name_base),
            scopes: template.scopes.clone(),
            expires: template
                .lifetime
                .and_then(|lifetime| now.wall.checked_add(lifetime).ok()),
            lifetime: template.lifetime,
        })
    }

    /// A mint may have happened although no answer came. It is never repeated under the same number: the attempt becomes open, and the next
    /// one gets a number of its own.
    fn mint_anew(&mut self, attempt: &Attempt, now: Now) -> Command {
        let mut record = self.draft();
        record.open.push(OpenAttempt {
            attempt: attempt.n,
            base: attempt.base,
            since: now.wall,
            missed: None,
        });
        record.attempt += 1;
        let next = record.attempt;
        if let Some(Work::Rotate {
            attempt: Some(attempt),
            ..
        }) = record.claim.as_mut().map(|claim| &mut claim.work)
        {
            attempt.n = next;
        }
        self.hand = Hand::Empty;
        self.write(record, vec![], Then::Go, now)
    }

    pub(super) fn minted(&mut self, minted: Result<Holds, CallError>, now: Now) {
        match minted {
            Ok(holds) => {
                let mut report = Report::new(EventName::TokenMinted, "made a new token");
                report.token_id = holds.id.clone();
                self.tell(report);
                self.hand = Hand::Minted(Box::new(Minted {
                    holds,
                    since: now.mono,
                    tries: 0,
                    pause: None,
                    verified: None,
                    sends: 0,
                    unclear: false,
                    rejected: false,
                    stored: None,
                    discard: None,
                }));
            }
            Err(error) if error.kind == ErrorKind::Unclear => {
                self.hand = Hand::Unclear;
                self.unclear_mints += 1;
                if self.unclear_mints >= UNCLEAR_MINTS {
                    self.trouble = Some(error);
                }
            }
            Err(error) => {
                self.hand = if error.kind == ErrorKind::Refused {
                    Hand::Refused
                } else {
                    Hand::Empty
                };
                self.trouble = Some(error);
            }
        }
    }

    /// From a minted token to a committed one.
    fn bring_home(&mut self, attempt: &Attempt, mut minted: Minted, now: Now) -> Command {
        if let Some(pause) = minted.pause.take() {
            self.hand = Hand::Minted(Box::new(minted));
            return Command::Wait(pause);
        }
        if let Some(version) = minted.stored {
            return self.commit(attempt, &minted, version, now);
        }
        if minted.discard.is_some() {
            return self.discard(&minted, now);
        }
        if minted.verified.is_none() {
            return Command::Verify;
        }
        if minted.rejected {
            return self.settle_rejection(attempt, minted, now);
        }
        Command::Store { base: attempt.base }
    }

    pub(super) fn verified(&mut self, info: Result<TokenInfo, CallError>, now: Now) {
        let wanted = self
            .template
            .as_ref()
            .map(|template| template.scopes.clone())
            .unwrap_or_default();
        let Hand::Minted(minted) = &mut self.hand else {
            return;
        };
        let failed =
            |message: String, error| Some(Discard::Failed(Reason::VerifyFailed, message, error));
        match info {
            Ok(info) => {
                let missing: Vec<_> = wanted
                    .iter()
                    .filter(|scope| !info.scopes.contains(scope))
                    .cloned()
                    .collect();
                minted.holds.id = Some(info.id.clone());
                if missing.is_empty() && info.enabled {
                    let report = Report::new(EventName::TokenVerified, "the new token works")
                        .token(&info.id);
                    minted.verified = Some(info);
                    self.tell(report);
                } else {
                    let what = if missing.is_empty() {
                        "is disabled".to_owned()
                    } else {
                        format!("lacks the rights {}", missing.join(", "))
                    };
                    minted.discard = failed(
                        format!("the new token {} {what}; it was not stored", info.id),
                        None,
                    );
                }
            }
            Err(error) if error.kind == ErrorKind::Refused => {
                minted.discard = failed(format!("the new token could not be tried: {error}"), None);
            }
            Err(error) => {
                minted.tries += 1;
                if now.mono.saturating_sub(minted.since) > VERIFY_WINDOW {
                    let message = format!(
                        "the new token did not work within {} s; it was not stored",
                        VERIFY_WINDOW.as_secs()
                    );
                    minted.discard = failed(message, Some(error));
                } else {
                    minted.pause = Some(pause(minted.tries, error.retry_after));
                }
            }
        }
    }

    pub(super) fn stored(&mut self, stored: Result<u64, CallError>) {
        self.seen = None;
        self.looked = None;
        let Hand::Minted(minted) = &mut self.hand else {
            return;
        };
        minted.sends += 1;
        let error = match stored {
            Ok(version) => {
                minted.stored = Some(version);
                let mut report = Report::new(
                    EventName::SecretStored,
                    format!("the new value is version {version}"),
                );
                report.token_id = minted.holds.id.clone();
                self.tell(report);
                return;
            }
            Err(error) => error,
        };
        match error.kind {
            ErrorKind::Conflict => minted.rejected = true,
            // It was sent before and may have landed: only reading back tells.
            ErrorKind::Refused | ErrorKind::Gone if minted.unclear => minted.rejected = true,
            ErrorKind::Refused | ErrorKind::Gone => {
                minted.discard = Some(Discard::Failed(Reason::VaultRefused, error.what, None));
            }
            kind => {
                minted.unclear |= kind == ErrorKind::Unclear;
                if minted.sends < STORES {
                    minted.pause = Some(pause(minted.sends, error.retry_after));
                } else {
                    self.trouble = Some(error);
                }
            }
        }
    }

    /// The check-and-set was refused: who stands in our place? Version `base + 1` tells, whatever came after it.
    fn settle_rejection(&mut self, attempt: &Attempt, mut minted: Minted, now: Now) -> Command {
        let Some(seen) = self.seen.clone() else {
            return Command::ReadSecret;
        };
        let (version, next) = (seen.version(), attempt.base + 1);
        let place = if !self.errand.history {
            // Without history the present is all there is; if it is not ours, nothing is proved.
            match seen.holds() {
                Some(holds) if holds.mark == minted.holds.mark => seen.clone(),
                _ => Seen::Absent,
            }
        } else if version < next {
            if version == attempt.base && minted.sends < STORES {
                // A node that lags behind refused it; nothing was written since.
                minted.rejected = false;
                minted.pause = Some(pause(1, None));
                self.seen = None;
                self.hand = Hand::Minted(Box::new(minted));
                return self.rotate(now);
            }
            // The counter went back: the secret's metadata was deleted, or Vault was restored. Nothing is proved.
            Seen::Absent
        } else if version == next {
            seen.clone()
        } else {
            match self.past.get(&next) {
                Some(seen) => seen.clone(),
                None => return Command::ReadVersion(next),
            }
        };
        match place.holds() {
            Some(holds) if holds.mark == minted.holds.mark => {
                minted.stored = Some(if self.errand.history { next } else { version });
                self.hand = Hand::Minted(Box::new(minted));
                self.rotate(now)
            }
            _ if matches!(place, Seen::Present { .. }) => {
                let unchanged = self
                    .template
                    .as_ref()
                    .zip(seen.holds())
                    .is_some_and(|(template, holds)| template.old_mark == holds.mark);
                if unchanged {
                    return self.rebase(minted, version, now);
                }
                minted.discard = Some(Discard::Superseded(version));
                self.hand = Hand::Minted(Box::new(minted));
                self.rotate(now)
            }
            _ => self.retire_unproved(&minted, version, now),
        }
    }

    /// Somebody changed other fields only: theirs are kept, and the store is repeated on the new version, which the journal learns first.
    fn rebase(&mut self, mut minted: Minted, version: u64, now: Now) -> Command {
        let mut record = self.draft();
        if let Some(Work::Rotate {
            attempt: Some(attempt),
            ..
        }) = record.claim.as_mut().map(|claim| &mut claim.work)
        {
            attempt.base = version;
        }
        minted.rejected = false;
        minted.unclear = false;
        self.hand = Hand::Minted(Box::new(minted));
        self.write(record, vec![], Then::Go, now)
    }

    /// Whether our value ever was in Vault cannot be proved: it retires with full grace.
    fn retire_unproved(&mut self, minted: &Minted, version: u64, now: Now) -> Command {
        let Some(id) = minted.holds.id.clone() else {
            return self.fail(
                Reason::VerifyFailed,
                "the new token shows no id".into(),
                Some(lost()),
                now,
            );
        };
        let mut record = self.draft();
        self.put_into_grace(&mut record, &id, version, Proof::Marker, now);
        let due = claimed_due(&record);
        record.claim = None;
        record.last_due = record.last_due.max(due);
        let report = Report::new(
            EventName::SecretChangedElsewhere,
            format!("the secret changed while it was being rotated, and what happened cannot be read any more; {id} retires with full grace"),
        )
        .token(&id);
        self.drop_hand();
        self.write(record, vec![report], Then::Served, now)
    }

    /// The minted token will not be stored, and its store was never accepted: delete it at once.
    fn discard(&mut self, minted: &Minted, now: Now) -> Command {
        let (Some(id), Some(discard)) = (&minted.holds.id, &minted.discard) else {
            // Its id is not known yet; it is found by its marker.
            return match &minted.discard {
                Some(Discard::Failed(reason, message, error)) => {
                    self.fail(*reason, message.clone(), error.clone(), now)
                }
                _ => self.fail(
                    Reason::VerifyFailed,
                    "the new token shows no id".into(),
                    Some(lost()),
                    now,
                ),
            };
        };
        match &self.acted {
            None => return Command::Act(Act::Delete, id.clone()),
            Some((_, Ok(()))) => self.hand = Hand::Gone,
            // Not seen yet, or unclear, or refused: it stays open and is found by its marker.
            Some((_, Err(_))) => {}
        }
        match discard.clone() {
            Discard::Failed(reason, message, error) => self.fail(reason, message, error, now),
            Discard::Superseded(version) => {
                let mut record = self.draft();
                self.open_attempt(&mut record, now);
                let due = claimed_due(&record);
                record.claim = None;
                record.last_due = record.last_due.max(due);
                let message = format!(
                    "somebody wrote version {version} of {} while it was being rotated; their value stands, and the new token was given up",
                    record.coordinates
                );
                let report = Report::new(EventName::SecretChangedElsewhere, message).token(id);
                self.drop_hand();
                self.forget_secret();
                self.write(record, vec![report], Then::Served, now)
            }
        }
    }

    fn commit(&mut self, attempt: &Attempt, minted: &Minted, version: u64, now: Now) -> Command {
        let Some(info) = &minted.verified else {
            return Command::Verify;
        };
        let mut record = self.draft();
        let trigger = match record.claim.as_ref().map(|claim| &claim.work) {
            Some(Work::Rotate { trigger, .. }) => *trigger,
            _ => Trigger::Recovery,
        };
        let due = claimed_due(&record);
        let former = record.current.take();
        record.current = Some(Current::new(info, version, &record.epoch));
        let mut message = format!("{} holds {}", record.coordinates, info.id);
        let known = self
            .template
            .as_ref()
            .is_none_or(|template| template.old_known);
        if let Some(former) = former.filter(|former| former.id == attempt.old && known) {
            self.retire_former(&mut record, &former, version, now);
            if let Some(entry) = record.retiring(&former.id) {
                message += &format!("; {} works on until {}", former.id, entry.due);
            }
        }
        record.last_due = record.last_due.max(due);
        record.last_success = Some(now.wall);
        if let Some(failure) = record.failure.take() {
            message += &format!("; it is over what kept it since {}", failure.since);
        }
        record.invalid = None;
        record.claim = None;
        let mut report = Report::new(EventName::RotationSucceeded, message)
            .token(&info.id)
            .old(&attempt.old);
        report.trigger = Some(trigger);
        report.attempt = Some(attempt.n);
        self.past.remove(&attempt.base);
        self.postcheck = Some(attempt.base);
        self.write(record, vec![report], Then::Served, now)
    }

    /// A store whose sender died is committed by whoever finds it.
    pub(super) fn adopt(&mut self, now: Now) -> Command {
        let (Some(Looked::Known(info)), Some(seen)) = (self.looked.clone(), self.seen.clone())
        else {
            return Command::ReadSecret;
        };
        let mut record = self.draft();
        let due = claimed_due(&record);
        let current = Current::new(&info, seen.version(), &record.epoch);
        let (_, marker) = Marker::split(&info.name);
        let mut reports = vec![];
        if let Some(marker) = marker {
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

    /// What a dry run tells.
    pub(super) fn say(&mut self, standing: Standing) -> Command {
        let name = &self.errand.plan.name;
        let current = match &self.looked {
            Some(Looked::Known(info)) => format!("{} ({})", info.id, info.scopes.join(", ")),
            _ => "the recorded token".to_owned(),
        };
        let text = match standing {
            Standing::Current => format!("{name}: would replace {current}"),
            Standing::Template => {
                format!("{name}: would replace {current}, which Dynatrace does not know any more")
            }
            Standing::Foreign => {
                format!("{name}: would replace {current}, which somebody put there by hand")
            }
            Standing::Adoptable => {
                format!("{name}: would commit {current}, which an interrupted rotation stored")
            }
            Standing::Returned => format!(
                "{name}: would take back {current}, which somebody put there again, and then replace it"
            ),
            Standing::Stuck(_, message) => format!("{name}: stuck: {message}"),
        };
        self.finish(Verdict::Would(text))
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

/// The due instant that the claimed rotation serves.
fn claimed_due(record: &Record) -> Option<jiff::Timestamp> {
    match record.claim.as_ref().map(|claim| &claim.work) {
        Some(Work::Rotate { due, .. }) => *due,
        _ => None,
    }
}

/// Half a second, doubled each time, at most 20 s; a server's wish counts up to a minute.
fn pause(tries: u32, wish: Option<Duration>) -> Duration {
    let own = Duration::from_millis(250 << tries.min(6)).min(Duration::from_secs(20));
    own.max(wish.unwrap_or_default())
        .min(Duration::from_secs(60))
}

fn lost() -> CallError {
    CallError::new(
        Service::Dynatrace,
        ErrorKind::Transient,
        "the attempt came to nothing",
    )
}
