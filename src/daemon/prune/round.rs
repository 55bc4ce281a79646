//! One round over the pruned tokens of an environment or account: what a command left unfinished is settled, and what has been in quarantine for long
//! enough is deleted. Several processes may do it at the same time: what is done is written to the document first, and done twice it has the same effect.

use jiff::Timestamp;

use crate::clock;
use crate::telemetry::Line;
use rotation::error::CallError;
use rotation::event::{EventName, Level, Report};
use rotation::prune::{PruneEnd, PruneResult, PruneRun, PrunedToken};

use super::drive::Driver;

/// What a round found and did.
#[derive(Default)]
pub(super) struct Round {
    /// What left the document by this process.
    pub(super) ended: Vec<(PrunedToken, PruneEnd)>,
    /// What is left alone, and why.
    pub(super) blocked: Vec<(PrunedToken, String)>,
    /// How many tokens wait for a person to confirm their deletion.
    pub(super) unconfirmed: usize,
    /// When there is something to do next.
    pub(super) next: Option<Timestamp>,
    /// The first call that failed; its token is looked at again.
    pub(super) error: Option<CallError>,
}

impl Round {
    fn wake(&mut self, at: Timestamp) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }

    fn note(&mut self, token: PrunedToken, result: PruneResult) {
        match result {
            PruneResult::Wait(at) => self.wake(at),
            PruneResult::Ended(end) => {
                report(&token, end);
                self.ended.push((token, end));
            }
            PruneResult::Unconfirmed => self.unconfirmed += 1,
            PruneResult::Blocked(why) => self.blocked.push((token, why)),
            PruneResult::Failed(error) | PruneResult::Unclear(error) => {
                self.error.get_or_insert(error);
            }
            // Something changed in the meantime: the next round finds out what.
            _ => self.wake(clock::now()),
        }
    }
}

/// Does what can be done now.
///
/// # Errors
/// The document cannot be read.
pub(super) async fn round(driver: &Driver<'_>) -> Result<Round, CallError> {
    let mut tokens = driver.office.wired.pruned.read().await?.tokens;
    tokens.retain(|token| token.service == driver.place.service);
    let mut round = Round::default();
    if tokens.is_empty() {
        return Ok(round);
    }
    let runs = tokens
        .into_iter()
        .map(|token| (token.id.clone(), PruneRun::settle(token)));
    let driven = driver.drive(runs.collect()).await;
    for (_, run, result) in driven.results {
        if let Some(token) = run.entry() {
            round.note(token.clone(), result);
        }
    }
    Ok(round)
}

/// Says how it ended with a token.
fn report(token: &PrunedToken, end: PruneEnd) {
    let PrunedToken { id, by, at, .. } = token;
    let name = format!("{:?}", token.name);
    let (level, message) = match end {
        PruneEnd::Deleted => (
            Level::Info,
            format!("{id} ({name}) was deleted after its quarantine; {by} pruned it at {at:.0}"),
        ),
        PruneEnd::Gone => (
            Level::Info,
            format!("{id} ({name}) is gone: not found twice; {by} pruned it at {at:.0}"),
        ),
        PruneEnd::TakenBack => (
            Level::Warn,
            format!(
                "{id} ({name}), which {by} pruned at {at:.0}, was enabled by someone; it is kept"
            ),
        ),
        PruneEnd::NotCarriedOut => (
            Level::Warn,
            format!(
                "{id} ({name}) is kept: the command by which {by} pruned it at {at:.0} was interrupted"
            ),
        ),
        PruneEnd::Restored => (
            Level::Warn,
            format!("{id} ({name}) is back: an interrupted `dtrotate undo` was completed"),
        ),
    };
    let report = Report::new(EventName::TokenPruned, message).token(id);
    Line::of(report.at(level))
        .environment(&token.service)
        .write();
}
