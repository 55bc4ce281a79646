//! What a valid configuration says, as plain data with every default filled in.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

use super::discovery::Discovery;
use super::tables::{Daemon, Journal, Limits, Log, Ops};
use crate::credential::Credential;
use crate::dynatrace::{self, Api, BaseUrl};
use crate::http;
use crate::labels::Labels;
use crate::schedule::calendar::{Blackouts, Schedule};
use crate::schedule::due::Missed;
use crate::vault::VaultOptions;
use rotation::plan::Plan;

/// A valid configuration. It has no `Debug`, because it may contain a credential.
#[derive(Clone, PartialEq)]
pub struct Settings {
    /// How to reach Vault.
    pub vault: VaultOptions,
    /// Where the journal lives.
    pub journal: Journal,
    /// The Dynatrace environments by name; never empty.
    pub environments: BTreeMap<String, Environment>,
    /// The Dynatrace accounts by name.
    pub accounts: BTreeMap<String, Account>,
    /// The secrets in the order of the files, disabled ones included; may be empty (what was removed is still retired).
    pub secrets: Vec<Arc<SecretSettings>>,
    /// The folders in which further secrets are found.
    pub discoveries: Vec<Discovery>,
    /// The quarantine of `[defaults]`, which tokens of no secret have.
    pub quarantine: Duration,
    /// Bounds.
    pub limits: Limits,
    /// Intervals and timeouts of the daemon.
    pub daemon: Daemon,
    /// Logging.
    pub log: Log,
    /// The ops listener.
    pub ops: Ops,
    /// The notification channels.
    pub notify: Notify,
    /// Warnings about values that are valid but probably not intended.
    pub warnings: Vec<String>,
    /// The files that were read, the main one first.
    pub files: Vec<PathBuf>,
}

/// One Dynatrace environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// Its name, where it is and how it is reached.
    pub client: dynatrace::Options,
    /// The only rights that the configuration of a secret may ask for; none = any.
    pub allowed_scopes: Option<Vec<String>>,
    /// How long an effect may take to become visible there.
    pub settle: Duration,
    /// Where its management token lives in Vault; none = only platform tokens use it.
    pub auth: Option<Field>,
    /// The account that manages its platform tokens.
    pub account: Option<String>,
    /// Its id, in the resource of platform tokens.
    pub environment_id: Option<String>,
    /// Where platform tokens are tried.
    pub apps_url: Option<BaseUrl>,
}

/// One Dynatrace account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// What its client needs.
    pub client: dynatrace::AccountOptions,
    /// How long an effect may take to become visible.
    pub settle: Duration,
    /// Where the credentials of its OAuth client live in Vault.
    pub auth: OAuthPlace,
}

/// Two fields of a secret in Vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuthPlace {
    /// The KV mount.
    pub mount: String,
    /// The path below the mount.
    pub path: String,
    /// The field with the id of the client.
    pub id_field: String,
    /// The field with its secret.
    pub secret_field: String,
}

/// Where the ActiveGate tokens of an environment are, below its URL.
pub const ACTIVE_GATES: &str = "/api/v2/activeGateTokens";

/// What issues tokens: an environment, an environment as the issuer of ActiveGate tokens, or an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerPlace {
    /// Its name.
    pub service: String,
    /// The place that identifies it.
    pub base_url: String,
    /// How long an effect may take to become visible.
    pub settle: Duration,
}

impl Settings {
    /// Everything that issues tokens, or did so for secrets that left the configuration.
    pub fn issuers(&self) -> Vec<IssuerPlace> {
        let managed = || self.environments.values().filter(|it| it.auth.is_some());
        let environments = managed().map(Environment::issuer);
        let gates = managed().filter_map(Environment::active_gates);
        environments
            .chain(gates)
            .chain(self.accounts.values().map(Account::issuer))
            .collect()
    }

    /// The issuers that are in use. Every environment issues API tokens unless its management token is there for ActiveGate tokens alone.
    pub fn issuers_in_use(&self) -> Vec<IssuerPlace> {
        let mut all = self.issuers();
        all.retain(|issuer| self.is_in_use(&issuer.service));
        all
    }

    /// It is one of [`Settings::issuers_in_use`].
    pub fn is_in_use(&self, service: &str) -> bool {
        let environments = self.environments.values();
        let mut gates = environments.filter_map(Environment::active_gates);
        if gates.any(|issuer| issuer.service == service) {
            return self.issues(service);
        }
        let own = self.environments.get(service);
        let own = own.and_then(Environment::active_gates);
        self.issues(service) || own.is_none_or(|gates| !self.issues(&gates.service))
    }

    /// Tokens of this issuer may be pruned: those of an environment or account, which can be disabled and which people made.
    pub fn may_prune(&self, service: &str) -> bool {
        let environment = self.environments.get(service);
        let mut accounts = self.accounts.values().map(Account::issuer);
        environment.is_some_and(|it| !it.is_cluster()) || accounts.any(|it| it.service == service)
    }

    /// The places of all tokens with which someone may work in this environment: its own, its ActiveGate tokens and the platform tokens of its account.
    /// Tables with the same address have the same places, whatever they are called.
    fn places_of(&self, environment: &str) -> BTreeSet<String> {
        let Some(own) = self.environments.get(environment) else {
            return BTreeSet::new();
        };
        let account = own.account.as_ref();
        let account = account.and_then(|name| self.accounts.get(name));
        let issuers = [Some(own.issuer()), own.active_gates()];
        let issuers = issuers.into_iter().flatten();
        let issuers = issuers.chain(account.map(Account::issuer));
        // Hosts and ids of accounts have no case.
        issuers
            .map(|issuer| issuer.base_url.to_ascii_lowercase())
            .collect()
    }

    /// A value that is used in this environment may be a token of one of these issuers.
    pub fn may_use_tokens_of(&self, environment: &str, services: &[String]) -> bool {
        let places = self.places_of(environment);
        let mut issuers = self.issuers().into_iter();
        issuers.any(|issuer| {
            let place = issuer.base_url.to_ascii_lowercase();
            services.contains(&issuer.service) && places.contains(&place)
        })
    }

    /// A secret, or a folder in which secrets are found, has tokens of this issuer.
    pub fn issues(&self, service: &str) -> bool {
        let mut folders = self.discoveries.iter();
        let mut secrets = self.secrets.iter();
        secrets.any(|secret| secret.plan.service == service)
            || folders.any(|discovery| discovery.service() == service)
    }
}

impl Environment {
    /// As the issuer of API tokens, or of the tokens of a cluster.
    pub fn issuer(&self) -> IssuerPlace {
        IssuerPlace {
            service: self.client.name.clone(),
            base_url: self.client.base_url.to_string(),
            settle: self.settle,
        }
    }

    /// It is a Managed cluster.
    pub fn is_cluster(&self) -> bool {
        self.client.api == Api::Cluster
    }

    /// As the issuer of ActiveGate tokens. Whichever API manages them, they are the same tokens at the same place.
    pub fn active_gates(&self) -> Option<IssuerPlace> {
        (!self.is_cluster()).then(|| IssuerPlace {
            service: format!("activegate {}", self.client.name),
            base_url: format!("{}{ACTIVE_GATES}", self.client.base_url),
            settle: self.settle,
        })
    }
}

impl Account {
    /// As the issuer of platform tokens.
    pub fn issuer(&self) -> IssuerPlace {
        IssuerPlace {
            service: self.client.service(),
            base_url: self.client.place(),
            settle: self.settle,
        }
    }
}

/// One field of a secret in Vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// KV mount.
    pub mount: String,
    /// Path below the mount.
    pub path: String,
    /// The field's name.
    pub field: String,
}

/// One secret. Two are equal when nothing that matters to its rotation differs; labels do not.
#[derive(Clone)]
pub struct SecretSettings {
    /// What the rotation itself needs to know.
    pub plan: Arc<Plan>,
    /// What many secrets have in common, once for all of them. Its fields are those of the settings.
    pub shared: Arc<SharedSettings>,
}

/// When and under which circumstances secrets are rotated.
#[derive(Clone)]
pub struct SharedSettings {
    /// When they are due, before jitter. Those with the same expression and zone share one.
    pub schedule: Arc<Schedule>,
    /// The shortest gap of the schedule.
    pub shortest_gap: Duration,
    /// The cron expression as it was written.
    pub schedule_text: String,
    /// The IANA name of its time zone.
    pub zone_name: String,
    /// A due time is spread over this long; shorter than the shortest gap of the schedule.
    pub jitter: Duration,
    /// When nothing that is due begins.
    pub blackouts: Arc<Blackouts>,
    /// Runs that were missed are spread over this long once they can be made up for.
    pub catch_up_spread: SignedDuration,
    /// What becomes of a due time that passed unserved.
    pub missed: Missed,
    /// Rotate before the token expires, whatever the schedule says.
    pub expiry_guard: bool,
    /// `false`: known, shown, and left alone.
    pub enabled: bool,
    /// What people group them by.
    pub labels: Labels,
    /// The name that the secret had before; its journal document is carried over.
    pub renamed_from: Option<String>,
    /// They were found by `discover`.
    pub is_discovered: bool,
}

impl Deref for SecretSettings {
    type Target = SharedSettings;

    fn deref(&self) -> &SharedSettings {
        &self.shared
    }
}

impl DerefMut for SecretSettings {
    /// To change them for this secret alone.
    fn deref_mut(&mut self) -> &mut SharedSettings {
        Arc::make_mut(&mut self.shared)
    }
}

impl SharedSettings {
    /// The schedule and the name that the secret had before.
    pub(super) fn texts(&self) -> impl Hash + Eq + '_ {
        (&self.schedule_text, &self.zone_name, &self.renamed_from)
    }

    /// Nothing at all differs.
    pub(super) fn is_same(&self, other: &SharedSettings) -> bool {
        let key = |it: &SharedSettings| (it.catch_up_spread, it.is_discovered);
        self.texts() == other.texts()
            && self.switches() == other.switches()
            && self.blackouts == other.blackouts
            && self.labels == other.labels
            && Arc::ptr_eq(&self.schedule, &other.schedule)
            && key(self) == key(other)
    }

    pub(super) fn switches(&self) -> impl Hash + Eq + use<> {
        let missed = self.missed as u8;
        (self.jitter, missed, self.expiry_guard, self.enabled)
    }
}

impl PartialEq for SecretSettings {
    fn eq(&self, other: &Self) -> bool {
        self.plan == other.plan
            && self.texts() == other.texts()
            && self.blackouts == other.blackouts
            && self.switches() == other.switches()
    }
}

impl SecretSettings {
    /// A digest of what makes two of them equal. The same in every process of one version.
    pub fn digest(&self) -> u32 {
        let mut hasher = DefaultHasher::new();
        self.plan.hash(&mut hasher);
        self.texts().hash(&mut hasher);
        self.switches().hash(&mut hasher);
        (hasher.finish() >> 32) as u32
    }
}

/// The notification channels; `None` = switched off.
#[derive(Clone, PartialEq, Eq)]
pub struct Notify {
    /// By a problem in Dynatrace.
    pub dynatrace: Option<NotifyDynatrace>,
    /// By a webhook.
    pub webhook: Option<NotifyWebhook>,
    /// By further webhooks, in the order of the files.
    pub routes: Vec<NotifyRoute>,
}

/// A webhook about some of the secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct NotifyRoute {
    /// Its name in conditions.
    pub title: String,
    /// Labels that a secret must have.
    pub labels: Labels,
    /// The environment whose secrets it is about; none = all.
    pub environment: Option<String>,
    /// A kind of token or of condition.
    pub kind: Option<String>,
    /// It gets conditions.
    pub conditions: bool,
    /// It gets completed rotations.
    pub rotated: bool,
    /// Where the messages go.
    pub webhook: NotifyWebhook,
}

impl NotifyRoute {
    /// It gets the rotations of this secret.
    pub fn announces(&self, secret: &SecretSettings) -> bool {
        let place = &secret.plan.coordinates;
        self.rotated
            && self.is_for(&secret.labels, &place.environment)
            && self.is_kind([place.kind.word(), ""])
    }

    /// It gets a condition of this kind, of a secret with these labels and this kind of token, or of a service.
    pub fn tells(
        &self,
        condition: &str,
        environment: &str,
        labels: &Labels,
        token: Option<&str>,
    ) -> bool {
        self.conditions
            && self.is_for(labels, environment)
            && self.is_kind([condition, token.unwrap_or_default()])
    }

    fn is_for(&self, labels: &Labels, environment: &str) -> bool {
        let here = self.environment.as_ref().is_none_or(|it| it == environment);
        here && labels.contain(&self.labels)
    }

    fn is_kind(&self, words: [&str; 2]) -> bool {
        let kind = self.kind.as_deref();
        kind.is_none_or(|kind| words.contains(&kind))
    }
}

/// Problems in an environment.
#[derive(Clone, PartialEq, Eq)]
pub struct NotifyDynatrace {
    /// Where, and how to get there.
    pub environment: Environment,
    /// The token that may ingest events.
    pub token: Credential,
}

/// Posts to a webhook.
#[derive(Clone, PartialEq, Eq)]
pub struct NotifyWebhook {
    /// The whole URL, which is a secret; [`super::webhook_url`] reads it.
    pub url: Credential,
    /// Whether plain http to a host other than loopback is allowed.
    pub allow_http: bool,
    /// How it is reached.
    pub http: http::Options,
}
