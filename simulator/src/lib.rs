//! A stand-in for the Dynatrace token APIs (API tokens v2, tokens v1, platform, ActiveGate and cluster tokens) and the ingest
//! of events v2, as strict as the real ones, with the little of a Vault that dtrotate's demo needs beside it.
//!
//! It exists so that a client of those APIs can be tested without an environment, and shown on one machine. It is written
//! from the public documentation alone and must never import anything of its clients, so that it cannot share their
//! mistakes. It holds token values in memory in clear and must never be put in front of anything real.
//!
//! Modules in reading order:
//!
//! - `simulator`: [`Simulator`] starts and ends it, and hands out the two handles below;
//! - `dynatrace`: an environment: API tokens in two generations, ActiveGate and cluster tokens, and the [`Dynatrace`] handle;
//! - `account`: single sign-on and platform tokens, and the [`Account`] handle;
//! - `kv`: the Vault of the demo and the [`Kv`] handle;
//! - `fault`: what can be made to go wrong with which request: [`Rule`], [`Action`], [`Fault`];
//! - `gate`: [`Gate`], the same faults in front of a real server;
//! - `view`: tokens, histories, calls and faults of everything at once;
//! - `calls`: what was asked: [`Call`], [`Operation`];
//! - `origins`: which stand-in answers at which address;
//! - `server`: the `Date` header, latency, and carrying a fault out; `wire`: connections that can be cut;
//! - `admin`: what the thin program shows to outside checks.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use simulator::{Action, Operation, Options, Rule, Seed, Simulator};
//!
//! let simulator = Simulator::start(Options::default()).await?;
//! let dynatrace = simulator.dynatrace();
//! let management = dynatrace.seed(Seed::management("rotator"));
//! let lost = dynatrace.fault(Rule::on(Operation::CreateToken).then(Action::LoseAnswer));
//! // ... drive the client under test at `dynatrace.url()` with `management.value` ...
//! assert_eq!(lost.fired(), 1);
//! # Ok(())
//! # }
//! ```

mod account;
mod admin;
mod calls;
mod clock;
mod dynatrace;
mod fault;
#[cfg(feature = "gate")]
mod gate;
mod kv;
mod message;
mod origins;
mod server;
mod simulator;
mod view;
mod wire;

pub use account::handle::{Account, PlatformSeed};
pub use account::settings::{AccountSettings, ErrorBody};
pub use account::table::PlatformToken;
pub use calls::{Call, Operation};
pub use dynatrace::events::TakenEvent;
pub use dynatrace::handle::{Dynatrace, Seeded};
pub use dynatrace::history::{Actor, Change, TokenChange};
pub use dynatrace::scopes;
pub use dynatrace::seed::Seed;
pub use dynatrace::settings::EnvironmentSettings;
pub use dynatrace::table::{ActiveGate, TokenInfo};
pub use fault::handle::Fault;
pub use fault::{Action, Answer, LateAnswer, NameChange, Rule, Until, Visibility};
#[cfg(feature = "gate")]
pub use gate::Gate;
pub use kv::Kv;
pub use simulator::{EnvironmentOptions, Options, Simulator};
pub use view::{AnyToken, TokenKind};
