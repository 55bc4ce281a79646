//! Reading and writing versions of a KV v2 engine. Every write is check-and-set.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::http;
use rotation::error::{CallError, ErrorKind};
use rotation::ports::{SecretData, SecretPath, SecretRead};

use super::answer::Answer;
use super::client::Vault;
use super::mounts::Engine;
use super::retention;
use super::wire::{Call, Effect};

#[derive(Deserialize)]
struct Version {
    data: Option<Map<String, Value>>,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Listing {
    keys: Vec<String>,
}

#[derive(Deserialize)]
struct Metadata {
    version: u64,
    #[serde(default)]
    deletion_time: String,
    #[serde(default)]
    created_time: Option<Timestamp>,
}

/// Reads the latest version, or the one asked for.
pub(super) async fn read(
    vault: &Vault,
    at: &SecretPath,
    version: Option<u64>,
) -> Result<SecretRead, CallError> {
    Ok(read_over(vault, at, version, false).await?.read)
}

/// Reads the latest version, and when it will be deleted.
pub(super) async fn read_with_end(
    vault: &Vault,
    at: &SecretPath,
) -> Result<(SecretRead, Option<Timestamp>), CallError> {
    let found = read_over(vault, at, None, false).await?;
    Ok((found.read, found.ends))
}

/// The latest version and when Vault took it; none = there is none, or Vault does not say.
pub(super) async fn created(
    vault: &Vault,
    at: &SecretPath,
) -> Result<Option<(u64, Timestamp)>, CallError> {
    let found = read_over(vault, at, None, false).await?;
    Ok(match found.read {
        SecretRead::Present { version, .. } => found.created.map(|created| (version, created)),
        SecretRead::Absent | SecretRead::Deleted { .. } => None,
    })
}

/// Reads the latest version over a separate connection.
pub(super) async fn confirm(vault: &Vault, at: &SecretPath) -> Result<SecretRead, CallError> {
    Ok(read_over(vault, at, None, true).await?.read)
}

/// What is at a path.
struct Found {
    read: SecretRead,
    /// When Vault deletes the version.
    ends: Option<Timestamp>,
    /// When Vault took it.
    created: Option<Timestamp>,
}

impl Found {
    /// Nothing that could be read.
    fn without_data(read: SecretRead) -> Found {
        Found {
            read,
            ends: None,
            created: None,
        }
    }
}

async fn read_over(
    vault: &Vault,
    at: &SecretPath,
    version: Option<u64>,
    own_connection: bool,
) -> Result<Found, CallError> {
    let mut call = Call::get(Engine::V2.data_path(at));
    call.own_connection = own_connection;
    call.query = version.map(|version| ("version", version.to_string()));
    // The server takes 0 for "the latest".
    if version == Some(0) {
        return Ok(Found::without_data(SecretRead::Absent));
    }
    let answer = vault.call(&call).await?;
    match (answer.status, answer.data::<Version>()) {
        (200, Ok(Some(found))) => {
            let read = SecretRead::Present {
                version: found.metadata.version,
                data: SecretData(found.data.unwrap_or_default()),
            };
            Ok(Found {
                read,
                ends: retention::ends(&found.metadata.deletion_time),
                created: found.metadata.created_time,
            })
        }
        (404, Ok(Some(found))) => {
            let version = found.metadata.version;
            Ok(Found::without_data(SecretRead::Deleted { version }))
        }
        (404, Ok(None)) => {
            let read = absent(vault, at, &call, &answer)?;
            Ok(Found::without_data(read))
        }
        (200 | 404, _) => {
            vault.mounts().doubt(&at.mount);
            let text = "unexpected response format: not that of a KV version 2 engine";
            Err(call.error(ErrorKind::Transient, text))
        }
        _ => Err(answer.refuse(&call)),
    }
}

/// A 404 without a body of its own: only one without any words means that nothing is there.
fn absent(
    vault: &Vault,
    at: &SecretPath,
    call: &Call,
    answer: &Answer,
) -> Result<SecretRead, CallError> {
    let words = answer.words();
    if words.is_empty() {
        // A KV version 1 engine that replaced this one says the same of every secret.
        vault.mounts().doubt(&at.mount);
        return Ok(SecretRead::Absent);
    }
    vault.mounts().forget(&at.mount);
    Err(answer.refuse(call))
}

/// Writes the whole map if the latest version is `cas`, and returns the new version.
pub(super) async fn write(
    vault: &Vault,
    at: &SecretPath,
    cas: u64,
    data: &Map<String, Value>,
) -> Result<u64, CallError> {
    Ok(write_with_end(vault, at, cas, data).await?.0)
}

/// The same, and also returns when the new version will be deleted.
pub(super) async fn write_with_end(
    vault: &Vault,
    at: &SecretPath,
    cas: u64,
    data: &Map<String, Value>,
) -> Result<(u64, Option<Timestamp>), CallError> {
    let path = Engine::V2.data_path(at);
    // Built by hand, because `json!` would copy the values into memory that is not wiped.
    let mut body = Zeroizing::new(format!(r#"{{"options":{{"cas":{cas}}},"data":"#).into_bytes());
    let mut call = Call::post(path, &Value::Null);
    call.what = format!("write {}", call.path);
    call.effect = Effect::Write;
    call.needs = &["create", "update"];
    if let Err(error) = serde_json::to_writer(&mut *body, data) {
        return Err(call.error(ErrorKind::Refused, error.to_string()));
    }
    body.push(b'}');
    call.body = Some(body);
    let answer = vault.call(&call).await?;
    if answer.status != 200 && answer.status != 204 {
        vault.mounts().doubt(&at.mount);
        return Err(answer.refuse(&call));
    }
    let Ok(Some(Metadata {
        version,
        deletion_time,
        ..
    })) = answer.data()
    else {
        vault.mounts().forget(&at.mount);
        let text = "Vault accepted the write, but not as a KV version 2 engine does; was the mount replaced?";
        return Err(call.error(ErrorKind::Unclear, text));
    };
    Ok((version, retention::ends(&deletion_time)))
}

/// The names right below a path, folders with their final `/`; none if there is nothing.
pub(super) async fn list(vault: &Vault, path: String) -> Result<Vec<String>, CallError> {
    let mut call = Call::get(path);
    call.what = format!("list {}", call.path);
    call.query = Some(("list", "true".to_owned()));
    call.needs = &["list"];
    call.limit = http::LISTING;
    let answer = vault.call(&call).await?;
    match (answer.status, answer.data::<Listing>()) {
        (200, Ok(Some(listing))) => Ok(listing.keys),
        (200, Err(_)) => Err(call.unexpected()),
        (404, Ok(None)) if answer.words().is_empty() => Ok(Vec::new()),
        _ => Err(answer.refuse(&call)),
    }
}
