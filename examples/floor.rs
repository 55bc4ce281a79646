//! The plain client that `make bench` compares the program with: it makes the calls of a rotation and decides nothing.
//!
//! It has the program's HTTP client (the same features of reqwest, the same pool), its allocator and its single-threaded runtime. Every body is
//! built once and every answer is parsed once, into the fields that a rotation needs. So what the program costs beyond it is the program's own:
//! decisions, checks, the journal's content, log lines, metrics.
//!
//! It reads its order as JSON from stdin, since that holds tokens, and prints what it needed as JSON.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use reqwest::{Client, Method};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A journal document of the usual length, which is JSON in a string.
const DOCUMENT: &str = r#"{"schema":2,"min_reader":2,"name":"dynatrace/s1234","epoch":{"installation":"a1b2c3","secret":"d4e5f6"},"coordinates":{"environment":"prod","base_url":"http://127.0.0.1:40001","mount":"secret","path":"dynatrace/s1234","fields":["token"]},"adopted_at":"2026-01-01T00:00:00Z","rotation":7,"current":{"id":"dt0c01.ABCDEFGHIJKLMNOPQRSTUVWX","version":7,"since":"2026-01-01T00:00:00Z","order":7},"last_due":"2026-01-01T00:00:00Z","claim":{"holder":{"instance":"node/daemon","boot":"0123456789ab"},"taken":"2026-01-01T00:00:00Z","renewed":0,"work":{"rotate":{"trigger":"schedule","attempt":{"order":8}}}},"health":{"last_success":"2026-01-01T00:00:00Z"},"write_id":"0123456789abcdef0123456789abcdef"}"#;

type Outcome<T> = Result<T, Box<dyn Error>>;

#[derive(Deserialize)]
struct Order {
    vault: String,
    vault_token: String,
    dynatrace: String,
    management_token: String,
    secrets: usize,
    concurrency: usize,
    /// Read these paths below `/v1/` and do nothing else.
    reads: Option<Vec<String>>,
}

#[derive(Serialize)]
struct Needed {
    seconds: f64,
    cpu_seconds: f64,
    calls: usize,
}

fn main() -> Outcome<()> {
    let order: Order = serde_json::from_reader(io::stdin())?;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let plain = Plain {
        pooled: client()?,
        other: client()?,
        run: std::process::id(),
        calls: Cell::new(0),
        order,
    };
    let (began, before) = (Instant::now(), cpu_seconds()?);
    runtime.block_on(plain.work())?;
    let needed = Needed {
        seconds: began.elapsed().as_secs_f64(),
        cpu_seconds: cpu_seconds()? - before,
        calls: plain.calls.get(),
    };
    println!("{}", serde_json::to_string(&needed)?);
    Ok(())
}

/// As the program builds its own, except for what never happens here: certificates, name resolution, a proxy.
fn client() -> reqwest::Result<Client> {
    Client::builder()
        .user_agent("floor")
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .retry(reqwest::retry::never())
        .timeout(Duration::from_secs(10))
        .connect_timeout(Duration::from_secs(3))
        .pool_idle_timeout(Duration::from_secs(20))
        .pool_max_idle_per_host(64)
        .build()
}

/// The CPU that this thread, which is the only one with work, has had.
fn cpu_seconds() -> Outcome<f64> {
    let text = std::fs::read_to_string("/proc/self/schedstat")?;
    let nanoseconds: f64 = text.split(' ').next().unwrap_or_default().parse()?;
    Ok(nanoseconds / 1e9)
}

struct Plain {
    pooled: Client,
    /// Verifies on another connection than the mint's.
    other: Client,
    /// Its documents are not those of an earlier run.
    run: u32,
    calls: Cell<usize>,
    order: Order,
}

#[derive(Deserialize)]
struct Envelope<T> {
    data: T,
}

#[derive(Deserialize)]
struct Read {
    data: BTreeMap<String, String>,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    version: u64,
}

#[derive(Deserialize)]
struct Token {
    name: String,
    scopes: Vec<String>,
}

#[derive(Deserialize)]
struct Created {
    token: String,
}

#[derive(Serialize)]
struct Value<'a> {
    token: &'a str,
}

#[derive(Serialize)]
struct Mint<'a> {
    name: &'a str,
    scopes: &'a [String],
}

#[derive(Serialize)]
struct Write<T> {
    options: Cas,
    data: T,
}

#[derive(Serialize)]
struct Cas {
    cas: u64,
}

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    min_reader: u32,
    name: &'a str,
    document: &'a str,
}

impl Plain {
    /// All of it, as many at a time as the order says.
    async fn work(&self) -> Outcome<()> {
        let next = Cell::new(0);
        let worker = async || {
            while next.get() < self.order.secrets {
                let number = next.replace(next.get() + 1);
                match &self.order.reads {
                    None => self.rotate(number).await?,
                    Some(paths) => drop(self.get::<serde::de::IgnoredAny>(&paths[number]).await?),
                }
            }
            Outcome::Ok(())
        };
        try_join_all((0..self.order.concurrency).map(|_| worker())).await?;
        Ok(())
    }

    /// One rotation: up to the commit, then the look at the version that was replaced, and the history.
    async fn rotate(&self, number: usize) -> Outcome<()> {
        let Order {
            management_token, ..
        } = &self.order;
        let path = format!("secret/data/dynatrace/s{number}");
        let journal = format!("secret/data/floor/{}/s{number}", self.run);
        let history = format!("secret/data/floor/{}/_history/s{number}", self.run);
        let read: Read = self.get(&path).await?;
        let old = &read.data["token"];
        let token: Token = self
            .dynatrace(
                &self.pooled,
                "/lookup",
                management_token,
                &Value { token: old },
            )
            .await?;
        let claimed = self.put(&journal, 0, &document(&journal)).await?;
        let mint = Mint {
            name: &token.name,
            scopes: &token.scopes,
        };
        let created: Created = self
            .dynatrace(&self.pooled, "", management_token, &mint)
            .await?;
        let _: Token = self
            .dynatrace(
                &self.other,
                "/lookup",
                &created.token,
                &Value {
                    token: &created.token,
                },
            )
            .await?;
        let mut data = read.data;
        data.insert("token".to_owned(), created.token);
        self.put(&path, read.metadata.version, &data).await?;
        self.put(&journal, claimed, &document(&journal)).await?;
        let replaced = format!("{path}?version={}", read.metadata.version);
        let _: Read = self.get(&replaced).await?;
        let _: Option<Read> = self.find(&history).await?;
        self.put(&history, 0, &document(&history)).await?;
        Ok(())
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Outcome<T> {
        Ok(self.find(path).await?.ok_or("there is nothing to read")?)
    }

    async fn find<T: DeserializeOwned>(&self, path: &str) -> Outcome<Option<T>> {
        let Order {
            vault, vault_token, ..
        } = &self.order;
        let request = self
            .pooled
            .get(format!("{vault}/v1/{path}"))
            .header("X-Vault-Token", vault_token);
        self.calls.set(self.calls.get() + 1);
        let response = request.send().await?;
        let status = response.status();
        let bytes = response.bytes().await?;
        match status.as_u16() {
            200 => Ok(Some(serde_json::from_slice::<Envelope<T>>(&bytes)?.data)),
            404 => Ok(None),
            status => Err(format!("Vault answered {status}").into()),
        }
    }

    async fn put(&self, path: &str, cas: u64, data: &impl Serialize) -> Outcome<u64> {
        let Order {
            vault, vault_token, ..
        } = &self.order;
        let options = Cas { cas };
        let request = self
            .pooled
            .post(format!("{vault}/v1/{path}"))
            .header("X-Vault-Token", vault_token);
        let answer: Envelope<Metadata> = self.send(request, &Write { options, data }).await?;
        Ok(answer.data.version)
    }

    async fn dynatrace<T: DeserializeOwned>(
        &self,
        client: &Client,
        below: &str,
        token: &str,
        body: &impl Serialize,
    ) -> Outcome<T> {
        let url = format!("{}/api/v2/apiTokens{below}", self.order.dynatrace);
        let request = client
            .request(Method::POST, url)
            .header("Authorization", format!("Api-Token {token}"));
        self.send(request, body).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
        body: &impl Serialize,
    ) -> Outcome<T> {
        self.calls.set(self.calls.get() + 1);
        let request = request
            .header("Content-Type", "application/json")
            .body(serde_json::to_vec(body)?);
        let bytes = request.send().await?.error_for_status()?.bytes().await?;
        Ok(serde_json::from_slice(&bytes)?)
    }
}

fn document(name: &str) -> Document<'_> {
    Document {
        schema: 2,
        min_reader: 2,
        name,
        document: DOCUMENT,
    }
}
