//! Everything at once: the tokens of all environments and of the account whatever their kind, for tests that judge a run as a
//! whole.

use std::fmt;

use jiff::Timestamp;

use crate::calls::Call;
use crate::dynatrace::history::TokenChange;
use crate::fault::Rule;
use crate::fault::handle::Fault;
use crate::simulator::Simulator;

/// Which API a token belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TokenKind {
    /// An API token of an environment.
    Api,
    /// A token with which an ActiveGate connects.
    ActiveGate,
    /// An API token of a Managed cluster.
    Cluster,
    /// A platform token of an account.
    Platform,
}

/// A token of any kind. `Debug` leaves the value out.
#[derive(Clone, PartialEq, Eq)]
pub struct AnyToken {
    /// The API that it belongs to.
    pub kind: TokenKind,
    /// The public part of its value.
    pub id: String,
    /// The secret itself.
    pub value: String,
    /// The full name, marker included.
    pub name: String,
    /// Who created or owns it.
    pub owner: String,
    /// Always true for kinds that cannot be disabled.
    pub enabled: bool,
    /// Its end; none = never.
    pub expires: Option<Timestamp>,
    /// The last call that counts as a use.
    pub last_used: Option<Timestamp>,
}

impl fmt::Debug for AnyToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("AnyToken")
            .field("kind", &self.kind)
            .field("id", &self.id)
            .field("name", &self.name)
            .field("enabled", &self.enabled)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

impl Simulator {
    /// All tokens of all kinds, expired ones included; oldest first within an environment and kind.
    pub fn tokens(&self) -> Vec<AnyToken> {
        let mut all = Vec::new();
        for environment in self.environments() {
            let own = if environment.is_cluster() {
                TokenKind::Cluster
            } else {
                TokenKind::Api
            };
            let api = environment.tokens().into_iter().map(|token| (own, token));
            let gates = environment.active_gate_tokens().into_iter();
            let gates = gates.map(|token| (TokenKind::ActiveGate, token));
            all.extend(api.chain(gates).map(|(kind, token)| AnyToken {
                kind,
                id: token.id,
                value: token.value,
                name: token.name,
                owner: token.owner,
                enabled: token.enabled,
                expires: token.expires,
                last_used: token.last_used,
            }));
        }
        let platform = self.account().map(|account| account.tokens());
        all.extend(
            platform
                .unwrap_or_default()
                .into_iter()
                .map(|token| AnyToken {
                    kind: TokenKind::Platform,
                    id: token.id,
                    value: token.value,
                    name: token.name,
                    owner: token.owner,
                    enabled: token.enabled,
                    expires: Some(token.expires),
                    last_used: token.last_used,
                }),
        );
        all
    }

    /// Whether this value is accepted now where it belongs. It does not count as a use.
    pub fn is_valid(&self, value: &str) -> bool {
        let account = self.account();
        self.environments()
            .iter()
            .any(|environment| environment.is_valid(value))
            || account.is_some_and(|account| account.is_valid(value))
    }

    /// Every change of every token since the start, in order.
    pub fn history(&self) -> Vec<TokenChange> {
        let mut all = Vec::new();
        for environment in self.environments() {
            all.extend(environment.history());
            all.extend(environment.active_gate_history());
        }
        all.extend(
            self.account()
                .map(|account| account.history())
                .unwrap_or_default(),
        );
        all.sort_by_key(|change| change.sequence);
        all
    }

    /// Every value of a token there ever was.
    pub fn issued(&self) -> Vec<String> {
        let mut all = Vec::new();
        for environment in self.environments() {
            all.extend(environment.issued());
        }
        all.extend(
            self.account()
                .map(|account| account.issued())
                .unwrap_or_default(),
        );
        all
    }

    /// Everything that must not show anywhere: the values of tokens, client secrets and access tokens.
    pub fn secrets(&self) -> Vec<String> {
        let mut all = self.issued();
        all.extend(
            self.account()
                .map(|account| account.credentials())
                .unwrap_or_default(),
        );
        all
    }

    /// The requests that all environments and the account have seen, in order.
    pub fn calls(&self) -> Vec<Call> {
        let mut all: Vec<Call> = self.sites().flat_map(|site| site.calls.all()).collect();
        all.sort_by_key(|call| call.instant);
        all
    }

    /// Forgets the calls of all services so far.
    pub fn reset_calls(&self) {
        for site in self.sites() {
            site.calls.reset();
        }
    }

    /// Puts one rule into force at all environments and the account; requests count for it wherever they go.
    pub fn fault(&self, rule: Rule) -> Fault {
        let fault = Fault::new(rule);
        for site in self.sites() {
            site.faults.put(fault.clone());
        }
        fault
    }

    /// Takes the rules of all services back.
    pub fn clear_faults(&self) {
        for site in self.sites() {
            site.faults.clear();
        }
    }
}
