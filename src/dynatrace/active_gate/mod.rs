//! The ActiveGate tokens of an environment: [`TokenIssuer`] over the classic API and over fleet management, whichever the environment answers.
//!
//! They are managed with the environment's management token, an API token or a platform token. `api` has the calls and shapes.

mod api;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::answer::Answer;
use super::call::{Call, Effect, Scheme, Via, Wire};
use super::credential::{Credential, Held};
use super::form::{flaw, is_plain, shown};
use super::{BaseUrl, Dynatrace, MOST_PAGES};
use crate::http::{self, BuildError, ServerClock};
use api::{Need, Page, Route};
use rotation::capabilities::{Absence, Capabilities, Expiry, Proof};
use rotation::error::{CallError, ErrorKind, Service};
use rotation::marker::Marker;
use rotation::ports::{TokenIssuer, TrialOptions};
use rotation::token::{MintRequest, Minted, TokenId, TokenInfo, TokenValue, Trial};

/// Two years is the longest life; a day less, because clocks differ.
const LONGEST: Duration = Duration::from_secs(729 * 24 * 3600);

/// What the value of a platform token begins with.
const PLATFORM_TOKEN: &str = "dt0s16.";

/// The ActiveGate tokens of one environment. Cheap to clone; all clones share connections, management token and route.
#[derive(Clone)]
pub struct ActiveGates(Arc<Shared>);

struct Shared {
    name: String,
    /// That of the environment: whoever finds that it has changed finds it for both.
    credential: Arc<Credential>,
    /// The environment's own address.
    classic: Arc<Wire>,
    /// The address of its platform; none = not known.
    apps: Option<Wire>,
    /// The route that answered last.
    route: Mutex<Option<Route>>,
}

impl ActiveGates {
    /// Those of this environment. `apps` is the address of its platform, which a management token that is a platform token needs. Nothing
    /// is sent here.
    ///
    /// # Errors
    /// As [`Dynatrace::new`].
    pub fn of(
        environment: &Dynatrace,
        apps: Option<&BaseUrl>,
        options: &http::Options,
    ) -> Result<Self, BuildError> {
        let scheme = Scheme {
            word: "Bearer",
            has_envelope: false,
            ..Scheme::MANAGEMENT
        };
        let name = environment.name();
        let apps = apps.map(|base| Wire::to(name, base, options, scheme));
        Ok(ActiveGates(Arc::new(Shared {
            name: name.to_owned(),
            credential: environment.credential.clone(),
            classic: environment.wire.clone(),
            apps: apps.transpose()?,
            route: Mutex::default(),
        })))
    }

    /// How far the clock of the server that is asked is from ours.
    pub fn clock(&self) -> &ServerClock {
        match (self.0.known_route(), &self.0.apps) {
            (Some(Route::Platform | Route::Fleet), Some(apps)) => apps.clock(),
            _ => self.0.classic.clock(),
        }
    }

    /// The next call reads the management token again.
    pub fn forget_management_token(&self) {
        self.0.credential.forget();
    }

    /// Proves that the management token may list ActiveGate tokens by one of the routes.
    ///
    /// # Errors
    /// As [`TokenIssuer::list_marked`].
    pub async fn check_access(&self) -> Result<(), CallError> {
        self.0.page(None).await.map(drop)
    }

    /// The id of the management token, if it is a platform token. Otherwise it is an API token of the environment.
    pub async fn platform_token(&self) -> Result<Option<TokenId>, CallError> {
        let held = self.0.credential.get().await?;
        Ok(is_platform_token(&held.value)
            .then(|| held.value.id())
            .flatten())
    }

    /// The scopes that a management token with these needs and lacks.
    pub fn scopes_missing(scopes: &[String], is_platform_token: bool) -> Vec<&'static str> {
        if is_platform_token {
            return api::platform_scopes_missing(scopes);
        }
        let needed = api::CLASSIC_SCOPES.into_iter();
        let lacks = |wanted: &&str| !scopes.iter().any(|scope| scope == wanted);
        needed.filter(lacks).collect()
    }

    /// The scopes that a platform token needs in the place of the management token.
    pub fn platform_scopes() -> &'static [&'static str] {
        &api::PLATFORM_SCOPES
    }

    /// All ActiveGate tokens of the environment whose name bears any dtrotate marker, or of which `also` is true: the whole listing, or an
    /// error.
    ///
    /// # Errors
    /// As [`TokenIssuer::list_marked`].
    pub async fn list(&self, also: impl Fn(&TokenId) -> bool) -> Result<Vec<TokenInfo>, CallError> {
        let mut all = self.0.listing().await?;
        all.retain(|token| also(&token.id) || Marker::split(&token.name).1.is_some());
        Ok(all)
    }
}

fn is_platform_token(value: &TokenValue) -> bool {
    value.expose().starts_with(PLATFORM_TOKEN)
}

/// The answer says that this route is not there: nothing was done.
fn is_not_there(answer: &Answer) -> bool {
    let status = match answer.effect {
        Effect::List | Effect::Mint => matches!(answer.status, 404 | 405 | 410),
        _ => matches!(answer.status, 405 | 410),
    };
    status && answer.is_the_apis()
}

impl Shared {
    fn known_route(&self) -> Option<Route> {
        *self.route.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wire(&self, route: Route) -> Result<&Wire, CallError> {
        match (route, &self.apps) {
            (Route::Classic, _) => Ok(&self.classic),
            (Route::Platform | Route::Fleet, Some(apps)) => Ok(apps),
            (Route::Platform | Route::Fleet, None) => {
                let name = &self.name;
                Err(self.unusable(&format!(
                    "is a platform token, and where it is used is not known; set apps_url in [dynatrace.{name}]"
                )))
            }
        }
    }

    /// The route for this management token: the one that answered last, else the first that answers now.
    async fn route(&self, held: &Held) -> Result<Route, CallError> {
        let fits = |route: &Route| (*route == Route::Classic) != is_platform_token(&held.value);
        match self.known_route().filter(fits) {
            Some(route) => Ok(route),
            None => self.choose(held).await,
        }
    }

    /// The first route whose listing answers. The classic API has the type of a token, so it is asked first.
    async fn choose(&self, held: &Held) -> Result<Route, CallError> {
        let routes: &[Route] = match is_platform_token(&held.value) {
            true => &[Route::Platform, Route::Fleet],
            false => &[Route::Classic],
        };
        let mut refusals = vec![];
        for &route in routes {
            let call = route.list(None);
            let answer = self
                .wire(route)?
                .send(&call, &held.value, Via::Pool)
                .await?;
            let listed = answer.check(&[route.scope(Need::Read)]);
            match listed.and_then(|()| api::read_page(&answer)) {
                Ok(_) => {
                    *self.route.lock().unwrap_or_else(PoisonError::into_inner) = Some(route);
                    return Ok(route);
                }
                Err(_) if is_not_there(&answer) => {}
                // It may be there in a moment.
                Err(error)
                    if matches!(error.kind, ErrorKind::Transient | ErrorKind::RateLimited) =>
                {
                    return Err(error);
                }
                Err(error) => refusals.push(error),
            }
        }
        // A refusal names what is missing.
        Err(refusals.pop().unwrap_or_else(|| {
            let scopes = api::PLATFORM_SCOPES.join(", ");
            self.unusable(&format!(
                "finds no API for ActiveGate tokens where it is used: the environment may have ended the classic one. Put a platform token with \
                 the scopes {scopes} into its place"
            ))
        }))
    }

    /// Sends what `call` makes of the route. If that is no longer there, another one is looked for; if the management token is refused, it is
    /// read again. Each of these says that nothing happened, so the call is repeated once.
    async fn manage(
        &self,
        via: Via,
        call: impl Fn(Route) -> Call,
    ) -> Result<(Route, Answer), CallError> {
        let held = self.credential.get().await?;
        let sent = self.send(&held, via, &call).await;
        let refused = match &sent {
            Ok((_, answer)) => matches!(answer.status, 401 | 403),
            Err(error) => error.kind == ErrorKind::Unauthorized,
        };
        if !refused {
            return sent;
        }
        match self.credential.renew(&held).await? {
            Some(newer) => self.send(&newer, via, &call).await,
            None => sent,
        }
    }

    async fn send(
        &self,
        held: &Held,
        via: Via,
        call: impl Fn(Route) -> Call,
    ) -> Result<(Route, Answer), CallError> {
        let route = self.route(held).await?;
        let answer = self
            .wire(route)?
            .send(&call(route), &held.value, via)
            .await?;
        if !is_not_there(&answer) {
            return Ok((route, answer));
        }
        let other = self.choose(held).await?;
        if other == route {
            return Ok((route, answer));
        }
        let answer = self
            .wire(other)?
            .send(&call(other), &held.value, via)
            .await?;
        Ok((other, answer))
    }

    async fn page(&self, key: Option<&str>) -> Result<Page, CallError> {
        let (route, answer) = self.manage(Via::Pool, |route| route.list(key)).await?;
        if key.is_some() && matches!(answer.status, 400 | 404) {
            return Err(answer.fail(ErrorKind::Transient, "lost its place when asked to", ""));
        }
        answer.check(&[route.scope(Need::Read)])?;
        let page = api::read_page(&answer)?;
        match key.is_some() && page.next.as_deref() == key {
            true => Err(answer.odd("its next page is itself")),
            false => Ok(page),
        }
    }

    /// The whole listing, every page, or an error.
    async fn listing(&self) -> Result<Vec<TokenInfo>, CallError> {
        let (mut all, mut key) = (Vec::new(), None::<String>);
        for _ in 0..MOST_PAGES {
            let page = self.page(key.as_deref()).await?;
            all.extend(page.tokens);
            let short = page.total.is_some_and(|total| (all.len() as u64) < total);
            match page.next {
                Some(next) => key = Some(next),
                None if short => return Err(self.no_listing("stops short of its total")),
                None => return Ok(all),
            }
        }
        Err(self.no_listing("does not end"))
    }

    async fn look_up(&self, id: &TokenId, via: Via) -> Result<TokenInfo, CallError> {
        self.check_id(id)?;
        let (route, answer) = self.manage(via, |route| route.look_up(id)).await?;
        answer.check(&[route.scope(Need::Read)])?;
        let info = api::read_info(&answer)?;
        match info.id == *id {
            true => Ok(info),
            false => Err(answer.odd(&format!("it is about another token, {}", shown(&info.id)))),
        }
    }

    /// A value shows its id; one that does not is no ActiveGate token.
    fn id_of(&self, value: &TokenValue) -> Result<TokenId, CallError> {
        let wrong = match (value.id(), flaw(value)) {
            (Some(id), None) => return Ok(id),
            (_, Some(flaw)) => flaw,
            (None, None) => "is no ActiveGate token",
        };
        // No token has such a value, so none is known by it.
        Err(CallError {
            kind: ErrorKind::Gone,
            ..self.refuse(&format!("the value in Vault {wrong}"))
        })
    }

    /// An id is part of a path: it must be one plain segment.
    fn check_id(&self, id: &TokenId) -> Result<(), CallError> {
        match is_plain(id) {
            true => Ok(()),
            false => Err(self.refuse("the id has a form that no token id has")),
        }
    }

    fn refuse(&self, why: &str) -> CallError {
        let what = format!("Dynatrace {} was not asked: {why}", self.name);
        CallError::new(Service::Dynatrace, ErrorKind::Refused, what)
    }

    /// Nothing can be done with this management token.
    fn unusable(&self, why: &str) -> CallError {
        let what = format!("the management token of environment {} {why}", self.name);
        CallError::new(Service::Dynatrace, ErrorKind::Unauthorized, what)
    }

    fn no_listing(&self, why: &str) -> CallError {
        let what = format!(
            "Dynatrace {} was asked to list its ActiveGate tokens, and the listing {why}, so it proves nothing",
            self.name
        );
        CallError::new(Service::Dynatrace, ErrorKind::Transient, what)
    }
}

impl TokenIssuer for ActiveGates {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            disable: false,
            rename: false,
            redate: false,
            read_by_id: true,
            proof: Proof::Listed,
            absence: Absence::Answer,
            expiry: Expiry::AtMost(LONGEST),
            // Not documented; as for API tokens.
            ..Capabilities::API
        }
    }

    /// The token whose id the value shows. That proves nothing of the value.
    async fn look_up_value(&self, value: &TokenValue) -> Result<TokenInfo, CallError> {
        let id = self.0.id_of(value)?;
        self.0.look_up(&id, Via::Pool).await
    }

    async fn look_up(&self, id: &TokenId) -> Result<TokenInfo, CallError> {
        self.0.look_up(id, Via::Pool).await
    }

    async fn mint(&self, order: &MintRequest) -> Result<Minted, CallError> {
        let gates = &self.0;
        let (mut route, mut answer) = gates
            .manage(Via::Pool, |route| route.mint(order, false))
            .await?;
        if answer.status == 400 && answer.is_the_apis() && api::may_be_bare(order) {
            // A definite refusal: nothing was made. The API may no longer take a type.
            (route, answer) = gates
                .manage(Via::Pool, |route| route.mint(order, true))
                .await?;
        }
        answer.check(&[route.scope(Need::Create)])?;
        api::read_minted(&answer)
    }

    async fn prove_value(
        &self,
        _: &TokenValue,
        _: TrialOptions<'_>,
    ) -> Result<TokenInfo, CallError> {
        Err(self
            .0
            .refuse("no call shows whose the value of an ActiveGate token is"))
    }

    /// The new token is there. No call shows more, so nothing depends on the value that it is to replace.
    async fn verify(
        &self,
        value: &TokenValue,
        _: Option<&TokenValue>,
        _: TrialOptions<'_>,
    ) -> Result<Trial, CallError> {
        let id = self.0.id_of(value)?;
        let token = self.0.look_up(&id, Via::Second).await?;
        Ok(Trial {
            token,
            proven: false,
        })
    }

    async fn prove_manager(&self, _: &TokenValue, _: Option<&TokenId>) -> Result<(), CallError> {
        Err(self.0.refuse("ActiveGate tokens do not manage tokens"))
    }

    async fn set_enabled(&self, _: &TokenId, _: bool) -> Result<(), CallError> {
        Err(self
            .0
            .refuse("ActiveGate tokens cannot be disabled or enabled"))
    }

    async fn redate(&self, _: &TokenId, _: Timestamp) -> Result<(), CallError> {
        Err(self.0.refuse("ActiveGate tokens cannot be re-dated"))
    }

    async fn rename(&self, _: &TokenId, _: &str) -> Result<(), CallError> {
        Err(self.0.refuse("ActiveGate tokens cannot be renamed"))
    }

    async fn delete(&self, id: &TokenId) -> Result<(), CallError> {
        self.0.check_id(id)?;
        let (route, answer) = self.0.manage(Via::Pool, |route| route.delete(id)).await?;
        answer.check(&[route.scope(Need::Write)])?;
        answer.nothing()
    }

    async fn list_marked(&self) -> Result<Vec<TokenInfo>, CallError> {
        self.list(|_| false).await
    }

    /// The listing answers, and a token that it shows is found by its id. An environment without any has nothing more to show.
    async fn probe_known_token(&self) -> Result<(), CallError> {
        let page = self.0.page(None).await?;
        match page.tokens.first() {
            Some(token) => self.0.look_up(&token.id, Via::Pool).await.map(drop),
            None => Ok(()),
        }
    }
}
