//! The exit status of every command.

use rotation::error::{CallError, ErrorKind};

/// How a command ended; the graver, the greater. Of several secrets the gravest counts, not the greatest number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Exit {
    /// Everything was done.
    Success,
    /// Another process holds the claim; try again later.
    Busy,
    /// Vault or Dynatrace cannot be reached.
    Unreachable,
    /// It was tried and failed, or a human is needed.
    Failed,
    /// Wrong usage.
    Usage,
    /// The configuration is not valid.
    BadConfig,
}

impl Exit {
    /// The number that the shell sees.
    pub(super) fn code(self) -> u8 {
        match self {
            Exit::Success => 0,
            Exit::Busy => 75,
            Exit::Unreachable => 69,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::BadConfig => 78,
        }
    }

    /// What a failed call means.
    pub(super) fn of(error: &CallError) -> Exit {
        match error.kind {
            ErrorKind::Transient | ErrorKind::RateLimited | ErrorKind::Unclear => Exit::Unreachable,
            // Other processes wrote its journal document again and again.
            ErrorKind::Conflict => Exit::Busy,
            ErrorKind::Refused
            | ErrorKind::Exhausted
            | ErrorKind::Closed
            | ErrorKind::Unauthorized
            | ErrorKind::Gone => Exit::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gravest_counts_and_not_the_greatest_number() {
        use Exit::{BadConfig, Busy, Failed, Success, Unreachable, Usage};
        let ranked = [BadConfig, Usage, Failed, Unreachable, Busy, Success];
        assert_eq!(ranked.map(Exit::code), [78, 2, 1, 69, 75, 0]);
        assert!(ranked.is_sorted_by(|graver, other| graver > other));
    }
}
