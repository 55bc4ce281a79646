//! A secret that the configuration moved: told at once, and gone on with at the new place when a person says so.

use super::event::{EventName, Level, Report};
use super::facts::{Command, Now, Verdict};
use super::machine::{Run, Then};
use super::record::{Proof, Reason, RetiringState, Trigger};

impl Run {
    /// The configuration names another place, field, environment or URL than the document.
    pub(super) fn is_moved(&self) -> bool {
        self.record()
            .is_some_and(|record| !record.coordinates.same_place(&self.errand.plan.coordinates))
    }

    /// The configuration moved it: that is told at once, and not at its next due time; and so is that it moved back.
    pub(super) fn notice_move(&mut self, now: Now) -> Option<Command> {
        let moved = self.is_moved() && !self.errand.leaving;
        let failure = self.record()?.failure.as_ref();
        let known = failure.is_some_and(|failure| failure.reason == Reason::Moved);
        match (moved, known) {
            (true, false) => Some(self.move_house(now)),
            // Only after a start or a change of settings: another replica may have the newer ones.
            (false, true) if self.fresh => {
                let mut record = self.draft();
                record.failure = None;
                let message = format!("it is over: the secret is at {} again", record.coordinates);
                let mut report = Report::new(EventName::RotationStuck, message).at(Level::Info);
                report.reason = Some(Reason::Moved);
                Some(self.write(record, vec![report], Then::Go, now))
            }
            _ => None,
        }
    }

    /// Takes the new coordinates over, as a person asked for by `rotate NAME`. Open attempts must be settled at the old place first:
    /// their fences are versions of the old secret.
    pub(super) fn move_house(&mut self, now: Now) -> Command {
        let by_command = self
            .errand
            .wish
            .as_ref()
            .is_some_and(|wish| wish.trigger == Trigger::Command);
        let open = self.record().is_some_and(|record| !record.open.is_empty());
        let new = &self.errand.plan.coordinates;
        let abroad = new.base_url != self.place().base_url;
        let old = self.place().difference(new);
        let new = new.difference(self.place());
        let former = self.record().and_then(|record| record.current.as_ref());
        let former = former.map_or(String::new(), |former| match abroad {
            true => format!("; {} can only be ended at its own URL", former.id),
            false => format!("; where another token stands, {} retires", former.id),
        });
        if self.errand.dry {
            return self.finish(Verdict::Would(format!(
                "{}: would accept its move from {old} to {new} and go on there{former}",
                self.errand.plan.name
            )));
        }
        if !by_command || open {
            let message = format!(
                "the configuration moved this secret from {old} to {new}; check that the new place holds the right token, then run \
                 `dtrotate rotate {}` to accept it{former}{}",
                self.errand.plan.name,
                if open {
                    " (an interrupted attempt at the old place is being settled first; try again in a while)"
                } else {
                    ""
                }
            );
            return self.fail(Reason::Moved, message, None, now);
        }
        let mut record = self.draft();
        if abroad && let Some(current) = record.current.take() {
            // It belongs to the URL that it was made at. If it stands at the new one, too, it comes back from there.
            let proof = Proof::Version(current.version);
            self.put_into_grace(&mut record, &current.id, 0, proof, now);
        }
        record.coordinates = self.errand.plan.coordinates.clone();
        if let Some(current) = &mut record.current {
            current.version = 0;
        }
        // Versions count anew at the new place; a token that retires here must be looked for there from the first version on.
        for entry in &mut record.retiring {
            entry.base = 0;
            if entry.state == RetiringState::Grace {
                entry.due = entry.due.max(now.wall);
            }
        }
        let report = Report::new(
            EventName::SecretAdopted,
            format!("moved from {old} to {new}"),
        )
        .at(Level::Info);
        self.write(record, vec![report], Then::Refresh, now)
    }
}
