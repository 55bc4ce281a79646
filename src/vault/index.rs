//! Makes reads at a stale standby harmless.
//!
//! An OpenBao standby answers reads from its own state, which lags behind by up to some 100 ms. Every answer may carry the opaque
//! `X-Vault-Index`; sent back with `X-Vault-Inconsistent: forward-active-node`, a node that is not as far hands the request to the
//! active one. Sending an index of another cluster, or one ahead of the active node (after a restore), was seen to do no harm.

use std::sync::Mutex;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::HeaderValue;
use serde::Deserialize;

/// The furthest index seen. Answers of concurrent calls arrive out of order, so the last one is not good enough.
#[derive(Default)]
pub(super) struct Index(Mutex<Option<Seen>>);

struct Seen {
    header: HeaderValue,
    position: Option<Position>,
}

/// The inside of OpenBao's index: `{"cluster":"...","value":"36"}` in Base64.
#[derive(Deserialize, PartialEq, Eq)]
struct Position {
    cluster: String,
    value: String,
}

impl Position {
    fn read(header: &HeaderValue) -> Option<Self> {
        serde_json::from_slice(&BASE64_STANDARD.decode(header.as_bytes()).ok()?).ok()
    }

    /// Known to be behind `other`: the same cluster and a lower number.
    fn behind(&self, other: &Position) -> bool {
        let number = |position: &Position| position.value.parse::<u64>().ok();
        self.cluster == other.cluster
            && matches!((number(self), number(other)), (Some(a), Some(b)) if a < b)
    }
}

impl Index {
    /// Takes the index of an answer, unless it is known to be behind the one held. One that cannot be understood replaces it.
    pub(super) fn note(&self, header: &HeaderValue) {
        let position = Position::read(header);
        let mut held = self.0.lock().unwrap_or_else(|e| e.into_inner());
        let older = match (&position, held.as_ref().and_then(|h| h.position.as_ref())) {
            (Some(new), Some(held)) => new.behind(held),
            _ => false,
        };
        if !older {
            *held = Some(Seen {
                header: header.clone(),
                position,
            });
        }
    }

    /// What to send.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        let held = self.0.lock().unwrap_or_else(|e| e.into_inner());
        held.as_ref().map(|seen| seen.header.clone())
    }

    /// A server could not read it.
    pub(super) fn forget(&self) {
        *self.0.lock().unwrap_or_else(|e| e.into_inner()) = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(cluster: &str, value: u64) -> HeaderValue {
        let text = format!(r#"{{"cluster":"{cluster}","value":"{value}"}}"#);
        HeaderValue::from_str(&BASE64_STANDARD.encode(text)).unwrap()
    }

    #[test]
    fn a_late_answer_does_not_set_it_back() {
        let held = Index::default();
        held.note(&index("a", 9));
        held.note(&index("a", 10));
        held.note(&index("a", 9));
        assert_eq!(held.header(), Some(index("a", 10)));
    }

    #[test]
    fn another_cluster_or_form_replaces_it() {
        let held = Index::default();
        held.note(&index("a", 10));
        held.note(&index("b", 1));
        assert_eq!(held.header(), Some(index("b", 1)));
        held.note(&HeaderValue::from_static("v1:opaque"));
        assert_eq!(held.header(), Some(HeaderValue::from_static("v1:opaque")));
        held.forget();
        assert_eq!(held.header(), None);
    }
}
