//! How large a journal document may be, and how many retiring tokens fit into it.
//!
//! A document is one string of a KV secret. A server with raft storage bounds what it stores of one version, 1 MiB with quotes escaped once
//! more (tested on OpenBao 2.7.2); Vault also bounds the string itself to 1 MiB. So a document is measured as it is stored.

use std::time::Duration;

use jiff::Timestamp;

use super::marker::NameDigest;
use super::plan::{Plan, StillUsed};
use super::record::{EntryFailure, EntryReason, Origin, Record, Retiring, RetiringState};
use super::retiring::{Backstop, Usage};
use super::token::TokenId;

/// The largest document in bytes as stored. What is left up to 1 MiB is the server's: the other fields of the secret and the encryption.
pub const LARGEST: usize = 1_000_000;

/// What a document may need besides scopes and retiring tokens: a claim, open attempts, failures, parts of a newer version.
const RESERVE: usize = 50_000;

/// The longest message of a retiring token, in bytes as stored.
const MESSAGE: usize = 700;

/// The longest id, and the longest address that a token was used from (IPv6).
const ID: usize = 40;
const ADDRESS: usize = 45;

/// The bytes that `document` takes as a string in the server's storage.
pub fn stored(document: &str) -> usize {
    document.chars().map(stored_char).sum()
}

/// As Go writes JSON.
fn stored_char(c: char) -> usize {
    match c {
        '"' | '\\' => 2,
        '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => 6,
        c if c.is_control() => 6,
        c => c.len_utf8(),
    }
}

fn size(part: &impl serde::Serialize) -> usize {
    serde_json::to_string(part).map_or(LARGEST, |text| stored(&text))
}

/// The message, cut to what a retiring token's entry has room for.
pub fn cut(message: &str) -> String {
    if size(&message) <= MESSAGE {
        return message.to_owned();
    }
    let mut kept = String::new();
    let mut bytes = size(&"...");
    for c in message.chars() {
        // Less the quotes around it.
        bytes += size(&c).saturating_sub(4);
        if bytes > MESSAGE {
            break;
        }
        kept.push(c);
    }
    kept + "..."
}

/// The document has no room left for what a run may have to write.
pub fn is_full(record: &Record) -> bool {
    size(record) + RESERVE > LARGEST
}

/// How many tokens may retire by the schedule of the secret that this document is of, whatever becomes of them. As many again may be found
/// with its marker without being in any document.
pub fn most_retiring(record: &Record) -> usize {
    let rest = Record {
        retiring: vec![],
        ..record.clone()
    };
    LARGEST.saturating_sub(RESERVE + size(&rest)) / largest_entry(record) / 2
}

/// The largest entry that dtrotate writes, with the comma behind it.
fn largest_entry(record: &Record) -> usize {
    let text = |length| "x".repeat(length);
    let time = Timestamp::MAX;
    let entry = Retiring {
        revoked: None,
        id: TokenId::new(text(ID)),
        state: RetiringState::Quarantine,
        base: u64::MAX,
        undone: true,
        clean_through: u64::MAX,
        since: time,
        due: time,
        disable_unconfirmed_since: Some(time),
        origin: Origin::Version(u64::MAX),
        digest: Some(NameDigest::of("")),
        base_url: record.coordinates.base_url.clone(),
        usage: Usage {
            held_since: Some(time),
            used_from: Some(text(ADDRESS)),
            cut_off_at: Some(time),
        },
        outage_counted_until: Some(time),
        missed: Some(time),
        backstop: record.coordinates.kind.has_backstop().then_some(Backstop {
            at: time,
            original: Some(time),
            former: Some(time),
            confirmed: true,
            tries: u32::MAX,
            retry_at: Some(time),
        }),
        named: record.coordinates.kind.has_backstop(),
        failure: Some(EntryFailure {
            reason: EntryReason::Unavailable,
            message: text(MESSAGE),
            since: time,
            attempts: u32::MAX,
        }),
        unknown: Default::default(),
    };
    size(&entry) + 1
}

/// How many tokens of one secret can retire at one time when it is rotated every `gap`: each stays for its longest grace, its quarantine and
/// `settle`.
pub fn retiring_at_once(plan: &Plan, gap: Duration) -> usize {
    let stay = longest_grace(plan) + plan.quarantine + plan.settle;
    let rotations = stay.as_millis().div_ceil(gap.as_millis().max(1));
    usize::try_from(rotations).unwrap_or(usize::MAX)
}

/// The longest time for which a former token may stay enabled.
pub fn longest_grace(plan: &Plan) -> Duration {
    match plan.still_used {
        StillUsed::Warn => plan.grace,
        StillUsed::Hold | StillUsed::Newer(_) => plan.max_grace.max(plan.grace),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_measured_as_it_is_stored() {
        for (text, bytes) in [
            ("plain", 5),
            ("\"\\", 4),
            ("<&>", 18),
            ("ä", 2),
            ("\n\u{1}\u{2028}", 18),
        ] {
            assert_eq!(stored(text), bytes, "{text:?}");
        }
    }

    #[test]
    fn a_message_is_cut_to_its_room_whatever_is_in_it() {
        for c in ["x", "\"", "\\", "<", "\n", "ä", "\u{1}", "\u{1F512}"] {
            let long = c.repeat(5000);
            let kept = cut(&long);
            let bytes = size(&kept);
            assert!(bytes <= MESSAGE && bytes > MESSAGE - 20, "{c:?}: {bytes}");
            assert!(kept.starts_with(c) && kept.ends_with("..."), "{kept}");
        }
        assert_eq!(cut("short \"enough\""), "short \"enough\"");
    }
}
