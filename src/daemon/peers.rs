//! The other daemons on this journal, as its documents name them.

use jiff::{SignedDuration, Timestamp};

use crate::clock;
use crate::ops::condition::Condition;
use rotation::event::EventName;
use rotation::record::Writer;
use rotation::request::after;

use super::Daemon;
use super::conditions::Subject;

/// A predecessor may write so long after its successor began: it ends its runs, and the clocks of two machines differ a little.
const OVERLAP: SignedDuration = SignedDuration::from_secs(10);

impl Daemon {
    /// Notes who else writes to the journal. Another process under this daemon's name is an open condition.
    pub(super) fn note_peers(&mut self) {
        let writers = self.office.wired.ledger.writers().all();
        let now = clock::now();
        self.note_replicas(&writers, now);
        let namesakes = writers.iter().filter_map(|writer| {
            let ends = after(writer.at, self.settings.daemon.sweep * 3);
            let is_other = writer.instance == self.instance && writer.boot != self.boot;
            let wrote = is_other && writer.daemon && is_alive_beside(writer, self.began);
            (wrote && now < ends).then(|| namesake(writer, ends))
        });
        let conditions = namesakes.collect();
        self.office.conditions.set(Subject::Namesakes, conditions);
    }
}

/// It wrote when a predecessor of a process that began at `began` had ended.
fn is_alive_beside(writer: &Writer, began: Timestamp) -> bool {
    began.duration_until(writer.at) > OVERLAP
}

fn namesake(writer: &Writer, ends: Timestamp) -> Condition {
    let message = format!(
        "another daemon uses the instance name {:?}; it wrote to the journal at {:.0}. Set `DTROTATE_INSTANCE` to a different name for each",
        writer.instance, writer.at
    );
    let mut condition = Condition::new(EventName::InstanceNameConflict, message, writer.at)
        .subject(writer.boot.clone());
    condition.next_try = Some(ends);
    condition
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_predecessor_that_ends_its_runs_is_no_conflict() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let wrote = |second| Writer {
            instance: "i".into(),
            boot: "other".into(),
            daemon: true,
            at: at(second),
        };
        assert!(!is_alive_beside(&wrote(90), at(100)));
        assert!(!is_alive_beside(&wrote(110), at(100)));
        assert!(is_alive_beside(&wrote(111), at(100)));
    }
}
