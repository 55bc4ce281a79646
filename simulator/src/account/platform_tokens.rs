//! The five calls of the platform-token API: list, create, delete, status, expiration date. There is no read by id.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::oauth::Session;
use super::settings::AccountSettings;
use super::table::PlatformToken;
use super::{Route, State, written};
use crate::dynatrace::history::Actor;
use crate::dynatrace::scopes;
use crate::dynatrace::secret::platform_pair;
use crate::message::{Incoming, Reply};

const MANAGE: &str = "platform-token:tokens:manage";
const WRITE: &str = "platform-token:tokens:write";
const MAX_NAME: usize = 255;

pub(crate) fn answer(
    state: &mut State,
    account: &str,
    route: &Route,
    incoming: &Incoming,
    now: Timestamp,
) -> Result<Reply, Reply> {
    let session = state.oauth.live_session(incoming, now).cloned();
    let session = session.ok_or_else(|| state.settings.error(401, "Unauthorized"))?;
    if !session.has(MANAGE) {
        return Err(state.settings.error(403, "Forbidden"));
    }
    let by = Actor::Client(session.client.clone());
    match (incoming.method.as_str(), route) {
        ("GET", Route::Tokens) => list(state, account, incoming, now),
        ("POST", Route::Tokens) => create(state, &session, incoming),
        ("PUT", Route::Status(id)) => {
            let form: StatusForm = read(&state.settings, incoming)?;
            existing(state, id)?;
            let enabled = form.status == Status::Active;
            let lag = if enabled {
                state.settings.enable_lag
            } else {
                state.settings.disable_lag
            };
            state.table.set_enabled(id, enabled, lag, by);
            Ok(Reply::empty(204))
        }
        ("PUT", Route::Expiry(id)) => {
            let form: ExpiryForm = read(&state.settings, incoming)?;
            let expired = existing(state, id)?.expires <= now;
            if expired && !state.settings.redate_expired {
                return Err(state.settings.error(400, "Token is expired"));
            }
            let lag = state.settings.redate_lag;
            state.table.set_expiry(id, form.expiration_date, lag, by);
            Ok(Reply::empty(200))
        }
        (_, Route::Token(id)) => {
            let lag = state.settings.delete_lag;
            existing(state, id)?;
            state.table.delete(id, lag, by);
            Ok(Reply::empty(state.settings.delete_status))
        }
        _ => Err(state.settings.error(405, "Method Not Allowed")),
    }
}

fn existing<'a>(state: &'a State, id: &str) -> Result<&'a PlatformToken, Reply> {
    let missing = || {
        state
            .settings
            .error(state.settings.missing_status, "Not Found")
    };
    state.table.get(id).ok_or_else(missing)
}

fn read<T: DeserializeOwned>(settings: &AccountSettings, incoming: &Incoming) -> Result<T, Reply> {
    if incoming.media_type().as_deref() != Some("application/json") {
        return Err(settings.error(415, "Unsupported Media Type"));
    }
    serde_json::from_slice(&incoming.body)
        .map_err(|_| settings.error(400, "Problem with json mapping."))
}

#[derive(Deserialize, PartialEq, Eq, Clone, Copy)]
#[serde(rename_all = "UPPERCASE")]
enum Status {
    Active,
    Inactive,
}

#[derive(Deserialize)]
struct StatusForm {
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExpiryForm {
    expiration_date: Timestamp,
}

/// `userUuid` is required by the specification, but creates without it were seen to succeed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateForm {
    name: String,
    scope: Vec<String>,
    resource: Vec<String>,
    tags: Vec<String>,
    expiration_date: Timestamp,
    user_uuid: Option<String>,
}

fn create(state: &mut State, session: &Session, incoming: &Incoming) -> Result<Reply, Reply> {
    let settings = &state.settings;
    if settings.create_needs_write && !session.has(WRITE) {
        return Err(settings.error(403, "Forbidden"));
    }
    let form: CreateForm = read(settings, incoming)?;
    if let Some(status) = settings.refuse_creation {
        return Err(settings.error(status, "Platform tokens can not be created"));
    }
    if form.name.trim().is_empty() || form.name.chars().count() > MAX_NAME {
        return Err(settings.error(400, "Invalid name"));
    }
    let known =
        |scope: &String| scopes::is_platform(scope) && !settings.unknown_scopes.contains(scope);
    if form.scope.is_empty() || !form.scope.iter().all(known) {
        return Err(settings.error(400, "Invalid scopes"));
    }
    let owner = form.user_uuid.unwrap_or_else(|| session.owner.clone());
    let Some(user) = state.table.users.get(&owner) else {
        return Err(settings.error(400, "Unknown user"));
    };
    let limit = if user.service {
        settings.service_user_limit
    } else {
        settings.user_limit
    };
    if state.table.owned(&owner) >= limit {
        return Err(settings.error(400, "Token limit reached"));
    }
    let name = incoming.overrides.name(form.name);
    let token = PlatformToken {
        scopes: form.scope,
        resources: form.resource,
        tags: form.tags,
        hidden: incoming.overrides.hide,
        ..PlatformToken::new(platform_pair(), name, owner, form.expiration_date)
    };
    let reply = created(settings, &token);
    let lag = settings.create_lag;
    state
        .table
        .insert(token, lag, Actor::Client(session.client.clone()));
    Ok(reply)
}

pub(crate) fn created(settings: &AccountSettings, token: &PlatformToken) -> Reply {
    let body = json!({ "name": token.name, "tokenId": token.id, "token": token.value });
    Reply {
        created: Some(token.id.clone()),
        ..Reply::json(settings.create_status, "application/json", &body)
    }
}

#[derive(Default)]
struct Query {
    search: Option<String>,
    status: Option<Status>,
    page: Option<usize>,
    size: Option<usize>,
}

impl Query {
    fn read(settings: &AccountSettings, incoming: &Incoming) -> Result<Query, Reply> {
        let wrong = |key: &str| settings.error(400, &format!("Invalid {key}"));
        let mut query = Query::default();
        for (key, value) in incoming.query_pairs() {
            match key.as_str() {
                "searchTerm" => query.search = Some(value),
                "status" => {
                    query.status = Some(match value.as_str() {
                        "ACTIVE" => Status::Active,
                        "INACTIVE" => Status::Inactive,
                        _ => return Err(wrong(&key)),
                    });
                }
                "page" => query.page = Some(value.parse().map_err(|_| wrong(&key))?),
                "size" => {
                    let size = value.parse().ok().filter(|size| *size > 0);
                    query.size = Some(size.ok_or_else(|| wrong(&key))?);
                }
                _ if settings.refuse_unknown_parameters => return Err(wrong(&key)),
                _ => {}
            }
        }
        Ok(query)
    }

    fn selects(&self, settings: &AccountSettings, token: &PlatformToken, now: Timestamp) -> bool {
        let searched = self.search.as_ref().is_none_or(|term| {
            let fits = |text: &str| {
                if settings.search_from_start {
                    text.starts_with(term)
                } else {
                    text.contains(term)
                }
            };
            fits(&token.id) || fits(&token.name) || token.scopes.iter().any(|scope| fits(scope))
        });
        searched
            && self.status.is_none_or(|status| {
                (status == Status::Active) == token.enabled
                    && (settings.filter_gives_expired || token.expires > now)
            })
    }
}

fn list(state: &State, account: &str, incoming: &Incoming, now: Timestamp) -> Result<Reply, Reply> {
    let settings = &state.settings;
    let query = Query::read(settings, incoming)?;
    let mut matching: Vec<&PlatformToken> = state
        .table
        .iter_at(now - SignedDuration::try_from(settings.list_lag).unwrap_or_default())
        .filter(|token| token.hidden.is_none() && query.selects(settings, token, now))
        .collect();
    if settings.newest_first {
        matching.reverse();
    }
    let size = query
        .size
        .unwrap_or(settings.page_size)
        .min(settings.max_page_size);
    let page = query.page.unwrap_or(settings.first_page);
    let Some(pages_before) = page.checked_sub(settings.first_page) else {
        return Err(settings.error(400, "Invalid page"));
    };
    let endless = incoming.overrides.endless_pages;
    let skipped = if endless {
        0
    } else {
        pages_before.saturating_mul(size)
    };
    let mut results: Vec<Value> = matching
        .iter()
        .skip(skipped)
        .take(size)
        .map(|token| shown(settings, account, token))
        .collect();
    if incoming.overrides.short_list {
        results.truncate(results.len() / 2);
    }
    // A listing that never ends announces more than it has.
    let more = if endless {
        skipped + size * (pages_before + 2)
    } else {
        0
    };
    let body = json!({
        "pageSize": size,
        "pageNumber": page,
        "total": matching.len() + more,
        "results": results,
    });
    Ok(Reply::json(200, "application/json", &body))
}

fn shown(settings: &AccountSettings, account: &str, token: &PlatformToken) -> Value {
    let mut item = json!({
        "tokenId": token.id,
        "accountUuid": account,
        "description": "",
        "name": token.name,
        "scope": token.scopes,
        "tags": token.tags,
        "resource": token.resources,
        "expirationDate": written(token.expires),
        "userUuid": token.owner,
        "metadata": {
            "lastUsedAt": token.last_used.map(|at| written(settings.last_use(at))),
            "lastClientIp": token.last_used_ip,
        },
    });
    if settings.list_shows_status {
        item["status"] = json!(if token.enabled { "ACTIVE" } else { "INACTIVE" });
    }
    item
}
