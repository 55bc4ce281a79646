//! What the documents of all secrets say together: which tokens are held, and which identities are used. Each document is read once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use crate::config::Settings;
use crate::credential;
use rotation::error::{CallError, ErrorKind, Service};
use rotation::plan::Plan;
use rotation::ports::{Journal, JournalRead, SecretPath, SecretRead, SecretStore, TokenIssuer};
use rotation::request::{CurrentTokens, Epochs};
use rotation::token::{TokenId, TokenValue};

use super::assemble::{Ledger, Wired};

/// Documents read at the same time.
const READS: usize = 16;

/// The current tokens of all secrets at one URL, or why they are not all known.
pub(super) type HeldTokens = Result<Arc<CurrentTokens>, CallError>;

/// The current tokens of all configured secrets at these URLs.
pub(super) async fn held_tokens<'a>(
    wired: &Wired,
    settings: &'a Settings,
    urls: BTreeSet<&'a str>,
) -> BTreeMap<&'a str, HeldTokens> {
    let mut all = BTreeMap::new();
    for url in urls {
        let plans = settings.secrets.iter().map(|secret| &secret.plan);
        let here = plans.filter(|plan| plan.coordinates.base_url == url);
        let reads = here.map(async |plan| {
            let id = held(wired, plan).await?;
            Ok::<_, CallError>((id, plan.name.as_str().into()))
        });
        let held = stream::iter(reads).buffer_unordered(READS);
        let held: Result<Vec<_>, CallError> = held.try_collect().await;
        let index = held.map(|held| {
            let mut index = CurrentTokens::default();
            for (id, name) in held {
                if let Some(id) = id {
                    index.entry(id).or_default().push(name);
                }
            }
            Arc::new(index)
        });
        all.insert(url, index);
    }
    all
}

/// The token that a secret holds: by its document, or by its value where it was never recorded.
async fn held(wired: &Wired, plan: &Plan) -> Result<Option<TokenId>, CallError> {
    let name = &plan.name;
    match wired.ledger.read(name).await? {
        JournalRead::Present { record, .. } => {
            return Ok(record.current.map(|current| current.id));
        }
        JournalRead::Unreadable { why } => {
            let what = format!(
                "nothing is retired, because it is not known which token {name} holds: {why}"
            );
            return Err(CallError::new(Service::Vault, ErrorKind::Refused, what));
        }
        JournalRead::Absent { .. } => {}
    }
    value(wired, plan).await
}

/// The value of a secret in Vault.
pub(super) async fn stored_value(
    wired: &Wired,
    plan: &Plan,
) -> Result<Option<TokenValue>, CallError> {
    let place = &plan.coordinates;
    let read = wired.store.read(&SecretPath::from(place)).await?;
    Ok(match read {
        SecretRead::Present { data, .. } => data.value(&place.fields[0]),
        _ => None,
    })
}

/// The token whose value a secret holds in Vault.
pub(super) async fn value(wired: &Wired, plan: &Plan) -> Result<Option<TokenId>, CallError> {
    let Some(value) = stored_value(wired, plan).await? else {
        return Ok(None);
    };
    if let Some(id) = value.id() {
        return Ok(Some(id));
    }
    if let Some(flaw) = credential::flaw(value.expose()) {
        // Whoever reads it may still find a token in it.
        let what = format!("what {} holds is not clear: it {flaw}", plan.coordinates);
        return Err(CallError::new(Service::Vault, ErrorKind::Refused, what));
    }
    let issuer = wired.issuer(&plan.service)?;
    match issuer.look_up_value(&value).await {
        Ok(info) => Ok(Some(info.id)),
        Err(error) if error.kind == ErrorKind::Gone => Ok(None),
        Err(error) => Err(error),
    }
}

/// The identities of all documents that are not closed.
pub(super) async fn epochs(ledger: &Ledger) -> Result<Arc<Epochs>, CallError> {
    let names = ledger.list().await?;
    let reads = names.iter().map(|name| ledger.read(name));
    let reads = stream::iter(reads).buffer_unordered(READS);
    let reads: Vec<JournalRead> = reads.try_collect().await?;
    let mut index = Epochs::default();
    for read in reads {
        if let JournalRead::Present { record, .. } = read
            && record.closed_at.is_none()
        {
            let plan = record.release_plan("", "", Duration::ZERO, Duration::ZERO);
            let plans = index.entry(record.epoch.clone()).or_default();
            plans.push(Arc::new(plan));
        }
    }
    Ok(Arc::new(index))
}
