//! A journal document that contradicts itself, another document or the time is not worked by: it may have been edited, or written by a clock
//! that was wrong.

use std::collections::BTreeSet;
use std::time::Duration;

use super::context::Context;
use super::record::{Retiring, Trigger};
use super::request::after;

/// A time further ahead than this was written by a wrong clock. Servers and machines agree to within this, or nothing is due.
pub const AHEAD: Duration = Duration::from_secs(300);
/// The configured lengths may have been longer when the document was written: less than a day or a year is not judged by the present ones.
const DAY: Duration = Duration::from_secs(24 * 3600);
const YEAR: Duration = Duration::from_secs(366 * 24 * 3600);

/// What is wrong with the document, and what to do.
pub fn implausible(cx: &Context<'_>) -> Option<String> {
    if cx.is_new {
        return None;
    }
    contradiction(cx).or_else(|| future(cx)).map(|what| {
        format!(
            "the journal document of {} is implausible: {what}",
            cx.plan().name
        )
    })
}

fn contradiction(cx: &Context<'_>) -> Option<String> {
    let (record, env, name) = (cx.record, cx.env(), &cx.plan().name);
    let installation = &env.fresh_epoch.installation;
    if record.epoch.installation != *installation {
        return Some(format!(
            "it belongs to the installation {}, and this one is {installation}. If the journal's document \
             `_installation` was lost, restore its older version or write installation={} into it and restart; if this document was copied, delete it",
            record.epoch.installation, record.epoch.installation
        ));
    }
    if !record.epoch.is_a_secrets() {
        return Some(
            "its identity is that of all pruned tokens, so each of them would be taken for one of this secret. Delete it; what is there is \
             recorded again"
                .to_owned(),
        );
    }
    if record.name != *name {
        return Some(format!(
            "it is the document of {}, copied. Delete it; what is there is recorded again",
            record.name
        ));
    }
    if let Some(other) = cx.other_with_epoch(&record.epoch) {
        return Some(format!(
            "it has the same identity as that of {other}, so each would retire the other's tokens. Delete the one that was copied"
        ));
    }
    let mut seen = BTreeSet::new();
    if let Some(entry) = record.retiring.iter().find(|entry| !seen.insert(&entry.id)) {
        return Some(format!(
            "{} is in `retiring` twice; remove one entry",
            entry.id
        ));
    }
    if let Some(id) = record.current_id().filter(|id| seen.contains(id)) {
        return Some(format!(
            "{id} is in `current` and in `retiring`; remove it from `retiring`"
        ));
    }
    let open = record.open.iter().map(|open| open.attempt);
    let claimed = record.claimed_attempt().map(|attempt| attempt.n);
    let highest = open.chain(claimed).max();
    if highest.is_some_and(|n| n > record.attempts.attempt) {
        return Some("an attempt has a higher number than `attempt`; correct `attempt`".to_owned());
    }
    None
}

/// Times ahead of the servers' clocks.
fn future(cx: &Context<'_>) -> Option<String> {
    if !cx.clock_is_trusted() {
        return None;
    }
    let latest = cx.now.after(AHEAD);
    let name = &cx.plan().name;
    if let Some(due) = cx.record.last_due.filter(|due| *due > latest)
        && cx.wanted().1 != Trigger::Command
    {
        return Some(format!(
            "`last_due` is {due:.0}, which is in the future, so nothing would be due until then. Run `dtrotate rotate {name}` to reset it"
        ));
    }
    let held = after(latest, cx.plan().settle.max(DAY));
    if let Some(until) = cx.record.health.hold_until.filter(|until| *until > held) {
        return Some(format!(
            "`hold_until` is {until:.0}, and no retirement is held longer than `settle`. Remove it from the document"
        ));
    }
    let plan = cx.plan();
    let longest = plan.grace.max(plan.max_grace).max(plan.quarantine);
    let last = after(latest, longest.max(YEAR));
    let ahead = |entry: &&Retiring| !entry.is_newer() && (entry.since > latest || entry.due > last);
    let entry = cx.record.retiring.iter().find(ahead)?;
    Some(format!(
        "the retirement of {} began at {:.0} and continues at {:.0}, which is too far in the future. Correct `since` and `due` of its entry, or run \
         `dtrotate forget {name} --token {}`",
        entry.id, entry.since, entry.due, entry.id
    ))
}
