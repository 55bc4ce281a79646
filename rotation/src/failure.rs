//! What a failed call means for the work under way: the claim is released in good order where that is possible.

use jiff::Timestamp;

use crate::command::RunResult;
use crate::context::{AfterWrite, Context, MintState, Step};
use crate::error::{CallError, ErrorKind, Service};
use crate::event::{EventName, Level, Report};
use crate::record::{EntryReason, Reason, RetiringState, Work};
use crate::retry;
use crate::token::TokenId;
use crate::transition;

/// A failed call that no rule of its own covers.
pub fn give_up(cx: &Context<'_>, error: &CallError) -> Step {
    let refused = error.kind == ErrorKind::Refused;
    let work = cx.record.claim.as_ref().map(|claim| &claim.work);
    if !refused && (error.service == Service::Vault || work.is_none()) {
        // Without Vault nothing can be written; without a claim nothing needs to be. The next run continues from the journal.
        return Step::finish(RunResult::Retry(error.clone()));
    }
    match work {
        Some(Work::Undo { .. }) => abort_undo(cx, &error.what),
        Some(Work::Disable { id } | Work::Delete { id }) => {
            let id = id.clone();
            fail_retirement(cx, &id, error)
        }
        Some(Work::Cleanup) if !refused => release_and_retry(cx, error),
        Some(Work::Cleanup) => fail(cx, Reason::RetirementRefused, &error.what, Retry::Stuck),
        None if cx.request.rotation().is_none() && cx.record.current.is_some() => {
            fail(cx, Reason::RetirementRefused, &error.what, Retry::Stuck)
        }
        _ => {
            let minting = cx.progress.mint == MintState::Rejected;
            let reason = match (error.service, refused) {
                (Service::Vault, true) => Reason::VaultRefused,
                (Service::Dynatrace, true) if minting => Reason::MintRefused,
                (Service::Dynatrace, true) => Reason::DynatraceRefused,
                (_, false) => Reason::Unavailable,
            };
            let retry = if refused {
                Retry::Stuck
            } else {
                Retry::Automatic(Some(error))
            };
            fail(cx, reason, &error.what, retry)
        }
    }
}

/// Clean-up keeps its place in the journal and is simply retried.
fn release_and_retry(cx: &Context<'_>, error: &CallError) -> Step {
    let mut record = cx.draft();
    record.claim = None;
    Step::write(
        record,
        vec![],
        AfterWrite::Finish(RunResult::Retry(error.clone())),
    )
}

/// What follows a failure.
#[derive(Clone, Copy, Debug)]
pub enum Retry<'a> {
    /// A person, a change or the next due time.
    Stuck,
    /// It is retried automatically, not before the error allows.
    Automatic(Option<&'a CallError>),
}

/// A failure is written down and the claim is released. Where nothing is retried, the due time counts as served.
pub fn fail(cx: &Context<'_>, reason: Reason, message: &str, retry: Retry<'_>) -> Step {
    let mut record = cx.draft();
    let served = match &record.claim {
        Some(claim) => claim.due(),
        None => cx.wanted().0,
    };
    transition::release_claim(cx, &mut record);
    let stuck = record.stuck().cloned();
    // A retry time is written only where something retries: nobody does it for a command, and what was stuck before stays so.
    if let (Retry::Automatic(error), false) = (retry, cx.request.holder.is_daemon) {
        let cause = error.map_or(message, |error| error.what.as_str());
        let result = error.map_or_else(
            || CallError::new(Service::Dynatrace, ErrorKind::Transient, cause),
            Clone::clone,
        );
        let report = Report::new(EventName::RotationFailed, cause);
        return Step::write(
            record,
            vec![report],
            AfterWrite::Finish(RunResult::Retry(result)),
        );
    }
    if let Some(stuck) = &stuck
        && reason == Reason::RetirementRefused
        && stuck.reason != reason
    {
        // What keeps it from being rotated was reported already, and is to be fixed first.
        let result = RunResult::Failed {
            reason: stuck.reason.clone(),
            retry_at: None,
        };
        return Step::write(record, vec![], AfterWrite::Finish(result));
    }
    let tries = record
        .health
        .failure
        .as_ref()
        .map_or(0, |failure| failure.count);
    let retry_at = match retry {
        Retry::Stuck => None,
        Retry::Automatic(error) => {
            let asked = error.and_then(|error| error.retry_after);
            Some(cx.now.after(retry::wait(tries, asked, cx.now.dice)))
        }
    };
    if retry_at.is_none() {
        transition::serve(cx, &mut record, served);
    }
    let known = transition::fail(&mut record, reason.clone(), message, retry_at, cx.now);
    // That the value does not work, and what keeps it from being rotated, are one condition where the cause is the same.
    let invalid = reason.is_of_the_value() && record.health.invalid.take().is_some();
    let mut report = Report::new(event(retry_at), message);
    if (known || invalid) && retry_at.is_none() {
        // Reported already; it is repeated from the document while it lasts.
        report.level = Level::Debug;
    }
    report.reason = Some(reason.clone());
    report.trigger = cx.request.rotation().map(|request| request.trigger);
    report.error = match retry {
        Retry::Automatic(error) => error.map(|error| error.what.clone()),
        Retry::Stuck => None,
    };
    report.old_token_id = record.current.as_ref().map(|current| current.id.clone());
    let result = RunResult::Failed { reason, retry_at };
    Step::write(record, vec![report], AfterWrite::Finish(result))
}

fn event(retry_at: Option<Timestamp>) -> EventName {
    match retry_at {
        Some(_) => EventName::RotationFailed,
        None => EventName::RotationStuck,
    }
}

/// A call to read or to end a retiring token failed. It is this entry's failure: the others retire. If the environment could not be reached
/// for a look-up, that is the next run's business, which begins with another entry.
pub fn fail_retirement(cx: &Context<'_>, id: &TokenId, error: &CallError) -> Step {
    let ends = error.kind != ErrorKind::Refused && !cx.is_claimed();
    let mut record = cx.draft();
    record.claim = None;
    let reason = match error.kind {
        ErrorKind::Refused => EntryReason::Refused,
        _ => EntryReason::Unavailable,
    };
    let mut reports = vec![];
    if let Some(entry) = transition::entry_mut(&mut record, id) {
        let tries = entry.failure.as_ref().map_or(0, |failure| failure.attempts);
        let due = cx
            .now
            .after(retry::wait(tries, error.retry_after, cx.now.dice));
        if error.kind == ErrorKind::Unclear && entry.state == RetiringState::Disabling {
            entry.disable_unconfirmed_since = Some(cx.now.wall);
        }
        let reported = !reason.needs_human();
        let known = transition::fail_entry(entry, reason, &error.what, due, cx.now);
        if !known && !reported {
            let message = format!("cannot retire {id}: {}", error.what);
            reports.push(Report::new(EventName::RetirementBlocked, message).token(id));
        }
    }
    let then = match ends {
        true => AfterWrite::Finish(RunResult::Retry(error.clone())),
        false => AfterWrite::Reread,
    };
    Step::write(record, reports, then)
}

/// An undo is given up: the token goes back into grace, fenced by the base of this undo.
pub fn abort_undo(cx: &Context<'_>, why: &str) -> Step {
    let mut record = cx.draft();
    if let Some(Work::Undo { id, base, .. }) = record.claim.take().map(|claim| claim.work) {
        transition::back_into_grace(cx, &mut record, &id, base);
    }
    let message = format!("the previous token was not brought back: {why}");
    let report = Report::new(EventName::UndoFailed, message.clone());
    Step::write(
        record,
        vec![report],
        AfterWrite::Finish(RunResult::Refused(message)),
    )
}
