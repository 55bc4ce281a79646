//! Breadth first through all states, so that the first violation found has a shortest trace.

use std::collections::HashSet;
use std::hash::{Hash, Hasher};

use rotation::command::Command;
use rotation::record::Reason;

use super::world::{Budget, EARLY, Fate, Late, Setting, World};

/// What a person may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hand {
    Write,
    PutBack,
    DeleteVersion,
    DisableToken,
    EnableToken,
    DeleteToken,
    DeleteJournal,
}

/// A small world, and what may happen in it.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub daemons: usize,
    pub undo: bool,
    /// From which tick on each due instant is due.
    pub dues: &'static [u8],
    /// How many ticks pass at the most.
    pub ticks: u8,
    pub budget: Budget,
    pub hands: &'static [Hand],
    /// A person who rolls back during a disable breaks P1 for a moment, which nothing can prevent: look at rest only.
    pub at_rest: bool,
    /// The secret is the management token.
    pub manages: bool,
}

/// What a search found.
#[derive(Debug)]
pub struct Found {
    pub states: usize,
    /// It ended at its limit: every state within so many steps was visited, and some beyond.
    pub cut: Option<usize>,
    /// What is wrong, and how it comes about.
    pub violation: Option<(String, Vec<String>)>,
}

/// Of a visited state: where it came from, and as which of its successors.
#[derive(Clone, Copy)]
struct Step {
    from: u32,
    nth: u16,
}

/// Visits every state, or the first `limit` of them.
pub fn explore(scenario: &Scenario, setting: &Setting, limit: usize) -> Found {
    let root = World::new(setting, scenario.daemons, scenario.undo, scenario.budget);
    let mut seen = HashSet::from([mark(&root)]);
    let mut rested = HashSet::new();
    let mut steps = vec![Step { from: 0, nth: 0 }];
    let mut layer = vec![(0u32, root.clone())];
    let mut depth = 0usize;
    while !layer.is_empty() {
        let mut next = vec![];
        for (number, world) in layer {
            let mut wrong = judge(scenario, &world);
            if wrong.is_none() && world.actors.iter().all(|actor| actor.run.is_none()) {
                wrong = come_to_rest(setting, &world, &mut |world| rested.insert(mark(world)));
            }
            if let Some(wrong) = wrong {
                let trace = retrace(scenario, setting, &root, &steps, number);
                return Found {
                    states: seen.len(),
                    cut: None,
                    violation: Some((wrong, trace)),
                };
            }
            let mut nth = 0;
            successors(scenario, setting, &world, &mut |_, successor| {
                if seen.insert(mark(&successor)) {
                    steps.push(Step { from: number, nth });
                    next.push(((steps.len() - 1) as u32, successor));
                }
                nth += 1;
            });
            if seen.len() >= limit {
                return Found {
                    states: seen.len(),
                    cut: Some(depth.saturating_sub(1)),
                    violation: None,
                };
            }
        }
        layer = next;
        depth += 1;
    }
    Found {
        states: seen.len(),
        cut: None,
        violation: None,
    }
}

/// 128 bits of a state: two different states among some millions share them with a chance of less than one in 10^24.
fn mark(world: &World) -> (u64, u64) {
    let mut lanes = Lanes(0x9e37_79b9_7f4a_7c15, 0xc2b2_ae3d_27d4_eb4f);
    world.hash(&mut lanes);
    (lanes.finish(), mix(lanes.1, lanes.0))
}

/// Two lanes that multiply and fold: quick, and of no use against an adversary, who is not here.
struct Lanes(u64, u64);

fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ 0xa076_1d64_78bd_642f) * u128::from(b ^ 0xe703_7ed1_a0b4_28db);
    (product >> 64) as u64 ^ product as u64
}

impl Hasher for Lanes {
    fn finish(&self) -> u64 {
        mix(self.0, self.1)
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word) ^ chunk.len() as u64);
        }
    }

    fn write_u8(&mut self, word: u8) {
        self.write_u64(u64::from(word));
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = mix(self.0 ^ word, 0x8ebc_6af0_9c88_c6e3);
        self.1 = mix(self.1, word ^ 0x5897_89e6_5dea_6a5b).wrapping_add(self.0);
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }
}

/// Walks the way again and says what happens.
fn retrace(
    scenario: &Scenario,
    setting: &Setting,
    root: &World,
    steps: &[Step],
    mut number: u32,
) -> Vec<String> {
    let mut way = vec![];
    while number != 0 {
        let step = steps[number as usize];
        way.push(step.nth);
        number = step.from;
    }
    let mut world = root.clone();
    let mut trace = vec![];
    for nth in way.into_iter().rev() {
        let mut at = 0;
        let mut chosen = None;
        successors(scenario, setting, &world, &mut |label, successor| {
            if at == nth {
                chosen = Some((label(), successor));
            }
            at += 1;
        });
        let (label, successor) = chosen.expect("the same successors as before");
        trace.push(label);
        world = successor;
    }
    trace.push(format!("then: {}", describe(&world)));
    trace
}

fn describe(world: &World) -> String {
    let versions: Vec<String> = world
        .versions
        .iter()
        .map(|v| format!("T{}{}", v.token, if v.deleted { " deleted" } else { "" }))
        .collect();
    let tokens: Vec<String> = world
        .tokens
        .iter()
        .enumerate()
        .map(|(n, t)| {
            let state = match (t.exists, t.enabled) {
                (false, _) => "gone",
                (true, true) => "enabled",
                (true, false) => "disabled",
            };
            format!("T{n} {state} ({})", t.name)
        })
        .collect();
    let journal = world.journal.as_ref().map(|record| {
        (
            record.current.as_ref().map(|c| c.id.to_string()),
            &record.claim,
            &record.open,
            &record.retiring,
            &record.health.failure,
            record.last_due,
            record.attempts.attempt,
        )
    });
    format!(
        "tick {}; versions {versions:?}; tokens {tokens:?}; journal {journal:?}; late {:?}; served {:?}",
        world.tick, world.late, world.served
    )
}

type Visit<'a> = &'a mut dyn FnMut(&dyn Fn() -> String, World);

/// Everything that can happen next.
fn successors(scenario: &Scenario, setting: &Setting, world: &World, visit: Visit<'_>) {
    for number in 0..world.actors.len() {
        let actor = &world.actors[number];
        if actor.run.is_some() {
            let mut base = world.clone();
            let command = base.decide(setting, number);
            let mut fates = vec![Fate::Good];
            fates.extend(base.fates(&command));
            for fate in fates {
                let mut next = base.clone();
                next.carry_out(setting, number, &command, fate);
                next.go_on_alone(setting, number);
                visit(&|| format!("d{number} {} {fate:?}", show(&command)), next);
            }
            if world.budget.crash > 0 {
                let mut next = world.clone();
                next.budget.crash -= 1;
                next.crash(number);
                visit(&|| format!("d{number} dies"), next);
            }
        } else {
            begin(setting, world, number, visit);
        }
    }
    for late in &world.late {
        for lands in [true, false] {
            let mut next = world.clone();
            next.late.retain(|other| other != late);
            if lands {
                next.land(late);
            }
            let what = if lands { "comes late" } else { "is lost" };
            visit(&|| format!("{late:?} {what}"), next);
        }
    }
    for token in 0..world.tokens.len() {
        if !world.tokens[token].visible {
            let mut next = world.clone();
            next.tokens[token].visible = true;
            visit(&|| format!("T{token} becomes visible"), next);
        }
    }
    if world.tick < scenario.ticks && is_calm(world) {
        let mut next = world.clone();
        next.tick += 1;
        next.note_current();
        visit(&|| format!("tick {}", world.tick + 1), next);
    }
    if world.budget.hand > 0 {
        for hand in scenario.hands {
            by_hand(*hand, world, visit);
        }
    }
}

/// `settle` has passed: nothing is under way, and everything is visible.
fn is_calm(world: &World) -> bool {
    world.late.is_empty() && world.tokens.iter().all(|token| token.visible)
}

fn begin(setting: &Setting, world: &World, number: usize, visit: Visit<'_>) {
    if world.budget.runs == 0 {
        return;
    }
    let actor = &world.actors[number];
    let foreign = world
        .journal
        .as_ref()
        .and_then(|record| record.claim.as_ref());
    let foreign = foreign.is_some_and(|claim| claim.holder != format!("d{number}"));
    let steal = foreign && world.budget.steal > 0;
    let mut errands = vec![];
    if actor.undo {
        errands.extend((!actor.asked).then_some((None, false)));
    } else {
        errands.extend(
            world
                .unserved(setting, number)
                .map(|due| (Some(due), false)),
        );
        errands.extend(world.has_work(number).then_some((None, true)));
    }
    for (wish, listing) in errands {
        for impatient in [false, true] {
            if impatient && !steal {
                continue;
            }
            let mut next = world.clone();
            next.budget.runs -= 1;
            next.budget.steal -= u8::from(impatient);
            next.actors[number].asked = actor.undo;
            next.begin(setting, number, wish, listing, impatient);
            next.go_on_alone(setting, number);
            let label = || format!("d{number} begins (wish {wish:?}, takes over {impatient})");
            visit(&label, next);
        }
    }
}

fn by_hand(hand: Hand, world: &World, visit: Visit<'_>) {
    let mut with = |label: String, change: &dyn Fn(&mut World)| {
        let mut next = world.clone();
        next.budget.hand -= 1;
        change(&mut next);
        next.note_current();
        visit(&|| format!("a person: {label}"), next);
    };
    let tokens = 0..world.tokens.len() as u8;
    let current = world.current();
    match hand {
        Hand::Write => with("writes a token of their own".into(), &World::person_writes),
        Hand::DeleteVersion => with("deletes the version".into(), &World::person_deletes_version),
        Hand::DeleteJournal => with("deletes the journal".into(), &World::person_deletes_journal),
        Hand::PutBack => {
            for token in tokens {
                let stood = world.versions.iter().any(|version| version.token == token);
                if stood && current != Some(token) {
                    with(format!("puts T{token} back"), &|w| {
                        w.person_puts_back(token)
                    });
                }
            }
        }
        Hand::DisableToken | Hand::EnableToken | Hand::DeleteToken => {
            for token in tokens {
                let known = &world.tokens[usize::from(token)];
                match hand {
                    Hand::DisableToken if known.exists && known.enabled => {
                        with(format!("disables T{token}"), &|w| {
                            w.person_sets(token, false)
                        });
                    }
                    // Who comes after the word that it is deleted comes too late.
                    Hand::EnableToken
                        if known.exists && !known.enabled && !world.is_deleting(token) =>
                    {
                        with(format!("enables T{token}"), &|w| w.person_sets(token, true));
                    }
                    Hand::DeleteToken if known.exists => {
                        with(format!("deletes T{token}"), &|w| {
                            w.person_deletes_token(token)
                        });
                    }
                    _ => {}
                }
            }
        }
    }
}

fn show(command: &Command) -> String {
    match command {
        Command::WriteJournal { cas, record } => format!(
            "writes the journal (cas {cas}, claim {:?}, open {:?}, retiring {:?}, failure {:?})",
            record.claim.as_ref().map(|claim| &claim.work),
            record
                .open
                .iter()
                .map(|open| open.attempt)
                .collect::<Vec<_>>(),
            record
                .retiring
                .iter()
                .map(|r| (r.id.as_str(), r.state, r.base))
                .collect::<Vec<_>>(),
            record.health.failure.as_ref().map(|failure| failure.reason),
        ),
        Command::Mint(order) => format!("mints {}", order.name),
        other => format!("{other:?}"),
    }
}

/// What must hold in every state.
fn judge(scenario: &Scenario, world: &World) -> Option<String> {
    // A person who puts a token back in the moment of its disable comes too late for any check: it must be enabled again at once.
    let unavoidable = scenario.at_rest && world.broken == Some(EARLY);
    if let Some(broken) = world.broken.filter(|_| !unavoidable) {
        return Some(broken.into());
    }
    if !scenario.at_rest
        && let Some(dead) = dead_value(world)
    {
        return Some(dead);
    }
    if !world.forgot && world.served.iter().any(|&times| times > 1) {
        return Some("P6: a due instant was served twice".into());
    }
    None
}

fn dead_value(world: &World) -> Option<String> {
    let current = world.current()?;
    let token = &world.tokens[usize::from(current)];
    (!world.works(current) && !token.spoiled).then(|| format!("P1: T{current} in Vault is dead"))
}

/// Nobody is at work. Left alone with one healthy daemon, the world must come to rest in a good state.
fn come_to_rest(
    setting: &Setting,
    world: &World,
    fresh: &mut dyn FnMut(&World) -> bool,
) -> Option<String> {
    let mut world = world.clone();
    world.broken = None;
    world.budget = Budget::default();
    for late in std::mem::take(&mut world.late) {
        if !matches!(late, Late::Store { .. }) {
            world.land(&late);
        }
    }
    world
        .tokens
        .iter_mut()
        .for_each(|token| token.visible = true);
    for _ in 0..16 {
        // What comes next is a matter of course: from a state that was seen here before it need not be looked at again.
        if !fresh(&world) {
            return None;
        }
        // The first run recovers, the second one serves what is due; both with a fresh listing, as the sweep does it.
        for _ in 0..2 {
            let wish = world.unserved(setting, 0);
            world.look_back(0);
            world.begin(setting, 0, wish, true, true);
            world.run_to_end(setting, 0);
            if let Some(broken) = world.broken {
                return Some(format!("{broken}, left alone"));
            }
            if let Some(dead) = dead_value(&world) {
                return Some(format!("{dead}, left alone"));
            }
        }
        world.tick += 1;
        world.note_current();
    }
    rest_problem(setting, &world).map(|what| format!("{what}, at rest: {}", describe(&world)))
}

fn rest_problem(setting: &Setting, world: &World) -> Option<String> {
    let Some(record) = &world.journal else {
        return Some("P2: there is no journal document".into());
    };
    let human =
        record.health.failure.as_ref().is_some_and(|failure| {
            failure.retry_at.is_none() && failure.reason != Reason::Unavailable
        });
    // A person put a token there that is gone for good: nothing goes on without them.
    let readable = world.current().is_some_and(|token| world.works(token));
    if record.claim.is_some() {
        return Some("P2: a claim is left".into());
    }
    // A secret that a person deleted cannot be fenced: what is left waits for them.
    if readable && !record.open.is_empty() {
        return Some("P2: an attempt stays open".into());
    }
    for token in 0..world.tokens.len() as u8 {
        let known = record.is_current(&super::world::id_of(token));
        let waits = record.retiring(&super::world::id_of(token)).is_some();
        let gone = !world.tokens[usize::from(token)].exists;
        let there = world.current() == Some(token);
        if world.is_ours(token) && !gone && !there && (readable || !(known || waits)) {
            return Some(format!("P2: T{token} is left behind"));
        }
    }
    if world.undeleted {
        return Some("P4: a person's deletion was undone, and nobody said so".into());
    }
    if readable && !human {
        let current = world.current()?;
        if !record.is_current(&super::world::id_of(current)) {
            return Some(format!("P2: the journal does not know T{current}"));
        }
        let last = record.last_due;
        let unserved = (0..setting.dues.len())
            .any(|n| world.served[n] == 0 && last.is_none_or(|at| at < super::world::due(n)));
        if unserved {
            return Some("P6: a due instant was never served".into());
        }
    }
    None
}
