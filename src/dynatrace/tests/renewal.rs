//! The management token is refused: it is read again once, however many calls are refused.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::fake::{Back, Fake};
use super::*;

const OLD: &str = "dt0c01.OLD.CANARYOLD";
const NEW: &str = "dt0c01.NEW.CANARYNEW";

/// An environment whose management token is read as `values`, one after the other, and how often it was read.
fn changing(url: &str, values: &'static [&'static str]) -> (Dynatrace, Arc<AtomicUsize>) {
    let reads = Arc::new(AtomicUsize::new(0));
    let count = reads.clone();
    let read = move || {
        let at = count.fetch_add(1, Ordering::SeqCst).min(values.len() - 1);
        std::future::ready(Ok(TokenValue::new(values[at])))
    };
    let env = Dynatrace::new(&options(url, Api::V2, Duration::from_secs(10)), read).unwrap();
    (env, reads)
}

/// Refuses `OLD` with `status`; does everything for `NEW`.
async fn refusing_old(status: u16) -> Fake {
    Fake::start(move |request| {
        if request.contains(&format!("Api-Token {NEW}")) {
            Back::Answer(
                200,
                r#"{"id":"dt0c01.SUBJECT","name":"x","enabled":true}"#.into(),
            )
        } else {
            Back::Answer(status, format!(r#"{{"error":{{"message":"not {OLD}"}}}}"#))
        }
    })
    .await
}

#[tokio::test]
async fn a_hundred_calls_refused_at_once_read_the_path_once_and_all_succeed() {
    for status in [401, 403] {
        let fake = refusing_old(status).await;
        let (env, reads) = changing(&fake.url, &[OLD, NEW]);
        let subject = id("dt0c01.SUBJECT");
        let all = futures_util::future::join_all((0..100).map(|_| env.look_up(&subject))).await;
        assert!(all.iter().all(Result::is_ok));
        assert_eq!(reads.load(Ordering::SeqCst), 2);
    }
}

#[tokio::test]
async fn the_same_value_again_is_unauthorized_after_one_read_for_all() {
    let fake = refusing_old(401).await;
    let (env, reads) = changing(&fake.url, &[OLD]);
    let subject = id("dt0c01.SUBJECT");
    let all = futures_util::future::join_all((0..100).map(|_| env.look_up(&subject))).await;
    for one in all {
        assert_eq!(kind(one), ErrorKind::Unauthorized);
    }
    assert_eq!(reads.load(Ordering::SeqCst), 2);
    assert_eq!(
        fake.requests().len(),
        100,
        "no call is repeated with the same value"
    );
}

#[tokio::test]
async fn a_new_value_that_is_refused_too_ends_it() {
    let fake = Fake::always(401, "").await;
    let (env, reads) = changing(&fake.url, &[OLD, NEW]);
    assert_eq!(kind(env.mint(&order()).await), ErrorKind::Unauthorized);
    assert_eq!(
        (reads.load(Ordering::SeqCst), fake.requests().len()),
        (2, 2)
    );
}

#[tokio::test]
async fn the_old_management_token_is_disabled_by_its_successor() {
    let fake = Fake::start(|request| {
        let own = request.contains(&format!("Api-Token {NEW}"));
        if own {
            Back::Raw("HTTP/1.1 204 X\r\nconnection: close\r\n\r\n".into())
        } else {
            Back::Answer(
                400,
                r#"{"error":{"message":"cannot disable itself"}}"#.into(),
            )
        }
    })
    .await;
    let (env, _) = changing(&fake.url, &[OLD, NEW]);
    env.set_enabled(&id("dt0c01.OLD"), false).await.unwrap();
    let (env, _) = changing(&fake.url, &[OLD]);
    assert_eq!(
        kind(env.set_enabled(&id("dt0c01.OLD"), false).await),
        ErrorKind::Refused
    );
}

#[tokio::test]
async fn forgetting_reads_again_and_acting_as_another_leaves_the_cache_alone() {
    let fake = refusing_old(401).await;
    let (env, reads) = changing(&fake.url, &[OLD, NEW]);
    env.acting_as(&TokenValue::new(NEW))
        .look_up(&id("dt0c01.SUBJECT"))
        .await
        .unwrap();
    assert_eq!(reads.load(Ordering::SeqCst), 0);
    env.look_up(&id("dt0c01.SUBJECT")).await.unwrap();
    env.forget_management_token();
    env.look_up(&id("dt0c01.SUBJECT")).await.unwrap();
    assert_eq!(reads.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_refused_management_token_is_named_with_its_place() {
    let fake = Fake::always(401, "").await;
    let env = environment(&fake.url, Api::V2, MANAGEMENT).kept_in("secret/dynatrace/master#token");
    let error = env.management_info().await.err().unwrap();
    let named =
        "; the management token is dt0c01.MANAGEMENT, in secret/dynatrace/master#token of Vault; ";
    assert!(error.what.contains(named), "{error}");
}

/// What the value shows says more than the refusal; the value itself does not show.
#[tokio::test]
async fn p7_a_refused_management_token_that_cannot_be_right_is_told_from_one_that_was() {
    let whole = format!("dt0c01.WHOLE.{}", "C".repeat(64));
    for (status, value, says) in [
        (401, whole.as_str(), "of Vault; it was disabled or deleted"),
        (403, whole.as_str(), "the management token needs the scope"),
        (
            401,
            "dt0c01.CUT.CANARY",
            "has 6 characters and not 64, so it may be cut off",
        ),
        (
            401,
            "dt0s16.PLATFORM.CANARY",
            "manages only ActiveGate tokens: put an API token there",
        ),
        (
            403,
            "dt0s16.PLATFORM.CANARY",
            "manages only ActiveGate tokens: put an API token there",
        ),
        (
            401,
            "dt0s02.CLIENT.CANARY",
            "tokens that begin with dt0s02 do not manage API tokens: put",
        ),
    ] {
        let fake = Fake::always(status, "").await;
        let env = environment(&fake.url, Api::V2, value).kept_in("secret/a#token");
        let error = env.management_info().await.err().unwrap();
        assert_eq!(error.kind, ErrorKind::Unauthorized);
        assert!(error.what.contains(says), "{error}");
        assert!(!error.what.contains("CANARY"), "{error}");
    }
}
