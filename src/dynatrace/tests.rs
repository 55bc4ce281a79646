//! The issuer against scripted servers: odd answers, lost answers, and the management token's renewal.
//! What the real API answers is tested against the simulator, in `simulated`.

pub(super) mod fake;
mod fuzz;
mod odd;
mod renewal;
mod simulated;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{Api, BaseUrl, Dynatrace, Options, http};
use rotation::error::{CallError, ErrorKind};
use rotation::ports::TokenIssuer;
use rotation::token::{MintRequest, TokenId, TokenValue};

/// The management token of most tests. No part of it may show.
const MANAGEMENT: &str = "dt0c01.MANAGEMENT.CANARYMANAGEMENT";
/// The token that most tests ask about.
const SUBJECT: &str = "dt0c01.SUBJECT.CANARYSUBJECT";
/// A legacy value, which no pattern recognises.
const OPAQUE: &str = "CANARY-opaque_value21";

fn options(url: &str, api: Api, timeout: Duration) -> Options {
    Options {
        name: "prod".into(),
        base_url: BaseUrl::new(url).unwrap(),
        api,
        http: http::Options {
            timeout,
            ..http::Options::default()
        },
    }
}

/// An environment whose management token stands in Vault as `value`.
fn environment(url: &str, api: Api, value: &str) -> Dynatrace {
    hasty(url, api, value, Duration::from_secs(10))
}

/// The same with another time-out.
fn hasty(url: &str, api: Api, value: &str, timeout: Duration) -> Dynatrace {
    let value: Arc<str> = value.into();
    let read = move || std::future::ready(Ok(TokenValue::new(&*value)));
    Dynatrace::new(&options(url, api, timeout), read).unwrap()
}

fn id(text: &str) -> TokenId {
    TokenId::new(text)
}

fn order() -> MintRequest {
    MintRequest {
        name: "CI [dtrotate:a.b.1]".into(),
        scopes: vec!["metrics.ingest".into(), "logs.ingest".into()],
        expires: Some(Timestamp::from_second(4_000_000_000).unwrap()),
        lifetime: Some(Duration::from_secs(90 * 86_400)),
        traits: Default::default(),
    }
}

/// Every operation that a failure can meet, all at once, by name, with what it gave.
async fn every_operation(env: &Dynatrace) -> Vec<(&'static str, Result<(), CallError>)> {
    let (dotted, opaque) = (TokenValue::new(SUBJECT), TokenValue::new(OPAQUE));
    let (subject, order) = (id("dt0c01.SUBJECT"), order());
    let (a, b, c, d, e, f, g, h, i, j) = tokio::join!(
        env.look_up_value(&dotted),
        env.look_up_value(&opaque),
        env.look_up(&subject),
        env.mint(&order),
        env.look_up_itself(&dotted),
        env.set_enabled(&subject, false),
        env.delete(&subject),
        env.list_marked(),
        env.probe_known_token(),
        env.management_scopes_missing(),
    );
    vec![
        ("look up dotted", a.map(drop)),
        ("look up opaque", b.map(drop)),
        ("look up id", c.map(drop)),
        ("mint", d.map(drop)),
        ("verify", e.map(drop)),
        ("disable", f),
        ("delete", g),
        ("list", h.map(drop)),
        ("witness", i),
        ("missing", j.map(drop)),
    ]
}

/// No part of a value shows; the environment does.
fn assert_clean(error: &CallError) {
    let text = format!("{error} {error:?}");
    assert!(!text.contains("CANARY"), "{text}");
    assert!(error.what.contains("Dynatrace prod"), "{text}");
    assert!(error.what.len() < 800, "{text}");
}

fn kind<T>(result: Result<T, CallError>) -> ErrorKind {
    let error = result.err().expect("this must fail");
    assert_clean(&error);
    error.kind
}

#[tokio::test]
async fn a_value_with_a_flaw_is_named_and_not_sent() {
    let fake = fake::Fake::always(200, "{}").await;
    let env = environment(&fake.url, Api::V2, MANAGEMENT);
    for (value, why) in [
        ("\"dt0c01.A.CANARY\"", "has quotes around the credential"),
        ("'dt0c01.A.CANARY'", "has quotes around the credential"),
        ("DT_TOKEN=dt0c01.A.CANARY", "holds an assignment"),
        ("{\"token\": \"dt0c01.A.CANARY\"}", "holds JSON"),
        ("dt0c01.A.CANARY dt0c01.A.CANARY", "one value on one line"),
        ("\u{feff}dt0c01.A.CANARY", "a byte order mark"),
        ("dt0c01.A.\u{200b}CANARY", "an invisible character"),
        ("dt0c01.A.CANARYü", "a character in it that no token has"),
    ] {
        let error = env.look_up_value(&TokenValue::new(value)).await;
        let error = error.unwrap_err();
        assert_clean(&error);
        assert_eq!(error.kind, ErrorKind::Gone, "{error}");
        assert!(error.what.contains("the value in Vault "), "{error}");
        assert!(error.what.contains(why), "{error}");
    }
    assert_eq!(fake.requests(), Vec::<String>::new());
    let wrapped = environment(&fake.url, Api::V2, "\"dt0c01.A.CANARY\"");
    let error = wrapped.look_up(&id("dt0c01.SUBJECT")).await.unwrap_err();
    assert_clean(&error);
    assert!(
        error.what.contains("management token") && error.what.contains("quotes around"),
        "{error}"
    );
}
