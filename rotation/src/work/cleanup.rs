//! Cleaning up orphans: tokens of open attempts, and tokens with our marker that no document knows.
//!
//! The rule that everything here serves: a token of an attempt is deleted only when a store of it can no longer be accepted (the secret's
//! version is past the attempt's base) and it never was in a version. Otherwise it retires with full grace.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use crate::command::{Command, SecretSnapshot, TokenAction};
use crate::context::{AfterWrite, Context, Step};
use crate::error::ErrorKind;
use crate::event::{EventName, Level, Report};
use crate::failure;
use crate::marker::Marker;
use crate::observe::fence_base;
use crate::ownership::{self, Kinship, kinship};
use crate::reading::read_token;
use crate::record::{OpenAttempt, Record, RetiringState, Work};
use crate::size;
use crate::token::{TokenId, TokenInfo, manages_tokens};
use crate::transition::{self, Leaving};
use crate::view::{Decision, Lookup};

/// Two listings that show nothing must be at least this far apart before an open attempt is closed (less where `settle` is shorter).
const LISTINGS_APART: Duration = Duration::from_secs(60);
/// Unknown tokens that enter the document in one write.
const SLICE: usize = 100;

/// Under the claim to clean up.
pub fn claimed(cx: &Context<'_>) -> Decision<Step> {
    cx.view.secret(cx.record)?;
    if let Some(step) = next(cx)? {
        return Ok(step);
    }
    Ok(match fence_base(cx) {
        Some(base) => Step::Do(Command::Fence { base }),
        None => release(cx),
    })
}

fn release(cx: &Context<'_>) -> Step {
    let mut record = cx.draft();
    record.claim = None;
    Step::write(record, vec![], AfterWrite::Continue)
}

/// The next step; none = there is nothing to clean up now.
pub fn next(cx: &Context<'_>) -> Decision<Option<Step>> {
    let (record, env) = (cx.record, &cx.request.env);
    // What other secrets hold must be known before anything is cleaned up.
    let may = env.enabled && env.may_retire;
    if record.coordinates.base_url != cx.plan().coordinates.base_url || !may {
        return Ok(None);
    }
    let Some(listing) = cx.view.listing() else {
        let due = record
            .open
            .iter()
            .any(|open| next_listing(cx, open) <= cx.now.wall);
        return if due { Err(Command::List) } else { Ok(None) };
    };
    for open in &record.open {
        let token = listing.tokens.iter().find(|token| {
            kinship(record, &token.name) == Some(Kinship::Open(open.attempt))
                && !record.is_current(&token.id)
                && record.retiring(&token.id).is_none()
        });
        let step = match token {
            Some(token) => settle_found(cx, open, token)?,
            None => settle_missing(cx, open, listing.at, &listing.tokens),
        };
        if step.is_some() {
            return Ok(step);
        }
    }
    settle_unknown(cx, &listing.tokens)
}

/// When the next listing can tell something about this open attempt.
pub fn next_listing(cx: &Context<'_>, open: &OpenAttempt) -> Timestamp {
    let settle = cx.plan().settle;
    match open.missed {
        None => open.since,
        Some(missed) => {
            let second = missed
                .checked_add(settle.min(LISTINGS_APART))
                .unwrap_or(missed);
            let settled = open.since.checked_add(settle).unwrap_or(open.since);
            second.max(settled)
        }
    }
}

/// A listing shows no token of this attempt that is still to be settled. If it shows none at all, that proves nothing until it did so
/// twice, apart, and effects had time to appear.
fn settle_missing(
    cx: &Context<'_>,
    open: &OpenAttempt,
    listed: Timestamp,
    tokens: &[TokenInfo],
) -> Option<Step> {
    let known = tokens
        .iter()
        .any(|token| kinship(cx.record, &token.name) == Some(Kinship::Open(open.attempt)));
    let first = open.missed.is_none() && listed >= open.since;
    let last = open.missed.is_some() && listed >= next_listing(cx, open);
    let mut record = cx.draft();
    if known || last {
        transition::close_attempt(&mut record, open.attempt);
        if known {
            record.claim = None;
        }
    } else if first {
        for other in &mut record.open {
            if other.attempt == open.attempt {
                other.missed = Some(listed);
            }
        }
    } else {
        return None;
    }
    Some(Step::write(record, vec![], AfterWrite::Continue))
}

/// A token of an open attempt is there.
fn settle_found(cx: &Context<'_>, open: &OpenAttempt, token: &TokenInfo) -> Decision<Option<Step>> {
    match cx.view.outcome_of(&TokenAction::Delete, &token.id) {
        Some(Ok(())) => return Ok(Some(orphan_deleted(cx, open, token))),
        // It was in this run's listing, so the environment answers for tokens that exist: gone is gone.
        Some(Err(error)) if error.kind == ErrorKind::Gone => {
            return Ok(Some(orphan_deleted(cx, open, token)));
        }
        // It retires instead: what keeps it from being ended is its own failure there, and the others retire.
        Some(Err(error)) if error.kind == ErrorKind::Refused => {
            let version = cx.view.secret(cx.record)?.version();
            return Ok(Some(retire_orphan(cx, open, token, version, None)));
        }
        Some(Err(error)) => return Ok(Some(failure::give_up(cx, error))),
        None => {}
    }
    // Without the name that was ordered, only the number says whose it is: it retires, and is proven again before it is ended.
    let deletable = open.digest.is_some() && !is_protected(cx, token);
    Ok(match orphan_decision(cx, open.base, &token.id)? {
        Orphan::Wait => None,
        Orphan::Delete if !deletable => {
            let version = cx.view.secret(cx.record)?.version();
            Some(retire_orphan(cx, open, token, version, None))
        }
        // It was stored: what it was to serve is served, whatever was written after it.
        Orphan::Retire(version) => Some(retire_orphan(cx, open, token, version, open.due)),
        Orphan::Fence(_) | Orphan::Delete if !cx.is_claimed() => {
            let mut record = cx.draft();
            record.claim = Some(cx.claim(Work::Cleanup));
            Some(Step::write(record, vec![], AfterWrite::Reread))
        }
        Orphan::Fence(base) => Some(Step::Do(Command::Fence { base })),
        // The listing may be older than this run: what is deleted is read once more.
        Orphan::Delete => match read_token(cx, &token.id)? {
            Ok(Lookup::Found(info)) => (kinship(cx.record, &info.name)
                == Some(Kinship::Open(open.attempt)))
            .then(|| Step::Do(Command::Change(TokenAction::Delete, token.id.clone()))),
            Ok(Lookup::NotFound) => {
                cx.view.not_found_is_trusted()?;
                Some(orphan_deleted(cx, open, token))
            }
            Err(error) => Some(failure::give_up(cx, &error)),
        },
    })
}

/// It belongs to someone else as well, whatever its name says.
fn is_protected(cx: &Context<'_>, token: &TokenInfo) -> bool {
    token.personal
        || cx.request.env.management_tokens.contains(&token.id)
        || ownership::other_holder(cx, &token.id).is_some()
        || (manages_tokens(&token.scopes) && !cx.plan().manages_tokens)
}

fn retire_orphan(
    cx: &Context<'_>,
    open: &OpenAttempt,
    token: &TokenInfo,
    version: u64,
    served: Option<Timestamp>,
) -> Step {
    let mut record = cx.draft();
    transition::put_into_grace(cx, &mut record, Leaving::marked(token, version));
    transition::serve(cx, &mut record, served);
    transition::close_attempt(&mut record, open.attempt);
    Step::write(record, vec![found_report(token)], AfterWrite::Continue)
}

/// What to do about a token of an open attempt.
enum Orphan {
    /// The secret must move on first, and can.
    Fence(u64),
    /// The secret must move on first, and nothing can move it now.
    Wait,
    /// It may have been current.
    Retire(u64),
    /// It never was and never will be.
    Delete,
}

/// May the token of an attempt with this base be deleted?
fn orphan_decision(cx: &Context<'_>, base: u64, id: &TokenId) -> Decision<Orphan> {
    let secret = cx.view.secret(cx.record)?;
    let version = secret.version();
    if !cx.is_past(version, base) {
        let present = matches!(secret, SecretSnapshot::Present { .. });
        return Ok(match present && cx.request.env.history && version == base {
            true => Orphan::Fence(base),
            false => Orphan::Wait,
        });
    }
    if !cx.request.env.history {
        return Ok(Orphan::Retire(version));
    }
    let next = base.saturating_add(1);
    let place = if version == next {
        secret
    } else {
        cx.view.version(next)?
    };
    Ok(match place {
        SecretSnapshot::Present { value: None, .. } => Orphan::Delete,
        SecretSnapshot::Present {
            value: Some(value), ..
        } => match &value.id {
            Some(other) if other != id => Orphan::Delete,
            // It was stored, or its value does not show whose it is.
            _ => Orphan::Retire(version.saturating_sub(1)),
        },
        _ => Orphan::Retire(version.saturating_sub(1)),
    })
}

fn orphan_deleted(cx: &Context<'_>, open: &OpenAttempt, token: &TokenInfo) -> Step {
    let message = format!(
        "deleted {}, which the interrupted attempt {} made and never stored",
        token.id, open.attempt
    );
    let report = Report::new(EventName::OrphanDeleted, message).token(&token.id);
    let mut record = cx.draft();
    let others = cx.view.listing().is_some_and(|listing| {
        listing.tokens.iter().any(|other| {
            other.id != token.id
                && kinship(&record, &other.name) == Some(Kinship::Open(open.attempt))
        })
    });
    if !others {
        transition::close_attempt(&mut record, open.attempt);
    }
    record.claim = None;
    Step::write(record, vec![report], AfterWrite::Gone(token.id.clone()))
}

/// Tokens with this secret's marker that the document does not know: a sender that froze before its mint, or a document that is older than
/// the tokens. They retire with full grace, fenced, because one of them may be somebody's current value. Copies are left alone.
fn settle_unknown(cx: &Context<'_>, tokens: &[TokenInfo]) -> Decision<Option<Step>> {
    let record = cx.record;
    let current = record.current.iter().map(|current| &current.id);
    let retiring = record.retiring.iter().map(|entry| &entry.id);
    let known: BTreeSet<&TokenId> = current
        .chain(retiring)
        .chain(&record.attempts.left_alone)
        .collect();
    let unknown = tokens.iter().filter(|token| !known.contains(&token.id));
    let unknown: Vec<(&TokenInfo, Option<u64>)> = unknown
        .filter_map(|token| match kinship(record, &token.name)? {
            Kinship::Unknown(n) => Some((token, Some(n))),
            Kinship::Copy => Some((token, None)),
            Kinship::Open(_) | Kinship::Claimed(_) => None,
        })
        .collect();
    let is_protected = |token: &TokenInfo| {
        token.personal
            || cx.request.env.management_tokens.contains(&token.id)
            || (manages_tokens(&token.scopes) && !cx.plan().manages_tokens)
    };
    // The highest number counts at once, however many tokens wait: it must not be given out again.
    let highest = unknown.iter().filter_map(|(_, n)| *n).max().unwrap_or(0);
    let (ours, copies): (Vec<_>, Vec<_>) = unknown
        .into_iter()
        .partition(|(token, n)| n.is_some() && !is_protected(token));
    // Further ones wait until there is room for them in the document.
    let room = match ours.is_empty() {
        true => 0,
        false => size::most_retiring(record).saturating_sub(record.retiring.len()),
    };
    let ours = &ours[..room.min(SLICE).min(ours.len())];
    let copies = &copies[..record.room_to_leave_alone().min(copies.len())];
    let went_back = highest > record.attempts.attempt;
    if ours.is_empty() && copies.is_empty() && !went_back {
        return Ok(None);
    }
    let secret = cx.view.secret(record)?;
    let (version, held) = (secret.version(), secret.id());
    let mut draft = cx.draft();
    let mut reports = vec![];
    if went_back {
        reports.push(transition::went_back(cx, &mut draft, highest));
    }
    for (token, _) in copies {
        draft.leave_alone(&token.id);
        reports.push(copy_report(token));
    }
    for (token, _) in ours.iter().filter(|(token, _)| held != Some(&token.id)) {
        transition::put_into_grace(cx, &mut draft, Leaving::marked(token, version));
        reports.push(found_report(token));
    }
    if reports.is_empty() {
        return Ok(None);
    }
    Ok(Some(Step::write(draft, reports, AfterWrite::Continue)))
}

fn found_report(token: &TokenInfo) -> Report {
    let message = format!(
        "found {} ({}) with our marker but in no journal document; it will be retired after the full grace",
        token.id, token.name
    );
    Report::new(EventName::OrphanFound, message)
        .token(&token.id)
        .at(Level::Info)
}

fn copy_report(token: &TokenInfo) -> Report {
    let message = format!(
        "{} ({}) bears our marker, but dtrotate did not make it: it is left alone. Rename it, so that it is not mistaken for a token of dtrotate",
        token.id, token.name
    );
    Report::new(EventName::OrphanFound, message)
        .token(&token.id)
        .at(Level::Warn)
}

/// Is there work for a run in a listing: a token of this secret that its document does not know, or one of an open attempt? Cheap, so that a
/// sweep can ask it for every secret.
pub fn listing_needs_work(record: &Record, tokens: &[TokenInfo]) -> bool {
    tokens.iter().any(|token| {
        Marker::of(&token.name, &record.epoch).is_some()
            && !record.is_current(&token.id)
            && !record.attempts.left_alone.contains(&token.id)
            && record
                .retiring(&token.id)
                .is_none_or(|entry| entry.state == RetiringState::Deleting)
    })
}
