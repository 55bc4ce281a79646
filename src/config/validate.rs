//! Rules for single words: paths, mounts, fields, names. Each error is half a sentence that follows the value.

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
    match text.chars().find(|c| c.is_control() || *c == '\\') {
        Some(c) => Err(format!("has the character {c:?} in it")),
        None if text != text.trim() => Err("begins or ends with white space".into()),
        None => Ok(text.to_owned()),
    }
}

/// The name of a field in a secret.
pub(super) fn field(text: &str) -> Result<String, String> {
    match text {
        "" => Err("is empty".into()),
        _ if text.chars().any(char::is_control) => Err("has a control character in it".into()),
        _ if text != text.trim() => Err("begins or ends with white space".into()),
        _ => Ok(text.to_owned()),
    }
}

/// The name of a secret: it stands in logs and on command lines.
pub(super) fn secret_name(text: &str) -> Result<String, String> {
    field(text)?;
    match text.starts_with('-') {
        true => Err("begins with \"-\", so that it could not be named on a command line".into()),
        false => Ok(text.to_owned()),
    }
}

/// The name of an environment: it stands in variables, too.
pub(super) fn environment_name(text: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    match !text.is_empty() && text.chars().all(fits) && !text.contains("__") {
        true => Ok(()),
        false => Err("is no name for an environment; use letters, digits, \"-\" and \"_\"".into()),
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
            ("a\nb", "'\\n'"),
            ("a\\b", "'\\\\'"),
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
