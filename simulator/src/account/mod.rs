//! The account management API and the single sign-on in front of it: OAuth clients, access tokens, platform tokens.
//!
//! What the public documentation leaves open is a field of [`AccountSettings`], never a guess built into the code.

pub mod handle;
mod oauth;
mod platform_tokens;
mod service_users;
pub mod settings;
pub mod table;

use std::sync::Mutex;

use jiff::Timestamp;
use serde_json::json;

use crate::calls::{Call, Operation, lock};
use crate::message::{Incoming, Reply, segment_decoded};
use crate::server::{Performing, Service, Site};
use oauth::OAuth;
use settings::{AccountSettings, ErrorBody};
use table::Table;

/// One account with its users, OAuth clients and platform tokens.
pub(crate) struct Account {
    pub(crate) uuid: String,
    pub(crate) site: Site,
    pub(crate) state: Mutex<State>,
}

pub(crate) struct State {
    pub(crate) settings: AccountSettings,
    pub(crate) oauth: OAuth,
    pub(crate) table: Table,
    service_user_pages: service_users::Pages,
}

/// What a path asks for.
#[derive(Debug, PartialEq, Eq)]
enum Route {
    AccessToken,
    Tokens,
    Token(String),
    Status(String),
    Expiry(String),
    ServiceUsers,
    ServiceUser(String),
}

impl Account {
    pub(crate) fn new(uuid: &str, site: Site) -> Account {
        let state = State {
            settings: AccountSettings::default(),
            oauth: OAuth::default(),
            table: Table::new(site.clock.clone()),
            service_user_pages: service_users::Pages::new(),
        };
        Account {
            uuid: uuid.to_owned(),
            site,
            state: Mutex::new(state),
        }
    }

    pub(crate) fn serves(&self, path: &str) -> bool {
        path == "/sso/oauth2/token" || path.starts_with(&format!("/iam/v1/accounts/{}/", self.uuid))
    }

    fn route(&self, path: &str) -> Option<Route> {
        if path == "/sso/oauth2/token" {
            return Some(Route::AccessToken);
        }
        let rest = path.strip_prefix("/iam/v1/accounts/")?;
        let rest = rest.strip_prefix(&self.uuid)?;
        let (family, rest) = match rest.strip_prefix('/')?.split_once('/') {
            Some((family, _)) => (family, &rest[1 + family.len()..]),
            None => (&rest[1..], ""),
        };
        match (family, rest) {
            ("platform-tokens", "") => return Some(Route::Tokens),
            ("service-users", "") => return Some(Route::ServiceUsers),
            ("platform-tokens", _) => {}
            ("service-users", _) => {
                let id = segment_decoded(rest.strip_prefix('/')?);
                return (!id.is_empty() && !id.contains('/')).then_some(Route::ServiceUser(id));
            }
            _ => return None,
        }
        let mut segments = rest.strip_prefix('/')?.split('/').map(segment_decoded);
        let id = segments.next().filter(|id| !id.is_empty())?;
        let route = match segments.next().as_deref() {
            None => Route::Token(id),
            Some("status") => Route::Status(id),
            Some("expiration-date") => Route::Expiry(id),
            Some(_) => return None,
        };
        segments.next().is_none().then_some(route)
    }

    fn handle(&self, incoming: &Incoming) -> Reply {
        let mut state = lock(&self.state);
        let now = self.site.clock.now();
        let Some(route) = self.route(&incoming.path) else {
            return state.settings.error(404, "Not Found");
        };
        let Some(operation) = operation(&incoming.method, &route) else {
            return state.settings.error(405, "Method Not Allowed");
        };
        if operation == Operation::IssueAccessToken {
            return oauth::issue(&mut state, &self.uuid, incoming, now);
        }
        let answer = match route {
            Route::ServiceUsers | Route::ServiceUser(_) => {
                service_users::answer(&mut state, &route, incoming, now)
            }
            _ => platform_tokens::answer(&mut state, &self.uuid, &route, incoming, now),
        };
        answer.unwrap_or_else(|refusal| refusal)
    }
}

impl AccountSettings {
    /// A last use as it is shown.
    fn last_use(&self, at: Timestamp) -> Timestamp {
        let step = i64::try_from(self.last_use_step.as_secs()).unwrap_or(0);
        if step == 0 {
            return at;
        }
        let seconds = at.as_second();
        Timestamp::from_second(seconds - seconds.rem_euclid(step)).unwrap_or(at)
    }

    /// An error of the account API, whose bodies are undocumented.
    fn error(&self, status: u16, message: &str) -> Reply {
        match self.error_body {
            ErrorBody::Empty => Reply::empty(status),
            ErrorBody::Text => Reply::text(status, "text/plain", message),
            ErrorBody::Json => Reply::json(
                status,
                "application/json",
                &json!({ "error": { "code": status, "message": message } }),
            ),
        }
    }
}

fn operation(method: &str, route: &Route) -> Option<Operation> {
    match (method, route) {
        ("POST", Route::AccessToken) => Some(Operation::IssueAccessToken),
        ("GET", Route::Tokens) => Some(Operation::ListTokens),
        ("POST", Route::Tokens) => Some(Operation::CreateToken),
        ("DELETE", Route::Token(_)) => Some(Operation::DeleteToken),
        ("PUT", Route::Status(_)) => Some(Operation::UpdateToken),
        ("PUT", Route::Expiry(_)) => Some(Operation::RedateToken),
        ("GET", Route::ServiceUsers | Route::ServiceUser(_)) => Some(Operation::ReadServiceUsers),
        _ => None,
    }
}

impl Service for Account {
    fn site(&self) -> &Site {
        &self.site
    }

    fn describe(&self, incoming: &Incoming) -> Call {
        let mut call = crate::server::call(&self.site.clock, incoming, "unknown".to_owned());
        let Some(route) = self.route(&incoming.path) else {
            return call;
        };
        let tail = match &route {
            Route::AccessToken => "",
            Route::Tokens => "/platform-tokens",
            Route::Token(_) => "/platform-tokens/{id}",
            Route::Status(_) => "/platform-tokens/{id}/status",
            Route::Expiry(_) => "/platform-tokens/{id}/expiration-date",
            Route::ServiceUsers => "/service-users",
            Route::ServiceUser(_) => "/service-users/{id}",
        };
        call.path = if route == Route::AccessToken {
            "/sso/oauth2/token".to_owned()
        } else {
            format!("/iam/v1/accounts/{}{tail}", self.uuid)
        };
        call.operation = operation(&incoming.method, &route);
        let state = lock(&self.state);
        call.credential = match &route {
            Route::AccessToken => oauth::form(incoming).remove("client_id"),
            _ => state
                .oauth
                .session(incoming)
                .map(|session| session.client.clone()),
        };
        match route {
            Route::Token(id) | Route::Status(id) | Route::Expiry(id) => {
                call.secret_in_path = state.table.by_value(&id).is_some();
                let id = state
                    .table
                    .by_value(&id)
                    .map_or(id, |token| token.id.clone());
                call.name = state.table.get(&id).map(|token| token.name.clone());
                call.subject = Some(id);
            }
            Route::Tokens if call.operation == Some(Operation::CreateToken) => {
                let body: serde_json::Value =
                    serde_json::from_slice(&incoming.body).unwrap_or_default();
                call.name = body["name"].as_str().map(str::to_owned);
            }
            Route::ServiceUser(id) => call.subject = Some(id),
            Route::Tokens | Route::AccessToken | Route::ServiceUsers => {}
        }
        call
    }

    fn perform<'a>(&'a self, incoming: &'a Incoming) -> Performing<'a> {
        Box::pin(std::future::ready(self.handle(incoming)))
    }

    fn too_large(&self) -> Reply {
        lock(&self.state).settings.error(413, "Payload too large")
    }

    fn answer_as(&self, incoming: &Incoming, token_id: &str) -> Option<Reply> {
        let route = self.route(&incoming.path)?;
        let state = lock(&self.state);
        let token = state.table.get(token_id)?;
        (operation(&incoming.method, &route) == Some(Operation::CreateToken))
            .then(|| platform_tokens::created(&state.settings, token))
    }

    fn reveal(&self, token_id: &str) {
        lock(&self.state).table.reveal(token_id);
    }
}

/// An instant as the account API writes it.
fn written(at: Timestamp) -> String {
    crate::dynatrace::time::written(at, true)
}
