//! Disabling: each token is written to the document before it is touched, so that a daemon finishes what a killed command began.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::clock;
use crate::ops::audit::Audited;
use crate::telemetry::Line;
use rotation::error::CallError;
use rotation::event::{EventName, Report};
use rotation::ports::TokenIssuer;
use rotation::prune::{PruneEnd, PruneOrder, PruneResult, PruneRun, PrunedToken};
use rotation::request::after;
use rotation::token::TokenId;

use super::drive::Driver;
use super::round::round;

/// Tokens that are written to the document, disabled and noted as disabled together.
pub(super) const BATCH: usize = 50;

/// What became of a token of a plan.
pub enum Outcome {
    /// It is disabled, and deleted after this at the earliest.
    Disabled(Timestamp),
    /// It is gone: a kind that cannot be marked is deleted by a second command, after the quarantine.
    Deleted,
    /// It is left alone: why.
    Skipped(String),
    /// It may be disabled. A daemon finds out.
    Unclear(CallError),
    /// It is as it was.
    Failed(CallError),
}

/// Disabling tokens of one environment or account.
pub(super) struct Disabling<'a> {
    pub(super) driver: Driver<'a>,
    /// The person who gave the command.
    pub(super) by: &'a str,
}

impl Disabling<'_> {
    /// Disables and marks a batch: first it is written to the document, then the calls are made, then their outcomes are written.
    pub(super) async fn disable(
        &self,
        batch: &[&Audited],
        done: &mut dyn FnMut(&Audited, Outcome),
    ) -> Result<(), CallError> {
        let capabilities = self.driver.issuer.capabilities();
        if !capabilities.disable {
            let skipped = || Outcome::Skipped("cannot be disabled".to_owned());
            batch.iter().for_each(|token| done(token, skipped()));
            return Ok(());
        }
        let runs = batch.iter().map(|token| {
            let order = PruneOrder {
                planned: token.info.clone(),
                service: self.driver.place.service.clone(),
                base_url: self.driver.place.base_url.clone(),
                by: self.by.to_owned(),
                name_limit: capabilities.rename.then_some(capabilities.name_limit),
            };
            (token.info.id.clone(), PruneRun::disable(order))
        });
        let driven = self.driver.drive(runs.collect()).await;
        for (id, run, result) in driven.results {
            if let Some(token) = batch.iter().find(|token| token.info.id == id) {
                done(token, self.outcome(run.entry(), result));
            }
        }
        driven.error.map_or(Ok(()), Err)
    }

    fn outcome(&self, entry: Option<&PrunedToken>, result: PruneResult) -> Outcome {
        match (result, entry) {
            (PruneResult::Disabled, Some(entry)) => {
                let PrunedToken { id, by, name, .. } = entry;
                let message =
                    format!("{id} ({name:?}) was disabled and marked for deletion by {by}");
                let report = Report::new(EventName::TokenDisabled, message).token(id);
                let service = &self.driver.place.service;
                Line::of(report).environment(service).write();
                Outcome::Disabled(after(clock::now(), self.driver.quarantine))
            }
            (PruneResult::Skipped(why), _) => Outcome::Skipped(why),
            (PruneResult::Unclear(error), _) => Outcome::Unclear(error),
            (PruneResult::Failed(error), _) => Outcome::Failed(error),
            _ => Outcome::Skipped(CHANGED.to_owned()),
        }
    }

    /// Deletes what was disabled before, is still disabled, and has been for long enough.
    pub(super) async fn delete(
        &self,
        tokens: &[&Audited],
        done: &mut dyn FnMut(&Audited, Outcome),
    ) -> Result<(), CallError> {
        let confirmed: BTreeSet<TokenId> =
            tokens.iter().map(|token| token.info.id.clone()).collect();
        let driver = Driver {
            confirmed: &confirmed,
            ..self.driver
        };
        let round = round(&driver).await?;
        for token in tokens {
            let id = &token.info.id;
            let ended = round.ended.iter().find(|(entry, _)| entry.id == *id);
            let blocked = round.blocked.iter().find(|(entry, _)| entry.id == *id);
            done(
                token,
                match (ended, blocked, &round.error) {
                    (Some((_, PruneEnd::Deleted)), _, _) => Outcome::Deleted,
                    (_, Some((_, why)), _) => Outcome::Skipped(why.clone()),
                    (None, None, Some(error)) => Outcome::Failed(error.clone()),
                    _ => Outcome::Skipped(CHANGED.to_owned()),
                },
            );
        }
        Ok(())
    }
}

/// What is said of a token that something else happened to.
const CHANGED: &str = "changed after the plan was made";
