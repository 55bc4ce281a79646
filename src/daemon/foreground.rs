//! Commands that act on secrets: in the foreground, under the same claims as a daemon, several secrets at the same time. What is due for
//! retirement when a rotation has ended is retired as well, because there may be no daemon that would do it.

pub mod named_token;
pub mod revoke;
pub mod rotate;
pub mod stopping;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::stream::{self, Stream, StreamExt};

use crate::clock;
use crate::config::{SecretSettings, Settings};
use rotation::command::RunResult;
use rotation::error::{CallError, ErrorKind, Service};
use rotation::pause::Pause;
use rotation::ports::{Journal, JournalRead};
use rotation::record::Record;
use rotation::request::{
    ClaimObservation, Clock, CurrentTokens, Epochs, Goal, Hints, Holder, JournalSnapshot, Known,
};
use rotation::runner::Ended;
use rotation::token::TokenId;

use super::assemble::{self, AssembleError};
use super::claim_age;
use super::clocks;
use super::job::{self, Office, Start};
use super::journal_index;
use super::lock;
use super::snapshots::Snapshots;

use stopping::Stopper;

/// So long a command waits for Vault to take back what it logged in for.
const LOG_OUT: Duration = Duration::from_secs(2);

/// The runs of one command: its clients, and its name in claims.
pub struct Foreground<'a> {
    settings: &'a Settings,
    office: Office,
    holder: Holder,
    installation: String,
    dry_run: bool,
    epochs: tokio::sync::OnceCell<Arc<Epochs>>,
    /// What the secrets at a URL held when that was first needed.
    held_tokens: tokio::sync::Mutex<BTreeMap<String, journal_index::HeldTokens>>,
    /// The environments that were asked for their time.
    asked: Mutex<BTreeMap<String, Arc<tokio::sync::OnceCell<()>>>>,
    /// The secrets of which a run was begun.
    begun: Mutex<BTreeSet<String>>,
}

/// Why a command could not begin.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The clients cannot be built.
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    /// The journal cannot be reached.
    #[error(transparent)]
    Journal(#[from] CallError),
}

/// What became of one secret.
pub struct Finished<'a> {
    /// The secret.
    pub secret: &'a SecretSettings,
    /// How its run ended.
    pub ended: Result<Ended, CallError>,
    /// How the retirements that were due after it ended; none = none was due.
    pub retirement: Option<Result<Ended, CallError>>,
}

impl<'a> Foreground<'a> {
    /// Connects. `instance` must differ from every daemon's, so that neither takes the other's claim for its own. A dry run changes
    /// nothing, not even the journal's first document.
    pub async fn open(
        settings: &'a Settings,
        instance: String,
        dry_run: bool,
    ) -> Result<Self, OpenError> {
        let office = Office::new(assemble::assemble(settings)?, settings);
        let ledger = &office.wired.ledger;
        let installation = match dry_run {
            true => ledger.known_installation().await?.unwrap_or_default(),
            false => ledger.installation().await?,
        };
        let holder = Holder {
            instance,
            boot: job::mark(),
            began: clock::now(),
            user: person(&office, dry_run).await,
            is_daemon: false,
            is_pass: false,
        };
        Ok(Foreground {
            settings,
            office,
            holder,
            installation,
            dry_run,
            epochs: tokio::sync::OnceCell::new(),
            held_tokens: tokio::sync::Mutex::default(),
            asked: Mutex::default(),
            begun: Mutex::default(),
        })
    }

    /// Makes this retiring token of a secret its current value again, the previous one if none is named.
    pub async fn undo(&self, secret: &'a SecretSettings, token: Option<TokenId>) -> Finished<'a> {
        self.one(secret, Goal::Undo(token)).await
    }

    /// The same for a token that was revoked.
    pub async fn unrevoke(&self, secret: &'a SecretSettings, token: TokenId) -> Finished<'a> {
        self.one(secret, Goal::Unrevoke(token)).await
    }

    /// What is known of all configured secrets.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub async fn snapshots(&self) -> Result<Snapshots<'a>, CallError> {
        Snapshots::read(&self.office.wired, self.settings).await
    }

    /// Drops a retiring token of a secret from its journal document; the token is left as it is.
    pub async fn forget(&self, secret: &'a SecretSettings, token: TokenId) -> Finished<'a> {
        self.one(secret, Goal::Forget(token)).await
    }

    /// Pauses these secrets, or resumes them. Each result is handed to `done` as soon as it is known.
    pub async fn set_pause(
        &self,
        secrets: Vec<&'a SecretSettings>,
        pause: Option<Pause>,
        mut done: impl FnMut(Finished<'a>),
    ) {
        let goal = match pause {
            Some(pause) => Goal::Pause(pause),
            None => Goal::Resume,
        };
        let runs = self.concurrently(secrets, |secret| self.run(secret, goal.clone(), None));
        let mut runs = std::pin::pin!(runs);
        while let Some((secret, ended)) = runs.next().await {
            done(Finished {
                secret,
                ended,
                retirement: None,
            });
        }
    }

    /// Where the daemon on this machine listens, if it does.
    pub fn listener(&self) -> Option<std::net::SocketAddr> {
        self.settings.ops.listen
    }

    /// Who gives this command: the person, as Vault knows them, or the process.
    pub fn user(&self) -> &str {
        self.holder.user.as_deref().unwrap_or(&self.holder.instance)
    }

    /// Records this token, whose value is in Vault, although nothing proves that the value is this token's.
    pub async fn adopt(&self, secret: &'a SecretSettings, token: TokenId) -> Finished<'a> {
        self.one(secret, Goal::Adopt(token)).await
    }

    async fn one(&self, secret: &'a SecretSettings, goal: Goal) -> Finished<'a> {
        Finished {
            secret,
            ended: self.run(secret, goal, None).await,
            retirement: None,
        }
    }

    /// The command is to stop: nothing more is begun.
    fn is_stopping(&self) -> bool {
        self.office.stop.is_cancelled()
    }

    /// What it is stopped with.
    pub fn stopper(&self) -> Stopper {
        Stopper {
            asked: self.office.stop.clone(),
            within: self.settings.daemon.shutdown_timeout,
        }
    }

    /// A run of this secret was begun.
    pub fn has_begun(&self, name: &str) -> bool {
        lock(&self.begun).contains(name)
    }

    /// Applies `work` to the secrets of each environment, several at a time: a slow one does not hold up the others. A secret
    /// whose turn comes when the command is to stop is left out.
    fn concurrently<T, F: Future<Output = T>>(
        &self,
        secrets: Vec<&'a SecretSettings>,
        work: impl Fn(&'a SecretSettings) -> F,
    ) -> impl Stream<Item = (&'a SecretSettings, T)> {
        let mut environments: BTreeMap<&String, Vec<_>> = BTreeMap::new();
        for secret in secrets {
            let environment = environments.entry(&secret.plan.service);
            environment.or_default().push(secret);
        }
        let most = self.office.call_limit.runs();
        let work = Arc::new(work);
        let streams = environments.into_values().map(|secrets| {
            let work = work.clone();
            // Each run is made when its turn comes: a run is large.
            let runs = stream::iter(secrets).map(move |secret| {
                let run = (!self.is_stopping()).then(|| work(secret));
                async move { Some((secret, run?.await)) }
            });
            runs.buffer_unordered(most)
        });
        stream::select_all(streams).filter_map(std::future::ready)
    }

    /// Whether the clocks agree. The first run asks an environment for its time, and the others wait for the answer.
    async fn clock(&self, service: &str) -> Clock {
        let asked = lock(&self.asked)
            .entry(service.to_owned())
            .or_default()
            .clone();
        let ask = async || {
            clocks::state(&self.office, service).await;
        };
        asked.get_or_init(ask).await;
        clocks::state(&self.office, service).await
    }

    /// One run, or two: a claim that Vault has had for `claim_timeout` is taken over, because its holder is dead, and there may be no daemon
    /// that does it.
    async fn run(
        &self,
        secret: &SecretSettings,
        goal: Goal,
        current_tokens: Option<Arc<CurrentTokens>>,
    ) -> Result<Ended, CallError> {
        let first = self.run_once(secret, goal.clone(), current_tokens.clone(), None);
        let first = first.await?;
        let RunResult::ClaimedElsewhere { observation, .. } = first.result else {
            return Ok(first);
        };
        // A run that lost its own claim has reported what it began: it does not begin again.
        if !first.reports.is_empty() {
            return Ok(first);
        }
        let name = &secret.plan.name;
        let observation = claim_age::dated(&self.office, name, observation).await;
        let lasted = self.office.mono().saturating_sub(observation.since);
        if lasted < secret.plan.claim_timeout {
            return Ok(first);
        }
        self.run_once(secret, goal, current_tokens, Some(observation))
            .await
    }

    /// The tokens of the secrets at this URL; none if they are not all known.
    async fn held_tokens(&self, url: &str) -> Option<Arc<CurrentTokens>> {
        let mut known = self.held_tokens.lock().await;
        if !known.contains_key(url) {
            let urls = BTreeSet::from([url]);
            let mut read =
                journal_index::held_tokens(&self.office.wired, self.settings, urls).await;
            known.insert(url.to_owned(), read.remove(url)?);
        }
        known.get(url)?.as_ref().ok().cloned()
    }

    /// One run. Given the tokens that the other secrets hold, it also retires what is due. A rotation of a token that does not bear our marker
    /// needs them: the token gets the marker while its value can be proven, and not if another secret holds it.
    async fn run_once(
        &self,
        secret: &SecretSettings,
        goal: Goal,
        current_tokens: Option<Arc<CurrentTokens>>,
        observation: Option<ClaimObservation>,
    ) -> Result<Ended, CallError> {
        let service = &secret.plan.service;
        lock(&self.begun).insert(secret.plan.name.clone());
        let (journal, epochs) = match self.office.wired.ledger.read(&secret.plan.name).await? {
            JournalRead::Present { version, record } => {
                let record = Some(record);
                (
                    Some(JournalSnapshot {
                        cas: version,
                        record,
                    }),
                    None,
                )
            }
            // The identities of the other documents are needed only where a document is to be made.
            JournalRead::Absent { .. } => {
                let read = || journal_index::epochs(&self.office.wired.ledger);
                (None, Some(self.epochs.get_or_try_init(read).await?.clone()))
            }
            JournalRead::Unreadable { .. } => (None, None),
        };
        let record = journal.as_ref().and_then(|known| known.record.as_deref());
        let current = record.and_then(|record| record.current.as_ref());
        let marks = current.is_some_and(|current| !current.marked) && !self.dry_run;
        let current_tokens = match (&goal, current_tokens) {
            (Goal::Rotate(_), None) if marks => {
                self.held_tokens(&secret.plan.coordinates.base_url).await
            }
            (_, known) => known,
        };
        let start = Start {
            plan: secret.plan.clone(),
            holder: self.holder.clone(),
            installation: self.installation.clone(),
            goal,
            dry_run: self.dry_run,
            hints: Hints::default(),
            enabled: secret.enabled,
            blackout_until: secret.blackouts.end(clock::now()),
            clock: self.clock(service).await,
            may_retire: current_tokens.is_some(),
            current_tokens: current_tokens.unwrap_or_default(),
            epochs,
            outage: None,
            known: Known {
                journal,
                observation,
                listing: None,
            },
        };
        let run = AssertUnwindSafe(start.run(&self.office)).catch_unwind();
        let mut ended = run.await.unwrap_or_else(|_| Ok(panicked()))?;
        if let RunResult::Retry(error) = &mut ended.result {
            self.explain(service, error).await;
        }
        Ok(ended)
    }

    /// A refused management token: what is wrong with it is the answer of the environment to it.
    async fn explain(&self, service: &str, error: &mut CallError) {
        if (error.service, error.kind) != (Service::Dynatrace, ErrorKind::Unauthorized) {
            return;
        }
        if let Err(cause) = self.office.wired.management_token(service).await
            && cause.kind == ErrorKind::Unauthorized
        {
            *error = cause;
        }
    }

    /// Gives back what the command logged in for.
    pub async fn close(self) {
        // A login that cannot be given back ends by its own time.
        let _ = tokio::time::timeout(LOG_OUT, self.office.wired.log_out()).await;
    }
}

/// The person behind the Vault token of a command. Without an answer the instance's name must do.
async fn person(office: &Office, dry_run: bool) -> Option<String> {
    match dry_run {
        true => None,
        false => office.wired.own_token().await.ok()?.person(),
    }
}

/// The journal document as a run knew it last.
pub fn record(ended: &Ended) -> Option<&Record> {
    ended.journal.as_ref()?.record.as_deref()
}

/// The end of a run that panicked: an internal error in the run of one secret does not stop the others.
fn panicked() -> Ended {
    let what = "internal error: the run panicked. Nothing is lost: the next run continues from the journal. Please report it";
    Ended {
        result: RunResult::InternalError(what.to_owned()),
        journal: None,
        reports: vec![],
    }
}
