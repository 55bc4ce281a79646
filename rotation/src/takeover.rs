//! Claims of others: how long to wait for them, and how to take one over.

use super::command::RunResult;
use super::context::{AfterWrite, Change, Context, Step};
use super::event::{EventName, Report};
use super::record::{Claim, Trigger, Work};
use super::request::{ClaimObservation, Goal};
use super::transition;

/// How long to wait for another holder's claim; none = it may be taken over now. A claim of our own name is an earlier run's, or a
/// predecessor's if it was taken before this process began (a newer one is of a process that uses our name); any other lapses when the document was unchanged for `claim_timeout` on our own monotonic clock. Taking over too early is safe (the
/// other is fenced by check-and-set), only wasteful.
pub fn wait(cx: &Context<'_>, claim: &Claim) -> Option<RunResult> {
    if let Goal::Revoke(_) = cx.request.goal {
        // A leak does not wait: the other one is fenced.
        return None;
    }
    let holder = &cx.request.holder;
    let has_ended = claim.boot == holder.boot || claim.since <= holder.began;
    if holder.is_daemon && claim.holder == holder.instance && has_ended {
        return None;
    }
    let version = cx.journal_version;
    let known = cx.request.known.observation;
    let observation = known
        .filter(|it| it.version == version)
        .unwrap_or(ClaimObservation {
            version,
            since: cx.now.mono,
        });
    let waited = cx.now.mono.saturating_sub(observation.since);
    let timeout = cx.plan().claim_timeout;
    (waited < timeout).then(|| RunResult::ClaimedElsewhere {
        holder: claim.holder.clone(),
        recheck: timeout - waited,
        observation,
    })
}

/// What a newer version left unfinished can only be finished by it: nothing is known of what it may have begun.
pub fn not_understood(cx: &Context<'_>, claim: &Claim) -> Step {
    Step::finish(RunResult::JournalUnreadable(format!(
        "{} has unfinished work of {} (begun {:.0}) that only a newer version of dtrotate understands; start that version to finish it",
        cx.plan().name,
        claim.holder,
        claim.since
    )))
}

/// Takes over what another holder left. Its attempt may have left a token: it becomes open, and nothing is deleted now. Its disable may
/// still take effect: the entry says so.
pub fn take_over(cx: &Context<'_>, claim: &Claim) -> Step {
    let mut record = cx.draft();
    transition::open_claimed(cx, &mut record);
    let left = match &claim.work {
        Work::Rotate { attempt, .. } => {
            // For a secret that left the configuration or is switched off nothing new is made.
            if !cx.is_released() && (cx.env().enabled || cx.record.revoking.is_some()) {
                record.claim = Some(cx.claim(Work::Rotate {
                    due: claim.due().max(cx.wanted().0),
                    trigger: Trigger::Recovery,
                    attempt: None,
                }));
            }
            match attempt {
                Some(attempt) => format!("its attempt {} is open", attempt.n),
                None => "nothing to clean up".to_owned(),
            }
        }
        Work::Disable { id } => {
            if let Some(entry) = record.retiring_mut(id) {
                entry.disable_unconfirmed_since = Some(cx.now.wall);
            }
            format!("its disable of {id} may still take effect")
        }
        Work::Redate { id } => {
            if let Some(entry) = record.retiring_mut(id) {
                entry.disable_unconfirmed_since = Some(cx.now.wall);
            }
            format!("the expiry of {id} may still move")
        }
        Work::Undo { id, base, .. } => {
            transition::back_into_grace(cx, &mut record, id, *base);
            format!("it may have enabled and stored {id}, which retires again")
        }
        Work::Cleanup | Work::Delete { .. } => "nothing to clean up".to_owned(),
        Work::Newer(_) => return not_understood(cx, claim),
    };
    let message = format!(
        "took over the work of {} (begun {:.0}); {left}",
        claim.holder, claim.since
    );
    let report = Report::new(EventName::RotationRecovered, message);
    let change = Change::new(record).report(report);
    change.then(AfterWrite::Reread).into()
}
