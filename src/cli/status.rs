//! `dtrotate status`: the state of secrets, and what needs a human. The running daemon is asked; where none answers, the journal is read.

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::net::SocketAddr;

use crate::config;
use crate::daemon::foreground::OpenError;
use crate::daemon::offline_status;
use crate::daemon::prune::recorded;
use crate::labels::Labels;
use crate::ops::client::{ask, recheck};
use crate::ops::pruned::Pruned;
use crate::ops::secret::Secret;
use crate::ops::status::{JournalPlace, Status};
use crate::ops::table::{self, Paint};
use crate::sanitize;
use rotation::plan::Kind;
use rotation::token::TokenId;

use super::output::{self, Output};
use super::selection::{Selectable, Selection};
use super::{Arguments, Exit, rotate, variables};

use jiff::SignedDuration;

/// So many secrets are read again before they are shown, where what is known of them is older than this.
const FEW: usize = 20;
const FRESH: SignedDuration = SignedDuration::from_secs(2);

/// What to show.
#[derive(clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    selection: Selection,
    /// Show every secret, also where they are many and healthy
    #[arg(long)]
    all: bool,
    /// Print the JSON document that the daemon serves at /status
    #[arg(long)]
    json: bool,
}

impl Selectable for Secret {
    fn name(&self) -> &str {
        &self.name
    }
    fn environment(&self) -> &str {
        &self.environment
    }
    fn labels(&self) -> &Labels {
        &self.labels
    }
}

pub(super) fn status(arguments: &Arguments, options: &Options) -> Result<Exit, Exit> {
    // To ask the daemon nobody needs to be able to read its credentials.
    let offline = arguments.options(false, true);
    let status = match config::load(&arguments.config, &offline) {
        Ok(settings) => {
            super::start_log(&settings, "error");
            let daemon = Daemon {
                listen: settings.ops.listen,
                journal: Some(offline_status::journal_place(&settings)),
            };
            super::block_on(async {
                match daemon.ask(options).await {
                    Ok(status) => Ok(status),
                    Err(why) => read_journal(arguments, &why).await,
                }
            })??
        }
        Err(problems) => ask_with_broken_files(arguments, options, &problems)?,
    };
    let status = options.chosen(arguments, status)?;
    let output = Output::start().map_err(|error| super::cannot_start(&error))?;
    match (options.json, options.selection.names.is_empty()) {
        (true, _) => {
            let text = serde_json::to_string(&status).expect("a status is plain data");
            output.text(sanitize::json(&text).into_owned() + "\n");
        }
        (false, true) => output.text(table::overview(&status, paint(), options.all)),
        (false, false) => output.text(table::cards(&status, paint())),
    }
    // That nobody reads it changes nothing of how the secrets are.
    let _ = output.finish();
    match status.troubles.is_empty() {
        true => Ok(Exit::Success),
        false => Err(Exit::Failed),
    }
}

/// The files on disk are not valid: a daemon that runs keeps the configuration that it read before.
fn ask_with_broken_files(
    arguments: &Arguments,
    options: &Options,
    problems: &config::Problems,
) -> Result<Status, Exit> {
    let daemon = Daemon {
        listen: config::listen(&arguments.config, &arguments.options(false, true)),
        journal: None,
    };
    let Ok(status) = super::block_on(daemon.ask(options))? else {
        output::complain_at_length(&problems.to_string());
        return Err(Exit::BadConfig);
    };
    let first = problems.lines().into_iter().next().unwrap_or_default();
    output::complain(&format!(
        "the configuration on disk is not valid, and a restart would fail: {first}; `dtrotate check --offline` shows every problem. This is the \
         status of the daemon that runs with the configuration that it read before"
    ));
    Ok(status)
}

impl Options {
    /// The part of the status that is meant. A token of no secret may have been pruned, which only the journal shows.
    fn chosen(&self, arguments: &Arguments, status: Status) -> Result<Status, Exit> {
        let ids = self.ids_of_no_secret(&status);
        let pruned = match ids.is_empty() {
            true => vec![],
            false => read_pruned(arguments, &ids)?,
        };
        let is_pruned = |name: &str| pruned.iter().any(|it| it.token == TokenId::new(name));
        let mut selection = self.selection.clone();
        selection.names.retain(|name| !is_pruned(name));
        if selection.names.is_empty() && !pruned.is_empty() {
            let nothing = status.only(|_| false);
            return Ok(Status { pruned, ..nothing });
        }
        let chosen = select(&selection, &status).map_err(|sentence| {
            output::complain(&format!("{sentence} (and no token has this id)"));
            Exit::Usage
        })?;
        let chosen = chosen.unwrap_or(status);
        Ok(Status { pruned, ..chosen })
    }

    /// What is named and looks like the id of a token, but is one of no secret.
    fn ids_of_no_secret(&self, status: &Status) -> Vec<TokenId> {
        let is_known = |name: &str| {
            let mut secrets = status.secrets.iter();
            secrets.any(|secret| secret.name == name || secret.has_token(name))
        };
        let names = self.selection.names.iter().filter(|name| !is_known(name));
        let ids = names.map(TokenId::new);
        ids.filter(|id| Kind::of_id(id).is_some()).collect()
    }
}

/// What concerns the secrets that are meant, by name or by the id of a token; none = everything is meant.
fn select(selection: &Selection, status: &Status) -> Result<Option<Status>, String> {
    if selection.is_everything() {
        return Ok(None);
    }
    let mut meant = BTreeSet::new();
    let mut names = selection.clone();
    names.names.retain(|one| {
        let before = meant.len();
        let found = status.secrets.iter().filter(|secret| secret.has_token(one));
        meant.extend(found.map(|secret| secret.name.as_str()));
        meant.len() == before
    });
    if meant.is_empty() || !names.names.is_empty() {
        let chosen = names.choose(&status.secrets)?;
        meant.extend(chosen.iter().map(|secret| secret.name.as_str()));
    }
    Ok(Some(
        status.only(|secret| meant.contains(secret.name.as_str())),
    ))
}

fn read_pruned(arguments: &Arguments, ids: &[TokenId]) -> Result<Vec<Pruned>, Exit> {
    let settings = arguments.load(false)?;
    let found = super::block_on(recorded::find(&settings, ids))?;
    found.map_err(|error| rotate::complain(&error))
}

/// Colours are for a terminal whose owner did not set `NO_COLOR`.
fn paint() -> Paint {
    let unwanted = variables()
        .get("NO_COLOR")
        .is_some_and(|value| !value.is_empty());
    Paint(std::io::stdout().is_terminal() && !unwanted)
}

/// The daemon that is asked.
struct Daemon {
    listen: Option<SocketAddr>,
    /// Where its journal must be; none = that is not known.
    journal: Option<JournalPlace>,
}

impl Daemon {
    /// Its status. Of a few secrets the journal is read again first: another machine may have written it.
    ///
    /// # Errors
    /// Why there is no answer.
    async fn ask(&self, options: &Options) -> Result<Status, String> {
        let Some(listen) = self.listen else {
            return Err("the ops listener is disabled".to_owned());
        };
        let status = self.ask_once(listen).await?;
        let shown = select(&options.selection, &status).ok().flatten();
        let shown = shown.as_ref().unwrap_or(&status);
        let is_old = |secret: &&Secret| {
            let age = secret.as_of.map(|as_of| status.at.duration_since(as_of));
            age.is_some_and(|age| age > FRESH)
        };
        let old: Vec<&Secret> = shown.secrets.iter().filter(is_old).collect();
        if old.is_empty() || shown.secrets.len() > FEW {
            return Ok(status);
        }
        let rechecks = old.iter().map(|secret| recheck(listen, &secret.name));
        // One that is refused changes nothing: what the daemon knows is shown.
        let _ = futures_util::future::join_all(rechecks).await;
        self.ask_once(listen).await
    }

    async fn ask_once(&self, listen: SocketAddr) -> Result<Status, String> {
        let answer = ask(listen, "/status?page=all").await?;
        if answer.status != 200 {
            return Err(format!(
                "the daemon at {listen} does not show its status: {}",
                sanitize::line(answer.text.trim())
            ));
        }
        let status: Status = serde_json::from_slice(answer.text.as_bytes())
            .map_err(|error| format!("the service at {listen} is not dtrotate: {error}"))?;
        let theirs = status.daemon.as_ref().and_then(|it| it.journal.as_ref());
        match (theirs, &self.journal) {
            (Some(theirs), Some(ours)) if theirs != ours => Err(format!(
                "the daemon at {listen} belongs to another configuration: its journal is {theirs}, and that of this configuration is {ours}"
            )),
            _ => Ok(status),
        }
    }
}

async fn read_journal(arguments: &Arguments, why: &str) -> Result<Status, Exit> {
    output::complain(&format!("{why}; reading the journal in Vault instead"));
    let settings = arguments.load(false)?;
    let read = offline_status::read(&settings, &super::daemon_instance()).await;
    read.map_err(|error| match error {
        // Whatever the reason: the state of the secrets is not known.
        OpenError::Journal(error) => {
            output::complain(&error.what);
            Exit::Unreachable
        }
        error => rotate::complain(&error),
    })
}
