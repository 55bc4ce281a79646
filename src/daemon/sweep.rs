//! The sweep: one listing per environment is compared with the documents of all its secrets; and what is watched beside it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};

use crate::clock;
use crate::telemetry::Line;
use rotation::command::RunResult;
use rotation::error::{CallError, ErrorKind};
use rotation::event::{EventName, Level, Report};
use rotation::ports::TokenIssuer;
use rotation::record::Record;
use rotation::request::{self, Listing};
use rotation::token::{TokenId, TokenInfo};
use rotation::{listing_needs_work, token_suspect};

use super::Life;
use super::assemble::ServerClock;
use super::board::Board;
use super::chores::Apply;
use super::job::Office;
use super::roster::Entry;

/// Clocks that differ by more than this: nothing is disabled or deleted.
const SKEW: SignedDuration = SignedDuration::from_mins(5);
/// A management token that nobody rotates is told of when less than this is left, or a fifth of its lifetime if that is less: time enough to
/// make another one in working hours.
const LEAST_LEFT: SignedDuration = SignedDuration::from_hours(14 * 24);

impl Life {
    /// Compares Dynatrace with the journal, an environment at a time.
    pub(super) fn sweep_when_due(&mut self) {
        if self.next_sweep > Instant::now() || !self.surveyed {
            return;
        }
        self.next_sweep = Instant::now() + self.settings.daemon.sweep;
        self.look_back("look back", |_| true, Life::check_journal_retention);
        let names: Vec<String> = self.office.wired.issuers.keys().cloned().collect();
        for environment in names {
            if self.office.board.can_start(&environment) {
                self.sweep(environment);
            }
        }
    }

    fn sweep(&mut self, environment: String) {
        let Some(issuer) = self.office.wired.issuers.get(&environment).cloned() else {
            return;
        };
        let (wired, board) = (self.office.wired.clone(), self.office.board.clone());
        let kind = format!("sweep {environment}");
        let current = self.current_tokens(&environment);
        self.chores.begin(&kind, async move {
            // Another replica may have rotated it: this one switches over now, and not when the old one is refused.
            issuer.inner().forget_management_token().await;
            let management = wired.management_token(&environment).await;
            board.called(&environment, "look_up", management.as_ref().err());
            let at = clock::now();
            let listed = match &management {
                Ok(_) => issuer.inner().list(|id| current.contains(id)).await,
                Err(error) => Err(error.clone()),
            };
            board.called(&environment, "list", listed.as_ref().err());
            Box::new(move |life: &mut Life| {
                if let Ok(info) = management {
                    life.watch_management(&environment, &info);
                }
                if let Ok(tokens) = listed {
                    life.compare(&environment, at, tokens);
                }
            }) as Apply
        });
    }

    /// The current tokens of an environment's secrets, as far as they are known.
    fn current_tokens(&self, environment: &str) -> BTreeSet<TokenId> {
        let here = |entry: &&Entry| entry.plan.coordinates.environment == environment;
        let entries = self.roster.values().filter(here);
        entries
            .filter_map(|entry| entry.current().cloned())
            .collect()
    }

    /// Starts a run for every secret that the listing has something for.
    fn compare(&mut self, environment: &str, at: Timestamp, tokens: Vec<TokenInfo>) {
        let now = clock::now();
        let tokens = Arc::new(tokens);
        for entry in self.roster.values_mut() {
            let Some(record) = entry.known.as_ref().and_then(|known| known.record.as_ref()) else {
                continue;
            };
            if entry.plan.coordinates.environment != environment || entry.busy {
                continue;
            }
            let doubt = entry.settings.is_some() && token_suspect(record, &tokens, now);
            let leaves = !record.retiring.is_empty();
            if doubt || listing_needs_work(record, &tokens) {
                entry.doubt = doubt;
                entry.listing = Some(Listing {
                    at,
                    tokens: tokens.clone(),
                });
                entry.hurry(now);
            }
            if leaves {
                entry.peek(now);
            }
        }
        self.ring();
    }

    /// The management token ends some day, and then nothing works any more. One that is listed as a secret rotates.
    fn watch_management(&self, environment: &str, token: &TokenInfo) {
        let key = format!("management {environment}");
        let board = &self.office.board;
        let mut secrets = self.settings.secrets.iter();
        let rotates = secrets.any(|secret| {
            secret.enabled
                && secret.plan.manages_tokens
                && secret.plan.coordinates.environment == environment
        });
        match ends_soon(token, clock::now()) {
            Some(end) if !rotates => {
                let message = format!(
                    "the management token {} of environment {environment} ends at {end}; put a new one into Vault before, or list it as a \
                     [[secret]] so that it rotates",
                    token.id
                );
                let line = Line::new(EventName::ManagementTokenExpiring, message);
                board.raise(key, line.environment(environment), true);
            }
            _ => board.settle(&key),
        }
    }
}

/// The end of a token that is near.
fn ends_soon(token: &TokenInfo, now: Timestamp) -> Option<Timestamp> {
    let end = token.expires?;
    let fifth = token.created.map(|created| created.duration_until(end) / 5);
    let least = fifth.map_or(LEAST_LEFT, |fifth| fifth.min(LEAST_LEFT));
    (now.duration_until(end) < least).then_some(end)
}

/// Whether the local clock and the servers' agree, as far as they returned their time; this environment is asked if it did not yet. A
/// disagreement is one ERROR until it is resolved.
pub(super) async fn clock_state(office: &Office, environment: &str) -> request::Clock {
    let Ok(issuer) = office.wired.issuer(environment) else {
        return request::Clock::Unknown;
    };
    let clock = issuer.inner().clock();
    if clock.skew().is_none() {
        // Whatever it answers, it tells its time.
        let _ = issuer.probe_known_token().await;
    }
    let told = clock.skew().is_some();
    match (all_agree(office), told) {
        (false, _) => request::Clock::Disagrees,
        (true, false) => request::Clock::Unknown,
        (true, true) => request::Clock::Agrees,
    }
}

fn all_agree(office: &Office) -> bool {
    let mut agree = true;
    for (name, clock) in office.wired.clocks() {
        let key = format!("clock {name}");
        if let Some(message) = disagrees(&name, &clock) {
            office
                .board
                .raise(key, Line::new(EventName::ClockSkew, message), true);
            agree = false;
        } else {
            office.board.settle(&key);
        }
    }
    agree
}

/// What there is to say of a server's clock that differs too much from this machine's.
pub(super) fn disagrees(name: &str, clock: &ServerClock) -> Option<String> {
    let ahead = clock.skew()?.ahead;
    (ahead.abs() > SKEW).then(|| {
        format!(
            "the clock of {name} is {} s {} of this machine's; nothing is disabled or deleted until they agree. Check the time \
             synchronisation of both",
            ahead.abs().as_secs(),
            if ahead.is_negative() {
                "behind"
            } else {
                "ahead"
            }
        )
    })
}

/// Keeps the board in line with what the journal says of a secret, so that what lasts is repeated, and with what kept the run from writing
/// anything there.
pub(super) fn note_troubles(board: &Board, name: &str, entry: &Entry, result: &RunResult) {
    let environment = &entry.plan.coordinates.environment;
    let [document, look, secret, value, elsewhere] = keys(name);
    match result {
        RunResult::JournalUnreadable(why) | RunResult::JournalImplausible(why) => {
            let mut message = why.clone();
            if entry.held().is_none() {
                message += "; until it is known what this secret holds, no old token of its environment is retired";
            }
            let event = match result {
                RunResult::JournalImplausible(_) => EventName::JournalImplausible,
                _ => EventName::JournalUnreadable,
            };
            let line = Line::new(event, message).secret(name, environment);
            return board.raise(document, line, true);
        }
        _ => board.settle(&document),
    }
    match result {
        RunResult::Retry(error) if error.kind == ErrorKind::Refused => {
            board.raise(look, refused_line(error).secret(name, environment), true);
        }
        RunResult::Retry(_) => {}
        _ => board.settle(&look),
    }
    let Some(record) = entry.record() else { return };
    let stuck = record.stuck();
    // The run that found it has told it already, and the one that ends it tells that.
    if let Some(failure) = stuck {
        let mut report = Report::new(EventName::RotationStuck, &failure.message);
        report.reason = Some(failure.reason.clone());
        let line = Line::of(report).since(Some(failure.since));
        board.raise(secret, line.secret(name, environment), false);
    } else {
        board.forget(&secret);
    }
    if let Some(invalid) = &record.health.invalid {
        let line = Line::new(EventName::CurrentInvalid, &invalid.message);
        let line = line.since(Some(invalid.since));
        board.raise(value, line.secret(name, environment), false);
    } else {
        board.forget(&value);
    }
    note_retirements(board, name, environment, record);
    match left_elsewhere(record) {
        Some(message) => {
            let line = Line::new(EventName::RetirementBlocked, message);
            board.raise(elsewhere, line.secret(name, environment), true);
        }
        None => board.settle(&elsewhere),
    }
}

/// Retirements that need a person: tokens that cannot be proven or ended, and consumers that were cut off. The run that found it has reported
/// it.
fn note_retirements(board: &Board, name: &str, environment: &str, record: &Record) {
    let prefix = format!("retirement of {name}: ");
    let mut open = BTreeSet::new();
    for entry in &record.retiring {
        for problem in entry.problems(name) {
            let Some(event) = EventName::from_word(&problem.event) else {
                continue;
            };
            let key = format!("{prefix}{} {}", problem.event, entry.id);
            let line = Line::new(event, problem.message).since(Some(problem.since));
            board.raise(key.clone(), line.secret(name, environment), false);
            open.insert(key);
        }
    }
    board.keep(&prefix, open);
}

/// Old tokens that belong to another URL than the secret has now: what a human must do about them.
fn left_elsewhere(record: &Record) -> Option<String> {
    let here = &record.coordinates.base_url;
    let left = record.retiring.iter().filter(|it| it.base_url != *here);
    let left: Vec<String> = left
        .map(|entry| format!("{} at {}", entry.id, entry.base_url))
        .collect();
    (!left.is_empty()).then(|| {
        format!(
            "these old tokens belong to a different environment URL and will not be retired from here: [{}]. Restore the old URL until they are \
             gone, or delete them there by hand and run `dtrotate forget` for each",
            left.join(", ")
        )
    })
}

/// What a run told of this secret and no document tells.
pub(super) fn told_once(name: &str) -> String {
    format!("report of {name}")
}

/// A secret that is no more has no troubles.
pub(super) fn forget_troubles(board: &Board, name: &str) {
    for key in keys(name).into_iter().chain([told_once(name)]) {
        board.forget(&key);
    }
    board.keep(&format!("retirement of {name}: "), BTreeSet::new());
}

fn keys(name: &str) -> [String; 5] {
    ["journal", "look", "secret", "value", "elsewhere"]
        .map(|subject| format!("{subject} of {name}"))
}

fn refused_line(error: &CallError) -> Line {
    Line::new(EventName::RotationStuck, &error.what).at(Level::Error)
}
