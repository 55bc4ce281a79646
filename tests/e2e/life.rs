//! One whole life of a token, call by call: adopted, replaced once, the old one disabled and deleted. The calls are recorded from an
//! undisturbed run, so that a new step is covered the day it is added; a test then disturbs each of them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::json;
use simulator::{Action, Call, Fault, Rule, Seed};

use crate::world::{Site, World, note, now, until};

/// Who is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    Vault,
    Dynatrace,
}

/// One call of a life: the `nth` one that asks this service for the same.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step {
    pub service: Service,
    pub what: String,
    pub nth: usize,
    /// It changes something over there.
    pub writes: bool,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {} #{}", self.service, self.what, self.nth)
    }
}

/// A world of one secret whose token is so old that it is replaced at once, by its expiry, and not again.
pub async fn aged(site: &Arc<Site>, tag: &str) -> World {
    let mut world = World::on(Arc::clone(site), tag, 1).await;
    for (key, value) in [
        ("defaults.grace", "1s"),
        ("defaults.max_grace", "2s"),
        ("defaults.quarantine", "1s"),
        ("defaults.jitter", "1s"),
        ("dynatrace.prod.settle", "1s"),
        ("dynatrace.prod.timeout", "4s"),
        ("vault.timeout", "4s"),
        ("journal.claim_timeout", "3s"),
        ("daemon.sweep", "30s"),
    ] {
        world.set(key, value);
    }
    let first = world.dynatrace.token_by_value(&world.value(0).await);
    world.dynatrace.delete(&first.expect("the first token").id);
    let now = now();
    let days = |days: i64| now + SignedDuration::from_hours(24 * days);
    let seed = Seed::new("aged")
        .scopes(&["metrics.read", "logs.ingest"])
        .created(days(-100))
        .expires(days(10));
    let value = world.dynatrace.seed(seed).value;
    world
        .root
        .delete_metadata("secret", &world.secrets[0])
        .await;
    let data = json!({ "token": value, "note": note(0) });
    world.root.put("secret", &world.secrets[0], data).await;
    world
}

/// The token was replaced, and the old one is gone. Looked at in this order, since what was seen first does not change any more.
pub async fn is_over(world: &World) -> bool {
    world.dynatrace.issued().len() > 3
        && world.tokens() == 1
        && world.value(0).await != world.dynatrace.issued()[2]
        && world.is_quiet().await
}

/// The steps of an undisturbed life, in the order of their first calls.
pub async fn steps(site: &Arc<Site>) -> Vec<Step> {
    let world = aged(site, "undisturbed").await;
    let daemon = world.start("e2e");
    until("a whole life", async || is_over(&world).await).await;
    drop(daemon);
    world.assert_holds().await;
    assert_eq!(world.replaced(0).await, 1);
    let mut calls = vec![];
    for (service, seen) in [
        (Service::Vault, world.gate.calls()),
        (Service::Dynatrace, world.dynatrace.calls()),
    ] {
        calls.extend(seen.into_iter().map(|call| (call.instant, service, call)));
    }
    calls.sort_by_key(|(instant, ..)| *instant);
    let mut counts: BTreeMap<(Service, String), usize> = BTreeMap::new();
    let step = |(_, service, call): (_, Service, Call)| {
        let what = what(&world, &call);
        let nth = counts.entry((service, what.clone())).or_default();
        *nth += 1;
        let writes = match service {
            Service::Vault => call.path.contains("/data/") && call.method != "GET",
            Service::Dynatrace => matches!(call.method.as_str(), "POST" | "PUT" | "DELETE"),
        };
        Step {
            service,
            writes: writes && !what.contains("lookup"),
            what,
            nth: *nth,
        }
    };
    calls.into_iter().map(step).collect()
}

/// What a call asks for, the same in every world.
fn what(world: &World, call: &Call) -> String {
    let subject = call.subject.as_deref().unwrap_or_default();
    let role = match subject.strip_prefix("secret/") {
        Some(path) if path == world.secrets[0] => " of the secret",
        Some(path) if path == world.master => " of the management token",
        Some(path) if path == world.document(0) => " of the journal",
        Some(path) if path.ends_with("_installation") => " of the installation",
        _ => "",
    };
    format!("{} {}{role}", call.method, call.path)
}

/// Puts `action` on a step of this world.
pub fn disturb(world: &Arc<World>, step: &Step, action: Action) -> Fault {
    let (here, wanted) = (Arc::downgrade(world), step.what.clone());
    let is_it = move |call: &Call| {
        here.upgrade()
            .is_some_and(|world| what(&world, call) == wanted)
    };
    let rule = Rule::any().matching(is_it).nth(step.nth).then(action);
    match step.service {
        Service::Vault => world.gate.fault(rule),
        Service::Dynatrace => world.dynatrace.fault(rule),
    }
}

/// How long a step may take to be reached or a life to be over.
pub const PATIENCE: Duration = Duration::from_secs(150);
