//! Completed rotations are announced to the routes of `[[notify.route]]`, at least once: the announcement is in the journal document since the commit,
//! and is taken away, without a claim, when every route has it. No rotation waits for it, and a later one replaces it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use crate::clock;
use rotation::announcement::Announcement;
use rotation::error::{CallError, ErrorKind};
use rotation::ports::{Journal, JournalRead};
use rotation::record::Writer;
use rotation::retry;

use super::assemble::{Failure, Ledger, Rotated};
use super::background::Apply;
use super::notifications::Announcer;
use super::{Daemon, job};

/// What another instance has to announce is left to it for this long, then to one replica after another.
const FIRST_TURN: SignedDuration = SignedDuration::from_secs(60);
/// An announcement is made within this.
const STEP: SignedDuration = SignedDuration::from_secs(10);
/// Announcements that are delivered at the same time.
const AT_ONCE: usize = 16;
/// A write that others were faster than is repeated so many times.
const TRIES: usize = 3;

/// The announcements that are not delivered yet, by secret.
#[derive(Default)]
pub(super) struct Announcements(BTreeMap<String, Pending>);

struct Pending {
    announcement: Announcement,
    /// This process made it, or a command of its machine.
    is_own: bool,
    next: Instant,
    failures: u32,
    /// The routes that have it.
    told: BTreeSet<String>,
}

/// How a delivery ended.
#[derive(Default)]
struct Delivery {
    told: BTreeSet<String>,
    /// The last failure; none = every route has it, and the document says so.
    failed: Option<Option<Duration>>,
}

impl Announcements {
    /// Takes note of what a document has to announce.
    fn note(
        &mut self,
        name: &str,
        announcement: Option<&Announcement>,
        instance: &str,
        rank: impl Fn() -> u32,
    ) {
        let known = self.0.get(name).map(|pending| &pending.announcement);
        if known == announcement {
            return;
        }
        let Some(announcement) = announcement else {
            self.0.remove(name);
            return;
        };
        // The commands of this machine have its daemon's name before their own.
        let rest = announcement.by.strip_prefix(instance);
        let is_own = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let wait = match is_own {
            true => Duration::ZERO,
            false => {
                let age = announcement.at.duration_until(clock::now());
                let turn =
                    i32::try_from(rank()).map_or(FIRST_TURN, |rank| FIRST_TURN + STEP * rank);
                Duration::try_from(turn - age).unwrap_or_default()
            }
        };
        let pending = Pending {
            announcement: announcement.clone(),
            is_own,
            next: Instant::now() + wait,
            failures: 0,
            told: BTreeSet::new(),
        };
        self.0.insert(name.to_owned(), pending);
    }

    /// A pass need not wait for them any longer: each was tried.
    pub(super) fn were_tried(&self) -> bool {
        self.0.values().all(|pending| pending.failures > 0)
    }

    fn due(&self) -> Vec<String> {
        let now = Instant::now();
        let due = self.0.iter().filter(|(_, pending)| pending.next <= now);
        due.take(AT_ONCE).map(|(name, _)| name.clone()).collect()
    }
}

impl Daemon {
    /// Takes note of what the document of a secret has to announce.
    pub(super) fn note_announcement(&mut self, name: &str) {
        let entry = self.roster.get(name);
        let entry = entry.filter(|entry| entry.settings.is_some());
        let record = entry.and_then(|entry| entry.record());
        let announcement = record.as_ref().and_then(|it| it.announcement.as_ref());
        // A pass has no name of its own that would last, and there may be nobody else.
        let by = announcement.map(|it| it.by.as_str());
        let instance = match (&self.pass, by) {
            (Some(_), Some(by)) => by,
            _ => &self.instance,
        };
        let rank = || self.replicas.rank(name, &self.instance);
        self.announcements.note(name, announcement, instance, rank);
    }

    /// Delivers what is due.
    pub(super) fn announce_when_due(&mut self) {
        if self.office.services.vault_outage().is_some() {
            return;
        }
        for name in self.announcements.due() {
            let kind = format!("announce {name}");
            if !self.background.is_under_way(&kind) {
                self.announce(name, &kind);
            }
        }
    }

    fn announce(&mut self, name: String, kind: &str) {
        let settings = self
            .roster
            .get(name.as_str())
            .and_then(|entry| entry.settings.as_ref());
        let pending = self.announcements.0.get(&name);
        let (Some(settings), Some(pending)) = (settings, pending) else {
            return;
        };
        let mut announcers = self.notifications.announcers(settings);
        announcers.retain(|announcer| !pending.told.contains(announcer.title()));
        let coordinates = &settings.plan.coordinates;
        let rotated = Rotated {
            secret: name.clone(),
            environment: coordinates.environment.clone(),
            labels: settings.labels.clone(),
            place: coordinates.to_string(),
            announcement: pending.announcement.clone(),
        };
        let writer = Writer {
            instance: self.instance.clone(),
            boot: self.boot.clone(),
            daemon: true,
            at: clock::now(),
        };
        let ledger = self.office.wired.ledger.clone();
        let is_own = pending.is_own;
        self.background.begin(kind, async move {
            let delivery = match is_own || is_open(&ledger, &rotated).await {
                true => deliver(&ledger, &announcers, &rotated, writer).await,
                false => Delivery::default(),
            };
            Box::new(move |daemon: &mut Daemon| daemon.announced(&name, &rotated, delivery))
                as Apply
        });
    }

    fn announced(&mut self, name: &str, rotated: &Rotated, delivery: Delivery) {
        let Some(pending) = self.announcements.0.get_mut(name) else {
            return;
        };
        if pending.announcement != rotated.announcement {
            // A later rotation has replaced it.
            return;
        }
        pending.told.extend(delivery.told);
        match delivery.failed {
            None => {
                self.announcements.0.remove(name);
                self.refresh(&format!("refresh {name}"), vec![name.into()]);
            }
            Some(asked) => {
                let wait = retry::wait(pending.failures, asked, fastrand::u64(..));
                pending.next = Instant::now() + wait;
                pending.failures += 1;
            }
        }
    }
}

/// No other process has made the announcement; so it is where the document cannot be read.
async fn is_open(ledger: &Ledger, rotated: &Rotated) -> bool {
    match ledger.read(&rotated.secret).await {
        Ok(JournalRead::Present { record, .. }) => {
            record.announcement.as_ref() == Some(&rotated.announcement)
        }
        Ok(_) => false,
        Err(_) => true,
    }
}

/// Posts to every route, and takes the announcement away if each has it.
async fn deliver(
    ledger: &Ledger,
    announcers: &[Announcer],
    rotated: &Rotated,
    writer: Writer,
) -> Delivery {
    let mut told = BTreeSet::new();
    let mut failed = None;
    for announcer in announcers {
        match announcer.post(rotated).await {
            Ok(()) => {
                told.insert(announcer.title().to_owned());
            }
            Err(Failure { retry_after, .. }) => failed = Some(retry_after),
        }
    }
    if failed.is_none() {
        let taken = take_away(ledger, &rotated.secret, rotated.announcement.at, writer).await;
        failed = taken.err().map(|error| error.retry_after);
    }
    Delivery { told, failed }
}

/// Takes the announcement of this time out of the document, and changes nothing else: whoever has the claim repeats their write (rule A14).
async fn take_away(
    ledger: &Ledger,
    name: &str,
    at: Timestamp,
    writer: Writer,
) -> Result<(), CallError> {
    let mut last = Ok(());
    for _ in 0..TRIES {
        let JournalRead::Present {
            version,
            mut record,
        } = ledger.read(name).await?
        else {
            return Ok(());
        };
        if record.announcement.as_ref().is_none_or(|it| it.at != at) {
            return Ok(());
        }
        record.announcement = None;
        record.write_id = job::mark();
        record.writer = Some(writer.clone());
        last = ledger.write(name, version, &record).await.map(drop);
        match &last {
            Err(error) if matches!(error.kind, ErrorKind::Conflict | ErrorKind::Unclear) => {}
            _ => break,
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announcement(by: &str, at: Timestamp) -> Announcement {
        Announcement {
            token: rotation::token::TokenId::new("dt0c01.NEW"),
            version: 2,
            old: None,
            at,
            until: at + SignedDuration::from_hours(24),
            by: by.to_owned(),
            unknown: serde_json::Map::new(),
        }
    }

    #[test]
    fn the_instance_that_rotated_goes_first_and_any_other_one_after_a_minute() {
        let now = clock::now();
        let mut all = Announcements::default();
        all.note("own", Some(&announcement("me", now)), "me", || 0);
        all.note(
            "command",
            Some(&announcement("me/command-7", now)),
            "me",
            || 0,
        );
        all.note("alike", Some(&announcement("me2", now)), "me", || 0);
        all.note("theirs", Some(&announcement("other", now)), "me", || 0);
        let left = announcement("dead", now - SignedDuration::from_mins(2));
        all.note("left", Some(&left), "me", || 0);
        assert_eq!(all.due(), ["command", "left", "own"]);
        assert!(!all.were_tried());
    }

    #[test]
    fn a_later_rotation_replaces_what_was_not_delivered() {
        let now = clock::now();
        let mut all = Announcements::default();
        all.note("a", Some(&announcement("me", now)), "me", || 0);
        let pending = all.0.get_mut("a").unwrap();
        pending.told.insert("route 1".to_owned());
        pending.next = Instant::now() + Duration::from_secs(60);
        // The same once more keeps what is known of it.
        all.note("a", Some(&announcement("me", now)), "me", || 0);
        assert!(all.due().is_empty());
        let later = announcement("me", now + SignedDuration::from_secs(1));
        all.note("a", Some(&later), "me", || 0);
        assert_eq!(all.due(), ["a"]);
        assert!(all.0["a"].told.is_empty());
        all.note("a", None, "me", || 0);
        assert!(all.due().is_empty() && all.were_tried());
    }
}
