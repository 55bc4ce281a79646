//! One call over one or more addresses. It knows no token's story: the caller gives the header to send.
//!
//! A write is sent to a second node only if it was certainly not carried out by the first.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::clock;
use crate::http::pacer::Pacer;
use crate::http::{self, ClientIdentity, Failure, Http};
use rotation::error::{CallError, ErrorKind};
use rotation::token::TokenValue;

use super::answer::{Answer, Trouble, Verdict, judge};
use super::index::Index;
use super::state::{Down, State};
use super::{SetupError, VaultOptions, path};

const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const REQUEST: HeaderName = HeaderName::from_static("x-vault-request");
const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
const INDEX: HeaderName = HeaderName::from_static("x-vault-index");
const INCONSISTENT: HeaderName = HeaderName::from_static("x-vault-inconsistent");

/// How often a node that lags behind is asked again, all nodes counted as one; with [`LAG`] between that is 2 seconds on average,
/// where a lag of 0.1 seconds was measured.
const LAGS: usize = 10;

/// The longest wait for a node that lags behind.
const LAG: Duration = Duration::from_millis(400);

/// Whether a call may change something that must not change twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// It may be sent any number of times.
    Read,
    /// It is sent at most once, unless it certainly was not carried out.
    Write,
}

/// A call of the API.
pub(super) struct Call {
    /// What it does, to be read after "cannot": `read secret/data/x`.
    pub(super) what: String,
    /// The path below `/v1/`, as people write it.
    pub(super) path: String,
    pub(super) method: Method,
    pub(super) query: Option<(&'static str, String)>,
    pub(super) body: Option<Zeroizing<Vec<u8>>>,
    pub(super) effect: Effect,
    /// The capabilities that a policy must give for it, where a missing one is worth naming.
    pub(super) needs: &'static [&'static str],
    /// The longest answer.
    pub(super) limit: usize,
    /// Over a connection that no other call used or will use, so that no answer of another call can be on it.
    pub(super) own_connection: bool,
}

impl Call {
    /// A read of `path`.
    pub(super) fn get(path: impl Into<String>) -> Self {
        let path = path.into();
        Call {
            what: format!("read {path}"),
            path,
            method: Method::GET,
            query: None,
            body: None,
            effect: Effect::Read,
            needs: &["read"],
            limit: http::SMALL,
            own_connection: false,
        }
    }

    /// A POST to `path` that may be repeated; a caller that must not, says so.
    pub(super) fn post(path: impl Into<String>, body: &Value) -> Self {
        Call {
            method: Method::POST,
            body: Some(Zeroizing::new(body.to_string().into_bytes())),
            needs: &["update"],
            ..Call::get(path)
        }
    }

    /// A POST of texts that may be secret.
    pub(super) fn form(path: impl Into<String>, fields: &[(&'static str, TokenValue)]) -> Self {
        let mut call = Call::post(path, &Value::Null);
        // Built by hand, because `json!` would copy the values into memory that is not wiped.
        let mut body = Zeroizing::new(Vec::from(b"{"));
        for (number, (name, value)) in fields.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            body.extend_from_slice(format!("{comma}\"{name}\":").as_bytes());
            // There is no string that JSON cannot hold, and memory does not refuse.
            let _ = serde_json::to_writer(&mut *body, value.expose());
        }
        body.push(b'}');
        call.body = Some(body);
        call
    }

    /// Names it for error texts.
    pub(super) fn named(mut self, what: impl Into<String>) -> Self {
        self.what = what.into();
        self
    }

    /// The error for an answer whose data is not what Vault documents.
    pub(super) fn unexpected(&self) -> CallError {
        self.error(ErrorKind::Transient, "unexpected response format")
    }

    /// The path as it stands in the URL, or the error for one that no server takes as it stands.
    fn encoded(&self) -> Result<String, CallError> {
        path::encode(&self.path).ok_or_else(|| {
            self.error(
                ErrorKind::Refused,
                "a path must not have an empty, `.` or `..` segment",
            )
        })
    }
}

/// The way to the nodes of one cluster.
pub(super) struct Wire {
    http: Mutex<Http>,
    /// Makes a connection for each call.
    unpooled: Mutex<Http>,
    clock: http::ServerClock,
    nodes: Vec<Url>,
    /// The node that answered last.
    preferred: AtomicUsize,
    namespace: Option<HeaderValue>,
    index: Index,
    pacer: Pacer,
    pub(super) state: State,
}

impl Wire {
    pub(super) fn new(options: &VaultOptions) -> Result<Self, SetupError> {
        if options.addresses.is_empty() {
            return Err(SetupError::NoAddress);
        }
        let http = Http::new(&options.http)?;
        let namespace = options
            .namespace
            .as_deref()
            .filter(|text| !text.is_empty())
            .map(|text| HeaderValue::from_str(text).map_err(|_| SetupError::Namespace))
            .transpose()?;
        Ok(Wire {
            clock: http.clock().clone(),
            unpooled: Mutex::new(http.without_pool()?),
            http: Mutex::new(http),
            nodes: options.addresses.clone(),
            preferred: AtomicUsize::new(0),
            namespace,
            index: Index::default(),
            pacer: Pacer::default(),
            state: State::new(),
        })
    }

    pub(super) fn clock(&self) -> &http::ServerClock {
        &self.clock
    }

    /// Shows this certificate on every connection from now on; calls under way end on theirs.
    pub(super) fn show(&self, identity: &ClientIdentity) -> Result<(), http::BuildError> {
        let mut http = self.http.lock().unwrap_or_else(|e| e.into_inner());
        let showing = http.showing(identity)?;
        let unpooled = showing.without_pool()?;
        *http = showing;
        *self.unpooled.lock().unwrap_or_else(|e| e.into_inner()) = unpooled;
        Ok(())
    }

    fn http(&self, own_connection: bool) -> Http {
        let http = if own_connection {
            &self.unpooled
        } else {
            &self.http
        };
        http.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }

    /// Makes the call, at one node after another until Vault has spoken, beginning with the one that answered last.
    /// An error that concerns every secret is recorded in the state; a success is not, because it may be an answer of 403.
    pub(super) async fn exchange(
        &self,
        call: &Call,
        token: Option<&HeaderValue>,
    ) -> Result<Answer, CallError> {
        let path = call.encoded()?;
        let first = self.preferred.load(Ordering::Relaxed);
        let mut lags = 0;
        let mut step = 0;
        let mut open = false;
        // A read that met a dead node behind a load balancer is sent once more, at once and over a separate connection.
        let (mut again, mut own) = (call.effect == Effect::Read, call.own_connection);
        let mut turn = self.pacer.call();
        let mut trouble = loop {
            if let Err(left) = turn.wait().await {
                let text = format!("rate limited (429) until {:.0}", clock::after(left.0));
                let error = call.error(ErrorKind::RateLimited, text);
                break Trouble::new(error.retry_after(Some(left.0)));
            }
            let at = (first + step) % self.nodes.len();
            step += 1;
            let last = step >= self.nodes.len();
            match self.ask(call, token, &self.nodes[at], &path, own).await {
                Verdict::Answer(answer) => {
                    turn.accepted();
                    self.preferred.store(at, Ordering::Relaxed);
                    return Ok(answer);
                }
                // Nothing was done, so the same node is asked again in its turn.
                Verdict::Limited(wish) => {
                    turn.limited(wish);
                    step -= 1;
                }
                Verdict::Lagging if lags < LAGS => {
                    lags += 1;
                    step %= self.nodes.len();
                    tokio::time::sleep(LAG.mul_f64(fastrand::f64().max(0.1))).await;
                }
                Verdict::Lagging => {
                    let text = "the node lags behind what was already seen";
                    break Trouble::new(call.error(ErrorKind::Transient, text));
                }
                Verdict::Elsewhere(trouble) => {
                    open |= trouble.open;
                    if last && again && trouble.dead_node {
                        (again, own) = (false, true);
                        step -= 1;
                    } else if last {
                        break trouble;
                    }
                }
                // A node that said nothing sensible is not the first to be asked the next time: it may hang for long.
                Verdict::Fail(trouble) => {
                    let next = if trouble.down.is_some() { at + 1 } else { at };
                    self.preferred.store(next, Ordering::Relaxed);
                    break trouble;
                }
            }
        };
        if let Some(down) = trouble.down {
            self.state.down(down, &trouble.error.what);
        }
        let kind = &mut trouble.error.kind;
        if open
            && call.effect == Effect::Write
            && matches!(
                kind,
                ErrorKind::Transient | ErrorKind::RateLimited | ErrorKind::Conflict
            )
        {
            *kind = ErrorKind::Unclear;
        }
        Err(trouble.error)
    }

    /// Asks all nodes at once for their health, which needs no token: `Ok` when one of them serves, else what the worst-off says that
    /// still speaks.
    pub(super) async fn health(&self) -> Result<(), Trouble> {
        let mut asked: FuturesUnordered<_> =
            self.nodes.iter().map(|node| self.health_of(node)).collect();
        let mut worst = None;
        while let Some(answer) = asked.next().await {
            match answer {
                Ok(()) => return Ok(()),
                Err(trouble) if trouble.down == Some(Down::Sealed) => worst = Some(trouble),
                Err(trouble) => {
                    worst.get_or_insert(trouble);
                }
            }
        }
        worst.map_or(Ok(()), Err)
    }

    async fn health_of(&self, node: &Url) -> Result<(), Trouble> {
        let mut call = Call::get("sys/health").named("ask Vault for its health");
        call.query = Some(("standbyok", "true&perfstandbyok=true".to_owned()));
        let sent = self
            .send(&call, None, None, node, "sys/health", false)
            .await;
        let reply = sent.map_err(|failure| self.lost(&call, node, &failure))?;
        let json = serde_json::from_slice::<Value>(&reply.body).is_ok_and(|b| b.is_object());
        let (text, down) = match reply.status {
            200 | 429 | 472 | 473 if json => return Ok(()),
            501 if json => ("Vault is not initialised".to_owned(), Down::Sealed),
            503 if json => ("Vault is sealed".to_owned(), Down::Sealed),
            status => (
                format!("{} answered {status}", host(node)),
                Down::Unreachable,
            ),
        };
        Err(Trouble::down(call.error(ErrorKind::Transient, text), down))
    }

    async fn ask(
        &self,
        call: &Call,
        token: Option<&HeaderValue>,
        node: &Url,
        path: &str,
        own: bool,
    ) -> Verdict {
        let reply = match self
            .send(call, token, self.namespace.as_ref(), node, path, own)
            .await
        {
            Ok(reply) => reply,
            Err(failure) => {
                let trouble = Trouble {
                    dead_node: failure.is_of_the_connection(),
                    ..self.lost(call, node, &failure)
                };
                return match trouble.error.kind {
                    ErrorKind::Unclear => Verdict::Fail(trouble),
                    _ => Verdict::Elsewhere(trouble),
                };
            }
        };
        if let Some(index) = reply.headers.get(INDEX) {
            self.index.note(index);
        }
        let verdict = judge(call, token, reply);
        if let Verdict::Answer(answer) = &verdict
            && answer.status == 400
            && answer.words().contains("X-Vault-Index")
        {
            self.index.forget();
            return Verdict::Lagging;
        }
        verdict
    }

    async fn send(
        &self,
        call: &Call,
        token: Option<&HeaderValue>,
        namespace: Option<&HeaderValue>,
        node: &Url,
        path: &str,
        own: bool,
    ) -> Result<http::Reply, Failure> {
        let mut url = node.clone();
        let base = node.path().trim_end_matches('/');
        url.set_path(&format!("{base}/v1/{path}"));
        url.set_query(
            call.query
                .as_ref()
                .map(|(k, v)| format!("{k}={v}"))
                .as_deref(),
        );
        let http = self.http(own);
        let mut request = http
            .request(call.method.clone(), url)
            .header(REQUEST, HeaderValue::from_static("true"));
        if let Some(token) = token {
            request = request.header(TOKEN, token);
        }
        if let Some(namespace) = namespace {
            request = request.header(NAMESPACE, namespace);
        }
        if let Some(index) = self.index.header() {
            request = request
                .header(INDEX, index)
                .header(INCONSISTENT, "forward-active-node");
        }
        if let Some(body) = &call.body {
            request = request
                .header(CONTENT_TYPE, "application/json")
                .body(body.to_vec());
        }
        http.send(request, call.limit).await
    }

    fn lost(&self, call: &Call, node: &Url, failure: &Failure) -> Trouble {
        let text = format!("{}: {failure}", host(node));
        let kind = match (failure, call.effect) {
            (Failure::NotSent(_), _) | (_, Effect::Read) => ErrorKind::Transient,
            (Failure::MaybeSent(_) | Failure::NoAnswer(_), Effect::Write) => ErrorKind::Unclear,
        };
        Trouble::down(call.error(kind, text), Down::Unreachable)
    }
}

/// A node's origin, for people.
fn host(node: &Url) -> String {
    node.origin().ascii_serialization()
}
