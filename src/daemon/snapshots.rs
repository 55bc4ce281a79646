//! Which secrets know a token: by their journal documents, and by the values that Vault holds at this moment. A leaked token is ended only when
//! both were read, because a document does not know yet what somebody put into Vault a minute ago.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use crate::config::{SecretSettings, Settings};
use rotation::error::CallError;
use rotation::ports::{Journal, JournalRead};
use rotation::record::Record;
use rotation::request::CurrentTokens;
use rotation::token::TokenId;

use super::assemble::Wired;
use super::journal_index;

/// Secrets that are read at the same time: a leak should not wait for many.
const READS: usize = 64;

/// What is known of a secret.
pub struct Snapshot<'a> {
    /// The secret.
    pub secret: &'a SecretSettings,
    /// Its journal document; none = it has none that can be read.
    pub record: Option<Box<Record>>,
    /// The token whose value it holds in Vault; none = no token.
    pub held: Result<Option<TokenId>, CallError>,
}

/// What is known of all configured secrets.
pub struct Snapshots<'a>(Vec<Snapshot<'a>>);

impl Snapshot<'_> {
    /// The token is its current one, for its document or in Vault.
    pub fn holds(&self, token: &TokenId) -> bool {
        let recorded = self.record.as_ref();
        let recorded = recorded.is_some_and(|record| record.is_current(token));
        recorded
            || self
                .held
                .as_ref()
                .is_ok_and(|held| held.as_ref() == Some(token))
    }

    /// The token that it holds: what is in Vault, else what its document says.
    pub fn token(&self) -> Option<&TokenId> {
        let held = self.held.as_ref().ok().and_then(Option::as_ref);
        held.or_else(|| self.record.as_ref()?.current_id())
    }

    fn retires(&self, token: &TokenId) -> bool {
        let record = self.record.as_ref();
        record.is_some_and(|record| record.retiring(token).is_some() || record.is_revoked(token))
    }
}

impl<'a> Snapshots<'a> {
    /// Reads the documents and the values of all secrets.
    ///
    /// # Errors
    /// The journal cannot be read. A value that cannot be read is an error of that secret alone.
    pub(super) async fn read(wired: &Wired, settings: &'a Settings) -> Result<Self, CallError> {
        let reads = settings.secrets.iter().map(async |secret| {
            let document = wired.ledger.read(&secret.plan.name);
            let value = journal_index::value(wired, &secret.plan);
            let (document, held) = futures_util::future::join(document, value).await;
            let record = match document? {
                JournalRead::Present { record, .. } if record.closed_at.is_none() => Some(record),
                _ => None,
            };
            Ok::<_, CallError>(Snapshot {
                secret,
                record,
                held,
            })
        });
        let read = stream::iter(reads).buffered(READS).try_collect().await?;
        Ok(Snapshots(read))
    }

    /// The secrets that know this token; those that hold it come first.
    pub fn with_token(&self, token: &TokenId) -> Vec<&Snapshot<'a>> {
        let holders = self.0.iter().filter(|it| it.holds(token));
        let others = self.0.iter().filter(|it| !it.holds(token));
        holders
            .chain(others.filter(|it| it.retires(token)))
            .collect()
    }

    /// What is known of this secret.
    pub fn of(&self, name: &str) -> Option<&Snapshot<'a>> {
        self.0.iter().find(|it| it.secret.plan.name == name)
    }

    /// The secrets whose value could not be read, each with the error.
    pub fn unread(&self) -> impl Iterator<Item = (&'a SecretSettings, &CallError)> {
        let unread = self.0.iter();
        unread.filter_map(|it| Some((it.secret, it.held.as_ref().err()?)))
    }

    /// Which secrets hold which token.
    pub(super) fn current_tokens(&self) -> Arc<CurrentTokens> {
        let mut index = CurrentTokens::default();
        for snapshot in &self.0 {
            let recorded = snapshot.record.as_ref();
            let recorded = recorded.and_then(|record| record.current_id());
            let held = snapshot.held.as_ref().ok().and_then(Option::as_ref);
            for id in recorded
                .into_iter()
                .chain(held.filter(|held| Some(*held) != recorded))
            {
                let names = index.entry(id.clone()).or_default();
                names.push(snapshot.secret.plan.name.as_str().into());
            }
        }
        Arc::new(index)
    }
}
