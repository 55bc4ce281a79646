//! The audit of tokens: what dtrotate has to do with each token of an environment or account, and what someone should look into. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::condition::Severity;
use super::humanize::{relative, span};
use rotation::marker::{Epoch, Marker};
use rotation::record::Record;
use rotation::token::{TokenId, TokenInfo, manages_tokens};

/// A token that nobody used for this long is reported: a quarter, so that a monthly job is not.
const UNUSED: SignedDuration = SignedDuration::from_hours(90 * 24);

/// What the journal and the configuration know of tokens.
#[derive(Debug, Default)]
pub struct ManagedTokens {
    /// The id of this installation, if it has one.
    installation: Option<String>,
    /// The secrets that hold a token, and those that retire it.
    current: BTreeMap<TokenId, BTreeSet<String>>,
    retiring: BTreeMap<TokenId, BTreeSet<String>>,
    /// The last tokens of secrets that left the configuration.
    released: BTreeMap<TokenId, BTreeSet<String>>,
    /// The tokens with which dtrotate manages the others.
    management: BTreeSet<TokenId>,
    /// The secrets by what their markers have in common.
    epochs: BTreeMap<Epoch, String>,
    /// The tokens of no secret that a person wants gone.
    pruned: BTreeMap<TokenId, Pruned>,
}

/// What is known of a token that `dtrotate prune` disabled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pruned {
    /// The person who ordered it, as Vault knows them.
    pub by: String,
    /// When it was ordered.
    pub at: Timestamp,
    /// When its quarantine ends.
    pub until: Timestamp,
}

/// What dtrotate has to do with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// The current value of a secret.
    Current,
    /// A former value of a secret, which dtrotate ends.
    Retiring,
    /// dtrotate manages the tokens of the environment with it, and no secret rotates it.
    Management,
    /// This installation made it, and nothing rotates or ends it now.
    Leftover,
    /// `dtrotate prune` disabled it, and it is deleted after its quarantine.
    Pruned,
    /// Its name bears the marker of another installation.
    OtherInstallation,
    /// dtrotate has nothing to do with it.
    Unmanaged,
}

/// A token of an environment or account.
#[derive(Clone, Debug)]
pub struct Audited {
    /// Its environment or account.
    pub service: String,
    /// The token as its service lists it.
    pub info: TokenInfo,
    /// What it is to dtrotate.
    pub relation: Relation,
    /// The secrets that it belongs or belonged to.
    pub secrets: Vec<String>,
    /// The installation whose marker its name bears.
    pub installation: Option<String>,
    /// How it was pruned.
    pub pruned: Option<Pruned>,
    /// Those of its scopes with which tokens or rights are managed.
    pub wide: Vec<String>,
    /// The gravest first; empty = nothing to look into.
    pub findings: Vec<Finding>,
}

/// Something about a token that someone should look into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub kind: FindingKind,
    /// Half a sentence about this token.
    pub detail: String,
}

/// What a finding is about. The words are an interface: docs/commands.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// Nobody rotates it, and it can create and delete tokens.
    ManagesTokens,
    /// It bears the marker of another installation.
    OtherInstallation,
    /// It bears our marker, and no journal document knows it.
    Leftover,
    /// It is a personal access token.
    Personal,
    /// Dynatrace names no owner.
    OwnerMissing,
    /// It has no end.
    NeverExpires,
    /// Nobody used it for 90 days or more.
    Unused,
}

impl Relation {
    /// The word in JSON and CSV.
    pub fn as_str(self) -> &'static str {
        match self {
            Relation::Current => "current",
            Relation::Retiring => "retiring",
            Relation::Management => "management",
            Relation::Leftover => "leftover",
            Relation::Pruned => "pruned",
            Relation::OtherInstallation => "other_installation",
            Relation::Unmanaged => "unmanaged",
        }
    }

    /// dtrotate rotates it or ends it.
    pub fn is_managed(self) -> bool {
        matches!(self, Relation::Current | Relation::Retiring)
    }
}

impl FindingKind {
    /// All of them, the gravest first.
    pub const ALL: [FindingKind; 7] = [
        FindingKind::ManagesTokens,
        FindingKind::OtherInstallation,
        FindingKind::Leftover,
        FindingKind::Personal,
        FindingKind::OwnerMissing,
        FindingKind::NeverExpires,
        FindingKind::Unused,
    ];

    /// The word in all formats.
    pub fn as_str(self) -> &'static str {
        match self {
            FindingKind::ManagesTokens => "manages_tokens",
            FindingKind::OtherInstallation => "other_installation",
            FindingKind::Leftover => "leftover",
            FindingKind::Personal => "personal",
            FindingKind::OwnerMissing => "owner_missing",
            FindingKind::NeverExpires => "never_expires",
            FindingKind::Unused => "unused",
        }
    }

    /// An error where whoever holds the token can do more than use it.
    pub fn severity(self) -> Severity {
        match self {
            FindingKind::ManagesTokens => Severity::Error,
            _ => Severity::Warning,
        }
    }

    /// Why it matters and what to do.
    pub fn explanation(self) -> &'static str {
        match self {
            FindingKind::ManagesTokens => {
                "Whoever holds such a token can create tokens with any rights and delete those of others. Remove the scope in Dynatrace or revoke \
                 the token; if it is needed, keep it in Vault as a [[secret]], so that it is rotated."
            }
            FindingKind::OtherInstallation => {
                "Another dtrotate, with its own journal, made this token; this one never touches it. If that installation still runs, nothing is \
                 wrong. If it is gone, nobody rotates or ends the token: find its consumer, then revoke it with `dtrotate revoke`."
            }
            FindingKind::Leftover => {
                "This installation made the token, and no secret of the configuration holds or retires it. A running daemon retires what it can \
                 prove to be its own; a token of a rotation that runs right now is listed here until it is recorded. Otherwise find its consumer, \
                 then revoke it."
            }
            FindingKind::Personal => {
                "A personal token ends with its user, and only that user can manage it: dtrotate cannot rotate it. Give its consumer an access \
                 token."
            }
            FindingKind::OwnerMissing => {
                "Dynatrace names no owner, so nobody is known to answer for the token. Find its consumer, replace the token by one with an owner, or \
                 revoke it."
            }
            FindingKind::NeverExpires => {
                "Nothing ends the token and nothing rotates it: a leaked value works until someone notices. Keep it in Vault as a [[secret]], or replace \
                 it by one that expires."
            }
            FindingKind::Unused => {
                "Nobody used the token for 90 days or more, so probably nobody needs it. Ask its owner, then disable it, and delete it once nobody has \
                 missed it."
            }
        }
    }
}

impl ManagedTokens {
    /// Of this installation, if it has an id.
    pub fn of(installation: Option<String>) -> Self {
        ManagedTokens {
            installation,
            ..ManagedTokens::default()
        }
    }

    /// Notes the tokens of a journal document. `configured` = its secret is in the configuration.
    pub fn add(&mut self, record: &Record, configured: bool) {
        // Under its new name it has another document with the same marker.
        if record.renamed_to.is_some() {
            return;
        }
        let name = &record.name;
        self.epochs.insert(record.epoch.clone(), name.clone());
        let held = match configured {
            true => &mut self.current,
            false => &mut self.released,
        };
        if let Some(id) = record.current_id() {
            held.entry(id.clone()).or_default().insert(name.clone());
        }
        for entry in &record.retiring {
            let names = self.retiring.entry(entry.id.clone()).or_default();
            names.insert(name.clone());
        }
    }

    /// Notes the token that a secret holds in Vault, of which no document knows yet.
    pub fn add_current(&mut self, secret: &str, id: TokenId) {
        self.current
            .entry(id)
            .or_default()
            .insert(secret.to_owned());
    }

    /// Notes a token that was pruned.
    pub fn add_pruned(&mut self, id: TokenId, pruned: Pruned) {
        self.pruned.insert(id, pruned);
    }

    /// Notes a token with which dtrotate manages others.
    pub fn add_management(&mut self, id: TokenId) {
        self.management.insert(id);
    }

    /// What there is to say of a token of this environment or account.
    pub fn audit(&self, service: &str, info: TokenInfo, now: Timestamp) -> Audited {
        let marker = Marker::split(&info.name).1;
        let (relation, secrets) = self.relation(&info.id, marker.as_ref());
        let wide = info.scopes.iter();
        let wide = wide.filter(|scope| manages_tokens(std::slice::from_ref(*scope)));
        let mut audited = Audited {
            service: service.to_owned(),
            relation,
            secrets,
            pruned: self.pruned.get(&info.id).cloned(),
            installation: marker.map(|marker| marker.epoch.installation),
            wide: wide.cloned().collect(),
            info,
            findings: vec![],
        };
        let needs_rights = self.needs_rights(&audited);
        let all = FindingKind::ALL.into_iter();
        let found = all.filter_map(|kind| {
            let detail = audited.detail(kind, needs_rights, now)?;
            Some(Finding { kind, detail })
        });
        audited.findings = found.collect();
        audited
    }

    fn relation(&self, id: &TokenId, marker: Option<&Marker>) -> (Relation, Vec<String>) {
        let known = [
            (Relation::Current, &self.current),
            (Relation::Retiring, &self.retiring),
            (Relation::Leftover, &self.released),
        ];
        for (relation, tokens) in known {
            if let Some(names) = tokens.get(id) {
                return (relation, names.iter().cloned().collect());
            }
        }
        if self.management.contains(id) {
            return (Relation::Management, vec![]);
        }
        if self.pruned.contains_key(id) {
            return (Relation::Pruned, vec![]);
        }
        let Some(Marker { epoch, .. }) = marker else {
            return (Relation::Unmanaged, vec![]);
        };
        match self.installation.as_ref() == Some(&epoch.installation) {
            true => {
                let name = self.epochs.get(epoch);
                (Relation::Leftover, name.cloned().into_iter().collect())
            }
            false => (Relation::OtherInstallation, vec![]),
        }
    }

    /// It is a management token, or was the one of a secret that holds one now.
    fn needs_rights(&self, token: &Audited) -> bool {
        let successor = || {
            let mut own = self.management.iter();
            let of_its_secret = |id: &TokenId| {
                let names = self.current.get(id);
                names.is_some_and(|names| token.secrets.iter().any(|name| names.contains(name)))
            };
            own.any(of_its_secret)
        };
        self.management.contains(&token.info.id)
            || token.relation == Relation::Retiring && successor()
    }
}

impl Audited {
    /// It has expired.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.info.expires.is_some_and(|end| end <= now)
    }

    /// The owner, if Dynatrace names one.
    pub fn owner(&self) -> Option<&str> {
        let owner = self.info.owner.as_deref();
        owner.filter(|owner| !owner.trim().is_empty())
    }

    /// When it was used, or never.
    pub fn last_use(&self, now: Timestamp) -> String {
        match (self.info.last_used, &self.info.last_used_ip) {
            (Some(at), Some(ip)) => format!("last used {} from {ip}", relative(at, now)),
            (Some(at), None) => format!("last used {}", relative(at, now)),
            (None, _) => "never used".to_owned(),
        }
    }

    /// What this kind of finding says of it; none = nothing. One that is disabled or has expired is not a danger.
    fn detail(&self, kind: FindingKind, needs_rights: bool, now: Timestamp) -> Option<String> {
        let usable = self.info.enabled && !self.is_expired(now);
        let is = |it: bool, detail: &str| it.then(|| detail.to_owned());
        match kind {
            FindingKind::ManagesTokens if usable && !needs_rights && !self.wide.is_empty() => {
                Some(format!("it has {}", self.wide.join(", ")))
            }
            FindingKind::OtherInstallation if self.relation == Relation::OtherInstallation => {
                let other = self.installation.as_deref().unwrap_or_default();
                Some(format!("its name bears the marker of installation {other}"))
            }
            FindingKind::Leftover if self.relation == Relation::Leftover => {
                let names = self.secrets.join(", ");
                Some(match names.is_empty() {
                    true => "no journal document knows its marker".to_owned(),
                    false => format!("it belonged to {names}"),
                })
            }
            FindingKind::Personal => {
                let owner = self.owner().unwrap_or("an unknown user");
                is(
                    usable && self.info.personal,
                    &format!("it is a personal token of {owner}"),
                )
            }
            FindingKind::OwnerMissing => is(usable && self.owner().is_none(), "it has no owner"),
            FindingKind::NeverExpires => is(
                usable && !self.relation.is_managed() && self.info.expires.is_none(),
                "it never expires",
            ),
            FindingKind::Unused if usable && self.relation != Relation::Retiring => {
                let since = self.info.last_used.or(self.info.created)?;
                let age = since.duration_until(now);
                let created = || format!("never used, created {} ago", span(age));
                let used = self.info.last_used.map(|_| self.last_use(now));
                (age >= UNUSED).then(|| used.unwrap_or_else(created))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
