//! What the outside may see of the daemon: a picture of its state, rendered for terminals, browsers, Prometheus and probes.
//!
//! Read-only: nothing here can change anything, and nothing here asks Vault or Dynatrace. The daemon shows what it knows ([`Source`]);
//! this room turns it into text and serves it. No type here could hold a token value.

pub mod client;
#[cfg(test)]
mod fixture;
pub mod humanize;
pub mod listener;
pub mod metrics;
mod page;
pub mod status;
pub mod table;

use std::time::Duration;

use metrics::Counters;
use status::Status;

/// Who is asked.
pub trait Source: Send + Sync + 'static {
    /// The picture of this moment.
    fn status(&self) -> Status;
    /// Ready, or what it waits for, in words.
    fn readiness(&self) -> Result<String, String>;
    /// How long ago the main loop turned.
    fn idle(&self) -> Duration;
    /// What was counted since the start.
    fn counters(&self) -> &Counters;
    /// Log lines that were dropped since the start.
    fn log_lines_dropped(&self) -> u64;
}
