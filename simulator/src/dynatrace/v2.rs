//! Access tokens API v2: `/api/v2/apiTokens`.

use serde_json::json;

use super::body::{self, Fields, Violation};
use super::history::Actor;
use super::route::{Route, Target};
use super::settings::Call;
use super::table::{NewToken, Table, Token};
use super::{Environment, deletable, list, may_delete, needs, scopes, time};
use crate::message::{Incoming, Reply};

pub(crate) fn answer(
    environment: &Environment,
    table: &mut Table,
    caller: &Token,
    target: &Target,
    incoming: &Incoming,
) -> Result<Reply, Reply> {
    match (incoming.method.as_str(), &target.route) {
        ("POST", Route::Lookup) => {
            // Any scope is enough for an API token.
            if target.bearer {
                may_read(caller)?;
            }
            environment.open_for(Call::LookUp)?;
            lookup(environment, table, incoming)
        }
        ("GET", Route::Tokens) => {
            may_read(caller)?;
            environment.open_for(Call::List)?;
            list::answer(environment, table, incoming)
        }
        ("GET", Route::Token(id)) => {
            may_read(caller)?;
            environment.open_for(Call::LookUp)?;
            Ok(visible(table, id).map_or_else(body::not_found, |token| {
                body::ok(&list::shown_whole(environment, token))
            }))
        }
        ("POST", Route::Tokens) => {
            may_write(caller)?;
            environment.open_for(Call::Create)?;
            create(environment, table, caller, incoming)
        }
        ("PUT", Route::Token(id)) => {
            may_write(caller)?;
            environment.open_for(Call::Change)?;
            update(table, caller, id, incoming)
        }
        ("DELETE", Route::Token(segment)) => {
            may_write(caller)?;
            environment.open_for(Call::Change)?;
            let Some(token) = deletable(table, segment).cloned() else {
                return Ok(body::not_found());
            };
            may_delete(caller, &token)?;
            table.delete(&token.id, Actor::Token(caller.id.clone()));
            Ok(Reply::empty(204))
        }
        _ => Err(body::error(405, "HTTP 405 Method Not Allowed")),
    }
}

fn may_read(caller: &Token) -> Result<(), Reply> {
    needs(caller, &[scopes::READ], "Read API tokens")
}

fn may_write(caller: &Token) -> Result<(), Reply> {
    needs(caller, &[scopes::WRITE], "Write API tokens")
}

fn visible<'a>(table: &'a Table, id: &str) -> Option<&'a Token> {
    table.get(id).filter(|token| token.found())
}

fn lookup(environment: &Environment, table: &Table, incoming: &Incoming) -> Result<Reply, Reply> {
    let mut fields = Fields::read(incoming)?;
    let value = fields.string("token");
    let value = fields.required("token", value);
    fields.finish()?;
    let token = value
        .and_then(|value| table.by_value(&value))
        .filter(|token| token.found());
    Ok(token.map_or_else(body::not_found, |token| {
        body::ok(&list::shown_whole(environment, token))
    }))
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
    let personal = fields.boolean("personalAccessToken").unwrap_or(false);
    if personal && !table.pat_enabled {
        fields.violation(Violation::body(
            "personalAccessToken",
            "Personal access tokens are disabled",
        ));
    }
    let expires = fields.string("expirationDate").and_then(|text| {
        let instant = time::parse(&text, now);
        match instant {
            None => fields.violation(Violation::body("expirationDate", "is not a valid time")),
            Some(at) if at <= now => {
                fields.violation(Violation::body("expirationDate", "must be in the future"))
            }
            Some(_) => {}
        }
        instant
    });
    fields.finish()?;
    let (Some(name), Some(scopes)) = (name, asked) else {
        return Err(body::error(400, "Could not map JSON"));
    };
    let new = NewToken {
        name: incoming.overrides.name(name),
        owner: caller.owner.clone(),
        scopes,
        personal,
        enabled: true,
        created: now,
        expires,
        hidden: incoming.overrides.hide,
        active_gate: None,
    };
    let token = table.create(new, Actor::Token(caller.id.clone()));
    Ok(created(environment, token))
}

pub(crate) fn created(environment: &Environment, token: &Token) -> Reply {
    let mut answer = json!({ "id": token.id, "token": token.value });
    if let Some(expires) = token.expires {
        answer["expirationDate"] = json!(environment.text(expires));
    }
    body::created(&answer, &token.id)
}

fn update(
    table: &mut Table,
    caller: &Token,
    id: &str,
    incoming: &Incoming,
) -> Result<Reply, Reply> {
    let mut fields = Fields::read(incoming)?;
    let enabled = fields.boolean("enabled");
    let name = fields.name();
    let scopes = fields.scopes(&scopes::CREATABLE);
    if enabled == Some(false) && id == caller.id {
        fields.violation(Violation::body(
            "enabled",
            "The token used for authentication can not be disabled",
        ));
    }
    fields.finish()?;
    if visible(table, id).is_none() {
        return Err(body::error(404, "Token not found"));
    }
    let by = || Actor::Token(caller.id.clone());
    if let Some(name) = name {
        table.rename(id, &incoming.overrides.name(name), by());
    }
    if let Some(scopes) = scopes {
        table.set_scopes(id, scopes, by());
    }
    if let Some(enabled) = enabled {
        table.set_enabled(id, enabled, by());
    }
    Ok(Reply::empty(204))
}
