//! What help and manual pages say beside the options: descriptions, examples, files, variables, exit status.

/// The explanation of one command.
pub struct Manual {
    /// What it does, in a few sentences.
    pub description: &'static str,
    /// Command lines, each with what it is for.
    pub examples: &'static [(&'static str, &'static str)],
    /// Files that it reads.
    pub files: &'static [(&'static str, &'static str)],
    /// Environment variables that it reads.
    pub environment: &'static [(&'static str, &'static str)],
    /// The exit status.
    pub exit_status: &'static [(u8, &'static str)],
}

type Pairs = &'static [(&'static str, &'static str)];

const CONFIGURATION: Pairs = &[
    (
        "/etc/dtrotate/dtrotate.toml",
        "The configuration; see dtrotate.toml(5).",
    ),
    (
        "/etc/dtrotate/conf.d/*.toml",
        "Drop-in files, read in the order of their names.",
    ),
];

const CONFIG: (&str, &str) = ("DTROTATE_CONFIG", "The configuration file, like --config.");
const OVERRIDE: (&str, &str) = (
    "DTROTATE_SECTION__KEY",
    "Overrides a key of the configuration, such as DTROTATE_VAULT__ADDRESS.",
);
const INSTANCE: (&str, &str) = (
    "DTROTATE_INSTANCE",
    "The name in claims and log lines; default: HOSTNAME/daemon. Each replica needs its own. Commands append /command-PID.",
);
const ADDRESS: (&str, &str) = (
    "BAO_ADDR, VAULT_ADDR, BAO_NAMESPACE, VAULT_NAMESPACE, BAO_CACERT, VAULT_CACERT",
    "Defaults of [vault] address, namespace and ca_file.",
);
const TOKEN: (&str, &str) = (
    "BAO_TOKEN, VAULT_TOKEN",
    "The Vault token. In every command but run it overrides [vault.auth], so that Vault's audit log shows the person.",
);
const LOG: (&str, &str) = (
    "RUST_LOG",
    "The level of the log where [log] level is not set.",
);
const COMMANDS: Pairs = &[CONFIG, OVERRIDE, INSTANCE, ADDRESS, TOKEN, LOG];

const DONE: (u8, &str) = (0, "Success.");
const USAGE: (u8, &str) = (2, "Wrong usage, or a name that does not exist.");
const UNREACHABLE: (u8, &str) = (69, "Vault or Dynatrace cannot be reached.");
const BUSY: (u8, &str) = (75, "Another process holds the claim; try again later.");
const BAD_CONFIG: (u8, &str) = (78, "The configuration is not valid.");

/// The explanation of the program or of one of its commands.
pub fn of(command: &str) -> Manual {
    match command {
        "dtrotate" => Manual {
            description: "Rotates Dynatrace tokens on cron schedules and keeps the current value in HashiCorp Vault or OpenBao. `dtrotate run` is the \
                          daemon; the other commands check, show and change what it does. Results go to stdout, logs and problems to stderr.",
            examples: &[
                (
                    "dtrotate check",
                    "Validate the configuration and verify all permissions.",
                ),
                ("dtrotate run", "Run the daemon."),
                ("dtrotate status", "Show what needs a human."),
            ],
            files: CONFIGURATION,
            environment: COMMANDS,
            exit_status: &[
                DONE,
                (1, "The operation failed, or a human is needed."),
                USAGE,
                UNREACHABLE,
                BUSY,
                BAD_CONFIG,
            ],
        },
        "run" => Manual {
            description: "Runs the daemon in the foreground, for systemd or a container. SIGHUP reloads the configuration; SIGTERM finishes what is \
                          running and stops; a second signal stops at once. It stays up while Vault or Dynatrace cannot be reached. With --once it \
                          makes one complete pass instead and exits: it finishes interrupted work, rotates and retires what is due (without \
                          jitter, and regardless of `missed`), and compares the tokens of each environment with the journal.",
            examples: &[
                (
                    "dtrotate run --config dtrotate.toml",
                    "Run with this configuration.",
                ),
                (
                    "dtrotate run --once --timeout 10m",
                    "Make one pass, from cron, a systemd timer or a job.",
                ),
                (
                    "dtrotate run --once --metrics-file /var/lib/node_exporter/dtrotate.prom",
                    "Write the metrics for the textfile collector of the node exporter.",
                ),
            ],
            files: CONFIGURATION,
            environment: &[
                CONFIG,
                OVERRIDE,
                INSTANCE,
                ADDRESS,
                LOG,
                (
                    "NOTIFY_SOCKET, WATCHDOG_USEC, JOURNAL_STREAM",
                    "Set by systemd: readiness, watchdog, and a log with fields.",
                ),
            ],
            exit_status: &[
                (
                    0,
                    "Stopped by a signal; with --once: everything that was due is done.",
                ),
                (
                    1,
                    "It cannot start, or a second signal stopped it at once; with --once: something needs a human, or the time limit was reached.",
                ),
                (2, "Wrong usage."),
                (69, "With --once: Vault or Dynatrace cannot be reached."),
                BAD_CONFIG,
            ],
        },
        "check" => Manual {
            description: "Validates the configuration (errors include line and column), verifies the permissions at Vault and Dynatrace, compares \
                          with the running daemon, and prints problems, warnings and a summary. It changes nothing.",
            examples: &[
                ("dtrotate check", "Problems and warnings of everything."),
                (
                    "dtrotate check dynatrace/ci",
                    "Everything about one secret, with its next due times.",
                ),
                (
                    "dtrotate check --offline",
                    "Validate the configuration on a machine without access to Vault.",
                ),
            ],
            files: CONFIGURATION,
            environment: COMMANDS,
            exit_status: &[
                (0, "No problem was found; there may be warnings."),
                (1, "A problem was found."),
                USAGE,
                UNREACHABLE,
                BAD_CONFIG,
            ],
        },
        "status" => Manual {
            description: "Shows the status of secrets, problems first. It queries the running daemon and falls back to the journal in Vault. \
                          Names may also be ids of tokens: current or retiring ones.",
            examples: &[
                ("dtrotate status", "All secrets."),
                (
                    "dtrotate status 'dynatrace/prod/*'",
                    "Everything about the secrets that match.",
                ),
                (
                    "dtrotate status dt0c01.ABCDEFGHIJKLMNOPQRSTUVWX",
                    "The secret that this token belongs to.",
                ),
                (
                    "dtrotate status --json | jq '.troubles[].message'",
                    "For machines; docs/status.md describes the fields.",
                ),
            ],
            files: CONFIGURATION,
            environment: &[
                CONFIG,
                OVERRIDE,
                ADDRESS,
                TOKEN,
                LOG,
                ("NO_COLOR", "If not empty, no colors are used."),
            ],
            exit_status: &[
                (0, "Nothing needs a human."),
                (1, "Something needs a human."),
                USAGE,
                (69, "Neither a daemon nor Vault can be reached."),
                BAD_CONFIG,
            ],
        },
        "rotate" => Manual {
            description: "Rotates secrets now, under the same claims as a daemon, several at a time, with at most [limits] concurrency calls to each environment. It prints \
                          each result as soon as it is known: both token ids, the version of the secret, and when the old token is disabled and \
                          deleted. Old tokens that are due when all rotations have ended are disabled and deleted before the command ends. On a terminal it asks before it \
                          rotates more than ten secrets; without one, --all and full names need no confirmation, but patterns and \
                          --environment that match more than ten need --yes.",
            examples: &[
                (
                    "dtrotate rotate dynatrace/ci --dry-run",
                    "Show what would be done.",
                ),
                ("dtrotate rotate dynatrace/ci", "Rotate one secret."),
                (
                    "dtrotate rotate 'dynatrace/prod/**' --yes",
                    "Rotate all secrets below a folder without a question.",
                ),
                (
                    "dtrotate rotate dynatrace/ci --compromised",
                    "Replace a leaked token and disable it at once.",
                ),
                (
                    "dtrotate rotate --all --json | jq -r 'select(.exit_status != 0) | .secret'",
                    "Rotate everything and list what failed.",
                ),
            ],
            files: CONFIGURATION,
            environment: COMMANDS,
            exit_status: &[
                (0, "All secrets were rotated."),
                (
                    1,
                    "The rotation of a secret failed; the message says what to do.",
                ),
                USAGE,
                UNREACHABLE,
                BUSY,
                BAD_CONFIG,
            ],
        },
        "undo" => Manual {
            description: "Makes the previous token of a secret its current value again, as long as it exists (grace and quarantine): it is \
                          enabled, verified and stored; the newer token retires. A second undo does not revert the first one: name the newer token \
                          with --token. Without a NAME, it brings back a token that dtrotate prune disabled: its name is restored, and it is \
                          enabled if it was enabled before.",
            examples: &[
                (
                    "dtrotate undo dynatrace/ci --dry-run",
                    "Show both tokens; change nothing.",
                ),
                (
                    "dtrotate undo dynatrace/ci",
                    "Bring the previous token back.",
                ),
                (
                    "dtrotate undo dynatrace/ci --token dt0c01.ABCDEFGHIJKLMNOPQRSTUVWX",
                    "Bring this retiring token back.",
                ),
                (
                    "dtrotate undo dynatrace/ci --token dt0c01.ABCDEFGHIJKLMNOPQRSTUVWX --yes",
                    "The same, although it was revoked.",
                ),
                (
                    "dtrotate undo --token dt0c01.ABCDEFGHIJKLMNOPQRSTUVWX",
                    "Bring back a token that dtrotate prune disabled.",
                ),
            ],
            files: CONFIGURATION,
            environment: COMMANDS,
            exit_status: &[
                DONE,
                (1, "It cannot be undone; the current value is unchanged."),
                USAGE,
                UNREACHABLE,
                BUSY,
                BAD_CONFIG,
            ],
        },
        "adopt" => Manual {
            description: "Records the token whose value is in Vault as the current one of a secret, although nothing proves that the value is this \
                          token's: a platform token whose scopes allow no call that would prove it. Its owner and its rights are cloned \
                          from then on, so compare the id with Account Management first. When it is replaced, dtrotate shortens its expiry, \
                          which then ends it.",
            examples: &[(
                "dtrotate adopt dynatrace/otel --token dt0s16.ABCDEFGH",
                "Take this token over.",
            )],
            files: CONFIGURATION,
            environment: COMMANDS,
            exit_status: &[
                DONE,
                (1, "Vault does not hold the value of this token."),
                USAGE,
                UNREACHABLE,
                BUSY,
                BAD_CONFIG,
            ],
        },
        "forget" => Manual {
            description: "Drops a retiring token that dtrotate cannot prove to be its own, or cannot disable or delete, from the journal. The \
                          token is not changed at Dynatrace.",
            examples: &[(
                "dtrotate forget dynatrace/ci --token dt0c01.ABCDEFGHIJKLMNOPQRSTUVWX",
                "Drop this token after you have dealt with it in Dynatrace.",
            )],
            files: CONFIGURATION,
            environment: COMMANDS,
            exit_status: &[
                DONE,
                (1, "It is not a retiring token of this secret."),
                USAGE,
                UNREACHABLE,
                BUSY,
                BAD_CONFIG,
            ],
        },
        "revoke" => Manual {
            description: "Ends a leaked token at once. If a secret holds it, another token is created, verified and stored first; then the leaked one is \
                          disabled, without a grace and whoever still uses it, and deleted after the quarantine. It takes over a claim that \
                          another process holds, and ignores pauses and `enabled = false`. A token that several secrets hold is ended when each \
                          has another one. It is brought back only by `dtrotate undo NAME --token ID --yes`. A token that no secret knows needs \
                          --environment. On a terminal it asks; without one it needs --yes.",
            examples: &[
                (
                    "dtrotate revoke dt0c01.ABCDEFGHIJKLMNOPQRSTUVWX --yes",
                    "End this token, whichever secret it belongs to.",
                ),
                (
                    "dtrotate revoke dt0c01.ABCDEFGHIJKLMNOPQRSTUVWX --environment prod",
                    "End a token that dtrotate does not manage.",
                ),
                (
                    "dtrotate revoke dt0c01.ABCDEFGHIJKLMNOPQRSTUVWX --without-replacement --yes",
                    "End it although no new token can be created: its consumers are locked out.",
                ),
            ],
            files: CONFIGURATION,
            environment: COMMANDS,
            exit_status: &[
                (0, "The token is disabled or gone."),
                (1, "It could not be ended; the message says why."),
                USAGE,
                (
                    69,
                    "Vault or Dynatrace cannot be reached; the message says what to do in Dynatrace.",
                ),
                BUSY,
                BAD_CONFIG,
            ],
        },
        "pause" => Manual {
            description: "Pauses secrets: until the pause ends, no replica and no command begins any work on them; work in progress is finished. The \
                          pause is in the journal and is shown with its author, its reason and its end. Work that became due meanwhile is \
                          caught up when it ends.",
            examples: &[
                (
                    "dtrotate pause dynatrace/ci --for 2h --reason 'release 7.4'",
                    "Pause one secret for two hours.",
                ),
                (
                    "dtrotate pause --all --until 2027-01-07T08:00:00+01:00 --yes",
                    "Pause everything until the end of a change freeze.",
                ),
            ],
            files: CONFIGURATION,
            environment: COMMANDS,
            exit_status: &[
                (0, "All secrets are paused."),
                (1, "A secret could not be paused; the message says why."),
                USAGE,
                UNREACHABLE,
                BUSY,
                BAD_CONFIG,
            ],
        },
        "resume" => Manual {
            description: "Ends the pause of secrets. Work that became due meanwhile is caught up.",
            examples: &[
                ("dtrotate resume dynatrace/ci", "Resume one secret."),
                ("dtrotate resume --all --yes", "Resume everything."),
            ],
            files: CONFIGURATION,
            environment: COMMANDS,
            exit_status: &[
                (0, "None of these secrets is paused."),
                (1, "A secret could not be resumed; the message says why."),
                USAGE,
                UNREACHABLE,
                BUSY,
                BAD_CONFIG,
            ],
        },
        "history" => Manual {
            description: "Shows what happened to secrets, newest last: the event, from which token to which, the message of the log, and who did it \
                          (the instance, or the user of a command as Vault knows them). The history is a separate document in the journal with \
                          the last 200 events of each secret, and the times at which each of the 200 tokens before these was stored, disabled and \
                          deleted.",
            examples: &[
                (
                    "dtrotate history dynatrace/ci",
                    "Everything about one secret.",
                ),
                (
                    "dtrotate history --since 24h --json | jq '.events[] | select(.event == \"token_revoked\")'",
                    "What was revoked since yesterday.",
                ),
            ],
            files: CONFIGURATION,
            environment: COMMANDS,
            exit_status: &[
                DONE,
                (1, "A history cannot be read."),
                USAGE,
                (69, "Vault cannot be reached."),
                BAD_CONFIG,
            ],
        },
        "upcoming" => Manual {
            description: "Shows what will happen within some time, in order: rotations (50 for each secret at most), old tokens that are disabled \
                          and deleted, those of dtrotate prune included, tokens that expire, pauses that end. It is computed from the journal and the schedules.",
            examples: &[
                ("dtrotate upcoming", "The next seven days."),
                (
                    "dtrotate upcoming 'dynatrace/prod/**' --within 24h",
                    "What happens to these secrets until tomorrow.",
                ),
            ],
            files: CONFIGURATION,
            environment: COMMANDS,
            exit_status: &[
                DONE,
                (1, "The journal cannot be read."),
                USAGE,
                (69, "Vault cannot be reached."),
                BAD_CONFIG,
            ],
        },
        "audit" => Manual {
            description: "Lists every token of the environments and accounts: its relation to dtrotate, owner, age, last use and from where, expiry, \
                          rights to manage tokens. It ends with findings: tokens that manage tokens, of another installation, left over, personal, \
                          without an owner, that never expire, and unused for 90 days; each is explained. It changes nothing.",
            examples: &[
                ("dtrotate audit", "All environments and accounts."),
                (
                    "dtrotate audit --environment prod --format csv >tokens.csv",
                    "For a spreadsheet.",
                ),
                (
                    "dtrotate audit --json --fail-on warning",
                    "For a nightly job that fails on any finding.",
                ),
            ],
            files: CONFIGURATION,
            environment: COMMANDS,
            exit_status: &[
                (0, "There is no finding that counts."),
                (
                    1,
                    "There is a finding that --fail-on counts, or something cannot be read.",
                ),
                USAGE,
                UNREACHABLE,
                BAD_CONFIG,
            ],
        },
        "prune" => Manual {
            description: "Shows the tokens of the environments and accounts that no secret holds and that are unused, expired or of an owner; a token must \
                          meet all criteria that are given. With --yes each is disabled and its name gets the marker [dtrotate:INSTALLATION.prune.N], in one call. \
                          A running daemon, or dtrotate run --once, deletes it after the quarantine of [defaults], if it bears that marker and is still \
                          disabled; until then dtrotate undo --token ID brings it back. Platform tokens cannot be renamed: after the quarantine a \
                          second dtrotate prune --yes deletes them. Never touched: tokens of secrets and of other installations, management tokens \
                          and others that can manage tokens, personal tokens (unless --personal), tokens younger than --min-age, and tokens that \
                          were used since the plan was made.",
            examples: &[
                ("dtrotate prune --unused 90d", "Show the plan."),
                (
                    "dtrotate prune --unused 90d --environment prod --yes",
                    "Disable the tokens of one environment.",
                ),
                (
                    "dtrotate prune --owner ada@example.com --personal --json",
                    "The tokens of someone who has left, as a JSON document.",
                ),
                (
                    "dtrotate undo --token dt0c01.ABCDEFGHIJKLMNOPQRSTUVWX",
                    "Bring one back.",
                ),
            ],
            files: CONFIGURATION,
            environment: COMMANDS,
            exit_status: &[
                (0, "The plan was shown, or carried out."),
                (
                    1,
                    "A token could not be disabled or deleted, or something cannot be read.",
                ),
                USAGE,
                UNREACHABLE,
                BAD_CONFIG,
            ],
        },
        "health" => Manual {
            description: "Queries the running daemon at [ops] listen for readiness, for a container without a shell. If the configuration is \
                          valid, the daemon must use the journal that it names ([journal] and [vault]). If the configuration is not valid or \
                          the file does not exist, only [ops] listen is read, without a message; where that is not found, the default address \
                          127.0.0.1:9780 is queried.",
            examples: &[("dtrotate health", "As the health check of a container.")],
            files: CONFIGURATION,
            environment: &[CONFIG, OVERRIDE],
            exit_status: &[
                (0, "Ready."),
                (
                    1,
                    "Not ready; or no daemon answers; or the daemon belongs to another configuration, because its journal is another one; or [ops] \
                     listen is off.",
                ),
                (2, "Wrong usage."),
            ],
        },
        "demo" => Manual {
            description: "Runs the daemon on embedded stand-ins for Vault and Dynatrace, with schedules of a few seconds. Nothing is installed.",
            examples: &[("dtrotate demo", "Watch three secrets rotate.")],
            files: &[],
            environment: &[],
            exit_status: &[(0, "Stopped by a signal."), (1, "It cannot start.")],
        },
        "schema" => Manual {
            description: "Prints the JSON Schema of the configuration file, with which an editor completes and explains the keys.",
            examples: &[(
                "dtrotate schema >dtrotate.schema.json",
                "Put it beside the configuration.",
            )],
            files: &[],
            environment: &[],
            exit_status: &[DONE, (1, "It cannot be written."), (2, "Wrong usage.")],
        },
        "completions" => Manual {
            description: "Prints a script that completes commands and options of dtrotate in a shell; in bash, zsh and fish also the names of \
                          secrets, environments and labels. These come from the configuration; no service is queried.",
            examples: &[(
                "dtrotate completions bash >/etc/bash_completion.d/dtrotate",
                "Install it for bash.",
            )],
            files: &[],
            environment: &[],
            exit_status: &[DONE, (1, "It cannot be written."), (2, "Wrong usage.")],
        },
        other => panic!("the command {other} has no manual"),
    }
}

impl Manual {
    /// The text below the options in --help.
    pub fn after_help(&self) -> String {
        let mut text = "Examples:\n".to_owned();
        for (command, purpose) in self.examples {
            text += &format!("  {command}\n      {purpose}\n");
        }
        text += "\nExit status:\n";
        for (code, meaning) in self.exit_status {
            text += &format!("  {code:<3} {meaning}\n");
        }
        text
    }
}
