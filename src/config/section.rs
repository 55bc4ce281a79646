//! Access to one table of the merged files. A section remembers which keys were read, so that every other key is unknown; a value that
//! does not fit is reported and reads as "not given", so that all problems come in one go.

use std::cell::RefCell;

use super::context::{Context, did_you_mean};
use super::file::{Entry, Table, Value};
use super::kinds::Kind;
use super::problem::{Place, Placed, Problem};
use super::table::Given;

/// One table being read.
pub struct Section<'a> {
    /// Its dotted name, `vault.auth`; empty for the top of a file.
    name: String,
    table: Option<&'a Table>,
    /// The place for problems about what it lacks.
    place: Place,
    /// The keys that were read or are read elsewhere.
    known: RefCell<Vec<&'static str>>,
    /// Keys that are refused with a message of their own and never suggested.
    refused: RefCell<Vec<String>>,
    /// Its name was probably misspelt, so nothing is reported as missing.
    misspelt: bool,
    /// Whether environment variables can override its keys.
    overridable: bool,
    context: &'a Context,
}

impl<'a> Section<'a> {
    pub fn new(name: &str, table: &'a Table, overridable: bool, context: &'a Context) -> Self {
        Section {
            name: name.to_owned(),
            table: Some(table),
            place: table.place.clone(),
            known: RefCell::default(),
            refused: RefCell::default(),
            misspelt: false,
            overridable,
            context,
        }
    }

    /// Its dotted name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it begins.
    pub fn place(&self) -> &Place {
        &self.place
    }

    pub fn is_empty(&self) -> bool {
        self.table.is_none_or(|table| table.entries.is_empty())
    }

    /// The names of all its keys.
    pub fn keys(&self) -> impl Iterator<Item = (&'a str, &'a Place)> {
        let entries = self.table.into_iter().flat_map(|table| &table.entries);
        entries.map(|(key, entry)| (key.as_str(), &entry.key))
    }

    fn entry(&self, key: &str) -> Option<&'a Entry> {
        self.table?.entries.get(key)
    }

    /// Reads a key.
    pub fn read<K: Kind>(
        &self,
        key: &'static str,
        default: fn() -> Option<K::Value>,
    ) -> Given<K::Value> {
        self.known.borrow_mut().push(key);
        if self.overridable {
            self.context.known_variable(variable(&self.name, key));
        }
        if K::NAMES_CREDENTIAL {
            self.refuse_credential(key);
        }
        let entry = self.entry(key);
        let placed = entry.and_then(|entry| {
            Some(Placed {
                value: K::read(&entry.node, key, self.context)?,
                place: entry.node.place.clone(),
            })
        });
        Given::new(placed, entry.is_some(), default)
    }

    /// Refuses the credential itself in place of the file that holds it.
    fn refuse_credential(&self, file_key: &str) {
        let key = file_key.strip_suffix("_file").unwrap_or(file_key);
        self.refused.borrow_mut().push(key.to_owned());
        if let Some(entry) = self.entry(key) {
            let message = format!(
                "\"{key}\" must not be in the configuration, which never holds credentials"
            );
            self.context.problem(Problem::new(&entry.key, message).help(format!(
                "write it to a file and set {file_key} to the file's name; replace a credential that others could have read"
            )));
        }
    }

    /// Refuses keys of a later version.
    pub fn refuse_reserved(&self, keys: &[&str]) {
        for key in keys {
            self.refused.borrow_mut().push((*key).to_owned());
            if let Some(entry) = self.entry(key) {
                let message = format!("\"{key}\" is reserved for a later version");
                self.context.problem(Problem::new(&entry.key, message));
            }
        }
    }

    /// The tables in it, which are read elsewhere.
    pub fn has_tables(&self, names: &[&'static str]) {
        self.known.borrow_mut().extend(names);
    }

    /// A table in it; empty where there is none.
    pub fn table(&self, key: &str) -> Section<'a> {
        let node = self.entry(key).map(|entry| &entry.node);
        let table = match node.map(|node| (node, &node.value)) {
            Some((_, Value::Table(table))) => Some(table),
            Some((node, value)) => {
                let message = format!("this must be a table, not {}", value.what());
                self.context.problem(Problem::new(&node.place, message));
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
            known: RefCell::default(),
            refused: RefCell::default(),
            misspelt: self.is_misspelt(key),
            overridable: self.overridable,
            context: self.context,
        }
    }

    /// The keys that nobody reads.
    fn unknown(&self) -> impl Iterator<Item = (&'a str, &'a Place)> {
        let (known, refused) = (self.known.borrow(), self.refused.borrow());
        let unknown = |(key, _): &(&str, &Place)| {
            !known.contains(key) && !refused.iter().any(|refused| refused == key)
        };
        self.keys().filter(unknown).collect::<Vec<_>>().into_iter()
    }

    fn meant(&self, key: &str) -> Option<&'static str> {
        super::context::nearest(key, self.known.borrow().iter().copied())
    }

    /// Whether an absent key is probably there under a misspelt name, which is reported as unknown.
    pub fn is_misspelt(&self, key: &str) -> bool {
        let meant = |unknown: &str| self.meant(unknown).is_some_and(|meant| meant == key);
        let inline = key
            .strip_suffix("_file")
            .is_some_and(|key| self.entry(key).is_some());
        self.misspelt
            || inline
            || (self.entry(key).is_none() && self.unknown().any(|(key, _)| meant(key)))
    }

    /// Reports that `key` is missing, unless a file could not be read or the key is probably misspelt.
    pub fn missing(&self, key: &str, message: &str) {
        if !self.context.is_incomplete() && !self.is_misspelt(key) {
            self.context.problem(Problem::new(&self.place, message));
        }
    }

    /// Refuses every key that was not read.
    pub fn finish(self) {
        for (key, place) in self.unknown() {
            if let Place::Variable(_) = place {
                self.context.unknown_variable(place);
                continue;
            }
            let message = match self.name.as_str() {
                "" => format!("unknown key \"{key}\" at the top of the file"),
                "secret" => format!("unknown key \"{key}\" in [[secret]]"),
                name => format!("unknown key \"{key}\" in [{name}]"),
            };
            let known = self.known.borrow();
            let help = did_you_mean(key, known.iter().copied());
            let help = help.unwrap_or_else(|| format!("known keys: {}", known.join(", ")));
            self.context
                .problem(Problem::new(place, message).help(help));
        }
    }
}

/// The environment variable that overrides a key: `DTROTATE_VAULT__AUTH__METHOD`.
pub fn variable(section: &str, key: &str) -> String {
    let path = format!("{section}.{key}")
        .replace('.', "__")
        .replace('-', "_");
    format!("DTROTATE_{}", path.to_uppercase())
}
