//! The simulator seen from outside, through a plain HTTP client.

mod account;
mod active_gate;
mod classic_closed;
mod client;
mod cluster;
mod events;
mod faults;
mod oauth;
mod owners;
mod platform;
mod program;
mod tokens_v1;
mod tokens_v2;
mod view;
mod wrong_answers;
