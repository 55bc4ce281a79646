//! Dynatrace's error envelope, and the fields of a JSON body.

use serde_json::{Map, Value, json};

use crate::message::{Incoming, Reply};

const JSON: &str = "application/json; charset=utf-8";

pub(crate) fn ok(body: &Value) -> Reply {
    Reply::json(200, JSON, body)
}

pub(crate) fn created(body: &Value, id: &str) -> Reply {
    Reply {
        created: Some(id.to_owned()),
        ..Reply::json(201, JSON, body)
    }
}

/// 201 for something that is not a token.
pub(crate) fn accepted(body: &Value) -> Reply {
    Reply::json(201, JSON, body)
}

/// `{"error":{"code":..,"message":..}}`
pub(crate) fn error(status: u16, message: &str) -> Reply {
    Reply::json(
        status,
        JSON,
        &json!({ "error": { "code": status, "message": message } }),
    )
}

/// 404 without a body; its content type is set all the same.
pub(crate) fn not_found() -> Reply {
    Reply::empty(404).with_header("content-type", JSON)
}

/// What is wrong with one part of a request.
#[derive(Debug)]
pub(crate) struct Violation {
    path: String,
    message: String,
    place: &'static str,
}

impl Violation {
    pub(crate) fn body(path: &str, message: impl Into<String>) -> Violation {
        Violation {
            path: path.to_owned(),
            message: message.into(),
            place: "PAYLOAD_BODY",
        }
    }

    pub(crate) fn query(path: &str, message: impl Into<String>) -> Violation {
        Violation {
            path: path.to_owned(),
            message: message.into(),
            place: "QUERY",
        }
    }
}

/// A 400 that names every violation.
pub(crate) fn violated(violations: &[Violation]) -> Reply {
    let list: Vec<Value> = violations
        .iter()
        .map(|violation| {
            json!({
                "path": violation.path,
                "message": violation.message,
                "parameterLocation": violation.place,
            })
        })
        .collect();
    let message = "Constraints violated.";
    Reply::json(
        400,
        JSON,
        &json!({ "error": { "code": 400, "message": message, "constraintViolations": list } }),
    )
}

/// A JSON object being read; everything wrong with it is collected and reported at once by [`Fields::finish`].
pub(crate) struct Fields {
    map: Map<String, Value>,
    violations: Vec<Violation>,
}

impl Fields {
    /// Refuses a body of another media type (415) and one that is not a JSON object (400). `null` is the same as absent, and
    /// unknown fields are ignored: Dynatrace's own tools send both.
    pub(crate) fn read(incoming: &Incoming) -> Result<Fields, Reply> {
        if incoming.media_type().as_deref() != Some("application/json") {
            return Err(error(415, "Unsupported Media Type"));
        }
        let Ok(Value::Object(mut map)) = serde_json::from_slice(&incoming.body) else {
            return Err(error(400, "Could not map JSON"));
        };
        map.retain(|_, value| !value.is_null());
        Ok(Fields {
            map,
            violations: Vec::new(),
        })
    }

    pub(crate) fn violation(&mut self, violation: Violation) {
        self.violations.push(violation);
    }

    pub(crate) fn required<T>(&mut self, key: &str, value: Option<T>) -> Option<T> {
        if value.is_none() && !self.map.contains_key(key) {
            self.violation(Violation::body(key, "must not be null"));
        }
        value
    }

    pub(crate) fn value(&self, key: &str) -> Option<Value> {
        self.map.get(key).cloned()
    }

    pub(crate) fn string(&mut self, key: &str) -> Option<String> {
        match self.map.get(key)? {
            Value::String(text) => Some(text.clone()),
            _ => self.wrong(key, "must be a string"),
        }
    }

    /// A string that is not blank.
    pub(crate) fn name(&mut self) -> Option<String> {
        let name = self.string("name")?;
        if name.trim().is_empty() {
            return self.wrong("name", "must not be blank");
        }
        Some(name)
    }

    pub(crate) fn boolean(&mut self, key: &str) -> Option<bool> {
        match self.map.get(key)? {
            Value::Bool(flag) => Some(*flag),
            _ => self.wrong(key, "must be a boolean"),
        }
    }

    /// Takes the scopes out that are not creatable, without a word.
    pub(crate) fn drop_unknown_scopes(&mut self, creatable: &[&str]) {
        if let Some(Value::Array(list)) = self.map.get_mut("scopes") {
            list.retain(|scope| {
                scope
                    .as_str()
                    .is_some_and(|scope| creatable.contains(&scope))
            });
        }
    }

    /// At least one scope, each creatable; repeated ones are taken once.
    pub(crate) fn scopes(&mut self, creatable: &[&str]) -> Option<Vec<String>> {
        let Value::Array(list) = self.value("scopes")? else {
            return self.wrong("scopes", "must be an array of scopes");
        };
        if list.is_empty() {
            return self.wrong("scopes", "must not be empty");
        }
        let mut scopes: Vec<String> = Vec::new();
        for (index, value) in list.iter().enumerate() {
            match value.as_str() {
                Some(scope) if creatable.contains(&scope) => {
                    if !scopes.iter().any(|own| own == scope) {
                        scopes.push(scope.to_owned());
                    }
                }
                _ => {
                    let path = format!("scopes[{index}]");
                    self.violation(Violation::body(
                        &path,
                        format!("Token scope is not valid: {value}"),
                    ));
                }
            }
        }
        Some(scopes)
    }

    fn wrong<T>(&mut self, key: &str, message: &str) -> Option<T> {
        self.violation(Violation::body(key, message));
        None
    }

    pub(crate) fn finish(&self) -> Result<(), Reply> {
        if self.violations.is_empty() {
            Ok(())
        } else {
            Err(violated(&self.violations))
        }
    }
}
