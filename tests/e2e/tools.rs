//! What needs a tool of its own, fetched by `make test-ops`: the status page in Chromium, metrics and alerts under promtool. A test binary
//! beside the others, so that `cargo test` needs neither.

#[allow(
    dead_code,
    unused_imports,
    reason = "the other end-to-end tests use the rest"
)]
mod gate;
#[allow(
    dead_code,
    unused_imports,
    reason = "the other end-to-end tests use the rest"
)]
mod openbao;
#[allow(
    dead_code,
    unused_imports,
    reason = "the other end-to-end tests use the rest"
)]
mod world;

mod browser;
mod page;
mod prometheus;
