//! The one HTTP client builder and the one way to send a request, for Vault and Dynatrace alike.
//!
//! It never follows a redirect (a redirect would carry `X-Vault-Token` to another host), never takes a proxy from the environment,
//! never repeats a request, never reads an answer without a bound, and never lets a URL, a header or a body into an error text.
//! Its failures say the one thing that matters afterwards: was the request certainly not sent, or may it have been?

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderValue;
use reqwest::{Client, Method, RequestBuilder, Url};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::clock;

mod explain;
pub mod pacer;
mod proxy;
mod reply;
mod resolver;
mod server_clock;
mod tls;

use explain::Cause;
pub use proxy::Proxy;
pub use reply::Reply;
use resolver::Resolver;
pub use server_clock::{ServerClock, Skew};
pub use tls::{CertificateFiles, ClientIdentity, Trust, certificates};

/// The bound of an ordinary answer: far above any secret or token, far below what could hurt.
pub const SMALL: usize = 1024 * 1024;

/// The bound of a listing: some hundred thousand names.
pub const LISTING: usize = 32 * 1024 * 1024;

/// How long a connection may take to stand, TLS included, where the total time allows.
const CONNECT: Duration = Duration::from_secs(3);

/// How long an idle connection is kept: below the 60 to 75 seconds of usual load balancers, because a request on a connection that
/// the server closes at the same moment has an unknown outcome.
const IDLE: Duration = Duration::from_secs(20);

/// Requests under way at once in one client; reqwest itself has no cap on connections.
const AT_ONCE: usize = 64;

/// How a service is reached: what its table of the configuration says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The table, for the cure in an error: `[vault]`.
    pub section: String,
    /// Whose certificates are accepted.
    pub trust: Trust,
    /// The name that the server's certificate must have, if it is not the host of the address.
    pub tls_server_name: Option<ServerName<'static>>,
    /// What the client shows of itself in the TLS handshake.
    pub client_certificate: Option<CertificateFiles>,
    /// The proxy for every request.
    pub proxy: Option<Proxy>,
    /// From the first byte sent to the last byte of the answer's body, connecting included.
    pub timeout: Duration,
    /// Every address is https: then plain http is refused, and roots are needed.
    pub https_only: bool,
    /// The port that the service usually has, for the cure where an address has none.
    pub usual_port: Option<u16>,
}

/// A client could not be built: a fault of the configuration or of the machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// A file could not be read.
    #[error("cannot read {}: {why}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// The system's words.
        why: String,
    },
    /// A file holds nothing usable.
    #[error("{} holds no {what} in PEM form", .path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// The proxy's URL or login is not usable.
    #[error("the proxy cannot be used: {0}")]
    Proxy(String),
    /// No certificate could be verified.
    #[error(
        "this machine has no root certificates: install the package ca-certificates, or set ca_file in {0}"
    )]
    NoRoots(String),
    /// TLS could not be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
}

/// No complete answer came. The text is for people and holds no URL, header or body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The request was certainly not sent: refused connection, name not found, TLS failure, connect timeout.
    #[error("{0}")]
    NotSent(String),
    /// The request may have been received and carried out: the connection broke.
    #[error("{0}")]
    MaybeSent(String),
    /// The same: no complete answer in time, or an oversized one.
    #[error("{0}")]
    NoAnswer(String),
}

impl Failure {
    /// The connection failed, so another one may lead to a node that works.
    pub fn is_of_the_connection(&self) -> bool {
        !matches!(self, Failure::NoAnswer(_))
    }
}

/// A client for one service. Cheap to clone; all clones share its connections.
#[derive(Clone)]
pub struct Http {
    client: Client,
    way: Arc<Way>,
    clock: ServerClock,
    slots: Arc<Semaphore>,
}

/// How connections are made; the pools of one service share it.
struct Way {
    options: Options,
    tls: ClientConfig,
    /// What the client shows of itself.
    identity: Option<ClientIdentity>,
    resolver: Resolver,
    /// What the proxy is shown.
    authorization: Option<HeaderValue>,
}

impl Http {
    /// Builds a client and reads the named files once.
    pub fn new(options: &Options) -> Result<Self, BuildError> {
        let files = options.client_certificate.as_ref();
        // One that cannot be used is reported by the login that needs it, and may be replaced until then.
        let identity = files.and_then(|files| ClientIdentity::read(files).ok());
        Self::with_identity(options, identity.as_ref())
    }

    fn with_identity(
        options: &Options,
        identity: Option<&ClientIdentity>,
    ) -> Result<Self, BuildError> {
        let proxy = options.proxy.as_ref();
        let way = Way {
            tls: tls::config(options, identity)?,
            identity: identity.cloned(),
            // Part of connecting: its own limit comes first, so that the error says what took the time.
            resolver: Resolver::system(connect_timeout(options) * 4 / 5),
            authorization: proxy.map(proxy::authorization).transpose()?.flatten(),
            options: options.clone(),
        };
        Ok(Http {
            client: way.client(AT_ONCE)?,
            way: Arc::new(way),
            clock: ServerClock::default(),
            slots: Arc::new(Semaphore::new(AT_ONCE)),
        })
    }

    /// A client for the same service with separate connections.
    pub fn with_another_pool(&self) -> Result<Self, BuildError> {
        self.beside(AT_ONCE)
    }

    /// A client for the same service in which every request gets a connection of its own, which is closed afterwards.
    pub fn without_pool(&self) -> Result<Self, BuildError> {
        self.beside(0)
    }

    fn beside(&self, idle: usize) -> Result<Self, BuildError> {
        Ok(Http {
            client: self.way.client(idle)?,
            way: self.way.clone(),
            clock: self.clock.clone(),
            slots: Arc::new(Semaphore::new(AT_ONCE)),
        })
    }

    /// The same client with this identity on all connections, which are new ones unless it was shown already. The clock stays.
    pub fn showing(&self, identity: &ClientIdentity) -> Result<Self, BuildError> {
        if self.way.identity.as_ref() == Some(identity) {
            return Ok(self.clone());
        }
        Ok(Http {
            clock: self.clock.clone(),
            ..Self::with_identity(&self.way.options, Some(identity))?
        })
    }

    /// The clock of the servers that answered.
    pub fn clock(&self) -> &ServerClock {
        &self.clock
    }

    /// A request to fill and hand to [`send`](Http::send).
    pub fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.client.request(method, url)
    }

    /// Sends the request once and reads the whole answer, at most `limit` bytes of it.
    pub async fn send(&self, request: RequestBuilder, limit: usize) -> Result<Reply, Failure> {
        let request = request
            .build()
            .map_err(|e| Failure::NotSent(explain::words(e)))?;
        let _slot = self.slots.acquire().await;
        let asked = clock::now();
        let mut response = match self.client.execute(request).await {
            Ok(response) => response,
            Err(error) => return Err(self.way.failure(error).await),
        };
        if let (407, Some(proxy)) = (response.status().as_u16(), &self.way.options.proxy) {
            return Err(Failure::NotSent(self.way.refused_login(proxy)));
        }
        let mut body = Zeroizing::new(Vec::new());
        while let Some(chunk) = response.chunk().await.map_err(in_answer)? {
            if body.len() + chunk.len() > limit {
                return Err(Failure::NoAnswer(format!(
                    "the answer is longer than {limit} bytes"
                )));
            }
            body.extend_from_slice(&chunk);
        }
        let reply = Reply {
            status: response.status().as_u16(),
            headers: std::mem::take(response.headers_mut()),
            body,
            asked,
        };
        if let Some(date) = reply.date() {
            self.clock.observe(date, asked, clock::now());
        }
        Ok(reply)
    }
}

fn connect_timeout(options: &Options) -> Duration {
    CONNECT.min(options.timeout / 2)
}

impl Way {
    /// A client that keeps so many idle connections to a host.
    fn client(&self, idle: usize) -> Result<Client, BuildError> {
        let mut builder = Client::builder()
            .user_agent(concat!("dtrotate/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .retry(reqwest::retry::never())
            .timeout(self.options.timeout)
            .connect_timeout(connect_timeout(&self.options))
            .dns_resolver(self.resolver.clone())
            .tls_backend_preconfigured(self.tls.clone())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(idle)
            .https_only(self.options.https_only);
        if let Some(proxy) = &self.options.proxy {
            let wrong = |error| BuildError::Proxy(explain::words(error));
            let mut proxy = reqwest::Proxy::all(proxy.url.clone()).map_err(wrong)?;
            if let Some(value) = &self.authorization {
                proxy = proxy.custom_http_auth(value.clone());
            }
            builder = builder.proxy(proxy);
        }
        builder
            .build()
            .map_err(|e| BuildError::Tls(explain::words(e)))
    }

    /// What an error means for the request, and what to do about it.
    async fn failure(&self, error: reqwest::Error) -> Failure {
        let not_sent = |sentence| Failure::NotSent(self.of_proxy(sentence));
        match explain::cause(&error) {
            Cause::Tls(tls) if error.is_connect() || explain::wants_certificate(tls) => {
                return Failure::NotSent(explain::tls(tls, &self.options));
            }
            Cause::Tunnel if error.is_connect() => {
                return Failure::NotSent(self.no_tunnel(error).await);
            }
            _ if !error.is_connect() && !error.is_builder() => return in_answer(error),
            _ if error.is_timeout() => {
                return not_sent(format!("timeout: no connection{}", self.port_hint(&error)));
            }
            Cause::Refused => return not_sent(self.refused(&error)),
            _ => {}
        }
        not_sent(explain::words(error))
    }

    /// With a proxy, it is the proxy that could not be reached.
    fn of_proxy(&self, sentence: String) -> String {
        match &self.options.proxy {
            Some(proxy) => format!("cannot reach the proxy {}: {sentence}", shown(&proxy.url)),
            None => sentence,
        }
    }

    /// Nobody listens there.
    fn refused(&self, error: &reqwest::Error) -> String {
        let hint = self.port_hint(error);
        match error.url().filter(|_| self.options.proxy.is_none()) {
            Some(url) if hint.is_empty() => format!(
                "connection refused by {}; check that it runs, and the address in {}",
                shown(url),
                self.options.section
            ),
            _ => format!("connection refused{hint}"),
        }
    }

    /// That the address has no port, where most have one.
    fn port_hint(&self, error: &reqwest::Error) -> String {
        let has_port = error.url().is_none_or(|url| url.port().is_some());
        match self.options.usual_port {
            Some(port) if !has_port && self.options.proxy.is_none() => {
                let section = &self.options.section;
                format!("; the address in {section} has no port, and {port} is usual")
            }
            _ => String::new(),
        }
    }

    async fn no_tunnel(&self, error: reqwest::Error) -> String {
        let (Some(proxy), Some(target)) = (&self.options.proxy, error.url()) else {
            return explain::words(error);
        };
        let authorization = self.authorization.as_ref();
        let status = proxy::refusal(proxy, authorization, target, &self.resolver).await;
        let words = || "broke the connection off".to_owned();
        let status = status.map_or_else(words, |status| format!("answered {status}"));
        if status.starts_with("answered 407") {
            return self.refused_login(proxy);
        }
        format!(
            "the proxy {} does not connect to this address: it {status}; allow it there, or correct proxy in {}",
            shown(&proxy.url),
            self.options.section
        )
    }

    fn refused_login(&self, proxy: &Proxy) -> String {
        let cure = match &proxy.auth_file {
            Some(path) => format!("it refused the one in {}", path.display()),
            None => format!("set proxy_auth_file in {}", self.options.section),
        };
        format!(
            "the proxy {} requires a user and a password (407): {cure}",
            shown(&proxy.url)
        )
    }
}

/// An address without its path.
fn shown(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// A header value that no `Debug` shows. `None` if the text cannot stand in a header.
pub fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn in_answer(error: reqwest::Error) -> Failure {
    if error.is_timeout() {
        Failure::NoAnswer("timeout: no complete response".to_owned())
    } else {
        Failure::MaybeSent(explain::words(error))
    }
}

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
pub(crate) mod odd;
#[cfg(test)]
mod tests;
