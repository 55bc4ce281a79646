//! One call to an environment, and the sending of it.
//!
//! The only place that puts a credential into a header and a value into a body. It repeats nothing that could happen twice, follows no redirect, reads no
//! body beyond a bound, and its errors never hold a URL, a header or a body.

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::{Method, Url};
use zeroize::Zeroizing;

use super::answer::{Answer, Body};
use super::form::is_sendable;
use super::url::BaseUrl;
use super::wait;
use crate::clock;
use crate::http::pacer::{Pacer, TooLong};
use crate::http::{self, BuildError, Failure, Http, Reply};
use rotation::error::{CallError, ErrorKind, Service};
use rotation::token::TokenValue;

/// What a call does over there; it decides what a lost or odd answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Reads one token. A 404 says that there is none.
    Read,
    /// Lists tokens. A 404 says that this is not a tokens API.
    List,
    /// Changes or deletes one token.
    Change,
    /// Creates a token.
    Mint,
    /// Sends something that may arrive twice. A 404 says that nobody listens there.
    Tell,
}

impl Effect {
    /// Repeating it does no harm and losing its answer loses nothing.
    pub(super) fn is_read(self) -> bool {
        matches!(self, Effect::Read | Effect::List | Effect::Tell)
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
    pub(super) query: Vec<(String, String)>,
    /// The body: JSON, or a form.
    pub(super) body: Option<Zeroizing<String>>,
    /// The body is a form that holds the credential itself, so no header does.
    pub(super) is_form: bool,
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
            is_form: false,
            hide: None,
        }
    }

    /// A look-up by value, which is the same in both generations. A sendable value needs nothing escaped but quotes and
    /// backslashes, and the text is built in one piece, so that no copy of the value is left in a JSON tree.
    pub(super) fn look_up(value: &TokenValue, path: &[&str]) -> Self {
        let what = match value.id() {
            Some(id) => format!("look up token {id}"),
            None => "look up a token by its value".to_owned(),
        };
        let mut body = Zeroizing::new(String::with_capacity(2 * value.expose().len() + 12));
        body.push_str("{\"token\":\"");
        for c in value.expose().chars() {
            if matches!(c, '"' | '\\') {
                body.push('\\');
            }
            body.push(c);
        }
        body.push_str("\"}");
        Call {
            body: Some(body),
            hide: Some(value.clone()),
            ..Call::new(what, Effect::Read, Method::POST, path)
        }
    }

    /// The same call with a JSON body that holds no value of a token.
    pub(super) fn body(mut self, body: &serde_json::Value) -> Self {
        self.body = Some(Zeroizing::new(body.to_string()));
        self
    }

    /// The same call with a form that holds the credential.
    pub(super) fn form(mut self, fields: &[(&str, &str)]) -> Self {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(fields);
        self.body = Some(Zeroizing::new(form.finish()));
        self.is_form = true;
        self
    }

    /// The same call with a query parameter.
    pub(super) fn query(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.query.push((key.into(), value.into()));
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

/// How the credential of a call is sent, and what it is called in error sentences.
#[derive(Clone, Copy)]
pub(super) struct Scheme {
    /// The word in the header.
    pub(super) word: &'static str,
    pub(super) credential: &'static str,
    /// Errors have the envelope that is documented for the environment APIs. Without it the body of an error may be any text but a page.
    pub(super) has_envelope: bool,
}

impl Scheme {
    /// The management token of an environment.
    pub(super) const MANAGEMENT: Scheme = Scheme {
        word: "Api-Token",
        credential: "the management token",
        has_envelope: true,
    };
}

/// Where calls go and over which connections.
pub(super) struct Wire {
    /// The environment's name in configuration and error sentences.
    pub(super) name: String,
    base: BaseUrl,
    scheme: Scheme,
    pooled: Http,
    /// Separate connections, so that none of its calls goes where a call of `pooled` goes.
    second: Http,
    lone: Http,
    pacer: Pacer,
}

/// Which connections a call may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Via {
    /// Any that is open.
    Pool,
    /// One that is open and none of [`Via::Pool`]: an answer that belongs to a call there is not given here.
    Second,
    /// A new one of its own, closed afterwards: perhaps to another node of the cluster.
    Own,
}

impl Wire {
    /// The clock of the servers that answered.
    pub(super) fn clock(&self) -> &http::ServerClock {
        self.pooled.clock()
    }

    /// Builds the clients; sends nothing.
    pub(super) fn new(options: &super::Options) -> Result<Self, BuildError> {
        let (name, base) = (&options.name, &options.base_url);
        Wire::to(name, base, &options.http, Scheme::MANAGEMENT)
    }

    /// The same for any service.
    pub(super) fn to(
        name: &str,
        base: &BaseUrl,
        options: &http::Options,
        scheme: Scheme,
    ) -> Result<Self, BuildError> {
        let pooled = Http::new(options)?;
        Ok(Wire {
            name: name.to_owned(),
            base: base.clone(),
            scheme,
            second: pooled.with_another_pool()?,
            lone: pooled.without_pool()?,
            pooled,
            pacer: Pacer::default(),
        })
    }

    /// Sends one call. An answer of any status is an [`Answer`]; only a call without a whole answer is an error.
    pub(super) async fn send(
        &self,
        call: &Call,
        credential: &TokenValue,
        via: Via,
    ) -> Result<Answer, CallError> {
        let header = authorization(self.scheme.word, credential).ok_or_else(|| {
            let (name, what) = (&self.name, &call.what);
            let sentence = format!(
                "Dynatrace {name} was not asked to {what}: the credential is not a token value"
            );
            CallError::new(Service::Dynatrace, ErrorKind::Refused, sentence)
        })?;
        let reply = self.paced(call, &header, via).await?;
        Ok(Answer {
            environment: self.name.clone(),
            what: call.what.clone(),
            effect: call.effect,
            status: reply.status,
            retry_after: wait::asked_for(&reply),
            location: reply.headers.get(LOCATION).and_then(host_of),
            body: match self.scheme.has_envelope || reply.status < 400 {
                true => Body::read(reply.body),
                false => Body::read_freely(reply.body),
            },
            credential_name: self.scheme.credential,
            kept_in: None,
            credential: credential.clone(),
            hide: call.hide.clone(),
        })
    }

    /// Sends one call at the pace that the environment takes. A read that met a dead node behind a load balancer is sent once more, at once
    /// and over a separate connection.
    async fn paced(
        &self,
        call: &Call,
        credential: &HeaderValue,
        mut via: Via,
    ) -> Result<Reply, CallError> {
        let mut turn = self.pacer.call();
        let mut again = call.effect.is_read();
        loop {
            turn.wait().await.map_err(|left| self.limited(call, left))?;
            match self.attempt(call, credential, via).await {
                Ok(reply) if reply.status == 429 => turn.limited(wait::asked_for(&reply)),
                Ok(reply) if again && matches!(reply.status, 502..=504) => {
                    (again, via) = (false, Via::Own);
                }
                Ok(reply) => {
                    turn.accepted();
                    return Ok(reply);
                }
                Err(failure) if again && failure.is_of_the_connection() => {
                    (again, via) = (false, Via::Own);
                }
                Err(failure) => return Err(self.unanswered(call, failure)),
            }
        }
    }

    async fn attempt(
        &self,
        call: &Call,
        credential: &HeaderValue,
        via: Via,
    ) -> Result<Reply, Failure> {
        let http = match via {
            Via::Pool => &self.pooled,
            Via::Second => &self.second,
            Via::Own => &self.lone,
        };
        let mut request = http
            .request(call.method.clone(), call.url(&self.base))
            .header(ACCEPT, HeaderValue::from_static("application/json"));
        if !call.is_form {
            request = request.header(AUTHORIZATION, credential.clone());
        }
        if let Some(body) = &call.body {
            let content_type = match call.is_form {
                true => "application/x-www-form-urlencoded",
                false => "application/json; charset=utf-8",
            };
            request = request
                .header(CONTENT_TYPE, HeaderValue::from_static(content_type))
                .body(body.as_bytes().to_vec());
        }
        let limit = if call.effect == Effect::List {
            http::LISTING
        } else {
            http::SMALL
        };
        http.send(request, limit).await
    }

    /// The error of a call whose turn does not come in time.
    fn limited(&self, call: &Call, left: TooLong) -> CallError {
        let (name, what, left) = (&self.name, &call.what, left.0);
        let end = clock::after(left);
        let sentence =
            format!("Dynatrace {name} was not asked to {what}: rate limited (429) until {end:.0}");
        CallError::new(Service::Dynatrace, ErrorKind::RateLimited, sentence).retry_after(Some(left))
    }

    /// The error of a call that got no complete answer.
    fn unanswered(&self, call: &Call, failure: Failure) -> CallError {
        let (name, what) = (&self.name, &call.what);
        let (kind, sentence) = match &failure {
            Failure::NotSent(why) => (
                ErrorKind::Transient,
                format!("Dynatrace {name} could not be reached to {what}: {why}"),
            ),
            Failure::MaybeSent(_) | Failure::NoAnswer(_) => (
                call.effect.lost(),
                format!("Dynatrace {name} was asked to {what} and did not answer: {failure}"),
            ),
        };
        let doubt = if kind == ErrorKind::Unclear {
            "; it may have taken effect"
        } else {
            ""
        };
        CallError::new(Service::Dynatrace, kind, format!("{sentence}{doubt}"))
    }
}

fn authorization(word: &str, credential: &TokenValue) -> Option<HeaderValue> {
    if !is_sendable(credential) {
        return None;
    }
    http::sensitive(&Zeroizing::new(format!("{word} {}", credential.expose())))
}

/// The host of a redirect's target, and nothing else of it: a query may hold anything.
fn host_of(location: &HeaderValue) -> Option<String> {
    let url = Url::parse(location.to_str().ok()?).ok()?;
    url.host_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_up_carries_any_sendable_value_as_json() {
        let every: String = (0x21..=0x7e_u8).map(char::from).collect();
        let value = TokenValue::new(every.as_str());
        assert!(is_sendable(&value));
        let body = Call::look_up(&value, &[]).body.unwrap();
        let read: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(read, serde_json::json!({ "token": every }));
    }
}
