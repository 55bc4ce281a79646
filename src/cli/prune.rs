//! `dtrotate prune`: tokens that no secret holds and nobody needs are disabled, and deleted after a quarantine. The way back is `dtrotate undo --token`.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::config::{Settings, parse_duration, show_duration};
use crate::daemon::foreground::OpenError;
use crate::daemon::prune::command::{Outcome, Plan, Pruner, Restored};
use crate::ops::audit::Audited;
use crate::ops::humanize::{count, exact, hanging, wrapped};
use crate::ops::prune::Selection;
use crate::sanitize;
use rotation::error::CallError;
use rotation::token::TokenId;

use super::audit::{self, formats};
use super::output::{self, Output};
use super::rotate;
use super::stopped;
use super::{Arguments, Exit};

/// Which tokens, and whether to do it.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("which").args(["unused", "owner", "expired"]).required(true).multiple(true))]
pub(super) struct Options {
    /// Tokens that were not used for this long, or never
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    unused: Option<Duration>,
    /// Tokens of this owner, as Dynatrace names them
    #[arg(long, value_name = "OWNER")]
    owner: Option<String>,
    /// Tokens that have expired
    #[arg(long)]
    expired: bool,
    /// Only tokens of this environment and of the account that it uses
    #[arg(long, value_name = "ENVIRONMENT")]
    environment: Option<String>,
    /// Leave tokens alone that were created less than this long ago
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "30d")]
    min_age: Duration,
    /// Include personal tokens
    #[arg(long)]
    personal: bool,
    /// Carry the plan out; without it, nothing is changed
    #[arg(long)]
    yes: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl Options {
    fn selection(&self) -> Selection {
        let length = |length| SignedDuration::try_from(length).unwrap_or(SignedDuration::MAX);
        Selection {
            unused: self.unused.map(length),
            owner: self.owner.clone(),
            expired: self.expired,
            min_age: length(self.min_age),
            personal: self.personal,
        }
    }
}

/// What became of the tokens of a plan so far, by their ids.
type Outcomes = BTreeMap<TokenId, Outcome>;

pub(super) fn prune(arguments: &Arguments, options: &Options) -> Result<Exit, Exit> {
    let (settings, unknown) = rotate::start_for_tokens(arguments, None)?;
    let services = audit::services(&settings, options.environment.as_deref());
    let mut services = services.map_err(|sentence| {
        output::complain(&sentence);
        Exit::Usage
    })?;
    services.retain(|service| settings.may_prune(service));
    if services.is_empty() {
        output::complain(
            "nothing can be pruned there: ActiveGate tokens cannot be disabled, and a cluster's list has tokens that the cluster made for itself",
        );
        return Err(Exit::Usage);
    }
    let output = Output::start().map_err(|error| super::cannot_start(&error))?;
    let exit = super::block_on(async {
        let pruner = open(&settings).await?;
        let exit = run(&pruner, options, &services, &settings, unknown, &output).await;
        pruner.close().await;
        exit
    })?;
    // That nobody reads it changes nothing.
    let _ = output.finish();
    exit
}

async fn open(settings: &Settings) -> Result<Pruner<'_>, Exit> {
    let opened = Pruner::open(settings, super::instance()).await;
    opened.map_err(|error| rotate::complain(&error))
}

async fn run(
    pruner: &Pruner<'_>,
    options: &Options,
    services: &[String],
    settings: &Settings,
    unknown: Vec<CallError>,
    output: &Output,
) -> Result<Exit, Exit> {
    let selection = options.selection();
    let planned = pruner.plan(services, &selection).await;
    let mut plan = planned.map_err(|error| rotate::complain(&OpenError::Journal(error)))?;
    plan.incomplete.extend(unknown);
    if !options.json {
        output.text(text_of(&plan, services));
    }
    let mut outcomes = Outcomes::new();
    let mut exit = Exit::Success;
    for error in &plan.incomplete {
        output::complain(&format!("the plan is incomplete: {}", error.what));
        exit = exit.max(Exit::of(error));
    }
    if options.yes && !plan.incomplete.is_empty() {
        output::complain("nothing was changed: what belongs to a secret is not known for certain");
    } else if options.yes {
        let mut done = |token: &Audited, outcome: Outcome| {
            exit = exit.max(exit_of(&outcome));
            if !options.json {
                let line = sanitize::line(&sentence(token, &outcome, &plan));
                output.text(hanging("  ", &line));
            }
            outcomes.insert(token.info.id.clone(), outcome);
        };
        let mut carried_out = None;
        let work = async { carried_out = Some(pruner.carry_out(&plan, &mut done).await) };
        let begins = |stop, left| output::complain(&stopped::begins(stop, left));
        let stopper = pruner.stopper();
        let stopped = stopper.until_stopped(None, work, begins).await;
        stopped.map_err(|error| super::cannot_start(&error))?;
        match carried_out {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                output::complain(&error.what);
                exit = exit.max(Exit::of(&error));
            }
            None => {
                output::complain(
                    "stopped before the services answered; a running daemon finds out what was disabled and continues",
                );
                exit = exit.max(Exit::Failed);
            }
        }
    }
    match options.json {
        true => output.json(&document(&plan, &outcomes, exit)),
        false => output.text(end(&plan, &outcomes, options, settings)),
    }
    Ok(exit)
}

/// The plan for people: the tokens of each environment, then how many are protected.
fn text_of(plan: &Plan, services: &[String]) -> String {
    let mut text = String::new();
    for service in services {
        let here = |token: &Audited| token.service == *service;
        let chosen = plan.chosen.iter().filter(|(token, _)| here(token));
        let chosen: Vec<_> = chosen.collect();
        let confirmed: Vec<_> = plan.confirmed.iter().filter(|it| here(it)).collect();
        if chosen.is_empty() && confirmed.is_empty() {
            continue;
        }
        if !chosen.is_empty() {
            let head = format!("{service}: {} to disable", count(chosen.len(), "token"));
            text += &hanging("", &sanitize::line(&head));
        }
        for (token, because) in chosen {
            text += &formats::describe(token, because, plan.at);
        }
        if !confirmed.is_empty() {
            let number = count(confirmed.len(), "token");
            let head = format!("{service}: {number} to delete, disabled before");
            text += &hanging("", &sanitize::line(&head));
        }
        for token in confirmed {
            text += &formats::describe(token, "its quarantine is over", plan.at);
        }
        text.push('\n');
    }
    let protected = plan.protected.iter().map(|(why, number)| {
        let number = count(*number, "token");
        format!("{number} left alone: each {}", why.description())
    });
    text + &protected.map(|line| line + "\n").collect::<String>()
}

/// What can be done now.
fn end(plan: &Plan, outcomes: &Outcomes, options: &Options, settings: &Settings) -> String {
    if plan.chosen.is_empty() && plan.confirmed.is_empty() {
        return "nothing to prune\n".to_owned();
    }
    if !options.yes {
        return wrapped(&would(plan, &show_duration(settings.quarantine)), "");
    }
    let disabled = |outcome: &&Outcome| matches!(outcome, Outcome::Disabled(_));
    match outcomes.values().filter(disabled).count() {
        0 => String::new(),
        number => wrapped(
            &format!(
                "{} disabled. `dtrotate undo --token ID` brings one back until it is deleted.",
                count(number, "token")
            ),
            "",
        ),
    }
}

/// What the plan comes to when it is carried out.
fn would(plan: &Plan, quarantine: &str) -> String {
    let is_unmarked = |(token, _): &&(Audited, String)| plan.unmarked.contains(&token.service);
    let unmarked = plan.chosen.iter().filter(is_unmarked).count();
    let mut text = "Nothing was changed.".to_owned();
    if unmarked < plan.chosen.len() {
        text += &format!(
            " With --yes these tokens are disabled and marked; a running daemon (or `dtrotate run --once`) deletes them {quarantine} later."
        );
    }
    if unmarked > 0 {
        text += &format!(
            " With --yes platform tokens are disabled; they cannot be marked, so the same command deletes them, {quarantine} later."
        );
    }
    if !plan.confirmed.is_empty() {
        text += " With --yes what was disabled before is deleted.";
    }
    text
}

fn sentence(token: &Audited, outcome: &Outcome, plan: &Plan) -> String {
    let id = &token.info.id;
    match outcome {
        Outcome::Disabled(until) if plan.unmarked.contains(&token.service) => format!(
            "{id}: disabled; the same command deletes it after {}",
            exact(*until)
        ),
        Outcome::Disabled(until) => {
            format!("{id}: disabled, to be deleted after {}", exact(*until))
        }
        Outcome::Deleted => format!("{id}: deleted"),
        Outcome::Skipped(why) => format!("{id}: left alone: {why}"),
        Outcome::Unclear(error) => format!(
            "{id}: it is not known whether it was disabled; a running daemon finds out: {}",
            error.what
        ),
        Outcome::Failed(error) => format!("{id}: not changed: {}", error.what),
    }
}

fn exit_of(outcome: &Outcome) -> Exit {
    match outcome {
        Outcome::Disabled(_) | Outcome::Deleted | Outcome::Skipped(_) => Exit::Success,
        Outcome::Unclear(error) | Outcome::Failed(error) => Exit::of(error),
    }
}

/// The same for machines.
fn document(plan: &Plan, outcomes: &Outcomes, exit: Exit) -> Value {
    let chosen = plan.chosen.iter();
    let chosen = chosen.map(|(token, because)| (token, because.as_str(), "disable"));
    let confirmed = plan.confirmed.iter();
    let confirmed = confirmed.map(|token| (token, "its quarantine is over", "delete"));
    let tokens = chosen.chain(confirmed).map(|(token, because, action)| {
        let outcome = outcomes.get(&token.info.id);
        let (result, until): (_, Option<Timestamp>) = match outcome {
            None => ("planned", None),
            Some(Outcome::Disabled(until)) => ("disabled", Some(*until)),
            Some(Outcome::Deleted) => ("deleted", None),
            Some(Outcome::Skipped(_)) => ("skipped", None),
            Some(Outcome::Unclear(_)) => ("unclear", None),
            Some(Outcome::Failed(_)) => ("failed", None),
        };
        let mut value = formats::token_json(token);
        value["because"] = because.into();
        value["action"] = action.into();
        value["result"] = result.into();
        value["message"] = outcome.map(|outcome| sentence(token, outcome, plan)).into();
        value["delete_after"] = until.map(|at| at.to_string()).into();
        value
    });
    json!({
        "at": plan.at,
        "installation": plan.installation,
        "tokens": tokens.collect::<Vec<_>>(),
        "protected": plan.protected,
        "incomplete": plan.incomplete.iter().map(|error| &error.what).collect::<Vec<_>>(),
        "exit_status": exit.code(),
    })
}

/// `dtrotate undo --token ID` without a secret: a pruned token is brought back.
pub(super) fn undo(
    arguments: &Arguments,
    token: &str,
    dry_run: bool,
    as_json: bool,
) -> Result<Exit, Exit> {
    let settings = rotate::start(arguments, None)?;
    let id = TokenId::new(token);
    let output = Output::start().map_err(|error| super::cannot_start(&error))?;
    let restored = super::block_on(async {
        let pruner = open(&settings).await?;
        let restored = pruner.restore(&id, dry_run).await;
        pruner.close().await;
        Ok::<_, Exit>(restored)
    })??;
    let (word, message, exit) = match restored {
        Restored::Done {
            enabled,
            before,
            name,
        } => {
            let how = if enabled {
                "enabled"
            } else {
                "disabled, as before"
            };
            let is = if dry_run { "it would be" } else { "it is" };
            let word = if dry_run { "dry_run" } else { "restored" };
            let named = match name {
                None => String::new(),
                Some(name) if name == before => format!(", with the name {name:?}"),
                Some(name) => format!(
                    ", with the name {name:?}, which someone gave it after it was pruned (before that it was {before:?})"
                ),
            };
            (word, format!("{is} {how}{named}"), Exit::Success)
        }
        Restored::Refused(why) => ("failed", why, Exit::Failed),
        Restored::Failed(error) => {
            let exit = Exit::of(&error);
            let word = if exit == Exit::Unreachable {
                "unavailable"
            } else {
                "failed"
            };
            (word, error.what, exit)
        }
    };
    if as_json {
        output.json(&json!({
            "secret": Value::Null, "token": id, "result": word, "message": message, "exit_status": exit.code(),
        }));
    } else {
        let line = sanitize::line(&message);
        output.text(format!("{id}: {word}\n") + &hanging("  ", &line));
    }
    let _ = output.finish();
    Ok(exit)
}
