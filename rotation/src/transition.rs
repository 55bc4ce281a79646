//! The changes of a journal document. Each exists once, whoever makes it.

use std::time::Duration;

use jiff::Timestamp;

use super::context::{Context, MintState};
use super::event::{EventName, Report};
use super::marker::{Marker, NameDigest};
use super::plausibility::AHEAD;
use super::reason::Reason;
use super::record::{
    Current, EntryFailure, EntryReason, Failure, Origin, Record, Retiring, RetiringState,
};
use super::request::Now;
use super::retiring::Usage;
use super::size;
use super::token::{TokenId, TokenInfo};

/// A token that leaves use.
pub struct Leaving {
    /// Its id.
    pub id: TokenId,
    /// The version of the secret since which it is not current.
    pub base: u64,
    /// Where it came from.
    pub origin: Origin,
    /// The digest of its name, if that bears our marker.
    pub digest: Option<NameDigest>,
}

impl Leaving {
    /// A token that was found with our marker.
    pub fn marked(info: &TokenInfo, base: u64) -> Self {
        Leaving {
            id: info.id.clone(),
            base,
            origin: Origin::Marker,
            digest: Some(NameDigest::of(&info.name)),
        }
    }
}

/// `new` is the current token; the former one, if it is another, retires. Returns the former one.
pub fn make_current(cx: &Context<'_>, record: &mut Record, new: Current) -> Option<Current> {
    let version = new.version;
    record.retiring.retain(|entry| entry.id != new.id);
    record.health.invalid = None;
    record.health.went_back_at = None;
    let former = record.current.take().filter(|former| former.id != new.id);
    record.current = Some(new);
    if let Some(former) = &former {
        let leaving = Leaving {
            id: former.id.clone(),
            base: version.saturating_sub(1),
            origin: Origin::Version(former.version),
            digest: former.digest.clone(),
        };
        put_into_grace(cx, record, leaving);
        // What stands in `version` is known: the new token.
        if let Some(entry) = record
            .retiring
            .last_mut()
            .filter(|_| cx.request.env.history)
        {
            entry.clean_through = version;
        }
    }
    former
}

/// A token is on its way out: it stays enabled for the grace time.
pub fn put_into_grace(cx: &Context<'_>, record: &mut Record, leaving: Leaving) {
    record.retiring.retain(|entry| entry.id != leaving.id);
    record.retiring.push(Retiring {
        id: leaving.id,
        state: RetiringState::Grace,
        // Without history versions are fingerprints, and nothing can be fenced.
        base: if cx.request.env.history {
            leaving.base
        } else {
            0
        },
        clean_through: 0,
        since: cx.now.wall,
        due: cx.now.after(cx.plan().grace),
        disable_unconfirmed_since: None,
        origin: leaving.origin,
        digest: leaving.digest,
        base_url: record.coordinates.base_url.clone(),
        usage: Usage::default(),
        outage_counted_until: None,
        missed: None,
        failure: None,
        unknown: Default::default(),
    });
}

/// The grace of an entry begins again: it may have been current, or may be stored still, since version `base`.
pub fn restart_grace(cx: &Context<'_>, entry: &mut Retiring, base: u64) {
    entry.state = RetiringState::Grace;
    entry.base = base;
    entry.clean_through = 0;
    entry.due = cx.now.after(cx.plan().grace.max(Duration::from_secs(1)));
}

/// What an undo may have enabled, and may still store, retires anew.
pub fn back_into_grace(cx: &Context<'_>, record: &mut Record, id: &TokenId, base: u64) {
    if let Some(entry) = entry_mut(record, id) {
        let base = entry.base.max(base);
        restart_grace(cx, entry, base);
    }
}

/// The entry of a retiring token, to change it. One that only a newer version understands is not changed.
pub fn entry_mut<'a>(record: &'a mut Record, id: &TokenId) -> Option<&'a mut Retiring> {
    let entry = record.retiring.iter_mut().find(|entry| entry.id == *id);
    entry.filter(|entry| !entry.is_newer())
}

/// Moves the watermark of every entry over the version that was just stored against `base`: its content is known, and so is that of
/// the version before.
pub fn advance_watermarks(record: &mut Record, base: u64, version: u64) {
    for entry in &mut record.retiring {
        if entry.clean() == base && version == base + 1 {
            entry.clean_through = version;
        }
    }
}

/// The claim is released; a claimed attempt that may have left a token behind becomes open.
pub fn release_claim(cx: &Context<'_>, record: &mut Record) {
    let Some(claim) = record.claim.take() else {
        return;
    };
    let may_exist = cx.progress.candidate.is_some() || cx.progress.mint == MintState::Unknown;
    if let Some(attempt) = claim.attempt() {
        if may_exist && cx.progress.mint != MintState::Discarded {
            record.open.push(attempt.opened(claim.due(), cx.now.wall));
        } else if let Some(digest) = &attempt.digest {
            record.attempts.ledger.close(attempt.n, digest.clone());
        }
    }
}

/// An open attempt is settled. Its name is remembered, so that a copy of it is recognised.
pub fn close_attempt(record: &mut Record, attempt: u64) {
    let digest = record.open.iter().find(|open| open.attempt == attempt);
    if let Some(digest) = digest.and_then(|open| open.digest.clone()) {
        record.attempts.ledger.close(attempt, digest);
    }
    record.open.retain(|open| open.attempt != attempt);
}

/// The claimed rotation's token is the current value: what it served is served, and its name is remembered.
pub fn close_claimed(cx: &Context<'_>, record: &mut Record) {
    let Some(claim) = record.claim.take() else {
        return;
    };
    serve(cx, record, claim.due());
    if let Some((attempt, digest)) = claim
        .attempt()
        .and_then(|attempt| Some((attempt.n, attempt.digest.clone()?)))
    {
        record.attempts.ledger.close(attempt, digest);
    }
}

/// This due instant is served. An implausible one from a clock that was ahead is replaced.
pub fn serve(cx: &Context<'_>, record: &mut Record, due: Option<Timestamp>) {
    let latest = cx.now.after(AHEAD);
    let former = record
        .last_due
        .filter(|last| !cx.clock_is_trusted() || *last <= latest);
    record.last_due = former.max(due);
}

/// The secret works again as it should.
pub fn succeed(record: &mut Record, now: Now) -> Option<Failure> {
    record.health.last_success = Some(now.wall);
    record.health.failure.take()
}

/// A failure is written down. Returns true if it was known.
pub fn fail(
    record: &mut Record,
    reason: Reason,
    message: &str,
    retry_at: Option<Timestamp>,
    now: Now,
) -> bool {
    let former = record.health.failure.take();
    // One cause may stop rotation and clean-up alike: it is one failure.
    let known = former
        .as_ref()
        .is_some_and(|failure| failure.reason == reason || failure.message == message);
    let count = former
        .as_ref()
        .map_or(0, |failure| failure.count)
        .saturating_add(1);
    let since = former
        .filter(|failure| failure.reason == reason)
        .map_or(now.wall, |failure| failure.since);
    record.health.failure = Some(Failure {
        reason,
        message: message.to_owned(),
        since,
        at: now.wall,
        count,
        retry_at,
    });
    known
}

/// The next step of a retirement cannot be done now; it is retried at `due`. Returns true if that was known.
pub fn fail_entry(
    entry: &mut Retiring,
    reason: EntryReason,
    message: &str,
    due: Timestamp,
    now: Now,
) -> bool {
    let former = entry
        .failure
        .take()
        .filter(|failure| failure.reason == reason);
    let known = former.is_some();
    entry.due = due;
    entry.failure = Some(EntryFailure {
        reason,
        message: size::cut(message),
        since: former.as_ref().map_or(now.wall, |failure| failure.since),
        attempts: former
            .map_or(0, |failure| failure.attempts)
            .saturating_add(1),
    });
    known
}

/// The token stays disabled from now on for the quarantine.
pub fn quarantine(cx: &Context<'_>, record: &mut Record, id: &TokenId) {
    let due = cx.now.after(cx.plan().quarantine);
    if let Some(entry) = entry_mut(record, id) {
        entry.state = RetiringState::Quarantine;
        entry.due = due;
        entry.usage.held_since = None;
        entry.failure = None;
    }
    record.claim = None;
}

/// The number of the next attempt, with the claim on it. `None` = the numbers are used up.
pub fn next_attempt(record: &mut Record) -> Option<u64> {
    record.attempts.attempt = record.attempts.attempt.checked_add(1)?;
    Some(record.attempts.attempt)
}

/// Dynatrace knows a later attempt than the journal: Vault was restored from a backup, or the document was lost.
pub fn went_back(cx: &Context<'_>, record: &mut Record, seen: u64) -> Report {
    let known = record.attempts.attempt;
    let until = cx.now.after(cx.plan().settle);
    record.health.hold_until = Some(until);
    record.health.went_back_at = Some(cx.now.wall);
    record.attempts.attempt = seen;
    record.attempts.unaccounted_through = seen;
    Report::new(
        EventName::VaultWentBack,
        format!(
            "Dynatrace knows attempt {seen} of this secret, but the journal only {known}: Vault was restored from a backup, or the document \
             was lost. Nothing is disabled before {until}. Check that consumers use the value that is in Vault now"
        ),
    )
}

/// The marker of an adopted token of this secret: it bears number 0.
pub fn adopted_marker(record: &Record) -> Marker {
    Marker {
        epoch: record.epoch.clone(),
        attempt: 0,
    }
}
