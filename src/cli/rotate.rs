//! `dtrotate rotate NAME... | --all`: rotate now, in the foreground.

use std::process::ExitCode;

use crate::config::Settings;
use crate::daemon::command::{Desk, DeskError};
use crate::rotation::error::{CallError, ErrorKind};
use crate::rotation::facts::Verdict;
use crate::telemetry::{self, Format};

use super::{Arguments, BAD_CONFIG, FAILED, UNREACHABLE, run};

/// Another holder has the claim.
const BUSY: u8 = 75;
/// Wrong usage.
const USAGE: u8 = 2;

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
    let settings = match arguments.load(false, false) {
        Ok(settings) => settings,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::from(BAD_CONFIG);
        }
    };
    let instance = format!("{}/command-{}", run::instance(), std::process::id());
    telemetry::start(Format::auto(), &run::level(&settings), &instance);
    let names = match names(&settings, wanted) {
        Ok(names) => names,
        Err(unknown) => {
            eprintln!("{unknown} is not in the configuration");
            return ExitCode::from(USAGE);
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot start: {error}");
            return ExitCode::from(FAILED);
        }
    };
    ExitCode::from(runtime.block_on(rotate_all(&settings, instance, &names, wanted.dry_run)))
}

fn names(settings: &Settings, wanted: &Wanted) -> Result<Vec<String>, String> {
    let known = |name: &String| {
        settings
            .secrets
            .iter()
            .any(|secret| secret.plan.name == *name)
    };
    if let Some(unknown) = wanted.names.iter().find(|name| !known(name)) {
        return Err(unknown.clone());
    }
    let here = |environment: &str| {
        wanted
            .environment
            .as_deref()
            .is_none_or(|only| only == environment)
    };
    let chosen = settings.secrets.iter().filter(|secret| {
        let named = wanted.names.contains(&secret.plan.name);
        (named || wanted.all && secret.enabled) && here(&secret.plan.coordinates.environment)
    });
    Ok(chosen.map(|secret| secret.plan.name.clone()).collect())
}

/// The worst of what happened is the exit code; one failure does not keep the others from being rotated.
async fn rotate_all(settings: &Settings, instance: String, names: &[String], dry: bool) -> u8 {
    let desk = match Desk::open(settings, instance).await {
        Ok(desk) => desk,
        Err(DeskError::Assemble(error)) => {
            eprintln!("{error}");
            return BAD_CONFIG;
        }
        Err(DeskError::Journal(error)) => {
            eprintln!("{error}");
            return code(&error);
        }
    };
    let mut worst = 0;
    for name in names {
        let (text, code) = match desk.rotate(settings, name, dry).await {
            Ok(Verdict::Settled { .. }) => (format!("{name}: rotated"), 0),
            Ok(Verdict::Would(text)) => (text, 0),
            Ok(Verdict::Busy { holder, .. }) => {
                (format!("{name}: {holder} is at work on it"), BUSY)
            }
            Ok(Verdict::Failed { reason, .. }) => {
                (format!("{name}: failed: {}", reason.as_str()), FAILED)
            }
            Ok(Verdict::Unreadable(why)) => (format!("{name}: {why}"), FAILED),
            Ok(Verdict::Later(error)) | Err(error) => (format!("{name}: {error}"), code(&error)),
        };
        println!("{text}");
        worst = worst.max(code);
    }
    desk.close().await;
    worst
}

fn code(error: &CallError) -> u8 {
    match error.kind {
        ErrorKind::Transient | ErrorKind::Unclear => UNREACHABLE,
        _ => FAILED,
    }
}
