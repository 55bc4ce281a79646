//! Several files and the environment's overrides become one tree. A key that is given twice is refused with both places; an override
//! replaces what the files say.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::context::Context;
use super::file::{Entry, Node, Table, Value};
use super::problem::{Place, Problem};

/// Variables that begin like an override and are none.
const NO_OVERRIDES: [&str; 2] = ["DTROTATE_CONFIG", "DTROTATE_INSTANCE"];

/// Everything that the files say.
pub(super) struct Tree {
    /// All tables but the secrets and the drop-in files' `[defaults]`, merged.
    pub top: Table,
    /// The secrets, each with the number of its file's own defaults.
    pub secrets: Vec<(Table, Option<usize>)>,
    /// `[defaults]` of drop-in files.
    pub file_defaults: Vec<Table>,
}

impl Tree {
    pub fn new() -> Tree {
        Tree {
            top: Table {
                place: Place::Whole(0),
                entries: BTreeMap::new(),
            },
            secrets: Vec::new(),
            file_defaults: Vec::new(),
        }
    }

    /// A table at the top.
    pub fn table(&self, key: &str) -> Option<&Table> {
        match &self.top.entries.get(key)?.node.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    /// Adds a file; the `[defaults]` of a drop-in file apply to its own secrets.
    pub fn add(&mut self, mut file: Table, is_drop_in: bool, context: &Context) {
        let is_table = |entry: &Entry| matches!(entry.node.value, Value::Table(_));
        let mut defaults = None;
        if is_drop_in
            && file.entries.get("defaults").is_some_and(is_table)
            && let Some(entry) = file.entries.remove("defaults")
            && let Value::Table(table) = entry.node.value
        {
            defaults = Some(self.file_defaults.len());
            self.file_defaults.push(table);
        }
        if let Some(entry) = file.entries.remove("secret") {
            let tables = secret_tables(entry, context).into_iter();
            self.secrets.extend(tables.map(|table| (table, defaults)));
        }
        merge(&mut self.top, file, &mut |key, first, entry| {
            let problem = Problem::new(&entry.key, format!("\"{key}\" is given twice"));
            context.problem(problem.also(&first.key, "first given here"));
        });
    }

    /// Applies the overrides. A variable that fits nowhere is reported at the end by `context`.
    pub fn override_from(&mut self, environment: &BTreeMap<String, String>, context: &Context) {
        let names: Vec<String> = self
            .table("dynatrace")
            .map(|table| table.entries.keys().cloned().collect())
            .unwrap_or_default();
        let mut service_links = Vec::new();
        for (variable, text) in environment {
            let Some(path) = variable.strip_prefix("DTROTATE_") else {
                continue;
            };
            if NO_OVERRIDES.contains(&variable.as_str()) {
                continue;
            }
            if is_service_link(path, text) {
                service_links.push(variable.as_str());
                continue;
            }
            let place = Place::Variable(Rc::from(variable.as_str()));
            if path == "SECRET" || path.starts_with("SECRET_") {
                let problem = Problem::new(&place, "a [[secret]] cannot be overridden");
                context.problem(problem);
                continue;
            }
            let mut fits = false;
            if let Some(Value::Table(table)) = nested(path, &names, text, &place) {
                fits = true;
                merge(
                    &mut self.top,
                    table,
                    &mut |_, first, entry| match is_value(first) && is_value(&entry) {
                        true => *first = entry,
                        false => fits = false,
                    },
                );
            }
            if !fits {
                context.unknown_variable(&place);
            }
        }
        if let [first, ..] = service_links[..] {
            context.warn(format!(
                "{} environment variables such as {first} are ignored: Kubernetes sets them for a Service whose name begins with \"dtrotate\"; \
                 set enableServiceLinks: false in the pod's spec",
                service_links.len()
            ));
        }
    }
}

fn is_value(entry: &Entry) -> bool {
    !matches!(entry.node.value, Value::Table(_))
}

/// Whether Kubernetes sets this variable for a Service whose name begins with `dtrotate`: `DTROTATE_SERVICE_HOST`,
/// `DTROTATE_PORT=tcp://...`, `DTROTATE_PORT_9780_TCP_ADDR`.
fn is_service_link(path: &str, text: &str) -> bool {
    if path.contains("__") {
        return false;
    }
    let words: Vec<&str> = path.split('_').collect();
    let protocol = |word: &str| matches!(word, "TCP" | "UDP" | "SCTP");
    let number = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
    match words[..] {
        [.., "SERVICE", "HOST"] => true,
        [.., "PORT", port, kind] | [.., "PORT", port, kind, "PROTO" | "PORT" | "ADDR"]
            if number(port) && protocol(kind) =>
        {
            true
        }
        [.., "PORT"] if text.contains("://") || number(text) => true,
        _ => path.contains("SERVICE_PORT_") && number(text),
    }
}

/// The tables of `[[secret]]`; anything else of that name is reported.
fn secret_tables(entry: Entry, context: &Context) -> Vec<Table> {
    let wrong = |place: &Place| {
        let message = "each secret is a separate table under [[secret]], with two brackets";
        context.problem(Problem::new(place, message));
        None
    };
    let Value::List(items) = entry.node.value else {
        return Vec::from_iter(wrong(&entry.key));
    };
    let table = |item: Node| match item.value {
        Value::Table(table) => Some(table),
        _ => wrong(&item.place),
    };
    items.into_iter().filter_map(table).collect()
}

/// Tables with two brackets, of which each file adds its own.
fn are_tables(items: &[Node]) -> bool {
    let mut items = items.iter();
    items.all(|item| matches!(item.value, Value::Table(_)))
}

/// Puts the entries of one table into another; `clash` decides about a key that is in both.
fn merge(into: &mut Table, from: Table, clash: &mut impl FnMut(&str, &mut Entry, Entry)) {
    for (key, entry) in from.entries {
        let Some(first) = into.entries.get_mut(&key) else {
            into.entries.insert(key, entry);
            continue;
        };
        match (&mut first.node.value, entry.node.value) {
            (Value::Table(into), Value::Table(from)) => merge(into, from, clash),
            (Value::List(into), Value::List(from)) if are_tables(into) && are_tables(&from) => {
                into.extend(from);
            }
            (_, value) => {
                let place = entry.node.place;
                let (key_place, node) = (entry.key, Node { place, value });
                clash(
                    &key,
                    first,
                    Entry {
                        key: key_place,
                        node,
                    },
                );
            }
        }
    }
}

/// `VAULT__AUTH__METHOD` as tables around a value. Environments are found by their name in the files; without any there, the variable
/// names one.
fn nested(path: &str, environments: &[String], text: &str, place: &Place) -> Option<Value> {
    if path != path.to_uppercase() {
        return None;
    }
    let mut steps: Vec<String> = path.split("__").map(str::to_lowercase).collect();
    if steps.len() < 2 || steps.iter().any(String::is_empty) {
        return None;
    }
    if steps[0] == "dynatrace" && !environments.is_empty() {
        let same = |name: &&String| name.replace('-', "_").to_lowercase() == steps[1];
        let mut fitting = environments.iter().filter(same);
        let name = fitting.next()?.clone();
        if fitting.next().is_some() {
            return None;
        }
        steps[1] = name;
    }
    let innermost = Value::Variable(text.to_owned());
    Some(steps.into_iter().rev().fold(innermost, |value, key| {
        let (key_place, place) = (place.clone(), place.clone());
        let node = Node {
            place: place.clone(),
            value,
        };
        let entries = BTreeMap::from([(
            key,
            Entry {
                key: key_place,
                node,
            },
        )]);
        Value::Table(Table { place, entries })
    }))
}
