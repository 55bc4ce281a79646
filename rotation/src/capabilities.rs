//! What a kind of token can do. The work on a token is planned by these alone; no code of this crate names a kind.

use std::time::Duration;

/// The capabilities of a kind of token, as its issuer states them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Capabilities {
    /// A token can be disabled and enabled again. Without it the grace is followed by the deletion.
    pub disable: bool,
    /// A token can be renamed, so that an adopted one can be marked before it retires.
    pub rename: bool,
    /// The expiry of a token can be moved, so that a former one ends even if dtrotate never runs again.
    pub redate: bool,
    /// One token can be read by its id. Without it the complete listing is the only reading.
    pub read_by_id: bool,
    /// What proves that a value is the token whose id it shows.
    pub proof: Proof,
    /// What proves that a token is gone.
    pub absence: Absence,
    /// Whether a token expires.
    pub expiry: Expiry,
    /// The longest time until a new token is accepted everywhere.
    pub propagation: Duration,
    /// The longest name, in characters.
    pub name_limit: usize,
}

/// What proves that a value is the token whose id it shows, and that a new one works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Proof {
    /// Looking it up.
    #[default]
    Itself,
    /// A call with it, where its rights allow one.
    Probe,
    /// Nothing: its token is there as ordered, and no call with it shows more.
    Listed,
}

/// What proves that a token is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Absence {
    /// "Not found" twice, while the issuer answered for a token that is known to exist.
    Answer,
    /// Two complete listings without it, apart by `settle`.
    Listing,
}

/// Whether a token expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Expiry {
    /// Where it is asked for.
    Optional,
    /// Always.
    Required,
    /// After this at the latest, unless it is never to expire.
    AtMost(Duration),
}

impl Capabilities {
    /// Those of a classic API token.
    pub const API: Capabilities = Capabilities {
        disable: true,
        rename: true,
        redate: false,
        read_by_id: true,
        proof: Proof::Itself,
        absence: Absence::Answer,
        expiry: Expiry::Optional,
        // What disabling is said to take.
        propagation: Duration::from_secs(300),
        name_limit: 100,
    };
}
