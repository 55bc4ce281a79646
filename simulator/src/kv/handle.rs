//! What a test can see of the KV stand-in and do to it by hand.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;

use super::Vault;
use crate::calls::{Call, Operation, lock};
use crate::fault::Rule;
use crate::fault::handle::Fault;

/// What happened to a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KvChangeKind {
    Written { version: u64 },
    Deleted { versions: Vec<u64> },
    Undeleted { versions: Vec<u64> },
    Destroyed { versions: Vec<u64> },
    MetadataWritten,
    MetadataDeleted,
}

/// One entry of the history. It never holds the data; see [`Kv::get_version`].
#[derive(Debug, Clone)]
pub struct KvChange {
    /// One order over all changes of this simulator, those of tokens included.
    pub sequence: u64,
    /// By the stand-in's clock.
    pub at: Timestamp,
    /// On the monotonic clock.
    pub instant: Instant,
    pub mount: String,
    pub path: String,
    pub kind: KvChangeKind,
    /// The accessor of the token that did it; `None` for a change by hand.
    pub by: Option<String>,
}

/// The KV stand-in of a running simulator. Cloning gives another handle of the same one.
#[derive(Clone)]
pub struct Kv {
    vault: Arc<Vault>,
    url: String,
}

impl fmt::Debug for Kv {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Kv")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl Kv {
    pub(crate) fn new(vault: Arc<Vault>, url: String) -> Kv {
        Kv { vault, url }
    }

    /// The server's address, without `/v1`, without a trailing slash.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The value of the token that may do everything.
    pub fn root_token(&self) -> String {
        lock(&self.vault.state).auth.root.clone()
    }

    pub fn role_id(&self) -> String {
        lock(&self.vault.state).auth.role().role_id.clone()
    }

    pub fn secret_id(&self) -> String {
        lock(&self.vault.state).auth.role().secret_id.clone()
    }

    /// From now on a login needs this one.
    pub fn set_secret_id(&self, secret_id: &str) {
        lock(&self.vault.state).auth.set_secret_id(secret_id);
    }

    /// Ends every token but the root token.
    pub fn revoke_tokens(&self) {
        lock(&self.vault.state).auth.revoke_all();
    }

    /// Sealed, it answers 503 to everything but health, leader and seal status.
    pub fn set_sealed(&self, sealed: bool) {
        lock(&self.vault.state).sealed = sealed;
    }

    /// Writes a new version by hand and returns its number; `None` when there is no such mount.
    pub fn put(&self, mount: &str, path: &str, data: Value) -> Option<u64> {
        let now = self.vault.site.clock.now();
        let change = self.vault.by_hand(mount, path, |mount| {
            let version = mount.put(path, data, now);
            Some(KvChangeKind::Written { version })
        })?;
        match change {
            KvChangeKind::Written { version } => Some(version),
            _ => None,
        }
    }

    /// Deletes the current version by hand; false when there is nothing to delete.
    pub fn delete(&self, mount: &str, path: &str) -> bool {
        let now = self.vault.site.clock.now();
        self.vault
            .by_hand(mount, path, |mount| mount.delete(path, &[], now).1)
            .is_some()
    }

    /// The current version's number and data; `None` when it is deleted or was never there.
    pub fn get(&self, mount: &str, path: &str) -> Option<(u64, Value)> {
        lock(&self.vault.state).mounts.get(mount)?.get(path, None)
    }

    /// A version's data; `None` when it is gone.
    pub fn get_version(&self, mount: &str, path: &str, version: u64) -> Option<Value> {
        let state = lock(&self.vault.state);
        let (_, data) = state.mounts.get(mount)?.get(path, Some(version))?;
        Some(data)
    }

    /// All paths of a mount that have metadata.
    pub fn paths(&self, mount: &str) -> Vec<String> {
        let state = lock(&self.vault.state);
        state
            .mounts
            .get(mount)
            .map(super::store::Mount::keys)
            .unwrap_or_default()
    }

    /// Every change since the start, in order.
    pub fn history(&self) -> Vec<KvChange> {
        lock(&self.vault.state).history.clone()
    }

    /// Every request takes this long before its effect.
    pub fn set_latency(&self, latency: Duration) {
        self.vault.site.set_latency(latency);
    }

    /// Puts a rule into force. [`crate::Action::ListLate`] has no meaning here and only answers.
    pub fn fault(&self, rule: Rule) -> Fault {
        self.vault.site.faults.add(rule)
    }

    /// Takes all rules out of force.
    pub fn clear_faults(&self) {
        self.vault.site.faults.clear();
    }

    /// The requests seen since the start or the last reset.
    pub fn calls(&self) -> Vec<Call> {
        self.vault.site.calls.all()
    }

    pub fn reset_calls(&self) {
        self.vault.site.calls.reset();
    }

    /// How many requests of this kind were seen.
    pub fn count(&self, operation: Operation) -> usize {
        self.vault.site.calls.count(operation)
    }

    /// How many requests of each kind were seen.
    pub fn counts(&self) -> BTreeMap<Operation, usize> {
        self.vault.site.calls.counts()
    }
}
