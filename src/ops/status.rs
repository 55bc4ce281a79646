//! The picture itself: plain data, the same for the status page, `/status` and `dtrotate status --json`. docs/status.md describes its fields.
//!
//! No field of it could hold a token value: an id is a [`TokenId`](rotation::token::TokenId), which cuts a value to its public part, and a sentence comes from an
//! error or a journal document, which hold none.

use std::collections::{BTreeMap, BTreeSet};

use crate::sanitize;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::condition::{Condition, Severity};
use super::pruned::Pruned;
use super::secret::{Secret, State};

/// The layout of the JSON. A reader ignores fields it does not know; a field that changes its meaning raises this.
const SCHEMA: u32 = 1;

/// Everything at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The layout.
    pub schema: u32,
    /// When the picture was taken.
    pub at: Timestamp,
    /// The daemon that answered; none = read from the journal, without a daemon.
    pub daemon: Option<Daemon>,
    /// Vault and the environments, as far as the daemon uses them. Empty without a daemon.
    pub services: Vec<Service>,
    /// What needs a human now: the errors among the conditions. Empty = all is well.
    pub troubles: Vec<Trouble>,
    /// Everything that is open.
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// How many there are, on all pages.
    #[serde(default)]
    pub counts: Counts,
    /// Which page of the secrets this is.
    #[serde(default)]
    pub part: Part,
    /// The secrets, by name.
    pub secrets: Vec<Secret>,
    /// Pruned tokens that `dtrotate status` was asked for; a daemon does not publish them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pruned: Vec<Pruned>,
}

/// How many secrets and open conditions there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Secrets in all.
    pub secrets: usize,
    /// Secrets in each state that occurs.
    pub states: BTreeMap<State, usize>,
    /// Those in the state `healthy` that an open error is about: they rotate, and something else of them needs a human.
    #[serde(default)]
    pub healthy_with_error: usize,
    /// Open conditions that need a human.
    pub errors: usize,
    /// Other open conditions.
    pub warnings: usize,
}

impl Counts {
    /// Those of these secrets; `troubles` are the open errors.
    pub fn of<'a>(secrets: impl IntoIterator<Item = &'a Secret>, troubles: &[Trouble]) -> Counts {
        let troubled = troubled(troubles);
        let mut counts = Counts {
            errors: troubles.len(),
            ..Counts::default()
        };
        for secret in secrets {
            counts.secrets += 1;
            *counts.states.entry(secret.state).or_default() += 1;
            let is_healthy = secret.state == State::Healthy;
            counts.healthy_with_error +=
                usize::from(is_healthy && troubled.contains(secret.name.as_str()));
        }
        counts
    }

    /// What people read: `27 healthy`, `1 with a problem`, `2 waiting`, each with the state behind it. No secret with an open error is called
    /// healthy.
    pub fn groups(&self) -> Vec<Group> {
        let mut groups = vec![];
        for (&state, &number) in self.states.iter().rev() {
            let problems = match state {
                State::Healthy => self.healthy_with_error,
                _ => 0,
            };
            groups.push(Group {
                state,
                number: number - problems.min(number),
                has_problem: false,
            });
            groups.push(Group {
                state,
                number: problems,
                has_problem: true,
            });
        }
        groups.retain(|group| group.number > 0);
        groups
    }
}

/// Secrets that are counted together where people read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// Their state.
    pub state: State,
    /// How many they are; never 0.
    pub number: usize,
    /// They are healthy but for an open error.
    pub has_problem: bool,
}

impl Group {
    /// The word behind the number.
    pub fn words(&self) -> &'static str {
        match self.has_problem {
            true => "with a problem",
            false => self.state.words(),
        }
    }
}

/// The names of the secrets that an open error is about.
fn troubled(troubles: &[Trouble]) -> BTreeSet<&str> {
    let names = troubles.iter();
    names
        .filter_map(|trouble| trouble.secret.as_deref())
        .collect()
}

/// A page of the secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its number, from 1.
    pub page: usize,
    /// How many there are.
    pub pages: usize,
}

impl Default for Part {
    fn default() -> Self {
        Part { page: 1, pages: 1 }
    }
}

/// The daemon that answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Daemon {
    /// Its version.
    pub version: String,
    /// Its instance name, as in claims and log lines.
    pub instance: String,
    /// When it started.
    pub started: Timestamp,
    /// Logged in, and the journal is read.
    pub ready: bool,
    /// What it waits for, or that it is ready.
    pub readiness: String,
    /// The last time it read its configuration.
    pub reload: Reload,
    /// Where its journal is; none = it is of a version that does not say.
    #[serde(default)]
    pub journal: Option<JournalPlace>,
}

/// Where a journal is: two processes with the same one are of the same installation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalPlace {
    /// The addresses of Vault.
    pub vault: Vec<String>,
    /// The namespace, if there is one.
    pub namespace: Option<String>,
    /// The mount.
    pub mount: String,
    /// The folder below it.
    pub path: String,
}

impl JournalPlace {
    /// A short digest of it, which says nothing about it.
    pub fn digest(&self) -> String {
        let digest = ring::digest::digest(&ring::digest::SHA256, self.to_string().as_bytes());
        let bytes = digest.as_ref().iter().take(8);
        bytes.map(|byte| format!("{byte:02x}")).collect()
    }
}

impl std::fmt::Display for JournalPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}/{} at {}",
            self.mount,
            self.path,
            self.vault.join(", ")
        )?;
        match &self.namespace {
            Some(namespace) => write!(f, " (namespace {namespace})"),
            None => Ok(()),
        }
    }
}

/// Reading the configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reload {
    /// When it was last read.
    pub at: Timestamp,
    /// It was valid and is in force.
    pub ok: bool,
    /// When what is in force was read.
    pub in_force_since: Timestamp,
}

/// Vault or an environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// The environment's name; none = Vault.
    pub environment: Option<String>,
    /// Can it be used?
    pub state: ServiceState,
    /// What is wrong.
    pub message: Option<String>,
    /// Since when.
    pub since: Option<Timestamp>,
}

impl Service {
    /// Its name for people.
    pub fn title(&self) -> String {
        match &self.environment {
            None => "Vault".to_owned(),
            Some(name) => format!("Dynatrace {name}"),
        }
    }
}

/// Can a service be used?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceState {
    /// The last call worked.
    Up,
    /// It cannot be used now; work waits and is caught up.
    Down,
    /// Nothing was asked yet.
    Unknown,
}

/// An error among the conditions, in the form of version 0.1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trouble {
    /// The word of its ERROR line.
    pub event: String,
    /// What happened and what to do.
    pub message: String,
    /// The secret it is about, if it is about one.
    pub secret: Option<String>,
    /// The environment it is about, if it is about one.
    pub environment: Option<String>,
    /// The stable code of a stuck rotation: its page in the runbook.
    pub reason: Option<String>,
    /// Since when.
    pub since: Timestamp,
}

impl From<&Condition> for Trouble {
    fn from(condition: &Condition) -> Self {
        Trouble {
            event: condition.kind.clone(),
            message: condition.message.clone(),
            secret: condition.secret.clone(),
            environment: condition.environment.clone(),
            reason: condition.reason.clone(),
            since: condition.since,
        }
    }
}

impl Status {
    /// At `at`, without anything in it.
    pub fn new(at: Timestamp) -> Status {
        Status {
            schema: SCHEMA,
            at,
            daemon: None,
            services: Vec::new(),
            troubles: Vec::new(),
            conditions: Vec::new(),
            counts: Counts::default(),
            part: Part::default(),
            secrets: Vec::new(),
            pruned: Vec::new(),
        }
    }

    /// The same with these open conditions and secrets.
    pub fn with(mut self, conditions: Vec<Condition>, mut secrets: Vec<Secret>) -> Status {
        for secret in &mut secrets {
            // What is due begins now.
            secret.next = secret.next.map(|next| next.max(self.at));
        }
        self.put(conditions, secrets);
        self
    }

    fn put(&mut self, conditions: Vec<Condition>, secrets: Vec<Secret>) {
        let errors = conditions.iter().filter(|one| one.needs_human());
        self.troubles = errors.map(Trouble::from).collect();
        self.counts = Counts {
            warnings: conditions.len() - self.troubles.len(),
            ..Counts::of(&secrets, &self.troubles)
        };
        self.conditions = conditions;
        self.secrets = secrets;
    }

    /// The same without these secrets and their conditions.
    pub(super) fn without(&self, names: &BTreeSet<&str>) -> Status {
        let is_of_them = |name: &str| names.contains(name);
        self.narrowed(
            |condition| !condition.secret.as_deref().is_some_and(is_of_them),
            |secret| !is_of_them(&secret.name),
        )
    }

    /// The same with a choice of its conditions and secrets.
    pub(super) fn narrowed(
        &self,
        keep: impl Fn(&Condition) -> bool,
        is_meant: impl Fn(&Secret) -> bool,
    ) -> Status {
        let conditions = self.conditions.iter().filter(|one| keep(one)).cloned();
        let secrets = self.secrets.iter().filter(|one| is_meant(one)).cloned();
        let mut status = Status {
            daemon: self.daemon.clone(),
            services: self.services.clone(),
            ..Status::new(self.at)
        };
        status.put(conditions.collect(), secrets.collect());
        status
    }

    /// The same with every text made safe to show; see [`sanitize`].
    pub fn sanitized(&self) -> Status {
        let mut value = serde_json::to_value(self).expect("a status is plain data");
        sanitize::value(&mut value);
        serde_json::from_slice(value.to_string().as_bytes())
            .expect("only words of fixed lists are read back, and they are plain")
    }

    /// Only what concerns the secrets that are meant.
    pub fn only(&self, is_meant: impl Fn(&Secret) -> bool) -> Status {
        let names: BTreeSet<&str> = self
            .secrets
            .iter()
            .filter(|secret| is_meant(secret))
            .map(|secret| secret.name.as_str())
            .collect();
        let concerns = |condition: &Condition| {
            let name = condition.secret.as_deref();
            name.is_some_and(|name| names.contains(name))
        };
        self.narrowed(concerns, |secret| names.contains(secret.name.as_str()))
    }

    /// The troubles that are of no secret here.
    pub fn general_troubles(&self) -> impl Iterator<Item = &Trouble> {
        let here = |name: &str| self.secrets.iter().any(|secret| secret.name == name);
        let general = move |trouble: &&Trouble| !trouble.secret.as_deref().is_some_and(here);
        self.troubles.iter().filter(general)
    }

    /// Warnings about no secret.
    pub fn general_warnings(&self) -> impl Iterator<Item = &Condition> {
        let warnings = self.conditions.iter();
        warnings.filter(|it| it.severity == Severity::Warning && it.secret.is_none())
    }

    /// The troubles of one secret.
    pub fn troubles_of<'a>(&'a self, secret: &'a str) -> impl Iterator<Item = &'a Trouble> {
        let of = move |trouble: &&Trouble| trouble.secret.as_deref() == Some(secret);
        self.troubles.iter().filter(of)
    }

    /// What to do about a trouble, and its page in the runbook.
    pub fn advice(&self, trouble: &Trouble) -> Option<String> {
        let mut conditions = self.conditions.iter();
        let condition = conditions.find(|it| {
            it.kind == trouble.event && it.secret == trouble.secret && it.message == trouble.message
        })?;
        let page = condition.runbook.as_ref();
        let page = page.map(|page| format!("docs/{page}"));
        let advice = Some(condition.what_to_do.clone()).filter(|text| !text.is_empty());
        let parts: Vec<String> = advice.into_iter().chain(page).collect();
        Some(parts.join(" ")).filter(|text| !text.is_empty())
    }

    /// The secrets, those that need a human first, then by state and name.
    pub fn worst_first(&self) -> Vec<&Secret> {
        let troubled = troubled(&self.troubles);
        let mut secrets: Vec<&Secret> = self.secrets.iter().collect();
        secrets.sort_unstable_by_key(|secret| {
            let calm = !troubled.contains(secret.name.as_str());
            (calm, secret.state, &secret.name)
        });
        secrets
    }
}
