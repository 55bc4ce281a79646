//! What needs a tool of its own, fetched by `make test-ops`: the status page in Chromium and under axe-core, metrics and alerts under promtool. A test binary
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
mod pictures;
mod prometheus;

/// The path of a tool, as `make test-ops` names it.
#[expect(
    clippy::disallowed_methods,
    reason = "the environment says where the tools are"
)]
fn program(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is no path of a program; `make test-ops` sets it"))
}
