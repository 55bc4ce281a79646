//! The rotation of one secret: observe, decide, act. `docs/rotation.md` has the picture of its states and what follows a crash between any two of them.
//!
//! In reading order:
//!
//! - [`plan`], [`token`], [`marker`], [`capabilities`]: what to rotate, and what a token is.
//! - [`record`] with [`claim`], [`retiring`], [`ledger`], [`pause`], [`announcement`], [`revocation`] and [`reason`]: the journal document. [`history`] is the one for people.
//! - [`request`]: what a run is started with. [`command`]: what it asks for, and the outcome of each command.
//! - `view`: what is known, and what an action voids. `observe`, `genuine`, `ownership`, [`policy`], `plausibility`: what follows from it.
//! - `context`, `transition`, `backstop`: what a decision is made from, the changes of the document, and the expiry of former tokens.
//! - `work`: rotate, store, undo, retire, revoke, pause, clean up, adopt, relocate, maintain. `order`: which is next. [`machine`]: one run.
//! - [`prune`]: tokens of no secret that a person wants gone.
//! - [`ports`], [`runner`]: carry the commands out. Everything but the runner is pure and synchronous.

pub mod announcement;
mod backstop;
mod candidate;
pub mod capabilities;
pub mod claim;
pub mod command;
mod context;
pub mod error;
pub mod event;
mod failure;
mod genuine;
pub mod history;
mod index;
pub mod ledger;
mod lookup;
pub mod machine;
pub mod marker;
mod newer_word;
mod observe;
mod order;
mod ownership;
pub mod pause;
pub mod plan;
mod plausibility;
pub mod policy;
pub mod ports;
pub mod prune;
mod reading;
pub mod reason;
pub mod record;
pub mod request;
pub mod retiring;
pub mod retry;
pub mod revocation;
mod revoked;
pub mod runner;
pub mod size;
mod takeover;
pub mod token;
mod transition;
mod view;
mod work;

pub use work::cleanup::listing_needs_work;
pub use work::maintain::token_suspect;
