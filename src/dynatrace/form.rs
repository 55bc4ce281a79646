//! What values and ids may look like before they go into a request or a sentence.

use crate::credential;
use rotation::token::{TokenId, TokenValue};

/// Why a value was certainly never made by Dynatrace, as half a sentence; such a value is not sent anywhere. One without a flaw can stand
/// in a header and in a body: printable ASCII without white space.
pub(super) fn flaw(value: &TokenValue) -> Option<&'static str> {
    let text = value.expose();
    let printable = || text.bytes().all(|byte| byte.is_ascii_graphic());
    let foreign = || (!printable()).then_some("has a character in it that no token has");
    credential::flaw(text).or_else(foreign)
}

/// A value without a flaw.
pub(super) fn is_sendable(value: &TokenValue) -> bool {
    flaw(value).is_none()
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
