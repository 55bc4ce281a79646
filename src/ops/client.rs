//! The client of a running daemon's listener, for commands on the same machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::http::request;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::listener::{JOURNAL_HEADER, RECHECK_HEADER};

/// A daemon answers from memory; one that does not answer within this is stuck or none.
const PATIENCE: Duration = Duration::from_secs(5);
/// An answer is at most this long: the status of some ten thousand secrets.
const LONGEST: usize = 64 * 1024 * 1024;
/// A daemon reads a document again once a second at most.
const TOO_OFTEN_ENDS: Duration = Duration::from_millis(1500);
const TOO_OFTEN_PAUSE: Duration = Duration::from_millis(100);

/// What a listener answered.
pub struct Answer {
    /// 200 and so on.
    pub status: u16,
    /// The text.
    pub text: String,
    /// The digest of where the daemon's journal is, if it was said.
    pub journal: Option<String>,
}

/// Asks the daemon that listens at `listen` for `path`.
///
/// # Errors
/// A sentence: nobody listens, or the server is not an ops listener.
pub async fn ask(listen: SocketAddr, path: &str) -> Result<Answer, String> {
    send(listen, Request::get(path)).await
}

/// Asks the daemon that listens at `listen` to read a secret's journal document again. What it read less than a second ago may be older than the
/// change, so it is asked again until it reads.
///
/// # Errors
/// As [`ask`].
pub async fn recheck(listen: SocketAddr, secret: &str) -> Result<Answer, String> {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("secret", secret);
    let path = format!("/recheck?{}", query.finish());
    let until = Instant::now() + TOO_OFTEN_ENDS;
    loop {
        let answer = send(listen, Request::post(&path).header(RECHECK_HEADER, "1")).await?;
        if answer.status != StatusCode::TOO_MANY_REQUESTS.as_u16() || Instant::now() >= until {
            return Ok(answer);
        }
        tokio::time::sleep(TOO_OFTEN_PAUSE).await;
    }
}

async fn send(listen: SocketAddr, request: request::Builder) -> Result<Answer, String> {
    let at = reachable(listen);
    let talk = async {
        let stream = TcpStream::connect(at)
            .await
            .map_err(|error| error.to_string())?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        let request = request
            .header(header::HOST, at.to_string())
            .body(Empty::<Bytes>::new())
            .map_err(|error| error.to_string())?;
        let answer = async {
            let answer = sender
                .send_request(request)
                .await
                .map_err(|error| error.to_string())?;
            let status = answer.status().as_u16();
            let journal = answer.headers().get(JOURNAL_HEADER);
            let journal = journal.and_then(|value| Some(value.to_str().ok()?.to_owned()));
            let body = Limited::new(answer.into_body(), LONGEST).collect().await;
            let bytes = body.map_err(|error| error.to_string())?.to_bytes();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            Ok::<_, String>(Answer {
                status,
                text,
                journal,
            })
        };
        // The connection is driven beside the request.
        let (answer, _) = tokio::join!(answer, connection);
        answer
    };
    let told = tokio::time::timeout(PATIENCE, talk).await;
    told.unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())))
        .map_err(|why| format!("no daemon answered at {at}: {why}"))
}

/// Where a listener of all addresses is reached from this machine.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
