//! What a test can see of an account and do to it by hand.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::State;
use super::oauth::Client;
use super::settings::AccountSettings;
use super::table::{Acceptance, PlatformToken, User};
use crate::calls::{Call, Operation, lock};
use crate::dynatrace::handle::Seeded;
use crate::dynatrace::history::{Actor, TokenChange};
use crate::dynatrace::secret::{client_pair, platform_pair, uuid};
use crate::fault::Rule;
use crate::fault::handle::Fault;
use crate::server::Site;

/// What the user interface proposes.
const LIFE: SignedDuration = SignedDuration::from_hours(90 * 24);

/// A platform token to be put into the account by hand.
#[derive(Clone)]
pub struct PlatformSeed {
    name: String,
    owner: String,
    scopes: Vec<String>,
    resources: Vec<String>,
    tags: Vec<String>,
    expires: Option<Timestamp>,
    enabled: bool,
}

impl PlatformSeed {
    /// An active token of this user with the scope `app-engine:apps:run`, for no environment, that lives for 90 days.
    pub fn new(name: &str, owner: &str) -> PlatformSeed {
        PlatformSeed {
            name: name.to_owned(),
            owner: owner.to_owned(),
            scopes: vec!["app-engine:apps:run".to_owned()],
            resources: Vec::new(),
            tags: Vec::new(),
            expires: None,
            enabled: true,
        }
    }

    /// Its scopes.
    #[must_use]
    pub fn scopes(mut self, scopes: &[&str]) -> PlatformSeed {
        self.scopes = scopes.iter().map(|&scope| scope.to_owned()).collect();
        self
    }

    /// May be used at the environment with this id; repeated for several.
    #[must_use]
    pub fn environment(mut self, id: &str) -> PlatformSeed {
        self.resources.push(format!("urn:dtenvironment:{id}"));
        self
    }

    /// Its tags.
    #[must_use]
    pub fn tags(mut self, tags: &[&str]) -> PlatformSeed {
        self.tags = tags.iter().map(|&tag| tag.to_owned()).collect();
        self
    }

    /// May lie in the past.
    #[must_use]
    pub fn expires(mut self, at: Timestamp) -> PlatformSeed {
        self.expires = Some(at);
        self
    }

    /// It is inactive from the beginning.
    #[must_use]
    pub fn disabled(mut self) -> PlatformSeed {
        self.enabled = false;
        self
    }
}

impl State {
    /// Puts a token in by hand.
    fn put(&mut self, token: PlatformToken) -> Seeded {
        let seeded = Seeded {
            id: token.id.clone(),
            value: token.value.clone(),
        };
        self.table.insert(token, Duration::ZERO, Actor::Hand);
        seeded
    }

    fn copy(&mut self, old: &PlatformToken, name: String, expires: Timestamp) -> Seeded {
        let owner = old.owner.clone();
        self.put(PlatformToken {
            scopes: old.scopes.clone(),
            resources: old.resources.clone(),
            tags: old.tags.clone(),
            ..PlatformToken::new(platform_pair(), name, owner, expires)
        })
    }
}

/// The account of a running simulator. Cloning gives another handle of the same account.
#[derive(Clone)]
pub struct Account {
    account: Arc<super::Account>,
    url: String,
}

impl fmt::Debug for Account {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Account")
            .field("uuid", &self.account.uuid)
            .finish_non_exhaustive()
    }
}

impl Account {
    pub(crate) fn new(account: Arc<super::Account>, url: String) -> Account {
        Account { account, url }
    }

    pub(crate) fn site(&self) -> &Site {
        &self.account.site
    }

    /// The UUID, as in `[account.X] uuid`.
    pub fn uuid(&self) -> &str {
        &self.account.uuid
    }

    /// The origin of the account API, without `/iam`.
    pub fn api_url(&self) -> &str {
        &self.url
    }

    /// The full URL that issues access tokens.
    pub fn sso_url(&self) -> String {
        format!("{}/sso/oauth2/token", self.url)
    }

    /// Changes settings; from the next request on.
    pub fn configure(&self, change: impl FnOnce(&mut AccountSettings)) {
        change(&mut lock(&self.account.state).settings);
    }

    /// A new person; returns the UUID.
    pub fn seed_user(&self) -> String {
        self.seed_owner(false)
    }

    /// A new service user; returns the UUID.
    pub fn seed_service_user(&self) -> String {
        self.seed_owner(true)
    }

    fn seed_owner(&self, service: bool) -> String {
        let id = uuid();
        let users = &mut lock(&self.account.state).table.users;
        let kind = if service { "service-user" } else { "person" };
        let name = format!("{kind}-{}", users.len() + 1);
        let user = User {
            service,
            email: format!("{name}@account.invalid"),
            name,
            group: uuid(),
            created: self.account.site.clock.now(),
            allowed: None,
        };
        users.insert(id.clone(), user);
        id
    }

    /// Removes a user; what the user owns stays, and nothing new can be made for the user.
    pub fn delete_user(&self, id: &str) {
        lock(&self.account.state).table.users.remove(id);
    }

    /// What the policies of a user allow from now on; everything unless set.
    pub fn set_policies(&self, user: &str, scopes: &[&str]) {
        if let Some(user) = lock(&self.account.state).table.users.get_mut(user) {
            user.allowed = Some(scopes.iter().map(|&scope| scope.to_owned()).collect());
        }
    }

    /// A new OAuth client, made by this user, that holds these scopes: its id and its secret.
    pub fn seed_client(&self, owner: &str, scopes: &[&str]) -> Seeded {
        let (id, value) = client_pair();
        let client = Client {
            secret: value.clone(),
            scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
            owner: owner.to_owned(),
        };
        let oauth = &mut lock(&self.account.state).oauth;
        oauth.issued.push(value.clone());
        oauth.clients.insert(id.clone(), client);
        Seeded { id, value }
    }

    /// Removes an OAuth client and its access tokens.
    pub fn delete_client(&self, id: &str) {
        let mut state = lock(&self.account.state);
        state.oauth.clients.remove(id);
        state
            .oauth
            .sessions
            .retain(|_, session| session.client != id);
    }

    /// Ends all access tokens before their time.
    pub fn end_sessions(&self) {
        lock(&self.account.state).oauth.sessions.clear();
    }

    /// Puts a platform token into the account; the environments know it at once.
    pub fn seed(&self, seed: PlatformSeed) -> Seeded {
        let mut state = lock(&self.account.state);
        let expires = seed.expires.unwrap_or(self.account.site.clock.now() + LIFE);
        let token = PlatformToken {
            scopes: seed.scopes,
            resources: seed.resources,
            tags: seed.tags,
            enabled: seed.enabled,
            ..PlatformToken::new(platform_pair(), seed.name, seed.owner, expires)
        };
        state.put(token)
    }

    /// As "Duplicate" in the user interface: all properties are copied, the name is put behind "Duplicate of: ". None when
    /// there is no such token.
    pub fn duplicate(&self, id: &str) -> Option<Seeded> {
        let mut state = lock(&self.account.state);
        let old = state.table.get(id)?.clone();
        let name = format!("Duplicate of: {}", old.name);
        Some(state.copy(&old, name, old.expires))
    }

    /// As "Rotate" in the user interface: a new token with the same properties and 90 days to live, while the old one expires
    /// after `overlap`. None when there is no such token.
    pub fn rotate(&self, id: &str, overlap: SignedDuration) -> Option<Seeded> {
        let mut state = lock(&self.account.state);
        let old = state.table.get(id)?.clone();
        let now = self.account.site.clock.now();
        let new = state.copy(&old, old.name.clone(), now + LIFE);
        state
            .table
            .set_expiry(id, now + overlap, Duration::ZERO, Actor::Hand);
        Some(new)
    }

    /// All platform tokens, expired ones included, oldest first.
    pub fn tokens(&self) -> Vec<PlatformToken> {
        lock(&self.account.state).table.iter().cloned().collect()
    }

    /// The token with this id; none = it is not there.
    pub fn token(&self, id: &str) -> Option<PlatformToken> {
        lock(&self.account.state).table.get(id).cloned()
    }

    /// Whether an environment would accept this value now. It does not count as a use.
    pub fn is_valid(&self, value: &str) -> bool {
        let now = self.account.site.clock.now();
        let state = lock(&self.account.state);
        let token = state.table.by_value(value);
        token.is_some_and(|token| token.acceptance(now, now) == Acceptance::Accepted)
    }

    /// Takes effect at once. False when there is no such token; so for all that follow.
    pub fn set_enabled(&self, id: &str, enabled: bool) -> bool {
        let mut state = lock(&self.account.state);
        state
            .table
            .set_enabled(id, enabled, Duration::ZERO, Actor::Hand)
    }

    /// Moves the expiry, as a person does in the user interface; false = there is no such token.
    pub fn set_expiry(&self, id: &str, at: Timestamp) -> bool {
        let mut state = lock(&self.account.state);
        state.table.set_expiry(id, at, Duration::ZERO, Actor::Hand)
    }

    /// Deletes a token, as a person does; false = there is no such token.
    pub fn delete(&self, id: &str) -> bool {
        lock(&self.account.state)
            .table
            .delete(id, Duration::ZERO, Actor::Hand)
    }

    /// As if a consumer had used the token.
    pub fn touch(&self, id: &str, ip: IpAddr, at: Timestamp) -> bool {
        lock(&self.account.state).table.touch(id, ip, at)
    }

    /// Every change of every platform token since the start, in order.
    pub fn history(&self) -> Vec<TokenChange> {
        lock(&self.account.state).table.history().to_vec()
    }

    /// Every secret of a platform token there ever was.
    pub fn issued(&self) -> Vec<String> {
        lock(&self.account.state).table.issued()
    }

    /// Every client secret and access token there ever was.
    pub fn credentials(&self) -> Vec<String> {
        lock(&self.account.state).oauth.issued.clone()
    }

    /// Puts a rule into force.
    pub fn fault(&self, rule: Rule) -> Fault {
        self.account.site.faults.add(rule)
    }

    /// Takes all rules back.
    pub fn clear_faults(&self) {
        self.account.site.faults.clear();
    }

    /// The requests seen since the start or the last reset.
    pub fn calls(&self) -> Vec<Call> {
        self.account.site.calls.all()
    }

    /// Forgets the calls so far.
    pub fn reset_calls(&self) {
        self.account.site.calls.reset();
    }

    /// How many requests of this kind arrived.
    pub fn count(&self, operation: Operation) -> usize {
        self.account.site.calls.count(operation)
    }

    /// The same of every kind that arrived.
    pub fn counts(&self) -> BTreeMap<Operation, usize> {
        self.account.site.calls.counts()
    }
}
