//! What findings have in common.

use std::time::Duration;

use jiff::Timestamp;

use rotation::error::{CallError, ErrorKind};
use rotation::token::TokenInfo;

use super::Grade;

/// What a failed call means here.
pub(super) fn grade(error: &CallError) -> Grade {
    match error.kind {
        ErrorKind::Transient | ErrorKind::RateLimited | ErrorKind::Unclear => Grade::Unreachable,
        _ => Grade::Error,
    }
}

/// When a token ends, for a sentence.
pub(super) fn ends(info: &TokenInfo) -> String {
    match info.expires {
        None => "never expires".to_owned(),
        Some(at) => format!("ends on {}", rough_time(at)),
    }
}

/// A time for a sentence, to the minute.
pub(super) fn rough_time(at: Timestamp) -> String {
    at.strftime("%F %R UTC").to_string()
}

/// A length of time for a sentence: days, or hours below two days, or seconds below two hours.
pub(super) fn rough(length: Duration) -> String {
    match length.as_secs() {
        seconds if seconds < 2 * 3600 => format!("{seconds} s"),
        seconds if seconds < 48 * 3600 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86400),
    }
}

/// What a finding about an environment is about.
pub(super) fn title(environment: &str) -> String {
    format!("environment {environment}")
}
