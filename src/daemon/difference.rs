//! What differs between the secrets of two configurations, by name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::config::SecretSettings;

/// How many names are shown of those that were added, removed, renamed or changed.
const SHOWN: usize = 20;

/// The names that were added, removed, renamed or changed.
#[derive(Default)]
pub struct Difference {
    added: Vec<String>,
    removed: Vec<String>,
    renamed: Vec<String>,
    changed: Vec<String>,
}

impl Difference {
    /// Compares secrets before, by name with the digest of their settings (none = not known), with the secrets of a configuration.
    pub fn between(before: &BTreeMap<&str, Option<u32>>, after: &[Arc<SecretSettings>]) -> Self {
        let mut difference = Difference::default();
        let names: BTreeSet<&str> = after.iter().map(|it| it.plan.name.as_str()).collect();
        let mut gone: BTreeSet<&str> = before.keys().copied().collect();
        gone.retain(|name| !names.contains(name));
        for secret in after {
            let name = &secret.plan.name;
            let former = secret.renamed_from.as_deref();
            match before.get(name.as_str()) {
                Some(Some(digest)) if *digest != secret.digest() => {
                    difference.changed.push(name.clone());
                }
                Some(_) => {}
                None => match former.filter(|former| gone.remove(former)) {
                    Some(former) => difference.renamed.push(format!("{former} to {name}")),
                    None => difference.added.push(name.clone()),
                },
            }
        }
        difference.removed = gone.into_iter().map(str::to_owned).collect();
        difference
    }

    fn kinds(&self) -> [(&'static str, &Vec<String>); 4] {
        [
            ("added", &self.added),
            ("removed", &self.removed),
            ("renamed", &self.renamed),
            ("changed", &self.changed),
        ]
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.kinds().iter().all(|(_, names)| names.is_empty())
    }
}

/// For example `added a, b; changed c`.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("no secret changed");
        }
        let mut separator = "";
        for (word, names) in self.kinds() {
            if names.is_empty() {
                continue;
            }
            let shown = names.iter().take(SHOWN).map(String::as_str);
            let shown: Vec<&str> = shown.collect();
            write!(f, "{separator}{word} {}", shown.join(", "))?;
            if names.len() > SHOWN {
                write!(f, " and {} more", names.len() - SHOWN)?;
            }
            separator = "; ";
        }
        Ok(())
    }
}
