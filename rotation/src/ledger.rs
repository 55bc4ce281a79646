//! The names that the last closed attempts ordered, as digests: a token with one of their numbers is ours only when its name matches.

use std::collections::VecDeque;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::marker::NameDigest;

/// How many closed attempts are remembered.
const CLOSED: usize = 50;

/// The last closed attempts. It is written as one string, `N:DIGEST N:DIGEST`: servers bound the number of strings in a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AttemptLedger(VecDeque<(u64, NameDigest)>);

impl AttemptLedger {
    /// Notes a closed attempt and drops the oldest beyond the limit.
    pub fn close(&mut self, attempt: u64, digest: NameDigest) {
        self.0.retain(|(other, _)| *other != attempt);
        self.0.push_back((attempt, digest));
        let surplus = self.0.len().saturating_sub(CLOSED);
        self.0.drain(..surplus);
    }

    /// The digest of the name that this attempt ordered, if it is remembered.
    pub fn digest(&self, attempt: u64) -> Option<&NameDigest> {
        self.0
            .iter()
            .find(|(other, _)| *other == attempt)
            .map(|(_, digest)| digest)
    }

    /// No attempt was ever closed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for AttemptLedger {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let pairs = self
            .0
            .iter()
            .map(|(n, digest)| format!("{n}:{}", digest.as_str()));
        serializer.serialize_str(&pairs.collect::<Vec<_>>().join(" "))
    }
}

impl<'de> Deserialize<'de> for AttemptLedger {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let pairs = text.split_ascii_whitespace().map(|pair| {
            let (n, digest) = pair.split_once(':')?;
            Some((n.parse().ok()?, NameDigest::from_text(digest)))
        });
        let pairs: Option<VecDeque<_>> = pairs.collect();
        pairs
            .map(AttemptLedger)
            .ok_or_else(|| D::Error::custom("the ledger of attempts is not of the form N:DIGEST"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_the_last_fifty_and_survives_being_written() {
        let mut ledger = AttemptLedger::default();
        for n in 1..=60 {
            ledger.close(n, NameDigest::of(&n.to_string()));
        }
        assert_eq!(ledger.digest(10), None);
        assert_eq!(ledger.digest(11), Some(&NameDigest::of("11")));
        let text = serde_json::to_string(&ledger).unwrap();
        assert_eq!(
            serde_json::from_str::<AttemptLedger>(&text).unwrap(),
            ledger
        );
        assert!(serde_json::from_str::<AttemptLedger>("\"1\"").is_err());
    }
}
