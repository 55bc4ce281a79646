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
        assert!(text.contains("\n```sh\n"), "{page} has no command");
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

/// Programs whose name at the beginning of a line makes that line a command.
const PROGRAMS: [&str; 32] = [
    "apt-get",
    "bao",
    "buildah",
    "cargo",
    "cat",
    "chmod",
    "chown",
    "cp",
    "crontab",
    "curl",
    "date",
    "docker",
    "dtrotate",
    "export",
    "git",
    "helm",
    "install",
    "journalctl",
    "jq",
    "kubectl",
    "make",
    "mkdir",
    "podman",
    "simulator",
    "sudo",
    "systemctl",
    "tar",
    "terraform",
    "timedatectl",
    "top",
    "uuidgen",
    "vault",
];

/// Why a block is shown and not run: the name of its mark `<!-- shown: NAME -->`, and the reason.
const SHOWN: [(&str, &str); 3] = [
    (
        "cluster",
        "needs a Kubernetes cluster; tests/packaging/deploy checks the files against their schemas",
    ),
    (
        "docker",
        "needs Docker and base images; tests/packaging/container.sh builds and runs the same with buildah and podman",
    ),
    (
        "source",
        "builds the source, which .ci/run does around this test; the demo has tests/e2e/demo.rs",
    ),
];

/// A block between two fences.
struct Block {
    page: String,
    /// The heading above it.
    section: String,
    /// What its mark says: `<!-- WORD: NAME -->` in the line above the fence.
    mark: Option<(String, String)>,
    /// The word behind the fence; empty = none.
    language: String,
    lines: Vec<String>,
}

fn blocks(page: &str, text: &str) -> Vec<Block> {
    let (mut all, mut section, mut mark) = (Vec::new(), "", None);
    let mut open: Option<Block> = None;
    for line in text.lines().map(str::trim) {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => {
                open = Some(Block {
                    page: page.to_owned(),
                    section: section.to_owned(),
                    mark: mark.take(),
                    language: language.to_owned(),
                    lines: Vec::new(),
                });
            }
            (Some(_), Some(_)) => all.extend(open.take()),
            (Some(block), None) => block.lines.push(line.to_owned()),
            (None, None) if line.is_empty() => {}
            (None, None) => {
                section = line.strip_prefix("## ").unwrap_or(section);
                let comment = line
                    .strip_prefix("<!-- ")
                    .and_then(|rest| rest.strip_suffix(" -->"));
                let words = comment.and_then(|comment| comment.split_once(": "));
                mark = words.map(|(word, name)| (word.to_owned(), name.to_owned()));
            }
        }
    }
    all
}

/// The blocks of all pages for users and of the runbook.
fn all_blocks() -> Vec<Block> {
    let runbooks = pages("").into_iter();
    let runbooks = runbooks.map(|page| format!("{RUNBOOKS}/{page}.md"));
    let pages = guides().into_iter().chain(runbooks);
    pages
        .chain(["docs/commands.md".to_owned()])
        .flat_map(|page| blocks(&page, &read(&page)))
        .collect()
}

/// The text of all files of a folder whose names end like this.
fn texts(folder: &str, end: &str) -> String {
    let files = fs::read_dir(root().join(folder)).expect(folder);
    let files = files.map(|file| file.expect("a file").path());
    let files = files.filter(|file| file.extension().is_some_and(|is| is == end));
    files
        .map(|file| fs::read_to_string(file).expect("a check"))
        .collect()
}

#[test]
fn every_command_is_in_a_block_of_commands() {
    let mut wrong = Vec::new();
    for block in all_blocks()
        .iter()
        .filter(|block| block.language.is_empty())
    {
        for line in &block.lines {
            let program = line.split_whitespace().next().unwrap_or_default();
            // What a command prints may begin with a program's name: `dtrotate 0.2.0`.
            if PROGRAMS.contains(&program) {
                wrong.push(format!("{}: {line}", block.page));
            }
        }
    }
    assert!(wrong.is_empty(), "not marked `sh`:\n{}", wrong.join("\n"));
}

#[test]
fn every_block_of_commands_is_run_by_a_check() {
    let packaging = texts("tests/packaging", "sh");
    let without_spaces = |text: &str| text.replace(char::is_whitespace, "");
    let e2e = without_spaces(&texts("tests/e2e", "rs"));
    let tried: BTreeSet<&str> = packaging
        .split("tried ")
        .skip(1)
        .filter_map(|rest| {
            rest.split(|c: char| !c.is_ascii_lowercase() && c != '-')
                .next()
        })
        .filter(|name| !name.is_empty())
        .collect();
    let simulator = read("simulator/src/bin/simulator/main.rs");
    let (mut wrong, mut shown) = (Vec::new(), BTreeSet::new());
    let blocks = all_blocks();
    let commands = blocks.iter().filter(|block| block.language == "sh");
    for block in commands.clone() {
        let page = &block.page;
        let name = page.trim_start_matches("docs/");
        let mark = block.mark.as_ref();
        let mark = mark.map(|(word, name)| (word.as_str(), name.as_str()));
        let is_run = match mark {
            Some(("tried", name)) => tried.contains(name),
            Some(("shown", name)) => {
                shown.insert(name.to_owned());
                SHOWN.iter().any(|(known, _)| *known == name)
            }
            Some(("followed", "message-id")) => true,
            Some(("followed", name)) => {
                e2e.contains(&format!("followed(\"{name}\")"))
                    || simulator.contains(&format!("followed: {name} -->"))
            }
            _ => {
                let section = without_spaces(&format!("\"{page}\",\"{}\"", block.section));
                e2e.contains(&format!("follows(\"{page}\")"))
                    || e2e.contains(&format!("types(\"{page}\""))
                    || e2e.contains(&format!("commands(\"{name}\")"))
                    || e2e.contains(&section)
                    || page.starts_with(RUNBOOKS)
            }
        };
        if !is_run {
            wrong.push(format!(
                "{page}, {}: {mark:?} {:?}",
                block.section, block.lines
            ));
        }
    }
    assert!(wrong.is_empty(), "run by no check:\n{}", wrong.join("\n"));
    assert!(commands.count() > 70);
    let known: BTreeSet<String> = SHOWN.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(shown, known);
}

#[test]
fn the_id_of_an_event_is_what_the_page_computes() {
    let blocks = all_blocks();
    let is_it = |block: &&Block| {
        block
            .mark
            .as_ref()
            .is_some_and(|(_, name)| name == "message-id")
    };
    let block = blocks.iter().find(is_it).expect("the block");
    let words: Vec<&str> = block.lines[0].split_whitespace().collect();
    let ["uuidgen", "--sha1", "--namespace", space, "--name", event] = words[..] else {
        panic!("{words:?}");
    };
    let id = uuid::Uuid::new_v5(&space.parse().expect("a UUID"), event.as_bytes());
    assert_eq!(id, dtrotate::telemetry::message_id(event));
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
