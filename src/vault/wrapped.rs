//! Response-wrapped secret ids: the file holds a wrapping token that gives the secret id out once and then is worthless.
//!
//! What was unwrapped stays in the memory of the process and is written nowhere. An unwrapping that Vault refuses although this
//! process never did it is the one sign that somebody else had the secret id first, so it is reported as such.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use serde::Deserialize;

use crate::http;
use rotation::error::{CallError, ErrorKind};
use rotation::event::EventName;
use rotation::token::TokenValue;

use super::method::unusable;
use super::wire::{Call, Effect, Wire};

/// How long a standby may take to learn of a wrapping token that was made a moment ago; 0.1 seconds were measured.
const LAG: Duration = Duration::from_secs(1);

/// What this process knows of a wrapping token.
struct Known {
    /// The file that it was in.
    path: PathBuf,
    token: TokenValue,
    state: State,
}

#[derive(Clone)]
enum State {
    Unwrapped(TokenValue),
    /// It was sent, and the answer with the secret id did not arrive.
    Lost,
    /// Vault refused it, and this is what was reported.
    Refused(String),
}

/// For each file the wrapping token that it holds, and the last one that worked. It belongs to the process and not to a client: a reload of the
/// configuration makes new clients, and what was unwrapped cannot be had again.
static MEMORY: Mutex<Vec<Known>> = Mutex::new(Vec::new());

fn memory() -> MutexGuard<'static, Vec<Known>> {
    MEMORY.lock().unwrap_or_else(|e| e.into_inner())
}

/// The wrapping token that was in the file, if this process has its secret id.
pub(super) fn known(path: &Path) -> Option<TokenValue> {
    let memory = memory();
    let mut here = memory.iter().filter(|known| known.path == path);
    let known = here.find(|known| matches!(known.state, State::Unwrapped(_)))?;
    Some(known.token.clone())
}

/// The file holds this one now: what was reported of others is resolved.
pub(super) fn holds(path: &Path, token: &TokenValue) {
    memory().retain(|known| {
        let refused = matches!(known.state, State::Refused(_));
        known.path != path || known.token == *token || !refused
    });
}

/// The files whose wrapping token may have been used by somebody else, each with what was reported.
pub fn suspicions() -> Vec<(PathBuf, String)> {
    let memory = memory();
    let refused = memory.iter().filter_map(|known| match &known.state {
        State::Refused(what) => Some((known.path.clone(), what.clone())),
        _ => None,
    });
    refused.collect()
}

/// A wrapping token and where it came from.
pub(super) struct Wrapped<'a> {
    pub(super) token: &'a TokenValue,
    pub(super) path: &'a Path,
    /// Where the AppRole method is mounted.
    pub(super) mount: &'a str,
}

/// What `sys/wrapping/lookup` tells.
#[derive(Deserialize)]
struct Origin {
    creation_path: String,
}

/// What `sys/wrapping/unwrap` gives out.
#[derive(Deserialize)]
struct Content {
    secret_id: String,
}

impl Wrapped<'_> {
    /// The secret id: from memory, or unwrapped now after a look at where it was made.
    /// `Unauthorized` = it cannot be had with this wrapping token.
    pub(super) async fn open(&self, wire: &Wire) -> Result<TokenValue, CallError> {
        if let Some(State::Unwrapped(secret_id)) = self.state() {
            return Ok(secret_id);
        }
        let origin = match self.look(wire).await? {
            Some(origin) => origin,
            None => {
                tokio::time::sleep(LAG).await;
                match self.look(wire).await? {
                    Some(origin) => origin,
                    None => return Err(self.refused()),
                }
            }
        };
        if !is_secret_id_of(self.mount, &origin) {
            return Err(self.foreign(&origin));
        }
        self.unwrap(wire).await
    }

    /// Where it was made; `None` = Vault does not know it (or no longer).
    async fn look(&self, wire: &Wire) -> Result<Option<String>, CallError> {
        let call = Call::form("sys/wrapping/lookup", &[("token", self.token.clone())])
            .named("look at the wrapped secret id");
        let answer = wire.exchange(&call, None).await?;
        match (answer.status, answer.data::<Origin>()) {
            (200, Ok(Some(origin))) => Ok(Some(origin.creation_path)),
            (400 | 403, _) => Ok(None),
            _ => Err(answer.refuse(&call)),
        }
    }

    async fn unwrap(&self, wire: &Wire) -> Result<TokenValue, CallError> {
        let mut call = Call::form("sys/wrapping/unwrap", &[]).named("unwrap the secret id");
        call.effect = Effect::Write;
        let Some(header) = http::sensitive(self.token.expose()) else {
            return Err(unusable(
                "the wrapping token contains a character that is not allowed in a header",
            ));
        };
        let before = self.state();
        self.remember(Some(State::Lost));
        let answer = match wire.exchange(&call, Some(&header)).await {
            Ok(answer) => answer,
            Err(error) => {
                if error.kind != ErrorKind::Unclear {
                    self.remember(before);
                }
                return Err(error);
            }
        };
        match (answer.status, answer.data::<Content>()) {
            (200, Ok(Some(content))) => {
                let secret_id = TokenValue::new(content.secret_id);
                self.remember(Some(State::Unwrapped(secret_id.clone())));
                Ok(secret_id)
            }
            (400 | 403, _) => {
                self.remember(before);
                Err(self.refused())
            }
            _ => Err(answer.refuse(&call)),
        }
    }

    fn state(&self) -> Option<State> {
        let memory = memory();
        let known = memory.iter().find(|known| self.is(known))?;
        Some(known.state.clone())
    }

    fn remember(&self, state: Option<State>) {
        let mut memory = memory();
        let works = matches!(state, Some(State::Unwrapped(_)));
        // The last one that worked is kept until another one works.
        memory.retain(|known| {
            let worked = matches!(known.state, State::Unwrapped(_));
            known.path != self.path || !works && worked && !self.is(known)
        });
        memory.extend(state.map(|state| Known {
            path: self.path.to_owned(),
            token: self.token.clone(),
            state,
        }));
    }

    fn is(&self, known: &Known) -> bool {
        known.path == self.path && known.token == *self.token
    }

    /// Vault refuses the wrapping token. That is expected when the answer to our own unwrapping was lost.
    fn refused(&self) -> CallError {
        let path = self.path.display();
        if let Some(State::Lost) = self.state() {
            return unusable(&format!(
                "the answer to the unwrapping of the secret id in {path} was lost, and it can be unwrapped only once; put a new \
                 wrapping token there"
            ));
        }
        self.accuse(format!(
            "Vault refuses the wrapping token in {path}: it expired, or it was unwrapped before, by this daemon before a restart or \
             by somebody else. If no restart explains it, treat the secret id as stolen: revoke it and find the unwrapping in Vault's \
             audit log. Then put a new wrapping token there"
        ))
    }

    /// It wraps something else than a secret id of our method: somebody may have taken that out and wrapped their own.
    fn foreign(&self, origin: &str) -> CallError {
        self.accuse(format!(
            "the wrapping token in {} was made at {origin} and not at auth/{}/role/ROLE/secret-id: somebody may have taken the secret \
             id out and put something else in its place. It was not unwrapped; find out who made it, and put a new one there",
            self.path.display(),
            self.mount
        ))
    }

    /// Reports a possible theft, once per wrapping token.
    fn accuse(&self, what: String) -> CallError {
        if !matches!(self.state(), Some(State::Refused(_))) {
            self.remember(Some(State::Refused(what.clone())));
            let event = EventName::WrappedSecretIdRefused.as_str();
            tracing::error!(event, "{what}");
        }
        unusable(&what)
    }
}

/// `auth/MOUNT/role/ROLE/secret-id`, below a namespace or not.
fn is_secret_id_of(mount: &str, path: &str) -> bool {
    let method = format!("auth/{mount}/role/");
    let below = path
        .split_once(&method)
        .filter(|(before, _)| before.is_empty() || before.ends_with('/'));
    let role = below.and_then(|(_, rest)| rest.strip_suffix("/secret-id"));
    role.is_some_and(|role| !role.is_empty() && !role.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::is_secret_id_of;

    #[test]
    fn only_a_secret_id_of_the_mount_is_unwrapped() {
        for good in [
            "auth/approle/role/r/secret-id",
            "team1/auth/approle/role/r/secret-id",
        ] {
            assert!(is_secret_id_of("approle", good), "{good}");
        }
        for bad in [
            "sys/wrapping/wrap",
            "auth/other/role/r/secret-id",
            "auth/approle/role/r/custom-secret-id",
            "auth/approle/role/r/x/secret-id",
            "auth/approle/role//secret-id",
            "xauth/approle/role/r/secret-id",
            "",
        ] {
            assert!(!is_secret_id_of("approle", bad), "{bad}");
        }
    }
}
