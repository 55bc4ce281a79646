//! What will happen to secrets, as journal and schedules say: rotations, the steps of retirements, expiries, ends of pauses. Reads documents
//! and changes nothing.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::clock;
use crate::config::{SecretSettings, Settings};
use crate::schedule::calendar::jitter;
use rotation::error::CallError;
use rotation::ports::{Journal, JournalRead, TokenIssuer};
use rotation::record::{Record, Retiring, RetiringState};
use rotation::request::after;
use rotation::token::TokenId;

use super::assemble;
use super::foreground::OpenError;
use super::roster::Entry;

/// Documents read at the same time.
const AT_ONCE: usize = 16;
/// So many rotations of one secret are listed; the schedule says the rest.
const ROTATIONS: usize = 50;

/// Something that will happen. The fields are an interface: docs/commands.md.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Upcoming {
    pub at: Timestamp,
    pub event: What,
    pub secret: String,
    pub environment: String,
    /// The token that is disabled or deleted, expires or is replaced.
    pub token: Option<TokenId>,
    /// Why then.
    pub because: String,
}

/// What will happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The pause ends.
    Resume,
    /// The secret gets another token.
    Rotate,
    /// An old token is disabled.
    Disable,
    /// An old token is deleted.
    Delete,
    /// The current token expires.
    Expire,
}

impl What {
    /// The word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            What::Resume => "resume",
            What::Rotate => "rotate",
            What::Disable => "disable",
            What::Delete => "delete",
            What::Expire => "expire",
        }
    }
}

/// What happens to these secrets within this time from now, in order.
///
/// # Errors
/// The clients cannot be built, or the journal cannot be read.
pub async fn read(
    settings: &Settings,
    secrets: Vec<&SecretSettings>,
    within: Duration,
) -> Result<Vec<Upcoming>, OpenError> {
    let wired = assemble::assemble(settings)?;
    let reads = secrets.into_iter().map(async |secret| {
        let read = wired.ledger.read(&secret.plan.name).await?;
        Ok::<_, CallError>((secret, read))
    });
    let read = stream::iter(reads).buffered(AT_ONCE);
    let read: Result<Vec<_>, CallError> = read.try_collect().await;
    wired.log_out().await;
    let now = clock::now();
    let all = read?.into_iter().flat_map(|(secret, read)| {
        let issuer = wired.issuer(&secret.plan.service).ok();
        let can_disable = issuer.is_none_or(|issuer| issuer.capabilities().disable);
        of_secret(secret, can_disable, read, now)
    });
    let end = after(now, within);
    let mut all: Vec<Upcoming> = all.filter(|one| one.at <= end).collect();
    all.sort_by(|one, other| {
        (one.at, &one.secret, one.event).cmp(&(other.at, &other.secret, other.event))
    });
    Ok(all)
}

fn of_secret(
    secret: &SecretSettings,
    can_disable: bool,
    read: JournalRead,
    now: Timestamp,
) -> Vec<Upcoming> {
    let mut entry = Entry::new(Arc::new(secret.plan.clone()), Some(secret.clone()));
    entry.learn(read, now);
    let Some(record) = entry.record().cloned() else {
        return vec![];
    };
    let new = |at: Timestamp, event, token: Option<&TokenId>, because: &str| Upcoming {
        at: at.max(now),
        event,
        secret: secret.plan.name.clone(),
        environment: secret.plan.coordinates.environment.clone(),
        token: token.cloned(),
        because: because.to_owned(),
    };
    let pause = record.paused(now);
    let resumed = pause.and_then(|pause| pause.until);
    let mut all = vec![];
    if let (Some(pause), Some(until)) = (pause, resumed) {
        all.push(new(until, What::Resume, None, &pause.to_string()));
    }
    let rests = !secret.enabled || pause.is_some() && resumed.is_none();
    let earliest = resumed.unwrap_or(now);
    if !rests {
        for (at, because) in rotations(secret, &entry, &record, earliest) {
            all.push(new(at, What::Rotate, record.current_id(), &because));
        }
        for retiring in &record.retiring {
            for (at, event, because) in steps(secret, can_disable, retiring, earliest) {
                all.push(new(at, event, Some(&retiring.id), &because));
            }
        }
    }
    let current = record.current.as_ref();
    if let Some((current, expires)) = current.and_then(|it| Some((it, it.expires?))) {
        let because = match rests {
            true => "nothing rotates it before",
            false => "if it is still the current token by then",
        };
        all.push(new(expires, What::Expire, Some(&current.id), because));
    }
    all
}

/// The next rotation, and those of the schedule after it.
fn rotations(
    secret: &SecretSettings,
    entry: &Entry,
    record: &Record,
    earliest: Timestamp,
) -> Vec<(Timestamp, String)> {
    let retry = record
        .health
        .failure
        .as_ref()
        .and_then(|failure| failure.retry_at);
    let next = entry.due.as_ref().map(|due| (due.at, due.because.clone()));
    let next = match retry {
        Some(at) => Some((at, "retried after a failure".to_owned())),
        None => next,
    };
    let from = entry
        .due
        .as_ref()
        .map_or(earliest, |due| due.instant.max(earliest));
    let length = SignedDuration::try_from(secret.jitter).unwrap_or_default();
    let later = secret.schedule.firings_after(from).take(ROTATIONS);
    let later = later.map(|instant| {
        let spread = jitter(&secret.plan.name, instant, length);
        let at = instant.checked_add(spread).unwrap_or(instant);
        (
            at,
            format!("schedule `{}` {}", secret.schedule_text, secret.zone_name),
        )
    });
    next.into_iter().chain(later).collect()
}

/// The steps of a retirement that are left, as far as they are known now: a token that is still used stays longer.
fn steps(
    secret: &SecretSettings,
    can_disable: bool,
    entry: &Retiring,
    earliest: Timestamp,
) -> Vec<(Timestamp, What, String)> {
    let at = entry.due.max(earliest);
    let held = entry.usage.held_since.is_some();
    let grace = match held {
        true => "the end of its extended grace, because it is still used",
        false => "the end of its grace",
    };
    let quarantine = "the end of its quarantine".to_owned();
    match entry.state {
        RetiringState::Grace if !can_disable => vec![(at, What::Delete, grace.to_owned())],
        RetiringState::Grace | RetiringState::Disabling => vec![
            (at, What::Disable, grace.to_owned()),
            (after(at, secret.plan.quarantine), What::Delete, quarantine),
        ],
        RetiringState::Quarantine | RetiringState::Deleting => {
            vec![(at, What::Delete, quarantine)]
        }
        RetiringState::Newer(_) => vec![],
    }
}
