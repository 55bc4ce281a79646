//! Access to one table of the merged files. A section remembers which keys were read, so that every other key is unknown; a value that
//! does not fit is reported and reads as "not given", so that all problems come in one go.

use std::cell::RefCell;

use super::context::{Context, nearest};
use super::file::{Entry, Node, Table, Value};
use super::kinds::Kind;
use super::problem::{Place, Placed, Problem};
use super::table::{Given, Role, TableDoc};
use super::tables;

/// One table being read.
pub struct Section<'a> {
    /// Its dotted name, `vault.auth`; empty for the top of a file.
    name: String,
    /// Its own table, and those that its keys are inherited from, the nearest first.
    own: Option<&'a Table>,
    inherited: Vec<&'a Table>,
    /// The place for problems about what it lacks.
    place: Place,
    /// The keys that were read or are read elsewhere.
    known: RefCell<Vec<&'static str>>,
    /// Keys that are refused with a message of their own and never suggested.
    refused: RefCell<Vec<String>>,
    /// Its name was probably misspelt, so nothing is reported as missing.
    misspelt: bool,
    context: &'a Context,
}

impl<'a> Section<'a> {
    pub fn new(name: &str, table: &'a Table, context: &'a Context) -> Self {
        Section {
            name: name.to_owned(),
            own: Some(table),
            inherited: Vec::new(),
            place: table.place.clone(),
            known: RefCell::default(),
            refused: RefCell::default(),
            misspelt: false,
            context,
        }
    }

    /// The same section; keys that it lacks are read from these tables from now on.
    pub fn inheriting(self, inherited: Vec<&'a Table>) -> Self {
        Section { inherited, ..self }
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
        self.own.is_none_or(|table| table.entries.is_empty())
    }

    /// The names of its own keys.
    pub fn keys(&self) -> impl Iterator<Item = (&'a str, &'a Place)> {
        keys(self.own)
    }

    /// Where the value of its own key is, whether or not it was accepted.
    pub fn place_of(&self, key: &str) -> Option<&'a Place> {
        Some(&self.own_entry(key)?.node.place)
    }

    fn own_entry(&self, key: &str) -> Option<&'a Entry> {
        self.own?.entries.get(key)
    }

    fn tables(&self) -> impl Iterator<Item = &'a Table> {
        self.own.into_iter().chain(self.inherited.iter().copied())
    }

    /// Reads a key, or the first of some variables of Vault's client.
    pub fn read<K: Kind>(
        &self,
        key: &'static str,
        variables: &[&str],
        default: fn() -> Option<K::Value>,
    ) -> Given<K::Value> {
        self.known.borrow_mut().push(key);
        if K::NAMES_CREDENTIAL {
            self.refuse_credential(key);
        }
        let variable = || {
            let mut set = variables
                .iter()
                .filter_map(|name| self.context.variable(name));
            let Placed { value, place } = set.next()?;
            let value = Value::Variable(value);
            Some(Node { place, value })
        };
        let mut written = self.tables().filter_map(|table| table.entries.get(key));
        let node = written.next().map(|entry| {
            // A table adds to the inherited one; any other value replaces it.
            let others = written.map(|entry| &entry.node);
            others.fold(entry.node.clone(), Node::with_inherited)
        });
        let node = node.or_else(variable);
        let placed = node.as_ref().and_then(|node| {
            let value = K::read(node, self.context)?;
            let place = node.place.clone();
            Some(Placed { value, place })
        });
        Given::new(placed, node.is_some(), default)
    }

    /// Refuses the credential itself in place of the file that holds it.
    fn refuse_credential(&self, file_key: &str) {
        let key = file_key.strip_suffix("_file").unwrap_or(file_key);
        self.refuse(key, "must not be in the configuration, which never holds credentials", |problem| {
            problem.help(format!(
                "write it to a file and set {file_key} to the file's name; replace a credential that others could have read"
            ))
        });
    }

    fn refuse(&self, key: &str, why: &str, with: impl FnOnce(Problem) -> Problem) {
        self.refused.borrow_mut().push(key.to_owned());
        if let Some(entry) = self.own_entry(key) {
            let problem = Problem::new(&entry.key, format!("\"{key}\" {why}"));
            self.context.problem(with(problem));
        }
    }

    /// The tables in it, which are read elsewhere.
    pub fn has_tables(&self, names: impl IntoIterator<Item = &'static str>) {
        let mut known = self.known.borrow_mut();
        for name in names {
            if !known.contains(&name) {
                known.push(name);
            }
        }
    }

    /// A table in it; empty where there is none.
    pub fn table(&self, key: &str) -> Section<'a> {
        let node = self.own_entry(key).map(|entry| &entry.node);
        let own = match node.map(|node| (node, &node.value)) {
            Some((_, Value::Table(table))) => Some(table),
            Some((node, value)) => {
                let message = format!("this must be a table, not {}", value.what());
                let problem = Problem::new(&node.place, message);
                self.context.problem(match header(&self.name_of(key)) {
                    Some(header) => problem.help(header),
                    None => problem,
                });
                None
            }
            None => None,
        };
        Section {
            name: self.name_of(key),
            own,
            inherited: Vec::new(),
            place: own.map_or(&self.place, |table| &table.place).clone(),
            known: RefCell::default(),
            refused: RefCell::default(),
            // What it lacks is a consequence of what is in its place.
            misspelt: node.is_some() && own.is_none() || self.is_misspelt(key),
            context: self.context,
        }
    }

    /// The dotted name of a table in it.
    fn name_of(&self, key: &str) -> String {
        match self.name.as_str() {
            "" => key.to_owned(),
            name => format!("{name}.{key}"),
        }
    }

    /// The tables of a key that is written with two brackets, any number of times.
    pub fn tables_of(&self, key: &'static str) -> Vec<Section<'a>> {
        self.has_tables([key]);
        let Some(entry) = self.own_entry(key) else {
            return vec![];
        };
        let name = format!("{}.{key}", self.name);
        let wrong = |place: &Place| {
            let message = format!("this is a separate table under [[{name}]], with two brackets");
            self.context.problem(Problem::new(place, message));
            None
        };
        let Value::List(items) = &entry.node.value else {
            return Vec::from_iter(wrong(&entry.key));
        };
        let table = |item: &'a Node| match &item.value {
            Value::Table(table) => Some(Section::new(&name, table, self.context)),
            _ => wrong(&item.place),
        };
        items.iter().filter_map(table).collect()
    }

    /// Whether nobody reads a key.
    fn is_unknown(&self, key: &str) -> bool {
        let (known, refused) = (self.known.borrow(), self.refused.borrow());
        !known.contains(&key) && !refused.iter().any(|refused| refused == key)
    }

    /// Whether an absent key is probably there under a misspelt name, which is reported as unknown.
    pub fn is_misspelt(&self, key: &str) -> bool {
        let inline = key.strip_suffix("_file");
        let inline = inline.is_some_and(|key| self.own_entry(key).is_some());
        let is_meant =
            |unknown: &str| nearest(unknown, self.known.borrow().iter().copied()) == Some(key);
        let mut others = self.tables().flat_map(|table| keys(Some(table)));
        self.misspelt
            || inline
            || (self.own_entry(key).is_none()
                && others.any(|(other, _)| self.is_unknown(other) && is_meant(other)))
    }

    /// Reports that `key` is missing, unless a file could not be read or the key is probably misspelt.
    pub fn missing(&self, key: &str, message: &str) {
        if !self.context.is_incomplete() && !self.is_misspelt(key) {
            self.context.problem(Problem::new(&self.place, message));
        }
    }

    /// Refuses every key that was not read.
    pub fn finish(self) {
        for (key, place) in self.keys().filter(|(key, _)| self.is_unknown(key)) {
            if let Place::Variable(_) = place {
                self.context.unknown_variable(place);
                continue;
            }
            let message = match self.name.as_str() {
                "" => format!("unknown key \"{key}\" at the top of the file"),
                name if tables::is_repeated(name) => {
                    format!("unknown key \"{key}\" in [[{name}]]")
                }
                name => format!("unknown key \"{key}\" in [{name}]"),
            };
            let known = self.known.borrow();
            let help = match nearest(key, known.iter().copied()) {
                Some(meant) if tables::is_repeated(&self.name_of(meant)) => {
                    let name = self.name_of(meant);
                    format!(
                        "did you mean [[{name}]]? Each is a table of its own, with two brackets"
                    )
                }
                Some(meant) => format!("did you mean \"{meant}\"?"),
                None => format!("known keys: {}", known.join(", ")),
            };
            let problem = Problem::new(place, message);
            self.context.problem(problem.help(help));
        }
    }
}

/// How a table of this name is written, for who wrote a value in its place.
fn header(name: &str) -> Option<String> {
    let is_it = |table: &TableDoc| {
        let mut parts = table.name.split('.');
        let mut own = name.split('.');
        own.all(|part| {
            parts
                .next()
                .is_some_and(|known| known == part || known == "*")
        })
    };
    let table = tables::tables().into_iter().find(is_it)?;
    let further = table.name.split('.').skip(name.split('.').count());
    let further: String = further
        .map(|part| format!(".{}", part.replace('*', "NAME")))
        .collect();
    let shown = table.keys.iter().find(|key| key.role == Role::Shown);
    let key = shown.or(table.keys.first())?;
    Some(format!(
        "write [{name}{further}] on a line of its own, and below it its keys, such as {} = {}",
        key.name, key.sample
    ))
}

fn keys(table: Option<&Table>) -> impl Iterator<Item = (&str, &Place)> {
    let entries = table.into_iter().flat_map(|table| &table.entries);
    entries.map(|(key, entry)| (key.as_str(), &entry.key))
}

/// The environment variable that overrides a key: `DTROTATE_VAULT__AUTH__METHOD`.
pub fn variable(section: &str, key: &str) -> String {
    let path = format!("{section}.{key}")
        .replace('.', "__")
        .replace('-', "_");
    format!("DTROTATE_{}", path.to_uppercase())
}
