//! A server for tests: it hands every request to a function and remembers what it saw. It ends with its value.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use reqwest::Url;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A request as it came.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

pub(crate) struct Fake {
    pub(crate) url: Url,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Fake {
    /// Answers every request with what `answer` makes of it.
    pub(crate) async fn new(
        answer: impl Fn(&Seen) -> Response + Clone + Send + Sync + 'static,
    ) -> Self {
        let (listener, url) = listen().await;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        let router = Router::new().fallback(move |request: Request| {
            let (answer, log) = (answer.clone(), log.clone());
            async move {
                let (parts, body) = request.into_parts();
                let body = to_bytes(body, usize::MAX).await.unwrap();
                let one = Seen {
                    method: parts.method.to_string(),
                    path: parts.uri.path().to_owned(),
                    query: parts.uri.query().unwrap_or_default().to_owned(),
                    headers: parts.headers,
                    body: String::from_utf8(body.to_vec()).unwrap(),
                };
                log.lock().unwrap().push(one.clone());
                answer(&one)
            }
        });
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Fake { url, seen, task }
    }

    /// Reads something, writes these bytes as they are, and closes, for every connection.
    pub(crate) async fn raw(bytes: &'static [u8]) -> Self {
        let (listener, url) = listen().await;
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut buffer = [0; 4096];
                let _ = stream.read(&mut buffer).await;
                let _ = stream.write_all(bytes).await;
            }
        });
        Fake {
            url,
            seen: Arc::default(),
            task,
        }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// How many requests with this method came for this path.
    pub(crate) fn count(&self, method: &str, path: &str) -> usize {
        let fits = |seen: &&Seen| seen.method == method && seen.path == path;
        self.seen().iter().filter(fits).count()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen() -> (TcpListener, Url) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, format!("http://{address}").parse().unwrap())
}

/// The address of a port on which nobody listens.
pub(crate) async fn nobody() -> Url {
    listen().await.1
}

/// An answer with a body.
pub(crate) fn reply(status: u16, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

/// The same answer with one more header.
pub(crate) fn with(mut response: Response, name: &'static str, value: &str) -> Response {
    response.headers_mut().insert(name, value.parse().unwrap());
    response
}

/// A body that never ends: with `chunk` again and again, or with nothing after it.
pub(crate) fn endless(chunk: &'static str, and_silent: bool) -> Body {
    use futures_util::StreamExt;
    use futures_util::stream::{once, pending, repeat};
    let item = move || Ok::<_, std::io::Error>(chunk);
    if and_silent {
        Body::from_stream(once(async move { item() }).chain(pending()))
    } else {
        Body::from_stream(repeat(()).map(move |()| item()))
    }
}
