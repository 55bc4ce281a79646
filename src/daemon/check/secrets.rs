//! The secrets: is each there, does Dynatrace know its token, and what would a rotation do that a person might not expect?

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::{self, StreamExt};

use crate::clock;
use crate::config::SecretSettings;
use rotation::command::{SecretSnapshot, ValueRef};
use rotation::error::ErrorKind;
use rotation::plan::Lifetime;
use rotation::policy;
use rotation::ports::{SecretData, SecretPath, SecretRead, SecretStore, TokenIssuer};
use rotation::token::{TokenId, TokenInfo, TokenValue};

use super::super::assemble::{self, Engine};
use super::services::{Engines, at, ends, grade};
use super::{Findings, Grade, Inspector};

/// A mount or secret that keeps fewer versions is worth a warning: an old version is how dtrotate proves that a token was this secret's,
/// and how `undo` finds its value. Two rotations and a few changes by hand must fit.
const VERSIONS: u64 = 5;

/// What is known before the secrets are looked at.
pub(super) struct Around {
    /// The engines behind the mounts.
    pub(super) engines: Engines,
    /// Paths that we may not read; told already.
    pub(super) denied: BTreeSet<String>,
    /// The management tokens that work, by environment.
    pub(super) managers: BTreeMap<String, TokenInfo>,
}

/// One secret, looked at.
struct Looked<'a> {
    secret: &'a SecretSettings,
    findings: Findings,
    token: Option<TokenInfo>,
}

impl Looked<'_> {
    fn add(&mut self, grade: Grade, text: impl Into<String>) {
        self.findings.add(grade, &self.secret.plan.name, text);
    }
}

impl Inspector<'_> {
    /// Looks at every secret that is switched on, some at the same time.
    pub(super) async fn secrets(
        &self,
        around: &Around,
        findings: &mut Findings,
        progress: impl Fn(usize, usize),
    ) {
        let all: Vec<&SecretSettings> = self.enabled().collect();
        let done = Cell::new(0);
        progress(0, all.len());
        let looks = all.iter().map(|secret| async {
            let looked = self.secret(around, secret).await;
            done.set(done.get() + 1);
            progress(done.get(), all.len());
            looked
        });
        let looks: Vec<Looked<'_>> = stream::iter(looks)
            .buffered(self.settings.limits.concurrency)
            .collect()
            .await;
        let shared = shared(&looks);
        for mut looked in looks {
            looked.findings.list.sort_by_key(|finding| finding.grade);
            findings.list.extend(looked.findings.list);
        }
        for (names, text) in shared {
            findings.add(Grade::Warn, &names, text);
        }
    }

    async fn secret<'a>(&self, around: &Around, secret: &'a SecretSettings) -> Looked<'a> {
        let mut looked = Looked {
            secret,
            findings: Findings::default(),
            token: None,
        };
        let Some((version, value)) = self.stored(around, &mut looked).await else {
            return looked;
        };
        let place = &secret.plan.coordinates;
        let stands = format!("version {version} of {}/{}", place.mount, place.path);
        let Some(manager) = around.managers.get(&place.environment) else {
            looked.add(
                Grade::Ok,
                format!(
                    "{stands} holds a value; it was not looked up, see environment {}",
                    place.environment
                ),
            );
            return looked;
        };
        let Ok(issuer) = self.wired.issuer(&place.environment) else {
            return looked;
        };
        match issuer.look_up_value(&value).await {
            Ok(info) => {
                judge(&mut looked, &stands, &info, manager);
                looked.token = Some(info);
            }
            Err(error) if error.kind == ErrorKind::Gone => {
                let id = value.id();
                let shown = id.as_ref().map_or("(legacy format)", TokenId::as_str);
                let text = format!(
                    "Dynatrace does not know the token {shown} in {place}: is it a token of another environment, was it deleted, or did it \
                     expire more than a week ago? Put a token of this environment there"
                );
                looked.add(Grade::Error, text);
            }
            Err(error) => looked.add(grade(&error), error.what),
        }
        looked
    }

    /// The version and the value in the secret's first field.
    async fn stored(&self, around: &Around, looked: &mut Looked<'_>) -> Option<(u64, TokenValue)> {
        let (plan, at) = (&looked.secret.plan, at(looked.secret));
        let engine = *around.engines.get(&at.mount)?;
        let paths: Vec<String> = assemble::rotates(engine, &at)
            .into_iter()
            .map(|right| right.path)
            .collect();
        if around.denied.contains(&paths[0]) {
            return None;
        }
        let read = match self.wired.store.read(&at).await {
            Ok(read) => read,
            Err(error) => {
                looked.add(grade(&error), error.what);
                return None;
            }
        };
        let (seen, value) = match &read {
            SecretRead::Present { version, data } => {
                let value = data.value(&plan.coordinates.fields[0]);
                let shown = value.as_ref().map(|value| ValueRef {
                    id: value.id(),
                    fingerprint: 0,
                });
                let version = *version;
                let snapshot = SecretSnapshot::Present {
                    version,
                    value: shown,
                };
                (snapshot, value)
            }
            SecretRead::Deleted { version } => {
                (SecretSnapshot::Deleted { version: *version }, None)
            }
            SecretRead::Absent => (SecretSnapshot::Absent, None),
        };
        if let Err((_, message)) = policy::value_of(&seen, &plan.coordinates, &plan.name) {
            looked.add(Grade::Error, message);
            return None;
        }
        let value = value?;
        if let SecretRead::Present { data, .. } = &read {
            other_fields(looked, data, &value);
        }
        if engine == Engine::V2 && !paths.iter().any(|path| around.denied.contains(path)) {
            self.versions(looked, &at).await;
        }
        Some((seen.version(), value))
    }

    async fn versions(&self, looked: &mut Looked<'_>, at: &SecretPath) {
        match self.wired.store.versions_kept(at).await {
            Ok(Some(kept)) if kept < VERSIONS => looked.add(
                Grade::Warn,
                format!(
                    "Vault keeps only {kept} versions of {}/{}, and old versions prove which tokens were this secret's; set max_versions \
                     of the secret or the mount to at least {VERSIONS} (0 = the default of 10)",
                    at.mount, at.path
                ),
            ),
            Ok(_) => {}
            Err(error) => looked.add(grade(&error), error.what),
        }
    }
}

/// Further fields of the secret that hold something else than the first one.
fn other_fields(looked: &mut Looked<'_>, data: &SecretData, value: &TokenValue) {
    let fields = &looked.secret.plan.coordinates.fields;
    let others: Vec<&str> = fields[1..]
        .iter()
        .filter(|field| data.value(field).is_some_and(|other| other != *value))
        .map(String::as_str)
        .collect();
    if !others.is_empty() {
        let text = format!(
            "{} holds another value than {}; a rotation puts the new token into both, and the other one is not retired. Make a secret of \
             its own for a field with a token of its own",
            others.join(", "),
            fields[0]
        );
        looked.add(Grade::Warn, text);
    }
}

/// What there is to say of a token that Dynatrace knows.
fn judge(looked: &mut Looked<'_>, stands: &str, info: &TokenInfo, manager: &TokenInfo) {
    let plan = &looked.secret.plan;
    let now = clock::now();
    let id = &info.id;
    if let Some((_, message)) = policy::unfit(info, &plan.coordinates, plan.manages_tokens) {
        return looked.add(Grade::Error, message);
    }
    if let Err(message) = policy::lifetime(plan, id, info.created, info.expires, now) {
        return looked.add(Grade::Error, message);
    }
    let owner = info.owner.as_deref().unwrap_or("an unknown owner");
    let scopes = info.scopes.join(", ");
    looked.add(
        Grade::Ok,
        format!(
            "{stands} holds {id} of {owner} ({scopes}); it {}",
            ends(info)
        ),
    );
    match info.expires {
        Some(at) if at <= now => looked.add(
            Grade::Warn,
            format!("{id} has expired, so consumers are locked out until the next rotation; run `dtrotate rotate {}`", plan.name),
        ),
        None if plan.lifetime == Lifetime::Inherit => looked.add(
            Grade::Warn,
            format!(
                "{id} never expires, and neither will its successors; set `lifetime` to a length such as \"90d\", or to \"never\" if that is \
                 meant"
            ),
        ),
        _ => {}
    }
    if let (Some(owner), Some(new)) = (&info.owner, &manager.owner)
        && owner != new
    {
        looked.add(
            Grade::Warn,
            format!(
                "{id} belongs to {owner}, and its successor will belong to {new}, the owner of the management token; make sure that nothing \
                 depends on the owner"
            ),
        );
    }
}

/// Tokens that stand in more than one place.
fn shared(looks: &[Looked<'_>]) -> Vec<(String, String)> {
    let mut places: BTreeMap<(&str, &TokenId), Vec<String>> = BTreeMap::new();
    for looked in looks {
        let Some(info) = &looked.token else { continue };
        let plan = &looked.secret.plan;
        let key = (plan.coordinates.base_url.as_str(), &info.id);
        places.entry(key).or_default().push(plan.name.clone());
    }
    let several = places.into_iter().filter(|(_, names)| names.len() > 1);
    several
        .map(|((_, id), names)| {
            let text = format!(
                "hold the same token {id}; after a rotation of one the old token is left alone for the other (token_shared). Give each a \
                 token of its own, or list both fields under one [[secret]]"
            );
            (names.join(" and "), text)
        })
        .collect()
}
