//! `dtrotate rotate NAME... | --all` and `dtrotate undo NAME`: now, in the foreground.

use std::process::ExitCode;

use crate::config::{SecretSettings, Settings};
use crate::daemon::command::{Desk, DeskError};
use crate::rotation::error::{CallError, ErrorKind};
use crate::rotation::facts::Verdict;
use crate::telemetry;

use super::{Arguments, BAD_CONFIG, FAILED, UNREACHABLE, USAGE, run};

/// Another holder has the claim.
const BUSY: u8 = 75;

/// What to rotate.
#[derive(clap::Args)]
pub(super) struct Wanted {
    /// The secrets, by name.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    names: Vec<String>,
    /// Every secret that is switched on.
    #[arg(long)]
    all: bool,
    /// Only secrets of this environment.
    #[arg(long)]
    environment: Option<String>,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn rotate(arguments: &Arguments, wanted: &Wanted) -> ExitCode {
    let here = |secret: &SecretSettings| {
        let environment = &secret.plan.coordinates.environment;
        wanted
            .environment
            .as_ref()
            .is_none_or(|only| only == environment)
    };
    let chosen = |secret: &SecretSettings| {
        let named = wanted.names.contains(&secret.plan.name);
        (named || wanted.all && secret.enabled) && here(secret)
    };
    each(
        arguments,
        &wanted.names,
        chosen,
        "rotated",
        async |desk, secret| desk.rotate(secret, wanted.dry_run).await,
    )
}

pub(super) fn undo(arguments: &Arguments, name: &str) -> ExitCode {
    let chosen = |secret: &SecretSettings| secret.plan.name == name;
    let names = [name.to_owned()];
    each(
        arguments,
        &names,
        chosen,
        "the previous token is the current value again",
        Desk::undo,
    )
}

/// Does `work` for each chosen secret. The worst of what happened is the exit code; one failure does not keep the others from their turn.
fn each(
    arguments: &Arguments,
    names: &[String],
    chosen: impl Fn(&SecretSettings) -> bool,
    done: &str,
    work: impl AsyncFn(&Desk, &SecretSettings) -> Result<Verdict, CallError>,
) -> ExitCode {
    let settings = match arguments.load(false, false) {
        Ok(settings) => settings,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::from(BAD_CONFIG);
        }
    };
    let instance = format!("{}/command-{}", run::instance(), std::process::id());
    telemetry::start(run::auto(), &run::level(&settings), &instance);
    let known = |name: &&String| settings.secrets.iter().any(|s| s.plan.name == **name);
    if let Some(unknown) = names.iter().find(|name| !known(name)) {
        eprintln!("{unknown} is not in the configuration");
        return ExitCode::from(USAGE);
    }
    let working = async {
        let desk = match open(&settings, instance).await {
            Ok(desk) => desk,
            Err(code) => return code,
        };
        let mut worst = 0;
        for secret in settings.secrets.iter().filter(|secret| chosen(secret)) {
            let name = &secret.plan.name;
            let (text, code) = tell(work(&desk, secret).await, done);
            println!("{name}: {}", text.trim_start_matches(&format!("{name}: ")));
            worst = worst.max(code);
        }
        desk.close().await;
        worst
    };
    ExitCode::from(super::block_on(working).unwrap_or_else(|code| code))
}

async fn open(settings: &Settings, instance: String) -> Result<Desk, u8> {
    Desk::open(settings, instance).await.map_err(|error| {
        eprintln!("{error}");
        match error {
            DeskError::Assemble(_) => BAD_CONFIG,
            DeskError::Journal(error) => code(&error),
        }
    })
}

/// What to say, and the exit code.
fn tell(ended: Result<Verdict, CallError>, done: &str) -> (String, u8) {
    match ended {
        Ok(Verdict::Settled { .. }) => (done.to_owned(), 0),
        Ok(Verdict::Would(text)) => (text, 0),
        Ok(Verdict::Busy { holder, .. }) => (format!("{holder} is at work on it"), BUSY),
        Ok(Verdict::Failed { reason, .. }) => (format!("failed: {}", reason.as_str()), FAILED),
        Ok(Verdict::Unreadable(why) | Verdict::Refused(why)) => (why, FAILED),
        Ok(Verdict::Later(error)) | Err(error) => (error.to_string(), code(&error)),
    }
}

fn code(error: &CallError) -> u8 {
    match error.kind {
        ErrorKind::Transient | ErrorKind::Unclear => UNREACHABLE,
        _ => FAILED,
    }
}
