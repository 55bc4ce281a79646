//! What is wrong and where: the list that a refused configuration comes with. It must never show a secret: every text and every line of a
//! file is masked.

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

    /// `file:line`, with the column where that is wanted, or the variable.
    pub(super) fn show(&self, sources: &[Source], column: bool) -> String {
        match self {
            Place::Whole(file) => sources[*file].name.clone(),
            Place::Span(file, start, _) => {
                let name = &sources[*file].name;
                match sources[*file].line_and_column(*start) {
                    (line, at) if column => format!("{name}:{line}:{at}"),
                    (line, _) => format!("{name}:{line}"),
                }
            }
            Place::Variable(name) => format!("${name}"),
        }
    }
}

/// A value and where it is written.
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
        match crate::sanitize::is_hazard(c) {
            true => clean.extend(c.escape_default()),
            false => clean.push(c),
        }
    }
    clean
}

/// A file as it was read.
pub(super) struct Source {
    name: String,
    text: String,
    line_starts: Vec<usize>,
}

impl Source {
    pub(super) fn new(name: String, text: &str) -> Source {
        let starts = text.match_indices('\n').map(|(at, _)| at + 1);
        Source {
            name,
            text: text.to_owned(),
            line_starts: std::iter::once(0).chain(starts).collect(),
        }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Line and column, both from 1; the column counts characters.
    fn line_and_column(&self, at: usize) -> (usize, usize) {
        let line = self.line_starts.partition_point(|start| *start <= at);
        let before = self.text.get(self.line_starts[line - 1]..at);
        (line, before.unwrap_or_default().chars().count() + 1)
    }

    /// The line in which a span begins.
    fn line(&self, span: Range<usize>, assignments: &[Range<usize>]) -> Line {
        let (number, _) = self.line_and_column(span.start);
        let start = self.line_starts[number - 1];
        let length = self.text[start..].lines().next().map_or(0, str::len);
        let from = (span.start - start).min(length);
        Line {
            file: self.name.clone(),
            number,
            text: redact::mask(&self.text, start..start + length, assignments),
            span: from..(span.end.max(span.start) - start).clamp(from, length),
        }
    }
}

/// A line of a file, masked, with the part that is wrong.
struct Line {
    file: String,
    number: usize,
    text: String,
    span: Range<usize>,
}

impl Line {
    fn snippet<'a>(&'a self, kind: AnnotationKind, label: Option<&'a str>) -> Element<'a> {
        let mark = kind.span(self.span.clone()).label(label);
        let snippet = Snippet::source(&self.text).line_start(self.number);
        snippet.path(&self.file).annotation(mark).into()
    }
}

/// A place as it is shown: `file:line:column` and the line, if it has one.
struct Spot {
    text: String,
    line: Option<Line>,
}

/// A problem as it is shown.
struct Shown {
    spot: Spot,
    message: String,
    also: Option<(Spot, String)>,
    help: Option<String>,
}

/// Why a configuration was refused: every problem of every file, in the order of files and lines. Shows no secret.
pub struct Problems(Vec<Shown>);

impl Problems {
    pub(super) fn new(sources: &[Source], mut problems: Vec<Problem>) -> Problems {
        if problems.is_empty() {
            return Problems(Vec::new());
        }
        problems.sort();
        problems.dedup();
        let assignments: Vec<_> = sources
            .iter()
            .map(|source| redact::assignments(&source.text))
            .collect();
        let spot = |place: &Place| Spot {
            text: place.show(sources, true),
            line: match *place {
                Place::Span(file, start, end) => {
                    Some(sources[file].line(start..end, &assignments[file]))
                }
                _ => None,
            },
        };
        let shown = |problem: Problem| Shown {
            spot: spot(&problem.place),
            message: problem.message,
            also: problem.also.map(|(place, label)| (spot(&place), label)),
            help: problem.help,
        };
        Problems(problems.into_iter().map(shown).collect())
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Never true for what `load` returns.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One line each, `file:line:column: message`, for a log.
    pub fn lines(&self) -> Vec<String> {
        let one = |problem: &Shown| {
            let mut line = format!("{}: {}", problem.spot.text, problem.message);
            if let Some((spot, label)) = &problem.also {
                line.push_str(&format!(" ({label}: {})", spot.text));
            }
            if let Some(help) = &problem.help {
                line.push_str("; ");
                line.push_str(help);
            }
            line
        };
        self.0.iter().map(one).collect()
    }

    /// For people: each problem with its line and a caret under it.
    pub fn render(&self, coloured: bool) -> String {
        let renderer = match coloured {
            true => Renderer::styled(),
            false => Renderer::plain(),
        };
        let mut text = String::new();
        for problem in &self.0 {
            text.push_str(&problem.render(&renderer));
            text.push_str("\n\n");
        }
        text.push_str(&match self.0.len() {
            1 => "1 problem in the configuration".to_owned(),
            n => format!("{n} problems in the configuration"),
        });
        text
    }
}

impl Shown {
    fn render(&self, renderer: &Renderer) -> String {
        let (title, own) = match &self.spot.line {
            Some(line) => {
                let snippet = line.snippet(AnnotationKind::Primary, None);
                (self.message.clone(), Some(snippet))
            }
            None => (format!("{}: {}", self.spot.text, self.message), None),
        };
        let mut group = Level::ERROR.primary_title(title).elements(own);
        if let Some((spot, label)) = &self.also {
            group = match &spot.line {
                Some(line) => group.element(line.snippet(AnnotationKind::Context, Some(label))),
                None => group.element(Level::NOTE.message(format!("{label}: {}", spot.text))),
            };
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help));
        }
        renderer.render(&[group])
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
