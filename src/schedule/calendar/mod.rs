//! Cron arithmetic on the real calendar: text, time zone, next and previous firing, jitter, blackouts.
//!
//! Everything here is a pure function of its arguments. It never reads the clock, so that every
//! replica and every test comes to the same answer for the same instant.

mod blackout;
mod cron;
mod dialect;
mod firing;
mod jitter;
mod parse;
mod zone;

pub use blackout::{Blackouts, Window};
pub use cron::Cron;
pub use firing::Schedule;
pub use jitter::jitter;
pub use parse::CronError;
pub use zone::{ZoneError, zone};

#[cfg(test)]
mod tests;
