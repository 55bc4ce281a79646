//! The `Journal`: one document per secret in a KV v2 engine, the map itself being the record.
//!
//! It holds no token value and no text of it is secret, but an unreadable document is still never quoted: who knows what is in it.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use rotation::error::{CallError, ErrorKind, Service};
use rotation::ports::{Journal, JournalRead, SecretPath, SecretRead};
use rotation::record::{Record, SCHEMA};

use super::client::Vault;
use super::kv2;
use super::mounts::Engine;

/// The document that holds the installation's id. No secret's document begins with `_`.
pub(super) const INSTALLATION: &str = "_installation";

/// The journal in Vault. Cheap to clone.
#[derive(Clone)]
pub struct KvJournal {
    vault: Vault,
    pub(super) mount: String,
    pub(super) path: String,
}

impl KvJournal {
    /// The journal below `path` of the KV v2 engine at `mount`.
    pub fn new(vault: Vault, mount: impl Into<String>, path: impl Into<String>) -> Self {
        KvJournal {
            vault,
            mount: mount.into(),
            path: path.into(),
        }
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
        let keys = kv2::list(&self.vault, &at).await?;
        Ok(keys.iter().filter_map(|key| decode(key)).collect())
    }

    /// The short random id of this installation: read, or made if there is none yet. Of several who make one at once, one wins and all
    /// tell the same. `Refused` = the document is there, but cannot be understood.
    pub async fn installation(&self) -> Result<String, CallError> {
        self.require_versions().await?;
        let at = self.document(INSTALLATION);
        for _ in 0..5 {
            let cas = match kv2::read(&self.vault, &at, None).await? {
                SecretRead::Present { data, .. } => return self.known(&data.0),
                SecretRead::Deleted { version } => version,
                SecretRead::Absent => 0,
            };
            let id: String = std::iter::repeat_with(letter).take(6).collect();
            let mut document = Map::new();
            document.insert("schema".into(), SCHEMA.into());
            document.insert("installation".into(), id.clone().into());
            match kv2::write(&self.vault, &at, cas, &document).await {
                Ok(_) => return Ok(id),
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
                "its field `installation` is missing or no short identifier",
            )),
        }
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
                    "the journal's mount {} is KV version 1; the journal needs version 2, since its check-and-set is what keeps two \
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
        Ok(match kv2::read(&self.vault, &self.at(name), None).await? {
            SecretRead::Absent => JournalRead::Absent { cas: 0 },
            SecretRead::Deleted { version } => JournalRead::Absent { cas: version },
            SecretRead::Present { version, mut data } => match parse(std::mem::take(&mut data.0)) {
                Ok(record) => JournalRead::Present {
                    version,
                    record: Box::new(record),
                },
                Err(why) => JournalRead::Unreadable {
                    why: self.error(ErrorKind::Refused, &encode(name), &why).what,
                },
            },
        })
    }

    async fn write(&self, name: &str, cas: u64, record: &Record) -> Result<u64, CallError> {
        self.require_versions().await?;
        let document = match serde_json::to_value(record) {
            Ok(Value::Object(map)) => map,
            _ => {
                let why = "the record is not a JSON object";
                return Err(self.error(ErrorKind::Refused, &encode(name), why));
            }
        };
        kv2::write(&self.vault, &self.at(name), cas, &document).await
    }
}

fn parse(document: Map<String, Value>) -> Result<Record, String> {
    if let Some(why) = too_new(&document) {
        return Err(why);
    }
    serde_json::from_value(Value::Object(document)).map_err(|error| {
        format!(
            "its content does not fit: {}",
            without_quotes(&error.to_string())
        )
    })
}

fn too_new(document: &Map<String, Value>) -> Option<String> {
    match document.get("schema").and_then(Value::as_u64) {
        Some(schema) if schema <= u64::from(SCHEMA) => None,
        Some(schema) => Some(format!(
            "its schema is {schema}, and this version of dtrotate knows {SCHEMA}; use a newer version"
        )),
        None => Some("its field `schema` is missing or no number".to_owned()),
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
        for pointer in ["", "/current", "/open/0", "/retiring/0", "/events/0"] {
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

    /// A whole document, with every optional part.
    fn whole() -> Value {
        let at = "2026-11-24T00:00:00Z";
        serde_json::json!({
            "schema": 1, "write_id": "w", "name": "n", "attempt": 3,
            "epoch": {"installation": "k3v9aa", "secret": "a7q2"},
            "coordinates": {"mount": "secret", "path": "p", "fields": ["token"], "environment": "prod",
                "base_url": "https://abc12345.live.dynatrace.com", "kind": "api"},
            "adopted_at": at, "last_due": at, "last_success": at, "hold_until": at, "closed_at": at,
            "renamed_to": "m",
            "current": {"id": "dt0c01.A", "name_base": "n", "scopes": ["metrics.read"], "owner": "o",
                "created": at, "expires": at, "version": 7, "marked": true},
            "claim": {"work": {"rotate": {"due": at, "trigger": "schedule",
                "attempt": {"n": 3, "base": 7, "old": "dt0c01.A"}}},
                "holder": "h", "boot": "b", "nonce": "x", "since": at, "renewed": 2},
            "open": [{"attempt": 2, "base": 6, "since": at, "missed": at}],
            "retiring": [{"id": "dt0c01.B", "state": "grace", "base": 7, "since": at, "due": at,
                "tainted": at, "proof": {"version": 6}, "base_url": "https://x", "held_since": at,
                "extended_to": at}],
            "failure": null, "invalid": {"since": at, "message": "m"},
            "events": [{"at": at, "event": "rotation_succeeded", "token_id": "dt0c01.A", "detail": "d"}],
            "of_a_newer_version": {"x": [1, "y"]}
        })
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
        document.insert("schema".into(), 2.into());
        assert!(parse(document).unwrap_err().contains("schema is 2"));
        assert!(parse(Map::new()).unwrap_err().contains("schema"));
    }
}
