//! A file as it is written: TOML read into tables whose every key and value knows its place. Checks only the syntax, and that no token value
//! is in the text, not even in a comment.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::context::Context;
use super::problem::{Place, Problem};
use crate::redact;
use crate::sanitize::TYPOGRAPHIC_QUOTES;

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

impl Node {
    /// This node; a table also gets the keys of `inherited` that it lacks.
    pub fn with_inherited(mut self, inherited: &Node) -> Node {
        if let (Value::Table(own), Value::Table(more)) = (&mut self.value, &inherited.value) {
            for (key, entry) in &more.entries {
                let own = own.entries.entry(key.clone());
                own.or_insert_with(|| entry.clone());
            }
        }
        self
    }
}

/// A value.
#[derive(Clone, Debug)]
pub enum Value {
    Text(String),
    /// In decimal digits.
    Integer(String),
    Boolean(String),
    List(Vec<Node>),
    Table(Table),
    /// A type that no key accepts, such as a date; the text names it.
    Other(&'static str),
    /// From an environment variable: read as whatever its key takes.
    Variable(String),
}

impl Value {
    /// What it is, for a message.
    pub fn what(&self) -> &'static str {
        match self {
            Value::Text(_) | Value::Variable(_) => "a string",
            Value::Integer(_) => "a number",
            Value::Boolean(_) => "a boolean",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
            Value::Other(what) => what,
        }
    }
}

/// Reads a file's text. `None` after a syntax error, which was reported, unless the rest is wanted.
pub fn read(name: String, text: &str, context: &Context) -> Option<Table> {
    let file = context.source(name, text);
    for (span, what) in redact::tokens(text) {
        let message = format!("{what} is written into the file");
        context.problem(Problem::new(&Place::span(file, span), message).help(
            "secrets come from a file, a systemd credential or the environment; whoever could read this file knows the value now, so revoke it",
        ));
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut lines = BTreeSet::new();
    let mut quotes = Vec::new();
    // Where the table ends that is there twice: its keys are there twice because of that.
    let mut twice_until = 0;
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        if error.message() == "duplicate key" {
            if span.start < twice_until {
                continue;
            }
            twice_until = end_of_table(text, &span);
        }
        // What follows on the same line is mostly a consequence.
        let before = text.get(..span.start).unwrap_or_default();
        if lines.insert(before.matches('\n').count()) {
            let quote = typographic_quote(text, before.len());
            if let Some(quote) = quote.filter(|_| error.message() != "duplicate key") {
                quotes.push(quote);
                continue;
            }
            let message = match error.message() {
                "duplicate key" if text.get(span.clone()) == Some("secret") => {
                    "there are two tables [secret]: write [[secret]], with two brackets, for each"
                        .to_owned()
                }
                "duplicate key" => "this key is given twice in one table".to_owned(),
                other => format!("this is not TOML: {other}"),
            };
            context.problem(Problem::new(&Place::span(file, span), message));
        }
    }
    refuse_quotes(text, quotes, file, context);
    let table = || convert_table(table.get_ref(), Place::Whole(file), file);
    (errors.is_empty() || context.keeps_the_rest).then(table)
}

/// Reports the typographic quotes of all lines at once: they come with the program that the file was copied from.
fn refuse_quotes(text: &str, quotes: Vec<Range<usize>>, file: usize, context: &Context) {
    let lines = quotes
        .iter()
        .filter_map(|at| text[at.start..].lines().next());
    let characters = lines.flat_map(str::chars);
    let found: BTreeSet<char> = characters
        .filter(|c| TYPOGRAPHIC_QUOTES.contains(c))
        .collect();
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    let further = match quotes.len() {
        0 | 1 => String::new(),
        lines => format!(", also on {} further lines", lines - 1),
    };
    if let Some(first) = quotes.into_iter().next() {
        let message = format!(
            "this is not TOML: {} is a typographic quote; write \" in place of each{further}",
            found.join(" or ")
        );
        context.problem(Problem::new(&Place::span(file, first), message));
    }
}

/// The first typographic quote that begins or ends a string in the line of this place.
fn typographic_quote(text: &str, place: usize) -> Option<Range<usize>> {
    let start = text.get(..place)?.rfind('\n').map_or(0, |end| end + 1);
    let line = text[start..].lines().next()?;
    let code = line.split('#').next()?;
    let begins = |before: &str| {
        let before = before.trim_end();
        before.is_empty() || before.ends_with(['=', '[', ',', '{'])
    };
    let ends = |after: &str| {
        let after = after.trim_start();
        after.is_empty() || after.starts_with([']', ',', '}', '='])
    };
    let quotes = code.match_indices(TYPOGRAPHIC_QUOTES);
    let mut quotes = quotes.map(|(at, quote)| at..at + quote.len());
    let quote = quotes.find(|at| begins(&code[..at.start]) || ends(&code[at.end..]))?;
    Some(start + quote.start..start + quote.end)
}

/// The end of the table whose header this is; 0 where it is not a header.
fn end_of_table(text: &str, key: &Range<usize>) -> usize {
    let before = text.get(..key.start).unwrap_or_default();
    let line = before.rsplit('\n').next().unwrap_or_default();
    if !line.trim_start().starts_with('[') {
        return 0;
    }
    let rest = text.get(key.end..).unwrap_or_default();
    let next = rest.find("\n[").unwrap_or(rest.len());
    key.end + next
}

fn convert_table(table: &DeTable<'_>, place: Place, file: usize) -> Table {
    let entry = |(key, value): (&toml::Spanned<std::borrow::Cow<'_, str>>, _)| {
        let place = Place::span(file, key.span());
        let node = convert(value, &place, file);
        (key.get_ref().to_string(), Entry { key: place, node })
    };
    Table {
        place,
        entries: table.iter().map(entry).collect(),
    }
}

/// `begin` is where a table begins: its key.
fn convert(value: &toml::Spanned<DeValue<'_>>, begin: &Place, file: usize) -> Node {
    let place = Place::span(file, value.span());
    let item = |item: &toml::Spanned<DeValue<'_>>| {
        let Range { start, end } = item.span();
        convert(item, &Place::Span(file, start, end), file)
    };
    let value = match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => {
            let parsed = i64::from_str_radix(number.as_str(), number.radix());
            Value::Integer(parsed.map_or_else(|_| number.to_string(), |number| number.to_string()))
        }
        DeValue::Boolean(flag) => Value::Boolean(flag.to_string()),
        DeValue::Float(_) => Value::Other("a number with a fraction"),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Array(items) => Value::List(items.iter().map(item).collect()),
        DeValue::Table(table) => Value::Table(convert_table(table, begin.clone(), file)),
    };
    Node { place, value }
}
