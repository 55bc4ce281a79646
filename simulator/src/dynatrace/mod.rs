//! The Dynatrace stand-in: finds the API in a path, authenticates, and hands over to the generation asked for.
//!
//! Written from the public documentation of API tokens v2, tokens v1, events v2, ActiveGate tokens, cluster tokens and the
//! platform. What those do not name is refused.

mod active_gate;
mod body;
pub mod events;
pub mod handle;
pub mod history;
mod list;
mod platform;
mod probes;
pub(crate) mod route;
pub mod scopes;
pub(crate) mod secret;
pub mod seed;
pub mod settings;
pub mod table;
pub(crate) mod time;
mod v1;
mod v2;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;

use crate::account::Account;
use crate::calls::{Call, Operation, lock};
use crate::message::{Incoming, Reply};
use crate::server::{Performing, Service, Site};
use crate::simulator::EnvironmentOptions;
use active_gate::ActiveGates;
use events::Events;
use list::Pages;
use route::{Api, Kind, Route, Target};
use settings::{Call as ClassicCall, EnvironmentSettings};
use table::{Table, Token};

/// One environment: a table of tokens behind a base path.
pub(crate) struct Environment {
    /// `""` for the root, else e.g. `/e/abc`.
    pub(crate) prefix: String,
    /// The id that platform tokens name in their resources.
    pub(crate) id: String,
    pub(crate) kind: Kind,
    /// Where the platform tokens are.
    account: Option<Arc<Account>>,
    pub(crate) site: Site,
    pub(crate) table: Mutex<Table>,
    pub(crate) active_gates: Mutex<ActiveGates>,
    pub(crate) settings: Mutex<EnvironmentSettings>,
    pages: Mutex<Pages>,
    pub(crate) events: Mutex<Events>,
    written: AtomicU32,
}

impl Environment {
    pub(crate) fn new(
        options: &EnvironmentOptions,
        account: Option<Arc<Account>>,
        site: Site,
    ) -> Environment {
        let table = Table::new(site.clock.clone());
        let (prefix, kind) = match (options.cluster, &account) {
            (true, _) => ("/api/cluster", Kind::Cluster),
            (false, Some(_)) => (options.prefix.trim_end_matches('/'), Kind::Platform),
            (false, None) => (options.prefix.trim_end_matches('/'), Kind::Classic),
        };
        Environment {
            prefix: prefix.to_owned(),
            id: options.id.clone(),
            kind,
            account,
            active_gates: Mutex::new(ActiveGates::new(site.clock.clone())),
            settings: Mutex::default(),
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

    /// Whether there is an origin of apps, where the paths below `/platform` are.
    pub(crate) fn has_apps(&self) -> bool {
        self.kind == Kind::Platform
    }

    /// The apps of an environment have an origin for themselves.
    fn prefix_at(&self, incoming: &Incoming) -> &str {
        if incoming.apps { "" } else { &self.prefix }
    }

    fn target(&self, incoming: &Incoming) -> Option<Target> {
        let path = incoming.path.strip_prefix(self.prefix_at(incoming))?;
        let target = Target::read(path, self.kind, incoming.apps)?;
        let gone = target.active_gate()
            && target.api == Api::V2
            && !lock(&self.settings).classic_active_gates;
        (!gone).then_some(target)
    }

    /// Whether an API token or an ActiveGate token with this value is accepted now.
    pub(crate) fn accepts(&self, value: &str) -> bool {
        let now = self.site.clock.now();
        let api = lock(&self.table).authenticates(value, now).is_some();
        let gates = || lock(&self.active_gates);
        api || gates().table.authenticates(value, now).is_some()
    }

    fn creatable(&self) -> &'static [&'static str] {
        if self.kind == Kind::Cluster {
            &scopes::CLUSTER
        } else {
            &scopes::CREATABLE
        }
    }

    /// 404; documented without a body for environments, with the envelope for clusters.
    fn not_found(&self) -> Reply {
        if self.kind == Kind::Cluster {
            body::error(404, "Token not found")
        } else {
            body::not_found()
        }
    }

    /// Refuses what the retirement of classic tokens has closed.
    fn open_for(&self, call: ClassicCall) -> Result<(), Reply> {
        let settings = lock(&self.settings);
        if !settings.closes(call) {
            return Ok(());
        }
        let message = if call == ClassicCall::Create {
            "Creation of new tokens is now only available in Account Management."
        } else {
            "API tokens are not available in this environment."
        };
        Err(body::error(settings.closed_status, message))
    }

    /// The scopes of a create.
    fn creatable_scopes(&self, fields: &mut body::Fields) -> Option<Vec<String>> {
        if lock(&self.settings).drops_unknown_scopes {
            fields.drop_unknown_scopes(self.creatable());
        }
        fields.scopes(self.creatable())
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
        if incoming.apps && incoming.path.starts_with("/sso/") {
            // Measured: who posts client credentials to the tenant instead of the single sign-on is sent elsewhere.
            return Reply::empty(301).with_header("location", "/platform/oauth2/authorization");
        }
        let Some(target) = self.target(incoming) else {
            return body::error(404, "HTTP 404 Not Found");
        };
        if target.operation(&incoming.method).is_none() {
            return body::error(405, "HTTP 405 Method Not Allowed");
        }
        let mut table = lock(&self.table);
        table.purge();
        let now = self.site.clock.now();
        let platform = platform::credential(&target, incoming);
        let caller = match platform {
            Some(value) => platform::authenticated(self, value, now),
            None if target.bearer => Err(body::error(401, "Token Authentication failed")),
            None => authenticated(&mut table, incoming, now),
        };
        let answer = caller.and_then(|caller| match (&target.route, target.api) {
            (Route::Events, _) => lock(&self.events).answer(&caller, incoming, now),
            (Route::Probe(probe), _) => probes::answer(self, &caller, *probe, incoming),
            (Route::ConnectedActiveGates, _) => {
                lock(&self.active_gates).list_connected(self, &caller, now)
            }
            _ if target.active_gate() => {
                lock(&self.active_gates).answer(self, &caller, &target, incoming)
            }
            (_, Api::V1) => v1::answer(self, &mut table, &caller, &target.route, incoming),
            _ => v2::answer(self, &mut table, &caller, &target, incoming),
        });
        let reply = answer.unwrap_or_else(|refusal| refusal);
        if let Some(value) = platform {
            platform::note_use(self, value, &reply, incoming.peer, now);
        }
        reply
    }
}

/// The token that makes this call, noted as used now.
fn authenticated(table: &mut Table, incoming: &Incoming, now: Timestamp) -> Result<Token, Reply> {
    if incoming.bearer().is_some() {
        return Err(body::error(401, "Token exchange failed"));
    }
    let refused = || body::error(401, "Token Authentication failed");
    let value = credential(incoming).ok_or_else(refused)?;
    let caller = table.authenticates(value, now).ok_or_else(refused)?.clone();
    table.touch(&caller.id, incoming.peer, now);
    Ok(caller)
}

fn credential(incoming: &Incoming) -> Option<&str> {
    incoming.header("authorization")?.strip_prefix("Api-Token ")
}

/// 403 unless the caller has one of the scopes.
fn needs(caller: &Token, scopes: &[&str], title: &str) -> Result<(), Reply> {
    if scopes.iter().any(|scope| caller.has(scope)) {
        return Ok(());
    }
    let scopes = scopes.join(", ");
    let message = format!("Token is missing required scope. Use one of: {scopes} ({title})");
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
        let Some(target) = self.target(incoming) else {
            return call;
        };
        call.path = format!("{}{}", self.prefix_at(incoming), target.template);
        call.v1 = target.api == Api::V1;
        call.operation = target.operation(&incoming.method);
        let table = lock(&self.table);
        call.credential = match platform::credential(&target, incoming) {
            Some(value) => secret::id_of(value).map(str::to_owned),
            None => credential(incoming).and_then(|value| shown_id(&table, value)),
        };
        match &target.route {
            Route::Token(segment) => {
                call.secret_in_path = table.by_value(segment).is_some();
                call.subject = shown_id(&table, segment)
                    .or_else(|| looks_like_id(segment).then(|| segment.clone()));
            }
            Route::ActiveGateToken(id) => call.subject = Some(shown_active_gate_id(id)),
            Route::Lookup => {
                call.subject =
                    body_text(incoming, "token").and_then(|value| shown_id(&table, &value));
            }
            Route::Tokens | Route::ActiveGateTokens
                if call.operation == Some(Operation::CreateToken) =>
            {
                call.name = body_text(incoming, "name");
            }
            _ => {}
        }
        let active_gates = lock(&self.active_gates);
        let name = |id| {
            let token = table.get(id).or_else(|| active_gates.table.get(id))?;
            Some(token.name.clone())
        };
        if let Some(name) = call.subject.as_deref().and_then(name) {
            call.name = Some(name);
        }
        drop((active_gates, table));
        call
    }

    fn perform<'a>(&'a self, incoming: &'a Incoming) -> Performing<'a> {
        Box::pin(std::future::ready(self.handle(incoming)))
    }

    fn too_large(&self) -> Reply {
        body::error(413, "Payload too large")
    }

    fn answer_as(&self, incoming: &Incoming, token_id: &str) -> Option<Reply> {
        let target = self.target(incoming)?;
        let table = lock(&self.table);
        let active_gates = lock(&self.active_gates);
        let read = |token: &Token| match target.api {
            Api::V1 => v1::metadata(self, token),
            api if token.active_gate.is_some() => {
                active_gate::shown(self, token, api == Api::Fleet)
            }
            _ => list::shown_whole(self, token),
        };
        let token = table
            .get(token_id)
            .or_else(|| active_gates.table.get(token_id))?;
        match target.operation(&incoming.method)? {
            Operation::CreateToken if target.api == Api::V1 => Some(v1::created(token, incoming)),
            Operation::CreateToken => Some(v2::created(self, token)),
            Operation::GetToken | Operation::LookupToken => Some(body::ok(&read(token))),
            _ => None,
        }
    }

    fn reveal(&self, token_id: &str) {
        lock(&self.table).reveal(token_id);
        lock(&self.active_gates).table.reveal(token_id);
    }
}

/// An id that may be shown for a text that is an id or a secret.
fn shown_id(table: &Table, text: &str) -> Option<String> {
    if let Some(token) = table.get(text).or_else(|| table.by_value(text)) {
        return Some(token.id.clone());
    }
    secret::id_of(text).map(str::to_owned)
}

/// The id in a path that means an ActiveGate token; a value is shown by its id.
fn shown_active_gate_id(text: &str) -> String {
    secret::id_of(text).unwrap_or(text).to_owned()
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
