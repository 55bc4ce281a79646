//! From a candidate to the current value: verify, store, commit; or discard it without leaving it behind. The same for a rotation and an
//! undo: the one's candidate is minted, the other's existed before.

use jiff::SignedDuration;

use crate::backstop;
use crate::candidate::{Candidate, Discard, RESEND};
use crate::capabilities::Proof;
use crate::command::{Command, RunResult, SecretSnapshot, Source, TokenAction};
use crate::context::{AfterWrite, Change, Context, Decision, Step};
use crate::event::{EventName, Report};
use crate::failure;
use crate::marker::NameDigest;
use crate::reading::read_token;
use crate::record::{Current, Record, Work};
use crate::revoked;
use crate::token::{TokenId, TokenInfo};
use crate::transition::{self, Leaving};
use crate::view::{Fact, Lookup};

/// The next step of a candidate under its claim.
pub fn next(cx: &Context<'_>, candidate: &Candidate) -> Decision<Step> {
    if let Some(pause) = candidate.pause {
        return Ok(Command::Wait(pause).into());
    }
    if let Some(discard) = &candidate.discard {
        return Ok(give_away(cx, candidate, discard));
    }
    let Some(info) = &candidate.verified else {
        enable_first(cx, candidate)?;
        return Ok(Command::Verify(candidate.source).into());
    };
    if let Some(version) = candidate.stored {
        return stored(cx, candidate, info, version);
    }
    if let Some(order) = &candidate.ordered
        && cx.plan().manages_tokens
        && !candidate.manager_proven
    {
        // A management token without management rights would stop every rotation of its environment.
        let attempt = cx.record.claimed_attempt();
        let old = attempt.filter(|_| order.old_known);
        return Ok(Command::ProveManager(old.and_then(|attempt| attempt.old.clone())).into());
    }
    if candidate.rejected {
        return resolve_rejection(cx, candidate, info);
    }
    let store = Command::Store {
        base: base(cx),
        source: candidate.source,
    };
    Ok(store.into())
}

/// The only version that the claimed store may replace.
fn base(cx: &Context<'_>) -> u64 {
    match cx.work() {
        Some(Work::Rotate {
            attempt: Some(attempt),
            ..
        }) => attempt.base,
        Some(Work::Undo { base, .. }) => *base,
        _ => 0,
    }
}

/// The token that an undo brings back is enabled before its value is tried.
fn enable_first(cx: &Context<'_>, candidate: &Candidate) -> Decision<()> {
    let Some(Work::Undo { id, .. }) = cx.work() else {
        return Ok(());
    };
    if candidate.was_tried() || !cx.env().capabilities.disable {
        return Ok(());
    }
    match cx.view.outcome_of(&TokenAction::Enable, id) {
        Some(Ok(())) => return Ok(()),
        Some(Err(error)) => return Err(failure::abort_undo(cx, &error.what)),
        None => {}
    }
    backstop::restore(cx, id)?;
    Err(Command::Change(TokenAction::Enable, id.clone()).into())
}

/// It was stored. An undo looks at its token once more before it commits: a disable that was sent before may have landed late.
fn stored(
    cx: &Context<'_>,
    candidate: &Candidate,
    info: &TokenInfo,
    version: u64,
) -> Decision<Step> {
    if candidate.source == Source::Minted {
        return Ok(commit_rotation(cx, candidate, info, version));
    }
    if let Some(Err(error)) = cx.view.outcome_of(&TokenAction::Enable, &info.id) {
        return Ok(failure::give_up(cx, error));
    }
    Ok(match read_token(cx, &info.id)? {
        Ok(Lookup::Found(found)) if !found.enabled => {
            Command::Change(TokenAction::Enable, info.id.clone()).into()
        }
        Err(error) => failure::give_up(cx, &error),
        _ => commit_undo(cx, info, version),
    })
}

/// Who is in the place of a rejected store?
enum Rejection {
    /// Nobody: a node that lags behind rejected it.
    Lagging,
    /// Our own value: an earlier send was accepted, as this version.
    Ours(u64),
    /// A version in which someone changed other fields only.
    OtherField(u64),
    /// Someone's value, in this version.
    Superseded(u64),
    /// That can no longer be read.
    Unknown(u64),
}

/// Version `base + 1` shows who took the place, whatever came after it.
fn rejection(cx: &Context<'_>, candidate: &Candidate) -> Fact<Rejection> {
    let latest = cx.view.secret(cx.record)?;
    let (base, version) = (base(cx), latest.version());
    let next = base.saturating_add(1);
    let is_ours = |snapshot| fingerprint(snapshot) == Some(candidate.value.fingerprint);
    if !cx.env().history {
        // Without history the present is all there is; if it is not ours, nothing is proved.
        return Ok(if is_ours(latest) {
            Rejection::Ours(version)
        } else {
            Rejection::Unknown(version)
        });
    }
    if version == base && candidate.may_resend() {
        return Ok(Rejection::Lagging);
    }
    if version < next {
        // The counter went back: the secret's metadata was deleted, or Vault was restored. Nothing is proved.
        return Ok(Rejection::Unknown(version));
    }
    let place = if version == next {
        latest
    } else {
        cx.view.version(next)?
    };
    if is_ours(place) {
        return Ok(Rejection::Ours(next));
    }
    if !matches!(place, SecretSnapshot::Present { .. }) {
        return Ok(Rejection::Unknown(version));
    }
    let is_unchanged = match &candidate.ordered {
        Some(order) if order.old_fingerprint.is_none() => latest.is_vacant(),
        Some(order) => order.old_fingerprint == fingerprint(latest),
        None => {
            let replaced = fingerprint(cx.view.version(base)?);
            replaced.is_some() && replaced == fingerprint(latest)
        }
    };
    Ok(match is_unchanged {
        true => Rejection::OtherField(version),
        false => Rejection::Superseded(version),
    })
}

fn fingerprint(snapshot: &SecretSnapshot) -> Option<u64> {
    snapshot.value().map(|value| value.fingerprint)
}

fn resolve_rejection(cx: &Context<'_>, candidate: &Candidate, info: &TokenInfo) -> Decision<Step> {
    // What was decided stays decided while the discarded token is being deleted.
    if cx.view.outcome_of(&TokenAction::Delete, &info.id).is_some() {
        return Ok(superseded(cx, &info.id));
    }
    let is_undo = candidate.ordered.is_none();
    let latest = cx.view.secret(cx.record)?.version();
    Ok(match rejection(cx, candidate)? {
        Rejection::Lagging => Command::Wait(RESEND).into(),
        Rejection::OtherField(version) => rebase(cx, candidate, version),
        // Accepted, and superseded since: an undo is settled only by being the current value.
        Rejection::Ours(version) if !is_undo || version == latest => {
            stored(cx, candidate, info, version)?
        }
        Rejection::Superseded(version) | Rejection::Unknown(version) | Rejection::Ours(version)
            if is_undo =>
        {
            let why = format!("someone wrote version {version} of {}", cx.place());
            failure::abort_undo(cx, &why)
        }
        Rejection::Unknown(version) => retire_unproved(cx, info, version),
        // It was never stored, so it is deleted at once. If that does not succeed it stays open and is found by its marker.
        Rejection::Superseded(_) | Rejection::Ours(_) => {
            Command::Change(TokenAction::Delete, info.id.clone()).into()
        }
    })
}

/// Someone changed other fields only: their change is kept, and the store is repeated on the new version, which the journal learns first.
fn rebase(cx: &Context<'_>, candidate: &Candidate, version: u64) -> Step {
    let write = cx.write(
        |record| match record.claim.as_mut().map(|it| &mut it.work) {
            Some(Work::Rotate {
                attempt: Some(attempt),
                ..
            }) => attempt.base = version,
            Some(Work::Undo { base, .. }) => *base = version,
            _ => {}
        },
    );
    let candidate = Box::new(candidate.clone().rebased());
    write.then(AfterWrite::Candidate(candidate)).into()
}

/// Whether our value ever was in Vault cannot be proved: it retires with full grace.
fn retire_unproved(cx: &Context<'_>, info: &TokenInfo, version: u64) -> Step {
    let message = format!(
        "the secret changed during the rotation, and what happened can no longer be read; {} will be retired after the full grace",
        info.id
    );
    let report = Report::new(EventName::SecretChangedElsewhere, message).token(&info.id);
    let write = cx.write(|record| {
        transition::put_into_grace(cx, record, Leaving::marked(info, version));
        transition::close_claimed(cx, record);
    });
    let end = AfterWrite::GoalReached(None);
    write.report(report).then(end).into()
}

/// Someone else's value is kept, and the new token was deleted.
fn superseded(cx: &Context<'_>, id: &TokenId) -> Step {
    let message = format!(
        "someone else wrote {} during the rotation; their value was kept and the new token was deleted",
        cx.place()
    );
    let report = Report::new(EventName::SecretChangedElsewhere, message).token(id);
    let write = cx.write(|record| {
        let due = record.claim.as_ref().and_then(|claim| claim.due());
        transition::release_claim(cx, record);
        transition::serve(cx, record, due);
    });
    let end = AfterWrite::GoalReached(None);
    write.report(report).then(end).into()
}

/// The candidate will not be stored.
fn give_away(cx: &Context<'_>, candidate: &Candidate, discard: &Discard) -> Step {
    match discard {
        Discard::Mismatch(message) => mismatch(cx, message),
        Discard::Failed(_, message, _) if candidate.ordered.is_none() => {
            failure::abort_undo(cx, &format!("its value does not work: {message}"))
        }
        Discard::Failed(reason, message, error) => {
            // Only a token that proved to be the ordered one is deleted by its id; any other stays open and is found by its marker.
            if let Some(id) = &candidate.identified
                && cx.view.outcome_of(&TokenAction::Delete, id).is_none()
            {
                return Command::Change(TokenAction::Delete, id.clone()).into();
            }
            failure::fail(cx, reason.clone(), message, error.as_ref())
        }
    }
}

/// The minted value is another request's: the mint is unclear. Its attempt becomes open, and the machine mints again.
fn mismatch(cx: &Context<'_>, message: &str) -> Step {
    let report = Report::new(EventName::MintAnswerMismatch, message);
    let write = cx.write(|record| {
        transition::open_claimed(cx, record);
        record.claim = Some(cx.claim(cx.rotation(None)));
    });
    write.report(report).then(AfterWrite::Reread).into()
}

fn commit_rotation(
    cx: &Context<'_>,
    candidate: &Candidate,
    info: &TokenInfo,
    version: u64,
) -> Step {
    let Some(attempt) = cx.record.claimed_attempt() else {
        return Command::ReadJournal.into();
    };
    let (mut record, former) = commit(cx, info, version);
    if let Some(current) = &mut record.current {
        let lifetime = candidate.ordered.as_ref().and_then(|order| order.lifetime);
        current.lifetime = lifetime.and_then(|life| SignedDuration::try_from(life).ok());
        let is_tried = cx.env().capabilities.proof != Proof::Listed;
        current.unproven = is_tried && !candidate.proven;
    }
    let mut message = format!("{} holds {}", record.coordinates, info.id);
    let mut ended = None;
    if let Some(former) = &former {
        if candidate
            .ordered
            .as_ref()
            .is_none_or(|order| order.old_known)
        {
            transition::mark_revoked(&mut record, cx.now);
            if let Some(entry) = record.retiring(former) {
                message += &match &entry.revoked {
                    Some(_) => format!("; {former} is ended at once"),
                    None if cx.env().capabilities.disable => {
                        format!("; {former} stays enabled until {:.0}", entry.due)
                    }
                    None => format!("; {former} is kept until {:.0}", entry.due),
                };
            }
        } else {
            // It was gone before: there is nothing to retire.
            record.retiring.retain(|entry| entry.id != *former);
            if let Some(order) = record.revoking.take_if(|it| it.token == *former) {
                ended = Some(revoked::report_gone(
                    cx,
                    &order.token,
                    "no longer exists at Dynatrace",
                ));
            }
        }
    }
    transition::close_claimed(cx, &mut record);
    // The name may have come back changed: what Dynatrace has is what a copy is compared with.
    let ledger = &mut record.attempts.ledger;
    ledger.close(attempt.n, NameDigest::of(&info.name));
    if let Some(failure) = transition::succeed(cx, &mut record, former.as_ref()) {
        message += &format!("; recovered after failing since {:.0}", failure.since);
    }
    let event = match attempt.old {
        Some(_) => EventName::RotationSucceeded,
        None => EventName::SecretCreated,
    };
    let report = Report::new(event, message).token(&info.id);
    let mut report = report.old(attempt.old.as_ref());
    report.trigger = Some(cx.claimed_or_wanted().1);
    report.attempt = Some(attempt.n);
    let mut end = AfterWrite::GoalReached(Some(attempt.base));
    if ended.is_some() {
        end = revoked::finished(cx, end);
    }
    Change::new(record)
        .report(report)
        .reports(ended)
        .then(end)
        .into()
}

fn commit_undo(cx: &Context<'_>, info: &TokenInfo, version: u64) -> Step {
    let (mut record, former) = commit(cx, info, version);
    record.claim = None;
    // A person wants it back.
    record.revoking.take_if(|order| order.token == info.id);
    let mut message = format!("{} is the current value again", info.id);
    if let Some(former) = &former {
        message += &format!("; {former} retires");
    }
    let report = Report::new(EventName::UndoSucceeded, message).token(&info.id);
    let change = Change::new(record).report(report.old(former.as_ref()));
    change.finish(RunResult::Done { wake: None }).into()
}

/// The document with the stored token as the current one, and the former one's id.
fn commit(cx: &Context<'_>, info: &TokenInfo, version: u64) -> (Record, Option<TokenId>) {
    let mut record = cx.draft();
    transition::advance_watermarks(&mut record, base(cx), version);
    let current = Current::recorded(info, version, &record);
    let former = transition::make_current(cx, &mut record, current);
    (record, former)
}
