//! Access tokens of the single sign-on, for an OAuth client whose credentials are in Vault.
//!
//! One flight for all: every call that waits for a token takes the outcome of the request that is under way. A token is held in memory only and renewed
//! when two thirds of its life are over. The client is read again, once, when it is refused: a person may have replaced it.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::super::BaseUrl;
use super::super::call::{Call, Effect, Scheme, Via, Wire};
use crate::clock;
use crate::http::{self, BuildError, ServerClock};
use rotation::error::{CallError, ErrorKind, Service};
use rotation::token::TokenValue;

/// The life of an access token that does not say how long it lives: the shortest that was ever seen.
const USUAL_LIFE: Duration = Duration::from_secs(300);

/// A renewal that failed is tried again after this, while the token that is there serves.
const RENEWAL_PAUSE: Duration = Duration::from_secs(30);

/// The credentials of an OAuth client.
#[derive(Clone, PartialEq, Eq)]
pub struct OAuthClient {
    /// The client id, which is not secret.
    pub id: String,
    /// Its secret, which is sent to the single sign-on alone.
    pub secret: TokenValue,
}

type Source = Box<dyn Fn() -> BoxFuture<'static, Result<OAuthClient, CallError>> + Send + Sync>;

/// The single sign-on of one account.
pub(super) struct Sso {
    wire: Wire,
    uuid: String,
    source: Source,
    /// How many requests have ended; moves only under the lock.
    flights: AtomicU64,
    state: Mutex<State>,
    /// The client may have been replaced since it was read.
    stale: AtomicBool,
}

#[derive(Default)]
struct State {
    client: Option<OAuthClient>,
    token: Option<Access>,
    failed: Option<CallError>,
}

impl State {
    /// The token that is there serves until its end, unless the client was refused.
    fn usable(&self, failed: &CallError) -> Option<TokenValue> {
        let is_refused = failed.kind == ErrorKind::Unauthorized;
        let token = self.token.as_ref().filter(|_| !is_refused)?;
        (token.ends_at > Instant::now()).then(|| token.value.clone())
    }
}

struct Access {
    value: TokenValue,
    renew_at: Instant,
    ends_at: Instant,
}

/// The times in an access token, if it is a JSON Web Token. Nothing checks its signature: it comes from the server that is
/// asked, over the same connection.
#[derive(Deserialize)]
struct Claims {
    iat: Option<i64>,
    exp: Option<i64>,
}

#[derive(Deserialize)]
struct Issued {
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Sso {
    pub(super) fn new<F, Fut>(
        name: &str,
        base: &BaseUrl,
        options: &http::Options,
        uuid: &str,
        client: F,
    ) -> Result<Self, BuildError>
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<OAuthClient, CallError>> + Send + 'static,
    {
        let scheme = Scheme {
            word: "Bearer",
            credential: "the OAuth client",
            has_envelope: false,
        };
        Ok(Sso {
            wire: Wire::to(name, base, options, scheme)?,
            uuid: uuid.to_owned(),
            source: Box::new(move || Box::pin(client())),
            flights: AtomicU64::new(0),
            state: Mutex::default(),
            stale: AtomicBool::new(false),
        })
    }

    /// The next token is asked for with the client as it is in Vault then.
    pub(super) fn forget(&self) {
        self.stale.store(true, Ordering::Release);
    }

    /// How far the clock of the single sign-on is from ours, as the `Date` of its answers and its tokens say.
    pub(super) fn clock(&self) -> &ServerClock {
        self.wire.clock()
    }

    /// An access token with exactly these scopes: a request for one that the client does not hold is refused as a whole.
    pub(super) async fn token(&self, scopes: &[&str]) -> Result<TokenValue, CallError> {
        let seen = self.flights.load(Ordering::Acquire);
        let mut state = self.state.lock().await;
        if self.stale.swap(false, Ordering::AcqRel) {
            state.client = None;
        }
        let now = Instant::now();
        if let Some(token) = state.token.as_ref().filter(|token| token.renew_at > now) {
            return Ok(token.value.clone());
        }
        if let Some(failed) = &state.failed
            && self.flights.load(Ordering::Acquire) > seen
        {
            // Who waited gets what the one who asked got.
            return state.usable(failed).ok_or_else(|| failed.clone());
        }
        let fetched = self.fetch(&mut state, scopes).await;
        self.flights.fetch_add(1, Ordering::AcqRel);
        match fetched {
            Ok(token) => {
                let value = token.value.clone();
                (state.token, state.failed) = (Some(token), None);
                Ok(value)
            }
            Err(error) => {
                state.failed = Some(error.clone());
                if let Some(token) = &mut state.token
                    && error.kind != ErrorKind::Unauthorized
                {
                    // Otherwise every call would wait for a single sign-on that hangs.
                    let pause = Instant::now() + RENEWAL_PAUSE;
                    token.renew_at = pause.min(token.ends_at);
                }
                state.usable(&error).ok_or(error)
            }
        }
    }

    /// A token in place of one that was refused.
    pub(super) async fn renewed(
        &self,
        refused: &TokenValue,
        scopes: &[&str],
    ) -> Result<TokenValue, CallError> {
        let mut state = self.state.lock().await;
        if state
            .token
            .as_ref()
            .is_some_and(|token| token.value == *refused)
        {
            state.token = None;
        }
        drop(state);
        self.token(scopes).await
    }

    /// Whether the client may have one scope: for the one who asks which it lacks.
    pub(super) async fn holds(&self, scope: &str) -> Result<bool, CallError> {
        let mut state = self.state.lock().await;
        match self.fetch(&mut state, &[scope]).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind == ErrorKind::Unauthorized => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn fetch(&self, state: &mut State, scopes: &[&str]) -> Result<Access, CallError> {
        let held = match state.client.clone() {
            Some(client) => client,
            None => self.read(state).await?,
        };
        let refused = match self.ask(&held, scopes).await {
            Err(error) if error.kind == ErrorKind::Unauthorized => error,
            answer => return answer,
        };
        match self.read(state).await? {
            newer if newer != held => self.ask(&newer, scopes).await,
            _ => Err(refused),
        }
    }

    async fn read(&self, state: &mut State) -> Result<OAuthClient, CallError> {
        let client = (self.source)().await?;
        state.client = Some(client.clone());
        Ok(client)
    }

    async fn ask(&self, client: &OAuthClient, scopes: &[&str]) -> Result<Access, CallError> {
        let (asked, asked_at) = (Instant::now(), clock::now());
        let scopes = scopes.join(" ");
        let call = Call::new(
            "issue an access token",
            Effect::Tell,
            Method::POST,
            &["sso", "oauth2", "token"],
        )
        .form(&[
            ("grant_type", "client_credentials"),
            ("client_id", &client.id),
            ("client_secret", client.secret.expose()),
            ("scope", &scopes),
            ("resource", &format!("urn:dtaccount:{}", self.uuid)),
        ]);
        let answer = self.wire.send(&call, &client.secret, Via::Pool).await?;
        if matches!(answer.status, 400 | 401 | 403) {
            let hint = format!(
                "the OAuth client {} is not accepted: its secret is wrong, it lacks one of the scopes {scopes}, or it belongs to another account; \
                 `dtrotate check` names a scope that is missing",
                client.id
            );
            return Err(answer.fail(ErrorKind::Unauthorized, "refused to", &hint));
        }
        answer.check(&[&scopes])?;
        let issued: Issued = answer.json()?;
        let value = issued.access_token.map(TokenValue::new);
        let value = value.filter(super::super::form::is_sendable);
        let value = value.ok_or_else(|| answer.odd("it holds no access token"))?;
        let life = issued.expires_in.map_or(USUAL_LIFE, Duration::from_secs);
        if let Some(at) = issued_at(&value, issued.expires_in) {
            let clock = self.wire.clock();
            clock.observe_also(at, asked_at, clock::now());
        }
        Ok(Access {
            value,
            renew_at: asked + life * 2 / 3,
            ends_at: asked + life,
        })
    }
}

/// When an access token was issued, as it says itself: `iat`, or `exp` less the life that the answer states. None = it is opaque, or does not say.
fn issued_at(token: &TokenValue, life: Option<u64>) -> Option<Timestamp> {
    let claims = token.expose().split('.').nth(1)?;
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?;
    let claims: Claims = serde_json::from_slice(&claims).ok()?;
    let start = || claims.exp?.checked_sub(i64::try_from(life?).ok()?);
    let at = Timestamp::from_second(claims.iat.or_else(start)?).ok()?;
    // The epoch, or a life without an end, is not a time of issue.
    (at > Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24)).then_some(at)
}

/// What is wrong with the client's credentials in Vault concerns every secret of the account.
pub fn unusable_client(account: &str, what: &str) -> CallError {
    CallError::new(
        Service::Dynatrace,
        ErrorKind::Unauthorized,
        format!("the OAuth client of {account} {what}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> TokenValue {
        let claims = BASE64_URL_SAFE_NO_PAD.encode(claims);
        TokenValue::new(format!("head.{claims}.signature"))
    }

    fn at(second: i64) -> Option<Timestamp> {
        Timestamp::from_second(second).ok()
    }

    #[test]
    fn an_access_token_says_when_it_was_issued_or_nothing() {
        let both = token(r#"{"iat":1764500000,"exp":1764500900}"#);
        assert_eq!(issued_at(&both, Some(300)), at(1_764_500_000));
        let end = token(r#"{"exp":1764500300}"#);
        assert_eq!(issued_at(&end, Some(300)), at(1_764_500_000));
        assert_eq!(issued_at(&end, None), None);
        for other in [
            TokenValue::new("opaque"),
            TokenValue::new("a.b.c"),
            token("[]"),
            token(r#"{"iat":"soon"}"#),
            token(r#"{"iat":0}"#),
            token(&format!(r#"{{"iat":{}}}"#, i64::MAX)),
            token(&format!(r#"{{"exp":{}}}"#, i64::MIN)),
        ] {
            assert_eq!(issued_at(&other, Some(300)), None);
        }
    }

    fn unreachable() -> Sso {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let nobody = BaseUrl::new("http://127.0.0.1:1").unwrap();
        let client = || {
            std::future::ready(Ok(OAuthClient {
                id: "client".to_owned(),
                secret: TokenValue::new("secret"),
            }))
        };
        Sso::new(
            "account main",
            &nobody,
            &http::Options::default(),
            "u",
            client,
        )
        .unwrap()
    }

    #[tokio::test]
    async fn while_the_single_sign_on_is_away_the_token_that_is_there_serves_everybody_until_its_end()
     {
        let sso = unreachable();
        let now = Instant::now();
        sso.state.lock().await.token = Some(Access {
            value: TokenValue::new("access"),
            renew_at: now,
            ends_at: now + Duration::from_secs(3_600),
        });
        let asked = || futures_util::future::join_all((0..20).map(|_| sso.token(&["a"])));
        for _ in 0..2 {
            let all = asked().await;
            let served = all.iter().filter(|one| one.is_ok()).count();
            assert_eq!(served, 20, "whoever waited for the same request, too");
            assert_eq!(
                sso.flights.load(Ordering::Acquire),
                1,
                "asked once for a while"
            );
        }
        if let Some(token) = &mut sso.state.lock().await.token {
            (token.renew_at, token.ends_at) = (now, now);
        }
        assert!(asked().await.iter().all(Result::is_err), "it has ended");
    }
}
