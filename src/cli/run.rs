//! `dtrotate run`: the daemon in the foreground, or one pass of it.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::config::{self, Settings};
use crate::daemon::{self, pass::PassResult};
use crate::ops::humanize::count;
use crate::telemetry::{self, Line};
use rotation::event::{EventName, Level};

use super::{
    Arguments, Exit, automatic_format, cannot_start, daemon_instance, format, log_level, output,
    variables,
};

/// The level of the log where neither `[log] level` nor `RUST_LOG` says otherwise.
const LEVEL: &str = "info";

/// Whether to stay.
#[derive(clap::Args)]
pub(super) struct Options {
    /// Make one complete pass and exit: for cron, systemd timers and jobs
    #[arg(long)]
    once: bool,
    /// End the pass within this time
    #[arg(long, value_name = "DURATION", default_value = "30m", requires = "once", value_parser = config::parse_duration)]
    timeout: Duration,
    /// Write the metrics at the end of the pass to this file, for the textfile collector of the node exporter
    #[arg(long, value_name = "FILE", requires = "once")]
    metrics_file: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments, options: &Options) -> Result<Exit, Exit> {
    match options.once {
        true => pass(arguments, options),
        false => stay(arguments),
    }
}

/// The daemon.
fn stay(arguments: &Arguments) -> Result<Exit, Exit> {
    let instance = daemon_instance();
    let settings = start(arguments, &instance)?;
    let ended = super::block_on(daemon::run(settings, instance, reload(arguments)))?;
    ended
        .map(|()| Exit::Success)
        .map_err(|error| refused(&error))
}

/// One pass of the daemon.
fn pass(arguments: &Arguments, options: &Options) -> Result<Exit, Exit> {
    let instance = daemon_instance();
    let settings = start(arguments, &instance)?;
    let passed = super::block_on(daemon::pass::run(settings, &instance, options.timeout))?;
    let passed = passed.map_err(|error| refused(&error))?;
    let exit = match passed.result {
        PassResult::Served => Exit::Success,
        PassResult::Unreachable => Exit::Unreachable,
        PassResult::NeedsHuman => Exit::Failed,
    };
    let Some(file) = &options.metrics_file else {
        return Ok(exit);
    };
    match write_whole(file, &passed.metrics) {
        Ok(()) => Ok(exit),
        Err(error) => {
            output::complain(&format!("cannot write {}: {error}", file.display()));
            Ok(exit.max(Exit::Failed))
        }
    }
}

/// Replaces a file at once: whoever reads it sees the old or the new text. Everyone may read it.
fn write_whole(file: &Path, text: &str) -> io::Result<()> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    // The collector reads only `*.prom`.
    name.push(format!(".{}", std::process::id()));
    let draft = file.with_file_name(name);
    let written = fs::write(&draft, text)
        .and_then(|()| fs::set_permissions(&draft, Permissions::from_mode(0o644)))
        .and_then(|()| fs::rename(&draft, file));
    if written.is_err() {
        // What cannot be removed, either, is shown by the error of the write.
        let _ = fs::remove_file(&draft);
    }
    written
}

/// The daemon or the pass could not begin.
fn refused(error: &anyhow::Error) -> Exit {
    if error.is::<daemon::AssembleError>() {
        Line::new(EventName::ConfigRejected, format!("{error:#}")).write();
        return Exit::BadConfig;
    }
    cannot_start(error)
}

/// Reads the configuration and starts the log.
fn start(arguments: &Arguments, instance: &str) -> Result<Settings, Exit> {
    let settings = config::load(&arguments.config, &arguments.options(true, false));
    let settings = settings.map_err(|problems| {
        let format = automatic_format();
        if format.is_text() {
            output::complain_at_length(&problems.to_string());
            return Exit::BadConfig;
        }
        telemetry::start(format, LEVEL, instance);
        for problem in problems.lines() {
            Line::new(EventName::ConfigRejected, problem).write();
        }
        Exit::BadConfig
    })?;
    telemetry::start(format(&settings), &log_level(&settings, LEVEL), instance);
    telemetry::write_in_background();
    let version = env!("CARGO_PKG_VERSION");
    Line::new(
        EventName::DaemonStarting,
        format!("dtrotate {version} starts as {instance}"),
    )
    .write();
    let message = format!(
        "{} from {}",
        count(settings.secrets.len(), "secret"),
        count(settings.files.len(), "file")
    );
    Line::new(EventName::ConfigLoaded, message).write();
    for warning in &settings.warnings {
        let line = Line::new(EventName::ConfigLoaded, warning);
        line.at(Level::Warn).write();
    }
    Ok(settings)
}

/// Reads the configuration again.
fn reload(arguments: &Arguments) -> daemon::Reload {
    let (file, config_dir) = (arguments.config.clone(), arguments.config_dir.clone());
    Arc::new(move || {
        let options = config::Options {
            environment: variables(),
            config_dir: config_dir.clone(),
            daemon: true,
            starting: false,
            offline: false,
        };
        let lines = |lines: Vec<String>| lines.into_iter().map(|line| line + "\n").collect();
        let settings: Settings = config::load(&file, &options)
            .map_err(|problems| -> String { lines(problems.lines()) })?;
        let level = log_level(&settings, LEVEL);
        Ok((settings, level))
    })
}
