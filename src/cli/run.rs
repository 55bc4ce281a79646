//! `dtrotate run`: the daemon in the foreground.

use std::sync::Arc;

use crate::config::{self, Settings};
use crate::daemon;
use crate::telemetry::{self, Line};
use rotation::event::{EventName, Level};

use super::{
    Arguments, Exit, automatic_format, cannot_start, daemon_instance, format, log_level, output,
    variables,
};

/// The level of the log where neither `[log] level` nor `RUST_LOG` says otherwise.
const LEVEL: &str = "info";

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Exit> {
    let instance = daemon_instance();
    let settings = config::load(&arguments.config, &arguments.options(true, false));
    let settings = settings.map_err(|problems| {
        let format = automatic_format();
        if format.is_text() {
            output::complain_at_length(&problems.to_string());
            return Exit::BadConfig;
        }
        telemetry::start(format, LEVEL, &instance);
        for problem in problems.lines() {
            Line::new(EventName::ConfigRejected, problem).write();
        }
        Exit::BadConfig
    })?;
    telemetry::start(format(&settings), &log_level(&settings, LEVEL), &instance);
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
    let ended = super::block_on(daemon::run(settings, instance, reload(arguments)))?;
    match ended {
        Ok(()) => Ok(Exit::Success),
        Err(error) if error.is::<daemon::AssembleError>() => {
            Line::new(EventName::ConfigRejected, format!("{error:#}")).write();
            Err(Exit::BadConfig)
        }
        Err(error) => Err(cannot_start(&error)),
    }
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
