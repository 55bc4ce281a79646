//! What the documents of all secrets say together: which tokens are held, and which identities are used. Each document is read once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use crate::config::Settings;
use crate::credential;
use rotation::error::{CallError, ErrorKind, Service};
use rotation::plan::{Coordinates, Plan};
use rotation::ports::{Journal, JournalRead, SecretPath, SecretRead, SecretStore, TokenIssuer};
use rotation::request::{CurrentTokens, Epochs};
use rotation::token::{TokenId, TokenValue};

use super::assemble::{Ledger, Store, Wired};

/// Documents read at the same time.
const READS: usize = 16;

/// The current tokens of all secrets at one URL, or why they are not all known.
pub(super) type HeldTokens = Result<Arc<CurrentTokens>, CallError>;

/// The current tokens of all secrets at these URLs, and of the secrets that are in nobody's configuration here.
pub(super) async fn held_tokens<'a>(
    wired: &Wired,
    settings: &'a Settings,
    urls: BTreeSet<&'a str>,
) -> BTreeMap<&'a str, HeldTokens> {
    let mut all = BTreeMap::new();
    if urls.is_empty() {
        return all;
    }
    let left = left_tokens(wired, settings).await;
    for url in urls {
        let issuers = settings.issuers().into_iter();
        let here = issuers.filter(|issuer| issuer.base_url == url);
        let services: Vec<String> = here.map(|issuer| issuer.service).collect();
        let plans = settings.secrets.iter().map(|secret| &secret.plan);
        let here = plans
            .filter(|plan| settings.may_use_tokens_of(&plan.coordinates.environment, &services));
        let reads = here.map(async |plan| {
            let id = held(wired, plan).await?;
            Ok::<_, CallError>((id, plan.name.as_str().into()))
        });
        let held = stream::iter(reads).buffer_unordered(READS);
        let held: Result<Vec<(Option<TokenId>, _)>, CallError> = held.try_collect().await;
        let index = held.and_then(|held| {
            let left = left.clone()?.into_iter().map(|(id, name)| (Some(id), name));
            let mut index = CurrentTokens::default();
            for (id, name) in held.into_iter().chain(left) {
                if let Some(id) = id {
                    index.entry(id).or_default().push(name);
                }
            }
            Ok(Arc::new(index))
        });
        all.insert(url, index);
    }
    all
}

/// The token that a secret holds: by its document, or by its value where the document knows none.
async fn held(wired: &Wired, plan: &Plan) -> Result<Option<TokenId>, CallError> {
    let name = &plan.name;
    match wired.ledger.read(name).await? {
        JournalRead::Present { record, .. } if record.current.is_some() => {
            return Ok(record.current.map(|current| current.id));
        }
        JournalRead::Unreadable { why } => {
            let what = format!(
                "nothing is retired, because it is not known which token {name} holds: {why}"
            );
            return Err(CallError::new(Service::Vault, ErrorKind::Refused, what));
        }
        JournalRead::Present { .. } | JournalRead::Absent { .. } => {}
    }
    value(wired, plan).await
}

/// The tokens of secrets that are in nobody's configuration here: they left it, or another daemon with the same journal has them.
async fn left_tokens(
    wired: &Wired,
    settings: &Settings,
) -> Result<Vec<(TokenId, Arc<str>)>, CallError> {
    let names = match wired.ledger.list().await {
        Ok(names) => names,
        // A person may be allowed to read documents and not to list them.
        Err(error) if error.kind == ErrorKind::Refused => return Ok(vec![]),
        Err(error) => return Err(error),
    };
    let secrets = settings.secrets.iter().map(|secret| &secret.plan);
    let configured: BTreeSet<&str> = secrets.clone().map(|plan| plan.name.as_str()).collect();
    let others = names
        .iter()
        .filter(|name| !configured.contains(name.as_str()));
    let reads = others.map(async |name| {
        let JournalRead::Present { record, .. } = wired.ledger.read(name).await? else {
            return Ok(None);
        };
        let place = &record.coordinates;
        let same = |plan: &Arc<Plan>| plan.coordinates.same_place(place);
        let token = record.current_id().filter(|_| record.renamed_to.is_none());
        let Some(token) = token.filter(|_| !secrets.clone().any(same)) else {
            return Ok(None);
        };
        let held = last_token(&wired.store, place, token).await;
        Ok::<_, CallError>(held.map(|id| (id, name.as_str().into())))
    });
    let reads: Vec<_> = reads.collect();
    let reads = stream::iter(reads).buffer_unordered(READS);
    let held: Vec<Option<_>> = reads.try_collect().await?;
    Ok(held.into_iter().flatten().collect())
}

/// The token that a secret in nobody's configuration holds, whose document shows `token`. Its value decides where it can be read; the
/// policies of this process may end with the configuration.
pub(super) async fn last_token(
    store: &Store,
    place: &Coordinates,
    token: &TokenId,
) -> Option<TokenId> {
    match store.read(&SecretPath::from(place)).await {
        Ok(SecretRead::Present { data, .. }) => {
            let value = place.fields.first().and_then(|field| data.value(field))?;
            Some(value.id().unwrap_or_else(|| token.clone()))
        }
        Ok(SecretRead::Deleted { .. } | SecretRead::Absent) => None,
        Err(_) => Some(token.clone()),
    }
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
