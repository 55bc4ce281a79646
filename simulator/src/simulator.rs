//! Starts the stand-ins, keeps them running, and ends them when dropped.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use jiff::SignedDuration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::account;
use crate::account::handle::Account;
use crate::admin::Admin;
use crate::clock::Clock;
use crate::dynatrace::Environment;
use crate::dynatrace::handle::Dynatrace;
use crate::dynatrace::route::Kind;
use crate::kv::{Kv, Vault};
use crate::origins::{AppsOrigin, DynatraceOrigin, KvOrigin};
use crate::server::{self, Site};

/// What to start.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the Dynatrace stand-in listens; a free loopback port unless given.
    pub listen: SocketAddr,
    /// Where the apps of the first environment listen, if there is an account; a free loopback port unless given, as for the
    /// other environments.
    pub listen_apps: SocketAddr,
    /// At least one; the first is the one that [`Simulator::dynatrace`] gives.
    pub environments: Vec<EnvironmentOptions>,
    /// The UUID of the account that all environments belong to: with it there are platform tokens, the account API
    /// (`/iam/v1`) and the single sign-on (`/sso`).
    pub account: Option<String>,
    /// How long every Dynatrace request takes before its effect.
    pub latency: Duration,
    /// Whether requests are kept for `calls()`; switch it off for a long run.
    pub keep_calls: bool,
    /// Whether `/_simulator/...` is served beside the environments.
    pub admin: bool,
}

/// One Dynatrace environment. The default is one at the root with dotted tokens.
#[derive(Debug, Clone)]
pub struct EnvironmentOptions {
    /// `""` to serve at the root as SaaS does, else a prefix as Managed has: `/e/abc`.
    pub prefix: String,
    /// The id that platform tokens name in their resources.
    pub id: String,
    /// New tokens get a UUID and an opaque secret.
    pub legacy_format: bool,
    /// The cluster API of Managed, `/api/cluster/v2/tokens`, instead of an environment; the prefix has no meaning then.
    pub cluster: bool,
}

impl Default for EnvironmentOptions {
    fn default() -> EnvironmentOptions {
        EnvironmentOptions {
            prefix: String::new(),
            id: "abc12345".to_owned(),
            legacy_format: false,
            cluster: false,
        }
    }
}

impl EnvironmentOptions {
    /// A Managed environment at `/e/ID`.
    pub fn managed(id: &str) -> EnvironmentOptions {
        EnvironmentOptions {
            prefix: format!("/e/{id}"),
            id: id.to_owned(),
            ..EnvironmentOptions::default()
        }
    }

    /// The cluster of a Managed installation.
    pub fn cluster() -> EnvironmentOptions {
        EnvironmentOptions {
            cluster: true,
            ..EnvironmentOptions::default()
        }
    }
}

impl Default for Options {
    fn default() -> Options {
        Options {
            listen: server::any_loopback_port(),
            listen_apps: server::any_loopback_port(),
            environments: vec![EnvironmentOptions::default()],
            account: None,
            latency: Duration::ZERO,
            keep_calls: true,
            admin: false,
        }
    }
}

/// A running simulator. Dropping it ends it: the listeners are closed, connections end with the request in flight.
pub struct Simulator {
    clock: Clock,
    environments: Vec<Dynatrace>,
    account: Option<Account>,
    kv: Kv,
    running: Running,
}

enum Running {
    Tasks(Vec<JoinHandle<io::Result<()>>>),
    Thread {
        stop: Option<oneshot::Sender<()>>,
        thread: Option<thread::JoinHandle<()>>,
    },
}

impl fmt::Debug for Simulator {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Simulator")
            .field("environments", &self.environments)
            .field("kv", &self.kv)
            .finish_non_exhaustive()
    }
}

impl Simulator {
    /// Starts it on the caller's runtime. It listens when this returns.
    ///
    /// # Errors
    /// When an address cannot be bound, or no environment is given.
    pub async fn start(options: Options) -> io::Result<Simulator> {
        let listeners = Listeners::bind(&options).await?;
        let parts = Parts::new(&options, listeners.addresses()?)?;
        let tasks = listeners.serve(&parts);
        Ok(parts.into_simulator(Running::Tasks(tasks)))
    }

    /// Starts it on a thread of its own, for callers without an async runtime. It listens when this returns.
    ///
    /// # Errors
    /// When an address cannot be bound, no environment is given, or no thread can be had.
    pub fn start_on_thread(options: Options) -> io::Result<Simulator> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let listeners = runtime.block_on(Listeners::bind(&options))?;
        let parts = Parts::new(&options, listeners.addresses()?)?;
        let tasks = {
            let _entered = runtime.enter();
            listeners.serve(&parts)
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::Builder::new()
            .name("simulator".to_owned())
            .spawn(move || {
                // Ends by a message or by the sender's end; both mean stop.
                let _ = runtime.block_on(stopped);
                for task in tasks {
                    task.abort();
                }
            })?;
        Ok(parts.into_simulator(Running::Thread {
            stop: Some(stop),
            thread: Some(thread),
        }))
    }

    /// The first environment.
    pub fn dynatrace(&self) -> Dynatrace {
        self.environments[0].clone()
    }

    /// All environments, in the order of the options.
    pub fn environments(&self) -> &[Dynatrace] {
        &self.environments
    }

    /// The account, if the options name one.
    pub fn account(&self) -> Option<Account> {
        self.account.clone()
    }

    pub(crate) fn sites(&self) -> impl Iterator<Item = &Site> {
        let environments = self.environments.iter().map(Dynatrace::site);
        environments.chain(self.account.as_ref().map(Account::site))
    }

    /// The small Vault that holds what the program seeds.
    pub fn kv(&self) -> Kv {
        self.kv.clone()
    }

    /// The base URL of the first environment.
    pub fn url(&self) -> &str {
        self.environments[0].url()
    }

    /// Moves the stand-ins' notion of now, and with it the `Date` header, off the system's clock.
    pub fn set_clock_offset(&self, offset: SignedDuration) {
        self.clock.set_offset(offset);
    }

    /// Moves the `Date` header alone, on top of the clock's offset.
    pub fn set_date_offset(&self, offset: SignedDuration) {
        self.clock.set_date_offset(offset);
    }

    /// What the stand-ins take for the present.
    pub fn now(&self) -> jiff::Timestamp {
        self.clock.now()
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        match &mut self.running {
            Running::Tasks(tasks) => {
                for task in tasks {
                    task.abort();
                }
            }
            Running::Thread { stop, thread } => {
                drop(stop.take());
                if let Some(thread) = thread.take() {
                    // It only fails when the thread panicked, which has been reported already.
                    let _ = thread.join();
                }
            }
        }
    }
}

struct Listeners {
    dynatrace: TcpListener,
    /// One for each environment that has apps, in their order.
    apps: Vec<TcpListener>,
    kv: TcpListener,
}

/// Where the stand-ins listen.
struct Addresses {
    dynatrace: SocketAddr,
    apps: Vec<SocketAddr>,
    kv: SocketAddr,
}

impl Listeners {
    async fn bind(options: &Options) -> io::Result<Listeners> {
        let mut apps = Vec::new();
        if options.account.is_some() {
            let environments = options.environments.iter();
            for _ in environments.filter(|environment| !environment.cluster) {
                let address = match apps.is_empty() {
                    true => options.listen_apps,
                    false => server::any_loopback_port(),
                };
                apps.push(TcpListener::bind(address).await?);
            }
        }
        Ok(Listeners {
            dynatrace: TcpListener::bind(options.listen).await?,
            apps,
            kv: TcpListener::bind(server::any_loopback_port()).await?,
        })
    }

    fn addresses(&self) -> io::Result<Addresses> {
        let apps = self.apps.iter().map(TcpListener::local_addr);
        Ok(Addresses {
            dynatrace: self.dynatrace.local_addr()?,
            apps: apps.collect::<io::Result<_>>()?,
            kv: self.kv.local_addr()?,
        })
    }

    /// Must be called inside a runtime.
    fn serve(self, parts: &Parts) -> Vec<JoinHandle<io::Result<()>>> {
        let dynatrace = DynatraceOrigin {
            environments: parts.environments.clone(),
            account: parts.account.clone(),
            admin: parts.admin.clone(),
            clock: parts.clock.clone(),
        };
        let kv = KvOrigin {
            vault: Arc::clone(&parts.vault),
            clock: parts.clock.clone(),
        };
        let mut tasks = vec![
            tokio::spawn(server::serve(self.dynatrace, Arc::new(dynatrace))),
            tokio::spawn(server::serve(self.kv, Arc::new(kv))),
        ];
        let with_apps = parts.environments.iter().filter(|one| one.has_apps());
        for (listener, environment) in self.apps.into_iter().zip(with_apps) {
            let apps = AppsOrigin {
                environment: Arc::clone(environment),
                clock: parts.clock.clone(),
            };
            tasks.push(tokio::spawn(server::serve(listener, Arc::new(apps))));
        }
        tasks
    }
}

struct Parts {
    clock: Clock,
    environments: Vec<Arc<Environment>>,
    account: Option<Arc<account::Account>>,
    vault: Arc<Vault>,
    admin: Option<Arc<Admin>>,
    addresses: Addresses,
}

impl Parts {
    fn new(options: &Options, addresses: Addresses) -> io::Result<Parts> {
        if options.environments.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "no environment is given",
            ));
        }
        let clock = Clock::default();
        let site = |latency| Site::new(clock.clone(), latency, options.keep_calls);
        let account = options
            .account
            .as_ref()
            .map(|uuid| Arc::new(account::Account::new(uuid, site(options.latency))));
        let environments: Vec<Arc<Environment>> = options
            .environments
            .iter()
            .map(|own| {
                let environment = Environment::new(own, account.clone(), site(options.latency));
                environment.set_legacy(own.legacy_format);
                Arc::new(environment)
            })
            .collect();
        let vault = Arc::new(Vault::new(site(Duration::ZERO)));
        let admin = options.admin.then(|| {
            Arc::new(Admin::new(
                environments.clone(),
                account.clone(),
                site(Duration::ZERO),
            ))
        });
        Ok(Parts {
            clock,
            environments,
            account,
            vault,
            admin,
            addresses,
        })
    }

    fn into_simulator(self, running: Running) -> Simulator {
        let Addresses {
            dynatrace,
            apps,
            kv,
        } = self.addresses;
        let mut apps = apps.into_iter();
        let environments = self
            .environments
            .into_iter()
            .map(|environment| {
                let prefix = match environment.kind {
                    Kind::Cluster => "",
                    _ => &environment.prefix,
                };
                let url = format!("http://{dynatrace}{prefix}");
                let apps = if environment.has_apps() {
                    apps.next()
                } else {
                    None
                };
                let apps_url = apps.map(|apps| format!("http://{apps}"));
                Dynatrace::new(environment, url, apps_url)
            })
            .collect();
        Simulator {
            clock: self.clock,
            environments,
            account: self
                .account
                .map(|account| Account::new(account, format!("http://{dynatrace}"))),
            kv: Kv::new(self.vault, format!("http://{kv}")),
            running,
        }
    }
}
