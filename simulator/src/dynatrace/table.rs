//! The token table that both API generations work on, and its append-only history.
//!
//! Nothing here answers HTTP. Every change of a token goes through this file, so that the history is complete.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};

use super::history::{Actor, Change, TokenChange};
use super::secret::{active_gate_pair, dotted_pair, legacy_pair};
use crate::clock::Clock;
use crate::fault::Visibility;

/// Expired tokens stay visible for this long, then the system deletes them (said by a Dynatrace employee in the community).
const PURGED_AFTER: SignedDuration = SignedDuration::from_hours(7 * 24);

/// One token as the table holds it.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) id: String,
    pub(crate) value: String,
    pub(crate) name: String,
    pub(crate) owner: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) enabled: bool,
    pub(crate) personal: bool,
    pub(crate) created: Timestamp,
    pub(crate) modified: Option<Timestamp>,
    pub(crate) expires: Option<Timestamp>,
    pub(crate) last_used: Option<Timestamp>,
    pub(crate) last_used_ip: Option<IpAddr>,
    pub(crate) hidden: Option<Visibility>,
    /// Breaks ties among tokens created in the same instant.
    pub(crate) order: u64,
    pub(crate) active_gate: Option<ActiveGate>,
}

/// What an ActiveGate token has besides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveGate {
    /// `ENVIRONMENT` or `CLUSTER`; none when it was made by fleet management.
    pub kind: Option<String>,
    /// It is a seed token, with which ActiveGates get tokens of their own.
    pub seed: bool,
}

impl Token {
    pub(crate) fn expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    pub(crate) fn has(&self, scope: &str) -> bool {
        self.scopes.iter().any(|own| own == scope)
    }

    pub(crate) fn listed(&self) -> bool {
        self.hidden.is_none()
    }

    pub(crate) fn found(&self) -> bool {
        self.hidden
            .is_none_or(|hidden| hidden < Visibility::ListAndGet)
    }

    fn info(&self) -> TokenInfo {
        TokenInfo {
            id: self.id.clone(),
            value: self.value.clone(),
            name: self.name.clone(),
            owner: self.owner.clone(),
            scopes: self.scopes.clone(),
            enabled: self.enabled,
            personal: self.personal,
            created: self.created,
            modified: self.modified,
            expires: self.expires,
            last_used: self.last_used,
            last_used_ip: self.last_used_ip,
            active_gate: self.active_gate.clone(),
        }
    }
}

/// A token as a test sees it. `Debug` leaves the value out.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenInfo {
    /// The public part: `dt0c01.PUBLIC`.
    pub id: String,
    /// The secret itself.
    pub value: String,
    /// The full name, marker included.
    pub name: String,
    /// Who created it.
    pub owner: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// Calls with it are accepted.
    pub enabled: bool,
    /// It is a personal access token.
    pub personal: bool,
    /// By the clock of the stand-in.
    pub created: Timestamp,
    /// The last change of name or scopes; `enabled` does not move it.
    pub modified: Option<Timestamp>,
    /// Its end; none = never.
    pub expires: Option<Timestamp>,
    /// The last call that counts as a use.
    pub last_used: Option<Timestamp>,
    /// Where that call came from.
    pub last_used_ip: Option<IpAddr>,
    /// Present for ActiveGate tokens only.
    pub active_gate: Option<ActiveGate>,
}

impl fmt::Debug for TokenInfo {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("TokenInfo")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("owner", &self.owner)
            .field("scopes", &self.scopes)
            .field("enabled", &self.enabled)
            .field("personal", &self.personal)
            .field("created", &self.created)
            .field("expires", &self.expires)
            .field("last_used", &self.last_used)
            .finish_non_exhaustive()
    }
}

/// What a new token is made of.
pub(crate) struct NewToken {
    pub(crate) name: String,
    pub(crate) owner: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) personal: bool,
    pub(crate) enabled: bool,
    pub(crate) created: Timestamp,
    pub(crate) expires: Option<Timestamp>,
    pub(crate) hidden: Option<Visibility>,
    pub(crate) active_gate: Option<ActiveGate>,
}

/// All tokens of one environment.
pub(crate) struct Table {
    clock: Clock,
    tokens: HashMap<String, Token>,
    ids_by_value: HashMap<String, String>,
    history: Vec<TokenChange>,
    issued: Vec<String>,
    next_purge: Option<Timestamp>,
    order: u64,
    /// New tokens get a UUID and an opaque secret, as before Dynatrace 1.210.
    pub(crate) legacy: bool,
    pub(crate) pat_enabled: bool,
}

impl Table {
    pub(crate) fn new(clock: Clock) -> Table {
        Table {
            clock,
            tokens: HashMap::new(),
            ids_by_value: HashMap::new(),
            history: Vec::new(),
            issued: Vec::new(),
            next_purge: None,
            order: 0,
            legacy: false,
            pat_enabled: true,
        }
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Token> {
        self.tokens.get(id)
    }

    pub(crate) fn by_value(&self, value: &str) -> Option<&Token> {
        self.tokens.get(self.ids_by_value.get(value)?)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Token> {
        self.tokens.values()
    }

    pub(crate) fn history(&self) -> &[TokenChange] {
        &self.history
    }

    /// Every secret there ever was, those of deleted tokens included.
    pub(crate) fn issued(&self) -> &[String] {
        &self.issued
    }

    /// Everything there is, oldest first.
    pub(crate) fn snapshot(&self) -> Vec<TokenInfo> {
        let mut tokens: Vec<&Token> = self.tokens.values().collect();
        tokens.sort_by_key(|token| token.order);
        tokens.into_iter().map(Token::info).collect()
    }

    pub(crate) fn info(&self, id: &str) -> Option<TokenInfo> {
        self.get(id).map(Token::info)
    }

    pub(crate) fn info_by_value(&self, value: &str) -> Option<TokenInfo> {
        self.by_value(value).map(Token::info)
    }

    /// Whether a call with this value would be authenticated now.
    pub(crate) fn authenticates(&self, value: &str, now: Timestamp) -> Option<&Token> {
        self.by_value(value).filter(|token| {
            token.enabled
                && !token.expired(now)
                && token.hidden != Some(Visibility::Everywhere)
                && (self.pat_enabled || !token.personal)
        })
    }

    pub(crate) fn create(&mut self, new: NewToken, by: Actor) -> &Token {
        let (id, value) = if new.active_gate.is_some() {
            active_gate_pair()
        } else if self.legacy {
            legacy_pair()
        } else {
            dotted_pair()
        };
        self.insert(id, value, new, by)
    }

    /// For tokens with a value from outside.
    pub(crate) fn insert(&mut self, id: String, value: String, new: NewToken, by: Actor) -> &Token {
        self.order += 1;
        let token = Token {
            id: id.clone(),
            value: value.clone(),
            name: new.name,
            owner: new.owner,
            scopes: new.scopes,
            enabled: new.enabled,
            personal: new.personal,
            created: new.created,
            modified: None,
            expires: new.expires,
            last_used: None,
            last_used_ip: None,
            hidden: new.hidden,
            order: self.order,
            active_gate: new.active_gate,
        };
        self.plan_purge(token.expires);
        self.note(&token, Change::Created, by);
        self.issued.push(value.clone());
        self.ids_by_value.insert(value, id.clone());
        self.tokens.entry(id).insert_entry(token).into_mut()
    }

    /// False when there is no such token. Does not move `modified`.
    pub(crate) fn set_enabled(&mut self, id: &str, enabled: bool, by: Actor) -> bool {
        let Some(token) = self.tokens.get_mut(id) else {
            return false;
        };
        if token.enabled != enabled {
            token.enabled = enabled;
            let change = if enabled {
                Change::Enabled
            } else {
                Change::Disabled
            };
            let token = token.clone();
            self.note(&token, change, by);
        }
        true
    }

    pub(crate) fn rename(&mut self, id: &str, name: &str, by: Actor) -> bool {
        let now = self.clock.now();
        let Some(token) = self.tokens.get_mut(id) else {
            return false;
        };
        if token.name != name {
            let from = std::mem::replace(&mut token.name, name.to_owned());
            token.modified = Some(now);
            let token = token.clone();
            self.note(&token, Change::Renamed { from }, by);
        }
        true
    }

    pub(crate) fn set_scopes(&mut self, id: &str, scopes: Vec<String>, by: Actor) -> bool {
        let now = self.clock.now();
        let Some(token) = self.tokens.get_mut(id) else {
            return false;
        };
        if token.scopes != scopes {
            token.scopes = scopes;
            token.modified = Some(now);
            let token = token.clone();
            self.note(&token, Change::Rescoped, by);
        }
        true
    }

    /// No API can do this; it lets a test age a token.
    pub(crate) fn set_expiry(&mut self, id: &str, expires: Option<Timestamp>, by: Actor) -> bool {
        let Some(token) = self.tokens.get_mut(id) else {
            return false;
        };
        token.expires = expires;
        let token = token.clone();
        self.plan_purge(expires);
        self.note(&token, Change::Redated { to: expires }, by);
        true
    }

    pub(crate) fn touch(&mut self, id: &str, ip: IpAddr, at: Timestamp) -> bool {
        let Some(token) = self.tokens.get_mut(id) else {
            return false;
        };
        token.last_used = Some(at);
        token.last_used_ip = Some(ip);
        true
    }

    pub(crate) fn reveal(&mut self, id: &str) {
        if let Some(token) = self.tokens.get_mut(id) {
            token.hidden = None;
        }
    }

    pub(crate) fn delete(&mut self, id: &str, by: Actor) -> bool {
        self.take_out(id, Change::Deleted, by)
    }

    /// Deletes what has been expired for seven days. Cheap while nothing is due.
    pub(crate) fn purge(&mut self) {
        let now = self.clock.now();
        if self.next_purge.is_none_or(|next| next > now) {
            return;
        }
        let gone = |token: &Token| {
            token
                .expires
                .and_then(purge_time)
                .is_some_and(|at| at <= now)
        };
        let ids: Vec<String> = self
            .iter()
            .filter(|token| gone(token))
            .map(|token| token.id.clone())
            .collect();
        for id in ids {
            self.take_out(&id, Change::Purged, Actor::System);
        }
        self.next_purge = self
            .iter()
            .filter_map(|token| token.expires.and_then(purge_time))
            .min();
    }

    fn plan_purge(&mut self, expires: Option<Timestamp>) {
        if let Some(at) = expires.and_then(purge_time) {
            self.next_purge = Some(self.next_purge.map_or(at, |next| next.min(at)));
        }
    }

    fn take_out(&mut self, id: &str, change: Change, by: Actor) -> bool {
        let Some(token) = self.tokens.remove(id) else {
            return false;
        };
        self.ids_by_value.remove(&token.value);
        self.note(&token, change, by);
        true
    }

    fn note(&mut self, token: &Token, change: Change, by: Actor) {
        self.history.push(TokenChange {
            sequence: self.clock.next_sequence(),
            at: self.clock.now(),
            instant: Instant::now(),
            token_id: token.id.clone(),
            name: token.name.clone(),
            change,
            by,
        });
    }
}

fn purge_time(expires: Timestamp) -> Option<Timestamp> {
    expires.checked_add(PURGED_AFTER).ok()
}
