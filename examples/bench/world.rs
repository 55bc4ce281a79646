//! Dynatrace, Vault, their secrets, and the configuration of the daemons on them.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use simulator::{Options, Seed, Simulator};

use crate::process::Daemon;
use crate::{CONCURRENCY, Outcome};

/// A schedule that does not come in a benchmark.
pub const NEVER: &str = "0 0 29 2 *";

/// Where the secrets are and how they are configured.
pub struct World {
    pub simulator: Simulator,
    pub vault: String,
    pub vault_token: String,
    pub secrets: usize,
    folder: tempfile::TempDir,
    /// How many different schedules the secrets have.
    pub schedules: usize,
    /// The interval of the sweep.
    pub sweep: &'static str,
}

impl World {
    /// All on stand-ins.
    pub fn new(secrets: usize) -> Outcome<World> {
        let simulator = Simulator::start_on_thread(Options::default())?;
        let kv = simulator.kv();
        let (url, token) = (kv.url().to_owned(), kv.root_token().to_owned());
        World::with(simulator, url, token, secrets, |path, data| {
            kv.put("secret", path, data);
        })
    }

    /// On another Vault, into which `put` writes.
    pub fn on(url: &str, token: &str, secrets: usize, put: impl Fn(&str, Value)) -> Outcome<World> {
        let simulator = Simulator::start_on_thread(Options::default())?;
        World::with(simulator, url.to_owned(), token.to_owned(), secrets, put)
    }

    fn with(
        simulator: Simulator,
        vault: String,
        vault_token: String,
        secrets: usize,
        put: impl Fn(&str, Value),
    ) -> Outcome<World> {
        let environment = simulator.dynatrace();
        let management = environment.seed(Seed::management("management"));
        put("dynatrace/master", json!({ "token": management.value }));
        for number in 0..secrets {
            let seed = Seed::new(&format!("job {number}")).scopes(&["metrics.read"]);
            let data = json!({ "token": environment.seed(seed).value, "note": "kept" });
            put(&path(number), data);
        }
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("vault-token"), &vault_token)?;
        Ok(World {
            simulator,
            vault,
            vault_token,
            secrets,
            folder,
            schedules: 1,
            sweep: "10m",
        })
    }

    /// Writes the configuration. Unless there are different schedules, all secrets have this one.
    pub fn configure(&self, schedule: &str) -> Outcome<PathBuf> {
        let (vault, dynatrace, sweep) = (&self.vault, self.simulator.url(), self.sweep);
        let secret = |number: usize| {
            let own = number % self.schedules;
            let schedule = match self.schedules {
                1 => String::new(),
                _ => format!("schedule = \"{} {} 29 2 *\"\n", own % 60, own / 60 % 24),
            };
            format!("[[secret]]\npath = \"{}\"\n{schedule}", path(number))
        };
        let secrets: String = (0..self.secrets).map(secret).collect();
        let text = format!(
            r#"
vault = {{ address = "{vault}", auth = {{ method = "token", token_file = "vault-token" }} }}
dynatrace.prod = {{ url = "{dynatrace}", auth.path = "dynatrace/master" }}
defaults.schedule = "{schedule}"
limits.concurrency = {CONCURRENCY}
daemon.sweep = "{sweep}"
log.format = "json"
{secrets}"#
        );
        let file = self.folder.path().join("dtrotate.toml");
        fs::write(&file, text)?;
        Ok(file)
    }

    /// A daemon with this instance name.
    pub fn start(&self, program: &Path, name: &str, schedule: &str) -> Outcome<Daemon> {
        let ops = free_address()?;
        let mut command = self.command(program, schedule)?;
        command
            .arg("run")
            .env("DTROTATE_INSTANCE", name)
            .env("DTROTATE_OPS__LISTEN", ops.to_string());
        Daemon::start(
            command,
            &self.folder.path().join(format!("{name}.log")),
            ops,
        )
    }

    /// The program with this world's configuration, without its subcommand.
    pub fn command(&self, program: &Path, schedule: &str) -> Outcome<Command> {
        let mut command = Command::new(program);
        command
            .arg("--config")
            .arg(self.configure(schedule)?)
            .env_clear()
            .stdin(Stdio::null());
        Ok(command)
    }

    /// The versions of all secrets; an error if one is not whole and alive.
    pub fn versions(&self) -> Outcome<Vec<u64>> {
        let (environment, kv) = (self.simulator.dynatrace(), self.simulator.kv());
        let version = |number| {
            let (version, data) = kv.get("secret", &path(number)).ok_or("a secret is lost")?;
            let value = data["token"].as_str().unwrap_or_default();
            match data["note"] == "kept" && environment.is_valid(value) {
                true => Ok(version),
                false => Err(format!("{} is not as it should be", path(number)).into()),
            }
        };
        (0..self.secrets).map(version).collect()
    }

    /// The value of the management token.
    pub fn management_token(&self) -> Outcome<String> {
        let (_, data) = self
            .simulator
            .kv()
            .get("secret", "dynatrace/master")
            .ok_or("no management token")?;
        Ok(data["token"].as_str().unwrap_or_default().to_owned())
    }
}

pub fn path(number: usize) -> String {
    format!("dynatrace/s{number}")
}

fn free_address() -> Outcome<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
