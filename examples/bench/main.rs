//! `make bench`: measures a release build of the program and prints every figure next to what it is compared with; ends with 1 when one is
//! missed.
//!
//! Figures that are times are ratios within one run, so that they mean the same on a slow machine: to a plain client that makes the same calls
//! to the same servers (`examples/floor.rs`), or to the bound that the latency of the calls sets. Dynatrace is the simulator, and where many
//! secrets rotate at once so is Vault: on a small machine a real OpenBao would be the limit (some milliseconds of CPU per write).
//!
//! `bench PROGRAM [PART...]` measures only some parts. `BENCH_SCALE=0.01` takes a hundredth of all secrets and shorter times, to try the bench
//! itself; the table then says `scaled`, and its figures mean nothing.

#[allow(
    dead_code,
    unused_imports,
    reason = "the end-to-end tests use the rest"
)]
#[path = "../../tests/e2e/openbao/mod.rs"]
mod openbao;

mod client;
mod due;
mod figures;
mod idle;
mod listener;
mod process;
mod rotations;
mod start;
mod world;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use figures::{Figures, Goal};

/// Rotations at the same time.
const CONCURRENCY: usize = 64;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What is measured, and how much of it.
struct Bench {
    program: PathBuf,
    scale: f64,
}

impl Bench {
    /// So many secrets, if the run is not scaled down.
    fn secrets(&self, full: usize) -> usize {
        ((full as f64 * self.scale) as usize).clamp(full.min(CONCURRENCY), full)
    }

    /// So long, if the run is not scaled down.
    fn time(&self, full: Duration) -> Duration {
        full.mul_f64(self.scale.clamp(0.1, 1.0))
    }
}

type Part = fn(&Bench, &mut Figures) -> Outcome<()>;

/// Each can be measured alone.
const PARTS: [(&str, Part); 9] = [
    ("size", size),
    ("start", start::first),
    ("restart", start::known),
    ("idle", idle::small),
    ("ten-thousand", idle::ten_thousand),
    ("hundred-thousand", idle::hundred_thousand),
    ("rotations", rotations::due_at_once),
    ("replicas", rotations::replicas),
    ("command", rotations::command),
];

#[expect(
    clippy::disallowed_methods,
    reason = "a benchmark is scaled by its environment"
)]
fn main() -> ExitCode {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut arguments = std::env::args().skip(1);
    let Some(program) = arguments.next() else {
        eprintln!("usage: bench PROGRAM [PART...]");
        return ExitCode::FAILURE;
    };
    let wanted: Vec<String> = arguments.collect();
    let names = PARTS.map(|(name, _)| name);
    if let Some(unknown) = wanted.iter().find(|part| !names.contains(&part.as_str())) {
        eprintln!("unknown part {unknown:?}; there are {}", names.join(", "));
        return ExitCode::FAILURE;
    }
    let scale = std::env::var("BENCH_SCALE").ok();
    let bench = Bench {
        program: PathBuf::from(program),
        scale: scale.and_then(|scale| scale.parse().ok()).unwrap_or(1.0),
    };
    let mut figures = Figures::default();
    for (name, part) in PARTS {
        if !wanted.is_empty() && wanted.iter().all(|one| one != name) {
            continue;
        }
        eprintln!("measuring: {name}");
        if let Err(error) = part(&bench, &mut figures) {
            figures.fail(name, &error.to_string());
        }
    }
    if bench.scale < 1.0 {
        println!("scaled by {}: the figures mean nothing\n", bench.scale);
    }
    if !wanted.is_empty() {
        println!("only {}\n", wanted.join(", "));
    }
    figures.report()
}

fn size(bench: &Bench, figures: &mut Figures) -> Outcome<()> {
    let size = |file: &Path| Outcome::Ok(fs::metadata(file)?.len() as f64 / 1e6);
    let program = size(&bench.program)?;
    figures.add("size of the program", program, "MB", Goal::AtMost(10.0), "");
    let certificates = Path::new("/etc/ssl/certs/ca-certificates.crt");
    figures.add(
        "size of the image",
        program + size(certificates)?,
        "MB",
        Goal::AtMost(11.0),
        "the program and the CA certificates",
    );
    Ok(())
}
