//! What a secret's token is to be like: `create`, `token_name`, `scopes`, and `allowed_scopes` of its environment.

use std::collections::HashSet;

use super::context::{Context, did_you_mean};
use super::problem::{Place, Problem};
use super::settings::Environment;
use super::tables::{SecretKeys, SecretOptions};
use super::validate;
use crate::dynatrace::{CLUSTER_SCOPES, SCOPES};
use rotation::plan::{Desired, Kind};
use rotation::token::manages_tokens;

/// The longest name of a token: the marker must fit behind it.
const LONGEST_NAME: usize = 50;

/// The name of one scope.
pub(super) fn scope(text: &str) -> Result<String, String> {
    match text {
        "" => Err("is empty".into()),
        text if text.contains(char::is_whitespace) => {
            Err("has white space in it; each scope is a separate item".into())
        }
        text => validate::visible(text),
    }
}

/// The name of a token, to which dtrotate adds its marker.
pub(super) fn token_name(text: &str) -> Result<String, String> {
    let name = validate::field(text)?;
    if name.chars().count() > LONGEST_NAME {
        return Err(format!(
            "is longer than {LONGEST_NAME} characters, and the marker of dtrotate would not fit behind it"
        ));
    }
    match name.contains("[dtrotate:") {
        true => Err("has a marker of dtrotate in it, which is added automatically".into()),
        false => Ok(name),
    }
}

/// The known scopes of a kind; none = there is no list of them.
fn known(kind: Kind) -> Option<&'static [&'static str]> {
    match kind {
        Kind::Api => Some(SCOPES),
        Kind::Cluster => Some(CLUSTER_SCOPES),
        Kind::Platform | Kind::ActiveGate => None,
    }
}

/// What the configuration says of the token of a secret of this kind. `manages` = it is its environment's management token.
pub(super) fn desired(
    options: &SecretOptions,
    keys: &SecretKeys,
    environment: &Environment,
    (kind, manages): (Kind, bool),
    context: &Context,
) -> Desired {
    let problem = |place: &Place, message: String| context.problem(Problem::new(place, message));
    let mut seen = HashSet::new();
    let scopes = options.scopes.given();
    for scope in scopes.iter().flat_map(|given| &given.value) {
        let name = scope.value.as_str();
        if !seen.insert(name) {
            problem(&scope.place, format!("\"{name}\" is listed twice"));
        }
        let allowed = environment.allowed_scopes.as_ref();
        if let Some(allowed) = allowed.filter(|allowed| !allowed.iter().any(|it| it == name)) {
            let message = format!(
                "\"{name}\" is not among the allowed_scopes of [dynatrace.{}]",
                environment.client.name
            );
            let meant = did_you_mean(name, allowed.iter().map(String::as_str));
            let help = meant.unwrap_or_else(|| "add it there, or leave it out here".to_owned());
            context.problem(Problem::new(&scope.place, message).help(help));
        } else if !manages && manages_tokens(std::slice::from_ref(&scope.value)) {
            let message = format!(
                "\"{name}\" is a right to manage tokens, which is given to an environment's management token alone"
            );
            problem(&scope.place, message);
        } else if let Some(known) = known(kind)
            && !known.contains(&name)
        {
            let meant = did_you_mean(name, known.iter().copied());
            let meant = meant.map_or(String::new(), |meant| format!("; {meant}"));
            let spot = context.spot(&scope.place);
            context.warn(format!(
                "{spot}: \"{name}\" is not a known scope of a token{meant}"
            ));
        }
    }
    let names = || scopes.map(|given| given.value.iter().map(|it| it.value.clone()).collect());
    let names: Option<Vec<String>> = names();
    if let (Some(given), Some(names)) = (scopes, &names)
        && manages
        && !manages_tokens(names)
    {
        let needed = match kind {
            Kind::Cluster => "\"ClusterTokenManagement\"",
            _ => "\"apiTokens.read\" and \"apiTokens.write\"",
        };
        let message = format!(
            "without a right to manage tokens this would no longer be the management token of its environment; add {needed}"
        );
        problem(&given.place, message);
    }
    let create = options.create.value().unwrap_or_default();
    if let Some(given) = options.create.given().filter(|_| create) {
        if keys.discover.is_present() {
            let message =
                "create has no effect with discover: the secrets that discover finds already exist";
            problem(&given.place, message.to_owned());
        } else if manages {
            let message = "the management token itself cannot be created, because it creates all others. Put the first one there by hand";
            problem(&given.place, message.to_owned());
        } else if kind == Kind::Platform {
            let message = "the first platform token cannot be created: its owner and where it may be used are those of the token that is replaced. \
                           Put one there by hand";
            problem(&given.place, message.to_owned());
        } else if !options.scopes.is_present() && kind != Kind::ActiveGate {
            let message = "create requires `scopes`, the rights of the first token";
            problem(&given.place, message.to_owned());
        }
    }
    let none = || (create && kind == Kind::ActiveGate).then(Vec::new);
    Desired {
        name: keys.token_name.value(),
        scopes: names.or_else(none),
        create,
    }
}
