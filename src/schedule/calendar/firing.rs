//! A cron expression in a time zone: its firings as instants.
//!
//! The rule for changes of the clock, after Vixie cron as Debian ships it:
//!
//! - **Fixed hours** (the hour field does not start with `*`) follow the wall clock. A time that
//!   the clock skips fires once, at the instant at which the clock jumps, together with whatever
//!   else fires then; a time that the clock passes twice fires in the first pass only.
//! - **Wildcard hours** (the hour field starts with `*`, also `*/2`) follow real time: they fire
//!   whenever the wall clock shows a matching time, so in both passes, and not at times that are
//!   skipped.
//!
//! Unlike Debian, a wildcard in the minute field does not matter: `*/30 2 * * *` is a schedule of
//! fixed hours, so that no day goes without a run.
//!
//! Nothing here assumes that a clock jumps by an hour, at night, or within one day.

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use super::cron::{Cron, second_after, second_before};

const SECOND: SignedDuration = SignedDuration::from_secs(1);
const NANOSECOND: SignedDuration = SignedDuration::from_nanos(1);

/// More than the distance between any two offsets: both are below 26 hours.
const FAR: SignedDuration = SignedDuration::from_hours(72);

/// Changes of the clock are searched for short gaps from 2025-01-01 to 2065-01-01, in UTC.
const GAPS_FROM: Timestamp = Timestamp::constant(1_735_689_600, 0);
const GAPS_UNTIL: Timestamp = Timestamp::constant(2_997_993_600, 0);

/// A cron expression in a time zone. Firings are whole seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    cron: Cron,
    zone: TimeZone,
}

/// Where a time on the wall clock lies in real time, by the rule for fixed hours.
struct Placed {
    at: Timestamp,
    /// Set when the clock shows this time twice: the first time on the wall clock after both passes.
    fold_end: Option<DateTime>,
}

impl Schedule {
    /// Joins the two; see [`Cron::parse`] and [`zone`](super::zone()).
    pub fn new(cron: Cron, zone: TimeZone) -> Schedule {
        Schedule { cron, zone }
    }

    /// The expression.
    pub fn cron(&self) -> &Cron {
        &self.cron
    }

    /// The time zone.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The name of the time zone, for people and for grouping.
    pub fn zone_name(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }

    /// The first firing strictly after `after`. `None` only at the end of the calendar (year 9999).
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let after = floor(after)?;
        if self.cron.follows_real_time() {
            self.next_real(after.checked_add(SECOND).ok()?)
        } else {
            self.next_fixed(after)
        }
    }

    /// The last firing at or before `at`. `None` only at the start of the calendar (year -9999).
    pub fn previous_at_or_before(&self, at: Timestamp) -> Option<Timestamp> {
        let at = floor(at)?;
        if self.cron.follows_real_time() {
            self.previous_real(at)
        } else {
            self.previous_fixed(at)
        }
    }

    /// All firings strictly after `after`, in order.
    pub fn firings_after(&self, after: Timestamp) -> impl Iterator<Item = Timestamp> {
        std::iter::successors(self.next_after(after), |&last| self.next_after(last))
    }

    /// No two firings are nearer to each other than this, by the rules of the time zone as they
    /// are known for the years 2025 to 2064.
    ///
    /// It is the smaller of the shortest distance on the wall clock and the shortest distance in
    /// real time around any change of the clock. The second can be much shorter: `30 2,3 * * *`
    /// fires at 03:00 and 03:30 on the day on which 02:30 is skipped. It costs less than a
    /// millisecond for usual expressions; keep the answer.
    pub fn shortest_gap(&self) -> SignedDuration {
        let civil = self.cron.shortest_civil_gap();
        self.gaps_around_changes().fold(civil, SignedDuration::min)
    }

    /// No two neighbouring firings are further from each other than this, by the rules of the time
    /// zone as they are known for the years 2025 to 2064.
    pub fn longest_gap(&self) -> SignedDuration {
        let civil = self.cron.longest_civil_gap();
        self.gaps_around_changes().fold(civil, SignedDuration::max)
    }

    /// The distances in real time of the firings around each change of the clock.
    fn gaps_around_changes(&self) -> impl Iterator<Item = SignedDuration> {
        let mut examined = Timestamp::MIN;
        let changes = self.zone.following(GAPS_FROM).map(|it| it.timestamp());
        let changes = changes.take_while(|&change| change < GAPS_UNTIL);
        changes
            .filter_map(move |change| {
                // Several changes between two firings need one look.
                let [before, first, second] = (change > examined)
                    .then(|| self.firings_around(change))
                    .flatten()?;
                examined = first;
                Some([before.duration_until(first), first.duration_until(second)])
            })
            .flatten()
    }

    /// The last firing before a change of the clock, and the two after that. Only these can be
    /// nearer to each other in real time than on the wall clock, or further: the pair that straddles
    /// the change, and the one that begins where skipped times are made up for.
    fn firings_around(&self, change: Timestamp) -> Option<[Timestamp; 3]> {
        let before = self.previous_at_or_before(change.checked_sub(SECOND).ok()?)?;
        let first = self.next_after(before)?;
        Some([before, first, self.next_after(first)?])
    }

    /// Walks the stretches between two changes of the clock, in each of which the offset is
    /// constant. `from` itself may be the answer.
    fn next_real(&self, mut from: Timestamp) -> Option<Timestamp> {
        loop {
            let offset = self.zone.to_offset(from);
            let civil = self.cron.next_civil(offset.to_datetime(from))?;
            let found = offset.to_timestamp(civil).ok()?;
            let change = self.zone.following(from).next().map(|it| it.timestamp());
            from = match change {
                Some(change) if change <= found => {
                    // A change that is near may repeat a match that is past on the wall clock. One
                    // further off cannot, so nothing fires until shortly before the match.
                    if from.duration_until(change) < FAR {
                        change
                    } else {
                        change.max(found.checked_sub(FAR).ok()?)
                    }
                }
                _ => return Some(found),
            };
        }
    }

    /// The mirror image of [`next_real`](Self::next_real).
    fn previous_real(&self, mut from: Timestamp) -> Option<Timestamp> {
        loop {
            let offset = self.zone.to_offset(from);
            let civil = self.cron.previous_civil(offset.to_datetime(from))?;
            let found = offset.to_timestamp(civil).ok()?;
            let just_after = from.checked_add(NANOSECOND).ok()?;
            let change = self.zone.preceding(just_after).next();
            from = match change.map(|it| it.timestamp()) {
                Some(change) if change > found => {
                    let before = change.checked_sub(SECOND).ok()?;
                    if before.duration_until(from) < FAR {
                        before
                    } else {
                        before.min(found.checked_add(FAR).ok()?)
                    }
                }
                _ => return Some(found),
            };
        }
    }

    /// Walks the wall clock. Placing keeps the order, so the first match that is placed after
    /// `after` is the answer.
    fn next_fixed(&self, after: Timestamp) -> Option<Timestamp> {
        let mut from = second_after(self.zone.to_datetime(after))?;
        loop {
            let civil = self.cron.next_civil(from)?;
            let placed = self.place(civil)?;
            if placed.at > after {
                return Some(placed.at);
            }
            // The second pass: what matches again was served by the first.
            from = placed.fold_end.unwrap_or(civil).max(second_after(civil)?);
        }
    }

    fn previous_fixed(&self, at: Timestamp) -> Option<Timestamp> {
        let civil = self.zone.to_datetime(at);
        let placed = self.place(civil)?;
        let mut from = match placed.fold_end {
            // In the second pass the whole of the first one is past.
            Some(end) if placed.at < at => second_before(end)?,
            _ => civil,
        };
        loop {
            let civil = self.cron.previous_civil(from)?;
            let placed = self.place(civil)?;
            if placed.at <= at {
                return Some(placed.at);
            }
            from = second_before(civil)?;
        }
    }

    fn place(&self, civil: DateTime) -> Option<Placed> {
        let change_after = |instant| self.zone.following(instant).next().map(|c| c.timestamp());
        let placed = match self.zone.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } => Placed {
                at: offset.to_timestamp(civil).ok()?,
                fold_end: None,
            },
            AmbiguousOffset::Gap { after, .. } => Placed {
                at: change_after(after.to_timestamp(civil).ok()?)?,
                fold_end: None,
            },
            AmbiguousOffset::Fold { before, .. } => {
                let first_pass = before.to_timestamp(civil).ok()?;
                let change = change_after(first_pass)?;
                Placed {
                    at: first_pass,
                    fold_end: Some(before.to_datetime(change)),
                }
            }
        };
        Some(placed)
    }
}

/// The whole second at or before `at`.
fn floor(at: Timestamp) -> Option<Timestamp> {
    let second = at.as_second() - i64::from(at.subsec_nanosecond() < 0);
    Timestamp::from_second(second).ok()
}
