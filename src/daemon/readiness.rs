//! Whether there can be work, and whether the start is complete. Services that are down are probed; systemd is notified when the start is complete,
//! and what there is to know in one line.

use std::time::Duration;

use crate::clock;
use crate::ops::humanize::needs_human;
use crate::telemetry::Line;
use rotation::error::{CallError, ErrorKind, Service};
use rotation::event::EventName;

use super::background::Apply;
use super::circuit_breaker::Return;
use super::conditions::Subject;
use super::entry::Entry;
use super::{Daemon, systemd};

/// A start is ready after this at the latest: a unit must not fail because Vault is down.
const READY_AT_LATEST: Duration = Duration::from_secs(30);

/// Whether a start that has lasted so long is over. `recovered`: everything was looked at.
fn is_start_over(recovered: bool, lasted: Duration) -> bool {
    recovered || lasted >= READY_AT_LATEST
}

impl Daemon {
    /// Asks the services that are down whether they are back.
    pub(super) fn probe(&mut self) {
        let services = self.office.services.clone();
        let wired = &self.office.wired;
        if services.vault_watch_due() {
            let (wired, services) = (wired.clone(), services.clone());
            self.background.begin("watch", async move {
                services.watched(wired.vault_serves().await);
                Box::new(Daemon::notice) as Apply
            });
        }
        if services.vault_probe_due() {
            let (wired, services) = (wired.clone(), services.clone());
            self.background.begin("vault", async move {
                let error = wired
                    .probe_vault()
                    .await
                    .map(|what| CallError::new(Service::Vault, ErrorKind::Transient, what));
                services.called("", "read", error.as_ref());
                Box::new(Daemon::notice) as Apply
            });
        }
        if services.vault_outage().is_none() {
            for name in services.environment_probes_due() {
                let (wired, services) = (self.office.wired.clone(), services.clone());
                let kind = format!("environment {name}");
                self.background.begin(&kind, async move {
                    // A person may have replaced it, although the old one is still accepted.
                    wired.forget_credential(&name);
                    let answer = wired.management_token(&name).await;
                    services.called(&name, "look_up", answer.as_ref().err());
                    Box::new(Daemon::notice) as Apply
                });
            }
        }
        self.notice();
    }

    /// What waited for a service that is available again begins. What failed in a blip keeps its own retry: a call that keeps failing is not
    /// repeated faster because another one succeeds.
    fn notice(&mut self) {
        let services = &self.office.services;
        let outages = services.conditions();
        self.office.conditions.set(Subject::Services, outages);
        for (service, how) in services.take_returns() {
            if how == Return::AfterOutage {
                self.returned(service.as_deref());
            }
        }
    }

    /// Vault (no name) or an environment is back: the due times of what waited are computed again, because they may have passed, and
    /// everything is looked at.
    fn returned(&mut self, environment: Option<&str>) {
        let now = clock::now();
        for issuer in self.settings.issuers() {
            if environment.is_none_or(|back| back == issuer.service) {
                self.able_since.insert(issuer.service, now);
            }
        }
        let here = |entry: &Entry| environment.is_none_or(|back| back == entry.plan.service);
        let names = self.roster.names_where(here);
        self.queue.take_ready(environment);
        for name in names {
            self.plan(&name, now);
        }
        self.hurry(here);
        for (service, sweep) in &mut self.sweeps {
            if environment.is_none_or(|back| back == service) {
                sweep.recovered();
            }
        }
        self.hurry_sweeps();
    }

    pub(super) fn become_ready(&mut self) {
        let outages = self.office.services.outages();
        // Once for a journal: a reload is not a start.
        let recovered = self.status_cache.is_recovered()
            || self.installation.is_some()
                && self.surveyed
                && self.roster.values().all(|entry| entry.looked);
        self.status_cache.recovered(recovered);
        let secrets = self.settings.secrets.len();
        let status = match outages.first() {
            Some(outage) => format!("waiting for {outage}"),
            None if self.rejected => {
                format!("{secrets} secrets; the changed configuration was refused, see the log")
            }
            None => match self.office.conditions.errors() {
                0 => format!("{secrets} secrets"),
                number => format!("{secrets} secrets, {}", needs_human(number)),
            },
        };
        if !self.ready && is_start_over(recovered, self.office.began.elapsed()) {
            self.ready = true;
            systemd::ready(&status);
            let message = match &self.listener {
                Some(listener) => {
                    format!(
                        "ready: {status}; status page at http://{}",
                        listener.address()
                    )
                }
                None => format!("ready: {status}"),
            };
            Line::new(EventName::DaemonReady, message).write();
        } else if self.status != status {
            systemd::status(&status);
        }
        self.status = status;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_over_when_everything_was_looked_at_or_after_30_seconds() {
        let seconds = Duration::from_secs;
        assert!(is_start_over(true, seconds(0)));
        assert!(!is_start_over(false, seconds(29)));
        assert!(is_start_over(false, seconds(30)));
    }
}
