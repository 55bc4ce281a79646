//! The configuration: from files and environment variables to [`Settings`], or to [`Problems`] that say where and what to do.
//!
//! `tables` declares every key once. Stages, one file each: `file` parses TOML into tables that know their places; `merge` makes one
//! tree of several files and the overrides; `section` and `kinds` read typed values; `vault`, `dynatrace`, `notify` and `secrets` check their meaning;
//! `settings` is the result. A problem never ends the reading: all of them are reported at once.
//!
//! It reads files and nothing else: the environment is an argument, no network is involved, and no credential is ever taken from
//! a configuration file or shown from one.

mod accounts;
mod context;
mod discovery;
mod duration;
mod dynatrace;
mod file;
mod issuer;
mod kinds;
mod kv_path;
mod labels;
mod lifecycle;
mod login;
mod merge;
mod notify;
mod paths;
mod problem;
mod redact;
mod registry;
mod rights;
mod schedules;
mod schema;
mod secrets;
mod section;
mod settings;
mod sharing;
mod table;
mod tables;
mod transport;
mod url;
mod validate;
mod vault;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use context::did_you_mean;
pub use discovery::{Discovery, rediscovered};
pub use duration::{parse as parse_duration, show as show_duration};
pub use kinds::KeyType;
pub use notify::webhook_url;
pub use problem::Problems;
pub use schema::schema;
pub use section::variable;
pub use settings::{
    ACTIVE_GATES, Account, Environment, Field, IssuerPlace, Notify, NotifyDynatrace, NotifyRoute,
    NotifyWebhook, OAuthPlace, SecretSettings, Settings, SharedSettings,
};
pub use table::{KeyDoc, Role, TableDoc};
pub use tables::{Daemon, Journal, Limits, Log, LogFormat, Ops, is_repeated, tables};

use crate::bounded_file::{self, ReadError};
use context::Context;
use merge::Tree;
use problem::{Place, Problem};
use section::Section;
use table::Table;
use tables::SecretOptions;

/// The limit for a configuration file, bytes: a file with 10,000 secrets has about 2 MB.
const LARGEST_FILE: usize = 16 * 1024 * 1024;

/// How to read a configuration.
#[derive(Clone, Default)]
pub struct Options {
    /// The environment's variables. No `Debug` here, because tokens may stand among them.
    pub environment: BTreeMap<String, String>,
    /// Where the drop-in files are; `None`: `conf.d` beside the main file, if there is one.
    pub config_dir: Option<PathBuf>,
    /// For `dtrotate run`: `[vault.auth]` wins over `BAO_TOKEN` and `VAULT_TOKEN`. In every other command they win, so that Vault's
    /// audit log shows the human.
    pub daemon: bool,
    /// The process starts: a credential file that is not there or cannot be read yet is waited for.
    pub starting: bool,
    /// Do not look into the files that are named (credentials, certificates): they may be on another machine.
    pub offline: bool,
}

/// Reads the main file and its drop-in files.
///
/// # Errors
/// Every problem of every file. A file that cannot be read or is not TOML is one problem; the others are still judged, but not for
/// what they seem to lack.
pub fn load(path: &Path, options: &Options) -> Result<Settings, Problems> {
    let context = Context::new(path, options);
    let (files, tree) = read_tree(path, &context);
    let settings = resolve(&tree, &context);
    let problems = context.finish();
    match settings {
        Some(settings) if problems.is_empty() => Ok(Settings { files, ..settings }),
        _ => Err(problems),
    }
}

/// Where the daemon listens by this configuration, whatever else is wrong with it; none = it does not listen.
pub fn listen(path: &Path, options: &Options) -> Option<SocketAddr> {
    let mut context = Context::new(path, options);
    context.keeps_the_rest = true;
    let tree = read_tree(path, &context).1;
    Ops::read_all(Section::new("", &tree.top, &context).table("ops")).listen
}

/// All files as one tree, overrides included.
fn read_tree(path: &Path, context: &Context) -> (Vec<PathBuf>, Tree) {
    let mut files = vec![path.to_owned()];
    files.extend(drop_in_files(path, context));
    let mut tree = Tree::new();
    for (number, path) in files.iter().enumerate() {
        match read_file(path, context) {
            Some(table) => tree.add(table, number > 0, context),
            None => context.set_incomplete(),
        }
    }
    tree.override_from(&context.options.environment, context);
    (files, tree)
}

/// From the tree to settings; `None` after a problem without which there are no settings.
fn resolve(tree: &Tree, context: &Context) -> Option<Settings> {
    let top = Section::new("", &tree.top, context);
    let names = tables().into_iter().map(|table| table.name);
    top.has_tables(names.map(|name| name.split('.').next().unwrap_or(name)));
    let defaults = SecretOptions::read_all(top.table("defaults"));
    let vault = vault::vault(top.table("vault"), context);
    let journal = journal(top.table("journal"), context);
    let mount = defaults.mount.or_default();
    let (accounts, account_names) = accounts::accounts(&top.table("account"), &mount, context);
    let dynatrace = top.table("dynatrace");
    let (environments, names) =
        dynatrace::environments(&dynatrace, &mount, &account_names, context);
    let limits = Limits::read_all(top.table("limits"));
    let daemon = Daemon::read_all(top.table("daemon"));
    let log = Log::read_all(top.table("log"));
    let ops = Ops::read_all(top.table("ops"));
    let notify = notify::notify(top.table("notify"), &environments, &names, context);
    if tree.secrets.is_empty() && !top.is_misspelt("secret") {
        context.warn("no secret is configured, so nothing is rotated: add a [[secret]]".to_owned());
    }
    let others = secrets::Others {
        environments: &environments,
        environment_names: &names,
        accounts: &accounts,
        journal: &journal,
        defaults: &defaults,
    };
    let (mut secrets, mut discoveries) = secrets::secrets(tree, others, context);
    let announce = |secret: &mut SecretSettings| {
        let announces = notify.routes.iter().any(|route| route.announces(secret));
        Arc::make_mut(&mut secret.plan).announces = announces;
    };
    secrets.iter_mut().map(Arc::make_mut).for_each(announce);
    sharing::share(&mut secrets);
    for discovery in &mut discoveries {
        discovery.adjust(announce);
    }
    let rotated = secrets.iter().map(|secret| &**secret);
    let found = discoveries.iter().map(discovery::Discovery::template);
    notify::warn_of_unused(
        &notify.routes,
        &rotated.chain(found).collect::<Vec<_>>(),
        context,
    );
    top.finish();
    context.finish_variables(&names);
    Some(Settings {
        vault: vault?,
        journal,
        environments,
        accounts,
        secrets,
        discoveries,
        quarantine: defaults.quarantine.or_default(),
        limits,
        daemon,
        log,
        ops,
        notify,
        warnings: context.take_warnings(),
        files: Vec::new(),
    })
}

/// `[journal]`
fn journal(section: Section<'_>, context: &Context) -> Journal {
    let [mount, path] = ["mount", "path"].map(|key| section.place_of(key));
    let journal = Journal::read_all(section);
    if let Some(place) = mount {
        kv_path::check_mount(&journal.mount, place, context);
    }
    if let Some(place) = path {
        kv_path::check_path(&journal.mount, &journal.path, place, context);
    }
    journal
}

/// Reads one file; a failure is reported.
fn read_file(path: &Path, context: &Context) -> Option<file::Table> {
    let name = path.display().to_string();
    match bounded_file::read_text(path, LARGEST_FILE) {
        Ok(text) => file::read(name, &text, context),
        Err(error) => {
            let place = Place::Whole(context.source(name, ""));
            let message = match error {
                ReadError::NotText => "this file is not text in UTF-8".to_owned(),
                ReadError::Io(error) if error.kind() == ErrorKind::NotFound => {
                    "there is no such file; name the configuration with `--config FILE` or DTROTATE_CONFIG".to_owned()
                }
                error => format!("cannot read this file: {error}"),
            };
            context.problem(Problem::new(&place, message));
            None
        }
    }
}

/// The drop-in files in the order of their names. Without `--config-dir` the folder may be absent.
fn drop_in_files(main: &Path, context: &Context) -> Vec<PathBuf> {
    let wanted = context.options.config_dir.clone();
    let may_be_absent = wanted.is_none();
    let beside = || main.parent().unwrap_or(Path::new("")).join("conf.d");
    let folder = wanted.unwrap_or_else(beside);
    let entries = std::fs::read_dir(&folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut files: Vec<PathBuf> = match entries {
        Ok(entries) => entries.iter().map(std::fs::DirEntry::path).collect(),
        Err(error) if error.kind() == ErrorKind::NotFound && may_be_absent => Vec::new(),
        Err(error) => {
            let place = Place::Whole(context.source(folder.display().to_string(), ""));
            let message = format!("cannot read this folder: {error}");
            context.problem(Problem::new(&place, message));
            context.set_incomplete();
            Vec::new()
        }
    };
    files.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(".toml") && !name.starts_with('.')
    });
    files.sort_unstable();
    files
}
