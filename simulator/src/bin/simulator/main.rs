//! The simulator as a standalone program: seeds tokens, serves until SIGTERM or SIGINT.
//!
//! It prints addresses, ids and paths of files, never a token's value: values go only into files that the user names.

mod seeding;

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use simulator::{EnvironmentOptions, Options, Simulator};
use tokio::signal::unix::{SignalKind, signal};

/// A stand-in for the Dynatrace token APIs.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Address of the Dynatrace stand-in.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Address of the apps of the first environment, where platform tokens are used; with --account.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen_apps: SocketAddr,
    /// Serves a Managed environment at /e/ID instead of the root; may be repeated.
    #[arg(long = "environment", value_name = "ID")]
    environments: Vec<String>,
    /// Serves an account with this UUID: single sign-on and platform tokens. Needs --client-file.
    #[arg(long, value_name = "UUID", requires = "client_file")]
    account: Option<String>,
    /// Gets JSON {client_id, client_secret, user_uuid} of an OAuth client that may manage platform tokens (mode 0600).
    #[arg(long, value_name = "FILE", requires = "account")]
    client_file: Option<PathBuf>,
    /// Seeds this many platform tokens of a service user; needs --platform-tokens-file.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        requires = "platform_tokens_file"
    )]
    platform_tokens: usize,
    /// Gets a JSON list of {id, name, value} of the seeded platform tokens (mode 0600).
    #[arg(long, value_name = "FILE", requires = "account")]
    platform_tokens_file: Option<PathBuf>,
    /// Platform tokens that one owner may have; 50 for people and 100 for service users unless given.
    #[arg(long, value_name = "N", requires = "account")]
    tokens_per_owner: Option<usize>,
    /// Seconds until an environment refuses a platform token that was made inactive; 300 unless given.
    #[arg(long, value_name = "SECONDS", requires = "account")]
    disable_lag: Option<u64>,
    /// Seeds this many ActiveGate tokens; needs --activegate-tokens-file.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        requires = "activegate_tokens_file"
    )]
    activegate_tokens: usize,
    /// Gets a JSON list of {id, name, value} of the seeded ActiveGate tokens (mode 0600).
    #[arg(long, value_name = "FILE")]
    activegate_tokens_file: Option<PathBuf>,
    /// Also serves the cluster API of Managed; gets the value of a token that manages cluster tokens (mode 0600).
    #[arg(long, value_name = "FILE")]
    cluster_token_file: Option<PathBuf>,
    /// Milliseconds that every Dynatrace request takes before its effect.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    latency: u64,
    /// New tokens get a UUID and an opaque secret, as before Dynatrace 1.210.
    #[arg(long)]
    legacy_format: bool,
    /// The management token's value: read from this file if it is there, else drawn and written to it (mode 0600).
    #[arg(long, value_name = "FILE")]
    management_token_file: Option<PathBuf>,
    /// Seeds this many ordinary tokens; needs --tokens-file.
    #[arg(long, value_name = "N", default_value_t = 0, requires = "tokens_file")]
    tokens: usize,
    /// Gets a JSON list of {id, name, value} of the seeded tokens (mode 0600).
    #[arg(long, value_name = "FILE")]
    tokens_file: Option<PathBuf>,
    /// Gets the token of a small Vault that holds all that is seeded, below secret/dynatrace (mode 0600).
    #[arg(long, value_name = "FILE")]
    vault_token_file: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    match runtime.block_on(run(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &io::Error) -> ExitCode {
    eprintln!("simulator: {error}");
    ExitCode::FAILURE
}

async fn run(arguments: Arguments) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let simulator = Simulator::start(options(&arguments)).await?;
    seeding::seed(&simulator, &arguments)?;
    for environment in simulator.environments() {
        if let Some(apps) = environment.apps_url() {
            println!("apps {apps}");
        }
    }
    for environment in simulator.environments() {
        println!("dynatrace {}", environment.url());
    }
    io::stdout().flush()?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

fn options(arguments: &Arguments) -> Options {
    let mut environments: Vec<EnvironmentOptions> = arguments
        .environments
        .iter()
        .map(|id| EnvironmentOptions::managed(id))
        .collect();
    if environments.is_empty() {
        environments.push(EnvironmentOptions::default());
    }
    if arguments.cluster_token_file.is_some() {
        environments.push(EnvironmentOptions::cluster());
    }
    for environment in &mut environments {
        environment.legacy_format = arguments.legacy_format;
    }
    Options {
        listen: arguments.listen,
        listen_apps: arguments.listen_apps,
        environments,
        account: arguments.account.clone(),
        latency: Duration::from_millis(arguments.latency),
        keep_calls: false,
        admin: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trial_of_the_pages_starts_it() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/token-kinds.md");
        let page = std::fs::read_to_string(page).expect("the page");
        let (_, rest) = page
            .split_once("<!-- followed: trial-simulator -->")
            .expect("the mark");
        let (block, _) = rest.split_once("\n```\n").expect("a block");
        let block = block.replace("\\\n", " ");
        let line = block.lines().find(|line| line.starts_with("simulator "));
        let words = line.expect("a command").trim_end_matches(" &");
        let arguments = Arguments::try_parse_from(words.split_whitespace());
        let arguments = arguments.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(arguments.platform_tokens, 1);
    }
}
