//! Platform tokens at an environment, and the delay until a change arrives there.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use simulator::{Operation, PlatformSeed, Seeded};

use crate::account::{ACCOUNT, Managed, managed};

const INFO: &str = "/platform/management/v1/environment";
const RESOLVE: &str = "/platform/management/v1/effective-permissions:resolve";
const CLASSIC: &str = "/platform/classic/environment-api/v2/apiTokens";

impl Managed {
    fn token(&self, name: &str) -> PlatformSeed {
        PlatformSeed::new(name, &self.user).environment("abc12345")
    }

    async fn probe(&self, value: &str) -> u16 {
        self.world.bearer(value, "GET", INFO, None).await.status
    }
}

#[tokio::test]
async fn a_probe_tells_accepted_from_unknown_and_from_refused() {
    let managed = managed().await;
    let past = Timestamp::now() - SignedDuration::from_secs(1);
    let user = &managed.user;
    for (seed, status) in [
        (managed.token("good"), 200),
        (
            managed
                .token("function")
                .scopes(&["app-engine:functions:run"]),
            200,
        ),
        (managed.token("narrow").scopes(&["a:b:c"]), 403),
        (managed.token("disabled").disabled(), 403),
        (managed.token("expired").expires(past), 403),
        (PlatformSeed::new("other", user).environment("other"), 403),
    ] {
        let token = managed.account.seed(seed);
        let name = managed.account.token(&token.id).expect("there").name;
        assert_eq!(managed.probe(&token.value).await, status, "{name}");
    }
    assert_eq!(managed.probe("dt0s16.AAAAAAAA.nonsense").await, 401);
    let token = managed.account.seed(managed.token("gone"));
    let info = managed.world.bearer(&token.value, "GET", INFO, None).await;
    assert_eq!(info.json()["environmentId"], managed.world.dynatrace.id());
    managed.account.delete(&token.id);
    assert_eq!(managed.probe(&token.value).await, 401);
    assert_eq!(managed.world.dynatrace.count(Operation::GetEnvironment), 9);
}

#[tokio::test]
async fn an_accepted_call_is_noted_as_use() {
    let managed = managed().await;
    let token = managed.account.seed(managed.token("a"));
    managed.probe(&token.value).await;
    let list = managed.call("GET", ACCOUNT, None).await.json();
    let metadata = &list["results"][0]["metadata"];
    assert_eq!(metadata["lastClientIp"], "127.0.0.1");
    assert!(metadata["lastUsedAt"].is_string());
}

#[tokio::test]
async fn each_change_takes_effect_after_its_delay() {
    let managed = managed().await;
    let token: Seeded = managed.account.seed(managed.token("a"));
    let minutes = SignedDuration::from_mins;
    managed.account.configure(|settings| {
        let minute = Duration::from_secs(60);
        settings.create_lag = minute;
        settings.disable_lag = 5 * minute;
        settings.redate_lag = minute;
        settings.delete_lag = 2 * minute;
    });
    // An access token must outlive the test's steps of the clock.
    managed
        .account
        .configure(|settings| settings.access_token_life = Duration::from_secs(36_000));
    let access = managed
        .access("platform-token:tokens:manage platform-token:tokens:write")
        .await;
    let change = async |method: &str, path: &str, body: Option<Value>| {
        managed
            .world
            .bearer(&access, method, &format!("{ACCOUNT}{path}"), body)
            .await
    };
    let status = format!("/{}/status", token.id);
    let body = Some(json!({ "status": "INACTIVE" }));
    assert_eq!(change("PUT", &status, body).await.status, 204);
    let list = change("GET", "?status=INACTIVE", None).await.json();
    assert_eq!(list["total"], 1, "the account knows at once");
    for (after, expected) in [(0, 200), (4, 200), (6, 403)] {
        managed.world.simulator.set_clock_offset(minutes(after));
        assert_eq!(
            managed.probe(&token.value).await,
            expected,
            "{after} minutes"
        );
    }
    let form = json!({
        "name": "b", "scope": ["app-engine:apps:run"], "tags": [], "userUuid": managed.user,
        "resource": ["urn:dtenvironment:abc12345"], "expirationDate": "2096-01-01T00:00:00Z",
    });
    let created = change("POST", "", Some(form)).await.json();
    let (id, value) = (created["tokenId"].as_str(), created["token"].as_str());
    let (id, value) = (id.expect("text"), value.expect("text"));
    assert_eq!(managed.probe(value).await, 401);
    managed.world.simulator.set_clock_offset(minutes(8));
    assert_eq!(managed.probe(value).await, 200);
    let past = json!({ "expirationDate": "2020-01-01T00:00:00Z" });
    let redated = change("PUT", &format!("/{id}/expiration-date"), Some(past)).await;
    assert_eq!(redated.status, 200);
    assert_eq!(managed.probe(value).await, 200);
    assert_eq!(change("DELETE", &format!("/{id}"), None).await.status, 200);
    for (after, expected) in [(9, 403), (11, 401)] {
        managed
            .world
            .simulator
            .set_clock_offset(minutes(after) + SignedDuration::from_secs(30));
        assert_eq!(managed.probe(value).await, expected, "{after} minutes");
    }
}

/// A re-date that arrives at once must not carry along the disable that is still on its way.
#[tokio::test]
async fn changes_of_one_token_arrive_each_at_its_own_time() {
    let managed = managed().await;
    let token = managed.account.seed(managed.token("a"));
    let path = |tail: &str| format!("{ACCOUNT}/{}/{tail}", token.id);
    let inactive = Some(json!({ "status": "INACTIVE" }));
    let put = managed.call("PUT", &path("status"), inactive).await;
    assert_eq!(put.status, 204);
    let soon = Timestamp::now() + SignedDuration::from_hours(1);
    let body = Some(json!({ "expirationDate": soon }));
    let put = managed.call("PUT", &path("expiration-date"), body).await;
    assert_eq!(put.status, 200);
    for (minutes, expected) in [(4, 200), (6, 403)] {
        let offset = SignedDuration::from_mins(minutes);
        managed.world.simulator.set_clock_offset(offset);
        assert_eq!(managed.probe(&token.value).await, expected, "{minutes}");
    }
    managed.account.set_enabled(&token.id, true);
    assert_eq!(managed.probe(&token.value).await, 200);
    let later = SignedDuration::from_mins(61);
    managed.world.simulator.set_clock_offset(later);
    assert_eq!(managed.probe(&token.value).await, 403, "it has expired");
}

#[tokio::test]
async fn while_a_change_is_on_its_way_nodes_may_disagree() {
    let managed = managed().await;
    managed
        .account
        .configure(|settings| settings.nodes_disagree = true);
    let token = managed.account.seed(managed.token("a"));
    let answers = async || {
        let mut answers = BTreeMap::new();
        for _ in 0..20 {
            *answers
                .entry(managed.probe(&token.value).await)
                .or_insert(0) += 1;
        }
        answers
    };
    assert_eq!(answers().await, BTreeMap::from([(200, 20)]));
    let path = format!("{ACCOUNT}/{}/status", token.id);
    let body = Some(json!({ "status": "INACTIVE" }));
    assert_eq!(managed.call("PUT", &path, body).await.status, 204);
    let mixed = answers().await;
    assert!(mixed[&200] > 5 && mixed[&403] > 5, "{mixed:?}");
    let offset = SignedDuration::from_secs(301);
    managed.world.simulator.set_clock_offset(offset);
    assert_eq!(answers().await, BTreeMap::from([(403, 20)]));
}

#[tokio::test]
async fn each_probe_has_its_scope() {
    let managed = managed().await;
    let token = |scope: &str| {
        let seed = managed.token(scope).scopes(&[scope]);
        managed.account.seed(seed).value
    };
    let run = "app-engine:apps:run";
    let settings = "/platform/classic/environment-api/v2/settings/objects?schemaIds=builtin:a";
    for (path, scope) in [
        (INFO, run),
        ("/platform/metadata/v1/user", run),
        ("/platform/document/v1/documents", "document:documents:read"),
        (
            "/platform/automation/v1/workflows",
            "automation:workflows:read",
        ),
        (settings, "settings:objects:read"),
    ] {
        for (own, status) in [(scope, 200), ("storage:logs:write", 403)] {
            let value = token(own);
            let answer = managed.world.bearer(&value, "GET", path, None).await;
            assert_eq!(answer.status, status, "{path} with {own}");
        }
    }
    let value = token(run);
    let user = managed
        .world
        .bearer(&value, "GET", "/platform/metadata/v1/user", None)
        .await;
    assert_eq!(user.json()["userId"], managed.user);
    assert_eq!(managed.world.dynatrace.count(Operation::Probe), 9);
}

#[tokio::test]
async fn what_counts_as_use_and_how_exactly_it_is_told_are_settings() {
    let managed = managed().await;
    let narrow = managed.account.seed(managed.token("a").scopes(&["a:b:c"]));
    let used = |id: &str| managed.account.token(id).expect("there").last_used;
    assert_eq!(managed.probe(&narrow.value).await, 403);
    assert_eq!(used(&narrow.id), None);
    managed.account.configure(|settings| {
        settings.refused_call_is_use = true;
        settings.last_use_step = Duration::from_secs(3600);
    });
    assert_eq!(managed.probe(&narrow.value).await, 403);
    assert!(used(&narrow.id).is_some());
    let list = managed.call("GET", ACCOUNT, None).await.json();
    let shown = list["results"][0]["metadata"]["lastUsedAt"].clone();
    let shown = shown.as_str().expect("text");
    assert!(shown.ends_with(":00:00.000Z"), "{shown}");
}

/// Measured: the classic APIs are not at the origin of the apps, and credentials posted there are sent elsewhere.
#[tokio::test]
async fn the_origins_of_classic_apis_and_of_apps_are_two() {
    let managed = managed().await;
    let world = &managed.world;
    let token = managed.account.seed(managed.token("a"));
    let (live, apps) = (
        world.dynatrace.url().to_owned(),
        world.dynatrace.apps_url().expect("apps").to_owned(),
    );
    let status = async |url: String, scheme: &str, value: &str| {
        let header = format!("{scheme} {value}");
        let request = world.at("GET", &url).header("authorization", header);
        request.send().await.expect("an answer").status().as_u16()
    };
    let management = &world.management.value;
    let classic = "/api/v2/apiTokens";
    assert_eq!(
        status(format!("{live}{classic}"), "Api-Token", management).await,
        200
    );
    assert_eq!(
        status(format!("{apps}{classic}"), "Api-Token", management).await,
        404
    );
    assert_eq!(
        status(format!("{apps}{INFO}"), "Bearer", &token.value).await,
        200
    );
    assert_eq!(
        status(format!("{apps}{INFO}"), "Api-Token", &token.value).await,
        401
    );
    assert_eq!(
        status(format!("{live}{INFO}"), "Bearer", &token.value).await,
        404
    );
    let sent = world
        .at("POST", &format!("{apps}/sso/oauth2/token"))
        .body("client_secret=x")
        .send()
        .await
        .expect("an answer");
    assert_eq!(sent.status().as_u16(), 301);
    assert!(sent.headers().contains_key("location"));
}

/// Dynatrace's operator sends platform tokens so. The tokens API has no look-up of them.
#[tokio::test]
async fn a_platform_token_is_taken_as_an_api_token_but_not_by_the_tokens_api() {
    let managed = managed().await;
    let world = &managed.world;
    let scopes = [
        "environment-api:activegate-tokens:read",
        "environment-api:api-tokens:read",
    ];
    let token = managed.account.seed(managed.token("a").scopes(&scopes));
    let gates = "/api/v2/activeGateTokens";
    let list = world.call_as(&token.value, "GET", gates, None).await;
    assert_eq!(list.status, 200, "{}", list.text);
    let used = managed.account.token(&token.id).expect("there").last_used;
    assert!(used.is_some());
    let body = json!({ "token": token.value });
    let lookup = "/api/v2/apiTokens/lookup";
    let own = world.call_as(&token.value, "POST", lookup, Some(body.clone()));
    assert_eq!(own.await.status, 401);
    assert_eq!(world.call("POST", lookup, Some(body)).await.status, 404);
    let shown = format!("{:?}", world.dynatrace.calls());
    assert!(shown.contains(&token.id) && !shown.contains(&token.value));
}

#[tokio::test]
async fn effective_permissions_are_those_of_token_and_owner() {
    let managed = managed().await;
    let scopes = [
        "app-engine:apps:run",
        "a:b:read",
        "a:b:write",
        "settings:objects:read",
    ];
    let token = managed.account.seed(managed.token("a").scopes(&scopes));
    managed
        .account
        .set_policies(&managed.user, &["app-engine:apps:run", "a:b:read"]);
    let ask = async |permissions: Value| {
        let body = Some(json!({ "permissions": permissions }));
        managed
            .world
            .bearer(&token.value, "POST", RESOLVE, body)
            .await
    };
    let answer = ask(json!([
        { "permission": "a:b:read" },
        { "permission": "a:b:write" },
        { "permission": "c:d:e" },
        { "permission": "settings:objects:read" },
    ]));
    assert_eq!(
        answer.await.json(),
        json!([
            { "permission": "a:b:read", "granted": "true" },
            { "permission": "a:b:write", "granted": "false" },
            { "permission": "c:d:e", "granted": "false" },
            { "permission": "settings:objects:read", "granted": "condition" },
        ])
    );
    let many: Vec<Value> = (0..101).map(|_| json!({ "permission": "a:b:c" })).collect();
    assert_eq!(ask(json!(many)).await.status, 400);
    assert_eq!(ask(json!(["a:b:c"])).await.status, 400);
    managed.account.set_policies(&managed.user, &[]);
    assert_eq!(managed.probe(&token.value).await, 403);
}

/// Measured: 201 by this route, even for classic tokens; 401 at the classic path.
#[tokio::test]
async fn a_platform_token_manages_classic_tokens_below_platform_only() {
    let managed = managed().await;
    let scopes = ["environment-api:api-tokens:read", "api-tokens:tokens:write"];
    let token = managed.account.seed(managed.token("a").scopes(&scopes));
    let weak = managed.account.seed(managed.token("weak"));
    let body = || Some(json!({ "name": "x", "scopes": ["metrics.ingest"] }));
    let created = managed
        .world
        .bearer(&token.value, "POST", CLASSIC, body())
        .await;
    assert_eq!(created.status, 201, "{}", created.text);
    let value = created.json()["token"].as_str().expect("text").to_owned();
    let created = managed
        .world
        .dynatrace
        .token_by_value(&value)
        .expect("there");
    assert_eq!(created.owner, managed.user);
    let lookup = format!("{CLASSIC}/lookup");
    let own = || Some(json!({ "token": value }));
    let looked = managed
        .world
        .bearer(&token.value, "POST", &lookup, own())
        .await;
    assert_eq!(looked.status, 200);
    assert_eq!(
        managed
            .world
            .bearer(&weak.value, "POST", &lookup, own())
            .await
            .status,
        403
    );
    let live = managed
        .world
        .bearer(&token.value, "GET", "/api/v2/apiTokens", None)
        .await;
    assert_eq!(
        (live.status, live.text.contains("Token exchange failed")),
        (401, true)
    );
}

#[tokio::test]
async fn an_access_token_manages_classic_tokens_too() {
    let managed = managed().await;
    let scope = "environment-api:api-tokens:read";
    let client = managed.account.seed_client(&managed.user, &[scope]);
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", client.id.as_str()),
        ("client_secret", client.value.as_str()),
        ("scope", scope),
        ("resource", "urn:dtaccount:acc"),
    ];
    let body = managed.world.form(&fields).await.json();
    let access = body["access_token"].as_str().expect("text");
    let list = async || {
        managed
            .world
            .bearer(access, "GET", CLASSIC, None)
            .await
            .status
    };
    assert_eq!(list().await, 200);
    managed.account.end_sessions();
    assert_eq!(list().await, 401);
}
