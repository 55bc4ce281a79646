//! Retirement: disable at the end of the grace, delete at the end of the quarantine. Each under a claim of its own, each with a fresh read of
//! the secret and of the token before, and of the secret again after a disable. A token that cannot be proven to be ours is left alone.

use std::time::Duration;

use jiff::Timestamp;

use crate::command::{Command, RunResult, TokenAction};
use crate::context::{AfterWrite, Context, Step};
use crate::error::{CallError, ErrorKind};
use crate::event::{EventName, Level, Report};
use crate::failure;
use crate::observe::{Position, fence_base, is_workable, position};
use crate::ownership;
use crate::plan::StillUsed;
use crate::reading::{Absent, absence, read_token};
use crate::record::{EntryReason, Record, Retiring, RetiringState, Work};
use crate::token::{TokenId, TokenInfo};
use crate::transition;
use crate::view::{Decision, Lookup};

/// A token that cannot be proven to be ours is examined again after this: a person may have given it its name back.
const UNPROVEN: Duration = Duration::from_secs(3600);

/// The next step of a retirement that is due; none = none is due, or the time is not to be trusted.
pub fn next(cx: &Context<'_>) -> Decision<Option<Step>> {
    let env = &cx.request.env;
    let held = cx
        .record
        .health
        .hold_until
        .is_some_and(|until| cx.now.wall < until);
    if !env.may_retire || !cx.clock_is_trusted() || !env.enabled || held {
        return Ok(None);
    }
    let due = |entry: &&Retiring| entry.due <= cx.now.wall && is_workable(cx, entry);
    let Some(entry) = cx
        .record
        .retiring
        .iter()
        .filter(due)
        .min_by_key(|entry| entry.due)
    else {
        return Ok(None);
    };
    Ok(Some(match position(cx, entry)? {
        // It is in Vault and in no state to be accepted: leave it for a grace.
        Position::InVault => postpone(cx, entry, vec![]),
        Position::WasCurrent(version) => restart(cx, entry, version, vec![]),
        Position::Unfenced(_) if fence_base(cx).is_some() => {
            let mut record = cx.draft();
            record.claim = Some(cx.claim(Work::Cleanup));
            Step::write(record, vec![], AfterWrite::Reread)
        }
        // A deleted secret cannot be written unchanged, and a counter that went back proves nothing.
        Position::Unfenced(version) => {
            let mut record = cx.draft();
            let due = later(cx);
            if let Some(entry) = transition::entry_mut(&mut record, &entry.id) {
                entry.base = entry.base.min(version);
                entry.due = due;
            }
            Step::write(record, vec![], AfterWrite::Continue)
        }
        Position::OutOfUse => advance(cx, entry)?,
    }))
}

/// The token is out of use: what is the next step?
fn advance(cx: &Context<'_>, entry: &Retiring) -> Decision<Step> {
    if let Some(step) = shared(cx, entry) {
        return Ok(step);
    }
    let info = match read_token(cx, &entry.id)? {
        Ok(Lookup::Found(info)) => info,
        Ok(Lookup::NotFound) => {
            return Ok(match absence(cx, entry)? {
                Absent::Proven => gone(cx, &entry.id, "was deleted elsewhere or expired"),
                Absent::Until(at) => missed(cx, entry, at),
            });
        }
        Err(error) => return Ok(failure::fail_retirement(cx, &entry.id, &error)),
    };
    if entry.missed.is_some() {
        return Ok(seen_again(cx, &entry.id));
    }
    if let Err(why) = ownership::prove(cx, entry, &info)? {
        return Ok(unproven(cx, entry, &why));
    }
    let can_disable = cx.request.env.capabilities.disable;
    Ok(match entry.state {
        RetiringState::Grace | RetiringState::Disabling if info.enabled => {
            end_grace(cx, entry, &info)
        }
        // Whoever disabled it: it stays so for the quarantine.
        RetiringState::Grace | RetiringState::Disabling => {
            let mut record = cx.draft();
            transition::quarantine(cx, &mut record, &entry.id);
            let ours = entry.state == RetiringState::Disabling;
            let reports = ours.then(|| disabled_report(&entry.id));
            Step::write(record, reports.into_iter().collect(), AfterWrite::Continue)
        }
        RetiringState::Quarantine if info.enabled && can_disable => {
            let message = format!(
                "{} was enabled again by someone; its grace begins again",
                entry.id
            );
            let report = Report::new(EventName::RetirementRestarted, message).token(&entry.id);
            restart(cx, entry, entry.base, vec![report])
        }
        // Its deletion failed before: without a quarantine its use is asked again.
        RetiringState::Deleting if info.enabled && !can_disable => end_grace(cx, entry, &info),
        RetiringState::Quarantine | RetiringState::Deleting => {
            claim_end(cx, cx.draft(), &entry.id, RetiringState::Deleting, vec![])
        }
        // Not workable, so never chosen.
        RetiringState::Newer(_) => Step::finish(RunResult::Done { wake: None }),
    })
}

/// It is the current token of another secret as well.
fn shared(cx: &Context<'_>, entry: &Retiring) -> Option<Step> {
    let other = ownership::other_holder(cx, &entry.id)?;
    let message = format!(
        "{} is due for retirement but is also the current token of {other}; it was not disabled. Give each secret a token of its own",
        entry.id
    );
    let report = Report::new(EventName::TokenShared, message).token(&entry.id);
    Some(postpone(cx, entry, vec![report]))
}

fn end_grace(cx: &Context<'_>, entry: &Retiring, info: &TokenInfo) -> Step {
    let from = info.last_used_ip.as_deref().unwrap_or("an unknown address");
    if let Some(until) = still_used(cx, entry, info) {
        let last = entry
            .since
            .checked_add(cx.plan().max_grace)
            .unwrap_or(until);
        let message = format!(
            "{} is still in use (last from {from}); its grace is extended until it has been unused for `grace`, at most until {last}",
            entry.id
        );
        let report = Report::new(EventName::RetirementHeld, message).token(&entry.id);
        // Reported once; the entry shows it while it lasts.
        let reports = if entry.usage.held_since.is_none() {
            vec![report]
        } else {
            vec![]
        };
        let mut record = cx.draft();
        if let Some(entry) = transition::entry_mut(&mut record, &entry.id) {
            entry.due = until;
            entry.usage.held_since.get_or_insert(cx.now.wall);
            entry.usage.used_from.clone_from(&info.last_used_ip);
        }
        return Step::write(record, reports, AfterWrite::Continue);
    }
    let mut reports = vec![];
    let cut_off = is_in_use(cx, entry, info);
    // Reported once, however often the call is tried; the entry shows it.
    if cut_off && entry.usage.cut_off_at.is_none() {
        let message = format!(
            "{} is being disabled although it is still in use (last from {from}): that consumer has not picked up the new value. Restart it, or \
             run `dtrotate undo {}`",
            entry.id,
            cx.plan().name
        );
        reports.push(Report::new(EventName::ConsumerCutOff, message).token(&entry.id));
    }
    let mut record = cx.draft();
    if let Some(entry) = transition::entry_mut(&mut record, &entry.id)
        && cut_off
    {
        entry.usage.cut_off_at = Some(cx.now.wall);
        entry.usage.used_from.clone_from(&info.last_used_ip);
    }
    let then = match cx.request.env.capabilities.disable {
        true => RetiringState::Disabling,
        false => RetiringState::Deleting,
    };
    claim_end(cx, record, &entry.id, then, reports)
}

/// Until when the grace is extended because the token is still used; none = it ends.
fn still_used(cx: &Context<'_>, entry: &Retiring, info: &TokenInfo) -> Option<Timestamp> {
    if cx.plan().still_used == StillUsed::Warn || !entry.used_since(info) {
        return None;
    }
    let quiet = info.last_used?.checked_add(cx.plan().grace).ok()?;
    let last = entry.since.checked_add(cx.plan().max_grace).ok()?;
    Some(quiet.min(last)).filter(|until| *until > cx.now.wall)
}

/// It is used to the last: a consumer will notice.
fn is_in_use(cx: &Context<'_>, entry: &Retiring, info: &TokenInfo) -> bool {
    let quiet = info
        .last_used
        .and_then(|used| used.checked_add(cx.plan().grace).ok());
    entry.used_since(info) && quiet.is_some_and(|quiet| quiet > cx.now.wall)
}

/// The claim to disable or to delete a token that was just proven.
fn claim_end(
    cx: &Context<'_>,
    mut record: Record,
    id: &TokenId,
    state: RetiringState,
    reports: Vec<Report>,
) -> Step {
    let work = match state {
        RetiringState::Disabling => Work::Disable { id: id.clone() },
        _ => Work::Delete { id: id.clone() },
    };
    if let Some(entry) = transition::entry_mut(&mut record, id) {
        entry.state = state;
    }
    record.claim = Some(cx.claim(work));
    Step::write(record, reports, AfterWrite::Proven(id.clone()))
}

/// Under the claim to disable.
pub fn disable(cx: &Context<'_>, id: &TokenId) -> Decision<Step> {
    if let Some(Ok(())) = cx.view.outcome_of(&TokenAction::Enable, id) {
        // The token is enabled again; the next pass decides what to do with it.
        let mut record = cx.draft();
        record.claim = None;
        if let Some(entry) = transition::entry_mut(&mut record, id) {
            entry.state = RetiringState::Grace;
            entry.due = cx.now.wall;
        }
        return Ok(Step::write(record, vec![], AfterWrite::Continue));
    }
    if let Some(Err(error)) = cx.view.outcome_of(&TokenAction::Enable, id) {
        return Ok(failure::give_up(cx, error));
    }
    match cx.view.outcome_of(&TokenAction::Disable, id) {
        None => Ok(act_if_proven(cx, TokenAction::Disable, id)),
        Some(Ok(())) => {
            if position_in_vault(cx, id)? {
                // A person put it back between our look and our disable.
                return Ok(Step::Do(Command::Change(TokenAction::Enable, id.clone())));
            }
            let mut record = cx.draft();
            transition::quarantine(cx, &mut record, id);
            Ok(Step::write(
                record,
                vec![disabled_report(id)],
                AfterWrite::Continue,
            ))
        }
        Some(Err(error)) => Ok(failed(cx, error)),
    }
}

/// The token is the current value. A legacy value does not show whose it is: it is looked up.
fn position_in_vault(cx: &Context<'_>, id: &TokenId) -> Decision<bool> {
    let Some(value) = cx.view.secret(cx.record)?.value() else {
        return Ok(false);
    };
    Ok(match &value.id {
        Some(shown) => shown == id,
        None => cx.view.value()?.found().is_some_and(|info| info.id == *id),
    })
}

/// Under the claim to delete.
pub fn delete(cx: &Context<'_>, id: &TokenId) -> Decision<Step> {
    match cx.view.outcome_of(&TokenAction::Delete, id) {
        None => Ok(act_if_proven(cx, TokenAction::Delete, id)),
        Some(Ok(())) => Ok(gone(cx, id, "is deleted")),
        Some(Err(error)) => Ok(failed(cx, error)),
    }
}

/// What was proven was proven before the claim, in this run. A run that lost its memory begins again.
fn act_if_proven(cx: &Context<'_>, action: TokenAction, id: &TokenId) -> Step {
    if cx.progress.proven.as_ref() == Some(id) {
        return Step::Do(Command::Change(action, id.clone()));
    }
    let mut record = cx.draft();
    record.claim = None;
    Step::write(record, vec![], AfterWrite::Reread)
}

fn failed(cx: &Context<'_>, error: &CallError) -> Step {
    if error.kind == ErrorKind::Gone {
        // It was read before the claim: whether it is gone now is for the next pass to prove.
        let mut record = cx.draft();
        record.claim = None;
        return Step::write(record, vec![], AfterWrite::Continue);
    }
    failure::give_up(cx, error)
}

fn gone(cx: &Context<'_>, id: &TokenId, how: &str) -> Step {
    let mut record = cx.draft();
    record.retiring.retain(|entry| entry.id != *id);
    record.claim = None;
    let report = Report::new(EventName::TokenDeleted, format!("{id} {how}")).token(id);
    Step::write(record, vec![report], AfterWrite::Gone(id.clone()))
}

/// A complete listing did not show it. A second one decides.
fn missed(cx: &Context<'_>, entry: &Retiring, at: Timestamp) -> Step {
    let mut record = cx.draft();
    if let Some(entry) = transition::entry_mut(&mut record, &entry.id) {
        entry.missed.get_or_insert(cx.now.wall);
        entry.due = at;
    }
    Step::write(record, vec![], AfterWrite::Continue)
}

/// It is there, so the listing that did not show it proves nothing.
fn seen_again(cx: &Context<'_>, id: &TokenId) -> Step {
    let mut record = cx.draft();
    if let Some(entry) = transition::entry_mut(&mut record, id) {
        entry.missed = None;
    }
    Step::write(record, vec![], AfterWrite::Continue)
}

fn unproven(cx: &Context<'_>, entry: &Retiring, why: &str) -> Step {
    let name = &cx.plan().name;
    let message = format!(
        "{} is not retired: {why}. It is left alone; end it by hand if it is yours, then run `dtrotate forget {name} --token {}`",
        entry.id, entry.id
    );
    let mut record = cx.draft();
    let due = cx.now.after(UNPROVEN);
    let known = transition::entry_mut(&mut record, &entry.id).is_some_and(|entry| {
        transition::fail_entry(entry, EntryReason::Unproven, &message, due, cx.now)
    });
    let report = Report::new(EventName::RetirementBlocked, message).token(&entry.id);
    let reports = vec![if known {
        report.at(Level::Debug)
    } else {
        report
    }];
    Step::write(record, reports, AfterWrite::Continue)
}

/// The entry is examined again after another grace.
fn postpone(cx: &Context<'_>, entry: &Retiring, reports: Vec<Report>) -> Step {
    let mut record = cx.draft();
    let due = later(cx);
    if let Some(entry) = transition::entry_mut(&mut record, &entry.id) {
        entry.due = due;
    }
    Step::write(record, reports, AfterWrite::Continue)
}

fn restart(cx: &Context<'_>, entry: &Retiring, base: u64, reports: Vec<Report>) -> Step {
    let mut record = cx.draft();
    if let Some(entry) = transition::entry_mut(&mut record, &entry.id) {
        transition::restart_grace(cx, entry, base);
    }
    Step::write(record, reports, AfterWrite::Continue)
}

fn later(cx: &Context<'_>) -> Timestamp {
    cx.now.after(cx.plan().grace.max(Duration::from_secs(1)))
}

fn disabled_report(id: &TokenId) -> Report {
    let message = format!(
        "disabled {id}; it will be deleted after the quarantine and can be enabled until then"
    );
    Report::new(EventName::TokenDisabled, message).token(id)
}
