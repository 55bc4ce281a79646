//! `dtrotate demo`: the daemon on embedded stand-ins for Dynatrace and Vault, with schedules of a few seconds. Nothing is installed, nothing
//! outside this process is touched.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use simulator::{Options, Seed, Simulator};

use super::{Arguments, Exit, cannot_start, output, run};

/// The secrets of the demo: path, schedule, rights.
const SECRETS: [(&str, &str, &[&str]); 3] = [
    ("dynatrace/automation", "*/5 * * * * *", &["metrics.read"]),
    ("dynatrace/log-shipper", "*/10 * * * * *", &["logs.ingest"]),
    (
        "dynatrace/ci-metrics",
        "*/15 * * * * *",
        &["metrics.ingest", "events.ingest"],
    ),
];
/// The table is shown this often.
const TABLE: Duration = Duration::from_secs(5);

pub(super) fn demo(arguments: &mut Arguments) -> Exit {
    match prepare(arguments) {
        Ok(stage) => {
            let ended = run::stay(arguments);
            drop(stage);
            ended.unwrap_or_else(|exit| exit)
        }
        Err(error) => cannot_start(&error),
    }
}

/// What must live as long as the demo.
struct Stage {
    folder: std::path::PathBuf,
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn prepare(arguments: &mut Arguments) -> std::io::Result<Stage> {
    let simulator = Simulator::start_on_thread(Options::default())?;
    let (dynatrace, kv) = (simulator.dynatrace(), simulator.kv());
    let put = |path: &str, value: &str| {
        kv.put("secret", path, serde_json::json!({ "token": value }));
    };
    put(
        "dynatrace/master",
        &dynatrace.seed(Seed::management("management")).value,
    );
    let mut text = format!(
        "[vault]\naddress = \"{}\"\n[vault.auth]\nmethod = \"token\"\ntoken_file = \"vault-token\"\n\
         [journal]\nmount = \"dtrotate\"\npath = \"journal\"\n[dynatrace.demo]\nurl = \"{}\"\nsettle = \"5s\"\n\
         [dynatrace.demo.auth]\npath = \"dynatrace/master\"\n[defaults]\ngrace = \"6s\"\nmax_grace = \"12s\"\nquarantine = \"6s\"\n\
         [daemon]\nsweep = \"10s\"\n[log]\nformat = \"text\"\n[ops]\nlisten = \"\"\n",
        kv.url(),
        simulator.url()
    );
    for (path, schedule, scopes) in SECRETS {
        put(path, &dynatrace.seed(Seed::new(path).scopes(scopes)).value);
        text += &format!("[[secret]]\npath = \"{path}\"\nschedule = \"{schedule}\"\n");
    }
    let folder = std::env::temp_dir().join(format!("dtrotate-demo-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let stage = Stage { folder };
    private(&stage.folder.join("vault-token"), kv.root_token())?;
    arguments.config = stage.folder.join("dtrotate.toml");
    arguments.config_dir = None;
    std::fs::write(&arguments.config, text)?;
    output::print(
        "Three secrets rotate every 5, 10 and 15 seconds. Old tokens stay valid for 6 s, are disabled for 6 s, and are then deleted. Stop with \
         Ctrl-C.\n",
    )?;
    thread::spawn(move || show(&simulator));
    Ok(stage)
}

/// Shows every token of the stand-in, again and again.
fn show(simulator: &Simulator) {
    loop {
        thread::sleep(TABLE);
        let mut table = format!("\n  {:<34} {:<9} NAME\n", "TOKEN", "STATE");
        for token in simulator.dynatrace().tokens() {
            let state = if token.enabled { "enabled" } else { "disabled" };
            table += &format!("  {:<34} {state:<9} {}\n", token.id, token.name);
        }
        // The demo does not need a reader.
        let _ = output::print(&(table + "\n"));
    }
}

/// A file that only this user can read.
fn private(file: &Path, text: &str) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(file)?;
    file.write_all(text.as_bytes())
}
