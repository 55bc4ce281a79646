//! Each strictness of API tokens v2.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use simulator::{Actor, Change, EnvironmentOptions, Operation, Options, Seed};

use crate::client::{read, world, world_with};

const TOKENS: &str = "/api/v2/apiTokens";

fn create(name: &str) -> Value {
    json!({ "name": name, "scopes": ["metrics.ingest"] })
}

#[tokio::test]
async fn a_created_token_has_the_documented_form_and_the_callers_owner() {
    let world = world().await;
    let answer = world.call("POST", TOKENS, Some(create("a"))).await;
    assert_eq!(answer.status, 201);
    let body = answer.json();
    let value = body["token"].as_str().expect("a token");
    let parts: Vec<&str> = value.split('.').collect();
    assert_eq!(parts[0], "dt0c01");
    assert_eq!((parts.len(), parts[1].len(), parts[2].len()), (3, 24, 64));
    let base32 = |text: &str| {
        text.bytes()
            .all(|byte| matches!(byte, b'A'..=b'Z' | b'2'..=b'7'))
    };
    assert!(base32(parts[1]) && base32(parts[2]));
    assert_eq!(body["id"], format!("dt0c01.{}", parts[1]));
    assert!(body.get("expirationDate").is_none());

    let token = world.dynatrace.token_by_value(value).expect("in the table");
    assert_eq!(
        (token.owner.as_str(), token.enabled, token.expires),
        ("boss", true, None)
    );
    let history = world.dynatrace.history();
    let last = history.last().expect("an entry");
    assert_eq!(last.change, Change::Created);
    assert_eq!(last.by, Actor::Token(world.management.id.clone()));
}

#[tokio::test]
async fn a_create_is_refused_for_each_thing_the_api_does_not_take() {
    let world = world().await;
    for (body, part) in [
        (json!({ "name": "a", "scopes": ["no.such"] }), "no.such"),
        (
            json!({ "name": "a", "scopes": ["DiagnosticExport"] }),
            "DiagnosticExport",
        ),
        (json!({ "name": "a", "scopes": [] }), "scopes"),
        (json!({ "name": "a" }), "scopes"),
        (json!({ "scopes": ["metrics.ingest"] }), "name"),
        (json!({ "name": " ", "scopes": ["metrics.ingest"] }), "name"),
        (json!({ "name": 1, "scopes": ["metrics.ingest"] }), "name"),
        (
            json!({ "name": "a", "scopes": ["metrics.ingest"], "expirationDate": "2020-01-01T00:00:00Z" }),
            "future",
        ),
        (
            json!({ "name": "a", "scopes": ["metrics.ingest"], "expirationDate": "tomorrow" }),
            "valid time",
        ),
        (
            json!({ "name": "a", "scopes": ["metrics.ingest"], "expirationDate": 5 }),
            "expirationDate",
        ),
        (
            json!({ "name": null, "scopes": ["metrics.ingest"] }),
            "name",
        ),
    ] {
        let answer = world.call("POST", TOKENS, Some(body.clone())).await;
        assert_eq!(answer.status, 400, "{body}");
        let violations = answer.json()["error"]["constraintViolations"].to_string();
        assert!(violations.contains(part), "{body}: {violations}");
    }
    let text = world
        .request(&world.management.value, "POST", TOKENS)
        .body("{}")
        .send()
        .await
        .expect("an answer");
    assert_eq!(text.status(), 415);
    let list = world.call("POST", TOKENS, Some(json!([1]))).await;
    assert_eq!(list.status, 400);
    assert_eq!(world.dynatrace.tokens().len(), 1);
}

/// Dynatrace's own tools send whole objects back.
#[tokio::test]
async fn unknown_fields_and_null_are_ignored() {
    let world = world().await;
    let body = json!({
        "name": "a",
        "scopes": ["metrics.ingest"],
        "expirationDate": null,
        "personalAccessToken": null,
        "enabled": false,
        "owner": "somebody",
    });
    let created = world.call("POST", TOKENS, Some(body)).await;
    assert_eq!(created.status, 201, "{}", created.text);
    let id = created.json()["id"].as_str().expect("text").to_owned();
    let token = world.dynatrace.token(&id).expect("there");
    assert_eq!(
        (token.enabled, token.owner.as_str(), token.expires),
        (true, "boss", None)
    );
    let path = format!("{TOKENS}/{id}");
    let body = json!({ "expirationDate": "now+1d", "name": null, "scopes": null, "id": id });
    assert_eq!(world.call("PUT", &path, Some(body)).await.status, 204);
    assert_eq!(world.dynatrace.token(&id), Some(token));
}

#[tokio::test]
async fn an_order_without_a_sign_is_ascending() {
    let world = world().await;
    world.dynatrace.seed(Seed::new("a"));
    let path = format!("{TOKENS}?sort=name");
    let list = world.call("GET", &path, None).await.json();
    assert_eq!(list["apiTokens"][0]["name"], "a");
}

#[tokio::test]
async fn an_expiry_is_taken_in_every_documented_form() {
    let world = world().await;
    for form in [
        "now+14d",
        "2096-01-02T03:04:05.678Z",
        "3976167600000",
        "2096-01-02 03:04+01:00",
    ] {
        let mut body = create("a");
        body["expirationDate"] = json!(form);
        let answer = world.call("POST", TOKENS, Some(body)).await;
        assert_eq!(answer.status, 201, "{form}");
        assert!(answer.json()["expirationDate"].is_string());
    }
}

#[tokio::test]
async fn credentials_are_told_apart_by_status() {
    let world = world().await;
    let dynatrace = &world.dynatrace;
    let now = Timestamp::now();
    let weak = dynatrace.seed(Seed::new("weak"));
    let reader = dynatrace.seed(Seed::new("reader").scopes(&["apiTokens.read"]));
    let disabled = dynatrace.seed(Seed::management("disabled").disabled());
    let expired =
        dynatrace.seed(Seed::management("expired").expires(now - SignedDuration::from_secs(1)));
    for token in ["nonsense", disabled.value.as_str(), expired.value.as_str()] {
        let answer = world.call_as(token, "GET", TOKENS, None).await;
        assert_eq!(answer.status, 401);
        assert_eq!(
            answer.json(),
            json!({ "error": { "code": 401, "message": "Token Authentication failed" } })
        );
    }
    let bare = world.request(&weak.value, "GET", TOKENS);
    let bearer = bare.try_clone().expect("no body").headers(
        [(
            "authorization".parse().expect("a name"),
            format!("Bearer {}", world.management.value)
                .parse()
                .expect("a value"),
        )]
        .into_iter()
        .collect(),
    );
    assert_eq!(bearer.send().await.expect("an answer").status(), 401);
    let weak_list = read(bare.send().await.expect("an answer")).await;
    assert_eq!(weak_list.status, 403);
    assert!(
        weak_list.json()["error"]["message"]
            .as_str()
            .expect("text")
            .contains("apiTokens.read")
    );
    let own = format!("{TOKENS}/{}", weak.id);
    assert_eq!(
        world
            .call_as(&reader.value, "GET", TOKENS, None)
            .await
            .status,
        200
    );
    assert_eq!(
        world
            .call_as(&reader.value, "POST", TOKENS, Some(create("a")))
            .await
            .status,
        403
    );
    assert_eq!(
        world
            .call_as(&reader.value, "PUT", &own, Some(json!({ "name": "b" })))
            .await
            .status,
        403
    );
    assert_eq!(
        world
            .call_as(&reader.value, "DELETE", &own, None)
            .await
            .status,
        403
    );
    let looked = world
        .call_as(
            &weak.value,
            "POST",
            &format!("{TOKENS}/lookup"),
            Some(json!({ "token": weak.value })),
        )
        .await;
    assert_eq!(looked.status, 200);
    assert_eq!(looked.json()["scopes"], json!(["metrics.ingest"]));
}

#[tokio::test]
async fn a_use_is_noted_with_time_and_address() {
    let world = world().await;
    let weak = world.dynatrace.seed(Seed::new("weak"));
    let before = world.dynatrace.token(&weak.id).expect("there");
    assert_eq!((before.last_used, before.last_used_ip), (None, None));
    let own = json!({ "token": weak.value });
    let shown = world
        .call_as(&weak.value, "POST", &format!("{TOKENS}/lookup"), Some(own))
        .await
        .json();
    assert_eq!(shown["lastUsedIpAddress"], "127.0.0.1");
    assert!(
        world
            .dynatrace
            .token(&weak.id)
            .expect("there")
            .last_used
            .is_some()
    );
    let ip = "10.1.2.3".parse().expect("an address");
    let when: Timestamp = "2026-01-02T03:04:05Z".parse().expect("a time");
    assert!(world.dynatrace.touch(&weak.id, ip, when));
    let token = world.dynatrace.token(&weak.id).expect("there");
    assert_eq!(
        (token.last_used, token.last_used_ip),
        (Some(when), Some(ip))
    );
}

#[tokio::test]
async fn what_is_not_there_is_404_without_a_body() {
    let world = world().await;
    let absent = format!("{TOKENS}/dt0c01.AAAAAAAAAAAAAAAAAAAAAAAA");
    for (method, path, body) in [
        ("GET", absent.as_str(), None),
        ("DELETE", absent.as_str(), None),
        (
            "POST",
            "/api/v2/apiTokens/lookup",
            Some(json!({ "token": "dt0c01.A.B" })),
        ),
    ] {
        let answer = world.call(method, path, body).await;
        assert_eq!((answer.status, answer.text.as_str()), (404, ""), "{method}");
        assert!(answer.headers.contains_key("content-type"), "{method}");
    }
    let put = world
        .call("PUT", &absent, Some(json!({ "enabled": false })))
        .await;
    assert_eq!(put.status, 404);
}

#[tokio::test]
async fn what_the_api_does_not_have_is_refused() {
    let world = world().await;
    for (method, path, status) in [
        ("PATCH", "/api/v2/apiTokens", 405),
        ("DELETE", "/api/v2/apiTokens", 405),
        ("POST", "/api/v2/apiTokens/x", 405),
        ("PUT", "/api/v2/apiTokens/lookup", 405),
        ("GET", "/api/v2/apiTokens/", 404),
        ("GET", "/api/v2/apiTokens/a/b", 404),
        ("GET", "/platform/classic/environment-api/v2/apiTokens", 404),
        ("GET", "/e/other/api/v2/apiTokens", 404),
    ] {
        assert_eq!(
            world.call(method, path, None).await.status,
            status,
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn a_token_can_neither_disable_nor_delete_itself() {
    let world = world().await;
    let own = format!("{TOKENS}/{}", world.management.id);
    assert_eq!(
        world
            .call("PUT", &own, Some(json!({ "enabled": false })))
            .await
            .status,
        400
    );
    assert_eq!(world.call("DELETE", &own, None).await.status, 400);
    assert!(world.dynatrace.is_valid(&world.management.value));
    assert_eq!(
        world
            .call("PUT", &own, Some(json!({ "name": "renamed" })))
            .await
            .status,
        204
    );
}

#[tokio::test]
async fn a_change_moves_modified_but_disabling_does_not() {
    let world = world().await;
    let created = Timestamp::now() - SignedDuration::from_hours(5);
    let token = world.dynatrace.seed(Seed::new("a").created(created));
    let path = format!("{TOKENS}/{}", token.id);
    let modified = || world.dynatrace.token(&token.id).expect("there").modified;
    let shown = async || world.call("GET", &path, None).await.json();
    assert!(shown().await.get("modifiedDate").is_none());
    assert_eq!(
        world
            .call("PUT", &path, Some(json!({ "enabled": false })))
            .await
            .status,
        204
    );
    assert_eq!(modified(), None);
    assert!(!world.dynatrace.is_valid(&token.value));
    assert_eq!(
        world
            .call("PUT", &path, Some(json!({ "enabled": true })))
            .await
            .status,
        204
    );
    assert_eq!(modified(), None);
    let rescoped = json!({ "scopes": ["logs.read", "logs.read"] });
    assert_eq!(world.call("PUT", &path, Some(rescoped)).await.status, 204);
    assert!(modified().is_some_and(|at| at > created));
    assert!(shown().await["modifiedDate"].is_string());
    assert_eq!(
        world.dynatrace.token(&token.id).expect("there").scopes,
        ["logs.read"]
    );
    for body in [json!({ "scopes": ["Mobile"] }), json!({ "enabled": "no" })] {
        assert_eq!(world.call("PUT", &path, Some(body)).await.status, 400);
    }
    let kinds: Vec<Change> = world
        .dynatrace
        .history()
        .into_iter()
        .skip(2)
        .map(|entry| entry.change)
        .collect();
    assert_eq!(kinds, [Change::Disabled, Change::Enabled, Change::Rescoped]);
    assert_eq!(world.call("DELETE", &path, None).await.status, 204);
    assert_eq!(world.call("DELETE", &path, None).await.status, 404);
}

#[tokio::test]
async fn a_personal_token_deletes_only_its_owners() {
    let world = world().await;
    let personal = world
        .dynatrace
        .seed(Seed::management("pat").personal().owner("me"));
    let own = world.dynatrace.seed(Seed::new("own").owner("me"));
    let other = world.dynatrace.seed(Seed::new("other").owner("you"));
    let delete = async |id: &str| {
        let path = format!("{TOKENS}/{id}");
        world
            .call_as(&personal.value, "DELETE", &path, None)
            .await
            .status
    };
    assert_eq!(delete(&other.id).await, 403);
    assert_eq!(delete(&own.id).await, 204);
    world.dynatrace.set_personal_tokens_enabled(false);
    assert_eq!(delete(&other.id).await, 401);
    let mut body = create("pat");
    body["personalAccessToken"] = json!(true);
    assert_eq!(world.call("POST", TOKENS, Some(body)).await.status, 400);
}

#[tokio::test]
async fn a_delete_by_secret_works_and_is_seen() {
    let world = world().await;
    let token = world.dynatrace.seed(Seed::new("a"));
    let path = format!("{TOKENS}/{}", token.value);
    assert_eq!(world.call("GET", &path, None).await.status, 404);
    assert_eq!(world.call("DELETE", &path, None).await.status, 204);
    let calls = world.dynatrace.calls();
    let call = calls.last().expect("a call");
    assert!(call.secret_in_path);
    assert_eq!(call.subject.as_deref(), Some(token.id.as_str()));
    assert!(!format!("{calls:?}").contains(&token.value));
}

#[tokio::test]
async fn an_expired_token_stays_visible_for_seven_days() {
    let world = world().await;
    let expires = Timestamp::now() + SignedDuration::from_hours(1);
    let token = world.dynatrace.seed(Seed::new("a").expires(expires));
    let path = format!("{TOKENS}/{}", token.id);
    for (hours, status) in [(0, 200), (2, 200), (7 * 24, 200), (7 * 24 + 2, 404)] {
        world
            .simulator
            .set_clock_offset(SignedDuration::from_hours(hours));
        assert_eq!(
            world.call("GET", &path, None).await.status,
            status,
            "after {hours} h"
        );
        let alive = world
            .dynatrace
            .alive_tokens()
            .iter()
            .any(|alive| alive.id == token.id);
        assert_eq!(alive, hours == 0);
    }
    let history = world.dynatrace.history();
    let last = history.last().expect("an entry");
    assert_eq!((&last.change, &last.by), (&Change::Purged, &Actor::System));
}

#[tokio::test]
async fn the_list_shows_only_the_fields_asked_for() {
    let world = world().await;
    let keys = async |query: &str| {
        let answer = world.call("GET", &format!("{TOKENS}{query}"), None).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.text);
        let body = answer.json();
        let token = body["apiTokens"][0].as_object().expect("an object").clone();
        token.keys().cloned().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(keys("").await, "creationDate enabled id name owner");
    assert_eq!(keys("?fields=scopes").await, "id scopes");
    assert_eq!(
        keys("?fields=%2Bscopes,-owner").await,
        "creationDate enabled id name scopes"
    );
    for query in [
        "?fields=+scopes",
        "?fields=token",
        "?pageSize=99",
        "?pageSize=10001",
        "?pageSize=x",
        "?sort=-id",
        "?sort=",
        "?from=x",
        "?apiTokenSelector=name(\"x\")",
        "?name=x",
        "?nextPageKey=unknown",
    ] {
        let answer = world.call("GET", &format!("{TOKENS}{query}"), None).await;
        assert_eq!(answer.status, 400, "{query}");
    }
}

#[tokio::test]
async fn the_list_is_sorted_selected_and_paged() {
    let world = world().await;
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
    for number in 0..250_i64 {
        let owner = if number % 2 == 0 { "even" } else { "odd" };
        let seed = Seed::new(&format!("t{number:03}"))
            .owner(owner)
            .created(start + SignedDuration::from_secs(number));
        world.dynatrace.seed(seed);
    }
    let first = world
        .call(
            "GET",
            &format!("{TOKENS}?sort=%2BcreationDate&fields=name&pageSize=100"),
            None,
        )
        .await
        .json();
    assert_eq!(first["totalCount"], 251);
    assert_eq!(first["apiTokens"][0]["name"], "t000");
    let key = first["nextPageKey"].as_str().expect("a key").to_owned();
    let beside = world
        .call(
            "GET",
            &format!("{TOKENS}?nextPageKey={key}&pageSize=100"),
            None,
        )
        .await;
    assert_eq!(beside.status, 400, "the key must be the only parameter");
    let second = world
        .call("GET", &format!("{TOKENS}?nextPageKey={key}"), None)
        .await
        .json();
    assert_eq!(
        second["apiTokens"][0],
        json!({ "id": second["apiTokens"][0]["id"], "name": "t100" })
    );
    let key = second["nextPageKey"].as_str().expect("a key").to_owned();
    let third = world
        .call("GET", &format!("{TOKENS}?nextPageKey={key}"), None)
        .await
        .json();
    assert_eq!(third["apiTokens"].as_array().expect("a list").len(), 51);
    assert!(third.get("nextPageKey").is_none_or(Value::is_null));

    let default = world.call("GET", TOKENS, None).await.json();
    assert_eq!(
        (&default["pageSize"], &default["apiTokens"][0]["name"]),
        (&json!(200), &json!("management"))
    );
    let odd = world
        .call(
            "GET",
            &format!("{TOKENS}?apiTokenSelector=owner(%22odd%22)"),
            None,
        )
        .await
        .json();
    assert_eq!(odd["totalCount"], 125);
    let used = world
        .call("GET", &format!("{TOKENS}?from=now-1h"), None)
        .await
        .json();
    assert_eq!(used["totalCount"], 1);
}

#[tokio::test]
async fn times_come_with_and_without_milliseconds() {
    let world = world().await;
    let path = format!("{TOKENS}/{}", world.management.id);
    let mut forms = [false, false];
    for _ in 0..2 {
        let token = world.call("GET", &path, None).await.json();
        for field in ["creationDate", "lastUsedDate"] {
            let text = token[field].as_str().expect("text").to_owned();
            text.parse::<Timestamp>().expect("RFC 3339");
            forms[usize::from(text.contains('.'))] = true;
        }
    }
    assert_eq!(forms, [true, true]);
}

#[tokio::test]
async fn the_date_header_follows_the_clock() {
    let world = world().await;
    let date = async || {
        let answer = world.call("GET", TOKENS, None).await;
        let text = answer.headers["date"].to_str().expect("text").to_owned();
        Timestamp::try_from(httpdate::parse_http_date(&text).expect("a date")).expect("a time")
    };
    let near = |at: Timestamp, expected: Timestamp| {
        at.duration_since(expected).abs() < SignedDuration::from_secs(30)
    };
    assert!(near(date().await, Timestamp::now()));
    world
        .simulator
        .set_clock_offset(SignedDuration::from_hours(1));
    world
        .simulator
        .set_date_offset(SignedDuration::from_hours(-3));
    assert!(near(
        date().await,
        Timestamp::now() - SignedDuration::from_hours(2)
    ));
    assert!(near(
        world.simulator.now(),
        Timestamp::now() + SignedDuration::from_hours(1)
    ));
}

#[tokio::test]
async fn environments_share_a_port_and_nothing_else() {
    let options = Options {
        environments: vec![
            EnvironmentOptions::managed("one"),
            EnvironmentOptions::managed("two"),
        ],
        ..Options::default()
    };
    let world = world_with(options).await;
    let two = world.simulator.environments()[1].clone();
    assert!(two.url().ends_with("/e/two"));
    assert_eq!(world.call("GET", TOKENS, None).await.status, 200);
    let client = crate::client::client_builder().build().expect("a client");
    let foreign = client
        .get(format!("{}{TOKENS}", two.url()))
        .header(
            "authorization",
            format!("Api-Token {}", world.management.value),
        )
        .send()
        .await
        .expect("an answer");
    assert_eq!(foreign.status(), 401);
    assert_eq!(
        (
            world.dynatrace.count(Operation::ListTokens),
            two.count(Operation::ListTokens)
        ),
        (1, 1)
    );
    assert!(two.tokens().is_empty());
}

#[tokio::test]
async fn a_body_above_the_cap_is_refused() {
    let world = world().await;
    let body = create(&"x".repeat(1024 * 1024));
    assert_eq!(world.call("POST", TOKENS, Some(body)).await.status, 413);
}

#[test]
fn it_runs_without_a_runtime_of_the_caller() {
    let simulator = simulator::Simulator::start_on_thread(Options::default()).expect("starts");
    let address = simulator.url().trim_start_matches("http://").to_owned();
    let mut stream = std::net::TcpStream::connect(&address).expect("connects");
    std::io::Write::write_all(&mut stream, b"GET /api/v2/apiTokens HTTP/1.0\r\n\r\n")
        .expect("writes");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut stream, &mut text).expect("reads");
    assert!(text.starts_with("HTTP/1.0 401"), "{text}");
    drop(simulator);
    assert!(std::net::TcpStream::connect(&address).is_err());
}
