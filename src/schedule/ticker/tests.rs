use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;
use tokio::time::timeout;
use uuid::Uuid;

use super::super::calendar::{Cron, Schedule, zone};
use super::{GroupId, Groups, Plan, Ticker};

/// Far above what is needed, so that only a tick that never comes fails.
const PATIENCE: Duration = Duration::from_secs(60);

fn schedule(text: &str, zone_name: &str) -> Arc<Schedule> {
    Arc::new(Schedule::new(
        Cron::parse(text).unwrap(),
        zone(zone_name).unwrap(),
    ))
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn groups(count: u32, text: &str) -> Groups {
    let schedule = schedule(text, "UTC");
    (0..count)
        .map(|number| (GroupId(number), schedule.clone()))
        .collect()
}

mod plan {
    use super::*;

    /// Polls every half second on two clocks that agree, and tells when each job was handed out.
    struct Clock {
        plan: Plan,
        now: Timestamp,
        monotonic: Duration,
    }

    impl Clock {
        fn starting(now: &str, most: usize) -> Clock {
            Clock {
                plan: Plan::new(most),
                now: at(now),
                monotonic: Duration::from_secs(1000),
            }
        }

        fn add(&mut self, text: &str, zone_name: &str) -> Uuid {
            let job = Uuid::new_v4();
            self.plan.insert(job, schedule(text, zone_name), self.now);
            job
        }

        fn poll_after(&mut self, wall: SignedDuration, monotonic: Duration) -> Vec<Uuid> {
            self.now += wall;
            self.monotonic += monotonic;
            self.plan.poll(self.now, self.monotonic)
        }

        fn poll(&mut self) -> Vec<Uuid> {
            self.poll_after(SignedDuration::from_millis(500), Duration::from_millis(500))
        }

        fn poll_until(&mut self, end: &str) -> Vec<(Timestamp, Uuid)> {
            let mut seen = Vec::new();
            while self.now < at(end) {
                let struck = self.poll();
                seen.extend(struck.into_iter().map(|job| (self.now, job)));
            }
            seen
        }
    }

    #[test]
    fn each_firing_is_handed_out_once() {
        let mut clock = Clock::starting("2027-01-01T00:00:00.2Z", 100);
        let job = clock.add("*/2 * * * * *", "UTC");
        let seen = clock.poll_until("2027-01-01T00:00:06.3Z");
        assert_eq!(
            seen,
            [
                (at("2027-01-01T00:00:02.2Z"), job),
                (at("2027-01-01T00:00:04.2Z"), job),
                (at("2027-01-01T00:00:06.2Z"), job)
            ]
        );
    }

    #[test]
    fn a_removed_job_that_has_struck_is_not_handed_out() {
        let mut clock = Clock::starting("2027-01-01T00:00:00.2Z", 1);
        let jobs = [0; 3].map(|_| clock.add("@yearly", "UTC"));
        clock.poll();
        // A step of the clock: all strike, and one is handed out at a time.
        let first = clock.poll_after(SignedDuration::from_hours(1), Duration::from_millis(500));
        let mut waiting = jobs.iter().filter(|job| !first.contains(job));
        let (removed, left) = (waiting.next().unwrap(), waiting.next().unwrap());
        clock.plan.remove(*removed);
        assert_eq!(
            (first.len(), clock.poll(), clock.poll()),
            (1, vec![*left], vec![])
        );
    }

    #[test]
    fn follows_the_zone_through_both_changes_of_the_clock() {
        let mut clock = Clock::starting("2027-03-27T12:00:00Z", 100);
        clock.add("30 2 * * *", "Europe/Vienna");
        let spring = clock.poll_until("2027-03-30T00:00:00Z");
        let spring: Vec<Timestamp> = spring.into_iter().map(|(seen, _)| seen).collect();
        assert_eq!(
            spring,
            [
                at("2027-03-28T03:00:00+02:00"),
                at("2027-03-29T02:30:00+02:00")
            ]
        );
        let mut clock = Clock::starting("2027-10-30T12:00:00Z", 100);
        clock.add("30 2 * * *", "Europe/Vienna");
        let autumn = clock.poll_until("2027-11-02T00:00:00Z");
        let autumn: Vec<Timestamp> = autumn.into_iter().map(|(seen, _)| seen).collect();
        assert_eq!(
            autumn,
            [
                at("2027-10-31T02:30:00+02:00"),
                at("2027-11-01T02:30:00+01:00")
            ]
        );
    }

    #[test]
    fn more_than_one_poll_may_hand_out_come_with_the_next() {
        let mut clock = Clock::starting("2027-01-01T00:00:59.5Z", 40);
        let jobs: Vec<Uuid> = (0..100).map(|_| clock.add("* * * * *", "UTC")).collect();
        let mut seen: BTreeMap<Uuid, u32> = BTreeMap::new();
        for wanted in [40, 40, 20, 0] {
            let struck = clock.poll();
            assert_eq!(struck.len(), wanted);
            for job in struck {
                *seen.entry(job).or_default() += 1;
            }
        }
        assert!(jobs.iter().all(|job| seen[job] == 1));
    }

    #[test]
    fn a_step_of_the_clock_makes_every_group_ask_again() {
        let mut clock = Clock::starting("2027-01-10T12:00:00Z", 100);
        let job = clock.add("0 3 * * *", "UTC");
        assert!(clock.poll().is_empty());
        // A year ahead by mistake, and back: the plan made in the wrong year is thrown away.
        let year = SignedDuration::from_hours(365 * 24);
        let half = Duration::from_millis(500);
        assert_eq!(clock.poll_after(year, half), [job]);
        assert!(clock.poll().is_empty());
        assert_eq!(clock.poll_after(-year, half), [job]);
        let seen = clock.poll_until("2027-01-12T00:00:00Z");
        assert_eq!(seen, [(at("2027-01-11T03:00:00Z"), job)]);
    }

    #[test]
    fn a_machine_that_slept_past_a_firing_ticks_once() {
        let mut clock = Clock::starting("2027-01-10T12:00:00Z", 100);
        let job = clock.add("0 * * * *", "UTC");
        assert!(clock.poll().is_empty());
        let night = SignedDuration::from_hours(10);
        assert_eq!(clock.poll_after(night, Duration::from_millis(500)), [job]);
        assert!(clock.poll().is_empty());
    }

    #[test]
    fn slewing_and_a_late_poll_are_no_step() {
        let mut clock = Clock::starting("2027-01-10T12:00:00Z", 100);
        clock.add("0 3 * * *", "UTC");
        assert!(clock.poll().is_empty());
        let slewed = SignedDuration::from_millis(1400);
        assert!(
            clock
                .poll_after(slewed, Duration::from_millis(500))
                .is_empty()
        );
        let late = SignedDuration::from_mins(20);
        assert!(clock.poll_after(late, Duration::from_secs(1200)).is_empty());
    }

    #[test]
    fn a_removed_job_is_not_handed_out() {
        let mut clock = Clock::starting("2027-01-01T00:00:59.5Z", 1);
        let jobs = [clock.add("* * * * *", "UTC"), clock.add("* * * * *", "UTC")];
        let first = clock.poll();
        let other = jobs.iter().find(|job| !first.contains(job)).unwrap();
        clock.plan.remove(*other);
        assert!(clock.poll().is_empty());
        assert_eq!(clock.poll_until("2027-01-01T00:03:30Z").len(), 2);
    }
}

/// Receives until every group has come `times` times, and tells how often each came.
async fn receive_all(
    ticks: &mut mpsc::Receiver<GroupId>,
    count: u32,
    times: u32,
) -> HashMap<GroupId, u32> {
    let mut seen: HashMap<GroupId, u32> = HashMap::new();
    let wanted = usize::try_from(count).unwrap();
    let all = async {
        while seen.len() < wanted || seen.values().any(|seen| *seen < times) {
            *seen.entry(ticks.recv().await.unwrap()).or_default() += 1;
        }
    };
    timeout(PATIENCE, all).await.expect("every group ticks");
    seen
}

#[tokio::test]
async fn a_thousand_groups_in_one_second_all_tick() {
    thousand_groups().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_groups_in_one_second_all_tick_on_two_workers() {
    thousand_groups().await;
}

/// Far more than the engine's own channel of 200 takes.
async fn thousand_groups() {
    let (ticker, mut ticks) = Ticker::start(groups(1000, "*/3 * * * * *")).await.unwrap();
    let begun = std::time::Instant::now();
    let seen = receive_all(&mut ticks, 1000, 2).await;
    // No group can have come more often than it struck since then.
    let most = begun.elapsed().as_secs() / 3 + 2;
    assert!(seen.values().all(|seen| u64::from(*seen) <= most));
    ticker.stop().await;
}

#[tokio::test]
async fn a_reload_applies_the_difference_and_stop_ends_the_receiver() {
    let (mut ticker, mut ticks) = Ticker::start(groups(2, "* * * * * *")).await.unwrap();
    receive_all(&mut ticks, 2, 1).await;
    let kept = ticker.jobs[&GroupId(0)].0;
    let changed = ticker.jobs[&GroupId(1)].0;
    let wanted: Groups = [
        (GroupId(0), schedule("* * * * * *", "UTC")),
        (GroupId(1), schedule("@yearly", "Europe/Vienna")),
        (GroupId(2), schedule("* * * * * *", "Europe/Vienna")),
    ]
    .into();
    ticker.set(wanted).await.unwrap();
    assert_eq!(ticker.jobs[&GroupId(0)].0, kept);
    assert_ne!(ticker.jobs[&GroupId(1)].0, changed);
    let added = async { while ticks.recv().await != Some(GroupId(2)) {} };
    timeout(PATIENCE, added).await.expect("the new group ticks");
    ticker.set(Groups::new()).await.unwrap();
    assert!(ticker.jobs.is_empty());
    ticker.stop().await;
    let ended = async { while ticks.recv().await.is_some() {} };
    timeout(PATIENCE, ended).await.expect("the receiver ends");
}

#[tokio::test]
async fn a_slow_reader_holds_up_one_tick_of_a_group_at_most() {
    let (ticker, mut ticks) = Ticker::start(Groups::new()).await.unwrap();
    let sender = ticker.shared.sender().clone().unwrap();
    while sender.try_send(GroupId(7)).is_ok() {}
    let waiting = Arc::new(AtomicBool::new(false));
    let (shared, flag) = (ticker.shared.clone(), waiting.clone());
    let held_up = tokio::spawn(async move { shared.tick(GroupId(0), &flag).await });
    let holds = async {
        while !waiting.load(Ordering::Acquire) {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, holds)
        .await
        .expect("the first tick waits");
    // The second one does not.
    timeout(PATIENCE, ticker.shared.tick(GroupId(0), &waiting))
        .await
        .expect("a second tick returns at once");
    let arrives = async { while ticks.recv().await != Some(GroupId(0)) {} };
    timeout(PATIENCE, arrives)
        .await
        .expect("the tick that waited");
    held_up.await.unwrap();
    assert!(ticks.is_empty());
    // And the next one is sent again.
    ticker.shared.tick(GroupId(0), &waiting).await;
    assert_eq!(ticks.recv().await, Some(GroupId(0)));
    ticker.stop().await;
}
