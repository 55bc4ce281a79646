//! The explorer: an exhaustive search that drives the shipped machine for one secret in a small world of processes that die, freeze and wake
//! at any step, answers that are lost, effects that come late, stale reads, late listings, and a person with hands of their own.
//!
//! It is the specification made to run: every state that can be reached within a scenario's budget of mishaps is visited once, the promises
//! are checked in each, and from every state in which nobody is at work the world must come to rest by itself. A violation is printed with a
//! shortest trace. A rule of the protocol that is switched off (`mutation`) must show.
//!
//! `make test` runs every scenario with a small budget, `make explore` with the full one.

mod mutation;
mod scenarios;
mod search;
mod world;
