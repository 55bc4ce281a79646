//! What is wrong and where: the list that a refused configuration comes with. It must never show a secret: sources are kept
//! masked, and every text is masked once more on its way in.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::rc::Rc;

use annotate_snippets::{AnnotationKind, Element, Level, Renderer, Snippet};

use super::redact;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A file as a whole (it cannot be read, or something is missing in it).
    Whole(usize),
    /// A span of bytes in a file.
    Span(usize, usize, usize),
    /// An environment variable.
    Variable(Rc<str>),
}

impl Place {
    pub fn span(file: usize, span: Range<usize>) -> Place {
        Place::Span(file, span.start, span.end)
    }
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Placed<T> {
    pub value: T,
    pub place: Place,
}

/// One problem: a sentence, its place, perhaps a second place and what to do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    place: Place,
    message: String,
    also: Option<(Place, String)>,
    help: Option<String>,
}

impl Problem {
    pub fn new(place: &Place, message: impl AsRef<str>) -> Problem {
        Problem {
            place: place.clone(),
            message: clean(message.as_ref()),
            also: None,
            help: None,
        }
    }

    /// A second place that belongs to the problem, with what it says there.
    pub fn also(mut self, place: &Place, label: impl AsRef<str>) -> Problem {
        self.also = Some((place.clone(), clean(label.as_ref())));
        self
    }

    /// What to do.
    pub fn help(mut self, help: impl AsRef<str>) -> Problem {
        self.help = Some(clean(help.as_ref()));
        self
    }
}

/// Masked, and on one line: a control character in a quoted value must not reach a terminal or break a log line.
fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in redact::text(text).chars() {
        match c.is_control() {
            true => clean.extend(c.escape_default()),
            false => clean.push(c),
        }
    }
    clean
}

/// A file as it was read. Only its masked text is kept.
struct Source {
    name: String,
    masked: String,
    line_starts: Vec<usize>,
}

impl Source {
    /// Line and column, both from 1; the column counts characters.
    fn line_and_column(&self, at: usize) -> (usize, usize) {
        let line = self.line_starts.partition_point(|start| *start <= at);
        let start = self.line_starts[line - 1];
        let before = self.masked.get(start..at).unwrap_or_default();
        (line, before.chars().count() + 1)
    }

    /// A line without its end, and the span moved into it.
    fn line(&self, span: Range<usize>) -> (usize, &str, Range<usize>) {
        let (number, _) = self.line_and_column(span.start);
        let start = self.line_starts[number - 1];
        let end = self
            .line_starts
            .get(number)
            .map_or(self.masked.len(), |next| next - 1);
        let line = self.masked[start..end].trim_end_matches('\r');
        let from = (span.start - start).min(line.len());
        let to = (span.end.max(span.start) - start).clamp(from, line.len());
        (number, line, from..to)
    }
}

/// Collects problems while a configuration is read.
#[derive(Default)]
pub struct Report {
    sources: RefCell<Vec<Source>>,
    problems: RefCell<Vec<Problem>>,
}

impl Report {
    /// Takes note of a file; the number names it in places.
    pub fn source(&self, name: String, text: &str) -> usize {
        let starts = text.match_indices('\n').map(|(at, _)| at + 1);
        let mut sources = self.sources.borrow_mut();
        sources.push(Source {
            name,
            masked: redact::source(text),
            line_starts: std::iter::once(0).chain(starts).collect(),
        });
        sources.len() - 1
    }

    /// Takes a problem. One that comes word for word at the same place again (many secrets share a default) is told once.
    pub fn push(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    pub fn is_empty(&self) -> bool {
        self.problems.borrow().is_empty()
    }

    /// `file:line` of a place, or the variable, for messages about it later.
    pub fn spot(&self, place: &Place) -> String {
        let sources = self.sources.borrow();
        match place {
            Place::Whole(file) => sources[*file].name.clone(),
            Place::Span(file, start, _) => {
                let source = &sources[*file];
                format!("{}:{}", source.name, source.line_and_column(*start).0)
            }
            Place::Variable(name) => format!("${name}"),
        }
    }

    /// The place of a part of a string that stands at `place`; the whole string where its spelling has escapes.
    pub fn inside(&self, place: &Place, text: &str, part: Range<usize>) -> Place {
        let Place::Span(file, start, end) = *place else {
            return place.clone();
        };
        let sources = self.sources.borrow();
        let written = sources[file].masked.get(start..end).unwrap_or_default();
        for quote in [3, 1] {
            let inner = written.len().checked_sub(quote);
            if inner.and_then(|to| written.get(quote..to)) == Some(text) {
                return Place::Span(file, start + quote + part.start, start + quote + part.end);
            }
        }
        place.clone()
    }

    pub fn finish(self) -> Problems {
        let mut problems = self.problems.into_inner();
        problems.sort();
        problems.dedup();
        Problems {
            sources: self.sources.into_inner(),
            problems,
        }
    }
}

/// Why a configuration was refused: every problem of every file, in the order of files and lines. Shows no secret.
pub struct Problems {
    sources: Vec<Source>,
    problems: Vec<Problem>,
}

impl Problems {
    /// How many.
    pub fn len(&self) -> usize {
        self.problems.len()
    }

    /// Never true for what `load` hands out.
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// One line each, `file:line:column: message`, for a log.
    pub fn lines(&self) -> Vec<String> {
        let one = |problem: &Problem| {
            let mut line = format!("{}: {}", self.spot(&problem.place), problem.message);
            if let Some((place, label)) = &problem.also {
                line.push_str(&format!(" ({label}: {})", self.spot(place)));
            }
            if let Some(help) = &problem.help {
                line.push_str("; ");
                line.push_str(help);
            }
            line
        };
        self.problems.iter().map(one).collect()
    }

    /// For people: each problem with its line and a caret under it.
    pub fn render(&self, coloured: bool) -> String {
        let renderer = match coloured {
            true => Renderer::styled(),
            false => Renderer::plain(),
        };
        let mut text = String::new();
        for problem in &self.problems {
            text.push_str(&self.render_one(problem, &renderer));
            text.push_str("\n\n");
        }
        text.push_str(&match self.problems.len() {
            1 => "1 problem in the configuration".to_owned(),
            n => format!("{n} problems in the configuration"),
        });
        text
    }

    fn render_one(&self, problem: &Problem, renderer: &Renderer) -> String {
        let title = match &problem.place {
            Place::Span(..) => problem.message.clone(),
            place => format!("{}: {}", self.spot(place), problem.message),
        };
        let mut group = Level::ERROR.primary_title(title).elements(
            self.snippet(&problem.place, AnnotationKind::Primary, None)
                .into_iter()
                .chain(problem.also.as_ref().and_then(|(place, label)| {
                    self.snippet(place, AnnotationKind::Context, Some(label))
                })),
        );
        if let Some((place @ (Place::Variable(_) | Place::Whole(_)), label)) = &problem.also {
            group = group.element(Level::NOTE.message(format!("{label}: {}", self.spot(place))));
        }
        if let Some(help) = &problem.help {
            group = group.element(Level::HELP.message(help));
        }
        renderer.render(&[group])
    }

    fn snippet<'a>(
        &'a self,
        place: &Place,
        kind: AnnotationKind,
        label: Option<&'a String>,
    ) -> Option<Element<'a>> {
        let Place::Span(file, start, end) = *place else {
            return None;
        };
        let source = &self.sources[file];
        let (number, line, span) = source.line(start..end);
        let mark = kind.span(span).label(label.map(String::as_str));
        Some(
            Snippet::source(line)
                .line_start(number)
                .path(&source.name)
                .annotation(mark)
                .into(),
        )
    }

    fn spot(&self, place: &Place) -> String {
        match place {
            Place::Whole(file) => self.sources[*file].name.clone(),
            Place::Span(file, start, _) => {
                let source = &self.sources[*file];
                let (line, column) = source.line_and_column(*start);
                format!("{}:{line}:{column}", source.name)
            }
            Place::Variable(name) => format!("${name}"),
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl fmt::Debug for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.lines()).finish()
    }
}

impl std::error::Error for Problems {}
