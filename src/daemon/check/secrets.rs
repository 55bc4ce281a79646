//! The secrets: is each there, does Dynatrace know its token, and what would a rotation do that a person might not expect?

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::{self, StreamExt};

use crate::clock;
use crate::config::SecretSettings;
use rotation::capabilities::Proof;
use rotation::command::{SecretSnapshot, ValueRef};
use rotation::error::ErrorKind;
use rotation::marker::Epoch;
use rotation::policy;
use rotation::ports::{
    Journal, JournalRead, SecretPath, SecretRead, SecretStore, TokenIssuer, TrialOptions,
};
use rotation::record::Current;
use rotation::token::{TokenId, TokenInfo, TokenValue};

use super::super::assemble::{self, Engine, VersionLimits, value_flaw};
use super::super::journal_retention::expiring;
use super::bounds::{self, Kept};
use super::looked::{Looked, judge, other_fields, trial, unproven};
use super::services::{Engines, at};
use super::words::grade;
use super::{Findings, Grade, Inspector};

/// What is known before the secrets are looked at.
pub(super) struct Around {
    /// The engines behind the mounts.
    pub(super) engines: Engines,
    /// Paths that we may not read; reported already.
    pub(super) denied: BTreeSet<String>,
    /// How long the mounts keep what is written; one that could not be found out about is missing.
    pub(super) limits: BTreeMap<String, VersionLimits>,
    /// The management tokens that work, by environment.
    pub(super) managers: BTreeMap<String, TokenInfo>,
    /// The platform tokens of the accounts that can be used, by account.
    pub(super) accounts: BTreeMap<String, Vec<TokenInfo>>,
    /// The issuers of ActiveGate tokens that can be used.
    pub(super) active_gates: BTreeSet<String>,
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
            let mut looked = self.secret(around, secret).await;
            if let Some(text) = bounds::document(secret, looked.token.as_ref()) {
                looked.add(Grade::Error, text);
            }
            if around.journal_is_versioned(&self.settings.journal.mount) {
                looked.document = self.wired.ledger.key(&secret.plan.name).await;
            }
            done.set(done.get() + 1);
            progress(done.get(), all.len());
            looked
        });
        let looks: Vec<Looked<'_>> = stream::iter(looks)
            .buffered(self.settings.limits.concurrency)
            .collect()
            .await;
        self.documents(around, &looks, findings);
        let tokens = looks.iter();
        let held = tokens.filter_map(|looked| Some((looked.secret, looked.token.as_ref()?)));
        self.owners(&around.accounts, &held.collect::<Vec<_>>(), findings);
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
            document: Ok(None),
        };
        let Some((version, value)) = self.stored(around, &mut looked).await else {
            return looked;
        };
        let place = &secret.plan.coordinates;
        let at = format!("version {version} of {}/{}", place.mount, place.path);
        let service = &secret.plan.service;
        let manager = around.managers.get(service);
        let is_usable = manager.is_some()
            || around.accounts.contains_key(service)
            || around.active_gates.contains(service);
        if !is_usable {
            looked.add(
                Grade::Ok,
                format!("{at} holds a value; it was not looked up, see {service}"),
            );
            return looked;
        }
        let Ok(issuer) = self.wired.issuer(service) else {
            return looked;
        };
        match issuer.look_up_value(&value).await {
            Ok(info) => {
                let capabilities = issuer.capabilities();
                let current = match capabilities.proof {
                    Proof::Itself => Current::new(&info, 0, &nobody()),
                    Proof::Probe | Proof::Listed => self.recorded(secret, &info).await,
                };
                judge(
                    &mut looked,
                    &at,
                    &info,
                    &current,
                    capabilities.expiry,
                    manager,
                );
                match capabilities.proof {
                    Proof::Itself => {}
                    Proof::Probe => {
                        let options = TrialOptions {
                            environment: &place.environment,
                            by: &secret.plan.verify,
                        };
                        let tried = issuer.prove_value(&value, options).await;
                        trial(&mut looked, &info, &current, tried);
                    }
                    Proof::Listed => unproven(&mut looked, &info, &current),
                }
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

    /// What the journal knows of the token.
    async fn recorded(&self, secret: &SecretSettings, info: &TokenInfo) -> Current {
        match self.wired.ledger.read(&secret.plan.name).await {
            Ok(JournalRead::Present { record, .. }) => Current::recorded(info, 0, &record),
            _ => Current::new(info, 0, &nobody()),
        }
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
                    vacant: data.lacks(&plan.coordinates.fields),
                };
                (snapshot, value)
            }
            SecretRead::Deleted { version } => {
                (SecretSnapshot::Deleted { version: *version }, None)
            }
            SecretRead::Absent => (SecretSnapshot::Absent, None),
        };
        if plan.desired.create && seen.is_vacant() {
            let scopes = plan.desired.scopes.as_deref().unwrap_or_default();
            let rights = match scopes.is_empty() {
                true => String::new(),
                false => format!(" with the rights {}", scopes.join(", ")),
            };
            let text = format!(
                "there is nothing at {} yet; the daemon creates the first token{rights}",
                plan.coordinates
            );
            looked.add(Grade::Ok, text);
            return None;
        }
        // A value that cannot be a token has no kind that could be wrong.
        if let Some(why) = value.as_ref().and_then(value_flaw) {
            let text = format!("the value in {} {why}", plan.coordinates);
            looked.add(Grade::Error, text);
            return None;
        }
        if let Err((_, message)) = policy::value_of(&seen, &plan.coordinates, &plan.name) {
            looked.add(Grade::Error, message);
            return None;
        }
        let value = value?;
        if let SecretRead::Present { data, .. } = &read {
            other_fields(looked, data, &value);
        }
        if engine == Engine::V2 && !paths.iter().any(|path| around.denied.contains(path)) {
            self.versions(around, looked, &at).await;
        }
        Some((seen.version(), value))
    }

    async fn versions(&self, around: &Around, looked: &mut Looked<'_>, at: &SecretPath) {
        let key = match self.wired.store.key(at).await {
            Ok(key) => key.unwrap_or_default(),
            Err(error) => return looked.add(grade(&error), error.what),
        };
        let mount = around.limits.get(&at.mount);
        let kept = Kept {
            versions: key.versions(mount),
            delete_after: key.delete_after(mount),
            ends: key.ends,
        };
        for (grade, text) in bounds::retention(looked.secret, kept, clock::now()) {
            looked.add(grade, text);
        }
    }

    /// The journal documents of the secrets: will Vault delete one of them?
    fn documents(&self, around: &Around, looks: &[Looked<'_>], findings: &mut Findings) {
        let (about, ledger) = ("journal", &self.wired.ledger);
        let errors = looks
            .iter()
            .filter_map(|looked| looked.document.as_ref().err());
        // The reason is the same for all of them.
        if let Some(error) = errors.min_by_key(|error| error.kind != ErrorKind::Refused) {
            let text = format!(
                "it cannot be checked whether Vault deletes a document automatically: {}",
                error.what
            );
            let grade = match error.kind {
                ErrorKind::Refused => {
                    findings.rule(ledger.reads_limits());
                    Grade::Warn
                }
                _ => grade(error),
            };
            findings.add(grade, about, text);
        }
        let mount = &self.settings.journal.mount;
        let limits = around.limits.get(mount);
        let ending = looks.iter().filter_map(|looked| {
            let key = looked.document.as_ref().ok()?.as_ref()?;
            let is_ending = key.ends.is_some() || key.delete_after(limits).is_some();
            is_ending.then(|| (ledger.at(&looked.secret.plan.name), key.ends))
        });
        let after = limits.and_then(|limits| limits.delete_after());
        if let Some(text) = expiring(mount, after, &ending.collect()) {
            findings.add(Grade::Error, about, text);
        }
    }
}

impl Around {
    fn journal_is_versioned(&self, mount: &str) -> bool {
        self.engines.get(mount) == Some(&Engine::V2)
    }
}

/// The identity of no secret.
fn nobody() -> Epoch {
    Epoch {
        installation: String::new(),
        secret: String::new(),
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
