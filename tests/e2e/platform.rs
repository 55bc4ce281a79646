//! Platform tokens: rotated in their account, proven by a trial at their environment, ended by a backstop. Crashes and faults at every call are
//! in `crash` and `faults`.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Value, json};
use simulator::{
    Account, Action, Answer, Change, Operation, PlatformSeed, PlatformToken, Rule, Seed,
};

use crate::commands::flat;
use crate::world::{CLIENT_SCOPES, Issuer, Kind, Site, World, now, until};

async fn world(secrets: usize) -> World {
    World::of(Kind::Platform, Site::new().await, "", secrets).await
}

fn account(world: &World) -> &Account {
    match &world.issuer {
        Issuer::Platform { account, .. } => account,
        _ => panic!("a world of platform tokens"),
    }
}

fn owner(world: &World) -> &str {
    match &world.issuer {
        Issuer::Platform { owner, .. } => owner,
        _ => panic!("a world of platform tokens"),
    }
}

/// What a command wrote, without its line breaks.
async fn current(world: &World, number: usize) -> PlatformToken {
    let id = world.current_id(number).await;
    account(world).token(&id).expect("the current token")
}

#[tokio::test]
async fn p1_to_p3_a_platform_token_is_adopted_rotated_and_retired() {
    let mut world = world(1).await;
    world.set("defaults.quarantine", "600s");
    let old = current(&world, 0).await;
    let (code, text) = world.command(&["check"]).await;
    assert_eq!(code, Some(0), "{text}");
    let text = flat(&text);
    assert!(text.contains("0 errors"), "{text}");
    let daemon = world.start("e2e");
    until("the token to be known", async || {
        world.record(0).await["current"]["id"] == old.id
    })
    .await;
    assert_eq!(world.command(&["rotate", "--all"]).await.0, Some(0));
    let new = current(&world, 0).await;
    assert_ne!(new.id, old.id);
    assert_eq!(
        (&new.owner, &new.scopes, &new.resources, &new.tags),
        (&old.owner, &old.scopes, &old.resources, &old.tags)
    );
    assert!(new.name.starts_with("job 0 [dtrotate:"), "{}", new.name);
    until("the old token to be disabled", async || {
        let token = account(&world).token(&old.id);
        token.is_some_and(|token| !token.enabled && token.expires < old.expires)
    })
    .await;
    // Its backstop is later than its quarantine.
    let ended = account(&world).token(&old.id).expect("it is there").expires;
    assert!(ended > now() + SignedDuration::from_secs(500), "{ended}");
    // Which restores the old expiry.
    until("the journal to know it", async || {
        world.record(0).await["retiring"][0]["state"] == "quarantine"
    })
    .await;
    let (code, text) = world.command(&["undo", &world.secrets[0]]).await;
    assert_eq!(code, Some(0), "{text}");
    let back = current(&world, 0).await;
    // Services keep milliseconds.
    assert_eq!(
        (&back.id, back.expires.as_millisecond()),
        (&old.id, old.expires.as_millisecond())
    );
    assert!(back.enabled);
    drop(daemon);
    world.assert_valid().await;
    assert!(world.errors().is_empty(), "{:?}", world.errors());
}

#[tokio::test]
async fn p2_a_page_in_place_of_the_answer_to_a_deletion_is_not_believed() {
    let world = world(1).await;
    let rule = Rule::on(Operation::DeleteToken);
    let page = Action::Refuse(Answer::status(200).with_body("ok"));
    let fault = account(&world).fault(rule.then(page));
    assert_eq!(world.command(&["rotate", "--all"]).await.0, Some(0));
    let daemon = world.start("e2e");
    until("the old token to be gone", async || {
        fault.fired() == 1 && world.issuer.tokens().len() == 1 && world.is_quiet().await
    })
    .await;
    drop(daemon);
    world.assert_holds().await;
}

#[tokio::test]
async fn p2_a_former_token_ends_at_dynatrace_even_if_dtrotate_never_runs_again() {
    let world = world(1).await;
    world.command(&["rotate", "--all"]).await;
    // The first token bears no marker: only its value proves it, and trying that would look like a use.
    assert_eq!(account(&world).count(Operation::RedateToken), 0);
    let second = current(&world, 0).await;
    world.command(&["rotate", "--all"]).await;
    let daemon = world.start("e2e");
    until("the backstop", async || {
        let token = account(&world).token(&second.id);
        token.is_none_or(|token| token.expires < second.expires)
    })
    .await;
    until("everything to retire", async || {
        world.tokens() == 1 && world.is_quiet().await
    })
    .await;
    drop(daemon);
    world.assert_holds().await;
}

/// Propagation: a new token is not accepted for a while.
#[tokio::test]
async fn p1_a_new_value_is_stored_only_when_it_is_accepted() {
    let world = world(1).await;
    account(&world).configure(|settings| settings.create_lag = Duration::from_secs(3));
    let before = now();
    assert_eq!(world.command(&["rotate", "--all"]).await.0, Some(0));
    assert!(before.duration_until(now()) >= SignedDuration::from_secs(3));
    world.assert_valid().await;
}

/// It says nothing of the value, so nobody needs to choose another trial.
#[tokio::test]
async fn p8_a_page_in_place_of_the_trials_answer_is_tried_again() {
    let world = world(1).await;
    let rule = Rule::on(Operation::GetEnvironment).always();
    let fault = world
        .issuer
        .fault("/platform", rule.then(Action::Refuse(Answer::proxy(404))));
    let (code, text) = world.command(&["rotate", "--all"]).await;
    assert_eq!(code, Some(69), "{text}");
    assert!(text.contains("unavailable"), "{text}");
    fault.remove();
    let (code, text) = world.command(&["rotate", "--all"]).await;
    assert_eq!(code, Some(0), "{text}");
    world.assert_valid().await;
}

/// Whose trial says nothing: its owner has no rights, so old and new value are refused alike.
#[tokio::test]
async fn a_value_that_no_call_can_prove_is_taken_over_by_name_and_accepted_as_listed() {
    let world = world(1).await;
    account(&world).set_policies(owner(&world), &["storage:metrics:write"]);
    let old = current(&world, 0).await;
    let (code, text) = world.command(&["rotate", "--all"]).await;
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains(&format!(
            "dtrotate adopt {} --token {}",
            world.secrets[0], old.id
        )),
        "{text}"
    );
    let wrong = ["adopt", &world.secrets[0], "--token", "dt0s16.ELSE"];
    assert_eq!(world.command(&wrong).await.0, Some(1));
    let adopt = ["adopt", &world.secrets[0], "--token", &old.id];
    let (code, text) = world.command(&adopt).await;
    assert_eq!(code, Some(0), "{text}");
    let (code, text, log) = world.command_and_stderr(&["rotate", "--all"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(log.contains("token_unproven"), "{log}");
    let (_, status) = world.command(&["status", "--json"]).await;
    let status: Value = serde_json::from_str(&status).expect("JSON");
    assert_eq!(
        status["secrets"][0]["current"]["unproven"], true,
        "{status}"
    );
    world.assert_valid().await;
}

#[tokio::test]
async fn a9_a_value_with_somebody_elses_id_is_not_taken_for_their_token() {
    let world = world(1).await;
    let seed = PlatformSeed::new("victim", owner(&world)).environment("abc12345");
    let victim = account(&world).seed(seed);
    world
        .put(0, &format!("{}.{}", victim.id, "A".repeat(64)))
        .await;
    let (code, text) = world.command(&["rotate", "--all"]).await;
    assert_eq!(code, Some(1), "{text}");
    assert!(world.issuer.creates().is_empty());
    let history = account(&world).history();
    assert!(
        history.iter().all(|change| !change.by.is_call()),
        "{history:?}"
    );
}

#[tokio::test]
async fn a_value_of_another_kind_is_refused_before_any_call() {
    let mut world = world(1).await;
    let api = world.dynatrace.seed(Seed::new("api")).value;
    world.put(0, &api).await;
    account(&world).reset_calls();
    let (code, text) = world.command(&["rotate", "--all"]).await;
    assert_eq!(code, Some(1), "{text}");
    let text = flat(&text);
    assert!(text.contains("kind = \"api\""), "{text}");
    let asked = account(&world).calls();
    let asked = asked.iter().filter(|call| call.method != "GET");
    assert_eq!(asked.filter(|call| call.path.contains("/iam/")).count(), 0);
    // And the other way round.
    world = World::new(1).await;
    world.put(0, "dt0s16.ABCDEFGH.SECRET").await;
    let (code, text) = world.command(&["rotate", "--all"]).await;
    assert_eq!(code, Some(1), "{text}");
    let text = flat(&text);
    assert!(text.contains("kind = \"platform\""), "{text}");
}

/// No create is sent at the limit, none is refused where there is room, and what frees a slot lets the rotation go on.
#[tokio::test]
async fn an_owner_at_the_limit_is_reported_with_the_arithmetic_and_served_when_a_slot_is_free() {
    let mut world = world(3).await;
    let other = PlatformSeed::new("of a person", owner(&world));
    let others: Vec<_> = (0..2)
        .map(|_| account(&world).seed(other.clone()))
        .collect();
    account(&world).configure(|settings| settings.service_user_limit = 5);
    world.set("account.main.tokens_per_user", 5);
    let (code, text) = world.command(&["check"]).await;
    assert_eq!(code, Some(1), "{text}");
    let text = flat(&text);
    assert!(
        text.contains("5 of 5 tokens (0 of dtrotate, 5 of others"),
        "{text}"
    );
    let (code, text) = world.command(&["rotate", "--all"]).await;
    assert_eq!(code, Some(1), "{text}");
    let text = flat(&text);
    assert!(text.contains("5 of 5 tokens"), "{text}");
    assert!(world.issuer.creates().is_empty(), "no create at the limit");
    account(&world).delete(&others[0].id);
    let (code, text) = world.command(&["rotate", "--all"]).await;
    assert_eq!(code, Some(1), "one of three: {text}");
    let creates = world.issuer.creates();
    assert_eq!(creates.len(), 1, "{creates:?}");
    assert_eq!(creates[0].status, Some(200));
    world.assert_valid().await;
}

#[tokio::test]
async fn a_refused_oauth_client_is_one_condition_of_the_account() {
    let world = world(3).await;
    account(&world).configure(|settings| settings.access_token_life = Duration::from_secs(3));
    let daemon = world.start("e2e");
    until("the tokens to be known", async || {
        let mut known = 0;
        for number in 0..3 {
            known += usize::from(world.record(number).await["current"].is_object());
        }
        known == 3
    })
    .await;
    let client = account(&world).calls();
    let client = client
        .iter()
        .find_map(|call| call.credential.clone())
        .expect("a client");
    account(&world).delete_client(&client);
    until("one condition", async || {
        daemon.events("dynatrace_unavailable") > 0
    })
    .await;
    assert_eq!(world.errors().len(), 1, "{:?}", world.errors());
    // It is read again when it is refused.
    let newer = account(&world).seed_client(owner(&world), &CLIENT_SCOPES);
    let fields = json!({ "client_id": newer.id, "client_secret": newer.value });
    world.root.put("secret", &world.master, fields).await;
    until("its end", async || daemon.events("dynatrace_available") > 0).await;
    drop(daemon);
}

#[tokio::test]
async fn check_names_the_scope_that_the_client_lacks() {
    let world = world(1).await;
    let client = account(&world).seed_client(owner(&world), &CLIENT_SCOPES[..1]);
    let fields = json!({ "client_id": client.id, "client_secret": client.value });
    world.root.put("secret", &world.master, fields).await;
    let (code, text) = world.command(&["check"]).await;
    assert_eq!(code, Some(1), "{text}");
    let text = flat(&text);
    assert!(
        text.contains("lacks the scope platform-token:tokens:write"),
        "{text}"
    );
}

/// Pages that repeat or stop short prove nothing: what is not in them is not believed to be gone.
#[tokio::test]
async fn p9_a_listing_that_stops_short_is_no_listing() {
    let world = world(2).await;
    account(&world).configure(|settings| settings.page_size = 1);
    assert_eq!(world.command(&["rotate", "--all"]).await.0, Some(0));
    for action in [Action::EndlessPages, Action::ShortList] {
        let fault = account(&world).fault(Rule::on(Operation::ListTokens).always().then(action));
        let (code, text) = world.command(&["rotate", &world.secrets[0]]).await;
        assert_eq!(code, Some(69), "{text}");
        fault.remove();
    }
    world.assert_valid().await;
}

/// A person's copy of our token bears our marker, and is left alone.
#[tokio::test]
async fn p4_a_duplicate_that_a_person_made_is_left_alone() {
    let world = world(1).await;
    world.command(&["rotate", "--all"]).await;
    let new = current(&world, 0).await;
    let copy = account(&world).duplicate(&new.id).expect("a copy");
    let daemon = world.start("e2e");
    until("it to be found", async || daemon.events("orphan_found") > 0).await;
    until("the rest to retire", async || {
        world.tokens() == 2 && world.is_quiet().await
    })
    .await;
    drop(daemon);
    let history = account(&world).history();
    let touched = history.iter().filter(|change| change.token_id == copy.id);
    assert_eq!(
        touched
            .filter(|change| change.change != Change::Created)
            .count(),
        0
    );
}

/// The create that nobody heard of is found by its marker and deleted.
#[tokio::test]
async fn p2_the_token_of_a_lost_answer_is_found_and_deleted() {
    let world = world(1).await;
    account(&world).fault(Rule::on(Operation::CreateToken).then(Action::LoseAnswer));
    assert_eq!(world.command(&["rotate", "--all"]).await.0, Some(0));
    assert_eq!(world.issuer.creates().len(), 2);
    let daemon = world.start("e2e");
    until("all of it to be gone", async || {
        world.tokens() == 1 && world.is_quiet().await
    })
    .await;
    drop(daemon);
    world.assert_holds().await;
}

#[tokio::test]
async fn an_access_token_that_is_refused_is_replaced_once() {
    let world = world(1).await;
    let refusal = Action::Refuse(Answer::status(401));
    let rule = Rule::on(Operation::ListTokens).then(refusal);
    account(&world).fault(rule);
    assert_eq!(world.command(&["rotate", "--all"]).await.0, Some(0));
    let asked = account(&world).count(Operation::IssueAccessToken);
    assert_eq!(asked, 2);
}

/// The end of API tokens in an environment: one condition that says what to do, nothing is ended, and no absence is believed.
#[tokio::test]
async fn p8_the_end_of_the_classic_api_is_one_condition_of_the_environment() {
    for creation_alone in [false, true] {
        let world = World::new(3).await;
        let daemon = world.start("e2e");
        until("the tokens to be known", async || {
            let mut known = 0;
            for number in 0..3 {
                known += usize::from(world.record(number).await["current"].is_object());
            }
            known == 3
        })
        .await;
        world.command(&["rotate", &world.secrets[0]]).await;
        let before = world.dynatrace.history().len();
        world.dynatrace.configure(|settings| match creation_alone {
            true => settings.creation_closed = true,
            false => settings.retire_classic_tokens(),
        });
        if creation_alone {
            let (code, text) = world.command(&["rotate", &world.secrets[1]]).await;
            assert_eq!(code, Some(1), "{text}");
            assert!(flat(&text).contains("kind = \"platform\""), "{text}");
            continue;
        }
        until("the condition", async || {
            daemon.events("classic_api_closed") > 0
        })
        .await;
        until("two more sweeps", async || {
            let calls = world.dynatrace.calls();
            let refused = calls.iter().filter(|call| call.status == Some(400));
            refused.count() > 4
        })
        .await;
        let errors = world.errors();
        assert_eq!(errors.len(), 1, "{errors:?}");
        let message = errors[0]["message"].as_str().unwrap_or_default();
        assert!(message.contains("kind = \"platform\""), "{message}");
        let ended = world.dynatrace.history().into_iter().skip(before);
        let ended = ended.filter(|change| change.by.is_call() && change.change != Change::Disabled);
        assert_eq!(ended.count(), 0, "nothing is deleted");
        drop(daemon);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_an_access_token_of_another_time_is_evidence_of_a_clock_that_is_wrong() {
    let world = world(1).await;
    account(&world).configure(|settings| settings.access_token_life = Duration::from_secs(3));
    // The `Date` of every answer is right, and only the access token says otherwise.
    let hour = SignedDuration::from_hours(1);
    world.simulator.set_clock_offset(hour);
    world.simulator.set_date_offset(-hour);
    let daemon = world.start("e2e");
    until("the disagreement", async || {
        daemon.events("clock_skew") == 1
    })
    .await;
    let lines = daemon.lines();
    let line = lines.iter().find(|line| line["event"] == "clock_skew");
    let message = line.expect("the line")["message"].to_string();
    assert!(
        message.contains("the single sign-on of account main"),
        "{message}"
    );
    world.simulator.set_clock_offset(SignedDuration::ZERO);
    world.simulator.set_date_offset(SignedDuration::ZERO);
    until("the end of it", async || daemon.events("clock_skew") == 2).await;
}
