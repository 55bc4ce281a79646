//! The commands: one file each. Results go to stdout, logs to stderr.

mod check;
#[cfg(feature = "demo")]
mod demo;
mod health;
mod rotate;
mod run;
mod status;

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::config::{self, Settings};

/// It was tried and failed.
const FAILED: u8 = 1;
/// Wrong usage.
const USAGE: u8 = 2;
/// Vault or Dynatrace cannot be reached.
const UNREACHABLE: u8 = 69;
/// The configuration is bad.
const BAD_CONFIG: u8 = 78;

const EXIT_STATUS: &str = "Exit status: 0 done; 1 it was tried and failed; 2 wrong usage; 69 Vault or Dynatrace cannot be reached \
    (commands only, `run` stays up); 75 another holder is at work on the secret; 78 bad configuration.";

/// Rotates Dynatrace tokens on cron schedules and keeps the current value in HashiCorp Vault or OpenBao.
#[derive(Parser)]
#[command(name = "dtrotate", version, after_long_help = EXIT_STATUS)]
struct Arguments {
    /// The configuration file.
    #[arg(
        long,
        global = true,
        env = "DTROTATE_CONFIG",
        default_value = "/etc/dtrotate/dtrotate.toml"
    )]
    config: PathBuf,
    /// The folder of drop-in files (default: conf.d beside the configuration file).
    #[arg(long, global = true)]
    config_dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The daemon.
    Run,
    /// Refuse a bad configuration; show the next due times; prove every right at Vault and Dynatrace. Changes nothing.
    Check {
        /// Ask nothing of Vault and Dynatrace, and look into no credential file.
        #[arg(long)]
        offline: bool,
    },
    /// How is every secret, and what needs a human? Asks the running daemon, else the journal. Exit status: 0 healthy, 1 a human is
    /// needed, 69 could not ask.
    Status(status::Wanted),
    /// Rotate now, in the foreground, under the same claims as the daemon.
    Rotate(rotate::Wanted),
    /// Bring the previous token back: enable it, put its value back, and retire the newer one.
    Undo {
        /// The secret, by name.
        name: String,
    },
    /// Drop a retiring token that dtrotate cannot prove to be its own or cannot end; the token is left as it is.
    Forget {
        /// The secret, by name.
        name: String,
        /// The id of the token.
        #[arg(long)]
        token: String,
    },
    /// Ask the running daemon whether it is ready. Exit status: 0 ready, 1 not.
    Health,
    /// Everything on this machine with nothing installed: the daemon on embedded stand-ins.
    #[cfg(feature = "demo")]
    Demo,
    /// Print the JSON Schema of a configuration file, for editors.
    Schema,
    /// Print a completion script for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// Reads the arguments, does what they ask for, and tells the exit code.
pub fn main() -> ExitCode {
    #[cfg_attr(
        not(feature = "demo"),
        expect(unused_mut, reason = "only the demo names a file of its own")
    )]
    let mut arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let wrong = error.use_stderr();
            let _ = error.print();
            return ExitCode::from(if wrong { 2 } else { 0 });
        }
    };
    #[cfg(feature = "demo")]
    if matches!(arguments.command, Command::Demo) {
        return demo::demo(&mut arguments);
    }
    match &arguments.command {
        #[cfg(feature = "demo")]
        Command::Demo => ExitCode::SUCCESS,
        Command::Run => run::run(&arguments),
        Command::Status(wanted) => status::status(&arguments, wanted),
        Command::Health => health::health(&arguments),
        Command::Rotate(wanted) => rotate::rotate(&arguments, wanted),
        Command::Undo { name } => rotate::undo(&arguments, name),
        Command::Forget { name, token } => rotate::forget(&arguments, name, token),
        Command::Check { offline } => check::check(&arguments, *offline),
        Command::Schema => {
            println!("{:#}", config::schema());
            ExitCode::SUCCESS
        }
        Command::Completions { shell } => {
            let mut command = Arguments::command();
            clap_complete::generate(*shell, &mut command, "dtrotate", &mut std::io::stdout());
            ExitCode::SUCCESS
        }
    }
}

/// The command line, for what is generated from it.
pub fn command_line() -> clap::Command {
    Arguments::command()
}

impl Arguments {
    fn load(&self, daemon: bool, offline: bool) -> Result<Settings, config::Problems> {
        config::load(&self.config, &self.options(daemon, offline))
    }

    fn options(&self, daemon: bool, offline: bool) -> config::Options {
        config::Options {
            environment: variables(),
            config_dir: self.config_dir.clone(),
            daemon,
            offline,
        }
    }
}

/// The environment's variables; what is no text is nothing that we read.
#[expect(
    clippy::disallowed_methods,
    reason = "the commands read the environment and hand it on as plain values"
)]
fn variables() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Runs `future` to its end.
///
/// # Errors
/// The exit code when there can be no runtime; the reason is on stderr.
fn block_on<T>(future: impl Future<Output = T>) -> Result<T, u8> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => Ok(runtime.block_on(future)),
        Err(error) => {
            eprintln!("cannot start: {error}");
            Err(FAILED)
        }
    }
}

/// A line on the terminal of a person who waits, gone when all is done. The cursor stays at its beginning, so that a line of the log
/// takes its place.
fn progress(done: usize, all: usize) {
    let mut stderr = std::io::stderr().lock();
    if stderr.is_terminal() {
        let line = match done == all {
            true => String::new(),
            false => format!("{done} of {all} secrets\r"),
        };
        // Nobody is served by an error about it.
        let _ = write!(stderr, "\r\x1b[K{line}");
        let _ = stderr.flush();
    }
}
