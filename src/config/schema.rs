//! The JSON Schema of a configuration file, for editors.

use serde_json::{Map, Value, json};

use super::kinds::KeyType;
use super::table::TableDoc;
use super::tables::{GROUPS, tables};

/// A JSON Schema (draft 7, which TOML editors understand) for the main file and for drop-in files. It knows every key and its type;
/// problems of meaning (an invalid cron expression, two secrets at one place) are left to `dtrotate check`.
pub fn schema() -> Value {
    let tables = tables();
    let mut top = object("", &tables);
    let mut secret = top["properties"]["secret"].take();
    let defaults = top["properties"]["defaults"]["properties"].as_object();
    let defaults = defaults.cloned().unwrap_or_default();
    if let Some(keys) = secret["properties"].as_object_mut() {
        keys.extend(defaults);
    }
    top["properties"]["secret"] = repeated(secret);
    let route = &mut top["properties"]["notify"]["properties"]["route"];
    *route = repeated(route.take());
    top["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    top["title"] = json!("dtrotate");
    top
}

/// A table that may be there several times.
fn repeated(table: Value) -> Value {
    json!({ "type": "array", "description": table["description"], "items": table })
}

/// A table with its keys and the tables in it.
fn object(name: &str, tables: &[TableDoc]) -> Value {
    let mut properties = Map::new();
    let mut others = json!(false);
    let table = tables.iter().find(|table| table.name == name);
    for key in table.into_iter().flat_map(|table| &table.keys) {
        let mut value = key.key_type.schema();
        value["description"] = json!(key.doc());
        properties.insert(key.name.to_owned(), value);
    }
    for inner in tables {
        let Some(key) = child(name, inner.name) else {
            continue;
        };
        let path = match name {
            "" => key.to_owned(),
            name => format!("{name}.{key}"),
        };
        match key {
            "*" => others = object(&path, tables),
            key if !properties.contains_key(key) => {
                properties.insert(key.to_owned(), object(&path, tables));
            }
            _ => {}
        }
    }
    let group = GROUPS.iter().find(|(group, _)| *group == name);
    let doc = table.map(|table| table.doc);
    let doc = doc
        .or(group.map(|(_, doc)| *doc))
        .unwrap_or("The configuration of dtrotate");
    json!({
        "type": "object",
        "description": one_line(doc),
        "properties": properties,
        "additionalProperties": others,
    })
}

fn one_line(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `auth` for `vault` and `vault.auth`; the next name on the way for one that is deeper.
fn child<'a>(table: &str, inner: &'a str) -> Option<&'a str> {
    let rest = match table {
        "" => inner,
        table => inner.strip_prefix(table)?.strip_prefix('.')?,
    };
    rest.split('.').next()
}

impl KeyType {
    fn schema(&self) -> Value {
        match self {
            KeyType::Text => json!({ "type": "string" }),
            KeyType::Texts => json!({
                "anyOf": [
                    { "type": "string" },
                    { "type": "array", "items": { "type": "string" }, "minItems": 1 },
                ],
            }),
            KeyType::List => json!({
                "anyOf": [
                    { "type": "string" },
                    { "type": "array", "items": { "type": "string" } },
                ],
            }),
            KeyType::Labels => json!({
                "type": "object",
                "propertyNames": { "pattern": "^[A-Za-z][A-Za-z0-9_.-]{0,62}$" },
                "additionalProperties": {
                    "type": "string",
                    "minLength": 1,
                    "description": "Value of the label of this name",
                },
            }),
            KeyType::Words(words) => json!({ "enum": words }),
            KeyType::Length => json!({
                "type": "string",
                "pattern": "^([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$",
                "minLength": 2,
            }),
            KeyType::Flag => json!({ "type": "boolean" }),
            KeyType::Integer(min, max) => json!({
                "type": "integer",
                "minimum": min,
                "maximum": max,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every object and key of the schema without a description.
    fn undescribed(schema: &Value, path: &str, found: &mut Vec<String>) {
        if schema["description"].as_str().is_none_or(str::is_empty) {
            found.push(path.to_owned());
        }
        let object = if schema["type"] == "array" {
            &schema["items"]
        } else {
            schema
        };
        for (key, value) in object["properties"].as_object().into_iter().flatten() {
            undescribed(value, &format!("{path}.{key}"), found);
        }
        if object["additionalProperties"].is_object() {
            undescribed(&object["additionalProperties"], &format!("{path}.*"), found);
        }
    }

    #[test]
    fn every_key_and_table_has_a_description() {
        let mut found = vec![];
        undescribed(&schema(), "", &mut found);
        assert_eq!(found, [""; 0]);
        let schema = schema();
        let auth = &schema["properties"]["dynatrace"]["additionalProperties"]["properties"]["auth"];
        assert!(auth["properties"]["path"]["description"].is_string());
        assert!(schema["properties"]["secret"]["items"]["properties"]["grace"].is_object());
    }
}
