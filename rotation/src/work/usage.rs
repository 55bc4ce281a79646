//! The use of a token whose grace ends: while it lasts, the token is held or left.

use jiff::{SignedDuration, Timestamp};

use crate::context::{Change, Context};
use crate::event::{EventName, Level, Report};
use crate::plan::{AtMaxGrace, StillUsed};
use crate::record::{EntryReason, Retiring};
use crate::request::after;
use crate::token::TokenInfo;
use crate::transition;

/// What was seen so close to a trial may be the trial: the call takes a while, and clocks differ.
const TRIAL: SignedDuration = SignedDuration::from_mins(1);

/// A token that is still used is left unchanged for now.
pub(super) fn hold(cx: &Context<'_>, entry: &Retiring, info: &TokenInfo) -> Option<Change> {
    let id = &entry.id;
    let from = used_from(info);
    let quiet = used_until(cx, entry, info)?;
    let last = after(entry.since, cx.plan().max_grace);
    let extends = cx.plan().still_used != StillUsed::Warn && last > cx.now.wall;
    let held = match (extends, cx.env().blackout_until) {
        (true, _) => Some((
            quiet.min(last),
            format!(
                "its grace is extended until it has been unused for `grace`, at most until {last:.0}"
            ),
        )),
        (false, Some(end)) => Some((
            end,
            format!("it is not ended before the end of the blackout at {end:.0}"),
        )),
        (false, None) => None,
    };
    if let Some((due, how)) = held {
        // Reported once; the entry shows it while it lasts.
        let report = entry.usage.held_since.is_none().then(|| {
            let message = format!("{id} is still in use (last from {from}); {how}");
            Report::new(EventName::RetirementHeld, message).token(id)
        });
        let write = cx.write_entry(id, |entry| {
            entry.due = due;
            entry.usage.held_since.get_or_insert(cx.now.wall);
            entry.usage.used_from.clone_from(&info.last_used_ip);
        });
        return Some(write.reports(report));
    }
    let is_left = !cx.env().capabilities.disable && cx.plan().at_max_grace == AtMaxGrace::Leave;
    is_left.then(|| leave(cx, entry, info, quiet))
}

/// A token that cannot be disabled, and whose deletion cannot be undone, is left while it is used, and reported.
fn leave(cx: &Context<'_>, entry: &Retiring, info: &TokenInfo, quiet: Timestamp) -> Change {
    let id = &entry.id;
    let end = match info.expires {
        Some(end) => format!("until it expires at {end:.0}"),
        None => "although it never expires".to_owned(),
    };
    let message = format!(
        "{id} is still in use (last from {}) and cannot be disabled, so it is left {end}. Make its consumers read the new value; it is deleted when it \
         has been unused for `grace`",
        used_from(info)
    );
    let mut report = Report::new(EventName::RetirementBlocked, message.clone()).token(id);
    let write = cx.write_entry(id, |entry| {
        entry.usage.held_since = None;
        if transition::fail_entry(entry, EntryReason::StillUsed, &message, quiet, cx.now) {
            report.level = Level::Debug;
        }
    });
    write.report(report)
}

pub(super) fn used_from(info: &TokenInfo) -> &str {
    info.last_used_ip.as_deref().unwrap_or("an unknown address")
}

/// When it will have been unused for a grace, if it is not yet.
pub(super) fn used_until(
    cx: &Context<'_>,
    entry: &Retiring,
    info: &TokenInfo,
) -> Option<Timestamp> {
    quiet_at(cx, entry, info).filter(|quiet| *quiet > cx.now.wall)
}

/// When it will have been unused for a grace; none = it was not used after its successor was stored. The last use is coarse, so the first
/// moment of a grace does not count.
pub(super) fn quiet_at(cx: &Context<'_>, entry: &Retiring, info: &TokenInfo) -> Option<Timestamp> {
    let used = info.last_used.filter(|used| *used > entry.since)?;
    (!is_trial(entry, used)).then(|| after(used, cx.plan().grace))
}

/// What happened at `at` can be dtrotate's own trial of the value.
pub(super) fn is_trial(entry: &Retiring, at: Timestamp) -> bool {
    let tried = entry.usage.tried_at;
    tried.is_some_and(|tried| tried.duration_until(at).abs() < TRIAL)
}
