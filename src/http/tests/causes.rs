//! What a connection that fails says: the cause and the cure.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};

use super::*;

/// A certificate authority and a folder with its files.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Authority { issuer, folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A certificate for these names and its key, PEM.
    fn issue(&self, names: &[&str], end: i32) -> (String, String) {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_after = rcgen::date_time_ymd(end, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// A server with such a certificate; with `clients` it wants one of theirs.
    fn serve(&self, names: &[&str], end: i32, clients: bool) -> Url {
        let (certificate, key) = self.issue(names, end);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match clients {
            false => builder.with_no_client_auth(),
            true => {
                let mut roots = RootCertStore::empty();
                roots.add(self.issuer.der().clone()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let config = Arc::new(builder.with_single_cert(chain, key).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            for mut tcp in listener.incoming().map_while(Result::ok) {
                let mut tls = ServerConnection::new(config.clone()).unwrap();
                let mut stream = rustls::Stream::new(&mut tls, &mut tcp);
                if stream.read(&mut [0; 4096]).is_ok() {
                    let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
                }
            }
        });
        url.parse().unwrap()
    }
}

fn only(path: PathBuf) -> Trust {
    Trust {
        only: Some(path),
        extra: None,
    }
}

fn extra(path: PathBuf) -> Trust {
    Trust {
        only: None,
        extra: Some(path),
    }
}

/// The sentence of a request that was certainly not sent.
async fn not_sent(url: &Url, options: &Options) -> String {
    match failed(get(url, options).await) {
        Failure::NotSent(why) => {
            assert!(!why.contains("canary"), "{why}");
            why
        }
        Failure::MaybeSent(why) | Failure::NoAnswer(why) => panic!("may have been sent: {why}"),
    }
}

async fn works(url: &Url, options: &Options) -> bool {
    matches!(get(url, options).await, Ok(reply) if reply.status == 204)
}

#[tokio::test]
async fn an_unknown_authority_names_the_key_that_is_missing() {
    let (ours, other) = (Authority::new(), Authority::new());
    let url = ours.serve(&["127.0.0.1"], 2100, false);
    let with = |trust| Options { trust, ..options() };
    let why = not_sent(&url, &options()).await;
    assert!(why.contains("unknown certificate authority"), "{why}");
    assert!(
        why.contains("for a private CA set ca_file in [vault]"),
        "{why}"
    );
    let why = not_sent(&url, &with(only(other.file("ca.pem")))).await;
    assert!(why.contains("ca_file replaces the system's"), "{why}");
    assert!(why.contains("set ca_extra_file in [vault]"), "{why}");
    let why = not_sent(&url, &with(extra(other.file("ca.pem")))).await;
    assert!(why.contains("ca.pem does not have it either"), "{why}");
    for trust in [
        only(ours.file("ca.pem")),
        extra(ours.file("ca.pem")),
        // A folder of files, as VAULT_CAPATH names one.
        only(ours.folder.path().to_owned()),
        Trust {
            only: Some(other.file("ca.pem")),
            extra: Some(ours.file("ca.pem")),
        },
    ] {
        assert!(works(&url, &with(trust.clone())).await, "{trust:?}");
    }
}

#[tokio::test]
async fn a_certificate_of_another_name_is_named() {
    let ours = Authority::new();
    let url = ours.serve(&["vault.example.com", "10.0.0.1"], 2100, false);
    let with = |name: Option<&str>| Options {
        trust: only(ours.file("ca.pem")),
        tls_server_name: name.map(|name| ServerName::try_from(name.to_owned()).unwrap()),
        ..options()
    };
    let why = not_sent(&url, &with(None)).await;
    assert!(
        why.contains("is for vault.example.com, 10.0.0.1 and not for 127.0.0.1"),
        "{why}"
    );
    assert!(why.contains("set tls_server_name in [vault]"), "{why}");
    assert!(works(&url, &with(Some("vault.example.com"))).await);
    let why = not_sent(&url, &with(Some("other.example.com"))).await;
    assert!(why.contains("not for other.example.com"), "{why}");
    // Another name changes nothing about whom we trust.
    let strangers = Options {
        trust: Trust::default(),
        ..with(Some("vault.example.com"))
    };
    let why = not_sent(&url, &strangers).await;
    assert!(why.contains("unknown certificate authority"), "{why}");
}

#[tokio::test]
async fn an_expired_certificate_and_a_port_without_tls_are_told_apart() {
    let ours = Authority::new();
    let url = ours.serve(&["127.0.0.1"], 2001, false);
    let trusting = Options {
        trust: only(ours.file("ca.pem")),
        ..options()
    };
    let why = not_sent(&url, &trusting).await;
    assert!(why.contains("certificate has expired"), "{why}");
    let plain = Fake::raw(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let mut url = plain.url.clone();
    url.set_scheme("https").unwrap();
    let why = not_sent(&url, &options()).await;
    assert!(why.contains("speaks plain http on this port"), "{why}");
    assert!(why.contains("allow_http in [vault]"), "{why}");
}

#[tokio::test]
async fn a_server_that_wants_a_client_certificate_is_understood_before_anything_is_sent() {
    let ours = Authority::new();
    let url = ours.serve(&["127.0.0.1"], 2100, true);
    let mut wanted = Options {
        trust: only(ours.file("ca.pem")),
        ..options()
    };
    let why = not_sent(&url, &wanted).await;
    assert!(why.contains("wants a client certificate"), "{why}");
    assert!(
        why.contains("set client_cert_file and client_key_file in [vault]"),
        "{why}"
    );
    let (certificate, key) = ours.issue(&["client"], 2100);
    std::fs::write(ours.file("client.pem"), certificate).unwrap();
    std::fs::write(ours.file("client.key"), key).unwrap();
    wanted.client_certificate = Some(CertificateFiles {
        cert: ours.file("client.pem"),
        key: ours.file("client.key"),
    });
    assert!(works(&url, &wanted).await);
}

#[tokio::test]
async fn a_refused_connection_names_the_usual_port_where_the_address_has_none() {
    let vault = Options {
        usual_port: Some(8200),
        ..options()
    };
    let why = not_sent(&"https://127.0.0.1".parse().unwrap(), &vault).await;
    assert!(why.contains("refused"), "{why}");
    assert!(
        why.contains("the address in [vault] has no port, and 8200 is usual"),
        "{why}"
    );
    let why = not_sent(&nobody().await, &vault).await;
    assert!(why.contains("refused") && !why.contains("8200"), "{why}");
}

/// A proxy that lets one login through and answers `refusal` to all others.
fn proxy(login: Option<&'static str>, refusal: &'static str) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            let mut head = vec![0; 4096];
            let length = client.read(&mut head).unwrap_or_default();
            let head = String::from_utf8_lossy(&head[..length]).into_owned();
            let shown = head.lines().find_map(|line| {
                line.to_ascii_lowercase()
                    .starts_with("proxy-authorization: ")
                    .then(|| line.split_once(": ").unwrap().1.to_owned())
            });
            if login.is_none() || shown.as_deref() != login {
                let _ = client.write_all(refusal.as_bytes());
                continue;
            }
            let target = head.split_whitespace().nth(1).unwrap().to_owned();
            let server = TcpStream::connect(target).unwrap();
            let _ = client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n");
            let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || std::io::copy(&mut from, &mut to));
            let (mut from, mut to) = (server, client);
            let _ = std::io::copy(&mut from, &mut to);
        }
    });
    url.parse().unwrap()
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_with_its_status() {
    let ours = Authority::new();
    let url = ours.serve(&["127.0.0.1"], 2100, false);
    let login = ours.file("login");
    std::fs::write(&login, "me:canary\n").unwrap();
    let through = |url: &Url, auth_file: Option<PathBuf>| Options {
        trust: only(ours.file("ca.pem")),
        proxy: Some(Proxy {
            url: url.clone(),
            auth_file,
        }),
        ..options()
    };
    let shown = |url: &Url| url.origin().ascii_serialization();

    let strict = proxy(None, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    let why = not_sent(&url, &through(&strict, None)).await;
    assert!(why.contains(&shown(&strict)), "{why}");
    assert!(why.contains("it answered 403 Forbidden"), "{why}");
    assert!(why.contains("correct proxy in [vault]"), "{why}");

    let rude = proxy(None, "");
    let why = not_sent(&url, &through(&rude, None)).await;
    assert!(why.contains("it broke the connection off"), "{why}");

    let asking = proxy(
        Some("Basic bWU6Y2FuYXJ5"),
        "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
    );
    let why = not_sent(&url, &through(&asking, None)).await;
    assert!(why.contains("a user and a password (407)"), "{why}");
    assert!(why.contains("set proxy_auth_file in [vault]"), "{why}");
    let wrong = ours.file("wrong");
    std::fs::write(&wrong, "me:canary2").unwrap();
    let why = not_sent(&url, &through(&asking, Some(wrong))).await;
    assert!(why.contains("wrong"), "{why}");
    assert!(works(&url, &through(&asking, Some(login))).await);

    let gone = nobody().await;
    let why = not_sent(&url, &through(&gone, None)).await;
    let begin = format!("cannot reach the proxy {}: ", shown(&gone));
    assert!(why.starts_with(&begin) && why.contains("refused"), "{why}");
}

/// What goes to a plain http server goes to the proxy as a whole.
#[tokio::test]
async fn a_proxy_asks_for_a_login_on_the_way_to_plain_http_too() {
    let asking = Fake::new(|seen| match seen.header("proxy-authorization") {
        "Basic bWU6Y2FuYXJ5" => reply(204, ""),
        _ => reply(407, "canary"),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let login = folder.path().join("login");
    std::fs::write(&login, "me:canary").unwrap();
    let through = |auth_file| Options {
        proxy: Some(Proxy {
            url: asking.url.clone(),
            auth_file,
        }),
        ..options()
    };
    let target = "http://vault.example.com:8200/x".parse().unwrap();
    let why = not_sent(&target, &through(None)).await;
    assert!(why.contains("set proxy_auth_file in [vault]"), "{why}");
    assert!(works(&target, &through(Some(login))).await);
}
