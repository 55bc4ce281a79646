//! What happens to a secret between two rotations: its document is closed or reopened, an outage extends its graces, an adopted token that
//! retires gets our marker, and its current token is found not to work.

use jiff::Timestamp;

use crate::command::{Command, RunResult, TokenAction};
use crate::context::{AfterWrite, Change, Context, Decision, Step};
use crate::event::{EventName, Level, Report};
use crate::marker::{Marker, NameDigest};
use crate::observe::{SecretState, secret_state};
use crate::ownership;
use crate::reading::read_token;
use crate::record::{Invalid, Reason, Record, Retiring, RetiringState, Trigger};
use crate::request::{RotationRequest, after};
use crate::token::{TokenId, TokenInfo};
use crate::view::Lookup;

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
    let reopened = cx.write(|record| {
        record.closed_at = None;
        record.adopted_at = cx.now.wall;
        record.coordinates = cx.plan().coordinates.clone();
        record.held_before |= record.current.is_some();
        record.current = None;
        record.health.failure = None;
        record.health.invalid = None;
    });
    reopened.then(AfterWrite::Reread).into()
}

/// The secret left the configuration, and nothing is left to be finished.
pub fn close_document(cx: &Context<'_>) -> Decision<()> {
    if !cx.is_released() || !cx.record.is_finished() {
        return Ok(());
    }
    let name = &cx.plan().name;
    let current = cx.record.current_id();
    let message = match current {
        Some(id) => format!(
            "{name} left the configuration and its former tokens are gone; {id} stays as it is and is no longer rotated"
        ),
        None => format!("{name} left the configuration, and none of its work is unfinished"),
    };
    let report = Report::new(EventName::SecretReleased, message).token(current);
    let closed = cx.write(|record| {
        record.closed_at = Some(cx.now.wall);
        record.health.failure = None;
        record.health.invalid = None;
    });
    let end = RunResult::Done { wake: None };
    Err(closed.report(report).finish(end).into())
}

/// A person drops an entry that cannot be proven or ended. The token is left as it is and named in the history.
pub fn forget(cx: &Context<'_>, id: &TokenId) -> Step {
    if cx.record.retiring(id).is_none() {
        return Step::refuse(format!(
            "{id} is not among the retiring tokens of {}",
            cx.plan().name
        ));
    }
    let message = format!(
        "{id} was dropped from the retiring tokens by a command; at Dynatrace it is unchanged"
    );
    let report = Report::new(EventName::RetirementBlocked, message)
        .token(id)
        .at(Level::Info);
    let forgotten = cx.write(|record| {
        record.retiring.retain(|entry| entry.id != *id);
        record.leave_alone(id);
        record.revoking.take_if(|order| order.token == *id);
    });
    let end = RunResult::Done { wake: None };
    forgotten.report(report).finish(end).into()
}

/// Consumers could not read the new value while Vault could not be used: graces that were running then are extended by that. If it is not
/// known how long it was, they begin again. Every replica may do this; an outage counts once.
pub fn extend_grace_for_outage(cx: &Context<'_>) -> Decision<()> {
    let Some(outage) = cx.env().outage else {
        return Ok(());
    };
    let mut record = cx.draft();
    let mut extended = 0;
    for entry in &mut record.retiring {
        let counted = entry.outage_counted_until.unwrap_or(entry.since);
        let ran = entry.state == RetiringState::Grace && counted < outage.until;
        let due = match outage.since {
            _ if !ran => continue,
            Some(since) if entry.due <= since => continue,
            Some(since) => {
                let lost = since.max(counted).duration_until(outage.until);
                entry.due.checked_add(lost).unwrap_or(entry.due)
            }
            None => after(outage.until, cx.plan().grace),
        };
        entry.due = due.max(entry.due);
        entry.outage_counted_until = Some(outage.until);
        extended += 1;
    }
    if extended == 0 {
        return Ok(());
    }
    let message = format!(
        "Vault was unavailable until {:.0}, so consumers had less time to pick up a new value: the grace of {extended} old tokens is extended",
        outage.until
    );
    // As many lines as secrets; the end of the outage itself is reported once.
    let report = Report::new(EventName::RetirementHeld, message).at(Level::Debug);
    Err(Change::new(record).report(report).into())
}

/// A token that retires without our marker gets it while its value can still be proven (rule A11); not before it is known what the other
/// secrets hold.
pub fn mark_retiring(cx: &Context<'_>) -> Decision<()> {
    if !cx.env().may_retire {
        return Ok(());
    }
    for entry in unmarked(cx) {
        let id = &entry.id;
        let Ok(Lookup::Found(info)) = read_token(cx, id)? else {
            continue;
        };
        if info.personal || ownership::prove(cx, entry, &info)?.is_err() {
            continue;
        }
        let epoch = &cx.record.epoch;
        if Marker::of(&info.name, epoch).is_some() {
            let digest = NameDigest::of(&info.name);
            return Err(cx.write_entry(id, |it| it.digest = Some(digest)).into());
        }
        if !cx.view.rename_was_tried(id) {
            let (base, _) = Marker::split(&info.name);
            let name = Marker::adopted(epoch).name(&base, cx.env().capabilities.name_limit);
            return Err(Command::Change(TokenAction::Rename(name), id.clone()).into());
        }
    }
    Ok(())
}

/// The retiring tokens that are to get our marker.
pub fn unmarked<'a>(cx: &Context<'a>) -> impl Iterator<Item = &'a Retiring> {
    let may_rename = cx.env().capabilities.rename && cx.may_begin();
    let retiring = cx.record.retiring.iter();
    retiring.filter(move |entry| {
        may_rename
            && entry.digest.is_none()
            && entry.revoked.is_none()
            && entry.state == RetiringState::Grace
            && cx.belongs_here(entry)
            && ownership::other_holder(cx, &entry.id).is_none()
    })
}

/// The current value may be invalid, or it was not usable and may have recovered: check it.
pub fn check_validity(cx: &Context<'_>) -> Decision<()> {
    if !cx.request.hints.recheck_token || cx.is_released() || cx.is_relocated() {
        return Ok(());
    }
    // Once per run is enough.
    if cx.view.value_was_checked() && cx.view.known_value().is_none() {
        return Ok(());
    }
    let state = secret_state(cx)?;
    let health = &cx.record.health;
    let stuck = is_stuck_by_its_value(cx.record);
    let Some(message) = invalid_reason(cx, &state) else {
        let is_resolved = stuck && !matches!(state, SecretState::Blocked(..) | SecretState::Vacant);
        if is_resolved || health.invalid.is_some() {
            return Err(clear_invalid(cx, is_resolved).into());
        }
        return Ok(());
    };
    let gone = matches!(
        state,
        SecretState::Missing(_) | SecretState::Blocked(Reason::TokenUnknown, _)
    );
    if health.went_back_at.is_some() && gone && cx.may_begin() {
        // Vault was restored, and what it holds is gone: this once it is replaced at once.
        return Err(Step::Rotate(RotationRequest {
            due: None,
            trigger: Trigger::Sweep,
            accept_recorded_rights: false,
        }));
    }
    let invalid = Invalid {
        since: health.invalid.as_ref().map_or(cx.now.wall, |it| it.since),
        message,
        by_hand: match &state {
            SecretState::Blocked(Reason::TokenUnknown, _) => !is_recorded(cx),
            SecretState::Blocked(Reason::TokenDisabled, _) => health.went_back_at.is_none(),
            SecretState::Blocked(..) => true,
            _ => false,
        },
    };
    // It was reported already; what it says is kept true.
    let known = health.invalid.is_some() || stuck;
    if known && health.invalid.as_ref().is_none_or(|it| *it == invalid) {
        return Ok(());
    }
    let report = Report::new(EventName::CurrentInvalid, &invalid.message);
    let report = (!known).then(|| report.token(cx.record.current_id()));
    let write = cx.write(|record| record.health.invalid = Some(invalid));
    Err(write.reports(report).into())
}

/// It is stuck for a reason that reading its value again can resolve.
fn is_stuck_by_its_value(record: &Record) -> bool {
    let stuck = record.stuck();
    stuck.is_some_and(|failure| failure.reason.is_of_the_value())
}

/// The value shows the id of the token that the document has as the current one, or as the one that was revoked without another, and Dynatrace
/// no longer knows that token.
fn is_recorded(cx: &Context<'_>) -> bool {
    let value = cx.view.known_secret().and_then(|secret| secret.id());
    let recorded = cx.record.recorded();
    let is_gone = cx.view.known_value() == Some(&Lookup::NotFound);
    is_gone && recorded.is_some_and(|recorded| value == Some(&recorded.id))
}

/// Why the value in Vault does not work, as a sentence; none = it works, or that is not known.
fn invalid_reason(cx: &Context<'_>, state: &SecretState) -> Option<String> {
    if let SecretState::Blocked(reason, message) = state
        && reason.locks_consumers_out()
    {
        return Some(message.clone());
    }
    if let SecretState::Revoked(info) = state {
        return Some(format!(
            "{} in {} was revoked, and a person put it back; run `dtrotate rotate {}`",
            info.id,
            cx.place(),
            cx.plan().name
        ));
    }
    let info = cx.view.known_value()?.found()?;
    is_expired(info, cx.now.wall).then(|| {
        format!(
            "{} in {} expired at {:.0}; it is replaced at its next due time, or now by `dtrotate rotate {}`",
            info.id,
            cx.place(),
            info.expires.unwrap_or_default(),
            cx.plan().name
        )
    })
}

fn clear_invalid(cx: &Context<'_>, was_stuck: bool) -> Change {
    let event = match cx.record.health.invalid {
        Some(_) => EventName::CurrentInvalid,
        None => EventName::RotationStuck,
    };
    let message = format!(
        "resolved: the token in {} is valid again; the next rotation is as scheduled",
        cx.place()
    );
    let id = cx.view.known_secret().and_then(|secret| secret.id());
    let report = Report::new(event, message).token(id).at(Level::Info);
    let write = cx.write(|record| {
        record.health.invalid = None;
        record.health.went_back_at = None;
        if was_stuck {
            record.health.failure = None;
        }
    });
    write.report(report)
}

fn is_expired(info: &TokenInfo, now: Timestamp) -> bool {
    info.expires.is_some_and(|end| end <= now)
}

/// Does a sweep make this secret's current token suspect, or is it stuck for a reason that may be resolved? `listed` is that token as the
/// listing has it. A list proves nothing: a run looks.
pub fn token_suspect(record: &Record, listed: Option<&TokenInfo>, now: Timestamp) -> bool {
    if record.health.invalid.is_some() || is_stuck_by_its_value(record) {
        return true;
    }
    let in_order = |token: &TokenInfo| token.enabled && !is_expired(token, now);
    record.current.is_some() && !listed.is_some_and(in_order)
}
