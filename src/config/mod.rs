//! The configuration: from files and environment variables to [`Settings`], or to [`Problems`] that say where and what to do.
//!
//! `tables` declares every key once. Stages, one file each: `file` parses TOML into tables that know their places; `merge` makes one
//! tree of several files and the overrides; `section` and `kinds` read typed values; `services` and `secrets` check their meaning;
//! `settings` is the result. A problem never ends the reading: all of them are reported at once.
//!
//! It reads files and nothing else: the environment is an argument, no network is involved, and no credential is ever taken from
//! a configuration file or shown from one.

mod context;
mod duration;
mod file;
mod kinds;
mod lifecycle;
mod login;
mod merge;
mod notify;
mod problem;
mod redact;
mod schedules;
mod schema;
mod secret_options;
mod secrets;
mod section;
mod services;
mod settings;
mod table;
mod tables;
mod url;
mod validate;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use context::did_you_mean;
pub use duration::show as show_duration;
pub use kinds::KeyType;
pub use notify::webhook_url;
pub use problem::Problems;
pub use schema::schema;
pub use section::variable;
pub use settings::{
    Environment, Field, Notify, NotifyDynatrace, NotifyWebhook, SecretSettings, Settings, Vault,
};
pub use table::{KeyDoc, Role, TableDoc};
pub use tables::{Daemon, Journal, Limits, Log, LogFormat, Ops, tables};

use crate::bounded_file::{self, ReadError};
use context::Context;
use merge::Tree;
use problem::{Place, Problem};
use schedules::Schedules;
use section::Section;
use table::Table;

/// The limit for a configuration file, bytes: a file with 10,000 secrets has about 2 MB.
const LARGEST_FILE: usize = 16 * 1024 * 1024;

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
    let context = Context::default();
    match build(path, options, &context) {
        Some(settings) if context.report.is_empty() => Ok(settings),
        _ => Err(context.report.finish()),
    }
}

/// Where the daemon listens by this configuration, whatever else is wrong with it; none = it does not listen.
pub fn listen(path: &Path, options: &Options) -> Option<SocketAddr> {
    let context = Context::default();
    let tree = read_tree(path, options, &context).1;
    let top = Section::new("", &tree.top, true, &context);
    Ops::read_all(top.table("ops")).listen
}

fn build(path: &Path, options: &Options, context: &Context) -> Option<Settings> {
    let (files, tree) = read_tree(path, options, context);
    let settings = resolve(&tree, path, options, context);
    context.finish_variables();
    settings.map(|settings| Settings { files, ..settings })
}

/// All files as one tree, overrides included.
fn read_tree(path: &Path, options: &Options, context: &Context) -> (Vec<PathBuf>, Tree) {
    let mut files = vec![path.to_owned()];
    let mut tree = Tree::new(read_file(path, context), context);
    for path in drop_in_files(path, options, context) {
        if let Some(table) = read_file(&path, context) {
            tree.drop_in(table, context);
        }
        files.push(path);
    }
    tree.override_from(&options.environment, context);
    (files, tree)
}

/// From the tree to settings; `None` after a problem without which there is nothing to hand out.
fn resolve(tree: &Tree, path: &Path, options: &Options, context: &Context) -> Option<Settings> {
    let top = Section::new("", &tree.top, true, context);
    top.has_tables(&[
        "defaults",
        "vault",
        "journal",
        "dynatrace",
        "limits",
        "daemon",
        "log",
        "ops",
        "notify",
        "secret",
    ]);
    let mut schedules = Schedules::default();
    let mut schedule_is_misspelt = false;
    let mut read_defaults = |section: Section<'_>| {
        let options = secret_options::read(&section, &mut schedules, context);
        schedule_is_misspelt |= section.is_misspelt("schedule");
        section.finish();
        options
    };
    let defaults = read_defaults(top.table("defaults"));
    let file_defaults: Vec<_> = tree
        .file_defaults
        .iter()
        .map(|table| read_defaults(Section::new("defaults", table, false, context)))
        .collect();

    let around = services::Surroundings {
        context,
        options,
        folder: path.parent().unwrap_or(Path::new("")).to_owned(),
        mount: defaults.mount.or_default(),
    };
    let vault = services::vault(top.table("vault"), &around);
    let journal = Journal::read_all(top.table("journal"));
    let (environments, environment_names) =
        services::environments(&top.table("dynatrace"), &around);
    let limits = Limits::read_all(top.table("limits"));
    let daemon = Daemon::read_all(top.table("daemon"));
    let log = Log::read_all(top.table("log"));
    let ops = Ops::read_all(top.table("ops"));
    let notify = notify::notify(
        top.table("notify"),
        &environments,
        &environment_names,
        &around,
    );
    let secrets_are_misspelt = top.is_misspelt("secret");
    top.finish();

    let around = secrets::Surroundings {
        context,
        environments: &environments,
        environment_names: &environment_names,
        journal: &journal,
        defaults: &defaults,
        schedule_is_misspelt,
    };
    let mut secrets = secrets::Secrets::new(around, schedules);
    for (table, own_defaults) in &tree.secrets {
        let section = Section::new("secret", table, false, context);
        secrets.add(section, own_defaults.map(|number| &file_defaults[number]));
    }
    let secrets = secrets.finish();
    if tree.secrets.is_empty() && !secrets_are_misspelt {
        context.warn("no secret is configured, so nothing is rotated: add a [[secret]]".to_owned());
    }
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
        warnings: context.take_warnings(),
        files: Vec::new(),
    })
}

/// Reads one file; a failure is reported, and what seems to be missing after it is not.
fn read_file(path: &Path, context: &Context) -> Option<file::Table> {
    let name = path.display().to_string();
    let table = match bounded_file::read_text(path, LARGEST_FILE) {
        Ok(text) => file::read(name, &text, &context.report),
        Err(error) => {
            let place = Place::Whole(context.report.source(name, ""));
            let message = match error {
                ReadError::NotText => "this file is not text in UTF-8".to_owned(),
                error => format!("cannot read this file: {error}"),
            };
            context.problem(Problem::new(&place, message));
            None
        }
    };
    if table.is_none() {
        context.set_incomplete();
    }
    table
}

/// The drop-in files in the order of their names. Without `--config-dir` the folder may be absent.
fn drop_in_files(main: &Path, options: &Options, context: &Context) -> Vec<PathBuf> {
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
            let place = Place::Whole(context.report.source(folder.display().to_string(), ""));
            context.problem(Problem::new(
                &place,
                format!("cannot read this folder: {error}"),
            ));
            context.set_incomplete();
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
