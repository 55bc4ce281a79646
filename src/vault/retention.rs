//! How long a KV v2 engine keeps what is written: the limits of a mount, in its configuration, and those of a key, in its metadata.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use rotation::error::{CallError, ErrorKind};
use rotation::ports::SecretPath;

use super::client::Vault;
use super::rights::{config_path, metadata_path};
use super::wire::Call;

/// Versions that are kept where neither mount nor key say otherwise.
const DEFAULT_VERSIONS: u64 = 10;

/// The limits of a mount or of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VersionLimits {
    /// Versions kept of each key.
    max_versions: Option<u64>,
    /// A version is deleted when it is so old.
    delete_after: Option<Duration>,
    /// A negative `delete_version_after` of a mount: none of its versions is deleted, whatever a key says.
    never_deletes: bool,
}

/// What the metadata of a key says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyVersions {
    /// Its own limits.
    pub limits: VersionLimits,
    /// When the current version will be deleted.
    pub ends: Option<Timestamp>,
    /// The number of the current version.
    pub current: u64,
    /// The current version is there, if its end has not come: it was not destroyed.
    pub is_there: bool,
    /// Versions that are left, if some were dropped already.
    left: Option<u64>,
}

impl VersionLimits {
    /// A version is deleted when it is so old; `None` = never.
    pub fn delete_after(&self) -> Option<Duration> {
        self.delete_after
    }
}

impl KeyVersions {
    /// How many versions are kept: the larger limit counts (tested on OpenBao 2.7.2). Where those of the mount are not known, as far as the
    /// metadata shows it.
    pub fn versions(&self, mount: Option<&VersionLimits>) -> Option<u64> {
        let own = self.limits.max_versions;
        match mount {
            Some(mount) => Some(own.max(mount.max_versions).unwrap_or(DEFAULT_VERSIONS)),
            None => own.or(self.left),
        }
    }

    /// After which time a version is deleted: the smaller limit counts.
    pub fn delete_after(&self, mount: Option<&VersionLimits>) -> Option<Duration> {
        let mount = mount.copied().unwrap_or_default();
        let limits = [self.limits.delete_after, mount.delete_after];
        limits
            .into_iter()
            .flatten()
            .min()
            .filter(|_| !mount.never_deletes)
    }
}

/// Documents that will be deleted, and when. Shared by all who read and write them.
#[derive(Clone, Default)]
pub(super) struct Ending(Arc<Mutex<BTreeMap<SecretPath, Timestamp>>>);

impl Ending {
    /// The document at `at` was read or written: this is its end.
    pub(super) fn note(&self, at: &SecretPath, ends: Option<Timestamp>) {
        let mut known = self.0.lock().unwrap_or_else(|e| e.into_inner());
        match ends {
            Some(ends) => known.insert(at.clone(), ends),
            None => known.remove(at),
        };
    }

    /// All of them.
    pub(super) fn all(&self) -> BTreeMap<SecretPath, Timestamp> {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }
}

#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    max_versions: u64,
    #[serde(default)]
    delete_version_after: String,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(flatten)]
    limits: Written,
    #[serde(default)]
    current_version: u64,
    #[serde(default)]
    oldest_version: u64,
    #[serde(default)]
    versions: BTreeMap<String, Version>,
}

#[derive(Deserialize)]
struct Version {
    #[serde(default)]
    deletion_time: String,
    #[serde(default)]
    destroyed: bool,
}

impl Written {
    fn limits(&self) -> Option<VersionLimits> {
        let length: SignedDuration = match self.delete_version_after.as_str() {
            "" => SignedDuration::ZERO,
            text => text.parse().ok()?,
        };
        Some(VersionLimits {
            max_versions: Some(self.max_versions).filter(|max| *max > 0),
            delete_after: Duration::try_from(length)
                .ok()
                .filter(|length| !length.is_zero()),
            never_deletes: length.is_negative(),
        })
    }
}

/// When a version will be deleted, as its metadata says it; `None` = never.
pub(super) fn ends(deletion_time: &str) -> Option<Timestamp> {
    deletion_time.parse().ok()
}

/// The limits of a mount. `Refused` = the policy does not let us read its configuration.
pub(super) async fn mount_limits(vault: &Vault, mount: &str) -> Result<VersionLimits, CallError> {
    let call = Call::get(config_path(mount));
    let Some(written) = data::<Written>(vault, &call).await? else {
        return Err(call.error(ErrorKind::Refused, "the mount has no configuration (404)"));
    };
    written.limits().ok_or_else(|| call.unexpected())
}

/// What the metadata of a key says; `None` = there is no such key.
pub(super) async fn key(vault: &Vault, at: &SecretPath) -> Result<Option<KeyVersions>, CallError> {
    let call = Call::get(metadata_path(at));
    let Some(metadata) = data::<Metadata>(vault, &call).await? else {
        return Ok(None);
    };
    let current = metadata.current_version;
    let version = metadata.versions.get(&current.to_string());
    let dropped = metadata.oldest_version > 1;
    let limits = metadata.limits.limits();
    Ok(Some(KeyVersions {
        limits: limits.ok_or_else(|| call.unexpected())?,
        ends: version.and_then(|version| ends(&version.deletion_time)),
        current,
        is_there: version.is_some_and(|version| !version.destroyed),
        left: dropped.then(|| {
            current
                .saturating_add(1)
                .saturating_sub(metadata.oldest_version)
        }),
    }))
}

/// The data of an answer; `None` = there is nothing.
async fn data<T: DeserializeOwned>(vault: &Vault, call: &Call) -> Result<Option<T>, CallError> {
    let answer = vault.call(call).await?;
    match (answer.status, answer.data()) {
        (200, Ok(Some(data))) => Ok(Some(data)),
        (200, Err(_)) => Err(call.unexpected()),
        (404, Ok(None)) if answer.words().is_empty() => Ok(None),
        _ => Err(answer.refuse(call)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(max_versions: u64, delete_version_after: &str) -> VersionLimits {
        let written = Written {
            max_versions,
            delete_version_after: delete_version_after.to_owned(),
        };
        written.limits().expect(delete_version_after)
    }

    fn key(max_versions: u64, delete_version_after: &str) -> KeyVersions {
        KeyVersions {
            limits: limits(max_versions, delete_version_after),
            ..KeyVersions::default()
        }
    }

    /// As OpenBao 2.7.2 does it.
    #[test]
    fn the_larger_number_and_the_shorter_time_count() {
        for (mount, own, kept) in [(5, 3, 5), (3, 5, 5), (0, 3, 3), (3, 0, 3), (0, 0, 10)] {
            assert_eq!(
                key(own, "0s").versions(Some(&limits(mount, "0s"))),
                Some(kept)
            );
        }
        let hour = Duration::from_secs(3600);
        for (mount, own, after) in [
            ("0s", "0s", None),
            ("1h0m0s", "0s", Some(hour)),
            ("0s", "30m0s", Some(hour / 2)),
            ("1h0m0s", "30m0s", Some(hour / 2)),
            ("30m0s", "1h0m0s", Some(hour / 2)),
            ("-1s", "1h0m0s", None),
            ("", "1m30.5s", Some(Duration::from_millis(90_500))),
        ] {
            let found = key(0, own).delete_after(Some(&limits(0, mount)));
            assert_eq!(found, after, "{mount} {own}");
        }
    }

    #[test]
    fn without_the_mounts_limits_only_what_shows_is_known() {
        assert_eq!(key(3, "0s").versions(None), Some(3));
        assert_eq!(key(0, "0s").versions(None), None);
        let dropped = KeyVersions {
            left: Some(7),
            ..key(0, "1h")
        };
        assert_eq!(dropped.versions(None), Some(7));
        assert_eq!(dropped.delete_after(None), Some(Duration::from_secs(3600)));
    }
}
