//! What values and ids may look like before they go into a request or a sentence.

use rotation::token::{TokenId, TokenValue};

/// A value that can stand in a header and in a body: not blank, printable ASCII, no white space inside. Anything else was
/// certainly never made by Dynatrace and is not sent anywhere.
pub(super) fn is_sendable(value: &TokenValue) -> bool {
    let text = value.expose();
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// An id that is one segment of a path, whatever a server makes of it: letters, digits, dots and dashes, not dots alone.
pub(super) fn is_plain(id: &TokenId) -> bool {
    let text = id.as_str();
    let usual = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    text.len() <= 128
        && text.bytes().all(usual)
        && text.bytes().any(|byte| byte.is_ascii_alphanumeric())
}

/// An id from an answer, fit for a sentence.
pub(super) fn shown(id: &TokenId) -> &str {
    if is_plain(id) {
        id.as_str()
    } else {
        "with an odd id"
    }
}
