//! An announcement: a completed rotation that a route has yet to get. It is written with the commit, so that no crash loses it, and taken away
//! by whoever delivered it, without a claim. A later rotation replaces it.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::token::TokenId;

/// It is delivered within the grace, because then consumers still work without it, but for at least this long it is tried.
const LEAST: Duration = Duration::from_secs(24 * 3600);

/// A completed rotation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Announcement {
    /// The new token, and the version of the secret that holds it.
    pub token: TokenId,
    /// The version of the secret in which it was stored.
    pub version: u64,
    /// The token that it replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<TokenId>,
    /// When it was committed.
    pub at: Timestamp,
    /// When it should have been delivered.
    pub until: Timestamp,
    /// The instance that rotated.
    pub by: String,
    /// Fields of a newer version, carried over unchanged.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// When a rotation of this time should have been announced, of a secret with this grace.
pub fn deadline(at: Timestamp, grace: Duration) -> Timestamp {
    at.checked_add(grace.max(LEAST)).unwrap_or(Timestamp::MAX)
}
