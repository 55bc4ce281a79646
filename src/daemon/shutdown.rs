//! The stop: no new work, what is in flight comes to a safe place, and the process ends within its time.

use std::time::Duration;

use crate::rotation::event::EventName;
use crate::telemetry::Line;

use super::{Life, systemd};

impl Life {
    /// Takes no new work, lets what is in flight come to a safe place, and ends.
    pub(super) async fn shut_down(&mut self) {
        systemd::stopping();
        let message = format!("stopping; {} runs in flight", self.runs.len());
        Line::new(EventName::ShutdownStarted, message).write();
        self.office.stop.cancel();
        let drain = async { while self.runs.join_next().await.is_some() {} };
        let limit = self.settings.daemon.shutdown_timeout;
        let left = tokio::time::timeout(limit, drain).await.is_err();
        let message = if left {
            format!(
                "stopped; {} runs were left where they are, and the journal says how to go on",
                self.runs.len()
            )
        } else {
            "stopped; nothing is in flight".to_owned()
        };
        self.login_stop.cancel();
        self.tell_people();
        let log_out = self.office.wired.log_out();
        let log_out = tokio::time::timeout(Duration::from_secs(2), log_out);
        let _ = tokio::join!(log_out, self.telling.finish());
        Line::new(EventName::ShutdownFinished, message).write();
    }
}
