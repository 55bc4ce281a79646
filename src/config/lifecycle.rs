//! The lengths of one secret's rotation, checked against each other and against its schedule.

use std::time::Duration;

use super::context::Context;
use super::duration;
use super::problem::Problem;
use super::schedules::Timing;
use super::table::Given;
use super::tables::SecretOptions;
use rotation::plan::Lifetime;

/// More retired tokens of one secret at a time than this are refused: an environment bears a limited number of tokens, and each of
/// them would be a valid or re-enabled credential for somebody who has an old value.
const MOST_RETIRING: u32 = 50;

/// A length, and whether it is the default.
fn shown(length: &Given<Duration>) -> String {
    let text = duration::show(length.or_default());
    match length.is_present() {
        true => text,
        false => format!("{text}, the default"),
    }
}

/// The lengths against each other.
pub(super) fn check_lengths(options: &SecretOptions, context: &Context) {
    let (Some(grace), Some(max_grace)) = (options.grace.value(), options.max_grace.value()) else {
        return;
    };
    if context.is_incomplete() {
        return;
    }
    let shown_grace = shown(&options.grace);
    let given = options.max_grace.given().or(options.grace.given());
    if let Some(placed) = given.filter(|_| max_grace < grace) {
        let max_grace = shown(&options.max_grace);
        let message = format!(
            "max_grace ({max_grace}) is below grace ({shown_grace}); raise max_grace or shorten grace"
        );
        context.problem(Problem::new(&placed.place, message));
    }
    if let Some(placed) = options.lifetime.given()
        && let Lifetime::For(length) = placed.value
        && length <= 2 * grace
    {
        let length = duration::show(length);
        let message = format!("lifetime ({length}) must exceed twice the grace ({shown_grace})");
        context.problem(Problem::new(&placed.place, message));
    }
}

/// Jitter, and the number of tokens in retirement, against the shortest gap of the schedule.
pub(super) fn check_rates(options: &SecretOptions, timing: &Timing, context: &Context) {
    let gap = timing.shortest_gap;
    let shown_gap = duration::show(gap);
    let jitter = options.jitter.given();
    if let Some(jitter) = jitter.filter(|jitter| !jitter.value.is_zero() && jitter.value >= gap) {
        let message = format!(
            "jitter ({}) must be below the shortest gap of the schedule \"{}\" ({shown_gap})",
            duration::show(jitter.value),
            timing.schedule.cron().as_str()
        );
        context.problem(Problem::new(&jitter.place, message));
    }
    let (Some(grace), Some(quarantine)) = (options.grace.value(), options.quarantine.value())
    else {
        return;
    };
    let schedule = options.schedule.given();
    if let Some(schedule) = schedule.filter(|_| grace + quarantine > gap * MOST_RETIRING)
        && !context.is_incomplete()
    {
        let retirement = (grace + quarantine).as_millis();
        let tokens = retirement.div_ceil(gap.as_millis().max(1));
        let message = format!(
            "too many retiring tokens: (grace {} + quarantine {}) / shortest gap {shown_gap} = {tokens}, and {MOST_RETIRING} is the most",
            duration::show(grace),
            duration::show(quarantine),
        );
        let problem = Problem::new(&schedule.place, message);
        context.problem(problem.help("rotate less often, or shorten grace or quarantine"));
    }
}
