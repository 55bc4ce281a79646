//! `make bench`: measures a release build of the daemon against the simulator and prints a table; ends with 1 when a figure is missed.
//!
//! Where many secrets rotate at once, Vault is the simulator's KV stand-in and not a real OpenBao: on a small machine OpenBao itself would be
//! the limit (some milliseconds of CPU per write), and the figures are about dtrotate. The daemon is the program that is shipped, in a
//! process of its own, with its ops listener.

#[allow(
    dead_code,
    unused_imports,
    reason = "the end-to-end tests use the rest"
)]
#[path = "../tests/e2e/openbao/mod.rs"]
mod openbao;

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use dtrotate::clock;
use jiff::{SignedDuration, Timestamp};
use openbao::OpenBao;
use serde_json::{Value, json};
use simulator::{Call, Operation, Options, Seed, Simulator};

/// Every Dynatrace call takes this long.
const LATENCY: Duration = Duration::from_millis(50);
/// Rotations at the same time.
const CONCURRENCY: usize = 64;
/// Secrets that are due in the same second.
const SECRETS: usize = 1000;
/// Secrets that one command rotates.
const COMMANDED: usize = 300;
/// Secrets that the sequential client does; its time for all is extrapolated.
const SAMPLE: usize = 20;
/// Scrapes of the metrics, one after the other; the figure is one's share.
const SCRAPES: u32 = 20;
/// How long an idle daemon is watched.
const IDLE: Duration = Duration::from_secs(60);
/// Longer than anything here takes, even on a busy machine.
const LONG: Duration = Duration::from_secs(300);

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The calls to Vault without the look at the replaced version that follows a commit: a read of a secret after its own store.
fn up_to_the_commit(calls: &[Call]) -> usize {
    let mut stored = BTreeSet::new();
    let counts = calls.iter().filter(|call| match call.operation {
        Some(Operation::ReadSecret) => !stored.contains(&call.subject),
        Some(Operation::WriteSecret) => {
            // The journal's documents are written by the claim and read before it only.
            stored.insert(call.subject.clone());
            true
        }
        _ => false,
    });
    counts.count()
}

/// One figure: what, measured, the limit (none: for information) and the unit.
struct Figure(&'static str, f64, Option<f64>, &'static str);

fn main() -> ExitCode {
    match bench() {
        Ok(figures) => report(&figures),
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn bench() -> Outcome<Vec<Figure>> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let program = std::env::args().nth(1);
    let program =
        PathBuf::from(program.ok_or("usage: bench PROGRAM, a release build of dtrotate")?);
    let size = |file: &Path| Outcome::Ok(fs::metadata(file)?.len() as f64 / 1e6);
    let binary = size(&program)?;
    let mut figures = vec![Figure("size of the program", binary, Some(10.0), "MB")];
    let certificates = Path::new("/etc/ssl/certs/ca-certificates.crt");
    if certificates.exists() {
        let image = binary + size(certificates)?;
        figures.push(Figure("size of the image", image, Some(10.0), "MB"));
    }

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let bao = runtime.block_on(OpenBao::dev());
    let root = bao.root();
    let token = runtime.block_on(async {
        root.write_shipped_policy().await;
        root.periodic_token(&["dtrotate"], "1h").await
    });
    let world = World::on(&bao.address, &token, 100, |path, data| {
        runtime.block_on(root.put("secret", path, data));
    })?;
    let ready = world.start(&program, NEVER)?.ready()?.as_secs_f64() * 1e3;
    figures.push(Figure(
        "start to ready with 100 new secrets in a real OpenBao",
        ready,
        Some(1000.0),
        "ms",
    ));
    drop(bao);

    let world = World::new(10)?;
    let daemon = world.start(&program, NEVER)?;
    daemon.ready()?;
    figures.push(Figure(
        "idle with ten secrets: resident memory",
        daemon.idle()?.0,
        Some(10.0),
        "MB",
    ));
    drop(daemon);

    let world = World::new(SECRETS)?;
    let daemon = world.start(&program, NEVER)?;
    daemon.ready()?;
    let (rss, cpu) = daemon.idle()?;
    figures.push(Figure(
        "idle with 1,000 secrets: resident memory",
        rss,
        Some(15.0),
        "MB",
    ));
    figures.push(Figure(
        "idle with 1,000 secrets: CPU of one core",
        cpu,
        Some(0.1),
        "%",
    ));
    figures.push(Figure(
        "a scrape with 1,000 secrets: CPU",
        runtime.block_on(daemon.scrape(world.ops))? * 1e3,
        Some(20.0),
        "ms",
    ));

    let storm = world.storm(&daemon)?;
    let calls = f64::from(u32::try_from(storm.dynatrace + storm.vault)?) / SECRETS as f64;
    let sequence = storm.dynatrace as f64 / SECRETS as f64;
    let bound = sequence * LATENCY.as_secs_f64() * SECRETS as f64 / CONCURRENCY as f64;
    let took = storm.took.as_secs_f64();
    figures.push(Figure(
        "HTTP calls per rotation up to the commit",
        calls,
        Some(7.0),
        "",
    ));
    figures.push(Figure(
        "1,000 secrets due in one second: all done after",
        took,
        None,
        "s",
    ));
    figures.push(Figure("the bound that the latency sets", bound, None, "s"));
    figures.push(Figure("ratio to that bound", took / bound, Some(1.5), ""));
    let sequential = world.sequential()?.as_secs_f64() / SAMPLE as f64 * SECRETS as f64;
    figures.push(Figure(
        "a sequential client, a connection per call, would take",
        sequential,
        None,
        "s",
    ));
    figures.push(Figure("times faster than it", sequential / took, None, ""));
    drop(daemon);
    let (took, bound) = World::new(COMMANDED)?.rotate_all(&program)?;
    figures.push(Figure("`rotate --all` of 300 secrets", took, None, "s"));
    figures.push(Figure(
        "the bound that the latency of its calls sets",
        bound,
        None,
        "s",
    ));
    figures.push(Figure("ratio to that bound", took / bound, Some(1.25), ""));
    Ok(figures)
}

fn report(figures: &[Figure]) -> ExitCode {
    println!("| what | measured | at most |\n| --- | ---: | ---: |");
    let mut missed = Vec::new();
    for Figure(what, measured, limit, unit) in figures {
        let shown = |number: f64| {
            format!("{number:.3}")
                .trim_end_matches('0')
                .trim_end_matches('.')
                .to_owned()
                + " "
                + unit
        };
        let limit_shown = limit.map(shown).unwrap_or_default();
        println!(
            "| {what} | {} | {} |",
            shown(*measured).trim(),
            limit_shown.trim()
        );
        if limit.is_some_and(|limit| *measured > limit) {
            missed.push(*what);
        }
    }
    if missed.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("missed: {}", missed.join(", "));
    ExitCode::FAILURE
}

/// A schedule that does not come in a benchmark.
const NEVER: &str = "0 0 29 2 *";

/// Dynatrace, Vault and their secrets, and the daemon's folder.
struct World {
    simulator: Simulator,
    vault: String,
    folder: tempfile::TempDir,
    /// The port of the ops listener.
    ops: u16,
    secrets: usize,
}

/// What was seen while all secrets rotated at once.
struct Storm {
    took: Duration,
    dynatrace: usize,
    vault: usize,
}

impl World {
    /// All on stand-ins.
    fn new(secrets: usize) -> Outcome<World> {
        let simulator = Simulator::start_on_thread(Options::default())?;
        let kv = simulator.kv();
        let (url, token) = (kv.url().to_owned(), kv.root_token().to_owned());
        World::with(simulator, &url, &token, secrets, |path, data| {
            kv.put("secret", path, data);
        })
    }

    /// On another Vault, into which `put` writes.
    fn on(url: &str, token: &str, secrets: usize, put: impl Fn(&str, Value)) -> Outcome<World> {
        let simulator = Simulator::start_on_thread(Options::default())?;
        World::with(simulator, url, token, secrets, put)
    }

    fn with(
        simulator: Simulator,
        vault: &str,
        token: &str,
        secrets: usize,
        put: impl Fn(&str, Value),
    ) -> Outcome<World> {
        let environment = simulator.dynatrace();
        let master = environment.seed(Seed::management("management"));
        put("dynatrace/master", json!({ "token": master.value }));
        for number in 0..secrets {
            let seed = Seed::new(&format!("job {number}")).scopes(&["metrics.read"]);
            let data = json!({ "token": environment.seed(seed).value, "note": "kept" });
            put(&path(number), data);
        }
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("vault-token"), token)?;
        let ops = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        Ok(World {
            simulator,
            vault: vault.to_owned(),
            folder,
            ops,
            secrets,
        })
    }

    fn configure(&self, schedule: &str) -> Outcome<PathBuf> {
        let (vault, dynatrace, ops) = (&self.vault, self.simulator.url(), self.ops);
        let secrets: String = (0..self.secrets)
            .map(|number| format!("[[secret]]\npath = \"{}\"\n", path(number)))
            .collect();
        let text = format!(
            r#"
vault = {{ address = "{vault}", auth = {{ method = "token", token_file = "vault-token" }} }}
dynatrace.prod = {{ url = "{dynatrace}", auth.path = "dynatrace/master" }}
defaults.schedule = "{schedule}"
limits.concurrency = {CONCURRENCY}
ops.listen = "127.0.0.1:{ops}"
{secrets}"#
        );
        let file = self.folder.path().join("dtrotate.toml");
        fs::write(&file, text)?;
        Ok(file)
    }

    fn start(&self, program: &Path, schedule: &str) -> Outcome<Daemon> {
        let config = self.configure(schedule)?;
        let log = self.folder.path().join("log");
        let began = Instant::now();
        let child = Command::new(program)
            .arg("--config")
            .arg(config)
            .arg("run")
            .env_clear()
            .stdin(Stdio::null())
            .stderr(fs::File::create(&log)?)
            .spawn()?;
        Ok(Daemon { child, log, began })
    }

    /// Lets all secrets be due in one second.
    fn storm(&self, daemon: &Daemon) -> Outcome<Storm> {
        let (environment, kv) = (self.simulator.dynatrace(), self.simulator.kv());
        let second = SignedDuration::from_secs(1);
        let due = (clock::now() + second * 15).round(jiff::Unit::Second)?;
        self.configure(&due.strftime("%S %M %H * * *").to_string())?;
        daemon.signal("-HUP")?;
        daemon.until("config_reloaded", 1)?;
        // What the reload asks for (it looks at every document again) is no call of a rotation.
        let calls = || kv.calls().len() + environment.calls().len();
        let mut before = 0;
        while before != calls() {
            before = calls();
            std::thread::sleep(Duration::from_secs(2));
        }
        if clock::now() > due - second {
            return Err("this machine is too busy: the new configuration came too late".into());
        }
        environment.set_latency(LATENCY);
        environment.reset_calls();
        kv.reset_calls();
        daemon.until("rotation_succeeded", self.secrets)?;
        let done = daemon.last("rotation_succeeded")?;
        let count = |all: &[Operation], of: &dyn Fn(Operation) -> usize| {
            all.iter().map(|one| of(*one)).sum()
        };
        let storm = Storm {
            took: Duration::try_from(done.duration_since(due))?,
            dynatrace: count(
                &[
                    Operation::LookupToken,
                    Operation::GetToken,
                    Operation::CreateToken,
                ],
                &|one| environment.count(one),
            ),
            vault: up_to_the_commit(&kv.calls()),
        };
        let mut values = BTreeSet::new();
        for number in 0..self.secrets {
            let (version, data) = kv.get("secret", &path(number)).ok_or("a secret is lost")?;
            let value = data["token"].as_str().unwrap_or_default().to_owned();
            if version != 2
                || data["note"] != "kept"
                || !environment.is_valid(&value)
                || !values.insert(value)
            {
                return Err(format!("{} did not rotate exactly once", path(number)).into());
            }
        }
        if environment.tokens().len() != 2 * self.secrets + 1 {
            return Err("a token was lost or made twice".into());
        }
        Ok(storm)
    }

    /// Rotates all secrets by a command: how long it took, and how long its calls to Dynatrace take at the least. A first command records
    /// the secrets and marks their tokens, which is no part of a rotation.
    fn rotate_all(&self, program: &Path) -> Outcome<(f64, f64)> {
        let environment = self.simulator.dynatrace();
        let config = self.configure(NEVER)?;
        let rotate = || {
            let mut command = Command::new(program);
            command.arg("--config").arg(&config);
            command.args(["rotate", "--all", "--json"]).env_clear();
            let began = Instant::now();
            let output = command.stderr(Stdio::null()).output()?;
            let took = began.elapsed().as_secs_f64();
            let rotated = String::from_utf8(output.stdout)?;
            let rotated = rotated.matches("\"result\":\"rotated\"").count();
            match output.status.success() && rotated == self.secrets {
                true => Outcome::Ok(took),
                false => Err(format!("the command rotated {rotated} of {}", self.secrets).into()),
            }
        };
        rotate()?;
        environment.set_latency(LATENCY);
        environment.reset_calls();
        let took = rotate()?;
        let calls = environment.calls().len();
        if calls > 3 * self.secrets + CONCURRENCY {
            return Err(format!("the command made {calls} calls to Dynatrace").into());
        }
        Ok((
            took,
            calls as f64 * LATENCY.as_secs_f64() / CONCURRENCY as f64,
        ))
    }

    /// What the script did that dtrotate replaces: read, look up, create, write, delete, one secret after the other.
    fn sequential(&self) -> Outcome<Duration> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let client = reqwest::Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .build()?;
        let (vault, dynatrace) = (&self.vault, self.simulator.url());
        let kv = self.simulator.kv();
        let (_, master) = kv
            .get("secret", "dynatrace/master")
            .ok_or("no management token")?;
        let master = format!("Api-Token {}", master["token"].as_str().unwrap_or_default());
        let call = |method: reqwest::Method, url: String, body: Value| {
            let mut request = client.request(method, url);
            request = request
                .header("X-Vault-Token", kv.root_token())
                .header("Authorization", &master);
            if !body.is_null() {
                request = request.json(&body);
            }
            runtime.block_on(async {
                let bytes = request.send().await?.error_for_status()?.bytes().await?;
                Outcome::Ok(serde_json::from_slice::<Value>(&bytes).unwrap_or_default())
            })
        };
        let began = Instant::now();
        for number in 0..SAMPLE {
            let secret = format!("{vault}/v1/secret/data/{}", path(number));
            let tokens = format!("{dynatrace}/api/v2/apiTokens");
            let read = call(reqwest::Method::GET, secret.clone(), Value::Null)?;
            let old = json!({ "token": read["data"]["data"]["token"] });
            let old = call(reqwest::Method::POST, format!("{tokens}/lookup"), old)?;
            let order = json!({ "name": old["name"], "scopes": old["scopes"] });
            let new = call(reqwest::Method::POST, tokens.clone(), order)?;
            let data = json!({ "data": { "token": new["token"] } });
            call(reqwest::Method::POST, secret, data)?;
            let id = old["id"].as_str().unwrap_or_default();
            call(
                reqwest::Method::DELETE,
                format!("{tokens}/{id}"),
                Value::Null,
            )?;
        }
        Ok(began.elapsed())
    }
}

fn path(number: usize) -> String {
    format!("dynatrace/s{number}")
}

/// A running daemon, killed when dropped.
struct Daemon {
    child: Child,
    log: PathBuf,
    began: Instant,
}

impl Daemon {
    /// The times of an event.
    fn times(&self, event: &str) -> Outcome<Vec<Timestamp>> {
        let text = fs::read_to_string(&self.log)?;
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let mark = format!("\"event\":\"{event}\"");
        let lines = whole.lines().filter(|line| line.contains(&mark));
        lines
            .map(|line| {
                let line: Value = serde_json::from_str(line)?;
                Ok(line["timestamp"].as_str().unwrap_or_default().parse()?)
            })
            .collect()
    }

    fn last(&self, event: &str) -> Outcome<Timestamp> {
        self.times(event)?
            .into_iter()
            .max()
            .ok_or_else(|| format!("no {event}").into())
    }

    /// Waits until an event was told so often.
    fn until(&self, event: &str, often: usize) -> Outcome<()> {
        let began = Instant::now();
        while self.times(event)?.len() < often {
            if began.elapsed() > LONG {
                return Err(format!(
                    "{} of {often} {event} after {LONG:?}",
                    self.times(event)?.len()
                )
                .into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// How long it took from the start to being ready.
    fn ready(&self) -> Outcome<Duration> {
        self.until("daemon_ready", 1)?;
        Ok(self.began.elapsed())
    }

    fn signal(&self, name: &str) -> Outcome<()> {
        let id = self.child.id().to_string();
        let done = Command::new("kill").args([name, &id]).status()?.success();
        done.then_some(())
            .ok_or_else(|| "the daemon is gone".into())
    }

    /// The seconds of CPU that all its threads have had.
    fn busy(&self) -> Outcome<f64> {
        let mut nanoseconds = 0.0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            nanoseconds += text.split(' ').next().unwrap_or_default().parse::<f64>()?;
        }
        Ok(nanoseconds / 1e9)
    }

    /// Resident megabytes, and the part of a core in per cent.
    fn idle(&self) -> Outcome<(f64, f64)> {
        // What the start left to do is over.
        std::thread::sleep(Duration::from_secs(5));
        let (began, before) = (Instant::now(), self.busy()?);
        std::thread::sleep(IDLE);
        let cpu = (self.busy()? - before) / began.elapsed().as_secs_f64() * 100.0;
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes: f64 = rss
            .and_then(|text| text.split_whitespace().next())
            .ok_or("no VmRSS")?
            .parse()?;
        Ok((kilobytes * 1024.0 / 1e6, cpu))
    }

    /// The seconds of CPU of one scrape of the metrics.
    async fn scrape(&self, port: u16) -> Outcome<f64> {
        let url = format!("http://127.0.0.1:{port}/metrics");
        let before = self.busy()?;
        for _ in 0..SCRAPES {
            let reply = reqwest::get(&url).await?.error_for_status()?.text().await?;
            if reply.matches("\n").count() < SECRETS {
                return Err("a scrape without the secrets".into());
            }
        }
        Ok((self.busy()? - before) / f64::from(SCRAPES))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail only for a child that is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
