//! Holds the token in use and replaces it when it is dead. What keeps it alive is in `keeper`.
//!
//! There is one login at a time: every call that finds the token dead waits for it, and all who waited share its outcome. After a failed
//! login the next one waits with backoff, unless the credentials have changed, so that a thousand secrets do not become a thousand
//! logins. An old token is used until a new one is there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use reqwest::header::HeaderValue;
use serde_json::json;
use tokio::sync::{Mutex, watch};

use crate::http::CertificateFiles;
use rotation::error::{CallError, ErrorKind};

use super::login::{self, Token};
use super::method::{Credentials, Login};
use super::state::Down;
use super::wire::{Call, Wire};

/// The longest wait between logins that did not get through: Vault comes back without us, and everything waits for it.
const UNREACHED: Duration = Duration::from_secs(5);

/// The token in use and the way to the next one.
pub(super) struct Session {
    pub(super) login: Login,
    certificate: Option<CertificateFiles>,
    pub(super) current: watch::Sender<Option<Arc<Token>>>,
    pub(super) flight: Mutex<Flight>,
}

/// What the one login at a time leaves behind.
#[derive(Default)]
pub(super) struct Flight {
    generation: u64,
    pub(super) failed: Option<Failed>,
}

pub(super) struct Failed {
    /// With what; `None` = the credentials could not be read.
    with: Option<Credentials>,
    at: Instant,
    pub(super) next: Instant,
    pub(super) count: u32,
    pub(super) error: CallError,
}

/// What became of a token that Vault answered 403 to.
pub(super) enum Suspect {
    /// It lives: a policy denied the call.
    Lives,
    /// It was dead; this one is in its place.
    Replaced(Arc<Token>),
}

impl Session {
    pub(super) fn new(login: Login, certificate: Option<CertificateFiles>) -> Self {
        Session {
            login,
            certificate,
            current: watch::Sender::new(None),
            flight: Mutex::default(),
        }
    }

    /// The token in use, logging in if there is none.
    pub(super) async fn token(&self, wire: &Wire) -> Result<Arc<Token>, CallError> {
        if let Some(token) = self.held() {
            return Ok(token);
        }
        let asked = Instant::now();
        let mut flight = self.flight.lock().await;
        match self.held() {
            Some(token) => Ok(token),
            None => self.renew_login(wire, &mut flight, asked, None).await,
        }
    }

    /// Finds out about a token that got a 403. The text of a 403 does not distinguish a dead token from a policy; a look-up does.
    pub(super) async fn suspect(&self, wire: &Wire, token: &Token) -> Result<Suspect, CallError> {
        let asked = Instant::now();
        let mut flight = self.flight.lock().await;
        match self.held() {
            Some(held) if held.generation != token.generation => {
                return Ok(Suspect::Replaced(held));
            }
            Some(_) => {
                let answer = wire
                    .exchange(&login::look_up(), Some(&token.header))
                    .await?;
                if answer.status != 403 {
                    return Ok(Suspect::Lives);
                }
                self.current.send_replace(None);
            }
            None => {}
        }
        self.renew_login(wire, &mut flight, asked, Some(token))
            .await
            .map(Suspect::Replaced)
    }

    pub(super) fn held(&self) -> Option<Arc<Token>> {
        self.current.borrow().clone()
    }

    /// What a login would show now.
    pub(super) async fn credentials(&self) -> Result<Credentials, CallError> {
        self.login.read(self.certificate.as_ref()).await
    }

    /// One login, unless one that failed a moment ago says enough.
    pub(super) async fn renew_login(
        &self,
        wire: &Wire,
        flight: &mut Flight,
        asked: Instant,
        dead: Option<&Token>,
    ) -> Result<Arc<Token>, CallError> {
        let read = self.credentials().await;
        if let Some(failed) = &flight.failed
            && failed.with.as_ref() == read.as_ref().ok()
            && (asked <= failed.at || Instant::now() < failed.next)
        {
            return Err(failed.error.clone());
        }
        let with = read.as_ref().ok().cloned();
        let result = match (read, dead) {
            (Err(error), _) => Err(error),
            (Ok(credentials), Some(dead)) if !dead.own && credentials == dead.with => {
                Err(login::dead(&login::look_up(), &self.login))
            }
            (Ok(credentials), _) => {
                flight.generation += 1;
                login::log_in(wire, &self.login, credentials, flight.generation).await
            }
        };
        match result {
            Ok(token) => {
                flight.failed = None;
                let token = Arc::new(token);
                self.current.send_replace(Some(token.clone()));
                self.announce(&token);
                wire.state.up();
                Ok(token)
            }
            Err(error) => {
                if error.kind == ErrorKind::Unauthorized && self.held().is_none() {
                    wire.state.down(Down::TokenRefused, &error.what);
                }
                let count = flight.failed.as_ref().map_or(0, |f| f.count) + 1;
                let now = Instant::now();
                flight.failed = Some(Failed {
                    with,
                    at: now,
                    next: now + self.pause(&error, count),
                    count,
                    error: error.clone(),
                });
                Err(error)
            }
        }
    }

    /// How long after the failure number `count` to try the same credentials again.
    fn pause(&self, error: &CallError, count: u32) -> Duration {
        if error.kind == ErrorKind::Unauthorized {
            return self.login.patience();
        }
        let wait = backoff(Duration::from_millis(500), count - 1, UNREACHED);
        wait.mul_f64(0.5 + fastrand::f64() / 2.0)
            .max(error.retry_after.unwrap_or_default())
    }

    fn announce(&self, token: &Token) {
        let method = self.login.method();
        match token.lease {
            None => tracing::info!(
                event = "vault_login",
                method,
                "using a Vault token that does not expire"
            ),
            Some(lease) if !token.own && !lease.renewable => tracing::warn!(
                event = "vault_login",
                method,
                ttl_seconds = lease.ttl.as_secs(),
                "the Vault token ends in {} and cannot be renewed; replace it before",
                in_words(lease.ttl)
            ),
            Some(lease) => tracing::info!(
                event = "vault_login",
                method,
                ttl_seconds = lease.ttl.as_secs(),
                renewable = lease.renewable,
                "logged in to Vault; the token lasts {}",
                in_words(lease.ttl)
            ),
        }
    }

    /// Revokes the token if we logged in for it. Errors are of no interest: it expires.
    pub(super) async fn end(&self, wire: &Wire) {
        let Some(token) = self.current.send_replace(None).filter(|token| token.own) else {
            return;
        };
        let call = Call::post("auth/token/revoke-self", &json!({})).named("revoke the Vault token");
        let header: &HeaderValue = &token.header;
        if let Err(error) = wire.exchange(&call, Some(header)).await {
            tracing::debug!(event = "vault_login", error = %error, "the Vault token was not revoked; it expires");
        }
    }
}

/// `first`, doubled `n` times, at most `longest`.
pub(super) fn backoff(first: Duration, n: u32, longest: Duration) -> Duration {
    first.saturating_mul(1 << n.min(16)).min(longest)
}
/// `767h 59m 59s`.
fn in_words(length: Duration) -> String {
    format!(
        "{:#}",
        SignedDuration::try_from(length).unwrap_or(SignedDuration::MAX)
    )
}
