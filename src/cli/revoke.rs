//! `dtrotate revoke` and `dtrotate rotate --compromised`: a leaked token is replaced and ended at once.

use std::collections::BTreeSet;
use std::io::IsTerminal;

use serde_json::Value;

use crate::clock;
use crate::config::{SecretSettings, Settings};
use crate::daemon::foreground::named_token::NamedToken;
use crate::daemon::foreground::{self, Foreground, OpenError};
use crate::daemon::snapshots::{Snapshot, Snapshots};
use crate::ops::humanize::exact;
use crate::sanitize;
use rotation::error::{CallError, ErrorKind};
use rotation::record::Revocation;
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
    let token = TokenId::new(&options.token);
    let started = rotate::start_for_tokens(arguments);
    let (settings, unlisted) = started.map_err(|exit| advise(exit, &token))?;
    super::block_on(async {
        let opened = Foreground::open(&settings, super::instance(), false).await;
        let foreground = opened.map_err(|error| cannot_open(&error, &token))?;
        let read = foreground.snapshots().await;
        let known = read.map_err(|error| cannot_open(&OpenError::Journal(error), &token))?;
        let exit = match &known.with_token(&token)[..] {
            [] => end_unknown(&foreground, &known, &unlisted, &settings, options, &token).await,
            secrets => {
                options.confirm(&question(&token, secrets))?;
                let request = options.request(foreground.user(), &token);
                let orders = secrets.iter().map(|it| (it.secret, request.clone()));
                end_known(&foreground, &known, orders.collect(), options.json).await
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
        let known = foreground.snapshots().await.map_err(journal)?;
        let mut orders = vec![];
        for secret in secrets {
            let snapshot = known.of(&secret.plan.name);
            if let Some(Err(error)) = snapshot.map(|it| &it.held) {
                return Err(journal(error.clone()));
            }
            let Some(token) = snapshot.and_then(Snapshot::token) else {
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
        let exit = end_known(&foreground, &known, orders, json).await;
        foreground.close().await;
        exit
    })?
}

async fn end_known<'a>(
    foreground: &Foreground<'a>,
    known: &Snapshots<'a>,
    orders: Vec<(&'a SecretSettings, RevokeRequest)>,
    json: bool,
) -> Result<Exit, Exit> {
    let results = Results::start(Task::Revoke, json, orders.len())?;
    let work = async |done: &mut dyn FnMut(_)| {
        foreground::revoke::revoke(foreground, orders, known, done).await
    };
    Ok(results.collect(foreground.listener(), work).await)
}

/// What is about to happen, to which secrets.
fn question(token: &TokenId, secrets: &[&Snapshot<'_>]) -> String {
    let now = clock::now();
    let name = |it: &&&Snapshot<'_>| {
        let name = &it.secret.plan.name;
        let pause = it.record.as_ref().and_then(|record| record.paused(now));
        match (it.secret.enabled, pause) {
            (false, _) => format!("{name} (switched off)"),
            (true, Some(pause)) => format!("{name} ({pause})"),
            (true, None) => name.clone(),
        }
    };
    let (current, retiring): (Vec<_>, Vec<_>) = secrets.iter().partition(|it| it.holds(token));
    let list = |all: &[&&Snapshot<'_>]| {
        let names: BTreeSet<String> = all.iter().map(name).collect();
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
    known: &Snapshots<'_>,
    unlisted: &[CallError],
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
    let here = |secret: &SecretSettings| secret.plan.coordinates.environment == *environment;
    let unread = known.unread().find(|(secret, _)| here(secret));
    let doubt = match unread {
        Some((secret, error)) => Some((secret.plan.name.as_str(), error)),
        None => unlisted
            .first()
            .map(|error| ("a secret to discover", error)),
    };
    if let Some((who, error)) = doubt.filter(|_| !options.without_replacement) {
        output::complain(&format!(
            "nothing was changed, because it is not known whether {who} holds {token}: {}. With --without-replacement the token is ended nevertheless",
            error.what
        ));
        return Err(Exit::of(error));
    }
    let failed = |error: CallError| {
        match error.kind {
            ErrorKind::Gone => output::complain(&format!(
                "environment {environment} has no token {token}, so nothing was changed: it was deleted, or it belongs to another environment"
            )),
            _ => output::complain(&error.what),
        }
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
    advise(rotate::complain(error), token)
}

/// What a person does instead while Vault cannot be reached.
fn advise(exit: Exit, token: &TokenId) -> Exit {
    if exit == Exit::Unreachable {
        output::complain(&format!(
            "Nothing was changed. If it cannot wait, disable {token} in Dynatrace now (Access tokens, search for the id); its consumers are locked \
             out until this command succeeds. Run it again when Vault is back: it stores a new token first"
        ));
    }
    exit
}
