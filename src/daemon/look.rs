//! The state of all secrets as the journal tells it, without a daemon: reads documents and changes nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::{StreamExt, stream};

use crate::clock;
use crate::config::Settings;
use crate::ops::status::{Known, Secret, Status};
use rotation::error::{CallError, ErrorKind};
use rotation::ports::{Journal, JournalRead};

use super::assemble;
use super::foreground::OpenError;
use super::roster::{Entry, Roster};

/// Documents read at the same time.
const AT_ONCE: usize = 16;

/// Reads the journal.
///
/// # Errors
/// The clients cannot be built, or the journal cannot be read.
pub async fn look(settings: &Settings, instance: &str) -> Result<Status, OpenError> {
    let wired = assemble::assemble(settings)?;
    let mut roster: Roster = settings
        .secrets
        .iter()
        .map(|secret| {
            let plan = Arc::new(secret.plan.clone());
            (
                secret.plan.name.clone(),
                Entry::new(plan, Some(secret.clone())),
            )
        })
        .collect();
    let read = read_all(&wired.ledger, &roster).await;
    wired.log_out().await;
    let now = clock::now();
    let mut removed = Vec::new();
    for (name, read) in read? {
        match (roster.get_mut(&name), read) {
            (Some(entry), read) => entry.learn(read, now),
            (None, JournalRead::Present { record, .. }) => {
                removed.extend(leftover(&name, &record, instance));
            }
            (None, _) => {}
        }
    }
    let configured = roster
        .iter()
        .map(|(name, entry)| entry.picture(name, instance));
    let mut secrets: Vec<Secret> = configured.chain(removed).collect();
    secrets.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Status::new(now).with_secrets(secrets))
}

/// The documents of the secrets that are configured, and of those that were.
async fn read_all(
    ledger: &assemble::Ledger,
    roster: &Roster,
) -> Result<Vec<(String, JournalRead)>, CallError> {
    let mut names: BTreeSet<String> = roster.keys().cloned().collect();
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
fn leftover(name: &str, record: &rotation::record::Record, instance: &str) -> Option<Secret> {
    let known = Known {
        name,
        coordinates: &record.coordinates,
        configured: false,
        enabled: false,
        record: Some(record),
        unreadable: None,
        next: None,
        because: "it is not in the configuration any more",
        instance,
    };
    record.closed_at.is_none().then(|| Secret::of(&known))
}
