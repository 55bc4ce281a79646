//! What a test can see of an environment and do to it by hand.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::Environment;
use super::events::TakenEvent;
use super::history::{Actor, TokenChange};
use super::route::Kind;
use super::secret::{id_of, uuid};
use super::seed::Seed;
use super::settings::EnvironmentSettings;
use super::table::{ActiveGate, NewToken, TokenInfo};
use crate::calls::{Call, Operation, lock};
use crate::fault::Rule;
use crate::fault::handle::Fault;
use crate::server::Site;

/// A seeded token. `Debug` leaves the value out.
#[derive(Clone, PartialEq, Eq)]
pub struct Seeded {
    /// The public part: `dt0c01.PUBLIC`.
    pub id: String,
    /// The secret itself.
    pub value: String,
}

impl fmt::Debug for Seeded {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Seeded")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// One environment of a running simulator. Cloning gives another handle of the same environment.
#[derive(Clone)]
pub struct Dynatrace {
    environment: Arc<Environment>,
    url: String,
    apps_url: Option<String>,
}

impl fmt::Debug for Dynatrace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Dynatrace")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl Dynatrace {
    pub(crate) fn new(
        environment: Arc<Environment>,
        url: String,
        apps_url: Option<String>,
    ) -> Dynatrace {
        Dynatrace {
            environment,
            url,
            apps_url,
        }
    }

    pub(crate) fn site(&self) -> &Site {
        &self.environment.site
    }

    pub(crate) fn is_cluster(&self) -> bool {
        self.environment.kind == Kind::Cluster
    }

    /// The base URL, without `/api`, without a trailing slash.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The origin of the apps, where platform tokens are used; none without an account. Nothing of the classic APIs is there,
    /// and nothing of this one at [`Dynatrace::url`].
    pub fn apps_url(&self) -> Option<&str> {
        self.apps_url.as_deref()
    }

    /// Puts a token into the table.
    pub fn seed(&self, seed: Seed) -> Seeded {
        let mut table = lock(&self.environment.table);
        let now = self.environment.site.clock.now();
        let new = NewToken {
            name: seed.name,
            owner: seed.owner,
            scopes: seed.scopes,
            personal: seed.personal,
            enabled: seed.enabled,
            created: seed.created.unwrap_or(now),
            expires: seed.expires,
            hidden: None,
            active_gate: None,
        };
        let token = match seed.value {
            Some(value) => {
                let id = id_of(&value).map_or_else(uuid, str::to_owned);
                table.insert(id, value, new, Actor::Hand)
            }
            None => {
                let before = table.legacy;
                table.legacy = before || seed.legacy;
                let id = table.create(new, Actor::Hand).id.clone();
                table.legacy = before;
                match table.get(&id) {
                    Some(token) => token,
                    None => unreachable!("the token was created under the same lock"),
                }
            }
        };
        Seeded {
            id: token.id.clone(),
            value: token.value.clone(),
        }
    }

    /// The id that platform tokens name in their resources.
    pub fn id(&self) -> &str {
        &self.environment.id
    }

    /// Puts an ActiveGate token into its table; scopes, `personal` and `enabled` of the seed have no meaning.
    pub fn seed_active_gate(&self, seed: Seed, active_gate: ActiveGate) -> Seeded {
        let now = self.environment.site.clock.now();
        let new = NewToken {
            name: seed.name,
            owner: seed.owner,
            scopes: Vec::new(),
            personal: false,
            enabled: true,
            created: seed.created.unwrap_or(now),
            expires: seed.expires,
            hidden: None,
            active_gate: Some(active_gate),
        };
        let mut active_gates = lock(&self.environment.active_gates);
        let token = active_gates.table.create(new, Actor::Hand);
        Seeded {
            id: token.id.clone(),
            value: token.value.clone(),
        }
    }

    /// All ActiveGate tokens, oldest first.
    pub fn active_gate_tokens(&self) -> Vec<TokenInfo> {
        lock(&self.environment.active_gates).table.snapshot()
    }

    /// As if an ActiveGate had used its token. False when there is no such token.
    pub fn touch_active_gate(&self, id: &str, ip: IpAddr, at: Timestamp) -> bool {
        lock(&self.environment.active_gates).table.touch(id, ip, at)
    }

    /// An ActiveGate on this host starts and presents its token: whether that is accepted. It is listed as connected from now
    /// on.
    pub fn connect_active_gate(&self, hostname: &str, value: &str, from: IpAddr) -> bool {
        let now = self.environment.site.clock.now();
        lock(&self.environment.active_gates).connect(hostname, value, from, now)
    }

    /// Deletes an ActiveGate token, as a person does; false = there is no such token.
    pub fn delete_active_gate(&self, id: &str) -> bool {
        lock(&self.environment.active_gates)
            .table
            .delete(id, Actor::Hand)
    }

    /// Every change of every ActiveGate token since the start, in order.
    pub fn active_gate_history(&self) -> Vec<TokenChange> {
        lock(&self.environment.active_gates)
            .table
            .history()
            .to_vec()
    }

    /// Changes settings; from the next request on.
    pub fn configure(&self, change: impl FnOnce(&mut EnvironmentSettings)) {
        change(&mut lock(&self.environment.settings));
    }

    /// All tokens, oldest first.
    pub fn tokens(&self) -> Vec<TokenInfo> {
        let mut table = lock(&self.environment.table);
        table.purge();
        table.snapshot()
    }

    /// The tokens that authenticate now, oldest first.
    pub fn alive_tokens(&self) -> Vec<TokenInfo> {
        let mut tokens = self.tokens();
        tokens.retain(|token| self.is_valid(&token.value));
        tokens
    }

    /// The token with this id.
    pub fn token(&self, id: &str) -> Option<TokenInfo> {
        let mut table = lock(&self.environment.table);
        table.purge();
        table.info(id)
    }

    /// The token with this secret.
    pub fn token_by_value(&self, value: &str) -> Option<TokenInfo> {
        let mut table = lock(&self.environment.table);
        table.purge();
        table.info_by_value(value)
    }

    /// Whether a call with this secret, or an ActiveGate with this token, would be authenticated now. It does not count as a
    /// use.
    pub fn is_valid(&self, value: &str) -> bool {
        self.environment.accepts(value)
    }

    /// False when there is no such token; so for all that follow.
    pub fn disable(&self, id: &str) -> bool {
        lock(&self.environment.table).set_enabled(id, false, Actor::Hand)
    }

    /// Enables a token, as a person does; false = there is no such token.
    pub fn enable(&self, id: &str) -> bool {
        lock(&self.environment.table).set_enabled(id, true, Actor::Hand)
    }

    /// Deletes it; false = there is no such token.
    pub fn delete(&self, id: &str) -> bool {
        lock(&self.environment.table).delete(id, Actor::Hand)
    }

    /// Renames it; false = there is no such token.
    pub fn rename(&self, id: &str, name: &str) -> bool {
        lock(&self.environment.table).rename(id, name, Actor::Hand)
    }

    /// Gives it these scopes alone; false = there is no such token.
    pub fn set_scopes(&self, id: &str, scopes: &[&str]) -> bool {
        let scopes = scopes.iter().map(|&scope| scope.to_owned()).collect();
        lock(&self.environment.table).set_scopes(id, scopes, Actor::Hand)
    }

    /// Which no API can do; it lets a test age a token.
    pub fn set_expiry(&self, id: &str, expires: Option<Timestamp>) -> bool {
        lock(&self.environment.table).set_expiry(id, expires, Actor::Hand)
    }

    /// As if a consumer had used the token.
    pub fn touch(&self, id: &str, ip: IpAddr, at: Timestamp) -> bool {
        lock(&self.environment.table).touch(id, ip, at)
    }

    /// Every change of every token since the start, in order.
    pub fn history(&self) -> Vec<TokenChange> {
        lock(&self.environment.table).history().to_vec()
    }

    /// Every secret of an API token or an ActiveGate token there ever was, so that a test can look for it where it must not be.
    pub fn issued(&self) -> Vec<String> {
        let mut issued = lock(&self.environment.table).issued().to_vec();
        issued.extend_from_slice(lock(&self.environment.active_gates).table.issued());
        issued
    }

    /// The events that were taken, in order.
    pub fn events(&self) -> Vec<TakenEvent> {
        lock(&self.environment.events).taken.clone()
    }

    /// From now on events are answered with 201 and this status in the reply, and not taken; none = OK again.
    pub fn set_event_status(&self, status: Option<&str>) {
        lock(&self.environment.events).status = status.map(str::to_owned);
    }

    /// New tokens get a UUID and an opaque secret (true) or the dotted form (false, as at the start).
    pub fn set_legacy_format(&self, legacy: bool) {
        lock(&self.environment.table).legacy = legacy;
    }

    /// Whether personal access tokens can be created and used; true at the start.
    pub fn set_personal_tokens_enabled(&self, enabled: bool) {
        lock(&self.environment.table).pat_enabled = enabled;
    }

    /// Every request takes this long before its effect.
    pub fn set_latency(&self, latency: Duration) {
        self.environment.site.set_latency(latency);
    }

    /// Puts a rule into force.
    pub fn fault(&self, rule: Rule) -> Fault {
        self.environment.site.faults.add(rule)
    }

    /// Takes all rules out of force.
    pub fn clear_faults(&self) {
        self.environment.site.faults.clear();
    }

    /// The requests seen since the start or the last reset.
    pub fn calls(&self) -> Vec<Call> {
        self.environment.site.calls.all()
    }

    /// Forgets the calls so far.
    pub fn reset_calls(&self) {
        self.environment.site.calls.reset();
    }

    /// How many requests of this kind were seen.
    pub fn count(&self, operation: Operation) -> usize {
        self.environment.site.calls.count(operation)
    }

    /// How many requests of each kind were seen.
    pub fn counts(&self) -> BTreeMap<Operation, usize> {
        self.environment.site.calls.counts()
    }
}
