//! What will happen to secrets, as journal and schedules say: rotations, the steps of retirements, expiries, ends of pauses; and the deletions of
//! pruned tokens. One rule for
//! `dtrotate upcoming`, which reads the documents, and for the status page, which shows what the daemon knows.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};

use crate::clock;
use crate::config::{SecretSettings, Settings};
use crate::ops::secret::{Retiring, Secret};
use crate::ops::upcoming::{Upcoming, What, sort};
use crate::schedule::calendar::{Schedule, jitter};
use rotation::error::CallError;
use rotation::ports::{Journal, JournalRead};
use rotation::prune::{PruneRecord, PrunedState, PrunedToken};
use rotation::record::RetiringState;
use rotation::request::after;

use super::assemble;
use super::entry::{Entry, Surroundings};
use super::foreground::OpenError;

/// Documents read at the same time.
const AT_ONCE: usize = 16;
/// So many rotations of one secret are listed; the schedule says the rest.
const ROTATIONS: usize = 50;
/// So many firings of one schedule are computed.
const FIRINGS: usize = 5_000;

/// What happens to these secrets, and to the pruned tokens of these environments and accounts, within this time from now, in order.
///
/// # Errors
/// The clients cannot be built, or the journal cannot be read.
pub async fn read(
    settings: &Settings,
    secrets: Vec<&SecretSettings>,
    services: &[String],
    within: Duration,
) -> Result<Vec<Upcoming>, OpenError> {
    let wired = assemble::assemble(settings)?;
    let reads = secrets.into_iter().map(async |secret| {
        let read = wired.ledger.read(&secret.plan.name).await?;
        Ok::<_, CallError>((secret, read))
    });
    let read = stream::iter(reads).buffered(AT_ONCE);
    let read: Result<Vec<_>, CallError> = read.try_collect().await;
    let pruned = match services {
        [] => Ok(PruneRecord::default()),
        _ => wired.pruned.read().await,
    };
    wired.log_out().await;
    let now = clock::now();
    let mut future = Future::new(now, after(now, within));
    let mut all = vec![];
    for (secret, read) in read? {
        if let Some(known) = known(secret, read, now) {
            all.extend(future.of(&known, Some(secret)));
        }
    }
    let mut pruned = pruned?.tokens;
    pruned.retain(|token| services.contains(&token.service));
    let pruned = pruned.iter();
    all.extend(pruned.filter_map(|token| future.of_pruned(token, settings.quarantine)));
    sort(&mut all);
    Ok(all)
}

/// What the document says of a secret; none = there is none that can be used.
fn known(secret: &SecretSettings, read: JournalRead, now: Timestamp) -> Option<Secret> {
    let mut entry = Entry::new(secret.plan.clone(), Some(Arc::new(secret.clone())));
    entry.learn(read, now);
    let record = entry.record()?;
    let around = Surroundings {
        able_since: now,
        progress: false,
        instance: "",
        now,
    };
    let known = entry.facts(&secret.plan.name, Some(&record), &around);
    Some(Secret::of(&known, known.state(&known.conditions())))
}

/// The time from now to an end. Secrets with the same schedule share its firings.
pub struct Future {
    now: Timestamp,
    end: Timestamp,
    firings: HashMap<*const Schedule, Rc<[Timestamp]>>,
    /// A secret rotates more often than is listed.
    pub is_cut: bool,
}

impl Future {
    /// From `now` to `end`.
    pub fn new(now: Timestamp, end: Timestamp) -> Self {
        Future {
            now,
            end,
            firings: HashMap::new(),
            is_cut: false,
        }
    }

    /// What happens to a secret. Without settings it left the configuration, and only its old tokens are retired.
    pub fn of(&mut self, secret: &Secret, settings: Option<&SecretSettings>) -> Vec<Upcoming> {
        let (now, end) = (self.now, self.end);
        let mut all = vec![];
        let able = secret.able_from(now);
        let mut add = |at: Timestamp, event, token, because: &str| {
            // What is due while nothing can be done comes at a time that nobody knows.
            let is_held_up = able.is_none() && at <= now && event != What::Expire;
            let at = at.max(now);
            if at <= end && !is_held_up {
                all.push(Upcoming {
                    at,
                    event,
                    secret: Some(secret.name.clone()),
                    environment: secret.environment.clone(),
                    token,
                    because: because.to_owned(),
                });
            }
        };
        let pause = secret.paused.as_ref();
        let resumed = pause.and_then(|pause| pause.until);
        if let Some(until) = resumed {
            add(until, What::Resume, None, &secret.because);
        }
        let switched_off = settings.is_some_and(|settings| !settings.enabled);
        let rests = switched_off || pause.is_some() && resumed.is_none();
        let current = secret.current.as_ref();
        if !rests {
            let token = || current.map(|token| token.id.clone());
            if let Some(next) = secret.next {
                add(next, What::Rotate, token(), &secret.because);
            }
            let earliest = able.unwrap_or(now);
            if let Some(settings) = settings {
                let (cron, zone) = (settings.schedule.cron(), settings.schedule.zone_name());
                let because = format!("schedule `{cron}` {zone}");
                for at in self.later(secret, settings, earliest) {
                    add(at, What::Rotate, token(), &because);
                }
            }
            for retiring in &secret.retiring {
                for (at, event, because) in steps(settings, retiring, earliest) {
                    add(at, event, Some(retiring.id.clone()), because);
                }
            }
        }
        if let Some((current, expires)) = current.and_then(|it| Some((it, it.expires?))) {
            let because = match rests {
                true => "nothing rotates it before",
                false => "if it is still the current token by then",
            };
            add(expires, What::Expire, Some(current.id.clone()), because);
        }
        all
    }

    /// The deletion of a pruned token.
    fn of_pruned(&self, token: &PrunedToken, quarantine: Duration) -> Option<Upcoming> {
        if token.state == PrunedState::Restoring {
            return None;
        }
        let at = token.deletion(&token.name, "", quarantine).max(self.now);
        let until = match token.digest {
            Some(_) => "the end of its quarantine",
            None => "the end of its quarantine; `dtrotate prune` deletes it then",
        };
        (at <= self.end).then(|| Upcoming {
            at,
            event: What::Delete,
            secret: None,
            environment: token.service.clone(),
            token: Some(token.id.clone()),
            because: format!("{until} ({:?}, pruned by {})", token.name, token.by),
        })
    }

    /// The rotations of the schedule after the next one. All that falls into a blackout comes at its end, once.
    fn later(
        &mut self,
        secret: &Secret,
        settings: &SecretSettings,
        earliest: Timestamp,
    ) -> Vec<Timestamp> {
        let mut last = secret.next.map_or(earliest, |next| next.max(earliest));
        let length = SignedDuration::try_from(settings.jitter).unwrap_or_default();
        let firings = self.firings(&settings.schedule);
        let first = firings.partition_point(|instant| *instant <= last);
        let mut all = vec![];
        self.is_cut |= firings.len() - first > ROTATIONS;
        for instant in firings.iter().skip(first).take(ROTATIONS) {
            let spread = jitter(&secret.name, *instant, length);
            let at = instant.checked_add(spread).unwrap_or(*instant);
            let at = settings.blackouts.end(at).unwrap_or(at);
            if at > last {
                last = at;
                all.push(at);
            }
        }
        all
    }

    fn firings(&mut self, schedule: &Arc<Schedule>) -> Rc<[Timestamp]> {
        let (now, end) = (self.now, self.end);
        let firings = self.firings.entry(Arc::as_ptr(schedule));
        let compute = || {
            let firings = schedule.firings_after(now);
            firings.take_while(|at| *at <= end).take(FIRINGS).collect()
        };
        firings.or_insert_with(compute).clone()
    }
}

/// The steps of a retirement that are left, as far as they are known now: a token that is still used stays longer.
fn steps(
    settings: Option<&SecretSettings>,
    entry: &Retiring,
    earliest: Timestamp,
) -> Vec<(Timestamp, What, &'static str)> {
    let at = entry.due.max(earliest);
    let grace = match entry.held_since {
        Some(_) => "the end of its extended grace, because it is still used",
        None => "the end of its grace",
    };
    let quarantine = "the end of its quarantine";
    let can_disable = settings.is_none_or(|it| it.plan.coordinates.kind.can_be_disabled());
    match entry.state {
        RetiringState::Grace if !can_disable => vec![(at, What::Delete, grace)],
        RetiringState::Grace | RetiringState::Disabling => {
            let disable = (at, What::Disable, grace);
            let delete = settings.map(|settings| {
                let at = after(at, settings.plan.quarantine);
                (at, What::Delete, quarantine)
            });
            std::iter::once(disable).chain(delete).collect()
        }
        RetiringState::Quarantine | RetiringState::Deleting => {
            vec![(at, What::Delete, quarantine)]
        }
        RetiringState::Newer(_) => vec![],
    }
}
