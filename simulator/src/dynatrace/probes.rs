//! What a platform token can be tried on. Each answers an accepted token, or 403 without the scope; no call is known that any
//! platform token may make.

use serde_json::{Value, json};

use super::body::{self, Fields, Violation};
use super::route::Probe;
use super::table::Token;
use super::{Environment, needs};
use crate::message::{Incoming, Reply};

/// Permissions in one question.
const MOST: usize = 100;

pub(crate) fn answer(
    environment: &Environment,
    caller: &Token,
    probe: Probe,
    incoming: &Incoming,
) -> Result<Reply, Reply> {
    let allowed: &[&str] = match probe {
        Probe::Environment | Probe::Permissions => {
            &["app-engine:apps:run", "app-engine:functions:run"]
        }
        Probe::User => &["app-engine:apps:run"],
        Probe::Documents => &["document:documents:read"],
        Probe::Workflows => &["automation:workflows:read"],
        Probe::Settings => &["settings:objects:read"],
    };
    needs(caller, allowed, "Platform")?;
    let found = match probe {
        Probe::Environment => json!({ "environmentId": environment.id }),
        Probe::User => json!({ "userId": caller.owner, "userName": "", "emailAddress": "" }),
        Probe::Documents => json!({ "documents": [], "totalCount": 0 }),
        Probe::Workflows => json!({ "results": [], "count": 0, "next": null }),
        Probe::Settings => json!({ "items": [], "totalCount": 0, "pageSize": 100 }),
        Probe::Permissions => return effective_permissions(caller, incoming),
    };
    Ok(body::ok(&found))
}

fn effective_permissions(caller: &Token, incoming: &Incoming) -> Result<Reply, Reply> {
    let mut fields = Fields::read(incoming)?;
    let asked = fields.value("permissions");
    let list = asked
        .as_ref()
        .and_then(Value::as_array)
        .filter(|list| list.len() <= MOST);
    let names: Option<Vec<&str>> =
        list.and_then(|list| list.iter().map(|one| one["permission"].as_str()).collect());
    if names.is_none() {
        let message = "must be a list of at most 100 permissions";
        fields.violation(Violation::body("permissions", message));
    }
    fields.finish()?;
    let answers: Vec<Value> = names
        .unwrap_or_default()
        .into_iter()
        .map(|permission| {
            let granted = if permission.starts_with("settings:") {
                "condition"
            } else if caller.has(permission) {
                "true"
            } else {
                "false"
            };
            json!({ "permission": permission, "granted": granted })
        })
        .collect();
    Ok(body::ok(&Value::Array(answers)))
}
