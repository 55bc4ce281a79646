//! The tokens that must not be ended because dtrotate works with them: management tokens, whichever table names them, and the values of secrets that
//! no document knows. A table is related to a service when its values may be tokens of that service; what cannot be read of a related one
//! may be any token there.

use futures_util::stream::{self, StreamExt};

use crate::config::Settings;
use rotation::error::CallError;
use rotation::plan::Plan;
use rotation::token::TokenId;

use super::assemble::Wired;
use super::journal_index;

/// Secrets read at the same time.
const READS: usize = 16;

/// The management tokens of all environments.
pub struct ManagementTokens {
    /// The ids that are known.
    pub ids: Vec<TokenId>,
    /// Why one of a related environment is not known.
    pub unread: Vec<CallError>,
}

impl ManagementTokens {
    /// Reads them; those of environments whose values may be tokens of these `services` must be known.
    pub async fn read(wired: &Wired, settings: &Settings, services: &[String]) -> Self {
        let mut all = ManagementTokens {
            ids: vec![],
            unread: vec![],
        };
        for (environment, read) in wired.read_management_token_ids().await {
            match read {
                Ok(id) => all.ids.push(id),
                Err(error) if settings.may_use_tokens_of(environment, services) => {
                    all.unread.push(error);
                }
                Err(_) => {}
            }
        }
        all
    }

    /// The ids, if none can be missing.
    ///
    /// # Errors
    /// The first that could not be read.
    pub fn complete(mut self) -> Result<Vec<TokenId>, CallError> {
        match self.unread.is_empty() {
            true => Ok(self.ids),
            false => Err(self.unread.swap_remove(0)),
        }
    }
}

/// The tokens whose values these secrets hold in Vault, as far as these may be tokens of `services`; each with its secret.
pub(super) async fn values<'a>(
    wired: &Wired,
    settings: &Settings,
    plans: impl IntoIterator<Item = &'a Plan>,
    services: &[String],
) -> Vec<(&'a Plan, Result<Option<TokenId>, CallError>)> {
    let related = plans.into_iter().filter(|plan| {
        let environment = &plan.coordinates.environment;
        settings.may_use_tokens_of(environment, services)
    });
    let reads = related.map(async |plan| {
        let id = journal_index::value(wired, plan).await;
        (plan, id)
    });
    let reads: Vec<_> = reads.collect();
    stream::iter(reads).buffer_unordered(READS).collect().await
}

#[cfg(test)]
mod tests;
