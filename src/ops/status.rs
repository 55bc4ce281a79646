//! The picture itself: plain data, the same for the status page, `/status` and `dtrotate status --json`. docs/status.md tells its shape.
//!
//! No field of it could hold a token value: an id is a [`TokenId`], which cuts a value to its public part, and a sentence comes from an
//! error or a journal document, which hold none.

use std::collections::BTreeSet;

use crate::sanitize;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use rotation::plan::Coordinates;
use rotation::record::{Record, RetiringState};
use rotation::retiring::Problem;
use rotation::token::TokenId;

/// The layout of the JSON. A reader ignores fields it does not know; a field that changes its meaning raises this.
const SCHEMA: u32 = 1;

/// Everything at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The layout.
    pub schema: u32,
    /// When the picture was taken.
    pub at: Timestamp,
    /// The daemon that told; none = read from the journal, without a daemon.
    pub daemon: Option<Daemon>,
    /// Vault and the environments, as far as the daemon uses them. Empty without a daemon.
    pub services: Vec<Service>,
    /// What needs a human now: for each there was an ERROR line. Empty = all is well.
    pub troubles: Vec<Trouble>,
    /// Every secret, by name.
    pub secrets: Vec<Secret>,
}

/// The daemon that told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Daemon {
    /// Its version.
    pub version: String,
    /// Its instance name, as in claims and log lines.
    pub instance: String,
    /// When it started.
    pub started: Timestamp,
    /// Logged in, and the journal is read.
    pub ready: bool,
    /// What it waits for, or that it is ready.
    pub readiness: String,
    /// The last time it read its configuration.
    pub reload: Reload,
}

/// Reading the configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reload {
    /// When it was last read.
    pub at: Timestamp,
    /// It was valid and is in force.
    pub ok: bool,
    /// When what is in force was read.
    pub in_force_since: Timestamp,
}

/// Vault or an environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// The environment's name; none = Vault.
    pub environment: Option<String>,
    /// Can it be used?
    pub state: ServiceState,
    /// What is wrong.
    pub message: Option<String>,
    /// Since when.
    pub since: Option<Timestamp>,
}

impl Service {
    /// Its name for people.
    pub fn title(&self) -> String {
        match &self.environment {
            None => "Vault".to_owned(),
            Some(name) => format!("Dynatrace {name}"),
        }
    }
}

/// Can a service be used?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceState {
    /// The last call worked.
    Up,
    /// It cannot be used now; work waits and is caught up.
    Down,
    /// Nothing was asked yet.
    Unknown,
}

/// Something that needs a human.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trouble {
    /// The word of its ERROR line.
    pub event: String,
    /// What happened and what to do.
    pub message: String,
    /// The secret it is about, if it is about one.
    pub secret: Option<String>,
    /// The environment it is about, if it is about one.
    pub environment: Option<String>,
    /// The stable code of a stuck rotation: its page in the runbook.
    pub reason: Option<String>,
    /// Since when.
    pub since: Timestamp,
}

/// One secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Secret {
    /// Its name.
    pub name: String,
    /// Its environment.
    pub environment: String,
    /// Where its value stands: `MOUNT/PATH#FIELD,FIELD`.
    pub place: String,
    /// How it is.
    pub state: State,
    /// The token that is the current value.
    pub current: Option<Token>,
    /// When the last rotation succeeded.
    pub last_success: Option<Timestamp>,
    /// When it is rotated next.
    pub next: Option<Timestamp>,
    /// Why then, or why never.
    pub because: String,
    /// Former tokens on their way out.
    pub retiring: Vec<Retiring>,
    /// The failure that lasts.
    pub failure: Option<Failure>,
    /// What is wrong with the current value, if it does not work at Dynatrace.
    pub invalid: Option<Invalid>,
    /// Another process that works on it now.
    pub holder: Option<String>,
}

/// How a secret is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its journal document cannot be read.
    Unreadable,
    /// It cannot go on without a human.
    Stuck,
    /// The last try failed; it is tried again by itself.
    Retrying,
    /// There is no journal document of it yet.
    NeverSeen,
    /// It rotates by its schedule.
    Healthy,
    /// `enabled = false`.
    SwitchedOff,
    /// It left the configuration; what it left is retired.
    Removed,
}

impl State {
    /// All of them, the worst first.
    pub const ALL: [State; 7] = [
        State::Unreadable,
        State::Stuck,
        State::Retrying,
        State::NeverSeen,
        State::Healthy,
        State::SwitchedOff,
        State::Removed,
    ];

    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            State::Unreadable => "unreadable",
            State::Stuck => "stuck",
            State::Retrying => "retrying",
            State::NeverSeen => "never seen",
            State::Healthy => "healthy",
            State::SwitchedOff => "switched off",
            State::Removed => "removed",
        }
    }

    /// For machines.
    pub fn as_str(self) -> &'static str {
        match self {
            State::NeverSeen => "never_seen",
            State::SwitchedOff => "switched_off",
            other => other.words(),
        }
    }
}

/// The token that is the current value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Token {
    /// Its id.
    pub id: TokenId,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// When it ends; none = never.
    pub expires: Option<Timestamp>,
}

/// A former token on its way out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retiring {
    /// Its id.
    pub id: TokenId,
    /// How far it is.
    pub state: RetiringState,
    /// When the next step is due.
    pub due: Timestamp,
    /// It is still used, so its grace is extended since then.
    pub held_since: Option<Timestamp>,
    /// Who still uses it.
    pub used_from: Option<String>,
    /// What a person must do about it.
    #[serde(default)]
    pub problems: Vec<Problem>,
}

impl Retiring {
    /// What is next, for people, before its time: `disabled`, `deleted`.
    pub fn next_step(&self) -> &'static str {
        match self.state {
            RetiringState::Grace | RetiringState::Disabling => "disabled",
            RetiringState::Quarantine | RetiringState::Deleting => "deleted",
            RetiringState::Newer(_) => "next step",
        }
    }
}

/// A failure that lasts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// The stable code: its page in the runbook.
    pub reason: String,
    /// What happened and what to do.
    pub message: String,
    /// Since when.
    pub since: Timestamp,
    /// How many times in a row.
    pub count: u32,
    /// When it is tried again by itself; none = stuck.
    pub retry_at: Option<Timestamp>,
}

/// The current value does not work at Dynatrace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Invalid {
    /// What is wrong and what to do.
    pub message: String,
    /// Since when that is known.
    pub since: Timestamp,
}

/// What is known of one secret, to make a [`Secret`] of.
pub struct Known<'a> {
    /// Its name.
    pub name: &'a str,
    /// Where it is.
    pub coordinates: &'a Coordinates,
    /// It stands in the configuration.
    pub configured: bool,
    /// It is switched on there.
    pub enabled: bool,
    /// Its journal document.
    pub record: Option<&'a Record>,
    /// Why its document cannot be read.
    pub unreadable: Option<&'a str>,
    /// When it is rotated next.
    pub next: Option<Timestamp>,
    /// Why then, or why never.
    pub because: &'a str,
    /// Who asks: its own claims are not worth a word.
    pub instance: &'a str,
}

impl Secret {
    /// Puts together what is known.
    pub fn of(known: &Known<'_>) -> Secret {
        let record = known.record;
        let failure = record.and_then(|record| record.health.failure.as_ref());
        let current = record.and_then(|record| record.current.as_ref());
        let state = match failure {
            _ if known.unreadable.is_some() => State::Unreadable,
            Some(failure) if failure.retry_at.is_none() => State::Stuck,
            _ if !known.configured => State::Removed,
            _ if !known.enabled => State::SwitchedOff,
            Some(_) => State::Retrying,
            None if record.is_some_and(|record| record.health.invalid.is_some()) => State::Stuck,
            None if current.is_none() => State::NeverSeen,
            None => State::Healthy,
        };
        let retry_at = failure.and_then(|failure| failure.retry_at);
        let at = known.coordinates;
        let claim = record.and_then(|record| record.claim.as_ref());
        Secret {
            name: known.name.to_owned(),
            environment: at.environment.clone(),
            place: format!("{}/{}#{}", at.mount, at.path, at.fields.join(",")),
            state,
            current: current.map(|current| Token {
                id: current.id.clone(),
                created: current.created,
                expires: current.expires,
            }),
            last_success: record.and_then(|record| record.health.last_success),
            next: retry_at.or(known.next),
            because: match (known.unreadable, retry_at) {
                (Some(why), _) => why.to_owned(),
                (_, Some(_)) => "tried again after a failure".to_owned(),
                _ => known.because.to_owned(),
            },
            retiring: record.map(retiring).unwrap_or_default(),
            failure: failure.map(|failure| Failure {
                reason: failure.reason.as_str().to_owned(),
                message: failure.message.clone(),
                since: failure.since,
                count: failure.count,
                retry_at: failure.retry_at,
            }),
            invalid: record
                .and_then(|record| record.health.invalid.as_ref())
                .map(|invalid| Invalid {
                    message: invalid.message.clone(),
                    since: invalid.since,
                }),
            holder: claim
                .map(|claim| claim.holder.clone())
                .filter(|holder| holder != known.instance),
        }
    }

    /// What a person must do about its retiring tokens.
    fn retirement_troubles(&self) -> Vec<Trouble> {
        let problems = self.retiring.iter().flat_map(|entry| &entry.problems);
        let troubles = problems.map(|problem| Trouble {
            event: problem.event.clone(),
            message: problem.message.clone(),
            secret: Some(self.name.clone()),
            environment: Some(self.environment.clone()),
            reason: None,
            since: problem.since,
        });
        troubles.collect()
    }

    /// What its own state says a human must look at.
    pub fn trouble(&self, at: Timestamp) -> Option<Trouble> {
        let stuck = self.failure.as_ref().filter(|it| it.retry_at.is_none());
        let (event, message, reason, since) = match (self.state, stuck, &self.invalid) {
            (State::Unreadable, ..) => ("journal_unreadable", self.because.clone(), None, at),
            (_, Some(failure), _) => (
                "rotation_stuck",
                failure.message.clone(),
                Some(failure.reason.clone()),
                failure.since,
            ),
            (_, None, Some(invalid)) => (
                "current_invalid",
                invalid.message.clone(),
                None,
                invalid.since,
            ),
            _ => return None,
        };
        Some(Trouble {
            event: event.to_owned(),
            message,
            secret: Some(self.name.clone()),
            environment: Some(self.environment.clone()),
            reason,
            since,
        })
    }

    /// It has this name, or this is the id of its current token or of one that retires.
    fn is_meant_by(&self, wanted: &str) -> bool {
        // A whole value that somebody pasted is cut to its id.
        let id = TokenId::new(wanted);
        let current = self.current.iter().map(|token| &token.id);
        let mut ids = current.chain(self.retiring.iter().map(|entry| &entry.id));
        self.name == wanted || ids.any(|known| *known == id)
    }
}

fn retiring(record: &Record) -> Vec<Retiring> {
    let entries = record.retiring.iter().map(|entry| Retiring {
        id: entry.id.clone(),
        state: entry.state.clone(),
        due: entry.due,
        held_since: entry.usage.held_since,
        used_from: entry.usage.used_from.clone(),
        problems: entry.problems(&record.name),
    });
    entries.collect()
}

impl Status {
    /// At `at`, without anything in it.
    pub fn new(at: Timestamp) -> Status {
        Status {
            schema: SCHEMA,
            at,
            daemon: None,
            services: Vec::new(),
            troubles: Vec::new(),
            secrets: Vec::new(),
        }
    }

    /// Adds the secrets, and the troubles that their own states tell. Others of the same secret and event give way: the state knows the
    /// reason and since when.
    pub fn with_secrets(mut self, secrets: Vec<Secret>) -> Status {
        for trouble in secrets.iter().filter_map(|secret| secret.trouble(self.at)) {
            let mut same = self
                .troubles
                .iter_mut()
                .filter(|other| other.secret == trouble.secret && other.event == trouble.event);
            match same.next() {
                Some(other) if trouble.reason.is_none() => other.message = trouble.message,
                Some(other) => *other = trouble,
                None => self.troubles.push(trouble),
            }
        }
        for trouble in secrets.iter().flat_map(Secret::retirement_troubles) {
            let known = |other: &Trouble| {
                other.secret == trouble.secret && other.message == trouble.message
            };
            if !self.troubles.iter().any(known) {
                self.troubles.push(trouble);
            }
        }
        self.secrets = secrets;
        self
    }

    /// The same with every text made safe to show; see [`sanitize`].
    pub fn sanitized(&self) -> Status {
        let mut value = serde_json::to_value(self).expect("a status is plain data");
        sanitize::value(&mut value);
        serde_json::from_value(value)
            .expect("only words of fixed lists are read back, and they are plain")
    }

    /// Only what concerns one secret, by its name or the id of one of its tokens; none = nobody here is called that.
    pub fn only(&self, wanted: &str) -> Option<Status> {
        let secrets: Vec<Secret> = self
            .secrets
            .iter()
            .filter(|secret| secret.is_meant_by(wanted))
            .cloned()
            .collect();
        let concerns = |trouble: &&Trouble| {
            let name = trouble.secret.as_deref();
            secrets.iter().any(|secret| name == Some(&secret.name))
        };
        (!secrets.is_empty()).then(|| Status {
            troubles: self.troubles.iter().filter(concerns).cloned().collect(),
            secrets: secrets.clone(),
            ..self.clone()
        })
    }

    /// The troubles that are of no secret here.
    pub fn general_troubles(&self) -> impl Iterator<Item = &Trouble> {
        let here = |name: &str| self.secrets.iter().any(|secret| secret.name == name);
        let general = move |trouble: &&Trouble| !trouble.secret.as_deref().is_some_and(here);
        self.troubles.iter().filter(general)
    }

    /// The troubles of one secret.
    pub fn troubles_of<'a>(&'a self, secret: &'a str) -> impl Iterator<Item = &'a Trouble> {
        let of = move |trouble: &&Trouble| trouble.secret.as_deref() == Some(secret);
        self.troubles.iter().filter(of)
    }

    /// The secrets, those that need a human first, then by state and name.
    pub fn worst_first(&self) -> Vec<&Secret> {
        let troubled: BTreeSet<&str> = self
            .troubles
            .iter()
            .filter_map(|trouble| trouble.secret.as_deref())
            .collect();
        let mut secrets: Vec<&Secret> = self.secrets.iter().collect();
        secrets.sort_by_key(|secret| {
            let calm = !troubled.contains(secret.name.as_str());
            (calm, secret.state, &secret.name)
        });
        secrets
    }
}
