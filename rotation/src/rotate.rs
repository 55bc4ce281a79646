//! The rotation itself: look, claim with the attempt, mint, verify, store, commit. The rows of the protocol's table in the order in
//! which a good rotation meets them.
//!
//! The normal path reads the secret and looks its token up first, and claims with the attempt in one check-and-set on the journal
//! version that was known before: a stale base is refused by the store. Everything odd claims first and looks again under the claim.

use super::deliver::Hand;
use super::error::{CallError, ErrorKind, Service};
use super::facts::{Command, Now};
use super::machine::{Run, Then};
use super::record::{Reason, Record, Trigger, Work};
use super::standing::Standing;

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
            return self.say(standing, now);
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

    pub(super) fn wished(&self) -> (Option<jiff::Timestamp>, Trigger) {
        match &self.errand.wish {
            Some(wish) => (wish.due, wish.trigger),
            None => (None, Trigger::Recovery),
        }
    }
}

/// The due instant that the claimed rotation serves. One that a person asked for serves what was due when they asked.
pub(super) fn claimed_due(record: &Record) -> Option<jiff::Timestamp> {
    let claim = record.claim.as_ref()?;
    match &claim.work {
        Work::Rotate {
            trigger: Trigger::Command,
            ..
        } => Some(claim.since),
        Work::Rotate { due, .. } => *due,
        _ => None,
    }
}

pub(super) fn lost() -> CallError {
    CallError::new(
        Service::Dynatrace,
        ErrorKind::Transient,
        "the attempt came to nothing",
    )
}
