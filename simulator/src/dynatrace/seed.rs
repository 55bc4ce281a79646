//! Tokens that are put into an environment by hand.

use jiff::Timestamp;

use super::scopes;

/// A token to be put into the table by hand.
#[derive(Clone)]
pub struct Seed {
    pub(crate) name: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) owner: String,
    pub(crate) expires: Option<Timestamp>,
    pub(crate) created: Option<Timestamp>,
    pub(crate) personal: bool,
    pub(crate) enabled: bool,
    pub(crate) legacy: bool,
    pub(crate) value: Option<String>,
}

impl Seed {
    /// An enabled token of `admin` with the scope `metrics.ingest`, created now, that never expires.
    pub fn new(name: &str) -> Seed {
        Seed {
            name: name.to_owned(),
            scopes: vec!["metrics.ingest".to_owned()],
            owner: "admin".to_owned(),
            expires: None,
            created: None,
            personal: false,
            enabled: true,
            legacy: false,
            value: None,
        }
    }

    /// A token that may manage tokens through both API generations.
    pub fn management(name: &str) -> Seed {
        Seed::new(name).scopes(&[scopes::READ, scopes::WRITE, scopes::MANAGE_V1])
    }

    /// A token that may manage the tokens of a cluster.
    pub fn cluster_management(name: &str) -> Seed {
        Seed::new(name).scopes(&[scopes::MANAGE_CLUSTER])
    }

    /// A token that may manage ActiveGate tokens by the classic route.
    pub fn active_gate_management(name: &str) -> Seed {
        let (read, _, write) = scopes::ACTIVE_GATE;
        Seed::new(name).scopes(&[read, write])
    }

    /// Any scopes, creatable or not.
    #[must_use]
    pub fn scopes(mut self, scopes: &[&str]) -> Seed {
        self.scopes = scopes.iter().map(|&scope| scope.to_owned()).collect();
        self
    }

    /// Its owner.
    #[must_use]
    pub fn owner(mut self, owner: &str) -> Seed {
        self.owner = owner.to_owned();
        self
    }

    /// May lie in the past.
    #[must_use]
    pub fn expires(mut self, at: Timestamp) -> Seed {
        self.expires = Some(at);
        self
    }

    /// When it was created, instead of now.
    #[must_use]
    pub fn created(mut self, at: Timestamp) -> Seed {
        self.created = Some(at);
        self
    }

    /// A personal access token.
    #[must_use]
    pub fn personal(mut self) -> Seed {
        self.personal = true;
        self
    }

    /// It is disabled from the beginning.
    #[must_use]
    pub fn disabled(mut self) -> Seed {
        self.enabled = false;
        self
    }

    /// With a UUID and an opaque secret, as tokens from former times have.
    #[must_use]
    pub fn legacy(mut self) -> Seed {
        self.legacy = true;
        self
    }

    /// With this secret instead of a drawn one; a dotted one brings its id.
    #[must_use]
    pub fn value(mut self, value: &str) -> Seed {
        self.value = Some(value.to_owned());
        self
    }
}
