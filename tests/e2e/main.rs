//! End to end: a real OpenBao as a child process. One test binary, so that it is linked once.

mod check;
mod cluster;
mod commands;

mod crash;
mod daemon;
mod demo;
mod faults;
mod gate;
mod hands;
mod leaving;
mod lies;
mod life;
mod lifetime;
mod management;
mod notify;
mod openbao;
mod ops;
mod outage;
mod pages;
mod pass;
mod process;
mod replicas;
mod retention;
mod retire;
mod snapshot;
mod soak;
mod trial;
mod troubles;
mod undo;
mod values;
mod vault_client;
mod vault_login;
mod vault_policy;
mod world;
