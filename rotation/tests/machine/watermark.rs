//! Rule A6: a token is known not to have been current since a version, and what the versions after it prove.

use std::sync::Arc;
use std::time::Duration;

use rotation::command::{Command, TokenAction};
use rotation::record::{Origin, RetiringState};
use rotation::request::RunRequest;

use crate::builders::{
    at, by_schedule, id, minted, plan_with, record, request, retiring, settle, value,
};
use crate::world::{Ended, Version, World};

/// The versions that were read, each once: what they hold may be confirmed by a second read.
fn versions_read(ended: &Ended) -> Vec<u64> {
    let versions = ended.commands.iter().filter_map(|command| match command {
        Command::ReadVersion(version) => Some(*version),
        _ => None,
    });
    let mut versions: Vec<u64> = versions.collect();
    versions.dedup();
    versions
}

#[test]
fn a6_no_version_is_read_again_however_many_commits_came_in_between() {
    for commits in [1, 2, 20] {
        let mut world = World::new(record());
        for n in 0..commits {
            let ended = world.run_at(n, request(by_schedule(n - 100)));
            assert_eq!(ended.mints(), 1);
        }
        // Nothing of it is left to be read: the server keeps the latest version only.
        let last = world.versions.len() - 1;
        world.versions[..last].fill(Version::Pruned);
        let ended = world.run_at(100, settle());
        assert!(ended.did(TokenAction::Disable, "CUR"), "{commits}");
        assert_eq!(versions_read(&ended), Vec::<u64>::new(), "{commits}");
    }
}

/// OLD retires with this base and watermark. The secret is at version 2.
fn entry(base: u64, clean_through: u64) -> World {
    let mut old = retiring(&minted("OLD", 2), RetiringState::Grace, -500, -10);
    (old.base, old.clean_through) = (base, clean_through);
    World::with_retiring(vec![old])
}

#[test]
fn a6_a_watermark_above_the_current_version_restarts_the_grace() {
    let mut world = entry(1, 9);
    let ended = world.run_at(0, settle());
    assert_eq!(ended.effects(), Vec::<&Command>::new());
    let restarted = world.entry("OLD");
    assert_eq!(
        (restarted.state.clone(), restarted.due),
        (RetiringState::Grace, at(100))
    );
    assert_eq!((restarted.base, restarted.clean_through), (1, 0));
    let ended = world.run_at(100, settle());
    assert!(ended.did(TokenAction::Disable, "OLD"));
}

#[test]
fn a6_a_base_above_the_current_version_restarts_the_grace() {
    let mut world = entry(9, 9);
    for second in [0, 1, 50] {
        let ended = world.run_at(second, settle());
        assert_eq!(ended.effects(), Vec::<&Command>::new());
    }
    assert!(world.entry("OLD").due >= at(100));
}

#[test]
fn a6_a_token_that_was_current_again_since_its_base_gets_its_full_grace_again() {
    let mut world = entry(1, 0);
    // A person put it back and took it out again, and nobody ran in between.
    world.put(value("OLD"));
    world.put(value("CUR"));
    let ended = world.run_at(0, settle());
    assert_eq!(versions_read(&ended), [2, 3]);
    assert_eq!(ended.effects(), Vec::<&Command>::new());
    assert_eq!(
        (world.entry("OLD").due, world.entry("OLD").base),
        (at(100), 3)
    );
}

#[test]
fn a6_pruned_versions_prove_nothing_until_max_grace_is_over() {
    let mut world = entry(1, 0);
    world.versions.insert(1, Version::Pruned);
    world.versions.insert(1, Version::Pruned);
    let patient = || {
        let mut request = settle();
        request.plan = Arc::new(plan_with(|plan| plan.max_grace = Duration::from_secs(5000)));
        request
    };
    let ended = world.run_at(0, patient());
    assert_eq!(ended.effects(), Vec::<&Command>::new());
    assert_eq!(
        (world.entry("OLD").due, world.entry("OLD").base),
        (at(100), 3)
    );
    // With a new base the grace is the last one; what is pruned again later does not keep it forever.
    world.edit().retiring[0].base = 1;
    let ended = world.run_at(4499, patient());
    assert!(!ended.did(TokenAction::Disable, "OLD"));
    world.edit().retiring[0].base = 1;
    world.edit().retiring[0].due = at(4500);
    let ended = world.run_at(4500, patient());
    assert!(ended.did(TokenAction::Disable, "OLD"));
}

#[test]
fn a6_a_version_whose_value_does_not_show_whose_it_is_may_have_been_the_token() {
    let mut world = entry(1, 0);
    world.versions.insert(1, Version::Holds("opaque".into()));
    let ended = world.run_at(0, settle());
    assert_eq!(ended.effects(), Vec::<&Command>::new());
    // No value at all is a definite answer.
    let mut world = entry(1, 0);
    world.versions.insert(1, Version::Empty);
    let ended = world.run_at(0, settle());
    assert!(ended.did(TokenAction::Disable, "OLD"));
}

/// F1: a store that a frozen process may still send must be impossible before its token is ended.
#[test]
fn p1_a_token_whose_base_is_the_current_version_is_fenced_before_it_is_disabled() {
    let mut world = entry(2, 0);
    let ended = world.run_at(0, settle());
    let fence = Command::Fence { base: 2 };
    assert_eq!(ended.effects()[0], &fence);
    assert_eq!(
        world.shown(3).id(),
        Some(&id("CUR")),
        "the value is unchanged"
    );
    assert!(ended.did(TokenAction::Disable, "OLD"));
    assert_eq!(world.document().claim, None);

    // A deleted secret cannot be written unchanged: the token is left as it is.
    let mut world = entry(2, 0);
    world.versions[1] = Version::Deleted;
    let ended = world.run_at(0, settle());
    assert_eq!(ended.effects(), Vec::<&Command>::new());
    assert_eq!(world.entry("OLD").due, at(100));
}

/// F13: a person puts the token back between the check and the disable.
#[test]
fn p1_a_token_that_is_put_back_during_its_disable_is_enabled_again() {
    let mut world = entry(1, 0);
    world.fault(|world, command| {
        if let Command::Change(TokenAction::Disable, _) = command {
            world.put(value("OLD"));
        }
        None
    });
    let ended = world.run_at(0, settle());
    assert!(world.token("OLD").enabled);
    // At once: it is not quarantined first.
    let disabled = rotation::event::EventName::TokenDisabled;
    assert_eq!(ended.of(disabled).len(), 0);
    assert!(world.document().is_current(&id("OLD")));
    assert_eq!(world.entry("CUR").state, RetiringState::Grace);
}

/// F15: a person who enables a token in its quarantine is respected.
#[test]
fn p4_a_token_that_is_enabled_in_its_quarantine_is_not_deleted() {
    let mut old = retiring(&minted("OLD", 2), RetiringState::Quarantine, -500, -10);
    old.origin = Origin::Version(1);
    let mut world = World::with_retiring(vec![old]);
    let ended = world.run_at(0, settle());
    assert_eq!(ended.effects(), Vec::<&Command>::new());
    assert_eq!(
        ended.events(),
        [rotation::event::EventName::RetirementRestarted]
    );
    assert_eq!(
        (world.entry("OLD").state.clone(), world.entry("OLD").due),
        (RetiringState::Grace, at(100))
    );
}

/// KV version 1 has no versions: nothing is read or fenced, and a token retires by its marker.
#[test]
fn p3_without_versions_a_token_retires_by_its_marker_alone() {
    let without = || -> RunRequest {
        let mut request = settle();
        request.env.history = false;
        request
    };
    let mut world = entry(0, 0);
    let ended = world.run_at(0, without());
    assert!(ended.did(TokenAction::Disable, "OLD"));
    assert_eq!(versions_read(&ended), Vec::<u64>::new());
    let ended = world.run_at(200, without());
    assert!(ended.did(TokenAction::Delete, "OLD"));
}
