//! The beginning of an undo: may the previous token become the current value again? From then on its value is a candidate like any other.
//!
//! It begins only without a claim and from an entry in grace or quarantine. If it is given up half-way, the entry goes back into grace
//! with the undo's base, so that a store of it that still lands is fenced like any other.

use crate::candidate::Candidate;
use crate::command::{RunResult, Source, ValueRef};
use crate::context::{AfterWrite, Context, Decision, Step};
use crate::failure;
use crate::ownership;
use crate::reading::read_token;
use crate::record::{Origin, Retiring, RetiringState, Work};
use crate::request::{Goal, after};
use crate::token::TokenId;
use crate::view::{Fact, Lookup};

/// Nobody has a claim, and a person wants this token back, or the previous one if they named none.
pub fn next(cx: &Context<'_>, named: Option<&TokenId>) -> Decision<Step> {
    if let Some(id) = &cx.progress.undo_begun {
        return Ok(taken_over(cx, id));
    }
    if let Some(why) = cx.held_back() {
        return Ok(Step::refuse(why));
    }
    let entry = wanted(cx, named)?;
    let id = &entry.id;
    match read_token(cx, id)? {
        Ok(Lookup::Found(info)) => {
            ownership::prove(cx, entry, &info)?.map_err(Step::refuse)?;
        }
        Err(error) => return Ok(failure::give_up(cx, &error)),
        Ok(Lookup::NotFound) => {
            cx.view.not_found_is_trusted()?;
            return Ok(Step::refuse(format!(
                "too late to undo: {id} is gone at Dynatrace"
            )));
        }
    }
    let Some((from, value)) = readable_version(cx, entry)? else {
        return Ok(Step::refuse(format!(
            "the value of {id} can no longer be read: its version was deleted or pruned"
        )));
    };
    if cx.request.dry_run {
        return Ok(describe(cx, entry, from));
    }
    let base = cx.view.secret(cx.record)?.version();
    let work = Work::Undo {
        id: id.clone(),
        base,
        from,
    };
    let window = cx.plan().verify_window(&cx.env().capabilities);
    let candidate = Candidate::new(Source::Version(from), value, None, window, cx.now);
    let claim = cx.take_claim(work);
    Ok(claim
        .then(AfterWrite::Candidate(Box::new(candidate)))
        .into())
}

/// Under the claim, but the candidate is gone: a journal write landed although its answer said otherwise (rule A5).
pub fn without_candidate(cx: &Context<'_>) -> Step {
    failure::abort_undo(
        cx,
        "its claim was taken by a write whose answer was lost; run it again",
    )
}

/// The claim of this undo is gone: another holder settled what it had begun. It does not begin again, because the previous token may be the
/// newer one by now.
fn taken_over(cx: &Context<'_>, id: &TokenId) -> Step {
    if cx.record.is_current(id) {
        return Step::done();
    }
    Step::refuse(
        "another process took over this undo before it finished; run `dtrotate status` for the result",
    )
}

/// What a dry run prints.
fn describe(cx: &Context<'_>, entry: &Retiring, from: u64) -> Step {
    let current = cx.record.current_id();
    let newer = current.map_or(String::new(), |id| format!(", and {id} would retire"));
    Step::finish(RunResult::DryRun(format!(
        "{}: would make {} the current value again, from version {from} of {}{newer}",
        cx.plan().name,
        entry.id,
        cx.place()
    )))
}

/// The entry of the token to go back to; without one the undo is refused.
fn wanted<'a>(cx: &Context<'a>, named: Option<&TokenId>) -> Decision<&'a Retiring> {
    if cx.record.current.is_none() {
        return Err(Step::refuse(
            "there is no previous token: it was never rotated",
        ));
    }
    if !cx.env().history {
        return Err(Step::refuse(
            "KV version 1 keeps no older values, so there is nothing to go back to",
        ));
    }
    if cx.is_relocated() {
        return Err(Step::refuse(
            "its place in the configuration changed; run `dtrotate rotate` to accept that first",
        ));
    }
    let held = cx.view.held(cx.record)?;
    if held.is_none() || held != cx.record.current_id() {
        let there = held.map_or("no value", TokenId::as_str);
        return Err(Step::refuse(format!(
            "Vault holds {there}, not the token in the journal: someone changed the secret. Let the daemon record that first, then run undo again"
        )));
    }
    let mut former = cx
        .record
        .retiring
        .iter()
        .filter(|entry| matches!(entry.origin, Origin::Version(_)) && cx.belongs_here(entry))
        .filter(|entry| named.is_some() || entry.revoked.is_none());
    let entry = match named {
        Some(id) => former.find(|entry| entry.id == *id),
        None => former.max_by_key(|entry| (entry.base, entry.since)),
    };
    let Some(entry) = entry else {
        return Err(Step::refuse(match named {
            Some(id) => format!(
                "{id} is not a retiring token of {name} whose value is in Vault; `dtrotate status {name}` lists them",
                name = cx.plan().name
            ),
            None => nothing_left(cx),
        }));
    };
    if let Some(revoked) = &entry.revoked
        && !matches!(cx.request.goal, Goal::Unrevoke(_))
    {
        return Err(Step::refuse(format!(
            "{} was revoked by {} at {:.0} and is not brought back; if it is safe, run `dtrotate undo {} --token {} --yes`",
            entry.id,
            revoked.by,
            revoked.at,
            cx.plan().name,
            entry.id
        )));
    }
    if entry.undone && named.is_none() {
        return Err(Step::refuse(format!(
            "the last change was an undo already; to bring the newer token back, name it: `dtrotate undo {} --token {}`",
            cx.plan().name,
            entry.id
        )));
    }
    if entry.state == RetiringState::Deleting {
        return Err(Step::refuse(format!(
            "too late to undo: {} is being deleted",
            entry.id
        )));
    }
    let unconfirmed = entry.disable_unconfirmed_since;
    let settled = unconfirmed.map(|since| after(since, cx.plan().settle));
    if let Some(until) = settled.filter(|until| cx.now.wall < *until) {
        return Err(Step::refuse(format!(
            "a call to disable {} may still take effect; try again after {until:.0}",
            entry.id
        )));
    }
    Ok(entry)
}

/// A version from which the token's value can be read: the last one that it was in, or the one in which it was recorded.
fn readable_version(cx: &Context<'_>, entry: &Retiring) -> Fact<Option<(u64, ValueRef)>> {
    let Origin::Version(recorded) = entry.origin else {
        return Ok(None);
    };
    for version in [entry.base, recorded] {
        let Some(value) = cx.view.version(version)?.value() else {
            continue;
        };
        // A legacy value does not show whose it is: it is tried before it is stored, and must be this token.
        let same = value
            .id
            .as_ref()
            .map_or(version == recorded, |id| *id == entry.id);
        if same {
            let value = ValueRef {
                id: Some(entry.id.clone()),
                ..value.clone()
            };
            return Ok(Some((version, value)));
        }
    }
    Ok(None)
}

/// There is no previous token that may come back without a second word.
fn nothing_left(cx: &Context<'_>) -> String {
    let name = &cx.plan().name;
    let mut former = cx.record.retiring.iter();
    match former.find(|it| {
        it.revoked.is_some() && matches!(it.origin, Origin::Version(_)) && cx.belongs_here(it)
    }) {
        Some(entry) => format!(
            "there is no previous token to bring back but {}, which was revoked; if it is safe, run `dtrotate undo {name} --token {} --yes`",
            entry.id, entry.id
        ),
        None if cx.record.health.last_success.is_none() => {
            format!("there is no previous token to bring back: {name} was never rotated")
        }
        None => format!(
            "there is no previous token left to bring back; `dtrotate history {name}` shows when the last one was deleted"
        ),
    }
}
