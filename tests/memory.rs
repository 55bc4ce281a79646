//! The heap that the daemon needs for a secret at rest. It counts bytes, not pages, so that the figure is the same on every machine.
//!
//! `MEMORY_SITES=40 cargo test --all-features --test memory -- --ignored --nocapture` also prints where the bytes of a secret were allocated.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use dtrotate::config::{self, Settings};
use dtrotate::daemon::{
    self,
    foreground::{self, Foreground},
};
use serde_json::{Value, json};
use simulator::{Options, Seed, Simulator};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// What a secret at rest may need. The goal is 800; this keeps what was reached.
const MOST: f64 = 2500.0;
/// The daemon is measured with so many secrets: what it needs without any is in both, and is taken out.
const FEW: usize = 400;
const MANY: usize = 800;
/// A daemon that was quiet for so long has settled what it found at its start.
const SETTLED: Duration = Duration::from_secs(3);
/// After this its idle connections are closed, too. How many there are does not depend on the secrets.
const IDLE: Duration = Duration::from_secs(45);
const LONG: Duration = Duration::from_secs(600);

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Stand-ins for Dynatrace and Vault with secrets that were rotated once, so that each has a former token on its way out.
struct World {
    simulator: Simulator,
    folder: tempfile::TempDir,
    ops: SocketAddr,
}

impl World {
    fn new(secrets: usize) -> Outcome<World> {
        let simulator = Simulator::start_on_thread(Options::default())?;
        let (environment, kv) = (simulator.dynatrace(), simulator.kv());
        let management = environment.seed(Seed::management("management"));
        kv.put(
            "secret",
            "dynatrace/master",
            json!({ "token": management.value }),
        );
        for number in 0..secrets {
            let seed = Seed::new(&format!("service {number}"));
            let seed = seed.scopes(&["metrics.ingest", "logs.ingest"]);
            let data = json!({ "token": environment.seed(seed).value });
            kv.put("secret", &path(number), data);
        }
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("vault-token"), kv.root_token())?;
        let ops = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let written = (0..secrets).map(|number| {
            // Some schedules that many secrets share, none of which comes now.
            let (minute, hour) = (number % 60, number % 24);
            format!(
                "[[secret]]\npath = \"{}\"\nschedule = \"{minute} {hour} 29 2 *\"\n",
                path(number)
            )
        });
        let text = format!(
            r#"
vault = {{ address = "{}", auth = {{ method = "token", token_file = "vault-token" }} }}
dynatrace.production = {{ url = "{}", auth.path = "dynatrace/master" }}
daemon.sweep = "1h"
limits.concurrency = 4
ops.listen = "{ops}"
{}"#,
            kv.url(),
            environment.url(),
            written.collect::<String>()
        );
        fs::write(folder.path().join("dtrotate.toml"), text)?;
        let world = World {
            simulator,
            folder,
            ops,
        };
        world.rotate(secrets)?;
        // It settles what follows a rotation, so that the daemon that is measured only reads.
        world.with_daemon(SETTLED, |_| Ok(()))?;
        Ok(world)
    }

    fn settings(&self) -> Outcome<Settings> {
        let options = config::Options {
            environment: Default::default(),
            config_dir: None,
            daemon: true,
            starting: true,
            offline: false,
        };
        let file = self.folder.path().join("dtrotate.toml");
        config::load(&file, &options).map_err(|problems| problems.to_string().into())
    }

    fn rotate(&self, secrets: usize) -> Outcome<()> {
        let settings = self.settings()?;
        let mut rotated = 0;
        runtime()?.block_on(async {
            let foreground = Foreground::open(&settings, "command".to_owned(), false).await?;
            let all = settings.secrets.iter().map(Arc::as_ref).collect();
            let count = |finished: daemon::foreground::Finished<'_>| {
                let done = finished.ended.is_ok_and(|ended| {
                    matches!(ended.result, rotation::command::RunResult::Done { .. })
                });
                rotated += usize::from(done);
            };
            foreground::rotate::rotate(&foreground, all, |_| false, count).await;
            foreground.close().await;
            Outcome::Ok(())
        })?;
        assert_eq!(rotated, secrets, "rotated");
        Ok(())
    }

    /// How many calls were made since this was last asked.
    fn take_calls(&self) -> usize {
        let (environment, kv) = (self.simulator.dynatrace(), self.simulator.kv());
        let calls = environment.calls().len() + kv.calls().len();
        environment.reset_calls();
        kv.reset_calls();
        calls
    }

    fn is_ready(&self) -> Outcome<bool> {
        let mut stream = TcpStream::connect(self.ops)?;
        write!(
            stream,
            "GET /readyz HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.ops
        )?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply)?;
        Ok(reply.starts_with("HTTP/1.1 200"))
    }

    /// Runs a daemon until it has nothing to do, hands it to `measure`, and ends it.
    fn with_daemon<T>(
        &self,
        at_rest: Duration,
        measure: impl FnOnce(&World) -> Outcome<T>,
    ) -> Outcome<T> {
        let settings = self.settings()?;
        let reload: daemon::Reload = Arc::new(|| Err("there is nothing to reload".to_owned()));
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let running = thread::spawn(move || {
            let daemon = daemon::run(settings, "daemon".to_owned(), reload);
            runtime().expect("a runtime").block_on(async {
                tokio::select! {
                    ended = daemon => panic!("the daemon has ended: {ended:?}"),
                    _ = stopped => {}
                }
            });
        });
        let deadline = Instant::now() + LONG;
        while !self.is_ready().unwrap_or_default() {
            assert!(Instant::now() < deadline, "a daemon that is ready");
            assert!(!running.is_finished(), "the daemon has ended");
            thread::sleep(Duration::from_millis(20));
        }
        // Its second look at all secrets follows, and the first sweep. At rest it looks at a document and a value now and then.
        let mut quiet = Instant::now();
        while quiet.elapsed() < at_rest {
            assert!(Instant::now() < deadline, "a daemon that is at rest");
            thread::sleep(Duration::from_millis(250));
            if self.take_calls() > 4 {
                quiet = Instant::now();
            }
        }
        let measured = measure(self)?;
        drop(stop);
        running.join().map_err(|_| "the daemon panicked")?;
        Ok(measured)
    }
}

fn path(number: usize) -> String {
    format!("dynatrace/team-{:02}/service-{number:04}", number % 50)
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

/// The bytes that are allocated now, without what lives for a moment.
fn allocated() -> usize {
    let samples = (0..50).map(|_| {
        thread::sleep(Duration::from_millis(10));
        dhat::HeapStats::get().curr_bytes
    });
    samples.min().unwrap_or_default()
}

/// The bytes that a daemon with so many secrets gives back when it ends.
fn heap(secrets: usize) -> Outcome<usize> {
    let world = World::new(secrets)?;
    let _profiler = dhat::Profiler::builder()
        .testing()
        .trim_backtraces(Some(1))
        .build();
    let at_rest = world.with_daemon(IDLE, |_| Ok(allocated()))?;
    world.take_calls();
    Ok(at_rest.saturating_sub(allocated()))
}

/// What was allocated at one place of the code.
#[derive(Clone, Copy, Default)]
struct Site {
    bytes: f64,
    /// The same in the sizes that jemalloc hands out.
    rounded: f64,
    blocks: f64,
}

/// The bytes of a daemon at rest by the place in the code, the stand-ins left out.
fn sites(secrets: usize, file: &Path) -> Outcome<BTreeMap<String, Site>> {
    let world = World::new(secrets)?;
    let profiler = dhat::Profiler::builder()
        .file_name(file)
        .trim_backtraces(Some(60))
        .build();
    world.with_daemon(IDLE, |_| {
        drop(profiler);
        Ok(())
    })?;
    let profile: Value = serde_json::from_slice(&fs::read(file)?)?;
    let number = |value: &Value| value.as_f64().unwrap_or_default();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let frames = list(&profile["ftbl"]);
    let mut all: BTreeMap<String, Site> = BTreeMap::new();
    for point in list(&profile["pps"]) {
        let stack: Vec<&str> = list(&point["fs"])
            .iter()
            .filter_map(|at| frames.get(at.as_u64()? as usize)?.as_str())
            .collect();
        if stack.iter().any(|frame| frame.contains(": simulator::")) {
            continue;
        }
        let ours = |frame: &&&str| frame.contains(": dtrotate::") || frame.contains("rotation::");
        let short = |frame: &&str| {
            let frame = frame.split_once(": ").map_or(*frame, |(_, rest)| rest);
            frame.replace("dtrotate::", "")
        };
        let ours: Vec<String> = stack.iter().filter(ours).take(3).map(short).collect();
        let (bytes, blocks) = (number(&point["eb"]), number(&point["ebk"]));
        let site = all.entry(ours.join(" < ")).or_default();
        site.bytes += bytes;
        site.blocks += blocks;
        site.rounded += blocks * size_class(bytes / blocks.max(1.0));
    }
    Ok(all)
}

/// What jemalloc hands out for a block of this size: four steps between two powers of two.
fn size_class(bytes: f64) -> f64 {
    if bytes <= 8.0 {
        return bytes.ceil().min(8.0);
    }
    let step = match bytes {
        ..=128.0 => 16.0,
        _ => 2_f64.powf(bytes.log2().ceil() - 3.0),
    };
    (bytes / step).ceil() * step
}

fn print_sites(most: usize) -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let file: PathBuf = folder.path().join("heap.json");
    let (few, many) = (sites(FEW, &file)?, sites(MANY, &file)?);
    let secrets = (MANY - FEW) as f64;
    let mut all: Vec<(String, Site)> = many
        .into_iter()
        .map(|(place, many)| {
            let few = few.get(&place).copied().unwrap_or_default();
            let site = Site {
                bytes: (many.bytes - few.bytes) / secrets,
                rounded: (many.rounded - few.rounded) / secrets,
                blocks: (many.blocks - few.blocks) / secrets,
            };
            (place, site)
        })
        .collect();
    all.sort_by(|(_, a), (_, b)| b.bytes.total_cmp(&a.bytes));
    println!("  bytes rounded  blocks  of a secret, by place");
    let sum = |of: fn(&Site) -> f64| all.iter().map(|(_, site)| of(site)).sum::<f64>();
    println!(
        "{:7.0} {:7.0} {:7.1}  in all",
        sum(|it| it.bytes),
        sum(|it| it.rounded),
        sum(|it| it.blocks)
    );
    for (place, site) in all.iter().take(most) {
        println!(
            "{:7.1} {:7.1} {:7.2}  {place}",
            site.bytes, site.rounded, site.blocks
        );
    }
    Ok(())
}

#[test]
#[ignore = "it waits for minutes until a daemon is at rest; `make thorough` runs it"]
#[expect(
    clippy::disallowed_methods,
    reason = "a person who looks for the places asks for them"
)]
fn a_secret_at_rest_is_small() -> Outcome<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    if let Ok(most) = std::env::var("MEMORY_SITES") {
        print_sites(most.parse()?)?;
    }
    let (few, many) = (heap(FEW)?, heap(MANY)?);
    let each = (many as f64 - few as f64) / (MANY - FEW) as f64;
    println!("{each:.0} bytes of heap for a secret; {few} with {FEW} secrets, {many} with {MANY}");
    assert!(
        each <= MOST,
        "a secret at rest needs {each:.0} bytes of heap, and {MOST} are the most"
    );
    Ok(())
}
