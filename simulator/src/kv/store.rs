//! One KV v2 mount: versions, check-and-set, metadata. Statuses and texts as seen on OpenBao 2.7.2.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::handle::KvChangeKind;
use super::input::{
    BAD_VERSION, INVALID_PATH, as_stored, cas_of, limits_of, not_a_map, versions_of,
};
use super::{answer, object, unsupported_operation};
use crate::calls::Operation;
use crate::message::{Incoming, Reply};

/// Versions kept when neither the key nor the mount says otherwise.
const DEFAULT_MAX_VERSIONS: u64 = 10;
const DATA_FIELDS: [&str; 3] = ["data", "options", "version"];

/// A request inside a mount.
pub(super) struct Request<'a> {
    /// `data`, `metadata`, ...
    pub(super) kind: &'a str,
    pub(super) key: &'a str,
    pub(super) incoming: &'a Incoming,
    pub(super) now: Timestamp,
}

type Answer = Result<(Reply, Option<KvChangeKind>), Reply>;

/// All keys of one mount.
#[derive(Default)]
pub(crate) struct Mount {
    entries: BTreeMap<String, Entry>,
    max_versions: u64,
    cas_required: bool,
}

struct Entry {
    versions: BTreeMap<u64, Version>,
    current: u64,
    oldest: u64,
    max_versions: u64,
    cas_required: bool,
    custom_metadata: Value,
    metadata_version: u64,
    created: Timestamp,
    updated: Timestamp,
}

struct Version {
    data: Value,
    created: Timestamp,
    deleted: Option<Timestamp>,
    destroyed: bool,
}

/// The mount that a path lies in, and the rest. The longest name wins.
pub(super) fn split_mount<'a>(
    mounts: &'a BTreeMap<String, Mount>,
    path: &'a str,
) -> Option<(&'a str, &'a str)> {
    mounts
        .keys()
        .filter_map(|mount| {
            let inner = path.strip_prefix(mount.as_str())?.strip_prefix('/')?;
            Some((mount.as_str(), inner))
        })
        .max_by_key(|(mount, _)| mount.len())
}

fn is_list(incoming: &Incoming) -> bool {
    let asked = || {
        incoming
            .query_pairs()
            .iter()
            .any(|(key, value)| key == "list" && value == "true")
    };
    incoming.method == "LIST" || (incoming.method == "GET" && asked())
}

pub(super) fn operation(kind: &str, key: &str, incoming: &Incoming) -> Option<Operation> {
    match (kind, incoming.method.as_str()) {
        ("metadata", _) if is_list(incoming) => Some(Operation::ListSecrets),
        (_, _) if key.is_empty() => None,
        ("data", "GET") => Some(Operation::ReadSecret),
        ("data", "POST" | "PUT") => Some(Operation::WriteSecret),
        ("data", "DELETE") | ("delete" | "undelete" | "destroy", "POST" | "PUT") => {
            Some(Operation::DeleteSecret)
        }
        ("metadata", "GET") => Some(Operation::ReadMetadata),
        ("metadata", "POST" | "PUT") => Some(Operation::WriteMetadata),
        ("metadata", "DELETE") => Some(Operation::DeleteMetadata),
        _ => None,
    }
}

impl Mount {
    /// What a policy must allow for this request.
    pub(super) fn capability(&self, request: &Request<'_>) -> &'static str {
        match request.incoming.method.as_str() {
            _ if is_list(request.incoming) => "list",
            "GET" | "HEAD" => "read",
            "DELETE" => "delete",
            _ if request.kind == "data" && !self.entries.contains_key(request.key) => "create",
            _ => "update",
        }
    }

    pub(super) fn answer(&mut self, request: &Request<'_>) -> Answer {
        let method = request.incoming.method.as_str();
        let writes = matches!(method, "POST" | "PUT");
        match request.kind {
            "data" | "metadata" if writes && request.key.ends_with('/') => Err(Reply::vault_error(
                400,
                &["cannot write to a path ending in '/'"],
            )),
            "metadata" if is_list(request.incoming) => Ok((self.list(request.key)?, None)),
            "data"
                if request.key.is_empty()
                    && method == "GET"
                    && !request.incoming.path.ends_with('/') =>
            {
                Err(answer(
                    404,
                    Value::Null,
                    &[
                        "Non-listing operations on the root of a K/V v2 mount are not supported."
                            .to_owned(),
                    ],
                ))
            }
            "data" if method == "GET" => Ok((self.read(request)?, None)),
            "data" if writes => self.write(request),
            "data" if method == "DELETE" => Ok(self.delete(request.key, &[], request.now)),
            "delete" | "undelete" | "destroy" if writes => self.change_versions(request),
            "metadata" if method == "GET" => Ok((self.metadata(request.key)?, None)),
            "metadata" if writes => self.write_metadata(request),
            "metadata" if method == "DELETE" => {
                let gone = self
                    .entries
                    .remove(request.key)
                    .map(|_| KvChangeKind::MetadataDeleted);
                Ok((Reply::empty(204), gone))
            }
            "config" if request.key.is_empty() && method == "GET" => Ok((self.config(), None)),
            "config" if request.key.is_empty() && writes => self.write_config(request.incoming),
            "data" | "metadata" | "delete" | "undelete" | "destroy" | "config" => {
                Err(unsupported_operation())
            }
            _ => Err(answer(404, Value::Null, &[INVALID_PATH.to_owned()])),
        }
    }

    fn read(&self, request: &Request<'_>) -> Result<Reply, Reply> {
        let asked = request
            .incoming
            .query_pairs()
            .into_iter()
            .find(|(key, _)| key == "version");
        let asked: i64 = match asked {
            None => 0,
            Some((_, text)) => text
                .parse()
                .map_err(|_| Reply::vault_error(400, &[BAD_VERSION]))?,
        };
        let absent = || Reply::vault_error(404, &[]);
        let entry = self.entries.get(request.key).ok_or_else(absent)?;
        let number = u64::try_from(asked)
            .ok()
            .filter(|number| *number > 0)
            .unwrap_or(entry.current);
        let version = entry.versions.get(&number).ok_or_else(absent)?;
        let gone = version.destroyed || version.deleted.is_some();
        let data = json!({
            "data": if gone { Value::Null } else { version.data.clone() },
            "metadata": entry.version_metadata(number, version),
        });
        Ok(answer(if gone { 404 } else { 200 }, data, &[]))
    }

    fn write(&mut self, request: &Request<'_>) -> Answer {
        let body = object(request.incoming)?;
        let options = match body.get("options") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(options)) => options.clone(),
            Some(other) => return Err(not_a_map("options", other)),
        };
        let data = match body.get("data") {
            None => return Err(Reply::vault_error(400, &["no data provided"])),
            Some(data @ (Value::Null | Value::Object(_))) => as_stored(data.clone()),
            Some(other) => return Err(not_a_map("data", other)),
        };
        let cas = options.get("cas").map(cas_of).transpose()?;
        let entry = self.entries.get(request.key);
        let required = self.cas_required || entry.is_some_and(|entry| entry.cas_required);
        let current = entry.map_or(0, |entry| entry.current);
        match cas {
            None if required => {
                return Err(Reply::vault_error(
                    400,
                    &["check-and-set parameter required for this call"],
                ));
            }
            Some(cas) if u64::try_from(cas) != Ok(current) => {
                let text = "check-and-set parameter did not match the current version";
                return Err(Reply::vault_error(400, &[text]));
            }
            _ => {}
        }
        let mut ignored: Vec<&str> = body
            .keys()
            .map(String::as_str)
            .filter(|key| !DATA_FIELDS.contains(key))
            .collect();
        ignored.sort_unstable();
        let warnings = if ignored.is_empty() {
            Vec::new()
        } else {
            vec![format!(
                "Endpoint ignored these unrecognized parameters: [{}]",
                ignored.join(" ")
            )]
        };
        let version = self.put(request.key, data, request.now);
        let entry = &self.entries[request.key];
        let reply = answer(
            200,
            entry.version_metadata(version, &entry.versions[&version]),
            &warnings,
        );
        Ok((reply, Some(KvChangeKind::Written { version })))
    }

    /// Writes without any check; returns the version made.
    pub(super) fn put(&mut self, key: &str, data: Value, now: Timestamp) -> u64 {
        let mount_max = self.max_versions;
        let entry = self
            .entries
            .entry(key.to_owned())
            .or_insert_with(|| Entry::new(now));
        entry.current += 1;
        entry.updated = now;
        let version = Version {
            data,
            created: now,
            deleted: None,
            destroyed: false,
        };
        entry.versions.insert(entry.current, version);
        let max = [entry.max_versions, mount_max, DEFAULT_MAX_VERSIONS]
            .into_iter()
            .find(|max| *max > 0);
        let kept = usize::try_from(max.unwrap_or(DEFAULT_MAX_VERSIONS)).unwrap_or(usize::MAX);
        while entry.versions.len() > kept {
            entry.versions.pop_first();
            entry.oldest = entry.versions.keys().next().copied().unwrap_or(0);
        }
        entry.current
    }

    /// The number and data of a version, or of the current one; `None` when it is gone.
    pub(super) fn get(&self, key: &str, number: Option<u64>) -> Option<(u64, Value)> {
        let entry = self.entries.get(key)?;
        let number = number.unwrap_or(entry.current);
        let version = entry.versions.get(&number)?;
        (version.deleted.is_none() && !version.destroyed).then(|| (number, version.data.clone()))
    }

    pub(super) fn keys(&self) -> Vec<String> {
        self.entries.keys().cloned().collect()
    }

    /// Of the current version when none is named.
    pub(super) fn delete(
        &mut self,
        key: &str,
        numbers: &[u64],
        now: Timestamp,
    ) -> (Reply, Option<KvChangeKind>) {
        let mut changed = Vec::new();
        if let Some(entry) = self.entries.get_mut(key) {
            let current = [entry.current];
            let numbers = if numbers.is_empty() {
                &current[..]
            } else {
                numbers
            };
            for number in numbers {
                if let Some(version) = entry.versions.get_mut(number)
                    && version.deleted.is_none()
                    && !version.destroyed
                {
                    version.deleted = Some(now);
                    changed.push(*number);
                }
            }
        }
        let change = (!changed.is_empty()).then_some(KvChangeKind::Deleted { versions: changed });
        (Reply::empty(204), change)
    }

    fn change_versions(&mut self, request: &Request<'_>) -> Answer {
        let body = object(request.incoming)?;
        let numbers = versions_of(&body)?;
        if request.kind == "delete" {
            return Ok(self.delete(request.key, &numbers, request.now));
        }
        let mut changed = Vec::new();
        if let Some(entry) = self.entries.get_mut(request.key) {
            for number in numbers {
                let Some(version) = entry
                    .versions
                    .get_mut(&number)
                    .filter(|version| !version.destroyed)
                else {
                    continue;
                };
                changed.push(number);
                if request.kind == "undelete" {
                    version.deleted = None;
                } else {
                    version.destroyed = true;
                    version.data = Value::Null;
                }
            }
        }
        let change = match (changed.is_empty(), request.kind) {
            (true, _) => None,
            (false, "undelete") => Some(KvChangeKind::Undeleted { versions: changed }),
            (false, _) => Some(KvChangeKind::Destroyed { versions: changed }),
        };
        Ok((Reply::empty(204), change))
    }

    fn list(&self, folder: &str) -> Result<Reply, Reply> {
        let folder = folder.trim_end_matches('/');
        let inside = |key: &str| {
            let rest = if folder.is_empty() {
                key
            } else {
                key.strip_prefix(folder)?.strip_prefix('/')?
            };
            Some(match rest.split_once('/') {
                Some((first, _)) => format!("{first}/"),
                None => rest.to_owned(),
            })
        };
        let mut keys: Vec<String> = self.entries.keys().filter_map(|key| inside(key)).collect();
        keys.sort();
        keys.dedup();
        if keys.is_empty() {
            return Err(Reply::vault_error(404, &[]));
        }
        Ok(answer(200, json!({ "keys": keys }), &[]))
    }

    fn metadata(&self, key: &str) -> Result<Reply, Reply> {
        let entry = self
            .entries
            .get(key)
            .ok_or_else(|| Reply::vault_error(404, &[]))?;
        let versions: Map<String, Value> = entry
            .versions
            .iter()
            .map(|(number, version)| (number.to_string(), version.metadata()))
            .collect();
        let data = json!({
            "cas_required": entry.cas_required,
            "created_time": entry.created.to_string(),
            "current_metadata_version": entry.metadata_version,
            "current_version": entry.current,
            "custom_metadata": entry.custom_metadata,
            "delete_version_after": "0s",
            "max_versions": entry.max_versions,
            "metadata_cas_required": false,
            "oldest_version": entry.oldest,
            "updated_time": entry.updated.to_string(),
            "versions": versions,
        });
        Ok(answer(200, data, &[]))
    }

    fn write_metadata(&mut self, request: &Request<'_>) -> Answer {
        if request.key.is_empty() {
            return Err(unsupported_operation());
        }
        let body = object(request.incoming)?;
        let (max_versions, cas_required) = limits_of(&body)?;
        let custom = match body.get("custom_metadata") {
            None | Some(Value::Null) => None,
            Some(custom @ Value::Object(_)) => Some(custom.clone()),
            Some(other) => return Err(not_a_map("custom_metadata", other)),
        };
        let entry = self
            .entries
            .entry(request.key.to_owned())
            .or_insert_with(|| Entry::new(request.now));
        entry.max_versions = max_versions.unwrap_or(entry.max_versions);
        entry.cas_required = cas_required.unwrap_or(entry.cas_required);
        entry.custom_metadata = custom.unwrap_or_else(|| entry.custom_metadata.take());
        entry.metadata_version += 1;
        entry.updated = request.now;
        Ok((Reply::empty(204), Some(KvChangeKind::MetadataWritten)))
    }

    fn config(&self) -> Reply {
        let data = json!({
            "cas_required": self.cas_required,
            "delete_version_after": "0s",
            "max_versions": self.max_versions,
            "metadata_cas_required": false,
        });
        answer(200, data, &[])
    }

    fn write_config(&mut self, incoming: &Incoming) -> Answer {
        let (max_versions, cas_required) = limits_of(&object(incoming)?)?;
        self.max_versions = max_versions.unwrap_or(self.max_versions);
        self.cas_required = cas_required.unwrap_or(self.cas_required);
        Ok((Reply::empty(204), None))
    }
}

impl Entry {
    fn new(now: Timestamp) -> Entry {
        Entry {
            versions: BTreeMap::new(),
            current: 0,
            oldest: 0,
            max_versions: 0,
            cas_required: false,
            custom_metadata: Value::Null,
            metadata_version: 0,
            created: now,
            updated: now,
        }
    }

    fn version_metadata(&self, number: u64, version: &Version) -> Value {
        let mut metadata = version.metadata();
        metadata["custom_metadata"] = self.custom_metadata.clone();
        metadata["version"] = json!(number);
        metadata
    }
}

impl Version {
    fn metadata(&self) -> Value {
        json!({
            "created_time": self.created.to_string(),
            "deletion_time": self.deleted.map(|at| at.to_string()).unwrap_or_default(),
            "destroyed": self.destroyed,
        })
    }
}
