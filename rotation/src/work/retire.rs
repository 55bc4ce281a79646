//! Retirement: disable at the end of the grace, delete at the end of the quarantine. Each under its own claim, each with a fresh read of
//! the secret and of the token before, and of the secret again after a disable. A token that cannot be proven to be ours is left alone.

use crate::backstop;
use crate::command::{Command, TokenAction};
use crate::context::{AfterWrite, Change, Context, Decision, Step};
use crate::error::ErrorKind;
use crate::event::{EventName, Level, Report};
use crate::failure;
use crate::observe::{Position, fence_base, position};
use crate::ownership;
use crate::reading::{Absent, absence, read_token};
use crate::record::{EntryReason, Retiring, RetiringState, Work};
use crate::revoked;
use crate::token::{TokenId, TokenInfo};
use crate::transition;
use crate::view::Lookup;

use super::usage::{hold, is_trial, used_from, used_until};

/// The next step of a retirement that is due. Where the time is not to be trusted or the secret rests, only a revoked token is ended.
pub fn next(cx: &Context<'_>) -> Decision<()> {
    let env = cx.env();
    let hold = cx.record.health.hold_until;
    let held = hold.is_some_and(|until| cx.now.wall < until);
    if !env.may_retire {
        return Ok(());
    }
    let rests = !cx.clock_is_trusted() || !cx.may_begin() || held;
    let due = |entry: &&Retiring| {
        entry.due <= cx.now.wall
            && cx.belongs_here(entry)
            && !is_revoked_elsewhere(cx, entry)
            && (!rests || entry.is_revoked_alive())
    };
    let due = cx.record.retiring.iter().filter(due);
    let Some(entry) = due.min_by_key(|entry| entry.due) else {
        return Ok(());
    };
    let change = match position(cx, entry)? {
        // It is in Vault and in no state to be accepted: leave it for a grace.
        Position::InVault => postpone(cx, entry),
        Position::WasCurrent(version) if entry.revoked.is_none() => restart(cx, entry, version),
        Position::Unfenced(_) if fence_base(cx).is_some() => cx.take_claim(Work::Cleanup),
        // A deleted secret cannot be written unchanged, and a counter that went back proves nothing.
        Position::Unfenced(version) => cx.write_entry(&entry.id, |entry| {
            entry.base = entry.base.min(version);
            entry.due = transition::another_grace(cx);
        }),
        Position::OutOfUse | Position::WasCurrent(_) => return Err(advance(cx, entry)?),
    };
    Err(change.into())
}

/// Its end is ordered, or waits until another secret holds it no longer.
fn is_revoked_elsewhere(cx: &Context<'_>, entry: &Retiring) -> bool {
    let order = cx.record.revoking.as_ref();
    order.is_some_and(|order| order.token == entry.id)
        || entry.revoked.is_some() && ownership::other_holder(cx, &entry.id).is_some()
}

/// The token is out of use: what is the next step?
fn advance(cx: &Context<'_>, entry: &Retiring) -> Decision<Step> {
    let id = &entry.id;
    if let Some(other) = ownership::other_holder(cx, id) {
        let message = format!(
            "{id} is due for retirement but is also the current token of {other}; it was not disabled. Give each secret a separate token"
        );
        return Ok(shared(cx, id, &message).into());
    }
    if entry.shared().is_some() {
        let message = format!("resolved: {id} is no longer the current token of another secret");
        let report = Report::new(EventName::TokenShared, message).token(id);
        let write = cx.write_entry(id, |entry| entry.failure = None);
        return Ok(write.report(report.at(Level::Info)).into());
    }
    let info = match read_token(cx, id)? {
        Ok(Lookup::Found(info)) => info,
        Ok(Lookup::NotFound) => {
            return Ok(match absence(cx, entry)? {
                Absent::Proven => gone(cx, id, "was deleted elsewhere or expired"),
                // A complete listing did not show it. A second one decides.
                Absent::Until(at) => cx.write_entry(id, |entry| {
                    entry.missed.get_or_insert(cx.now.wall);
                    entry.due = at;
                }),
            }
            .into());
        }
        Err(error) => return Ok(failure::fail_retirement(cx, id, &error)),
    };
    if entry.missed.is_some() {
        // It is there, so the listing that did not show it proves nothing.
        return Ok(cx.write_entry(id, |entry| entry.missed = None).into());
    }
    let can_disable = cx.env().capabilities.disable;
    let is_live = info.enabled && !backstop::is_expired(&info, cx.now.wall);
    // Trying its value would look like a use of it: whether it is still used is decided first.
    let ends_use = match entry.state {
        RetiringState::Grace | RetiringState::Disabling => is_live,
        RetiringState::Deleting => is_live && !can_disable,
        _ => false,
    };
    let is_revoked = entry.revoked.is_some();
    if ends_use
        && !is_revoked
        && let Some(held) = hold(cx, entry, &info)
    {
        return Ok(held.into());
    }
    if ends_use && ownership::takes_a_trial(cx, entry, &info) && !is_trial(entry, cx.now.wall) {
        // A run after this one must not take the trial for a consumer.
        let write = cx.write_entry(id, |entry| entry.usage.tried_at = Some(cx.now.wall));
        return Ok(write.into());
    }
    if let Err(why) = ownership::prove(cx, entry, &info)? {
        return Ok(match entry.backstop.as_ref().filter(|_| entry.named) {
            // It ends by its backstop, which is proof enough to delete it then.
            Some(backstop) if is_live => {
                let end = backstop.at.max(transition::another_grace(cx));
                cx.write_entry(id, |entry| entry.due = end)
            }
            _ if backstop::is_expired(&info, cx.now.wall) => ended_unproven(cx, id),
            _ => unproven(cx, id, &why),
        }
        .into());
    }
    let change = match entry.state {
        RetiringState::Grace | RetiringState::Disabling | RetiringState::Quarantine
            if is_live && can_disable && is_revoked =>
        {
            let backstop = backstop::with_disable(cx, entry, &info);
            claim_end(cx, id, RetiringState::Disabling, |entry| {
                if backstop.is_some() {
                    entry.backstop = backstop;
                }
            })
        }
        RetiringState::Grace | RetiringState::Disabling if is_live => end_grace(cx, entry, &info),
        // Whoever disabled it: it stays so for the quarantine.
        RetiringState::Grace if can_disable => {
            cx.write(|record| transition::quarantine(cx, record, id))
        }
        RetiringState::Disabling if can_disable => disabled(cx, id),
        RetiringState::Quarantine if is_live && can_disable => {
            let message = format!("{id} was enabled again by someone; its grace begins again");
            let report = Report::new(EventName::RetirementRestarted, message).token(id);
            restart(cx, entry, entry.base).report(report)
        }
        // Its deletion failed before: without a quarantine its use is asked again.
        RetiringState::Deleting if is_live && !can_disable => end_grace(cx, entry, &info),
        RetiringState::Grace
        | RetiringState::Disabling
        | RetiringState::Quarantine
        | RetiringState::Deleting => claim_end(cx, id, RetiringState::Deleting, |_| {}),
        // Not workable, so never chosen.
        RetiringState::Newer(_) => return Ok(Step::done()),
    };
    Ok(change.into())
}

fn end_grace(cx: &Context<'_>, entry: &Retiring, info: &TokenInfo) -> Change {
    let id = &entry.id;
    let from = used_from(info);
    let quiet = used_until(cx, entry, info);
    // A consumer will notice. Reported once, however often the call is tried; the entry shows it.
    let is_cut_off = quiet.is_some() && entry.revoked.is_none();
    let (next, how, cure) = match cx.env().capabilities.disable {
        true => {
            let undo = format!(", or run `dtrotate undo {}`", cx.plan().name);
            (RetiringState::Disabling, "disabled", undo)
        }
        false => (RetiringState::Deleting, "deleted", String::new()),
    };
    let report = (is_cut_off && entry.usage.cut_off_at.is_none()).then(|| {
        let message = format!(
            "{id} is being {how} although it is still in use (last from {from}): that consumer has not picked up the new value. Restart it{cure}"
        );
        Report::new(EventName::ConsumerCutOff, message).token(id)
    });
    let backstop = backstop::with_disable(cx, entry, info);
    let claim = claim_end(cx, id, next, |entry| {
        if backstop.is_some() {
            entry.backstop = backstop;
        }
        if is_cut_off {
            entry.usage.cut_off_at = Some(cx.now.wall);
            entry.usage.used_from.clone_from(&info.last_used_ip);
        }
    });
    claim.reports(report)
}

/// The claim to disable or to delete a token that was just proven.
pub fn claim_end(
    cx: &Context<'_>,
    id: &TokenId,
    state: RetiringState,
    change: impl FnOnce(&mut Retiring),
) -> Change {
    let id = id.clone();
    let work = match state {
        RetiringState::Disabling => Work::Disable { id: id.clone() },
        _ => Work::Delete { id: id.clone() },
    };
    let mut write = cx.write_entry(&id, |entry| {
        entry.state = state;
        change(entry);
    });
    write.record.claim = Some(cx.claim(work));
    write.then(AfterWrite::Proven(id))
}

/// Under the claim to disable.
pub fn disable(cx: &Context<'_>, id: &TokenId) -> Decision<Step> {
    match cx.view.outcome_of(&TokenAction::Enable, id) {
        Some(Ok(())) => {
            // The token is enabled again; the next pass decides what to do with it.
            let mut write = cx.write_entry(id, |entry| {
                entry.state = RetiringState::Grace;
                entry.due = cx.now.wall;
            });
            write.record.claim = None;
            return Ok(write.into());
        }
        Some(Err(error)) => return Ok(failure::give_up(cx, error)),
        None => {}
    }
    redate_first(cx, id)?;
    carry_out(cx, TokenAction::Disable, id)?;
    if !cx.record.is_revoked(id) && cx.view.held(cx.record)? == Some(id) {
        // A person put it back between our look and our disable.
        return Ok(Command::Change(TokenAction::Enable, id.clone()).into());
    }
    Ok(disabled(cx, id).into())
}

/// The backstop that a token gets with its disable is set first: it is what proves the token later.
fn redate_first(cx: &Context<'_>, id: &TokenId) -> Decision<()> {
    let entry = cx.record.retiring(id);
    let backstop = entry.and_then(|entry| entry.backstop.as_ref());
    let Some(backstop) = backstop.filter(|it| !it.confirmed && it.retry_at.is_none()) else {
        return Ok(());
    };
    if cx.view.was_redated(id) || backstop.original == Some(backstop.at) {
        return Ok(());
    }
    carry_out(cx, TokenAction::Redate(backstop.at), id)
}

/// Under the claim to delete.
pub fn delete(cx: &Context<'_>, id: &TokenId) -> Decision<Step> {
    carry_out(cx, TokenAction::Delete, id)?;
    Ok(gone(cx, id, "is deleted").into())
}

/// Carries out what the claim is on; `Ok` = it was done.
fn carry_out(cx: &Context<'_>, action: TokenAction, id: &TokenId) -> Decision<()> {
    Err(match cx.view.outcome_of(&action, id) {
        Some(Ok(())) => return Ok(()),
        // It was read before the claim: whether it is gone now is for the next pass to prove.
        Some(Err(error)) if error.kind == ErrorKind::Gone => cx.release().into(),
        Some(Err(error)) => failure::give_up(cx, error),
        None if cx.progress.proven.as_ref() == Some(id) => {
            Command::Change(action, id.clone()).into()
        }
        // What was proven was proven before the claim, in this run. A run that lost its memory begins again.
        None => cx.release().then(AfterWrite::Reread).into(),
    })
}

pub fn disabled(cx: &Context<'_>, id: &TokenId) -> Change {
    let revoking = cx.record.revoking.as_ref().filter(|it| it.token == *id);
    let report = match (revoking, revoked::report(cx, id, "is disabled")) {
        (Some(_), report) => report,
        (None, _) => {
            let message = format!(
                "disabled {id}; it will be deleted after the quarantine and can be enabled until then"
            );
            Some(Report::new(EventName::TokenDisabled, message).token(id))
        }
    };
    let done = report.is_some();
    let redated = cx.view.was_redated(id);
    let write = cx.write(|record| {
        transition::quarantine(cx, record, id);
        let entry = record.retiring_mut(id);
        if let Some(backstop) = entry.and_then(|entry| entry.backstop.as_mut()) {
            backstop.confirmed |= redated || backstop.original == Some(backstop.at);
        }
        if !done && let Some(entry) = record.retiring_mut(id) {
            // It is deleted next.
            entry.due = cx.now.wall;
        }
        if done && revoking.is_some() {
            record.revoking = None;
        }
    });
    let write = write.reports(report);
    match done && revoking.is_some() {
        true => write.then(revoked::finished(cx, AfterWrite::Continue)),
        false => write,
    }
}

pub fn gone(cx: &Context<'_>, id: &TokenId, how: &str) -> Change {
    let revoking = cx
        .record
        .revoking
        .as_ref()
        .is_some_and(|it| it.token == *id);
    let deleted = || Report::new(EventName::TokenDeleted, format!("{id} {how}")).token(id);
    let report = match revoking {
        true => revoked::report_gone(cx, id, how),
        false => deleted(),
    };
    let write = cx.write(|record| {
        record.retiring.retain(|entry| entry.id != *id);
        record.claim = None;
        if revoking {
            record.revoking = None;
        }
    });
    let then = AfterWrite::Gone(id.clone());
    let then = if revoking {
        revoked::finished(cx, then)
    } else {
        then
    };
    write.report(report).then(then)
}

/// It cannot be proven to be ours, and is dead in any case.
fn ended_unproven(cx: &Context<'_>, id: &TokenId) -> Change {
    let message = format!("resolved: {id} has expired, so there is nothing left to end");
    let report = Report::new(EventName::RetirementBlocked, message).token(id);
    let write = cx.write(|record| record.retiring.retain(|entry| entry.id != *id));
    write.report(report.at(Level::Info))
}

/// It is examined again: an answer may have been wrong, or a person gives the token its name back.
pub fn unproven(cx: &Context<'_>, id: &TokenId, why: &str) -> Change {
    let message = format!(
        "{id} is not retired: {why}. It is left alone; end it by hand if it is yours, then run `dtrotate forget {} --token {id}`",
        cx.plan().name
    );
    let mut report = Report::new(EventName::RetirementBlocked, message.clone()).token(id);
    let write = cx.write_entry(id, |entry| {
        let due = failure::retry_entry_at(cx, entry, None);
        if transition::fail_entry(entry, EntryReason::Unproven, &message, due, cx.now) {
            report.level = Level::Debug;
        }
    });
    write.report(report)
}

/// Another secret holds it: said once, and examined again after another grace.
fn shared(cx: &Context<'_>, id: &TokenId, message: &str) -> Change {
    let mut report = Report::new(EventName::TokenShared, message).token(id);
    let write = cx.write_entry(id, |entry| {
        let due = transition::another_grace(cx);
        if transition::fail_entry(entry, EntryReason::Shared, message, due, cx.now) {
            report.level = Level::Debug;
        }
    });
    write.report(report)
}

/// The entry is examined again after another grace.
fn postpone(cx: &Context<'_>, entry: &Retiring) -> Change {
    cx.write_entry(&entry.id, |entry| entry.due = transition::another_grace(cx))
}

fn restart(cx: &Context<'_>, entry: &Retiring, base: u64) -> Change {
    cx.write_entry(&entry.id, |entry| {
        transition::restart_grace(cx, entry, base);
    })
}
