//! What values and ids may look like before they go into a request or a sentence.

use crate::credential;
use rotation::token::{TokenId, TokenValue};

/// Why a value was certainly never made by Dynatrace, as half a sentence; such a value is not sent anywhere. One without a flaw can stand
/// in a header and in a body: printable ASCII without white space.
pub fn flaw(value: &TokenValue) -> Option<&'static str> {
    let text = value.expose();
    let printable = || text.bytes().all(|byte| byte.is_ascii_graphic());
    let foreign = || (!printable()).then_some("has a character in it that no token has");
    let incomplete = || {
        is_id_alone(text).then_some(
            "is the id of a token without its secret part; write the whole token, ID.SECRET, as it was shown when it was created",
        )
    };
    credential::flaw(text).or_else(foreign).or_else(incomplete)
}

/// `dt0c01.PUBLIC`, which Dynatrace shows in its lists.
fn is_id_alone(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let Some((prefix, public)) = text.split_once('.') else {
        return false;
    };
    let usual = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    prefix.len() == 6 && prefix.starts_with("dt0") && public.bytes().all(usual)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p7_an_id_without_its_secret_part_is_recognized() {
        for alone in [
            "dt0c01.ABCDEFGHIJKLMNOPQRSTUVWX",
            "dt0c01.ABCDEFGHIJKLMNOPQRSTUVWX.",
            "dt0s16.ABCDEFGH",
        ] {
            let why = flaw(&TokenValue::new(alone)).expect(alone);
            assert!(why.contains("without its secret part"), "{why}");
        }
        for whole in [
            "dt0c01.ABC.SECRET",
            "fsjhkeiu3483kfjskdf2_",
            "a.B",
            "dt0c01",
        ] {
            assert_eq!(flaw(&TokenValue::new(whole)), None, "{whole}");
        }
    }
}
