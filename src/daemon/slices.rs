//! Visits to all secrets, spread over a period: a few of them at a time, in the order of their names.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::time::{Duration, Instant};

use super::queue::Key;

/// Where one kind of visits has come to.
pub struct Slices {
    /// The name that was visited last.
    last: Key,
    /// Visits that are due, with the fraction of the next one.
    owed: f64,
    counted_until: Option<Instant>,
    /// Names whose turn is next.
    first: BTreeSet<Key>,
}

impl Default for Slices {
    fn default() -> Self {
        Slices {
            last: "".into(),
            owed: 0.0,
            counted_until: None,
            first: BTreeSet::new(),
        }
    }
}

impl Slices {
    /// All are due now.
    pub fn hurry(&mut self) {
        self.owed = f64::INFINITY;
    }

    /// This one is due now, out of its turn.
    pub fn put_first(&mut self, name: &str) {
        self.first.insert(name.into());
    }

    /// The names that are due now, when each is visited once in a `period`.
    pub fn take<T>(&mut self, all: &BTreeMap<Key, T>, period: Duration, now: Instant) -> Vec<Key> {
        let since = self.counted_until.replace(now).unwrap_or(now);
        let part = now.saturating_duration_since(since).as_secs_f64() / period.as_secs_f64();
        let most = all.len() as f64;
        self.owed = (self.owed + part * most).min(most);
        let due = self.owed.floor();
        self.owed -= due;
        let after = (Excluded(&*self.last), Unbounded);
        let after = all.range::<str, _>(after);
        let mut names: Vec<Key> = after
            .chain(all.iter())
            .take(due as usize)
            .map(|(name, _)| name.clone())
            .collect();
        if let Some(last) = names.last() {
            self.last.clone_from(last);
        }
        for name in std::mem::take(&mut self.first) {
            if all.contains_key(&name) && !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_visited_once_in_a_period_and_all_at_once_when_asked() {
        let all: BTreeMap<Key, ()> = ["a", "b", "c", "d", "e"]
            .map(|name| (name.into(), ()))
            .into();
        let began = Instant::now();
        let period = Duration::from_secs(10);
        let mut slices = Slices::default();
        let names = |taken: Vec<Key>| {
            taken
                .iter()
                .map(|name| name.to_string())
                .collect::<Vec<_>>()
        };
        let mut take =
            |seconds| names(slices.take(&all, period, began + Duration::from_secs(seconds)));
        assert!(take(0).is_empty());
        assert!(take(1).is_empty());
        assert_eq!(take(2), ["a"]);
        assert_eq!(take(6), ["b", "c"]);
        assert_eq!(take(10), ["d", "e"]);
        assert_eq!(take(12), ["a"]);
        // However long nothing was asked, nobody is visited twice.
        assert_eq!(take(100), ["b", "c", "d", "e", "a"]);
        slices.put_first("d");
        slices.put_first("gone");
        let now = began + Duration::from_secs(101);
        assert_eq!(names(slices.take(&all, period, now)), ["d"]);
        slices.hurry();
        let now = began + Duration::from_secs(100);
        assert_eq!(
            names(slices.take(&all, period, now)),
            ["b", "c", "d", "e", "a"]
        );
        assert!(
            slices
                .take(&BTreeMap::<Key, ()>::new(), period, now)
                .is_empty()
        );
    }
}
