//! Answers that are not as documented, and answers that never come.

use super::fake::{Back, Fake};
use super::*;

/// Runs every operation and checks its kind (of reads, the listing, the mint, changes and the verification) and that no value shows.
async fn expect(fake: &Fake, timeout: Duration, kinds: [ErrorKind; 5]) {
    let [read, list, mint, change, verify] = kinds;
    for api in [Api::V2, Api::V1] {
        let env = hasty(&fake.url, api, MANAGEMENT, timeout);
        for (operation, result) in every_operation(&env).await {
            let expected = match operation {
                "mint" => mint,
                "disable" | "delete" => change,
                "list" => list,
                "verify" => verify,
                _ => read,
            };
            let error = result
                .err()
                .unwrap_or_else(|| panic!("{operation} must fail"));
            assert_clean(&error);
            assert_eq!(error.kind, expected, "{api:?} {operation}: {error}");
        }
    }
}

const LONG: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(150);
use ErrorKind::{Closed, RateLimited, Refused, Transient, Unclear};
/// Nobody knows what happened.
const LOST: [ErrorKind; 5] = [Transient, Transient, Unclear, Unclear, Transient];

#[tokio::test]
async fn p7_a_page_instead_of_an_answer_changes_nothing_and_shows_nothing() {
    let page = format!("<html>{MANAGEMENT} {SUBJECT} {OPAQUE}</html>");
    expect(&Fake::always(200, &page).await, LONG, LOST).await;
    expect(&Fake::always(502, &page).await, LONG, LOST).await;
    expect(&Fake::always(404, &page).await, LONG, LOST).await;
    expect(&Fake::always(302, &page).await, LONG, [Transient; 5]).await;
}

#[tokio::test]
async fn p9_a_success_without_the_content_of_an_answer_is_none() {
    for body in ["", "{}", "[]", "null", "\"ok\"", r#"{"status":"up"}"#] {
        let fake = Fake::always(200, body).await;
        for api in [Api::V2, Api::V1, Api::Cluster] {
            let env = environment(&fake.url, api, MANAGEMENT);
            for (operation, result) in every_operation(&env).await {
                // A change is answered without a body.
                if body.is_empty() && matches!(operation, "disable" | "delete") {
                    continue;
                }
                let expected = match operation {
                    "mint" | "disable" | "delete" => Unclear,
                    _ => Transient,
                };
                assert_eq!(kind(result), expected, "{api:?} {operation}: {body}");
            }
            assert_eq!(kind(env.management_info().await), Transient);
        }
    }
}

#[tokio::test]
async fn p5_an_error_that_repeats_every_value_shows_none() {
    let message = format!("bad {MANAGEMENT}, {SUBJECT} and {OPAQUE}");
    let one = serde_json::json!({"error": {"code": 400, "message": message,
        "constraintViolations": [{"path": OPAQUE, "message": SUBJECT}]}});
    for status in [400, 429, 500] {
        let kinds = match status {
            // What is refused even for the management token is no longer there.
            400 => [Closed, Closed, Closed, Refused, Refused],
            429 => [RateLimited; 5],
            _ => LOST,
        };
        let fake = Fake::always(status, &one.to_string()).await;
        let env = environment(&fake.url, Api::V2, MANAGEMENT);
        // A message that holds somebody else's opaque value cannot be recognised, so each operation knows its own only.
        for (operation, result) in every_operation(&env).await {
            let error = result.unwrap_err();
            let text = format!("{error:?}");
            assert!(
                !text.contains("CANARYMANAGEMENT") && !text.contains("CANARYSUBJECT"),
                "{text}"
            );
            if operation == "look up opaque" {
                assert!(!text.contains(OPAQUE), "{text}");
            }
        }
        let clean = Fake::always(status, r#"[{"error":{"message":"dt0c01.X.CANARY"}}]"#).await;
        expect(&clean, LONG, kinds).await;
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_or_lost_is_unclear_for_writes() {
    let cut = r#"{"id":"dt0c01.SUBJECT","token":"dt0c01.SUBJECT.CANARY"#;
    expect(&Fake::always(201, cut).await, LONG, LOST).await;
    let promised = format!("HTTP/1.1 201 X\r\ncontent-length: 5000\r\n\r\n{cut}");
    expect(
        &Fake::start(move |_| Back::Raw(promised.clone())).await,
        LONG,
        LOST,
    )
    .await;
    expect(&Fake::start(|_| Back::Close).await, LONG, LOST).await;
    expect(
        &Fake::start(|_| Back::Raw("garbage\r\n\r\n".into())).await,
        LONG,
        LOST,
    )
    .await;
}

#[tokio::test]
async fn silence_and_a_body_without_end_are_ended_by_the_time_out() {
    expect(&Fake::start(|_| Back::Silence).await, SHORT, LOST).await;
    expect(&Fake::start(|_| Back::Drip(200)).await, SHORT, LOST).await;
}

#[tokio::test]
async fn what_a_broken_or_hostile_server_may_say_besides() {
    let deep = "[".repeat(100_000);
    expect(&Fake::always(200, &deep).await, LONG, LOST).await;
    expect(&Fake::always(200, r#"["a"]"#).await, LONG, LOST).await;
    expect(&Fake::always(200, &" ".repeat(10 << 20)).await, LONG, LOST).await;
    expect(&Fake::always(503, "no upstream").await, LONG, LOST).await;
    let moved = "HTTP/1.1 307 X\r\nconnection: close\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    let redirect = Fake::start(move |_| Back::Raw(moved.into())).await;
    expect(&redirect, LONG, [Transient; 5]).await;
}

#[tokio::test]
async fn a_wish_to_wait_for_ever_is_cut() {
    let head = "HTTP/1.1 429 X\r\nconnection: close\r\nretry-after: 18446744073709551615\r\ncontent-length: 0\r\n\r\n";
    let fake = Fake::start(move |_| Back::Raw(head.into())).await;
    for (operation, result) in every_operation(&environment(&fake.url, Api::V2, MANAGEMENT)).await {
        let error = result.unwrap_err();
        assert_eq!(error.kind, RateLimited, "{operation}");
        let hour = Duration::from_secs(3600);
        assert!(
            error.retry_after.is_some_and(|wait| wait <= hour),
            "{operation}"
        );
    }
}

#[tokio::test]
async fn a_body_beyond_its_bound_is_not_read() {
    let huge = " ".repeat((33 << 20) + 1);
    let fake = Fake::start(move |_| Back::Answer(200, huge.clone())).await;
    let env = environment(&fake.url, Api::V2, MANAGEMENT);
    assert_eq!(kind(env.list_marked().await), Transient);
    assert_eq!(kind(env.mint(&order()).await), Unclear);
}

#[tokio::test]
async fn a_refused_connection_is_transient_for_everything() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let env = environment(&url, Api::V2, MANAGEMENT);
    for (operation, result) in every_operation(&env).await {
        assert_eq!(kind(result), Transient, "{operation}");
    }
}

#[tokio::test]
async fn verify_takes_a_refusal_of_the_api_for_not_yet_and_of_anything_else_for_trouble() {
    for status in [401, 403, 404] {
        let fake = Fake::always(status, r#"{"error":{"message":"no"}}"#).await;
        let env = environment(&fake.url, Api::V2, MANAGEMENT);
        assert_eq!(
            kind(env.look_up_itself(&TokenValue::new(SUBJECT)).await),
            ErrorKind::Gone
        );
        let fake = Fake::always(status, "<html>CANARY</html>").await;
        let env = environment(&fake.url, Api::V2, MANAGEMENT);
        assert_eq!(
            kind(env.look_up_itself(&TokenValue::new(SUBJECT)).await),
            Transient
        );
    }
}

#[tokio::test]
async fn an_answer_about_another_token_is_not_believed() {
    let other = r#"{"id":"dt0c01.OTHER","name":"x","enabled":true}"#;
    for api in [Api::V1, Api::V2] {
        let fake = Fake::always(200, other).await;
        let env = environment(&fake.url, api, MANAGEMENT);
        assert_eq!(
            kind(env.look_up_value(&TokenValue::new(SUBJECT)).await),
            Transient
        );
        assert_eq!(kind(env.look_up(&id("dt0c01.SUBJECT")).await), Transient);
        assert_eq!(
            kind(env.look_up_itself(&TokenValue::new(SUBJECT)).await),
            Transient
        );
        assert_eq!(kind(env.probe_known_token().await), Transient);
        assert_eq!(
            env.look_up_value(&TokenValue::new(OPAQUE))
                .await
                .unwrap()
                .id,
            id("dt0c01.OTHER")
        );
    }
}

#[tokio::test]
async fn what_cannot_be_a_value_or_an_id_is_never_sent() {
    let fake = Fake::always(200, "{}").await;
    let env = environment(&fake.url, Api::V2, MANAGEMENT);
    for value in ["", " ", "CANARY 1", "CANARY\n", "CANARY\u{e9}"] {
        // No token has such a value: it is as unknown as one that the environment was asked for.
        assert_eq!(
            kind(env.look_up_value(&TokenValue::new(value)).await),
            ErrorKind::Gone
        );
        assert_eq!(
            kind(env.look_up_itself(&TokenValue::new(value)).await),
            ErrorKind::Gone
        );
    }
    for odd in ["", ".", "..", "CANARY/x", "CANARY?x", "CANARY x"] {
        assert_eq!(kind(env.look_up(&id(odd)).await), Refused);
        assert_eq!(kind(env.delete(&id(odd)).await), Refused);
        assert_eq!(kind(env.set_enabled(&id(odd), true).await), Refused);
    }
    assert!(fake.requests().is_empty());
}

#[tokio::test]
async fn p5_a_value_never_stands_in_a_request_line() {
    let fake = Fake::always(500, "").await;
    for api in [Api::V1, Api::V2] {
        every_operation(&environment(&fake.url, api, MANAGEMENT)).await;
    }
    let requests = fake.requests();
    assert_eq!(requests.len(), 20);
    for request in requests {
        let line = request.lines().next().unwrap();
        assert!(
            !line.contains("CANARY") && line.contains(" /e/E1/api/v"),
            "{line}"
        );
    }
}

#[tokio::test]
async fn a_refused_scope_is_named() {
    let body = r#"{"error":{"code":400,"message":"Constraints violated.","constraintViolations":[
        {"path":"scopes[1]","message":"'logs.ingest' is not allowed."}]}}"#;
    let fake = Fake::start(move |request| match request.contains("/lookup") {
        true => Back::Keep(r#"{"id":"dt0c01.MANAGEMENT","enabled":true}"#.to_owned()),
        false => Back::Answer(400, body.to_owned()),
    })
    .await;
    let error = environment(&fake.url, Api::V2, MANAGEMENT)
        .mint(&order())
        .await
        .err()
        .unwrap();
    assert_eq!(error.kind, Refused);
    assert_eq!(
        error.what,
        "Dynatrace prod refused to create a token: 400 Constraints violated.; scopes[1]: 'logs.ingest' is not allowed.; \
         this concerns the scope logs.ingest"
    );
}

#[tokio::test]
async fn a_missing_scope_is_named_by_generation() {
    for (api, scope) in [
        (Api::V2, "apiTokens.write"),
        (Api::V1, "TenantTokenManagement"),
    ] {
        let fake = Fake::always(
            403,
            r#"{"error":{"message":"Token is missing required scope."}}"#,
        )
        .await;
        let error = environment(&fake.url, api, MANAGEMENT)
            .mint(&order())
            .await
            .err()
            .unwrap();
        assert_eq!(error.kind, ErrorKind::Unauthorized);
        assert!(
            error
                .what
                .ends_with(&format!("the management token needs the scope {scope}")),
            "{error}"
        );
    }
}

#[tokio::test]
async fn too_many_requests_pass_the_wait_on() {
    let head = "HTTP/1.1 429 X\r\nconnection: close\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n";
    let fake = Fake::start(move |_| Back::Raw(head.into())).await;
    let error = environment(&fake.url, Api::V2, MANAGEMENT)
        .mint(&order())
        .await
        .err()
        .unwrap();
    let wait = error.retry_after.expect("the wait").as_millis();
    assert!(error.kind == RateLimited && (6_000..=7_000).contains(&wait));
}

#[tokio::test]
async fn a_listing_goes_on_to_its_last_page_with_the_key_alone() {
    let fake = Fake::start(|request| {
        let line = request.lines().next().unwrap();
        let page = if line.contains("nextPageKey=k%2B%2F2") {
            r#"{"totalCount":3,"apiTokens":[{"id":"dt0c01.C","name":"c [dtrotate:a.b.2]"}],"nextPageKey":null}"#
        } else {
            r#"{"totalCount":3,"apiTokens":[{"id":"dt0c01.A","name":"a [dtrotate:a.b.1]","enabled":false},{"id":"dt0c01.B","name":"b"}],"nextPageKey":"k+/2"}"#
        };
        Back::Answer(200, page.into())
    })
    .await;
    let listed = environment(&fake.url, Api::V2, MANAGEMENT)
        .list_marked()
        .await
        .unwrap();
    let ids: Vec<&str> = listed.iter().map(|info| info.id.as_str()).collect();
    assert_eq!(
        (ids, listed[0].enabled),
        (vec!["dt0c01.A", "dt0c01.C"], false)
    );
    let lines: Vec<String> = fake
        .requests()
        .iter()
        .map(|r| r.lines().next().unwrap().to_owned())
        .collect();
    assert_eq!(
        lines,
        [
            "GET /e/E1/api/v2/apiTokens?pageSize=500&fields=%2Bscopes%2C%2BexpirationDate%2C%2BpersonalAccessToken%2C%2BlastUsedDate%2C%2BlastUsedIpAddress HTTP/1.1",
            "GET /e/E1/api/v2/apiTokens?nextPageKey=k%2B%2F2 HTTP/1.1",
        ]
    );
}

#[tokio::test]
async fn a_listing_in_circles_or_without_its_second_page_is_no_listing() {
    let page = r#"{"totalCount":1,"apiTokens":[],"nextPageKey":"k"}"#;
    let circle = Fake::always(200, page).await;
    assert_eq!(
        kind(
            environment(&circle.url, Api::V2, MANAGEMENT)
                .list_marked()
                .await
        ),
        Transient
    );
    let lost = Fake::start(move |request| {
        if request.contains("nextPageKey") {
            Back::Answer(404, String::new())
        } else {
            Back::Answer(200, page.into())
        }
    })
    .await;
    assert_eq!(
        kind(
            environment(&lost.url, Api::V2, MANAGEMENT)
                .list_marked()
                .await
        ),
        Transient
    );
}

#[tokio::test]
async fn a_mint_is_sent_as_each_generation_wants_it() {
    let fake = Fake::always(201, r#"{"token":"dt0c01.NEW.CANARY"}"#).await;
    for api in [Api::V2, Api::V1] {
        let minted = environment(&fake.url, api, MANAGEMENT)
            .mint(&order())
            .await
            .unwrap();
        assert_eq!(minted.id, Some(id("dt0c01.NEW")));
    }
    let bodies: Vec<serde_json::Value> = fake
        .requests()
        .iter()
        .map(|request| serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap())
        .collect();
    let scopes = serde_json::json!(["metrics.ingest", "logs.ingest"]);
    assert_eq!(
        bodies[0],
        serde_json::json!({"name": "CI [dtrotate:a.b.1]", "scopes": scopes, "expirationDate": "2096-10-02T07:06:40.000Z"})
    );
    assert_eq!(
        bodies[1],
        serde_json::json!({"name": "CI [dtrotate:a.b.1]", "scopes": scopes, "expiresIn": {"value": 7_776_000, "unit": "SECONDS"}})
    );
}

#[tokio::test]
async fn a_minted_token_that_does_not_fit_its_id_is_unclear() {
    for body in [
        r#"{"id":"dt0c01.OTHER","token":"dt0c01.NEW.CANARY"}"#,
        r#"{"id":"dt0c01.NEW","token":"CANARY with spaces"}"#,
        r#"{"id":"dt0c01.NEW"}"#,
        r#"{"id":"dt0c01.NEW","token":null}"#,
        "{}",
    ] {
        let fake = Fake::always(201, body).await;
        assert_eq!(
            kind(
                environment(&fake.url, Api::V2, MANAGEMENT)
                    .mint(&order())
                    .await
            ),
            Unclear
        );
    }
}

#[tokio::test]
async fn no_verification_goes_over_a_connection_of_another_call() {
    let token = r#"{"id":"dt0c01.SUBJECT","name":"x"}"#;
    let fake = Fake::start(move |_| Back::Keep(token.into())).await;
    let env = environment(&fake.url, Api::V2, MANAGEMENT);
    let opened = || fake.connections.load(std::sync::atomic::Ordering::SeqCst);
    for _ in 0..3 {
        env.clone().look_up(&id("dt0c01.SUBJECT")).await.unwrap();
    }
    assert_eq!(opened(), 1);
    for _ in 0..3 {
        env.look_up_itself(&TokenValue::new(SUBJECT)).await.unwrap();
        assert_eq!(opened(), 2, "verifications share one");
    }
    env.look_up(&id("dt0c01.SUBJECT")).await.unwrap();
    assert_eq!(opened(), 2);
}

#[tokio::test]
async fn a_verification_bears_the_value_itself_and_everything_else_the_management_token() {
    let fake = Fake::always(500, "").await;
    let env = environment(&fake.url, Api::V2, MANAGEMENT);
    let _ = env.look_up_itself(&TokenValue::new(OPAQUE)).await;
    let _ = env.look_up_value(&TokenValue::new(OPAQUE)).await;
    let bearers: Vec<bool> = fake
        .requests()
        .iter()
        .map(|request| request.contains(&format!("Api-Token {OPAQUE}\r\n")))
        .collect();
    assert_eq!(bearers, [true, false]);
    assert!(fake.requests()[1].contains(&format!("Api-Token {MANAGEMENT}\r\n")));
}

#[tokio::test]
async fn an_empty_404_is_gone_for_a_token_and_never_for_the_management_token_or_the_api() {
    let fake = Fake::always(404, "").await;
    for api in [Api::V2, Api::V1] {
        for (operation, result) in every_operation(&environment(&fake.url, api, MANAGEMENT)).await {
            let expected = match operation {
                "mint" | "list" => Refused,
                "witness" | "missing" => Transient,
                _ => ErrorKind::Gone,
            };
            assert_eq!(kind(result), expected, "{operation}");
        }
    }
}
