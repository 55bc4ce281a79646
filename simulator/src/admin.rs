//! What the thin program shows to outside checks: tokens without their values, whether given values work now, the history.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::account::Account;
use crate::account::table::Acceptance;
use crate::calls::{Call, Operation, lock};
use crate::dynatrace::Environment;
use crate::dynatrace::route::Kind;
use crate::fault::{Action, Rule};
use crate::message::{Incoming, Reply};
use crate::server::{Performing, Service, Site};

/// A rule as it is sent to `/_simulator/faults`, e.g. `{"operation":"CreateToken","share":0.05,"seed":1,"action":
/// {"swap_answer":{"secs":1,"nanos":0}}}`. Times and names are those of [`Rule`] and [`Action`], in snake case.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedFault {
    /// The prefix of one environment, or `account`; all unless given.
    environment: Option<String>,
    /// Any unless given.
    operation: Option<Operation>,
    v1: Option<bool>,
    about: Option<String>,
    nth: Option<usize>,
    /// Once unless given; with a share until removed.
    times: Option<usize>,
    share: Option<f64>,
    #[serde(default)]
    seed: u64,
    action: Action,
}

impl WantedFault {
    fn rule(&self) -> Rule {
        let mut rule = self.operation.map_or_else(Rule::any, Rule::on);
        if let Some(v1) = self.v1 {
            rule = rule.v1(v1);
        }
        if let Some(part) = &self.about {
            rule = rule.about(part);
        }
        if let Some(nth) = self.nth {
            rule = rule.nth(nth);
        }
        if let Some(share) = self.share {
            rule = rule.share(share, self.seed);
        }
        if let Some(times) = self.times {
            rule = rule.times(times);
        }
        rule.then(self.action.clone())
    }
}

/// Serves `/_simulator/{tokens,check,history}` over all environments and the account, takes rules at `/_simulator/faults` (POST
/// adds one, DELETE takes all out of force), and lets all environments opt in at `/_simulator/retire-classic-tokens` (POST).
pub(crate) struct Admin {
    environments: Vec<Arc<Environment>>,
    account: Option<Arc<Account>>,
    site: Site,
}

impl Admin {
    pub(crate) fn new(
        environments: Vec<Arc<Environment>>,
        account: Option<Arc<Account>>,
        site: Site,
    ) -> Admin {
        Admin {
            environments,
            account,
            site,
        }
    }

    fn tokens(&self) -> Value {
        let mut list = Vec::new();
        for environment in &self.environments {
            let mut table = lock(&environment.table);
            table.purge();
            list.extend(table.snapshot().into_iter().map(|token| {
                json!({
                    "environment": environment.prefix,
                    "kind": if environment.kind == Kind::Cluster { "cluster" } else { "api" },
                    "id": token.id,
                    "name": token.name,
                    "owner": token.owner,
                    "enabled": token.enabled,
                    "created": token.created,
                    "expires": token.expires,
                    "last_used": token.last_used,
                    "last_used_ip": token.last_used_ip,
                })
            }));
            let active_gates = lock(&environment.active_gates).table.snapshot();
            list.extend(active_gates.into_iter().map(|token| {
                json!({
                    "environment": environment.prefix,
                    "kind": "activegate",
                    "id": token.id,
                    "name": token.name,
                    "owner": token.owner,
                    "created": token.created,
                    "expires": token.expires,
                    "last_used": token.last_used,
                })
            }));
        }
        if let Some(account) = &self.account {
            list.extend(lock(&account.state).table.iter().map(|token| {
                json!({
                    "account": account.uuid,
                    "kind": "platform",
                    "id": token.id,
                    "name": token.name,
                    "owner": token.owner,
                    "enabled": token.enabled,
                    "expires": token.expires,
                    "last_used": token.last_used,
                    "last_used_ip": token.last_used_ip,
                })
            }));
        }
        json!({ "now": self.site.clock.now(), "tokens": list })
    }

    fn history(&self) -> Value {
        let mut list = Vec::new();
        for environment in &self.environments {
            let table = lock(&environment.table);
            list.extend(
                table
                    .history()
                    .iter()
                    .map(|change| json!({ "environment": environment.prefix, "change": change })),
            );
            let active_gates = lock(&environment.active_gates);
            list.extend(
                active_gates
                    .table
                    .history()
                    .iter()
                    .map(|change| json!({ "environment": environment.prefix, "change": change })),
            );
        }
        if let Some(account) = &self.account {
            let state = lock(&account.state);
            list.extend(
                state
                    .table
                    .history()
                    .iter()
                    .map(|change| json!({ "account": account.uuid, "change": change })),
            );
        }
        json!({ "history": list })
    }

    /// `{"values":[...]}` in, one answer for each out, in order; the values are not repeated.
    fn check(&self, incoming: &Incoming) -> Option<Value> {
        let body: Value = serde_json::from_slice(&incoming.body).ok()?;
        let now = self.site.clock.now();
        let one = |value: &Value| {
            let value = value.as_str()?;
            let found = self.environments.iter().find_map(|environment| {
                let valid = environment.accepts(value);
                let table = lock(&environment.table);
                let gates = lock(&environment.active_gates);
                let token = table
                    .by_value(value)
                    .or_else(|| gates.table.by_value(value))?;
                Some(json!({ "known": true, "valid": valid, "id": token.id, "name": token.name }))
            });
            let platform = || {
                let state = lock(&self.account.as_ref()?.state);
                let token = state.table.by_value(value)?;
                let valid = token.acceptance(now, now) == Acceptance::Accepted;
                Some(json!({ "known": true, "valid": valid, "id": token.id, "name": token.name }))
            };
            Some(
                found
                    .or_else(platform)
                    .unwrap_or_else(|| json!({ "known": false, "valid": false })),
            )
        };
        let results: Option<Vec<Value>> = body.get("values")?.as_array()?.iter().map(one).collect();
        Some(json!({ "now": now, "results": results? }))
    }
}

impl Admin {
    /// False when there is no such environment.
    fn add_fault(&self, wanted: &WantedFault) -> bool {
        let account = wanted.environment.as_deref() == Some("account");
        let mut found = account && self.account.is_some();
        if let Some(own) = &self.account
            && (account || wanted.environment.is_none())
        {
            own.site.faults.add(wanted.rule());
        }
        for environment in &self.environments {
            let prefix = wanted.environment.as_ref();
            if prefix.is_none_or(|prefix| *prefix == environment.prefix) {
                environment.site.faults.add(wanted.rule());
                found = true;
            }
        }
        found
    }
}

impl Service for Admin {
    fn site(&self) -> &Site {
        &self.site
    }

    fn describe(&self, incoming: &Incoming) -> Call {
        crate::server::call(&self.site.clock, incoming, incoming.path.clone())
    }

    fn perform<'a>(&'a self, incoming: &'a Incoming) -> Performing<'a> {
        Box::pin(std::future::ready(self.answer(incoming)))
    }

    fn too_large(&self) -> Reply {
        Reply::empty(413)
    }
}

impl Admin {
    fn answer(&self, incoming: &Incoming) -> Reply {
        let json = |body: &Value| Reply::json(200, "application/json", body);
        match (incoming.method.as_str(), incoming.path.as_str()) {
            ("GET", "/_simulator/tokens") => json(&self.tokens()),
            ("GET", "/_simulator/history") => json(&self.history()),
            ("POST", "/_simulator/check") => {
                let refused =
                    || Reply::text(400, "text/plain", "expected {\"values\":[\"...\"]}\n");
                self.check(incoming).as_ref().map_or_else(refused, json)
            }
            ("POST", "/_simulator/faults") => {
                match serde_json::from_slice::<WantedFault>(&incoming.body) {
                    Ok(wanted) if self.add_fault(&wanted) => Reply::empty(204),
                    Ok(_) => Reply::text(400, "text/plain", "no such environment\n"),
                    Err(error) => Reply::text(400, "text/plain", &format!("{error}\n")),
                }
            }
            ("POST", "/_simulator/retire-classic-tokens") => {
                for environment in &self.environments {
                    lock(&environment.settings).retire_classic_tokens();
                }
                Reply::empty(204)
            }
            ("DELETE", "/_simulator/faults") => {
                for environment in &self.environments {
                    environment.site.faults.clear();
                }
                if let Some(account) = &self.account {
                    account.site.faults.clear();
                }
                Reply::empty(204)
            }
            (
                _,
                "/_simulator/tokens"
                | "/_simulator/history"
                | "/_simulator/check"
                | "/_simulator/retire-classic-tokens"
                | "/_simulator/faults",
            ) => Reply::empty(405),
            _ => Reply::empty(404),
        }
    }
}
