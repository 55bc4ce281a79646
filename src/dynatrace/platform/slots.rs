//! How many tokens an owner may have, counted before each mint: expired ones count, and so do mints that are under way or were made after the
//! listing began.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::api::OWNER;
use rotation::marker::Marker;
use rotation::token::TokenInfo;

/// The mints that a listing may not show yet, by owner.
#[derive(Default)]
pub(super) struct Slots(Mutex<HashMap<String, Vec<Mint>>>);

struct Mint {
    number: u64,
    /// When it was answered; none = it is under way.
    answered: Option<Instant>,
}

/// A slot that is held for a mint.
pub(super) struct Slot<'a> {
    slots: &'a Slots,
    owner: String,
    number: u64,
    /// Nothing was made.
    is_free: bool,
}

/// The tokens of one owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnerLoad {
    /// All of them, expired ones included.
    pub used: usize,
    /// Those of them that bear a marker of dtrotate.
    pub ours: usize,
    /// Those that have expired and still occupy a slot.
    pub expired: usize,
}

impl OwnerLoad {
    /// Counts the tokens of `owner` in a complete listing.
    pub fn count(owner: &str, tokens: &[TokenInfo], now: jiff::Timestamp) -> OwnerLoad {
        let mut load = OwnerLoad::default();
        let its = |token: &&TokenInfo| token.owner.as_deref() == Some(owner);
        for token in tokens.iter().filter(its) {
            load.used += 1;
            load.ours += usize::from(Marker::split(&token.name).1.is_some());
            load.expired += usize::from(token.expires.is_some_and(|end| end <= now));
        }
        load
    }

    /// The arithmetic, for a sentence. `minting` = so many more are being created.
    pub fn describe(&self, limit: usize, minting: usize) -> String {
        let more = match minting {
            0 => String::new(),
            number => format!("; {number} more being created"),
        };
        format!(
            "{} of {limit} tokens ({} of dtrotate, {} of others; {} of all are expired{more})",
            self.used,
            self.ours,
            self.used - self.ours,
            self.expired
        )
    }
}

impl Slots {
    /// Holds a slot for one more token of `owner`, if there is one beside those `used` by a listing that began at `listed`. `Err` = there is none, and
    /// so many mints count that the listing may not show.
    pub(super) fn hold(
        &self,
        owner: &str,
        used: usize,
        listed: Instant,
        limit: usize,
    ) -> Result<Slot<'_>, usize> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mints = all.entry(owner.to_owned()).or_default();
        mints.retain(|mint| mint.answered.is_none_or(|at| at >= listed));
        if used + mints.len() >= limit {
            return Err(mints.len());
        }
        let number = mints.last().map_or(0, |mint| mint.number + 1);
        mints.push(Mint {
            number,
            answered: None,
        });
        Ok(Slot {
            slots: self,
            owner: owner.to_owned(),
            number,
            is_free: false,
        })
    }
}

impl Slot<'_> {
    /// Nothing was made.
    pub(super) fn free(mut self) {
        self.is_free = true;
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut all = self.slots.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mints) = all.get_mut(&self.owner) else {
            return;
        };
        match self.is_free {
            true => mints.retain(|mint| mint.number != self.number),
            false => {
                let mint = mints.iter_mut().find(|mint| mint.number == self.number);
                if let Some(mint) = mint {
                    mint.answered = Some(Instant::now());
                }
            }
        }
    }
}

/// The owner that an order names.
pub(super) fn owner(traits: &rotation::token::Traits) -> Option<&str> {
    traits.0.get(OWNER)?.first().map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mint_counts_until_a_listing_that_began_after_it() {
        let slots = Slots::default();
        let before = Instant::now();
        let first = slots.hold("me", 1, before, 3).unwrap();
        let second = slots.hold("me", 1, before, 3).unwrap();
        assert!(
            slots.hold("me", 1, before, 3).is_err(),
            "both are under way"
        );
        assert!(slots.hold("you", 1, before, 3).is_ok());
        second.free();
        let second = slots.hold("me", 1, before, 3).unwrap();
        drop(first);
        assert!(
            slots.hold("me", 1, before, 3).is_err(),
            "it was made after the listing"
        );
        let after = Instant::now();
        assert_eq!(
            slots.hold("me", 2, after, 3).err(),
            Some(1),
            "one is under way"
        );
        assert!(slots.hold("me", 1, after, 3).is_ok());
        drop(second);
    }
}
