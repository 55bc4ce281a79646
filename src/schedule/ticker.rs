//! The engine that wakes the daemon: tokio-cron-scheduler, and the only file that knows it.
//!
//! One job of the engine stands for one group, that is one distinct (expression, zone). Its closure
//! sends the group's id on a channel and does nothing else; the daemon then asks
//! [`next_due`](super::due::next_due).
//!
//! The engine polls its job storage every 500 ms. As it comes it loses jobs beyond the capacity of
//! its channel, may start one twice on several workers, and keeps the UTC offset that was valid
//! when the job was added. So the storage is our own: it answers a poll with the jobs that are due,
//! and *claims* them at once by moving them to their next firing in the real time zone. What the
//! engine computes itself is ignored.
//!
//! A tick says "ask again", never "rotate". It may come up to half a second late. After a step of
//! the clock (also a machine that slept) every group ticks once, because timers that were armed
//! before are wrong then.
//!
//! It must never do work in a tick, and never hand out a tick for a group that was removed.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;
use tokio_cron_scheduler::job::job_data::{JobAndNextTick, JobStoredData, JobType};
use tokio_cron_scheduler::store::{DataStore, InitStore, MetaDataStorage};
use tokio_cron_scheduler::{
    Job, JobScheduler, JobSchedulerError, SimpleJobCode, SimpleNotificationCode,
    SimpleNotificationStore,
};
use uuid::Uuid;

use super::calendar::Schedule;

/// The schedule that every job of the engine gets. The engine cannot read our expressions (it needs
/// six fields and wants both day fields to match), and has no need to: our storage answers its
/// polls.
const UNUSED_EXPRESSION: &str = "0 0 0 1 1 *";

/// The least capacity of the engine's channels. About 0.6 kB of memory each.
const LEAST_CAPACITY: usize = 256;

/// For each tick the engine puts up to three messages on one of its channels before anyone reads.
const MESSAGES_PER_TICK: usize = 4;

/// The wall clock and the monotonic one may drift apart by less than this between two polls. A
/// clock that is slewed moves by half a millisecond a second.
const STEP: SignedDuration = SignedDuration::from_secs(1);

/// The wall clock, which a ticker must follow.
#[expect(
    clippy::disallowed_methods,
    reason = "an engine that follows the calendar reads the clock that the calendar is about"
)]
fn wall_clock() -> Timestamp {
    Timestamp::now()
}

/// The caller's name for one distinct (expression, zone).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u32);

/// The schedule of each group.
pub type Groups = HashMap<GroupId, Arc<Schedule>>;

/// The engine could not be started or changed. Not expected in practice: its channels are inside
/// this process.
#[derive(Debug, thiserror::Error)]
#[error("the scheduling engine failed to {doing}")]
pub struct TickerError {
    doing: &'static str,
    source: JobSchedulerError,
}

impl TickerError {
    fn while_doing(doing: &'static str) -> impl Fn(JobSchedulerError) -> TickerError {
        move |source| TickerError { doing, source }
    }
}

/// The running engine. Dropping it without [`stop`](Ticker::stop) lets the engine poll on.
pub struct Ticker {
    engine: JobScheduler,
    shared: Arc<Shared>,
    jobs: HashMap<GroupId, (Uuid, Arc<Schedule>)>,
}

impl Ticker {
    /// Starts the engine in the current tokio runtime. The receiver gets the id of a group each
    /// time the group strikes, and ends when the ticker is stopped. A slow reader blocks nothing:
    /// of each group at most one tick waits outside of the channel.
    ///
    /// # Errors
    /// The engine refused.
    pub async fn start(groups: Groups) -> Result<(Ticker, mpsc::Receiver<GroupId>), TickerError> {
        let capacity = LEAST_CAPACITY.max(groups.len() * MESSAGES_PER_TICK);
        let (sender, receiver) = mpsc::channel(capacity);
        let shared = Arc::new(Shared {
            plan: Mutex::new(Plan::new(capacity / MESSAGES_PER_TICK)),
            sender: Mutex::new(Some(sender)),
            started: Instant::now(),
        });
        let starting = TickerError::while_doing("start");
        let engine = JobScheduler::new_with_storage_and_code(
            Box::new(Storage(shared.clone())),
            Box::new(SimpleNotificationStore::default()),
            Box::new(SimpleJobCode::default()),
            Box::new(SimpleNotificationCode::default()),
            capacity,
        )
        .await
        .map_err(&starting)?;
        engine.start().await.map_err(&starting)?;
        let mut ticker = Ticker {
            engine,
            shared,
            jobs: HashMap::new(),
        };
        ticker.set(groups).await?;
        Ok((ticker, receiver))
    }

    /// Makes `groups` the groups that tick: those that are gone or have another schedule are
    /// removed, new ones are added, the others are not touched.
    ///
    /// Groups far beyond the number at the start work, but when many strike in one second, those
    /// beyond a quarter of the first capacity come half a second later each time.
    ///
    /// # Errors
    /// The engine refused; the groups done so far stay done, and the call may be repeated.
    pub async fn set(&mut self, groups: Groups) -> Result<(), TickerError> {
        let gone: Vec<GroupId> = self
            .jobs
            .iter()
            .filter(|(id, (_, schedule))| groups.get(id) != Some(schedule))
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            if let Some((job, _)) = self.jobs.remove(&id) {
                self.shared.plan().remove(job);
                let removed = self.engine.remove(&job).await;
                removed.map_err(TickerError::while_doing("remove a group"))?;
            }
        }
        // One after the other: the engine hangs for good when too many are added at once.
        for (id, schedule) in groups {
            if !self.jobs.contains_key(&id) {
                let job = self.add(id).await;
                let job = job.map_err(TickerError::while_doing("add a group"))?;
                self.shared
                    .plan()
                    .insert(job, schedule.clone(), wall_clock());
                self.jobs.insert(id, (job, schedule));
            }
        }
        Ok(())
    }

    async fn add(&self, id: GroupId) -> Result<Uuid, JobSchedulerError> {
        let shared = self.shared.clone();
        let waiting = Arc::new(AtomicBool::new(false));
        let job = Job::new_async(UNUSED_EXPRESSION, move |_, _| {
            let (shared, waiting) = (shared.clone(), waiting.clone());
            Box::pin(async move { shared.tick(id, &waiting).await })
        })?;
        self.engine.add(job).await
    }

    /// Stops the engine and ends the receiver. The engine's polling task ends within half a second.
    pub async fn stop(mut self) {
        *self.shared.plan() = Plan::new(0);
        self.shared.end();
        // Only sets a flag; it cannot fail.
        let _ = self.engine.shutdown().await;
    }
}

/// What the ticker, the closures and the engine's storage have in common.
struct Shared {
    plan: Mutex<Plan>,
    sender: Mutex<Option<mpsc::Sender<GroupId>>>,
    started: Instant,
}

impl Shared {
    /// Nothing panics while it holds the lock in a way that could leave half a change.
    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sender(&self) -> MutexGuard<'_, Option<mpsc::Sender<GroupId>>> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a tick. Returns at once when another one of this group, marked by `waiting`, still
    /// waits for a slow reader: it says the same.
    async fn tick(&self, id: GroupId, waiting: &AtomicBool) {
        if waiting.swap(true, Ordering::AcqRel) {
            return;
        }
        let sender = self.sender().clone();
        if let Some(sender) = sender {
            // Fails only when nobody listens: the daemon is going down.
            let _ = sender.send(id).await;
        }
        waiting.store(false, Ordering::Release);
    }

    fn end(&self) {
        *self.sender() = None;
    }
}

/// Which job strikes when. Pure: both clocks are arguments.
struct Plan {
    /// How many jobs one poll hands out; the rest waits for the next poll.
    most: usize,
    schedules: HashMap<Uuid, Arc<Schedule>>,
    /// The next firing of each job.
    queue: BTreeSet<(Timestamp, Uuid)>,
    next: HashMap<Uuid, Timestamp>,
    /// Struck and claimed, not yet handed out.
    struck: VecDeque<Uuid>,
    /// The wall clock and the monotonic one at the last poll.
    polled: Option<(Timestamp, Duration)>,
}

impl Plan {
    fn new(most: usize) -> Plan {
        Plan {
            most,
            schedules: HashMap::new(),
            queue: BTreeSet::new(),
            next: HashMap::new(),
            struck: VecDeque::new(),
            polled: None,
        }
    }

    fn insert(&mut self, job: Uuid, schedule: Arc<Schedule>, now: Timestamp) {
        self.schedules.insert(job, schedule);
        self.plan_after(job, now);
    }

    fn remove(&mut self, job: Uuid) {
        self.schedules.remove(&job);
        if let Some(next) = self.next.remove(&job) {
            self.queue.remove(&(next, job));
        }
        self.struck.retain(|other| *other != job);
    }

    /// The jobs that have struck since the last poll, each once and at most `most`; they are
    /// planned again from `now`. `monotonic` counts from any fixed instant. The cost is that of the
    /// jobs handed out, except after a step of the clock.
    fn poll(&mut self, now: Timestamp, monotonic: Duration) -> Vec<Uuid> {
        if self.stepped(now, monotonic) {
            let waiting: HashSet<Uuid> = self.struck.iter().copied().collect();
            let all: Vec<Uuid> = self.schedules.keys().copied().collect();
            for job in all {
                self.plan_after(job, now);
                if !waiting.contains(&job) {
                    self.struck.push_back(job);
                }
            }
        }
        self.polled = Some((now, monotonic));
        while self.struck.len() < self.most
            && let Some(&(due, job)) = self.queue.first()
            && due <= now
        {
            self.plan_after(job, now);
            self.struck.push_back(job);
        }
        let count = self.struck.len().min(self.most);
        self.struck.drain(..count).collect()
    }

    /// Firings that were missed fall together: the next one is after `now`.
    fn plan_after(&mut self, job: Uuid, now: Timestamp) {
        if let Some(before) = self.next.remove(&job) {
            self.queue.remove(&(before, job));
        }
        let schedule = self.schedules.get(&job);
        if let Some(next) = schedule.and_then(|schedule| schedule.next_after(now)) {
            self.next.insert(job, next);
            self.queue.insert((next, job));
        }
    }

    /// Whether the wall clock moved differently from the monotonic one since the last poll: someone
    /// set it, or the machine slept (the monotonic clock of Linux stops then).
    fn stepped(&self, now: Timestamp, monotonic: Duration) -> bool {
        self.polled.is_some_and(|(wall, steady)| {
            let passed = SignedDuration::try_from(monotonic.saturating_sub(steady));
            let drift = wall.duration_until(now) - passed.unwrap_or(SignedDuration::ZERO);
            drift.abs() > STEP
        })
    }
}

/// The engine's view of the [`Plan`].
struct Storage(Arc<Shared>);

type Answer<T> = Pin<Box<dyn Future<Output = Result<T, JobSchedulerError>> + Send>>;

fn answer<T: Send + 'static>(value: T) -> Answer<T> {
    Box::pin(ready(Ok(value)))
}

impl MetaDataStorage for Storage {
    fn list_next_ticks(&mut self) -> Answer<Vec<JobAndNextTick>> {
        let struck = {
            let mut plan = self.0.plan();
            // Both clocks at one moment: a difference would look like a step.
            plan.poll(wall_clock(), self.0.started.elapsed())
        };
        let due = |job: Uuid| JobAndNextTick {
            id: Some(job.into()),
            job_type: JobType::Cron.into(),
            // Long ago: the engine compares with its own clock, read a moment before ours, and
            // must not find that a claimed job is not due yet. Zero would delete the job.
            next_tick: 1,
            last_tick: None,
        };
        answer(struck.into_iter().map(due).collect())
    }

    /// Ignored: the job was claimed and planned again when it was listed.
    fn set_next_and_last_tick(
        &mut self,
        _: Uuid,
        _: Option<DateTime<Utc>>,
        _: Option<DateTime<Utc>>,
    ) -> Answer<()> {
        answer(())
    }

    /// Not used by the engine itself.
    fn time_till_next_job(&mut self) -> Answer<Option<Duration>> {
        answer(None)
    }
}

impl DataStore<JobStoredData> for Storage {
    /// The engine asks for a job after its tick, to compute what is ignored then. Without a
    /// schedule in the answer it has nothing to parse; and it logs an error if there is none.
    fn get(&mut self, job: Uuid) -> Answer<Option<JobStoredData>> {
        answer(Some(JobStoredData {
            id: Some(job.into()),
            last_updated: None,
            last_tick: None,
            next_tick: 1,
            job_type: JobType::Cron.into(),
            count: 0,
            extra: Vec::new(),
            ran: false,
            stopped: false,
            job: None,
            time_offset_seconds: 0,
        }))
    }

    /// Nothing to keep: the ticker puts the job into the plan itself.
    fn add_or_update(&mut self, _: JobStoredData) -> Answer<()> {
        answer(())
    }

    /// Nothing to do: the ticker takes the job out of the plan itself.
    fn delete(&mut self, _: Uuid) -> Answer<()> {
        answer(())
    }
}

impl InitStore for Storage {
    fn init(&mut self) -> Answer<()> {
        answer(())
    }

    fn inited(&mut self) -> Answer<bool> {
        answer(true)
    }
}

#[cfg(test)]
mod tests;
