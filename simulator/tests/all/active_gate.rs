//! Each strictness of ActiveGate tokens, by both routes.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use simulator::{Action, ActiveGate, Operation, PlatformSeed, Rule, Seed};

use crate::account::managed;
use crate::client::{Answer, World, world};

const TOKENS: &str = "/api/v2/activeGateTokens";
const FLEET: &str = "/platform/fleet-management/v1/activegate/tokens";

struct Gates {
    world: World,
    manager: String,
}

async fn gates() -> Gates {
    let world = world().await;
    let seed = Seed::active_gate_management("manager").owner("boss");
    let manager = world.dynatrace.seed(seed).value;
    Gates { world, manager }
}

impl Gates {
    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.world.call_as(&self.manager, method, path, body).await
    }
}

fn seeded(world: &World, name: &str) -> String {
    let kind = Some("ENVIRONMENT".to_owned());
    let active_gate = ActiveGate { kind, seed: false };
    world
        .dynatrace
        .seed_active_gate(Seed::new(name), active_gate)
        .id
}

#[tokio::test]
async fn a_token_is_created_read_and_deleted() {
    let gates = gates().await;
    let body = json!({
        "name": "a", "activeGateType": "CLUSTER", "seedToken": true, "expirationDate": "now+60d",
    });
    let created = gates.call("POST", TOKENS, Some(body)).await;
    assert_eq!(created.status, 201, "{}", created.text);
    let created = created.json();
    let parts: Vec<&str> = created["token"]
        .as_str()
        .expect("text")
        .split('.')
        .collect();
    assert_eq!(
        (parts[0], parts[1].len(), parts[2].len()),
        ("dt0g02", 8, 64)
    );
    assert_eq!(created["id"], format!("dt0g02.{}", parts[1]));
    assert!(created["expirationDate"].is_string());

    let one = format!("{TOKENS}/{}", created["id"].as_str().expect("text"));
    let shown = gates.call("GET", &one, None).await.json();
    assert_eq!(
        (
            &shown["name"],
            &shown["owner"],
            &shown["activeGateType"],
            &shown["seedToken"]
        ),
        (&json!("a"), &json!("boss"), &json!("CLUSTER"), &json!(true))
    );
    assert!(shown.get("scopes").is_none() && shown.get("enabled").is_none());
    assert!(shown.get("lastUsedDate").is_none() && shown["creationDate"].is_string());
    let list = gates.call("GET", TOKENS, None).await.json();
    assert_eq!(
        (&list["totalCount"], &list["activeGateTokens"][0]["id"]),
        (&json!(1), &created["id"])
    );
    // They are not API tokens.
    let api = gates
        .world
        .call("GET", "/api/v2/apiTokens", None)
        .await
        .json();
    assert_eq!(api["totalCount"], 2);

    let ip = "10.0.0.1".parse().expect("an address");
    let id = created["id"].as_str().expect("text");
    assert!(
        gates
            .world
            .dynatrace
            .touch_active_gate(id, ip, Timestamp::now())
    );
    let shown = gates.call("GET", &one, None).await.json();
    assert!(shown["lastUsedDate"].is_string() && shown.get("lastUsedIpAddress").is_none());
    assert_eq!(
        gates
            .call("PUT", &one, Some(json!({ "name": "b" })))
            .await
            .status,
        405
    );
    assert_eq!(gates.call("DELETE", &one, None).await.status, 204);
    assert_eq!(gates.call("DELETE", &one, None).await.status, 404);
    assert_eq!(gates.call("GET", &one, None).await.status, 404);
    assert_eq!(gates.world.dynatrace.active_gate_history().len(), 2);
    assert_eq!(gates.world.dynatrace.count(Operation::DeleteToken), 2);
}

#[tokio::test]
async fn a_create_is_refused_for_each_thing_the_api_does_not_take() {
    let gates = gates().await;
    let three_years = Timestamp::now() + SignedDuration::from_hours(3 * 365 * 24);
    for body in [
        json!({ "activeGateType": "ENVIRONMENT" }),
        json!({ "name": "a" }),
        json!({ "name": "a", "activeGateType": "OTHER" }),
        json!({ "name": "a", "activeGateType": "ENVIRONMENT", "expirationDate": "now-1d" }),
        json!({ "name": "a", "activeGateType": "ENVIRONMENT", "expirationDate": three_years }),
    ] {
        let answer = gates.call("POST", TOKENS, Some(body.clone())).await;
        assert_eq!(answer.status, 400, "{body}");
    }
    assert!(gates.world.dynatrace.active_gate_tokens().is_empty());
}

#[tokio::test]
async fn each_call_has_its_scope() {
    let gates = gates().await;
    let id = seeded(&gates.world, "a");
    let one = format!("{TOKENS}/{id}");
    let body = || Some(json!({ "name": "b", "activeGateType": "ENVIRONMENT" }));
    for (scope, statuses) in [
        ("activeGateTokenManagement.read", [200, 200, 403, 403]),
        ("activeGateTokenManagement.create", [403, 403, 201, 403]),
        ("activeGateTokenManagement.write", [403, 403, 201, 204]),
        ("apiTokens.write", [403, 403, 403, 403]),
    ] {
        let token = gates
            .world
            .dynatrace
            .seed(Seed::new("x").scopes(&[scope]))
            .value;
        let mut seen = Vec::new();
        for (method, path, body) in [
            ("GET", TOKENS, None),
            ("GET", one.as_str(), None),
            ("POST", TOKENS, body()),
            ("DELETE", one.as_str(), None),
        ] {
            seen.push(gates.world.call_as(&token, method, path, body).await.status);
        }
        assert_eq!(seen, statuses, "{scope}");
    }
}

#[tokio::test]
async fn the_list_is_paged() {
    let gates = gates().await;
    for number in 0..150 {
        seeded(&gates.world, &number.to_string());
    }
    let first = gates.call("GET", TOKENS, None).await.json();
    assert_eq!(
        (&first["pageSize"], &first["totalCount"]),
        (&json!(100), &json!(150))
    );
    let key = first["nextPageKey"].as_str().expect("a key");
    let next = format!("{TOKENS}?nextPageKey={key}");
    let second = gates.call("GET", &next, None).await.json();
    assert_eq!(
        second["activeGateTokens"].as_array().expect("a list").len(),
        50
    );
    assert!(second["nextPageKey"].is_null());
    for query in [
        "?pageSize=99",
        "?pageSize=3001",
        "?nextPageKey=x",
        "?page-size=100",
    ] {
        assert_eq!(
            gates
                .call("GET", &format!("{TOKENS}{query}"), None)
                .await
                .status,
            400,
            "{query}"
        );
    }
    assert_eq!(
        gates
            .call("GET", &format!("{next}&pageSize=100"), None)
            .await
            .status,
        400
    );
    let endless = Rule::on(Operation::ListTokens)
        .always()
        .then(Action::EndlessPages);
    gates.world.dynatrace.fault(endless);
    let last = gates.call("GET", &next, None).await.json();
    assert!(last["nextPageKey"].is_string());
}

#[tokio::test]
async fn fleet_management_has_the_same_tokens_without_a_type() {
    let managed = managed().await;
    let world = &managed.world;
    let id = seeded(world, "a");
    let token = |scopes: &[&str]| {
        let seed = PlatformSeed::new("p", &managed.user).environment("abc12345");
        managed.account.seed(seed.scopes(scopes)).value
    };
    let prefix = "fleet-management:activegate.tokens:";
    let all = ["read", "create", "write"].map(|action| format!("{prefix}{action}"));
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let (full, read) = (token(&all), token(&all[..1]));
    let shown = world
        .bearer(&full, "GET", &format!("{FLEET}/{id}"), None)
        .await
        .json();
    assert_eq!(shown["name"], "a");
    assert!(shown.get("activeGateType").is_none());
    let list = world
        .bearer(&read, "GET", &format!("{FLEET}?page-size=100"), None)
        .await;
    assert_eq!((list.status, &list.json()["totalCount"]), (200, &json!(1)));
    let wrong = world
        .bearer(&read, "GET", &format!("{FLEET}?pageSize=100"), None)
        .await;
    assert_eq!(wrong.status, 400);
    let body = || Some(json!({ "name": "b", "seedToken": false }));
    assert_eq!(world.bearer(&read, "POST", FLEET, body()).await.status, 403);
    let created = world.bearer(&full, "POST", FLEET, body()).await;
    assert_eq!(created.status, 201, "{}", created.text);
    // The classic route below /platform takes the same scopes.
    let classic = "/platform/classic/environment-api/v2/activeGateTokens";
    let list = world.bearer(&read, "GET", classic, None).await.json();
    assert_eq!(list["totalCount"], 2);
    let one = format!("{FLEET}/{id}");
    assert_eq!(world.bearer(&full, "DELETE", &one, None).await.status, 204);
    assert!(
        world
            .dynatrace
            .active_gate_tokens()
            .iter()
            .all(|token| token.id != id)
    );
}

#[tokio::test]
async fn an_activegate_that_is_connected_is_listed_with_its_token() {
    let gates = gates().await;
    let dynatrace = &gates.world.dynatrace;
    let kind = Some("ENVIRONMENT".to_owned());
    let gate = ActiveGate { kind, seed: false };
    let token = dynatrace.seed_active_gate(Seed::new("a"), gate);
    let ip = "10.0.0.7".parse().expect("an address");
    assert!(dynatrace.is_valid(&token.value));
    assert!(dynatrace.connect_active_gate("host-1", &token.value, ip));
    let used = dynatrace.active_gate_tokens()[0].last_used;
    assert!(used.is_some());
    let reader = dynatrace.seed(Seed::new("r").scopes(&["activeGates.read"]));
    let list = async || {
        let path = "/api/v2/activeGates";
        let answer = gates.world.call_as(&reader.value, "GET", path, None).await;
        answer.json()["activeGates"].clone()
    };
    let shown = list().await;
    assert_eq!(shown[0]["hostname"], "host-1");
    let tokens = json!([{ "id": token.id, "state": "VALID" }]);
    assert_eq!(shown[0]["activeGateTokens"], tokens);
    dynatrace.delete_active_gate(&token.id);
    assert_eq!(list().await[0]["activeGateTokens"][0]["state"], "INVALID");
    assert!(!dynatrace.connect_active_gate("host-1", &token.value, ip));
    assert_eq!(list().await.as_array().expect("a list").len(), 1);
    let refused = gates.call("GET", "/api/v2/activeGates", None).await;
    assert_eq!(refused.status, 403);
    assert!(!format!("{:?}", dynatrace.calls()).contains(&token.value));
}

#[tokio::test]
async fn the_classic_route_can_be_gone_or_without_a_type() {
    let gates = gates().await;
    let dynatrace = &gates.world.dynatrace;
    dynatrace.configure(|settings| settings.active_gate_type_removed = true);
    for (body, status) in [
        (json!({ "name": "a", "activeGateType": "ENVIRONMENT" }), 400),
        (json!({ "name": "a", "seedToken": false }), 400),
        (json!({ "name": "a" }), 201),
    ] {
        let answer = gates.call("POST", TOKENS, Some(body)).await;
        assert_eq!(answer.status, status, "{}", answer.text);
    }
    dynatrace.configure(|settings| settings.classic_active_gates = false);
    assert_eq!(gates.call("GET", TOKENS, None).await.status, 404);
    assert_eq!(
        gates
            .world
            .call("GET", "/api/v2/apiTokens", None)
            .await
            .status,
        200
    );
}
