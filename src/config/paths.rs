//! Where the tokens of a `[[secret]]` are: `path`, `paths` or `discover`.

use super::context::Context;
use super::problem::{Place, Placed, Problem};
use super::section::Section;
use super::tables::SecretKeys;

/// The path, each of the paths, or the folder.
pub(super) fn paths(
    section: &Section<'_>,
    keys: &SecretKeys,
    context: &Context,
) -> Vec<Placed<String>> {
    let is_folder = keys.discover.is_present();
    if !keys.path.is_present() && !keys.paths.is_present() && !is_folder {
        section.missing(
            "path",
            "this secret has no path: where in Vault is the token to rotate?",
        );
    }
    if let Some(patterns) = keys.exclude.given().filter(|_| !is_folder) {
        let message = "exclude has no effect without discover";
        context.problem(Problem::new(&patterns.place, message));
    }
    if is_folder {
        refuse(
            keys,
            context,
            &["path", "paths", "name", "renamed_from"],
            |key| {
                format!(
                    "{key} is of a secret whose path is known, and discover finds secrets; give this one its own [[secret]]"
                )
            },
        );
        return keys.discover.given().cloned().into_iter().collect();
    }
    let Some(paths) = keys.paths.given() else {
        return keys.path.given().cloned().into_iter().collect();
    };
    refuse(keys, context, &["path"], |_| {
        "a secret has either path or paths; add this one to the list".to_owned()
    });
    refuse(keys, context, &["name", "renamed_from"], |key| {
        format!(
            "{key} belongs to one secret, and paths makes several, each named by its path; give this one its own [[secret]]"
        )
    });
    paths.value.clone()
}

/// Refuses those of these keys that are given.
fn refuse(
    keys: &SecretKeys,
    context: &Context,
    refused: &[&str],
    message: impl Fn(&str) -> String,
) {
    let all: [(&str, Option<&Place>); 4] = [
        ("path", keys.path.given().map(|given| &given.place)),
        ("paths", keys.paths.given().map(|given| &given.place)),
        ("name", keys.name.given().map(|given| &given.place)),
        (
            "renamed_from",
            keys.renamed_from.given().map(|given| &given.place),
        ),
    ];
    for (key, place) in all {
        if let Some(place) = place.filter(|_| refused.contains(&key)) {
            context.problem(Problem::new(place, message(key)));
        }
    }
}
