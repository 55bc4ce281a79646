//! Who wrote the journal's documents: the processes that the documents name, with the time of the latest write that was read.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use rotation::record::Writer;

/// Processes that are remembered; the one that has not written for longest is forgotten first.
const MOST: usize = 200;

/// The processes that wrote documents, by instance name and boot mark. Shared by all who read them.
#[derive(Clone, Default)]
pub struct Writers(Arc<Mutex<BTreeMap<(String, String), Writer>>>);

impl Writers {
    /// A document was read that this process wrote last.
    pub(super) fn note(&self, writer: &Writer) {
        let mut known = self.0.lock().unwrap_or_else(|e| e.into_inner());
        let key = (writer.instance.clone(), writer.boot.clone());
        let latest = known.entry(key).or_insert_with(|| writer.clone());
        latest.at = latest.at.max(writer.at);
        if known.len() > MOST {
            let oldest = known.iter().min_by_key(|(_, writer)| writer.at);
            let oldest = oldest.map(|(key, _)| key.clone());
            oldest.map(|key| known.remove(&key));
        }
    }

    /// All of them.
    pub fn all(&self) -> Vec<Writer> {
        let known = self.0.lock().unwrap_or_else(|e| e.into_inner());
        known.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn the_latest_write_of_each_process_counts_and_the_oldest_one_is_forgotten() {
        let writers = Writers::default();
        let note = |number: usize, second| {
            writers.note(&Writer {
                instance: format!("i{number}"),
                boot: "b".into(),
                daemon: true,
                at: Timestamp::from_second(second).unwrap(),
            });
        };
        note(0, 9);
        note(0, 5);
        assert_eq!(writers.all()[0].at.as_second(), 9);
        (1..=MOST).for_each(|number| note(number, 10));
        assert_eq!(writers.all().len(), MOST);
        assert!(writers.all().iter().all(|one| one.instance != "i0"));
    }
}
