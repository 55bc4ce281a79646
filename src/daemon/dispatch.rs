//! Who runs now: from a tick, an alarm or a change to a run, and what its end means for the next one. Never two runs of one secret, never
//! more than the limit.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::clock;
use crate::schedule::ticker::GroupId;
use crate::telemetry::Line;
use rotation::error::{CallError, ErrorKind, Service};
use rotation::event::EventName;
use rotation::facts::{Errand, Holder, Holders, Verdict};
use rotation::plan::Plan;
use rotation::ports::{SecretPath, SecretStore, TokenIssuer};
use rotation::runner::Ended;
use rotation::token::{Abilities, Epoch};

use super::job::{self, Office};
use super::roster::Entry;
use super::{Life, PATROL, sweep};

impl Life {
    /// A group's due time came: its secrets are asked for their own.
    pub(super) fn tick(&mut self, group: GroupId) {
        let now = clock::now();
        let names = self.groups.get(&group).cloned().unwrap_or_default();
        for name in names {
            self.look(&name, now);
        }
    }

    /// Alarms: retries, clean-up, retirement, jitter, expiry, missed runs.
    pub(super) fn ring(&mut self) {
        let now = clock::now();
        let due: Vec<String> = self
            .roster
            .iter()
            .filter(|(_, entry)| !entry.busy && entry.alarm(now).is_some_and(|at| at <= now))
            .map(|(name, _)| name.clone())
            .collect();
        for name in due {
            self.enqueue(&name);
        }
    }

    pub(super) fn look(&mut self, name: &str, now: Timestamp) {
        let Some(entry) = self.roster.get(name).filter(|entry| !entry.busy) else {
            return;
        };
        if entry.stale(now) {
            self.plan(name, now);
        }
        let Some(entry) = self.roster.get(name) else {
            return;
        };
        if entry.alarm(now).is_some_and(|at| at <= now) {
            self.enqueue(name);
        }
    }

    /// Computes anew when a secret is due.
    pub(super) fn plan(&mut self, name: &str, now: Timestamp) {
        let Some(entry) = self.roster.get_mut(name) else {
            return;
        };
        let environment = entry.plan.coordinates.environment.clone();
        let able = self.able_since.get(&environment);
        let able = able.copied().unwrap_or(self.began);
        if let Some(skipped) = entry.plan_next(now, able) {
            let message = format!(
                "the due time {skipped} passed unserved and is skipped (`missed = \"skip\"`); {}",
                entry.because
            );
            Line::new(EventName::RotationSkipped, message)
                .secret(name, &environment)
                .write();
        }
    }

    fn enqueue(&mut self, name: &str) {
        if let Some(entry) = self.roster.get_mut(name)
            && !entry.busy
        {
            entry.busy = true;
            self.queue.push_back(name.to_owned());
        }
    }

    /// How long until the next alarm.
    pub(super) fn next_alarm(&self) -> Duration {
        let now = clock::now();
        let next = self
            .roster
            .values()
            .filter(|entry| !entry.busy)
            .filter_map(|entry| entry.alarm(now))
            .min();
        match next {
            Some(at) => Duration::try_from(at.duration_since(now)).unwrap_or_default(),
            None => PATROL,
        }
    }

    /// Starts what is queued, as far as the limit and the services allow.
    pub(super) fn dispatch(&mut self) {
        if self.installation.is_none() || !self.surveyed {
            return;
        }
        let mut parked = VecDeque::new();
        while self.runs.len() < self.settings.limits.concurrency {
            let Some(name) = self.queue.pop_front() else {
                break;
            };
            let environment = match self.roster.get(&name) {
                Some(entry) => entry.plan.coordinates.environment.clone(),
                None => continue,
            };
            if self.office.board.can_start(&environment) {
                self.start(name);
            } else {
                parked.push_back(name);
            }
        }
        parked.append(&mut self.queue);
        self.queue = parked;
    }

    fn start(&mut self, name: String) {
        let Some(entry) = self.roster.get_mut(&name) else {
            return;
        };
        let now = clock::now();
        entry.started = Some(now);
        let wish = entry.wish(now);
        let leaving = entry.settings.is_none();
        let doubt = std::mem::take(&mut entry.doubt);
        let glance = std::mem::take(&mut entry.glance);
        let listing = entry.listing.take();
        if let Some(wish) = &wish {
            let message = format!("due, because {}", entry.because);
            let coordinates = &entry.plan.coordinates;
            let mut line =
                Line::new(EventName::ScheduleDue, message).secret(&name, &coordinates.environment);
            if let Some(due) = wish.due {
                line = line.since(Some(due));
            }
            line.write();
        }
        let plan = entry.plan.clone();
        let (known, watch) = (entry.known.clone(), entry.watch);
        let outage = self.office.board.last_vault_outage();
        let holders = self.holders(&plan.coordinates.base_url);
        let (office, holder) = (self.office.clone(), self.holder());
        let installation = self.installation.clone().unwrap_or_default();
        let id = job::mark();
        let task_name = name.clone();
        let handle = self.runs.spawn(async move {
            // Nothing retires before it is known what the other secrets hold and what time it is.
            let clock_ok = match &holders {
                Some(_) => sweep::clocks_agree(&office, &plan.coordinates.environment).await,
                None => false,
            };
            let holders = holders.unwrap_or_default();
            let errand = |abilities, history| Errand {
                plan: plan.clone(),
                holder,
                id,
                fresh_epoch: Epoch {
                    installation,
                    secret: job::mark()[..6].to_owned(),
                },
                abilities,
                history,
                wish,
                undo: false,
                dry: false,
                clock_ok,
                holders,
                journal: known.clone(),
                watch,
                listing,
                leaving,
                glance,
                doubt,
                outage,
            };
            let ended = run_one(&office, &plan, errand)
                .await
                .unwrap_or_else(|error| Ended {
                    verdict: Verdict::Later(error),
                    journal: known.clone(),
                });
            (task_name, ended)
        });
        self.running.insert(handle.id(), name);
    }

    /// The tokens that the secrets hold; none while that is not known of one in the environment at this URL: it may be the very token
    /// that is to retire. All runs share it, until one of them brings another token.
    fn holders(&mut self, base_url: &str) -> Option<Arc<Holders>> {
        let configured = || {
            let roster = self.roster.iter();
            roster.filter(|(_, entry)| entry.settings.is_some())
        };
        let unknown =
            |entry: &Entry| entry.held().is_none() && entry.plan.coordinates.base_url == base_url;
        if configured().any(|(_, entry)| unknown(entry)) {
            return None;
        }
        if self.holders.is_none() {
            let mut holders = Holders::new();
            for (name, entry) in configured() {
                if let Some(id) = entry.held().flatten() {
                    holders.entry(id.clone()).or_default().push(name.clone());
                }
            }
            self.holders = Some(Arc::new(holders));
        }
        self.holders.clone()
    }

    fn holder(&self) -> Holder {
        Holder {
            instance: self.instance.clone(),
            boot: self.boot.clone(),
            resumes: true,
        }
    }

    /// A run ended.
    pub(super) fn collect(
        &mut self,
        ended: Result<(tokio::task::Id, (String, Ended)), tokio::task::JoinError>,
    ) {
        let (name, ended) = match ended {
            Ok((id, ended)) => {
                self.running.remove(&id);
                ended
            }
            Err(error) => {
                let Some(name) = self.running.remove(&error.id()) else {
                    return;
                };
                let what = "a run ended by a fault of dtrotate, told above; it is tried again";
                Line::new(EventName::RotationFailed, what)
                    .secret(&name, "")
                    .write();
                let error = CallError::new(Service::Vault, ErrorKind::Transient, what);
                (
                    name,
                    Ended {
                        verdict: Verdict::Later(error),
                        journal: None,
                    },
                )
            }
        };
        let now = clock::now();
        let Some(entry) = self.roster.get_mut(&name) else {
            return;
        };
        let first = !entry.looked;
        let before = entry.held().map(|held| held.cloned());
        entry.ended(&ended.verdict, ended.journal, now);
        sweep::note_troubles(&self.office.board, &name, entry, &ended.verdict);
        if before.as_ref().map(Option::as_ref) != entry.held() {
            self.holders = None;
        }
        if entry.is_finished() {
            sweep::forget_troubles(&self.office.board, &name);
            self.roster.remove(&name);
        } else {
            self.plan(&name, now);
        }
        self.window.show(&name, self.roster.get(&name));
        if first && self.roster.values().all(|entry| entry.looked) {
            // Now it is known what every secret holds: what is due for retirement need not wait any longer.
            let mut retiring = self.roster.values_mut();
            let due = |entry: &Entry| {
                entry
                    .record()
                    .is_some_and(|record| !record.retiring.is_empty())
            };
            retiring
                .by_ref()
                .filter(|entry| due(entry))
                .for_each(|entry| entry.hurry(now));
            // A sweep compares only what is known.
            self.next_sweep = Instant::now();
            self.become_ready();
        }
    }
}

/// One run with its preliminaries.
pub(super) async fn run_one(
    office: &Office,
    plan: &Plan,
    errand: impl FnOnce(Abilities, bool) -> Errand,
) -> Result<Ended, CallError> {
    let issuer = office.wired.issuer(&plan.coordinates.environment)?.clone();
    let at = SecretPath {
        mount: plan.coordinates.mount.clone(),
        path: plan.coordinates.path.clone(),
    };
    let history = office.wired.store.has_history(&at).await;
    office.board.called(
        &plan.coordinates.environment,
        "read",
        history.as_ref().err(),
    );
    let errand = errand(issuer.abilities(), history?);
    let ended = office.run(errand, &issuer).await;
    if plan.manages_tokens {
        // What was current when the run began may not be so any more; the next call reads it anew.
        issuer.inner().forget_management_token().await;
    }
    Ok(ended)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Options, load};
    use crate::schedule::ticker::{Groups, Ticker};

    const CONFIGURATION: &str = r#"
[vault]
address = "http://127.0.0.1:1"
[vault.auth]
method = "token"
token_file = "token"
[journal]
mount = "secret"
path = "journal"
[dynatrace.prod]
url = "http://127.0.0.1:1"
[dynatrace.prod.auth]
path = "dynatrace/master"
[[secret]]
path = "a"
schedule = "@daily"
[[secret]]
path = "b"
schedule = "@daily"
"#;

    #[tokio::test]
    async fn a_panic_ends_one_run_which_is_tried_again() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("dtrotate.toml");
        std::fs::write(&file, CONFIGURATION).unwrap();
        std::fs::write(folder.path().join("token"), "x").unwrap();
        let options = Options {
            environment: Default::default(),
            config_dir: None,
            daemon: true,
            offline: true,
        };
        let settings = load(&file, &options).unwrap_or_else(|_| panic!("it is valid"));
        let (ticker, _ticks) = Ticker::start(Groups::new()).await.unwrap();
        let reload = Box::new(|| Err(String::new()));
        let mut life = Life::new(settings, "i".into(), reload, ticker).unwrap();
        life.roster.get_mut("a").unwrap().busy = true;
        let handle = life.runs.spawn(async { panic!("a fault") });
        life.running.insert(handle.id(), "a".into());
        let ended = life.runs.join_next_with_id().await.unwrap();
        life.collect(ended);
        let now = clock::now();
        let entry = &life.roster["a"];
        assert!(!entry.busy && entry.looked);
        assert!(entry.alarm(now).unwrap() > now, "after a while");
        assert!(!life.roster["b"].looked, "the other one is not concerned");
        assert!(life.running.is_empty());
    }
}
