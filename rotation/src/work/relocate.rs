//! A secret that the configuration moved: reported at once, and continued at the new place when a person accepts it.

use crate::command::RunResult;
use crate::context::{AfterWrite, Change, Context, Decision, Step};
use crate::event::{EventName, Level, Report};
use crate::failure;
use crate::record::{Reason, RetiringState, Trigger};
use crate::transition::{self, Leaving};
use crate::view::Fact;

/// The configuration moved it: that is reported at once, and not at its next due time; and so is that it moved back.
pub fn report(cx: &Context<'_>) -> Decision<()> {
    let moved = cx.is_relocated() && !cx.is_released();
    let failure = cx.record.health.failure.as_ref();
    let known = failure.is_some_and(|failure| failure.reason == Reason::Moved);
    match (moved, known) {
        (true, false) => Err(next(cx)?),
        // Only after a start or a change of settings: another replica may have the newer ones.
        (false, true) if cx.journal_is_fresh => {
            let message = format!("resolved: the secret is at {} again", cx.place());
            let mut report = Report::new(EventName::RotationStuck, message).at(Level::Info);
            report.reason = Some(Reason::Moved);
            let write = cx.write(|record| record.health.failure = None);
            Err(write.report(report).into())
        }
        _ => Ok(()),
    }
}

/// Accepts the new coordinates, as a person asked for by `rotate NAME`; of a secret that never had a token at once. Open attempts must be settled at the old place first: their fences
/// are versions of the old secret.
pub fn next(cx: &Context<'_>) -> Decision<Step> {
    let asked_for = cx.request.rotation().map(|request| request.trigger);
    let by_command = asked_for == Some(Trigger::Command);
    let open = !cx.record.open.is_empty();
    let knows_a_token = cx.record.current.is_some() || !cx.record.retiring.is_empty();
    let configured = &cx.plan().coordinates;
    let other_environment = configured.base_url != cx.place().base_url;
    let old = cx.place().difference(configured);
    let new = configured.difference(cx.place());
    let name = &cx.plan().name;
    let former = cx.record.current.as_ref();
    let former = former.map_or(String::new(), |former| match other_environment {
        true => format!("; {} can only be retired at its own URL", former.id),
        false => format!("; where another token is there, {} is retired", former.id),
    });
    if cx.request.dry_run {
        return Ok(Step::finish(RunResult::DryRun(format!(
            "{name}: would accept its move from {old} to {new} and continue there{former}"
        ))));
    }
    if open || knows_a_token && !by_command {
        let first = if open {
            " (an interrupted attempt at the old place is settled first; try again later)"
        } else {
            ""
        };
        let message = format!(
            "the configuration moved this secret from {old} to {new}; check that the new place holds the right token, then run \
             `dtrotate rotate {name}` to accept it{former}{first}"
        );
        return Ok(failure::stuck(cx, Reason::Moved, &message));
    }
    prove_current(cx)?;
    let mut record = cx.draft();
    if other_environment && let Some(current) = record.current.take() {
        // It belongs to the URL that it was made at. If it is at the new one as well, it comes back from there.
        transition::put_into_grace(cx, &mut record, Leaving::former(current, 0));
    }
    record.coordinates = configured.clone();
    if let Some(current) = &mut record.current {
        current.version = 0;
    }
    // Versions count from 1 at the new place; a token that retires here must be looked for there from the first version on.
    for entry in &mut record.retiring {
        entry.base = 0;
        entry.clean_through = 0;
        if entry.state == RetiringState::Grace {
            entry.due = entry.due.max(cx.now.wall);
        }
    }
    let report = Report::new(EventName::SecretMoved, format!("moved from {old} to {new}"));
    let change = Change::new(record).report(report);
    Ok(change.then(AfterWrite::Relocated).into())
}

/// A current token without our marker is proven by its value at the old place, which is no longer read once the move is accepted.
fn prove_current(cx: &Context<'_>) -> Fact<()> {
    let current = cx.record.current.as_ref();
    if let Some(current) = current.filter(|it| it.digest.is_none() && it.version > 0)
        && cx.env().history
        && let Some(value) = cx.view.version(current.version)?.value()
        && value.id.as_ref().is_none_or(|id| *id == current.id)
    {
        cx.view.version_value(current.version)?;
    }
    Ok(())
}
