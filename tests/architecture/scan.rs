//! Finds the paths in Rust source: a tokeniser that knows comments, strings and lifetimes, and a reader of `a::{b, c}`.
//! Plain text is enough here: no macro of this repository builds a path from pieces.

use std::{collections::BTreeSet, fmt};

/// What is worth judging in a file.
#[derive(Debug)]
pub enum Finding {
    /// A path into the crate, resolved from `crate`, `super`, `self` or `dtrotate`; the first segment is the room. Empty: the
    /// root itself.
    Inside { line: usize, path: Vec<String> },
    /// A path that begins with a crate of the given set; `in_test`: in a module `tests`.
    Outside {
        line: usize,
        path: Vec<String>,
        in_test: bool,
    },
    /// A call of something named `now` by a path: `Timestamp::now`.
    Now { line: usize, path: Vec<String> },
    /// `#[path]`, `include!`, `extern crate`: ways to bring in what no path shows.
    Hidden { line: usize, what: &'static str },
}

impl Finding {
    pub fn line(&self) -> usize {
        match self {
            Finding::Inside { line, .. }
            | Finding::Outside { line, .. }
            | Finding::Now { line, .. }
            | Finding::Hidden { line, .. } => *line,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Inside { path, .. } if path.is_empty() => f.write_str("crate"),
            Finding::Inside { path, .. } => write!(f, "crate::{}", path.join("::")),
            Finding::Outside { path, .. } | Finding::Now { path, .. } => {
                f.write_str(&path.join("::"))
            }
            Finding::Hidden { what, .. } => f.write_str(what),
        }
    }
}

/// All findings of a file, in its order. `file` is its path from the repository's root and says which module it is.
pub fn findings(file: &str, text: &str, crates: &BTreeSet<String>) -> Vec<Finding> {
    let tokens = tokens(text);
    let mut scan = Scan {
        tokens: &tokens,
        crates,
        module: module_of(file),
        inline: Vec::new(),
        found: Vec::new(),
    };
    scan.run();
    scan.found
}

/// `src/a/b.rs` is `a::b`; `src/a/mod.rs` and `src/a.rs` are `a`; `main.rs` and `lib.rs` are the root.
fn module_of(file: &str) -> Vec<String> {
    let inside = file
        .split_once("src/")
        .map_or(file, |(_, inside)| inside)
        .trim_end_matches(".rs");
    let mut module: Vec<String> = inside.split('/').map(String::from).collect();
    if matches!(module.last().map(String::as_str), Some("mod")) || matches!(inside, "main" | "lib")
    {
        module.pop();
    }
    module
}

#[derive(Debug, PartialEq)]
enum Kind {
    Word(String),
    /// The content of a string literal.
    Text(String),
    /// `::` is one token, everything else one character.
    Sign(&'static str),
    Other(char),
}

#[derive(Debug)]
struct Token {
    line: usize,
    kind: Kind,
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < chars.len() {
        let (start, next) = (at, chars.get(at + 1).copied());
        let kind = match chars[at] {
            '/' if next == Some('/') => {
                at += chars[at..].iter().take_while(|c| **c != '\n').count();
                None
            }
            '/' if next == Some('*') => {
                at = end_of_comment(&chars, at);
                None
            }
            '"' => Some(Kind::Text(string(&chars, &mut at))),
            '\'' => {
                at = end_of_quote(&chars, at);
                None
            }
            ':' if next == Some(':') => {
                at += 2;
                Some(Kind::Sign("::"))
            }
            c if is_word(c) => {
                while at < chars.len() && is_word(chars[at]) {
                    at += 1;
                }
                let word: String = chars[start..at].iter().collect();
                match (word.as_str(), chars.get(at)) {
                    ("r" | "br" | "cr", Some('"' | '#')) => raw(&chars, &mut at),
                    _ => Some(Kind::Word(word)),
                }
            }
            c => {
                at += 1;
                (!c.is_whitespace()).then_some(Kind::Other(c))
            }
        };
        tokens.extend(kind.map(|kind| Token { line, kind }));
        line += chars[start..at.min(chars.len())]
            .iter()
            .filter(|c| **c == '\n')
            .count();
    }
    tokens
}

/// Comments nest.
fn end_of_comment(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The content of the string that begins at `at`, which moves behind it.
fn string(chars: &[char], at: &mut usize) -> String {
    let start = *at + 1;
    *at = start;
    while *at < chars.len() && chars[*at] != '"' {
        *at += if chars[*at] == '\\' { 2 } else { 1 };
    }
    let content = chars[start..(*at).min(chars.len())].iter().collect();
    *at += 1;
    content
}

/// Behind `r`: a raw string, or a raw identifier (`r#type`), which is no word of interest.
fn raw(chars: &[char], at: &mut usize) -> Option<Kind> {
    let hashes = chars[*at..].iter().take_while(|c| **c == '#').count();
    *at += hashes;
    if chars.get(*at) != Some(&'"') {
        return None;
    }
    let start = *at + 1;
    let end: Vec<char> = std::iter::once('"')
        .chain(std::iter::repeat_n('#', hashes))
        .collect();
    let length = chars[start..]
        .windows(end.len())
        .position(|window| window == end);
    let content_end = length.map_or(chars.len(), |length| start + length);
    *at = content_end + end.len();
    Some(Kind::Text(chars[start..content_end].iter().collect()))
}

/// Behind a character literal, or behind the quote of a lifetime, whose word then follows as one.
fn end_of_quote(chars: &[char], at: usize) -> usize {
    match (chars.get(at + 1), chars.get(at + 2)) {
        (Some('\\'), _) => {
            let behind_escaped = at + 3;
            behind_escaped
                + chars[behind_escaped.min(chars.len())..]
                    .iter()
                    .take_while(|c| **c != '\'')
                    .count()
                + 1
        }
        (Some(_), Some('\'')) => at + 3,
        // A lifetime: its name goes with the quote, or `'static` would look like a word.
        _ => at + 1 + chars[at + 1..].iter().take_while(|c| is_word(**c)).count(),
    }
}

struct Scan<'a> {
    tokens: &'a [Token],
    crates: &'a BTreeSet<String>,
    module: Vec<String>,
    /// Open `mod name {` and other braces: the name for a module, none for a plain brace.
    inline: Vec<Option<String>>,
    found: Vec<Finding>,
}

impl Scan<'_> {
    fn run(&mut self) {
        let mut at = 0;
        while at < self.tokens.len() {
            at = self.step(at);
        }
    }

    fn word(&self, at: usize) -> Option<&str> {
        match &self.tokens.get(at)?.kind {
            Kind::Word(word) => Some(word),
            _ => None,
        }
    }

    fn is(&self, at: usize, kind: &Kind) -> bool {
        self.tokens.get(at).is_some_and(|token| token.kind == *kind)
    }

    fn is_join(&self, at: usize) -> bool {
        self.is(at, &Kind::Sign("::"))
    }

    /// Looks at one token; where to go on.
    fn step(&mut self, at: usize) -> usize {
        let line = self.tokens[at].line;
        let hidden = |what| Finding::Hidden { line, what };
        match &self.tokens[at].kind {
            Kind::Other('{') => {
                let module = (at >= 2 && self.word(at - 2) == Some("mod"))
                    .then(|| self.word(at - 1))
                    .flatten();
                let module = module.map(String::from);
                self.inline.push(module);
                at + 1
            }
            Kind::Other('}') => {
                self.inline.pop();
                at + 1
            }
            Kind::Text(text) => {
                // `#[serde(with = "crate::...")]` names a path in a string.
                let path: Vec<String> = text.split("::").map(String::from).collect();
                let is_inside = matches!(path[0].as_str(), "crate" | "super" | "self");
                if path.len() > 1 && is_inside && path.iter().all(|part| part.chars().all(is_word))
                {
                    self.note(line, path, false);
                }
                at + 1
            }
            Kind::Word(word) => match word.as_str() {
                "path"
                    if self.is(at + 1, &Kind::Other('='))
                        && at > 0
                        && self.is(at - 1, &Kind::Other('[')) =>
                {
                    // A test that stands among the tests brings nothing into the program.
                    let test = matches!(self.tokens.get(at + 2).map(|token| &token.kind), Some(Kind::Text(to)) if to.starts_with("../../tests/"));
                    if !test {
                        self.found.push(hidden("#[path]"));
                    }
                    at + 3
                }
                "include" if self.is(at + 1, &Kind::Other('!')) => {
                    self.found.push(hidden("include!"));
                    at + 1
                }
                "extern" if self.word(at + 1) == Some("crate") => {
                    self.found.push(hidden("extern crate"));
                    at + 2
                }
                "use" => self.tree(
                    if self.is_join(at + 1) { at + 2 } else { at + 1 },
                    &[],
                    true,
                ),
                _ if self.is_join(at + 1) && !self.is_continued(at) => self.tree(at, &[], false),
                _ => at + 1,
            },
            _ => at + 1,
        }
    }

    /// Whether the word at `at` goes on a path or a call (`x.word::<T>()`) instead of beginning a path.
    fn is_continued(&self, at: usize) -> bool {
        if at == 0 {
            return false;
        }
        if self.is(at - 1, &Kind::Other('.')) {
            return true;
        }
        let before = at.checked_sub(2).map(|before| &self.tokens[before].kind);
        self.is_join(at - 1) && matches!(before, Some(Kind::Word(_) | Kind::Other('>')))
    }

    /// Reads one path, in a `use` with its groups; notes each leaf. Where to go on.
    fn tree(&mut self, mut at: usize, prefix: &[String], is_use: bool) -> usize {
        let line = self.tokens.get(at).map_or(0, |token| token.line);
        let mut path = prefix.to_vec();
        loop {
            match self.tokens.get(at).map(|token| &token.kind) {
                Some(Kind::Other('{')) if is_use => {
                    at += 1;
                    while at < self.tokens.len() && !self.is(at, &Kind::Other('}')) {
                        at = if self.is(at, &Kind::Other(',')) {
                            at + 1
                        } else {
                            // A token that begins no path is passed over.
                            self.tree(at, &path, true).max(at + 1)
                        };
                    }
                    return at + 1;
                }
                Some(Kind::Other('*')) if is_use => {
                    path.push("*".to_owned());
                    at += 1;
                }
                Some(Kind::Word(word)) => {
                    path.push(word.clone());
                    at += 1;
                }
                // `::<T>` and the like: the path ends, what follows is looked at for itself.
                _ => break,
            }
            if !self.is_join(at) {
                break;
            }
            at += 1;
        }
        if is_use && self.word(at) == Some("as") {
            at += 2;
        }
        self.note(line, path, is_use);
        at
    }

    fn note(&mut self, line: usize, path: Vec<String>, is_use: bool) {
        let here: Vec<String> = self
            .module
            .iter()
            .chain(self.inline.iter().flatten())
            .cloned()
            .collect();
        let first = path.first().map(String::as_str);
        let inside = match first {
            Some("crate") => Some(path[1..].to_vec()),
            // The library as `main.rs` sees it.
            Some("dtrotate") if !self.crates.contains("dtrotate") => Some(path[1..].to_vec()),
            Some("self" | "super") => {
                let mut resolved = here.clone();
                let climbs = path
                    .iter()
                    .take_while(|part| matches!(part.as_str(), "self" | "super"));
                let climbs: Vec<&String> = climbs.collect();
                for climb in &climbs {
                    if *climb == "super" {
                        resolved.pop();
                    }
                }
                resolved.extend(path[climbs.len()..].iter().cloned());
                Some(resolved)
            }
            _ => None,
        };
        let is_now = path.len() > 1 && path.last().is_some_and(|last| last == "now");
        match (inside, first) {
            (Some(mut inside), _) => {
                inside.retain(|part| part != "self");
                if inside.first().is_some_and(|part| part == "*") {
                    inside.clear();
                }
                self.found.push(Finding::Inside { line, path: inside });
            }
            (None, Some(first)) if self.crates.contains(first) => {
                let in_test = here.iter().any(|module| module == "tests");
                self.found.push(Finding::Outside {
                    line,
                    path: path.clone(),
                    in_test,
                });
            }
            // In the root itself `use` names a room without `crate`.
            (None, Some(_)) if here.is_empty() && is_use && path.len() > 1 => {
                self.found.push(Finding::Inside {
                    line,
                    path: path.clone(),
                });
            }
            _ => {}
        }
        if is_now {
            self.found.push(Finding::Now { line, path });
        }
    }
}
