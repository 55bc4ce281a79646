//! `[vault.auth]`: how to log in to Vault. Credentials are named here and never held by a file of the configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::credential::Credential;
use super::problem::{Placed, Problem};
use super::section::Section;
use super::services::Surroundings;
use super::settings::{Auth, SecretId};
use super::{checks, mask};

/// Where Kubernetes puts the token of a pod's service account.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

#[derive(Clone, Copy, PartialEq)]
enum Method {
    Token,
    AppRole,
    Kubernetes,
    Jwt,
    Cert,
}

const METHODS: [(&str, Method); 5] = [
    ("token", Method::Token),
    ("approle", Method::AppRole),
    ("kubernetes", Method::Kubernetes),
    ("jwt", Method::Jwt),
    ("cert", Method::Cert),
];

/// The keys that name a file, each with the key of the credential itself, which is refused.
const FILES: [(&str, &str); 7] = [
    ("token_file", "token"),
    ("role_id_file", "role_id"),
    ("secret_id_file", "secret_id"),
    ("wrapped_secret_id_file", "wrapped_secret_id"),
    ("jwt_file", "jwt"),
    ("cert_file", "cert"),
    ("key_file", "key"),
];

impl Method {
    fn name(self) -> &'static str {
        METHODS
            .iter()
            .find(|(_, method)| *method == self)
            .map_or("", |(name, _)| name)
    }

    /// The keys that belong to it.
    fn keys(self) -> &'static [&'static str] {
        match self {
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
}

/// `[vault.auth]`
pub(super) fn auth(section: Section<'_>, around: &Surroundings<'_>) -> Option<Auth> {
    let from_environment = around.token_of_environment();
    let overruled = from_environment.is_some() && !around.options.daemon;
    let method = section.choice("method", &METHODS);
    let given = Given::read(&section, around, !overruled);
    let chosen = match &method {
        Some(method) => Some(method.value),
        None if from_environment.is_some() => Some(Method::Token),
        None if section.has("method") => None,
        None => {
            section.missing(
                "no way to log in to Vault: give [vault.auth] method, BAO_TOKEN or VAULT_TOKEN",
            );
            None
        }
    };
    let auth = chosen.and_then(|method| {
        given.refuse_alien(method);
        given.login(method, from_environment.clone())
    });
    section.finish();
    match from_environment {
        Some(token) if overruled => Some(Auth::Token { token }),
        _ => auth,
    }
}

/// What stands in `[vault.auth]` besides the method.
struct Given<'a> {
    section: &'a Section<'a>,
    around: &'a Surroundings<'a>,
    /// The files will be used, so they must be good.
    used: bool,
    texts: BTreeMap<&'static str, Placed<String>>,
}

impl<'a> Given<'a> {
    fn read(section: &'a Section<'a>, around: &'a Surroundings<'a>, used: bool) -> Self {
        let mut texts = BTreeMap::new();
        texts.extend(Some("mount").zip(section.parsed("mount", checks::vault_path)));
        texts.extend(Some("role").zip(section.parsed("role", checks::field)));
        for (key, inline) in FILES {
            if let Some(written) = section.text(key) {
                if mask::is_uuid(&written.value) {
                    let what =
                        format!("{key} holds the credential itself instead of the name of a file");
                    around.problem(&written.place, what);
                } else {
                    texts.insert(key, written);
                }
            }
            refuse_inline(section, around, inline, key);
        }
        Given {
            section,
            around,
            used,
            texts,
        }
    }

    fn refuse_alien(&self, method: Method) {
        for (key, written) in &self.texts {
            if !method.keys().contains(key) {
                let name = method.name();
                let what = format!("{key} does not belong to the login method \"{name}\"");
                self.around.problem(&written.place, what);
            }
        }
    }

    /// What the method cannot do without; `None` is told already.
    fn needed(&self, method: Method, key: &'static str) -> Option<&Placed<String>> {
        let written = self.texts.get(key);
        if written.is_none() && !self.section.has(key) {
            let name = method.name();
            self.section
                .missing(&format!("the login method \"{name}\" needs {key}"));
        }
        written
    }

    fn credential(&self, method: Method, key: &'static str) -> Option<Credential> {
        self.around.credential(self.needed(method, key)?, self.used)
    }

    fn file(&self, method: Method, key: &'static str) -> Option<PathBuf> {
        self.around.file(self.needed(method, key)?, self.used)
    }

    fn role(&self) -> Option<String> {
        self.texts.get("role").map(|role| role.value.clone())
    }

    fn login(&self, method: Method, from_environment: Option<Credential>) -> Option<Auth> {
        let mount = self.texts.get("mount");
        let mount = mount.map_or_else(|| method.name().to_owned(), |mount| mount.value.clone());
        Some(match method {
            Method::Token => Auth::Token {
                token: self.token(from_environment)?,
            },
            Method::AppRole => {
                let role_id = self.credential(method, "role_id_file");
                let secret_id = self.secret_id();
                Auth::AppRole {
                    mount,
                    role_id: role_id?,
                    secret_id: secret_id?,
                }
            }
            Method::Kubernetes => {
                let role = self.needed(method, "role").map(|role| role.value.clone());
                let jwt = match self.section.has("jwt_file") {
                    true => self.credential(method, "jwt_file"),
                    false => {
                        let value = SERVICE_ACCOUNT.to_owned();
                        let place = self.section.place().clone();
                        self.around.credential(&Placed { value, place }, self.used)
                    }
                };
                Auth::Kubernetes {
                    mount,
                    role: role?,
                    jwt: jwt?,
                }
            }
            Method::Jwt => Auth::Jwt {
                mount,
                role: self.role(),
                jwt: self.credential(method, "jwt_file")?,
            },
            Method::Cert => {
                let cert_file = self.file(method, "cert_file");
                let key_file = self.file(method, "key_file");
                Auth::Cert {
                    mount,
                    role: self.role(),
                    cert_file: cert_file?,
                    key_file: key_file?,
                }
            }
        })
    }

    fn token(&self, from_environment: Option<Credential>) -> Option<Credential> {
        match self.texts.get("token_file") {
            Some(file) => self.around.credential(file, self.used),
            None if self.section.has("token_file") => None,
            None if from_environment.is_some() => from_environment,
            None => {
                self.section.missing(
                    "the login method \"token\" needs token_file, BAO_TOKEN or VAULT_TOKEN",
                );
                None
            }
        }
    }

    fn secret_id(&self) -> Option<SecretId> {
        let Some(wrapped) = self.texts.get("wrapped_secret_id_file") else {
            let secret_id = self.credential(Method::AppRole, "secret_id_file");
            return secret_id.map(SecretId::Plain);
        };
        if let Some(plain) = self.texts.get("secret_id_file") {
            let what = "give secret_id_file or wrapped_secret_id_file, not both";
            self.around.problem(&plain.place, what);
        }
        // It may be gone after its one use, so it is not looked at.
        Some(SecretId::Wrapped {
            file: self.around.file(wrapped, false)?,
            ours: self.around.options.daemon,
        })
    }
}

/// A credential in place of its file.
pub(super) fn refuse_inline(
    section: &Section<'_>,
    around: &Surroundings<'_>,
    key: &'static str,
    file: &'static str,
) {
    section.refused_elsewhere(key);
    if let Some((_, place)) = section.keys().find(|(given, _)| *given == key) {
        let problem = Problem::new(
            place,
            format!("\"{key}\" is given in the configuration itself; secrets never stand there"),
        );
        around.reading.problem(problem.help(format!("write it into a file and name that with {file}; a secret that others could read is to be replaced")));
    }
}
