//! What happens to a secret between two rotations: its document is closed or reopened, an outage extends its graces, an adopted token that
//! retires gets our marker, and its current token is found not to work.

use jiff::{SignedDuration, Timestamp};

use crate::command::{Command, RunResult, TokenAction};
use crate::context::{AfterWrite, Context, Step};
use crate::event::{EventName, Level, Report};
use crate::marker::{Marker, NameDigest};
use crate::observe::{SecretState, is_workable, secret_state};
use crate::ownership;
use crate::reading::read_token;
use crate::record::{Invalid, Reason, Record, RetiringState, Trigger};
use crate::request::RotationRequest;
use crate::token::{TokenId, TokenInfo};
use crate::transition;
use crate::view::{Decision, Lookup};

/// A document that was closed, and its secret is in the configuration (again).
pub fn reopen(cx: &Context<'_>) -> Step {
    if let Some(other) = &cx.record.renamed_to {
        // Two documents must never be at work on one secret.
        return Step::finish(RunResult::JournalUnreadable(format!(
            "this secret was renamed to {other} by another configuration; use that name here too, or set `renamed_from = \"{other}\"` to \
             rename it back"
        )));
    }
    // While it was closed nobody looked: what is there now is recorded as when it was first seen, and no due time was missed.
    let mut record = cx.draft();
    record.closed_at = None;
    record.adopted_at = cx.now.wall;
    record.coordinates = cx.plan().coordinates.clone();
    record.current = None;
    record.health.failure = None;
    record.health.invalid = None;
    Step::write(record, vec![], AfterWrite::Reread)
}

/// The secret left the configuration, and nothing is left to be finished.
pub fn close_document(cx: &Context<'_>) -> Option<Step> {
    if !cx.is_released() || !cx.record.is_finished() {
        return None;
    }
    let mut record = cx.draft();
    record.closed_at = Some(cx.now.wall);
    record.health.failure = None;
    record.health.invalid = None;
    let name = &cx.plan().name;
    let message = match &record.current {
        Some(current) => format!(
            "{name} left the configuration and its former tokens are gone; {} stays as it is and is no longer rotated",
            current.id
        ),
        None => format!("{name} left the configuration, and nothing of it is left to be finished"),
    };
    let mut report = Report::new(EventName::SecretReleased, message);
    report.token_id = record.current.as_ref().map(|current| current.id.clone());
    let end = AfterWrite::Finish(RunResult::Done { wake: None });
    Some(Step::write(record, vec![report], end))
}

/// A person drops an entry that cannot be proven or ended. The token is left as it is and named in the history.
pub fn forget(cx: &Context<'_>, id: &TokenId) -> Step {
    let mut record = cx.draft();
    let before = record.retiring.len();
    record.retiring.retain(|entry| entry.id != *id);
    if record.retiring.len() == before {
        return Step::refuse(format!(
            "{id} is not among the retiring tokens of {}",
            cx.plan().name
        ));
    }
    record.leave_alone(id);
    let message = format!(
        "{id} was dropped from the retiring tokens by a command; it is left as it is at Dynatrace"
    );
    let report = Report::new(EventName::RetirementBlocked, message)
        .token(id)
        .at(Level::Info);
    let end = AfterWrite::Finish(RunResult::Done { wake: None });
    Step::write(record, vec![report], end)
}

/// Consumers could not read the new value while Vault could not be used: graces that were running then are extended by that. If it is not
/// known how long it was, they begin again. Every replica may do this; an outage counts once.
pub fn extend_grace_for_outage(cx: &Context<'_>) -> Option<Step> {
    let outage = cx.request.env.outage?;
    let mut record = cx.draft();
    let grace = SignedDuration::try_from(cx.plan().grace).unwrap_or_default();
    let mut extended = 0;
    for entry in &mut record.retiring {
        let counted = entry.outage_counted_until.unwrap_or(entry.since);
        let ran = entry.state == RetiringState::Grace && counted < outage.until;
        let due = match outage.since {
            _ if !ran => continue,
            Some(since) if entry.due <= since => continue,
            Some(since) => entry
                .due
                .checked_add(since.max(counted).duration_until(outage.until)),
            None => outage.until.checked_add(grace),
        };
        entry.due = due.unwrap_or(entry.due).max(entry.due);
        entry.outage_counted_until = Some(outage.until);
        extended += 1;
    }
    if extended == 0 {
        return None;
    }
    let message = format!(
        "Vault was unavailable until {}, so consumers had less time to pick up a new value: the grace of {extended} old tokens is extended",
        outage.until
    );
    // As many lines as secrets; the end of the outage itself is reported once.
    let report = Report::new(EventName::RetirementHeld, message).at(Level::Debug);
    Some(Step::write(record, vec![report], AfterWrite::Continue))
}

/// A token that retires without our marker gets it while its value can still be proven (rule A11).
pub fn mark_retiring(cx: &Context<'_>) -> Decision<Option<Step>> {
    let env = &cx.request.env;
    if !env.capabilities.rename || !env.enabled {
        return Ok(None);
    }
    let unmarked = |entry: &&crate::record::Retiring| {
        entry.digest.is_none()
            && entry.state == RetiringState::Grace
            && is_workable(cx, entry)
            && ownership::other_holder(cx, &entry.id).is_none()
    };
    for entry in cx.record.retiring.iter().filter(unmarked) {
        let Ok(Lookup::Found(info)) = read_token(cx, &entry.id)? else {
            continue;
        };
        if info.personal || ownership::prove(cx, entry, &info)?.is_err() {
            continue;
        }
        if Marker::of(&info.name, &cx.record.epoch).is_some() {
            return Ok(Some(remember_name(cx, &entry.id, &info)));
        }
        if cx.view.rename_was_tried(&entry.id) {
            continue;
        }
        let (base, _) = Marker::split(&info.name);
        let name = transition::adopted_marker(cx.record).name(&base, env.capabilities.name_limit);
        return Ok(Some(Step::Do(Command::Change(
            TokenAction::Rename(name),
            entry.id.clone(),
        ))));
    }
    Ok(None)
}

fn remember_name(cx: &Context<'_>, id: &TokenId, info: &TokenInfo) -> Step {
    let mut record = cx.draft();
    if let Some(entry) = transition::entry_mut(&mut record, id) {
        entry.digest = Some(NameDigest::of(&info.name));
    }
    Step::write(record, vec![], AfterWrite::Continue)
}

/// The current value may be invalid, or it was not usable and may have recovered: check it.
pub fn check_validity(cx: &Context<'_>) -> Decision<Option<Step>> {
    if !cx.request.hints.recheck_token || cx.is_released() || cx.is_relocated() {
        return Ok(None);
    }
    // Once per run is enough.
    if cx.view.value_was_checked() && cx.view.known_value().is_none() {
        return Ok(None);
    }
    let state = secret_state(cx)?;
    let health = &cx.record.health;
    let stuck = cx
        .record
        .stuck()
        .is_some_and(|failure| failure.reason.is_of_the_value());
    let Some(wrong) = invalid_reason(cx, &state) else {
        let over = stuck && !matches!(state, SecretState::Blocked(..));
        return Ok((over || health.invalid.is_some()).then(|| clear_invalid(cx, over)));
    };
    let gone = matches!(
        state,
        SecretState::Missing | SecretState::Blocked(Reason::TokenUnknown, _)
    );
    if health.went_back_at.is_some() && gone && cx.request.env.enabled {
        // Vault was restored, and what it holds is gone: this once it is replaced at once.
        return Ok(Some(Step::Rotate(RotationRequest {
            due: None,
            trigger: Trigger::Sweep,
            accept_recorded_rights: false,
        })));
    }
    if health.invalid.is_some() || stuck {
        return Ok(None);
    }
    let mut record = cx.draft();
    let mut report = Report::new(EventName::CurrentInvalid, wrong.clone());
    report.token_id = record.current.as_ref().map(|current| current.id.clone());
    record.health.invalid = Some(Invalid {
        since: cx.now.wall,
        message: wrong,
    });
    Ok(Some(Step::write(
        record,
        vec![report],
        AfterWrite::Continue,
    )))
}

/// Why the value in Vault does not work, as a sentence; none = it works, or that is not known.
fn invalid_reason(cx: &Context<'_>, state: &SecretState) -> Option<String> {
    if let SecretState::Blocked(Reason::TokenUnknown | Reason::TokenDisabled, message) = state {
        return Some(message.clone());
    }
    let info = cx.view.known_value()?.found()?;
    is_expired(info, cx.now.wall).then(|| {
        format!(
            "{} in {} expired at {}; it is replaced at its next due time, or now by `dtrotate rotate {}`",
            info.id,
            cx.place(),
            info.expires.unwrap_or_default(),
            cx.plan().name
        )
    })
}

fn clear_invalid(cx: &Context<'_>, was_stuck: bool) -> Step {
    let mut record = cx.draft();
    let event = match was_stuck {
        true => EventName::RotationStuck,
        false => EventName::CurrentInvalid,
    };
    let message = format!(
        "resolved: the token in {} is valid again; the next rotation is as scheduled",
        cx.place()
    );
    let mut report = Report::new(event, message).at(Level::Info);
    report.token_id = cx
        .view
        .known_secret()
        .and_then(|secret| secret.id().cloned());
    record.health.invalid = None;
    record.health.went_back_at = None;
    if was_stuck {
        record.health.failure = None;
    }
    Step::write(record, vec![report], AfterWrite::Continue)
}

fn is_expired(info: &TokenInfo, now: Timestamp) -> bool {
    info.expires.is_some_and(|end| end <= now)
}

/// Does a sweep make this secret's current token suspect, or is it stuck for a reason that may be resolved? `listed` are the tokens that the
/// environment returned, the current ones among them whether they bear a marker or not. A list proves nothing: a run looks.
pub fn token_suspect(record: &Record, listed: &[TokenInfo], now: Timestamp) -> bool {
    let stuck = record
        .stuck()
        .is_some_and(|failure| failure.reason.is_of_the_value());
    if record.health.invalid.is_some() || stuck {
        return true;
    }
    let Some(current) = &record.current else {
        return false;
    };
    match listed.iter().find(|token| token.id == current.id) {
        Some(token) => !token.enabled || is_expired(token, now),
        None => true,
    }
}
