//! The rule of arrows, read from `src/`: which room may name which, and what from outside may come into the centre.
//!
//! `main > cli > daemon > {config, schedule, dynatrace, vault, notify, ops} > rotation`. Whoever needs a new arrow changes the
//! tables here, and says why in `docs/decisions/`. `scan.rs` finds the paths in the text; this file judges them.

#[path = "architecture/scan.rs"]
mod scan;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use scan::Finding;

/// Each room with the rooms that it may name. A room that is not here does not exist.
const ROOMS: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    (
        "cli",
        &[
            "daemon",
            "config",
            "schedule",
            "dynatrace",
            "vault",
            "ops",
            "rotation",
            "telemetry",
            "clock",
        ],
    ),
    (
        "daemon",
        &[
            "config",
            "schedule",
            "ops",
            "rotation",
            "telemetry",
            "clock",
        ],
    ),
    ("config", &["rotation", "schedule"]),
    ("schedule", &["rotation"]),
    ("dynatrace", &["rotation", "http"]),
    ("vault", &["rotation", "http"]),
    ("notify", &["rotation", "http"]),
    ("ops", &["rotation"]),
    ("rotation", &[]),
    ("http", &["clock"]),
    // A line tells of the events of the centre, at the time of the wall clock.
    ("telemetry", &["rotation", "clock"]),
    ("clock", &[]),
];

/// The one file that may name every room: it puts the adapters behind the ports.
const ASSEMBLE: &str = "src/daemon/assemble.rs";

/// Of these at most one in a file: who knows two adapters wires them, and that is done in `ASSEMBLE` alone.
const ADAPTERS: &[&str] = &["dynatrace", "notify", "vault"];

/// Crates that the centre may use. `proptest` is none of the shipped program.
const CENTRE_CRATES: &[&str] = &[
    "std",
    "core",
    "alloc",
    "serde",
    "serde_json",
    "thiserror",
    "jiff",
    "zeroize",
    "proptest",
];

/// Parts of these crates that the centre may not use all the same: time, randomness and effects come in through ports.
const NOT_IN_CENTRE: &[&str] = &[
    "std::env",
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::time::UNIX_EPOCH",
    "jiff::tz::TimeZone::system",
];

/// A place of `ONLY_IN`: modules `tests` in every file.
const TESTS: &str = "tests";

/// Names that only the places behind them may use (a folder ends in `/`), and why.
const ONLY_IN: &[(&str, &[&str], &str)] = &[
    (
        "tokio_cron_scheduler",
        &["src/schedule/ticker.rs"],
        "only the ticker knows the engine, so that its weaknesses are cured in one place",
    ),
    (
        "std::env",
        &[
            "src/main.rs",
            "src/cli/",
            "src/cli.rs",
            "src/config/",
            "src/config.rs",
        ],
        "the environment is read in config and cli and handed on as plain values",
    ),
    (
        "simulator",
        &["src/cli/demo.rs", "src/cli/demo/", TESTS],
        "the stand-ins belong to the demo and to tests alone",
    ),
];

/// What of a room another one may not name, although the arrow is allowed: `config` takes plain types only.
fn plain_only(from: &str, target: &[&str]) -> Option<&'static str> {
    match (from, target) {
        ("config", ["schedule", "calendar", ..]) => None,
        ("config", ["schedule", ..]) => {
            Some("config may name of schedule only `schedule::calendar`")
        }
        (
            "config",
            [
                "rotation",
                "machine" | "runner" | "ports" | "step" | "retry",
                ..,
            ],
        ) => Some("config may name only plain types of rotation"),
        _ => None,
    }
}

/// The room of a file: `src/vault/login.rs` and `src/vault.rs` are `vault`; `lib` is the map of the rooms.
fn room_of(file: &str) -> &str {
    let inside = file.strip_prefix("src/").unwrap_or(file);
    inside
        .split('/')
        .next()
        .unwrap_or(inside)
        .trim_end_matches(".rs")
}

/// All breaks of the rule in one file, each as `file:line: what, and the rule`.
fn judge(file: &str, text: &str, crates: &BTreeSet<String>) -> Vec<String> {
    let room = room_of(file);
    let Some(allowed) = ROOMS
        .iter()
        .find(|(name, _)| *name == room)
        .map(|(_, allowed)| *allowed)
    else {
        return match room {
            "lib" => judge_map(file, text, crates),
            _ => vec![format!(
                "{file}:1: there is no room `{room}` in tests/architecture.rs; give it a place in the rule"
            )],
        };
    };
    let mut breaks = Vec::new();
    let mut adapters = BTreeSet::new();
    for finding in scan::findings(file, text, crates) {
        let mut refuse =
            |why: String| breaks.push(format!("{file}:{}: `{finding}`: {why}", finding.line()));
        match &finding {
            Finding::Inside { path, .. } => {
                let path: Vec<&str> = path.iter().map(String::as_str).collect();
                let Some(target) = path.first().copied() else {
                    refuse(
                        "the crate's root as a whole hides which room is meant; name the room"
                            .into(),
                    );
                    continue;
                };
                if target == room {
                    continue;
                }
                if target == "main" || !ROOMS.iter().any(|(name, _)| *name == target) {
                    refuse(format!(
                        "`{target}` is no room; the crate's root holds rooms and nothing else"
                    ));
                    continue;
                }
                if file == ASSEMBLE {
                    continue;
                }
                if !allowed.contains(&target) {
                    refuse(format!("{room} may name {}, not {target}", one_of(allowed)));
                } else if let Some(why) = plain_only(room, &path) {
                    refuse(why.into());
                }
                if ADAPTERS.contains(&target)
                    && adapters.insert(target.to_owned())
                    && adapters.len() > 1
                {
                    refuse(format!(
                        "two adapters in one file is wiring, which belongs to {ASSEMBLE}"
                    ));
                }
            }
            Finding::Outside { path, in_test, .. } => {
                let joined = path.join("::");
                if let Some((_, places, why)) = ONLY_IN.iter().find(|(name, places, _)| {
                    is_below(&joined, name)
                        && !places
                            .iter()
                            .any(|place| is_place(file, place) || (*place == TESTS && *in_test))
                }) {
                    refuse(format!("{why} ({})", places.join(", ")));
                }
                if room == "rotation" {
                    if !CENTRE_CRATES.contains(&path[0].as_str()) {
                        refuse(format!(
                            "the centre may use {}, nothing else",
                            one_of(CENTRE_CRATES)
                        ));
                    } else if NOT_IN_CENTRE.iter().any(|name| is_below(&joined, name)) {
                        refuse("the centre has no clock, no environment and no effects; let it be told".into());
                    }
                }
            }
            Finding::Now { .. } if room == "rotation" => {
                refuse("in the centre, now is an argument".into())
            }
            Finding::Now { .. } => {}
            Finding::Hidden { .. } => refuse("it hides an arrow from this test".into()),
        }
    }
    breaks
}

/// `lib.rs` declares the rooms; a name handed out there would be a way around the arrows.
fn judge_map(file: &str, text: &str, crates: &BTreeSet<String>) -> Vec<String> {
    let line = |finding: &Finding| {
        format!(
            "{file}:{}: `{finding}`: lib.rs is the map: rooms, and nothing else",
            finding.line()
        )
    };
    scan::findings(file, text, crates)
        .iter()
        .map(line)
        .collect()
}

/// Whether a path is `name` or below it. `std::env::*` and `std::env` are both; `std::environment` is not.
fn is_below(path: &str, name: &str) -> bool {
    path.strip_prefix(name)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn is_place(file: &str, place: &str) -> bool {
    file == place || (place.ends_with('/') && file.starts_with(place))
}

fn one_of(names: &[&str]) -> String {
    if names.is_empty() {
        "no other room".to_owned()
    } else {
        names.join(", ")
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every dependency of the package, as its name is written in paths, and the standard library.
fn crates() -> BTreeSet<String> {
    let manifest: toml::Table =
        toml::from_str(&read(&root().join("Cargo.toml"))).expect("Cargo.toml");
    let tables = ["dependencies", "dev-dependencies", "build-dependencies"];
    let named = tables
        .iter()
        .filter_map(|table| manifest.get(*table)?.as_table())
        .flat_map(toml::Table::keys);
    named
        .map(|name| name.replace('-', "_"))
        .chain(["std", "core", "alloc"].map(String::from))
        .collect()
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The Rust files below a folder, as paths from the repository's root.
fn rust_files(folder: &str) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in
            fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        {
            let path = entry.expect("an entry of a folder").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let path = path.strip_prefix(root()).expect("below the root");
                files.push(path.to_str().expect("a name in UTF-8").replace('\\', "/"));
            }
        }
    }
    files.sort();
    files
}

#[test]
fn arrows_point_one_way() {
    let crates = crates();
    let files = rust_files("src");
    assert!(
        files.iter().any(|file| file == "src/lib.rs"),
        "src/lib.rs was not found: {files:?}"
    );
    let breaks: Vec<String> = files
        .iter()
        .flat_map(|file| judge(file, &read(&root().join(file)), &crates))
        .collect();
    assert!(
        breaks.is_empty(),
        "the rule of arrows is broken:\n{}",
        breaks.join("\n")
    );
}

#[test]
fn the_simulator_shares_nothing_with_the_program() {
    let manifest = read(&root().join("simulator/Cargo.toml"));
    assert!(
        !manifest.contains("dtrotate.workspace") && !manifest.contains("path = \"..\""),
        "{manifest}"
    );
    let manifest: toml::Table = toml::from_str(&manifest).expect("simulator/Cargo.toml");
    for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let named = manifest.get(table).and_then(toml::Value::as_table);
        assert!(
            !named.is_some_and(|named| named.contains_key("dtrotate")),
            "simulator/Cargo.toml: [{table}] dtrotate"
        );
    }
    let files = rust_files("simulator");
    assert!(!files.is_empty(), "no file of the simulator was found");
    let shared: Vec<String> = files
        .iter()
        .filter_map(|file| shared_with_program(file, &read(&root().join(file))))
        .collect();
    assert!(
        shared.is_empty(),
        "the simulator must not share our mistakes:\n{}",
        shared.join("\n")
    );
    assert!(shared_with_program("simulator/src/lib.rs", "use dtrotate::rotation;").is_some());
    assert!(shared_with_program("simulator/src/lib.rs", "use crate::rotation;").is_none());
}

/// Where a file of the simulator names the program's library, or brings in a file that no path shows.
fn shared_with_program(file: &str, text: &str) -> Option<String> {
    let product = BTreeSet::from(["dtrotate".to_owned()]);
    let found = scan::findings(file, text, &product);
    let shared = found
        .iter()
        .find(|it| matches!(it, Finding::Outside { .. } | Finding::Hidden { .. }))?;
    Some(format!("{file}:{}: `{shared}`", shared.line()))
}

/// The test of the test: what must be refused, and what must not.
#[test]
fn forbidden_samples_are_caught() {
    let refused = |file: &str, text: &str| {
        let breaks = judge(file, text, &crates());
        assert!(!breaks.is_empty(), "{file} should not be allowed:\n{text}");
        breaks.join("\n")
    };
    let found = refused(
        "src/rotation/plan.rs",
        "//! crate::vault\n\nuse std::fmt;\nuse crate::vault::Client;\n",
    );
    assert_eq!(
        found,
        "src/rotation/plan.rs:4: `crate::vault::Client`: rotation may name no other room, not vault"
    );

    refused(
        "src/vault/journal.rs",
        "use super::super::dynatrace::Client;",
    );
    refused("src/vault/mod.rs", "use super::{http, ops::Page};");
    refused(
        "src/vault/mod.rs",
        "mod tests { use super::super::config; }",
    );
    refused("src/vault/mod.rs", "use super::*;");
    refused("src/vault/mod.rs", "use crate::*;");
    refused("src/vault/mod.rs", "use crate as us;");
    refused("src/vault/mod.rs", "use crate::Anything;");
    refused(
        "src/vault/mod.rs",
        "fn f() -> crate::clock::Now { todo!() }",
    );
    refused(
        "src/vault/mod.rs",
        "#[serde(with = \"crate::config::duration\")] struct A;",
    );
    refused(
        "src/vault/mod.rs",
        "#[path = \"../config/mod.rs\"] mod stolen;",
    );
    refused("src/vault/mod.rs", "include!(\"../config/mod.rs\");");
    refused(
        "src/vault/mod.rs",
        "extern crate tokio_cron_scheduler as t;",
    );
    refused("src/vault/mod.rs", "use tokio_cron_scheduler::Job;");
    refused("src/vault/mod.rs", "fn f() { ::std::env::var(\"X\"); }");
    refused("src/vault/mod.rs", "use std::{fmt, env::{self, Args}};");
    refused("src/http.rs", "use crate::rotation::TokenValue;");
    refused("src/main.rs", "fn main() { dtrotate::daemon::run() }");
    refused("src/main.rs", "use simulator::Dynatrace;");
    refused("src/lib.rs", "pub mod vault; pub use vault::Client;");
    refused("src/lib.rs", "pub use crate::vault::Client;");
    refused("src/config/mod.rs", "use crate::schedule::ticker::Ticker;");
    refused(
        "src/config/mod.rs",
        "use crate::rotation::{plan::Plan, runner::Runner};",
    );
    refused("src/daemon/workers.rs", "use crate::vault::Client;");
    refused(
        "src/cli/check.rs",
        "use crate::{vault::Client, dynatrace::Issuer};",
    );
    refused("src/vault/mod.rs", "use simulator::Dynatrace;");
    refused("src/newroom/mod.rs", "");
    refused(
        "src/rotation/step.rs",
        "fn f() { let t = Timestamp::now(); }",
    );
    refused(
        "src/rotation/step.rs",
        "use std::time::{Duration, SystemTime};",
    );
    refused("src/rotation/step.rs", "fn f(t: std::time::Instant) {}");
    refused("src/rotation/runner.rs", "#[tokio::test] async fn f() {}");
    refused("src/rotation/runner.rs", "use reqwest;");
    let raw = "fn f() { let s = r#\"a \" quote\"#; let c = '\"'; let l: &'static str = \"\\\"\"; tracing::info!(\"x\"); }";
    refused("src/rotation/runner.rs", raw);
}

#[test]
fn allowed_samples_pass() {
    let allowed = |file: &str, text: &str| {
        let breaks = judge(file, text, &crates());
        assert!(
            breaks.is_empty(),
            "{file} should be allowed:\n{text}\n{}",
            breaks.join("\n")
        );
    };
    allowed(
        "src/main.rs",
        "use std::process::ExitCode; fn main() -> ExitCode { dtrotate::cli::main(std::env::args_os()) }",
    );
    allowed(
        "src/lib.rs",
        "//! The map: [`crate::vault`].\n#![forbid(unsafe_code)]\npub mod vault;\nmod http;\n",
    );
    allowed(
        "src/vault/mod.rs",
        "use crate::rotation::{TokenValue, ports}; use crate::http; use super::vault::login;",
    );
    allowed(
        "src/vault/login.rs",
        "use super::Client; /* crate::ops /* nested */ */ mod tests { use super::*; }",
    );
    allowed(
        "src/vault/login.rs",
        "// use crate::ops;\nconst A: &str = \"see crate::ops there\"; const B: char = '\\'';",
    );
    allowed(
        "src/vault/login.rs",
        "impl<'a> A<'a> { fn f(self) { self.vault(); Self::g(); self.tokio::<u8>(); } }",
    );
    allowed(
        "src/config/mod.rs",
        "use crate::{rotation::plan::Plan, schedule::calendar::Calendar}; use std::env;",
    );
    allowed(
        "src/daemon/assemble.rs",
        "use crate::{config, dynatrace, http, ops, rotation, schedule, vault};",
    );
    allowed(
        "src/schedule/ticker.rs",
        "use tokio_cron_scheduler::JobScheduler; fn f() { Timestamp::now(); }",
    );
    allowed(
        "src/rotation/machine.rs",
        "use std::{fmt, future::Future, time::Duration}; fn f(now: jiff::Timestamp) {}",
    );
    allowed(
        "src/rotation/machine.rs",
        "#[derive(serde::Serialize)] struct A { now: u8 } fn f(w: A) { w.now; }",
    );
    allowed("src/cli/demo.rs", "use simulator::Dynatrace;");
    allowed(
        "src/dynatrace/v2.rs",
        "mod tests { use simulator::Dynatrace; }",
    );
    allowed("src/dynatrace/v2/tests.rs", "use simulator::Dynatrace;");
    allowed(
        "src/main.rs",
        "use dtrotate::cli::Cli; fn main() -> ExitCode { Cli::parse(); ExitCode::SUCCESS }",
    );
    allowed(
        "src/vault/login.rs",
        "const FILTER: &str = \"tokio::sync\"; pub(in crate::vault) fn f() {}",
    );
    allowed(
        "src/vault/login.rs",
        "fn f<'a>() -> impl Sized + use<'a> { r#type::<u8>() }",
    );
    allowed("src/cli/check.rs", "use crate::{vault::Client, daemon};");
}
