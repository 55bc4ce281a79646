//! The forms of token ids and secrets.

/// The id of a dotted secret is everything before its second dot; `None` for anything else.
pub(crate) fn id_of(value: &str) -> Option<&str> {
    let mut dots = value.match_indices('.').map(|(at, _)| at);
    let (_, second) = (dots.next()?, dots.next()?);
    Some(&value[..second])
}

pub(crate) fn drawn(alphabet: &[u8], length: usize) -> String {
    (0..length)
        .map(|_| char::from(alphabet[fastrand::usize(..alphabet.len())]))
        .collect()
}

/// `dt0c01.<24 public>.<64 secret>` over the base-32 alphabet.
pub(crate) fn dotted_pair() -> (String, String) {
    const BASE32: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let id = format!("dt0c01.{}", drawn(BASE32, 24));
    let value = format!("{id}.{}", drawn(BASE32, 64));
    (id, value)
}

/// A prefix, a public part of 8 characters and a secret of 64: `dt0s16` for platform tokens, `dt0g02` for ActiveGate
/// tokens, `dt0s02` for OAuth clients.
fn short_pair(prefix: &str) -> (String, String) {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let id = format!("{prefix}.{}", drawn(ALPHABET, 8));
    let value = format!("{id}.{}", drawn(ALPHABET, 64));
    (id, value)
}

pub(crate) fn platform_pair() -> (String, String) {
    short_pair("dt0s16")
}

pub(crate) fn active_gate_pair() -> (String, String) {
    short_pair("dt0g02")
}

pub(crate) fn client_pair() -> (String, String) {
    short_pair("dt0s02")
}

/// A UUID and 21 URL-safe characters.
pub(crate) fn legacy_pair() -> (String, String) {
    const URL_SAFE: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    (uuid(), drawn(URL_SAFE, 21))
}

/// A random UUID.
pub(crate) fn uuid() -> String {
    let bits = fastrand::u128(..);
    let bits = bits & !(0xf << 76) | (0x4 << 76);
    let bits = bits & !(0x3 << 62) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}
