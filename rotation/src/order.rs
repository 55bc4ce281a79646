//! The order of work: resolve whose claim stands; continue with our own; rotate if wanted; then clean up (open attempts, fence first); then
//! retire (disable, delete). Mint and store always come before any clean-up.

use std::time::Duration;

use jiff::Timestamp;

use super::command::{Command, RunResult};
use super::context::{AfterWrite, Context, Step};
use super::error::{CallError, ErrorKind, Service};
use super::failure;
use super::observe::is_workable;
use super::plausibility::implausible;
use super::record::{Claim, Reason, Work};
use super::request::{Clock, Goal};
use super::takeover;
use super::view::Decision;
use super::work::{adopt, cleanup, maintain, relocate, retire, rotate, store, undo};

/// What could not be settled now (a deleted secret that cannot be fenced, clocks that disagree) is examined again after this.
const EXAMINE_AGAIN: Duration = Duration::from_secs(30);

/// Whose claim it is, and which work is next.
pub fn next(cx: &Context<'_>) -> Decision<Step> {
    let released = cx.is_released();
    if cx.record.closed_at.is_some() && !cx.request.dry_run {
        return Ok(match released {
            true => Step::finish(RunResult::Done { wake: None }),
            false => maintain::reopen(cx),
        });
    }
    if let Some(what) = implausible(cx) {
        // Only what is known afresh is judged, and dropping an entry is a cure.
        if !cx.journal_is_fresh {
            return Err(Command::ReadJournal);
        }
        if !matches!(cx.request.goal, Goal::Forget(_)) {
            return Ok(Step::finish(RunResult::JournalImplausible(what)));
        }
    }
    if let Some(claim) = cx
        .record
        .claim
        .as_ref()
        .filter(|it| it.nonce != cx.request.id)
    {
        return claimed_elsewhere(cx, claim);
    }
    if let Some(error) = cx.error {
        return Ok(match cx.is_new || cx.request.dry_run {
            true => Step::finish(RunResult::Retry(error.clone())),
            false => failure::give_up(cx, error),
        });
    }
    if cx.is_new && released {
        // Someone deleted the document: there is nothing to finish.
        return Ok(Step::finish(RunResult::Done { wake: None }));
    }
    if cx.request.env.clock == Clock::Disagrees && cx.record.claim.is_none() && !cx.request.dry_run
    {
        return Ok(wait_for_clocks(cx));
    }
    if cx.request.dry_run {
        return match cx.is_relocated() {
            true => relocate::next(cx),
            false => rotate::next(cx),
        };
    }
    if let Some(claim) = &cx.record.claim {
        return claimed(cx, claim);
    }
    if cx.is_new
        && let Some(step) = adopt::record_secret(cx)?
    {
        return Ok(step);
    }
    match &cx.request.goal {
        Goal::Undo => undo::next(cx),
        Goal::Forget(id) => Ok(maintain::forget(cx, id)),
        Goal::Settle | Goal::Release | Goal::Rotate(_) => unclaimed(cx),
    }
}

/// Another holder has the claim.
fn claimed_elsewhere(cx: &Context<'_>, claim: &Claim) -> Decision<Step> {
    if !cx.journal_is_fresh {
        // What is known of another's claim may be old.
        return Err(Command::ReadJournal);
    }
    Ok(match (takeover::wait(cx, claim), &claim.work) {
        (Some(busy), _) => Step::finish(busy),
        (None, Work::Newer(_)) => takeover::not_understood(cx, claim),
        (None, _) if cx.request.dry_run => Step::finish(RunResult::DryRun(format!(
            "{}: would first finish the interrupted work of {}",
            cx.plan().name,
            claim.holder
        ))),
        (None, _) => takeover::take_over(cx, claim),
    })
}

/// Nobody has a claim: what is there to do?
fn unclaimed(cx: &Context<'_>) -> Decision<Step> {
    let wanted = rotation_wanted(cx);
    if wanted && !cx.request.env.enabled {
        return Ok(Step::refuse(format!(
            "{} is switched off (`enabled = false`), so nothing is changed; switch it on first",
            cx.plan().name
        )));
    }
    if wanted && cx.is_relocated() {
        return relocate::next(cx);
    }
    if !wanted && let Some(step) = adopt::record_secret(cx)? {
        return Ok(step);
    }
    if wanted {
        return rotate::next(cx);
    }
    if let Some(step) = check_replaced(cx)? {
        return Ok(step);
    }
    if let Some(step) = relocate::report(cx)? {
        return Ok(step);
    }
    if let Some(step) = maintain::extend_grace_for_outage(cx) {
        return Ok(step);
    }
    if cx.request.hints.reread_secret && cx.view.known_secret().is_none() {
        return Err(Command::ReadSecret);
    }
    let work = [
        |cx: &Context<'_>| adopt::reconcile(cx, false),
        maintain::mark_retiring,
        cleanup::next,
        retire::next,
        maintain::check_validity,
        |cx: &Context<'_>| Ok(maintain::close_document(cx)),
    ];
    for next in work {
        if let Some(step) = next(cx)? {
            return Ok(step);
        }
    }
    Ok(come_to_rest(cx))
}

/// Reports a secret that was deleted between our read and our store: a soft delete does not move the version, so the check-and-set
/// could not see it.
fn check_replaced(cx: &Context<'_>) -> Decision<Option<Step>> {
    let Some(version) = cx.progress.replaced_version else {
        return Ok(None);
    };
    if !cx.request.env.history || cx.view.known_version(version).is_some() {
        return Ok(None);
    }
    Err(Command::ReadVersion(version))
}

/// Times that a wrong clock writes cut graces short or keep secrets from being rotated: nothing is begun.
fn wait_for_clocks(cx: &Context<'_>) -> Step {
    let what = "the clocks of this machine and of a server disagree, so nothing is begun; fix the time synchronisation (`dtrotate check` names both)";
    if !cx.request.holder.is_daemon {
        return Step::refuse(what);
    }
    Step::finish(RunResult::Retry(CallError::new(
        Service::Dynatrace,
        ErrorKind::Transient,
        what,
    )))
}

/// A rotation is wanted, and its due time is not served yet.
fn rotation_wanted(cx: &Context<'_>) -> bool {
    let Some(request) = cx.request.rotation() else {
        return false;
    };
    match request.due {
        Some(due) => cx.record.last_due.is_none_or(|last| last < due),
        None => true,
    }
}

/// Continues with the work under our own claim.
fn claimed(cx: &Context<'_>, claim: &Claim) -> Decision<Step> {
    match &claim.work {
        Work::Rotate { attempt, .. } => {
            if cx.is_relocated() && attempt.is_none() {
                return relocate::next(cx);
            }
            if attempt.is_none()
                && let Some(step) = adopt::reconcile(cx, true)?
            {
                return Ok(step);
            }
            match &cx.progress.candidate {
                Some(candidate) => store::next(cx, candidate),
                None => rotate::next(cx),
            }
        }
        Work::Cleanup => {
            cx.view.secret(cx.record)?;
            match adopt::reconcile(cx, false)? {
                Some(step) => Ok(step),
                None => cleanup::claimed(cx),
            }
        }
        Work::Disable { id } => retire::disable(cx, id),
        Work::Delete { id } => retire::delete(cx, id),
        Work::Undo { .. } => match &cx.progress.candidate {
            Some(candidate) => store::next(cx, candidate),
            None => Ok(undo::without_candidate(cx)),
        },
        Work::Newer(_) => Ok(takeover::not_understood(cx, claim)),
    }
}

/// Nothing is left to do now, so what was refused to a clean-up is refused no longer.
fn come_to_rest(cx: &Context<'_>) -> Step {
    let refused = cx.record.health.failure.as_ref();
    let resolved = refused.is_some_and(|failure| failure.reason == Reason::RetirementRefused);
    if resolved && cx.clock_is_trusted() {
        let mut record = cx.draft();
        record.health.failure = None;
        return Step::write(record, vec![], AfterWrite::Continue);
    }
    Step::finish(RunResult::Done {
        wake: next_wakeup(cx),
    })
}

/// When the next step of clean-up or retirement is due. What this run could not settle is not retried at once.
fn next_wakeup(cx: &Context<'_>) -> Option<Timestamp> {
    if !cx.request.env.enabled {
        return None;
    }
    let soon = cx.now.after(EXAMINE_AGAIN);
    let least = |at: Timestamp| if at <= cx.now.wall { soon } else { at };
    let hold = cx.record.health.hold_until;
    let retiring = cx
        .record
        .retiring
        .iter()
        .filter(|entry| is_workable(cx, entry))
        .map(|entry| least(entry.due.max(hold.unwrap_or(entry.due))));
    let open = cx
        .record
        .open
        .iter()
        .map(|open| least(cleanup::next_listing(cx, open)));
    retiring.chain(open).min()
}
