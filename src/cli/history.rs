//! `dtrotate history` and `dtrotate upcoming`: what happened to secrets, and what will.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::clock;
use crate::config::{SecretSettings, Settings, parse_duration};
use crate::daemon::{past, upcoming};
use crate::ops::humanize::{hanging, local, relative};
use crate::ops::upcoming::Upcoming;
use crate::sanitize;
use rotation::history::Event;

use super::audit;
use super::output::Output;
use super::rotate::{self, choose};
use super::selection::Selection;
use super::{Arguments, Exit};

/// What to show of the past.
#[derive(clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    selection: Selection,
    /// Show only what happened within this time
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    since: Option<Duration>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// What to show of the future.
#[derive(clap::Args)]
pub(super) struct UpcomingOptions {
    #[command(flatten)]
    selection: Selection,
    /// Show what happens within this time
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = parse_duration)]
    within: Duration,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn history(arguments: &Arguments, options: &Options) -> Result<Exit, Exit> {
    let settings = load(arguments)?;
    let secrets = choose(&options.selection, &settings.secrets)?;
    let read = super::block_on(past::read(&settings, secrets))?;
    let mut events = read.map_err(|error| rotate::complain(&error))?;
    let now = clock::now();
    let since = options
        .since
        .and_then(|length| SignedDuration::try_from(length).ok());
    let begin = since.and_then(|length| now.checked_sub(length).ok());
    events.retain(|(_, event)| begin.is_none_or(|begin| event.at >= begin));
    let document =
        || json!({ "at": now, "events": events.iter().map(event_json).collect::<Vec<_>>() });
    let lines = || {
        events
            .iter()
            .map(|(secret, event)| event_text(secret, event))
            .collect()
    };
    print(options.json, document, lines, "nothing is recorded")
}

pub(super) fn upcoming(arguments: &Arguments, options: &UpcomingOptions) -> Result<Exit, Exit> {
    let settings = load(arguments)?;
    let secrets = choose(&options.selection, &settings.secrets)?;
    let services = pruned_services(&settings, &options.selection);
    let read = upcoming::read(&settings, secrets, &services, options.within);
    let read = super::block_on(read)?;
    let events = read.map_err(|error| rotate::complain(&error))?;
    let now = clock::now();
    let document = || json!({ "at": now, "events": events });
    let zones = settings.secrets.iter();
    let zones = zones.map(|secret| (secret.plan.name.as_str(), secret.zone_name.as_str()));
    let zones: BTreeMap<&str, &str> = zones.collect();
    let lines = || {
        let zone = |one: &Upcoming| {
            one.secret
                .as_deref()
                .and_then(|name| zones.get(name))
                .copied()
        };
        let text = |one| upcoming_text(one, zone(one), now);
        events.iter().map(text).collect()
    };
    print(
        options.json,
        document,
        lines,
        "nothing happens within that time",
    )
}

/// The environments and accounts whose pruned tokens are shown: such a token has neither a name of a secret nor labels.
fn pruned_services(settings: &Settings, selection: &Selection) -> Vec<String> {
    match selection.names.is_empty() && selection.labels.is_empty() {
        true => audit::services(settings, selection.environment.as_deref()).unwrap_or_default(),
        false => vec![],
    }
}

fn load(arguments: &Arguments) -> Result<Settings, Exit> {
    let mut settings = arguments.load(false)?;
    rotate::add_discovered(&mut settings, None)?;
    super::start_log(&settings, "error");
    Ok(settings)
}

fn print(
    json: bool,
    document: impl FnOnce() -> Value,
    lines: impl FnOnce() -> Vec<String>,
    nothing: &str,
) -> Result<Exit, Exit> {
    let output = Output::start().map_err(|error| super::cannot_start(&error))?;
    if json {
        output.json(&document());
    } else {
        let lines = lines();
        match lines.is_empty() {
            true => output.text(format!("{nothing}\n")),
            false => output.text(lines.concat()),
        }
    }
    // That nobody reads it changes nothing.
    let _ = output.finish();
    Ok(Exit::Success)
}

fn event_json((secret, event): &(&SecretSettings, Event)) -> Value {
    json!({
        "at": event.at,
        "secret": secret.plan.name,
        "environment": secret.plan.coordinates.environment,
        "event": event.event,
        "token_id": event.token_id,
        "old_token_id": event.old_token_id,
        "detail": event.detail,
        "by": event.by,
    })
}

fn event_text(secret: &SecretSettings, event: &Event) -> String {
    let head = format!(
        "{}  {}  {}\n",
        local(event.at, Some(&secret.zone_name)),
        secret.plan.name,
        event.event
    );
    let mut text = sanitize::line(head.trim_end()) + "\n";
    let mut line = |head: &str, value: &str| {
        if !value.is_empty() {
            text += &hanging(head, &sanitize::line(value));
        }
    };
    match (&event.old_token_id, &event.token_id) {
        (Some(old), Some(new)) => line("  from  ", &format!("{old} to {new}")),
        (Some(id), None) | (None, Some(id)) => line("  token ", id.as_str()),
        (None, None) => {}
    }
    line("  ", &event.detail);
    line("  by    ", &event.by);
    text
}

/// On the clocks of the secret's zone, as in the status. A pruned token has none.
fn upcoming_text(one: &Upcoming, zone: Option<&str>, now: Timestamp) -> String {
    let pruned = || format!("pruned token of {}", one.environment);
    let head = format!(
        "{}  {:<7} {} ({})",
        local(one.at, zone),
        one.event.as_str(),
        one.secret.clone().unwrap_or_else(pruned),
        match one.at <= now {
            true => "due".to_owned(),
            false => relative(one.at, now),
        }
    );
    let token = one
        .token
        .as_ref()
        .map_or(String::new(), |id| format!("{id}: "));
    let head = sanitize::line(&head) + "\n";
    head + &hanging("  ", &sanitize::line(&format!("{token}{}", one.because)))
}
