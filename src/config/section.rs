//! Typed access to one table. A section remembers which keys were asked for, so that every other key is unknown; every mismatch is
//! reported at its place and reads as "not given", so that reading goes on and all problems come in one go.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::duration;
use super::file::{Node, Table, Value};
use super::problem::{Place, Placed, Problem};
use super::reading::{Reading, did_you_mean};
use super::schema::Shape;

/// One table being read.
pub(super) struct Section<'a> {
    /// Its dotted name, `vault.auth`; empty for the top of a file.
    name: String,
    table: Option<&'a Table>,
    /// Where the whole thing stands, for what is missing.
    place: Place,
    asked: RefCell<Vec<&'static str>>,
    /// Keys that are refused with words of their own, and offered to nobody.
    refused: RefCell<Vec<&'static str>>,
    /// Whether variables can override its keys.
    overridable: bool,
    reading: &'a Reading,
}

impl<'a> Section<'a> {
    pub fn new(name: &str, table: &'a Table, overridable: bool, reading: &'a Reading) -> Self {
        Section {
            name: name.to_owned(),
            table: Some(table),
            place: table.place.clone(),
            asked: RefCell::default(),
            refused: RefCell::default(),
            overridable,
            reading,
        }
    }

    /// Where it begins, for messages about what it lacks.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Whether a key stands in it, valid or not.
    pub fn has(&self, key: &str) -> bool {
        self.table
            .is_some_and(|table| table.entries.contains_key(key))
    }

    /// Whether nothing stands in it.
    pub fn is_empty(&self) -> bool {
        self.table.is_none_or(|table| table.entries.is_empty())
    }

    /// The names of all keys that stand in it.
    pub fn keys(&self) -> impl Iterator<Item = (&'a str, &'a Place)> {
        let entries = self.table.into_iter().flat_map(|table| &table.entries);
        entries.map(|(key, entry)| (key.as_str(), &entry.key))
    }

    fn node(&self, key: &'static str, shape: impl FnOnce() -> Shape) -> Option<&'a Node> {
        self.asked.borrow_mut().push(key);
        self.reading.learn(&self.name, key, shape);
        if self.overridable && !self.name.is_empty() {
            let name = variable(&self.name, key);
            self.reading.known_variable(name);
        }
        self.table?.entries.get(key).map(|entry| &entry.node)
    }

    fn wrong_type(&self, node: &Node, wanted: &str) {
        let message = format!("this must be {wanted}, not {}", node.value.what());
        self.reading.problem(Problem::new(&node.place, message));
    }

    /// A string.
    pub fn text(&self, key: &'static str) -> Option<Placed<String>> {
        self.text_like(key, || Shape::Text)
    }

    fn text_like(
        &self,
        key: &'static str,
        shape: impl FnOnce() -> Shape,
    ) -> Option<Placed<String>> {
        let node = self.node(key, shape)?;
        self.text_of(node, "a string")
    }

    fn text_of(&self, node: &Node, wanted: &str) -> Option<Placed<String>> {
        let (Value::Text(text) | Value::Override(text)) = &node.value else {
            self.wrong_type(node, wanted);
            return None;
        };
        Some(Placed {
            value: text.clone(),
            place: node.place.clone(),
        })
    }

    /// A string, or a list of strings that is not empty.
    pub fn texts(&self, key: &'static str) -> Option<Placed<Vec<Placed<String>>>> {
        const WANTED: &str = "a string or a list of strings";
        let node = self.node(key, || Shape::Texts)?;
        let items = match &node.value {
            Value::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        if items.is_empty() {
            let problem = Problem::new(&node.place, "this list is empty");
            self.reading.problem(problem);
        }
        let texts: Vec<_> = items
            .iter()
            .filter_map(|item| self.text_of(item, WANTED))
            .collect();
        (!texts.is_empty()).then(|| Placed {
            value: texts,
            place: node.place.clone(),
        })
    }

    /// A string that `parse` understands; its error is half a sentence that follows the value.
    pub fn parsed<T>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<Placed<T>> {
        let text = self.text(key)?;
        match parse(&text.value) {
            Ok(value) => Some(text.map(|_| value)),
            Err(why) => {
                let message = format!("\"{}\" {why}", text.value);
                self.reading.problem(Problem::new(&text.place, message));
                None
            }
        }
    }

    /// One of a few words.
    pub fn choice<T: Copy>(&self, key: &'static str, words: &[(&str, T)]) -> Option<Placed<T>> {
        let all = || words.iter().map(|(word, _)| (*word).to_owned()).collect();
        let text = self.text_like(key, || Shape::Words(all()))?;
        let hit = words.iter().find(|(word, _)| *word == text.value);
        if let Some((_, value)) = hit {
            return Some(text.map(|_| *value));
        }
        let names: Vec<String> = words
            .iter()
            .map(|(word, _)| format!("\"{word}\""))
            .collect();
        let message = format!(
            "\"{}\" is unknown here; this is {}",
            text.value,
            names.join(" or ")
        );
        let problem = Problem::new(&text.place, message);
        let meant = did_you_mean(&text.value, words.iter().map(|(word, _)| *word));
        self.reading.problem(match meant {
            Some(meant) => problem.help(meant),
            None => problem,
        });
        None
    }

    /// A length of time. A bare number is refused.
    pub fn length(&self, key: &'static str, zero_allowed: bool) -> Option<Placed<Duration>> {
        let node = self.node(key, || Shape::Length)?;
        if let Value::Integer(number) = node.value {
            let number = number.map(|n| n.to_string()).unwrap_or_default();
            let message = format!(
                "a bare number has no unit; write \"{number}s\", \"{number}m\", \"{number}h\" or \"{number}d\""
            );
            self.reading.problem(Problem::new(&node.place, message));
            return None;
        }
        let text = self.text_of(node, "a length of time such as \"15m\"")?;
        let problem = match duration::parse(&text.value) {
            Ok(length) if length.is_zero() && !zero_allowed => {
                "must be longer than zero".to_owned()
            }
            Ok(length) => return Some(text.map(|_| length)),
            Err(why) => why,
        };
        let message = format!("\"{}\" {problem}", text.value);
        self.reading.problem(Problem::new(&text.place, message));
        None
    }

    /// A length that may not be zero, or its default.
    pub fn length_or(&self, key: &'static str, default: Duration) -> Duration {
        self.length(key, false)
            .map_or(default, |length| length.value)
    }

    /// `true` or `false`.
    pub fn boolean(&self, key: &'static str) -> Option<Placed<bool>> {
        let node = self.node(key, || Shape::Flag)?;
        let value = match &node.value {
            Value::Boolean(flag) => *flag,
            Value::Override(text) if text == "true" => true,
            Value::Override(text) if text == "false" => false,
            _ => {
                self.wrong_type(node, "true or false");
                return None;
            }
        };
        Some(Placed {
            value,
            place: node.place.clone(),
        })
    }

    /// A whole number within bounds.
    pub fn integer(&self, key: &'static str, bounds: RangeInclusive<i64>) -> Option<Placed<i64>> {
        let node = self.node(key, || Shape::Integer(bounds.clone()))?;
        let number = match &node.value {
            Value::Integer(number) => *number,
            Value::Override(text) => text.parse().ok(),
            _ => {
                self.wrong_type(node, "a whole number");
                return None;
            }
        };
        match number.filter(|number| bounds.contains(number)) {
            Some(value) => Some(Placed {
                value,
                place: node.place.clone(),
            }),
            None => {
                let message = format!(
                    "this must be between {} and {}",
                    bounds.start(),
                    bounds.end()
                );
                self.reading.problem(Problem::new(&node.place, message));
                None
            }
        }
    }

    /// A table in it; empty where there is none.
    pub fn table(&self, key: &'static str) -> Section<'a> {
        self.asked.borrow_mut().push(key);
        self.subsection(key)
    }

    /// A table in it whose name people chose.
    pub fn named_table(&self, key: &str) -> Section<'a> {
        self.subsection(key)
    }

    fn subsection(&self, key: &str) -> Section<'a> {
        let node = self
            .table
            .and_then(|table| table.entries.get(key))
            .map(|entry| &entry.node);
        let table = match node.map(|node| &node.value) {
            Some(Value::Table(table)) => Some(table),
            Some(_) => {
                node.into_iter()
                    .for_each(|node| self.wrong_type(node, "a table"));
                None
            }
            None => None,
        };
        Section {
            name: match self.name.as_str() {
                "" => key.to_owned(),
                name => format!("{name}.{key}"),
            },
            table,
            place: table.map_or(&self.place, |table| &table.place).clone(),
            asked: RefCell::default(),
            refused: RefCell::default(),
            overridable: self.overridable,
            reading: self.reading,
        }
    }

    /// A key that is understood elsewhere and only named here, so that it is not unknown.
    pub fn elsewhere(&self, key: &'static str) {
        self.asked.borrow_mut().push(key);
    }

    /// A key that is refused elsewhere with words of its own.
    pub fn refused_elsewhere(&self, key: &'static str) {
        self.refused.borrow_mut().push(key);
    }

    /// Keys of a later version: refused where they are given.
    pub fn not_yet(&self, keys: &[&'static str]) {
        for key in keys {
            self.refused_elsewhere(key);
            if let Some(entry) = self.table.and_then(|table| table.entries.get(*key)) {
                let message = format!("\"{key}\" is reserved for a later version: not yet");
                self.reading.problem(Problem::new(&entry.key, message));
            }
        }
    }

    /// Something that this section lacks. Not told when a file could not be read: it may stand there.
    pub fn missing(&self, what: &str) {
        if self.reading.is_incomplete() {
            return;
        }
        self.reading.problem(Problem::new(&self.place, what));
    }

    /// Refuses what was not asked for.
    pub fn finish(self) {
        let (asked, refused) = (self.asked.into_inner(), self.refused.into_inner());
        for (key, entry) in self.table.into_iter().flat_map(|table| &table.entries) {
            if asked.contains(&key.as_str()) || refused.contains(&key.as_str()) {
                continue;
            }
            if let Place::Variable(_) = entry.key {
                self.reading.unknown_variable(&entry.key);
                continue;
            }
            let message = match self.name.as_str() {
                "" => format!("unknown key \"{key}\" at the top of the file"),
                "secret" => format!("unknown key \"{key}\" in [[secret]]"),
                name => format!("unknown key \"{key}\" in [{name}]"),
            };
            let problem = Problem::new(&entry.key, message);
            self.reading
                .problem(match did_you_mean(key, asked.iter().copied()) {
                    Some(meant) => problem.help(meant),
                    None => problem.help(format!("known keys: {}", asked.join(", "))),
                });
        }
    }
}

/// The variable that overrides a key: `DTROTATE_VAULT__AUTH__METHOD`.
pub(super) fn variable(section: &str, key: &str) -> String {
    let path = format!("{section}.{key}")
        .replace('.', "__")
        .replace('-', "_");
    format!("DTROTATE_{}", path.to_uppercase())
}
