//! What will happen to secrets and to pruned tokens, as plain data, and how much of it in each hour.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use rotation::token::TokenId;
use serde::Serialize;

/// How far ahead the status page looks, in hours.
pub const HOURS: usize = 24;
/// So many events are shown one by one.
const FIRST: usize = 8;

/// Something that will happen. The fields are an interface: docs/commands.md.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Upcoming {
    /// When.
    pub at: Timestamp,
    /// What.
    pub event: What,
    /// None = a token of no secret, which `dtrotate prune` disabled.
    pub secret: Option<String>,
    /// The environment, or the account of a platform token.
    pub environment: String,
    /// The token that is disabled or deleted, expires or is replaced.
    pub token: Option<TokenId>,
    /// Why then.
    pub because: String,
}

/// What will happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The pause ends.
    Resume,
    /// The secret gets another token.
    Rotate,
    /// An old token is disabled.
    Disable,
    /// An old token is deleted.
    Delete,
    /// The current token expires.
    Expire,
}

impl What {
    /// The word for machines and in lists.
    pub fn as_str(self) -> &'static str {
        match self {
            What::Resume => "resume",
            What::Rotate => "rotate",
            What::Disable => "disable",
            What::Delete => "delete",
            What::Expire => "expire",
        }
    }

    /// `2 rotations`, `1 token expires`.
    pub fn counted(self, number: usize) -> String {
        let (one, many) = match self {
            What::Resume => ("pause ends", "pauses end"),
            What::Rotate => ("rotation", "rotations"),
            What::Disable => ("old token is disabled", "old tokens are disabled"),
            What::Delete => ("old token is deleted", "old tokens are deleted"),
            What::Expire => ("token expires", "tokens expire"),
        };
        let words = if number == 1 { one } else { many };
        format!("{number} {words}")
    }
}

/// In the order of time, at one instant by secret.
pub fn sort(all: &mut [Upcoming]) {
    all.sort_unstable_by(|one, other| {
        (one.at, &one.secret, one.event).cmp(&(other.at, &other.secret, other.event))
    });
}

/// The next hours of many secrets in few numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outlook {
    /// How much happens in each hour.
    pub hours: [usize; HOURS],
    /// How often each thing happens.
    pub events: BTreeMap<What, usize>,
    /// Some secrets rotate more often than was counted.
    pub is_cut: bool,
    /// What happens first, in order: of a secret each thing once.
    pub first: Vec<Upcoming>,
}

impl Outlook {
    /// Counts what happens after `now`, and keeps what happens first.
    pub fn add(&mut self, mut all: Vec<Upcoming>, now: Timestamp) {
        for one in &all {
            let ahead = one.at.duration_since(now).max(SignedDuration::ZERO);
            let hour = usize::try_from(ahead.as_hours()).unwrap_or(HOURS);
            // The last instant belongs to the last hour.
            self.hours[hour.min(HOURS - 1)] += 1;
            *self.events.entry(one.event).or_default() += 1;
        }
        sort(&mut all);
        let mut seen = BTreeSet::new();
        all.retain(|one| seen.insert((one.secret.clone(), one.event)));
        self.first.extend(all);
        if self.first.len() > 16 * FIRST {
            self.finish();
        }
    }

    /// To be called when all is added.
    pub fn finish(&mut self) {
        sort(&mut self.first);
        self.first.truncate(FIRST);
    }
}
