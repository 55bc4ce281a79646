//! Every table and key of a configuration file. A doc comment here is the key's reference: the JSON schema, `config/dtrotate.toml`,
//! `docs/configuration.md` and the manual page `dtrotate.toml(5)` repeat it (`make docs`).

use super::kinds::{
    AnyNumber, Authorities, BlackoutWindow, CredentialFile, EnvironmentId, EnvironmentUrl, File,
    Flag, Kind, Length, LengthOrZero, Listen, LoginFile, Name, Namespace, OneOf, Origin,
    PathPattern, Proxy, Scope, SecretName, Server, Several, Text, TlsName, TokenLifetime,
    TokenName, Trial, Uuid, VaultFolder, VaultPath, Whole, Words,
};
use super::kv_path::OnePath;
use super::labels::LabelTable;
use super::section::Section;
use super::table::{Role, Table, TableDoc, table};
use crate::dynatrace::Api;
use crate::ops::listener::Details;
use crate::schedule::due::Missed;
use rotation::plan::{AtMaxGrace, StillUsed};

/// All tables in the order of the reference.
pub fn tables() -> Vec<TableDoc> {
    vec![
        VaultTable::describe("vault"),
        AuthTable::describe("vault.auth"),
        Journal::describe("journal"),
        EnvironmentTable::describe("dynatrace.*"),
        ManagementToken::describe("dynatrace.*.auth"),
        AccountTable::describe("account.*"),
        OAuthClientTable::describe("account.*.auth"),
        SecretOptions::describe("defaults"),
        SecretKeys::describe("secret"),
        NotifyDynatraceTable::describe("notify.dynatrace"),
        NotifyWebhookTable::describe("notify.webhook"),
        NotifyRouteTable::describe("notify.route"),
        Limits::describe("limits"),
        Daemon::describe("daemon"),
        Log::describe("log"),
        Ops::describe("ops"),
    ]
}

/// A table that is written with two brackets, any number of times.
pub fn is_repeated(name: &str) -> bool {
    ["secret", "notify.route"].contains(&name)
}

/// Descriptions of the tables that hold only tables.
pub(super) const GROUPS: [(&str, &str); 3] = [
    (
        "dynatrace",
        "The Dynatrace environments: one table for each, under a name of your choice.",
    ),
    (
        "account",
        "The Dynatrace accounts in which platform tokens are managed: one table for each, under a name of your choice.",
    ),
    (
        "notify",
        "Notifications about conditions that need a human. A channel is enabled by setting its file.",
    ),
];

table! {
    /// HashiCorp Vault or OpenBao
    given struct VaultTable with transport: Transport {
        /// One address or a list of the cluster's nodes, without a path.
        address: Several<Server> = Shown "\"https://vault.example.com:8200\"" or ["ADDR"],
        /// Namespace.
        namespace: Namespace = Default "\"\"" or ["NAMESPACE"],
        /// PEM file, or a folder of them, that replaces the system's roots.
        ca_file: Authorities = Default "\"\"" or ["CACERT", "CAPATH"],
        /// PEM file, added to the roots.
        ca_extra_file: Authorities = Default "\"\"",
        /// Name that the server's certificate must have, if it is not the host of the address.
        tls_server_name: TlsName = Default "\"\"" or ["TLS_SERVER_NAME"],
        /// PEM file with the client certificate, for a listener that wants one.
        client_cert_file: File = Example "\"vault-client.pem\"" or ["CLIENT_CERT"],
        /// PEM file with its private key.
        client_key_file: File = Example "\"vault-client.key\"" or ["CLIENT_KEY"],
    }
}

table! {
    /// Connection of a service
    given struct Transport {
        /// Proxy such as `http://proxy.example.com:3128`; never taken from the environment.
        proxy: Proxy = Default "\"\"",
        /// File that holds `USER:PASSWORD` for the proxy; read at the start and at each reload.
        proxy_auth_file: LoginFile = Example "\"proxy-login\"",
        /// Timeout of one request.
        timeout: Length = Default "\"10s\"",
        /// Allow plain http to a host that is not loopback.
        allow_http: Flag = Default "false",
    }
}

table! {
    /// Login to Vault; if absent: the token in `BAO_TOKEN` or `VAULT_TOKEN`
    ///
    /// The files are checked every 5 seconds and at each login, so they can be replaced while dtrotate runs (systemd's credentials cannot:
    /// restart the unit). In every command except `run`, `BAO_TOKEN` and `VAULT_TOKEN` override this table, so that Vault's audit log
    /// shows the person. docs/vault-login.md explains how to set up each method.
    given struct AuthTable {
        /// Auth method.
        method: OneOf<Method> = Shown "\"approle\"",
        /// Mount of the auth method; default: the method's name.
        mount: VaultPath = Example "\"approle\"",
        /// approle: file that holds the role id.
        role_id_file: CredentialFile = Shown "\"vault-role-id\"",
        /// approle: file that holds the secret id.
        secret_id_file: CredentialFile = Shown "\"vault-secret-id\"",
        /// approle, instead of `secret_id_file`: file that holds a wrapping token; the secret id is unwrapped in memory.
        wrapped_secret_id_file: File = Example "\"vault-wrapped-secret-id\"",
        /// token: file that holds the token; default: `BAO_TOKEN`, `VAULT_TOKEN`.
        token_file: CredentialFile = Example "\"vault-token\"",
        /// Role at Vault. Required for kubernetes; for jwt and cert Vault chooses one by default.
        role: Name = Example "\"dtrotate\"",
        /// jwt: file that holds the token. kubernetes: default `/var/run/secrets/kubernetes.io/serviceaccount/token`.
        jwt_file: CredentialFile = Example "\"vault-jwt\"",
        /// cert: PEM file with the certificate chain; default: `client_cert_file` of `[vault]`.
        cert_file: File = Example "\"vault-client.pem\"",
        /// cert: PEM file with the private key; default: `client_key_file` of `[vault]`.
        key_file: File = Example "\"vault-client.key\"",
    }
}

table! {
    /// One small document per secret: ids, names and times, never a token value
    values struct Journal {
        /// KV v2 mount; use a dedicated one, because anyone with write access can trigger token deletions.
        mount: VaultPath = Default "\"secret\"",
        /// Folder of the documents below the mount.
        path: VaultPath = Default "\"dtrotate/journal\"",
        /// Time after which the unchanged claim of another replica may be taken over.
        claim_timeout: Length = Default "\"60s\"",
    }
}

table! {
    /// A Dynatrace environment; the name is your choice
    given struct EnvironmentTable with transport: Transport {
        /// SaaS: `https://ENV.live.dynatrace.com`; Managed: `https://HOST/e/ENV`; ActiveGate: `https://HOST:9999/e/ENV`; a Managed cluster:
        /// `https://HOST`.
        url: EnvironmentUrl = Shown "\"https://abc12345.live.dynatrace.com\"",
        /// Tokens API; v1 is deprecated and meant for servers that have nothing newer; cluster is that of a Managed cluster, whose tokens have
        /// `kind = "cluster"`.
        api: OneOf<Api> = Default "\"v2\"",
        /// PEM file, added to the system's roots; Managed and ActiveGate often use a private CA.
        ca_file: Authorities = Default "\"\"",
        /// Name that the server's certificate must have, if it is not the host of `url`.
        tls_server_name: TlsName = Default "\"\"",
        /// The only rights that `scopes` of a secret may ask for here.
        allowed_scopes: Several<Scope> = Example "[\"metrics.ingest\", \"logs.ingest\"]",
        /// Time after which a change is visible to every node of the environment.
        settle: Length = Default "\"15m\"",
        /// Name of the `[account.*]` table that manages its platform tokens; may be omitted if there is only one.
        account: Text = Example "\"main\"",
        /// Id of the environment, in the resource of its platform tokens; default: as `url` shows it.
        environment_id: EnvironmentId = Example "\"abc12345\"",
        /// Where platform tokens are used: to try them, or to manage ActiveGate tokens with one; default for SaaS: the address of its web
        /// interface.
        apps_url: Origin = Example "\"https://abc12345.apps.dynatrace.com\"",
    }
}

table! {
    /// The environment's management token: where it is in Vault
    ///
    /// Also list it as a `[[secret]]`, and it is rotated like any other. May be absent where only platform tokens are rotated. Where only
    /// ActiveGate tokens are, it may be a platform token.
    given struct ManagementToken {
        /// Path below the mount, without `data/`.
        path: VaultPath = Shown "\"dynatrace/master\"",
        /// Field of the secret.
        field: Name = Default "\"token\"",
        /// KV mount; default: `mount` of `[defaults]`.
        mount: VaultPath = Example "\"secret\"",
    }
}

table! {
    /// A Dynatrace account: platform tokens are managed there; the name is your choice
    given struct AccountTable with transport: Transport {
        /// UUID of the account, as Account Management shows it.
        uuid: Uuid = Shown "\"0f5c7a6e-1f2b-4c3d-8e9f-0a1b2c3d4e5f\"",
        /// Address of the account API.
        api_url: Origin = Default "\"https://api.dynatrace.com\"",
        /// Address of the single sign-on.
        sso_url: Origin = Default "\"https://sso.dynatrace.com\"",
        /// Limit of platform tokens for each user.
        tokens_per_user: Whole<1, 100_000> = Default "50",
        /// Limit of platform tokens for each service user; the smaller limit counts, because the kind of an owner is not known.
        tokens_per_service_user: Whole<1, 100_000> = Default "100",
        /// Time after which a change of a platform token is visible everywhere; disabling alone may take 5 minutes.
        settle: Length = Default "\"15m\"",
        /// PEM file, added to the system's roots.
        ca_file: Authorities = Default "\"\"",
    }
}

table! {
    /// The OAuth client of the account: where its credentials are in Vault
    ///
    /// It needs the scopes `platform-token:tokens:manage` and `platform-token:tokens:write` and no other. It can create platform tokens with any
    /// right: protect it like an administrator's password.
    given struct OAuthClientTable {
        /// Path below the mount, without `data/`.
        path: VaultPath = Shown "\"dynatrace/oauth-client\"",
        /// KV mount; default: `mount` of `[defaults]`.
        mount: VaultPath = Example "\"secret\"",
        /// Field of the client id.
        id_field: Name = Default "\"client_id\"",
        /// Field of the client secret.
        secret_field: Name = Default "\"client_secret\"",
    }
}

table! {
    /// Defaults of all secrets; a key in a `[[secret]]` overrides them
    given struct SecretOptions {
        /// Name of a `[dynatrace.*]` table; may be omitted if there is only one.
        environment: Text = Example "\"prod\"",
        /// KV mount of the secret.
        mount: VaultPath = Default "\"secret\"",
        /// Field of the secret, or a list of fields that get the same token.
        field: Several<Name> = Default "\"token\"",
        /// Cron expression: minute hour day-of-month month day-of-week, with seconds as an optional first field; or `@daily` and the like. Required.
        /// Choose working hours: the switch happens on Tuesday, the old token is disabled on Wednesday.
        schedule: Text = Shown "\"0 10 * * TUE\"",
        /// Time zone of the schedule, an IANA name; default: `UTC`.
        timezone: Text = Shown "\"Europe/Vienna\"",
        /// Spread of the due times; shorter than the shortest gap of the schedule.
        jitter: LengthOrZero = Default "\"0s\"",
        /// Time for which the old token stays valid after the switch.
        grace: LengthOrZero = Default "\"24h\"",
        /// Limit to which `still_used = "hold"` extends the grace.
        max_grace: LengthOrZero = Default "\"7d\"",
        /// Time for which the old token stays disabled before it is deleted; `undo` can restore it until then.
        /// Keep it longer than the oldest Vault backup you would restore.
        quarantine: LengthOrZero = Default "\"7d\"",
        /// Action if the old token is still used at the end of its grace: hold extends the grace, warn disables it.
        still_used: OneOf<StillUsed> = Default "\"hold\"",
        /// Lifetime of a new token: inherit (the old token's), never, or a length such as `90d`. Platform tokens always expire: a length must
        /// exceed the gap of the schedule, `max_grace`, `quarantine` and `settle` together. ActiveGate tokens live two years at most.
        lifetime: TokenLifetime = Default "\"inherit\"",
        /// Kind of token: of an environment, of an account, of an ActiveGate, or of a Managed cluster.
        kind: OneOf<TokenKind> = Default "\"api\"",
        /// Platform tokens: proof that a new token works before it is stored. auto takes the first call that its scopes allow; listed asks for
        /// no more than that it is listed as ordered; or environment, documents, workflows, settings, permissions, user, or a call such as
        /// `GET /platform/document/v1/documents`.
        verify: Trial = Default "\"auto\"",
        /// ActiveGate tokens: action if the old token is still used at the end of `max_grace`: leave it until it is unused or expires, and
        /// report it; or delete it. They cannot be disabled, and a deletion is final.
        at_max_grace: OneOf<AtMaxGrace> = Default "\"leave\"",
        /// Rights of the token; default: those of the token that is replaced. A difference is shown, and the next rotation applies it.
        scopes: Several<Scope> = Example "[\"metrics.ingest\", \"logs.ingest\"]",
        /// Create the first token, with `scopes`, where nothing ever was: no secret at the path, or no such field in it. An ActiveGate token has
        /// no `scopes`.
        create: Flag = Default "false",
        /// Action for a due time that was missed by more than a minute: run once, or skip it.
        missed: OneOf<Missed> = Default "\"run\"",
        /// Rotate before a token expires, regardless of the schedule.
        expiry_guard: Flag = Default "true",
        /// Windows in the time zone of the schedule in which nothing that is due begins: weekdays, dates, or times of each day; both ends of a day or date
        /// without a time are included.
        blackout: AnyNumber<BlackoutWindow> = Example "[\"FRI 18:00 - MON 06:00\", \"2026-12-20 - 2027-01-06\"]",
        /// `false`: show the secret, but do not rotate it.
        enabled: Flag = Default "true",
        /// Labels of the secret; those of `[defaults]` are added. Shown in status, log, notifications and metrics, and filters of commands (`--label`).
        labels: LabelTable = Example "{ team = \"checkout\", contact = \"#checkout-oncall\" }",
    }
}

table! {
    /// A secret to rotate; also accepts every key of `[defaults]`
    given struct SecretKeys {
        /// Path below the mount, without `data/`. Required.
        path: OnePath = Shown "\"dynatrace/automation_script1\"",
        /// Instead of `path`: several paths, one secret each, with the same settings.
        paths: Several<VaultPath> = Example "[\"dynatrace/a\", \"dynatrace/b\"]",
        /// Instead of `path`: a folder below the mount. Every secret below it that holds a token in the field is rotated with these settings; looked for at
        /// the start and with each sweep. A secret with its own table is left to that table.
        discover: VaultFolder = Example "\"dynatrace/apps/\"",
        /// Paths that `discover` leaves alone: `*` stays within a segment, `**` crosses segments.
        exclude: AnyNumber<PathPattern> = Example "[\"dynatrace/apps/sandbox-*\"]",
        /// Unique name; default: the path, or `MOUNT/PATH#FIELD` if mount or field is not the default.
        name: SecretName = Example "\"dynatrace/automation_script1\"",
        /// Name of the token at Dynatrace, without the marker; default: that of the token that is replaced, or the name of the secret.
        token_name: TokenName = Example "\"automation_script1\"",
        /// Former name of the secret, to continue its history.
        renamed_from: SecretName = Example "\"automation_script1\"",
    }
}

table! {
    /// Opens a problem in Dynatrace for as long as a condition lasts
    given struct NotifyDynatraceTable {
        /// File that holds a dedicated token with the scope `events.ingest` only.
        token_file: CredentialFile = Example "\"notify-token\"",
        /// Name of the `[dynatrace.*]` table that is used; may be omitted if there is only one.
        environment: Text = Example "\"prod\"",
    }
}

table! {
    /// Posts JSON (with a `text` for Slack) when a condition begins and when it ends
    given struct NotifyWebhookTable with transport: Transport {
        /// File that holds the URL, which is a secret.
        url_file: CredentialFile = Example "\"notify-webhook-url\"",
        /// PEM file, added to the system's roots.
        ca_file: Authorities = Default "\"\"",
    }
}

table! {
    /// Posts JSON to a further webhook about some of the secrets
    ///
    /// It is in addition to `[notify.webhook]`, which gets every condition and no rotation. Several routes may match the same secret: each gets its post.
    given struct NotifyRouteTable with transport: Transport {
        /// What the route is about: labels of secrets, and `environment` and `kind`, all of which must match; default: everything. `kind` is a kind of token
        /// (`api`) or of condition (`rotation_stuck`).
        r#match: LabelTable = Example "{ team = \"checkout\" }",
        /// What is posted: `condition` when a condition begins and when it ends, `rotated` for each completed rotation.
        events: Several<OneOf<RouteEvent>> = Default "\"condition\"",
        /// File that holds the URL, which is a secret.
        url_file: CredentialFile = Example "\"checkout-webhook-url\"",
        /// PEM file, added to the system's roots.
        ca_file: Authorities = Default "\"\"",
    }
}

table! {
    /// Limits of the daemon's work
    values struct Limits {
        /// Maximum number of concurrent calls of rotations to each environment. Up to half as many rotations again are under way, which read or write in Vault.
        concurrency: Whole<1, 1024> = Default "8",
    }
}

table! {
    /// The daemon's own intervals
    values struct Daemon {
        /// Time after SIGTERM in which running rotations are finished or interrupted at a safe point.
        shutdown_timeout: Length = Default "\"25s\"",
        /// Interval at which Dynatrace, journal and Vault are compared.
        sweep: Length = Default "\"10m\"",
    }
}

table! {
    /// The log on stderr
    values struct Log {
        /// Format of a line: auto chooses text on a terminal, fields in systemd's journal, and JSON otherwise.
        format: OneOf<LogFormat> = Default "\"auto\"",
        /// Minimum level; default: `RUST_LOG`, otherwise info.
        level: OneOf<&'static str> = Example "\"info\"",
    }
}

table! {
    /// The listener for health, metrics, status and status page (read-only)
    values struct Ops {
        /// `IP:PORT`, or `""` to disable it.
        listen: Listen = Default "\"127.0.0.1:9780\"",
        /// Who can see the status and the status page; health and metrics are open to all.
        details: OneOf<Details> = Default "\"loopback\"",
    }
}

/// The auth methods of Vault.
#[derive(Clone, Copy, PartialEq)]
pub enum Method {
    Token,
    AppRole,
    Kubernetes,
    Jwt,
    Cert,
}

/// The kinds of tokens.
#[derive(Clone, Copy, PartialEq)]
pub enum TokenKind {
    Api,
    Platform,
    ActiveGate,
    Cluster,
}

/// What a route gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteEvent {
    /// A condition begins or ends.
    Condition,
    /// A rotation is completed.
    Rotated,
}

/// The format of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, fields in systemd's journal, otherwise JSON.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

macro_rules! words {
    ($($name:ty { $($word:literal = $value:expr),+ })+) => {
        $(impl Words for $name {
            const WORDS: &'static [(&'static str, Self)] = &[$(($word, $value)),+];
        })+
    };
}

words! {
    Method {
        "approle" = Method::AppRole, "token" = Method::Token, "kubernetes" = Method::Kubernetes,
        "jwt" = Method::Jwt, "cert" = Method::Cert
    }
    TokenKind { "api" = TokenKind::Api, "platform" = TokenKind::Platform, "activegate" = TokenKind::ActiveGate, "cluster" = TokenKind::Cluster }
    Api { "v2" = Api::V2, "v1" = Api::V1, "cluster" = Api::Cluster }
    AtMaxGrace { "leave" = AtMaxGrace::Leave, "delete" = AtMaxGrace::Delete }
    StillUsed { "hold" = StillUsed::Hold, "warn" = StillUsed::Warn }
    Missed { "run" = Missed::Run, "skip" = Missed::Skip }
    RouteEvent { "condition" = RouteEvent::Condition, "rotated" = RouteEvent::Rotated }
    LogFormat { "auto" = LogFormat::Auto, "json" = LogFormat::Json, "text" = LogFormat::Text }
    Details { "loopback" = Details::Loopback, "always" = Details::Always, "never" = Details::Never }
    &'static str { "error" = "error", "warn" = "warn", "info" = "info", "debug" = "debug", "trace" = "trace" }
}
