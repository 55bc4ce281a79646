//! What the daemon keeps of each secret between two runs: its settings, its journal document as last known, and when it is next looked at.
//! At rest that is little: what is only of use while something is under way or wrong is in a box that is dropped then.

use std::borrow::Cow;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::config::SecretSettings;
use crate::ops::known::{Failing, Known, Unusable};
use crate::ops::secret::{Secret, State};
use crate::schedule::due::{self, Input, Next};
use rotation::command::RunResult;
use rotation::error::{CallError, ErrorKind, Service};
use rotation::event::EventName;
use rotation::pause::Pause;
use rotation::plan::Plan;
use rotation::ports::JournalRead;
use rotation::record::{Current, Reason, Record, Trigger};
use rotation::request::{ClaimObservation, JournalSnapshot, Listing, RotationRequest};
use rotation::retry;
use rotation::token::TokenId;

use super::at_rest::{Document, Models};
use super::values::KnownValue;

/// A document that cannot be read is looked at again after this: somebody is mending it.
const UNREADABLE: Duration = Duration::from_secs(60);

/// One secret, or a document without one.
#[derive(Clone)]
pub struct Entry {
    /// What to rotate and how.
    pub plan: Arc<Plan>,
    /// Its settings; none = it left the configuration, and only its retirements are finished.
    pub settings: Option<Arc<SecretSettings>>,
    /// Its journal document as last known.
    known: Option<Document>,
    /// When that was last read or written.
    known_at: Option<Timestamp>,
    /// The token that it held by the last document that was read, also while none is known; the outer none = none was ever read.
    held: Option<Option<TokenId>>,
    /// The run that it waits for.
    pub due: Option<Planned>,
    /// Why then, or why nothing is due, for `status`.
    pub because: Arc<str>,
    /// It was looked at since the start.
    pub looked: bool,
    /// How it is, since its conditions were last computed.
    state: State,
    /// Clean-up or retirement wants a look at this time.
    wake: Option<Timestamp>,
    /// When one of its conditions may open or end by the passing of time alone.
    pub next_evaluation: Option<Timestamp>,
    /// Up to when delays counted when its conditions were last computed.
    evaluated_at: Timestamp,
    /// What is out of the ordinary with it, which most secrets have nothing of at rest. Its fields are those of the entry.
    unsettled: Option<Box<Unsettled>>,
}

/// What is out of the ordinary with a secret.
#[derive(Clone, PartialEq)]
pub struct Unsettled {
    /// Its pause, by its document.
    recorded_pause: Option<Pause>,
    /// Why only a person can resolve it, by its document.
    stuck: Option<Reason>,
    /// How long a foreign claim has stood.
    pub watch: Option<ClaimObservation>,
    /// A sweep cast a doubt on its current token, or it may be stuck no more: the next run looks.
    pub doubt: bool,
    /// The next run reads the secret: while former tokens are on their way out, a person may put one of them back.
    pub glance: bool,
    /// What the run under way was to look at: recheck the token, reread the secret.
    pub hinted: (bool, bool),
    /// The sweep's picture, for the next run.
    pub listing: Option<Listing>,
    /// Since when it is switched on, if it was off before.
    on_since: Option<Timestamp>,
    /// When the run under way began.
    pub started: Option<Timestamp>,
    /// When its settings changed since it was last looked at.
    changed: Option<Timestamp>,
    /// It was stuck, and its settings changed: try again.
    nudged: bool,
    /// The due time that was skipped last.
    skipped: Option<Timestamp>,
    /// No run before this.
    not_before: Option<Timestamp>,
    /// The due instant that failed and is tried again.
    retrying: Option<Timestamp>,
    tries: u32,
    /// Why its document cannot be used.
    unusable: Option<Unusable>,
    /// Its runs fail without being able to record that.
    failing: Option<Failing>,
    /// What is known of the latest version of the secret.
    pub(super) value: KnownValue,
}

/// Nothing is out of the ordinary.
static SETTLED: Unsettled = Unsettled {
    recorded_pause: None,
    stuck: None,
    watch: None,
    doubt: false,
    glance: false,
    hinted: (false, false),
    listing: None,
    on_since: None,
    started: None,
    changed: None,
    nudged: false,
    skipped: None,
    not_before: None,
    retrying: None,
    tries: 0,
    unusable: None,
    failing: None,
    value: KnownValue::NOTHING,
};

impl Deref for Entry {
    type Target = Unsettled;

    fn deref(&self) -> &Unsettled {
        self.unsettled.as_deref().unwrap_or(&SETTLED)
    }
}

impl DerefMut for Entry {
    fn deref_mut(&mut self) -> &mut Unsettled {
        self.unsettled
            .get_or_insert_with(|| Box::new(SETTLED.clone()))
    }
}

/// A run that a secret waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// When to start it.
    pub at: Timestamp,
    /// What it serves.
    pub instant: Timestamp,
    /// Why.
    pub trigger: due::Trigger,
}

/// What is around a secret when its conditions are computed.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// Since when its work can be done.
    pub able_since: Timestamp,
    /// It is in the queue, and other secrets of its environment are worked on.
    pub progress: bool,
    /// This process.
    pub instance: &'a str,
    /// Up to when a delay counts.
    pub now: Timestamp,
}

impl Entry {
    /// A secret that was not looked at yet: it is looked at at once.
    pub fn new(plan: Arc<Plan>, settings: Option<Arc<SecretSettings>>) -> Self {
        Entry {
            plan,
            settings,
            known: None,
            known_at: None,
            held: None,
            due: None,
            because: "not looked at yet".into(),
            looked: false,
            state: State::Unknown,
            wake: None,
            next_evaluation: None,
            evaluated_at: Timestamp::MIN,
            unsettled: None,
        }
    }

    /// All that is known of it stays, and takes little memory.
    pub fn rest(&mut self, models: &mut Models) {
        if let Some(known) = &mut self.known {
            known.rest(models);
        }
        if self.unsettled.as_deref() == Some(&SETTLED) {
            self.unsettled = None;
        }
    }

    /// What is known of it and of its document, to compute its conditions and its state from.
    pub fn facts<'a>(
        &'a self,
        name: &'a str,
        record: Option<&'a Record>,
        around: &Surroundings<'a>,
    ) -> Known<'a> {
        let input = record.and_then(|record| self.input(record, around.now, around.able_since));
        Known {
            unserved_since: input.and_then(|input| due::unserved_since(&input)),
            ..self.known_to(name, record, around)
        }
    }

    /// The same without what only its conditions depend on.
    fn known_to<'a>(
        &'a self,
        name: &'a str,
        record: Option<&'a Record>,
        around: &Surroundings<'a>,
    ) -> Known<'a> {
        // What is due later than now has nothing to do with the retry of a rotation that a command, or a sweep, had begun.
        let due = self.due.as_ref();
        let due = due.filter(|due| self.retrying.is_some() && due.at <= around.now);
        let retry = due.map(|due| self.starts_at(due, around.now));
        Known {
            name,
            coordinates: &self.plan.coordinates,
            labels: self.settings.as_ref().map(|settings| &settings.labels),
            desired: self
                .settings
                .as_ref()
                .map(|settings| &settings.plan.desired),
            zone: self.settings.as_ref().map(|it| it.zone_name.as_str()),
            configured: self.settings.is_some(),
            enabled: self.settings.as_ref().is_some_and(|it| it.enabled),
            read: self.known.is_some(),
            record,
            unusable: self.unusable.as_ref(),
            failing: self.failing.as_ref(),
            unserved_since: None,
            progress: around.progress && self.failing.is_none(),
            able_since: around.able_since,
            next: self.due.as_ref().map(|due| due.at),
            next_try: self.not_before.max(retry),
            because: &self.because,
            instance: around.instance,
            as_of: self.known_at,
            settings: self.settings.as_ref().map(|it| it.digest()),
            now: around.now,
        }
    }

    /// Its conditions were computed.
    pub fn evaluated(&mut self, state: State, next: Option<Timestamp>, at: Timestamp) {
        self.state = state;
        self.next_evaluation = next;
        self.evaluated_at = at;
    }

    /// As the outside sees it, by its conditions as they were last computed.
    pub fn show(&self, name: &str, instance: &str) -> Secret {
        let around = Surroundings {
            able_since: Timestamp::MIN,
            progress: false,
            instance,
            now: self.evaluated_at,
        };
        let record = self.record();
        Secret::of(&self.known_to(name, record.as_deref(), &around), self.state)
    }

    /// The document, if there is one.
    pub fn record(&self) -> Option<Cow<'_, Record>> {
        self.known.as_ref()?.record()
    }

    /// The document as last known, for a run.
    pub fn snapshot(&self) -> Option<JournalSnapshot> {
        self.known.as_ref().map(Document::snapshot)
    }

    /// The version of the document as last known.
    pub fn known_version(&self) -> Option<u64> {
        self.known.as_ref().map(|known| known.version)
    }

    /// The document was read, and is as it was.
    pub fn read_again(&mut self, now: Timestamp) {
        self.known_at = Some(now);
    }

    /// The pause that keeps anything of it from being begun.
    fn paused(&self, now: Timestamp) -> Option<&Pause> {
        let pause = self
            .recorded_pause
            .as_ref()
            .filter(|_| self.settings.is_some());
        pause.filter(|pause| !pause.is_over(now))
    }

    /// Why only a person can resolve it; none = it continues automatically.
    pub fn stuck(&self) -> Option<&Reason> {
        self.stuck.as_ref()
    }

    /// The token that it held when that was last known; the outer none = that was never known.
    pub fn held(&self) -> Option<Option<&TokenId>> {
        self.held.as_ref().map(Option::as_ref)
    }

    /// What it is due for was overtaken, or is not known.
    pub fn stale(&self, now: Timestamp) -> bool {
        self.due.is_none() || self.is_overtaken(now)
    }

    /// The next due time has come, which ends a retry.
    fn is_overtaken(&self, now: Timestamp) -> bool {
        let (Some(instant), Some(settings)) = (self.retrying, &self.settings) else {
            return false;
        };
        let last = settings.schedule.previous_at_or_before(now);
        last.is_some_and(|last| last > instant)
    }

    /// Takes note of what was read of its document, without a run.
    pub fn learn(&mut self, read: JournalRead, now: Timestamp) {
        self.know(None, now);
        match Document::read(read) {
            Ok(document) => {
                self.unusable = None;
                if document.is_absent() {
                    self.because = "it has no journal document yet; a daemon creates it".into();
                }
                self.know(Some(document), now);
            }
            Err(why) => self.find_unusable(EventName::JournalUnreadable, why, now),
        }
        self.plan_next(now, now);
    }

    /// A document without a secret was found: it is not looked at for that.
    pub fn adopt(&mut self, known: JournalSnapshot) {
        self.set_document(Some(known.into()));
    }

    fn know(&mut self, known: Option<Document>, now: Timestamp) {
        self.set_document(known);
        if self.known.is_some() {
            self.known_at = Some(now);
            let recorded = Some(self.recorded());
            if self.held != recorded {
                // Otherwise the text of the id stays the one that others share.
                self.held = recorded;
            }
        }
    }

    /// The current token by the document.
    fn recorded(&self) -> Option<TokenId> {
        self.record()?.current_id().cloned()
    }

    /// The token that is its current value, as far as it is known.
    pub fn current(&self) -> Option<TokenId> {
        self.known.as_ref()?;
        self.held.clone().unwrap_or_else(|| self.recorded())
    }

    fn set_document(&mut self, known: Option<Document>) {
        let record = known.as_ref().and_then(Document::record);
        let pause = record.as_ref().and_then(|record| record.pause.clone());
        let stuck = record.as_ref().and_then(|record| record.stuck());
        let stuck = stuck.map(|failure| failure.reason.clone());
        drop(record);
        self.recorded_pause = pause;
        self.stuck = stuck;
        self.known = known;
    }

    /// Recomputes when it is due; returns a due time that was just found to be skipped. Not for a run that waits for a retry: it keeps
    /// its instant until the next due time.
    pub fn plan_next(&mut self, now: Timestamp, able_since: Timestamp) -> Option<Timestamp> {
        if self.is_overtaken(now) {
            self.retrying = None;
            self.not_before = None;
        }
        if let Some(pause) = self.paused(now) {
            self.because = pause.to_string().into();
            self.due = None;
            self.retrying = None;
            self.not_before = None;
            return None;
        }
        if self.retrying.is_some() {
            return None;
        }
        let record = self.record();
        let input = record.as_deref();
        let input = input.and_then(|record| self.input(record, now, able_since));
        let next = input.map(|input| (due::skipped(&input), due::next_due(&input)));
        drop(record);
        let Some((skipped, next)) = next else {
            self.due = None;
            return None;
        };
        let skipped = skipped.filter(|instant| self.skipped != Some(*instant));
        let because;
        (self.due, because) = match next {
            Next::Due(due) => {
                let (at, instant, trigger) = (due.at, due.instant, due.trigger);
                let planned = Planned {
                    at,
                    instant,
                    trigger,
                };
                (Some(planned), due.because)
            }
            Next::Never { because } => (None, because),
        };
        self.because = because.into();
        self.skipped = skipped.or(self.skipped);
        skipped
    }

    /// What its due times depend on; none = nothing is ever due.
    fn input<'a>(
        &'a self,
        record: &'a Record,
        now: Timestamp,
        able_since: Timestamp,
    ) -> Option<Input<'a>> {
        let settings = self.settings.as_ref()?;
        let current = record.current.as_ref();
        Some(Input {
            secret: &self.plan.name,
            enabled: settings.enabled && record.paused(now).is_none(),
            schedule: &settings.schedule,
            jitter: signed(settings.jitter),
            blackouts: &settings.blackouts,
            missed: settings.missed,
            adopted_at: record
                .adopted_at
                .max(self.on_since.unwrap_or(record.adopted_at)),
            last_due: record.last_due,
            created: current.and_then(Current::began),
            expires: current.and_then(|current| current.expires),
            value_ends: current.and_then(|current| self.value_ends(current.version)),
            grace: signed(self.plan.grace),
            expiry_guard: settings.expiry_guard,
            able_since: able_since.max(record.resumed_at.unwrap_or(able_since)),
            catch_up_spread: settings.catch_up_spread,
            now,
        })
    }

    /// Its document cannot be used; the first time is kept.
    fn find_unusable(&mut self, event: EventName, mut why: String, now: Timestamp) {
        if self.held.is_none() {
            why += "; until it is known what this secret holds, no old token of its environment is retired";
        }
        let since = self.unusable.as_ref().map_or(now, |before| before.since);
        self.unusable = Some(Unusable { event, why, since });
    }

    /// A run failed without being able to record that; it is retried later and later.
    fn retry_after(&mut self, error: CallError, now: Timestamp) {
        let wait = retry::wait(self.tries, error.retry_after, fastrand::u64(..));
        self.tries += 1;
        self.pause(wait, now);
        // What it was to look at is still to be looked at.
        self.doubt |= self.hinted.0;
        self.glance |= self.hinted.1;
        let before = self.failing.take();
        self.failing = Some(Failing {
            since: before.as_ref().map_or(now, |before| before.since),
            attempts: before.map_or(0, |before| before.attempts) + 1,
            error,
        });
    }

    /// The next run comes after this time and not before.
    fn pause(&mut self, wait: Duration, now: Timestamp) {
        self.wake = Some(now.checked_add(wait).unwrap_or(now));
        self.not_before = self.wake;
    }

    /// When it wants to be looked at next, without a tick of the engine: for a clean-up, a retry, an expiry, a missed run, or a due time
    /// whose jitter is running.
    pub fn alarm(&self, now: Timestamp) -> Option<Timestamp> {
        let due = self.due.as_ref().filter(|due| {
            // The engine reports a firing that lies ahead.
            due.trigger != due::Trigger::Schedule || due.instant <= now
        });
        let pause = self.paused(now);
        let resumed = pause.and_then(|pause| pause.until);
        let due = due.filter(|_| pause.is_none());
        let starts = due.map(|due| self.starts_at(due, now));
        let nudged = self.nudged && pause.is_none();
        let nudged = nudged.then(|| self.blackout_ends(now).unwrap_or(now));
        let first = starts
            .into_iter()
            .chain(self.wake)
            .chain(resumed)
            .chain(nudged)
            .min();
        let first = if self.looked { first } else { Some(now) };
        Some(first?.max(self.not_before.unwrap_or(Timestamp::MIN)))
    }

    /// When what is due starts; also a retry waits for the end of a blackout. The expiry guard knows itself what a blackout means to it.
    fn starts_at(&self, due: &Planned, now: Timestamp) -> Timestamp {
        match self.blackout_ends(now) {
            Some(end) if due.trigger != due::Trigger::Expiry => due.at.max(end),
            _ => due.at,
        }
    }

    /// The end of the blackout of now, if there is one.
    pub fn blackout_ends(&self, now: Timestamp) -> Option<Timestamp> {
        self.settings.as_ref()?.blackouts.end(now)
    }

    /// Clean-up, retirement or another look is due, whatever the schedule says.
    pub fn is_woken(&self, now: Timestamp) -> bool {
        self.wake.is_some_and(|wake| wake <= now)
    }

    /// The instant of the rotation that is due by its schedule or expiry, not for a retry.
    pub fn due_rotation(&self, now: Timestamp) -> Option<Timestamp> {
        let due = self.due.as_ref().filter(|due| due.at <= now)?;
        let is_first_try = !self.nudged && self.retrying != Some(due.instant);
        (is_first_try && self.settings.is_some()).then_some(due.instant)
    }

    /// The rotation that is wanted now, if one is.
    pub fn wish(&mut self, now: Timestamp) -> Option<RotationRequest> {
        if self.paused(now).is_some() {
            return None;
        }
        let nudged = self.nudged && self.blackout_ends(now).is_none();
        let settings = self.settings.as_ref()?;
        if nudged && settings.enabled {
            self.nudged = false;
            return Some(RotationRequest {
                due: None,
                trigger: Trigger::Retry,
                accept_recorded_rights: false,
            });
        }
        let due = self.due.as_ref();
        let due = due.filter(|due| self.starts_at(due, now) <= now)?;
        let trigger = match due.trigger {
            _ if self.retrying == Some(due.instant) => Trigger::Retry,
            due::Trigger::Schedule => Trigger::Schedule,
            due::Trigger::Missed => Trigger::Missed,
            due::Trigger::Expiry => Trigger::Expiry,
        };
        // However many due times have passed meanwhile, one run serves them all.
        let last = settings.schedule.previous_at_or_before(now);
        Some(RotationRequest {
            due: Some(last.map_or(due.instant, |last| last.max(due.instant))),
            trigger,
            accept_recorded_rights: false,
        })
    }

    /// Takes note of how a run ended.
    pub fn ended(&mut self, result: &RunResult, known: Option<JournalSnapshot>, now: Timestamp) {
        self.looked = true;
        self.know(known.map(Document::from), now);
        let health = self.record().map(|record| record.health.clone());
        let is_valid = health.as_ref().is_some_and(|it| it.invalid.is_none());
        let failure = health.and_then(|health| health.failure);
        let retried_at = failure.as_ref().and_then(|failure| failure.retry_at);
        let changed = self.changed;
        // The settings changed while it was under way: it did not see them.
        let outdated = changed.is_some_and(|at| self.started.is_some_and(|began| began < at));
        // What it found by the new settings is no reason to try again by them.
        // A move is accepted by a command alone, and one that was taken back needs no rotation.
        let stuck = failure.filter(|it| it.retry_at.is_none() && it.reason != Reason::Moved);
        let tried = |at| stuck.is_some_and(|failure| outdated || failure.at < at);
        self.nudged |= changed.is_some_and(tried);
        self.changed = None;
        self.wake = None;
        self.not_before = None;
        let unusable = matches!(
            result,
            RunResult::JournalUnreadable(_) | RunResult::JournalImplausible(_)
        );
        if !unusable && !matches!(result, RunResult::Retry(_)) {
            self.unusable = None;
        }
        if !matches!(result, RunResult::Retry(_) | RunResult::InternalError(_)) {
            self.failing = None;
        }
        let done = matches!(result, RunResult::Done { .. });
        self.value_was_looked_at(done && is_valid);
        let instant = self.due.as_ref().map(|due| due.instant);
        match result {
            RunResult::Done { wake } => {
                self.tries = 0;
                self.retrying = None;
                self.wake = *wake;
                // The schedule changed, so nothing is due, but a recorded failure is still to be retried.
                let enabled = self.settings.as_ref().is_some_and(|it| it.enabled);
                if let Some(at) = retried_at.filter(|_| enabled) {
                    self.nudged = true;
                    self.not_before = Some(at);
                }
            }
            RunResult::ClaimedElsewhere {
                recheck,
                observation,
                ..
            } => {
                self.watch = Some(*observation);
                self.retrying = None;
                // A little later, so that the claim has lapsed by then.
                self.pause(*recheck + Duration::from_millis(50), now);
            }
            RunResult::Failed { retry_at, .. } => {
                self.retrying = retry_at.and(instant);
                self.wake = *retry_at;
                self.not_before = *retry_at;
                if retry_at.is_none() {
                    // A refusal is asked again less and less often.
                    let wait = retry::wait(self.tries, None, fastrand::u64(..));
                    let calm = now.checked_add(wait).unwrap_or(now);
                    self.tries += 1;
                    self.wake = self.left_to_do(calm).map(|at| at.max(calm));
                }
            }
            RunResult::Retry(error) => {
                if error.kind == ErrorKind::Refused {
                    // What may not be read has nothing that could be known.
                    self.held.get_or_insert(None);
                }
                self.retrying =
                    instant.filter(|_| self.due.as_ref().is_some_and(|due| due.at <= now));
                self.retry_after(error.clone(), now);
            }
            RunResult::JournalUnreadable(why) => {
                self.find_unusable(EventName::JournalUnreadable, why.clone(), now);
                self.pause(UNREADABLE, now);
            }
            RunResult::JournalImplausible(why) => {
                self.find_unusable(EventName::JournalImplausible, why.clone(), now);
                self.pause(UNREADABLE, now);
            }
            RunResult::InternalError(why) => {
                let error = CallError::new(Service::Vault, ErrorKind::Transient, why.as_str());
                self.retry_after(error, now);
            }
            RunResult::DryRun(_) | RunResult::Refused(_) => {}
        }
        self.started = None;
        self.hinted = (false, false);
        if outdated {
            // The next run reads the document: what it decides by the new settings depends on that.
            self.set_document(None);
            self.hurry(now);
        }
    }

    /// A stuck rotation keeps neither former tokens from retiring nor open attempts from being settled.
    fn left_to_do(&self, soon: Timestamp) -> Option<Timestamp> {
        let record = self.record()?;
        let retiring = record.retiring.iter().filter(|entry| !entry.is_newer());
        let retiring = retiring.map(|entry| entry.due);
        retiring.chain(record.open.iter().map(|_| soon)).min()
    }

    /// It has other settings, so what made it stuck may be over.
    pub fn change(&mut self, settings: Arc<SecretSettings>, now: Timestamp) {
        if !self.plan.coordinates.same_place(&settings.plan.coordinates) {
            // Another place holds another token.
            self.held = None;
        }
        let was_off = self.settings.as_ref().is_some_and(|old| !old.enabled);
        if was_off && settings.enabled {
            // What passed while it was off was not to be served.
            self.on_since = Some(now);
        }
        self.plan = settings.plan.clone();
        self.settings = Some(settings);
        self.changed = Some(now);
        self.retrying = None;
        self.due = None;
        // A command or another replica may have found it stuck.
        self.set_document(None);
        self.hurry(now);
    }

    /// The journal is not what it was: this secret is looked at as at the start.
    pub fn forget(&mut self, now: Timestamp) {
        self.set_document(None);
        self.held = None;
        self.looked = false;
        self.hurry(now);
    }

    /// It left the configuration, and nothing of it is left to be done.
    pub fn is_finished(&self) -> bool {
        let over = |known: &Document| match known.record() {
            Some(record) => record.closed_at.is_some(),
            None => true,
        };
        self.settings.is_none() && self.known.as_ref().is_some_and(over)
    }

    /// The next look may come at once, but no sooner than a retry may.
    pub fn look_at(&mut self, now: Timestamp) {
        self.wake = Some(now);
    }

    /// The same, with a look at the secret itself.
    pub fn peek(&mut self, now: Timestamp) {
        self.glance = true;
        self.wake = Some(self.wake.map_or(now, |wake| wake.min(now)));
    }

    /// Vault or the environment is back, the sweep found something, or the configuration changed: no need to wait any longer.
    pub fn hurry(&mut self, now: Timestamp) {
        self.not_before = None;
        self.wake = Some(now);
    }
}

fn signed(length: Duration) -> SignedDuration {
    SignedDuration::try_from(length).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests;
