//! Rotates Dynatrace tokens.

pub mod config;
pub mod rotation;
pub mod schedule;
