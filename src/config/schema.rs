//! The JSON Schema of a configuration file, for editors. It is learned from the code that reads one: an empty configuration is read,
//! and every key that is asked for on the way is a key there is. What the keys mean is taken from `config/dtrotate.toml`.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::merge::Tree;
use super::reading::Reading;
use super::{Options, file, judge};

/// As what a key is read.
pub(super) enum Shape {
    Text,
    /// One text or several.
    Texts,
    /// One of these.
    Words(Vec<String>),
    /// A length of time.
    Length,
    Flag,
    Integer(RangeInclusive<i64>),
}

/// What is read of each section, by its dotted name; `*` stands for a name that people choose.
pub(super) type Shapes = BTreeMap<String, BTreeMap<&'static str, Shape>>;

/// A table of every kind; it is not valid, and what is wrong with it is of no interest.
const SPECIMEN: &str = "[dynatrace.\"*\"]\n[[secret]]\n";

const REFERENCE: &str = include_str!("../../config/dtrotate.toml");

/// A JSON Schema (draft 7, which TOML editors understand) for the main file and for drop-in files. It knows every key and its type; what
/// only the meaning shows (a bad cron expression, two secrets at one place) is left to `dtrotate check`.
pub fn schema() -> Value {
    let reading = Reading::learning();
    let table = file::read("specimen".to_owned(), SPECIMEN, &reading.report);
    let tree = Tree::new(table, &reading);
    let options = Options {
        offline: true,
        ..Options::default()
    };
    judge(&tree, Path::new(""), &options, &reading);
    let shapes = reading.learned();
    let meanings = meanings();
    let mut top = object("", &shapes, &meanings);
    let secret = std::mem::take(&mut top["properties"]["secret"]);
    top["properties"]["secret"] = json!({ "type": "array", "items": secret });
    top["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    top["title"] = json!("dtrotate");
    top
}

/// A table with its keys and the tables in it.
fn object(section: &str, shapes: &Shapes, meanings: &Meanings) -> Value {
    let mut properties = Map::new();
    let mut others = json!(false);
    for (key, shape) in shapes.get(section).into_iter().flatten() {
        let mut value = shape.schema();
        if let Some(meaning) = meanings.get(&(section.to_owned(), (*key).to_owned())) {
            value["description"] = json!(meaning);
        }
        properties.insert((*key).to_owned(), value);
    }
    for inner in shapes.keys() {
        let Some(name) = child(section, inner) else {
            continue;
        };
        let path = match section {
            "" => name.to_owned(),
            section => format!("{section}.{name}"),
        };
        let table = object(&path, shapes, meanings);
        match name {
            "*" => others = table,
            name => {
                properties.insert(name.to_owned(), table);
            }
        }
    }
    json!({ "type": "object", "properties": properties, "additionalProperties": others })
}

/// `auth` for `vault` and `vault.auth`; the next name on the way for one that is deeper.
fn child<'a>(section: &str, inner: &'a str) -> Option<&'a str> {
    let rest = match section {
        "" => inner,
        section => inner.strip_prefix(section)?.strip_prefix('.')?,
    };
    let name = rest.split('.').next()?;
    (!name.is_empty()).then_some(name)
}

impl Shape {
    fn schema(&self) -> Value {
        match self {
            Shape::Text => json!({ "type": "string" }),
            Shape::Texts => json!({
                "anyOf": [
                    { "type": "string" },
                    { "type": "array", "items": { "type": "string" }, "minItems": 1 },
                ],
            }),
            Shape::Words(words) => json!({ "enum": words }),
            Shape::Length => json!({
                "type": "string",
                "pattern": "^([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$",
                "minLength": 2,
            }),
            Shape::Flag => json!({ "type": "boolean" }),
            Shape::Integer(bounds) => json!({
                "type": "integer",
                "minimum": bounds.start(),
                "maximum": bounds.end(),
            }),
        }
    }
}

/// What the reference says of a key in a section.
type Meanings = BTreeMap<(String, String), String>;

/// Reads the remarks of the reference: a key, commented out or not, with a remark after its value, which the next lines may go on with.
fn meanings() -> Meanings {
    let mut meanings = Meanings::new();
    let mut section = String::new();
    let mut last = None;
    for line in REFERENCE.lines() {
        if let Some(header) = line.strip_prefix('[') {
            let name = header.trim_start_matches('[').split(']').next();
            section = name
                .unwrap_or_default()
                .replace("dynatrace.prod", "dynatrace.*");
            last = None;
        } else if let Some((key, remark)) = described(line) {
            let at = (section.clone(), key.to_owned());
            meanings
                .entry(at.clone())
                .or_insert_with(|| remark.to_owned());
            last = Some(at);
        } else if let (true, Some(at)) = (line.starts_with("   "), &last)
            && let Some(meaning) = meanings.get_mut(at)
        {
            let more = line.trim_start_matches([' ', '#']);
            *meaning = format!("{meaning} {more}").trim().to_owned();
        } else {
            last = None;
        }
    }
    meanings
}

/// The key and the remark of `key = value  # remark` or `# key = value  # remark`.
fn described(line: &str) -> Option<(&str, &str)> {
    let line = line.strip_prefix("# ").unwrap_or(line);
    let (key, rest) = line.split_once(" = ")?;
    let plain = key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let remark = rest.split_once(" # ").map_or("", |(_, remark)| remark);
    (plain && !key.is_empty()).then_some((key, remark.trim()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The keys of an object of the schema with the dotted names of their tables.
    fn keys(schema: &Value, section: &str, found: &mut BTreeSet<(String, String)>) {
        let object = if schema["type"] == "array" {
            &schema["items"]
        } else {
            schema
        };
        let inner = |name: &str| match section {
            "" => name.to_owned(),
            section => format!("{section}.{name}"),
        };
        for (key, value) in object["properties"].as_object().into_iter().flatten() {
            if value["type"] == "object" || value["type"] == "array" {
                keys(value, &inner(key), found);
            } else {
                found.insert((section.to_owned(), key.clone()));
            }
        }
        if object["additionalProperties"].is_object() {
            keys(&object["additionalProperties"], &inner("*"), found);
        }
    }

    #[test]
    fn the_reference_names_every_key_that_the_code_knows_and_no_other() {
        let mut known = BTreeSet::new();
        keys(&schema(), "", &mut known);
        // A key of [defaults] may stand in a [[secret]], too, and is explained once.
        let defaults: BTreeSet<String> = known
            .iter()
            .filter(|(section, _)| section == "defaults")
            .map(|(_, key)| key.clone())
            .collect();
        known.retain(|(section, key)| section != "secret" || !defaults.contains(key));
        let mut named: BTreeSet<_> = meanings().into_keys().collect();
        named.retain(|(section, key)| section != "secret" || !defaults.contains(key));
        assert!(known.len() > 40, "{known:?}");
        assert_eq!(named, known);
    }
}
