//! Response-wrapped secret ids: the file holds a wrapping token that gives the secret id out once and then is worthless.
//!
//! What was unwrapped stays in the memory of the process and is written nowhere. An unwrapping that Vault refuses although this
//! process never did it is the one sign that somebody else had the secret id first, so it is told as such.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use serde::Deserialize;

use crate::http;
use crate::rotation::error::{CallError, ErrorKind};
use crate::rotation::event::EventName;
use crate::rotation::token::TokenValue;

use super::answer::Answer;
use super::method::unusable;
use super::wire::{Call, Effect, Wire};

/// How long a standby may take to learn of a wrapping token that was made a moment ago; 0.1 seconds were measured.
const LAG: Duration = Duration::from_secs(1);

/// What this process knows of the wrapping token in a file.
#[derive(Clone)]
struct Known {
    token: TokenValue,
    state: State,
}

#[derive(Clone)]
enum State {
    Unwrapped(TokenValue),
    /// It was sent, and the answer with the secret id did not arrive.
    Lost,
    /// Vault refused it, and that was told.
    Refused,
}

/// By file. It belongs to the process and not to a client: a reload of the configuration makes new clients, and what was unwrapped
/// cannot be had again.
static MEMORY: LazyLock<Mutex<HashMap<PathBuf, Known>>> = LazyLock::new(Mutex::default);

/// The wrapping token that was in the file, if its secret id is at hand.
pub(super) fn known(path: &Path) -> Option<TokenValue> {
    let memory = MEMORY.lock().unwrap_or_else(|e| e.into_inner());
    let known = memory.get(path)?;
    matches!(known.state, State::Unwrapped(_)).then(|| known.token.clone())
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

    /// Where it was made; `None` = Vault does not know it (any more).
    async fn look(&self, wire: &Wire) -> Result<Option<String>, CallError> {
        let call = Call::form("sys/wrapping/lookup", &[("token", self.token.clone())])
            .named("look at the wrapped secret id");
        let mut answer = wire.exchange(&call, None).await?;
        match (answer.status, data::<Origin>(&mut answer)) {
            (200, Some(origin)) => Ok(Some(origin.creation_path)),
            (400 | 403, _) => Ok(None),
            _ => Err(answer.refuse(&call)),
        }
    }

    async fn unwrap(&self, wire: &Wire) -> Result<TokenValue, CallError> {
        let mut call = Call::form("sys/wrapping/unwrap", &[]).named("unwrap the secret id");
        call.effect = Effect::Write;
        let Some(header) = http::sensitive(self.token.expose()) else {
            return Err(unusable(
                "the wrapping token holds a character that no header can carry",
            ));
        };
        let before = self.state();
        self.remember(Some(State::Lost));
        let mut answer = match wire.exchange(&call, Some(&header)).await {
            Ok(answer) => answer,
            Err(error) => {
                if error.kind != ErrorKind::Unclear {
                    self.remember(before);
                }
                return Err(error);
            }
        };
        match (answer.status, data::<Content>(&mut answer)) {
            (200, Some(content)) => {
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
        let memory = MEMORY.lock().unwrap_or_else(|e| e.into_inner());
        let known = memory
            .get(self.path)
            .filter(|known| known.token == *self.token);
        known.map(|known| known.state.clone())
    }

    fn remember(&self, state: Option<State>) {
        let mut memory = MEMORY.lock().unwrap_or_else(|e| e.into_inner());
        match state {
            Some(state) => {
                let token = self.token.clone();
                memory.insert(self.path.to_owned(), Known { token, state });
            }
            None => {
                memory.remove(self.path);
            }
        }
    }

    /// Vault does not take the wrapping token. That is no news where our own unwrapping went astray.
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

    /// Tells a possible theft, once per wrapping token.
    fn accuse(&self, what: String) -> CallError {
        if !matches!(self.state(), Some(State::Refused)) {
            self.remember(Some(State::Refused));
            let event = EventName::WrappedSecretIdRefused.as_str();
            tracing::error!(event, "{what}");
        }
        unusable(&what)
    }
}

fn data<T: serde::de::DeserializeOwned>(answer: &mut Answer) -> Option<T> {
    serde_json::from_value(answer.body.data.take()?).ok()
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
