//! The parts of a configuration outside `[[secret]]`: Vault, journal, environments, limits, daemon, log, ops.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use super::credential::Credential;
use super::problem::{Place, Placed, Problem};
use super::reading::Reading;
use super::section::Section;
use super::settings::{
    Api, Daemon, Details, Environment, Field, Journal, Limits, Log, LogFormat, Ops, Vault,
};
use super::{Options, checks, login, url};
use rotation::token::TokenValue;

/// The mount of a KV engine where none is named, as `vault server -dev` has it.
pub(super) const DEFAULT_MOUNT: &str = "secret";
/// The field of a secret where none is named.
pub(super) const DEFAULT_FIELD: &str = "token";

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// What the services need besides their own tables.
pub(super) struct Surroundings<'a> {
    pub reading: &'a Reading,
    pub options: &'a Options,
    /// The folder that relative `*_file` paths start from.
    pub folder: PathBuf,
    /// `[defaults] mount`, or the built-in one.
    pub mount: String,
}

impl Surroundings<'_> {
    pub fn problem(&self, place: &Place, message: impl AsRef<str>) {
        self.reading.problem(Problem::new(place, message));
    }

    /// The first of some variables that is set and not empty.
    fn variable(&self, names: [&'static str; 2]) -> Option<(&'static str, Placed<String>)> {
        names.into_iter().find_map(|name| {
            let text = self.options.environment.get(name)?.trim();
            let place = Place::Variable(Rc::from(name));
            let value = text.to_owned();
            (!text.is_empty()).then_some((name, Placed { value, place }))
        })
    }

    /// `BAO_TOKEN`, else `VAULT_TOKEN`.
    pub fn token_of_environment(&self) -> Option<Credential> {
        let (variable, text) = self.variable(["BAO_TOKEN", "VAULT_TOKEN"])?;
        let value = TokenValue::new(text.value);
        Some(Credential::Environment { variable, value })
    }

    /// A path as it was written, made absolute: `$CREDENTIALS_DIRECTORY` if the file is there, else the configuration's folder.
    /// The shipped unit names every credential that there may be, and what is absent is a line end alone there.
    fn resolve(&self, written: &str) -> PathBuf {
        let credentials = self.options.environment.get("CREDENTIALS_DIRECTORY");
        let there = credentials.map(|folder| PathBuf::from(folder).join(written));
        let there = there.filter(|path| {
            std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() > 1)
        });
        match there {
            Some(path) => path,
            None => self.folder.join(written),
        }
    }

    /// A file of certificates; `""` is none.
    pub fn certificates(&self, section: &Section<'_>) -> Option<PathBuf> {
        let written = section.text("ca_file")?;
        if written.value.is_empty() {
            return None;
        }
        let path = self.resolve(&written.value);
        self.check_readable(&path, &written.place);
        Some(path)
    }

    fn check_readable(&self, path: &PathBuf, place: &Place) {
        if self.options.offline {
            return;
        }
        if let Err(error) = std::fs::File::open(path) {
            self.problem(place, format!("cannot read {}: {error}", path.display()));
        }
    }

    /// A file that is named; it must be readable when it will be used.
    pub fn file(&self, written: &Placed<String>, used: bool) -> Option<PathBuf> {
        if written.value.is_empty() {
            self.problem(&written.place, "this names no file");
            return None;
        }
        let path = self.resolve(&written.value);
        if used {
            self.check_readable(&path, &written.place);
        }
        Some(path)
    }

    /// A file that holds a credential. Its content is looked at only when it will be used.
    pub fn credential(&self, written: &Placed<String>, used: bool) -> Option<Credential> {
        let credential = Credential::File(self.file(written, false)?);
        if used
            && !self.options.offline
            && let Err(why) = super::read(&credential)
        {
            self.problem(&written.place, why);
        }
        Some(credential)
    }
}

/// `[vault]`
pub(super) fn vault(section: Section<'_>, around: &Surroundings<'_>) -> Option<Vault> {
    let allow_http = section.boolean("allow_http").is_some_and(|flag| flag.value);
    let addresses = addresses(&section, allow_http, around);
    let namespace = section
        .text("namespace")
        .or_else(|| {
            around
                .variable(["BAO_NAMESPACE", "VAULT_NAMESPACE"])
                .map(|(_, text)| text)
        })
        .and_then(|text| namespace(&text, around));
    let written = around.certificates(&section);
    let ca_file = written.or_else(|| {
        let variables = ["BAO_CACERT", "VAULT_CACERT"];
        let (_, text) = (!section.has("ca_file")).then(|| around.variable(variables))??;
        let path = PathBuf::from(&text.value);
        around.check_readable(&path, &text.place);
        Some(path)
    });
    let timeout = section.length_or("timeout", seconds(10));
    let auth = login::auth(section.table("auth"), around);
    section.finish();
    Some(Vault {
        addresses: addresses?,
        namespace,
        ca_file,
        timeout,
        allow_http,
        auth: auth?,
    })
}

fn addresses(
    section: &Section<'_>,
    allow_http: bool,
    around: &Surroundings<'_>,
) -> Option<Vec<String>> {
    let written = match section.texts("address") {
        Some(texts) => texts.value,
        None if section.has("address") => return None,
        None => match around.variable(["BAO_ADDR", "VAULT_ADDR"]) {
            Some((_, text)) => vec![text],
            None => {
                section.missing(
                    "Vault's address is missing: give [vault] address, BAO_ADDR or VAULT_ADDR",
                );
                return None;
            }
        },
    };
    let check = |text: &Placed<String>| match url::server(&text.value, allow_http) {
        Ok(address) => Some(address),
        Err(why) => {
            around.reading.problem(http_problem(text, &why, "[vault]"));
            None
        }
    };
    written.iter().map(check).collect()
}

/// A refused address; plain http says how to allow it.
fn http_problem(text: &Placed<String>, why: &str, section: &str) -> Problem {
    let problem = Problem::new(&text.place, format!("\"{}\" {why}", text.value));
    match why.starts_with("is plain http") {
        true => problem.help(format!("use https, or set allow_http = true in {section}")),
        false => problem,
    }
}

fn namespace(text: &Placed<String>, around: &Surroundings<'_>) -> Option<String> {
    let trimmed = text.value.trim_matches('/');
    if trimmed.is_empty() {
        return None;
    }
    match checks::vault_path(trimmed) {
        Ok(namespace) => Some(namespace),
        Err(why) => {
            around.problem(&text.place, format!("\"{}\" {why}", text.value));
            None
        }
    }
}

/// `[journal]`
pub(super) fn journal(section: Section<'_>) -> Journal {
    let text = |placed: Option<Placed<String>>, default: &str| {
        placed.map_or_else(|| default.to_owned(), |placed| placed.value)
    };
    let journal = Journal {
        mount: text(section.parsed("mount", checks::vault_path), DEFAULT_MOUNT),
        path: text(
            section.parsed("path", checks::vault_path),
            "dtrotate/journal",
        ),
        claim_timeout: section.length_or("claim_timeout", seconds(60)),
    };
    section.finish();
    journal
}

/// `[dynatrace.*]`. The second answer holds the names of all environments that are written down, valid or not, so that a secret that
/// names a broken one is not told that it is unknown.
pub(super) fn environments(
    section: &Section<'_>,
    around: &Surroundings<'_>,
) -> (BTreeMap<String, Environment>, Vec<String>) {
    let mut environments = BTreeMap::new();
    let mut names = Vec::new();
    for (name, place) in section.keys() {
        names.push(name.to_owned());
        if let Err(why) = checks::environment_name(name) {
            around.problem(place, format!("\"{name}\" {why}"));
        }
        let environment = environment(name, section.named_table(name), around);
        environments.extend(environment.map(|found| (name.to_owned(), found)));
    }
    if names.is_empty() {
        section.missing(
            "no Dynatrace environment is configured: give a table such as [dynatrace.prod]",
        );
    }
    (environments, names)
}

fn environment(name: &str, section: Section<'_>, around: &Surroundings<'_>) -> Option<Environment> {
    let allow_http = section.boolean("allow_http").is_some_and(|flag| flag.value);
    let base_url = match section.text("url") {
        Some(text) => match url::dynatrace(&text.value, allow_http) {
            Ok(url) => Some(url),
            Err(why) => {
                let table = format!("[dynatrace.{name}]");
                around.reading.problem(http_problem(&text, &why, &table));
                None
            }
        },
        None => {
            if !section.has("url") {
                section.missing(&format!("[dynatrace.{name}] has no url"));
            }
            None
        }
    };
    let api = section.choice("api", &[("v2", Api::V2), ("v1", Api::V1)]);
    let ca_file = around.certificates(&section);
    let proxy = proxy(&section);
    let timeout = section.length_or("timeout", seconds(10));
    let settle = section.length_or("settle", seconds(15 * 60));
    let auth = management_token(name, section.table("auth"), &around.mount);
    section.finish();
    Some(Environment {
        name: name.to_owned(),
        base_url: base_url?,
        api: api.map_or(Api::V2, |api| api.value),
        ca_file,
        proxy,
        timeout,
        settle,
        auth: auth?,
    })
}

/// `proxy`; `""` is none.
pub(super) fn proxy(section: &Section<'_>) -> Option<String> {
    let proxy = section.parsed("proxy", |text| match text {
        "" => Ok(None),
        text => url::proxy(text).map(Some),
    });
    proxy?.value
}

/// `[dynatrace.X.auth]`
fn management_token(name: &str, section: Section<'_>, default_mount: &str) -> Option<Field> {
    let mount = section.parsed("mount", checks::vault_path);
    let field = section.parsed("field", checks::field);
    let path = section.parsed("path", checks::vault_path);
    if path.is_none() && !section.has("path") {
        section.missing(&format!(
            "[dynatrace.{name}.auth] has no path: where in Vault is the token that may manage tokens?"
        ));
    }
    section.finish();
    Some(Field {
        mount: mount.map_or_else(|| default_mount.to_owned(), |mount| mount.value),
        field: field.map_or_else(|| DEFAULT_FIELD.to_owned(), |field| field.value),
        path: path?.value,
    })
}

/// `[limits]`
pub(super) fn limits(section: Section<'_>) -> Limits {
    let concurrency = section.integer("concurrency", 1..=1024);
    section.finish();
    Limits {
        concurrency: concurrency
            .and_then(|n| usize::try_from(n.value).ok())
            .unwrap_or(8),
    }
}

/// `[daemon]`
pub(super) fn daemon(section: Section<'_>) -> Daemon {
    let daemon = Daemon {
        shutdown_timeout: section.length_or("shutdown_timeout", seconds(25)),
        sweep: section.length_or("sweep", seconds(10 * 60)),
    };
    section.finish();
    daemon
}

/// `[log]`
pub(super) fn log(section: Section<'_>) -> Log {
    const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];
    let formats = [
        ("auto", LogFormat::Auto),
        ("json", LogFormat::Json),
        ("text", LogFormat::Text),
    ];
    let format = section.choice("format", &formats);
    let level = section.choice("level", &LEVELS.map(|level| (level, level)));
    section.finish();
    Log {
        format: format.map_or(LogFormat::Auto, |format| format.value),
        level: level.map(|level| level.value),
    }
}

/// `[ops]`
pub(super) fn ops(section: Section<'_>) -> Ops {
    let listen = section.parsed("listen", |text| match text {
        "" => Ok(None),
        text => text.parse::<SocketAddr>().map(Some).map_err(|_| {
            "is not an address to listen on; write IP:PORT such as \"127.0.0.1:9780\" or \"[::]:9780\", or \"\" for none".to_owned()
        }),
    });
    let details = section.choice(
        "details",
        &[
            ("loopback", Details::Loopback),
            ("always", Details::Always),
            ("never", Details::Never),
        ],
    );
    section.finish();
    let default = || Some(SocketAddr::from(([127, 0, 0, 1], 9780)));
    Ops {
        listen: listen.map_or_else(default, |listen| listen.value),
        details: details.map_or(Details::Loopback, |details| details.value),
    }
}
