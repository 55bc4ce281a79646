//! Whose is a token (promise P9)? Only what was read in this run from the service that knows counts: the marker in its name at Dynatrace,
//! or its value in a version of this secret. An id, an entry of the journal or a single answer is evidence, never proof.

use jiff::SignedDuration;

use super::capabilities::Proof;
use super::context::Context;
use super::marker::{Marker, NameDigest};
use super::plausibility::AHEAD;
use super::record::{Begin, Origin, Record, Retiring};
use super::retiring::Backstop;
use super::token::{TokenId, TokenInfo, manages_tokens};
use super::view::{Fact, Lookup};

/// A number that is further above the document's, or above that of the value that was read, than this was not given out by us.
pub const MAX_JUMP: u64 = 100_000;

/// A token is older than an attempt only if it is by more than the clocks of this machine and of the services may differ: a wrong "older" would keep
/// an orphan for its grace and report a restore that was none.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_secs(AHEAD.as_secs() as i64);
/// Within this a token is as old as the attempt that made it. In between it may be either, so it is not deleted at once.
const SAME_TIME: SignedDuration = SignedDuration::from_secs(2);

/// What a token whose name bears this secret's marker is to this secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kinship {
    /// It was ordered by this open attempt.
    Open(u64),
    /// It was ordered by the attempt under the claim.
    Claimed(u64),
    /// It has number and name of an attempt that began after it was made: Vault was restored to before that number was given out first.
    Earlier(u64),
    /// It may be one of ours that the document does not know: of a later attempt, of one before this document, or a late mint.
    Unknown(u64),
    /// Its number is accounted for and its name is another, or its number was never given out: somebody copied a marked name.
    Copy,
}

/// What this token is to this secret; none = its name does not bear the secret's marker.
pub fn kinship(record: &Record, info: &TokenInfo) -> Option<Kinship> {
    let name = &info.name;
    let n = Marker::of(name, &record.epoch)?.attempt;
    let attempts = &record.attempts;
    // 0 marks an adopted token: it is unknown only to a document that was recreated.
    let given_out = n > 0 || attempts.unaccounted_through > 0;
    let plausible = given_out && n <= attempts.attempt.saturating_add(MAX_JUMP) && n < u64::MAX;
    let matches = |digest: Option<&NameDigest>| digest.is_none_or(|it| *it == NameDigest::of(name));
    let claimed = record.claimed_attempt().filter(|attempt| attempt.n == n);
    let open = record.open.iter().find(|open| open.attempt == n);
    let made_by = |begin: &Begin, ours| match older_by(info, begin) > CLOCKS_DIFFER {
        true => Kinship::Earlier(n),
        false => ours,
    };
    let (ordered, ours) = match (claimed, open, attempts.ledger.digest(n)) {
        (Some(attempt), _, _) => (
            attempt.digest.as_ref(),
            made_by(&attempt.begin, Kinship::Claimed(n)),
        ),
        (None, Some(open), _) => (open.digest.as_ref(), made_by(&open.begin, Kinship::Open(n))),
        (None, None, Some(digest)) => (Some(digest), Kinship::Unknown(n)),
        (None, None, None) => {
            let accounted = n > attempts.unaccounted_through && n <= attempts.attempt;
            return Some(match plausible && !accounted {
                true => Kinship::Unknown(n),
                false => Kinship::Copy,
            });
        }
    };
    Some(match plausible && matches(ordered) {
        true => ours,
        false => Kinship::Copy,
    })
}

/// By how much a token is older than the begin of an attempt, as far as is known. Where a service does not return when a token was made, its
/// expiry shows it: nobody moved that of a token that was never recorded.
fn older_by(info: &TokenInfo, begin: &Begin) -> SignedDuration {
    let by = match (info.created, begin.began, info.expires, begin.expires) {
        (Some(created), Some(began), ..) => Some(created.duration_until(began)),
        (None, _, Some(expires), Some(least)) => Some(expires.duration_until(least)),
        _ => None,
    };
    by.unwrap_or_default()
}

/// It may be older than the attempt that has its number and name.
pub fn may_be_older(info: &TokenInfo, begin: &Begin) -> bool {
    older_by(info, begin) > SAME_TIME
}

/// Is this retiring token, as just read, this secret's own, so that it may be disabled or deleted? The inner error says why not.
pub fn prove(cx: &Context<'_>, entry: &Retiring, info: &TokenInfo) -> Fact<Result<(), String>> {
    if let Some(why) = never_touched(cx, info) {
        return Ok(Err(why));
    }
    if !info.personal && bears_our_marker(cx.record, entry, info) {
        return Ok(Ok(()));
    }
    let ours = match end(cx, entry, info) {
        Some(backstop) if backstop.is_moved() || entry.named => is_shown(cx, entry)?,
        _ => stood_in_a_version(cx, entry)?,
    };
    Ok(proven(ours, info))
}

/// Is this the token that a person named when its value could not prove it, so that it may get an end?
pub fn prove_named(
    cx: &Context<'_>,
    entry: &Retiring,
    info: &TokenInfo,
) -> Fact<Result<(), String>> {
    if let Some(why) = never_touched(cx, info) {
        return Ok(Err(why));
    }
    Ok(proven(is_shown(cx, entry)?, info))
}

/// A version of this secret shows the token's id: an entry of the document alone proves nothing.
fn is_shown(cx: &Context<'_>, entry: &Retiring) -> Fact<bool> {
    for version in versions(entry).filter(|_| cx.env().history) {
        if cx.view.version(version)?.id() == Some(&entry.id) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn proven(is_ours: bool, info: &TokenInfo) -> Result<(), String> {
    match is_ours {
        true => Ok(()),
        false => Err(format!(
            "nothing proves that {} ({:?}) is a token of this secret: its name does not bear the marker that dtrotate gave it, and no \
             readable version of the secret holds its value",
            info.id, info.name
        )),
    }
}

/// The versions of the secret that may hold the token of this entry.
fn versions(entry: &Retiring) -> impl Iterator<Item = u64> + use<> {
    let origin = match entry.origin {
        Origin::Version(version) => version,
        Origin::Marker | Origin::Newer(_) => 0,
    };
    [origin, entry.base].into_iter().filter(|&it| it > 0)
}

/// Only a trial of its value can prove it, and a trial looks like a use of the token.
pub fn takes_a_trial(cx: &Context<'_>, entry: &Retiring, info: &TokenInfo) -> bool {
    cx.env().capabilities.proof == Proof::Probe
        && !bears_our_marker(cx.record, entry, info)
        && !cx.view.version_was_proven(&entry.id)
}

/// Another configured secret whose current token this is.
pub fn other_holder<'a>(cx: &Context<'a>, id: &TokenId) -> Option<&'a str> {
    let holders = cx.env().current_tokens.get(id)?;
    let other = holders.iter().find(|name| ***name != *cx.plan().name)?;
    Some(other)
}

/// The token can manage tokens, so it is never ended by this secret, whatever a document says: why.
pub fn manages(cx: &Context<'_>, info: &TokenInfo) -> Option<&'static str> {
    if cx.env().management_tokens.contains(&info.id) {
        return Some("is in use as a management token");
    }
    let may_manage = manages_tokens(&info.scopes) && !cx.plan().manages_tokens;
    may_manage.then_some("has rights to manage tokens")
}

/// What protects this token, whatever a document says.
fn never_touched(cx: &Context<'_>, info: &TokenInfo) -> Option<String> {
    if let Some(why) = manages(cx, info) {
        return Some(format!("{} {why}", info.id));
    }
    let marker = Marker::of_a_secret(&info.name);
    let other = marker.filter(|marker| marker.epoch != cx.record.epoch)?;
    Some(format!(
        "the name of {} bears the marker {other} of another secret",
        info.id
    ))
}

/// The name bears this secret's marker, and it is the name that the token had when it was put here. An entry of an older version, which
/// remembers no name, must have a number that is not accounted for.
fn bears_our_marker(record: &Record, entry: &Retiring, info: &TokenInfo) -> bool {
    let name = &info.name;
    match &entry.digest {
        Some(digest) => {
            let marker = Marker::of(name, &record.epoch);
            marker.is_some_and(|marker| marker.attempt <= record.attempts.attempt)
                && *digest == NameDigest::of(name)
        }
        None => !matches!(kinship(record, info), None | Some(Kinship::Copy)),
    }
}

/// The backstop that ended it: it is disabled or expired, and expires at exactly that time. The document says so, and anybody who can write it could
/// copy the expiry of any token, so it counts only beside a version of this secret that shows the token. Only where a token cannot be marked by its
/// name.
fn end<'a>(cx: &Context<'_>, entry: &'a Retiring, info: &TokenInfo) -> Option<&'a Backstop> {
    let ended = !info.enabled || info.expires.is_some_and(|end| end <= cx.now.wall);
    let can_be = ended && !cx.env().capabilities.rename;
    let backstop = entry.backstop.as_ref().filter(|_| can_be);
    backstop.filter(|backstop| backstop.has_set(info.expires))
}

/// The token's value was read from a version of this secret in this run, and the environment said that it is this token. Where
/// versions are kept, two equal answers about the latest value are not enough: the version itself is read.
fn stood_in_a_version(cx: &Context<'_>, entry: &Retiring) -> Fact<bool> {
    if cx.env().capabilities.proof == Proof::Listed {
        // The id in a value is public, and nothing shows more.
        return Ok(false);
    }
    if !cx.env().history {
        return Ok(cx.view.value_was_proven(&entry.id));
    }
    if cx.view.version_was_proven(&entry.id) {
        return Ok(true);
    }
    for version in versions(entry) {
        let Some(value) = cx.view.version(version)?.value() else {
            continue;
        };
        let may_be_it = value.id.as_ref().is_none_or(|id| *id == entry.id);
        if may_be_it
            && let Lookup::Found(info) = cx.view.version_value(version)?
            && info.id == entry.id
        {
            return Ok(true);
        }
    }
    Ok(false)
}
