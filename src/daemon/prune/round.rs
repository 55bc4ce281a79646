//! One round over the pruned tokens of an environment or account: what a command left unfinished is settled, and what has been in quarantine for long
//! enough is deleted. Several processes may do it at the same time: what is done is written to the document first, and done twice it has the same effect.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use jiff::Timestamp;

use crate::clock;
use crate::config::IssuerPlace;
use crate::telemetry::Line;
use rotation::error::{CallError, ErrorKind};
use rotation::event::{EventName, Level, Report};
use rotation::ports::TokenIssuer;
use rotation::prune::{PruneContext, PruneEnd, PruneStep, PrunedState, PrunedToken};
use rotation::request::{self, CurrentTokens, after};
use rotation::token::{TokenId, TokenInfo};

use super::super::assemble::Issuer;
use super::super::job::Office;
use super::super::sweep;

/// Calls at the same time.
pub(super) const AT_ONCE: usize = 8;

/// An environment or account whose pruned tokens are looked at.
pub(super) struct Work<'a> {
    pub(super) office: &'a Office,
    pub(super) place: &'a IssuerPlace,
    pub(super) installation: &'a str,
    pub(super) quarantine: Duration,
    /// The tokens that secrets hold.
    pub(super) held: &'a CurrentTokens,
    /// The tokens whose deletion a person confirms.
    pub(super) confirmed: &'a BTreeSet<TokenId>,
}

/// What a round found and did.
#[derive(Default)]
pub(super) struct Round {
    /// What left the document by this process.
    pub(super) ended: Vec<(PrunedToken, PruneEnd)>,
    /// What is left alone, and why.
    pub(super) blocked: Vec<(PrunedToken, String)>,
    /// What waits for a person to confirm its deletion.
    pub(super) unconfirmed: Vec<PrunedToken>,
    /// When there is something to do next.
    pub(super) next: Option<Timestamp>,
    /// The first call that failed; its token is looked at again.
    pub(super) error: Option<CallError>,
}

/// A token, what was read of it, and what follows.
struct Decision {
    token: PrunedToken,
    seen: Option<TokenInfo>,
    step: PruneStep,
}

impl Round {
    fn failed(&mut self, error: CallError) {
        self.error.get_or_insert(error);
    }

    fn wake(&mut self, at: Timestamp) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }
}

impl Work<'_> {
    /// Does what can be done now.
    ///
    /// # Errors
    /// The document cannot be read or written.
    pub(super) async fn round(&self) -> Result<Round, CallError> {
        let document = &self.office.wired.pruned;
        let mut tokens = document.read().await?.tokens;
        tokens.retain(|token| token.service == self.place.service);
        let mut round = Round::default();
        if tokens.is_empty() {
            return Ok(round);
        }
        let issuer = self.office.wired.issuer(&self.place.service)?;
        let decisions = self.decide(issuer, tokens, &mut round).await;
        let now = clock::now();
        let decided: Vec<Decision> = document
            .change(|record| {
                let mut written = vec![];
                for decision in &decisions {
                    let Some(entry) = record.unchanged(&decision.token) else {
                        // Another process was faster.
                        continue;
                    };
                    entry.missing_since = entry.missing_since.filter(|_| decision.seen.is_none());
                    match &decision.step {
                        PruneStep::BeginQuarantine => entry.enter(PrunedState::Quarantine, now),
                        PruneStep::NoteMissing => entry.missing_since = Some(now),
                        PruneStep::Delete if entry.state != PrunedState::Deleting => {
                            entry.enter(PrunedState::Deleting, now);
                        }
                        _ => {}
                    }
                    written.push(Decision {
                        token: entry.clone(),
                        seen: decision.seen.clone(),
                        step: decision.step.clone(),
                    });
                    if matches!(decision.step, PruneStep::Drop(_)) {
                        record.drop_entry(&decision.token.id);
                    }
                }
                written
            })
            .await?;
        let mut calls = vec![];
        for Decision { token, seen, step } in decided {
            match step {
                PruneStep::Wait(at) => round.wake(at),
                PruneStep::BeginQuarantine => {
                    let name = seen.map(|info| info.name).unwrap_or_default();
                    let due = token.deletion(&name, self.installation, self.quarantine);
                    round.wake(due);
                }
                PruneStep::NoteMissing => round.wake(after(now, self.place.settle)),
                PruneStep::Drop(end) => round.ended.push((token, end)),
                PruneStep::Confirm => round.unconfirmed.push(token),
                PruneStep::Block(why) => round.blocked.push((token, why)),
                PruneStep::Delete | PruneStep::Restore => calls.push((token, step)),
            }
        }
        self.act(issuer, calls, &mut round).await?;
        for (token, end) in &round.ended {
            report(token, *end);
        }
        Ok(round)
    }

    /// Reads every token and says what follows.
    async fn decide(
        &self,
        issuer: &Issuer,
        tokens: Vec<PrunedToken>,
        round: &mut Round,
    ) -> Vec<Decision> {
        let reads = tokens.into_iter().map(async |token| {
            let read = look_up(issuer, &token.id).await;
            (token, read)
        });
        let reads: Vec<_> = stream::iter(reads).buffered(AT_ONCE).collect().await;
        let agrees = self.clock_agrees().await;
        let management = self.office.wired.management_token_ids(None).await;
        let mut decisions = vec![];
        for (token, read) in reads {
            match read {
                Ok(seen) => {
                    let step =
                        token.next(seen.as_ref(), &self.context(&token, agrees, &management));
                    decisions.push(Decision { token, seen, step });
                }
                Err(error) => round.failed(error),
            }
        }
        decisions
    }

    async fn clock_agrees(&self) -> bool {
        let state = sweep::clock_state(self.office, &self.place.service).await;
        state == request::Clock::Agrees
    }

    fn context(
        &self,
        token: &PrunedToken,
        clock_agrees: bool,
        management: &[TokenId],
    ) -> PruneContext<'_> {
        let holder = self.held.get(&token.id).and_then(|names| names.first());
        PruneContext {
            now: clock::now(),
            clock_agrees,
            installation: self.installation,
            base_url: Some(&self.place.base_url),
            quarantine: self.quarantine,
            settle: self.place.settle,
            holder: holder.map(|name| &**name),
            is_management: management.contains(&token.id),
            confirmed: self.confirmed.contains(&token.id),
        }
    }

    /// Deletes and brings back, and drops what is done.
    async fn act(
        &self,
        issuer: &Issuer,
        tokens: Vec<(PrunedToken, PruneStep)>,
        round: &mut Round,
    ) -> Result<(), CallError> {
        let calls = tokens.into_iter().map(async |(token, step)| {
            let end = match step {
                PruneStep::Restore => self.restore(issuer, &token).await,
                _ => self.delete(issuer, &token).await,
            };
            (token, end)
        });
        let calls: Vec<_> = stream::iter(calls).buffered(AT_ONCE).collect().await;
        let mut done = vec![];
        for (token, end) in calls {
            match end {
                Ok(Some(end)) => done.push((token, end)),
                // Something changed in the meantime: the next round finds out what.
                Ok(None) => round.wake(clock::now()),
                Err(error) => round.failed(error),
            }
        }
        if done.is_empty() {
            return Ok(());
        }
        let document = &self.office.wired.pruned;
        let dropped: Vec<_> = document
            .change(|record| {
                let mut mine = done.clone();
                mine.retain(|(token, _)| record.unchanged(token).is_some());
                mine.iter()
                    .for_each(|(token, _)| record.drop_entry(&token.id));
                mine
            })
            .await?;
        round.ended.extend(dropped);
        Ok(())
    }

    /// Reads the token once more: between the decision and now someone may have enabled it.
    async fn delete(
        &self,
        issuer: &Issuer,
        token: &PrunedToken,
    ) -> Result<Option<PruneEnd>, CallError> {
        let Some(info) = look_up(issuer, &token.id).await? else {
            return Ok(None);
        };
        let management = self.office.wired.management_token_ids(None).await;
        let context = self.context(token, self.clock_agrees().await, &management);
        if token.next(Some(&info), &context) != PruneStep::Delete {
            return Ok(None);
        }
        match issuer.delete(&token.id).await {
            Ok(()) => Ok(Some(PruneEnd::Deleted)),
            Err(error) if error.kind == ErrorKind::Gone => Ok(Some(PruneEnd::Deleted)),
            Err(error) => Err(error),
        }
    }

    /// Finishes what an interrupted `undo` began.
    async fn restore(
        &self,
        issuer: &Issuer,
        token: &PrunedToken,
    ) -> Result<Option<PruneEnd>, CallError> {
        let Some(info) = look_up(issuer, &token.id).await? else {
            return Ok(None);
        };
        let name = former_name(token, &info, self.installation);
        let restored = issuer.inner().set_state(&token.id, token.enabled, name);
        restored.await?;
        Ok(Some(PruneEnd::Restored))
    }
}

/// The name that a token gets back; none = it keeps the one it has, because it is not the one that we gave it.
pub(super) fn former_name<'a>(
    token: &'a PrunedToken,
    info: &TokenInfo,
    installation: &str,
) -> Option<&'a str> {
    let ours = token.digest.is_some() && token.is_marked(info, installation);
    ours.then_some(token.name.as_str())
}

/// Reads a token; none = the service does not know it, and answers for one that is known to exist.
pub(super) async fn look_up(issuer: &Issuer, id: &TokenId) -> Result<Option<TokenInfo>, CallError> {
    match issuer.look_up(id).await {
        Ok(info) => Ok(Some(info)),
        Err(error) if error.kind == ErrorKind::Gone => {
            issuer.probe_known_token().await?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Says how it ended with a token.
fn report(token: &PrunedToken, end: PruneEnd) {
    let PrunedToken { id, by, at, .. } = token;
    let name = format!("{:?}", token.name);
    let (level, message) = match end {
        PruneEnd::Deleted => (
            Level::Info,
            format!("{id} ({name}) was deleted after its quarantine; {by} pruned it at {at:.0}"),
        ),
        PruneEnd::Gone => (
            Level::Info,
            format!("{id} ({name}) is gone: not found twice; {by} pruned it at {at:.0}"),
        ),
        PruneEnd::TakenBack => (
            Level::Warn,
            format!(
                "{id} ({name}), which {by} pruned at {at:.0}, was enabled by someone; it is kept"
            ),
        ),
        PruneEnd::NotCarriedOut => (
            Level::Warn,
            format!(
                "{id} ({name}) is kept: the command by which {by} pruned it at {at:.0} was interrupted"
            ),
        ),
        PruneEnd::Restored => (
            Level::Warn,
            format!("{id} ({name}) is back: an interrupted `dtrotate undo` was completed"),
        ),
    };
    let report = Report::new(EventName::TokenPruned, message).token(id);
    Line::of(report.at(level))
        .environment(&token.service)
        .write();
}
