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
use super::time_limit::TimeLimit;
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
    let mut limit = TimeLimit::new();
    let started = rotate::start_for_tokens(arguments, Some(&limit));
    let (settings, unlisted) = started.map_err(|exit| advise(exit, &token))?;
    super::block_on(async {
        let opened = limit.read(open(&settings)).await.unwrap_or_else(Err);
        let (foreground, known) = opened.map_err(|exit| advise(exit, &token))?;
        let exit = match &known.with_token(&token)[..] {
            [] => {
                let unknown = Unknown {
                    foreground: &foreground,
                    known: &known,
                    unlisted: &unlisted,
                    settings: &settings,
                };
                unknown.end(options, &token, &mut limit).await
            }
            secrets => {
                limit.ask(|| options.confirm(&question(&token, secrets)))?;
                let request = options.request(foreground.user(), &token);
                let orders = secrets.iter().map(|it| (it.secret, request.clone()));
                end_known(&foreground, &known, orders.collect(), &limit, options.json).await
            }
        };
        foreground.close().await;
        exit
    })?
}

/// Connects, and reads what is known of all secrets.
async fn open(settings: &Settings) -> Result<(Foreground<'_>, Snapshots<'_>), Exit> {
    let opened = Foreground::open(settings, super::instance(), false).await;
    let foreground = opened.map_err(|error| rotate::complain(&error))?;
    let read = foreground.snapshots().await;
    let known = read.map_err(|error| rotate::complain(&OpenError::Journal(error)))?;
    Ok((foreground, known))
}

/// `rotate --compromised`: the tokens that these secrets hold in Vault.
pub(super) fn rotate_compromised(
    settings: &Settings,
    secrets: Vec<&SecretSettings>,
    limit: TimeLimit,
    delete: bool,
    yes: bool,
    json: bool,
) -> Result<Exit, Exit> {
    super::block_on(async {
        let (foreground, known) = limit.read(open(settings)).await??;
        let journal = |error: CallError| rotate::complain(&OpenError::Journal(error));
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
        let exit = end_known(&foreground, &known, orders, &limit, json).await;
        foreground.close().await;
        exit
    })?
}

async fn end_known<'a>(
    foreground: &Foreground<'a>,
    known: &Snapshots<'a>,
    orders: Vec<(&'a SecretSettings, RevokeRequest)>,
    limit: &TimeLimit,
    json: bool,
) -> Result<Exit, Exit> {
    let secrets: Vec<_> = orders.iter().map(|(secret, _)| *secret).collect();
    let results = Results::start(Task::Revoke, json, &secrets)?;
    let tokens = orders.iter().map(|(secret, request)| {
        let token = request.revocation.token.clone();
        (secret.plan.name.as_str(), token)
    });
    let tokens: Vec<_> = tokens.collect();
    let work = async |done: &mut dyn FnMut(_)| {
        foreground::revoke::revoke(foreground, orders, known, done).await
    };
    let listen = foreground.listener();
    let collected = results.collect(foreground, listen, Some(limit.deadline()), work);
    let collected = collected.await?;
    let alive = tokens.iter();
    let alive = alive.filter(|(name, _)| collected.open.contains(*name));
    let alive: BTreeSet<&str> = alive.map(|(_, token)| token.as_str()).collect();
    if !alive.is_empty() {
        advise_by_hand(&alive.into_iter().collect::<Vec<_>>().join(", "));
    }
    Ok(collected.exit)
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

/// A token that no secret knows.
struct Unknown<'a> {
    foreground: &'a Foreground<'a>,
    known: &'a Snapshots<'a>,
    unlisted: &'a [CallError],
    settings: &'a Settings,
}

impl Unknown<'_> {
    /// It is ended where a person says.
    async fn end(
        &self,
        options: &Options,
        token: &TokenId,
        limit: &mut TimeLimit,
    ) -> Result<Exit, Exit> {
        let environment = self.environment(options, token)?;
        let failed = |error: CallError| {
            match error.kind {
                ErrorKind::Gone => output::complain(&format!(
                    "environment {environment} has no token {token}, so nothing was changed: it was deleted, or it belongs to another environment"
                )),
                _ => output::complain(&error.what),
            }
            let exit = Exit::of(&error);
            if exit == Exit::Unreachable {
                advise_by_hand(token.as_str());
            }
            exit
        };
        let in_time = |exit: Exit| {
            advise_by_hand(token.as_str());
            exit
        };
        let named = NamedToken::new(self.foreground, environment, token).map_err(failed)?;
        self.is_unused(options, token, &named)?;
        let looked = limit.read(named.look_up()).await.map_err(in_time)?;
        let info = looked.map_err(failed)?;
        let manages = limit.read(named.manages_tokens()).await.map_err(in_time)?;
        let manages = manages.or_else(|error| {
            let who = "it is a management token";
            match options.without_replacement {
                true => Ok(false),
                false => Err(in_doubt(who, &error)),
            }
        })?;
        if manages {
            output::complain(&format!(
                "{token} is in use as a management token and no secret rotates it: put another one into Vault first, or list it as a [[secret]]"
            ));
            return Err(Exit::Failed);
        }
        limit.ask(|| options.confirm(&describe(&info, environment)))?;
        let ended = limit.read(named.end(options.delete)).await;
        ended.map_err(in_time)?.map_err(failed)?;
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

    /// Where it is.
    fn environment<'o>(&self, options: &'o Options, token: &TokenId) -> Result<&'o str, Exit> {
        let Some(environment) = &options.environment else {
            let mut secrets = self.settings.secrets.iter();
            let is_secret = secrets.any(|secret| secret.plan.name == token.as_str());
            output::complain(&belongs_nowhere(token, is_secret));
            return Err(Exit::Usage);
        };
        if !self.settings.environments.contains_key(environment) {
            output::complain(&format!("there is no environment {environment}"));
            return Err(Exit::Usage);
        }
        Ok(environment)
    }

    /// No secret holds it, as far as the values could be read.
    fn is_unused(
        &self,
        options: &Options,
        token: &TokenId,
        named: &NamedToken<'_>,
    ) -> Result<(), Exit> {
        let here = |secret: &SecretSettings| {
            let environment = &secret.plan.coordinates.environment;
            named.may_be_used_in(environment)
        };
        let unread = self.known.unread().find(|(secret, _)| here(secret));
        let doubt = match unread {
            Some((secret, error)) => Some((secret.plan.name.as_str(), error)),
            None => self
                .unlisted
                .first()
                .map(|error| ("a secret to discover", error)),
        };
        match doubt.filter(|_| !options.without_replacement) {
            Some((who, error)) => Err(in_doubt(&format!("{who} holds {token}"), error)),
            None => Ok(()),
        }
    }
}

/// Someone may need the token that is to be ended.
fn in_doubt(who: &str, error: &CallError) -> Exit {
    output::complain(&format!(
        "nothing was changed, because it is not known whether {who}: {}. With --without-replacement the token is ended nevertheless",
        error.what
    ));
    Exit::of(error)
}

/// What to do about a token that no secret knows and whose environment was not named.
fn belongs_nowhere(token: &TokenId, is_secret: bool) -> String {
    let text = token.as_str();
    let is_dotted = text.starts_with("dt0") && text.contains('.');
    // The id of a token in the legacy format is a UUID.
    let is_uuid = text.len() == 36 && text.bytes().all(|it| it == b'-' || it.is_ascii_hexdigit());
    if is_secret {
        format!(
            "{text} is a secret, and revoke takes the id of a token; to replace the token of the secret and end the old one, run \
             `dtrotate rotate {text} --compromised`"
        )
    } else if is_dotted || is_uuid {
        format!("no secret knows the token {token}; name its environment with --environment")
    } else {
        // It may be the value of a token in the legacy format, so it is not repeated.
        "this is not the id of a token, such as dt0c01.ABCDEFGHIJKLMNOPQRSTUVWX; Dynatrace shows the ids in its list of tokens, and `dtrotate status` \
         those of the secrets"
            .to_owned()
    }
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

/// What a person does when these tokens may still be alive.
fn advise_by_hand(tokens: &str) {
    output::complain(&format!(
        "Not known to be dead: {tokens}. If it cannot wait, disable {tokens} in Dynatrace now (Access tokens, search for the id); consumers whose \
         secret holds no other token yet are locked out until this command succeeds. Run it again when the services answer: it continues from \
         the journal, as a daemon does"
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p7_what_is_not_the_id_of_a_token_is_not_repeated() {
        let says = |text: &str, is_secret| belongs_nowhere(&TokenId::new(text), is_secret);
        for id in ["dt0c01.ABC", "0c0ffee0-aaaa-bbbb-cccc-0123456789ab"] {
            let text = says(id, false);
            assert!(
                text.contains(id) && text.contains("--environment"),
                "{text}"
            );
        }
        let text = says("hello", false);
        assert!(
            text.contains("not the id of a token") && !text.contains("hello"),
            "{text}"
        );
        let text = says("dynatrace/ci", true);
        assert!(text.contains("`dtrotate rotate dynatrace/ci --compromised`"));
    }
}
