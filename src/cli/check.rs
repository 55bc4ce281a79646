//! `dtrotate check`: is the configuration valid, and when is each secret due?

use std::process::ExitCode;

use crate::clock;

use super::{Arguments, BAD_CONFIG};

pub(super) fn check(arguments: &Arguments, offline: bool) -> ExitCode {
    let settings = match arguments.load(false, offline) {
        Ok(settings) => settings,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::from(BAD_CONFIG);
        }
    };
    let now = clock::now();
    for secret in &settings.secrets {
        let name = &secret.plan.name;
        if !secret.enabled {
            println!("{name}: switched off");
            continue;
        }
        let firings: Vec<String> = secret
            .schedule
            .firings_after(now)
            .take(3)
            .map(|at| {
                at.to_zoned_datetime(secret.schedule.zone().clone())
                    .strftime("%a %F %T %Z")
                    .to_string()
            })
            .collect();
        println!(
            "{name}: `{}` {}: {}",
            secret.schedule_text,
            secret.zone_name,
            firings.join(", ")
        );
    }
    println!(
        "{} files, {} secrets: the configuration is valid",
        settings.files.len(),
        settings.secrets.len()
    );
    ExitCode::SUCCESS
}
