//! The rules of the protocol, switched off one at a time: what a command does, what comes of it or what is written down is bent on its way
//! between the shipped machine and the world. A rule that matters shows as a violation.

use std::sync::Arc;

use rotation::command::{Command, Outcome, SecretSnapshot, TokenAction};
use rotation::error::ErrorKind;
use rotation::marker::Marker;
use rotation::record::{Record, RetiringState, Work};
use rotation::request::Listing;

use super::world::World;

/// A rule that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// Recovery deletes although the secret has not moved past the base.
    NoFence,
    /// The store uses whatever version is current, not the base that was written down.
    NoBase,
    /// Every mint of a secret bears the same marker.
    NoNewMark,
    /// A former attempt is forgotten.
    NoOpen,
    /// Tokens with our marker that nobody knows are left alone.
    NoPrefix,
    /// Older versions are not looked at before a token is ended.
    NoHistory,
    /// A rejected store is taken for lost without a look at who stands in its place.
    NoVersionPlusOne,
    /// The due instant that was served is not written down.
    NoDue,
    /// A token is disabled without a claim in the journal.
    NoRetireClaim,
    /// No look at the secret before a disable or delete.
    NoCheckBefore,
    /// No look at the token before its deletion.
    NoQuarantineCheck,
    /// 404 for a token that was never seen counts as deleted.
    Gone,
    /// A token that is put out of use has no grace.
    NoGrace,
    /// No check-and-set on the secret.
    NoCheckAndSet,
    /// No check-and-set on the journal.
    NoJournalCheckAndSet,
    /// A disable whose outcome is unclear leaves no trace.
    NoTaint,
}

impl Mutation {
    pub fn command(&self, world: &mut World, actor: usize, command: Command) -> Command {
        let versions = world.versions.len() as u64;
        match (self, command) {
            (Mutation::NoBase | Mutation::NoCheckAndSet, Command::Store { source, .. }) => {
                world.refresh_read(actor);
                Command::Store {
                    base: versions,
                    source,
                }
            }
            (Mutation::NoNewMark, Command::Mint(mut order)) => {
                let (base, marker) = Marker::split(&order.name);
                if let Some(mut marker) = marker {
                    marker.attempt = 1;
                    order.name = marker.name(&base, 100);
                }
                Command::Mint(order)
            }
            (Mutation::NoJournalCheckAndSet, Command::WriteJournal { record, .. }) => {
                Command::WriteJournal {
                    cas: world.journal_version(),
                    record,
                }
            }
            (_, command) => command,
        }
    }

    /// What was written down.
    pub fn record(&self, record: &mut Record) {
        match self {
            Mutation::NoOpen => record.open.clear(),
            Mutation::NoDue => record.last_due = None,
            Mutation::NoGrace => {
                for entry in &mut record.retiring {
                    if entry.state == RetiringState::Grace {
                        entry.due = entry.since;
                    }
                }
            }
            Mutation::NoTaint => {
                for entry in &mut record.retiring {
                    entry.disable_unconfirmed_since = None;
                }
            }
            _ => {}
        }
    }

    pub fn outcome(
        self,
        world: &World,
        actor: usize,
        command: &Command,
        outcome: Outcome,
    ) -> Outcome {
        let retires = world.work(actor);
        match (self, command, outcome) {
            (Mutation::NoFence, Command::ReadSecret, Outcome::Secret(Ok(seen)))
                if retires == Some(Work::Cleanup) =>
            {
                // As if the secret had moved on by itself.
                Outcome::Secret(Ok(match seen {
                    SecretSnapshot::Present { version, value } => SecretSnapshot::Present {
                        version: version + 1,
                        value,
                    },
                    other => other,
                }))
            }
            (Mutation::NoPrefix, Command::List, Outcome::Listed(Ok(listing))) => {
                Outcome::Listed(Ok(only_open(world, &listing)))
            }
            (Mutation::NoHistory, Command::ReadVersion(_), Outcome::Version(Ok(seen)))
                if !matches!(retires, Some(Work::Rotate { .. })) =>
            {
                Outcome::Version(Ok(empty(seen)))
            }
            (Mutation::NoVersionPlusOne, Command::ReadVersion(_), Outcome::Version(Ok(seen)))
                if matches!(retires, Some(Work::Rotate { .. })) =>
            {
                Outcome::Version(Ok(empty(seen)))
            }
            (Mutation::NoCheckBefore, _, Outcome::Secret(Ok(seen)))
                if retires.is_none() && world.retires() =>
            {
                Outcome::Secret(Ok(empty(seen)))
            }
            (Mutation::NoCheckBefore, _, Outcome::Confirmed(Ok(seen)))
                if retires.is_none() && world.retires() =>
            {
                Outcome::Confirmed(Ok(empty(seen)))
            }
            (Mutation::NoQuarantineCheck, Command::LookUp(_), Outcome::Token(Ok(mut info))) => {
                info.enabled &= !world.in_quarantine(&info.id);
                Outcome::Token(Ok(info))
            }
            (
                Mutation::Gone,
                Command::Change(TokenAction::Delete, _),
                Outcome::Changed(Err(error)),
            ) if error.kind == ErrorKind::Gone => Outcome::Changed(Ok(())),
            (_, _, outcome) => outcome,
        }
    }
}

fn empty(seen: SecretSnapshot) -> SecretSnapshot {
    match seen {
        SecretSnapshot::Present { version, .. } => SecretSnapshot::Present {
            version,
            value: None,
        },
        other => other,
    }
}

/// A listing without the tokens that no open attempt asks for.
pub fn only_open(world: &World, listing: &Listing) -> Listing {
    let open = world.journal.iter().flat_map(|record| record.open.iter());
    let open: Vec<u64> = open.map(|open| open.attempt).collect();
    let mut tokens = (*listing.tokens).clone();
    tokens.retain(|token| {
        Marker::split(&token.name)
            .1
            .is_some_and(|marker| open.contains(&marker.attempt))
    });
    Listing {
        at: listing.at,
        tokens: Arc::new(tokens),
    }
}
