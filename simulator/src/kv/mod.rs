//! A small stand-in for Vault's HTTP API: KV v2, the token and AppRole calls a client needs, and health. Its statuses,
//! texts and shapes are those seen on OpenBao 2.7.2; what it does not have is refused as an unknown path.
//!
//! It is for the demo and for tests of unhappy answers. It keeps everything in memory and must never hold anything real.
//! Not built: PATCH of data, `delete_version_after`, namespaces, standbys, wrapping.

mod auth;
pub mod handle;
mod input;
mod store;
mod sys;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::calls::{Call, lock};
use crate::clock::Clock;
use crate::dynatrace::secret::uuid;
use crate::message::{Incoming, Reply, segment_decoded};
use crate::server::{Performing, Service, Site};
use auth::{Auth, VaultToken};
use handle::{KvChange, KvChangeKind};
use store::Mount;

/// What the KV stand-in offers.
#[derive(Clone)]
pub struct KvOptions {
    /// Names of the KV v2 mounts, without slashes at the ends.
    pub mounts: Vec<String>,
    /// The token that may do everything; drawn when absent.
    pub root_token: Option<String>,
    /// The one role of the AppRole login at `auth/approle/login`.
    pub app_role: AppRole,
}

impl Default for KvOptions {
    fn default() -> KvOptions {
        KvOptions {
            mounts: vec!["secret".to_owned(), "dtrotate".to_owned()],
            root_token: None,
            app_role: AppRole::default(),
        }
    }
}

impl fmt::Debug for KvOptions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("KvOptions")
            .field("mounts", &self.mounts)
            .field("app_role", &self.app_role)
            .finish_non_exhaustive()
    }
}

/// A role of the AppRole login.
#[derive(Clone)]
pub struct AppRole {
    pub role_id: String,
    pub secret_id: String,
    pub ttl: Duration,
    pub max_ttl: Duration,
    /// What tokens of this role may do.
    pub policy: Vec<PolicyRule>,
}

impl Default for AppRole {
    fn default() -> AppRole {
        AppRole {
            role_id: "simulator-role".to_owned(),
            secret_id: "simulator-secret-id".to_owned(),
            ttl: Duration::from_secs(3600),
            max_ttl: Duration::from_secs(4 * 3600),
            policy: vec![PolicyRule::new(
                "*",
                &["create", "read", "update", "delete", "list"],
            )],
        }
    }
}

impl fmt::Debug for AppRole {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("AppRole")
            .field("role_id", &self.role_id)
            .field("ttl", &self.ttl)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// Capabilities on a path as a policy file has them: `*` at the end matches every rest, `+` one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyRule {
    pub path: String,
    pub capabilities: Vec<String>,
}

impl PolicyRule {
    pub fn new(path: &str, capabilities: &[&str]) -> PolicyRule {
        PolicyRule {
            path: path.to_owned(),
            capabilities: capabilities
                .iter()
                .map(|&capability| capability.to_owned())
                .collect(),
        }
    }
}

/// Everything that changes.
pub(crate) struct State {
    mounts: BTreeMap<String, Mount>,
    auth: Auth,
    sealed: bool,
    history: Vec<KvChange>,
}

/// The stand-in itself.
pub(crate) struct Vault {
    site: Site,
    state: Mutex<State>,
}

/// A path below `/v1/`, in parts.
enum Route {
    Sys(String),
    Auth(String),
    /// Mount, kind (`data`, `metadata`, ...), key.
    Kv(String, String, String),
    Unknown,
}

const CONTENT_TYPE: &str = "application/json";

impl Vault {
    pub(crate) fn new(options: &KvOptions, site: Site) -> Vault {
        let mounts = options
            .mounts
            .iter()
            .map(|name| (name.clone(), Mount::default()))
            .collect();
        let auth = Auth::new(options, site.clock.clone());
        Vault {
            site,
            state: Mutex::new(State {
                mounts,
                auth,
                sealed: false,
                history: Vec::new(),
            }),
        }
    }

    fn handle(&self, incoming: &Incoming) -> Result<Reply, Reply> {
        refuse_odd_methods(incoming)?;
        refuse_odd_paths(incoming)?;
        let mut state = lock(&self.state);
        let state = &mut *state;
        let route = route(&incoming.path, &|rest| mount_of(&state.mounts, rest));
        if let Route::Sys(path) = &route
            && let Some(reply) = sys::without_token(state, &self.site.clock, path, incoming)
        {
            return Ok(reply);
        }
        if state.sealed {
            return Err(Reply::vault_error(503, &["Vault is sealed"]));
        }
        let namespace = incoming
            .header("x-vault-namespace")
            .unwrap_or("")
            .trim_matches('/');
        if !matches!(namespace, "" | "root") {
            return Err(Reply::vault_error(404, &["namespace not found"]));
        }
        if let Route::Auth(path) = &route
            && path == "approle/login"
        {
            return auth::login(&mut state.auth, incoming);
        }
        let token = state.auth.authenticated(incoming)?;
        match route {
            Route::Sys(path) => sys::with_token(state, &token, &path, incoming),
            Route::Auth(path) => auth::answer_auth(&mut state.auth, &token, &path, incoming),
            Route::Kv(mount, kind, key) => self.kv(state, &token, (&mount, &kind, &key), incoming),
            Route::Unknown => {
                let path = incoming.path.strip_prefix("/v1/").unwrap_or(&incoming.path);
                token.needs(path, "read")?;
                let text = format!("no handler for route \"{path}\". route entry not found.");
                Err(Reply::vault_error(404, &[&text]))
            }
        }
    }

    fn kv(
        &self,
        state: &mut State,
        token: &VaultToken,
        (mount_name, kind, key): (&str, &str, &str),
        incoming: &Incoming,
    ) -> Result<Reply, Reply> {
        let now = self.site.clock.now();
        let Some(mount) = state.mounts.get_mut(mount_name) else {
            return Err(Reply::vault_error(404, &[]));
        };
        let path = [mount_name, kind, key].join("/");
        let request = store::Request {
            kind,
            key,
            incoming,
            now,
        };
        let capability = mount.capability(&request);
        // A listing is judged by the path of the folder, with a slash at its end.
        let mut judged = path.trim_end_matches('/').to_owned();
        if capability == "list" {
            judged.push('/');
        }
        token.needs(&judged, capability)?;
        let (reply, change) = mount.answer(&request)?;
        if let Some(kind) = change {
            state.history.push(KvChange {
                sequence: self.site.clock.next_sequence(),
                at: now,
                instant: Instant::now(),
                mount: mount_name.to_owned(),
                path: key.to_owned(),
                kind,
                by: Some(token.accessor.clone()),
            });
        }
        Ok(reply)
    }

    /// A change made by hand, through the handle.
    fn by_hand(
        &self,
        mount: &str,
        path: &str,
        change: impl FnOnce(&mut Mount) -> Option<KvChangeKind>,
    ) -> Option<KvChangeKind> {
        let mut state = lock(&self.state);
        let kind = change(state.mounts.get_mut(mount)?)?;
        state.history.push(KvChange {
            sequence: self.site.clock.next_sequence(),
            at: self.site.clock.now(),
            instant: Instant::now(),
            mount: mount.to_owned(),
            path: path.to_owned(),
            kind: kind.clone(),
            by: None,
        });
        Some(kind)
    }
}

/// The parts of a path; `mount_of` tells how long the name of its mount is.
fn route(path: &str, mount_of: &dyn Fn(&str) -> Option<usize>) -> Route {
    let Some(rest) = path.strip_prefix("/v1/") else {
        return Route::Unknown;
    };
    let rest: Vec<String> = rest.split('/').map(segment_decoded).collect();
    let rest = rest.join("/");
    if let Some(rest) = rest.strip_prefix("sys/") {
        return Route::Sys(rest.to_owned());
    }
    if let Some(rest) = rest.strip_prefix("auth/") {
        return Route::Auth(rest.to_owned());
    }
    let Some((mount, inner)) = mount_of(&rest).map(|length| rest.split_at(length)) else {
        return Route::Unknown;
    };
    let inner = inner.strip_prefix('/').unwrap_or(inner);
    let (kind, key) = inner.split_once('/').unwrap_or((inner, ""));
    Route::Kv(mount.to_owned(), kind.to_owned(), key.to_owned())
}

fn mount_of(mounts: &BTreeMap<String, Mount>, rest: &str) -> Option<usize> {
    store::split_mount(mounts, rest).map(|(mount, _)| mount.len())
}

/// What a request asks for, told by its path alone: the mount is its first segment.
#[cfg(feature = "gate")]
pub(crate) fn describe_path(clock: &Clock, incoming: &Incoming) -> Call {
    described(
        clock,
        incoming,
        route(&incoming.path, &|rest| rest.find('/')),
    )
}

fn described(clock: &Clock, incoming: &Incoming, route: Route) -> Call {
    let (path, operation, subject) = match route {
        Route::Sys(path) => (
            format!("/v1/sys/{}", sys::template(&path)),
            sys::operation(&path),
            None,
        ),
        Route::Auth(path) => (format!("/v1/auth/{path}"), auth::operation(&path), None),
        Route::Kv(mount, kind, key) => {
            let subject = format!("{mount}/{key}");
            let operation = store::operation(&kind, &key, incoming);
            (
                format!("/v1/{mount}/{kind}/{{path}}"),
                operation,
                Some(subject),
            )
        }
        Route::Unknown => ("unknown".to_owned(), None, None),
    };
    let mut call = crate::server::call(clock, incoming, path);
    call.operation = operation;
    call.subject = subject;
    call
}

/// OPTIONS is refused as a bad request, methods that Vault does not know as not allowed.
fn refuse_odd_methods(incoming: &Incoming) -> Result<(), Reply> {
    match incoming.method.as_str() {
        "GET" | "HEAD" | "LIST" | "POST" | "PUT" | "PATCH" | "DELETE" => Ok(()),
        "OPTIONS" => Err(Reply::vault_error(400, &[])),
        _ => Err(Reply::vault_error(405, &[])),
    }
}

/// `//`, `.` and `..` are redirected to the cleaned path; the encoded `..` is refused.
fn refuse_odd_paths(incoming: &Incoming) -> Result<(), Reply> {
    let segments: Vec<&str> = incoming.path.split('/').skip(1).collect();
    let last = segments.len().saturating_sub(1);
    let odd = |(at, segment): (usize, &&str)| {
        matches!(*segment, "." | "..") || (segment.is_empty() && at != last)
    };
    if segments.iter().enumerate().any(odd) {
        let mut clean: Vec<&str> = Vec::new();
        for segment in segments {
            match segment {
                "" | "." => {}
                ".." => {
                    clean.pop();
                }
                other => clean.push(other),
            }
        }
        let location = format!("/{}", clean.join("/"));
        return Err(Reply::empty(307).with_header("location", &location));
    }
    if segments
        .iter()
        .any(|segment| segment_decoded(segment) == "..")
    {
        return Err(Reply::vault_error(
            400,
            &["path contains parent references"],
        ));
    }
    Ok(())
}

/// The form every successful answer with data has.
fn answer(status: u16, data: Value, warnings: &[String]) -> Reply {
    let warnings = if warnings.is_empty() {
        Value::Null
    } else {
        json!(warnings)
    };
    let body = json!({
        "request_id": uuid(),
        "lease_id": "",
        "renewable": false,
        "lease_duration": 0,
        "data": data,
        "wrap_info": null,
        "warnings": warnings,
        "auth": null,
    });
    Reply::json(status, CONTENT_TYPE, &body).with_header("cache-control", "no-store")
}

fn unsupported_operation() -> Reply {
    Reply::vault_error(405, &["1 error occurred:\n\t* unsupported operation\n\n"])
}

/// The body as a JSON object; an empty body is an empty object. The media type does not matter to Vault.
fn object(incoming: &Incoming) -> Result<Map<String, Value>, Reply> {
    if incoming.body.is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(&incoming.body) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => {
            let text = "failed to decode JSON input: json: cannot unmarshal array into Go value of type map[string]interface {}";
            Err(Reply::vault_error(400, &[text]))
        }
        Err(_) => Err(Reply::vault_error(
            400,
            &["failed to decode JSON input: invalid character"],
        )),
    }
}

impl Service for Vault {
    fn site(&self) -> &Site {
        &self.site
    }

    fn describe(&self, incoming: &Incoming) -> Call {
        let state = lock(&self.state);
        let route = route(&incoming.path, &|rest| mount_of(&state.mounts, rest));
        let mut call = described(&self.site.clock, incoming, route);
        call.credential = state.auth.accessor_of(incoming);
        call
    }

    fn perform<'a>(&'a self, incoming: &'a Incoming) -> Performing<'a> {
        let reply = self.handle(incoming).unwrap_or_else(|refusal| refusal);
        Box::pin(std::future::ready(reply))
    }

    fn too_large(&self) -> Reply {
        Reply::vault_error(413, &["http: request body too large"])
    }
}
