//! The candidate: a value that is to become the current one. A rotation's is freshly minted, an undo's is an older version's.

use std::time::Duration;

use super::capabilities::Proof;
use super::command::{Command, Outcome, Source, ValueRef};
use super::error::{CallError, ErrorKind, Result};
use super::event::{EventName, Level, Report};
use super::marker::Marker;
use super::record::{Current, Reason};
use super::request::Now;
use super::token::{TokenId, TokenInfo, Traits, Trial};

/// Sends of one store, the same check-and-set every time, before the run leaves it to the journal. With the waits in between about a
/// minute, longer than a Vault cluster takes to elect a leader.
const STORES: u32 = 10;
/// The wait before a store is sent again that a node which lags behind rejected.
pub const RESEND: Duration = Duration::from_millis(500);

/// A value that is to become the current one, and how far it has come.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// Where its value comes from.
    pub source: Source,
    pub value: ValueRef,
    /// What was ordered; none = it existed before.
    pub ordered: Option<Order>,
    /// The token as which its value authenticated, if it works.
    pub verified: Option<TokenInfo>,
    /// A call with its value succeeded.
    pub proven: bool,
    /// The id of the token that proved to be the ordered one, whether it works or not.
    pub identified: Option<TokenId>,
    /// It can manage tokens, where that is asked of it.
    pub manager_proven: bool,
    /// The version in which it was stored.
    pub stored: Option<u64>,
    /// The check-and-set of its store did not match.
    pub rejected: bool,
    pub discard: Option<Discard>,
    /// Wait this long before the next call.
    pub pause: Option<Duration>,
    since: Duration,
    window: Duration,
    verifications: u32,
    stores: Stores,
}

/// What a new token is to be like.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Order {
    /// The marker that its name must bear.
    pub marker: Marker,
    /// The name without marker.
    pub base: String,
    /// The rights that it must have.
    pub scopes: Vec<String>,
    /// How long it lives; none = without an end.
    pub lifetime: Option<Duration>,
    /// What it must have in common with its predecessor beside the rights.
    pub traits: Traits,
    /// The fingerprint of the value that it replaces, to see whether our field changed; none = there was no value.
    pub old_fingerprint: Option<u64>,
    /// The old token was found when it was looked up.
    pub old_known: bool,
}

/// Why a candidate will not be stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Discard {
    /// It does not work, it does not bear its marker, or Vault refuses it: the reason, the sentence, and the error if it may be retried.
    Failed(Reason, String, Option<CallError>),
    /// Its value is not the token that was ordered: the answer was another request's. Its token is not ours to delete.
    Mismatch(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Stores {
    sends: u32,
    unclear: bool,
}

impl Candidate {
    /// A value at the beginning of its way. It must be accepted within `window`.
    pub fn new(
        source: Source,
        value: ValueRef,
        ordered: Option<Order>,
        window: Duration,
        now: Now,
    ) -> Self {
        Candidate {
            source,
            value,
            ordered,
            verified: None,
            proven: false,
            identified: None,
            manager_proven: false,
            stored: None,
            rejected: false,
            discard: None,
            pause: None,
            since: now.mono,
            window,
            verifications: 0,
            stores: Stores::default(),
        }
    }

    /// Takes the outcome of a command that concerns it.
    ///
    /// # Errors
    /// The store stays unclear and is left to the journal.
    pub fn learn(&mut self, outcome: &Outcome, now: Now) -> Result<()> {
        match outcome {
            Outcome::Verified(Ok(trial)) => self.verified(trial),
            Outcome::ManagerProven(Ok(())) => self.manager_proven = true,
            Outcome::Verified(Err(error)) | Outcome::ManagerProven(Err(error)) => {
                self.not_yet(error.clone(), now);
            }
            Outcome::Stored(stored) => return self.stored(stored),
            Outcome::Waited => {
                self.pause = None;
                self.rejected = false;
            }
            _ => {}
        }
        Ok(())
    }

    /// Identity first (rule A1): a token whose name does not bear exactly the ordered marker is not the one that was ordered.
    fn verified(&mut self, trial: &Trial) {
        let info = &trial.token;
        if let Some(ordered) = &self.ordered {
            let (base, marker) = Marker::split(&info.name);
            if marker.is_none() && base == ordered.base {
                self.fail(
                    Reason::NameNotKept,
                    format!(
                        "the environment did not keep the marker {} in the name of the new token {}; it was not stored. Delete it by hand, find \
                         out what changes token names there, then run `dtrotate rotate`",
                        ordered.marker, info.id
                    ),
                );
                return;
            }
            if marker.as_ref() != Some(&ordered.marker) {
                self.discard = Some(Discard::Mismatch(format!(
                    "the answer to creating a token belongs to another request: it holds the value of {} ({:?}), but {} was ordered. \
                     Nothing was stored. Find out what mixes up answers between dtrotate and Dynatrace; the value of our new token may \
                     have reached someone else",
                    info.id, info.name, ordered.marker
                )));
                return;
            }
        } else if self.value.id.as_ref().is_some_and(|id| *id != info.id) {
            self.fail(
                Reason::VerifyFailed,
                format!("its value is that of {}", info.id),
            );
            return;
        }
        self.identified = Some(info.id.clone());
        self.value.id = Some(info.id.clone());
        let wanted = self.ordered.iter().flat_map(|ordered| &ordered.scopes);
        let missing: Vec<_> = wanted
            .filter(|scope| !info.scopes.contains(scope))
            .cloned()
            .collect();
        let traits = self.ordered.as_ref().map(|ordered| &ordered.traits);
        let others = traits.map_or(vec![], |traits| traits.missing_in(&info.traits));
        let wrong = match (&missing[..], &others[..], info.enabled) {
            ([], [], true) => {
                self.verified = Some(info.clone());
                self.proven = trial.proven;
                return;
            }
            ([], [], false) => "is disabled".to_owned(),
            ([], others, _) => format!("was ordered with another {}", others.join(", ")),
            (missing, ..) => format!("lacks the rights {}", missing.join(", ")),
        };
        self.fail(
            Reason::VerifyFailed,
            format!("the token {} {wrong}; it was not stored", info.id),
        );
    }

    /// It will not be stored, and trying again does not help.
    fn fail(&mut self, reason: Reason, message: String) {
        self.discard = Some(Discard::Failed(reason, message, None));
    }

    /// A trial did not succeed. A new token may not be known everywhere yet: it is retried until the window is over.
    fn not_yet(&mut self, error: CallError, now: Now) {
        if error.kind == ErrorKind::Refused {
            let message = format!("the token could not be verified: {error}");
            return self.fail(Reason::VerifyFailed, message);
        }
        self.verifications += 1;
        if now.mono.saturating_sub(self.since) <= self.window {
            self.pause = Some(pause(self.verifications, error.retry_after));
            return;
        }
        let message = format!(
            "the token was not accepted within {} s; it was not stored",
            self.window.as_secs()
        );
        self.discard = Some(Discard::Failed(Reason::VerifyFailed, message, Some(error)));
    }

    fn stored(&mut self, stored: &Result<u64>) -> Result<()> {
        self.stores.sends += 1;
        let error = match stored {
            Ok(version) => {
                self.stored = Some(*version);
                return Ok(());
            }
            Err(error) => error,
        };
        match error.kind {
            ErrorKind::Conflict => self.rejected = true,
            // It was sent before and may have landed: only reading back shows it.
            ErrorKind::Refused | ErrorKind::Gone if self.stores.unclear => self.rejected = true,
            ErrorKind::Refused | ErrorKind::Gone => {
                self.fail(Reason::VaultRefused, error.what.clone());
            }
            kind => {
                self.stores.unclear |= kind == ErrorKind::Unclear;
                if !self.may_resend() {
                    return Err(error.clone());
                }
                self.pause = Some(pause(self.stores.sends, error.retry_after));
            }
        }
        Ok(())
    }

    /// Its value was tried at least once.
    pub fn was_tried(&self) -> bool {
        self.verifications > 0
    }

    /// The same store may be sent again.
    pub fn may_resend(&self) -> bool {
        self.stores.sends < STORES
    }

    /// The same candidate, to be stored against a newer version.
    pub fn rebased(mut self) -> Self {
        self.rejected = false;
        self.stores.unclear = false;
        self
    }
}

/// Half a second, doubled each time, at most 20 s; what a server asks for counts up to a minute.
fn pause(tries: u32, asked: Option<Duration>) -> Duration {
    let own = Duration::from_millis(250 << tries.min(6)).min(Duration::from_secs(20));
    own.max(asked.unwrap_or_default())
        .min(Duration::from_secs(60))
}

/// What a call about the candidate found out, as a line of the log. `current` is the token that is current until then.
pub fn report(
    command: &Command,
    outcome: &Outcome,
    candidate: Option<&Candidate>,
    proof: Proof,
    current: Option<&Current>,
) -> Option<Report> {
    match (command, outcome) {
        (Command::Verify(Source::Minted), Outcome::Verified(Ok(trial))) => {
            Some(report_verified(trial, proof, current))
        }
        (_, Outcome::Stored(Ok(version))) => {
            let id = candidate.and_then(|candidate| candidate.value.id.as_ref());
            let message = format!("the new value is version {version}");
            Some(Report::new(EventName::SecretStored, message).token(id))
        }
        _ => None,
    }
}

fn report_verified(trial: &Trial, proof: Proof, current: Option<&Current>) -> Report {
    let id = &trial.token.id;
    let how = match (trial.proven, proof) {
        (true, _) => "the new token works",
        // No call proves more of this kind.
        (false, Proof::Listed) => "the new token is there as ordered",
        (false, _) => return report_unproven(id, current),
    };
    Report::new(EventName::TokenVerified, how).token(id)
}

/// A new token that is accepted although nothing proves that it works: one line where that is new.
fn report_unproven(id: &TokenId, current: Option<&Current>) -> Report {
    let message = format!(
        "{id} is listed as ordered, but no call that it may make proves that its value works; it is accepted. To have new tokens of this \
         secret proven, give them a right that a trial needs, or set `verify` (docs/token-kinds.md)"
    );
    let level = match current.is_some_and(|current| current.unproven) {
        true => Level::Debug,
        false => Level::Warn,
    };
    Report::new(EventName::TokenUnproven, message)
        .token(id)
        .at(level)
}
