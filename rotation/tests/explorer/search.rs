//! Breadth first through all states, so that the first violation found has a shortest trace.

use std::collections::HashSet;
use std::hash::Hash;

use super::cached::mark;

/// A small world whose states are searched.
pub trait Searchable: Clone + Hash {
    /// What does not change during a search.
    type Case;

    /// The state that everything begins with.
    fn root(case: &Self::Case) -> Self;

    /// Everything that can happen next.
    fn successors(&self, case: &Self::Case, visit: Visit<'_, Self>);

    /// What is wrong in this state.
    fn violation(&self, case: &Self::Case) -> Option<String>;

    /// Nobody is at work.
    fn is_idle(&self) -> bool;

    /// What is wrong once the world is left alone. `fresh` = a state was not seen here before.
    fn wrong_at_rest(
        &self,
        case: &Self::Case,
        fresh: &mut dyn FnMut(&Self) -> bool,
    ) -> Option<String>;

    /// The state as text.
    fn describe(&self) -> String;
}

/// What happens, as text if asked for, and the state after it.
pub type Visit<'a, W> = &'a mut dyn FnMut(&dyn Fn() -> String, W);

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
pub fn explore<W: Searchable>(case: &W::Case, limit: usize) -> Found {
    let root = W::root(case);
    let mut seen = HashSet::from([mark(&root)]);
    let mut rested = HashSet::new();
    let mut steps = vec![Step { from: 0, nth: 0 }];
    let mut layer = vec![(0u32, root.clone())];
    let mut depth = 0usize;
    while !layer.is_empty() {
        let mut next = vec![];
        for (number, world) in layer {
            let mut wrong = world.violation(case);
            if wrong.is_none() && world.is_idle() {
                wrong = world.wrong_at_rest(case, &mut |world| rested.insert(mark(world)));
            }
            if let Some(wrong) = wrong {
                let trace = retrace(case, &root, &steps, number);
                return Found {
                    states: seen.len(),
                    cut: None,
                    violation: Some((wrong, trace)),
                };
            }
            let mut nth = 0;
            world.successors(case, &mut |_, successor: W| {
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
fn retrace<W: Searchable>(
    case: &W::Case,
    root: &W,
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
        world.successors(case, &mut |label, successor: W| {
            if at == nth {
                chosen = Some((label(), successor));
            }
            at += 1;
        });
        let (label, successor) = chosen.expect("the same successors as before");
        trace.push(label);
        world = successor;
    }
    trace.push(format!("then: {}", world.describe()));
    trace
}
