//! Keeps the session's token alive: the one background task of this room.
//!
//! It must never make the token worse than it is: the old one is used until a new one is there, and a renewal that fails is tried
//! again until the end. Leases are counted on the monotonic clock, from before the request was sent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::login::{Credential, Credentials, Lease, Login, Token};
use super::session::{Flight, Session, Suspect, backoff};
use super::wire::{Call, Wire};

/// How often a token file is looked at. An agent rewrites it well before the old token ends.
const LOOK: Duration = Duration::from_secs(5);

/// The longest wait between renewals that fail.
const RENEW: Duration = Duration::from_secs(300);

impl Session {
    /// Keeps a token at hand until `stop`: logs in, renews at two thirds of the lease, logs in anew in the background when a renewal
    /// no longer helps, and looks at a token file for a new token.
    pub(super) async fn keep(&self, wire: &Wire, stop: &CancellationToken) {
        let mut changes = self.current.subscribe();
        let mut failures = 0;
        let mut retry = None;
        loop {
            changes.mark_unchanged();
            let token = tokio::select! {
                () = stop.cancelled() => return,
                token = self.token(wire) => token.ok(),
            };
            let due = match &token {
                Some(token) => retry.or_else(|| care(token)),
                None => Some(self.next_login().await),
            };
            tokio::select! {
                () = stop.cancelled() => return,
                _ = changes.changed() => {
                    (failures, retry) = (0, None);
                    continue;
                }
                () = until(due) => {}
                () = tokio::time::sleep(LOOK), if self.watches_file() => {}
            }
            let Some(token) = token else { continue };
            let work = async {
                self.follow_file(wire, &token).await;
                match due {
                    Some(due) if due <= Instant::now() => self.extend(wire, &token).await,
                    _ => true,
                }
            };
            let done = tokio::select! {
                () = stop.cancelled() => return,
                done = work => done,
            };
            (failures, retry) = match done {
                true => (0, None),
                false => (failures + 1, Some(Instant::now() + again(&token, failures))),
            };
        }
    }

    fn watches_file(&self) -> bool {
        matches!(&self.login, Login::Token(Credential::File(_)))
    }

    async fn next_login(&self) -> Instant {
        let flight = self.flight.lock().await;
        let next = flight.failed.as_ref().map(|failed| failed.next);
        next.unwrap_or_else(|| Instant::now() + Duration::from_secs(1))
    }

    /// Takes the token over that somebody put into the file.
    async fn follow_file(&self, wire: &Wire, token: &Token) {
        if self.watches_file()
            && let Ok(Credentials::Token(value)) = self.login.read()
            && value != token.value
        {
            self.replace(wire, token).await;
        }
    }

    /// Renews the token, or replaces one that cannot be renewed any more. False = try again later.
    async fn extend(&self, wire: &Wire, token: &Token) -> bool {
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
                let lease = Lease {
                    from,
                    ttl,
                    whole: lease.whole.max(ttl),
                    renewable: auth.renewable,
                };
                self.prolong(token, lease);
                if !token.own && lease.ends() {
                    tracing::warn!(
                        event = "vault_login",
                        ttl_seconds = ttl.as_secs(),
                        "the Vault token nears its end and cannot be renewed beyond it; replace it within {} s",
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
        self.prolong(
            token,
            Lease {
                renewable: false,
                ..lease
            },
        );
        true
    }

    /// Logs in anew while the old token still works; it is left to expire, since calls under way use it.
    async fn replace(&self, wire: &Wire, token: &Token) -> bool {
        let asked = Instant::now();
        let mut flight = self.flight.lock().await;
        if self
            .held()
            .is_some_and(|held| held.generation != token.generation)
        {
            return true;
        }
        let count = |flight: &Flight| flight.failed.as_ref().map_or(0, |failed| failed.count);
        let before = count(&flight);
        match self.renew_login(wire, &mut flight, asked, None).await {
            Ok(_) => true,
            // Within its backoff it was not tried again, and there is nothing new to say.
            Err(_) if count(&flight) == before => false,
            Err(error) => {
                tracing::warn!(
                    event = "vault_login",
                    error = %error,
                    "a new Vault token is needed, and the login failed; the old one works for another {} s",
                    token.lease.map_or(0, |lease| lease.left().as_secs())
                );
                false
            }
        }
    }

    fn prolong(&self, token: &Token, lease: Lease) {
        let prolonged = Arc::new(Token {
            header: token.header.clone(),
            value: token.value.clone(),
            generation: token.generation,
            own: token.own,
            lease: Some(lease),
        });
        self.current.send_if_modified(|current| {
            let same = current
                .as_ref()
                .is_some_and(|held| held.generation == token.generation);
            if same {
                *current = Some(prolonged);
            }
            same
        });
    }
}

/// When the token wants to be renewed or replaced; `None` = never.
fn care(token: &Token) -> Option<Instant> {
    let lease = token.lease.filter(|lease| token.own || !lease.ends())?;
    Some(lease.from + lease.ttl.mul_f64(2.0 / 3.0))
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
