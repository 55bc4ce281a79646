//! Pruning: tokens of no secret that a person wants gone. `command` plans and brings back, `disable` disables; `round` deletes after the quarantine, for commands
//! and daemons alike; `watch` starts the rounds of a daemon and keeps its conditions.

pub mod command;
mod disable;
mod round;
pub(super) mod watch;
