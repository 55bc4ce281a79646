//! Getting a token: by a request that shows credentials (`method`), or by a look at one that somebody else made.

use std::time::{Duration, Instant};

use reqwest::header::HeaderValue;
use serde::Deserialize;

use crate::http;
use rotation::error::{CallError, ErrorKind};
use rotation::token::TokenValue;

use super::method::{Credentials, Form, Login, Proof, unusable};
use super::wire::{Call, Wire};
use super::wrapped::Wrapped;

/// No lease is longer, whatever a server says: the clock must be able to count to its end.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);

/// How long a token lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lease {
    /// Counted from before the request was sent.
    pub(super) from: Instant,
    pub(super) ttl: Duration,
    /// The greatest length it had: a renewal that gives less than half of it has come near the token's end.
    pub(super) whole: Duration,
    pub(super) renewable: bool,
    /// When it is to be renewed or replaced: after 60 to 70 % of it, so that replicas do not come all at once; at once, where the token was near its end
    /// when this process began to use it.
    pub(super) care: Instant,
}

impl Lease {
    /// A lease of `ttl` that was asked for at `from`; `None` = the token never expires.
    pub(super) fn new(
        from: Instant,
        ttl: Duration,
        whole: Duration,
        renewable: bool,
    ) -> Option<Self> {
        let ttl = ttl.min(LONGEST);
        (!ttl.is_zero()).then(|| Lease {
            from,
            ttl,
            whole: whole.max(ttl),
            renewable,
            care: from + ttl.mul_f64(0.6 + 0.1 * fastrand::f64()),
        })
    }

    pub(super) fn left(&self) -> Duration {
        self.ttl.saturating_sub(self.from.elapsed())
    }

    /// Another renewal will not help for long.
    pub(super) fn ends(&self) -> bool {
        !self.renewable || self.ttl < self.whole / 2
    }
}

/// A token to work with.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) header: HeaderValue,
    /// What it was got with.
    pub(super) with: Credentials,
    /// Counts the tokens of this process; a renewed one keeps its number.
    pub(super) generation: u64,
    /// We logged in for it, so it is ours to revoke.
    pub(super) own: bool,
    /// `None` = it never expires.
    pub(super) lease: Option<Lease>,
}

/// Gets a token with these credentials.
/// `Unauthorized` = Vault does not take them. Every other failure is `Transient`: whatever happened to the login, the call that waits for
/// the token was not sent.
pub(super) async fn log_in(
    wire: &Wire,
    login: &Login,
    with: Credentials,
    generation: u64,
) -> Result<Token, CallError> {
    if let Some(identity) = &with.identity {
        let shown = wire.show(identity);
        shown.map_err(|error| unusable(&error.to_string()))?;
    }
    let got = match &with.proof {
        Proof::Token(value) => by_token(wire, login, value).await,
        Proof::Request(form) => by_request(wire, login, form).await,
    };
    let (header, lease) = got.map_err(|error| match error.kind {
        ErrorKind::Unauthorized | ErrorKind::RateLimited => error,
        _ => CallError {
            kind: ErrorKind::Transient,
            ..error
        },
    })?;
    Ok(Token {
        header,
        own: matches!(with.proof, Proof::Request(_)),
        with,
        generation,
        lease,
    })
}

async fn by_request(
    wire: &Wire,
    login: &Login,
    form: &Form,
) -> Result<(HeaderValue, Option<Lease>), CallError> {
    let mount = login.mount();
    let mut fields = form.fields.clone();
    if let Some((name, token, path)) = &form.wrapped {
        let wrapped = Wrapped { token, path, mount };
        fields.push((*name, wrapped.open(wire).await?));
    }
    let mut call = Call::form(format!("auth/{mount}/login"), &fields);
    call.what = format!("log in to Vault at {}", call.path);
    let from = Instant::now();
    let mut answer = wire.exchange(&call, None).await?;
    let status = answer.status;
    let Some(auth) = answer.body.auth.as_mut().filter(|_| status == 200) else {
        let words = answer.words() + &login.hint(status);
        return Err(refused(&call, status, &words));
    };
    let header = header(&call, &auth.token())?;
    let ttl = Duration::from_secs(auth.lease_duration);
    Ok((header, Lease::new(from, ttl, ttl, auth.renewable)))
}

/// Vault's own word against the credentials; an answer that is not a refusal but is incomplete decides nothing.
fn refused(call: &Call, status: u16, words: &str) -> CallError {
    let kind = match status {
        400..=499 => ErrorKind::Unauthorized,
        _ => ErrorKind::Transient,
    };
    call.error(kind, format!("Vault answered {status}: {words}"))
}

/// What `auth/token/lookup-self` returns; only at the start of a token's use, because a standby may show it frozen.
#[derive(Deserialize)]
struct LookUp {
    #[serde(default)]
    ttl: u64,
    /// How long it lived when it was created, and lives after a renewal.
    #[serde(default)]
    creation_ttl: u64,
    #[serde(default)]
    renewable: bool,
}

async fn by_token(
    wire: &Wire,
    login: &Login,
    value: &TokenValue,
) -> Result<(HeaderValue, Option<Lease>), CallError> {
    let call = look_up();
    let header = header(&call, value)?;
    let from = Instant::now();
    let answer = wire.exchange(&call, Some(&header)).await?;
    match answer.status {
        200 => {}
        403 => return Err(dead(&call, login)),
        status => return Err(refused(&call, status, &answer.words())),
    }
    let Ok(Some(seen)) = answer.data::<LookUp>() else {
        return Err(call.unexpected());
    };
    let ttl = Duration::from_secs(seen.ttl);
    let lease = Lease::new(from, ttl, ttl, seen.renewable);
    // A pass ends long before 60 % of what is left: without this no pass would ever renew the token.
    let is_late = ttl
        < Duration::from_secs(seen.creation_ttl)
            .min(LONGEST)
            .mul_f64(0.4);
    let lease = lease.map(|lease| match is_late {
        true => Lease {
            care: from,
            ..lease
        },
        false => lease,
    });
    Ok((header, lease))
}

/// The question whether a token is alive.
pub(super) fn look_up() -> Call {
    Call::get("auth/token/lookup-self").named("use the Vault token")
}

/// The error for a token that cannot even look itself up.
pub(super) fn dead(call: &Call, login: &Login) -> CallError {
    let from = match login {
        Login::Token(token) => format!(" from {}", token.origin()),
        _ => String::new(),
    };
    let text = format!(
        "Vault answered 403 at auth/token/lookup-self: the token{from} is wrong, expired or revoked; put a valid one there (or it lacks the policy \
         line `path \"auth/token/lookup-self\" {{ capabilities = [\"read\"] }}`)"
    );
    call.error(ErrorKind::Unauthorized, text)
}

fn header(call: &Call, value: &TokenValue) -> Result<HeaderValue, CallError> {
    http::sensitive(value.expose()).ok_or_else(|| {
        let text = "the token contains a character that is not allowed in a header";
        call.error(ErrorKind::Unauthorized, text)
    })
}
