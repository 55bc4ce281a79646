//! The sweep: one listing per environment is compared with the documents of all its secrets; and what is watched beside it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use crate::clock;
use crate::ops::condition::Condition;
use crate::ops::known::PATIENCE;
use rotation::error::{CallError, ErrorKind};
use rotation::event::EventName;
use rotation::retry;
use rotation::token::{TokenId, TokenInfo};
use rotation::{listing_needs_work, token_suspect};

use super::Daemon;
use super::background::Apply;
use super::conditions::Subject;
use super::grouped_listing::GroupedListing;

/// A management token that is not rotated is reported when less than this is left, or a fifth of its lifetime if that is less: time enough to
/// make another one in working hours.
const LEAST_LEFT: SignedDuration = SignedDuration::from_hours(14 * 24);

/// Whether an issuer is used is found out again after this: that takes a look at all secrets.
const UNUSED: Duration = Duration::from_secs(5);

/// The sweeps of one environment.
pub(super) struct Sweep {
    next: Instant,
    /// Since when none was completed, how many failed, and the last error.
    failing: Option<(Timestamp, u32, CallError)>,
    /// The environment was listed, and no answer of it had a `Date`.
    sends_no_time: bool,
}

/// When the sweeps of an environment can be done.
#[derive(Clone, Copy)]
struct Able {
    /// Since the start, or since the environment or Vault came back.
    since: Timestamp,
    /// Up to now, or to the beginning of an outage.
    until: Timestamp,
    /// The environment is available, as far as is known.
    can_start: bool,
}

impl Default for Sweep {
    fn default() -> Self {
        Sweep {
            next: Instant::now(),
            failing: None,
            sends_no_time: false,
        }
    }
}

impl Sweep {
    /// The next one at once; one that fails keeps its backoff.
    pub(super) fn hurry(&mut self) {
        if self.failing.is_none() {
            self.next = Instant::now();
        }
    }

    /// The service is back: what failed while it was away is tried at once.
    pub(super) fn recovered(&mut self) {
        self.next = Instant::now();
    }

    fn completed(&mut self, interval: Duration, sends_no_time: bool) {
        self.next = Instant::now() + interval;
        self.failing = None;
        self.sends_no_time = sends_no_time;
    }

    fn failed(&mut self, error: CallError, interval: Duration, now: Timestamp) {
        let (since, attempts, _) = self.failing.take().unwrap_or((now, 0, error.clone()));
        let wait = retry::wait(attempts, error.retry_after, fastrand::u64(..));
        self.next = Instant::now() + wait.min(interval.max(error.retry_after.unwrap_or_default()));
        self.failing = Some((since, attempts + 1, error));
    }

    /// What is open: a refusal at once, anything else when it has lasted for three intervals or five minutes in which it could be done.
    fn conditions(&self, environment: &str, interval: Duration, able: Able) -> Vec<Condition> {
        let now = clock::now();
        let patience = SignedDuration::try_from(interval * 3).unwrap_or(PATIENCE);
        let failing = self.failing.as_ref().filter(|(since, _, error)| {
            let lasts = able.since.max(*since).duration_until(able.until);
            error.kind == ErrorKind::Refused || lasts >= patience.min(PATIENCE)
        });
        let failing = failing.map(|(since, attempts, error)| {
            let message = format!(
                "the tokens of environment {environment} have not been listed successfully since {since:.0} ({attempts} attempts): {}; tokens that were \
                 left behind are not found",
                error.what
            );
            let left = self.next.checked_duration_since(Instant::now());
            // While the service is down, its return decides when, and nothing else does.
            let left = left.filter(|left| able.can_start && !left.is_zero());
            let next_try = left.and_then(|left| now.checked_add(left).ok());
            Condition::new(EventName::SweepFailing, message, *since)
                .tried(*attempts, &error.what, next_try)
        });
        let no_time = self.sends_no_time.then(|| {
            let message = format!(
                "environment {environment} sends no time (`Date` header), so the clocks cannot be compared and old tokens are neither \
                 disabled nor deleted; a proxy in between may remove the header"
            );
            Condition::new(EventName::ClockUnknown, message, now)
        });
        let all = failing.into_iter().chain(no_time);
        all.map(|condition| condition.environment(environment))
            .collect()
    }
}

impl Daemon {
    /// Compares Dynatrace with the journal, an environment at a time.
    pub(super) fn sweep_when_due(&mut self) {
        if !self.surveyed {
            return;
        }
        if self.next_discovery <= Instant::now() {
            self.next_discovery = Instant::now() + self.settings.daemon.sweep;
            self.discover();
        }
        let names: Vec<String> = self.office.wired.issuers.keys().cloned().collect();
        for environment in names {
            let now = Instant::now();
            let next = self.sweeps.entry(environment.clone()).or_default().next;
            if next > now || !self.office.services.can_start(&environment) {
                continue;
            }
            if self.is_compared(&environment) {
                self.sweep(environment);
            } else {
                self.sweeps.entry(environment).or_default().next = now + UNUSED;
            }
        }
    }

    /// Nothing is known of an issuer that no secret uses, and nothing is asked of it. An environment issues API tokens unless its management
    /// token is there for other kinds alone.
    pub(super) fn is_compared(&self, service: &str) -> bool {
        let used = |service: &str| {
            let mut entries = self.roster.values();
            entries.any(|entry| entry.plan.service == service)
        };
        let Some(environment) = self.settings.environments.get(service) else {
            return used(service);
        };
        let gates = environment.active_gates();
        let has_others = gates.is_some_and(|gates| used(&gates.service));
        used(service) || self.settings.is_in_use(service) && !has_others
    }

    /// All environments are compared soon.
    pub(super) fn hurry_sweeps(&mut self) {
        self.next_discovery = Instant::now();
        self.sweeps.values_mut().for_each(Sweep::hurry);
        self.documents.hurry();
        self.pruning.hurry();
        self.next_retention_check = Instant::now();
    }

    fn sweep(&mut self, environment: String) {
        let Some(issuer) = self.office.wired.issuers.get(&environment).cloned() else {
            return;
        };
        let (wired, services) = (self.office.wired.clone(), self.office.services.clone());
        let kind = format!("sweep {environment}");
        let current = self.tokens_in_use(&environment);
        self.background.begin(&kind, async move {
            // Another replica may have rotated it: read it again now, not only when the old one is refused.
            issuer.inner().forget_credential();
            let management = wired.management_token(&environment).await;
            services.called(&environment, "look_up", management.as_ref().err());
            let at = clock::now();
            let listed = match &management {
                Ok(_) => {
                    let listed = issuer.inner().list(|id| current.contains(id)).await;
                    // A listing that fails while other calls succeed is the sweep's problem, not an outage.
                    services.count(&environment, listed.as_ref().err());
                    listed
                }
                Err(error) => Err(error.clone()),
            };
            let listed = listed.map(|tokens| GroupedListing::new(at, tokens, &current));
            let sends_no_time = issuer.inner().clock().skew().is_none();
            Box::new(move |daemon: &mut Daemon| {
                if let Ok(Some(info)) = management {
                    daemon.watch_management(&environment, &info);
                }
                daemon.swept(&environment, listed, sends_no_time);
            }) as Apply
        });
    }

    fn swept(
        &mut self,
        environment: &str,
        listed: Result<GroupedListing, CallError>,
        sends_no_time: bool,
    ) {
        let interval = self.settings.daemon.sweep;
        let sweep = self.sweeps.entry(environment.to_owned()).or_default();
        if self.looked_at_all
            && let Some(pass) = &mut self.pass
        {
            pass.note_sweep(environment, listed.as_ref().err());
        }
        match listed {
            Ok(listing) => {
                sweep.completed(interval, sends_no_time);
                self.compare(environment, &listing);
            }
            Err(error) => sweep.failed(error, interval, clock::now()),
        }
        self.publish_sweeps();
    }

    /// Computes what is open about the sweeps.
    pub(super) fn publish_sweeps(&self) {
        for (environment, sweep) in &self.sweeps {
            let interval = self.settings.daemon.sweep;
            let since = self.able_since.get(environment);
            let outage = self.office.services.waits_for(environment);
            let until = self.delays_count_until(environment);
            let able = Able {
                since: since.copied().unwrap_or(self.began),
                // No sweep is begun in a blip, either.
                until: outage
                    .as_ref()
                    .map_or(until, |(_, outage)| until.min(outage.since)),
                can_start: outage.is_none(),
            };
            let conditions = sweep.conditions(environment, interval, able);
            let subject = Subject::Sweep(environment.clone());
            self.office.conditions.set(subject, conditions);
        }
    }

    /// The current tokens of an environment's secrets, as far as they are known.
    fn tokens_in_use(&self, environment: &str) -> BTreeSet<TokenId> {
        let all = self.roster.values();
        let entries = all.filter(|entry| entry.plan.service == environment);
        entries.filter_map(|entry| entry.current()).collect()
    }

    /// Starts a run for every secret that the listing has something for.
    fn compare(&mut self, environment: &str, listing: &GroupedListing) {
        let now = clock::now();
        let mut found = vec![];
        for (name, entry) in self.roster.iter() {
            if entry.plan.service != environment || self.queue.is_busy(name) {
                continue;
            }
            let Some(record) = entry.record() else {
                continue;
            };
            let doubt =
                entry.settings.is_some() && token_suspect(&record, listing.current(&record), now);
            let own = listing.of(&record);
            let leaves = !record.retiring.is_empty();
            let work = doubt || listing_needs_work(&record, &own.tokens);
            if work || leaves {
                found.push((name.clone(), work.then_some((doubt, own)), leaves));
            }
        }
        for (name, work, leaves) in found {
            let Some(entry) = self.roster.get_mut(&name) else {
                continue;
            };
            if let Some((doubt, own)) = work {
                entry.doubt = doubt;
                entry.listing = Some(own);
                entry.hurry(now);
            }
            if leaves {
                entry.request_reread(now);
            }
            self.rearm(&name, now);
        }
    }

    /// Warns before the management token expires, unless it is itself a rotated secret.
    fn watch_management(&self, environment: &str, token: &TokenInfo) {
        let mut secrets = self.settings.secrets.iter();
        let rotates = secrets.any(|secret| {
            secret.enabled && secret.plan.manages_tokens && secret.plan.service == environment
        });
        let now = clock::now();
        let end = ends_soon(token, now).filter(|_| !rotates);
        let condition = end.map(|end| {
            let message = format!(
                "the management token {} of environment {environment} expires at {end:.0}; put a new one into Vault before then, or list it \
                 as a [[secret]] so that it is rotated",
                token.id
            );
            Condition::new(EventName::ManagementTokenExpiring, message, now).environment(environment)
        });
        let subject = Subject::ManagementToken(environment.to_owned());
        self.office
            .conditions
            .set(subject, condition.into_iter().collect());
    }
}

/// The end of a token that is near.
fn ends_soon(token: &TokenInfo, now: Timestamp) -> Option<Timestamp> {
    let end = token.expires?;
    let fifth = token.created.map(|created| created.duration_until(end) / 5);
    let least = fifth.map_or(LEAST_LEFT, |fifth| fifth.min(LEAST_LEFT));
    (now.duration_until(end) < least).then_some(end)
}

#[cfg(test)]
mod tests {
    use rotation::error::Service;

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    fn ago(seconds: i64) -> Timestamp {
        clock::now() - SignedDuration::from_secs(seconds)
    }

    fn failing() -> Sweep {
        let mut sweep = Sweep::default();
        let error = CallError::new(Service::Dynatrace, ErrorKind::Unauthorized, "no scope");
        sweep.failed(error, INTERVAL, ago(60));
        sweep
    }

    fn able(since: i64, until: i64, can_start: bool) -> Able {
        Able {
            since: ago(since),
            until: ago(until),
            can_start,
        }
    }

    #[test]
    fn after_an_outage_the_sweep_gets_its_chance_before_it_is_reported() {
        let sweep = failing();
        let kinds = |able| sweep.conditions("prod", INTERVAL, able).len();
        assert_eq!(kinds(able(600, 0, true)), 1, "it failed for a minute");
        assert_eq!(
            kinds(able(600, 55, false)),
            0,
            "it failed for 5 s before the outage"
        );
        assert_eq!(
            kinds(able(1, 0, true)),
            0,
            "the outage is over since a second"
        );
        assert_eq!(kinds(able(31, 0, true)), 1, "three intervals later");
    }

    #[test]
    fn the_next_try_of_a_sweep_is_never_in_the_past() {
        let mut sweep = failing();
        let next = |sweep: &Sweep, able| sweep.conditions("prod", INTERVAL, able)[0].next_try;
        assert!(next(&sweep, able(600, 0, true)).is_some_and(|at| at > clock::now()));
        assert_eq!(
            next(&sweep, able(600, 0, false)),
            None,
            "while the service is down"
        );
        sweep.next = Instant::now();
        assert_eq!(next(&sweep, able(600, 0, true)), None);
    }
}
