//! `dtrotate`: rotates Dynatrace tokens on cron schedules and keeps the current value in Vault or OpenBao.
//!
//! The modules, in reading order:
//!
//! - [`rotation`]: a crate beside this one. What a rotation is, step by step, and why nothing is lost. Pure.
//! - [`schedule`]: when a secret is due. Cron arithmetic in the real time zone, and the ticking engine.
//! - [`config`]: from TOML files to settings that are valid, or refused with a place.
//! - [`vault`]: Vault and OpenBao: the secrets and the journal.
//! - [`dynatrace`]: the environments that issue the tokens.
//! - [`notify`]: notifications of what needs a human: a problem in Dynatrace, a webhook.
//! - [`ops`]: what the outside may see: the status, the listener, the metrics, the page. Read-only.
//! - [`daemon`]: the life of the process; `assemble` wires the modules together.
//! - [`cli`]: one file per command.
//!
//! Dependencies point one way: cli > daemon > {config, schedule, dynatrace, vault, notify, ops} > rotation. `tests/architecture.rs` checks it.

// A closed or full stdout must not end a command: `cli::output` prints.
#![cfg_attr(not(test), warn(clippy::print_stdout, clippy::print_stderr))]

pub mod bounded_file;
pub mod cli;
pub mod clock;
pub mod config;
pub mod credential;
pub mod daemon;
pub mod dynatrace;
pub mod http;
pub mod labels;
pub mod notify;
pub mod ops;
pub mod redact;
pub mod sanitize;
pub mod schedule;
pub mod telemetry;
pub mod vault;
