//! A line as an entry of systemd's journal, with its fields, so that `journalctl EVENT=rotation_failed SECRET=ci` finds it.
//!
//! The native protocol is one datagram of `NAME=value` lines (systemd.io, "Native Journal Protocol"); it needs no crate.

use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;

use serde_json::{Map, Value};
use tracing::Level as Loudness;
use uuid::Uuid;

const SOCKET: &str = "/run/systemd/journal/socket";

/// The name space of the MESSAGE_ID of an event, drawn once; it must never change (docs/operations.md says how to compute one).
const EVENTS: Uuid = uuid::uuid!("2a02656d-7b17-4286-81d9-d137b1c53328");

/// The journal. Writing blocks while it is full, as writing to stderr does.
pub(super) struct Journal(UnixDatagram);

impl Journal {
    /// The journal, if this process's stderr is connected to it: `stream` is `$JOURNAL_STREAM`, device and inode of what
    /// systemd connected. A command in a pipe below a service inherits the variable, but not the stream.
    pub fn of_stderr(stream: Option<&str>) -> Option<Journal> {
        let stderr = std::io::stderr().as_fd().try_clone_to_owned().ok()?;
        let stderr = std::fs::File::from(stderr).metadata().ok()?;
        let here = format!("{}:{}", stderr.dev(), stderr.ino());
        if stream? != here {
            return None;
        }
        UnixDatagram::unbound().ok().map(Journal)
    }

    /// Whether the journal took it: it refuses an entry that is larger than its socket's buffer.
    pub fn write(&self, level: &Loudness, found: &Map<String, Value>) -> bool {
        self.0.send_to(&entry(level, found), SOCKET).is_ok()
    }
}

/// The 128-bit constant of an event.
pub fn message_id(event: &str) -> Uuid {
    Uuid::new_v5(&EVENTS, event.as_bytes())
}

fn entry(level: &Loudness, found: &Map<String, Value>) -> Vec<u8> {
    let mut entry = Vec::new();
    put(&mut entry, "SYSLOG_IDENTIFIER", "dtrotate");
    put(&mut entry, "PRIORITY", priority(level));
    if let Some(event) = found.get("event").and_then(Value::as_str) {
        let id = message_id(event).simple().to_string();
        put(&mut entry, "MESSAGE_ID", &id);
        if let Some(outcome) = outcome(event) {
            put(&mut entry, "OUTCOME", outcome);
        }
    }
    for (name, value) in found {
        let name = field(name);
        match value {
            Value::String(text) => put(&mut entry, &name, text),
            other => put(&mut entry, &name, &other.to_string()),
        }
    }
    entry
}

/// The numbers of syslog.
fn priority(level: &Loudness) -> &'static str {
    match *level {
        Loudness::ERROR => "3",
        Loudness::WARN => "4",
        Loudness::INFO => "6",
        _ => "7",
    }
}

/// How a rotation ended, for the events that report an end.
fn outcome(event: &str) -> Option<&str> {
    match event.strip_prefix("rotation_") {
        Some("started" | "recovered") | None => None,
        outcome => outcome,
    }
}

/// Capital letters, digits and underscores: the journal drops a field with any other name.
fn field(name: &str) -> String {
    let letter = |letter: char| match letter.to_ascii_uppercase() {
        letter if letter.is_ascii_alphanumeric() => letter,
        _ => '_',
    };
    name.chars().map(letter).collect()
}

/// A value with a line end goes with its length before it, so that it cannot pass for further fields.
fn put(entry: &mut Vec<u8>, name: &str, value: &str) {
    entry.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(pairs: &[(&str, Value)]) -> Vec<u8> {
        let found = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()));
        entry(&Loudness::WARN, &found.collect())
    }

    #[test]
    fn an_entry_has_its_fields_priority_and_constant() {
        let entry = written(&[
            ("event", "rotation_failed".into()),
            ("duration_ms", 12.into()),
            ("log.target", "x".into()),
        ]);
        let text = String::from_utf8(entry).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for line in [
            "SYSLOG_IDENTIFIER=dtrotate",
            "PRIORITY=4",
            "MESSAGE_ID=01d2af5f00b65649ae636db43e70264e",
            "OUTCOME=failed",
            "EVENT=rotation_failed",
            "DURATION_MS=12",
            "LOG_TARGET=x",
        ] {
            assert!(lines.contains(&line), "{line}: {text}");
        }
    }

    #[test]
    fn p5_a_value_cannot_pass_for_a_field() {
        let entry = written(&[("error", "a\nPRIORITY=0".into())]);
        let mut value = b"ERROR\n".to_vec();
        value.extend_from_slice(&12_u64.to_le_bytes());
        value.extend_from_slice(b"a\nPRIORITY=0\n");
        assert!(entry.ends_with(&value), "{entry:?}");
    }

    #[test]
    fn only_an_end_is_an_outcome() {
        assert_eq!(outcome("rotation_succeeded"), Some("succeeded"));
        assert_eq!(outcome("rotation_started"), None);
        assert_eq!(outcome("token_deleted"), None);
    }

    #[test]
    fn another_stream_than_stderr_is_not_the_journal() {
        assert!(Journal::of_stderr(None).is_none());
        assert!(Journal::of_stderr(Some("0:0")).is_none());
    }
}
