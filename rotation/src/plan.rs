//! What to rotate and how: the validated settings of one secret, as plain data. The schedule is not part of it: when a secret is due is
//! decided outside and passed to the machine as an instant.

use std::time::Duration;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::newer_word::NewerWord;

/// Everything the machine must know of one configured secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    /// The secret's name in configuration, logs and journal.
    pub name: String,
    /// Where its value lives and which environment issues it.
    pub coordinates: Coordinates,
    /// The old token stays enabled for this long after the switch.
    pub grace: Duration,
    /// The longest that `still_used = "hold"` may extend the grace to, counted from the switch.
    pub max_grace: Duration,
    /// Then it stays disabled for this long, and is deleted.
    pub quarantine: Duration,
    /// What to do when the old token is still used at the end of its grace.
    pub still_used: StillUsed,
    /// How long a new token lives.
    pub lifetime: Lifetime,
    /// How long an effect may take to become visible at this environment.
    pub settle: Duration,
    /// The claim of another holder that was unchanged for this long, on our monotonic clock, may be taken over.
    pub claim_timeout: Duration,
    /// What the configuration says of the token itself.
    pub desired: Desired,
    /// This secret is the environment's management token: only it may be given rights to manage tokens.
    pub manages_tokens: bool,
}

impl Plan {
    /// How long a new token may take to be accepted everywhere: `settle`, but at most five minutes, which is what disabling is said to take,
    /// and at least long enough for some tries.
    pub fn verify_window(&self) -> Duration {
        self.settle
            .clamp(Duration::from_secs(10), Duration::from_secs(300))
    }
}

/// What the token of a secret is to be like, as far as the configuration says so; the rest is that of the token that is replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Desired {
    /// Its name, without a marker.
    pub name: Option<String>,
    /// Its rights.
    pub scopes: Option<Vec<String>>,
    /// Where nothing ever was, the first token is made; its rights must be given.
    pub create: bool,
}

/// Where a secret's value lives and who issues it. A change of these makes the secret `moved`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Coordinates {
    pub mount: String,
    /// Path below the mount.
    pub path: String,
    /// The fields that hold the value, all written in one check-and-set; the first one is read. Never empty.
    pub fields: Vec<String>,
    /// The environment's name in the configuration.
    pub environment: String,
    /// The environment's canonical base URL, without a trailing slash.
    pub base_url: String,
    pub kind: Kind,
}

impl Coordinates {
    /// True for the same secret at the same environment. The environment's name in the configuration may change freely.
    pub fn same_place(&self, other: &Coordinates) -> bool {
        fn key(it: &Coordinates) -> impl PartialEq {
            (&it.mount, &it.path, &it.fields, &it.base_url, it.kind)
        }
        key(self) == key(other)
    }

    /// The place for people, with what else sets it apart from `other`.
    pub fn difference(&self, other: &Coordinates) -> String {
        match self.base_url == other.base_url {
            true => self.to_string(),
            false => format!("{self} at {}", self.base_url),
        }
    }
}

impl std::fmt::Display for Coordinates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}/{}#{} (environment {})",
            self.mount,
            self.path,
            self.fields.join(","),
            self.environment
        )
    }
}

/// The kind of token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An API (access) token, `dt0c01` or a legacy opaque one.
    Api,
}

/// What to do when the old token was used after the new one was stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StillUsed {
    /// Extend its grace until it has been quiet for `grace`, at most to `max_grace`; then disable it and report the consumer.
    Hold,
    /// Disable it at the end of the grace and report the consumer.
    Warn,
    /// What a newer version wrote; as `Hold`, which is more careful.
    #[serde(untagged)]
    Newer(NewerWord),
}

/// How long a new token lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lifetime {
    /// As long as the old one did in all, counted from now.
    Inherit,
    Never,
    For(Duration),
}

/// The lengths of a retirement, as last configured.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RetirementPolicy {
    /// An old token stays enabled for this long.
    pub grace: SignedDuration,
    /// At most to this, counted from the switch.
    pub max_grace: SignedDuration,
    /// Then it stays disabled for this long.
    pub quarantine: SignedDuration,
    /// What to do when it is still used at the end of its grace.
    pub still_used: StillUsed,
}

impl RetirementPolicy {
    pub fn of(plan: &Plan) -> Self {
        let signed = |length| SignedDuration::try_from(length).unwrap_or(SignedDuration::MAX);
        RetirementPolicy {
            grace: signed(plan.grace),
            max_grace: signed(plan.max_grace),
            quarantine: signed(plan.quarantine),
            still_used: plan.still_used.clone(),
        }
    }
}

impl Default for RetirementPolicy {
    /// The defaults of the configuration.
    fn default() -> Self {
        RetirementPolicy {
            grace: SignedDuration::from_hours(24),
            max_grace: SignedDuration::from_hours(7 * 24),
            quarantine: SignedDuration::from_hours(7 * 24),
            still_used: StillUsed::Hold,
        }
    }
}
