//! The journal documents of the configured secrets, as a command read them.

use std::sync::Arc;

use rotation::record::Record;
use rotation::request::CurrentTokens;
use rotation::token::TokenId;

use crate::config::SecretSettings;

/// The documents of the configured secrets.
pub struct Documents<'a> {
    pub(super) known: Vec<(&'a SecretSettings, Box<Record>)>,
}

impl<'a> Documents<'a> {
    /// The secrets that know this token, each with its document; those whose current token it is come first.
    pub fn with_token(&self, token: &TokenId) -> Vec<(&'a SecretSettings, &Record)> {
        let of = |wanted: fn(&Record, &TokenId) -> bool| {
            let known = self.known.iter();
            known.filter(move |(_, record)| wanted(record, token))
        };
        let retires = |record: &Record, token: &TokenId| {
            !record.is_current(token)
                && (record.retiring(token).is_some() || record.is_revoked(token))
        };
        let all = of(Record::is_current).chain(of(retires));
        all.map(|(secret, record)| (*secret, &**record)).collect()
    }

    /// The document of this secret.
    pub fn of(&self, name: &str) -> Option<&Record> {
        let known = self
            .known
            .iter()
            .find(|(secret, _)| secret.plan.name == name);
        known.map(|(_, record)| &**record)
    }

    /// Which secrets hold each current token.
    pub(super) fn current_tokens(&self) -> Arc<CurrentTokens> {
        let mut index = CurrentTokens::default();
        for (secret, record) in &self.known {
            if let Some(id) = record.current_id() {
                index
                    .entry(id.clone())
                    .or_default()
                    .push(secret.plan.name.clone());
            }
        }
        Arc::new(index)
    }
}
