//! What differs between environments, and what the public documentation does not say.

/// The settings of one environment, changed by [`Dynatrace::configure`](crate::Dynatrace::configure).
#[derive(Debug, Clone)]
pub struct EnvironmentSettings {
    /// Creation of classic tokens is refused, as in the last phase of their deprecation.
    pub creation_closed: bool,
    /// The list of classic tokens is refused; seen at one environment.
    pub listing_closed: bool,
    /// Look-up and read of one classic token are refused. Undocumented, as is all but creation.
    pub lookup_closed: bool,
    /// Change and deletion of classic tokens are refused.
    pub changes_closed: bool,
    /// The status of all these refusals: 400 is what creation and listing were seen to answer.
    pub closed_status: u16,
    /// A create of a classic token leaves out the scopes that it does not know instead of refusing them, as one field team
    /// writes.
    pub drops_unknown_scopes: bool,
    /// Whether there is the classic route of ActiveGate tokens.
    pub classic_active_gates: bool,
    /// A create of an ActiveGate token by the classic route that names `activeGateType` or `seedToken` answers 400: a
    /// changelog removes both, while the SDK has them.
    pub active_gate_type_removed: bool,
}

impl Default for EnvironmentSettings {
    fn default() -> EnvironmentSettings {
        EnvironmentSettings {
            creation_closed: false,
            listing_closed: false,
            lookup_closed: false,
            changes_closed: false,
            closed_status: 400,
            drops_unknown_scopes: false,
            classic_active_gates: true,
            active_gate_type_removed: false,
        }
    }
}

impl EnvironmentSettings {
    /// As after the permanent opt-in that retires classic tokens: creating, listing and looking them up is refused. Whether
    /// existing ones can still be changed and used is undocumented: here they can.
    pub fn retire_classic_tokens(&mut self) {
        self.creation_closed = true;
        self.listing_closed = true;
        self.lookup_closed = true;
    }

    pub(crate) fn closes(&self, call: Call) -> bool {
        match call {
            Call::Create => self.creation_closed,
            Call::List => self.listing_closed,
            Call::LookUp => self.lookup_closed,
            Call::Change => self.changes_closed,
        }
    }
}

/// The calls of classic tokens that close one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Create,
    List,
    LookUp,
    Change,
}
