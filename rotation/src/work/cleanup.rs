//! Cleaning up orphans: tokens of open attempts, and tokens with our marker that no document knows.
//!
//! The rule that everything here serves: a token of an attempt is deleted only when a store of it can no longer be accepted (the secret's
//! version is past the attempt's base) and it never was in a version. Otherwise it retires with full grace.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use crate::command::{Command, SecretSnapshot, TokenAction};
use crate::context::{AfterWrite, Change, Context, Decision, Step};
use crate::error::ErrorKind;
use crate::event::{EventName, Level, Report};
use crate::failure;
use crate::marker::Marker;
use crate::observe::fence_base;
use crate::ownership::{self, Kinship, kinship};
use crate::reading::read_token;
use crate::record::{OpenAttempt, Record, RetiringState, Work};
use crate::request::{Listing, after};
use crate::size;
use crate::token::{TokenId, TokenInfo};
use crate::transition::{self, Leaving};
use crate::view::{Fact, Lookup};

/// Two listings that show nothing must be at least this far apart before an open attempt is closed (less where `settle` is shorter).
const LISTINGS_APART: Duration = Duration::from_secs(60);
/// Unknown tokens that enter the document in one write.
const SLICE: usize = 100;

/// Under the claim to clean up.
pub fn claimed(cx: &Context<'_>) -> Decision<Step> {
    cx.view.secret(cx.record)?;
    next(cx)?;
    Ok(match fence_base(cx) {
        Some(base) => Command::Fence { base }.into(),
        None => cx.release().into(),
    })
}

/// The next step, if there is something to clean up.
pub fn next(cx: &Context<'_>) -> Decision<()> {
    let (record, env) = (cx.record, cx.env());
    // What other secrets hold must be known before anything is cleaned up.
    let may = cx.may_begin() && env.may_retire;
    if record.coordinates.base_url != cx.plan().coordinates.base_url || !may {
        return Ok(());
    }
    let Some(listing) = cx.view.listing() else {
        let is_due = |open| next_listing(cx, open) <= cx.now.wall;
        return match record.open.iter().any(is_due) {
            true => Err(Command::List.into()),
            false => Ok(()),
        };
    };
    // First, while the attempts are open whose numbers may have been given out before.
    settle_unknown(cx, &listing.tokens)?;
    for open in &record.open {
        settle_open(cx, open, listing)?;
    }
    Ok(())
}

/// When the next listing can settle something about this open attempt.
pub fn next_listing(cx: &Context<'_>, open: &OpenAttempt) -> Timestamp {
    let settle = cx.plan().settle;
    open.missed.map_or(open.since, |missed| {
        after(missed, settle.min(LISTINGS_APART)).max(after(open.since, settle))
    })
}

fn settle_open(cx: &Context<'_>, open: &OpenAttempt, listing: &Listing) -> Decision<()> {
    let all: Vec<_> = tokens_of(cx.record, open, listing).collect();
    let mut unsettled = all.iter().filter(|token| {
        !cx.record.is_current(&token.id) && cx.record.retiring(&token.id).is_none()
    });
    if let Some(token) = unsettled.next() {
        return settle_found(cx, open, token);
    }
    // That none is listed proves nothing until it was so twice, apart, and effects had time to appear.
    let is_settled = !all.is_empty();
    let is_first = open.missed.is_none() && listing.at >= open.since;
    let is_last = open.missed.is_some() && listing.at >= next_listing(cx, open);
    if !is_settled && !is_first && !is_last {
        return Ok(());
    }
    let write = cx.write(|record| {
        if is_settled {
            record.claim = None;
        }
        if is_settled || is_last {
            transition::close_attempt(record, open.attempt);
        } else if let Some(open) = record.open.iter_mut().find(|it| it.attempt == open.attempt) {
            open.missed = Some(listing.at);
        }
    });
    Err(write.into())
}

/// The listed tokens that this attempt ordered.
fn tokens_of<'a>(
    record: &Record,
    open: &OpenAttempt,
    listing: &'a Listing,
) -> impl Iterator<Item = &'a TokenInfo> {
    let ours = Some(Kinship::Open(open.attempt));
    let tokens = listing.tokens.iter();
    tokens.filter(move |token| kinship(record, token) == ours)
}

/// A token of an open attempt is there.
fn settle_found(cx: &Context<'_>, open: &OpenAttempt, token: &TokenInfo) -> Decision<()> {
    match cx.view.outcome_of(&TokenAction::Delete, &token.id) {
        None => {}
        Some(Ok(())) => return Err(orphan_deleted(cx, open, token).into()),
        Some(Err(error)) => {
            return Err(match error.kind {
                // It was in this run's listing, so the environment answers for tokens that exist: gone is gone.
                ErrorKind::Gone => orphan_deleted(cx, open, token).into(),
                // It retires instead: what keeps it from being ended is its own failure there, and the others retire.
                ErrorKind::Refused => retire_unstored(cx, open, token)?.into(),
                _ => failure::give_up(cx, error),
            });
        }
    }
    // Without the name that was ordered only the number says whose it is, and one that may be older than the attempt may be an earlier attempt's of
    // that number: it retires, and is proven again before it is ended.
    let is_held = ownership::other_holder(cx, &token.id).is_some();
    let is_sure = open.digest.is_some() && !ownership::may_be_older(token, &open.begin);
    let deletable = is_sure && !is_held && !is_protected(cx, token);
    Err(match orphan_decision(cx, open, &token.id)? {
        Orphan::Wait => return Ok(()),
        // It was stored: what it was to serve is served, whatever was written after it.
        Orphan::Retire(version) => retire_orphan(cx, open, token, version, open.due).into(),
        Orphan::Delete if !deletable => retire_unstored(cx, open, token)?.into(),
        Orphan::Fence(_) | Orphan::Delete if !cx.is_claimed() => {
            cx.take_claim(Work::Cleanup).into()
        }
        Orphan::Fence(base) => Command::Fence { base }.into(),
        // The listing may be older than this run: what is deleted is read once more.
        Orphan::Delete => match read_token(cx, &token.id)? {
            Ok(Lookup::Found(info)) => {
                if kinship(cx.record, &info) != Some(Kinship::Open(open.attempt)) {
                    return Ok(());
                }
                Command::Change(TokenAction::Delete, token.id.clone()).into()
            }
            Ok(Lookup::NotFound) => {
                cx.view.not_found_is_trusted()?;
                orphan_deleted(cx, open, token).into()
            }
            Err(error) => failure::give_up(cx, &error),
        },
    })
}

/// It is not to be deleted at once, whatever its name says.
fn is_protected(cx: &Context<'_>, token: &TokenInfo) -> bool {
    token.personal || ownership::manages(cx, token).is_some()
}

fn retire_unstored(cx: &Context<'_>, open: &OpenAttempt, token: &TokenInfo) -> Fact<Change> {
    let version = cx.view.secret(cx.record)?.version();
    Ok(retire_orphan(cx, open, token, version, None))
}

fn retire_orphan(
    cx: &Context<'_>,
    open: &OpenAttempt,
    token: &TokenInfo,
    version: u64,
    served: Option<Timestamp>,
) -> Change {
    let write = cx.write(|record| {
        transition::put_into_grace(cx, record, Leaving::marked(token, version));
        transition::serve(cx, record, served);
        transition::close_attempt(record, open.attempt);
    });
    write.report(found_report(token))
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
fn orphan_decision(cx: &Context<'_>, open: &OpenAttempt, id: &TokenId) -> Fact<Orphan> {
    let base = open.base;
    let secret = cx.view.secret(cx.record)?;
    let (version, history) = (secret.version(), cx.env().history);
    // Without history versions are fingerprints, and past means different.
    let is_past = version > base || (!history && version != base);
    if !is_past {
        let present = matches!(secret, SecretSnapshot::Present { .. });
        // There is nothing that could be written unchanged: after `settle` no store is under way (rule A16).
        let settled = cx.now.wall >= after(open.since, cx.plan().settle);
        if *secret == SecretSnapshot::Absent && base == 0 && settled {
            return Ok(Orphan::Delete);
        }
        return Ok(match present && history && version == base {
            true => Orphan::Fence(base),
            false => Orphan::Wait,
        });
    }
    if !history {
        return Ok(Orphan::Retire(version));
    }
    let next = base.saturating_add(1);
    let place = match version == next {
        true => secret,
        false => cx.view.version(next)?,
    };
    let never_stored = match place {
        SecretSnapshot::Present { value, .. } => {
            // A value that does not show whose it is may be this token's.
            let shown = value.as_ref().map(|value| value.id.as_ref());
            shown.is_none_or(|shown| shown.is_some_and(|shown| shown != id))
        }
        SecretSnapshot::Deleted { .. } | SecretSnapshot::Absent => false,
    };
    Ok(match never_stored {
        true => Orphan::Delete,
        false => Orphan::Retire(version.saturating_sub(1)),
    })
}

fn orphan_deleted(cx: &Context<'_>, open: &OpenAttempt, token: &TokenInfo) -> Change {
    let message = format!(
        "deleted {}, which the interrupted attempt {} made and never stored",
        token.id, open.attempt
    );
    let report = Report::new(EventName::OrphanDeleted, message).token(&token.id);
    let listing = cx.view.listing();
    let others = listing.is_some_and(|listing| {
        tokens_of(cx.record, open, listing).any(|other| other.id != token.id)
    });
    let write = cx.write(|record| {
        if !others {
            transition::close_attempt(record, open.attempt);
        }
        record.claim = None;
    });
    let gone = AfterWrite::Gone(token.id.clone());
    write.report(report).then(gone)
}

/// Tokens with this secret's marker that the document does not know: a sender that froze before its mint, or a document that is older than
/// the tokens. They retire with full grace, fenced, because one of them may be somebody's current value. Copies are left alone.
fn settle_unknown(cx: &Context<'_>, tokens: &[TokenInfo]) -> Decision<()> {
    let record = cx.record;
    let retiring = record.retiring.iter().map(|entry| &entry.id);
    let known = retiring.chain(record.current_id());
    let known: BTreeSet<_> = known.chain(&record.attempts.left_alone).collect();
    let mut highest = 0;
    let (mut ours, mut copies, mut newer) = (vec![], vec![], vec![]);
    for token in tokens.iter().filter(|token| !known.contains(&token.id)) {
        match kinship(record, token) {
            Some(Kinship::Unknown(n) | Kinship::Earlier(n)) => {
                // The highest number counts at once, however many tokens wait: it must not be given out again.
                highest = highest.max(n);
                if n > record.attempts.attempt {
                    newer.push(token);
                }
                match is_protected(cx, token) {
                    true => copies.push(token),
                    false => ours.push(token),
                }
            }
            Some(Kinship::Copy) => copies.push(token),
            Some(Kinship::Open(_) | Kinship::Claimed(_)) | None => {}
        }
    }
    // Further ones wait until there is room for them in the document.
    let room = match ours.is_empty() {
        true => 0,
        false => size::most_retiring(record).saturating_sub(record.retiring.len()),
    };
    ours.truncate(room.min(SLICE));
    copies.truncate(record.room_to_leave_alone());
    if ours.is_empty() && copies.is_empty() && newer.is_empty() {
        return Ok(());
    }
    let secret = cx.view.secret(record)?;
    let (version, held) = (secret.version(), secret.id());
    ours.retain(|token| held != Some(&token.id));
    let is_earlier =
        |token: &&TokenInfo| matches!(kinship(record, token), Some(Kinship::Earlier(_)));
    newer.extend(ours.iter().copied().filter(is_earlier));
    let mut draft = cx.draft();
    let mut reports = vec![];
    if !newer.is_empty() {
        reports.push(transition::went_back(cx, &mut draft, highest, &newer));
    }
    for token in copies {
        // Since the listing another replica may have deleted a token of this secret that the document knew.
        let is_there = |found: &TokenInfo| found.name == token.name;
        let read = read_token(cx, &token.id)?;
        if read.is_ok_and(|read| read.found().is_some_and(is_there)) {
            draft.leave_alone(&token.id);
            reports.push(copy_report(token));
        }
    }
    for token in ours {
        transition::put_into_grace(cx, &mut draft, Leaving::marked(token, version));
        reports.push(found_report(token));
    }
    if reports.is_empty() {
        return Ok(());
    }
    Err(Change::new(draft).reports(reports).into())
}

fn found_report(token: &TokenInfo) -> Report {
    let message = format!(
        "found {} ({}) with our marker but in no journal document; it will be retired after the full grace",
        token.id, token.name
    );
    let report = Report::new(EventName::OrphanFound, message);
    report.token(&token.id).at(Level::Info)
}

fn copy_report(token: &TokenInfo) -> Report {
    let message = format!(
        "{} ({}) bears our marker, but dtrotate did not make it: it is left alone. Rename it, so that it is not mistaken for a token of dtrotate",
        token.id, token.name
    );
    Report::new(EventName::OrphanFound, message).token(&token.id)
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
