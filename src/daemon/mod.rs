//! The life of the process: start, recover, be ready, work, stop.
//!
//! One task owns the roster and decides who runs; each run is a task of its own that ends with a message. No run touches the roster, so
//! nothing here is shared or locked. A panic of a run fails that run and nothing else.
//!
//! Start, in order: configuration (by the caller), clients, signals, one look at every secret (which is recovery: what a dead holder left is
//! a state of the journal), ready, schedule.

pub mod assemble;
pub mod board;
pub mod check;
mod chores;
pub mod command;
mod dispatch;
mod enrolment;
mod gate;
pub mod job;
mod journal_retention;
mod leavers;
mod listen;
pub mod listing;
pub mod look;
mod lookback;
mod readiness;
pub mod roster;
mod shutdown;
pub mod signals;
mod sweep;
mod systemd;
mod telling;
pub mod window;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::Settings;
use crate::ops::listener::Listener;
use crate::schedule::ticker::{GroupId, Groups, Ticker};
use crate::telemetry::Line;
use rotation::error::{CallError, ErrorKind};
use rotation::event::EventName;
use rotation::request::{CurrentTokens, Epochs};
use rotation::runner::Ended;

pub use assemble::AssembleError;
use assemble::Wired;
use chores::{Apply, Chores};
use job::Office;
use roster::Roster;
use signals::Signal;
use telling::Telling;
use window::Window;

/// The loop looks at the services, the watchdog and overdue secrets this often.
const PULSE: Duration = Duration::from_secs(1);
/// Secrets that a lost tick or a step of the clock left behind are found within this.
const PATROL: Duration = Duration::from_secs(30);

/// Reads the configuration again: the settings and the log level, or every problem on a line of its own.
pub type Reload = Arc<dyn Fn() -> Result<(Settings, String), String> + Send + Sync>;

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// The clients cannot be built, or the engine or the signals cannot be started.
pub async fn run(settings: Settings, instance: String, reload: Reload) -> anyhow::Result<()> {
    let signals = signals::listen()?;
    let (ticker, ticks) = Ticker::start(Groups::new()).await?;
    let mut life = Life::new(settings, instance, reload, ticker)?;
    life.regroup().await?;
    life.listen();
    life.go(ticks, signals).await;
    Ok(())
}

struct Life {
    settings: Settings,
    reload: Reload,
    office: Office,
    login_stop: CancellationToken,
    /// The clients before a reload, whose logins are given back when no run uses them any more.
    former: Vec<Wired>,
    boot: String,
    instance: String,
    installation: Option<String>,
    roster: Roster,
    /// Made when it is asked for; none when it may have changed.
    current_tokens: Option<Arc<CurrentTokens>>,
    epochs: Option<Arc<Epochs>>,
    /// Every secret was looked at once since the start.
    looked_at_all: bool,
    /// A server's clock disagreed at the last pulse.
    clocks_disagreed: bool,
    queue: VecDeque<String>,
    runs: JoinSet<(String, Ended)>,
    running: HashMap<tokio::task::Id, String>,
    ticker: Ticker,
    groups: HashMap<GroupId, Vec<String>>,
    chores: Chores,
    began: Timestamp,
    /// Since when the secrets of an environment can rotate: the start, or when it or Vault came back.
    able_since: BTreeMap<String, Timestamp>,
    /// What was down at the last pulse: Vault (no name), environments.
    down: Vec<Option<String>>,
    /// The journal was listed: no document that belongs to a secret under another name is overlooked.
    surveyed: bool,
    ready: bool,
    /// The file was refused at the last reload.
    rejected: bool,
    /// What systemd shows.
    status: String,
    next_sweep: Instant,
    next_survey: Instant,
    next_patrol: Instant,
    /// What the outside may see.
    window: Arc<Window>,
    listener: Option<Listener>,
    telling: Telling,
    next_listen: Instant,
}

impl Life {
    fn new(
        settings: Settings,
        instance: String,
        reload: Reload,
        ticker: Ticker,
    ) -> Result<Self, AssembleError> {
        let office = Office::new(assemble::assemble(&settings)?, &settings);
        let window = Arc::new(Window::new(&instance, &office));
        let mut life = Life {
            roster: Roster::new(),
            current_tokens: None,
            epochs: None,
            looked_at_all: false,
            clocks_disagreed: false,
            queue: VecDeque::new(),
            runs: JoinSet::new(),
            running: HashMap::new(),
            ticker,
            groups: HashMap::new(),
            chores: Chores::default(),
            began: clock::now(),
            able_since: BTreeMap::new(),
            down: Vec::new(),
            surveyed: false,
            ready: false,
            rejected: false,
            status: String::new(),
            next_sweep: Instant::now(),
            next_survey: Instant::now(),
            next_patrol: Instant::now(),
            login_stop: CancellationToken::new(),
            former: Vec::new(),
            boot: job::mark(),
            installation: None,
            instance,
            settings,
            reload,
            office,
            window,
            listener: None,
            telling: Telling::default(),
            next_listen: Instant::now(),
        };
        life.begin_telling()?;
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

    async fn go(
        &mut self,
        mut ticks: mpsc::Receiver<GroupId>,
        mut signals: mpsc::UnboundedReceiver<Signal>,
    ) {
        let mut pulse = tokio::time::interval(PULSE);
        pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.dispatch();
            self.window.turn();
            let alarm = self.next_alarm();
            tokio::select! {
                Some(group) = ticks.recv() => self.tick(group),
                Some(ended) = self.runs.join_next_with_id() => self.collect(ended),
                Some(answer) = self.chores.next() => {
                    match self.chores.ended(answer) {
                        Some(apply) => apply(self),
                        None => self.hurry_chores(),
                    }
                }
                Some(signal) = signals.recv() => match signal {
                    Signal::Stop => break,
                    Signal::Reload => self.reload().await,
                },
                _ = pulse.tick() => self.pulse(),
                () = tokio::time::sleep(alarm) => self.ring(),
            }
        }
        self.shut_down().await;
    }

    /// One of the chores ended by a fault of ours: nothing waits an hour for the next one.
    fn hurry_chores(&mut self) {
        let soon = Instant::now() + PATROL;
        self.next_survey = self.next_survey.min(soon);
        self.next_sweep = self.next_sweep.min(soon);
    }

    /// Once a second: services, watchdog, what is due in its time, readiness.
    fn pulse(&mut self) {
        systemd::watchdog();
        self.probe();
        self.note_suspicions();
        self.office.board.tell();
        self.tell_people();
        self.listen();
        self.log_out_former();
        self.note_clocks();
        if self.next_patrol <= Instant::now() {
            self.next_patrol = Instant::now() + PATROL;
            let now = clock::now();
            let names: Vec<String> = self.roster.keys().cloned().collect();
            for name in names {
                self.look(&name, now);
            }
            // A person mends it, most likely by a command of their own.
            self.look_back(
                "look at what is stuck",
                |entry| entry.stuck().is_some(),
                |_| {},
            );
        }
        if self.installation.is_none() {
            self.ask_installation();
        } else {
            self.survey_when_due();
            self.sweep_when_due();
        }
        self.become_ready();
    }

    /// When the clocks agree again, what waited for that is looked at.
    fn note_clocks(&mut self) {
        let clocks = self.office.wired.clocks();
        let disagree = clocks
            .iter()
            .any(|(name, clock)| sweep::disagrees(name, clock).is_some());
        if self.clocks_disagreed && !disagree {
            let now = clock::now();
            self.roster.values_mut().for_each(|entry| entry.hurry(now));
        }
        self.clocks_disagreed = disagree;
    }

    /// A wrapped secret id that somebody else may have; the login told it first.
    fn note_suspicions(&self) {
        let board = &self.office.board;
        let key = |path: &Path| format!("wrapped {}", path.display());
        let mut all = assemble::suspicions();
        all.retain(|(path, _)| self.settings.vault.auth.unwraps(path));
        board.keep("wrapped ", all.iter().map(|(path, _)| key(path)).collect());
        for (path, what) in all {
            let line = Line::new(EventName::WrappedSecretIdRefused, what);
            board.raise(key(&path), line, false);
        }
    }

    fn ask_installation(&mut self) {
        let board = self.office.board.clone();
        if board.vault_outage().is_some() {
            return;
        }
        let ledger = self.office.wired.ledger.clone();
        self.chores.begin("installation", async move {
            let asked = ledger.installation().await;
            board.called("", "journal", asked.as_ref().err());
            Box::new(move |life: &mut Life| life.installed(asked)) as Apply
        });
    }

    fn installed(&mut self, asked: Result<String, CallError>) {
        match asked {
            Ok(id) => {
                self.office.board.settle("journal");
                self.installation = Some(id);
                self.survey_when_due();
            }
            Err(error) if error.kind == ErrorKind::Refused => {
                let line = Line::new(EventName::JournalUnreadable, error.what);
                self.office.board.raise("journal", line, true);
            }
            Err(_) => {}
        }
    }
}
