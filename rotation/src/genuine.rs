//! Is a value that of the token whose id it shows? The id in a value is public and survives where the rest is cut off or mistyped.

use super::capabilities::Proof;
use super::context::Context;
use super::record::{Origin, Retiring};
use super::request::Goal;
use super::token::TokenInfo;
use super::view::Fact;

/// What is known of a value that shows the id of one of this secret's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Genuine {
    /// It is that token's.
    Yes,
    /// It is not, although it shows the id: a token has one value, and that is another.
    No,
    /// Nothing shows it: a call with it did not succeed, or there is none, and there is no version to compare it with.
    Unknown,
}

/// A token's value was proven in version `proven_in` of this secret; that very version is believed. Any other is compared with it, and tried.
/// A token that is not enabled cannot be tried.
pub fn genuine(cx: &Context<'_>, info: &TokenInfo, proven_in: Option<u64>) -> Fact<Genuine> {
    let secret = cx.view.secret(cx.record)?;
    let proof = cx.env().capabilities.proof;
    if proof == Proof::Itself || proven_in == Some(secret.version()) || is_named(cx, info) {
        return Ok(Genuine::Yes);
    }
    let mut differs = false;
    if let Some(version) = proven_in.filter(|version| *version > 0 && cx.env().history)
        && let Some(proven) = cx.view.version(version)?.value()
        && proven.id.as_ref() == Some(&info.id)
    {
        let fingerprint = secret.value().map(|value| value.fingerprint);
        differs = fingerprint != Some(proven.fingerprint);
        if !differs {
            return Ok(Genuine::Yes);
        }
    }
    Ok(match info.enabled && cx.view.value_is_proven()? {
        true => Genuine::Yes,
        false if differs => Genuine::No,
        false => Genuine::Unknown,
    })
}

/// The version of this secret in which the value of a retiring token was proven, if it was ever current.
pub fn proven_in(entry: &Retiring) -> Option<u64> {
    match entry.origin {
        Origin::Version(version) => Some(version),
        Origin::Marker | Origin::Newer(_) => None,
    }
}

/// A person named this token because nothing proves that the value is its.
pub fn is_named(cx: &Context<'_>, info: &TokenInfo) -> bool {
    matches!(&cx.request.goal, Goal::Adopt(id) if *id == info.id)
}
