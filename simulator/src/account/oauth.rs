//! The single sign-on: access tokens for client credentials.

use std::collections::{BTreeMap, HashMap};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::State;
use crate::dynatrace::secret::{drawn, uuid};
use crate::message::{Incoming, Reply, form_pairs};

/// An OAuth client of the account.
pub(crate) struct Client {
    pub(crate) secret: String,
    pub(crate) scopes: Vec<String>,
    /// The user who made it, and who owns what is created without an owner.
    pub(crate) owner: String,
}

/// What an access token stands for.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) client: String,
    pub(crate) owner: String,
    pub(crate) scopes: Vec<String>,
    expires: Timestamp,
}

impl Session {
    pub(crate) fn has(&self, scope: &str) -> bool {
        self.scopes.iter().any(|own| own == scope)
    }
}

#[derive(Default)]
pub(crate) struct OAuth {
    pub(crate) clients: HashMap<String, Client>,
    pub(crate) sessions: HashMap<String, Session>,
    /// Every client secret and access token there ever was.
    pub(crate) issued: Vec<String>,
}

impl OAuth {
    /// The session of a request's access token, expired or not.
    pub(crate) fn session(&self, incoming: &Incoming) -> Option<&Session> {
        self.sessions.get(incoming.bearer()?)
    }

    pub(crate) fn live_session(&self, incoming: &Incoming, now: Timestamp) -> Option<&Session> {
        self.live(incoming.bearer()?, now)
    }

    /// The session of an access token that has not expired.
    pub(crate) fn live(&self, token: &str, now: Timestamp) -> Option<&Session> {
        let session = self.sessions.get(token)?;
        (session.expires > now).then_some(session)
    }
}

/// The fields of a form; empty for another media type.
pub(crate) fn form(incoming: &Incoming) -> BTreeMap<String, String> {
    if incoming.media_type().as_deref() != Some("application/x-www-form-urlencoded") {
        return BTreeMap::new();
    }
    let text = String::from_utf8_lossy(&incoming.body);
    form_pairs(&text).into_iter().collect()
}

/// Answers with an access token, or refuses the whole request: there is no partial grant.
pub(crate) fn issue(
    state: &mut State,
    account: &str,
    incoming: &Incoming,
    now: Timestamp,
) -> Reply {
    let form = form(incoming);
    let field = |key: &str| form.get(key).map_or("", String::as_str);
    if field("grant_type") != "client_credentials" {
        return refused(400, "unsupported_grant_type");
    }
    let Some(client) = state
        .oauth
        .clients
        .get(field("client_id"))
        .filter(|client| client.secret == field("client_secret"))
    else {
        return refused(state.settings.bad_client_status, "invalid_client");
    };
    let scopes: Vec<String> = field("scope")
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    let held = |scope: &String| client.scopes.contains(scope);
    let resource = format!("urn:dtaccount:{account}");
    if scopes.is_empty() || !scopes.iter().all(held) || field("resource") != resource {
        return refused(400, "invalid_request");
    }
    let session = Session {
        client: field("client_id").to_owned(),
        owner: client.owner.clone(),
        scopes,
        expires: now
            + SignedDuration::try_from(state.settings.access_token_life).unwrap_or_default(),
    };
    let token = jwt(&session, now);
    let body = json!({
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": state.settings.access_token_life.as_secs(),
        "scope": session.scopes.join(" "),
        "resource": resource,
    });
    state
        .oauth
        .sessions
        .retain(|_, session| session.expires > now);
    state.oauth.issued.push(token.clone());
    state.oauth.sessions.insert(token, session);
    Reply::json(200, "application/json", &body)
}

fn refused(status: u16, error: &str) -> Reply {
    let body = json!({
        "errorCode": status,
        "message": "",
        "issueId": uuid(),
        "error": error,
        "error_description": "",
    });
    Reply::json(status, "application/json", &body)
}

/// A JSON Web Token with `iat` and `exp`; its signature is drawn, as nobody here checks it.
fn jwt(session: &Session, now: Timestamp) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head = part(&json!({ "alg": "ES256", "typ": "JWT" }));
    let claims = part(&json!({
        "sub": session.client,
        "scope": session.scopes.join(" "),
        "iat": now.as_second(),
        "exp": session.expires.as_second(),
        "jti": uuid(),
    }));
    let signature = URL_SAFE_NO_PAD.encode(drawn(b"abcdefghijklmnopqrstuvwxyz", 64));
    format!("{head}.{claims}.{signature}")
}
