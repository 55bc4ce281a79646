//! What was asked of the stand-in, so that a test can count it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What a request asks for, whichever API generation it uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Operation {
    /// GET of the tokens of an environment, a cluster or an account.
    ListTokens,
    /// POST of a new one.
    CreateToken,
    /// GET of one by its id.
    GetToken,
    /// POST of a value to `lookup`.
    LookupToken,
    /// PUT or PATCH of name, scopes or state.
    UpdateToken,
    /// DELETE of one by its id.
    DeleteToken,
    /// PUT of a platform token's expiration date.
    RedateToken,
    /// GET of the service users of an account, or of one of them.
    ReadServiceUsers,
    /// POST of client credentials to the single sign-on.
    IssueAccessToken,
    /// GET of the environment's own description, by which a platform token proves itself.
    GetEnvironment,
    /// POST that asks for the effective permissions of a platform token.
    ResolvePermissions,
    /// GET of something else that a platform token can be tried on: user, documents, workflows, settings.
    Probe,
    /// GET of the ActiveGates that are connected.
    ListActiveGates,
    /// POST of an event to the events API v2.
    IngestEvent,
    /// GET of a KV v2 `data` path.
    ReadSecret,
    /// POST or PUT to a KV v2 `data` path.
    WriteSecret,
}

/// One request as it arrived. It never holds a token value: a secret sent in a path is shown by its id.
#[derive(Debug, Clone)]
pub struct Call {
    /// The place in the order of calls since the start or the last reset.
    pub number: usize,
    /// When it arrived, by the stand-in's clock.
    pub at: Timestamp,
    /// When it arrived, on the monotonic clock.
    pub instant: Instant,
    /// `GET`, `POST` and so on.
    pub method: String,
    /// The path with the token's id or the secret's path left out, e.g. `/api/v2/apiTokens/{id}`.
    pub path: String,
    /// `None` when the request is not of the API.
    pub operation: Option<Operation>,
    /// True for the tokens API v1.
    pub v1: bool,
    /// The id of the token that authenticated or tried to.
    pub credential: Option<String>,
    /// The id of the token that the request is about; in front of a Vault the secret's mount and path.
    pub subject: Option<String>,
    /// That token's name at the time of the call, or the name asked for in a create.
    pub name: Option<String>,
    /// True when a path carried a token value instead of an id.
    pub secret_in_path: bool,
    /// The status sent back; `None` while unanswered, and when the answer was lost or the connection closed.
    pub status: Option<u16>,
}

/// The append-only list behind a handle.
#[derive(Debug, Default)]
pub(crate) struct CallLog {
    calls: Mutex<Vec<Call>>,
    off: bool,
}

impl CallLog {
    pub(crate) fn new(keep: bool) -> CallLog {
        CallLog {
            calls: Mutex::default(),
            off: !keep,
        }
    }

    /// Returns the number under which the answer is to be noted.
    pub(crate) fn begin(&self, mut call: Call) -> usize {
        if self.off {
            return 0;
        }
        let mut calls = lock(&self.calls);
        call.number = calls.len();
        calls.push(call);
        calls.len() - 1
    }

    pub(crate) fn answered(&self, number: usize, arrived: Instant, status: u16) {
        let mut calls = lock(&self.calls);
        if let Some(call) = calls.get_mut(number).filter(|call| call.instant == arrived) {
            call.status = Some(status);
        }
    }

    pub(crate) fn all(&self) -> Vec<Call> {
        lock(&self.calls).clone()
    }

    pub(crate) fn reset(&self) {
        lock(&self.calls).clear();
    }

    pub(crate) fn count(&self, operation: Operation) -> usize {
        lock(&self.calls)
            .iter()
            .filter(|call| call.operation == Some(operation))
            .count()
    }

    pub(crate) fn counts(&self) -> BTreeMap<Operation, usize> {
        let mut counts = BTreeMap::new();
        for call in lock(&self.calls).iter() {
            if let Some(operation) = call.operation {
                *counts.entry(operation).or_default() += 1;
            }
        }
        counts
    }
}

/// Locks, also after another thread panicked: a test that fails elsewhere must not fail here as well.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
