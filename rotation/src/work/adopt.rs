//! Values that came into Vault without a commit: the first one of a secret, a store whose holder died, a person's token, a token that a
//! person put back.

use std::time::Duration;

use crate::command::{Command, RunResult, TokenAction};
use crate::context::{AfterWrite, Context, Step};
use crate::event::{EventName, Level, Report};
use crate::failure::{self, Retry};
use crate::marker::Marker;
use crate::observe::{SecretState, secret_state};
use crate::record::{Current, Record, Work};
use crate::token::TokenInfo;
use crate::transition;
use crate::view::Decision;

/// The documents of all secrets are known shortly after the start.
const EPOCHS_SOON: Duration = Duration::from_secs(1);
/// Numbers above the one of the value at hand that are believed when a document is recreated.
const NUMBERS: u64 = 100_000;

/// A secret without a recorded token: what is there is recorded, nothing else. Whether its document is new or only its value makes no
/// difference.
pub fn record_secret(cx: &Context<'_>) -> Decision<Option<Step>> {
    if cx.record.current.is_some() || cx.is_released() || cx.is_relocated() {
        return Ok(None);
    }
    let known = cx.record.stuck().map(|failure| &failure.reason);
    let info = match secret_state(cx)? {
        SecretState::Blocked(reason, _) if known == Some(&reason) => {
            return Ok(Some(Step::finish(RunResult::Failed {
                reason,
                retry_at: None,
            })));
        }
        SecretState::Blocked(reason, message) => {
            return Ok(Some(failure::fail(cx, reason, &message, Retry::Stuck)));
        }
        SecretState::RolledBack(_) | SecretState::Missing => return Ok(None),
        SecretState::Current(info)
        | SecretState::Foreign(info)
        | SecretState::UncommittedStore(info) => info,
    };
    if needs_epochs(cx, &info) {
        // Whose token this is can be told when all documents are known.
        let wake = Some(cx.now.after(EPOCHS_SOON));
        return Ok(Some(Step::finish(RunResult::Done { wake })));
    }
    let mut record = cx.draft();
    let resumed = resume_epoch(cx, &mut record, &info)?;
    let version = cx.view.secret(cx.record)?.version();
    let current = Current::new(&info, version, &record.epoch);
    let mut message = format!(
        "recorded {} as the current value of {}; the first rotation is at its next due time",
        current.id,
        cx.place()
    );
    if resumed {
        message += "; it carries this installation's marker, so its attempt history is continued";
    }
    let report = Report::new(EventName::SecretAdopted, message).token(&current.id);
    transition::make_current(cx, &mut record, current);
    record.health.failure = None;
    Ok(Some(Step::write(
        record,
        vec![report],
        AfterWrite::Continue,
    )))
}

/// It bears a marker of this installation, and which secrets have documents is not known yet.
fn needs_epochs(cx: &Context<'_>, info: &TokenInfo) -> bool {
    let marker = Marker::split(&info.name).1;
    let ours = marker.is_some_and(|it| it.epoch.installation == cx.record.epoch.installation);
    cx.is_new && ours && cx.request.env.epochs.is_none()
}

/// The identity of a token that bears our installation's marker is taken over, so that a deleted document comes back with its history of
/// attempts; but only if no other document has it (rule A8).
fn resume_epoch(cx: &Context<'_>, record: &mut Record, info: &TokenInfo) -> Decision<bool> {
    let Some(marker) = Marker::split(&info.name).1.filter(|_| cx.is_new) else {
        return Ok(false);
    };
    let ours = marker.epoch.installation == record.epoch.installation;
    let used = cx.other_with_epoch(&marker.epoch).is_some();
    if !ours || used || marker.attempt.checked_add(NUMBERS).is_none() {
        return Ok(false);
    }
    let Some(listing) = cx.view.listing() else {
        return Err(Command::List);
    };
    // What else bears this secret's marker is found by the next look at the listing and retires with full grace.
    let numbers = listing
        .tokens
        .iter()
        .filter_map(|token| Marker::of(&token.name, &marker.epoch));
    let highest = numbers
        .map(|other| other.attempt)
        .filter(|n| *n <= marker.attempt + NUMBERS)
        .max()
        .unwrap_or(0);
    record.attempts.attempt = marker.attempt.max(highest);
    record.attempts.unaccounted_through = record.attempts.attempt;
    record.epoch = marker.epoch;
    Ok(true)
}

/// The value in Vault is not what the journal says: it is dealt with before anything else. `rotating` = a person's own value is the
/// rotation's business.
pub fn reconcile(cx: &Context<'_>, rotating: bool) -> Decision<Option<Step>> {
    let Some(secret) = cx
        .view
        .known_secret()
        .filter(|secret| secret.value().is_some())
    else {
        return Ok(None);
    };
    let known = secret.id().is_some_and(|id| cx.record.is_current(id));
    if known || cx.is_relocated() || !cx.request.env.enabled {
        return Ok(None);
    }
    Ok(match secret_state(cx)? {
        SecretState::UncommittedStore(info) => Some(commit_uncommitted_store(cx, &info)?),
        SecretState::Foreign(info) if !rotating => Some(accept_foreign(cx, &info)?),
        SecretState::RolledBack(info) => Some(accept_rollback(cx, &info)?),
        _ => None,
    })
}

/// A store whose holder died is committed by whoever finds it.
fn commit_uncommitted_store(cx: &Context<'_>, info: &TokenInfo) -> Decision<Step> {
    let version = cx.view.secret(cx.record)?.version();
    let mut record = cx.draft();
    let mut due = record.claim.take().and_then(|claim| claim.due());
    let mut reports = vec![];
    if let Some(marker) = Marker::of(&info.name, &cx.record.epoch) {
        let open = record
            .open
            .iter()
            .find(|open| open.attempt == marker.attempt);
        due = due.max(open.and_then(|open| open.due));
        transition::close_attempt(&mut record, marker.attempt);
        if marker.attempt > record.attempts.attempt {
            reports.push(transition::went_back(cx, &mut record, marker.attempt));
        }
    }
    let mut message = format!(
        "{} was stored by a process that stopped before recording it; recorded as the current token",
        info.id
    );
    let mut report = Report::new(EventName::RotationRecovered, "").token(&info.id);
    let current = Current::new(info, version, &record.epoch);
    if let Some(former) = transition::make_current(cx, &mut record, current) {
        message += &format!(", and {} retires", former.id);
        report = report.old(&former.id);
    }
    report.message = message;
    transition::serve(cx, &mut record, due);
    transition::succeed(&mut record, cx.now);
    reports.push(report);
    let replaced = (cx.request.env.history && version > 0).then(|| version - 1);
    Ok(Step::write(
        record,
        reports,
        AfterWrite::GoalReached(replaced),
    ))
}

/// A person put a token of their own there, and nobody is rotating: it becomes the current one, and the former one retires.
fn accept_foreign(cx: &Context<'_>, info: &TokenInfo) -> Decision<Step> {
    let version = cx.view.secret(cx.record)?.version();
    let mut record = cx.draft();
    let current = Current::new(info, version, &cx.record.epoch);
    let former = transition::make_current(cx, &mut record, current);
    record.health.failure = None;
    let report = former.map(|former| {
        let message = format!(
            "someone replaced {} by {}; their token is kept as the current one, and {} will be retired",
            former.id, info.id, former.id
        );
        Report::new(EventName::SecretChangedElsewhere, message).token(&info.id).old(&former.id)
    });
    Ok(Step::write(
        record,
        report.into_iter().collect(),
        AfterWrite::Continue,
    ))
}

/// A person put a retiring token back: it is the current one again, enabled if we had disabled it, and the other one retires.
fn accept_rollback(cx: &Context<'_>, info: &TokenInfo) -> Decision<Step> {
    if !info.enabled && cx.request.env.capabilities.disable {
        if !cx.is_claimed() {
            let mut record = cx.draft();
            record.claim = Some(cx.claim(Work::Cleanup));
            return Ok(Step::write(record, vec![], AfterWrite::Reread));
        }
        match cx.view.outcome_of(&TokenAction::Enable, &info.id) {
            None => {
                let enable = Command::Change(TokenAction::Enable, info.id.clone());
                return Ok(Step::Do(enable));
            }
            Some(Ok(())) => {}
            Some(Err(error)) => return Ok(failure::give_up(cx, error)),
        }
    }
    let version = cx.view.secret(cx.record)?.version();
    let mut record = cx.draft();
    let mut message = format!(
        "someone put {} back; it is the current value again",
        info.id
    );
    let mut report = Report::new(EventName::SecretChangedElsewhere, "").token(&info.id);
    let current = Current::new(info, version, &cx.record.epoch);
    if let Some(former) = transition::make_current(cx, &mut record, current) {
        message += &format!(", and {} retires", former.id);
        report = report.old(&former.id);
    }
    report.message = message;
    report.level = Level::Warn;
    // A claim to clean up ends with this; a rotation continues with the value as it is now.
    if record
        .claim
        .as_ref()
        .is_some_and(|claim| !claim.is_rotation())
    {
        record.claim = None;
    }
    Ok(Step::write(record, vec![report], AfterWrite::Reread))
}
