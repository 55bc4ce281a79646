//! The state of all secrets as the journal shows it, without a daemon: reads documents and changes nothing.

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};
use jiff::Timestamp;

use crate::clock;
use crate::config::{Settings, rediscovered};
use crate::ops::known::Known;
use crate::ops::secret::Secret;
use crate::ops::status::{JournalPlace, Status};
use rotation::error::{CallError, ErrorKind};
use rotation::ports::{Journal, JournalRead};
use rotation::record::Record;

use super::assemble;
use super::entry::{Entry, Surroundings};
use super::foreground::OpenError;
use super::roster::Roster;

/// Documents read at the same time.
const AT_ONCE: usize = 16;

/// Where the journal of this configuration is.
pub fn journal_place(settings: &Settings) -> JournalPlace {
    let mut vault: Vec<String> = settings
        .vault
        .addresses
        .iter()
        .map(ToString::to_string)
        .collect();
    vault.sort_unstable();
    JournalPlace {
        vault,
        namespace: settings.vault.namespace.clone(),
        mount: settings.journal.mount.clone(),
        path: settings.journal.path.clone(),
    }
}

/// Reads the journal.
///
/// # Errors
/// The clients cannot be built, or the journal cannot be read.
pub async fn read(settings: &Settings, instance: &str) -> Result<Status, OpenError> {
    let wired = assemble::assemble(settings)?;
    let mut roster: Roster = settings
        .secrets
        .iter()
        .map(|secret| {
            let plan = secret.plan.clone();
            (
                secret.plan.name.as_str(),
                Entry::new(plan, Some(secret.clone())),
            )
        })
        .collect();
    let read = read_all(&wired.ledger, &roster).await;
    wired.log_out().await;
    let now = clock::now();
    let finders = settings.finders();
    let mut removed = Vec::new();
    for (name, read) in read? {
        match (roster.get_mut(&name), read) {
            (Some(entry), read) => entry.learn(read, now),
            (None, JournalRead::Present { version, record }) => {
                let found = rediscovered(&finders, &name, Some(&record.coordinates));
                let Some(secret) = found.filter(|_| record.closed_at.is_none()) else {
                    removed.push(*record);
                    continue;
                };
                let mut entry = Entry::new(secret.plan.clone(), Some(secret));
                entry.learn(JournalRead::Present { version, record }, now);
                roster.insert(name, entry);
            }
            (None, _) => {}
        }
    }
    let around = Surroundings {
        able_since: Timestamp::MIN,
        progress: false,
        instance,
        now,
    };
    let (mut conditions, mut secrets) = (vec![], vec![]);
    let mut take = |known: Known<'_>| {
        let open = known.conditions();
        secrets.push(Secret::of(&known, known.state(&open)));
        conditions.extend(open);
    };
    for (name, entry) in roster.iter() {
        let record = entry.record();
        take(entry.facts(name, record.as_deref(), &around));
    }
    for record in &removed {
        leftover(record, instance, now).map(&mut take);
    }
    secrets.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(Status::new(now).with(conditions, secrets))
}

/// The documents of the secrets that are configured, and of those that were.
async fn read_all(
    ledger: &assemble::Ledger,
    roster: &Roster,
) -> Result<Vec<(String, JournalRead)>, CallError> {
    let mut names: BTreeSet<String> = roster.keys().map(|name| name.to_string()).collect();
    match ledger.list().await {
        Ok(listed) => names.extend(listed),
        // A person may be allowed to read documents and not to list them.
        Err(error) if error.kind == ErrorKind::Refused => {}
        Err(error) => return Err(error),
    }
    let reads = stream::iter(names).map(async |name| {
        let read = ledger.read(&name).await?;
        Ok((name, read))
    });
    let read: Vec<Result<_, CallError>> = reads.buffer_unordered(AT_ONCE).collect().await;
    read.into_iter().collect()
}

/// A secret that left the configuration, as long as it left something.
fn leftover<'a>(record: &'a Record, instance: &'a str, now: Timestamp) -> Option<Known<'a>> {
    let known = Known {
        configured: false,
        read: true,
        record: Some(record),
        because: "it is no longer in the configuration",
        now,
        ..Known::nothing(&record.name, &record.coordinates, instance)
    };
    record.closed_at.is_none().then_some(known)
}
