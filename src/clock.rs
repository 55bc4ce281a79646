//! The one place that reads the wall clock. Everything else takes `now` as an argument or asks here.

use std::time::Duration;

use jiff::Timestamp;

/// The local wall clock. It is evidence, not a fact: it may jump, and it may differ from the servers' clocks.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the place where the wall clock is read"
)]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// The time that it is after this.
pub fn after(wait: Duration) -> Timestamp {
    now().saturating_add(wait).unwrap_or(Timestamp::MAX)
}
