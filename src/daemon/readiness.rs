//! Can there be work, and is the start over? Services that are down are asked whether they are back; systemd hears when the start is over.

use std::time::{Duration, Instant};

use crate::clock;
use crate::rotation::error::{CallError, ErrorKind, Service};
use crate::rotation::event::EventName;
use crate::telemetry::Line;

use super::{Life, notify};

/// A start is ready after this at the latest: a unit must not fail because Vault is down.
const READY_AT_LATEST: Duration = Duration::from_secs(30);

impl Life {
    /// Asks the services that are down whether they are back.
    pub(super) async fn probe(&mut self) {
        let board = self.office.board.clone();
        if board.vault_probe_due() {
            let down = self.office.wired.probe_vault().await;
            let error = down.map(|what| CallError::new(Service::Vault, ErrorKind::Transient, what));
            board.called("", "read", error.as_ref());
        }
        if board.vault_outage().is_none() {
            for name in board.environment_probes_due() {
                let answer = self.office.wired.management_token(&name).await;
                board.called(&name, "look_up", answer.as_ref().err());
            }
        }
        let down = board.vault_outage().is_some();
        if self.was_down && !down {
            let now = clock::now();
            self.able_since = now;
            self.roster.values_mut().for_each(|entry| entry.hurry(now));
            self.next_sweep = Instant::now();
            self.ring();
        }
        self.was_down = down;
    }

    pub(super) fn become_ready(&mut self) {
        if self.ready {
            return;
        }
        let recovered =
            self.installation.is_some() && self.roster.values().all(|entry| entry.looked);
        let outages = self.office.board.outages();
        let waited = self.office.began.elapsed() >= READY_AT_LATEST;
        if !recovered && !waited {
            return;
        }
        self.ready = true;
        let status = match outages.first() {
            Some(outage) if !recovered => format!("waiting for {outage}"),
            _ => format!("{} secrets", self.roster.len()),
        };
        notify::ready(&status);
        Line::new(EventName::DaemonReady, format!("ready: {status}")).write();
    }
}
