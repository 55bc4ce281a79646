//! Who runs now: from a tick, an alarm or a change to a run, and what its end means for the next one. Never two runs of one secret, never
//! more than the limit.

use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::clock;
use crate::ops::condition::Condition;
use crate::schedule::ticker::GroupId;
use crate::telemetry::Line;
use rotation::command::RunResult;
use rotation::error::CallError;
use rotation::event::EventName;
use rotation::marker::Epoch;
use rotation::plan::Plan;
use rotation::record::Record;
use rotation::request::{Epochs, Goal, Hints, Holder, Known};
use rotation::runner::Ended;
use rotation::token::TokenId;

use super::entry::Entry;
use super::foreground;
use super::job::Start;
use super::queue::Key;
use super::{Daemon, RESCAN, clocks, journal_index, pass};

impl Daemon {
    /// A group's due time came: its secrets are asked for their own.
    pub(super) fn tick(&mut self, group: GroupId) {
        let now = clock::now();
        let names = self.groups.get(&group).cloned().unwrap_or_default();
        for name in names {
            self.look(&name, now);
        }
    }

    /// Retries, clean-up, retirement, jitter, expiry, missed runs whose time has come.
    pub(super) fn ring(&mut self) {
        let now = clock::now();
        for name in self.queue.take_due(now) {
            self.look(&name, now);
        }
    }

    /// Queues a secret that is due, now or later. One that is being worked on is judged when its run has ended.
    pub(super) fn look(&mut self, name: &str, now: Timestamp) {
        if self.queue.is_busy(name) {
            return;
        }
        let Some(entry) = self.roster.get(name) else {
            return;
        };
        if entry.stale(now) {
            self.plan(name, now);
        }
        self.rearm(name, now);
    }

    /// Queues a secret for the time at which it is next to be looked at.
    pub(super) fn rearm(&mut self, name: &str, now: Timestamp) {
        let Some((key, entry)) = self.roster.get_key_value(name) else {
            self.replicas.forget(name);
            return self.queue.remove(name);
        };
        match entry.alarm(now) {
            Some(at) if at <= now => {
                self.queue.add(key, &entry.plan.service);
            }
            later => self.queue.add_after(key, later),
        }
    }

    /// Looks at all these secrets without waiting any longer.
    pub(super) fn hurry(&mut self, wanted: impl Fn(&Entry) -> bool) {
        let now = clock::now();
        for name in self.roster.names_where(wanted) {
            if let Some(entry) = self.roster.get_mut(&name) {
                entry.hurry(now);
            }
            self.rearm(&name, now);
        }
    }

    /// Recomputes when a secret is due.
    pub(super) fn plan(&mut self, name: &str, now: Timestamp) {
        let Some(entry) = self.roster.get_mut(name) else {
            return;
        };
        let environment = entry.plan.coordinates.environment.clone();
        let able = self.able_since.get(&entry.plan.service);
        let able = able.copied().unwrap_or(self.began);
        if let Some(skipped) = entry.plan_next(now, able) {
            let message = format!(
                "the due time {skipped:.0} passed unserved and is skipped (`missed = \"skip\"`); {}",
                entry.because
            );
            Line::new(EventName::RotationSkipped, message)
                .secret(name, &environment)
                .write();
        }
    }

    /// How long until the next secret is due.
    pub(super) fn next_alarm(&self) -> Duration {
        let Some(at) = self.queue.next_due() else {
            return RESCAN;
        };
        let left = Duration::try_from(at.duration_since(clock::now()));
        // The wall clock may be set meanwhile.
        left.unwrap_or_default().min(RESCAN)
    }

    /// Starts what is ready, as far as the limits and the services allow.
    pub(super) fn dispatch(&mut self) {
        if self.installation.is_none() || !self.surveyed {
            return;
        }
        self.grant_workers();
        let services = self.office.services.clone();
        while let Some(name) = self
            .queue
            .take(|environment| services.can_start(environment))
        {
            self.start(name);
        }
    }

    fn start(&mut self, name: Key) {
        let now = clock::now();
        if let Some(turn) = self.wait_for_turn(&name, now) {
            self.queue.done(&name);
            return self.queue.add_after(&name, Some(turn));
        }
        let another_began = self.replicas.forget(&name);
        let Some(entry) = self.roster.get_mut(&name) else {
            self.queue.done(&name);
            return self.queue.remove(&name);
        };
        entry.started = Some(now);
        let wish = entry.wish(now);
        let released = entry.settings.is_none();
        let hints = Hints {
            recheck_token: std::mem::take(&mut entry.doubt),
            reread_secret: std::mem::take(&mut entry.reread),
        };
        entry.hinted = (hints.recheck_token, hints.reread_secret);
        let listing = entry.listing.take();
        // An instance that continues the work of another replica reports only what it does itself.
        if let Some(wish) = wish.as_ref().filter(|_| !another_began) {
            let message = format!("due, because {}", entry.because);
            let coordinates = &entry.plan.coordinates;
            let mut line =
                Line::new(EventName::ScheduleDue, message).secret(&name, &coordinates.environment);
            if let Some(due) = wish.due {
                line = line.since(Some(due));
            }
            line.write();
        }
        let plan = entry.plan.clone();
        // Another replica was to begin: the document says whether it did.
        let known = match another_began {
            true => None,
            false => entry.snapshot(),
        };
        let enabled = entry
            .settings
            .as_ref()
            .is_none_or(|settings| settings.enabled);
        let blackout_until = entry.blackout_ends(now);
        let before = Known {
            journal: known.clone(),
            observation: entry.watch,
            listing,
        };
        let outage = self.office.services.last_vault_outage();
        // Nothing retires before it is known what the other secrets hold.
        let current_tokens = self.holders.index(&plan.coordinates.base_url);
        let epochs = self.epochs();
        let (office, holder) = (self.office.clone(), self.holder());
        let installation = self.installation.clone().unwrap_or_default();
        let task_name = name.clone();
        let is_pass = self.pass.is_some();
        let handle = self.runs.spawn(async move {
            let clock = clocks::state(&office, &plan.service).await;
            let start = Start {
                plan: plan.clone(),
                holder,
                installation,
                goal: match (released, wish) {
                    (true, _) => Goal::Release,
                    (false, Some(request)) => Goal::Rotate(request),
                    (false, None) => Goal::Settle,
                },
                dry_run: false,
                hints,
                enabled,
                blackout_until,
                clock,
                may_retire: current_tokens.is_some(),
                current_tokens: Arc::new(current_tokens.unwrap_or_default()),
                epochs,
                outage,
                known: before,
            };
            let mut ended = start.run(&office).await.unwrap_or_else(|error| Ended {
                result: RunResult::Retry(error),
                journal: known,
                reports: vec![],
            });
            if is_pass {
                pass::date_claim(&office, &task_name, &mut ended.result).await;
            }
            let without_record = ended.journal.as_ref().is_some_and(|known| {
                let record = known.record.as_ref();
                record.is_none_or(|record| record.current.is_none())
            });
            let unrecorded = match without_record && !released {
                true => Some(journal_index::value(&office.wired, &plan).await),
                false => None,
            };
            (task_name, ended, unrecorded)
        });
        self.running.insert(handle.id(), name);
    }

    /// Notes which token a secret holds.
    pub(super) fn note_holder(&mut self, name: &str) {
        match self.roster.get_key_value(name) {
            Some((key, entry)) => {
                let base_url = &entry.plan.coordinates.base_url;
                match entry.settings {
                    Some(_) => self.holders.set(key, base_url, entry.held()),
                    // What is known of a document without a secret is enough: nothing waits for it.
                    None => {
                        let held = entry.current();
                        self.holders.set(key, base_url, Some(held.as_ref()));
                    }
                }
            }
            None if self.holders.is_left(name) => {}
            None => self.holders.remove(name),
        }
    }

    /// The identities of the documents, once each was looked at. All runs share them; a run that brings another changes that one alone.
    fn epochs(&mut self) -> Option<Arc<Epochs>> {
        if !self.looked_at_all {
            return None;
        }
        if self.epochs.is_none() {
            let mut index = Epochs::default();
            for entry in self.roster.values() {
                if let Some(epoch) = identity(entry) {
                    note(&mut index, epoch, &entry.plan);
                }
            }
            self.epochs = Some(Arc::new(index));
        }
        self.epochs.clone()
    }

    fn holder(&self) -> Holder {
        Holder {
            instance: self.instance.clone(),
            boot: self.boot.clone(),
            began: self.began,
            user: None,
            is_daemon: true,
            is_pass: self.pass.is_some(),
        }
    }

    /// Whether every secret was looked at since the start. The search begins where the last one ended, so that a start takes no time in
    /// proportion to the square of the secrets.
    fn was_all_looked_at(&mut self) -> bool {
        let from = &*self.not_looked_at;
        let all = self.roster.range::<str, _>((Included(from), Unbounded));
        let before = self.roster.range::<str, _>((Unbounded, Excluded(from)));
        match all.chain(before).find(|(_, entry)| !entry.looked) {
            Some((name, _)) => {
                self.not_looked_at = name.clone();
                false
            }
            None => true,
        }
    }

    /// A run ended.
    pub(super) fn collect(
        &mut self,
        ended: Result<(tokio::task::Id, EndedRun), tokio::task::JoinError>,
    ) {
        let (name, ended, unrecorded) = match ended {
            Ok((id, ended)) => {
                self.running.remove(&id);
                ended
            }
            Err(error) => {
                let Some(name) = self.running.remove(&error.id()) else {
                    return;
                };
                let what =
                    "internal error: the run panicked (see the previous line); it will be retried";
                Line::new(EventName::InternalError, what)
                    .secret(&name, "")
                    .write();
                let condition = Condition::new(EventName::InternalError, what, clock::now());
                self.office.conditions.reported(condition.secret(&name, ""));
                (
                    name,
                    Ended {
                        result: RunResult::InternalError(what.to_owned()),
                        journal: None,
                        reports: vec![],
                    },
                    None,
                )
            }
        };
        let now = clock::now();
        self.note_token_limit(&name, &ended);
        let dirty = self.queue.done(&name);
        let Some(entry) = self.roster.get_mut(&name) else {
            return self.queue.remove(&name);
        };
        let first = !entry.looked;
        if let Some(pass) = &mut self.pass {
            pass.note_run(&name, &ended);
        }
        if let Some(epochs) = &mut self.epochs {
            note_change(epochs, entry, foreground::record(&ended));
        }
        entry.ended(&ended.result, ended.journal, now);
        if let Some(value) = unrecorded {
            entry.note_unrecorded(value, now);
        }
        if dirty {
            entry.hurry(now);
        }
        let service = entry.plan.service.clone();
        if !matches!(ended.result, RunResult::Retry(_)) {
            self.progress.insert(service.clone(), Instant::now());
        }
        if entry.is_finished() {
            if let Some(token) = entry.last_token() {
                let base_url = entry.plan.coordinates.base_url.clone();
                self.holders.leave((name.clone(), base_url, token));
            }
            self.roster.remove(&name);
        } else {
            self.plan(&name, now);
        }
        if self.roster.get(&name).is_some_and(|it| it.value_may_end()) {
            self.values.put_first(&name);
        }
        self.note_holder(&name);
        self.note_announcement(&name);
        let came_to_rest = matches!(ended.result, RunResult::Done { .. });
        self.publish_after_run(&name, came_to_rest);
        self.rearm(&name, now);
        self.retry_at_limit(&service, &ended.reports, now);
        if first && self.was_all_looked_at() {
            self.looked_at_all = true;
            // Now it is known what every secret holds: what is due for retirement need not wait any longer.
            self.hurry(|entry| {
                let leaves =
                    |record: &Record| !record.retiring.is_empty() || !record.open.is_empty();
                entry.record().is_some_and(|record| leaves(&record))
            });
            // A sweep compares only what is known.
            self.hurry_sweeps();
            self.become_ready();
        }
    }
}

/// Notes whose document has this identity.
fn note(epochs: &mut Epochs, epoch: Epoch, plan: &Arc<Plan>) {
    let plans = epochs.entry(epoch).or_default();
    // There is hardly ever another one.
    plans.reserve_exact(1);
    plans.push(plan.clone());
}

/// Notes the identity of the document that a run left. The one before is unpacked only if the identity is another one.
fn note_change(epochs: &mut Arc<Epochs>, before: &Entry, after: Option<&Record>) {
    let plan = &before.plan;
    let is_this = |noted: &Arc<Plan>| noted.name == plan.name;
    let epoch = after.and_then(open_identity);
    let noted = epoch.and_then(|epoch| epochs.get(epoch));
    if noted.is_some_and(|plans| plans.iter().any(is_this)) {
        return;
    }
    let epochs = Arc::make_mut(epochs);
    if let Some(former) = identity(before) {
        epochs.change(former, |plans| {
            plans.retain(|plan| !is_this(plan));
            !plans.is_empty()
        });
    }
    if let Some(epoch) = epoch {
        note(epochs, epoch.clone(), plan);
    }
}

/// A run that ended: its secret, how, and the token whose value the secret holds where its document knows none.
pub(super) type EndedRun = (Key, Ended, Option<Result<Option<TokenId>, CallError>>);

/// The identity of the document of a secret.
fn identity(entry: &Entry) -> Option<Epoch> {
    entry.record().as_deref().and_then(open_identity).cloned()
}

/// A closed document is nobody's.
fn open_identity(record: &Record) -> Option<&Epoch> {
    let open = Some(record).filter(|record| record.closed_at.is_none());
    open.map(|record| &record.epoch)
}

#[cfg(test)]
mod tests {
    use rotation::event::Report;
    use rotation::reason::Reason;
    use rotation::record::Failure;
    use rotation::request::JournalSnapshot;

    use super::super::fixture::daemon;
    use super::*;

    #[tokio::test]
    async fn a_secret_that_is_gone_keeps_no_token_from_retiring() {
        let mut daemon = daemon().await;
        let url = daemon.roster["a"].plan.coordinates.base_url.clone();
        assert!(daemon.holders.index(&url).is_none(), "a and b are unknown");
        daemon.settings.secrets.clear();
        daemon.settings.environments.clear();
        daemon.settings.accounts.clear();
        daemon.enroll();
        assert!(daemon.roster.is_empty());
        assert!(daemon.holders.index(&url).is_some());
        assert!(daemon.queue.take(|_| true).is_none());
    }

    #[tokio::test]
    async fn a_panic_ends_one_run_which_is_tried_again() {
        let mut daemon = daemon().await;
        daemon.queue.add(&"a".into(), "prod");
        let taken = daemon.queue.take(|service| service == "prod");
        assert_eq!(taken.as_deref(), Some("a"));
        let handle = daemon.runs.spawn(async { panic!("a fault") });
        daemon.running.insert(handle.id(), "a".into());
        let ended = daemon.runs.join_next_with_id().await.unwrap();
        daemon.collect(ended);
        let now = clock::now();
        let entry = &daemon.roster["a"];
        assert!(!daemon.queue.is_busy("a") && entry.looked);
        assert!(entry.alarm(now).unwrap() > now, "after a while");
        assert!(!daemon.roster["b"].looked, "the other one is not concerned");
        assert!(daemon.running.is_empty());
        let open = daemon.office.conditions.all();
        assert_eq!(open[0].kind, "internal_error", "P8: it is shown");
    }

    #[tokio::test]
    async fn a_deletion_lets_one_secret_at_limit_try_again_at_once() {
        let mut daemon = daemon().await;
        while let Some(name) = daemon.queue.take(|_| true) {
            daemon.queue.done(&name);
        }
        let now = clock::now();
        let later = now + jiff::SignedDuration::from_hours(1);
        let place = daemon.roster["a"].plan.coordinates.clone();
        let epoch = Epoch {
            installation: "i".into(),
            secret: "s".into(),
        };
        let mut record = Record::blank("a", epoch, place, now);
        record.health.failure = Some(Failure {
            reason: Reason::TokenLimitReached,
            message: String::new(),
            since: now,
            at: now,
            count: 9,
            retry_at: Some(later),
        });
        let failed = |record: &Record| Ended {
            result: RunResult::Failed {
                reason: Reason::TokenLimitReached,
                retry_at: Some(later),
            },
            journal: Some(JournalSnapshot {
                cas: 1,
                record: Some(Box::new(record.clone())),
            }),
            reports: vec![],
        };
        for name in ["a", "b"] {
            let ended = failed(&record);
            daemon.note_token_limit(&name.into(), &ended);
            let entry = daemon.roster.get_mut(name).unwrap();
            entry.ended(&ended.result, ended.journal, now);
            assert!(entry.alarm(now).unwrap() > now, "{name} waits");
        }
        let deleted = Report::new(EventName::TokenDeleted, "gone").token(&TokenId::new("t"));
        daemon.retry_at_limit("another", std::slice::from_ref(&deleted), now);
        daemon.retry_at_limit("prod", &[], now);
        assert_eq!(daemon.queue.take(|_| true), None);
        daemon.retry_at_limit("prod", &[deleted], now);
        assert_eq!(daemon.queue.take(|_| true).as_deref(), Some("a"));
        assert_eq!(daemon.queue.take(|_| true), None, "one token was deleted");
        record.health.failure = None;
        daemon.note_token_limit(&"b".into(), &failed(&record));
        assert!(daemon.at_limit.is_empty());
    }
}
