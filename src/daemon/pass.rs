//! One pass (`dtrotate run --once`): the daemon without its schedule. It recovers, rotates what is due, retires what is due, compares each
//! environment with the journal once, and ends. For cron, systemd timers and jobs.
//!
//! It is the same controller as the daemon's; a pass differs in what it waits for. Nothing is spread by jitter, because there is no later.
//! What another process holds is served by that process. What a dead one held is taken over by the age of its claim at Vault, because no
//! pass lives as long as `claim_timeout`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::SignedDuration;

use crate::clock;
use crate::config::{SecretSettings, Settings};
use crate::ops;
use crate::schedule::due::Missed;
use crate::schedule::ticker::{Groups, Ticker};
use crate::telemetry::Line;
use rotation::command::RunResult;
use rotation::error::CallError;
use rotation::event::{EventName, Level};
use rotation::runner::Ended;

use super::job::Office;
use super::{Daemon, Inputs, Reload, claim_age, job, signals};

/// A pass tries what fails for a reason that may pass this often; the next pass continues.
const TRIES: u32 = 3;
/// A claim is looked at again after this, to see whether its holder has finished.
const POLL: Duration = Duration::from_secs(1);

/// How a pass ended; the graver, the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PassResult {
    /// Everything that was due is served.
    Served,
    /// Vault or an environment could not be reached; what waits for it is left to the next pass.
    Unreachable,
    /// Something needs a human, or the time was up.
    NeedsHuman,
}

/// A pass that has ended.
pub struct Passed {
    /// How.
    pub result: PassResult,
    /// The metrics at its end, in the text format of Prometheus.
    pub metrics: String,
}

/// Makes one pass within `timeout`. The name of a pass is its own: no other process takes its claims for those of a predecessor.
///
/// # Errors
/// The clients cannot be built, or the engine or the signals cannot be started.
pub async fn run(settings: Settings, instance: &str, timeout: Duration) -> anyhow::Result<Passed> {
    let signals = signals::listen()?;
    let (ticker, ticks) = Ticker::start(Groups::new()).await?;
    let reload: Reload = std::sync::Arc::new(|| Err("a pass reads its configuration once".into()));
    let instance = format!("{instance}/pass-{}", job::mark());
    let began = Instant::now();
    // What is in flight then gets the time to come to a safe place.
    let reserve = settings.daemon.shutdown_timeout.min(timeout / 2);
    let deadline = tokio::time::Instant::now() + (timeout - reserve);
    let mut daemon = Daemon::new(at_once(settings), instance, reload, ticker)?;
    daemon.pass = Some(Pass::default());
    daemon.start_notifications().await?;
    let mut inputs = Inputs::new(ticks, signals);
    let end = loop {
        if let Some(end) = daemon.pass_end() {
            break end;
        }
        tokio::select! {
            turned = daemon.turn(&mut inputs) => if turned.is_break() {
                break End::Interrupted("it was stopped by a signal");
            },
            () = tokio::time::sleep_until(deadline) => break End::Interrupted("its time (`--timeout`) is up"),
        }
    };
    let result = daemon.judge(&end, began.elapsed());
    daemon.shut_down().await;
    Ok(Passed {
        result,
        metrics: ops::metrics::render(&*daemon.status_cache),
    })
}

/// The settings of a pass: nothing is put off, and what passed since the last pass is made up for, whatever `missed` says of a daemon that
/// was down. A pass listens nowhere and notifies nobody: its exit status does.
fn at_once(mut settings: Settings) -> Settings {
    let now = |secret: &mut SecretSettings| {
        secret.jitter = Duration::ZERO;
        secret.catch_up_spread = SignedDuration::ZERO;
        secret.missed = Missed::Run;
    };
    settings.secrets.iter_mut().map(Arc::make_mut).for_each(now);
    for discovery in &mut settings.discoveries {
        discovery.adjust(now);
    }
    settings.ops.listen = None;
    // A pass notifies nobody of conditions; announcements of rotations are in the journal, and there may be no daemon that delivers them.
    settings.notify.dynatrace = None;
    settings.notify.webhook = None;
    settings.notify.routes.retain(|route| route.rotated);
    for route in &mut settings.notify.routes {
        route.conditions = false;
    }
    settings
}

/// Dates the claim that kept a run of a pass from its work, and has it looked at again soon.
pub(super) async fn date_claim(office: &Office, name: &str, result: &mut RunResult) {
    if let RunResult::ClaimedElsewhere {
        recheck,
        observation,
        ..
    } = result
    {
        let before = observation.since;
        *observation = claim_age::dated(office, name, *observation).await;
        let known = before.saturating_sub(observation.since);
        *recheck = recheck.saturating_sub(known).min(POLL);
    }
}

/// What keeps a pass from its end, and what it did.
#[derive(Default)]
pub(super) struct Pass {
    left: BTreeMap<String, Left>,
    /// Environments that were compared with the journal, or could not be.
    swept: BTreeSet<String>,
    failed_sweeps: BTreeMap<String, u32>,
    rotated: usize,
    disabled: usize,
    deleted: usize,
}

/// Why a secret is not done.
enum Left {
    /// Another process holds it, by this version of its document.
    Claimed(u64),
    /// The same, and it is alive.
    Busy,
    /// It failed so many times for a reason that may pass.
    Retry(u32),
    /// It was rotated: that it may be due once more before the pass ends is the next pass's business.
    Rotated,
}

impl Pass {
    /// A run over a secret ended.
    pub(super) fn note_run(&mut self, name: &str, ended: &Ended) {
        for report in &ended.reports {
            let count = match report.event {
                EventName::RotationSucceeded => &mut self.rotated,
                EventName::TokenDisabled => &mut self.disabled,
                EventName::TokenDeleted => &mut self.deleted,
                _ => continue,
            };
            *count += 1;
        }
        let mut reports = ended.reports.iter();
        let rotated = reports.any(|report| report.event == EventName::RotationSucceeded);
        let before = self.left.remove(name);
        let left = match &ended.result {
            RunResult::ClaimedElsewhere { observation, .. } => {
                let version = observation.version;
                match before {
                    Some(Left::Claimed(seen)) if seen != version => Left::Busy,
                    Some(Left::Busy) => Left::Busy,
                    _ => Left::Claimed(version),
                }
            }
            RunResult::Retry(_)
            | RunResult::Failed {
                retry_at: Some(_), ..
            } => match before {
                Some(Left::Retry(tries)) => Left::Retry(tries + 1),
                _ => Left::Retry(1),
            },
            _ if rotated || matches!(before, Some(Left::Rotated)) => Left::Rotated,
            _ => return,
        };
        self.left.insert(name.to_owned(), left);
    }

    /// A listing of an environment ended.
    pub(super) fn note_sweep(&mut self, environment: &str, error: Option<&CallError>) {
        let failed = self
            .failed_sweeps
            .entry(environment.to_owned())
            .or_default();
        *failed += u32::from(error.is_some());
        if error.is_none() || *failed >= TRIES {
            self.swept.insert(environment.to_owned());
        }
    }

    /// So many pruned tokens were deleted.
    pub(super) fn note_pruned(&mut self, deleted: usize) {
        self.deleted += deleted;
    }

    /// The pass does not wait for this secret any longer, although it would be looked at again.
    fn leaves(&self, name: &str) -> bool {
        match self.left.get(name) {
            Some(Left::Busy) => true,
            Some(Left::Retry(tries)) => *tries >= TRIES,
            Some(Left::Claimed(_) | Left::Rotated) | None => false,
        }
    }

    /// The pass waits for this secret, although its next look is later.
    fn waits_for(&self, name: &str) -> bool {
        matches!(self.left.get(name), Some(Left::Claimed(_) | Left::Retry(_))) && !self.leaves(name)
    }

    /// It was rotated in this pass.
    fn has_rotated(&self, name: &str) -> bool {
        matches!(self.left.get(name), Some(Left::Rotated))
    }
}

/// Why a pass ends.
enum End {
    /// Nothing is left to do that could be done.
    Complete,
    Interrupted(&'static str),
}

impl Daemon {
    /// The end of the pass, if there is nothing left that it could do. What waits for a service that is down for longer than a blip is left
    /// to the next pass.
    fn pass_end(&self) -> Option<End> {
        let pass = self.pass.as_ref()?;
        if !self.runs.is_empty() || !self.background.is_idle() {
            return None;
        }
        let outages = self.office.services.reported_outages();
        if outages.contains_key("") {
            return Some(End::Complete);
        }
        if self.installation.is_none() {
            // Asking is not repeated where the answer needs a human.
            let asked = self.office.conditions.all();
            let unusable = EventName::JournalUnreadable.as_str();
            let refused = asked.iter().any(|condition| condition.kind == unusable);
            return refused.then_some(End::Complete);
        }
        let now = clock::now();
        let done = |environment: &str| outages.contains_key(environment);
        let settled = self.surveyed
            && self.has_discovered()
            && self.roster.iter().all(|(name, entry)| {
                let later = || match pass.has_rotated(name) {
                    true => !entry.is_woken(now),
                    false => entry.alarm(now).is_none_or(|at| at > now),
                };
                done(&entry.plan.service)
                    || entry.looked && pass.leaves(name)
                    || entry.looked && !pass.waits_for(name) && later()
            });
        let mut environments = self.office.wired.issuers.keys();
        let mut swept = || {
            environments
                .all(|name| done(name) || pass.swept.contains(name) || !self.is_compared(name))
        };
        // A sweep compares only what is known of all secrets.
        let compared = !self.looked_at_all || swept();
        let pruned = !self.knows_secrets() || self.pruning.is_done(done);
        (settled
            && compared
            && pruned
            && self.announcements.were_tried()
            && (self.looked_at_all || !outages.is_empty() || self.roster.is_empty()))
        .then_some(End::Complete)
    }

    /// What the end of the pass means, said in one line.
    fn judge(&self, end: &End, took: Duration) -> PassResult {
        let outages = self.office.services.reported_outages();
        let is_outage = |kind: &str| {
            [EventName::VaultUnavailable, EventName::DynatraceUnavailable]
                .iter()
                .any(|event| event.as_str() == kind)
        };
        let mut problems = self.office.conditions.all();
        problems.retain(|condition| condition.needs_human() && !is_outage(&condition.kind));
        let refused = outages.values().any(|outage| outage.refused);
        let pass = self.pass.as_ref();
        let left = pass.map(|pass| &pass.left);
        let count = |wanted: fn(&Left) -> bool| {
            left.map_or(0, |left| left.values().filter(|it| wanted(it)).count())
        };
        let failing = count(|left| matches!(left, Left::Retry(_)));
        let busy = count(|left| matches!(left, Left::Claimed(_) | Left::Busy));
        let interrupted = matches!(end, End::Interrupted(_));
        let result = if interrupted || refused || !problems.is_empty() {
            PassResult::NeedsHuman
        } else if failing > 0 || !outages.is_empty() {
            PassResult::Unreachable
        } else {
            PassResult::Served
        };
        let (rotated, disabled, deleted) = pass.map_or((0, 0, 0), |pass| {
            (pass.rotated, pass.disabled, pass.deleted)
        });
        let mut message = format!(
            "the pass over {} secrets took {} s: {rotated} rotated, {disabled} old tokens disabled, {deleted} deleted",
            self.settings.secrets.len(),
            took.as_secs()
        );
        for (number, what) in [
            (busy, "claimed by another process"),
            (failing, "failed and left to the next pass"),
        ] {
            if number > 0 {
                message += &format!("; {number} {what}");
            }
        }
        match problems.len() {
            0 => {}
            1 => message += "; 1 problem needs a human",
            number => message += &format!("; {number} problems need a human"),
        }
        for outage in outages.values() {
            message += &format!("; unavailable: {}", outage.what);
        }
        if let End::Interrupted(why) = end {
            message += &format!("; it ended early, because {why}");
        }
        let level = match result {
            PassResult::Served => Level::Info,
            PassResult::Unreachable | PassResult::NeedsHuman => Level::Warn,
        };
        Line::new(EventName::PassCompleted, message)
            .at(level)
            .write();
        result
    }
}
