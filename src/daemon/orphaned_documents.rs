//! Documents without a secret: the journal is listed at the start, after a reload and hourly.
//!
//! One place in Vault has one document at work. A secret that got another name takes its document along: the old one is closed first, so
//! that at no moment two are at work, and a crash between the two writes is finished by whoever looks next. A document whose secret left the
//! configuration finishes its retirements by its own coordinates and is then closed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};

use crate::clock;
use crate::config::{IssuerPlace, Settings};
use crate::ops::condition::Condition;
use crate::telemetry::Line;
use rotation::error::{CallError, ErrorKind};
use rotation::event::{EventName, Level};
use rotation::plan::{Coordinates, Plan};
use rotation::ports::{Journal, JournalRead};
use rotation::record::Record;
use rotation::request::JournalSnapshot;
use rotation::token::TokenId;

use super::Daemon;
use super::assemble::{Ledger, Store};
use super::background::Apply;
use super::conditions::{Subject, journal_refused};
use super::entry::Entry;
use super::holders::LeftSecret;
use super::journal_index;

/// A document that another installation's configuration left behind is found within this.
const SURVEY: Duration = Duration::from_secs(3600);
/// One that could not be read is read again after this.
const READ_AGAIN: Duration = Duration::from_secs(30);
/// Documents that are read at the same time.
const AT_ONCE: usize = 8;
/// Somebody else writes the same document at the same moment: more often than this it is left for the next time.
const TRIES: u32 = 5;

/// A configured secret, as far as documents are concerned.
struct Wanted {
    name: String,
    coordinates: Coordinates,
    renamed_from: Option<String>,
}

/// A closed document.
#[derive(Clone)]
pub(super) struct Closed {
    coordinates: Coordinates,
    /// The token that the secret held when it left the configuration; none = it held none, or continues under another name.
    token: Option<TokenId>,
}

/// What the journal holds beside the documents of the configured secrets.
#[derive(Default)]
struct Found {
    orphaned: Vec<(JournalSnapshot, Record)>,
    /// What is wrong with documents.
    conditions: Vec<Condition>,
    /// Closed documents, which need not be read again.
    closed: BTreeMap<String, Closed>,
    /// The secrets of closed documents that still hold a token.
    left: Vec<LeftSecret>,
    /// A document could not be read now.
    is_incomplete: bool,
}

impl Daemon {
    /// Lists the journal when that is due.
    pub(super) fn survey_when_due(&mut self) {
        if self.next_survey > Instant::now() || self.office.services.vault_outage().is_some() {
            return;
        }
        self.next_survey = Instant::now() + SURVEY;
        let wanted = wanted(&self.settings);
        let closed = self.closed_documents.clone();
        let (wired, services) = (self.office.wired.clone(), self.office.services.clone());
        self.background.begin("survey", async move {
            let found = async {
                let mut found = survey(&wired.ledger, &wanted, closed).await?;
                found.left = left_secrets(&wired.store, &wanted, &found.closed).await;
                Ok(found)
            };
            let found = found.await;
            services.called("", "journal", found.as_ref().err());
            Box::new(move |daemon: &mut Daemon| daemon.surveyed(found)) as Apply
        });
    }

    fn surveyed(&mut self, found: Result<Found, CallError>) {
        match found {
            Ok(found) => {
                self.surveyed = true;
                self.office.conditions.set(Subject::Journal, vec![]);
                if found.is_incomplete {
                    self.next_survey = Instant::now() + READ_AGAIN;
                }
                self.adopt_orphans(found);
            }
            Err(error) if error.kind == ErrorKind::Refused => {
                // What is configured rotates on; only what is not is left behind.
                self.surveyed = true;
                let message = format!(
                    "the journal cannot be listed, so secrets that leave the configuration are not finished: {}",
                    error.what
                );
                let all = vec![journal_refused(message).error(error.what)];
                self.office.conditions.set(Subject::Journal, all);
            }
            Err(_) => self.next_survey = Instant::now(),
        }
    }

    fn adopt_orphans(&mut self, found: Found) {
        self.closed_documents = found.closed;
        let mut left = found.left;
        left.retain(|(name, ..)| !self.roster.contains_key(name));
        self.holders.set_left(left);
        let mut conditions = found.conditions;
        // Those of a secret that was here before are found by its own runs.
        conditions.retain(|it| {
            let name = it.secret.as_ref();
            !name.is_some_and(|name| self.roster.contains_key(name.as_str()))
        });
        let records = found.orphaned.iter().map(|(_, record)| record);
        let recalled = self.recall(records);
        for (known, record) in found.orphaned {
            if self.roster.contains_key(record.name.as_str()) || recalled.contains(&record.name) {
                continue;
            }
            match leaver_plan(&self.settings, &record) {
                Some(plan) => {
                    self.tell_of_namesake(&record);
                    let mut entry = Entry::new(Arc::new(plan), None);
                    entry.adopt(known);
                    self.roster.insert(record.name.as_str(), entry);
                    self.update(&record.name, clock::now());
                }
                None if record.is_finished() => {}
                None => conditions.push(homeless(&record)),
            }
        }
        self.office.conditions.set(Subject::Documents, conditions);
    }

    fn tell_of_namesake(&self, record: &Record) {
        let mut secrets = self.settings.secrets.iter();
        let renamed = secrets.find(|secret| secret.renamed_from.as_ref() == Some(&record.name));
        if let Some(secret) = renamed {
            let name = &secret.plan.name;
            let message = format!(
                "{name} already has a journal document; that of its former name {} is not carried over: its old tokens are retired, then it is closed",
                record.name
            );
            Line::new(EventName::SecretReleased, message)
                .at(Level::Warn)
                .secret(name, &record.coordinates.environment)
                .write();
        }
    }
}

fn wanted(settings: &Settings) -> Vec<Wanted> {
    let secrets = settings.secrets.iter();
    secrets
        .map(|secret| Wanted {
            name: secret.plan.name.clone(),
            coordinates: secret.plan.coordinates.clone(),
            renamed_from: secret.renamed_from.clone(),
        })
        .collect()
}

/// The environment or account with this URL, whatever its name is now. A retirement is never carried out against another one.
pub(super) fn issuer_at(settings: &Settings, url: &str) -> Option<IssuerPlace> {
    let issuers = settings.issuers().into_iter();
    issuers.into_iter().find(|issuer| issuer.base_url == url)
}

/// The environment that a document without a secret belongs to: the issuer itself, the one whose ActiveGate tokens it issues, or one of the
/// account's, that of the document if it is there.
pub(super) fn environment_of(settings: &Settings, issuer: &IssuerPlace, named: &str) -> String {
    if settings.environments.contains_key(&issuer.service) {
        return issuer.service.clone();
    }
    let mut environments = settings.environments.iter().filter(|(_, it)| {
        let gates = it.active_gates();
        if gates.is_some_and(|gates| gates.service == issuer.service) {
            return true;
        }
        let account = it
            .account
            .as_ref()
            .and_then(|name| settings.accounts.get(name));
        account.is_some_and(|account| account.client.service() == issuer.service)
    });
    let same = environments.clone().find(|(name, _)| *name == named);
    let found = same.or_else(|| environments.next());
    found.map_or(named, |(name, _)| name).to_owned()
}

fn leaver_plan(settings: &Settings, record: &Record) -> Option<Plan> {
    let issuer = issuer_at(settings, &record.coordinates.base_url)?;
    let named = &record.coordinates.environment;
    let environment = environment_of(settings, &issuer, named);
    let claim_timeout = settings.journal.claim_timeout;
    Some(record.release_plan(&environment, &issuer.service, issuer.settle, claim_timeout))
}

fn homeless(record: &Record) -> Condition {
    let ids: Vec<&str> = record.retiring.iter().map(|e| e.id.as_str()).collect();
    let message = format!(
        "{} is no longer in the configuration, and no environment has the URL {}, where its former tokens [{}] are to be ended: configure \
         that environment until they are gone, or delete them there by hand and then the journal document",
        record.name,
        record.coordinates.base_url,
        ids.join(", ")
    );
    blocked(record, message)
}

/// The tokens of a document without a secret cannot be retired.
fn blocked(record: &Record, message: String) -> Condition {
    Condition::new(EventName::RetirementBlocked, message, clock::now())
        .secret(&record.name, &record.coordinates.environment)
}

/// Lists the journal, carries documents over to new names, and returns those that have no secret. Those that are known to be `closed` are not
/// read again.
async fn survey(
    ledger: &Ledger,
    wanted: &[Wanted],
    mut closed: BTreeMap<String, Closed>,
) -> Result<Found, CallError> {
    let mut found = Found::default();
    let names: BTreeSet<String> = ledger.list().await?.into_iter().collect();
    for secret in wanted {
        let former = secret.renamed_from.as_ref();
        if let Some(former) = former.filter(|former| names.contains(*former)) {
            carry_over(ledger, former, &secret.name, true).await?;
        }
    }
    let configured: BTreeSet<&str> = wanted.iter().map(|secret| secret.name.as_str()).collect();
    closed.retain(|name, _| names.contains(name));
    found.closed = closed;
    let mut left: Vec<String> = names.iter().cloned().collect();
    let is_known = |name: &String| found.closed.contains_key(name);
    left.retain(|name| !is_known(name) && !configured.contains(name.as_str()));
    let reads = left.into_iter().map(|name| async move {
        let read = ledger.read(&name).await;
        (name, read)
    });
    let reads = stream::iter(reads);
    let mut reads = std::pin::pin!(reads.buffered(AT_ONCE));
    while let Some((name, read)) = reads.next().await {
        let (version, record) = match read {
            Ok(JournalRead::Present { version, record }) => (version, record),
            Ok(JournalRead::Absent { .. }) => continue,
            Ok(JournalRead::Unreadable { why }) => {
                found.conditions.push(unreadable(&name, &why));
                continue;
            }
            Err(error) => {
                // While others can be read, it is this document's problem.
                ledger.list().await?;
                found.conditions.push(unreadable(&name, &error.what));
                found.is_incomplete = true;
                continue;
            }
        };
        if record.closed_at.is_some() {
            found.closed.insert(name.clone(), Closed::of(&record));
            if let Some(next) = record
                .renamed_to
                .filter(|next| configured.contains(next.as_str()))
            {
                // It may have been broken off.
                carry_over(ledger, &name, &next, true).await?;
            }
            continue;
        }
        let same = |secret: &&Wanted| secret.coordinates.same_place(&record.coordinates);
        match wanted.iter().find(same) {
            Some(secret) if carry_over(ledger, &name, &secret.name, false).await? => {}
            Some(secret) => {
                found.conditions.push(two_documents(&record, &secret.name));
            }
            None => {
                let known = JournalSnapshot {
                    cas: version,
                    record: Some(record.clone()),
                };
                found.orphaned.push((known, *record));
            }
        }
    }
    Ok(found)
}

impl Closed {
    fn of(record: &Record) -> Self {
        let moved = record.renamed_to.is_some();
        Closed {
            coordinates: record.coordinates.clone(),
            token: record.current_id().filter(|_| !moved).cloned(),
        }
    }
}

/// The secrets that left the configuration and still hold a token. One whose place another secret has is that secret.
async fn left_secrets(
    store: &Store,
    wanted: &[Wanted],
    closed: &BTreeMap<String, Closed>,
) -> Vec<LeftSecret> {
    let left = closed.iter().filter_map(|(name, closed)| {
        let token = closed.token.as_ref()?;
        let place = &closed.coordinates;
        let same = |secret: &Wanted| secret.coordinates.same_place(place);
        (!wanted.iter().any(same)).then_some((name, place, token))
    });
    let reads = left.map(async |(name, place, token)| {
        let held = journal_index::last_token(store, place, token).await?;
        Some((name.as_str().into(), place.base_url.clone(), held))
    });
    let reads: Vec<_> = reads.collect();
    let held = stream::iter(reads).buffer_unordered(AT_ONCE);
    held.filter_map(std::future::ready).collect().await
}

fn unreadable(name: &str, why: &str) -> Condition {
    let message = format!(
        "the journal document of {name}, which is not in the configuration, cannot be read: {why}"
    );
    Condition::new(EventName::JournalUnreadable, message, clock::now()).secret(name, "")
}

/// The secret `former` is called `name` now: its document goes along. `false` = not, because that name has one of its own at work. Unless a
/// person `told` so, a document is not taken back from the name that it was given to.
async fn carry_over(
    ledger: &Ledger,
    former: &str,
    name: &str,
    told: bool,
) -> Result<bool, CallError> {
    for _ in 0..TRIES {
        let JournalRead::Present { version, record } = ledger.read(former).await? else {
            return Ok(true);
        };
        let here = record.renamed_to.as_deref() == Some(name);
        if record.closed_at.is_some() && !here {
            return Ok(true);
        }
        let cas = match ledger.read(name).await? {
            JournalRead::Absent { cas } => cas,
            JournalRead::Present {
                version,
                record: other,
            } if other.closed_at.is_some() => {
                // It is closed, or continues in this document.
                let ours = other.renamed_to.as_deref() == Some(former);
                if (here && !ours) || (ours && !told) {
                    return Ok(true);
                }
                version
            }
            JournalRead::Present { .. } | JournalRead::Unreadable { .. } => return Ok(here),
        };
        if !here {
            let closed = stamped(record.closed_for(name, clock::now()));
            if !settled(ledger.write(former, version, &closed).await)? {
                continue;
            }
        }
        if settled(
            ledger
                .write(name, cas, &stamped(record.carried_over(name)))
                .await,
        )? {
            let message = format!("the journal document of {former} continues as {name}");
            Line::new(EventName::DocumentRenamed, message)
                .secret(name, &record.coordinates.environment)
                .write();
            return Ok(true);
        }
    }
    // Others are at it; the next survey looks again.
    Ok(true)
}

/// `false` = somebody else wrote, or it may have been written: read again.
fn settled(write: Result<u64, CallError>) -> Result<bool, CallError> {
    match write {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind, ErrorKind::Conflict | ErrorKind::Unclear) => Ok(false),
        Err(error) => Err(error),
    }
}

fn stamped(mut record: Record) -> Record {
    record.write_id = super::job::mark();
    record.writer = None;
    record
}

fn two_documents(record: &Record, name: &str) -> Condition {
    let ids: Vec<&str> = record.retiring.iter().map(|e| e.id.as_str()).collect();
    let message = format!(
        "{} is the same secret as {name}, which has its own journal document. dtrotate will not retire the tokens listed in the old document of \
         {}: [{}]. Delete them in Dynatrace once unused, then delete the old document",
        record.name,
        record.name,
        ids.join(", ")
    );
    blocked(record, message)
}
