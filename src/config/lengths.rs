//! The lengths of one secret's rotation, checked against each other and against its schedule.

use std::time::Duration;

use super::duration;
use super::problem::{Placed, Problem};
use super::reading::Reading;
use super::secrets::Identity;
use super::settings::{Environment, Journal};
use super::timing::Timing;
use super::wishes::{Layers, Refused};
use rotation::plan::{Coordinates, Kind, Lifetime, Plan, StillUsed};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// More retired tokens of one secret at a time than this are refused: an environment bears a limited number of tokens, and each of
/// them would be a valid or re-enabled credential for somebody who has an old value.
const MOST_RETIRING: u32 = 50;

/// The lengths and habits of one secret's rotation.
pub(super) struct Lengths {
    grace: Duration,
    max_grace: Duration,
    quarantine: Duration,
    lifetime: Lifetime,
    still_used: StillUsed,
}

impl Lengths {
    /// The lengths of a rotation, checked against each other.
    pub fn read(layers: &Layers<'_>, reading: &Reading) -> Result<Lengths, Refused> {
        let grace = layers.pick(|w| &w.grace)?;
        let max_grace = layers.pick(|w| &w.max_grace)?;
        let quarantine = layers.pick(|w| &w.quarantine)?;
        let lifetime = layers.pick(|w| &w.lifetime)?;
        let still_used = layers.pick(|w| &w.still_used)?;
        let value = |placed: Option<&Placed<Duration>>, default| {
            placed.map_or(default, |placed| placed.value)
        };
        let lengths = Lengths {
            grace: value(grace, DAY),
            max_grace: value(max_grace, 7 * DAY),
            quarantine: value(quarantine, 7 * DAY),
            lifetime: lifetime.map_or(Lifetime::Inherit, |lifetime| lifetime.value),
            still_used: still_used.map_or(StillUsed::Hold, |still_used| still_used.value),
        };
        if reading.is_incomplete() {
            return Ok(lengths);
        }
        let shown = |length: Duration, given: bool| match given {
            true => duration::show(length),
            false => format!("{}, the default", duration::show(length)),
        };
        let graces = (
            shown(lengths.grace, grace.is_some()),
            shown(lengths.max_grace, max_grace.is_some()),
        );
        if lengths.max_grace < lengths.grace {
            let message = format!("max_grace ({}) is below grace ({})", graces.1, graces.0);
            if let Some(placed) = max_grace.or(grace) {
                reading.problem(Problem::new(&placed.place, message));
            }
        }
        if let (Some(placed), Lifetime::For(length)) = (lifetime, lengths.lifetime)
            && length <= 2 * lengths.grace
        {
            let message = format!(
                "lifetime ({}) must exceed twice the grace ({})",
                duration::show(length),
                graces.0
            );
            reading.problem(Problem::new(&placed.place, message));
        }
        Ok(lengths)
    }

    /// Jitter, and the number of tokens in retirement, against the shortest gap of the schedule.
    pub fn check_rates(
        &self,
        layers: &Layers<'_>,
        timing: &Timing,
        reading: &Reading,
    ) -> Result<Duration, Refused> {
        let jitter = layers.pick(|w| &w.jitter)?;
        let gap = timing.shortest_gap;
        let shown_gap = duration::show(gap);
        if let Some(jitter) = jitter.filter(|jitter| !jitter.value.is_zero() && jitter.value >= gap)
        {
            let message = format!(
                "jitter ({}) must be below the shortest gap of the schedule \"{}\" ({shown_gap})",
                duration::show(jitter.value),
                timing.schedule.cron().as_str()
            );
            reading.problem(Problem::new(&jitter.place, message));
        }
        let standing = self.grace + self.quarantine;
        let schedule = layers.pick(|w| &w.schedule)?;
        if let Some(schedule) = schedule.filter(|_| standing > gap * MOST_RETIRING)
            && !reading.is_incomplete()
        {
            let tokens = standing.as_millis().div_ceil(gap.as_millis().max(1));
            let message = format!(
                "too many retiring tokens: (grace {} + quarantine {}) / shortest gap {shown_gap} = {tokens}, and {MOST_RETIRING} is the most",
                duration::show(self.grace),
                duration::show(self.quarantine),
            );
            let problem = Problem::new(&schedule.place, message);
            reading.problem(problem.help("rotate less often, or shorten grace or quarantine"));
        }
        Ok(jitter.map_or(Duration::ZERO, |jitter| jitter.value))
    }

    /// With everything else that the machine must know.
    pub fn into_plan(
        self,
        identity: Identity,
        environment: &Environment,
        manages_tokens: bool,
        journal: &Journal,
    ) -> Plan {
        Plan {
            name: identity.name,
            coordinates: Coordinates {
                mount: identity.mount,
                path: identity.path,
                fields: identity.fields,
                environment: environment.name.clone(),
                base_url: environment.base_url.clone(),
                kind: Kind::Api,
            },
            grace: self.grace,
            max_grace: self.max_grace,
            quarantine: self.quarantine,
            still_used: self.still_used,
            lifetime: self.lifetime,
            settle: environment.settle,
            claim_timeout: journal.claim_timeout,
            manages_tokens,
        }
    }
}
