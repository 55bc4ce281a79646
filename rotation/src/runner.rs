//! Carries a run's commands out through the ports, one at a time. It holds what the machine must not see: the values.
//!
//! It decides nothing but how to settle a journal write whose answer was lost: the same document is sent again with the same
//! check-and-set, and if that is rejected, reading back shows whether the first one had landed (`write_id`).

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use super::command::{Command, Outcome, RunResult, SecretSnapshot, Source, TokenAction, ValueRef};
use super::error::{CallError, ErrorKind, Service};
use super::event::Report;
use super::history::Event;
use super::machine::Run;
use super::ports::{
    Journal, JournalRead, SecretData, SecretPath, SecretRead, SecretStore, TokenIssuer,
};
use super::record::Record;
use super::request::{JournalSnapshot, Listing, Now, RunRequest};
use super::token::{TokenInfo, TokenValue};

/// Sends of one journal write, the same document every time, before the run leaves it unsettled.
const JOURNAL_SENDS: u32 = 6;

/// What the runner needs besides the ports: time, chance, waiting, and a log.
pub trait RunContext: Send + Sync {
    /// The clocks and a random number.
    fn now(&self) -> Now;
    /// A random mark for a journal write.
    fn mark(&self) -> String;
    /// Waits; `false` = the process is to stop, so the run ends here (safe: the journal says how to continue).
    fn wait(&self, length: Duration) -> impl Future<Output = bool> + Send;
    /// Something happened.
    fn emit(&self, report: Report);
    /// A call ended; `step` is its word in the logs.
    fn call_ended(&self, step: &'static str, error: Option<&CallError>);
}

/// How a run ended, and the journal document as it knew it last, for the next run.
pub struct Ended {
    /// How.
    pub result: RunResult,
    /// What the journal holds.
    pub journal: Option<JournalSnapshot>,
    /// What was reported, in order.
    pub reports: Vec<Report>,
}

/// One run over one secret, to its end.
pub async fn run<I, S, J, C>(
    request: RunRequest,
    issuer: &I,
    store: &S,
    journal: &J,
    context: &C,
) -> Ended
where
    I: TokenIssuer,
    S: SecretStore,
    J: Journal,
    C: RunContext,
{
    let (name, by) = (request.plan.name.clone(), request.holder.instance.clone());
    let mut runner = Runner {
        issuer,
        store,
        journal,
        context,
        fingerprints: RandomState::new(),
        read: None,
        minted: None,
        tried: None,
    };
    let mut machine = Run::new(request);
    let (mut reports, mut events) = (vec![], vec![]);
    let result = loop {
        let command = machine.step(context.now());
        reports.append(&mut emit(&mut machine, context, &by, &mut events));
        let outcome = match &command {
            Command::Finish(result) => break result.clone(),
            Command::Wait(length) => {
                if !context.wait(*length).await {
                    let stop = "the process is to stop";
                    break RunResult::Retry(CallError::new(
                        Service::Vault,
                        ErrorKind::Transient,
                        stop,
                    ));
                }
                Outcome::Waited
            }
            command => runner.carry_out(command, &machine).await,
        };
        machine.learn(&command, outcome, context.now());
        reports.append(&mut emit(&mut machine, context, &by, &mut events));
    };
    if !events.is_empty() {
        let appended = journal.append_history(&name, &events).await;
        context.call_ended("history", appended.as_ref().err());
    }
    Ended {
        result,
        journal: machine.journal().cloned(),
        reports,
    }
}

/// Emits what the machine reports, and keeps what belongs into the history. Returns the reports.
fn emit<C: RunContext>(
    machine: &mut Run,
    context: &C,
    by: &str,
    events: &mut Vec<Event>,
) -> Vec<Report> {
    let reports = machine.take_reports();
    for report in &reports {
        events.extend(Event::of(report, context.now().wall, by));
        context.emit(report.clone());
    }
    reports
}

struct Runner<'a, I, S, J, C> {
    issuer: &'a I,
    store: &'a S,
    journal: &'a J,
    context: &'a C,
    /// Turns values into fingerprints; its key lives as long as the run.
    fingerprints: RandomState,
    /// The map that was read last, and its version.
    read: Option<(u64, SecretData)>,
    minted: Option<TokenValue>,
    /// The value of an older version that was tried last. What is stored is what was tried, not what another read shows.
    tried: Option<(u64, TokenValue)>,
}

impl<I, S, J, C> Runner<'_, I, S, J, C>
where
    I: TokenIssuer,
    S: SecretStore,
    J: Journal,
    C: RunContext,
{
    async fn carry_out(&mut self, command: &Command, machine: &Run) -> Outcome {
        let place = machine.place();
        let path = SecretPath {
            mount: place.mount.clone(),
            path: place.path.clone(),
        };
        let fields = &place.fields;
        let name = &machine.plan().name;
        let (step, outcome) = match command {
            Command::ReadJournal => ("journal", Outcome::Journal(self.read_journal(name).await)),
            Command::WriteJournal { cas, record } => (
                "journal",
                Outcome::Written(self.write_journal(name, *cas, record).await),
            ),
            Command::ReadSecret => {
                let read = self.store.read(&path).await;
                (
                    "read",
                    Outcome::Secret(read.map(|read| self.keep(read, &fields[0]))),
                )
            }
            Command::ConfirmSecret => {
                let read = self.store.confirm(&path).await;
                (
                    "read",
                    Outcome::Confirmed(read.map(|read| self.keep(read, &fields[0]))),
                )
            }
            Command::ReadVersion(version) => {
                let read = self.store.read_version(&path, *version).await;
                (
                    "read",
                    Outcome::Version(read.map(|read| self.snapshot(&read, &fields[0]))),
                )
            }
            Command::LookUpValue => (
                "look_up",
                Outcome::Value(self.look_up_value(&fields[0]).await),
            ),
            Command::LookUpVersion(version) => {
                let info = match self.old_value(&path, *version, &fields[0]).await {
                    Ok(value) => self.issuer.look_up_value(&value).await,
                    Err(error) => Err(error),
                };
                ("look_up", Outcome::VersionValue(info))
            }
            Command::LookUp(id) => ("look_up", Outcome::Token(self.issuer.look_up(id).await)),
            Command::Mint(request) => {
                let minted = self.issuer.mint(request).await.map(|minted| {
                    let value = ValueRef {
                        id: minted.id,
                        fingerprint: self.fingerprint(&minted.value),
                    };
                    self.minted = Some(minted.value);
                    value
                });
                ("mint", Outcome::Minted(minted))
            }
            Command::Verify(source) => {
                let info = match self.candidate(&path, *source, &fields[0]).await {
                    Ok(value) => self.issuer.verify(&value).await,
                    Err(error) => Err(error),
                };
                ("verify", Outcome::Verified(info))
            }
            Command::ProveManager(enabled) => {
                let proven = match self.candidate(&path, Source::Minted, &fields[0]).await {
                    Ok(value) => self.issuer.prove_manager(&value, enabled.as_ref()).await,
                    Err(error) => Err(error),
                };
                ("prove", Outcome::ManagerProven(proven))
            }
            Command::Store { base, source } => {
                let value = self.candidate(&path, *source, &fields[0]).await;
                let stored = match (self.map_at(*base), value) {
                    (Ok(mut data), Ok(value)) => {
                        data.set(fields, &value);
                        self.store.write(&path, *base, &data).await
                    }
                    (Err(error), _) | (_, Err(error)) => Err(error),
                };
                ("store", Outcome::Stored(stored))
            }
            Command::Fence { base } => {
                let fenced = match self.map_at(*base) {
                    Ok(data) => self.store.write(&path, *base, &data).await,
                    Err(error) => Err(error),
                };
                ("fence", Outcome::Fenced(fenced))
            }
            Command::Change(action, id) => {
                let changed = match action {
                    TokenAction::Disable => self.issuer.set_enabled(id, false).await,
                    TokenAction::Enable => self.issuer.set_enabled(id, true).await,
                    TokenAction::Delete => self.issuer.delete(id).await,
                    TokenAction::Rename(name) => self.issuer.rename(id, name).await,
                };
                (action.as_str(), Outcome::Changed(changed))
            }
            Command::List => {
                let at = self.context.now().wall;
                let listed = self.issuer.list_marked().await;
                let listing = listed.map(|tokens| Listing {
                    at,
                    tokens: tokens.into(),
                });
                ("list", Outcome::Listed(listing))
            }
            Command::ProveReachable => (
                "witness",
                Outcome::Reachable(self.issuer.probe_known_token().await),
            ),
            Command::Wait(_) | Command::Finish(_) => ("wait", Outcome::Waited),
        };
        self.context.call_ended(step, outcome.error());
        outcome
    }

    async fn read_journal(&self, name: &str) -> Result<Result<JournalSnapshot, String>, CallError> {
        Ok(match self.journal.read(name).await? {
            JournalRead::Present { version, record } => Ok(JournalSnapshot {
                cas: version,
                record: Some(record),
            }),
            JournalRead::Absent { cas } => Ok(JournalSnapshot { cas, record: None }),
            JournalRead::Unreadable { why } => Err(why),
        })
    }

    /// One journal write, settled: written by us, refused for another's, or not to be found out within the sends.
    async fn write_journal(&self, name: &str, cas: u64, record: &Record) -> Result<u64, CallError> {
        let mut record = record.clone();
        record.write_id = self.context.mark();
        let mut unclear = false;
        let mut send = 0;
        loop {
            send += 1;
            let error = match self.journal.write(name, cas, &record).await {
                Ok(version) => return Ok(version),
                Err(error) => error,
            };
            match error.kind {
                ErrorKind::Unclear => unclear = true,
                ErrorKind::Transient => {}
                ErrorKind::Conflict => match self.journal.read(name).await {
                    Ok(JournalRead::Present {
                        version,
                        record: found,
                    }) => {
                        // The mark is random for each write, so an equal one is ours, whatever the answer said.
                        if found.write_id == record.write_id {
                            return Ok(version);
                        }
                        if version != cas {
                            return Err(error);
                        }
                        // A node that lags behind refused it; nothing was written since.
                    }
                    Ok(JournalRead::Absent { cas: now }) if now == cas => {}
                    _ if !unclear => return Err(error),
                    _ => {}
                },
                _ => return Err(error),
            }
            let pause =
                Duration::from_millis(100 << send).max(error.retry_after.unwrap_or_default());
            if send >= JOURNAL_SENDS || !self.context.wait(pause).await {
                return Err(error);
            }
        }
    }

    async fn look_up_value(&self, field: &str) -> Result<TokenInfo, CallError> {
        match self.read.as_ref().and_then(|(_, data)| data.value(field)) {
            Some(value) => self.issuer.look_up_value(&value).await,
            None => Err(missing("a value")),
        }
    }

    /// The value of a candidate.
    async fn candidate(
        &mut self,
        path: &SecretPath,
        source: Source,
        field: &str,
    ) -> Result<TokenValue, CallError> {
        match source {
            Source::Version(version) => match &self.tried {
                Some((tried, value)) if *tried == version => Ok(value.clone()),
                _ => {
                    let value = self.old_value(path, version, field).await?;
                    self.tried = Some((version, value.clone()));
                    Ok(value)
                }
            },
            Source::Minted => self.minted.clone().ok_or_else(|| missing("a minted token")),
        }
    }

    /// The value of an older version. It was there a moment ago: that it cannot be read now is no outage.
    async fn old_value(
        &self,
        path: &SecretPath,
        version: u64,
        field: &str,
    ) -> Result<TokenValue, CallError> {
        let gone = || {
            let what = format!("version {version} of the secret cannot be read any more");
            CallError::new(Service::Vault, ErrorKind::Refused, what)
        };
        match self.store.read_version(path, version).await? {
            SecretRead::Present { data, .. } => data.value(field).ok_or_else(gone),
            SecretRead::Deleted { .. } | SecretRead::Absent => Err(gone()),
        }
    }

    fn map_at(&self, base: u64) -> Result<SecretData, CallError> {
        match &self.read {
            Some((version, data)) if *version == base => Ok(data.clone()),
            _ => Err(missing("the map of that version")),
        }
    }

    fn fingerprint(&self, value: &TokenValue) -> u64 {
        self.fingerprints.hash_one(value.expose())
    }

    /// Keeps the map for a store, and shows what the machine may see of it.
    fn keep(&mut self, read: SecretRead, field: &str) -> SecretSnapshot {
        let snapshot = self.snapshot(&read, field);
        if let SecretRead::Present { version, data } = read {
            self.read = Some((version, data));
        }
        snapshot
    }

    fn snapshot(&self, read: &SecretRead, field: &str) -> SecretSnapshot {
        match read {
            SecretRead::Present { version, data } => SecretSnapshot::Present {
                version: *version,
                value: data.value(field).map(|value| ValueRef {
                    id: value.id(),
                    fingerprint: self.fingerprint(&value),
                }),
            },
            SecretRead::Deleted { version } => SecretSnapshot::Deleted { version: *version },
            SecretRead::Absent => SecretSnapshot::Absent,
        }
    }
}

/// The machine asked for something that was never fetched: a fault of ours. It ends one run, not the daemon.
fn missing(what: &str) -> CallError {
    CallError::new(
        Service::Vault,
        ErrorKind::Transient,
        format!("{what} is not at hand any more"),
    )
}
