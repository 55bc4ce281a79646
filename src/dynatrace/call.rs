//! One call to an environment, and the sending of it.
//!
//! The only place that puts a credential into a header and a value into a body. It never retries, follows no redirect, reads no
//! body beyond a bound, and its errors never hold a URL, a header or a body.

use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::{Method, Url};
use zeroize::Zeroizing;

use super::answer::{Answer, Body};
use super::form::is_sendable;
use super::transport::{self, Trouble};
use super::url::BaseUrl;
use super::wait;
use crate::rotation::error::{CallError, ErrorKind, Service};
use crate::rotation::token::TokenValue;

/// The largest page of a listing: 500 tokens with every known scope each are 1.5 MB; v1 gives everything in one answer.
const LARGEST_LIST: usize = 8 << 20;
/// The largest of all other answers: one token with every scope there is has 3 kB.
const LARGEST_ANSWER: usize = 256 << 10;

/// What a call does over there; it decides what a lost or odd answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Reads one token. A 404 says that there is none.
    Read,
    /// Lists tokens. A 404 says that this is no tokens API.
    List,
    /// Changes or deletes one token.
    Change,
    /// Creates a token.
    Mint,
}

impl Effect {
    /// Repeating it does no harm and losing its answer loses nothing.
    pub(super) fn is_read(self) -> bool {
        matches!(self, Effect::Read | Effect::List)
    }

    /// The kind of a failure after which nobody knows what happened.
    pub(super) fn lost(self) -> ErrorKind {
        if self.is_read() {
            ErrorKind::Transient
        } else {
            ErrorKind::Unclear
        }
    }
}

/// One request below the environment's base URL, without its credential.
#[derive(Clone)]
pub(super) struct Call {
    /// What it is for, as it stands in an error sentence after "to": `create a token`.
    pub(super) what: String,
    /// What it does.
    pub(super) effect: Effect,
    /// The method.
    pub(super) method: Method,
    /// The path below the base URL, one segment each.
    pub(super) path: Vec<String>,
    /// The query. Never a value of a token: URLs are logged on the way.
    pub(super) query: Vec<(&'static str, String)>,
    /// The JSON body.
    pub(super) body: Option<Zeroizing<String>>,
    /// A value that stands in the body, so that it can be hidden should the answer repeat it.
    pub(super) hide: Option<TokenValue>,
}

impl Call {
    /// A call without query and body.
    pub(super) fn new(
        what: impl Into<String>,
        effect: Effect,
        method: Method,
        path: &[&str],
    ) -> Self {
        Call {
            what: what.into(),
            effect,
            method,
            path: path.iter().map(|&part| part.to_owned()).collect(),
            query: Vec::new(),
            body: None,
            hide: None,
        }
    }

    /// The same call with a JSON body.
    pub(super) fn body(mut self, body: &serde_json::Value) -> Self {
        self.body = Some(Zeroizing::new(body.to_string()));
        self
    }

    /// The same call with a query parameter.
    pub(super) fn query(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.query.push((key, value.into()));
        self
    }

    fn url(&self, base: &BaseUrl) -> Url {
        let mut url = base.join(self.path.iter().map(String::as_str));
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        url
    }
}

/// Where calls go and over which connections.
pub(super) struct Wire {
    /// The environment's name in configuration and error sentences.
    pub(super) name: String,
    base: BaseUrl,
    timeout: Duration,
    pooled: reqwest::Client,
    lone: reqwest::Client,
}

/// Which connections a call may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Via {
    /// Any that is open.
    Pool,
    /// A new one of its own, closed afterwards: perhaps to another node of the cluster.
    Own,
}

impl Wire {
    /// Builds the connections' clients.
    ///
    /// # Errors
    /// A sentence: the CA file or the proxy cannot be used.
    pub(super) fn new(options: &super::Options) -> Result<Self, String> {
        Ok(Wire {
            name: options.name.clone(),
            base: options.base_url.clone(),
            timeout: options.timeout,
            pooled: transport::client(options, Via::Pool)?,
            lone: transport::client(options, Via::Own)?,
        })
    }

    /// Sends one call. An answer of any status is an [`Answer`]; only a call without any is an error.
    pub(super) async fn send(
        &self,
        call: &Call,
        credential: &TokenValue,
        via: Via,
    ) -> Result<Answer, CallError> {
        let Some(header) = authorization(credential) else {
            let what = format!(
                "Dynatrace {} was not asked to {}: the credential is no token value (blank, or with white space or control characters in it)",
                self.name, call.what
            );
            return Err(CallError::new(Service::Dynatrace, ErrorKind::Refused, what));
        };
        let client = match via {
            Via::Pool => &self.pooled,
            Via::Own => &self.lone,
        };
        let mut request = client
            .request(call.method.clone(), call.url(&self.base))
            .header(AUTHORIZATION, header)
            .header(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(body) = &call.body {
            request = request
                .header(
                    CONTENT_TYPE,
                    HeaderValue::from_static("application/json; charset=utf-8"),
                )
                .body(body.as_bytes().to_vec());
        }
        let response = request
            .send()
            .await
            .map_err(|error| self.unanswered(call, error))?;
        let status = response.status();
        let retry_after = wait::asked_for(response.headers());
        let location = response.headers().get(LOCATION).and_then(host_of);
        let limit = if call.effect == Effect::List {
            LARGEST_LIST
        } else {
            LARGEST_ANSWER
        };
        let body = match transport::bounded_body(response, limit).await {
            Ok(bytes) => Body::read(bytes),
            Err(why) => Body::Broken(why),
        };
        Ok(Answer {
            environment: self.name.clone(),
            what: call.what.clone(),
            effect: call.effect,
            status,
            body,
            retry_after,
            location,
            credential: credential.clone(),
            hide: call.hide.clone(),
        })
    }

    /// The error of a call that got no answer.
    fn unanswered(&self, call: &Call, error: reqwest::Error) -> CallError {
        let (name, what) = (&self.name, &call.what);
        let (kind, sentence) = match transport::trouble(error) {
            Trouble::NotSent(why) => (
                ErrorKind::Transient,
                format!("Dynatrace {name} could not be reached to {what}: {why}"),
            ),
            Trouble::TimedOut => (
                call.effect.lost(),
                format!(
                    "Dynatrace {name} did not answer within {:?} when asked to {what}",
                    self.timeout
                ),
            ),
            Trouble::Lost(why) => (
                call.effect.lost(),
                format!(
                    "the connection to Dynatrace {name} broke when it was asked to {what}: {why}"
                ),
            ),
        };
        let all_the_same = if kind == ErrorKind::Unclear {
            "; it may have happened"
        } else {
            ""
        };
        CallError::new(
            Service::Dynatrace,
            kind,
            format!("{sentence}{all_the_same}"),
        )
    }
}

fn authorization(credential: &TokenValue) -> Option<HeaderValue> {
    if !is_sendable(credential) {
        return None;
    }
    let text = Zeroizing::new(format!("Api-Token {}", credential.expose()));
    let mut header = HeaderValue::from_str(&text).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// The host of a redirect's target, and nothing else of it: a query may hold anything.
fn host_of(location: &HeaderValue) -> Option<String> {
    let url = Url::parse(location.to_str().ok()?).ok()?;
    url.host_str().map(str::to_owned)
}
