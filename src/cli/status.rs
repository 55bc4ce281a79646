//! `dtrotate status`: how is every secret, and what needs a human? The running daemon is asked; where none answers, the journal.

use std::io::IsTerminal;
use std::process::ExitCode;

use crate::config::Settings;
use crate::daemon::command::DeskError;
use crate::daemon::offline_status;
use crate::ops::client::ask;
use crate::ops::status::Status;
use crate::ops::table::{self, Paint};
use crate::sanitize;

use super::{Arguments, BAD_CONFIG, FAILED, UNREACHABLE, USAGE, run, variables};

/// What to show.
#[derive(clap::Args)]
pub(super) struct Wanted {
    /// One secret alone, by its name or by the id of any of its tokens.
    #[arg(value_name = "NAME|TOKEN_ID")]
    one: Option<String>,
    /// For machines: what the daemon shows at /status.
    #[arg(long)]
    json: bool,
}

pub(super) fn status(arguments: &Arguments, wanted: &Wanted) -> ExitCode {
    // To ask the daemon nobody needs to be able to read its credentials.
    let settings = match arguments.load(false, true) {
        Ok(settings) => settings,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::from(BAD_CONFIG);
        }
    };
    let asked = super::block_on(async {
        match ask_daemon(&settings).await {
            Ok(status) => Ok(status),
            Err(why) => ask_journal(arguments, &why).await,
        }
    });
    let status = match asked {
        Ok(Ok(status)) => status,
        Ok(Err(code)) | Err(code) => return ExitCode::from(code),
    };
    let chosen = match &wanted.one {
        None => status,
        Some(one) => match status.only(one) {
            Some(status) => status,
            None => {
                // It may be a whole token that was pasted.
                let one = sanitize::line(one);
                eprintln!("no secret has this name, and none has a token with this id: {one}");
                return ExitCode::from(USAGE);
            }
        },
    };
    let text = match (wanted.json, &wanted.one) {
        (true, _) => {
            let json = serde_json::to_string(&chosen).unwrap_or_default();
            sanitize::json(&json).into_owned() + "\n"
        }
        (false, None) => table::overview(&chosen, paint()),
        (false, Some(_)) => table::cards(&chosen, paint()),
    };
    print!("{text}");
    let code = if chosen.troubles.is_empty() {
        0
    } else {
        FAILED
    };
    ExitCode::from(code)
}

/// Colours are for eyes: on a terminal whose owner did not say `NO_COLOR`.
fn paint() -> Paint {
    let unwanted = variables()
        .get("NO_COLOR")
        .is_some_and(|value| !value.is_empty());
    Paint(std::io::stdout().is_terminal() && !unwanted)
}

/// # Errors
/// Why it told nothing.
async fn ask_daemon(settings: &Settings) -> Result<Status, String> {
    let Some(listen) = settings.ops.listen else {
        return Err("the ops listener is switched off".to_owned());
    };
    let answer = ask(listen, "/status").await?;
    if answer.status != 200 {
        return Err(format!(
            "the daemon at {listen} does not tell: {}",
            sanitize::line(answer.text.trim())
        ));
    }
    serde_json::from_str(&answer.text)
        .map_err(|error| format!("what answers at {listen} is no dtrotate: {error}"))
}

/// # Errors
/// The exit code; the reason is on stderr.
async fn ask_journal(arguments: &Arguments, why: &str) -> Result<Status, u8> {
    eprintln!("{}; the journal is read instead", sanitize::line(why));
    let settings = arguments.load(false, false).map_err(|problems| {
        eprintln!("{problems}");
        BAD_CONFIG
    })?;
    let instance = run::instance();
    offline_status::read(&settings, &instance)
        .await
        .map_err(|error| {
            eprintln!("{}", sanitize::line(&error.to_string()));
            match error {
                DeskError::Assemble(_) => BAD_CONFIG,
                DeskError::Journal(_) => UNREACHABLE,
            }
        })
}
