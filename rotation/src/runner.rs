//! Carries a run's commands out through the ports, one at a time. It holds what the machine must not see: the values.
//!
//! It decides nothing but how to settle a journal write whose answer was lost: the same document is sent again with the same
//! check-and-set, and if that is refused, reading back shows whether the first one had landed (`write_id`).

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use super::error::{CallError, ErrorKind};
use super::event::Report;
use super::facts::{Act, Command, Errand, Holds, Known, Listing, Now, Outcome, Seen, Verdict};
use super::machine::Run;
use super::ports::{
    Journal, JournalRead, SecretData, SecretPath, SecretRead, SecretStore, TokenIssuer,
};
use super::record::Record;
use super::token::TokenValue;

/// Sends of one journal write, the same document every time, before the run leaves it unsettled.
const JOURNAL_SENDS: u32 = 6;

/// What the carrier needs besides the ports: time, chance, waiting, and somebody to tell.
pub trait Surroundings: Send + Sync {
    /// The clocks and a throw of dice.
    fn now(&self) -> Now;
    /// A random mark for a journal write.
    fn mark(&self) -> String;
    /// Waits; `false` = the process is to stop, so the run ends here (safe: the journal says how to go on).
    fn wait(&self, length: Duration) -> impl Future<Output = bool> + Send;
    /// Something happened.
    fn report(&self, report: Report);
    /// A call ended, well or not; `step` is its word in the logs.
    fn called(&self, step: &'static str, error: Option<&CallError>);
}

/// How a run ended, and the journal document as it knew it last, for the next run.
pub struct Ended {
    /// How.
    pub verdict: Verdict,
    /// What the journal holds.
    pub journal: Option<Known>,
}

/// One run over one secret, to its end.
pub async fn run<I, S, J, W>(errand: Errand, issuer: &I, store: &S, journal: &J, world: &W) -> Ended
where
    I: TokenIssuer,
    S: SecretStore,
    J: Journal,
    W: Surroundings,
{
    let mut carrier = Carrier {
        issuer,
        store,
        journal,
        world,
        marks: RandomState::new(),
        read: None,
        minted: None,
    };
    let mut machine = Run::new(errand);
    let verdict = loop {
        let command = machine.step(world.now());
        for report in machine.take_reports() {
            world.report(report);
        }
        let outcome = match &command {
            Command::Finish(verdict) => break verdict.clone(),
            Command::Wait(length) => {
                if !world.wait(*length).await {
                    let stop = CallError::new(
                        super::error::Service::Vault,
                        ErrorKind::Transient,
                        "the process is to stop",
                    );
                    break Verdict::Later(stop);
                }
                Outcome::Waited
            }
            command => carrier.carry_out(command, &machine).await,
        };
        machine.fold(&command, outcome, world.now());
        for report in machine.take_reports() {
            world.report(report);
        }
    };
    Ended {
        verdict,
        journal: machine.journal().cloned(),
    }
}

struct Carrier<'a, I, S, J, W> {
    issuer: &'a I,
    store: &'a S,
    journal: &'a J,
    world: &'a W,
    /// Turns values into marks; its key lives as long as the run.
    marks: RandomState,
    /// The map that was read last, and its version.
    read: Option<(u64, SecretData)>,
    minted: Option<TokenValue>,
}

impl<I, S, J, W> Carrier<'_, I, S, J, W>
where
    I: TokenIssuer,
    S: SecretStore,
    J: Journal,
    W: Surroundings,
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
                Outcome::Wrote(self.write_journal(name, *cas, record).await),
            ),
            Command::ReadSecret => {
                let read = self.store.read(&path).await;
                (
                    "read",
                    Outcome::Secret(read.map(|read| self.keep(read, &fields[0]))),
                )
            }
            Command::ReadVersion(version) => {
                let read = self.store.read_version(&path, *version).await;
                (
                    "read",
                    Outcome::Secret(read.map(|read| self.glance(read, &fields[0]))),
                )
            }
            Command::LookUpValue => (
                "look_up",
                Outcome::Info(self.look_up_value(&fields[0]).await),
            ),
            Command::LookUp(id) => ("look_up", Outcome::Info(self.issuer.look_up(id).await)),
            Command::Mint(order) => {
                let minted = self.issuer.mint(order).await.map(|minted| {
                    let holds = Holds {
                        id: minted.id,
                        mark: self.mark(&minted.value),
                    };
                    self.minted = Some(minted.value);
                    holds
                });
                ("mint", Outcome::Minted(minted))
            }
            Command::Verify => {
                let info = match &self.minted {
                    Some(value) => self.issuer.verify(value).await,
                    None => Err(self.missing("a minted token")),
                };
                ("verify", Outcome::Info(info))
            }
            Command::Prove(enabled) => {
                let proved = match &self.minted {
                    Some(value) => self.issuer.prove_manager(value, enabled.as_ref()).await,
                    None => Err(self.missing("a minted token")),
                };
                ("prove", Outcome::Done(proved))
            }
            Command::Store { base } => {
                let stored = match (self.map_at(*base), &self.minted) {
                    (Ok(mut data), Some(value)) => {
                        data.set(fields, value);
                        self.store.write(&path, *base, &data).await
                    }
                    (Err(error), _) => Err(error),
                    (_, None) => Err(self.missing("a minted token")),
                };
                ("store", Outcome::Stored(stored))
            }
            Command::Rewrite { base } => {
                let stored = match self.map_at(*base) {
                    Ok(data) => self.store.write(&path, *base, &data).await,
                    Err(error) => Err(error),
                };
                ("fence", Outcome::Stored(stored))
            }
            Command::TryVersion(version) => {
                let info = match self.old_value(&path, *version, &fields[0]).await {
                    Ok(value) => self.issuer.verify(&value).await,
                    Err(error) => Err(error),
                };
                ("verify", Outcome::Info(info))
            }
            Command::Restore { base, from } => {
                let value = self.old_value(&path, *from, &fields[0]).await;
                let stored = match (self.map_at(*base), value) {
                    (Ok(mut data), Ok(value)) => {
                        data.set(fields, &value);
                        self.store.write(&path, *base, &data).await
                    }
                    (Err(error), _) | (_, Err(error)) => Err(error),
                };
                ("store", Outcome::Stored(stored))
            }
            Command::Act(act, id) => {
                let done = match act {
                    Act::Disable => self.issuer.set_enabled(id, false).await,
                    Act::Enable => self.issuer.set_enabled(id, true).await,
                    Act::Delete => self.issuer.delete(id).await,
                };
                (act.as_str(), Outcome::Done(done))
            }
            Command::List => {
                let at = self.world.now().wall;
                let listed = self.issuer.list_marked().await;
                let listing = listed.map(|tokens| Listing {
                    at,
                    tokens: tokens.into(),
                });
                ("list", Outcome::Listed(listing))
            }
            Command::Witness => ("witness", Outcome::Done(self.issuer.witness().await)),
            Command::Wait(_) | Command::Finish(_) => ("wait", Outcome::Waited),
        };
        self.world.called(step, failure(&outcome));
        outcome
    }

    async fn read_journal(&self, name: &str) -> Result<Result<Known, String>, CallError> {
        Ok(match self.journal.read(name).await? {
            JournalRead::Present { version, record } => Ok(Known {
                cas: version,
                record: Some(record),
            }),
            JournalRead::Absent { cas } => Ok(Known { cas, record: None }),
            JournalRead::Unreadable { why } => Err(why),
        })
    }

    /// One journal write, settled: written by us, refused for another's, or not to be found out within the sends.
    async fn write_journal(&self, name: &str, cas: u64, record: &Record) -> Result<u64, CallError> {
        let mut record = record.clone();
        record.write_id = self.world.mark();
        let mut unclear = false;
        for send in 1.. {
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
                        if unclear && found.write_id == record.write_id {
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
            if send >= JOURNAL_SENDS || !self.world.wait(pause).await {
                return Err(error);
            }
        }
        unreachable!("the loop above ends by itself")
    }

    async fn look_up_value(&self, field: &str) -> Result<super::token::TokenInfo, CallError> {
        match self.read.as_ref().and_then(|(_, data)| data.value(field)) {
            Some(value) => self.issuer.look_up_value(&value).await,
            None => Err(self.missing("a value")),
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
            CallError::new(super::error::Service::Vault, ErrorKind::Refused, what)
        };
        match self.store.read_version(path, version).await? {
            SecretRead::Present { data, .. } => data.value(field).ok_or_else(gone),
            SecretRead::Deleted { .. } | SecretRead::Absent => Err(gone()),
        }
    }

    fn map_at(&self, base: u64) -> Result<SecretData, CallError> {
        match &self.read {
            Some((version, data)) if *version == base => Ok(data.clone()),
            _ => Err(self.missing("the map of that version")),
        }
    }

    /// The machine asked for something that was never fetched: a fault of ours. It ends one run, not the daemon.
    fn missing(&self, what: &str) -> CallError {
        CallError::new(
            super::error::Service::Vault,
            ErrorKind::Transient,
            format!("{what} is not at hand any more"),
        )
    }

    fn mark(&self, value: &TokenValue) -> u64 {
        self.marks.hash_one(value.expose())
    }

    fn holds(&self, data: &SecretData, field: &str) -> Option<Holds> {
        let value = data.value(field)?;
        Some(Holds {
            id: value.id(),
            mark: self.mark(&value),
        })
    }

    fn keep(&mut self, read: SecretRead, field: &str) -> Seen {
        match read {
            SecretRead::Present { version, data } => {
                let holds = self.holds(&data, field);
                self.read = Some((version, data));
                Seen::Present { version, holds }
            }
            SecretRead::Deleted { version } => Seen::Deleted { version },
            SecretRead::Absent => Seen::Absent,
        }
    }

    fn glance(&self, read: SecretRead, field: &str) -> Seen {
        match read {
            SecretRead::Present { version, data } => Seen::Present {
                version,
                holds: self.holds(&data, field),
            },
            SecretRead::Deleted { version } => Seen::Deleted { version },
            SecretRead::Absent => Seen::Absent,
        }
    }
}

fn failure(outcome: &Outcome) -> Option<&CallError> {
    match outcome {
        Outcome::Journal(result) => result.as_ref().err(),
        Outcome::Wrote(result) | Outcome::Stored(result) => result.as_ref().err(),
        Outcome::Secret(result) => result.as_ref().err(),
        Outcome::Info(result) => result.as_ref().err(),
        Outcome::Minted(result) => result.as_ref().err(),
        Outcome::Done(result) => result.as_ref().err(),
        Outcome::Listed(result) => result.as_ref().err(),
        Outcome::Waited => None,
    }
}
