//! What the folders of `discover` hold in Vault at this moment, for commands.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::{StreamExt, stream};

use rotation::error::CallError;

use super::super::assemble::{self, Wired};
use super::super::foreground::OpenError;
use super::{AT_ONCE, list_all, shown};
use crate::config::{Discovery, SecretSettings, Settings};

/// Adds what the folders hold in Vault at this moment, for a command that judges or ends tokens: what no daemon has taken up yet is meant to be
/// rotated all the same. Nothing is sent to Dynatrace. Returns why a folder is not known as a whole.
///
/// # Errors
/// The clients cannot be built.
pub async fn add(settings: &mut Settings) -> Result<Vec<CallError>, OpenError> {
    if settings.discoveries.is_empty() {
        return Ok(vec![]);
    }
    let wired = assemble::assemble(settings)?;
    let (mut found, mut errors) = (vec![], vec![]);
    for discovery in &settings.discoveries {
        match held(settings, &wired, discovery).await {
            Ok(mut held) => found.append(&mut held),
            Err(error) => errors.push(error),
        }
    }
    wired.log_out().await;
    settings.secrets.extend(found);
    Ok(errors)
}

/// The secrets of one folder that hold a token of their kind in Vault and are not in the configuration.
async fn held(
    settings: &Settings,
    wired: &Wired,
    discovery: &Discovery,
) -> Result<Vec<Arc<SecretSettings>>, CallError> {
    let listed = list_all(&wired.store, discovery).await?;
    let known = settings.secrets.iter();
    let known: BTreeSet<&str> = known.map(|secret| secret.plan.name.as_str()).collect();
    let finder = settings.finder(discovery);
    let new = listed.iter().filter_map(|path| finder.secret(path));
    let new = new.filter(|secret| !known.contains(secret.plan.name.as_str()));
    let new: Vec<Arc<SecretSettings>> = new.collect();
    let reads = stream::iter(new).map(|secret| async {
        let shows = shown(wired, &secret).await?.is_some();
        Ok::<_, CallError>(shows.then_some(secret))
    });
    let read: Vec<Result<_, CallError>> = reads.buffered(AT_ONCE * 2).collect().await;
    read.into_iter().filter_map(Result::transpose).collect()
}
