//! The listener: GET, HEAD and one POST, small requests, few connections (`slots.rs`), short timeouts. Probes, metrics and `/status` are answered
//! from what the daemon knows, so that Vault or Dynatrace being down, slow or gone never makes them wait.
//!
//! The server is hyper itself: it has the bounds that are wanted here, and a handful of paths needs no router.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderName};
use hyper::http::uri::Authority;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};

use crate::sanitize;

use super::view::{Page, Query};
use super::{Recheck, Source, metrics, page, runbooks};

mod slots;

use slots::{Asked, Slots};

/// Slow-client limits: a head is a single packet; an answer has some hundred kilobytes to cross a bad line.
const TIMEOUTS: Timeouts = Timeouts {
    head: Duration::from_secs(2),
    whole: Duration::from_secs(15),
};
/// Bytes of a request's head, and its fields. A browser sends a tenth.
const BUFFER: usize = 16 * 1024;
const FIELDS: usize = 64;
/// A main loop that did not turn for this long is considered dead. It turns every second, and waits for Vault's timeouts at most.
const ALIVE: Duration = Duration::from_secs(60);

/// Below this are the pages of the runbook.
const RUNBOOKS: &str = "/runbooks/";

/// A request that has an effect must bear it: a page in a browser cannot send it to another origin.
pub const RECHECK_HEADER: &str = "x-dtrotate-command";

/// A digest of where the daemon's journal is, in the answer of `/readyz`.
pub const JOURNAL_HEADER: &str = "x-dtrotate-journal";

/// How long a connection may take.
#[derive(Clone, Copy)]
struct Timeouts {
    /// To send a request's head.
    head: Duration,
    /// In all.
    whole: Duration,
}

/// To whom the page and the status are shown; health and metrics are for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Details {
    /// To this machine.
    Loopback,
    /// To everybody who can reach the listener.
    Always,
    /// To nobody.
    Never,
}

/// A listener at work; closed when dropped.
pub struct Listener {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Listener {
    /// Listens at `at` and serves what `source` shows. To be called inside a runtime.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub fn bind(
        at: SocketAddr,
        details: Details,
        source: Arc<dyn Source>,
    ) -> std::io::Result<Listener> {
        let socket = std::net::TcpListener::bind(at)?;
        socket.set_nonblocking(true)?;
        let socket = TcpListener::from_std(socket)?;
        let address = socket.local_addr()?;
        let server = Server {
            details,
            source,
            timeouts: TIMEOUTS,
        };
        Ok(Listener {
            address,
            task: tokio::spawn(serve(socket, Arc::new(server))),
        })
    }

    /// Where it listens; its port may have been the system's choice.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes it; the address is free when this returns.
    pub async fn close(mut self) {
        self.task.abort();
        // Stopped on purpose, it ends with an error.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What every connection needs.
struct Server {
    details: Details,
    source: Arc<dyn Source>,
    timeouts: Timeouts,
}

async fn serve(socket: TcpListener, server: Arc<Server>) {
    let mut slots: Slots<AbortHandle> = Slots::new();
    // They end with the listener.
    let mut connections = JoinSet::new();
    loop {
        match socket.accept().await {
            Ok((stream, peer)) => {
                while connections.try_join_next().is_some() {}
                slots.retain(|connection| !connection.is_finished());
                if let Some(oldest) = slots.make_room(peer.ip()) {
                    oldest.abort();
                }
                let (server, asked) = (server.clone(), Asked::default());
                let seen = asked.clone();
                let connection = connections.spawn(async move {
                    let whole = server.timeouts.whole;
                    // Whoever is slower than this, or does not speak HTTP, is cut off.
                    let _ =
                        tokio::time::timeout(whole, answer_one(stream, peer, server, seen)).await;
                });
                slots.enter(peer.ip(), asked, connection);
            }
            // Out of file descriptors, most likely: they come back.
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

/// One connection, one answer.
async fn answer_one(
    stream: TcpStream,
    peer: SocketAddr,
    server: Arc<Server>,
    asked: Asked,
) -> hyper::Result<()> {
    let head = server.timeouts.head;
    let service = service_fn(move |request: Request<Incoming>| {
        asked.set();
        let server = server.clone();
        async move { Ok::<_, Infallible>(server.answer(&request, peer).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .max_buf_size(BUFFER)
        .max_headers(FIELDS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

type Answer = Response<Full<Bytes>>;

impl Server {
    async fn answer<B>(&self, request: &Request<B>, peer: SocketAddr) -> Answer {
        let path = request.uri().path();
        let allowed = match path {
            "/recheck" => "POST",
            _ => "GET, HEAD",
        };
        if !allowed
            .split(", ")
            .any(|method| method == request.method().as_str())
        {
            let text = format!("method not allowed: {path} answers {allowed}");
            let answer = plain(StatusCode::METHOD_NOT_ALLOWED, text);
            return with(answer, header::ALLOW, allowed);
        }
        let query = Query::parse(request.uri().query().unwrap_or_default());
        match path {
            "/recheck" => self.recheck(request, peer).await,
            "/healthz" => match self.source.idle() {
                idle if idle < ALIVE => plain(StatusCode::OK, "alive".to_owned()),
                idle => {
                    let text = format!(
                        "the main loop has made no progress for {} s",
                        idle.as_secs()
                    );
                    plain(StatusCode::SERVICE_UNAVAILABLE, text)
                }
            },
            "/readyz" => {
                let answer = match self.source.readiness() {
                    Ok(text) => plain(StatusCode::OK, text),
                    Err(text) => plain(StatusCode::SERVICE_UNAVAILABLE, text),
                };
                let journal = self.source.journal().digest();
                with(answer, HeaderName::from_static(JOURNAL_HEADER), &journal)
            }
            "/metrics" => {
                let text = metrics::render(&*self.source);
                answer(
                    StatusCode::OK,
                    "text/plain; version=0.0.4; charset=utf-8",
                    text,
                )
            }
            path if is_detail(path) && !self.may_see(request, peer) => {
                let text =
                    "this is shown only to this machine (loopback); see [ops] details".to_owned();
                plain(StatusCode::FORBIDDEN, text)
            }
            path if is_detail(path) && query.problem().is_some() => {
                let text = query.problem().unwrap_or_default();
                plain(StatusCode::BAD_REQUEST, sanitize::line(&text))
            }
            "/status" => match serde_json::to_string(&query.of(&self.source.status())) {
                Ok(text) => {
                    let text = sanitize::json(&text).into_owned();
                    answer(StatusCode::OK, "application/json", text)
                }
                Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
            },
            "/" => {
                let (html, again) = self.page(&query).await;
                let answer = answer(StatusCode::OK, "text/html; charset=utf-8", html);
                let digest = ring::digest::digest(&ring::digest::SHA256, page::STYLE.as_bytes());
                let policy = format!(
                    "default-src 'none'; style-src 'sha256-{}'; img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
                    BASE64_STANDARD.encode(digest)
                );
                let answer = with(answer, header::CONTENT_SECURITY_POLICY, &policy);
                match query.is_still {
                    true => answer,
                    false => with(answer, header::REFRESH, &again.to_string()),
                }
            }
            path => match path.strip_prefix(RUNBOOKS).and_then(runbooks::page) {
                Some(text) => answer(StatusCode::OK, "text/plain; charset=utf-8", text.to_owned()),
                None => {
                    let text = "/ /status /runbooks/NAME /metrics /healthz /readyz, POST /recheck";
                    plain(StatusCode::NOT_FOUND, text.to_owned())
                }
            },
        }
    }

    /// The status page, and after how many seconds a browser asks for it again. The last rotations of the secrets on one page are read; those of
    /// all secrets would be too many.
    async fn page(&self, query: &Query) -> (String, i64) {
        let left = query.filtered(&self.source.status());
        let outlook = self.source.outlook(&left.secrets);
        let part = query.page_of(left);
        let rotations = match query.page {
            Page::Number(_) => self.source.rotations(&part.secrets).await,
            Page::All => BTreeMap::new(),
        };
        let extras = page::Extras { outlook, rotations };
        let html = page::render(&part, query, &extras);
        (html, extras.renewal(part.at))
    }

    /// A command has changed a secret's journal document. No web page can send the header without being asked for it first, and nothing here
    /// answers that question.
    async fn recheck<B>(&self, request: &Request<B>, peer: SocketAddr) -> Answer {
        if !is_local(request, peer) || !request.headers().contains_key(RECHECK_HEADER) {
            let text = format!(
                "rechecks are for commands on this machine, with the header {RECHECK_HEADER}"
            );
            return plain(StatusCode::FORBIDDEN, text);
        }
        let query = request.uri().query().unwrap_or_default();
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        let Some((_, name)) = pairs.find(|(key, _)| key == "secret") else {
            return plain(
                StatusCode::BAD_REQUEST,
                "which secret? /recheck?secret=NAME".to_owned(),
            );
        };
        let (status, text) = match self.source.recheck(&name).await {
            Recheck::Done => (StatusCode::OK, "read again"),
            Recheck::Unknown => (StatusCode::NOT_FOUND, "no secret has this name"),
            Recheck::TooOften => (
                StatusCode::TOO_MANY_REQUESTS,
                "read again less than a second ago",
            ),
        };
        plain(status, text.to_owned())
    }

    /// With `loopback` a request must come from this machine, not through a proxy on it, and not from a web page of a stranger's that
    /// has its name resolved to 127.0.0.1.
    fn may_see<B>(&self, request: &Request<B>, peer: SocketAddr) -> bool {
        match self.details {
            Details::Always => true,
            Details::Never => false,
            Details::Loopback => is_local(request, peer),
        }
    }
}

/// It shows names, ids and times.
fn is_detail(path: &str) -> bool {
    path == "/" || path == "/status"
}

/// The request comes from this machine, not through a proxy on it, and it names this machine.
fn is_local<B>(request: &Request<B>, peer: SocketAddr) -> bool {
    let text = |name: HeaderName| {
        request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let proxied = text(header::FORWARDED)
        .or_else(|| text(HeaderName::from_static("x-forwarded-for")))
        .is_some();
    let host = text(header::HOST).is_none_or(is_this_machine);
    peer.ip().to_canonical().is_loopback() && !proxied && host
}

fn plain(status: StatusCode, text: String) -> Answer {
    answer(status, "text/plain; charset=utf-8", text + "\n")
}

/// The `Host` is an address or `localhost`, with or without a port.
fn is_this_machine(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    let name = authority.host();
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

fn answer(status: StatusCode, kind: &str, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    let always = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    always
        .into_iter()
        .fold(answer, |answer, (name, value)| with(answer, name, value))
}

/// With one more header. A value that is none is left out; all of ours are.
fn with(mut answer: Answer, name: HeaderName, value: &str) -> Answer {
    if let Ok(value) = value.parse() {
        answer.headers_mut().insert(name, value);
    }
    answer
}

#[cfg(test)]
mod tests;
