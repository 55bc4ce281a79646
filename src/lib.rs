//! Rotates Dynatrace tokens.

pub mod schedule;
