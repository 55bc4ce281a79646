//! The ops listener's life: opened at the start, opened again when its configuration changes, and tried again while it cannot be opened.
//! Rotation never waits for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::ops::listener::Listener;
use crate::telemetry::Line;
use rotation::event::EventName;

use super::Life;

/// An address that cannot be listened on is tried again so often.
const AGAIN: Duration = Duration::from_secs(10);
/// The key of its trouble.
const TROUBLE: &str = "ops";

impl Life {
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
        let board = &self.office.board;
        match Listener::bind(at, details, self.window.clone()) {
            Ok(listener) => {
                board.settle(TROUBLE);
                self.listener = Some(listener);
            }
            Err(error) => {
                let message = format!(
                    "the ops listener cannot listen at {at}: {error}. Rotation goes on; give [ops] listen an address that is free, or \"\""
                );
                let line = Line::new(EventName::OpsUnavailable, message);
                board.raise(TROUBLE, line.error(error.to_string()), true);
            }
        }
    }

    /// Closes it; what is wanted instead is opened at once.
    pub(super) async fn stop_listening(&mut self) {
        if let Some(listener) = self.listener.take() {
            listener.close().await;
        }
        self.office.board.forget(TROUBLE);
        self.next_listen = Instant::now();
    }

    /// Shows every secret anew, and none that is gone.
    pub(super) fn show_all(&self) {
        let window = Arc::clone(&self.window);
        for name in window.names() {
            if !self.roster.contains_key(&name) {
                window.show(&name, None);
            }
        }
        for (name, entry) in &self.roster {
            window.show(name, Some(entry));
        }
    }
}
