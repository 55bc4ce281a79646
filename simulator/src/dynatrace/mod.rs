//! The Dynatrace stand-in: finds the API in a path, authenticates, and hands over to the generation asked for.
//!
//! Written from the public documentation of API tokens v2, tokens v1 and events v2. What those do not name is refused.

mod body;
pub mod events;
pub mod handle;
pub mod history;
mod list;
pub mod scopes;
pub(crate) mod secret;
pub mod table;
mod time;
mod v1;
mod v2;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use jiff::Timestamp;

use crate::calls::{Call, Operation, lock};
use crate::message::{Incoming, Reply, segment_decoded};
use crate::server::{Performing, Service, Site};
use events::Events;
use list::Pages;
use table::{Table, Token};

/// One environment: a table of tokens behind a base path.
pub(crate) struct Environment {
    /// `""` for the root, else e.g. `/e/abc`.
    pub(crate) prefix: String,
    pub(crate) site: Site,
    pub(crate) table: Mutex<Table>,
    pages: Mutex<Pages>,
    pub(crate) events: Mutex<Events>,
    written: AtomicU32,
}

/// What a path asks for.
#[derive(Debug, PartialEq, Eq)]
enum Route {
    Tokens,
    Lookup,
    Token(String),
    Events,
}

impl Environment {
    pub(crate) fn new(prefix: String, site: Site) -> Environment {
        let table = Table::new(site.clock.clone());
        Environment {
            prefix,
            site,
            table: Mutex::new(table),
            pages: Mutex::default(),
            events: Mutex::default(),
            written: AtomicU32::new(0),
        }
    }

    pub(crate) fn set_legacy(&self, legacy: bool) {
        lock(&self.table).legacy = legacy;
    }

    /// The route and whether it is of v1; `None` for a path of neither API.
    fn route(&self, path: &str) -> Option<(Route, bool)> {
        let rest = path.strip_prefix(&self.prefix)?;
        if rest == "/api/v2/events/ingest" {
            return Some((Route::Events, false));
        }
        let (rest, v1) = match rest.strip_prefix("/api/v2/apiTokens") {
            Some(rest) => (rest, false),
            None => (rest.strip_prefix("/api/v1/tokens")?, true),
        };
        if rest.is_empty() {
            return Some((Route::Tokens, v1));
        }
        let segment = rest.strip_prefix('/')?;
        if segment.is_empty() || segment.contains('/') {
            return None;
        }
        let segment = segment_decoded(segment);
        let route = if segment == "lookup" {
            Route::Lookup
        } else {
            Route::Token(segment)
        };
        Some((route, v1))
    }

    /// An instant as text, sometimes with and sometimes without milliseconds.
    fn text(&self, at: Timestamp) -> String {
        time::written(at, self.either())
    }

    /// For facts of which the documentation shows two forms: each comes half of the time, repeatably, and not in step
    /// with the number of facts in an answer.
    fn either(&self) -> bool {
        /// 2^32 divided by the golden ratio: its multiples fall evenly into both halves of the range, whatever the stride.
        const GOLDEN: u32 = 0x9E37_79B9;
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        number.wrapping_mul(GOLDEN) >> 31 == 1
    }

    fn handle(&self, incoming: &Incoming) -> Reply {
        let Some((route, v1)) = self.route(&incoming.path) else {
            return body::error(404, "HTTP 404 Not Found");
        };
        if operation(&incoming.method, &route).is_none() {
            return body::error(405, "HTTP 405 Method Not Allowed");
        }
        let mut table = lock(&self.table);
        table.purge();
        let now = self.site.clock.now();
        let caller = match authenticated(&mut table, incoming, now) {
            Ok(caller) => caller,
            Err(reply) => return reply,
        };
        let answer = if route == Route::Events {
            lock(&self.events).answer(&caller, incoming, now)
        } else if v1 {
            v1::answer(self, &mut table, &caller, &route, incoming)
        } else {
            v2::answer(self, &mut table, &caller, &route, incoming)
        };
        answer.unwrap_or_else(|refusal| refusal)
    }
}

fn operation(method: &str, route: &Route) -> Option<Operation> {
    match (method, route) {
        ("GET", Route::Tokens) => Some(Operation::ListTokens),
        ("POST", Route::Tokens) => Some(Operation::CreateToken),
        ("POST", Route::Lookup) => Some(Operation::LookupToken),
        ("GET", Route::Token(_)) => Some(Operation::GetToken),
        ("PUT", Route::Token(_)) => Some(Operation::UpdateToken),
        ("DELETE", Route::Token(_)) => Some(Operation::DeleteToken),
        ("POST", Route::Events) => Some(Operation::IngestEvent),
        _ => None,
    }
}

/// The token that makes this call, noted as used now.
fn authenticated(table: &mut Table, incoming: &Incoming, now: Timestamp) -> Result<Token, Reply> {
    let refused = || body::error(401, "Token Authentication failed");
    let value = credential(incoming).ok_or_else(refused)?;
    let caller = table.authenticates(value, now).ok_or_else(refused)?.clone();
    table.touch(&caller.id, incoming.peer, now);
    Ok(caller)
}

fn credential(incoming: &Incoming) -> Option<&str> {
    incoming.header("authorization")?.strip_prefix("Api-Token ")
}

/// 403 unless the caller has the scope.
fn needs(caller: &Token, scope: &str, title: &str) -> Result<(), Reply> {
    if caller.has(scope) {
        return Ok(());
    }
    let message = format!("Token is missing required scope. Use one of: {scope} ({title})");
    Err(body::error(403, &message))
}

/// An API token may delete any token, a personal one only its owner's.
fn may_delete(caller: &Token, target: &Token) -> Result<(), Reply> {
    if caller.id == target.id {
        return Err(body::error(
            400,
            "The token used for authentication can not be deleted",
        ));
    }
    if caller.personal && caller.owner != target.owner {
        return Err(body::error(
            403,
            "A personal access token may only delete tokens of its owner",
        ));
    }
    Ok(())
}

/// The token a path means: by id, or where the API allows it by its secret.
fn deletable<'a>(table: &'a Table, segment: &str) -> Option<&'a Token> {
    table
        .get(segment)
        .or_else(|| table.by_value(segment))
        .filter(|token| token.found())
}

impl Service for Environment {
    fn site(&self) -> &Site {
        &self.site
    }

    fn describe(&self, incoming: &Incoming) -> Call {
        let mut call = crate::server::call(&self.site.clock, incoming, "unknown".to_owned());
        let Some((route, v1)) = self.route(&incoming.path) else {
            return call;
        };
        let root = match route {
            Route::Events => "/api/v2/events/ingest",
            _ if v1 => "/api/v1/tokens",
            _ => "/api/v2/apiTokens",
        };
        let tail = match &route {
            Route::Tokens | Route::Events => "",
            Route::Lookup => "/lookup",
            Route::Token(_) => "/{id}",
        };
        call.path = format!("{}{root}{tail}", self.prefix);
        call.v1 = v1;
        call.operation = operation(&incoming.method, &route);
        let table = lock(&self.table);
        call.credential = credential(incoming).and_then(|value| shown_id(&table, value));
        match (&route, call.operation) {
            (Route::Token(segment), _) => {
                call.secret_in_path = table.by_value(segment).is_some();
                call.subject = shown_id(&table, segment)
                    .or_else(|| looks_like_id(segment).then(|| segment.clone()));
            }
            (Route::Lookup, _) => {
                call.subject =
                    body_text(incoming, "token").and_then(|value| shown_id(&table, &value));
            }
            (Route::Tokens, Some(Operation::CreateToken)) => {
                call.name = body_text(incoming, "name")
            }
            (Route::Tokens | Route::Events, _) => {}
        }
        if let Some(token) = call.subject.as_deref().and_then(|id| table.get(id)) {
            call.name = Some(token.name.clone());
        }
        call
    }

    fn perform<'a>(&'a self, incoming: &'a Incoming) -> Performing<'a> {
        Box::pin(std::future::ready(self.handle(incoming)))
    }

    fn too_large(&self) -> Reply {
        body::error(413, "Payload too large")
    }

    fn answer_as(&self, incoming: &Incoming, token_id: &str) -> Option<Reply> {
        let (route, v1) = self.route(&incoming.path)?;
        let table = lock(&self.table);
        let token = table.get(token_id)?;
        match (operation(&incoming.method, &route)?, v1) {
            (Operation::CreateToken, true) => Some(v1::created(token, incoming)),
            (Operation::CreateToken, false) => Some(v2::created(self, token)),
            (Operation::GetToken | Operation::LookupToken, true) => {
                Some(body::ok(&v1::metadata(self, token)))
            }
            (Operation::GetToken | Operation::LookupToken, false) => {
                Some(body::ok(&list::shown_whole(self, token)))
            }
            _ => None,
        }
    }

    fn reveal(&self, token_id: &str) {
        lock(&self.table).reveal(token_id);
    }
}

/// An id that may be shown for a text that is an id or a secret.
fn shown_id(table: &Table, text: &str) -> Option<String> {
    if let Some(token) = table.get(text).or_else(|| table.by_value(text)) {
        return Some(token.id.clone());
    }
    secret::id_of(text).map(str::to_owned)
}

/// Whether a text has the form of an id, so that an unknown one may be shown without showing a secret.
fn looks_like_id(text: &str) -> bool {
    let dotted = text.starts_with("dt0") && text.matches('.').count() == 1;
    let uuid = text.len() == 36 && text.matches('-').count() == 4;
    dotted || uuid
}

fn body_text(incoming: &Incoming, key: &str) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(&incoming.body).ok()?;
    body.get(key)?.as_str().map(str::to_owned)
}
