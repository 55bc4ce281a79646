//! The HTTP clients of an environment, bodies with a bound, and whether a failed request was sent at all.

use std::error::Error;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Proxy, Response};

use super::Options;
use super::call::Via;

/// Shorter than the idle time-out of usual load balancers (60 s): a request on a connection that the other side is just closing
/// fails, and for a mint that is an unclear outcome.
const IDLE: Duration = Duration::from_secs(20);

/// Builds a client: no redirects, no proxy from the environment, bounded times.
pub(super) fn client(options: &Options, via: Via) -> Result<Client, String> {
    // An error means that a provider is installed already, which is what is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder()
        .user_agent(options.user_agent.as_str())
        .redirect(Policy::none())
        .referer(false)
        .no_proxy()
        .timeout(options.timeout)
        .connect_timeout(options.timeout.min(Duration::from_secs(5)))
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(match via {
            Via::Pool => 8,
            Via::Own => 0,
        });
    if let Some(path) = &options.ca_file {
        let pem = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let roots = Certificate::from_pem_bundle(&pem)
            .map_err(|_| format!("{}: holds no certificate in PEM form", path.display()))?;
        builder = builder.tls_certs_merge(roots);
    }
    if let Some(proxy) = &options.proxy {
        let proxy = Proxy::all(proxy).map_err(|_| "the proxy is no URL".to_owned())?;
        builder = builder.proxy(proxy);
    }
    builder
        .build()
        .map_err(|error| format!("no HTTP client can be built: {}", chain(error)))
}

/// Why a request has no answer.
pub(super) enum Trouble {
    /// It never left this machine.
    NotSent(String),
    /// The time was over.
    TimedOut,
    /// It may have arrived.
    Lost(String),
}

/// Sorts a failed request.
pub(super) fn trouble(error: reqwest::Error) -> Trouble {
    if error.is_connect() || error.is_builder() {
        Trouble::NotSent(chain(error))
    } else if error.is_timeout() {
        Trouble::TimedOut
    } else {
        Trouble::Lost(chain(error))
    }
}

/// The body, if it ends in time and is at most `limit` bytes long.
pub(super) async fn bounded_body(mut response: Response, limit: usize) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= limit => body.extend_from_slice(&chunk),
            Ok(Some(_)) => return Err(format!("it is longer than {limit} bytes")),
            Ok(None) => return Ok(body),
            Err(error) if error.is_timeout() => return Err("it did not end in time".into()),
            Err(_) => return Err("it broke off".into()),
        }
    }
}

/// The error and its sources, without the URL.
fn chain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}
