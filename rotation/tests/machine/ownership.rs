//! Rule A2: what a document says about a token does not prove that it may be ended.

use std::sync::Arc;

use rotation::command::{Command, Outcome, RunResult, TokenAction};
use rotation::event::{EventName, Level};
use rotation::marker::{Epoch, Marker, NameDigest};
use rotation::record::{EntryReason, Origin, Retiring, RetiringState};
use rotation::request::{CurrentTokens, Goal, RunRequest};
use rotation::token::TokenInfo;

use crate::builders::{at, id, marked, minted, plain, request, retiring, settle, value};
use crate::world::{Version, World};

/// An entry as an attacker writes it: due, in any state, with every kind of claimed origin.
fn edited(token: &TokenInfo, state: RetiringState, origin: Origin, digest: bool) -> Retiring {
    let digest = digest.then(|| NameDigest::of(&token.name));
    Retiring {
        origin,
        digest,
        ..retiring(token, state, -1000, -10)
    }
}

fn every_edit(token: &TokenInfo) -> Vec<Retiring> {
    use RetiringState::{Deleting, Disabling, Grace, Quarantine};
    let mut entries = vec![];
    for state in [Grace, Disabling, Quarantine, Deleting] {
        for origin in [Origin::Marker, Origin::Version(1), Origin::Version(2)] {
            for digest in [false, true] {
                entries.push(edited(token, state.clone(), origin.clone(), digest));
            }
        }
    }
    entries
}

/// Runs over a document that was edited to retire `token`: it is blocked with one ERROR, and nothing is done to it.
fn is_never_touched(token: &TokenInfo, request: &RunRequest, put: impl Fn(&mut World)) {
    for entry in every_edit(token) {
        let mut world = World::with_retiring(vec![entry.clone()]);
        world.add(token.clone());
        put(&mut world);
        let mut errors = vec![];
        for second in [0, 1, 4000, 8000] {
            let ended = world.run_at(second, request.clone());
            assert_eq!(ended.effects(), Vec::<&Command>::new(), "{entry:?}");
            errors.extend(ended.errors());
        }
        assert_eq!(errors, [EventName::RetirementBlocked], "{entry:?}");
        let failure = world.document().retiring[0].failure.clone().unwrap();
        assert_eq!(failure.reason, EntryReason::Unproven);
        assert!(
            failure.message.contains("dtrotate forget a --token"),
            "{}",
            failure.message
        );
        assert_eq!(world.tokens[&token.id], *token);
    }
}

#[test]
fn a2_a_strangers_token_is_never_touched() {
    is_never_touched(&plain("STRANGER", "payments"), &settle(), |_| {});
}

#[test]
fn a2_a_token_whose_id_a_person_wrote_into_a_version_is_not_proven_by_it() {
    is_never_touched(&plain("STRANGER", "payments"), &settle(), |world| {
        world.versions[0] = Version::Holds("dt0c01.STRANGER.junk".into());
    });
}

#[test]
fn a2_a_personal_token_is_never_touched_whatever_its_name() {
    for name in ["mine".to_owned(), marked("job", 2)] {
        let token = TokenInfo {
            personal: true,
            ..plain("PERSONAL", &name)
        };
        is_never_touched(&token, &settle(), |_| {});
    }
}

#[test]
fn a2_a_management_token_is_never_touched_even_if_its_value_was_in_a_version() {
    let token = plain("MANAGER", "dtrotate itself");
    let mut request = settle();
    request.env.management_tokens = Arc::new(vec![id("MANAGER")]);
    is_never_touched(&token, &request, |world| {
        world.versions[0] = Version::Holds(value("MANAGER"));
    });
    let with_rights = TokenInfo {
        scopes: vec!["apiTokens.write".into()],
        ..minted("MANAGER", 2)
    };
    is_never_touched(&with_rights, &settle(), |world| {
        world.versions[0] = Version::Holds(value("MANAGER"));
    });
}

#[test]
fn a2_a_token_with_another_secrets_marker_is_never_touched() {
    for (installation, secret) in [("inst", "other"), ("elsewhere", "sec")] {
        let marker = Marker {
            epoch: Epoch {
                installation: installation.into(),
                secret: secret.into(),
            },
            attempt: 2,
        };
        let token = plain("OTHERS", &marker.name("job", 100));
        is_never_touched(&token, &settle(), |world| {
            world.versions[0] = Version::Holds(value("OTHERS"));
        });
    }
}

#[test]
fn a2_another_secrets_current_token_is_left_alone() {
    for entry in every_edit(&minted("OLD", 2)) {
        let mut world = World::with_retiring(vec![entry]);
        let mut request = settle();
        let mut current = CurrentTokens::default();
        current.insert(id("OLD"), vec!["b".into()]);
        request.env.current_tokens = Arc::new(current);
        // Said once, and shown for as long as it lasts.
        for (second, said) in [(0, 1), (500, 0), (4000, 0)] {
            let ended = world.run_at(second, request.clone());
            assert_eq!(ended.effects(), Vec::<&Command>::new());
            assert_eq!(ended.events(), vec![EventName::TokenShared; said]);
            let shared = world.entry("OLD").shared().cloned().unwrap();
            assert_eq!(shared.since, at(0));
            assert!(shared.message.contains("current token of b"));
        }
        assert!(world.token("OLD").enabled);
        // The other secret was rotated.
        request.env.current_tokens = Arc::default();
        let ended = world.run_at(8000, request);
        assert_eq!(ended.reports[0].event, EventName::TokenShared);
        assert_eq!(ended.reports[0].level, Level::Info);
        assert!(
            world
                .document()
                .retiring(&id("OLD"))
                .is_none_or(|it| it.shared().is_none())
        );
    }
}

#[test]
fn a2_a_first_token_without_marker_is_proven_by_its_value_in_a_version() {
    let first = plain("OLD", "made by hand");
    let entry = edited(&first, RetiringState::Grace, Origin::Version(1), false);
    let mut world = World::with_retiring(vec![entry]);
    world.add(first);
    let ended = world.run_at(0, settle());
    assert!(ended.did(TokenAction::Disable, "OLD"));
    assert_eq!(ended.errors(), []);
    let ended = world.run_at(200, settle());
    assert!(ended.did(TokenAction::Delete, "OLD"));
    assert!(!world.tokens.contains_key(&id("OLD")));
}

/// A legacy value does not show whose it is: only its look-up shows it.
#[test]
fn a2_a_legacy_value_proves_the_token_that_it_is_and_no_other() {
    for (owner, proven) in [("LEGACY", true), ("ANOTHER", false)] {
        let first = plain("LEGACY", "made by hand");
        let entry = edited(&first, RetiringState::Grace, Origin::Version(1), false);
        let mut world = World::with_retiring(vec![entry]);
        world.add(first);
        world.add(plain("ANOTHER", "somebody's"));
        world.versions[0] = Version::Holds("opaque-value".into());
        world.values.insert("opaque-value".into(), id(owner));
        let ended = world.run_at(0, settle());
        assert_eq!(ended.did(TokenAction::Disable, "LEGACY"), proven, "{owner}");
        assert!(world.token("ANOTHER").enabled);
    }
}

/// Such a look-up counts when a second one equals it: the answer could be another request's.
#[test]
fn a10_an_opaque_value_of_an_older_version_is_looked_up_twice() {
    let named = plain("LEGACY", "made by hand");
    let entry = edited(&named, RetiringState::Grace, Origin::Version(1), false);
    let mut world = World::with_retiring(vec![entry]);
    world.add(named.clone());
    world.add(plain("ANOTHER", "somebody's"));
    world.versions[0] = Version::Holds("opaque-value".into());
    world.values.insert("opaque-value".into(), id("ANOTHER"));
    let mut swapped = Some(named);
    world.fault(move |_, command| match command {
        Command::LookUpVersion(1) => swapped.take().map(|it| Outcome::VersionValue(Ok(it))),
        _ => None,
    });
    let ended = world.run_at(0, settle());
    assert_eq!(ended.effects(), Vec::<&Command>::new());
    assert_eq!(ended.errors(), [EventName::RetirementBlocked]);
}

#[test]
fn a2_a_marked_token_whose_name_was_changed_is_not_proven_by_its_number() {
    let mut renamed = minted("OLD", 2);
    let entry = retiring(&renamed, RetiringState::Grace, -1000, -10);
    renamed.name = marked("taken over by team x", 2);
    let mut world = World::with_retiring(vec![entry]);
    world.versions[0] = Version::Pruned;
    world.add(renamed);
    let ended = world.run_at(0, settle());
    assert_eq!(ended.errors(), [EventName::RetirementBlocked]);
    assert!(world.token("OLD").enabled);
}

#[test]
fn a2_forget_drops_an_entry_that_cannot_be_proven_and_touches_nothing() {
    let stranger = plain("STRANGER", "payments");
    let entry = edited(&stranger, RetiringState::Grace, Origin::Marker, true);
    let mut world = World::with_retiring(vec![entry]);
    world.add(stranger.clone());
    world.run_at(0, settle());
    let ended = world.run_at(5, request(Goal::Forget(id("STRANGER"))));
    assert_eq!(ended.result, RunResult::Done { wake: None });
    assert_eq!(ended.effects(), Vec::<&Command>::new());
    assert_eq!(
        (ended.reports.len(), ended.reports[0].level),
        (1, Level::Info)
    );
    assert_eq!(world.document().retiring, []);
    let ended = world.run_at(6, request(Goal::Forget(id("STRANGER"))));
    assert!(matches!(ended.result, RunResult::Refused(why) if why.contains("not among")));
    assert_eq!(world.tokens[&id("STRANGER")], stranger);
}

/// A forgotten token that bears our marker does not come back by the next listing.
#[test]
fn a2_a_forgotten_token_stays_forgotten() {
    let mut unknown = minted("OLD", 2);
    let entry = retiring(&unknown, RetiringState::Grace, -1000, 500);
    unknown.name = marked("job", 2);
    let mut world = World::with_retiring(vec![entry]);
    world.run_at(0, request(Goal::Forget(id("OLD"))));
    let request = crate::identity::sweep(&world, 10);
    let ended = world.run_at(10, request);
    assert_eq!(
        (world.document().retiring.len(), ended.reports.len()),
        (0, 0)
    );
}

/// Between the proof and the act under the claim nothing is taken for granted: a run that lost its memory proves again.
#[test]
fn a2_a_run_that_lost_its_memory_under_the_claim_to_disable_proves_again() {
    use rotation::command::Outcome;
    use rotation::error::ErrorKind;
    let mut world = World::with_retiring(vec![retiring(
        &minted("OLD", 2),
        RetiringState::Grace,
        -1000,
        -10,
    )]);
    let mut lied = false;
    world.fault(move |world, command| match command {
        Command::WriteJournal { record, .. } if record.claim.is_some() && !lied => {
            lied = true;
            let _ = world.perform(command);
            world.token("OLD").name = "taken over by team x".into();
            world.versions[0] = Version::Pruned;
            Some(Outcome::Written(Err(crate::builders::vault(
                ErrorKind::Conflict,
            ))))
        }
        _ => None,
    });
    let ended = world.run_at(0, settle());
    assert!(world.token("OLD").enabled);
    assert_eq!(ended.errors(), [EventName::RetirementBlocked]);
    assert_eq!(world.document().claim, None);
}
