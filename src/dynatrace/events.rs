//! Telling an environment of an event (events API v2), with a small token of its own that may do nothing else.
//!
//! 201 is not proof: the status of the event in the reply is. An event may be sent again: the same payload keeps one problem open.

use std::sync::Arc;

use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use super::Options;
use super::answer::Answer;
use super::call::{Call, Effect, Via, Wire};
use crate::http::BuildError;
use rotation::error::{CallError, ErrorKind, Service};
use rotation::token::TokenValue;

const PATH: [&str; 4] = ["api", "v2", "events", "ingest"];

/// The events of one environment. Cheap to clone.
#[derive(Clone)]
pub struct Events(Arc<Wire>);

/// Source: the generated SDK, `EventIngestResults`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ingested {
    event_ingest_results: Vec<EventResult>,
}

#[derive(Deserialize)]
struct EventResult {
    status: String,
}

impl Events {
    /// A client with separate connections. Nothing is sent here.
    ///
    /// # Errors
    /// As [`super::Dynatrace::new`].
    pub fn new(options: &Options) -> Result<Self, BuildError> {
        Ok(Events(Arc::new(Wire::new(options)?)))
    }

    /// Tells of one event; `token` needs the scope `events.ingest`.
    ///
    /// # Errors
    /// `Unauthorized` = the token; `Refused` = this event, also when only its status in the reply says so; else `Transient`.
    pub async fn ingest(&self, event: &Value, token: &TokenValue) -> Result<(), CallError> {
        let call = Call::new("take an event", Effect::Tell, Method::POST, &PATH).body(event);
        let answer = self.0.send(&call, token, Via::Pool).await?;
        match answer.status {
            401 => {
                let what = "did not accept the token of [notify.dynatrace] to";
                return Err(answer.fail(ErrorKind::Unauthorized, what, ""));
            }
            403 => {
                let hint = "the token of [notify.dynatrace] needs the scope events.ingest";
                return Err(answer.fail(ErrorKind::Unauthorized, "refused to", hint));
            }
            _ => answer.check(&[])?,
        }
        taken(&answer)
    }
}

fn taken(answer: &Answer) -> Result<(), CallError> {
    let results = answer.json::<Ingested>()?.event_ingest_results;
    if results.is_empty() {
        return Err(answer.odd("it contains no result of an event"));
    }
    match results.iter().find(|result| result.status != "OK") {
        None => Ok(()),
        Some(result) => {
            // A word of the API, or nothing that is repeated.
            let word = |c: char| c.is_ascii_uppercase() || c == '_';
            let known = result.status.len() <= 40 && result.status.chars().all(word);
            let status = if known {
                &result.status
            } else {
                "an odd status"
            };
            let what = format!(
                "Dynatrace {} did not take an event: {status}",
                answer.environment
            );
            Err(CallError::new(Service::Dynatrace, ErrorKind::Refused, what))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;
    use simulator::{Seed, Simulator};

    use super::super::tests::fake::{Back, Fake};
    use super::super::{Api, BaseUrl, http};
    use super::*;

    fn events(url: &str) -> Events {
        Events::new(&Options {
            name: "prod".into(),
            base_url: BaseUrl::new(url).unwrap(),
            api: Api::V2,
            http: http::Options {
                timeout: Duration::from_secs(10),
                ..http::Options::default()
            },
        })
        .unwrap()
    }

    fn event() -> Value {
        json!({ "eventType": "ERROR_EVENT", "title": "t", "timeout": 15, "properties": {} })
    }

    #[tokio::test]
    async fn an_event_is_told_with_the_small_token_and_a_refusal_names_it() {
        let simulator = Simulator::start(simulator::Options::default())
            .await
            .unwrap();
        let far = simulator.dynatrace();
        let events = events(far.url());
        let seed = |scopes: &[&str]| {
            let seeded = far.seed(Seed::new("teller").scopes(scopes));
            TokenValue::new(seeded.value)
        };
        let good = seed(&["events.ingest"]);
        assert!(events.ingest(&event(), &good).await.is_ok());
        assert_eq!(far.events()[0].body, event());
        for (token, says) in [
            (seed(&["metrics.ingest"]), "needs the scope events.ingest"),
            (TokenValue::new("x"), "[notify.dynatrace]"),
        ] {
            let error = events.ingest(&event(), &token).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Unauthorized);
            assert!(error.what.contains(says), "{error}");
            assert!(!error.what.contains("management"), "{error}");
        }
        far.set_event_status(Some("INVALID_METADATA"));
        let error = events.ingest(&event(), &good).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Refused);
        assert!(error.what.contains("INVALID_METADATA"), "{error}");
    }

    #[tokio::test]
    async fn a_201_without_good_statuses_is_a_failure() {
        for (body, kind) in [
            (
                r#"{"reportCount":0,"eventIngestResults":[]}"#,
                ErrorKind::Transient,
            ),
            (r#"{"reportCount":1}"#, ErrorKind::Transient),
            ("<html>", ErrorKind::Transient),
            (
                r#"{"eventIngestResults":[{"status":"OK"},{"status":"INVALID_TIMESTAMPS"}]}"#,
                ErrorKind::Refused,
            ),
            (
                r#"{"eventIngestResults":[{"status":"dt0c01.A.CANARY"}]}"#,
                ErrorKind::Refused,
            ),
        ] {
            let fake = Fake::start(move |_| Back::Answer(201, body.to_owned())).await;
            let (events, token) = (events(&fake.url), TokenValue::new("x"));
            let error = events.ingest(&event(), &token).await.unwrap_err();
            assert_eq!(error.kind, kind, "{body}: {error}");
            assert!(!error.what.contains("CANARY"), "{error}");
        }
    }
}
