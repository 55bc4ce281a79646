//! Pausing and resuming: writes without a claim, which preserve the claim of whoever has it.

use crate::command::RunResult;
use crate::context::{Context, Decision, Step};
use crate::event::{EventName, Level, Report};
use crate::pause::Pause;
use crate::work::adopt;

/// A person pauses the secret. A pause that there is already is replaced, and the event names it.
pub fn set(cx: &Context<'_>, pause: &Pause) -> Decision<Step> {
    check(cx)?;
    let name = &cx.plan().name;
    let message = format!("{name} is paused {}", pause.described());
    let mut report = Report::new(EventName::SecretPaused, message);
    if let Some(former) = cx.record.pause.as_ref().filter(|former| *former != pause) {
        report.message += &format!("; this replaces the pause {}", former.described());
        if pause.ends_before(former) {
            // Whoever paused it counts on the later end.
            report.message += ", which would have ended later";
            report.level = Level::Warn;
        }
    }
    let current = cx.record.current.as_ref();
    let expires = current.and_then(|current| current.expires);
    if let Some(end) = expires.filter(|end| pause.until.is_none_or(|until| until > *end)) {
        report.message += &format!(
            ". Its token expires at {end:.0}, before the pause ends: resume it before then"
        );
        report.level = Level::Warn;
    }
    let write = cx.write(|record| {
        record.pause = Some(pause.clone());
        record.resumed_at = None;
    });
    let report = report.token(cx.record.current_id());
    Ok(write.report(report).finish(finished()).into())
}

/// A person ends the pause.
pub fn resume(cx: &Context<'_>, by: &str) -> Decision<Step> {
    check(cx)?;
    let Some(pause) = &cx.record.pause else {
        return Ok(Step::finish(finished()));
    };
    let message = format!("{} is resumed by {by}; it was {pause}", cx.plan().name);
    let report = Report::new(EventName::SecretResumed, message).token(cx.record.current_id());
    let write = cx.write(|record| {
        record.pause = None;
        record.resumed_at = Some(cx.now.wall);
    });
    Ok(write.report(report).finish(finished()).into())
}

/// The time of a pause is up: whoever looks next says so. What became due meanwhile counts from there.
pub fn end(cx: &Context<'_>) -> Decision<()> {
    let over = |pause: &&Pause| pause.is_over(cx.now.wall);
    let Some(pause) = cx.record.pause.as_ref().filter(over) else {
        return Ok(());
    };
    let message = format!(
        "{} is resumed, because its pause is over; it was {pause}",
        cx.plan().name
    );
    let report = Report::new(EventName::SecretResumed, message).token(cx.record.current_id());
    let write = cx.write(|record| {
        record.resumed_at = pause.until;
        record.pause = None;
    });
    Err(write.report(report).into())
}

/// The document must be there and be the last one.
fn check(cx: &Context<'_>) -> Decision<()> {
    if !cx.journal_is_fresh {
        return Err(crate::command::Command::ReadJournal.into());
    }
    if let Some(error) = cx.error {
        return Err(Step::finish(RunResult::Retry(error.clone())));
    }
    if cx.is_new {
        adopt::record_secret(cx)?;
    }
    Ok(())
}

fn finished() -> RunResult {
    RunResult::Done { wake: None }
}
