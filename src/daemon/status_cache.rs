//! What the daemon shows to the ops listener. Each secret's picture is renewed when something about it changed, so that a look costs the main
//! loop nothing, and a daemon that waits for Vault still shows what it knew.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use crate::clock;
use crate::ops::counters::Counters;
use crate::ops::rotations::Rotation;
use crate::ops::secret::Secret;
use crate::ops::status::{self, JournalPlace, Reload, Status};
use crate::ops::upcoming::{self, Outlook};
use crate::ops::{Recheck, Source};
use crate::telemetry;
use rotation::event::EventName;
use rotation::request::after;

use super::assemble::Ledger;
use super::conditions::Conditions;
use super::entry::Entry;
use super::histories::Histories;
use super::job::Office;
use super::lock;
use super::queue::Key;
use super::services::Services;
use super::upcoming::Future;

/// A secret's document is read again on request at most this often.
const BETWEEN_RECHECKS: Duration = Duration::from_secs(1);
/// Whoever asked for it waits for it no longer.
const RECHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// A command asks for a secret's document to be read again.
pub struct Request {
    pub(super) secret: String,
    /// To be dropped when it is done.
    pub(super) done: oneshot::Sender<()>,
}

/// Shared by the main loop, which shows, and the listener, which looks.
pub struct StatusCache {
    instance: String,
    started: Timestamp,
    began: Instant,
    counters: Arc<Counters>,
    services: Arc<Services>,
    conditions: Arc<Conditions>,
    secrets: Mutex<BTreeMap<Key, Arc<Entry>>>,
    /// The services at which the clocks disagree.
    skewed: Mutex<BTreeSet<String>>,
    histories: Arc<Histories>,
    reload: Mutex<Reload>,
    journal: Mutex<JournalPlace>,
    /// Logged in, and every secret was looked at once.
    recovered: AtomicBool,
    /// Asks the main loop for rechecks, and when it was last asked for each secret.
    rechecks: mpsc::UnboundedSender<Request>,
    rechecked: Mutex<HashMap<String, Instant>>,
    /// When the main loop turned last, in milliseconds since `began`.
    turned: AtomicU64,
}

impl StatusCache {
    /// Shows nothing yet; the configuration that the process started with is in force.
    pub fn new(
        instance: &str,
        office: &Office,
        journal: JournalPlace,
        rechecks: mpsc::UnboundedSender<Request>,
    ) -> Self {
        let now = clock::now();
        StatusCache {
            instance: instance.to_owned(),
            started: now,
            began: Instant::now(),
            counters: office.counters.clone(),
            services: office.services.clone(),
            conditions: office.conditions.clone(),
            secrets: Mutex::default(),
            skewed: Mutex::default(),
            histories: Arc::new(Histories::new(office.wired.ledger.clone())),
            reload: Mutex::new(Reload {
                at: now,
                ok: true,
                in_force_since: now,
            }),
            journal: Mutex::new(journal),
            recovered: AtomicBool::new(false),
            rechecks,
            rechecked: Mutex::default(),
            turned: AtomicU64::new(0),
        }
    }

    /// Something about this secret changed.
    pub fn show(&self, name: &Key, entry: &Arc<Entry>) {
        lock(&self.secrets).insert(name.clone(), entry.clone());
    }

    /// This secret is gone.
    pub fn remove(&self, name: &str) {
        lock(&self.secrets).remove(name);
        self.histories.forget(name);
    }

    /// What the secrets wait for whose tokens this environment or account issues.
    fn waits_for(&self, service: &str) -> Option<String> {
        if let Some((title, outage)) = self.services.waits_for(service) {
            return Some(format!(
                "{title} since {:.0}: {}",
                outage.since, outage.what
            ));
        }
        let disagree = lock(&self.skewed).contains(service);
        let skew = EventName::ClockSkew.as_str();
        disagree.then(|| format!("the clocks to agree (`{skew}`)"))
    }

    /// The clocks disagree at these services, and at no other.
    pub(super) fn set_skewed(&self, services: BTreeSet<String>) {
        *lock(&self.skewed) = services;
    }

    /// The names that are shown.
    pub fn names(&self) -> Vec<Key> {
        lock(&self.secrets).keys().cloned().collect()
    }

    /// Another configuration names this journal.
    pub fn set_journal(&self, journal: JournalPlace, ledger: Ledger) {
        *lock(&self.journal) = journal;
        self.histories.set_ledger(ledger);
    }

    /// The configuration was read again.
    pub fn reloaded(&self, ok: bool) {
        let mut reload = lock(&self.reload);
        reload.at = clock::now();
        reload.ok = ok;
        if ok {
            reload.in_force_since = reload.at;
        }
    }

    /// What a dead holder left is settled, as far as it could be; or there is another journal, and nothing is known of it yet.
    pub fn recovered(&self, is: bool) {
        self.recovered.store(is, Ordering::Relaxed);
    }

    /// Whether it is.
    pub fn is_recovered(&self) -> bool {
        self.recovered.load(Ordering::Relaxed)
    }

    /// The main loop is alive.
    pub fn turn(&self) {
        let millis = self.began.elapsed().as_millis();
        let millis = u64::try_from(millis).unwrap_or(u64::MAX);
        self.turned.store(millis, Ordering::Relaxed);
    }
}

impl Source for StatusCache {
    fn status(&self) -> Status {
        let readiness = self.readiness();
        let shown = lock(&self.secrets);
        let shared: Vec<(Key, Arc<Entry>)> = shown
            .iter()
            .map(|(name, entry)| (name.clone(), entry.clone()))
            .collect();
        drop(shown);
        let now = clock::now();
        let conditions = self.conditions.all();
        let mut waits: BTreeMap<String, Option<String>> = BTreeMap::new();
        let mut secrets = Vec::with_capacity(shared.len());
        for (name, entry) in shared {
            let mut secret = entry.show(&name, &self.instance);
            // As its delays: by who issues its tokens, which of a platform token is the account.
            let service = &entry.plan.service;
            let waits = waits
                .entry(service.clone())
                .or_insert_with(|| self.waits_for(service));
            if let Some(what) = waits {
                secret.wait_for(what, now);
            }
            secrets.push(secret);
        }
        let daemon = status::Daemon {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            instance: self.instance.clone(),
            started: self.started,
            ready: readiness.is_ok(),
            readiness: readiness.unwrap_or_else(|waiting| waiting),
            reload: lock(&self.reload).clone(),
            journal: Some(lock(&self.journal).clone()),
        };
        Status {
            daemon: Some(daemon),
            services: self.services.show(),
            ..Status::new(now)
        }
        .with(conditions, secrets)
    }

    fn journal(&self) -> JournalPlace {
        lock(&self.journal).clone()
    }

    fn readiness(&self) -> Result<String, String> {
        match self.services.vault_outage() {
            Some(outage) => Err(format!("waiting for Vault: {}", outage.what)),
            None if self.is_recovered() => Ok("ready".to_owned()),
            None => Err("reading the journal".to_owned()),
        }
    }

    fn idle(&self) -> Duration {
        let turned = Duration::from_millis(self.turned.load(Ordering::Relaxed));
        self.began.elapsed().saturating_sub(turned)
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }

    fn log_lines_dropped(&self) -> u64 {
        telemetry::lines_dropped()
    }

    fn outlook(&self, secrets: &[Secret]) -> Outlook {
        let now = clock::now();
        let hours = upcoming::HOURS as u64;
        let mut future = Future::new(now, after(now, Duration::from_secs(3600 * hours)));
        let shown = lock(&self.secrets);
        let mut outlook = Outlook::default();
        for secret in secrets {
            let settings = shown
                .get(secret.name.as_str())
                .and_then(|it| it.settings.as_deref());
            outlook.add(future.of(secret, settings), now);
        }
        outlook.is_cut = future.is_cut;
        outlook.finish();
        outlook
    }

    fn rotations(&self, secrets: &[Secret]) -> BoxFuture<'static, BTreeMap<String, Vec<Rotation>>> {
        let wanted = match self.services.vault_outage() {
            Some(_) => vec![],
            None => self.histories.wanted(secrets),
        };
        let names: Vec<String> = secrets.iter().map(|secret| secret.name.clone()).collect();
        let histories = self.histories.clone();
        Box::pin(async move {
            if !wanted.is_empty() {
                histories.read(wanted).await;
            }
            histories.of(names.iter())
        })
    }

    fn recheck(&self, secret: &str) -> BoxFuture<'static, Recheck> {
        let answer = |answer| -> BoxFuture<'static, Recheck> { Box::pin(async move { answer }) };
        if !lock(&self.secrets).contains_key(secret) {
            return answer(Recheck::Unknown);
        }
        let mut rechecked = lock(&self.rechecked);
        rechecked.retain(|_, at| at.elapsed() < BETWEEN_RECHECKS);
        if rechecked.contains_key(secret) {
            return answer(Recheck::TooOften);
        }
        rechecked.insert(secret.to_owned(), Instant::now());
        let (done, is_done) = oneshot::channel();
        let request = Request {
            secret: secret.to_owned(),
            done,
        };
        // Without a main loop nothing is rechecked: the process is about to end.
        let _ = self.rechecks.send(request);
        Box::pin(async move {
            let _ = tokio::time::timeout(RECHECK_TIMEOUT, is_done).await;
            Recheck::Done
        })
    }
}

#[cfg(test)]
mod tests {
    use rotation::error::{CallError, ErrorKind, Service};

    use super::super::fixture::daemon;
    use super::*;
    use crate::ops::secret::State;

    fn waiting(daemon: &super::super::Daemon) -> Vec<String> {
        let shown = daemon.status_cache.status().secrets;
        let waiting = shown.iter().filter(|it| it.state == State::Waiting);
        waiting
            .map(|it| format!("{}: {}", it.name, it.because))
            .collect()
    }

    #[tokio::test]
    async fn a_secret_waits_for_whoever_issues_its_tokens() {
        let daemon = daemon().await;
        let services = &daemon.office.services;
        let refused = CallError::new(
            Service::Dynatrace,
            ErrorKind::Unauthorized,
            "a scope is missing",
        );
        let names = |waiting: Vec<String>| -> Vec<String> {
            let name = |line: &String| line.chars().take(1).collect();
            waiting.iter().map(name).collect()
        };
        services.called("prod", "look_up", Some(&refused));
        assert_eq!(names(waiting(&daemon)), ["a", "b"]);
        services.called("prod", "look_up", None);
        services.called("account main", "look_up", Some(&refused));
        let waiting = waiting(&daemon);
        assert_eq!(names(waiting.clone()), ["p"]);
        assert!(waiting[0].contains("account main"), "{waiting:?}");
    }
}
