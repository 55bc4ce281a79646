//! What the thin program shows to outside checks: tokens without their values, whether given values work now, the history.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::calls::{Call, lock};
use crate::dynatrace::Environment;
use crate::message::{Incoming, Reply};
use crate::server::{Performing, Service, Site};

/// Serves `/_simulator/tokens`, `/_simulator/check` and `/_simulator/history` over all environments.
pub(crate) struct Admin {
    environments: Vec<Arc<Environment>>,
    site: Site,
}

impl Admin {
    pub(crate) fn new(environments: Vec<Arc<Environment>>, site: Site) -> Admin {
        Admin { environments, site }
    }

    fn tokens(&self) -> Value {
        let mut list = Vec::new();
        for environment in &self.environments {
            let mut table = lock(&environment.table);
            table.purge();
            list.extend(table.snapshot().into_iter().map(|token| {
                json!({
                    "environment": environment.prefix,
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
                let table = lock(&environment.table);
                let token = table.by_value(value)?;
                let valid = table.authenticates(value, now).is_some();
                Some(json!({ "known": true, "valid": valid, "id": token.id, "name": token.name }))
            });
            Some(found.unwrap_or_else(|| json!({ "known": false, "valid": false })))
        };
        let results: Option<Vec<Value>> = body.get("values")?.as_array()?.iter().map(one).collect();
        Some(json!({ "now": now, "results": results? }))
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
            (_, "/_simulator/tokens" | "/_simulator/history" | "/_simulator/check") => {
                Reply::empty(405)
            }
            _ => Reply::empty(404),
        }
    }
}
