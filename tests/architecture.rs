//! Dependencies between modules point one way, and a type's methods stand beside it. What a crate may use at all, the compiler checks:
//! `rotation/Cargo.toml` cannot name a runtime or an HTTP client.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use syn::visit::Visit;

/// Each module of `src/` with the modules that it may import.
const MAY_IMPORT: &[(&str, &[&str])] = &[
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
            "telemetry",
            "labels",
            "sanitize",
            "clock",
        ],
    ),
    (
        "daemon",
        &[
            "config",
            "schedule",
            "ops",
            "telemetry",
            "bounded_file",
            "credential",
            "labels",
            "clock",
        ],
    ),
    (
        "config",
        &[
            "schedule",
            "vault",
            "dynatrace",
            "ops",
            "http",
            "credential",
            "bounded_file",
            "labels",
            "redact",
            "sanitize",
        ],
    ),
    ("credential", &["bounded_file", "sanitize"]),
    ("schedule", &[]),
    ("dynatrace", &["clock", "credential", "http", "redact"]),
    (
        "vault",
        &["bounded_file", "clock", "credential", "http", "redact"],
    ),
    ("notify", &["http", "labels", "sanitize"]),
    ("ops", &["labels", "sanitize"]),
    ("http", &["bounded_file", "clock", "credential"]),
    ("bounded_file", &[]),
    ("telemetry", &["labels", "redact", "sanitize", "clock"]),
    ("labels", &[]),
    ("sanitize", &["redact"]),
    ("redact", &[]),
    ("clock", &[]),
];

/// The one file that connects adapters to the ports; it may import every module.
const WIRING: &str = "src/daemon/assemble.rs";

/// Crates that only one file or folder may import, and why.
const ONLY_IN: &[(&str, &str)] = &[
    // Its weaknesses are worked around in one place.
    ("tokio_cron_scheduler", "src/schedule/ticker.rs"),
    // The stand-ins belong to the demo and to tests.
    ("simulator", "src/cli/demo/"),
];

/// One source file: the paths it names outside its test modules, the types it defines, the types it has inherent methods for.
#[derive(Default)]
struct Source {
    paths: Vec<Vec<String>>,
    defines: BTreeSet<String>,
    implements: BTreeSet<String>,
}

impl<'ast> Visit<'ast> for Source {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let is_test = item
            .attrs
            .iter()
            .any(|attribute| attribute.path().is_ident("cfg"));
        if !is_test {
            syn::visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        flatten(&item.tree, &mut vec![], &mut self.paths);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.paths.push(
            path.segments
                .iter()
                .map(|part| part.ident.to_string())
                .collect(),
        );
        syn::visit::visit_path(self, path);
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.defines.insert(item.ident.to_string());
        syn::visit::visit_item_struct(self, item);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.defines.insert(item.ident.to_string());
        syn::visit::visit_item_enum(self, item);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if let (None, syn::Type::Path(target)) = (&item.trait_, &*item.self_ty)
            && let Some(name) = target.path.segments.last()
        {
            self.implements.insert(name.ident.to_string());
        }
        syn::visit::visit_item_impl(self, item);
    }
}

fn flatten(tree: &syn::UseTree, prefix: &mut Vec<String>, paths: &mut Vec<Vec<String>>) {
    match tree {
        syn::UseTree::Path(path) => {
            prefix.push(path.ident.to_string());
            flatten(&path.tree, prefix, paths);
            prefix.pop();
        }
        syn::UseTree::Name(name) => paths.push([&prefix[..], &[name.ident.to_string()]].concat()),
        syn::UseTree::Rename(name) => paths.push([&prefix[..], &[name.ident.to_string()]].concat()),
        syn::UseTree::Glob(_) => paths.push(prefix.clone()),
        syn::UseTree::Group(group) => {
            for tree in &group.items {
                flatten(tree, prefix, paths);
            }
        }
    }
}

/// Every file below `folder` but its tests, by its path from the root of the repository.
fn sources(folder: &str) -> BTreeMap<String, Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut found, mut folders) = (BTreeMap::new(), vec![root.join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let is_test = path.file_stem().is_some_and(|stem| stem == "tests");
            if path.is_dir() && !is_test {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") && !is_test {
                let file = syn::parse_file(&fs::read_to_string(&path).unwrap()).unwrap();
                let mut source = Source::default();
                source.visit_file(&file);
                found.insert(
                    path.strip_prefix(root)
                        .unwrap()
                        .to_str()
                        .unwrap()
                        .to_owned(),
                    source,
                );
            }
        }
    }
    found
}

/// `src/vault/login.rs` is part of the module `vault`.
fn module_of(file: &str) -> &str {
    let inside = file.split_once("src/").map_or(file, |(_, inside)| inside);
    inside.split(['/', '.']).next().unwrap_or(inside)
}

/// What breaks the table of imports in this file.
fn forbidden(file: &str, source: &Source) -> Vec<String> {
    let own = module_of(file);
    let allowed = MAY_IMPORT.iter().find(|(name, _)| *name == own);
    let mut problems = vec![];
    for path in &source.paths {
        let target = match path.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["crate" | "dtrotate", target, ..] => target,
            [first, ..] => {
                let rule = ONLY_IN.iter().find(|(name, _)| *name == first);
                if rule.is_some_and(|(_, place)| !file.starts_with(place)) {
                    problems.push(format!(
                        "{file}: only {} may import {first}",
                        rule.unwrap().1
                    ));
                }
                continue;
            }
            [] => continue,
        };
        let is_module = MAY_IMPORT.iter().any(|(name, _)| *name == target);
        let fine = target == own
            || !is_module
            || file == WIRING
            || allowed.is_some_and(|(_, may)| may.contains(&target));
        if !fine {
            problems.push(format!("{file}: {own} may not import {target}"));
        }
    }
    problems.sort();
    problems.dedup();
    problems
}

#[test]
fn modules_import_only_what_the_table_allows() {
    let sources = sources("src");
    assert!(
        sources.len() > 100,
        "only {} files were found",
        sources.len()
    );
    let unknown = sources.keys().filter(|file| {
        let module = module_of(file);
        module != "lib" && !MAY_IMPORT.iter().any(|(name, _)| *name == module)
    });
    let mut problems: Vec<String> = unknown
        .map(|file| format!("{file}: add its module to the table"))
        .collect();
    problems.extend(
        sources
            .iter()
            .flat_map(|(file, source)| forbidden(file, source)),
    );
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn the_simulator_shares_no_code_with_the_program() {
    for (file, source) in sources("simulator/src") {
        let shared = source.paths.iter().find(|path| {
            path.first()
                .is_some_and(|first| first == "dtrotate" || first == "rotation")
        });
        assert!(shared.is_none(), "{file} imports {shared:?}");
    }
}

/// The file of a crate that a path leads to, for `crate::a::b::T` and `super::b::T`.
fn target<'a>(
    files: &'a BTreeMap<String, Source>,
    root: &str,
    from: &str,
    path: &[String],
) -> Option<&'a str> {
    let inside = from.strip_prefix(root)?.trim_start_matches('/');
    let folder = inside.rsplit_once('/').map_or("", |(folder, _)| folder);
    let (base, rest) = match path.first()?.as_str() {
        "crate" => ("", &path[1..]),
        "super" => (folder, &path[1..]),
        _ => return None,
    };
    let parts = base
        .split('/')
        .filter(|part| !part.is_empty())
        .map(str::to_owned);
    let parts: Vec<String> = parts.chain(rest.iter().cloned()).collect();
    (1..=parts.len()).rev().find_map(|length| {
        let file = format!("{root}/{}.rs", parts[..length].join("/"));
        files.get_key_value(&file).map(|(file, _)| file.as_str())
    })
}

/// A circle of imports through `file`, if there is one.
fn circle(imports: &BTreeMap<&str, BTreeSet<&str>>, file: &str) -> Option<Vec<String>> {
    let (mut seen, mut open) = (BTreeSet::new(), vec![vec![file]]);
    while let Some(way) = open.pop() {
        for next in imports.get(way[way.len() - 1]).into_iter().flatten() {
            if *next == file {
                return Some(way.iter().map(|&file| file.to_owned()).collect());
            }
            if seen.insert(*next) {
                open.push([&way[..], &[*next]].concat());
            }
        }
    }
    None
}

#[test]
fn the_files_of_the_centre_form_no_circle_and_methods_stand_beside_their_type() {
    let root = "rotation/src";
    let files = sources(root);
    let imports: BTreeMap<&str, BTreeSet<&str>> = files
        .iter()
        .filter(|(file, _)| !file.ends_with("lib.rs") && !file.ends_with("mod.rs"))
        .map(|(file, source)| {
            let targets = source
                .paths
                .iter()
                .filter_map(|path| target(&files, root, file, path));
            (
                file.as_str(),
                targets.filter(|target| target != file).collect(),
            )
        })
        .collect();
    let dependencies: usize = imports.values().map(BTreeSet::len).sum();
    assert!(dependencies > 100, "only {dependencies} imports were found");
    for file in imports.keys() {
        assert_eq!(circle(&imports, file), None);
    }
    for (file, source) in &files {
        let elsewhere: Vec<_> = source.implements.difference(&source.defines).collect();
        assert!(elsewhere.is_empty(), "{file} has methods of {elsewhere:?}");
    }
    // The test finds one where there is one.
    let turned = BTreeMap::from([("a", BTreeSet::from(["b"])), ("b", BTreeSet::from(["a"]))]);
    assert!(circle(&turned, "a").is_some());
}

/// What this file would be refused for.
fn judge(file: &str, text: &str) -> Vec<String> {
    let mut source = Source::default();
    source.visit_file(&syn::parse_file(text).unwrap());
    forbidden(file, &source)
}

#[test]
fn a_forbidden_import_is_found_however_it_is_written() {
    for (file, text) in [
        ("src/vault/login.rs", "use crate::dynatrace::Client;"),
        (
            "src/vault/login.rs",
            "use crate::{http, config::{Settings, url}};",
        ),
        ("src/ops/page.rs", "fn f() { crate::vault::login::f(); }"),
        ("src/ops/page.rs", "fn f(x: &crate::daemon::Daemon) {}"),
        ("src/daemon/mod.rs", "use tokio_cron_scheduler::Job;"),
    ] {
        assert_eq!(judge(file, text).len(), 1, "{file}: {text}");
    }
    for (file, text) in [
        (
            "src/vault/login.rs",
            "use crate::http::Client; use crate::vault::state::State;",
        ),
        (
            "src/daemon/assemble.rs",
            "use crate::{vault, dynatrace, notify};",
        ),
        (
            "src/vault/login.rs",
            "#[cfg(test)] mod tests { use crate::dynatrace::Client; }",
        ),
    ] {
        assert_eq!(judge(file, text), Vec::<String>::new(), "{file}: {text}");
    }
}
