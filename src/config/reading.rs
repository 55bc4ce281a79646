//! What is shared while one configuration is read: the problems so far and the names of variables.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use super::problem::{Place, Problem, Report};
use super::schema::{Shape, Shapes};

/// The known word that a wrong one probably means: the nearest, if at most a third of its letters must change.
pub(super) fn did_you_mean<'a>(
    wrong: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    // Nobody mistypes a word of this length, and the distance costs its square.
    if wrong.len() > 100 {
        return None;
    }
    let wrong = wrong.to_lowercase();
    let most = wrong.chars().count().max(3) / 3;
    known
        .into_iter()
        .map(|word| {
            (
                strsim::damerau_levenshtein(&wrong, &word.to_lowercase()),
                word,
            )
        })
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, word)| format!("did you mean \"{word}\"?"))
}

/// What is shared by all sections while one configuration is read.
#[derive(Default)]
pub(super) struct Reading {
    pub report: Report,
    /// Every variable that could override something.
    known_variables: RefCell<BTreeSet<String>>,
    /// Variables that named nothing.
    unknown_variables: RefCell<Vec<Place>>,
    /// A file could not be read, so that what seems to be missing may stand in it.
    incomplete: Cell<bool>,
    /// For the schema: every key that was asked for, and as what. Not kept when a configuration is read for its sake.
    shapes: Option<RefCell<Shapes>>,
}

impl Reading {
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

    /// One that learns what is asked for.
    pub fn learning() -> Reading {
        Reading {
            shapes: Some(RefCell::default()),
            ..Reading::default()
        }
    }

    /// What was learned.
    pub fn learned(self) -> Shapes {
        self.shapes.unwrap_or_default().into_inner()
    }

    /// A key of a section was asked for as this.
    pub fn learn(&self, section: &str, key: &'static str, shape: impl FnOnce() -> Shape) {
        if let Some(shapes) = &self.shapes {
            let mut shapes = shapes.borrow_mut();
            let section = shapes.entry(section.to_owned()).or_default();
            section.entry(key).or_insert_with(shape);
        }
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
            let problem = Problem::new(place, "this variable overrides nothing that is known");
            let meant = did_you_mean(name, known.iter().map(String::as_str));
            self.problem(match meant {
                Some(meant) => problem.help(meant),
                None => {
                    problem.help("it is DTROTATE_SECTION__KEY, such as DTROTATE_VAULT__ADDRESS")
                }
            });
        }
    }
}
