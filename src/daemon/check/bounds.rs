//! What follows from lengths and limits: how long Vault keeps the versions of a secret, and whether its journal document stays within what
//! Vault accepts.

use std::time::Duration;

use jiff::Timestamp;

use crate::config::{SecretSettings, show_duration};
use rotation::marker::Epoch;
use rotation::record::{Current, Record};
use rotation::size;
use rotation::token::TokenInfo;

use super::Grade;
use super::services::at;
use super::words::rough_time;

/// A secret that keeps fewer versions is worth a warning in any case: two rotations and a few changes by hand must fit.
const LEAST_VERSIONS: u64 = 5;

/// How long the engine keeps what is written to one secret.
#[derive(Clone, Copy, Default)]
pub(super) struct Kept {
    /// How many versions; `None` = not known.
    pub(super) versions: Option<u64>,
    /// After which time a version is deleted; `None` = never.
    pub(super) delete_after: Option<Duration>,
    /// When the current version will be deleted.
    pub(super) ends: Option<Timestamp>,
}

/// What there is to say about how long the versions of a secret are kept.
pub(super) fn retention(
    secret: &SecretSettings,
    kept: Kept,
    now: Timestamp,
) -> Vec<(Grade, String)> {
    let (plan, place) = (&secret.plan, at(secret));
    let place = format!("{}/{}", place.mount, place.path);
    let mut found = vec![];
    let needed = versions_needed(secret);
    if let Some(versions) = kept.versions.filter(|versions| *versions < needed) {
        found.push((
            Grade::Warn,
            format!(
                "Vault keeps only {versions} versions of {place}, fewer than are written until an old token is deleted: `undo` may not find its \
                 value, and a token whose name lost its marker cannot be proven to be this secret's own. Set max_versions of the secret or \
                 the mount to at least {needed}"
            ),
        ));
    }
    if let Some(after) = kept.delete_after {
        let gap = secret.schedule.longest_gap().unsigned_abs() + secret.jitter;
        let needed = gap + plan.grace + plan.quarantine;
        let rule = format!(
            "Vault deletes each version of {place} {} after it was written (delete_version_after)",
            show_duration(after)
        );
        if after <= gap {
            let text = format!(
                "{rule}, but {} can pass between two rotations: the current value is deleted before it is replaced. Set \
                 delete_version_after of the secret and the mount to 0s",
                show_duration(gap)
            );
            found.push((Grade::Error, text));
        } else if after < needed {
            let text = format!(
                "{rule}, so `undo` does not find the value of an old token until the end of its quarantine. Set delete_version_after of the \
                 secret and the mount to 0s, or to at least {}",
                show_duration(needed)
            );
            found.push((Grade::Warn, text));
        }
    }
    let replaced = secret.schedule.next_after(now);
    let replaced = replaced.and_then(|due| due.checked_add(secret.jitter + plan.grace).ok());
    if let (Some(ends), Some(replaced)) = (kept.ends, replaced)
        && ends < replaced
    {
        let text = format!(
            "Vault will delete the current value of {place} at {}, before the next rotation and the grace after it are over ({}); correct \
             delete_version_after, then run `dtrotate rotate {}`",
            rough_time(ends),
            rough_time(replaced),
            plan.name
        );
        found.push((Grade::Warn, text));
    }
    found
}

/// How many versions are written while an old token waits for its deletion: that of each rotation, the one that it was in, and the one before
/// that.
fn versions_needed(secret: &SecretSettings) -> u64 {
    let stay = size::longest_grace(&secret.plan) + secret.plan.quarantine;
    let gap = secret.shortest_gap.as_millis().max(1);
    let rotations = u64::try_from(stay.as_millis().div_ceil(gap)).unwrap_or(u64::MAX);
    rotations.saturating_add(2).max(LEAST_VERSIONS)
}

/// Why the journal document of a secret can become larger than Vault accepts. `token` is its current token, if it is known.
pub(super) fn document(secret: &SecretSettings, token: Option<&TokenInfo>) -> Option<String> {
    let plan = &secret.plan;
    // As long as those of a real document.
    let epoch = Epoch {
        installation: "k3v9aa".to_owned(),
        secret: "a7q2bb".to_owned(),
    };
    let mut record = Record::blank(&plan.name, epoch, plan.coordinates.clone(), Timestamp::MAX);
    record.current = token.map(|token| Current::new(token, u64::MAX, &record.epoch));
    let most = size::most_retiring(&record);
    let tokens = size::retiring_at_once(plan, secret.shortest_gap);
    let scopes = match token {
        Some(token) => format!(" beside {} scopes", token.scopes.len()),
        None => String::new(),
    };
    (tokens > most).then(|| {
        format!(
            "its journal document can become too large for Vault: up to {tokens} of its old tokens retire at one time (they stay up to {} \
             enabled and {} in quarantine, and the shortest gap of \"{}\" is {}), and it has room for {most}{scopes}. Rotate less often, or shorten \
             `max_grace` or `quarantine`",
            show_duration(size::longest_grace(plan)),
            show_duration(plan.quarantine),
            secret.schedule_text,
            show_duration(secret.shortest_gap)
        )
    })
}
