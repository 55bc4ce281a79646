//! `labels`: a table of strings. Those of `[defaults]` are added to those of a secret, as far as it has none of the same name.

use std::collections::{BTreeMap, HashSet};

use super::context::Context;
use super::file::{Node, Value};
use super::kinds::{KeyType, Kind};
use super::problem::Problem;
use super::validate;
use crate::labels::{Labels, field, is_name};

/// The kind of value of `labels`.
pub struct LabelTable;

impl Kind for LabelTable {
    type Value = Labels;

    fn key_type() -> KeyType {
        KeyType::Labels
    }

    fn parse(_: &str, _: &Context) -> Result<Labels, String> {
        Err("is not a table such as { team = \"checkout\" }; a variable sets one label, such as DTROTATE_DEFAULTS__LABELS__TEAM".to_owned())
    }

    fn read(node: &Node, context: &Context) -> Option<Labels> {
        let Value::Table(table) = &node.value else {
            let text = Self::key_type().text(node, context)?;
            let why = Self::parse(text, context).err()?;
            context.problem(Problem::new(&node.place, format!("\"{text}\" {why}")));
            return None;
        };
        let mut labels = BTreeMap::new();
        let mut fields = HashSet::new();
        for (name, entry) in &table.entries {
            let problem = |message: String| {
                context.problem(Problem::new(&entry.key, message));
                None
            };
            if !is_name(name) {
                return problem(format!(
                    "\"{name}\" is not a name of a label; use a letter, then letters, digits, \"_\", \"-\" and \".\" (at most 63)"
                ));
            }
            if !fields.insert(field(name)) {
                return problem(format!(
                    "\"{name}\" and another label are both {} in metrics and the log; rename one of them",
                    field(name)
                ));
            }
            let text = KeyType::Text.text(&entry.node, context)?;
            let value = match text {
                "" => Err("is empty".to_owned()),
                text => validate::visible(text),
            };
            match value {
                Ok(value) => labels.insert(name.clone(), value),
                Err(why) => return problem(format!("the label \"{name}\" {why}")),
            };
        }
        Some(Labels::from(labels))
    }
}
