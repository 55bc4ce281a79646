//! The `Journal`: one document per secret in a KV v2 engine. The document is one JSON text in the field `document`: OpenBao refuses a
//! request with about 1,000 strings, and bounds a single string only by its length (`rotation::size`).
//!
//! It holds no token value and no text of it is secret, but an unreadable document is still never quoted: who knows what is in it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::{Map, Value};

use rotation::error::{CallError, ErrorKind, Service};
use rotation::history::{Event, History};
use rotation::ports::{Journal, JournalRead, SecretPath, SecretRead};
use rotation::record::{MIN_READER, Record, SCHEMA};
use rotation::size;

use super::client::Vault;
use super::kv2;
use super::mounts::Engine;
use super::retention::{self, Ending, KeyVersions, VersionLimits};
use super::rights::metadata_path;
use super::writers::Writers;

/// The folder of the histories, beside the documents.
const HISTORIES: &str = "_history";

/// The document that holds the installation's id. No secret's document begins with `_`.
pub(super) const INSTALLATION: &str = "_installation";

/// The journal in Vault. Cheap to clone.
#[derive(Clone)]
pub struct KvJournal {
    vault: Vault,
    pub(super) mount: String,
    pub(super) path: String,
    ending: Ending,
    writers: Writers,
}

impl KvJournal {
    /// The journal below `path` of the KV v2 engine at `mount`.
    pub fn new(vault: Vault, mount: impl Into<String>, path: impl Into<String>) -> Self {
        KvJournal {
            vault,
            mount: mount.into(),
            path: path.into(),
            ending: Ending::default(),
            writers: Writers::default(),
        }
    }

    /// The limits of the journal's mount. `Refused` = the policy does not let us read its configuration.
    pub async fn mount_limits(&self) -> Result<VersionLimits, CallError> {
        retention::mount_limits(&self.vault, &self.mount).await
    }

    /// What the metadata of the document of the secret named `name` says; `None` = there is no document.
    pub async fn key(&self, name: &str) -> Result<Option<KeyVersions>, CallError> {
        retention::key(&self.vault, &self.at(name)).await
    }

    /// The documents that Vault will delete, as far as they were read or written, with the time.
    pub fn ending(&self) -> BTreeMap<SecretPath, Timestamp> {
        self.ending.all()
    }

    /// Writes the documents that Vault will delete again, unchanged: what no longer has a limit loses its end. One that is claimed is left to
    /// its holder, who writes it anyway.
    pub async fn renew_ending(&self) {
        for at in self.ending().keys() {
            let Ok((read, ends)) = kv2::read_with_end(&self.vault, at).await else {
                continue;
            };
            self.ending.note(at, ends);
            let SecretRead::Present { version, data } = read else {
                continue;
            };
            let claimed = parse(data.0.clone()).is_ok_and(|record| record.claim.is_some());
            if ends.is_some() && !claimed {
                // Whoever writes it in between takes its end away as well.
                let written = kv2::write_with_end(&self.vault, at, version, &data.0).await;
                if let Ok((_, ends)) = written {
                    self.ending.note(at, ends);
                }
            }
        }
    }

    /// The version of the document of the secret named `name`, and when it was written by Vault's own clock.
    pub async fn written(&self, name: &str) -> Result<Option<(u64, Timestamp)>, CallError> {
        kv2::created(&self.vault, &self.at(name)).await
    }

    /// The processes that wrote the documents, as far as these were read.
    pub fn writers(&self) -> &Writers {
        &self.writers
    }

    /// Where the document of the secret named `name` stands.
    pub fn at(&self, name: &str) -> SecretPath {
        self.document(&encode(name))
    }

    /// The names of all secrets that have, or had, a document.
    pub async fn list(&self) -> Result<Vec<String>, CallError> {
        self.require_versions().await?;
        let at = SecretPath {
            mount: self.mount.clone(),
            path: self.path.clone(),
        };
        let keys = kv2::list(&self.vault, metadata_path(&at)).await?;
        Ok(keys.iter().filter_map(|key| decode(key)).collect())
    }

    /// The short random id of this installation: read, or made if there is none yet. Of several who make one at once, one wins and all
    /// tell the same. `Refused` = the document is there, but cannot be understood.
    pub async fn installation(&self) -> Result<String, CallError> {
        self.require_versions().await?;
        let at = self.document(INSTALLATION);
        for _ in 0..5 {
            let (read, ends) = kv2::read_with_end(&self.vault, &at).await?;
            self.ending.note(&at, ends);
            let (cas, id) = match read {
                SecretRead::Present { version, data } => {
                    let id = self.known(&data.0)?;
                    if data.0.get("schema").and_then(Value::as_u64) >= Some(u64::from(SCHEMA)) {
                        return Ok(id);
                    }
                    // Upgraded before any other document, so that an older version that starts later stops with a clear error.
                    (version, id)
                }
                SecretRead::Deleted { version } => (version, new_id()),
                SecretRead::Absent => (0, new_id()),
            };
            let mut document = Map::new();
            document.insert("schema".into(), SCHEMA.into());
            document.insert("min_reader".into(), MIN_READER.into());
            document.insert("installation".into(), id.clone().into());
            match kv2::write_with_end(&self.vault, &at, cas, &document).await {
                Ok((_, ends)) => {
                    self.ending.note(&at, ends);
                    return Ok(id);
                }
                // Somebody else made it, or the answer was lost: what stands there now counts.
                Err(error) if matches!(error.kind, ErrorKind::Conflict | ErrorKind::Unclear) => {}
                Err(error) => return Err(error),
            }
        }
        Err(self.error(
            ErrorKind::Transient,
            INSTALLATION,
            "it could be neither read nor created",
        ))
    }

    /// The id of this installation, if it has one already.
    pub async fn known_installation(&self) -> Result<Option<String>, CallError> {
        match kv2::read(&self.vault, &self.document(INSTALLATION), None).await? {
            SecretRead::Present { data, .. } => self.known(&data.0).map(Some),
            SecretRead::Deleted { .. } | SecretRead::Absent => Ok(None),
        }
    }

    fn known(&self, document: &Map<String, Value>) -> Result<String, CallError> {
        let newer = too_new(document);
        let id = document.get("installation").and_then(Value::as_str);
        let fit = |id: &&str| {
            (1..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric())
        };
        match (newer, id.filter(fit)) {
            (Some(why), _) => Err(self.error(ErrorKind::Refused, INSTALLATION, &why)),
            (None, Some(id)) => Ok(id.to_owned()),
            (None, None) => Err(self.error(
                ErrorKind::Refused,
                INSTALLATION,
                "its field `installation` is missing or not a short identifier",
            )),
        }
    }

    /// The history of the secret named `name`; empty if there is none.
    pub async fn history(&self, name: &str) -> Result<History, CallError> {
        self.require_versions().await?;
        Ok(self.read_history(name).await?.1)
    }

    /// The history, and the version to check-and-set against.
    async fn read_history(&self, name: &str) -> Result<(u64, History), CallError> {
        match kv2::read(&self.vault, &self.history_at(name), None).await? {
            SecretRead::Present { version, data } => {
                let text = data.0.get("document").and_then(Value::as_str);
                let known = serde_json::from_slice::<History>(text.unwrap_or_default().as_bytes());
                let unclear = |_| {
                    self.error(
                        ErrorKind::Refused,
                        &encode(name),
                        "its history cannot be read",
                    )
                };
                Ok((version, known.map_err(unclear)?))
            }
            SecretRead::Deleted { version } => Ok((version, History::default())),
            SecretRead::Absent => Ok((0, History::default())),
        }
    }

    fn history_at(&self, name: &str) -> SecretPath {
        self.document(&format!("{HISTORIES}/{}", encode(name)))
    }

    fn document(&self, key: &str) -> SecretPath {
        SecretPath {
            mount: self.mount.clone(),
            path: format!("{}/{key}", self.path),
        }
    }

    async fn require_versions(&self) -> Result<(), CallError> {
        match self.vault.engine(&self.mount).await? {
            Engine::V2 => Ok(()),
            Engine::V1 => Err(CallError::new(
                Service::Vault,
                ErrorKind::Refused,
                format!(
                    "the journal's mount {} is KV version 1; the journal needs version 2, because its check-and-set is what keeps two \
                     replicas apart",
                    self.mount
                ),
            )),
        }
    }

    fn error(&self, kind: ErrorKind, key: &str, why: &str) -> CallError {
        let what = format!(
            "the journal document {}/{}/{key} cannot be used: {why}",
            self.mount, self.path
        );
        CallError::new(Service::Vault, kind, what)
    }
}

impl Journal for KvJournal {
    async fn read(&self, name: &str) -> Result<JournalRead, CallError> {
        self.require_versions().await?;
        let at = self.at(name);
        let (read, ends) = kv2::read_with_end(&self.vault, &at).await?;
        self.ending.note(&at, ends);
        Ok(match read {
            SecretRead::Absent => JournalRead::Absent { cas: 0 },
            SecretRead::Deleted { version } => JournalRead::Absent { cas: version },
            SecretRead::Present { version, mut data } => match parse(std::mem::take(&mut data.0)) {
                Ok(record) => {
                    if let Some(writer) = &record.writer {
                        self.writers.note(writer);
                    }
                    JournalRead::Present {
                        version,
                        record: Box::new(record),
                    }
                }
                Err(why) => JournalRead::Unreadable {
                    why: self.error(ErrorKind::Refused, &encode(name), &why).what,
                },
            },
        })
    }

    async fn write(&self, name: &str, cas: u64, record: &Record) -> Result<u64, CallError> {
        self.require_versions().await?;
        let refuse = |why: &str| self.error(ErrorKind::Refused, &encode(name), why);
        let text = serde_json::to_string(record).map_err(|error| refuse(&error.to_string()))?;
        let bytes = size::stored(&text);
        if bytes > size::LARGEST {
            return Err(refuse(&format!(
                "it would have {bytes} bytes, and Vault accepts at most {}; rotate less often, or shorten `max_grace` or `quarantine`",
                size::LARGEST
            )));
        }
        let document = Map::from_iter([
            ("schema".to_owned(), record.schema.into()),
            ("min_reader".to_owned(), record.min_reader.into()),
            ("name".to_owned(), record.name.clone().into()),
            ("document".to_owned(), text.into()),
        ]);
        let at = self.at(name);
        let (version, ends) = kv2::write_with_end(&self.vault, &at, cas, &document).await?;
        self.ending.note(&at, ends);
        Ok(version)
    }

    async fn append_history(&self, name: &str, events: &[Event]) -> Result<(), CallError> {
        let at = self.history_at(name);
        let unclear = |why| self.error(ErrorKind::Refused, &encode(name), why);
        for _ in 0..3 {
            let (cas, mut history) = self.read_history(name).await?;
            history.schema = SCHEMA;
            history.append(events);
            let text = history
                .document()
                .map_err(|_| unclear("its history cannot be written"))?;
            let document = Map::from_iter([
                ("schema".to_owned(), SCHEMA.into()),
                ("name".to_owned(), name.into()),
                ("document".to_owned(), text.into()),
            ]);
            match kv2::write(&self.vault, &at, cas, &document).await {
                Err(error) if error.kind == ErrorKind::Conflict => {}
                written => return written.map(drop),
            }
        }
        Ok(())
    }
}

fn parse(mut document: Map<String, Value>) -> Result<Record, String> {
    if let Some(why) = too_new(&document) {
        return Err(why);
    }
    let record = match document.get_mut("document").map(Value::take) {
        Some(Value::String(text)) => serde_json::from_slice::<Record>(text.as_bytes()),
        // Version 1: the map itself is the document.
        None => serde_json::from_slice(Value::Object(document).to_string().as_bytes()),
        Some(_) => return Err("its field `document` is not a string".to_owned()),
    };
    record.map(Record::upgraded).map_err(|error| {
        format!(
            "its content does not fit: {}",
            without_quotes(&error.to_string())
        )
    })
}

pub(super) fn too_new(document: &Map<String, Value>) -> Option<String> {
    let number = |field: &str| document.get(field).and_then(Value::as_u64);
    match number("min_reader").or_else(|| number("schema")) {
        Some(needed) if needed <= u64::from(SCHEMA) => None,
        Some(needed) => Some(format!(
            "it needs a version of dtrotate that understands schema {needed}, and this one understands {SCHEMA}; use a newer version"
        )),
        None => Some("its field `schema` is missing or not a number".to_owned()),
    }
}

/// Keeps the beginning of serde's description, up to where it quotes the content.
fn without_quotes(text: &str) -> String {
    let after = |word: &str| Some(text.find(word)? + word.len());
    // Whichever comes first: what is quoted may hold the other kind of quote.
    let quote = [text.find('"'), after("unknown variant ")];
    match quote.into_iter().flatten().min() {
        Some(at) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}

fn new_id() -> String {
    std::iter::repeat_with(letter).take(6).collect()
}

fn letter() -> char {
    let at = fastrand::usize(..36);
    char::from(b"abcdefghijklmnopqrstuvwxyz0123456789"[at])
}

/// A secret's name as a document's key: every byte outside `[A-Za-z0-9._-]`, and a leading `_` or `.`, is written as `~XX`.
pub fn encode(name: &str) -> String {
    let mut key = String::with_capacity(name.len());
    for (at, byte) in name.bytes().enumerate() {
        let plain =
            byte.is_ascii_alphanumeric() || byte == b'-' || (at > 0 && b"._".contains(&byte));
        if plain {
            key.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(key, "~{byte:02X}");
        }
    }
    key
}

/// The name whose key this is; `None` for a key that [`encode`] never makes (a folder, or a document of another kind).
pub fn decode(key: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(key.len());
    let mut rest = key.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = match (first, tail) {
            (b'~', [high, low, tail @ ..]) => {
                let pair = [*high, *low];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&pair).ok()?, 16).ok()?);
                tail
            }
            _ => {
                bytes.push(*first);
                tail
            }
        };
    }
    let name = String::from_utf8(bytes).ok()?;
    (!name.is_empty() && encode(&name) == key).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_survives_the_way_through_a_key() {
        for (name, key) in [
            ("ci-metrics", "ci-metrics"),
            ("dynatrace/a b#x", "dynatrace~2Fa~20b~23x"),
            ("_installation", "~5Finstallation"),
            (".hidden.x_y", "~2Ehidden.x_y"),
            ("ä~", "~C3~A4~7E"),
            ("..", "~2E."),
        ] {
            assert_eq!(encode(name), key);
            assert_eq!(decode(key).as_deref(), Some(name));
        }
    }

    #[test]
    fn a_key_that_is_no_name_is_none() {
        for key in [
            "_installation",
            "folder/",
            "",
            "~2",
            "~zz",
            "~41",
            "~2f",
            "a~+1",
        ] {
            assert_eq!(decode(key), None, "{key}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_name_has_a_key_of_its_own(name in "\\PC{1,40}") {
            let key = encode(&name);
            proptest::prop_assert_eq!(decode(&key), Some(name));
            proptest::prop_assert!(!key.starts_with(['_', '.']));
        }
    }

    /// Keys and values of documents.
    const WORDS: [&str; 40] = [
        "schema",
        "write_id",
        "name",
        "epoch",
        "installation",
        "secret",
        "coordinates",
        "mount",
        "path",
        "fields",
        "environment",
        "base_url",
        "kind",
        "api",
        "adopted_at",
        "attempt",
        "current",
        "id",
        "name_base",
        "scopes",
        "version",
        "marked",
        "last_due",
        "claim",
        "work",
        "rotate",
        "tidy",
        "open",
        "retiring",
        "state",
        "grace",
        "proof",
        "marker",
        "failure",
        "hold_until",
        "events",
        "terms",
        "2026-11-24T00:00:00Z",
        "dt0c01.PUBLIC",
        "dt0c01.PUBLIC.CANARY",
    ];

    #[test]
    fn p5_a_description_ends_where_the_content_begins() {
        for text in [
            "invalid type: string \"CANARY\", expected u64",
            "unknown variant `CANARY`, expected one of `rotate`",
            "unknown variant `CANARY\"`, expected one of `rotate`",
            "invalid type: string \"unknown variant CANARY\", expected u64",
        ] {
            let shown = without_quotes(text);
            assert!(
                shown.ends_with(" ...") && !shown.contains("CANARY"),
                "{shown}"
            );
        }
    }

    #[test]
    fn fields_of_a_newer_version_survive_wherever_the_document_keeps_something() {
        let mut document = whole();
        for pointer in ["", "/current", "/open/0", "/retiring/0", "/pause"] {
            let part = document.pointer_mut(pointer).unwrap();
            let part = part.as_object_mut().unwrap();
            part.insert("of_a_newer_version".into(), Value::Bool(true));
        }
        let Value::Object(map) = document.clone() else {
            unreachable!()
        };
        let record = parse(map).unwrap();
        assert_eq!(serde_json::to_value(record).unwrap(), document);
    }

    #[test]
    fn words_of_a_newer_version_survive_wherever_the_document_has_a_list_of_words() {
        let mut document = whole();
        document["failure"] = serde_json::json!({"reason": "unavailable", "message": "m", "since": "2026-11-24T00:00:00Z",
            "at": "2026-11-24T00:00:00Z", "count": 1, "retry_at": null});
        document["terms"] = serde_json::json!({"grace": "PT24H", "max_grace": "PT48H", "quarantine": "PT24H", "still_used": "hold"});
        for place in [
            "/claim/work",
            "/claim/work/rotate/trigger",
            "/retiring/0/state",
            "/retiring/0/proof",
            "/retiring/0/failure/reason",
            "/failure/reason",
            "/terms/still_used",
        ] {
            for word in [
                serde_json::json!("of_a_newer_version"),
                serde_json::json!({"of_a_newer_version": [1, {"x": "y"}]}),
            ] {
                let mut document = document.clone();
                *document.pointer_mut(place).unwrap() = word;
                let Value::Object(map) = document.clone() else {
                    unreachable!()
                };
                let record = parse(map).unwrap();
                assert_eq!(serde_json::to_value(record).unwrap(), document, "{place}");
            }
        }
    }

    /// A whole document, with every optional part.
    fn whole() -> Value {
        serde_json::from_str(r#"{
            "schema": 2, "min_reader": 2, "write_id": "w", "name": "n", "attempt": 3,
            "unaccounted_through": 1, "ledger": "1:00ff 2:00fe", "left_alone": ["dt0c01.C"],
            "epoch": {"installation": "k3v9aa", "secret": "a7q2"},
            "coordinates": {"mount": "secret", "path": "p", "fields": ["token"], "environment": "prod",
                "base_url": "https://abc12345.live.dynatrace.com", "kind": "api"},
            "adopted_at": "2026-11-24T00:00:00Z", "last_due": "2026-11-24T00:00:00Z", "last_success": "2026-11-24T00:00:00Z", "hold_until": "2026-11-24T00:00:00Z", "closed_at": "2026-11-24T00:00:00Z",
            "renamed_to": "m", "resumed_at": "2026-11-24T00:00:00Z",
            "pause": {"since": "2026-11-24T00:00:00Z", "until": "2026-11-24T00:00:00Z", "by": "alice", "reason": "r"},
            "current": {"id": "dt0c01.A", "name_base": "n", "scopes": ["metrics.read"], "owner": "o",
                "created": "2026-11-24T00:00:00Z", "expires": "2026-11-24T00:00:00Z", "version": 7, "marked": true, "digest": "00ff"},
            "claim": {"work": {"rotate": {"due": "2026-11-24T00:00:00Z", "trigger": "schedule",
                "attempt": {"n": 3, "base": 7, "old": "dt0c01.A", "digest": "00fd"}}},
                "holder": "h", "boot": "b", "nonce": "x", "since": "2026-11-24T00:00:00Z", "renewed": 2},
            "open": [{"attempt": 2, "base": 6, "since": "2026-11-24T00:00:00Z", "missed": "2026-11-24T00:00:00Z", "digest": "00fe"}],
            "retiring": [{"id": "dt0c01.B", "state": "grace", "base": 7, "since": "2026-11-24T00:00:00Z", "due": "2026-11-24T00:00:00Z",
                "tainted": "2026-11-24T00:00:00Z", "proof": {"version": 6}, "base_url": "https://x", "held_since": "2026-11-24T00:00:00Z",
                "extended_to": "2026-11-24T00:00:00Z", "used_from": "192.0.2.7", "cut_off_at": "2026-11-24T00:00:00Z", "clean_through": 8, "digest": "00fc",
                "missed": "2026-11-24T00:00:00Z", "failure": {"reason": "unproven", "message": "m", "since": "2026-11-24T00:00:00Z", "attempts": 2}}],
            "failure": null, "invalid": {"since": "2026-11-24T00:00:00Z", "message": "m"},
            "went_back_at": "2026-11-24T00:00:00Z",
            "of_a_newer_version": {"x": [1, "y"]}
        }"#).unwrap()
    }

    /// Replaces the value at one place of a document.
    fn replace(document: &mut Value, place: usize, new: Value) {
        fn places(value: &Value, at: String, all: &mut Vec<String>) {
            all.push(at.clone());
            match value {
                Value::Object(map) => map
                    .iter()
                    .for_each(|(key, inner)| places(inner, format!("{at}/{key}"), all)),
                Value::Array(list) => list
                    .iter()
                    .enumerate()
                    .for_each(|(n, inner)| places(inner, format!("{at}/{n}"), all)),
                _ => {}
            }
        }
        let mut all = Vec::new();
        places(document, String::new(), &mut all);
        let place = &all[1 + place % (all.len() - 1)];
        if let Some(found) = document.pointer_mut(place) {
            *found = new;
        }
    }

    /// Read and written again it is the same; or it is refused without a quotation.
    fn read_back(document: Value) {
        let Value::Object(map) = document else { return };
        match parse(map) {
            Ok(record) => {
                let Ok(Value::Object(again)) = serde_json::to_value(&record) else {
                    panic!("a record is an object");
                };
                assert_eq!(parse(again), Ok(record));
            }
            Err(why) => crate::http::odd::assert_sentence(&why, &["CANARY"]),
        }
    }

    #[test]
    fn a_whole_document_is_read_and_written_unchanged() {
        let Value::Object(map) = whole() else {
            panic!("an object");
        };
        let record = parse(map).unwrap();
        assert_eq!(serde_json::to_value(record).unwrap(), whole());
    }

    proptest::proptest! {
        #![proptest_config(crate::http::odd::config())]

        #[test]
        fn fuzz_any_document_is_read_or_refused(document in crate::http::odd::json(&WORDS)) {
            read_back(document);
        }

        #[test]
        fn fuzz_a_document_with_an_odd_place_is_read_or_refused(
            odd in proptest::collection::vec((proptest::prelude::any::<usize>(), crate::http::odd::json(&WORDS)), 1..4),
        ) {
            let mut document = whole();
            for (place, new) in odd {
                replace(&mut document, place, new);
            }
            read_back(document);
        }
    }

    #[test]
    fn a_document_of_version_1_is_upgraded_in_place() {
        let Value::Object(mut map) = whole() else {
            panic!("an object");
        };
        for field in [
            "min_reader",
            "unaccounted_through",
            "ledger",
            "left_alone",
            "went_back_at",
        ] {
            map.remove(field);
        }
        map.insert("schema".into(), 1.into());
        map.insert(
            "events".into(),
            serde_json::json!([{"at": "2026-11-24T00:00:00Z", "event": "x"}]),
        );
        let record = parse(map).unwrap();
        assert_eq!((record.schema, record.min_reader), (SCHEMA, MIN_READER));
        assert_eq!(record.attempts.unaccounted_through, 3);
        assert!(!record.unknown.contains_key("events"));
    }

    #[test]
    fn a_newer_document_that_this_version_may_read_keeps_what_it_does_not_know() {
        let Value::Object(mut map) = whole() else {
            panic!("an object");
        };
        map.insert("schema".into(), 3.into());
        let record = parse(map).unwrap();
        assert_eq!((record.schema, record.min_reader), (3, 2));
        assert!(record.unknown.contains_key("of_a_newer_version"));
    }

    #[test]
    fn p5_an_unreadable_document_is_not_quoted() {
        let mut document = Map::new();
        document.insert("schema".into(), 1.into());
        document.insert("write_id".into(), "w".into());
        document.insert("name".into(), "n".into());
        document.insert("epoch".into(), "dt0c01.PUBLIC.CANARY".into());
        let why = parse(document.clone()).unwrap_err();
        assert!(
            !why.contains("CANARY") && why.contains("invalid type"),
            "{why}"
        );
        document.insert("schema".into(), 3.into());
        assert!(parse(document).unwrap_err().contains("schema 3"));
        assert!(parse(Map::new()).unwrap_err().contains("schema"));
    }
}
