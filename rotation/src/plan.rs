//! What to rotate and how: the validated settings of one secret, as plain data. The schedule is not part of it: when a secret is due is
//! decided outside and passed to the machine as an instant.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::capabilities::Capabilities;
use super::newer_word::NewerWord;
use super::token::TokenId;

/// Everything the machine must know of one configured secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    /// The secret's name in configuration, logs and journal.
    pub name: String,
    /// Where its value lives and which environment issues it.
    pub coordinates: Coordinates,
    /// What many secrets have in common, once for all of them. Its fields are those of the plan.
    pub terms: Arc<Terms>,
}

/// How secrets are rotated.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Terms {
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
    /// What a new value must pass before it is stored.
    pub verify: Verification,
    /// What becomes of a token that cannot be disabled and is still used at the end of `max_grace`.
    pub at_max_grace: AtMaxGrace,
    /// A route gets each completed rotation.
    pub announces: bool,
    /// The name of the service that issues its tokens, as the program knows it.
    pub service: String,
}

impl Deref for Plan {
    type Target = Terms;

    fn deref(&self) -> &Terms {
        &self.terms
    }
}

impl DerefMut for Plan {
    /// To change them for this secret alone.
    fn deref_mut(&mut self) -> &mut Terms {
        Arc::make_mut(&mut self.terms)
    }
}

impl Plan {
    /// How long a new token may take to be accepted everywhere: `settle`, but at most what this kind of token is said to take, and at least
    /// long enough for some tries.
    pub fn verify_window(&self, capabilities: &Capabilities) -> Duration {
        self.settle
            .clamp(Duration::from_secs(10), capabilities.propagation)
    }
}

/// What a new value must pass before it is stored, for a kind whose values do not prove themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Verification {
    /// The first trial that the rights of the token allow.
    #[default]
    Auto,
    /// That its token is listed as ordered.
    Listed,
    /// This trial, as the issuer names it.
    Trial(String),
}

/// What becomes of a token that cannot be disabled and is still used at the end of `max_grace`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AtMaxGrace {
    /// It is left until it is no longer used or expires, and reported.
    #[default]
    Leave,
    /// Delete it all the same; its consumers are cut off.
    Delete,
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
#[serde(from = "Written", into = "Written")]
pub struct Coordinates {
    /// Path below the mount.
    pub path: String,
    /// What many secrets have in common, once for all of them. Its fields are those of the coordinates.
    pub place: Arc<Place>,
}

/// Where secrets are, but for their paths.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The KV mount, without slashes at its ends.
    pub mount: String,
    /// The fields that hold the value, all written in one check-and-set; the first one is read. Never empty.
    pub fields: Vec<String>,
    /// The environment's name in the configuration.
    pub environment: String,
    /// The canonical URL of what issues its tokens, without a trailing slash: of the environment, or of the account.
    pub base_url: String,
    /// The kind of token that they hold.
    pub kind: Kind,
}

impl Deref for Coordinates {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.place
    }
}

impl DerefMut for Coordinates {
    /// To change them for this secret alone.
    fn deref_mut(&mut self) -> &mut Place {
        Arc::make_mut(&mut self.place)
    }
}

/// Coordinates in a document.
#[derive(Clone, Serialize, Deserialize)]
struct Written {
    mount: String,
    path: String,
    fields: Vec<String>,
    environment: String,
    base_url: String,
    kind: Kind,
}

impl From<Written> for Coordinates {
    fn from(written: Written) -> Self {
        let place = Place {
            mount: written.mount,
            fields: written.fields,
            environment: written.environment,
            base_url: written.base_url,
            kind: written.kind,
        };
        place.at(written.path)
    }
}

impl From<Coordinates> for Written {
    fn from(coordinates: Coordinates) -> Self {
        let place = Arc::unwrap_or_clone(coordinates.place);
        Written {
            mount: place.mount,
            path: coordinates.path,
            fields: place.fields,
            environment: place.environment,
            base_url: place.base_url,
            kind: place.kind,
        }
    }
}

impl Place {
    /// A secret there.
    pub fn at(self, path: impl Into<String>) -> Coordinates {
        Coordinates {
            path: path.into(),
            place: Arc::new(self),
        }
    }
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
    /// A platform token, `dt0s16`.
    Platform,
    /// An ActiveGate token, `dt0g02`.
    ActiveGate,
    /// A token of a Managed cluster.
    Cluster,
}

impl Kind {
    const ALL: [Kind; 3] = [Kind::Api, Kind::Platform, Kind::ActiveGate];

    /// The word in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Api => "api",
            Kind::Platform => "platform",
            Kind::ActiveGate => "activegate",
            Kind::Cluster => "cluster",
        }
    }

    /// What its values begin with, up to the first dot.
    fn prefix(self) -> &'static str {
        match self {
            Kind::Api | Kind::Cluster => "dt0c01",
            Kind::Platform => "dt0s16",
            Kind::ActiveGate => "dt0g02",
        }
    }

    /// The expiry of its tokens can be moved, so a document needs room for that.
    pub fn has_backstop(self) -> bool {
        self == Kind::Platform
    }

    /// The grace of its tokens is followed by the quarantine, and not by the deletion.
    pub fn can_be_disabled(self) -> bool {
        self != Kind::ActiveGate
    }

    /// There are values without a prefix.
    fn may_be_opaque(self) -> bool {
        matches!(self, Kind::Api | Kind::Cluster)
    }

    /// The kind of token whose values show this id; an API token's may also be a cluster's.
    pub fn of_id(id: &TokenId) -> Option<Kind> {
        let prefix = id.as_str().split('.').next().unwrap_or_default();
        Kind::ALL.into_iter().find(|kind| kind.prefix() == prefix)
    }

    /// Why a value that shows this id is not a token of this kind, as half a sentence, with the kind to write.
    pub fn mismatch(self, shown: Option<&TokenId>) -> Option<String> {
        let Some(id) = shown else {
            let word = self.word();
            return (!self.may_be_opaque()).then(|| {
                format!("a value that is not of kind {word}; write kind = \"api\" if it is an old API token, or put a {word} token there")
            });
        };
        let prefix = id.as_str().split('.').next().unwrap_or_default();
        if prefix == self.prefix() {
            return None;
        }
        let meant = Kind::of_id(id);
        let cure = match meant {
            Some(meant) => format!(
                "write kind = \"{}\" for it, or put another token there",
                meant.word()
            ),
            None => format!(
                "tokens that begin with {prefix} cannot be rotated; put another token there"
            ),
        };
        Some(format!(
            "{id}, which is not of kind {}; {cure}",
            self.word()
        ))
    }
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
    /// Without an end.
    Never,
    /// This long from its creation.
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
    /// The policy of a secret, from its settings.
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
