//! What a kind of token can do. The work on a token is planned by these alone; no code of this crate names a kind.

/// The capabilities of a kind of token, as its issuer states them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Capabilities {
    /// A token can be disabled and enabled again. Without it the grace is followed by the deletion.
    pub disable: bool,
    /// A token can be renamed, so that an adopted one can be marked before it retires.
    pub rename: bool,
    /// One token can be read by its id. Without it the complete listing is the only reading.
    pub read_by_id: bool,
    /// What proves that a token is gone.
    pub absence: Absence,
    /// The longest name, in characters.
    pub name_limit: usize,
}

/// What proves that a token is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Absence {
    /// "Not found" twice, while the issuer answered for a token that is known to exist.
    Answer,
    /// Two complete listings without it, apart by `settle`.
    Listing,
}

impl Capabilities {
    /// Those of a classic API token.
    pub const API: Capabilities = Capabilities {
        disable: true,
        rename: true,
        read_by_id: true,
        absence: Absence::Answer,
        name_limit: 100,
    };
}
