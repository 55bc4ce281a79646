//! The platform tokens of an account, with the time until a change takes effect at the environments.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use crate::clock::Clock;
use crate::dynatrace::history::{Actor, Change, TokenChange};
use crate::fault::Visibility;

/// Somebody who can own platform tokens.
#[derive(Default)]
pub(crate) struct User {
    pub(crate) service: bool,
    /// What policies allow; everything unless given.
    pub(crate) allowed: Option<Vec<String>>,
}

/// What the environments know of a token from an instant on.
#[derive(Clone, Copy)]
pub(crate) struct Effective {
    from: Timestamp,
    enabled: bool,
    expires: Timestamp,
    deleted: bool,
}

/// How an environment takes a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acceptance {
    Accepted,
    Unknown,
    DisabledOrExpired,
}

/// One platform token. `Debug` leaves the value out.
#[derive(Clone)]
pub struct PlatformToken {
    pub id: String,
    /// The secret itself.
    pub value: String,
    pub name: String,
    /// The UUID of the owner.
    pub owner: String,
    pub scopes: Vec<String>,
    pub resources: Vec<String>,
    pub tags: Vec<String>,
    pub enabled: bool,
    pub expires: Timestamp,
    pub last_used: Option<Timestamp>,
    pub last_used_ip: Option<IpAddr>,
    pub(crate) deleted: bool,
    pub(crate) hidden: Option<Visibility>,
    pub(crate) effective: Vec<Effective>,
}

impl fmt::Debug for PlatformToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("PlatformToken")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("owner", &self.owner)
            .field("scopes", &self.scopes)
            .field("enabled", &self.enabled)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

impl PlatformToken {
    /// A new one that no environment knows yet.
    pub(crate) fn new(
        pair: (String, String),
        name: String,
        owner: String,
        expires: Timestamp,
    ) -> PlatformToken {
        PlatformToken {
            id: pair.0,
            value: pair.1,
            name,
            owner,
            scopes: Vec::new(),
            resources: Vec::new(),
            tags: Vec::new(),
            enabled: true,
            expires,
            last_used: None,
            last_used_ip: None,
            deleted: false,
            hidden: None,
            effective: Vec::new(),
        }
    }

    pub(crate) fn acceptance(&self, now: Timestamp) -> Acceptance {
        let effective = self.effective.iter().rev().find(|state| state.from <= now);
        match effective {
            _ if self.hidden == Some(Visibility::Everywhere) => Acceptance::Unknown,
            None => Acceptance::Unknown,
            Some(state) if state.deleted => Acceptance::Unknown,
            Some(state) if !state.enabled || state.expires <= now => Acceptance::DisabledOrExpired,
            Some(_) => Acceptance::Accepted,
        }
    }

    fn takes_effect(&mut self, from: Timestamp) {
        self.effective.push(Effective {
            from,
            enabled: self.enabled,
            expires: self.expires,
            deleted: self.deleted,
        });
    }
}

pub(crate) struct Table {
    clock: Clock,
    pub(crate) users: HashMap<String, User>,
    tokens: Vec<PlatformToken>,
    history: Vec<TokenChange>,
}

impl Table {
    pub(crate) fn new(clock: Clock) -> Table {
        Table {
            clock,
            users: HashMap::new(),
            tokens: Vec::new(),
            history: Vec::new(),
        }
    }

    /// What there is, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &PlatformToken> {
        self.tokens.iter().filter(|token| !token.deleted)
    }

    pub(crate) fn get(&self, id: &str) -> Option<&PlatformToken> {
        self.iter().find(|token| token.id == id)
    }

    /// Deleted ones included, as their deletion may not have taken effect yet.
    pub(crate) fn by_value(&self, value: &str) -> Option<&PlatformToken> {
        self.tokens.iter().find(|token| token.value == value)
    }

    pub(crate) fn history(&self) -> &[TokenChange] {
        &self.history
    }

    pub(crate) fn issued(&self) -> Vec<String> {
        self.tokens
            .iter()
            .map(|token| token.value.clone())
            .collect()
    }

    /// How many tokens the owner has, expired ones included.
    pub(crate) fn owned(&self, owner: &str) -> usize {
        self.iter().filter(|token| token.owner == owner).count()
    }

    pub(crate) fn insert(&mut self, token: PlatformToken, lag: Duration, by: Actor) {
        self.tokens.push(token);
        let last = self.tokens.len() - 1;
        self.changed(last, lag, Change::Created, by);
    }

    /// False when there is no such token; so for all that follow.
    pub(crate) fn set_enabled(
        &mut self,
        id: &str,
        enabled: bool,
        lag: Duration,
        by: Actor,
    ) -> bool {
        let change = if enabled {
            Change::Enabled
        } else {
            Change::Disabled
        };
        self.change(id, lag, change, by, |token| token.enabled = enabled)
    }

    pub(crate) fn set_expiry(
        &mut self,
        id: &str,
        expires: Timestamp,
        lag: Duration,
        by: Actor,
    ) -> bool {
        self.change(id, lag, Change::Redated, by, |token| {
            token.expires = expires
        })
    }

    pub(crate) fn delete(&mut self, id: &str, lag: Duration, by: Actor) -> bool {
        self.change(id, lag, Change::Deleted, by, |token| token.deleted = true)
    }

    pub(crate) fn touch(&mut self, id: &str, ip: IpAddr, at: Timestamp) -> bool {
        let Some(token) = self.tokens.iter_mut().find(|token| token.id == id) else {
            return false;
        };
        token.last_used = Some(at);
        token.last_used_ip = Some(ip);
        true
    }

    pub(crate) fn reveal(&mut self, id: &str) {
        if let Some(token) = self.tokens.iter_mut().find(|token| token.id == id) {
            token.hidden = None;
        }
    }

    fn change(
        &mut self,
        id: &str,
        lag: Duration,
        change: Change,
        by: Actor,
        apply: impl FnOnce(&mut PlatformToken),
    ) -> bool {
        let found = self
            .tokens
            .iter()
            .position(|token| token.id == id && !token.deleted);
        let Some(at) = found else { return false };
        apply(&mut self.tokens[at]);
        self.changed(at, lag, change, by);
        true
    }

    fn changed(&mut self, at: usize, lag: Duration, change: Change, by: Actor) {
        let now = self.clock.now();
        let lag = SignedDuration::try_from(lag).unwrap_or_default();
        let token = &mut self.tokens[at];
        token.takes_effect(now + lag);
        self.history.push(TokenChange {
            sequence: self.clock.next_sequence(),
            at: now,
            instant: Instant::now(),
            token_id: token.id.clone(),
            name: token.name.clone(),
            change,
            by,
        });
    }
}
