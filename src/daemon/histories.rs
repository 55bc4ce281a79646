//! The last rotations of the secrets that somebody looks at. Histories are large and only people read them, so they are read when they are to be
//! shown, and what was read is kept until something happens to the secret.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use jiff::Timestamp;

use crate::ops::rotations::{self, Rotation};
use crate::ops::secret::Secret;

use super::assemble::Ledger;
use super::lock;

/// Histories read at the same time.
const AT_ONCE: usize = 16;
/// Whoever looks waits for them no longer; those that are missing are read when somebody looks again.
const PATIENCE: Duration = Duration::from_secs(1);

/// What shows that something happened to a secret: its last success, and its failure with the number of attempts.
type Mark = (Option<Timestamp>, Option<(Timestamp, u32)>);

struct Known {
    mark: Mark,
    /// It was read twice with this mark. An event reaches the history a moment after the journal document, so the first time it may be missing.
    is_settled: bool,
    rotations: Vec<Rotation>,
}

/// What was read of histories.
pub struct Histories {
    ledger: Mutex<Ledger>,
    known: Mutex<HashMap<String, Known>>,
    /// Held while histories are read: however many look, they are read once.
    reading: tokio::sync::Mutex<()>,
}

impl Histories {
    /// Nothing is read yet.
    pub fn new(ledger: Ledger) -> Self {
        Histories {
            ledger: Mutex::new(ledger),
            known: Mutex::default(),
            reading: tokio::sync::Mutex::default(),
        }
    }

    /// The journal is another one.
    pub fn set_ledger(&self, ledger: Ledger) {
        *lock(&self.ledger) = ledger;
        lock(&self.known).clear();
    }

    /// The secret is gone.
    pub fn forget(&self, name: &str) {
        lock(&self.known).remove(name);
    }

    /// The secrets whose histories are to be read, with their marks.
    pub fn wanted(&self, secrets: &[Secret]) -> Vec<(String, Mark)> {
        let known = lock(&self.known);
        let marked = secrets.iter().map(|secret| (&secret.name, mark(secret)));
        let wanted = marked.filter(|(name, mark)| {
            let known = known.get(*name);
            known.is_none_or(|known| !known.is_settled || known.mark != *mark)
        });
        wanted.map(|(name, mark)| (name.clone(), mark)).collect()
    }

    /// Reads these histories, unless somebody does already.
    pub async fn read(&self, wanted: Vec<(String, Mark)>) {
        let Ok(_reading) = self.reading.try_lock() else {
            return;
        };
        let ledger = lock(&self.ledger).clone();
        let reads = stream::iter(wanted).map(async |(name, mark)| {
            // A history that cannot be read is not shown.
            if let Ok(history) = ledger.history(&name).await {
                self.note(name, mark, rotations::last(&history.into_events()));
            }
        });
        let reads = reads.buffer_unordered(AT_ONCE).collect::<Vec<()>>();
        let _ = tokio::time::timeout(PATIENCE, reads).await;
    }

    fn note(&self, name: String, mark: Mark, rotations: Vec<Rotation>) {
        let mut known = lock(&self.known);
        let before = known.get(&name);
        let is_settled = before.is_some_and(|before| before.mark == mark);
        known.insert(
            name,
            Known {
                mark,
                is_settled,
                rotations,
            },
        );
    }

    /// What is known of these secrets.
    pub fn of<'a>(
        &self,
        names: impl Iterator<Item = &'a String>,
    ) -> BTreeMap<String, Vec<Rotation>> {
        let known = lock(&self.known);
        let found =
            names.filter_map(|name| Some((name.clone(), known.get(name)?.rotations.clone())));
        found.collect()
    }
}

fn mark(secret: &Secret) -> Mark {
    let failure = secret.failure.as_ref();
    (
        secret.last_success,
        failure.map(|failure| (failure.since, failure.count)),
    )
}
