//! Is the journal still what this process knows of it? Commands and other replicas write it, and a backup may be restored under a running
//! daemon.

use futures_util::{StreamExt, TryStreamExt};

use crate::clock;
use rotation::ports::{Journal, JournalRead};

use super::Life;
use super::chores::Apply;
use super::gate::is_outage;
use super::roster::Entry;

/// Documents that are read at the same time.
const AT_ONCE: usize = 8;

impl Life {
    /// Reads the documents of these secrets again, and takes up what others wrote.
    ///
    /// One that is older than it was comes from a backup. Then all that is known of the journal is void, every secret is looked at as at the
    /// start, and nothing retires until that is done. `then` follows.
    pub(super) fn look_back(
        &mut self,
        kind: &str,
        wanted: impl Fn(&Entry) -> bool,
        then: fn(&mut Life),
    ) {
        let entries = self.roster.iter().filter(|(_, entry)| wanted(entry));
        let seen: Vec<(String, u64)> = entries
            .filter_map(|(name, entry)| Some((name.clone(), entry.known.as_ref()?.cas)))
            .collect();
        if seen.is_empty() {
            return then(self);
        }
        let (ledger, board) = (self.office.wired.ledger.clone(), self.office.board.clone());
        self.chores.begin(kind, async move {
            let reads = seen.into_iter().map(|(name, seen)| {
                let (ledger, board) = (&ledger, &board);
                async move {
                    let read = ledger.read(&name).await;
                    board.called("", "journal", read.as_ref().err());
                    match read {
                        Ok(read) if version(&read) == Some(seen) => Ok(None),
                        Ok(read) => Ok(Some((name, seen, read))),
                        Err(error) if is_outage(&error) => Err(error),
                        Err(_) => Ok(None),
                    }
                }
            });
            let changed = futures_util::stream::iter(reads)
                .buffer_unordered(AT_ONCE)
                .try_filter_map(async |changed| Ok(changed))
                .try_collect::<Vec<_>>()
                .await;
            // Without Vault, there is nothing to compare.
            let changed = changed.unwrap_or_default();
            Box::new(move |life: &mut Life| {
                life.looked_back(changed);
                then(life);
            }) as Apply
        });
    }

    fn looked_back(&mut self, changed: Vec<(String, u64, JournalRead)>) {
        let now = clock::now();
        let mut versions = changed.iter();
        if versions.any(|(_, seen, read)| version(read).is_some_and(|version| version < *seen)) {
            self.roster.values_mut().for_each(|it| it.forget(now));
        }
        for (name, seen, read) in changed {
            let entry = self.roster.get_mut(&name);
            // Not what a run of our own wrote meanwhile.
            let same = |entry: &&mut Entry| {
                !entry.busy && entry.known.as_ref().is_some_and(|known| known.cas == seen)
            };
            if let Some(entry) = entry.filter(same) {
                let before = entry.stuck().cloned();
                entry.learn(read, now);
                // What is refused to one replica is refused to all: they do not drive each other.
                if before.is_none() || before.as_ref() != entry.stuck() {
                    entry.look_at(now);
                }
            }
        }
        self.current_tokens = None;
        self.epochs = None;
        self.ring();
    }
}

/// The version of the document; none = it cannot be read.
fn version(read: &JournalRead) -> Option<u64> {
    match read {
        JournalRead::Present { version, .. } => Some(*version),
        JournalRead::Absent { cas } => Some(*cas),
        JournalRead::Unreadable { .. } => None,
    }
}
