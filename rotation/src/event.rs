//! The vocabulary of what happens: one stable word per event, the same in log, journal, metrics and status.

use jiff::Timestamp;

use super::record::{Event, Trigger};
use super::token::TokenId;

/// How loud an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// A step, for the curious.
    Debug,
    /// Worth one line.
    Info,
    /// It heals by itself or is already settled, but somebody may want to know.
    Warn,
    /// A human is needed.
    Error,
}

macro_rules! vocabulary {
    ($($variant:ident $word:literal $level:ident $meaning:literal $($todo:literal)?,)*) => {
        /// A stable event identifier.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EventName { $(#[doc = $meaning] $variant,)* }

        impl EventName {
            /// Every event there is.
            pub const ALL: &'static [EventName] = &[$(EventName::$variant,)*];

            /// The word in log, journal and metrics.
            pub fn as_str(self) -> &'static str {
                match self { $(EventName::$variant => $word,)* }
            }

            /// How loud it is, unless the occasion says otherwise.
            pub fn level(self) -> Level {
                match self { $(EventName::$variant => Level::$level,)* }
            }

            /// What it means, in one line.
            pub fn meaning(self) -> &'static str {
                match self { $(EventName::$variant => $meaning,)* }
            }

            /// What a person does about it; empty = nothing.
            pub fn what_to_do(self) -> &'static str {
                match self { $(EventName::$variant => concat!("" $(, $todo)?),)* }
            }
        }
    };
}

vocabulary! {
    DaemonStarting "daemon_starting" Info "The process began; nothing is read yet.",
    DaemonReady "daemon_ready" Info "Configuration, signals and recovery are done, or there is nothing to talk to yet.",
    ConfigLoaded "config_loaded" Info "The configuration is valid.",
    ConfigRejected "config_rejected" Error "The configuration is not valid; at a reload the old one stays in force."
        "Correct the place that the message names; `dtrotate check --offline` shows all of them with their lines. Then send SIGHUP.",
    ConfigReloaded "config_reloaded" Info "A changed configuration took effect, for the difference only.",
    VaultLogin "vault_login" Info "Logged in to Vault, again or for the first time.",
    KvWithoutVersions "kv_without_versions" Warn "A mount is KV version 1: it has no check-and-set, so a change made by somebody else at the same moment can be overwritten unnoticed."
        "Run a single replica, or better upgrade the mount to KV version 2.",
    VaultUnavailable "vault_unavailable" Error "Vault cannot be used; everything waits and is caught up later."
        "Look at Vault: is it sealed, unreachable, or does it refuse the token? The message says which. It heals by itself when the cause is gone.",
    WrappedSecretIdRefused "wrapped_secret_id_refused" Error "The wrapped AppRole secret id could not be unwrapped; somebody else may have it."
        "Find out who unwrapped it first: destroy the secret id if that was nobody you know, then put a new wrapped one into the file.",
    VaultAvailable "vault_available" Info "Vault can be used again.",
    DynatraceUnavailable "dynatrace_unavailable" Error "An environment cannot be used; its secrets wait and are caught up later."
        "Look at the environment, its URL and its management token; `dtrotate check` names what is missing. It heals by itself when the cause is gone.",
    DynatraceAvailable "dynatrace_available" Info "An environment can be used again.",
    ManagementTokenExpiring "management_token_expiring" Error "The environment's management token ends soon."
        "Put a new management token where the old one stands in Vault, or list it as a [[secret]] so that it rotates by itself.",
    SecretReleased "secret_released" Info "A secret left the configuration and its former tokens are gone; its current token stays as it is."
        "Nothing at INFO. At ERROR or WARN its former tokens cannot be ended by dtrotate: the message names them and says what to do.",
    SecretAdopted "secret_adopted" Info "A secret was seen for the first time and recorded; nothing was changed.",
    ScheduleDue "schedule_due" Debug "A secret is due.",
    RotationStarted "rotation_started" Debug "A rotation began: its claim and attempt stand in the journal.",
    TokenMinted "token_minted" Debug "A new token was made.",
    TokenVerified "token_verified" Debug "The new token works and has the rights asked for.",
    SecretStored "secret_stored" Debug "The new value is the current version in Vault.",
    RotationSucceeded "rotation_succeeded" Info "The new token is in Vault and in the journal; the old one waits for the end of its grace.",
    RotationFailed "rotation_failed" Warn "A rotation did not work out; nothing was lost, and it is tried again by itself."
        "Nothing yet: wait for the next try. If it lasts, `error` says what the other side answered.",
    RotationSkipped "rotation_skipped" Info "A due time was not served on purpose.",
    RotationRecovered "rotation_recovered" Info "The work of a dead or former holder was taken over.",
    RotationStuck "rotation_stuck" Error "A rotation cannot go on without a human; the message says what to do."
        "What the message says; `reason` is its stable code. Then `dtrotate rotate NAME`, or wait for the next due time.",
    OrphanDeleted "orphan_deleted" Info "A token of a broken-off attempt, never stored anywhere, was deleted.",
    RetirementHeld "retirement_held" Info "An old token works on for longer: it is still used, or consumers could not read Vault."
        "Nothing at INFO. At WARN a consumer has not picked up the new value: find it at the address. At ERROR the message says what to do.",
    TokenDisabled "token_disabled" Info "An old token was disabled; until it is deleted it can be enabled again.",
    TokenDeleted "token_deleted" Info "An old token is gone.",
    TokenShared "token_shared" Warn "A token that should retire is the current value of another secret, too; it is left alone."
        "Give each secret a token of its own, or list both fields under one [[secret]].",
    SecretChangedElsewhere "secret_changed_elsewhere" Warn "Somebody else changed the secret; their change stands."
        "Find out who wrote it. If it was not meant, put the right token there.",
    CurrentInvalid "current_invalid" Error "The current value in Vault does not work at Dynatrace."
        "Consumers are locked out now: `dtrotate rotate NAME` makes a new token from what the journal knows, or put a working token there.",
    VaultWentBack "vault_went_back" Error "Vault is older than what Dynatrace has seen: it was restored from a backup."
        "Check that consumers use what is in Vault now. Nothing is disabled until it is settled; raise `quarantine` above the age of your oldest backup.",
    ClockSkew "clock_skew" Error "The clocks of this machine and of a server differ too much; nothing is disabled or deleted."
        "Check the time synchronisation of this machine and of the server that the message names.",
    JournalUnreadable "journal_unreadable" Error "A journal document cannot be read; its secret stands still until a human looks."
        "Use the version of dtrotate that wrote it, or repair the document from an older version of it in Vault.",
    OpsUnavailable "ops_unavailable" Error "The ops listener cannot listen at its address; rotation goes on, but nobody can see it."
        "Give `[ops] listen` an address that is free and reload; it is tried again by itself, too.",
    NotifyFailed "notify_failed" Error "A way of telling people does not work; rotation goes on, and what could not be told is told when it works again."
        "Look at the token, the URL and the way there: the message says which of `[notify]` it is and what was answered. It is tried again by itself.",
    UndoSucceeded "undo_succeeded" Info "The previous token is the current value again.",
    ShutdownStarted "shutdown_started" Info "The process was asked to stop; no new work is taken.",
    ShutdownFinished "shutdown_finished" Info "The process ends; nothing is in flight, or it was left safely.",
}

/// One event of one secret, on its way to the log and (if it is worth keeping) into the journal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Report {
    /// What.
    pub event: EventName,
    /// How loud.
    pub level: Level,
    /// The sentence for people.
    pub message: String,
    /// The token it is about.
    pub token_id: Option<TokenId>,
    /// The token that it replaces.
    pub old_token_id: Option<TokenId>,
    /// What the other side said.
    pub error: Option<String>,
    /// Why the rotation runs.
    pub trigger: Option<Trigger>,
    /// Which attempt.
    pub attempt: Option<u64>,
    /// The stable code of a failure.
    pub reason: Option<super::record::Reason>,
}

impl Report {
    /// An event with its sentence.
    pub fn new(event: EventName, message: impl Into<String>) -> Self {
        Report {
            event,
            level: event.level(),
            message: message.into(),
            token_id: None,
            old_token_id: None,
            error: None,
            trigger: None,
            attempt: None,
            reason: None,
        }
    }

    /// Says which token it is about.
    pub fn token(mut self, id: &TokenId) -> Self {
        self.token_id = Some(id.clone());
        self
    }

    /// Says which token is replaced.
    pub fn old(mut self, id: &TokenId) -> Self {
        self.old_token_id = Some(id.clone());
        self
    }

    /// Makes it louder or quieter than usual.
    pub fn at(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// The same as a line of the journal document.
    pub fn entry(&self, at: Timestamp) -> Event {
        Event {
            at,
            event: self.event.as_str().to_owned(),
            token_id: self.token_id.clone(),
            detail: self.message.clone(),
            unknown: Default::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p8_whatever_is_loud_says_what_to_do() {
        for event in EventName::ALL {
            let loud = event.level() >= Level::Warn;
            assert!(
                !loud || !event.what_to_do().is_empty(),
                "{}",
                event.as_str()
            );
        }
    }
}
