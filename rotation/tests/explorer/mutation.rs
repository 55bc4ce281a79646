//! The rules of the protocol, switched off one at a time: what a command does, what comes of it or what is written down is changed on its way
//! between the shipped machine and the world. A rule that matters shows as a violation.

use std::sync::Arc;

use rotation::command::{Command, Outcome, SecretSnapshot, TokenAction};
use rotation::error::{ErrorKind, Service};
use rotation::marker::{Marker, NameDigest};
use rotation::record::{Attempt, Record, RetiringState, Work};
use rotation::request::Listing;
use rotation::token::{TokenId, TokenInfo};

use super::world::{TICK, World, epoch, error};

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
    /// A rejected store is taken for lost without a look at what is in its place.
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
    /// A1: the name of the token behind the minted value is not compared with the one that was ordered.
    NoIdentity,
    /// A2: a retiring token is ended without a look at its name.
    NoProof,
    /// A2: what is done under a claim to end a token was not proven by this run.
    NoProofInThisRun,
    /// A2: an answer about another token than the one asked for is believed.
    NoAnswerCheck,
    /// A3: rights that only the journal knows are minted.
    RecordedRights,
    /// A4: the document keeps no digests of names.
    NoDigests,
    /// A4: every number in a marker is believed.
    NoNumberLimit,
    /// A5: a run that lost the memory of its attempt begins the next one under the same claim.
    NoLostMemory,
    /// A6: a version that was pruned counts as one without the token.
    PrunedIsClean,
    /// A8: two documents may have one identity.
    EpochTwice,
    /// A9: a value is believed to be the token whose id it shows.
    ForgedIsProven,
    /// A10: a foreign value is believed after one read.
    NoSecondLook,
    /// A10: a version is believed after one read: the second one may have the same wrong answer.
    NoSecondVersion,
    /// A17: one listing without a token proves that it is gone.
    OneListing,
    /// A14: a pause is not seen.
    NoPause,
    /// What other secrets hold is not known yet, and that is taken for nothing.
    UnknownIsNobody,
    /// The current tokens of other secrets are not looked at before a token is ended.
    NoOtherSecrets,
    /// The marker of another secret in a token's name protects it no longer.
    NoOtherMarker,
}

impl Mutation {
    pub fn command(self, world: &mut World, actor: usize, command: Command) -> Command {
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
            (Mutation::NoLostMemory, Command::WriteJournal { cas, record }) => {
                let next = next_attempt(world, actor, &record);
                let record = next.map_or(record, Box::new);
                Command::WriteJournal { cas, record }
            }
            (Mutation::NoProofInThisRun, Command::WriteJournal { cas, record }) => {
                match world.work(actor).filter(|_| record.claim.is_none()) {
                    Some(Work::Disable { id }) if !world.was_ended(&id) => {
                        Command::Change(TokenAction::Disable, id)
                    }
                    Some(Work::Delete { id }) if !world.was_ended(&id) => {
                        Command::Change(TokenAction::Delete, id)
                    }
                    _ => Command::WriteJournal { cas, record },
                }
            }
            (_, command) => command,
        }
    }

    /// What is written down.
    pub fn record(self, record: &mut Record) {
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
            Mutation::NoDigests => {
                record.attempts.ledger = Default::default();
                record.open.iter_mut().for_each(|open| open.digest = None);
                let claim = record.claim.as_mut();
                if let Some(attempt) = claim.and_then(|claim| claim.attempt_mut()) {
                    attempt.digest = None;
                }
            }
            Mutation::OneListing => {
                for entry in &mut record.retiring {
                    entry.missed = Some(entry.since - TICK);
                }
            }
            _ => {}
        }
    }

    /// What a listing shows.
    pub fn listing(self, world: &World, mut listing: Listing) -> Listing {
        let Some(record) = world.journal.as_ref() else {
            return listing;
        };
        let next = record.attempts.attempt + 1;
        if self == Mutation::NoNumberLimit {
            for info in Arc::make_mut(&mut listing.tokens) {
                let far = Marker::of(&info.name, &epoch()).filter(|it| it.attempt > next);
                if far.is_some() {
                    info.name = marked(next);
                }
            }
        }
        listing
    }

    pub fn outcome(
        self,
        world: &World,
        actor: usize,
        command: &Command,
        outcome: Outcome,
    ) -> Outcome {
        let work = world.work(actor);
        match (self, command, outcome) {
            (Mutation::NoPause, _, Outcome::Journal(Ok(Ok(mut seen)))) => {
                if let Some(record) = &mut seen.record {
                    record.pause = None;
                }
                Outcome::Journal(Ok(Ok(seen)))
            }
            (Mutation::NoFence, Command::ReadSecret, Outcome::Secret(Ok(seen)))
                if work == Some(Work::Cleanup) =>
            {
                // As if the secret had moved on.
                Outcome::Secret(Ok(match seen {
                    SecretSnapshot::Present {
                        version,
                        value,
                        vacant,
                    } => SecretSnapshot::Present {
                        version: version + 1,
                        value,
                        vacant,
                    },
                    other => other,
                }))
            }
            (Mutation::NoPrefix, Command::List, Outcome::Listed(Ok(listing))) => {
                Outcome::Listed(Ok(only_open(world, &listing)))
            }
            (Mutation::NoHistory, Command::ReadVersion(_), Outcome::Version(Ok(seen)))
                if !matches!(work, Some(Work::Rotate { .. })) =>
            {
                Outcome::Version(Ok(empty(seen)))
            }
            (Mutation::NoVersionPlusOne, Command::ReadVersion(_), Outcome::Version(Ok(seen)))
                if matches!(work, Some(Work::Rotate { .. })) =>
            {
                Outcome::Version(Ok(empty(seen)))
            }
            (Mutation::NoCheckBefore, _, Outcome::Secret(Ok(seen)))
                if work.is_none() && world.retires() =>
            {
                Outcome::Secret(Ok(empty(seen)))
            }
            (Mutation::NoCheckBefore, _, Outcome::Confirmed(Ok(seen)))
                if work.is_none() && world.retires() =>
            {
                Outcome::Confirmed(Ok(empty(seen)))
            }
            (Mutation::NoQuarantineCheck, Command::LookUp(_), Outcome::Token(Ok(mut info))) => {
                info.enabled &= !world.is_in(&info.id, RetiringState::Quarantine);
                Outcome::Token(Ok(info))
            }
            (
                Mutation::Gone,
                Command::Change(TokenAction::Delete, _),
                Outcome::Changed(Err(error)),
            ) if error.kind == ErrorKind::Gone => Outcome::Changed(Ok(())),
            (Mutation::NoIdentity, Command::Verify(_), Outcome::Verified(Ok(mut trial))) => {
                if let Some(Work::Rotate {
                    attempt: Some(attempt),
                    ..
                }) = work
                {
                    trial.token.name = marked(attempt.n);
                }
                Outcome::Verified(Ok(trial))
            }
            (Mutation::NoProof, Command::LookUp(id), Outcome::Token(Ok(info))) => {
                Outcome::Token(Ok(as_recorded(world, id, info)))
            }
            (Mutation::NoOtherMarker, Command::LookUp(_), Outcome::Token(Ok(mut info))) => {
                if Marker::of(&info.name, &epoch()).is_none() {
                    info.name = "unmarked".into();
                }
                Outcome::Token(Ok(info))
            }
            (Mutation::NoAnswerCheck, Command::LookUp(id), Outcome::Token(Ok(mut info))) => {
                info.id = id.clone();
                Outcome::Token(Ok(info))
            }
            (Mutation::NoAnswerCheck, Command::LookUpValue, Outcome::Value(Ok(mut info))) => {
                let read = world.last_read(actor);
                if let Some(id) = read.as_ref().and_then(SecretSnapshot::id) {
                    info.id = id.clone();
                }
                Outcome::Value(Ok(info))
            }
            (
                Mutation::NoLostMemory,
                Command::WriteJournal { record, .. },
                Outcome::Written(Ok(_)),
            ) if record
                .claim
                .as_ref()
                .and_then(|claim| claim.attempt())
                .is_some_and(|attempt| attempt.digest.is_none()) =>
            {
                // The run meets its own claim again, without its memory.
                Outcome::Written(Err(error(Service::Vault, ErrorKind::Conflict)))
            }
            (
                Mutation::PrunedIsClean,
                Command::ReadVersion(version),
                Outcome::Version(Ok(SecretSnapshot::Absent)),
            ) => Outcome::Version(Ok(SecretSnapshot::Present {
                version: *version,
                value: None,
                vacant: true,
            })),
            (Mutation::ForgedIsProven, Command::LookUpValue, Outcome::Value(Err(error)))
                if error.kind == ErrorKind::Gone =>
            {
                let read = world.last_read(actor);
                Outcome::Value(match read.as_ref().and_then(SecretSnapshot::id) {
                    Some(id) => Ok(world.info_of(id)),
                    None => Err(error),
                })
            }
            (_, _, outcome) => outcome,
        }
    }
}

/// The name of a token of this secret with this number.
fn marked(attempt: u64) -> String {
    let epoch = epoch();
    Marker { epoch, attempt }.name("job", 100)
}

/// The write that releases a lost attempt, as one that begins the next attempt under the same claim.
fn next_attempt(world: &World, actor: usize, record: &Record) -> Option<Record> {
    let Some(Work::Rotate {
        attempt: Some(lost),
        ..
    }) = world.work(actor)
    else {
        return None;
    };
    let known = world.journal.as_ref()?;
    let released = record.claim.is_none()
        && record.open.iter().any(|open| open.attempt == lost.n)
        && record.health == known.health;
    if !released {
        return None;
    }
    let mut next = record.clone();
    next.attempts.attempt += 1;
    let mut claim = known.claim.clone()?;
    *claim.attempt_mut()? = Attempt {
        n: next.attempts.attempt,
        digest: None,
        ..lost
    };
    next.claim = Some(claim);
    Some(next)
}

/// The token, with the name that its entry in the journal asks for.
fn as_recorded(world: &World, id: &TokenId, mut info: TokenInfo) -> TokenInfo {
    let Some(record) = &world.journal else {
        return info;
    };
    if let Some(entry) = record.retiring(id) {
        let numbers = 0..=record.attempts.attempt + 1;
        let recorded = |n: &u64| match &entry.digest {
            Some(digest) => *digest == NameDigest::of(&marked(*n)),
            None => *n == record.attempts.attempt + 1,
        };
        info.name = numbers.into_iter().find(recorded).map_or(info.name, marked);
    }
    info
}

fn empty(seen: SecretSnapshot) -> SecretSnapshot {
    match seen {
        SecretSnapshot::Present { version, .. } => SecretSnapshot::Present {
            version,
            value: None,
            vacant: true,
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
