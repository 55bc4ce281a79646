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
    /// Begins with the main file, or with nothing if that could not be read.
    pub fn new(main: Option<Table>, context: &Context) -> Tree {
        let mut tree = Tree {
            top: Table {
                place: Place::Whole(0),
                entries: BTreeMap::new(),
            },
            secrets: Vec::new(),
            file_defaults: Vec::new(),
        };
        if let Some(main) = main {
            tree.add(main, None, context);
        }
        tree
    }

    /// Adds a drop-in file.
    pub fn drop_in(&mut self, mut file: Table, context: &Context) {
        let own = match file.entries.get("defaults").map(|entry| &entry.node.value) {
            Some(Value::Table(_)) => file.entries.remove("defaults"),
            _ => None,
        };
        let own = own.and_then(|entry| match entry.node.value {
            Value::Table(table) => Some(table),
            _ => None,
        });
        let number = own.map(|table| {
            self.file_defaults.push(table);
            self.file_defaults.len() - 1
        });
        self.add(file, number, context);
    }

    fn add(&mut self, mut file: Table, defaults: Option<usize>, context: &Context) {
        if let Some(entry) = file.entries.remove("secret") {
            for table in secret_tables(entry, context) {
                self.secrets.push((table, defaults));
            }
        }
        merge(&mut self.top, file, context);
    }

    /// Puts the overrides in. A variable that fits nowhere is kept in mind by `context` and told at the end.
    pub fn override_from(&mut self, environment: &BTreeMap<String, String>, context: &Context) {
        let names = self.environment_names();
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
            let steps = steps(path, &names);
            let done = steps.is_some_and(|steps| put(&mut self.top, &steps, text, &place));
            if !done {
                context.unknown_variable(&place);
            }
        }
        if let Some(first) = service_links.first() {
            context.warn(format!(
                "{} environment variables such as {first} are ignored: Kubernetes sets them for a Service whose name begins with \"dtrotate\"; \
                 set enableServiceLinks: false in the pod's spec",
                service_links.len()
            ));
        }
    }

    fn environment_names(&self) -> Vec<String> {
        match self
            .top
            .entries
            .get("dynatrace")
            .map(|entry| &entry.node.value)
        {
            Some(Value::Table(table)) => table.entries.keys().cloned().collect(),
            _ => Vec::new(),
        }
    }
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
        let problem = Problem::new(
            place,
            "a secret is a table of its own under [[secret]], with two brackets",
        );
        context.problem(problem);
    };
    let Value::List(items) = entry.node.value else {
        wrong(&entry.key);
        return Vec::new();
    };
    let table = |item: Node| match item.value {
        Value::Table(table) => Some(table),
        _ => {
            wrong(&item.place);
            None
        }
    };
    items.into_iter().filter_map(table).collect()
}

fn merge(into: &mut Table, from: Table, context: &Context) {
    for (key, entry) in from.entries {
        let Some(first) = into.entries.get_mut(&key) else {
            into.entries.insert(key, entry);
            continue;
        };
        match (&mut first.node.value, entry.node.value) {
            (Value::Table(into), Value::Table(from)) => merge(into, from, context),
            _ => {
                let problem = Problem::new(&entry.key, format!("\"{key}\" is given twice"));
                context.problem(problem.also(&first.key, "first given here"));
            }
        }
    }
}

/// `VAULT__AUTH__METHOD` as keys. Environments are found by their name in the files; without any there, the variable names one.
fn steps(path: &str, environments: &[String]) -> Option<Vec<String>> {
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
    Some(steps)
}

/// Puts a value in, making tables on the way; `false` where a table stands in the place of a value or the other way round.
fn put(table: &mut Table, steps: &[String], text: &str, place: &Place) -> bool {
    let [step, rest @ ..] = steps else {
        return false;
    };
    let value = match rest {
        [] => Value::Override(text.to_owned()),
        _ => Value::Table(Table {
            place: place.clone(),
            entries: BTreeMap::new(),
        }),
    };
    let new = || Entry {
        key: place.clone(),
        node: Node {
            place: place.clone(),
            value,
        },
    };
    if rest.is_empty() {
        let is_table = |entry: &Entry| matches!(entry.node.value, Value::Table(_));
        if table.entries.get(step).is_some_and(is_table) {
            return false;
        }
        table.entries.insert(step.clone(), new());
        return true;
    }
    match &mut table
        .entries
        .entry(step.clone())
        .or_insert_with(new)
        .node
        .value
    {
        Value::Table(inner) => put(inner, rest, text, place),
        _ => false,
    }
}
