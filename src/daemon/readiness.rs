//! Can there be work, and is the start over? Services that are down are asked whether they are back; systemd hears when the start is over,
//! and what there is to know in one line.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::clock;
use crate::telemetry::Line;
use rotation::error::{CallError, ErrorKind, Service};
use rotation::event::EventName;

use super::chores::Apply;
use super::roster::Entry;
use super::{Life, systemd};

/// A start is ready after this at the latest: a unit must not fail because Vault is down.
const READY_AT_LATEST: Duration = Duration::from_secs(30);

/// Whether a start that has lasted so long is over. `recovered`: everything was looked at.
fn is_start_over(recovered: bool, lasted: Duration) -> bool {
    recovered || lasted >= READY_AT_LATEST
}

impl Life {
    /// Asks the services that are down whether they are back.
    pub(super) fn probe(&mut self) {
        let board = self.office.board.clone();
        let wired = &self.office.wired;
        if board.vault_watch_due() {
            let (wired, board) = (wired.clone(), board.clone());
            self.chores.begin("watch", async move {
                board.watched(wired.vault_serves().await);
                Box::new(Life::notice) as Apply
            });
        }
        if board.vault_probe_due() {
            let (wired, board) = (wired.clone(), board.clone());
            self.chores.begin("vault", async move {
                let error = wired
                    .probe_vault()
                    .await
                    .map(|what| CallError::new(Service::Vault, ErrorKind::Transient, what));
                board.called("", "read", error.as_ref());
                Box::new(Life::notice) as Apply
            });
        }
        if board.vault_outage().is_none() {
            for name in board.environment_probes_due() {
                let (wired, board) = (self.office.wired.clone(), board.clone());
                let kind = format!("environment {name}");
                self.chores.begin(&kind, async move {
                    let answer = wired.management_token(&name).await;
                    board.called(&name, "look_up", answer.as_ref().err());
                    Box::new(Life::notice) as Apply
                });
            }
        }
        self.notice();
    }

    /// What was down and is back begins to work again.
    fn notice(&mut self) {
        let board = &self.office.board;
        let mut down = vec![];
        down.extend(board.vault_outage().map(|_| None));
        for name in self.settings.environments.keys() {
            down.extend(board.environment_outage(name).map(|_| Some(name.clone())));
        }
        let before = std::mem::replace(&mut self.down, down);
        for back in before {
            if !self.down.contains(&back) {
                self.returned(back.as_deref());
            }
        }
    }

    /// Vault (no name) or an environment is back: what waited is judged anew, since its due time may have passed, and a look is taken at
    /// everything.
    fn returned(&mut self, environment: Option<&str>) {
        let now = clock::now();
        for name in self.settings.environments.keys() {
            if environment.is_none_or(|back| back == name) {
                self.able_since.insert(name.clone(), now);
            }
        }
        let here = |entry: &Entry| {
            environment.is_none_or(|back| back == entry.plan.coordinates.environment)
        };
        let names = self.roster.iter().filter(|(_, entry)| here(entry));
        let names: Vec<String> = names.map(|(name, _)| name.clone()).collect();
        let waiting = std::mem::take(&mut self.queue);
        let (mine, others) = waiting.into_iter().partition(|name| names.contains(name));
        self.queue = others;
        for name in VecDeque::<String>::into_iter(mine) {
            if let Some(entry) = self.roster.get_mut(&name) {
                entry.busy = false;
            }
        }
        for name in names {
            self.plan(&name, now);
            if let Some(entry) = self.roster.get_mut(&name) {
                entry.hurry(now);
            }
        }
        self.next_sweep = Instant::now();
        self.ring();
    }

    pub(super) fn become_ready(&mut self) {
        let outages = self.office.board.outages();
        // Once for a journal: what a reload adds is no start.
        let recovered = self.window.is_recovered()
            || self.installation.is_some()
                && self.surveyed
                && self.roster.values().all(|entry| entry.looked);
        self.window.recovered(recovered);
        let secrets = self.settings.secrets.len();
        let status = match outages.first() {
            Some(outage) => format!("waiting for {outage}"),
            None if self.rejected => {
                format!("{secrets} secrets; the changed configuration was refused, see the log")
            }
            None => format!("{secrets} secrets"),
        };
        if !self.ready && is_start_over(recovered, self.office.began.elapsed()) {
            self.ready = true;
            systemd::ready(&status);
            let message = match &self.listener {
                Some(listener) => format!("ready: {status}; told at http://{}", listener.address()),
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
