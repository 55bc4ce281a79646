//! The calls of the platform-token API and the shapes of its answers. Pure.
//!
//! `/iam/v1/accounts/{uuid}/platform-tokens` below the account API, as its OpenAPI specification describes it. There is no call that reads one
//! token, none that looks a value up, and the items of the listing have no status: it is learned from the status filter.

use jiff::Timestamp;
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::super::answer::Answer;
use super::super::call::{Call, Effect};
use super::super::when;
use rotation::error::CallError;
use rotation::token::{MintRequest, Minted, TokenId, TokenInfo, Traits};

/// The traits that a successor must have in common with a token, by their names in the API.
pub(super) const OWNER: &str = "userUuid";
const RESOURCE: &str = "resource";
const TAGS: &str = "tags";

/// The values of the status filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Active,
    Inactive,
}

impl Status {
    fn word(self) -> &'static str {
        match self {
            Status::Active => "ACTIVE",
            Status::Inactive => "INACTIVE",
        }
    }
}

/// An item of the listing. Every field is optional here, although the specification requires most of them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PlatformToken {
    token_id: Option<String>,
    name: Option<String>,
    scope: Option<Vec<String>>,
    tags: Option<Vec<String>>,
    resource: Option<Vec<String>>,
    #[serde(default, deserialize_with = "when::optional")]
    expiration_date: Option<Timestamp>,
    user_uuid: Option<String>,
    metadata: Option<Metadata>,
    /// Not in the specification; one client of Dynatrace reads it.
    status: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default, deserialize_with = "when::optional")]
    last_used_at: Option<Timestamp>,
    last_client_ip: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawPage {
    page_number: Option<u64>,
    total: Option<u64>,
    results: Option<Vec<PlatformToken>>,
}

/// A page of the listing.
pub(super) struct Page {
    pub(super) number: u64,
    /// How many tokens there are in all.
    pub(super) total: usize,
    pub(super) items: Vec<Item>,
}

/// A listed token.
pub(super) struct Item {
    /// `enabled` is a default where `status` is unknown.
    pub(super) info: TokenInfo,
    pub(super) status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Created {
    token_id: Option<String>,
    token: Option<String>,
}

/// The calls for one account.
pub(super) struct Api {
    /// The account's UUID.
    pub(super) uuid: String,
}

impl Api {
    fn call(&self, what: impl Into<String>, effect: Effect, method: Method, rest: &[&str]) -> Call {
        let mut path = vec!["iam", "v1", "accounts", &self.uuid, "platform-tokens"];
        path.extend(rest);
        Call::new(what, effect, method, &path)
    }

    /// A page of the tokens of one status, or of all. The first page is asked for without its number, which is not documented.
    pub(super) fn list(&self, status: Option<Status>, page: Option<u64>) -> Call {
        let mut call = self.call("list its tokens", Effect::List, Method::GET, &[]);
        if let Some(status) = status {
            call = call.query("status", status.word());
        }
        match page {
            Some(page) => call.query("page", page.to_string()),
            None => call,
        }
    }

    /// Every field is sent: what is left out is chosen by the service, and an omitted owner is the one who made the OAuth client.
    ///
    /// # Errors
    /// Why this order cannot be expressed.
    pub(super) fn mint(&self, order: &MintRequest) -> Result<Call, &'static str> {
        let Some(end) = order.expires else {
            return Err("a platform token must expire, and the order has no end");
        };
        let values = |name| order.traits.0.get(name).cloned().unwrap_or_default();
        let Some(owner) = values(OWNER).into_iter().next() else {
            return Err("a platform token has an owner, and the order names none");
        };
        let body = json!({
            "name": order.name,
            "scope": order.scopes,
            "resource": values(RESOURCE),
            "tags": values(TAGS),
            "expirationDate": when::write(end),
            "userUuid": owner,
        });
        Ok(self
            .call("create a token", Effect::Mint, Method::POST, &[])
            .body(&body))
    }

    pub(super) fn set_enabled(&self, id: &TokenId, enabled: bool) -> Call {
        let (what, status) = match enabled {
            true => ("enable", Status::Active),
            false => ("disable", Status::Inactive),
        };
        let what = format!("{what} token {id}");
        self.call(what, Effect::Change, Method::PUT, &[id.as_str(), "status"])
            .body(&json!({ "status": status.word() }))
    }

    pub(super) fn redate(&self, id: &TokenId, until: Timestamp) -> Call {
        let what = format!("move the expiry of token {id}");
        let path = [id.as_str(), "expiration-date"];
        self.call(what, Effect::Change, Method::PUT, &path)
            .body(&json!({ "expirationDate": when::write(until) }))
    }

    pub(super) fn delete(&self, id: &TokenId) -> Call {
        let what = format!("delete token {id}");
        self.call(what, Effect::Change, Method::DELETE, &[id.as_str()])
    }
}

impl PlatformToken {
    fn into_item(self) -> Option<Item> {
        let status = match self.status.as_deref() {
            Some("ACTIVE") => Some(Status::Active),
            Some("INACTIVE") => Some(Status::Inactive),
            _ => None,
        };
        let metadata = self.metadata;
        let traits = [
            (OWNER, self.user_uuid.iter().cloned().collect()),
            (RESOURCE, self.resource.unwrap_or_default()),
            (TAGS, self.tags.unwrap_or_default()),
        ];
        let info = TokenInfo {
            id: TokenId::new(self.token_id.filter(|id| !id.is_empty())?),
            name: self.name.unwrap_or_default(),
            enabled: status != Some(Status::Inactive),
            scopes: self.scope.unwrap_or_default(),
            owner: self.user_uuid,
            // One of a person is rotated like any other: its owner is kept.
            personal: false,
            created: None,
            expires: self.expiration_date,
            last_used: metadata.as_ref().and_then(|it| it.last_used_at),
            last_used_ip: metadata.and_then(|it| it.last_client_ip),
            traits: Traits(
                traits
                    .map(|(name, values)| (name.to_owned(), values))
                    .into(),
            ),
        };
        Some(Item { info, status })
    }
}

/// Reads a page. One that does not say which it is and how many tokens there are is not a listing.
pub(super) fn read_page(answer: &Answer) -> Result<Page, CallError> {
    let page: RawPage = answer.json()?;
    let (Some(number), Some(total), Some(results)) = (page.page_number, page.total, page.results)
    else {
        return Err(answer.odd("it is not a listing"));
    };
    let items = results.into_iter().map(|token| {
        let item = token.into_item();
        item.ok_or_else(|| answer.odd("a listed token has no id"))
    });
    Ok(Page {
        number,
        total: usize::try_from(total).unwrap_or(usize::MAX),
        items: items.collect::<Result<_, _>>()?,
    })
}

pub(super) fn read_minted(answer: &Answer) -> Result<Minted, CallError> {
    let created: Created = answer.json()?;
    super::super::minted(answer, created.token, created.token_id)
}
