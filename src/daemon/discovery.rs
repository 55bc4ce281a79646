//! Secrets that `discover` finds: at the start, after a reload and with each sweep the folders are listed, and what is new and holds a token
//! of the environment is taken up as if it were written down.
//!
//! Only a complete listing counts, and an error changes nothing. A secret is released when two complete listings in a row do not show it.
//! What was found is remembered by its journal document, so a restart that cannot list releases nothing.

pub mod held;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};

use crate::clock;
use crate::config::{Discovery, SecretSettings, Settings, rediscovered};
use crate::ops::condition::Condition;
use rotation::error::{CallError, ErrorKind, Service};
use rotation::event::EventName;
use rotation::policy;
use rotation::ports::{Journal, JournalRead, SecretPath, TokenIssuer};
use rotation::record::Record;
use rotation::token::{TokenId, TokenValue};

use super::Daemon;
use super::assemble::{self, Store, Wired};
use super::background::Apply;
use super::conditions::Subject;
use super::foreground::OpenError;
use super::journal_index;

/// A folder with more secrets than this is not taken up.
const MOST: usize = 10_000;
/// Nor one that is deeper.
const DEEPEST: usize = 16;
/// Reads at the same time.
const AT_ONCE: usize = 8;
/// What holds no token that may be taken is looked at again after this.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);
/// So many complete listings in a row without a secret release it.
const MISSED: u32 = 2;

/// A failure that may pass is reported when it was met so many times in a row.
const FAILED: u32 = 3;

/// What discovery knows between two listings.
#[derive(Default)]
pub(super) struct Discovered {
    /// How many complete listings in a row did not show a secret, by its name.
    missed: BTreeMap<String, u32>,
    /// What held no token that may be taken, by its name, and when that was seen.
    rejected: HashMap<String, Instant>,
    /// Folders that were listed, or could not be, since the start or the last reload; and how many times in a row it failed.
    done: BTreeMap<String, u32>,
}

/// Why a folder was not taken up, and what of it was looked at all the same.
struct Looked {
    found: Vec<Arc<SecretSettings>>,
    rejected: Vec<String>,
    error: Option<CallError>,
}

impl Daemon {
    /// Lists the folders.
    pub(super) fn discover(&mut self) {
        if self.office.services.vault_outage().is_some() {
            return;
        }
        for discovery in &self.settings.discoveries {
            let (discovery, store) = (discovery.clone(), self.office.wired.store.clone());
            let kind = format!("discover {}", discovery.title());
            self.background.begin(&kind, async move {
                let listed = list_all(&store, &discovery).await;
                Box::new(move |daemon: &mut Daemon| daemon.listed(&discovery, listed)) as Apply
            });
        }
    }

    /// Every folder was listed, or could not be.
    pub(super) fn has_discovered(&self) -> bool {
        let mut folders = self.settings.discoveries.iter();
        self.office.services.vault_outage().is_some()
            || folders.all(|discovery| self.discovered.done.contains_key(&discovery.title()))
    }

    /// What was found stays what it was under other settings, as far as a folder still has it.
    pub(super) fn carry_discovered(&mut self, settings: &mut Settings) {
        for former in &self.settings.discoveries {
            let mut folders = settings.discoveries.iter();
            if !folders.any(|folder| folder.title() == former.title()) {
                let subject = Subject::Discovery(former.title());
                self.office.conditions.set(subject, vec![]);
            }
        }
        let finders = settings.finders();
        let found = self.settings.secrets.iter().filter(|it| it.is_discovered);
        let kept: Vec<Arc<SecretSettings>> = found
            .filter_map(|secret| rediscovered(&finders, &secret.plan.name, None))
            .collect();
        drop(finders);
        settings.secrets.extend(kept);
        self.discovered = Discovered::default();
    }

    /// Takes up the secrets of these journal documents that a folder has; returns their names.
    pub(super) fn recall<'a>(
        &mut self,
        records: impl Iterator<Item = &'a Record>,
    ) -> BTreeSet<String> {
        let finders = self.settings.finders();
        let found: Vec<Arc<SecretSettings>> = records
            .filter(|record| !self.roster.contains_key(record.name.as_str()))
            .filter_map(|record| rediscovered(&finders, &record.name, Some(&record.coordinates)))
            .collect();
        drop(finders);
        let names = found.iter().map(|secret| secret.plan.name.clone());
        let names: BTreeSet<String> = names.collect();
        if !found.is_empty() {
            self.settings.secrets.extend(found);
            self.take_up();
        }
        names
    }

    /// The set of secrets has changed.
    pub(super) fn take_up(&mut self) {
        self.enroll();
        self.regroup_due = true;
        self.ring();
    }

    fn listed(&mut self, discovery: &Discovery, listed: Result<BTreeSet<String>, CallError>) {
        // The settings may have changed meanwhile.
        if !self.settings.discoveries.contains(discovery) {
            return;
        }
        let listed = match listed {
            Ok(listed) => listed,
            Err(error) => return self.report(discovery, Some(error)),
        };
        let gone = self.count_missed(discovery, &listed);
        if !gone.is_empty() {
            self.settings
                .secrets
                .retain(|secret| !gone.contains(&secret.plan.name));
            self.take_up();
        }
        let known = self.settings.secrets.iter();
        let known: BTreeSet<&str> = known.map(|secret| secret.plan.name.as_str()).collect();
        let finder = self.settings.finder(discovery);
        let rejected = &mut self.discovered.rejected;
        rejected.retain(|_, at| at.elapsed() < LOOK_AGAIN);
        let new: Vec<Arc<SecretSettings>> = listed
            .iter()
            .filter_map(|path| finder.secret(path))
            .filter(|secret| {
                let name = secret.plan.name.as_str();
                !known.contains(name) && !rejected.contains_key(name)
            })
            .collect();
        if new.is_empty() {
            return self.report(discovery, None);
        }
        let (discovery, wired) = (discovery.clone(), self.office.wired.clone());
        let kind = format!("look into {}", discovery.title());
        self.background.begin(&kind, async move {
            let looked = look(&wired, new).await;
            Box::new(move |daemon: &mut Daemon| daemon.looked_into(&discovery, looked)) as Apply
        });
    }

    /// The discovered secrets that a complete listing lacks once too often.
    fn count_missed(
        &mut self,
        discovery: &Discovery,
        listed: &BTreeSet<String>,
    ) -> BTreeSet<String> {
        let mut gone = BTreeSet::new();
        let mine = self.settings.secrets.iter();
        for secret in mine.filter(|secret| secret.is_discovered && discovery.owns(secret)) {
            let name = &secret.plan.name;
            if listed.contains(&secret.plan.coordinates.path) {
                self.discovered.missed.remove(name);
                continue;
            }
            let missed = self.discovered.missed.entry(name.clone()).or_default();
            *missed += 1;
            if *missed >= MISSED {
                gone.insert(name.clone());
            }
        }
        for name in &gone {
            self.discovered.missed.remove(name);
        }
        gone
    }

    fn looked_into(&mut self, discovery: &Discovery, looked: Looked) {
        if !self.settings.discoveries.contains(discovery) {
            return;
        }
        let now = Instant::now();
        let rejected = looked.rejected.into_iter().map(|name| (name, now));
        self.discovered.rejected.extend(rejected);
        let known = self.settings.secrets.iter();
        let known: BTreeSet<String> = known.map(|secret| secret.plan.name.clone()).collect();
        let new = looked.found.into_iter();
        let new: Vec<_> = new.filter(|it| !known.contains(&it.plan.name)).collect();
        if !new.is_empty() {
            self.settings.secrets.extend(new);
            self.take_up();
        }
        self.report(discovery, looked.error);
    }

    /// A folder that cannot be listed or read is an open condition until it can.
    fn report(&mut self, discovery: &Discovery, error: Option<CallError>) {
        let failed = self.discovered.done.entry(discovery.title()).or_default();
        *failed = error.as_ref().map_or(0, |_| *failed + 1);
        // An outage is reported once, by its own condition.
        let lasts = *failed >= FAILED;
        let error = error.filter(|error| lasts || error.kind == ErrorKind::Refused);
        let condition = error.map(|error| {
            let message = format!(
                "the secrets below {} cannot be discovered: {}; those that are known are rotated, and none is released",
                discovery.title(),
                error.what
            );
            Condition::new(EventName::DiscoveryFailing, message, clock::now())
                .environment(&discovery.place().environment)
                .subject(discovery.title())
                .error(error.what)
        });
        let subject = Subject::Discovery(discovery.title());
        let conditions = condition.into_iter().collect();
        self.office.conditions.set(subject, conditions);
    }
}

/// Every path below the folder, or an error: never a part of it.
pub(super) async fn list_all(
    store: &Store,
    discovery: &Discovery,
) -> Result<BTreeSet<String>, CallError> {
    let mount = &discovery.place().mount;
    let (mut found, mut folders) = (BTreeSet::new(), vec![discovery.folder.clone()]);
    let too_much = |what: String| Err(CallError::new(Service::Vault, ErrorKind::Refused, what));
    for _ in 0..DEEPEST {
        let lists = stream::iter(std::mem::take(&mut folders)).map(|folder| async {
            let at = SecretPath {
                mount: mount.clone(),
                path: folder.clone(),
            };
            let names = store.list(&at).await?;
            Ok::<_, CallError>((folder, names))
        });
        let mut lists = std::pin::pin!(lists.buffer_unordered(AT_ONCE));
        while let Some(listed) = lists.next().await {
            let (folder, names) = listed?;
            for name in names {
                match name.strip_suffix('/') {
                    Some(inner) => folders.push(format!("{folder}/{inner}")),
                    None => drop(found.insert(format!("{folder}/{name}"))),
                }
            }
            if found.len() + folders.len() > MOST {
                return too_much(format!(
                    "there are more than {MOST} below {mount}/{}",
                    discovery.folder
                ));
            }
        }
        if folders.is_empty() {
            return Ok(found);
        }
    }
    too_much(format!(
        "there are more than {DEEPEST} levels below {mount}/{}",
        discovery.folder
    ))
}

/// Which of these hold a token that may be taken.
async fn look(wired: &Wired, secrets: Vec<Arc<SecretSettings>>) -> Looked {
    let mut looked = Looked {
        found: vec![],
        rejected: vec![],
        error: None,
    };
    let looks = stream::iter(secrets).map(|secret| async {
        let holds = holds_token(wired, &secret).await;
        (secret, holds)
    });
    let mut looks = std::pin::pin!(looks.buffer_unordered(AT_ONCE));
    while let Some((secret, holds)) = looks.next().await {
        match holds {
            Ok(true) => looked.found.push(secret),
            Ok(false) => looked.rejected.push(secret.plan.name.clone()),
            Err(error) => looked.error = Some(error),
        }
    }
    looked
}

/// The value bears the prefix of its kind, and the environment knows it as a token that can be rotated: enabled, nobody's personal one, and
/// without rights to manage tokens. Nothing else is sent anywhere.
async fn holds_token(wired: &Wired, secret: &SecretSettings) -> Result<bool, CallError> {
    let Some((value, id)) = shown(wired, secret).await? else {
        return Ok(false);
    };
    let place = &secret.plan.coordinates;
    if wired.management_token_ids(None).await.contains(&id) {
        return Ok(false);
    }
    let issuer = wired.issuer(&secret.plan.service)?;
    match issuer.look_up_value(&value).await {
        Ok(info) => Ok(policy::unfit(&info, place, false).is_none()),
        Err(error) if error.kind == ErrorKind::Gone => Ok(false),
        Err(error) => Err(error),
    }
}

/// The value, with the id of a token of its kind that it shows. A value without an id is an opaque one.
async fn shown(
    wired: &Wired,
    secret: &SecretSettings,
) -> Result<Option<(TokenValue, TokenId)>, CallError> {
    let kind = secret.plan.coordinates.kind;
    let value = journal_index::stored_value(wired, &secret.plan).await?;
    Ok(value.and_then(|value| {
        let id = value.id()?;
        let fits = kind.mismatch(Some(&id)).is_none();
        fits.then_some((value, id))
    }))
}

/// Adds what a daemon has discovered, for a command: the open journal documents of secrets that a folder has.
///
/// # Errors
/// The clients cannot be built, or the journal cannot be read.
pub async fn add_known(settings: &mut Settings) -> Result<(), OpenError> {
    if settings.discoveries.is_empty() {
        return Ok(());
    }
    let wired = assemble::assemble(settings)?;
    let known = known(settings, &wired).await;
    wired.log_out().await;
    settings.secrets.extend(known?);
    Ok(())
}

async fn known(settings: &Settings, wired: &Wired) -> Result<Vec<Arc<SecretSettings>>, CallError> {
    let names = wired.ledger.list().await?.into_iter();
    let finders = settings.finders();
    let candidates = names.filter_map(|name| rediscovered(&finders, &name, None));
    let reads = stream::iter(candidates).map(|secret| async {
        let read = wired.ledger.read(&secret.plan.name).await?;
        let is_open = match &read {
            JournalRead::Present { record, .. } => record.closed_at.is_none(),
            JournalRead::Absent { .. } => false,
            JournalRead::Unreadable { .. } => true,
        };
        Ok::<_, CallError>(is_open.then_some(secret))
    });
    let read: Vec<Result<_, CallError>> = reads.buffered(AT_ONCE * 2).collect().await;
    let known = read.into_iter().filter_map(Result::transpose);
    known.collect()
}
