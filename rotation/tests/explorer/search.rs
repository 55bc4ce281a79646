//! Breadth first through all states, so that the first violation found has a shortest trace.

use std::collections::HashSet;

use super::cached::mark;
use super::promises::{come_to_rest, describe, violation};
use super::scenario::Scenario;
use super::successors::successors;
use super::world::{Setting, World};

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
    let root = World::new(setting, scenario);
    let mut seen = HashSet::from([mark(&root)]);
    let mut rested = HashSet::new();
    let mut steps = vec![Step { from: 0, nth: 0 }];
    let mut layer = vec![(0u32, root.clone())];
    let mut depth = 0usize;
    while !layer.is_empty() {
        let mut next = vec![];
        for (number, world) in layer {
            let mut wrong = violation(scenario, &world);
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
