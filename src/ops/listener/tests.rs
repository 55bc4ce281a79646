//! The listener over real sockets.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::client::{ask, recheck};
use super::super::counters::Counters;
use super::super::fixture;
use super::super::rotations::Rotation;
use super::super::secret::Secret;
use super::super::status::Status;
use super::super::upcoming::Outlook;
use super::*;

/// Shows the fixture; its main loop turned `idle` ago.
struct Sample {
    idle: Duration,
    ready: bool,
    counters: Counters,
    /// How often the secret `soon` was to be read again.
    rechecks: AtomicUsize,
}

impl Source for Sample {
    fn journal(&self) -> crate::ops::status::JournalPlace {
        let daemon = crate::ops::fixture::status().daemon;
        daemon.and_then(|daemon| daemon.journal).expect("a journal")
    }
    fn status(&self) -> Status {
        fixture::status()
    }
    fn readiness(&self) -> Result<String, String> {
        match self.ready {
            true => Ok("ready".to_owned()),
            false => Err("waiting for Vault: sealed".to_owned()),
        }
    }
    fn idle(&self) -> Duration {
        self.idle
    }
    fn log_lines_dropped(&self) -> u64 {
        7
    }
    fn counters(&self) -> &Counters {
        &self.counters
    }
    fn outlook(&self, secrets: &[Secret]) -> Outlook {
        fixture::outlook(secrets)
    }
    fn rotations(&self, secrets: &[Secret]) -> BoxFuture<'static, BTreeMap<String, Vec<Rotation>>> {
        let rotations = fixture::rotations(secrets);
        Box::pin(async move { rotations })
    }
    fn recheck(&self, secret: &str) -> BoxFuture<'static, Recheck> {
        let answer = match secret {
            "a/b c" => Recheck::Done,
            "often" => Recheck::TooOften,
            "soon" if self.rechecks.fetch_add(1, Ordering::Relaxed) < 2 => Recheck::TooOften,
            "soon" => Recheck::Done,
            _ => Recheck::Unknown,
        };
        Box::pin(async move { answer })
    }
}

fn server(details: Details, timeouts: Timeouts) -> Server {
    let source = Sample {
        idle: Duration::ZERO,
        ready: true,
        counters: Counters::default(),
        rechecks: AtomicUsize::new(0),
    };
    Server {
        details,
        source: Arc::new(source),
        timeouts,
    }
}

async fn listener(details: Details, idle: u64, ready: bool) -> (Listener, SocketAddr) {
    let source = Sample {
        idle: Duration::from_secs(idle),
        ready,
        counters: Counters::default(),
        rechecks: AtomicUsize::new(0),
    };
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = Listener::bind(any, details, Arc::new(source));
    let listener = listener.unwrap();
    let address = listener.address();
    (listener, address)
}

/// Sends these bytes and reads to the end.
async fn raw(at: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is an end, too.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

async fn status_of(at: SocketAddr, path: &str) -> u16 {
    ask(at, path).await.unwrap().status
}

#[tokio::test]
async fn a_misspelt_state_is_refused_with_those_that_there_are() {
    let (_listener, at) = listener(Details::Always, 0, true).await;
    for path in ["/?state=stuk", "/status?state=stuk"] {
        let answer = ask(at, path).await.unwrap();
        assert_eq!(answer.status, 400, "{path}");
        assert!(
            answer.text.contains("unknown state \"stuk\"") && answer.text.contains("stuck"),
            "{}",
            answer.text
        );
    }
    for path in ["/?state=stuck", "/status?state="] {
        assert_eq!(status_of(at, path).await, 200, "{path}");
    }
}

#[tokio::test]
async fn each_path_has_its_answer() {
    let (_listener, at) = listener(Details::Loopback, 1, true).await;
    for path in [
        "/healthz",
        "/readyz",
        "/metrics",
        "/status",
        "/",
        "/?x=y",
        "/runbooks/stuck-token-disabled.md",
    ] {
        assert_eq!(status_of(at, path).await, 200, "{path}");
    }
    for path in ["/metrics/../secret", "/runbooks/../security.md"] {
        assert_eq!(status_of(at, path).await, 404, "{path}");
    }
    let told = ask(at, "/status").await.unwrap().text;
    let read: Status = serde_json::from_str(&told).unwrap();
    assert_eq!(read, fixture::status(), "what is served is what is read");
    let page = raw(at, "GET / HTTP/1.1\r\nHost: localhost:1\r\n\r\n").await;
    assert!(page.contains("content-security-policy: default-src 'none'; style-src 'sha256-"));
    assert!(page.ends_with("</html>\n"));
}

#[tokio::test]
async fn liveness_is_the_main_loops_and_readiness_tells_what_is_waited_for() {
    let (_listener, at) = listener(Details::Never, 61, false).await;
    assert_eq!(status_of(at, "/healthz").await, 503);
    let ready = ask(at, "/readyz").await.unwrap();
    assert_eq!(
        (ready.status, ready.text.as_str()),
        (503, "waiting for Vault: sealed\n")
    );
    let (_listener, at) = listener(Details::Never, 5, false).await;
    assert_eq!(
        status_of(at, "/healthz").await,
        200,
        "P8: not ready is not dead"
    );
}

#[tokio::test]
async fn p7_nothing_but_get_and_head_is_answered() {
    let (_listener, at) = listener(Details::Loopback, 1, true).await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"] {
        let answer = raw(
            at,
            &format!("{method} /status HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}"),
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 405 "), "{method}: {answer}");
        assert!(answer.contains("allow: GET, HEAD"), "{answer}");
    }
    let head = raw(at, "HEAD / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").await;
    assert!(
        head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
}

#[tokio::test]
async fn details_are_for_loopback_unless_told_otherwise() {
    let (_listener, at) = listener(Details::Loopback, 1, true).await;
    let with =
        async |fields: &str| raw(at, &format!("GET /status HTTP/1.1\r\n{fields}\r\n\r\n")).await;
    for fields in [
        "Host: localhost",
        "Host: 127.0.0.1:9780",
        "Host: [::1]:9780",
        "Host: [::1]",
    ] {
        assert!(with(fields).await.starts_with("HTTP/1.1 200 "), "{fields}");
    }
    for fields in [
        "Host: rebound.example.com",
        "Host: localhost.example.com:9780",
        "Host: localhost\r\nX-Forwarded-For: 192.0.2.1",
        "Host: localhost\r\nForwarded: for=192.0.2.1",
    ] {
        assert!(with(fields).await.starts_with("HTTP/1.1 403 "), "{fields}");
    }
    let seen_from = async |peer: &str, details| {
        let request = Request::get("/").body(()).unwrap();
        let server = server(details, TIMEOUTS);
        let answer = server.answer(&request, peer.parse().unwrap()).await;
        answer.status().as_u16()
    };
    assert_eq!(seen_from("192.0.2.1:5", Details::Loopback).await, 403);
    assert_eq!(seen_from("192.0.2.1:5", Details::Always).await, 200);
    assert_eq!(seen_from("192.0.2.1:5", Details::Never).await, 403);
    // What a listener on [::] sees of IPv4.
    let mapped = seen_from("[::ffff:127.0.0.1]:5", Details::Loopback);
    assert_eq!(mapped.await, 200);
    let mapped = seen_from("[::ffff:192.0.2.1]:5", Details::Loopback);
    assert_eq!(mapped.await, 403);
}

#[tokio::test]
async fn a_recheck_is_for_commands_on_this_machine() {
    let (_listener, at) = listener(Details::Never, 1, true).await;
    for (secret, status) in [("a/b c", 200), ("x", 404)] {
        assert_eq!(
            recheck(at, secret).await.unwrap().status,
            status,
            "{secret}"
        );
    }
    let with = async |head: &str| raw(at, &format!("{head}\r\n\r\n")).await;
    let often = "POST /recheck?secret=often HTTP/1.1\r\nHost: localhost\r\nx-dtrotate-command: 1";
    assert!(with(often).await.starts_with("HTTP/1.1 429 "));
    let post = "POST /recheck?secret=a/b%20c HTTP/1.1\r\nHost: localhost";
    for (fields, status) in [
        ("\r\nx-dtrotate-command: 1", 200),
        ("", 403),
        (
            "\r\nx-dtrotate-command: 1\r\nX-Forwarded-For: 192.0.2.1",
            403,
        ),
    ] {
        let answer = with(&format!("{post}{fields}")).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{fields}: {answer}"
        );
    }
    let elsewhere =
        "POST /recheck?secret=x HTTP/1.1\r\nx-dtrotate-command: 1\r\nHost: rebound.example.com";
    assert!(with(elsewhere).await.starts_with("HTTP/1.1 403 "));
    let read = with("GET /recheck?secret=often HTTP/1.1\r\nHost: localhost").await;
    assert!(
        read.starts_with("HTTP/1.1 405 ") && read.contains("allow: POST"),
        "{read}"
    );
    let preflight = "OPTIONS /recheck HTTP/1.1\r\nHost: localhost\r\nOrigin: https://example.com";
    let preflight = with(preflight).await;
    assert!(!preflight.contains("access-control-allow"), "{preflight}");
}

#[tokio::test]
async fn a_command_that_comes_too_early_asks_again_until_its_change_is_read() {
    let (_listener, at) = listener(Details::Never, 1, true).await;
    assert_eq!(recheck(at, "soon").await.unwrap().status, 200);
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    let (_listener, at) = listener(Details::Loopback, 1, true).await;
    let long = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n",
        "a".repeat(64 * 1024)
    );
    assert!(!raw(at, &long).await.contains(" 200 "));
    let many = "A: b\r\n".repeat(100);
    assert!(
        !raw(at, &format!("GET / HTTP/1.1\r\n{many}\r\n"))
            .await
            .contains(" 200 ")
    );
    assert_eq!(status_of(at, "/healthz").await, 200);
}

#[tokio::test]
async fn who_is_slow_is_cut_off_and_disturbs_nobody() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = socket.local_addr().unwrap();
    let timeouts = Timeouts {
        head: Duration::from_millis(300),
        whole: Duration::from_millis(600),
    };
    let server = Arc::new(server(Details::Loopback, timeouts));
    let _listener = Listener {
        address: at,
        task: tokio::spawn(serve(socket, server)),
    };
    // Every slot is taken by somebody who sends no whole head.
    let mut slow = Vec::new();
    for _ in 0..slots::PER_PEER {
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\n")
            .await
            .unwrap();
        slow.push(stream);
    }
    let answer = raw(at, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    for mut stream in slow {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert!(
            !rest.starts_with(b"HTTP/1.1 200"),
            "the head was never ended"
        );
    }
}

#[tokio::test]
async fn p8_a_thousand_half_open_connections_of_a_stranger_delay_no_probe() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    let (_listener, at) = listener(Details::Loopback, 1, true).await;
    let mut strangers = Vec::new();
    for number in 0..1000 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let mut stream = socket.connect(at).await.unwrap();
        stream.write_all(b"GET /healthz HTTP").await.unwrap();
        strangers.push(stream);
        if number % 50 == 0 {
            let began = std::time::Instant::now();
            assert_eq!(status_of(at, "/healthz").await, 200);
            let took = began.elapsed();
            assert!(took < Duration::from_millis(100), "{number}: {took:?}");
        }
    }
    let began = std::time::Instant::now();
    let answers = (0..10).map(|_| status_of(at, "/healthz"));
    let answers = futures_util::future::join_all(answers).await;
    assert_eq!(answers, [200; 10]);
    let took = began.elapsed();
    assert!(took < Duration::from_millis(300), "{took:?}");
}

#[tokio::test]
async fn a_closed_listener_frees_its_address() {
    let (listener, at) = listener(Details::Loopback, 1, true).await;
    listener.close().await;
    assert!(ask(at, "/healthz").await.is_err());
    TcpListener::bind(at).await.unwrap();
}
