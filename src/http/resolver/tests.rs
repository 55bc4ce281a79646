//! The resolver against DNS servers of the tests' own.

use std::collections::HashMap;
use std::path::Path;

use tokio::net::UdpSocket;

use super::*;

/// A DNS server that knows A and AAAA records, and counts what it was asked.
struct Dns {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Dns {
    async fn new(records: &[(&str, &str)]) -> Self {
        let records: HashMap<(String, u16), IpAddr> = records
            .iter()
            .map(|(name, address)| {
                let address: IpAddr = address.parse().unwrap();
                let kind = if address.is_ipv4() { 1 } else { 28 };
                (((*name).to_owned(), kind), address)
            })
            .collect();
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        let task = tokio::spawn(async move {
            let mut query = [0; 1500];
            while let Ok((length, peer)) = socket.recv_from(&mut query).await {
                let answer = reply(&query[..length], &records, &log);
                socket.send_to(&answer, peer).await.unwrap();
            }
        });
        Dns { port, asked, task }
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

fn reply(
    query: &[u8],
    records: &HashMap<(String, u16), IpAddr>,
    log: &Mutex<Vec<String>>,
) -> Vec<u8> {
    let (mut at, mut name) = (12, Vec::new());
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        name.push(String::from_utf8_lossy(&query[at + 1..end]).into_owned());
        at = end;
    }
    let name = name.join(".");
    let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
    log.lock().unwrap().push(name.clone());
    let found = records.get(&(name.clone(), kind));
    let known = records.keys().any(|(known, _)| *known == name);
    let mut answer = query[..2].to_vec();
    answer.extend([0x81, if known { 0x80 } else { 0x83 }, 0, 1, 0]);
    answer.extend([u8::from(found.is_some()), 0, 0, 0, 0]);
    answer.extend(&query[12..at + 5]);
    if let Some(address) = found {
        let bytes = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        answer.extend([0xc0, 12, 0, kind as u8, 0, 1, 0, 0, 14, 16, 0]);
        answer.push(bytes.len() as u8);
        answer.extend(bytes);
    }
    answer
}

/// A resolver over files in this folder.
fn resolver(folder: &Path, dns: &Dns) -> Resolver {
    let mut resolver = Resolver::of(
        folder.join("hosts"),
        folder.join("resolv.conf"),
        Duration::from_secs(2),
    );
    resolver.port = dns.port;
    resolver
}

async fn found(resolver: &Resolver, name: &str) -> String {
    match resolver.addresses(name).await {
        Ok(found) => {
            let found: Vec<_> = found.iter().map(IpAddr::to_string).collect();
            found.join(" ")
        }
        Err(why) => why,
    }
}

#[tokio::test]
async fn etc_hosts_comes_before_dns_and_needs_none() {
    let folder = tempfile::tempdir().unwrap();
    let dns = Dns::new(&[("vault.corp", "192.0.2.9")]).await;
    let resolver = resolver(folder.path(), &dns);
    let hosts = "\u{feff}nonsense\n127.0.0.1 localhost # vault.corp\n192.0.2.1\tVault.corp vault\n2001:db8::1 vault.corp.\n";
    std::fs::write(folder.path().join("hosts"), hosts).unwrap();
    for name in ["vault.corp", "VAULT.corp", "vault.corp."] {
        assert_eq!(found(&resolver, name).await, "192.0.2.1 2001:db8::1");
    }
    assert_eq!(found(&resolver, "vault").await, "192.0.2.1");
    assert_eq!(found(&resolver, "localhost").await, "127.0.0.1");
    assert_eq!(dns.asked(), Vec::<String>::new(), "not even for AAAA");
    std::fs::remove_file(folder.path().join("hosts")).unwrap();
    assert_eq!(
        found(&resolver, "vault.corp").await,
        "192.0.2.9",
        "both files are read again, and without resolv.conf this machine is asked"
    );
    for name in ["localhost", "LOCALHOST.", "a.localhost"] {
        assert_eq!(found(&resolver, name).await, "127.0.0.1 ::1");
    }
}

#[tokio::test]
async fn search_domains_and_ndots_are_followed() {
    let folder = tempfile::tempdir().unwrap();
    let dns = Dns::new(&[
        ("vault.ns.svc.cluster.local", "192.0.2.1"),
        ("my_vault", "192.0.2.2"),
        ("six.example.com", "2001:db8::6"),
    ])
    .await;
    let resolver = resolver(folder.path(), &dns);
    let write = |text: &str| std::fs::write(folder.path().join("resolv.conf"), text).unwrap();
    write("search ns.svc.cluster.local svc.cluster.local\nnameserver 127.0.0.1\noptions ndots:5\n");
    assert_eq!(found(&resolver, "vault").await, "192.0.2.1");
    assert_eq!(
        found(&resolver, "vault.ns").await,
        "192.0.2.1",
        "{:?}",
        dns.asked()
    );
    assert_eq!(
        found(&resolver, "vault.ns.svc.cluster.local").await,
        "192.0.2.1"
    );
    dns.asked();
    assert_eq!(found(&resolver, "six.example.com").await, "2001:db8::6");
    assert_eq!(
        dns.asked().last().unwrap(),
        "six.example.com",
        "the search list comes first"
    );
    assert_eq!(found(&resolver, "six.example.com.").await, "2001:db8::6");
    assert!(
        dns.asked().iter().all(|name| name == "six.example.com"),
        "a final dot: no search"
    );
    write("nameserver 127.0.0.1\n");
    assert_eq!(found(&resolver, "my_vault").await, "192.0.2.2");
    assert_eq!(
        found(&resolver, "vault").await,
        NOT_FOUND,
        "resolv.conf is read again"
    );
}

#[tokio::test]
async fn a_failure_is_named_and_not_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let dns = Dns::new(&[]).await;
    let mut resolver = resolver(folder.path(), &dns);
    assert_eq!(found(&resolver, "vault.corp").await, NOT_FOUND);
    let better = Dns::new(&[("vault.corp", "192.0.2.1")]).await;
    resolver.port = better.port;
    std::fs::write(folder.path().join("resolv.conf"), "nameserver 127.0.0.1\n").unwrap();
    assert_eq!(found(&resolver, "vault.corp").await, "192.0.2.1");
    better.asked();
    assert_eq!(found(&resolver, "vault.corp").await, "192.0.2.1");
    assert!(!better.asked().is_empty(), "no answer is cached");
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    resolver.port = silent.local_addr().unwrap().port();
    std::fs::write(folder.path().join("resolv.conf"), "options timeout:30\n").unwrap();
    let why = found(&resolver, "vault.corp").await;
    assert_eq!(why, "timeout: no DNS server answered");
}

#[tokio::test]
async fn many_connections_at_once_are_resolved() {
    let folder = tempfile::tempdir().unwrap();
    let dns = Dns::new(&[("vault.corp", "192.0.2.1"), ("vault.corp", "2001:db8::1")]).await;
    let resolver = resolver(folder.path(), &dns);
    let lookups = (0..300).map(|_| found(&resolver, "vault.corp"));
    for found in futures_util::future::join_all(lookups).await {
        assert_eq!(found, "2001:db8::1 192.0.2.1");
    }
}
