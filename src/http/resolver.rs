//! Host names without the system's `getaddrinfo`: /etc/hosts, then the DNS servers of /etc/resolv.conf.
//!
//! `getaddrinfo` loads NSS modules of the host, and a statically linked program is killed by modules that were built for another glibc.
//! So nothing here or elsewhere may call it, and `hosts:` in nsswitch.conf has no effect. Both files are read at each resolution, which
//! happens once a connection: a change takes effect at once, and no answer is cached.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_resolver::Resolver as DnsResolver;
use hickory_resolver::config::LookupIpStrategy;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::Name;
use hickory_resolver::system_conf::parse_resolv_conf;
use reqwest::dns::{Addrs, Resolve, Resolving};

use crate::bounded_file::{self, ReadError};

mod unbound;

use unbound::Unbound;

type Dns = DnsResolver<Unbound>;

/// How long one DNS server may take to answer, where resolv.conf allows it more: a second one must be asked, or a lost packet be sent
/// again, before the connect timeout.
const PATIENCE: Duration = Duration::from_secs(1);

/// The limit of /etc/hosts, bytes: block lists have some hundred thousand lines.
const HOSTS: usize = 16 * 1024 * 1024;

/// Resolves host names. All clones share the DNS client.
#[derive(Clone)]
pub struct Resolver {
    hosts: PathBuf,
    resolv_conf: PathBuf,
    limit: Duration,
    client: Arc<Mutex<Option<Client>>>,
    #[cfg(test)]
    port: u16,
}

/// The DNS client that was made from a resolv.conf.
struct Client {
    resolv_conf: Vec<u8>,
    dns: Dns,
}

/// A host name could not be resolved.
#[derive(Debug, thiserror::Error)]
#[error("cannot resolve {name}: {why}")]
struct Unresolved {
    name: String,
    why: String,
}

impl Resolver {
    /// A resolver that follows the system's files, and takes at most `limit` for one name, its search list included.
    pub fn system(limit: Duration) -> Self {
        Self::of("/etc/hosts".into(), "/etc/resolv.conf".into(), limit)
    }

    fn of(hosts: PathBuf, resolv_conf: PathBuf, limit: Duration) -> Self {
        Resolver {
            limit,
            hosts,
            resolv_conf,
            client: Arc::default(),
            #[cfg(test)]
            port: 53,
        }
    }

    /// The addresses of a host, at least one.
    pub(super) async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        let bare = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let listed = match bounded_file::read(&self.hosts, HOSTS) {
            Ok(text) => in_hosts(&String::from_utf8_lossy(&text), &bare),
            // Many containers have none.
            Err(_) => Vec::new(),
        };
        if !listed.is_empty() {
            return Ok(listed);
        }
        if bare == "localhost" || bare.ends_with(".localhost") {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let client = self.client()?;
        // Not `from_utf8`: it refuses underscores, which names of containers have. Other alphabets are in punycode already.
        let parsed = Name::from_ascii(name).map_err(|error| error.to_string())?;
        let found = tokio::time::timeout(self.limit, client.lookup_ip(parsed)).await;
        let found = found
            .unwrap_or(Err(NetError::Timeout))
            .map_err(|e| words(&e))?;
        let found: Vec<IpAddr> = found.iter().collect();
        match found.is_empty() {
            true => Err(NOT_FOUND.to_owned()),
            false => Ok(found),
        }
    }

    /// The client for the servers that resolv.conf names now.
    fn client(&self) -> Result<Dns, String> {
        let text = match bounded_file::read(&self.resolv_conf, bounded_file::CREDENTIAL) {
            Ok(text) => text.to_vec(),
            Err(ReadError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(format!("{}: {error}", self.resolv_conf.display())),
        };
        let mut last = self.client.lock().unwrap_or_else(|e| e.into_inner());
        match &*last {
            Some(client) if client.resolv_conf == text => Ok(client.dns.clone()),
            _ => {
                let dns = self
                    .build(&text)
                    .map_err(|error| format!("{}: {error}", self.resolv_conf.display()))?;
                *last = Some(Client {
                    resolv_conf: text,
                    dns: dns.clone(),
                });
                Ok(dns)
            }
        }
    }

    fn build(&self, resolv_conf: &[u8]) -> Result<Dns, NetError> {
        let mut text = resolv_conf.to_vec();
        let named = String::from_utf8_lossy(resolv_conf)
            .lines()
            .any(|line| line.split_whitespace().next() == Some("nameserver"));
        if !named {
            // resolv.conf(5): "the default is to use the name server on the local machine".
            text.extend_from_slice(b"\nnameserver 127.0.0.1\n");
        }
        let (mut config, mut options) = parse_resolv_conf(text)?;
        if !config.search.is_empty() {
            // That of the host name, which counts only without a search list.
            config.domain = None;
        }
        #[cfg(test)]
        for server in &mut config.name_servers {
            for connection in &mut server.connections {
                connection.port = self.port;
            }
        }
        options.timeout = options.timeout.min(PATIENCE);
        options.ip_strategy = LookupIpStrategy::Ipv6AndIpv4;
        options.cache_size = 0;
        // Over TCP, where the answer was too long for UDP: as many as requests can be under way in all clients together.
        options.max_active_requests = 1024;
        let mut builder = Dns::builder_with_config(config, Unbound::default());
        *builder.options_mut() = options;
        builder.build()
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: reqwest::dns::Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            match resolver.addresses(name.as_str()).await {
                Ok(found) => {
                    // The caller puts the port of the URL in.
                    let found = found.into_iter().map(|address| SocketAddr::new(address, 0));
                    Ok(Box::new(found) as Addrs)
                }
                Err(why) => {
                    let name = name.as_str().to_owned();
                    Err(Box::new(Unresolved { name, why }) as Box<dyn Error + Send + Sync>)
                }
            }
        })
    }
}

const NOT_FOUND: &str = "host name not found in /etc/hosts or DNS";

/// What people search for.
fn words(error: &NetError) -> String {
    match error {
        NetError::Timeout => "timeout: no DNS server answered".to_owned(),
        error if error.is_nx_domain() || error.is_no_records_found() => NOT_FOUND.to_owned(),
        error => error.to_string(),
    }
}

/// The addresses of a name (lower case, no final dot) in the text of /etc/hosts, in its order.
fn in_hosts(text: &str, name: &str) -> Vec<IpAddr> {
    let line = |line: &str| {
        let mut words = line.split('#').next()?.split_whitespace();
        let address = words.next()?.parse().ok()?;
        let bare = |word: &str| {
            word.strip_suffix('.')
                .unwrap_or(word)
                .eq_ignore_ascii_case(name)
        };
        words.any(bare).then_some(address)
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests;
