//! The management tokens of the environments.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::clock;
use rotation::ports::SecretPath;
use rotation::token::TokenInfo;

use super::super::assemble::{add_in_dynatrace, scopes_in_words};
use super::words::{ends, grade, rough, rough_time, title};
use super::{Findings, Grade, Inspector};

/// A management token that ends sooner is worth a warning: long enough to replace it without haste.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

impl Inspector<'_> {
    /// Verifies every management token and returns those that work.
    pub(super) async fn environments(
        &self,
        findings: &mut Findings,
    ) -> BTreeMap<String, TokenInfo> {
        let mut managers = BTreeMap::new();
        let environments = self.settings.environments.iter();
        let managed = environments.filter(|(name, environment)| {
            environment.auth.is_some() && self.settings.is_in_use(name)
        });
        for (name, _) in managed {
            match self.wired.management_token(name).await {
                Ok(None) => {}
                Ok(Some(info)) => {
                    self.manager(name, &info, findings);
                    self.manager_value(name, findings).await;
                    managers.insert(name.clone(), info);
                }
                Err(error) => findings.add(grade(&error), &title(name), error.what),
            }
        }
        managers
    }

    fn manager_rotates(&self, environment: &str) -> bool {
        self.enabled().any(|secret| {
            secret.plan.manages_tokens && secret.plan.coordinates.environment == environment
        })
    }

    /// Vault may delete the management token's value automatically.
    async fn manager_value(&self, name: &str, findings: &mut Findings) {
        let Some(auth) = &self.settings.environments[name].auth else {
            return;
        };
        let place = SecretPath {
            mount: auth.mount.clone(),
            path: auth.path.clone(),
        };
        // What cannot be read was reported with the token, and the end of a secret's value is reported with the secret.
        if !self.manager_rotates(name)
            && let Ok(Some(ends)) = self.wired.store.ends(&place).await
        {
            let text = format!(
                "Vault will delete the management token's value in {}/{} at {} (delete_version_after), and then nothing works in this \
                 environment; set delete_version_after of the secret and the mount to 0s and write the value again",
                place.mount,
                place.path,
                rough_time(ends)
            );
            findings.add(Grade::Warn, &title(name), text);
        }
    }

    fn manager(&self, name: &str, info: &TokenInfo, findings: &mut Findings) {
        let about = title(name);
        let id = &info.id;
        let rotates = self.manager_rotates(name);
        let missing = match self.wired.issuer(name) {
            Ok(issuer) => match issuer.inner().environment() {
                Some(environment) => environment.lacks(info),
                None => vec![],
            },
            Err(error) => return findings.add(grade(&error), &about, error.what),
        };
        let owner = info.owner.as_deref().unwrap_or("an unknown owner");
        let known = format!("the management token {id} of {owner}");
        if missing.is_empty() {
            let scopes = info.scopes.join(", ");
            let text = format!("{known} has {scopes}; it {}", ends(info));
            findings.add(Grade::Ok, &about, text);
        } else {
            let text = format!(
                "{known} lacks the {}; {}",
                scopes_in_words(&missing),
                add_in_dynatrace(&missing)
            );
            findings.add(Grade::Error, &about, text);
        }
        let itself = "list it as a [[secret]], so that it is rotated in time";
        if info.personal {
            let text = format!(
                "{known} is a personal access token, which can delete only tokens of its owner and ends with the account; use an API \
                 token"
            );
            findings.add(Grade::Warn, &about, text);
        }
        match info.expires {
            _ if rotates => {}
            None => findings.add(
                Grade::Warn,
                &about,
                format!("{known} never expires; {itself}, with a `lifetime`"),
            ),
            Some(at) if left(at) < SOON => findings.add(
                Grade::Warn,
                &about,
                format!(
                    "{known} ends in {}; replace it, or {itself}",
                    rough(left(at))
                ),
            ),
            Some(_) => {}
        }
    }
}

fn left(at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(clock::now())).unwrap_or_default()
}
