//! The ways to get a token. Files are read at each login, so that they can be replaced while the daemon runs.
//!
//! A credential stands in a request's body or a sensitive header, and nowhere else.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use reqwest::header::HeaderValue;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::http;
use crate::rotation::error::{CallError, ErrorKind, Service};
use crate::rotation::token::TokenValue;

use super::wire::{Call, Wire};

/// A secret that stands in a file, or was given by value (from the environment).
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// Read at each login; surrounding white space is not part of it.
    File(PathBuf),
    /// Fixed for the life of the process.
    Value(TokenValue),
}

/// How to get a token.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// A token that somebody else made. In a file it may be replaced at any time. It is renewed, but never revoked.
    Token(Credential),
    /// `auth/MOUNT/login` with a role id and a secret id.
    AppRole {
        /// Where the method is mounted.
        mount: String,
        /// The role id.
        role_id: Credential,
        /// The secret id.
        secret_id: Credential,
    },
}

impl Login {
    /// The method's name, as in the configuration.
    pub fn method(&self) -> &'static str {
        match self {
            Login::Token(_) => "token",
            Login::AppRole { .. } => "approle",
        }
    }

    /// The credentials as they are now.
    pub(super) fn read(&self) -> Result<Credentials, CallError> {
        Ok(match self {
            Login::Token(token) => Credentials::Token(token.read("token")?),
            Login::AppRole {
                role_id, secret_id, ..
            } => Credentials::AppRole {
                role_id: role_id.read("role id")?,
                secret_id: secret_id.read("secret id")?,
            },
        })
    }
}

impl Credential {
    fn read(&self, what: &str) -> Result<TokenValue, CallError> {
        let path = match self {
            Credential::Value(value) => return Ok(value.clone()),
            Credential::File(path) => path,
        };
        let text = std::fs::read_to_string(path).map(zeroize::Zeroizing::new);
        match text {
            Ok(text) if !text.trim().is_empty() => Ok(TokenValue::new(text.trim())),
            Ok(_) => Err(unreadable(what, path, "it is empty")),
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                Err(unreadable(what, path, "it is not text"))
            }
            Err(error) => Err(unreadable(what, path, &error.to_string())),
        }
    }
}

fn unreadable(what: &str, path: &Path, why: &str) -> CallError {
    let text = format!(
        "cannot log in to Vault: the {what} cannot be read from {}: {why}",
        path.display()
    );
    CallError::new(Service::Vault, ErrorKind::Unauthorized, text)
}

/// What was read for one login.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Credentials {
    Token(TokenValue),
    AppRole {
        role_id: TokenValue,
        secret_id: TokenValue,
    },
}

/// How long a token lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lease {
    /// Counted from before the request was sent.
    pub(super) from: Instant,
    pub(super) ttl: Duration,
    /// The greatest length it had: a renewal that gives less than half of it has come near the token's end.
    pub(super) whole: Duration,
    pub(super) renewable: bool,
}

impl Lease {
    pub(super) fn left(&self) -> Duration {
        self.ttl.saturating_sub(self.from.elapsed())
    }

    /// Another renewal will not help for long.
    pub(super) fn ends(&self) -> bool {
        !self.renewable || self.ttl < self.whole / 2
    }
}

/// A token to work with.
pub(super) struct Token {
    pub(super) header: HeaderValue,
    pub(super) value: TokenValue,
    /// Counts the tokens of this process; a renewed one keeps its number.
    pub(super) generation: u64,
    /// We logged in for it, so it is ours to revoke.
    pub(super) own: bool,
    /// `None` = it lasts for ever.
    pub(super) lease: Option<Lease>,
}

/// Gets a token with these credentials.
/// `Unauthorized` = Vault does not take them.
pub(super) async fn log_in(
    wire: &Wire,
    login: &Login,
    credentials: &Credentials,
    generation: u64,
) -> Result<Token, CallError> {
    match (login, credentials) {
        (
            Login::AppRole { mount, .. },
            Credentials::AppRole {
                role_id, secret_id, ..
            },
        ) => {
            let body = json!({"role_id": role_id.expose(), "secret_id": secret_id.expose()});
            by_request(wire, &format!("auth/{mount}/login"), &body, generation).await
        }
        (_, Credentials::Token(value)) => by_token(wire, value, generation).await,
        (Login::Token(_), Credentials::AppRole { .. }) => Err(CallError::new(
            Service::Vault,
            ErrorKind::Unauthorized,
            "cannot log in to Vault: the credentials are not of the method",
        )),
    }
}

async fn by_request(
    wire: &Wire,
    path: &str,
    body: &Value,
    generation: u64,
) -> Result<Token, CallError> {
    let call = Call::post(path, body).named(format!("log in to Vault at {path}"));
    let from = Instant::now();
    let mut answer = wire.exchange(&call, None).await?;
    let Some(auth) = answer.body.auth.as_mut().filter(|_| answer.status == 200) else {
        let text = format!("Vault answered {}: {}", answer.status, answer.words());
        return Err(call.error(ErrorKind::Unauthorized, text));
    };
    let value = auth.token();
    let header = header(&call, &value)?;
    let ttl = Duration::from_secs(auth.lease_duration);
    Ok(Token {
        header,
        value,
        generation,
        own: true,
        lease: (!ttl.is_zero()).then_some(Lease {
            from,
            ttl,
            whole: ttl,
            renewable: auth.renewable,
        }),
    })
}

/// What `auth/token/lookup-self` tells; only at the start of a token's use, since a standby may show it frozen.
#[derive(Deserialize)]
struct LookUp {
    #[serde(default)]
    ttl: u64,
    #[serde(default)]
    renewable: bool,
}

async fn by_token(wire: &Wire, value: &TokenValue, generation: u64) -> Result<Token, CallError> {
    let call = look_up();
    let header = header(&call, value)?;
    let from = Instant::now();
    let mut answer = wire.exchange(&call, Some(&header)).await?;
    match answer.status {
        200 => {}
        403 => return Err(dead(&call)),
        status => {
            let text = format!("Vault answered {status}: {}", answer.words());
            return Err(call.error(ErrorKind::Unauthorized, text));
        }
    }
    let Some(seen) = answer
        .body
        .data
        .take()
        .and_then(|data| serde_json::from_value::<LookUp>(data).ok())
    else {
        return Err(call.error(ErrorKind::Transient, "the answer has not the expected form"));
    };
    let ttl = Duration::from_secs(seen.ttl);
    Ok(Token {
        header,
        value: value.clone(),
        generation,
        own: false,
        lease: (!ttl.is_zero()).then_some(Lease {
            from,
            ttl,
            whole: ttl,
            renewable: seen.renewable,
        }),
    })
}

/// The question whether a token is alive.
pub(super) fn look_up() -> Call {
    Call::get("auth/token/lookup-self").named("use the Vault token")
}

/// The error for a token that cannot even look itself up.
pub(super) fn dead(call: &Call) -> CallError {
    let text = "Vault answered 403 at auth/token/lookup-self: the token is wrong, expired or revoked (or lacks the policy line \
                `path \"auth/token/lookup-self\" { capabilities = [\"read\"] }`)";
    call.error(ErrorKind::Unauthorized, text)
}

fn header(call: &Call, value: &TokenValue) -> Result<HeaderValue, CallError> {
    http::sensitive(value.expose()).ok_or_else(|| {
        let text = "the token holds a character that no header can carry";
        call.error(ErrorKind::Unauthorized, text)
    })
}
