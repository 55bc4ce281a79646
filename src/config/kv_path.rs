//! Mounts and paths as the addresses of Vault's API and the output of `vault kv` have them: with the mount or `data/` in front of the path.

use super::context::Context;
use super::file::{Node, Value};
use super::kinds::{KeyType, Kind, VaultPath};
use super::problem::{Place, Problem};

/// What the API of KV version 2 puts between the mount and the path.
const DATA: &str = "data";

/// Finds a path that begins with the mount, with `data/`, or with both.
pub(super) fn check_path(mount: &str, path: &str, place: &Place, context: &Context) {
    let Some(rest) = below(path, mount) else {
        if let Some(rest) = below(path, DATA) {
            context.warn(format!(
                "{}: the path \"{path}\" begins with \"data/\", which Vault's API puts in front of every path; unless there is such a folder, write \"{rest}\"",
                context.spot(place)
            ));
        }
        return;
    };
    match below(rest, DATA) {
        Some(rest) => {
            let message = format!("the path is below the mount \"{mount}\"; write \"{rest}\"");
            context.problem(Problem::new(place, message));
        }
        None => context.warn(format!(
            "{}: the path \"{path}\" repeats the mount \"{mount}\"; unless there is such a folder, write \"{rest}\"",
            context.spot(place)
        )),
    }
}

/// Finds a mount with `data` behind it. Which engines are mounted is not known here, so it may be right.
pub(super) fn check_mount(mount: &str, place: &Place, context: &Context) {
    let real = mount.strip_suffix(DATA);
    if let Some(real) = real.and_then(|real| real.strip_suffix('/')) {
        context.warn(format!(
            "{}: the mount \"{mount}\" ends with \"/data\", which Vault's API puts behind every mount; unless a KV engine is mounted there, write \"{real}\"",
            context.spot(place)
        ));
    }
}

/// The path from a folder on.
fn below<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    path.strip_prefix(folder)?.strip_prefix('/')
}

/// The path of one secret; a list of them belongs to another key.
pub struct OnePath;

impl Kind for OnePath {
    type Value = String;

    fn key_type() -> KeyType {
        VaultPath::key_type()
    }

    fn parse(text: &str, context: &Context) -> Result<String, String> {
        VaultPath::parse(text, context)
    }

    fn read(node: &Node, context: &Context) -> Option<String> {
        if let Value::List(_) = node.value {
            let problem = Problem::new(&node.place, "this must be a string, not a list");
            context.problem(
                problem.help("for several secrets with the same settings write paths = [...]"),
            );
            return None;
        }
        VaultPath::read(node, context)
    }
}
