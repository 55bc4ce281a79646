//! The tokens of environments and accounts, compared with the journal. Reads and lists, and changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, stream};
use jiff::Timestamp;

use crate::clock;
use crate::config::Settings;
use crate::ops::audit::{Audited, ManagedTokens, Pruned};
use rotation::error::{CallError, ErrorKind, Service};
use rotation::plan::Plan;
use rotation::ports::{Journal, JournalRead};

use super::assemble::{self, Wired};
use super::foreground::OpenError;
use super::in_use::{self, ManagementTokens};

/// Documents read at the same time.
const AT_ONCE: usize = 16;

/// All tokens of some environments and accounts.
pub struct Audit {
    /// When they were listed.
    pub at: Timestamp,
    /// The id of this installation, by which its markers are distinguished from those of others; none = the journal is still empty.
    pub installation: Option<String>,
    /// In the order of the environments and accounts, each as it lists them.
    pub tokens: Vec<Audited>,
    /// What could not be read or listed.
    pub incomplete: Vec<CallError>,
}

/// Audits these environments and accounts, by their names as issuers.
///
/// # Errors
/// The clients cannot be built, or the journal cannot be read.
pub async fn read(settings: &Settings, services: &[String]) -> Result<Audit, OpenError> {
    let wired = assemble::assemble(settings)?;
    let audited = audit(settings, services, &wired).await;
    wired.log_out().await;
    Ok(audited?)
}

pub(super) async fn audit(
    settings: &Settings,
    services: &[String],
    wired: &Wired,
) -> Result<Audit, CallError> {
    let installation = wired.ledger.known_installation().await?;
    let mut incomplete = vec![];
    let mut managed = ManagedTokens::of(installation.clone());
    let configured = settings.secrets.iter();
    let configured: BTreeMap<&str, &Plan> = configured
        .map(|it| (it.plan.name.as_str(), &*it.plan))
        .collect();
    let new = read_journal(&configured, wired, &mut managed, &mut incomplete).await?;
    for (plan, value) in in_use::values(wired, settings, new, services).await {
        match value {
            Ok(id) => id
                .into_iter()
                .for_each(|id| managed.add_current(&plan.name, id)),
            Err(error) => incomplete.push(error),
        }
    }
    let management = ManagementTokens::read(wired, settings, services).await;
    for id in management.ids {
        managed.add_management(id);
    }
    incomplete.extend(management.unread);
    match wired.pruned.read().await {
        Ok(record) => {
            let installation = installation.as_deref().unwrap_or_default();
            for token in record.tokens {
                let until = token.deletion(&token.name, installation, settings.quarantine);
                let pruned = Pruned {
                    by: token.by,
                    at: token.at,
                    until,
                };
                managed.add_pruned(token.id, pruned);
            }
        }
        Err(error) => incomplete.push(error),
    }
    let mut listed = vec![];
    for service in services {
        let tokens = async { wired.issuer(service)?.inner().inventory().await };
        match tokens.await {
            Ok(tokens) => listed.push((service, tokens)),
            // It cannot be listed without its management token, which is reported.
            Err(error) if incomplete.iter().any(|known| known.what == error.what) => {}
            Err(error) => incomplete.push(error),
        }
    }
    let at = clock::now();
    let tokens = listed.into_iter().flat_map(|(service, tokens)| {
        let audit = |info| managed.audit(service, info, at);
        tokens.into_iter().map(audit).collect::<Vec<_>>()
    });
    Ok(Audit {
        at,
        installation,
        tokens: tokens.collect(),
        incomplete,
    })
}

/// Notes what the documents know, those of secrets that left the configuration included. Returns the secrets whose token no document knows: it is
/// known by the value in Vault alone.
async fn read_journal<'a>(
    configured: &BTreeMap<&str, &'a Plan>,
    wired: &Wired,
    managed: &mut ManagedTokens,
    incomplete: &mut Vec<CallError>,
) -> Result<Vec<&'a Plan>, CallError> {
    let ledger = &wired.ledger;
    let mut names: BTreeSet<String> = configured.keys().map(|&name| name.to_owned()).collect();
    let mut new = vec![];
    match ledger.list().await {
        Ok(listed) => names.extend(listed),
        // A person may be allowed to read documents and not to list them.
        Err(error) if error.kind == ErrorKind::Refused => incomplete.push(error),
        Err(error) => return Err(error),
    }
    let reads = stream::iter(names).map(async |name| {
        let read = ledger.read(&name).await;
        (name, read)
    });
    let mut reads = std::pin::pin!(reads.buffer_unordered(AT_ONCE));
    while let Some((name, read)) = reads.next().await {
        match read? {
            JournalRead::Present { record, .. } => {
                let plan = configured.get(name.as_str());
                managed.add(&record, plan.is_some());
                new.extend(plan.filter(|_| record.current.is_none()));
            }
            JournalRead::Absent { .. } => new.extend(configured.get(name.as_str())),
            JournalRead::Unreadable { why } => {
                let what = format!(
                    "the journal document of {name} is not readable, so its tokens are listed as unmanaged or left over: {why}"
                );
                incomplete.push(CallError::new(Service::Vault, ErrorKind::Refused, what));
            }
        }
    }
    Ok(new)
}
