//! The time within which a command about a leak comes back, whatever Vault and Dynatrace do.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::daemon::foreground::stopping::Deadline;

use super::{Exit, output};

/// A leaked token should be dead within this; what cannot be done by then a person does.
const LIMIT: Duration = Duration::from_secs(60);
/// So long before the end nothing more is begun: what is in flight comes to a safe place.
const RESERVE: Duration = Duration::from_secs(15);

/// The time of one command.
pub(super) struct TimeLimit {
    end: Instant,
}

impl TimeLimit {
    /// It begins now.
    pub(super) fn new() -> Self {
        TimeLimit {
            end: Instant::now() + LIMIT,
        }
    }

    /// What is read before anything is changed.
    ///
    /// # Errors
    /// It was not read in time; a sentence says so.
    pub(super) async fn read<T>(&self, reading: impl Future<Output = T>) -> Result<T, Exit> {
        let read = timeout_at(self.deadline().stop, reading).await;
        read.map_err(|_| {
            output::complain("timeout: Vault and Dynatrace did not answer in time");
            Exit::Unreachable
        })
    }

    /// Asks a person, whose time does not count.
    pub(super) fn ask<T>(&mut self, question: impl FnOnce() -> T) -> T {
        let asked = Instant::now();
        let answer = question();
        self.end += asked.elapsed();
        answer
    }

    /// When the work is stopped.
    pub(super) fn deadline(&self) -> Deadline {
        Deadline {
            stop: self.end - RESERVE,
            end: self.end,
        }
    }
}
