//! Words of a newer version in a journal document.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A word that only a newer version knows. Every list of words in the document ends with a variant for it, so that it is carried over
/// unchanged; nothing is done because of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NewerWord(Box<Value>);

impl NewerWord {
    /// The word, for people.
    pub fn as_str(&self) -> &str {
        self.0.as_str().unwrap_or("unknown")
    }
}
