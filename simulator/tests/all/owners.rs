//! Who owns platform tokens: service users, and what people do with tokens in the user interface.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use simulator::{Operation, PlatformSeed};

use crate::account::{ACCOUNT, MANAGE, managed};

const USERS: &str = "/iam/v1/accounts/acc/service-users";

#[tokio::test]
async fn service_users_are_listed_with_a_scope_of_their_own() {
    let mut managed = managed().await;
    let service = managed.account.seed_service_user();
    let refused = managed.call("GET", USERS, None).await;
    assert_eq!(refused.status, 403);
    let scopes = [MANAGE, "account-idm-read"];
    managed.client = managed.account.seed_client(&managed.user, &scopes);
    managed.access = managed.access("account-idm-read").await;
    let list = managed.call("GET", USERS, None).await.json();
    assert_eq!(list["totalCount"], 1);
    let shown = &list["results"][0];
    assert_eq!(shown["uid"], service);
    for key in ["email", "name", "createdAt", "groupUuid"] {
        assert!(shown[key].is_string(), "{key}");
    }
    let one = managed
        .call("GET", &format!("{USERS}/{service}"), None)
        .await;
    assert_eq!(&one.json(), shown);
    let person = format!("{USERS}/{}", managed.user);
    assert_eq!(managed.call("GET", &person, None).await.status, 404);
    assert_eq!(managed.account.count(Operation::ReadServiceUsers), 4);
}

#[tokio::test]
async fn service_users_are_paged_by_a_key() {
    let mut managed = managed().await;
    for _ in 0..150 {
        managed.account.seed_service_user();
    }
    managed.client = managed
        .account
        .seed_client(&managed.user, &["account-idm-read"]);
    managed.access = managed.access("account-idm-read").await;
    let first = managed.call("GET", USERS, None).await.json();
    let key = first["nextPageKey"].as_str().expect("a key");
    let next = format!("{USERS}?page-key={key}");
    let second = managed.call("GET", &next, None).await.json();
    let length = |page: &Value| page["results"].as_array().expect("a list").len();
    assert_eq!((length(&first), length(&second)), (100, 50));
    assert!(second.get("nextPageKey").is_none());
    let unknown = format!("{USERS}?page-key=x");
    assert_eq!(managed.call("GET", &unknown, None).await.status, 400);
}

/// The copy bears the whole name of the original, and with it whatever ends it.
#[tokio::test]
async fn a_duplicate_has_everything_but_value_and_id() {
    let managed = managed().await;
    let seed = PlatformSeed::new("a [mark]", &managed.user)
        .environment("abc12345")
        .tags(&["t"]);
    let old = managed.account.seed(seed);
    let copy = managed.account.duplicate(&old.id).expect("there");
    let (old, copy) = (
        managed.account.token(&old.id).expect("there"),
        managed.account.token(&copy.id).expect("there"),
    );
    assert_eq!(copy.name, "Duplicate of: a [mark]");
    assert_ne!(copy.value, old.value);
    let rest = |token: &simulator::PlatformToken| {
        let owner = token.owner.clone();
        (owner, token.scopes.clone(), token.resources.clone())
    };
    assert_eq!(rest(&copy), rest(&old));
    assert_eq!((copy.tags, copy.expires), (old.tags, old.expires));
    assert!(managed.account.duplicate("dt0s16.NOSUCHID").is_none());
}

#[tokio::test]
async fn a_rotation_by_hand_shortens_the_life_of_the_old_token() {
    let managed = managed().await;
    let old = managed.account.seed(PlatformSeed::new("a", &managed.user));
    let hour = SignedDuration::from_hours(1);
    let new = managed.account.rotate(&old.id, hour).expect("there");
    let expires = |id: &str| managed.account.token(id).expect("there").expires;
    assert!(expires(&old.id) <= Timestamp::now() + hour);
    assert!(expires(&new.id) > Timestamp::now() + hour);
    assert_eq!(managed.account.token(&new.id).expect("there").name, "a");
    let list = managed.call("GET", ACCOUNT, None).await.json();
    assert_eq!(list["total"], json!(2));
}

#[tokio::test]
async fn nothing_can_be_made_for_a_user_who_is_gone() {
    let managed = managed().await;
    let gone = managed.account.seed_user();
    managed.account.seed(PlatformSeed::new("a", &gone));
    managed.account.delete_user(&gone);
    let body = json!({
        "name": "b", "scope": ["app-engine:apps:run"], "resource": [], "tags": [],
        "expirationDate": "2096-01-01T00:00:00Z", "userUuid": gone,
    });
    let created = managed.call("POST", ACCOUNT, Some(body)).await;
    assert_eq!(created.status, 400);
    assert_eq!(managed.account.tokens().len(), 1);
}
