//! A token that a person named and no secret knows.

use std::sync::Arc;

use rotation::error::CallError;
use rotation::plan::Kind;
use rotation::ports::TokenIssuer;
use rotation::token::{TokenId, TokenInfo};

use crate::config::Settings;

use super::super::assemble::{Issuer, Wired};
use super::super::in_use::ManagementTokens;
use super::Foreground;

/// A token of an environment.
pub struct NamedToken<'f> {
    wired: &'f Wired,
    settings: &'f Settings,
    service: String,
    issuer: &'f Arc<Issuer>,
    id: &'f TokenId,
}

impl<'f> NamedToken<'f> {
    /// What issued it is seen from its id.
    pub fn new(
        foreground: &'f Foreground<'_>,
        environment: &str,
        id: &'f TokenId,
    ) -> Result<Self, CallError> {
        let settings = foreground.settings;
        let service =
            settings
                .environments
                .get(environment)
                .and_then(|it| match Kind::of_id(id)? {
                    Kind::ActiveGate => Some(it.active_gates()?.service),
                    Kind::Platform => {
                        let account = settings.accounts.get(it.account.as_ref()?)?;
                        Some(account.client.service())
                    }
                    Kind::Api | Kind::Cluster => None,
                });
        let service = service.unwrap_or_else(|| environment.to_owned());
        let wired = &foreground.office.wired;
        let issuer = wired.issuer(&service)?;
        Ok(NamedToken {
            wired,
            settings,
            service,
            issuer,
            id,
        })
    }

    /// Reads it.
    pub async fn look_up(&self) -> Result<TokenInfo, CallError> {
        self.issuer.look_up(self.id).await
    }

    /// A token of this kind can be disabled.
    pub fn can_disable(&self) -> bool {
        self.issuer.capabilities().disable
    }

    /// It is in use for managing tokens, by whichever table.
    ///
    /// # Errors
    /// A management token that may be this one cannot be read.
    pub async fn manages_tokens(&self) -> Result<bool, CallError> {
        let services = std::slice::from_ref(&self.service);
        let management = ManagementTokens::read(self.wired, self.settings, services).await;
        if management.ids.contains(self.id) {
            return Ok(true);
        }
        management.complete().map(|_| false)
    }

    /// A value of this environment may be a token of the same service.
    pub fn may_be_used_in(&self, environment: &str) -> bool {
        let services = std::slice::from_ref(&self.service);
        self.settings.may_use_tokens_of(environment, services)
    }

    /// Disables it, or deletes it where that is wanted or nothing else is possible.
    pub async fn end(&self, delete: bool) -> Result<(), CallError> {
        if self.can_disable() {
            self.issuer.set_enabled(self.id, false).await?;
        }
        match delete || !self.can_disable() {
            true => self.issuer.delete(self.id).await,
            false => Ok(()),
        }
    }
}
