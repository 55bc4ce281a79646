//! Vault was restored from a backup: journal and secret went back, and Dynatrace did not.

use rotation::command::RunResult;
use rotation::event::EventName;
use rotation::record::Reason;
use rotation::request::RunRequest;

use crate::builders::{at, by_command, by_schedule, id, minted, record, request, settle};
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
