//! The addresses of the stand-ins: which of them answers a path.

use std::sync::Arc;

use crate::account::Account;
use crate::admin::Admin;
use crate::clock::Clock;
use crate::dynatrace::Environment;
use crate::kv::Vault;
use crate::message::Incoming;
use crate::server::{Origin, Service};

/// The classic origin of all environments, with the account API and the single sign-on beside them.
pub(crate) struct DynatraceOrigin {
    pub(crate) environments: Vec<Arc<Environment>>,
    pub(crate) account: Option<Arc<Account>>,
    pub(crate) admin: Option<Arc<Admin>>,
    pub(crate) clock: Clock,
}

impl Origin for DynatraceOrigin {
    fn service_for(&self, incoming: &Incoming) -> Option<Arc<dyn Service>> {
        if let Some(admin) = &self.admin
            && incoming.path.starts_with("/_simulator/")
        {
            return Some(Arc::clone(admin) as Arc<dyn Service>);
        }
        if let Some(account) = &self.account
            && account.serves(&incoming.path)
        {
            return Some(Arc::clone(account) as Arc<dyn Service>);
        }
        // The environment with the longest prefix that fits.
        self.environments
            .iter()
            .filter(|environment| {
                let rest = incoming.path.strip_prefix(&environment.prefix);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
            .max_by_key(|environment| environment.prefix.len())
            .map(|environment| Arc::clone(environment) as Arc<dyn Service>)
    }

    fn clock(&self) -> &Clock {
        &self.clock
    }
}

/// The origin of the apps of one environment.
pub(crate) struct AppsOrigin {
    pub(crate) environment: Arc<Environment>,
    pub(crate) clock: Clock,
}

impl Origin for AppsOrigin {
    fn service_for(&self, _incoming: &Incoming) -> Option<Arc<dyn Service>> {
        Some(Arc::clone(&self.environment) as Arc<dyn Service>)
    }

    fn clock(&self) -> &Clock {
        &self.clock
    }

    fn apps(&self) -> bool {
        true
    }
}

pub(crate) struct KvOrigin {
    pub(crate) vault: Arc<Vault>,
    pub(crate) clock: Clock,
}

impl Origin for KvOrigin {
    fn service_for(&self, _incoming: &Incoming) -> Option<Arc<dyn Service>> {
        Some(Arc::clone(&self.vault) as Arc<dyn Service>)
    }

    fn clock(&self) -> &Clock {
        &self.clock
    }
}
