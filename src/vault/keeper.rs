//! Keeps the session's token alive: the one background task of this module.
//!
//! It must never make the token worse than it is: the old one is used until a new one is there, and a renewal that fails is tried
//! again until the end. Leases are counted on the monotonic clock, from before the request was sent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::login::{Lease, Token};
use super::session::{Flight, Session, Suspect, backoff};
use super::wire::{Call, Wire};

/// How often the credential files are looked at. A new one is tried at once: a wrapping token, a certificate and an agent's token do
/// not outlive their successor for long.
const LOOK: Duration = Duration::from_secs(5);

/// The longest wait between renewals that fail.
const RENEW: Duration = Duration::from_secs(300);

impl Session {
    /// Keeps a token at hand until `stop`, which comes before everything else, so that nothing is begun after it: logs in, renews at about two thirds of the lease, logs in again in the background when a
    /// renewal no longer helps or the credential files have changed.
    pub(super) async fn keep(&self, wire: &Wire, stop: &CancellationToken) {
        let mut changes = self.current.subscribe();
        let mut failures = 0;
        let mut retry = None;
        loop {
            changes.mark_unchanged();
            let token = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                token = self.token(wire) => token.ok(),
            };
            let due = match &token {
                Some(token) => retry.or_else(|| care(token)),
                None => Some(self.next_login().await),
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = changes.changed() => {
                    (failures, retry) = (0, None);
                    continue;
                }
                () = until(due) => {}
                () = tokio::time::sleep(LOOK) => {}
            }
            let Some(token) = token else { continue };
            let work = async {
                self.follow_files(wire, &token).await;
                match due {
                    Some(due) if due <= Instant::now() => self.extend(wire, &token).await,
                    _ => true,
                }
            };
            let done = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                done = work => done,
            };
            (failures, retry) = match done {
                true => (0, None),
                false => (failures + 1, Some(Instant::now() + again(&token, failures))),
            };
        }
    }

    async fn next_login(&self) -> Instant {
        let flight = self.flight.lock().await;
        let next = flight.failed.as_ref().map(|failed| failed.next);
        next.unwrap_or_else(|| Instant::now() + Duration::from_secs(1))
    }

    /// Logs in again when the credential files have changed.
    async fn follow_files(&self, wire: &Wire, token: &Token) {
        if self.credentials().await.is_ok_and(|now| now != token.with) {
            self.replace(wire, token).await;
        }
    }

    /// Renews the token, or replaces one that can no longer be renewed. False = try again later.
    pub(super) async fn extend(&self, wire: &Wire, token: &Token) -> bool {
        let Some(lease) = token.lease else {
            return true;
        };
        if token.own && lease.ends() {
            return self.replace(wire, token).await;
        }
        let call = Call::post("auth/token/renew-self", &json!({})).named("renew the Vault token");
        let from = Instant::now();
        let answer = match wire.exchange(&call, Some(&token.header)).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::debug!(event = "vault_login", error = %error, "the Vault token was not renewed");
                return false;
            }
        };
        match (answer.status, &answer.body.auth) {
            (200, Some(auth)) => {
                let ttl = Duration::from_secs(auth.lease_duration);
                let renewed = Lease::new(from, ttl, lease.whole, auth.renewable);
                self.prolong(token, renewed);
                if !token.own && renewed.is_some_and(|lease| lease.ends()) {
                    tracing::warn!(
                        event = "vault_login",
                        ttl_seconds = ttl.as_secs(),
                        "the Vault token expires soon and cannot be renewed beyond that; replace it within {} s",
                        ttl.as_secs()
                    );
                }
                true
            }
            (403, _) => match self.suspect(wire, token).await {
                Ok(Suspect::Lives) => {
                    self.cannot_renew(wire, token, lease, "the policy denies it")
                        .await
                }
                Ok(Suspect::Replaced(_)) => true,
                Err(_) => false,
            },
            _ => self.cannot_renew(wire, token, lease, &answer.words()).await,
        }
    }

    async fn cannot_renew(&self, wire: &Wire, token: &Token, lease: Lease, why: &str) -> bool {
        if token.own {
            return self.replace(wire, token).await;
        }
        tracing::warn!(
            event = "vault_login",
            "the Vault token ends in {} s and cannot be renewed ({why}); replace it before",
            lease.left().as_secs()
        );
        let renewable = false;
        self.prolong(token, Some(Lease { renewable, ..lease }));
        true
    }

    /// Logs in again while the old token still works; it is left to expire, because calls under way use it.
    async fn replace(&self, wire: &Wire, token: &Token) -> bool {
        let asked = Instant::now();
        let mut flight = self.flight.lock().await;
        if self
            .held()
            .is_some_and(|held| held.generation != token.generation)
        {
            return true;
        }
        let words = |flight: &Flight| {
            flight
                .failed
                .as_ref()
                .map(|failed| failed.error.what.clone())
        };
        let before = words(&flight);
        let Err(error) = self.renew_login(wire, &mut flight, asked, None).await else {
            return true;
        };
        // What has not changed has been reported.
        if words(&flight) != before {
            let left = token
                .lease
                .map(|lease| format!(" for another {} s", lease.left().as_secs()));
            tracing::warn!(
                event = "vault_login",
                error = %error,
                "a login for a new Vault token failed; the old one stays in use{}",
                left.unwrap_or_default()
            );
        }
        false
    }

    fn prolong(&self, token: &Token, lease: Option<Lease>) {
        let prolonged = Token {
            lease,
            ..token.clone()
        };
        self.current.send_if_modified(|current| {
            let same = current
                .as_ref()
                .is_some_and(|held| held.generation == token.generation);
            if same {
                *current = Some(Arc::new(prolonged));
            }
            same
        });
    }
}

/// When the token wants to be renewed or replaced; `None` = never.
fn care(token: &Token) -> Option<Instant> {
    let lease = token.lease.filter(|lease| token.own || !lease.ends())?;
    Some(lease.care)
}

/// How long after a failed renewal to try again: sooner as the end comes near.
fn again(token: &Token, failures: u32) -> Duration {
    let second = Duration::from_secs(1);
    let left = token.lease.map_or(RENEW, |lease| lease.left());
    let wait = backoff(second, failures, RENEW).min((left / 3).max(second));
    wait.mul_f64(0.5 + fastrand::f64() / 2.0)
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
