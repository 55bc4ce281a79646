//! Carries a run's commands out through the ports, one at a time. It holds what the machine must not see: the values.
//!
//! It decides nothing but how to settle a journal write whose answer was lost: the same document is sent again with the same
//! check-and-set, and if that is rejected, reading back shows whether the first one had landed (`write_id`).

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use serde_json::Map;

use super::command::{Command, Outcome, RunResult, SecretSnapshot, Source, TokenAction, ValueRef};
use super::error::{CallError, ErrorKind, Result, Service};
use super::event::Report;
use super::history::Event;
use super::machine::Run;
use super::plan::Coordinates;
use super::ports::{
    Journal, JournalRead, SecretData, SecretPath, SecretRead, SecretStore, TokenIssuer,
    TrialOptions,
};
use super::record::Record;
use super::request::{JournalSnapshot, Listing, Now, RunRequest};
use super::token::{MintRequest, Minted, TokenId, TokenInfo, TokenValue, Trial};

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
    /// Waits until this may be carried out; `false` = the process is to stop, as for a wait.
    fn admit(&self, command: &Command) -> impl Future<Output = bool> + Send;
    /// Writes a report to the log.
    fn emit(&self, report: Report);
    /// A call ended; `step` is its word in the logs.
    fn call_ended(&self, step: &'static str, error: Option<&CallError>);
}

/// How a run ended, and the journal document as it knew it last, for the next run.
pub struct Ended {
    /// The result for whoever started it.
    pub result: RunResult,
    /// The document; none = it was never read.
    pub journal: Option<JournalSnapshot>,
    /// What was reported, in order.
    pub reports: Vec<Report>,
}

/// One run over one secret, to its end.
pub async fn run(
    request: RunRequest,
    issuer: &impl TokenIssuer,
    store: &impl SecretStore,
    journal: &impl Journal,
    context: &impl RunContext,
) -> Ended {
    let (name, by) = (request.plan.name.clone(), request.holder.who());
    let is_resumed = request.holder.is_resumed();
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
            Command::Wait(length) => match context.wait(*length).await {
                true => Outcome::Waited,
                false if is_resumed => {
                    break RunResult::Retry(unavailable("the process is stopping"));
                }
                false => Outcome::Stopped,
            },
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

impl<I: TokenIssuer, S: SecretStore, J: Journal, C: RunContext> Runner<'_, I, S, J, C> {
    async fn carry_out(&mut self, command: &Command, machine: &Run) -> Outcome {
        let (place, name) = (machine.place(), &machine.plan().name);
        let path = &SecretPath::from(place);
        if !self.context.admit(command).await {
            return Outcome::Stopped;
        }
        let outcome = match command {
            Command::ReadJournal => Outcome::Journal(self.read_journal(name).await),
            Command::WriteJournal { cas, record } => {
                Outcome::Written(self.write_journal(name, *cas, record).await)
            }
            Command::ReadSecret => {
                let read = self.store.read(path).await;
                Outcome::Secret(read.map(|read| self.keep(read, place)))
            }
            Command::ConfirmSecret => {
                let read = self.store.confirm(path).await;
                Outcome::Confirmed(read.map(|read| self.keep(read, place)))
            }
            Command::ReadVersion(version) => {
                let read = self.store.read_version(path, *version).await;
                Outcome::Version(read.map(|read| self.snapshot(&read, place)))
            }
            Command::LookUpValue => Outcome::Value(self.look_up_value(place).await),
            Command::LookUpVersion(version) => {
                Outcome::VersionValue(self.look_up_version(machine, *version).await)
            }
            Command::TryValue => Outcome::ValueTried(self.try_value(machine).await),
            Command::LookUp(id) => Outcome::Token(self.issuer.look_up(id).await),
            Command::Mint(request) => Outcome::Minted(self.mint(request).await),
            Command::Verify(source) => Outcome::Verified(self.verify(machine, *source).await),
            Command::ProveManager(enabled) => {
                Outcome::ManagerProven(self.prove_manager(place, enabled.as_ref()).await)
            }
            Command::Store { base, source } => {
                Outcome::Stored(self.store(place, *base, *source).await)
            }
            Command::Fence { base } => Outcome::Fenced(self.fence(path, *base).await),
            Command::Change(action, id) => Outcome::Changed(match action {
                TokenAction::Disable => self.issuer.set_enabled(id, false).await,
                TokenAction::Enable => self.issuer.set_enabled(id, true).await,
                TokenAction::Delete => self.issuer.delete(id).await,
                TokenAction::Rename(name) => self.issuer.rename(id, name).await,
                TokenAction::Redate(until) => self.issuer.redate(id, *until).await,
            }),
            Command::List => {
                let at = self.context.now().wall;
                let listed = self.issuer.list_marked().await;
                Outcome::Listed(listed.map(|tokens| Listing {
                    at,
                    tokens: tokens.into(),
                }))
            }
            Command::ProveReachable => Outcome::Reachable(self.issuer.probe_known_token().await),
            Command::Wait(_) | Command::Finish(_) => Outcome::Waited,
        };
        self.context.call_ended(command.as_str(), outcome.error());
        outcome
    }

    async fn read_journal(
        &self,
        name: &str,
    ) -> Result<std::result::Result<JournalSnapshot, String>> {
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
    async fn write_journal(&self, name: &str, cas: u64, record: &Record) -> Result<u64> {
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
                ErrorKind::Transient | ErrorKind::RateLimited => {}
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

    /// The value that was read last.
    fn present_value(&self, place: &Coordinates) -> Option<TokenValue> {
        self.read.as_ref()?.1.value(&place.fields[0])
    }

    async fn look_up_value(&self, place: &Coordinates) -> Result<TokenInfo> {
        let value = self.present_value(place);
        let value = value.ok_or_else(|| missing("a value"))?;
        self.issuer.look_up_value(&value).await
    }

    async fn try_value(&self, machine: &Run) -> Result<TokenInfo> {
        let value = self.present_value(machine.place());
        let value = value.ok_or_else(|| missing("a value"))?;
        self.issuer.prove_value(&value, options(machine)).await
    }

    async fn look_up_version(&self, machine: &Run, version: u64) -> Result<TokenInfo> {
        let value = self.old_value(machine.place(), version).await?;
        self.issuer.prove_value(&value, options(machine)).await
    }

    async fn mint(&mut self, request: &MintRequest) -> Result<ValueRef> {
        let Minted { id, value } = self.issuer.mint(request).await?;
        let fingerprint = self.fingerprint(&value);
        self.minted = Some(value);
        Ok(ValueRef { id, fingerprint })
    }

    async fn verify(&mut self, machine: &Run, source: Source) -> Result<Trial> {
        let value = self.candidate(machine.place(), source).await?;
        let control = self.present_value(machine.place());
        let control = control.filter(|present| *present != value);
        let options = options(machine);
        self.issuer.verify(&value, control.as_ref(), options).await
    }

    async fn prove_manager(
        &mut self,
        place: &Coordinates,
        enabled: Option<&TokenId>,
    ) -> Result<()> {
        let value = self.candidate(place, Source::Minted).await?;
        self.issuer.prove_manager(&value, enabled).await
    }

    async fn store(&mut self, place: &Coordinates, base: u64, source: Source) -> Result<u64> {
        let value = self.candidate(place, source).await?;
        let mut data = self.map_at(base)?;
        data.set(&place.fields, &value);
        self.store.write(&place.into(), base, &data).await
    }

    async fn fence(&self, path: &SecretPath, base: u64) -> Result<u64> {
        let data = self.map_at(base)?;
        self.store.write(path, base, &data).await
    }

    /// The value of a candidate.
    async fn candidate(&mut self, place: &Coordinates, source: Source) -> Result<TokenValue> {
        let version = match source {
            Source::Minted => return self.minted.clone().ok_or_else(|| missing("a minted token")),
            Source::Version(version) => version,
        };
        if let Some((tried, value)) = &self.tried
            && *tried == version
        {
            return Ok(value.clone());
        }
        let value = self.old_value(place, version).await?;
        self.tried = Some((version, value.clone()));
        Ok(value)
    }

    /// The value of an older version. It was there a moment ago: that it cannot be read now is not an outage.
    async fn old_value(&self, place: &Coordinates, version: u64) -> Result<TokenValue> {
        let value = match self.store.read_version(&place.into(), version).await? {
            SecretRead::Present { data, .. } => data.value(&place.fields[0]),
            SecretRead::Deleted { .. } | SecretRead::Absent => None,
        };
        value.ok_or_else(|| {
            let what = format!("version {version} of the secret can no longer be read");
            CallError::new(Service::Vault, ErrorKind::Refused, what)
        })
    }

    fn map_at(&self, base: u64) -> Result<SecretData> {
        match &self.read {
            Some((version, data)) if *version == base => Ok(data.clone()),
            _ => Err(missing("the map of that version")),
        }
    }

    fn fingerprint(&self, value: &TokenValue) -> u64 {
        self.fingerprints.hash_one(value.expose())
    }

    /// Keeps the map for a store, and shows what the machine may see of it.
    fn keep(&mut self, read: SecretRead, place: &Coordinates) -> SecretSnapshot {
        let snapshot = self.snapshot(&read, place);
        match read {
            SecretRead::Present { version, data } => self.read = Some((version, data)),
            // What is to be the first version begins with nothing.
            SecretRead::Absent => self.read = Some((0, SecretData(Map::new()))),
            SecretRead::Deleted { .. } => {}
        }
        snapshot
    }

    fn snapshot(&self, read: &SecretRead, place: &Coordinates) -> SecretSnapshot {
        match read {
            SecretRead::Present { version, data } => SecretSnapshot::Present {
                version: *version,
                value: data.value(&place.fields[0]).map(|value| ValueRef {
                    id: value.id(),
                    fingerprint: self.fingerprint(&value),
                }),
                vacant: data.lacks(&place.fields),
            },
            SecretRead::Deleted { version } => SecretSnapshot::Deleted { version: *version },
            SecretRead::Absent => SecretSnapshot::Absent,
        }
    }
}

fn options(machine: &Run) -> TrialOptions<'_> {
    TrialOptions {
        environment: &machine.place().environment,
        by: &machine.plan().verify,
    }
}

fn unavailable(what: impl Into<String>) -> CallError {
    CallError::new(Service::Vault, ErrorKind::Transient, what)
}

/// The machine asked for something that was never fetched: a fault of ours. It ends one run, not the daemon.
fn missing(what: &str) -> CallError {
    unavailable(format!("{what} is not at hand"))
}
