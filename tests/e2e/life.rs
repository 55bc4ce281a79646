//! Whole lives, call by call: of a token (adopted, replaced once, the old one disabled and deleted), of the management token likewise, of
//! an undo, and of the first token of a secret. The calls are recorded from an undisturbed run, so that a new step is covered the day it is added; a test then disturbs each
//! of them.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::SignedDuration;
use serde_json::json;
use simulator::{Action, Call, Fault, Rule, Seed};

use crate::world::{Daemon, Kind, Site, World, is_thorough, note, now, until};

/// So many undisturbed lives are recorded.
const RECORDED: usize = 3;

/// What is lived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// A token is so old that a daemon replaces it at once, by its expiry, and not again; then the old one is disabled and deleted.
    Token,
    /// The same of the management token, which is listed as a secret.
    Management,
    /// The token was replaced and the old one stands disabled. A person's `dtrotate undo` brings it back; then a daemon lets the newer
    /// one retire.
    Undo,
    /// As `Token`, of a platform token that is due.
    Platform,
    /// As `Platform`, of an ActiveGate token: it is deleted when its grace is over.
    ActiveGate,
    /// As `Token`, of a token of a Managed cluster.
    Cluster,
    /// Nothing is at the path, and a daemon creates the first token.
    Creation,
}

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

impl Step {
    /// The write by which a new value becomes the current one.
    pub fn store() -> Step {
        Step {
            service: Service::Vault,
            what: "POST /v1/secret/data/{path} of the secret".to_owned(),
            nth: 1,
            writes: true,
        }
    }

    fn is_of_the_history(&self) -> bool {
        self.service == Service::Vault && self.what.ends_with("/v1/secret/data/{path}")
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {} #{}", self.service, self.what, self.nth)
    }
}

impl Life {
    /// A world in which it is about to begin.
    pub async fn prepare(self, site: &Arc<Site>, tag: &str) -> World {
        match self {
            Life::Token => aged(site, tag).await,
            Life::Management => aged_management(site, tag).await,
            Life::Undo => replaced(site, tag).await,
            Life::Platform => due(Kind::Platform, site, tag).await,
            Life::ActiveGate => due(Kind::ActiveGate, site, tag).await,
            Life::Cluster => aged_of(Kind::Cluster, site, tag).await,
            Life::Creation => vacant(site, tag).await,
        }
    }

    /// Starts the process whose calls are recorded and disturbed.
    pub fn begin(self, world: &World, name: &str) -> Daemon {
        match self {
            Life::Undo => world.start_command(name, &["undo", &world.secrets[0]]),
            _ => world.start(name),
        }
    }

    /// The process that is recorded is a command, which ends without a signal and has no successor of its own name.
    pub fn is_command(self) -> bool {
        self == Life::Undo
    }

    /// How often the value of the secret may have been replaced in the end.
    pub fn replacements(self) -> RangeInclusive<usize> {
        match self {
            Life::Creation => 0..=0,
            // Once before; and once more by the undo, or not at all.
            Life::Undo => 1..=2,
            _ => 1..=1,
        }
    }

    /// Nothing is left to be done. For a token: it was replaced, and the old one is gone. Looked at in this order, since what was seen first
    /// no longer changes.
    pub async fn is_over(self, world: &World) -> bool {
        let issued = world.issuer.issued();
        // What was seeded, and how many tokens stay.
        let (seeded, stay) = match self {
            Life::Token | Life::Cluster => (3, 2),
            Life::Management => (2, 1),
            Life::Platform => (1, 1),
            Life::ActiveGate => (2, 1),
            Life::Creation => {
                let there = world
                    .root
                    .secret("secret", &world.secrets[0])
                    .await
                    .is_some();
                return there && world.issuer.tokens().len() == 2 && world.is_quiet().await;
            }
            Life::Undo => {
                return world.issuer.tokens().len() == 2 && world.is_quiet().await;
            }
        };
        issued.len() > seeded
            && world.issuer.tokens().len() == stay
            && world.value(0).await != issued[seeded - 1]
            && world.is_quiet().await
    }

    /// The steps that every undisturbed life takes, in the order of their first calls: how often something is looked at differs from life
    /// to life.
    pub async fn steps(self, site: &Arc<Site>) -> Vec<Step> {
        let lives = (0..RECORDED).map(|number| self.record(site, number));
        let mut lives = join_all(lives).await;
        let mut steps = lives.remove(0);
        steps.retain(|step| lives.iter().all(|other| other.contains(step)));
        // The history gets the last change at the end of the life, if at all.
        let last = steps
            .iter()
            .rposition(|step| step.writes && !step.is_of_the_history());
        let mut number = 0;
        steps.retain(|step| {
            number += 1;
            Some(number - 1) <= last || !step.is_of_the_history()
        });
        steps
    }

    /// The steps of one undisturbed life.
    async fn record(self, site: &Arc<Site>, number: usize) -> Vec<Step> {
        let world = self.prepare(site, &format!("undisturbed{number}")).await;
        world.gate.reset_calls();
        world.issuer.reset_calls();
        let mut process = self.begin(&world, "recorded");
        let mut calls = vec![];
        if self.is_command() {
            until("the command to end", async || process.has_ended()).await;
            assert_eq!(process.exit_code(), Some(0));
            calls = all_calls(&world);
            process = world.start("e2e");
        }
        until("a whole life", async || self.is_over(&world).await).await;
        drop(process);
        world.assert_holds().await;
        assert_eq!(world.replaced(0).await, *self.replacements().end());
        if !self.is_command() {
            calls = all_calls(&world);
        }
        steps_of(&world, calls)
    }
}

/// Times as short as can be.
fn hurried(world: &mut World) {
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
}

/// A world of one token of this kind that is known and became due while no daemon ran, and not again for a year: a daemon that started before
/// the due time would look once more.
async fn due(kind: Kind, site: &Arc<Site>, tag: &str) -> World {
    let mut world = World::of(kind, Arc::clone(site), tag, 1).await;
    hurried(&mut world);
    if kind == Kind::Platform {
        world.set("account.main.settle", "1s");
        world.set("account.main.timeout", "4s");
    }
    let mut daemon = world.start("before");
    until("the token to be known", async || {
        world.record(0).await["current"].is_object()
    })
    .await;
    daemon.kill();
    let due = now() + SignedDuration::from_secs(1);
    world.set(
        "defaults.schedule",
        due.strftime("%S %M %H %d %m *").to_string(),
    );
    until("the due time", async || now() > due).await;
    world
}

/// Puts a token of long ago, which ends soon, into the only secret of this world.
async fn age(world: &World, seed: Seed) {
    let now = now();
    let days = |days: i64| now + SignedDuration::from_hours(24 * days);
    let value = world
        .dynatrace
        .seed(seed.created(days(-100)).expires(days(10)))
        .value;
    let path = &world.secrets[0];
    world.root.delete_metadata("secret", path).await;
    let data = json!({ "token": value, "note": note(0) });
    world.root.put("secret", path, data).await;
}

/// A world of one secret whose token is so old that it is replaced at once, by its expiry, and not again.
pub async fn aged(site: &Arc<Site>, tag: &str) -> World {
    aged_of(Kind::Api, site, tag).await
}

async fn aged_of(kind: Kind, site: &Arc<Site>, tag: &str) -> World {
    let mut world = World::of(kind, Arc::clone(site), tag, 1).await;
    hurried(&mut world);
    let first = world.dynatrace.token_by_value(&world.value(0).await);
    world.dynatrace.delete(&first.expect("the first token").id);
    let seed = Seed::new("aged").scopes(world.issuer.scopes());
    age(&world, seed).await;
    world
}

/// A world of one secret of which nothing is there, and whose first token the configuration asks for.
async fn vacant(site: &Arc<Site>, tag: &str) -> World {
    let mut world = World::on(Arc::clone(site), tag, 1).await;
    hurried(&mut world);
    let first = world.dynatrace.token_by_value(&world.value(0).await);
    world.dynatrace.delete(&first.expect("the first token").id);
    world
        .root
        .delete_metadata("secret", &world.secrets[0])
        .await;
    let secret = &mut world.config["secret"][0];
    let secret = secret.as_table_mut().expect("a table");
    secret.insert("create".to_owned(), true.into());
    secret.insert("scopes".to_owned(), vec!["metrics.ingest"].into());
    world.save();
    world
}

/// A world whose only secret is the management token, which is as old.
async fn aged_management(site: &Arc<Site>, tag: &str) -> World {
    let mut world = World::on(Arc::clone(site), tag, 0).await;
    hurried(&mut world);
    world.secrets.push(world.master.clone());
    let mut listed = toml::Table::new();
    listed.insert("path".to_owned(), world.master.clone().into());
    world.set("secret", vec![toml::Value::Table(listed)]);
    let first = world.dynatrace.tokens().remove(0);
    age(&world, Seed::management("aged management")).await;
    world.dynatrace.delete(&first.id);
    world
}

/// A world of one secret that was rotated once, with the old token disabled, and no daemon.
async fn replaced(site: &Arc<Site>, tag: &str) -> World {
    let mut world = aged(site, tag).await;
    // Long enough that the daemon does not delete it before it is killed.
    world.set("defaults.quarantine", "4s");
    let mut daemon = world.start("before");
    until("the old token to stand disabled", async || {
        world.record(0).await["retiring"][0]["state"] == "quarantine"
    })
    .await;
    daemon.kill();
    world.set("defaults.quarantine", "1s");
    // The old token, when it is back, is not to be replaced once more.
    world.set("defaults.expiry_guard", false);
    world
}

/// What was asked so far, in order.
fn all_calls(world: &World) -> Vec<(Service, Call)> {
    let mut calls = vec![];
    for (service, seen) in [
        (Service::Vault, world.gate.calls()),
        (Service::Dynatrace, world.issuer.calls()),
    ] {
        calls.extend(seen.into_iter().map(|call| (service, call)));
    }
    calls.sort_by_key(|(_, call)| call.instant);
    calls
}

fn steps_of(world: &World, calls: Vec<(Service, Call)>) -> Vec<Step> {
    let mut counts: BTreeMap<(Service, String), usize> = BTreeMap::new();
    let step = |(service, call): (Service, Call)| {
        let what = what(world, &call);
        let nth = counts.entry((service, what.clone())).or_default();
        *nth += 1;
        let writes = match service {
            Service::Vault => call.path.contains("/data/") && call.method != "GET",
            Service::Dynatrace => matches!(call.method.as_str(), "POST" | "PUT" | "DELETE"),
        };
        Step {
            service,
            writes: writes && !what.contains("lookup") && !what.contains("/sso/"),
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
        Service::Dynatrace => world.issuer.fault(&step.what, rule),
    }
}

/// A quick run tries every so many-th case, `make thorough` tries all.
const QUICK: usize = 4;

/// The cases to try in this run.
pub fn chosen<T>(cases: Vec<T>) -> Vec<T> {
    let step = if is_thorough() { 1 } else { QUICK };
    cases.into_iter().step_by(step).collect()
}

/// How long a step may take to be reached or a life to be over.
pub const PATIENCE: Duration = Duration::from_secs(150);
