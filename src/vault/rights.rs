//! What a policy must give our token: the API paths that the calls of this module use, as policies name them, and which of them the token
//! lacks. It only asks.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use rotation::error::CallError;
use rotation::ports::SecretPath;

use super::client::Vault;
use super::journal::{INSTALLATION, KvJournal};
use super::mounts::Engine;

/// A rule that a policy needs. Its `Display` is the stanza to paste, in the form of `config/vault-policy.hcl`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// The path of the rule.
    pub path: String,
    /// What it must allow.
    pub capabilities: &'static [&'static str],
    /// The path of a call that it opens.
    asked: String,
}

impl Right {
    fn new(path: impl Into<String>, capabilities: &'static [&'static str]) -> Self {
        let path = path.into();
        Right {
            asked: path.clone(),
            path,
            capabilities,
        }
    }

    /// A rule over a folder, of which `asked` is one path.
    fn below(folder: &str, asked: &str, capabilities: &'static [&'static str]) -> Self {
        Right {
            path: format!("{folder}/*"),
            asked: format!("{folder}/{asked}"),
            capabilities,
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = listed(self.capabilities);
        write!(
            f,
            "path \"{}\" {{\n  capabilities = [{list}]\n}}",
            self.path
        )
    }
}

/// `"create", "read"`
pub(super) fn listed(capabilities: &[&str]) -> String {
    let quoted: Vec<String> = capabilities
        .iter()
        .map(|one| format!("\"{one}\""))
        .collect();
    quoted.join(", ")
}

/// The rules for rotating the secret at `at`.
pub fn rotates(engine: Engine, at: &SecretPath) -> Vec<Right> {
    let write = &["create", "read", "update"];
    match engine {
        Engine::V1 => vec![Right::new(engine.data_path(at), write)],
        Engine::V2 => vec![
            Right::new(engine.data_path(at), write),
            Right::new(metadata_path(at), &["read"]),
        ],
    }
}

/// The rule for reading the secret at `at`.
pub fn reads(engine: Engine, at: &SecretPath) -> Right {
    Right::new(engine.data_path(at), &["read"])
}

/// The rule for finding secrets below a folder. It is more specific than that for their metadata, and has its rights, too.
pub fn lists(engine: Engine, folder: &SecretPath) -> Right {
    match engine {
        Engine::V1 => Right::below(&engine.data_path(folder), "", &["list"]),
        Engine::V2 => Right::below(&metadata_path(folder), "", &["list", "read"]),
    }
}

/// The rule for reading how long a mount keeps what is written. `dtrotate check` compares it; nothing else depends on it.
pub fn reads_limits(mount: &str) -> Right {
    Right::new(config_path(mount), &["read"])
}

pub(super) fn metadata_path(at: &SecretPath) -> String {
    format!("{}/metadata/{}", at.mount, at.path)
}

pub(super) fn config_path(mount: &str) -> String {
    format!("{mount}/config")
}

/// What Vault reports about the token in use.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct OwnToken {
    /// Its policies.
    #[serde(default)]
    pub policies: Vec<String>,
    #[serde(default)]
    ttl: u64,
    /// Whether it can be renewed.
    #[serde(default)]
    pub renewable: bool,
    #[serde(default)]
    display_name: String,
    #[serde(default)]
    entity_id: String,
}

impl OwnToken {
    /// Who has it, as Vault knows them: the name that their login gave, else their entity.
    pub fn person(self) -> Option<String> {
        let names = [self.display_name, self.entity_id];
        names.into_iter().find(|name| !name.is_empty())
    }

    /// How long it lasts; `None` = it never expires.
    pub fn ends_in(&self) -> Option<Duration> {
        (self.ttl > 0).then(|| Duration::from_secs(self.ttl))
    }
}

impl KvJournal {
    /// The rule for reading how long the documents are kept. `dtrotate check` looks at it; nothing else depends on it.
    pub fn reads_limits(&self) -> Right {
        let metadata = format!("{}/metadata/{}", self.mount, self.path);
        Right::below(&metadata, INSTALLATION, &["list", "read"])
    }

    /// The rules for the journal.
    pub fn rights(&self) -> [Right; 2] {
        let (mount, path) = (&self.mount, &self.path);
        let data = format!("{mount}/data/{path}");
        let metadata = format!("{mount}/metadata/{path}");
        [
            Right::below(&data, INSTALLATION, &["create", "read", "update"]),
            // Vault judges a listing of a folder by its path with a slash at the end.
            Right::below(&metadata, "", &["list"]),
        ]
    }
}

impl Vault {
    /// The rules for living with the token itself.
    pub fn own_rights(&self) -> Vec<Right> {
        let mut rights = vec![
            Right::new("auth/token/lookup-self", &["read"]),
            Right::new("auth/token/renew-self", &["update"]),
            capabilities_right(),
        ];
        if self.logs_in() {
            rights.push(Right::new("auth/token/revoke-self", &["update"]));
        }
        rights
    }

    /// What Vault reports about the token in use, logging in if there is none.
    pub async fn own_token(&self) -> Result<OwnToken, CallError> {
        let call = super::login::look_up();
        let answer = self.call(&call).await?;
        match (answer.status, answer.data()) {
            (200, Ok(Some(token))) => Ok(token),
            (200, Err(_)) => Err(call.unexpected()),
            _ => Err(answer.refuse(&call)),
        }
    }

    /// Those of `rights` that our token lacks, each with what it may do there.
    /// `Refused` = it may not even ask, which [`capabilities_right`] would allow.
    pub async fn lacking(&self, rights: &[Right]) -> Result<Vec<(Right, Vec<String>)>, CallError> {
        let asked: Vec<String> = rights.iter().map(|right| right.asked.clone()).collect();
        let found = self.capabilities(&asked).await?;
        let lacking = rights.iter().filter_map(|right| {
            let has = found.get(&right.asked)?;
            let may = |one: &&str| has.iter().any(|have| have == "root" || have == one);
            (!right.capabilities.iter().all(may)).then(|| (right.clone(), has.clone()))
        });
        Ok(lacking.collect())
    }
}

/// The rule for asking for capabilities.
pub fn capabilities_right() -> Right {
    Right::new("sys/capabilities-self", &["update"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_written_as_in_the_shipped_policy() {
        let shipped = include_str!("../../config/vault-policy.hcl");
        for right in [
            Right::below(
                "secret/data/dynatrace",
                "app",
                &["create", "read", "update"],
            ),
            Right::below("secret/metadata/dynatrace", "app", &["read"]),
            Right::below("secret/metadata/dtrotate/journal", "", &["list", "read"]),
            lists(
                Engine::V2,
                &SecretPath {
                    mount: "secret".to_owned(),
                    path: "dynatrace/apps".to_owned(),
                },
            ),
            reads_limits("secret"),
            Right::new("auth/token/renew-self", &["update"]),
            capabilities_right(),
        ] {
            assert!(shipped.contains(&format!("\n{right}\n")), "{right}");
        }
    }
}
