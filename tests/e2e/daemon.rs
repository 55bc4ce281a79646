//! The daemon as a child process, on a real OpenBao with the shipped policy and on the simulator.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use simulator::{Options, Seed, Simulator};
use tempfile::TempDir;

use crate::openbao::{Api, OpenBao};

/// How long anything may take on a slow machine.
const LONG: Duration = Duration::from_secs(90);

struct World {
    vault: OpenBao,
    root: Api,
    dynatrace: Simulator,
    folder: TempDir,
    secrets: usize,
}

impl World {
    /// Secrets `dynatrace/s0..`, each with a token and a field of somebody else's, and a configuration that rotates them every two
    /// seconds.
    async fn new(secrets: usize) -> World {
        let vault = OpenBao::dev().await;
        let root = vault.root();
        root.write_shipped_policy().await;
        let token = root.periodic_token(&["dtrotate"], "1h").await;
        let dynatrace = Simulator::start(Options::default())
            .await
            .expect("the simulator");
        let environment = dynatrace.dynatrace();
        let master = environment.seed(Seed::management("management"));
        root.put(
            "secret",
            "dynatrace/master",
            json!({ "token": master.value }),
        )
        .await;
        for number in 0..secrets {
            let seed = Seed::new(&format!("job {number}")).scopes(&["metrics.read", "logs.ingest"]);
            let data =
                json!({ "token": environment.seed(seed).value, "note": { "kept": [number] } });
            root.put("secret", &format!("dynatrace/s{number}"), data)
                .await;
        }
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("vault-token"), token).expect("the token file");
        let world = World {
            vault,
            root,
            dynatrace,
            folder,
            secrets,
        };
        world.configure("*/2 * * * * *");
        world
    }

    fn configure(&self, schedule: &str) {
        let mut text = format!(
            r#"
[vault]
address = "{}"
[vault.auth]
method = "token"
token_file = "vault-token"
[journal]
mount = "secret"
path = "dtrotate/journal"
[dynatrace.prod]
url = "{}"
settle = "2s"
[dynatrace.prod.auth]
path = "dynatrace/master"
[defaults]
schedule = "{schedule}"
grace = "2s"
max_grace = "4s"
quarantine = "2s"
[daemon]
sweep = "2s"
[ops]
listen = ""
"#,
            self.vault.address,
            self.dynatrace.url()
        );
        for number in 0..self.secrets {
            text += &format!("[[secret]]\npath = \"dynatrace/s{number}\"\n");
        }
        fs::write(self.config(), text).expect("the configuration");
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("dtrotate.toml")
    }

    fn start(&self) -> Daemon {
        let log = self.folder.path().join("log");
        let file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .expect("the log");
        let child = Command::new(env!("CARGO_BIN_EXE_dtrotate"))
            .args([
                "--config".as_ref(),
                self.config().as_os_str(),
                "run".as_ref(),
            ])
            .env_clear()
            .env("DTROTATE_INSTANCE", "e2e")
            .env("RUST_LOG", "trace")
            .stdout(file.try_clone().expect("the log"))
            .stderr(file)
            .stdin(Stdio::null())
            .spawn()
            .expect("dtrotate");
        Daemon { child, log }
    }

    /// Every value in Vault works, and nobody else's field was touched.
    async fn assert_valid(&self) {
        for number in 0..self.secrets {
            let path = format!("dynatrace/s{number}");
            let secret = self.root.secret("secret", &path).await.expect("the secret");
            assert_eq!(
                secret.data["note"],
                json!({ "kept": [number] }),
                "P4: {path}"
            );
            let value = secret.data["token"].as_str().expect("a value");
            assert!(
                self.dynatrace.dynatrace().is_valid(value),
                "P1: {path} holds a dead token"
            );
        }
    }

    /// The id of the value of `dynatrace/s0`.
    async fn current_id(&self) -> String {
        let secret = self.root.secret("secret", "dynatrace/s0").await;
        let data = secret.expect("the secret").data;
        let value = data["token"].as_str().expect("a value");
        let (id, _) = value.rsplit_once('.').expect("a dotted value");
        id.to_owned()
    }

    /// The tokens that exist, without the management token.
    fn tokens(&self) -> usize {
        self.dynatrace.dynatrace().tokens().len() - 1
    }
}

struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    fn events(&self, event: &str) -> usize {
        lines(&self.log)
            .iter()
            .filter(|line| line["event"] == event)
            .count()
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([name, &self.child.id().to_string()])
            .status()
            .expect("kill");
        assert!(status.success());
    }

    fn exit_code(&mut self) -> Option<i32> {
        self.child.wait().expect("the daemon").code()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(log: &Path) -> Vec<Value> {
    let text = fs::read_to_string(log).unwrap_or_default();
    let mut whole: Vec<&str> = text.lines().collect();
    if !text.ends_with('\n') {
        whole.pop();
    }
    let parse =
        |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    whole.into_iter().map(parse).collect()
}

/// Waits until `done`, looking often.
async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    let mut look = tokio::time::interval(Duration::from_millis(50));
    while !done().await {
        assert!(began.elapsed() < LONG, "waited too long: {what}");
        look.tick().await;
    }
}

#[tokio::test]
async fn p1_p2_tokens_rotate_survive_kills_and_leave_nothing_behind() {
    let world = World::new(4).await;
    for round in 1..=3 {
        let mut daemon = world.start();
        let before = daemon.events("rotation_succeeded");
        until("rotations", async || {
            world.assert_valid().await;
            daemon.events("rotation_succeeded") >= before + 6 + round
        })
        .await;
        daemon.signal("-KILL");
        assert_eq!(daemon.exit_code(), None);
        world.assert_valid().await;
    }
    // No more rotations: whatever was left is settled, retired and gone.
    world.configure("0 0 1 1 *");
    let mut daemon = world.start();
    until("only the current tokens to be left", async || {
        world.assert_valid().await;
        world.tokens() == world.secrets
    })
    .await;
    daemon.signal("-TERM");
    assert_eq!(daemon.exit_code(), Some(0));
    let log = lines(&daemon.log);
    let errors: Vec<_> = log.iter().filter(|line| line["level"] == "ERROR").collect();
    assert!(errors.is_empty(), "P8: nothing needed a human: {errors:?}");
    assert_eq!(log.last().expect("a line")["event"], "shutdown_finished");
}

#[tokio::test]
async fn p5_no_value_is_ever_written_at_any_level() {
    let world = World::new(2).await;
    let mut daemon = world.start();
    until("a whole life of a token", async || {
        daemon.events("token_deleted") > 0
    })
    .await;
    daemon.signal("-TERM");
    assert_eq!(daemon.exit_code(), Some(0));
    let mut written = fs::read_to_string(&daemon.log).expect("the log");
    for number in 0..2 {
        let journal = world
            .root
            .secret("secret", &format!("dtrotate/journal/dynatrace~2Fs{number}"))
            .await;
        written += &journal.expect("a document").data.to_string();
    }
    let mut canaries = BTreeSet::new();
    for number in 0..2 {
        let path = format!("dynatrace/s{number}");
        for version in world.root.versions("secret", &path).await.into_keys() {
            let read = world.root.secret_version("secret", &path, version).await;
            let value = read.expect("a version").data["token"].clone();
            let value = value.as_str().expect("a value");
            let secret = value.rsplit('.').next().expect("a secret part");
            canaries.insert(secret.to_owned());
        }
    }
    canaries.insert(fs::read_to_string(world.folder.path().join("vault-token")).expect("a token"));
    assert!(canaries.len() > 2);
    for canary in canaries {
        assert!(!written.contains(&canary), "P5: a value was written");
    }
}

#[tokio::test]
async fn p8_one_bad_secret_is_one_error_and_disturbs_nobody() {
    let world = World::new(3).await;
    world
        .root
        .put("secret", "dynatrace/s0", json!({ "note": { "kept": [0] } }))
        .await;
    let daemon = world.start();
    until("the others to rotate", async || {
        daemon.events("rotation_succeeded") >= 4
    })
    .await;
    let stuck: Vec<_> = lines(&daemon.log)
        .into_iter()
        .filter(|line| line["level"] == "ERROR")
        .collect();
    assert_eq!(stuck[0]["event"], "rotation_stuck");
    assert_eq!(stuck[0]["reason"], "field_missing");
    assert!(stuck.iter().all(|line| line["secret"] == "dynatrace/s0"));
    assert_eq!(stuck.len(), 1, "told once: {stuck:?}");
    // The cause is gone: it heals by itself.
    let seed = Seed::new("healed").scopes(&["metrics.read"]);
    let value = world.dynatrace.dynatrace().seed(seed).value;
    world
        .root
        .put("secret", "dynatrace/s0", json!({ "token": value }))
        .await;
    until("the healed secret to rotate", async || {
        let rotated = |line: &Value| {
            line["event"] == "rotation_succeeded" && line["secret"] == "dynatrace/s0"
        };
        lines(&daemon.log).iter().any(rotated)
    })
    .await;
}

/// The stand-in needs threads of its own while the test waits for a command.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_rotates_now_and_can_ask_first() {
    let world = World::new(1).await;
    world.configure("0 0 1 1 *");
    let rotate = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_dtrotate"))
            .arg("--config")
            .arg(world.config())
            .arg("rotate")
            .args(arguments)
            .env_clear()
            .output()
            .expect("dtrotate");
        let text = String::from_utf8(output.stdout).expect("text");
        (output.status.code(), text)
    };
    let version = async || {
        let secret = world.root.secret("secret", "dynatrace/s0").await;
        secret.expect("the secret").version
    };
    let before = version().await;
    let (code, text) = rotate(&["dynatrace/s0", "--dry-run"]);
    assert_eq!(code, Some(0));
    assert!(text.contains("would replace dt0c01."), "{text}");
    assert_eq!(
        (version().await, world.tokens()),
        (before, 1),
        "P7: asking changes nothing"
    );
    assert_eq!(
        rotate(&["--all"]),
        (Some(0), "dynatrace/s0: rotated\n".to_owned())
    );
    assert_eq!((version().await, world.tokens()), (before + 1, 2));
    world.assert_valid().await;
    assert_eq!(rotate(&["nosuch"]).0, Some(2));
    world
        .dynatrace
        .dynatrace()
        .disable(&world.current_id().await);
    assert_eq!(
        rotate(&["dynatrace/s0"]),
        (Some(1), "dynatrace/s0: failed: token_disabled\n".to_owned())
    );
}
