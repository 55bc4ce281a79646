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
pub(crate) struct User {
    pub(crate) service: bool,
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) group: String,
    pub(crate) created: Timestamp,
    /// What policies allow; everything unless given.
    pub(crate) allowed: Option<Vec<String>>,
}

/// One fact of a token as the environments come to know it: each change has its own delay, so that a quick one does not carry
/// a slow one along.
#[derive(Clone)]
struct Propagated<T>(Vec<(Timestamp, T)>);

impl<T: Copy> Propagated<T> {
    fn none() -> Propagated<T> {
        Propagated(Vec::new())
    }

    fn arrives(&mut self, at: Timestamp, value: T) {
        self.0.push((at, value));
    }

    /// The last change that has arrived.
    fn at(&self, now: Timestamp) -> Option<T> {
        let arrived = self.0.iter().rev().find(|(from, _)| *from <= now);
        arrived.map(|(_, value)| *value)
    }
}

/// What the environments know of a token.
#[derive(Clone)]
pub(crate) struct Effective {
    exists: Propagated<bool>,
    enabled: Propagated<bool>,
    expires: Propagated<Timestamp>,
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
    /// The public part: `dt0s16.PUBLIC`.
    pub id: String,
    /// The secret itself.
    pub value: String,
    /// The full name, marker included.
    pub name: String,
    /// The UUID of the owner.
    pub owner: String,
    /// What it may do, within the policies of its owner.
    pub scopes: Vec<String>,
    /// `urn:dtenvironment:ID` or `urn:dtaccount:UUID`, as it was created.
    pub resources: Vec<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// Active.
    pub enabled: bool,
    /// Its end; platform tokens always have one.
    pub expires: Timestamp,
    /// The last call that counts as a use.
    pub last_used: Option<Timestamp>,
    /// Where that call came from.
    pub last_used_ip: Option<IpAddr>,
    pub(crate) deleted: bool,
    /// When it came into being by a call, and when it was deleted: for a listing that lags behind.
    pub(crate) created: Option<Timestamp>,
    pub(crate) deleted_at: Option<Timestamp>,
    pub(crate) hidden: Option<Visibility>,
    pub(crate) effective: Effective,
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
            created: None,
            deleted_at: None,
            hidden: None,
            effective: Effective {
                exists: Propagated::none(),
                enabled: Propagated::none(),
                expires: Propagated::none(),
            },
        }
    }

    /// By a node that knows the changes as they arrive until `known_until`, which is the present unless it is ahead of others.
    pub(crate) fn acceptance(&self, now: Timestamp, known_until: Timestamp) -> Acceptance {
        let known = &self.effective;
        let gone = !known.exists.at(known_until).unwrap_or(false);
        if gone || self.hidden == Some(Visibility::Everywhere) {
            return Acceptance::Unknown;
        }
        let enabled = known.enabled.at(known_until).unwrap_or(self.enabled);
        let expires = known.expires.at(known_until).unwrap_or(self.expires);
        if enabled && expires > now {
            Acceptance::Accepted
        } else {
            Acceptance::DisabledOrExpired
        }
    }

    /// The environments learn of this change at that instant.
    fn arrives(&mut self, change: &Change, at: Timestamp) {
        let known = &mut self.effective;
        match change {
            Change::Created => {
                known.exists.arrives(at, true);
                known.enabled.arrives(at, self.enabled);
                known.expires.arrives(at, self.expires);
            }
            Change::Enabled | Change::Disabled => known.enabled.arrives(at, self.enabled),
            Change::Redated { .. } => known.expires.arrives(at, self.expires),
            Change::Deleted => known.exists.arrives(at, false),
            Change::Renamed { .. } | Change::Rescoped | Change::Purged => {}
        }
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

    /// What a listing shows that lags behind: what there was at that instant, with the attributes of now.
    pub(crate) fn iter_at(&self, at: Timestamp) -> impl Iterator<Item = &PlatformToken> {
        self.tokens.iter().filter(move |token| {
            token.created.is_none_or(|created| created <= at)
                && token.deleted_at.is_none_or(|deleted| deleted > at)
        })
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

    pub(crate) fn insert(&mut self, mut token: PlatformToken, lag: Duration, by: Actor) {
        token.created = by.is_call().then(|| self.clock.now());
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
        let change = Change::Redated { to: Some(expires) };
        self.change(id, lag, change, by, |token| token.expires = expires)
    }

    pub(crate) fn delete(&mut self, id: &str, lag: Duration, by: Actor) -> bool {
        let now = self.clock.now();
        self.change(id, lag, Change::Deleted, by, |token| {
            token.deleted = true;
            token.deleted_at = Some(now);
        })
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
        token.arrives(&change, now + lag);
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
