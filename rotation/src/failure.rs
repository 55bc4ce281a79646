//! What a failed call means for the work under way: the claim is released in good order where that is possible.

use std::time::Duration;

use jiff::Timestamp;

use crate::command::RunResult;
use crate::context::{AfterWrite, Change, Context, MintState, Step};
use crate::error::{CallError, ErrorKind, Service};
use crate::event::{EventName, Level, Report};
use crate::record::{EntryReason, Reason, Retiring, RetiringState, Work};
use crate::retry;
use crate::token::TokenId;
use crate::transition;

/// A failed call that no other rule covers.
pub fn give_up(cx: &Context<'_>, error: &CallError) -> Step {
    let refused = error.kind == ErrorKind::Refused;
    let work = cx.work();
    if !refused && (error.service == Service::Vault || work.is_none()) {
        // Without Vault nothing can be written; without a claim nothing needs to be. The next run continues from the journal.
        return Step::finish(RunResult::Retry(error.clone()));
    }
    let idle = cx.request.rotation().is_none() && cx.record.current.is_some();
    match work {
        Some(Work::Undo { .. }) => abort_undo(cx, &error.what),
        Some(Work::Disable { id } | Work::Delete { id }) => fail_retirement(cx, id, error),
        Some(Work::Redate { .. }) => cx.release().finish(RunResult::Retry(error.clone())).into(),
        // Clean-up keeps its place in the journal and is simply retried.
        Some(Work::Cleanup) if !refused => {
            let retry = RunResult::Retry(error.clone());
            cx.release().finish(retry).into()
        }
        Some(Work::Cleanup) => stuck(cx, Reason::RetirementRefused, &error.what),
        None if idle => stuck(cx, Reason::RetirementRefused, &error.what),
        _ if error.kind == ErrorKind::Exhausted => {
            fail(cx, Reason::TokenLimitReached, &error.what, Some(error))
        }
        _ if !refused => fail(cx, Reason::Unavailable, &error.what, Some(error)),
        _ => {
            let reason = match error.service {
                Service::Vault => Reason::VaultRefused,
                Service::Dynatrace if cx.progress.mint == MintState::Rejected => {
                    Reason::MintRefused
                }
                Service::Dynatrace => Reason::DynatraceRefused,
            };
            stuck(cx, reason, &error.what)
        }
    }
}

/// A failure that only a person, a change or the next due time resolves.
pub fn stuck(cx: &Context<'_>, reason: Reason, message: &str) -> Step {
    fail(cx, reason, message, None)
}

/// A failure is written down and the claim is released. With `retry` it is retried automatically, not before that error allows; without, the
/// due time counts as served.
pub fn fail(cx: &Context<'_>, reason: Reason, message: &str, retry: Option<&CallError>) -> Step {
    let mut record = cx.draft();
    let served = match &record.claim {
        Some(claim) => claim.due(),
        None => cx.wanted().0,
    };
    transition::release_claim(cx, &mut record);
    // A retry time is written only where something retries: nobody does it for a command, and what was stuck before stays so.
    if let Some(error) = retry.filter(|_| !cx.request.holder.is_daemon) {
        let report = Report::new(EventName::RotationFailed, &error.what);
        let retry = RunResult::Retry(error.clone());
        return Change::new(record).report(report).finish(retry).into();
    }
    if let Some(stuck) = record.stuck().map(|failure| failure.reason.clone())
        && reason == Reason::RetirementRefused
        && stuck != reason
    {
        // What keeps it from being rotated was reported already, and is to be fixed first.
        return Change::new(record).finish(RunResult::stuck(stuck)).into();
    }
    let failure = record.health.failure.as_ref();
    let tries = failure.map_or(0, |failure| failure.count);
    let retry_at = retry.map(|error| retry_at(cx, tries, error));
    if retry_at.is_none() {
        transition::serve(cx, &mut record, served);
    }
    let known = transition::fail(&mut record, reason.clone(), message, retry_at, cx.now);
    // That the value does not work, and what keeps it from being rotated, are one condition where the cause is the same.
    let invalid = reason.is_of_the_value() && record.health.invalid.is_some();
    let event = match (retry_at, &reason) {
        (_, Reason::TokenLimitReached) => EventName::TokenLimitReached,
        (Some(_), _) => EventName::RotationFailed,
        (None, _) => EventName::RotationStuck,
    };
    let mut report = Report::new(event, message).old(record.current_id());
    if (known || invalid) && (retry_at.is_none() || reason == Reason::TokenLimitReached) {
        // Reported already; it is repeated from the document while it lasts.
        report.level = Level::Debug;
    }
    report.reason = Some(reason.clone());
    report.trigger = cx.request.rotation().map(|request| request.trigger);
    report.error = retry.map(|error| error.what.clone());
    let failed = RunResult::Failed { reason, retry_at };
    Change::new(record).report(report).finish(failed).into()
}

fn retry_at(cx: &Context<'_>, tries: u32, error: &CallError) -> Timestamp {
    cx.now
        .after(retry::wait(tries, error.retry_after, cx.now.dice))
}

/// When the next step of a retiring token is tried again: later after each failure in a row, and not before the service allows.
pub fn retry_entry_at(cx: &Context<'_>, entry: &Retiring, wish: Option<Duration>) -> Timestamp {
    let tries = entry.failure.as_ref().map_or(0, |failure| failure.attempts);
    cx.now.after(retry::wait(tries, wish, cx.now.dice))
}

/// A call to read or to end a retiring token failed. It is this entry's failure: the others retire. If the environment could not be reached
/// for a look-up, that is the next run's business, which begins with another entry.
pub fn fail_retirement(cx: &Context<'_>, id: &TokenId, error: &CallError) -> Step {
    let refused = error.kind == ErrorKind::Refused;
    let reason = match refused {
        true => EntryReason::Refused,
        false => EntryReason::Unavailable,
    };
    let mut record = cx.draft();
    record.claim = None;
    let mut known = true;
    if let Some(entry) = record.retiring_mut(id) {
        if error.kind == ErrorKind::Unclear && entry.state == RetiringState::Disabling {
            entry.disable_unconfirmed_since = Some(cx.now.wall);
        }
        let due = retry_entry_at(cx, entry, error.retry_after);
        known = transition::fail_entry(entry, reason, &error.what, due, cx.now);
    }
    let report = (refused && !known).then(|| {
        let message = format!("cannot retire {id}: {}", error.what);
        Report::new(EventName::RetirementBlocked, message).token(id)
    });
    let then = match refused || cx.is_claimed() {
        true => AfterWrite::Reread,
        false => AfterWrite::Finish(RunResult::Retry(error.clone())),
    };
    Change::new(record).reports(report).then(then).into()
}

/// An undo is given up: the token goes back into grace, fenced by the base of this undo.
pub fn abort_undo(cx: &Context<'_>, why: &str) -> Step {
    let message = format!("the previous token was not brought back: {why}");
    let report = Report::new(EventName::UndoFailed, message.clone());
    let write = cx.write(|record| {
        if let Some(Work::Undo { id, base, .. }) = record.claim.take().map(|claim| claim.work) {
            transition::back_into_grace(cx, record, &id, base);
        }
    });
    write
        .report(report)
        .finish(RunResult::Refused(message))
        .into()
}
