//! Access tokens API v2: `/api/v2/apiTokens`, as Dynatrace's SDK (`client-classic-environment-v2` 9.0.1) and its documentation
//! describe it. Deprecated on newest SaaS environments; classic SaaS and Managed have it.

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

/// Tokens in one page (the API allows 100 to 10,000): few calls, and a page of tokens with every scope stays below 2 MB.
const PAGE_SIZE: &str = "500";

/// The listing leaves these out unless asked.
const FIELDS: &str =
    "+scopes,+expirationDate,+personalAccessToken,+lastUsedDate,+lastUsedIpAddress";

const PATH: [&str; 3] = ["api", "v2", "apiTokens"];

/// API v2.
pub(super) struct V2;

/// A token in the format of v2. Every field is optional in the SDK.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ApiToken {
    id: Option<String>,
    name: Option<String>,
    owner: Option<String>,
    enabled: Option<bool>,
    personal_access_token: Option<bool>,
    scopes: Option<Vec<String>>,
    #[serde(default, deserialize_with = "when::optional")]
    creation_date: Option<Timestamp>,
    #[serde(default, deserialize_with = "when::optional")]
    expiration_date: Option<Timestamp>,
    #[serde(default, deserialize_with = "when::optional")]
    last_used_date: Option<Timestamp>,
    last_used_ip_address: Option<String>,
}

#[derive(Deserialize)]
struct Created {
    id: Option<String>,
    token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    api_tokens: Option<Vec<ApiToken>>,
    next_page_key: Option<String>,
    /// Required in every page; without it (or the tokens) the answer is something else.
    total_count: Option<u64>,
}

impl ApiToken {
    /// `None` without an id, which the API always sends. A token that does not say whether it is enabled counts as enabled: the
    /// machine then takes more care of it, not less.
    fn into_info(self) -> Option<TokenInfo> {
        Some(TokenInfo {
            id: TokenId::new(self.id.filter(|id| !id.is_empty())?),
            name: self.name.unwrap_or_default(),
            enabled: self.enabled.unwrap_or(true),
            scopes: self.scopes.unwrap_or_default(),
            owner: self.owner,
            personal: self.personal_access_token.unwrap_or(false),
            created: self.creation_date,
            expires: self.expiration_date,
            last_used: self.last_used_date,
            last_used_ip: self.last_used_ip_address,
            traits: Traits::default(),
        })
    }
}

fn one(id: &TokenId, what: &str, effect: Effect, method: Method) -> Call {
    let [a, b, c] = PATH;
    Call::new(
        format!("{what} token {id}"),
        effect,
        method,
        &[a, b, c, id.as_str()],
    )
}

impl Generation for V2 {
    fn capabilities(&self) -> Capabilities {
        Capabilities::API
    }

    fn needed_scopes(&self) -> &'static [&'static str] {
        &["apiTokens.read", "apiTokens.write"]
    }

    fn scope_for(&self, reads: bool) -> &'static str {
        if reads {
            "apiTokens.read"
        } else {
            "apiTokens.write"
        }
    }

    fn look_up_value(&self, value: &TokenValue) -> Call {
        let [a, b, c] = PATH;
        Call::look_up(value, &[a, b, c, "lookup"])
    }

    fn look_up(&self, id: &TokenId) -> Call {
        one(id, "look up", Effect::Read, Method::GET)
    }

    /// The end is absolute (UTC, milliseconds): a relative one would count from whenever the call arrives.
    fn mint(&self, order: &MintRequest) -> Result<Call, &'static str> {
        let mut body = json!({ "name": order.name, "scopes": order.scopes });
        match (order.expires, order.lifetime) {
            (Some(end), _) => body["expirationDate"] = when::write(end).into(),
            (None, Some(_)) => {
                return Err("this API takes an absolute end, and the order has only a length");
            }
            (None, None) => {}
        }
        Ok(Call::new("create a token", Effect::Mint, Method::POST, &PATH).body(&body))
    }

    fn set_enabled(&self, id: &TokenId, enabled: bool) -> Call {
        let what = if enabled { "enable" } else { "disable" };
        one(id, what, Effect::Change, Method::PUT).body(&json!({ "enabled": enabled }))
    }

    fn rename(&self, id: &TokenId, name: &str) -> Call {
        one(id, "rename", Effect::Change, Method::PUT).body(&json!({ "name": name }))
    }

    fn set_enabled_and_name(&self, id: &TokenId, enabled: bool, name: &str) -> Call {
        let what = if enabled { "enable" } else { "disable" };
        let body = json!({ "enabled": enabled, "name": name });
        one(id, what, Effect::Change, Method::PUT).body(&body)
    }

    fn delete(&self, id: &TokenId) -> Call {
        one(id, "delete", Effect::Change, Method::DELETE)
    }

    /// `nextPageKey` goes alone: it stands for all other parameters, and the API refuses them beside it.
    fn list(&self, key: Option<&str>) -> Call {
        let call = Call::new("list its tokens", Effect::List, Method::GET, &PATH);
        match key {
            Some(key) => call.query("nextPageKey", key),
            None => call.query("pageSize", PAGE_SIZE).query("fields", FIELDS),
        }
    }

    fn read_info(&self, answer: &Answer) -> Result<TokenInfo, CallError> {
        let token: ApiToken = answer.json()?;
        token
            .into_info()
            .ok_or_else(|| answer.odd("it has no token id"))
    }

    fn read_minted(&self, answer: &Answer) -> Result<Minted, CallError> {
        let created: Created = answer.json()?;
        super::minted(answer, created.token, created.id)
    }

    fn read_page(&self, answer: &Answer) -> Result<(Vec<TokenInfo>, Option<String>), CallError> {
        let page: Page = answer.json()?;
        if page.api_tokens.is_none() && page.total_count.is_none() {
            return Err(answer.odd("it is not a listing"));
        }
        let tokens = page
            .api_tokens
            .unwrap_or_default()
            .into_iter()
            .map(|token| {
                token
                    .into_info()
                    .ok_or_else(|| answer.odd("a listed token has no id"))
            });
        let tokens = tokens.collect::<Result<_, _>>()?;
        Ok((tokens, page.next_page_key.filter(|key| !key.is_empty())))
    }
}
