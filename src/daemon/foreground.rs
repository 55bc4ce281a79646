//! Commands that act on secrets: in the foreground, under the same claims as a daemon, several secrets at the same time. What is due for
//! retirement when a rotation has ended is retired as well, because there may be no daemon that would do it.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::stream::{self, Stream, StreamExt, TryStreamExt};

use crate::clock;
use crate::config::{SecretSettings, Settings};
use rotation::command::RunResult;
use rotation::error::{CallError, ErrorKind, Service};
use rotation::event::EventName;
use rotation::pause::Pause;
use rotation::plan::Kind;
use rotation::ports::{Journal, JournalRead, TokenIssuer};
use rotation::record::{Record, Trigger};
use rotation::request::{
    ClaimObservation, CurrentTokens, Epochs, Goal, Hints, Holder, JournalSnapshot, Known,
    RevokeRequest, RotationRequest,
};
use rotation::retry;
use rotation::runner::Ended;
use rotation::token::{TokenId, TokenInfo};

use super::assemble::{self, AssembleError, Issuer};
use super::claim_age;
use super::job::{self, Office, Start};
use super::journal_index;
use super::sweep;

/// Documents that are read at the same time.
const READS: usize = 16;
/// A leaked token should be dead within this; so long what may pass is tried again.
const REVOKE_FOR: Duration = Duration::from_secs(60);
/// At most this lies between two tries.
const REVOKE_PAUSE: Duration = Duration::from_secs(5);

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
        })
    }

    /// Rotates each secret, `limits.concurrency` at a time in each environment, and retires what is due then. `confirmed` = for these
    /// secrets, rights that only the journal knows may be given to the new token. Each result is handed to `done` as soon as it is known.
    pub async fn rotate(
        &self,
        secrets: Vec<&'a SecretSettings>,
        confirmed: impl Fn(&SecretSettings) -> bool,
        mut done: impl FnMut(Finished<'a>),
    ) {
        self.compare_clocks(&secrets).await;
        let runs = self.concurrently(secrets, |secret| self.rotate_one(secret, confirmed(secret)));
        let mut runs = std::pin::pin!(runs);
        let mut due = vec![];
        while let Some((secret, ended)) = runs.next().await {
            let finished = Finished {
                secret,
                ended,
                retirement: None,
            };
            match self.is_retirement_due(&finished) {
                true => due.push(finished),
                false => done(finished),
            }
        }
        // After the rotations, so that it is known what every secret holds now.
        let urls = due
            .iter()
            .map(|it| it.secret.plan.coordinates.base_url.as_str());
        let held =
            journal_index::held_tokens(&self.office.wired, self.settings, urls.collect()).await;
        let mut rotated: BTreeMap<&str, Finished<'a>> = BTreeMap::new();
        let secrets: Vec<_> = due.iter().map(|finished| finished.secret).collect();
        rotated.extend(due.into_iter().map(|it| (it.secret.plan.name.as_str(), it)));
        let runs = self.concurrently(secrets, |secret| self.retire(secret, &held));
        let mut runs = std::pin::pin!(runs);
        while let Some((secret, ended)) = runs.next().await {
            if let Some(finished) = rotated.remove(secret.plan.name.as_str()) {
                done(Finished {
                    retirement: Some(ended),
                    ..finished
                });
            }
        }
    }

    /// Makes this retiring token of a secret its current value again, the previous one if none is named.
    pub async fn undo(&self, secret: &'a SecretSettings, token: Option<TokenId>) -> Finished<'a> {
        self.one(secret, Goal::Undo(token)).await
    }

    /// The same for a token that was revoked.
    pub async fn unrevoke(&self, secret: &'a SecretSettings, token: TokenId) -> Finished<'a> {
        self.one(secret, Goal::Unrevoke(token)).await
    }

    /// The documents of all configured secrets; those that cannot be read are left out, since a leak does not wait for them.
    pub async fn documents(&self) -> Result<Documents<'a>, CallError> {
        let ledger = &self.office.wired.ledger;
        let reads = self.settings.secrets.iter().map(async |secret| {
            let read = ledger.read(&secret.plan.name).await?;
            Ok::<_, CallError>((secret, read))
        });
        let read: Vec<_> = stream::iter(reads).buffered(READS).try_collect().await?;
        let known = read.into_iter().filter_map(|(secret, read)| match read {
            JournalRead::Present { record, .. } if record.closed_at.is_none() => {
                Some((&**secret, record))
            }
            _ => None,
        });
        Ok(Documents {
            known: known.collect(),
        })
    }

    /// The token that a secret holds in Vault now; none = no value that is a token of its environment.
    pub async fn held_in_vault(
        &self,
        secret: &SecretSettings,
    ) -> Result<Option<TokenId>, CallError> {
        journal_index::value(&self.office.wired, &secret.plan).await
    }

    /// Ends tokens at once, each for the secret that it is a token of; a secret that holds its token gets another one first. A token that
    /// several of these secrets hold is ended when each of them has another one.
    pub async fn revoke(
        &self,
        tokens: Vec<(&'a SecretSettings, RevokeRequest)>,
        documents: &Documents<'a>,
        mut done: impl FnMut(Finished<'a>),
    ) {
        let secrets: Vec<_> = tokens.iter().map(|(secret, _)| *secret).collect();
        self.compare_clocks(&secrets).await;
        let requests: BTreeMap<&str, RevokeRequest> = tokens
            .into_iter()
            .map(|(secret, request)| (secret.plan.name.as_str(), request))
            .collect();
        let held = documents.current_tokens();
        let mut waiting: Vec<Finished<'a>> = vec![];
        let runs = self.concurrently(secrets, |secret| {
            self.revoke_one(secret, &requests[secret.plan.name.as_str()], held.clone())
        });
        let mut runs = std::pin::pin!(runs);
        while let Some((secret, ended)) = runs.next().await {
            let finished = Finished {
                secret,
                ended,
                retirement: None,
            };
            match waits_for_others(&finished) {
                true => waiting.push(finished),
                false => done(finished),
            }
        }
        // Those of them that have another token by now do not keep it any longer.
        let mut left = held.clone();
        for finished in &waiting {
            let name = &finished.secret.plan.name;
            let token = &requests[name.as_str()].revocation.token;
            let ended = finished.ended.as_ref().ok();
            let has_it = ended
                .and_then(record)
                .is_none_or(|record| record.is_current(token));
            if !has_it {
                let names = Arc::make_mut(&mut left).entry(token.clone()).or_default();
                names.retain(|other| **other != **name);
            }
        }
        for finished in waiting {
            let request = &requests[finished.secret.plan.name.as_str()];
            let ended = self
                .revoke_one(finished.secret, request, left.clone())
                .await;
            let before = finished
                .ended
                .map(|ended| ended.reports)
                .unwrap_or_default();
            done(Finished {
                ended: ended.map(|ended| Ended {
                    reports: before.into_iter().chain(ended.reports).collect(),
                    ..ended
                }),
                ..finished
            });
        }
    }

    /// What fails for a reason that may pass is tried again for a while.
    async fn revoke_one(
        &self,
        secret: &SecretSettings,
        request: &RevokeRequest,
        held: Arc<CurrentTokens>,
    ) -> Result<Ended, CallError> {
        let mut reports = vec![];
        let (began, mut tries) = (Instant::now(), 0);
        loop {
            let goal = Goal::Revoke(request.clone());
            let mut ended = self
                .run_once(secret, goal, Some(held.clone()), None)
                .await?;
            reports.append(&mut ended.reports);
            let pending = record(&ended).is_some_and(|record| record.revoking.is_some());
            let token = &request.revocation.token;
            let shared = held
                .get(token)
                .is_some_and(|names| names.iter().any(|name| **name != *secret.plan.name));
            let passes = match ended.result {
                RunResult::Retry(ref error) => !matches!(
                    error.kind,
                    ErrorKind::Unauthorized
                        | ErrorKind::Refused
                        | ErrorKind::Closed
                        | ErrorKind::Exhausted
                ),
                RunResult::Done { .. } => pending && !shared,
                _ => false,
            };
            tries += 1;
            if !passes || began.elapsed() >= REVOKE_FOR {
                return Ok(Ended { reports, ..ended });
            }
            tokio::time::sleep(retry::wait(tries, None, fastrand::u64(..)).min(REVOKE_PAUSE)).await;
        }
    }

    /// Reads a token of an environment, which no secret needs to know.
    pub async fn look_up(
        &self,
        environment: &str,
        token: &TokenId,
    ) -> Result<TokenInfo, CallError> {
        self.issuer_of(environment, token)?.look_up(token).await
    }

    /// What issued this token of an environment, as its id shows.
    fn issuer_of(&self, environment: &str, token: &TokenId) -> Result<&Arc<Issuer>, CallError> {
        let settings = &self.settings;
        let service =
            settings
                .environments
                .get(environment)
                .and_then(|it| match Kind::of_id(token)? {
                    Kind::ActiveGate => Some(it.active_gates()?.service),
                    Kind::Platform => {
                        let account = settings.accounts.get(it.account.as_ref()?)?;
                        Some(account.client.service())
                    }
                    Kind::Api | Kind::Cluster => None,
                });
        let service = service.unwrap_or_else(|| environment.to_owned());
        self.office.wired.issuer(&service)
    }

    /// A token of this kind can be disabled.
    pub fn can_disable(&self, environment: &str, token: &TokenId) -> bool {
        let issuer = self.issuer_of(environment, token);
        issuer.is_ok_and(|issuer| issuer.capabilities().disable)
    }

    /// The token is in use for managing tokens.
    pub async fn manages(&self, token: &TokenId) -> bool {
        let ids = self.office.wired.management_token_ids(None).await;
        ids.contains(token)
    }

    /// Disables or deletes a token of an environment that a person named.
    pub async fn end(
        &self,
        environment: &str,
        token: &TokenId,
        delete: bool,
    ) -> Result<(), CallError> {
        let issuer = self.issuer_of(environment, token)?;
        if issuer.capabilities().disable {
            issuer.set_enabled(token, false).await?;
        }
        match delete || !issuer.capabilities().disable {
            true => issuer.delete(token).await,
            false => Ok(()),
        }
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

    /// Applies `work` to each secret, `limits.concurrency` at a time in each environment: a slow one does not hold up the others.
    fn concurrently<T, F: Future<Output = T>>(
        &self,
        secrets: Vec<&'a SecretSettings>,
        work: impl Fn(&'a SecretSettings) -> F,
    ) -> impl Stream<Item = (&'a SecretSettings, T)> {
        let mut environments: BTreeMap<&String, Vec<_>> = BTreeMap::new();
        for secret in secrets {
            let run = work(secret).map(move |ended| (secret, ended));
            environments
                .entry(&secret.plan.service)
                .or_default()
                .push(run);
        }
        let most = self.settings.limits.concurrency;
        let streams = environments.into_values();
        stream::select_all(streams.map(|runs| stream::iter(runs).buffer_unordered(most)))
    }

    /// Asks each environment for its time once, so that not every run does it.
    async fn compare_clocks(&self, secrets: &[&SecretSettings]) {
        let names: BTreeSet<&str> = secrets
            .iter()
            .map(|secret| secret.plan.service.as_str())
            .collect();
        let asks = names
            .into_iter()
            .map(|environment| sweep::clock_state(&self.office, environment));
        futures_util::future::join_all(asks).await;
    }

    async fn rotate_one(
        &self,
        secret: &SecretSettings,
        confirmed: bool,
    ) -> Result<Ended, CallError> {
        let goal = || {
            Goal::Rotate(RotationRequest {
                due: None,
                trigger: Trigger::Command,
                accept_recorded_rights: confirmed,
            })
        };
        let mut first = self.run(secret, goal(), None).await?;
        if !only_recorded(&first) {
            return Ok(first);
        }
        // What a dead process had stored is the current value now, but it has not been rotated yet.
        let mut second = self.run(secret, goal(), None).await?;
        first.reports.append(&mut second.reports);
        Ok(Ended {
            reports: first.reports,
            ..second
        })
    }

    async fn retire(
        &self,
        secret: &SecretSettings,
        held: &BTreeMap<&str, journal_index::HeldTokens>,
    ) -> Result<Ended, CallError> {
        let held = held.get(secret.plan.coordinates.base_url.as_str());
        let tokens = held.cloned().transpose()?.unwrap_or_default();
        self.run(secret, Goal::Settle, Some(tokens)).await
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
            clock: sweep::clock_state(&self.office, service).await,
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

    /// A former token of the secret is to be disabled or deleted now.
    fn is_retirement_due(&self, finished: &Finished<'_>) -> bool {
        let ended = finished.ended.as_ref().ok();
        let ended = ended.filter(|ended| matches!(ended.result, RunResult::Done { .. }));
        let record = ended.and_then(record);
        let now = clock::now();
        let due = |record: &Record| record.retiring.iter().any(|entry| entry.due <= now);
        !self.dry_run && finished.secret.enabled && record.is_some_and(due)
    }

    /// Gives back what the command logged in for.
    pub async fn close(self) {
        self.office.wired.log_out().await;
    }
}

/// The documents of the configured secrets.
pub struct Documents<'a> {
    known: Vec<(&'a SecretSettings, Box<Record>)>,
}

impl<'a> Documents<'a> {
    /// The secrets that know this token, each with its document; those whose current token it is come first.
    pub fn with_token(&self, token: &TokenId) -> Vec<(&'a SecretSettings, &Record)> {
        let of = |wanted: fn(&Record, &TokenId) -> bool| {
            let known = self.known.iter();
            known.filter(move |(_, record)| wanted(record, token))
        };
        let retires = |record: &Record, token: &TokenId| {
            !record.is_current(token)
                && (record.retiring(token).is_some() || record.is_revoked(token))
        };
        let all = of(Record::is_current).chain(of(retires));
        all.map(|(secret, record)| (*secret, &**record)).collect()
    }

    /// The document of this secret.
    pub fn of(&self, name: &str) -> Option<&Record> {
        let known = self
            .known
            .iter()
            .find(|(secret, _)| secret.plan.name == name);
        known.map(|(_, record)| &**record)
    }

    fn current_tokens(&self) -> Arc<CurrentTokens> {
        let mut index = CurrentTokens::default();
        for (secret, record) in &self.known {
            if let Some(id) = record.current_id() {
                index
                    .entry(id.clone())
                    .or_default()
                    .push(secret.plan.name.as_str().into());
            }
        }
        Arc::new(index)
    }
}

/// The token is ended when the other secrets that hold it have another one.
fn waits_for_others(finished: &Finished<'_>) -> bool {
    let ended = finished.ended.as_ref().ok();
    let ended = ended.filter(|ended| matches!(ended.result, RunResult::Done { .. }));
    let record = ended.and_then(record);
    record.is_some_and(|record| record.revoking.is_some())
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

/// The run found a token that a dead process had stored, recorded it, and did no more.
fn only_recorded(ended: &Ended) -> bool {
    let has = |event| ended.reports.iter().any(|report| report.event == event);
    let recorded = |report: &rotation::event::Report| {
        report.event == EventName::RotationRecovered && report.token_id.is_some()
    };
    matches!(ended.result, RunResult::Done { .. })
        && ended.reports.iter().any(recorded)
        && !has(EventName::RotationSucceeded)
        && !has(EventName::SecretCreated)
        && !has(EventName::SecretChangedElsewhere)
}

/// The end of a run that panicked: a fault of dtrotate in the run of one secret is no reason to give up the others.
fn panicked() -> Ended {
    let what = "internal error: the run panicked. Nothing is lost: the next run continues from the journal. Please report it";
    Ended {
        result: RunResult::InternalError(what.to_owned()),
        journal: None,
        reports: vec![],
    }
}
