//! Is the value in Vault still the one that the journal knows? Every secret is looked at now and then, a few at a time: by its metadata, and
//! where these show another version, by a run.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use jiff::Timestamp;

use crate::clock;
use rotation::error::{CallError, ErrorKind};
use rotation::ports::SecretPath;
use rotation::record::Record;

use super::Daemon;
use super::assemble::LatestVersion;
use super::background::Apply;
use super::entry::Entry;

/// Each secret is looked at once in so many sweep intervals, and once in an hour at least.
const SWEEPS: u32 = 6;
const AT_LEAST: Duration = Duration::from_secs(60 * 60);
/// Reads at the same time.
const AT_ONCE: usize = 8;
/// The kind of the task in the background.
const KIND: &str = "values";

impl Daemon {
    /// Looks at the next few secrets.
    pub(super) fn look_at_values(&mut self) {
        let ready = self.looked_at_all && self.office.services.vault_outage().is_none();
        if !ready || self.background.is_under_way(KIND) {
            return;
        }
        let period = AT_LEAST.min(self.settings.daemon.sweep * SWEEPS);
        let names = self.values.take(&self.roster, period, Instant::now());
        let places = names.into_iter().filter_map(|name| {
            let entry = self.roster.get(&name)?;
            let coordinates = &entry.plan.coordinates;
            let is_wanted = entry.knows_its_value() && !self.queue.is_busy(&name);
            let environment = coordinates.environment.clone();
            is_wanted.then(|| (name, environment, SecretPath::from(coordinates)))
        });
        let places: Vec<_> = places.collect();
        if places.is_empty() {
            return;
        }
        let (store, services) = (
            self.office.wired.store.clone(),
            self.office.services.clone(),
        );
        self.background.begin(KIND, async move {
            let reads = stream::iter(places).map(async |(name, environment, at)| {
                let latest = store.latest(&at).await;
                services.called(&environment, "read", latest.as_ref().err());
                (name, latest)
            });
            let read: Vec<_> = reads.buffer_unordered(AT_ONCE).collect().await;
            Box::new(move |daemon: &mut Daemon| {
                for (name, latest) in read {
                    daemon.value_read(&name, latest);
                }
            }) as Apply
        });
    }

    /// A run looks at what is not as the journal says, and at what may not be read, which it reports.
    fn value_read(&mut self, name: &str, latest: Result<LatestVersion, CallError>) {
        let now = clock::now();
        let is_busy = self.queue.is_busy(name);
        let Some(entry) = self.roster.get_mut(name).filter(|_| !is_busy) else {
            return;
        };
        let differs = match latest {
            Ok(latest) => entry.note_latest(latest, now),
            Err(error) => error.kind == ErrorKind::Refused,
        };
        if differs {
            entry.doubt = true;
            entry.request_reread(now);
        }
        self.plan(name, now);
        self.rearm(name, now);
    }
}

/// What is known of the latest version of a secret, beside its document.
#[derive(Clone, PartialEq)]
pub struct KnownValue {
    /// The version that the next run looks at.
    looking_at: Option<u64>,
    /// The version in which a run last found nothing wrong, although it is not the one in the document.
    is_right: Option<u64>,
    /// When Vault deletes a version, and which.
    ends: Option<(u64, Timestamp)>,
}

impl KnownValue {
    /// Nothing is known.
    pub(super) const NOTHING: KnownValue = KnownValue {
        looking_at: None,
        is_right: None,
        ends: None,
    };
}

impl Entry {
    /// There is something to compare the value with, and what is wrong with it is not yet known.
    fn knows_its_value(&self) -> bool {
        let enabled = self.settings.as_ref().is_some_and(|it| it.enabled);
        let comparable = |record: &Record| {
            let here = record.coordinates.same_place(&self.plan.coordinates);
            let is_valid = record.current.is_some() && record.health.invalid.is_none();
            here && is_valid && record.claim.is_none()
        };
        enabled && self.record().is_some_and(|record| comparable(&record))
    }

    /// Takes note of the latest version. `true` = a run has to look at it.
    fn note_latest(&mut self, latest: LatestVersion, now: Timestamp) -> bool {
        let recorded = self.recorded_version();
        let number = Some(latest.number);
        let is_there = latest.is_there && latest.ends.is_none_or(|ends| ends > now);
        let differs = !is_there || number != recorded && number != self.value.is_right;
        self.value.ends = latest
            .ends
            .filter(|_| is_there)
            .map(|ends| (latest.number, ends));
        self.value.looking_at = number.filter(|_| differs);
        differs
    }

    /// A run has come to its end, and found the value in order or not.
    pub(super) fn value_was_looked_at(&mut self, in_order: bool) {
        let looked_at = self.value.looking_at.take();
        self.value.is_right = looked_at.filter(|_| in_order).or(self.value.is_right);
    }

    /// The version that holds the value by the document.
    fn recorded_version(&self) -> Option<u64> {
        Some(self.record()?.current.as_ref()?.version)
    }

    /// When Vault deletes the value, as far as that is known of the version that holds it; `recorded` = by the document.
    pub(super) fn value_ends(&self, recorded: u64) -> Option<Timestamp> {
        let holds = |number: &u64| *number == recorded || Some(*number) == self.value.is_right;
        let (_, ends) = self.value.ends.filter(|(number, _)| holds(number))?;
        Some(ends)
    }

    /// Vault deletes the version that was looked at last, and the value is in another one by now.
    pub(super) fn value_may_end(&self) -> bool {
        let ends = || self.value_ends(self.recorded_version()?);
        self.value.ends.is_some() && ends().is_none()
    }
}
