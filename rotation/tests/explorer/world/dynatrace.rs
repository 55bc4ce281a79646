//! Dynatrace: the tokens of the environment.

use rotation::command::TokenAction;
use rotation::error::{CallError, ErrorKind, Service};
use rotation::token::{MintRequest, TokenId, TokenInfo};

use super::fault::error;
use super::{EARLY, FIRST, Rights, Setting, World, number_of};

impl World {
    pub(super) fn mint(&mut self, setting: &Setting, order: &MintRequest, visible: bool) -> u8 {
        let rights = match order.scopes.first().map(String::as_str) {
            Some("metrics.read") => Rights::Ordinary,
            Some("logs.read") => Rights::Different,
            _ => Rights::Managing,
        };
        let mut tokens = self.tokens.iter();
        let is_cloned = tokens.any(|it| it.stored && it.rights == rights);
        let is_first = setting.create && rights == Rights::Ordinary;
        if !is_cloned && !is_first {
            self.broken =
                Some("P9: a token was minted with rights that no token of the secret has");
        }
        let token = self.create(&order.name, rights, true);
        self.token(token).visible = visible;
        self.token(token).expires = order.expires;
        token
    }

    pub(super) fn act(
        &mut self,
        setting: &Setting,
        action: &TokenAction,
        token: u8,
    ) -> Result<(), CallError> {
        let tick = self.tick;
        let foreign = self.is_foreign(setting, token);
        let put_back = self.current() == Some(token);
        let known = self.token(token).clone();
        if !known.exists || !known.visible {
            return Err(error(Service::Dynatrace, ErrorKind::Gone));
        }
        if foreign {
            self.broken = Some(match action {
                TokenAction::Disable => "P9: a foreign token was disabled",
                TokenAction::Enable => "P9: a foreign token was enabled",
                TokenAction::Delete => "P9: a foreign token was deleted",
                TokenAction::Rename(_) => "P9: a foreign token was renamed",
                TokenAction::Redate(_) => "P9: a foreign token was re-dated",
            });
        }
        let ends = matches!(action, TokenAction::Disable | TokenAction::Delete);
        if ends && token == FIRST && self.is_held {
            self.broken = Some("P1: a token that another secret holds was ended");
        }
        let revoked = self.revoked == Some(token);
        let early = known.current_at.is_some_and(|at| tick < at + 1) && !revoked;
        if revoked && *action == TokenAction::Enable && !known.enabled {
            self.broken = Some("A12: a revoked token was brought back");
        }
        match action {
            TokenAction::Enable => self.set_enabled(token, true),
            TokenAction::Rename(name) => self.token(token).name = name.as_str().into(),
            TokenAction::Redate(until) => self.token(token).expires = Some(*until),
            TokenAction::Disable => {
                if early && known.enabled && !known.spoiled {
                    self.broken = Some(EARLY);
                }
                self.set_enabled(token, false);
            }
            TokenAction::Delete if !setting.capabilities.disable => {
                if early && !known.spoiled {
                    self.broken = Some(EARLY);
                }
                let token = self.token(token);
                token.exists = false;
                token.spoiled |= put_back;
            }
            TokenAction::Delete => {
                let quiet = known.disabled_at.is_some_and(|at| tick > at);
                if known.stored && !quiet && !known.spoiled && !known.unseen {
                    self.broken = Some("P3: deleted without its quarantine");
                }
                // Put back between the check and the deletion of a token whose quarantine is over: lost, and nothing can prevent it.
                let token = self.token(token);
                token.exists = false;
                token.spoiled |= put_back;
            }
        }
        Ok(())
    }

    pub(super) fn set_enabled(&mut self, token: u8, enabled: bool) {
        let tick = self.tick;
        let token = self.token(token);
        token.enabled = enabled;
        token.disabled_at = match (enabled, token.disabled_at) {
            (true, _) => None,
            (false, since) => since.or(Some(tick)),
        };
    }

    pub(super) fn look_up(&self, token: u8) -> Result<TokenInfo, CallError> {
        if self.tokens[usize::from(token)].exists {
            Ok(self.info(token))
        } else {
            Err(error(Service::Dynatrace, ErrorKind::Gone))
        }
    }

    /// The token was disabled or deleted.
    pub fn was_ended(&self, id: &TokenId) -> bool {
        !self.works(number_of(id))
    }

    /// What the issuer would answer about the token with this id.
    pub fn info_of(&self, id: &TokenId) -> TokenInfo {
        self.info(number_of(id))
    }
}
