//! The rounds of a daemon: whether there are pruned tokens is read with each sweep interval, and a round is made for each environment or account that
//! has some, and again when the next of them is due.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::clock;
use crate::ops::condition::Condition;
use crate::ops::humanize::count;
use crate::ops::known::PATIENCE;
use rotation::error::{CallError, ErrorKind, Service};
use rotation::event::EventName;
use rotation::prune::{PruneEnd, PruneRecord, PrunedToken};
use rotation::retry;
use rotation::token::TokenId;

use super::super::Daemon;
use super::super::background::Apply;
use super::super::conditions::{Subject, journal_refused};
use super::super::in_use::ManagementTokens;
use super::drive::Driver;
use super::round::{Round, round};

/// A pass makes no more rounds than this over what fails.
const TRIES: u32 = 3;

const WHAT_TO_DO: &str = "`dtrotate undo --token ID` enables it again and restores its name; or delete it in Dynatrace. Either ends this.";

/// What is known of pruned tokens between two rounds.
pub(in super::super) struct Pruning {
    next_read: Instant,
    /// The document was read since the start.
    is_read: bool,
    services: BTreeMap<String, Rounds>,
}

/// The rounds of an environment or account that has pruned tokens.
struct Rounds {
    next: Instant,
    /// One came to its end.
    completed: bool,
    /// Since when none does, how many failed, and the last error.
    failing: Option<(Timestamp, u32, CallError)>,
    /// What the last one found that a person should know: with the time since when.
    blocked: BTreeMap<TokenId, (Timestamp, String)>,
    unconfirmed: usize,
}

impl Default for Pruning {
    fn default() -> Self {
        Pruning {
            next_read: Instant::now(),
            is_read: false,
            services: BTreeMap::new(),
        }
    }
}

impl Default for Rounds {
    fn default() -> Self {
        Rounds {
            next: Instant::now(),
            completed: false,
            failing: None,
            blocked: BTreeMap::new(),
            unconfirmed: 0,
        }
    }
}

impl Pruning {
    /// Everything is looked at soon.
    pub(in super::super) fn hurry(&mut self) {
        self.next_read = Instant::now();
    }

    /// A pass need not wait for it any longer. `is_down` = this environment or account cannot be used.
    pub(in super::super) fn is_done(&self, is_down: impl Fn(&str) -> bool) -> bool {
        let done = |(service, rounds): (&String, &Rounds)| {
            let tries = rounds.failing.as_ref().map_or(0, |(_, tries, _)| *tries);
            rounds.completed || tries >= TRIES || is_down(service)
        };
        self.is_read && self.services.iter().all(done)
    }
}

impl Rounds {
    fn ended(&mut self, round: Result<Round, CallError>, interval: Duration) {
        let now = clock::now();
        let round = round.unwrap_or_else(|error| Round {
            error: Some(error),
            ..Round::default()
        });
        let soon = round.next.map(|at| {
            let left = Duration::try_from(now.duration_until(at)).unwrap_or_default();
            left.max(Duration::from_secs(1))
        });
        let mut wait = soon.unwrap_or(interval).min(interval);
        self.failing = round.error.map(|error| {
            let (since, tries, _) = self.failing.take().unwrap_or((now, 0, error.clone()));
            wait = retry::wait(tries, error.retry_after, fastrand::u64(..)).min(interval);
            (since, tries + 1, error)
        });
        self.completed |= self.failing.is_none();
        self.next = Instant::now() + wait;
        self.unconfirmed = round.unconfirmed;
        let since = |id: &TokenId| self.blocked.get(id).map_or(now, |(since, _)| *since);
        let blocked = round.blocked.into_iter();
        self.blocked = blocked
            .map(|(token, why)| (token.id.clone(), (since(&token.id), why)))
            .collect();
    }

    fn conditions(&self, service: &str, until: Timestamp) -> Vec<Condition> {
        let now = clock::now();
        let new = |message: String, since| {
            Condition::new(EventName::RetirementBlocked, message, since).environment(service)
        };
        let blocked = self.blocked.iter().map(|(id, (since, why))| {
            let message = format!("a pruned token cannot be deleted: {why}; it is unchanged");
            let mut condition = new(message, *since).subject(id.as_str());
            WHAT_TO_DO.clone_into(&mut condition.what_to_do);
            condition
        });
        let lasting = self.failing.as_ref().filter(|(since, _, error)| {
            let refused = matches!(error.kind, ErrorKind::Refused | ErrorKind::Unauthorized);
            refused || since.duration_until(until) >= PATIENCE
        });
        let failing = lasting.map(|(since, tries, error)| {
            let message = format!(
                "tokens of {service} that `dtrotate prune` disabled have not been deleted since {since:.0} ({tries} attempts): {}",
                error.what
            );
            let left = self.next.saturating_duration_since(Instant::now());
            let mut condition = new(message, *since)
                .subject("prune")
                .tried(*tries, &error.what, now.checked_add(left).ok());
            condition.what_to_do = "Remove the cause that the message names; it is retried automatically.".to_owned();
            condition
        });
        let unconfirmed = (self.unconfirmed > 0).then(|| {
            let message = format!(
                "{} of {service}, disabled by `dtrotate prune`, can be deleted now; tokens of this kind bear no mark, so a person confirms it",
                count(self.unconfirmed, "token")
            );
            let mut condition = new(message, now).reason("unconfirmed").warning();
            condition.what_to_do =
                "Run `dtrotate prune` again: it lists them, and deletes them with --yes.".to_owned();
            condition
        });
        blocked.chain(failing).chain(unconfirmed).collect()
    }
}

impl Daemon {
    /// Reads which tokens are pruned, and looks at those whose time has come.
    pub(in super::super) fn prune_when_due(&mut self) {
        if !self.knows_secrets() || self.office.services.vault_outage().is_some() {
            return;
        }
        if self.pruning.next_read <= Instant::now() {
            self.pruning.next_read = Instant::now() + self.settings.daemon.sweep;
            let document = self.office.wired.pruned.clone();
            self.background.begin("pruned tokens", async move {
                let read = document.read().await;
                Box::new(move |daemon: &mut Daemon| daemon.pruned_read(read)) as Apply
            });
        }
        let due = self.pruning.services.iter();
        let due = due.filter(|(_, rounds)| rounds.next <= Instant::now());
        let due: Vec<String> = due.map(|(service, _)| service.clone()).collect();
        for service in due {
            if self.office.services.can_start(&service) {
                self.prune(&service);
            }
        }
    }

    /// It is known which secrets there are, and each was looked at: no token that one of them holds is deleted.
    pub(in super::super) fn knows_secrets(&self) -> bool {
        let looked = self.looked_at_all || self.roster.is_empty();
        looked && self.surveyed && self.has_discovered()
    }

    fn pruned_read(&mut self, read: Result<PruneRecord, CallError>) {
        let now = clock::now();
        let record = match read {
            Ok(record) => record,
            Err(error) => {
                let refused = error.kind == ErrorKind::Refused;
                let condition = refused.then(|| journal_refused(error.what));
                let all = condition.into_iter().collect();
                self.office.conditions.set(Subject::PruneDocument, all);
                self.pruning.is_read |= refused;
                self.pruning.next_read = Instant::now() + PAUSE;
                return;
            }
        };
        self.pruning.is_read = true;
        let issuers = &self.office.wired.issuers;
        let (known, unknown): (Vec<PrunedToken>, Vec<PrunedToken>) = record
            .tokens
            .into_iter()
            .partition(|token| issuers.contains_key(&token.service));
        let conditions = unknown.iter().map(|token| {
            let message = format!(
                "a pruned token cannot be deleted: {} is not in the configuration, and {} is a token of it",
                token.service, token.id
            );
            let mut condition = Condition::new(EventName::RetirementBlocked, message, now)
                .environment(&token.service)
                .subject(token.id.as_str());
            condition.what_to_do = "Put it into the configuration again until the token is deleted.".to_owned();
            condition
        });
        let conditions = conditions.collect();
        self.office
            .conditions
            .set(Subject::PruneDocument, conditions);
        let names: BTreeSet<String> = known.into_iter().map(|token| token.service).collect();
        self.pruning.services.retain(|service, _| {
            let stays = names.contains(service);
            if !stays {
                let subject = Subject::Pruned(service.clone());
                self.office.conditions.set(subject, vec![]);
            }
            stays
        });
        for name in names {
            self.pruning.services.entry(name).or_default();
        }
        self.prune_when_due();
    }

    fn prune(&mut self, service: &str) {
        let places = self.settings.issuers();
        let place = places.into_iter().find(|place| place.service == service);
        let (Some(place), Some(installation)) = (place, self.installation.clone()) else {
            return;
        };
        let Some(held) = self.holders.index(&place.base_url) else {
            let what = format!(
                "nothing is deleted, because it is not known which tokens the secrets of {service} hold"
            );
            let error = CallError::new(Service::Vault, ErrorKind::Transient, what);
            return self.pruned(service, Err(error));
        };
        let (office, settings) = (self.office.clone(), self.settings.clone());
        let name = service.to_owned();
        self.background
            .begin(&format!("prune {service}"), async move {
                let round = async {
                    let services = std::slice::from_ref(&name);
                    let management = ManagementTokens::read(&office.wired, &settings, services);
                    let management = management.await.complete()?;
                    let driver = Driver {
                        office: &office,
                        place: &place,
                        issuer: office.wired.issuer(&name)?,
                        installation: &installation,
                        quarantine: settings.quarantine,
                        held: &held,
                        management: &management,
                        confirmed: &BTreeSet::new(),
                    };
                    round(&driver).await
                };
                let round = round.await;
                Box::new(move |daemon: &mut Daemon| daemon.pruned(&name, round)) as Apply
            });
    }

    fn pruned(&mut self, service: &str, round: Result<Round, CallError>) {
        let Some(rounds) = self.pruning.services.get_mut(service) else {
            return;
        };
        if let (Some(pass), Ok(round)) = (&mut self.pass, &round) {
            let deleted = |(_, end): &&(PrunedToken, PruneEnd)| *end == PruneEnd::Deleted;
            pass.note_pruned(round.ended.iter().filter(deleted).count());
        }
        rounds.ended(round, self.settings.daemon.sweep);
        self.publish_pruning();
    }

    /// Computes what is open about pruned tokens.
    pub(in super::super) fn publish_pruning(&self) {
        for (service, rounds) in &self.pruning.services {
            let until = self.delays_count_until(service);
            let conditions = rounds.conditions(service, until);
            let subject = Subject::Pruned(service.clone());
            self.office.conditions.set(subject, conditions);
        }
    }
}

/// After a read that failed.
const PAUSE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn failed() -> Result<Round, CallError> {
        let what = "no answer in time";
        Err(CallError::new(
            Service::Dynatrace,
            ErrorKind::Transient,
            what,
        ))
    }

    #[test]
    fn p10_rounds_that_keep_failing_are_reported_and_the_end_of_it_as_well() {
        let (mut rounds, interval) = (Rounds::default(), Duration::from_secs(3600));
        rounds.ended(failed(), interval);
        let later = clock::now() + SignedDuration::from_hours(1);
        assert!(rounds.conditions("prod", clock::now()).is_empty());
        let open = rounds.conditions("prod", later);
        assert_eq!(open.len(), 1);
        assert!(open[0].message.contains("no answer in time"));
        rounds.ended(Ok(Round::default()), interval);
        assert!(rounds.conditions("prod", later).is_empty());
    }

    #[test]
    fn a_pass_waits_for_every_environment_that_has_pruned_tokens() {
        let mut pruning = Pruning::default();
        assert!(!pruning.is_done(|_| true));
        pruning.is_read = true;
        assert!(pruning.is_done(|_| false));
        pruning.services.entry("prod".into()).or_default();
        assert!(!pruning.is_done(|_| false) && pruning.is_done(|_| true));
        let rounds = pruning.services.get_mut("prod").unwrap();
        (0..TRIES).for_each(|_| rounds.ended(failed(), Duration::from_secs(1)));
        assert!(pruning.is_done(|_| false));
    }
}
