//! `dtrotate check`: whether the configuration is valid and everything is there and allowed that a rotation needs. It changes nothing.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::clock;
use crate::config::{SecretSettings, Settings};
use crate::daemon::check::{self, Finding, Findings, Grade};
use crate::daemon::difference::Difference;
use crate::daemon::offline_status::journal_place;
use crate::ops::client::ask;
use crate::ops::humanize::{count, exact, hanging};
use crate::ops::secret::State;
use crate::ops::status::Status;
use crate::sanitize;

use super::output::{self, Output};
use super::selection::Selection;
use super::{Arguments, Exit, rotate};

/// How many of the next due times are shown.
const UPCOMING: usize = 3;

/// What to check.
#[derive(clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    selection: Selection,
    /// Validate offline: do not contact Vault or Dynatrace and do not read credential files
    #[arg(long)]
    offline: bool,
    /// Print everything, not only problems and warnings; implied by names
    #[arg(long)]
    all: bool,
    /// Print one JSON document with everything
    #[arg(long)]
    json: bool,
}

pub(super) fn check(arguments: &Arguments, options: &Options) -> Result<Exit, Exit> {
    let mut settings = arguments.load(options.offline)?;
    if !options.offline {
        rotate::add_discovered(&mut settings, None)?;
    }
    super::start_log(&settings, "error");
    let complete = settings.clone();
    let chosen = rotate::choose(&options.selection, &complete.secrets)?;
    let chosen: BTreeSet<&str> = chosen.iter().map(|it| it.plan.name.as_str()).collect();
    settings
        .secrets
        .retain(|secret| chosen.contains(secret.plan.name.as_str()));
    let output = Output::start().map_err(|error| super::cannot_start(&error))?;
    let mut findings = Findings::default();
    for warning in &settings.warnings {
        findings.list.push(warn("configuration", warning.clone()));
    }
    if options.offline {
        findings.list.extend(check::offline(&settings).list);
    } else {
        if !is_the_daemons_login(arguments, &settings) {
            let text = "the token in BAO_TOKEN or VAULT_TOKEN is used, so what follows is about its permissions and not about those of the daemon; \
                        unset the variable to verify the daemon's login";
            findings.list.push(warn("Vault", text.to_owned()));
        }
        let checked = super::block_on(async {
            findings.list.extend(compare_with_daemon(&complete).await);
            check::check(&settings, |done, all| output.progress(done, all)).await
        })?;
        match checked {
            Ok(checked) => {
                findings.list.extend(checked.list);
                findings.rules = checked.rules;
            }
            Err(error) => {
                output::complain(&error.to_string());
                return Err(Exit::BadConfig);
            }
        }
    }
    match options.json {
        true => output.json(&document(&settings, &findings)),
        false => output.text(text(&settings, &findings, options)),
    }
    // That nobody reads it changes nothing of what was found.
    let _ = output.finish();
    Ok(exit(&findings))
}

fn warn(about: &str, text: String) -> Finding {
    Finding {
        grade: Grade::Warn,
        about: about.to_owned(),
        text,
    }
}

/// A problem is graver than a service that could not be asked.
fn exit(findings: &Findings) -> Exit {
    let exits = findings.list.iter().map(|finding| match finding.grade {
        Grade::Ok | Grade::Warn => Exit::Success,
        Grade::Unreachable => Exit::Unreachable,
        Grade::Error => Exit::Failed,
    });
    exits.max().unwrap_or(Exit::Success)
}

/// The daemon would log in to Vault as this command does.
fn is_the_daemons_login(arguments: &Arguments, settings: &Settings) -> bool {
    let daemon = crate::config::load(&arguments.config, &arguments.options(true, true));
    daemon.is_ok_and(|daemon| daemon.vault.login == settings.vault.login)
}

/// What the running daemon does differently; nothing if none answers, or does not show its status.
async fn compare_with_daemon(settings: &Settings) -> Option<Finding> {
    let answer = ask(settings.ops.listen?, "/status?page=all").await.ok()?;
    let status: Status = serde_json::from_slice(answer.text.as_bytes()).ok()?;
    let daemon = status.daemon.as_ref()?;
    let (theirs, ours) = (&daemon.journal, journal_place(settings));
    let difference = difference(settings, &status);
    let text = if theirs.as_ref().is_some_and(|theirs| *theirs != ours) {
        let theirs = theirs.as_ref().map(ToString::to_string).unwrap_or_default();
        format!(
            "it belongs to another configuration: its journal is {theirs}, and that of this configuration is {ours}"
        )
    } else if !daemon.reload.ok {
        format!(
            "it refused the configuration that it read at {}; correct it and send SIGHUP",
            exact(daemon.reload.at)
        )
    } else if changed(settings)? > daemon.reload.in_force_since {
        format!(
            "a configuration file was changed after it was read; send SIGHUP to apply it: {difference}"
        )
    } else if !difference.is_empty() {
        format!("it has another configuration; send SIGHUP to apply this one: {difference}")
    } else {
        return None;
    };
    let about = format!("daemon {}", daemon.instance);
    Some(warn(&about, text))
}

/// When a file of the configuration was changed last.
fn changed(settings: &Settings) -> Option<Timestamp> {
    let times = settings.files.iter().filter_map(|file| {
        let changed = file.metadata().ok()?.modified().ok()?;
        Timestamp::try_from(changed).ok()
    });
    times.max()
}

/// How the secrets of the files differ from those of the daemon.
fn difference(settings: &Settings, status: &Status) -> Difference {
    let daemon = status.daemon.as_ref();
    // Another version may compute another digest.
    let is_comparable = daemon.is_some_and(|daemon| daemon.version == env!("CARGO_PKG_VERSION"));
    let theirs = status.secrets.iter();
    let theirs = theirs.filter(|secret| secret.state != State::Removed);
    let theirs = theirs.map(|secret| {
        let digest = secret.settings.filter(|_| is_comparable);
        (secret.name.as_str(), digest)
    });
    Difference::between(&theirs.collect(), &settings.secrets)
}

/// When a secret is rotated next by its schedule: at a firing, or at the end of the blackout that it falls into.
fn upcoming(secret: &SecretSettings) -> impl Iterator<Item = (Timestamp, bool)> {
    let firings = secret.schedule.firings_after(clock::now());
    let starts = firings.map(|firing| match secret.blackouts.end(firing) {
        Some(end) => (end, true),
        None => (firing, false),
    });
    let mut last = None;
    // What a blackout delays is one rotation.
    starts
        .filter(move |(at, _)| last.replace(*at) != Some(*at))
        .take(UPCOMING)
}

/// The line of a secret's next due times.
fn due_times(secret: &SecretSettings) -> String {
    let name = &secret.plan.name;
    if !secret.enabled {
        return format!("{name}: switched off");
    }
    let (schedule, zone) = (&secret.schedule_text, &secret.zone_name);
    let times = upcoming(secret).map(|(at, is_delayed)| {
        let local = at.to_zoned_datetime(secret.schedule.zone().clone());
        let delayed = if is_delayed {
            " (after a blackout)"
        } else {
            ""
        };
        format!("{}{delayed}", local.strftime("%a %F %T %Z"))
    });
    let times = times.collect::<Vec<_>>().join(", ");
    format!("{name}: `{schedule}` {zone}: {times}")
}

/// One finding as it is printed. It quotes servers: names of tokens and owners, error messages.
fn sentence(finding: &Finding) -> String {
    let Finding { grade, about, text } = finding;
    let head = format!("{:5} ", grade.as_str());
    hanging(&head, &sanitize::line(&format!("{about}: {text}")))
}

fn text(settings: &Settings, findings: &Findings, options: &Options) -> String {
    let everything = options.all || !options.selection.names.is_empty();
    let mut text = String::new();
    if everything {
        let times = settings.secrets.iter().map(|secret| due_times(secret));
        let times = times.map(|times| hanging("NEXT  ", &sanitize::line(&times)));
        text += &times.collect::<String>();
    }
    for finding in &findings.list {
        if everything || finding.grade != Grade::Ok {
            text += &sentence(finding);
        }
    }
    if !findings.rules.is_empty() {
        text += "\nThe policy of dtrotate's Vault token lacks:\n\n";
        for right in findings.rules.values() {
            // Several lines, of paths that were checked when the configuration was read.
            text += &format!("{right}\n\n");
        }
    }
    if !text.is_empty() {
        text += "\n";
    }
    let hidden = match tally(findings, "OK") {
        number if number > 0 && !everything => format!(" ({number} OK; --all shows them)"),
        _ => String::new(),
    };
    text + &hanging(
        "",
        &format!(
            "{} in {}: the configuration is valid; {}, {}{hidden}",
            count(settings.secrets.len(), "secret"),
            count(settings.files.len(), "file"),
            count(tally(findings, "ERROR"), "error"),
            count(tally(findings, "WARN"), "warning"),
        ),
    )
}

fn tally(findings: &Findings, word: &str) -> usize {
    let all = findings.list.iter();
    all.filter(|finding| finding.grade.as_str() == word).count()
}

/// Everything, for machines.
fn document(settings: &Settings, findings: &Findings) -> Value {
    let secrets = settings.secrets.iter().map(|secret| {
        json!({
            "name": secret.plan.name,
            "environment": secret.plan.coordinates.environment,
            "enabled": secret.enabled,
            "labels": secret.labels,
            "schedule": secret.schedule_text,
            "timezone": secret.zone_name,
            "next": if secret.enabled { upcoming_exactly(secret) } else { vec![] },
        })
    });
    let list = findings.list.iter().map(|finding| {
        json!({
            "grade": finding.grade.as_str(),
            "unreachable": finding.grade == Grade::Unreachable,
            "about": finding.about,
            "message": finding.text,
        })
    });
    let rules = findings.rules.values().map(ToString::to_string);
    json!({
        "files": settings.files,
        "secrets": secrets.collect::<Vec<_>>(),
        "findings": list.collect::<Vec<_>>(),
        "rules": rules.collect::<Vec<_>>(),
        "errors": tally(findings, "ERROR"),
        "warnings": tally(findings, "WARN"),
        "exit_status": exit(findings).code(),
    })
}

fn upcoming_exactly(secret: &SecretSettings) -> Vec<Timestamp> {
    upcoming(secret).map(|(at, _)| at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p5_nothing_from_outside_acts_on_the_terminal() {
        let finding = Finding {
            grade: Grade::Warn,
            about: "secret/a\u{1b}]0;x\u{7}".to_owned(),
            text: "the token \"\u{202e}\nOK    forged\" of dt0c01.A.CANARY\u{9b}31m".to_owned(),
        };
        let printed = sentence(&finding);
        let acts = |c: char| c != '\n' && sanitize::is_hazard(c);
        assert!(!printed.contains(acts), "{printed:?}");
        assert!(printed.contains("\\u{1b}]0;x\\u{7}") && !printed.contains("CANARY"));
        let forged = printed.lines().any(|line| line.starts_with("OK"));
        assert!(!forged, "{printed}");
    }

    #[test]
    fn a_problem_hides_behind_no_service_that_could_not_be_asked() {
        let of = |grades: &[Grade]| {
            let of_grade = |&grade| Finding {
                grade,
                ..warn("a", String::new())
            };
            let findings = Findings {
                list: grades.iter().map(of_grade).collect(),
                ..Findings::default()
            };
            exit(&findings)
        };
        assert_eq!(of(&[Grade::Ok, Grade::Warn]), Exit::Success);
        assert_eq!(of(&[Grade::Unreachable, Grade::Ok]), Exit::Unreachable);
        assert_eq!(of(&[Grade::Error, Grade::Unreachable]), Exit::Failed);
    }
}
