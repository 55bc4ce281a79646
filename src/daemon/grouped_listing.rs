//! A sweep's listing, grouped once by the secrets whose markers its tokens bear, so that comparing it with all secrets takes no time in
//! proportion to secrets times tokens.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use rotation::marker::{Epoch, Marker};
use rotation::record::Record;
use rotation::request::Listing;
use rotation::token::{TokenId, TokenInfo};

/// The tokens of an environment or account that concern its secrets.
pub(super) struct GroupedListing {
    /// When it was asked for.
    at: Timestamp,
    /// By the secret's identity: the tokens that bear its marker.
    marked: HashMap<Epoch, Arc<Vec<TokenInfo>>>,
    /// The current tokens of the secrets, whether they bear a marker or not.
    current: HashMap<TokenId, TokenInfo>,
}

impl GroupedListing {
    /// Groups what was listed; `current` are the tokens that the secrets hold.
    pub(super) fn new(at: Timestamp, tokens: Vec<TokenInfo>, current: &BTreeSet<TokenId>) -> Self {
        let mut marked: HashMap<Epoch, Arc<Vec<TokenInfo>>> = HashMap::new();
        let mut held = HashMap::new();
        for token in tokens {
            if current.contains(&token.id) {
                held.insert(token.id.clone(), token.clone());
            }
            if let Some(marker) = Marker::split(&token.name).1 {
                let group = marked.entry(marker.epoch).or_default();
                // Nobody else has it yet.
                Arc::make_mut(group).push(token);
            }
        }
        GroupedListing {
            at,
            marked,
            current: held,
        }
    }

    /// The current token of a secret, if it was listed. One that is current only since then bears a marker.
    pub(super) fn current(&self, record: &Record) -> Option<&TokenInfo> {
        let id = record.current_id()?;
        let mut own = self
            .marked
            .get(&record.epoch)
            .into_iter()
            .flat_map(|it| it.iter());
        self.current
            .get(id)
            .or_else(|| own.find(|token| token.id == *id))
    }

    /// What was listed of a secret.
    pub(super) fn of(&self, record: &Record) -> Listing {
        let tokens = self.marked.get(&record.epoch).cloned();
        Listing {
            at: self.at,
            tokens: tokens.unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rotation::plan::{Kind, Place};
    use rotation::record::Current;

    fn epoch(secret: &str) -> Epoch {
        Epoch {
            installation: "abcdef".into(),
            secret: secret.into(),
        }
    }

    fn token(id: &str, name: String) -> TokenInfo {
        TokenInfo {
            id: TokenId::new(id),
            name,
            enabled: true,
            scopes: vec![],
            created: None,
            expires: None,
            personal: false,
            owner: None,
            last_used: None,
            last_used_ip: None,
            traits: Default::default(),
        }
    }

    fn record(secret: &str, current: &TokenInfo) -> Record {
        let coordinates = Place {
            mount: "secret".into(),
            fields: vec!["token".into()],
            environment: "prod".into(),
            base_url: "https://a".into(),
            kind: Kind::Api,
        }
        .at(secret);
        let mut record = Record::blank(secret, epoch(secret), coordinates, Timestamp::UNIX_EPOCH);
        record.current = Some(Current::new(current, 1, &epoch(secret)));
        record
    }

    #[test]
    fn each_secret_finds_its_own_tokens_and_its_current_one_marked_or_not() {
        let ours = |secret: &str, n: u64| format!("job [dtrotate:abcdef.{secret}.{n}]");
        let (plain, old) = (token("P", "plain".into()), token("O", ours("00000a", 1)));
        let (new, other) = (token("N", ours("00000a", 2)), token("B", ours("00000b", 1)));
        let listed = vec![plain.clone(), old, new.clone(), other];
        let held = BTreeSet::from([plain.id.clone()]);
        let listing = GroupedListing::new(Timestamp::UNIX_EPOCH, listed, &held);
        let (before, after) = (record("00000a", &plain), record("00000a", &new));
        assert_eq!(listing.current(&before).map(|it| &it.id), Some(&plain.id));
        assert_eq!(listing.current(&after).map(|it| &it.id), Some(&new.id));
        assert!(listing.current(&record("00000c", &new)).is_none());
        let own = listing.of(&before).tokens;
        assert_eq!(own.len(), 2);
        assert!(listing.of(&record("00000c", &new)).tokens.is_empty());
    }
}
