//! The backstop: where an expiry can be moved, a former token gets one that ends it even if dtrotate never runs again. It is later than any
//! regular end of the token, never later than the expiry that the token had, and it is moved back before the token becomes current again.

use std::time::Duration;

use jiff::Timestamp;

use crate::command::{Command, TokenAction};
use crate::context::{AfterWrite, Change, Context, Decision, Step};
use crate::error::ErrorKind;
use crate::event::{EventName, Report};
use crate::failure;
use crate::observe::{Position, position};
use crate::ownership;
use crate::plan::Lifetime;
use crate::reading::read_token;
use crate::record::{EntryReason, Retiring, RetiringState, Work};
use crate::request::after;
use crate::retiring::Backstop;
use crate::retry;
use crate::token::{TokenId, TokenInfo};
use crate::transition;
use crate::view::Lookup;

/// The clock of a service may be so much ahead of this one.
const SKEW: Duration = Duration::from_secs(60);

/// Sets or moves the backstop of a former token that needs it.
pub fn next(cx: &Context<'_>) -> Decision<()> {
    let held = cx.record.health.hold_until;
    let held = held.is_some_and(|until| cx.now.wall < until);
    if !may_act(cx) || held {
        return Ok(());
    }
    let retiring = cx.record.retiring.iter();
    for entry in retiring.filter(|entry| is_due(cx, entry)) {
        if position(cx, entry)? != Position::OutOfUse
            || ownership::other_holder(cx, &entry.id).is_some()
        {
            continue;
        }
        if let Ok(Lookup::Found(info)) = read_token(cx, &entry.id)? {
            return Err(decide(cx, entry, &info)?);
        }
    }
    Ok(())
}

/// When the backstop of this entry is to be set or moved next; none = it stays as set.
pub fn due(cx: &Context<'_>, entry: &Retiring) -> Option<Timestamp> {
    let backstop = entry.backstop.as_ref();
    let retry = backstop.and_then(|backstop| backstop.retry_at);
    wants(cx, entry).then(|| retry.unwrap_or(cx.now.wall))
}

fn is_due(cx: &Context<'_>, entry: &Retiring) -> bool {
    due(cx, entry).is_some_and(|at| at <= cx.now.wall)
}

fn may_act(cx: &Context<'_>) -> bool {
    let env = cx.env();
    env.capabilities.redate && env.may_retire && env.enabled && cx.clock_is_trusted()
}

/// A token that only its value proves is proven and re-dated with its disable: trying the value looks like a use of it.
fn wants(cx: &Context<'_>, entry: &Retiring) -> bool {
    let state = matches!(
        entry.state,
        RetiringState::Grace | RetiringState::Quarantine
    );
    let proven = entry.digest.is_some() || entry.named || entry.backstop.is_some();
    // One that cannot be later is as good as it can be, and one that was reached is moved no more.
    let lasts = |backstop: &Backstop| {
        let is_over = backstop.at <= cx.now.wall || !backstop.is_moved();
        let is_end = entry.named || is_over;
        backstop.confirmed && (is_end || backstop.at >= needed(cx, entry.due, entry))
    };
    cx.env().capabilities.redate
        && cx.belongs_here(entry)
        && state
        && proven
        && !entry.backstop.as_ref().is_some_and(lasts)
}

/// A token whose next step is at `due` has its regular end before this, and what may still happen to it then takes effect.
fn needed(cx: &Context<'_>, due: Timestamp, entry: &Retiring) -> Timestamp {
    let rest = match entry.state {
        RetiringState::Grace => cx.plan().quarantine,
        _ => Duration::ZERO,
    };
    after(after(due, rest), cx.plan().settle)
}

/// The backstop for a token whose grace may be extended to `max_grace`, to the millisecond, as services keep it.
fn wanted(cx: &Context<'_>, entry: &Retiring) -> Timestamp {
    let plan = cx.plan();
    let regular = after(entry.since, plan.max_grace.max(plan.grace));
    let regular = after(after(regular, plan.quarantine), plan.settle);
    // What is late already gets its time from now.
    let due = entry.due.max(cx.now.wall);
    let at = regular.max(after(needed(cx, due, entry), plan.settle));
    Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at)
}

fn decide(cx: &Context<'_>, entry: &Retiring, info: &TokenInfo) -> Decision<Step> {
    let id = &entry.id;
    let former = entry.backstop.as_ref();
    if is_expired(info, cx.now.wall) {
        let last = former.cloned().unwrap_or_else(|| Backstop::none(info));
        return Ok(confirm(cx, id, last).into());
    }
    let proven = match entry.named {
        true => ownership::prove_named(cx, entry, info)?,
        false => ownership::prove(cx, entry, info)?,
    };
    if proven.is_err() {
        // Its retirement reports that.
        let change = cx.write_entry(id, |entry| {
            let backstop = entry.backstop.get_or_insert_with(|| Backstop::none(info));
            retry_later(cx, backstop, None);
        });
        return Ok(change.into());
    }
    let original = former.map_or(info.expires, |backstop| backstop.original);
    let ours = former.is_none_or(|it| it.has_set(info.expires) || info.expires == it.original);
    let at = original.map_or(wanted(cx, entry), |original| {
        original.min(wanted(cx, entry))
    });
    if !ours {
        // What a person changed stays as it is.
        return Ok(confirm(cx, id, Backstop::none(info)).into());
    }
    if info.expires == Some(at) {
        return Ok(confirm(cx, id, Backstop::new(at, original)).into());
    }
    Ok(claim(cx, id, Backstop::new(at, original).replacing(former)).into())
}

/// It is tried again, later after each failure in a row.
fn retry_later(cx: &Context<'_>, backstop: &mut Backstop, wish: Option<Duration>) {
    let wait = retry::wait(backstop.tries, wish, cx.now.dice);
    backstop.retry_at = Some(cx.now.after(wait));
    backstop.tries = backstop.tries.saturating_add(1);
}

/// The expiry is as it is to be.
fn confirm(cx: &Context<'_>, id: &TokenId, backstop: Backstop) -> Change {
    cx.write_entry(id, |entry| {
        entry.backstop = Some(Backstop {
            confirmed: true,
            retry_at: None,
            ..backstop
        });
    })
}

fn claim(cx: &Context<'_>, id: &TokenId, backstop: Backstop) -> Change {
    let mut write = cx.write_entry(id, |entry| entry.backstop = Some(backstop));
    write.record.claim = Some(cx.claim(Work::Redate { id: id.clone() }));
    write.then(AfterWrite::Proven(id.clone()))
}

/// The backstop that is set together with a disable, where the token has none yet.
pub fn with_disable(cx: &Context<'_>, entry: &Retiring, info: &TokenInfo) -> Option<Backstop> {
    // One that was claimed and never set may be too early by now.
    let former = entry.backstop.as_ref();
    let is_set = former.is_some_and(|it| it.confirmed || it.has_set(info.expires));
    let is_needed = cx.env().capabilities.redate && !is_set;
    is_needed.then(|| {
        let at = wanted(cx, entry);
        let at = info.expires.map_or(at, |original| original.min(at));
        Backstop::new(at, info.expires).replacing(former)
    })
}

/// Under the claim to re-date.
pub fn redate(cx: &Context<'_>, id: &TokenId) -> Decision<Step> {
    let entry = cx.record.retiring(id);
    let Some(backstop) = entry.and_then(|entry| entry.backstop.as_ref()) else {
        return Ok(cx.release().into());
    };
    let action = TokenAction::Redate(backstop.at);
    let mut write = match cx.view.outcome_of(&action, id) {
        None if cx.progress.proven.as_ref() == Some(id) => {
            return Err(Command::Change(action, id.clone()).into());
        }
        // What was proven was proven before the claim, in this run. A run that lost its memory begins again.
        None => return Ok(cx.release().then(AfterWrite::Reread).into()),
        Some(Ok(())) => cx.write_entry(id, |entry| {
            if let Some(backstop) = &mut entry.backstop {
                backstop.confirmed = true;
                backstop.retry_at = None;
            }
            entry.failure = None;
        }),
        Some(Err(error)) => {
            // A token that has expired cannot be moved and need not be: the next look confirms that.
            let expires = backstop.former.or(backstop.original);
            let ended = expires.is_some_and(|end| end <= after(cx.now.wall, SKEW));
            let refused = error.kind == ErrorKind::Refused && !ended;
            let due = entry.map_or(cx.now.wall, |entry| entry.due);
            let mut known = true;
            let write = cx.write_entry(id, |entry| {
                entry.disable_unconfirmed_since = Some(cx.now.wall);
                if let Some(backstop) = &mut entry.backstop {
                    retry_later(cx, backstop, error.retry_after);
                }
                let reason = match refused {
                    true => EntryReason::Refused,
                    false => EntryReason::Unavailable,
                };
                known = transition::fail_entry(entry, reason, &error.what, due, cx.now);
            });
            let report = (refused && !known).then(|| {
                let message = format!("the expiry of {id} cannot be moved: {}", error.what);
                Report::new(EventName::RetirementBlocked, message).token(id)
            });
            write.reports(report)
        }
    };
    write.record.claim = None;
    Ok(write.then(AfterWrite::Reread).into())
}

/// Before a token becomes current again its own expiry is restored, if it still expires at our backstop; `Ok` = it is, or there is nothing to
/// restore. Under a claim.
pub fn restore(cx: &Context<'_>, id: &TokenId) -> Decision<()> {
    let entry = cx.record.retiring(id);
    let Some(backstop) = entry.and_then(|entry| entry.backstop.as_ref()) else {
        return Ok(());
    };
    let Some(original) = restored(cx, backstop).filter(|_| !cx.view.was_redated(id)) else {
        return Ok(());
    };
    match read_token(cx, id)? {
        Ok(Lookup::Found(info)) if backstop.has_set(info.expires) => {
            let action = TokenAction::Redate(original);
            match cx.view.outcome_of(&action, id) {
                Some(Err(error)) => Err(match cx.work() {
                    Some(Work::Undo { .. }) => failure::abort_undo(cx, &error.what),
                    _ => failure::give_up(cx, error),
                }),
                _ => Err(Command::Change(action, id.clone()).into()),
            }
        }
        _ => Ok(()),
    }
}

/// Its own expiry is to be restored before it becomes current again.
pub fn is_set(cx: &Context<'_>, id: &TokenId, info: &TokenInfo) -> bool {
    let entry = cx.record.retiring(id);
    let backstop = entry.and_then(|entry| entry.backstop.as_ref());
    backstop.is_some_and(|backstop| {
        restored(cx, backstop).is_some()
            && backstop.has_set(info.expires)
            && !cx.view.was_redated(id)
    })
}

/// The expiry to restore; a token that never expired gets the lifetime of a new one. None = its expiry was not moved.
fn restored(cx: &Context<'_>, backstop: &Backstop) -> Option<Timestamp> {
    let original = backstop.original.or(match cx.plan().lifetime {
        Lifetime::For(length) => Some(cx.now.after(length)),
        _ => None,
    });
    original.filter(|original| *original > backstop.at)
}

pub fn is_expired(info: &TokenInfo, now: Timestamp) -> bool {
    info.expires.is_some_and(|end| end <= now)
}
