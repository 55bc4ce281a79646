//! How long to wait before the next try. Pure: the dice are thrown by the caller.

use std::time::Duration;

/// The first wait is up to this.
const FIRST: Duration = Duration::from_secs(2);
/// No wait is longer: after an outage of any length everything is served within the hour.
pub const LONGEST: Duration = Duration::from_secs(3600);

/// The wait before try number `tries + 1`: exponential with full jitter, `dice` being uniform over all of `u64`. A server's wish
/// (`Retry-After`) is the least.
pub fn wait(tries: u32, wish: Option<Duration>, dice: u64) -> Duration {
    let ceiling = FIRST
        .saturating_mul(1u32.checked_shl(tries.min(20)).unwrap_or(u32::MAX))
        .min(LONGEST);
    // The lower tenth is cut off: a retry after almost nothing spreads no load.
    let millis = ceiling.as_millis() as u64;
    let jittered = Duration::from_millis(millis / 10 + dice % (millis - millis / 10 + 1));
    jittered.max(wish.unwrap_or_default()).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_an_hour_and_never_beyond() {
        for tries in 0..200 {
            for dice in [0, 1, u64::MAX / 2, u64::MAX] {
                let wait = wait(tries, None, dice);
                assert!(
                    wait <= LONGEST && wait >= FIRST / 10,
                    "{tries} {dice}: {wait:?}"
                );
            }
        }
        assert!(wait(30, None, 3_600_000 * 9 / 10) > Duration::from_secs(3590));
        assert!(wait(0, None, u64::MAX) <= FIRST);
    }

    #[test]
    fn a_server_that_asks_for_more_time_gets_it() {
        let wish = Some(Duration::from_secs(90));
        assert_eq!(wait(0, wish, 0), Duration::from_secs(90));
        assert_eq!(wait(0, Some(LONGEST * 5), 0), LONGEST);
    }
}
