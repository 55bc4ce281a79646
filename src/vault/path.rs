//! Paths as people write them, and as they stand in a URL.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but the unreserved characters of RFC 3986.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Encodes every segment of an API path. `None` for a path that no server takes as it stands: with an empty, `.` or `..` segment
/// the server redirects to another path, and a URL library silently drops the segment.
pub(super) fn encode(path: &str) -> Option<String> {
    let mut encoded = String::with_capacity(path.len() + 8);
    for segment in path.split('/') {
        if matches!(segment, "" | "." | "..") {
            return None;
        }
        if !encoded.is_empty() {
            encoded.push('/');
        }
        encoded.extend(utf8_percent_encode(segment, SEGMENT));
    }
    Some(encoded)
}

#[cfg(test)]
mod tests {
    use super::encode;

    #[test]
    fn segments_are_encoded_and_slashes_stay() {
        assert_eq!(encode("secret/data/a b").unwrap(), "secret/data/a%20b");
        assert_eq!(encode("s/ä?#%2f").unwrap(), "s/%C3%A4%3F%23%252f");
    }

    #[test]
    fn a_path_that_a_server_would_rewrite_is_refused() {
        for path in ["", "/a", "a/", "a//b", "a/../b", "./a", "a/."] {
            assert_eq!(encode(path), None, "{path}");
        }
    }
}
