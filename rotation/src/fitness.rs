//! Whether a secret's token can be rotated at all, and how long its successor lives: asked by the machine before a mint, and by
//! `dtrotate check` before anything is due.

use std::time::Duration;

use jiff::Timestamp;

use super::facts::{Holds, Seen};
use super::plan::{Coordinates, Lifetime, Plan};
use super::record::Reason;
use super::token::{TokenId, TokenInfo, manages_tokens};

/// What our field holds.
///
/// # Errors
/// There is nothing to rotate: the code, and the sentence with what to do.
pub fn holding<'a>(
    seen: &'a Seen,
    place: &Coordinates,
    name: &str,
) -> Result<&'a Holds, (Reason, String)> {
    match seen {
        Seen::Present {
            holds: Some(holds), ..
        } => Ok(holds),
        Seen::Present { .. } => Err((
            Reason::FieldMissing,
            format!(
                "{place} has no usable value: the field is missing, blank or no string; put the token there, then run \
                 `dtrotate rotate {name}` or wait for the next due time"
            ),
        )),
        Seen::Deleted { version } => Err((
            Reason::SecretMissing,
            format!(
                "the latest version ({version}) of {place} is deleted; undelete it or write the token again"
            ),
        )),
        Seen::Absent => Err((
            Reason::SecretMissing,
            format!(
                "there is nothing at {place}; write the token there, or correct the path in the configuration"
            ),
        )),
    }
}

/// Why this token, which the environment knows, cannot be rotated: the code, and the sentence with what to do.
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
            "a person disabled {id} in {place}, so no new one is made for it; enable it in Dynatrace or put another token there"
        );
        return Some((Reason::TokenDisabled, message));
    }
    None
}

/// How long the successor of a token shall live: none = for ever.
///
/// # Errors
/// It would end too soon, with the arithmetic.
pub fn lifetime(
    plan: &Plan,
    id: &TokenId,
    created: Option<Timestamp>,
    expires: Option<Timestamp>,
    now: Timestamp,
) -> Result<Option<Duration>, String> {
    let total = match (plan.lifetime, expires) {
        (Lifetime::Never, _) | (Lifetime::Inherit, None) => return Ok(None),
        (Lifetime::For(length), _) => length,
        (Lifetime::Inherit, Some(expires)) => {
            let from = created.unwrap_or(now);
            Duration::try_from(expires.duration_since(from)).unwrap_or_default()
        }
    };
    if total > plan.grace * 2 {
        return Ok(Some(total));
    }
    Err(format!(
        "{id} lived for {} s in all, which is not longer than twice the grace ({} s), so its successor would end too soon; set \
         `lifetime` or a shorter `grace`",
        total.as_secs(),
        plan.grace.as_secs()
    ))
}
