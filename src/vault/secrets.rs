//! The `SecretStore` over KV v2 and v1.
//!
//! KV v1 knows no versions: a fingerprint of the content stands in for the number, and a write is read, compared, written and read
//! back. That cannot stop a write of somebody else between the two, nor one of ours that arrives late; the mount is warned of once.

use jiff::Timestamp;
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use rotation::error::{CallError, ErrorKind};
use rotation::ports::{SecretData, SecretPath, SecretRead, SecretStore};

use super::client::Vault;
use super::kv2;
use super::mounts::Engine;
use super::retention::{self, KeyVersions, VersionLimits};
use super::rights::metadata_path;
use super::wire::{Call, Effect};

/// The latest version of a secret, without its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatestVersion {
    /// Its number; without versions a fingerprint of the content. 0 = there is no secret.
    pub number: u64,
    /// It can be read, if its end has not come.
    pub is_there: bool,
    /// When Vault deletes or deleted it; `None` = never.
    pub ends: Option<Timestamp>,
}

impl LatestVersion {
    const NONE: LatestVersion = LatestVersion {
        number: 0,
        is_there: false,
        ends: None,
    };

    fn of(read: &SecretRead, ends: Option<Timestamp>) -> Self {
        match read {
            SecretRead::Present { version, .. } => LatestVersion {
                number: *version,
                is_there: true,
                ends,
            },
            SecretRead::Deleted { version } => LatestVersion {
                number: *version,
                ..Self::NONE
            },
            SecretRead::Absent => Self::NONE,
        }
    }
}

/// The secrets in Vault. Cheap to clone.
#[derive(Clone)]
pub struct KvSecrets(Vault);

impl KvSecrets {
    /// The secrets in this Vault.
    pub fn new(vault: Vault) -> Self {
        KvSecrets(vault)
    }

    /// The limits of a KV version 2 mount. `Refused` = the policy does not let us read its configuration.
    pub async fn mount_limits(&self, mount: &str) -> Result<VersionLimits, CallError> {
        retention::mount_limits(&self.0, mount).await
    }

    /// What the metadata of a secret in a KV version 2 mount says; `None` = there is no such secret.
    pub async fn key(&self, at: &SecretPath) -> Result<Option<KeyVersions>, CallError> {
        retention::key(&self.0, at).await
    }

    /// The names directly below a folder; those of folders end with `/`. `Refused` = it may not be listed.
    pub async fn list(&self, at: &SecretPath) -> Result<Vec<String>, CallError> {
        let path = match self.0.engine(&at.mount).await? {
            Engine::V2 => metadata_path(at),
            engine @ Engine::V1 => engine.data_path(at),
        };
        kv2::list(&self.0, path).await
    }

    /// The latest version by the metadata of the secret; where there is none, or the policy does not let us read it, by a read of the secret.
    pub async fn latest(&self, at: &SecretPath) -> Result<LatestVersion, CallError> {
        if self.0.engine(&at.mount).await? == Engine::V1 {
            let read = read_v1(&self.0, at, false).await?;
            return Ok(LatestVersion::of(&read, None));
        }
        match self.key(at).await {
            Ok(Some(key)) => Ok(LatestVersion {
                number: key.current,
                is_there: key.is_there,
                ends: key.ends,
            }),
            Ok(None) => Ok(LatestVersion::NONE),
            Err(error) if error.kind == ErrorKind::Refused => {
                let (read, ends) = kv2::read_with_end(&self.0, at).await?;
                Ok(LatestVersion::of(&read, ends))
            }
            Err(error) => Err(error),
        }
    }

    /// When the current value of the secret will be deleted; `None` = never. Only a KV version 2 engine deletes any.
    pub async fn ends(&self, at: &SecretPath) -> Result<Option<Timestamp>, CallError> {
        match self.0.engine(&at.mount).await? {
            Engine::V2 => Ok(kv2::read_with_end(&self.0, at).await?.1),
            Engine::V1 => Ok(None),
        }
    }
}

impl SecretStore for KvSecrets {
    async fn read(&self, at: &SecretPath) -> Result<SecretRead, CallError> {
        match self.0.engine(&at.mount).await? {
            Engine::V2 => kv2::read(&self.0, at, None).await,
            Engine::V1 => read_v1(&self.0, at, false).await,
        }
    }

    async fn confirm(&self, at: &SecretPath) -> Result<SecretRead, CallError> {
        match self.0.engine(&at.mount).await? {
            Engine::V2 => kv2::confirm(&self.0, at).await,
            Engine::V1 => read_v1(&self.0, at, true).await,
        }
    }

    async fn read_version(&self, at: &SecretPath, version: u64) -> Result<SecretRead, CallError> {
        match self.0.engine(&at.mount).await? {
            Engine::V2 => kv2::read(&self.0, at, Some(version)).await,
            Engine::V1 => Ok(match read_v1(&self.0, at, false).await? {
                SecretRead::Present { version: now, data } if now == version => {
                    SecretRead::Present { version, data }
                }
                _ => SecretRead::Absent,
            }),
        }
    }

    async fn write(&self, at: &SecretPath, cas: u64, data: &SecretData) -> Result<u64, CallError> {
        match self.0.engine(&at.mount).await? {
            Engine::V2 => kv2::write(&self.0, at, cas, &data.0).await,
            Engine::V1 => write_v1(&self.0, at, cas, data).await,
        }
    }

    async fn has_history(&self, at: &SecretPath) -> Result<bool, CallError> {
        Ok(self.0.engine(&at.mount).await? == Engine::V2)
    }
}

async fn read_v1(
    vault: &Vault,
    at: &SecretPath,
    own_connection: bool,
) -> Result<SecretRead, CallError> {
    let mut call = Call::get(Engine::V1.data_path(at));
    call.own_connection = own_connection;
    let answer = vault.call(&call).await?;
    match (answer.status, answer.data::<Map<String, Value>>()) {
        (200, Ok(Some(map))) => {
            let data = SecretData(map);
            let version =
                fingerprint(&data.0).map_err(|why| call.error(ErrorKind::Transient, why))?;
            Ok(SecretRead::Present { version, data })
        }
        (404, Ok(None)) if answer.words().is_empty() => Ok(SecretRead::Absent),
        (404, _) => {
            // "Invalid path for a versioned K/V secrets engine": the mount was upgraded.
            vault.mounts().forget(&at.mount);
            Err(CallError {
                kind: ErrorKind::Transient,
                ..answer.refuse(&call)
            })
        }
        (200, _) => {
            vault.mounts().doubt(&at.mount);
            Err(call.error(ErrorKind::Transient, "unexpected response format"))
        }
        _ => Err(answer.refuse(&call)),
    }
}

async fn write_v1(
    vault: &Vault,
    at: &SecretPath,
    cas: u64,
    data: &SecretData,
) -> Result<u64, CallError> {
    let mut call = Call::post(Engine::V1.data_path(at), &Value::Null);
    call.what = format!("write {}", call.path);
    call.effect = Effect::Write;
    call.needs = &["create", "update"];
    if version_v1(vault, at).await? != cas {
        let text = "the secret is not what it was when it was read (KV version 1 has no versions; its content was compared)";
        return Err(call.error(ErrorKind::Conflict, text));
    }
    let refused = |why: String| call.error(ErrorKind::Refused, why);
    let ours = fingerprint(&data.0).map_err(refused)?;
    let body = serde_json::to_vec(&data.0).map_err(|e| refused(e.to_string()))?;
    call.body = Some(Zeroizing::new(body));
    let answer = vault.call(&call).await?;
    if !matches!(answer.status, 200 | 204) {
        vault.mounts().doubt(&at.mount);
        return Err(answer.refuse(&call));
    }
    let unclear = |why: &str| call.error(ErrorKind::Unclear, why);
    match version_v1(vault, at).await {
        Ok(now) if now == ours => Ok(ours),
        Ok(_) => Err(unclear(
            "the write was accepted, but something else is stored there now",
        )),
        Err(error) => Err(unclear(&format!(
            "the write was accepted, but could not be read back ({error})"
        ))),
    }
}

async fn version_v1(vault: &Vault, at: &SecretPath) -> Result<u64, CallError> {
    Ok(match read_v1(vault, at, false).await? {
        SecretRead::Present { version, .. } => version,
        SecretRead::Deleted { .. } | SecretRead::Absent => 0,
    })
}

/// The content in 53 bits: it goes into the journal, where Vault rounds larger integers. Never 0, which means "nothing is there".
fn fingerprint(map: &Map<String, Value>) -> Result<u64, String> {
    let text = serde_json::to_vec(map)
        .map(Zeroizing::new)
        .map_err(|e| e.to_string())?;
    let hash = digest(&SHA256, &text);
    let wide = hash.as_ref().iter().take(8);
    let wide = wide.fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    Ok((wide >> 11).max(1))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::fingerprint;

    #[test]
    fn a_fingerprint_is_of_the_content_and_fits_a_json_number() {
        let of = |value: serde_json::Value| fingerprint(value.as_object().unwrap()).unwrap();
        let one = of(json!({"a": "1", "b": {"c": 2}}));
        assert_eq!(one, of(json!({"b": {"c": 2}, "a": "1"})));
        assert_ne!(one, of(json!({"a": "1", "b": {"c": 3}})));
        assert!((1..1 << 53).contains(&one));
    }
}
