//! End to end: a real OpenBao as a child process. One test binary, so that it is linked once.

mod check;
mod daemon;
mod gate;
mod hands;
mod openbao;
mod vault_client;
mod vault_policy;
mod world;
