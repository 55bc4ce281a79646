//! `dtrotate check`: is the configuration valid, when is each secret due, and is everything there and allowed that a rotation needs?

use std::process::ExitCode;

use crate::clock;
use crate::config::{SecretSettings, Settings};
use crate::daemon::check::{self, Finding, Findings, Grade};
use crate::sanitize;

use super::{Arguments, BAD_CONFIG, FAILED, UNREACHABLE, progress};

pub(super) fn check(arguments: &Arguments, offline: bool) -> ExitCode {
    let settings = match arguments.load(false, offline) {
        Ok(settings) => settings,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::from(BAD_CONFIG);
        }
    };
    for secret in &settings.secrets {
        println!("{}", sanitize::line(&due_times(secret)));
    }
    for warning in &settings.warnings {
        println!("WARN  configuration: {}", sanitize::line(warning));
    }
    println!(
        "{} files, {} secrets: the configuration is valid",
        settings.files.len(),
        settings.secrets.len()
    );
    if offline {
        let findings = check::offline(&settings);
        return match findings.list.is_empty() {
            true => ExitCode::SUCCESS,
            false => ExitCode::from(tell(&findings)),
        };
    }
    println!();
    if !is_the_daemons_login(arguments, &settings) {
        println!(
            "WARN  Vault: asked with the token in BAO_TOKEN or VAULT_TOKEN, so what follows is about that token and not about the one that \
             the daemon gets; unset the variable to prove the daemon's rights"
        );
    }
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
    match runtime.block_on(check::check(&settings, progress)) {
        Ok(findings) => ExitCode::from(tell(&findings)),
        Err(error) => {
            eprintln!("{}", sanitize::line(&error.to_string()));
            ExitCode::from(BAD_CONFIG)
        }
    }
}

/// One finding as it is printed. It quotes servers: names of tokens and owners, error messages.
fn sentence(finding: &Finding) -> String {
    let Finding { grade, about, text } = finding;
    sanitize::line(&format!("{:5} {about}: {text}", grade.as_str()))
}

/// A secret's next due times, in its zone.
fn due_times(secret: &SecretSettings) -> String {
    let name = &secret.plan.name;
    if !secret.enabled {
        return format!("{name}: switched off");
    }
    let firings = secret.schedule.firings_after(clock::now()).take(3);
    let firings: Vec<String> = firings
        .map(|at| {
            at.to_zoned_datetime(secret.schedule.zone().clone())
                .strftime("%a %F %T %Z")
                .to_string()
        })
        .collect();
    format!(
        "{name}: `{}` {}: {}",
        secret.schedule_text,
        secret.zone_name,
        firings.join(", ")
    )
}

/// The daemon would log in to Vault as this command does.
fn is_the_daemons_login(arguments: &Arguments, settings: &Settings) -> bool {
    let daemon = arguments.load(true, true);
    daemon.is_ok_and(|daemon| daemon.vault.auth == settings.vault.auth)
}

/// Prints what was found, and tells the exit code.
fn tell(findings: &Findings) -> u8 {
    for finding in &findings.list {
        println!("{}", sentence(finding));
    }
    if !findings.rules.is_empty() {
        println!("\nThe policy of dtrotate's Vault token lacks:\n");
        for right in findings.rules.values() {
            // Several lines, of paths that were checked when the configuration was read.
            println!("{right}\n");
        }
    }
    let count = |word: &str| {
        let all = findings.list.iter();
        all.filter(|finding| finding.grade.as_str() == word).count()
    };
    println!("\n{} errors, {} warnings", count("ERROR"), count("WARN"));
    match findings.worst() {
        Grade::Ok | Grade::Warn => 0,
        Grade::Error => FAILED,
        Grade::Unreachable => UNREACHABLE,
    }
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
        assert!(!printed.contains(sanitize::is_hazard), "{printed:?}");
        assert!(printed.contains("\\u{1b}]0;x\\u{7}") && !printed.contains("CANARY"));
    }
}
