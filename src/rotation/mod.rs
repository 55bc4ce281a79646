//! The rotation of one secret.

mod adopt;
mod attempt;
mod claim;
mod deliver;
pub mod error;
pub mod event;
pub mod facts;
pub mod fitness;
mod life;
pub mod machine;
pub mod plan;
pub mod ports;
pub mod record;
mod retire;
pub mod retry;
mod rotate;
pub mod runner;
mod standing;
mod tidy;
pub mod token;
mod undo;

pub use life::doubtful;
pub use tidy::concerns;

#[cfg(test)]
#[path = "../../tests/explorer/mod.rs"]
mod explorer;
