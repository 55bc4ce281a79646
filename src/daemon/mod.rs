//! The daemon of the process: start, recover, be ready, work, stop.
//!
//! A controller: one task owns the secrets and decides which of them are worked on; each run is a separate task that ends with a message. No run
//! touches the secrets, so nothing here is shared or locked. A panic of a run fails that run and nothing else.
//!
//! Start, in order: configuration (by the caller), clients, signals, one run over every secret (which is recovery: what a dead holder left is
//! a state of the journal), ready, schedule.

mod announcements;
pub mod assemble;
mod at_rest;
pub mod audit;
mod background;
mod call_limit;
pub mod check;
mod circuit_breaker;
mod claim_age;
mod clocks;
pub mod conditions;
pub mod difference;
pub mod discovery;
mod entry;
#[cfg(test)]
mod fixture;
pub mod foreground;
mod grouped_listing;
mod histories;
mod holders;
mod in_use;
pub mod job;
mod journal_index;
mod journal_refresh;
mod journal_retention;
mod notifications;
pub mod offline_status;
mod ops_listener;
mod orphaned_documents;
pub mod pass;
pub mod past;
mod peers;
pub mod prune;
mod queue;
mod readiness;
mod reload;
mod replicas;
mod roster;
pub mod services;
pub mod shared_listing;
mod shutdown;
pub mod signals;
mod slices;
pub mod snapshots;
pub mod status_cache;
mod sweep;
mod systemd;
mod token_limits;
pub mod upcoming;
mod values;
mod waits;
mod worker;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::Settings;
use crate::ops::condition::Condition;
use crate::ops::listener::Listener;
use crate::schedule::ticker::{GroupId, Groups, Ticker};
use rotation::error::{CallError, ErrorKind};
use rotation::event::EventName;
use rotation::request::Epochs;

use announcements::Announcements;
pub use assemble::AssembleError;
use assemble::Wired;
use background::{Apply, Background};
use conditions::{Conditions, Subject};
use discovery::Discovered;
use entry::Surroundings;
use holders::Holders;
use job::Office;
use notifications::Notifications;
use queue::{Key, Queue};
use replicas::Replicas;
use roster::Roster;
use signals::Signal;
use slices::Slices;
use status_cache::StatusCache;

/// The loop looks at the services, the watchdog and overdue secrets this often.
const PULSE: Duration = Duration::from_secs(1);
/// Secrets that a lost tick or a step of the clock left behind are found within this.
const RESCAN: Duration = Duration::from_secs(30);

/// A run that came to its end this long ago shows that work is being done.
const PROGRESS: Duration = Duration::from_secs(60);

/// Reads the configuration again: the settings and the log level, or every problem on a line of its own.
pub type Reload = Arc<dyn Fn() -> Result<(Settings, String), String> + Send + Sync>;

/// Runs the daemon until a signal stops it.
///
/// # Errors
/// The clients cannot be built, or the engine or the signals cannot be started.
pub async fn run(settings: Settings, instance: String, reload: Reload) -> anyhow::Result<()> {
    let signals = signals::listen()?;
    let (ticker, ticks) = Ticker::start(Groups::new()).await?;
    let mut daemon = Daemon::new(settings, instance, reload, ticker)?;
    daemon.start_notifications().await?;
    daemon.regroup().await?;
    daemon.listen();
    let mut inputs = Inputs::new(ticks, signals);
    while daemon.turn(&mut inputs).await.is_continue() {}
    daemon.shut_down().await;
    Ok(())
}

/// What the main loop waits for, besides runs and background tasks.
struct Inputs {
    ticks: mpsc::Receiver<GroupId>,
    signals: mpsc::UnboundedReceiver<Signal>,
    pulse: tokio::time::Interval,
}

impl Inputs {
    fn new(ticks: mpsc::Receiver<GroupId>, signals: mpsc::UnboundedReceiver<Signal>) -> Self {
        let mut pulse = tokio::time::interval(PULSE);
        pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        Inputs {
            ticks,
            signals,
            pulse,
        }
    }
}

struct Daemon {
    settings: Settings,
    reload: Reload,
    office: Office,
    login_stop: CancellationToken,
    /// The clients before a reload, whose logins are revoked when no run uses them.
    former: Vec<Wired>,
    boot: String,
    instance: String,
    installation: Option<String>,
    roster: Roster,
    holders: Holders,
    /// Made when it is asked for; none when it may have changed.
    epochs: Option<Arc<Epochs>>,
    /// Every secret was looked at once since the start.
    looked_at_all: bool,
    /// The secret at which the search for one that was not ended last.
    not_looked_at: Key,
    /// Which clocks disagreed at the last pulse.
    clocks: clocks::Agreement,
    queue: Queue,
    /// The secrets that get no token because their owner has as many as allowed.
    at_limit: BTreeSet<Key>,
    /// The other daemons on this journal.
    replicas: Replicas,
    /// What runs report about their waits.
    turns: mpsc::UnboundedReceiver<waits::Turn>,
    /// Runs that have waited and want a worker again.
    continuing: VecDeque<(String, oneshot::Sender<()>)>,
    runs: JoinSet<worker::EndedRun>,
    running: HashMap<tokio::task::Id, Key>,
    ticker: Ticker,
    groups: HashMap<GroupId, Vec<Key>>,
    /// The group of each expression and zone: it stays the same as long as the process lives.
    group_ids: HashMap<(String, String), GroupId>,
    background: Background,
    began: Timestamp,
    /// Since when the secrets of an environment or account can rotate: the start, or when it or Vault came back.
    able_since: BTreeMap<String, Timestamp>,
    /// When a secret of an environment last came to the end of a run.
    progress: BTreeMap<String, Instant>,
    /// The journal was listed: no document that belongs to a secret under another name is overlooked.
    surveyed: bool,
    ready: bool,
    /// The file was refused at the last reload.
    rejected: bool,
    /// What systemd shows.
    status: String,
    sweeps: BTreeMap<String, sweep::Sweep>,
    pruning: prune::watch::Pruning,
    /// The documents that are read again.
    documents: Slices,
    /// The values that are looked at.
    values: Slices,
    /// Documents without a secret that are closed.
    closed_documents: BTreeMap<String, orphaned_documents::Closed>,
    next_retention_check: Instant,
    next_survey: Instant,
    next_rescan: Instant,
    /// What the outside may see.
    status_cache: Arc<StatusCache>,
    /// What commands ask for.
    rechecks: mpsc::UnboundedReceiver<status_cache::Request>,
    listener: Option<Listener>,
    notifications: Notifications,
    announcements: Announcements,
    next_listen: Instant,
    discovered: Discovered,
    next_discovery: Instant,
    /// Other secrets, so other groups of the engine.
    regroup_due: bool,
    /// This process makes one pass and ends; none = it is a daemon.
    pass: Option<pass::Pass>,
}

impl Daemon {
    fn new(
        settings: Settings,
        instance: String,
        reload: Reload,
        ticker: Ticker,
    ) -> Result<Self, AssembleError> {
        let (tell, turns) = mpsc::unbounded_channel();
        let mut office = Office::new(assemble::assemble(&settings)?, &settings);
        office.turns = Some(tell);
        let (ask, rechecks) = mpsc::unbounded_channel();
        let status_cache = Arc::new(StatusCache::new(
            &instance,
            &office,
            offline_status::journal_place(&settings),
            ask,
        ));
        let mut daemon = Daemon {
            roster: Roster::default(),
            holders: Holders::default(),
            epochs: None,
            looked_at_all: false,
            at_limit: BTreeSet::new(),
            not_looked_at: "".into(),
            clocks: clocks::Agreement::default(),
            queue: Queue::new(office.call_limit.runs()),
            replicas: Replicas::default(),
            turns,
            continuing: VecDeque::new(),
            runs: JoinSet::new(),
            running: HashMap::new(),
            ticker,
            groups: HashMap::new(),
            group_ids: HashMap::new(),
            background: Background::default(),
            began: clock::now(),
            able_since: BTreeMap::new(),
            progress: BTreeMap::new(),
            surveyed: false,
            ready: false,
            rejected: false,
            status: String::new(),
            sweeps: BTreeMap::new(),
            pruning: prune::watch::Pruning::default(),
            documents: Slices::default(),
            values: Slices::default(),
            closed_documents: BTreeMap::new(),
            next_retention_check: Instant::now(),
            next_survey: Instant::now(),
            next_rescan: Instant::now(),
            login_stop: CancellationToken::new(),
            former: Vec::new(),
            boot: job::mark(),
            installation: None,
            instance,
            settings,
            reload,
            office,
            status_cache,
            rechecks,
            listener: None,
            notifications: Notifications::default(),
            announcements: Announcements::default(),
            next_listen: Instant::now(),
            discovered: Discovered::default(),
            next_discovery: Instant::now(),
            regroup_due: false,
            pass: None,
        };
        daemon.enroll();
        daemon.keep_logged_in();
        Ok(daemon)
    }

    fn keep_logged_in(&mut self) {
        self.login_stop.cancel();
        self.login_stop = CancellationToken::new();
        let (wired, stop) = (self.office.wired.clone(), self.login_stop.clone());
        tokio::spawn(async move { wired.keep_logged_in(stop).await });
    }

    /// Starts what can start, and takes the next thing that happens. `Break` = a signal to stop.
    async fn turn(&mut self, inputs: &mut Inputs) -> ControlFlow<()> {
        if self.regroup_due {
            // Until it succeeds the rescan finds what the engine does not tick for.
            self.regroup_due = self.regroup().await.is_err();
        }
        self.dispatch();
        self.status_cache.turn();
        let alarm = self.next_alarm();
        tokio::select! {
            Some(group) = inputs.ticks.recv() => self.tick(group),
            Some(ended) = self.runs.join_next_with_id() => self.collect(ended),
            Some(answer) = self.background.next() => {
                match self.background.ended(answer) {
                    Some(apply) => apply(self),
                    None => self.hurry_background(),
                }
            }
            Some(turn) = self.turns.recv() => self.take_turn(turn),
            Some(request) = self.rechecks.recv() => self.recheck(request),
            Some(signal) = inputs.signals.recv() => match signal {
                Signal::Stop => return ControlFlow::Break(()),
                Signal::Reload => self.reload().await,
            },
            _ = inputs.pulse.tick() => self.pulse(),
            () = tokio::time::sleep(alarm) => self.ring(),
        }
        ControlFlow::Continue(())
    }

    /// A background task ended by a fault of ours: nothing waits an hour for the next one.
    fn hurry_background(&mut self) {
        let soon = Instant::now() + RESCAN;
        self.next_survey = self.next_survey.min(soon);
    }

    /// Once a second: services, watchdog, what is due in its time, readiness.
    fn pulse(&mut self) {
        systemd::watchdog();
        self.probe();
        self.note_suspicions();
        self.note_peers();
        self.office.conditions.repeat();
        self.notify_people();
        self.listen();
        self.log_out_former();
        self.note_clocks();
        self.publish_sweeps();
        if self.next_rescan <= Instant::now() {
            self.next_rescan = Instant::now() + RESCAN;
            let now = clock::now();
            let names: Vec<Key> = self.roster.keys().cloned().collect();
            for name in names {
                self.look(&name, now);
                self.evaluate_when_due(&name, now);
            }
            self.publish_pruning();
            // A person resolves it, most likely by a command.
            let stuck = self.roster.names_where(|entry| entry.stuck().is_some());
            self.refresh("refresh what is stuck", stuck);
        }
        if self.installation.is_none() {
            self.ask_installation();
        } else {
            self.survey_when_due();
            self.sweep_when_due();
            self.prune_when_due();
            self.announce_when_due();
            self.refresh_when_due();
            self.look_at_values();
        }
        self.become_ready();
    }

    /// Up to when a delay of work in this environment counts: what cannot be done during an outage or by a wrong clock is not late.
    fn delays_count_until(&self, environment: &str) -> Timestamp {
        let outage = self.office.services.waits_for(environment);
        let outage = outage.filter(|(_, outage)| outage.reported);
        let since = outage.map(|(_, outage)| outage.since);
        let agreed = self.clocks.agreed_until(environment);
        let stops = since.into_iter().chain(agreed).min();
        stops.unwrap_or_else(clock::now)
    }

    /// Wrapped secret ids that somebody else may have; the login has written it to the log.
    fn note_suspicions(&self) {
        let mut all = assemble::suspicions();
        all.retain(|(path, _)| self.settings.vault.login.unwraps(path));
        let conditions = all.into_iter().map(|(path, what)| {
            Condition::new(EventName::WrappedSecretIdRefused, what, clock::now())
                .subject(path.display().to_string())
        });
        let conditions = conditions.collect();
        self.office
            .conditions
            .set_reported(Subject::WrappedSecretIds, conditions);
    }

    fn ask_installation(&mut self) {
        let services = self.office.services.clone();
        if services.vault_outage().is_some() {
            return;
        }
        let ledger = self.office.wired.ledger.clone();
        self.background.begin("installation", async move {
            let asked = ledger.installation().await;
            services.called("", "journal", asked.as_ref().err());
            Box::new(move |daemon: &mut Daemon| daemon.installed(asked)) as Apply
        });
    }

    fn installed(&mut self, asked: Result<String, CallError>) {
        match asked {
            Ok(id) => {
                self.office.conditions.set(Subject::Installation, vec![]);
                self.installation = Some(id);
                self.survey_when_due();
            }
            Err(error) if error.kind == ErrorKind::Refused => {
                let all = vec![conditions::journal_refused(error.what)];
                self.office.conditions.set(Subject::Installation, all);
            }
            Err(_) => {}
        }
    }

    /// Shows what is known of a secret, and opens and resolves its conditions.
    fn publish(&mut self, name: &str) {
        self.publish_by(name, Conditions::set_secret);
    }

    /// The same when a run over it has ended; `came_to_rest` = nothing was left to do. What an earlier run reported is resolved by this one
    /// if it can be.
    fn publish_after_run(&mut self, name: &str, came_to_rest: bool) {
        let record = self.roster.get(name).and_then(|entry| entry.record());
        let last_success = record.as_ref().and_then(|it| it.health.last_success);
        let open_attempts = record.as_ref().is_some_and(|it| !it.open.is_empty());
        drop(record);
        let conditions = &self.office.conditions;
        conditions.resolve_incidents(name, |incident| {
            match EventName::from_word(&incident.kind) {
                Some(EventName::MintAnswerMismatch) => came_to_rest && !open_attempts,
                Some(EventName::SecretChangedElsewhere) => last_success > Some(incident.since),
                _ => came_to_rest,
            }
        });
        self.publish_by(name, Conditions::set_secret_after_run);
    }

    fn publish_by(&mut self, name: &str, set: fn(&Conditions, &str, Vec<Condition>)) {
        let Some(entry) = self.roster.get(name) else {
            self.status_cache.remove(name);
            self.office.conditions.forget_secret(name);
            return;
        };
        let service = &entry.plan.service;
        let able_since = self.able_since.get(service);
        let progress = self.progress.get(service);
        let around = Surroundings {
            able_since: able_since.copied().unwrap_or(self.began),
            progress: self.queue.is_busy(name)
                && progress.is_some_and(|at| at.elapsed() < PROGRESS),
            instance: &self.instance,
            now: self.delays_count_until(service),
        };
        let record = entry.record();
        let facts = entry.facts(name, record.as_deref(), &around);
        let conditions = facts.conditions();
        let (state, next) = (facts.state(&conditions), facts.next_evaluation());
        let now = around.now;
        drop(record);
        if let Some(entry) = self.roster.get_mut(name) {
            entry.evaluated(state, next, now);
        }
        self.roster.rest(name);
        self.show(name);
        set(&self.office.conditions, name, conditions);
    }

    /// Shows a secret to the outside as it is now.
    fn show(&self, name: &str) {
        if let Some((name, entry)) = self.roster.get_key_value(name) {
            self.status_cache.show(name, entry);
        }
    }

    /// What is known of a secret has changed, or it is gone: whatever is derived from it follows.
    fn update(&mut self, name: &str, now: Timestamp) {
        self.note_holder(name);
        self.note_announcement(name);
        self.publish(name);
        self.rearm(name, now);
    }

    /// Computes the conditions of a secret where the passing of time alone may have opened one.
    fn evaluate_when_due(&mut self, name: &str, now: Timestamp) {
        let entry = self.roster.get(name);
        let at = entry.and_then(|entry| entry.next_evaluation);
        if at.is_some_and(|at| at <= now) {
            self.publish(name);
        }
    }
}

/// Nothing panics while it holds one of these locks in a way that could leave half a change.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}
