//! Runs that only wait, for a new token to be accepted everywhere or for a service: they keep their claim and give their worker back, so that a
//! kind of token that takes minutes does not hold the queue.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::Daemon;

/// A shorter wait is not worth a worker's change.
pub(super) const GIVES_WAY: Duration = Duration::from_secs(1);

/// What a run sends to the daemon.
pub enum Turn {
    /// The run over this secret waits.
    Waits(String),
    /// It wants to continue, and is notified when it may.
    Continues(String, oneshot::Sender<()>),
}

/// Tells that the run over `name` waits.
pub(super) fn begin(turns: &mpsc::UnboundedSender<Turn>, name: &str) {
    let _ = turns.send(Turn::Waits(name.to_owned()));
}

/// Waits until the run over `name` has a worker again. At the end of the process it needs none.
pub(super) async fn end(turns: &mpsc::UnboundedSender<Turn>, name: &str) {
    let (granted, worker) = oneshot::channel();
    if turns
        .send(Turn::Continues(name.to_owned(), granted))
        .is_ok()
    {
        let _ = worker.await;
    }
}

impl Daemon {
    /// A run waits, or wants to continue.
    pub(super) fn take_turn(&mut self, turn: Turn) {
        match turn {
            Turn::Waits(name) => self.queue.pause(&name),
            Turn::Continues(name, granted) => self.continuing.push_back((name, granted)),
        }
    }

    /// Runs that want to continue come before new ones.
    pub(super) fn grant_workers(&mut self) {
        let queue = &mut self.queue;
        let waiting = std::mem::take(&mut self.continuing);
        for (name, granted) in waiting {
            match queue.resume(&name) {
                true => drop(granted.send(())),
                false => self.continuing.push_back((name, granted)),
            }
        }
    }
}
