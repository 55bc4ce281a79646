//! The beginning of a rotation: read and look up, claim with the attempt, mint.
//!
//! The normal path reads the secret and looks its token up first, and claims with the attempt in one check-and-set on the journal version
//! that was known before: the store rejects a stale base. Everything else claims first and reads again under the claim.

use std::time::Duration;

use crate::command::{Command, RunResult};
use crate::context::{AfterWrite, Context, MintState, Step, Template};
use crate::error::ErrorKind;
use crate::event::{EventName, Report};
use crate::failure::{self, Retry};
use crate::marker::{Marker, NameDigest};
use crate::observe::{SecretState, secret_state};
use crate::ownership;
use crate::policy;
use crate::reading::read_token;
use crate::record::{Attempt, Current, Reason, Record, Trigger, Work};
use crate::token::{MintRequest, TokenId, manages_tokens};
use crate::transition;
use crate::view::{Decision, Lookup};

/// A run that mints more often than this gets no clear answers.
const MINTS: u32 = 3;

/// The next step of a rotation that has no candidate yet.
pub fn next(cx: &Context<'_>) -> Decision<Step> {
    let attempt = cx.record.claim.as_ref().and_then(|claim| claim.attempt());
    match (attempt, cx.progress.mint, &cx.progress.template) {
        (None, ..) => prepare(cx),
        // The claim is this run's, but its memory is gone: a journal write landed although its answer said otherwise (rule A5).
        (Some(_), _, None) => Ok(release_lost_attempt(cx)),
        (Some(attempt), MintState::NotSent, Some(template)) => Ok(mint(cx, attempt, template)),
        (Some(_), MintState::Unknown, Some(template)) => Ok(mint_again(cx, template)),
        (Some(_), MintState::Rejected | MintState::Discarded, Some(_)) => Ok(failure::fail(
            cx,
            Reason::Unavailable,
            "the attempt failed; no token was left behind",
            Retry::Automatic(None),
        )),
    }
}

/// Before the attempt: what is in Vault, and what is it to us?
fn prepare(cx: &Context<'_>) -> Decision<Step> {
    if let Some(step) = name_was_not_kept(cx) {
        return Ok(step);
    }
    if cx.progress.mints >= MINTS {
        return Ok(mints_unclear(cx));
    }
    let state = secret_state(cx)?;
    if cx.request.dry_run {
        return describe(cx, &state);
    }
    if !cx.is_claimed() && !matches!(state, SecretState::Current(_)) {
        let (due, trigger) = cx.wanted();
        let mut record = cx.draft();
        record.claim = Some(cx.claim(Work::Rotate {
            due,
            trigger,
            attempt: None,
        }));
        return Ok(Step::write(record, vec![], AfterWrite::Reread));
    }
    match state {
        SecretState::Current(info) | SecretState::Foreign(info) => {
            let version = cx.view.secret(cx.record)?.version();
            let old = Current::new(&info, version, &cx.record.epoch);
            write_attempt(cx, old, true)
        }
        SecretState::Missing => match recorded_rights(cx)? {
            Ok(old) => write_attempt(cx, old, false),
            Err(step) => Ok(step),
        },
        SecretState::Blocked(reason, message) => {
            Ok(failure::fail(cx, reason, &message, Retry::Stuck))
        }
        // Both are accepted before a rotation begins.
        SecretState::UncommittedStore(_) | SecretState::RolledBack(_) => Ok(failure::fail(
            cx,
            Reason::Unavailable,
            "the secret changed while its rotation began",
            Retry::Automatic(None),
        )),
    }
}

/// The environment drops markers: nothing more is minted until a person says so.
fn name_was_not_kept(cx: &Context<'_>) -> Option<Step> {
    let failure = cx
        .record
        .stuck()
        .filter(|failure| failure.reason == Reason::NameNotKept)?;
    let asked = cx.wanted().1 == Trigger::Command || cx.is_claimed();
    (!asked).then(|| failure::fail(cx, Reason::NameNotKept, &failure.message, Retry::Stuck))
}

/// Rights come from a token of this secret that was read in this run; from the document alone only when a person confirmed them (rule A3).
fn recorded_rights(cx: &Context<'_>) -> Decision<Result<Current, Step>> {
    let Some(recorded) = &cx.record.current else {
        return Err(Command::ReadSecret);
    };
    for entry in cx.record.retiring.iter().rev() {
        if entry.base_url != cx.record.coordinates.base_url {
            continue;
        }
        match read_token(cx, &entry.id)? {
            Ok(Lookup::Found(info)) if ownership::prove(cx, entry, &info)?.is_ok() => {
                return Ok(Ok(Current {
                    scopes: info.scopes,
                    ..recorded.clone()
                }));
            }
            Err(error) if error.kind != ErrorKind::Refused => {
                return Ok(Err(failure::give_up(cx, &error)));
            }
            _ => {}
        }
    }
    let confirmed = cx
        .request
        .rotation()
        .is_some_and(|request| request.accept_recorded_rights);
    let manages = manages_tokens(&recorded.scopes) && !cx.plan().manages_tokens;
    if confirmed && !manages {
        return Ok(Ok(recorded.clone()));
    }
    let name = &cx.plan().name;
    let scopes = recorded.scopes.join(", ");
    let why = if manages {
        format!(
            "Dynatrace does not know {} any more, and the journal records rights to manage tokens for it ({scopes}), which are never given to \
             an ordinary secret; put a token there by hand",
            recorded.id
        )
    } else {
        format!(
            "Dynatrace does not know {} any more, and its rights are recorded in the journal only: {scopes}. Run `dtrotate rotate {name} \
             --yes` to create a token with these rights, or put a token there by hand",
            recorded.id
        )
    };
    Ok(Err(failure::fail(
        cx,
        Reason::TokenUnknown,
        &why,
        Retry::Stuck,
    )))
}

/// Writes claim and attempt before the mint. A foreign value becomes the current one first, and the former one retires.
fn write_attempt(cx: &Context<'_>, old: Current, old_known: bool) -> Decision<Step> {
    let lifetime = match policy::lifetime(cx.plan(), &old.id, old.created, old.expires, cx.now.wall)
    {
        Ok(lifetime) => lifetime,
        Err(message) => {
            return Ok(failure::fail(
                cx,
                Reason::LifetimeTooShort,
                &message,
                Retry::Stuck,
            ));
        }
    };
    let secret = cx.view.secret(cx.record)?;
    let template = Template {
        name_base: old.name_base.clone(),
        scopes: old.scopes.clone(),
        lifetime,
        old_fingerprint: secret.value().map_or(0, |value| value.fingerprint),
        old_known,
    };
    let mut record = cx.draft();
    let mut reports = vec![];
    if record.is_current(&old.id) {
        record.current = Some(old.clone());
    } else if let Some(former) = transition::make_current(cx, &mut record, old.clone()) {
        reports.push(foreign_report(&old.id, &former.id));
    }
    let (due, trigger) = match cx.record.claim.as_ref().map(|claim| &claim.work) {
        Some(Work::Rotate { due, trigger, .. }) => (*due, *trigger),
        _ => cx.wanted(),
    };
    let base = secret.version();
    let Some(attempt) = order(cx, &mut record, &template, base, &old.id) else {
        return Ok(numbers_used_up(cx));
    };
    let mut report = Report::new(
        EventName::RotationStarted,
        format!(
            "rotating {} in {} (attempt {})",
            old.id, record.coordinates, attempt.n
        ),
    )
    .old(&old.id);
    report.trigger = Some(trigger);
    report.attempt = Some(attempt.n);
    reports.push(report);
    record.claim = Some(cx.claim(Work::Rotate {
        due,
        trigger,
        attempt: Some(attempt),
    }));
    Ok(Step::write(record, reports, AfterWrite::Attempt(template)))
}

/// The next attempt, with the digest of the name that it will order.
fn order(
    cx: &Context<'_>,
    record: &mut Record,
    template: &Template,
    base: u64,
    old: &TokenId,
) -> Option<Attempt> {
    let n = transition::next_attempt(record)?;
    Some(Attempt {
        n,
        base,
        old: old.clone(),
        digest: Some(NameDigest::of(&ordered_name(cx, n, template))),
    })
}

fn ordered_name(cx: &Context<'_>, n: u64, template: &Template) -> String {
    marker(cx, n).name(&template.name_base, cx.request.env.capabilities.name_limit)
}

fn marker(cx: &Context<'_>, attempt: u64) -> Marker {
    Marker {
        epoch: cx.record.epoch.clone(),
        attempt,
    }
}

fn numbers_used_up(cx: &Context<'_>) -> Step {
    Step::finish(RunResult::JournalImplausible(format!(
        "the attempt number of {} is at its maximum; put a plausible number into `attempt` of its journal document",
        cx.plan().name
    )))
}

/// No more mints in this run: each may have left a token behind.
fn mints_unclear(cx: &Context<'_>) -> Step {
    let error = cx.progress.mint_error.as_ref();
    let message = match error {
        Some(error) => error.what.clone(),
        None => {
            format!("the answers to {MINTS} requests to create a token belong to other requests")
        }
    };
    failure::fail(cx, Reason::Unavailable, &message, Retry::Automatic(error))
}

fn mint(cx: &Context<'_>, attempt: &Attempt, template: &Template) -> Step {
    Step::Do(Command::Mint(MintRequest {
        name: ordered_name(cx, attempt.n, template),
        scopes: template.scopes.clone(),
        expires: template
            .lifetime
            .and_then(|lifetime: Duration| cx.now.wall.checked_add(lifetime).ok()),
        lifetime: template.lifetime,
    }))
}

/// A mint may have happened although no answer came. It is never repeated under the same number: the attempt becomes open, and the next
/// one gets a number of its own.
fn mint_again(cx: &Context<'_>, template: &Template) -> Step {
    if cx.progress.mints >= MINTS {
        return mints_unclear(cx);
    }
    let mut record = cx.draft();
    let Some(mut claim) = record.claim.clone() else {
        return Step::Do(Command::ReadJournal);
    };
    let Some(former) = claim.attempt().cloned() else {
        return Step::Do(Command::ReadJournal);
    };
    record.open.push(former.opened(claim.due(), cx.now.wall));
    let Some(attempt) = order(cx, &mut record, template, former.base, &former.old) else {
        return numbers_used_up(cx);
    };
    if let Some(claimed) = claim.attempt_mut() {
        *claimed = attempt;
    }
    record.claim = Some(claim);
    Step::write(record, vec![], AfterWrite::Attempt(template.clone()))
}

/// The attempt becomes open and its claim is released in one write; then the secret is observed again.
fn release_lost_attempt(cx: &Context<'_>) -> Step {
    let mut record = cx.draft();
    if let Some(claim) = record.claim.take()
        && let Some(attempt) = claim.attempt()
    {
        record.open.push(attempt.opened(claim.due(), cx.now.wall));
    }
    Step::write(record, vec![], AfterWrite::Reread)
}

fn foreign_report(new: &TokenId, former: &TokenId) -> Report {
    let message = format!(
        "someone replaced {former} by {new}; their token is kept as the current one, and {former} will be retired"
    );
    Report::new(EventName::SecretChangedElsewhere, message)
        .token(new)
        .old(former)
}

/// What a dry run prints.
fn describe(cx: &Context<'_>, state: &SecretState) -> Decision<Step> {
    let name = &cx.plan().name;
    let new = cx.record.current.is_none();
    let text = match state {
        SecretState::Current(info) | SecretState::Foreign(info) => {
            let current = format!("{} ({})", info.id, info.scopes.join(", "));
            let unfit =
                policy::lifetime(cx.plan(), &info.id, info.created, info.expires, cx.now.wall);
            match (state, unfit) {
                (_, Err(message)) => format!("stuck: {message}"),
                (SecretState::Foreign(_), _) if new => {
                    format!("would record {current}, and then replace it")
                }
                (SecretState::Foreign(_), _) => {
                    format!("would replace {current}, which someone put there by hand")
                }
                _ => format!("would replace {current}"),
            }
        }
        SecretState::Missing => {
            "would replace the recorded token, which Dynatrace does not know any more".to_owned()
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
        SecretState::Blocked(_, message) => format!("stuck: {message}"),
    };
    Ok(Step::finish(RunResult::DryRun(format!("{name}: {text}"))))
}
