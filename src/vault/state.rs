//! Whether Vault can be used, reported once for all secrets.

use std::time::Instant;

use tokio::sync::watch;

/// Why nothing can be done with Vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Down {
    /// No address answers, or none answers as Vault does.
    Unreachable,
    /// Sealed or not initialised.
    Sealed,
    /// It does not accept our token or credentials, or they cannot be read.
    TokenRefused,
}

impl Down {
    /// The words in logs and status.
    pub fn as_str(self) -> &'static str {
        match self {
            Down::Unreachable => "unreachable",
            Down::Sealed => "sealed",
            Down::TokenRefused => "token refused",
        }
    }
}

/// What the last calls showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Nothing was asked yet.
    Unknown,
    /// The last authenticated call was answered.
    Available,
    /// The last call failed for a reason that concerns every secret.
    Unavailable {
        /// The reason.
        reason: Down,
        /// The sentence of the last failure.
        what: String,
        /// Since when: the first failure after a success. Monotonic, so that the length of the outage is not a matter of clocks.
        since: Instant,
    },
}

/// Holds the [`Health`] and notifies watchers when it changes: not for every failure, but when it becomes available, unavailable, or
/// unavailable for another reason.
pub(super) struct State(watch::Sender<Health>);

impl State {
    pub(super) fn new() -> Self {
        State(watch::Sender::new(Health::Unknown))
    }

    pub(super) fn watch(&self) -> watch::Receiver<Health> {
        self.0.subscribe()
    }

    pub(super) fn up(&self) {
        self.0.send_if_modified(|health| {
            let changed = *health != Health::Available;
            *health = Health::Available;
            changed
        });
    }

    pub(super) fn down(&self, new: Down, words: &str) {
        self.0.send_if_modified(|health| match health {
            Health::Unavailable { reason, what, .. } => {
                let changed = *reason != new;
                *reason = new;
                words.clone_into(what);
                changed
            }
            Health::Unknown | Health::Available => {
                *health = Health::Unavailable {
                    reason: new,
                    what: words.to_owned(),
                    since: Instant::now(),
                };
                true
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_that_lasts_is_told_once_and_keeps_its_beginning() {
        let state = State::new();
        let mut watch = state.watch();
        state.down(Down::Unreachable, "one");
        assert!(watch.has_changed().unwrap());
        let Health::Unavailable { since: first, .. } = watch.borrow_and_update().clone() else {
            panic!("not down");
        };
        state.down(Down::Unreachable, "two");
        assert!(!watch.has_changed().unwrap());
        state.down(Down::Sealed, "three");
        assert!(watch.has_changed().unwrap());
        let Health::Unavailable { since, what, .. } = watch.borrow_and_update().clone() else {
            panic!("not down");
        };
        assert_eq!((since, what.as_str()), (first, "three"));
        state.up();
        assert_eq!(*watch.borrow_and_update(), Health::Available);
    }
}
