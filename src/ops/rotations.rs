//! The last rotations of one secret, from its history.

use jiff::Timestamp;

use rotation::event::EventName;
use rotation::history::Event;

/// So many are shown.
pub const LAST: usize = 12;

/// One rotation, from its first attempt to its success or to now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// When it succeeded, or failed last.
    pub at: Timestamp,
    /// How many attempts failed.
    pub failed: u32,
    /// The last attempt succeeded.
    pub succeeded: bool,
}

/// The last rotations, oldest first. Attempts of one rotation count as one.
pub fn last<'a>(events: impl IntoIterator<Item = &'a Event>) -> Vec<Rotation> {
    let mut all: Vec<Rotation> = vec![];
    for event in events {
        let Some(succeeded) = outcome(&event.event) else {
            continue;
        };
        let failed = u32::from(!succeeded);
        match all.last_mut().filter(|last| !last.succeeded) {
            Some(open) => {
                open.at = event.at;
                open.failed += failed;
                open.succeeded = succeeded;
            }
            None => all.push(Rotation {
                at: event.at,
                failed,
                succeeded,
            }),
        }
    }
    let surplus = all.len().saturating_sub(LAST);
    all.drain(..surplus);
    all
}

/// Whether the event is the success of a rotation or the failure of an attempt; none = it is neither.
fn outcome(event: &str) -> Option<bool> {
    match EventName::from_word(event)? {
        EventName::RotationSucceeded | EventName::SecretCreated => Some(true),
        EventName::RotationFailed
        | EventName::RotationStuck
        | EventName::TokenLimitReached
        | EventName::MintAnswerMismatch => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(seconds: i64, word: &str) -> Event {
        let at = Timestamp::from_second(seconds).unwrap();
        serde_json::from_value(json!({ "at": at, "event": word })).unwrap()
    }

    #[test]
    fn the_attempts_of_one_rotation_are_one() {
        let events = [
            event(1, "rotation_succeeded"),
            event(2, "token_disabled"),
            event(3, "rotation_failed"),
            event(4, "rotation_stuck"),
            event(5, "rotation_succeeded"),
            event(6, "a_word_of_a_newer_version"),
            event(7, "rotation_failed"),
        ];
        let all = last(&events);
        let found: Vec<(i64, u32, bool)> = all
            .iter()
            .map(|one| (one.at.as_second(), one.failed, one.succeeded))
            .collect();
        assert_eq!(found, [(1, 0, true), (5, 2, true), (7, 1, false)]);
        let many: Vec<Event> = (0..100).map(|n| event(n, "rotation_succeeded")).collect();
        assert_eq!(last(&many).len(), LAST);
        assert_eq!(last(&many)[LAST - 1].at.as_second(), 99);
    }
}
