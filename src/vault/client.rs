//! An authenticated call: the token of the session, and the one thing that may be repeated: a call that got a 403 because the token
//! was dead, once, with a new one.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::http::ServerClock;
use rotation::error::{CallError, ErrorKind};

use super::answer::Answer;
use super::mounts::Mounts;
use super::rights::listed;
use super::session::{Session, Suspect};
use super::state::Health;
use super::wire::{Call, Wire};
use super::{SetupError, VaultOptions, login};

/// Paths in one question about capabilities: OpenBao refuses a JSON body of more than 1000 strings (tested on 2.7.2).
const PATHS: usize = 500;

/// The connection to Vault, shared by everything. Cheap to clone.
///
/// Nothing is sent before the first call; it logs in when it must. [`Vault::run`] beside it keeps the token alive.
#[derive(Clone)]
pub struct Vault(Arc<Inner>);

struct Inner {
    wire: Wire,
    session: Session,
    mounts: Mounts,
}

impl Vault {
    /// Sets it up without sending anything.
    pub fn new(options: VaultOptions) -> Result<Self, SetupError> {
        let wire = Wire::new(&options)?;
        Ok(Vault(Arc::new(Inner {
            wire,
            session: Session::new(options.login, options.http.client_certificate),
            mounts: Mounts::default(),
        })))
    }

    /// Keeps a token at hand until `stop`: login, renewal, another login. To be spawned once by a daemon; a short command can do without.
    pub async fn run(&self, stop: CancellationToken) {
        self.0.session.keep(&self.0.wire, &stop).await;
    }

    /// Revokes the token, if this process logged in for it. To be called once, when nothing else is under way.
    pub async fn log_out(&self) {
        self.0.session.end(&self.0.wire).await;
    }

    /// What the calls show about Vault as a whole. It changes once per outage, not once per secret.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.0.wire.state.watch()
    }

    /// Asks `sys/health` alone, which needs no token and leaves no trace in the audit log: does a node serve? The error, if none does.
    pub async fn serves(&self) -> Result<(), CallError> {
        self.0.wire.health().await.map_err(|trouble| {
            if let Some(down) = trouble.down {
                self.0.wire.state.down(down, &trouble.error.what);
            }
            trouble.error
        })
    }

    /// Asks `sys/health`, then whether our token works, and returns the result; the watchers of [`Vault::health`] see it as well.
    pub async fn probe(&self) -> Health {
        match self.0.wire.health().await {
            Err(trouble) => {
                if let Some(down) = trouble.down {
                    self.0.wire.state.down(down, &trouble.error.what);
                }
            }
            Ok(()) => {
                // The call itself records its outcome in the state.
                let _ = self.call(&login::look_up()).await;
            }
        }
        self.health().borrow().clone()
    }

    /// How far Vault's clock is from ours.
    pub fn clock(&self) -> &ServerClock {
        self.0.wire.clock()
    }

    /// What our token may do at each of these API paths (`secret/data/x`), as `sys/capabilities-self` reports them.
    pub async fn capabilities(
        &self,
        paths: &[String],
    ) -> Result<BTreeMap<String, Vec<String>>, CallError> {
        let mut found = BTreeMap::new();
        for paths in paths.chunks(PATHS) {
            let call = Call::post("sys/capabilities-self", &json!({ "paths": paths }))
                .named("ask for the token's capabilities");
            let answer = self.call(&call).await?;
            if answer.status != 200 {
                return Err(answer.refuse(&call));
            }
            let told = answer.data::<BTreeMap<String, Vec<String>>>();
            let told = told.map_err(|_| call.unexpected())?.unwrap_or_default();
            for path in paths {
                let Some(rights) = told.get(path) else {
                    let text = format!("the answer says nothing about {path}");
                    return Err(call.error(ErrorKind::Transient, text));
                };
                found.insert(path.clone(), rights.clone());
            }
        }
        Ok(found)
    }

    /// We log in for our tokens, so that they are ours to revoke.
    pub(super) fn logs_in(&self) -> bool {
        !matches!(self.0.session.login, super::method::Login::Token(_))
    }

    /// For tests of what runs in the background.
    #[cfg(test)]
    pub(super) fn parts(&self) -> (&Wire, &Session) {
        (&self.0.wire, &self.0.session)
    }

    pub(super) fn mounts(&self) -> &Mounts {
        &self.0.mounts
    }

    /// Makes the call with the token in use. An answer of 403 comes back only as an error.
    /// `Unauthorized` = the token is dead and there is no other; `Refused` = the policy denies it.
    pub(super) async fn call(&self, call: &Call) -> Result<Answer, CallError> {
        let Inner { wire, session, .. } = &*self.0;
        let mut token = session.token(wire).await?;
        let mut replaced = false;
        loop {
            let answer = wire.exchange(call, Some(&token.header)).await?;
            if answer.status != 403 {
                wire.state.up();
                return Ok(answer);
            }
            if replaced {
                return Err(denied(call, &answer));
            }
            match session.suspect(wire, &token).await? {
                Suspect::Lives => {
                    wire.state.up();
                    return Err(denied(call, &answer));
                }
                Suspect::Replaced(new) => {
                    token = new;
                    replaced = true;
                }
            }
        }
    }
}

/// The error for a call that the policy denies, with the line that would allow it.
fn denied(call: &Call, answer: &Answer) -> CallError {
    let text = format!(
        "Vault denies it (403: {}); the token's policy needs `path \"{}\" {{ capabilities = [{}] }}`",
        answer.words(),
        call.path,
        listed(call.needs)
    );
    call.error(ErrorKind::Refused, text)
}
