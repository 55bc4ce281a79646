//! The vocabulary of what happens: one stable word per event, the same in log, journal, metrics and status.

use super::claim::Trigger;
use super::reason::Reason;
use super::token::TokenId;

/// The level of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// A step.
    Debug,
    /// Worth one line.
    Info,
    /// It recovers automatically or is already settled, but someone may want to know.
    Warn,
    /// A person is needed.
    Error,
}

macro_rules! vocabulary {
    ($($variant:ident $word:literal $level:ident $meaning:literal $($todo:literal)?,)*) => {
        /// A stable event identifier.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EventName { $(#[doc = $meaning] $variant,)* }

        impl EventName {
            /// The event with this word; none = a newer version wrote it, or it is misspelt.
            pub fn from_word(word: &str) -> Option<EventName> {
                Self::ALL.iter().copied().find(|event| event.as_str() == word)
            }

            /// Every event, in the order of `docs/logs.md`.
            pub const ALL: &'static [EventName] = &[$(EventName::$variant,)*];

            /// The word in log, journal and metrics.
            pub fn as_str(self) -> &'static str {
                match self { $(EventName::$variant => $word,)* }
            }

            /// Its level, unless the occasion says otherwise.
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

            /// The same for this secret, with its name in the commands.
            pub fn what_to_do_for(self, secret: &str) -> String {
                self.what_to_do().replace("NAME", &as_a_shell_reads_it(secret))
            }
        }
    };
}

vocabulary! {
    DaemonStarting "daemon_starting" Info "Starting; configuration not loaded yet.",
    DaemonReady "daemon_ready" Info "Startup finished: configuration loaded and interrupted work recovered (or Vault or Dynatrace is not reachable yet).",
    ConfigLoaded "config_loaded" Info "The configuration is valid.",
    ConfigRejected "config_rejected" Error "The configuration is not valid; at a reload the old one stays in force."
        "Correct the place that the message names; `dtrotate check --offline` shows all of them with their lines. Then send SIGHUP.",
    ConfigReloaded "config_reloaded" Info "A changed configuration took effect, for the difference only.",
    VaultLogin "vault_login" Info "Logged in to Vault, again or for the first time.",
    KvWithoutVersions "kv_without_versions" Warn "A mount is KV version 1: it has no check-and-set, so a concurrent change by someone else can be overwritten unnoticed."
        "Run a single replica, or better upgrade the mount to KV version 2.",
    VaultUnavailable "vault_unavailable" Error "Vault is unavailable; all rotations wait and are caught up later."
        "Check Vault: is it sealed, unreachable, or does it refuse the token? The message says which. It recovers automatically when the cause is resolved.",
    WrappedSecretIdRefused "wrapped_secret_id_refused" Error "The wrapped AppRole secret id could not be unwrapped; someone else may have it."
        "Find out who unwrapped it first. If that cannot be explained, destroy the secret id. Then put a new wrapped one into the file.",
    VaultAvailable "vault_available" Info "Vault is available again.",
    DynatraceUnavailable "dynatrace_unavailable" Error "An environment is unavailable; its secrets wait and are caught up later."
        "Check the environment, its URL and its management token; `dtrotate check` names what is missing. It recovers automatically when the cause is resolved.",
    DynatraceAvailable "dynatrace_available" Info "An environment is available again.",
    ClassicApiClosed "classic_api_closed" Error "An environment no longer has the API for API tokens; nothing of it is rotated or retired."
        "Put a platform token into each of its secrets and set kind = \"platform\" (docs/token-kinds.md). The tokens that are there work as before until Dynatrace says otherwise.",
    ManagementTokenExpiring "management_token_expiring" Error "The environment's management token expires soon."
        "Put a new management token at the place of the old one in Vault, or list it as a [[secret]] so that it is rotated automatically.",
    SecretReleased "secret_released" Info "A secret left the configuration and its former tokens are gone; its current token stays as it is.",
    SecretAdopted "secret_adopted" Info "A secret was seen for the first time and recorded; nothing was changed.",
    SecretMoved "secret_moved" Info "A secret continues at another place, as the configuration says and a person accepted.",
    DocumentRenamed "document_renamed" Info "The journal document of a secret continues under another name.",
    SecretPaused "secret_paused" Info "A person paused a secret: nothing of it is begun until the pause ends. At WARN its token expires before that, or the pause replaces one that would have ended later.",
    SecretResumed "secret_resumed" Info "The pause of a secret ended; what became due meanwhile is caught up.",
    ScheduleDue "schedule_due" Debug "A secret is due.",
    RotationStarted "rotation_started" Debug "A rotation began: its claim and attempt are in the journal.",
    TokenMinted "token_minted" Debug "A new token was created.",
    TokenVerified "token_verified" Debug "The new token authenticated as itself.",
    TokenUnproven "token_unproven" Warn "A new token was stored although no call could prove that its value works: its listing is as ordered, and more cannot be asked."
        "Check that the consumers work. Give the token a right that a trial needs, or choose the trial with `verify` (docs/token-kinds.md).",
    SecretStored "secret_stored" Debug "The new value is the current version in Vault.",
    SecretCreated "secret_created" Info "The first token of a secret was created and stored, as `create = true` asks for.",
    RotationSucceeded "rotation_succeeded" Info "The new token is in Vault and in the journal; the old one stays enabled until the end of its grace.",
    RotationFailed "rotation_failed" Warn "Rotation failed; the current token is unchanged. It will be retried automatically."
        "No action yet. If it keeps failing, remove the cause that the message names.",
    TokenLimitReached "token_limit_reached" Error "No token was created, because its owner has as many as an owner may have."
        "Delete tokens of this owner that nobody uses (expired ones count), give secrets to another owner, or rotate less often; it is retried automatically.",
    RotationOverdue "rotation_overdue" Error "A rotation is not done although it was due minutes ago, whatever the cause."
        "The message has the number of attempts and the last error. Remove its cause; the rotation is retried automatically.",
    SecretFailing "secret_failing" Error "Runs over a secret keep failing, so it is not rotated, and its old tokens are not retired."
        "The message has the last error. Remove its cause; it is retried automatically.",
    DiscoveryFailing "discovery_failing" Error "The secrets below a folder of `discover` cannot be listed or read, so new ones are not found; none is released."
        "The message has the error: most likely a rule for `list` is missing in the policy; `dtrotate check` prints it.",
    SweepFailing "sweep_failing" Error "The tokens of an environment cannot be compared with the journal, so tokens that were left behind are not found."
        "The message has the last error. Remove its cause; the sweep is retried automatically.",
    RotationSkipped "rotation_skipped" Info "A missed rotation was skipped as configured (`missed = \"skip\"`).",
    RotationRecovered "rotation_recovered" Info "Resumed an interrupted rotation of another (or a previous) process.",
    RotationStuck "rotation_stuck" Error "A rotation needs a person; the message says what to do."
        "Remove the cause that the message names, then run `dtrotate rotate NAME`. Otherwise it is tried again at the next due time; its value is examined again with each sweep.",
    MintAnswerMismatch "mint_answer_mismatch" Error "The answer to creating a token belongs to another request; nothing was stored. The value of our new token may have reached someone else."
        "Find out what mixes up answers between dtrotate and Dynatrace (a proxy, a load balancer). The token that was created is found by its marker and deleted.",
    OrphanFound "orphan_found" Warn "A token bears our marker but is in no journal document. At INFO it is retired after the full grace; at WARN it is a copy and left alone."
        "At WARN: rename the token in Dynatrace, so that it is not mistaken for one of dtrotate.",
    OrphanDeleted "orphan_deleted" Info "A token of an interrupted attempt, never stored anywhere, was deleted.",
    RetirementHeld "retirement_held" Info "The grace of an old token is extended: it is still in use, or consumers could not read Vault.",
    RetirementRestarted "retirement_restarted" Warn "An old token was enabled again by someone; its grace begins again."
        "Find out who enabled it and why. If it is still needed, run `dtrotate undo NAME`.",
    RetirementBlocked "retirement_blocked" Error "An old token cannot be retired: it cannot be proven to be this secret's own, or the call is refused."
        "The message names the token and says why. End it by hand if it is yours, then run `dtrotate forget NAME --token ID`.",
    ConsumerCutOff "consumer_cut_off" Error "An old token was disabled although a consumer still uses it."
        "Find the consumer at the address and make it read the new value; `dtrotate undo NAME` brings the old token back until its quarantine ends.",
    TokenDisabled "token_disabled" Info "An old token was disabled; until it is deleted it can be enabled again.",
    TokenDeleted "token_deleted" Info "An old token is gone.",
    TokenRevoked "token_revoked" Warn "A person revoked a token: it is disabled or deleted, and is not brought back."
        "Restart consumers that have not picked up the new value: they are locked out. `dtrotate undo NAME --token ID --yes` brings it back if it is safe.",
    TokenPruned "token_pruned" Info "A token that `dtrotate prune` disabled was deleted after its quarantine. At WARN it is kept, because someone enabled it or the command was interrupted."
        "At WARN: nothing, if it is still needed. Otherwise run `dtrotate prune` again.",
    TokenShared "token_shared" Warn "A token that is due for retirement is also the current value of another secret; it is left alone."
        "Give each secret a separate token, or list both fields under one [[secret]].",
    SecretChangedElsewhere "secret_changed_elsewhere" Warn "Someone else changed the secret; their change is kept."
        "Find out who wrote it. If it was not intended, put the right token there.",
    ValueReverted "value_reverted" Error "Something other than dtrotate puts a former value back again and again."
        "Find what writes the secret (Terraform, a deploy script, a backup job) and let it no longer write this field. It is resolved when no former value was put back for 7 days.",
    CurrentInvalid "current_invalid" Error "The current value in Vault does not work at Dynatrace."
        "Consumers are locked out now: `dtrotate rotate NAME` creates a new token, or put a working token there.",
    VaultWentBack "vault_went_back" Error "Vault is older than what Dynatrace knows: it was restored from a backup."
        "Check that consumers use what is in Vault now. Nothing is disabled until it has settled; raise `quarantine` above the age of your oldest backup.",
    ClockSkew "clock_skew" Error "The clocks of this machine and of a server differ too much; nothing of its environment (of any, if it is Vault's) is rotated by schedule, disabled or deleted."
        "Check the time synchronisation of this machine and of the server that the message names.",
    ClockUnknown "clock_unknown" Error "An environment sends no time, so the clocks cannot be compared; old tokens are neither disabled nor deleted."
        "Find out what removes the `Date` header from its answers (a proxy), or call the environment directly.",
    JournalUnreadable "journal_unreadable" Error "A journal document cannot be read; nothing is done for its secret."
        "Use the version of dtrotate that wrote it, or repair the document from an older version of it in Vault.",
    JournalImplausible "journal_implausible" Error "A journal document contradicts itself, another document or the time; nothing is done for its secret."
        "The message names the contradiction and what to do.",
    JournalTooLarge "journal_too_large" Error "A journal document is too large to be written, so nothing can be done for its secret."
        "Drop entries of tokens that you have ended by hand with `dtrotate forget NAME --token ID`, then rotate less often or shorten `max_grace` or `quarantine`.",
    JournalExpiring "journal_expiring" Error "Vault deletes journal documents automatically; without them dtrotate would lose track of old tokens, which would stay valid."
        "Set `delete_version_after` of the journal's mount, or of the documents that the message names, to 0s.",
    InstanceNameConflict "instance_name_conflict" Error "Another daemon uses the same instance name, so the two cannot be distinguished in claims, logs and metrics."
        "Give each daemon its own name: set `DTROTATE_INSTANCE`, or leave it unset where host names differ. Then restart that daemon.",
    InternalError "internal_error" Error "An internal error of dtrotate ended a run; it will be retried."
        "Report it with the log lines before it. Nothing is lost: the journal says how to continue.",
    OpsUnavailable "ops_unavailable" Error "The ops listener cannot listen at its address; rotation is not affected, but there is no status page, and no metrics and health checks."
        "Give `[ops] listen` an address that is free and reload; it is also retried automatically.",
    NotifyFailed "notify_failed" Error "A notification channel is failing; rotation is not affected, and pending notifications are sent when it recovers."
        "Check the token, the URL and network connectivity: the message says which of `[notify]` it is and what was answered. It is retried automatically.",
    NotificationUndelivered "notification_undelivered" Error "A completed rotation could not be announced to a route of `[[notify.route]]` within its grace (at least 24 hours)."
        "Whoever relies on the announcement does not know of the new token: inform them. Then see `notify_failed` for the cause; it is retried until the next rotation.",
    UndoSucceeded "undo_succeeded" Info "The previous token is the current value again.",
    UndoFailed "undo_failed" Warn "An undo was given up; the current token is unchanged."
        "The message says why. Run `dtrotate undo NAME` again when that is resolved.",
    LogLinesDropped "log_lines_dropped" Warn "The reader of the log was slow, or the log could not be written: lines were lost, and rotation was not affected."
        "Find out why: is the disk full, or the reader slow? `dtrotate_log_lines_dropped_total` counts them.",
    CallFailed "call_failed" Debug "A call to Vault or Dynatrace failed; the run decides what follows.",
    PassCompleted "pass_completed" Info "One pass (`run --once`) has ended; the message says what it did and what is left.",
    ShutdownStarted "shutdown_started" Info "The process was asked to stop; no new work is taken.",
    ShutdownFinished "shutdown_finished" Info "Shut down; all runs finished or were interrupted at a safe point.",
}

fn as_a_shell_reads_it(name: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || "/_.-@#:".contains(letter);
    match name.chars().all(is_plain) {
        true => name.to_owned(),
        false => format!("'{}'", name.replace('\'', r"'\''")),
    }
}

/// One event of one secret, for the log and (above DEBUG) the history.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Report {
    /// The stable identifier.
    pub event: EventName,
    /// How grave it is; that of its event unless [`Report::at`] changed it.
    pub level: Level,
    /// One sentence for people, without a token value.
    pub message: String,
    /// The token it is about.
    pub token_id: Option<TokenId>,
    /// The token that it replaces.
    pub old_token_id: Option<TokenId>,
    /// What the server answered.
    pub error: Option<String>,
    /// Why the rotation runs.
    pub trigger: Option<Trigger>,
    /// The number of the attempt in the document of the secret, the N of the marker: it counts all attempts, not those of this rotation.
    pub attempt: Option<u64>,
    /// The stable code of a failure.
    pub reason: Option<Reason>,
}

impl Report {
    /// A report at the level of its event, about no token yet.
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

    /// Adds the token it is about, if that is known.
    pub fn token<'a>(mut self, id: impl Into<Option<&'a TokenId>>) -> Self {
        self.token_id = id.into().cloned();
        self
    }

    /// Adds the token that is replaced, if there is one.
    pub fn old<'a>(mut self, id: impl Into<Option<&'a TokenId>>) -> Self {
        self.old_token_id = id.into().cloned();
        self
    }

    /// The same at another level than that of its event.
    pub fn at(mut self, level: Level) -> Self {
        self.level = level;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_names_the_secret_as_a_shell_reads_it() {
        let event = EventName::CurrentInvalid;
        for (secret, command) in [
            (
                "dynatrace/a_b#token",
                "`dtrotate rotate dynatrace/a_b#token`",
            ),
            ("it's $(mine)", r"`dtrotate rotate 'it'\''s $(mine)'`"),
        ] {
            let text = event.what_to_do_for(secret);
            assert!(text.contains(command) && !text.contains("NAME"), "{text}");
        }
    }

    #[test]
    fn p8_every_warning_and_error_says_what_to_do() {
        for event in EventName::ALL {
            let serious = event.level() >= Level::Warn;
            assert!(
                !serious || !event.what_to_do().is_empty(),
                "{}",
                event.as_str()
            );
        }
    }
}
