//! Words of a newer version: they are carried over unchanged, and nothing is done because of them.

use serde_json::{Value, json};

use rotation::command::{Command, RunResult};
use rotation::event::EventName;
use rotation::record::{EntryFailure, EntryReason, Reason, Record, RetiringState};
use rotation::request::{Goal, RunRequest};

use crate::builders::{
    abandoned_rotation, at, by_schedule, id, minted, record, request, retiring, settle, stuck,
    value,
};
use crate::identity::sweep;
use crate::world::{Ended, World};

/// The document as a newer version wrote it: with this word at this place.
fn with_word(document: &Record, place: &str, word: Value) -> Record {
    let mut value = serde_json::to_value(document).unwrap();
    *value.pointer_mut(place).expect(place) = word;
    serde_json::from_value(value).unwrap_or_else(|error| panic!("{place}: {error}"))
}

/// OLD is due, in a state that only a newer version knows; OLDER is due as usual.
fn old_in_a_newer_state() -> World {
    let mut before = record();
    before.retiring = vec![
        retiring(&minted("OLD", 2), RetiringState::Grace, -1000, -10),
        retiring(&minted("OLDER", 1), RetiringState::Grace, -1000, -10),
    ];
    let mut world = World::new(with_word(&before, "/retiring/0/state", json!("revoked")));
    world.add(minted("OLDER", 1));
    world
}

fn shown(document: &Record) -> Value {
    let mut document = serde_json::to_value(document).unwrap();
    document["retiring"][0].take()
}

fn is_done(ended: &Ended) {
    assert!(
        matches!(ended.result, RunResult::Done { .. }),
        "{:?}",
        ended.result
    );
}

#[test]
fn a_retirement_in_an_unknown_state_is_left_alone_and_shown_while_the_others_retire() {
    let mut world = old_in_a_newer_state();
    let before = shown(world.document());
    for (second, goal) in [
        (0, Goal::Settle),
        (1, by_schedule(0)),
        (2, Goal::Undo(None)),
        (300, Goal::Settle),
        (400, Goal::Release),
    ] {
        world.run_at(second, request(goal));
        assert_eq!(shown(world.document()), before, "{second}");
    }
    // A sweep knows it: it is not put into grace a second time.
    let request = sweep(&world, 500);
    is_done(&world.run_at(500, request));
    assert_eq!(shown(world.document()), before);
    assert!(world.tokens.contains_key(&id("OLD")) && world.token("OLD").enabled);
    assert!(!world.tokens.contains_key(&id("OLDER")), "it was deleted");

    let problems = world.entry("OLD").problems("a");
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].event, EventName::RetirementBlocked.as_str());
    assert!(
        problems[0].message.contains("newer version")
            && problems[0]
                .message
                .contains("dtrotate forget a --token dt0c01.OLD"),
        "{}",
        problems[0].message
    );
}

#[test]
fn a_retirement_in_an_unknown_state_ends_no_run_early_and_wakes_nobody() {
    let mut world = old_in_a_newer_state();
    world.edit().retiring.truncate(1);
    let ended = world.run_at(0, settle());
    assert_eq!(ended.result, RunResult::Done { wake: None });
    assert_eq!(ended.effects(), Vec::<&Command>::new());
    // What a newer version means by its times is not judged.
    let far = json!("2999-01-01T00:00:00Z");
    let document = with_word(world.document(), "/retiring/0/due", far);
    is_done(&World::new(document).run_at(0, settle()));
}

#[test]
fn a_person_drops_a_retirement_in_an_unknown_state() {
    let mut world = old_in_a_newer_state();
    is_done(&world.run_at(0, request(Goal::Forget(id("OLD")))));
    assert!(world.document().retiring(&id("OLD")).is_none());
    assert!(world.token("OLD").enabled);
}

#[test]
fn a_token_in_an_unknown_state_that_is_put_back_is_neither_enabled_nor_replaced() {
    for goal in [Goal::Settle, by_schedule(99)] {
        let mut world = old_in_a_newer_state();
        world.token("OLD").enabled = false;
        world.put(value("OLD"));
        let before = shown(world.document());
        let mut request = request(goal);
        request.hints.reread_secret = true;
        let ended = world.run_at(100, request);
        assert!(
            matches!(&ended.result, RunResult::JournalUnreadable(why) if why.contains("dt0c01.OLD") && why.contains("newer version")),
            "{:?}",
            ended.result
        );
        assert_eq!(ended.effects(), Vec::<&Command>::new());
        assert_eq!(shown(world.document()), before);
    }
}

#[test]
fn an_unknown_claim_is_waited_for_and_never_taken_over() {
    let mut before = record();
    before.claim = Some(abandoned_rotation(4, 2));
    before.attempts.attempt = 4;
    for (place, word) in [
        ("/claim/work", json!({"revoke": {"id": "dt0c01.CUR"}})),
        ("/claim/work", json!("re_date")),
        ("/claim/work/rotate/trigger", json!("compromised")),
    ] {
        let document = with_word(&before, place, word);
        let written = serde_json::to_value(&document).unwrap();
        let mut world = World::new(document);
        let mut other = request(by_schedule(0));
        other.holder.instance = "another".into();
        let ended = world.run_at(0, other.clone());
        let RunResult::ClaimedElsewhere { observation, .. } = ended.result else {
            panic!("{:?}", ended.result);
        };
        other.known.observation = Some(observation);
        // A restart of the same name has nothing to wait for, and neither has another when the claim has lapsed.
        for (second, request) in [(1, request(by_schedule(0))), (1000, other)] {
            let ended = world.run_at(second, request);
            assert!(
                matches!(&ended.result, RunResult::JournalUnreadable(why) if why.contains("newer version")),
                "{place}: {:?}",
                ended.result
            );
            let sent = ended.count(|it| !matches!(it, Command::ReadJournal));
            assert_eq!(sent, 0, "{:?}", ended.commands);
        }
        assert_eq!(serde_json::to_value(world.document()).unwrap(), written);
    }
}

/// A word that says why something failed, or where a token came from, is no reason to act: it is kept, and the next step is proven as ever.
#[test]
fn unknown_reasons_and_origins_are_kept_until_they_are_over() {
    let mut before = record();
    before.health.failure = Some(stuck(Reason::MintRefused));
    let mut old = retiring(&minted("OLD", 2), RetiringState::Grace, -1000, -10);
    old.failure = Some(EntryFailure {
        reason: EntryReason::Refused,
        message: "a sentence".into(),
        since: at(-50),
        attempts: 1,
    });
    before.retiring = vec![old];
    let word = json!("quota");
    let mut document = with_word(&before, "/failure/reason", word.clone());
    document = with_word(&document, "/retiring/0/failure/reason", word.clone());
    document = with_word(&document, "/retiring/0/proof", json!({"listing": 7}));
    let mut world = World::new(document);
    assert_eq!(world.document().stuck().unwrap().reason.as_str(), "quota");
    let problems = world.entry("OLD").problems("a");
    assert_eq!(problems[0].message, "a sentence");

    is_done(&world.run_at(0, settle()));
    let after = serde_json::to_value(world.document()).unwrap();
    assert_eq!(after["retiring"][0]["state"], "quarantine", "{after}");
    assert_eq!(after["retiring"][0]["proof"], json!({"listing": 7}));
    assert_eq!(after["failure"]["reason"], word);
    // A rotation that succeeds resolves it.
    let ended = world.run_at(10, request(by_schedule(9)));
    assert_eq!(ended.events(), [EventName::RotationSucceeded]);
    assert_eq!(world.document().health.failure, None);
}

/// The secret left the configuration of a newer version: what it says about tokens that are still used is treated with most care.
#[test]
fn an_unknown_word_for_tokens_still_used_holds_them() {
    let mut before = record();
    before.policy = Some(rotation::plan::RetirementPolicy::of(
        &crate::builders::plan(),
    ));
    let old = retiring(&minted("OLD", 2), RetiringState::Grace, -1000, -10);
    before.retiring = vec![old];
    let document = with_word(&before, "/terms/still_used", json!("ask"));
    let mut world = World::new(document);
    let plan = world.document().release_plan(
        "prod",
        "prod",
        std::time::Duration::from_secs(10),
        std::time::Duration::from_secs(60),
    );
    let since = at(-100);
    world.edit().retiring[0].since = since;
    world.token("OLD").last_used = Some(at(-1));
    let ended = world.run_at(
        0,
        RunRequest {
            plan: std::sync::Arc::new(plan),
            ..request(Goal::Release)
        },
    );
    is_done(&ended);
    assert!(world.token("OLD").enabled);
    assert_eq!(ended.of(EventName::RetirementHeld).len(), 1);
    let after = serde_json::to_value(world.document()).unwrap();
    assert_eq!(after["terms"]["still_used"], "ask");
}
