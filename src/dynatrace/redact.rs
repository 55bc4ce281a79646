//! Takes token values out of texts that others wrote, before they become part of an error sentence.
//!
//! This is the last fence, not the first: bodies and headers are never quoted, only the message of an error envelope is.

/// The longest message of a server that an error sentence repeats, in characters: enough for one sentence and a list of scopes.
const LONGEST: usize = 300;

const HIDDEN: &str = "[hidden]";

/// `text` without anything that looks like a token's secret part, without each of `known`, on one line and at most 300
/// characters long. The public part of a dotted token stays: it is made to be shown.
pub(super) fn redact(text: &str, known: &[&str]) -> String {
    let mut text = text.to_owned();
    for value in known.iter().filter(|value| !value.is_empty()) {
        text = text.replace(value, HIDDEN);
    }
    shorten(&hide_dotted(&text))
}

/// Dynatrace publishes `dt0[a-zA-Z][0-9]{2}\.[A-Z0-9]{24}\.[A-Z0-9]{64}`, which misses ActiveGate, agent and platform tokens; so
/// every word that starts like a token keeps its first two parts only, whatever their length and alphabet.
fn hide_dotted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = find_start(rest) {
        let end = rest[at..]
            .find(|c| !is_token_char(c))
            .map_or(rest.len(), |length| at + length);
        let (word, after) = (&rest[at..end], &rest[end..]);
        out.push_str(&rest[..at]);
        match word.match_indices('.').nth(1) {
            Some((second, _)) if second + 1 < word.len() => {
                out.push_str(&word[..=second]);
                out.push_str(HIDDEN);
            }
            _ => out.push_str(word),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Where the next `dt0LNN.` begins, in any case.
fn find_start(text: &str) -> Option<usize> {
    text.as_bytes().windows(7).position(|window| {
        matches!(window, [b'd' | b'D', b't' | b'T', b'0', letter, a, b, b'.']
            if letter.is_ascii_alphabetic() && a.is_ascii_digit() && b.is_ascii_digit())
    })
}

fn is_token_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

/// One line, bounded, without control characters and runs of white space.
fn shorten(text: &str) -> String {
    let mut words = String::new();
    for word in text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
    {
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str(word);
    }
    match words.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &words[..end]),
        None => words,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p5_every_family_of_dotted_tokens_loses_its_secret_and_keeps_its_id() {
        for (given, expected) in [
            (
                "token 'dt0c01.ABC.SECRET' is bad",
                "token 'dt0c01.ABC.[hidden]' is bad",
            ),
            ("dt0g02.ABCDEFGH.SECRET", "dt0g02.ABCDEFGH.[hidden]"),
            ("dt0a01.1.deadbeef", "dt0a01.1.[hidden]"),
            ("DT0C01.abc.secret_x-y", "DT0C01.abc.[hidden]"),
            (
                "x=dt0c01.A.B,dt0c01.C.D",
                "x=dt0c01.A.[hidden],dt0c01.C.[hidden]",
            ),
            ("xdt0c01.A.B.C.D", "xdt0c01.A.[hidden]"),
            ("id dt0c01.ABC.", "id dt0c01.ABC."),
            ("id dt0c01.ABC", "id dt0c01.ABC"),
            ("dt0 and dt0c01 and dt0c0", "dt0 and dt0c01 and dt0c0"),
            (
                "dé dt0c01.A.é dt0c01.A.B",
                "dé dt0c01.A.é dt0c01.A.[hidden]",
            ),
        ] {
            assert_eq!(redact(given, &[]), expected);
        }
    }

    #[test]
    fn p5_known_values_without_dots_go_too() {
        assert_eq!(
            redact("no token fsjh_eiu-3 here", &["fsjh_eiu-3", ""]),
            "no token [hidden] here"
        );
    }

    #[test]
    fn a_message_is_one_bounded_line() {
        assert_eq!(redact(" a\n\tb\u{0}\u{1b}c ", &[]), "a b c");
        let long = redact(&"é".repeat(1000), &[]);
        assert_eq!(long.chars().count(), 303);
        let cut = format!("{}dt0c01.A.{}", "x".repeat(285), "S".repeat(64));
        assert!(!redact(&cut, &[]).contains('S'));
    }
}
