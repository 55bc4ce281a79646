//! `dtrotate audit`: every token of environments and accounts, and what someone should look into.

pub(super) mod formats;

use clap::ValueEnum;

use crate::config::{self, Settings};
use crate::daemon::audit;
use crate::ops::audit::FindingKind;
use crate::ops::condition::Severity;

use super::output::{self, Output};
use super::rotate;
use super::{Arguments, Exit};

/// What to audit, and how to print it.
#[derive(clap::Args)]
pub(super) struct Options {
    /// Audit only this environment and the account that it uses
    #[arg(long, value_name = "ENVIRONMENT")]
    environment: Option<String>,
    /// Print in this format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Print one JSON document, like --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Exit with status 1 if there is a finding of this severity or a graver one
    #[arg(long, value_enum, value_name = "SEVERITY", default_value_t = FailOn::Error)]
    fail_on: FailOn,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
    Csv,
}

#[derive(Clone, Copy, ValueEnum)]
enum FailOn {
    Error,
    Warning,
    Never,
}

impl Options {
    fn format(&self) -> Format {
        match self.json {
            true => Format::Json,
            false => self.format,
        }
    }
}

impl FailOn {
    fn counts(self, kind: FindingKind) -> bool {
        match self {
            FailOn::Error => kind.severity() == Severity::Error,
            FailOn::Warning => true,
            FailOn::Never => false,
        }
    }
}

pub(super) fn audit(arguments: &Arguments, options: &Options) -> Result<Exit, Exit> {
    let mut settings = arguments.load(false)?;
    super::start_log(&settings, "error");
    rotate::add_discovered(&mut settings, None)?;
    let unknown = rotate::add_held(&mut settings, None)?;
    let services = services(&settings, options.environment.as_deref()).map_err(|sentence| {
        output::complain(&sentence);
        Exit::Usage
    })?;
    let read = super::block_on(audit::read(&settings, &services))?;
    let mut audit = read.map_err(|error| rotate::complain(&error))?;
    audit.incomplete.extend(unknown);
    let mut findings = audit.tokens.iter().flat_map(|token| &token.findings);
    let failed = match findings.any(|finding| options.fail_on.counts(finding.kind)) {
        true => Exit::Failed,
        false => Exit::Success,
    };
    let gaps = audit.incomplete.iter().map(Exit::of);
    let exit = gaps.fold(failed, Exit::max);
    let output = Output::start().map_err(|error| super::cannot_start(&error))?;
    let mut print = |text: String| output.text(text);
    match options.format() {
        Format::Json => formats::json(&audit, exit.code(), &mut print),
        Format::Csv => formats::csv(&audit, &mut print),
        Format::Text => formats::text(&audit, &services, &mut print),
    }
    for error in &audit.incomplete {
        output::complain(&format!("the audit is incomplete: {}", error.what));
    }
    // That nobody reads it changes nothing.
    let _ = output.finish();
    Ok(exit)
}

/// The issuers that are meant: all, or an environment with its account, or an account alone.
pub(super) fn services(settings: &Settings, only: Option<&str>) -> Result<Vec<String>, String> {
    let all = settings
        .issuers_in_use()
        .into_iter()
        .map(|issuer| issuer.service);
    let mut all: Vec<String> = all.collect();
    let Some(only) = only else { return Ok(all) };
    let environment = settings.environments.get(only);
    let account = environment.and_then(|it| it.account.as_ref());
    let account = account.and_then(|name| settings.accounts.get(name));
    let account = account.map(|account| account.client.service());
    let gates = environment.and_then(|it| it.active_gates());
    let gates = gates.map(|issuer| issuer.service);
    if environment.is_none() && !all.iter().any(|service| service == only) {
        let known = settings.environments.keys().map(String::as_str);
        let known = known.chain(all.iter().map(String::as_str));
        let sentence = format!("there is no environment {only}");
        return Err(match config::did_you_mean(only, known) {
            Some(question) => format!("{sentence}; {question}"),
            None => sentence,
        });
    }
    all.retain(|service| {
        service == only || Some(service) == account.as_ref() || Some(service) == gates.as_ref()
    });
    Ok(all)
}
