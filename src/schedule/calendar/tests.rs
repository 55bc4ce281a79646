use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::{Cron, Schedule, jitter, zone};

fn schedule(text: &str, zone_name: &str) -> Schedule {
    Schedule::new(Cron::parse(text).unwrap(), zone(zone_name).unwrap())
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The firings after `from`, as wall clock times with their offset.
fn firings(text: &str, zone_name: &str, from: &str, count: usize) -> Vec<String> {
    let schedule = schedule(text, zone_name);
    schedule
        .firings_after(at(from))
        .take(count)
        .map(|firing| local(firing, schedule.zone()))
        .collect()
}

fn local(at: Timestamp, zone: &TimeZone) -> String {
    at.display_with_offset(zone.to_offset(at)).to_string()
}

mod other_implementation {
    use super::*;

    const TABLE: &str = include_str!("../../../tests/data/cron/firings.txt");

    #[test]
    fn next_ten_firings_agree_with_croniter() {
        let mut expressions = std::collections::BTreeSet::new();
        for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
            let [text, start, wanted] = line.split(" | ").collect::<Vec<_>>()[..] else {
                panic!("unexpected line: {line}");
            };
            let schedule = schedule(text, "UTC");
            let found: Vec<String> = schedule
                .firings_after(at(start))
                .take(10)
                .map(|firing| firing.to_string())
                .collect();
            assert_eq!(found.join(" "), wanted, "{text} from {start}");
            expressions.insert(text);
        }
        assert!(expressions.len() >= 60, "{}", expressions.len());
    }
}

mod clock_changes {
    use super::*;

    #[test]
    fn vienna_spring_fixed_hour_fires_once_at_the_end_of_the_gap() {
        assert_eq!(
            firings("30 2 * * *", "Europe/Vienna", "2027-03-27T00:00:00Z", 3),
            [
                "2027-03-27T02:30:00+01:00",
                "2027-03-28T03:00:00+02:00",
                "2027-03-29T02:30:00+02:00"
            ]
        );
    }

    #[test]
    fn vienna_spring_several_skipped_times_and_the_end_itself_are_one_firing() {
        assert_eq!(
            firings("0,30 2,3 * * *", "Europe/Vienna", "2027-03-27T12:00:00Z", 3),
            [
                "2027-03-28T03:00:00+02:00",
                "2027-03-28T03:30:00+02:00",
                "2027-03-29T02:00:00+02:00"
            ]
        );
        assert_eq!(
            firings("*/30 2 * * *", "Europe/Vienna", "2027-03-27T12:00:00Z", 2),
            ["2027-03-28T03:00:00+02:00", "2027-03-29T02:00:00+02:00"]
        );
    }

    #[test]
    fn vienna_autumn_fixed_hour_fires_in_the_first_pass_only() {
        assert_eq!(
            firings("30 2 * * *", "Europe/Vienna", "2027-10-30T00:00:00Z", 3),
            [
                "2027-10-30T02:30:00+02:00",
                "2027-10-31T02:30:00+02:00",
                "2027-11-01T02:30:00+01:00"
            ]
        );
        assert_eq!(
            firings("0,30 2,3 * * *", "Europe/Vienna", "2027-10-30T12:00:00Z", 5),
            [
                "2027-10-31T02:00:00+02:00",
                "2027-10-31T02:30:00+02:00",
                "2027-10-31T03:00:00+01:00",
                "2027-10-31T03:30:00+01:00",
                "2027-11-01T02:00:00+01:00"
            ]
        );
    }

    #[test]
    fn vienna_wildcard_hour_follows_real_time_both_ways() {
        assert_eq!(
            firings("*/30 * * * *", "Europe/Vienna", "2027-03-28T00:15:00Z", 3),
            [
                "2027-03-28T01:30:00+01:00",
                "2027-03-28T03:00:00+02:00",
                "2027-03-28T03:30:00+02:00"
            ]
        );
        assert_eq!(
            firings("*/30 * * * *", "Europe/Vienna", "2027-10-30T23:45:00Z", 6),
            [
                "2027-10-31T02:00:00+02:00",
                "2027-10-31T02:30:00+02:00",
                "2027-10-31T02:00:00+01:00",
                "2027-10-31T02:30:00+01:00",
                "2027-10-31T03:00:00+01:00",
                "2027-10-31T03:30:00+01:00"
            ]
        );
        // `*/2` starts with a star: the second pass of 02:00 counts, the skipped one does not.
        assert_eq!(
            firings("0 */2 * * *", "Europe/Vienna", "2027-03-27T23:30:00Z", 2),
            ["2027-03-28T04:00:00+02:00", "2027-03-28T06:00:00+02:00"]
        );
        assert_eq!(
            firings("0 */2 * * *", "Europe/Vienna", "2027-10-30T23:30:00Z", 3),
            [
                "2027-10-31T02:00:00+02:00",
                "2027-10-31T02:00:00+01:00",
                "2027-10-31T04:00:00+01:00"
            ]
        );
    }

    #[test]
    fn new_york_both_ways() {
        let new_york = "America/New_York";
        assert_eq!(
            firings("15 2 * * *", new_york, "2027-03-13T12:00:00Z", 2),
            ["2027-03-14T03:00:00-04:00", "2027-03-15T02:15:00-04:00"]
        );
        assert_eq!(
            firings("15 1 * * *", new_york, "2027-11-06T12:00:00Z", 2),
            ["2027-11-07T01:15:00-04:00", "2027-11-08T01:15:00-05:00"]
        );
        assert_eq!(
            firings("0 * * * *", new_york, "2027-11-07T04:30:00Z", 3),
            [
                "2027-11-07T01:00:00-04:00",
                "2027-11-07T01:00:00-05:00",
                "2027-11-07T02:00:00-05:00"
            ]
        );
    }

    #[test]
    fn asked_in_the_second_pass_a_fixed_hour_is_over() {
        // 02:10 in the second pass: 02:30 was served by the first.
        let schedule = schedule("30 2 * * *", "Europe/Vienna");
        let second_pass = at("2027-10-31T02:10:00+01:00");
        assert_eq!(
            schedule.next_after(second_pass),
            Some(at("2027-11-01T02:30:00+01:00"))
        );
        assert_eq!(
            schedule.previous_at_or_before(second_pass),
            Some(at("2027-10-31T02:30:00+02:00"))
        );
        let first_pass = at("2027-10-31T02:10:00+02:00");
        assert_eq!(
            schedule.previous_at_or_before(first_pass),
            Some(at("2027-10-30T02:30:00+02:00"))
        );
    }

    #[test]
    fn lord_howe_changes_by_half_an_hour() {
        let lord_howe = "Australia/Lord_Howe";
        // 2027-10-03 02:00 becomes 02:30.
        assert_eq!(
            firings("15 2 * * *", lord_howe, "2027-10-02T00:00:00Z", 2),
            ["2027-10-03T02:30:00+11:00", "2027-10-04T02:15:00+11:00"]
        );
        assert_eq!(
            firings("*/15 * * * *", lord_howe, "2027-10-02T15:10:00Z", 3),
            [
                "2027-10-03T01:45:00+10:30",
                "2027-10-03T02:30:00+11:00",
                "2027-10-03T02:45:00+11:00"
            ]
        );
        // 2027-04-04 02:00 becomes 01:30.
        assert_eq!(
            firings("45 1 * * *", lord_howe, "2027-04-03T00:00:00Z", 2),
            ["2027-04-04T01:45:00+11:00", "2027-04-05T01:45:00+10:30"]
        );
        assert_eq!(
            firings("45 * * * *", lord_howe, "2027-04-03T14:30:00Z", 2),
            ["2027-04-04T01:45:00+11:00", "2027-04-04T01:45:00+10:30"]
        );
    }

    #[test]
    fn a_day_that_never_was() {
        // Samoa had no 30 December 2011, Kwajalein no 21 August 1993.
        assert_eq!(
            firings("0 12 * * *", "Pacific/Apia", "2011-12-29T00:00:00Z", 3),
            [
                "2011-12-29T12:00:00-10:00",
                "2011-12-31T00:00:00+14:00",
                "2011-12-31T12:00:00+14:00"
            ]
        );
        assert_eq!(
            firings("0 12 30 * *", "Pacific/Apia", "2011-12-01T00:00:00Z", 2),
            ["2011-12-31T00:00:00+14:00", "2012-01-30T12:00:00+14:00"]
        );
        assert_eq!(
            firings(
                "0 */6 * * *",
                "Pacific/Kwajalein",
                "1993-08-21T00:00:00Z",
                3
            ),
            [
                "1993-08-20T18:00:00-12:00",
                "1993-08-22T00:00:00+12:00",
                "1993-08-22T06:00:00+12:00"
            ]
        );
    }

    #[test]
    fn a_midnight_that_comes_twice_after_a_year_without_a_firing() {
        // Havana: 2027-11-07 01:00 becomes 00:00.
        let havana = "America/Havana";
        assert_eq!(
            firings("0 */24 7 11 *", havana, "2026-12-01T00:00:00Z", 3),
            [
                "2027-11-07T00:00:00-04:00",
                "2027-11-07T00:00:00-05:00",
                "2028-11-07T00:00:00-05:00"
            ]
        );
        let schedule = schedule("0 */24 7 11 *", havana);
        assert_eq!(
            schedule.previous_at_or_before(at("2028-11-01T00:00:00Z")),
            Some(at("2027-11-07T00:00:00-05:00"))
        );
        assert_eq!(
            schedule.previous_at_or_before(at("2027-11-07T00:30:00-04:00")),
            Some(at("2027-11-07T00:00:00-04:00"))
        );
        // Half past was before the clock went back ten minutes ago; by the wall clock alone it was a year ago.
        let half_past = super::schedule("30 */24 7 11 *", havana);
        assert_eq!(
            half_past.previous_at_or_before(at("2027-11-07T00:10:00-05:00")),
            Some(at("2027-11-07T00:30:00-04:00"))
        );
    }

    #[test]
    fn a_gap_at_midnight() {
        // Beirut: 2027-03-28 00:00 becomes 01:00.
        assert_eq!(
            firings("@daily", "Asia/Beirut", "2027-03-27T00:00:00Z", 2),
            ["2027-03-28T01:00:00+03:00", "2027-03-29T00:00:00+03:00"]
        );
    }
}

mod calendar {
    use super::*;

    #[test]
    fn leap_day_and_month_ends() {
        assert_eq!(
            firings("0 3 29 2 *", "Europe/Vienna", "2027-01-01T00:00:00Z", 2),
            ["2028-02-29T03:00:00+01:00", "2032-02-29T03:00:00+01:00"]
        );
        // 2100 is no leap year.
        assert_eq!(
            firings("0 3 29 2 *", "UTC", "2096-03-01T00:00:00Z", 1),
            ["2104-02-29T03:00:00+00:00"]
        );
        assert_eq!(
            firings("0 3 31 * *", "UTC", "2027-01-31T03:00:00Z", 3),
            [
                "2027-03-31T03:00:00+00:00",
                "2027-05-31T03:00:00+00:00",
                "2027-07-31T03:00:00+00:00"
            ]
        );
    }

    #[test]
    fn a_star_field_restricts_too_when_the_other_does() {
        // Vixie cron: odd days that are Mondays.
        assert_eq!(
            firings("0 0 */2 * 1", "UTC", "2027-01-01T00:00:00Z", 3),
            [
                "2027-01-11T00:00:00+00:00",
                "2027-01-25T00:00:00+00:00",
                "2027-02-01T00:00:00+00:00"
            ]
        );
        // 29 February on a Sunday.
        assert_eq!(
            firings("0 0 29 2 */7", "UTC", "2027-01-01T00:00:00Z", 4),
            [
                "2032-02-29T00:00:00+00:00",
                "2060-02-29T00:00:00+00:00",
                "2088-02-29T00:00:00+00:00",
                "2128-02-29T00:00:00+00:00"
            ]
        );
    }

    #[test]
    fn ends_of_the_calendar_are_none_not_a_panic() {
        for text in ["0 3 * * *", "* * * * * *", "0 0 29 2 */7"] {
            for zone_name in ["UTC", "Europe/Vienna", "Pacific/Apia"] {
                let schedule = schedule(text, zone_name);
                assert_eq!(schedule.next_after(Timestamp::MAX), None);
                let _ = schedule.previous_at_or_before(Timestamp::MIN);
                let _ = schedule.next_after(Timestamp::MIN);
                assert!(schedule.previous_at_or_before(Timestamp::MAX).is_some());
            }
        }
    }

    #[test]
    fn fractions_of_a_second() {
        let schedule = schedule("* * * * * *", "UTC");
        assert_eq!(
            schedule.next_after(at("2027-01-01T00:00:00.5Z")),
            Some(at("2027-01-01T00:00:01Z"))
        );
        assert_eq!(
            schedule.previous_at_or_before(at("1969-12-31T23:59:58.5Z")),
            Some(at("1969-12-31T23:59:58Z"))
        );
    }

    #[test]
    fn shortest_gaps() {
        for (text, zone_name, seconds) in [
            ("* * * * *", "Europe/Vienna", 60),
            ("*/2 * * * * *", "Europe/Vienna", 2),
            ("*/7 * * * *", "UTC", 4 * 60),
            ("0 3 * * *", "UTC", 86_400),
            // 02:30 winter time to 03:00 summer time.
            ("30 2 * * *", "Europe/Vienna", 86_400 - 1800),
            ("0 12 * * *", "Europe/Vienna", 86_400 - 3600),
            ("0 0,12 * * *", "Europe/Vienna", 11 * 3600),
            ("30 2,3 * * *", "Europe/Vienna", 1800),
            ("30 2,3 * * *", "UTC", 3600),
            ("0 * * * *", "Europe/Vienna", 3600),
            ("0 10 * * TUE", "UTC", 7 * 86_400),
            ("@monthly", "UTC", 28 * 86_400),
            ("@yearly", "UTC", 365 * 86_400),
            ("0 0 31 1,3 *", "UTC", 59 * 86_400),
            ("0 23,1 * * *", "UTC", 2 * 3600),
            ("0 0 1 * MON", "UTC", 86_400),
            ("0 0 29 2 *", "UTC", 1461 * 86_400),
        ] {
            assert_eq!(
                schedule(text, zone_name).shortest_gap(),
                SignedDuration::from_secs(seconds),
                "{text} {zone_name}"
            );
        }
    }

    #[test]
    fn longest_gaps() {
        for (text, zone_name, seconds) in [
            ("* * * * *", "Europe/Vienna", 60),
            ("*/7 * * * *", "UTC", 7 * 60),
            ("*/5 9-17 * * *", "UTC", 15 * 3600 + 5 * 60),
            ("*/2 * 9-17 * * *", "UTC", 15 * 3600 + 2),
            ("0 3 * * *", "UTC", 86_400),
            ("0 12 * * *", "Europe/Vienna", 86_400 + 3600),
            ("0 10 * * TUE", "UTC", 7 * 86_400),
            ("0 8 * * MON-FRI", "UTC", 3 * 86_400),
            ("@monthly", "UTC", 31 * 86_400),
            ("0 0 31 * *", "UTC", 61 * 86_400),
            ("@yearly", "UTC", 366 * 86_400),
            ("0 0 29 2 *", "UTC", 1461 * 86_400),
        ] {
            assert_eq!(
                schedule(text, zone_name).longest_gap(),
                SignedDuration::from_secs(seconds),
                "{text} {zone_name}"
            );
        }
    }

    #[test]
    fn jitter_is_fixed_for_ever_and_uniform() {
        let due = at("2027-01-01T03:00:00Z");
        let max = SignedDuration::from_mins(15);
        // These answers are a promise to every other version and replica. Computed by hand with
        // the function's description, in Python.
        assert_eq!(jitter("ci-metrics", due, max).as_millis(), 696_114);
        assert_eq!(
            jitter("", at("1969-12-31T23:59:59Z"), max).as_millis(),
            21_030
        );
        assert_eq!(jitter("x", due, SignedDuration::ZERO), SignedDuration::ZERO);
        assert_eq!(
            jitter("x", due, SignedDuration::from_secs(-5)),
            SignedDuration::ZERO
        );
        assert!(jitter("x", due, SignedDuration::MAX) >= SignedDuration::ZERO);
        let mut tenths = [0_u32; 10];
        for number in 0..10_000 {
            let found = jitter(&format!("dynatrace/script{number}"), due, max);
            assert!(found >= SignedDuration::ZERO && found < max);
            tenths[usize::try_from(found.as_millis() * 10 / max.as_millis()).unwrap()] += 1;
        }
        // Five standard deviations around 1,000.
        assert!(
            tenths.iter().all(|count| (850..1150).contains(count)),
            "{tenths:?}"
        );
    }
}

mod zones {
    use super::*;

    #[test]
    fn names_and_only_names() {
        for (name, wanted) in [
            ("UTC", "UTC"),
            ("utc", "UTC"),
            ("europe/vienna", "Europe/Vienna"),
            ("CET", "CET"),
            ("Etc/GMT-2", "Etc/GMT-2"),
            (
                "America/Argentina/Buenos_Aires",
                "America/Argentina/Buenos_Aires",
            ),
        ] {
            assert_eq!(zone(name).unwrap().iana_name(), Some(wanted));
        }
        for (name, part) in [
            ("", "empty"),
            ("Europe/Viena", "did you mean `Europe/Vienna`"),
            ("Vienna", "did you mean `Europe/Vienna`"),
            ("America/New York", "did you mean `America/New_York`"),
            (
                "Europe/Wien",
                "is not a known time zone; write an IANA name such as `Europe/Vienna`",
            ),
            ("+02:00", "fixed offset"),
            ("UTC+2", "fixed offset"),
            ("CEST", "not a known time zone"),
            ("Etc/Unknown", "not a known time zone"),
            ("right/Europe/Vienna", "not a known time zone"),
            ("../../etc/passwd", "not a known time zone"),
            ("Europe/../Europe/Vienna", "not a known time zone"),
            ("CET-1CEST,M3.5.0,M10.5.0/3", "not a known time zone"),
        ] {
            let error = zone(name).unwrap_err().to_string();
            assert!(error.contains(part), "{name}: {error}");
        }
    }
}

mod parsing {
    use super::*;

    #[test]
    fn same_sets() {
        let utc = |text: &str| {
            let schedule = schedule(text, "UTC");
            schedule
                .firings_after(at("2027-01-01T00:00:00Z"))
                .take(50)
                .collect::<Vec<_>>()
        };
        for (left, right) in [
            ("@Daily", "0 0 * * *"),
            ("0 3 * * *", "0 0 3 * * *"),
            ("  0\t3  * *   * ", "0 3 * * *"),
            ("0 0 * * FRI-SUN", "0 0 * * 5,6,0"),
            ("0 0 * * 0-7", "0 0 * * *"),
            ("0 0 * jan-Mar mon", "0 0 * 1-3 1"),
            ("5/20 * * * *", "5,25,45 * * * *"),
            ("0 0 * * 5/1", "0 0 * * 5,6"),
            ("*/60 * * * *", "0 * * * *"),
            ("*,5 * * * *", "* * * * *"),
        ] {
            assert_eq!(utc(left), utc(right), "{left} {right}");
        }
        assert_eq!(Cron::parse(" 0\t3 * * * ").unwrap().as_str(), "0 3 * * *");
    }

    #[test]
    fn refused_with_what_to_do() {
        for (text, bad, part) in [
            ("", "", "empty"),
            ("   ", "   ", "empty"),
            ("0 3 * *", "0 3 * *", "this has 4"),
            ("0 0 3 * * * 2027", "2027", "year"),
            (
                "0 10 * * TUE *",
                "TUE",
                "six fields begin with the seconds: write `0 10 * * TUE` if five",
            ),
            ("75 3 * * *", "75", "takes 0 to 59, not 75"),
            ("0 24 * * *", "24", "takes 0 to 23"),
            ("0 0 0 * *", "0", "takes 1 to 31"),
            ("0 0 * 13 *", "13", "takes 1 to 12"),
            ("0 0 * * 8", "8", "takes 0 to 7"),
            (
                "0 0 * * 99999999999999999999999",
                "99999999999999999999999",
                "takes 0 to 7",
            ),
            ("0 22-2 * * *", "22-2", "`22-23,0-2`"),
            ("*/0 * * * *", "0", "never advances"),
            ("*/90 * * * *", "90", "do not carry over"),
            ("*/x * * * *", "x", "must be a number"),
            ("*/ * * * *", "*/", "must be a number"),
            ("1,,2 * * * *", "1,,2", "remove the comma"),
            ("1- * * * *", "1-", "write 0 to 59"),
            ("-1 * * * *", "-1", "write 0 to 59"),
            ("0 0 * * MONDAY", "MONDAY", "write MON"),
            ("0 0 * * FOO", "FOO", "or SUN to SAT"),
            ("0 0 L * *", "L", "such as 28"),
            ("0 0 * * 5L", "5L", "such as 28"),
            ("0 0 15W * *", "15W", "MON-FRI"),
            ("0 0 LW * *", "LW", "working day"),
            ("0 0 * * 1#2", "1#2", "n-th weekday"),
            ("H H * * *", "H", "jitter"),
            ("0~30 * * * *", "0~30", "jitter"),
            ("0 0 ? * MON", "?", "write `*`"),
            ("0 9–17 * * *", "9–17", "write `-`"),
            ("0 0 30 2 *", "30 2", "never fires"),
            ("0 0 31 4 *", "31 4", "never fires"),
            (
                "0 0 31 FEB,APR,JUN,SEP,NOV *",
                "31 FEB,APR,JUN,SEP,NOV",
                "never fires",
            ),
            ("0 0 30 2 */2", "30 2", "never fires"),
            ("@reboot", "@reboot", "missed"),
            ("@every 5m", "@every 5m", "`*/5 * * * *`"),
            ("@dayly", "@dayly", "did you mean `@daily`"),
            ("@sometimes", "@sometimes", "@midnight"),
            (
                "CRON_TZ=Europe/Vienna 0 3 * * *",
                "CRON_TZ=Europe/Vienna",
                "`timezone = \"Europe/Vienna\"` and `schedule = \"0 3 * * *\"`",
            ),
            ("  TZ=UTC 0 3 * * *", "TZ=UTC", "timezone = \"UTC\""),
            ("A=b 0 3 * * *", "A=b", "no variables"),
        ] {
            let error = Cron::parse(text).unwrap_err();
            assert_eq!(&text[error.span()], bad, "{text}");
            assert!(error.message().contains(part), "{text}: {error}");
        }
        assert!(Cron::parse(&"0,".repeat(1000)).is_err());
    }

    #[test]
    fn the_advice_for_a_backwards_range_is_understood() {
        for (before, range, after, advice) in [
            ("0 0 * * ", "7-3", "", "0-3"),
            ("0 0 * * ", "5-1", "", "5-6,0-1"),
            ("0 0 * * ", "FRI-MON", "", "5-6,0-1"),
            ("0 0 * * ", "6-0", "", "6-7"),
            ("0 ", "22-6", " * * *", "22-23,0-6"),
            ("0 0 1 ", "11-2", " *", "11-12,1-2"),
        ] {
            let error = Cron::parse(&format!("{before}{range}{after}")).unwrap_err();
            let words = format!("`{range}` runs backwards");
            assert!(error.message().contains(&words), "{error}");
            assert!(error.message().ends_with(&format!("`{advice}`")), "{error}");
            assert!(
                Cron::parse(&format!("{before}{advice}{after}")).is_ok(),
                "{advice}"
            );
        }
    }
}

/// The rule read minute by minute, as slowly as it is written.
fn fires_at(cron: &Cron, zone: &TimeZone, minute: Timestamp) -> bool {
    let civil = zone.to_datetime(minute);
    if cron.follows_real_time() {
        return matches(cron, civil);
    }
    let before = minute - SignedDuration::from_mins(1);
    let previous = zone.to_datetime(before);
    let jump = previous.duration_until(civil).as_mins();
    let skipped = (1..jump).any(|step| matches(cron, previous + SignedDuration::from_mins(step)));
    let first_pass = zone.to_ambiguous_timestamp(civil).earlier().unwrap() == minute;
    skipped || (first_pass && matches(cron, civil))
}

fn matches(cron: &Cron, civil: DateTime) -> bool {
    let has = |mask: u64, value: i8| mask >> value & 1 == 1;
    let day = has(cron.days, civil.day());
    let weekday = has(cron.weekdays, civil.weekday().to_sunday_zero_offset());
    has(cron.minutes, civil.minute())
        && has(cron.hours, civil.hour())
        && has(cron.months, civil.month())
        && if cron.any_day || cron.any_weekday {
            day && weekday
        } else {
            day || weekday
        }
}

/// Days around which something happens to the clock, the month or the year.
const ODD_DAYS: [(&str, &str); 10] = [
    ("UTC", "2028-02-28T00:00:00Z"),
    ("Europe/Vienna", "2027-03-27T00:00:00Z"),
    ("Europe/Vienna", "2027-10-30T00:00:00Z"),
    ("America/New_York", "2027-03-13T00:00:00Z"),
    ("America/New_York", "2027-11-06T00:00:00Z"),
    ("Australia/Lord_Howe", "2027-04-03T00:00:00Z"),
    ("Australia/Lord_Howe", "2027-10-02T00:00:00Z"),
    ("Pacific/Apia", "2011-12-29T00:00:00Z"),
    ("Asia/Beirut", "2027-03-27T00:00:00Z"),
    ("Africa/Casablanca", "2027-02-06T00:00:00Z"),
];

fn field(first: u8, last: u8) -> impl Strategy<Value = String> {
    let values = first..=last;
    prop_oneof![
        4 => Just("*".to_owned()),
        3 => values.clone().prop_map(|n| n.to_string()),
        2 => (1..=last - first).prop_map(|step| format!("*/{step}")),
        2 => (values.clone(), values.clone()).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
        1 => (values.clone(), values).prop_map(|(a, b)| format!("{a},{b}")),
    ]
}

fn expression() -> impl Strategy<Value = Cron> {
    let fields = (
        field(0, 59),
        field(0, 23),
        field(1, 31),
        field(1, 12),
        field(0, 7),
    );
    fields.prop_filter_map("never fires", |(minute, hour, day, month, weekday)| {
        Cron::parse(&format!("{minute} {hour} {day} {month} {weekday}")).ok()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn agrees_with_reading_minute_by_minute(
        cron in expression(),
        (zone_name, start) in prop::sample::select(&ODD_DAYS[..]),
    ) {
        let zone = zone(zone_name).unwrap();
        let start = at(start);
        let minutes = 3 * 24 * 60;
        let wanted: Vec<Timestamp> = (1..minutes)
            .map(|minute| start + SignedDuration::from_mins(minute))
            .filter(|&minute| fires_at(&cron, &zone, minute))
            .collect();
        let end = start + SignedDuration::from_mins(minutes);
        let schedule = Schedule::new(cron, zone);
        let found: Vec<Timestamp> = schedule
            .firings_after(start)
            .take_while(|&firing| firing < end)
            .collect();
        prop_assert_eq!(found, wanted, "{} {}", schedule.cron(), zone_name);
    }

    #[test]
    fn next_and_previous_are_inverse(
        cron in expression(),
        (zone_name, start) in prop::sample::select(&ODD_DAYS[..]),
        offset in 0..3 * 86_400_i64,
    ) {
        let schedule = Schedule::new(cron, zone(zone_name).unwrap());
        let from = at(start) + SignedDuration::from_secs(offset);
        let next = schedule.next_after(from).unwrap();
        let previous = schedule.previous_at_or_before(from).unwrap();
        let just_before = next - SignedDuration::from_secs(1);
        prop_assert!(previous <= from && from < next);
        prop_assert_eq!(schedule.previous_at_or_before(next), Some(next));
        prop_assert_eq!(schedule.previous_at_or_before(just_before), Some(previous));
        prop_assert_eq!(schedule.next_after(previous), Some(next));
    }

    #[test]
    fn every_gap_is_between_the_shortest_and_the_longest(
        cron in expression(),
        (zone_name, start) in prop::sample::select(&ODD_DAYS[..7]),
    ) {
        let schedule = Schedule::new(cron, zone(zone_name).unwrap());
        let (shortest, longest) = (schedule.shortest_gap(), schedule.longest_gap());
        let searched = schedule.firings_after(at(start)).take_while(|&it| it < at("2064-01-01T00:00:00Z"));
        let firings: Vec<Timestamp> = searched.take(200).collect();
        for pair in firings.windows(2) {
            let gap = pair[0].duration_until(pair[1]);
            prop_assert!(shortest <= gap && gap <= longest);
        }
    }

    #[test]
    fn any_text_is_answered_quickly(text in any::<String>()) {
        answered(&text);
    }

    #[test]
    fn any_text_of_cron_letters_is_answered_quickly(text in "[0-9*/,@?LWH#A-Z= \t-]{0,60}") {
        answered(&text);
    }
}

fn answered(text: &str) {
    let begun = std::time::Instant::now();
    match Cron::parse(text) {
        Ok(cron) => {
            let schedule = Schedule::new(cron, TimeZone::UTC);
            assert!(schedule.next_after(Timestamp::UNIX_EPOCH).is_some());
        }
        Err(error) => {
            assert!(!error.message().is_empty());
            assert!(text.get(error.span()).is_some(), "{:?}", error.span());
        }
    }
    // Generous: a machine under load must not fail it, a search without end must.
    assert!(begun.elapsed() < std::time::Duration::from_secs(5));
}

/// Pieces of expressions, good and bad.
const PIECES: [&str; 36] = [
    "*",
    "0",
    "1",
    "7",
    "12",
    "31",
    "59",
    "60",
    "MON",
    "sun",
    "JAN",
    "dec",
    "-",
    "/",
    ",",
    "?",
    "L",
    "W",
    "#",
    " ",
    "  ",
    "\t",
    "@daily",
    "@every 5m",
    "@reboot",
    "CRON_TZ=UTC ",
    "*/5",
    "1-5",
    "5-1",
    "1-5/2",
    "99999999999999999999",
    "ü",
    "\u{0}",
    "0 0 29 2 *",
    "0 0 31 2 *",
    "é",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn fuzz_any_text_is_an_expression_or_refused_at_a_place(
        text in prop_oneof![
            4 => prop::collection::vec(prop::sample::select(&PIECES[..]), 0..14).prop_map(|pieces| pieces.concat()),
            2 => prop::collection::vec(prop::sample::select(&PIECES[..]), 5..8).prop_map(|pieces| pieces.join(" ")),
            1 => any::<String>(),
        ],
    ) {
        match Cron::parse(&text) {
            Ok(cron) => {
                // What was accepted fires, and is understood again as it is shown.
                prop_assert_eq!(&Cron::parse(cron.as_str()).unwrap(), &cron);
                let schedule = Schedule::new(cron, zone("Europe/Vienna").unwrap());
                let from = at("2026-03-28T23:00:00Z");
                let next = schedule.next_after(from);
                prop_assert!(next.is_some_and(|next| next > from), "{text:?}");
            }
            Err(error) => {
                let span = error.span();
                prop_assert!(text.get(span.clone()).is_some(), "{text:?} {span:?}");
                prop_assert!(!error.message().is_empty());
            }
        }
    }
}
