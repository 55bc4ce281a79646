//! The rotation of one secret. `docs/rotation.md` has the picture of its states and what follows a crash at each arrow.
//!
//! In reading order: `plan`, `token`, `record` with `reason` (what to rotate, and the journal document); `facts` (what a run knows, asks for and is told);
//! `machine` (the order of work), `fold` (what it learns from an outcome), then its subjects: `claim`, `standing`, `rotate`, `attempt`, `deliver`, `adopt`, `tidy`, `retire`, `undo`,
//! `life`, `moving`; `runner` carries commands out through the `ports`. Everything but `runner` is pure and synchronous.

mod adopt;
mod attempt;
mod claim;
mod deliver;
pub mod error;
pub mod event;
pub mod facts;
pub mod fitness;
mod fold;
mod life;
pub mod machine;
mod moving;
pub mod plan;
pub mod ports;
pub mod reason;
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
