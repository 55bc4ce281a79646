//! A scripted HTTP server: every request is shown to a function, which says what goes back over the wire.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What goes back.
pub enum Back {
    /// A whole answer.
    Answer(u16, String),
    /// A whole answer with status 200, after which the connection stays open for the next request.
    Keep(String),
    /// These bytes, then the connection is closed.
    Raw(String),
    /// The connection is closed without an answer.
    Close,
    /// Nothing, ever.
    Silence,
    /// A head that promises a body, and then one byte after the other without end.
    Drip(u16),
}

/// A running server; it ends when dropped.
pub struct Fake {
    pub url: String,
    /// Head and body of each request.
    pub seen: Arc<Mutex<Vec<String>>>,
    /// How many connections were opened.
    pub connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fake {
    pub async fn start(script: impl Fn(&str) -> Back + Send + Sync + 'static) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/e/E1", listener.local_addr().unwrap());
        let (seen, script) = (Arc::new(Mutex::new(Vec::new())), Arc::new(script));
        let (log, connections) = (seen.clone(), Arc::new(AtomicUsize::new(0)));
        let count = connections.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, script.clone(), log.clone()));
            }
        });
        Fake {
            url,
            seen,
            connections,
            task,
        }
    }

    /// The same answer to everything.
    pub async fn always(status: u16, body: &str) -> Fake {
        let body = body.to_owned();
        Fake::start(move |_| Back::Answer(status, body.clone())).await
    }

    pub fn requests(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(
    mut stream: TcpStream,
    script: Arc<impl Fn(&str) -> Back>,
    log: Arc<Mutex<Vec<String>>>,
) {
    let last = loop {
        let Some(request) = read_request(&mut stream).await else {
            return;
        };
        log.lock().unwrap().push(request.clone());
        let back = script(&request);
        let Back::Keep(body) = back else {
            break back;
        };
        let answer = format!(
            "HTTP/1.1 200 X\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    };
    let bytes = match last {
        Back::Answer(status, body) => format!(
            "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ),
        Back::Keep(_) => unreachable!("such an answer stays in the loop"),
        Back::Raw(bytes) => bytes,
        Back::Close => return,
        Back::Silence => std::future::pending().await,
        Back::Drip(status) => {
            let head = format!("HTTP/1.1 {status} X\r\ncontent-length: 1000000\r\n\r\n");
            let mut sent = stream.write_all(head.as_bytes()).await;
            while sent.is_ok() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                sent = stream.write_all(b" ").await;
            }
            return;
        }
    };
    let _ = stream.write_all(bytes.as_bytes()).await;
    let _ = stream.shutdown().await;
}

async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let count = stream
            .read(&mut chunk)
            .await
            .ok()
            .filter(|count| *count > 0)?;
        bytes.extend_from_slice(&chunk[..count]);
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| {
                    line.to_lowercase()
                        .strip_prefix("content-length: ")?
                        .parse()
                        .ok()
                })
                .unwrap_or(0);
            if body.len() >= length {
                return Some(text.into_owned());
            }
        }
    }
}
