//! What rotations cost and how long they take, compared with the plain client on the same servers.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::due::{self, Seen};
use crate::figures::{Figures, Goal};
use crate::process::Daemon;
use crate::world::{NEVER, World};
use crate::{Bench, CONCURRENCY, Outcome, client};

/// Every Dynatrace call takes this long where nothing else is said.
const LATENCY: Duration = Duration::from_millis(50);
/// Secrets that the sequential client rotates; its time for all is extrapolated.
const SAMPLE: usize = 20;

/// The time that the latency of `calls` sets, seconds.
fn bound(calls: f64) -> f64 {
    calls * LATENCY.as_secs_f64() / CONCURRENCY as f64
}

/// The first rotation of a secret also marks the token that it found there, which costs some calls once; later ones are measured.
fn mark(world: &World, daemons: &[Daemon]) -> Outcome<()> {
    due::at_once(world, daemons, Duration::ZERO).map(drop)
}

/// A thousand secrets, then eight thousand.
pub fn due_at_once(bench: &Bench, figures: &mut Figures) -> Outcome<()> {
    let few = bench.secrets(1000);
    let world = without_sweeps(few)?;
    let daemons = [world.start(&bench.program, "bench", NEVER)?];
    daemons[0].ready()?;
    daemons[0].quiet()?;
    mark(&world, &daemons)?;
    let thousand = due::at_once(&world, &daemons, LATENCY)?;
    drop(daemons);
    latency(&world, &thousand, figures)?;

    let many = bench.secrets(8000);
    let world = without_sweeps(many)?;
    let daemons = [world.start(&bench.program, "bench", NEVER)?];
    daemons[0].ready()?;
    mark(&world, &daemons)?;
    std::thread::sleep(bench.time(Duration::from_secs(35)));
    let idle = daemons[0].memory()?;
    let seen = due::at_once(&world, &daemons, LATENCY)?;
    let (each, of_few) = (
        milliseconds(seen.cpu, many),
        milliseconds(thousand.cpu, few),
    );
    figures.add(
        format!("CPU per rotation, {many} due at once : {few} due at once"),
        each / of_few,
        "",
        Goal::AtMost(1.2),
        format!("{each:.3} ms : {of_few:.3} ms"),
    );
    figures.add(
        format!("resident memory at the peak of {many} due at once : idle"),
        seen.peak / idle,
        "",
        Goal::AtMost(2.0),
        format!("{:.1} MB : {idle:.1} MB", seen.peak),
    );
    // The plain client comes last: what it stores is not what the daemon recorded.
    let latencies = [Duration::from_millis(20), Duration::ZERO];
    let seen = latencies.map(|latency| due::at_once(&world, &daemons, latency));
    drop(daemons);
    for (latency, seen) in latencies.into_iter().zip(seen) {
        compare(&world, &seen?, latency, figures)?;
    }
    Ok(())
}

/// The daemon also reads its documents again in slices over the interval of the sweep, which is no part of a rotation.
fn without_sweeps(secrets: usize) -> Outcome<World> {
    let mut world = World::new(secrets)?;
    world.sweep = "30d";
    Ok(world)
}

fn milliseconds(cpu: f64, rotations: usize) -> f64 {
    cpu * 1e3 / rotations as f64
}

fn latency(world: &World, seen: &Seen, figures: &mut Figures) -> Outcome<()> {
    figures.add(
        "calls per rotation up to the commit",
        seen.calls,
        "",
        Goal::AtMost(7.0),
        format!("{:.1} in all", seen.all_calls),
    );
    let bound = bound(seen.dynatrace_calls * world.secrets as f64);
    figures.add(
        format!(
            "{} due at once, 50 ms per Dynatrace call : the bound of that latency",
            world.secrets
        ),
        seen.took / bound,
        "",
        Goal::AtMost(1.15),
        format!("{:.2} s : {bound:.2} s", seen.took),
    );
    let sample = SAMPLE.min(world.secrets);
    let sequential = client::sequential(world, sample)?.as_secs_f64();
    let all = sequential / sample as f64 * world.secrets as f64;
    figures.add(
        "a sequential client, a connection per call : the daemon",
        all / seen.took,
        "",
        Goal::None,
        format!("{all:.0} s : {:.2} s", seen.took),
    );
    Ok(())
}

/// The plain client makes the same calls in the same world on the same machine.
fn compare(world: &World, seen: &Seen, latency: Duration, figures: &mut Figures) -> Outcome<()> {
    world.simulator.dynatrace().set_latency(latency);
    let plain = client::rotate(world)?;
    let calls = plain.calls as f64 / world.secrets as f64;
    if (calls - seen.all_calls).abs() > 0.5 {
        return Err(format!(
            "a rotation makes {:.1} calls and examples/floor.rs {calls:.1}: make them the same",
            seen.all_calls
        )
        .into());
    }
    let rotations = world.secrets as f64;
    let (rate, plain_rate) = (rotations / seen.took, rotations / plain.seconds);
    let latency = latency.as_millis();
    figures.add(
        format!("rotations per second : the plain client, {latency} ms per Dynatrace call"),
        rate / plain_rate,
        "",
        Goal::AtLeast(0.85),
        format!("{rate:.0} : {plain_rate:.0}"),
    );
    let cpu = milliseconds(seen.cpu, world.secrets);
    let plain_cpu = milliseconds(plain.cpu_seconds, world.secrets);
    figures.add(
        format!("CPU per rotation : the plain client, {latency} ms per Dynatrace call"),
        cpu / plain_cpu,
        "",
        Goal::AtMost(2.0),
        format!(
            "{cpu:.3} ms : {plain_cpu:.3} ms, {:.1} calls",
            seen.all_calls
        ),
    );
    Ok(())
}

/// Three daemons on the same secrets.
pub fn replicas(bench: &Bench, figures: &mut Figures) -> Outcome<()> {
    let world = World::new(bench.secrets(1000))?;
    let start = |name: &str| world.start(&bench.program, name, NEVER);
    let daemons = [start("one")?, start("two")?, start("three")?];
    for daemon in &daemons {
        daemon.ready()?;
    }
    for daemon in &daemons {
        daemon.quiet()?;
    }
    mark(&world, &daemons)?;
    let seen = due::at_once(&world, &daemons, LATENCY)?;
    figures.add(
        "calls per rotation up to the commit, three replicas together",
        seen.calls,
        "",
        Goal::AtMost(9.5),
        format!("{:.1} in all", seen.all_calls),
    );
    Ok(())
}

/// `rotate --all`. A first command records the secrets and marks their tokens, which is no part of a rotation.
pub fn command(bench: &Bench, figures: &mut Figures) -> Outcome<()> {
    let world = World::new(bench.secrets(300))?;
    let environment = world.simulator.dynatrace();
    let rotate = || {
        let mut command = world.command(&bench.program, NEVER)?;
        command.args(["rotate", "--all", "--yes", "--json"]);
        let began = Instant::now();
        let output = command.stderr(Stdio::null()).output()?;
        let took = began.elapsed().as_secs_f64();
        let rotated = String::from_utf8(output.stdout)?;
        let rotated = rotated.matches("\"result\":\"rotated\"").count();
        match output.status.success() && rotated == world.secrets {
            true => Outcome::Ok(took),
            false => Err(format!("the command rotated {rotated} of {}", world.secrets).into()),
        }
    };
    rotate()?;
    environment.set_latency(LATENCY);
    environment.reset_calls();
    let took = rotate()?;
    let calls = environment.calls().len();
    if calls > 3 * world.secrets + CONCURRENCY {
        return Err(format!("the command made {calls} calls to Dynatrace").into());
    }
    let bound = bound(calls as f64);
    figures.add(
        format!(
            "`rotate --all` of {} secrets, 50 ms per Dynatrace call : the bound of that latency",
            world.secrets
        ),
        took / bound,
        "",
        Goal::AtMost(1.25),
        format!("{took:.2} s : {bound:.2} s"),
    );
    Ok(())
}
