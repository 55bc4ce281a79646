//! A stand-in for Vault, for `dtrotate demo` and `make bench`: the calls that the daemon makes there, and no others. KV v2 mounts in memory, one
//! token that may do everything, no seal. Statuses and forms are those of OpenBao; tests use a real one.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::calls::{Call, Operation, lock};
use crate::clock::Clock;
use crate::dynatrace::secret::uuid;
use crate::message::{Incoming, Reply, segment_decoded};
use crate::server::{self, Performing, Service, Site};

/// Names of the KV v2 mounts.
const MOUNTS: [&str; 2] = ["secret", "dtrotate"];
/// Versions of a key that are kept, the default of a server.
const MAX_VERSIONS: usize = 10;
const CONTENT_TYPE: &str = "application/json";

/// The KV stand-in of a running simulator. Cloning gives another handle of the same one.
#[derive(Clone)]
pub struct Kv {
    vault: Arc<Vault>,
    url: String,
}

impl fmt::Debug for Kv {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Kv")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl Kv {
    pub(crate) fn new(vault: Arc<Vault>, url: String) -> Kv {
        Kv { vault, url }
    }

    /// The server's address, without `/v1`, without a trailing slash.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The value of the token that may do everything.
    pub fn root_token(&self) -> &str {
        &self.vault.root_token
    }

    /// Writes a new version and returns its number; `None` when there is no such mount.
    pub fn put(&self, mount: &str, path: &str, data: Value) -> Option<u64> {
        let now = self.vault.site.clock.now();
        let mut mounts = lock(&self.vault.mounts);
        let key = mounts.get_mut(mount)?.entry(path.to_owned()).or_default();
        Some(key.put(data, now))
    }

    /// The current version's number and data; `None` when there is none.
    pub fn get(&self, mount: &str, path: &str) -> Option<(u64, Value)> {
        let mounts = lock(&self.vault.mounts);
        let (number, version) = mounts.get(mount)?.get(path)?.0.last_key_value()?;
        Some((*number, version.data.clone()))
    }

    /// The requests seen since the start or the last reset.
    pub fn calls(&self) -> Vec<Call> {
        self.vault.site.calls.all()
    }

    /// Forgets the calls so far.
    pub fn reset_calls(&self) {
        self.vault.site.calls.reset();
    }
}

/// The stand-in itself.
pub(crate) struct Vault {
    site: Site,
    root_token: String,
    mounts: Mutex<BTreeMap<&'static str, Mount>>,
}

/// The keys of one mount by their paths.
type Mount = BTreeMap<String, Key>;

/// The versions of one key; the last is the current one.
#[derive(Default)]
struct Key(BTreeMap<u64, Version>);

struct Version {
    data: Value,
    created: Timestamp,
}

impl Key {
    fn current(&self) -> u64 {
        self.0.last_key_value().map_or(0, |(number, _)| *number)
    }

    fn put(&mut self, data: Value, created: Timestamp) -> u64 {
        let number = self.current() + 1;
        self.0.insert(number, Version { data, created });
        if self.0.len() > MAX_VERSIONS {
            self.0.pop_first();
        }
        number
    }
}

impl Vault {
    pub(crate) fn new(site: Site) -> Vault {
        Vault {
            site,
            root_token: format!("s.{}", uuid()),
            mounts: Mutex::new(MOUNTS.map(|name| (name, Mount::new())).into()),
        }
    }

    fn answer(&self, incoming: &Incoming) -> Result<Reply, Reply> {
        let path = incoming.path.strip_prefix("/v1/").unwrap_or_default();
        let path: Vec<String> = path.split('/').map(segment_decoded).collect();
        let path = path.join("/");
        if path == "sys/health" {
            return Ok(Reply::json(200, CONTENT_TYPE, &self.health()));
        }
        if incoming.header("x-vault-token") != Some(&self.root_token) {
            return Err(Reply::vault_error(403, &["permission denied"]));
        }
        if path == "auth/token/lookup-self" {
            let data = json!({ "policies": ["root"], "renewable": false, "ttl": 0 });
            return Ok(success(data));
        }
        if path == "sys/capabilities-self" {
            return Ok(capabilities(&incoming.body));
        }
        if let Some(mount) = path.strip_prefix("sys/internal/ui/mounts/") {
            return mount_info(mount.trim_end_matches('/'));
        }
        let mut parts = path.splitn(3, '/');
        let [mount, kind, key] = [(); 3].map(|()| parts.next().unwrap_or_default());
        let mut mounts = lock(&self.mounts);
        let mount = mounts.get_mut(mount).ok_or_else(|| unknown(&path))?;
        let is_list = incoming.query.as_deref() == Some("list=true");
        match (incoming.method.as_str(), kind) {
            ("GET", "metadata") if is_list => list(mount, key),
            ("GET", "metadata") => metadata(mount, key),
            ("GET", "data") => read(mount, key, incoming),
            ("GET", "config") => Ok(success(json!({
                "cas_required": false,
                "delete_version_after": "0s",
                "max_versions": 0,
            }))),
            ("POST" | "PUT", "data") => write(mount, key, &incoming.body, self.site.clock.now()),
            _ => Err(unknown(&path)),
        }
    }

    fn health(&self) -> Value {
        json!({
            "initialized": true,
            "sealed": false,
            "standby": false,
            "replication_performance_mode": "disabled",
            "replication_dr_mode": "disabled",
            "server_time_utc": self.site.clock.now().as_second(),
            "version": "2.7.2",
        })
    }
}

/// The root token may everything.
fn capabilities(body: &[u8]) -> Reply {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let paths = body["paths"].as_array().into_iter().flatten();
    let paths = paths.filter_map(Value::as_str);
    success(paths.map(|path| (path, json!(["root"]))).collect())
}

fn mount_info(mount: &str) -> Result<Reply, Reply> {
    if !MOUNTS.contains(&mount) {
        let text = format!(
            "preflight capability check returned 403, please ensure client's policies grant access to path \"{mount}/\""
        );
        return Err(Reply::vault_error(403, &[&text]));
    }
    let path = format!("{mount}/");
    Ok(success(
        json!({ "path": path, "type": "kv", "options": { "version": "2" } }),
    ))
}

fn read(mount: &Mount, path: &str, incoming: &Incoming) -> Result<Reply, Reply> {
    let key = mount.get(path).ok_or_else(absent)?;
    let asked = incoming.query_pairs().into_iter();
    let asked = asked.filter(|(name, _)| name == "version");
    let asked = asked.filter_map(|(_, number)| number.parse().ok()).next();
    let number = asked.filter(|number| *number > 0).unwrap_or(key.current());
    let version = key.0.get(&number).ok_or_else(absent)?;
    let metadata = version_metadata(number, version);
    Ok(success(
        json!({ "data": version.data, "metadata": metadata }),
    ))
}

fn write(mount: &mut Mount, path: &str, body: &[u8], now: Timestamp) -> Result<Reply, Reply> {
    let bad = |text: &str| Reply::vault_error(400, &[text]);
    let body: Value = serde_json::from_slice(body)
        .map_err(|_| bad("failed to decode JSON input: invalid character"))?;
    let data = body.get("data").filter(|data| data.is_object());
    let data = data.ok_or_else(|| bad("no data provided"))?;
    let current = mount.get(path).map_or(0, Key::current);
    let cas = &body["options"]["cas"];
    if !cas.is_null() && cas.as_u64() != Some(current) {
        return Err(bad(
            "check-and-set parameter did not match the current version",
        ));
    }
    let key = mount.entry(path.to_owned()).or_default();
    let number = key.put(data.clone(), now);
    Ok(success(version_metadata(number, &key.0[&number])))
}

fn metadata(mount: &Mount, path: &str) -> Result<Reply, Reply> {
    let key = mount.get(path).ok_or_else(absent)?;
    let oldest = key.0.first_key_value().map_or(0, |(number, _)| *number);
    Ok(success(json!({
        "current_version": key.current(),
        "max_versions": 0,
        // 0 until a version was dropped.
        "oldest_version": if oldest > 1 { oldest } else { 0 },
    })))
}

/// The names right below a folder, folders with their final `/`.
fn list(mount: &Mount, folder: &str) -> Result<Reply, Reply> {
    let folder = folder.trim_end_matches('/');
    let inside = |path: &String| {
        let rest = match folder {
            "" => path,
            folder => path.strip_prefix(folder)?.strip_prefix('/')?,
        };
        let name = rest.split_inclusive('/').next();
        name.map(str::to_owned)
    };
    let mut names: Vec<String> = mount.keys().filter_map(inside).collect();
    names.dedup();
    match names.as_slice() {
        [] => Err(absent()),
        names => Ok(success(json!({ "keys": names }))),
    }
}

fn version_metadata(number: u64, version: &Version) -> Value {
    json!({
        "created_time": version.created.to_string(),
        "custom_metadata": null,
        "deletion_time": "",
        "destroyed": false,
        "version": number,
    })
}

/// The form of every successful answer with data.
fn success(data: Value) -> Reply {
    let body = json!({
        "request_id": uuid(),
        "lease_id": "",
        "renewable": false,
        "lease_duration": 0,
        "data": data,
        "wrap_info": null,
        "warnings": null,
        "auth": null,
    });
    Reply::json(200, CONTENT_TYPE, &body)
}

fn absent() -> Reply {
    Reply::vault_error(404, &[])
}

fn unknown(path: &str) -> Reply {
    let text = format!("no handler for route \"{path}\". route entry not found.");
    Reply::vault_error(404, &[&text])
}

impl Service for Vault {
    fn site(&self) -> &Site {
        &self.site
    }

    fn describe(&self, incoming: &Incoming) -> Call {
        describe(&self.site.clock, incoming)
    }

    fn perform<'a>(&'a self, incoming: &'a Incoming) -> Performing<'a> {
        let reply = self.answer(incoming).unwrap_or_else(|refusal| refusal);
        Box::pin(std::future::ready(reply))
    }

    fn too_large(&self) -> Reply {
        Reply::vault_error(413, &["http: request body too large"])
    }
}

/// What a request to Vault asks for, by its path alone: below `sys` and `auth` it stands for itself, elsewhere it is
/// `MOUNT/KIND/KEY`, as in a KV v2 engine.
pub(crate) fn describe(clock: &Clock, incoming: &Incoming) -> Call {
    let segments: Vec<String> = incoming.path.split('/').map(segment_decoded).collect();
    let path = segments.join("/");
    let parts: Vec<&str> = path.splitn(5, '/').collect();
    let ["", "v1", mount, kind, key] = parts[..] else {
        return server::call(clock, incoming, path);
    };
    if matches!(mount, "sys" | "auth") {
        return server::call(clock, incoming, path);
    }
    let mut call = server::call(clock, incoming, format!("/v1/{mount}/{kind}/{{path}}"));
    call.operation = match (kind, incoming.method.as_str()) {
        ("data", "GET") => Some(Operation::ReadSecret),
        ("data", "POST" | "PUT") => Some(Operation::WriteSecret),
        _ => None,
    };
    call.subject = Some(format!("{mount}/{key}"));
    call
}
