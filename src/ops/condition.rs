//! An open condition: what needs a human, or what someone should know. The one list of them drives log, status, exit code, page, metrics,
//! alerts and notifications.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use rotation::event::EventName;

/// How bad a condition is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// A human is needed: there was an ERROR line, and `dtrotate status` exits with 1.
    Error,
    /// It recovers automatically, but someone may want to know.
    Warning,
}

impl Severity {
    /// The word in JSON and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// One open condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// The word of its event in the log.
    pub kind: String,
    /// The stable code of the cause, where the kind has several.
    pub reason: Option<String>,
    /// How bad it is.
    pub severity: Severity,
    /// The secret that it concerns, if it concerns one.
    pub secret: Option<String>,
    /// The environment that it concerns, if it concerns one.
    pub environment: Option<String>,
    /// What it is about within the secret, environment or process: a token id, a file, a channel.
    pub subject: Option<String>,
    /// Since when.
    pub since: Timestamp,
    /// How many times it was tried in a row; absent = nothing is tried.
    pub attempts: Option<u32>,
    /// When it is tried again; absent = not automatically.
    pub next_try: Option<Timestamp>,
    /// The last error, as the other side put it.
    pub error: Option<String>,
    /// What happened.
    pub message: String,
    /// What to do about it.
    pub what_to_do: String,
    /// Its page below `docs/`.
    pub runbook: Option<String>,
}

impl Condition {
    /// An error of this kind.
    pub fn new(kind: EventName, message: impl Into<String>, since: Timestamp) -> Self {
        Condition {
            kind: kind.as_str().to_owned(),
            reason: None,
            severity: Severity::Error,
            secret: None,
            environment: None,
            subject: None,
            since,
            attempts: None,
            next_try: None,
            error: None,
            message: message.into(),
            what_to_do: kind.what_to_do().to_owned(),
            runbook: runbook(kind.as_str(), None),
        }
    }

    /// Not an error.
    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// About this secret of this environment; an empty environment is none.
    pub fn secret(mut self, name: &str, environment: &str) -> Self {
        self.secret = Some(name.to_owned());
        let event = EventName::ALL.iter().find(|it| it.as_str() == self.kind);
        if let Some(event) = event {
            self.what_to_do = event.what_to_do_for(name);
        }
        self.environment(environment)
    }

    /// Sets what to do, where the kind alone does not say it.
    pub fn advise(mut self, what_to_do: impl Into<String>) -> Self {
        self.what_to_do = what_to_do.into();
        self
    }

    /// About this environment; an empty name is none.
    pub fn environment(mut self, name: &str) -> Self {
        self.environment = (!name.is_empty()).then(|| name.to_owned());
        self
    }

    /// About this part of the secret, environment or process.
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// For this cause.
    pub fn reason(mut self, reason: &str) -> Self {
        self.reason = Some(reason.to_owned());
        self.runbook = runbook(&self.kind, Some(reason));
        self
    }

    /// Tried so often, with the last error and the next try.
    pub fn tried(mut self, attempts: u32, error: &str, next_try: Option<Timestamp>) -> Self {
        self.attempts = Some(attempts);
        self.error = Some(error.to_owned());
        self.next_try = next_try;
        self
    }

    /// What the other side said.
    pub fn error(mut self, error: impl Into<String>) -> Self {
        self.error = Some(error.into());
        self
    }

    /// Two conditions with the same identity are the same condition.
    pub fn identity(&self) -> [Option<&str>; 5] {
        [
            Some(&self.kind),
            self.reason.as_deref(),
            self.secret.as_deref(),
            self.environment.as_deref(),
            self.subject.as_deref(),
        ]
    }

    /// A human is needed.
    pub fn needs_human(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// What a kind of condition is, for the reference page, the alerts and the runbook.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// The event.
    pub event: EventName,
    /// Its severity.
    pub severity: Severity,
    /// When it is raised.
    pub raised: &'static str,
    /// What ends it.
    pub resolved: &'static str,
    /// The alert that fires.
    pub alert: &'static str,
}

const fn kind(
    event: EventName,
    raised: &'static str,
    resolved: &'static str,
    alert: &'static str,
) -> Kind {
    Kind {
        event,
        severity: Severity::Error,
        raised,
        resolved,
        alert,
    }
}

const NEEDS_HUMAN: &str = "DtrotateNeedsHuman";

/// Every kind of condition, for the reference page, the alerts and the runbook.
pub const KINDS: &[Kind] = &[
    kind(
        EventName::CurrentInvalid,
        "the value in Vault was found not to work at Dynatrace",
        "a working value is stored or found",
        "DtrotateCurrentInvalid",
    ),
    kind(
        EventName::RotationStuck,
        "a rotation failed for a cause that a retry does not remove; `reason` is its stable code",
        "a rotation that succeeds: at the next due time, by `dtrotate rotate NAME`, after a change of its configuration, or automatically where the refusal could not be recorded; or a sweep finds that the value works again",
        "DtrotateRotationStuck",
    ),
    kind(
        EventName::RotationOverdue,
        "a rotation is not done 5 minutes after it was due (an hour, while other rotations of its environment make progress)",
        "the rotation is done or gets `rotation_stuck`",
        "DtrotateRotationOverdue",
    ),
    kind(
        EventName::SecretFailing,
        "runs over a secret have failed for 5 minutes, so it is not rotated, and its old tokens are not retired",
        "a run over the secret succeeds",
        NEEDS_HUMAN,
    ),
    kind(
        EventName::RetirementBlocked,
        "an old token cannot be proven to be this secret's own, the call to retire it is refused, (reason `overdue`) it is not done 5 minutes after it was due, or (reason `revocation`) a person revoked it and it is alive a minute later; or a token that `dtrotate prune` disabled cannot be deleted (a warning with reason `unconfirmed`: it waits for a second `dtrotate prune`)",
        "the token is retired, or `dtrotate forget NAME --token ID`; of a pruned token, it is deleted, or `dtrotate undo --token ID`",
        NEEDS_HUMAN,
    ),
    kind(
        EventName::ConsumerCutOff,
        "an old token was disabled at `max_grace` although it was still in use",
        "`dtrotate undo NAME`, or the end of its quarantine",
        NEEDS_HUMAN,
    ),
    kind(
        EventName::ValueReverted,
        "something other than dtrotate put a former value back twice within 7 days",
        "7 days after the first of the last two times",
        NEEDS_HUMAN,
    ),
    kind(
        EventName::JournalUnreadable,
        "a journal document, or the whole journal, cannot be read",
        "it is read",
        NEEDS_HUMAN,
    ),
    kind(
        EventName::JournalImplausible,
        "a journal document contradicts itself, another document or the time",
        "it is read without a contradiction",
        NEEDS_HUMAN,
    ),
    kind(
        EventName::JournalTooLarge,
        "a journal document is too large to be written, so its secret is neither rotated nor are its old tokens retired",
        "it is written: when fewer tokens retire at a time",
        NEEDS_HUMAN,
    ),
    kind(
        EventName::JournalExpiring,
        "Vault deletes journal documents some time after they were written (`delete_version_after`)",
        "neither the mount nor a document has that limit",
        NEEDS_HUMAN,
    ),
    kind(
        EventName::VaultUnavailable,
        "Vault has been unavailable for 10 seconds, or refuses the credential",
        "Vault is available (`vault_available`)",
        "DtrotateVaultUnavailable",
    ),
    kind(
        EventName::DynatraceUnavailable,
        "an environment has been unavailable for 10 seconds, or refuses the management token",
        "the environment is available (`dynatrace_available`)",
        "DtrotateDynatraceUnavailable",
    ),
    kind(
        EventName::DiscoveryFailing,
        "a folder of `discover` cannot be listed as a whole, or a secret that is new in it cannot be read",
        "it is listed and read",
        NEEDS_HUMAN,
    ),
    kind(
        EventName::SweepFailing,
        "the listing of an environment's tokens has failed or not been completed for three sweep intervals",
        "a sweep is completed",
        NEEDS_HUMAN,
    ),
    kind(
        EventName::ManagementTokenExpiring,
        "an environment's management token expires within 14 days (a fifth of its lifetime, if that is less) and is not a secret that dtrotate rotates",
        "a management token that lives longer is in Vault",
        NEEDS_HUMAN,
    ),
    kind(
        EventName::ClockSkew,
        "the clock of a server differs from this machine's by more than 5 minutes; that of Vault concerns all environments, any other its own",
        "the clocks agree",
        NEEDS_HUMAN,
    ),
    kind(
        EventName::ClockUnknown,
        "an environment was listed, and no answer had a `Date` header",
        "an answer of the environment has a `Date` header",
        NEEDS_HUMAN,
    ),
    kind(
        EventName::InstanceNameConflict,
        "a process with this daemon's instance name has written to the journal although this daemon is running",
        "it has not written for three sweep intervals",
        NEEDS_HUMAN,
    ),
    kind(
        EventName::ConfigRejected,
        "the configuration that was read last is not valid",
        "a reload that succeeds",
        "DtrotateConfigRejected",
    ),
    kind(
        EventName::WrappedSecretIdRefused,
        "a wrapped AppRole secret id could not be unwrapped",
        "another wrapped secret id is in the file",
        NEEDS_HUMAN,
    ),
    kind(
        EventName::OpsUnavailable,
        "the ops listener cannot listen at its address",
        "it listens; retried every 10 s",
        NEEDS_HUMAN,
    ),
    kind(
        EventName::NotifyFailed,
        "a notification channel has failed for 30 seconds, or refuses the credential",
        "a notification is delivered",
        NEEDS_HUMAN,
    ),
    kind(
        EventName::NotificationUndelivered,
        "a completed rotation could not be announced to a route within its grace, at least 24 hours",
        "it is delivered, or the secret is rotated again",
        NEEDS_HUMAN,
    ),
    kind(
        EventName::MintAnswerMismatch,
        "the answer to creating a token belonged to another request",
        "every attempt of the secret is settled: its token was found by its marker and deleted, or does not exist",
        NEEDS_HUMAN,
    ),
    kind(
        EventName::VaultWentBack,
        "Vault is older than what Dynatrace knows",
        "a new value is stored: at the next due time or by `dtrotate rotate NAME`; or the value was found to be dead and works again",
        NEEDS_HUMAN,
    ),
    kind(
        EventName::SecretChangedElsewhere,
        "someone deleted a version of the secret while it was being rotated",
        "the next rotation: at the next due time or by `dtrotate rotate NAME`",
        NEEDS_HUMAN,
    ),
    kind(
        EventName::InternalError,
        "an internal error of dtrotate ended a run",
        "a later run over the secret ends normally; it is retried automatically",
        NEEDS_HUMAN,
    ),
    Kind {
        event: EventName::RotationFailed,
        severity: Severity::Warning,
        raised: "a rotation failed and is retried",
        resolved: "the rotation is done or gets `rotation_stuck`",
        alert: "DtrotateRotationFailing",
    },
    Kind {
        event: EventName::ClassicApiClosed,
        severity: Severity::Error,
        raised: "an environment refuses to create, list or look up API tokens, because Dynatrace has ended them there",
        resolved: "the environment offers them again, or a reload or restart after its secrets have another kind",
        alert: "DtrotateNeedsHuman",
    },
    Kind {
        event: EventName::TokenLimitReached,
        severity: Severity::Error,
        raised: "a platform token cannot be created because its owner has as many as an owner may have",
        resolved: "it was created, after a token of this owner was deleted",
        alert: "DtrotateNeedsHuman",
    },
    Kind {
        event: EventName::RetirementHeld,
        severity: Severity::Warning,
        raised: "the grace of an old token is extended because it is still in use, or (reason `shared`) because another secret holds it as well",
        resolved: "it is no longer in use, or `consumer_cut_off` at `max_grace`; the other secret has a token of its own",
        alert: "DtrotateTokenStillUsed",
    },
];

/// The page of a condition below `docs/`: that of its reason, else that of its alert.
fn runbook(kind: &str, reason: Option<&str>) -> Option<String> {
    if let (Some(reason), "rotation_stuck" | "token_limit_reached") = (reason, kind) {
        return Some(format!("runbooks/stuck-{}.md", reason.replace('_', "-")));
    }
    let known = KINDS.iter().find(|known| known.event.as_str() == kind)?;
    Some(format!("runbooks/{}.md", known.alert))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_a_reason_goes_before_that_of_the_alert() {
        let now = Timestamp::UNIX_EPOCH;
        let stuck = Condition::new(EventName::RotationStuck, "x", now);
        let page = Some("runbooks/DtrotateRotationStuck.md".to_owned());
        assert_eq!(stuck.runbook, page);
        let disabled = stuck.reason("token_disabled");
        let page = Some("runbooks/stuck-token-disabled.md".to_owned());
        assert_eq!(disabled.runbook, page);
    }

    #[test]
    fn p8_every_event_that_is_an_error_is_a_kind_of_condition() {
        for event in EventName::ALL {
            let is_error = event.level() == rotation::event::Level::Error;
            let known = KINDS.iter().any(|kind| kind.event == *event);
            assert!(!is_error || known, "{}", event.as_str());
        }
    }
}
