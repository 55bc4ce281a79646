//! The soak: three replicas, secrets that rotate every few seconds, random kills and freezes, random faults over every call, for as long as
//! `SOAK_SECONDS` says; then everything must become idle, and the figures are printed. `SOAK_SEED` chooses the dice (they are printed; the
//! machine's own timing is no part of them). A short run is part of every test run, `make soak` is the long one.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::Value;
use simulator::{Call, Fault, Rule};

use crate::faults::healing;
use crate::life::Service;
use crate::world::{Daemon, Issuer, Site, World, parsed, within};

/// A run that reaches these ends before its time.
const KILLS: usize = 1_000;
const ROTATIONS: usize = 10_000;
const FAULTS: usize = 10_000;

/// Two of three such times have faults; in the third, settling is measured without them.
const PHASE: Duration = Duration::from_secs(5);
/// A rotation that a crash interrupted is settled so soon after the restart of the same instance (measured on an otherwise idle machine by
/// the long run).
const SETTLED: Duration = Duration::from_secs(5);

/// Everything is settled by then.
const REST: Duration = Duration::from_secs(120);

#[derive(Default, Debug)]
struct Figures {
    kills: usize,
    freezes: usize,
    faults: usize,
    looks: usize,
    missed: usize,
    dead_values: usize,
    /// A due instant that was served twice: of which secret, and when.
    double_rotations: Vec<String>,
    settled: Vec<Duration>,
}

/// What is known of one secret's journal: the version looked at last, and the due instants served.
#[derive(Default)]
struct Seen {
    version: u64,
    current: Value,
    served: BTreeSet<String>,
    rotations: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_to_p6_hold_in_random_kills_and_faults() {
    let number = |name, default| variable(name).map_or(default, |text| text.parse().expect(name));
    let seconds = number("SOAK_SECONDS", 20);
    let seed = number("SOAK_SEED", 20_261_125);
    let is_long = seconds > 60;
    eprintln!("soak: SOAK_SECONDS={seconds} SOAK_SEED={seed}");
    let mut soak = Soak::new(if is_long { 48 } else { 8 }, seed).await;
    soak.run(Duration::from_secs(seconds)).await;
    let broken = soak.rest().await;
    soak.print(&broken);
    soak.assert_clean(&broken);
    let slowest = soak.figures.settled.iter().max();
    assert!(!is_long || slowest.is_some_and(|slowest| *slowest < SETTLED));
}

#[expect(
    clippy::disallowed_methods,
    reason = "the environment says how long the soak lasts"
)]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Secrets whose tokens have the same issuer.
pub struct Group {
    pub issuer: Issuer,
    pub secrets: Range<usize>,
    /// How many tokens of the issuer are no secret's.
    pub others: usize,
}

pub struct Soak {
    pub world: World,
    groups: Vec<Group>,
    names: &'static [&'static str],
    daemons: Vec<Daemon>,
    rng: Rng,
    began: Instant,
    armed: Vec<Fault>,
    seen: Vec<Seen>,
    figures: Figures,
    /// The schedule was changed: a retry of what failed before serves no due instant.
    is_resting: bool,
    /// How many creates were refused with 400, which no injected fault answers: the owner was at the limit.
    pub creates_at_the_limit: usize,
}

const NAMES: [&str; 3] = ["a", "b", "c"];

impl Soak {
    async fn new(secrets: usize, seed: u64) -> Soak {
        let mut world = World::on(Site::new().await, "", secrets).await;
        for (key, value) in [
            ("defaults.schedule", "*/4 * * * * *"),
            ("defaults.jitter", "3s"),
            ("defaults.grace", "1s"),
            ("defaults.quarantine", "1s"),
            ("dynatrace.prod.settle", "1s"),
            ("dynatrace.prod.timeout", "2s"),
            ("vault.timeout", "2s"),
            ("journal.claim_timeout", "3s"),
            ("daemon.sweep", "5s"),
        ] {
            world.set(key, value);
        }
        let group = Group {
            issuer: world.issuer.clone(),
            secrets: 0..secrets,
            others: 1,
        };
        Soak::over(world, vec![group], &NAMES, seed)
    }

    /// Over the secrets of this world, which are in these groups, with daemons of these names.
    pub fn over(
        world: World,
        groups: Vec<Group>,
        names: &'static [&'static str],
        seed: u64,
    ) -> Soak {
        let seen = world.secrets.iter().map(|_| Seen::default()).collect();
        let mut soak = Soak {
            groups,
            names,
            is_resting: false,
            creates_at_the_limit: 0,
            daemons: vec![],
            rng: Rng::with_seed(seed),
            began: Instant::now(),
            armed: vec![],
            seen,
            figures: Figures::default(),
            world,
        };
        soak.daemons = names.iter().map(|name| soak.start(name)).collect();
        soak
    }

    /// Disturbs everything for so long.
    pub async fn run(&mut self, length: Duration) {
        let end = Instant::now() + length;
        while Instant::now() < end && !self.has_reached_all() {
            self.round().await;
        }
    }

    /// What must be so however long it took.
    pub fn assert_clean(&self, broken: &[String]) {
        assert!(broken.is_empty(), "{}", broken.join("\n"));
        assert_eq!(self.figures.dead_values, 0);
        let double = &self.figures.double_rotations;
        assert!(double.is_empty(), "P6: {}", double.join("\n"));
        assert!(self.figures.kills > 0 && self.figures.faults > 0 && self.rotations() > 0);
    }

    fn issuer(&self, number: usize) -> &Issuer {
        let holds = |group: &&Group| group.secrets.contains(&number);
        let group = self.groups.iter().find(holds);
        &group.expect("a group of the secret").issuer
    }

    fn start(&self, name: &str) -> Daemon {
        self.world.start_with(name, &[("RUST_LOG", "debug")])
    }

    fn rotations(&self) -> usize {
        self.seen.iter().map(|seen| seen.rotations).sum()
    }

    fn has_reached_all(&self) -> bool {
        let figures = &self.figures;
        figures.kills >= KILLS && figures.faults >= FAULTS && self.rotations() >= ROTATIONS
    }

    /// A second or so: some faults, perhaps a kill or a freeze, and a look at everything.
    async fn round(&mut self) {
        let phases = self.began.elapsed().as_secs() / PHASE.as_secs();
        let with_faults = phases % 3 != 2;
        if with_faults {
            for _ in 0..16 {
                self.arm();
            }
        } else {
            self.disarm();
        }
        match self.rng.u32(..10) {
            0..8 => self.kill(!with_faults).await,
            8 => self.freeze().await,
            _ => tokio::time::sleep(Duration::from_millis(500)).await,
        }
        self.look().await;
    }

    /// One fault at a random call from now on.
    fn arm(&mut self) {
        let rng = &mut self.rng;
        let service = [Service::Vault, Service::Dynatrace][rng.usize(..2)];
        let writes = rng.bool();
        let actions = healing(service, writes);
        let (_, action) = actions[rng.usize(..actions.len())].clone();
        let is_write = move |call: &Call| writes == (call.method != "GET");
        let rule = Rule::any()
            .matching(is_write)
            .nth(rng.usize(1..20))
            .then(action);
        self.armed.push(match service {
            Service::Vault => self.world.gate.fault(rule),
            Service::Dynatrace => {
                let group = &self.groups[rng.usize(..self.groups.len())];
                let path = ["/iam/v1/", ""][rng.usize(..2)];
                group.issuer.fault(path, rule)
            }
        });
    }

    fn disarm(&mut self) {
        for fault in self.armed.drain(..) {
            fault.remove();
            self.figures.faults += fault.fired();
            fault.drop_held();
        }
        self.world.gate.reset_calls();
        for group in &self.groups {
            let creates = group.issuer.creates();
            let refused = creates.iter().filter(|call| call.status == Some(400));
            self.creates_at_the_limit += refused.count();
        }
        self.groups
            .iter()
            .for_each(|group| group.issuer.reset_calls());
    }

    /// Kills one at once, and starts it again; measures how long it takes to settle what it had begun.
    async fn kill(&mut self, measure: bool) {
        let victim = self.rng.usize(..self.names.len());
        tokio::time::sleep(Duration::from_millis(self.rng.u64(..400))).await;
        self.daemons[victim].kill();
        self.figures.kills += 1;
        let left = self.left_by(self.names[victim]).await;
        let began = Instant::now();
        self.daemons[victim] = self.start(self.names[victim]);
        if measure && !left.is_empty() {
            let settled = async || {
                for (number, claim) in &left {
                    if !is_settled(&self.world.record(*number).await, claim) {
                        return false;
                    }
                }
                true
            };
            within(Duration::from_secs(30), settled).await;
            self.figures.settled.push(began.elapsed());
        }
    }

    /// The claims of a dead instance, by secret.
    async fn left_by(&self, name: &str) -> Vec<(usize, Value)> {
        let mut left = vec![];
        for number in 0..self.seen.len() {
            let claim = self.world.record(number).await["claim"].take();
            if claim["holder"] == name {
                left.push((number, claim));
            }
        }
        left
    }

    async fn freeze(&mut self) {
        let victim = self.rng.usize(..self.names.len());
        self.daemons[victim].signal("-STOP");
        self.figures.freezes += 1;
        tokio::time::sleep(Duration::from_millis(self.rng.u64(500..5000))).await;
        self.daemons[victim].signal("-CONT");
    }

    /// Every value works, and no due instant was served twice.
    async fn look(&mut self) {
        for number in 0..self.seen.len() {
            self.figures.looks += 1;
            let value = self.world.value(number).await;
            let works = self.issuer(number).is_valid(&value);
            let seen = &mut self.seen[number];
            // It may have been replaced and retired while we looked.
            if !works && self.world.value(number).await == value {
                self.figures.dead_values += 1;
            }
            let document = self.world.document(number);
            let root = &self.world.root;
            let Some(latest) = root.secret("secret", &document).await else {
                continue;
            };
            for version in seen.version + 1..=latest.version {
                // A mount keeps a bounded number of versions: a look that comes late misses some.
                let Some(read) = root.secret_version("secret", &document, version).await else {
                    self.figures.missed += 1;
                    continue;
                };
                let record = parsed(read.data);
                if !seen.current.is_null() && record["current"]["id"] != seen.current {
                    seen.rotations += 1;
                    let due = record["last_due"].as_str().unwrap_or_default();
                    if !seen.served.insert(due.to_owned()) && !self.is_resting {
                        let path = &self.world.secrets[number];
                        let double =
                            format!("{path}: {due:?} in version {version} of its document");
                        self.figures.double_rotations.push(double);
                    }
                }
                seen.current = record["current"]["id"].clone();
            }
            seen.version = latest.version;
        }
    }

    /// No more faults, no more rotations: everything settles. What is broken then.
    pub async fn rest(&mut self) -> Vec<String> {
        self.disarm();
        self.daemons.clear();
        self.look().await;
        self.is_resting = true;
        self.world.set("defaults.schedule", "0 0 1 1 *");
        let daemon = self.start("a");
        self.wait_for_rest().await;
        // What waits for its next try need not wait for it here.
        for number in 0..self.seen.len() {
            if !self.world.record(number).await["failure"]["retry_at"].is_null() {
                let name = self.world.secrets[number].clone();
                let done = async || self.world.command(&["rotate", &name]).await.0 == Some(0);
                assert!(within(REST, done).await, "{name} is not rotated");
            }
        }
        self.wait_for_rest().await;
        drop(daemon);
        self.look().await;
        let mut broken = vec![];
        let secrets = self.world.secrets.clone();
        for group in &self.groups {
            self.world.secrets = secrets[group.secrets.clone()].to_vec();
            self.world.issuer = group.issuer.clone();
            broken.extend(self.world.broken().await);
        }
        self.world.secrets = secrets;
        for number in 0..self.seen.len() {
            let failure = self.world.record(number).await["failure"].take();
            if !failure.is_null() {
                broken.push(format!("secret {number} is stuck: {failure}"));
            }
        }
        broken
    }

    async fn wait_for_rest(&self) {
        let rests = within(REST, async || {
            let retired =
                |group: &Group| group.issuer.tokens().len() == group.secrets.len() + group.others;
            self.groups.iter().all(retired) && self.world.is_quiet().await
        });
        assert!(rests.await, "it does not become idle");
    }

    pub fn print(&self, broken: &[String]) {
        let figures = &self.figures;
        let count = |promise: &str| {
            broken
                .iter()
                .filter(|line| line.starts_with(promise))
                .count()
        };
        let mut settled = figures.settled.clone();
        settled.sort();
        let median = settled.get(settled.len() / 2).copied().unwrap_or_default();
        for (what, figure) in [
            ("seconds", self.began.elapsed().as_secs() as usize),
            ("kills", figures.kills),
            ("freezes", figures.freezes),
            ("rotations", self.rotations()),
            ("injected faults", figures.faults),
            ("looks at a value", figures.looks),
            ("journal versions looked at too late", figures.missed),
            ("orphaned tokens", count("P2")),
            ("dead values at any look", figures.dead_values),
            ("dead values at any instant", count("P1")),
            ("cut off early", count("P3")),
            ("fields of others lost", count("P4")),
            ("token values in output", count("P5")),
            ("double rotations", figures.double_rotations.len()),
        ] {
            eprintln!("soak: {what:36} {figure}");
        }
        let slowest = settled.last().copied().unwrap_or_default();
        eprintln!(
            "soak: settling after a restart             median {median:?}, slowest {slowest:?}, {} measured",
            settled.len()
        );
    }
}

/// The work of a dead holder's claim is done: the claim is gone, and its attempt is accounted for.
fn is_settled(record: &Value, claim: &Value) -> bool {
    let attempt = &claim["work"]["rotate"]["attempt"]["n"];
    let open = record["open"].as_array();
    let is_open = open.is_some_and(|open| open.iter().any(|open| open["attempt"] == *attempt));
    record["claim"]["nonce"] != claim["nonce"] && !is_open
}
