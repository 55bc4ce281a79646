//! The tables outside `[[secret]]` whose values need more than their kind: Vault and the Dynatrace environments.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::context::Context;
use super::problem::{Place, Placed, Problem};
use super::section::Section;
use super::settings::{Environment, Field, Vault};
use super::table::{Given, Table};
use super::tables::{EnvironmentTable, ManagementToken, VaultTable};
use super::{Options, login, url, validate};
use crate::bounded_file;
use crate::credential::{self, Credential};
use rotation::token::TokenValue;

/// What the services need besides their own tables.
pub(super) struct Surroundings<'a> {
    pub context: &'a Context,
    pub options: &'a Options,
    /// The folder that relative `*_file` paths start from.
    pub folder: PathBuf,
    /// `[defaults] mount`, or the built-in one.
    pub mount: String,
}

impl Surroundings<'_> {
    pub fn problem(&self, place: &Place, message: impl AsRef<str>) {
        self.context.problem(Problem::new(place, message));
    }

    /// The first of some variables that is set and not empty.
    fn variable(&self, names: [&'static str; 2]) -> Option<Placed<String>> {
        names.into_iter().find_map(|name| {
            let text = self.options.environment.get(name)?.trim();
            let place = Place::Variable(Rc::from(name));
            let value = text.to_owned();
            (!text.is_empty()).then_some(Placed { value, place })
        })
    }

    /// `BAO_TOKEN`, else `VAULT_TOKEN`.
    pub fn token_of_environment(&self) -> Option<Credential> {
        let text = self.variable(["BAO_TOKEN", "VAULT_TOKEN"])?;
        Some(Credential::Value(TokenValue::new(text.value)))
    }

    /// A path as it was written, made absolute: `$CREDENTIALS_DIRECTORY` if the file is there, else the configuration's folder.
    /// The shipped unit names every credential that there may be, and an absent one is a line end alone there.
    fn resolve(&self, written: &str) -> PathBuf {
        let credentials = self.options.environment.get("CREDENTIALS_DIRECTORY");
        let there = credentials.map(|folder| PathBuf::from(folder).join(written));
        let there = there.filter(|path| {
            std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() > 1)
        });
        there.unwrap_or_else(|| self.folder.join(written))
    }

    /// A file of certificates; `""` is none.
    pub fn certificates(&self, written: &Given<String>) -> Option<PathBuf> {
        let written = written
            .given()
            .filter(|written| !written.value.is_empty())?;
        let path = self.resolve(&written.value);
        self.check_readable(&path, &written.place);
        Some(path)
    }

    fn check_readable(&self, path: &Path, place: &Place) {
        if self.options.offline {
            return;
        }
        if let Err(error) = bounded_file::read(path, bounded_file::CERTIFICATES) {
            self.problem(place, format!("cannot read {}: {error}", path.display()));
        }
    }

    /// A file that is named; it must be readable when it will be used.
    pub fn file(&self, written: &Placed<String>, used: bool) -> Option<PathBuf> {
        if written.value.is_empty() {
            self.problem(&written.place, "the file name must not be empty");
            return None;
        }
        let path = self.resolve(&written.value);
        if used {
            self.check_readable(&path, &written.place);
        }
        Some(path)
    }

    fn warn_if_exposed(&self, path: &Path) {
        if credential::is_exposed(path) {
            let path = path.display();
            let warning = format!(
                "every user of this machine can read {path}: run `chmod o-rwx {path}`, and replace the credential if others may have read it"
            );
            self.context.warn(warning);
        }
    }

    /// A file that holds a credential. Its content is looked at only when it will be used.
    pub fn credential(&self, written: &Placed<String>, used: bool) -> Option<Credential> {
        let path = self.file(written, false)?;
        let credential = Credential::File(path.clone());
        if used && !self.options.offline {
            if let Err(error) = credential.read() {
                self.problem(&written.place, error.to_string());
            }
            self.warn_if_exposed(&path);
        }
        Some(credential)
    }
}

/// `[vault]`
pub(super) fn vault(section: Section<'_>, around: &Surroundings<'_>) -> Option<Vault> {
    section.has_tables(&["auth"]);
    let table = VaultTable::read(&section);
    let allow_http = table.allow_http.or_default();
    let addresses = addresses(&section, &table, allow_http, around);
    let standard = ["BAO_NAMESPACE", "VAULT_NAMESPACE"];
    let written = table.namespace.given().cloned();
    let namespace = written
        .or_else(|| around.variable(standard))
        .and_then(|text| namespace(&text, around));
    let ca_file = match table.ca_file.is_present() {
        true => around.certificates(&table.ca_file),
        false => around.variable(["BAO_CACERT", "VAULT_CACERT"]).map(|text| {
            let path = PathBuf::from(&text.value);
            around.check_readable(&path, &text.place);
            path
        }),
    };
    refuse_skip_verify(around);
    let auth = login::login(section.table("auth"), around);
    section.finish();
    Some(Vault {
        addresses: addresses?,
        namespace,
        ca_file,
        timeout: table.timeout.or_default(),
        allow_http,
        auth: auth?,
    })
}

/// Vault's own client would not verify the server's certificate with these; tokens never travel over such a connection.
fn refuse_skip_verify(around: &Surroundings<'_>) {
    for name in ["BAO_SKIP_VERIFY", "VAULT_SKIP_VERIFY"] {
        let value = around.options.environment.get(name);
        let value = value.map_or("", |value| value.trim()).to_lowercase();
        if !matches!(value.as_str(), "" | "0" | "f" | "false") {
            let place = Place::Variable(Rc::from(name));
            let message =
                "the certificate of Vault is always verified, because tokens are sent to it";
            let problem = Problem::new(&place, message);
            around.context.problem(
                problem.help("unset the variable, and set ca_file in [vault] for a private CA"),
            );
        }
    }
}

fn addresses(
    section: &Section<'_>,
    table: &VaultTable,
    allow_http: bool,
    around: &Surroundings<'_>,
) -> Option<Vec<String>> {
    let written = match table.address.accepted().ok()? {
        Some(texts) => texts.value.clone(),
        None => match around.variable(["BAO_ADDR", "VAULT_ADDR"]) {
            Some(text) => vec![text],
            None => {
                section.missing(
                    "address",
                    "Vault's address is missing: set address in [vault], BAO_ADDR or VAULT_ADDR",
                );
                return None;
            }
        },
    };
    let check = |text: &Placed<String>| match url::server(&text.value, allow_http) {
        Ok(address) => Some(address),
        Err(why) => {
            around.context.problem(http_problem(text, &why, "[vault]"));
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
    let refused = |why| around.problem(&text.place, format!("\"{}\" {why}", text.value));
    validate::vault_path(trimmed).map_err(refused).ok()
}

/// `[dynatrace.*]`. The second part of the result are the names of all environments in the files, valid or not, so that a secret that
/// names a broken one is not reported as well.
pub(super) fn environments(
    section: &Section<'_>,
    around: &Surroundings<'_>,
) -> (BTreeMap<String, Environment>, Vec<String>) {
    let mut environments = BTreeMap::new();
    let mut names = Vec::new();
    for (name, place) in section.keys() {
        names.push(name.to_owned());
        if let Err(why) = validate::environment_name(name) {
            around.problem(place, format!("\"{name}\" {why}"));
        }
        let environment = environment(name, section.table(name), around);
        environments.extend(environment.map(|found| (name.to_owned(), found)));
    }
    if names.is_empty() {
        section.missing(
            "*",
            "no Dynatrace environment is configured: add a table such as [dynatrace.prod]",
        );
    }
    (environments, names)
}

fn environment(name: &str, section: Section<'_>, around: &Surroundings<'_>) -> Option<Environment> {
    section.has_tables(&["auth"]);
    let table = EnvironmentTable::read(&section);
    let allow_http = table.allow_http.or_default();
    let base_url = table.url.given().and_then(|text| {
        let refused = |why: String| {
            let table = format!("[dynatrace.{name}]");
            around.context.problem(http_problem(text, &why, &table));
        };
        url::dynatrace(&text.value, allow_http)
            .map_err(refused)
            .ok()
    });
    if !table.url.is_present() {
        section.missing("url", &format!("[dynatrace.{name}] has no url"));
    }
    let auth = management_token(name, section.table("auth"), &around.mount);
    section.finish();
    Some(Environment {
        name: name.to_owned(),
        base_url: base_url?,
        api: table.api.or_default(),
        ca_file: around.certificates(&table.ca_file),
        proxy: table.proxy.or_default(),
        timeout: table.timeout.or_default(),
        settle: table.settle.or_default(),
        auth: auth?,
    })
}

/// `[dynatrace.X.auth]`
fn management_token(name: &str, section: Section<'_>, default_mount: &str) -> Option<Field> {
    let table = ManagementToken::read(&section);
    if !table.path.is_present() {
        section.missing("path", &format!(
            "[dynatrace.{name}.auth] has no path: where in Vault is the token that may manage tokens?"
        ));
    }
    section.finish();
    Some(Field {
        mount: table
            .mount
            .value()
            .unwrap_or_else(|| default_mount.to_owned()),
        field: table.field.or_default(),
        path: table.path.value()?,
    })
}
