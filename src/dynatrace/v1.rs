//! Tokens API v1: `/api/v1/tokens`, deprecated since Dynatrace 1.242 and still there. It is the API of the opaque tokens from
//! before the dotted format; ids are then UUIDs which only a look-up shows. The tokens of a Managed cluster have the same shapes below
//! `/api/cluster/v2/tokens`; there every call needs the right to manage tokens, a look-up of the own value included.
//!
//! Two traps: a create answers with the value alone, and an `expiresIn` without a unit counts milliseconds.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::answer::Answer;
use super::call::{Call, Effect};
use super::generation::Generation;
use super::when;
use rotation::capabilities::Capabilities;
use rotation::error::CallError;
use rotation::token::{MintRequest, Minted, TokenId, TokenInfo, TokenValue, Traits};

/// There are no pages, only a limit (the API allows a million): this many ids and names stay below the bound of a listing.
const LIMIT: usize = 100_000;

/// API v1 of an environment or of a cluster.
pub(super) struct V1 {
    path: &'static [&'static str],
    /// The scope that manages tokens; the only one that is needed.
    scopes: &'static [&'static str; 1],
    /// Every valid token may look itself up.
    proves_itself: bool,
}

pub(super) const ENVIRONMENT: V1 = V1 {
    path: &["api", "v1", "tokens"],
    scopes: &["TenantTokenManagement"],
    proves_itself: true,
};

pub(super) const CLUSTER: V1 = V1 {
    path: &["api", "cluster", "v2", "tokens"],
    scopes: &["ClusterTokenManagement"],
    proves_itself: false,
};

/// A token in the format of v1 (`TokenMetadata`). The schema says that times are numbers, its worked examples show texts.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TokenMetadata {
    id: Option<String>,
    name: Option<String>,
    user_id: Option<String>,
    revoked: Option<bool>,
    personal_access_token: Option<bool>,
    scopes: Option<Vec<String>>,
    #[serde(default, deserialize_with = "when::optional")]
    created: Option<Timestamp>,
    #[serde(default, deserialize_with = "when::optional")]
    expires: Option<Timestamp>,
    #[serde(default, deserialize_with = "when::optional")]
    last_use: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Created {
    token: Option<String>,
}

#[derive(Deserialize)]
struct Listing {
    values: Vec<TokenMetadata>,
}

impl TokenMetadata {
    /// `None` without an id, which the API always sends.
    fn into_info(self) -> Option<TokenInfo> {
        Some(TokenInfo {
            id: TokenId::new(self.id.filter(|id| !id.is_empty())?),
            name: self.name.unwrap_or_default(),
            enabled: !self.revoked.unwrap_or(false),
            scopes: self.scopes.unwrap_or_default(),
            owner: self.user_id,
            personal: self.personal_access_token.unwrap_or(false),
            created: self.created,
            expires: self.expires,
            last_used: self.last_use,
            last_used_ip: None,
            traits: Traits::default(),
        })
    }
}

impl V1 {
    fn one(&self, id: &TokenId, what: &str, effect: Effect, method: Method) -> Call {
        let path = [self.path, &[id.as_str()]].concat();
        Call::new(format!("{what} token {id}"), effect, method, &path)
    }
}

/// Whole seconds, at least one: nothing may become "now".
fn seconds(lifetime: Duration) -> u64 {
    lifetime.as_secs().max(1)
}

impl Generation for V1 {
    fn capabilities(&self) -> Capabilities {
        Capabilities::API
    }

    fn needed_scopes(&self) -> &'static [&'static str] {
        self.scopes
    }

    fn scope_for(&self, _reads: bool) -> &'static str {
        self.scopes[0]
    }

    fn proves_itself(&self) -> bool {
        self.proves_itself
    }

    fn look_up_value(&self, value: &TokenValue) -> Call {
        Call::look_up(value, &[self.path, &["lookup"]].concat())
    }

    fn look_up(&self, id: &TokenId) -> Call {
        self.one(id, "look up", Effect::Read, Method::GET)
    }

    fn mint(&self, order: &MintRequest) -> Result<Call, &'static str> {
        let mut body = json!({ "name": order.name, "scopes": order.scopes });
        match (order.expires, order.lifetime) {
            (_, Some(lifetime)) => {
                body["expiresIn"] = json!({ "value": seconds(lifetime), "unit": "SECONDS" });
            }
            (Some(_), None) => {
                return Err("this API takes a lifetime as a length, and the order has only an end");
            }
            (None, None) => {}
        }
        Ok(Call::new("create a token", Effect::Mint, Method::POST, self.path).body(&body))
    }

    fn set_enabled(&self, id: &TokenId, enabled: bool) -> Call {
        let what = if enabled { "enable" } else { "disable" };
        self.one(id, what, Effect::Change, Method::PUT)
            .body(&json!({ "revoked": !enabled }))
    }

    fn rename(&self, id: &TokenId, name: &str) -> Call {
        self.one(id, "rename", Effect::Change, Method::PUT)
            .body(&json!({ "name": name }))
    }

    fn set_enabled_and_name(&self, id: &TokenId, enabled: bool, name: &str) -> Call {
        let what = if enabled { "enable" } else { "disable" };
        let body = json!({ "revoked": !enabled, "name": name });
        self.one(id, what, Effect::Change, Method::PUT).body(&body)
    }

    fn delete(&self, id: &TokenId) -> Call {
        self.one(id, "delete", Effect::Change, Method::DELETE)
    }

    fn list(&self, _key: Option<&str>) -> Call {
        Call::new("list its tokens", Effect::List, Method::GET, self.path)
            .query("limit", LIMIT.to_string())
    }

    fn lists_details(&self) -> bool {
        false
    }

    fn read_info(&self, answer: &Answer) -> Result<TokenInfo, CallError> {
        let token: TokenMetadata = answer.json()?;
        token
            .into_info()
            .ok_or_else(|| answer.odd("it has no token id"))
    }

    fn read_minted(&self, answer: &Answer) -> Result<Minted, CallError> {
        let created: Created = answer.json()?;
        super::minted(answer, created.token, None)
    }

    /// v1 lists ids and names only: everything else in these entries is a default, so look a token up before judging it.
    fn read_page(&self, answer: &Answer) -> Result<(Vec<TokenInfo>, Option<String>), CallError> {
        let listing: Listing = answer.json()?;
        if listing.values.len() >= LIMIT {
            return Err(
                answer.odd("it reaches the limit asked for, so it may not be the whole listing")
            );
        }
        let tokens = listing.values.into_iter().map(|token| {
            token
                .into_info()
                .ok_or_else(|| answer.odd("a listed token has no id"))
        });
        let tokens = tokens.collect::<Result<_, _>>()?;
        Ok((tokens, None))
    }
}
