//! Values that came into Vault without a commit: the first one of a secret, a store whose holder died, a person's token, a token that a
//! person put back.

use std::time::Duration;

use crate::backstop;
use crate::command::{Command, RunResult, TokenAction};
use crate::context::{AfterWrite, Change, Context, Decision, Step};
use crate::event::{EventName, Report};
use crate::failure;
use crate::genuine::is_named;
use crate::marker::Marker;
use crate::observe::{SecretState, secret_state};
use crate::ownership::{Kinship, MAX_JUMP, kinship};
use crate::record::{Claim, Current, Reason, Record, Trigger, Work};
use crate::request::{Goal, RotationRequest};
use crate::token::{TokenId, TokenInfo, in_brackets};
use crate::transition;
use crate::view::Fact;

/// The documents of all secrets are known shortly after the start.
const EPOCHS_SOON: Duration = Duration::from_secs(1);

/// A secret without a recorded token: what is there is recorded, nothing else. Whether its document is new or only its value makes no
/// difference.
pub fn record_secret(cx: &Context<'_>) -> Decision<()> {
    if cx.record.current.is_some() || cx.is_released() || cx.is_relocated() {
        return Ok(());
    }
    let known = cx.record.stuck().map(|failure| &failure.reason);
    let info = match secret_state(cx)? {
        SecretState::Blocked(reason, _) if known == Some(&reason) => {
            return wait_for_a_person(cx, reason);
        }
        SecretState::Blocked(reason, message) => {
            return Err(failure::stuck(cx, reason, &message));
        }
        SecretState::Vacant => return create(cx),
        SecretState::RolledBack(_) | SecretState::Missing(_) => return Ok(()),
        SecretState::Current(info)
        | SecretState::Foreign(info)
        | SecretState::UncommittedStore(info) => info,
        SecretState::Revoked(_) if cx.may_begin() => return Err(replace_revoked()),
        SecretState::Revoked(_) => return Ok(()),
    };
    if needs_epochs(cx, &info) {
        // Whose token this is becomes clear when all documents are known.
        let wake = Some(cx.now.after(EPOCHS_SOON));
        return Err(Step::finish(RunResult::Done { wake }));
    }
    let mut record = cx.draft();
    let resumed = match resume_epoch(cx, &mut record, &info)? {
        true => "; it carries this installation's marker, so its attempt history is continued",
        false => "",
    };
    let message = format!(
        "recorded {} as the current value of {}; the first rotation is at its next due time{resumed}",
        info.id,
        cx.place()
    );
    let report = Report::new(EventName::SecretAdopted, message).token(&info.id);
    let version = cx.view.secret(cx.record)?.version();
    let mut current = Current::recorded(&info, version, &record);
    current.named = is_named(cx, &info);
    transition::make_current(cx, &mut record, current);
    record.health.failure = None;
    Err(Change::new(record).report(report).into())
}

/// A person wants this token recorded, whose value is in Vault.
pub fn named(cx: &Context<'_>, id: &TokenId) -> Decision<Step> {
    let state = secret_state(cx)?;
    let info = match state {
        SecretState::Current(info) if info.id == *id => return Ok(Step::done()),
        SecretState::Foreign(info)
        | SecretState::UncommittedStore(info)
        | SecretState::RolledBack(info)
            if info.id == *id =>
        {
            info
        }
        SecretState::Blocked(_, message) => return Ok(Step::refuse(message)),
        _ => {
            return Ok(Step::refuse(format!(
                "{} does not hold the value of {id}",
                cx.place()
            )));
        }
    };
    if cx.request.dry_run {
        return Ok(Step::finish(RunResult::DryRun(format!(
            "{}: would record {id}{} as the current token",
            cx.plan().name,
            in_brackets(&info.scopes)
        ))));
    }
    record_secret(cx)?;
    reconcile(cx, false)?;
    Ok(Step::done())
}

/// Nothing was ever there: the first token is made at once. One whose creation failed for good waits for a person, a change, or a due time.
fn create(cx: &Context<'_>) -> Decision<()> {
    if cx.request.goal != Goal::Settle || !cx.env().enabled {
        return Ok(());
    }
    if let Some(failure) = cx.record.stuck() {
        return wait_for_a_person(cx, failure.reason.clone());
    }
    Err(Step::Rotate(RotationRequest {
        due: None,
        trigger: Trigger::Create,
        accept_recorded_rights: false,
    }))
}

/// Nothing is done about the value, which was reported; what an attempt to create the first token left is cleaned up all the same.
fn wait_for_a_person(cx: &Context<'_>, reason: Reason) -> Decision<()> {
    match cx.record.is_finished() {
        true => Err(Step::finish(RunResult::stuck(reason))),
        false => Ok(()),
    }
}

/// It bears a marker of this installation, and which secrets have documents is not known yet.
fn needs_epochs(cx: &Context<'_>, info: &TokenInfo) -> bool {
    let marker = Marker::of_a_secret(&info.name);
    let ours = marker.is_some_and(|it| it.epoch.installation == cx.record.epoch.installation);
    cx.is_new && ours && cx.env().epochs.is_none()
}

/// The identity of a token that bears our installation's marker is taken over, so that a deleted document comes back with its history of
/// attempts; but only if no other document has it (rule A8).
fn resume_epoch(cx: &Context<'_>, record: &mut Record, info: &TokenInfo) -> Fact<bool> {
    let Some(marker) = Marker::of_a_secret(&info.name).filter(|_| cx.is_new) else {
        return Ok(false);
    };
    let ours = marker.epoch.installation == record.epoch.installation;
    let used = cx.other_with_epoch(&marker.epoch).is_some();
    let Some(most) = marker
        .attempt
        .checked_add(MAX_JUMP)
        .filter(|_| ours && !used)
    else {
        return Ok(false);
    };
    // A sweep hands over what it found of the identity that it knew.
    let listing = cx.view.current_listing()?;
    // What else bears this secret's marker is found by the next look at the listing and retires with full grace.
    let tokens = listing.tokens.iter();
    let others = tokens.filter_map(|token| Marker::of(&token.name, &marker.epoch));
    let numbers = others.map(|other| other.attempt).filter(|n| *n <= most);
    let highest = numbers.max().unwrap_or(0);
    record.attempts.attempt = marker.attempt.max(highest);
    record.attempts.unaccounted_through = record.attempts.attempt;
    record.epoch = marker.epoch;
    Ok(true)
}

/// The value in Vault is not what the journal says: it is dealt with before anything else. `rotating` = a person's own value is the
/// rotation's business.
pub fn reconcile(cx: &Context<'_>, rotating: bool) -> Decision<()> {
    let secret = cx.view.known_secret();
    let Some(secret) = secret.filter(|secret| secret.value().is_some()) else {
        return Ok(());
    };
    let known = secret.id().is_some_and(|id| cx.record.is_current(id));
    if known || cx.is_relocated() || !cx.may_begin() {
        return Ok(());
    }
    let version = secret.version();
    let change = match secret_state(cx)? {
        SecretState::UncommittedStore(info) => commit_uncommitted_store(cx, &info, version),
        SecretState::Foreign(info) if !rotating => accept_foreign(cx, &info, version),
        // A rotation reports it as well; the next one may be due in a month.
        SecretState::Blocked(reason, message)
            if !rotating && reason.keeps_from_taking_over() && !is_stuck_by(cx, &reason) =>
        {
            return Err(failure::stuck(cx, reason, &message));
        }
        SecretState::Revoked(_) if !cx.is_claimed() && cx.record.revoking.is_none() => {
            return Err(replace_revoked());
        }
        SecretState::RolledBack(info) => {
            if backstop::is_set(cx, &info.id, &info) {
                if !cx.is_claimed() {
                    return Err(cx.take_claim(Work::Cleanup).into());
                }
                backstop::restore(cx, &info.id)?;
            }
            if !info.enabled && cx.env().capabilities.disable {
                enable(cx, &info)?;
            }
            accept_rollback(cx, &info, version)
        }
        _ => return Ok(()),
    };
    Err(change.into())
}

fn is_stuck_by(cx: &Context<'_>, reason: &Reason) -> bool {
    let stuck = cx.record.stuck();
    stuck.is_some_and(|failure| failure.reason == *reason)
}

/// Someone put a revoked token back: it is replaced at once.
fn replace_revoked() -> Step {
    Step::Rotate(RotationRequest {
        due: None,
        trigger: Trigger::Sweep,
        accept_recorded_rights: false,
    })
}

/// A store whose holder died is committed by whoever finds it.
fn commit_uncommitted_store(cx: &Context<'_>, info: &TokenInfo, version: u64) -> Change {
    let mut record = cx.draft();
    let mut due = record.claim.take().as_ref().and_then(Claim::due);
    let mut went_back = None;
    if let Some(Marker { attempt, .. }) = Marker::of(&info.name, &cx.record.epoch) {
        let is_earlier = matches!(kinship(cx.record, info), Some(Kinship::Earlier(_)));
        if !is_earlier {
            let open = record.open.iter().find(|open| open.attempt == attempt);
            due = due.max(open.and_then(|open| open.due));
            transition::close_attempt(&mut record, attempt);
        }
        if is_earlier || attempt > record.attempts.attempt {
            went_back = Some(transition::went_back(cx, &mut record, attempt, &[info]));
        }
    }
    let current = Current::recorded(info, version, &record);
    let former = transition::make_current(cx, &mut record, current);
    transition::serve(cx, &mut record, due);
    transition::succeed(cx, &mut record, former.as_ref());
    let mut message = format!(
        "{} was stored by a process that stopped before recording it; recorded as the current token",
        info.id
    );
    if let Some(former) = &former {
        message += &format!(", and {former} retires");
    }
    let report = Report::new(EventName::RotationRecovered, message);
    let report = report.token(&info.id).old(former.as_ref());
    let replaced = (cx.env().history && version > 0).then(|| version - 1);
    let change = Change::new(record).reports(went_back).report(report);
    change.then(AfterWrite::GoalReached(replaced))
}

/// A person put a token of their own there, and nobody is rotating: it becomes the current one, and the former one retires.
fn accept_foreign(cx: &Context<'_>, info: &TokenInfo, version: u64) -> Change {
    let mut record = cx.draft();
    let mut current = Current::recorded(info, version, &record);
    current.named = is_named(cx, info);
    let report = transition::accept_foreign(cx, &mut record, current);
    record.health.failure = None;
    Change::new(record).reports(report)
}

/// A token that a person put back after we had disabled it is enabled, under a claim; `Ok` = it is.
fn enable(cx: &Context<'_>, info: &TokenInfo) -> Decision<()> {
    if !cx.is_claimed() {
        return Err(cx.take_claim(Work::Cleanup).into());
    }
    match cx.view.outcome_of(&TokenAction::Enable, &info.id) {
        None => Err(Command::Change(TokenAction::Enable, info.id.clone()).into()),
        Some(Ok(())) => Ok(()),
        Some(Err(error)) => Err(failure::give_up(cx, error)),
    }
}

/// A person put a retiring token back: it is the current one again, and the other one retires.
fn accept_rollback(cx: &Context<'_>, info: &TokenInfo, version: u64) -> Change {
    let mut record = cx.draft();
    let mut current = Current::recorded(info, version, &record);
    current.named |= is_named(cx, info);
    let former = transition::make_current(cx, &mut record, current);
    transition::note_revert(&mut record, &info.id, version, cx.now);
    // A claim to clean up ends with this; a rotation continues with the value as it is now.
    record.claim = record.claim.filter(Claim::is_rotation);
    let mut message = format!(
        "someone put {} back; it is the current value again",
        info.id
    );
    if let Some(former) = &former {
        message += &format!(", and {former} retires");
    }
    let report = Report::new(EventName::SecretChangedElsewhere, message);
    let report = report.token(&info.id).old(former.as_ref());
    Change::new(record).report(report).then(AfterWrite::Reread)
}
