//! The proxy of a client, and how it refused a connection.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::HeaderValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::{Host, Url};
use zeroize::Zeroizing;

use super::resolver::Resolver;
use super::{BuildError, sensitive};
use crate::credential;

/// How long the question for the reason of a refusal may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// A proxy; none is ever taken from the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Its address, without a user or a password.
    pub url: Url,
    /// The file that holds `user:password`.
    pub auth_file: Option<PathBuf>,
}

/// What a proxy is shown, as the value of `Proxy-Authorization`.
pub(super) fn authorization(proxy: &Proxy) -> Result<Option<HeaderValue>, BuildError> {
    let Some(path) = &proxy.auth_file else {
        return Ok(None);
    };
    let login =
        credential::read_login(path).map_err(|error| BuildError::Proxy(error.to_string()))?;
    let encoded = Zeroizing::new(BASE64_STANDARD.encode(login.expose()));
    Ok(sensitive(&Zeroizing::new(format!("Basic {}", *encoded))))
}

/// The status with which the proxy refuses to connect to this address, such as `403 Forbidden`. The client's own error does not have it, so
/// the proxy is asked once more. `None` = it cannot be had.
pub(super) async fn refusal(
    proxy: &Proxy,
    authorization: Option<&HeaderValue>,
    target: &Url,
    resolver: &Resolver,
) -> Option<String> {
    let answer = ask(proxy, authorization, target, resolver);
    let answer = tokio::time::timeout(PATIENCE, answer).await.ok()??;
    status(&answer)
}

/// The beginning of the proxy's answer.
async fn ask(
    proxy: &Proxy,
    authorization: Option<&HeaderValue>,
    target: &Url,
    resolver: &Resolver,
) -> Option<Vec<u8>> {
    let address = match proxy.url.host().filter(|_| proxy.url.scheme() == "http")? {
        Host::Domain(name) => *resolver.addresses(name).await.ok()?.first()?,
        Host::Ipv4(address) => address.into(),
        Host::Ipv6(address) => address.into(),
    };
    let address = SocketAddr::new(address, proxy.url.port_or_known_default()?);
    let mut stream = TcpStream::connect(address).await.ok()?;
    let at = format!("{}:{}", target.host_str()?, target.port_or_known_default()?);
    let mut request = Zeroizing::new(format!("CONNECT {at} HTTP/1.1\r\nHost: {at}\r\n"));
    if let Some(Ok(value)) = authorization.map(HeaderValue::to_str) {
        request.push_str("Proxy-Authorization: ");
        request.push_str(value);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    while !answer.contains(&b'\n') && answer.len() < 256 {
        if stream.read_buf(&mut answer).await.ok()? == 0 {
            break;
        }
    }
    Some(answer)
}

/// `403 Forbidden` of `HTTP/1.1 403 Forbidden`; only the number, if the rest is not plain text.
fn status(answer: &[u8]) -> Option<String> {
    let line = answer
        .split(|byte| *byte == b'\r' || *byte == b'\n')
        .next()?;
    let text = std::str::from_utf8(line).ok()?;
    let (_, status) = text.strip_prefix("HTTP/")?.split_once(' ')?;
    let number = status.get(..3)?;
    if !number.bytes().all(|byte| byte.is_ascii_digit()) || number == "200" {
        return None;
    }
    let plain = |c: char| c.is_ascii_graphic() || c == ' ';
    let whole = status.len() <= 60 && status.chars().all(plain);
    Some(if whole { status.trim() } else { number }.to_owned())
}
