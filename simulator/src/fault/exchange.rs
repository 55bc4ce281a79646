//! Answers that change places: what [`Action::SwapAnswer`](super::Action::SwapAnswer) needs to know of other requests.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::calls::{Operation, lock};
use crate::message::Reply;

/// Answers change places only within one operation of one API: the path (without ids) identifies the API.
pub(crate) type Kind = (Option<Operation>, String);

#[derive(Default)]
struct SwapQueue {
    previous: Option<Reply>,
    waiting: VecDeque<(Reply, oneshot::Sender<Reply>)>,
}

/// The answers of one stand-in. Until a rule needs it, nothing is kept.
#[derive(Default)]
pub(crate) struct Exchange {
    on: AtomicBool,
    queues: Mutex<HashMap<Kind, SwapQueue>>,
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Exchange").finish_non_exhaustive()
    }
}

impl Exchange {
    pub(crate) fn switch_on(&self) {
        self.on.store(true, Ordering::Relaxed);
    }

    /// The answer to send for a request that no rule picked: its own, or that of a request waiting for a partner.
    pub(crate) fn pass(&self, kind: Kind, own: Reply) -> Reply {
        if !self.on.load(Ordering::Relaxed) {
            return own;
        }
        let mut queues = lock(&self.queues);
        let queue = queues.entry(kind).or_default();
        queue.previous = Some(own.clone());
        while let Some((theirs, partner)) = queue.waiting.pop_front() {
            if partner.send(own.clone()).is_ok() {
                return theirs;
            }
        }
        own
    }

    /// The answer to send for a picked request: a partner's, else the previous one, else its own.
    pub(crate) async fn swap(&self, kind: Kind, own: Reply, within: Duration) -> Reply {
        let (previous, mut received) = {
            let mut queues = lock(&self.queues);
            let queue = queues.entry(kind).or_default();
            let previous = queue.previous.replace(own.clone());
            while let Some((theirs, partner)) = queue.waiting.pop_front() {
                if partner.send(own.clone()).is_ok() {
                    return theirs;
                }
            }
            let (sender, receiver) = oneshot::channel();
            queue.waiting.push_back((own.clone(), sender));
            (previous, receiver)
        };
        match tokio::time::timeout(within, &mut received).await {
            Ok(Ok(theirs)) => theirs,
            // Closed first: a partner that comes now must not think that it swapped.
            _ => {
                received.close();
                received.try_recv().ok().or(previous).unwrap_or(own)
            }
        }
    }
}
