//! The issuers of ActiveGate tokens: does the management token of the environment list them, and which scope does it lack?

use std::collections::{BTreeMap, BTreeSet};

use crate::config::Environment;
use rotation::token::{TokenId, TokenInfo};

use super::super::assemble::{ActiveGates, add_in_dynatrace, scopes_in_words};
use super::words::grade;
use super::{Findings, Grade, Inspector};

impl Inspector<'_> {
    /// Proves that ActiveGate tokens can be managed where a secret has one. Returns the issuers that answer; an API token that manages them
    /// is added to `managers`. `accounts` = the platform tokens of the accounts.
    pub(super) async fn active_gates(
        &self,
        accounts: &BTreeMap<String, Vec<TokenInfo>>,
        managers: &mut BTreeMap<String, TokenInfo>,
        findings: &mut Findings,
    ) -> BTreeSet<String> {
        let mut usable = BTreeSet::new();
        for (name, environment) in &self.settings.environments {
            let Some(place) = environment
                .active_gates()
                .filter(|it| self.uses(&it.service))
            else {
                continue;
            };
            let service = place.service.as_str();
            let issuer = self.wired.issuers.get(service);
            let Some(gates) = issuer.and_then(|issuer| issuer.inner().active_gates()) else {
                continue;
            };
            let access = gates.check_access().await;
            let platform_token = match gates.platform_token().await {
                Ok(id) => id,
                Err(error) => {
                    findings.add(grade(&error), service, error.what);
                    continue;
                }
            };
            let manager = match &platform_token {
                Some(id) => self.platform_token(environment, id, accounts),
                None => self.api_token(name).await,
            };
            let missing = manager.as_ref().map(|manager| {
                ActiveGates::scopes_missing(&manager.scopes, platform_token.is_some())
            });
            match (&access, missing, &manager) {
                (_, Some(missing), Some(manager)) if !missing.is_empty() => {
                    let text = format!(
                        "the management token {} lacks the {}, which ActiveGate tokens need; {}",
                        manager.id,
                        scopes_in_words(&missing),
                        add_in_dynatrace(&missing)
                    );
                    findings.add(Grade::Error, service, text);
                }
                (Err(error), ..) => findings.add(grade(error), service, error.what.clone()),
                (Ok(()), Some(_), Some(manager)) => {
                    let text = format!("accepts the management token {}", manager.id);
                    findings.add(Grade::Ok, service, text);
                }
                (Ok(()), ..) => {
                    let text = format!(
                        "lists ActiveGate tokens; whether the management token may also create and delete them shows with the first rotation. A \
                         platform token needs {}",
                        ActiveGates::platform_scopes().join(", ")
                    );
                    findings.add(Grade::Ok, service, text);
                }
            }
            if access.is_ok() {
                usable.insert(service.to_owned());
                if let Some(manager) = manager.filter(|_| platform_token.is_none()) {
                    managers.insert(service.to_owned(), manager);
                }
            }
        }
        usable
    }

    /// What the environment reports about its management token; an environment that has ended its API tokens reports nothing.
    async fn api_token(&self, environment: &str) -> Option<TokenInfo> {
        let issuer = self.wired.issuers.get(environment)?;
        let info = issuer.inner().environment()?.management_info().await;
        info.ok()
    }

    /// The same of a platform token, where the account that made it is configured.
    fn platform_token(
        &self,
        environment: &Environment,
        id: &TokenId,
        accounts: &BTreeMap<String, Vec<TokenInfo>>,
    ) -> Option<TokenInfo> {
        let account = self.settings.accounts.get(environment.account.as_ref()?)?;
        let tokens = accounts.get(&account.client.service())?;
        tokens.iter().find(|token| token.id == *id).cloned()
    }
}
