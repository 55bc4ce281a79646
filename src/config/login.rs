//! `[vault.auth]`: how to log in to Vault. Files of credentials are named here.

use super::context::Context;
use super::kinds::{CredentialFile, Kind as _, Words};
use super::problem::{Place, Placed, Problem};
use super::section::Section;
use super::table::{Given, Table};
use super::tables::{AuthTable, Method};
use super::transport::client_certificate;
use crate::credential::Credential;
use crate::http::CertificateFiles;
use crate::vault::{Login, SecretId};

/// Where Kubernetes puts the token of a pod's service account.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

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

/// A login and the client certificate of its connections.
pub(super) type WithCertificate = (Login, Option<CertificateFiles>);

/// `[vault.auth]`; `certificate` is that of `[vault]`.
pub(super) fn login(
    section: Section<'_>,
    certificate: Option<CertificateFiles>,
    context: &Context,
) -> Option<WithCertificate> {
    let token = context.variable("TOKEN");
    let overruled = token.clone().filter(|_| !context.options.daemon);
    context.set_unused(overruled.is_some());
    let table = AuthTable::read(&section);
    let method = match table.method.given() {
        Some(method) => Some(method.value),
        None => token.is_some().then_some(Method::Token),
    };
    if method.is_none() && !table.method.is_present() {
        section.missing(
            "method",
            "no login to Vault is configured: set method in [vault.auth], BAO_TOKEN or VAULT_TOKEN",
        );
    }
    let login = method.and_then(|method| {
        let reader = Reader {
            table: &table,
            section: &section,
            context,
            method,
        };
        reader.refuse_foreign_keys();
        reader.login(token, certificate.clone())
    });
    context.set_unused(false);
    section.finish();
    match overruled {
        Some(token) => Some((Login::Token(of_variable(&token, context)?), certificate)),
        None => login,
    }
}

/// The token in `BAO_TOKEN` or `VAULT_TOKEN`; `None` is reported already.
fn of_variable(token: &Placed<String>, context: &Context) -> Option<Credential> {
    let Place::Variable(name) = &token.place else {
        return None;
    };
    let credential = Credential::variable(name, &token.value);
    match context.look(|| credential.read()) {
        Ok(()) => Some(credential),
        Err(why) => {
            context.problem(Problem::new(&token.place, why));
            None
        }
    }
}

/// Reads what a method needs.
struct Reader<'a> {
    table: &'a AuthTable,
    section: &'a Section<'a>,
    context: &'a Context,
    method: Method,
}

impl Reader<'_> {
    /// The method's name in the configuration.
    fn name(&self) -> &'static str {
        let mut words = Method::WORDS.iter();
        let word = words.find(|(_, method)| *method == self.method);
        word.map_or("", |(word, _)| word)
    }

    fn refuse_foreign_keys(&self) {
        for key in AuthTable::keys() {
            let is_own = key.name == "method" || keys(self.method).contains(&key.name);
            if let Some(place) = self.section.place_of(key.name).filter(|_| !is_own) {
                let (key, method) = (key.name, self.name());
                let message = format!("{key} does not belong to the login method \"{method}\"");
                self.context.problem(Problem::new(place, message));
            }
        }
    }

    /// What the method cannot do without; `None` is reported already.
    fn needed<T: Clone>(&self, key: &str, given: &Given<T>) -> Option<Placed<T>> {
        if !given.is_present() {
            let message = format!("the login method \"{}\" needs {key}", self.name());
            self.section.missing(key, &message);
        }
        given.given().cloned()
    }

    fn login(
        &self,
        token: Option<Placed<String>>,
        certificate: Option<CertificateFiles>,
    ) -> Option<WithCertificate> {
        let table = self.table;
        let default = || self.name().to_owned();
        let mount = table.mount.value().unwrap_or_else(default);
        let role = table.role.value();
        let login = match self.method {
            Method::Token => Login::Token(self.token(token)?),
            Method::AppRole => {
                let role_id = self.needed("role_id_file", &table.role_id_file);
                let secret_id = self.secret_id();
                Login::AppRole {
                    mount,
                    role_id: role_id?.value,
                    secret_id: secret_id?,
                }
            }
            Method::Kubernetes => {
                let role = self.needed("role", &table.role);
                let jwt = match table.jwt_file.is_present() {
                    true => table.jwt_file.value(),
                    false => self.service_account(),
                };
                Login::Kubernetes {
                    mount,
                    role: role?.value,
                    jwt: jwt?,
                }
            }
            Method::Jwt => Login::Jwt {
                mount,
                role,
                jwt: self.needed("jwt_file", &table.jwt_file)?.value,
            },
            Method::Cert => {
                let own = table.cert_file.is_present() || table.key_file.is_present();
                let certificate = match certificate.filter(|_| !own) {
                    Some(certificate) => certificate,
                    None => {
                        let cert = self.needed("cert_file", &table.cert_file);
                        let key = self.needed("key_file", &table.key_file);
                        client_certificate(&cert?, &key?, self.context)
                    }
                };
                return Some((Login::Cert { mount, role }, Some(certificate)));
            }
        };
        Some((login, certificate))
    }

    fn service_account(&self) -> Option<Credential> {
        let refused = |why| {
            let problem = Problem::new(self.section.place(), why);
            self.context.problem(problem);
        };
        let read = CredentialFile::parse(SERVICE_ACCOUNT, self.context);
        read.map_err(refused).ok()
    }

    fn token(&self, of_environment: Option<Placed<String>>) -> Option<Credential> {
        let file = &self.table.token_file;
        if !file.is_present() && of_environment.is_none() {
            self.section.missing(
                "token_file",
                "the login method \"token\" needs token_file, BAO_TOKEN or VAULT_TOKEN",
            );
        }
        match file.is_present() {
            true => file.value(),
            false => of_variable(&of_environment?, self.context),
        }
    }

    fn secret_id(&self) -> Option<SecretId> {
        let plain = &self.table.secret_id_file;
        let Some(wrapped) = self.table.wrapped_secret_id_file.value() else {
            let secret_id = self.needed("secret_id_file", plain)?;
            return Some(SecretId::Plain(secret_id.value));
        };
        if let Some(plain) = plain.given() {
            let message = "set either secret_id_file or wrapped_secret_id_file, not both";
            self.context.problem(Problem::new(&plain.place, message));
        }
        Some(SecretId::Wrapped {
            file: wrapped,
            ours: self.context.options.daemon,
        })
    }
}
