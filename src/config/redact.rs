//! Finds what must never show in the text of a configuration: what [`crate::redact`] finds by its shape, UUIDs that stand alone (an AppRole
//! secret id is one), and values of keys whose name says that they are secret. Masked text has the same length in bytes and the same
//! lines, so that places stay true. It would rather mask too much than too little.

use std::ops::Range;

use crate::redact;

/// A message, masked.
pub(super) fn text(text: &str) -> String {
    mask(text, 0..text.len(), &[])
}

/// A part of a file, masked; `assignments` are those of the whole file.
pub(super) fn mask(text: &str, part: Range<usize>, assignments: &[Range<usize>]) -> String {
    let (from, text) = (part.start, &text[part]);
    let mut marks = vec![false; text.len()];
    let mut hide = |span: Range<usize>| marks[span].fill(true);
    redact::spans(text, &[]).into_iter().for_each(&mut hide);
    uuids(text).into_iter().for_each(&mut hide);
    for span in assignments {
        let within = |at: usize| at.saturating_sub(from).min(text.len());
        hide(within(span.start)..within(span.end));
    }
    let mut masked = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        match marks[at] && c != '\n' && c != '\r' {
            true => masked.extend(std::iter::repeat_n('*', c.len_utf8())),
            false => masked.push(c),
        }
    }
    masked
}

/// UUIDs that are whole words. One within an address is the id of a Managed environment, and may show.
fn uuids(text: &str) -> Vec<Range<usize>> {
    let is_edge = |c: char| c.is_whitespace() || "\"'`=,[]{}()".contains(c);
    let mut uuids = Vec::new();
    let mut start = 0;
    for word in text.split_inclusive(is_edge) {
        let bare = word.trim_end_matches(is_edge);
        if is_uuid(bare) {
            uuids.push(start..start + bare.len());
        }
        start += word.len();
    }
    uuids
}

/// Whether a value is a UUID, the shape of an AppRole secret id.
pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Whether a key's name says that its value is secret. Names of files are not; `token_name` is a reserved key.
fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    const WORDS: [&str; 8] = [
        "token",
        "secret",
        "passw",
        "role_id",
        "key",
        "jwt",
        "value",
        "credential",
    ];
    WORDS.iter().any(|word| key.contains(word)) && !key.ends_with("_file") && key != "token_name"
}

/// The values of keys that are secret by their name: from the `=` to the end of the line, or of the multi-line string. It goes by lines, so
/// that a file that is not TOML is masked as well.
pub(super) fn assignments(text: &str) -> Vec<Range<usize>> {
    let mut hidden = Vec::new();
    let mut done = 0;
    for (at, _) in text.match_indices('=') {
        if at < done {
            continue;
        }
        let before = text[..at].trim_end_matches([' ', '\t']);
        let name = before.trim_end_matches(['"', '\'']);
        let is_part = |c: char| c.is_alphanumeric() || "_-".contains(c);
        let key = &name[name.trim_end_matches(is_part).len()..];
        let rest = text[at + 1..].trim_start_matches([' ', '\t']);
        let opening = text.len() - rest.len();
        if !is_secret(key) && !is_webhook(&text[..at], rest) {
            continue;
        }
        let quotes = ["\"\"\"", "'''"].into_iter().find(|q| rest.starts_with(q));
        let length = match quotes {
            Some(quotes) => rest[3..].find(quotes).map(|length| length + 6),
            None => rest.find('\n'),
        };
        done = length.map_or(text.len(), |length| opening + length);
        hidden.push(opening..done);
    }
    hidden
}

/// Whether a web address is assigned below `[notify]`: it is most likely a webhook's, which is a secret whatever its key is.
fn is_webhook(before: &str, value: &str) -> bool {
    let line = before.rfind('\n').map_or(0, |end| end + 1);
    let header = before
        .lines()
        .rev()
        .find(|line| line.trim_start().starts_with('['));
    let below = header.is_some_and(|header| header.contains("notify"));
    let value = value.lines().next().unwrap_or_default();
    value.contains("://") && (below || before[line..].contains("notify"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_that_stands_alone_is_masked() {
        const ID: &str = "0c0ffee0-aaaa-bbbb-cccc-0123456789ab";
        for around in ["x = \"{}\"", "x={}", "{}", "ü '{}'", "[{}]"] {
            let masked = super::text(&around.replace("{}", ID));
            assert!(!masked.contains(ID), "{masked}");
        }
        let address = format!("https://dt.example.com/e/{ID}");
        assert_eq!(super::text(&address), address);
    }

    #[test]
    fn masking_keeps_lengths_lines_and_everything_else() {
        let text = "a = 1\nsecret_id = \"gänsefuß\"\r\ntoken_file = \"x\"\n[a.b]\nauth = { token = 'x', y = 2 }\n\
                    token = \"\"\"one\ntwo\"\"\" # end\nu = \"https://me:pw@host/\"";
        let masked = mask(text, 0..text.len(), &assignments(text));
        assert_eq!(masked.len(), text.len());
        assert_eq!(masked.lines().count(), text.lines().count());
        for secret in ["nsefu", "'x'", "one", "two", "pw"] {
            assert!(!masked.contains(secret), "{secret} in {masked}");
        }
        for kept in [
            "a = 1",
            "token_file = \"x\"",
            "# end",
            "@host/",
            "secret_id = *",
        ] {
            assert!(masked.contains(kept), "{kept} in {masked}");
        }
        let at = text.find("two").unwrap();
        assert_eq!(mask(text, at..at + 10, &assignments(text)), "****** # e");
    }
}
