//! What a command did to one secret: one document for machines, a few lines for people. Both show ids, never a value.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::daemon::foreground::{self, Finished};
use crate::ops::humanize::{due, hanging, local};
use crate::ops::secret::Retiring;
use crate::sanitize;
use rotation::command::RunResult;
use rotation::error::{CallError, Service};
use rotation::event::{EventName, Report};
use rotation::pause::Pause;
use rotation::record::{EntryReason, Record, RetiringState};
use rotation::runner::Ended;
use rotation::token::TokenId;

use super::Exit;

/// What a person asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    Rotate,
    Undo,
    Forget,
    Revoke,
    Pause,
    Resume,
    Adopt,
}

/// What became of one secret. The fields are an interface: docs/commands.md.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    secret: String,
    environment: String,
    result: Word,
    /// The sentence: what was done; or what went wrong, with its cure.
    message: String,
    /// The stable code of a failure.
    reason: Option<String>,
    /// The token that was replaced.
    from: Option<TokenId>,
    /// The token that is the current value now.
    to: Option<TokenId>,
    /// The version of the secret that holds it.
    version: Option<u64>,
    /// Old tokens that this command deleted.
    deleted: Vec<TokenId>,
    /// Old tokens on their way out.
    retiring: Vec<Retiring>,
    /// Why what was due could not be retired.
    retirement: Option<String>,
    exit_status: u8,
    #[serde(skip)]
    exit: Exit,
    /// An order of it is in the journal and not carried out.
    #[serde(skip)]
    is_open: bool,
    #[serde(skip)]
    quarantine: Duration,
    /// Nothing retires before it ends.
    #[serde(skip)]
    pause: Option<Pause>,
    /// The zone of its schedule.
    #[serde(skip)]
    zone: String,
    /// What could not be reached.
    #[serde(skip)]
    unreachable: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Adopted,
    Rotated,
    Created,
    Restored,
    Dropped,
    Revoked,
    Paused,
    Resumed,
    NotPaused,
    DryRun,
    Superseded,
    Busy,
    Unavailable,
    Failed,
}

impl Word {
    fn for_people(self) -> &'static str {
        match self {
            Word::Adopted => "adopted",
            Word::Rotated => "rotated",
            Word::Created => "created",
            Word::Restored => "restored",
            Word::Dropped => "dropped",
            Word::Revoked => "revoked",
            Word::Paused => "paused",
            Word::Resumed => "resumed",
            Word::NotPaused => "not paused",
            Word::DryRun => "dry run",
            Word::Superseded => "not rotated",
            Word::Busy => "busy",
            Word::Unavailable => "unavailable",
            Word::Failed => "failed",
        }
    }
}

impl Outcome {
    /// Of what `task` did.
    pub(super) fn new(task: Task, finished: &Finished<'_>) -> Outcome {
        let plan = &finished.secret.plan;
        let blank = Outcome {
            secret: plan.name.clone(),
            environment: plan.coordinates.environment.clone(),
            result: Word::Failed,
            message: String::new(),
            reason: None,
            from: None,
            to: None,
            version: None,
            deleted: vec![],
            retiring: vec![],
            retirement: None,
            exit_status: 0,
            exit: Exit::Failed,
            is_open: false,
            quarantine: plan.quarantine,
            pause: None,
            zone: finished.secret.zone_name.clone(),
            unreachable: None,
        };
        let mut outcome = match &finished.ended {
            Ok(ended) => blank.of_run(task, ended),
            Err(error) => blank.of_error(error),
        };
        if let Some(retirement) = &finished.retirement {
            outcome.add_retirement(retirement);
        }
        outcome.message = outcome
            .message
            .trim_start_matches(&format!("{}: ", plan.name))
            .to_owned();
        outcome.exit_status = outcome.exit.code();
        outcome
    }

    /// What it means for the exit status.
    pub(super) fn exit(&self) -> Exit {
        self.exit
    }

    /// It was not done, and may yet be: by a daemon, or when a service answers again.
    pub(super) fn is_open(&self) -> bool {
        self.is_open || matches!(self.result, Word::Unavailable | Word::Busy)
    }

    /// What could not be done because the command was stopped has failed: nobody retries it, and no service is down.
    pub(super) fn interrupted(mut self, is_interrupted: bool) -> Outcome {
        if is_interrupted && self.result == Word::Unavailable {
            (self.result, self.exit) = (Word::Failed, Exit::Failed);
            self.exit_status = self.exit.code();
            self.is_open = true;
        }
        self
    }

    fn of_run(mut self, task: Task, ended: &Ended) -> Outcome {
        let record = foreground::record(ended);
        self.retiring = record.map(Retiring::all).unwrap_or_default();
        self.pause = record.and_then(|record| record.pause.clone());
        self.is_open = record.is_some_and(|record| record.revoking.is_some());
        match &ended.result {
            RunResult::Done { .. } => self.of_reports(task, &ended.reports, record),
            RunResult::DryRun(text) => self.with(Word::DryRun, Exit::Success, text),
            RunResult::ClaimedElsewhere { holder, .. } => {
                let text = format!("{holder} holds the claim; try again when it has finished");
                self.with(Word::Busy, Exit::Busy, &text)
            }
            RunResult::Failed { reason, .. } => {
                let failure = record.and_then(|record| record.health.failure.as_ref());
                let message = failure.map_or("the rotation failed", |failure| &failure.message);
                self.reason = Some(reason.as_str().to_owned());
                self.with(Word::Failed, Exit::Failed, message)
            }
            RunResult::JournalUnreadable(why)
            | RunResult::JournalImplausible(why)
            | RunResult::Refused(why)
            | RunResult::InternalError(why) => self.with(Word::Failed, Exit::Failed, why),
            RunResult::Retry(error) => self.of_error(error),
        }
    }

    fn of_error(mut self, error: &CallError) -> Outcome {
        self.note_unreachable(error);
        let exit = Exit::of(error);
        let word = match exit {
            Exit::Unreachable => Word::Unavailable,
            Exit::Busy => Word::Busy,
            _ => Word::Failed,
        };
        self.with(word, exit, &error.what)
    }

    /// The run came to rest: its reports say with what.
    fn of_reports(mut self, task: Task, reports: &[Report], record: Option<&Record>) -> Outcome {
        let find = |event| reports.iter().rfind(|report| report.event == event);
        let current = record.and_then(|record| record.current.as_ref());
        let place = record.map_or(String::new(), |record| {
            let at = &record.coordinates;
            format!("{}/{}", at.mount, at.path)
        });
        let done = match task {
            Task::Rotate => {
                find(EventName::RotationSucceeded).or_else(|| find(EventName::SecretCreated))
            }
            Task::Undo => find(EventName::UndoSucceeded),
            Task::Revoke => return self.of_revocation(reports, record),
            Task::Pause => {
                let report = find(EventName::SecretPaused);
                let text = report.map_or("it is paused", |report| &report.message);
                return self.with(Word::Paused, Exit::Success, text);
            }
            Task::Resume => {
                return match find(EventName::SecretResumed) {
                    Some(report) => self.with(Word::Resumed, Exit::Success, &report.message),
                    None => self.with(Word::NotPaused, Exit::Success, "nothing was changed"),
                };
            }
            Task::Adopt => {
                find(EventName::SecretAdopted).or(find(EventName::SecretChangedElsewhere))
            }
            Task::Forget => {
                let text = "the token is no longer in the journal; at Dynatrace it is unchanged";
                return self.with(Word::Dropped, Exit::Success, text);
            }
        };
        let is_done = done.is_some() || matches!(task, Task::Undo | Task::Adopt);
        let (Some(current), true) = (current, is_done) else {
            return match find(EventName::SecretChangedElsewhere) {
                Some(report) => self.with(Word::Superseded, Exit::Failed, &report.message),
                None => {
                    let name = self.secret.clone();
                    let text = format!(
                        "the run ended without a new token; `dtrotate status {name}` shows the secret"
                    );
                    self.with(Word::Failed, Exit::Failed, &text)
                }
            };
        };
        self.from = done.and_then(|report| report.old_token_id.clone());
        self.to = Some(current.id.clone());
        self.version = Some(current.version);
        let word = match task {
            Task::Undo => Word::Restored,
            Task::Adopt => Word::Adopted,
            Task::Rotate if self.from.is_none() => Word::Created,
            _ => Word::Rotated,
        };
        let mut message = format!(
            "the current value is version {} of {place}",
            current.version
        );
        let recorded = find(EventName::RotationRecovered).filter(|it| it.token_id.is_some());
        if let Some(recorded) = recorded {
            message += &format!("; before that, {}", recorded.message);
        }
        self.with(word, Exit::Success, &message)
    }

    /// A token was to be ended.
    fn of_revocation(mut self, reports: &[Report], record: Option<&Record>) -> Outcome {
        let find = |event| reports.iter().rfind(|report| report.event == event);
        let current = record.and_then(|record| record.current.as_ref());
        if find(EventName::RotationSucceeded).is_some() {
            self.to = current.map(|current| current.id.clone());
            self.version = current.map(|current| current.version);
        }
        if let Some(report) = find(EventName::TokenRevoked) {
            self.from.clone_from(&report.token_id);
            return self.with(Word::Revoked, Exit::Success, &report.message);
        }
        let order = record.and_then(|record| record.revoking.as_ref());
        self.from = order.map(|order| order.token.clone());
        let entry = record
            .zip(order)
            .and_then(|(record, order)| record.retiring(&order.token));
        let failure = entry.and_then(|entry| entry.failure.as_ref());
        let text = match failure {
            Some(failure) => format!("it is not ended yet: {}; a daemon continues", failure.message),
            None => "it is not ended yet: another secret holds it and must get another token first (`dtrotate status TOKEN_ID` shows which), or its \
                      environment is not this one; a daemon ends it then"
                .to_owned(),
        };
        match failure.is_some_and(|failure| failure.reason == EntryReason::Unavailable) {
            true => self.with(Word::Unavailable, Exit::Unreachable, &text),
            false => self.with(Word::Failed, Exit::Failed, &text),
        }
    }

    fn with(mut self, result: Word, exit: Exit, message: &str) -> Outcome {
        self.result = result;
        self.exit = exit;
        message.clone_into(&mut self.message);
        self
    }

    /// What was due when the rotation had ended.
    fn add_retirement(&mut self, retirement: &Result<Ended, CallError>) {
        let ended = match retirement {
            Ok(ended) => ended,
            Err(error) => {
                self.note_unreachable(error);
                return self.retirement_failed(&error.what, Exit::of(error));
            }
        };
        let gone = ended
            .reports
            .iter()
            .filter(|report| report.event == EventName::TokenDeleted);
        self.deleted = gone.filter_map(|report| report.token_id.clone()).collect();
        if let Some(record) = foreground::record(ended) {
            self.retiring = Retiring::all(record);
        }
        match &ended.result {
            RunResult::Retry(error) => {
                self.note_unreachable(error);
                self.retirement_failed(&error.what, Exit::of(error));
            }
            RunResult::JournalUnreadable(why)
            | RunResult::JournalImplausible(why)
            | RunResult::Refused(why)
            | RunResult::InternalError(why) => self.retirement_failed(why, Exit::Failed),
            // Another holder retires it; what failed and needs a human is in the entries.
            RunResult::ClaimedElsewhere { .. }
            | RunResult::Done { .. }
            | RunResult::DryRun(_)
            | RunResult::Failed { .. } => {}
        }
        let blocked = EventName::RetirementBlocked.as_str();
        let mut problems = self.retiring.iter().flat_map(|entry| &entry.problems);
        if problems.any(|problem| problem.event == blocked) {
            self.exit = self.exit.max(Exit::Failed);
        }
    }

    fn note_unreachable(&mut self, error: &CallError) {
        if Exit::of(error) == Exit::Unreachable {
            let service = match error.service {
                Service::Vault => "Vault",
                Service::Dynatrace => &self.environment,
            };
            self.unreachable = Some(service.to_owned());
        }
    }

    fn retirement_failed(&mut self, why: &str, exit: Exit) {
        self.retirement = Some(why.to_owned());
        self.exit = self.exit.max(exit);
    }

    /// A few lines that fit a terminal.
    pub(super) fn text(&self, now: Timestamp) -> String {
        let mut text = String::new();
        let mut line = |head: &str, value: &str| {
            text += &hanging(head, &sanitize::line(value));
        };
        if let Some(from) = &self.from {
            line("  from      ", from.as_str());
        }
        if let Some(to) = &self.to {
            line("  to        ", to.as_str());
        }
        line("  ", &self.message);
        if let Some(reason) = &self.reason {
            line("  reason    ", reason);
        }
        for id in &self.deleted {
            line("  old token ", &format!("{id} is deleted"));
        }
        for entry in &self.retiring {
            line("  old token ", &self.next(entry, now));
        }
        if let Some(why) = &self.retirement {
            line("  problem   ", why);
        }
        let head = sanitize::line(&format!("{}: {}", self.secret, self.result.for_people()));
        head + "\n" + &text
    }

    /// What is next for a retiring token.
    fn next(&self, entry: &Retiring, now: Timestamp) -> String {
        let id = &entry.id;
        let exact = |at| local(at, Some(&self.zone));
        if let Some(service) = self.unreachable.as_ref().filter(|_| entry.due <= now) {
            return format!(
                "{id} was to be {} at {}; that waits until {service} can be reached",
                entry.next_step(),
                exact(entry.due)
            );
        }
        let pause = self.pause.as_ref().filter(|pause| !pause.is_over(now));
        let step = match pause.map(|pause| pause.until) {
            Some(None) => return format!("{id} is {} after the pause", entry.next_step()),
            Some(Some(until)) => entry.due.max(until),
            None => entry.due,
        };
        let at = |at: Timestamp| format!("{} ({})", due(at, now), exact(at));
        let quarantine = SignedDuration::try_from(self.quarantine).unwrap_or_default();
        let deleted = step.max(now).checked_add(quarantine).unwrap_or(step);
        let mut text = match entry.state {
            RetiringState::Grace if entry.cannot_be_disabled => {
                format!("{id} is deleted {}", at(step))
            }
            RetiringState::Grace => {
                format!("{id} is disabled {} and deleted {}", at(step), at(deleted))
            }
            RetiringState::Quarantine => {
                format!("{id} is disabled; it is deleted {}", at(step))
            }
            RetiringState::Disabling | RetiringState::Deleting => format!(
                "{id} is to be {}; whether the call took effect is examined {}",
                entry.next_step(),
                at(step)
            ),
            RetiringState::Newer(_) => {
                format!("{id} retires as only a newer version of dtrotate knows")
            }
        };
        if let Some(from) = entry.held_since.and(entry.used_from.as_deref()) {
            text += &format!("; it is still used from {from}");
        }
        for problem in &entry.problems {
            text += &format!("; {}", problem.message);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use rotation::error::ErrorKind;

    use super::*;

    #[test]
    fn what_is_due_and_cannot_be_done_waits_for_what_is_down() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let mut outcome = Outcome {
            secret: "a".to_owned(),
            environment: "prod".to_owned(),
            result: Word::Failed,
            message: String::new(),
            reason: None,
            from: None,
            to: None,
            version: None,
            deleted: vec![],
            retiring: vec![],
            retirement: None,
            exit_status: 0,
            exit: Exit::Failed,
            is_open: false,
            quarantine: Duration::ZERO,
            pause: None,
            zone: "Europe/Vienna".to_owned(),
            unreachable: None,
        };
        let entry = Retiring {
            id: TokenId::new("dt0c01.OLD"),
            state: RetiringState::Quarantine,
            due: now - SignedDuration::from_mins(1),
            cannot_be_disabled: false,
            held_since: None,
            used_from: None,
            problems: vec![],
        };
        assert!(outcome.next(&entry, now).contains("it is deleted now"));
        let mut pause = Pause {
            since: now,
            until: Some(now + SignedDuration::from_hours(2)),
            by: "alice".to_owned(),
            reason: None,
            unknown: serde_json::Map::new(),
        };
        outcome.pause = Some(pause.clone());
        assert!(outcome.next(&entry, now).contains("it is deleted in 2h"));
        pause.until = None;
        outcome.pause = Some(pause);
        assert!(
            outcome
                .next(&entry, now)
                .ends_with(" is deleted after the pause")
        );
        outcome.pause = None;
        let down = CallError::new(Service::Dynatrace, ErrorKind::Transient, "503");
        outcome = outcome.of_error(&down);
        let text = outcome.next(&entry, now);
        assert!(
            text.contains(
                "was to be deleted at 2027-01-15 08:59:00 CET; that waits until prod can be reached"
            ),
            "{text}"
        );
    }
}
