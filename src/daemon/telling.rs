//! Telling people of what the board says: each channel of `[notify]` is shown the troubles of this moment and tells what is new.
//!
//! A channel that does not work is a trouble itself, which is not shown to that channel.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use jiff::Timestamp;

use crate::clock;
use crate::config::Notify;
use crate::ops::metrics::Counters;
use crate::telemetry::Line;
use rotation::event::EventName;

use super::Life;
use super::assemble::{self, AssembleError, Channel, Failure, Notice, Troubles};
use super::board::{Board, Lasting, lock};

/// A channel that fails for less than this is not told of, unless it says that waiting does not help.
const BLIP: Duration = Duration::from_secs(30);
/// A stop waits for the last words no longer than this.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(2);

/// Since when a channel does not work, and the last that was heard of it.
struct Failing {
    since: Timestamp,
    began: Instant,
    last: Failure,
}

struct Told {
    name: &'static str,
    show: watch::Sender<Troubles>,
    failing: Arc<Mutex<Option<Failing>>>,
    /// Dropped with it, the channel ends at once.
    task: JoinSet<()>,
}

/// The channels that are on.
#[derive(Default)]
pub(super) struct Telling {
    settings: Option<Notify>,
    channels: Vec<Told>,
}

impl Telling {
    /// Only these channels are on from now on; one that stays as it is goes on with what it has told.
    ///
    /// # Errors
    /// A client cannot be built; then nothing changed.
    pub fn set(
        &mut self,
        wanted: &Notify,
        board: &Board,
        counters: &Arc<Counters>,
    ) -> Result<(), AssembleError> {
        let before = self.settings.as_ref();
        let dynatrace = before.and_then(|old| old.dynatrace.as_ref());
        let webhook = before.and_then(|old| old.webhook.as_ref());
        let (mut gone, mut new) = (vec![], vec![]);
        if dynatrace != wanted.dynatrace.as_ref() {
            gone.push("dynatrace");
            let channel = wanted.dynatrace.as_ref().map(assemble::dynatrace_channel);
            new.extend(channel.transpose()?);
        }
        if webhook != wanted.webhook.as_ref() {
            gone.push("webhook");
            let channel = wanted.webhook.as_ref().map(assemble::webhook_channel);
            new.extend(channel.transpose()?);
        }
        self.channels.retain(|told| !gone.contains(&told.name));
        for name in gone {
            board.forget(&key(name));
        }
        let start = |channel| Told::start(channel, counters.clone());
        self.channels.extend(new.into_iter().map(start));
        self.settings = Some(wanted.clone());
        Ok(())
    }

    /// Shows every channel what the board says now, and the board what is wrong with a channel. To be called every second or so.
    pub fn show(&self, board: &Board, instance: &str) {
        for told in &self.channels {
            told.judge(board);
        }
        let all = board.lasting();
        for told in &self.channels {
            let own = key(told.name);
            let others = all.iter().filter(|(key, ..)| *key != own);
            let troubles: Troubles = others.map(|one| notice(one, instance)).collect();
            told.show.send_if_modified(|shown| {
                let is_new = *shown != troubles;
                *shown = troubles;
                is_new
            });
        }
    }

    /// What is left is told, as far as there is time.
    pub async fn finish(&mut self) {
        let channels = std::mem::take(&mut self.channels);
        let mut tasks: Vec<JoinSet<()>> = vec![];
        for Told { task, .. } in channels {
            tasks.push(task);
        }
        let ends = tasks.iter_mut().map(JoinSet::join_next);
        let all = futures_util::future::join_all(ends);
        let _ = tokio::time::timeout(LAST_WORDS, all).await;
    }
}

impl Told {
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
        Told {
            name,
            show,
            failing,
            task,
        }
    }

    fn judge(&self, board: &Board) {
        let key = key(self.name);
        match &*lock(&self.failing) {
            None => board.settle(&key),
            Some(failing) if failing.last.needs_human() || failing.began.elapsed() >= BLIP => {
                let what = &failing.last.what;
                let message = format!(
                    "people are not told by [notify.{}]: {what}. Rotation goes on, and what could not be told is told when it works again",
                    self.name
                );
                let line = Line::new(EventName::NotifyFailed, message)
                    .error(what)
                    .since(Some(failing.since));
                board.raise(key, line, true);
            }
            Some(_) => {}
        }
    }
}

/// The key of a channel's trouble.
fn key(channel: &str) -> String {
    format!("notify {channel}")
}

/// What people are told. Another event or reason under the same key is another trouble.
fn notice((key, line, since): &Lasting, instance: &str) -> (String, Notice) {
    let report = line.report();
    let reason = report
        .reason
        .as_ref()
        .map(|reason| reason.as_str().to_owned());
    let (secret, environment) = line.place();
    let identity = format!(
        "{key} {} {}",
        report.event.as_str(),
        reason.as_deref().unwrap_or("")
    );
    let notice = Notice {
        event: report.event,
        message: report.message.clone(),
        secret: secret.map(str::to_owned),
        environment: environment.map(str::to_owned),
        reason,
        since: *since,
        instance: instance.to_owned(),
    };
    (identity, notice)
}

impl Life {
    /// Brings the channels in line with the settings.
    ///
    /// # Errors
    /// As [`Telling::set`].
    pub(super) fn begin_telling(&mut self) -> Result<(), AssembleError> {
        let (board, counters) = (&self.office.board, &self.office.counters);
        self.telling.set(&self.settings.notify, board, counters)
    }

    /// Shows the channels what there is to tell.
    pub(super) fn tell_people(&self) {
        self.telling.show(&self.office.board, &self.instance);
    }
}
