//! The commands: one file each. `selection` says which secrets are meant, `output` prints, `exit` ranks how it ended, `manual` explains.

mod audit;
mod check;
mod completions;
#[cfg(feature = "demo")]
mod demo;
mod exit;
mod health;
mod history;
pub mod manual;
mod outcome;
mod output;
mod pause;
mod prune;
mod revoke;
mod rotate;
mod run;
mod selection;
mod status;
mod stopped;
mod time_limit;
mod undo;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::{self, LogFormat, SecretSettings, Settings};
use crate::labels::Labels;
use crate::telemetry::{self, Format};

use exit::Exit;
use selection::Selectable;

/// The configuration file, if none is named.
const DEFAULT_CONFIG: &str = "/etc/dtrotate/dtrotate.toml";

/// How long a slow reader of the log may delay the end of the process.
const FLUSH: Duration = Duration::from_secs(2);

/// Rotate Dynatrace tokens on cron schedules and keep the current value in HashiCorp Vault or OpenBao
#[derive(Parser)]
#[command(name = "dtrotate", version, max_term_width = 80)]
struct Arguments {
    /// Read this configuration file
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "DTROTATE_CONFIG",
        default_value = DEFAULT_CONFIG
    )]
    config: PathBuf,
    /// Read drop-in files from this directory [default: conf.d beside the configuration file]
    #[arg(long, global = true, value_name = "DIRECTORY")]
    config_dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the rotation daemon in the foreground
    Run(run::Options),
    /// Validate the configuration and verify the permissions at Vault and Dynatrace (read-only)
    Check(check::Options),
    /// Show the status of secrets, problems first
    Status(status::Options),
    /// Rotate secrets now
    Rotate(rotate::Options),
    /// End a leaked token now; if a secret holds it, store another one first
    Revoke(revoke::Options),
    /// Make the previous token of a secret its current value again, or bring a pruned token back
    Undo(undo::Options),
    /// Take over a value whose token cannot be proven
    Adopt(undo::AdoptOptions),
    /// Drop a retiring token that cannot be retired from the journal
    Forget(undo::ForgetOptions),
    /// Pause secrets: begin nothing of them until they are resumed
    Pause(pause::Options),
    /// Resume paused secrets
    Resume(pause::ResumeOptions),
    /// Show what happened to secrets, newest last, and who did it
    History(history::Options),
    /// Show what will happen: rotations, disables, deletions, expiries
    Upcoming(history::UpcomingOptions),
    /// List every token of the environments and accounts, and what someone should look into (read-only)
    Audit(audit::Options),
    /// Disable tokens that nobody needs and let them be deleted after a quarantine; without --yes, show the plan
    Prune(prune::Options),
    /// Query the running daemon for readiness
    Health,
    /// Run the daemon on embedded stand-ins for Vault and Dynatrace
    #[cfg(feature = "demo")]
    Demo,
    /// Print the JSON Schema of the configuration file
    Schema,
    /// Print a completion script
    Completions {
        /// Shell that the script is for
        shell: clap_complete::Shell,
    },
}

/// Reads the arguments, carries the command out, and returns its exit status.
pub fn main() -> ExitCode {
    // Before anything is read: every command may hold token values.
    forbid_core_dumps();
    telemetry::report_panics();
    // The hook has reported the panic.
    let exit = std::panic::catch_unwind(execute).unwrap_or(Exit::Failed);
    telemetry::flush(FLUSH);
    ExitCode::from(exit.code())
}

fn execute() -> Exit {
    if let Some(words) = completions::asked() {
        return completions::answer(&words);
    }
    let parsed = command_line()
        .try_get_matches()
        .and_then(|matches| Arguments::from_arg_matches(&matches));
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are not errors, and neither is a reader that has gone.
            let _ = error.print();
            return if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Success
            };
        }
    };
    let ended = match &arguments.command {
        #[cfg(feature = "demo")]
        Command::Demo => Ok(demo::demo()),
        Command::Run(options) => run::run(&arguments, options),
        Command::Check(options) => check::check(&arguments, options),
        Command::Status(options) => status::status(&arguments, options),
        Command::Rotate(options) => rotate::rotate(&arguments, options),
        Command::Undo(options) => undo::undo(&arguments, options),
        Command::Adopt(options) => undo::adopt(&arguments, options),
        Command::Forget(options) => undo::forget(&arguments, options),
        Command::Revoke(options) => revoke::revoke(&arguments, options),
        Command::Pause(options) => pause::pause(&arguments, options),
        Command::Resume(options) => pause::resume(&arguments, options),
        Command::History(options) => history::history(&arguments, options),
        Command::Upcoming(options) => history::upcoming(&arguments, options),
        Command::Audit(options) => audit::audit(&arguments, options),
        Command::Prune(options) => prune::prune(&arguments, options),
        Command::Health => health::health(&arguments),
        Command::Schema => print_all(&format!("{:#}\n", config::schema())),
        Command::Completions { shell } => print_all(&completions::script(*shell)),
    };
    ended.unwrap_or_else(|exit| exit)
}

/// The process holds token values: its memory must not be written to a file.
fn forbid_core_dumps() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let _ = setrlimit(Resource::Core, none);
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// Prints what is the whole work of a command.
fn print_all(text: &str) -> Result<Exit, Exit> {
    output::print(text).map_err(|error| {
        output::complain(&format!("cannot write to stdout: {error}"));
        Exit::Failed
    })?;
    Ok(Exit::Success)
}

/// The command line with the examples and the exit status of each command.
pub fn command_line() -> clap::Command {
    let command = Arguments::command();
    let names: Vec<String> = command
        .get_subcommands()
        .map(|command| command.get_name().to_owned())
        .collect();
    let command = command.after_long_help(manual::of("dtrotate").after_help());
    names.iter().fold(command, |command, name| {
        let manual = manual::of(name);
        command.mut_subcommand(name, |command| {
            command
                .long_about(manual.description)
                .after_long_help(manual.after_help())
        })
    })
}

impl Arguments {
    /// Reads the configuration; prints what is wrong with it.
    fn load(&self, offline: bool) -> Result<Settings, Exit> {
        config::load(&self.config, &self.options(false, offline)).map_err(|problems| {
            output::complain_at_length(&problems.to_string());
            Exit::BadConfig
        })
    }

    fn options(&self, daemon: bool, offline: bool) -> config::Options {
        config::Options {
            environment: variables(),
            config_dir: self.config_dir.clone(),
            daemon,
            starting: daemon,
            offline,
        }
    }
}

impl Selectable for Arc<SecretSettings> {
    fn name(&self) -> &str {
        &self.plan.name
    }
    fn environment(&self) -> &str {
        &self.plan.coordinates.environment
    }
    fn labels(&self) -> &Labels {
        &self.labels
    }
}

/// Environment variables; those that are not UTF-8 are ignored.
#[expect(
    clippy::disallowed_methods,
    reason = "the commands read the environment and hand it on as plain values"
)]
fn variables() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Starts the log of a command as `[log]` says; without a level there and in `RUST_LOG`, this one.
fn start_log(settings: &Settings, level: &str) {
    telemetry::start(format(settings), &log_level(settings, level), &instance());
    telemetry::write_in_background();
    let secrets = settings.secrets.iter();
    telemetry::set_labels(secrets.map(|it| (it.plan.name.clone(), it.labels.clone())));
}

fn format(settings: &Settings) -> Format {
    match settings.log.format {
        LogFormat::Auto => automatic_format(),
        LogFormat::Json => Format::json(),
        LogFormat::Text => Format::text(),
    }
}

/// The format that suits stderr.
fn automatic_format() -> Format {
    Format::auto(variables().get("JOURNAL_STREAM").map(String::as_str))
}

fn log_level(settings: &Settings, default: &str) -> String {
    let configured = settings.log.level.map(str::to_owned);
    configured
        .or_else(|| variables().remove("RUST_LOG"))
        .unwrap_or_else(|| default.to_owned())
}

/// `DTROTATE_INSTANCE`, else host name and role: stable across restarts, so that a restarted daemon resumes its own claims at once.
fn daemon_instance() -> String {
    variables().remove("DTROTATE_INSTANCE").unwrap_or_else(|| {
        let host = rustix::system::uname();
        format!("{}/daemon", host.nodename().to_string_lossy())
    })
}

/// The name of a command in claims and log lines. It differs from every daemon's.
fn instance() -> String {
    format!("{}/command-{}", daemon_instance(), std::process::id())
}

/// Runs `future` to its end.
fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => Ok(runtime.block_on(future)),
        Err(error) => Err(cannot_start(&error)),
    }
}

fn cannot_start(error: &dyn std::fmt::Display) -> Exit {
    output::complain(&format!("cannot start: {error:#}"));
    Exit::Failed
}
