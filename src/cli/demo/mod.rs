//! `dtrotate demo`: the daemon on embedded stand-ins for Dynatrace and Vault, with schedules of a few seconds. Nothing is installed, nothing
//! outside this machine's memory and one temporary folder is touched.
//!
//! The stand-ins live in this process and the daemon in a child, so that the tour can kill it.

mod daemon;
mod event;
mod tour;

use std::io::{self, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use signal_hook::consts::TERM_SIGNALS;
use signal_hook::iterator::Signals;
use simulator::{Options, Seed, Simulator};

use super::{Exit, cannot_start, output};
use daemon::Daemon;

/// The secrets of the demo: path, schedule, rights.
const SECRETS: [(&str, &str, &[&str]); 3] = [
    (tour::KILLED, "*/5 * * * * *", &["metrics.read"]),
    (tour::USED, "*/10 * * * * *", &["logs.ingest"]),
    (
        "dynatrace/ci-metrics",
        "*/15 * * * * *",
        &["metrics.ingest", "events.ingest"],
    ),
];

/// The port of the status page, if it is free.
const PORT: u16 = 9780;

pub(super) fn demo() -> Exit {
    match stage().and_then(|stage| stage.play()) {
        Ok(()) => Exit::Success,
        Err(error) => cannot_start(&error),
    }
}

/// The stand-ins, and the folder with the daemon's files.
struct Stage {
    simulator: Simulator,
    folder: PathBuf,
}

impl Drop for Stage {
    fn drop(&mut self) {
        // What cannot be removed is left in the folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn stage() -> io::Result<Stage> {
    let folder = std::env::temp_dir().join(format!("dtrotate-demo-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let simulator = Simulator::start_on_thread(Options::default())?;
    let stage = Stage { simulator, folder };
    let (dynatrace, kv) = (stage.simulator.dynatrace(), stage.simulator.kv());
    let put = |path: &str, value: &str| {
        kv.put("secret", path, serde_json::json!({ "token": value }));
    };
    let management = dynatrace.seed(Seed::management("management"));
    put("dynatrace/master", &management.value);
    let listen =
        TcpListener::bind(("127.0.0.1", PORT)).or_else(|_| TcpListener::bind("127.0.0.1:0"));
    let listen = listen?.local_addr()?;
    let mut text = format!(
        "[vault]\naddress = \"{}\"\n[vault.auth]\nmethod = \"token\"\ntoken_file = \"vault-token\"\n\
         [journal]\nmount = \"dtrotate\"\npath = \"journal\"\n[dynatrace.demo]\nurl = \"{}\"\nsettle = \"5s\"\n\
         [dynatrace.demo.auth]\npath = \"dynatrace/master\"\n[defaults]\ngrace = \"6s\"\nmax_grace = \"12s\"\nquarantine = \"6s\"\n\
         [daemon]\nsweep = \"10s\"\n[log]\nformat = \"json\"\n[ops]\nlisten = \"{listen}\"\n",
        kv.url(),
        stage.simulator.url()
    );
    for (path, schedule, scopes) in SECRETS {
        put(path, &dynatrace.seed(Seed::new(path).scopes(scopes)).value);
        text += &format!("[[secret]]\npath = \"{path}\"\nschedule = \"{schedule}\"\n");
    }
    private(&stage.folder.join("vault-token"), kv.root_token())?;
    std::fs::write(stage.configuration(), text)?;
    output::print(&format!(
        "Status page: http://{listen}/\n\n\
         Three secrets rotate every 5, 10 and 15 seconds. An old token stays enabled for 6 s,\n\
         is disabled for 6 s, and is then deleted. Stop with Ctrl-C.\n\n"
    ))?;
    Ok(stage)
}

impl Stage {
    fn configuration(&self) -> PathBuf {
        self.folder.join("dtrotate.toml")
    }

    /// The tour, then the daemon alone, until a signal.
    fn play(self) -> io::Result<()> {
        let mut signals = Signals::new(TERM_SIGNALS)?;
        let daemon = Arc::new(Daemon::new(self.configuration()));
        let guided = daemon.clone();
        let (dynatrace, kv) = (self.simulator.dynatrace(), self.simulator.kv());
        thread::spawn(move || {
            if let Err(error) = tour::tour(&guided, &dynatrace, &kv) {
                output::complain(&format!("the tour has ended early: {error}"));
            }
        });
        signals.forever().next();
        daemon.stop()
    }
}

/// A file that only this user can read.
fn private(file: &Path, text: &str) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(file)?;
    file.write_all(text.as_bytes())
}
