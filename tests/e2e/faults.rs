//! Every fault at every call of a life. Afterwards it recovers automatically and without an ERROR; or it is stuck, with exactly one ERROR
//! and a trouble in `dtrotate status`, until a person gives one command. Nothing is lost, nothing is done twice.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use serde_json::Value;
use simulator::{Action, Answer, Fault, LateAnswer, Rule, Until};

use crate::life::{Life, PATIENCE, Service, Step, chosen, disturb};
use crate::world::{LONG, Site, World, is_thorough, within};

/// So many cases run side by side.
const SIDE_BY_SIDE: usize = 16;
/// Steps this far apart are disturbed in the same life.
const EVERY: usize = 6;
/// Of the faults that come alone, a quick run chooses among every so many-th.
const FEWER: usize = 3;
/// And of those that are left, every so many-th for the kinds of tokens that differ from API tokens in a few calls.
const OTHER_KINDS: usize = 4;
/// A service that is out of order from a call on is so for this long.
const BLIP: Duration = Duration::from_secs(1);

/// What goes wrong.
#[derive(Clone)]
struct Trouble {
    name: &'static str,
    action: Action,
    /// From this call on the whole service does so for a while.
    lasts: bool,
    /// The answer says that a person must change something, so it may get stuck.
    needs_human: bool,
}

fn answer(service: Service, status: u16, words: &str) -> Answer {
    match service {
        Service::Vault => Answer::vault(status, &[words]),
        Service::Dynatrace => Answer::dynatrace(status, words),
    }
}

/// What can happen to one call and heals without a human.
pub fn healing(service: Service, writes: bool) -> Vec<(&'static str, Action)> {
    let refuse = |status, words: &str| Action::Refuse(answer(service, status, words));
    let busy = answer(service, 429, "too many requests").with_header("retry-after", "1");
    let text = |text: &str| Answer::status(200).with_body(text);
    let late = |until| Action::Late {
        until,
        answer: LateAnswer::Silence,
    };
    let long = Answer::status(200)
        .with_header("content-type", "application/json")
        .with_body(&format!("{{\"data\":\"{}\"}}", "x".repeat(10 << 20)));
    // The three timeouts are so far apart that a life meets one of them: several in a row are an outage, which is an ERROR.
    let mut list = vec![
        ("reset before", Action::Reset),
        ("reset after", Action::LoseAnswer),
        ("timeout before", late(Until::Released)),
        ("429", refuse(429, "too many requests")),
        ("429 with Retry-After", Action::Refuse(busy)),
        ("500", refuse(500, "internal error")),
        ("502 after", Action::PerformThenAnswer(Answer::proxy(502))),
        ("503", refuse(503, "Vault is sealed")),
        ("truncated", Action::TruncateBody),
        ("not JSON", Action::Refuse(text("ok"))),
        ("timeout after", Action::HoldAnswer),
        ("not JSON after", Action::PerformThenAnswer(text("ok"))),
        ("empty object", Action::Refuse(text("{}"))),
        ("HTML", Action::Refuse(Answer::proxy(200))),
        ("HTML after", Action::Html),
        ("10 MB", Action::Refuse(long.clone())),
        ("10 MB after", Action::PerformThenAnswer(long)),
        ("endless", Action::EndlessBody),
        (
            "effect after the timeout",
            late(Until::Elapsed(Duration::from_secs(5))),
        ),
    ];
    if service == Service::Vault {
        let dead = Answer::status(307).with_header("location", "https://127.0.0.1:1/v1/x");
        list.push(("307", Action::Refuse(dead)));
    }
    if service == Service::Vault && writes {
        let conflict = "check-and-set parameter did not match the current version";
        list.push(("conflict", refuse(400, conflict)));
    }
    list
}

fn troubles(step: &Step) -> Vec<Trouble> {
    let service = step.service;
    let refuse = |status, words: &str| Action::Refuse(answer(service, status, words));
    let one = |(name, action)| Trouble {
        name,
        action,
        lasts: false,
        needs_human: false,
    };
    let mut troubles: Vec<Trouble> = healing(service, step.writes).into_iter().map(one).collect();
    for (name, status) in [("400", 400), ("401", 401), ("403", 403), ("404", 404)] {
        troubles.push(Trouble {
            needs_human: true,
            ..one((name, refuse(status, "no")))
        });
    }
    for (name, action) in [
        ("sealed for a while", refuse(503, "Vault is sealed")),
        ("404 to everything", Action::Refuse(Answer::proxy(404))),
        ("resets everything", Action::Reset),
        ("refuses connections", Action::Reset),
    ] {
        troubles.push(Trouble {
            lasts: true,
            ..one((name, action))
        });
    }
    troubles
}

/// A fault and the call that it is to meet.
type Planned = (Step, Trouble);

/// One life: what goes wrong in it, at which calls. Never two troubles that need a human.
#[derive(Default)]
struct Case(Vec<Planned>);

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (step, trouble) in &self.0 {
            write!(f, "[{step}: {}] ", trouble.name)?;
        }
        Ok(())
    }
}

/// Every trouble at every step. What hits one call and heals without a human comes several to a life, at calls far from one another and always
/// in other company; what lasts or needs a human comes alone.
fn cases(steps: &[Step]) -> Vec<Case> {
    let mut cases: BTreeMap<usize, Case> = BTreeMap::new();
    let mut alone = vec![];
    for (at, step) in steps.iter().enumerate() {
        for (number, trouble) in troubles(step).into_iter().enumerate() {
            let fault = (step.clone(), trouble);
            if fault.1.needs_human || fault.1.lasts {
                alone.push(Case(vec![fault]));
            } else {
                // Steps that are EVERY apart meet in one life, each with another trouble.
                let life = (at % EVERY) * 100 + (number + at / EVERY) % 30;
                cases.entry(life).or_default().0.push(fault);
            }
        }
    }
    let fewer = if is_thorough() { 1 } else { FEWER };
    let alone = alone.into_iter().step_by(fewer);
    chosen(cases.into_values().chain(alone).collect())
}

#[tokio::test]
async fn p1_to_p8_hold_after_a_lost_answer_and_after_a_refusal_at_the_store() {
    let site = &Site::new().await;
    let planned = |name: &str| {
        let mut all = troubles(&Step::store()).into_iter();
        let trouble = all.find(|trouble| trouble.name == name);
        Case(vec![(Step::store(), trouble.expect("it is planned"))])
    };
    let (lost, refused) = (planned("reset after"), planned("403"));
    let life = Life::Token;
    let (lost, refused) = tokio::join!(
        run(life, site, "lost", &lost),
        run(life, site, "refused", &refused)
    );
    for (rest, stuck) in [(lost, false), (refused, true)] {
        let rest = rest.unwrap_or_else(|broken| panic!("{broken}"));
        assert!(rest.missed.is_empty(), "the store was never made");
        assert_eq!(rest.stuck, stuck);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_to_p8_hold_after_every_fault_at_every_call() {
    let site = Site::new().await;
    survive_every_fault(Life::Token, &site).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "some minutes: `make thorough`"]
async fn p1_to_p8_hold_after_every_fault_at_every_call_of_a_platform_token() {
    let site = Site::new().await;
    survive_every_fault(Life::Platform, &site).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_to_p8_hold_after_every_fault_at_every_call_of_an_active_gate_token() {
    let site = Site::new().await;
    survive_every_fault(Life::ActiveGate, &site).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_to_p8_hold_after_every_fault_at_every_call_of_a_cluster_token() {
    let site = Site::new().await;
    survive_every_fault(Life::Cluster, &site).await;
}

async fn survive_every_fault(life: Life, site: &Arc<Site>) {
    let mut cases = cases(&life.steps(site).await);
    let is_whole = life == Life::Token || is_thorough();
    if !is_whole {
        cases = cases.into_iter().step_by(OTHER_KINDS).collect();
    }
    let count = cases.len();
    let faults: usize = cases.iter().map(|case| case.0.len()).sum();
    assert!(
        faults > 120 || !is_whole,
        "a life has more calls than that: {faults}"
    );
    let needs_human = |case: &&Case| case.0.iter().any(|(_, trouble)| trouble.needs_human);
    let may_need_human = cases.iter().filter(needs_human).count();
    let (rests, mut bad) = run_all(life, site, "fault", cases).await;
    let stuck = rests.iter().filter(|rest| rest.stuck).count();
    let reported = rests.iter().filter(|rest| rest.reported).count();
    // Where one fault makes a run begin again, a later call may not be made so often: such a fault gets a life of its own.
    let missed = rests.into_iter().flat_map(|rest| rest.missed);
    let alone: Vec<Case> = missed.map(|fault| Case(vec![fault])).collect();
    eprintln!(
        "{faults} faults in {count} lives, {reported} reported ({stuck} stuck); {} tried alone",
        alone.len()
    );
    let (rests, more) = run_all(life, site, "alone", alone).await;
    bad.extend(more);
    for fault in rests.into_iter().flat_map(|rest| rest.missed) {
        let fault = Case(vec![fault]);
        bad.push(format!("{fault}: planned, and its call was never made"));
    }
    let worse = bad.len();
    assert!(bad.is_empty(), "{worse} of {count}\n{}", bad.join("\n"));
    assert!(
        reported * 4 > may_need_human && stuck > 0 || !is_whole,
        "{reported} of {may_need_human} were reported, {stuck} got stuck"
    );
}

/// How the cases came to rest, and what is wrong with the others.
async fn run_all(
    life: Life,
    site: &Arc<Site>,
    tag: &str,
    cases: Vec<Case>,
) -> (Vec<Rest>, Vec<String>) {
    let mut runs = stream::iter(cases.into_iter().enumerate())
        .map(|(number, case)| async move {
            let outcome = run(life, site, &format!("{tag}{number}"), &case).await;
            outcome.map_err(|why| format!("{case}:\n{why}"))
        })
        .buffer_unordered(SIDE_BY_SIDE);
    let (mut rests, mut bad) = (vec![], vec![]);
    while let Some(outcome) = runs.next().await {
        match outcome {
            Ok(rest) => rests.push(rest),
            Err(why) => bad.push(why),
        }
    }
    (rests, bad)
}

/// How a case came to rest, or what is wrong.
async fn run(life: Life, site: &Arc<Site>, tag: &str, case: &Case) -> Result<Rest, String> {
    let mut world = life.prepare(site, tag).await;
    let needs_human = case.0.iter().any(|(_, trouble)| trouble.needs_human);
    if needs_human {
        world.set("ops.listen", own_address());
    }
    let world = Arc::new(world);
    let mut armed = vec![];
    for (step, trouble) in &case.0 {
        armed.push((disturb(&world, step, trouble.action.clone()), step, trouble));
    }
    let daemon = world.start("e2e");
    let lasting = armed.iter().filter(|(_, _, trouble)| trouble.lasts);
    let lasting = lasting.map(|(fault, step, trouble)| last(&world, fault, step, trouble));
    let (mut stuck, mut broken) = (false, vec![]);
    let living = async {
        let rested = within(PATIENCE, async || {
            life.is_over(&world).await || (needs_human && is_stuck(&world).await)
        });
        if rested.await && is_stuck(&world).await {
            stuck = true;
            let shown = within(LONG, async || {
                troubles_shown(&world).await == ["rotation_stuck"]
            });
            if !shown.await {
                let shown = troubles_shown(&world).await;
                broken.push(format!("P8: stuck, and `dtrotate status` shows {shown:?}"));
            }
            world.command(&["rotate", "--all"]).await;
        }
        within(PATIENCE, async || life.is_over(&world).await).await
    };
    let lasting = async {
        join_all(lasting).await;
        std::future::pending().await
    };
    let over = tokio::select! {
        over = living => over,
        over = lasting => over,
    };
    if !over {
        let record = world.record(0).await;
        broken.push(format!("it did not become idle: {record}"));
    }
    let errors = world.errors();
    match (errors.as_slice(), needs_human) {
        ([], _) if !stuck => {}
        ([error], true) if stuck || is_condition(&world, error).await => {}
        _ => broken.push(format!("P8: stuck {stuck}, and these ERRORs: {errors:?}")),
    }
    drop(daemon);
    broken.extend(world.broken().await);
    // The person's rotation may come after one that was only retiring.
    let replaced = world.replaced(0).await;
    if replaced != 1 && !(stuck && replaced == 2) {
        broken.push(format!("P6: replaced {replaced} times"));
    }
    if !broken.is_empty() {
        return Err(broken.join("\n"));
    }
    let missed = armed.into_iter().filter(|(fault, ..)| fault.fired() == 0);
    let missed = missed.map(|(_, step, trouble)| (step.clone(), trouble.clone()));
    let missed = missed.collect();
    let reported = !errors.is_empty();
    Ok(Rest {
        missed,
        stuck,
        reported,
    })
}

/// How a case came to rest.
struct Rest {
    /// Those of its faults whose calls were never made.
    missed: Vec<Planned>,
    /// A person had to give a command.
    stuck: bool,
    /// There was an ERROR.
    reported: bool,
}

/// An address for one daemon's listener, away from the ports of 127.0.0.1 that connections use.
fn own_address() -> String {
    static NUMBER: AtomicU16 = AtomicU16::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let process = 1 + std::process::id() % 250;
    format!("127.{process}.{}.{}:9780", number / 250, 1 + number % 250)
}

/// The events of the troubles that the daemon shows now.
async fn troubles_shown(world: &World) -> Vec<String> {
    let (_, status) = world.command(&["status", "--json"]).await;
    let status: Value = serde_json::from_str(&status).unwrap_or_default();
    let troubles = status["troubles"].as_array().cloned().unwrap_or_default();
    let event = |trouble: &Value| trouble["event"].as_str().map(str::to_owned);
    troubles.iter().filter_map(event).collect()
}

/// What this ERROR reported is still open, or its end was reported as well.
async fn is_condition(world: &World, error: &Value) -> bool {
    let event = error["event"].as_str().expect("an event");
    let end = match event {
        "vault_unavailable" => "vault_available",
        "dynatrace_unavailable" => "dynatrace_available",
        own => own,
    };
    within(LONG, async || {
        let lines = world.lines();
        let mut ends = lines.iter().filter(|line| line["event"] == end);
        ends.any(|line| line["level"] == "INFO") || troubles_shown(world).await == [event]
    })
    .await
}

/// The whole service is out of order for a while.
async fn last(world: &World, fault: &Fault, step: &Step, trouble: &Trouble) {
    fault.wait_fired(1, PATIENCE).await;
    let rule = Rule::any().always().then(trouble.action.clone());
    match step.service {
        Service::Vault if trouble.name == "refuses connections" => {
            world.gate.shut().await;
            tokio::time::sleep(BLIP).await;
            world.gate.open().await.expect("the same port");
        }
        Service::Vault => for_a_while(world.gate.fault(rule)).await,
        Service::Dynatrace => for_a_while(world.issuer.fault(&step.what, rule)).await,
    }
}

async fn for_a_while(fault: Fault) {
    tokio::time::sleep(BLIP).await;
    fault.remove();
}

/// It says that a person is needed.
async fn is_stuck(world: &World) -> bool {
    let record = world.record(0).await;
    let failure = &record["failure"];
    record["claim"].is_null() && !failure.is_null() && failure["retry_at"].is_null()
}
