//! The simulator as a program of its own: seeds tokens, serves until SIGTERM or SIGINT.
//!
//! It prints addresses, ids and paths of files, never a token's value: values go only into files that the user names.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use serde_json::json;
use simulator::{Dynatrace, EnvironmentOptions, Options, Seed, Simulator};
use tokio::signal::unix::{SignalKind, signal};

/// A stand-in for the Dynatrace token APIs.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Address of the Dynatrace stand-in.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Serves a Managed environment at /e/ID instead of the root; may be repeated.
    #[arg(long = "environment", value_name = "ID")]
    environments: Vec<String>,
    /// Serves an account with this UUID: single sign-on and platform tokens. Needs --client-file.
    #[arg(long, value_name = "UUID", requires = "client_file")]
    account: Option<String>,
    /// Gets JSON {client_id, client_secret, user_uuid} of an OAuth client that may manage platform tokens (mode 0600).
    #[arg(long, value_name = "FILE", requires = "account")]
    client_file: Option<PathBuf>,
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
    let dynatrace = simulator.dynatrace();
    if let Some(file) = &arguments.management_token_file {
        let id = seed_management(&dynatrace, file)?;
        println!("management token {id}: value in {}", file.display());
    }
    if let Some(file) = &arguments.tokens_file {
        let list: Vec<_> = (1..=arguments.tokens)
            .map(|number| {
                let name = format!("seeded-{number}");
                let seeded = dynatrace.seed(Seed::new(&name));
                json!({ "id": seeded.id, "name": name, "value": seeded.value })
            })
            .collect();
        write_private(file, &json!(list).to_string())?;
        println!("{} tokens: values in {}", arguments.tokens, file.display());
    }
    if let (Some(account), Some(file)) = (simulator.account(), &arguments.client_file) {
        let user = account.seed_service_user();
        let scopes = [
            "platform-token:tokens:manage",
            "platform-token:tokens:write",
        ];
        let client = account.seed_client(&user, &scopes);
        let body = json!({
            "client_id": client.id,
            "client_secret": client.value,
            "user_uuid": user,
        });
        write_private(file, &body.to_string())?;
        println!("account {}: client in {}", account.uuid(), file.display());
        println!("sso {}", account.sso_url());
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
    for environment in &mut environments {
        environment.legacy_format = arguments.legacy_format;
    }
    Options {
        listen: arguments.listen,
        environments,
        account: arguments.account.clone(),
        latency: Duration::from_millis(arguments.latency),
        keep_calls: false,
        admin: true,
    }
}

/// Returns the id.
fn seed_management(dynatrace: &Dynatrace, file: &Path) -> io::Result<String> {
    let seed = Seed::management("management");
    match std::fs::read_to_string(file) {
        Ok(value) if value.trim().is_empty() => {
            Err(io::Error::other(format!("{} is empty", file.display())))
        }
        Ok(value) => Ok(dynatrace.seed(seed.value(value.trim())).id),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let seeded = dynatrace.seed(seed);
            write_private(file, &seeded.value)?;
            Ok(seeded.id)
        }
        Err(error) => Err(about(file, &error)),
    }
}

/// Replaces the file; only its owner may read it.
fn write_private(file: &Path, text: &str) -> io::Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(about(file, &error)),
        _ => {}
    }
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .and_then(|mut open| open.write_all(text.as_bytes()))
        .map_err(|error| about(file, &error))
}

fn about(file: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", file.display()))
}
