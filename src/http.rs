//! The one HTTP client builder and the one way to send a request, for Vault and Dynatrace alike.
//!
//! It never follows a redirect (a redirect would carry `X-Vault-Token` to another host), never takes a proxy from the environment,
//! never repeats a request, never reads an answer without a bound, and never lets a URL, a header or a body into an error text.
//! Its failures say the one thing that matters afterwards: was the request certainly not sent, or may it have been?

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::header::{DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Certificate, Client, ClientBuilder, Identity, Method, Proxy, RequestBuilder, Url};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::{bounded_file, clock};

pub mod pacer;
mod resolver;

/// The bound of an ordinary answer: far above any secret or token, far below what could hurt.
pub const SMALL: usize = 1024 * 1024;

/// The bound of a listing: some hundred thousand names.
pub const LISTING: usize = 32 * 1024 * 1024;

/// How long a connection may take to stand, TLS included, where the total time allows.
const CONNECT: Duration = Duration::from_secs(3);

/// How long an idle connection is kept: below the 60 to 75 seconds of usual load balancers, since a request on a connection that
/// the server closes at the same moment has an unknown outcome.
const IDLE: Duration = Duration::from_secs(20);

/// Requests under way at once in one client; reqwest itself has no cap on connections.
const AT_ONCE: usize = 64;

/// What a client needs to know.
#[derive(Clone)]
pub struct Options {
    /// PEM file with root certificates, added to those of the system.
    pub ca_file: Option<PathBuf>,
    /// From the first byte sent to the last byte of the answer's body, connecting included.
    pub timeout: Duration,
    /// The proxy for every request; none is ever taken from the environment.
    pub proxy: Option<Url>,
    /// Every address is https: then plain http is refused, and roots are needed.
    pub https_only: bool,
    /// What the client shows of itself in the TLS handshake.
    pub identity: Option<ClientIdentity>,
}

/// A client's certificate chain and private key, as they stood in their files. No `Debug`; wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    pem: Zeroizing<Vec<u8>>,
    cert_file: PathBuf,
}

impl ClientIdentity {
    /// Reads the two files. What is in them is judged when a client is built.
    pub fn read(cert_file: &Path, key_file: &Path) -> Result<Self, BuildError> {
        let mut pem = read(cert_file)?;
        pem.push(b'\n');
        pem.extend_from_slice(&read(key_file)?);
        let cert_file = cert_file.to_owned();
        Ok(ClientIdentity { pem, cert_file })
    }
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
    /// The proxy's URL is not usable.
    #[error("the proxy cannot be used: {0}")]
    Proxy(String),
    /// TLS could not be set up, for example without any root certificates.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
}

/// An answer, whole. It has no `Debug`: its body may hold secrets. The body's own buffer is wiped when dropped; the buffers of the
/// layers below are not.
pub struct Reply {
    /// The status.
    pub status: u16,
    /// All headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Zeroizing<Vec<u8>>,
    /// When the request was sent, by the local clock.
    pub asked: Timestamp,
}

impl Reply {
    /// A header's text.
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The server's clock (`Date`, whole seconds).
    pub fn date(&self) -> Option<Timestamp> {
        http_date(self.header(&DATE)?)
    }

    /// `Retry-After`: seconds, or a date counted from the server's own clock.
    pub fn retry_after(&self) -> Option<Duration> {
        let text = self.header(&RETRY_AFTER)?.trim();
        if let Ok(seconds) = text.parse::<u64>() {
            return Some(Duration::from_secs(seconds));
        }
        let from = self.date().unwrap_or(self.asked);
        let wait = http_date(text)?.duration_since(from);
        Some(Duration::try_from(wait).unwrap_or_default())
    }
}

fn http_date(text: &str) -> Option<Timestamp> {
    Timestamp::try_from(httpdate::parse_http_date(text).ok()?).ok()
}

/// No whole answer came. The text is for people and holds no URL, header or body.
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

/// How far the clock of one server is from ours, from its last answer with a `Date`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skew {
    /// Server minus local; zero when the `Date` lies between asking and the end of the answer.
    pub ahead: SignedDuration,
    /// When the answer came, by the local clock.
    pub seen: Timestamp,
}

/// Keeps the latest [`Skew`] of one service. Cheap to clone; all clones share it.
#[derive(Clone, Debug, Default)]
pub struct ServerClock(Arc<Mutex<Option<Skew>>>);

impl ServerClock {
    /// The latest observation.
    pub fn skew(&self) -> Option<Skew> {
        *self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Takes a `Date` of an answer asked for and received at these local times. A `Date` has whole seconds, cut off.
    fn observe(&self, date: Timestamp, asked: Timestamp, seen: Timestamp) {
        let earliest = asked.saturating_sub(SignedDuration::from_secs(1));
        let ahead = match earliest {
            Ok(earliest) if date < earliest => date.duration_since(earliest),
            _ if date > seen => date.duration_since(seen),
            _ => SignedDuration::ZERO,
        };
        *self.0.lock().unwrap_or_else(|e| e.into_inner()) = Some(Skew { ahead, seen });
    }
}

/// A client for one service. Cheap to clone; all clones share its connections.
#[derive(Clone)]
pub struct Http {
    client: Client,
    shown: Option<ClientIdentity>,
    clock: ServerClock,
    slots: Arc<Semaphore>,
}

impl Http {
    /// Builds a client and reads the named files once.
    ///
    /// Where the machine has no root certificates at all, it still works with those of `ca_file` alone, and for plain http without any.
    pub fn new(options: &Options) -> Result<Self, BuildError> {
        Self::build(options, AT_ONCE)
    }

    /// The same, but every request gets a connection of its own, which is closed afterwards.
    pub fn without_pool(options: &Options) -> Result<Self, BuildError> {
        Self::build(options, 0)
    }

    fn build(options: &Options, idle: usize) -> Result<Self, BuildError> {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| {
            // An error means that a provider is installed already, which is what is wanted.
            let _ = rustls::crypto::ring::default_provider().install_default();
        });
        let roots = match &options.ca_file {
            Some(path) => certificates(path)?,
            None => Vec::new(),
        };
        let builder = || base(options, idle);
        let client = match builder()?.tls_certs_merge(roots.clone()).build() {
            Ok(client) => client,
            Err(_) if !roots.is_empty() || !options.https_only => builder()?
                .tls_certs_only(roots)
                .build()
                .map_err(|e| BuildError::Tls(chain(e)))?,
            Err(error) => return Err(BuildError::Tls(chain(error))),
        };
        Ok(Http {
            client,
            shown: options.identity.clone(),
            clock: ServerClock::default(),
            slots: Arc::new(Semaphore::new(AT_ONCE)),
        })
    }

    /// Shows this identity on all connections from now on, which are new ones unless it was shown already. Clock and bounds stay.
    pub fn show(&mut self, options: &Options, identity: &ClientIdentity) -> Result<(), BuildError> {
        if self.shown.as_ref() != Some(identity) {
            let identity = Some(identity.clone());
            let Http { client, shown, .. } = Self::new(&Options {
                identity,
                ..options.clone()
            })?;
            (self.client, self.shown) = (client, shown);
        }
        Ok(())
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
        let request = request.build().map_err(|e| Failure::NotSent(chain(e)))?;
        let _slot = self.slots.acquire().await;
        let asked = clock::now();
        let mut response = self.client.execute(request).await.map_err(failure)?;
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

/// A header value that no `Debug` shows. `None` if the text cannot stand in a header.
pub fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn base(options: &Options, idle: usize) -> Result<ClientBuilder, BuildError> {
    let connect = CONNECT.min(options.timeout / 2);
    let mut builder = Client::builder()
        .user_agent(concat!("dtrotate/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .retry(reqwest::retry::never())
        .timeout(options.timeout)
        .connect_timeout(connect)
        // Part of connecting: its own limit comes first, so that the error says what took the time.
        .dns_resolver(resolver::Resolver::system(connect * 4 / 5))
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(idle)
        .http2_keep_alive_interval(Duration::from_secs(30))
        .http2_keep_alive_timeout(Duration::from_secs(10))
        .https_only(options.https_only);
    if let Some(url) = &options.proxy {
        let proxy = Proxy::all(url.clone()).map_err(|e| BuildError::Proxy(chain(e)))?;
        builder = builder.proxy(proxy);
    }
    if let Some(ClientIdentity { pem, cert_file }) = &options.identity {
        let identity = Identity::from_pem(pem).map_err(|_| BuildError::Pem {
            path: cert_file.clone(),
            what: "certificate with its private key",
        })?;
        builder = builder.identity(identity);
    }
    Ok(builder)
}

fn certificates(path: &Path) -> Result<Vec<Certificate>, BuildError> {
    let nothing = || BuildError::Pem {
        path: path.to_owned(),
        what: "certificate",
    };
    match Certificate::from_pem_bundle(&read(path)?) {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(nothing()),
    }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, BuildError> {
    bounded_file::read(path, bounded_file::CERTIFICATES).map_err(|e| BuildError::Read {
        path: path.to_owned(),
        why: e.to_string(),
    })
}

fn failure(error: reqwest::Error) -> Failure {
    if error.is_connect() && error.is_timeout() {
        Failure::NotSent("timeout: no connection".to_owned())
    } else if error.is_connect() || error.is_builder() {
        Failure::NotSent(chain(error))
    } else {
        in_answer(error)
    }
}

fn in_answer(error: reqwest::Error) -> Failure {
    if error.is_timeout() {
        Failure::NoAnswer("timeout: no complete response".to_owned())
    } else {
        Failure::MaybeSent(chain(error))
    }
}

/// The causes of an error from the outside to the inside, without its URL.
fn chain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = String::new();
    let mut next: Option<&dyn std::error::Error> = std::error::Error::source(&error);
    if next.is_none() {
        return error.to_string();
    }
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&words);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
pub(crate) mod odd;
#[cfg(test)]
mod tests;
