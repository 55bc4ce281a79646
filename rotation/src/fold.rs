//! What the machine learns from the outcome of a command.

use super::deliver::Hand;
use super::error::{CallError, ErrorKind, Service};
use super::facts::{Command, Known, Listing, Looked, Now, Outcome, Seen, Verdict, Watch};
use super::machine::{Run, Then};
use super::token::TokenInfo;

/// A run that loses this many check-and-sets on the journal leaves the secret to the others for now.
const CONFLICTS: u32 = 8;

impl Run {
    /// Takes what came of `command`.
    pub fn fold(&mut self, command: &Command, outcome: Outcome, now: Now) {
        match outcome {
            Outcome::Journal(read) => self.journal_read(read, now),
            Outcome::Wrote(wrote) => self.journal_written(wrote),
            Outcome::Secret(read) => self.secret_read(command, read),
            Outcome::Info(info) if *command == Command::Verify => self.verified(info, now),
            Outcome::Info(info) if matches!(command, Command::TryVersion(_)) => {
                self.tried(info, now);
            }
            Outcome::Info(info) => self.looked_up(command, info),
            Outcome::Minted(minted) => self.minted(minted, now),
            Outcome::Stored(stored) => match command {
                Command::Rewrite { .. } => self.rewritten(stored),
                Command::Restore { .. } => self.restored(stored),
                _ => self.stored(stored),
            },
            Outcome::Done(done) => match command {
                Command::Act(act, _) => {
                    self.acted = Some((*act, done));
                    self.seen = None;
                }
                Command::Prove(_) => self.proved(done, now),
                _ => match done {
                    Ok(()) => {
                        // Now that its 404 can be believed, it must say it again: a single one is never enough.
                        self.witnessed = true;
                        self.looked = None;
                        self.probe = None;
                        self.acted = None;
                    }
                    Err(error) => self.trouble = Some(unproved(error)),
                },
            },
            Outcome::Listed(Ok(listing)) => self.take_listing(listing),
            Outcome::Listed(Err(error)) => self.trouble = Some(error),
            Outcome::Waited => {}
        }
    }

    fn journal_read(&mut self, read: Result<Result<Known, String>, CallError>, now: Now) {
        match read {
            Ok(Ok(known)) => {
                if self
                    .errand
                    .watch
                    .is_none_or(|watch| watch.version != known.cas)
                {
                    self.errand.watch = Some(Watch {
                        version: known.cas,
                        since: now.mono,
                    });
                }
                self.fresh = true;
                self.errand.journal = Some(known);
            }
            Ok(Err(why)) => self.end = Some(Verdict::Unreadable(why)),
            Err(error) => self.end = Some(Verdict::Later(error)),
        }
    }

    fn journal_written(&mut self, wrote: Result<u64, CallError>) {
        let pending = self.pending.take();
        match (wrote, pending) {
            (Ok(version), Some(pending)) => {
                self.fresh = true;
                self.errand.journal = Some(Known {
                    cas: version,
                    record: Some(pending.record),
                });
                self.reports.extend(pending.reports);
                self.probe = None;
                self.acted = None;
                match pending.then {
                    Then::Go => {}
                    Then::Refresh => self.forget_secret(),
                    Then::Served => self.errand.wish = None,
                    Then::Finish(verdict) => self.end = Some(verdict),
                }
            }
            (Err(error), _) if error.kind == ErrorKind::Conflict => {
                // Somebody else wrote: whatever was known or held is void, and an ordinary lost claim is no warning.
                self.conflicts += 1;
                self.errand.journal = None;
                self.forget_secret();
                self.drop_hand();
                if self.conflicts >= CONFLICTS {
                    self.end = Some(Verdict::Later(error));
                }
            }
            (Err(error), _) => self.end = Some(Verdict::Later(error)),
            (Ok(_), None) => {}
        }
    }

    /// What was read of the secret, and all that was learned from it, may no longer hold.
    pub(super) fn forget_secret(&mut self) {
        self.seen = None;
        self.looked = None;
        self.probe = None;
        self.acted = None;
    }

    pub(super) fn drop_hand(&mut self) {
        self.hand = Hand::Empty;
        self.template = None;
    }

    fn secret_read(&mut self, command: &Command, read: Result<Seen, CallError>) {
        match (command, read) {
            (Command::ReadVersion(version), Ok(seen)) => {
                self.past.insert(*version, seen);
            }
            (Command::ReadVersion(version), Err(error)) if error.kind == ErrorKind::Refused => {
                // Not readable is the same as not there: it proves nothing.
                self.past.insert(*version, Seen::Absent);
            }
            (_, Ok(seen)) => {
                self.looked = None;
                self.seen = Some(seen);
            }
            (_, Err(error)) => self.trouble = Some(error),
        }
    }

    fn looked_up(&mut self, command: &Command, info: Result<TokenInfo, CallError>) {
        let looked = match info {
            Ok(info) => Looked::Known(info),
            Err(error) if error.kind == ErrorKind::Gone => Looked::Gone,
            Err(error) => {
                self.trouble = Some(error);
                return;
            }
        };
        match command {
            Command::LookUp(id) => self.probe = Some((id.clone(), looked)),
            _ => self.looked = Some(looked),
        }
    }

    fn rewritten(&mut self, stored: Result<u64, CallError>) {
        self.forget_secret();
        if let Err(error) = stored
            && error.kind != ErrorKind::Conflict
            && error.kind != ErrorKind::Unclear
        {
            self.trouble = Some(error);
        }
    }

    fn take_listing(&mut self, listing: Listing) {
        self.errand.listing = Some(listing);
    }
}

/// A 404 could not be proved: the environment did not answer for a token that exists.
fn unproved(error: CallError) -> CallError {
    let kind = match error.kind {
        ErrorKind::Gone => ErrorKind::Transient,
        kind => kind,
    };
    CallError {
        kind,
        service: Service::Dynatrace,
        what: format!(
            "a 404 of this environment cannot be believed: {}",
            error.what
        ),
        retry_after: error.retry_after,
    }
}
