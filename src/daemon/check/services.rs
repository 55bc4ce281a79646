//! Vault, its mounts and rights, the journal, and the token of notifications.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::config::SecretSettings;
use rotation::error::ErrorKind;
use rotation::ports::SecretPath;

use super::super::assemble::{self, Engine, Right, VersionLimits};
use super::super::discovery;
use super::words::{grade, rough, title};
use super::{Findings, Grade, Inspector};

const VAULT: &str = "Vault";

/// The engines behind the mounts; one that could not be found out about is missing.
pub(super) type Engines = BTreeMap<String, Engine>;

impl Inspector<'_> {
    /// Whether the login to Vault succeeds.
    pub(super) async fn vault(&self, findings: &mut Findings) -> bool {
        let own = match self.wired.own_token().await {
            Ok(own) => own,
            Err(error) => {
                findings.add(grade(&error), VAULT, error.what);
                return false;
            }
        };
        let policies = own.policies.join(", ");
        findings.add(
            Grade::Ok,
            VAULT,
            format!("login succeeded; token policies: {policies}"),
        );
        if own.policies.iter().any(|policy| policy == "root") {
            let text = "this is a root token, so nothing is proved about the rights that are needed; give dtrotate a separate token \
                        with config/vault-policy.hcl";
            findings.add(Grade::Warn, VAULT, text);
        }
        if let Some(length) = own.ends_in().filter(|_| !own.renewable) {
            let text = format!(
                "the token ends in {} and cannot be renewed; for a daemon make a periodic one (-period=24h), or use another method",
                rough(length)
            );
            findings.add(Grade::Warn, VAULT, text);
        }
        true
    }

    /// Asks for every mount once.
    pub(super) async fn engines(&self, findings: &mut Findings) -> Engines {
        let mut engines = Engines::new();
        for mount in self.mounts() {
            match self.wired.engine(&mount).await {
                Ok(engine) => {
                    engines.insert(mount, engine);
                }
                Err(error) => findings.add(grade(&error), VAULT, error.what),
            }
        }
        engines
    }

    fn mounts(&self) -> BTreeSet<String> {
        let mut mounts = BTreeSet::from([self.settings.journal.mount.clone()]);
        let environments = self.settings.environments.values();
        let auths = environments.filter_map(|environment| environment.auth.as_ref());
        mounts.extend(auths.map(|auth| auth.mount.clone()));
        let accounts = self.settings.accounts.values();
        mounts.extend(accounts.map(|account| account.auth.mount.clone()));
        mounts.extend(self.enabled().map(|secret| at(secret).mount));
        let folders = self.settings.discoveries.iter();
        mounts.extend(folders.map(|discovery| discovery.place().mount.clone()));
        mounts
    }

    pub(super) fn enabled(&self) -> impl Iterator<Item = &SecretSettings> {
        let all = self.settings.secrets.iter().map(Arc::as_ref);
        all.filter(|secret| secret.enabled)
    }

    /// The journal's mount must have versions, and is best one of its own; a secret's should have versions.
    pub(super) fn journal(&self, engines: &Engines, findings: &mut Findings) {
        let mount = &self.settings.journal.mount;
        let used: BTreeSet<String> = self.enabled().map(|secret| at(secret).mount).collect();
        if engines.get(mount) == Some(&Engine::V1) {
            let text = format!(
                "the mount {mount} is KV version 1, and the journal needs version 2: its check-and-set keeps two replicas apart; set \
                 [journal] mount to a KV version 2 mount"
            );
            findings.add(Grade::Error, "journal", text);
        } else if used.contains(mount) {
            let text = format!(
                "it shares the mount {mount} with secrets, and anyone who can write the journal can make dtrotate delete old tokens early; give it a KV \
                 version 2 mount of its own, or take care that nobody else has rights below {mount}/data/{}",
                self.settings.journal.path
            );
            findings.add(Grade::Warn, "journal", text);
        }
        for mount in used {
            if engines.get(&mount) == Some(&Engine::V1) {
                let text = format!(
                    "the mount {mount} is KV version 1: without check-and-set a change made by somebody else at the same moment can be \
                     overwritten unnoticed; run a single replica, or better upgrade the mount (`vault kv enable-versioning {mount}`)"
                );
                findings.add(Grade::Warn, VAULT, text);
            }
        }
    }

    /// How long the mounts of secrets and journal keep what is written. A policy that does not let us read it is worth a warning: nothing
    /// else depends on it.
    pub(super) async fn limits(
        &self,
        engines: &Engines,
        findings: &mut Findings,
    ) -> BTreeMap<String, VersionLimits> {
        let mut mounts = BTreeSet::from([self.settings.journal.mount.clone()]);
        mounts.extend(self.enabled().map(|secret| at(secret).mount));
        let mut limits = BTreeMap::new();
        for mount in mounts {
            if engines.get(&mount) != Some(&Engine::V2) {
                continue;
            }
            match self.wired.store.mount_limits(&mount).await {
                Ok(found) => {
                    limits.insert(mount, found);
                }
                Err(error) if error.kind == ErrorKind::Refused => {
                    let right = assemble::reads_limits(&mount);
                    let text = format!(
                        "max_versions and delete_version_after of the mount {mount} cannot be checked: the Vault token may not read {}; add \
                         the rule below to its policy",
                        right.path
                    );
                    findings.add(Grade::Warn, VAULT, text);
                    findings.rule(right);
                }
                Err(error) => findings.add(grade(&error), VAULT, error.what),
            }
        }
        limits
    }

    /// Proves every right; returns the paths below which nothing can be read.
    pub(super) async fn rights(
        &self,
        engines: &Engines,
        findings: &mut Findings,
    ) -> BTreeSet<String> {
        let needed = self.needed(engines);
        let rights: Vec<Right> = needed.keys().cloned().collect();
        let lacking = match self.wired.lacking(&rights).await {
            Ok(lacking) => lacking,
            Err(error) if error.kind == ErrorKind::Refused => {
                findings.rule(assemble::capabilities_right());
                findings.add(
                    Grade::Error,
                    VAULT,
                    format!("the rights cannot be proved: {}", error.what),
                );
                return BTreeSet::new();
            }
            Err(error) => {
                findings.add(grade(&error), VAULT, error.what);
                return BTreeSet::new();
            }
        };
        let mut denied = BTreeSet::new();
        for (right, has) in &lacking {
            let lacks: Vec<&str> = right
                .capabilities
                .iter()
                .filter(|one| !has.iter().any(|have| have == *one))
                .copied()
                .collect();
            let text = format!(
                "the Vault token may not {} at {}; add the rule below to its policy",
                lacks.join(", "),
                right.path
            );
            for about in &needed[right] {
                findings.add(Grade::Error, about, text.clone());
            }
            if lacks.contains(&"read") {
                denied.insert(right.path.clone());
            }
            findings.rule(right.clone());
        }
        if lacking.is_empty() {
            let text = format!("gives all {} rights that are needed", rights.len());
            findings.add(Grade::Ok, VAULT, text);
        }
        denied
    }

    /// Every rule that is needed, and who needs it. A mount whose version is not known counts as KV version 2.
    fn needed(&self, engines: &Engines) -> BTreeMap<Right, BTreeSet<String>> {
        let engine = |mount: &str| engines.get(mount).copied().unwrap_or(Engine::V2);
        let mut needed: BTreeMap<Right, BTreeSet<String>> = BTreeMap::new();
        let mut need = |right: Right, about: &str| {
            needed.entry(right).or_default().insert(about.to_owned());
        };
        for right in self.wired.own_rights() {
            need(right, VAULT);
        }
        for right in self.wired.ledger.rights() {
            need(right, "journal");
        }
        for (name, environment) in &self.settings.environments {
            let Some(auth) = &environment.auth else {
                continue;
            };
            let at = SecretPath {
                mount: auth.mount.clone(),
                path: auth.path.clone(),
            };
            need(assemble::reads(engine(&at.mount), &at), &title(name));
        }
        let accounts = self.settings.accounts.values();
        for account in accounts.filter(|account| self.uses(&account.client.service())) {
            let at = SecretPath {
                mount: account.auth.mount.clone(),
                path: account.auth.path.clone(),
            };
            let about = account.client.service();
            need(assemble::reads(engine(&at.mount), &at), &about);
        }
        for discovery in &self.settings.discoveries {
            let folder = SecretPath {
                mount: discovery.place().mount.clone(),
                path: discovery.folder.clone(),
            };
            let right = assemble::lists(engine(&folder.mount), &folder);
            need(right, &format!("discover {}", discovery.title()));
        }
        for secret in self.enabled() {
            let at = at(secret);
            for right in assemble::rotates(engine(&at.mount), &at) {
                need(right, &secret.plan.name);
            }
        }
        needed
    }

    /// A secret, or a folder in which secrets are found, has tokens of this issuer.
    pub(super) fn uses(&self, service: &str) -> bool {
        let mut folders = self.settings.discoveries.iter();
        self.enabled().any(|secret| secret.plan.service == service)
            || folders.any(|discovery| discovery.service() == service)
    }

    /// How many secrets there are below each folder of `discover`.
    pub(super) async fn discoveries(&self, findings: &mut Findings) {
        for discovery in &self.settings.discoveries {
            let about = format!("discover {}", discovery.title());
            let finder = self.settings.finder(discovery);
            match discovery::list_all(&self.wired.store, discovery).await {
                Ok(listed) => {
                    let all = listed.len();
                    let number = listed.iter().filter_map(|path| finder.secret(path)).count();
                    let text = format!(
                        "{number} of {all} secrets below the folder are examined: neither excluded, nor with a separate table"
                    );
                    findings.add(Grade::Ok, &about, text);
                }
                Err(error) => findings.add(grade(&error), &about, error.what),
            }
        }
    }

    /// Proves the token of `[notify.dynatrace]`: every token may look itself up, which opens no problem.
    pub(super) async fn notify_token(&self, findings: &mut Findings) {
        let Some(notify) = &self.settings.notify.dynatrace else {
            return;
        };
        let about = "[notify.dynatrace]";
        let token = match notify.token.read() {
            Ok(token) => token,
            Err(why) => return findings.add(Grade::Error, about, why.to_string()),
        };
        let issuer = self.wired.issuers.get(&notify.environment.client.name);
        let Some(environment) = issuer.and_then(|issuer| issuer.inner().environment()) else {
            let text = "the token was not looked up, because the environment has no management token; whether it works shows with the first event";
            return findings.add(Grade::Warn, about, text);
        };
        match environment.look_up_itself(&token).await {
            Ok(info) if info.scopes.iter().any(|scope| scope == "events.ingest") => {
                let text = format!("the token {} has events.ingest", info.id);
                findings.add(Grade::Ok, about, text);
            }
            Ok(info) => {
                let text = format!(
                    "the token {} lacks the scope events.ingest; give it the scope in Dynatrace",
                    info.id
                );
                findings.add(Grade::Error, about, text);
            }
            Err(error) => findings.add(grade(&error), about, error.what),
        }
    }
}

/// Where a secret stands.
pub(super) fn at(secret: &SecretSettings) -> SecretPath {
    SecretPath::from(&secret.plan.coordinates)
}
