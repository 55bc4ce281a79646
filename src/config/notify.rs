//! `[notify]`: the channels for notifications. A channel is enabled by setting its file, which holds a credential.

use std::collections::BTreeMap;

use super::problem::Placed;
use super::section::Section;
use super::services::Surroundings;
use super::settings::{Environment, Notify, NotifyDynatrace, NotifyWebhook};
use super::table::{Given, Table};
use super::tables::{NotifyDynatraceTable, NotifyWebhookTable};
use super::url;
use rotation::token::TokenValue;

/// `[notify]`
pub(super) fn notify(
    section: Section<'_>,
    environments: &BTreeMap<String, Environment>,
    names: &[String],
    around: &Surroundings<'_>,
) -> Notify {
    section.has_tables(&["dynatrace", "webhook"]);
    let dynatrace = dynatrace(section.table("dynatrace"), environments, names, around);
    let webhook = webhook(section.table("webhook"), around);
    section.finish();
    Notify { dynatrace, webhook }
}

fn dynatrace(
    section: Section<'_>,
    environments: &BTreeMap<String, Environment>,
    names: &[String],
    around: &Surroundings<'_>,
) -> Option<NotifyDynatrace> {
    let table = NotifyDynatraceTable::read(&section);
    let token = enabled_by(&section, "token_file", &table.token_file);
    let token = token.and_then(|written| around.credential(written, true));
    let environment = match table.environment.given() {
        Some(name) if !names.contains(&name.value) => {
            around.context.unknown_environment(name, names);
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
    section.finish();
    Some(NotifyDynatrace {
        environment: environment?.clone(),
        token: token?,
    })
}

fn webhook(section: Section<'_>, around: &Surroundings<'_>) -> Option<NotifyWebhook> {
    let table = NotifyWebhookTable::read(&section);
    let allow_http = table.allow_http.or_default();
    let written = enabled_by(&section, "url_file", &table.url_file);
    let url = written.and_then(|written| {
        let url = around.credential(written, true)?;
        if !around.options.offline
            && let Ok(value) = url.read()
            && let Err(why) = url::webhook(value.expose(), allow_http)
        {
            around.problem(&written.place, format!("{} {why}", url.origin()));
        }
        Some(url)
    });
    let ca_file = around.certificates(&table.ca_file);
    section.finish();
    Some(NotifyWebhook {
        url: url?,
        allow_http,
        ca_file,
        proxy: table.proxy.or_default(),
        timeout: table.timeout.or_default(),
    })
}

/// The key that enables a channel by naming its file.
fn enabled_by<'a>(
    section: &Section<'_>,
    key: &str,
    file: &'a Given<String>,
) -> Option<&'a Placed<String>> {
    if !section.is_empty() && !file.is_present() {
        let name = section.name();
        section.missing(key, &format!("[{name}] has no effect without {key}"));
    }
    file.given()
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
