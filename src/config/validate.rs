//! Rules for single words: paths, mounts, fields, names. Each error is half a sentence that follows the value.

use rustls::pki_types::ServerName;

use crate::sanitize;

/// A path or a mount in Vault: segments that are neither empty nor `.` nor `..`, joined by `/`.
pub(super) fn vault_path(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("is empty".into());
    }
    if text.starts_with('/') || text.ends_with('/') {
        return Err(format!(
            "begins or ends with \"/\"; write \"{}\"",
            text.trim_matches('/')
        ));
    }
    for segment in text.split('/') {
        match segment {
            "" => return Err("has an empty part (\"//\")".into()),
            "." | ".." => {
                return Err(format!(
                    "has the part \"{segment}\"; write the path in full"
                ));
            }
            _ => {}
        }
    }
    if text.contains('\\') {
        return Err("has a backslash in it".into());
    }
    visible(text)
}

/// The name of a field in a secret.
pub(super) fn field(text: &str) -> Result<String, String> {
    match text {
        "" => Err("is empty".into()),
        text => visible(text),
    }
}

/// Text without control characters, without invisible ones (a copied zero-width space, a byte order mark), and without white space around it.
pub(super) fn visible(text: &str) -> Result<String, String> {
    match text.chars().find(|c| sanitize::is_hazard(*c)) {
        Some(c) => Err(format!(
            "has the invisible character U+{:04X} in it; delete it, or type the text again",
            u32::from(c)
        )),
        None if text != text.trim() => Err("begins or ends with white space".into()),
        None => Ok(text.to_owned()),
    }
}

/// The name of a secret: it appears in logs and on command lines.
pub(super) fn secret_name(text: &str) -> Result<String, String> {
    field(text)?;
    match text.starts_with('-') {
        true => Err("begins with \"-\", so that it could not be named on a command line".into()),
        false => Ok(text.to_owned()),
    }
}

/// The id of an environment: it is part of the name of a resource.
pub(super) fn environment_id(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-';
    match !text.is_empty() && text.chars().all(fits) {
        true => Ok(text.to_owned()),
        false => Err("is not the id of an environment, such as \"abc12345\"".to_owned()),
    }
}

/// The name of a server in its certificate.
pub(super) fn server_name(text: &str) -> Result<ServerName<'static>, String> {
    let name = ServerName::try_from(text.to_owned());
    name.map_err(|_| "is not a host name or an IP address".into())
}

/// The name of an environment: it is also part of variables.
pub(super) fn environment_name(text: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    match !text.is_empty() && text.chars().all(fits) && !text.contains("__") {
        true => Ok(()),
        false => Err(
            "is not a valid name for an environment; use letters, digits, \"-\" and \"_\"".into(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_plain() {
        for good in ["a", "a/b", "team kv/x.y", "ü/..x"] {
            assert_eq!(vault_path(good).as_deref(), Ok(good));
        }
        for (bad, why) in [
            ("", "is empty"),
            ("/a", "write \"a\""),
            ("a/", "write \"a\""),
            ("a//b", "an empty part"),
            ("a/../b", "the part \"..\""),
            ("./a", "the part \".\""),
            ("a\nb", "U+000A"),
            ("a\u{200b}b", "U+200B"),
            ("\u{feff}a", "U+FEFF"),
            ("a\\b", "a backslash"),
            (" a", "white space"),
        ] {
            let error = vault_path(bad).unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }

    #[test]
    fn names_can_be_typed() {
        assert!(secret_name("secret/a#b").is_ok());
        assert!(secret_name("--all").is_err());
        assert!(secret_name("").is_err());
        assert!(environment_name("prod-eu_1").is_ok());
        for bad in ["", "a.b", "a b", "a__b", "ü"] {
            assert!(environment_name(bad).is_err(), "{bad}");
        }
    }
}
