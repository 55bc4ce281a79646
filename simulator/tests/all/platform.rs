//! Platform tokens at an environment, and the delay until a change arrives there.

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

#[tokio::test]
async fn where_classic_creation_is_closed_the_rest_goes_on() {
    let managed = managed().await;
    let world = &managed.world;
    let body = || Some(json!({ "name": "x", "scopes": ["metrics.ingest"] }));
    world
        .dynatrace
        .configure(|settings| settings.creation_closed = true);
    for path in ["/api/v2/apiTokens", "/api/v1/tokens"] {
        let answer = world.call("POST", path, body()).await;
        let message = "Creation of new tokens is now only available in Account Management.";
        assert_eq!(
            (answer.status, &answer.json()["error"]["message"]),
            (400, &message.into())
        );
        assert_eq!(world.call("GET", path, None).await.status, 200);
        world
            .dynatrace
            .configure(|settings| settings.listing_closed = true);
        assert_eq!(world.call("GET", path, None).await.status, 400);
        world
            .dynatrace
            .configure(|settings| settings.listing_closed = false);
    }
    world
        .dynatrace
        .configure(|settings| settings.creation_closed = false);
    assert_eq!(
        world.call("POST", "/api/v2/apiTokens", body()).await.status,
        201
    );
}
