//! What happened to secrets: their history documents, which nothing but people reads.

use futures_util::{StreamExt, TryStreamExt, stream};

use crate::config::{SecretSettings, Settings};
use rotation::error::CallError;
use rotation::history::Event;

use super::assemble;
use super::foreground::OpenError;

/// Documents read at the same time.
const AT_ONCE: usize = 16;

/// The events of these secrets, oldest first, each with its secret.
///
/// # Errors
/// The clients cannot be built, or a history cannot be read.
pub async fn read<'a>(
    settings: &Settings,
    secrets: Vec<&'a SecretSettings>,
) -> Result<Vec<(&'a SecretSettings, Event)>, OpenError> {
    let wired = assemble::assemble(settings)?;
    let reads = secrets.into_iter().map(async |secret| {
        let history = wired.ledger.history(&secret.plan.name).await?;
        Ok::<_, CallError>((secret, history))
    });
    let read = stream::iter(reads).buffered(AT_ONCE);
    let read: Result<Vec<_>, CallError> = read.try_collect().await;
    wired.log_out().await;
    let all = read?.into_iter();
    let all = all.flat_map(|(secret, history)| {
        history
            .into_events()
            .into_iter()
            .map(move |event| (secret, event))
    });
    let mut all: Vec<_> = all.collect();
    // Stable: events of one secret and one instant keep their order.
    all.sort_by_key(|(_, event)| event.at);
    Ok(all)
}
