//! Each strictness of the platform-token API of an account.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use simulator::{
    Account, Action, ActiveGate, Actor, Change, ErrorBody, NameChange, Operation, Options,
    PlatformSeed, Rule, Seed, Seeded,
};

use crate::client::{Answer, World, world_with};

pub const ACCOUNT: &str = "/iam/v1/accounts/acc/platform-tokens";
pub const MANAGE: &str = "platform-token:tokens:manage";
pub const WRITE: &str = "platform-token:tokens:write";

/// A world with an account, a person, and an OAuth client with an access token.
pub struct Managed {
    pub world: World,
    pub account: Account,
    pub user: String,
    pub client: Seeded,
    pub access: String,
}

pub async fn managed() -> Managed {
    let options = Options {
        account: Some("acc".to_owned()),
        ..Options::default()
    };
    let world = world_with(options).await;
    let account = world.simulator.account().expect("an account");
    let user = account.seed_user();
    let client = account.seed_client(&user, &[MANAGE, WRITE]);
    let mut managed = Managed {
        world,
        account,
        user,
        client,
        access: String::new(),
    };
    managed.access = managed.access(&format!("{MANAGE} {WRITE}")).await;
    managed
}

impl Managed {
    pub async fn access(&self, scope: &str) -> String {
        let fields = [
            ("grant_type", "client_credentials"),
            ("client_id", &self.client.id),
            ("client_secret", &self.client.value),
            ("scope", scope),
            ("resource", "urn:dtaccount:acc"),
        ];
        let body = self.world.form(&fields).await.json();
        body["access_token"].as_str().expect("a token").to_owned()
    }

    pub async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.world.bearer(&self.access, method, path, body).await
    }

    pub fn form(&self) -> Value {
        json!({
            "name": "a",
            "scope": ["app-engine:apps:run"],
            "resource": ["urn:dtenvironment:abc12345"],
            "tags": ["t"],
            "expirationDate": "2096-01-02T03:04:05.000Z",
            "userUuid": self.user,
        })
    }

    async fn names(&self, query: &str) -> Vec<String> {
        let answer = self.call("GET", &format!("{ACCOUNT}{query}"), None).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.text);
        let results = answer.json()["results"].clone();
        let name = |item: &Value| item["name"].as_str().expect("a name").to_owned();
        results
            .as_array()
            .expect("a list")
            .iter()
            .map(name)
            .collect()
    }
}

#[tokio::test]
async fn a_create_answers_200_and_the_list_shows_what_was_ordered() {
    let managed = managed().await;
    let created = managed.call("POST", ACCOUNT, Some(managed.form())).await;
    assert_eq!(created.status, 200, "{}", created.text);
    let body = created.json();
    let (id, value) = (body["tokenId"].as_str(), body["token"].as_str());
    let (id, value) = (id.expect("text"), value.expect("text"));
    assert_eq!(body["name"], "a");
    let parts: Vec<&str> = value.split('.').collect();
    assert_eq!(
        (parts[0], parts[1].len(), parts[2].len()),
        ("dt0s16", 8, 64)
    );
    assert_eq!(id, format!("dt0s16.{}", parts[1]));

    let list = managed.call("GET", ACCOUNT, None).await;
    assert!(!list.text.contains(value) && list.headers.contains_key("date"));
    assert_eq!(
        list.json()["results"],
        json!([{
            "tokenId": id,
            "accountUuid": "acc",
            "description": "",
            "name": "a",
            "scope": ["app-engine:apps:run"],
            "tags": ["t"],
            "resource": ["urn:dtenvironment:abc12345"],
            "expirationDate": "2096-01-02T03:04:05.000Z",
            "userUuid": managed.user,
            "metadata": { "lastUsedAt": null, "lastClientIp": null },
        }])
    );
    managed
        .account
        .configure(|settings| settings.list_shows_status = true);
    let list = managed.call("GET", ACCOUNT, None).await.json();
    assert_eq!(list["results"][0]["status"], "ACTIVE");

    let history = managed.account.history();
    assert_eq!(history[0].by, Actor::Client(managed.client.id.clone()));
    let by_id = managed.call("GET", &format!("{ACCOUNT}/{id}"), None).await;
    assert_eq!(by_id.status, 405);
    let call = managed.account.calls().pop().expect("a call");
    assert_eq!(call.path, format!("{ACCOUNT}/{{id}}"));
    assert_eq!(
        (call.subject.as_deref(), call.name.as_deref()),
        (Some(id), Some("a"))
    );
}

#[tokio::test]
async fn a_create_is_refused_for_each_thing_the_api_does_not_take() {
    let managed = managed().await;
    managed
        .account
        .configure(|settings| settings.unknown_scopes.push("a:b:c".to_owned()));
    let mapping = "Problem with json mapping.";
    for (key, value, text) in [
        ("scope", json!("app-engine:apps:run"), mapping),
        ("scope", json!(["metrics.ingest"]), "Invalid scopes"),
        (
            "scope",
            json!(["app-engine:apps:run", "a:b:c"]),
            "Invalid scopes",
        ),
        ("resource", Value::Null, mapping),
        ("tags", Value::Null, mapping),
        ("expirationDate", Value::Null, mapping),
        ("expirationDate", json!("tomorrow"), mapping),
        ("name", Value::Null, mapping),
        ("name", json!("x".repeat(256)), ""),
        ("userUuid", json!("nobody"), ""),
    ] {
        let mut form = managed.form();
        form[key] = value.clone();
        let answer = managed.call("POST", ACCOUNT, Some(form)).await;
        assert_eq!(answer.status, 400, "{key} {value}");
        assert!(answer.text.contains(text), "{key} {value}: {}", answer.text);
    }
    assert!(managed.account.tokens().is_empty());
    let mut form = managed.form();
    form["name"] = json!("x".repeat(255));
    assert_eq!(managed.call("POST", ACCOUNT, Some(form)).await.status, 200);
}

/// The specification requires `userUuid`; creates without it were measured to succeed.
#[tokio::test]
async fn without_an_owner_the_maker_of_the_client_owns_it() {
    let managed = managed().await;
    let mut form = managed.form();
    form.as_object_mut().expect("an object").remove("userUuid");
    assert_eq!(managed.call("POST", ACCOUNT, Some(form)).await.status, 200);
    assert_eq!(managed.account.tokens()[0].owner, managed.user);
}

#[tokio::test]
async fn only_an_access_token_with_the_scopes_is_let_in() {
    let managed = managed().await;
    let token = managed.account.seed(PlatformSeed::new("p", &managed.user));
    for bearer in [
        "nonsense",
        token.value.as_str(),
        managed.world.management.value.as_str(),
    ] {
        let answer = managed.world.bearer(bearer, "GET", ACCOUNT, None).await;
        assert_eq!(answer.status, 401);
    }
    let read = managed.access(MANAGE).await;
    let get = managed.world.bearer(&read, "GET", ACCOUNT, None).await;
    assert_eq!(get.status, 200);
    let create = async |access: &str| {
        let form = Some(managed.form());
        managed
            .world
            .bearer(access, "POST", ACCOUNT, form)
            .await
            .status
    };
    assert_eq!(create(&read).await, 403);
    managed
        .account
        .configure(|settings| settings.create_needs_write = false);
    assert_eq!(create(&read).await, 200);
    let write = managed.access(WRITE).await;
    assert_eq!(
        managed
            .world
            .bearer(&write, "GET", ACCOUNT, None)
            .await
            .status,
        403
    );
    managed.account.end_sessions();
    assert_eq!(create(&read).await, 401);
    let other = "/iam/v1/accounts/other/platform-tokens";
    assert_eq!(managed.call("GET", other, None).await.status, 404);
}

#[tokio::test]
async fn status_expiry_and_deletion_change_one_token() {
    let managed = managed().await;
    let token = managed.account.seed(PlatformSeed::new("a", &managed.user));
    managed
        .account
        .seed(PlatformSeed::new("b", &managed.user).disabled());
    let one = format!("{ACCOUNT}/{}", token.id);
    let put = async |tail: &str, body: Value| {
        managed
            .call("PUT", &format!("{one}/{tail}"), Some(body))
            .await
            .status
    };
    managed
        .account
        .configure(|settings| settings.disable_lag = Duration::ZERO);
    assert_eq!(put("status", json!({ "status": "INACTIVE" })).await, 204);
    assert!(!managed.account.is_valid(&token.value));
    assert_eq!(managed.names("?status=ACTIVE").await, Vec::<String>::new());
    assert_eq!(managed.names("?status=INACTIVE").await, ["a", "b"]);
    assert_eq!(put("status", json!({ "status": "ACTIVE" })).await, 204);
    assert_eq!(managed.names("?status=ACTIVE").await, ["a"]);
    for body in [json!({ "status": "REVOKED" }), json!({}), json!([])] {
        assert_eq!(put("status", body).await, 400);
    }
    let later = "2096-01-02T03:04:05Z";
    assert_eq!(
        put("expiration-date", json!({ "expirationDate": later })).await,
        200
    );
    let expires = managed.account.token(&token.id).expect("there").expires;
    assert_eq!(expires, later.parse::<Timestamp>().expect("a time"));
    assert_eq!(put("expiration-date", json!({})).await, 400);
    assert_eq!(put("name", json!({ "name": "c" })).await, 404);

    assert_eq!(managed.call("DELETE", &one, None).await.status, 200);
    assert!(!managed.account.is_valid(&token.value));
    assert_eq!(managed.names("").await, ["b"]);
    assert_eq!(managed.call("DELETE", &one, None).await.status, 404);
    assert_eq!(put("status", json!({ "status": "ACTIVE" })).await, 404);
    managed
        .account
        .configure(|settings| settings.missing_status = 400);
    assert_eq!(managed.call("DELETE", &one, None).await.status, 400);
    let changes: Vec<Change> = managed
        .account
        .history()
        .into_iter()
        .map(|one| one.change)
        .collect();
    assert_eq!(
        changes[2..],
        [
            Change::Disabled,
            Change::Enabled,
            Change::Redated { to: Some(expires) },
            Change::Deleted
        ]
    );
    assert_eq!(managed.account.count(Operation::RedateToken), 2);
}

#[tokio::test]
async fn an_expired_token_stays_counts_and_is_redated_only_where_that_is_set() {
    let managed = managed().await;
    let past = Timestamp::now() - SignedDuration::from_hours(30 * 24);
    let seed = PlatformSeed::new("old", &managed.user).expires(past);
    let token = managed.account.seed(seed);
    managed
        .account
        .configure(|settings| settings.user_limit = 1);
    assert_eq!(managed.names("?status=ACTIVE").await, ["old"]);
    let create = async || {
        managed
            .call("POST", ACCOUNT, Some(managed.form()))
            .await
            .status
    };
    assert_eq!(create().await, 400, "an expired token occupies a slot");

    let path = format!("{ACCOUNT}/{}/expiration-date", token.id);
    let later = json!({ "expirationDate": "2096-01-02T03:04:05Z" });
    let redate = async || managed.call("PUT", &path, Some(later.clone())).await.status;
    assert_eq!(redate().await, 400);
    assert!(!managed.account.is_valid(&token.value));
    managed.account.configure(|settings| {
        settings.redate_expired = true;
        settings.filter_gives_expired = false;
    });
    assert_eq!(managed.names("?status=ACTIVE").await, Vec::<String>::new());
    assert_eq!(managed.names("").await, ["old"]);
    assert_eq!(redate().await, 200);
    assert!(managed.account.is_valid(&token.value));
    assert!(managed.account.delete(&token.id));
    assert_eq!(create().await, 200);
}

#[tokio::test]
async fn a_service_user_has_a_limit_of_its_own() {
    let managed = managed().await;
    let service = managed.account.seed_service_user();
    managed.account.configure(|settings| {
        settings.user_limit = 1;
        settings.service_user_limit = 2;
    });
    for (owner, allowed) in [(&managed.user, 1), (&service, 2)] {
        for number in 0..3 {
            let mut form = managed.form();
            form["userUuid"] = json!(owner);
            let status = managed.call("POST", ACCOUNT, Some(form)).await.status;
            assert_eq!(status, if number < allowed { 200 } else { 400 });
        }
    }
    managed
        .account
        .configure(|settings| settings.refuse_creation = Some(403));
    let refused = managed.call("POST", ACCOUNT, Some(managed.form())).await;
    assert_eq!(refused.status, 403);
}

#[tokio::test]
async fn the_list_is_paged_by_the_echoed_numbers() {
    let managed = managed().await;
    for number in 0..5 {
        managed
            .account
            .seed(PlatformSeed::new(&format!("t-{number}"), &managed.user));
    }
    for first in [0, 1] {
        managed.account.configure(|settings| {
            settings.first_page = first;
            settings.page_size = 2;
            settings.max_page_size = 3;
        });
        let page = managed.call("GET", ACCOUNT, None).await.json();
        assert_eq!(
            (&page["pageNumber"], &page["pageSize"], &page["total"]),
            (&json!(first), &json!(2), &json!(5))
        );
        assert_eq!(
            managed.names(&format!("?page={}", first + 2)).await,
            ["t-4"]
        );
        assert_eq!(
            managed.names(&format!("?page={}", first + 3)).await,
            Vec::<String>::new()
        );
        let page = managed
            .call("GET", &format!("{ACCOUNT}?size=50"), None)
            .await
            .json();
        assert_eq!(page["pageSize"], 3, "the size is cut to the largest");
    }
    assert_eq!(
        managed
            .call("GET", &format!("{ACCOUNT}?page=0"), None)
            .await
            .status,
        400
    );
    let unknown = format!("{ACCOUNT}?pageNumber=2");
    let page = managed.call("GET", &unknown, None).await.json();
    assert_eq!(page["pageNumber"], 1, "an unknown parameter has no effect");
    managed
        .account
        .configure(|settings| settings.refuse_unknown_parameters = true);
    assert_eq!(managed.call("GET", &unknown, None).await.status, 400);
    managed
        .account
        .configure(|settings| settings.newest_first = true);
    assert_eq!(managed.names("?size=2").await, ["t-4", "t-3"]);
    managed
        .account
        .seed(PlatformSeed::new("new", &managed.user));
    assert_eq!(managed.names("?size=2&page=2").await, ["t-3", "t-2"]);
    assert_eq!(
        managed
            .call("GET", &format!("{ACCOUNT}?status=EXPIRED"), None)
            .await
            .status,
        400
    );
    assert_eq!(managed.names("?searchTerm=-3").await, ["t-3"]);
    managed
        .account
        .configure(|settings| settings.search_from_start = true);
    assert_eq!(managed.names("?searchTerm=-3").await, Vec::<String>::new());
    assert_eq!(managed.names("?searchTerm=t-3").await, ["t-3"]);
}

#[tokio::test]
async fn a_listing_may_lag_behind() {
    let managed = managed().await;
    managed
        .account
        .configure(|settings| settings.list_lag = Duration::from_secs(60));
    let old = managed
        .account
        .seed(PlatformSeed::new("old", &managed.user));
    let created = managed.call("POST", ACCOUNT, Some(managed.form())).await;
    assert_eq!(created.status, 200);
    let one = format!("{ACCOUNT}/{}", old.id);
    assert_eq!(managed.call("DELETE", &one, None).await.status, 200);
    assert_eq!(managed.names("").await, ["old"]);
    assert_eq!(managed.call("DELETE", &one, None).await.status, 404);
    let offset = SignedDuration::from_secs(61);
    managed.world.simulator.set_clock_offset(offset);
    assert_eq!(managed.names("").await, ["a"]);
}

#[tokio::test]
async fn the_form_of_an_error_is_a_setting() {
    let managed = managed().await;
    for (form, text) in [
        (ErrorBody::Empty, ""),
        (ErrorBody::Text, "Invalid scopes"),
        (
            ErrorBody::Json,
            r#"{"error":{"code":400,"message":"Invalid scopes"}}"#,
        ),
    ] {
        managed
            .account
            .configure(|settings| settings.error_body = form);
        let mut body = managed.form();
        body["scope"] = json!(["no-scope"]);
        let answer = managed.call("POST", ACCOUNT, Some(body)).await;
        assert_eq!((answer.status, answer.text.as_str()), (400, text));
    }
}

#[tokio::test]
async fn the_faults_of_environments_work_at_the_account() {
    let managed = managed().await;
    let victim = managed
        .account
        .seed(PlatformSeed::new("victim", &managed.user));
    let create = async || {
        managed
            .call("POST", ACCOUNT, Some(managed.form()))
            .await
            .json()
    };
    let rule = || Rule::on(Operation::CreateToken);
    managed
        .account
        .fault(rule().then(Action::AnswerAs(victim.id.clone())));
    let answer = create().await;
    let foreign = json!({ "name": "victim", "tokenId": victim.id, "token": victim.value });
    assert_eq!(answer, foreign);
    managed
        .account
        .fault(rule().then(Action::ChangeName(NameChange::Prefix("x-".to_owned()))));
    assert_eq!(create().await["name"], "x-a");
    managed
        .account
        .fault(rule().then(Action::SwapAnswer(Duration::ZERO)));
    create().await;
    let endless = Rule::on(Operation::ListTokens).always();
    managed.account.fault(endless.then(Action::EndlessPages));
    managed.account.configure(|settings| settings.page_size = 2);
    for page in 1..10 {
        let path = format!("{ACCOUNT}?page={page}");
        let body = managed.call("GET", &path, None).await.json();
        assert_eq!(body["results"][0]["name"], "victim");
        assert!(body["total"].as_u64().expect("a number") > page * 2);
    }
}

#[tokio::test]
async fn the_admin_endpoint_knows_platform_and_active_gate_tokens() {
    let options = Options {
        account: Some("acc".to_owned()),
        admin: true,
        ..Options::default()
    };
    let world = world_with(options).await;
    let account = world.simulator.account().expect("an account");
    let user = account.seed_user();
    let token = account.seed(PlatformSeed::new("platform", &user));
    let dead = account.seed(PlatformSeed::new("dead", &user).disabled());
    let gate = ActiveGate {
        kind: None,
        seed: false,
    };
    let gate = world.dynatrace.seed_active_gate(Seed::new("gate"), gate);
    for page in ["tokens", "history"] {
        let text = world
            .call("GET", &format!("/_simulator/{page}"), None)
            .await
            .text;
        for (name, value) in [("platform", &token.value), ("gate", &gate.value)] {
            assert!(
                text.contains(name) && !text.contains(value),
                "{page}: {text}"
            );
        }
    }
    let body = json!({ "values": [token.value, dead.value] });
    let check = world
        .call("POST", "/_simulator/check", Some(body))
        .await
        .json();
    let valid = [&check["results"][0]["valid"], &check["results"][1]["valid"]];
    assert_eq!(valid, [&json!(true), &json!(false)]);
    let fault = json!({ "environment": "account", "action": { "refuse": { "status": 503 } } });
    let faults = "/_simulator/faults";
    assert_eq!(world.call("POST", faults, Some(fault)).await.status, 204);
    assert_eq!(world.call("GET", ACCOUNT, None).await.status, 503);
    assert_eq!(world.call("GET", ACCOUNT, None).await.status, 401);
}
