//! The accounts: is the OAuth client accepted, which scope does it lack, and do the owners of platform tokens have room for what the schedules
//! need?

use std::collections::{BTreeMap, BTreeSet};

use crate::clock;
use crate::config::{SecretSettings, show_duration};
use rotation::marker::Marker;
use rotation::ports::TokenIssuer;
use rotation::size;
use rotation::token::{TokenId, TokenInfo};

use super::super::assemble::OwnerLoad;
use super::words::grade;
use super::{Findings, Grade, Inspector};

impl Inspector<'_> {
    /// Proves every account's OAuth client; returns the tokens of those that work, by the name of the account.
    pub(super) async fn accounts(
        &self,
        findings: &mut Findings,
    ) -> BTreeMap<String, Vec<TokenInfo>> {
        let mut listings = BTreeMap::new();
        for (service, issuer) in &self.wired.issuers {
            let account = issuer.inner().account();
            let Some(account) = account.filter(|_| self.uses(service)) else {
                continue;
            };
            if let Err(error) = account.check_client().await {
                findings.add(grade(&error), service, error.what);
                let missing = account.missing_scopes().await.unwrap_or_default();
                // A client that lacks all of them is not accepted at all.
                if missing.len() == 1 {
                    let text = format!(
                        "the OAuth client lacks the scope {}; the scopes of a client cannot be changed, so create another one in Account Management",
                        missing[0]
                    );
                    findings.add(Grade::Error, service, text);
                }
                continue;
            }
            match issuer.list_marked().await {
                Ok(tokens) => {
                    let text = format!(
                        "accepts the OAuth client; it has {} platform tokens",
                        tokens.len()
                    );
                    findings.add(Grade::Ok, service, text);
                    listings.insert(service.clone(), tokens);
                }
                Err(error) => findings.add(grade(&error), service, error.what),
            }
        }
        listings
    }

    /// Compares what the schedules need with what each owner may have. `held` = the secrets and their current tokens.
    pub(super) fn owners(
        &self,
        listings: &BTreeMap<String, Vec<TokenInfo>>,
        held: &[(&SecretSettings, &TokenInfo)],
        findings: &mut Findings,
    ) {
        let mut owners: BTreeMap<(&str, &str), Vec<&SecretSettings>> = BTreeMap::new();
        let current: BTreeSet<&TokenId> = held.iter().map(|(_, token)| &token.id).collect();
        for (secret, token) in held {
            if let Some(owner) = &token.owner
                && listings.contains_key(&secret.plan.service)
            {
                let key = (secret.plan.service.as_str(), owner.as_str());
                owners.entry(key).or_default().push(secret);
            }
        }
        for ((service, owner), secrets) in owners {
            let account = self.wired.issuers.get(service);
            let Some(account) = account.and_then(|issuer| issuer.inner().account()) else {
                continue;
            };
            let tokens = &listings[service];
            let load = OwnerLoad::count(owner, tokens, clock::now());
            let its = tokens
                .iter()
                .filter(|it| it.owner.as_deref() == Some(owner));
            let others = its
                .filter(|it| Marker::split(&it.name).1.is_none() && !current.contains(&it.id))
                .count();
            let needs = secrets.iter().map(|secret| needed(secret)).sum::<usize>() + 1;
            let limit = account.limit();
            let text = format!(
                "the owner {owner} has {}; its {} secrets need up to {needs} at one time, the one that is being made included, and {others} are of \
                 others",
                load.describe(limit, 0),
                secrets.len()
            );
            if needs + others <= limit {
                findings.add(Grade::Ok, service, text);
                continue;
            }
            let most = secrets.iter().max_by_key(|secret| needed(secret));
            let example = most.map_or(String::new(), |secret| {
                format!(
                    " ({} alone needs {}: every {}, each old token for up to {} and a quarantine of {})",
                    secret.plan.name,
                    needed(secret),
                    show_duration(secret.shortest_gap),
                    show_duration(size::longest_grace(&secret.plan)),
                    show_duration(secret.plan.quarantine)
                )
            });
            let text = format!(
                "{text}{example}. At the limit nothing is rotated: rotate less often, shorten max_grace or quarantine, delete tokens that nobody uses, \
                 or give secrets to another owner"
            );
            findings.add(Grade::Error, service, text);
        }
    }
}

/// The tokens of a secret at one time.
fn needed(secret: &SecretSettings) -> usize {
    1 + size::retiring_at_once(&secret.plan, secret.shortest_gap)
}
