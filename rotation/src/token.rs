//! Tokens as the centre sees them: an id that may be shown, a value that may not, and a name with our marker.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The public id of a token: `dt0c01.PUBLIC` for dotted tokens (everything before the second dot), a UUID for legacy ones.
/// It may be logged and journaled.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenId(String);

impl TokenId {
    /// Takes an id as an API gave it. A text that is a whole dotted token (an API must never give one) is cut to its public
    /// part, so that a value cannot become an id.
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        match public_part(&text) {
            Some(public) => TokenId(public.to_owned()),
            None => TokenId(text),
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
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

/// The secret value of a token. It has no `Debug`, no `Display` and no `Serialize`; it is wiped when dropped. It travels only
/// from the issuer through the runner to the secret store.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenValue(Zeroizing<String>);

impl TokenValue {
    /// Takes the value over.
    pub fn new(value: impl Into<String>) -> Self {
        TokenValue(Zeroizing::new(value.into()))
    }

    /// The value itself, for the one line that puts it into a request.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The id that a dotted value shows by itself; `None` for a legacy opaque one, whose id only a look-up tells.
    pub fn id(&self) -> Option<TokenId> {
        public_part(&self.0).map(|public| TokenId(public.to_owned()))
    }
}

/// The mark in a token's name: whose it is and which attempt minted it. `[dtrotate:INSTALLATION.SECRET.N]`
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Marker {
    /// Installation and secret.
    pub epoch: Epoch,
    /// Which attempt of that secret; counts up and never goes back.
    pub attempt: u64,
}

/// Installation and secret, the part of a marker that stays the same for all tokens of one secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Epoch {
    /// Short random identifier of the installation (one journal).
    pub installation: String,
    /// Short random identifier of the secret.
    pub secret: String,
}

const OPEN: &str = "[dtrotate:";

impl Marker {
    /// The full name of a token: `BASE [dtrotate:INSTALLATION.SECRET.N]`.
    pub fn name(&self, base: &str) -> String {
        format!("{base} {self}").trim_start().to_owned()
    }

    /// Splits a token's name into the name people gave and the marker, if there is one at its end. Former markers that a person
    /// or an older version left in front of it are stripped, too.
    pub fn split(name: &str) -> (String, Option<Marker>) {
        let (mut base, mut found) = (name.trim_end(), None);
        while let Some((rest, marker)) = strip(base) {
            found.get_or_insert(marker);
            base = rest;
        }
        (base.to_owned(), found)
    }
}

/// Takes one marker off the end of a name.
fn strip(name: &str) -> Option<(&str, Marker)> {
    let (rest, inner) = name.strip_suffix(']')?.rsplit_once(OPEN)?;
    let mut parts = inner.split('.');
    let (installation, secret, attempt) = (parts.next()?, parts.next()?, parts.next()?);
    let short = |part: &str| {
        !part.is_empty() && part.len() <= 32 && part.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    if parts.next().is_some() || !short(installation) || !short(secret) {
        return None;
    }
    let marker = Marker {
        epoch: Epoch {
            installation: installation.to_owned(),
            secret: secret.to_owned(),
        },
        attempt: attempt.parse().ok()?,
    };
    Some((rest.trim_end(), marker))
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Epoch {
            installation,
            secret,
        } = &self.epoch;
        write!(f, "{OPEN}{installation}.{secret}.{}]", self.attempt)
    }
}

/// What an issuer tells about a token; never its value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenInfo {
    /// The public id.
    pub id: TokenId,
    /// The full name, marker included.
    pub name: String,
    /// Not disabled (v1: not revoked). An expired token can still be enabled.
    pub enabled: bool,
    /// What the token may do, as plain strings in the order the issuer gave.
    pub scopes: Vec<String>,
    /// The user who owns it, where the issuer tells.
    pub owner: Option<String>,
    /// A personal access token.
    pub personal: bool,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// When it ends; `None` = never.
    pub expires: Option<Timestamp>,
    /// Last use as the issuer knows it (coarse, may lag); `None` = never used or not told.
    pub last_used: Option<Timestamp>,
    /// The address of the last use.
    pub last_used_ip: Option<String>,
}

/// What to mint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MintOrder {
    /// Full name with a fresh marker.
    pub name: String,
    /// What the new token may do.
    pub scopes: Vec<String>,
    /// When it ends, absolute; `None` = never. It cannot be changed later.
    pub expires: Option<Timestamp>,
    /// The same, as a length from now, for an issuer that takes only that.
    pub lifetime: Option<std::time::Duration>,
}

/// A minted token. The id is missing where the issuer does not tell it and the value does not show it.
pub struct Minted {
    /// The public id, if known already.
    pub id: Option<TokenId>,
    /// The value: the only copy there is.
    pub value: TokenValue,
}

/// What an issuer's kind of token can do; the machine plans by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Abilities {
    /// A token can be disabled and enabled again. Where not, retirement goes from grace through quarantine straight to deletion.
    pub disable: bool,
    /// A token can be looked up by its value. Where not, its id must show in the value.
    pub look_up_by_value: bool,
    /// The issuer tells when a token was last used.
    pub last_used: bool,
}

/// The scopes with which a token can create, change and delete tokens: `apiTokens.write` (tokens API v2) and
/// `TenantTokenManagement` (v1, "Token management" in the user interface). It is not proven that Dynatrace refuses scopes that the
/// creator lacks, so each of them is as good as administrator. Source: the scope tables of Dynatrace's documentation of both APIs.
const MANAGING: [&str; 2] = ["apiTokens.write", "TenantTokenManagement"];

/// A token with these scopes can manage tokens. Such rights are minted for an environment's management token only.
pub fn manages_tokens(scopes: &[String]) -> bool {
    scopes
        .iter()
        .any(|scope| MANAGING.contains(&scope.as_str()))
}

#[cfg(test)]
mod tests {
    use proptest::strategy::Strategy;

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
    fn a_marker_survives_the_way_through_a_name() {
        let marker = Marker {
            epoch: Epoch {
                installation: "k3v9".into(),
                secret: "a7q2".into(),
            },
            attempt: 17,
        };
        let name = marker.name("CI metrics");
        assert_eq!(name, "CI metrics [dtrotate:k3v9.a7q2.17]");
        assert_eq!(Marker::split(&name), ("CI metrics".into(), Some(marker)));
    }

    #[test]
    fn only_the_last_marker_counts_and_all_are_stripped() {
        let (base, marker) = Marker::split("x [dtrotate:a.b.1] [dtrotate:a.b.2]");
        assert_eq!((base.as_str(), marker.unwrap().attempt), ("x", 2));
        assert_eq!(Marker::split("[dtrotate:a.b.3]").0, "");
    }

    #[test]
    fn either_generations_write_scope_manages_tokens() {
        let has = |scopes: &[&str]| {
            manages_tokens(&scopes.iter().map(|&s| s.to_owned()).collect::<Vec<_>>())
        };
        assert!(has(&["metrics.ingest", "apiTokens.write"]));
        assert!(has(&["TenantTokenManagement"]));
        assert!(!has(&["apiTokens.read", "activeGateTokenManagement.write"]));
        assert!(!has(&[]));
    }

    #[test]
    fn what_only_looks_like_a_marker_is_a_name() {
        for name in [
            "x [dtrotate:a.b]",
            "x [dtrotate:a.b.c]",
            "x [dtrotate:a.b.1.2]",
            "x [dtrotate:..1]",
            "x [dtrotate:a.b.1] y",
            "plain",
        ] {
            assert_eq!(Marker::split(name), (name.to_owned(), None), "{name}");
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn fuzz_any_name_is_split_and_put_together_again(
            pieces in proptest::collection::vec(
                proptest::prelude::prop_oneof![
                    proptest::sample::select(&["[dtrotate:", "a.b.1", "]", " ", ".", "ü", "[dtrotate:a.b.18446744073709551615]"][..])
                        .prop_map(str::to_owned),
                    ".{0,8}",
                ],
                0..8,
            ),
            attempt in proptest::prelude::any::<u64>(),
        ) {
            let name = pieces.concat();
            let (base, marker) = Marker::split(&name);
            // Nothing of ours is left at the end, and what people wrote is at the beginning.
            assert_eq!(Marker::split(&base), (base.clone(), None));
            assert!(name.starts_with(&base));
            if let Some(marker) = marker {
                assert_eq!(Marker::split(&marker.name(&base)).1, Some(marker));
            }
            let epoch = Epoch { installation: "k3v9aa".into(), secret: "a7q2".into() };
            let marker = Marker { epoch, attempt };
            assert_eq!(Marker::split(&marker.name(&base)).1, Some(marker));
        }

        #[test]
        fn fuzz_p5_no_text_of_a_token_becomes_an_id(text in "(dt0[cs][0-9]{2}\\.)?[A-Z0-9.]{0,20}") {
            let id = TokenId::new(text.clone());
            let dots = id.as_str().matches('.').count();
            assert!(!text.starts_with("dt0") || dots < 2 || text.ends_with('.'), "{text}");
        }
    }
}
