//! `dtrotate health`: whether the daemon on this machine is ready, for a container without a shell.
//!
//! A broken edit of the configuration file does not make a running daemon, which keeps its old configuration, look unhealthy: then only the
//! address of the listener is read. Where the file can be read, the daemon's journal must be the one that it names.

use crate::config;
use crate::daemon::offline_status::journal_place;
use crate::ops::client::{Answer, ask};
use crate::sanitize;

use super::{Arguments, Exit, output, print_all};

pub(super) fn health(arguments: &Arguments) -> Result<Exit, Exit> {
    let Some(listen) = config::listen(&arguments.config, &arguments.options(false, true)) else {
        output::complain(
            "cannot check health: the ops listener is disabled; set [ops] listen to an address",
        );
        return Err(Exit::Failed);
    };
    match super::block_on(ask(listen, "/readyz"))? {
        Ok(answer) if is_of_another_configuration(arguments, &answer) => {
            output::complain(&format!(
                "the daemon at {listen} belongs to another configuration: its journal is not the one of {}",
                arguments.config.display()
            ));
            Err(Exit::Failed)
        }
        Ok(answer) => {
            let lines = answer.text.lines().map(|line| sanitize::line(line) + "\n");
            print_all(&lines.collect::<String>())?;
            match answer.status {
                200 => Ok(Exit::Success),
                _ => Err(Exit::Failed),
            }
        }
        Err(why) => {
            output::complain(&why);
            Err(Exit::Failed)
        }
    }
}

/// The answer is of a daemon with another journal. Where the file cannot be read, that is not known.
fn is_of_another_configuration(arguments: &Arguments, answer: &Answer) -> bool {
    let settings = config::load(&arguments.config, &arguments.options(false, true));
    let ours = settings
        .ok()
        .map(|settings| journal_place(&settings).digest());
    matches!((&answer.journal, ours), (Some(theirs), Some(ours)) if *theirs != ours)
}
