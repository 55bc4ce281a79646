//! Faults of a service whose answers are well-formed and wrong.

use std::time::Duration;

use serde_json::{Value, json};
use simulator::{
    Action, ActiveGate, NameChange, Operation, Options, PlatformSeed, Rule, Seed, Until, Visibility,
};

use crate::account::{ACCOUNT, managed};
use crate::client::{World, world, world_with};

const TOKENS: &str = "/api/v2/apiTokens";
const SOON: Duration = Duration::from_secs(10);

async fn create(world: &World, name: &str) -> Value {
    let body = json!({ "name": name, "scopes": ["metrics.ingest"] });
    let answer = world.call("POST", TOKENS, Some(body)).await;
    assert_eq!(answer.status, 201);
    answer.json()
}

fn name_of(world: &World, created: &Value) -> String {
    let value = created["token"].as_str().expect("a value");
    let token = world.dynatrace.token_by_value(value).expect("there");
    assert_eq!(created["id"], token.id);
    token.name
}

#[tokio::test]
async fn concurrent_answers_change_places() {
    let world = world().await;
    let fault = world
        .dynatrace
        .fault(Rule::on(Operation::CreateToken).then(Action::SwapAnswer(SOON)));
    let (a, b) = tokio::join!(create(&world, "a"), async {
        assert!(fault.wait_performed(1, SOON).await);
        create(&world, "b").await
    });
    assert_eq!(
        (name_of(&world, &a), name_of(&world, &b)),
        ("b".into(), "a".into())
    );
    assert_eq!(name_of(&world, &create(&world, "c").await), "c");
}

#[tokio::test]
async fn without_a_concurrent_answer_the_previous_one_comes() {
    let world = world().await;
    let one = world.dynatrace.seed(Seed::new("one"));
    let two = world.dynatrace.seed(Seed::new("two"));
    let get = async |id: &str| {
        let answer = world.call("GET", &format!("{TOKENS}/{id}"), None).await;
        answer.json()["name"].as_str().expect("a name").to_owned()
    };
    let rule = Rule::on(Operation::GetToken).nth(2);
    world
        .dynatrace
        .fault(rule.then(Action::SwapAnswer(Duration::ZERO)));
    assert_eq!(get(&one.id).await, "one");
    // Another operation is no neighbour.
    create(&world, "a").await;
    assert_eq!(get(&two.id).await, "one");
    assert_eq!(get(&two.id).await, "two");
}

#[tokio::test]
async fn a_share_of_the_answers_is_swapped_the_same_ones_for_the_same_seed() {
    let swapped = async |seed: u64| {
        let world = world().await;
        let rule = Rule::on(Operation::CreateToken).share(0.25, seed);
        let fault = world
            .dynatrace
            .fault(rule.then(Action::SwapAnswer(Duration::ZERO)));
        let mut wrong = Vec::new();
        for number in 0..60 {
            let name = number.to_string();
            if name_of(&world, &create(&world, &name).await) != name {
                wrong.push(number);
            }
        }
        assert!(fault.fired() >= wrong.len());
        wrong
    };
    let (first, again, other) = (swapped(1).await, swapped(1).await, swapped(2).await);
    assert_eq!(first, again);
    assert_ne!(first, other);
    assert!((5..=25).contains(&first.len()), "{first:?}");
}

#[tokio::test]
async fn a_create_is_answered_with_another_tokens_value() {
    let world = world().await;
    let victim = world.dynatrace.seed(Seed::new("victim"));
    let answer_as = || Action::AnswerAs(victim.id.clone());
    world
        .dynatrace
        .fault(Rule::on(Operation::CreateToken).times(2).then(answer_as()));
    let answer = create(&world, "mine").await;
    assert_eq!(answer, json!({ "id": victim.id, "token": victim.value }));
    let body = json!({ "name": "mine", "scopes": ["metrics.ingest"] });
    let answer = world.call("POST", "/api/v1/tokens", Some(body)).await;
    assert_eq!(answer.json(), json!({ "token": victim.value }));
    let minted = |token: &simulator::TokenInfo| token.name == "mine";
    assert_eq!(
        world.dynatrace.tokens().into_iter().filter(minted).count(),
        2
    );

    world
        .dynatrace
        .fault(Rule::on(Operation::LookupToken).then(answer_as()));
    let body = json!({ "token": world.management.value });
    let lookup = format!("{TOKENS}/lookup");
    let answer = world.call("POST", &lookup, Some(body)).await;
    assert_eq!(
        (answer.status, &answer.json()["name"]),
        (200, &json!("victim"))
    );
}

#[tokio::test]
async fn names_are_cut_or_changed_before_they_are_stored() {
    let world = world().await;
    let change = |operation, change| {
        world
            .dynatrace
            .fault(Rule::on(operation).then(Action::ChangeName(change)))
    };
    change(Operation::CreateToken, NameChange::Truncate(2));
    let cut = create(&world, "\u{e4}bc [mark]").await;
    assert_eq!(name_of(&world, &cut), "\u{e4}b");
    change(
        Operation::CreateToken,
        NameChange::Prefix("team-".to_owned()),
    );
    let changed = create(&world, "abc [mark]").await;
    assert_eq!(name_of(&world, &changed), "team-abc [mark]");
    change(Operation::UpdateToken, NameChange::Truncate(3));
    let path = format!("{TOKENS}/{}", changed["id"].as_str().expect("an id"));
    let body = json!({ "name": "abc [mark]" });
    assert_eq!(world.call("PUT", &path, Some(body)).await.status, 204);
    assert_eq!(name_of(&world, &changed), "abc");
}

#[tokio::test]
async fn a_listing_never_ends() {
    let world = world().await;
    let rule = Rule::on(Operation::ListTokens).always();
    let fault = world.dynatrace.fault(rule.then(Action::EndlessPages));
    let mut path = TOKENS.to_owned();
    for _ in 0..20 {
        let page = world.call("GET", &path, None).await.json();
        assert_eq!(page["apiTokens"][0]["id"], world.management.id);
        let key = page["nextPageKey"].as_str().expect("another page");
        path = format!("{TOKENS}?nextPageKey={key}");
    }
    fault.remove();
    let page = world.call("GET", &path, None).await.json();
    assert!(page["nextPageKey"].is_null());
}

#[tokio::test]
async fn a_list_stops_short_with_the_right_total() {
    let managed = managed().await;
    let world = &managed.world;
    for number in 0..3 {
        let name = number.to_string();
        world.dynatrace.seed(Seed::new(&name));
        managed
            .account
            .seed(PlatformSeed::new(&name, &managed.user));
        let gate = ActiveGate {
            kind: None,
            seed: false,
        };
        world.dynatrace.seed_active_gate(Seed::new(&name), gate);
    }
    let scopes = ["activeGateTokenManagement.read"];
    let reader = world.dynatrace.seed(Seed::new("reader").scopes(&scopes));
    let rule = Rule::on(Operation::ListTokens).always();
    let fault = world.simulator.fault(rule.then(Action::ShortList));
    let length = |list: &Value| list.as_array().expect("a list").len();
    let v2 = world.call("GET", TOKENS, None).await.json();
    assert_eq!(
        (length(&v2["apiTokens"]), &v2["totalCount"]),
        (2, &json!(5))
    );
    let v1 = world.call("GET", "/api/v1/tokens", None).await.json();
    assert_eq!(length(&v1["values"]), 2);
    let path = "/api/v2/activeGateTokens";
    let gates = world.call_as(&reader.value, "GET", path, None).await.json();
    let found = length(&gates["activeGateTokens"]);
    assert_eq!((found, &gates["totalCount"]), (1, &json!(3)));
    assert!(gates.get("nextPageKey").is_none());
    let platform = managed.call("GET", ACCOUNT, None).await.json();
    assert_eq!(length(&platform["results"]), 1);
    assert_eq!(platform["total"], 3);
    assert_eq!(fault.fired(), 4);
}

#[tokio::test]
async fn what_the_account_and_activegates_create_can_be_listed_late() {
    let managed = managed().await;
    let world = &managed.world;
    let manager = world.dynatrace.seed(Seed::active_gate_management("m"));
    let late = |hidden_from| {
        let until = Until::Released;
        let action = Action::ListLate { until, hidden_from };
        Rule::on(Operation::CreateToken).then(action)
    };
    let platform = managed.account.fault(late(Visibility::Everywhere));
    let created = managed.call("POST", ACCOUNT, Some(managed.form())).await;
    let created = created.json();
    let value = created["token"].as_str().expect("text");
    let total = async || managed.call("GET", ACCOUNT, None).await.json()["total"].clone();
    assert_eq!(total().await, 0);
    assert!(!managed.account.is_valid(value));
    platform.release();
    until(async || total().await == 1).await;
    assert!(managed.account.is_valid(value));

    let gates = world.dynatrace.fault(late(Visibility::ListAndGet));
    let path = "/api/v2/activeGateTokens";
    let body = json!({ "name": "a", "activeGateType": "ENVIRONMENT" });
    let created = world
        .call_as(&manager.value, "POST", path, Some(body))
        .await;
    let one = format!("{path}/{}", created.json()["id"].as_str().expect("text"));
    let read = async || {
        world
            .call_as(&manager.value, "GET", &one, None)
            .await
            .status
    };
    assert_eq!(read().await, 404);
    gates.release();
    until(async || read().await == 200).await;
}

/// Waits until it holds, at most as long as a test may take.
async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(SOON, wait).await.is_ok());
}

#[tokio::test]
async fn faults_are_put_into_force_through_the_admin_endpoint() {
    let options = Options {
        admin: true,
        ..Options::default()
    };
    let world = world_with(options).await;
    let victim = world.dynatrace.seed(Seed::new("victim"));
    let faults = "/_simulator/faults";
    for action in [
        json!({ "swap_answer": { "secs": 1, "nanos": 0 } }),
        json!({ "change_name": { "truncate": 3 } }),
        json!({ "late": { "until": "released", "answer": { "reply": { "status": 504 } } } }),
        json!("lose_answer"),
        json!("endless_pages"),
    ] {
        let body = json!({ "operation": "CreateToken", "share": 1.0, "seed": 1, "action": action });
        let answer = world.call("POST", faults, Some(body)).await;
        assert_eq!((answer.status, answer.text.as_str()), (204, ""), "{action}");
    }
    assert_eq!(world.call("DELETE", faults, None).await.status, 204);
    let body = json!({
        "environment": "",
        "operation": "CreateToken",
        "about": "mine",
        "nth": 2,
        "times": 1,
        "action": { "answer_as": victim.id },
    });
    assert_eq!(world.call("POST", faults, Some(body)).await.status, 204);
    for (name, answer) in [("mine", "mine"), ("mine", "victim"), ("mine", "mine")] {
        assert_eq!(name_of(&world, &create(&world, name).await), answer);
    }
    for bad in [
        json!({ "action": "no_such" }),
        json!({ "action": "reset", "often": 2 }),
        json!({ "action": "reset", "environment": "/e/other" }),
    ] {
        assert_eq!(world.call("POST", faults, Some(bad)).await.status, 400);
    }
    assert_eq!(world.call("GET", faults, None).await.status, 405);
}
