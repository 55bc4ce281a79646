//! The order of work: find out whose claim it is; continue with our own; rotate if wanted; then clean up (open attempts, fence first); then
//! retire (disable, delete). Mint and store always come before any clean-up.

use std::time::Duration;

use jiff::Timestamp;

use super::backstop;
use super::command::{Command, RunResult};
use super::context::{Context, Decision, Step};
use super::error::{CallError, ErrorKind, Service};
use super::failure;
use super::plausibility::implausible;
use super::record::{Claim, Reason, Work};
use super::request::{Clock, Goal};
use super::takeover;
use super::work::{adopt, cleanup, maintain, pause, relocate, retire, revoke, rotate, store, undo};

/// What could not be settled now (a deleted secret that cannot be fenced, clocks that disagree) is examined again after this.
const EXAMINE_AGAIN: Duration = Duration::from_secs(30);

/// Whose claim it is, and which work is next.
pub fn next(cx: &Context<'_>) -> Step {
    let (Ok(step) | Err(step)) = decide(cx);
    step
}

fn decide(cx: &Context<'_>) -> Decision<Step> {
    let (request, claim) = (cx.request, cx.record.claim.as_ref());
    if cx.record.closed_at.is_some() && !request.dry_run {
        return Ok(match cx.is_released() {
            true => Step::done(),
            false => maintain::reopen(cx),
        });
    }
    check_plausibility(cx)?;
    match &request.goal {
        Goal::Pause(pause) => return pause::set(cx, pause),
        Goal::Resume => return pause::resume(cx, &request.holder.who()),
        Goal::Revoke(request) => revoke::order(cx, request)?,
        _ => {}
    }
    if let Some(claim) = claim.filter(|claim| claim.nonce != request.id) {
        return claimed_elsewhere(cx, claim);
    }
    if let Some(error) = cx.error {
        return Ok(match cx.is_new || request.dry_run {
            true => Step::finish(RunResult::Retry(error.clone())),
            false => failure::give_up(cx, error),
        });
    }
    if cx.is_new && cx.is_released() {
        // Someone deleted the document: there is nothing to finish.
        return Ok(Step::done());
    }
    if request.dry_run {
        if let (Goal::Rotate(_), Some(why)) = (&request.goal, cx.held_back()) {
            return Ok(Step::refuse(why));
        }
        return match &request.goal {
            Goal::Undo(token) => undo::next(cx, token.as_ref()),
            Goal::Unrevoke(token) => undo::next(cx, Some(token)),
            Goal::Adopt(id) => adopt::named(cx, id),
            _ if cx.is_relocated() => relocate::next(cx),
            _ => rotate::next(cx),
        };
    }
    if let Some(claim) = claim {
        return claimed(cx, claim);
    }
    if let Some(revocation) = &cx.record.revoking {
        revoke::next(cx, revocation)?;
        if matches!(request.goal, Goal::Revoke(_)) {
            // The command wants nothing else; its token is ended by whoever can.
            let wake = next_wakeup(cx);
            return Ok(Step::finish(RunResult::Done { wake }));
        }
    }
    if cx.is_new && matches!(request.goal, Goal::Revoke(_)) {
        return revoke::record_first(cx);
    }
    if cx.env().clock == Clock::Disagrees {
        return Ok(wait_for_clocks(cx));
    }
    if cx.is_new {
        adopt::record_secret(cx)?;
    }
    pause::end(cx)?;
    let rotates = rotation_wanted(cx);
    if let Some(why) = cx.held_back().filter(|_| rotates) {
        return Ok(Step::refuse(why));
    }
    match &request.goal {
        Goal::Undo(token) => undo::next(cx, token.as_ref()),
        Goal::Unrevoke(token) => undo::next(cx, Some(token)),
        Goal::Forget(id) => Ok(maintain::forget(cx, id)),
        Goal::Adopt(id) => adopt::named(cx, id),
        Goal::Rotate(_) if rotates && cx.is_relocated() => relocate::next(cx),
        Goal::Rotate(_) if rotates => rotate::next(cx),
        Goal::Settle
        | Goal::Release
        | Goal::Rotate(_)
        | Goal::Revoke(_)
        | Goal::Pause(_)
        | Goal::Resume => settle(cx),
    }
}

/// Only a document that is known to be up to date is judged, and dropping an entry is a cure.
fn check_plausibility(cx: &Context<'_>) -> Decision<()> {
    match implausible(cx) {
        Some(_) if !cx.journal_is_fresh => Err(Command::ReadJournal.into()),
        Some(what) if !matches!(cx.request.goal, Goal::Forget(_)) => {
            Err(Step::finish(RunResult::JournalImplausible(what)))
        }
        _ => Ok(()),
    }
}

/// Another holder has the claim.
fn claimed_elsewhere(cx: &Context<'_>, claim: &Claim) -> Decision<Step> {
    if !cx.journal_is_fresh {
        // What is known of another's claim may be old.
        return Err(Command::ReadJournal.into());
    }
    Ok(match (takeover::wait(cx, claim), &claim.work) {
        (Some(busy), _) => Step::finish(busy),
        (None, Work::Newer(_)) => takeover::not_understood(cx, claim),
        (None, _) if cx.pause().is_some() && cx.record.revoking.is_none() => {
            left_until_resumed(cx, claim)
        }
        (None, _) if cx.request.dry_run => Step::finish(RunResult::DryRun(format!(
            "{}: would first finish the interrupted work of {}",
            cx.plan().name,
            claim.holder
        ))),
        (None, _) => takeover::take_over(cx, claim),
    })
}

/// A dead holder's work waits for the end of the pause.
fn left_until_resumed(cx: &Context<'_>, claim: &Claim) -> Step {
    match (&cx.request.goal, cx.held_back()) {
        (Goal::Settle | Goal::Release, _) | (_, None) => Step::finish(RunResult::Done {
            wake: next_wakeup(cx),
        }),
        (_, Some(why)) => Step::refuse(format!(
            "{why}; the interrupted work of {} is finished then",
            claim.holder
        )),
    }
}

/// Nobody has a claim, and no other goal is left: what is there to do?
fn settle(cx: &Context<'_>) -> Decision<Step> {
    adopt::record_secret(cx)?;
    read_replaced(cx)?;
    relocate::report(cx)?;
    maintain::extend_grace_for_outage(cx)?;
    if cx.request.hints.reread_secret && cx.view.known_secret().is_none() {
        return Err(Command::ReadSecret.into());
    }
    adopt::reconcile(cx, false)?;
    maintain::mark_retiring(cx)?;
    cleanup::next(cx)?;
    backstop::next(cx)?;
    retire::next(cx)?;
    maintain::check_validity(cx)?;
    maintain::close_document(cx)?;
    Ok(come_to_rest(cx))
}

/// Reads the version that our store replaced once more. A soft delete does not move the version, so the check-and-set could not see that the
/// secret was deleted between our read and our store; that is reported.
fn read_replaced(cx: &Context<'_>) -> Decision<()> {
    match cx.progress.replaced_version {
        Some(version) if cx.env().history && cx.view.known_version(version).is_none() => {
            Err(Command::ReadVersion(version).into())
        }
        _ => Ok(()),
    }
}

/// Times that a wrong clock writes cut graces short or keep secrets from being rotated: nothing is begun.
fn wait_for_clocks(cx: &Context<'_>) -> Step {
    let what = "the clocks of this machine and of a server disagree, so nothing is begun; fix the time synchronisation (`dtrotate check` names both)";
    if !cx.request.holder.is_daemon {
        return Step::refuse(what);
    }
    let error = CallError::new(Service::Dynatrace, ErrorKind::Transient, what);
    Step::finish(RunResult::Retry(error))
}

/// A rotation is wanted, and its due time is not served yet.
fn rotation_wanted(cx: &Context<'_>) -> bool {
    let Some(request) = cx.request.rotation() else {
        return false;
    };
    request.due.is_none_or(|due| cx.is_unserved(due))
}

/// Continues with the work under our own claim.
fn claimed(cx: &Context<'_>, claim: &Claim) -> Decision<Step> {
    if let Some(candidate) = &cx.progress.candidate {
        return store::next(cx, candidate);
    }
    match &claim.work {
        Work::Rotate { attempt: None, .. } if cx.is_relocated() => relocate::next(cx),
        Work::Rotate { attempt, .. } => {
            if attempt.is_none() {
                adopt::reconcile(cx, true)?;
            }
            rotate::next(cx)
        }
        Work::Cleanup => {
            cx.view.secret(cx.record)?;
            adopt::reconcile(cx, false)?;
            cleanup::claimed(cx)
        }
        Work::Disable { id } => retire::disable(cx, id),
        Work::Redate { id } => backstop::redate(cx, id),
        Work::Delete { id } => retire::delete(cx, id),
        Work::Undo { .. } => Ok(undo::without_candidate(cx)),
        Work::Newer(_) => Ok(takeover::not_understood(cx, claim)),
    }
}

/// Nothing is left to do now, so what was refused to a clean-up is refused no longer.
fn come_to_rest(cx: &Context<'_>) -> Step {
    let refused = cx.record.health.failure.as_ref();
    let resolved = refused.is_some_and(|failure| failure.reason == Reason::RetirementRefused);
    if resolved && cx.clock_is_trusted() {
        return cx.write(|record| record.health.failure = None).into();
    }
    let wake = next_wakeup(cx);
    Step::finish(RunResult::Done { wake })
}

/// When the next step of clean-up or retirement is due. What this run could not settle is not retried at once.
fn next_wakeup(cx: &Context<'_>) -> Option<Timestamp> {
    let soon = cx.now.after(EXAMINE_AGAIN);
    let least = |at: Timestamp| if at <= cx.now.wall { soon } else { at };
    let here = cx.record.retiring.iter().filter(|it| cx.belongs_here(it));
    // Neither a pause nor a switch keeps these.
    let revoked = here.clone().filter(|entry| entry.is_revoked_alive());
    let revoked = revoked.map(|entry| least(entry.due));
    let revoked = revoked.chain(cx.record.revoking.as_ref().map(|_| soon));
    if !cx.env().enabled {
        return revoked.min();
    }
    if let Some(pause) = cx.pause() {
        return revoked.chain(pause.until).min();
    }
    let hold = cx.record.health.hold_until;
    let retiring = here.map(|entry| least(entry.due.max(hold.unwrap_or(entry.due))));
    let open = cx.record.open.iter();
    let open = open.map(|open| least(cleanup::next_listing(cx, open)));
    let here = cx.record.retiring.iter();
    let backstops = here.filter_map(|entry| backstop::due(cx, entry).map(least));
    let unmarked = maintain::unmarked(cx).filter(|_| !cx.env().may_retire);
    let all = retiring.chain(open).chain(backstops).chain(revoked);
    all.chain(unmarked.map(|_| soon)).min()
}
