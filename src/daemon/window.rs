//! The daemon's window: what it shows to the ops listener. Each secret's picture is renewed when something about it changed, so that
//! whoever looks costs the daemon nothing, and a daemon that waits for Vault still shows what it knew.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::clock;
use crate::ops::Source;
use crate::ops::metrics::Counters;
use crate::ops::status::{self, Reload, Secret, Status};
use crate::telemetry;

use super::board::Board;
use super::job::Office;
use super::roster::Entry;

/// Shared by the main loop, which shows, and the listener, which looks.
pub struct Window {
    instance: String,
    started: Timestamp,
    began: Instant,
    counters: Arc<Counters>,
    board: Arc<Board>,
    secrets: Mutex<BTreeMap<String, Arc<Secret>>>,
    reload: Mutex<Reload>,
    /// Logged in, and every secret was looked at once.
    recovered: AtomicBool,
    /// When the main loop turned last, in milliseconds since `began`.
    turned: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

impl Window {
    /// Shows nothing yet; the configuration that the process started with is in force.
    pub fn new(instance: &str, office: &Office) -> Self {
        let now = clock::now();
        Window {
            instance: instance.to_owned(),
            started: now,
            began: Instant::now(),
            counters: office.counters.clone(),
            board: office.board.clone(),
            secrets: Mutex::default(),
            reload: Mutex::new(Reload {
                at: now,
                ok: true,
                in_force_since: now,
            }),
            recovered: AtomicBool::new(false),
            turned: AtomicU64::new(0),
        }
    }

    /// Something about this secret changed; none = it is gone.
    pub fn show(&self, name: &str, entry: Option<&Entry>) {
        let mut secrets = lock(&self.secrets);
        match entry {
            Some(entry) => {
                let secret = Arc::new(entry.picture(name, &self.instance));
                secrets.insert(name.to_owned(), secret);
            }
            None => {
                secrets.remove(name);
            }
        }
    }

    /// The names that are shown.
    pub fn names(&self) -> Vec<String> {
        lock(&self.secrets).keys().cloned().collect()
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

impl Source for Window {
    fn status(&self) -> Status {
        let readiness = self.readiness();
        let secrets: Vec<Arc<Secret>> = lock(&self.secrets).values().cloned().collect();
        let secrets = secrets.iter().map(|secret| Secret::clone(secret)).collect();
        let daemon = status::Daemon {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            instance: self.instance.clone(),
            started: self.started,
            ready: readiness.is_ok(),
            readiness: readiness.unwrap_or_else(|waiting| waiting),
            reload: lock(&self.reload).clone(),
        };
        Status {
            daemon: Some(daemon),
            services: self.board.services(),
            troubles: self.board.troubles(),
            ..Status::new(clock::now())
        }
        .with_secrets(secrets)
    }

    fn readiness(&self) -> Result<String, String> {
        match self.board.vault_outage() {
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
}
