//! What the value in Vault is to us: the judgement that every run begins with.

use super::facts::{Command, Holds, Looked, Now, Verdict};
use super::fitness;
use super::machine::Run;
use super::record::{Reason, RetiringState, Trigger};
use super::token::{Marker, TokenId, TokenInfo};

/// What the value in Vault is to us.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Standing {
    /// The recorded current token.
    Current,
    /// Recorded and gone, and a person said to go on: the journal's record is the template.
    Template,
    /// Ours by its marker, but nobody committed it: a store whose sender died.
    Adoptable,
    /// On its way out, and put back by a person.
    Returned,
    /// Somebody put another token.
    Foreign,
    /// Nothing can be done without a human.
    Stuck(Reason, String),
}

impl Run {
    /// Judges the value in Vault, or names the command that is needed first.
    pub(super) fn standing(&self) -> Result<Standing, Command> {
        let Some(seen) = &self.seen else {
            return Err(Command::ReadSecret);
        };
        let holds = match fitness::holding(seen, self.place(), &self.plan().name) {
            Ok(holds) => holds,
            Err((reason, message)) => return Ok(Standing::Stuck(reason, message)),
        };
        let Some(looked) = &self.looked else {
            return Err(Command::LookUpValue);
        };
        let info = match looked {
            Looked::Known(info) => info,
            Looked::Gone if !self.witnessed => return Err(Command::Witness),
            Looked::Gone => return Ok(self.unknown_value(holds)),
        };
        let Some(record) = self.record() else {
            return Ok(self.usable(info).unwrap_or(Standing::Foreign));
        };
        if let Some(entry) = record.retiring(&info.id)
            && (info.enabled || entry.state != RetiringState::Grace)
        {
            return Ok(Standing::Returned);
        }
        if let Some(stuck) = self.usable(info) {
            return Ok(stuck);
        }
        if record.is_current(&info.id) {
            return Ok(Standing::Current);
        }
        let (_, marker) = Marker::split(&info.name);
        match marker {
            Some(marker) if marker.epoch == record.epoch => Ok(Standing::Adoptable),
            _ => Ok(Standing::Foreign),
        }
    }

    /// The environment does not know the value.
    pub(super) fn unknown_value(&self, holds: &Holds) -> Standing {
        let recorded = self.record().and_then(|record| record.current.as_ref());
        let same = match (&holds.id, recorded) {
            (Some(id), Some(current)) => *id == current.id,
            _ => false,
        };
        let asked = matches!(self.wished().1, Trigger::Command | Trigger::Sweep);
        if same && asked {
            return Standing::Template;
        }
        let name = &self.errand.plan.name;
        let shown = holds.id.as_ref().map_or("(legacy format)", TokenId::as_str);
        let advice = if same {
            format!(
                "it was there before, so somebody deleted it or it expired more than a week ago: run `dtrotate rotate {name}` to replace it"
            )
        } else {
            "is it a token of another environment? Put a token of this environment there".to_owned()
        };
        Standing::Stuck(
            Reason::TokenUnknown,
            format!(
                "Dynatrace does not know the token {shown} in {}; {advice}",
                self.place()
            ),
        )
    }

    /// Why a token that the environment knows cannot be rotated.
    pub(super) fn usable(&self, info: &TokenInfo) -> Option<Standing> {
        let (reason, message) = fitness::unfit(info, self.place(), self.plan().manages_tokens)?;
        // What the sweep wants replaced does not work, and need not.
        if reason == Reason::TokenDisabled && self.wished().1 == Trigger::Sweep {
            return None;
        }
        Some(Standing::Stuck(reason, message))
    }

    /// What a dry run tells.
    pub(super) fn say(&mut self, standing: Standing, now: Now) -> Command {
        let name = &self.errand.plan.name;
        let current = match &self.looked {
            Some(Looked::Known(info)) => format!("{} ({})", info.id, info.scopes.join(", ")),
            _ => "the recorded token".to_owned(),
        };
        let unfit = match (&standing, &self.looked) {
            (Standing::Current | Standing::Foreign, Some(Looked::Known(info))) => {
                fitness::lifetime(self.plan(), &info.id, info.created, info.expires, now.wall).err()
            }
            _ => None,
        };
        if let Some(message) = unfit {
            let text = format!("{name}: stuck: {message}");
            return self.finish(Verdict::Would(text));
        }
        let new = self.record().is_none_or(|record| record.current.is_none());
        let text = match standing {
            Standing::Current => format!("{name}: would replace {current}"),
            Standing::Foreign if new => {
                format!("{name}: would record {current}, and then replace it")
            }
            Standing::Template => {
                format!("{name}: would replace {current}, which Dynatrace does not know any more")
            }
            Standing::Foreign => {
                format!("{name}: would replace {current}, which somebody put there by hand")
            }
            Standing::Adoptable => {
                format!("{name}: would commit {current}, which an interrupted rotation stored")
            }
            Standing::Returned => format!(
                "{name}: would take back {current}, which somebody put there again, and then replace it"
            ),
            Standing::Stuck(_, message) => format!("{name}: stuck: {message}"),
        };
        self.finish(Verdict::Would(text))
    }
}
