//! Reading one token, by what its kind can do.

use jiff::Timestamp;

use super::capabilities::Absence;
use super::context::Context;
use super::error::CallError;
use super::record::Retiring;
use super::request::after;
use super::token::TokenId;
use super::view::{Fact, Lookup};

/// One token, as read in this run: by its id, or as an item of a complete listing that was taken after the last write (rule A17).
pub fn read_token(cx: &Context<'_>, id: &TokenId) -> Fact<Result<Lookup, CallError>> {
    if cx.env().capabilities.read_by_id {
        return cx.view.token(id).cloned();
    }
    let listing = cx.view.current_listing()?;
    let item = listing.tokens.iter().find(|token| token.id == *id);
    Ok(Ok(item.map_or(Lookup::NotFound, |info| {
        Lookup::Found(info.clone())
    })))
}

/// Is it proven that a token that was just not found is gone?
pub enum Absent {
    Proven,
    /// Not yet: a second listing is needed, not before this time.
    Until(Timestamp),
}

/// What proves that a retiring token is gone. Absence in a single answer never does.
pub fn absence(cx: &Context<'_>, entry: &Retiring) -> Fact<Absent> {
    match cx.env().capabilities.absence {
        Absence::Answer => {
            cx.view.not_found_is_trusted()?;
            Ok(Absent::Proven)
        }
        Absence::Listing => {
            let listing = cx.view.current_listing()?;
            let has = |id: &TokenId| listing.tokens.iter().any(|token| token.id == *id);
            let complete = cx.record.current_id().is_none_or(has);
            let settle = cx.plan().settle;
            let second = entry.missed.map(|missed| after(missed, settle));
            Ok(match second {
                Some(at) if complete && listing.at >= at => Absent::Proven,
                Some(at) if complete => Absent::Until(at),
                _ => Absent::Until(cx.now.after(cx.plan().settle)),
            })
        }
    }
}
