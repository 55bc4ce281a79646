//! What a server may say, for tests that throw anything at a reader. `make fuzz` runs those with a million cases each.

use proptest::prelude::*;
use serde_json::{Map, Value};

/// As many cases as `PROPTEST_CASES` says, else proptest's own number; a finding becomes a test of its own.
pub(crate) fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Statuses: all there are, those with a meaning more often.
pub(crate) fn status() -> impl Strategy<Value = u16> {
    const MEANT: [u16; 16] = [
        200, 201, 204, 301, 307, 400, 401, 403, 404, 409, 412, 429, 500, 502, 503, 504,
    ];
    prop_oneof![prop::sample::select(&MEANT[..]), 100_u16..600]
}

/// A JSON value whose keys and texts are often these.
pub(crate) fn json(words: &'static [&'static str]) -> impl Strategy<Value = Value> {
    let word = move || prop::sample::select(words).prop_map(str::to_owned);
    let text = prop_oneof![4 => word(), 1 => ".{0,20}"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        let entries = prop::collection::vec((word(), inner.clone()), 0..6);
        prop_oneof![
            2 => entries.prop_map(|entries| entries.into_iter().collect::<Map<_, _>>().into()),
            1 => prop::collection::vec(inner, 0..5).prop_map(Value::from),
        ]
    })
}

/// A body: JSON, JSON cut short, or any bytes.
pub(crate) fn body(words: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let whole = || json(words).prop_map(|value| value.to_string().into_bytes());
    let cut = (whole(), any::<prop::sample::Index>()).prop_map(|(mut bytes, at)| {
        bytes.truncate(at.index(bytes.len()));
        bytes
    });
    prop_oneof![
        4 => whole(),
        1 => cut,
        1 => prop::collection::vec(any::<u8>(), 0..60),
    ]
}

/// A sentence for people: one line, not endless, without any of these.
pub(crate) fn assert_sentence(text: &str, secrets: &[&str]) {
    assert!(!text.contains(char::is_control), "{text:?}");
    assert!(text.len() < 2000, "{text}");
    for secret in secrets {
        assert!(!text.contains(secret), "P5: {text}");
    }
}
