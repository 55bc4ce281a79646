//! The platform tokens of a Dynatrace account: [`TokenIssuer`] over the account API, shared by all environments of the account.
//!
//! `sso` has the access tokens, `api` the calls and shapes, `listing` the complete listing, `slots` the limit of an owner, `trial` the calls by
//! which a value shows that it works.

mod api;
mod listing;
mod slots;
mod sso;
mod trial;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::Mutex;

use super::BaseUrl;
use super::answer::{Answer, Body};
use super::call::{Call, Scheme, Via, Wire};
use super::form::{flaw, is_plain};
use crate::clock;
use crate::http::{self, BuildError, ServerClock};
use api::Api;
use rotation::capabilities::{Absence, Capabilities, Expiry, Proof};
use rotation::error::{CallError, ErrorKind, Service};
use rotation::ports::{TokenIssuer, TrialOptions};
use rotation::token::{MintRequest, Minted, TokenId, TokenInfo, TokenValue, Trial};
pub use slots::OwnerLoad;
use slots::Slots;
use sso::Sso;
pub use sso::{OAuthClient, unusable_client};
use trial::{Shown, TrialCall};
pub use trial::{Trials, WORDS as TRIAL_WORDS};

/// The scopes that the OAuth client needs, no more: a request for one that it does not hold is refused as a whole.
pub const SCOPES: [&str; 2] = [
    "platform-token:tokens:manage",
    "platform-token:tokens:write",
];

/// What an account's client needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountOptions {
    /// The name in the configuration.
    pub name: String,
    /// The UUID of the account.
    pub uuid: String,
    /// The origin of the account API, `https://api.dynatrace.com` unless set.
    pub api_url: BaseUrl,
    /// The origin of the single sign-on, `https://sso.dynatrace.com` unless set.
    pub sso_url: BaseUrl,
    /// How many tokens one owner may have.
    pub limit: usize,
    /// How both are reached.
    pub http: http::Options,
}

impl AccountOptions {
    /// The name in logs and sentences.
    pub fn service(&self) -> String {
        format!("account {}", self.name)
    }

    /// The place that identifies the account's tokens.
    pub fn place(&self) -> String {
        format!("{}/iam/v1/accounts/{}", self.api_url, self.uuid)
    }
}

/// One account. Cheap to clone; all clones share connections, access token and listing.
#[derive(Clone)]
pub struct Account(Arc<Shared>);

struct Shared {
    wire: Wire,
    sso: Sso,
    api: Api,
    limit: usize,
    trials: Trials,
    slots: Slots,
    /// The last listing, and when it was begun.
    listed: Mutex<Option<(Instant, Arc<Vec<TokenInfo>>)>>,
}

impl Account {
    /// A client for one account. `client` reads the OAuth client's credentials from where they are kept. Nothing is sent here.
    ///
    /// # Errors
    /// As [`super::Dynatrace::new`].
    pub fn new<F, Fut>(
        options: &AccountOptions,
        trials: Trials,
        client: F,
    ) -> Result<Self, BuildError>
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<OAuthClient, CallError>> + Send + 'static,
    {
        let name = options.service();
        let scheme = Scheme {
            word: "Bearer",
            credential: "the access token of the OAuth client",
            has_envelope: false,
        };
        let sso = Sso::new(
            &name,
            &options.sso_url,
            &options.http,
            &options.uuid,
            client,
        )?;
        Ok(Account(Arc::new(Shared {
            wire: Wire::to(&name, &options.api_url, &options.http, scheme)?,
            sso,
            api: Api {
                uuid: options.uuid.clone(),
            },
            limit: options.limit,
            trials,
            slots: Slots::default(),
            listed: Mutex::default(),
        })))
    }

    /// How far the account API's clock is from ours.
    pub fn clock(&self) -> &ServerClock {
        self.0.wire.clock()
    }

    /// How far the clock of the single sign-on is from ours.
    pub fn sso_clock(&self) -> &ServerClock {
        self.0.sso.clock()
    }

    /// The next access token is asked for with the OAuth client as it is in Vault then.
    pub fn forget_client(&self) {
        self.0.sso.forget();
    }

    /// Proves that the OAuth client is accepted.
    ///
    /// # Errors
    /// `Unauthorized` = it is not.
    pub async fn check_client(&self) -> Result<(), CallError> {
        self.0.sso.token(&SCOPES).await.map(drop)
    }

    /// The scopes that the OAuth client lacks, each asked for alone.
    ///
    /// # Errors
    /// The single sign-on cannot be asked.
    pub async fn missing_scopes(&self) -> Result<Vec<&'static str>, CallError> {
        let mut missing = vec![];
        for scope in SCOPES {
            if !self.0.sso.holds(scope).await? {
                missing.push(scope);
            }
        }
        Ok(missing)
    }

    /// How many tokens one owner may have.
    pub fn limit(&self) -> usize {
        self.0.limit
    }

    /// A call by which a token with these scopes could show that it works.
    pub fn can_be_tried(scopes: &[String], trial: TrialOptions<'_>) -> bool {
        Trials::choose(scopes, trial.by).is_some()
    }
}

impl Shared {
    /// Sends a call with an access token; a refused one is replaced once.
    async fn manage(&self, call: &Call) -> Result<Answer, CallError> {
        let token = self.sso.token(&SCOPES).await?;
        let answer = self.wire.send(call, &token, Via::Pool).await?;
        if answer.status != 401 {
            return Ok(answer);
        }
        let token = self.sso.renewed(&token, &SCOPES).await?;
        self.wire.send(call, &token, Via::Pool).await
    }

    fn check(&self, answer: &Answer) -> Result<(), CallError> {
        answer.check(&SCOPES)
    }

    /// A listing that began after this was called. However many ask at the same time, the account is asked at most twice.
    async fn listing(&self) -> Result<(Instant, Arc<Vec<TokenInfo>>), CallError> {
        let asked = Instant::now();
        let mut last = self.listed.lock().await;
        if let Some((began, tokens)) = &*last
            && *began >= asked
        {
            return Ok((*began, tokens.clone()));
        }
        let began = Instant::now();
        let tokens = Arc::new(listing::complete(self).await?);
        *last = Some((began, tokens.clone()));
        Ok((began, tokens))
    }

    async fn listed(&self, id: &TokenId) -> Result<TokenInfo, CallError> {
        let (_, tokens) = self.listing().await?;
        let found = tokens.iter().find(|token| token.id == *id);
        found.cloned().ok_or_else(|| self.not_listed(id))
    }

    /// A value shows its id; one that does not is not a platform token.
    fn id_of(&self, value: &TokenValue) -> Result<TokenId, CallError> {
        let wrong = match (value.id(), flaw(value)) {
            (Some(id), None) => return Ok(id),
            (_, Some(flaw)) => flaw,
            (None, None) => "is not a platform token",
        };
        // No token has such a value, so none is known by it.
        Err(CallError {
            kind: ErrorKind::Gone,
            ..self.refuse(&format!("the value in Vault {wrong}"))
        })
    }

    fn refuse(&self, why: &str) -> CallError {
        let what = format!("Dynatrace {} was not asked: {why}", self.wire.name);
        CallError::new(Service::Dynatrace, ErrorKind::Refused, what)
    }

    /// An id is part of a path: it must be one plain segment.
    async fn change(&self, id: &TokenId, call: &Call) -> Result<Answer, CallError> {
        if !is_plain(id) {
            return Err(self.refuse("the id has a form that no token id has"));
        }
        let answer = self.manage(call).await?;
        // What the answer to a change holds is not documented.
        self.check(&answer)?;
        Ok(answer)
    }

    /// What trying `value` shows.
    async fn attempt(
        &self,
        value: &TokenValue,
        call: &TrialCall,
        trial: TrialOptions<'_>,
    ) -> Result<Shown, CallError> {
        self.trials.attempt(trial.environment, call, value).await
    }

    /// The value that is to be replaced is refused in the same way, although its token is listed as active: the trial says nothing of either.
    async fn fails_alike(
        &self,
        control: Option<&TokenValue>,
        refused: u16,
        call: &TrialCall,
        trial: TrialOptions<'_>,
    ) -> Result<bool, CallError> {
        let Some((control, id)) = control.and_then(|value| Some((value, value.id()?))) else {
            return Ok(false);
        };
        let listed = match self.listed(&id).await {
            Ok(info) => info,
            Err(error) if error.kind == ErrorKind::Gone => return Ok(false),
            Err(error) => return Err(error),
        };
        if !listed.enabled || listed.expires.is_some_and(|end| end <= clock::now()) {
            return Ok(false);
        }
        let shown = self.attempt(control, call, trial).await?;
        Ok(shown == Shown::Refused(refused))
    }

    fn not_accepted(&self, id: &TokenId, status: u16, trial: TrialOptions<'_>) -> CallError {
        let what = format!(
            "Dynatrace {} does not (yet) accept the value of {id}: {status}",
            trial.environment
        );
        CallError::new(Service::Dynatrace, ErrorKind::Gone, what)
    }

    fn odd_listing(&self, why: &str) -> CallError {
        let what = format!(
            "Dynatrace {} was asked to list its tokens, and the listing {why}, so it proves nothing",
            self.wire.name
        );
        CallError::new(Service::Dynatrace, ErrorKind::Transient, what)
    }

    /// The tokens are listed, and this one is not among them.
    fn not_listed(&self, id: &TokenId) -> CallError {
        let what = format!("Dynatrace {} does not list the token {id}", self.wire.name);
        CallError::new(Service::Dynatrace, ErrorKind::Gone, what)
    }

    fn exhausted(&self, owner: &str, load: &OwnerLoad, minting: usize) -> CallError {
        let what = format!(
            "no token was created: the owner {owner} has {} in {}; delete those that nobody uses, or give secrets to another owner",
            load.describe(self.limit, minting),
            self.wire.name
        );
        CallError::new(Service::Dynatrace, ErrorKind::Exhausted, what)
    }
}

impl TokenIssuer for Account {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            disable: true,
            rename: false,
            redate: true,
            read_by_id: false,
            proof: Proof::Probe,
            absence: Absence::Listing,
            expiry: Expiry::Required,
            // Disabling is said to take five minutes; how long a new token takes is not documented.
            propagation: Duration::from_secs(600),
            name_limit: 255,
        }
    }

    /// The token whose id the value shows. That proves nothing of the value.
    async fn look_up_value(&self, value: &TokenValue) -> Result<TokenInfo, CallError> {
        let id = self.0.id_of(value)?;
        self.0.listed(&id).await
    }

    async fn look_up(&self, id: &TokenId) -> Result<TokenInfo, CallError> {
        self.0.listed(id).await
    }

    async fn mint(&self, order: &MintRequest) -> Result<Minted, CallError> {
        let account = &self.0;
        let call = account.api.mint(order).map_err(|why| account.refuse(why))?;
        let owner = slots::owner(&order.traits).unwrap_or_default();
        let (began, tokens) = account.listing().await?;
        let load = OwnerLoad::count(owner, &tokens, clock::now());
        let held = account.slots.hold(owner, load.used, began, account.limit);
        let slot = held.map_err(|minting| account.exhausted(owner, &load, minting))?;
        let answer = account.manage(&call).await?;
        if let Err(error) = account.check(&answer) {
            if error.kind != ErrorKind::Unclear {
                slot.free();
            }
            if answer.status == 400 {
                // Another process may have taken the last slot.
                let (_, tokens) = account.listing().await?;
                let load = OwnerLoad::count(owner, &tokens, clock::now());
                if load.used >= account.limit {
                    return Err(account.exhausted(owner, &load, 0));
                }
            }
            return Err(answer.name_scopes(&order.scopes, error));
        }
        api::read_minted(&answer)
    }

    async fn prove_value(
        &self,
        value: &TokenValue,
        trial: TrialOptions<'_>,
    ) -> Result<TokenInfo, CallError> {
        let id = self.0.id_of(value)?;
        let info = self.0.listed(&id).await?;
        let Some(call) = Trials::choose(&info.scopes, trial.by) else {
            return Err(self
                .0
                .refuse("no call that the token may make proves its value"));
        };
        match self.0.attempt(value, &call, trial).await? {
            Shown::Works => Ok(info),
            Shown::Refused(status) => {
                let why = format!("a call with the value of {id} was answered {status}");
                Err(self.0.refuse(&why))
            }
        }
    }

    async fn verify(
        &self,
        value: &TokenValue,
        control: Option<&TokenValue>,
        trial: TrialOptions<'_>,
    ) -> Result<Trial, CallError> {
        let id = self.0.id_of(value)?;
        let token = self.0.listed(&id).await?;
        let call = match Trials::choose(&token.scopes, trial.by) {
            Some(call) if token.enabled => call,
            _ => {
                return Ok(Trial {
                    token,
                    proven: false,
                });
            }
        };
        let proven = match self.0.attempt(value, &call, trial).await? {
            Shown::Works => true,
            Shown::Refused(status) => {
                if !self.0.fails_alike(control, status, &call, trial).await? {
                    return Err(self.0.not_accepted(&id, status, trial));
                }
                false
            }
        };
        Ok(Trial { token, proven })
    }

    async fn prove_manager(&self, _: &TokenValue, _: Option<&TokenId>) -> Result<(), CallError> {
        Err(self
            .0
            .refuse("platform tokens do not manage platform tokens"))
    }

    async fn set_enabled(&self, id: &TokenId, enabled: bool) -> Result<(), CallError> {
        let change = self.0.api.set_enabled(id, enabled);
        self.0.change(id, &change).await.map(drop)
    }

    async fn redate(&self, id: &TokenId, until: Timestamp) -> Result<(), CallError> {
        let change = self.0.api.redate(id, until);
        self.0.change(id, &change).await.map(drop)
    }

    async fn rename(&self, _: &TokenId, _: &str) -> Result<(), CallError> {
        Err(self.0.refuse("platform tokens cannot be renamed"))
    }

    /// The answer to a second deletion is an error whose status is not documented: the listing decides. So it does where something in between
    /// may have answered, because a token that is believed to be gone is never looked at again.
    async fn delete(&self, id: &TokenId) -> Result<(), CallError> {
        let deleted = self.0.change(id, &self.0.api.delete(id)).await;
        match deleted {
            Err(error) if error.kind == ErrorKind::Refused => match self.0.listed(id).await {
                Err(gone) if gone.kind == ErrorKind::Gone => Err(gone),
                _ => Err(error),
            },
            Ok(answer) if !matches!(answer.body, Body::Empty) => Err(answer.odd("it has a body")),
            deleted => deleted.map(drop),
        }
    }

    async fn list_marked(&self) -> Result<Vec<TokenInfo>, CallError> {
        Ok(self.0.listing().await?.1.as_ref().clone())
    }

    async fn probe_known_token(&self) -> Result<(), CallError> {
        self.0.listing().await.map(drop)
    }
}
