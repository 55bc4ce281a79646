//! What the outside may see of the daemon: a picture of its state, rendered for terminals, browsers, Prometheus and probes.
//!
//! Nothing here changes anything. The daemon shows what it knows ([`Source`]); this module turns it into text and serves it. Two requests make
//! the daemon read Vault: the status page, for the last rotations of the secrets on it, and a recheck, for a secret's journal document. No type
//! here could hold a token value.

pub mod audit;
pub mod client;
pub mod condition;
pub mod counters;
mod exposition;
#[cfg(test)]
mod fixture;
pub mod humanize;
pub mod known;
pub mod listener;
pub mod metrics;
mod page;
pub mod prune;
pub mod pruned;
pub mod rotations;
mod runbooks;
pub mod secret;
pub mod status;
pub mod table;
pub mod upcoming;
pub mod view;

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::BoxFuture;

use counters::Counters;
use rotations::Rotation;
use secret::Secret;
use status::{JournalPlace, Status};
use upcoming::Outlook;

/// Who is asked.
pub trait Source: Send + Sync + 'static {
    /// The picture of this moment.
    fn status(&self) -> Status;
    /// Where its journal is.
    fn journal(&self) -> JournalPlace;
    /// Ready, or what it waits for, in words.
    fn readiness(&self) -> Result<String, String>;
    /// How long ago the main loop turned.
    fn idle(&self) -> Duration;
    /// What was counted since the start.
    fn counters(&self) -> &Counters;
    /// Log lines that were dropped since the start.
    fn log_lines_dropped(&self) -> u64;
    /// The next hours of these secrets.
    fn outlook(&self, secrets: &[Secret]) -> Outlook;
    /// The last rotations of these secrets, as far as they are known within a second.
    fn rotations(&self, secrets: &[Secret]) -> BoxFuture<'static, BTreeMap<String, Vec<Rotation>>>;
    /// Asks the daemon to read a secret's journal document again, because a command has changed it. Ready when that is done.
    fn recheck(&self, secret: &str) -> BoxFuture<'static, Recheck>;
}

/// What became of a recheck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recheck {
    /// The document was read again, or is being read.
    Done,
    /// This daemon has no such secret.
    Unknown,
    /// The last one for this secret was less than a second ago.
    TooOften,
}
