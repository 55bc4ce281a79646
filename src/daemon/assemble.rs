//! The only module that knows every module: turns settings into clients and wires them together.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::{BoxFuture, join_all};

use crate::bounded_file;
use crate::config::{self, Settings};
use crate::dynatrace::{self, Account, Dynatrace, OAuthClient, Trials, unusable_client};
pub use crate::dynatrace::{ActiveGates, OwnerLoad, add_in_dynatrace, scopes_in_words, value_flaw};
use crate::http::BuildError;
pub use crate::http::ServerClock;
use crate::notify::{self, Webhook};
pub use crate::notify::{Channel, Failure, Notice, Rotated, Troubles};
use crate::vault::{self, KvJournal, KvSecrets, PruneJournal, Vault};
pub use crate::vault::{
    Engine, KeyVersions, LatestVersion, OwnToken, Right, VersionLimits, capabilities_right, lists,
    reads, reads_limits, rotates, suspicions,
};
use rotation::error::{CallError, ErrorKind, Service};
use rotation::policy;
use rotation::ports::{SecretPath, SecretRead, SecretStore};
use rotation::token::{TokenId, TokenInfo};

use super::shared_listing::Shared;

/// An issuer, its listing shared by all jobs.
pub type Issuer = Shared<dynatrace::Issuer>;
/// The secrets.
pub type Store = KvSecrets;
/// The journal.
pub type Ledger = KvJournal;

/// The clock of a server.
pub struct NamedClock {
    /// The server, for people.
    pub title: String,
    /// The environment or account that it belongs to; none = Vault.
    pub service: Option<String>,
    /// What its answers said.
    pub clock: ServerClock,
}

/// Everything that talks to the outside. One Vault client and one client per environment, shared by all jobs.
#[derive(Clone)]
pub struct Wired {
    vault: Vault,
    /// The secrets.
    pub store: Store,
    /// The journal.
    pub ledger: Ledger,
    /// The document of pruned tokens, beside those of the secrets.
    pub pruned: PruneJournal,
    /// The environments and accounts by name.
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

/// The channel of `[notify.webhook]`.
pub fn webhook_channel(settings: &config::NotifyWebhook) -> Result<Channel, AssembleError> {
    Ok(Channel::webhook(posts(settings)?))
}

/// The channel of a `[[notify.route]]`.
pub fn route_channel(settings: &config::NotifyRoute) -> Result<Channel, AssembleError> {
    Ok(Channel::route(&settings.title, posts(&settings.webhook)?))
}

/// Posts to a webhook, whose URL is read again for each post.
fn posts(settings: &config::NotifyWebhook) -> Result<notify::Send, AssembleError> {
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
    Ok(Arc::new(send))
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
    /// An environment's or account's.
    #[error("{0}: {1}")]
    Issuer(String, String),
    /// A notification channel.
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
    let journal = &settings.journal;
    let pruned = PruneJournal::new(vault.clone(), &journal.mount, &journal.path);
    let mut issuers = BTreeMap::new();
    for (name, environment) in &settings.environments {
        if let Some(auth) = &environment.auth {
            let client = api_tokens(environment, auth, &store)?;
            if let Some(place) = environment.active_gates() {
                let gates = dynatrace::Issuer::ActiveGates(active_gates(environment, &client)?);
                issuers.insert(place.service, Arc::new(Shared::new(gates)));
            }
            let issuer = dynatrace::Issuer::Environment(client);
            issuers.insert(name.clone(), Arc::new(Shared::new(issuer)));
        }
    }
    for account in settings.accounts.values() {
        let issuer = dynatrace::Issuer::Account(platform_tokens(account, settings, &store)?);
        issuers.insert(account.client.service(), Arc::new(Shared::new(issuer)));
    }
    Ok(Wired {
        vault,
        store,
        ledger,
        pruned,
        issuers,
    })
}

fn api_tokens(
    settings: &config::Environment,
    auth: &config::Field,
    store: &Store,
) -> Result<Dynatrace, AssembleError> {
    let client = &settings.client;
    let (store, at, name) = (store.clone(), auth.clone(), client.name.clone());
    let management_token = move || {
        let (store, at, name) = (store.clone(), at.clone(), name.clone());
        async move { management_token(&store, &at, &name).await }
    };
    let client = Dynatrace::new(client, management_token).map_err(|error| {
        AssembleError::Issuer(format!("environment {}", client.name), error.to_string())
    })?;
    Ok(client.kept_in(&format!("{}/{}#{}", auth.mount, auth.path, auth.field)))
}

fn active_gates(
    settings: &config::Environment,
    environment: &Dynatrace,
) -> Result<ActiveGates, AssembleError> {
    let client = &settings.client;
    let gates = ActiveGates::of(environment, settings.apps_url.as_ref(), &client.http);
    gates.map_err(|error| {
        AssembleError::Issuer(format!("environment {}", client.name), error.to_string())
    })
}

fn platform_tokens(
    settings: &config::Account,
    all: &Settings,
    store: &Store,
) -> Result<Account, AssembleError> {
    let client = &settings.client;
    let wrong = |error: BuildError| AssembleError::Issuer(client.service(), error.to_string());
    let name = Some(&client.name);
    let here = all.environments.values();
    let here = here.filter(|it| it.account.as_ref() == name);
    let places = here.filter_map(|it| {
        let apps_url = it.apps_url.as_ref()?;
        Some((it.client.name.as_str(), apps_url, &it.client.http))
    });
    let trials = Trials::new(places).map_err(wrong)?;
    let (store, at, service) = (store.clone(), settings.auth.clone(), client.service());
    let oauth_client = move || {
        let (store, at, service) = (store.clone(), at.clone(), service.clone());
        async move { oauth_client(&store, &at, &service).await }
    };
    Account::new(client, trials, oauth_client).map_err(wrong)
}

/// Reads the credentials of an account's OAuth client. Whatever is wrong with them concerns the whole account.
async fn oauth_client(
    store: &Store,
    at: &config::OAuthPlace,
    service: &str,
) -> Result<OAuthClient, CallError> {
    let path = SecretPath {
        mount: at.mount.clone(),
        path: at.path.clone(),
    };
    let place = format!("{}/{}", at.mount, at.path);
    let wrong = |what: String| unusable_client(service, &what);
    let data = match store.read(&path).await {
        Ok(SecretRead::Present { data, .. }) => data,
        Ok(_) => {
            let cure = policy::without_data(&at.path);
            let cure = cure.unwrap_or_else(|| {
                format!(
                    "write {} and {} there, or correct `path` in the table `auth` of the account",
                    at.id_field, at.secret_field
                )
            });
            return Err(wrong(format!(
                "is not in {place}: there is no such secret; {cure}"
            )));
        }
        Err(error) if error.kind == ErrorKind::Refused => {
            return Err(wrong(format!(
                "cannot be read from {place}: {}",
                error.what
            )));
        }
        Err(error) => return Err(error),
    };
    let field = |name: &String| {
        let value = data.value(name);
        value.ok_or_else(|| {
            wrong(format!(
                "is not in {place}: the field {name} is missing or empty"
            ))
        })
    };
    Ok(OAuthClient {
        id: field(&at.id_field)?.expose().to_owned(),
        secret: field(&at.secret_field)?,
    })
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
        Ok(SecretRead::Present { data, .. }) => {
            let value = data.value(&at.field).ok_or_else(|| {
                wrong(format!(
                    "is missing: there is no field {place}, or it is empty; write the token there, or correct `field` in [dynatrace.{environment}.auth]"
                ))
            })?;
            match value_flaw(&value) {
                None => Ok(value),
                Some(why) => Err(wrong(format!("cannot be used: the value in {place} {why}"))),
            }
        }
        Ok(_) => {
            let cure = policy::without_data(&at.path);
            let cure = cure.unwrap_or_else(|| {
                format!(
                    "write the token there, or correct `path` in [dynatrace.{environment}.auth]"
                )
            });
            Err(wrong(format!(
                "is missing: there is no secret at {}/{}; {cure}",
                at.mount, at.path
            )))
        }
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
            if let Some(environment) = issuer.inner().environment()
                && Some(name.as_str()) != except
            {
                ids.extend(environment.management_token_id().await);
            }
        }
        ids
    }

    /// The ids of all management tokens, each with its environment; or why one cannot be read.
    pub async fn read_management_token_ids(&self) -> Vec<(&str, Result<TokenId, CallError>)> {
        let environments = self.issuers.iter().filter_map(|(name, issuer)| {
            let environment = issuer.inner().environment()?;
            Some(async move { (name.as_str(), environment.read_management_token_id().await) })
        });
        join_all(environments).await
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

    /// What Vault says about our token.
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

    /// The clocks of the servers. The issuer of ActiveGate tokens may share that of its environment.
    pub fn clocks(&self) -> Vec<NamedClock> {
        let mut clocks = vec![NamedClock {
            title: "Vault".to_owned(),
            service: None,
            clock: self.vault.clock().clone(),
        }];
        let is_of_gates =
            |issuer: &dynatrace::Issuer| matches!(issuer, dynatrace::Issuer::ActiveGates(_));
        let mut issuers: Vec<_> = self.issuers.iter().collect();
        // The environments first: their names are enough.
        issuers.sort_by_key(|(_, issuer)| is_of_gates(issuer.inner()));
        for (name, issuer) in issuers {
            let clock = issuer.inner().clock();
            let named = |title: String, clock: &ServerClock| NamedClock {
                title,
                service: Some(name.clone()),
                clock: clock.clone(),
            };
            if !clocks.iter().any(|known| known.clock.is(clock)) {
                clocks.push(named(format!("Dynatrace {name}"), clock));
            }
            if let Some(clock) = issuer.inner().sso_clock() {
                clocks.push(named(format!("the single sign-on of {name}"), clock));
            }
        }
        clocks
    }

    /// The clocks that the work of a service depends on.
    pub fn clocks_of(&self, service: &str) -> Vec<&ServerClock> {
        let issuer = self.issuers.get(service).map(|issuer| issuer.inner());
        let own = issuer.map(|issuer| issuer.clock());
        let sso = issuer.and_then(|issuer| issuer.sso_clock());
        let vault = std::iter::once(self.vault.clock());
        vault.chain(own).chain(sso).collect()
    }

    /// The management token of an environment, as the environment reports it. `Unauthorized` = also when it lacks a right: then nothing can be
    /// done for any secret of the environment.
    /// None = an account, which has an OAuth client in its place, or ActiveGate tokens, which any token may manage that has the right: it is
    /// accepted.
    pub async fn management_token(&self, service: &str) -> Result<Option<TokenInfo>, CallError> {
        let environment = match self.issuer(service)?.inner() {
            dynatrace::Issuer::Environment(environment) => environment,
            dynatrace::Issuer::ActiveGates(gates) => {
                gates.check_access().await?;
                return Ok(None);
            }
            dynatrace::Issuer::Account(account) => {
                account.check_client().await?;
                return Ok(None);
            }
        };
        let info = environment.management_info().await?;
        let missing = environment.lacks(&info);
        if missing.is_empty() {
            return Ok(Some(info));
        }
        let what = format!(
            "the management token {} of environment {service} lacks the {}; {}, or put another token into Vault",
            info.id,
            scopes_in_words(&missing),
            add_in_dynatrace(&missing)
        );
        Err(CallError::new(
            Service::Dynatrace,
            ErrorKind::Unauthorized,
            what,
        ))
    }

    /// Lets the next call read the management token or the OAuth client from Vault again.
    pub fn forget_credential(&self, service: &str) {
        if let Some(issuer) = self.issuers.get(service) {
            issuer.inner().forget_credential();
        }
    }

    /// The issuer of this name: an environment or an account.
    pub fn issuer(&self, service: &str) -> Result<&Arc<Issuer>, CallError> {
        self.issuers.get(service).ok_or_else(|| {
            let what = format!("{service} is no longer in the configuration");
            CallError::new(Service::Dynatrace, ErrorKind::Refused, what)
        })
    }
}
