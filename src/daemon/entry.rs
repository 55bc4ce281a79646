//! What the daemon keeps of each secret between two runs: its settings, its journal document as last known, and when it is next looked at.
//! At rest that is little: what is only of use while something is under way or wrong is in a box that is dropped then.

mod outcome;
mod timing;
mod unsettled;
mod view;

use std::borrow::Cow;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use jiff::Timestamp;

use crate::config::SecretSettings;
use crate::ops::secret::State;
use crate::schedule::due;
use rotation::event::EventName;
use rotation::pause::Pause;
use rotation::plan::Plan;
use rotation::ports::JournalRead;
use rotation::record::{Reason, Record};
use rotation::request::JournalSnapshot;
use rotation::token::TokenId;

use super::at_rest::{Document, Models};
use unsettled::{SETTLED, Unsettled};

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
    /// A secret that was not read yet: it is read at once.
    pub fn new(plan: Arc<Plan>, settings: Option<Arc<SecretSettings>>) -> Self {
        Entry {
            plan,
            settings,
            known: None,
            known_at: None,
            held: None,
            due: None,
            because: "not read yet".into(),
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
        let recorded = self.held.as_ref()?.as_ref();
        Some(recorded.or(self.unrecorded.as_ref()))
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

    /// It has other settings, so what made it stuck may be over.
    pub fn change(&mut self, settings: Arc<SecretSettings>, now: Timestamp) {
        if !self.plan.coordinates.same_place(&settings.plan.coordinates) {
            // Another place holds another token.
            self.held = None;
            self.unrecorded = None;
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

    /// The token that it held when it left the configuration, which stays as it is.
    pub fn last_token(&self) -> Option<TokenId> {
        let record = self.record()?;
        let moved = record.renamed_to.is_some();
        record.current_id().filter(|_| !moved).cloned()
    }

    /// The next look may come at once, but no sooner than a retry may.
    pub fn look_at(&mut self, now: Timestamp) {
        self.wake = Some(now);
    }

    /// The same, with a look at the secret itself.
    pub fn request_reread(&mut self, now: Timestamp) {
        self.reread = true;
        self.wake = Some(self.wake.map_or(now, |wake| wake.min(now)));
    }

    /// Vault or the environment is back, the sweep found something, or the configuration changed: no need to wait any longer.
    pub fn hurry(&mut self, now: Timestamp) {
        self.not_before = None;
        self.wake = Some(now);
    }
}

#[cfg(test)]
mod tests;
