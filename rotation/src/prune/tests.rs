use jiff::SignedDuration;

use super::super::token::Traits;
use super::*;

const INSTALLATION: &str = "k3v9";
const URL: &str = "https://prod";
const DAY: Duration = Duration::from_secs(24 * 3600);
const SETTLE: Duration = Duration::from_secs(900);

fn day(number: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * number)
}

fn marked_name() -> String {
    mark(INSTALLATION, day(100)).name("job", 100)
}

/// Ordered on day 100, in quarantine since.
fn token() -> PrunedToken {
    PrunedToken {
        id: TokenId::new("dt0c01.OLD"),
        service: "prod".into(),
        base_url: URL.into(),
        name: "job".into(),
        enabled: true,
        digest: Some(NameDigest::of(&marked_name())),
        by: "ada".into(),
        at: day(100),
        state: PrunedState::Quarantine,
        since: day(100),
        missing_since: None,
        unknown: Map::new(),
    }
}

#[test]
fn p4_a_token_that_is_brought_back_keeps_a_name_that_a_person_gave_it() {
    let back = |name: &str| token().name_back(name, INSTALLATION);
    assert_eq!(back(&marked_name()).as_deref(), Some("job"));
    for theirs in ["job", "job, keep it!", "job [dtrotate:other.prune.8640000]"] {
        assert_eq!(back(theirs), None, "{theirs}");
    }
    // The base is theirs, and the mark is ours.
    let theirs = marked_name().replace("job", "job of ada");
    assert_eq!(back(&theirs).as_deref(), Some("job of ada"));
    let unmarked = PrunedToken {
        digest: None,
        ..token()
    };
    assert_eq!(unmarked.name_back("job", INSTALLATION), None);
}

fn disabled() -> TokenInfo {
    TokenInfo {
        id: TokenId::new("dt0c01.OLD"),
        name: marked_name(),
        enabled: false,
        scopes: vec!["metrics.read".into()],
        owner: Some("bob".into()),
        personal: false,
        created: Some(day(1)),
        expires: None,
        last_used: None,
        last_used_ip: None,
        traits: Traits::default(),
    }
}

fn on(now: Timestamp) -> PruneContext<'static> {
    PruneContext {
        now,
        clock_agrees: true,
        installation: INSTALLATION,
        base_url: Some(URL),
        quarantine: 7 * DAY,
        settle: SETTLE,
        holder: None,
        is_management: false,
        confirmed: false,
    }
}

fn next(token: &PrunedToken, info: &TokenInfo, cx: &PruneContext<'_>) -> PruneStep {
    token.next(Some(info), cx)
}

#[test]
fn p3_a_token_is_deleted_after_its_quarantine_and_not_before() {
    let (token, info) = (token(), disabled());
    let before = on(day(106));
    assert_eq!(next(&token, &info, &before), PruneStep::Wait(day(107)));
    assert_eq!(next(&token, &info, &on(day(107))), PruneStep::Delete);
    let skewed = PruneContext {
        clock_agrees: false,
        ..on(day(107))
    };
    assert!(matches!(next(&token, &info, &skewed), PruneStep::Wait(_)));
}

#[test]
fn p3_no_edit_of_the_document_shortens_the_quarantine() {
    let mut token = token();
    (token.at, token.since) = (day(1), day(1));
    for state in [PrunedState::Quarantine, PrunedState::Deleting] {
        token.state = state;
        let step = next(&token, &disabled(), &on(day(101)));
        assert_eq!(step, PruneStep::Wait(day(107)), "{state:?}");
    }
}

#[test]
fn p4_a_token_that_was_used_after_it_was_pruned_is_left_alone() {
    let mut used = disabled();
    used.last_used = Some(day(99));
    assert_eq!(next(&token(), &used, &on(day(200))), PruneStep::Delete);
    used.last_used = Some(day(101));
    let step = next(&token(), &used, &on(day(200)));
    assert!(
        matches!(&step, PruneStep::Block(why) if why.contains("was used")),
        "{step:?}"
    );
}

#[test]
fn p9_a_document_enables_no_token_that_someone_else_disabled() {
    let mut entry = token();
    entry.state = PrunedState::Restoring;
    let mut theirs = disabled();
    theirs.name = "job".into();
    let step = next(&entry, &theirs, &on(day(200)));
    assert!(matches!(step, PruneStep::Block(_)), "{step:?}");
    // Without marks nothing proves it.
    entry.digest = None;
    let step = next(&entry, &theirs, &on(day(200)));
    assert!(matches!(step, PruneStep::Block(_)), "{step:?}");
}

#[test]
fn p9_what_does_not_bear_the_mark_is_left_alone_whatever_the_document_says() {
    let copy = format!("Duplicate of: {}", marked_name());
    let other = mark("zzzz", day(100)).name("job", 100);
    let secrets = "job [dtrotate:k3v9.a7q2.3]".to_owned();
    let later = mark(INSTALLATION, day(101)).name("job", 100);
    for name in ["job".to_owned(), copy, other, secrets, later] {
        let mut edited = disabled();
        edited.name.clone_from(&name);
        for state in [PrunedState::Quarantine, PrunedState::Deleting] {
            let mut token = token();
            token.state = state;
            let step = next(&token, &edited, &on(day(200)));
            assert!(matches!(step, PruneStep::Block(_)), "{name}: {step:?}");
        }
        // A digest that was forged with the entry does not help a name of another mark.
        let mut forged = token();
        forged.digest = Some(NameDigest::of(&name));
        let step = next(&forged, &edited, &on(day(200)));
        let is_ours = marked_at(&name, INSTALLATION).is_some();
        assert_eq!(step == PruneStep::Delete, is_ours, "{name}: {step:?}");
    }
}

#[test]
fn p9_a_token_that_is_needed_is_left_alone_although_it_bears_the_mark() {
    let cx = on(day(200));
    let held = PruneContext {
        holder: Some("dynatrace/ci"),
        ..cx
    };
    let management = PruneContext {
        is_management: true,
        ..cx
    };
    let moved = PruneContext {
        base_url: Some("https://other"),
        ..cx
    };
    let removed = PruneContext {
        base_url: None,
        ..cx
    };
    for cx in [held, management, moved, removed] {
        let step = next(&token(), &disabled(), &cx);
        assert!(matches!(step, PruneStep::Block(_)), "{step:?}");
    }
    let mut manages = disabled();
    manages.scopes.push("apiTokens.write".into());
    let step = next(&token(), &manages, &cx);
    assert!(matches!(step, PruneStep::Block(_)), "{step:?}");
}

#[test]
fn p4_a_token_that_someone_enabled_again_is_theirs() {
    let mut enabled = disabled();
    enabled.enabled = true;
    for state in [PrunedState::Quarantine, PrunedState::Deleting] {
        let mut token = token();
        token.state = state;
        let step = next(&token, &enabled, &on(day(200)));
        assert_eq!(step, PruneStep::Drop(PruneEnd::TakenBack));
    }
}

#[test]
fn p2_what_a_killed_command_left_is_settled() {
    let mut token = token();
    token.state = PrunedState::Ordered;
    let soon = on(day(100) + SignedDuration::from_secs(5));
    assert_eq!(next(&token, &disabled(), &soon), PruneStep::BeginQuarantine);
    // The call may still be under way.
    let mut untouched = disabled();
    (untouched.name, untouched.enabled) = ("job".into(), true);
    let settled = after(day(100), SETTLE);
    assert_eq!(next(&token, &untouched, &soon), PruneStep::Wait(settled));
    let step = next(&token, &untouched, &on(settled));
    assert_eq!(step, PruneStep::Drop(PruneEnd::NotCarriedOut));
    // The same for the way back.
    token.state = PrunedState::Restoring;
    assert_eq!(
        next(&token, &untouched, &soon),
        PruneStep::Drop(PruneEnd::Restored)
    );
    assert_eq!(next(&token, &disabled(), &soon), PruneStep::Wait(settled));
    assert_eq!(next(&token, &disabled(), &on(settled)), PruneStep::Restore);
    // It was disabled before, so it comes back disabled.
    token.enabled = false;
    untouched.enabled = false;
    let step = next(&token, &untouched, &soon);
    assert_eq!(step, PruneStep::Drop(PruneEnd::Restored));
}

#[test]
fn one_answer_that_a_token_is_not_there_proves_nothing() {
    let mut token = token();
    let cx = on(day(101));
    assert_eq!(token.next(None, &cx), PruneStep::NoteMissing);
    token.missing_since = Some(day(101));
    let settled = after(day(101), SETTLE);
    assert_eq!(token.next(None, &cx), PruneStep::Wait(settled));
    let step = token.next(None, &on(settled));
    assert_eq!(step, PruneStep::Drop(PruneEnd::Gone));
}

#[test]
fn where_tokens_cannot_be_renamed_a_person_confirms_the_deletion() {
    let (mut token, mut info) = (token(), disabled());
    (token.digest, info.name) = (None, "job".into());
    let mut cx = on(day(107));
    assert_eq!(next(&token, &info, &cx), PruneStep::Confirm);
    cx.confirmed = true;
    assert_eq!(next(&token, &info, &cx), PruneStep::Delete);
    cx.now = day(106);
    assert_eq!(next(&token, &info, &cx), PruneStep::Wait(day(107)));
    // That a deletion was begun is what the document says: it is confirmed again.
    token.state = PrunedState::Deleting;
    cx.confirmed = false;
    cx.now = day(107);
    assert_eq!(next(&token, &info, &cx), PruneStep::Confirm);
    info.name = "another".into();
    assert!(matches!(next(&token, &info, &cx), PruneStep::Block(_)));
}

#[test]
fn a_document_keeps_what_a_newer_version_wrote() {
    let text = r#"{"tokens":[],"later":1}"#;
    let record: PruneRecord = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&record).unwrap(), text);
}

#[test]
fn what_changed_after_the_plan_was_made_is_left_alone() {
    let mut planned = disabled();
    (planned.name, planned.enabled) = ("job".into(), true);
    planned.last_used = Some(day(2));
    let order = PruneOrder {
        planned: planned.clone(),
        service: "prod".into(),
        base_url: URL.into(),
        by: "ada".into(),
        name_limit: Some(100),
    };
    assert_eq!(order.changed(&planned), None);
    for change in [
        (|info| info.last_used = Some(day(3))) as fn(&mut TokenInfo),
        |info| info.name = "renamed".into(),
        |info| info.enabled = false,
        |info| info.owner = None,
        |info| info.personal = true,
        |info| info.scopes.push("apiTokens.write".into()),
    ] {
        let mut now = planned.clone();
        change(&mut now);
        assert!(order.changed(&now).is_some());
    }
}
