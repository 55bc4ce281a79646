//! What one channel has delivered, compared with what is open. Pure: `now` is an argument.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Group, Notice, Phase, REFRESH, Troubles};

/// A notice that was delivered and whose condition is still open, with the text of its first delivery: repeated with the same text, it stays one
/// problem. Without a time, its beginning was not delivered: the notice of its end is the first that people get.
#[derive(Default)]
pub(super) struct Ledger(BTreeMap<String, (Notice, Option<Instant>)>);

impl Ledger {
    /// What is to be sent now: the new ones first, then those that last, then the ends.
    pub(super) fn due(&self, troubles: &Troubles, now: Instant) -> Vec<(String, Notice, Phase)> {
        let mut due = Vec::new();
        for (key, notice) in troubles {
            match self.0.get(key) {
                None | Some((_, None)) => {
                    due.push((key.clone(), notice.clone(), Phase::Begins));
                }
                Some((told, Some(at))) if now.saturating_duration_since(*at) >= REFRESH => {
                    due.push((key.clone(), told.clone(), Phase::Lasts));
                }
                Some(_) => {}
            }
        }
        for (key, (told, _)) in &self.0 {
            if !troubles.contains_key(key) {
                due.push((key.clone(), told.clone(), Phase::Over));
            }
        }
        due.sort_by_key(|(_, _, phase)| *phase);
        due
    }

    /// It was delivered.
    pub(super) fn delivered(&mut self, key: String, notice: Notice, phase: Phase, now: Instant) {
        match phase {
            Phase::Begins | Phase::Lasts => {
                self.0.insert(key, (notice, Some(now)));
            }
            Phase::Over => {
                self.0.remove(&key);
            }
        }
    }

    /// These were not delivered.
    pub(super) fn failed(&mut self, group: Group) {
        let begun = group.into_iter().filter(|one| one.2 == Phase::Begins);
        self.0
            .extend(begun.map(|(key, notice, _)| (key, (notice, None))));
    }

    /// How long nothing is due, if nothing changes.
    pub(super) fn rest(&self, now: Instant) -> Duration {
        let first = self.0.values().filter_map(|(_, at)| *at).min();
        let next = first.map_or(now + REFRESH, |at| at + REFRESH);
        next.saturating_duration_since(now)
    }
}
