//! A credential and the one reader of credential files. The value is wrapped at once and never part of an error: errors name the path
//! and what is wrong in the file.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::bounded_file::{self, ReadError};
use crate::sanitize;
use rotation::token::TokenValue;

/// A credential. No `Debug`, because it may hold the value.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A file, read at each use, so that it can be replaced at any time.
    File(PathBuf),
    /// A value from an environment variable, fixed for the life of the process.
    Variable {
        /// The variable's name.
        name: String,
        /// Its value.
        value: TokenValue,
    },
}

/// Why a credential cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The file cannot be read.
    #[error("cannot read the credential file {}: {error}", .path.display())]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// The cause.
        error: ReadError,
    },
    /// The file does not hold one plain value.
    #[error("the credential file {} {why}", .path.display())]
    Malformed {
        /// Its path.
        path: PathBuf,
        /// Half a sentence.
        why: &'static str,
    },
    /// The variable does not hold one plain value.
    #[error("the environment variable {name} {why}")]
    Variable {
        /// Its name.
        name: String,
        /// Half a sentence.
        why: &'static str,
    },
}

impl CredentialError {
    /// Another program may be about to write the file or to give the right to read it.
    pub fn may_come(&self) -> bool {
        matches!(
            self,
            CredentialError::Unreadable {
                error: ReadError::Io(_),
                ..
            }
        )
    }
}

impl Credential {
    /// The value of an environment variable.
    pub fn variable(name: &str, value: &str) -> Self {
        Credential::Variable {
            name: name.to_owned(),
            value: TokenValue::new(value),
        }
    }

    /// The value without surrounding white space. It may wait for the file system: see [`bounded_file::off_runtime`].
    pub fn read(&self) -> Result<TokenValue, CredentialError> {
        match self {
            Credential::File(path) => read_file(path),
            Credential::Variable { name, value } => match flaw(value.expose()) {
                None => Ok(value.clone()),
                Some(why) => Err(CredentialError::Variable {
                    name: name.clone(),
                    why,
                }),
            },
        }
    }

    /// The path of the file, or the variable, for messages.
    pub fn origin(&self) -> String {
        match self {
            Credential::File(path) => path.display().to_string(),
            Credential::Variable { name, .. } => format!("the environment variable {name}"),
        }
    }
}

/// Reads a file that holds a credential and nothing else.
pub fn read_file(path: &Path) -> Result<TokenValue, CredentialError> {
    let text = bounded_file::read_text(path, bounded_file::CREDENTIAL);
    let text = text.map_err(|error| CredentialError::Unreadable {
        path: path.to_owned(),
        error,
    })?;
    let value = text.trim();
    match flaw(value) {
        None => Ok(TokenValue::new(value)),
        Some(why) => Err(CredentialError::Malformed {
            path: path.to_owned(),
            why,
        }),
    }
}

/// Reads a file that holds `user:password` and nothing else.
pub fn read_login(path: &Path) -> Result<TokenValue, CredentialError> {
    let value = read_file(path)?;
    match value.expose().contains(':') {
        true => Ok(value),
        false => Err(CredentialError::Malformed {
            path: path.to_owned(),
            why: "must hold a user and a password: USER:PASSWORD",
        }),
    }
}

/// Whether every user can read the file and enter its folder. Not on a tmpfs, where Kubernetes and systemd put credentials whose folder
/// only the program sees.
pub fn is_exposed(path: &Path) -> bool {
    let Ok(path) = std::fs::canonicalize(path) else {
        return false;
    };
    let gives =
        |path: &Path, right| std::fs::metadata(path).is_ok_and(|found| found.mode() & right != 0);
    let enters = |folder| gives(folder, 0o001);
    let open_to_all = gives(&path, 0o004) && path.parent().is_none_or(enters);
    // TMPFS_MAGIC and RAMFS_MAGIC of statfs(2).
    let in_memory = |system: rustix::fs::StatFs| matches!(system.f_type, 0x0102_1994 | 0x8584_58f6);
    open_to_all && !rustix::fs::statfs(path).is_ok_and(in_memory)
}

/// What is wrong with the text of a credential, as half a sentence that follows where it was found: the usual slips of copying one.
pub fn flaw(text: &str) -> Option<&'static str> {
    let quoted = |quote| text.len() > 1 && text.starts_with(quote) && text.ends_with(quote);
    if let Some(why) = header_word(text) {
        return Some(why);
    }
    match text {
        "" => Some("is empty"),
        _ if text.starts_with('\u{feff}') => {
            Some("begins with a byte order mark; save it as UTF-8 without one")
        }
        _ if text.starts_with('{') => Some("holds JSON; write only the credential"),
        _ if quoted('"') || quoted('\'') => Some("has quotes around the credential; remove them"),
        _ if text.starts_with(sanitize::TYPOGRAPHIC_QUOTES) => {
            Some("begins with a typographic quote; remove the quotes around the credential")
        }
        _ if is_assignment(text) => {
            Some("holds an assignment (NAME=...); write only the credential")
        }
        _ if text.contains(char::is_whitespace) => Some(
            "must hold one value on one line and nothing else; remove the space or line break in it",
        ),
        _ if text.contains(sanitize::is_hazard) => Some(
            "has an invisible character in it, such as a zero-width space; copy the credential again",
        ),
        _ => None,
    }
}

/// What is in front of a credential in the header of a request, in any case, and what is wrong then.
const HEADER_WORDS: [(&str, &str); 4] = [
    (
        "Authorization:",
        "begins with \"Authorization:\", the name of a request header; write only the credential",
    ),
    (
        "X-Vault-Token:",
        "begins with \"X-Vault-Token:\", the name of a request header; write only the credential",
    ),
    (
        "Api-Token ",
        "begins with \"Api-Token \", which belongs to a request header; delete it in front of the credential",
    ),
    (
        "Bearer ",
        "begins with \"Bearer \", which belongs to a request header; delete it in front of the credential",
    ),
];

/// What is wrong with a credential that was copied with a part of its header.
fn header_word(text: &str) -> Option<&'static str> {
    let begins = |word: &str| {
        let start = text.get(..word.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(word))
    };
    let found = HEADER_WORDS.iter().find(|(word, _)| begins(word));
    found.map(|(_, why)| *why)
}

/// `VAULT_TOKEN=...`, as in a file for a shell.
fn is_assignment(value: &str) -> bool {
    let value = value.strip_prefix("export ").unwrap_or(value);
    value.split_once('=').is_some_and(|(name, rest)| {
        let is_name = |c: char| c.is_ascii_uppercase() || c == '_';
        !rest.is_empty() && name.contains('_') && name.chars().all(is_name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_trimmed_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("id");
        std::fs::write(&path, " one\r\n").unwrap();
        let credential = Credential::File(path.clone());
        assert!(credential.read().is_ok_and(|value| value.expose() == "one"));
        std::fs::write(&path, "two==").unwrap();
        assert!(
            credential
                .read()
                .is_ok_and(|value| value.expose() == "two==")
        );
    }

    #[test]
    fn p5_errors_name_the_path_and_the_cause_and_never_the_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("id");
        let credential = Credential::File(path.clone());
        let problem = |content: Option<&[u8]>| {
            if let Some(content) = content {
                std::fs::write(&path, content).unwrap();
            }
            let error = credential.read().err().unwrap();
            let text = format!("{error} {error:?}");
            assert!(text.contains(path.to_str().unwrap()), "{text}");
            assert!(!text.contains("canary"), "{text}");
            text
        };
        assert!(problem(None).contains("cannot read"));
        for (content, cause) in [
            (&b" \n"[..], "is empty"),
            (b"canary canary", "one value on one line"),
            (b"canary\ncanary\n", "one value on one line"),
            (b"canary\xff", "it is not text"),
            (&[b'x'; 70_000], "it is larger than"),
            (b"\xef\xbb\xbfcanary\n", "byte order mark"),
            (b"\"canary\"\n", "quotes around the credential"),
            (b"VAULT_TOKEN=canary\n", "an assignment"),
            (b"export VAULT_TOKEN=canary\n", "an assignment"),
            ("can\u{200b}ary".as_bytes(), "an invisible character"),
            (b"{\"token\": \"canary\"}", "holds JSON"),
            (b"Api-Token canary", "delete it in front of the credential"),
            (b"bearer canary\n", "delete it in front of the credential"),
            (
                b"Authorization: Api-Token canary",
                "write only the credential",
            ),
            (b"X-Vault-Token:canary", "write only the credential"),
            ("\u{201c}canary\u{201d}".as_bytes(), "a typographic quote"),
        ] {
            let text = problem(Some(content));
            assert!(text.contains(cause), "{text}");
        }
    }

    #[test]
    fn a_directory_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let error = read_file(folder.path()).err().unwrap().to_string();
        assert!(error.contains("it is not a regular file"), "{error}");
    }
}
