//! Vault and the environments: which of them can be used now.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::ops::condition::Condition;
use crate::ops::counters::Counters;
use crate::ops::status;
use rotation::error::{CallError, ErrorKind, Service};
use rotation::request;

use super::circuit_breaker::{CircuitBreaker, Outage, Return, is_outage};
use super::lock;

/// The circuit breakers of all services. Shared by everything in the process.
pub struct Services {
    vault: CircuitBreaker,
    environments: Mutex<BTreeMap<String, Arc<CircuitBreaker>>>,
    counters: Arc<Counters>,
}

impl Services {
    /// For these environments; calls are counted in `counters`.
    pub fn new<'a>(
        environments: impl IntoIterator<Item = &'a String>,
        counters: Arc<Counters>,
    ) -> Self {
        let services = Services {
            vault: CircuitBreaker::new(None),
            environments: Mutex::default(),
            counters,
        };
        services.set_environments(environments);
        services
    }

    /// The environments are these from now on; those that stay keep their state.
    pub fn set_environments<'a>(&self, names: impl IntoIterator<Item = &'a String>) {
        let mut all = lock(&self.environments);
        let mut known = std::mem::take(&mut *all);
        *all = names
            .into_iter()
            .map(|name| {
                let breaker = known.remove(name);
                let new = || Arc::new(CircuitBreaker::new(Some(name.clone())));
                (name.clone(), breaker.unwrap_or_else(new))
            })
            .collect();
    }

    /// After a reload: what an environment no longer had is asked again.
    pub fn reopen(&self) {
        self.each(|breaker| {
            breaker.reopen();
            None::<()>
        });
    }

    fn environment(&self, name: &str) -> Option<Arc<CircuitBreaker>> {
        lock(&self.environments).get(name).cloned()
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
        let breaker = match service {
            Service::Vault => Some(&self.vault),
            Service::Dynatrace => named.as_deref(),
        };
        let Some(breaker) = breaker else { return };
        match error {
            Some(error) if is_outage(error) => breaker.fail(step, error),
            // It may not even have been sent.
            Some(error) if error.kind == ErrorKind::RateLimited => {}
            _ => breaker.succeed(),
        }
    }

    /// Counts a call to an environment that says nothing of the whole service.
    pub fn count(&self, environment: &str, error: Option<&CallError>) {
        let service = error.map_or(Service::Dynatrace, |error| error.service);
        self.counters.called(service, environment, error);
    }

    /// Vault cannot be used now.
    pub fn vault_outage(&self) -> Option<Outage> {
        self.vault.outage()
    }

    /// The last outage of Vault that was reported and has ended.
    pub fn last_vault_outage(&self) -> Option<request::Outage> {
        self.vault.last_outage()
    }

    /// What a secret of this environment waits for: Vault or the environment, and why.
    pub fn waits_for(&self, environment: &str) -> Option<(String, Outage)> {
        let named = self.environment(environment);
        let mut breakers = std::iter::once(&self.vault).chain(named.as_deref());
        breakers.find_map(|breaker| Some((breaker.title(), breaker.outage()?)))
    }

    /// Vault and the environment can be used, as far as is known.
    pub fn can_start(&self, environment: &str) -> bool {
        let named = self.environment(environment);
        self.vault.is_available() && named.is_none_or(|breaker| breaker.is_available())
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
        self.each(|breaker| breaker.name.clone().filter(|_| breaker.probe_due()))
    }

    /// The services whose outage has ended since this was last asked: Vault (no name), environments.
    pub(super) fn take_returns(&self) -> Vec<(Option<String>, Return)> {
        self.each(|breaker| Some((breaker.name.clone(), breaker.take_return()?)))
    }

    /// The outages that have lasted longer than a blip, by environment; "" is Vault.
    pub fn reported_outages(&self) -> BTreeMap<String, Outage> {
        let outages = self.each(|breaker| {
            let outage = breaker.outage().filter(|outage| outage.reported)?;
            Some((breaker.name.clone().unwrap_or_default(), outage))
        });
        outages.into_iter().collect()
    }

    /// Every service as it is now.
    pub fn show(&self) -> Vec<status::Service> {
        self.each(|breaker| Some(breaker.show()))
    }

    /// The outages that have lasted longer than a blip.
    pub fn conditions(&self) -> Vec<Condition> {
        self.each(CircuitBreaker::condition)
    }

    /// Which services are unavailable and why, one sentence each.
    pub fn outages(&self) -> Vec<String> {
        self.each(|breaker| Some(format!("{}: {}", breaker.title(), breaker.outage()?.what)))
    }

    /// What there is to say of Vault and of each environment.
    fn each<T>(&self, say: impl Fn(&CircuitBreaker) -> Option<T>) -> Vec<T> {
        let environments: Vec<_> = lock(&self.environments).values().cloned().collect();
        let environments = environments.iter().map(Arc::as_ref);
        std::iter::once(&self.vault)
            .chain(environments)
            .filter_map(say)
            .collect()
    }
}

#[cfg(test)]
mod tests;
