//! Trials: harmless calls to an environment by which the value of a platform token shows that it works. Not every token may make one.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::json;

use super::super::BaseUrl;
use super::super::call::{Call, Effect, Scheme, Via, Wire};
use crate::http::{self, BuildError};
use rotation::error::{CallError, ErrorKind, Service};
use rotation::plan::Verification;
use rotation::token::TokenValue;

/// A trial by its word in the configuration, the scopes that allow it, and the path below the environment's address.
struct Trial {
    word: &'static str,
    scopes: &'static [&'static str],
    path: &'static str,
}

const APPS: &[&str] = &["app-engine:apps:run", "app-engine:functions:run"];

/// In the order in which they are chosen. Sources: the documentation of each call, and measurements of them with platform tokens.
const TRIALS: [Trial; 6] = [
    Trial {
        word: "environment",
        scopes: APPS,
        path: "/platform/management/v1/environment",
    },
    Trial {
        word: "documents",
        scopes: &["document:documents:read"],
        path: "/platform/document/v1/documents",
    },
    Trial {
        word: "workflows",
        scopes: &["automation:workflows:read"],
        path: "/platform/automation/v1/workflows",
    },
    Trial {
        word: "settings",
        scopes: &["settings:objects:read"],
        path: "/platform/classic/environment-api/v2/settings/objects?schemaIds=builtin:management-zones&pageSize=1",
    },
    Trial {
        word: "permissions",
        scopes: APPS,
        path: PERMISSIONS,
    },
    Trial {
        word: "user",
        scopes: &["app-engine:apps:run"],
        path: "/platform/metadata/v1/user",
    },
];

/// The one that is a question with a body.
const PERMISSIONS: &str = "/platform/management/v1/effective-permissions:resolve";

/// The words of the trials, as the configuration knows them.
pub const WORDS: [&str; 6] = [
    "environment",
    "documents",
    "workflows",
    "settings",
    "permissions",
    "user",
];

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
    pub(super) fn choose(scopes: &[String], by: &Verification) -> Option<Call> {
        let path = match by {
            Verification::Listed => return None,
            Verification::Auto => {
                let may = |trial: &&Trial| {
                    let has = |scope: &&str| scopes.iter().any(|own| own == scope);
                    trial.scopes.iter().any(has)
                };
                TRIALS.iter().find(may)?.path
            }
            Verification::Trial(name) => {
                let known = TRIALS.iter().find(|trial| trial.word == name);
                known.map_or_else(|| name.trim_start_matches("GET ").trim(), |it| it.path)
            }
        };
        Some(call(path))
    }

    /// Tries a value. A separate connection: perhaps it leads to another node of the service.
    ///
    /// # Errors
    /// It got no answer that says anything.
    pub(super) async fn attempt(
        &self,
        environment: &str,
        call: &Call,
        value: &TokenValue,
    ) -> Result<Shown, CallError> {
        let Some(wire) = self.0.get(environment) else {
            let what = format!(
                "environment {environment} has no address at which platform tokens can be tried; set `apps_url`, or `verify = \"listed\"`"
            );
            return Err(CallError::new(Service::Dynatrace, ErrorKind::Refused, what));
        };
        let answer = wire.send(call, value, Via::Own).await?;
        match answer.status {
            200..=299 => Ok(Shown::Works),
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
    use super::*;

    fn chosen(scopes: &[&str], by: Verification) -> Option<String> {
        let scopes: Vec<String> = scopes.iter().map(|&scope| scope.to_owned()).collect();
        Trials::choose(&scopes, &by).map(|call| call.path.join("/"))
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
}
