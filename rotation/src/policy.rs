//! Preconditions of a rotation: whether a secret's token can be rotated at all, and how long its successor lives. Evaluated by the machine
//! before a mint, and by `dtrotate check` before anything is due.

use std::time::Duration;

use jiff::Timestamp;

use super::capabilities::Expiry;
use super::command::{SecretSnapshot, ValueRef};
use serde::{Deserialize, Serialize};

use super::plan::{Coordinates, Desired, Lifetime, Plan};
use super::record::{Current, Reason};
use super::token::{TokenInfo, manages_tokens};

/// What our field holds.
///
/// # Errors
/// There is nothing to rotate: the code, and the sentence with what to do.
pub fn value_of<'a>(
    secret: &'a SecretSnapshot,
    place: &Coordinates,
    name: &str,
) -> Result<&'a ValueRef, (Reason, String)> {
    match secret {
        SecretSnapshot::Present {
            value: Some(value), ..
        } => match place.kind.mismatch(value.id.as_ref()) {
            None => Ok(value),
            Some(why) => Err((Reason::TokenKind, format!("{place} holds {why}"))),
        },
        SecretSnapshot::Present { .. } => Err((
            Reason::FieldMissing,
            format!(
                "{place} has no usable value: this field is missing, empty or not a string; put the token there, or set `field` to the one \
                 that has it, then run `dtrotate rotate {name}` or wait for the next due time"
            ),
        )),
        SecretSnapshot::Deleted { version } => Err((
            Reason::SecretMissing,
            format!(
                "the latest version ({version}) of {place} is deleted; undelete it or write the token again"
            ),
        )),
        SecretSnapshot::Absent => Err((
            Reason::SecretMissing,
            match without_data(&place.path) {
                Some(cure) => format!("there is nothing at {place}; {cure}"),
                None => format!(
                    "there is nothing at {place}; write the token there, or correct the path in the configuration. `create` and `scopes` make a \
                     first token only where no token was before"
                ),
            },
        )),
    }
}

/// What to do where there is nothing at a path that begins as in the addresses of Vault's API and the output of `vault kv put`.
pub fn without_data(path: &str) -> Option<String> {
    let path = path.strip_prefix("data/")?;
    Some(format!(
        "Vault's API puts `data/` in front of every path: write path = \"{path}\" in the configuration, without it"
    ))
}

/// Why a token that the environment knows cannot be rotated: the code, and the sentence with what to do.
pub fn unfit(info: &TokenInfo, place: &Coordinates, may_manage: bool) -> Option<(Reason, String)> {
    let id = &info.id;
    if info.personal {
        let message = format!(
            "{id} in {place} is a personal access token, which only its owner can replace; put an API token there"
        );
        return Some((Reason::TokenPersonal, message));
    }
    if manages_tokens(&info.scopes) && !may_manage {
        let message = format!(
            "{id} in {place} can manage tokens, and such rights are cloned only for an environment's own management token; take \
             the right away or remove the secret from the configuration"
        );
        return Some((Reason::TokenManages, message));
    }
    if !info.enabled {
        let message = format!(
            "a person disabled {id} in {place}, so no new one is created; enable it in Dynatrace or put another token there"
        );
        return Some((Reason::TokenDisabled, message));
    }
    None
}

/// How long the successor of a token lives: none = without an end.
///
/// # Errors
/// It would expire too soon, with the arithmetic; or how long it is to live is not known.
pub fn lifetime(
    plan: &Plan,
    expiry: Expiry,
    old: &Current,
    now: Timestamp,
) -> Result<Option<Duration>, String> {
    let id = &old.id;
    let unknown = || {
        format!(
            "the original lifetime of {id} is not known, so its successor cannot get the same; set `lifetime` of this secret"
        )
    };
    let minted = old.lifetime.and_then(|life| Duration::try_from(life).ok());
    let between =
        |from, to: Timestamp| Duration::try_from(to.duration_since(from)).unwrap_or_default();
    let total = match (plan.lifetime, minted, old.expires, old.created) {
        (Lifetime::For(length), ..) => Some(length),
        (Lifetime::Never, ..) => None,
        (Lifetime::Inherit, Some(life), ..) => Some(life),
        (Lifetime::Inherit, None, None, _) => longest(expiry),
        (Lifetime::Inherit, None, Some(expires), Some(created)) => Some(between(created, expires)),
        (Lifetime::Inherit, None, Some(expires), None) if expiry == Expiry::Optional => {
            Some(between(now, expires))
        }
        // What is left of it would become less with each rotation.
        (Lifetime::Inherit, None, Some(_), None) => return Err(unknown()),
    };
    let total = match (total, expiry) {
        (None, Expiry::Required) => return Err(unknown()),
        (None, _) => return Ok(None),
        (Some(total), Expiry::AtMost(most)) => total.min(most),
        (Some(total), _) => total,
    };
    if total > plan.grace * 2 {
        return Ok(Some(total));
    }
    Err(format!(
        "{id} has a lifetime of {} s, which is not longer than twice the grace ({} s), so its successor would expire too soon; set \
         `lifetime` or a shorter `grace`",
        total.as_secs(),
        plan.grace.as_secs()
    ))
}

/// How long the first token of a secret lives: none = without an end.
pub fn first_lifetime(plan: &Plan, expiry: Expiry) -> Option<Duration> {
    match plan.lifetime {
        Lifetime::For(length) => Some(longest(expiry).map_or(length, |most| most.min(length))),
        Lifetime::Never => None,
        Lifetime::Inherit => longest(expiry),
    }
}

/// The longest life that a kind allows. A token for which nothing shorter was chosen gets it, so that it ends even if it is left behind.
fn longest(expiry: Expiry) -> Option<Duration> {
    match expiry {
        Expiry::AtMost(most) => Some(most),
        Expiry::Optional | Expiry::Required => None,
    }
}

/// What the current token lacks or has beyond what the configuration asks for. The next rotation applies it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// Rights that it lacks.
    pub missing: Vec<String>,
    /// Rights that it has and should not have.
    pub surplus: Vec<String>,
    /// Its name without marker, if that should be another one.
    pub name: Option<String>,
}

/// How the current token, with these rights and this name without marker, differs from what is desired; none = it does not.
pub fn drift(desired: &Desired, has: &[String], name_base: &str) -> Option<Drift> {
    let lacking = |all: &[String], from: &[String]| -> Vec<String> {
        let lacking = all.iter().filter(|scope| !from.contains(scope));
        lacking.cloned().collect()
    };
    let scopes = desired.scopes.as_deref();
    let drift = Drift {
        missing: scopes.map_or(vec![], |scopes| lacking(scopes, has)),
        surplus: scopes.map_or(vec![], |scopes| lacking(has, scopes)),
        name: desired
            .name
            .as_ref()
            .filter(|name| *name != name_base)
            .map(|_| name_base.to_owned()),
    };
    (drift != Drift::default()).then_some(drift)
}

impl std::fmt::Display for Drift {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts = vec![];
        if !self.missing.is_empty() {
            parts.push(format!("it lacks {}", self.missing.join(", ")));
        }
        if !self.surplus.is_empty() {
            parts.push(format!("it has {} in addition", self.surplus.join(", ")));
        }
        if let Some(name) = &self.name {
            parts.push(format!("its name is {name:?}"));
        }
        f.write_str(&parts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Kind, Place};

    /// `vault kv put` prints `secret/data/app` for `app`.
    #[test]
    fn p7_a_path_as_the_api_has_it_is_corrected_where_nothing_is_found() {
        let message = |path: &str| {
            let place = Place {
                mount: "secret".into(),
                fields: vec!["token".into()],
                environment: "prod".into(),
                base_url: "https://abc.live.dynatrace.com".into(),
                kind: Kind::Api,
            };
            let nothing = SecretSnapshot::Absent;
            let refused = value_of(&nothing, &place.at(path), "a");
            refused.expect_err("there is nothing").1
        };
        let text = message("data/app");
        assert!(
            text.starts_with("there is nothing at secret/data/app#token")
                && text.contains("write path = \"app\""),
            "{text}"
        );
        for path in ["app", "database/app", "app/data/x"] {
            let text = message(path);
            assert!(text.contains("write the token there"), "{text}");
        }
    }
}
