//! Rotates Dynatrace tokens.

pub mod dynatrace;
pub mod rotation;
