//! What is generated from the code and kept in the tree is what the code says now. `make docs` writes it.

#[path = "generated/manual.rs"]
mod manual;
#[path = "generated/reference.rs"]
mod reference;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use dtrotate::ops::condition::KINDS;
use rotation::event::{EventName, Level};

/// Compares a file with what it should be; with `WRITE_GENERATED` in the environment it is written instead.
fn keep(file: &str, wanted: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    #[expect(
        clippy::disallowed_methods,
        reason = "the Makefile tells this test to write"
    )]
    let write = env::var_os("WRITE_GENERATED").is_some();
    if write {
        let folder = path.parent().expect("a file in a folder");
        fs::create_dir_all(folder).expect("the folder");
        fs::write(&path, wanted).unwrap_or_else(|error| panic!("{file}: {error}"));
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "{file} is not what the code says; run `make docs` and commit what it changes"
    );
}

/// The text of a file with something else between its two marks.
fn between(file: &str, name: &str, inner: &str) -> String {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect(file);
    let (begin, end) = (
        format!("<!-- {name}: begin -->\n"),
        format!("<!-- {name}: end -->\n"),
    );
    let (head, rest) = text.split_once(&begin).expect("the mark of the beginning");
    let (_, tail) = rest.split_once(&end).expect("the mark of the end");
    format!("{head}{begin}{inner}{end}{tail}")
}

#[test]
fn the_log_page_lists_every_event() {
    let mut table =
        String::from("| event | level | what it means | what to do |\n| --- | --- | --- | --- |\n");
    for event in EventName::ALL {
        let level = match event.level() {
            Level::Debug => "DEBUG",
            Level::Info => "INFO",
            Level::Warn => "WARN",
            Level::Error => "ERROR",
        };
        let cells = [event.meaning(), event.what_to_do()].map(|text| text.replace('|', "\\|"));
        table += &format!(
            "| `{}` | {level} | {} | {} |\n",
            event.as_str(),
            cells[0],
            cells[1]
        );
    }
    keep("docs/logs.md", &between("docs/logs.md", "events", &table));
}

#[test]
fn the_status_page_lists_every_condition() {
    let mut table = String::from(
        "| kind | severity | raised when | resolved when | alert, page in `runbooks/` |\n| --- | --- | --- | --- | --- |\n",
    );
    for kind in KINDS {
        table += &format!(
            "| `{}` | {} | {} | {} | `{}` |\n",
            kind.event.as_str(),
            kind.severity.as_str(),
            kind.raised,
            kind.resolved,
            kind.alert
        );
    }
    let page = between("docs/status.md", "conditions", &table);
    keep("docs/status.md", &page);
}

/// The alerts as the Prometheus Operator wants them.
#[test]
fn the_rules_of_the_kubernetes_base_are_those_of_prometheus() {
    let rules = "docs/deploy/prometheus/dtrotate.rules.yml";
    let rules = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(rules));
    let rules = rules.expect("the rules");
    let (_, groups) = rules.split_once("\ngroups:\n").expect("groups");
    let mut manifest = String::from(
        "# Generated from docs/deploy/prometheus/dtrotate.rules.yml by `make docs`.\napiVersion: monitoring.coreos.com/v1\n\
         kind: PrometheusRule\nmetadata:\n  name: dtrotate\n  labels:\n    app.kubernetes.io/name: dtrotate\nspec:\n  groups:\n",
    );
    for line in groups.lines() {
        manifest += &format!("{}\n", format!("  {line}").trim_end());
    }
    keep("docs/deploy/kubernetes/base/prometheusrule.yaml", &manifest);
}

#[test]
fn no_event_is_written_that_is_not_in_the_vocabulary() {
    let mut found = 0;
    for file in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let text = fs::read_to_string(&file).expect("a source file");
        for (_, rest) in text
            .match_indices("event = \"")
            .map(|(at, mark)| text[at..].split_at(mark.len()))
        {
            let word = rest.split('"').next().unwrap_or_default();
            let known = EventName::ALL.iter().any(|event| event.as_str() == word);
            assert!(known, "{}: {word} is not in the vocabulary", file.display());
            found += 1;
        }
    }
    assert!(found > 0, "nothing was looked at");
}

/// Every Rust file below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder of sources");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => sources(&path),
            false => vec![path],
        })
        .collect()
}

#[test]
fn the_reference_of_the_configuration_is_the_one_of_the_code() {
    keep("config/dtrotate.toml", &reference::toml());
    keep("docs/configuration.md", &reference::page());
    keep("docs/man/dtrotate.toml.5", &reference::manual());
}

#[test]
fn the_schema_beside_the_reference_is_the_one_of_the_code() {
    keep(
        "config/dtrotate.schema.json",
        &format!("{:#}\n", dtrotate::config::schema()),
    );
}

/// The demo is only in a build of its own, so the manual leaves it out.
#[test]
fn the_manual_pages_are_the_ones_of_the_command_line() {
    let mut command = dtrotate::cli::command_line().mut_subcommand("demo", |demo| demo.hide(true));
    command.build();
    let shown = command
        .get_subcommands()
        .filter(|one| !one.is_hide_set() && one.get_name() != "help");
    let pages: BTreeMap<String, String> = shown.chain([&command]).map(manual::page).collect();
    for (name, page) in &pages {
        for section in ["SYNOPSIS", "DESCRIPTION", "EXAMPLES", "EXIT STATUS"] {
            assert!(
                page.contains(&format!(".SH {section}"))
                    || page.contains(&format!(".SH \"{section}\"")),
                "{name}: {section}"
            );
        }
        keep(&format!("docs/man/{name}"), page);
    }
    let folder = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/man"));
    let names = folder
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name());
    let mut kept: BTreeSet<String> = names
        .map(|name| name.into_string().expect("text"))
        .collect();
    kept.retain(|name| name.ends_with(".1"));
    assert_eq!(
        kept,
        pages.into_keys().collect(),
        "a page that no command has"
    );
}

#[test]
fn the_completions_know_every_command() {
    let script = |shell: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_dtrotate"))
            .args(["completions", shell])
            .env_clear()
            .output()
            .expect("dtrotate");
        assert!(output.status.success(), "{shell}");
        String::from_utf8(output.stdout).expect("text")
    };
    let command = dtrotate::cli::command_line();
    let names: Vec<&str> = command
        .get_subcommands()
        .map(clap::Command::get_name)
        .collect();
    assert!(names.len() > 4);
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = script(shell);
        for name in &names {
            assert!(script.contains(name), "{shell}: {name}");
        }
    }
    // A shell that runs it completes `dtrotate rot` and the options of `rotate`.
    let complete = |words: &str, position: usize| {
        let line = format!(
            "{}\nCOMP_WORDS=({words}); COMP_CWORD={position}; _dtrotate dtrotate \"${{COMP_WORDS[{position}]}}\"; echo \"${{COMPREPLY[@]}}\"",
            script("bash")
        );
        let output = Command::new("bash").args(["--norc", "-c", &line]).output();
        String::from_utf8(output.expect("bash").stdout).expect("text")
    };
    assert_eq!(complete("dtrotate rot", 1), "rotate\n");
    assert!(complete("dtrotate rotate --dry", 2).contains("--dry-run"));
}

#[test]
fn the_completions_know_the_names_of_the_configuration() {
    let program = env!("CARGO_BIN_EXE_dtrotate");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("dtrotate.toml");
    let configuration = "[vault]\naddress = \"https://v:8200\"\n[vault.auth]\nmethod = \"token\"\ntoken_file = \"missing\"\n\
         [dynatrace.prod]\nurl = \"https://abc.live.dynatrace.com\"\nauth.path = \"m\"\n[defaults]\nschedule = \"@daily\"\n\
         [[secret]]\npaths = [\"dynatrace/a\", \"dynatrace/b\", \"other\"]\nlabels.team = \"checkout\"\n";
    fs::write(&file, configuration).expect("the configuration");
    let script = Command::new(program).args(["completions", "bash"]).output();
    let script = String::from_utf8(script.expect("dtrotate").stdout).expect("text");
    let complete = |words: &[&str], config: &Path| {
        let words = words.iter().map(|word| format!("'{word}'"));
        let words = words.collect::<Vec<_>>().join(" ");
        let line = format!(
            "{script}\nCOMP_WORDS=('{program}' {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMPREPLY=()\n\
             _dtrotate_from_configuration '{program}' \"${{COMP_WORDS[COMP_CWORD]}}\"; echo \"${{COMPREPLY[@]}}\""
        );
        let output = Command::new("bash")
            .args(["--norc", "-c", &line])
            .env("DTROTATE_CONFIG", config)
            .output()
            .expect("bash");
        String::from_utf8(output.stdout).expect("text")
    };
    let names = |words: &[&str]| complete(words, &file);
    assert_eq!(names(&["rotate", ""]), "dynatrace/a dynatrace/b other\n");
    assert_eq!(names(&["status", "dynatrace/a", "dyn"]), "dynatrace/b\n");
    assert_eq!(names(&["check", "--environment", ""]), "prod\n");
    assert_eq!(names(&["check", "--label", "te"]), "team=checkout\n");
    assert!(names(&["rotate", "--dry"]).contains("--dry-run"));
    // Without a configuration the script is what it was.
    let nowhere = Path::new("/nowhere/dtrotate.toml");
    assert!(!complete(&["rotate", "dyn"], nowhere).contains("dynatrace/"));
    for (shell, call) in [
        ("zsh", ":_dtrotate_from_configuration'"),
        ("fish", "(dtrotate __complete -- "),
    ] {
        let script = Command::new(program).args(["completions", shell]).output();
        let script = String::from_utf8(script.expect("dtrotate").stdout).expect("text");
        assert!(script.contains(call), "{shell}");
    }
}
