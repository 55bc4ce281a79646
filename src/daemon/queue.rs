//! Which secrets are worked on, now or later: a delaying, deduplicating queue with a limit for each environment.
//!
//! A secret is delayed, ready or running, and at most one of each. What arrives while it is running makes it dirty: it runs again. Every
//! operation is logarithmic in the number of secrets.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;

/// A secret's name.
pub type Key = Arc<str>;

/// The keys of all secrets that are to be worked on.
pub struct Queue {
    /// How many run at once in one environment.
    limit: usize,
    /// When keys are to be ready.
    delays: HashMap<Key, Timestamp>,
    delayed: BTreeSet<(Timestamp, Key)>,
    busy: HashMap<Key, Stage>,
    environments: BTreeMap<Arc<str>, Lane>,
    /// The environment whose turn is next.
    turn: Arc<str>,
}

/// Where a key is that is ready or running.
enum Stage {
    Ready {
        environment: Arc<str>,
    },
    Running {
        environment: Arc<str>,
        dirty: bool,
        /// It only waits, and its worker does something else meanwhile.
        waits: bool,
    },
}

/// The keys of one environment.
#[derive(Default)]
struct Lane {
    ready: VecDeque<Key>,
    running: usize,
}

impl Queue {
    /// An empty one; `limit` keys of an environment run at once.
    pub fn new(limit: usize) -> Self {
        Queue {
            limit,
            delays: HashMap::new(),
            busy: HashMap::new(),
            delayed: BTreeSet::new(),
            environments: BTreeMap::new(),
            turn: "".into(),
        }
    }

    /// So many keys of an environment run at once from now on.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// The key is worked on as soon as there is a free worker of its environment; again, if it is being worked on.
    pub fn add(&mut self, key: &Key, environment: &str) {
        self.undelay(key);
        match self.busy.get_mut(key) {
            Some(Stage::Running { dirty, .. }) => *dirty = true,
            Some(Stage::Ready { .. }) => {}
            None => {
                let known = self.environments.get_key_value(environment);
                let environment: Arc<str> = known.map_or(environment.into(), |(it, _)| it.clone());
                let lane = self.environments.entry(environment.clone()).or_default();
                lane.ready.push_back(key.clone());
                self.busy.insert(key.clone(), Stage::Ready { environment });
            }
        }
    }

    /// The key is ready at this time and at no other; none = never. A key that is ready or running is not concerned until it has run.
    pub fn add_after(&mut self, key: &Key, at: Option<Timestamp>) {
        self.undelay(key);
        if let Some(at) = at {
            self.delays.insert(key.clone(), at);
            self.delayed.insert((at, key.clone()));
        }
    }

    /// Takes the keys whose time has come.
    pub fn take_due(&mut self, now: Timestamp) -> Vec<Key> {
        let mut due = vec![];
        while self.delayed.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, key)) = self.delayed.pop_first()
        {
            self.delays.remove(&key);
            due.push(key);
        }
        due
    }

    /// When the next key is due.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.delayed.first().map(|(at, _)| *at)
    }

    /// The next key to be worked on, of an environment that can be used and has a free worker. Environments take turns.
    pub fn take(&mut self, is_usable: impl Fn(&str) -> bool) -> Option<Key> {
        let limit = self.limit;
        let free = |(name, lane): &(&Arc<str>, &Lane)| {
            !lane.ready.is_empty() && lane.running < limit && is_usable(name)
        };
        let after = self.environments.range(self.turn.clone()..);
        let before = self.environments.range(..self.turn.clone());
        let (name, _) = after.chain(before).find(free)?;
        let name = name.clone();
        let next = self.environments.range(name.clone()..).nth(1);
        self.turn = next.map_or("".into(), |(next, _)| next.clone());
        let lane = self.environments.get_mut(&name)?;
        let key = lane.ready.pop_front()?;
        lane.running += 1;
        let running = Stage::Running {
            environment: name,
            dirty: false,
            waits: false,
        };
        self.busy.insert(key.clone(), running);
        Some(key)
    }

    /// The work on a key has ended. `true` = something arrived meanwhile, and it should run again.
    pub fn done(&mut self, key: &str) -> bool {
        let Some(Stage::Running {
            environment,
            dirty,
            waits,
        }) = self.busy.get(key)
        else {
            return false;
        };
        if let Some(lane) = self.environments.get_mut(environment)
            && !waits
        {
            lane.running -= 1;
        }
        let dirty = *dirty;
        self.busy.remove(key);
        if self.busy.is_empty() {
            // After a start or an outage all keys were in it.
            self.busy = HashMap::new();
            self.environments.clear();
        }
        dirty
    }

    /// The work on a key only waits for now: its worker is free.
    pub fn pause(&mut self, key: &str) {
        if let Some(Stage::Running {
            environment, waits, ..
        }) = self.busy.get_mut(key)
            && !*waits
            && let Some(lane) = self.environments.get_mut(environment)
        {
            *waits = true;
            lane.running -= 1;
        }
    }

    /// The work on a key wants to continue. `false` = there is no free worker yet.
    pub fn resume(&mut self, key: &str) -> bool {
        let Some(Stage::Running {
            environment, waits, ..
        }) = self.busy.get_mut(key)
        else {
            return true;
        };
        let Some(lane) = self.environments.get_mut(environment) else {
            return true;
        };
        if *waits && lane.running >= self.limit {
            return false;
        }
        lane.running += usize::from(std::mem::take(waits));
        true
    }

    /// Takes back the keys of an environment (none = all) that are ready and not begun.
    pub fn take_ready(&mut self, environment: Option<&str>) -> Vec<Key> {
        let mut taken = vec![];
        for (name, lane) in &mut self.environments {
            if environment.is_none_or(|wanted| wanted == &**name) {
                taken.extend(lane.ready.drain(..));
            }
        }
        for key in &taken {
            self.busy.remove(key);
        }
        taken
    }

    /// The key was removed. A run in progress continues to its end.
    pub fn remove(&mut self, key: &str) {
        self.undelay(key);
        if let Some(Stage::Ready { environment }) = self.busy.get(key) {
            if let Some(lane) = self.environments.get_mut(environment) {
                lane.ready.retain(|other| **other != *key);
            }
            self.busy.remove(key);
        }
    }

    /// It is ready or running.
    pub fn is_busy(&self, key: &str) -> bool {
        self.busy.contains_key(key)
    }

    /// It is being worked on.
    pub fn is_running(&self, key: &str) -> bool {
        matches!(self.busy.get(key), Some(Stage::Running { .. }))
    }

    fn undelay(&mut self, key: &str) {
        if let Some((key, at)) = self.delays.remove_entry(key) {
            self.delayed.remove(&(at, key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn take(queue: &mut Queue) -> Option<Key> {
        queue.take(|_| true)
    }

    fn names(keys: Vec<Key>) -> Vec<String> {
        keys.iter().map(|key| key.to_string()).collect()
    }

    #[test]
    fn a_key_is_ready_once_however_often_it_is_added() {
        let mut queue = Queue::new(8);
        queue.add(&"a".into(), "prod");
        queue.add(&"a".into(), "prod");
        assert_eq!(take(&mut queue).as_deref(), Some("a"));
        assert_eq!(take(&mut queue), None);
    }

    #[test]
    fn what_arrives_while_a_key_runs_is_not_lost_and_does_not_run_beside_it() {
        let mut queue = Queue::new(8);
        queue.add(&"a".into(), "prod");
        take(&mut queue);
        queue.add(&"a".into(), "prod");
        assert_eq!(take(&mut queue), None, "at most one run");
        assert!(queue.done("a"), "it is dirty");
        assert!(!queue.is_busy("a"));
        assert!(!queue.done("a"), "it has ended already");
    }

    #[test]
    fn a_later_time_replaces_an_earlier_one_and_a_key_that_is_added_does_not_wait() {
        let mut queue = Queue::new(8);
        queue.add_after(&"a".into(), Some(at(10)));
        queue.add_after(&"a".into(), Some(at(20)));
        queue.add_after(&"b".into(), Some(at(30)));
        assert_eq!(queue.next_due(), Some(at(20)));
        assert!(queue.take_due(at(19)).is_empty());
        assert_eq!(names(queue.take_due(at(30))), ["a", "b"]);
        assert_eq!(queue.next_due(), None);
        queue.add_after(&"a".into(), Some(at(40)));
        queue.add(&"a".into(), "prod");
        assert_eq!(queue.next_due(), None);
        queue.add_after(&"b".into(), Some(at(40)));
        queue.add_after(&"b".into(), None);
        assert_eq!(queue.next_due(), None);
    }

    #[test]
    fn one_environment_that_is_slow_or_down_starves_no_other() {
        let mut queue = Queue::new(2);
        for number in 0..10 {
            queue.add(&format!("slow{number}").into(), "a");
        }
        queue.add(&"quick".into(), "b");
        let first: Vec<Key> = std::iter::from_fn(|| take(&mut queue)).collect();
        assert_eq!(names(first), ["slow0", "quick", "slow1"]);
        queue.done("slow0");
        assert_eq!(queue.take(|environment| environment == "b"), None);
        assert_eq!(take(&mut queue).as_deref(), Some("slow2"));
    }

    #[test]
    fn a_run_that_waits_gives_its_worker_back_and_gets_one_again() {
        let mut queue = Queue::new(1);
        for name in ["a", "b", "c"] {
            queue.add(&name.into(), "prod");
        }
        assert_eq!(take(&mut queue).as_deref(), Some("a"));
        queue.pause("a");
        queue.pause("a");
        assert!(queue.is_busy("a"));
        assert_eq!(take(&mut queue).as_deref(), Some("b"));
        assert_eq!(take(&mut queue), None);
        assert!(!queue.resume("a"), "b has the worker");
        queue.done("b");
        assert!(queue.resume("a") && queue.resume("a"));
        assert_eq!(take(&mut queue), None, "a has it");
        queue.pause("a");
        queue.done("a");
        assert_eq!(take(&mut queue).as_deref(), Some("c"));
        assert_eq!(take(&mut queue), None, "it is counted once");
    }

    #[test]
    fn what_is_taken_back_can_be_added_again_and_what_is_removed_is_gone() {
        let mut queue = Queue::new(1);
        for name in ["a", "b", "c"] {
            queue.add(&name.into(), "prod");
        }
        queue.add(&"d".into(), "test");
        take(&mut queue);
        assert_eq!(names(queue.take_ready(Some("prod"))), ["b", "c"]);
        queue.add(&"b".into(), "prod");
        queue.remove("b");
        queue.remove("a");
        assert!(queue.is_busy("a"), "it runs to its end");
        queue.done("a");
        assert_eq!(take(&mut queue).as_deref(), Some("d"));
        assert_eq!(take(&mut queue), None);
    }
}
