//! A token that a person revoked, most likely because it leaked: the secret gets another one, and as soon as that is stored the revoked one is
//! ended, without a grace and whoever still uses it. The order is in the document from the first write on, so whoever comes after a crash
//! finishes it; a pause and a switch do not keep it.
//!
//! The person named this id in a command, which is proof enough to end it (P9); whoever finishes it for them proves it as usual.

use crate::command::{Command, RunResult};
use crate::context::{Change, Context, Decision, Step};
use crate::failure;
use crate::observe::{Position, SecretState, fence_base, position, secret_state};
use crate::ownership;
use crate::reading::{Absent, absence, read_token};
use crate::record::{Invalid, Retiring, RetiringState, Revocation, Work};
use crate::request::{Goal, RevokeRequest};
use crate::token::TokenId;
use crate::transition;
use crate::view::Lookup;
use crate::work::{adopt, retire, rotate};

/// Writes the order into the document, whoever has the claim: it is taken over next.
pub fn order(cx: &Context<'_>, request: &RevokeRequest) -> Decision<()> {
    if !cx.journal_is_fresh {
        return Err(Command::ReadJournal.into());
    }
    let wanted = &request.revocation;
    if cx.is_new {
        // What it holds is recorded first.
        return may_begin(cx, request);
    }
    if cx.is_relocated() {
        return Err(Step::refuse(
            "its place in the configuration changed; run `dtrotate rotate` to accept that first",
        ));
    }
    if let Some(known) = &cx.record.revoking {
        if known.token == wanted.token && orders_the_same(known, wanted) {
            return Ok(());
        }
        let retires = cx.record.retiring(&known.token);
        if known.token != wanted.token && retires.is_none_or(|entry| entry.revoked.is_none()) {
            return Err(Step::refuse(format!(
                "the revocation of {} (ordered by {} at {:.0}) is not finished yet; `dtrotate status {}` says why",
                known.token,
                known.by,
                known.at,
                cx.plan().name
            )));
        }
    }
    may_begin(cx, request)?;
    // An earlier order is replaced: its token is already retiring, marked as revoked.
    let write = cx.write(|record| record.revoking = Some(wanted.clone()));
    Err(write.into())
}

fn may_begin(cx: &Context<'_>, request: &RevokeRequest) -> Decision<()> {
    match cx.held_back().filter(|_| !request.overrides) {
        Some(why) => Err(Step::refuse(format!(
            "{why}, or revoke it nevertheless with --yes"
        ))),
        None => Ok(()),
    }
}

/// No process has seen the secret yet: its value is recorded, so that it can be replaced.
pub fn record_first(cx: &Context<'_>) -> Decision<Step> {
    adopt::record_secret(cx)?;
    Ok(Step::refuse(format!(
        "{} holds no token that could be revoked",
        cx.place()
    )))
}

fn orders_the_same(known: &Revocation, wanted: &Revocation) -> bool {
    (known.delete, known.without_replacement) == (wanted.delete, wanted.without_replacement)
}

/// The next step of a revocation, with nobody's claim in the way; `Ok` = its token is no longer the value, and its end waits for something.
pub fn next(cx: &Context<'_>, revocation: &Revocation) -> Decision<()> {
    let id = &revocation.token;
    cx.view.secret(cx.record)?;
    adopt::reconcile(cx, false)?;
    if !revocation.without_replacement && is_value(cx, id)? {
        return Err(rotate::next(cx)?);
    }
    let Some(entry) = cx.record.retiring(id) else {
        return Err(match cx.record.is_current(id) {
            true => retire_current(cx, revocation).into(),
            false => unknown(cx, id),
        });
    };
    if entry.revoked.is_none() && !entry.is_newer() {
        return Err(cx
            .write(|record| transition::mark_revoked(record, cx.now))
            .into());
    }
    end(cx, entry, revocation)
}

/// The secret holds the revoked token.
fn is_value(cx: &Context<'_>, id: &TokenId) -> Decision<bool> {
    Ok(match secret_state(cx)? {
        SecretState::Current(info) | SecretState::Revoked(info) => info.id == *id,
        SecretState::Missing(recorded) => recorded.id == *id,
        SecretState::Blocked(..) => cx.view.held(cx.record)? == Some(id),
        SecretState::UncommittedStore(_)
        | SecretState::RolledBack(_)
        | SecretState::Foreign(_)
        | SecretState::Vacant => false,
    })
}

/// The recorded token is not the value, or is ended without a replacement: it retires first.
fn retire_current(cx: &Context<'_>, revocation: &Revocation) -> Change {
    let version = cx.view.known_secret().map_or(0, |secret| secret.version());
    let since = cx.now.wall;
    let message = format!(
        "{} in {} was revoked by {} without a replacement; consumers are locked out until another token can be created",
        revocation.token,
        cx.place(),
        revocation.by
    );
    cx.write(|record| {
        if revocation.without_replacement {
            record.unreplaced = record.current.clone().map(Box::new);
        }
        transition::retire_current(cx, record, version.saturating_sub(1));
        transition::mark_revoked(record, cx.now);
        if revocation.without_replacement {
            record.health.invalid = Some(Invalid {
                since,
                message,
                by_hand: false,
            });
        }
    })
}

fn unknown(cx: &Context<'_>, id: &TokenId) -> Step {
    let name = &cx.plan().name;
    let write = cx.write(|record| record.revoking = None);
    let why = format!("{id} is neither the current token of {name} nor one that retires");
    write.finish(RunResult::Refused(why)).into()
}

/// The secret holds another value: the token is ended now.
fn end(cx: &Context<'_>, entry: &Retiring, revocation: &Revocation) -> Decision<()> {
    let id = &entry.id;
    let is_tried = entry.failure.is_some() || entry.missed.is_some();
    if entry.is_newer() || is_tried && entry.due > cx.now.wall {
        // It failed a moment ago, or a listing did not show it, and is looked at again then.
        return Ok(());
    }
    let is_held = !cx.env().may_retire || ownership::other_holder(cx, id).is_some();
    if is_held || !cx.belongs_here(entry) {
        // The other secret is rotated first; what belongs to another URL is ended by hand.
        return Ok(());
    }
    if cx.env().management_tokens.contains(id) {
        // Whoever uses it reads its successor with the next call.
        return Ok(());
    }
    if let Position::Unfenced(_) = position(cx, entry)?
        && fence_base(cx).is_some()
    {
        return Err(cx.take_claim(Work::Cleanup).into());
    }
    let info = match read_token(cx, id)? {
        Ok(Lookup::Found(info)) => info,
        Ok(Lookup::NotFound) => {
            return Err(match absence(cx, entry)? {
                Absent::Proven => retire::gone(cx, id, "was deleted elsewhere or expired").into(),
                Absent::Until(at) => cx
                    .write_entry(id, |entry| {
                        entry.missed.get_or_insert(cx.now.wall);
                        entry.due = at;
                    })
                    .into(),
            });
        }
        Err(error) => return Err(failure::fail_retirement(cx, id, &error)),
    };
    if entry.missed.is_some() {
        // It is there, so the listing that did not show it proves nothing.
        return Err(cx.write_entry(id, |entry| entry.missed = None).into());
    }
    let ordered_here = matches!(&cx.request.goal, Goal::Revoke(it) if it.revocation.token == *id);
    if !ordered_here && let Err(why) = ownership::prove(cx, entry, &info)? {
        return Err(retire::unproven(cx, id, &why).into());
    }
    let can_disable = cx.env().capabilities.disable;
    let change = match info.enabled && can_disable {
        true => retire::claim_end(cx, id, RetiringState::Disabling, |_| {}),
        false if revocation.delete || !can_disable => {
            retire::claim_end(cx, id, RetiringState::Deleting, |_| {})
        }
        false => retire::disabled(cx, id),
    };
    Err(change.into())
}
