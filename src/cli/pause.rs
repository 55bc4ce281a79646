//! `dtrotate pause` and `dtrotate resume`: nothing of a secret is begun, for every replica and every command.

use std::time::Duration;

use jiff::Timestamp;

use crate::clock;
use crate::config::{SecretSettings, Settings, parse_duration};
use rotation::pause::Pause;
use rotation::request::after;

use super::outcome::Task;
use super::rotate::{self, Results, choose_to_change};
use super::selection::Selection;
use super::{Arguments, Exit, output};

/// A reason is a sentence; it is in the journal document, which must stay small.
const LONGEST_REASON: usize = 300;

/// Which secrets are meant.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("secrets").args(["names", "environment", "labels", "all"]).required(true).multiple(true))]
struct Targets {
    #[command(flatten)]
    selection: Selection,
    /// Every secret
    #[arg(long, conflicts_with = "names")]
    all: bool,
    /// Do not ask before more than ten secrets are changed
    #[arg(long)]
    yes: bool,
    /// Print one JSON document per secret
    #[arg(long)]
    json: bool,
}

/// What to pause, until when and why.
#[derive(clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    targets: Targets,
    /// Pause for this long; without --for or --until, until `dtrotate resume`
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration, conflicts_with = "until")]
    length: Option<Duration>,
    /// Pause until this time, such as 2027-01-07T08:00:00+01:00
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    until: Option<Timestamp>,
    /// Reason, shown in the status
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

fn parse_time(text: &str) -> Result<Timestamp, String> {
    let time = text.parse();
    time.map_err(|_| "is not a time; write it like 2027-01-07T08:00:00+01:00".to_owned())
}

/// What to resume.
#[derive(clap::Args)]
pub(super) struct ResumeOptions {
    #[command(flatten)]
    targets: Targets,
}

impl Targets {
    fn choose<'a>(
        &self,
        settings: &'a Settings,
        verb: [&str; 2],
    ) -> Result<Vec<&'a SecretSettings>, Exit> {
        let secrets = choose_to_change(&self.selection, settings)?;
        if !self.yes {
            rotate::confirm(
                secrets.len(),
                verb,
                self.all || self.selection.is_explicit(),
            )?;
        }
        Ok(secrets)
    }
}

pub(super) fn pause(arguments: &Arguments, options: &Options) -> Result<Exit, Exit> {
    let now = clock::now();
    let until = options
        .length
        .map(|length| after(now, length))
        .or(options.until);
    if until.is_some_and(|until| until <= now) {
        output::complain("a pause must end in the future");
        return Err(Exit::Usage);
    }
    let reason = options.reason.as_deref().map(str::trim);
    if reason.is_some_and(|reason| reason.chars().count() > LONGEST_REASON) {
        output::complain(&format!("a reason has at most {LONGEST_REASON} characters"));
        return Err(Exit::Usage);
    }
    let settings = rotate::start(arguments, None)?;
    let secrets = options.targets.choose(&settings, ["Pause", "paused"])?;
    let results = Results::start(Task::Pause, options.targets.json, &secrets)?;
    results.run(&settings, false, async |foreground, done| {
        let pause = Pause {
            since: now,
            until,
            by: foreground.user().to_owned(),
            reason: reason.filter(|it| !it.is_empty()).map(str::to_owned),
            unknown: serde_json::Map::new(),
        };
        foreground.set_pause(secrets, Some(pause), done).await;
    })
}

pub(super) fn resume(arguments: &Arguments, options: &ResumeOptions) -> Result<Exit, Exit> {
    let settings = rotate::start(arguments, None)?;
    let secrets = options.targets.choose(&settings, ["Resume", "resumed"])?;
    let results = Results::start(Task::Resume, options.targets.json, &secrets)?;
    results.run(&settings, false, async |foreground, done| {
        foreground.set_pause(secrets, None, done).await;
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p7_what_is_no_time_is_refused_with_what_to_write() {
        assert!(parse_time("2027-01-07T08:00:00+01:00").is_ok());
        for text in ["tomorrow", "2027-01-07", "8:00", ""] {
            let error = parse_time(text).expect_err(text);
            assert!(
                error.contains("write it like 2027-01-07T08:00:00+01:00"),
                "{error}"
            );
        }
    }
}
