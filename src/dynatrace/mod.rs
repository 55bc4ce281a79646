//! Dynatrace environments: [`TokenIssuer`] over the classic tokens APIs, v2 and v1, and that of a Managed cluster.
//!
//! A [`Dynatrace`] is one environment; all jobs share it, so that they share its connections and its management token. It never
//! repeats a call whose outcome is unknown, and it waits for nothing: what to do after a failure is the caller's business; the kind of
//! the error says what is possible. It never writes a token value anywhere but into a request.
//!
//! The files, in reading order: `url` (the addresses below an environment's), `call` (one request and its sending), `answer` (what a
//! status and a body mean), `credential` (the management token: cached, read again when refused), `generation` with `v2` and `v1`
//! (paths and shapes, pure), `scopes` (those that are known), `events` (the events API, for notifications), `issuer` (an
//! issuer of any kind of token), and the small helpers `form`, `message`, `wait`, `when`.
//!
//! `active_gate` has the ActiveGate tokens of an environment, `platform` the platform tokens of an account: another host, OAuth in place of a
//! management token. [`Issuer`] is any of them.

mod active_gate;
mod answer;
mod call;
mod credential;
mod events;
mod form;
mod generation;
mod issuer;
mod message;
mod platform;
mod scopes;
mod url;
mod v1;
mod v2;
mod wait;
mod when;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

pub use active_gate::ActiveGates;
use answer::Answer;
use call::{Call, Effect, Via, Wire};
use credential::Credential;
pub use events::Events;
pub use form::flaw as value_flaw;
use form::{flaw, is_plain, is_sendable, shown};
use generation::Generation;
pub use issuer::Issuer;
pub use platform::{
    Account, AccountOptions, OAuthClient, OwnerLoad, SCOPES as ACCOUNT_SCOPES, TRIAL_WORDS, Trials,
    unusable_client,
};
pub use scopes::{CLUSTER_SCOPES, SCOPES, add_in_dynatrace, in_words as scopes_in_words};
pub use url::BaseUrl;

use crate::http::{self, BuildError};
use rotation::capabilities::Capabilities;
use rotation::error::{CallError, ErrorKind, Service};
use rotation::marker::Marker;
use rotation::ports::{TokenIssuer, TrialOptions};
use rotation::token::{MintRequest, Minted, TokenId, TokenInfo, TokenValue, Trial};

/// A listing of more pages than this is taken for one that goes in circles: 500,000 tokens.
const MOST_PAGES: usize = 1000;

/// Tokens of an inventory that are looked up at the same time.
const LOOK_UPS_AT_ONCE: usize = 16;

/// Which generation of the tokens API an environment is asked through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Api {
    /// `/api/v1/tokens`
    V1,
    /// `/api/v2/apiTokens`
    V2,
    /// `/api/cluster/v2/tokens` of a Managed cluster, which is not an environment.
    Cluster,
}

impl Api {
    fn generation(self) -> &'static dyn Generation {
        match self {
            Api::V1 => &v1::ENVIRONMENT,
            Api::Cluster => &v1::CLUSTER,
            Api::V2 => &v2::V2,
        }
    }
}

/// What an environment's client needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The name in configuration, logs and error sentences.
    pub name: String,
    /// Where it is.
    pub base_url: BaseUrl,
    /// How its tokens are managed.
    pub api: Api,
    /// How it is reached.
    pub http: http::Options,
}

/// One Dynatrace environment. Cheap to clone; all clones share connections and management token.
#[derive(Clone)]
pub struct Dynatrace {
    wire: Arc<Wire>,
    credential: Arc<Credential>,
    /// Where its value is kept, for error sentences.
    kept_in: Option<Arc<str>>,
    generation: &'static dyn Generation,
}

impl Dynatrace {
    /// A client for one environment. `management_token` reads the management token's value from where it is kept; it is called
    /// when a call first needs it, after [`Dynatrace::forget_management_token`], and once after the environment refused the value
    /// it had (401, 403, or a 400 of a change, which is the answer to a token that disables itself).
    /// Nothing is sent here.
    ///
    /// # Errors
    /// The CA file, the proxy or the system's certificates cannot be used.
    pub fn new<F, Fut>(options: &Options, management_token: F) -> Result<Self, BuildError>
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<TokenValue, CallError>> + Send + 'static,
    {
        Ok(Dynatrace {
            wire: Arc::new(Wire::new(options)?),
            credential: Arc::new(Credential::new(&options.name, management_token)),
            kept_in: None,
            generation: options.api.generation(),
        })
    }

    /// The same, and errors name where the management token is kept.
    pub fn kept_in(self, place: &str) -> Self {
        Dynatrace {
            kept_in: Some(place.into()),
            ..self
        }
    }

    /// The same environment, managed with `value` instead of its management token: to prove that a new management token can list
    /// and change tokens before it is stored. `Unauthorized` then speaks of `value`.
    pub fn acting_as(&self, value: &TokenValue) -> Self {
        let value = value.clone();
        let source = move || std::future::ready(Ok(value.clone()));
        Dynatrace {
            wire: self.wire.clone(),
            credential: Arc::new(Credential::new(&self.wire.name, source)),
            kept_in: None,
            generation: self.generation,
        }
    }

    /// How far the environment's clock is from ours.
    pub fn clock(&self) -> &crate::http::ServerClock {
        self.wire.clock()
    }

    /// The environment's name.
    pub fn name(&self) -> &str {
        &self.wire.name
    }

    /// The id of the management token in use, as far as its value shows it.
    pub async fn management_token_id(&self) -> Option<TokenId> {
        self.credential.id().await
    }

    /// The id of the management token: as its value shows it, else as the environment reports it.
    ///
    /// # Errors
    /// It cannot be read, or the environment does not report it.
    pub async fn read_management_token_id(&self) -> Result<TokenId, CallError> {
        let held = self.credential.get().await?;
        match held.value.id() {
            Some(id) => Ok(id),
            None => Ok(self.management_info().await?.id),
        }
    }

    /// The next call reads the management token again: after it was rotated, and on a reload.
    pub fn forget_management_token(&self) {
        self.credential.forget();
    }

    /// What the environment reports about its management token: its id, its end, its scopes.
    ///
    /// # Errors
    /// `Unauthorized` = it is not accepted or not there. Never `Gone`.
    pub async fn management_info(&self) -> Result<TokenInfo, CallError> {
        let answer = self
            .manage(|own| self.generation.look_up_value(own))
            .await?;
        if may_be_closed(&answer) {
            return Err(closed(&answer));
        }
        if answer.says_gone() {
            return Err(answer.fail(
                ErrorKind::Transient,
                "accepts the management token and yet could not",
                "",
            ));
        }
        self.read_info(&answer, answer.sent_as().as_ref())
    }

    /// The token that this value is, as the value itself shows it over a separate connection. The APIs of an environment let every
    /// valid token look itself up, so no scope is needed.
    ///
    /// # Errors
    /// `Gone` = the value is not (yet) accepted.
    pub async fn look_up_itself(&self, value: &TokenValue) -> Result<TokenInfo, CallError> {
        self.check_value(value)?;
        let call = self.generation.look_up_value(value);
        let answer = self.wire.send(&call, value, Via::Second).await?;
        match answer.status {
            401 | 403 | 404 if answer.is_the_apis() => Err(answer.fail(
                ErrorKind::Gone,
                "does not (yet) accept a token that was asked to",
                "",
            )),
            401 | 403 | 404 => Err(answer.fail(ErrorKind::Transient, "did not get to", "")),
            _ => self.read_info(&answer, value.id().as_ref()),
        }
    }

    /// The scopes that the management token needs and lacks.
    ///
    /// # Errors
    /// As [`Dynatrace::management_info`].
    pub async fn management_scopes_missing(&self) -> Result<Vec<String>, CallError> {
        Ok(self.lacks(&self.management_info().await?))
    }

    /// The scopes that this management token needs and lacks.
    pub fn lacks(&self, info: &TokenInfo) -> Vec<String> {
        let needed = self.generation.needed_scopes().iter();
        needed
            .filter(|scope| !info.scopes.iter().any(|has| has == *scope))
            .map(|&scope| scope.to_owned())
            .collect()
    }

    /// All tokens of the environment whose name bears any dtrotate marker, or of which `also` is true: the whole listing, every page, or an
    /// error. With v1 only id and name are known, the rest is default.
    ///
    /// # Errors
    /// As [`TokenIssuer::list_marked`].
    pub async fn list(&self, also: impl Fn(&TokenId) -> bool) -> Result<Vec<TokenInfo>, CallError> {
        let (mut all, mut key) = (Vec::new(), None::<String>);
        for _ in 0..MOST_PAGES {
            let answer = self
                .manage(|_| self.generation.list(key.as_deref()))
                .await?;
            if key.is_some() && matches!(answer.status, 400 | 404) {
                return Err(answer.fail(ErrorKind::Transient, "lost its place when asked to", ""));
            }
            self.unless_closed(&answer).await?;
            self.check(&answer)?;
            let (page, next) = self.generation.read_page(&answer)?;
            let wanted =
                |token: &TokenInfo| also(&token.id) || Marker::split(&token.name).1.is_some();
            all.extend(page.into_iter().filter(wanted));
            match next {
                None => return Ok(all),
                same if same == key => return Err(answer.odd("its next page is itself")),
                next => key = next,
            }
        }
        let what = format!(
            "Dynatrace {} was asked to list its tokens, and the listing does not end",
            self.wire.name
        );
        Err(CallError::new(
            Service::Dynatrace,
            ErrorKind::Transient,
            what,
        ))
    }

    /// All tokens of the environment with everything that it returns about them. Where the listing has ids and names only, each is looked up.
    ///
    /// # Errors
    /// As [`TokenIssuer::list_marked`].
    pub async fn inventory(&self) -> Result<Vec<TokenInfo>, CallError> {
        let listed = self.list(|_| true).await?;
        if self.generation.lists_details() {
            return Ok(listed);
        }
        let reads = listed
            .into_iter()
            .map(async |token| self.look_up(&token.id).await);
        let reads = stream::iter(reads).buffered(LOOK_UPS_AT_ONCE);
        // One that was deleted meanwhile is none.
        let reads = reads.filter(|read| {
            let is_gone = matches!(read, Err(error) if error.kind == ErrorKind::Gone);
            std::future::ready(!is_gone)
        });
        reads.try_collect().await
    }

    /// Enables or disables a token and gives it another name, in one call.
    ///
    /// # Errors
    /// As [`TokenIssuer::set_enabled`].
    pub async fn set_enabled_and_name(
        &self,
        id: &TokenId,
        enabled: bool,
        name: &str,
    ) -> Result<(), CallError> {
        self.check_id(id)?;
        let call = self.generation.set_enabled_and_name(id, enabled, name);
        let answer = self.manage(|_| call.clone()).await?;
        self.check(&answer)?;
        answer.nothing()
    }

    /// Sends what `call` makes of the management token. If the token is refused, it is read again, once, and the call is repeated
    /// if it has changed: a refusal says that nothing happened, so that is safe for every call.
    async fn manage(&self, call: impl Fn(&TokenValue) -> Call) -> Result<Answer, CallError> {
        self.manage_via(Via::Pool, call).await
    }

    async fn manage_via(
        &self,
        via: Via,
        call: impl Fn(&TokenValue) -> Call,
    ) -> Result<Answer, CallError> {
        let held = self.credential.get().await?;
        let answer = self.wire.send(&call(&held.value), &held.value, via).await?;
        let refused = match answer.status {
            401 | 403 => true,
            400 => answer.effect == Effect::Change,
            _ => false,
        };
        if !refused {
            return Ok(answer);
        }
        let answer = match self.credential.renew(&held).await? {
            Some(newer) => {
                let call = call(&newer.value);
                self.wire.send(&call, &newer.value, via).await?
            }
            None => answer,
        };
        Ok(Answer {
            kept_in: self.kept_in.clone(),
            ..answer
        })
    }

    /// An environment that has ended its API tokens refuses every look-up, also that of the management token: then a refusal says nothing of
    /// the one token that was asked for.
    async fn unless_closed(&self, answer: &Answer) -> Result<(), CallError> {
        if !may_be_closed(answer) {
            return Ok(());
        }
        match self.management_info().await {
            Err(error) if error.kind == ErrorKind::Closed => Err(closed(answer)),
            _ => Ok(()),
        }
    }

    fn check(&self, answer: &Answer) -> Result<(), CallError> {
        answer.check(&[self.generation.scope_for(answer.effect.is_read())])
    }

    /// Reads the one token that an answer is about; it must be `asked`, if that is known.
    fn read_info(&self, answer: &Answer, asked: Option<&TokenId>) -> Result<TokenInfo, CallError> {
        self.check(answer)?;
        let info = self.generation.read_info(answer)?;
        match asked {
            Some(asked) if info.id != *asked => {
                Err(answer.odd(&format!("it is about another token, {}", shown(&info.id))))
            }
            _ => Ok(info),
        }
    }

    /// Refuses what must not be sent.
    fn refuse(&self, what: &str, why: &str) -> CallError {
        let name = &self.wire.name;
        CallError::new(
            Service::Dynatrace,
            ErrorKind::Refused,
            format!("Dynatrace {name} was not asked to {what}: {why}"),
        )
    }

    /// The token that this value is, as the environment reports it to the management token.
    async fn look_up_for_manager(
        &self,
        value: &TokenValue,
        via: Via,
    ) -> Result<TokenInfo, CallError> {
        self.check_value(value)?;
        let call = |_: &TokenValue| self.generation.look_up_value(value);
        let answer = self.manage_via(via, call).await?;
        self.unless_closed(&answer).await?;
        self.read_info(&answer, value.id().as_ref())
    }

    fn check_value(&self, value: &TokenValue) -> Result<(), CallError> {
        match flaw(value) {
            None => Ok(()),
            // No token has such a value, so the environment knows none: it is not asked.
            Some(why) => Err(CallError {
                kind: ErrorKind::Gone,
                ..self.refuse("look up a token", &format!("the value in Vault {why}"))
            }),
        }
    }

    /// An id is part of a path: it must be one plain segment, or the call would go to something else.
    fn check_id(&self, id: &TokenId) -> Result<(), CallError> {
        if is_plain(id) {
            return Ok(());
        }
        Err(self.refuse(
            "do anything to a token",
            "its id has a form that no token id has",
        ))
    }
}

impl TokenIssuer for Dynatrace {
    fn capabilities(&self) -> Capabilities {
        self.generation.capabilities()
    }

    async fn look_up_value(&self, value: &TokenValue) -> Result<TokenInfo, CallError> {
        self.look_up_for_manager(value, Via::Pool).await
    }

    async fn look_up(&self, id: &TokenId) -> Result<TokenInfo, CallError> {
        self.check_id(id)?;
        let answer = self.manage(|_| self.generation.look_up(id)).await?;
        self.unless_closed(&answer).await?;
        self.read_info(&answer, Some(id))
    }

    async fn mint(&self, order: &MintRequest) -> Result<Minted, CallError> {
        let call = self
            .generation
            .mint(order)
            .map_err(|why| self.refuse("create a token", why))?;
        let answer = self.manage(|_| call.clone()).await?;
        if may_be_closed(&answer) && answer.mentions(CLOSED) {
            return Err(closed(&answer));
        }
        self.unless_closed(&answer).await?;
        self.check(&answer)
            .map_err(|error| answer.name_scopes(&order.scopes, error))?;
        self.generation.read_minted(&answer)
    }

    async fn prove_value(
        &self,
        value: &TokenValue,
        _: TrialOptions<'_>,
    ) -> Result<TokenInfo, CallError> {
        self.look_up_value(value).await
    }

    async fn verify(
        &self,
        value: &TokenValue,
        _: Option<&TokenValue>,
        _: TrialOptions<'_>,
    ) -> Result<Trial, CallError> {
        let token = match self.generation.proves_itself() {
            true => self.look_up_itself(value).await?,
            false => self.look_up_for_manager(value, Via::Second).await?,
        };
        Ok(Trial {
            token,
            proven: true,
        })
    }

    async fn prove_manager(
        &self,
        value: &TokenValue,
        enabled: Option<&TokenId>,
    ) -> Result<(), CallError> {
        let new = self.acting_as(value);
        let proof = async {
            new.list(|_| false).await?;
            match enabled {
                Some(id) => new.set_enabled(id, true).await,
                None => Ok(()),
            }
        };
        proof.await.map_err(|error| match error.kind {
            // It speaks of the new token, not of the environment's management token.
            ErrorKind::Unauthorized => CallError {
                kind: ErrorKind::Gone,
                ..error
            },
            _ => error,
        })
    }

    async fn set_enabled(&self, id: &TokenId, enabled: bool) -> Result<(), CallError> {
        self.check_id(id)?;
        let answer = self
            .manage(|_| self.generation.set_enabled(id, enabled))
            .await?;
        self.check(&answer)?;
        answer.nothing()
    }

    async fn redate(&self, _: &TokenId, _: Timestamp) -> Result<(), CallError> {
        Err(self.refuse("re-date a token", "this API cannot do that"))
    }

    async fn rename(&self, id: &TokenId, name: &str) -> Result<(), CallError> {
        self.check_id(id)?;
        let answer = self.manage(|_| self.generation.rename(id, name)).await?;
        self.check(&answer)?;
        answer.nothing()
    }

    async fn delete(&self, id: &TokenId) -> Result<(), CallError> {
        self.check_id(id)?;
        let answer = self.manage(|_| self.generation.delete(id)).await?;
        self.check(&answer)?;
        answer.nothing()
    }

    async fn list_marked(&self) -> Result<Vec<TokenInfo>, CallError> {
        self.list(|_| false).await
    }

    async fn probe_known_token(&self) -> Result<(), CallError> {
        self.management_info().await.map(drop)
    }
}

/// What a refused create says where API tokens can no longer be created: only the wording of the refusal distinguishes it from one of this order, and it
/// decides no more than whether the refusal concerns one secret or all of the environment.
const CLOSED: &str = "Account Management";

/// A refusal that may be that of an API which the environment no longer has.
fn may_be_closed(answer: &Answer) -> bool {
    matches!(answer.status, 400 | 405 | 410) && answer.is_the_apis()
}

fn closed(answer: &Answer) -> CallError {
    answer.fail(
        ErrorKind::Closed,
        "no longer offers API tokens; it refused to",
        "put platform tokens into its secrets and set kind = \"platform\"; until then nothing of this environment is rotated or retired",
    )
}

/// A minted token, if the answer holds a value that can be one. Otherwise the outcome is unclear: a token may have been made.
fn minted(answer: &Answer, token: Option<String>, id: Option<String>) -> Result<Minted, CallError> {
    let value = TokenValue::new(token.ok_or_else(|| answer.odd("it has no token"))?);
    if !is_sendable(&value) {
        return Err(answer.odd("its `token` is not a token value"));
    }
    let told = id.map(TokenId::new);
    match (value.id(), told) {
        (Some(own), Some(told)) if own != told => {
            Err(answer.odd("its id and its token do not belong together"))
        }
        (own, told) => Ok(Minted {
            id: own.or(told),
            value,
        }),
    }
}
