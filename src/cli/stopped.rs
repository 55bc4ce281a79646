//! What a command that is stopped says.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::daemon::foreground::Foreground;
use crate::daemon::foreground::stopping::Stop;
use crate::ops::humanize::count;

/// A stop has begun.
pub(super) fn begins(stop: Stop, left: Duration) -> String {
    let why = match stop {
        Stop::Signal => "stopping (a second signal ends it at once)",
        Stop::Deadline => "stopping, because the time is up",
    };
    let seconds = left.as_secs_f64().ceil();
    format!(
        "{why}: no further work begins; within {seconds}s the work in progress is finished or its claim is released"
    )
}

/// What was done before a stop, and what was not.
pub(super) fn ended(foreground: &Foreground<'_>, left: &BTreeSet<String>, all: usize) -> String {
    let (cut, not_begun): (Vec<&str>, Vec<&str>) = left
        .iter()
        .map(String::as_str)
        .partition(|name| foreground.has_begun(name));
    let mut text = format!(
        "stopped: {} of {} ended",
        all - left.len(),
        count(all, "secret")
    );
    if !not_begun.is_empty() {
        text += &format!("; not begun: {}", not_begun.join(", "));
    }
    if !cut.is_empty() {
        text += &format!(
            "; unfinished, to be continued from the journal after `claim_timeout`: {}",
            cut.join(", ")
        );
    }
    text
}
