//! Platform tokens at an environment: whether one is accepted, by whom a call is made then, and what counts as a use.

use std::net::IpAddr;

use jiff::Timestamp;

use super::Environment;
use super::body;
use super::route::Target;
use super::scopes;
use super::table::Token;
use crate::account::table::Acceptance;
use crate::calls::lock;
use crate::message::{Incoming, Reply};

/// What a call presents that is for the platform: any Bearer at the origin of the apps; at the classic origin a platform token
/// with the scheme of API tokens, as Dynatrace's operator sends it, but not to the APIs of classic tokens.
pub(crate) fn credential<'a>(target: &Target, incoming: &'a Incoming) -> Option<&'a str> {
    if target.bearer {
        return incoming.bearer();
    }
    let value = super::credential(incoming)?;
    (value.starts_with("dt0s16.") && !target.classic_tokens()).then_some(value)
}

/// The platform token that makes this call, or the client of an access token. 401 for a value that does not exist, 403 for a
/// platform token that is disabled, expired or not for this environment.
pub(crate) fn authenticated(
    environment: &Environment,
    value: &str,
    now: Timestamp,
) -> Result<Token, Reply> {
    let unknown = || body::error(401, "Token Authentication failed");
    let account = environment.account.as_ref().ok_or_else(unknown)?;
    let state = lock(&account.state);
    if let Some(session) = state.oauth.live(value, now) {
        let (client, owner) = (session.client.clone(), session.owner.clone());
        return Ok(caller(client, owner, session.scopes.clone(), now));
    }
    let token = state.table.by_value(value).ok_or_else(unknown)?;
    let resource = format!("urn:dtenvironment:{}", environment.id);
    // The time until which this node knows all changes.
    let known_until = if state.settings.nodes_disagree && environment.either() {
        Timestamp::MAX
    } else {
        now
    };
    match token.acceptance(now, known_until) {
        Acceptance::Unknown => return Err(unknown()),
        Acceptance::Accepted if token.resources.contains(&resource) => {}
        _ => return Err(body::error(403, "SSO authentication failed")),
    }
    let allowed = state
        .table
        .users
        .get(&token.owner)
        .and_then(|user| user.allowed.as_ref());
    let mut scopes = token.scopes.clone();
    scopes.retain(|scope| allowed.is_none_or(|allowed| allowed.contains(scope)));
    Ok(caller(token.id.clone(), token.owner.clone(), scopes, now))
}

/// Notes a use of the platform token with this value, if the answer makes the call one.
pub(crate) fn note_use(
    environment: &Environment,
    value: &str,
    reply: &Reply,
    from: IpAddr,
    now: Timestamp,
) {
    let Some(account) = environment.account.as_ref() else {
        return;
    };
    let mut state = lock(&account.state);
    let counts = match reply.status {
        401 => false,
        403 => state.settings.refused_call_is_use,
        _ => true,
    };
    let id = state.table.by_value(value).map(|token| token.id.clone());
    if let Some(id) = id.filter(|_| counts) {
        state.table.touch(&id, from, now);
    }
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
