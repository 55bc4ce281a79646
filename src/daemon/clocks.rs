//! Whether the clocks of this machine and of the servers agree.
//!
//! An environment or account whose servers disagree is left alone, and the others are served. Vault's clock concerns them all: where it disagrees,
//! this machine's is as likely to be wrong.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use crate::clock;
use crate::ops::condition::Condition;
use rotation::event::EventName;
use rotation::ports::TokenIssuer;
use rotation::request;

use super::Daemon;
use super::assemble::{NamedClock, ServerClock, Wired};
use super::conditions::Subject;
use super::job::Office;

/// Clocks that differ by more than this: nothing is rotated by schedule, disabled or deleted.
const SKEW: SignedDuration = SignedDuration::from_mins(5);

/// What the last pulse found of the clocks.
pub(super) struct Agreement {
    /// When that was, by this machine's clock.
    seen: Timestamp,
    /// The services at which a clock disagrees, and the last pulse at which none did.
    skewed: BTreeMap<String, Timestamp>,
}

impl Default for Agreement {
    fn default() -> Self {
        Agreement {
            seen: clock::now(),
            skewed: BTreeMap::new(),
        }
    }
}

impl Agreement {
    /// Takes note of the services at which a clock disagrees now; returns those at which none does any longer.
    fn update(&mut self, skewed: &BTreeSet<String>, now: Timestamp) -> Vec<String> {
        let agree = |service: &String| !skewed.contains(service);
        let returned = self.skewed.keys().filter(|it| agree(it)).cloned().collect();
        self.skewed.retain(|service, _| !agree(service));
        for service in skewed {
            let agreed = self.skewed.entry(service.clone());
            agreed.or_insert(self.seen);
        }
        self.seen = now;
        returned
    }

    /// When the clocks last agreed at a service at which they do not.
    pub(super) fn agreed_until(&self, service: &str) -> Option<Timestamp> {
        self.skewed.get(service).copied()
    }
}

impl Daemon {
    /// When the clocks agree again, what waited for that is looked at.
    pub(super) fn note_clocks(&mut self) {
        publish(&self.office);
        let skewed = skewed(&self.office.wired);
        let returned = self.clocks.update(&skewed, clock::now());
        self.status_cache.set_skewed(skewed);
        if !returned.is_empty() {
            self.hurry(|entry| returned.contains(&entry.plan.service));
        }
    }
}

/// Whether this machine's clock agrees with those that the work of a service depends on, as far as they returned their time; the service is asked
/// if it did not yet.
pub(super) async fn state(office: &Office, service: &str) -> request::Clock {
    let Ok(issuer) = office.wired.issuer(service) else {
        return request::Clock::Unknown;
    };
    let clock = issuer.inner().clock();
    if clock.skew().is_none() {
        // Any answer has its time.
        let _ = issuer.probe_known_token().await;
    }
    let known = clock.skew().is_some();
    publish(office);
    match (is_skewed(&office.wired, service), known) {
        (true, _) => request::Clock::Disagrees,
        (false, false) => request::Clock::Unknown,
        (false, true) => request::Clock::Agrees,
    }
}

/// A disagreement is an open condition.
fn publish(office: &Office) {
    let now = clock::now();
    let clocks = office.wired.clocks().into_iter();
    let disagree = clocks.filter_map(|named| {
        let condition = Condition::new(EventName::ClockSkew, disagrees(&named)?, now);
        let service = named.service.as_deref().unwrap_or_default();
        Some(condition.environment(service).subject(named.title))
    });
    office.conditions.set(Subject::Clocks, disagree.collect());
}

/// The services at which a clock disagrees.
fn skewed(wired: &Wired) -> BTreeSet<String> {
    let names = wired.issuers.keys();
    names.filter(|it| is_skewed(wired, it)).cloned().collect()
}

fn is_skewed(wired: &Wired, service: &str) -> bool {
    let clocks = wired.clocks_of(service);
    clocks.into_iter().any(|clock| skew(clock).is_some())
}

/// By how much a server's clock is ahead, if that is too much.
fn skew(clock: &ServerClock) -> Option<SignedDuration> {
    let ahead = clock.skew()?.ahead;
    (ahead.abs() > SKEW).then_some(ahead)
}

/// What there is to say of a server's clock that differs too much from this machine's.
pub(super) fn disagrees(named: &NamedClock) -> Option<String> {
    let ahead = skew(&named.clock)?;
    let what = match &named.service {
        None => "nothing".to_owned(),
        Some(service) => format!("nothing of {service}"),
    };
    Some(format!(
        "the clock of {} is {} s {} of this machine's; until they agree, {what} is rotated by schedule, disabled or deleted. Check the time \
         synchronisation of both",
        named.title,
        ahead.abs().as_secs(),
        if ahead.is_negative() {
            "behind"
        } else {
            "ahead"
        }
    ))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::daemon;
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn set(clock: &ServerClock, seconds: i64) {
        let now = clock::now();
        clock.observe_also(now + SignedDuration::from_secs(seconds), now, now);
    }

    #[tokio::test]
    async fn a_clock_that_is_wrong_concerns_its_own_environment_and_that_of_vault_all() {
        let mut daemon = daemon().await;
        let wired = daemon.office.wired.clone();
        let prod = wired.issuer("prod").unwrap().inner().clock();
        set(prod, 400);
        daemon.note_clocks();
        // The ActiveGate tokens of an environment are issued by the same servers.
        let of_prod = ["activegate prod", "prod"].map(str::to_owned);
        assert_eq!(skewed(&wired), BTreeSet::from(of_prod));
        let open = daemon.office.conditions.all();
        assert_eq!(open.len(), 1);
        assert_eq!(open[0].environment.as_deref(), Some("prod"));
        let message = &open[0].message;
        assert!(
            message.contains("nothing of prod is rotated by schedule"),
            "{message}"
        );
        let is_late = |daemon: &Daemon, service: &str| daemon.delays_count_until(service);
        let now = clock::now();
        assert!(is_late(&daemon, "prod") < now && is_late(&daemon, "stage") >= now);

        set(wired.vault_clock(), -400);
        daemon.note_clocks();
        assert_eq!(skewed(&wired).len(), wired.issuers.len());
        let open = daemon.office.conditions.all();
        assert_eq!(open.len(), 2);
        let of_vault = open.iter().find(|one| one.environment.is_none()).unwrap();
        assert!(
            of_vault.message.contains("nothing is rotated"),
            "{of_vault:?}"
        );
    }

    #[test]
    fn an_environment_is_looked_at_when_its_clock_agrees_again() {
        let mut clocks = Agreement {
            seen: at(1),
            skewed: BTreeMap::new(),
        };
        let both = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        let one = BTreeSet::from(["b".to_owned()]);
        assert!(clocks.update(&both, at(2)).is_empty());
        assert_eq!(clocks.update(&one, at(3)), ["a"]);
        assert_eq!(clocks.agreed_until("a"), None);
        assert_eq!(
            clocks.agreed_until("b"),
            Some(at(1)),
            "the last pulse before"
        );
        assert_eq!(clocks.update(&BTreeSet::new(), at(4)), ["b"]);
    }
}
