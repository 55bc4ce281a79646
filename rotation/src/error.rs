//! What can go wrong in a call to the outside, sorted by what the caller can do about it.
//!
//! The kinds are few on purpose: the machine decides by kind, never by text or status code. The most important one is
//! [`ErrorKind::Unclear`]: the call may have taken effect although no good answer came back. A mint is never repeated after it,
//! a store is settled by reading back, a disable taints its entry.

use std::time::Duration;

/// The outside service that a call was made to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// HashiCorp Vault or OpenBao.
    Vault,
    /// A Dynatrace environment.
    Dynatrace,
}

impl std::fmt::Display for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Service::Vault => "Vault",
            Service::Dynatrace => "Dynatrace",
        })
    }
}

/// What the caller can do about a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Nothing happened, and the same call may succeed later: not sent, refused connection, sealed, a read that timed out.
    Transient,
    /// Nothing happened, because the server was asked too often (429). The service is available.
    RateLimited,
    /// Nothing happened, and the same call will not succeed until a human changes something (400, 403 of a policy, 415).
    Refused,
    /// Nothing happened: the owner of the new token has as many tokens as an owner may have. It may succeed when one of them is gone.
    Exhausted,
    /// Nothing happened, because the service no longer has this API. It concerns every secret of that service, and waiting does not help.
    Closed,
    /// Nothing happened, because our own credential was not accepted: the Vault token, or the environment's management token.
    /// It concerns every secret of that service, not one.
    Unauthorized,
    /// The object is not there (404). Evidence, not a fact: the caller decides what it proves.
    Gone,
    /// A check-and-set did not match. Nothing was written by this call.
    Conflict,
    /// It may have happened: time-out or reset after sending, a 5xx of a write, an answer that is not the API's.
    Unclear,
}

/// A failed call. `what` is a sentence for people: it names the operation, the status and the server's own words,
/// and never holds a token value, a body or a header.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{what}")]
pub struct CallError {
    /// What the caller can do about it.
    pub kind: ErrorKind,
    /// Who refused, or did not answer.
    pub service: Service,
    /// The sentence for people.
    pub what: String,
    /// The server asked to wait this long (`Retry-After`, `X-RateLimit-Reset`).
    pub retry_after: Option<Duration>,
}

/// The answer to a call.
pub type Result<T> = std::result::Result<T, CallError>;

impl CallError {
    /// An error without a time to wait.
    pub fn new(service: Service, kind: ErrorKind, what: impl Into<String>) -> Self {
        CallError {
            kind,
            service,
            what: what.into(),
            retry_after: None,
        }
    }

    /// The same error with the server's wish to be left alone for `wait`.
    pub fn retry_after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait;
        self
    }
}
