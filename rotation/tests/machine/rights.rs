//! Rule A3: the rights of a new token come from a token that was read in this run, or a person confirmed the recorded ones.

use rotation::command::{Command, RunResult};
use rotation::event::EventName;
use rotation::record::{Origin, Reason, RetiringState, Trigger};
use rotation::request::{Goal, RotationRequest, RunRequest};
use rotation::token::TokenInfo;

use std::sync::Arc;

use crate::builders::{
    by_command, by_schedule, id, minted, plain, plan_with, record, request, retiring, value,
};
use crate::world::{Ended, World};

fn confirmed() -> RunRequest {
    request(Goal::Rotate(RotationRequest {
        due: None,
        trigger: Trigger::Command,
        accept_recorded_rights: true,
    }))
}

/// The current token is gone, and the document says that it had these rights.
fn recorded(scopes: &[&str]) -> World {
    let mut before = record();
    let current = before.current.as_mut().unwrap();
    current.scopes = scopes.iter().map(|&scope| scope.to_owned()).collect();
    let mut world = World::new(before);
    world.tokens.remove(&id("CUR"));
    world
}

fn minted_scopes(ended: &Ended) -> Vec<Vec<String>> {
    let orders = ended.commands.iter().filter_map(|command| match command {
        Command::Mint(order) => Some(order.scopes.clone()),
        _ => None,
    });
    orders.collect()
}

fn failed(ended: &Ended) -> Option<Reason> {
    match &ended.result {
        RunResult::Failed { reason, .. } => Some(reason.clone()),
        _ => None,
    }
}

#[test]
fn k2_recorded_rights_to_manage_tokens_are_never_minted_into_an_ordinary_secret() {
    for scope in ["apiTokens.write", "TenantTokenManagement"] {
        for request in [request(by_command()), confirmed(), request(by_schedule(-1))] {
            let mut world = recorded(&["metrics.read", scope]);
            let ended = world.run_at(0, request);
            assert_eq!(minted_scopes(&ended), Vec::<Vec<String>>::new());
            assert_eq!(failed(&ended), Some(Reason::TokenUnknown));
            assert_eq!(ended.events(), [EventName::RotationStuck]);
        }
    }
    // The management token's own secret.
    let mut world = recorded(&["apiTokens.write"]);
    let mut request = confirmed();
    request.plan = Arc::new(plan_with(|plan| plan.manages_tokens = true));
    let ended = world.run_at(0, request);
    assert_eq!(minted_scopes(&ended), [["apiTokens.write"]]);
}

#[test]
fn a3_recorded_rights_are_used_only_when_a_person_confirmed_them() {
    let mut world = recorded(&["everything.write"]);
    let ended = world.run_at(0, request(by_command()));
    assert_eq!(
        (ended.mints(), failed(&ended)),
        (0, Some(Reason::TokenUnknown))
    );
    let failure = world.document().health.failure.clone().unwrap();
    assert!(
        failure.message.contains("everything.write"),
        "{}",
        failure.message
    );
    assert!(
        failure.message.contains("dtrotate rotate a --yes"),
        "{}",
        failure.message
    );
    let ended = world.run_at(5, confirmed());
    assert_eq!(minted_scopes(&ended), [["everything.write"]]);
    assert!(world.document().is_current(&id("NEW1")));
}

/// A person put a former value back whose token is gone for good.
#[test]
fn a_value_that_nobody_knows_is_replaced_when_a_person_says_so() {
    let mut world = World::new(record());
    world.edit().retiring = vec![retiring(&minted("OLD", 2), RetiringState::Grace, -10, 900)];
    world.token("OLD").scopes = vec!["logs.read".into()];
    world.put(value("DEAD"));
    for request in [request(by_schedule(-1)), request(by_command())] {
        let ended = world.run_at(0, request);
        assert_eq!(
            (ended.mints(), failed(&ended)),
            (0, Some(Reason::TokenUnknown))
        );
    }
    let failure = world.document().health.failure.clone().unwrap();
    assert!(
        failure.message.contains("dtrotate rotate a --yes"),
        "{}",
        failure.message
    );
    let ended = world.run_at(5, confirmed());
    assert_eq!(
        minted_scopes(&ended),
        [["metrics.read"]],
        "as the message says"
    );
    assert!(world.document().is_current(&id("NEW1")));
    assert!(
        world.document().retiring(&id("CUR")).is_some(),
        "it is not lost"
    );
}

#[test]
fn a3_rights_come_from_a_proven_retiring_token_before_the_document() {
    let mut world = recorded(&["everything.write"]);
    // The first entry is a stranger's: it is no source of rights.
    let stranger = TokenInfo {
        scopes: vec!["strangers.right".into()],
        ..plain("STRANGER", "payments")
    };
    world.add(stranger.clone());
    let entry = |token: &TokenInfo| retiring(token, RetiringState::Grace, 0, 900);
    for entries in [
        vec![entry(&stranger), entry(&minted("OLD", 2))],
        vec![entry(&minted("OLD", 2)), entry(&stranger)],
    ] {
        let mut world = World::new(world.document().clone());
        world.add(stranger.clone());
        world.tokens.remove(&id("CUR"));
        world.edit().retiring = entries;
        let ended = world.run_at(0, request(by_command()));
        assert_eq!(minted_scopes(&ended), [["metrics.read"]]);
        assert!(world.document().is_current(&id("NEW1")));
        assert_eq!(
            world.document().retiring(&id("CUR")),
            None,
            "it is gone: nothing retires"
        );
    }
}

/// Two entries that prove nothing: each is read once, and the document is all there is.
#[test]
fn a3_unproven_retiring_tokens_are_no_source_of_rights_and_each_is_read_once() {
    let mut world = recorded(&["metrics.read"]);
    let strangers = ["S1", "S2", "S3"].map(|name| plain(name, "payments"));
    for stranger in &strangers {
        world.add(stranger.clone());
        let mut entry = retiring(stranger, RetiringState::Quarantine, 0, 900);
        entry.origin = Origin::Marker;
        world.edit().retiring.push(entry);
    }
    let ended = world.run_at(0, request(by_command()));
    assert_eq!(
        (ended.mints(), failed(&ended)),
        (0, Some(Reason::TokenUnknown))
    );
    for stranger in &strangers {
        let read = Command::LookUp(stranger.id.clone());
        assert!(
            ended.count(|it| *it == read) <= 3,
            "{:?}",
            ended.commands.len()
        );
    }
}

#[test]
fn a3_a_schedule_does_not_replace_a_token_that_is_gone() {
    let mut world = recorded(&["metrics.read"]);
    let ended = world.run_at(0, request(by_schedule(-1)));
    assert_eq!(
        (ended.mints(), failed(&ended)),
        (0, Some(Reason::TokenUnknown))
    );
}

#[test]
fn a3_what_the_document_says_of_a_token_that_exists_counts_for_nothing() {
    let mut before = record();
    let current = before.current.as_mut().unwrap();
    current.scopes = vec!["apiTokens.write".into()];
    current.name_base = "another name".into();
    let mut world = World::new(before);
    let ended = world.run_at(0, request(by_schedule(-1)));
    assert_eq!(minted_scopes(&ended), [["metrics.read"]]);
    assert!(world.token("NEW1").name.starts_with("job ["));
}
