//! Hands the arguments to the library and its answer to the system.

/// It gives memory back that a busy hour left free; see docs/decisions/0070-allocator.md.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    dtrotate::cli::main()
}
