//! What people follow at night agrees with the program: alerts, dashboard and runbook pages name what there is, and nothing is left out.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const RULES: &str = "docs/deploy/prometheus/dtrotate.rules.yml";
const DASHBOARD: &str = "docs/deploy/grafana/dtrotate.json";
const RUNBOOKS: &str = "docs/runbooks";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    let path = root().join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names of the pages that begin with `start`, without `.md`.
fn pages(start: &str) -> BTreeSet<String> {
    let files = fs::read_dir(root().join(RUNBOOKS)).expect("the runbook");
    let names = files.map(|file| {
        file.expect("a file")
            .file_name()
            .into_string()
            .expect("a name")
    });
    names
        .filter(|name| name.starts_with(start))
        .map(|name| name.strip_suffix(".md").expect("a page").to_owned())
        .collect()
}

/// Every word of `text` that begins with `start`: letters, digits and `_`.
fn words(text: &str, start: &str) -> BTreeSet<String> {
    let of_a_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let all = text.split(|c| !of_a_name(c));
    all.filter(|word| word.starts_with(start))
        .map(str::to_owned)
        .collect()
}

fn alerts() -> BTreeSet<String> {
    let lines = read(RULES);
    let named = lines
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    named.map(str::to_owned).collect()
}

#[test]
fn every_alert_has_a_page_and_every_page_an_alert() {
    let alerts = alerts();
    assert!(alerts.len() > 10, "{alerts:?}");
    assert_eq!(alerts, pages("Dtrotate"));
    let rules = read(RULES);
    for alert in &alerts {
        let address = format!("runbook_url: https://runbooks.example.com/dtrotate/{alert}.md");
        assert!(rules.contains(&address), "{alert} has no {address}");
    }
}

#[test]
fn every_reason_of_a_stuck_rotation_has_a_page() {
    let source = read("rotation/src/reason.rs");
    let arms = source.lines().filter_map(|line| {
        let (_, word) = line.trim().strip_prefix("Reason::")?.split_once("=> \"")?;
        Some(format!(
            "stuck-{}",
            word.trim_end_matches("\",").replace('_', "-")
        ))
    });
    let reasons: BTreeSet<String> = arms.collect();
    assert!(reasons.contains("stuck-token-disabled"), "{reasons:?}");
    assert_eq!(reasons, pages("stuck-"));
}

#[test]
fn every_page_says_what_is_needed_at_night() {
    let index = read(&format!("{RUNBOOKS}/README.md"));
    for page in pages("Dtrotate").union(&pages("stuck-")) {
        let text = read(&format!("{RUNBOOKS}/{page}.md"));
        for part in [
            "Meaning",
            "Impact",
            "Diagnosis",
            "What to do",
            "When to escalate",
        ] {
            let (_, after) = text
                .split_once(&format!("\n## {part}\n\n"))
                .unwrap_or_else(|| panic!("{page} has no part \"{part}\""));
            assert!(
                after.trim_start().len() > 20 && !after.starts_with("##"),
                "{page}: {part}"
            );
        }
        assert!(text.contains("\n```\n"), "{page} has no command");
        assert!(
            index.contains(&format!("({page}.md)")),
            "README.md does not name {page}"
        );
    }
}

#[test]
fn links_between_pages_lead_somewhere() {
    let runbooks = pages("").into_iter();
    let runbooks = runbooks.map(|page| format!("{RUNBOOKS}/{page}.md"));
    for page in runbooks.chain(guides()) {
        let text = read(&page);
        let here = root().join(&page);
        for link in text.split("](").skip(1) {
            let link = link.split([')', '#']).next().expect("a link");
            if link.is_empty() || link.contains("://") {
                continue;
            }
            let target = here.parent().expect("a folder").join(link);
            assert!(Path::exists(&target), "{page}: {link}");
        }
    }
}

#[test]
fn the_index_names_every_page() {
    let index = read("docs/README.md");
    for page in guides() {
        let name = page.trim_start_matches("docs/");
        let listed = index.contains(&format!("({name})"));
        assert!(listed || name == "README.md", "{page}");
    }
    assert!(index.contains("(commands.md)"));
}

#[test]
fn alerts_dashboard_and_pages_name_exported_metrics() {
    let exported: BTreeSet<&str> = dtrotate::ops::metrics::names().collect();
    for file in [
        RULES,
        "docs/deploy/prometheus/dtrotate.tests.yml",
        DASHBOARD,
    ] {
        let named = words(&read(file), "dtrotate_");
        assert!(named.len() >= 10, "{file} names {named:?}");
        for name in &named {
            let bare = name.trim_end_matches("_bucket");
            assert!(
                exported.contains(bare),
                "{file} names {name}, which nobody exports"
            );
        }
    }
    for page in pages("") {
        for name in words(&read(&format!("{RUNBOOKS}/{page}.md")), "dtrotate_") {
            assert!(exported.contains(name.as_str()), "{page} names {name}");
        }
    }
}

#[test]
fn every_event_that_needs_a_human_is_somewhere_in_the_runbook() {
    let others = read(&format!("{RUNBOOKS}/DtrotateNeedsHuman.md"));
    let rules = read(RULES);
    for event in rotation::event::EventName::ALL {
        if event.level() == rotation::event::Level::Error {
            let word = event.as_str();
            let of_its_own = words(&rules, word).contains(word);
            assert!(
                of_its_own || others.contains(&format!("| `{word}` |")),
                "{word}"
            );
        }
    }
}

#[test]
fn the_dashboard_is_whole() {
    let dashboard: serde_json::Value = serde_json::from_str(&read(DASHBOARD)).expect("JSON");
    assert_eq!(dashboard["uid"], "dtrotate");
    assert!(dashboard["id"].is_null() && dashboard["schemaVersion"].is_u64());
    let panels = dashboard["panels"].as_array().expect("panels");
    assert!(panels.len() > 10);
    for panel in panels {
        assert!(
            panel["fieldConfig"]["defaults"]["unit"].is_string(),
            "{panel}"
        );
        assert!(
            panel["description"]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{panel}"
        );
        for target in panel["targets"].as_array().expect("targets") {
            let expression = target["expr"].as_str().expect("an expression");
            assert!(!words(expression, "dtrotate_").is_empty(), "{expression}");
        }
    }
}

/// What stands in code on a page: whole lines between fences, and what is between two backticks in the other lines.
fn code(page: &str) -> Vec<String> {
    let (mut all, mut fenced) = (Vec::new(), false);
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            all.push(line.to_owned());
        } else {
            all.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    all
}

/// The pages for users: those of `docs/` but for `docs/commands.md`, which describes forms of commands, and the README.
fn guides() -> Vec<String> {
    let files = fs::read_dir(root().join("docs")).expect("docs");
    let names = files.map(|file| file.expect("a file").file_name());
    let names = names.map(|name| name.into_string().expect("text"));
    let pages = names.filter(|name| name.ends_with(".md") && name != "commands.md");
    let pages = pages.map(|name| format!("docs/{name}"));
    pages.chain(["README.md".to_owned()]).collect()
}

#[test]
fn every_block_of_commands_is_run_by_a_check() {
    let checks = fs::read_dir(root().join("tests/packaging")).expect("the checks");
    let checks = checks.map(|file| file.expect("a file").path());
    let checks = checks.filter(|file| file.extension().is_some_and(|end| end == "sh"));
    let checks: String = checks
        .map(|file| fs::read_to_string(file).expect("a check"))
        .collect();
    let run: BTreeSet<&str> = checks
        .split("tried ")
        .skip(1)
        .filter_map(|rest| {
            rest.split(|c: char| !c.is_ascii_lowercase() && c != '-')
                .next()
        })
        .filter(|name| !name.is_empty())
        .collect();
    let (followed, mut marks) = (read("tests/e2e/pages.rs"), 0);
    for page in guides() {
        let (mut mark, mut section) = ("", "");
        let text = read(&page);
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            section = line.strip_prefix("## ").unwrap_or(section);
            if line == "```sh" {
                let whole_page = followed.contains(&format!("follows(\"{page}\")"));
                let one_section = followed.contains(&format!("\"{page}\""))
                    && followed.contains(&format!("\"{section}\", "));
                let is_followed = mark.is_empty() && (whole_page || one_section);
                assert!(
                    run.contains(mark) || is_followed,
                    "{page}, {section}: {mark}"
                );
                marks += 1;
            }
            let name = line.strip_prefix("<!-- tried: ");
            mark = name.map_or("", |name| name.trim_end_matches(" -->"));
        }
    }
    assert!(marks > 20, "{marks}");
}

#[test]
fn commands_name_what_there_is() {
    let events = rotation::event::EventName::ALL;
    let pages = pages("").into_iter();
    let files = pages.map(|page| format!("{RUNBOOKS}/{page}.md"));
    let mut seen = 0;
    for file in files.chain(guides()) {
        for line in code(&read(&file)) {
            let at = format!("{file}: {line}");
            let named = line
                .split_whitespace()
                .filter_map(|word| word.strip_prefix("EVENT="));
            for name in named {
                assert!(events.iter().any(|event| event.as_str() == name), "{at}");
                seen += 1;
            }
            // The lines of the unit are sentences; the words for machines are in their fields.
            let greps = line.starts_with("journalctl -u") && line.contains("| grep");
            assert!(!greps, "{at}");
            // What it does may follow, after a `#` or in a second column.
            let command = line.split(['#', '|', ';']).next().expect("a command");
            let command = command.split("  ").next().expect("a command");
            if command.starts_with("dtrotate ") {
                let words: Vec<&str> = command.split_whitespace().collect();
                let parsed = dtrotate::cli::command_line().try_get_matches_from(&words);
                // `--help` and `--version` end the parsing without being wrong; prose may name a command without its arguments.
                let incomplete = clap::error::ErrorKind::MissingRequiredArgument;
                let wrong = parsed.is_err_and(|error| {
                    error.use_stderr() && (error.kind() != incomplete || words.len() > 2)
                });
                assert!(!wrong, "{at}");
                seen += 1;
            }
        }
    }
    assert!(seen > 50, "{seen}");
}
