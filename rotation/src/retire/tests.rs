//! Usage-aware retirement, decided by the machine itself: what the environment tells of the last use, and what follows at the end of a grace.
//! Grace 100, `max_grace` 1000, the successor stored at 0.

use std::sync::Arc;

use super::super::event::EventName::RetirementHeld;
use super::super::facts::{Errand, Holds, Known, Outcome, Verdict};
use super::super::life::tests::{at, errand, id, info, moment, plan, record, retiring};
use super::super::record::Record;
use super::StillUsed::{Hold, Warn};
use super::*;

/// What became of a token whose grace is over.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// Its grace is extended to this.
    Held(i64),
    /// It is disabled, without a word.
    Quiet,
    /// It is disabled, and a WARN says who will notice.
    Noisy,
    /// It stood disabled already.
    ByAnother,
    /// Nothing is due.
    Waits(i64),
}

/// An entry in its grace since 0.
fn in_grace(due: i64) -> Retiring {
    retiring("OLD", RetiringState::Grace, 0, due)
}

/// The environment tells this of the old token.
fn used(at_second: Option<i64>, from: Option<&str>) -> TokenInfo {
    TokenInfo {
        last_used: at_second.map(at),
        last_used_ip: from.map(str::to_owned),
        ..info("OLD")
    }
}

/// Runs the retirement of `entry` at a moment in which the environment tells `told`. What became of it, the entry afterwards, and what was
/// told to people.
fn retire(
    still_used: StillUsed,
    entry: Retiring,
    told: &TokenInfo,
    seconds: i64,
) -> (End, Retiring, Vec<Report>) {
    let mut before = record();
    before.retiring = vec![entry];
    let mut plan = plan();
    plan.still_used = still_used;
    let mut run = Run::new(Errand {
        plan: Arc::new(plan),
        ..errand(before)
    });
    let mut reports = vec![];
    let mut disabled = false;
    for _ in 0..50 {
        let command = run.step(moment(seconds));
        reports.extend(run.take_reports());
        let outcome = match &command {
            Command::WriteJournal { cas, .. } => Outcome::Wrote(Ok(cas + 1)),
            Command::ReadJournal => Outcome::Journal(Ok(Ok(journal(&run)))),
            Command::ReadSecret => Outcome::Secret(Ok(Seen::Present {
                version: 2,
                holds: Some(Holds {
                    id: Some(id("CUR")),
                    mark: 1,
                }),
            })),
            Command::LookUp(of) if *of == id("OLD") => Outcome::Info(Ok(told.clone())),
            Command::Act(Act::Disable, of) if *of == id("OLD") => {
                disabled = true;
                Outcome::Done(Ok(()))
            }
            Command::Finish(Verdict::Settled { .. }) => {
                let document: Record = *journal(&run).record.unwrap();
                let entry = document.retiring.into_iter().next().unwrap();
                assert_eq!(document.claim, None);
                return (ended(disabled, seconds, &entry, &reports), entry, reports);
            }
            other => panic!("{other:?}"),
        };
        run.fold(&command, outcome, moment(seconds));
    }
    panic!("it does not come to an end");
}

fn journal(run: &Run) -> Known {
    run.journal().unwrap().clone()
}

fn ended(disabled: bool, seconds: i64, entry: &Retiring, reports: &[Report]) -> End {
    let loud = |report: &&Report| report.event == RetirementHeld && report.level == Level::Warn;
    let due = entry.due.as_second() - at(0).as_second();
    match (disabled, entry.state) {
        (true, RetiringState::Quarantine) if reports.iter().any(|r| loud(&r)) => End::Noisy,
        (true, RetiringState::Quarantine) => End::Quiet,
        (false, RetiringState::Quarantine) => End::ByAnother,
        (false, RetiringState::Grace) if due > seconds && entry.held_since.is_some() => {
            End::Held(due)
        }
        (false, RetiringState::Grace) if due > seconds => End::Waits(due),
        other => panic!("{other:?}"),
    }
}

#[test]
fn p3_a_token_in_use_is_held_until_it_is_quiet_for_a_grace_or_max_grace_is_over() {
    use End::{Held, Noisy, Quiet, Waits};
    let table = [
        ("its grace is not over", Hold, Some(50), 99, Waits(100)),
        (
            "it was never used, or that is not told",
            Hold,
            None,
            100,
            Quiet,
        ),
        ("only before the switch", Hold, Some(-1), 100, Quiet),
        (
            "at the very moment of the switch",
            Hold,
            Some(0),
            100,
            Quiet,
        ),
        (
            "only in the first moment: looked at a moment early",
            Hold,
            Some(1),
            100,
            Held(101),
        ),
        (
            "only in the first moment: quiet for a grace",
            Hold,
            Some(1),
            101,
            Quiet,
        ),
        ("in the middle", Hold, Some(60), 100, Held(160)),
        (
            "in the middle, nearly quiet for a grace",
            Hold,
            Some(60),
            159,
            Held(160),
        ),
        (
            "in the middle, quiet for a grace",
            Hold,
            Some(60),
            160,
            Quiet,
        ),
        ("to the last", Hold, Some(100), 100, Held(200)),
        (
            "to the last by the clock of an environment that is ahead",
            Hold,
            Some(130),
            100,
            Held(230),
        ),
        ("again and again", Hold, Some(700), 750, Held(800)),
        (
            "until shortly before max_grace",
            Hold,
            Some(901),
            950,
            Held(1000),
        ),
        (
            "by a clock that is far off",
            Hold,
            Some(500_000),
            100,
            Held(1000),
        ),
        (
            "max_grace is over, and it was quiet for a grace",
            Hold,
            Some(900),
            1000,
            Quiet,
        ),
        ("max_grace is over", Hold, Some(901), 1000, Noisy),
        (
            "max_grace is long over: nobody looked for a while",
            Hold,
            Some(4990),
            5000,
            Noisy,
        ),
        ("warn: never used", Warn, None, 100, Quiet),
        (
            "warn: at the very moment of the switch",
            Warn,
            Some(0),
            100,
            Quiet,
        ),
        (
            "warn: used, then quiet for a grace",
            Warn,
            Some(1),
            101,
            Quiet,
        ),
        ("warn: in the middle", Warn, Some(60), 100, Noisy),
        ("warn: to the last", Warn, Some(100), 100, Noisy),
    ];
    for (what, still_used, last_used, seconds, expected) in table {
        let told = used(last_used, Some("192.0.2.7"));
        let (end, _, _) = retire(still_used, in_grace(100), &told, seconds);
        assert_eq!(
            end, expected,
            "{what}: used {last_used:?}, looked at {seconds}"
        );
    }
}

#[test]
fn a_hold_is_told_once_names_the_address_and_the_entry_shows_the_last_one() {
    let told = used(Some(90), Some("192.0.2.7"));
    let (end, held, reports) = retire(Hold, in_grace(100), &told, 100);
    assert_eq!(end, End::Held(190));
    assert_eq!(held.held_since, Some(at(100)));
    assert_eq!(held.used_from.as_deref(), Some("192.0.2.7"));
    assert_eq!(reports.len(), 1, "{reports:?}");
    assert_eq!(reports[0].event, RetirementHeld);
    assert_eq!(reports[0].token_id, Some(id("OLD")));
    assert!(reports[0].message.contains("192.0.2.7"), "{reports:?}");

    // It goes on from elsewhere: shown, not told.
    let told = used(Some(180), Some("198.51.100.1"));
    let (end, held, reports) = retire(Hold, held, &told, 190);
    assert_eq!((end, reports.len()), (End::Held(280), 0));
    assert_eq!(held.held_since, Some(at(100)), "since the first");
    assert_eq!(held.used_from.as_deref(), Some("198.51.100.1"));

    // To the last: who will notice is named, too.
    let told = used(Some(990), None);
    let (end, _, reports) = retire(Hold, held, &told, 1000);
    assert_eq!(end, End::Noisy);
    let loud: Vec<_> = reports.iter().filter(|r| r.level == Level::Warn).collect();
    assert_eq!(loud.len(), 1, "{reports:?}");
    assert!(loud[0].message.contains("an unknown address"), "{loud:?}");
}

/// The environment tells the last use in whole steps of `grain`, rounded down.
#[test]
fn p3_a_coarse_last_use_holds_a_token_in_use_to_max_grace_and_lets_a_quiet_one_go() {
    for grain in [1, 10, 60, 99] {
        // When it goes, and how.
        let goes = |last_use: i64| {
            let (mut entry, mut second) = (in_grace(100), 100);
            while second <= 1000 {
                let told = last_use.min(second).div_euclid(grain) * grain;
                let (end, after, _) = retire(Hold, entry, &used(Some(told), None), second);
                entry = after;
                match end {
                    End::Held(due) => second = due,
                    end => return (end, second),
                }
            }
            panic!("{grain}: it is held beyond max_grace");
        };
        assert_eq!(goes(i64::MAX), (End::Noisy, 1000), "{grain}");
        // When it was quiet for a grace, less what the environment does not tell.
        let (end, second) = goes(250);
        assert_eq!(end, End::Quiet, "{grain}");
        assert!(second <= 350 && second > 350 - grain, "{grain}: {second}");
    }
}

#[test]
fn p3_a_coarse_last_use_from_before_the_switch_holds_nothing() {
    // Stored at 30. A use at 50 is told as 0, which is no use of the old token after the switch: the first moments do not count.
    let since = retiring("OLD", RetiringState::Grace, 30, 130);
    let (end, ..) = retire(Hold, since.clone(), &used(Some(0), None), 130);
    assert_eq!(end, End::Quiet);
    let (end, ..) = retire(Hold, since, &used(Some(60), None), 130);
    assert_eq!(end, End::Held(160));
}

#[test]
fn p4_a_token_that_a_person_disabled_is_not_held() {
    let told = TokenInfo {
        enabled: false,
        ..used(Some(90), Some("192.0.2.7"))
    };
    assert_eq!(retire(Hold, in_grace(100), &told, 100).0, End::ByAnother);
}
