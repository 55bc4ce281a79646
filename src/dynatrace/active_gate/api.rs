//! The calls of the APIs of ActiveGate tokens and the shapes of their answers. Pure.
//!
//! The same tokens can be managed by two APIs, as Dynatrace's SDK (`client-classic-environment-v2` 9.0.1) and its documentation of fleet
//! management describe them. They can be listed, read by id, created and deleted. A changelog removes `activeGateType` and `seedToken` from
//! the classic one, while the SDK has both: they are optional here.

use jiff::Timestamp;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::answer::Answer;
use super::super::call::{Call, Effect};
use super::super::when;
use rotation::error::CallError;
use rotation::token::{MintRequest, Minted, TokenId, TokenInfo, Traits};

/// Tokens in one page (both APIs allow 100 to 3,000).
const PAGE_SIZE: &str = "1000";

/// The traits that a successor has in common with a token, by their names in the APIs.
const TYPE: &str = "activeGateType";
const SEED: &str = "seedToken";

/// The type of a first token, which has no predecessor.
const FIRST_TYPE: &str = "ENVIRONMENT";

/// By which API the tokens are managed, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// The classic API with an API token, at the environment's own address.
    Classic,
    /// The same with a platform token, at the address of the platform.
    Platform,
    /// Fleet management, with a platform token.
    Fleet,
}

/// What a call needs a right for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    Read,
    Create,
    Write,
}

/// The scopes of an API token that manages ActiveGate tokens; the last one includes creating.
pub(super) const CLASSIC_SCOPES: [&str; 2] = [
    "activeGateTokenManagement.read",
    "activeGateTokenManagement.write",
];

/// Those of a platform token.
pub(super) const PLATFORM_SCOPES: [&str; 3] = [
    "fleet-management:activegate.tokens:read",
    "fleet-management:activegate.tokens:create",
    "fleet-management:activegate.tokens:write",
];

/// The classic API takes these, too.
const TWINS: [&str; 3] = [
    "environment-api:activegate-tokens:read",
    "environment-api:activegate-tokens:create",
    "environment-api:activegate-tokens:write",
];

/// Those of [`PLATFORM_SCOPES`] for which a platform token with `scopes` has neither the scope nor its twin.
pub(super) fn platform_scopes_missing(scopes: &[String]) -> Vec<&'static str> {
    let has = |wanted: &str| scopes.iter().any(|scope| scope == wanted);
    let all = PLATFORM_SCOPES.into_iter().zip(TWINS);
    let missing = all.filter(|(scope, twin)| !has(scope) && !has(twin));
    missing.map(|(scope, _)| scope).collect()
}

/// A token. Every field is optional here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ActiveGateToken {
    id: Option<String>,
    name: Option<String>,
    owner: Option<String>,
    active_gate_type: Option<String>,
    seed_token: Option<bool>,
    #[serde(default, deserialize_with = "when::optional")]
    creation_date: Option<Timestamp>,
    #[serde(default, deserialize_with = "when::optional")]
    expiration_date: Option<Timestamp>,
    #[serde(default, deserialize_with = "when::optional")]
    last_used_date: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawPage {
    active_gate_tokens: Option<Vec<ActiveGateToken>>,
    next_page_key: Option<String>,
    total_count: Option<u64>,
}

#[derive(Deserialize)]
struct Created {
    id: Option<String>,
    token: Option<String>,
}

/// A page of the listing.
pub(super) struct Page {
    pub(super) tokens: Vec<TokenInfo>,
    /// How many there are in all.
    pub(super) total: Option<u64>,
    /// The key of the next page.
    pub(super) next: Option<String>,
}

impl Route {
    fn path(self) -> &'static [&'static str] {
        match self {
            Route::Classic => &["api", "v2", "activeGateTokens"],
            Route::Platform => &[
                "platform",
                "classic",
                "environment-api",
                "v2",
                "activeGateTokens",
            ],
            Route::Fleet => &["platform", "fleet-management", "v1", "activegate", "tokens"],
        }
    }

    /// The scope to name when the credential lacks it.
    pub(super) fn scope(self, need: Need) -> &'static str {
        match (self, need) {
            (Route::Classic, Need::Read) => CLASSIC_SCOPES[0],
            (Route::Classic, Need::Create | Need::Write) => CLASSIC_SCOPES[1],
            (Route::Platform | Route::Fleet, Need::Read) => PLATFORM_SCOPES[0],
            (Route::Platform | Route::Fleet, Need::Create) => PLATFORM_SCOPES[1],
            (Route::Platform | Route::Fleet, Need::Write) => PLATFORM_SCOPES[2],
        }
    }

    fn one(self, id: &TokenId, what: &str, effect: Effect, method: Method) -> Call {
        let path = [self.path(), &[id.as_str()]].concat();
        Call::new(format!("{what} token {id}"), effect, method, &path)
    }

    /// The first page, or the one that `key` names. A key goes alone: both APIs refuse other parameters beside it.
    pub(super) fn list(self, key: Option<&str>) -> Call {
        let what = "list its ActiveGate tokens";
        let call = Call::new(what, Effect::List, Method::GET, self.path());
        match (self, key) {
            (Route::Fleet, Some(key)) => call.query("page-key", key),
            (_, Some(key)) => call.query("nextPageKey", key),
            (Route::Fleet, None) => call.query("page-size", PAGE_SIZE),
            (_, None) => call.query("pageSize", PAGE_SIZE),
        }
    }

    pub(super) fn look_up(self, id: &TokenId) -> Call {
        self.one(id, "look up", Effect::Read, Method::GET)
    }

    pub(super) fn delete(self, id: &TokenId) -> Call {
        self.one(id, "delete", Effect::Change, Method::DELETE)
    }

    /// The order with the type and the seed of the token that is replaced. `bare` = without both, for an API that no longer takes them.
    pub(super) fn mint(self, order: &MintRequest, bare: bool) -> Call {
        let mut body = json!({ "name": order.name });
        if let Some(end) = order.expires {
            body["expirationDate"] = when::write(end).into();
        }
        let value = |name| order.traits.0.get(name).and_then(|all| all.first());
        let seed = value(SEED).map(|text| Value::Bool(text == "true"));
        match self {
            Route::Fleet => body[SEED] = seed.unwrap_or(Value::Bool(false)),
            Route::Classic | Route::Platform if bare => {}
            Route::Classic | Route::Platform => {
                body[TYPE] = value(TYPE).map_or(FIRST_TYPE, String::as_str).into();
                if let Some(seed) = seed {
                    body[SEED] = seed;
                }
            }
        }
        let what = "create an ActiveGate token";
        Call::new(what, Effect::Mint, Method::POST, self.path()).body(&body)
    }
}

/// The order can be sent without a type and a seed, and its token is what was ordered all the same, as far as it can be seen.
pub(super) fn may_be_bare(order: &MintRequest) -> bool {
    let seed = order.traits.0.get(SEED).and_then(|all| all.first());
    seed.is_none_or(|seed| seed == "false")
}

impl ActiveGateToken {
    fn into_info(self) -> Option<TokenInfo> {
        let kind = self.active_gate_type.map(|kind| (TYPE, kind));
        let seed = self.seed_token.map(|seed| (SEED, seed.to_string()));
        let traits = kind.into_iter().chain(seed);
        Some(TokenInfo {
            id: TokenId::new(self.id.filter(|id| !id.is_empty())?),
            name: self.name.unwrap_or_default(),
            // It cannot be disabled.
            enabled: true,
            scopes: vec![],
            owner: self.owner,
            personal: false,
            created: self.creation_date,
            expires: self.expiration_date,
            last_used: self.last_used_date,
            last_used_ip: None,
            traits: Traits(
                traits
                    .map(|(name, value)| (name.to_owned(), vec![value]))
                    .collect(),
            ),
        })
    }
}

pub(super) fn read_info(answer: &Answer) -> Result<TokenInfo, CallError> {
    let token: ActiveGateToken = answer.json()?;
    let info = token.into_info();
    info.ok_or_else(|| answer.odd("it has no token id"))
}

pub(super) fn read_minted(answer: &Answer) -> Result<Minted, CallError> {
    let created: Created = answer.json()?;
    super::super::minted(answer, created.token, created.id)
}

pub(super) fn read_page(answer: &Answer) -> Result<Page, CallError> {
    let page: RawPage = answer.json()?;
    if page.active_gate_tokens.is_none() && page.total_count.is_none() {
        return Err(answer.odd("it is not a listing"));
    }
    let tokens = page.active_gate_tokens.unwrap_or_default().into_iter();
    let tokens = tokens.map(|token| {
        let info = token.into_info();
        info.ok_or_else(|| answer.odd("a listed token has no id"))
    });
    Ok(Page {
        tokens: tokens.collect::<Result<_, _>>()?,
        total: page.total_count,
        next: page.next_page_key.filter(|key| !key.is_empty()),
    })
}
