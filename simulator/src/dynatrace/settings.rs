//! What differs between environments, and what the public documentation does not say.

/// The settings of one environment, changed by [`Dynatrace::configure`](crate::Dynatrace::configure).
#[derive(Debug, Clone)]
pub struct EnvironmentSettings {
    /// Creation of classic tokens answers 400, as in the last phase of their deprecation.
    pub creation_closed: bool,
    /// The list of classic tokens answers 400; seen at one environment. The fate of the other calls is undocumented.
    pub listing_closed: bool,
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
            classic_active_gates: true,
            active_gate_type_removed: false,
        }
    }
}
