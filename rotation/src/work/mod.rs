//! The work on a secret. Each file decides the next step of one kind of work, from a [`Context`](super::context::Context) alone; none names
//! another. The order among them is the machine's.

pub mod adopt;
pub mod cleanup;
pub mod maintain;
pub mod pause;
pub mod relocate;
pub mod retire;
pub mod revoke;
pub mod rotate;
pub mod store;
pub mod undo;
mod usage;
