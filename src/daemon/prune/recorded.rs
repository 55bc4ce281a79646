//! What the journal says of single pruned tokens.

use crate::config::Settings;
use crate::ops::pruned::Pruned;
use rotation::prune::{PrunedState, PrunedToken};
use rotation::token::TokenId;

use super::super::assemble;
use super::super::foreground::OpenError;

/// Those of these tokens that were pruned.
///
/// # Errors
/// The clients cannot be built, or the journal cannot be read.
pub async fn find(settings: &Settings, ids: &[TokenId]) -> Result<Vec<Pruned>, OpenError> {
    let wired = assemble::assemble(settings)?;
    let read = wired.pruned.read().await;
    wired.log_out().await;
    let record = read?;
    let found = ids.iter().filter_map(|id| record.find(id));
    Ok(found.map(|token| pruned(settings, token)).collect())
}

fn pruned(settings: &Settings, token: &PrunedToken) -> Pruned {
    let end = token.deletion(&token.name, "", settings.quarantine);
    let waits = matches!(token.state, PrunedState::Ordered | PrunedState::Quarantine);
    Pruned {
        token: token.id.clone(),
        environment: token.service.clone(),
        name: token.name.clone(),
        was_enabled: token.enabled,
        by: token.by.clone(),
        at: token.at,
        state: token.state,
        delete_after: waits.then_some(end),
        needs_confirmation: token.digest.is_none(),
    }
}
