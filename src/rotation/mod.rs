//! The rotation of one secret.

pub mod error;
pub mod plan;
pub mod ports;
pub mod record;
pub mod token;
