//! The only room that knows every room: turns settings into clients and wires them together.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::bounded_file;
use crate::config::{self, Settings};
use crate::dynatrace::{self, Dynatrace};
use crate::http::BuildError;
pub use crate::http::ServerClock;
use crate::notify::Webhook;
pub use crate::notify::{Channel, Failure, Notice, Troubles};
use crate::vault::{self, KvJournal, KvSecrets, Vault};
pub use crate::vault::{
    Engine, KeyVersions, LatestVersion, OwnToken, Right, VersionLimits, capabilities_right, reads,
    reads_limits, rotates, suspicions,
};
use rotation::error::{CallError, ErrorKind, Service};
use rotation::ports::{SecretPath, SecretRead, SecretStore};
use rotation::token::{TokenId, TokenInfo};

use super::shared_listing::Shared;

/// An environment's issuer, its listing shared by all jobs.
pub type Issuer = Shared<Dynatrace>;
/// The secrets.
pub type Store = KvSecrets;
/// The journal.
pub type Ledger = KvJournal;

/// Everything that talks to the outside. One Vault client and one client per environment, shared by all jobs.
#[derive(Clone)]
pub struct Wired {
    vault: Vault,
    /// The secrets.
    pub store: Store,
    /// The journal.
    pub ledger: Ledger,
    /// The environments by name.
    pub issuers: BTreeMap<String, Arc<Issuer>>,
}

/// The channel of `[notify.dynatrace]`. Its token is read again for each event.
pub fn dynatrace_channel(settings: &config::NotifyDynatrace) -> Result<Channel, AssembleError> {
    let events = dynatrace::Events::new(&settings.environment.client);
    let wrong = |error: BuildError| AssembleError::Notify(error.to_string());
    let (events, token) = (events.map_err(wrong)?, settings.token.clone());
    let send = move |event: serde_json::Value| -> BoxFuture<'static, _> {
        let (events, token) = (events.clone(), token.clone());
        Box::pin(async move {
            let token =
                off_runtime(move || token.read().map_err(|error| error.to_string())).await?;
            events.ingest(&event, &token).await.map_err(Failure::from)
        })
    };
    Ok(Channel::dynatrace(Arc::new(send)))
}

/// The channel of `[notify.webhook]`. Its URL is read again for each post.
pub fn webhook_channel(settings: &config::NotifyWebhook) -> Result<Channel, AssembleError> {
    let webhook = Webhook::new(&settings.http);
    let webhook = webhook.map_err(|error| AssembleError::Notify(error.to_string()))?;
    let settings = settings.clone();
    let send = move |message: serde_json::Value| -> BoxFuture<'static, _> {
        let (webhook, settings) = (webhook.clone(), settings.clone());
        Box::pin(async move {
            let url = off_runtime(move || config::webhook_url(&settings)).await?;
            webhook.post(&url, &message).await
        })
    };
    Ok(Channel::webhook(Arc::new(send)))
}

/// Reads a credential of `[notify]`.
async fn off_runtime<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, Failure> {
    let read = bounded_file::off_runtime(read).await;
    let read = read.unwrap_or_else(|error| Err(error.to_string()));
    read.map_err(unreadable)
}

fn unreadable(what: String) -> Failure {
    Failure {
        kind: ErrorKind::Unauthorized,
        what,
        retry_after: None,
    }
}

/// The clients cannot be built: a fault of the configuration.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// Vault's.
    #[error("Vault: {0}")]
    Vault(String),
    /// An environment's.
    #[error("environment {0}: {1}")]
    Environment(String, String),
    /// A way of telling people.
    #[error("[notify]: {0}")]
    Notify(String),
}

/// Builds the clients. Nothing is sent.
pub fn assemble(settings: &Settings) -> Result<Wired, AssembleError> {
    let vault = Vault::new(settings.vault.clone())
        .map_err(|error| AssembleError::Vault(error.to_string()))?;
    let store = KvSecrets::new(vault.clone());
    let ledger = KvJournal::new(
        vault.clone(),
        settings.journal.mount.clone(),
        settings.journal.path.clone(),
    );
    let mut issuers = BTreeMap::new();
    for (name, environment) in &settings.environments {
        let issuer = issuer(environment, &store)?;
        issuers.insert(name.clone(), Arc::new(Shared::new(issuer)));
    }
    Ok(Wired {
        vault,
        store,
        ledger,
        issuers,
    })
}

fn issuer(settings: &config::Environment, store: &Store) -> Result<Dynatrace, AssembleError> {
    let client = &settings.client;
    let (store, at, name) = (store.clone(), settings.auth.clone(), client.name.clone());
    let management_token = move || {
        let (store, at, name) = (store.clone(), at.clone(), name.clone());
        async move { management_token(&store, &at, &name).await }
    };
    Dynatrace::new(client, management_token)
        .map_err(|error| AssembleError::Environment(client.name.clone(), error.to_string()))
}

/// Reads an environment's management token. Whatever is wrong with it concerns the whole environment.
async fn management_token(
    store: &Store,
    at: &config::Field,
    environment: &str,
) -> Result<rotation::token::TokenValue, CallError> {
    let path = SecretPath {
        mount: at.mount.clone(),
        path: at.path.clone(),
    };
    let place = format!("{}/{}#{}", at.mount, at.path, at.field);
    let wrong = |what: String| {
        let what = format!("the management token of environment {environment} {what}");
        CallError::new(Service::Dynatrace, ErrorKind::Unauthorized, what)
    };
    match store.read(&path).await {
        Ok(SecretRead::Present { data, .. }) => data
            .value(&at.field)
            .ok_or_else(|| wrong(format!("is not in {place}: the field is missing or blank"))),
        Ok(_) => Err(wrong(format!("is not in {place}: there is no such secret"))),
        Err(error) if error.kind == ErrorKind::Refused => Err(wrong(format!(
            "cannot be read from {place}: {}",
            error.what
        ))),
        Err(error) => Err(error),
    }
}

impl Wired {
    /// The ids of the management tokens in use, as far as their values show them, but for the one of `except`.
    pub async fn management_token_ids(&self, except: Option<&str>) -> Vec<TokenId> {
        let mut ids = vec![];
        for (name, issuer) in &self.issuers {
            if Some(name.as_str()) != except {
                ids.extend(issuer.inner().management_token_id().await);
            }
        }
        ids
    }

    /// Keeps the Vault token alive until `stop`.
    pub async fn keep_logged_in(&self, stop: tokio_util::sync::CancellationToken) {
        self.vault.run(stop).await;
    }

    /// Gives back the Vault token, if this process logged in for it.
    pub async fn log_out(&self) {
        self.vault.log_out().await;
    }

    /// Asks Vault whether it serves at all.
    pub async fn vault_serves(&self) -> Result<(), CallError> {
        self.vault.serves().await
    }

    /// Asks Vault whether it can be worked with; none = it can.
    pub async fn probe_vault(&self) -> Option<String> {
        match self.vault.probe().await {
            vault::Health::Unavailable { reason, what, .. } => {
                Some(format!("{}: {what}", reason.as_str()))
            }
            vault::Health::Available | vault::Health::Unknown => None,
        }
    }

    /// What Vault tells of our token.
    pub async fn own_token(&self) -> Result<OwnToken, CallError> {
        self.vault.own_token().await
    }

    /// The engine behind a mount.
    pub async fn engine(&self, mount: &str) -> Result<Engine, CallError> {
        self.vault.engine(mount).await
    }

    /// The rules that a policy needs for living with our Vault token.
    pub fn own_rights(&self) -> Vec<Right> {
        self.vault.own_rights()
    }

    /// Those of `rights` that our Vault token lacks, each with what it may do there.
    pub async fn lacking(&self, rights: &[Right]) -> Result<Vec<(Right, Vec<String>)>, CallError> {
        self.vault.lacking(rights).await
    }

    /// Vault's clock.
    pub fn vault_clock(&self) -> &ServerClock {
        self.vault.clock()
    }

    /// The clocks of the servers, by name.
    pub fn clocks(&self) -> Vec<(String, ServerClock)> {
        let mut clocks = vec![("Vault".to_owned(), self.vault.clock().clone())];
        for (name, issuer) in &self.issuers {
            clocks.push((format!("Dynatrace {name}"), issuer.inner().clock().clone()));
        }
        clocks
    }

    /// The management token of an environment, as the environment tells. `Unauthorized` = also when it lacks a right: then nothing can be
    /// done for any secret of the environment.
    pub async fn management_token(&self, environment: &str) -> Result<TokenInfo, CallError> {
        let issuer = self.issuer(environment)?.inner();
        let info = issuer.management_info().await?;
        let missing = issuer.lacks(&info);
        if missing.is_empty() {
            return Ok(info);
        }
        let what = format!(
            "the management token {} of environment {environment} lacks the scope {}; add it in Dynatrace, or put another token into Vault",
            info.id,
            missing.join(" and ")
        );
        Err(CallError::new(
            Service::Dynatrace,
            ErrorKind::Unauthorized,
            what,
        ))
    }

    /// Lets the next call read an environment's management token from Vault again.
    pub fn forget_management_token(&self, environment: &str) {
        if let Some(issuer) = self.issuers.get(environment) {
            issuer.inner().forget_management_token();
        }
    }

    /// An environment's issuer.
    pub fn issuer(&self, environment: &str) -> Result<&Arc<Issuer>, CallError> {
        self.issuers.get(environment).ok_or_else(|| {
            let what = format!("environment {environment} is no longer in the configuration");
            CallError::new(Service::Dynatrace, ErrorKind::Refused, what)
        })
    }
}
