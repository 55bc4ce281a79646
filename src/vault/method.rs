//! The login methods and their credentials. Files are read at each login and looked at every few seconds in between, so that they
//! can be replaced while the daemon runs.
//!
//! A credential stands in a request's body, a sensitive header or the TLS handshake, and nowhere else.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::bounded_file;
use crate::credential::Credential;
use crate::http::{CertificateFiles, ClientIdentity};
use rotation::error::{CallError, ErrorKind, Service};
use rotation::token::TokenValue;

use super::wrapped;

/// Where an AppRole's secret id comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretId {
    /// It is there as it is.
    Plain(Credential),
    /// It is unwrapped with a wrapping token, which works once.
    Wrapped {
        /// The file that holds the wrapping token.
        file: PathBuf,
        /// This process may use it up.
        ours: bool,
    },
}

impl SecretId {
    /// Where it is, for messages.
    fn origin(&self) -> String {
        match self {
            SecretId::Plain(credential) => credential.origin(),
            SecretId::Wrapped { file, .. } => file.display().to_string(),
        }
    }
}

/// How to get a token.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// A token that somebody else made. In a file it may be replaced at any time. It is renewed, but never revoked.
    Token(Credential),
    /// With a role id and a secret id.
    AppRole {
        /// Where the method is mounted.
        mount: String,
        /// The role id.
        role_id: Credential,
        /// The secret id.
        secret_id: SecretId,
    },
    /// With the token of a Kubernetes service account.
    Kubernetes {
        /// Where the method is mounted.
        mount: String,
        /// The role at Vault.
        role: String,
        /// The service account's token.
        jwt: Credential,
    },
    /// With a signed token of somebody whom Vault trusts.
    Jwt {
        /// Where the method is mounted.
        mount: String,
        /// The role at Vault; `None` = the mount's default.
        role: Option<String>,
        /// The signed token.
        jwt: Credential,
    },
    /// With the client certificate of the TLS handshake.
    Cert {
        /// Where the method is mounted.
        mount: String,
        /// The role at Vault; `None` = the first whose rules the certificate fits.
        role: Option<String>,
    },
}

/// What was read for one login.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    /// The client certificate of all connections.
    pub(super) identity: Option<ClientIdentity>,
    pub(super) proof: Proof,
}

/// What stands for us at Vault.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Proof {
    Token(TokenValue),
    Request(Form),
}

/// What a login request shows.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Form {
    /// The fields of its body.
    pub(super) fields: Vec<(&'static str, TokenValue)>,
    /// A field whose value is still to be unwrapped.
    pub(super) wrapped: Option<(&'static str, TokenValue, PathBuf)>,
}

impl Login {
    /// Whether `path` is the file that holds its wrapped secret id.
    pub fn unwraps(&self, path: &Path) -> bool {
        match self {
            Login::AppRole {
                secret_id: SecretId::Wrapped { file, .. },
                ..
            } => file == path,
            _ => false,
        }
    }

    /// The method's name, as in the configuration.
    pub fn method(&self) -> &'static str {
        match self {
            Login::Token(_) => "token",
            Login::AppRole { .. } => "approle",
            Login::Kubernetes { .. } => "kubernetes",
            Login::Jwt { .. } => "jwt",
            Login::Cert { .. } => "cert",
        }
    }

    /// Where the method is mounted below `auth/`.
    pub(super) fn mount(&self) -> &str {
        match self {
            Login::Token(_) => "token",
            Login::AppRole { mount, .. }
            | Login::Kubernetes { mount, .. }
            | Login::Jwt { mount, .. }
            | Login::Cert { mount, .. } => mount,
        }
    }

    /// What may be behind a refusal beyond the server's words.
    pub(super) fn hint(&self, status: u16) -> String {
        match (self, status) {
            (
                Login::AppRole {
                    role_id, secret_id, ..
                },
                403,
            ) => format!(
                "; the role id in {} or the secret id in {} is wrong, expired or used up (after some refused logins Vault locks a role for 15 minutes, \
                 see sys/locked-users)",
                role_id.origin(),
                secret_id.origin()
            ),
            (Login::Kubernetes { .. }, 403) => {
                "; Vault also answers this while it cannot reach the Kubernetes API, and then dtrotate recovers automatically".to_owned()
            }
            (Login::Jwt { jwt, .. }, 400 | 403) => format!("; the JWT is in {}", jwt.origin()),
            _ => String::new(),
        }
    }

    /// How long after a refusal to try the same credentials again. New ones are tried at once.
    pub(super) fn patience(&self) -> Duration {
        match self {
            // Five refusals lock a role, each within 15 minutes of the one before: then even a good secret id is refused.
            Login::AppRole { .. } => Duration::from_secs(16 * 60),
            // The refusal may come from a Kubernetes API that is away for a moment.
            Login::Kubernetes { .. } => Duration::from_secs(5),
            Login::Token(_) | Login::Jwt { .. } | Login::Cert { .. } => Duration::from_secs(30),
        }
    }

    /// The credentials as they are now, those of the connection included.
    pub(super) async fn read(
        &self,
        certificate: Option<&CertificateFiles>,
    ) -> Result<Credentials, CallError> {
        let (login, certificate) = (self.clone(), certificate.cloned());
        let read = bounded_file::off_runtime(move || {
            let identity = certificate.as_ref().map(ClientIdentity::read).transpose();
            Ok(Credentials {
                identity: identity.map_err(|error| unusable(&error.to_string()))?,
                proof: login.proof()?,
            })
        });
        let read = read.await;
        read.unwrap_or_else(|error| Err(unusable(&error.to_string())))
    }

    /// Reads what stands for us, on this thread.
    fn proof(&self) -> Result<Proof, CallError> {
        let mut form = Form::default();
        let mut role = |key, role: &Option<String>| {
            let field = role
                .as_ref()
                .map(|role| (key, TokenValue::new(role.clone())));
            form.fields.extend(field);
        };
        match self {
            Login::Token(token) => return Ok(Proof::Token(value_of("token", token)?)),
            Login::AppRole {
                role_id, secret_id, ..
            } => {
                form.fields.push(("role_id", value_of("role id", role_id)?));
                match secret_id {
                    SecretId::Plain(secret_id) => {
                        let secret_id = value_of("secret id", secret_id)?;
                        form.fields.push(("secret_id", secret_id));
                    }
                    SecretId::Wrapped { file, ours: true } => {
                        let token = value_of("wrapping token", &Credential::File(file.clone()));
                        // A file that is gone after its one use is as good as unchanged.
                        let token = token.or_else(|error| wrapped::known(file).ok_or(error))?;
                        wrapped::holds(file, &token);
                        form.wrapped = Some(("secret_id", token, file.clone()));
                    }
                    SecretId::Wrapped { ours: false, .. } => {
                        return Err(unusable(
                            "a wrapped secret id works once and is the daemon's; set BAO_TOKEN or VAULT_TOKEN for this command",
                        ));
                    }
                }
            }
            Login::Kubernetes {
                role: name, jwt, ..
            } => {
                role("role", &Some(name.clone()));
                let jwt = value_of("service account's token", jwt)?;
                form.fields.push(("jwt", jwt));
            }
            Login::Jwt {
                role: name, jwt, ..
            } => {
                role("role", name);
                form.fields.push(("jwt", value_of("JWT", jwt)?));
            }
            Login::Cert { role: name, .. } => role("name", name),
        }
        Ok(Proof::Request(form))
    }
}

/// Reads a credential; the error says which one it is.
fn value_of(what: &str, credential: &Credential) -> Result<TokenValue, CallError> {
    credential.read().map_err(|error| match error.may_come() {
        true => CallError {
            // Whoever writes it is given the time of an outage.
            kind: ErrorKind::Transient,
            ..unusable(&format!("no {what} file yet: {error}"))
        },
        false => unusable(&format!("the {what}: {error}")),
    })
}

/// The error for credentials with which no login can be tried.
pub(super) fn unusable(why: &str) -> CallError {
    let text = format!("cannot log in to Vault: {why}");
    CallError::new(Service::Vault, ErrorKind::Unauthorized, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_credential_file_that_is_a_fifo_or_endless_is_an_error_and_no_wait() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, kind, mode, 0).unwrap();
        let long = folder.path().join("long");
        std::fs::write(&long, "x".repeat(70_000)).unwrap();
        for (path, why) in [
            (fifo, "it is not a regular file"),
            ("/dev/zero".into(), "it is not a regular file"),
            (long, "it is larger than 65536 bytes"),
        ] {
            let login = Login::Token(Credential::File(path.clone()));
            let error = login.read(None).await.err().unwrap().to_string();
            assert!(error.contains(why), "{error}");
            assert!(error.contains(path.to_str().unwrap()), "{error}");
        }
    }
}
