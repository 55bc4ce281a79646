//! What happened to tokens, by whom and when.

use std::time::Instant;

use jiff::Timestamp;
use serde::Serialize;

/// Who changed a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// A call authenticated by the token with this id.
    Token(String),
    /// A call with an access token of this OAuth client.
    Client(String),
    /// The test or the program's start, as a person would at the screen.
    Hand,
    /// Dynatrace itself: the purge of expired tokens.
    System,
}

impl Actor {
    /// Whether a call did it, rather than the test or Dynatrace itself.
    pub fn is_call(&self) -> bool {
        matches!(self, Actor::Token(_) | Actor::Client(_))
    }
}

/// What happened to a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It was created or seeded.
    Created,
    /// It works again.
    Enabled,
    /// It is refused from now on.
    Disabled,
    /// It has another name.
    Renamed {
        /// The name before.
        from: String,
    },
    /// It has other scopes.
    Rescoped,
    /// It expires at this time; none = never.
    Redated {
        /// The new end.
        to: Option<Timestamp>,
    },
    /// Someone deleted it.
    Deleted,
    /// Dynatrace deleted it, a week after its end.
    Purged,
}

/// One entry of the history.
#[derive(Debug, Clone, Serialize)]
pub struct TokenChange {
    /// One order over all changes of this simulator.
    pub sequence: u64,
    /// By the stand-in's clock.
    pub at: Timestamp,
    /// On the monotonic clock.
    #[serde(skip)]
    pub instant: Instant,
    /// The token.
    pub token_id: String,
    /// The name after the change.
    pub name: String,
    /// What happened.
    pub change: Change,
    /// Who did it.
    pub by: Actor,
}
