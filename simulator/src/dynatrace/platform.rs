//! Platform tokens at an environment: whether one is accepted, and the two calls by which it can prove itself.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::body::{self, Fields, Violation};
use super::route::Route;
use super::table::Token;
use super::{Environment, needs, scopes};
use crate::account::table::Acceptance;
use crate::calls::lock;
use crate::message::{Incoming, Reply};

/// Permissions in one question.
const MOST: usize = 100;

/// The platform token that makes this call, noted as used now, or the client of an access token. 401 for a value that does
/// not exist, 403 for a platform token that is disabled, expired or not for this environment.
pub(crate) fn authenticated(
    environment: &Environment,
    incoming: &Incoming,
    now: Timestamp,
) -> Result<Token, Reply> {
    let unknown = || body::error(401, "Token Authentication failed");
    let account = environment.account.as_ref().ok_or_else(unknown)?;
    let mut state = lock(&account.state);
    if let Some(session) = state.oauth.live_session(incoming, now) {
        let (client, owner) = (session.client.clone(), session.owner.clone());
        return Ok(caller(client, owner, session.scopes.clone(), now));
    }
    let value = incoming.bearer().ok_or_else(unknown)?;
    let token = state.table.by_value(value).ok_or_else(unknown)?.clone();
    let resource = format!("urn:dtenvironment:{}", environment.id);
    match token.acceptance(now) {
        Acceptance::Unknown => return Err(unknown()),
        Acceptance::Accepted if token.resources.contains(&resource) => {}
        _ => return Err(body::error(403, "SSO authentication failed")),
    }
    state.table.touch(&token.id, incoming.peer, now);
    let allowed = state
        .table
        .users
        .get(&token.owner)
        .and_then(|user| user.allowed.as_ref());
    let mut scopes = token.scopes.clone();
    scopes.retain(|scope| allowed.is_none_or(|allowed| allowed.contains(scope)));
    Ok(caller(token.id, token.owner, scopes, now))
}

/// Who makes a call, with the classic scopes that the platform scopes stand for.
fn caller(id: String, owner: String, mut scopes: Vec<String>, now: Timestamp) -> Token {
    let classic: Vec<String> = scopes
        .iter()
        .filter_map(|scope| scopes::classic(scope))
        .map(str::to_owned)
        .collect();
    scopes.extend(classic);
    Token {
        id,
        value: String::new(),
        name: String::new(),
        owner,
        scopes,
        enabled: true,
        personal: false,
        created: now,
        modified: None,
        expires: None,
        last_used: None,
        last_used_ip: None,
        hidden: None,
        order: 0,
        active_gate: None,
    }
}

pub(crate) fn answer(
    environment: &Environment,
    caller: &Token,
    route: &Route,
    incoming: &Incoming,
) -> Result<Reply, Reply> {
    let allowed = ["app-engine:apps:run", "app-engine:functions:run"];
    needs(caller, &allowed, "Run apps")?;
    match route {
        Route::EnvironmentInfo => Ok(body::ok(&json!({ "environmentId": environment.id }))),
        _ => effective_permissions(caller, incoming),
    }
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
