//! The notification channels of `[notify]`: each is given the errors that are open now and sends what is new.
//!
//! A channel that fails is a condition itself, which is not given to that channel.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use jiff::Timestamp;

use crate::config::Notify;
use crate::labels::Labels;
use crate::ops::condition::Condition;
use crate::ops::metrics::Counters;
use crate::{bounded_file, clock};
use rotation::event::EventName;

use super::Daemon;
use super::assemble::{self, AssembleError, Channel, Failure, Notice, Troubles};
use super::conditions::{Conditions, Subject};
use super::lock;

/// A channel that fails for less than this is not reported, unless waiting does not help.
const BLIP: Duration = Duration::from_secs(30);
/// At shutdown pending notifications are waited for no longer than this.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(2);

/// Since when a channel fails, and its last failure.
struct Failing {
    since: Timestamp,
    began: Instant,
    last: Failure,
}

/// A channel whose task is running.
struct Running {
    name: &'static str,
    show: watch::Sender<Troubles>,
    failing: Arc<Mutex<Option<Failing>>>,
    /// Dropped with it, the channel ends at once.
    task: JoinSet<()>,
}

/// The channels that are on.
#[derive(Default)]
pub(super) struct Notifications {
    settings: Option<Notify>,
    channels: Vec<Running>,
}

impl Notifications {
    /// Only these channels are on from now on; one that does not change keeps what it has sent.
    ///
    /// # Errors
    /// A client cannot be built; then nothing changed.
    pub async fn set(
        &mut self,
        wanted: &Notify,
        conditions: &Conditions,
        counters: &Arc<Counters>,
    ) -> Result<(), AssembleError> {
        let before = self.settings.as_ref();
        let dynatrace = before.and_then(|old| old.dynatrace.as_ref());
        let webhook = before.and_then(|old| old.webhook.as_ref());
        let (mut gone, mut new) = (vec![], vec![]);
        if dynatrace != wanted.dynatrace.as_ref() {
            gone.push("dynatrace");
            new.extend(build(wanted.dynatrace.clone(), assemble::dynatrace_channel).await?);
        }
        if webhook != wanted.webhook.as_ref() {
            gone.push("webhook");
            new.extend(build(wanted.webhook.clone(), assemble::webhook_channel).await?);
        }
        self.channels
            .retain(|channel| !gone.contains(&channel.name));
        for name in gone {
            conditions.set(Subject::Channel(name), vec![]);
        }
        let start = |channel| Running::start(channel, counters.clone());
        self.channels.extend(new.into_iter().map(start));
        self.settings = Some(wanted.clone());
        Ok(())
    }

    /// Gives every channel the open errors, and reports a channel that fails. To be called every second or so.
    pub fn show(&self, conditions: &Conditions, instance: &str, labels: impl Fn(&str) -> Labels) {
        for channel in &self.channels {
            conditions.set(Subject::Channel(channel.name), channel.conditions());
        }
        if self.channels.is_empty() {
            return;
        }
        let mut all = conditions.all();
        all.retain(Condition::needs_human);
        for channel in &self.channels {
            let is_own = |one: &Condition| {
                let failed = one.kind == EventName::NotifyFailed.as_str();
                failed && one.subject.as_deref() == Some(channel.name)
            };
            let others = all.iter().filter(|one| !is_own(one));
            let troubles: Troubles = others
                .filter_map(|one| notice(one, instance, &labels))
                .collect();
            channel.show.send_if_modified(|shown| {
                let is_new = *shown != troubles;
                *shown = troubles;
                is_new
            });
        }
    }

    /// Sends what is pending, as far as there is time.
    pub async fn finish(&mut self) {
        let channels = std::mem::take(&mut self.channels);
        let mut tasks: Vec<JoinSet<()>> = vec![];
        for Running { task, .. } in channels {
            tasks.push(task);
        }
        let ends = tasks.iter_mut().map(JoinSet::join_next);
        let all = futures_util::future::join_all(ends);
        let _ = tokio::time::timeout(LAST_WORDS, all).await;
    }
}

impl Running {
    fn start(channel: Channel, counters: Arc<Counters>) -> Self {
        let name = channel.name;
        let (show, shown) = watch::channel(Troubles::new());
        let failing = Arc::<Mutex<Option<Failing>>>::default();
        let heard = failing.clone();
        let report = move |outcome: Result<(), Failure>| {
            counters.notified(name, outcome.is_ok());
            let mut failing = lock(&heard);
            *failing = outcome.err().map(|last| match failing.take() {
                Some(failing) => Failing { last, ..failing },
                None => Failing {
                    since: clock::now(),
                    began: Instant::now(),
                    last,
                },
            });
        };
        let mut task = JoinSet::new();
        task.spawn(channel.run(shown, report));
        Running {
            name,
            show,
            failing,
            task,
        }
    }

    fn conditions(&self) -> Vec<Condition> {
        let failing = lock(&self.failing);
        let reported = failing
            .as_ref()
            .filter(|failing| failing.last.needs_human() || failing.began.elapsed() >= BLIP);
        let condition = reported.map(|failing| {
            let what = &failing.last.what;
            let message = format!(
                "[notify.{}] failed: {what}; pending notifications are sent when it recovers",
                self.name
            );
            Condition::new(EventName::NotifyFailed, message, failing.since)
                .subject(self.name)
                .error(what)
        });
        condition.into_iter().collect()
    }
}

/// What people are notified of. Another kind or reason about the same thing is another condition.
fn notice(
    condition: &Condition,
    instance: &str,
    labels: impl Fn(&str) -> Labels,
) -> Option<(String, Notice)> {
    let notice = Notice {
        event: EventName::from_word(&condition.kind)?,
        message: condition.message.clone(),
        secret: condition.secret.clone(),
        environment: condition.environment.clone(),
        labels: condition.secret.as_deref().map(labels).unwrap_or_default(),
        reason: condition.reason.clone(),
        since: condition.since,
        instance: instance.to_owned(),
    };
    let identity = condition.identity().map(Option::unwrap_or_default);
    Some((identity.join(" "), notice))
}

/// Builds a channel, which reads files: certificates, the login of a proxy.
async fn build<T: Send + 'static>(
    settings: Option<T>,
    channel: fn(&T) -> Result<Channel, AssembleError>,
) -> Result<Option<Channel>, AssembleError> {
    let built = bounded_file::off_runtime(move || settings.as_ref().map(channel).transpose());
    built
        .await
        .unwrap_or_else(|error| Err(AssembleError::Notify(error.to_string())))
}

impl Daemon {
    /// Brings the channels in line with the settings.
    ///
    /// # Errors
    /// As [`Notifications::set`].
    pub(super) async fn start_notifications(&mut self) -> Result<(), AssembleError> {
        let (conditions, counters) = (&self.office.conditions, &self.office.counters);
        self.notifications
            .set(&self.settings.notify, conditions, counters)
            .await
    }

    /// Gives the channels the open errors.
    pub(super) fn notify_people(&self) {
        let labels = |name: &str| {
            let settings = self
                .roster
                .get(name)
                .and_then(|entry| entry.settings.as_ref());
            settings
                .map(|settings| settings.labels.clone())
                .unwrap_or_default()
        };
        self.notifications
            .show(&self.office.conditions, &self.instance, labels);
    }
}
