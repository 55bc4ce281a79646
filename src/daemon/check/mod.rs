//! What `dtrotate check` proves online: that everything a rotation needs is there and allowed, at Vault and at every environment, and
//! what a person should know before the first rotation.
//!
//! It changes nothing (P7): it reads, looks up and asks for rights; it does not even create the journal's first document. The one thing
//! it may end is the Vault token that it logged in for.

mod accounts;
mod active_gates;
mod bounds;
mod looked;
mod managers;
mod secrets;
mod services;
mod words;

use std::collections::BTreeMap;

use crate::config::Settings;

use super::assemble::{self, AssembleError, Right, Wired};
use super::clocks;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// As it should be.
    Ok,
    /// It works, but a person should know.
    Warn,
    /// Something is missing or wrong: a rotation will not work.
    Error,
    /// It could not be asked.
    Unreachable,
}

impl Grade {
    /// The word at the beginning of a line.
    pub fn as_str(self) -> &'static str {
        match self {
            Grade::Ok => "OK",
            Grade::Warn => "WARN",
            Grade::Error | Grade::Unreachable => "ERROR",
        }
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub grade: Grade,
    /// The secret, the environment, the journal or Vault.
    pub about: String,
    /// The sentence, with what to do.
    pub text: String,
}

/// What was found.
#[derive(Default)]
pub struct Findings {
    /// In the order in which things depend on each other; secrets in the order of the configuration.
    pub list: Vec<Finding>,
    /// The rules that the policy of our Vault token lacks, by path.
    pub rules: BTreeMap<String, Right>,
}

impl Findings {
    fn add(&mut self, grade: Grade, about: &str, text: impl Into<String>) {
        self.list.push(Finding {
            grade,
            about: about.to_owned(),
            text: text.into(),
        });
    }

    /// A rule to be added to the policy; of two for one path the wider one counts.
    fn rule(&mut self, right: Right) {
        let known = self.rules.get(&right.path);
        if known.is_none_or(|known| known.capabilities.len() < right.capabilities.len()) {
            self.rules.insert(right.path.clone(), right);
        }
    }
}

/// What the configuration alone shows, without a question to anybody.
pub fn offline(settings: &Settings) -> Findings {
    let mut findings = Findings::default();
    for secret in settings.secrets.iter().filter(|secret| secret.enabled) {
        if let Some(text) = bounds::document(secret, None) {
            findings.add(Grade::Error, &secret.plan.name, text);
        }
    }
    findings
}

/// Checks everything. `progress` gets how many of how many secrets were checked.
///
/// # Errors
/// The clients cannot be built: a fault of the configuration.
pub async fn check(
    settings: &Settings,
    progress: impl Fn(usize, usize),
) -> Result<Findings, AssembleError> {
    let inspector = Inspector {
        settings,
        wired: assemble::assemble(settings)?,
    };
    let mut findings = Findings::default();
    inspector.inspect(&mut findings, progress).await;
    inspector.wired.log_out().await;
    Ok(findings)
}

struct Inspector<'a> {
    settings: &'a Settings,
    wired: Wired,
}

impl Inspector<'_> {
    async fn inspect(&self, findings: &mut Findings, progress: impl Fn(usize, usize)) {
        if !self.vault(findings).await {
            return;
        }
        let engines = self.engines(findings).await;
        self.journal(&engines, findings);
        let denied = self.rights(&engines, findings).await;
        self.discoveries(findings).await;
        let limits = self.limits(&engines, findings).await;
        let mut managers = self.environments(findings).await;
        let accounts = self.accounts(findings).await;
        let active_gates = self.active_gates(&accounts, &mut managers, findings).await;
        self.notify_token(findings).await;
        let around = secrets::Around {
            engines,
            denied,
            limits,
            managers,
            accounts,
            active_gates,
        };
        self.secrets(&around, findings, progress).await;
        for named in self.wired.clocks() {
            if let Some(message) = clocks::disagrees(&named) {
                findings.add(Grade::Error, &named.title, message);
            }
        }
    }
}
