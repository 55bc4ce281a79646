//! Talks to HashiCorp Vault or OpenBao.
//!
//! In reading order:
//! - `wire`: one call over the addresses, without a token's story; what an answer means (`answer`), how stale standbys are made
//!   harmless (`index`);
//! - `method`: the login methods and their credentials, `wrapped` among them; `login`: how a token is got; `session`: who holds it and
//!   replaces it; `keeper`: who renews it;
//! - `client`: an authenticated call, the state of the whole (`state`), the engines behind the mounts (`mounts`);
//! - `kv2`: reading and writing versions; `secrets`: the `SecretStore`; `journal`: the `Journal`, `prune_journal`: the document of pruned tokens; `rights`: what a policy must give;
//!   `retention`: how long an engine keeps what is written; `writers`: who wrote the documents.
//!
//! It must never follow a redirect, send a write twice, write without check-and-set where the engine has it, or let a token, a body
//! or a header into an error text. The facts about the API were tested on OpenBao 2.7.2.

use reqwest::Url;

use crate::http;

mod answer;
mod client;
mod index;
mod journal;
mod keeper;
mod kv2;
mod login;
mod method;
mod mounts;
mod path;
mod prune_journal;
mod retention;
mod rights;
mod secrets;
mod session;
mod state;
#[cfg(test)]
mod tests;
mod wire;
mod wrapped;
mod writers;

pub use crate::credential::Credential;
pub use client::Vault;
pub use journal::{KvJournal, decode, encode};
pub use method::{Login, SecretId};
pub use mounts::Engine;
pub use prune_journal::PruneJournal;
pub use retention::{KeyVersions, VersionLimits};
pub use rights::{OwnToken, Right, capabilities_right, lists, reads, reads_limits, rotates};
pub use secrets::{KvSecrets, LatestVersion};
pub use state::{Down, Health};
pub use wrapped::suspicions;
pub use writers::Writers;

/// What a [`Vault`] needs to know. No `Debug`, because a token may stand in it.
#[derive(Clone, PartialEq)]
pub struct VaultOptions {
    /// One or more nodes of the same cluster. Without a path, or with the prefix below which a proxy serves the API.
    pub addresses: Vec<Url>,
    /// The namespace of everything.
    pub namespace: Option<String>,
    /// How the nodes are reached.
    pub http: http::Options,
    /// How to get a token.
    pub login: Login,
}

/// Vault could not be set up: a fault of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// The HTTP client cannot be built.
    #[error(transparent)]
    Http(#[from] crate::http::BuildError),
    /// There is no address.
    #[error("no Vault address is given")]
    NoAddress,
    /// The namespace cannot stand in a header.
    #[error("the Vault namespace contains a character that is not allowed in a header")]
    Namespace,
}
