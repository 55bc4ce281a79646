//! Trials: harmless calls to an environment by which the value of a platform token shows that it works. Not every token may make one.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};

use super::super::BaseUrl;
use super::super::call::{Call, Effect, Scheme, Via, Wire};
use crate::http::{self, BuildError};
use rotation::error::{CallError, ErrorKind, Service};
use rotation::plan::Verification;
use rotation::token::TokenValue;

/// A trial by its word in the configuration, the scopes that allow it, the path below the environment's address, and what only the service itself
/// answers: the login page of a portal has a status of success as well.
struct Trial {
    word: &'static str,
    scopes: &'static [&'static str],
    path: &'static str,
    is_answer: fn(&Value) -> bool,
}

const APPS: &[&str] = &["app-engine:apps:run", "app-engine:functions:run"];

/// In the order in which they are chosen. Sources: the documentation of each call, and measurements of them with platform tokens.
const TRIALS: [Trial; 6] = [
    Trial {
        word: "environment",
        scopes: APPS,
        path: "/platform/management/v1/environment",
        is_answer: |it| is_text(&it["environmentId"]),
    },
    Trial {
        word: "documents",
        scopes: &["document:documents:read"],
        path: "/platform/document/v1/documents",
        is_answer: |it| it["documents"].is_array(),
    },
    Trial {
        word: "workflows",
        scopes: &["automation:workflows:read"],
        path: "/platform/automation/v1/workflows",
        is_answer: |it| it["results"].is_array(),
    },
    Trial {
        word: "settings",
        scopes: &["settings:objects:read"],
        path: "/platform/classic/environment-api/v2/settings/objects?schemaIds=builtin:management-zones&pageSize=1",
        is_answer: |it| it["items"].is_array(),
    },
    Trial {
        word: "permissions",
        scopes: APPS,
        path: PERMISSIONS,
        is_answer: resolves_permissions,
    },
    Trial {
        word: "user",
        scopes: &["app-engine:apps:run"],
        path: "/platform/metadata/v1/user",
        is_answer: |it| is_text(&it["userId"]),
    },
];

/// The one that is a question with a body.
const PERMISSIONS: &str = "/platform/management/v1/effective-permissions:resolve";

fn is_text(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty())
}

/// One answer for each permission that was asked about.
fn resolves_permissions(answer: &Value) -> bool {
    let resolved = |one: &Value| is_text(&one["permission"]) && is_text(&one["granted"]);
    let all = answer.as_array().filter(|all| !all.is_empty());
    all.is_some_and(|all| all.iter().all(resolved))
}

/// What a call answers that only the configuration knows: nothing is known of it but that it has content.
fn has_content(answer: &Value) -> bool {
    let fields = answer.as_object().map_or(0, |fields| fields.len());
    let items = answer.as_array().map_or(0, Vec::len);
    fields + items > 0
}

/// The words of the trials, as the configuration knows them.
pub const WORDS: [&str; 6] = [
    "environment",
    "documents",
    "workflows",
    "settings",
    "permissions",
    "user",
];

/// The trial that was chosen for a token.
pub(super) struct TrialCall {
    call: Call,
    is_answer: fn(&Value) -> bool,
}

/// What a trial showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// The value works.
    Works,
    /// It was not accepted, or lacks a right: these two cannot be distinguished. The status.
    Refused(u16),
}

/// The environments of an account, as places where values are tried.
pub struct Trials(BTreeMap<String, Wire>);

impl Trials {
    /// For these environments: name, address of the platform, and how it is reached.
    ///
    /// # Errors
    /// As [`super::super::Dynatrace::new`].
    pub fn new<'a>(
        environments: impl IntoIterator<Item = (&'a str, &'a BaseUrl, &'a http::Options)>,
    ) -> Result<Self, BuildError> {
        let scheme = Scheme {
            word: "Bearer",
            credential: "the platform token",
            has_envelope: false,
        };
        let wires = environments.into_iter().map(|(name, base, options)| {
            Ok((name.to_owned(), Wire::to(name, base, options, scheme)?))
        });
        Ok(Trials(wires.collect::<Result<_, _>>()?))
    }

    /// The trial of a token with these scopes; none = nothing that it may call proves anything.
    pub(super) fn choose(scopes: &[String], by: &Verification) -> Option<TrialCall> {
        let may = |trial: &&Trial| {
            let has = |scope: &&str| scopes.iter().any(|own| own == scope);
            trial.scopes.iter().any(has)
        };
        let known = match by {
            Verification::Listed => return None,
            Verification::Auto => TRIALS.iter().find(may)?,
            Verification::Trial(name) => {
                let path = name.trim_start_matches("GET ").trim();
                let is_it = |trial: &&Trial| trial.word == name || trial.path == path;
                match TRIALS.iter().find(is_it) {
                    Some(known) => known,
                    None => {
                        return Some(TrialCall {
                            call: call(path),
                            is_answer: has_content,
                        });
                    }
                }
            }
        };
        Some(TrialCall {
            call: call(known.path),
            is_answer: known.is_answer,
        })
    }

    /// Tries a value. A separate connection: perhaps it leads to another node of the service.
    ///
    /// # Errors
    /// It got no answer that says anything: what answered may not be the service.
    pub(super) async fn attempt(
        &self,
        environment: &str,
        trial: &TrialCall,
        value: &TokenValue,
    ) -> Result<Shown, CallError> {
        let Some(wire) = self.0.get(environment) else {
            let what = format!(
                "environment {environment} has no address at which platform tokens can be tried; set `apps_url`, or `verify = \"listed\"`"
            );
            return Err(CallError::new(Service::Dynatrace, ErrorKind::Refused, what));
        };
        let answer = wire.send(&trial.call, value, Via::Own).await?;
        match answer.status {
            200..=299 => {
                let said = answer.any_json::<Value>().and_then(|said| {
                    let is_answer = (trial.is_answer)(&said);
                    is_answer.then_some(Shown::Works).ok_or_else(|| {
                        answer.odd("it does not have the fields of an answer to this call")
                    })
                });
                said.map_err(|mut error| {
                    error.what.push_str(NO_PROOF);
                    error
                })
            }
            status @ (401 | 403) if answer.is_the_apis() => Ok(Shown::Refused(status)),
            300..=399 | 408 | 429 | 500.. => {
                Err(answer.fail(ErrorKind::Transient, "could not", ""))
            }
            // A page of something in between, which may be gone in a moment.
            _ if !answer.is_the_apis() => Err(answer.fail(ErrorKind::Transient, "could not", "")),
            // The call itself is wrong, which says nothing of the value.
            _ => Err(answer.fail(
                ErrorKind::Refused,
                "refused to",
                "the trial itself is refused, so choose another one with `verify`",
            )),
        }
    }
}

const NO_PROOF: &str = "; this proves nothing of the token, because the address does not answer as Dynatrace does: check `apps_url` and `verify`";

fn call(path: &str) -> Call {
    let what = "accept a platform token";
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let post = path == PERMISSIONS;
    let method = if post { Method::POST } else { Method::GET };
    let mut call = Call::new(what, Effect::Read, method, &segments);
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        call = call.query(key.into_owned(), value);
    }
    match post {
        true => call.body(&json!({ "permissions": [{ "permission": "app-engine:apps:run" }] })),
        false => call,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::dynatrace::tests::fake::Fake;

    fn chosen(scopes: &[&str], by: Verification) -> Option<String> {
        let scopes: Vec<String> = scopes.iter().map(|&scope| scope.to_owned()).collect();
        Trials::choose(&scopes, &by).map(|trial| trial.call.path.join("/"))
    }

    #[test]
    fn the_first_trial_that_the_scopes_allow_is_chosen() {
        let auto = |scopes: &[&str]| chosen(scopes, Verification::Auto);
        let environment = "platform/management/v1/environment";
        assert_eq!(
            auto(&["app-engine:functions:run"]).as_deref(),
            Some(environment)
        );
        let documents = "platform/document/v1/documents";
        assert_eq!(
            auto(&["a:b:c", "document:documents:read"]).as_deref(),
            Some(documents)
        );
        assert_eq!(auto(&["storage:metrics:write"]), None);
        assert_eq!(chosen(&["app-engine:apps:run"], Verification::Listed), None);
        let named = chosen(&[], Verification::Trial("GET /platform/x/v1/y?a=b".into()));
        assert_eq!(named.as_deref(), Some("platform/x/v1/y"));
        let words: Vec<_> = TRIALS.iter().map(|trial| trial.word).collect();
        assert_eq!(words, WORDS);
    }

    async fn shows(trial: &TrialCall, status: u16, body: &str) -> Result<Shown, CallError> {
        let fake = Fake::always(status, body).await;
        let base = BaseUrl::new(&fake.url).unwrap();
        let options = http::Options {
            timeout: Duration::from_secs(10),
            ..http::Options::default()
        };
        let trials = Trials::new([("prod", &base, &options)]).unwrap();
        let value = TokenValue::new("dt0s16.VICTIM.CANARY");
        trials.attempt("prod", trial, &value).await
    }

    #[tokio::test]
    async fn p9_whatever_answers_in_the_place_of_dynatrace_proves_nothing() {
        let mut words: Vec<&str> = WORDS.to_vec();
        words.push("GET /platform/x/v1/y");
        let answers = [
            (200, "<html><title>Sign in</title></html>"),
            (200, "{}"),
            (200, "[]"),
            (200, "null"),
            (200, "\"ok\""),
            (200, r#"{"error":{"code":403,"message":"no"}}"#),
            (200, ""),
            (204, ""),
        ];
        for word in words {
            let by = Verification::Trial(word.to_owned());
            let trial = Trials::choose(&[], &by).unwrap();
            for (status, body) in answers {
                let shown = shows(&trial, status, body).await;
                let error = shown.expect_err(&format!("{word}: {status} {body}"));
                assert_eq!(error.kind, ErrorKind::Transient, "{word}: {error}");
                let named = error.what.contains("apps_url") && error.what.contains("prod");
                assert!(named && !error.what.contains("CANARY"), "{error}");
            }
            if !word.starts_with("GET ") {
                assert!(shows(&trial, 200, r#"{"status":"up"}"#).await.is_err());
            }
        }
    }

    #[tokio::test]
    async fn the_answer_of_each_trial_proves_a_value() {
        for (word, body) in [
            ("environment", r#"{"environmentId":"abc12345"}"#),
            ("documents", r#"{"documents":[],"totalCount":0}"#),
            ("workflows", r#"{"results":[],"count":0}"#),
            ("settings", r#"{"items":[],"totalCount":0}"#),
            (
                "permissions",
                r#"[{"permission":"app-engine:apps:run","granted":"false"}]"#,
            ),
            ("user", r#"{"userId":"0f5c"}"#),
            ("GET /platform/document/v1/documents", r#"{"documents":[]}"#),
            ("GET /platform/x/v1/y", r#"{"anything":1}"#),
        ] {
            let trial = Trials::choose(&[], &Verification::Trial(word.to_owned())).unwrap();
            let shown = shows(&trial, 200, body).await;
            assert_eq!(shown.unwrap(), Shown::Works, "{word}");
            let refused = shows(&trial, 403, "").await;
            assert_eq!(refused.unwrap(), Shown::Refused(403), "{word}");
        }
    }
}
