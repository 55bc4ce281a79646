//! One run over one secret, with the process around it: clocks, dice, log lines, the stop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::clock;
use crate::config::Settings;
use crate::ops::condition::Condition;
use crate::ops::counters::Counters;
use crate::telemetry::Line;
use rotation::command::Command;
use rotation::error::CallError;
use rotation::event::{EventName, Level, Report};
use rotation::marker::Epoch;
use rotation::plan::Plan;
use rotation::ports::{SecretPath, SecretStore, TokenIssuer};
use rotation::record::Trigger;
use rotation::request::{
    Clock, CurrentTokens, Epochs, Goal, Hints, Holder, Known, Now, Outage, RunEnv, RunRequest,
};
use rotation::runner::{self, Ended, RunContext};

use super::assemble::{Issuer, Wired};
use super::call_limit::CallLimit;
use super::conditions::Conditions;
use super::lock;
use super::services::Services;
use super::waits;

/// The zero of the monotonic clock lies this long before the start of the process, so that it can express since when Vault has a claim.
const BEFORE_START: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// What all runs of a process share.
#[derive(Clone)]
pub struct Office {
    /// The clients.
    pub wired: Wired,
    /// How many calls an environment gets at the same time.
    pub call_limit: Arc<CallLimit>,
    /// Which services can be used.
    pub services: Arc<Services>,
    /// What is wrong.
    pub conditions: Arc<Conditions>,
    /// Begins when the process is to stop.
    pub stop: CancellationToken,
    /// What is counted since the start.
    pub counters: Arc<Counters>,
    /// When the process began.
    pub began: Instant,
    /// Where runs report their waits; none = nothing else needs their worker.
    pub turns: Option<mpsc::UnboundedSender<waits::Turn>>,
}

impl Office {
    /// Nothing is known yet, and nothing asked.
    pub fn new(wired: Wired, settings: &Settings) -> Self {
        let counters = Arc::<Counters>::default();
        let issuers = settings.issuers_in_use();
        let names = issuers.iter().map(|issuer| &issuer.service);
        let services = Services::new(names, counters.clone());
        Office {
            wired,
            call_limit: Arc::new(CallLimit::new(settings.limits.concurrency)),
            services: Arc::new(services),
            conditions: Arc::default(),
            stop: CancellationToken::new(),
            counters,
            began: Instant::now(),
            turns: None,
        }
    }

    /// The monotonic clock.
    pub fn mono(&self) -> Duration {
        BEFORE_START + self.began.elapsed()
    }

    /// Runs `request` to its end.
    pub async fn run(&self, request: RunRequest, issuer: &Issuer) -> Ended {
        let around = Around {
            office: self,
            name: request.plan.name.clone(),
            environment: request.plan.coordinates.environment.clone(),
            service: request.plan.service.clone(),
            id: request.id.clone(),
            trigger: request.rotation().map(|rotation| rotation.trigger),
            manages_tokens: request.plan.manages_tokens,
            has_called: AtomicBool::new(false),
            permit: Mutex::default(),
            began: Instant::now(),
        };
        runner::run(
            request,
            issuer,
            &self.wired.store,
            &self.wired.ledger,
            &around,
        )
        .await
    }
}

/// What a run is started with, before the services are asked what they can do.
pub(super) struct Start {
    pub(super) plan: Arc<Plan>,
    pub(super) holder: Holder,
    pub(super) installation: String,
    pub(super) goal: Goal,
    pub(super) dry_run: bool,
    pub(super) hints: Hints,
    pub(super) enabled: bool,
    pub(super) blackout_until: Option<Timestamp>,
    pub(super) clock: Clock,
    pub(super) may_retire: bool,
    pub(super) current_tokens: Arc<CurrentTokens>,
    pub(super) epochs: Option<Arc<Epochs>>,
    pub(super) outage: Option<Outage>,
    pub(super) known: Known,
}

impl Start {
    /// Runs it to its end.
    pub(super) async fn run(self, office: &Office) -> Result<Ended, CallError> {
        let coordinates = &self.plan.coordinates;
        let service = self.plan.service.clone();
        let issuer = office.wired.issuer(&service)?.clone();
        let at = SecretPath::from(coordinates);
        let history = office.wired.store.has_history(&at).await;
        office
            .services
            .called(&service, "read", history.as_ref().err());
        // A management token is retired by its successor, which reads its own value again when it is refused.
        let own = self.plan.manages_tokens.then_some(service.as_str());
        let management_tokens = office.wired.management_token_ids(own).await;
        let request = RunRequest {
            plan: self.plan,
            holder: self.holder,
            id: mark(),
            goal: self.goal,
            dry_run: self.dry_run,
            hints: self.hints,
            env: RunEnv {
                fresh_epoch: Epoch {
                    installation: self.installation,
                    secret: mark(),
                },
                capabilities: issuer.capabilities(),
                history: history?,
                enabled: self.enabled,
                blackout_until: self.blackout_until,
                clock: self.clock,
                may_retire: self.may_retire,
                current_tokens: self.current_tokens,
                management_tokens: Arc::new(management_tokens),
                epochs: self.epochs,
                outage: self.outage,
            },
            known: self.known,
        };
        Ok(office.run(request, &issuer).await)
    }
}

/// A random mark of 48 bits. It is also the identity of a new document, and two secrets with the same identity are not rotated until a person deletes a
/// document, so it must not repeat among any number of secrets.
pub fn mark() -> String {
    let mut text = Uuid::new_v4().simple().to_string();
    text.truncate(12);
    text
}

struct Around<'a> {
    office: &'a Office,
    name: String,
    environment: String,
    /// What issues its tokens.
    service: String,
    id: String,
    trigger: Option<Trigger>,
    manages_tokens: bool,
    /// It has called Dynatrace.
    has_called: AtomicBool,
    /// It may call Dynatrace now.
    permit: Mutex<Option<OwnedSemaphorePermit>>,
    began: Instant,
}

impl Around<'_> {
    fn line(&self, report: Report) -> Line {
        Line::of(report)
            .secret(&self.name, &self.environment)
            .rotation(&self.id)
    }
}

impl RunContext for Around<'_> {
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
        lock(&self.permit).take();
        let turns = self.office.turns.as_ref();
        let turns = turns.filter(|_| length >= waits::GIVES_WAY);
        if let Some(turns) = turns {
            waits::begin(turns, &self.name);
        }
        let wait = async {
            tokio::time::sleep(length).await;
            if let Some(turns) = turns {
                waits::end(turns, &self.name).await;
            }
        };
        tokio::select! {
            () = self.office.stop.cancelled() => false,
            () = wait => true,
        }
    }

    /// Calls to Dynatrace that follow one another have one permit, so that nothing comes between a proof and what it allows.
    async fn admit(&self, command: &Command) -> bool {
        if !command.calls_dynatrace() {
            lock(&self.permit).take();
            return true;
        }
        if lock(&self.permit).is_some() {
            return true;
        }
        let permit = self.office.call_limit.permit(&self.service);
        let permit = if self.has_called.swap(true, Ordering::Relaxed) {
            permit.await
        } else {
            tokio::select! {
                biased;
                // What has not begun does not begin.
                () = self.office.stop.cancelled() => return false,
                permit = permit => permit,
            }
        };
        *lock(&self.permit) = permit;
        true
    }

    fn emit(&self, mut report: Report) {
        let took = self.began.elapsed();
        self.office
            .counters
            .event(report.event, report.level, &self.environment, took);
        let timed = report.event == EventName::RotationSucceeded;
        if report.trigger.is_none() && report.event != EventName::TokenDisabled {
            report.trigger = self.trigger;
        }
        if report.level == Level::Error {
            let mut condition = Condition::new(report.event, &report.message, clock::now())
                .secret(&self.name, &self.environment);
            condition.error.clone_from(&report.error);
            self.office.conditions.reported(condition);
        }
        if report.event.level() == Level::Error && report.level == Level::Info {
            // The end of a condition, which `Conditions` writes to the log.
            report.level = Level::Debug;
        }
        let line = self.line(report);
        if timed { line.took(took) } else { line }.write();
    }

    fn call_ended(&self, step: &'static str, error: Option<&CallError>) {
        if matches!(step, "verify" | "try") && self.service != self.environment {
            // A trial asks the environment, which says nothing of the account.
            self.office.services.count(&self.environment, error);
        } else {
            self.office.services.called(&self.service, step, error);
        }
        if self.manages_tokens && step == "store" {
            // Whatever the answer: the next call uses what is in Vault now, so that the old token is not in use when it retires.
            self.office.wired.forget_credential(&self.service);
        }
        if let Some(error) = error {
            let report = Report::new(
                EventName::CallFailed,
                "a call failed; the run decides what follows",
            )
            .at(Level::Debug);
            self.line(report)
                .step(step)
                .error(error.what.clone())
                .write();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_of_many_marks_are_the_same() {
        let all: HashSet<String> = (0..100_000).map(|_| mark()).collect();
        assert_eq!(all.len(), 100_000);
    }
}
