//! One attempt: written down with its base and a fresh marker before the mint, and never minted twice.

use std::time::Duration;

use super::deliver::{Hand, Minted};
use super::error::{CallError, ErrorKind};
use super::event::{EventName, Report};
use super::facts::{Command, Holds, Looked, Now, Seen};
use super::fitness;
use super::machine::{Run, Then};
use super::record::{Attempt, Current, Reason, Work};
use super::rotate::claimed_due;
use super::standing::Standing;
use super::token::{Marker, MintOrder};

/// More mints than this with an unclear outcome in one run: the environment is in trouble.
const UNCLEAR_MINTS: u32 = 3;

/// What the new token is to be like, taken from the one that it replaces.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Template {
    pub(super) name_base: String,
    pub(super) scopes: Vec<String>,
    pub(super) lifetime: Option<Duration>,
    /// The mark of the value that it replaces, to see whether our field changed.
    pub(super) old_mark: u64,
    /// The old token was still there when it was looked up.
    pub(super) old_known: bool,
}

impl Run {
    /// Writes claim and attempt before the mint. A foreign value becomes the current one first, and the former one retires.
    pub(super) fn write_attempt(&mut self, standing: &Standing, now: Now) -> Command {
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

    pub(super) fn mark(&self) -> u64 {
        self.seen
            .as_ref()
            .and_then(Seen::holds)
            .map_or(0, |holds| holds.mark)
    }

    pub(super) fn mint(&mut self, attempt: &Attempt, now: Now) -> Command {
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
    pub(super) fn mint_anew(&mut self, attempt: &Attempt, now: Now) -> Command {
        let mut record = self.draft();
        let due = claimed_due(&record);
        record.open.push(attempt.opened(due, now.wall));
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
                self.hand = Hand::Minted(Box::new(Minted::new(holds, now.mono)));
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
}
