//! The open conditions and what the log says of them: an ERROR line when one opens, again every 15 minutes, and a line when it is resolved.
//!
//! Each subject has one owner, which computes the conditions of that subject from what it knows and hands in the whole list: what is new
//! opens, what is missing is resolved. Nothing else keeps a copy of what is wrong.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::clock;
use crate::ops::condition::Condition;
use crate::telemetry::Line;
use rotation::event::{EventName, Level};

use super::lock;

/// An open error is repeated in the log this often.
pub const REPEAT: Duration = Duration::from_secs(15 * 60);

/// Whose conditions they are. Each subject has one owner.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// Vault and the environments.
    Services,
    /// The clocks of the servers.
    Clocks,
    /// Wrapped AppRole secret ids.
    WrappedSecretIds,
    /// The configuration that was read last.
    Configuration,
    /// The ops listener.
    Listener,
    /// The id of the installation, which is in the journal.
    Installation,
    /// The list of the journal's documents.
    Journal,
    /// Processes that have this daemon's instance name.
    Namesakes,
    /// How long Vault keeps the documents.
    JournalRetention,
    /// Documents without a secret.
    Documents,
    /// The management token of an environment.
    ManagementToken(String),
    /// The comparison of an environment's tokens with the journal.
    Sweep(String),
    /// The document of pruned tokens.
    PruneDocument,
    /// The pruned tokens of an environment or account.
    Pruned(String),
    /// A folder in which secrets are discovered.
    Discovery(String),
    /// A notification channel.
    Channel(String),
    /// A secret.
    Secret(String),
    /// What happened to a secret and no document shows. A later run resolves it.
    Incident(String),
}

struct Open {
    condition: Condition,
    /// When it was last written to the log.
    written: Instant,
}

/// The open conditions. Shared by everything in the process.
#[derive(Default)]
pub struct Conditions {
    open: Mutex<BTreeMap<Subject, Vec<Open>>>,
    /// Errors that a run has written to the log, until its secret's conditions are next computed.
    reported: Mutex<Vec<Condition>>,
}

impl Conditions {
    /// Makes `now` the conditions of a subject. What is new is written to the log, and so is the end of what is missing.
    pub fn set(&self, subject: Subject, now: Vec<Condition>) {
        self.replace(subject, now, |_| false);
    }

    /// The same for conditions whose owner has written them to the log.
    pub fn set_reported(&self, subject: Subject, now: Vec<Condition>) {
        self.replace(subject, now, |_| true);
    }

    /// The same for a secret. What its run has reported is not written again.
    pub fn set_secret(&self, name: &str, now: Vec<Condition>) {
        let reported = lock(&self.reported);
        self.replace(Subject::Secret(name.to_owned()), now, |condition| {
            let mut mine = reported
                .iter()
                .filter(|one| one.secret.as_deref() == Some(name));
            mine.any(|one| one.kind == condition.kind)
        });
    }

    /// The same when a run over the secret has ended: what it reported and no document shows is an incident.
    pub fn set_secret_after_run(&self, name: &str, now: Vec<Condition>) {
        let mine = |one: &mut Condition| one.secret.as_deref() == Some(name);
        let mine: Vec<Condition> = lock(&self.reported).extract_if(.., mine).collect();
        let incidents: Vec<Condition> = mine
            .iter()
            .filter(|one| !now.iter().any(|other| other.kind == one.kind))
            .cloned()
            .collect();
        if !incidents.is_empty() {
            let mut open = lock(&self.open);
            let all = open.entry(Subject::Incident(name.to_owned())).or_default();
            all.retain(|open| {
                !incidents
                    .iter()
                    .any(|one| one.identity() == open.condition.identity())
            });
            all.extend(incidents.into_iter().map(|condition| Open {
                condition,
                written: Instant::now(),
            }));
        }
        self.replace(Subject::Secret(name.to_owned()), now, |condition| {
            mine.iter().any(|one| one.kind == condition.kind)
        });
    }

    /// A run over a secret has ended: of what happened before it, what `is_over` is resolved.
    pub fn resolve_incidents(&self, name: &str, is_over: impl Fn(&Condition) -> bool) {
        let subject = Subject::Incident(name.to_owned());
        let mut open = lock(&self.open);
        let Some(mut all) = open.remove(&subject) else {
            return;
        };
        let over: Vec<Open> = all
            .extract_if(.., |open| is_over(&open.condition))
            .collect();
        if !all.is_empty() {
            open.insert(subject, all);
        }
        drop(open);
        for resolved in over {
            write_end(&resolved.condition);
        }
    }

    /// A secret is gone, with everything that was open about it.
    pub fn forget_secret(&self, name: &str) {
        self.forget([Subject::Secret, Subject::Incident], name);
    }

    /// An environment is gone, with everything that was open about it.
    pub fn forget_environment(&self, name: &str) {
        self.forget(
            [Subject::ManagementToken, Subject::Sweep, Subject::Pruned],
            name,
        );
    }

    fn forget<const N: usize>(&self, subjects: [fn(String) -> Subject; N], name: &str) {
        let mut open = lock(&self.open);
        for subject in subjects {
            open.remove(&subject(name.to_owned()));
        }
    }

    /// A run has written this error to the log.
    pub fn reported(&self, condition: Condition) {
        lock(&self.reported).push(condition);
    }

    fn replace(
        &self,
        subject: Subject,
        now: Vec<Condition>,
        is_written: impl Fn(&Condition) -> bool,
    ) {
        let mut open = lock(&self.open);
        if now.is_empty() && !open.contains_key(&subject) {
            return;
        }
        let mut before = open.remove(&subject).unwrap_or_default();
        let mut after = Vec::with_capacity(now.len());
        for mut condition in now {
            // One cause of a secret can be found by several ways, which give it another kind or reason.
            let is_same = |open: &Open| {
                let other = &open.condition;
                let same_cause = other.secret.is_some()
                    && other.message == condition.message
                    && other.severity == condition.severity;
                same_cause || other.identity() == condition.identity()
            };
            let known = before.iter().position(is_same);
            let written = match known {
                Some(at) => {
                    let known = before.swap_remove(at);
                    condition.since = condition.since.min(known.condition.since);
                    known.written
                }
                None => {
                    if !is_written(&condition) {
                        write(&condition, false);
                    }
                    Instant::now()
                }
            };
            after.push(Open { condition, written });
        }
        if !after.is_empty() {
            open.insert(subject, after);
        }
        drop(open);
        for resolved in before {
            write_end(&resolved.condition);
        }
    }

    /// Repeats in the log what is still open. To be called every second or so.
    pub fn repeat(&self) {
        self.repeat_at(Instant::now());
    }

    fn repeat_at(&self, now: Instant) {
        for open in lock(&self.open).values_mut().flatten() {
            if now.saturating_duration_since(open.written) >= REPEAT {
                open.written = now;
                write(&open.condition, true);
            }
        }
    }

    /// How many need a human.
    pub fn errors(&self) -> usize {
        let open = lock(&self.open);
        let all = open.values().flatten();
        all.filter(|open| open.condition.needs_human()).count()
    }

    /// All that are open, those of the process first.
    pub fn all(&self) -> Vec<Condition> {
        let open = lock(&self.open);
        let all = open.values().flatten();
        all.map(|open| open.condition.clone()).collect()
    }
}

/// Vault refuses what dtrotate must do in the journal.
pub fn journal_refused(message: impl Into<String>) -> Condition {
    Condition::new(EventName::JournalUnreadable, message, clock::now()).advise(
        "Add the rule that is missing to the policy of dtrotate's Vault login; `dtrotate check` prints it.",
    )
}

/// The line of an error; a warning has been written by the run that found it.
fn write(condition: &Condition, again: bool) {
    if condition.needs_human() {
        let line = line(condition).at(Level::Error);
        line.since(again.then_some(condition.since)).write();
    }
}

/// The line that says that an error is resolved.
fn write_end(condition: &Condition) {
    if !condition.needs_human() {
        return;
    }
    let available = match EventName::from_word(&condition.kind) {
        Some(EventName::VaultUnavailable) => Some(EventName::VaultAvailable),
        Some(EventName::DynatraceUnavailable) => Some(EventName::DynatraceAvailable),
        _ => None,
    };
    let end = match available {
        None => line(condition).over(condition.since),
        Some(event) => {
            let title = condition.environment.as_ref();
            let title = title.map_or("Vault".to_owned(), |name| format!("Dynatrace {name}"));
            let took = Duration::try_from(condition.since.duration_until(clock::now()));
            place(
                Line::new(event, format!("{title} is available again")),
                condition,
            )
            .since(Some(condition.since))
            .took(took.unwrap_or_default())
        }
    };
    end.write();
}

fn line(condition: &Condition) -> Line {
    let event = EventName::from_word(&condition.kind).unwrap_or(EventName::InternalError);
    let mut line = Line::new(event, &condition.message).reason(condition.reason.as_deref());
    if let Some(error) = condition
        .error
        .as_ref()
        .filter(|error| **error != condition.message)
    {
        line = line.error(error);
    }
    place(line, condition)
}

fn place(line: Line, condition: &Condition) -> Line {
    let environment = condition.environment.as_deref().unwrap_or_default();
    match &condition.secret {
        Some(name) => line.secret(name, environment),
        None => line.environment(environment),
    }
}

#[cfg(test)]
mod tests;
