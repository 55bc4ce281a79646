//! Usage-aware retirement: what the environment returns about the last use, and what follows at the end of a grace. The successor was
//! stored at second 0.

use std::sync::Arc;

use rotation::command::{RunResult, TokenAction};
use rotation::event::EventName::{ConsumerCutOff, RetirementHeld, TokenDisabled};
use rotation::event::{Level, Report};
use rotation::plan::StillUsed::{self, Hold, Warn};
use rotation::record::{Retiring, RetiringState};
use rotation::token::TokenInfo;

use crate::builders::{at, id, minted, plan, record, retiring, settle};
use crate::world::World;

/// What became of a token whose grace is over.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// Its grace is extended to this.
    Held(i64),
    /// It is disabled, and only INFO is emitted.
    Quiet,
    /// It is disabled, and an ERROR names the consumer.
    CutOff,
    /// It was disabled before: it is quarantined without an event.
    FoundDisabled,
    /// Nothing is due.
    Waits(i64),
}

fn in_grace(due: i64) -> Retiring {
    retiring(&minted("OLD", 2), RetiringState::Grace, 0, due)
}

/// The old token as the environment returns it.
fn used(at_second: Option<i64>, from: Option<&str>) -> TokenInfo {
    TokenInfo {
        last_used: at_second.map(at),
        last_used_ip: from.map(str::to_owned),
        ..minted("OLD", 2)
    }
}

/// Runs the retirement of `entry` at a second in which the environment returns `info`: the end, the entry afterwards, and the events.
fn retire(
    still_used: StillUsed,
    entry: Retiring,
    info: &TokenInfo,
    second: i64,
) -> (End, Retiring, Vec<Report>) {
    let mut before = record();
    before.retiring = vec![entry];
    let mut world = World::new(before);
    world.add(info.clone());
    let mut request = settle();
    let mut plan = plan();
    plan.still_used = still_used;
    request.plan = Arc::new(plan);
    let ended = world.run_at(second, request);
    assert!(
        matches!(ended.result, RunResult::Done { .. }),
        "{:?}",
        ended.result
    );
    assert_eq!(world.document().claim, None);
    let disabled = ended.did(TokenAction::Disable, "OLD");
    assert_eq!(ended.effects().len(), usize::from(disabled));
    assert_eq!(ended.of(TokenDisabled).len(), usize::from(disabled));
    let entry = world.entry("OLD").clone();
    let due = entry.due.as_second() - at(0).as_second();
    let end = match (disabled, entry.state.clone()) {
        (true, RetiringState::Quarantine) if ended.errors() == [ConsumerCutOff] => End::CutOff,
        (true, RetiringState::Quarantine) if ended.errors().is_empty() => End::Quiet,
        (false, RetiringState::Quarantine) if ended.reports.is_empty() => End::FoundDisabled,
        (false, RetiringState::Grace) if entry.usage.held_since.is_some() => End::Held(due),
        (false, RetiringState::Grace) if ended.reports.is_empty() => End::Waits(due),
        other => panic!("{other:?} {:?}", ended.reports),
    };
    (end, entry, ended.reports)
}

#[test]
fn p3_a_token_in_use_is_held_until_it_is_unused_for_a_grace_or_max_grace_is_over() {
    use End::{CutOff, Held, Quiet, Waits};
    let table = [
        ("its grace is not over", Hold, Some(50), 99, Waits(100)),
        ("never used, or not returned", Hold, None, 100, Quiet),
        ("only before the switch", Hold, Some(-1), 100, Quiet),
        (
            "at the very second of the switch",
            Hold,
            Some(0),
            100,
            Quiet,
        ),
        (
            "only in the first second, examined a second early",
            Hold,
            Some(1),
            100,
            Held(101),
        ),
        (
            "only in the first second, unused for a grace",
            Hold,
            Some(1),
            101,
            Quiet,
        ),
        ("in the middle", Hold, Some(60), 100, Held(160)),
        (
            "in the middle, nearly unused for a grace",
            Hold,
            Some(60),
            159,
            Held(160),
        ),
        (
            "in the middle, unused for a grace",
            Hold,
            Some(60),
            160,
            Quiet,
        ),
        ("to the last", Hold, Some(100), 100, Held(200)),
        (
            "to the last, by an environment's clock that is ahead",
            Hold,
            Some(130),
            100,
            Held(230),
        ),
        ("repeatedly", Hold, Some(700), 750, Held(800)),
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
            "max_grace is over, unused for a grace",
            Hold,
            Some(900),
            1000,
            Quiet,
        ),
        ("max_grace is over", Hold, Some(901), 1000, CutOff),
        (
            "max_grace is long over: no run for a while",
            Hold,
            Some(4990),
            5000,
            CutOff,
        ),
        ("warn: never used", Warn, None, 100, Quiet),
        (
            "warn: at the very second of the switch",
            Warn,
            Some(0),
            100,
            Quiet,
        ),
        (
            "warn: used, then unused for a grace",
            Warn,
            Some(1),
            101,
            Quiet,
        ),
        ("warn: in the middle", Warn, Some(60), 100, CutOff),
        ("warn: to the last", Warn, Some(100), 100, CutOff),
    ];
    for (what, still_used, last_used, second, expected) in table {
        let info = used(last_used, Some("192.0.2.7"));
        let (end, ..) = retire(still_used, in_grace(100), &info, second);
        assert_eq!(
            end, expected,
            "{what}: used {last_used:?}, examined at {second}"
        );
    }
}

#[test]
fn p3_an_extension_is_reported_once_with_the_address_and_the_entry_shows_the_last_one() {
    let info = used(Some(90), Some("192.0.2.7"));
    let (end, held, reports) = retire(Hold, in_grace(100), &info, 100);
    assert_eq!(end, End::Held(190));
    assert_eq!(held.usage.held_since, Some(at(100)));
    assert_eq!(held.usage.used_from.as_deref(), Some("192.0.2.7"));
    assert_eq!(reports.len(), 1, "{reports:?}");
    assert_eq!(
        (reports[0].event, reports[0].level),
        (RetirementHeld, Level::Info)
    );
    assert_eq!(reports[0].token_id, Some(id("OLD")));
    assert!(reports[0].message.contains("192.0.2.7"), "{reports:?}");

    // From another address: shown, not reported.
    let info = used(Some(180), Some("198.51.100.1"));
    let (end, held, reports) = retire(Hold, held, &info, 190);
    assert_eq!((end, reports.len()), (End::Held(280), 0));
    assert_eq!(held.usage.held_since, Some(at(100)), "since the first");
    assert_eq!(held.usage.used_from.as_deref(), Some("198.51.100.1"));

    // To the last: one ERROR, and the entry shows it until the quarantine ends.
    let (end, cut_off, reports) = retire(Hold, held, &used(Some(990), None), 1000);
    assert_eq!(end, End::CutOff);
    let errors: Vec<_> = reports
        .iter()
        .filter(|it| it.level == Level::Error)
        .collect();
    assert_eq!(errors.len(), 1, "{reports:?}");
    assert_eq!(errors[0].token_id, Some(id("OLD")));
    assert!(
        errors[0].message.contains("an unknown address"),
        "{errors:?}"
    );
    assert!(errors[0].message.contains("dtrotate undo a"), "{errors:?}");
    assert_eq!(cut_off.usage.cut_off_at, Some(at(1000)));
    assert_eq!(cut_off.usage.held_since, None);
    assert_eq!(cut_off.due, at(1200));
}

/// The environment returns the last use in whole steps of `grain`, rounded down.
#[test]
fn p3_a_coarse_last_use_holds_a_token_in_use_to_max_grace_and_ends_an_unused_one() {
    for grain in [1, 10, 60, 99] {
        let ends = |last_use: i64| {
            let (mut entry, mut second) = (in_grace(100), 100);
            while second <= 1000 {
                let coarse = last_use.min(second).div_euclid(grain) * grain;
                let (end, after, _) = retire(Hold, entry, &used(Some(coarse), None), second);
                entry = after;
                match end {
                    End::Held(due) => second = due,
                    end => return (end, second),
                }
            }
            panic!("{grain}: it is held beyond max_grace");
        };
        assert_eq!(ends(i64::MAX), (End::CutOff, 1000), "{grain}");
        // Unused for a grace, less what the environment rounds off.
        let (end, second) = ends(250);
        assert_eq!(end, End::Quiet, "{grain}");
        assert!(second <= 350 && second > 350 - grain, "{grain}: {second}");
    }
}

#[test]
fn p3_a_coarse_last_use_from_before_the_switch_holds_nothing() {
    // Stored at 30. A use at 50 is returned as 0, which is no use after the switch.
    let since = retiring(&minted("OLD", 2), RetiringState::Grace, 30, 130);
    let (end, ..) = retire(Hold, since.clone(), &used(Some(0), None), 130);
    assert_eq!(end, End::Quiet);
    let (end, ..) = retire(Hold, since, &used(Some(60), None), 130);
    assert_eq!(end, End::Held(160));
}

#[test]
fn p4_a_token_that_a_person_disabled_is_not_held_and_no_event_says_that_we_did_it() {
    let info = TokenInfo {
        enabled: false,
        ..used(Some(90), Some("192.0.2.7"))
    };
    assert_eq!(
        retire(Hold, in_grace(100), &info, 100).0,
        End::FoundDisabled
    );
}

/// The environment refuses the disable: the consumer was not cut off each time that it is tried again.
#[test]
fn p8_a_consumer_that_is_cut_off_is_reported_once_however_often_the_disable_is_tried() {
    use rotation::command::{Command, Outcome};
    use rotation::error::ErrorKind::Refused;
    let mut world = World::with_retiring(vec![in_grace(100)]);
    world.add(used(Some(99), None));
    world.fault(|_, command| match command {
        Command::Change(TokenAction::Disable, _) => {
            Some(Outcome::Changed(Err(crate::builders::dynatrace(Refused))))
        }
        _ => None,
    });
    let mut reported = 0;
    for second in [100, 110, 120, 130] {
        reported += world.run_at(second, settle()).of(ConsumerCutOff).len();
    }
    assert_eq!(reported, 1);
    assert_eq!(world.entry("OLD").usage.cut_off_at, Some(at(130)));
}

#[test]
fn p3_no_consumer_is_cut_off_in_a_blackout() {
    for still_used in [Hold, Warn] {
        let mut before = record();
        before.retiring = vec![in_grace(100)];
        let mut world = World::new(before);
        world.add(used(Some(995), Some("192.0.2.7")));
        let mut request = settle();
        let mut plan = plan();
        plan.still_used = still_used;
        request.plan = Arc::new(plan);
        request.env.blackout_until = Some(at(5000));
        // After max_grace: it is used, so it waits for the end of the blackout; that is reported once.
        let held = world.run_at(1001, request.clone());
        assert!(held.effects().is_empty());
        assert_eq!(held.of(RetirementHeld).len(), 1);
        assert_eq!(world.entry("OLD").due, at(5000));
        assert!(world.run_at(4999, request.clone()).reports.is_empty());
        // Then it is cut off, if it is still used.
        request.env.blackout_until = None;
        world.token("OLD").last_used = Some(at(4990));
        let ended = world.run_at(5000, request);
        assert!(ended.did(TokenAction::Disable, "OLD"));
        assert_eq!(ended.errors(), [ConsumerCutOff]);
    }
    // A token that nobody uses retires, blackout or not.
    let mut world = World::with_retiring(vec![in_grace(100)]);
    let mut request = settle();
    request.env.blackout_until = Some(at(5000));
    assert!(world.run_at(100, request).did(TokenAction::Disable, "OLD"));
}
