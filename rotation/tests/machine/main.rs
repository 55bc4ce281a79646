//! Unit tests of the machine through its public API: a scripted Vault and a scripted Dynatrace answer each command, and a test asserts
//! what was asked for and what was written. Faults that need interleaving are the explorer's business.

mod adoption;
mod announcement;
mod builders;
mod capabilities;
mod create;
mod documents;
mod identity;
mod isolation;
mod lifecycle;
mod newer_words;
mod ownership;
mod pause;
mod pruned;
mod restored;
mod revoke;
mod rights;
mod switched_off;
mod undo;
mod unprovable;
mod usage;
mod values;
mod watermark;
mod world;
