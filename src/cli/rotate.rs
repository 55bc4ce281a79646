//! `dtrotate rotate`: now, in the foreground, under the same claims as a daemon.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};

use crate::clock;
use crate::config::{SecretSettings, Settings};
use crate::daemon::discovery;
use crate::daemon::foreground::stopping::{Deadline, Stop};
use crate::daemon::foreground::{self, Finished, Foreground, OpenError};
use crate::ops::client::recheck;
use rotation::error::CallError;

use super::outcome::{Outcome, Task};
use super::output::{self, Output};
use super::selection::Selection;
use super::stopped;
use super::time_limit::TimeLimit;
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
    /// Disable the old tokens, which have leaked, as soon as the new ones are stored, even if they are still used
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
    let limit = TimeLimit::new();
    let leak = options.compromised.then_some(&limit);
    let mut settings = start(arguments, leak)?;
    if options.compromised {
        // A leak does not wait for a folder that cannot be listed.
        drop(add_held(&mut settings, leak)?);
    }
    let secrets = options.choose(&settings)?;
    options.confirm(secrets.len())?;
    let confirmed =
        |secret: &SecretSettings| options.yes && options.selection.names_in_full(&secret.plan.name);
    if options.compromised {
        return super::revoke::rotate_compromised(
            &settings,
            secrets,
            TimeLimit::new(),
            options.delete,
            options.yes,
            options.json,
        );
    }
    let results = Results::start(Task::Rotate, options.json, &secrets)?;
    results.run(&settings, options.dry_run, async |foreground, done| {
        foreground::rotate::rotate(foreground, secrets, confirmed, done).await;
    })
}

impl Options {
    /// The secrets that are meant. One that is switched off is meant only by its full name.
    fn choose<'a>(&self, settings: &'a Settings) -> Result<Vec<&'a SecretSettings>, Exit> {
        let mut chosen = choose_to_change(&self.selection, settings)?;
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
pub(super) fn start(arguments: &Arguments, limit: Option<&TimeLimit>) -> Result<Settings, Exit> {
    let mut settings = arguments.load(false)?;
    add_discovered(&mut settings, limit)?;
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
pub(super) fn start_for_tokens(
    arguments: &Arguments,
    limit: Option<&TimeLimit>,
) -> Result<(Settings, Vec<CallError>), Exit> {
    let mut settings = start(arguments, limit)?;
    let unknown = add_held(&mut settings, limit)?;
    Ok((settings, unknown))
}

/// Adds what the folders of `discover` hold in Vault.
pub(super) fn add_held(
    settings: &mut Settings,
    limit: Option<&TimeLimit>,
) -> Result<Vec<CallError>, Exit> {
    let added = read_within(limit, discovery::held::add(settings))?;
    added.map_err(|error| complain(&error))
}

/// Adds what a daemon has discovered.
pub(super) fn add_discovered(
    settings: &mut Settings,
    limit: Option<&TimeLimit>,
) -> Result<(), Exit> {
    let added = read_within(limit, discovery::add_known(settings))?;
    added.map_err(|error| complain(&error))
}

fn read_within<T>(limit: Option<&TimeLimit>, reading: impl Future<Output = T>) -> Result<T, Exit> {
    super::block_on(async {
        match limit {
            Some(limit) => limit.read(reading).await,
            None => Ok(reading.await),
        }
    })?
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

/// The same for a command that changes secrets: nothing is done without one.
pub(super) fn choose_to_change<'a>(
    selection: &Selection,
    settings: &'a Settings,
) -> Result<Vec<&'a SecretSettings>, Exit> {
    if settings.secrets.is_empty() && !settings.discoveries.is_empty() {
        output::complain(NONE_DISCOVERED);
        return Err(Exit::Usage);
    }
    choose(selection, &settings.secrets)
}

/// What is said where all secrets are to be found by `discover`.
const NONE_DISCOVERED: &str = "no secret is known yet: what the folders of `discover` hold becomes known with the first sweep of a daemon \
    (`dtrotate run`) or with a pass (`dtrotate run --once`); run one of them first";

/// Prints what becomes of each secret as soon as it is known, and ranks it.
pub(super) struct Results {
    task: Task,
    json: bool,
    output: Output,
    /// All secrets that the command is about.
    names: BTreeSet<String>,
}

/// What came of a command.
pub(super) struct Collected {
    /// The gravest.
    pub(super) exit: Exit,
    /// The secrets for which it was not done and may yet be.
    pub(super) open: BTreeSet<String>,
}

impl Results {
    pub(super) fn start(
        task: Task,
        json: bool,
        secrets: &[&SecretSettings],
    ) -> Result<Results, Exit> {
        let output = Output::start().map_err(|error| super::cannot_start(&error))?;
        let names = secrets.iter().map(|secret| secret.plan.name.clone());
        Ok(Results {
            task,
            json,
            output,
            names: names.collect(),
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
            let collected = self.collect(&foreground, listen, None, work).await;
            foreground.close().await;
            Ok(collected?.exit)
        })?
    }

    /// Prints the outcomes of `work`, which is stopped by a signal or at its deadline, and lets the daemon at `listen` know.
    pub(super) async fn collect<'a>(
        self,
        foreground: &Foreground<'a>,
        listen: Option<SocketAddr>,
        deadline: Option<Deadline>,
        work: impl AsyncFnOnce(&mut dyn FnMut(Finished<'a>)),
    ) -> Result<Collected, Exit> {
        let (mut gravest, mut done) = (Exit::Success, vec![]);
        let mut open = self.names.clone();
        let all = self.names.len();
        self.output.progress(0, all);
        let is_interrupted = Cell::new(false);
        let mut report = |finished: Finished<'a>| {
            let name = finished.secret.plan.name.as_str();
            let outcome = Outcome::new(self.task, &finished).interrupted(is_interrupted.get());
            gravest = gravest.max(outcome.exit());
            if !outcome.is_open() {
                open.remove(name);
            }
            match self.json {
                true => self.output.json(&outcome),
                false => self.output.text(outcome.text(clock::now())),
            }
            done.push(name);
            self.output.progress(done.len(), all);
        };
        let began = |stop: Stop, left: Duration| {
            is_interrupted.set(stop == Stop::Signal);
            output::complain(&stopped::begins(stop, left));
        };
        let stopper = foreground.stopper();
        let stopped = stopper.until_stopped(deadline, work(&mut report), began);
        let stopped = stopped.await.map_err(|error| super::cannot_start(&error))?;
        let mut left = self.names.clone();
        left.retain(|name| !done.contains(&name.as_str()));
        if let Some(stop) = stopped {
            output::complain(&stopped::ended(foreground, &left, all));
            gravest = match (stop, left.is_empty()) {
                (_, true) => gravest,
                (Stop::Signal, false) => gravest.max(Exit::Failed),
                (Stop::Deadline, false) => gravest.max(Exit::Unreachable),
            };
        }
        if let Some(listen) = listen {
            tell_daemon(listen, &done).await;
        }
        // That nobody reads the results changes nothing of what was done.
        let _ = self.output.finish();
        Ok(Collected {
            exit: gravest,
            open,
        })
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
