//! One secret as the outside sees it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use rotation::policy::{Drift, drift};
use rotation::record::{Record, RetiringState};
use rotation::retiring::Problem;
use rotation::token::TokenId;

use crate::labels::Labels;

use super::humanize::due;
use super::known::Known;

/// One secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Secret {
    /// Its name.
    pub name: String,
    /// Its environment.
    pub environment: String,
    /// What people group it by.
    #[serde(default)]
    pub labels: Labels,
    /// Where its value is: `MOUNT/PATH#FIELD,FIELD`.
    pub place: String,
    /// How it is.
    pub state: State,
    /// The token that is the current value.
    pub current: Option<Token>,
    /// How that token differs from what the configuration asks for; the next rotation applies it.
    #[serde(default)]
    pub drift: Option<Drift>,
    /// When the last rotation succeeded.
    pub last_success: Option<Timestamp>,
    /// When it is rotated next.
    pub next: Option<Timestamp>,
    /// Why then, or why never.
    pub because: String,
    /// Nothing of it is tried before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_try: Option<Timestamp>,
    /// The IANA name of the time zone of its schedule; none = it is not in the configuration.
    #[serde(default)]
    pub zone: Option<String>,
    /// Former tokens on their way out.
    pub retiring: Vec<Retiring>,
    /// The failure that lasts.
    pub failure: Option<Failure>,
    /// What is wrong with the current value, if it does not work at Dynatrace.
    pub invalid: Option<Invalid>,
    /// Another process that works on it now.
    pub holder: Option<String>,
    /// When its journal document was last read or written; none = not yet.
    #[serde(default)]
    pub as_of: Option<Timestamp>,
    /// A digest of its settings, to compare them with those of a file; none = it is not in the configuration.
    #[serde(default)]
    pub settings: Option<u32>,
    /// Who paused it, why and until when.
    #[serde(default)]
    pub paused: Option<Paused>,
}

/// A pause.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Paused {
    /// The person, as Vault knows them.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
    /// Since when.
    pub since: Timestamp,
    /// It ends at this time; none = with `dtrotate resume`.
    pub until: Option<Timestamp>,
}

/// How a secret is: of those that apply the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The value in Vault does not work at Dynatrace: consumers are locked out.
    CurrentInvalid,
    /// Its journal document cannot be read.
    Unreadable,
    /// It cannot be rotated without a human.
    Stuck,
    /// A person paused it.
    Paused,
    /// It left the configuration; what it left is retired.
    Removed,
    /// `enabled = false`.
    SwitchedOff,
    /// Vault or its environment is unavailable, or the clocks disagree.
    Waiting,
    /// It should have been rotated by now.
    Overdue,
    /// The last try failed; it is retried automatically.
    Retrying,
    /// Its document was not read since the start.
    Unknown,
    /// There is no journal document of it yet.
    NeverSeen,
    /// It rotates by its schedule.
    Healthy,
}

impl State {
    /// All of them, the worst first.
    pub const ALL: [State; 12] = [
        State::CurrentInvalid,
        State::Unreadable,
        State::Stuck,
        State::Paused,
        State::Removed,
        State::SwitchedOff,
        State::Waiting,
        State::Overdue,
        State::Retrying,
        State::Unknown,
        State::NeverSeen,
        State::Healthy,
    ];

    /// For machines.
    pub fn as_str(self) -> &'static str {
        match self {
            State::CurrentInvalid => "current_invalid",
            State::Unreadable => "unreadable",
            State::Stuck => "stuck",
            State::Paused => "paused",
            State::Removed => "removed",
            State::SwitchedOff => "switched_off",
            State::Waiting => "waiting",
            State::Overdue => "overdue",
            State::Retrying => "retrying",
            State::Unknown => "unknown",
            State::NeverSeen => "never_seen",
            State::Healthy => "healthy",
        }
    }

    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            State::CurrentInvalid => "invalid",
            State::SwitchedOff => "switched off",
            State::NeverSeen => "never seen",
            other => other.as_str(),
        }
    }

    /// How serious it is, for colours.
    pub fn mood(self) -> Mood {
        match self {
            State::CurrentInvalid | State::Unreadable | State::Stuck | State::Overdue => Mood::Bad,
            State::Waiting | State::Retrying | State::Unknown | State::NeverSeen => Mood::Uneasy,
            State::Healthy => Mood::Good,
            State::Paused | State::Removed | State::SwitchedOff => Mood::Off,
        }
    }
}

/// How serious a state is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// A human is needed.
    Bad,
    /// Nothing is wrong yet.
    Uneasy,
    /// All is well.
    Good,
    /// Nothing is done for it.
    Off,
}

/// The token that is the current value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Token {
    /// Its id.
    pub id: TokenId,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// When it expires; none = never.
    pub expires: Option<Timestamp>,
    /// It was stored although no call could prove that its value works.
    #[serde(default)]
    pub unproven: bool,
}

/// A former token on its way out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retiring {
    /// Its id.
    pub id: TokenId,
    /// How far it is.
    pub state: RetiringState,
    /// When the next step is due.
    pub due: Timestamp,
    /// Its grace is followed by its deletion.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cannot_be_disabled: bool,
    /// It is still used, so its grace is extended since then.
    pub held_since: Option<Timestamp>,
    /// Who still uses it.
    pub used_from: Option<String>,
    /// What a person must do about it.
    #[serde(default)]
    pub problems: Vec<Problem>,
}

impl Retiring {
    /// The retiring tokens of a secret.
    pub fn all(record: &Record) -> Vec<Retiring> {
        let entries = record.retiring.iter().map(|entry| Retiring {
            id: entry.id.clone(),
            state: entry.state.clone(),
            due: entry.due,
            cannot_be_disabled: !record.coordinates.kind.can_be_disabled(),
            held_since: entry.held_since(),
            used_from: entry.usage.used_from.clone(),
            problems: entry.problems(&record.name),
        });
        entries.collect()
    }

    /// What is next, for people: `disabled`, `deleted`.
    pub fn next_step(&self) -> &'static str {
        next_step(&self.state, !self.cannot_be_disabled)
    }
}

pub(super) fn next_step(state: &RetiringState, can_be_disabled: bool) -> &'static str {
    match state {
        RetiringState::Grace if !can_be_disabled => "deleted",
        RetiringState::Grace | RetiringState::Disabling => "disabled",
        RetiringState::Quarantine | RetiringState::Deleting => "deleted",
        RetiringState::Newer(_) => "retired further",
    }
}

/// A failure that lasts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// The stable code: its page in the runbook.
    pub reason: String,
    /// What happened and what to do.
    pub message: String,
    /// Since when.
    pub since: Timestamp,
    /// How many times in a row.
    pub count: u32,
    /// When it is retried automatically; none = stuck.
    pub retry_at: Option<Timestamp>,
}

/// The current value does not work at Dynatrace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Invalid {
    /// What is wrong and what to do.
    pub message: String,
    /// Since when that is known.
    pub since: Timestamp,
}

impl Secret {
    /// Puts together what is known, in the state that follows from its conditions.
    pub fn of(known: &Known<'_>, state: State) -> Secret {
        let record = known.record;
        let failure = record.and_then(|record| record.health.failure.as_ref());
        let current = record.and_then(|record| record.current.as_ref());
        let retry_at = failure.and_then(|failure| failure.retry_at);
        let at = known.coordinates;
        let claim = record.and_then(|record| record.claim.as_ref());
        Secret {
            name: known.name.to_owned(),
            environment: at.environment.clone(),
            labels: known.labels.cloned().unwrap_or_default(),
            place: format!("{}/{}#{}", at.mount, at.path, at.fields.join(",")),
            state,
            current: current.map(|current| Token {
                id: current.id.clone(),
                created: current.created,
                expires: current.expires,
                unproven: current.unproven,
            }),
            drift: current
                .and_then(|current| drift(known.desired?, &current.scopes, &current.name_base)),
            last_success: record.and_then(|record| record.health.last_success),
            // Nothing that follows from a document that cannot be used is known.
            next: retry_at
                .max(retry_at.and(known.next_try))
                .or(known.next.max(known.next.and(known.next_try)))
                .filter(|_| known.unusable.is_none()),
            because: match (known.unusable, retry_at, known.failing) {
                (Some(unusable), ..) => unusable.why.clone(),
                (_, Some(_), _) => "retried after a failure".to_owned(),
                (_, _, Some(failing)) if known.next <= known.next_try => {
                    format!("it is tried again; the last error: {}", failing.error.what)
                }
                _ => known.because.to_owned(),
            },
            next_try: known.next_try,
            zone: known.zone.map(str::to_owned),
            retiring: record.map(Retiring::all).unwrap_or_default(),
            failure: failure.map(|failure| Failure {
                reason: failure.reason.as_str().to_owned(),
                message: failure.message.clone(),
                since: failure.since,
                count: failure.count,
                retry_at: failure.retry_at,
            }),
            invalid: record
                .and_then(|record| record.health.invalid.as_ref())
                .map(|invalid| Invalid {
                    message: invalid.message.clone(),
                    since: invalid.since,
                }),
            holder: claim
                .map(|claim| claim.holder.clone())
                .filter(|holder| holder != known.instance),
            as_of: known.as_of,
            settings: known.settings,
            paused: known.pause().map(|pause| Paused {
                by: pause.by.clone(),
                reason: pause.reason.clone(),
                since: pause.since,
                until: pause.until,
            }),
        }
    }

    /// The same while what it depends on is unavailable: a rotation that is due by now is not going to begin.
    pub fn wait_for(&mut self, what: &str, now: Timestamp) {
        if self.state > State::Waiting {
            self.state = State::Waiting;
            self.because = format!("waiting for {what}");
            self.next = self.next.filter(|next| *next > now);
        }
    }

    /// From when on something can be done for it; none = that is not known, because a person paused it, or because it waits for a service or
    /// its document.
    pub fn able_from(&self, now: Timestamp) -> Option<Timestamp> {
        match (&self.paused, self.state) {
            (Some(paused), _) => paused.until.map(|until| until.max(now)),
            (None, State::Waiting | State::Unreadable) => None,
            (None, _) => Some(self.next_try.map_or(now, |at| at.max(now))),
        }
    }

    /// When a step of a retirement comes that is due at this time, in words.
    pub fn step_comes(&self, at: Timestamp, now: Timestamp) -> String {
        match self.able_from(now) {
            Some(from) => due(at.max(from), now),
            None if self.paused.is_some() => "after the pause".to_owned(),
            None if at > now => due(at, now),
            None if self.state == State::Unreadable => "when its document can be read".to_owned(),
            None => "when the service is back".to_owned(),
        }
    }

    /// One of its old tokens is still in use.
    pub fn is_held(&self) -> bool {
        let mut retiring = self.retiring.iter();
        retiring.any(|entry| entry.held_since.is_some())
    }

    /// This is the id of its current token or of one that retires.
    pub fn has_token(&self, id: &str) -> bool {
        // A whole value that somebody pasted is cut to its id.
        let id = TokenId::new(id);
        let current = self.current.iter().map(|token| &token.id);
        let mut ids = current.chain(self.retiring.iter().map(|entry| &entry.id));
        ids.any(|known| *known == id)
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::super::fixture;
    use super::*;

    #[test]
    fn p8_a_step_is_not_announced_for_now_while_nothing_can_be_done() {
        let now = fixture::status().at;
        let hour = SignedDuration::from_hours(1);
        let secret = |change: fn(&mut Secret)| {
            let mut secret = fixture::status().secrets.remove(0);
            (secret.paused, secret.state, secret.next_try) = (None, State::Healthy, None);
            change(&mut secret);
            secret
        };
        let paused = |until| Paused {
            by: "alice".to_owned(),
            reason: None,
            since: Timestamp::UNIX_EPOCH,
            until,
        };
        let comes = |secret: &Secret, due| secret.step_comes(due, now);
        assert_eq!(comes(&secret(|_| {}), now), "now");
        let mut one = secret(|_| {});
        one.next_try = Some(now + hour);
        assert_eq!(comes(&one, now), "in 1h");
        one.paused = Some(paused(Some(now + hour * 2)));
        assert_eq!(comes(&one, now), "in 2h");
        one.paused = Some(paused(None));
        assert_eq!(comes(&one, now + hour), "after the pause");
        let waiting = secret(|it| it.state = State::Waiting);
        assert_eq!(comes(&waiting, now), "when the service is back");
        assert_eq!(comes(&waiting, now + hour), "in 1h");
        let unreadable = secret(|it| it.state = State::Unreadable);
        assert_eq!(comes(&unreadable, now), "when its document can be read");
    }
}
