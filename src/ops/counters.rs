//! What is counted while the daemon runs.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use rotation::error::{CallError, ErrorKind, Service};
use rotation::event::{EventName, Level};

/// Upper ends of the duration histogram, in seconds: a rotation is seven calls of some ten milliseconds, up to several of ten seconds.
pub(super) const BUCKETS: [f64; 9] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// How a call to a service ended.
pub(super) const OUTCOMES: [&str; 8] = [
    "ok",
    "transient",
    "refused",
    "unauthorized",
    "gone",
    "conflict",
    "unclear",
    "rate_limited",
];

/// What was counted since the start.
#[derive(Default)]
pub struct Counters(Mutex<Counted>);

#[derive(Default)]
pub(super) struct Counted {
    /// By environment ("" = Vault) and outcome.
    pub(super) calls: BTreeMap<(String, usize), u64>,
    /// By environment and outcome.
    pub(super) rotations: BTreeMap<(String, &'static str), u64>,
    pub(super) events: BTreeMap<&'static str, u64>,
    /// By channel and outcome.
    pub(super) notifications: BTreeMap<(&'static str, &'static str), u64>,
    pub(super) buckets: [u64; BUCKETS.len()],
    pub(super) duration_sum: f64,
    pub(super) duration_count: u64,
}

impl Counters {
    pub(super) fn lock(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// A call ended. `environment` does not matter for Vault.
    pub fn called(&self, service: Service, environment: &str, error: Option<&CallError>) {
        let name = match service {
            Service::Vault => "",
            Service::Dynatrace => environment,
        };
        let outcome = match error.map(|error| error.kind) {
            None => 0,
            Some(ErrorKind::Transient) => 1,
            Some(ErrorKind::Refused) => 2,
            Some(ErrorKind::Unauthorized) => 3,
            Some(ErrorKind::Gone) => 4,
            Some(ErrorKind::Conflict) => 5,
            Some(ErrorKind::Unclear) => 6,
            Some(ErrorKind::RateLimited) => 7,
            Some(ErrorKind::Exhausted | ErrorKind::Closed) => 2,
        };
        *self
            .lock()
            .calls
            .entry((name.to_owned(), outcome))
            .or_default() += 1;
    }

    /// An attempt to deliver a notification ended.
    pub fn notified(&self, channel: &'static str, ok: bool) {
        let outcome = if ok { "succeeded" } else { "failed" };
        let mut counted = self.lock();
        *counted.notifications.entry((channel, outcome)).or_default() += 1;
    }

    /// Something happened to a secret; `took` is how long a rotation that succeeded took.
    pub fn event(&self, event: EventName, level: Level, environment: &str, took: Duration) {
        let mut counted = self.lock();
        if level > Level::Debug {
            *counted.events.entry(event.as_str()).or_default() += 1;
        }
        let outcome = match event {
            EventName::RotationSucceeded => "succeeded",
            EventName::RotationFailed => "failed",
            EventName::RotationStuck => "stuck",
            _ => return,
        };
        *counted
            .rotations
            .entry((environment.to_owned(), outcome))
            .or_default() += 1;
        if event == EventName::RotationSucceeded {
            let seconds = took.as_secs_f64();
            counted.duration_sum += seconds;
            counted.duration_count += 1;
            for (bucket, end) in counted.buckets.iter_mut().zip(BUCKETS) {
                *bucket += u64::from(seconds <= end);
            }
        }
    }
}
