//! What the daemon needs while nothing is due.

use std::fs;
use std::time::{Duration, Instant};

use crate::figures::{Figures, Goal};
use crate::process::Daemon;
use crate::world::{NEVER, World};
use crate::{Bench, Outcome, due, listener};

/// How long an idle daemon is watched.
const WATCHED: Duration = Duration::from_secs(60);
/// What follows the start within this time: the first listing, idle connections that are closed, memory that is given back.
const START: Duration = Duration::from_secs(35);
/// Scrapes of the metrics, one after the other; the figure is one's share.
const SCRAPES: u32 = 20;
/// What the stand-ins need for a secret, bytes, on the safe side.
const STAND_INS: f64 = 40_000.0;

fn started(bench: &Bench, world: &World) -> Outcome<Daemon> {
    let daemon = world.start(&bench.program, "bench", NEVER)?;
    daemon.ready()?;
    daemon.quiet()?;
    std::thread::sleep(bench.time(START));
    daemon.quiet()?;
    Ok(daemon)
}

fn memory(daemon: &Daemon, secrets: usize, most: f64, figures: &mut Figures) -> Outcome<()> {
    figures.add(
        format!("idle with {secrets} secrets: resident memory"),
        daemon.memory()?,
        "MB",
        Goal::AtMost(most),
        "",
    );
    Ok(())
}

/// Ten secrets and a thousand.
pub fn small(bench: &Bench, figures: &mut Figures) -> Outcome<()> {
    let world = World::new(10)?;
    let daemon = started(bench, &world)?;
    memory(&daemon, 10, 9.0, figures)?;
    drop(daemon);

    let secrets = bench.secrets(1000);
    let world = World::new(secrets)?;
    let daemon = started(bench, &world)?;
    memory(&daemon, secrets, 12.0, figures)?;
    scrape(&daemon, secrets, figures)?;
    listener::half_open(&daemon, figures)
}

fn scrape(daemon: &Daemon, secrets: usize, figures: &mut Figures) -> Outcome<()> {
    let before = daemon.cpu()?;
    for _ in 0..SCRAPES {
        if daemon.ask("/metrics")?.lines().count() < secrets {
            return Err("a scrape without the secrets".into());
        }
    }
    figures.add(
        format!("a scrape with {secrets} secrets: CPU"),
        (daemon.cpu()? - before) * 1e3 / f64::from(SCRAPES),
        "ms",
        Goal::AtMost(20.0),
        "",
    );
    Ok(())
}

/// Ten thousand secrets on as many expressions as a day has minutes, none of which comes; then all are due at once.
pub fn ten_thousand(bench: &Bench, figures: &mut Figures) -> Outcome<()> {
    let secrets = bench.secrets(10_000);
    let mut world = World::new(secrets)?;
    world.schedules = 1440.min(secrets);
    let watched = bench.time(WATCHED);
    // A minute without the listing, in which a tenth of the documents are read again, and one with everything that a sweep interval brings.
    let daemon = started(bench, &world)?;
    memory(&daemon, secrets, 20.0, figures)?;
    let without = daemon.idle(watched)?;
    drop(daemon);
    world.sweep = "1m";
    let daemon = started(bench, &world)?;
    let within = daemon.idle(watched)?;
    drop(daemon);
    let interval = 10.0 * watched.as_secs_f64();
    figures.add(
        format!(
            "idle with {secrets} secrets on {} expressions: CPU of a core",
            world.schedules
        ),
        (9.0 * without + within) / interval * 100.0,
        "%",
        Goal::AtMost(0.3),
        format!(
            "a sweep interval of 10 minutes: 9 x {without:.2} s in a minute, and {within:.2} s in one with a whole sweep"
        ),
    );
    world.schedules = 1;
    world.sweep = "10m";
    let daemon = started(bench, &world)?;
    let seen = due::at_once(&world, &[daemon], Duration::ZERO)?;
    figures.add(
        format!("the first rotation after the due instant of {secrets}"),
        seen.first,
        "s",
        Goal::AtMost(1.0),
        format!("the last one after {:.1} s", seen.took),
    );
    Ok(())
}

/// A hundred thousand.
pub fn hundred_thousand(bench: &Bench, figures: &mut Figures) -> Outcome<()> {
    let secrets = bench.secrets(100_000);
    let needed = secrets as f64 * STAND_INS / 1e9;
    let available = available()?;
    if available < needed {
        return Err(format!(
            "the stand-ins need {needed:.1} GB of memory and {available:.1} are available"
        )
        .into());
    }
    let world = World::new(secrets)?;
    let began = Instant::now();
    let daemon = started(bench, &world)?;
    eprintln!("{secrets} secrets: idle after {:?}", began.elapsed());
    memory(&daemon, secrets, 90.0, figures)
}

/// Gigabytes of memory that are available.
fn available() -> Outcome<f64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))
        .and_then(|rest| rest.split_whitespace().next())
        .ok_or("no MemAvailable")?;
    Ok(line.parse::<f64>()? / 1e6)
}
