//! From a candidate to the current value: verify, store, commit; or discard it without leaving it behind. The same for a rotation and an
//! undo: the one's candidate is minted, the other's existed before.

use crate::candidate::{Candidate, Discard};
use crate::command::{Command, RunResult, SecretSnapshot, Source, TokenAction};
use crate::context::{AfterWrite, Context, MintState, Progress, Step};
use crate::event::{EventName, Report};
use crate::failure::{self, Retry};
use crate::marker::NameDigest;
use crate::reading::read_token;
use crate::record::{Current, Reason, Trigger, Work};
use crate::token::{TokenId, TokenInfo};
use crate::transition::{self, Leaving};
use crate::view::{Decision, Lookup};

/// The next step of a candidate under its claim.
pub fn next(cx: &Context<'_>, candidate: &Candidate) -> Decision<Step> {
    if let Some(pause) = candidate.pause {
        return Ok(Step::Do(Command::Wait(pause)));
    }
    if let Some(discard) = &candidate.discard {
        return Ok(give_away(cx, candidate, discard));
    }
    if let Some(version) = candidate.stored {
        return stored(cx, candidate, version);
    }
    if let Source::Version(_) = candidate.source
        && let Some(step) = enable_first(cx)
    {
        return Ok(step);
    }
    let Some(info) = &candidate.verified else {
        return Ok(Step::Do(Command::Verify(candidate.source)));
    };
    if candidate.source == Source::Minted && cx.plan().manages_tokens && !candidate.manager_proven {
        // A management token without management rights would stop every rotation of its environment.
        let old = cx.record.claim.as_ref().and_then(|claim| claim.attempt());
        let known = cx
            .progress
            .template
            .as_ref()
            .is_some_and(|template| template.old_known);
        let old = old.filter(|_| known).map(|attempt| attempt.old.clone());
        return Ok(Step::Do(Command::ProveManager(old)));
    }
    if candidate.rejected {
        return resolve_rejection(cx, candidate, info);
    }
    let base = base(cx);
    Ok(Step::Do(Command::Store {
        base,
        source: candidate.source,
    }))
}

/// The only version that the claimed store may replace.
fn base(cx: &Context<'_>) -> u64 {
    match cx.record.claim.as_ref().map(|claim| &claim.work) {
        Some(Work::Rotate {
            attempt: Some(attempt),
            ..
        }) => attempt.base,
        Some(Work::Undo { base, .. }) => *base,
        _ => 0,
    }
}

/// The token that an undo brings back is enabled before its value is tried.
fn enable_first(cx: &Context<'_>) -> Option<Step> {
    let Some(Work::Undo { id, .. }) = cx.record.claim.as_ref().map(|claim| &claim.work) else {
        return None;
    };
    let candidate = cx.progress.candidate.as_ref()?;
    let decided = candidate.verified.is_some() || candidate.was_tried();
    if decided || !cx.request.env.capabilities.disable {
        return None;
    }
    match cx.view.outcome_of(&TokenAction::Enable, id) {
        None => Some(Step::Do(Command::Change(TokenAction::Enable, id.clone()))),
        Some(Ok(())) => None,
        Some(Err(error)) => Some(failure::abort_undo(cx, &error.what)),
    }
}

/// It was stored. An undo looks at its token once more before it commits: a disable that was sent before may have landed late.
fn stored(cx: &Context<'_>, candidate: &Candidate, version: u64) -> Decision<Step> {
    let Some(info) = &candidate.verified else {
        return Err(Command::Verify(candidate.source));
    };
    if candidate.source == Source::Minted {
        return Ok(commit_rotation(cx, info, version));
    }
    if let Some(Err(error)) = cx.view.outcome_of(&TokenAction::Enable, &info.id) {
        return Ok(failure::give_up(cx, error));
    }
    match read_token(cx, &info.id)? {
        Ok(Lookup::Found(found)) if !found.enabled => Ok(Step::Do(Command::Change(
            TokenAction::Enable,
            info.id.clone(),
        ))),
        Err(error) => Ok(failure::give_up(cx, &error)),
        _ => Ok(commit_undo(cx, info, version)),
    }
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
    /// That cannot be read any more.
    Unknown(u64),
}

/// Version `base + 1` tells who took the place, whatever came after it.
fn rejection(cx: &Context<'_>, candidate: &Candidate) -> Decision<Rejection> {
    let latest = cx.view.secret(cx.record)?;
    let (base, version) = (base(cx), latest.version());
    let next = base.saturating_add(1);
    let is_ours = |snapshot: &SecretSnapshot| {
        snapshot
            .value()
            .is_some_and(|value| value.fingerprint == candidate.value.fingerprint)
    };
    if !cx.request.env.history {
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
    let replaced = match candidate.source {
        Source::Minted => cx
            .progress
            .template
            .as_ref()
            .map(|template| template.old_fingerprint),
        Source::Version(_) => cx
            .view
            .version(base)?
            .value()
            .map(|value| value.fingerprint),
    };
    let unchanged = latest
        .value()
        .is_some_and(|value| Some(value.fingerprint) == replaced);
    Ok(if unchanged {
        Rejection::OtherField(version)
    } else {
        Rejection::Superseded(version)
    })
}

fn resolve_rejection(cx: &Context<'_>, candidate: &Candidate, info: &TokenInfo) -> Decision<Step> {
    // What was decided stays decided while the discarded token is being deleted.
    if cx.view.outcome_of(&TokenAction::Delete, &info.id).is_some() {
        return Ok(superseded(cx, &info.id, None));
    }
    Ok(match rejection(cx, candidate)? {
        Rejection::Lagging => Step::Advance(Box::new(candidate.clone().resent())),
        Rejection::Ours(version) if candidate.source == Source::Minted => {
            Step::Advance(Box::new(candidate.clone().found_stored(version)))
        }
        // Accepted, and superseded since: an undo is settled only by being the current value.
        Rejection::Ours(version) if cx.view.secret(cx.record)?.version() == version => {
            Step::Advance(Box::new(candidate.clone().found_stored(version)))
        }
        Rejection::OtherField(version) => rebase(cx, candidate, version),
        other => {
            let (Rejection::Superseded(version)
            | Rejection::Unknown(version)
            | Rejection::Ours(version)) = other
            else {
                return Err(Command::ReadSecret);
            };
            if let Source::Version(_) = candidate.source {
                let why = format!("someone wrote version {version} of {}", cx.place());
                return Ok(failure::abort_undo(cx, &why));
            }
            if matches!(other, Rejection::Unknown(_)) {
                return Ok(retire_unproved(cx, info, version));
            }
            superseded(cx, &info.id, Some(version))
        }
    })
}

/// Someone changed other fields only: their change is kept, and the store is repeated on the new version, which the journal learns first.
fn rebase(cx: &Context<'_>, candidate: &Candidate, version: u64) -> Step {
    let mut record = cx.draft();
    match record.claim.as_mut().map(|claim| &mut claim.work) {
        Some(Work::Rotate {
            attempt: Some(attempt),
            ..
        }) => attempt.base = version,
        Some(Work::Undo { base, .. }) => *base = version,
        _ => {}
    }
    let candidate = Box::new(candidate.clone().rebased());
    Step::write(record, vec![], AfterWrite::Candidate(candidate))
}

/// Whether our value ever was in Vault cannot be proved: it retires with full grace.
fn retire_unproved(cx: &Context<'_>, info: &TokenInfo, version: u64) -> Step {
    let mut record = cx.draft();
    transition::put_into_grace(cx, &mut record, Leaving::marked(info, version));
    transition::close_claimed(cx, &mut record);
    let message = format!(
        "the secret changed during the rotation, and what happened cannot be read any more; {} will be retired after the full grace",
        info.id
    );
    let report = Report::new(EventName::SecretChangedElsewhere, message).token(&info.id);
    Step::write(record, vec![report], AfterWrite::GoalReached(None))
}

/// Someone else's value is kept: the new token was never stored and is deleted at once. If that does not succeed it stays open and is found
/// by its marker.
fn superseded(cx: &Context<'_>, id: &TokenId, version: Option<u64>) -> Step {
    let deleted = match cx.view.outcome_of(&TokenAction::Delete, id) {
        None => return Step::Do(Command::Change(TokenAction::Delete, id.clone())),
        Some(outcome) => outcome.is_ok(),
    };
    let mut record = cx.draft();
    let due = record.claim.as_ref().and_then(|claim| claim.due());
    let progress = progress_after(cx, deleted);
    transition::release_claim(
        &Context {
            progress: &progress,
            ..*cx
        },
        &mut record,
    );
    transition::serve(cx, &mut record, due);
    let version = version.map_or(String::new(), |version| format!(" version {version} of"));
    let message = format!(
        "someone else wrote{version} {} during the rotation; their value was kept and the new token was deleted",
        record.coordinates
    );
    let report = Report::new(EventName::SecretChangedElsewhere, message).token(id);
    Step::write(record, vec![report], AfterWrite::GoalReached(None))
}

/// The progress of the attempt whose token was deleted again, or not.
fn progress_after(cx: &Context<'_>, deleted: bool) -> Progress {
    let mut progress = cx.progress.clone();
    if deleted {
        progress.mint = MintState::Discarded;
    }
    progress
}

/// The candidate will not be stored.
fn give_away(cx: &Context<'_>, candidate: &Candidate, discard: &Discard) -> Step {
    if let (Source::Version(_), Discard::Failed(_, message, _)) = (candidate.source, discard) {
        return failure::abort_undo(cx, &format!("its value does not work: {message}"));
    }
    match discard {
        Discard::Failed(reason, message, error) => {
            // Only a token that proved to be the ordered one is deleted by its id; any other stays open and is found by its marker.
            let deleted = match candidate
                .identified
                .as_ref()
                .map(|id| (id, cx.view.outcome_of(&TokenAction::Delete, id)))
            {
                Some((id, None)) => {
                    return Step::Do(Command::Change(TokenAction::Delete, id.clone()));
                }
                Some((_, Some(outcome))) => outcome.is_ok(),
                None => false,
            };
            let retry = match error {
                Some(error) => Retry::Automatic(Some(error)),
                None => Retry::Stuck,
            };
            let progress = progress_after(cx, deleted);
            let cx = Context {
                progress: &progress,
                ..*cx
            };
            failure::fail(&cx, reason.clone(), message, retry)
        }
        Discard::NameNotKept(message) => {
            failure::fail(cx, Reason::NameNotKept, message, Retry::Stuck)
        }
        Discard::Mismatch(message) => mismatch(cx, message),
    }
}

/// The value in hand is another request's: the mint is unclear. Its attempt becomes open, and the machine mints again.
fn mismatch(cx: &Context<'_>, message: &str) -> Step {
    let mut record = cx.draft();
    transition::release_claim(cx, &mut record);
    let (due, trigger) = match cx.record.claim.as_ref().map(|claim| &claim.work) {
        Some(Work::Rotate { due, trigger, .. }) => (*due, *trigger),
        _ => cx.wanted(),
    };
    record.claim = Some(cx.claim(Work::Rotate {
        due,
        trigger,
        attempt: None,
    }));
    let report = Report::new(EventName::MintAnswerMismatch, message);
    Step::write(record, vec![report], AfterWrite::Reread)
}

fn commit_rotation(cx: &Context<'_>, info: &TokenInfo, version: u64) -> Step {
    let mut record = cx.draft();
    let Some(claim) = cx.record.claim.as_ref() else {
        return Step::Do(Command::ReadJournal);
    };
    let Some(attempt) = claim.attempt() else {
        return Step::Do(Command::ReadJournal);
    };
    let trigger = match &claim.work {
        Work::Rotate { trigger, .. } => *trigger,
        _ => Trigger::Recovery,
    };
    let mut message = format!("{} holds {}", record.coordinates, info.id);
    let known = cx
        .progress
        .template
        .as_ref()
        .is_none_or(|template| template.old_known);
    transition::advance_watermarks(&mut record, attempt.base, version);
    let former = transition::make_current(
        cx,
        &mut record,
        Current::new(info, version, &cx.record.epoch),
    );
    if let Some(former) = former {
        if known {
            if let Some(entry) = record.retiring(&former.id) {
                message += &format!("; {} stays enabled until {}", former.id, entry.due);
            }
        } else {
            // It was gone before: there is nothing to retire.
            record.retiring.retain(|entry| entry.id != former.id);
        }
    }
    transition::close_claimed(cx, &mut record);
    // The name may have come back changed: what Dynatrace has is what a copy is compared with.
    record
        .attempts
        .ledger
        .close(attempt.n, NameDigest::of(&info.name));
    if let Some(failure) = transition::succeed(&mut record, cx.now) {
        message += &format!("; recovered after failing since {}", failure.since);
    }
    let mut report = Report::new(EventName::RotationSucceeded, message)
        .token(&info.id)
        .old(&attempt.old);
    report.trigger = Some(trigger);
    report.attempt = Some(attempt.n);
    Step::write(
        record,
        vec![report],
        AfterWrite::GoalReached(Some(attempt.base)),
    )
}

fn commit_undo(cx: &Context<'_>, info: &TokenInfo, version: u64) -> Step {
    let mut record = cx.draft();
    let current = Current::new(info, version, &cx.record.epoch);
    transition::advance_watermarks(&mut record, base(cx), version);
    let former = transition::make_current(cx, &mut record, current);
    let mut message = format!("{} is the current value again", info.id);
    let mut report = Report::new(EventName::UndoSucceeded, "").token(&info.id);
    if let Some(former) = former {
        message += &format!("; {} retires", former.id);
        report = report.old(&former.id);
    }
    report.message = message;
    record.claim = None;
    let end = AfterWrite::Finish(RunResult::Done { wake: None });
    Step::write(record, vec![report], end)
}
