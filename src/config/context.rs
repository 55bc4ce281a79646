//! The state shared while one configuration is read: its files, the problems and warnings so far, the names of environment variables.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::Options;
use super::problem::{Place, Placed, Problem, Problems, Source};
use super::section::variable;
use super::tables::{is_repeated, tables};
use crate::credential;

/// The known word that a wrong one probably means: the nearest, if at most a third of its letters must change.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // The distance costs the square of the length, and nobody mistypes a word of this length.
    if wrong.len() > 100 {
        return None;
    }
    let wrong = wrong.to_lowercase();
    let most = wrong.chars().count().max(3) / 3;
    let distance = |word: &str| strsim::damerau_levenshtein(&wrong, &word.to_lowercase());
    let words = known.into_iter().map(|word| (distance(word), word));
    let near = words.filter(|(distance, _)| *distance <= most).min();
    near.map(|(_, word)| word)
}

/// The same as a question.
pub fn did_you_mean<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(wrong, known).map(|word| format!("did you mean \"{word}\"?"))
}

/// The state shared by all sections while one configuration is read.
#[derive(Default)]
pub struct Context {
    pub options: Options,
    /// The folder that relative names of files start from.
    folder: PathBuf,
    /// The files that are named will not be used.
    unused: Cell<bool>,
    sources: RefCell<Vec<Source>>,
    problems: RefCell<Vec<Problem>>,
    /// What is valid and still worth a warning.
    warnings: RefCell<Vec<String>>,
    warned: RefCell<HashSet<String>>,
    /// Variables that match no key.
    unknown_variables: RefCell<Vec<Place>>,
    /// A file could not be read, so that what seems to be missing may be in it.
    incomplete: Cell<bool>,
    /// What can be read of a file with a syntax error is used.
    pub keeps_the_rest: bool,
}

impl Context {
    pub fn new(main: &Path, options: &Options) -> Self {
        Context {
            options: options.clone(),
            folder: main.parent().unwrap_or(Path::new("")).to_owned(),
            ..Context::default()
        }
    }

    /// The variable `BAO_...`, else `VAULT_...`, if it is set and not empty.
    pub fn variable(&self, name: &str) -> Option<Placed<String>> {
        ["BAO", "VAULT"].iter().find_map(|prefix| {
            let name = format!("{prefix}_{name}");
            let value = self.options.environment.get(&name)?.trim().to_owned();
            let place = Place::Variable(Rc::from(name));
            (!value.is_empty()).then_some(Placed { value, place })
        })
    }

    /// The path of a file: in `$CREDENTIALS_DIRECTORY` if it is there, else in the configuration's folder. The shipped unit names every
    /// credential that there may be, and an absent one is a line end alone there.
    pub fn resolve(&self, written: &str) -> PathBuf {
        let credentials = self.options.environment.get("CREDENTIALS_DIRECTORY");
        let there = credentials.map(|folder| PathBuf::from(folder).join(written));
        let there = there.filter(|path| {
            std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() > 1)
        });
        there.unwrap_or_else(|| self.folder.join(written))
    }

    /// Whether the files that are named from now on will be used.
    pub fn set_unused(&self, unused: bool) {
        self.unused.set(unused);
    }

    /// The files that are named may be on another machine, or will not be used.
    fn looks_away(&self) -> bool {
        self.options.offline || self.unused.get()
    }

    /// Looks into a file that a key names.
    pub fn look<T, E: ToString>(&self, read: impl FnOnce() -> Result<T, E>) -> Result<(), String> {
        match self.looks_away() {
            true => Ok(()),
            false => read().map(drop).map_err(|error| error.to_string()),
        }
    }

    /// Warns of a file that holds a credential and that every user can read.
    pub fn warn_if_exposed(&self, path: &Path) {
        if !self.looks_away() && credential::is_exposed(path) {
            let path = path.display();
            self.warn(format!(
                "every user of this machine can read {path}: run `chmod o-rwx {path}`, and replace the credential if others may have read it"
            ));
        }
    }

    /// Adds a file; the number names it in places.
    pub fn source(&self, name: String, text: &str) -> usize {
        let mut sources = self.sources.borrow_mut();
        sources.push(Source::new(name, text));
        sources.len() - 1
    }

    /// Adds a problem. One that comes word for word at the same place again (many secrets share a default) is reported once.
    pub fn problem(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    /// Reports what is there twice.
    pub fn twice(&self, place: &Place, message: impl AsRef<str>, first: &Place) {
        self.problem(Problem::new(place, message).also(first, "first given here"));
    }

    /// Adds a warning.
    /// One that comes word for word again (many secrets share a default) is given once.
    pub fn warn(&self, warning: String) {
        if self.warned.borrow_mut().insert(warning.clone()) {
            self.warnings.borrow_mut().push(warning);
        }
    }

    /// The warnings so far.
    pub fn take_warnings(&self) -> Vec<String> {
        self.warnings.take()
    }

    /// From now on nothing is said about what is missing.
    pub fn set_incomplete(&self) {
        self.incomplete.set(true);
    }

    /// Whether a file could not be read.
    pub fn is_incomplete(&self) -> bool {
        self.incomplete.get()
    }

    /// `file:line` of a place, or the variable, for messages about it later.
    pub fn spot(&self, place: &Place) -> String {
        place.show(&self.sources.borrow(), false)
    }

    /// The place of a part of a string that is written at `place`; the whole string where its spelling has escapes.
    pub fn inside(&self, place: &Place, text: &str, part: Range<usize>) -> Place {
        let Place::Span(file, start, end) = *place else {
            return place.clone();
        };
        let sources = self.sources.borrow();
        let written = sources[file].text().get(start..end).unwrap_or_default();
        for quote in [3, 1] {
            let inner = written.len().checked_sub(quote);
            if inner.and_then(|to| written.get(quote..to)) == Some(text) {
                return Place::Span(file, start + quote + part.start, start + quote + part.end);
            }
        }
        place.clone()
    }

    /// Reports an environment that no table defines.
    pub fn unknown_environment(&self, name: &Placed<String>, names: &[String]) {
        if self.is_incomplete() || names.is_empty() {
            return;
        }
        let message = format!("the environment \"{}\" is not configured", name.value);
        let meant = did_you_mean(&name.value, names.iter().map(String::as_str));
        let help = meant.unwrap_or_else(|| format!("environments: {}", names.join(", ")));
        self.problem(Problem::new(&name.place, message).help(help));
    }

    /// Adds a variable that matches no key; reported at the end, when all environments are known.
    pub fn unknown_variable(&self, place: &Place) {
        self.unknown_variables.borrow_mut().push(place.clone());
    }

    /// Reports the variables that match no key of a table, or of these environments.
    pub fn finish_variables(&self, environments: &[String]) {
        if self.is_incomplete() {
            return;
        }
        let mut known = Vec::new();
        for table in tables().iter().filter(|table| !is_repeated(table.name)) {
            let once = [String::new()];
            let names = if table.name.contains('*') {
                environments
            } else {
                &once
            };
            for table_name in names.iter().map(|name| table.name.replace('*', name)) {
                known.extend(table.keys.iter().map(|key| variable(&table_name, key.name)));
            }
        }
        for place in self.unknown_variables.borrow().iter() {
            let Place::Variable(name) = place else {
                continue;
            };
            let meant = did_you_mean(name, known.iter().map(String::as_str));
            let form = "the form is DTROTATE_SECTION__KEY, such as DTROTATE_VAULT__ADDRESS";
            let message = "this environment variable does not match any configuration key";
            let help = meant.unwrap_or_else(|| form.to_owned());
            self.problem(Problem::new(place, message).help(help));
        }
    }

    /// The problems.
    pub fn finish(self) -> Problems {
        Problems::new(&self.sources.take(), self.problems.take())
    }
}
