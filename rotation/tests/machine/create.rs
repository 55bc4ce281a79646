//! The first token of a secret, and rights and name that the configuration asks for.

use std::sync::Arc;

use rotation::command::{Command, Outcome, RunResult, TokenAction};
use rotation::event::EventName::{RotationStuck, RotationSucceeded, SecretCreated};
use rotation::plan::Desired;
use rotation::policy::{Drift, drift};
use rotation::record::{OpenAttempt, Reason};
use rotation::request::{Goal, RunRequest};
use rotation::token::MintRequest;

use crate::builders::{
    at, by_command, by_schedule, id, marked, minted, plan, record, request, settle, value,
};
use crate::world::{Ended, Version, World};

fn strings(all: &[&str]) -> Vec<String> {
    all.iter().map(|&one| one.to_owned()).collect()
}

/// The configuration asks for the first token.
fn wanted(goal: Goal) -> RunRequest {
    let mut request = request(goal);
    let mut plan = plan();
    plan.desired = Desired {
        name: None,
        scopes: Some(strings(&["metrics.ingest", "logs.ingest"])),
        create: true,
    };
    request.plan = Arc::new(plan);
    request
}

/// A world with these versions of the secret, and neither a token nor a document.
fn vacant(versions: Vec<Version>) -> World {
    let mut world = World::new(record());
    world.journal = None;
    world.cas = 0;
    world.tokens.clear();
    world.values.clear();
    world.versions = versions;
    world
}

fn mints(ended: &Ended) -> Vec<&MintRequest> {
    let commands = ended.commands.iter();
    let mints = commands.filter_map(|command| match command {
        Command::Mint(order) => Some(order),
        _ => None,
    });
    mints.collect()
}

fn stores(ended: &Ended) -> Vec<u64> {
    let commands = ended.commands.iter();
    let stores = commands.filter_map(|command| match command {
        Command::Store { base, .. } => Some(*base),
        _ => None,
    });
    stores.collect()
}

#[test]
fn the_first_token_is_made_where_nothing_ever_was() {
    for (versions, base) in [(vec![], 0), (vec![Version::Empty], 1)] {
        let mut world = vacant(versions);
        let ended = world.run_at(0, wanted(Goal::Settle));
        assert!(
            matches!(ended.result, RunResult::Done { .. }),
            "{:?}",
            ended.result
        );
        let [order] = mints(&ended)[..] else {
            panic!("one mint")
        };
        assert_eq!(order.scopes, ["metrics.ingest", "logs.ingest"]);
        assert_eq!(order.name, "a [dtrotate:inst.fresh.1]");
        assert_eq!(stores(&ended), [base]);
        assert_eq!(ended.of(SecretCreated).len(), 1);
        assert!(ended.of(RotationSucceeded).is_empty() && ended.errors().is_empty());
        let document = world.document();
        assert!(document.claim.is_none() && document.retiring.is_empty());
        let current = document.current.as_ref().unwrap();
        assert_eq!((current.version, current.marked), (base + 1, true));
        assert_eq!(
            document.last_due, None,
            "the first rotation is at its next due time"
        );
        // Once is enough.
        assert!(mints(&world.run_at(1, wanted(Goal::Settle))).is_empty());
    }
}

#[test]
fn what_was_there_before_is_not_made_again() {
    let held = || Version::Holds(value("GONE"));
    for (versions, reason) in [
        (vec![Version::Deleted], Reason::SecretMissing),
        (vec![held(), Version::Deleted], Reason::SecretMissing),
        // The field was taken out.
        (vec![held(), Version::Empty], Reason::FieldMissing),
    ] {
        let mut world = vacant(versions);
        let ended = world.run_at(0, wanted(Goal::Settle));
        assert!(mints(&ended).is_empty());
        assert_eq!(world.document().stuck().unwrap().reason, reason);
    }
    // A document recorded a token once: it was closed, and the secret is gone; or it was deleted itself.
    for (cas, held_before) in [(3, true), (3, false)] {
        let mut world = vacant(vec![]);
        world.cas = cas;
        if held_before {
            let mut before = record();
            before.current = None;
            before.held_before = true;
            world.journal = Some(before);
        }
        assert!(mints(&world.run_at(0, wanted(Goal::Settle))).is_empty());
    }
    let mut closed = record();
    closed.closed_at = Some(at(-10));
    let mut world = vacant(vec![]);
    world.journal = Some(closed);
    assert!(mints(&world.run_at(0, wanted(Goal::Settle))).is_empty());
    assert!(world.document().held_before);
}

#[test]
fn without_create_or_switched_off_nothing_is_made() {
    let mut world = vacant(vec![]);
    let ended = world.run_at(0, settle());
    assert_eq!(ended.of(RotationStuck).len(), 1);
    let mut world = vacant(vec![]);
    let mut request = wanted(Goal::Settle);
    request.env.enabled = false;
    assert!(mints(&world.run_at(0, request)).is_empty());
    let mut world = vacant(vec![]);
    let mut request = wanted(by_command());
    request.dry_run = true;
    let RunResult::DryRun(text) = world.run_at(0, request).result else {
        panic!("a dry run")
    };
    assert_eq!(
        text,
        "a: would create the first token (metrics.ingest, logs.ingest)"
    );
}

#[test]
fn p4_another_field_that_someone_writes_meanwhile_is_kept_and_a_value_of_theirs_too() {
    for (theirs, created) in [
        (Version::Empty, true),
        (Version::Holds(value("THEIRS")), false),
    ] {
        let mut world = vacant(vec![]);
        let mut written = false;
        let version = theirs.clone();
        world.fault(move |world, command| {
            if matches!(command, Command::Store { .. }) && !written {
                written = true;
                world.versions.push(version.clone());
            }
            None
        });
        world.add(minted("THEIRS", 9));
        let ended = world.run_at(0, wanted(Goal::Settle));
        assert_eq!(ended.of(SecretCreated).len(), usize::from(created));
        let minted = world
            .tokens
            .values()
            .filter(|token| token.name.contains("fresh"))
            .count();
        assert_eq!(minted, usize::from(created), "{theirs:?}");
        assert_eq!(world.versions.len(), 1 + usize::from(created));
    }
}

#[test]
fn p2_a_token_that_was_made_for_an_empty_path_and_given_up_is_deleted_after_settle() {
    let mut before = record();
    before.current = None;
    before.attempts.attempt = 4;
    before.open = vec![OpenAttempt {
        attempt: 4,
        base: 0,
        since: at(0),
        digest: Some(rotation::marker::NameDigest::of(&marked("job", 4))),
        begin: Default::default(),
        due: None,
        missed: None,
        unknown: Default::default(),
    }];
    let mut world = vacant(vec![]);
    world.journal = Some(before);
    world.cas = 7;
    world.add(minted("LOST", 4));
    // The configuration no longer asks for it.
    let release = || {
        let mut request = request(Goal::Release);
        request.known.listing = None;
        request
    };
    assert!(!world.run_at(5, release()).did(TokenAction::Delete, "LOST"));
    assert!(world.run_at(11, release()).did(TokenAction::Delete, "LOST"));
    assert!(world.document().open.is_empty());
}

#[test]
fn the_next_rotation_applies_the_rights_and_the_name_of_the_configuration() {
    let with = |name: Option<&str>, scopes: &[&str]| {
        let mut request = request(by_schedule(0));
        let mut plan = plan();
        plan.desired.name = name.map(str::to_owned);
        plan.desired.scopes = (!scopes.is_empty()).then(|| strings(scopes));
        request.plan = Arc::new(plan);
        request
    };
    let mut world = World::new(record());
    let ended = world.run_at(1, with(Some("new name"), &["logs.ingest"]));
    let order = mints(&ended)[0];
    assert_eq!(order.name, "new name [dtrotate:inst.sec.4]");
    assert_eq!(order.scopes, ["logs.ingest"]);
    assert_eq!(ended.of(RotationSucceeded).len(), 1);
    // Without them they are cloned, and rights to manage tokens are never given.
    let mut world = World::new(record());
    let ended = world.run_at(1, with(None, &[]));
    assert_eq!(mints(&ended)[0].scopes, ["metrics.read"]);
    let mut world = World::new(record());
    let ended = world.run_at(1, with(None, &["apiTokens.write"]));
    assert!(mints(&ended).is_empty());
    assert_eq!(
        world.document().stuck().unwrap().reason,
        Reason::TokenManages
    );
    // They need no one's confirmation where the old token is gone (rule A3).
    let mut world = World::new(record());
    world.tokens.remove(&id("CUR"));
    let mut request = with(None, &["logs.ingest"]);
    request.goal = by_command();
    let ended = world.run_at(1, request);
    assert_eq!(mints(&ended)[0].scopes, ["logs.ingest"]);
}

#[test]
fn a_failed_creation_waits_and_a_refused_one_is_not_repeated_by_every_run() {
    let refusing = |world: &mut World| {
        world.fault(|_, command| match command {
            Command::Mint(_) => Some(Outcome::Minted(Err(crate::builders::dynatrace(
                rotation::error::ErrorKind::Refused,
            )))),
            _ => None,
        });
    };
    let mut world = vacant(vec![]);
    refusing(&mut world);
    assert_eq!(mints(&world.run_at(0, wanted(Goal::Settle))).len(), 1);
    assert_eq!(
        world.document().stuck().unwrap().reason,
        Reason::MintRefused
    );
    assert!(mints(&world.run_at(1, wanted(Goal::Settle))).is_empty());
    // A due time, a person or a change tries again.
    assert_eq!(mints(&world.run_at(2, wanted(by_schedule(1)))).len(), 1);
    world.fault = None;
    assert_eq!(
        world
            .run_at(3, wanted(by_command()))
            .of(SecretCreated)
            .len(),
        1
    );
}

#[test]
fn drift_names_what_differs() {
    let desired = Desired {
        name: Some("job".into()),
        scopes: Some(strings(&["a", "b"])),
        create: false,
    };
    assert_eq!(drift(&desired, &strings(&["b", "a"]), "job"), None);
    assert_eq!(drift(&Desired::default(), &strings(&["b"]), "x"), None);
    let found = drift(&desired, &strings(&["b", "c"]), "old").unwrap();
    assert_eq!(
        found.to_string(),
        "it lacks a; it has c in addition; its name is \"old\""
    );
    assert_eq!(
        found,
        Drift {
            missing: strings(&["a"]),
            surplus: strings(&["c"]),
            name: Some("old".into()),
        }
    );
}
