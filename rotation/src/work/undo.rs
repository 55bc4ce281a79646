//! The beginning of an undo: may the previous token become the current value again? From then on its value is a candidate like any other.
//!
//! It begins only where no claim stands and from an entry in grace or quarantine. If it is given up half-way, the entry goes back into grace
//! with the undo's base, so that a store of it that still lands is fenced like any other.

use crate::candidate::Candidate;
use crate::command::{RunResult, Source, ValueRef};
use crate::context::{AfterWrite, Context, Step};
use crate::failure;
use crate::observe::is_workable;
use crate::ownership;
use crate::reading::read_token;
use crate::record::{Origin, Retiring, RetiringState, Work};
use crate::token::TokenId;
use crate::view::{Decision, Lookup};

/// Nobody has a claim, and a person wants the previous token back.
pub fn next(cx: &Context<'_>) -> Decision<Step> {
    if let Some(id) = &cx.progress.undo_begun {
        return Ok(taken_over(cx, id));
    }
    if !cx.request.env.enabled {
        let name = &cx.plan().name;
        return Ok(Step::refuse(format!(
            "{name} is switched off (`enabled = false`), so nothing is changed; switch it on first"
        )));
    }
    let entry = match previous(cx)? {
        Ok(entry) => entry,
        Err(why) => return Ok(Step::refuse(why)),
    };
    match read_token(cx, &entry.id)? {
        Ok(Lookup::Found(info)) => {
            if let Err(why) = ownership::prove(cx, &entry, &info)? {
                return Ok(Step::refuse(why));
            }
        }
        Err(error) => return Ok(failure::give_up(cx, &error)),
        Ok(Lookup::NotFound) => {
            cx.view.not_found_is_trusted()?;
            return Ok(Step::refuse(format!(
                "it is too late: {} is gone at Dynatrace",
                entry.id
            )));
        }
    }
    let Some((from, value)) = readable_version(cx, &entry)? else {
        return Ok(Step::refuse(format!(
            "the value of {} cannot be read any more: its version was deleted or pruned",
            entry.id
        )));
    };
    let base = cx.view.secret(cx.record)?.version();
    let mut record = cx.draft();
    record.claim = Some(cx.claim(Work::Undo {
        id: entry.id,
        base,
        from,
    }));
    let candidate = Candidate::new(
        Source::Version(from),
        value,
        None,
        cx.plan().verify_window(),
        cx.now,
    );
    Ok(Step::write(
        record,
        vec![],
        AfterWrite::Candidate(Box::new(candidate)),
    ))
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
        return Step::finish(RunResult::Done { wake: None });
    }
    Step::refuse(
        "another process took over this undo before it finished; run `dtrotate status` for the result",
    )
}

/// The entry of the token to go back to; the inner error says what speaks against it.
fn previous(cx: &Context<'_>) -> Decision<Result<Retiring, String>> {
    if !cx.request.env.history {
        let why = "KV version 1 keeps no older values, so there is nothing to go back to";
        return Ok(Err(why.into()));
    }
    if cx.is_relocated() {
        let why =
            "its place in the configuration changed; run `dtrotate rotate` to accept that first";
        return Ok(Err(why.into()));
    }
    let held = held(cx)?;
    let current = cx.record.current.as_ref();
    if held.is_none() || held.as_ref() != current.map(|current| &current.id) {
        let there = held.map_or("no value".into(), |id| id.to_string());
        return Ok(Err(format!(
            "Vault holds {there}, not the token in the journal: someone changed the secret. Let the daemon record that first, then run undo again"
        )));
    }
    let former = cx
        .record
        .retiring
        .iter()
        .filter(|entry| matches!(entry.origin, Origin::Version(_)) && is_workable(cx, entry))
        .max_by_key(|entry| (entry.base, entry.since));
    let Some(entry) = former.cloned() else {
        return Ok(Err("there is no previous token any more".into()));
    };
    if entry.state == RetiringState::Deleting {
        return Ok(Err(format!(
            "it is too late: {} is being deleted",
            entry.id
        )));
    }
    let settled = entry
        .disable_unconfirmed_since
        .and_then(|since| since.checked_add(cx.plan().settle).ok());
    if let Some(until) = settled.filter(|until| cx.now.wall < *until) {
        return Ok(Err(format!(
            "a call to disable {} may still take effect; try again after {until}",
            entry.id
        )));
    }
    Ok(Ok(entry))
}

/// The id of the value in Vault; none = there is no value. A legacy value must be looked up to tell.
fn held(cx: &Context<'_>) -> Decision<Option<TokenId>> {
    let Some(value) = cx.view.secret(cx.record)?.value() else {
        return Ok(None);
    };
    if let Some(id) = &value.id {
        return Ok(Some(id.clone()));
    }
    Ok(cx.view.value()?.found().map(|info| info.id.clone()))
}

/// A version from which the token's value can be read: the last one that it was in, or the one in which it was recorded.
fn readable_version(cx: &Context<'_>, entry: &Retiring) -> Decision<Option<(u64, ValueRef)>> {
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
