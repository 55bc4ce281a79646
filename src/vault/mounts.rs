//! Which engine stands behind a mount. Asked once per mount; a wrong guess would be fatal, because a KV v1 engine stores a version 2
//! request literally.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::Deserialize;

use rotation::error::{CallError, ErrorKind};
use rotation::event::EventName;
use rotation::ports::SecretPath;

use super::client::Vault;
use super::wire::Call;

/// A generation of the KV engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Engine {
    /// No versions, no check-and-set.
    V1,
    /// Versions and check-and-set.
    V2,
}

impl Engine {
    /// The API path of a secret's data, as policies name it.
    pub fn data_path(self, at: &SecretPath) -> String {
        let SecretPath { mount, path } = at;
        match self {
            Engine::V1 => format!("{mount}/{path}"),
            Engine::V2 => format!("{mount}/data/{path}"),
        }
    }
}

/// What was learned of a mount so short a time ago is not doubted: where many secrets are missing, not each of them asks again.
const FRESH: Duration = Duration::from_secs(10);

/// What is known of the mounts.
#[derive(Default)]
pub(super) struct Mounts(Mutex<HashMap<String, (Engine, Instant)>>);

impl Mounts {
    fn get(&self, mount: &str) -> Option<Engine> {
        let known = self.0.lock().unwrap_or_else(|e| e.into_inner());
        known.get(mount).map(|(engine, _)| *engine)
    }

    /// True for the first one who learns it.
    fn learn(&self, mount: &str, engine: Engine) -> bool {
        let mut known = self.0.lock().unwrap_or_else(|e| e.into_inner());
        known
            .insert(mount.to_owned(), (engine, Instant::now()))
            .is_none()
    }

    /// An answer is odd, as of a mount that was replaced: what was learned of it a while ago is learned again.
    pub(super) fn doubt(&self, mount: &str) {
        let mut known = self.0.lock().unwrap_or_else(|e| e.into_inner());
        if known
            .get(mount)
            .is_some_and(|(_, at)| at.elapsed() >= FRESH)
        {
            known.remove(mount);
        }
    }

    /// It is not what it was.
    pub(super) fn forget(&self, mount: &str) {
        let mut known = self.0.lock().unwrap_or_else(|e| e.into_inner());
        known.remove(mount);
    }
}

#[derive(Deserialize)]
struct Mount {
    path: String,
    #[serde(rename = "type")]
    kind: String,
    options: Option<HashMap<String, String>>,
}

impl Vault {
    /// The engine behind `mount`, as `sys/internal/ui/mounts` reports it; any right below the mount is enough to ask.
    /// `Refused` = there is none, or it is no KV engine, or the token has no right at all below it.
    pub async fn engine(&self, mount: &str) -> Result<Engine, CallError> {
        if let Some(engine) = self.mounts().get(mount) {
            return Ok(engine);
        }
        let call = Call::get(format!("sys/internal/ui/mounts/{mount}"))
            .named(format!("find the engine mounted at {mount}"));
        let answer = match self.call(&call).await {
            Err(error) if error.kind == ErrorKind::Refused => {
                let text = format!(
                    "there is no such mount, or the token's policy gives no right to any path below {mount}/; correct `mount` in the configuration, or the policy"
                );
                return Err(call.error(ErrorKind::Refused, text));
            }
            answer => answer?,
        };
        if answer.status != 200 {
            return Err(answer.refuse(&call));
        }
        let Ok(Some(found)) = answer.data::<Mount>() else {
            return Err(call.unexpected());
        };
        let engine = engine_of(mount, &found).map_err(|why| call.error(ErrorKind::Refused, why))?;
        if self.mounts().learn(mount, engine) && engine == Engine::V1 {
            tracing::warn!(
                event = EventName::KvWithoutVersions.as_str(),
                mount,
                "the mount {mount} is KV version 1: it has no check-and-set, so a change made by somebody else at the same moment, or a \
                 write of ours that arrives late, can be overwritten unnoticed; run a single replica, or better use KV version 2"
            );
        }
        Ok(engine)
    }
}

fn engine_of(mount: &str, found: &Mount) -> Result<Engine, String> {
    let real = found.path.trim_end_matches('/');
    if real != mount {
        return Err(format!(
            "the mount is {real}; write mount = \"{real}\"{}",
            rest(mount, real)
        ));
    }
    if found.kind != "kv" && found.kind != "generic" {
        return Err(format!("it is a {} engine, not kv", found.kind));
    }
    let version = found.options.as_ref().and_then(|o| o.get("version"));
    match version.map(String::as_str) {
        None | Some("1" | "") => Ok(Engine::V1),
        Some("2") => Ok(Engine::V2),
        Some(other) => Err(format!("KV version {other} is not known")),
    }
}

/// What to do with what was written behind the real mount. The API puts `data` there, which does not belong to the path.
fn rest(mount: &str, real: &str) -> String {
    let below = |path: &str, folder: &str| -> Option<String> {
        Some(path.strip_prefix(folder)?.strip_prefix('/')?.to_owned())
    };
    let Some(rest) = below(mount, real) else {
        return String::new();
    };
    if rest == "data" {
        return ": `data` belongs to the addresses of the API".to_owned();
    }
    let rest = below(&rest, "data").unwrap_or(rest);
    format!(" and put \"{rest}/\" in front of the path")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_behind_the_mount_belongs_to_the_path_or_to_the_api() {
        let found = Mount {
            path: "secret/".into(),
            kind: "kv".into(),
            options: None,
        };
        for (mount, cure) in [
            (
                "secret/data",
                "write mount = \"secret\": `data` belongs to the addresses of the API",
            ),
            (
                "secret/data/team",
                "write mount = \"secret\" and put \"team/\" in front of the path",
            ),
            (
                "secret/team",
                "write mount = \"secret\" and put \"team/\" in front of the path",
            ),
        ] {
            let error = engine_of(mount, &found).expect_err(mount);
            assert!(error.ends_with(cure), "{error}");
        }
    }

    #[test]
    fn an_odd_answer_has_a_mount_asked_again_but_not_for_each_of_many() {
        let mounts = Mounts::default();
        mounts.learn("new", Engine::V2);
        mounts.doubt("new");
        assert_eq!(mounts.get("new"), Some(Engine::V2));
        let long_ago = Instant::now()
            .checked_sub(FRESH)
            .expect("the machine runs longer");
        let mut known = mounts.0.lock().expect("not poisoned");
        known.insert("old".into(), (Engine::V1, long_ago));
        drop(known);
        mounts.doubt("old");
        assert_eq!(mounts.get("old"), None);
    }
}
