//! `dtrotate revoke` and `dtrotate rotate --compromised`: a leaked token is replaced and ended at once.

use std::collections::BTreeSet;
use std::io::IsTerminal;

use serde_json::Value;

use crate::clock;
use crate::config::{SecretSettings, Settings};
use crate::daemon::foreground::documents::Documents;
use crate::daemon::foreground::named_token::NamedToken;
use crate::daemon::foreground::{self, Foreground, OpenError};
use crate::ops::humanize::exact;
use crate::sanitize;
use rotation::error::CallError;
use rotation::record::{Record, Revocation};
use rotation::request::RevokeRequest;
use rotation::token::{TokenId, TokenInfo};

use super::outcome::Task;
use super::output::{self, Output};
use super::rotate::{self, Results, ask};
use super::{Arguments, Exit};

/// Which token has leaked.
#[derive(clap::Args)]
pub(super) struct Options {
    /// Id of the leaked token; of a whole value only the id is used
    #[arg(value_name = "TOKEN_ID")]
    token: String,
    /// Environment of a token that no secret knows
    #[arg(long, value_name = "ENVIRONMENT")]
    environment: Option<String>,
    /// Delete it at once, without a quarantine
    #[arg(long)]
    delete: bool,
    /// End it although no other token can be stored: its consumers are locked out
    #[arg(long)]
    without_replacement: bool,
    /// Do not ask; accept rights that only the journal records
    #[arg(long)]
    yes: bool,
    /// Print one JSON document per secret
    #[arg(long)]
    json: bool,
}

impl Options {
    fn request(&self, by: &str, token: &TokenId) -> RevokeRequest {
        RevokeRequest {
            revocation: Revocation {
                delete: self.delete,
                without_replacement: self.without_replacement,
                ..order(by, token)
            },
            accept_recorded_rights: self.yes,
            overrides: true,
        }
    }

    /// A person on a terminal is asked; without one they have said --yes.
    fn confirm(&self, question: &str) -> Result<(), Exit> {
        if self.yes {
            return Ok(());
        }
        if std::io::stdin().is_terminal() {
            return ask(&format!("{}? [y/N] ", sanitize::line(question)));
        }
        output::complain(&format!("{question}: this is done only with --yes"));
        Err(Exit::Usage)
    }
}

fn order(by: &str, token: &TokenId) -> Revocation {
    Revocation {
        token: token.clone(),
        at: clock::now(),
        by: by.to_owned(),
        delete: false,
        without_replacement: false,
        unknown: serde_json::Map::new(),
    }
}

pub(super) fn revoke(arguments: &Arguments, options: &Options) -> Result<Exit, Exit> {
    let settings = rotate::start(arguments)?;
    let token = TokenId::new(&options.token);
    super::block_on(async {
        let opened = Foreground::open(&settings, super::instance(), false).await;
        let foreground = opened.map_err(|error| cannot_open(&error, &token))?;
        let read = foreground.documents().await;
        let documents = read.map_err(|error| cannot_open(&OpenError::Journal(error), &token))?;
        let exit = match documents.with_token(&token)[..] {
            [] => end_unknown(&foreground, &settings, options, &token).await,
            ref secrets => {
                options.confirm(&question(&token, secrets))?;
                let names: Vec<_> = secrets.iter().map(|(secret, _)| *secret).collect();
                let request = options.request(foreground.user(), &token);
                let orders = names.into_iter().map(|secret| (secret, request.clone()));
                end_known(&foreground, &documents, orders.collect(), options.json).await
            }
        };
        foreground.close().await;
        exit
    })?
}

/// `rotate --compromised`: the tokens that these secrets hold in Vault.
pub(super) fn rotate_compromised(
    settings: &Settings,
    secrets: Vec<&SecretSettings>,
    delete: bool,
    yes: bool,
    json: bool,
) -> Result<Exit, Exit> {
    super::block_on(async {
        let opened = Foreground::open(settings, super::instance(), false).await;
        let foreground = opened.map_err(|error| rotate::complain(&error))?;
        let journal = |error: CallError| rotate::complain(&OpenError::Journal(error));
        let documents = foreground.documents().await.map_err(journal)?;
        let mut orders = vec![];
        for secret in secrets {
            let held = foreground.held_in_vault(secret).await.map_err(journal)?;
            let recorded = documents.of(&secret.plan.name).and_then(Record::current_id);
            let Some(token) = held.as_ref().or(recorded) else {
                output::complain(&format!(
                    "{}: there is no token to replace",
                    secret.plan.name
                ));
                return Err(Exit::Failed);
            };
            let request = RevokeRequest {
                revocation: Revocation {
                    delete,
                    ..order(foreground.user(), token)
                },
                accept_recorded_rights: yes,
                overrides: yes,
            };
            orders.push((secret, request));
        }
        let exit = end_known(&foreground, &documents, orders, json).await;
        foreground.close().await;
        exit
    })?
}

async fn end_known<'a>(
    foreground: &Foreground<'a>,
    documents: &Documents<'a>,
    orders: Vec<(&'a SecretSettings, RevokeRequest)>,
    json: bool,
) -> Result<Exit, Exit> {
    let results = Results::start(Task::Revoke, json, orders.len())?;
    let work = async |done: &mut dyn FnMut(_)| {
        foreground::revoke::revoke(foreground, orders, documents, done).await
    };
    Ok(results.collect(foreground.listener(), work).await)
}

/// What is about to happen, to which secrets.
fn question(token: &TokenId, secrets: &[(&SecretSettings, &Record)]) -> String {
    let now = clock::now();
    let name = |(secret, record): &(&SecretSettings, &Record)| {
        let name = &secret.plan.name;
        match (secret.enabled, record.paused(now)) {
            (false, _) => format!("{name} (switched off)"),
            (true, Some(pause)) => format!("{name} ({pause})"),
            (true, None) => name.clone(),
        }
    };
    let (current, retiring): (Vec<_>, Vec<_>) = secrets
        .iter()
        .partition(|(_, record)| record.is_current(token));
    let list = |all: &[&(&SecretSettings, &Record)]| {
        let names: BTreeSet<String> = all.iter().map(|it| name(it)).collect();
        names.into_iter().collect::<Vec<_>>().join(", ")
    };
    match current.is_empty() {
        false => format!("revoke {token}, the current token of {}", list(&current)),
        true => format!("revoke {token}, an old token of {}", list(&retiring)),
    }
}

/// No secret knows the token: it is ended where a person says.
async fn end_unknown(
    foreground: &Foreground<'_>,
    settings: &Settings,
    options: &Options,
    token: &TokenId,
) -> Result<Exit, Exit> {
    let Some(environment) = &options.environment else {
        output::complain(&format!(
            "{token} is a token of no secret; name its environment with --environment"
        ));
        return Err(Exit::Usage);
    };
    if !settings.environments.contains_key(environment) {
        output::complain(&format!("there is no environment {environment}"));
        return Err(Exit::Usage);
    }
    let failed = |error: CallError| {
        output::complain(&error.what);
        Exit::of(&error)
    };
    let named = NamedToken::new(foreground, environment, token).map_err(failed)?;
    let info = named.look_up().await.map_err(failed)?;
    if named.manages_tokens().await {
        output::complain(&format!(
            "{token} is in use as a management token and no secret rotates it: put another one into Vault first, or list it as a [[secret]]"
        ));
        return Err(Exit::Failed);
    }
    options.confirm(&describe(&info, environment))?;
    let ended = named.end(options.delete).await;
    ended.map_err(failed)?;
    let how = if options.delete || !named.can_disable() {
        "deleted"
    } else {
        "disabled"
    };
    let output = Output::start().map_err(|error| super::cannot_start(&error))?;
    if options.json {
        output.json(&serde_json::json!({
            "token": info.id, "environment": environment, "result": "revoked",
            "message": format!("it is {how}"), "secret": Value::Null, "exit_status": 0,
        }));
    } else {
        output.text(format!(
            "{}: revoked\n  it is {how} in environment {environment}\n",
            info.id
        ));
    }
    let _ = output.finish();
    Ok(Exit::Success)
}

/// Who would miss it.
fn describe(info: &TokenInfo, environment: &str) -> String {
    let owner = info.owner.as_deref().unwrap_or("unknown");
    let used = info.last_used.map_or("never".to_owned(), exact);
    format!(
        "revoke {} ({:?}, owner {owner}, last used {used}), a token of environment {environment} that no secret knows",
        info.id, info.name
    )
}

/// Nothing can be done from here: what a person does instead.
fn cannot_open(error: &OpenError, token: &TokenId) -> Exit {
    let exit = rotate::complain(error);
    if exit == Exit::Unreachable {
        output::complain(&format!(
            "Nothing was changed. If it cannot wait, disable {token} in Dynatrace now (Access tokens, search for the id); its consumers are locked \
             out until this command succeeds. Run it again when Vault is back: it stores a new token first"
        ));
    }
    exit
}
