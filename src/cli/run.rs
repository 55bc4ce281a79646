//! `dtrotate run`: the daemon in the foreground.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{LogFormat, Settings};
use crate::daemon;
use crate::telemetry::{self, Format, Line};
use rotation::event::{EventName, Level};

use super::{Arguments, BAD_CONFIG, FAILED, variables};

/// How long a reader of the log that is slow may delay the end of the process.
const FLUSH: Duration = Duration::from_secs(2);

/// Writes what is buffered when the process ends, also by a panic.
struct Flush;

impl Drop for Flush {
    fn drop(&mut self) {
        telemetry::flush(FLUSH);
    }
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let _flush = Flush;
    forbid_core_dumps();
    telemetry::tell_panics();
    let instance = instance();
    let settings = match arguments.load(true, false) {
        Ok(settings) => settings,
        Err(problems) => {
            let format = auto();
            if format.is_text() {
                eprintln!("{problems}");
                return ExitCode::from(BAD_CONFIG);
            }
            telemetry::start(format, "info", &instance);
            for problem in problems.lines() {
                Line::new(EventName::ConfigRejected, problem).write();
            }
            return ExitCode::from(BAD_CONFIG);
        }
    };
    telemetry::start(format(&settings), &level(&settings), &instance);
    telemetry::write_in_background();
    let version = env!("CARGO_PKG_VERSION");
    Line::new(
        EventName::DaemonStarting,
        format!("dtrotate {version} starts as {instance}"),
    )
    .write();
    let message = format!(
        "{} secrets from {} files",
        settings.secrets.len(),
        settings.files.len()
    );
    Line::new(EventName::ConfigLoaded, message).write();
    for warning in &settings.warnings {
        let line = Line::new(EventName::ConfigLoaded, warning);
        line.at(Level::Warn).write();
    }
    let again = (arguments.config.clone(), arguments.config_dir.clone());
    let reload = Arc::new(move || {
        let options = crate::config::Options {
            environment: variables(),
            config_dir: again.1.clone(),
            daemon: true,
            offline: false,
        };
        let lines = |lines: Vec<String>| lines.into_iter().map(|line| line + "\n").collect();
        let settings = crate::config::load(&again.0, &options);
        let settings = settings.map_err(|problems| -> String { lines(problems.lines()) })?;
        let level = level(&settings);
        Ok((settings, level))
    });
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
    match runtime.block_on(daemon::run(settings, instance, reload)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<daemon::AssembleError>() => {
            Line::new(EventName::ConfigRejected, format!("{error:#}")).write();
            ExitCode::from(BAD_CONFIG)
        }
        Err(error) => {
            eprintln!("cannot start: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

fn format(settings: &Settings) -> Format {
    match settings.log.format {
        LogFormat::Auto => auto(),
        LogFormat::Json => Format::json(),
        LogFormat::Text => Format::text(),
    }
}

/// The form that fits where stderr goes.
pub(super) fn auto() -> Format {
    Format::auto(variables().get("JOURNAL_STREAM").map(String::as_str))
}

pub(super) fn level(settings: &Settings) -> String {
    let configured = settings.log.level.map(str::to_owned);
    configured
        .or_else(|| variables().remove("RUST_LOG"))
        .unwrap_or_else(|| "info".to_owned())
}

/// `DTROTATE_INSTANCE`, else host name and role: stable across restarts, so that a restarted daemon resumes its own claims at once.
pub(super) fn instance() -> String {
    variables().remove("DTROTATE_INSTANCE").unwrap_or_else(|| {
        let host = rustix::system::uname();
        format!("{}/daemon", host.nodename().to_string_lossy())
    })
}

/// The process holds token values: its memory must not land in a file.
fn forbid_core_dumps() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let _ = setrlimit(Resource::Core, none);
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}
