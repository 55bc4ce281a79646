//! `dtrotate undo`, `dtrotate forget` and `dtrotate adopt`: what concerns one token of one secret.

use rotation::token::TokenId;

use super::outcome::Task;
use super::rotate::{Results, choose, start};
use super::selection::Selection;
use super::{Arguments, Exit, prune};

/// Which token to bring back.
#[derive(clap::Args)]
pub(super) struct Options {
    /// Name of the secret; none for a token that `dtrotate prune` disabled
    #[arg(required_unless_present = "token")]
    name: Option<String>,
    /// Bring this retiring or pruned token back; needed to undo an undo
    #[arg(long, value_name = "ID")]
    token: Option<String>,
    /// Bring it back although it was revoked
    #[arg(long, requires = "token")]
    yes: bool,
    /// Print what would be done; change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print a JSON document
    #[arg(long)]
    json: bool,
}

/// Which token to drop.
#[derive(clap::Args)]
pub(super) struct ForgetOptions {
    /// Name of the secret
    name: String,
    /// Drop this retiring token
    #[arg(long, value_name = "ID")]
    token: String,
    /// Print a JSON document
    #[arg(long)]
    json: bool,
}

/// Which token to take over.
#[derive(clap::Args)]
pub(super) struct AdoptOptions {
    /// Name of the secret
    name: String,
    /// Id of the token whose value is in Vault
    #[arg(long, value_name = "ID")]
    token: String,
    /// Print what would be done; change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print a JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn undo(arguments: &Arguments, options: &Options) -> Result<Exit, Exit> {
    let Some(name) = &options.name else {
        let token = options.token.as_deref().unwrap_or_default();
        return prune::undo(arguments, token, options.dry_run, options.json);
    };
    let settings = start(arguments, None)?;
    let secret = choose(&Selection::of(name), &settings.secrets)?[0];
    let token = options.token.as_deref().map(TokenId::new);
    let results = Results::start(Task::Undo, options.json, &[secret])?;
    results.run(&settings, options.dry_run, async |foreground, done| {
        done(match token {
            Some(token) if options.yes => foreground.unrevoke(secret, token).await,
            token => foreground.undo(secret, token).await,
        });
    })
}

pub(super) fn forget(arguments: &Arguments, options: &ForgetOptions) -> Result<Exit, Exit> {
    let settings = start(arguments, None)?;
    let secret = choose(&Selection::of(&options.name), &settings.secrets)?[0];
    let token = TokenId::new(&options.token);
    let results = Results::start(Task::Forget, options.json, &[secret])?;
    results.run(&settings, false, async |foreground, done| {
        done(foreground.forget(secret, token).await);
    })
}

pub(super) fn adopt(arguments: &Arguments, options: &AdoptOptions) -> Result<Exit, Exit> {
    let settings = start(arguments, None)?;
    let secret = choose(&Selection::of(&options.name), &settings.secrets)?[0];
    let token = TokenId::new(&options.token);
    let results = Results::start(Task::Adopt, options.json, &[secret])?;
    results.run(&settings, options.dry_run, async |foreground, done| {
        done(foreground.adopt(secret, token).await);
    })
}
