//! The circuit breaker of one service: available, unavailable and since when, as the calls to it show.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use crate::clock;
use crate::ops::condition::Condition;
use crate::ops::status::{self, ServiceState};
use rotation::error::{CallError, ErrorKind};
use rotation::event::EventName;
use rotation::request;
use rotation::retry;

use super::lock;

/// A shorter outage is not reported: an election of a Vault cluster takes some seconds.
pub(super) const BLIP: Duration = Duration::from_secs(10);
/// The interval of health checks while nothing else is asked. Without them an outage could pass unnoticed, and graces would not be extended.
const WATCH: SignedDuration = SignedDuration::from_secs(10);

/// One service.
pub(super) struct CircuitBreaker {
    pub(super) name: Option<String>,
    state: Mutex<State>,
    /// The last outage that was reported and has ended.
    last: Mutex<Option<request::Outage>>,
    /// An outage has ended since this was last asked.
    returned: Mutex<Option<Return>>,
}

enum State {
    /// Nothing was asked yet.
    Unknown,
    /// The last success.
    Available(Timestamp),
    Unavailable(Unavailable),
}

struct Unavailable {
    since: Timestamp,
    /// The last success before it; none = never.
    worked: Option<Timestamp>,
    began: Instant,
    what: String,
    /// Waiting does not help: a credential was refused.
    refused: bool,
    /// The service no longer has the API.
    closed: bool,
    /// It no longer creates tokens, whatever else it still does: no other call ends this.
    refuses_mints: bool,
    probes: u32,
    next_probe: Instant,
}

impl Unavailable {
    /// It has lasted longer than a blip.
    fn is_reported(&self) -> bool {
        self.refused || self.began.elapsed() >= BLIP
    }
}

/// An outage that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Return {
    /// It was short: what failed in it keeps its own retry.
    AfterBlip,
    /// Everything waited for it.
    AfterOutage,
}

/// What a service's state means for work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// The sentence.
    pub what: String,
    /// Since when.
    pub since: Timestamp,
    /// It has lasted longer than a blip.
    pub reported: bool,
    /// Waiting does not help: a credential was refused.
    pub refused: bool,
}

/// The error concerns every secret of the service.
pub(super) fn is_outage(error: &CallError) -> bool {
    matches!(
        error.kind,
        ErrorKind::Transient | ErrorKind::Unauthorized | ErrorKind::Unclear | ErrorKind::Closed
    )
}

impl CircuitBreaker {
    pub(super) fn new(name: Option<String>) -> Self {
        CircuitBreaker {
            name,
            state: Mutex::new(State::Unknown),
            last: Mutex::default(),
            returned: Mutex::default(),
        }
    }

    /// The last outage that was reported and has ended.
    pub(super) fn last_outage(&self) -> Option<request::Outage> {
        *lock(&self.last)
    }

    /// How the last outage ended, once.
    pub(super) fn take_return(&self) -> Option<Return> {
        lock(&self.returned).take()
    }

    /// Nothing was heard of it for a while.
    pub(super) fn watch_due(&self) -> bool {
        match *lock(&self.state) {
            State::Available(at) => at.duration_until(clock::now()).abs() >= WATCH,
            _ => false,
        }
    }

    /// A health check ended. That a service is healthy does not mean that it accepts our credential, so it ends no outage.
    pub(super) fn watched(&self, answer: Result<(), CallError>) {
        match answer {
            Err(error) => self.fail("watch", &error),
            Ok(()) => {
                if let State::Available(at) = &mut *lock(&self.state) {
                    *at = clock::now();
                }
            }
        }
    }

    pub(super) fn title(&self) -> String {
        match &self.name {
            None => "Vault".to_owned(),
            Some(name) => format!("Dynatrace {name}"),
        }
    }

    /// A call failed in a way that concerns the whole service.
    pub(super) fn fail(&self, step: &str, error: &CallError) {
        let mut state = lock(&self.state);
        let closed = error.kind == ErrorKind::Closed;
        let refuses_mints = closed && step == "mint";
        let refused = error.kind == ErrorKind::Unauthorized || closed;
        let worked = match &mut *state {
            State::Unavailable(outage) => {
                outage.what.clone_from(&error.what);
                outage.refused |= refused;
                outage.closed |= closed;
                outage.refuses_mints |= refuses_mints;
                return;
            }
            State::Available(at) => Some(*at),
            State::Unknown => None,
        };
        *state = State::Unavailable(Unavailable {
            since: clock::now(),
            worked,
            began: Instant::now(),
            what: error.what.clone(),
            refused,
            closed,
            refuses_mints,
            probes: 0,
            next_probe: Instant::now() + error.retry_after.unwrap_or(Duration::from_millis(500)),
        });
    }

    /// A call succeeded.
    pub(super) fn succeed(&self) {
        let mut state = lock(&self.state);
        if let State::Unavailable(outage) = &*state {
            if outage.refuses_mints {
                return;
            }
            // A refusal of one call that is followed by a success is a blip, too: nothing waited for it.
            let lasted = outage.began.elapsed() >= BLIP;
            if lasted {
                *lock(&self.last) = Some(request::Outage {
                    since: outage.worked,
                    until: clock::now(),
                });
            }
            let mut returned = lock(&self.returned);
            if lasted || returned.is_none() {
                *returned = Some(match lasted {
                    true => Return::AfterOutage,
                    false => Return::AfterBlip,
                });
            }
        }
        *state = State::Available(clock::now());
    }

    /// What a reload may have changed is asked again.
    pub(super) fn reopen(&self) {
        let mut state = lock(&self.state);
        if matches!(&*state, State::Unavailable(outage) if outage.closed) {
            *state = State::Unknown;
        }
    }

    fn is_closed(&self) -> bool {
        matches!(&*lock(&self.state), State::Unavailable(outage) if outage.closed)
    }

    pub(super) fn outage(&self) -> Option<Outage> {
        match &*lock(&self.state) {
            State::Unavailable(outage) => Some(Outage {
                what: outage.what.clone(),
                since: outage.since,
                reported: outage.is_reported(),
                refused: outage.refused,
            }),
            State::Unknown | State::Available(_) => None,
        }
    }

    /// It can be used, as far as is known.
    pub(super) fn is_available(&self) -> bool {
        !matches!(&*lock(&self.state), State::Unavailable(_))
    }

    pub(super) fn show(&self) -> status::Service {
        let state = match &*lock(&self.state) {
            State::Unknown => ServiceState::Unknown,
            State::Available(_) => ServiceState::Up,
            State::Unavailable(_) => ServiceState::Down,
        };
        let (message, since) = self.outage().map(|it| (it.what, it.since)).unzip();
        status::Service {
            environment: self.name.clone(),
            state,
            message,
            since,
        }
    }

    /// An outage that has lasted longer than a blip.
    pub(super) fn condition(&self) -> Option<Condition> {
        let outage = self.outage().filter(|outage| outage.reported)?;
        let event = match self.name {
            None => EventName::VaultUnavailable,
            Some(_) if self.is_closed() => EventName::ClassicApiClosed,
            Some(_) => EventName::DynatraceUnavailable,
        };
        if event == EventName::ClassicApiClosed {
            let condition = Condition::new(event, &outage.what, outage.since);
            return Some(condition.environment(self.name.as_deref().unwrap_or_default()));
        }
        // It may end with a question.
        let what = outage.what.trim_end_matches('.');
        let stop = if what.ends_with(['?', '!']) { "" } else { "." };
        let message = format!(
            "{} is unavailable: {what}{stop} Rotations wait and are caught up when it is available again",
            self.title()
        );
        let condition = Condition::new(event, message, outage.since).error(outage.what);
        Some(condition.environment(self.name.as_deref().unwrap_or_default()))
    }

    pub(super) fn probe_due(&self) -> bool {
        match &mut *lock(&self.state) {
            State::Unavailable(outage) if Instant::now() >= outage.next_probe => {
                let wait = retry::wait(outage.probes, None, fastrand::u64(..));
                outage.probes += 1;
                // Often at first, so that a blip is found to be over before it is reported.
                let longest = if outage.began.elapsed() < BLIP {
                    Duration::from_secs(1)
                } else {
                    Duration::from_secs(15)
                };
                outage.next_probe = Instant::now() + wait.min(longest);
                true
            }
            _ => false,
        }
    }

    /// Lets an outage have begun this much earlier.
    #[cfg(test)]
    pub(super) fn age(&self, by: Duration) {
        if let State::Unavailable(outage) = &mut *lock(&self.state) {
            outage.began -= by;
        }
    }
}
