//! The stop: no new work, what is in flight comes to a safe place, and the process ends within its time.

use std::time::Duration;

use crate::telemetry::Line;
use rotation::event::EventName;

use super::assemble::Wired;
use super::background::Background;
use super::{Daemon, systemd};

/// Gives back what these logged in for.
async fn log_out(all: Vec<Wired>) {
    futures_util::future::join_all(all.iter().map(Wired::log_out)).await;
}

impl Daemon {
    /// Gives back the logins from before a reload, when nothing uses them.
    pub(super) fn log_out_former(&mut self) {
        if self.runs.is_empty() && !self.former.is_empty() {
            let former = std::mem::take(&mut self.former);
            tokio::spawn(log_out(former));
        }
    }

    /// Takes no new work, waits until the runs in progress have reached a safe point, and ends.
    pub(super) async fn shut_down(&mut self) {
        systemd::stopping();
        let message = format!("stopping; {} runs in progress", self.runs.len());
        Line::new(EventName::ShutdownStarted, message).write();
        self.office.stop.cancel();
        let drain = async { while self.runs.join_next().await.is_some() {} };
        let limit = self.settings.daemon.shutdown_timeout;
        let left = tokio::time::timeout(limit, drain).await.is_err();
        let message = if left {
            format!(
                "stopped with {} runs unfinished; the next start resumes them from the journal",
                self.runs.len()
            )
        } else {
            "stopped; no run is unfinished".to_owned()
        };
        self.login_stop.cancel();
        // Before the token is revoked: they would log in again.
        self.background = Background::default();
        self.runs.abort_all();
        self.notify_people();
        self.former.push(self.office.wired.clone());
        let log_out = log_out(std::mem::take(&mut self.former));
        let log_out = tokio::time::timeout(Duration::from_secs(2), log_out);
        let _ = tokio::join!(log_out, self.notifications.finish());
        Line::new(EventName::ShutdownFinished, message).write();
    }
}
