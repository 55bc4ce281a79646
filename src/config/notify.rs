//! `[notify]`: the channels for notifications. A channel is enabled by setting its file, which holds a credential.

use std::collections::BTreeMap;

use super::context::Context;
use super::problem::Problem;
use super::section::Section;
use super::settings::{Environment, Notify, NotifyDynatrace, NotifyWebhook};
use super::table::{Given, Table};
use super::tables::{NotifyDynatraceTable, NotifyWebhookTable};
use super::transport::{added, transport};
use super::url;
use rotation::token::TokenValue;

/// `[notify]`
pub(super) fn notify(
    section: Section<'_>,
    environments: &BTreeMap<String, Environment>,
    names: &[String],
    context: &Context,
) -> Notify {
    section.has_tables(["dynatrace", "webhook"]);
    let dynatrace = dynatrace(section.table("dynatrace"), environments, names, context);
    let webhook = webhook(section.table("webhook"), context);
    section.finish();
    Notify { dynatrace, webhook }
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
    let webhook = NotifyWebhook {
        url: url.value.clone(),
        allow_http: table.transport.allow_http.or_default(),
        http,
    };
    if let Err(why) = context.look(|| webhook_url(&webhook)) {
        context.problem(Problem::new(&url.place, why));
    }
    Some(webhook)
}

/// A channel is enabled by the key that names its file.
fn check_enabled<T: Clone>(section: &Section<'_>, key: &str, file: &Given<T>) {
    if !section.is_empty() && !file.is_present() {
        let name = section.name();
        section.missing(key, &format!("[{name}] has no effect without {key}"));
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
