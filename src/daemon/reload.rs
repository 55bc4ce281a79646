//! Which secrets there are: the roster and the engine's groups are brought in line with the configuration, at the start and at a reload.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use crate::config::Settings;
use crate::ops::condition::Condition;
use crate::schedule::ticker::{GroupId, Groups};
use crate::telemetry::{self, Line};
use crate::{bounded_file, clock};
use rotation::event::{EventName, Level};

use super::background::Background;
use super::call_limit::CallLimit;
use super::conditions::Subject;
use super::difference::Difference;
use super::entry::Entry;
use super::offline_status::journal_place;
use super::orphaned_documents::{environment_of, issuer_at};
use super::prune::watch::Pruning;
use super::queue::Key;
use super::{Daemon, assemble, systemd};

impl Daemon {
    /// Brings the roster in line with the settings; what did not change keeps its state.
    pub(super) fn enroll(&mut self) {
        let all = &self.settings;
        let mut wanted: BTreeMap<Key, _> = self
            .settings
            .secrets
            .iter()
            .map(|secret| (Key::from(secret.plan.name.as_str()), secret.clone()))
            .collect();
        let labels = wanted
            .iter()
            .map(|(name, secret)| (name.to_string(), secret.labels.clone()));
        telemetry::set_labels(labels);
        let now = clock::now();
        self.queue.set_limit(self.office.call_limit.runs());
        self.epochs = None;
        let known: Vec<Key> = self.roster.keys().cloned().collect();
        for name in known {
            let Some(entry) = self.roster.get_mut(&name) else {
                continue;
            };
            match wanted.remove(&name) {
                // Changed labels need no run.
                Some(settings) if entry.settings.as_ref() == Some(&settings) => {
                    entry.settings = Some(settings);
                }
                Some(settings) => entry.change(settings, now),
                None => {
                    // It is finished by its document, at the environment that has the URL now; without one the journal scan reports it.
                    entry.settings = None;
                    entry.due = None;
                    let url = &entry.plan.coordinates.base_url;
                    let issuer = issuer_at(all, url);
                    let Some(issuer) = issuer else {
                        self.roster.remove(&name);
                        continue;
                    };
                    let plan = Arc::make_mut(&mut entry.plan);
                    plan.coordinates.environment =
                        environment_of(all, &issuer, &plan.coordinates.environment);
                    plan.service = issuer.service;
                    entry.hurry(now);
                }
            }
        }
        for (name, settings) in wanted {
            let entry = Entry::new(settings.plan.clone(), Some(settings));
            self.roster.insert(name, entry);
        }
        let before = self.status_cache.names().into_iter();
        let all: BTreeSet<Key> = before.chain(self.roster.keys().cloned()).collect();
        for name in all {
            self.update(&name, now);
        }
    }

    /// One job of the engine per distinct (expression, zone).
    pub(super) async fn regroup(&mut self) -> anyhow::Result<()> {
        let mut groups = Groups::new();
        self.groups.clear();
        for (name, entry) in self.roster.iter() {
            let Some(settings) = &entry.settings else {
                continue;
            };
            let key = (settings.schedule_text.clone(), settings.zone_name.clone());
            let next = GroupId(self.group_ids.len() as u32);
            let id = *self.group_ids.entry(key).or_insert(next);
            groups
                .entry(id)
                .or_insert_with(|| settings.schedule.clone());
            self.groups.entry(id).or_default().push(name.clone());
        }
        self.ticker.set(groups).await?;
        Ok(())
    }

    /// Reads the configuration again; a bad one is refused as a whole.
    pub(super) async fn reload(&mut self) {
        systemd::reloading();
        let before = self.settings.secrets.clone();
        let read = self.reload.clone();
        let read = bounded_file::off_runtime(move || read()).await;
        let read =
            read.unwrap_or_else(|error| Err(format!("cannot read the configuration: {error}")));
        let adopted = match read {
            Ok((settings, level)) => match self.adopt(settings).await {
                Ok(()) => {
                    telemetry::set_level(&level);
                    Ok(())
                }
                Err(error) => Err(error.to_string()),
            },
            Err(problems) => Err(problems),
        };
        self.rejected = adopted.is_err();
        self.status_cache.reloaded(adopted.is_ok());
        match adopted {
            Ok(()) => {
                self.office.conditions.set(Subject::Configuration, vec![]);
                let before = before
                    .iter()
                    .map(|it| (it.plan.name.as_str(), Some(it.digest())));
                let difference = Difference::between(&before.collect(), &self.settings.secrets);
                let message = format!("{} secrets; {difference}", self.settings.secrets.len());
                Line::new(EventName::ConfigReloaded, message).write();
            }
            Err(problems) => self.reject(&problems),
        }
        self.become_ready();
        if self.ready {
            systemd::ready(&self.status);
        }
    }

    /// Logs each problem once; the first one stays an open condition until a reload succeeds.
    fn reject(&self, problems: &str) {
        let mut first = None;
        for problem in problems.lines().filter(|line| !line.is_empty()) {
            let message = format!("{problem}; the old configuration stays");
            Line::new(EventName::ConfigRejected, &message).write();
            first.get_or_insert(message);
        }
        let condition =
            first.map(|message| Condition::new(EventName::ConfigRejected, message, clock::now()));
        let all = condition.into_iter().collect();
        self.office
            .conditions
            .set_reported(Subject::Configuration, all);
    }

    async fn adopt(&mut self, mut settings: Settings) -> anyhow::Result<()> {
        let rewired = settings.vault != self.settings.vault
            || settings.journal != self.settings.journal
            || settings.environments != self.settings.environments
            || settings.accounts != self.settings.accounts;
        // Whatever can fail comes before the first change.
        let wired = match rewired {
            true => {
                // It reads files: certificates, the login of a proxy.
                let settings = settings.clone();
                let assembled = bounded_file::off_runtime(move || assemble::assemble(&settings));
                Some(assembled.await??)
            }
            false => None,
        };
        let (conditions, counters) = (&self.office.conditions, &self.office.counters);
        self.notifications
            .set(&settings.notify, conditions, counters)
            .await?;
        if let Some(wired) = wired {
            let former = std::mem::replace(&mut self.office.wired, wired);
            self.former.push(former);
            let issuers = settings.issuers_in_use();
            let names = issuers.iter().map(|issuer| &issuer.service);
            self.office.services.set_environments(names.clone());
            // What is under way still asks the old ones.
            self.background = Background::default();
            self.sweeps.clear();
            self.pruning = Pruning::default();
            for issuer in self.settings.issuers() {
                if !names.clone().any(|name| *name == issuer.service) {
                    self.office.conditions.forget_environment(&issuer.service);
                }
            }
            let ledger = self.office.wired.ledger.clone();
            self.status_cache
                .set_journal(journal_place(&settings), ledger);
            if settings.journal != self.settings.journal {
                self.installation = None;
                self.status_cache.recovered(false);
            }
        }
        if settings.ops != self.settings.ops {
            self.stop_listening().await;
        }
        for warning in &settings.warnings {
            if !self.settings.warnings.contains(warning) {
                let line = Line::new(EventName::ConfigReloaded, warning);
                line.at(Level::Warn).write();
            }
        }
        self.office.services.reopen();
        if settings.limits.concurrency != self.settings.limits.concurrency {
            self.office.call_limit = Arc::new(CallLimit::new(settings.limits.concurrency));
        }
        self.carry_discovered(&mut settings);
        self.settings = settings;
        if rewired {
            self.keep_logged_in();
        }
        self.enroll();
        self.regroup().await?;
        self.listen();
        // The same address may have a new management token.
        for name in self.office.wired.issuers.keys() {
            self.office.wired.forget_credential(name);
        }
        self.hurry_sweeps();
        self.next_survey = Instant::now();
        self.surveyed = false;
        self.closed_documents.clear();
        self.ring();
        Ok(())
    }
}
