//! What the loop must not wait for: calls that serve all secrets (is Vault back? what does the environment list?). Each kind is under way
//! at most once, and the loop applies its answer. So a service that hangs stops neither watchdog nor signals.

use std::collections::HashMap;
use std::future::Future;

use tokio::task::{Id, JoinError, JoinSet};

use super::Daemon;

/// What an answer changes.
pub(super) type Apply = Box<dyn FnOnce(&mut Daemon) + Send>;

/// The background tasks under way. Dropping it ends them: each is safe to be broken off.
#[derive(Default)]
pub(super) struct Background {
    answers: JoinSet<Apply>,
    kinds: HashMap<Id, String>,
}

impl Background {
    /// Begins one, unless one of its kind is under way.
    pub fn begin(&mut self, kind: &str, work: impl Future<Output = Apply> + Send + 'static) {
        if !self.is_under_way(kind) {
            let task = self.answers.spawn(work);
            self.kinds.insert(task.id(), kind.to_owned());
        }
    }

    /// Nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.kinds.is_empty()
    }

    /// One of its kind is under way.
    pub fn is_under_way(&self, kind: &str) -> bool {
        self.kinds.values().any(|known| known == kind)
    }

    /// The next answer; none at once when nothing is under way.
    pub async fn next(&mut self) -> Option<Result<(Id, Apply), JoinError>> {
        self.answers.join_next_with_id().await
    }

    /// Takes note of the end of one. One that ended by a fault of ours has no answer.
    pub fn ended(&mut self, answer: Result<(Id, Apply), JoinError>) -> Option<Apply> {
        match answer {
            Ok((id, apply)) => {
                self.kinds.remove(&id);
                Some(apply)
            }
            Err(error) => {
                self.kinds.remove(&error.id());
                None
            }
        }
    }
}
