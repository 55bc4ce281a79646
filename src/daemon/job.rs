//! One run over one secret, with the process around it: clocks, dice, log lines, the stop.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::clock;
use crate::config::Settings;
use crate::ops::metrics::Counters;
use crate::telemetry::Line;
use rotation::error::CallError;
use rotation::event::{EventName, Level, Report};
use rotation::facts::{Errand, Now};
use rotation::record::Trigger;
use rotation::runner::{self, Ended, Surroundings};

use super::assemble::{Issuer, Wired};
use super::board::Board;
use super::sweep;

/// What all runs of a process share.
#[derive(Clone)]
pub struct Office {
    /// The clients.
    pub wired: Wired,
    /// The state of the services.
    pub board: Arc<Board>,
    /// Begins when the process is to stop.
    pub stop: CancellationToken,
    /// What is counted since the start.
    pub counters: Arc<Counters>,
    /// When the process began; the zero of the monotonic clock.
    pub began: Instant,
}

impl Office {
    /// Nothing is known yet, and nothing asked.
    pub fn new(wired: Wired, settings: &Settings) -> Self {
        let counters = Arc::<Counters>::default();
        let board = Board::new(settings.environments.keys(), counters.clone());
        Office {
            wired,
            board: Arc::new(board),
            stop: CancellationToken::new(),
            counters,
            began: Instant::now(),
        }
    }

    /// The monotonic clock.
    pub fn mono(&self) -> Duration {
        self.began.elapsed()
    }

    /// Runs `errand` to its end.
    pub async fn run(&self, errand: Errand, issuer: &Issuer) -> Ended {
        let around = Around {
            office: self,
            name: errand.plan.name.clone(),
            environment: errand.plan.coordinates.environment.clone(),
            id: errand.id.clone(),
            trigger: errand.wish.as_ref().map(|wish| wish.trigger),
            began: Instant::now(),
        };
        runner::run(
            errand,
            issuer,
            &self.wired.store,
            &self.wired.ledger,
            &around,
        )
        .await
    }
}

/// A short random mark.
pub fn mark() -> String {
    let mut text = Uuid::new_v4().simple().to_string();
    text.truncate(12);
    text
}

struct Around<'a> {
    office: &'a Office,
    name: String,
    environment: String,
    id: String,
    trigger: Option<Trigger>,
    began: Instant,
}

impl Around<'_> {
    fn line(&self, report: Report) -> Line {
        Line::of(report)
            .secret(&self.name, &self.environment)
            .rotation(&self.id)
    }
}

impl Surroundings for Around<'_> {
    fn now(&self) -> Now {
        Now {
            wall: clock::now(),
            mono: self.office.mono(),
            dice: fastrand::u64(..),
        }
    }

    fn mark(&self) -> String {
        Uuid::new_v4().simple().to_string()
    }

    async fn wait(&self, length: Duration) -> bool {
        tokio::select! {
            () = self.office.stop.cancelled() => false,
            () = tokio::time::sleep(length) => true,
        }
    }

    fn report(&self, mut report: Report) {
        let took = self.began.elapsed();
        self.office
            .counters
            .event(report.event, report.level, &self.environment, took);
        let timed = report.event == EventName::RotationSucceeded;
        if report.trigger.is_none() && report.event != EventName::TokenDisabled {
            report.trigger = self.trigger;
        }
        // These two stand in the document for as long as they last.
        let stands = matches!(
            report.event,
            EventName::RotationStuck | EventName::CurrentInvalid
        );
        let once = report.level == Level::Error && !stands;
        let line = self.line(report);
        if once {
            let key = sweep::told_once(&self.name);
            self.office.board.note(key, line.clone());
        }
        if timed { line.took(took) } else { line }.write();
    }

    fn called(&self, step: &'static str, error: Option<&CallError>) {
        self.office.board.called(&self.environment, step, error);
        if let Some(error) = error {
            let report = Report::new(
                EventName::RotationFailed,
                "a call did not succeed; the run decides what follows",
            )
            .at(Level::Debug);
            self.line(report)
                .step(step)
                .error(error.what.clone())
                .write();
        }
    }
}
