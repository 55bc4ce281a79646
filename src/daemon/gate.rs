//! One service as the calls to it show it: works, does not, and since when.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use crate::clock;
use crate::ops::status::{self, ServiceState};
use crate::telemetry::Line;
use rotation::error::{CallError, ErrorKind};
use rotation::event::{EventName, Level};
use rotation::request;
use rotation::retry;

use super::board::{Lasting, REPEAT, lock};

/// A service that fails for less than this is not told of: an election of a Vault cluster takes some seconds.
pub(super) const BLIP: Duration = Duration::from_secs(10);
/// Vault is asked so often whether it serves, unless it was seen to: an outage that nobody notices would not lengthen graces.
const WATCH: SignedDuration = SignedDuration::from_secs(10);

/// One service.
pub(super) struct Gate {
    pub(super) name: Option<String>,
    state: Mutex<State>,
    /// The last outage that was long enough to be told of.
    last: Mutex<Option<request::Outage>>,
}

enum State {
    /// Nothing was asked yet.
    Unknown,
    /// It was seen to work at this time.
    Up(Timestamp),
    Down(Down),
}

struct Down {
    since: Timestamp,
    /// It was last seen to work then; none = never.
    worked: Option<Timestamp>,
    began: Instant,
    what: String,
    /// Waiting does not help: a credential was refused.
    at_once: bool,
    told: Option<Instant>,
    probes: u32,
    next_probe: Instant,
}

/// What a service's state means for work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// The sentence.
    pub what: String,
    /// Since when.
    pub since: Timestamp,
}

/// The error concerns every secret of the service.
pub(super) fn is_outage(error: &CallError) -> bool {
    matches!(
        error.kind,
        ErrorKind::Transient | ErrorKind::Unauthorized | ErrorKind::Unclear
    )
}

impl Gate {
    pub(super) fn new(name: Option<String>) -> Self {
        Gate {
            name,
            state: Mutex::new(State::Unknown),
            last: Mutex::default(),
        }
    }

    /// The last outage that is over and was long enough to be told of.
    pub(super) fn last_outage(&self) -> Option<request::Outage> {
        *lock(&self.last)
    }

    /// Nobody has heard of it for a while.
    pub(super) fn watch_due(&self) -> bool {
        match *self.lock() {
            State::Up(at) => at.duration_until(clock::now()).abs() >= WATCH,
            _ => false,
        }
    }

    /// It was asked whether it serves at all, which does not mean that it accepts our credential.
    pub(super) fn watched(&self, answer: Result<(), CallError>) {
        match answer {
            Err(error) => self.fail(&error),
            Ok(()) => {
                if let State::Up(at) = &mut *self.lock() {
                    *at = clock::now();
                }
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) fn title(&self) -> String {
        match &self.name {
            None => "Vault".to_owned(),
            Some(name) => format!("Dynatrace {name}"),
        }
    }

    pub(super) fn fail(&self, error: &CallError) {
        let mut state = self.lock();
        let unauthorized = error.kind == ErrorKind::Unauthorized;
        match &mut *state {
            State::Down(down) => {
                down.what.clone_from(&error.what);
                down.at_once |= unauthorized;
            }
            State::Unknown | State::Up(_) => {
                let worked = match *state {
                    State::Up(at) => Some(at),
                    _ => None,
                };
                *state = State::Down(Down {
                    since: clock::now(),
                    worked,
                    began: Instant::now(),
                    what: error.what.clone(),
                    at_once: unauthorized,
                    told: None,
                    probes: 0,
                    next_probe: Instant::now()
                        + error.retry_after.unwrap_or(Duration::from_millis(500)),
                });
            }
        }
    }

    pub(super) fn works(&self) {
        let mut state = self.lock();
        if let State::Down(down) = &*state
            && down.told.is_some()
        {
            let message = format!("{} can be used again", self.title());
            let event = match self.name {
                None => EventName::VaultAvailable,
                Some(_) => EventName::DynatraceAvailable,
            };
            *lock(&self.last) = Some(request::Outage {
                since: down.worked,
                until: clock::now(),
            });
            self.line(event, message)
                .since(Some(down.since))
                .took(down.began.elapsed())
                .write();
        }
        *state = State::Up(clock::now());
    }

    fn line(&self, event: EventName, message: String) -> Line {
        let line = Line::new(event, message);
        match &self.name {
            None => line,
            Some(name) => line.environment(name),
        }
    }

    pub(super) fn outage(&self) -> Option<Outage> {
        match &*self.lock() {
            State::Down(down) => Some(Outage {
                what: down.what.clone(),
                since: down.since,
            }),
            State::Unknown | State::Up(_) => None,
        }
    }

    pub(super) fn show(&self) -> status::Service {
        let (state, down) = match &*self.lock() {
            State::Unknown => (ServiceState::Unknown, None),
            State::Up(_) => (ServiceState::Up, None),
            State::Down(down) => (ServiceState::Down, Some((down.what.clone(), down.since))),
        };
        let (message, since) = down.unzip();
        status::Service {
            environment: self.name.clone(),
            state,
            message,
            since,
        }
    }

    /// An outage that was told. A blip is none.
    pub(super) fn trouble(&self) -> Option<Lasting> {
        match &*self.lock() {
            State::Down(down) if down.told.is_some() => {
                Some((self.title(), self.outage_line(&down.what), down.since))
            }
            _ => None,
        }
    }

    fn outage_line(&self, what: &str) -> Line {
        let event = match self.name {
            None => EventName::VaultUnavailable,
            Some(_) => EventName::DynatraceUnavailable,
        };
        let message = format!(
            "{} cannot be used: {what}. Rotations wait and are caught up when it is back",
            self.title()
        );
        self.line(event, message).at(Level::Error).error(what)
    }

    pub(super) fn probe_due(&self) -> bool {
        match &mut *self.lock() {
            State::Down(down) if Instant::now() >= down.next_probe => {
                let wait = retry::wait(down.probes, None, fastrand::u64(..));
                down.probes += 1;
                // Often at first: what is over within a blip must be found to be over within it.
                let longest = if down.began.elapsed() < BLIP {
                    Duration::from_secs(1)
                } else {
                    Duration::from_secs(15)
                };
                down.next_probe = Instant::now() + wait.min(longest);
                true
            }
            _ => false,
        }
    }

    pub(super) fn tell(&self, now: Instant) {
        let mut state = self.lock();
        let State::Down(down) = &mut *state else {
            return;
        };
        let due = match down.told {
            Some(told) => now.saturating_duration_since(told) >= REPEAT,
            None => down.at_once || now.saturating_duration_since(down.began) >= BLIP,
        };
        if !due {
            return;
        }
        let first = down.told.replace(now).is_none();
        let line = self.outage_line(&down.what);
        line.since((!first).then_some(down.since)).write();
    }
}
