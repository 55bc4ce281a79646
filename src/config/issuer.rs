//! Who issues a secret's tokens, and what the kind of its tokens asks of its configuration.

use std::collections::BTreeMap;
use std::time::Duration;

use super::context::Context;
use super::duration;
use super::problem::{Place, Problem};
use super::settings::{Account, Environment, IssuerPlace};
use super::tables::{SecretOptions, TokenKind};
use rotation::plan::{Kind, Lifetime, Verification};

/// In this time an ActiveGate is restarted in the course of things.
const USUAL_RESTART: Duration = Duration::from_secs(7 * 24 * 3600);
const TWO_YEARS: Duration = Duration::from_secs(730 * 24 * 3600);

/// Why this environment has no tokens of this kind.
fn not_there(kind: TokenKind, environment: &Environment) -> Option<String> {
    let name = &environment.client.name;
    let tokens = match kind {
        TokenKind::Api => "API tokens",
        TokenKind::ActiveGate => "ActiveGate tokens",
        TokenKind::Cluster => "cluster tokens",
        TokenKind::Platform => "platform tokens",
    };
    match (kind, environment.is_cluster()) {
        (TokenKind::Cluster, false) => Some(format!(
            "{tokens} are those of a Managed cluster, and \"{name}\" is an environment; set api = \"cluster\" in [dynatrace.{name}], with the \
             address of the cluster"
        )),
        (TokenKind::Cluster, true) => None,
        (_, true) => Some(format!(
            "\"{name}\" is a Managed cluster, which has no {tokens}; set kind = \"cluster\", or name an environment of it"
        )),
        (TokenKind::Platform, false) => None,
        (_, false) if environment.auth.is_some() => None,
        (TokenKind::Api, false) => Some(format!(
            "the environment \"{name}\" has no management token, which {tokens} need: add [dynatrace.{name}.auth], or set kind = \"platform\""
        )),
        (_, false) => Some(format!(
            "the environment \"{name}\" has no management token, which {tokens} need: add [dynatrace.{name}.auth]"
        )),
    }
}

/// Who issues the secret's tokens.
pub(super) fn issuer(
    options: &SecretOptions,
    environment: &Environment,
    accounts: &BTreeMap<String, Account>,
    place: &Place,
    context: &Context,
) -> Option<(Kind, IssuerPlace)> {
    let given = options.kind.given();
    let place = given.map_or(place, |kind| &kind.place);
    let name = &environment.client.name;
    let kind = options.kind.value()?;
    if let Some(message) = not_there(kind, environment) {
        context.problem(Problem::new(place, message));
        return None;
    }
    match kind {
        TokenKind::Api => Some((Kind::Api, environment.issuer())),
        TokenKind::Cluster => Some((Kind::Cluster, environment.issuer())),
        TokenKind::ActiveGate => Some((Kind::ActiveGate, environment.active_gates()?)),
        TokenKind::Platform => {
            let account = environment.account.as_ref();
            let Some(account) = account else {
                let message = match accounts.len() {
                    0 => "platform tokens are managed in an account: add a table such as [account.main]".to_owned(),
                    _ => format!("there are several accounts; set account in [dynatrace.{name}]"),
                };
                context.problem(Problem::new(place, message));
                return None;
            };
            let account = accounts.get(account)?;
            Some((Kind::Platform, account.issuer()))
        }
    }
}

/// What the kind of the secret's tokens asks for; two due times are at least `gap` apart.
pub(super) fn check_kind(
    options: &SecretOptions,
    environment: &Environment,
    (kind, issuer): &(Kind, IssuerPlace),
    gap: Duration,
    place: &Place,
    context: &Context,
) {
    match kind {
        Kind::Platform => check_platform(options, environment, gap, issuer.settle, place, context),
        Kind::ActiveGate => check_active_gate(options, gap, place, context),
        Kind::Api | Kind::Cluster => {}
    }
}

/// Keys that have an effect on one kind of token alone.
pub(super) const OF_ONE_KIND: [&str; 2] = ["verify", "at_max_grace"];

/// Warns of those of [`OF_ONE_KIND`] that a secret of another kind has itself, at these places; in `[defaults]` they are for the secrets of their
/// kind.
pub(super) fn warn_of_other_kinds(
    places: [Option<&Place>; OF_ONE_KIND.len()],
    kind: Kind,
    context: &Context,
) {
    let kinds = [
        (Kind::Platform, "platform"),
        (Kind::ActiveGate, "ActiveGate"),
    ];
    for ((key, place), (of, tokens)) in OF_ONE_KIND.iter().zip(places).zip(kinds) {
        if let Some(place) = place.filter(|_| kind != of) {
            context.warn(format!(
                "{}: {key} has no effect on kind = \"{}\": it is for {tokens} tokens; remove it, or set kind = \"{}\"",
                context.spot(place),
                kind.word(),
                of.word()
            ));
        }
    }
}

/// What an ActiveGate token cannot do, and what is easily overlooked.
fn check_active_gate(options: &SecretOptions, gap: Duration, place: &Place, context: &Context) {
    if let Some(scopes) = options.scopes.given() {
        let message = "ActiveGate tokens have no scopes; remove this";
        context.problem(Problem::new(&scopes.place, message));
    }
    let grace = options.grace.value().unwrap_or_default();
    if grace < USUAL_RESTART {
        let place = options.grace.given().map_or(place, |given| &given.place);
        context.warn(format!(
            "{}: an ActiveGate reads its token when it starts, and its old token is deleted for good after a grace of {}; choose the time in \
                  which every ActiveGate is restarted, such as grace = \"7d\"",
            context.spot(place),
            duration::show(grace)
        ));
    }
    let Some(lifetime) = options.lifetime.given() else {
        return;
    };
    let Lifetime::For(length) = lifetime.value else {
        return;
    };
    let needed = gap + options.max_grace.value().unwrap_or_default();
    let message = if length > TWO_YEARS {
        "ActiveGate tokens live two years at most".to_owned()
    } else if length <= needed {
        format!(
            "lifetime ({}) must exceed gap + max_grace ({})",
            duration::show(length),
            duration::show(needed)
        )
    } else {
        return;
    };
    context.problem(Problem::new(&lifetime.place, message));
}

/// What a platform token needs beside its account.
fn check_platform(
    options: &SecretOptions,
    environment: &Environment,
    gap: Duration,
    settle: Duration,
    place: &Place,
    context: &Context,
) {
    let name = &environment.client.name;
    if environment.environment_id.is_none() {
        let message = format!(
            "the id of the environment \"{name}\" does not show in its url; set environment_id in [dynatrace.{name}]"
        );
        context.problem(Problem::new(place, message));
    }
    let is_tried = options.verify.value() != Some(Verification::Listed);
    if environment.apps_url.is_none() && is_tried {
        let message = format!(
            "where to try platform tokens of the environment \"{name}\" is not known; set apps_url in [dynatrace.{name}], or verify = \"listed\""
        );
        context.problem(Problem::new(place, message));
    }
    let Some(lifetime) = options.lifetime.given() else {
        return;
    };
    let lengths = [options.max_grace.value(), options.quarantine.value()];
    let needed = gap + settle + lengths.into_iter().flatten().sum::<Duration>();
    match lifetime.value {
        Lifetime::Never => {
            let message = "platform tokens always expire; set lifetime to a length such as \"90d\"";
            context.problem(Problem::new(&lifetime.place, message));
        }
        Lifetime::For(length) if length <= needed => {
            let message = format!(
                "lifetime ({}) must exceed gap + max_grace + quarantine + settle ({})",
                duration::show(length),
                duration::show(needed)
            );
            context.problem(Problem::new(&lifetime.place, message));
        }
        _ => {}
    }
}
