//! Rotates Dynatrace tokens.

pub mod rotation;
