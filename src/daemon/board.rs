//! Which services can be used now, and what lasts and needs a human: told once, repeated every 15 minutes, and its end is told.
//!
//! A service's trouble is one line, not one per secret. A blip (a Vault cluster that elects a leader) is no line at all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::clock;
use crate::ops::metrics::Counters;
use crate::ops::status;
use crate::telemetry::Line;
use rotation::error::{CallError, Service};
use rotation::request;

use super::gate::{Gate, Outage, is_outage};

/// A trouble that lasts is repeated so often.
pub const REPEAT: Duration = Duration::from_secs(15 * 60);

/// All services and lasting troubles. Shared by everything in the process.
pub struct Board {
    vault: Gate,
    environments: Mutex<BTreeMap<String, Arc<Gate>>>,
    troubles: Mutex<BTreeMap<String, Trouble>>,
    counters: Arc<Counters>,
}

/// A trouble that lasts: its key, its line, since when.
pub type Lasting = (String, Line, Timestamp);

struct Trouble {
    line: Line,
    since: Timestamp,
    told: Instant,
    /// It happened and does not last: it is shown until it would be repeated.
    once: bool,
}

impl Board {
    /// For these environments; calls are counted in `counters`.
    pub fn new<'a>(
        environments: impl IntoIterator<Item = &'a String>,
        counters: Arc<Counters>,
    ) -> Self {
        let board = Board {
            vault: Gate::new(None),
            environments: Mutex::default(),
            troubles: Mutex::default(),
            counters,
        };
        board.set_environments(environments);
        board
    }

    /// The environments are these from now on; those that stay keep their state.
    pub fn set_environments<'a>(&self, names: impl IntoIterator<Item = &'a String>) {
        let mut all = lock(&self.environments);
        let mut known = std::mem::take(&mut *all);
        *all = names
            .into_iter()
            .map(|name| {
                let gate = known.remove(name);
                let new = || Arc::new(Gate::new(Some(name.clone())));
                (name.clone(), gate.unwrap_or_else(new))
            })
            .collect();
    }

    fn environment(&self, name: &str) -> Option<Arc<Gate>> {
        lock(&self.environments).get(name).cloned()
    }

    fn all_environments(&self) -> Vec<Arc<Gate>> {
        lock(&self.environments).values().cloned().collect()
    }

    /// A call of `step` for a secret of `environment` ended.
    pub fn called(&self, environment: &str, step: &str, error: Option<&CallError>) {
        let service = match error {
            Some(error) => error.service,
            None if matches!(step, "journal" | "read" | "store" | "fence") => Service::Vault,
            None => Service::Dynatrace,
        };
        self.counters.called(service, environment, error);
        let named = self.environment(environment);
        let gate = match service {
            Service::Vault => Some(&self.vault),
            Service::Dynatrace => named.as_deref(),
        };
        let Some(gate) = gate else { return };
        match error {
            Some(error) if is_outage(error) => gate.fail(error),
            _ => gate.works(),
        }
    }

    /// Vault cannot be used now.
    pub fn vault_outage(&self) -> Option<Outage> {
        self.vault.outage()
    }

    /// The last outage of Vault that is over and was long enough to be told of.
    pub fn last_vault_outage(&self) -> Option<request::Outage> {
        self.vault.last_outage()
    }

    /// This environment cannot be used now.
    pub fn environment_outage(&self, name: &str) -> Option<Outage> {
        self.environment(name)?.outage()
    }

    /// Nothing was asked of Vault yet, or it works.
    pub fn can_start(&self, environment: &str) -> bool {
        self.vault.outage().is_none() && self.environment_outage(environment).is_none()
    }

    /// Nobody has heard of Vault for a while: it should be asked whether it serves.
    pub fn vault_watch_due(&self) -> bool {
        self.vault.watch_due()
    }

    /// It was asked. That it serves does not mean that it accepts our token.
    pub fn watched(&self, answer: Result<(), CallError>) {
        self.vault.watched(answer);
    }

    /// Vault should be asked now whether it is back.
    pub fn vault_probe_due(&self) -> bool {
        self.vault.probe_due()
    }

    /// The environments that should be asked now whether they are back.
    pub fn environment_probes_due(&self) -> Vec<String> {
        let due = self.all_environments().into_iter();
        let due = due.filter(|gate| gate.probe_due());
        due.filter_map(|gate| gate.name.clone()).collect()
    }

    /// Raises a trouble that needs a human: told now if it is new, and then every 15 minutes.
    pub fn raise(&self, key: impl Into<String>, line: Line, tell: bool) {
        let mut troubles = lock(&self.troubles);
        let key = key.into();
        if let Some(known) = troubles.get_mut(&key) {
            known.line = line;
            return;
        }
        if tell {
            line.clone().write();
        }
        let trouble = Trouble {
            since: line.begin().unwrap_or_else(clock::now),
            line,
            told: Instant::now(),
            once: false,
        };
        troubles.insert(key, trouble);
    }

    /// Shows for 15 minutes what happened, needs a human, and was told.
    pub fn note(&self, key: impl Into<String>, line: Line) {
        let trouble = Trouble {
            since: clock::now(),
            line,
            told: Instant::now(),
            once: true,
        };
        lock(&self.troubles).insert(key.into(), trouble);
    }

    /// The trouble, if there was one, is over: that is told.
    pub fn settle(&self, key: &str) {
        if let Some(trouble) = lock(&self.troubles).remove(key) {
            trouble.line.over(trouble.since).write();
        }
    }

    /// The trouble is over, and somebody else tells that.
    pub fn forget(&self, key: &str) {
        lock(&self.troubles).remove(key);
    }

    /// Of the troubles whose key begins with `prefix`, all but these are over.
    pub fn keep(&self, prefix: &str, keys: BTreeSet<String>) {
        let all: Vec<String> = lock(&self.troubles).keys().cloned().collect();
        for key in all {
            if key.starts_with(prefix) && !keys.contains(&key) {
                self.settle(&key);
            }
        }
    }

    /// Tells what is new or has lasted for another 15 minutes. To be called every second or so.
    pub fn tell(&self) {
        self.tell_at(Instant::now());
    }

    fn tell_at(&self, now: Instant) {
        self.vault.tell(now);
        for gate in self.all_environments() {
            gate.tell(now);
        }
        lock(&self.troubles).retain(|_, trouble| {
            let again = now.saturating_duration_since(trouble.told) >= REPEAT;
            if again && !trouble.once {
                trouble.told = now;
                trouble.line.clone().since(Some(trouble.since)).write();
            }
            !(again && trouble.once)
        });
    }

    /// Every service as it is now.
    pub fn services(&self) -> Vec<status::Service> {
        self.each(|gate| Some(gate.show()))
    }

    /// What needs a human now, for the status.
    pub fn troubles(&self) -> Vec<status::Trouble> {
        let all = self.lasting().into_iter();
        all.map(|(_, line, since)| trouble(&line, since)).collect()
    }

    /// What needs a human now: the troubles, and the outages that were told.
    pub fn lasting(&self) -> Vec<Lasting> {
        let mut all = self.each(Gate::trouble);
        let troubles = lock(&self.troubles);
        let of = |(key, it): (&String, &Trouble)| (key.clone(), it.line.clone(), it.since);
        all.extend(troubles.iter().map(of));
        all
    }

    /// What there is to say of Vault and of each environment.
    fn each<T>(&self, say: impl Fn(&Gate) -> Option<T>) -> Vec<T> {
        let environments = self.all_environments();
        let environments = environments.iter().map(Arc::as_ref);
        std::iter::once(&self.vault)
            .chain(environments)
            .filter_map(say)
            .collect()
    }

    /// What a human must look at now, one sentence each.
    pub fn outages(&self) -> Vec<String> {
        self.each(|gate| Some(format!("{}: {}", gate.title(), gate.outage()?.what)))
    }
}

/// Nothing panics while it holds one of these locks in a way that could leave half a change.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

/// A line that lasts, as the status tells it.
fn trouble(line: &Line, since: Timestamp) -> status::Trouble {
    let report = line.report();
    let (secret, environment) = line.place();
    status::Trouble {
        event: report.event.as_str().to_owned(),
        message: report.message.clone(),
        secret: secret.map(str::to_owned),
        environment: environment.map(str::to_owned),
        reason: report.reason.as_ref().map(|it| it.as_str().to_owned()),
        since,
    }
}

#[cfg(test)]
mod tests;
