//! A server's message, fit for an error sentence.

use rotation::token::TokenValue;

use crate::redact::redact;

/// The longest message that an error sentence repeats, in characters: enough for one sentence and a list of scopes.
const LONGEST: usize = 300;

/// The message on one line, at most 300 characters long, without secrets and without any part of the values that were sent.
pub(super) fn quoted(text: &str, sent: &[&TokenValue]) -> String {
    let sent: Vec<&[u8]> = sent.iter().map(|value| value.expose().as_bytes()).collect();
    let text = redact(text, &sent);
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    let line = words.join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_bounded_line() {
        assert_eq!(quoted(" a\n\tb\u{0}\u{1b}c ", &[]), "a b c");
        let long = quoted(&"é".repeat(1000), &[]);
        assert_eq!(long.chars().count(), 303);
        let cut = format!("{}dt0c01.A.{}", "x".repeat(285), "S".repeat(64));
        assert!(!quoted(&cut, &[]).contains('S'));
    }

    #[test]
    fn p5_the_secret_part_of_what_was_sent_does_not_come_back() {
        let sent = TokenValue::new("dt0c01.PUBLIC.CANARYCANARYCANARY");
        let shown = quoted(
            "no such token: CANARYCANARYCANARY (dt0c01.PUBLIC)",
            &[&sent],
        );
        assert_eq!(shown, "no such token: [hidden] (dt0c01.PUBLIC)");
    }
}
