//! `dtrotate rotate NAME... | --all` and `dtrotate undo NAME`: now, in the foreground.

use std::process::ExitCode;

use crate::config::{SecretSettings, Settings};
use crate::daemon::command::{Desk, DeskError};
use crate::sanitize;
use crate::telemetry;
use rotation::command::RunResult;
use rotation::error::{CallError, ErrorKind};
use rotation::runner::Ended;
use rotation::token::TokenId;

use super::{Arguments, BAD_CONFIG, FAILED, UNREACHABLE, USAGE, progress, run};

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
    /// Confirm the rights that the command printed: they are recorded in the journal only.
    #[arg(long)]
    yes: bool,
}

pub(super) fn rotate(arguments: &Arguments, wanted: &Wanted) -> ExitCode {
    each(
        arguments,
        |settings| wanted.chosen(settings),
        "rotated",
        async |desk, secret| desk.rotate(secret, wanted.dry_run, wanted.yes).await,
    )
}

pub(super) fn undo(arguments: &Arguments, name: &str) -> ExitCode {
    let wanted = Wanted::one(name);
    each(
        arguments,
        |settings| wanted.chosen(settings),
        "the previous token is the current value again",
        Desk::undo,
    )
}

pub(super) fn forget(arguments: &Arguments, name: &str, token: &str) -> ExitCode {
    let (wanted, token) = (Wanted::one(name), TokenId::new(token));
    each(
        arguments,
        |settings| wanted.chosen(settings),
        "dropped from the retiring tokens; the token is left as it is at Dynatrace",
        async |desk, secret| desk.forget(secret, &token).await,
    )
}

impl Wanted {
    fn one(name: &str) -> Self {
        Wanted {
            names: vec![name.to_owned()],
            all: false,
            environment: None,
            dry_run: false,
            yes: false,
        }
    }

    /// The secrets that are meant, in the order of the configuration.
    ///
    /// # Errors
    /// A sentence: what was asked for is not in the configuration.
    fn chosen<'a>(&self, settings: &'a Settings) -> Result<Vec<&'a SecretSettings>, String> {
        let only = self.environment.as_ref();
        let here = |secret: &&SecretSettings| {
            let environment = &secret.plan.coordinates.environment;
            only.is_none_or(|only| only == environment)
        };
        let here: Vec<&SecretSettings> = settings.secrets.iter().filter(here).collect();
        if let (Some(only), []) = (only, &here[..]) {
            return Err(format!(
                "no secret of the configuration has the environment {only}"
            ));
        }
        let known = |name: &&String| here.iter().any(|secret| secret.plan.name == **name);
        if let Some(unknown) = self.names.iter().find(|name| !known(name)) {
            let there = only.map_or(String::new(), |only| format!(" for the environment {only}"));
            return Err(format!("{unknown} is not in the configuration{there}"));
        }
        let meant = |secret: &&SecretSettings| {
            self.names.contains(&secret.plan.name) || self.all && secret.enabled
        };
        Ok(here.into_iter().filter(meant).collect())
    }
}

/// Does `work` for each chosen secret. The worst of what happened is the exit code; one failure does not keep the others from their turn.
fn each(
    arguments: &Arguments,
    choose: impl Fn(&Settings) -> Result<Vec<&SecretSettings>, String>,
    done: &str,
    work: impl AsyncFn(&Desk, &SecretSettings) -> Result<Ended, CallError>,
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
    let chosen = match choose(&settings) {
        Ok(chosen) => chosen,
        Err(sentence) => {
            eprintln!("{}", sanitize::line(&sentence));
            return ExitCode::from(USAGE);
        }
    };
    let working = async {
        let desk = match open(&settings, instance).await {
            Ok(desk) => desk,
            Err(code) => return code,
        };
        let mut worst = 0;
        for (number, secret) in chosen.iter().enumerate() {
            let name = &secret.plan.name;
            progress(number, chosen.len());
            let (text, code) = tell(work(&desk, secret).await, done);
            // Gone, so that the result has a line of its own.
            progress(chosen.len(), chosen.len());
            let text = text.trim_start_matches(&format!("{name}: "));
            println!("{}", sanitize::line(&format!("{name}: {text}")));
            worst = worst.max(code);
        }
        desk.close().await;
        worst
    };
    ExitCode::from(super::block_on(working).unwrap_or_else(|code| code))
}

async fn open(settings: &Settings, instance: String) -> Result<Desk, u8> {
    Desk::open(settings, instance).await.map_err(|error| {
        eprintln!("{}", sanitize::line(&error.to_string()));
        match error {
            DeskError::Assemble(_) => BAD_CONFIG,
            DeskError::Journal(error) => code(&error),
        }
    })
}

/// What to print, and the exit code.
fn tell(ended: Result<Ended, CallError>, done: &str) -> (String, u8) {
    let ended = match ended {
        Ok(ended) => ended,
        Err(error) => return (error.to_string(), code(&error)),
    };
    match ended.result {
        RunResult::Done { .. } => (done.to_owned(), 0),
        RunResult::DryRun(text) => (text, 0),
        RunResult::ClaimedElsewhere { holder, .. } => {
            (format!("busy: {holder} holds the claim"), BUSY)
        }
        RunResult::Failed { reason, .. } => {
            let record = ended.journal.and_then(|journal| journal.record);
            let failure = record.and_then(|record| record.health.failure);
            let message = failure.map_or(String::new(), |failure| format!(": {}", failure.message));
            (format!("failed: {}{message}", reason.as_str()), FAILED)
        }
        RunResult::JournalUnreadable(why)
        | RunResult::JournalImplausible(why)
        | RunResult::Refused(why)
        | RunResult::InternalError(why) => (why, FAILED),
        RunResult::Retry(error) => (error.to_string(), code(&error)),
    }
}

fn code(error: &CallError) -> u8 {
    match error.kind {
        ErrorKind::Transient | ErrorKind::RateLimited | ErrorKind::Unclear => UNREACHABLE,
        _ => FAILED,
    }
}
