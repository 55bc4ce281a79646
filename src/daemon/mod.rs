//! The life of the process.

pub mod assemble;
pub mod board;
pub mod job;
pub mod listing;
pub mod roster;
