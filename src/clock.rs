//! The one place that reads the wall clock. Everything else takes `now` as an argument or asks here.

use jiff::Timestamp;

/// The local wall clock. It is evidence, not a fact: it may jump, and it may differ from the servers' clocks.
pub fn now() -> Timestamp {
    Timestamp::now()
}
