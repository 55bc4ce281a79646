//! Pruning: tokens of no secret that a person wants gone. `rotation::prune` decides what is called next, `drive` calls it. `command` plans and brings back,
//! `disable` disables; `round` deletes after the quarantine, for commands and daemons alike; `watch` starts the rounds of a daemon and keeps its conditions.

pub mod command;
mod disable;
mod drive;
pub mod recorded;
mod round;
pub(super) mod watch;
