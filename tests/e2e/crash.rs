//! A crash at every step of a life: the process is killed before a call takes effect, after it took effect and before its answer came, and
//! when the answer came; or its call takes effect when its successor is at work. The next start settles it, without a human, and in the time
//! that is promised.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use simulator::Action;

use crate::life::{Life, PATIENCE, Step, chosen, disturb};
use crate::world::{Daemon, Site, World, within};

/// So many cases run side by side.
const SIDE_BY_SIDE: usize = 16;

/// What a machine that is busy with so many cases may add to a promised time: the start of the process and its turns. On an idle one it is
/// about a second.
const ALLOWANCE: Duration = Duration::from_secs(20);

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

/// What becomes of the process, and which process continues its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Killed, and the same instance starts again.
    Restarted,
    /// Killed, and another instance finds what it left.
    Replaced,
    /// Frozen while another instance takes over and finishes; then it wakes up and continues.
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

/// How a case came to rest.
struct Rest {
    /// How long the successor took to settle what was left.
    took: Duration,
    /// How often the value was replaced in all.
    replaced: usize,
}

#[tokio::test]
async fn p1_to_p5_hold_after_a_crash_at_the_store() {
    let case = Case {
        step: Step::store(),
        moment: Moment::Unanswered,
        fate: Fate::Restarted,
    };
    let rest = run(&Site::new().await, Life::Token, "one", &case).await;
    assert!(matches!(&rest, Ok(Some(_))), "{:?}", rest.err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_to_p5_hold_after_a_crash_at_every_step() {
    all(Life::Token, 60, |step| {
        let mut moments = vec![Moment::Before, Moment::Unanswered];
        if step.writes {
            moments.extend([Moment::Answered, Moment::Late]);
        }
        let moments = moments.into_iter();
        moments.map(|moment| (moment, Fate::Restarted)).collect()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_to_p5_hold_after_a_crash_at_every_step_of_a_platform_token() {
    all(Life::Platform, 40, |step| {
        let mut moments = vec![Moment::Before, Moment::Unanswered];
        if step.writes {
            moments.push(Moment::Late);
        }
        let moments = moments.into_iter();
        moments.map(|moment| (moment, Fate::Restarted)).collect()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_to_p5_hold_after_a_crash_at_every_step_of_an_active_gate_token() {
    all(Life::ActiveGate, 30, other_kind).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_to_p5_hold_after_a_crash_at_every_step_of_a_cluster_token() {
    all(Life::Cluster, 40, other_kind).await;
}

/// A crash at every step, and another replica after a write.
fn other_kind(step: &Step) -> Vec<(Moment, Fate)> {
    let mut cases = vec![
        (Moment::Before, Fate::Restarted),
        (Moment::Unanswered, Fate::Restarted),
    ];
    if step.writes {
        cases.push((Moment::Late, Fate::Restarted));
        cases.push((Moment::Unanswered, Fate::Replaced));
        cases.push((Moment::Before, Fate::Frozen));
    }
    cases
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p6_another_replica_finishes_what_a_dead_or_frozen_one_began() {
    all(Life::Token, 30, |step| {
        let moments = [Moment::Before, Moment::Unanswered].into_iter();
        let fates = |moment| [Fate::Replaced, Fate::Frozen].map(|fate| (moment, fate));
        moments.filter(|_| step.writes).flat_map(fates).collect()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_to_p5_hold_after_a_crash_at_every_step_of_the_management_tokens_own_rotation() {
    all(Life::Management, 50, |_| {
        [Moment::Before, Moment::Unanswered]
            .map(|moment| (moment, Fate::Restarted))
            .to_vec()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_to_p5_hold_after_a_crash_at_every_step_of_the_first_mint() {
    all(Life::Creation, 20, |step| {
        let mut cases = vec![
            (Moment::Before, Fate::Restarted),
            (Moment::Unanswered, Fate::Restarted),
        ];
        if step.writes {
            cases.extend([
                (Moment::Late, Fate::Restarted),
                (Moment::Unanswered, Fate::Replaced),
                (Moment::Before, Fate::Frozen),
            ]);
        }
        cases
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_to_p5_hold_after_a_crash_at_every_step_of_an_undo() {
    let rests = all(Life::Undo, 20, |step| {
        let mut cases = vec![
            (Moment::Before, Fate::Replaced),
            (Moment::Unanswered, Fate::Replaced),
        ];
        if step.writes {
            cases.extend([
                (Moment::Late, Fate::Replaced),
                (Moment::Before, Fate::Frozen),
            ]);
        }
        cases
    })
    .await;
    let came_back = rests.iter().filter(|rest| rest.replaced == 2).count();
    // Either the previous token is the value again or the newer one still is, as far as the undo had come.
    assert!(came_back > 0 && came_back < rests.len(), "{came_back}");
}

/// Lives as often as `cases_of` says for each step, which must be more than `least` times in all. How they came to rest.
async fn all(
    life: Life,
    least: usize,
    cases_of: impl Fn(&Step) -> Vec<(Moment, Fate)>,
) -> Vec<Rest> {
    let site = &Site::new().await;
    let mut cases = vec![];
    for step in life.steps(site).await {
        for (moment, fate) in cases_of(&step) {
            let step = step.clone();
            cases.push(Case { step, moment, fate });
        }
    }
    assert!(cases.len() > least, "only {} cases", cases.len());
    let cases = chosen(cases);
    let count = cases.len();
    let (mut rests, mut missed, mut bad) = (vec![], cases, vec![]);
    // A step that a life does not take by chance is taken by the next one.
    for attempt in 0..2 {
        let (more, not_met) = run_all(site, life, attempt, missed, &mut bad).await;
        rests.extend(more);
        missed = not_met;
    }
    bad.extend(
        missed
            .iter()
            .map(|case| format!("{case}: the step was never taken")),
    );
    let slowest = rests.iter().map(|rest| rest.took).max();
    eprintln!("{life:?}: {count} cases; slowest settling: {slowest:?}");
    let worse = bad.len();
    assert!(bad.is_empty(), "{worse} of {count}\n{}", bad.join("\n"));
    rests
}

/// How the cases came to rest, and those whose steps were not taken.
async fn run_all(
    site: &Arc<Site>,
    life: Life,
    attempt: usize,
    cases: Vec<Case>,
    bad: &mut Vec<String>,
) -> (Vec<Rest>, Vec<Case>) {
    let mut runs = stream::iter(cases.into_iter().enumerate())
        .map(|(number, case)| async move {
            let outcome = run(site, life, &format!("case{attempt}-{number}"), &case).await;
            (case, outcome)
        })
        .buffer_unordered(SIDE_BY_SIDE);
    let (mut rests, mut missed) = (vec![], vec![]);
    while let Some((case, outcome)) = runs.next().await {
        match outcome {
            Ok(Some(rest)) => rests.push(rest),
            Ok(None) => missed.push(case),
            Err(why) => bad.push(format!("{case}:\n{why}")),
        }
    }
    (rests, missed)
}

/// How it came to rest (none: the step was not met), or what is wrong.
async fn run(site: &Arc<Site>, life: Life, tag: &str, case: &Case) -> Result<Option<Rest>, String> {
    let mut world = life.prepare(site, tag).await;
    let late = case.moment == Moment::Late || case.fate == Fate::Frozen;
    match case.fate {
        // It does not wait for a claim of its own name.
        Fate::Restarted => world.set("journal.claim_timeout", "60s"),
        Fate::Replaced | Fate::Frozen => world.set("daemon.sweep", "2s"),
    }
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
    let mut first = life.begin(&world, "first");
    within(PATIENCE, async || {
        fault.held() > 0 || first.has_ended() || life.is_over(&world).await
    })
    .await;
    if fault.held() == 0 {
        // How often a secret is read differs by a look from life to life.
        let why = "the step was never reached".to_owned();
        let ended = life.is_command() && first.has_ended();
        return if ended || life.is_over(&world).await {
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
        // It wakes up when all is done, a command when its work was taken over; and its call takes effect, or its answer comes.
        let done = async || life.is_command() || life.is_over(&world).await;
        within(PATIENCE, done).await;
        first.signal("-CONT");
    }
    if late {
        fault.release();
        fault.wait_performed(1, PATIENCE).await;
    }
    if case.fate == Fate::Frozen && !ends_well(life, &world, &mut first).await {
        return Err("the thawed one does not end well".to_owned());
    }
    let over = settled && within(PATIENCE, async || life.is_over(&world).await).await;
    drop(daemon);
    let mut broken = world.broken().await;
    if !over {
        broken.push(format!("it did not become idle: {}", world.record(0).await));
    }
    let limit = promised(&world, case.fate) + ALLOWANCE;
    if took > limit {
        broken.push(format!("P6: it took {took:?}, more than {limit:?}"));
    }
    let replaced = world.replaced(0).await;
    if !life.replacements().contains(&replaced) {
        broken.push(format!("P6: replaced {replaced} times"));
    }
    broken.extend(world.errors().iter().map(|line| format!("P8: {line}")));
    if broken.is_empty() {
        Ok(Some(Rest { took, replaced }))
    } else {
        Err(broken.join("\n"))
    }
}

/// A thawed process continues and ends: a daemon when it gets the signal, a command when it is done.
async fn ends_well(life: Life, world: &World, process: &mut Daemon) -> bool {
    if life.is_command() {
        return within(PATIENCE, async || process.has_ended()).await;
    }
    within(PATIENCE, async || life.is_over(world).await).await;
    process.signal("-TERM");
    process.exit_code() == Some(0)
}

/// In which time what was begun is finished by the next process: the same instance continues at once, another one within `claim_timeout` and one
/// sweep. What may have been minted is accounted for by two listings that are `settle` apart.
fn promised(world: &World, fate: Fate) -> Duration {
    let listings = world.settle() * 2;
    match fate {
        Fate::Restarted => listings,
        Fate::Replaced | Fate::Frozen => {
            let claim = world.seconds("journal.claim_timeout");
            claim + world.seconds("daemon.sweep") + listings
        }
    }
}

/// The secret is known, and nobody is at work on what was begun.
async fn is_settled(world: &World) -> bool {
    let record = world.record(0).await;
    let open = record["open"].as_array().is_none_or(Vec::is_empty);
    !record.is_null() && record["claim"].is_null() && open
}
