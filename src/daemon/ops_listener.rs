//! The ops listener's daemon: opened at the start, opened again when its configuration changes, and tried again while it cannot be opened.
//! Rotation never waits for it.

use std::time::{Duration, Instant};

use crate::clock;
use crate::ops::condition::Condition;
use crate::ops::listener::Listener;
use rotation::event::EventName;

use super::Daemon;
use super::conditions::Subject;

/// An address that cannot be listened on is tried again so often.
const AGAIN: Duration = Duration::from_secs(10);

impl Daemon {
    /// Opens the listener, if it should be open and is not.
    pub(super) fn listen(&mut self) {
        let Some(at) = self.settings.ops.listen else {
            return;
        };
        if self.listener.is_some() || self.next_listen > Instant::now() {
            return;
        }
        self.next_listen = Instant::now() + AGAIN;
        let details = self.settings.ops.details;
        let mut all = vec![];
        match Listener::bind(at, details, self.status_cache.clone()) {
            Ok(listener) => self.listener = Some(listener),
            Err(error) => {
                let message = format!(
                    "the ops listener cannot listen at {at}: {error}. Rotation continues; give [ops] listen an address that is free, or \"\""
                );
                let condition = Condition::new(EventName::OpsUnavailable, message, clock::now());
                all.push(condition.error(error.to_string()));
            }
        }
        self.office.conditions.set(Subject::Listener, all);
    }

    /// Closes it; what is wanted instead is opened at once.
    pub(super) async fn stop_listening(&mut self) {
        if let Some(listener) = self.listener.take() {
            listener.close().await;
        }
        self.office.conditions.set(Subject::Listener, vec![]);
        self.next_listen = Instant::now();
    }
}
