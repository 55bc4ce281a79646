//! Blackouts: windows in a time zone in which no rotation that is due begins.
//!
//! A window is given by two points of the wall clock and lasts from the first instant at which the clock shows the first one to the last at
//! which it shows the second one: where the clock is put back it is at its longest. A point that the clock skips lies at the instant of the
//! jump.

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Span, Timestamp};

const DAY: i64 = 24 * 60;
const WEEK: i64 = 7 * DAY;
/// Windows that follow each other without a gap are joined at most this often; more mean a blackout without an end.
const JOINED: usize = 1000;

/// One window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Each `period` again, for `length`, beginning `start` after the beginning of the period; minutes, a week begins on Monday.
    Repeated {
        period: i64,
        start: i64,
        length: i64,
    },
    /// Once.
    Once { start: DateTime, end: DateTime },
}

impl Window {
    /// `FRI 18:00 - MON 06:00`, `SAT - SUN`, `22:00 - 06:00`, `2026-12-20 - 2027-01-06` or `2026-12-20 18:00 - 2027-01-06 06:00`. A day without a
    /// time is meant from its beginning to its end.
    ///
    /// # Errors
    /// Half a sentence that follows the text.
    pub fn parse(text: &str) -> Result<Window, String> {
        let wrong = || {
            "is not a window; write it like \"FRI 18:00 - MON 06:00\", \"22:00 - 06:00\" or \"2026-12-20 - 2027-01-06\"".to_owned()
        };
        let (from, to) = text.split_once(" - ").ok_or_else(wrong)?;
        let from = Point::parse(from).ok_or_else(wrong)?;
        let to = Point::parse(to).ok_or_else(wrong)?;
        let kind = match (from.day, to.day) {
            (None, None) => repeated(DAY, from.minute(), to.end_minute())?,
            (Some(Day::Week(first)), Some(Day::Week(last))) => repeated(
                WEEK,
                minute_of_week(first) + from.minute(),
                minute_of_week(last) + to.end_minute(),
            )?,
            (Some(Day::Date(first)), Some(Day::Date(last))) => {
                let start = midnight(first, from.minute()).ok_or_else(wrong)?;
                let end = midnight(last, to.end_minute()).ok_or_else(wrong)?;
                if end <= start {
                    return Err("ends before it begins; exchange the two".to_owned());
                }
                Kind::Once { start, end }
            }
            _ => {
                return Err(
                    "mixes two kinds of days; give both ends as weekdays, dates, or times"
                        .to_owned(),
                );
            }
        };
        Ok(Window(kind))
    }

    /// The occurrences around `local`, as times on the wall clock.
    fn around(self, local: DateTime) -> impl Iterator<Item = (DateTime, DateTime)> {
        let (repetitions, first) = match self.0 {
            Kind::Once { .. } => (0..=0, None),
            Kind::Repeated { period, .. } if period == DAY => {
                (-2..=1, Some(local.date().to_datetime(Time::midnight())))
            }
            Kind::Repeated { .. } => {
                let since = i64::from(local.weekday().to_monday_zero_offset());
                let monday = plus(local.date().to_datetime(Time::midnight()), -since * DAY);
                (-2..=1, monday)
            }
        };
        repetitions.filter_map(move |repetition| match (self.0, first) {
            (Kind::Once { start, end }, _) => Some((start, end)),
            (
                Kind::Repeated {
                    period,
                    start,
                    length,
                },
                Some(first),
            ) => {
                let start = plus(first, repetition * period + start)?;
                Some((start, plus(start, length)?))
            }
            _ => None,
        })
    }
}

/// A window that is repeated. One that ends where it begins would leave no gap.
fn repeated(period: i64, start: i64, end: i64) -> Result<Kind, String> {
    let length = (end - start).rem_euclid(period);
    if length == 0 {
        return Err(format!(
            "ends where it begins, so it is the whole {}, and no rotation could ever begin; let it end earlier, or stop the secret with enabled = false",
            if period == DAY { "day" } else { "week" }
        ));
    }
    Ok(Kind::Repeated {
        period,
        start,
        length,
    })
}

fn minute_of_week(day: Weekday) -> i64 {
    i64::from(day.to_monday_zero_offset()) * DAY
}

fn midnight(date: Date, minutes: i64) -> Option<DateTime> {
    plus(date.to_datetime(Time::midnight()), minutes)
}

fn plus(at: DateTime, minutes: i64) -> Option<DateTime> {
    at.checked_add(Span::new().try_minutes(minutes).ok()?).ok()
}

#[derive(Clone, Copy)]
enum Day {
    Week(Weekday),
    Date(Date),
}

/// One end of a window as it is written.
struct Point {
    day: Option<Day>,
    /// Minutes since midnight; none = not given.
    time: Option<i64>,
}

impl Point {
    fn parse(text: &str) -> Option<Point> {
        let mut words = text.split_whitespace().peekable();
        let day = words.next_if(|word| !word.contains(':'));
        let time = words.next();
        if words.next().is_some() || (day.is_none() && time.is_none()) {
            return None;
        }
        let day = match day {
            None => None,
            Some(word) => Some(
                weekday(word)
                    .map(Day::Week)
                    .or_else(|| word.parse().ok().map(Day::Date))?,
            ),
        };
        let time = match time {
            None => None,
            Some(word) => Some(minute_of_day(word)?),
        };
        Some(Point { day, time })
    }

    fn minute(&self) -> i64 {
        self.time.unwrap_or(0)
    }

    /// The same as the end of a window: the end of the day, if no time is given.
    fn end_minute(&self) -> i64 {
        self.time.unwrap_or(DAY)
    }
}

fn weekday(word: &str) -> Option<Weekday> {
    let days = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"];
    let number = days.iter().position(|day| day.eq_ignore_ascii_case(word))?;
    Weekday::from_monday_zero_offset(i8::try_from(number).ok()?).ok()
}

/// `HH:MM`, up to `24:00`.
fn minute_of_day(word: &str) -> Option<i64> {
    let (hour, minute) = word.split_once(':')?;
    let number = |text: &str| -> Option<i64> {
        let digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse().ok()).flatten()
    };
    let minutes = number(hour)? * 60 + number(minute).filter(|minute| *minute < 60)?;
    (minutes <= DAY).then_some(minutes)
}

/// All windows of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blackouts {
    windows: Vec<Window>,
    zone: TimeZone,
}

impl Default for Blackouts {
    fn default() -> Self {
        Blackouts::new(vec![], TimeZone::UTC)
    }
}

impl Blackouts {
    /// These windows on the wall clock of this zone.
    pub fn new(windows: Vec<Window>, zone: TimeZone) -> Blackouts {
        Blackouts { windows, zone }
    }

    /// The windows that are repeated leave no minute of a week.
    pub fn leave_nothing(&self) -> bool {
        let covered = |minute: i64| {
            self.windows.iter().any(|window| match window.0 {
                Kind::Once { .. } => false,
                Kind::Repeated {
                    period,
                    start,
                    length,
                } => (minute - start).rem_euclid(period) < length,
            })
        };
        !self.windows.is_empty() && (0..WEEK).all(covered)
    }

    /// The end of the blackout at this instant, windows that overlap or touch taken together; `None` = there is none then.
    pub fn end(&self, at: Timestamp) -> Option<Timestamp> {
        let mut end = self.window(at)?.1;
        for _ in 0..JOINED {
            match self.window(end) {
                Some((_, later)) => end = later,
                None => return Some(end),
            }
        }
        Some(Timestamp::MAX)
    }

    /// Its beginning, likewise.
    pub fn begin(&self, at: Timestamp) -> Option<Timestamp> {
        let mut begin = self.window(at)?.0;
        for _ in 0..JOINED {
            let before = begin.checked_sub(SignedDuration::from_nanos(1));
            match before.ok().and_then(|before| self.window(before)) {
                Some((earlier, _)) => begin = earlier,
                None => return Some(begin),
            }
        }
        Some(Timestamp::MIN)
    }

    /// The first and the last instant that windows around `at` span.
    fn window(&self, at: Timestamp) -> Option<(Timestamp, Timestamp)> {
        if self.windows.is_empty() {
            return None;
        }
        let local = self.zone.to_datetime(at);
        let occurrences = self.windows.iter().flat_map(|window| window.around(local));
        let instants = occurrences
            .filter_map(|(start, end)| Some((self.place(start, false)?, self.place(end, true)?)));
        let around = instants.filter(|(start, end)| *start <= at && at < *end);
        around.reduce(|(start, end), other| (start.min(other.0), end.max(other.1)))
    }

    /// The instant of a time on the wall clock: the last one where the clock shows it twice and it is an end.
    fn place(&self, civil: DateTime, is_end: bool) -> Option<Timestamp> {
        match self.zone.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(civil).ok(),
            AmbiguousOffset::Gap { after, .. } => {
                let before = after.to_timestamp(civil).ok()?;
                let change = self.zone.following(before).next()?;
                Some(change.timestamp())
            }
            AmbiguousOffset::Fold { before, after } => {
                let offset = if is_end { after } else { before };
                offset.to_timestamp(civil).ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::zone;
    use super::*;

    fn blackouts(windows: &[&str], zone_name: &str) -> Blackouts {
        let windows = windows.iter().map(|text| Window::parse(text).unwrap());
        Blackouts::new(windows.collect(), zone(zone_name).unwrap())
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// Beginning and end of the blackout at an instant, on the wall clock.
    fn span(windows: &[&str], zone_name: &str, instant: &str) -> Option<[String; 2]> {
        let all = blackouts(windows, zone_name);
        let local = |at: Timestamp| at.display_with_offset(all.zone.to_offset(at)).to_string();
        Some([local(all.begin(at(instant))?), local(all.end(at(instant))?)])
    }

    #[track_caller]
    fn spans(windows: &[&str], zone_name: &str, instant: &str, begin: &str, end: &str) {
        let found = span(windows, zone_name, instant);
        assert_eq!(
            found,
            Some([begin.to_owned(), end.to_owned()]),
            "{windows:?}"
        );
    }

    const VIENNA: &str = "Europe/Vienna";

    #[test]
    fn a_weekend_begins_on_friday_evening_and_ends_on_monday_morning() {
        let weekend = ["FRI 18:00 - MON 06:00"];
        let (begin, end) = ("2026-11-27T18:00:00+01:00", "2026-11-30T06:00:00+01:00");
        for inside in [
            "2026-11-27T17:00:00Z",
            "2026-11-29T12:00:00Z",
            "2026-11-30T04:59:59Z",
        ] {
            spans(&weekend, VIENNA, inside, begin, end);
        }
        for outside in [
            "2026-11-27T16:59:59Z",
            "2026-11-30T05:00:00Z",
            "2026-12-02T00:00:00Z",
        ] {
            assert_eq!(span(&weekend, VIENNA, outside), None, "{outside}");
        }
    }

    #[test]
    fn a_day_without_a_time_is_the_whole_day() {
        spans(
            &["sat - SUN"],
            VIENNA,
            "2026-11-28T12:00:00Z",
            "2026-11-28T00:00:00+01:00",
            "2026-11-30T00:00:00+01:00",
        );
        spans(
            &["2026-12-20 - 2027-01-06"],
            VIENNA,
            "2027-01-06T22:59:00Z",
            "2026-12-20T00:00:00+01:00",
            "2027-01-07T00:00:00+01:00",
        );
        spans(
            &["2026-12-20 18:00 - 2027-01-06 06:00"],
            "UTC",
            "2026-12-31T00:00:00Z",
            "2026-12-20T18:00:00+00:00",
            "2027-01-06T06:00:00+00:00",
        );
        spans(
            &["22:00 - 06:00"],
            "UTC",
            "2026-12-31T23:00:00Z",
            "2026-12-31T22:00:00+00:00",
            "2027-01-01T06:00:00+00:00",
        );
        spans(
            &["SUN 12:00 - SUN 10:00"],
            "UTC",
            "2026-12-01T00:00:00Z",
            "2026-11-29T12:00:00+00:00",
            "2026-12-06T10:00:00+00:00",
        );
    }

    #[test]
    fn windows_that_overlap_or_touch_are_one_blackout() {
        let windows = [
            "FRI 18:00 - SUN 12:00",
            "SUN 10:00 - MON 06:00",
            "2026-11-30 06:00 - 2026-11-30 07:30",
            "07:00 - 08:00",
        ];
        spans(
            &windows,
            "UTC",
            "2026-11-28T00:00:00Z",
            "2026-11-27T18:00:00+00:00",
            "2026-11-30T08:00:00+00:00",
        );
        spans(
            &windows,
            "UTC",
            "2026-12-01T07:30:00Z",
            "2026-12-01T07:00:00+00:00",
            "2026-12-01T08:00:00+00:00",
        );
    }

    #[test]
    fn changes_of_the_clock() {
        // 29 March 2026: 02:00 to 03:00 does not exist. 25 October: it is twice.
        let night = ["02:30 - 04:00"];
        spans(
            &night,
            VIENNA,
            "2026-03-29T01:30:00Z",
            "2026-03-29T03:00:00+02:00",
            "2026-03-29T04:00:00+02:00",
        );
        spans(
            &["01:00 - 02:30"],
            VIENNA,
            "2026-03-29T00:30:00Z",
            "2026-03-29T01:00:00+01:00",
            "2026-03-29T03:00:00+02:00",
        );
        spans(
            &night,
            VIENNA,
            "2026-10-25T01:15:00Z",
            "2026-10-25T02:30:00+02:00",
            "2026-10-25T04:00:00+01:00",
        );
        spans(
            &["01:00 - 02:30"],
            VIENNA,
            "2026-10-25T00:45:00Z",
            "2026-10-25T01:00:00+02:00",
            "2026-10-25T02:30:00+01:00",
        );
        // All of it is skipped.
        assert_eq!(
            span(&["02:10 - 02:50"], VIENNA, "2026-03-29T01:00:00Z"),
            None
        );
        // A weekend over both.
        let weekend = ["FRI 18:00 - MON 06:00"];
        spans(
            &weekend,
            VIENNA,
            "2026-10-25T12:00:00Z",
            "2026-10-23T18:00:00+02:00",
            "2026-10-26T06:00:00+01:00",
        );
        spans(
            &weekend,
            VIENNA,
            "2026-03-29T12:00:00Z",
            "2026-03-27T18:00:00+01:00",
            "2026-03-30T06:00:00+02:00",
        );
    }

    #[test]
    fn p7_what_is_no_window_is_refused_with_what_to_write() {
        for (text, why) in [
            ("weekends", "is not a window; write it like"),
            ("FRI - ", "is not a window"),
            ("FRI 18:00 - MON 6:00", "is not a window"),
            ("FRI 25:00 - MON 06:00", "is not a window"),
            ("2026-02-30 - 2026-03-01", "is not a window"),
            ("FRI 18:00 - 06:00", "mixes two kinds of days"),
            ("FRI - 2026-01-01", "mixes two kinds of days"),
            (
                "MON 06:00 - MON 06:00",
                "ends where it begins, so it is the whole week",
            ),
            ("MON - SUN", "ends where it begins, so it is the whole week"),
            (
                "00:00 - 24:00",
                "ends where it begins, so it is the whole day",
            ),
            (
                "2027-01-06 - 2026-12-20",
                "ends before it begins; exchange the two",
            ),
        ] {
            let error = Window::parse(text).unwrap_err();
            assert!(error.starts_with(why), "{text}: {error}");
        }
    }

    #[test]
    fn windows_without_a_gap_are_known() {
        assert!(blackouts(&["MON - THU", "FRI 00:00 - MON 00:01"], "UTC").leave_nothing());
        assert!(blackouts(&["22:00 - 10:00", "10:00 - 22:00"], "UTC").leave_nothing());
        assert!(!blackouts(&["MON - THU", "FRI 00:01 - MON 00:00"], "UTC").leave_nothing());
        assert!(!blackouts(&[], "UTC").leave_nothing());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn fuzz_any_text_is_a_window_or_refused(text in "[A-Z0-9 :-]{0,24}") {
            let _ = Window::parse(&text);
        }

        #[test]
        fn a_blackout_begins_and_ends_where_nothing_is_black(
            windows in prop::collection::vec((0i64..WEEK, 1i64..3 * DAY), 1..4),
            second in 1_760_000_000i64..1_800_000_000,
            zone_name in prop::sample::select(vec!["UTC", VIENNA, "America/New_York", "Australia/Lord_Howe"]),
        ) {
            let windows = windows.iter().map(|&(start, length)| {
                Window(Kind::Repeated { period: WEEK, start, length })
            });
            let all = Blackouts::new(windows.collect(), zone(zone_name).unwrap());
            let at = Timestamp::from_second(second).unwrap();
            if all.leave_nothing() {
                return Ok(());
            }
            match (all.begin(at), all.end(at)) {
                (Some(begin), Some(end)) => {
                    prop_assert!(begin <= at && at < end);
                    prop_assert_eq!(all.end(end), None);
                    prop_assert_eq!(all.end(begin), Some(end));
                    let before = begin - SignedDuration::from_nanos(1);
                    prop_assert_eq!(all.end(before), None);
                }
                both => prop_assert_eq!(both, (None, None)),
            }
        }
    }
}
