//! When a secret is due, and why.
//!
//! Read in this order:
//! - [`calendar`]: cron text, time zones and the arithmetic between them. Pure.
//! - [`due`]: the next due time of one secret, with a sentence that says why. Pure.
//! - [`ticker`]: the engine that wakes the daemon when a group of secrets strikes. It alone knows
//!   tokio-cron-scheduler, and it alone reads the clock.
//!
//! A tick is a hint and never an order: [`due::next_due`] decides, from the journal and the
//! calendar. So a tick that comes twice, early or not at all rotates nothing twice and loses
//! nothing.

pub mod calendar;
pub mod due;
pub mod ticker;
