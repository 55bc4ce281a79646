//! The changes of a journal document. Each exists once, whoever makes it.

use std::time::Duration;

use jiff::Timestamp;

use super::announcement::{self, Announcement};
use super::context::{Change, Context};
use super::event::{EventName, Report};
use super::marker::NameDigest;
use super::plausibility::AHEAD;
use super::reason::Reason;
use super::record::{
    Claim, Current, EntryFailure, EntryReason, Failure, Origin, Record, Retiring, RetiringState,
    Revert, Revoked,
};
use super::request::{JournalSnapshot, Now};
use super::retiring::Usage;
use super::size;
use super::token::{TokenId, TokenInfo};

/// A token that leaves use.
pub struct Leaving {
    pub id: TokenId,
    /// The version of the secret since which it is not current.
    pub base: u64,
    pub origin: Origin,
    /// The digest of its name, if that bears our marker.
    pub digest: Option<NameDigest>,
    /// A person named it when it was adopted.
    pub named: bool,
}

impl Leaving {
    /// A token that was found with our marker.
    pub fn marked(info: &TokenInfo, base: u64) -> Self {
        Leaving {
            id: info.id.clone(),
            base,
            origin: Origin::Marker,
            digest: Some(NameDigest::of(&info.name)),
            named: false,
        }
    }

    /// A token that was the current one.
    pub fn former(former: Current, base: u64) -> Self {
        Leaving {
            id: former.id,
            base,
            origin: Origin::Version(former.version),
            digest: former.digest,
            named: former.named,
        }
    }
}

/// `new` is the current token; the former one, if it is another, retires. Returns the id of the former one.
pub fn make_current(cx: &Context<'_>, record: &mut Record, new: Current) -> Option<TokenId> {
    let version = new.version;
    let is_back = record.retiring(&new.id).is_some();
    record.retiring.retain(|entry| entry.id != new.id);
    record.health.invalid = None;
    record.health.went_back_at = None;
    record.unreplaced = None;
    let former = record.current.replace(new);
    let former = former.filter(|former| !record.is_current(&former.id))?;
    let id = former.id.clone();
    let leaving = Leaving::former(former, version.saturating_sub(1));
    put_into_grace(cx, record, leaving);
    if let Some(entry) = record.retiring.last_mut() {
        entry.undone = is_back;
        if cx.env().history {
            // The content of `version` is known: the new token.
            entry.clean_through = version;
        }
    }
    Some(id)
}

/// A person's own token becomes the current one; that the former one retires is reported.
pub fn accept_foreign(cx: &Context<'_>, record: &mut Record, new: Current) -> Option<Report> {
    let id = new.id.clone();
    let former = make_current(cx, record, new)?;
    let message = format!(
        "someone replaced {former} by {id}; their token is kept as the current one, and {former} will be retired"
    );
    let report = Report::new(EventName::SecretChangedElsewhere, message);
    Some(report.token(&id).old(&former))
}

/// Someone put the former value `id` back.
pub fn note_revert(record: &mut Record, id: &TokenId, version: u64, now: Now) {
    let reverts = &mut record.health.reverts;
    reverts.push(Revert {
        id: id.clone(),
        version,
        at: now.wall,
    });
    let more_than_two = reverts.len().saturating_sub(2);
    reverts.drain(..more_than_two);
}

/// The token that is to be ended at once, if it retires by now: it is not brought back, and its next step is due.
pub fn mark_revoked(record: &mut Record, now: Now) {
    let Some(order) = record.revoking.clone() else {
        return;
    };
    let entry = record.retiring_mut(&order.token);
    if let Some(entry) = entry.filter(|entry| entry.revoked.is_none()) {
        entry.revoked = Some(Revoked {
            at: order.at,
            by: order.by,
        });
        entry.due = now.wall;
        entry.usage = Usage::default();
        entry.failure = None;
    }
}

/// The recorded token leaves use, and none takes its place. `base`: the version since which it is not current.
pub fn retire_current(cx: &Context<'_>, record: &mut Record, base: u64) {
    if let Some(former) = record.current.take() {
        put_into_grace(cx, record, Leaving::former(former, base));
    }
}

/// A token is on its way out: it stays enabled for the grace time.
pub fn put_into_grace(cx: &Context<'_>, record: &mut Record, leaving: Leaving) {
    record.retiring.retain(|entry| entry.id != leaving.id);
    record.retiring.push(Retiring {
        id: leaving.id,
        state: RetiringState::Grace,
        // Without history versions are fingerprints, and nothing can be fenced.
        base: if cx.env().history { leaving.base } else { 0 },
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
        backstop: None,
        named: leaving.named,
        failure: None,
        undone: false,
        revoked: None,
        unknown: Default::default(),
    });
}

/// The grace of an entry begins again: it may have been current, or may be stored still, since version `base`.
pub fn restart_grace(cx: &Context<'_>, entry: &mut Retiring, base: u64) {
    entry.state = RetiringState::Grace;
    entry.base = base;
    entry.clean_through = 0;
    entry.due = another_grace(cx);
    // It may have been moved meanwhile: it is looked at again.
    if let Some(backstop) = &mut entry.backstop {
        backstop.confirmed = false;
    }
}

/// The end of a grace that begins now, but not now.
pub fn another_grace(cx: &Context<'_>) -> Timestamp {
    cx.now.after(cx.plan().grace.max(Duration::from_secs(1)))
}

/// What an undo may have enabled, and may still store, begins its grace again.
pub fn back_into_grace(cx: &Context<'_>, record: &mut Record, id: &TokenId, base: u64) {
    if let Some(entry) = record.retiring_mut(id) {
        let base = entry.base.max(base);
        restart_grace(cx, entry, base);
    }
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
    if cx.token_may_exist() {
        open_claimed(cx, record);
    } else {
        close_claim(record);
    }
}

/// The claim is released, and its attempt becomes open.
pub fn open_claimed(cx: &Context<'_>, record: &mut Record) {
    if let Some(claim) = record.claim.take()
        && let Some(attempt) = claim.attempt()
    {
        record.open.push(attempt.opened(claim.due(), cx.now.wall));
    }
}

/// The claim is released, and nothing is left to be found of its attempt. Its name is remembered, so that a copy of it is recognised.
fn close_claim(record: &mut Record) {
    if let Some(attempt) = record.claimed_attempt()
        && let Some(digest) = attempt.digest.clone()
    {
        let n = attempt.n;
        record.attempts.ledger.close(n, digest);
    }
    record.claim = None;
}

/// The claimed rotation's token is the current value: what it served is served.
pub fn close_claimed(cx: &Context<'_>, record: &mut Record) {
    serve(cx, record, record.claim.as_ref().and_then(Claim::due));
    close_claim(record);
}

/// An open attempt is settled. Its name is remembered, so that a copy of it is recognised.
pub fn close_attempt(record: &mut Record, attempt: u64) {
    let digest = record.open.iter().find(|open| open.attempt == attempt);
    if let Some(digest) = digest.and_then(|open| open.digest.clone()) {
        record.attempts.ledger.close(attempt, digest);
    }
    record.open.retain(|open| open.attempt != attempt);
}

/// This due instant is served. An implausible one from a clock that was ahead is replaced.
pub fn serve(cx: &Context<'_>, record: &mut Record, due: Option<Timestamp>) {
    let latest = cx.now.after(AHEAD);
    let former = record
        .last_due
        .filter(|last| !cx.clock_is_trusted() || *last <= latest);
    record.last_due = former.max(due);
}

/// A rotation is completed: its token, which replaces `former`, is the current one.
pub fn succeed(cx: &Context<'_>, record: &mut Record, former: Option<&TokenId>) -> Option<Failure> {
    let now = cx.now;
    record.health.last_success = Some(now.wall);
    let current = record.current.as_ref().filter(|_| cx.plan().announces);
    record.announcement = current.map(|current| Announcement {
        token: current.id.clone(),
        version: current.version,
        old: former.cloned(),
        at: now.wall,
        until: announcement::deadline(now.wall, cx.plan().grace),
        by: cx.request.holder.instance.clone(),
        unknown: serde_json::Map::new(),
    });
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
    let same = former.as_ref().filter(|failure| failure.reason == reason);
    // One cause may stop rotation and clean-up alike: it is one failure.
    let known = same.is_some() || former.as_ref().is_some_and(|it| it.message == message);
    let since = same.map_or(now.wall, |failure| failure.since);
    record.health.failure = Some(Failure {
        reason,
        message: message.to_owned(),
        since,
        at: now.wall,
        count: former.map_or(1, |failure| failure.count.saturating_add(1)),
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
        .filter(|former| former.reason == reason);
    let known = former.is_some();
    entry.due = due;
    entry.failure = Some(EntryFailure {
        reason,
        message: size::cut(message),
        since: former.as_ref().map_or(now.wall, |former| former.since),
        attempts: former.map_or(1, |former| former.attempts.saturating_add(1)),
    });
    known
}

/// The token stays disabled from now on for the quarantine.
pub fn quarantine(cx: &Context<'_>, record: &mut Record, id: &TokenId) {
    if let Some(entry) = record.retiring_mut(id) {
        entry.state = RetiringState::Quarantine;
        entry.due = cx.now.after(cx.plan().quarantine);
        entry.usage.held_since = None;
        entry.failure = None;
    }
    record.claim = None;
}

/// The number of the next attempt; none = the numbers are used up.
pub fn next_attempt(record: &mut Record) -> Option<u64> {
    record.attempts.attempt = record.attempts.attempt.checked_add(1)?;
    Some(record.attempts.attempt)
}

/// Dynatrace knows a later attempt than the journal: Vault was restored from a backup, or the document was lost. `newer` are the tokens that
/// show it.
pub fn went_back(cx: &Context<'_>, record: &mut Record, seen: u64, newer: &[&TokenInfo]) -> Report {
    let known = record.attempts.attempt;
    let until = cx.now.after(cx.plan().settle);
    record.health.hold_until = Some(until);
    record.health.went_back_at = Some(cx.now.wall);
    let why = match seen > known {
        true => {
            format!("Dynatrace knows attempt {seen} of this secret, but the journal only {known}")
        }
        false => format!(
            "Dynatrace has a token of this secret's attempt {seen} that is older than the attempt to which the journal gave that number"
        ),
    };
    record.attempts.attempt = seen.max(known);
    record.attempts.unaccounted_through = record.attempts.attempt;
    let newer = named(newer.iter().map(|token| &token.id));
    Report::new(
        EventName::VaultWentBack,
        format!(
            "{why}: Vault was restored from a backup, or the document was lost. Nothing is disabled before {until:.0}. Check that consumers use the \
             value that is in Vault now, and not a token that the journal does not know: {newer}"
        ),
    )
}

/// A few of these tokens, as text.
fn named<'a>(ids: impl ExactSizeIterator<Item = &'a TokenId>) -> String {
    const NAMED: usize = 5;
    let further = ids.len().saturating_sub(NAMED);
    let named: Vec<_> = ids.take(NAMED).map(TokenId::as_str).collect();
    match further {
        0 => named.join(", "),
        _ => format!("{} and {further} more", named.join(", ")),
    }
}

/// The rejected write once more, if only pause or announcement was changed by whoever wrote in between (rule A14).
pub fn rebase(base: &JournalSnapshot, change: &Change, found: &JournalSnapshot) -> Option<Change> {
    let record = rebased(
        base.record.as_deref()?,
        &change.record,
        found.record.as_deref()?,
    )?;
    Some(Change {
        record,
        ..change.clone()
    })
}

/// The document with which a write of a claim's holder is repeated: someone has paused or resumed the secret in between, or delivered its
/// announcement, and changed nothing else. None = something else was changed.
fn rebased(base: &Record, draft: &Record, found: &Record) -> Option<Record> {
    let with_notes_of_found = |record: &Record| Record {
        pause: found.pause.clone(),
        resumed_at: found.resumed_at,
        announcement: found.announcement.clone(),
        ..record.clone()
    };
    let as_found = |record: &Record| {
        let mut record = with_notes_of_found(record);
        // What every write stamps.
        record.write_id.clone_from(&found.write_id);
        record.writer.clone_from(&found.writer);
        record.policy.clone_from(&found.policy);
        record == *found
    };
    let notes = |record: &Record| {
        let Record {
            pause,
            announcement,
            ..
        } = record;
        (pause.clone(), record.resumed_at, announcement.clone())
    };
    let changed = notes(found) != notes(base);
    (changed && (as_found(base) || as_found(draft))).then(|| Record {
        // A rotation that is completed by this very write is announced.
        announcement: match draft.announcement == base.announcement {
            true => found.announcement.clone(),
            false => draft.announcement.clone(),
        },
        ..with_notes_of_found(draft)
    })
}
