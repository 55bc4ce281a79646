//! The state shared while one configuration is read: the problems so far and the names of environment variables.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use super::problem::{Place, Placed, Problem, Report};

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
    pub report: Report,
    /// Every variable that could override something.
    known_variables: RefCell<BTreeSet<String>>,
    /// Variables that named nothing.
    unknown_variables: RefCell<Vec<Place>>,
    /// A file could not be read, so that what seems to be missing may stand in it.
    incomplete: Cell<bool>,
    /// What is not wrong and still worth a warning.
    warnings: RefCell<Vec<String>>,
}

impl Context {
    pub fn problem(&self, problem: Problem) {
        self.report.push(problem);
    }

    /// From now on nothing is said about what is missing.
    pub fn set_incomplete(&self) {
        self.incomplete.set(true);
    }

    /// Whether a file could not be read.
    pub fn is_incomplete(&self) -> bool {
        self.incomplete.get()
    }

    /// Adds a warning.
    pub fn warn(&self, warning: String) {
        self.warnings.borrow_mut().push(warning);
    }

    /// The warnings so far.
    pub fn take_warnings(&self) -> Vec<String> {
        self.warnings.take()
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

    /// A variable that could override something.
    pub fn known_variable(&self, name: String) {
        self.known_variables.borrow_mut().insert(name);
    }

    /// A variable that names nothing; told at the end, when all names are known.
    pub fn unknown_variable(&self, place: &Place) {
        self.unknown_variables.borrow_mut().push(place.clone());
    }

    /// Reports the variables that named nothing.
    pub fn finish_variables(&self) {
        if self.is_incomplete() {
            return;
        }
        let known = self.known_variables.borrow();
        for place in self.unknown_variables.borrow().iter() {
            let Place::Variable(name) = place else {
                continue;
            };
            let problem = Problem::new(
                place,
                "this environment variable does not match any configuration key",
            );
            let meant = did_you_mean(name, known.iter().map(String::as_str));
            self.problem(match meant {
                Some(meant) => problem.help(meant),
                None => problem
                    .help("the form is DTROTATE_SECTION__KEY, such as DTROTATE_VAULT__ADDRESS"),
            });
        }
    }
}
