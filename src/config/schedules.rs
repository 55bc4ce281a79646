//! Schedules of secrets, each distinct (expression, time zone) made once and shared: a thousand secrets often have a handful.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::context::Context;
use super::problem::{Placed, Problem};
use crate::schedule::calendar::{Cron, Schedule, zone};

/// The zone where none is named.
const DEFAULT_ZONE: &str = "UTC";

/// A schedule with what it costs time to find out.
pub(super) struct Timing {
    pub schedule: Arc<Schedule>,
    pub zone_name: String,
    pub shortest_gap: Duration,
}

/// All schedules met so far.
#[derive(Default)]
pub(super) struct Schedules {
    crons: HashMap<String, Result<Cron, (String, Range<usize>)>>,
    zones: HashMap<String, Result<TimeZone, String>>,
    timings: HashMap<(String, String), Arc<Timing>>,
}

impl Schedules {
    /// Checks an expression; the caret stands under the part that is wrong.
    pub fn cron(&mut self, text: &Placed<String>, context: &Context) -> Option<Cron> {
        let parsed = self.crons.entry(text.value.clone()).or_insert_with(|| {
            Cron::parse(&text.value).map_err(|error| (error.message().to_owned(), error.span()))
        });
        match parsed {
            Ok(cron) => Some(cron.clone()),
            Err((message, span)) => {
                let place = context
                    .report
                    .inside(&text.place, &text.value, span.clone());
                context.problem(Problem::new(&place, message));
                None
            }
        }
    }

    /// Checks a time zone's name.
    pub fn zone(&mut self, name: &Placed<String>, context: &Context) -> Option<TimeZone> {
        let known = self.zones.entry(name.value.clone());
        match known.or_insert_with(|| zone(&name.value).map_err(|error| error.to_string())) {
            Ok(zone) => Some(zone.clone()),
            Err(message) => {
                context.problem(Problem::new(&name.place, message));
                None
            }
        }
    }

    /// The schedule of an expression in a time zone; what is wrong with either is reported.
    pub fn get(
        &mut self,
        text: &Placed<String>,
        zone_name: Option<&Placed<String>>,
        context: &Context,
    ) -> Option<Arc<Timing>> {
        let name = zone_name.map_or(DEFAULT_ZONE, |name| &name.value);
        let key = (text.value.clone(), name.to_owned());
        if let Some(known) = self.timings.get(&key) {
            return Some(known.clone());
        }
        let cron = self.cron(text, context);
        let zone = match zone_name {
            Some(name) => self.zone(name, context),
            None => Some(TimeZone::UTC),
        };
        let (cron, zone) = (cron?, zone?);
        let zone_name = zone.iana_name().unwrap_or(name).to_owned();
        let schedule = Schedule::new(cron, zone);
        let timing = Arc::new(Timing {
            shortest_gap: schedule.shortest_gap().unsigned_abs(),
            schedule: Arc::new(schedule),
            zone_name,
        });
        self.timings.insert(key, timing.clone());
        Some(timing)
    }
}
