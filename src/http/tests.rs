//! What the client does when servers misbehave.

use std::path::Path;
use std::time::Duration;

use reqwest::Method;

use super::fake::{Fake, endless, nobody, reply, with};
use jiff::SignedDuration;

use super::*;

mod causes;

fn options() -> Options {
    Options {
        section: "[vault]".to_owned(),
        timeout: Duration::from_secs(5),
        ..Options::default()
    }
}

async fn get(url: &Url, options: &Options) -> Result<Reply, Failure> {
    let http = Http::new(options).unwrap();
    let mut url = url.clone();
    url.set_query(Some("canary=in-query"));
    http.send(http.request(Method::GET, url), SMALL).await
}

fn failed(result: Result<Reply, Failure>) -> Failure {
    match result {
        Ok(reply) => panic!("answered {}", reply.status),
        Err(failure) => failure,
    }
}

#[tokio::test]
async fn nobody_there_is_not_sent() {
    let failure = failed(get(&nobody().await, &options()).await);
    assert!(
        matches!(&failure, Failure::NotSent(why) if why.contains("refused") && !why.contains("canary")),
        "{failure:?}"
    );
}

#[tokio::test]
async fn a_server_without_tls_is_not_sent() {
    let fake = Fake::raw(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let mut url = fake.url.clone();
    url.set_scheme("https").unwrap();
    let failure = failed(get(&url, &options()).await);
    assert!(matches!(&failure, Failure::NotSent(_)), "{failure:?}");
}

#[tokio::test]
async fn plain_http_is_refused_where_all_must_be_https() {
    let fake = Fake::new(|_| reply(200, "")).await;
    let options = Options {
        https_only: true,
        ..options()
    };
    let failure = failed(get(&fake.url, &options).await);
    assert!(matches!(&failure, Failure::NotSent(_)), "{failure:?}");
    assert!(fake.seen().is_empty());
}

#[tokio::test]
async fn a_truncated_or_reset_answer_may_have_been_sent() {
    for bytes in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}"[..],
        b"HTTP/1.1 200",
        b"",
    ] {
        let fake = Fake::raw(bytes).await;
        let failure = failed(get(&fake.url, &options()).await);
        assert!(
            matches!(&failure, Failure::MaybeSent(why) if !why.contains("canary")),
            "{failure:?}"
        );
    }
}

#[tokio::test]
async fn an_endless_body_ends_at_the_bound_or_at_the_time() {
    let fake = Fake::new(|seen| {
        let silent = seen.path == "/silent";
        reply(
            200,
            endless("0123456789012345678901234567890123456789", silent),
        )
    })
    .await;
    let failure = failed(get(&fake.url, &options()).await);
    assert!(
        matches!(&failure, Failure::NoAnswer(why) if why.contains("longer")),
        "{failure:?}"
    );
    let short = Options {
        timeout: Duration::from_millis(300),
        ..options()
    };
    let failure = failed(get(&fake.url.join("/silent").unwrap(), &short).await);
    let timeout = Failure::NoAnswer("timeout: no complete response".to_owned());
    assert_eq!(failure, timeout);
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let fake = Fake::new(|_| with(reply(307, ""), "location", "/elsewhere")).await;
    let reply = get(&fake.url, &options()).await.ok().unwrap();
    assert_eq!((reply.status, fake.seen().len()), (307, 1));
    assert_eq!(fake.seen()[0].header("referer"), "");
}

#[tokio::test]
async fn the_servers_clock_and_its_wish_to_wait_are_told() {
    let fake = Fake::new(|seen| {
        let now = if seen.path == "/late" {
            "Mon, 01 Jan 2024 00:00:00 GMT"
        } else {
            "Fri, 01 Jan 2100 00:00:00 GMT"
        };
        let wait = match seen.path.as_str() {
            "/late" => "Mon, 01 Jan 2024 00:01:30 GMT",
            "/past" => "Mon, 01 Jan 2024 00:01:30 GMT",
            _ => " 7",
        };
        with(with(reply(429, ""), "date", now), "retry-after", wait)
    })
    .await;
    let http = Http::new(&options()).unwrap();
    assert_eq!(http.clock().skew(), None);
    for (path, wait, ahead) in [("/", 7, true), ("/late", 90, false), ("/past", 0, true)] {
        let request = http.request(Method::GET, fake.url.join(path).unwrap());
        let reply = http.send(request, SMALL).await.ok().unwrap();
        assert_eq!(
            reply.retry_after(),
            Some(Duration::from_secs(wait)),
            "{path}"
        );
        let skew = http.clock().skew().unwrap().ahead;
        assert_eq!(skew.is_positive(), ahead, "{path} {skew}");
        assert!(skew.abs() > SignedDuration::from_hours(24));
    }
}

#[tokio::test]
async fn a_clock_that_agrees_has_no_skew() {
    let fake = Fake::new(|_| reply(200, "")).await;
    let http = Http::new(&options()).unwrap();
    let request = http.request(Method::GET, fake.url.clone());
    // The server's own Date header is of this machine's clock.
    http.send(request, SMALL).await.ok().unwrap();
    assert_eq!(http.clock().skew().unwrap().ahead, SignedDuration::ZERO);
}

#[test]
fn p5_a_sensitive_header_does_not_show() {
    let value = sensitive("canary").unwrap();
    assert!(!format!("{value:?}").contains("canary"));
    assert!(sensitive("line\nbreak").is_none());
}

#[test]
fn a_file_without_certificates_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    let with = |path: &Path| {
        let options = Options {
            trust: Trust {
                only: Some(path.to_owned()),
                extra: None,
            },
            ..options()
        };
        Http::new(&options).err().unwrap().to_string()
    };
    assert!(with(&path).contains("ca.pem"));
    std::fs::write(&path, "no certificate").unwrap();
    assert!(
        with(&path).contains("holds no certificate"),
        "{}",
        with(&path)
    );
}
