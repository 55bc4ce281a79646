//! End to end: a real OpenBao as a child process. One test binary, so that it is linked once.

mod cluster;
mod daemon;
mod gate;
mod hands;
mod openbao;
mod vault_client;
mod vault_login;
mod vault_policy;
mod world;
