//! Leaked tokens are ended at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rotation::command::RunResult;
use rotation::error::{CallError, ErrorKind};
use rotation::request::{CurrentTokens, Goal, RevokeRequest};
use rotation::retry;
use rotation::runner::Ended;
use rotation::token::TokenId;

use futures_util::stream::StreamExt;

use super::super::snapshots::Snapshots;
use super::{Finished, Foreground, record};
use crate::config::SecretSettings;

/// At most this lies between two tries.
const REVOKE_PAUSE: Duration = Duration::from_secs(5);

/// Ends tokens at once, each for the secret that it is a token of; a secret that holds its token gets another one first. A token that
/// several of these secrets hold is ended when each of them has another one.
pub async fn revoke<'a>(
    foreground: &Foreground<'a>,
    tokens: Vec<(&'a SecretSettings, RevokeRequest)>,
    known: &Snapshots<'a>,
    mut done: impl FnMut(Finished<'a>),
) {
    let secrets: Vec<_> = tokens.iter().map(|(secret, _)| *secret).collect();
    let requests: BTreeMap<&str, RevokeRequest> = tokens
        .into_iter()
        .map(|(secret, request)| (secret.plan.name.as_str(), request))
        .collect();
    let held = known.current_tokens();
    let mut waiting: Vec<Finished<'a>> = vec![];
    // Those that have another token by now do not keep it any longer.
    let mut left = held.clone();
    let runs = foreground.concurrently(secrets, |secret| {
        revoke_one(
            foreground,
            secret,
            &requests[secret.plan.name.as_str()],
            held.clone(),
        )
    });
    let mut runs = std::pin::pin!(runs);
    while let Some((secret, ended)) = runs.next().await {
        let finished = Finished {
            secret,
            ended,
            retirement: None,
        };
        let name = &finished.secret.plan.name;
        let token = &requests[name.as_str()].revocation.token;
        if !may_hold(&finished, token) {
            let names = Arc::make_mut(&mut left).entry(token.clone()).or_default();
            names.retain(|other| **other != **name);
        }
        match waits_for_others(&finished) {
            true => waiting.push(finished),
            false => done(finished),
        }
    }
    for finished in waiting {
        if foreground.is_stopping() {
            done(finished);
            continue;
        }
        let request = &requests[finished.secret.plan.name.as_str()];
        let ended = revoke_one(foreground, finished.secret, request, left.clone()).await;
        let before = finished
            .ended
            .map(|ended| ended.reports)
            .unwrap_or_default();
        done(Finished {
            ended: ended.map(|ended| Ended {
                reports: before.into_iter().chain(ended.reports).collect(),
                ..ended
            }),
            ..finished
        });
    }
}

/// What fails for a reason that may pass is tried again until the command is to stop.
async fn revoke_one(
    foreground: &Foreground<'_>,
    secret: &SecretSettings,
    request: &RevokeRequest,
    held: Arc<CurrentTokens>,
) -> Result<Ended, CallError> {
    let mut reports = vec![];
    let mut tries = 0;
    let mut cause: Option<RunResult> = None;
    loop {
        let goal = Goal::Revoke(request.clone());
        let run = foreground.run_once(secret, goal, Some(held.clone()), None);
        tries += 1;
        let mut ended = match run.await {
            Ok(ended) => ended,
            Err(error) if passes(&error) && waited(foreground, tries).await => continue,
            Err(error) => return Err(error),
        };
        reports.append(&mut ended.reports);
        let pending = record(&ended).is_some_and(|record| record.revoking.is_some());
        let token = &request.revocation.token;
        let shared = held
            .get(token)
            .is_some_and(|names| names.iter().any(|name| **name != *secret.plan.name));
        let passes = match ended.result {
            RunResult::Retry(ref error) => passes(error),
            RunResult::Done { .. } => pending && !shared,
            _ => false,
        };
        // What kept the run before from its end says more than that the last one was stopped.
        let is_stopped = foreground.is_stopping() && matches!(ended.result, RunResult::Retry(_));
        if let Some(cause) = cause.take_if(|_| is_stopped) {
            ended.result = cause;
        }
        if !passes || !waited(foreground, tries).await {
            return Ok(Ended { reports, ..ended });
        }
        cause = Some(ended.result);
    }
}

/// The cause may pass.
fn passes(error: &CallError) -> bool {
    !matches!(
        error.kind,
        ErrorKind::Unauthorized | ErrorKind::Refused | ErrorKind::Closed | ErrorKind::Exhausted
    )
}

/// Waits before the next try; `false` = the command is to stop.
async fn waited(foreground: &Foreground<'_>, tries: u32) -> bool {
    let pause = retry::wait(tries, None, fastrand::u64(..)).min(REVOKE_PAUSE);
    tokio::select! {
        () = foreground.office.stop.cancelled() => false,
        () = tokio::time::sleep(pause) => true,
    }
}

/// The secret holds this token, or it is not known what it holds.
fn may_hold(finished: &Finished<'_>, token: &TokenId) -> bool {
    let ended = finished.ended.as_ref().ok();
    let record = ended.and_then(record);
    record.is_none_or(|record| record.is_current(token))
}

/// The token is ended when the other secrets that hold it have another one.
fn waits_for_others(finished: &Finished<'_>) -> bool {
    let ended = finished.ended.as_ref().ok();
    let ended = ended.filter(|ended| matches!(ended.result, RunResult::Done { .. }));
    let record = ended.and_then(record);
    record.is_some_and(|record| record.revoking.is_some())
}
