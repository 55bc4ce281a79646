//! `dtrotate rotate`: now, in the foreground, under the same claims as a daemon.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::{StreamExt, stream};

use crate::clock;
use crate::config::{SecretSettings, Settings};
use crate::daemon::discovery;
use crate::daemon::foreground::{self, Finished, Foreground, OpenError};
use crate::ops::client::recheck;
use rotation::error::CallError;

use super::outcome::{Outcome, Task};
use super::output::{self, Output};
use super::selection::Selection;
use super::{Arguments, Exit};

/// More secrets than these are rotated only when a person says so.
const WITHOUT_ASKING: usize = 10;

/// What to rotate.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("what").args(["names", "environment", "labels", "all"]).required(true).multiple(true))]
pub(super) struct Options {
    #[command(flatten)]
    selection: Selection,
    /// Rotate every secret that is switched on
    #[arg(long, conflicts_with = "names")]
    all: bool,
    /// Print what would be done; change nothing
    #[arg(long)]
    dry_run: bool,
    /// Disable the old tokens as soon as the new ones are stored, whoever still uses them: they have leaked
    #[arg(long, conflicts_with = "dry_run")]
    compromised: bool,
    /// Delete the leaked tokens at once, without a quarantine
    #[arg(long, requires = "compromised")]
    delete: bool,
    /// Do not ask before more than ten secrets are rotated; rotate leaked tokens of paused secrets, too; for secrets named in full, accept rights that only the journal records
    #[arg(long)]
    yes: bool,
    /// Print one JSON document per secret
    #[arg(long)]
    json: bool,
}

pub(super) fn rotate(arguments: &Arguments, options: &Options) -> Result<Exit, Exit> {
    let mut settings = start(arguments)?;
    if options.compromised {
        // A leak does not wait for a folder that cannot be listed.
        drop(add_held(&mut settings)?);
    }
    let secrets = options.choose(&settings)?;
    options.confirm(secrets.len())?;
    let confirmed =
        |secret: &SecretSettings| options.yes && options.selection.names_in_full(&secret.plan.name);
    if options.compromised {
        return super::revoke::rotate_compromised(
            &settings,
            secrets,
            options.delete,
            options.yes,
            options.json,
        );
    }
    let results = Results::start(Task::Rotate, options.json, secrets.len())?;
    results.run(&settings, options.dry_run, async |foreground, done| {
        foreground::rotate::rotate(foreground, secrets, confirmed, done).await;
    })
}

impl Options {
    /// The secrets that are meant. One that is switched off is meant only by its full name.
    fn choose<'a>(&self, settings: &'a Settings) -> Result<Vec<&'a SecretSettings>, Exit> {
        let mut chosen = choose(&self.selection, &settings.secrets)?;
        chosen.retain(|secret| secret.enabled || self.selection.names_in_full(&secret.plan.name));
        if chosen.is_empty() && !self.all {
            output::complain("all secrets that match are switched off (`enabled = false`)");
            return Err(Exit::Usage);
        }
        Ok(chosen)
    }

    /// A person on a terminal is asked. Without one, `--all` and full names are clear enough; what a pattern or a filter finds is not.
    fn confirm(&self, number: usize) -> Result<(), Exit> {
        match self.yes || self.dry_run {
            true => Ok(()),
            false => confirm(
                number,
                ["Rotate", "rotated"],
                self.all || self.selection.is_explicit(),
            ),
        }
    }
}

/// Asks before more than ten secrets are changed. Without a terminal, what is `explicit` is clear enough. `verb`: what is done, and what
/// the secrets are then.
pub(super) fn confirm(number: usize, verb: [&str; 2], explicit: bool) -> Result<(), Exit> {
    if number <= WITHOUT_ASKING {
        return Ok(());
    }
    let [verb, done] = verb;
    if std::io::stdin().is_terminal() {
        return ask(&format!("{verb} {number} secrets? [y/N] "));
    }
    if explicit {
        return Ok(());
    }
    output::complain(&format!(
        "{number} secrets match; more than {WITHOUT_ASKING} are {done} only with --yes"
    ));
    Err(Exit::Usage)
}

/// Asks a person.
pub(super) fn ask(question: &str) -> Result<(), Exit> {
    // A question that cannot be written is answered by nobody.
    let _ = std::io::stderr().write_all(question.as_bytes());
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" if read.is_ok() => Ok(()),
        _ => {
            output::complain("nothing was changed");
            Err(Exit::Failed)
        }
    }
}

/// Reads the configuration and starts the log, for a command that acts on secrets.
pub(super) fn start(arguments: &Arguments) -> Result<Settings, Exit> {
    let mut settings = arguments.load(false)?;
    add_discovered(&mut settings)?;
    // On a terminal the results say what the INFO lines would.
    let level = match std::io::stderr().is_terminal() {
        true => "warn",
        false => "info",
    };
    super::start_log(&settings, level);
    Ok(settings)
}

/// The same for a command that judges or ends tokens: also what lies in a folder of `discover` and no daemon has taken up yet. The errors say
/// which folders are not known.
pub(super) fn start_for_tokens(arguments: &Arguments) -> Result<(Settings, Vec<CallError>), Exit> {
    let mut settings = start(arguments)?;
    let unknown = add_held(&mut settings)?;
    Ok((settings, unknown))
}

/// Adds what the folders of `discover` hold in Vault.
pub(super) fn add_held(settings: &mut Settings) -> Result<Vec<CallError>, Exit> {
    let added = super::block_on(discovery::held::add(settings))?;
    added.map_err(|error| complain(&error))
}

/// Adds what a daemon has discovered.
pub(super) fn add_discovered(settings: &mut Settings) -> Result<(), Exit> {
    let added = super::block_on(discovery::add_known(settings))?;
    added.map_err(|error| complain(&error))
}

/// The secrets that are meant; a sentence and wrong usage if something is not there.
pub(super) fn choose<'a>(
    selection: &Selection,
    secrets: &'a [Arc<SecretSettings>],
) -> Result<Vec<&'a SecretSettings>, Exit> {
    let chosen = selection.choose(secrets).map_err(|sentence| {
        output::complain(&sentence);
        Exit::Usage
    })?;
    Ok(chosen.into_iter().map(Arc::as_ref).collect())
}

/// Prints what becomes of each secret as soon as it is known, and ranks it.
pub(super) struct Results {
    task: Task,
    json: bool,
    output: Output,
    all: usize,
}

impl Results {
    pub(super) fn start(task: Task, json: bool, all: usize) -> Result<Results, Exit> {
        let output = Output::start().map_err(|error| super::cannot_start(&error))?;
        Ok(Results {
            task,
            json,
            output,
            all,
        })
    }

    /// Connects, does `work`, and returns the gravest of its outcomes. One failure does not keep the other secrets from their turn.
    pub(super) fn run<'a>(
        self,
        settings: &'a Settings,
        dry_run: bool,
        work: impl AsyncFnOnce(&Foreground<'a>, &mut dyn FnMut(Finished<'a>)),
    ) -> Result<Exit, Exit> {
        super::block_on(async {
            let foreground = open(settings, dry_run).await?;
            let listen = foreground.listener().filter(|_| !dry_run);
            let work = async |done: &mut dyn FnMut(Finished<'a>)| work(&foreground, done).await;
            let exit = self.collect(listen, work).await;
            foreground.close().await;
            Ok(exit)
        })?
    }

    /// Prints the outcomes of `work`, lets the daemon at `listen` know, and returns the gravest of them.
    pub(super) async fn collect<'a>(
        self,
        listen: Option<SocketAddr>,
        work: impl AsyncFnOnce(&mut dyn FnMut(Finished<'a>)),
    ) -> Exit {
        let (mut gravest, mut done) = (Exit::Success, 0);
        self.output.progress(done, self.all);
        let mut names = vec![];
        let mut report = |finished: Finished<'a>| {
            names.push(finished.secret.plan.name.as_str());
            let outcome = Outcome::new(self.task, &finished);
            gravest = gravest.max(outcome.exit());
            match self.json {
                true => self.output.json(&outcome),
                false => self.output.text(outcome.text(clock::now())),
            }
            done += 1;
            self.output.progress(done, self.all);
        };
        work(&mut report).await;
        if let Some(listen) = listen {
            tell_daemon(listen, &names).await;
        }
        // That nobody reads the results changes nothing of what was done.
        let _ = self.output.finish();
        gravest
    }
}

/// Lets the daemon on this machine, if there is one, read what was changed, so that its status shows it at once.
async fn tell_daemon(listen: SocketAddr, names: &[&str]) {
    let Some((first, others)) = names.split_first() else {
        return;
    };
    // Without an answer there is no daemon: it is not needed for what was done.
    if recheck(listen, first).await.is_ok() {
        let rechecks = others.iter().map(|name| recheck(listen, name));
        stream::iter(rechecks)
            .buffer_unordered(16)
            .for_each(async |_| {})
            .await;
    }
}

async fn open(settings: &Settings, dry_run: bool) -> Result<Foreground<'_>, Exit> {
    let opened = Foreground::open(settings, super::instance(), dry_run).await;
    opened.map_err(|error| complain(&error))
}

/// Says why a command could not begin.
pub(super) fn complain(error: &OpenError) -> Exit {
    output::complain(&error.to_string());
    match error {
        OpenError::Assemble(_) => Exit::BadConfig,
        OpenError::Journal(error) => Exit::of(error),
    }
}
