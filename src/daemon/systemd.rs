//! Notifications to systemd (`sd_notify`). Without systemd all of this does nothing.

use sd_notify::NotifyState;

fn tell(states: &[NotifyState]) {
    // There may be no service manager, and a daemon must not end because nobody listens.
    let _ = sd_notify::notify(states);
}

/// The start, or a reload, is complete.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// What there is to know, in one line.
pub fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// A reload begins.
pub fn reloading() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]);
    }
}

/// The stop begins.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// The main loop is alive.
pub fn watchdog() {
    tell(&[NotifyState::Watchdog]);
}
