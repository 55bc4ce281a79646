//! The lengths of one secret's rotation, checked against each other and against its schedule.

use std::time::Duration;

use super::context::Context;
use super::duration;
use super::problem::Problem;
use super::schedules::Timing;
use super::secret_options::Layers;
use super::secrets::Identity;
use super::settings::Environment;
use super::table::Refused;
use super::tables::Journal;
use rotation::plan::{Coordinates, Kind, Lifetime, Plan, StillUsed};

/// More retired tokens of one secret at a time than this are refused: an environment bears a limited number of tokens, and each of
/// them would be a valid or re-enabled credential for somebody who has an old value.
const MOST_RETIRING: u32 = 50;

/// The lengths and policies of one secret's rotation.
pub(super) struct Lifecycle {
    grace: Duration,
    max_grace: Duration,
    quarantine: Duration,
    lifetime: Lifetime,
    still_used: StillUsed,
}

impl Lifecycle {
    /// The lengths of a rotation, checked against each other.
    pub fn read(layers: &Layers<'_>, context: &Context) -> Result<Lifecycle, Refused> {
        let grace = layers.given(|o| &o.grace)?;
        let max_grace = layers.given(|o| &o.max_grace)?;
        let lifetime = layers.given(|o| &o.lifetime)?;
        let lifecycle = Lifecycle {
            grace: layers.value(|o| &o.grace)?,
            max_grace: layers.value(|o| &o.max_grace)?,
            quarantine: layers.value(|o| &o.quarantine)?,
            lifetime: layers.value(|o| &o.lifetime)?,
            still_used: layers.value(|o| &o.still_used)?,
        };
        if context.is_incomplete() {
            return Ok(lifecycle);
        }
        let shown = |length: Duration, given: bool| match given {
            true => duration::show(length),
            false => format!("{}, the default", duration::show(length)),
        };
        let graces = (
            shown(lifecycle.grace, grace.is_some()),
            shown(lifecycle.max_grace, max_grace.is_some()),
        );
        if lifecycle.max_grace < lifecycle.grace {
            let message = format!("max_grace ({}) is below grace ({})", graces.1, graces.0);
            if let Some(placed) = max_grace.or(grace) {
                context.problem(Problem::new(&placed.place, message));
            }
        }
        if let (Some(placed), Lifetime::For(length)) = (lifetime, lifecycle.lifetime)
            && length <= 2 * lifecycle.grace
        {
            let message = format!(
                "lifetime ({}) must exceed twice the grace ({})",
                duration::show(length),
                graces.0
            );
            context.problem(Problem::new(&placed.place, message));
        }
        Ok(lifecycle)
    }

    /// Jitter, and the number of tokens in retirement, against the shortest gap of the schedule.
    pub fn check_rates(
        &self,
        layers: &Layers<'_>,
        timing: &Timing,
        context: &Context,
    ) -> Result<Duration, Refused> {
        let jitter = layers.given(|o| &o.jitter)?;
        let gap = timing.shortest_gap;
        let shown_gap = duration::show(gap);
        if let Some(jitter) = jitter.filter(|jitter| !jitter.value.is_zero() && jitter.value >= gap)
        {
            let message = format!(
                "jitter ({}) must be below the shortest gap of the schedule \"{}\" ({shown_gap})",
                duration::show(jitter.value),
                timing.schedule.cron().as_str()
            );
            context.problem(Problem::new(&jitter.place, message));
        }
        let standing = self.grace + self.quarantine;
        let schedule = layers.given(|o| &o.schedule)?;
        if let Some(schedule) = schedule.filter(|_| standing > gap * MOST_RETIRING)
            && !context.is_incomplete()
        {
            let tokens = standing.as_millis().div_ceil(gap.as_millis().max(1));
            let message = format!(
                "too many retiring tokens: (grace {} + quarantine {}) / shortest gap {shown_gap} = {tokens}, and {MOST_RETIRING} is the most",
                duration::show(self.grace),
                duration::show(self.quarantine),
            );
            let problem = Problem::new(&schedule.place, message);
            context.problem(problem.help("rotate less often, or shorten grace or quarantine"));
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
