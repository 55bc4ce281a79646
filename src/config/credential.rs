//! Where a credential comes from, and reading it. The value is wrapped at once and shown by nothing here: errors name the path or the
//! variable.

use std::io::Read;
use std::path::{Path, PathBuf};

use rotation::token::TokenValue;

/// More than any credential; a path that points to something else by mistake is not read into memory.
const LONGEST: u64 = 64 * 1024;

/// Where a credential comes from. No `Debug`, since it may hold the value.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A file, read each time it is asked for, so that a renewed one takes effect.
    File(PathBuf),
    /// An environment variable as it was at the start.
    Environment {
        /// Its name.
        variable: &'static str,
        /// Its value, trimmed.
        value: TokenValue,
    },
}

/// Why a credential could not be had.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The file cannot be read.
    #[error("cannot read the credential file {}", .path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file holds nothing but white space.
    #[error("the credential file {} is empty", .0.display())]
    Empty(PathBuf),
    /// The file is no credential: several words, not text, or far too long.
    #[error("the credential file {} must hold one value on one line and nothing else", .0.display())]
    Malformed(PathBuf),
}

impl Credential {
    /// The value without surrounding white space. Errors name the path, never the content.
    pub fn read(&self) -> Result<TokenValue, CredentialError> {
        match self {
            Credential::File(path) => read_file(path),
            Credential::Environment { value, .. } => Ok(value.clone()),
        }
    }

    /// The path or the variable, for messages.
    pub fn origin(&self) -> String {
        match self {
            Credential::File(path) => path.display().to_string(),
            Credential::Environment { variable, .. } => format!("${variable}"),
        }
    }
}

/// Reads a credential.
///
/// # Errors
/// A sentence with its cause, which names the file and nothing of its content.
pub fn read(credential: &Credential) -> Result<TokenValue, String> {
    credential.read().map_err(|error| {
        let cause = std::error::Error::source(&error);
        let cause = cause.map(|cause| format!(": {cause}"));
        format!("{error}{}", cause.unwrap_or_default())
    })
}

fn read_file(path: &Path) -> Result<TokenValue, CredentialError> {
    let unreadable = |source| CredentialError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let malformed = || CredentialError::Malformed(path.to_owned());
    let mut bytes = zeroize::Zeroizing::new(Vec::new());
    std::fs::File::open(path)
        .and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes))
        .map_err(unreadable)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| malformed())?.trim();
    match text {
        "" => Err(CredentialError::Empty(path.to_owned())),
        _ if bytes.len() as u64 > LONGEST => Err(malformed()),
        _ if text.contains(char::is_whitespace) => Err(malformed()),
        _ => Ok(TokenValue::new(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(error: &CredentialError) -> String {
        format!("{error} {error:?}")
    }

    #[test]
    fn a_file_is_read_trimmed_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("id");
        std::fs::write(&path, " one\r\n").unwrap();
        let credential = Credential::File(path.clone());
        assert!(credential.read().is_ok_and(|value| value.expose() == "one"));
        std::fs::write(&path, "two").unwrap();
        assert!(credential.read().is_ok_and(|value| value.expose() == "two"));
    }

    #[test]
    fn p5_errors_name_the_path_and_never_the_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("id");
        let credential = Credential::File(path.clone());
        let problem = |content: Option<&[u8]>| {
            if let Some(content) = content {
                std::fs::write(&path, content).unwrap();
            }
            let text = message(&credential.read().err().unwrap());
            assert!(text.contains(path.to_str().unwrap()), "{text}");
            assert!(!text.contains("canary"), "{text}");
            text
        };
        assert!(problem(None).contains("cannot read"));
        assert!(problem(Some(b" \n")).contains("is empty"));
        assert!(problem(Some(b"canary canary")).contains("one value on one line"));
        assert!(problem(Some(b"canary\xff")).contains("one value on one line"));
        assert!(problem(Some(&[b'x'; 70_000])).contains("one value on one line"));
    }
}
