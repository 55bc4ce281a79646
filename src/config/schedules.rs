//! The schedules of secrets. Each distinct pair of expression and time zone is parsed once and shared: a thousand secrets often use a handful.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::context::Context;
use super::problem::Problem;
use super::tables::SecretOptions;
use crate::schedule::calendar::{Blackouts, Cron, Schedule, zone};

/// The zone where none is named.
const DEFAULT_ZONE: &str = "UTC";

/// A schedule with its shortest gap, which takes time to compute.
pub(super) struct Timing {
    pub schedule: Arc<Schedule>,
    pub zone_name: String,
    pub shortest_gap: Duration,
}

/// The blackouts of a secret, in the time zone of its schedule.
pub(super) fn blackouts(
    options: &SecretOptions,
    timing: &Timing,
    context: &Context,
) -> Arc<Blackouts> {
    let Some(given) = options.blackout.given() else {
        return Arc::default();
    };
    let windows = given.value.iter().map(|window| window.value);
    let blackouts = Blackouts::new(windows.collect(), timing.schedule.zone().clone());
    if blackouts.leave_nothing() {
        let message = "these windows leave no time of a week in which a rotation may begin";
        context.problem(Problem::new(&given.place, message));
    }
    Arc::new(blackouts)
}

/// All valid schedules that were parsed so far, by expression and time zone.
#[derive(Default)]
pub(super) struct Schedules(HashMap<(String, String), Arc<Timing>>);

impl Schedules {
    /// The schedule of a secret, or of the defaults. Problems of its expression or its time zone are reported.
    pub fn get(&mut self, options: &SecretOptions, context: &Context) -> Option<Arc<Timing>> {
        let (text, named) = (options.schedule.given(), options.timezone.given());
        let name = named.map_or(DEFAULT_ZONE, |name| &name.value);
        let key = text.map(|text| (text.value.clone(), name.to_owned()));
        if let Some(known) = key.as_ref().and_then(|key| self.0.get(key)) {
            return Some(known.clone());
        }
        let cron = text.and_then(|text| {
            let refused = |error: crate::schedule::calendar::CronError| {
                // The caret is under the part that is wrong.
                let place = context.inside(&text.place, &text.value, error.span());
                context.problem(Problem::new(&place, error.message()));
            };
            Cron::parse(&text.value).map_err(refused).ok()
        });
        let zone = match named {
            None => Some(TimeZone::UTC),
            Some(name) => zone(&name.value)
                .map_err(|error| context.problem(Problem::new(&name.place, error.to_string())))
                .ok(),
        };
        let (cron, zone) = (cron?, zone?);
        let zone_name = zone.iana_name().unwrap_or(name).to_owned();
        let schedule = Schedule::new(cron, zone);
        let timing = Arc::new(Timing {
            shortest_gap: schedule.shortest_gap().unsigned_abs(),
            schedule: Arc::new(schedule),
            zone_name,
        });
        self.0.insert(key?, timing.clone());
        Some(timing)
    }
}
