//! What the outside is shown of a secret, and what its conditions are computed from.

use jiff::Timestamp;

use crate::ops::known::Known;
use crate::ops::secret::{Secret, State};
use crate::schedule::due;
use rotation::record::Record;

use super::{Entry, Surroundings};

impl Entry {
    /// What is known of it and of its document, to compute its conditions and its state from.
    pub fn facts<'a>(
        &'a self,
        name: &'a str,
        record: Option<&'a Record>,
        around: &Surroundings<'a>,
    ) -> Known<'a> {
        let input = record.and_then(|record| self.input(record, around.now, around.able_since));
        Known {
            unserved_since: input.and_then(|input| due::unserved_since(&input)),
            ..self.known_to(name, record, around)
        }
    }

    /// The same without what only its conditions depend on.
    fn known_to<'a>(
        &'a self,
        name: &'a str,
        record: Option<&'a Record>,
        around: &Surroundings<'a>,
    ) -> Known<'a> {
        // What is due later than now has nothing to do with the retry of a rotation that a command, or a sweep, had begun.
        let due = self.due.as_ref();
        let due = due.filter(|due| self.retrying.is_some() && due.at <= around.now);
        let retry = due.map(|due| self.starts_at(due, around.now));
        Known {
            name,
            coordinates: &self.plan.coordinates,
            labels: self.settings.as_ref().map(|settings| &settings.labels),
            desired: self
                .settings
                .as_ref()
                .map(|settings| &settings.plan.desired),
            zone: self.settings.as_ref().map(|it| it.zone_name.as_str()),
            configured: self.settings.is_some(),
            enabled: self.settings.as_ref().is_some_and(|it| it.enabled),
            read: self.known.is_some(),
            record,
            unusable: self.unusable.as_ref(),
            failing: self.failing.as_ref(),
            unserved_since: None,
            progress: around.progress && self.failing.is_none(),
            able_since: around.able_since,
            next: self.due.as_ref().map(|due| due.at),
            next_try: self.not_before.max(retry),
            because: &self.because,
            instance: around.instance,
            as_of: self.known_at,
            settings: self.settings.as_ref().map(|it| it.digest()),
            now: around.now,
        }
    }

    /// Its conditions were computed.
    pub fn evaluated(&mut self, state: State, next: Option<Timestamp>, at: Timestamp) {
        self.state = state;
        self.next_evaluation = next;
        self.evaluated_at = at;
    }

    /// As the outside sees it, by its conditions as they were last computed.
    pub fn show(&self, name: &str, instance: &str) -> Secret {
        let around = Surroundings {
            able_since: Timestamp::MIN,
            progress: false,
            instance,
            now: self.evaluated_at,
        };
        let record = self.record();
        Secret::of(&self.known_to(name, record.as_deref(), &around), self.state)
    }
}
