//! `[vault.auth]`: how to log in to Vault. Files of credentials are named here.

use std::path::PathBuf;

use super::kinds::Words;
use super::problem::Placed;
use super::section::Section;
use super::services::Surroundings;
use super::table::{Given, Table};
use super::tables::{AuthTable, Method};
use crate::credential::Credential;
use crate::vault::{Login, SecretId};

/// Where Kubernetes puts the token of a pod's service account.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

fn name(method: Method) -> &'static str {
    let mut words = Method::WORDS.iter();
    let word = words.find(|(_, value)| *value == method);
    word.map_or("", |(word, _)| word)
}

/// The keys that belong to a method.
fn keys(method: Method) -> &'static [&'static str] {
    match method {
        Method::Token => &["token_file"],
        Method::AppRole => &[
            "mount",
            "role_id_file",
            "secret_id_file",
            "wrapped_secret_id_file",
        ],
        Method::Kubernetes | Method::Jwt => &["mount", "role", "jwt_file"],
        Method::Cert => &["mount", "role", "cert_file", "key_file"],
    }
}

/// `[vault.auth]`
pub(super) fn login(section: Section<'_>, around: &Surroundings<'_>) -> Option<Login> {
    let from_environment = around.token_of_environment();
    let overruled = from_environment.is_some() && !around.options.daemon;
    let table = AuthTable::read(&section);
    let method = match table.method.given() {
        Some(method) => Some(method.value),
        None if from_environment.is_some() => Some(Method::Token),
        None => {
            if !table.method.is_present() {
                section.missing(
                    "method",
                    "no login to Vault is configured: set method in [vault.auth], BAO_TOKEN or VAULT_TOKEN",
                );
            }
            None
        }
    };
    let login = method.and_then(|method| {
        let reader = Reader {
            table: &table,
            section: &section,
            around,
            method,
            used: !overruled,
        };
        reader.refuse_foreign_keys();
        reader.login(from_environment.clone())
    });
    section.finish();
    match from_environment {
        Some(token) if overruled => Some(Login::Token(token)),
        _ => login,
    }
}

/// Reads what a method needs.
struct Reader<'a> {
    table: &'a AuthTable,
    section: &'a Section<'a>,
    around: &'a Surroundings<'a>,
    method: Method,
    /// The files will be used, so they must be valid.
    used: bool,
}

impl Reader<'_> {
    fn refuse_foreign_keys(&self) {
        let AuthTable {
            method: _,
            mount,
            role_id_file,
            secret_id_file,
            wrapped_secret_id_file,
            token_file,
            role,
            jwt_file,
            cert_file,
            key_file,
        } = self.table;
        for (key, given) in [
            ("mount", mount),
            ("role_id_file", role_id_file),
            ("secret_id_file", secret_id_file),
            ("wrapped_secret_id_file", wrapped_secret_id_file),
            ("token_file", token_file),
            ("role", role),
            ("jwt_file", jwt_file),
            ("cert_file", cert_file),
            ("key_file", key_file),
        ] {
            if let Some(written) = given.given().filter(|_| !keys(self.method).contains(&key)) {
                let name = name(self.method);
                let message = format!("{key} does not belong to the login method \"{name}\"");
                self.around.problem(&written.place, message);
            }
        }
    }

    /// What the method cannot do without; `None` is reported already.
    fn needed<'a>(&self, key: &str, given: &'a Given<String>) -> Option<&'a Placed<String>> {
        if !given.is_present() {
            let name = name(self.method);
            let message = format!("the login method \"{name}\" needs {key}");
            self.section.missing(key, &message);
        }
        given.given()
    }

    fn credential(&self, key: &str, given: &Given<String>) -> Option<Credential> {
        self.around.credential(self.needed(key, given)?, self.used)
    }

    fn file(&self, key: &str, given: &Given<String>) -> Option<PathBuf> {
        self.around.file(self.needed(key, given)?, self.used)
    }

    fn login(&self, from_environment: Option<Credential>) -> Option<Login> {
        let table = self.table;
        let default = || name(self.method).to_owned();
        let mount = table.mount.value().unwrap_or_else(default);
        Some(match self.method {
            Method::Token => Login::Token(self.token(from_environment)?),
            Method::AppRole => {
                let role_id = self.credential("role_id_file", &table.role_id_file);
                let secret_id = self.secret_id();
                Login::AppRole {
                    mount,
                    role_id: role_id?,
                    secret_id: secret_id?,
                }
            }
            Method::Kubernetes => {
                let role = self.needed("role", &table.role);
                let jwt = match table.jwt_file.is_present() {
                    true => self.credential("jwt_file", &table.jwt_file),
                    false => {
                        let value = SERVICE_ACCOUNT.to_owned();
                        let place = self.section.place().clone();
                        self.around.credential(&Placed { value, place }, self.used)
                    }
                };
                Login::Kubernetes {
                    mount,
                    role: role?.value.clone(),
                    jwt: jwt?,
                }
            }
            Method::Jwt => Login::Jwt {
                mount,
                role: table.role.value(),
                jwt: self.credential("jwt_file", &table.jwt_file)?,
            },
            Method::Cert => {
                let cert_file = self.file("cert_file", &table.cert_file);
                let key_file = self.file("key_file", &table.key_file);
                Login::Cert {
                    mount,
                    role: table.role.value(),
                    cert_file: cert_file?,
                    key_file: key_file?,
                }
            }
        })
    }

    fn token(&self, from_environment: Option<Credential>) -> Option<Credential> {
        match self.table.token_file.given() {
            Some(file) => self.around.credential(file, self.used),
            None if self.table.token_file.is_present() => None,
            None if from_environment.is_some() => from_environment,
            None => {
                self.section.missing(
                    "token_file",
                    "the login method \"token\" needs token_file, BAO_TOKEN or VAULT_TOKEN",
                );
                None
            }
        }
    }

    fn secret_id(&self) -> Option<SecretId> {
        let plain = &self.table.secret_id_file;
        let Some(wrapped) = self.table.wrapped_secret_id_file.given() else {
            let secret_id = self.credential("secret_id_file", plain);
            return secret_id.map(SecretId::Plain);
        };
        if let Some(plain) = plain.given() {
            let message = "set either secret_id_file or wrapped_secret_id_file, not both";
            self.around.problem(&plain.place, message);
        }
        // It may be gone after its only use, so it is not read here.
        Some(SecretId::Wrapped {
            file: self.around.file(wrapped, false)?,
            ours: self.around.options.daemon,
        })
    }
}
