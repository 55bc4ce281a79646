//! A file as it stands: TOML read into tables whose every key and value knows its place. Nothing is judged here but the syntax and
//! that no token value stands in the text, not even in a comment.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::problem::{Place, Problem, Report};
use super::redact;

/// A table. `place` is where it begins, for messages about what it lacks.
#[derive(Clone, Debug)]
pub struct Table {
    pub place: Place,
    pub entries: BTreeMap<String, Entry>,
}

/// A key with its value.
#[derive(Clone, Debug)]
pub struct Entry {
    pub key: Place,
    pub node: Node,
}

/// A value with its place.
#[derive(Clone, Debug)]
pub struct Node {
    pub place: Place,
    pub value: Value,
}

/// A value.
#[derive(Clone, Debug)]
pub enum Value {
    Text(String),
    /// `None`: too large for 64 bits.
    Integer(Option<i64>),
    Boolean(bool),
    List(Vec<Node>),
    Table(Table),
    /// What no key of ours takes; the text says what it is.
    Other(&'static str),
    /// From an environment variable: read as whatever its key takes.
    Override(String),
}

impl Value {
    /// What it is, for a message.
    pub fn what(&self) -> &'static str {
        match self {
            Value::Text(_) | Value::Override(_) => "a string",
            Value::Integer(_) => "a number",
            Value::Boolean(_) => "a boolean",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
            Value::Other(what) => what,
        }
    }
}

/// Reads a file's text. `None` after a syntax error, which was reported.
pub fn read(name: String, text: &str, report: &Report) -> Option<Table> {
    let file = report.source(name, text);
    for found in redact::tokens(text) {
        let problem = Problem::new(
            &Place::span(file, found.span),
            format!("{} is written into the file", found.what),
        );
        report.push(problem.help(
            "secrets come from a file, a systemd credential or the environment; whoever could read this file knows the value now, so revoke it",
        ));
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut told = BTreeSet::new();
    for error in &errors {
        let start = error.span().map_or(0, |span| span.start);
        // What follows on the same line is mostly a consequence.
        if !told.insert(text.get(..start).map(|before| before.matches('\n').count())) {
            continue;
        }
        let place = match error.span() {
            Some(span) => Place::span(file, span),
            None => Place::Whole(file),
        };
        report.push(Problem::new(&place, syntax_message(error.message())));
    }
    errors
        .is_empty()
        .then(|| convert_table(table.get_ref(), Place::Whole(file), file))
}

fn syntax_message(message: &str) -> String {
    match message {
        "duplicate key" => "this key is given twice in one table".to_owned(),
        other => format!("this is not TOML: {other}"),
    }
}

fn convert_table(table: &DeTable<'_>, place: Place, file: usize) -> Table {
    let entry = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
        let key_place = Place::span(file, key.span());
        let key: &std::borrow::Cow<'_, str> = key.get_ref();
        let node = convert(value.get_ref(), value.span(), &key_place, file);
        let entry = Entry {
            key: key_place,
            node,
        };
        (key.to_string(), entry)
    };
    Table {
        place,
        entries: table.iter().map(entry).collect(),
    }
}

fn convert(value: &DeValue<'_>, span: Range<usize>, key: &Place, file: usize) -> Node {
    let place = Place::span(file, span);
    let value = match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => {
            Value::Integer(i64::from_str_radix(number.as_str(), number.radix()).ok())
        }
        DeValue::Boolean(flag) => Value::Boolean(*flag),
        DeValue::Float(_) => Value::Other("a number with a fraction"),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Array(items) => Value::List(
            items
                .iter()
                .map(|item| {
                    convert(
                        item.get_ref(),
                        item.span(),
                        &Place::span(file, item.span()),
                        file,
                    )
                })
                .collect(),
        ),
        DeValue::Table(table) => Value::Table(convert_table(table, key.clone(), file)),
    };
    Node { place, value }
}
