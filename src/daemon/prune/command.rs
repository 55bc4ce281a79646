//! The commands about tokens of no secret: the plan, its execution, and the way back. Each token is written to the document before it is touched, so
//! that a daemon finishes what a killed command began.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::{self, StreamExt, TryStreamExt};
use jiff::Timestamp;

use crate::clock;
use crate::config::{IssuerPlace, Settings};
use crate::ops::audit::{Audited, Relation};
use crate::ops::prune::{Choice, Protection, Selection};
use rotation::error::{CallError, ErrorKind, Service};
use rotation::ports::TokenIssuer;
use rotation::prune::{PrunedState, PrunedToken};
use rotation::request::{self, CurrentTokens, after};
use rotation::token::{TokenId, TokenInfo};

use super::super::assemble;
use super::super::foreground::OpenError;
use super::super::job::Office;
use super::super::{audit, journal_index, sweep};
use super::disable::{self, Disabling};
use super::round::{former_name, look_up};

pub use super::disable::Outcome;

/// Secrets read at the same time.
const READS: usize = 16;

/// A command about pruned tokens: its clients, and who gave it.
pub struct Pruner<'a> {
    settings: &'a Settings,
    office: Office,
    by: String,
}

/// What a person asked for, and what is left alone.
pub struct Plan {
    /// When the tokens were listed.
    pub at: Timestamp,
    pub installation: Option<String>,
    /// What is disabled now and deleted after the quarantine, and why.
    pub chosen: Vec<(Audited, String)>,
    /// What was disabled before, cannot be marked, and is deleted now.
    pub confirmed: Vec<Audited>,
    /// The environments and accounts whose tokens bear no mark, so that a second command deletes them.
    pub unmarked: BTreeSet<String>,
    /// How many tokens were asked for and are protected.
    pub protected: BTreeMap<Protection, usize>,
    /// What could not be read or listed.
    pub incomplete: Vec<CallError>,
}

/// What became of a token that was to be brought back.
pub enum Restored {
    /// It has this name again, and is enabled unless it was disabled before it was pruned.
    Done { name: String, enabled: bool },
    /// It cannot be brought back: why.
    Refused(String),
    /// A call failed.
    Failed(CallError),
}

impl<'a> Pruner<'a> {
    /// Connects.
    ///
    /// # Errors
    /// The clients cannot be built.
    pub async fn open(settings: &'a Settings, instance: String) -> Result<Self, OpenError> {
        let office = Office::new(assemble::assemble(settings)?, settings);
        let person = office.wired.own_token().await.ok();
        let person = person.and_then(|token| token.person());
        Ok(Pruner {
            settings,
            office,
            by: person.unwrap_or(instance),
        })
    }

    /// What would be done to the tokens of these environments and accounts. Changes nothing.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub async fn plan(
        &self,
        services: &[String],
        selection: &Selection,
    ) -> Result<Plan, CallError> {
        let audit = audit::audit(self.settings, services, &self.office.wired).await?;
        let mut plan = Plan {
            at: audit.at,
            installation: audit.installation,
            chosen: vec![],
            confirmed: vec![],
            unmarked: BTreeSet::new(),
            protected: BTreeMap::new(),
            incomplete: audit.incomplete,
        };
        let unmarked = services
            .iter()
            .filter(|service| self.bears_no_mark(service));
        plan.unmarked.extend(unmarked.cloned());
        for token in audit.tokens {
            if self.waits_for_confirmation(&token, plan.at) {
                plan.confirmed.push(token);
                continue;
            }
            match selection.choose(&token, plan.at) {
                Choice::Other => {}
                Choice::Protected(protection) => {
                    *plan.protected.entry(protection).or_default() += 1;
                }
                Choice::Chosen(because) => plan.chosen.push((token, because)),
            }
        }
        Ok(plan)
    }

    fn waits_for_confirmation(&self, token: &Audited, now: Timestamp) -> bool {
        let due = token.pruned.as_ref().is_some_and(|it| it.until <= now);
        let is_disabled = token.relation == Relation::Pruned && !token.info.enabled;
        is_disabled && due && self.bears_no_mark(&token.service)
    }

    fn bears_no_mark(&self, service: &str) -> bool {
        let issuer = self.office.wired.issuer(service);
        issuer.is_ok_and(|issuer| !issuer.capabilities().rename)
    }

    /// Carries a plan out. Each outcome is handed to `done` as soon as it is known.
    ///
    /// # Errors
    /// The rest of the plan was not begun.
    pub async fn carry_out(
        &self,
        plan: &Plan,
        selection: &Selection,
        done: &mut dyn FnMut(&Audited, Outcome),
    ) -> Result<(), CallError> {
        let installation = self.office.wired.ledger.installation().await?;
        for place in self.settings.issuers() {
            let here = |token: &Audited| token.service == place.service;
            let chosen = plan.chosen.iter().map(|(token, _)| token);
            let chosen: Vec<&Audited> = chosen.filter(|token| here(token)).collect();
            let confirmed = plan.confirmed.iter().filter(|token| here(token));
            let confirmed: Vec<&Audited> = confirmed.collect();
            if chosen.is_empty() && confirmed.is_empty() {
                continue;
            }
            let service = &place.service;
            if sweep::clock_state(&self.office, service).await != request::Clock::Agrees {
                let what = format!(
                    "nothing of {service} was changed, because its clock and this machine's are not known to agree"
                );
                return Err(CallError::new(Service::Dynatrace, ErrorKind::Refused, what));
            }
            let work = Disabling {
                office: &self.office,
                quarantine: self.settings.quarantine,
                by: &self.by,
                place: &place,
                issuer: self.office.wired.issuer(service)?,
                installation: &installation,
                held: self.held(service).await?,
                selection,
            };
            for batch in chosen.chunks(disable::BATCH) {
                work.disable(batch, done).await?;
            }
            if !confirmed.is_empty() {
                work.delete(&confirmed, done).await?;
            }
        }
        Ok(())
    }

    /// The tokens that the secrets hold in Vault at this moment.
    async fn held(&self, service: &str) -> Result<CurrentTokens, CallError> {
        let plans = self.settings.secrets.iter().map(|secret| &secret.plan);
        let here = plans.filter(|plan| plan.service == service);
        let reads = here.map(async |plan| {
            let id = journal_index::value(&self.office.wired, plan).await?;
            Ok::<_, CallError>((id, plan.name.as_str().into()))
        });
        let reads = stream::iter(reads).buffer_unordered(READS);
        let held: Vec<_> = reads.try_collect().await?;
        let mut index = CurrentTokens::default();
        for (id, name) in held {
            if let Some(id) = id {
                index.entry(id).or_default().push(name);
            }
        }
        Ok(index)
    }

    /// Brings a pruned token back: enabled, if it was, and with its name.
    pub async fn restore(&self, id: &TokenId, dry_run: bool) -> Restored {
        let found = self.find(id).await;
        let (token, place, info) = match found {
            Ok(Ok(found)) => found,
            Ok(Err(why)) => return Restored::Refused(why),
            Err(error) => return Restored::Failed(error),
        };
        let done = Restored::Done {
            name: token.name.clone(),
            enabled: token.enabled,
        };
        if dry_run {
            return done;
        }
        match self.enable(&token, &place, &info).await {
            Ok(true) => done,
            Ok(false) => Restored::Refused(format!(
                "another process is working on {id}; run the command again"
            )),
            Err(error) => Restored::Failed(error),
        }
    }

    /// A pruned token that can be brought back, its place, and what its service says of it; or why it cannot be.
    async fn find(
        &self,
        id: &TokenId,
    ) -> Result<Result<(PrunedToken, IssuerPlace, TokenInfo), String>, CallError> {
        let record = self.office.wired.pruned.read().await?;
        let Some(token) = record.find(id).cloned() else {
            return Ok(Err(format!(
                "{id} is no token that `dtrotate prune` disabled; for an old token of a secret name the secret: `dtrotate undo NAME --token ID`"
            )));
        };
        let places = self.settings.issuers();
        let place = places
            .into_iter()
            .find(|place| place.service == token.service && place.base_url == token.base_url);
        let Some(place) = place else {
            return Ok(Err(format!(
                "{id} is a token of {} at {}, which is not in the configuration",
                token.service, token.base_url
            )));
        };
        let settled = after(token.since, place.settle);
        match token.state {
            PrunedState::Deleting => {
                return Ok(Err(format!(
                    "{id} is being deleted; it cannot be brought back"
                )));
            }
            // A disable whose outcome is not known may still take effect.
            PrunedState::Ordered if clock::now() < settled => {
                return Ok(Err(format!(
                    "{id} is being disabled right now, or the command that did it was interrupted; run this again after {settled:.0}"
                )));
            }
            _ => {}
        }
        let issuer = self.office.wired.issuer(&place.service)?;
        Ok(match look_up(issuer, id).await? {
            Some(info) => Ok((token, place, info)),
            None => Err(format!("{id} is not there any longer")),
        })
    }

    /// `false` = another process was faster.
    async fn enable(
        &self,
        token: &PrunedToken,
        place: &IssuerPlace,
        info: &TokenInfo,
    ) -> Result<bool, CallError> {
        let installation = self.office.wired.ledger.installation().await?;
        let document = &self.office.wired.pruned;
        let now = clock::now();
        let mut restoring = token.clone();
        restoring.enter(PrunedState::Restoring, now);
        let begun = document.change(|record| {
            let entry = record.unchanged(token);
            entry.map(|entry| *entry = restoring.clone()).is_some()
        });
        if !begun.await? {
            return Ok(false);
        }
        let issuer = self.office.wired.issuer(&place.service)?;
        let name = former_name(token, info, &installation);
        let called = issuer.inner().set_state(&token.id, token.enabled, name);
        match called.await {
            Ok(()) => {}
            // A daemon finishes it.
            Err(error) if error.kind == ErrorKind::Unclear => return Err(error),
            Err(error) => {
                let back = document.change(|record| {
                    if let Some(entry) = record.unchanged(&restoring) {
                        *entry = token.clone();
                    }
                });
                return back.await.and(Err(error));
            }
        }
        let dropped = document.change(|record| record.drop_entry(&token.id));
        dropped.await?;
        Ok(true)
    }

    /// Gives back what the command logged in for.
    pub async fn close(self) {
        self.office.wired.log_out().await;
    }
}
