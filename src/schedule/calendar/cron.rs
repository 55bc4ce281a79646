//! One cron expression as sets of numbers, and its matches on the civil calendar (date and time of
//! day on a wall clock, no time zone).

use std::fmt;

use jiff::civil::{Date, DateTime, Time};
use jiff::{SignedDuration, ToSpan};

/// The Gregorian calendar repeats after 400 years, weekdays included: what does not match within
/// them never does.
const CYCLE_YEARS: i16 = 400;

/// The years over which gaps between days are searched: the weekdays of all dates occur in 28.
const GAP_YEARS: std::ops::Range<i16> = 2025..2065;

/// Bits 0, 7, 14, 21, 28 and 35: what a month can touch of its six weeks.
const WEEKLY: u64 = 0x8_1020_4081;

/// A valid cron expression that fires again and again. Made by [`Cron::parse`](Cron::parse).
///
/// Two expressions are equal when they have the same text apart from white space.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cron {
    /// As written, white space normalised.
    pub(super) text: String,
    /// Bits 0-59.
    pub(super) seconds: u64,
    /// Bits 0-59.
    pub(super) minutes: u64,
    /// Bits 0-23.
    pub(super) hours: u64,
    /// Bits 1-31.
    pub(super) days: u64,
    /// Bits 1-12.
    pub(super) months: u64,
    /// Bits 0-6, Sunday is 0.
    pub(super) weekdays: u64,
    /// The hour field starts with `*`.
    pub(super) any_hour: bool,
    /// The day-of-month field starts with `*`.
    pub(super) any_day: bool,
    /// The day-of-week field starts with `*`.
    pub(super) any_weekday: bool,
}

impl fmt::Display for Cron {
    /// The expression as it was written, with single spaces.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Cron {
    /// The expression as it was written, with single spaces.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the hour field starts with `*`: such a schedule follows real time through a change
    /// of the clocks, all others follow the wall clock (see [`Schedule`](super::Schedule)).
    pub fn follows_real_time(&self) -> bool {
        self.any_hour
    }

    /// Whether any date matches at all: 30 February does not, nor does 31 April.
    pub(super) fn fires(&self) -> bool {
        // With OR, the weekday alone is enough. With AND, every date falls on every weekday
        // within the 400 years (29 February does, too).
        let weekday_is_enough = !self.any_day && !self.any_weekday;
        weekday_is_enough
            || (1..=12).any(|month| {
                let longest = match month {
                    2 => 29,
                    4 | 6 | 9 | 11 => 30,
                    _ => 31,
                };
                bit(self.months, month) && next_bit(self.days, 1).is_some_and(|day| day <= longest)
            })
    }

    /// The first match at or after `from`. `None` at the end of the calendar (year 9999).
    pub(super) fn next_civil(&self, from: DateTime) -> Option<DateTime> {
        if self.matches_date(from.date())
            && let Some(time) = self.next_time(from)
        {
            return Some(DateTime::from_parts(from.date(), time));
        }
        let date = self.next_date(from.date().tomorrow().ok()?)?;
        Some(DateTime::from_parts(date, self.first_time()))
    }

    /// The last match at or before `from`. `None` at the start of the calendar (year -9999).
    pub(super) fn previous_civil(&self, from: DateTime) -> Option<DateTime> {
        if self.matches_date(from.date())
            && let Some(time) = self.previous_time(from)
        {
            return Some(DateTime::from_parts(from.date(), time));
        }
        let date = self.previous_date(from.date().yesterday().ok()?)?;
        Some(DateTime::from_parts(date, self.last_time()))
    }

    /// The smallest distance between two neighbouring matches on the wall clock, exact over the
    /// years 2025 to 2064.
    pub(super) fn shortest_civil_gap(&self) -> SignedDuration {
        let mut days = i64::MAX;
        for gap in self.day_gaps() {
            days = days.min(gap);
            if days == 1 {
                break;
            }
        }
        // When fewer than two of the searched years have a match (29 February on a given weekday), four years, the least that is possible.
        let days = if days == i64::MAX { 1461 } else { days };
        let steps = [self.hours, self.minutes, self.seconds].map(|mask| steps(mask).min());
        self.gaps(days, steps).min().unwrap_or_default()
    }

    /// The greatest distance between two neighbouring matches on the wall clock, exact over the
    /// same years.
    pub(super) fn longest_civil_gap(&self) -> SignedDuration {
        // The years 2025 to 2064, when they have fewer than two matches.
        let days = self.day_gaps().max().unwrap_or(40 * 1461 / 4);
        let steps = [self.hours, self.minutes, self.seconds].map(|mask| steps(mask).max());
        self.gaps(days, steps).max().unwrap_or_default()
    }

    /// The distances between two matches that are so many days, hours, minutes and seconds apart.
    fn gaps(
        &self,
        days: i64,
        [hours, minutes, seconds]: [Option<i64>; 3],
    ) -> impl Iterator<Item = SignedDuration> {
        let of_day = |time: Time| {
            i64::from(time.hour()) * 3600 + i64::from(time.minute()) * 60 + i64::from(time.second())
        };
        let (first, last) = (of_day(self.first_time()), of_day(self.last_time()));
        let gaps = [
            Some(days * 86_400 - last + first),
            hours.map(|hours| hours * 3600 - last % 3600 + first % 3600),
            minutes.map(|minutes| minutes * 60 - last % 60 + first % 60),
            seconds,
        ];
        gaps.into_iter().flatten().map(SignedDuration::from_secs)
    }

    /// The numbers of days between neighbouring matching dates of the searched years.
    fn day_gaps(&self) -> impl Iterator<Item = i64> {
        let months = GAP_YEARS.flat_map(|year| (1..=12).map(move |month| (year, month)));
        let mut month_start = 0;
        let days = months.flat_map(move |(year, month)| {
            let start = month_start;
            month_start += i64::from(Date::constant(year, month, 1).days_in_month());
            bits(self.days_of(year, month)).map(move |day| start + day)
        });
        let mut seen = None;
        days.filter_map(move |day| seen.replace(day).map(|last| day - last))
    }

    fn matches_date(&self, date: Date) -> bool {
        bit(self.days_of(date.year(), date.month()), date.day())
    }

    /// The matching days of one month, as bits 1-31. Standard cron: when day of month and day of
    /// week are both restricted, either is enough; a field that starts with `*` is not restricted,
    /// and then both must match (so `*/2` still counts). As in Vixie cron.
    fn days_of(&self, year: i16, month: i8) -> u64 {
        if !bit(self.months, month) {
            return 0;
        }
        let Ok(first) = Date::new(year, month, 1) else {
            return 0;
        };
        let length = first.days_in_month();
        let offset = first.weekday().to_sunday_zero_offset();
        // The seven bits once for each week, so that a shift puts the first of the month in place.
        let weeks = ((self.weekdays * WEEKLY) >> offset) << 1;
        let in_month = (1 << (length + 1)) - 1;
        let by_weekday = weeks & in_month;
        let by_day = self.days & in_month;
        if self.any_day || self.any_weekday {
            by_day & by_weekday
        } else {
            by_day | by_weekday
        }
    }

    fn next_date(&self, from: Date) -> Option<Date> {
        let mut first_day = from.day();
        let (mut year, mut month) = (from.year(), from.month());
        while year <= from.year().saturating_add(CYCLE_YEARS) && year <= Date::MAX.year() {
            if let Some(day) = next_bit(self.days_of(year, month), first_day) {
                return Date::new(year, month, day).ok();
            }
            first_day = 1;
            (year, month) = if month == 12 {
                (year + 1, 1)
            } else {
                (year, month + 1)
            };
        }
        None
    }

    fn previous_date(&self, from: Date) -> Option<Date> {
        let mut last_day = from.day();
        let (mut year, mut month) = (from.year(), from.month());
        while year >= from.year().saturating_sub(CYCLE_YEARS) && year >= Date::MIN.year() {
            if let Some(day) = previous_bit(self.days_of(year, month), last_day) {
                return Date::new(year, month, day).ok();
            }
            last_day = 31;
            (year, month) = if month == 1 {
                (year - 1, 12)
            } else {
                (year, month - 1)
            };
        }
        None
    }

    fn next_time(&self, from: DateTime) -> Option<Time> {
        let (hour, minute, second) = (from.hour(), from.minute(), from.second());
        if bit(self.hours, hour) {
            if bit(self.minutes, minute)
                && let Some(second) = next_bit(self.seconds, second)
            {
                return Some(time(hour, minute, second));
            }
            if let Some(minute) = next_bit(self.minutes, minute + 1) {
                return Some(time(hour, minute, first_bit(self.seconds)));
            }
        }
        let hour = next_bit(self.hours, hour + 1)?;
        Some(time(hour, first_bit(self.minutes), first_bit(self.seconds)))
    }

    fn previous_time(&self, from: DateTime) -> Option<Time> {
        let (hour, minute, second) = (from.hour(), from.minute(), from.second());
        if bit(self.hours, hour) {
            if bit(self.minutes, minute)
                && let Some(second) = previous_bit(self.seconds, second)
            {
                return Some(time(hour, minute, second));
            }
            if let Some(minute) = previous_bit(self.minutes, minute - 1) {
                return Some(time(hour, minute, last_bit(self.seconds)));
            }
        }
        let hour = previous_bit(self.hours, hour - 1)?;
        Some(time(hour, last_bit(self.minutes), last_bit(self.seconds)))
    }

    fn first_time(&self) -> Time {
        time(
            first_bit(self.hours),
            first_bit(self.minutes),
            first_bit(self.seconds),
        )
    }

    fn last_time(&self) -> Time {
        time(
            last_bit(self.hours),
            last_bit(self.minutes),
            last_bit(self.seconds),
        )
    }
}

/// One second later on the wall clock; `None` at the end of the calendar.
pub(super) fn second_after(civil: DateTime) -> Option<DateTime> {
    civil.checked_add(1.second()).ok()
}

/// One second earlier on the wall clock; `None` at the start of the calendar.
pub(super) fn second_before(civil: DateTime) -> Option<DateTime> {
    civil.checked_sub(1.second()).ok()
}

/// The parts come from masks whose bits the parser kept within the ranges of a clock.
fn time(hour: i8, minute: i8, second: i8) -> Time {
    Time::constant(hour, minute, second, 0)
}

fn bit(mask: u64, index: i8) -> bool {
    mask >> index & 1 == 1
}

/// The lowest bit at `from` or above.
fn next_bit(mask: u64, from: i8) -> Option<i8> {
    let rest = mask >> from;
    (rest != 0).then(|| from + as_index(rest.trailing_zeros()))
}

/// The highest bit at `from` or below; `from` may be -1.
fn previous_bit(mask: u64, from: i8) -> Option<i8> {
    let rest = mask & ((1 << (from + 1)) - 1);
    (rest != 0).then(|| last_bit(rest))
}

fn first_bit(mask: u64) -> i8 {
    as_index(mask.trailing_zeros())
}

fn last_bit(mask: u64) -> i8 {
    as_index(63 - mask.leading_zeros())
}

fn as_index(bits: u32) -> i8 {
    i8::try_from(bits).expect("a mask has 64 bits and is not empty")
}

/// The bits that are set, in order.
fn bits(mask: u64) -> impl Iterator<Item = i64> {
    (0..64).filter(move |index| mask >> index & 1 == 1)
}

/// The distances between neighbouring bits.
fn steps(mask: u64) -> impl Iterator<Item = i64> {
    bits(mask)
        .zip(bits(mask).skip(1))
        .map(|(one, next)| next - one)
}
