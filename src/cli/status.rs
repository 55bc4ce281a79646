//! `dtrotate status`: the state of secrets, and what needs a human. The running daemon is asked; where none answers, the journal is read.

use std::collections::BTreeSet;
use std::io::IsTerminal;

use crate::config::Settings;
use crate::daemon::foreground::OpenError;
use crate::daemon::offline_status;
use crate::ops::client::ask;
use crate::ops::secret::Secret;
use crate::ops::status::Status;
use crate::ops::table::{self, Paint};
use crate::sanitize;

use super::output::{self, Output};
use super::selection::{Selectable, Selection};
use super::{Arguments, Exit, rotate, variables};

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
}

pub(super) fn status(arguments: &Arguments, options: &Options) -> Result<Exit, Exit> {
    // To ask the daemon nobody needs to be able to read its credentials.
    let settings = arguments.load(true)?;
    super::start_log(&settings, "error");
    let status = super::block_on(async {
        match ask_daemon(&settings).await {
            Ok(status) => Ok(status),
            Err(why) => read_journal(arguments, &why).await,
        }
    })??;
    let all = options.selection.names.is_empty() && options.selection.environment.is_none();
    let status = match all {
        true => status,
        false => options.choose(&status)?,
    };
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

impl Options {
    /// What concerns the secrets that are meant, by name or by the id of a token.
    fn choose(&self, status: &Status) -> Result<Status, Exit> {
        let mut meant = BTreeSet::new();
        let mut names = self.selection.clone();
        names.names.retain(|one| {
            let before = meant.len();
            let found = status.secrets.iter().filter(|secret| secret.has_token(one));
            meant.extend(found.map(|secret| secret.name.as_str()));
            meant.len() == before
        });
        if meant.is_empty() || !names.names.is_empty() {
            let chosen = names.choose(&status.secrets).map_err(|sentence| {
                output::complain(&format!("{sentence} (and no token has this id)"));
                Exit::Usage
            })?;
            meant.extend(chosen.iter().map(|secret| secret.name.as_str()));
        }
        Ok(status.only(|secret| meant.contains(secret.name.as_str())))
    }
}

/// Colours are for a terminal whose owner did not set `NO_COLOR`.
fn paint() -> Paint {
    let unwanted = variables()
        .get("NO_COLOR")
        .is_some_and(|value| !value.is_empty());
    Paint(std::io::stdout().is_terminal() && !unwanted)
}

/// # Errors
/// Why there is no answer.
async fn ask_daemon(settings: &Settings) -> Result<Status, String> {
    let Some(listen) = settings.ops.listen else {
        return Err("the ops listener is disabled".to_owned());
    };
    let answer = ask(listen, "/status?page=all").await?;
    if answer.status != 200 {
        return Err(format!(
            "the daemon at {listen} does not show its status: {}",
            sanitize::line(answer.text.trim())
        ));
    }
    serde_json::from_str(&answer.text)
        .map_err(|error| format!("the service at {listen} is not dtrotate: {error}"))
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
