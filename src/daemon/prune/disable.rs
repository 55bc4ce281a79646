//! Disabling: each token is written to the document before it is touched, so that a daemon finishes what a killed command began.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use jiff::Timestamp;

use crate::clock;
use crate::config::IssuerPlace;
use crate::ops::audit::Audited;
use crate::ops::prune::{Protection, Selection};
use crate::telemetry::Line;
use rotation::error::{CallError, ErrorKind};
use rotation::event::{EventName, Report};
use rotation::marker::NameDigest;
use rotation::ports::TokenIssuer;
use rotation::prune::{self, PruneEnd, PrunedState, PrunedToken};
use rotation::request::{CurrentTokens, after};
use rotation::token::TokenId;

use super::super::assemble::Issuer;
use super::super::job::Office;
use super::round::{AT_ONCE, Work, look_up};

/// Tokens that are written to the document, disabled and noted as disabled together.
pub(super) const BATCH: usize = 50;

/// What became of a token of a plan.
pub enum Outcome {
    /// It is disabled, and deleted after this at the earliest.
    Disabled(Timestamp),
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
    pub(super) office: &'a Office,
    pub(super) quarantine: Duration,
    /// The person who gave the command.
    pub(super) by: &'a str,
    pub(super) place: &'a IssuerPlace,
    pub(super) issuer: &'a Issuer,
    pub(super) installation: &'a str,
    /// The tokens that the secrets hold in Vault.
    pub(super) held: CurrentTokens,
    pub(super) selection: &'a Selection,
}

/// How the call that disables a token ended.
enum Called {
    Done,
    Unclear(CallError),
    Failed(CallError),
}

impl Disabling<'_> {
    /// Disables and marks a batch: first it is written to the document, then the calls are made, then their outcomes are written.
    pub(super) async fn disable(
        &self,
        batch: &[&Audited],
        done: &mut dyn FnMut(&Audited, Outcome),
    ) -> Result<(), CallError> {
        let checks = batch
            .iter()
            .map(async |&token| (token, self.check(token).await));
        let checks: Vec<_> = stream::iter(checks).buffered(AT_ONCE).collect().await;
        let mut orders: Vec<(&Audited, PrunedToken, String)> = vec![];
        for (token, check) in checks {
            match check {
                Ok(Ok(())) => {
                    let (entry, name) = self.order(token);
                    orders.push((token, entry, name));
                }
                Ok(Err(why)) => done(token, Outcome::Skipped(why)),
                Err(error) => done(token, Outcome::Failed(error)),
            }
        }
        let document = &self.office.wired.pruned;
        let accepted: BTreeSet<TokenId> = document
            .change(|record| {
                let mut accepted = BTreeSet::new();
                for (_, entry, _) in &orders {
                    if record.find(&entry.id).is_none() {
                        record.tokens.push(entry.clone());
                        accepted.insert(entry.id.clone());
                    }
                }
                accepted
            })
            .await?;
        let (orders, others): (Vec<_>, Vec<_>) = orders
            .into_iter()
            .partition(|(_, entry, _)| accepted.contains(&entry.id));
        for (token, ..) in others {
            done(
                token,
                Outcome::Skipped("is pruned by another process".to_owned()),
            );
        }
        let calls = orders.iter().map(async |(token, entry, name)| {
            let called = self.call(entry, name).await;
            (*token, entry, called)
        });
        let calls: Vec<_> = stream::iter(calls).buffered(AT_ONCE).collect().await;
        let now = clock::now();
        let noted = document.change(|record| {
            for (_, entry, called) in &calls {
                match called {
                    Called::Done => {
                        if let Some(entry) = record.unchanged(entry) {
                            entry.enter(PrunedState::Quarantine, now);
                        }
                    }
                    Called::Failed(_) => record.drop_entry(&entry.id),
                    Called::Unclear(_) => {}
                }
            }
        });
        let noted = noted.await;
        for (token, entry, called) in calls {
            done(token, self.outcome(entry, called, now));
        }
        noted
    }

    fn outcome(&self, entry: &PrunedToken, called: Called, now: Timestamp) -> Outcome {
        match called {
            Called::Done => {
                let PrunedToken { id, by, name, .. } = entry;
                let message =
                    format!("{id} ({name:?}) was disabled and marked for deletion by {by}");
                let report = Report::new(EventName::TokenDisabled, message).token(id);
                Line::of(report).environment(&self.place.service).write();
                Outcome::Disabled(after(now, self.quarantine))
            }
            Called::Unclear(error) => Outcome::Unclear(error),
            Called::Failed(error) => Outcome::Failed(error),
        }
    }

    /// Reads the token again, right before it is disabled.
    async fn check(&self, token: &Audited) -> Result<Result<(), String>, CallError> {
        let id = &token.info.id;
        if !self.issuer.capabilities().disable {
            return Ok(Err("cannot be disabled".to_owned()));
        }
        if let Some(names) = self.held.get(id) {
            return Ok(Err(format!("is the value of {}", names.join(", "))));
        }
        let Some(info) = look_up(self.issuer, id).await? else {
            return Ok(Err("is gone".to_owned()));
        };
        let management = self.office.wired.management_token_ids(None).await;
        if management.contains(id) {
            return Ok(Err(Protection::Management.description().to_owned()));
        }
        Ok(self.selection.still_chosen(token, &info, clock::now()))
    }

    /// What is written to the document, and the name that the token gets.
    fn order(&self, token: &Audited) -> (PrunedToken, String) {
        let now = clock::now();
        let capabilities = self.issuer.capabilities();
        let mark = prune::mark(self.installation, now);
        let name = mark.name(&token.info.name, capabilities.name_limit);
        let entry = PrunedToken {
            id: token.info.id.clone(),
            service: self.place.service.clone(),
            base_url: self.place.base_url.clone(),
            name: token.info.name.clone(),
            enabled: token.info.enabled,
            digest: capabilities.rename.then(|| NameDigest::of(&name)),
            by: self.by.to_owned(),
            at: now,
            state: PrunedState::Ordered,
            since: now,
            missing_since: None,
            unknown: serde_json::Map::new(),
        };
        (entry, name)
    }

    async fn call(&self, entry: &PrunedToken, name: &str) -> Called {
        let name = entry.digest.as_ref().map(|_| name);
        let called = self.issuer.inner().set_state(&entry.id, false, name);
        let error = match called.await {
            Ok(()) => return Called::Done,
            Err(error) if error.kind != ErrorKind::Unclear => return Called::Failed(error),
            Err(error) => error,
        };
        match look_up(self.issuer, &entry.id).await {
            Ok(Some(info)) if !info.enabled && entry.is_marked(&info, self.installation) => {
                Called::Done
            }
            _ => Called::Unclear(error),
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
        let work = Work {
            office: self.office,
            place: self.place,
            installation: self.installation,
            quarantine: self.quarantine,
            held: &self.held,
            confirmed: &confirmed,
        };
        let round = work.round().await?;
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
                    _ => Outcome::Skipped("is not as the plan says".to_owned()),
                },
            );
        }
        Ok(())
    }
}
