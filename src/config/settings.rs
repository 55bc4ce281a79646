//! What a valid configuration says, as plain data with every default filled in.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::credential::Credential;
use crate::schedule::calendar::Schedule;
use rotation::plan::Plan;

/// A valid configuration. No `Debug`, since a credential may stand in it.
#[derive(Clone, PartialEq)]
pub struct Settings {
    /// How to reach Vault.
    pub vault: Vault,
    /// Where the journal lives.
    pub journal: Journal,
    /// The Dynatrace environments by name; never empty.
    pub environments: BTreeMap<String, Environment>,
    /// The secrets in the order of the files, disabled ones included; may be empty (what was removed is still retired).
    pub secrets: Vec<SecretSettings>,
    /// Bounds.
    pub limits: Limits,
    /// The daemon's own times.
    pub daemon: Daemon,
    /// Logging.
    pub log: Log,
    /// The ops listener.
    pub ops: Ops,
    /// Whom to tell of troubles.
    pub notify: Notify,
    /// The files that were read, the main one first.
    pub files: Vec<PathBuf>,
}

/// How to reach Vault.
#[derive(Clone, PartialEq)]
pub struct Vault {
    /// Base addresses without a trailing slash and without `/v1`; never empty, tried in this order.
    pub addresses: Vec<String>,
    /// The namespace, without slashes at its ends.
    pub namespace: Option<String>,
    /// Certificates added to the system's roots.
    pub ca_file: Option<PathBuf>,
    /// For one request.
    pub timeout: Duration,
    /// Plain http to a host that is not loopback is wanted.
    pub allow_http: bool,
    /// How to log in.
    pub auth: Auth,
}

/// How to log in to Vault.
#[derive(Clone, PartialEq)]
pub enum Auth {
    /// With a token that somebody else made.
    Token {
        /// The token.
        token: Credential,
    },
    /// With an AppRole.
    AppRole {
        /// Where the auth method is mounted.
        mount: String,
        /// The role id.
        role_id: Credential,
        /// The secret id.
        secret_id: SecretId,
    },
    /// With the token of a Kubernetes service account.
    Kubernetes {
        /// Where the auth method is mounted.
        mount: String,
        /// The role at Vault.
        role: String,
        /// The service account's token.
        jwt: Credential,
    },
    /// With a signed token of somebody whom Vault trusts.
    Jwt {
        /// Where the auth method is mounted.
        mount: String,
        /// The role at Vault; `None`: the mount's default.
        role: Option<String>,
        /// The signed token.
        jwt: Credential,
    },
    /// With a certificate in the TLS handshake.
    Cert {
        /// Where the auth method is mounted.
        mount: String,
        /// The role at Vault; `None`: the first whose rules fit.
        role: Option<String>,
        /// The certificate chain, PEM.
        cert_file: PathBuf,
        /// Its private key, PEM.
        key_file: PathBuf,
    },
}

impl Auth {
    /// The file holds its wrapped secret id.
    pub fn unwraps(&self, path: &Path) -> bool {
        match self {
            Auth::AppRole {
                secret_id: SecretId::Wrapped { file, .. },
                ..
            } => file == path,
            _ => false,
        }
    }
}

/// Where an AppRole's secret id comes from.
#[derive(Clone, PartialEq)]
pub enum SecretId {
    /// It is there as it is.
    Plain(Credential),
    /// It is unwrapped with a wrapping token, which works once.
    Wrapped {
        /// The file that holds the wrapping token.
        file: PathBuf,
        /// This process may use it up: it is the daemon.
        ours: bool,
    },
}

/// Where the journal lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    /// A KV v2 mount.
    pub mount: String,
    /// The folder of the documents below the mount.
    pub path: String,
    /// A foreign claim that stood unchanged for this long may be taken over.
    pub claim_timeout: Duration,
}

/// One Dynatrace environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// Its name in the configuration.
    pub name: String,
    /// Canonical base URL without a trailing slash; API paths are appended to it.
    pub base_url: String,
    /// Which generation of the tokens API.
    pub api: Api,
    /// Certificates added to the system's roots.
    pub ca_file: Option<PathBuf>,
    /// A proxy's address; never taken from the environment.
    pub proxy: Option<String>,
    /// For one request.
    pub timeout: Duration,
    /// How long an effect may take to become visible there.
    pub settle: Duration,
    /// Where its management token lives in Vault.
    pub auth: Field,
}

/// Which generation of the tokens API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// `/api/v1/tokens`
    V1,
    /// `/api/v2/apiTokens`
    V2,
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

/// One secret. Two are equal when nothing that matters to its rotation differs; the place in the file does not.
#[derive(Clone)]
pub struct SecretSettings {
    /// What the machine must know.
    pub plan: Plan,
    /// When it is due, before jitter. Secrets with the same expression and zone share one.
    pub schedule: Arc<Schedule>,
    /// The cron expression as it was written.
    pub schedule_text: String,
    /// The IANA name of its time zone.
    pub zone_name: String,
    /// A due time is spread over this long; shorter than the shortest gap of the schedule.
    pub jitter: Duration,
    /// What becomes of a due time that passed unserved.
    pub missed: Missed,
    /// Rotate before the token expires, whatever the schedule says.
    pub expiry_guard: bool,
    /// `false`: known, shown, and left alone.
    pub enabled: bool,
    /// The name it had before; its journal document is carried over.
    pub renamed_from: Option<String>,
    /// `file:line`, for messages.
    pub place: String,
}

impl PartialEq for SecretSettings {
    fn eq(&self, other: &Self) -> bool {
        let key = |s: &Self| (s.jitter, s.missed, s.expiry_guard, s.enabled);
        self.plan == other.plan
            && self.schedule_text == other.schedule_text
            && self.zone_name == other.zone_name
            && self.renamed_from == other.renamed_from
            && key(self) == key(other)
    }
}

/// What becomes of a due time that passed unserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// One run makes up for it.
    Run,
    /// Nothing until the next one.
    Skip,
}

/// Bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Rotations at the same time, at most.
    pub concurrency: usize,
}

/// The daemon's own times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// How long a stop may take.
    pub shutdown_timeout: Duration,
    /// How often Dynatrace, journal and Vault are compared.
    pub sweep: Duration,
}

/// Logging.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The form of a line.
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug` or `trace`. `None`: not configured, so that `RUST_LOG` and then `info` count.
    pub level: Option<&'static str>,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, else JSON.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// The ops listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ops {
    /// Where it listens; `None`: off.
    pub listen: Option<SocketAddr>,
    /// To whom the status page and `/status` are shown.
    pub details: Details,
}

/// Whom to tell of troubles; `None`: nobody by this way.
#[derive(Clone, PartialEq, Eq)]
pub struct Notify {
    /// By a problem in Dynatrace.
    pub dynatrace: Option<NotifyDynatrace>,
    /// By a webhook.
    pub webhook: Option<NotifyWebhook>,
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
    /// Plain http to a host that is not loopback is wanted.
    pub allow_http: bool,
    /// Certificates added to the system's roots.
    pub ca_file: Option<PathBuf>,
    /// A proxy's address; never taken from the environment.
    pub proxy: Option<String>,
    /// For one request.
    pub timeout: Duration,
}

/// To whom the status page and `/status` are shown; health and metrics are for all who can reach the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Details {
    /// To this machine.
    Loopback,
    /// To everybody.
    Always,
    /// To nobody.
    Never,
}
