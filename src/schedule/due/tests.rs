use std::sync::LazyLock;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::super::calendar::{Blackouts, Cron, Schedule, Window, zone};
use super::{
    CATCH_UP_SPREAD, Due, Input, LATENESS, Missed, Next, Trigger, next_due, skipped, unserved_since,
};

const SECOND: SignedDuration = SignedDuration::from_secs(1);
const DAY: SignedDuration = SignedDuration::from_hours(24);

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn daily() -> Schedule {
    Schedule::new(
        Cron::parse("0 3 * * *").unwrap(),
        zone("Europe/Vienna").unwrap(),
    )
}

fn none() -> &'static Blackouts {
    static NONE: LazyLock<Blackouts> = LazyLock::new(Blackouts::default);
    &NONE
}

/// Adopted at noon of 1 January 2027, served on the 10th (03:00 in Vienna), asked at its noon.
fn input(schedule: &Schedule) -> Input<'_> {
    Input {
        secret: "dynatrace/automation_script1",
        enabled: true,
        schedule,
        jitter: SignedDuration::ZERO,
        blackouts: none(),
        missed: Missed::Run,
        adopted_at: at("2027-01-01T12:00:00Z"),
        last_due: Some(at("2027-01-10T02:00:00Z")),
        created: None,
        expires: None,
        value_ends: None,
        grace: DAY,
        expiry_guard: true,
        able_since: at("2027-01-01T12:00:00Z"),
        catch_up_spread: CATCH_UP_SPREAD,
        now: at("2027-01-10T12:00:00Z"),
    }
}

fn due(input: &Input<'_>) -> Due {
    next_due(input).due().unwrap()
}

#[test]
fn waits_for_the_next_firing() {
    let schedule = daily();
    let found = due(&input(&schedule));
    assert_eq!(
        found,
        Due {
            at: at("2027-01-11T02:00:00Z"),
            instant: at("2027-01-11T02:00:00Z"),
            trigger: Trigger::Schedule,
            because: "next by schedule `0 3 * * *` Europe/Vienna".to_owned(),
        }
    );
}

#[test]
fn jitter_moves_the_start_and_not_the_instant() {
    let schedule = daily();
    let input = Input {
        jitter: SignedDuration::from_mins(15),
        ..input(&schedule)
    };
    let found = due(&input);
    assert_eq!(found.instant, at("2027-01-11T02:00:00Z"));
    assert!(found.at > found.instant && found.at < at("2027-01-11T02:15:00Z"));
    assert_eq!(
        found.because,
        "next by schedule `0 3 * * *` Europe/Vienna, spread from 2027-01-11T03:00:00+01:00 by jitter"
    );
    // Between firing and start nothing changes.
    let between = Input {
        now: found.instant,
        ..input
    };
    assert_eq!(due(&between), found);
    let other = Input {
        secret: "another",
        ..input
    };
    assert_ne!(due(&other).at, found.at);
}

#[test]
fn on_time_until_a_minute_late_then_missed() {
    let schedule = daily();
    let firing = at("2027-01-11T02:00:00Z");
    let ask = |late| {
        due(&Input {
            now: firing + late,
            ..input(&schedule)
        })
    };
    for late in [SignedDuration::ZERO, LATENESS - SECOND] {
        assert_eq!(ask(late).trigger, Trigger::Schedule);
        assert_eq!((ask(late).instant, ask(late).at), (firing, firing));
    }
    let missed = ask(LATENESS);
    assert_eq!(missed.trigger, Trigger::Missed);
    assert_eq!((missed.instant, missed.at), (firing, firing));
    assert_eq!(
        missed.because,
        "the due time 2027-01-11T03:00:00+01:00 by schedule `0 3 * * *` Europe/Vienna passed \
         unserved, one run makes up for it"
    );
}

#[test]
fn what_is_skipped_is_told_and_nothing_else() {
    let schedule = daily();
    let firing = at("2027-01-11T02:00:00Z");
    let late = Input {
        missed: Missed::Skip,
        now: firing + LATENESS,
        ..input(&schedule)
    };
    assert_eq!(skipped(&late), Some(firing));
    assert_eq!(
        due(&late).instant,
        firing + DAY,
        "the next one is waited for"
    );
    let on_time = Input {
        now: firing + LATENESS - SECOND,
        ..late
    };
    let run = Input {
        missed: Missed::Run,
        ..late
    };
    let served = Input {
        last_due: Some(firing),
        ..late
    };
    let adopted = Input {
        adopted_at: firing,
        ..late
    };
    let off = Input {
        enabled: false,
        ..late
    };
    for other in [on_time, run, served, adopted, off] {
        assert_eq!(skipped(&other), None, "{other:?}");
    }
}

#[test]
fn many_missed_firings_are_one_run_spread_after_the_start() {
    let schedule = daily();
    let input = Input {
        now: at("2027-01-20T12:00:00Z"),
        able_since: at("2027-01-20T12:00:00Z"),
        ..input(&schedule)
    };
    let found = due(&input);
    assert_eq!(found.instant, at("2027-01-20T02:00:00Z"));
    assert_eq!(found.trigger, Trigger::Missed);
    assert!(found.at >= input.able_since && found.at < input.able_since + CATCH_UP_SPREAD);
    // Asked later, the time does not move away.
    let later = Input {
        now: input.now + SignedDuration::from_hours(1),
        ..input
    };
    assert_eq!(due(&later), found);
    // After that run the next firing is awaited.
    let after = Input {
        last_due: Some(found.instant),
        ..later
    };
    assert_eq!(due(&after).at, at("2027-01-21T02:00:00Z"));
    assert_eq!(due(&after).trigger, Trigger::Schedule);
    // A thousand of them use the whole spread.
    let names: Vec<String> = (0..1000).map(|number| format!("secret{number}")).collect();
    let mut starts: Vec<Timestamp> = names
        .iter()
        .map(|secret| due(&Input { secret, ..input }).at)
        .collect();
    starts.sort();
    starts.dedup();
    assert!(starts.len() > 950, "{}", starts.len());
}

#[test]
fn skip_waits_for_the_next_firing() {
    let schedule = daily();
    let input = Input {
        missed: Missed::Skip,
        now: at("2027-01-11T02:00:59Z"),
        ..input(&schedule)
    };
    assert_eq!(due(&input).instant, at("2027-01-11T02:00:00Z"));
    let late = Input {
        now: at("2027-01-11T02:01:00Z"),
        ..input
    };
    assert_eq!(due(&late).instant, at("2027-01-12T02:00:00Z"));
    assert_eq!(due(&late).trigger, Trigger::Schedule);
}

#[test]
fn nothing_before_the_first_firing_after_adoption() {
    let schedule = daily();
    let input = Input {
        last_due: None,
        adopted_at: at("2027-01-10T02:00:00Z"),
        now: at("2027-01-10T02:00:00Z"),
        ..input(&schedule)
    };
    // Adopted at the very second of a firing: that one does not count.
    assert_eq!(due(&input).instant, at("2027-01-11T02:00:00Z"));
}

#[test]
fn switched_off_is_never_due() {
    let schedule = daily();
    let input = Input {
        enabled: false,
        expires: Some(at("2027-01-10T13:00:00Z")),
        ..input(&schedule)
    };
    assert_eq!(
        next_due(&input),
        Next::Never {
            because: "switched off (`enabled = false`)".to_owned()
        }
    );
}

#[test]
fn a_clock_that_went_back_serves_nothing_twice() {
    let schedule = daily();
    let input = Input {
        now: at("2027-01-09T12:00:00Z"),
        ..input(&schedule)
    };
    assert_eq!(due(&input).instant, at("2027-01-11T02:00:00Z"));
}

mod expiry_guard {
    use super::*;

    fn yearly() -> Schedule {
        Schedule::new(Cron::parse("@yearly").unwrap(), zone("UTC").unwrap())
    }

    #[test]
    fn k17_a_value_that_vault_deletes_is_replaced_before() {
        let schedule = yearly();
        let input = Input {
            created: Some(at("2027-01-10T02:00:00Z")),
            value_ends: Some(at("2027-01-20T02:00:00Z")),
            ..input(&schedule)
        };
        let found = due(&input);
        assert_eq!(found.instant, at("2027-01-18T02:00:00Z"), "a fifth before");
        assert_eq!(found.trigger, Trigger::Expiry);
        assert!(found.because.starts_with("Vault deletes the value at 2027"));
        // The token itself ends first.
        let token = Input {
            expires: Some(at("2027-01-15T02:00:00Z")),
            ..input
        };
        assert!(due(&token).because.starts_with("the token expires at"));
        // One that is deleted within twice the grace would be replaced without end.
        let short = Input {
            value_ends: Some(at("2027-01-12T02:00:00Z")),
            ..input
        };
        assert_eq!(due(&short).trigger, Trigger::Schedule);
    }

    #[test]
    fn strikes_at_a_fifth_of_the_lifetime() {
        let schedule = yearly();
        let input = Input {
            created: Some(at("2027-01-10T02:00:05Z")),
            expires: Some(at("2027-04-20T02:00:05Z")),
            ..input(&schedule)
        };
        let found = due(&input);
        // 100 days, of which 20 are left.
        assert_eq!(found.instant, at("2027-03-31T02:00:05Z"));
        assert_eq!((found.at, found.trigger), (found.instant, Trigger::Expiry));
        assert_eq!(
            found.because,
            "the token expires at 2027-04-20T02:00:05+00:00, and the expiry guard rotates it when \
             less than 20d is left"
        );
        let off = Input {
            expiry_guard: false,
            ..input
        };
        assert_eq!(due(&off).instant, at("2028-01-01T00:00:00Z"));
        let never_expires = Input {
            expires: None,
            ..input
        };
        assert_eq!(due(&never_expires).trigger, Trigger::Schedule);
    }

    #[test]
    fn strikes_at_the_grace_when_that_is_longer() {
        let schedule = yearly();
        let input = Input {
            created: Some(at("2027-01-10T02:00:05Z")),
            expires: Some(at("2027-01-13T02:00:05Z")),
            ..input(&schedule)
        };
        assert_eq!(due(&input).instant, at("2027-01-12T02:00:05Z"));
        let unknown_age = Input {
            created: None,
            ..input
        };
        assert_eq!(due(&unknown_age).instant, at("2027-01-12T02:00:05Z"));
    }

    #[test]
    fn the_schedule_wins_when_it_comes_first() {
        let schedule = daily();
        let input = Input {
            created: Some(at("2027-01-10T02:00:05Z")),
            expires: Some(at("2027-04-20T02:00:05Z")),
            ..input(&schedule)
        };
        assert_eq!(due(&input).trigger, Trigger::Schedule);
    }

    #[test]
    fn an_expired_token_is_due_and_spread_after_an_outage() {
        let schedule = yearly();
        let input = Input {
            created: Some(at("2027-01-10T02:00:05Z")),
            expires: Some(at("2027-04-20T02:00:05Z")),
            now: at("2027-06-01T00:00:00Z"),
            able_since: at("2027-06-01T00:00:00Z"),
            ..input(&schedule)
        };
        let found = due(&input);
        assert_eq!(found.instant, at("2027-03-31T02:00:05Z"));
        assert!(found.at >= input.able_since && found.at < input.able_since + CATCH_UP_SPREAD);
    }

    #[test]
    fn strikes_once_for_each_token() {
        let schedule = yearly();
        // Put in by hand, alive for an hour, although the grace is a day.
        let input = Input {
            created: Some(at("2027-01-10T11:00:00Z")),
            expires: Some(at("2027-01-10T12:30:00Z")),
            ..input(&schedule)
        };
        let found = due(&input);
        assert_eq!(found.trigger, Trigger::Expiry);
        assert_eq!(found.instant, at("2027-01-10T11:00:00Z"));
        // Served or given up on: not again before the schedule.
        let after = Input {
            last_due: Some(found.instant),
            ..input
        };
        assert_eq!(due(&after).instant, at("2028-01-01T00:00:00Z"));
    }

    #[test]
    fn just_adopted_it_waits_for_the_schedule_if_the_token_lives_that_long() {
        let schedule = daily();
        let input = Input {
            last_due: None,
            adopted_at: at("2027-01-10T12:00:00Z"),
            created: Some(at("2026-10-10T00:00:00Z")),
            // The first firing is at 02:00 of the 11th, and the grace is a day.
            expires: Some(at("2027-01-12T02:00:00Z")),
            ..input(&schedule)
        };
        assert_eq!(due(&input).trigger, Trigger::Schedule);
        assert_eq!(due(&input).instant, at("2027-01-11T02:00:00Z"));
        let too_short = Input {
            expires: Some(at("2027-01-12T01:59:59Z")),
            ..input
        };
        assert_eq!(due(&too_short).trigger, Trigger::Expiry);
        assert_eq!(due(&too_short).instant, input.adopted_at);
    }

    #[test]
    fn one_run_serves_guard_and_schedule() {
        let schedule = daily();
        let input = Input {
            jitter: SignedDuration::from_hours(5),
            created: Some(at("2026-12-10T00:00:00Z")),
            // The guard struck at 02:00 of the 9th; the schedule at 02:00 of the 11th.
            expires: Some(at("2027-01-18T00:00:00Z")),
            last_due: Some(at("2027-01-08T02:00:00Z")),
            now: at("2027-01-11T02:00:00Z"),
            ..input(&schedule)
        };
        let found = due(&input);
        assert_eq!(found.trigger, Trigger::Expiry);
        assert!(found.at <= input.now);
        assert_eq!(found.instant, at("2027-01-11T02:00:00Z"));
        let after = Input {
            last_due: Some(found.instant),
            created: Some(at("2027-01-11T02:00:05Z")),
            expires: Some(at("2027-02-20T00:00:00Z")),
            ..input
        };
        assert_eq!(due(&after).instant, at("2027-01-12T02:00:00Z"));
    }
}

proptest! {
    /// Whatever the journal says, a run is of an instant that is new, and serving it ends it.
    #[test]
    fn every_run_is_new_and_ends(
        expression in prop::sample::select(&["*/5 * * * *", "0 3 * * *", "@weekly", "@yearly"][..]),
        adopted in 0..40_000_000_i64,
        last in prop::option::of(0..40_000_000_i64),
        token in prop::option::of((0..40_000_000_i64, 1..20_000_000_i64)),
        able in 0..40_000_000_i64,
        asked in 0..40_000_000_i64,
        grace in 0..1_000_000_i64,
        skip in any::<bool>(),
        jittered in any::<bool>(),
    ) {
        let schedule = Schedule::new(Cron::parse(expression).unwrap(), zone("Europe/Vienna").unwrap());
        let instant = |offset: i64| at("2027-01-01T00:00:00Z") + SignedDuration::from_secs(offset);
        let input = Input {
            jitter: SignedDuration::from_secs(if jittered { 299 } else { 0 }),
            missed: if skip { Missed::Skip } else { Missed::Run },
            adopted_at: instant(adopted),
            last_due: last.map(instant),
            created: token.map(|(created, _)| instant(created)),
            expires: token.map(|(created, lifetime)| instant(created + lifetime)),
            grace: SignedDuration::from_secs(grace),
            able_since: instant(able.min(asked)),
            now: instant(asked),
            ..input(&schedule)
        };
        let found = due(&input);
        prop_assert_eq!(&due(&input), &found);
        prop_assert!(input.last_due.is_none_or(|last| found.instant > last));
        prop_assert!(found.instant >= input.adopted_at || found.trigger == Trigger::Expiry);
        prop_assert!(found.at >= found.instant || found.trigger == Trigger::Expiry);
        if found.at <= input.now {
            let next = due(&Input { last_due: Some(found.instant), ..input });
            let same_token_again = next.trigger == Trigger::Expiry && next.at <= input.now;
            prop_assert!(next.instant > found.instant);
            // Only the schedule could strike again at once, and it was served, too. The token did
            // not change here, so the guard may strike once more for one younger than the run.
            prop_assert!(next.at > input.now || same_token_again, "{:?} then {:?}", found, next);
        }
    }
}

fn blackouts(windows: &[&str]) -> Blackouts {
    let windows = windows.iter().map(|text| Window::parse(text).unwrap());
    Blackouts::new(windows.collect(), zone("Europe/Vienna").unwrap())
}

/// 10 January 2027 is a Sunday.
const WEEKEND: &str = "SAT - MON 06:00";

#[test]
fn a_firing_in_a_blackout_starts_at_its_end() {
    let (schedule, blackouts) = (daily(), blackouts(&[WEEKEND]));
    let end = at("2027-01-11T05:00:00Z");
    let input = Input {
        blackouts: &blackouts,
        last_due: Some(at("2027-01-08T02:00:00Z")),
        ..input(&schedule)
    };
    for (now, instant) in [
        // On Friday, in the middle, and shortly before the end.
        ("2027-01-08T12:00:00Z", "2027-01-09T02:00:00Z"),
        ("2027-01-09T12:00:00Z", "2027-01-09T02:00:00Z"),
        ("2027-01-11T04:59:59Z", "2027-01-11T02:00:00Z"),
    ] {
        let found = due(&Input {
            now: at(now),
            ..input
        });
        assert_eq!(
            (found.instant, found.trigger),
            (at(instant), Trigger::Schedule)
        );
        assert!(
            found.at >= end && found.at < end + CATCH_UP_SPREAD,
            "{found:?}"
        );
        assert_eq!(
            found.because,
            "next by schedule `0 3 * * *` Europe/Vienna, delayed to the end of a blackout at 2027-01-11T06:00:00+01:00"
        );
        // Nothing is late meanwhile, and nothing is skipped.
        let strict = Input {
            now: at(now),
            missed: Missed::Skip,
            ..input
        };
        assert_eq!((unserved_since(&strict), skipped(&strict)), (None, None));
    }
    // One run serves the whole weekend, and the next one is on Tuesday.
    let after = due(&Input {
        now: end + CATCH_UP_SPREAD,
        last_due: Some(at("2027-01-11T02:00:00Z")),
        ..input
    });
    assert_eq!(after.at, at("2027-01-12T02:00:00Z"));
}

#[test]
fn what_was_missed_or_overtaken_waits_for_the_end_too() {
    let (schedule, blackouts) = (daily(), blackouts(&["09:00 - 13:00"]));
    // The daemon was away at 03:00 and starts at 10:00.
    let input = Input {
        blackouts: &blackouts,
        able_since: at("2027-01-11T09:00:00Z"),
        now: at("2027-01-11T09:00:00Z"),
        ..input(&schedule)
    };
    let found = due(&input);
    let end = at("2027-01-11T12:00:00Z");
    assert_eq!(found.trigger, Trigger::Missed);
    assert!(found.at >= end && found.at < end + CATCH_UP_SPREAD);
    assert!(
        found
            .because
            .ends_with("delayed to the end of a blackout at 2027-01-11T13:00:00+01:00")
    );
    // A firing right before the blackout that did not begin in time is not late before the end.
    let nine = Schedule::new(Cron::parse("59 8 * * *").unwrap(), schedule.zone().clone());
    let input = Input {
        schedule: &nine,
        last_due: Some(at("2027-01-10T07:59:00Z")),
        ..input
    };
    assert_eq!(unserved_since(&input), None);
    let later = Input {
        now: at("2027-01-11T12:10:00Z"),
        ..input
    };
    assert_eq!(unserved_since(&later), Some(end));
}

#[test]
fn a_token_that_would_expire_in_a_blackout_is_rotated_before_it() {
    let (schedule, blackouts) = (
        Schedule::new(Cron::parse("0 3 1 1 *").unwrap(), daily().zone().clone()),
        blackouts(&[
            "2027-02-01 - 2027-02-10",
            "2027-01-31 22:50 - 2027-01-31 23:50",
        ]),
    );
    let begin = at("2027-01-31T23:00:00Z");
    let input = Input {
        blackouts: &blackouts,
        created: Some(at("2027-01-05T00:00:00Z")),
        ..input(&schedule)
    };
    let found = |expires: &str, now: &str, created: Option<&str>| {
        due(&Input {
            expires: Some(at(expires)),
            now: at(now),
            created: created.map(at).or(input.created),
            ..input
        })
    };
    let quiet = "2027-01-15T00:00:00Z";
    // It strikes inside and lives on long enough: the end.
    let late = found(
        "2027-03-01T00:00:00Z",
        "2027-02-05T00:00:00Z",
        Some("2026-11-01T00:00:00Z"),
    );
    let end = at("2027-02-10T23:00:00Z");
    assert!(
        late.at >= end && late.at < end + CATCH_UP_SPREAD,
        "{late:?}"
    );
    assert!(late.because.contains("delayed to the end of a blackout"));
    // It would expire inside, or less than a grace after it: an hour before, outside of the other blackout, too.
    for expires in ["2027-02-09T00:00:00Z", "2027-02-11T12:00:00Z"] {
        let early = found(expires, quiet, None);
        assert_eq!(early.trigger, Trigger::Expiry);
        let other = begin - SignedDuration::from_mins(70);
        assert!(
            early.at < other && early.at > other - SignedDuration::from_hours(1),
            "{early:?}"
        );
        assert_eq!(early.instant, early.at, "no instant ahead of the start");
        let why = "; rotated before the blackout that begins at 2027-02-01T00:00:00+01:00";
        assert!(early.because.ends_with(why), "{}", early.because);
        // A daemon that was away then rotates at once.
        let overdue = found(expires, "2027-02-02T00:00:00Z", None);
        assert_eq!((overdue.at, overdue.instant), (early.at, early.instant));
    }
    // A token from after that: at its time, in the middle of the blackout.
    let inside = found(
        "2027-02-08T00:00:00Z",
        "2027-02-03T00:00:00Z",
        Some("2027-02-02T00:00:00Z"),
    );
    assert_eq!(
        inside.at,
        at("2027-02-06T19:12:00Z"),
        "a fifth of its lifetime before its end"
    );
}
