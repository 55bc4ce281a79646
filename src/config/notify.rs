//! `[notify]`: the channels for notifications. A channel is enabled by setting its file, which holds a credential.

use std::collections::{BTreeMap, BTreeSet};

use super::context::{Context, did_you_mean};
use super::kinds::Words;
use super::problem::{Placed, Problem};
use super::section::Section;
use super::settings::{
    Environment, Notify, NotifyDynatrace, NotifyRoute, NotifyWebhook, SecretSettings,
};
use super::table::{Given, Table};
use super::tables::{
    NotifyDynatraceTable, NotifyRouteTable, NotifyWebhookTable, RouteEvent, TokenKind, is_repeated,
};
use super::transport::{added, transport};
use super::url;
use crate::credential::Credential;
use crate::http;
use crate::labels::Labels;
use crate::ops::condition::KINDS;
use rotation::token::TokenValue;

/// `[notify]`
pub(super) fn notify(
    section: Section<'_>,
    environments: &BTreeMap<String, Environment>,
    names: &[String],
    context: &Context,
) -> Notify {
    section.has_tables(["dynatrace", "webhook"]);
    let routes = section.tables_of("route").into_iter().enumerate();
    let routes = routes.filter_map(|(at, section)| {
        let title = format!("route {}", at + 1);
        route(section, title, names, context)
    });
    let routes = routes.collect();
    let dynatrace = dynatrace(section.table("dynatrace"), environments, names, context);
    let webhook = webhook(section.table("webhook"), context);
    section.finish();
    Notify {
        dynatrace,
        webhook,
        routes,
    }
}

fn dynatrace(
    section: Section<'_>,
    environments: &BTreeMap<String, Environment>,
    names: &[String],
    context: &Context,
) -> Option<NotifyDynatrace> {
    let table = NotifyDynatraceTable::read(&section);
    check_enabled(&section, "token_file", &table.token_file);
    let environment = match table.environment.given() {
        Some(name) if !names.contains(&name.value) => {
            context.unknown_environment(name, names);
            None
        }
        Some(name) => environments.get(&name.value),
        None if section.is_empty() || names.len() < 2 => environments.values().next(),
        None => {
            let all = names.join(", ");
            section.missing(
                "environment",
                &format!("[notify.dynatrace] names no environment, and there are several: {all}"),
            );
            None
        }
    };
    let cluster = environment.filter(|it| it.is_cluster() && table.token_file.is_present());
    if let Some(cluster) = cluster {
        let message = format!(
            "a problem is opened in an environment, and \"{}\" is a Managed cluster; name one of its environments",
            cluster.client.name
        );
        section.missing("environment", &message);
    }
    section.finish();
    Some(NotifyDynatrace {
        environment: environment?.clone(),
        token: table.token_file.value()?,
    })
}

fn webhook(section: Section<'_>, context: &Context) -> Option<NotifyWebhook> {
    let table = NotifyWebhookTable::read(&section);
    check_enabled(&section, "url_file", &table.url_file);
    let trust = added(table.ca_file.or_default());
    let http = transport(&section, &table.transport, trust, &[], context);
    section.finish();
    let url = table.url_file.given()?;
    Some(checked(
        url,
        table.transport.allow_http.or_default(),
        http,
        context,
    ))
}

/// A webhook whose URL can be read, as far as files may be looked into.
fn checked(
    url: &Placed<Credential>,
    allow_http: bool,
    http: http::Options,
    context: &Context,
) -> NotifyWebhook {
    let webhook = NotifyWebhook {
        url: url.value.clone(),
        allow_http,
        http,
    };
    if let Err(why) = context.look(|| webhook_url(&webhook)) {
        context.problem(Problem::new(&url.place, why));
    }
    webhook
}

/// `[[notify.route]]`
fn route(
    section: Section<'_>,
    title: String,
    environments: &[String],
    context: &Context,
) -> Option<NotifyRoute> {
    let table = NotifyRouteTable::read(&section);
    let trust = added(table.ca_file.or_default());
    let http = transport(&section, &table.transport, trust, &[], context);
    check_enabled(&section, "url_file", &table.url_file);
    section.finish();
    let events: Vec<RouteEvent> = table
        .events
        .or_default()
        .iter()
        .map(|it| it.value)
        .collect();
    let matched = table.r#match.given();
    let mut labels: BTreeMap<String, String> = matched
        .map(|labels| labels.value.iter())
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let (environment, kind) = (labels.remove("environment"), labels.remove("kind"));
    if let Some(matched) = matched {
        let placed = |value: &String| Placed {
            value: value.clone(),
            place: matched.place.clone(),
        };
        if let Some(name) = environment
            .as_ref()
            .filter(|name| !environments.contains(name))
        {
            context.unknown_environment(&placed(name), environments);
        }
        if let Some(kind) = kind
            .as_ref()
            .filter(|kind| !kinds().any(|known| known == *kind))
        {
            let message = format!("\"{kind}\" is neither a kind of token nor of condition");
            let problem = Problem::new(&matched.place, message);
            let meant = did_you_mean(kind, kinds());
            context.problem(match meant {
                Some(meant) => problem.help(meant),
                None => problem,
            });
        }
    }
    let url = table.url_file.given()?;
    Some(NotifyRoute {
        title,
        labels: Labels::from(labels),
        environment,
        kind,
        conditions: events.contains(&RouteEvent::Condition),
        rotated: events.contains(&RouteEvent::Rotated),
        webhook: checked(url, table.transport.allow_http.or_default(), http, context),
    })
}

/// A route whose labels no secret has gets nothing, most likely because one of them is misspelt.
pub fn warn_of_unused(routes: &[NotifyRoute], secrets: &[&SecretSettings], context: &Context) {
    let labelled = routes.iter().filter(|route| !route.labels.is_empty());
    for route in labelled {
        if secrets.iter().any(|it| it.labels.contain(&route.labels)) {
            continue;
        }
        let wanted = route.labels.iter();
        let wanted = wanted.map(|(name, value)| format!("{name}={value}"));
        let wanted = wanted.collect::<Vec<_>>().join(" ");
        let known = secrets.iter().flat_map(|it| it.labels.iter());
        let known: BTreeSet<String> = known
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let meant = did_you_mean(&wanted, known.iter().map(String::as_str));
        let meant = meant.map_or(String::new(), |meant| format!("; {meant}"));
        context.warn(format!(
            "[[notify.route]] number {}: no secret has the label {wanted}, so nothing is posted there{meant}",
            route.title.trim_start_matches("route ")
        ));
    }
}

/// What `kind` of a route may be.
fn kinds() -> impl Iterator<Item = &'static str> {
    let tokens = TokenKind::WORDS.iter().map(|(word, _)| *word);
    tokens.chain(KINDS.iter().map(|kind| kind.event.as_str()))
}

/// A channel is enabled by the key that names its file.
fn check_enabled<T: Clone>(section: &Section<'_>, key: &str, file: &Given<T>) {
    if !section.is_empty() && !file.is_present() {
        let name = match is_repeated(section.name()) {
            true => format!("[[{}]]", section.name()),
            false => format!("[{}]", section.name()),
        };
        section.missing(key, &format!("{name} has no effect without {key}"));
    }
}

/// Reads the URL of a webhook.
///
/// # Errors
/// A sentence that names the file and nothing of its content.
pub fn webhook_url(webhook: &NotifyWebhook) -> Result<TokenValue, String> {
    let url = webhook.url.read().map_err(|error| error.to_string())?;
    match url::webhook(url.expose(), webhook.allow_http) {
        Ok(()) => Ok(url),
        Err(why) => Err(format!("{} {why}", webhook.url.origin())),
    }
}
