//! A gate in front of a real Vault or OpenBao: every request passes through it, and the rules of `fault` can hold it, let it take
//! effect and lose its answer, or answer in the server's place. What stands behind it is asked for nothing of its own.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use jiff::SignedDuration;
use reqwest::{Client, Method, Url};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::calls::{Call, lock};
use crate::clock::Clock;
use crate::fault::handle::Fault;
use crate::fault::{Action, Answer, Rule};
use crate::kv;
use crate::message::{Incoming, Reply};
use crate::server::{self, Origin, Performing, Service, Site};

/// Headers that belong to a connection or are set again.
const NOT_PASSED: &[&str] = &[
    "connection",
    "content-length",
    "date",
    "host",
    "transfer-encoding",
];

/// A running gate. Dropping it ends it.
pub struct Gate {
    address: SocketAddr,
    relay: Arc<Relay>,
    listening: Mutex<Option<JoinHandle<io::Result<()>>>>,
    shut: Mutex<Option<Fault>>,
}

impl fmt::Debug for Gate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Gate")
            .field("url", &self.url())
            .finish_non_exhaustive()
    }
}

impl Gate {
    /// Listens on a free loopback port and passes everything to `upstream` (scheme, host, port) with `client`, which must follow
    /// no redirects.
    ///
    /// # Errors
    /// When no port can be had, or `upstream` is no URL.
    pub async fn start(upstream: &str, client: Client) -> io::Result<Gate> {
        let upstream = Url::parse(upstream)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let clock = Clock::default();
        let relay = Arc::new(Relay {
            site: Site::new(clock, std::time::Duration::ZERO, true),
            upstream,
            client,
        });
        let listener = TcpListener::bind(server::any_loopback_port()).await?;
        let address = listener.local_addr()?;
        let gate = Gate {
            address,
            relay,
            listening: Mutex::new(None),
            shut: Mutex::new(None),
        };
        gate.listen(listener);
        Ok(gate)
    }

    fn listen(&self, listener: TcpListener) {
        let origin = Arc::new(Only(Arc::clone(&self.relay)));
        *lock(&self.listening) = Some(tokio::spawn(server::serve(listener, origin)));
    }

    /// Where clients connect to.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on connections are refused, and those that are open are reset with their next request.
    pub async fn shut(&self) {
        let rule = Rule::any().always().then(Action::Reset);
        let fault = self.relay.site.faults.add_first(rule);
        lock(&self.shut).get_or_insert(fault);
        let task = lock(&self.listening).take();
        if let Some(task) = task {
            task.abort();
            // It ends by the abort; what it returns is of no interest.
            let _ = task.await;
        }
    }

    /// Listens again on the same port.
    ///
    /// # Errors
    /// When somebody else took the port meanwhile.
    pub async fn open(&self) -> io::Result<()> {
        if lock(&self.listening).is_none() {
            let listener = TcpListener::bind(self.address).await?;
            self.listen(listener);
        }
        if let Some(fault) = lock(&self.shut).take() {
            fault.remove();
        }
        Ok(())
    }

    /// Puts a rule into force. [`Action::ListLate`] has no meaning here and only answers.
    pub fn fault(&self, rule: Rule) -> Fault {
        self.relay.site.faults.add(rule)
    }

    /// Takes all rules out of force.
    pub fn clear_faults(&self) {
        self.relay.site.faults.clear();
    }

    /// The requests seen since the start or the last reset.
    pub fn calls(&self) -> Vec<Call> {
        self.relay.site.calls.all()
    }

    /// Forgets the calls so far.
    pub fn reset_calls(&self) {
        self.relay.site.calls.reset();
    }

    /// Moves the `Date` header that clients see.
    pub fn set_date_offset(&self, offset: SignedDuration) {
        self.relay.site.clock.set_date_offset(offset);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if let Some(task) = lock(&self.listening).take() {
            task.abort();
        }
    }
}

struct Only(Arc<Relay>);

impl Origin for Only {
    fn service_for(&self, _incoming: &Incoming) -> Option<Arc<dyn Service>> {
        Some(Arc::clone(&self.0) as Arc<dyn Service>)
    }

    fn clock(&self) -> &Clock {
        &self.0.site.clock
    }
}

struct Relay {
    site: Site,
    upstream: Url,
    client: Client,
}

impl Relay {
    async fn pass(&self, incoming: &Incoming) -> Result<Reply, reqwest::Error> {
        let mut url = self.upstream.clone();
        url.set_path(&incoming.path);
        url.set_query(incoming.query.as_deref());
        let method = Method::from_bytes(incoming.method.as_bytes()).unwrap_or_default();
        let mut request = self.client.request(method, url);
        for (name, value) in &incoming.headers {
            if !NOT_PASSED.contains(&name.as_str()) {
                request = request.header(name, value);
            }
        }
        let response = request.body(incoming.body.clone()).send().await?;
        let mut reply = Reply::empty(response.status().as_u16());
        for (name, value) in response.headers() {
            if let Ok(value) = value.to_str()
                && !NOT_PASSED.contains(&name.as_str())
            {
                reply = reply.with_header(name.as_str(), value);
            }
        }
        reply.body = response.bytes().await?.to_vec();
        Ok(reply)
    }
}

impl Service for Relay {
    fn site(&self) -> &Site {
        &self.site
    }

    fn describe(&self, incoming: &Incoming) -> Call {
        kv::describe(&self.site.clock, incoming)
    }

    /// A server that does not answer is what a load balancer says of it.
    fn perform<'a>(&'a self, incoming: &'a Incoming) -> Performing<'a> {
        Box::pin(async move {
            let passed = self.pass(incoming).await;
            passed.unwrap_or_else(|_| Answer::proxy(502).into())
        })
    }

    fn too_large(&self) -> Reply {
        Reply::vault_error(413, &["http: request body too large"])
    }
}
