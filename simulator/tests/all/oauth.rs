//! The single sign-on: each documented answer to client credentials.

use jiff::SignedDuration;
use serde_json::Value;
use simulator::{Operation, Seeded};

use crate::account::{ACCOUNT, MANAGE, Managed, WRITE, managed};
use crate::client::Answer;

const RESOURCE: &str = "urn:dtaccount:acc";

async fn ask(managed: &Managed, client: &Seeded, scope: &str, resource: &str) -> Answer {
    managed
        .world
        .form(&[
            ("grant_type", "client_credentials"),
            ("client_id", &client.id),
            ("client_secret", &client.value),
            ("scope", scope),
            ("resource", resource),
        ])
        .await
}

#[tokio::test]
async fn an_access_token_has_what_was_asked_for_and_an_end() {
    let managed = managed().await;
    let answer = ask(&managed, &managed.client, MANAGE, RESOURCE).await;
    assert_eq!(answer.status, 200);
    assert!(answer.headers.contains_key("date"));
    let body = answer.json();
    assert_eq!(
        (&body["token_type"], &body["expires_in"], &body["scope"]),
        (&"Bearer".into(), &300.into(), &MANAGE.into())
    );
    let token = body["access_token"].as_str().expect("text");
    assert_eq!(token.matches('.').count(), 2);
    let claims = token.split('.').nth(1).expect("claims");
    let claims = base64::Engine::decode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, claims);
    let claims: Value = serde_json::from_slice(&claims.expect("base64")).expect("JSON");
    let (issued, ends) = (claims["iat"].as_i64(), claims["exp"].as_i64());
    assert_eq!(ends.expect("exp") - issued.expect("iat"), 300);

    let list = async || {
        managed
            .world
            .bearer(token, "GET", ACCOUNT, None)
            .await
            .status
    };
    assert_eq!(list().await, 200);
    let offset = SignedDuration::from_secs(301);
    managed.world.simulator.set_clock_offset(offset);
    assert_eq!(list().await, 401);
    assert_eq!(managed.account.count(Operation::IssueAccessToken), 2);
    let shown = format!("{:?}", managed.account.calls());
    assert!(!shown.contains(token) && !shown.contains(&managed.client.value));
}

#[tokio::test]
async fn one_scope_that_the_client_does_not_hold_refuses_all() {
    let managed = managed().await;
    let both = format!("{MANAGE} account-idm-read");
    for (scope, resource) in [
        (both.as_str(), RESOURCE),
        ("", RESOURCE),
        (MANAGE, "urn:dtaccount:other"),
        (MANAGE, ""),
    ] {
        let answer = ask(&managed, &managed.client, scope, resource).await;
        assert_eq!(answer.status, 400, "{scope} {resource}");
        let body = answer.json();
        assert_eq!(
            (&body["error"], &body["error_description"]),
            (&"invalid_request".into(), &"".into())
        );
        assert!(body["issueId"].is_string() && body["errorCode"].is_i64());
    }
    let both = format!("{MANAGE} {WRITE}");
    assert_eq!(
        ask(&managed, &managed.client, &both, RESOURCE).await.status,
        200
    );
}

#[tokio::test]
async fn a_wrong_client_gets_the_status_that_was_set() {
    let managed = managed().await;
    let wrong = Seeded {
        id: managed.client.id.clone(),
        value: "wrong".to_owned(),
    };
    let answer = ask(&managed, &wrong, MANAGE, RESOURCE).await;
    assert_eq!(
        (answer.status, &answer.json()["error"]),
        (401, &"invalid_client".into())
    );
    managed
        .account
        .configure(|settings| settings.bad_client_status = 400);
    assert_eq!(ask(&managed, &wrong, MANAGE, RESOURCE).await.status, 400);
    let answer = managed.world.form(&[("grant_type", "password")]).await;
    assert_eq!(
        (answer.status, &answer.json()["error"]),
        (400, &"unsupported_grant_type".into())
    );

    managed.account.delete_client(&managed.client.id);
    assert_eq!(
        ask(&managed, &managed.client, MANAGE, RESOURCE)
            .await
            .status,
        400
    );
    assert_eq!(managed.call("GET", ACCOUNT, None).await.status, 401);
}
