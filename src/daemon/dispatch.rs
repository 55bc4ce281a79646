//! Who runs now: from a tick, an alarm or a change to a run, and what its end means for the next one. Never two runs of one secret, never
//! more than the limit.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::clock;
use crate::schedule::ticker::GroupId;
use crate::telemetry::Line;
use rotation::command::RunResult;
use rotation::error::{CallError, ErrorKind, Service};
use rotation::event::EventName;
use rotation::request::{CurrentTokens, Epochs, Goal, Hints, Holder, Known};
use rotation::runner::Ended;

use super::job::Start;
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
        let released = entry.settings.is_none();
        let hints = Hints {
            recheck_token: std::mem::take(&mut entry.doubt),
            reread_secret: std::mem::take(&mut entry.glance),
        };
        entry.hinted = (hints.recheck_token, hints.reread_secret);
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
        let known = entry.known.clone();
        let enabled = entry
            .settings
            .as_ref()
            .is_none_or(|settings| settings.enabled);
        let before = Known {
            journal: known.clone(),
            observation: entry.watch,
            listing,
        };
        let outage = self.office.board.last_vault_outage();
        let current_tokens = self.current_token_index(&plan.coordinates.base_url);
        let epochs = self.epochs();
        let (office, holder) = (self.office.clone(), self.holder());
        let installation = self.installation.clone().unwrap_or_default();
        let task_name = name.clone();
        let handle = self.runs.spawn(async move {
            let clock = sweep::clock_state(&office, &plan.coordinates.environment).await;
            let start = Start {
                plan,
                holder,
                installation,
                goal: match (released, wish) {
                    (true, _) => Goal::Release,
                    (false, Some(request)) => Goal::Rotate(request),
                    (false, None) => Goal::Settle,
                },
                dry_run: false,
                hints,
                enabled,
                clock,
                // Nothing retires before it is known what the other secrets hold.
                may_retire: current_tokens.is_some(),
                current_tokens: current_tokens.unwrap_or_default(),
                epochs,
                outage,
                known: before,
            };
            let ended = start.run(&office).await.unwrap_or_else(|error| Ended {
                result: RunResult::Retry(error),
                journal: known,
                reports: vec![],
            });
            (task_name, ended)
        });
        self.running.insert(handle.id(), name);
    }

    /// The tokens that the secrets hold; none while that is not known of one in the environment at this URL: it may be the very token that is
    /// to retire. All runs share it, until one of them brings another token.
    fn current_token_index(&mut self, base_url: &str) -> Option<Arc<CurrentTokens>> {
        let configured = || {
            let roster = self.roster.iter();
            roster.filter(|(_, entry)| entry.settings.is_some())
        };
        let unknown =
            |entry: &Entry| entry.held().is_none() && entry.plan.coordinates.base_url == base_url;
        if configured().any(|(_, entry)| unknown(entry)) {
            return None;
        }
        if self.current_tokens.is_none() {
            let mut index = CurrentTokens::new();
            for (name, entry) in configured() {
                if let Some(id) = entry.held().flatten() {
                    index.entry(id.clone()).or_default().push(name.clone());
                }
            }
            self.current_tokens = Some(Arc::new(index));
        }
        self.current_tokens.clone()
    }

    /// The identities of the documents, once each was looked at. All runs share them, until one of them brings another.
    fn epochs(&mut self) -> Option<Arc<Epochs>> {
        if !self.looked_at_all {
            return None;
        }
        if self.epochs.is_none() {
            let mut index = Epochs::new();
            for entry in self.roster.values() {
                if let Some(record) = entry.record().filter(|record| record.closed_at.is_none()) {
                    index
                        .entry(record.epoch.clone())
                        .or_default()
                        .push(entry.plan.clone());
                }
            }
            self.epochs = Some(Arc::new(index));
        }
        self.epochs.clone()
    }

    fn holder(&self) -> Holder {
        Holder {
            instance: self.instance.clone(),
            boot: self.boot.clone(),
            is_daemon: true,
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
                let what =
                    "internal error: the run panicked (see the previous line); it will be retried";
                Line::new(EventName::InternalError, what)
                    .secret(&name, "")
                    .write();
                let error = CallError::new(Service::Vault, ErrorKind::Transient, what);
                (
                    name,
                    Ended {
                        result: RunResult::Retry(error),
                        journal: None,
                        reports: vec![],
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
        let identity = |entry: &Entry| {
            let record = entry.record().filter(|record| record.closed_at.is_none());
            record.map(|record| record.epoch.clone())
        };
        let epoch_before = identity(entry);
        entry.ended(&ended.result, ended.journal, now);
        sweep::note_troubles(&self.office.board, &name, entry, &ended.result);
        if before.as_ref().map(Option::as_ref) != entry.held() {
            self.current_tokens = None;
        }
        if epoch_before != identity(entry) {
            self.epochs = None;
        }
        if entry.is_finished() {
            sweep::forget_troubles(&self.office.board, &name);
            self.roster.remove(&name);
        } else {
            self.plan(&name, now);
        }
        self.window.show(&name, self.roster.get(&name));
        if first && self.roster.values().all(|entry| entry.looked) {
            self.looked_at_all = true;
            // Now it is known what every secret holds: what is due for retirement need not wait any longer.
            let mut retiring = self.roster.values_mut();
            let due = |entry: &Entry| {
                entry
                    .record()
                    .is_some_and(|record| !record.retiring.is_empty() || !record.open.is_empty())
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
        let reload = Arc::new(|| Err(String::new()));
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
