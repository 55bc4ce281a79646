//! A revocation: a token that a person ordered to be ended at once, and never to be brought back.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::token::TokenId;

/// The order to end a token at once. It is in the document until it is carried out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Revocation {
    /// The token to end.
    pub token: TokenId,
    /// When it was ordered.
    pub at: Timestamp,
    /// The person, as Vault knows them.
    pub by: String,
    /// It is deleted without a quarantine.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub delete: bool,
    /// It is ended although the secret holds nothing else: consumers are locked out, and the person knows it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub without_replacement: bool,
    /// Fields of a newer version, carried over unchanged.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// The mark of a retiring token that was revoked: it is not brought back.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Revoked {
    /// When it was ordered.
    pub at: Timestamp,
    /// The person, as Vault knows them.
    pub by: String,
}
