//! `dtrotate health`: is the daemon on this machine ready? For a container without a shell.
//!
//! It depends on nothing but the address of the listener, so that a bad edit of the configuration file does not make a daemon look ill
//! that goes on with the old one.

use std::process::ExitCode;

use crate::config;
use crate::ops::client::ask;

use super::{Arguments, FAILED};

pub(super) fn health(arguments: &Arguments) -> ExitCode {
    let Some(listen) = config::listen(&arguments.config, &arguments.options(false, true)) else {
        eprintln!(
            "the ops listener is switched off, so nobody can be asked; give [ops] listen an address"
        );
        return ExitCode::from(FAILED);
    };
    match super::block_on(ask(listen, "/readyz")) {
        Ok(Ok(answer)) => {
            print!("{}", answer.text);
            ExitCode::from(if answer.status == 200 { 0 } else { FAILED })
        }
        Ok(Err(why)) => {
            eprintln!("{}", crate::sanitize::line(&why));
            ExitCode::from(FAILED)
        }
        Err(code) => ExitCode::from(code),
    }
}
