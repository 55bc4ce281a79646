//! A person's order to end a token, and whether the token is still the one they saw.

use jiff::Timestamp;

use super::super::marker::{Marker, NameDigest};
use super::super::token::TokenInfo;
use super::{PruneContext, PrunedState, PrunedToken, mark, marked_at};

/// A person's order to end a token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PruneOrder {
    /// The token as the plan showed it.
    pub planned: TokenInfo,
    /// The name of the environment or account that issued it.
    pub service: String,
    /// The URL that it was issued at.
    pub base_url: String,
    /// The person, as Vault knows them.
    pub by: String,
    /// The longest name; none where tokens cannot be renamed.
    pub name_limit: Option<usize>,
}

impl PruneOrder {
    /// Why it is no longer what the plan showed: half a sentence about it.
    pub fn changed(&self, info: &TokenInfo) -> Option<&'static str> {
        let before = &self.planned;
        if info.last_used > before.last_used {
            return Some("was used after the plan was made");
        }
        let facts = |info: &TokenInfo| {
            let TokenInfo {
                name,
                owner,
                scopes,
                ..
            } = info.clone();
            (
                name,
                owner,
                scopes,
                info.enabled,
                info.personal,
                info.expires,
            )
        };
        (facts(info) != facts(before)).then_some("was changed after the plan was made")
    }

    /// The name that the token has without the mark of an earlier order, which was undone by hand.
    fn own_name(&self, installation: &str) -> String {
        let name = &self.planned.name;
        match marked_at(name, installation) {
            Some(_) => Marker::split(name).0,
            None => name.clone(),
        }
    }

    /// The name that the token gets; none where tokens cannot be renamed.
    pub(super) fn marked_name(&self, installation: &str, at: Timestamp) -> Option<String> {
        let limit = self.name_limit?;
        Some(mark(installation, at).name(&self.own_name(installation), limit))
    }

    /// What is written to the document now.
    pub(super) fn entry(&self, cx: &PruneContext<'_>) -> PrunedToken {
        let name = self.marked_name(cx.installation, cx.now);
        PrunedToken {
            id: self.planned.id.clone(),
            service: self.service.clone(),
            base_url: self.base_url.clone(),
            name: self.own_name(cx.installation),
            enabled: self.planned.enabled,
            digest: name.map(|name| NameDigest::of(&name)),
            by: self.by.clone(),
            at: cx.now,
            state: PrunedState::Ordered,
            since: cx.now,
            missing_since: None,
            unknown: serde_json::Map::new(),
        }
    }
}
