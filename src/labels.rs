//! Labels: what people group secrets by and whom they concern, such as `team = "checkout"`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest name of a label.
const LONGEST_NAME: usize = 63;

/// The labels of a secret by name. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Labels(Arc<BTreeMap<String, String>>);

impl Labels {
    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each name with its value, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.0.iter();
        pairs.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Each label under the name that it has in log lines and metrics, where `-` and `.` are not possible.
    pub fn fields(&self) -> impl Iterator<Item = (String, &str)> {
        self.iter().map(|(name, value)| (field(name), value))
    }

    /// All of these are among them.
    pub fn contain(&self, others: &Labels) -> bool {
        others
            .0
            .iter()
            .all(|(name, value)| self.0.get(name) == Some(value))
    }

    /// All of `wanted` are among them.
    pub fn match_all(&self, wanted: &[Label]) -> bool {
        wanted
            .iter()
            .all(|label| self.0.get(&label.name) == Some(&label.value))
    }
}

/// `label_cost_center` of `cost-center`.
pub fn field(name: &str) -> String {
    format!("label_{}", name.replace(['-', '.'], "_"))
}

/// Whether `name` can be the name of a label: a letter, then letters, digits, `_`, `-` and `.`.
pub fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    name.len() <= LONGEST_NAME
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(fits)
}

impl From<BTreeMap<String, String>> for Labels {
    fn from(labels: BTreeMap<String, String>) -> Self {
        Labels(Arc::new(labels))
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let pairs = pairs.into_iter();
        let labels: BTreeMap<String, String> = pairs
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        Labels::from(labels)
    }
}

impl From<Labels> for BTreeMap<String, String> {
    fn from(labels: Labels) -> Self {
        Arc::unwrap_or_clone(labels.0)
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (name, value)) in self.iter().enumerate() {
            let gap = if number == 0 { "" } else { " " };
            write!(f, "{gap}{name}={value}")?;
        }
        Ok(())
    }
}

/// One label, as a filter: `team=checkout`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl FromStr for Label {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) if is_name(name) => Ok(Label {
                name: name.to_owned(),
                value: value.to_owned(),
            }),
            _ => Err("a label is NAME=VALUE, such as team=checkout".to_owned()),
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_a_name_and_a_value() {
        let label = |text: &str| text.parse::<Label>();
        assert_eq!(label("a=b=c").unwrap().value, "b=c");
        assert_eq!(label("team=").unwrap().to_string(), "team=");
        for wrong in ["team", "=checkout", "1=x", "te am=x"] {
            assert!(label(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn all_labels_of_a_filter_must_match() {
        let labels = [("team", "checkout"), ("cost-center", "7")];
        let labels = Labels::from_iter(labels);
        let wanted = |all: &[&str]| {
            let all: Vec<Label> = all.iter().map(|text| text.parse().unwrap()).collect();
            labels.match_all(&all)
        };
        assert!(wanted(&[]) && wanted(&["team=checkout", "cost-center=7"]));
        assert!(!wanted(&["team=checkout", "cost-center=8"]) && !wanted(&["x=y"]));
        assert_eq!(labels.to_string(), "cost-center=7 team=checkout");
        let fields: Vec<_> = labels.fields().map(|(name, _)| name).collect();
        assert_eq!(fields, ["label_cost_center", "label_team"]);
    }
}
