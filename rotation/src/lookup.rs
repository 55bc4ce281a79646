//! The outcome of a look-up, and what answers that cannot be trusted mean.

use super::error::{CallError, ErrorKind, Service};
use super::token::{TokenId, TokenInfo};

/// What a look-up found.
#[expect(
    clippy::large_enum_variant,
    reason = "almost every look-up finds its token"
)]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Lookup {
    /// The token as the environment shows it.
    Found(TokenInfo),
    /// The environment answered 404.
    NotFound,
}

impl Lookup {
    /// The token; none = it was not found.
    pub fn found(&self) -> Option<&TokenInfo> {
        match self {
            Lookup::Found(info) => Some(info),
            Lookup::NotFound => None,
        }
    }
}

pub fn reads_disagree() -> CallError {
    CallError::new(
        Service::Vault,
        ErrorKind::Transient,
        "reads of the secret in a row returned different values; does a proxy mix up answers, or is it being written all the time?",
    )
}

/// What an answer says about the token that was asked for. One about another token belongs to another request and says nothing.
pub fn lookup(
    asked: Option<&TokenId>,
    info: Result<TokenInfo, CallError>,
) -> Result<Lookup, CallError> {
    match info {
        Ok(info) if asked.is_some_and(|asked| *asked != info.id) => Err(CallError::new(
            Service::Dynatrace,
            ErrorKind::Transient,
            format!(
                "the answer to a look-up is about another token, {}, so it belongs to another request",
                info.id
            ),
        )),
        Ok(info) => Ok(Lookup::Found(info)),
        Err(error) if error.kind == ErrorKind::Gone => Ok(Lookup::NotFound),
        Err(error) => Err(error),
    }
}

/// A 404 could not be confirmed: the environment did not answer for a token that exists.
pub fn unconfirmed(mut error: CallError) -> CallError {
    if error.kind == ErrorKind::Gone {
        error.kind = ErrorKind::Transient;
    }
    error.what = format!(
        "got 404, but the environment also failed a look-up of a token known to exist, so the 404 is not trusted: {}",
        error.what
    );
    error
}

/// What was read last. Where one answer is not enough, because it could belong to another request, it counts when a second one equals it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Reading<T> {
    pub(super) last: T,
    pub(super) repeated: bool,
}

impl<T: PartialEq> Reading<T> {
    pub(super) fn after(former: Option<&Self>, last: T) -> Self {
        let repeated = former.is_some_and(|former| former.last == last);
        Reading { last, repeated }
    }
}

impl Reading<Lookup> {
    /// The look-up of a value. A token that was found counts when the value shows its id, or when a second look-up equals it.
    pub(super) fn counted(&self, shown: Option<&TokenId>) -> Option<&Lookup> {
        let counts = self.repeated || self.last == Lookup::NotFound || shown.is_some();
        counts.then_some(&self.last)
    }
}
