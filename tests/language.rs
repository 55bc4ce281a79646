//! Phrases that make a reader stumble are not used; each has a plain one. The list is short: what a tool can find. Spelling is checked by
//! `scripts/codespell`.

use std::fs;
use std::path::Path;

/// A phrase and what to write instead.
const PHRASES: [(&str, &str); 37] = [
    ("a person's hand", "manually"),
    ("any more", "no longer"),
    ("anew", "again"),
    ("are told", "are notified"),
    ("arrows", "dependencies"),
    ("be told again", "be reported again"),
    ("by itself", "automatically"),
    ("came to nothing", "failed"),
    ("chores", "background tasks"),
    ("come to rest", "become idle"),
    ("comes to rest", "becomes idle"),
    ("comes too late", "has no effect"),
    ("does not work out", "fails"),
    ("errand", "request"),
    ("for ever", "indefinitely"),
    ("goes on", "continues"),
    ("how to go on", "how to continue"),
    ("is no json", "is not JSON"),
    ("is no listing", "is not a listing"),
    ("is told", "is notified, is reported"),
    ("it is over", "resolved"),
    ("leavers", "orphaned documents"),
    ("lets us in", "login succeeded"),
    ("let go", "released"),
    ("mend", "fix"),
    ("mended", "fixed"),
    ("no whole answer", "no complete response"),
    ("patrol", "rescan"),
    ("rooms", "modules"),
    ("stands against it", "mitigates it"),
    ("stands still", "is stopped"),
    ("telling people", "notifying"),
    ("to be told", "to be reported"),
    ("told of", "gets"),
    ("too much to do", "rate limited"),
    ("was told", "was reported"),
    ("who comes", "the next process"),
];

/// Folders without text of ours.
const FOREIGN: [&str; 3] = ["target", "proptest-regressions", "docs/man"];

/// This file quotes the phrases.
const SELF: &str = "tests/language.rs";

/// Every text file below `folder` that is checked, by its path from the root.
fn files(root: &Path, folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.strip_prefix(root).expect("a path below the root");
        let name = name.to_str().expect("a name in UTF-8").to_owned();
        let hidden = name.starts_with('.');
        if hidden || FOREIGN.contains(&name.as_str()) || name == SELF || name.ends_with(".lock") {
            continue;
        }
        match path.is_dir() {
            true => files(root, &path, found),
            false => found.push(name),
        }
    }
}

/// Where a phrase stands as words of their own, in any case.
fn lines_with<'a>(text: &'a str, phrase: &str) -> Vec<(usize, &'a str)> {
    let is_word = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let has = |line: &str| {
        let line = line.to_ascii_lowercase();
        line.match_indices(phrase).any(|(at, _)| {
            let before = at.checked_sub(1).and_then(|at| line.as_bytes().get(at));
            !is_word(before) && !is_word(line.as_bytes().get(at + phrase.len()))
        })
    };
    let lines = text.lines().enumerate();
    lines
        .filter(|(_, line)| has(line))
        .map(|(number, line)| (number + 1, line.trim()))
        .collect()
}

#[test]
fn no_file_uses_a_phrase_that_has_a_plain_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut names = vec![];
    files(root, root, &mut names);
    assert!(names.len() > 150, "only {} files were found", names.len());
    let mut problems = vec![];
    for name in names {
        // What is no text has no phrases.
        let text = fs::read_to_string(root.join(&name)).unwrap_or_default();
        for (phrase, instead) in PHRASES {
            for (number, line) in lines_with(&text, phrase) {
                problems.push(format!(
                    "{name}:{number}: {phrase:?} -> {instead:?}: {line}"
                ));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// A sentence of the code that was broken into lines without a `\` shows the indentation of the code to whoever reads it.
fn has_gap(line: &str) -> bool {
    let gap = " ".repeat(14);
    let parts = line.trim().split_once(&gap);
    parts.is_some_and(|(before, after)| {
        let begins = after.trim_start().starts_with(char::is_alphabetic);
        begins && before.ends_with(|last: char| last.is_alphanumeric() || last == ',')
    })
}

#[test]
fn no_sentence_has_a_gap_in_its_middle() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut names = vec![];
    files(root, root, &mut names);
    names.retain(|name| name.ends_with(".rs") && !name.contains("tests"));
    let mut problems = vec![];
    for name in names {
        let text = fs::read_to_string(root.join(&name)).expect("a file of code");
        let lines = text.lines().enumerate();
        let gaps = lines.filter(|(_, line)| has_gap(line));
        problems.extend(gaps.map(|(at, line)| format!("{name}:{}: {line}", at + 1)));
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(has_gap(r#"    "in                 which""#) && !has_gap("                  a b"));
}

#[test]
fn a_phrase_is_found_in_any_case_and_not_within_a_word() {
    assert_eq!(lines_with("a\nIt Goes On", "goes on"), [(2, "It Goes On")]);
    assert_eq!(lines_with("manewer", "anew"), []);
}
