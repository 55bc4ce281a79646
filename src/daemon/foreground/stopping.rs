//! The stop of a command, by a signal or because its time limit is reached. As in a daemon no further work begins, the work in progress reaches a
//! safe point and releases its claim, and the command ends within its time limit.

use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::super::signals;

/// When a command that must come back does so.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    /// From then on nothing more is begun.
    pub stop: Instant,
    /// By then what is in flight is left where it is.
    pub end: Instant,
}

/// Why a command is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// SIGTERM, SIGINT or SIGHUP. A second SIGTERM or SIGINT ends the process at once.
    Signal,
    /// Its time is up.
    Deadline,
}

/// What a command is stopped with.
pub struct Stopper {
    /// Whoever works sees that the command is to stop.
    pub asked: CancellationToken,
    /// What is in flight has so long to come to a safe place.
    pub within: Duration,
}

impl Stopper {
    /// Does `work` to its end, or until it is stopped. `begin` is called when the stop begins, with the time that is left. Returns why it was
    /// stopped.
    ///
    /// # Errors
    /// The system's: there can be no signal handlers.
    pub async fn until_stopped(
        &self,
        deadline: Option<Deadline>,
        work: impl Future<Output = ()>,
        begin: impl FnOnce(Stop, Duration),
    ) -> io::Result<Option<Stop>> {
        let mut signals = signals::listen()?;
        let mut work = std::pin::pin!(work);
        let time_is_up = async {
            match deadline {
                Some(deadline) => sleep_until(deadline.stop).await,
                None => std::future::pending().await,
            }
        };
        let stop = tokio::select! {
            () = &mut work => return Ok(None),
            Some(_) = signals.recv() => Stop::Signal,
            () = time_is_up => Stop::Deadline,
        };
        let end = Instant::now() + self.within;
        let end = deadline.map_or(end, |deadline| deadline.end.min(end));
        begin(stop, end.saturating_duration_since(Instant::now()));
        self.asked.cancel();
        // What does not come to a safe place in time is continued from the journal, as after a crash.
        let _ = timeout_at(end, work).await;
        Ok(Some(stop))
    }
}
