//! The life of the process: start, recover, be ready, work, stop.
//!
//! One task owns the roster and decides who runs; each run is a task of its own that ends with a message. No run touches the roster, so
//! nothing here is shared or locked. A panic of a run fails that run and nothing else.
//!
//! Start, in order: configuration (by the caller), clients, signals, one look at every secret (which is recovery: what a dead holder left is
//! a state of the journal), ready, schedule.

pub mod assemble;
pub mod board;
pub mod command;
pub mod job;
pub mod listing;
pub mod notify;
pub mod roster;
pub mod signals;
mod sweep;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::Settings;
use crate::rotation::error::{CallError, ErrorKind, Service};
use crate::rotation::event::EventName;
use crate::rotation::facts::{Errand, Holder, Listing, Verdict};
use crate::rotation::plan::Plan;
use crate::rotation::ports::SecretStore;
use crate::rotation::runner::Ended;
use crate::rotation::token::{Epoch, TokenId};
use crate::schedule::ticker::{GroupId, Groups, Ticker};
use crate::telemetry::{self, Line};

use assemble::AssembleError;
use board::Board;
use job::Office;
use roster::{Entry, Roster};
use signals::Signal;

/// The loop looks at the services, the watchdog and overdue secrets this often.
const PULSE: Duration = Duration::from_secs(1);
/// A start is ready after this at the latest: a unit must not fail because Vault is down.
const READY_AT_LATEST: Duration = Duration::from_secs(30);
/// Secrets that a lost tick or a step of the clock left behind are found within this.
const PATROL: Duration = Duration::from_secs(30);

/// Reads the configuration again.
pub type Reload = Box<dyn Fn() -> Result<Settings, String> + Send>;

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// The clients cannot be built, or the engine or the signals cannot be started.
pub async fn run(settings: Settings, instance: String, reload: Reload) -> anyhow::Result<()> {
    let (ticker, ticks) = Ticker::start(Groups::new()).await?;
    let signals = signals::listen()?;
    let mut life = Life::new(settings, instance, reload, ticker)?;
    life.regroup().await?;
    life.go(ticks, signals).await;
    Ok(())
}

struct Life {
    settings: Settings,
    reload: Reload,
    office: Office,
    login_stop: CancellationToken,
    boot: String,
    instance: String,
    installation: Option<String>,
    roster: Roster,
    queue: VecDeque<String>,
    listings: BTreeMap<String, Listing>,
    runs: JoinSet<(String, Ended)>,
    running: HashMap<tokio::task::Id, String>,
    ticker: Ticker,
    groups: HashMap<GroupId, Vec<String>>,
    able_since: Timestamp,
    was_down: bool,
    ready: bool,
    next_sweep: Instant,
    next_patrol: Instant,
}

impl Life {
    fn new(
        settings: Settings,
        instance: String,
        reload: Reload,
        ticker: Ticker,
    ) -> Result<Self, AssembleError> {
        let office = Office {
            wired: assemble::assemble(&settings)?,
            board: Arc::new(Board::new(settings.environments.keys())),
            stop: CancellationToken::new(),
            began: Instant::now(),
        };
        let mut life = Life {
            roster: Roster::new(),
            queue: VecDeque::new(),
            listings: BTreeMap::new(),
            runs: JoinSet::new(),
            running: HashMap::new(),
            ticker,
            groups: HashMap::new(),
            able_since: clock::now(),
            was_down: false,
            ready: false,
            next_sweep: Instant::now(),
            next_patrol: Instant::now(),
            login_stop: CancellationToken::new(),
            boot: job::mark(),
            installation: None,
            instance,
            settings,
            reload,
            office,
        };
        life.enroll();
        life.keep_logged_in();
        Ok(life)
    }

    fn keep_logged_in(&mut self) {
        self.login_stop.cancel();
        self.login_stop = CancellationToken::new();
        let (wired, stop) = (self.office.wired.clone(), self.login_stop.clone());
        tokio::spawn(async move { wired.keep_logged_in(stop).await });
    }

    /// Brings the roster in line with the settings; what did not change keeps its state.
    fn enroll(&mut self) {
        let mut wanted: BTreeMap<String, _> = self
            .settings
            .secrets
            .iter()
            .map(|secret| (secret.plan.name.clone(), secret.clone()))
            .collect();
        let now = clock::now();
        self.roster.retain(|name, entry| match wanted.remove(name) {
            Some(settings) => {
                if entry.settings.as_ref() != Some(&settings) {
                    entry.plan = Arc::new(settings.plan.clone());
                    entry.settings = Some(settings);
                    entry.hurry(now);
                }
                true
            }
            None => {
                // What it left is finished by its document.
                entry.settings = None;
                entry
                    .record()
                    .is_some_and(|record| !record.retiring.is_empty() || !record.open.is_empty())
            }
        });
        for (name, settings) in wanted {
            let entry = Entry::new(Arc::new(settings.plan.clone()), Some(settings));
            self.roster.insert(name, entry);
        }
    }

    /// One job of the engine per distinct (expression, zone).
    async fn regroup(&mut self) -> anyhow::Result<()> {
        let mut ids: HashMap<(String, String), GroupId> = HashMap::new();
        let mut groups = Groups::new();
        self.groups.clear();
        for (name, entry) in &self.roster {
            let Some(settings) = &entry.settings else {
                continue;
            };
            let key = (settings.schedule_text.clone(), settings.zone_name.clone());
            let next = GroupId(ids.len() as u32);
            let id = *ids.entry(key).or_insert(next);
            groups
                .entry(id)
                .or_insert_with(|| settings.schedule.clone());
            self.groups.entry(id).or_default().push(name.clone());
        }
        self.ticker.set(groups).await?;
        Ok(())
    }

    async fn go(
        &mut self,
        mut ticks: mpsc::Receiver<GroupId>,
        mut signals: mpsc::UnboundedReceiver<Signal>,
    ) {
        let mut pulse = tokio::time::interval(PULSE);
        pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.dispatch();
            let alarm = self.next_alarm();
            tokio::select! {
                Some(group) = ticks.recv() => self.tick(group),
                Some(ended) = self.runs.join_next_with_id() => self.collect(ended),
                Some(signal) = signals.recv() => match signal {
                    Signal::Stop => break,
                    Signal::Reload => self.reload().await,
                },
                _ = pulse.tick() => self.pulse().await,
                () = tokio::time::sleep(alarm) => self.ring(),
            }
        }
        self.shut_down().await;
    }

    /// A group's due time came: its secrets are asked for their own.
    fn tick(&mut self, group: GroupId) {
        let now = clock::now();
        let names = self.groups.get(&group).cloned().unwrap_or_default();
        for name in names {
            self.look(&name, now);
        }
    }

    /// Alarms: retries, clean-up, retirement, jitter, expiry, missed runs.
    fn ring(&mut self) {
        let now = clock::now();
        let due: Vec<String> = self
            .roster
            .iter()
            .filter(|(_, entry)| !entry.busy && entry.alarm(now).is_some_and(|at| at <= now))
            .map(|(name, _)| name.clone())
            .collect();
        for name in due {
            self.enqueue(&name);
        }
    }

    fn look(&mut self, name: &str, now: Timestamp) {
        let able_since = self.able_since;
        let Some(entry) = self.roster.get_mut(name) else {
            return;
        };
        if entry.busy {
            entry.again = true;
            return;
        }
        if entry.due.is_none() {
            entry.plan_next(now, able_since);
        }
        if entry.alarm(now).is_some_and(|at| at <= now) {
            self.enqueue(name);
        }
    }

    fn enqueue(&mut self, name: &str) {
        if let Some(entry) = self.roster.get_mut(name)
            && !entry.busy
        {
            entry.busy = true;
            self.queue.push_back(name.to_owned());
        }
    }

    /// How long until the next alarm.
    fn next_alarm(&self) -> Duration {
        let now = clock::now();
        let next = self
            .roster
            .values()
            .filter(|entry| !entry.busy)
            .filter_map(|entry| entry.alarm(now))
            .min();
        match next {
            Some(at) => Duration::try_from(at.duration_since(now)).unwrap_or_default(),
            None => PATROL,
        }
    }

    /// Starts what is queued, as far as the limit and the services allow.
    fn dispatch(&mut self) {
        if self.installation.is_none() {
            return;
        }
        let mut parked = VecDeque::new();
        while self.runs.len() < self.settings.limits.concurrency {
            let Some(name) = self.queue.pop_front() else {
                break;
            };
            let environment = match self.roster.get(&name) {
                Some(entry) => entry.plan.coordinates.environment.clone(),
                None => continue,
            };
            if self.office.board.can_start(&environment) {
                self.start(name);
            } else {
                parked.push_back(name);
            }
        }
        parked.append(&mut self.queue);
        self.queue = parked;
    }

    fn start(&mut self, name: String) {
        let Some(entry) = self.roster.get(&name) else {
            return;
        };
        let now = clock::now();
        let wish = entry.settings.as_ref().and_then(|_| entry.wish(now));
        if let Some(wish) = &wish {
            let message = format!("due, because {}", entry.because);
            let coordinates = &entry.plan.coordinates;
            let mut line =
                Line::new(EventName::ScheduleDue, message).secret(&name, &coordinates.environment);
            if let Some(due) = wish.due {
                line = line.since(Some(due));
            }
            line.write();
        }
        let plan = entry.plan.clone();
        let (known, watch) = (entry.known.clone(), entry.watch);
        let listing = self.listings.get(&plan.coordinates.environment).cloned();
        let others = self.others(&name);
        let clock_ok = sweep::clocks_agree(&self.office);
        let (office, holder) = (self.office.clone(), self.holder());
        let installation = self.installation.clone().unwrap_or_default();
        let id = job::mark();
        let task_name = name.clone();
        let handle = self.runs.spawn(async move {
            let errand = |abilities, history| Errand {
                plan: plan.clone(),
                holder,
                id,
                fresh_epoch: Epoch {
                    installation,
                    secret: job::mark()[..6].to_owned(),
                },
                abilities,
                history,
                wish,
                dry: false,
                clock_ok,
                others,
                journal: known.clone(),
                watch,
                listing,
            };
            let ended = run_one(&office, &plan, errand)
                .await
                .unwrap_or_else(|error| Ended {
                    verdict: Verdict::Later(error),
                    journal: known.clone(),
                });
            (task_name, ended)
        });
        self.running.insert(handle.id(), name);
    }

    /// The current tokens of the other secrets.
    fn others(&self, name: &str) -> Arc<BTreeMap<TokenId, String>> {
        let Some(retiring) = self.roster.get(name).and_then(Entry::record) else {
            return Arc::default();
        };
        if retiring.retiring.is_empty() {
            return Arc::default();
        }
        let others = self
            .roster
            .iter()
            .filter(|(other, entry)| other.as_str() != name && entry.settings.is_some());
        let current = others.filter_map(|(other, entry)| {
            let current = entry.record()?.current.as_ref()?;
            Some((current.id.clone(), other.clone()))
        });
        Arc::new(current.collect())
    }

    fn holder(&self) -> Holder {
        Holder {
            instance: self.instance.clone(),
            boot: self.boot.clone(),
            resumes: true,
        }
    }

    /// A run ended.
    fn collect(
        &mut self,
        ended: Result<(tokio::task::Id, (String, Ended)), tokio::task::JoinError>,
    ) {
        let (name, ended) = match ended {
            Ok((id, ended)) => {
                self.running.remove(&id);
                ended
            }
            Err(error) => {
                let Some(name) = self.running.remove(&error.id()) else {
                    return;
                };
                let what = "a run ended by a fault of dtrotate; please report it".to_owned();
                Line::new(EventName::RotationFailed, what.clone())
                    .secret(&name, "")
                    .write();
                let error = CallError::new(Service::Vault, ErrorKind::Refused, what);
                (
                    name,
                    Ended {
                        verdict: Verdict::Later(error),
                        journal: None,
                    },
                )
            }
        };
        let now = clock::now();
        let able_since = self.able_since;
        let Some(entry) = self.roster.get_mut(&name) else {
            return;
        };
        entry.ended(&ended.verdict, ended.journal, now);
        entry.plan_next(now, able_since);
        if std::mem::take(&mut entry.again) {
            entry.plan_next(now, able_since);
        }
        sweep::note_troubles(&self.office.board, &name, entry, &ended.verdict);
    }

    /// Once a second: services, watchdog, sweep, readiness.
    async fn pulse(&mut self) {
        notify::watchdog();
        self.probe().await;
        self.office.board.tell();
        if self.next_patrol <= Instant::now() {
            self.next_patrol = Instant::now() + PATROL;
            let now = clock::now();
            let names: Vec<String> = self.roster.keys().cloned().collect();
            for name in names {
                self.look(&name, now);
            }
        }
        if self.installation.is_none() && self.office.board.vault_outage().is_none() {
            let asked = self.office.wired.ledger.installation().await;
            self.office
                .board
                .called("", "journal", asked.as_ref().err());
            match asked {
                Ok(id) => self.installation = Some(id),
                Err(error) if error.kind == ErrorKind::Refused => {
                    let line = Line::new(EventName::JournalUnreadable, error.what.clone());
                    self.office.board.raise("journal", line, true);
                }
                Err(_) => {}
            }
            self.ring();
        }
        if self.installation.is_some() && self.next_sweep <= Instant::now() {
            self.next_sweep = Instant::now() + self.settings.daemon.sweep;
            self.sweep().await;
        }
        self.become_ready();
    }

    /// Asks the services that are down whether they are back.
    async fn probe(&mut self) {
        let board = self.office.board.clone();
        if board.vault_probe_due() {
            let down = self.office.wired.probe_vault().await;
            let error = down.map(|what| CallError::new(Service::Vault, ErrorKind::Transient, what));
            board.called("", "read", error.as_ref());
        }
        if board.vault_outage().is_none() {
            for name in board.environment_probes_due() {
                let answer = self.office.wired.management_token(&name).await;
                board.called(&name, "look_up", answer.as_ref().err());
            }
        }
        let down = board.vault_outage().is_some();
        if self.was_down && !down {
            let now = clock::now();
            self.able_since = now;
            self.roster.values_mut().for_each(|entry| entry.hurry(now));
            self.next_sweep = Instant::now();
            self.ring();
        }
        self.was_down = down;
    }

    fn become_ready(&mut self) {
        if self.ready {
            return;
        }
        let recovered =
            self.installation.is_some() && self.roster.values().all(|entry| entry.looked);
        let outages = self.office.board.outages();
        let waited = self.office.began.elapsed() >= READY_AT_LATEST;
        if !recovered && !waited {
            return;
        }
        self.ready = true;
        let status = match outages.first() {
            Some(outage) if !recovered => format!("waiting for {outage}"),
            _ => format!("{} secrets", self.roster.len()),
        };
        notify::ready(&status);
        Line::new(EventName::DaemonReady, format!("ready: {status}")).write();
    }

    /// Reads the configuration again; a bad one is refused as a whole.
    async fn reload(&mut self) {
        notify::reloading();
        match (self.reload)() {
            Ok(settings) => match self.adopt(settings).await {
                Ok(()) => {
                    let message = format!("{} secrets", self.settings.secrets.len());
                    Line::new(EventName::ConfigReloaded, message).write();
                }
                Err(error) => reject(&error.to_string()),
            },
            Err(problems) => reject(&problems),
        }
        notify::ready(&format!("{} secrets", self.roster.len()));
    }

    async fn adopt(&mut self, settings: Settings) -> anyhow::Result<()> {
        let rewired = settings.vault != self.settings.vault
            || settings.journal != self.settings.journal
            || settings.environments != self.settings.environments;
        if rewired {
            self.office.wired = assemble::assemble(&settings)?;
            self.office.board = Arc::new(Board::new(settings.environments.keys()));
            if settings.journal != self.settings.journal {
                self.installation = None;
            }
        }
        telemetry::set_level(settings.log.level.unwrap_or("info"));
        self.settings = settings;
        if rewired {
            self.keep_logged_in();
        }
        self.enroll();
        self.regroup().await?;
        self.next_sweep = Instant::now();
        self.ring();
        Ok(())
    }

    /// Takes no new work, lets what is in flight come to a safe place, and ends.
    async fn shut_down(&mut self) {
        notify::stopping();
        let message = format!("stopping; {} runs in flight", self.runs.len());
        Line::new(EventName::ShutdownStarted, message).write();
        self.office.stop.cancel();
        let drain = async { while self.runs.join_next().await.is_some() {} };
        let limit = self.settings.daemon.shutdown_timeout;
        let left = tokio::time::timeout(limit, drain).await.is_err();
        let message = if left {
            format!(
                "stopped; {} runs were left where they are, and the journal says how to go on",
                self.runs.len()
            )
        } else {
            "stopped; nothing is in flight".to_owned()
        };
        self.login_stop.cancel();
        let log_out = self.office.wired.log_out();
        let _ = tokio::time::timeout(Duration::from_secs(2), log_out).await;
        Line::new(EventName::ShutdownFinished, message).write();
    }
}

fn reject(problems: &str) {
    for problem in problems.lines().filter(|line| !line.is_empty()) {
        Line::new(
            EventName::ConfigRejected,
            format!("{problem}; the old configuration stays"),
        )
        .write();
    }
}

/// One run with its preliminaries.
async fn run_one(
    office: &Office,
    plan: &Plan,
    errand: impl FnOnce(crate::rotation::token::Abilities, bool) -> Errand,
) -> Result<Ended, CallError> {
    use crate::rotation::ports::{SecretPath, TokenIssuer};
    let issuer = office.wired.issuer(&plan.coordinates.environment)?.clone();
    let at = SecretPath {
        mount: plan.coordinates.mount.clone(),
        path: plan.coordinates.path.clone(),
    };
    let history = office.wired.store.has_history(&at).await;
    office.board.called(
        &plan.coordinates.environment,
        "read",
        history.as_ref().err(),
    );
    let errand = errand(issuer.abilities(), history?);
    Ok(office.run(errand, &issuer).await)
}
