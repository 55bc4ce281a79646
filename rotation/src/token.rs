//! Tokens as the centre sees them: an id that may be shown, a value that may not, and what an issuer returns about them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use zeroize::Zeroizing;

/// The public id of a token: `dt0c01.PUBLIC` for dotted tokens (everything before the second dot), a UUID for legacy ones.
/// It may be logged and journaled.
/// Cheap to clone: a daemon has the ids of thousands of tokens in several places.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(from = "String")]
pub struct TokenId(Arc<str>);

impl TokenId {
    /// An id as an API returned it. A whole dotted token is cut to its public part, so that a value can never become an id.
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        TokenId(public_part(&text).unwrap_or(&text).into())
    }

    /// The id as Dynatrace shows it, such as `dt0c01.PUBLIC`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for TokenId {
    fn from(text: String) -> Self {
        TokenId::new(text)
    }
}

impl Serialize for TokenId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `dt0c01.PUBLIC` of `dt0c01.PUBLIC.SECRET`.
fn public_part(text: &str) -> Option<&str> {
    let mut dots = text.match_indices('.').map(|(at, _)| at);
    let (_, second) = (dots.next()?, dots.next()?);
    (text.starts_with("dt0") && second + 1 < text.len()).then(|| &text[..second])
}

/// The secret value of a token. It has no `Debug`, no `Display` and no `Serialize`; it is wiped when dropped. It passes only
/// from the issuer through the runner to the secret store.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenValue(Zeroizing<String>);

impl TokenValue {
    /// A value as the issuer or the secret store returned it.
    pub fn new(value: impl Into<String>) -> Self {
        TokenValue(Zeroizing::new(value.into()))
    }

    /// The value itself, for the one line that puts it into a request.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The id that a dotted value shows; `None` for a legacy opaque one, whose id only a look-up returns.
    pub fn id(&self) -> Option<TokenId> {
        public_part(&self.0).map(|public| TokenId(public.into()))
    }
}

/// What an issuer returns about a token; never its value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenInfo {
    /// The public part, which is in the value as well.
    pub id: TokenId,
    /// The full name, marker included.
    pub name: String,
    /// Not disabled (v1: not revoked). An expired token can still be enabled.
    pub enabled: bool,
    /// What the token may do, as plain strings in the order the issuer gave.
    pub scopes: Vec<String>,
    /// The user who owns it, where the issuer returns it.
    pub owner: Option<String>,
    /// A personal access token.
    pub personal: bool,
    /// When it was created; none = the API does not tell.
    pub created: Option<Timestamp>,
    /// When it ends; `None` = never.
    pub expires: Option<Timestamp>,
    /// Last use as the issuer knows it (coarse, may lag); `None` = never used or not returned.
    pub last_used: Option<Timestamp>,
    /// The address of the last use.
    pub last_used_ip: Option<String>,
    /// Owner, resources, tags, type and seed, as far as the kind has them.
    pub traits: Traits,
}

/// What a successor must have in common with a token beside its rights, such as owner, resource and tags: names and values as the issuer
/// uses them. The machine stores and compares them, no more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Traits(pub BTreeMap<String, Vec<String>>);

impl Traits {
    /// The kind has none, or the token has none of them.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names of those that differ in `other`, as far as `other` has them: what an issuer does not return cannot be compared. The order of
    /// values does not matter.
    pub fn missing_in(&self, other: &Traits) -> Vec<&str> {
        let sorted = |values: &Vec<String>| {
            let mut values = values.clone();
            values.sort();
            values
        };
        let differs = |(name, values): &(&String, &Vec<String>)| {
            let told = other.0.get(*name).map(sorted);
            told.is_some_and(|told| told != sorted(values))
        };
        let all = self.0.iter().filter(differs);
        all.map(|(name, _)| name.as_str()).collect()
    }
}

/// A value that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Trial {
    /// The token that it is.
    pub token: TokenInfo,
    /// A call with the value succeeded. Otherwise its token is listed as it should be, and nothing that it may call could prove more.
    pub proven: bool,
}

/// What to mint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MintRequest {
    /// Full name with a fresh marker.
    pub name: String,
    /// What the new token may do.
    pub scopes: Vec<String>,
    /// When it ends, absolute; `None` = never. It cannot be changed later.
    pub expires: Option<Timestamp>,
    /// The same, as a length from now, for an issuer that takes only that.
    pub lifetime: Option<std::time::Duration>,
    /// What the new token has in common with its predecessor beside the rights.
    pub traits: Traits,
}

/// A minted token. The id is missing where neither the answer nor the value shows it.
pub struct Minted {
    /// The public id, if known already.
    pub id: Option<TokenId>,
    /// The value: the only copy there is.
    pub value: TokenValue,
}

/// The scopes with which a token can create, change and delete tokens, or give rights to others: `apiTokens.write` (tokens API v2),
/// `TenantTokenManagement` (v1, "Token management" in the user interface), their names as platform scopes, those of the account API, and
/// those of a Managed cluster. It is not proven that Dynatrace refuses scopes that the creator lacks, so each of them is as good as
/// administrator. Source: the scope tables of Dynatrace's documentation of these APIs.
const MANAGING: [&str; 10] = [
    "apiTokens.write",
    "TenantTokenManagement",
    "environment-api:api-tokens:write",
    "api-tokens:tokens:write",
    "platform-token:tokens:manage",
    "platform-token:tokens:write",
    "account-idm-write",
    "ClusterTokenManagement",
    "EnvironmentTokenManagement",
    "ServiceProviderAPI",
];

/// Rights behind an id, for people; nothing for a kind that has none.
pub fn in_brackets(scopes: &[String]) -> String {
    match scopes.is_empty() {
        true => String::new(),
        false => format!(" ({})", scopes.join(", ")),
    }
}

/// `iam:policies:write` and the like.
fn changes_rights(scope: &str) -> bool {
    scope.starts_with("iam:") && scope.ends_with(":write")
}

/// A token with these scopes can manage tokens. Such rights are minted for an environment's management token only.
pub fn manages_tokens(scopes: &[String]) -> bool {
    scopes
        .iter()
        .any(|scope| MANAGING.contains(&scope.as_str()) || changes_rights(scope))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_dotted_value_is_what_stands_before_the_second_dot() {
        let value = TokenValue::new("dt0c01.ABCDEFGHIJKLMNOPQRSTUVWX.SECRETSECRET");
        assert_eq!(
            value.id().unwrap().as_str(),
            "dt0c01.ABCDEFGHIJKLMNOPQRSTUVWX"
        );
        assert!(TokenValue::new("fsjhkeiu3483kfjskdf2_").id().is_none());
        assert!(TokenValue::new("").id().is_none());
        assert!(TokenValue::new("dt0c01.ABC").id().is_none());
    }

    #[test]
    fn p5_a_value_given_as_an_id_is_cut() {
        assert_eq!(
            TokenId::new("dt0c01.PUBLIC.SECRET").as_str(),
            "dt0c01.PUBLIC"
        );
        assert_eq!(TokenId::new("dt0c01.PUBLIC").as_str(), "dt0c01.PUBLIC");
    }

    #[test]
    fn either_generations_write_scope_manages_tokens() {
        let has = |scopes: &[&str]| {
            manages_tokens(&scopes.iter().map(|&s| s.to_owned()).collect::<Vec<_>>())
        };
        assert!(has(&["metrics.ingest", "apiTokens.write"]));
        assert!(has(&["TenantTokenManagement"]));
        assert!(has(&["storage:logs:read", "platform-token:tokens:write"]));
        assert!(has(&["iam:policies:write"]) && has(&["ClusterTokenManagement"]));
        assert!(!has(&["iam:policies:read"]));
        assert!(!has(&["apiTokens.read", "activeGateTokenManagement.write"]));
        assert!(!has(&[]));
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn fuzz_p5_no_text_of_a_token_becomes_an_id(text in "(dt0[cs][0-9]{2}\\.)?[A-Z0-9.]{0,20}") {
            let id = TokenId::new(text.clone());
            let dots = id.as_str().matches('.').count();
            assert!(!text.starts_with("dt0") || dots < 2 || text.ends_with('.'), "{text}");
        }
    }
}
