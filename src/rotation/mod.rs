//! The rotation of one secret.

mod claim;
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
mod tidy;
pub mod token;

pub use life::doubtful;
pub use tidy::concerns;
