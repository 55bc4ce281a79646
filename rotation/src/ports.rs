//! What the centre needs from the outside. Adapters implement these; nothing here knows HTTP, a runtime or a clock.
//!
//! Every call answers within a bounded time. An error's kind must be honest: an adapter that does not know whether a write happened
//! says [`ErrorKind::Unclear`](super::error::ErrorKind::Unclear).

use std::future::Future;

use jiff::Timestamp;
use serde_json::{Map, Value};
use zeroize::Zeroize;

use super::capabilities::Capabilities;
use super::error::Result;
use super::history::Event;
use super::plan::{Coordinates, Verification};
use super::record::Record;
use super::token::{MintRequest, Minted, TokenId, TokenInfo, TokenValue, Trial};

/// One Dynatrace environment as an issuer of tokens.
pub trait TokenIssuer: Send + Sync {
    /// What this kind of token can do.
    fn capabilities(&self) -> Capabilities;

    /// Returns the token whose value this is. `Gone` = the environment does not know it.
    fn look_up_value(&self, value: &TokenValue) -> impl Future<Output = Result<TokenInfo>> + Send;

    /// Returns the token with this id. `Gone` = the environment does not know it.
    fn look_up(&self, id: &TokenId) -> impl Future<Output = Result<TokenInfo>> + Send;

    /// Creates a token. `Unclear` = there may be one more token now, whose value nobody has.
    fn mint(&self, request: &MintRequest) -> impl Future<Output = Result<Minted>> + Send;

    /// Returns the token whose value this is, and makes sure of it: where a look-up proves nothing, a call with the value must succeed.
    /// `Refused` = that cannot be proven.
    fn prove_value(
        &self,
        value: &TokenValue,
        trial: TrialOptions<'_>,
    ) -> impl Future<Output = Result<TokenInfo>> + Send;

    /// Tries the value of a candidate, over another connection than the mint, and returns the token it is. `control` is the value that it is
    /// to replace: what fails with it as well proves nothing. `Gone` = the value is not (yet) accepted (401 or 404 for a new token).
    fn verify(
        &self,
        value: &TokenValue,
        control: Option<&TokenValue>,
        trial: TrialOptions<'_>,
    ) -> impl Future<Output = Result<Trial>> + Send;

    /// Proves that the value can manage tokens: it lists them and, with a no-op update, enables `enabled` once more.
    /// `Gone` = it is not (yet) accepted.
    fn prove_manager(
        &self,
        value: &TokenValue,
        enabled: Option<&TokenId>,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Enables or disables a token.
    fn set_enabled(&self, id: &TokenId, enabled: bool) -> impl Future<Output = Result<()>> + Send;

    /// Lets a token expire at another time.
    fn redate(&self, id: &TokenId, until: Timestamp) -> impl Future<Output = Result<()>> + Send;

    /// Gives a token another name.
    fn rename(&self, id: &TokenId, name: &str) -> impl Future<Output = Result<()>> + Send;

    /// Deletes a token. `Gone` = it is not there.
    fn delete(&self, id: &TokenId) -> impl Future<Output = Result<()>> + Send;

    /// All tokens of the environment whose name bears any dtrotate marker: the whole listing, every page, or an error. For a kind that cannot be read by id, every token.
    fn list_marked(&self) -> impl Future<Output = Result<Vec<TokenInfo>>> + Send;

    /// Looks up a token that is known to exist: proves that this environment answers, so that a 404 of the same run can be trusted.
    fn probe_known_token(&self) -> impl Future<Output = Result<()>> + Send;
}

/// How the value of a secret is tried, where its kind of token does not prove itself.
#[derive(Clone, Copy, Debug)]
pub struct TrialOptions<'a> {
    /// The environment at which it is used.
    pub environment: &'a str,
    /// How it is tried: by which call, or by the listing alone.
    pub by: &'a Verification,
}

/// Where a secret is in a KV engine.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretPath {
    /// The KV mount, without slashes at its ends.
    pub mount: String,
    /// The path below it.
    pub path: String,
}

impl From<&Coordinates> for SecretPath {
    fn from(place: &Coordinates) -> Self {
        SecretPath {
            mount: place.mount.clone(),
            path: place.path.clone(),
        }
    }
}

/// The whole map of a secret, other people's fields included. No `Debug`; strings are wiped when dropped.
#[derive(Clone, PartialEq)]
pub struct SecretData(pub Map<String, Value>);

impl SecretData {
    /// The token value in `field`, if it is a string that is not empty (surrounding white space is not part of it).
    pub fn value(&self, field: &str) -> Option<TokenValue> {
        let text = self.0.get(field)?.as_str()?.trim();
        (!text.is_empty()).then(|| TokenValue::new(text))
    }

    /// None of `fields` is there, whatever it might hold.
    pub fn lacks(&self, fields: &[String]) -> bool {
        !fields.iter().any(|field| self.0.contains_key(field))
    }

    /// Puts `value` into every one of `fields` and leaves all others as they are.
    pub fn set(&mut self, fields: &[String], value: &TokenValue) {
        for field in fields {
            self.0
                .insert(field.clone(), Value::String(value.expose().to_owned()));
        }
    }
}

impl Drop for SecretData {
    fn drop(&mut self) {
        for value in self.0.values_mut() {
            if let Value::String(text) = value {
                text.zeroize();
            }
        }
    }
}

/// What a read of one version (or of the latest one) found.
pub enum SecretRead {
    /// The version is there.
    Present {
        /// Its number. Without history (KV v1) a fingerprint of the content.
        version: u64,
        /// All fields of it.
        data: SecretData,
    },
    /// The version was deleted or destroyed; the counter is at `version`.
    Deleted {
        /// The version that the counter is at.
        version: u64,
    },
    /// Nothing was ever there, or this version was pruned.
    Absent,
}

/// The secrets' store: KV v2 (with history) or v1 (without).
pub trait SecretStore: Send + Sync {
    /// Reads the latest version, at least as new as every write that this process had acknowledged.
    fn read(&self, at: &SecretPath) -> impl Future<Output = Result<SecretRead>> + Send;

    /// Reads the latest version once more, over another connection: an answer that belongs to another request is not given twice.
    fn confirm(&self, at: &SecretPath) -> impl Future<Output = Result<SecretRead>> + Send;

    /// Reads one version. A version that was deleted, or is no longer kept, is no error.
    fn read_version(
        &self,
        at: &SecretPath,
        version: u64,
    ) -> impl Future<Output = Result<SecretRead>> + Send;

    /// Writes the whole map if the latest version is `cas`, and returns the new version.
    /// `Conflict` = somebody else's version is there (or a node lagged behind: read and compare).
    fn write(
        &self,
        at: &SecretPath,
        cas: u64,
        data: &SecretData,
    ) -> impl Future<Output = Result<u64>> + Send;

    /// Versions are kept and numbered (KV v2). Without that nothing can be proved about the past.
    fn has_history(&self, at: &SecretPath) -> impl Future<Output = Result<bool>> + Send;
}

/// What a read of a journal document found.
#[derive(Clone, Debug)]
pub enum JournalRead {
    /// The document is there and can be read.
    Present {
        /// The version to check-and-set against.
        version: u64,
        /// The document.
        record: Box<Record>,
    },
    /// There is none; create it with this `cas` (0, or the version of a deleted one).
    Absent {
        /// The version to check-and-set against.
        cas: u64,
    },
    /// There is one that this version of dtrotate cannot read. A human must look.
    Unreadable {
        /// Why, with the place in the document.
        why: String,
    },
}

/// The journal: one document per secret, every write check-and-set.
pub trait Journal: Send + Sync {
    /// Reads the document of the secret named `name`, at least as new as every write that this process had acknowledged.
    fn read(&self, name: &str) -> impl Future<Output = Result<JournalRead>> + Send;

    /// Writes the document if its version is `cas`, and returns the new version.
    fn write(
        &self,
        name: &str,
        cas: u64,
        record: &Record,
    ) -> impl Future<Output = Result<u64>> + Send;

    /// Appends to the history of the secret named `name`, a separate document. Best effort: it is read by people only.
    fn append_history(
        &self,
        name: &str,
        events: &[Event],
    ) -> impl Future<Output = Result<()>> + Send;
}
