//! Notifications: channels to the outside (a problem in Dynatrace, a webhook), one task for each.
//!
//! A channel gets the open errors of this moment and compares them with what it has sent (`ledger`). So nothing queues up, and failed
//! notifications are sent later in their current state. Conditions of one kind that open together are one post. Nothing waits for a channel, a
//! channel changes nothing, and no type here can hold a token value. The failure of a channel is reported through the other channels.

mod ledger;
mod render;
mod webhook;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::watch;

pub use webhook::Webhook;

use ledger::Ledger;
use rotation::announcement::Announcement;
use rotation::error::{CallError, ErrorKind};
use rotation::event::EventName;
use rotation::retry;

use crate::labels::Labels;

/// Conditions that open within this time of the first are posted together: the secrets of one outage are examined one after the other.
const GATHER: Duration = Duration::from_secs(3);

/// A problem in Dynatrace is sent again so often: three times within the time after which the event ends automatically.
const REFRESH: Duration = Duration::from_secs(5 * 60);

/// What people get to read about one open error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The name of the event.
    pub event: EventName,
    /// The sentence.
    pub message: String,
    /// The secret that it concerns; none = a service or the daemon.
    pub secret: Option<String>,
    /// Where.
    pub environment: Option<String>,
    /// The labels of the secret.
    pub labels: Labels,
    /// The stable code of a failure.
    pub reason: Option<String>,
    /// What to do, where its kind alone does not say it.
    pub advice: Option<String>,
    /// Since when.
    pub since: Timestamp,
    /// The instance that reports it.
    pub instance: String,
}

/// The errors that are open at this moment, each by its key.
pub type Troubles = BTreeMap<String, Notice>;

/// A completed rotation. No value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// Its name in the configuration.
    pub secret: String,
    /// Its environment, or its account for platform tokens.
    pub environment: String,
    /// The labels by which a route is chosen.
    pub labels: Labels,
    /// Where the value is: `MOUNT/PATH#FIELD,FIELD`.
    pub place: String,
    /// What was written with the commit.
    pub announcement: Announcement,
}

/// What is sent about an open error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It is there.
    Begins,
    /// It is still there.
    Lasts,
    /// It is resolved.
    Over,
}

/// A notice that was not delivered. Its message contains no token value and no URL of a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// `Refused` concerns one notice, everything else the channel.
    pub kind: ErrorKind,
    /// The sentence.
    pub what: String,
    /// How long the receiver asks us to wait (`Retry-After`).
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// Waiting does not help.
    pub fn needs_human(&self) -> bool {
        matches!(self.kind, ErrorKind::Refused | ErrorKind::Unauthorized)
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Failure {
            kind: error.kind,
            what: error.what,
            retry_after: error.retry_after,
        }
    }
}

/// Sends what was rendered.
pub type Send =
    Arc<dyn Fn(Value) -> BoxFuture<'static, Result<(), Failure>> + std::marker::Send + Sync>;

/// A notification channel.
#[derive(Clone)]
pub struct Channel {
    /// Its name in metrics.
    pub name: &'static str,
    /// Its name in conditions and configuration.
    pub title: String,
    render: Render,
    send: Send,
}

/// How a channel groups notices into messages.
#[derive(Clone, Copy)]
enum Render {
    /// One message for each.
    Each(fn(&Notice, Phase) -> Option<Value>),
    /// One message for those of the same kind in the same place.
    Grouped(fn(&[&Notice], Phase) -> Option<Value>),
}

/// Notices that are one message.
type Group = Vec<(String, Notice, Phase)>;

impl Channel {
    /// Problems in Dynatrace; `send` hands an event to the events API v2.
    pub fn dynatrace(send: Send) -> Self {
        Channel {
            name: "dynatrace",
            title: "dynatrace".to_owned(),
            render: Render::Each(render::event),
            send,
        }
    }

    /// Posts to a webhook.
    pub fn webhook(send: Send) -> Self {
        Channel {
            name: "webhook",
            title: "webhook".to_owned(),
            render: Render::Grouped(render::post),
            send,
        }
    }

    /// Posts to the webhook of a route.
    pub fn route(title: &str, send: Send) -> Self {
        Channel {
            name: "route",
            title: title.to_owned(),
            ..Channel::webhook(send)
        }
    }

    /// Posts a completed rotation, once.
    ///
    /// # Errors
    /// It was not delivered.
    pub async fn post_rotated(&self, rotated: &Rotated) -> Result<(), Failure> {
        (self.send)(render::rotated(rotated)).await
    }

    /// Sends notices until the sender of the open errors is dropped, and then once more what is pending. `report` gets the outcome of each
    /// attempt; none = everything that had failed was delivered.
    pub async fn run(
        self,
        mut shown: watch::Receiver<Troubles>,
        report: impl Fn(Option<Result<(), Failure>>),
    ) {
        let mut ledger = Ledger::default();
        let mut failures = 0;
        loop {
            self.gather(&ledger, &mut shown).await;
            let troubles = shown.borrow_and_update().clone();
            let failure = self.round(&mut ledger, &troubles, &report).await;
            let (wait, failing) = match failure {
                None => {
                    if failures > 0 {
                        report(None);
                    }
                    failures = 0;
                    (ledger.rest(Instant::now()), false)
                }
                Some(failure) => {
                    let wait = pause(failures, failure.retry_after, fastrand::u64(..));
                    failures += 1;
                    (wait, true)
                }
            };
            if !sleep(&mut shown, wait, failing).await {
                return;
            }
        }
    }

    /// Waits for what belongs to the same message, unless there is nothing new or the sender of the open errors was dropped.
    async fn gather(&self, ledger: &Ledger, shown: &mut watch::Receiver<Troubles>) {
        let is_new = {
            let troubles = shown.borrow();
            let due = ledger.due(&troubles, Instant::now());
            due.iter().any(|(_, _, phase)| *phase != Phase::Lasts)
        };
        if is_new && matches!(self.render, Render::Grouped(_)) {
            let more = async { while shown.changed().await.is_ok() {} };
            let _ = tokio::time::timeout(GATHER, more).await;
        }
    }

    /// What is due now, in messages.
    fn groups(&self, due: Group) -> Vec<Group> {
        let mut groups: Vec<Group> = vec![];
        for one in due {
            let same = |group: &&mut Group| {
                let (_, first, phase) = &group[0];
                let key = |notice: &Notice| {
                    let Notice {
                        reason,
                        environment,
                        advice,
                        ..
                    } = notice.clone();
                    let cause = (notice.event, reason, advice);
                    (cause, environment, notice.secret.is_some())
                };
                *phase == one.2 && key(first) == key(&one.1)
            };
            let group = match self.render {
                Render::Each(_) => None,
                Render::Grouped(_) => groups.iter_mut().find(same),
            };
            match group {
                Some(group) => group.push(one),
                None => groups.push(vec![one]),
            }
        }
        groups
    }

    fn message(&self, group: &Group) -> Option<Value> {
        let (_, first, phase) = &group[0];
        match self.render {
            Render::Each(render) => render(first, *phase),
            Render::Grouped(render) => {
                let notices: Vec<&Notice> = group.iter().map(|(_, notice, _)| notice).collect();
                render(&notices, *phase)
            }
        }
    }

    /// Sends everything that is due now. Returns the last failure, if there was one. A failure of the channel itself ends the round.
    async fn round(
        &self,
        ledger: &mut Ledger,
        troubles: &Troubles,
        report: &impl Fn(Option<Result<(), Failure>>),
    ) -> Option<Failure> {
        let mut failed = None;
        let mut groups = self
            .groups(ledger.due(troubles, Instant::now()))
            .into_iter();
        for group in groups.by_ref() {
            if let Some(message) = self.message(&group) {
                let sent = (self.send)(message).await;
                report(Some(sent.clone()));
                if let Err(failure) = sent {
                    let all = failure.kind != ErrorKind::Refused;
                    failed = Some(failure);
                    ledger.failed(group);
                    if all {
                        break;
                    }
                    continue;
                }
            }
            for (key, notice, phase) in group {
                ledger.delivered(key, notice, phase, Instant::now());
            }
        }
        groups.for_each(|group| ledger.failed(group));
        failed
    }
}

/// The pause after a failure: with backoff, but short enough to keep a problem open, unless the receiver asks for more.
fn pause(failures: u32, wish: Option<Duration>, dice: u64) -> Duration {
    retry::wait(failures, None, dice)
        .min(REFRESH)
        .max(wish.unwrap_or_default().min(retry::LONGEST))
}

/// Sleeps until it is time, or something new is shown (not while it fails: it would be asked without a pause). `false`: nobody shows
/// troubles, and there is nothing left to try.
async fn sleep(shown: &mut watch::Receiver<Troubles>, wait: Duration, failing: bool) -> bool {
    let timer = tokio::time::sleep(wait);
    tokio::pin!(timer);
    loop {
        tokio::select! {
            () = &mut timer => return true,
            changed = shown.changed() => match changed {
                Ok(()) if failing => {}
                Ok(()) => return true,
                Err(_) => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests;
