//! A world for one end-to-end test: a real OpenBao with the shipped policy, a gate in front of it, the Dynatrace stand-in, and any
//! number of daemons and commands as child processes.
//!
//! `World::new` is the simple one. Many worlds can stand on one OpenBao (`Site`), each with paths, journal, gate and stand-in of its
//! own, so that their cases run side by side. `invariants` says what must be true of every world at rest.

mod invariants;
mod issuer;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use simulator::{Dynatrace, EnvironmentOptions, Gate, Options, Simulator};
use tempfile::TempDir;

pub use issuer::Issuer;

use crate::gate::gate;
use crate::openbao::{Api, OpenBao, variable};

/// How long anything may take on a slow machine.
pub const LONG: Duration = Duration::from_secs(90);

/// The account of a world with platform tokens.
const ACCOUNT: &str = "0f5c7a6e-1f2b-4c3d-8e9f-0a1b2c3d4e5f";

/// What an OAuth client needs.
pub const CLIENT_SCOPES: [&str; 2] = [
    "platform-token:tokens:manage",
    "platform-token:tokens:write",
];

/// The kind of token that a world rotates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Api,
    Platform,
    /// The first tokens are made by dtrotate: whose a value is that a person made, nothing can prove.
    ActiveGate,
    Cluster,
}

fn issuer(kind: Kind, simulator: &Simulator) -> Issuer {
    let environment = simulator.dynatrace();
    match (kind, simulator.account()) {
        (Kind::Platform, Some(account)) => Issuer::Platform {
            owner: account.seed_service_user(),
            account,
            environment,
        },
        (Kind::ActiveGate, _) => Issuer::ActiveGate(environment),
        (Kind::Cluster, _) => Issuer::Cluster(environment),
        _ => Issuer::Api(environment),
    }
}

/// One OpenBao with the shipped policy, and a token that has it.
pub struct Site {
    pub vault: OpenBao,
    pub root: Api,
    pub token: String,
}

impl Site {
    /// In memory. So many versions are kept that the history of a test is whole.
    pub async fn new() -> Arc<Site> {
        Site::with(OpenBao::dev().await).await
    }

    /// With raft storage in `dir`, behind TLS.
    pub async fn raft(dir: &Path) -> Arc<Site> {
        let vault = OpenBao::raft_tls(dir).await;
        vault.root().mount_kv("secret", 2).await;
        Site::with(vault).await
    }

    async fn with(vault: OpenBao) -> Arc<Site> {
        let root = vault.root();
        root.write_shipped_policy().await;
        let versions = json!({ "max_versions": 1000 });
        root.ok(reqwest::Method::POST, "secret/config", versions)
            .await;
        let token = root.periodic_token(&["dtrotate"], "1h").await;
        Arc::new(Site { vault, root, token })
    }
}

/// Secrets `dynatrace/[TAG/]s0..`, each with a token and a field of somebody else's, and a configuration for them.
pub struct World {
    pub site: Arc<Site>,
    pub root: Api,
    /// Where the daemons reach OpenBao.
    pub gate: Gate,
    pub simulator: Simulator,
    pub dynatrace: Dynatrace,
    /// What issues the tokens of the secrets.
    pub issuer: Issuer,
    pub folder: TempDir,
    /// The paths of the secrets, which are their names, too.
    pub secrets: Vec<String>,
    /// The path of the management token.
    pub master: String,
    /// The folder of the journal below its mount.
    pub journal: String,
    /// What [`World::save`] writes.
    pub config: toml::Table,
    /// What commands wrote, to be searched for values.
    outputs: Mutex<String>,
}

impl World {
    /// On an OpenBao of its own. Nothing is due until a schedule is set, and graces are as short as can be.
    pub async fn new(secrets: usize) -> World {
        World::on(Site::new().await, "", secrets).await
    }

    /// On a shared OpenBao, told apart by `tag`.
    pub async fn on(site: Arc<Site>, tag: &str, secrets: usize) -> World {
        World::of(Kind::Api, site, tag, secrets).await
    }

    /// The same with tokens of this kind.
    pub async fn of(kind: Kind, site: Arc<Site>, tag: &str, secrets: usize) -> World {
        let environment = match kind {
            Kind::Cluster => EnvironmentOptions::cluster(),
            _ => EnvironmentOptions::default(),
        };
        World::with(kind, vec![environment], site, tag, secrets).await
    }

    /// The same beside several environments, the first of which the configuration has.
    pub async fn with(
        kind: Kind,
        environments: Vec<EnvironmentOptions>,
        site: Arc<Site>,
        tag: &str,
        secrets: usize,
    ) -> World {
        let tag = if tag.is_empty() {
            String::new()
        } else {
            format!("{tag}/")
        };
        let options = Options {
            account: matches!(kind, Kind::Platform | Kind::ActiveGate).then(|| ACCOUNT.to_owned()),
            environments,
            ..Options::default()
        };
        let simulator = Simulator::start(options).await.expect("the simulator");
        let folder = tempfile::tempdir().expect("a folder");
        let token_file = folder.path().join("vault-token");
        fs::write(&token_file, &site.token).expect("the token file");
        fs::set_permissions(&token_file, PermissionsExt::from_mode(0o600)).expect("its mode");
        let mut world = World {
            gate: gate(&site.vault.address, site.vault.client()).await,
            root: site.root.clone(),
            dynatrace: simulator.dynatrace(),
            issuer: issuer(kind, &simulator),
            simulator,
            folder,
            secrets: (0..secrets)
                .map(|number| format!("dynatrace/{tag}s{number}"))
                .collect(),
            master: format!("dynatrace/{tag}master"),
            journal: format!("dtrotate/journal/{tag}")
                .trim_end_matches('/')
                .to_owned(),
            config: toml::Table::new(),
            outputs: Mutex::default(),
            site,
        };
        world.config = world.first_config();
        world.save();
        let master = match &world.issuer {
            Issuer::Api(environment)
            | Issuer::ActiveGate(environment)
            | Issuer::Cluster(environment) => {
                let master = environment.seed(world.issuer.management());
                json!({ "token": master.value })
            }
            Issuer::Platform { account, .. } => {
                let client = account.seed_client(&account.seed_user(), &CLIENT_SCOPES);
                json!({ "client_id": client.id, "client_secret": client.value })
            }
        };
        world.root.put("secret", &world.master, master).await;
        for number in (0..secrets).filter(|_| kind != Kind::ActiveGate) {
            let value = world.issuer.seed(number);
            world.put(number, &value).await;
        }
        world
    }

    fn first_config(&self) -> toml::Table {
        let mut text = format!(
            r#"
[vault]
address = "{}"
timeout = "10s"
[vault.auth]
method = "token"
token_file = "vault-token"
[journal]
mount = "secret"
path = "{}"
[dynatrace.prod]
url = "{}"
settle = "2s"
[dynatrace.prod.auth]
path = "{}"
[defaults]
schedule = "0 0 1 1 *"
grace = "2s"
max_grace = "4s"
quarantine = "2s"
[daemon]
sweep = "2s"
[ops]
listen = ""
"#,
            self.gate.url(),
            self.journal,
            self.dynatrace.url(),
            self.master
        );
        if let Issuer::Platform {
            account,
            environment,
            ..
        } = &self.issuer
        {
            let auth = format!("[dynatrace.prod.auth]\npath = \"{}\"\n", self.master);
            text = text.replace(
                &auth,
                &format!(
                    "environment_id = \"abc12345\"\napps_url = \"{}\"\n[account.main]\nuuid = \"{}\"\napi_url = \"{}\"\nsso_url = \"{}\"\nsettle = \"2s\"\n\
                     [account.main.auth]\npath = \"{}\"\n",
                    environment.apps_url().expect("an account"),
                    account.uuid(),
                    account.api_url(),
                    account.api_url(),
                    self.master
                ),
            );
            text = text.replace(
                "[defaults]\n",
                "[defaults]\nkind = \"platform\"\nlifetime = \"400d\"\n",
            );
        }
        let first = |line: &str| format!("[defaults]\n{line}\n");
        match &self.issuer {
            Issuer::Api(_) | Issuer::Platform { .. } => {}
            Issuer::ActiveGate(environment) => {
                let apps = environment.apps_url().expect("an account");
                let kind = first("kind = \"activegate\"\ncreate = true");
                text = text.replace("[defaults]\n", &kind);
                let apps = format!("[dynatrace.prod]\napps_url = \"{apps}\"\n");
                text = text.replace("[dynatrace.prod]\n", &apps);
            }
            Issuer::Cluster(_) => {
                text = text.replace("[defaults]\n", &first("kind = \"cluster\""));
                let api = "[dynatrace.prod]\napi = \"cluster\"\n";
                text = text.replace("[dynatrace.prod]\n", api);
            }
        }
        for path in &self.secrets {
            text += &format!("[[secret]]\npath = \"{path}\"\n");
        }
        text.parse().expect("a table")
    }

    /// Sets a key of the configuration, such as `defaults.grace`, and saves it. A running daemon reads it after a SIGHUP.
    pub fn set(&mut self, key: &str, value: impl Into<toml::Value>) {
        let (sections, key) = key.rsplit_once('.').unwrap_or(("", key));
        let mut table = &mut self.config;
        for section in sections.split('.').filter(|section| !section.is_empty()) {
            let inner = table
                .entry(section)
                .or_insert_with(|| toml::Table::new().into());
            table = inner.as_table_mut().expect("a section");
        }
        table.insert(key.to_owned(), value.into());
        self.save();
    }

    /// Writes the configuration file.
    pub fn save(&self) {
        fs::write(self.config_file(), self.config.to_string()).expect("the configuration");
    }

    pub fn config_file(&self) -> PathBuf {
        self.folder.path().join("dtrotate.toml")
    }

    /// What a key of the configuration such as `defaults.grace` says, as a length of time in whole seconds (`"2s"`).
    pub fn seconds(&self, key: &str) -> Duration {
        let table = toml::Value::Table(self.config.clone());
        let place = key.split('.').fold(&table, |place, part| &place[part]);
        let text = place.as_str().expect("a duration");
        let number = text.strip_suffix('s').expect("seconds");
        Duration::from_secs(number.parse().expect("a number"))
    }

    /// A person puts a value into a secret.
    pub async fn put(&self, number: usize, value: &str) -> u64 {
        let data = json!({ "token": value, "note": note(number) });
        self.root.put("secret", &self.secrets[number], data).await
    }

    /// The value of a secret.
    pub async fn value(&self, number: usize) -> String {
        let secret = self.root.secret("secret", &self.secrets[number]).await;
        let data = secret.expect("the secret").data;
        data["token"].as_str().expect("a value").to_owned()
    }

    /// The id of the value of a secret.
    pub async fn current_id(&self, number: usize) -> String {
        let value = self.value(number).await;
        let (id, _) = value.rsplit_once('.').expect("a dotted value");
        id.to_owned()
    }

    /// The path of a secret's journal document.
    pub fn document(&self, number: usize) -> String {
        let key = self.secrets[number].replace('/', "~2F");
        format!("{}/{key}", self.journal)
    }

    /// A secret's journal document; null when there is none.
    pub async fn record(&self, number: usize) -> Value {
        let document = self.root.secret("secret", &self.document(number)).await;
        document.map_or(Value::Null, |document| parsed(document.data))
    }

    /// The due instants that the rotations of a secret served, in the order of their commits.
    pub async fn served(&self, number: usize) -> Vec<String> {
        let document = self.document(number);
        let mut served = vec![];
        let mut current = Value::Null;
        for version in self.root.versions("secret", &document).await.into_keys() {
            let read = self.root.secret_version("secret", &document, version).await;
            let record = parsed(read.expect("a version of the journal").data);
            if !current.is_null() && record["current"]["id"] != current {
                served.push(record["last_due"].as_str().unwrap_or_default().to_owned());
            }
            current = record["current"]["id"].clone();
        }
        served
    }

    /// No work is under way or waits: every document is without a claim, an open attempt and a retiring token.
    pub async fn is_quiet(&self) -> bool {
        for number in 0..self.secrets.len() {
            let record = self.record(number).await;
            let none = |key: &str| record[key].as_array().is_none_or(Vec::is_empty);
            if record.is_null() || !record["claim"].is_null() || !none("open") || !none("retiring")
            {
                return false;
            }
        }
        true
    }

    /// Every value in Vault works now, and nobody else's field was touched.
    pub async fn assert_valid(&self) {
        for (number, path) in self.secrets.iter().enumerate() {
            let secret = self.root.secret("secret", path).await.expect("the secret");
            // A secret that dtrotate made has no field of somebody else.
            if !matches!(self.issuer, Issuer::ActiveGate(_)) {
                assert_eq!(secret.data["note"], note(number), "P4: {path}");
            }
            let value = secret.data["token"].as_str().expect("a value");
            let valid = self.issuer.is_valid(value);
            assert!(valid, "P1: {path} holds a dead token");
        }
    }

    /// The tokens that exist, without the management token.
    pub fn tokens(&self) -> usize {
        let all = self.issuer.tokens().len();
        match self.issuer {
            Issuer::Api(_) | Issuer::Cluster(_) => all - 1,
            Issuer::Platform { .. } | Issuer::ActiveGate(_) => all,
        }
    }

    /// How long an effect may take to become visible.
    pub fn settle(&self) -> Duration {
        match self.issuer {
            Issuer::Platform { .. } => self.seconds("account.main.settle"),
            _ => self.seconds("dynatrace.prod.settle"),
        }
    }

    /// Starts the daemon as the instance `name`.
    pub fn start(&self, name: &str) -> Daemon {
        self.start_with(name, &[])
    }

    /// The same with more variables, such as `DTROTATE_VAULT__ADDRESS` to send it through a gate of its own.
    pub fn start_with(&self, name: &str, variables: &[(&str, &str)]) -> Daemon {
        let mut program = self.program();
        program
            .arg("run")
            .env("DTROTATE_INSTANCE", name)
            .envs(variables.iter().copied());
        self.spawn(name, program)
    }

    /// Starts a command that runs beside the test, such as one that is to be killed.
    pub fn start_command(&self, name: &str, arguments: &[&str]) -> Daemon {
        self.start_command_with(name, arguments, &[])
    }

    /// The same with more variables.
    pub fn start_command_with(
        &self,
        name: &str,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Daemon {
        let mut program = self.program();
        program.args(arguments).envs(variables.iter().copied());
        self.spawn(&format!("{name}{OF_A_COMMAND}"), program)
    }

    fn spawn(&self, name: &str, mut program: Command) -> Daemon {
        let log = self.folder.path().join(format!("{name}.log"));
        let results = self.folder.path().join(format!("{name}.out"));
        let open = |path: &Path| {
            let mut options = fs::OpenOptions::new();
            options.create(true).append(true).open(path)
        };
        let file = open(&log).expect("the log");
        let begins = file.metadata().expect("the log").len();
        let child = program
            .env("RUST_LOG", "trace")
            .stdout(open(&results).expect("the results"))
            .stderr(file)
            .stdin(Stdio::null())
            .spawn()
            .expect("dtrotate");
        Daemon { child, log, begins }
    }

    /// A command, on a thread of its own so that the stand-in continues. Its exit status and its results.
    pub async fn command(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let (code, results, _) = self.command_and_stderr(arguments).await;
        (code, results)
    }

    /// The same with what it wrote to stderr.
    pub async fn command_and_stderr(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = self.program();
        command.args(arguments);
        let output = tokio::task::spawn_blocking(move || command.output())
            .await
            .expect("a thread")
            .expect("dtrotate");
        let results = String::from_utf8(output.stdout).expect("text");
        let logs = String::from_utf8(output.stderr).expect("text");
        let mut outputs = self.outputs.lock().expect("the outputs");
        *outputs += &results;
        *outputs += &logs;
        (output.status.code(), results, logs)
    }

    /// The program with this configuration and without any variable.
    pub fn program(&self) -> Command {
        let mut command = Command::new(program());
        command.arg("--config").arg(self.config_file()).env_clear();
        command
    }

    /// The lines of all daemons.
    pub fn lines(&self) -> Vec<Value> {
        self.logs().iter().flat_map(|log| lines(log, 0)).collect()
    }

    /// The lines of all daemons with the level ERROR.
    pub fn errors(&self) -> Vec<Value> {
        let mut lines = self.lines();
        lines.retain(|line| line["level"] == "ERROR");
        lines
    }

    /// What the processes wrote to standard error.
    fn logs(&self) -> Vec<PathBuf> {
        self.files("log")
    }

    fn files(&self, extension: &str) -> Vec<PathBuf> {
        let files = fs::read_dir(self.folder.path()).expect("the folder");
        let paths = files.map(|file| file.expect("a file").path());
        paths
            .filter(|path| path.extension().is_some_and(|own| own == extension))
            .collect()
    }
}

/// The dtrotate that is tested: `$PROGRAM` (`make test` names one with the features that ship), else the one built with the tests.
pub fn program() -> PathBuf {
    let named = variable("PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_dtrotate").into());
    let program = PathBuf::from(named);
    assert!(program.is_file(), "PROGRAM={}", program.display());
    program
}

/// The field of somebody else in secret `number`.
pub fn note(number: usize) -> Value {
    json!({ "kept": [number] })
}

/// A daemon, or a command that runs beside the test, as a child process; killed when dropped.
pub struct Daemon {
    pub child: Child,
    pub log: PathBuf,
    /// Where the log of this start begins.
    begins: u64,
}

impl Daemon {
    /// A child that writes to `log` from its start on.
    pub fn watch(child: Child, log: PathBuf) -> Daemon {
        let begins = 0;
        Daemon { child, log, begins }
    }

    /// How many lines of this start tell of `event`.
    pub fn events(&self, event: &str) -> usize {
        let lines = self.lines();
        lines.iter().filter(|line| line["event"] == event).count()
    }

    /// The lines of this start.
    pub fn lines(&self) -> Vec<Value> {
        lines(&self.log, self.begins as usize)
    }

    /// `-TERM`, `-HUP`, `-STOP`, `-CONT`, ...
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([name, &self.child.id().to_string()])
            .status()
            .expect("kill");
        assert!(status.success());
    }

    /// SIGKILL, and it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// It ended without a signal.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    pub fn exit_code(&mut self) -> Option<i32> {
        self.child.wait().expect("the daemon").code()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What the file with the standard error of a command has in its name. There are sentences for people beside the log.
const OF_A_COMMAND: &str = ".command";

/// The whole lines of a log from a place on.
fn lines(log: &Path, begins: usize) -> Vec<Value> {
    let text = fs::read_to_string(log).unwrap_or_default();
    let text = text.get(begins..).unwrap_or_default();
    let mut whole: Vec<&str> = text.lines().collect();
    if !text.ends_with('\n') {
        whole.pop();
    }
    if log.to_string_lossy().contains(OF_A_COMMAND) {
        whole.retain(|line| line.starts_with('{'));
    }
    let parse =
        |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    whole.into_iter().map(parse).collect()
}

/// Whether every case is to be tried (`make thorough`), or a choice of them.
pub fn is_thorough() -> bool {
    variable("THOROUGH").is_some()
}

/// Waits until `done`, looking often.
pub async fn until(what: &str, done: impl AsyncFnMut() -> bool) {
    assert!(within(LONG, done).await, "waited too long: {what}");
}

/// Whether `done` comes true in time.
pub async fn within(time: Duration, mut done: impl AsyncFnMut() -> bool) -> bool {
    let began = Instant::now();
    let mut look = tokio::time::interval(Duration::from_millis(50));
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !done().await {
        if began.elapsed() >= time {
            return false;
        }
        look.tick().await;
    }
    true
}

/// The wall clock.
#[expect(
    clippy::disallowed_methods,
    reason = "a test has no now that somebody hands to it"
)]
pub fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// A journal document as it was read: its content is one JSON text.
pub fn parsed(data: Value) -> Value {
    match data["document"].as_str() {
        Some(text) => serde_json::from_str(text).expect("a document"),
        None => data,
    }
}
