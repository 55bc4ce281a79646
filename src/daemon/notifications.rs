//! The notification channels of `[notify]`: each is given the errors that are open now and sends what is new.
//!
//! A channel that fails is a condition itself, which is not given to that channel.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use jiff::Timestamp;

use crate::config::{Notify, NotifyRoute, SecretSettings};
use crate::labels::Labels;
use crate::ops::condition::Condition;
use crate::ops::counters::Counters;
use crate::{bounded_file, clock};
use rotation::event::EventName;

use super::Daemon;
use super::assemble::{self, AssembleError, Channel, Failure, Notice, Rotated, Troubles};
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
    title: String,
    show: watch::Sender<Troubles>,
    failing: Arc<Mutex<Option<Failing>>>,
    /// Dropped with it, the channel ends at once.
    task: JoinSet<()>,
    /// What it is about; none = everything.
    route: Option<NotifyRoute>,
    channel: Channel,
    counters: Arc<Counters>,
}

/// A route that gets a rotation.
pub(super) struct Announcer {
    channel: Channel,
    counters: Arc<Counters>,
    failing: Arc<Mutex<Option<Failing>>>,
}

impl Announcer {
    /// Which route it is.
    pub(super) fn title(&self) -> &str {
        &self.channel.title
    }

    /// Posts it once.
    pub(super) async fn post(&self, rotated: &Rotated) -> Result<(), Failure> {
        let posted = self.channel.post_rotated(rotated).await;
        let (failing, counters) = (&self.failing, &self.counters);
        note(failing, counters, self.channel.name, Some(&posted));
        posted
    }
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
        let routes: &[NotifyRoute] = before.map_or(&[], |old| &old.routes);
        let (mut gone, mut new) = (vec![], vec![]);
        if dynatrace != wanted.dynatrace.as_ref() {
            gone.push("dynatrace".to_owned());
            let built = build(wanted.dynatrace.clone(), assemble::dynatrace_channel).await?;
            new.extend(built.map(|channel| (channel, None)));
        }
        if webhook != wanted.webhook.as_ref() {
            gone.push("webhook".to_owned());
            let built = build(wanted.webhook.clone(), assemble::webhook_channel).await?;
            new.extend(built.map(|channel| (channel, None)));
        }
        let stays = |route: &&NotifyRoute| wanted.routes.contains(route);
        gone.extend(
            routes
                .iter()
                .filter(|it| !stays(it))
                .map(|it| it.title.clone()),
        );
        for route in wanted.routes.iter().filter(|route| !routes.contains(route)) {
            let built = build(Some(route.clone()), assemble::route_channel).await?;
            new.extend(built.map(|channel| (channel, Some(route.clone()))));
        }
        self.channels
            .retain(|channel| !gone.contains(&channel.title));
        for title in gone {
            conditions.set(Subject::Channel(title), vec![]);
        }
        let start = |(channel, route)| Running::start(channel, route, counters.clone());
        self.channels.extend(new.into_iter().map(start));
        self.settings = Some(wanted.clone());
        Ok(())
    }

    /// Gives every channel the open errors, and reports a channel that fails. To be called every second or so.
    pub fn show<'s>(
        &self,
        conditions: &Conditions,
        instance: &str,
        settings: impl Fn(&str) -> Option<&'s SecretSettings>,
    ) {
        for channel in &self.channels {
            let subject = Subject::Channel(channel.title.clone());
            conditions.set(subject, channel.conditions());
        }
        if self.channels.is_empty() {
            return;
        }
        let mut all = conditions.all();
        all.retain(Condition::needs_human);
        for channel in &self.channels {
            let is_own = |one: &Condition| {
                let failed = one.kind == EventName::NotifyFailed.as_str();
                failed && one.subject.as_deref() == Some(channel.title.as_str())
            };
            let others = all.iter().filter(|one| !is_own(one));
            let troubles: Troubles = others
                .filter_map(|one| {
                    let secret = one.secret.as_deref().and_then(&settings);
                    channel.is_about(one, secret).then_some(())?;
                    let labels = secret.map(|it| it.labels.clone());
                    notice(one, instance, labels.unwrap_or_default())
                })
                .collect();
            channel.show.send_if_modified(|shown| {
                let is_new = *shown != troubles;
                *shown = troubles;
                is_new
            });
        }
    }

    /// The routes that get the rotations of this secret.
    pub(super) fn announcers(&self, secret: &SecretSettings) -> Vec<Announcer> {
        let told = |channel: &&Running| {
            let route = channel.route.as_ref();
            route.is_some_and(|route| route.announces(secret))
        };
        let announcer = |running: &Running| Announcer {
            channel: running.channel.clone(),
            counters: running.counters.clone(),
            failing: running.failing.clone(),
        };
        self.channels.iter().filter(told).map(announcer).collect()
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
    fn start(channel: Channel, route: Option<NotifyRoute>, counters: Arc<Counters>) -> Self {
        let name = channel.name;
        let (show, shown) = watch::channel(Troubles::new());
        let failing = Arc::<Mutex<Option<Failing>>>::default();
        let (heard, counted) = (failing.clone(), counters.clone());
        let report = move |outcome: Option<_>| note(&heard, &counted, name, outcome.as_ref());
        let mut task = JoinSet::new();
        task.spawn(channel.clone().run(shown, report));
        Running {
            title: channel.title.clone(),
            show,
            failing,
            task,
            route,
            channel,
            counters,
        }
    }

    fn is_about(&self, condition: &Condition, secret: Option<&SecretSettings>) -> bool {
        let Some(route) = &self.route else {
            return true;
        };
        let labels = secret
            .map(|secret| secret.labels.clone())
            .unwrap_or_default();
        let token = secret.map(|secret| secret.plan.coordinates.kind.word());
        let environment = condition.environment.as_deref().unwrap_or_default();
        route.tells(&condition.kind, environment, &labels, token)
    }

    fn conditions(&self) -> Vec<Condition> {
        let failing = lock(&self.failing);
        let reported = failing
            .as_ref()
            .filter(|failing| failing.last.needs_human() || failing.began.elapsed() >= BLIP);
        let condition = reported.map(|failing| {
            let what = &failing.last.what;
            let message = format!(
                "{} failed: {what}; pending notifications are sent when it recovers",
                match self.route {
                    Some(_) => format!("[[notify.route]] ({})", self.title),
                    None => format!("[notify.{}]", self.title),
                }
            );
            Condition::new(EventName::NotifyFailed, message, failing.since)
                .subject(&self.title)
                .error(what)
        });
        condition.into_iter().collect()
    }
}

/// Takes note of how an attempt to notify people ended.
fn note(
    failing: &Mutex<Option<Failing>>,
    counters: &Counters,
    channel: &'static str,
    outcome: Option<&Result<(), Failure>>,
) {
    if let Some(outcome) = outcome {
        counters.notified(channel, outcome.is_ok());
    }
    let mut failing = lock(failing);
    let last = outcome.and_then(|outcome| outcome.as_ref().err().cloned());
    *failing = last.map(|last| match failing.take() {
        Some(failing) => Failing { last, ..failing },
        None => Failing {
            since: clock::now(),
            began: Instant::now(),
            last,
        },
    });
}

/// What people are notified of. Another kind or reason about the same thing is another condition.
fn notice(condition: &Condition, instance: &str, labels: Labels) -> Option<(String, Notice)> {
    let event = EventName::from_word(&condition.kind)?;
    let usual = match &condition.secret {
        Some(secret) => event.what_to_do_for(secret),
        None => event.what_to_do().to_owned(),
    };
    let notice = Notice {
        event,
        message: condition.message.clone(),
        secret: condition.secret.clone(),
        environment: condition.environment.clone(),
        labels,
        reason: condition.reason.clone(),
        advice: Some(&condition.what_to_do)
            .filter(|advice| **advice != usual)
            .cloned(),
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
        let settings = |name: &str| self.roster.get(name)?.settings.as_deref();
        self.notifications
            .show(&self.office.conditions, &self.instance, settings);
    }
}
