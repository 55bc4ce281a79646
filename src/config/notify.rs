//! `[notify]`: whom to tell of troubles. A way is on when its file is named; both hold a secret, which never stands in a configuration.

use std::collections::BTreeMap;
use std::time::Duration;

use super::credential::read;
use super::login::refuse_inline;
use super::problem::{Placed, Problem};
use super::reading::did_you_mean;
use super::section::Section;
use super::services::{self, Surroundings};
use super::settings::{Environment, Notify, NotifyDynatrace, NotifyWebhook};
use super::url;
use rotation::token::TokenValue;

/// `[notify]`
pub(super) fn notify(
    section: Section<'_>,
    environments: &BTreeMap<String, Environment>,
    names: &[String],
    around: &Surroundings<'_>,
) -> Notify {
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
    let named = section.text("environment");
    let token = file(&section, "token_file", "token", around);
    let token = token.and_then(|written| around.credential(&written, true));
    let environment = match &named {
        Some(name) if !names.contains(&name.value) => {
            unknown(name, names, around);
            None
        }
        Some(name) => environments.get(&name.value),
        None if section.is_empty() || names.len() < 2 => environments.values().next(),
        None => {
            let all = names.join(", ");
            section.missing(&format!(
                "[notify.dynatrace] names no environment, and there are several: {all}"
            ));
            None
        }
    };
    section.finish();
    Some(NotifyDynatrace {
        environment: environment?.clone(),
        token: token?,
    })
}

fn unknown(name: &Placed<String>, names: &[String], around: &Surroundings<'_>) {
    if around.reading.is_incomplete() || names.is_empty() {
        return;
    }
    let message = format!("the environment \"{}\" is not configured", name.value);
    let meant = did_you_mean(&name.value, names.iter().map(String::as_str));
    let help = meant.unwrap_or_else(|| format!("environments: {}", names.join(", ")));
    let problem = Problem::new(&name.place, message);
    around.reading.problem(problem.help(help));
}

fn webhook(section: Section<'_>, around: &Surroundings<'_>) -> Option<NotifyWebhook> {
    let allow_http = section.boolean("allow_http").is_some_and(|flag| flag.value);
    let written = file(&section, "url_file", "url", around);
    let url = written.and_then(|written| {
        let url = around.credential(&written, true)?;
        if !around.options.offline
            && let Ok(value) = url.read()
            && let Err(why) = url::webhook(value.expose(), allow_http)
        {
            around.problem(&written.place, format!("{} {why}", url.origin()));
        }
        Some(url)
    });
    let ca_file = around.certificates(&section);
    let proxy = services::proxy(&section);
    let timeout = section.length_or("timeout", Duration::from_secs(10));
    section.finish();
    Some(NotifyWebhook {
        url: url?,
        allow_http,
        ca_file,
        proxy,
        timeout,
    })
}

/// The key that turns a way on: it names the file. `inline` is the key of the secret itself, which is refused.
fn file(
    section: &Section<'_>,
    key: &'static str,
    inline: &'static str,
    around: &Surroundings<'_>,
) -> Option<Placed<String>> {
    refuse_inline(section, around, inline, key);
    let written = section.text(key);
    if written.is_none() && !section.is_empty() && !section.has(key) && !section.has(inline) {
        section.missing(&format!("nobody is told by this way without {key}"));
    }
    let written = written?;
    if written.value.contains("://") {
        let what = format!("{key} holds a web address instead of the name of a file");
        around.problem(&written.place, what);
        return None;
    }
    Some(written)
}

/// Reads the URL of a webhook.
///
/// # Errors
/// A sentence that names the file and nothing of its content.
pub fn webhook_url(webhook: &NotifyWebhook) -> Result<TokenValue, String> {
    let url = read(&webhook.url)?;
    match url::webhook(url.expose(), webhook.allow_http) {
        Ok(()) => Ok(url),
        Err(why) => Err(format!("{} {why}", webhook.url.origin())),
    }
}
