//! Makes text from outside safe to show: on a terminal, in a line of the log, on the page. To be applied once, where text is written.
//!
//! A token's name, an owner, an address or a server's message may hold escape sequences that rewrite a terminal, line ends that forge a
//! line, or marks that reverse what is read. They are shown as `\u{1b}`; tokens and passwords are hidden on the way.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::Value;

use crate::redact;

/// Whether a character does something other than standing there: control characters (C0, DEL, C1), line and paragraph separators, and the
/// marks that change the direction of text or are invisible.
pub fn is_hazard(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// The quotes that a word processor or a chat makes of straight ones. Neither TOML nor a credential has them.
pub const TYPOGRAPHIC_QUOTES: [char; 8] = ['“', '”', '„', '‘', '’', '‚', '«', '»'];

/// Text on one line, without secrets: line ends and tabs become spaces, other hazards visible escapes.
pub fn line(text: &str) -> String {
    let text = redact::by_shape(text);
    if !text.contains(is_hazard) {
        return text;
    }
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => safe.push(' '),
            c if is_hazard(c) => safe.extend(c.escape_unicode()),
            c => safe.push(c),
        }
    }
    safe
}

/// Written JSON with the hazards in its strings escaped; what it says stays the same.
pub fn json(text: &str) -> Cow<'_, str> {
    // The encoder has escaped what is below the space; what is left of it is layout.
    let is_hazard = |c: char| c >= ' ' && is_hazard(c);
    if !text.contains(is_hazard) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match is_hazard(c) {
            // None of them needs more than four digits.
            true => drop(write!(safe, "\\u{:04x}", u32::from(c))),
            false => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

/// [`line()`] for every string in a value.
pub fn value(value: &mut Value) {
    match value {
        Value::String(text) => *text = line(text),
        Value::Array(items) => items.iter_mut().for_each(self::value),
        Value::Object(fields) => fields.values_mut().for_each(self::value),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Escape, bell, C1, NUL, DEL, separators, direction marks, zero width.
    pub const HAZARDS: &str = "a\u{1b}[2J\u{7}\u{9b}31m\0\u{7f}\u{85}\u{2028}\u{2029}\u{202e}\u{2066}\u{200f}\u{61c}\u{200b}\u{feff}z";

    #[test]
    fn hazards_become_visible_and_everything_else_stays() {
        assert_eq!(line("Grüße, 日本 👍 a\nb\tc"), "Grüße, 日本 👍 a b c");
        let safe = line(HAZARDS);
        assert!(!safe.contains(is_hazard), "{safe:?}");
        assert!(
            safe.starts_with("a\\u{1b}[2J\\u{7}\\u{9b}31m\\u{0}"),
            "{safe}"
        );
        assert_eq!(line("x dt0c01.A.SECRET"), "x dt0c01.A.[hidden]");
    }

    #[test]
    fn json_says_the_same_without_hazards() {
        let original = Value::from(HAZARDS);
        let written = original.to_string();
        let safe = json(&written);
        assert!(!safe.contains(is_hazard), "{safe:?}");
        assert_eq!(serde_json::from_str::<Value>(&safe).unwrap(), original);
        let mut nested = serde_json::json!({ "a": [HAZARDS, 1, null] });
        value(&mut nested);
        assert_eq!(nested["a"][0], line(HAZARDS));
    }
}
