//! The service users of an account, as far as a client needs them that wants to know who owns a platform token: list and read.

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::table::User;
use super::{Route, State, written};
use crate::dynatrace::secret::uuid;
use crate::message::{Incoming, Reply};

const READ: &str = "account-idm-read";
/// Undocumented.
const PAGE: usize = 100;

/// The offset behind each `nextPageKey`.
pub(crate) type Pages = HashMap<String, usize>;

pub(crate) fn answer(
    state: &mut State,
    route: &Route,
    incoming: &Incoming,
    now: Timestamp,
) -> Result<Reply, Reply> {
    let session = state.oauth.live_session(incoming, now);
    let session = session.ok_or_else(|| state.settings.error(401, "Unauthorized"))?;
    if !session.has(READ) {
        return Err(state.settings.error(403, "Forbidden"));
    }
    let Route::ServiceUser(id) = route else {
        return list(state, incoming);
    };
    let user = state.table.users.get(id).filter(|user| user.service);
    let user = user.ok_or_else(|| state.settings.error(404, "Not Found"))?;
    Ok(ok(&shown(id, user)))
}

fn list(state: &mut State, incoming: &Incoming) -> Result<Reply, Reply> {
    let pairs = incoming.query_pairs();
    let key = pairs.iter().find(|(key, _)| key == "page-key");
    let offset = match key {
        None => 0,
        Some((_, key)) => {
            let known = state.service_user_pages.get(key).copied();
            known.ok_or_else(|| state.settings.error(400, "Invalid page-key"))?
        }
    };
    let mut users: Vec<(&String, &User)> = state
        .table
        .users
        .iter()
        .filter(|(_, user)| user.service)
        .collect();
    users.sort_by_key(|(id, user)| (user.created, *id));
    let total = users.len();
    let page: Vec<Value> = users
        .into_iter()
        .skip(offset)
        .take(PAGE)
        .map(|(id, user)| shown(id, user))
        .collect();
    let seen = offset + page.len();
    let mut body = json!({ "totalCount": total, "results": page });
    if seen < total {
        let key = uuid();
        body["nextPageKey"] = json!(key);
        state.service_user_pages.insert(key, seen);
    }
    Ok(ok(&body))
}

fn shown(id: &str, user: &User) -> Value {
    json!({
        "uid": id,
        "email": user.email,
        "name": user.name,
        "createdAt": written(user.created),
        "groupUuid": user.group,
    })
}

fn ok(body: &Value) -> Reply {
    Reply::json(200, "application/json", body)
}
