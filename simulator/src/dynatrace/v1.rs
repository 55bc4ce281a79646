//! Tokens API v1: `/api/v1/tokens`. Deprecated, but what older environments have. The cluster tokens API of Managed has the
//! same shapes; there one scope is needed for every call.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::body::{self, Fields, Violation};
use super::history::Actor;
use super::route::{Kind, Route};
use super::settings::Call;
use super::table::{NewToken, Table, Token};
use super::{Environment, deletable, may_delete, needs, scopes};
use crate::message::{Incoming, Reply};

const DEFAULT_LIMIT: usize = 1000;
const MAX_LIMIT: usize = 1_000_000;

pub(crate) fn answer(
    environment: &Environment,
    table: &mut Table,
    caller: &Token,
    route: &Route,
    incoming: &Incoming,
) -> Result<Reply, Reply> {
    let cluster = environment.kind == Kind::Cluster;
    if cluster {
        needs(caller, &[scopes::MANAGE_CLUSTER], "Token management")?;
    }
    if *route == Route::Lookup {
        environment.open_for(Call::LookUp)?;
        return lookup(environment, table, incoming);
    }
    if !cluster {
        needs(caller, &[scopes::MANAGE_V1], "Token management")?;
    }
    match (incoming.method.as_str(), route) {
        ("GET", Route::Tokens) => {
            environment.open_for(Call::List)?;
            list(table, incoming)
        }
        ("GET", Route::Token(id)) => {
            environment.open_for(Call::LookUp)?;
            let token = table.get(id).filter(|token| token.found());
            Ok(token.map_or_else(
                || environment.not_found(),
                |token| body::ok(&metadata(environment, token)),
            ))
        }
        ("POST", Route::Tokens) => {
            environment.open_for(Call::Create)?;
            create(environment, table, caller, incoming)
        }
        ("PUT", Route::Token(id)) => {
            environment.open_for(Call::Change)?;
            update(environment, table, caller, id, incoming)
        }
        ("DELETE", Route::Token(segment)) => {
            environment.open_for(Call::Change)?;
            let Some(token) = deletable(table, segment).cloned() else {
                return Ok(environment.not_found());
            };
            may_delete(caller, &token)?;
            table.delete(&token.id, Actor::Token(caller.id.clone()));
            Ok(Reply::empty(204))
        }
        _ => Err(body::error(405, "HTTP 405 Method Not Allowed")),
    }
}

fn lookup(environment: &Environment, table: &Table, incoming: &Incoming) -> Result<Reply, Reply> {
    let mut fields = Fields::read(incoming)?;
    let value = fields.string("token");
    let value = fields.required("token", value);
    fields.finish()?;
    let token = value
        .and_then(|value| table.by_value(&value))
        .filter(|token| token.found());
    Ok(token.map_or_else(
        || environment.not_found(),
        |token| body::ok(&metadata(environment, token)),
    ))
}

#[derive(Default)]
struct Filter {
    limit: Option<usize>,
    user: Option<String>,
    permissions: Vec<String>,
    used_from: Option<Timestamp>,
    used_to: Option<Timestamp>,
}

impl Filter {
    fn take(&mut self, key: &str, value: &str) -> Result<(), &'static str> {
        let instant = || {
            let millis: i64 = value.parse().map_err(|_| "must be UTC milliseconds")?;
            Timestamp::from_millisecond(millis)
                .map(Some)
                .map_err(|_| "must be UTC milliseconds")
        };
        match key {
            "limit" => {
                let limit = value
                    .parse()
                    .ok()
                    .filter(|limit| (1..=MAX_LIMIT).contains(limit));
                self.limit = Some(limit.ok_or("must be between 1 and 1000000")?);
            }
            "user" => self.user = Some(value.to_owned()),
            "permissions" => self.permissions.push(value.to_owned()),
            "from" => self.used_from = instant()?,
            "to" => self.used_to = instant()?,
            _ => return Err("is not a parameter of this operation"),
        }
        Ok(())
    }

    fn selects(&self, token: &Token) -> bool {
        self.user.as_ref().is_none_or(|user| *user == token.owner)
            && self.permissions.iter().all(|scope| token.has(scope))
            && self
                .used_from
                .is_none_or(|from| token.last_used.is_some_and(|at| at >= from))
            && self
                .used_to
                .is_none_or(|to| token.last_used.is_some_and(|at| at <= to))
    }
}

fn list(table: &Table, incoming: &Incoming) -> Result<Reply, Reply> {
    let mut filter = Filter::default();
    let mut violations = Vec::new();
    for (key, value) in incoming.query_pairs() {
        if let Err(message) = filter.take(&key, &value) {
            violations.push(Violation::query(&key, message));
        }
    }
    if !violations.is_empty() {
        return Err(body::violated(&violations));
    }
    let mut tokens: Vec<&Token> = table
        .iter()
        .filter(|token| token.listed() && filter.selects(token))
        .collect();
    tokens.sort_by_key(|token| std::cmp::Reverse(token.order));
    let mut values: Vec<Value> = tokens
        .into_iter()
        .take(filter.limit.unwrap_or(DEFAULT_LIMIT))
        .map(|token| json!({ "id": token.id, "name": token.name }))
        .collect();
    if incoming.overrides.short_list {
        values.truncate(values.len() / 2);
    }
    Ok(body::ok(&json!({ "values": values })))
}

/// The schema says epoch milliseconds, the examples show text: both come.
pub(crate) fn metadata(environment: &Environment, token: &Token) -> Value {
    let time = |at: Timestamp| {
        if environment.either() {
            json!(at.as_millisecond())
        } else {
            json!(environment.text(at))
        }
    };
    let mut object = json!({
        "id": token.id,
        "name": token.name,
        "userId": token.owner,
        "created": time(token.created),
        "revoked": !token.enabled,
        "personalAccessToken": token.personal,
        "scopes": token.scopes,
    });
    if let Some(expires) = token.expires {
        object["expires"] = time(expires);
    }
    if let Some(last_used) = token.last_used {
        object["lastUse"] = time(last_used);
    }
    object
}

fn create(
    environment: &Environment,
    table: &mut Table,
    caller: &Token,
    incoming: &Incoming,
) -> Result<Reply, Reply> {
    let mut fields = Fields::read(incoming)?;
    let now = environment.site.clock.now();
    let name = fields.name();
    let name = fields.required("name", name);
    let asked = environment.creatable_scopes(&mut fields);
    let asked = fields.required("scopes", asked);
    let expires = match fields.value("expiresIn") {
        None => None,
        Some(value) => match expires_in(&value) {
            Ok(lasts) => now.checked_add(lasts).ok(),
            Err(message) => {
                fields.violation(Violation::body("expiresIn", message));
                None
            }
        },
    };
    fields.finish()?;
    let (Some(name), Some(scopes)) = (name, asked) else {
        return Err(body::error(400, "Could not map JSON"));
    };
    let new = NewToken {
        name: incoming.overrides.name(name),
        owner: caller.owner.clone(),
        scopes,
        personal: false,
        enabled: true,
        created: now,
        expires,
        hidden: incoming.overrides.hide,
        active_gate: None,
    };
    let token = table.create(new, Actor::Token(caller.id.clone()));
    Ok(created(token, incoming))
}

pub(crate) fn created(token: &Token, incoming: &Incoming) -> Reply {
    if asks_for_text(incoming) {
        return Reply {
            created: Some(token.id.clone()),
            ..Reply::text(201, "text/plain", &token.value)
        };
    }
    body::created(&json!({ "token": token.value }), &token.id)
}

/// `{value, unit}`; without a unit the value is in milliseconds.
fn expires_in(value: &Value) -> Result<SignedDuration, &'static str> {
    let object = value.as_object().ok_or("must be an object")?;
    let count = object
        .get("value")
        .and_then(Value::as_i64)
        .filter(|count| *count > 0);
    let count = count.ok_or("value must be a positive integer")?;
    let millis_per_unit = match object.get("unit").map_or(Some("MILLIS"), Value::as_str) {
        Some("DAYS") => 86_400_000,
        Some("HOURS") => 3_600_000,
        Some("MINUTES") => 60_000,
        Some("SECONDS") => 1000,
        Some("MILLIS") => 1,
        _ => return Err("unit must be one of DAYS, HOURS, MINUTES, SECONDS, MILLIS"),
    };
    let millis = count
        .checked_mul(millis_per_unit)
        .ok_or("value is too large")?;
    Ok(SignedDuration::from_millis(millis))
}

/// The answer is text for a client that accepts text and not JSON.
fn asks_for_text(incoming: &Incoming) -> bool {
    let accept = incoming.header("accept").unwrap_or("*/*");
    accept.contains("text/plain") && !accept.contains("application/json")
}

fn update(
    environment: &Environment,
    table: &mut Table,
    caller: &Token,
    id: &str,
    incoming: &Incoming,
) -> Result<Reply, Reply> {
    let mut fields = Fields::read(incoming)?;
    let revoked = fields.boolean("revoked");
    let name = fields.name();
    let scopes = fields.scopes(environment.creatable());
    fields.finish()?;
    if id == caller.id {
        return Err(body::error(
            400,
            "The token used for authentication can not be updated",
        ));
    }
    if table.get(id).is_none_or(|token| !token.found()) {
        return Ok(environment.not_found());
    }
    let by = || Actor::Token(caller.id.clone());
    if let Some(name) = name {
        table.rename(id, &incoming.overrides.name(name), by());
    }
    if let Some(scopes) = scopes {
        table.set_scopes(id, scopes, by());
    }
    if let Some(revoked) = revoked {
        table.set_enabled(id, !revoked, by());
    }
    Ok(Reply::empty(204))
}
