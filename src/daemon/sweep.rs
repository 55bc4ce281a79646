//! The sweep: one listing per environment is compared with the documents of all its secrets; and what is watched beside it.

use std::sync::Arc;

use jiff::SignedDuration;

use crate::clock;
use crate::rotation::concerns;
use crate::rotation::event::EventName;
use crate::rotation::facts::{Listing, Verdict};
use crate::rotation::ports::TokenIssuer;
use crate::telemetry::Line;

use super::Life;
use super::board::{Board, failure_line, secret_key};
use super::job::Office;
use super::roster::Entry;

/// Clocks that differ by more than this: nothing is disabled or deleted.
const SKEW: SignedDuration = SignedDuration::from_mins(5);

impl Life {
    /// Compares Dynatrace with the journal, an environment at a time.
    pub(super) async fn sweep(&mut self) {
        let names: Vec<String> = self.office.wired.issuers.keys().cloned().collect();
        for environment in names {
            if !self.office.board.can_start(&environment) {
                continue;
            }
            let Some(issuer) = self.office.wired.issuers.get(&environment).cloned() else {
                continue;
            };
            let at = clock::now();
            let listed = issuer.list_marked().await;
            self.office
                .board
                .called(&environment, "list", listed.as_ref().err());
            let Ok(tokens) = listed else { continue };
            let now = clock::now();
            for entry in self.roster.values_mut() {
                let here = entry.plan.coordinates.environment == environment;
                if here
                    && !entry.busy
                    && entry
                        .record()
                        .is_some_and(|record| concerns(record, &tokens))
                {
                    entry.hurry(now);
                }
            }
            let listing = Listing {
                at,
                tokens: Arc::new(tokens),
            };
            self.listings.insert(environment, listing);
        }
        self.ring();
        self.dispatch();
        // A listing is a moment's picture: it serves the runs that it starts, and no later ones.
        self.listings.clear();
    }
}

/// The local clock and the servers' agree, as far as they told. A disagreement is one ERROR until it ends.
pub(super) fn clocks_agree(office: &Office) -> bool {
    let mut agree = true;
    for (name, clock) in office.wired.clocks() {
        let key = format!("clock {name}");
        let ahead = clock.skew().map_or(SignedDuration::ZERO, |skew| skew.ahead);
        if ahead.abs() > SKEW {
            let message = format!(
                "the clock of {name} is {} s {} of this machine's; nothing is disabled or deleted until they agree. Check the time \
                 synchronisation of both",
                ahead.abs().as_secs(),
                if ahead.is_negative() {
                    "behind"
                } else {
                    "ahead"
                }
            );
            office
                .board
                .raise(key, Line::new(EventName::ClockSkew, message), true);
            agree = false;
        } else {
            office.board.settle(&key);
        }
    }
    agree
}

/// Keeps the board in line with what the journal says of a secret: stuck is repeated until it is over.
pub(super) fn note_troubles(board: &Board, name: &str, entry: &Entry, verdict: &Verdict) {
    let key = secret_key(name);
    let environment = &entry.plan.coordinates.environment;
    if let Verdict::Unreadable(why) = verdict {
        let message = format!("the journal document of this secret cannot be read: {why}");
        let line = Line::new(EventName::JournalUnreadable, message).secret(name, environment);
        board.raise(key, line, true);
        return;
    }
    let failure = entry.record().and_then(|record| record.failure.as_ref());
    match failure.filter(|failure| failure.retry_at.is_none()) {
        // The run that found it has told it already.
        Some(failure) => board.raise(
            key,
            failure_line(name, environment, &failure.message),
            false,
        ),
        None => {
            board.settle(&key);
        }
    }
}
