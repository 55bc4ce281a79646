//! Finds what must never show in a text: token values, and values of keys whose name says that they are secret. Masked text has the
//! same length in bytes and the same lines, so that places stay true. It would rather mask too much than too little.

use std::ops::Range;

/// A token value that somebody wrote down: where it stands and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub span: Range<usize>,
    pub what: &'static str,
}

/// All token values in a text that can be told by their shape: `dt0c01.PUBLIC.SECRET` and its kin, `hvs.`, `hvb.`, `hvr.`, and
/// the older `s.`, `b.`, `r.` of Vault and OpenBao.
pub(super) fn tokens(text: &str) -> Vec<Found> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let hit = starts_word(text, at)
            .then(|| token_at(&text.as_bytes()[at..]))
            .flatten();
        match hit {
            Some((length, what)) => {
                let end = end_of_value(text, at + length);
                let span = at..end;
                at = end;
                found.push(Found { span, what });
            }
            None => at += 1,
        }
    }
    found
}

/// Nothing that could belong to the same word stands before `at`.
fn starts_word(text: &str, at: usize) -> bool {
    text.is_char_boundary(at)
        && (at == 0
            || !matches!(text.as_bytes()[at - 1], b'.' | b'-' | b'_')
                && !text.as_bytes()[at - 1].is_ascii_alphanumeric())
}

/// The length of the token that a text begins with, and whose it is.
fn token_at(text: &[u8]) -> Option<(usize, &'static str)> {
    let run = |from: usize, extra: &[u8]| {
        let rest = text.get(from..).unwrap_or_default();
        rest.iter()
            .take_while(|b| b.is_ascii_alphanumeric() || extra.contains(b))
            .count()
    };
    if let [b'd', b't', b'0', letter, one, two, b'.', ..] = text
        && letter.is_ascii_lowercase()
        && one.is_ascii_digit()
        && two.is_ascii_digit()
    {
        let public = run(7, b"");
        let secret = run(8 + public, b"");
        let dotted = text.get(7 + public) == Some(&b'.');
        return (public > 0 && secret > 0 && dotted)
            .then_some((8 + public + secret, "a Dynatrace token"));
    }
    let vault = |prefix: usize, least: usize| {
        let length = run(prefix, b"-_");
        (length >= least).then_some((prefix + length, "a Vault token"))
    };
    match text {
        [b'h', b'v', b's' | b'b' | b'r', b'.', ..] => vault(4, 8),
        [b's' | b'b' | b'r', b'.', ..] => vault(2, 24),
        _ => None,
    }
}

/// From `at` to the end of what may still belong to the value: up to a space or a closing sign.
fn end_of_value(text: &str, at: usize) -> usize {
    text[at..]
        .find(|c: char| c.is_whitespace() || "\"',]})`".contains(c))
        .map_or(text.len(), |length| at + length)
}

/// Whether a key's name says that its value is secret. Names of files are not; `token_name` is a reserved key.
pub(super) fn secret_key(key: &str) -> bool {
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

/// A whole file, masked: token values, user names and passwords in URLs, and everything after the `=` of a key that is secret by
/// its name. It works on lines, so that a file that is not TOML is masked, too.
pub(super) fn source(text: &str) -> String {
    let mut hidden = by_shape(text);
    hidden.extend(secret_assignments(text));
    hide(text, &hidden)
}

/// A message, masked: token values and user names and passwords in URLs.
pub(super) fn text(text: &str) -> String {
    let hidden = by_shape(text);
    hide(text, &hidden)
}

/// What can be told by its shape: token values, UUIDs that stand alone (an AppRole secret id is one), and users in URLs.
fn by_shape(text: &str) -> Vec<Range<usize>> {
    let tokens = tokens(text).into_iter().map(|found| found.span);
    tokens.chain(uuids(text)).chain(url_users(text)).collect()
}

/// UUIDs that are whole words. One within an address is the id of a Managed environment, and may show.
fn uuids(text: &str) -> Vec<Range<usize>> {
    let is_edge = |c: char| c.is_whitespace() || "\"'`=,[]{}()".contains(c);
    let mut uuids = Vec::new();
    let mut start = 0;
    for word in text.split(is_edge) {
        if is_uuid(word) {
            uuids.push(start..start + word.len());
        }
        let edge = text[start + word.len()..].chars().next();
        start += word.len() + edge.map_or(0, char::len_utf8);
    }
    uuids
}

fn hide(text: &str, hidden: &[Range<usize>]) -> String {
    if hidden.is_empty() {
        return text.to_owned();
    }
    let mut marks = vec![false; text.len()];
    for span in hidden {
        marks[span.clone()].fill(true);
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

/// What stands between `://` and `@` in one word.
fn url_users(text: &str) -> Vec<Range<usize>> {
    let mut users = Vec::new();
    for (at, _) in text.match_indices("://") {
        let start = at + 3;
        let word = &text[start..end_of_value(text, start)];
        if let Some(length) = word.rfind('@') {
            users.push(start..start + length);
        }
    }
    users
}

/// The values of keys that are secret by their name: from the `=` to the end of the line, or of the multi-line string.
fn secret_assignments(text: &str) -> Vec<Range<usize>> {
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
        let value = at + 1;
        let rest = text[value..].trim_start_matches([' ', '\t']);
        let opening = text.len() - rest.len();
        if !secret_key(key) && !is_webhook(&text[..at], rest) {
            continue;
        }
        let quotes = ["\"\"\"", "'''"].into_iter().find(|q| rest.starts_with(q));
        let end = match quotes {
            Some(quotes) => text[opening + 3..]
                .find(quotes)
                .map_or(text.len(), |length| opening + 6 + length),
            None => rest.find('\n').map_or(text.len(), |line| opening + line),
        };
        hidden.push(opening..end);
        done = end;
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

/// Whether a value is a UUID, the shape of an AppRole secret id.
pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_values_are_found_by_their_shape() {
        for token in [
            "dt0c01.PUBLICPUBLIC.SECRETSECRET",
            "dt0s16.A.b",
            "hvs.CAESIJ0000-_00",
            "s.abcdefghijklmnopqrstuvwx",
        ] {
            for text in [
                token.to_owned(),
                format!("x = \"{token}\""),
                format!("# {token}"),
                format!("ü{token}").replace('ü', "ü "),
            ] {
                let found = tokens(&text);
                assert_eq!(found.len(), 1, "{text}");
                assert_eq!(&text[found[0].span.clone()], token);
            }
        }
    }

    #[test]
    fn what_is_no_token_value_is_left_alone() {
        for text in [
            "dt0c01.PUBLIC",
            "dt0c01.PUBLIC.",
            "https://abc12345.live.dynatrace.com",
            "vaults.example.com",
            "s.example.com",
            "adt0c01.A.B",
        ] {
            assert_eq!(tokens(text), Vec::new(), "{text}");
        }
    }

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
        let masked = source(text);
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
    }
}
