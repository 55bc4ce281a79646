//! The one redactor: takes secrets out of texts that others wrote, before they reach an error, a log line, a page or a terminal.
//!
//! It hides by shape (Dynatrace, Vault and signed tokens, passwords in addresses) and by value: what was sent in this call, quoted whole
//! or in part, in another case, percent-encoded, escaped, in base64, or split by white space. The public part of a dotted Dynatrace token
//! stays, because it is the token's id. It would rather hide too much than too little, and is the last fence: bodies and headers are never
//! quoted in the first place.

use std::collections::HashMap;
use std::ops::Range;

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

/// What stands for hidden text.
pub const HIDDEN: &str = "[hidden]";

/// So many consecutive characters of a known value are hidden; a shorter value is hidden as a whole.
const PART: usize = 12;

/// A known value that is shorter is not a secret, and hiding it would hide parts of ordinary words.
const SHORTEST: usize = 4;

/// A run of base64 that is shorter cannot hold a recognizable part of a token.
const BASE64_RUN: usize = 12;

/// `text` without anything that looks like a token or a password.
pub fn by_shape(text: &str) -> String {
    redact(text, &[])
}

/// The same, and without any part of the values in `known`, such as a token or the body of a request.
pub fn redact(text: &str, known: &[&[u8]]) -> String {
    hide(text, spans(text, known))
}

/// Where in the text the secrets stand, in ascending order and without overlaps. For who needs another mask than [`HIDDEN`].
pub fn spans(text: &str, known: &[&[u8]]) -> Vec<Range<usize>> {
    let mut found = match may_have_shape(text.as_bytes()) {
        true => shapes(&View::new(text, false)),
        false => Vec::new(),
    };
    let mut decoded_texts = Vec::new();
    each_decoded_run(text, |span, decoded| {
        let may_have_shape = may_have_shape(decoded);
        if !may_have_shape && known.is_empty() {
            return;
        }
        let decoded = String::from_utf8_lossy(decoded);
        if may_have_shape {
            // What is decoded is noise for the most part, and in noise anything can be found.
            let is_text =
                |part: Range<usize>| decoded.as_bytes()[part].iter().all(u8::is_ascii_graphic);
            if shapes(&View::new(&decoded, false)).into_iter().any(is_text) {
                found.push(span.clone());
            }
        }
        if !known.is_empty() {
            decoded_texts.push((View::new(&decoded, true), Some(span)));
        }
    });
    if !known.is_empty() {
        find_known(text, decoded_texts, known, &mut found);
    }
    for span in &mut found {
        // A known value may begin or end within a character of the text.
        while !text.is_char_boundary(span.start) {
            span.start -= 1;
        }
        while !text.is_char_boundary(span.end) {
            span.end += 1;
        }
    }
    found.sort_by_key(|span| span.start);
    let mut merged: Vec<Range<usize>> = Vec::new();
    for span in found {
        match merged.last_mut() {
            Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
            _ => merged.push(span),
        }
    }
    merged
}

/// The tokens of Dynatrace and Vault in a text that must not have any, each with what it is.
pub fn tokens(text: &str) -> Vec<(Range<usize>, &'static str)> {
    let mut found = Vec::new();
    let mut start = 0;
    // Line by line: a view is many times larger than its text.
    for line in text.split_inclusive('\n') {
        let view = View::new(line, false);
        let mut at = 0;
        while at < view.bytes.len() {
            let begins = at == 0 || !is_token_byte(view.bytes[at - 1]);
            let token = begins.then(|| match dotted(&view, at) {
                Some(secret) => Some((at..secret.end, "a Dynatrace token")),
                None => vault(&view, at).map(|part| (part, "a Vault token")),
            });
            let Some((part, what)) = token.flatten() else {
                at += 1;
                continue;
            };
            at = part.end;
            let place = view.place(part);
            found.push((start + place.start..start + place.end, what));
        }
        start += line.len();
    }
    found
}

fn hide(text: &str, spans: Vec<Range<usize>>) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut done = 0;
    for span in spans {
        shown.push_str(&text[done..span.start]);
        shown.push_str(HIDDEN);
        done = span.end;
    }
    shown + &text[done..]
}

/// A text with its escapes (`%2E`, `\u002e`) decoded, each byte with its place in the original.
struct View {
    bytes: Vec<u8>,
    places: Vec<Range<usize>>,
}

impl View {
    /// `compact` leaves out what may split a value: white space, control characters, quotes.
    fn new(text: &str, compact: bool) -> Self {
        View::of(text, compact, true)
    }

    /// The compact text without decoding.
    fn literal(text: &str) -> Self {
        View::of(text, true, false)
    }

    fn of(text: &str, compact: bool, decode: bool) -> Self {
        let whole = text.as_bytes();
        let (mut bytes, mut places) = (Vec::new(), Vec::new());
        let mut at = 0;
        while let Some(&byte) = whole.get(at) {
            let (byte, end) = match byte {
                b'%' if decode => hex(text, at + 1..at + 3),
                b'\\' if decode && text[at + 1..].starts_with("u00") => hex(text, at + 4..at + 6),
                _ => None,
            }
            .unwrap_or((byte, at + 1));
            let splits =
                byte.is_ascii_whitespace() || byte.is_ascii_control() || b"\"'`+\\".contains(&byte);
            if !(compact && splits) {
                bytes.push(byte);
                places.push(at..end);
            }
            at = end;
        }
        View { bytes, places }
    }

    /// The place of a part of the view in the original text.
    fn place(&self, part: Range<usize>) -> Range<usize> {
        self.places[part.start].start..self.places[part.end - 1].end
    }

    /// The end of the run of such bytes that begins at `from`.
    fn run(&self, from: usize, is_part: impl Fn(u8) -> bool) -> usize {
        let rest = self.bytes.get(from..).unwrap_or_default();
        from + rest.iter().take_while(|&&byte| is_part(byte)).count()
    }
}

fn hex(text: &str, digits: Range<usize>) -> Option<(u8, usize)> {
    let end = digits.end;
    let byte = u8::from_str_radix(text.get(digits)?, 16).ok()?;
    // A part of a character of several bytes stays as it is written.
    byte.is_ascii().then_some((byte, end))
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-".contains(&byte)
}

/// What can be recognised by its shape.
fn shapes(view: &View) -> Vec<Range<usize>> {
    let bytes = &view.bytes;
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let part = dotted(view, at)
            .or_else(|| signed(view, at))
            .or_else(|| vault(view, at))
            .or_else(|| user_in_url(view, at))
            .or_else(|| user(view, at));
        match part {
            Some(part) => {
                at = part.end;
                found.push(view.place(part));
            }
            None => at += 1,
        }
    }
    found
}

/// What follows the second dot of `dt0LNN.PUBLIC.SECRET`. Dynatrace publishes `dt0[a-zA-Z][0-9]{2}\.[A-Z0-9]{24}\.[A-Z0-9]{64}`, which
/// misses ActiveGate, agent, OAuth and platform tokens; so every length and both cases count.
fn dotted(view: &View, at: usize) -> Option<Range<usize>> {
    if !is_prefix(view.bytes.get(at..at + 7)?) {
        return None;
    }
    let public = view.run(at + 7, |byte| is_token_byte(byte) && byte != b'.');
    let end = view.run(at, is_token_byte);
    (view.bytes.get(public) == Some(&b'.') && public + 1 < end).then_some(public + 1..end)
}

/// `dt0LNN.`
fn is_prefix(bytes: &[u8]) -> bool {
    matches!(bytes, [b'd' | b'D', b't' | b'T', b'0', letter, a, b, b'.']
        if letter.is_ascii_alphabetic() && a.is_ascii_digit() && b.is_ascii_digit())
}

/// A JSON web token, or another text in base64 that begins with `{"`.
fn signed(view: &View, at: usize) -> Option<Range<usize>> {
    if !view.bytes[at..].starts_with(b"eyJ") {
        return None;
    }
    let end = view.run(at, is_token_byte);
    (end - at >= 16).then_some(at..end)
}

/// `hvs.`, `hvb.`, `hvr.` and the older `s.`, `b.`, `r.` of Vault and OpenBao.
fn vault(view: &View, at: usize) -> Option<Range<usize>> {
    if at > 0 && is_token_byte(view.bytes[at - 1]) {
        return None;
    }
    let (prefix, least) = match view.bytes[at..] {
        [b'h', b'v', b's' | b'b' | b'r', b'.', ..] => (4, 8),
        [b's' | b'b' | b'r', b'.', ..] => (2, 24),
        _ => return None,
    };
    let end = view.run(at + prefix, |byte| is_token_byte(byte) && byte != b'.');
    (end - at - prefix >= least).then_some(at..end)
}

/// What ends a word in which an address may be written.
fn is_edge(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte.is_ascii_control() || b"\"'`,<>()[]{}=".contains(&byte)
}

/// What stands between `://` and the last `@` of the word.
fn user_in_url(view: &View, at: usize) -> Option<Range<usize>> {
    let from = at + 3;
    if !view.bytes[at..].starts_with(b"://") {
        return None;
    }
    let word = &view.bytes[from..view.run(from, |byte| !is_edge(byte) || byte == b'=')];
    let length = word.iter().rposition(|&byte| byte == b'@')?;
    (length > 0).then_some(from..from + length)
}

/// `user:password` in front of the `@` of an address without a scheme.
fn user(view: &View, at: usize) -> Option<Range<usize>> {
    if at > 0 && !is_edge(view.bytes[at - 1]) {
        return None;
    }
    let word = &view.bytes[at..view.run(at, |byte| !is_edge(byte))];
    let length = word.iter().rposition(|&byte| byte == b'@')?;
    let colon = word[..length].iter().position(|&byte| byte == b':')?;
    (!word[colon..].starts_with(b"://")).then_some(at..at + length)
}

/// Whether anything in a text can have a shape. Most texts are words of our own, and every line of the log is looked at.
fn may_have_shape(text: &[u8]) -> bool {
    text.iter().any(|byte| b"@%\\".contains(byte))
        || text.windows(3).any(|part| match part {
            b"eyJ" | [b's' | b'b' | b'r', b'.', _] => true,
            [first, second, b'0'] => {
                first.eq_ignore_ascii_case(&b'd') && second.eq_ignore_ascii_case(&b't')
            }
            _ => false,
        })
}

/// Finds every part of the known values in a text, and in what it holds in base64.
fn find_known(
    text: &str,
    decoded: Vec<(View, Option<Range<usize>>)>,
    known: &[&[u8]],
    found: &mut Vec<Range<usize>>,
) {
    // Decoded and undecoded: what looks like an escape may be part of a value.
    let mut texts = vec![(View::new(text, true), None), (View::literal(text), None)];
    texts.extend(decoded);
    for (view, _) in &mut texts {
        view.bytes.make_ascii_lowercase();
    }
    for value in known {
        find_parts(value, &texts, found);
    }
}

/// Finds every part of a known value in the texts, which are in lower case. A text that was decoded is hidden as a whole, at its place.
fn find_parts(value: &[u8], texts: &[(View, Option<Range<usize>>)], found: &mut Vec<Range<usize>>) {
    let mut value = Zeroizing::new(View::new(&String::from_utf8_lossy(value), true).bytes);
    // The id of a dotted token may show.
    let mut dots = (0..value.len()).filter(|&at| value[at] == b'.');
    if let (true, Some(second)) = (value.starts_with(b"dt0"), dots.nth(1)) {
        value.drain(..=second);
    }
    if value.len() < SHORTEST {
        return;
    }
    value.make_ascii_lowercase();
    let length = value.len().min(PART);
    // The texts are short, and the value may be the body of a large request.
    let mut parts: HashMap<&[u8], Vec<Range<usize>>> = HashMap::new();
    for (view, whole) in texts {
        for (at, part) in view.bytes.windows(length).enumerate() {
            let place = whole.clone().unwrap_or_else(|| view.place(at..at + length));
            parts.entry(part).or_default().push(place);
        }
    }
    for part in value.windows(length) {
        found.extend(parts.remove(part).unwrap_or_default());
    }
}

const DECODING: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
static DECODE_STANDARD: GeneralPurpose = GeneralPurpose::new(&STANDARD, DECODING);
static DECODE_URL_SAFE: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, DECODING);

/// Shows runs of base64 with their places, decoded from each of the characters at which an encoded value may begin. The id of a token is none.
fn each_decoded_run(text: &str, mut show: impl FnMut(Range<usize>, &[u8])) {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte);
    let mut decoded = Vec::new();
    let mut at = 0;
    for run in text.as_bytes().split(|&byte| !is_part(byte)) {
        let span = at..at + run.len();
        at = span.end + 1;
        let before = &text.as_bytes()[span.start.saturating_sub(7)..span.start];
        if run.len() < BASE64_RUN || is_prefix(before) {
            continue;
        }
        let engine = match run.iter().any(|byte| b"-_".contains(byte)) {
            true => &DECODE_URL_SAFE,
            false => &DECODE_STANDARD,
        };
        for from in 0..4 {
            let rest = &run[from..];
            // One character alone encodes nothing.
            let whole = rest.len() - usize::from(rest.len() % 4 == 1);
            decoded.clear();
            if engine.decode_vec(&rest[..whole], &mut decoded).is_ok() {
                show(span.clone(), &decoded);
            }
        }
    }
}

#[cfg(test)]
mod tests;
