//! The configuration: from files and environment to [`Settings`], or to [`Problems`] that say where and what to do.
//!
//! Stages, one file each: `file` reads TOML into tables that know their places; `merge` makes one tree of several files and
//! the overrides; `section` reads typed values; `services` and `secrets` judge their meaning; `settings` is what comes out. A problem
//! never ends the reading: all of them come in one go.
//!
//! It reads files and nothing else: the environment is an argument, nothing is asked from a network, and no secret is ever taken from
//! a configuration file or shown from one.

mod checks;
mod credential;
mod duration;
mod file;
mod lengths;
mod login;
mod mask;
mod merge;
mod notify;
mod problem;
mod reading;
mod schema;
mod secrets;
mod section;
mod services;
mod settings;
mod timing;
mod url;
mod wishes;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use credential::{Credential, CredentialError, read};
pub use duration::show as show_duration;
pub use notify::webhook_url;
pub use problem::Problems;
pub use schema::schema;
pub use settings::{
    Api, Auth, Daemon, Details, Environment, Field, Journal, Limits, Log, LogFormat, Missed,
    Notify, NotifyDynatrace, NotifyWebhook, Ops, SecretId, SecretSettings, Settings, Vault,
};

use merge::Tree;
use problem::{Place, Problem};
use reading::Reading;
use section::Section;
use timing::Timings;
use wishes::Wishes;

/// How to read a configuration.
#[derive(Clone, Default)]
pub struct Options {
    /// The environment's variables. No `Debug` here, since tokens may stand among them.
    pub environment: BTreeMap<String, String>,
    /// Where the drop-in files are; `None`: `conf.d` beside the main file, if there is one.
    pub config_dir: Option<PathBuf>,
    /// For `dtrotate run`: `[vault.auth]` wins over `BAO_TOKEN` and `VAULT_TOKEN`. In every other command they win, so that Vault's
    /// audit log shows the human.
    pub daemon: bool,
    /// Do not look into the files that are named (credentials, certificates): they may be on another machine.
    pub offline: bool,
}

/// Reads the main file and its drop-in files.
///
/// # Errors
/// Every problem of every file. A file that cannot be read or is no TOML is one problem; the others are still judged, but not for
/// what they seem to lack.
pub fn load(path: &Path, options: &Options) -> Result<Settings, Problems> {
    let reading = Reading::default();
    match build(path, options, &reading) {
        Some(settings) if reading.report.is_empty() => Ok(settings),
        _ => Err(reading.report.finish()),
    }
}

/// Where the daemon listens by this configuration, whatever else is wrong with it; none = it does not listen.
pub fn listen(path: &Path, options: &Options) -> Option<SocketAddr> {
    let reading = Reading::default();
    let tree = read_tree(path, options, &reading).1;
    let top = Section::new("", &tree.top, true, &reading);
    services::ops(top.table("ops")).listen
}

fn build(path: &Path, options: &Options, reading: &Reading) -> Option<Settings> {
    let (files, tree) = read_tree(path, options, reading);
    let settings = judge(&tree, path, options, reading);
    reading.finish_variables();
    settings.map(|settings| Settings { files, ..settings })
}

/// All files as one tree, overrides included.
fn read_tree(path: &Path, options: &Options, reading: &Reading) -> (Vec<PathBuf>, Tree) {
    let mut files = vec![path.to_owned()];
    let mut tree = Tree::new(read_file(path, reading), reading);
    for path in drop_in_files(path, options, reading) {
        if let Some(table) = read_file(&path, reading) {
            tree.drop_in(table, reading);
        }
        files.push(path);
    }
    tree.override_from(&options.environment, reading);
    (files, tree)
}

/// From the tree to settings; `None` after a problem without which there is nothing to hand out.
fn judge(tree: &Tree, path: &Path, options: &Options, reading: &Reading) -> Option<Settings> {
    let top = Section::new("", &tree.top, true, reading);
    let mut timings = Timings::default();
    let defaults_section = top.table("defaults");
    let defaults = Wishes::read(&defaults_section, &mut timings, reading);
    defaults_section.finish();
    let file_defaults: Vec<Wishes> = tree
        .file_defaults
        .iter()
        .map(|table| {
            let section = Section::new("defaults", table, false, reading);
            let wishes = Wishes::read(&section, &mut timings, reading);
            section.finish();
            wishes
        })
        .collect();

    let mount = defaults.mount.given().ok().flatten();
    let around = services::Surroundings {
        reading,
        options,
        folder: path.parent().unwrap_or(Path::new("")).to_owned(),
        mount: mount
            .map_or(services::DEFAULT_MOUNT, |mount| &mount.value)
            .to_owned(),
    };
    let vault = services::vault(top.table("vault"), &around);
    let journal = services::journal(top.table("journal"));
    let (environments, environment_names) =
        services::environments(&top.table("dynatrace"), &around);
    let limits = services::limits(top.table("limits"));
    let daemon = services::daemon(top.table("daemon"));
    let log = services::log(top.table("log"));
    let ops = services::ops(top.table("ops"));
    let notify = notify::notify(
        top.table("notify"),
        &environments,
        &environment_names,
        &around,
    );
    top.elsewhere("secret");
    top.finish();

    let around = secrets::Surroundings {
        reading,
        environments: &environments,
        environment_names: &environment_names,
        journal: &journal,
        defaults: &defaults,
    };
    let mut secrets = secrets::Secrets::new(around, timings);
    for (table, own_defaults) in &tree.secrets {
        let section = Section::new("secret", table, false, reading);
        secrets.add(section, own_defaults.map(|number| &file_defaults[number]));
    }
    let secrets = secrets.finish();
    Some(Settings {
        vault: vault?,
        journal,
        environments,
        secrets,
        limits,
        daemon,
        log,
        ops,
        notify,
        files: Vec::new(),
    })
}

/// Reads one file; a failure is reported, and what seems to be missing after it is not.
fn read_file(path: &Path, reading: &Reading) -> Option<file::Table> {
    let name = path.display().to_string();
    let table = match std::fs::read(path).map(String::from_utf8) {
        Ok(Ok(text)) => file::read(name, &text, &reading.report),
        Ok(Err(_)) => {
            let place = Place::Whole(reading.report.source(name, ""));
            reading.problem(Problem::new(&place, "this file is not text in UTF-8"));
            None
        }
        Err(error) => {
            let place = Place::Whole(reading.report.source(name, ""));
            reading.problem(Problem::new(
                &place,
                format!("cannot read this file: {error}"),
            ));
            None
        }
    };
    if table.is_none() {
        reading.set_incomplete();
    }
    table
}

/// The drop-in files in the order of their names. Without `--config-dir` the folder may be absent.
fn drop_in_files(main: &Path, options: &Options, reading: &Reading) -> Vec<PathBuf> {
    let beside = || main.parent().unwrap_or(Path::new("")).join("conf.d");
    let folder = options.config_dir.clone().unwrap_or_else(beside);
    let entries =
        std::fs::read_dir(&folder).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
    let entries = match entries {
        Ok(entries) => entries,
        Err(error)
            if error.kind() == std::io::ErrorKind::NotFound && options.config_dir.is_none() =>
        {
            return Vec::new();
        }
        Err(error) => {
            let place = Place::Whole(reading.report.source(folder.display().to_string(), ""));
            reading.problem(Problem::new(
                &place,
                format!("cannot read this folder: {error}"),
            ));
            reading.set_incomplete();
            return Vec::new();
        }
    };
    let is_drop_in = |path: &PathBuf| {
        let hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        !hidden
            && path
                .extension()
                .is_some_and(|extension| extension == "toml")
    };
    let mut files: Vec<PathBuf> = entries
        .iter()
        .map(|entry| entry.path())
        .filter(is_drop_in)
        .collect();
    files.sort();
    files
}
