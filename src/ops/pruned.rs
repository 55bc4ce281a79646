//! A token that `dtrotate prune` disabled, as plain data and for a terminal.

use jiff::Timestamp;
use rotation::prune::PrunedState;
use rotation::token::TokenId;
use serde::{Deserialize, Serialize};

use super::humanize::{due, exact, hanging, relative};
use crate::sanitize;

/// A pruned token. The fields are an interface: docs/status.md.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pruned {
    /// Its id.
    pub token: TokenId,
    /// Its environment or account.
    pub environment: String,
    /// The name that it had before.
    pub name: String,
    /// It was enabled before.
    pub was_enabled: bool,
    /// The person who ordered it, as Vault knows them.
    pub by: String,
    /// When it was ordered.
    pub at: Timestamp,
    /// How far its prune has come.
    pub state: PrunedState,
    /// When its quarantine ends; none = it is being deleted or brought back.
    pub delete_after: Option<Timestamp>,
    /// It cannot be marked, so that a second command deletes it.
    pub needs_confirmation: bool,
}

impl Pruned {
    /// Everything about it, in a few lines that are safe to show.
    pub fn card(&self, now: Timestamp) -> String {
        let mut text = sanitize::line(&format!(
            "{}  pruned token of {}",
            self.token, self.environment
        )) + "\n";
        let mut line = |name: &str, value: &str| {
            text += &hanging(&format!("  {name:<10}"), &sanitize::line(value));
        };
        let before = match self.was_enabled {
            true => "enabled",
            false => "disabled",
        };
        line("name", &format!("{:?} before; it was {before}", self.name));
        let at = format!("{} ({})", relative(self.at, now), exact(self.at));
        line("pruned", &format!("{at} by {}", self.by));
        let deleted = match (self.state, self.delete_after) {
            (PrunedState::Restoring, _) => "not: it is being brought back".to_owned(),
            (_, None) => "now".to_owned(),
            (_, Some(end)) => {
                let end = format!("{} ({})", due(end, now), exact(end));
                match self.needs_confirmation {
                    true => format!("by `dtrotate prune`, given again from then on: {end}"),
                    false => end,
                }
            }
        };
        line("deleted", &deleted);
        if self.state != PrunedState::Deleting {
            let undo = format!("dtrotate undo --token {}", self.token);
            line("undo", &undo);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_says_by_whom_until_when_and_how_it_is_undone() {
        let at: Timestamp = "2026-11-25T10:00:00Z".parse().unwrap();
        let mut pruned = Pruned {
            token: TokenId::new("dt0c01.OLD"),
            environment: "prod".to_owned(),
            name: "dashboard".to_owned(),
            was_enabled: true,
            by: "ada".to_owned(),
            at,
            state: PrunedState::Quarantine,
            delete_after: Some(at + jiff::SignedDuration::from_hours(168)),
            needs_confirmation: false,
        };
        let now = at + jiff::SignedDuration::from_hours(48);
        assert_eq!(
            pruned.card(now),
            "dt0c01.OLD  pruned token of prod\n  \
               name      \"dashboard\" before; it was enabled\n  \
               pruned    2d ago (2026-11-25 10:00:00Z) by ada\n  \
               deleted   in 5d (2026-12-02 10:00:00Z)\n  \
               undo      dtrotate undo --token dt0c01.OLD\n"
        );
        pruned.needs_confirmation = true;
        assert!(pruned.card(now).contains("`dtrotate prune`, given again"));
        (pruned.state, pruned.delete_after) = (PrunedState::Deleting, None);
        let card = pruned.card(now);
        assert!(
            card.contains("deleted   now\n") && !card.contains("undo"),
            "{card}"
        );
    }
}
