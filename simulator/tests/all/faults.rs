//! Each fault: what the client sees, and whether it was done.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use simulator::{Action, Answer, Fault, LateAnswer, Operation, Rule, Seed, Until, Visibility};

use crate::client::{World, read, world};

const TOKENS: &str = "/api/v2/apiTokens";
const SOON: Duration = Duration::from_secs(10);

fn create(name: &str) -> Value {
    json!({ "name": name, "scopes": ["metrics.ingest"] })
}

/// A create that need not be answered.
async fn try_create(world: &World, name: &str) -> Result<reqwest::Response, reqwest::Error> {
    world
        .request(&world.management.value, "POST", TOKENS)
        .json(&create(name))
        .send()
        .await
}

fn rule(world: &World, action: Action) -> Fault {
    world
        .dynatrace
        .fault(Rule::on(Operation::CreateToken).then(action))
}

fn exists(world: &World, name: &str) -> bool {
    world
        .dynatrace
        .tokens()
        .iter()
        .any(|token| token.name == name)
}

#[tokio::test]
async fn refuse_answers_and_does_nothing_once() {
    let world = world().await;
    let answer = Answer::dynatrace(429, "slow down").with_header("retry-after", "7");
    let fault = rule(&world, Action::Refuse(answer));
    let refused = world.call("POST", TOKENS, Some(create("a"))).await;
    assert_eq!(
        (
            refused.status,
            refused.headers["retry-after"].to_str().expect("text")
        ),
        (429, "7")
    );
    assert_eq!(refused.json()["error"]["code"], 429);
    assert!(!exists(&world, "a"));
    assert_eq!(
        world.call("POST", TOKENS, Some(create("a"))).await.status,
        201
    );
    assert_eq!((fault.fired(), fault.performed()), (1, 0));
    let statuses: Vec<Option<u16>> = world
        .dynatrace
        .calls()
        .into_iter()
        .map(|call| call.status)
        .collect();
    assert_eq!(statuses, [Some(429), Some(201)]);
}

#[tokio::test]
async fn a_rule_picks_by_name_by_turn_and_by_generation() {
    let world = world().await;
    let refuse = || Action::Refuse(Answer::status(503));
    world.dynatrace.fault(
        Rule::on(Operation::CreateToken)
            .about("secret-b")
            .nth(2)
            .times(2)
            .then(refuse()),
    );
    let mut seen = Vec::new();
    for name in [
        "secret-a", "secret-b", "secret-b", "secret-a", "secret-b", "secret-b",
    ] {
        seen.push(world.call("POST", TOKENS, Some(create(name))).await.status);
    }
    assert_eq!(seen, [201, 201, 503, 201, 503, 201]);

    let always = world
        .dynatrace
        .fault(Rule::any().v1(true).always().then(refuse()));
    for _ in 0..3 {
        assert_eq!(world.call("GET", "/api/v1/tokens", None).await.status, 503);
    }
    assert_eq!(world.call("GET", TOKENS, None).await.status, 200);
    always.remove();
    assert_eq!(world.call("GET", "/api/v1/tokens", None).await.status, 200);

    let token = world.dynatrace.seed(Seed::new("x"));
    world.dynatrace.fault(
        Rule::any()
            .matching(|call| call.method == "DELETE")
            .then(refuse()),
    );
    let by_id = world.dynatrace.fault(
        Rule::on(Operation::GetToken)
            .about(&token.id)
            .then(refuse()),
    );
    let path = format!("{TOKENS}/{}", token.id);
    assert_eq!(world.call("GET", &path, None).await.status, 503);
    assert_eq!(world.call("DELETE", &path, None).await.status, 503);
    assert_eq!(world.call("DELETE", &path, None).await.status, 204);
    assert_eq!(by_id.fired(), 1);
}

#[tokio::test]
async fn delay_and_latency_take_their_time() {
    let world = world().await;
    let time = Duration::from_millis(60);
    rule(&world, Action::Delay(time));
    let begin = Instant::now();
    assert_eq!(
        world.call("POST", TOKENS, Some(create("a"))).await.status,
        201
    );
    assert!(begin.elapsed() >= time);
    world.dynatrace.set_latency(time);
    let begin = Instant::now();
    assert_eq!(world.call("GET", TOKENS, None).await.status, 200);
    assert!(begin.elapsed() >= time);
}

#[tokio::test]
async fn a_delayed_request_is_performed_though_its_client_has_gone() {
    let world = world().await;
    let fault = rule(&world, Action::Hold);
    let request = world
        .request(&world.management.value, "POST", TOKENS)
        .json(&create("a"));
    let gone = request.timeout(Duration::from_millis(50)).send().await;
    assert!(gone.expect_err("no answer").is_timeout());
    assert!(!exists(&world, "a"));
    assert_eq!(fault.release(), 1);
    assert!(fault.wait_performed(1, SOON).await);
    assert!(exists(&world, "a"));
}

#[tokio::test]
async fn hold_waits_for_release_or_drop() {
    let world = world().await;
    let fault = world
        .dynatrace
        .fault(Rule::on(Operation::CreateToken).times(2).then(Action::Hold));
    let (answer, ()) = tokio::join!(try_create(&world, "a"), async {
        assert!(fault.wait_held(1, SOON).await);
        assert!(!exists(&world, "a"));
        assert_eq!(fault.release(), 1);
    });
    assert_eq!(answer.expect("an answer").status(), 201);
    assert!(exists(&world, "a"));
    let (answer, ()) = tokio::join!(try_create(&world, "b"), async {
        assert!(fault.wait_held(1, SOON).await);
        assert_eq!(fault.drop_held(), 1);
    });
    assert!(answer.is_err());
    assert!(!exists(&world, "b"));
    assert_eq!(fault.held(), 0);
}

#[tokio::test]
async fn hold_answer_waits_after_the_effect() {
    let world = world().await;
    let fault = rule(&world, Action::HoldAnswer);
    let (answer, ()) = tokio::join!(try_create(&world, "a"), async {
        assert!(fault.wait_held(1, SOON).await);
        assert!(exists(&world, "a"));
        fault.release();
    });
    assert_eq!(answer.expect("an answer").status(), 201);
}

#[tokio::test]
async fn lose_answer_does_it_and_closes() {
    let world = world().await;
    let fault = rule(&world, Action::LoseAnswer);
    let lost = try_create(&world, "a").await.expect_err("no answer");
    assert!(!lost.is_timeout() && !lost.is_connect());
    assert!(exists(&world, "a"));
    assert_eq!((fault.fired(), fault.performed()), (1, 1));
    assert_eq!(world.dynatrace.calls().last().expect("a call").status, None);
    assert_eq!(world.call("GET", TOKENS, None).await.status, 200);
}

#[tokio::test]
async fn reset_closes_before_the_effect() {
    let world = world().await;
    rule(&world, Action::Reset);
    let lost = try_create(&world, "a").await.expect_err("no answer");
    let text = format!("{lost:?}");
    assert!(
        text.contains("ConnectionReset") || text.contains("reset"),
        "{text}"
    );
    assert!(!exists(&world, "a"));
}

#[tokio::test]
async fn it_is_done_and_a_proxy_says_502() {
    let world = world().await;
    rule(&world, Action::PerformThenAnswer(Answer::proxy(502)));
    let answer = world.call("POST", TOKENS, Some(create("a"))).await;
    assert_eq!(
        (
            answer.status,
            answer.headers["content-type"].to_str().expect("text")
        ),
        (502, "text/html")
    );
    assert!(exists(&world, "a"));
}

#[tokio::test]
async fn late_is_done_on_release_whatever_was_answered() {
    let world = world().await;
    let late = |answer| Action::Late {
        until: Until::Released,
        answer,
    };
    let closed = rule(&world, late(LateAnswer::Close));
    assert!(try_create(&world, "closed").await.is_err());
    let replied = rule(&world, late(LateAnswer::Reply(Answer::proxy(504))));
    assert_eq!(
        try_create(&world, "replied")
            .await
            .expect("an answer")
            .status(),
        504
    );
    let silent = rule(&world, late(LateAnswer::Silence));
    let request = world
        .request(&world.management.value, "POST", TOKENS)
        .json(&create("silent"));
    let timed_out = request
        .timeout(Duration::from_millis(50))
        .send()
        .await
        .expect_err("silence");
    assert!(timed_out.is_timeout());
    assert_eq!(world.dynatrace.tokens().len(), 1);
    for (fault, name) in [(closed, "closed"), (replied, "replied"), (silent, "silent")] {
        assert!(fault.wait_held(1, SOON).await);
        assert_eq!(fault.release(), 1);
        assert!(fault.wait_performed(1, SOON).await);
        assert!(exists(&world, name), "{name}");
    }
}

#[tokio::test]
async fn late_is_done_after_a_time_with_the_checks_of_that_time() {
    let world = world().await;
    let until = Until::Elapsed(Duration::from_millis(30));
    let token = world.dynatrace.seed(Seed::new("a"));
    let reply = LateAnswer::Reply(Answer::status(204));
    let action = Action::Late {
        until,
        answer: reply,
    };
    let fault = world
        .dynatrace
        .fault(Rule::on(Operation::UpdateToken).times(2).then(action));
    let path = format!("{TOKENS}/{}", token.id);
    let disable = Some(json!({ "enabled": false }));
    assert_eq!(world.call("PUT", &path, disable).await.status, 204);
    assert!(fault.wait_performed(1, SOON).await);
    assert!(!world.dynatrace.is_valid(&token.value));
    let other = world.dynatrace.seed(Seed::management("other"));
    let enable = Some(json!({ "enabled": true }));
    assert_eq!(
        world
            .call_as(&other.value, "PUT", &path, enable)
            .await
            .status,
        204
    );
    world.dynatrace.disable(&other.id);
    assert!(fault.wait_performed(2, SOON).await);
    assert!(!world.dynatrace.is_valid(&token.value));
}

#[tokio::test]
async fn a_token_is_listed_late() {
    for (hidden_from, listed, got, usable) in [
        (Visibility::List, 0, 200, 200),
        (Visibility::ListAndGet, 0, 404, 404),
        (Visibility::Everywhere, 0, 404, 401),
    ] {
        let world = world().await;
        let until = Until::Released;
        let fault = rule(&world, Action::ListLate { until, hidden_from });
        let body = world.call("POST", TOKENS, Some(create("a"))).await.json();
        let (id, value) = (
            body["id"].as_str().expect("text"),
            body["token"].as_str().expect("text"),
        );
        let path = format!("{TOKENS}/{id}");
        let own = json!({ "token": value });
        let count = async || {
            let list = world.call("GET", TOKENS, None).await.json();
            list["apiTokens"]
                .as_array()
                .expect("a list")
                .iter()
                .filter(|token| token["id"] == id)
                .count()
        };
        assert_eq!(count().await, listed);
        assert_eq!(world.call("GET", &path, None).await.status, got);
        let lookup = world
            .call_as(value, "POST", &format!("{TOKENS}/lookup"), Some(own))
            .await;
        assert_eq!(lookup.status, usable, "{hidden_from:?}");
        assert!(fault.wait_held(1, SOON).await);
        fault.release();
        let deadline = Instant::now() + SOON;
        while count().await == 0 {
            assert!(Instant::now() < deadline, "never listed");
        }
        assert_eq!(world.call("GET", &path, None).await.status, 200);
    }
}

#[tokio::test]
async fn a_body_breaks_off_or_is_html_or_never_ends() {
    let world = world().await;
    rule(&world, Action::TruncateBody);
    let answer = try_create(&world, "truncated").await.expect("a head");
    assert_eq!(answer.status(), 201);
    assert!(answer.text().await.is_err());

    rule(&world, Action::Html);
    let answer = read(try_create(&world, "html").await.expect("an answer")).await;
    assert_eq!(answer.status, 200);
    assert!(answer.text.starts_with("<html>"));

    rule(&world, Action::EndlessBody);
    let mut answer = try_create(&world, "endless").await.expect("a head");
    let mut read = 0;
    while read < 4 * 1024 * 1024 {
        read += answer.chunk().await.expect("more").expect("no end").len();
    }
    for name in ["truncated", "html", "endless"] {
        assert!(exists(&world, name), "{name}");
    }
}

#[tokio::test]
async fn requests_in_flight_wait_side_by_side() {
    let world = world().await;
    world.dynatrace.set_latency(Duration::from_millis(200));
    let begin = Instant::now();
    let calls = (0..64).map(|_| world.call("GET", TOKENS, None));
    for answer in futures_util::future::join_all(calls).await {
        assert_eq!(answer.status, 200);
    }
    assert!(
        begin.elapsed() < Duration::from_secs(5),
        "{:?}",
        begin.elapsed()
    );
    assert_eq!(world.dynatrace.counts()[&Operation::ListTokens], 64);
    world.dynatrace.reset_calls();
    assert!(world.dynatrace.calls().is_empty());
}
