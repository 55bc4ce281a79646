//! Reading and writing versions of a KV v2 engine. Every write is check-and-set.

use serde::Deserialize;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::http;
use rotation::error::{CallError, ErrorKind};
use rotation::ports::{SecretData, SecretPath, SecretRead};

use super::answer::Answer;
use super::client::Vault;
use super::mounts::Engine;
use super::rights;
use super::wire::{Call, Effect};

#[derive(Deserialize)]
struct Version {
    data: Option<Map<String, Value>>,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    version: u64,
}

/// Reads the latest version, or the one asked for.
pub(super) async fn read(
    vault: &Vault,
    at: &SecretPath,
    version: Option<u64>,
) -> Result<SecretRead, CallError> {
    read_over(vault, at, version, false).await
}

/// Reads the latest version over a connection of its own.
pub(super) async fn confirm(vault: &Vault, at: &SecretPath) -> Result<SecretRead, CallError> {
    read_over(vault, at, None, true).await
}

async fn read_over(
    vault: &Vault,
    at: &SecretPath,
    version: Option<u64>,
    own_connection: bool,
) -> Result<SecretRead, CallError> {
    let mut call = Call::get(Engine::V2.data_path(at));
    call.own_connection = own_connection;
    call.query = version.map(|version| ("version", version.to_string()));
    // The server takes 0 for "the latest".
    if version == Some(0) {
        return Ok(SecretRead::Absent);
    }
    let mut answer = vault.call(&call).await?;
    let found = answer
        .body
        .data
        .take()
        .map(serde_json::from_value::<Version>)
        .transpose();
    match (answer.status, found) {
        (200, Ok(Some(found))) => Ok(SecretRead::Present {
            version: found.metadata.version,
            data: SecretData(found.data.unwrap_or_default()),
        }),
        (404, Ok(Some(found))) => Ok(SecretRead::Deleted {
            version: found.metadata.version,
        }),
        (404, Ok(None)) => absent(vault, at, &call, &answer),
        (200 | 404, _) => Err(call.error(
            ErrorKind::Transient,
            "the answer has not the form of a KV version 2 engine",
        )),
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
        return Ok(SecretRead::Absent);
    }
    vault.mounts().forget(&at.mount);
    Err(answer.refuse(call))
}

/// Writes the whole map if the latest version is `cas`, and tells the new version.
pub(super) async fn write(
    vault: &Vault,
    at: &SecretPath,
    cas: u64,
    data: &Map<String, Value>,
) -> Result<u64, CallError> {
    let path = Engine::V2.data_path(at);
    // Built by hand, since `json!` would copy the values into memory that is not wiped.
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
        return Err(answer.refuse(&call));
    }
    let version = answer
        .body
        .data
        .as_ref()
        .and_then(|data| data.get("version"));
    version.and_then(Value::as_u64).ok_or_else(|| {
        vault.mounts().forget(&at.mount);
        let text =
            "Vault took the write, but not as a KV version 2 engine does; was the mount replaced?";
        call.error(ErrorKind::Unclear, text)
    })
}

#[derive(Deserialize)]
struct Limits {
    #[serde(default)]
    max_versions: u64,
    #[serde(default)]
    current_version: u64,
    #[serde(default)]
    oldest_version: u64,
}

/// How many versions of the secret are kept, where its metadata shows it: by its own `max_versions`, or by what was dropped already
/// (the limit of the mount stands in its configuration, which no rotation has the right to read).
pub(super) async fn versions_kept(
    vault: &Vault,
    at: &SecretPath,
) -> Result<Option<u64>, CallError> {
    let call = Call::get(rights::metadata_path(at));
    let mut answer = vault.call(&call).await?;
    let data = answer.body.data.take();
    let Some(limits) = data.and_then(|data| Limits::deserialize(data).ok()) else {
        return Err(answer.refuse(&call));
    };
    Ok(match limits {
        Limits {
            max_versions: own @ 1..,
            ..
        } => Some(own),
        Limits {
            oldest_version: oldest @ 2..,
            current_version: current,
            ..
        } => Some(current.saturating_add(1).saturating_sub(oldest)),
        _ => None,
    })
}

/// The names right below a path, folders with their final `/`; none if there is nothing.
pub(super) async fn list(vault: &Vault, at: &SecretPath) -> Result<Vec<String>, CallError> {
    let mut call = Call::get(format!("{}/metadata/{}", at.mount, at.path));
    call.what = format!("list {}", call.path);
    call.query = Some(("list", "true".to_owned()));
    call.needs = &["list"];
    call.limit = http::LISTING;
    let mut answer = vault.call(&call).await?;
    // Whatever stands there: indexing would panic where it is no object.
    let keys = |mut data: Value| data.get_mut("keys").map(Value::take).unwrap_or_default();
    let keys = answer.body.data.take().map(keys);
    match (answer.status, keys) {
        (200, Some(keys)) => serde_json::from_value(keys)
            .map_err(|_| call.error(ErrorKind::Transient, "the answer has not the expected form")),
        (404, None) if answer.words().is_empty() => Ok(Vec::new()),
        _ => Err(answer.refuse(&call)),
    }
}
