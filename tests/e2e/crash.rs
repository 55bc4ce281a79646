//! A crash at every step of a life: the process is killed before a call takes effect, after it took effect and before its answer came, and
//! when the answer came; or its call takes effect when its successor is at work. The next start settles it, without a human.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use simulator::Action;

use crate::life::{PATIENCE, Step, aged, disturb, is_over, steps};
use crate::world::{Site, World, within};

/// So many cases run side by side.
const SIDE_BY_SIDE: usize = 16;

/// When the process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// The call never takes effect.
    Before,
    /// It took effect, and the answer never came.
    Unanswered,
    /// The answer came.
    Answered,
    /// The call takes effect after the successor has settled everything.
    Late,
}

/// What becomes of the process, and who comes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Killed, and the same instance starts again.
    Restarted,
    /// Killed, and another instance finds what it left.
    Replaced,
    /// Frozen while another instance takes over and finishes; then it wakes up and goes on.
    Frozen,
}

struct Case {
    step: Step,
    moment: Moment,
    fate: Fate,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {:?}, {:?}", self.step, self.moment, self.fate)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_to_p5_hold_after_a_crash_at_every_step() {
    let site = Site::new().await;
    let mut cases = vec![];
    for step in steps(&site).await {
        let mut moments = vec![Moment::Before, Moment::Unanswered];
        if step.writes {
            moments.extend([Moment::Answered, Moment::Late]);
        }
        let case = |moment| Case {
            step: step.clone(),
            moment,
            fate: Fate::Restarted,
        };
        cases.extend(moments.into_iter().map(case));
    }
    assert!(cases.len() > 60, "a life has more steps: {}", cases.len());
    all(&site, "restarted", cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p6_another_replica_finishes_what_a_dead_or_frozen_one_began() {
    let site = Site::new().await;
    let mut cases = vec![];
    for step in steps(&site).await.into_iter().filter(|step| step.writes) {
        for fate in [Fate::Replaced, Fate::Frozen] {
            let case = |moment| Case {
                step: step.clone(),
                moment,
                fate,
            };
            cases.extend([Moment::Before, Moment::Unanswered].map(case));
        }
    }
    assert!(cases.len() > 30, "a life has more steps: {}", cases.len());
    all(&site, "replaced", cases).await;
}

async fn all(site: &Arc<Site>, tag: &str, cases: Vec<Case>) {
    let count = cases.len();
    let mut runs = stream::iter(cases.into_iter().enumerate())
        .map(|(number, case)| async move {
            let outcome = run(site, &format!("{tag}{number}"), &case).await;
            (case, outcome)
        })
        .buffer_unordered(SIDE_BY_SIDE);
    let (mut times, mut bad, mut unmet) = (vec![], vec![], 0);
    while let Some((case, outcome)) = runs.next().await {
        match outcome {
            Ok(Some(settled)) => times.push((settled, case.to_string())),
            Ok(None) => unmet += 1,
            Err(why) => bad.push(format!("{case}:\n{why}")),
        }
    }
    times.sort();
    eprintln!("{count} cases; slowest settling: {:?}", times.last());
    assert!(
        bad.is_empty(),
        "{} of {count}\n{}",
        bad.len(),
        bad.join("\n")
    );
    assert!(unmet * 20 < count, "{unmet} of {count} steps were not met");
}

/// How long the successor took to settle what was left (none: the step was not met), or what is wrong.
async fn run(site: &Arc<Site>, tag: &str, case: &Case) -> Result<Option<Duration>, String> {
    let mut world = aged(site, tag).await;
    let late = case.moment == Moment::Late || case.fate == Fate::Frozen;
    if late {
        // What appears when all is settled is found by the sweep.
        world.set("daemon.sweep", "1s");
    }
    let world = Arc::new(world);
    let action = match case.moment {
        Moment::Before | Moment::Late => Action::Hold,
        Moment::Unanswered | Moment::Answered => Action::HoldAnswer,
    };
    let fault = disturb(&world, &case.step, action);
    let mut first = world.start("first");
    within(PATIENCE, async || fault.held() > 0 || is_over(&world).await).await;
    if fault.held() == 0 {
        // How often a secret is read differs by a look from life to life.
        let why = "the step was never reached".to_owned();
        return if is_over(&world).await {
            Ok(None)
        } else {
            Err(why)
        };
    }
    if case.moment == Moment::Answered {
        fault.release();
    }
    match case.fate {
        Fate::Frozen => first.signal("-STOP"),
        Fate::Restarted | Fate::Replaced => first.kill(),
    }
    if !late {
        fault.drop_held();
    }
    let began = Instant::now();
    let successor = match case.fate {
        Fate::Restarted => "first",
        Fate::Replaced | Fate::Frozen => "second",
    };
    let daemon = world.start(successor);
    let settled = within(PATIENCE, async || is_settled(&world).await).await;
    let took = began.elapsed();
    if case.fate == Fate::Frozen {
        // It wakes up when all is done, and its call takes effect, or its answer comes.
        within(PATIENCE, async || is_over(&world).await).await;
        first.signal("-CONT");
    }
    if late {
        fault.release();
        fault.wait_performed(1, PATIENCE).await;
    }
    let over = settled && within(PATIENCE, async || is_over(&world).await).await;
    if case.fate == Fate::Frozen {
        first.signal("-TERM");
        if first.exit_code() != Some(0) {
            return Err("the thawed one does not end well".to_owned());
        }
    }
    drop(daemon);
    let mut broken = world.broken().await;
    if !over {
        broken.push(format!(
            "it did not come to rest: {}",
            world.record(0).await
        ));
    }
    if world.replaced(0).await != 1 {
        broken.push(format!("P6: replaced {} times", world.replaced(0).await));
    }
    broken.extend(world.errors().iter().map(|line| format!("P8: {line}")));
    if broken.is_empty() {
        Ok(Some(took))
    } else {
        Err(broken.join("\n"))
    }
}

/// The secret is known, and nobody is at work on what was begun.
async fn is_settled(world: &World) -> bool {
    let record = world.record(0).await;
    let open = record["open"].as_array().is_none_or(Vec::is_empty);
    !record.is_null() && record["claim"].is_null() && open
}
