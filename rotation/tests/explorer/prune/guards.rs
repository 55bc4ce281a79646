//! The guards of pruning, switched off one at a time, by changing what the shipped machine reads or what it sends. A guard that matters shows as a
//! violation.

use std::time::Duration;

use jiff::Timestamp;

use rotation::marker::NameDigest;
use rotation::prune::{
    Edit, Edited, PruneContext, PruneOutcome, PruneRecord, PrunedState, PrunedToken, mark,
};
use rotation::token::TokenInfo;

use super::world::{INSTALLATION, Role, old_mark};

/// A guard that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// The name of a token is not compared with the mark that was ordered.
    Mark,
    /// A token is brought back by a daemon without a look at its mark.
    RestoringMark,
    /// A token may be deleted although it is enabled.
    Disabled,
    /// There is no quarantine.
    Quarantine,
    /// The quarantine is what the document says.
    MarkTime,
    /// What secrets hold is not looked at.
    Holder,
    /// The management tokens in use are not looked at.
    Management,
    /// The rights of a token are not looked at.
    Rights,
    /// The last use of a pruned token is not looked at.
    Use,
    /// The token is not compared with the plan.
    Plan,
    /// An entry is changed although another process changed it first.
    Entry,
    /// The token is not looked at right before it is deleted.
    SecondLook,
    /// A daemon takes an order at once for one that was not carried out.
    Settle,
    /// An undo does not wait for a disable that may be under way.
    UndoWaits,
    /// An order is carried out although it is old.
    Renewal,
    /// That an order was settled by others is not noticed after its call.
    TakeBack,
    /// One answer that a token is not there is believed.
    TwoAnswers,
    /// A token that bears no mark is deleted although nobody confirmed it.
    Confirmation,
    /// A token is disabled before it is written down.
    Order,
}

/// Each guard with a scenario in which its absence shows. Where two are named, each covers the other.
pub fn all() -> Vec<(&'static [Guard], &'static str)> {
    use Guard::*;
    let edited = "the document is edited";
    let foreign = "the document names other tokens";
    let person = "pruned, a person acts";
    let held_up = "pruned and undone, a process is held up";
    vec![
        (&[Mark], foreign),
        (&[RestoringMark], foreign),
        (&[Disabled], person),
        (&[Disabled], foreign),
        (&[Quarantine], "pruned, processes die"),
        (&[MarkTime], edited),
        (&[Holder], foreign),
        (&[Management], foreign),
        (&[Rights], foreign),
        (&[Use], person),
        (&[Plan], person),
        (&[Entry], "pruned and undone"),
        (&[SecondLook], person),
        (&[Settle], "pruned, effects come late"),
        (&[UndoWaits], "pruned and undone, effects come late"),
        (&[Renewal, TakeBack], "pruned, a process is held up"),
        (&[TakeBack], held_up),
        (&[TwoAnswers], "pruned, not found although it is there"),
        (&[Confirmation], "a kind without names, a person confirms"),
        (&[Order], "pruned, processes die"),
    ]
}

impl Guard {
    pub fn context<'a>(
        self,
        role: Role,
        entry: Option<&PrunedToken>,
        mut cx: PruneContext<'a>,
    ) -> PruneContext<'a> {
        let backdated = entry.is_some_and(|entry| entry.at == Timestamp::UNIX_EPOCH);
        match self {
            Guard::Holder => cx.holder = None,
            Guard::Management => cx.is_management = false,
            Guard::Quarantine => cx.quarantine = Duration::ZERO,
            Guard::MarkTime if backdated => cx.quarantine = Duration::ZERO,
            Guard::Settle if role == Role::Daemon => cx.settle = Duration::ZERO,
            Guard::UndoWaits if role == Role::Undo => cx.settle = Duration::ZERO,
            Guard::Renewal if role == Role::Prune => cx.settle *= 1000,
            Guard::Confirmation => cx.confirmed = true,
            _ => {}
        }
        cx
    }

    /// What comes of an edit without this guard; none = the same as with it.
    pub fn edit(self, edit: &Edit, document: &mut PruneRecord) -> Option<Edited> {
        match (self, edit) {
            (Guard::Entry, Edit::Replace { to, .. }) => {
                let tokens = &mut document.tokens;
                tokens.retain(|entry| entry.id != to.id);
                tokens.push((**to).clone());
                Some(Edited {
                    applied: true,
                    entry: Some((**to).clone()),
                })
            }
            (Guard::Order, Edit::Add(entry)) => Some(Edited {
                applied: true,
                entry: Some(entry.clone()),
            }),
            _ => None,
        }
    }

    pub fn outcome(
        self,
        role: Role,
        entry: Option<&PrunedToken>,
        planned_use: Option<Timestamp>,
        outcome: PruneOutcome,
    ) -> PruneOutcome {
        match (self, outcome) {
            (Guard::TakeBack, PruneOutcome::Changed(Ok(edited))) if role == Role::Prune => {
                PruneOutcome::Changed(Ok(Edited {
                    applied: true,
                    ..edited
                }))
            }
            (_, PruneOutcome::Seen(Ok(Some(mut info)))) => {
                self.seen(role, entry, planned_use, &mut info);
                PruneOutcome::Seen(Ok(Some(info)))
            }
            (_, outcome) => outcome,
        }
    }

    fn seen(
        self,
        role: Role,
        entry: Option<&PrunedToken>,
        planned_use: Option<Timestamp>,
        info: &mut TokenInfo,
    ) {
        let is_in = |state: PrunedState| entry.is_some_and(|entry| entry.state == state);
        match self {
            Guard::Mark => info.name = ordered(entry).unwrap_or(info.name.clone()),
            Guard::RestoringMark if is_in(PrunedState::Restoring) => {
                info.name = ordered(entry).unwrap_or(info.name.clone());
            }
            Guard::Disabled => {
                info.enabled &= !is_in(PrunedState::Quarantine) && !is_in(PrunedState::Deleting);
            }
            Guard::Rights => info.scopes.clear(),
            Guard::Use if role == Role::Daemon => info.last_used = None,
            Guard::Plan if role == Role::Prune => info.last_used = planned_use,
            _ => {}
        }
    }
}

/// The name that the entry asks for.
fn ordered(entry: Option<&PrunedToken>) -> Option<String> {
    let entry = entry?;
    let names = [
        mark(INSTALLATION, entry.at).name(&entry.name, 100),
        old_mark(&entry.name),
    ];
    let digest = entry.digest.as_ref()?;
    names
        .into_iter()
        .find(|name| *digest == NameDigest::of(name))
}
