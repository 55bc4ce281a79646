//! The commands about tokens of no secret: the plan, its execution, and the way back. Each token is written to the document before it is touched, so
//! that a daemon finishes what a killed command began.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::config::{IssuerPlace, Settings};
use crate::ops::audit::{Audited, Relation};
use crate::ops::prune::{Choice, Protection, Selection};
use rotation::error::{CallError, ErrorKind, Service};
use rotation::ports::TokenIssuer;
use rotation::prune::{PruneResult, PruneRun};
use rotation::request::{self, CurrentTokens};
use rotation::token::TokenId;

use super::super::assemble;
use super::super::foreground::OpenError;
use super::super::foreground::stopping::Stopper;
use super::super::in_use::{self, ManagementTokens};
use super::super::job::Office;
use super::super::{audit, clocks};
use super::disable::{self, Disabling};
use super::drive::{Driver, Stop};

pub use super::disable::Outcome;

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
    /// The id of this installation, which the names will bear; none = the journal is still empty.
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
    /// It is enabled unless it was disabled before it was pruned.
    Done {
        /// It can be used.
        enabled: bool,
        /// The name that it had before it was pruned.
        before: String,
        /// The name that it has now; none = it could not be read.
        name: Option<String>,
    },
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

    /// What it is stopped with.
    pub fn stopper(&self) -> Stopper {
        Stopper {
            asked: self.office.stop.clone(),
            within: self.settings.daemon.shutdown_timeout,
        }
    }

    /// The command is to stop: nothing more is begun.
    fn go_on(&self) -> Result<(), CallError> {
        let what = "stopped: the rest of the plan was not begun";
        match self.office.stop.is_cancelled() {
            true => Err(CallError::new(Service::Vault, ErrorKind::Refused, what)),
            false => Ok(()),
        }
    }

    /// Carries a plan out. Each outcome is handed to `done` as soon as it is known.
    ///
    /// # Errors
    /// The rest of the plan was not begun.
    pub async fn carry_out(
        &self,
        plan: &Plan,
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
            if clocks::state(&self.office, service).await != request::Clock::Agrees {
                let what = format!(
                    "nothing of {service} was changed, because its clock and this machine's are not known to agree"
                );
                return Err(CallError::new(Service::Dynatrace, ErrorKind::Refused, what));
            }
            let held = self.held(service).await?;
            let services = std::slice::from_ref(service);
            let management = ManagementTokens::read(&self.office.wired, self.settings, services);
            let management = management.await.complete()?;
            let work = Disabling {
                driver: self.driver(&place, &installation, &held, &management)?,
                by: &self.by,
            };
            for batch in chosen.chunks(disable::BATCH) {
                self.go_on()?;
                work.disable(batch, done).await?;
            }
            if !confirmed.is_empty() {
                self.go_on()?;
                work.delete(&confirmed, done).await?;
            }
        }
        Ok(())
    }

    /// The tokens that the secrets hold in Vault at this moment.
    async fn held(&self, service: &String) -> Result<CurrentTokens, CallError> {
        let plans = self.settings.secrets.iter().map(|secret| &*secret.plan);
        let services = std::slice::from_ref(service);
        let values = in_use::values(&self.office.wired, self.settings, plans, services).await;
        let mut index = CurrentTokens::default();
        for (plan, id) in values {
            if let Some(id) = id? {
                index.entry(id).or_default().push(plan.name.as_str().into());
            }
        }
        Ok(index)
    }

    fn driver<'d>(
        &'d self,
        place: &'d IssuerPlace,
        installation: &'d str,
        held: &'d CurrentTokens,
        management: &'d [TokenId],
    ) -> Result<Driver<'d>, CallError> {
        Ok(Driver {
            office: &self.office,
            place,
            issuer: self.office.wired.issuer(&place.service)?,
            installation,
            quarantine: self.settings.quarantine,
            held,
            management,
            confirmed: &NOTHING,
        })
    }

    /// Brings a pruned token back: enabled, if it was, and with its name.
    pub async fn restore(&self, id: &TokenId, dry_run: bool) -> Restored {
        let restored = self.try_restore(id, dry_run).await;
        restored.unwrap_or_else(Restored::Failed)
    }

    async fn try_restore(&self, id: &TokenId, dry_run: bool) -> Result<Restored, CallError> {
        let record = self.office.wired.pruned.read().await?;
        let Some(token) = record.find(id).cloned() else {
            return Ok(Restored::Refused(format!(
                "{id} is not a token that `dtrotate prune` disabled; for an old token of a secret name the secret: `dtrotate undo NAME --token ID`"
            )));
        };
        let places = self.settings.issuers();
        let place = places
            .into_iter()
            .find(|place| place.service == token.service && place.base_url == token.base_url);
        let Some(place) = place else {
            return Ok(Restored::Refused(format!(
                "{id} is a token of {} at {}, which is not in the configuration",
                token.service, token.base_url
            )));
        };
        let installation = self.office.wired.ledger.installation().await?;
        let held = CurrentTokens::default();
        let driver = self.driver(&place, &installation, &held, &[])?;
        let runs = vec![(id.clone(), PruneRun::restore(token.clone()))];
        let result = match dry_run {
            true => {
                let stopped = driver.advance(runs).await.pop();
                match stopped {
                    Some((_, _, Stop::End(result))) => result,
                    _ => PruneResult::Restored,
                }
            }
            false => {
                let ended = driver.drive(runs).await.results.pop();
                ended.map_or(PruneResult::Overtaken, |(_, _, result)| result)
            }
        };
        Ok(match result {
            PruneResult::Restored => {
                // Someone else may have given it a name meanwhile, which it keeps.
                let info = driver.issuer.look_up(id).await.ok();
                let name = info.map(|info| {
                    let back = token.name_back(&info.name, &installation);
                    back.unwrap_or(info.name)
                });
                Restored::Done {
                    enabled: token.enabled,
                    before: token.name,
                    name,
                }
            }
            PruneResult::Refused(why) => Restored::Refused(why),
            PruneResult::Failed(error) | PruneResult::Unclear(error) => Restored::Failed(error),
            _ => Restored::Refused(format!(
                "another process is working on {id}; run the command again"
            )),
        })
    }

    /// Gives back what the command logged in for.
    pub async fn close(self) {
        self.office.wired.log_out().await;
    }
}

/// A command that disables or brings back confirms no deletion.
static NOTHING: BTreeSet<TokenId> = BTreeSet::new();
