//! The labels of secrets: each line about a secret has them as fields, so that no place that writes one must know them.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use serde_json::{Map, Value};

use crate::labels::Labels;

static LABELS: RwLock<Option<HashMap<String, Labels>>> = RwLock::new(None);

/// From now on these are the labels of the secrets, by the secret's name.
pub fn set(labels: impl IntoIterator<Item = (String, Labels)>) {
    let labels = labels.into_iter().filter(|(_, labels)| !labels.is_empty());
    let mut known = LABELS.write().unwrap_or_else(PoisonError::into_inner);
    *known = Some(labels.collect());
}

/// Adds the labels of the secret that the line is about.
pub(super) fn add(fields: &mut Map<String, Value>) {
    let known = LABELS.read().unwrap_or_else(PoisonError::into_inner);
    let name = fields.get("secret").and_then(Value::as_str);
    let labels = name.and_then(|name| known.as_ref()?.get(name)).cloned();
    let labels = labels.unwrap_or_default();
    fields.extend(labels.fields().map(|(name, value)| (name, value.into())));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_about_a_secret_has_its_labels() {
        let labels = Labels::from_iter([("team", "checkout")]);
        set([("labelled".to_owned(), labels)]);
        let line = |secret: &str| {
            let mut fields = Map::new();
            fields.insert("secret".to_owned(), secret.into());
            add(&mut fields);
            fields
        };
        assert_eq!(line("labelled")["label_team"], "checkout");
        assert_eq!(line("another").len(), 1);
    }
}
