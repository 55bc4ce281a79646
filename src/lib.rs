//! Rotates Dynatrace tokens.

pub mod clock;
pub mod dynatrace;
pub mod http;
pub mod rotation;
pub mod vault;
