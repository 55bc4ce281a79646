//! The journal document of pruned tokens, which belong to no secret: one for the whole installation, under the same check-and-set as the others.

use serde_json::{Map, Value};
use uuid::Uuid;

use rotation::error::{CallError, ErrorKind, Service};
use rotation::ports::{SecretPath, SecretRead};
use rotation::prune::PruneRecord;
use rotation::record::{MIN_READER, SCHEMA};
use rotation::size;

use super::client::Vault;
use super::journal;
use super::kv2;

/// No secret's document begins with `_`.
const KEY: &str = "_prune";

/// A write that others were faster than is repeated so many times.
const TRIES: usize = 8;

/// The document in Vault. Cheap to clone.
#[derive(Clone)]
pub struct PruneJournal {
    vault: Vault,
    at: SecretPath,
}

impl PruneJournal {
    /// In the folder of the journal: `path` of the KV v2 engine at `mount`.
    pub fn new(vault: Vault, mount: &str, path: &str) -> Self {
        let at = SecretPath {
            mount: mount.to_owned(),
            path: format!("{path}/{KEY}"),
        };
        PruneJournal { vault, at }
    }

    /// The document; empty if there is none.
    ///
    /// # Errors
    /// `Refused` = it is there and cannot be read.
    pub async fn read(&self) -> Result<PruneRecord, CallError> {
        Ok(self.read_version().await?.record)
    }

    /// Changes the document: `change` is applied to what it holds at that moment, again if someone else wrote it meanwhile. Returns what `change`
    /// returned for what was written.
    ///
    /// # Errors
    /// `Conflict` = others were faster each time. `Refused` = it cannot be read, or would be too large.
    pub async fn change<T>(
        &self,
        mut change: impl FnMut(&mut PruneRecord) -> T,
    ) -> Result<T, CallError> {
        for _ in 0..TRIES {
            let found = self.read_version().await?;
            let mut record = found.record.clone();
            let changed = change(&mut record);
            if record == found.record {
                return Ok(changed);
            }
            let write_id = Uuid::new_v4().simple().to_string();
            let document = self.document(&record, &write_id)?;
            match kv2::write(&self.vault, &self.at, found.version, &document).await {
                Ok(_) => return Ok(changed),
                Err(error) if matches!(error.kind, ErrorKind::Conflict | ErrorKind::Unclear) => {
                    // It may be this very write that is there now.
                    if self.read_version().await?.write_id == Some(write_id) {
                        return Ok(changed);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(self.error(
            ErrorKind::Conflict,
            "other processes wrote it again and again",
        ))
    }

    async fn read_version(&self) -> Result<Found, CallError> {
        let refuse = |why: &str| self.error(ErrorKind::Refused, why);
        let (version, data) = match kv2::read(&self.vault, &self.at, None).await? {
            SecretRead::Present { version, mut data } => (version, std::mem::take(&mut data.0)),
            SecretRead::Deleted { version } => return Ok(Found::empty(version)),
            SecretRead::Absent => return Ok(Found::empty(0)),
        };
        if let Some(why) = journal::too_new(&data) {
            return Err(refuse(&why));
        }
        let text = |field: &str| data.get(field).and_then(Value::as_str);
        let record = serde_json::from_slice(text("document").unwrap_or_default().as_bytes());
        Ok(Found {
            version,
            record: record.map_err(|_| refuse("its content does not fit"))?,
            write_id: text("write_id").map(str::to_owned),
        })
    }

    fn document(
        &self,
        record: &PruneRecord,
        write_id: &str,
    ) -> Result<Map<String, Value>, CallError> {
        let refuse = |why: &str| self.error(ErrorKind::Refused, why);
        let text = serde_json::to_string(record).map_err(|error| refuse(&error.to_string()))?;
        if size::stored(&text) > size::LARGEST {
            return Err(refuse(
                "it would be too large for Vault: too many tokens are in their quarantine. Prune more when some of them are deleted",
            ));
        }
        Ok(Map::from_iter([
            ("schema".to_owned(), SCHEMA.into()),
            ("min_reader".to_owned(), MIN_READER.into()),
            ("write_id".to_owned(), write_id.into()),
            ("document".to_owned(), text.into()),
        ]))
    }

    fn error(&self, kind: ErrorKind, why: &str) -> CallError {
        let SecretPath { mount, path } = &self.at;
        let what = format!("the journal document {mount}/{path} cannot be used: {why}");
        CallError::new(Service::Vault, kind, what)
    }
}

struct Found {
    version: u64,
    record: PruneRecord,
    write_id: Option<String>,
}

impl Found {
    fn empty(version: u64) -> Found {
        Found {
            version,
            record: PruneRecord::default(),
            write_id: None,
        }
    }
}
