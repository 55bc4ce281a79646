//! `dtrotate health`: whether the daemon on this machine is ready, for a container without a shell.
//!
//! It reads only the address of the listener, so that a broken edit of the configuration file does not make a running daemon, which keeps its
//! old configuration, look unhealthy.

use crate::config;
use crate::ops::client::ask;
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
