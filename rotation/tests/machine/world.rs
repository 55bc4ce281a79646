//! A scripted world: one secret with versions, one environment with tokens by id and by value, one journal document. It answers every
//! command as the real services do, unless a test's fault answers instead, and keeps what was asked for.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use rotation::command::{
    Command, Outcome, RunResult, SecretSnapshot, Source, TokenAction, ValueRef,
};
use rotation::error::{CallError, ErrorKind};
use rotation::event::{EventName, Level, Report};
use rotation::machine::Run;
use rotation::record::{Record, Retiring};
use rotation::request::{JournalSnapshot, Listing, Now, RunRequest};
use rotation::token::{MintRequest, TokenId, TokenInfo, TokenValue, Trial};

use crate::builders::{dynatrace, id, minted, now_at, record, value, vault};

/// No run of these tests needs more steps.
const STEPS: u32 = 30_000;

/// A version of the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Version {
    Holds(String),
    /// Our field is missing.
    Empty,
    Deleted,
    Pruned,
}

/// Answers a command instead of the world; none = the world answers.
pub type Fault = Box<dyn FnMut(&mut World, &Command) -> Option<Outcome>>;

pub struct World {
    pub second: i64,
    mono: Duration,
    pub tokens: BTreeMap<TokenId, TokenInfo>,
    /// Whose value it is.
    pub values: BTreeMap<String, TokenId>,
    pub versions: Vec<Version>,
    pub journal: Option<Record>,
    pub cas: u64,
    pub fault: Option<Fault>,
    /// Trying a value proves whose it is.
    pub proves: bool,
    minted: Option<String>,
    mints: u32,
    read: Option<String>,
    runs: u32,
}

/// What one run did.
pub struct Ended {
    pub result: RunResult,
    pub reports: Vec<Report>,
    pub commands: Vec<Command>,
}

impl World {
    /// OLD was the value in version 1, CUR is it in version 2, and `before` is the journal document.
    pub fn new(before: Record) -> World {
        let mut world = World {
            second: 0,
            mono: Duration::ZERO,
            tokens: BTreeMap::new(),
            values: BTreeMap::new(),
            versions: vec![Version::Holds(value("OLD")), Version::Holds(value("CUR"))],
            journal: Some(before),
            cas: 7,
            fault: None,
            proves: true,
            minted: None,
            mints: 0,
            read: None,
            runs: 0,
        };
        world.add(minted("OLD", 2));
        world.add(minted("CUR", 3));
        world
    }

    /// The usual document, with these retiring tokens.
    pub fn with_retiring(entries: Vec<Retiring>) -> World {
        let mut before = record();
        before.retiring = entries;
        World::new(before)
    }

    /// Makes the token known, and its value `dt0c01.NAME.SECRET`.
    pub fn add(&mut self, token: TokenInfo) {
        let text = token.id.as_str().trim_start_matches("dt0c01.");
        self.values.insert(value(text), token.id.clone());
        self.tokens.insert(token.id.clone(), token);
    }

    pub fn token(&mut self, text: &str) -> &mut TokenInfo {
        self.tokens.get_mut(&id(text)).unwrap()
    }

    pub fn put(&mut self, value: impl Into<String>) {
        self.versions.push(Version::Holds(value.into()));
    }

    pub fn document(&self) -> &Record {
        self.journal.as_ref().unwrap()
    }

    pub fn edit(&mut self) -> &mut Record {
        self.cas += 1;
        self.journal.as_mut().unwrap()
    }

    pub fn entry(&self, text: &str) -> &Retiring {
        self.document().retiring(&id(text)).unwrap()
    }

    pub fn now(&self) -> Now {
        let now = now_at(self.second);
        Now {
            wall: now.wall.checked_add(self.mono).unwrap(),
            mono: now.mono + self.mono,
            ..now
        }
    }

    /// The world answers, except where `fault` does.
    pub fn fault(&mut self, fault: impl FnMut(&mut World, &Command) -> Option<Outcome> + 'static) {
        self.fault = Some(Box::new(fault));
    }

    /// One run, started with what the journal holds, at this second.
    pub fn run_at(&mut self, second: i64, mut request: RunRequest) -> Ended {
        self.second = second;
        request.known.journal = Some(self.snapshot());
        self.run(request)
    }

    /// One run to its end.
    pub fn run(&mut self, mut request: RunRequest) -> Ended {
        self.runs += 1;
        request.id = format!("run-{}", self.runs);
        self.mono = Duration::ZERO;
        self.read = None;
        self.minted = None;
        let mut run = Run::new(request);
        let (mut reports, mut commands) = (vec![], vec![]);
        for _ in 0..STEPS {
            let command = run.step(self.now());
            reports.extend(run.take_reports());
            if let Command::Finish(result) = &command {
                return Ended {
                    result: result.clone(),
                    reports,
                    commands,
                };
            }
            commands.push(command.clone());
            let outcome = match self.fault.take() {
                Some(mut fault) => {
                    let outcome = fault(self, &command);
                    self.fault = Some(fault);
                    outcome.unwrap_or_else(|| self.perform(&command))
                }
                None => self.perform(&command),
            };
            run.learn(&command, outcome, self.now());
            reports.extend(run.take_reports());
        }
        let last: Vec<_> = commands.iter().rev().take(6).collect();
        panic!("the run does not come to an end: {last:?}")
    }

    pub fn snapshot(&self) -> JournalSnapshot {
        JournalSnapshot {
            cas: self.cas,
            record: self.journal.clone().map(Box::new),
        }
    }

    /// All tokens, as a complete listing returns them.
    pub fn listing(&self) -> Listing {
        Listing {
            at: self.now().wall,
            tokens: Arc::new(self.tokens.values().cloned().collect()),
        }
    }

    /// Carries a command out.
    pub fn perform(&mut self, command: &Command) -> Outcome {
        match command {
            Command::ReadJournal => Outcome::Journal(Ok(Ok(self.snapshot()))),
            Command::WriteJournal { cas, record } => Outcome::Written(self.write(*cas, record)),
            Command::ReadSecret => Outcome::Secret(Ok(self.read_latest())),
            Command::ConfirmSecret => Outcome::Confirmed(Ok(self.read_latest())),
            Command::ReadVersion(version) => Outcome::Version(Ok(self.shown(*version))),
            Command::LookUpValue => {
                Outcome::Value(self.look_up_value(self.read.clone().as_deref()))
            }
            Command::LookUpVersion(version) => {
                Outcome::VersionValue(self.look_up_value(self.held(*version)))
            }
            Command::TryValue => Outcome::ValueTried(match self.proves {
                true => self.look_up_value(self.read.clone().as_deref()),
                false => Err(dynatrace(ErrorKind::Refused)),
            }),
            Command::LookUp(id) => Outcome::Token(self.look_up(id)),
            Command::Mint(order) => Outcome::Minted(Ok(self.mint(order))),
            Command::Verify(source) => Outcome::Verified(
                self.look_up_value(self.candidate(*source).as_deref())
                    .and_then(|token| match token.enabled {
                        true => Ok(Trial {
                            token,
                            proven: self.proves,
                        }),
                        false => Err(dynatrace(ErrorKind::Gone)),
                    }),
            ),
            Command::ProveManager(_) => Outcome::ManagerProven(Ok(())),
            Command::Store { base, source } => {
                let candidate = self.candidate(*source).unwrap();
                Outcome::Stored(self.store(*base, Version::Holds(candidate)))
            }
            Command::Fence { base } => {
                let same = self.versions.last().cloned().unwrap();
                Outcome::Fenced(self.store(*base, same))
            }
            Command::Change(action, id) => Outcome::Changed(self.change(action, id)),
            Command::List => Outcome::Listed(Ok(self.listing())),
            Command::ProveReachable => Outcome::Reachable(Ok(())),
            Command::Wait(length) => {
                self.mono += *length;
                Outcome::Waited
            }
            Command::Finish(_) => unreachable!("the run is over"),
        }
    }

    fn write(&mut self, cas: u64, record: &Record) -> Result<u64, CallError> {
        if cas != self.cas {
            return Err(vault(ErrorKind::Conflict));
        }
        // What is written must be what a later process reads.
        let text = serde_json::to_string(record).unwrap();
        self.journal = Some(serde_json::from_str(&text).unwrap());
        self.cas += 1;
        Ok(self.cas)
    }

    fn read_latest(&mut self) -> SecretSnapshot {
        let latest = self.versions.len() as u64;
        if let Some(held) = self.held(latest).map(str::to_owned) {
            self.read = Some(held);
        }
        self.shown(latest)
    }

    fn held(&self, version: u64) -> Option<&str> {
        match self.versions.get((version as usize).checked_sub(1)?)? {
            Version::Holds(value) => Some(value),
            _ => None,
        }
    }

    pub fn shown(&self, version: u64) -> SecretSnapshot {
        let index = (version as usize).checked_sub(1);
        match index.and_then(|index| self.versions.get(index)) {
            Some(Version::Holds(value)) => holds(version, value),
            Some(Version::Empty) => SecretSnapshot::Present {
                version,
                value: None,
                vacant: true,
            },
            Some(Version::Deleted) => SecretSnapshot::Deleted { version },
            Some(Version::Pruned) | None => SecretSnapshot::Absent,
        }
    }

    fn look_up_value(&self, value: Option<&str>) -> Result<TokenInfo, CallError> {
        let Some(value) = value else {
            return Err(vault(ErrorKind::Refused));
        };
        match self.values.get(value) {
            Some(id) => self.look_up(id),
            None => Err(dynatrace(ErrorKind::Gone)),
        }
    }

    pub fn look_up(&self, id: &TokenId) -> Result<TokenInfo, CallError> {
        let found = self.tokens.get(id).cloned();
        found.ok_or_else(|| dynatrace(ErrorKind::Gone))
    }

    /// Creates a token as ordered, and returns what its value shows.
    pub fn mint(&mut self, order: &MintRequest) -> ValueRef {
        self.mints += 1;
        let text = format!("NEW{}", self.mints);
        self.add(TokenInfo {
            scopes: order.scopes.clone(),
            expires: order.expires,
            traits: order.traits.clone(),
            created: Some(self.now().wall),
            ..crate::builders::plain(&text, &order.name)
        });
        self.hand_out(&text)
    }

    /// The answer to a mint holds the value of this token.
    pub fn hand_out(&mut self, text: &str) -> ValueRef {
        let value = value(text);
        let shown = shown_value(&value);
        self.minted = Some(value);
        shown
    }

    fn candidate(&self, source: Source) -> Option<String> {
        match source {
            Source::Minted => self.minted.clone(),
            Source::Version(version) => self.held(version).map(str::to_owned),
        }
    }

    pub fn store(&mut self, base: u64, version: Version) -> Result<u64, CallError> {
        if base != self.versions.len() as u64 {
            return Err(vault(ErrorKind::Conflict));
        }
        self.versions.push(version);
        Ok(self.versions.len() as u64)
    }

    fn change(&mut self, action: &TokenAction, id: &TokenId) -> Result<(), CallError> {
        if !self.tokens.contains_key(id) {
            return Err(dynatrace(ErrorKind::Gone));
        }
        let token = self.tokens.get_mut(id).unwrap();
        match action {
            TokenAction::Disable => token.enabled = false,
            TokenAction::Enable => token.enabled = true,
            TokenAction::Rename(name) => token.name.clone_from(name),
            TokenAction::Redate(until) => token.expires = Some(*until),
            TokenAction::Delete => {
                self.tokens.remove(id);
            }
        }
        Ok(())
    }
}

impl Ended {
    /// The commands that have an effect at Dynatrace or on the secret, in order.
    pub fn effects(&self) -> Vec<&Command> {
        let effect = |command: &&Command| {
            matches!(
                command,
                Command::Mint(_)
                    | Command::Store { .. }
                    | Command::Fence { .. }
                    | Command::Change(..)
            )
        };
        self.commands.iter().filter(effect).collect()
    }

    pub fn count(&self, what: impl Fn(&Command) -> bool) -> usize {
        self.commands.iter().filter(|command| what(command)).count()
    }

    pub fn mints(&self) -> usize {
        self.count(|command| matches!(command, Command::Mint(_)))
    }

    /// The documents that were sent, in order.
    pub fn written(&self) -> Vec<&Record> {
        let writes = self.commands.iter().filter_map(|command| match command {
            Command::WriteJournal { record, .. } => Some(&**record),
            _ => None,
        });
        writes.collect()
    }

    /// The reports of this event.
    pub fn of(&self, event: EventName) -> Vec<&Report> {
        let same = |report: &&Report| report.event == event;
        self.reports.iter().filter(same).collect()
    }

    /// The reports above DEBUG, as events.
    pub fn events(&self) -> Vec<EventName> {
        let loud = self.reports.iter().filter(|it| it.level > Level::Debug);
        loud.map(|report| report.event).collect()
    }

    pub fn errors(&self) -> Vec<EventName> {
        let errors = self.reports.iter().filter(|it| it.level == Level::Error);
        errors.map(|report| report.event).collect()
    }

    pub fn did(&self, action: TokenAction, text: &str) -> bool {
        self.commands.contains(&Command::Change(action, id(text)))
    }
}

/// A version that holds this value.
pub fn holds(version: u64, value: &str) -> SecretSnapshot {
    SecretSnapshot::Present {
        version,
        value: Some(shown_value(value)),
        vacant: false,
    }
}

fn shown_value(value: &str) -> ValueRef {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    ValueRef {
        id: TokenValue::new(value).id(),
        fingerprint: hasher.finish(),
    }
}
