//! Secrets are rotated now, and what is due for retirement then is retired.

use std::collections::BTreeMap;

use futures_util::stream::StreamExt;

use rotation::command::RunResult;
use rotation::error::CallError;
use rotation::event::EventName;
use rotation::record::{Record, Trigger};
use rotation::request::{Goal, RotationRequest};
use rotation::runner::Ended;

use super::super::journal_index;
use super::{Finished, Foreground, record};
use crate::clock;
use crate::config::SecretSettings;

/// Rotates the secrets of each environment, several at a time, and retires what is due then. `confirmed` = for these secrets, rights that only the journal knows may be given to the new token. Each result is handed to `done` as soon as it is known.
pub async fn rotate<'a>(
    foreground: &Foreground<'a>,
    secrets: Vec<&'a SecretSettings>,
    confirmed: impl Fn(&SecretSettings) -> bool,
    mut done: impl FnMut(Finished<'a>),
) {
    let runs = foreground.concurrently(secrets, |secret| {
        rotate_one(foreground, secret, confirmed(secret))
    });
    let mut runs = std::pin::pin!(runs);
    let mut due = vec![];
    while let Some((secret, ended)) = runs.next().await {
        let finished = Finished {
            secret,
            ended,
            retirement: None,
        };
        match is_retirement_due(foreground, &finished) {
            true => due.push(finished),
            false => done(finished),
        }
    }
    if foreground.is_stopping() {
        // A daemon or the next command retires what is due.
        due.into_iter().for_each(done);
        return;
    }
    // After the rotations, so that it is known what every secret holds now.
    let urls = due
        .iter()
        .map(|it| it.secret.plan.coordinates.base_url.as_str());
    let held = journal_index::held_tokens(
        &foreground.office.wired,
        foreground.settings,
        urls.collect(),
    )
    .await;
    let mut rotated: BTreeMap<&str, Finished<'a>> = BTreeMap::new();
    let secrets: Vec<_> = due.iter().map(|finished| finished.secret).collect();
    rotated.extend(due.into_iter().map(|it| (it.secret.plan.name.as_str(), it)));
    let runs = foreground.concurrently(secrets, |secret| retire(foreground, secret, &held));
    let mut runs = std::pin::pin!(runs);
    while let Some((secret, ended)) = runs.next().await {
        if let Some(finished) = rotated.remove(secret.plan.name.as_str()) {
            done(Finished {
                retirement: Some(ended),
                ..finished
            });
        }
    }
    rotated.into_values().for_each(done);
}

async fn rotate_one(
    foreground: &Foreground<'_>,
    secret: &SecretSettings,
    confirmed: bool,
) -> Result<Ended, CallError> {
    let goal = || {
        Goal::Rotate(RotationRequest {
            due: None,
            trigger: Trigger::Command,
            accept_recorded_rights: confirmed,
        })
    };
    let mut first = foreground.run(secret, goal(), None).await?;
    if !only_recorded(&first) || foreground.is_stopping() {
        return Ok(first);
    }
    // What a dead process had stored is the current value now, but it has not been rotated yet.
    let mut second = foreground.run(secret, goal(), None).await?;
    first.reports.append(&mut second.reports);
    Ok(Ended {
        reports: first.reports,
        ..second
    })
}

async fn retire(
    foreground: &Foreground<'_>,
    secret: &SecretSettings,
    held: &BTreeMap<&str, journal_index::HeldTokens>,
) -> Result<Ended, CallError> {
    let held = held.get(secret.plan.coordinates.base_url.as_str());
    let tokens = held.cloned().transpose()?.unwrap_or_default();
    foreground.run(secret, Goal::Settle, Some(tokens)).await
}

/// A former token of the secret is to be disabled or deleted now.
fn is_retirement_due(foreground: &Foreground<'_>, finished: &Finished<'_>) -> bool {
    let ended = finished.ended.as_ref().ok();
    let ended = ended.filter(|ended| matches!(ended.result, RunResult::Done { .. }));
    let record = ended.and_then(record);
    let now = clock::now();
    let due = |record: &Record| record.retiring.iter().any(|entry| entry.due <= now);
    !foreground.dry_run && finished.secret.enabled && record.is_some_and(due)
}

/// The run found a token that a dead process had stored, recorded it, and did no more.
fn only_recorded(ended: &Ended) -> bool {
    let has = |event| ended.reports.iter().any(|report| report.event == event);
    let recorded = |report: &rotation::event::Report| {
        report.event == EventName::RotationRecovered && report.token_id.is_some()
    };
    matches!(ended.result, RunResult::Done { .. })
        && ended.reports.iter().any(recorded)
        && !has(EventName::RotationSucceeded)
        && !has(EventName::SecretCreated)
        && !has(EventName::SecretChangedElsewhere)
}
