//! What a KV v2 request may hold, and the texts by which anything else is refused.

use serde_json::{Map, Value};

use crate::message::Reply;

pub(super) const INVALID_PATH: &str = "Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints to use. If using the OpenBao CLI, use 'bao kv get' for this operation.";
pub(super) const BAD_VERSION: &str = "Field validation failed: error converting input for field \"version\": '' cannot parse value as 'int': strconv.ParseInt: invalid syntax";

pub(super) fn not_a_map(field: &str, value: &Value) -> Reply {
    let kind = match value {
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Bool(_) => "bool",
        _ => "json.Number",
    };
    let text = format!(
        "error converting input for field \"{field}\": '' expected type 'map[string]interface {{}}', got unconvertible type '{kind}'"
    );
    Reply::vault_error(400, &[&text])
}

/// Data as it comes back: a whole number beyond 2^53 is rounded, since the server keeps numbers as floating point.
pub(super) fn as_stored(mut data: Value) -> Value {
    match &mut data {
        Value::Object(map) => map
            .values_mut()
            .for_each(|value| *value = as_stored(value.take())),
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| *item = as_stored(item.take())),
        Value::Number(number) => {
            // The shortest digits that give the same floating point number, as the server writes them.
            let digits = number.as_f64().map(|rounded| rounded.to_string());
            let whole = digits.and_then(|digits| digits.parse::<u64>().ok());
            if let (Some(whole), true) = (whole, number.is_u64()) {
                data = whole.into();
            }
        }
        _ => {}
    }
    data
}

/// A whole number, as a number or as text; null counts as 0.
pub(super) fn cas_of(value: &Value) -> Result<i64, Reply> {
    let parsed = match value {
        Value::Null => Some(0),
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    parsed.ok_or_else(|| Reply::vault_error(400, &["error parsing check-and-set parameter"]))
}

pub(super) fn versions_of(body: &Map<String, Value>) -> Result<Vec<u64>, Reply> {
    let number = |value: &Value| match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    let numbers: Option<Vec<u64>> = match body.get("versions") {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::Array(list)) => list.iter().map(number).collect(),
        Some(single) => number(single).map(|number| vec![number]),
    };
    let bad = "Field validation failed: error converting input for field \"versions\": decoding failed due to the following error(s):\n\n'[0]' cannot parse value as 'int': strconv.ParseInt: invalid syntax";
    match numbers {
        None => Err(Reply::vault_error(400, &[bad])),
        Some(numbers) if numbers.is_empty() => {
            Err(Reply::vault_error(400, &["No version number provided"]))
        }
        Some(numbers) => Ok(numbers),
    }
}

/// `max_versions` and `cas_required`; a lifetime of versions is refused, because it is not built.
pub(super) fn limits_of(body: &Map<String, Value>) -> Result<(Option<u64>, Option<bool>), Reply> {
    let bad = |field: &str| {
        let text = format!(
            "error converting input for field \"{field}\": '' cannot parse value as 'int': strconv.ParseInt: invalid syntax"
        );
        Reply::vault_error(400, &[&text])
    };
    let max_versions = match body.get("max_versions") {
        None | Some(Value::Null) => None,
        Some(Value::Number(number)) => Some(number.as_u64().ok_or_else(|| bad("max_versions"))?),
        Some(value) => {
            let text = value.as_str().unwrap_or("");
            Some(text.parse().map_err(|_| bad("max_versions"))?)
        }
    };
    let cas_required = match body.get("cas_required") {
        None | Some(Value::Null) => None,
        Some(Value::Bool(flag)) => Some(*flag),
        Some(_) => return Err(bad("cas_required")),
    };
    let lifetime = body
        .get("delete_version_after")
        .filter(|value| !matches!(value.as_str(), Some("0s" | "0")));
    if lifetime.is_some_and(|value| !value.is_null() && value.as_i64() != Some(0)) {
        return Err(Reply::vault_error(
            400,
            &["delete_version_after is not built into this stand-in"],
        ));
    }
    Ok((max_versions, cas_required))
}
