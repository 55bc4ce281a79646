use std::time::Duration;

use super::super::circuit_breaker::BLIP;
use super::*;

fn services() -> Services {
    Services::new(&["prod".to_owned()], Arc::default())
}

fn failed(kind: ErrorKind) -> CallError {
    CallError::new(Service::Vault, kind, "503")
}

fn kinds(services: &Services) -> Vec<String> {
    let conditions = services.conditions().into_iter();
    conditions.map(|condition| condition.kind).collect()
}

#[test]
fn an_outage_is_a_condition_when_it_is_no_blip_and_one_for_all_secrets() {
    let services = services();
    services.called("prod", "read", None);
    for _ in 0..100 {
        services.called("prod", "read", Some(&failed(ErrorKind::Transient)));
    }
    assert!(services.vault_outage().is_some() && !services.can_start("prod"));
    assert!(kinds(&services).is_empty(), "a blip");
    services.called("prod", "read", None);
    assert_eq!(services.last_vault_outage(), None);
    assert_eq!(services.take_returns(), [(None, Return::AfterBlip)]);

    services.called("prod", "read", Some(&failed(ErrorKind::Transient)));
    services.vault.age(BLIP);
    assert_eq!(kinds(&services), ["vault_unavailable"]);
    let (title, outage) = services.waits_for("prod").unwrap();
    assert!(title == "Vault" && outage.reported);
    services.called("prod", "read", None);
    assert!(kinds(&services).is_empty());
    assert_eq!(services.take_returns(), [(None, Return::AfterOutage)]);
    assert!(services.take_returns().is_empty(), "each is taken once");
    let outage = services.last_vault_outage().unwrap();
    assert!(outage.since.unwrap() <= outage.until);
}

#[test]
fn an_outage_is_not_forgotten_for_a_blip_that_came_after_it() {
    let services = services();
    services.called("prod", "read", Some(&failed(ErrorKind::Transient)));
    services.vault.age(BLIP);
    services.called("prod", "read", None);
    services.called("prod", "read", Some(&failed(ErrorKind::Transient)));
    services.called("prod", "read", None);
    assert_eq!(services.take_returns(), [(None, Return::AfterOutage)]);
}

#[test]
fn a_refused_credential_is_a_condition_at_once_and_a_refusal_of_one_path_is_no_outage() {
    let services = services();
    services.called("prod", "read", None);
    services.called("prod", "read", Some(&failed(ErrorKind::Refused)));
    assert_eq!(services.vault_outage(), None);
    services.called("prod", "read", Some(&failed(ErrorKind::Unauthorized)));
    assert_eq!(kinds(&services), ["vault_unavailable"]);
    // That a node serves does not mean that it accepts the token.
    services.watched(Ok(()));
    assert!(services.vault_outage().is_some());
}

#[test]
fn nobody_knows_when_an_outage_began_that_was_there_at_the_start() {
    let services = services();
    services.called("prod", "journal", Some(&failed(ErrorKind::Transient)));
    services.vault.age(BLIP + Duration::from_secs(1));
    services.called("prod", "journal", None);
    assert_eq!(services.last_vault_outage().unwrap().since, None);
}

#[test]
fn a_refused_call_that_is_followed_by_a_success_hurries_nothing() {
    let services = services();
    services.called("prod", "read", Some(&failed(ErrorKind::Unauthorized)));
    services.called("prod", "read", None);
    assert_eq!(services.take_returns(), [(None, Return::AfterBlip)]);
    assert_eq!(services.last_vault_outage(), None);
}

#[test]
fn a_rate_limit_neither_begins_nor_ends_an_outage() {
    let services = services();
    services.called("prod", "read", Some(&failed(ErrorKind::RateLimited)));
    assert_eq!(services.vault_outage(), None);
    services.called("prod", "read", Some(&failed(ErrorKind::Transient)));
    services.called("prod", "read", Some(&failed(ErrorKind::RateLimited)));
    assert!(services.vault_outage().is_some());
}

#[test]
fn the_sentence_of_an_outage_ends_once() {
    for (what, expected) in [
        ("is the address right?", "right? Rotations wait"),
        ("503", "503. Rotations wait"),
        ("sealed.", "sealed. Rotations wait"),
    ] {
        let services = services();
        let error = CallError::new(Service::Vault, ErrorKind::Unauthorized, what);
        services.called("prod", "read", Some(&error));
        let message = services.conditions().remove(0).message;
        assert!(message.contains(expected), "{message}");
    }
}
