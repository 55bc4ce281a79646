//! Carries out runs over pruned tokens. Each makes its calls; what they write to the document is written together.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};

use crate::clock;
use crate::config::IssuerPlace;
use rotation::error::{CallError, ErrorKind};
use rotation::ports::TokenIssuer;
use rotation::prune::{Edit, PruneCommand, PruneContext, PruneOutcome, PruneResult, PruneRun};
use rotation::request::{self, CurrentTokens};
use rotation::token::{TokenId, TokenInfo};

use super::super::assemble::Issuer;
use super::super::clocks;
use super::super::job::Office;

/// Calls at the same time.
pub(super) const AT_ONCE: usize = 8;

/// An environment or account, and what is known around its tokens.
#[derive(Clone, Copy)]
pub(super) struct Driver<'a> {
    pub(super) office: &'a Office,
    pub(super) place: &'a IssuerPlace,
    pub(super) issuer: &'a Issuer,
    pub(super) installation: &'a str,
    pub(super) quarantine: Duration,
    /// The tokens that secrets hold.
    pub(super) held: &'a CurrentTokens,
    /// The tokens with which dtrotate manages others.
    pub(super) management: &'a [TokenId],
    /// The tokens whose deletion a person confirms.
    pub(super) confirmed: &'a BTreeSet<TokenId>,
}

/// Runs over tokens, each with its token.
pub(super) type Runs = Vec<(TokenId, PruneRun)>;

/// How runs ended.
#[derive(Default)]
pub(super) struct Driven {
    pub(super) results: Vec<(TokenId, PruneRun, PruneResult)>,
    /// The document could not be written.
    pub(super) error: Option<CallError>,
}

/// Where a run stopped.
pub(super) enum Stop {
    Change(Box<Edit>),
    End(PruneResult),
}

impl Driver<'_> {
    /// Carries these runs out to their ends.
    pub(super) async fn drive(&self, mut runs: Runs) -> Driven {
        let mut driven = Driven::default();
        while !runs.is_empty() {
            let mut waiting = vec![];
            for (id, run, stop) in self.advance(std::mem::take(&mut runs)).await {
                match stop {
                    Stop::End(result) => driven.results.push((id, run, result)),
                    Stop::Change(edit) => waiting.push((id, run, edit)),
                }
            }
            if waiting.is_empty() {
                break;
            }
            let changed = self.office.wired.pruned.change(|record| {
                let edits = waiting.iter();
                edits
                    .map(|(_, _, edit)| edit.apply(record))
                    .collect::<Vec<_>>()
            });
            let outcomes: Vec<_> = match changed.await {
                Ok(edited) => edited.into_iter().map(Ok).collect(),
                Err(error) => {
                    driven.error.get_or_insert(error.clone());
                    vec![Err(error); waiting.len()]
                }
            };
            for ((id, mut run, _), outcome) in waiting.into_iter().zip(outcomes) {
                run.learn(PruneOutcome::Changed(outcome));
                runs.push((id, run));
            }
        }
        driven
    }

    /// Carries these runs out until each wants to change the document, or ends.
    pub(super) async fn advance(&self, runs: Runs) -> Vec<(TokenId, PruneRun, Stop)> {
        let agrees = clocks::state(self.office, &self.place.service).await;
        let clock_agrees = agrees == request::Clock::Agrees;
        let calls = runs.into_iter().map(async |(id, mut run)| {
            let stop = self.advance_one(&id, &mut run, clock_agrees).await;
            (id, run, stop)
        });
        stream::iter(calls).buffered(AT_ONCE).collect().await
    }

    async fn advance_one(&self, id: &TokenId, run: &mut PruneRun, clock_agrees: bool) -> Stop {
        loop {
            let outcome = match run.step(&self.context(id, clock_agrees)) {
                PruneCommand::Change(edit) => return Stop::Change(edit),
                PruneCommand::Finish(result) => return Stop::End(result),
                PruneCommand::LookUp => PruneOutcome::Seen(look_up(self.issuer, id).await),
                PruneCommand::SetState { enabled, name } => {
                    let issuer = self.issuer.inner();
                    let called = issuer.set_state(id, enabled, name.as_deref());
                    PruneOutcome::Called(called.await)
                }
                PruneCommand::Delete => PruneOutcome::Called(self.issuer.delete(id).await),
            };
            run.learn(outcome);
        }
    }

    fn context(&self, id: &TokenId, clock_agrees: bool) -> PruneContext<'_> {
        let holder = self.held.get(id).and_then(|names| names.first());
        PruneContext {
            now: clock::now(),
            clock_agrees,
            installation: self.installation,
            base_url: Some(&self.place.base_url),
            quarantine: self.quarantine,
            settle: self.place.settle,
            holder: holder.map(|name| &**name),
            is_management: self.management.contains(id),
            confirmed: self.confirmed.contains(id),
        }
    }
}

/// Reads a token; none = the service does not know it, and answers for one that is known to exist.
async fn look_up(issuer: &Issuer, id: &TokenId) -> Result<Option<TokenInfo>, CallError> {
    match issuer.look_up(id).await {
        Ok(info) => Ok(Some(info)),
        Err(error) if error.kind == ErrorKind::Gone => {
            issuer.probe_known_token().await?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
