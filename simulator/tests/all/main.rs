//! The simulator seen from outside, through a plain HTTP client.

mod client;
mod events;
mod faults;
mod kv;
mod lies;
mod program;
mod tokens_v1;
mod tokens_v2;
