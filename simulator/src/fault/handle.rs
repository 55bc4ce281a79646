//! A rule in force: counting what it saw, holding requests, letting them go.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::exchange::Exchange;
use super::{Action, Rule, Until};
use crate::calls::{Call, lock};

/// What became of a held request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Released,
    Dropped,
}

struct Progress {
    seen: usize,
    fired: usize,
    removed: bool,
    /// Decides which requests a rule with a share picks.
    random: fastrand::Rng,
    waiting: VecDeque<oneshot::Sender<Verdict>>,
}

struct Inner {
    rule: Rule,
    progress: Mutex<Progress>,
    fired: watch::Sender<usize>,
    held: watch::Sender<usize>,
    performed: watch::Sender<usize>,
}

/// The handle of a rule in force. Dropping it leaves the rule in force.
#[derive(Clone)]
pub struct Fault {
    inner: Arc<Inner>,
}

impl fmt::Debug for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Fault")
            .field("rule", &self.inner.rule)
            .field("fired", &self.fired())
            .finish_non_exhaustive()
    }
}

impl Fault {
    pub(crate) fn new(rule: Rule) -> Fault {
        let progress = Progress {
            seen: 0,
            fired: 0,
            removed: false,
            random: fastrand::Rng::with_seed(rule.share.map_or(0, |(_, seed)| seed)),
            waiting: VecDeque::new(),
        };
        Fault {
            inner: Arc::new(Inner {
                rule,
                progress: Mutex::new(progress),
                fired: watch::Sender::new(0),
                held: watch::Sender::new(0),
                performed: watch::Sender::new(0),
            }),
        }
    }

    /// How many requests it was carried out on.
    pub fn fired(&self) -> usize {
        *self.inner.fired.borrow()
    }

    /// How many requests (or hidden tokens) wait for a release now.
    pub fn held(&self) -> usize {
        *self.inner.held.borrow()
    }

    /// How many picked requests have had their effect.
    pub fn performed(&self) -> usize {
        *self.inner.performed.borrow()
    }

    /// Waits until it has fired at least `count` times; false when that did not come in time.
    pub async fn wait_fired(&self, count: usize, within: Duration) -> bool {
        wait_for(&self.inner.fired, count, within).await
    }

    /// Waits until at least `count` requests are held; false when that did not come in time.
    pub async fn wait_held(&self, count: usize, within: Duration) -> bool {
        wait_for(&self.inner.held, count, within).await
    }

    /// Waits until at least `count` picked requests have had their effect; false when that did not come in time.
    pub async fn wait_performed(&self, count: usize, within: Duration) -> bool {
        wait_for(&self.inner.performed, count, within).await
    }

    /// [`Fault::wait_held`] for a thread without an async runtime; must not be called inside one.
    pub fn wait_held_blocking(&self, count: usize, within: Duration) -> bool {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .is_ok_and(|runtime| runtime.block_on(self.wait_held(count, within)))
    }

    /// Continues everything that is held; returns how many.
    pub fn release(&self) -> usize {
        self.settle(Verdict::Released)
    }

    /// Closes the connections of everything that waits, without an effect; returns how many.
    pub fn drop_held(&self) -> usize {
        self.settle(Verdict::Dropped)
    }

    /// Takes the rule out of force. What is held stays held until it is released or dropped.
    pub fn remove(&self) {
        lock(&self.inner.progress).removed = true;
    }

    fn settle(&self, verdict: Verdict) -> usize {
        let waiting = std::mem::take(&mut lock(&self.inner.progress).waiting);
        let count = waiting.len();
        self.inner.held.send_modify(|held| *held -= count);
        for sender in waiting {
            // The receiver is gone when the simulator ends; then nobody waits for the verdict.
            let _ = sender.send(verdict);
        }
        count
    }

    pub(crate) fn action(&self) -> &Action {
        &self.inner.rule.action
    }

    pub(crate) async fn hold(&self) -> Verdict {
        let (sender, receiver) = oneshot::channel();
        lock(&self.inner.progress).waiting.push_back(sender);
        self.inner.held.send_modify(|held| *held += 1);
        receiver.await.unwrap_or(Verdict::Dropped)
    }

    /// Waits as ordered; `Dropped` only by [`Fault::drop_held`].
    pub(crate) async fn until(&self, until: Until) -> Verdict {
        match until {
            Until::Elapsed(time) => {
                tokio::time::sleep(time).await;
                Verdict::Released
            }
            Until::Released => self.hold().await,
        }
    }

    pub(crate) fn note_performed(&self) {
        self.inner
            .performed
            .send_modify(|performed| *performed += 1);
    }

    fn take(&self, call: &Call, free: bool) -> bool {
        if !self.inner.rule.matches(call) {
            return false;
        }
        let mut progress = lock(&self.inner.progress);
        progress.seen += 1;
        let drawn = match self.inner.rule.share {
            Some((share, _)) => progress.random.f64() < share,
            None => true,
        };
        let due =
            drawn && progress.seen >= self.inner.rule.nth && progress.fired < self.inner.rule.times;
        if !free || !due || progress.removed {
            return false;
        }
        progress.fired += 1;
        drop(progress);
        self.inner.fired.send_modify(|fired| *fired += 1);
        true
    }

    fn in_force(&self) -> bool {
        let progress = lock(&self.inner.progress);
        !progress.removed && progress.fired < self.inner.rule.times
    }
}

async fn wait_for(counter: &watch::Sender<usize>, count: usize, within: Duration) -> bool {
    let mut receiver = counter.subscribe();
    let reached = receiver.wait_for(|seen| *seen >= count);
    matches!(tokio::time::timeout(within, reached).await, Ok(Ok(_)))
}

/// The rules of one stand-in.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    rules: Mutex<Vec<Fault>>,
    pub(crate) exchange: Exchange,
}

impl Faults {
    pub(crate) fn add(&self, rule: Rule) -> Fault {
        let fault = Fault::new(rule);
        self.put(fault.clone());
        fault
    }

    /// Puts a rule into force that may be in force elsewhere, too: what it has seen and done is counted together.
    pub(crate) fn put(&self, fault: Fault) {
        if matches!(fault.inner.rule.action, Action::SwapAnswer(_)) {
            self.exchange.switch_on();
        }
        lock(&self.rules).push(fault);
    }

    /// A rule before all others.
    #[cfg(feature = "gate")]
    pub(crate) fn add_first(&self, rule: Rule) -> Fault {
        let fault = Fault::new(rule);
        lock(&self.rules).insert(0, fault.clone());
        fault
    }

    pub(crate) fn clear(&self) {
        lock(&self.rules).clear();
    }

    /// The rule to carry out on this request. Every matching rule counts the request, the first that may fire takes it.
    pub(crate) fn pick(&self, call: &Call) -> Option<Fault> {
        let mut rules = lock(&self.rules);
        rules.retain(Fault::in_force);
        let mut picked = None;
        for fault in rules.iter() {
            if fault.take(call, picked.is_none()) {
                picked = Some(fault.clone());
            }
        }
        picked
    }
}
