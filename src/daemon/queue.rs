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
    keys: HashMap<Key, Place>,
    delayed: BTreeSet<(Timestamp, Key)>,
    environments: BTreeMap<Arc<str>, Lane>,
    /// The environment whose turn is next.
    turn: Arc<str>,
}

/// Where a key is.
#[derive(Default)]
struct Place {
    /// When it is to be ready.
    at: Option<Timestamp>,
    stage: Stage,
}

#[derive(Default)]
enum Stage {
    #[default]
    Idle,
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
            keys: HashMap::new(),
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
    pub fn add(&mut self, key: &str, environment: &str) {
        let key = self.key(key);
        self.undelay(&key);
        let Some(place) = self.keys.get_mut(&key) else {
            return;
        };
        match &mut place.stage {
            Stage::Running { dirty, .. } => *dirty = true,
            Stage::Ready { .. } => {}
            Stage::Idle => {
                let environment: Arc<str> = environment.into();
                place.stage = Stage::Ready {
                    environment: environment.clone(),
                };
                let lane = self.environments.entry(environment).or_default();
                lane.ready.push_back(key);
            }
        }
    }

    /// The key is ready at this time and at no other; none = never. A key that is ready or running is not concerned until it has run.
    pub fn add_after(&mut self, key: &str, at: Option<Timestamp>) {
        let key = self.key(key);
        self.undelay(&key);
        let Some(place) = self.keys.get_mut(&key) else {
            return;
        };
        place.at = at;
        if let Some(at) = at {
            self.delayed.insert((at, key));
        }
    }

    /// Takes the keys whose time has come.
    pub fn take_due(&mut self, now: Timestamp) -> Vec<Key> {
        let mut due = vec![];
        while let Some((at, _)) = self.delayed.first()
            && *at <= now
        {
            if let Some((_, key)) = self.delayed.pop_first() {
                if let Some(place) = self.keys.get_mut(&key) {
                    place.at = None;
                }
                due.push(key);
            }
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
        self.keys.entry(key.clone()).or_default().stage = Stage::Running {
            environment: name,
            dirty: false,
            waits: false,
        };
        Some(key)
    }

    /// The work on a key has ended. `true` = something arrived meanwhile, and it should run again.
    pub fn done(&mut self, key: &str) -> bool {
        let Some(place) = self.keys.get_mut(key) else {
            return false;
        };
        let Stage::Running {
            environment,
            dirty,
            waits,
        } = std::mem::take(&mut place.stage)
        else {
            return false;
        };
        if let Some(lane) = self.environments.get_mut(&environment)
            && !waits
        {
            lane.running -= 1;
        }
        dirty
    }

    /// The work on a key only waits for now: its worker is free.
    pub fn pause(&mut self, key: &str) {
        if let Some(Stage::Running {
            environment, waits, ..
        }) = self.keys.get_mut(key).map(|place| &mut place.stage)
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
        }) = self.keys.get_mut(key).map(|place| &mut place.stage)
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
            if let Some(place) = self.keys.get_mut(key) {
                place.stage = Stage::Idle;
            }
        }
        taken
    }

    /// The key is no more. What is running runs to its end.
    pub fn remove(&mut self, key: &str) {
        let key = self.key(key);
        self.undelay(&key);
        match self.keys.get(&key).map(|place| &place.stage) {
            Some(Stage::Running { .. }) => return,
            Some(Stage::Ready { environment }) => {
                if let Some(lane) = self.environments.get_mut(environment) {
                    lane.ready.retain(|other| *other != key);
                }
            }
            _ => {}
        }
        self.keys.remove(&key);
    }

    /// It is ready or running.
    pub fn is_busy(&self, key: &str) -> bool {
        let place = self.keys.get(key);
        place.is_some_and(|place| !matches!(place.stage, Stage::Idle))
    }

    /// The one copy of a key's text.
    fn key(&mut self, key: &str) -> Key {
        if let Some((known, _)) = self.keys.get_key_value(key) {
            return known.clone();
        }
        let key: Key = key.into();
        self.keys.insert(key.clone(), Place::default());
        key
    }

    fn undelay(&mut self, key: &Key) {
        let place = self.keys.get_mut(key);
        if let Some(at) = place.and_then(|place| place.at.take()) {
            self.delayed.remove(&(at, key.clone()));
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
        queue.add("a", "prod");
        queue.add("a", "prod");
        assert_eq!(take(&mut queue).as_deref(), Some("a"));
        assert_eq!(take(&mut queue), None);
    }

    #[test]
    fn what_arrives_while_a_key_runs_is_not_lost_and_does_not_run_beside_it() {
        let mut queue = Queue::new(8);
        queue.add("a", "prod");
        take(&mut queue);
        queue.add("a", "prod");
        assert_eq!(take(&mut queue), None, "at most one run");
        assert!(queue.done("a"), "it is dirty");
        assert!(!queue.is_busy("a"));
        assert!(!queue.done("a"), "it has ended already");
    }

    #[test]
    fn a_later_time_replaces_an_earlier_one_and_a_key_that_is_added_does_not_wait() {
        let mut queue = Queue::new(8);
        queue.add_after("a", Some(at(10)));
        queue.add_after("a", Some(at(20)));
        queue.add_after("b", Some(at(30)));
        assert_eq!(queue.next_due(), Some(at(20)));
        assert!(queue.take_due(at(19)).is_empty());
        assert_eq!(names(queue.take_due(at(30))), ["a", "b"]);
        assert_eq!(queue.next_due(), None);
        queue.add_after("a", Some(at(40)));
        queue.add("a", "prod");
        assert_eq!(queue.next_due(), None);
        queue.add_after("b", Some(at(40)));
        queue.add_after("b", None);
        assert_eq!(queue.next_due(), None);
    }

    #[test]
    fn one_environment_that_is_slow_or_down_starves_no_other() {
        let mut queue = Queue::new(2);
        for number in 0..10 {
            queue.add(&format!("slow{number}"), "a");
        }
        queue.add("quick", "b");
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
            queue.add(name, "prod");
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
            queue.add(name, "prod");
        }
        queue.add("d", "test");
        take(&mut queue);
        assert_eq!(names(queue.take_ready(Some("prod"))), ["b", "c"]);
        queue.add("b", "prod");
        queue.remove("b");
        queue.remove("a");
        assert!(queue.is_busy("a"), "it runs to its end");
        queue.done("a");
        assert_eq!(take(&mut queue).as_deref(), Some("d"));
        assert_eq!(take(&mut queue), None);
    }
}
