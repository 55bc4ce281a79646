//! The configuration as its users meet it: what is refused, where and with which words; what counts when several things say something.

mod accepted;
mod causes;
mod kinds;
mod many;
mod network;
mod refused;
mod rights;
mod robust;
mod secrets_stay_hidden;

use std::path::Path;

use dtrotate::config::{Options, Problems, Settings, load};

/// A working `[vault]`.
const VAULT: &str = "[vault]\naddress = \"https://vault:8200\"\n[vault.auth]\nmethod = \"token\"\ntoken_file = \"t\"\n";
/// A working environment.
const PROD: &str =
    "[dynatrace.prod]\nurl = \"https://abc.live.dynatrace.com\"\nauth.path = \"dt/master\"\n";
/// A working secret.
const SECRET: &str = "[[secret]]\npath = \"a\"\nschedule = \"@daily\"\n";

/// A folder with a main file and others.
struct Files(tempfile::TempDir);

impl Files {
    fn new(main: &str) -> Files {
        let files = Files(tempfile::tempdir().unwrap());
        files.with("main.toml", main)
    }

    fn with(self, name: &str, content: &str) -> Files {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn load(&self, options: &Options) -> Result<Settings, Problems> {
        load(&self.path("main.toml"), options)
    }

    /// The problems with the folder's name taken off.
    fn problems(&self, options: &Options) -> Vec<String> {
        let folder = format!("{}/", self.0.path().display());
        match self.load(options) {
            Ok(_) => Vec::new(),
            Err(problems) => problems
                .lines()
                .iter()
                .map(|line| line.replace(&folder, ""))
                .collect(),
        }
    }

    fn settings(&self, options: &Options) -> Settings {
        match self.load(options) {
            Ok(settings) => settings,
            Err(problems) => panic!("{problems}"),
        }
    }
}

/// As the daemon reads it, with no look into credential files.
fn daemon() -> Options {
    Options {
        daemon: true,
        offline: true,
        ..Options::default()
    }
}

fn daemon_with(variables: &[(&str, &str)]) -> Options {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Options {
        environment: variables.iter().map(own).collect(),
        ..daemon()
    }
}

fn shipped(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("config")
        .join(name)
}
