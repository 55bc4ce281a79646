//! Vault was restored from a backup: journal and secret went back, and Dynatrace did not.

use std::sync::Arc;
use std::time::Duration;

use rotation::command::{Command, Outcome, RunResult, TokenAction};
use rotation::error::ErrorKind;
use rotation::event::EventName;
use rotation::plan::Lifetime;
use rotation::record::{Reason, RetiringState};
use rotation::request::RunRequest;
use rotation::token::TokenInfo;

use crate::builders::{
    at, by_command, by_schedule, dynatrace, id, marked, minted, plain, plan_with, record, request,
    settle, value,
};
use crate::capabilities::{REDATED, of};
use crate::identity::sweep;
use crate::world::World;

/// The value is CUR, which dtrotate had disabled before the restore; NEWER was current then.
fn disabled_by_us() -> World {
    let mut world = World::new(record());
    world.tokens.remove(&id("OLD"));
    world.token("CUR").enabled = false;
    world.add(minted("NEWER", 5));
    world
}

fn look(world: &mut World, second: i64) -> crate::world::Ended {
    let mut request = sweep(world, second);
    request.hints.recheck_token = true;
    world.run_at(second, request)
}

/// The sentence of each condition tells the command that resolves it, and it does.
#[test]
fn p1_a_token_that_we_disabled_ourselves_is_replaced_by_a_command() {
    let mut world = disabled_by_us();
    let ended = look(&mut world, 0);
    assert_eq!(
        ended.errors(),
        [EventName::VaultWentBack, EventName::CurrentInvalid]
    );
    let told = &ended.of(EventName::VaultWentBack)[0].message;
    assert!(told.contains("dt0c01.NEWER"), "{told}");
    let invalid = world.document().health.invalid.clone().unwrap();
    assert!(!invalid.by_hand && invalid.message.contains("run `dtrotate rotate a`"));
    // Never automatically.
    let ended = world.run_at(20, request(by_schedule(15)));
    assert_eq!(ended.result, RunResult::stuck(Reason::TokenDisabled));
    assert_eq!(look(&mut world, 30).mints(), 0);
    let plain = RunRequest {
        dry_run: true,
        ..request(by_command())
    };
    let dry = world.run_at(39, plain);
    assert!(
        matches!(dry.result, RunResult::DryRun(_)),
        "{:?}",
        dry.result
    );
    let ended = world.run_at(40, request(by_command()));
    assert_eq!(ended.mints(), 1, "{:?}", ended.reports);
    assert!(world.document().is_current(&id("NEW1")));
    let health = &world.document().health;
    assert_eq!((&health.invalid, health.went_back_at), (&None, None));
    // From now on a token that is disabled is a person's matter again.
    world.token("NEW1").enabled = false;
    let ended = world.run_at(50, request(by_command()));
    assert_eq!(ended.result, RunResult::stuck(Reason::TokenDisabled));
}

/// That it is disabled was found first, and that Vault went back later.
#[test]
fn p8_what_was_said_of_a_disabled_token_is_corrected() {
    let mut world = disabled_by_us();
    let mut first = settle();
    first.hints.reread_secret = true;
    first.hints.recheck_token = true;
    world.run_at(0, first);
    assert!(world.document().health.invalid.clone().unwrap().by_hand);
    look(&mut world, 10);
    let invalid = world.document().health.invalid.clone().unwrap();
    assert!(!invalid.by_hand);
    assert_eq!(invalid.since, at(0));
}

/// T2 and T3 were made, Vault was restored to before them, and a rotation whose answers are lost gives their numbers out again.
fn numbers_given_out_again(request: impl Fn(RunRequest) -> RunRequest, old: TokenInfo) -> World {
    let mut world = World::new(record());
    world.tokens.remove(&id("OLD"));
    world.add(TokenInfo {
        name: marked("job", 4),
        ..old.clone()
    });
    world.add(TokenInfo {
        id: id("NEWEST"),
        name: marked("job", 5),
        ..old
    });
    let mut lost = 2;
    world.fault(move |world, command| match command {
        Command::Mint(order) if lost > 0 => {
            lost -= 1;
            world.mint(order);
            Some(Outcome::Minted(Err(dynatrace(ErrorKind::Unclear))))
        }
        _ => None,
    });
    let ended = world.run_at(0, request(crate::builders::request(by_command())));
    assert_eq!(ended.mints(), 3);
    assert!(!ended.did(TokenAction::Delete, "OLDER"));
    assert!(!ended.did(TokenAction::Delete, "NEWEST"));
    world
}

fn as_it_is(request: RunRequest) -> RunRequest {
    request
}

#[test]
fn p3_a_token_that_is_older_than_the_attempt_with_its_number_is_not_its_orphan() {
    let older = plain("OLDER", "");
    let mut world = numbers_given_out_again(as_it_is, older);
    let request = sweep(&world, 20);
    let ended = world.run_at(20, request);
    // What the attempts lost is deleted, and what was there before retires like a former token.
    assert!(ended.did(TokenAction::Delete, "NEW1") || !world.tokens.contains_key(&id("NEW1")));
    assert!(!world.tokens.contains_key(&id("NEW2")));
    for former in ["OLDER", "NEWEST"] {
        assert!(world.token(former).enabled);
        assert_eq!(world.entry(former).state, RetiringState::Grace, "{former}");
    }
    assert_eq!(world.document().open, []);
    assert!(world.document().is_current(&id("NEW3")));
    let health = &world.document().health;
    assert!(health.went_back_at.is_some() && health.hold_until.is_some());
    // The next number is above all of them.
    world.run_at(30, crate::builders::request(by_command()));
    assert_eq!(world.token("NEW4").name, marked("job", 7));
}

/// Within what clocks may differ nobody can say which of the two is older: neither an orphan's end nor a restore is concluded.
#[test]
fn p3_a_token_that_may_be_older_retires_with_full_grace() {
    for (second, restored, deleted) in
        [(-301, true, false), (-299, false, false), (-1, false, true)]
    {
        let mut world = World::new(record());
        world.tokens.remove(&id("OLD"));
        world.fault(move |world, command| match command {
            Command::Mint(order) if world.tokens.len() == 1 => {
                world.mint(order);
                world.token("NEW1").created = Some(at(second));
                Some(Outcome::Minted(Err(dynatrace(ErrorKind::Unclear))))
            }
            _ => None,
        });
        world.run_at(0, request(by_command()));
        let request = sweep(&world, 20);
        world.run_at(20, request);
        let found = world.document().health.went_back_at;
        assert_eq!(found.is_some(), restored, "{second}");
        assert_eq!(!world.tokens.contains_key(&id("NEW1")), deleted, "{second}");
        if !deleted {
            assert!(world.entry("NEW1").due >= at(100));
        }
    }
}

/// Where the service does not return when a token was made, its expiry shows it.
#[test]
fn p3_the_expiry_shows_the_age_of_a_token_where_nothing_else_does() {
    let lives = |request: RunRequest| {
        let mut request = of(REDATED, request);
        request.plan = Arc::new(plan_with(|plan| {
            plan.lifetime = Lifetime::For(Duration::from_secs(100_000));
        }));
        request
    };
    let older = TokenInfo {
        created: None,
        expires: Some(at(100_000 - 4000)),
        ..plain("OLDER", "")
    };
    let mut world = numbers_given_out_again(lives, older);
    for made in ["NEW1", "NEW2"] {
        if let Some(token) = world.tokens.get_mut(&id(made)) {
            token.created = None;
        }
    }
    let request = lives(sweep(&world, 20));
    world.run_at(20, request);
    for former in ["OLDER", "NEWEST"] {
        assert_eq!(world.entry(former).state, RetiringState::Grace, "{former}");
    }
    assert!(!world.tokens.contains_key(&id("NEW1")));
    assert!(world.document().health.went_back_at.is_some());
}

/// A person puts it back meanwhile: it is recorded as what it is, and the attempt that has its number stays open.
#[test]
fn p1_an_earlier_token_that_is_put_back_settles_no_attempt() {
    let mut world = World::new(record());
    world.tokens.remove(&id("OLD"));
    world.add(minted("OLDER", 4));
    world.fault(move |world, command| match command {
        Command::Mint(order) => {
            world.mint(order);
            Some(Outcome::Minted(Err(dynatrace(ErrorKind::Unclear))))
        }
        _ => None,
    });
    world.run_at(0, request(by_command()));
    world.fault = None;
    world.put(value("OLDER"));
    let mut look = settle();
    look.hints.reread_secret = true;
    let ended = world.run_at(5, look);
    assert!(
        world.document().is_current(&id("OLDER")),
        "{:?}",
        ended.reports
    );
    assert_eq!(ended.of(EventName::VaultWentBack).len(), 1);
    let request = sweep(&world, 20);
    world.run_at(20, request);
    for lost in ["NEW1", "NEW2", "NEW3"] {
        assert!(!world.tokens.contains_key(&id(lost)), "{lost}");
    }
}
