//! The beginning of a rotation: read and look up, claim with the attempt, mint.
//!
//! The normal path reads the secret and looks its token up first, and claims with the attempt in one check-and-set on the journal version
//! that was known before: the store rejects a stale base. Everything else claims first and reads again under the claim.

use crate::candidate::Order;
use crate::command::{Command, RunResult};
use crate::context::{AfterWrite, Change, Context, Decision, MintState, Step};
use crate::error::{CallError, ErrorKind, Service};
use crate::event::{EventName, Report};
use crate::failure;
use crate::marker::{Marker, NameDigest};
use crate::observe::{SecretState, secret_state};
use crate::ownership;
use crate::plan::Plan;
use crate::policy;
use crate::reading::read_token;
use crate::record::{Attempt, Begin, Current, Reason, Record, Trigger};
use crate::token::{MintRequest, TokenId, in_brackets, manages_tokens};
use crate::transition;
use crate::view::Lookup;

/// A run that mints more often than this gets no clear answers.
const MINTS: u32 = 3;

/// The next step of a rotation that has no candidate yet.
pub fn next(cx: &Context<'_>) -> Decision<Step> {
    match (cx.record.claimed_attempt(), &cx.progress.order) {
        (None, _) => prepare(cx),
        // The claim is this run's, but its memory is gone: a journal write landed although its answer said otherwise (rule A5).
        (Some(_), None) => {
            let write = cx.write(|record| transition::open_claimed(cx, record));
            Ok(write.then(AfterWrite::Reread).into())
        }
        (Some(attempt), Some(order)) if cx.progress.mint == MintState::Unknown => {
            mint_again(cx, attempt, order)
        }
        (Some(_), Some(order)) => Ok(mint(cx, order)),
    }
}

/// Before the attempt: what is in Vault, and what is it to us?
fn prepare(cx: &Context<'_>) -> Decision<Step> {
    check_name_was_kept(cx)?;
    check_mints(cx)?;
    let state = secret_state(cx)?;
    if cx.request.dry_run {
        return Ok(describe(cx, &state));
    }
    if !cx.is_claimed() && !matches!(state, SecretState::Current(_)) {
        return Ok(cx.take_claim(cx.rotation(None)).into());
    }
    match state {
        SecretState::Current(info) | SecretState::Foreign(info) => {
            let version = cx.view.secret(cx.record)?.version();
            let old = Current::recorded(&info, version, cx.record);
            write_attempt(cx, Some(old), true)
        }
        SecretState::Revoked(info) => {
            let version = cx.view.secret(cx.record)?.version();
            let revoked = Current::new(&info, version, &cx.record.epoch);
            let old = match &cx.record.current {
                // A person put it back: its rights are those of the token that is to take its place again.
                Some(current) if current.id != revoked.id => Current {
                    scopes: revoked.scopes,
                    ..current.clone()
                },
                _ => revoked,
            };
            write_attempt(cx, Some(old), true)
        }
        SecretState::Missing(recorded) => {
            let is_shown = cx.view.held(cx.record)? == Some(&recorded.id);
            let is_value = is_shown && *cx.view.value()? == Lookup::NotFound;
            let old = recorded_rights(cx, recorded, is_value)?;
            // One that is not the value may live, and retires.
            write_attempt(cx, Some(old), !is_value)
        }
        SecretState::Vacant => write_attempt(cx, None, false),
        SecretState::Blocked(reason, message) => Ok(failure::stuck(cx, reason, &message)),
        // Both are accepted before a rotation begins.
        SecretState::UncommittedStore(_) | SecretState::RolledBack(_) => {
            Ok(retry(cx, "the secret changed while its rotation began"))
        }
    }
}

/// It failed without a failed call, and is retried.
fn retry(cx: &Context<'_>, message: &str) -> Step {
    let error = CallError::new(Service::Dynatrace, ErrorKind::Transient, message);
    failure::fail(cx, Reason::Unavailable, message, Some(&error))
}

/// Where the environment drops markers, nothing more is minted until a person says so.
fn check_name_was_kept(cx: &Context<'_>) -> Decision<()> {
    let asked = cx.wanted().1 == Trigger::Command || cx.is_claimed();
    let failure = cx.record.stuck().filter(|_| !asked);
    match failure.filter(|failure| failure.reason == Reason::NameNotKept) {
        Some(failure) => Err(failure::stuck(cx, failure.reason.clone(), &failure.message)),
        None => Ok(()),
    }
}

/// Each mint may have left a token behind: a run sends only a few.
fn check_mints(cx: &Context<'_>) -> Decision<()> {
    if cx.progress.mints < MINTS {
        return Ok(());
    }
    Err(match &cx.progress.mint_error {
        Some(error) => failure::fail(cx, Reason::Unavailable, &error.what, Some(error)),
        None => {
            let message = format!(
                "the answers to {MINTS} requests to create a token belong to other requests"
            );
            retry(cx, &message)
        }
    })
}

/// Rights come from a token of this secret that was read in this run; from the document alone only when a person confirmed them (rule A3).
fn recorded_rights(cx: &Context<'_>, recorded: Current, is_value: bool) -> Decision<Current> {
    if cx.plan().desired.scopes.is_some() {
        // They are those of the configuration.
        return Ok(recorded);
    }
    // What the value is instead says nothing of its rights, and those of older tokens may be others.
    for entry in cx.record.retiring.iter().rev().filter(|_| is_value) {
        if entry.base_url != cx.record.coordinates.base_url {
            continue;
        }
        match read_token(cx, &entry.id)? {
            Ok(Lookup::Found(info)) if ownership::prove(cx, entry, &info)?.is_ok() => {
                return Ok(Current {
                    scopes: info.scopes,
                    traits: info.traits,
                    ..recorded
                });
            }
            Err(error) if error.kind != ErrorKind::Refused => {
                return Err(failure::give_up(cx, &error));
            }
            _ => {}
        }
    }
    let confirmed = cx.accepts_recorded_rights();
    let manages = manages_tokens(&recorded.scopes) && !cx.plan().manages_tokens;
    if confirmed && !manages {
        return Ok(recorded);
    }
    let name = &cx.plan().name;
    let scopes = recorded.scopes.join(", ");
    let why = if manages {
        format!(
            "Dynatrace no longer knows {}, and the journal records rights to manage tokens for it ({scopes}), which are never given to \
             an ordinary secret; put a token there by hand",
            recorded.id
        )
    } else {
        format!(
            "Dynatrace no longer knows {}, and its rights are recorded in the journal only: {scopes}. Run `dtrotate rotate {name} \
             --yes` to create a token with these rights, or put a token there by hand",
            recorded.id
        )
    };
    Err(failure::stuck(cx, Reason::TokenUnknown, &why))
}

/// Writes claim and attempt before the mint. A foreign value becomes the current one first, and the former one retires. Without an old token
/// it is the first one of the secret.
fn write_attempt(cx: &Context<'_>, old: Option<Current>, old_known: bool) -> Decision<Step> {
    let (plan, expiry) = (cx.plan(), cx.env().capabilities.expiry);
    let lifetime = match &old {
        Some(old) => policy::lifetime(plan, expiry, old, cx.now.wall)
            .map_err(|message| failure::stuck(cx, Reason::LifetimeTooShort, &message))?,
        None => policy::first_lifetime(plan, expiry),
    };
    let secret = cx.view.secret(cx.record)?;
    let mut record = cx.draft();
    let n = next_attempt(cx, &mut record)?;
    let order = Order {
        marker: marker(cx, n),
        base: ordered_base(plan, old.as_ref()),
        scopes: ordered_rights(cx, old.as_ref())?,
        lifetime,
        traits: old
            .as_ref()
            .map(|old| old.traits.clone())
            .unwrap_or_default(),
        old_fingerprint: secret.value().map(|value| value.fingerprint),
        old_known,
    };
    let id = old.as_ref().map(|old| old.id.clone());
    let foreign = match old {
        Some(old) if record.retiring(&old.id).is_some() => None,
        Some(old) if !record.is_current(&old.id) => {
            transition::accept_foreign(cx, &mut record, old)
        }
        Some(old) => {
            record.current = Some(old);
            None
        }
        None => None,
    };
    let message = match &id {
        Some(id) => format!("rotating {id} in {} (attempt {n})", cx.place()),
        None => format!("creating the first token of {} (attempt {n})", cx.place()),
    };
    let mut report = Report::new(EventName::RotationStarted, message).old(id.as_ref());
    report.trigger = Some(cx.claimed_or_wanted().1);
    report.attempt = Some(n);
    let attempt = attempt(cx, &order, secret.version(), id);
    record.claim = Some(cx.claim(cx.rotation(Some(attempt))));
    let change = Change::new(record).reports(foreign).report(report);
    Ok(change.then(AfterWrite::Attempt(order)).into())
}

/// The name that is ordered, without a marker: what the configuration asks for, else that of the old token.
fn ordered_base(plan: &Plan, old: Option<&Current>) -> String {
    let old = old.map_or(&plan.name, |old| &old.name_base);
    plan.desired.name.as_ref().unwrap_or(old).clone()
}

/// The rights that are ordered: what the configuration asks for, else those of the old token. Rights to manage tokens are never given to an
/// ordinary secret, whoever asks for them.
fn ordered_rights(cx: &Context<'_>, old: Option<&Current>) -> Decision<Vec<String>> {
    let plan = cx.plan();
    let old = old.map(|old| &old.scopes);
    let scopes = plan.desired.scopes.as_ref().or(old).cloned();
    let scopes = scopes.unwrap_or_default();
    if manages_tokens(&scopes) && !plan.manages_tokens {
        let message = format!(
            "no token is created for {} with the rights {}: rights to manage tokens are given only to the management token; correct `scopes`",
            cx.place(),
            scopes.join(", ")
        );
        return Err(failure::stuck(cx, Reason::TokenManages, &message));
    }
    Ok(scopes)
}

/// The number of the next attempt.
fn next_attempt(cx: &Context<'_>, record: &mut Record) -> Decision<u64> {
    transition::next_attempt(record).ok_or_else(|| {
        Step::finish(RunResult::JournalImplausible(format!(
            "the attempt number of {} is at its maximum; put a plausible number into `attempt` of its journal document",
            cx.plan().name
        )))
    })
}

fn marker(cx: &Context<'_>, attempt: u64) -> Marker {
    Marker {
        epoch: cx.record.epoch.clone(),
        attempt,
    }
}

/// The attempt that mints by `order`.
fn attempt(cx: &Context<'_>, order: &Order, base: u64, old: Option<TokenId>) -> Attempt {
    Attempt {
        n: order.marker.attempt,
        base,
        old,
        digest: Some(NameDigest::of(&ordered_name(cx, order))),
        begin: Begin {
            began: Some(cx.now.wall),
            expires: order.lifetime.map(|lifetime| cx.now.after(lifetime)),
        },
    }
}

fn ordered_name(cx: &Context<'_>, order: &Order) -> String {
    let limit = cx.env().capabilities.name_limit;
    order.marker.name(&order.base, limit)
}

fn mint(cx: &Context<'_>, order: &Order) -> Step {
    let lifetime = order.lifetime;
    let request = MintRequest {
        name: ordered_name(cx, order),
        scopes: order.scopes.clone(),
        expires: lifetime.and_then(|lifetime| cx.now.wall.checked_add(lifetime).ok()),
        lifetime,
        traits: order.traits.clone(),
    };
    Command::Mint(request).into()
}

/// A mint may have happened although no answer came. It is never repeated under the same number: the attempt becomes open, and the next
/// one gets a new number.
fn mint_again(cx: &Context<'_>, former: &Attempt, order: &Order) -> Decision<Step> {
    check_mints(cx)?;
    let mut record = cx.draft();
    let mut claim = record.claim.clone();
    transition::open_claimed(cx, &mut record);
    let n = next_attempt(cx, &mut record)?;
    let order = Order {
        marker: marker(cx, n),
        ..order.clone()
    };
    if let Some(claimed) = claim.as_mut().and_then(|claim| claim.attempt_mut()) {
        *claimed = attempt(cx, &order, former.base, former.old.clone());
    }
    record.claim = claim;
    let change = Change::new(record);
    Ok(change.then(AfterWrite::Attempt(order)).into())
}

/// What a dry run prints. It fails where the rotation would.
fn describe(cx: &Context<'_>, state: &SecretState) -> Step {
    let name = &cx.plan().name;
    let stuck = |message: &str| Step::refuse(format!("{name}: stuck: {message}"));
    let new = cx.record.current.is_none();
    let text = match state {
        SecretState::Current(info) | SecretState::Foreign(info) | SecretState::Revoked(info) => {
            let current = format!("{}{}", info.id, in_brackets(&info.scopes));
            let old = Current::recorded(info, 0, cx.record);
            let expiry = cx.env().capabilities.expiry;
            let unfit = policy::lifetime(cx.plan(), expiry, &old, cx.now.wall);
            match (state, unfit) {
                (_, Err(message)) => return stuck(&message),
                (SecretState::Foreign(_), _) if new => {
                    format!("would record {current}, and then replace it")
                }
                (SecretState::Foreign(_), _) => {
                    format!("would replace {current}, which someone put there by hand")
                }
                _ => format!("would replace {current}"),
            }
        }
        SecretState::Vacant => {
            let scopes = cx.plan().desired.scopes.as_deref().unwrap_or_default();
            format!("would create the first token{}", in_brackets(scopes))
        }
        SecretState::Missing(_) => {
            "would replace the value, which Dynatrace does not know".to_owned()
        }
        SecretState::UncommittedStore(info) => {
            format!(
                "would commit {}, which an interrupted rotation stored",
                info.id
            )
        }
        SecretState::RolledBack(info) => format!(
            "would accept {}, which someone put back, and then replace it",
            info.id
        ),
        SecretState::Blocked(_, message) => return stuck(message),
    };
    Step::finish(RunResult::DryRun(format!("{name}: {text}")))
}
