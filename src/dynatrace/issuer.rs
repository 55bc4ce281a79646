//! An issuer of any kind of token.

use jiff::Timestamp;

use super::{Account, ActiveGates, Dynatrace};
use crate::http::ServerClock;
use rotation::capabilities::Capabilities;
use rotation::error::CallError;
use rotation::ports::{TokenIssuer, TrialOptions};
use rotation::token::{MintRequest, Minted, TokenId, TokenInfo, TokenValue, Trial};

/// What issues tokens of one kind. Cheap to clone.
#[derive(Clone)]
pub enum Issuer {
    /// API tokens of an environment.
    Environment(Dynatrace),
    /// ActiveGate tokens of an environment.
    ActiveGates(ActiveGates),
    /// Platform tokens of an account.
    Account(Account),
}

/// The same call to whichever it is.
macro_rules! each {
    ($issuer:expr, $one:ident => $call:expr) => {
        match $issuer {
            Issuer::Environment($one) => $call,
            Issuer::ActiveGates($one) => $call,
            Issuer::Account($one) => $call,
        }
    };
}

impl Issuer {
    /// The environment, if it issues API tokens.
    pub fn environment(&self) -> Option<&Dynatrace> {
        match self {
            Issuer::Environment(environment) => Some(environment),
            Issuer::ActiveGates(_) | Issuer::Account(_) => None,
        }
    }

    /// The ActiveGate tokens of an environment, if it issues these.
    pub fn active_gates(&self) -> Option<&ActiveGates> {
        match self {
            Issuer::ActiveGates(gates) => Some(gates),
            Issuer::Environment(_) | Issuer::Account(_) => None,
        }
    }

    /// The account, if it is one.
    pub fn account(&self) -> Option<&Account> {
        match self {
            Issuer::Account(account) => Some(account),
            Issuer::Environment(_) | Issuer::ActiveGates(_) => None,
        }
    }

    /// How far the clock of the single sign-on is from ours, where tokens are managed through one.
    pub fn sso_clock(&self) -> Option<&ServerClock> {
        match self {
            Issuer::Account(account) => Some(account.sso_clock()),
            Issuer::Environment(_) | Issuer::ActiveGates(_) => None,
        }
    }

    /// How far the service's clock is from ours.
    pub fn clock(&self) -> &ServerClock {
        each!(self, one => one.clock())
    }

    /// All tokens whose name bears any dtrotate marker, or of which `also` is true; more where the kind of token needs that.
    ///
    /// # Errors
    /// As [`TokenIssuer::list_marked`].
    pub async fn list(&self, also: impl Fn(&TokenId) -> bool) -> Result<Vec<TokenInfo>, CallError> {
        match self {
            Issuer::Environment(environment) => environment.list(also).await,
            Issuer::ActiveGates(gates) => gates.list(also).await,
            Issuer::Account(account) => account.list_marked().await,
        }
    }

    /// All tokens that it issued, with everything that it returns about them.
    ///
    /// # Errors
    /// As [`TokenIssuer::list_marked`].
    pub async fn inventory(&self) -> Result<Vec<TokenInfo>, CallError> {
        match self {
            Issuer::Environment(environment) => environment.inventory().await,
            Issuer::ActiveGates(gates) => gates.list(|_| true).await,
            Issuer::Account(account) => account.list_marked().await,
        }
    }

    /// Enables or disables a token; given a name, it gets that in the same call.
    ///
    /// # Errors
    /// As [`TokenIssuer::set_enabled`].
    pub async fn set_state(
        &self,
        id: &TokenId,
        enabled: bool,
        name: Option<&str>,
    ) -> Result<(), CallError> {
        match (self, name) {
            (Issuer::Environment(environment), Some(name)) => {
                environment.set_enabled_and_name(id, enabled, name).await
            }
            (_, None) => self.set_enabled(id, enabled).await,
            (_, Some(name)) => self.rename(id, name).await,
        }
    }

    /// The next call reads the credential again: after it was rotated, and on a reload.
    pub fn forget_credential(&self) {
        match self {
            Issuer::Environment(environment) => environment.forget_management_token(),
            Issuer::ActiveGates(gates) => gates.forget_management_token(),
            Issuer::Account(account) => account.forget_client(),
        }
    }
}

impl TokenIssuer for Issuer {
    fn capabilities(&self) -> Capabilities {
        each!(self, one => one.capabilities())
    }

    async fn look_up_value(&self, value: &TokenValue) -> Result<TokenInfo, CallError> {
        each!(self, one => one.look_up_value(value).await)
    }

    async fn look_up(&self, id: &TokenId) -> Result<TokenInfo, CallError> {
        each!(self, one => one.look_up(id).await)
    }

    async fn mint(&self, order: &MintRequest) -> Result<Minted, CallError> {
        each!(self, one => one.mint(order).await)
    }

    async fn prove_value(
        &self,
        value: &TokenValue,
        trial: TrialOptions<'_>,
    ) -> Result<TokenInfo, CallError> {
        each!(self, one => one.prove_value(value, trial).await)
    }

    async fn verify(
        &self,
        value: &TokenValue,
        control: Option<&TokenValue>,
        trial: TrialOptions<'_>,
    ) -> Result<Trial, CallError> {
        each!(self, one => one.verify(value, control, trial).await)
    }

    async fn prove_manager(
        &self,
        value: &TokenValue,
        enabled: Option<&TokenId>,
    ) -> Result<(), CallError> {
        each!(self, one => one.prove_manager(value, enabled).await)
    }

    async fn set_enabled(&self, id: &TokenId, enabled: bool) -> Result<(), CallError> {
        each!(self, one => one.set_enabled(id, enabled).await)
    }

    async fn redate(&self, id: &TokenId, until: Timestamp) -> Result<(), CallError> {
        each!(self, one => one.redate(id, until).await)
    }

    async fn rename(&self, id: &TokenId, name: &str) -> Result<(), CallError> {
        each!(self, one => one.rename(id, name).await)
    }

    async fn delete(&self, id: &TokenId) -> Result<(), CallError> {
        each!(self, one => one.delete(id).await)
    }

    async fn list_marked(&self) -> Result<Vec<TokenInfo>, CallError> {
        each!(self, one => one.list_marked().await)
    }

    async fn probe_known_token(&self) -> Result<(), CallError> {
        each!(self, one => one.probe_known_token().await)
    }
}
