//! Is the journal still what this process knows of it? Commands and other replicas write it, and a backup may be restored under a running
//! daemon.

use std::time::Instant;

use futures_util::{StreamExt, TryStreamExt};

use crate::clock;
use rotation::ports::{Journal, JournalRead};

use super::background::Apply;
use super::circuit_breaker::is_outage;
use super::entry::Entry;
use super::queue::Key;
use super::{Daemon, status_cache};

/// Documents that are read at the same time.
const AT_ONCE: usize = 8;
/// The kind of the task in the background.
const KIND: &str = "refresh";

impl Daemon {
    /// Reads the next few documents again, so that each is read once in a sweep interval.
    pub(super) fn refresh_when_due(&mut self) {
        let now = Instant::now();
        if !self.surveyed {
            return;
        }
        if self.next_retention_check <= now {
            self.next_retention_check = now + self.settings.daemon.sweep;
            self.check_journal_retention();
        }
        if !self.background.is_under_way(KIND) {
            let period = self.settings.daemon.sweep;
            let names = self.documents.take(&self.roster, period, now);
            self.refresh(KIND, names);
        }
    }

    /// Reads the documents of these secrets again, and takes up what others wrote.
    ///
    /// One that is older than it was comes from a backup. Then all that is known of the journal is void, every secret is looked at as at the
    /// start, and nothing retires until that is done.
    pub(super) fn refresh(&mut self, kind: &str, names: Vec<Key>) {
        let seen: Vec<(Key, u64)> = names
            .into_iter()
            .filter_map(|name| {
                let seen = self.roster.get(&name)?.known_version()?;
                Some((name, seen))
            })
            .collect();
        if seen.is_empty() {
            return;
        }
        let (ledger, services) = (
            self.office.wired.ledger.clone(),
            self.office.services.clone(),
        );
        self.background.begin(kind, async move {
            let reads = seen.into_iter().map(|(name, seen)| {
                let (ledger, services) = (&ledger, &services);
                async move {
                    let read = ledger.read(&name).await;
                    services.called("", "journal", read.as_ref().err());
                    match read {
                        Ok(read) => Ok(Some((name, seen, read))),
                        Err(error) if is_outage(&error) => Err(error),
                        Err(_) => Ok(None),
                    }
                }
            });
            let read = futures_util::stream::iter(reads)
                .buffer_unordered(AT_ONCE)
                .try_filter_map(async |read| Ok(read))
                .try_collect::<Vec<_>>()
                .await;
            // Without Vault, there is nothing to compare.
            let read = read.unwrap_or_default();
            Box::new(move |daemon: &mut Daemon| daemon.refreshed(read)) as Apply
        });
    }

    /// Reads the document of one secret again, because a command has changed it.
    pub(super) fn recheck(&mut self, request: status_cache::Request) {
        let status_cache::Request { secret, done } = request;
        let entry = self.roster.get(secret.as_str());
        let Some(seen) = entry.and_then(|entry| entry.known_version()) else {
            return;
        };
        let (ledger, services) = (
            self.office.wired.ledger.clone(),
            self.office.services.clone(),
        );
        self.background
            .begin(&format!("recheck {secret}"), async move {
                let read = ledger.read(&secret).await;
                services.called("", "journal", read.as_ref().err());
                let read = read.ok().map(|read| (secret.into(), seen, read));
                Box::new(move |daemon: &mut Daemon| {
                    daemon.refreshed(read.into_iter().collect());
                    drop(done);
                }) as Apply
            });
    }

    /// These documents were read; each had this version when it was last known.
    fn refreshed(&mut self, read: Vec<(Key, u64, JournalRead)>) {
        let now = clock::now();
        let is_changed = |(_, seen, read): &(Key, u64, JournalRead)| version(read) != Some(*seen);
        let (changed, same): (Vec<_>, Vec<_>) = read.into_iter().partition(is_changed);
        for (name, ..) in same {
            if let Some(entry) = self.roster.get_mut(&name) {
                entry.read_again(now);
                self.show(&name);
            }
        }
        if changed.is_empty() {
            return;
        }
        let mut versions = changed.iter();
        if versions.any(|(_, seen, read)| version(read).is_some_and(|version| version < *seen)) {
            let names: Vec<Key> = self.roster.keys().cloned().collect();
            for name in names {
                if let Some(entry) = self.roster.get_mut(&name) {
                    entry.forget(now);
                }
                self.update(&name, now);
            }
        }
        for (name, seen, read) in changed {
            // A key that only waits, perhaps for its environment, has nothing newer to say.
            let runs = self.queue.is_running(&name);
            let entry = self.roster.get_mut(&name);
            // Not what a run of our own wrote meanwhile.
            let same = |entry: &&mut Entry| !runs && entry.known_version() == Some(seen);
            if let Some(entry) = entry.filter(same) {
                let before = entry.stuck().cloned();
                entry.learn(read, now);
                // Without this, replicas that are refused the same call would start each other's runs again and again.
                if before.is_none() || before.as_ref() != entry.stuck() {
                    entry.look_at(now);
                }
                self.update(&name, now);
            }
        }
        self.epochs = None;
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

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use rotation::marker::Epoch;
    use rotation::pause::Pause;
    use rotation::record::Record;

    use super::super::fixture::daemon;
    use super::*;
    use crate::ops::secret::State;

    fn paused(daemon: &Daemon, now: Timestamp) -> JournalRead {
        let epoch = Epoch {
            installation: "i".into(),
            secret: "s".into(),
        };
        let place = daemon.roster["a"].plan.coordinates.clone();
        let mut record = Record::blank("a", epoch, place, now);
        record.pause = Some(Pause {
            by: "me".into(),
            reason: None,
            since: now,
            until: None,
            unknown: Default::default(),
        });
        JournalRead::Present {
            version: 2,
            record: Box::new(record),
        }
    }

    fn state(daemon: &Daemon) -> State {
        daemon.roster["a"].show("a", "i").state
    }

    #[tokio::test]
    async fn what_a_command_wrote_is_taken_up_while_the_secret_waits_in_the_queue_and_not_while_it_runs()
     {
        for (runs, expected) in [(false, State::Paused), (true, State::NeverSeen)] {
            let mut daemon = daemon().await;
            let now = clock::now();
            let entry = daemon.roster.get_mut("a").unwrap();
            entry.learn(JournalRead::Absent { cas: 1 }, now);
            daemon.update("a", now);
            assert!(daemon.queue.is_busy("a"), "it waits for its environment");
            if runs {
                while daemon.queue.take(|_| true).is_some() {}
            }
            let read = paused(&daemon, now);
            daemon.refreshed(vec![("a".into(), 1, read)]);
            assert_eq!(state(&daemon), expected);
        }
    }
}
